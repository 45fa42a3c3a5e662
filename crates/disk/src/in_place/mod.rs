//! Writing into the image file itself, with a way back.
//!
//! Before the first byte of the image changes, everything that will be overwritten lies in a journal beside it
//! (`IMAGE.coldforge-undo`), flushed with its folder. A run that ends before its last byte leaves the journal behind:
//! [`Raw::open`](super::Raw::open) then refuses the image until [`undo`] has put the old bytes back. A run may keep its
//! journal after success; the image can then be read as any other, and [`undo`] rolls the whole run back as long as
//! nobody has written to the image since. Whether somebody has is judged by digests of the file's blocks, which the
//! journal holds, so that a copy of image and journal can be rolled back as well.
//!
//! The order of writing: the marks that the caller names (a volume's dirty flag), what lies behind the old end of the
//! file (new blocks of a dynamic VHD and its moved footer), the container's tables, then the disk's bytes in the steps
//! that the caller names, each step flushed before the next; all is read back, and then the marks are taken away. An
//! undo sets and takes them away likewise.
//!
//! Room for everything is reserved before the first byte changes, so that a full file system is no reason to stop half
//! way. While a run or an undo works it holds the locks of a writer on the image (see the `lock` module), which qemu
//! heeds; a signal waits for its end. A block device is written like a file whose length is fixed; its journal lies below
//! `/var/lib/coldforge`, because names and files in `/dev` are gone when the machine stops. Not handled here: VHDX, differencing and VMDK files, which are refused.

#[cfg(test)]
mod faults;
mod files;
mod journal;
mod pending;
mod table;
mod target;
mod undo;

pub use pending::{Pending, pending};
pub(super) use pending::{refuse_finished, refuse_unfinished};
pub use undo::Undone;

use std::path::{Path, PathBuf};

use super::compare::check_written;
use super::pieces::for_each_piece;
use super::plan::PlannedWrite;
use super::{Error, Format, Image, Overlay, Raw, Result};
use coldforge_base::interrupt::{self, CriticalSection};
use coldforge_base::offset::normalize;
use coldforge_base::progress::Progress;
use coldforge_base::{Extent, ReadAt, fs, read};
use files::{Files, Real};
use journal::{ENTRY_BYTES_MAX, Entry, Journal, State, Writer};
use table::{Table, digest_of};
use target::{SECTOR, Target};

/// Memory for what is read, written and compared at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What becomes of the journal after a run that succeeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UndoJournal {
    /// It stays, and [`undo`] can roll the run back.
    Keep,
    /// It stays likewise, and says until [`Held::settle`] that something is still to be done behind the run, such as
    /// writing its evidence.
    KeepUnsettled,
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
#[derive(Debug)]
pub struct InPlace {
    /// The ranges of the disk that differ from what was there, in bytes of the disk.
    pub changed: Vec<Extent>,
    /// Length of the image file in bytes.
    pub file_bytes: u64,
    /// How many blocks a dynamic VHD gained.
    pub added_blocks: u64,
    /// The journal, if there is one: nothing changed if there is none although it was to be kept.
    pub journal: Option<PathBuf>,
    /// The image that was written, under the locks of its writer; `None` if nothing changed.
    pub held: Option<Held>,
}

/// An image that was written in place, and that nobody else can use as long as this value lives.
#[derive(Debug)]
pub struct Held {
    target: Target,
    journal: Option<Journal>,
    state: State,
}

impl Held {
    /// Opens the image that was written, to read it under the locks that are held.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub fn image(&self, format: Format) -> Result<Image> {
        self.target.image(format)
    }

    /// Says in the journal that nothing is left to be done behind the run.
    ///
    /// # Errors
    /// The operating system's.
    pub fn settle(&self) -> Result<()> {
        match (&self.journal, self.state) {
            (Some(journal), State::Written(tail)) => journal.set_state(&Real, State::Finished(tail)),
            _ => Ok(()),
        }
    }

    /// Takes the run back, and removes its journal.
    ///
    /// # Errors
    /// The operating system's; the journal then stays for [`undo`].
    pub fn take_back(&self, progress: &dyn Progress) -> Result<()> {
        let Some(journal) = &self.journal else { return Ok(()) };
        undo::take_back(&self.target, journal, self.state, &[], progress, &Real).map(|_| ())
    }
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

