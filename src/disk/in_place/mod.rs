//! Writing into the image file itself, with a way back.
//!
//! Before the first byte of the image changes, everything that will be overwritten lies in a journal beside it
//! (`IMAGE.coldforge-undo`), flushed with its folder. A run that ends before its last byte leaves the journal behind:
//! [`Raw::open`](super::Raw::open) then refuses the image until [`undo`] has put the old bytes back. A run may keep its
//! journal after success; the image can then be read as any other, and [`undo`] rolls the whole run back as long as
//! nobody has written to the image since.
//!
//! The order of writing: the marks that the caller names (a volume's dirty flag), what lies behind the old end of the
//! file (new blocks of a dynamic VHD and its moved footer), the container's tables, then the disk's bytes in the steps
//! that the caller names, each step flushed before the next; all is read back, and then the marks are taken away. An
//! undo sets and takes them away likewise.
//!
//! Room for everything is reserved before the first byte changes, so that a full file system is no reason to stop half
//! way. While a run or an undo works it holds an exclusive `flock` on the image and a record lock on all of it, which
//! qemu heeds; a signal waits for its end. Not handled here: VHDX, differencing and VMDK files, which are refused.

#[cfg(test)]
mod faults;
mod files;
mod journal;

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::export::{compare, for_each_piece};
use super::parent::Lineage;
use super::plan::Step;
use super::{BlockDevice, Error, Image, Overlay, Raw, Result};
use crate::base::digest::Digest;
use crate::base::interrupt::Whole;
use crate::base::offset::normalize;
use crate::base::progress::Progress;
use crate::base::{Extent, fs, read};
use files::{Files, Real};
use journal::{ENTRY_BYTES_MAX, Entry, Journal, State, Writer};

/// Changes are widened to whole sectors, so that thousands of single bytes are not thousands of writes.
const SECTOR: u64 = 512;
/// Memory for what is read, written and compared at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What becomes of the journal after a run that succeeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UndoJournal {
    /// It stays, and [`undo`] can roll the run back.
    Keep,
    /// It is removed.
    Remove,
}

/// A byte of the disk that has another value while a run writes: a volume's mark that it is not to be trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Where it lies on the disk.
    pub at: u64,
    /// The value that it has meanwhile.
    pub byte: u8,
}

/// What a run in place wrote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InPlace {
    /// The ranges of the disk that differ from what was there, in bytes of the disk.
    pub changed: Vec<Extent>,
    /// Length of the image file in bytes.
    pub file_bytes: u64,
    /// How many blocks a dynamic VHD gained.
    pub added_blocks: u64,
    /// The journal, if there is one: nothing changed if there is none although it was to be kept.
    pub journal: Option<PathBuf>,
}

/// What stands beside an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pending {
    /// The journal of a run that did not end: the image may be half written.
    Unfinished,
    /// The journal of a run that ended well and may be rolled back.
    Finished,
}

/// What [`undo`] did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Undone {
    /// Whose traces were removed.
    pub run: Pending,
    /// How many bytes of the image file were put back.
    pub bytes: u64,
    /// Length of the image file in bytes.
    pub file_bytes: u64,
}

/// Writes the disk that `overlay` shows into the image file below it.
///
/// `order` names ranges of the disk in the order in which they must reach the medium; each group is flushed before the
/// next is written. What is in no group is written before the first. `marks` are set before everything else and taken
/// away last; where one lies in a sector that changes, none is set. The image must not be read through the overlay any
/// more: open it again.
///
/// # Errors
/// [`Error::InPlace`] for a container that cannot be written in place, [`Error::Linked`] if the file has several names,
/// [`Error::UndoExists`] if the journal of an earlier run stands there, [`Error::Busy`], [`Error::SourceChanged`],
/// [`Error::ReadBack`], otherwise the operating system's. After an error the image is what it was before; if not even
/// that could be done, its journal stays and the next opening says [`Error::UnfinishedRun`].
pub fn write_in_place(
    overlay: &Overlay<&Image>,
    order: &[Vec<Extent>],
    marks: &[Mark],
    keep: UndoJournal,
    progress: &dyn Progress,
) -> Result<InPlace> {
    write(overlay, (order, marks), keep, progress, &Real)
}

