//! Runs and undos that are broken off at every single deed: failed writes, torn writes, and a machine that loses power,
//! so that what was not flushed is lost in part and in any order.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

use coldforge_base::{Failure as _, WriteAt as _};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};

use super::super::Format;
use super::super::vhd::sample::{self, BLOCK};
use super::undo::roll_back;
use super::*;
use coldforge_base::device::Memory;
use coldforge_base::progress::Silent;

/// What happens at the chosen deed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// It fails, and everything after it works.
    Once,
    /// It is done in part, and then the power is gone.
    PowerCut,
}

/// Something that was done and not flushed, and how it is lost.
enum Unflushed {
    Bytes { file: File, at: u64, before: Vec<u8> },
    Length { file: File, before: u64 },
    Created(PathBuf),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf, Vec<u8>),
}

struct Faulty {
    deed: usize,
    fault: Fault,
    random: Cell<u64>,
    count: Cell<usize>,
    dead: Cell<bool>,
    unflushed: RefCell<Vec<Unflushed>>,
}

impl Faulty {
    fn new(deed: usize, fault: Fault, seed: u64) -> Self {
        let (count, dead) = (Cell::new(0), Cell::new(false));
        Self { deed, fault, random: Cell::new(seed), count, dead, unflushed: RefCell::default() }
    }

    /// Tells whether the chosen deed was reached.
    fn struck(&self) -> bool {
        self.count.get() > self.deed
    }

    fn random(&self, bound: usize) -> usize {
        let next = self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random.set(next);
        (next >> 33) as usize % bound
    }

    /// Answers whether a deed is done as a whole; in part at a power cut.
    fn ask(&self) -> io::Result<bool> {
        if self.dead.get() {
            return Err(io::Error::other("no power"));
        }
        let deed = self.count.replace(self.count.get() + 1);
        match self.fault {
            _ if deed != self.deed => Ok(true),
            Fault::Once => Err(io::ErrorKind::StorageFull.into()),
            Fault::PowerCut => {
                self.dead.set(true);
                Ok(false)
            }
        }
    }

    fn note(&self, deed: Unflushed) {
        self.unflushed.borrow_mut().push(deed);
    }

    /// Loses some of the bytes and lengths that were not flushed, and the last of the names.
    fn lose(&self) {
        let mut unflushed = self.unflushed.take();
        let is_name = |deed: &Unflushed| !matches!(deed, Unflushed::Bytes { .. } | Unflushed::Length { .. });
        let mut names = self.random(unflushed.iter().filter(|deed| is_name(deed)).count() + 1);
        while let Some(deed) = unflushed.pop() {
            let lost = names > 0;
            if is_name(&deed) {
                names = names.saturating_sub(1);
            }
            match deed {
                Unflushed::Bytes { file, at, before } => {
                    for (i, sector) in before.chunks(512).enumerate().filter(|_| self.random(2) == 0) {
                        let at = at + i as u64 * 512;
                        if at + (sector.len() as u64) <= file.metadata().unwrap().len() {
                            file.write_all_at(sector, at).unwrap();
                        }
                    }
                }
                Unflushed::Length { file, before } if self.random(2) == 0 => file.set_len(before).unwrap(),
                Unflushed::Created(path) if lost => std::fs::remove_file(path).unwrap(),
                Unflushed::Renamed(from, to) if lost => std::fs::rename(to, from).unwrap(),
                Unflushed::Removed(path, bytes) if lost => std::fs::write(path, bytes).unwrap(),
                _ => {}
            }
        }
    }
}

fn no_power<T>() -> io::Result<T> {
    Err(io::Error::other("the power is gone"))
}

impl Files for Faulty {
    fn create(&self, path: &Path) -> io::Result<File> {
        if !self.ask()? {
            return no_power();
        }
        self.note(Unflushed::Created(path.to_owned()));
        Real.create(path)
    }