/// Brings an image back to what it was before the run whose journal stands beside it, and removes the journal.
///
/// Works however far the run, or an earlier undo, came, and however often it is called.
///
/// # Errors
/// [`Error::NoUndo`] if there is no journal, [`Error::UndoCorrupt`] if it is damaged, [`Error::UndoOwner`] if somebody
/// else could have made it, [`Error::UndoForeign`] if the image holds what neither was there before nor was written by
/// the run, [`Error::UndoStale`] if a journal of an earlier version cannot tell, [`Error::Busy`], otherwise the operating
/// system's.
pub fn undo(image: &Path, progress: &dyn Progress) -> Result<Undone> {
    undo::roll_back(image, false, progress, &Real)
}

/// Takes back what the run whose journal stands beside an image wrote, as far as it still is as the run wrote it, and
/// removes the journal. [`Undone::left`] says what is left.
///
/// # Errors
/// Those of [`undo`] but for [`Error::UndoForeign`] and [`Error::UndoStale`].
pub fn undo_by_force(image: &Path, progress: &dyn Progress) -> Result<Undone> {
    undo::roll_back(image, true, progress, &Real)
}

/// Removes the journal of a run that wrote all of the image, which stays as it is for good. Tells whether there was one.
///
/// # Errors
/// [`Error::UnfinishedRun`] if the run did not end, [`Error::UndoOwner`], otherwise the operating system's.
pub fn forget(image: &Path) -> Result<bool> {
    let journal = journal::path_of(image)?;
    match journal::state_of(&journal, image)? {
        None => Ok(false),
        Some(State::Running) => Err(Error::UnfinishedRun { path: image.to_owned() }),
        Some(_) => journal::remove(&Real, &journal).map(|()| true),
    }
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
        return Ok(InPlace { changed, file_bytes: length_before, added_blocks: 0, journal: None, held: None });
    }
    let sectors = whole_sectors(&changed, overlay.len());
    let marks = Marks::beside(&sectors, marks, overlay)?;
    let plan = image.plan(&normalize([&sectors[..], &marks.sectors].concat()))?;
    if plan.file_bytes != length_before && raw.is_device()? {
        return Err(Error::InPlace { container: "a dynamic VHD on a block device, which cannot grow," });
    }
    refuse_finished(raw.path())?;
    let journal_path = journal::place_of(raw.path(), true)?;
    let target = Target::claim(raw)?;
    raw.unchanged()?;

    let table = match keep {
        UndoJournal::Remove => None,
        UndoJournal::Keep | UndoJournal::KeepUnsettled => Some(digest_blocks(raw, progress)?),
    };
    let _critical = CriticalSection::begin();
    let phases = phases(&plan.writes, length_before, order, &marks);
    let total = phases.body.iter().flatten().fold(0u64, |sum, write| sum.saturating_add(write.length()));
    progress.start("write changes", total);
    let writer = journal_old_bytes(overlay, &phases, &journal_path, files)?;
    raw.unchanged()?;
    let journal = writer.commit(&journal_path, (length_before, plan.file_bytes), table)?;

    let run = Run { overlay, target: &target, files };
    if let Err(error) = run.reserve(&phases) {
        let _ = journal.remove(files); // not a byte of the image has changed
        return Err(error);
    }
    let written = run.write(&phases, plan.file_bytes, &changed, progress).and_then(|()| {
        run.settle_journal(&journal, keep, Extent::new(length_before, plan.file_bytes.saturating_sub(length_before)))
    });
    let state = match written {
        Ok(state) => state,
        Err(error) => {
            // The journal goes only if the image is surely what it was.
            let _ = target.restore(&journal, &[], files).and_then(|_| journal.remove(files));
            return Err(error);
        }
    };
    let journal = (keep != UndoJournal::Remove).then_some(journal);
    let way_back = match &journal {
        Some(_) => format!("; `coldforge undo {}` takes that back", raw.path().display()),
        None => String::new(),
    };
    interrupt::stands(raw.path(), format!("`{}` is written{way_back}", raw.path().display()));
    Ok(InPlace {
        changed,
        file_bytes: plan.file_bytes,
        added_blocks: plan.added_blocks,
        journal: journal.is_some().then_some(journal_path),
        held: Some(Held { target, journal, state }),
    })
}