/// Tells what stands beside an image.
///
/// # Errors
/// The operating system's.
pub fn pending(image: &Path) -> Result<Option<Pending>> {
    Ok(journal::state_of(&journal::path_of(image)?)?.map(|state| match state {
        State::Running => Pending::Unfinished,
        State::Finished(..) => Pending::Finished,
    }))
}

/// Brings an image back to what it was before the run whose journal stands beside it, and removes the journal.
///
/// Works however far the run, or an earlier undo, came, and however often it is called.
///
/// # Errors
/// [`Error::NoUndo`] if there is no journal, [`Error::UndoCorrupt`] if it is damaged, [`Error::UndoStale`] if the image
/// was written to after the run, [`Error::UndoForeign`] if it holds what neither was there before nor was written by
/// the run, [`Error::Busy`], otherwise the operating system's.
pub fn undo(image: &Path, progress: &dyn Progress) -> Result<Undone> {
    roll_back(image, progress, &Real)
}

/// Removes the journal of a run that ended well: the image stays as it is, for good. Tells whether there was one.
///
/// # Errors
/// [`Error::UnfinishedRun`] if the run did not end, otherwise the operating system's.
pub fn forget(image: &Path) -> Result<bool> {
    let journal = journal::path_of(image)?;
    match journal::state_of(&journal)? {
        None => Ok(false),
        Some(State::Running) => Err(Error::UnfinishedRun { path: image.to_owned() }),
        Some(State::Finished(..)) => journal::remove(&Real, &journal).map(|()| true),
    }
}

/// Refuses an image beside which an unfinished run's journal stands.
pub(super) fn refuse_unfinished(image: &Path) -> Result<()> {
    match pending(image)? {
        Some(Pending::Unfinished) => Err(Error::UnfinishedRun { path: image.to_owned() }),
        Some(Pending::Finished) | None => Ok(()),
    }
}

/// Refuses an image beside which any run's journal stands.
pub(super) fn refuse_finished(image: &Path) -> Result<()> {
    let path = journal::path_of(image)?;
    if journal::state_of(&path)?.is_some() { Err(Error::UndoExists { path }) } else { Ok(()) }
}

fn write(
    overlay: &Overlay<&Image>,
    (order, marks): (&[Vec<Extent>], &[Mark]),
    keep: UndoJournal,
    progress: &dyn Progress,
    files: &dyn Files,
) -> Result<InPlace> {
    let image = *overlay.base();
    let raw = image.raw();
    let changed = overlay.changed()?;
    let length_before = raw.len();
    if changed.is_empty() {
        return Ok(InPlace { changed, file_bytes: length_before, added_blocks: 0, journal: None });
    }
    let sectors = whole_sectors(&changed, overlay.len());
    let marks = Marks::beside(&sectors, marks, overlay)?;
    let plan = image.plan(&normalize([&sectors[..], &marks.sectors].concat()))?;
    refuse_finished(raw.path())?;
    let journal_path = journal::path_of(raw.path())?;
    let target = Target::claim(raw)?;
    raw.unchanged()?;

    let _whole = Whole::begin();
    let phases = phases(&plan.steps, length_before, order, &marks);
    let total = phases.body.iter().flatten().fold(0u64, |sum, write| sum.saturating_add(write.length()));
    progress.start("write changes", total);
    let mut writer = Writer::create(files, &journal_path)?;
    let own = phases.body.iter().flatten().map(|write| (write, false));
    for (write, passing) in own.chain(phases.mark.iter().map(|write| (write, true))) {
        write.for_each_piece(overlay, |at, new| match inside(at, new, length_before) {
            None => Ok(()),
            Some(new) => {
                let mut old = vec![0; new.len()];
                raw.read_at(at, &mut old)?;
                writer.add(&Entry { at, old, new: new.to_vec(), passing })
            }
        })?;
    }
    raw.unchanged()?;
    let journal = writer.commit(&journal_path, length_before, plan.file_bytes)?;

    let run = Run { overlay, target: &target, files };
    if let Err(error) = run.reserve(&phases) {
        let _ = journal.remove(files); // not a byte of the image has changed
        return Err(error);
    }
    let finish = || match keep {
        UndoJournal::Keep => {
            let (seconds, nanoseconds) = target.time()?;
            journal.set_state(files, State::Finished(seconds, nanoseconds))
        }
        UndoJournal::Remove => journal.remove(files),
    };
    if let Err(error) = run.write(&phases, plan.file_bytes, &changed, progress).and_then(|()| finish()) {
        // The journal goes only if the image is surely what it was.
        let _ = target.restore(&journal, files).and_then(|_| journal.remove(files));
        return Err(error);
    }
    let journal = (keep == UndoJournal::Keep).then_some(journal_path);
    Ok(InPlace { changed, file_bytes: plan.file_bytes, added_blocks: plan.added_blocks, journal })
}

