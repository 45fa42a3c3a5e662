//! The undo journal: a file beside the image that holds every byte which a run overwrites, and what it becomes.
//!
//! ```text
//! 0       header   512 bytes: magic, version, number of entries, lengths of the image before and after, length of the
//!                  journal, SHA-256 of all old bytes in order, length and SHA-256 of the table, CRC-32C
//! 512     state    512 bytes: RUNNING, WRITTEN or FINISHED; if not running, SHA-256 of what the run added behind the old
//!                  end of the image; CRC-32C
//! 1024    entries  24 bytes (place in the image file, length, CRC-32C, kind), the old bytes, the new bytes
//!         mark     magic, CRC-32C of the entries' checksums
//!         table    digests of the image's blocks before the run, if the journal is kept
//! ```
//! All numbers are little-endian; places are those of the container file, not of the disk. The journal is written under
//! another name (`.part`), flushed, and renamed: what has the journal's name is whole. A journal that is not whole all
//! the same was damaged, and nothing is done with it.
//!
//! An entry of kind 1 is about a mark: the new bytes stand there while the run works, and the old ones again at its end.
//!
//! The new bytes are there so that [`undo`](super::undo) can tell a half-written image from one that somebody else has
//! written to since. Version 2 had no table; its state held the time that the image had at the end of the run. Such a
//! journal is still obeyed.
//!
//! A journal says what is written into an image. It is obeyed only if nobody but its reader or the image's owner can
//! have made it.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::super::{Error, Result, block_device};
use super::files::Files;
use super::table::{self, Table};
use coldforge_base::crc32c::{crc32c, crc32c_of};
use coldforge_base::digest::Digest;
use coldforge_base::interrupt::TemporaryGuard;
use coldforge_base::{fs, read};

/// What the journal's name adds to the image's.
const ENDING: &str = ".coldforge-undo";
/// What an unfinished journal's name adds to the journal's.
const PART: &str = ".part";

const MAGIC: [u8; 8] = *b"CFUNDO\r\n";
const VERSION: u32 = 3;
/// Without a table, and with a time in its state.
const TIMED_VERSION: u32 = 2;
const MARK: [u8; 8] = *b"COMMIT\r\n";
const RUNNING: [u8; 8] = *b"RUNNING\n";
const WRITTEN: [u8; 8] = *b"WRITTEN\n";
const FINISHED: [u8; 8] = *b"FINISH 3";
/// Of version 2.
const TIMED: [u8; 8] = *b"FINISHED";

const SECTOR: usize = 512;
const STATE_AT: u64 = 512;
const ENTRIES_AT: u64 = 1024;
const ENTRY_HEAD_BYTES: usize = 24;
const MARK_BYTES: u64 = 16;
/// Longer ranges are several entries, so that memory has a bound.
pub(super) const ENTRY_BYTES_MAX: u64 = 1 << 20;

/// How far the run of a journal came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// The image may be half written.
    Running,
    /// The image is written, and something is still to be done behind it; what the run added behind the image's old end
    /// has this digest.
    Written(Digest),
    /// The run has ended; the digest is the same.
    Finished(Digest),
    /// The run has ended, and the image had this time then, in seconds and nanoseconds since 1970: version 2.
    Timed(i64, i64),
}

/// The head of a journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub entries: u32,
    pub length_before: u64,
    pub length_after: u64,
    pub journal_bytes: u64,
    pub old: Digest,
    pub table_bytes: u64,
    pub table: Digest,
}

/// One range of the image file that the run overwrites.
#[derive(Debug)]
pub(super) struct Entry {
    pub at: u64,
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    /// Whether the new bytes are there only while the run works.
    pub is_mark: bool,
}

/// Returns where the journal of an image lies, whatever link leads to the image: beside it, or in a folder of the machine
/// if it is a block device.
pub(super) fn path_of(image: &Path) -> Result<PathBuf> {
    place_of(image, false)
}

/// Returns where the journal of an image lies, and makes the folder for a block device's.
pub(super) fn place_of(image: &Path, make: bool) -> Result<PathBuf> {
    let metadata = image.metadata().map_err(fs::failed("open", image))?;
    let mut path = if block_device::is_device(&metadata) {
        block_device::journal(image, &metadata, make)?.into_os_string()
    } else {
        image.canonicalize().map_err(fs::failed("open", image))?.into_os_string()
    };
    path.push(ENDING);
    Ok(path.into())
}