    fn write(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        let whole = self.ask()?;
        let done = if whole { bytes } else { &bytes[..self.random(bytes.len() + 1)] };
        let length = file.metadata()?.len();
        let mut before = vec![0; done.len()];
        let there = length.saturating_sub(at).min(before.len() as u64) as usize;
        file.read_exact_at(&mut before[..there], at)?;
        self.note(Unflushed::Bytes { file: file.try_clone()?, at, before });
        file.write_all_at(done, at)?;
        if whole { Ok(()) } else { no_power() }
    }

    fn resize(&self, file: &File, length: u64) -> io::Result<()> {
        if !self.ask()? {
            return no_power();
        }
        self.note(Unflushed::Length { file: file.try_clone()?, before: file.metadata()?.len() });
        file.set_len(length)
    }

    fn reserve(&self, _: &File, _: u64, _: u64) -> io::Result<()> {
        if self.ask()? { Ok(()) } else { no_power() }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if !self.ask()? {
            return no_power();
        }
        let inode = |file: &File| file.metadata().unwrap().ino();
        let this = inode(file);
        self.unflushed.borrow_mut().retain(|deed| match deed {
            Unflushed::Bytes { file, .. } | Unflushed::Length { file, .. } => inode(file) != this,
            _ => true,
        });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.ask()? {
            return no_power();
        }
        self.note(Unflushed::Renamed(from.to_owned(), to.to_owned()));
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.ask()? {
            return no_power();
        }
        let bytes = std::fs::read(path)?;
        self.note(Unflushed::Removed(path.to_owned(), bytes));
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        if !self.ask()? {
            return no_power();
        }
        let bytes = |deed: &Unflushed| matches!(deed, Unflushed::Bytes { .. } | Unflushed::Length { .. });
        self.unflushed.borrow_mut().retain(bytes);
        Ok(())
    }
}

/// In the first block and in the third, where nothing else changes.
const MARKS: [Mark; 2] = [Mark { at: 200_000, byte: 0xd1 }, Mark { at: 2 * BLOCK + 70_500, byte: 0xd2 }];

/// An image of four blocks, the second and the fourth all zero, in a folder of its own.
struct Place {
    folder: tempfile::TempDir,
    path: PathBuf,
    format: Format,
    before: Vec<u8>,
}

impl Place {
    fn all() -> [Self; 3] {
        let mut disk = vec![0; 4 * BLOCK as usize];
        disk[..BLOCK as usize].fill(1);
        disk[2 * BLOCK as usize + 70_000..][..9_000].fill(2);
        let blocks = [(2, disk[2 * BLOCK as usize..][..BLOCK as usize].to_vec()), (0, vec![1; BLOCK as usize])];
        [
            (disk.clone(), Format::Raw),
            (sample::fixed(&disk), Format::VhdFixed),
            (sample::dynamic(4 * BLOCK, &blocks), Format::VhdDynamic),
        ]
        .map(|(before, format)| {
            // In memory if possible: thousands of flushes are for the fault's sake only.
            let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            let path = folder.path().join("image");
            std::fs::write(&path, &before).unwrap();
            Self { folder, path, format, before }
        })
    }