fn roll_back(image: &Path, progress: &dyn Progress, files: &dyn Files) -> Result<Undone> {
    let path = journal::path_of(image)?;
    let part = journal::part_of(&path);
    let Some(state) = journal::state_of(&path)? else {
        if part.symlink_metadata().is_err() {
            return Err(Error::NoUndo { path: image.to_owned() });
        }
        // The run had not begun to write.
        let target = Target::open(image)?;
        journal::remove(files, &part)?;
        return Ok(Undone { run: Pending::Unfinished, bytes: 0, file_bytes: target.length()? });
    };
    let target = Target::open(image)?;
    let journal = Journal::open(&path)?;
    let run = match state {
        State::Running => Pending::Unfinished,
        State::Finished(seconds, nanoseconds) => {
            let as_written =
                target.length()? == journal.header.length_after && target.time()? == (seconds, nanoseconds);
            if !as_written || !target.holds(&journal, |entry, found| entry.at_the_end() == found)? {
                return Err(Error::UndoStale { path: image.to_owned() });
            }
            Pending::Finished
        }
    };
    let of_the_run = |entry: &Entry, found: &[u8]| {
        let known = |((found, old), new)| found == old || found == new;
        found.iter().zip(&entry.old).zip(&entry.new).all(known)
    };
    let length = target.length()?;
    let known_length = length == journal.header.length_before || length == journal.header.length_after;
    if !known_length || !target.holds(&journal, of_the_run)? {
        return Err(Error::UndoForeign { path: image.to_owned() });
    }
    // From here on the image may be half old.
    let _whole = Whole::begin();
    if run == Pending::Finished {
        journal.set_state(files, State::Running)?;
    }
    progress.start("undo", 0);
    let bytes = target.restore(&journal, files)?;
    let file_bytes = journal.header.length_before;
    journal.remove(files)?;
    Ok(Undone { run, bytes, file_bytes })
}

/// Widens ranges of a disk to whole sectors.
fn whole_sectors(changed: &[Extent], size: u64) -> Vec<Extent> {
    let widened = changed.iter().map(|extent| {
        let start = extent.offset.saturating_sub(extent.offset % SECTOR);
        let end = extent.end().next_multiple_of(SECTOR).min(size);
        Extent::new(start, end.saturating_sub(start))
    });
    normalize(widened.collect())
}

/// Returns the part of some bytes at `at` of a file that lies before its end.
fn inside(at: u64, bytes: &[u8], length: u64) -> Option<&[u8]> {
    let room = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
    bytes.get(..bytes.len().min(room)).filter(|bytes| !bytes.is_empty())
}

/// The sectors that hold the marks of a run: what they are, and what they are with the marks.
///
/// Both are kept, because a disk that is written to is read no more.
#[derive(Clone, Debug, Default)]
struct Marks {
    sectors: Vec<Extent>,
    plain: Vec<Vec<u8>>,
    marked: Vec<Vec<u8>>,
}

impl Marks {
    /// Takes marks in if none of them lies in the sectors of the disk that change.
    fn beside(changed: &[Extent], marks: &[Mark], disk: &dyn BlockDevice) -> Result<Self> {
        let places: Vec<Extent> = marks.iter().map(|mark| Extent::new(mark.at, 1)).collect();
        let meets = |mark: &Mark| changed.iter().any(|extent| extent.offset <= mark.at && mark.at < extent.end());
        if marks.iter().any(|mark| mark.at >= disk.len() || meets(mark)) {
            return Ok(Self::default());
        }
        let mut held = Self { sectors: whole_sectors(&places, disk.len()), ..Self::default() };
        for sector in &held.sectors {
            // As few sectors as marks.
            let mut bytes = vec![0; usize::try_from(sector.length).expect("a few sectors are small")];
            disk.read_at(sector.offset, &mut bytes)?;
            held.plain.push(bytes.clone());
            for mark in marks {
                let within = mark.at.checked_sub(sector.offset).and_then(|within| usize::try_from(within).ok());
                if let Some(byte) = within.and_then(|within| bytes.get_mut(within)) {
                    *byte = mark.byte;
                }
            }
            held.marked.push(bytes);
        }
        Ok(held)
    }