/// Returns the name that a journal has until it is whole.
pub(super) fn part_of(journal: &Path) -> PathBuf {
    let mut path = journal.as_os_str().to_owned();
    path.push(PART);
    path.into()
}

/// Returns the state of the journal of an image; `None` if there is no journal.
pub(super) fn state_of(journal: &Path, image: &Path) -> Result<Option<State>> {
    match journal.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fs::failed("open", journal)(error).into()),
        Ok(_) => {
            let mut bytes = [0; SECTOR];
            check_owner(journal, image)?;
            let file = fs::open(journal)?;
            match file.read_exact_at(&mut bytes, STATE_AT) {
                Ok(()) => Ok(Some(parse_state(&bytes))),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Some(State::Running)),
                Err(error) => Err(fs::failed("read", journal)(error).into()),
            }
        }
    }
}

/// Checks that a journal is a plain file of the caller's or of the image's owner, and that nobody else can write it.
///
/// # Errors
/// [`Error::UndoOwner`] if not, otherwise the operating system's.
pub(super) fn check_owner(journal: &Path, image: &Path) -> Result<()> {
    let metadata = journal.symlink_metadata().map_err(fs::failed("open", journal))?;
    let owner = image.metadata().map_err(fs::failed("open", image))?.uid();
    check_metadata(&metadata, owner, journal)
}

fn check_metadata(metadata: &Metadata, owner: u32, journal: &Path) -> Result<()> {
    let refused = |why: String| Err(Error::UndoOwner { path: journal.to_owned(), why });
    let caller = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        refused("is no plain file".to_owned())
    } else if metadata.uid() != caller && metadata.uid() != owner {
        refused(format!("belongs to user {}, and the image to user {owner}", metadata.uid()))
    } else if metadata.mode() & 0o022 != 0 {
        refused(format!("has the mode {:04o}, so that others can write it", metadata.mode() & 0o7777))
    } else {
        Ok(())
    }
}

/// Everything that is not surely written is taken for running, which is the safer of the two.
fn parse_state(bytes: &[u8; SECTOR]) -> State {
    let parse = || {
        let (body, sum) = bytes.split_at_checked(SECTOR.checked_sub(4)?)?;
        if read::u32_le(sum, 0).ok()? != crc32c(body) {
            return None;
        }
        let number = |at| read::array(body, at).map(i64::from_le_bytes).ok();
        let digest = read::array(body, 8).map(Digest).ok()?;
        match read::array(body, 0).ok()? {
            WRITTEN => Some(State::Written(digest)),
            FINISHED => Some(State::Finished(digest)),
            TIMED => Some(State::Timed(number(8)?, number(16)?)),
            _ => None,
        }
    };
    parse().unwrap_or(State::Running)
}

fn state_bytes(state: State) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let (magic, digest) = match state {
        State::Written(digest) => (WRITTEN, digest.0),
        State::Finished(digest) => (FINISHED, digest.0),
        // Nothing writes the state of version 2 any more.
        State::Running | State::Timed(..) => (RUNNING, [0; 32]),
    };
    put(&mut bytes, 0, &magic);
    put(&mut bytes, 8, &digest);
    seal(&mut bytes);
    bytes
}

fn put(sector: &mut [u8; SECTOR], at: usize, bytes: &[u8]) {
    let put = read::put(sector, at, bytes);
    debug_assert!(put.is_ok(), "the layout fits its sector");
}

fn seal(sector: &mut [u8; SECTOR]) {
    let sum = sector.split_last_chunk::<4>().map_or(0, |(body, _)| crc32c(body));
    put(sector, 508, &sum.to_le_bytes());
}

/// A journal that is being written under its first name.
pub(super) struct Writer<'a> {
    files: &'a dyn Files,
    file: File,
    path: PathBuf,
    at: u64,
    entries: u32,
    old: Sha256,
    sums: Vec<u8>,
    guard: Option<TemporaryGuard>,
}

/// A journal that was not finished is of no use: nothing was written yet.
impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if self.guard.is_some() {
            let _ = self.files.remove(&self.path); // the next run removes it otherwise
        }
    }
}