    fn reset(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        std::fs::write(&self.path, &self.before).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    fn names(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }

    /// Writes into placed and new blocks, across two of them, and the last byte, in three steps.
    fn run(&self, keep: UndoJournal, files: &dyn Files) -> Result<InPlace> {
        let image = Image::open(&self.path, Some(self.format))?;
        let mut overlay = Overlay::new(&image);
        overlay.write_at(4_000, &[7; 200])?;
        overlay.write_at(BLOCK - 3, &[8; 6])?;
        overlay.write_at(4 * BLOCK - 1, &[9])?;
        let order = [vec![Extent::new(BLOCK, 600)], vec![Extent::new(3 * BLOCK, BLOCK), Extent::new(4_096, 5)]];
        write(&overlay, (&order, &MARKS), keep, &Silent, files)
    }

    /// Tells whether both marks stand in the image.
    fn is_marked(&self) -> bool {
        let bytes = self.bytes();
        self.marks_at().iter().zip(MARKS).all(|(at, mark)| bytes[*at] == mark.byte)
    }

    /// Returns where the marks lie in the file.
    fn marks_at(&self) -> [usize; 2] {
        let [one, other] = MARKS.map(|mark| mark.at as usize);
        match self.format {
            Format::VhdDynamic => [2048 + 512 + BLOCK as usize + 512 + one, 2048 + 512 + other - 2 * BLOCK as usize],
            _ => [one, other],
        }
    }

    /// Demands the marks if the image is neither what it was nor what it is to be, apart from them.
    #[track_caller]
    fn assert_marked_between(&self, after: &[u8], what: &str) {
        let mut now = self.bytes();
        for at in self.marks_at() {
            now[at] = self.before[at];
        }
        assert!(now == self.before || now == after || self.is_marked(), "{:?}: {what}", self.format);
    }

    /// Leaves the image as a run does that is broken off right before it removes its journal.
    fn break_off_late(&self) {
        self.reset();
        let whole = Faulty::new(usize::MAX, Fault::PowerCut, 0);
        self.run(UndoJournal::Remove, &whole).unwrap();
        self.reset();
        self.run(UndoJournal::Remove, &Faulty::new(whole.count.get() - 2, Fault::PowerCut, 0)).unwrap_err();
    }

    /// Demands the image as it was, and nothing beside it.
    #[track_caller]
    fn assert_restored(&self, what: &str) {
        assert!(self.bytes() == self.before, "{:?}: {what}", self.format);
        assert_eq!(self.names(), 1, "{:?}: {what}", self.format);
    }
}

#[test]
fn a_run_changes_the_image_and_undo_brings_every_byte_back() {
    for place in Place::all() {
        let done = place.run(UndoJournal::Keep, &Real).unwrap();
        let after = place.bytes();
        assert!(after != place.before && done.file_bytes == after.len() as u64);
        assert_eq!(done.added_blocks, if place.format == Format::VhdDynamic { 2 } else { 0 });
        drop(done);
        assert_eq!(pending(&place.path).unwrap(), Some(Pending::Finished));
        // A finished run stands in nobody's way but another run's.
        let image = Image::open(&place.path, None).map_err(|error| error.code());
        let image = image.or_else(|_| Image::open(&place.path, Some(place.format))).unwrap();
        let mut bytes = [0; 200];
        image.read_at(4_000, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 200]);
        let mut overlay = Overlay::new(&image);
        overlay.write_at(0, b"again").unwrap();
        let again = write_in_place(&overlay, &[], &[], UndoJournal::Keep, &Silent).unwrap_err();
        assert_eq!(again.code(), Some("E-UNDO-EXISTS"));
        drop(image);
        let undone = undo(&place.path, &Silent).unwrap();
        assert_eq!((undone.run, undone.file_bytes), (Pending::Finished, place.before.len() as u64));
        place.assert_restored("undone");
        assert_eq!(undo(&place.path, &Silent).unwrap_err().code(), Some("E-NO-UNDO"));

        assert_eq!(place.run(UndoJournal::Remove, &Real).unwrap().journal, None);
        assert!(place.bytes() == after, "the same run gives the same bytes");
        assert_eq!(place.names(), 1);
    }
}

#[test]
fn a_run_without_changes_writes_nothing_and_needs_no_journal() {
    for place in Place::all() {
        let image = Image::open(&place.path, Some(place.format)).unwrap();
        let mut overlay = Overlay::new(&image);
        overlay.write_at(0, &[1; 512]).unwrap();
        let done = write_in_place(&overlay, &[], &[], UndoJournal::Keep, &Silent).unwrap();
        assert_eq!((done.changed, done.journal), (Vec::new(), None));
        place.assert_restored("nothing to do");
    }
}