    /// Returns the writes of `contents` (one for each sector) to where pieces of the sectors lie in the file.
    fn writes<'a>(&self, pieces: &[Placed], contents: &'a [Vec<u8>]) -> Vec<Write<'a>> {
        let held = || self.sectors.iter().zip(contents);
        let write = |(file_at, piece): &Placed| {
            let (sector, bytes) =
                held().find(|(sector, _)| sector.offset <= piece.offset && piece.end() <= sector.end())?;
            let within = usize::try_from(piece.offset.checked_sub(sector.offset)?).ok()?;
            let bytes = read::slice(bytes, within, usize::try_from(piece.length).ok()?).ok()?;
            Some(Write::Own(*file_at, bytes))
        };
        pieces.iter().filter_map(write).collect()
    }
}

/// One write into the image file.
#[derive(Clone, Copy, Debug)]
enum Write<'a> {
    /// Bytes of the container's structures.
    Own(u64, &'a [u8]),
    /// A range of the disk, and where it lies in the file.
    Guest(u64, Extent),
}

impl Write<'_> {
    fn length(&self) -> u64 {
        match self {
            Self::Own(_, bytes) => bytes.len() as u64,
            Self::Guest(_, extent) => extent.length,
        }
    }

    fn place(&self) -> u64 {
        match self {
            Self::Own(at, _) | Self::Guest(at, _) => *at,
        }
    }

    /// Calls `each` with the pieces of what is to be written, and where.
    fn for_each_piece(&self, overlay: &Overlay<&Image>, mut each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        match *self {
            Self::Own(at, bytes) => {
                let pieces = bytes.chunks(BUFFER_BYTES);
                (0u64..)
                    .zip(pieces)
                    .try_for_each(|(i, piece)| each(at.saturating_add(i.saturating_mul(BUFFER_BYTES as u64)), piece))
            }
            Self::Guest(at, extent) => {
                let mut buf = vec![0; usize::try_from(extent.length).unwrap_or(usize::MAX).min(BUFFER_BYTES)];
                for_each_piece(extent, &mut buf, |piece, buf| {
                    overlay.read_at(piece.offset, buf)?;
                    each(at.saturating_add(piece.offset.saturating_sub(extent.offset)), buf)
                })
            }
        }
    }
}
const _: () = assert!(BUFFER_BYTES as u64 <= ENTRY_BYTES_MAX);

/// The writes of a run.
#[derive(Debug)]
struct Phases<'a> {
    /// Sets the marks.
    mark: Vec<Write<'a>>,
    /// Everything else, in groups, each of which is flushed before the next begins.
    body: Vec<Vec<Write<'a>>>,
    /// Takes the marks away.
    unmark: Vec<Write<'a>>,
}

/// Sorts the writes of a plan.
fn phases<'a>(steps: &'a [Step], length_before: u64, order: &[Vec<Extent>], marks: &'a Marks) -> Phases<'a> {
    let (mut behind, mut own, mut guest) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Own { at, bytes } if *at >= length_before => behind.push(Write::Own(*at, bytes)),
            Step::Own { at, bytes } => own.push(Write::Own(*at, bytes)),
            Step::Guest { at, extent } if *at >= length_before => behind.push(Write::Guest(*at, *extent)),
            Step::Guest { at, extent } => guest.push((*at, *extent)),
        }
    }
    let (marked, mut guest) = split(guest, &marks.sectors);
    let mut groups = Vec::new();
    for group in order {
        let (inside, outside) = split(guest, &normalize(group.clone()));
        groups.push(inside);
        guest = outside;
    }
    let writes = |pieces: Vec<Placed>| pieces.into_iter().map(|(at, extent)| Write::Guest(at, extent)).collect();
    let body = [behind, own].into_iter().chain([guest].into_iter().chain(groups).map(writes));
    Phases {
        mark: marks.writes(&marked, &marks.marked),
        body: body.filter(|phase| !phase.is_empty()).collect(),
        unmark: marks.writes(&marked, &marks.plain),
    }
}