impl<'a> Writer<'a> {
    /// Begins a journal; a part of an earlier one is removed, for the run that made it has not begun to write.
    pub fn create(files: &'a dyn Files, journal: &Path) -> Result<Self> {
        let path = part_of(journal);
        match files.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fs::failed("remove", &path)(error).into()),
            _ => {}
        }
        let made = TemporaryGuard::make(|| files.create(&path), |_| path.clone());
        let (file, guard) = made.map_err(fs::failed("create", &path))?;
        let guard = Some(guard);
        Ok(Self { files, file, path, at: ENTRIES_AT, entries: 0, old: Sha256::new(), sums: Vec::new(), guard })
    }

    /// Adds an entry; old and new bytes are of one length, at most [`ENTRY_BYTES_MAX`].
    pub fn add(&mut self, entry: &Entry) -> Result<()> {
        let length = (entry.old.len() as u64).to_le_bytes();
        let sum = entry_sum(entry).to_le_bytes();
        let kind = u32::from(entry.is_mark).to_le_bytes();
        let bytes = [&entry.at.to_le_bytes()[..], &length, &sum, &kind, &entry.old, &entry.new].concat();
        self.files.write(&self.file, self.at, &bytes).map_err(fs::failed("write", &self.path))?;
        self.at = self.at.saturating_add(bytes.len() as u64);
        self.entries = self.entries.saturating_add(1);
        self.old.update(&entry.old);
        self.sums.extend_from_slice(&sum);
        Ok(())
    }

    /// Writes mark, table and head, flushes everything, and gives the journal its name; `lengths` are those of the image
    /// before and after.
    pub fn commit(mut self, journal: &Path, lengths: (u64, u64), table: Option<Table>) -> Result<Journal> {
        let tail = table.as_ref().map(Table::to_bytes).unwrap_or_default();
        let mark = [&MARK[..], &crc32c(&self.sums).to_le_bytes(), &[0; 4], &tail].concat();
        let journal_bytes = self.at.saturating_add(mark.len() as u64);
        let old = Digest(std::mem::take(&mut self.old).finalize().into());
        let (length_before, length_after) = lengths;
        let (table_bytes, sum) = (tail.len() as u64, Digest::of(&tail));
        let entries = self.entries;
        let header = Header { entries, length_before, length_after, journal_bytes, old, table_bytes, table: sum };
        let head = [header_bytes(&header), state_bytes(State::Running)].concat();
        let folder = folder_of(journal);
        let write = || {
            self.files.write(&self.file, self.at, &mark)?;
            self.files.write(&self.file, 0, &head)?;
            self.files.sync(&self.file)?;
            self.files.rename(&self.path, journal)
        };
        write().map_err(fs::failed("write", journal))?;
        self.guard = None;
        let file = self.file.try_clone().map_err(fs::failed("write", journal))?;
        if let Err(error) = self.files.sync_folder(folder) {
            let _ = self.files.remove(journal); // nothing was written: without it the image is what it is
            return Err(fs::failed("write", journal)(error).into());
        }
        Ok(Journal { file, path: journal.to_owned(), header, table })
    }
}

/// Returns the folder of a path that was made absolute.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn entry_sum(entry: &Entry) -> u32 {
    let length = (entry.old.len() as u64).to_le_bytes();
    let kind = u32::from(entry.is_mark).to_le_bytes();
    crc32c_of(&[&entry.at.to_le_bytes(), &length, &kind, &entry.old, &entry.new])
}

fn header_bytes(header: &Header) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, 8, &VERSION.to_le_bytes());
    put(&mut bytes, 12, &header.entries.to_le_bytes());
    put(&mut bytes, 16, &header.length_before.to_le_bytes());
    put(&mut bytes, 24, &header.length_after.to_le_bytes());
    put(&mut bytes, 32, &header.journal_bytes.to_le_bytes());
    put(&mut bytes, 40, &header.old.0);
    put(&mut bytes, 72, &header.table_bytes.to_le_bytes());
    put(&mut bytes, 80, &header.table.0);
    seal(&mut bytes);
    bytes
}

fn parse_header(bytes: &[u8; SECTOR]) -> std::result::Result<Option<Header>, read::OutOfBounds> {
    let (body, sum) = (read::slice(bytes, 0, 508)?, read::u32_le(bytes, 508)?);
    let version = read::u32_le(body, 8)?;
    if !body.starts_with(&MAGIC) || ![VERSION, TIMED_VERSION].contains(&version) || sum != crc32c(body) {
        return Ok(None);
    }
    let table_bytes = if version == VERSION { read::u64_le(body, 72)? } else { 0 };
    Ok(Some(Header {
        entries: read::u32_le(body, 12)?,
        length_before: read::u64_le(body, 16)?,
        length_after: read::u64_le(body, 24)?,
        journal_bytes: read::u64_le(body, 32)?,
        old: Digest(read::array(body, 40)?),
        table_bytes,
        table: Digest(read::array(body, 80)?),
    }))
}