#[test]
fn wherever_a_run_is_broken_off_the_image_is_old_or_new_or_undo_makes_it_old() {
    for place in Place::all() {
        place.run(UndoJournal::Remove, &Real).unwrap();
        let after = place.bytes();
        for (fault, keep, seeds) in [
            (Fault::Once, UndoJournal::Keep, 1),
            (Fault::Once, UndoJournal::Remove, 1),
            (Fault::PowerCut, UndoJournal::Keep, 3),
            (Fault::PowerCut, UndoJournal::Remove, 3),
        ] {
            let (mut unfinished, mut deed) = (0, 0);
            loop {
                let mut struck = false;
                for seed in 0..seeds {
                    place.reset();
                    let files = Faulty::new(deed, fault, seed * 1_000 + deed as u64);
                    let outcome = place.run(keep, &files);
                    struck = files.struck();
                    if !struck {
                        outcome.unwrap();
                        assert!(place.bytes() == after);
                        break;
                    }
                    let what = format!("{fault:?} at deed {deed}, seed {seed}");
                    assert!(outcome.is_err(), "{what}");
                    files.lose();
                    place.assert_marked_between(&after, &what);
                    match pending(&place.path).unwrap() {
                        Some(Pending::Unfinished) => {
                            unfinished += 1;
                            assert_eq!(fault, Fault::PowerCut, "{what}: a failed deed is taken back at once");
                            let refused = Image::open(&place.path, Some(place.format)).unwrap_err();
                            assert_eq!(refused.code(), Some("E-UNFINISHED-RUN"));
                            undo(&place.path, &Silent).unwrap_or_else(|error| panic!("{what}: {error}"));
                            place.assert_restored(&what);
                        }
                        Some(Pending::Unsettled) => unreachable!("{what}: the run has nothing to settle"),
                        Some(Pending::Finished) => assert!(place.bytes() == after, "{what}"),
                        None => {
                            let now = place.bytes();
                            assert!(now == place.before || (now == after && keep == UndoJournal::Remove), "{what}");
                            if place.names() > 1 {
                                undo(&place.path, &Silent).unwrap();
                            }
                            assert_eq!(place.names(), 1, "{what}");
                        }
                    }
                }
                if !struck {
                    break;
                }
                deed += 1;
            }
            assert!(deed > 12, "{deed} deeds");
            assert!(fault == Fault::Once || unfinished > 10, "{unfinished}");
        }
    }
}

#[test]
fn wherever_an_undo_is_broken_off_the_next_one_ends_it() {
    for place in Place::all() {
        for finished in [false, true] {
            for deed in 0.. {
                place.reset();
                if finished {
                    place.run(UndoJournal::Keep, &Real).unwrap();
                } else {
                    place.break_off_late();
                }
                let after = place.bytes();
                let files = Faulty::new(deed, Fault::PowerCut, deed as u64);
                let outcome = roll_back(&place.path, false, &Silent, &files);
                if !files.struck() {
                    outcome.unwrap();
                    assert!(deed > 4, "{deed} deeds");
                    place.assert_restored("undone");
                    break;
                }
                assert!(outcome.is_err());
                files.lose();
                place.assert_marked_between(&after, &format!("deed {deed}"));
                match undo(&place.path, &Silent) {
                    Ok(_) => {}
                    // The journal was gone, for all was done.
                    Err(error) => assert_eq!(error.code(), Some("E-NO-UNDO"), "deed {deed}"),
                }
                place.assert_restored(&format!("deed {deed}"));
            }
        }
    }
}

/// Returns where the disk's byte 4 001, which a run changes, lies in the file.
fn written_at(place: &Place) -> u64 {
    if place.format == Format::VhdDynamic { 2048 + 512 + BLOCK + 512 + 4_001 } else { 4_001 }
}

fn poke(path: &Path, at: u64) {
    File::options().write(true).open(path).unwrap().write_all_at(b"!", at).unwrap();
}