/// A range of the disk behind its place in the file.
type Placed = (u64, Extent);

/// Splits pieces of the disk by whether they lie in one of some normalized ranges.
fn split(pieces: Vec<Placed>, ranges: &[Extent]) -> (Vec<Placed>, Vec<Placed>) {
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for (file_at, piece) in pieces {
        let part = |start: u64, end: u64| {
            let file_at = file_at.saturating_add(start.saturating_sub(piece.offset));
            (file_at, Extent::new(start, end.saturating_sub(start)))
        };
        let mut at = piece.offset;
        let first = ranges.partition_point(|range| range.end() <= piece.offset);
        for range in ranges.iter().skip(first).take_while(|range| range.offset < piece.end()) {
            let (start, end) = (range.offset.max(piece.offset), range.end().min(piece.end()));
            if start > at {
                outside.push(part(at, start));
            }
            inside.push(part(start, end));
            at = end;
        }
        if at < piece.end() {
            outside.push(part(at, piece.end()));
        }
    }
    (inside, outside)
}

/// A run whose journal is written.
struct Run<'a> {
    overlay: &'a Overlay<&'a Image>,
    target: &'a Target,
    files: &'a dyn Files,
}

impl Run<'_> {
    /// Makes sure that everything that is to be written has room.
    fn reserve(&self, phases: &Phases<'_>) -> Result<()> {
        let Target { file, path } = self.target;
        for write in phases.mark.iter().chain(phases.body.iter().flatten()) {
            let reserved = self.files.reserve(file, write.place(), write.length());
            reserved.map_err(fs::failed("reserve space in", path))?;
        }
        Ok(())
    }

    /// Writes all phases, reads them back, and opens the file as the container that it is.
    fn write(&self, phases: &Phases<'_>, file_bytes: u64, changed: &[Extent], progress: &dyn Progress) -> Result<()> {
        let Target { file, path } = self.target;
        self.put(&phases.mark, progress)?;
        if file_bytes != self.target.length()? {
            self.files.resize(file, file_bytes).map_err(fs::failed("resize", path))?;
        }
        for phase in &phases.body {
            self.put(phase, progress)?;
        }
        let mut found = vec![0; BUFFER_BYTES];
        self.check(phases.body.iter().flatten(), &mut found)?;
        self.put(&phases.unmark, progress)?;
        self.check(phases.unmark.iter(), &mut found)?;
        let again = file.try_clone().map_err(fs::failed("open", path))?;
        let format = self.overlay.base().format();
        let written = Image::of(Raw::of_file(again, path)?, format, &mut Lineage::default())?;
        compare(self.overlay, &written, changed, &mut found)
    }

    /// Writes a group and flushes it.
    fn put(&self, phase: &[Write<'_>], progress: &dyn Progress) -> Result<()> {
        let Target { file, path } = self.target;
        for write in phase {
            write.for_each_piece(self.overlay, |at, bytes| {
                Ok(self.files.write(file, at, bytes).map_err(fs::failed("write", path))?)
            })?;
            progress.advance(write.length());
        }
        if phase.is_empty() {
            return Ok(());
        }
        Ok(self.files.sync(file).map_err(fs::failed("flush", path))?)
    }

    /// Reads back what was written.
    fn check<'w>(&self, writes: impl Iterator<Item = &'w Write<'w>>, found: &mut [u8]) -> Result<()> {
        let Target { file, path } = self.target;
        for write in writes {
            write.for_each_piece(self.overlay, |at, bytes| {
                let found = found.get_mut(..bytes.len()).expect("a piece fits into the buffer");
                file.read_exact_at(found, at).map_err(fs::failed("read", path))?;
                if found == bytes { Ok(()) } else { Err(Error::ReadBack { at }) }
            })?;
        }
        Ok(())
    }
}

/// An image file, opened for writing under exclusive locks.
struct Target {
    file: File,
    path: PathBuf,
}

impl Target {
    /// Opens the file that is open for reading already, and makes its shared lock an exclusive one.
    fn claim(raw: &Raw) -> Result<Self> {
        let target = Self::open_file(raw.path())?;
        let (mine, its) = (target.metadata()?, raw.metadata()?);
        if (mine.dev(), mine.ino()) != (its.dev(), its.ino()) {
            return Err(raw.changed());
        }
        target.lock(raw.file())?;
        Ok(target)
    }