/// Returns the digests of the image file's blocks as they are before the run.
fn digest_blocks(raw: &Raw, progress: &dyn Progress) -> Result<Table> {
    progress.start("digest", raw.len());
    let data = |at| Ok(raw.next_data(at)?);
    Table::of(raw.len(), data, |at, buf: &mut [u8]| {
        raw.read_at(at, buf)?;
        progress.advance(buf.len() as u64);
        Ok(())
    })
}

/// Begins the journal with every byte of the image file that the run overwrites, as it was and as it will be.
fn journal_old_bytes<'a>(
    overlay: &Overlay<&Image>,
    phases: &Phases,
    journal_path: &Path,
    files: &'a dyn Files,
) -> Result<Writer<'a>> {
    let raw = overlay.base().raw();
    let mut writer = Writer::create(files, journal_path)?;
    let body = phases.body.iter().flatten().map(|write| (write, false));
    for (write, is_mark) in body.chain(phases.mark.iter().map(|write| (write, true))) {
        write.for_each_piece(overlay, |at, new| match inside(at, new, raw.len()) {
            None => Ok(()),
            Some(new) => {
                let mut old = vec![0; new.len()];
                raw.read_at(at, &mut old)?;
                writer.add(&Entry { at, old, new: new.to_vec(), is_mark })
            }
        })?;
    }
    Ok(writer)
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
    fn beside(changed: &[Extent], marks: &[Mark], disk: &dyn ReadAt) -> Result<Self> {
        let places: Vec<Extent> = marks.iter().map(|mark| Extent::new(mark.at, 1)).collect();
        let meets = |mark: &Mark| changed.iter().any(|extent| extent.offset <= mark.at && mark.at < extent.end());
        if marks.iter().any(|mark| mark.at >= disk.len() || meets(mark)) {
            return Ok(Self::default());
        }
        let mut held = Self { sectors: whole_sectors(&places, disk.len()), ..Self::default() };
        for sector in &held.sectors {
            // As few sectors as marks.
            let mut bytes = vec![0; usize::try_from(sector.length).unwrap_or(0)];
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
fn phases<'a>(planned: &'a [PlannedWrite], length_before: u64, order: &[Vec<Extent>], marks: &'a Marks) -> Phases<'a> {
    let (mut behind, mut own, mut guest) = (Vec::new(), Vec::new(), Vec::new());
    for write in planned {
        match write {
            PlannedWrite::Structure { at, bytes } if *at >= length_before => behind.push(Write::Own(*at, bytes)),
            PlannedWrite::Structure { at, bytes } => own.push(Write::Own(*at, bytes)),
            PlannedWrite::Data { at, extent } if *at >= length_before => behind.push(Write::Guest(*at, *extent)),
            PlannedWrite::Data { at, extent } => guest.push((*at, *extent)),
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
    /// Says in the journal that the image is written, or removes the journal; `added` is what the run added behind the
    /// old end of the file.
    fn settle_journal(&self, journal: &Journal, keep: UndoJournal, added: Extent) -> Result<State> {
        let tail = digest_of(added, |at, buf| self.target.read_at(at, buf))?;
        let state = match keep {
            UndoJournal::Keep => State::Finished(tail),
            UndoJournal::KeepUnsettled => State::Written(tail),
            UndoJournal::Remove => return journal.remove(self.files).map(|()| State::Running),
        };
        journal.set_state(self.files, state).map(|()| state)
    }

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
        let Target { file, path, .. } = self.target;
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
        let written = self.target.image(self.overlay.base().format())?;
        check_written(self.overlay, &written, changed, &mut found)
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
        for write in writes {
            write.for_each_piece(self.overlay, |at, bytes| {
                // A piece fits into the buffer.
                let found = found.get_mut(..bytes.len()).ok_or(Error::ReadBack { at })?;
                self.target.read_at(at, found)?;
                if found == bytes { Ok(()) } else { Err(Error::ReadBack { at }) }
            })?;
        }
        Ok(())
    }
}