/// Returns the places that a refusal names.
#[track_caller]
fn refused_places(place: &Place) -> Vec<Extent> {
    let now = place.bytes();
    let error = undo(&place.path, &Silent).unwrap_err();
    assert_eq!(error.code(), Some("E-UNDO-FOREIGN"), "{error}");
    assert!(place.bytes() == now, "a refusal changes nothing");
    let Error::UndoForeign { places, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains(&format!("at {:#x}", places[0].offset)), "{error}");
    places.clone()
}

#[test]
fn a_foreign_change_after_a_run_is_told_with_its_place_and_force_takes_back_the_rest() {
    for place in Place::all() {
        // Inside what the run wrote: the very byte. Elsewhere: the block. Behind the old end: all that was added.
        let elsewhere = 700_000;
        for at in [written_at(&place), elsewhere] {
            place.reset();
            place.run(UndoJournal::Keep, &Real).unwrap();
            poke(&place.path, at);
            let places = refused_places(&place);
            let expected = match at {
                at if at == elsewhere => Extent::new(512 << 10, 256 << 10),
                at => Extent::new(at, 1),
            };
            assert_eq!(places, [expected], "{:?}", place.format);
            let undone = undo_by_force(&place.path, &Silent).unwrap();
            assert_eq!(undone.left, places);
            // All is as it was but for the foreign byte; its sector stays as it is if the run wrote it too.
            let now = place.bytes();
            let sector = at / 512 * 512;
            let outside = |bytes: &[u8]| [&bytes[..sector as usize], &bytes[sector as usize + 512..]].concat();
            assert!(outside(&now) == outside(&place.before), "{:?} at {at}", place.format);
            assert!(now[at as usize] == b'!' && place.names() == 1);
        }
        // Kept for good instead.
        place.reset();
        place.run(UndoJournal::Keep, &Real).unwrap();
        poke(&place.path, elsewhere);
        let now = place.bytes();
        assert!(forget(&place.path).unwrap() && !forget(&place.path).unwrap());
        assert!(place.bytes() == now && place.names() == 1);
        // During an unfinished run: a byte that is neither old nor new.
        place.break_off_late();
        let at = written_at(&place);
        poke(&place.path, at);
        assert_eq!(refused_places(&place), [Extent::new(at, 1)]);
        assert_eq!(forget(&place.path).unwrap_err().code(), Some("E-UNFINISHED-RUN"));
    }
}

#[test]
fn what_lies_behind_the_old_end_is_cut_off_by_force_and_named_whoever_wrote_it() {
    for place in Place::all() {
        let before = place.before.len() as u64;
        let lengthen = |to: u64| File::options().write(true).open(&place.path).unwrap().set_len(to).unwrap();
        let run = || {
            place.reset();
            place.run(UndoJournal::Keep, &Real).unwrap().file_bytes
        };
        // A foreign tail.
        let after = run();
        lengthen(after + 512);
        assert_eq!(refused_places(&place), [Extent::new(after, 512)]);
        let undone = undo_by_force(&place.path, &Silent).unwrap();
        assert_eq!((undone.cut, undone.left), (vec![Extent::new(after, 512)], Vec::new()), "{:?}", place.format);
        place.assert_restored("a foreign tail");
        // A tail that is missing: all that the run knows of is put back.
        let after = run();
        lengthen(after - 512);
        assert_eq!(refused_places(&place), [Extent::new(after - 512, 512)]);
        undo_by_force(&place.path, &Silent).unwrap();
        assert_eq!(place.bytes().len() as u64, before, "{:?}", place.format);
        if after > before {
            place.assert_restored("a cut tail");
            // A change in what the run added.
            run();
            poke(&place.path, after - 600);
            let behind = Extent::new(before, after - before);
            assert_eq!(refused_places(&place), [behind]);
            let undone = undo_by_force(&place.path, &Silent).unwrap();
            assert_eq!((undone.cut, undone.file_bytes), (vec![behind], before));
            place.assert_restored("a change behind the old end");
        }
    }
}