    /// Opens a file and locks it.
    fn open(path: &Path) -> Result<Self> {
        let target = Self::open_file(path)?;
        target.lock(&target.file)?;
        Ok(target)
    }

    fn open_file(path: &Path) -> Result<Self> {
        let metadata = path.metadata().map_err(fs::failed("open", path))?;
        if !metadata.is_file() {
            return Err(Error::NotAFile { path: path.to_owned(), what: "no plain file" });
        }
        let file = File::options().read(true).write(true).open(path).map_err(fs::failed("open", path))?;
        let target = Self { file, path: path.to_owned() };
        match target.metadata()?.nlink() {
            0 | 1 => Ok(target),
            names => Err(Error::Linked { path: path.to_owned(), names }),
        }
    }

    /// Takes the two locks; a file system without locks has nobody to ask.
    fn lock(&self, flocked: &File) -> Result<()> {
        let flocked = rustix::fs::flock(flocked, FlockOperation::NonBlockingLockExclusive);
        // Programs such as qemu lock single bytes: a lock on all of them meets each of theirs.
        let locked =
            flocked.and_then(|()| rustix::fs::fcntl_lock(&self.file, FlockOperation::NonBlockingLockExclusive));
        match locked {
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(Errno::AGAIN | Errno::ACCESS) => Err(Error::Busy { path: self.path.clone() }),
            Err(errno) => Err(fs::failed("lock", &self.path)(errno.into()).into()),
        }
    }

    fn metadata(&self) -> Result<std::fs::Metadata> {
        Ok(self.file.metadata().map_err(fs::failed("examine", &self.path))?)
    }

    fn length(&self) -> Result<u64> {
        Ok(self.metadata()?.len())
    }

    /// Returns when the file was written to last: seconds and nanoseconds since 1970.
    fn time(&self) -> Result<(i64, i64)> {
        let metadata = self.metadata()?;
        Ok((metadata.mtime(), metadata.mtime_nsec()))
    }

    /// Tells whether `holds` is true of every entry of a journal and what the file holds in its place; what lies behind
    /// the file's end holds nothing.
    fn holds(&self, journal: &Journal, holds: impl Fn(&Entry, &[u8]) -> bool) -> Result<bool> {
        let mut all = true;
        journal.for_each_entry(|entry| {
            let mut found = vec![0; entry.old.len()];
            self.file.read_exact_at(&mut found, entry.at).map_err(fs::failed("read", &self.path))?;
            all &= holds(entry, &found);
            Ok(())
        })?;
        Ok(all)
    }

    /// Puts all old bytes and the old length back, flushes, and reads them again; returns how many there were.
    fn restore(&self, journal: &Journal, files: &dyn Files) -> Result<u64> {
        let (mut bytes, mut marked) = (0u64, false);
        let write = |at, bytes: &[u8]| files.write(&self.file, at, bytes).map_err(fs::failed("write", &self.path));
        let flush = || files.sync(&self.file).map_err(fs::failed("flush", &self.path));
        journal.for_each_entry(|entry| {
            marked |= entry.passing;
            if entry.passing { Ok(write(entry.at, &entry.new)?) } else { Ok(()) }
        })?;
        if marked {
            flush()?;
        }
        journal.for_each_entry(|entry| {
            bytes = bytes.saturating_add(entry.old.len() as u64);
            if entry.passing { Ok(()) } else { Ok(write(entry.at, &entry.old)?) }
        })?;
        let header = &journal.header;
        if self.length()? != header.length_before {
            files.resize(&self.file, header.length_before).map_err(fs::failed("resize", &self.path))?;
        }
        flush()?;
        if marked {
            journal.for_each_entry(|entry| if entry.passing { Ok(write(entry.at, &entry.old)?) } else { Ok(()) })?;
            flush()?;
        }
        let mut old = Sha256::new();
        journal.for_each_entry(|entry| {
            let mut found = vec![0; entry.old.len()];
            self.file.read_exact_at(&mut found, entry.at).map_err(fs::failed("read", &self.path))?;
            old.update(&found);
            Ok(())
        })?;
        if Digest(old.finalize().into()) == header.old { Ok(bytes) } else { Err(Error::ReadBack { at: 0 }) }
    }
}