/// A whole journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    pub header: Header,
    /// The digests of the image's blocks before the run, if the journal holds them.
    pub table: Option<Table>,
}

impl Journal {
    /// Opens the journal of that name and checks every checksum in it.
    ///
    /// # Errors
    /// [`Error::UndoCorrupt`] if one is wrong, [`Error::UndoOwner`] if somebody else could have made it, otherwise the
    /// operating system's.
    pub fn open(path: &Path, image: &Path) -> Result<Self> {
        let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let opened = File::options().read(true).write(true).custom_flags(flags).open(path);
        let file = opened.map_err(fs::failed("open", path))?;
        let corrupt = |at| Error::UndoCorrupt { path: path.to_owned(), at };
        let metadata = file.metadata().map_err(fs::failed("examine", path))?;
        // What was opened is what is judged, whatever has this name by now.
        check_metadata(&metadata, image.metadata().map_err(fs::failed("open", image))?.uid(), path)?;
        let length = metadata.len();
        let mut head = [0; SECTOR];
        (&file).read_exact(&mut head).map_err(|_| corrupt(0))?;
        let header = parse_header(&head).ok().flatten().ok_or_else(|| corrupt(0))?;
        if header.journal_bytes != length {
            return Err(corrupt(length));
        }
        let mut journal = Self { file, path: path.to_owned(), header, table: None };
        let (mut old, mut sums) = (Sha256::new(), Vec::new());
        let end = journal.for_each_entry(|entry| {
            old.update(&entry.old);
            sums.extend_from_slice(&entry_sum(entry).to_le_bytes());
            Ok(())
        })?;
        let mut mark = [0; 16];
        journal.file.read_exact_at(&mut mark, end).map_err(|_| corrupt(end))?;
        let whole = mark.starts_with(&MARK) && read::u32_le(&mark, 8) == Ok(crc32c(&sums));
        let table_at = end.saturating_add(MARK_BYTES);
        if !whole
            || table_at.checked_add(header.table_bytes) != Some(length)
            || header.table_bytes > table::BYTES_MAX
            || Digest(old.finalize().into()) != header.old
        {
            return Err(corrupt(end));
        }
        if header.table_bytes > 0 {
            let mut bytes = vec![0; usize::try_from(header.table_bytes).unwrap_or(0)];
            journal.file.read_exact_at(&mut bytes, table_at).map_err(|_| corrupt(table_at))?;
            let table = Some(&bytes).filter(|bytes| Digest::of(bytes) == header.table);
            let table = table.and_then(|bytes| Table::parse(bytes, header.length_before));
            journal.table = Some(table.ok_or_else(|| corrupt(table_at))?);
        }
        Ok(journal)
    }

    /// Calls `each` with the entries in their order; returns where the last one ends.
    pub fn for_each_entry(&self, mut each: impl FnMut(&Entry) -> Result<()>) -> Result<u64> {
        let mut at = ENTRIES_AT;
        // As many rounds as the header says, which stands under a checksum; each ends inside the file or fails.
        for _ in 0..self.header.entries {
            let entry = self.entry(at).ok_or_else(|| Error::UndoCorrupt { path: self.path.clone(), at })?;
            each(&entry)?;
            let length = (entry.old.len() as u64).saturating_mul(2).saturating_add(ENTRY_HEAD_BYTES as u64);
            at = at.saturating_add(length);
        }
        Ok(at)
    }

    /// Reads an entry; `None` if it is damaged.
    fn entry(&self, at: u64) -> Option<Entry> {
        let mut head = [0; ENTRY_HEAD_BYTES];
        self.file.read_exact_at(&mut head, at).ok()?;
        let (place, length, sum) = (read::u64_le(&head, 0), read::u64_le(&head, 8), read::u32_le(&head, 16));
        let (place, length, sum) = (place.ok()?, length.ok()?, sum.ok()?);
        let is_mark = match read::u32_le(&head, 20).ok()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        if length > ENTRY_BYTES_MAX || place.checked_add(length)? > self.header.length_before {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(length.checked_mul(2)?).ok()?];
        self.file.read_exact_at(&mut bytes, at.checked_add(ENTRY_HEAD_BYTES as u64)?).ok()?;
        let (old, new) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        let entry = Entry { at: place, old: old.to_vec(), new: new.to_vec(), is_mark };
        (entry_sum(&entry) == sum).then_some(entry)
    }