#[test]
fn an_image_that_was_restored_from_a_copy_is_told_to_be_what_it_was() {
    for place in Place::all() {
        for force in [false, true] {
            place.reset();
            place.run(UndoJournal::Keep, &Real).unwrap();
            std::fs::write(&place.path, &place.before).unwrap();
            let undone = if force { undo_by_force(&place.path, &Silent) } else { undo(&place.path, &Silent) }.unwrap();
            assert!(undone.was_restored && undone.left.is_empty() && undone.cut.is_empty(), "{undone:?}");
            assert_eq!((undone.bytes, undone.file_bytes), (0, place.before.len() as u64));
            place.assert_restored("restored");
        }
        // One foreign byte in it, and it is not what it was.
        place.reset();
        place.run(UndoJournal::Keep, &Real).unwrap();
        std::fs::write(&place.path, &place.before).unwrap();
        poke(&place.path, 700_000);
        assert!(!refused_places(&place).is_empty());
    }
}

#[test]
fn a_touched_image_and_a_copy_of_image_and_journal_are_taken_back() {
    for place in Place::all() {
        let done = place.run(UndoJournal::Keep, &Real).unwrap();
        let journal = done.journal.clone().unwrap();
        drop(done);
        let elsewhere = tempfile::tempdir().unwrap();
        let copy = elsewhere.path().join("renamed");
        std::fs::copy(&place.path, &copy).unwrap();
        std::fs::copy(&journal, journal::path_of(&copy).unwrap()).unwrap();
        undo(&copy, &Silent).unwrap();
        assert!(std::fs::read(&copy).unwrap() == place.before);
        let file = File::options().write(true).open(&place.path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        drop(file);
        undo(&place.path, &Silent).unwrap();
        place.assert_restored("touched");
    }
}

#[test]
fn a_run_that_is_not_settled_says_so_until_it_is() {
    for place in Place::all() {
        let done = place.run(UndoJournal::KeepUnsettled, &Real).unwrap();
        // Nobody else gets at the image while it is held, and its holder does.
        assert_eq!(Image::open(&place.path, Some(place.format)).unwrap_err().code(), Some("E-IMAGE-BUSY"));
        let held = done.held.unwrap();
        assert_eq!(held.image(place.format).unwrap().format(), place.format);
        drop(held);
        assert_eq!(pending(&place.path).unwrap(), Some(Pending::Unsettled));
        let image = Image::open(&place.path, Some(place.format)).unwrap();
        assert!(image.health().notes.iter().any(|note| note.contains("before its evidence was whole")));
        let refused = image.check_in_place().unwrap_err();
        assert!(refused.to_string().contains("broken off before its evidence"), "{refused}");
        drop(image);
        assert_eq!(undo(&place.path, &Silent).unwrap().run, Pending::Unsettled);
        place.assert_restored("not settled");

        let done = place.run(UndoJournal::KeepUnsettled, &Real).unwrap();
        done.held.unwrap().settle().unwrap();
        assert_eq!(pending(&place.path).unwrap(), Some(Pending::Finished));
        undo(&place.path, &Silent).unwrap();
        let done = place.run(UndoJournal::KeepUnsettled, &Real).unwrap();
        done.held.unwrap().take_back(&Silent).unwrap();
        place.assert_restored("taken back by its holder");
    }
}

#[test]
fn a_journal_that_somebody_else_could_have_made_is_obeyed_by_nobody() {
    let [place, ..] = Place::all();
    let refused = |what: &str| {
        let now = place.bytes();
        for error in [
            undo(&place.path, &Silent).map(|_| ()).unwrap_err(),
            undo_by_force(&place.path, &Silent).map(|_| ()).unwrap_err(),
            forget(&place.path).map(|_| ()).unwrap_err(),
            Image::open(&place.path, Some(place.format)).map(|_| ()).unwrap_err(),
        ] {
            assert_eq!(error.code(), Some("E-UNDO-OWNER"), "{what}: {error}");
            assert!(error.to_string().contains("image.coldforge-undo") && error.hint().is_some(), "{error}");
        }
        assert!(place.bytes() == now);
    };
    let journal = place.run(UndoJournal::Keep, &Real).unwrap().journal.unwrap();
    for mode in [0o620, 0o602, 0o666] {
        std::fs::set_permissions(&journal, std::fs::Permissions::from_mode(mode)).unwrap();
        refused(&format!("mode {mode:o}"));
    }
    std::fs::set_permissions(&journal, std::fs::Permissions::from_mode(0o600)).unwrap();
    let elsewhere = place.folder.path().join("elsewhere");
    std::fs::rename(&journal, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &journal).unwrap();
    refused("a link");
    std::fs::remove_file(&journal).unwrap();
    std::fs::rename(&elsewhere, &journal).unwrap();
    // Only root can give a file to somebody else.
    if std::os::unix::fs::chown(&journal, Some(65_534), None).is_ok() {
        refused("a foreign owner");
        let said = undo(&place.path, &Silent).unwrap_err().to_string();
        assert!(said.contains("user 65534"), "{said}");
        // The image's owner may have made it.
        std::os::unix::fs::chown(&place.path, Some(65_534), None).unwrap();
        undo(&place.path, &Silent).unwrap();
        place.assert_restored("by its owner");
    }
}

#[test]
fn a_journal_of_version_2_is_judged_by_the_time_in_it() {
    let [place, ..] = Place::all();
    for (touched, force) in [(false, false), (true, true)] {
        place.reset();
        let journal = place.run(UndoJournal::Keep, &Real).unwrap().journal.unwrap();
        let mut bytes = std::fs::read(&journal).unwrap();
        let table_bytes = u64::from_le_bytes(bytes[72..80].try_into().unwrap());
        bytes.truncate(bytes.len() - table_bytes as usize);
        let length = bytes.len() as u64;
        bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
        bytes[32..40].copy_from_slice(&length.to_le_bytes());
        bytes[72..112].fill(0);
        let metadata = place.path.metadata().unwrap();
        bytes[512..520].copy_from_slice(b"FINISHED");
        bytes[520..528].copy_from_slice(&metadata.mtime().to_le_bytes());
        bytes[528..536].copy_from_slice(&metadata.mtime_nsec().to_le_bytes());
        bytes[536..1020].fill(0);
        for at in [0, 512] {
            let sum = coldforge_base::crc32c::crc32c(&bytes[at..at + 508]).to_le_bytes();
            bytes[at + 508..at + 512].copy_from_slice(&sum);
        }
        std::fs::write(&journal, bytes).unwrap();
        assert_eq!(pending(&place.path).unwrap(), Some(Pending::Finished));
        if touched {
            let file = File::options().write(true).open(&place.path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            drop(file);
            assert_eq!(undo(&place.path, &Silent).unwrap_err().code(), Some("E-UNDO-STALE"));
        }
        if force { undo_by_force(&place.path, &Silent) } else { undo(&place.path, &Silent) }.unwrap();
        place.assert_restored("version 2");
    }
}

#[test]
fn an_image_in_use_or_of_several_names_or_replaced_is_refused() {
    let [place, ..] = Place::all();
    let other = File::open(&place.path).unwrap();
    other.lock_shared().unwrap();
    assert_eq!(place.run(UndoJournal::Keep, &Real).unwrap_err().code(), Some("E-IMAGE-BUSY"));
    drop(other);
    let second = place.folder.path().join("second");
    std::fs::hard_link(&place.path, &second).unwrap();
    assert_eq!(place.run(UndoJournal::Keep, &Real).unwrap_err().code(), Some("E-IMAGE-LINKED"));
    std::fs::remove_file(&second).unwrap();
    place.assert_restored("refused");

    // A link to the image is another way to the same journal.
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(&place.path, &link).unwrap();
    place.run(UndoJournal::Keep, &Real).unwrap();
    assert_eq!(pending(&link).unwrap(), Some(Pending::Finished));
    undo(&link, &Silent).unwrap();
    place.assert_restored("through a link");
}

#[test]
fn pieces_are_written_in_the_order_that_was_asked_for() {
    let steps = [
        PlannedWrite::Structure { at: 100, bytes: vec![1] },
        PlannedWrite::Data { at: 1_000, extent: Extent::new(0, 100) },
        PlannedWrite::Data { at: 5_000, extent: Extent::new(500, 10) },
        PlannedWrite::Structure { at: 4_000, bytes: vec![2] },
    ];
    let order = [vec![Extent::new(90, 20), Extent::new(10, 5)], vec![Extent::new(0, 12)]];
    let places = |phase: &Vec<Write<'_>>| phase.iter().map(|write| (write.place(), write.length())).collect();
    let none = Marks::default();
    let Phases { mark, body, unmark } = phases(&steps, 4_000, &order, &none);
    assert!(mark.is_empty() && unmark.is_empty());
    assert_eq!(
        body.iter().map(places).collect::<Vec<Vec<(u64, u64)>>>(),
        [
            vec![(5_000, 10), (4_000, 1)],
            vec![(100, 1)],
            vec![(1_015, 75)],
            vec![(1_010, 5), (1_090, 10)],
            vec![(1_000, 10)],
        ]
    );
}

#[test]
fn marks_come_first_and_go_last_and_one_in_a_changed_sector_is_not_set() {
    let steps = [PlannedWrite::Data { at: 1_000, extent: Extent::new(0, 2_048) }];
    let disk = Memory((0..4_096).map(|at| at as u8).collect());
    let marks = Marks::beside(&[Extent::new(512, 512)], &[Mark { at: 1_500, byte: 7 }], &disk).unwrap();
    assert_eq!((marks.plain[0][1_500 - 1_024], marks.marked[0][1_500 - 1_024]), (1_500u32 as u8, 7));
    let Phases { mark, body, unmark } = phases(&steps, 9_000, &[], &marks);
    let places = |phase: &[Write<'_>]| phase.iter().map(|write| (write.place(), write.length())).collect::<Vec<_>>();
    assert_eq!(places(&mark), [(2_024, 512)]);
    assert_eq!(places(&body.concat()), [(1_000, 1_024), (2_536, 512)]);
    assert_eq!(places(&unmark), [(2_024, 512)]);
    for at in [1_000, 600, 5_000] {
        let marks = [Mark { at: 1_500, byte: 7 }, Mark { at, byte: 7 }];
        let marks = Marks::beside(&[Extent::new(512, 512)], &marks, &disk).unwrap();
        assert!(marks.marked.is_empty() && marks.sectors.is_empty(), "{at}");
    }
}

/// Says that there is no room left.
struct Full<'a>(&'a str, Cell<bool>);

impl Full<'_> {
    fn answer(&self, deed: &str) -> io::Result<()> {
        if deed == self.0 {
            self.1.set(true);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Files for Full<'_> {
    fn create(&self, path: &Path) -> io::Result<File> {
        Real.create(path)
    }
    fn write(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.answer("write").and_then(|()| Real.write(file, at, bytes))
    }
    fn resize(&self, file: &File, length: u64) -> io::Result<()> {
        Real.resize(file, length)
    }
    fn reserve(&self, file: &File, at: u64, length: u64) -> io::Result<()> {
        self.answer("reserve").and_then(|()| Real.reserve(file, at, length))
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        Real.sync(file)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Real.sync_folder(folder)
    }
}

#[test]
fn on_a_full_file_system_nothing_is_written_and_no_journal_is_left() {
    for place in Place::all() {
        for deed in ["write", "reserve"] {
            let files = Full(deed, Cell::new(false));
            let error = place.run(UndoJournal::Keep, &files).unwrap_err();
            assert!(files.1.get() && error.hint().is_some_and(|hint| hint.contains("free space")), "{error}");
            place.assert_restored(deed);
        }
    }
}