    /// Notes how far the run came.
    pub fn set_state(&self, files: &dyn Files, state: State) -> Result<()> {
        let bytes = state_bytes(state);
        let write = files.write(&self.file, STATE_AT, &bytes).and_then(|()| files.sync(&self.file));
        Ok(write.map_err(fs::failed("write", &self.path))?)
    }

    /// Removes the journal: the image is whole, old or new.
    pub fn remove(&self, files: &dyn Files) -> Result<()> {
        remove(files, &self.path)
    }
}

/// Removes a journal, and makes that durable.
pub(super) fn remove(files: &dyn Files, journal: &Path) -> Result<()> {
    let removed = files.remove(journal).and_then(|()| files.sync_folder(folder_of(journal)));
    Ok(removed.map_err(fs::failed("remove", journal))?)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::files::Real;
    use super::*;
    use coldforge_base::Failure as _;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.coldforge-undo");
        std::fs::write(folder.path().join("image"), b"image").unwrap();
        let mut writer = Writer::create(&Real, &path).unwrap();
        writer.add(&Entry { at: 512, old: vec![1; 512], new: vec![2; 512], is_mark: false }).unwrap();
        writer.add(&Entry { at: 4096, old: vec![3; 7], new: vec![4; 7], is_mark: true }).unwrap();
        let table = Table { block_bytes: 256 << 10, blocks: vec![(0, Digest::of(b"block"))] };
        writer.commit(&path, (8192, 9000), Some(table)).unwrap();
        (folder, path)
    }

    #[test]
    fn what_was_written_is_read_and_its_state_is_told() {
        let (_folder, path) = made();
        assert!(!part_of(&path).exists());
        let image = path.with_extension("");
        let journal = Journal::open(&path, &image).unwrap();
        assert_eq!(journal.table.as_ref().map(|table| table.blocks.len()), Some(1));
        assert_eq!(
            (journal.header.entries, journal.header.length_before, journal.header.length_after),
            (2, 8192, 9000)
        );
        let mut places = Vec::new();
        let mut note = |entry: &Entry| places.push((entry.at, entry.old[0], entry.new[0]));
        journal
            .for_each_entry(|entry| {
                note(entry);
                Ok(())
            })
            .unwrap();
        assert_eq!(places, [(512, 1, 2), (4096, 3, 4)]);
        assert_eq!(state_of(&path, &image).unwrap(), Some(State::Running));
        for state in [State::Written(Digest::of(b"1")), State::Finished(Digest::of(b"2"))] {
            journal.set_state(&Real, state).unwrap();
            assert_eq!(state_of(&path, &image).unwrap(), Some(state));
        }
        Journal::open(&path, &image).unwrap().remove(&Real).unwrap();
        assert_eq!(state_of(&path, &image).unwrap(), None);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let (_folder, path) = made();
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).filter(|at| !(512..1024).contains(at)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            // Four bytes of each entry and of the mark are spare.
            match Journal::open(&path, &path.with_extension("")) {
                Err(error) => assert_eq!(error.code(), Some("E-UNDO-CORRUPT")),
                Ok(_) => assert!(is_spare(at), "byte {at:#x}"),
            }
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(
                Journal::open(&path, &path.with_extension("")).unwrap_err().code(),
                Some("E-UNDO-CORRUPT"),
                "{length} bytes"
            );
        }
    }

    fn is_spare(at: usize) -> bool {
        let second = 1024 + 24 + 1024;
        [1024 + 20, second + 20, second + 24 + 14 + 12].iter().any(|spare| (*spare..spare + 4).contains(&at))
    }

    #[test]
    fn a_state_that_is_not_surely_finished_is_running() {
        let finished = state_bytes(State::Finished(Digest::of(b"tail")));
        assert_eq!(parse_state(&finished), State::Finished(Digest::of(b"tail")));
        for at in 0..SECTOR {
            let mut bytes = finished;
            bytes[at] ^= 0x10;
            assert_eq!(parse_state(&bytes), State::Running);
        }
    }
}
