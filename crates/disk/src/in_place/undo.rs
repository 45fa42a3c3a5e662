//! Taking a run back: what of the image is the run's, what is somebody else's, and the way to what it was.
//!
//! A journal knows the bytes that its run overwrote and those that it wrote, and the digest of every block of the file as
//! it was. An image whose blocks have these digests, once the old bytes are thought back into their places, was changed
//! by nobody else; times say nothing, because a copy or a restore has another one.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::Files;
use super::journal::{self, Entry, Journal, State};
use super::pending::Pending;
use super::table::{Table, digest_of};
use super::target::Target;
use crate::{Error, Raw, Result};
use coldforge_base::interrupt::{self, CriticalSection};
use coldforge_base::offset::normalize;
use coldforge_base::progress::Progress;
use coldforge_base::{Extent, ReadAt as _};

/// What [`undo`](super::undo) did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Undone {
    /// Whose traces were removed.
    pub run: Pending,
    /// How many bytes of the image file were put back.
    pub bytes: u64,
    /// Length of the image file in bytes.
    pub file_bytes: u64,
    /// Ranges of the image file that another program wrote since, and that were left as they are.
    pub left: Vec<Extent>,
    /// What was cut off behind the old end of the file although another program had written there.
    pub cut: Vec<Extent>,
    /// Whether the image was already what it was before the run, as after a restore: nothing was written to it then.
    pub was_restored: bool,
}

/// Brings an image back to what it was before the run of its journal.
///
/// `force` takes back what the run wrote and is still as it was written, and leaves what somebody else wrote since.
pub(super) fn roll_back(image: &Path, force: bool, progress: &dyn Progress, files: &dyn Files) -> Result<Undone> {
    let path = journal::path_of(image)?;
    let part = journal::part_of(&path);
    let Some(state) = journal::state_of(&path, image)? else {
        if part.symlink_metadata().is_err() {
            return Err(Error::NoUndo { path: image.to_owned() });
        }
        // The run had not begun to write.
        journal::check_owner(&part, image)?;
        let target = Target::open(image)?;
        journal::remove(files, &part)?;
        let file_bytes = target.length()?;
        return Ok(Undone::of(Pending::Unfinished, 0, file_bytes));
    };
    let target = Target::open(image)?;
    let journal = Journal::open(&path, image)?;
    let Foreign { exact, blocks } = foreign(&target, &journal, state, progress)?;
    let places = normalize([&exact[..], &blocks].concat());
    if !places.is_empty() && is_restored(&target, &journal, progress)? {
        let _critical = CriticalSection::begin();
        journal.remove(files)?;
        let undone = Undone::of(state.into(), 0, journal.header.length_before);
        return Ok(Undone { was_restored: true, ..undone });
    }
    if !force && !places.is_empty() {
        return Err(Error::UndoForeign { path: image.to_owned(), places });
    }
    if let State::Timed(seconds, nanoseconds) = state
        && !force
        && target.time()? != (seconds, nanoseconds)
    {
        return Err(Error::UndoStale { path: image.to_owned() });
    }
    // What lies behind the old end of the file was never there before, and a container with something behind its end is
    // none: it is cut off, and told. What is missing at the end is nobody's, and is put back as far as it is known.
    let end = journal.header.length_before;
    let (left, cut) = split(&places, end);
    let (kept, _) = split(&exact, end.min(target.length()?));
    let undone = take_back(&target, &journal, state, &kept, progress, files)?;
    Ok(Undone { left, cut, ..undone })
}

impl Undone {
    fn of(run: Pending, bytes: u64, file_bytes: u64) -> Self {
        Self { run, bytes, file_bytes, left: Vec::new(), cut: Vec::new(), was_restored: false }
    }
}

/// Splits ranges into what lies before and behind a place.
fn split(ranges: &[Extent], place: u64) -> (Vec<Extent>, Vec<Extent>) {
    let part = |start: u64, end: u64| (start < end).then(|| Extent::new(start, end.saturating_sub(start)));
    let before = ranges.iter().filter_map(|range| part(range.offset, range.end().min(place)));
    let behind = ranges.iter().filter_map(|range| part(range.offset.max(place), range.end()));
    (before.collect(), behind.collect())
}

/// Tells whether an image is, block by block, what it was before the run: somebody has restored it from a copy.
fn is_restored(target: &Target, journal: &Journal, progress: &dyn Progress) -> Result<bool> {
    let length = journal.header.length_before;
    let Some(before) = journal.table.as_ref().filter(|_| target.length().is_ok_and(|now| now == length)) else {
        return Ok(false);
    };
    progress.start("examine", length);
    let again = target.file.try_clone().map_err(coldforge_base::fs::failed("open", &target.path))?;
    let raw = Raw::of_file(again, &target.path)?;
    let now = Table::of(
        length,
        |at| Ok(raw.next_data(at)?),
        |at, buf: &mut [u8]| {
            raw.read_at(at, buf)?;
            progress.advance(buf.len() as u64);
            Ok(())
        },
    )?;
    Ok(before.differing(&now, length).is_empty())
}

/// What somebody else wrote into an image since its run.
struct Foreign {
    /// Ranges of what the run wrote that are not as it wrote them.
    exact: Vec<Extent>,
    /// Blocks of the file with changes elsewhere; where in the block is not known.
    blocks: Vec<Extent>,
}

/// Puts back what a run wrote, apart from the ranges that are left, and removes the journal.
pub(super) fn take_back(
    target: &Target,
    journal: &Journal,
    state: State,
    left: &[Extent],
    progress: &dyn Progress,
    files: &dyn Files,
) -> Result<Undone> {
    // From here on the image may be half old.
    let _critical = CriticalSection::begin();
    if state != State::Running {
        journal.set_state(files, State::Running)?;
    }
    progress.start("undo", 0);
    let bytes = target.restore(journal, left, files)?;
    let file_bytes = target.length()?;
    journal.remove(files)?;
    let path = &target.path;
    interrupt::stands(path, format!("`{}`: the run is taken back, and its journal is removed", path.display()));
    Ok(Undone::of(state.into(), bytes, file_bytes))
}

/// Finds what neither the run nor what was there before explains.
fn foreign(target: &Target, journal: &Journal, state: State, progress: &dyn Progress) -> Result<Foreign> {
    let header = &journal.header;
    let length = target.length()?;
    let mut foreign = Vec::new();
    let is_running = state == State::Running;
    if length != header.length_after && !(is_running && length == header.length_before) {
        let (start, end) = (length.min(header.length_after), length.max(header.length_after));
        foreign.push(Extent::new(start, end.saturating_sub(start)));
    }
    // The old bytes of the run, by their places.
    let mut old = BTreeMap::new();
    journal.for_each_entry(|entry| {
        foreign.extend(unexplained(target, entry, is_running, length)?);
        old.insert(entry.at, entry.old.clone());
        // Memory goes with what one run writes, and no further.
        Ok(())
    })?;
    if let State::Written(tail) | State::Finished(tail) = state {
        let behind = Extent::new(header.length_before, header.length_after.saturating_sub(header.length_before));
        if length >= behind.end() && digest_of(behind, |at, buf| target.read_at(at, buf))? != tail {
            foreign.push(behind);
        }
    }
    let exact = normalize(foreign);
    let Some(before) = &journal.table else { return Ok(Foreign { exact, blocks: Vec::new() }) };
    progress.start("examine", header.length_before);
    let again = target.file.try_clone().map_err(coldforge_base::fs::failed("open", &target.path))?;
    let raw = Raw::of_file(again, &target.path)?;
    let inside = header.length_before.min(length);
    let data = |at: u64| {
        // What the run wrote was data before it or is now, also where a copy made a hole of it.
        let reaches = |(start, bytes): &(&u64, &Vec<u8>)| start.saturating_add(bytes.len() as u64) > at;
        let inside = old.range(..at).next_back().filter(reaches).map(|_| Extent::new(at, 1));
        let next = inside.or_else(|| old.range(at..).next().map(|(place, _)| Extent::new(*place, 1)));
        let found = raw.next_data(at)?;
        Ok(match (found, next) {
            (Some(found), Some(next)) if next.offset < found.offset => Some(next),
            (found, next) => found.or(next),
        })
    };
    let now = Table::of(header.length_before, data, |at, buf: &mut [u8]| {
        let there = usize::try_from(inside.saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
        let (stored, behind) = buf.split_at_mut(there);
        if !stored.is_empty() {
            raw.read_at(at, stored)?;
        }
        behind.fill(0);
        put_back(&old, at, buf);
        progress.advance(buf.len() as u64);
        Ok(())
    })?;
    // What is known byte by byte is not told again by its block.
    let known = |block: &Extent| exact.iter().any(|range| range.offset < block.end() && block.offset < range.end());
    let mut blocks = before.differing(&now, header.length_before);
    blocks.retain(|block| !known(block));
    Ok(Foreign { exact, blocks })
}

/// Returns the ranges of an entry whose bytes are neither the run's nor, while it runs, the old ones.
fn unexplained(target: &Target, entry: &Entry, is_running: bool, length: u64) -> Result<Vec<Extent>> {
    let there = usize::try_from(length.saturating_sub(entry.at)).unwrap_or(usize::MAX).min(entry.old.len());
    let mut found = vec![0; there];
    target.read_at(entry.at, &mut found)?;
    let mut ranges: Vec<Extent> = Vec::new();
    let bytes = found.iter().zip(entry.old.iter().zip(&entry.new));
    for (at, (found, (old, new))) in (entry.at..).zip(bytes) {
        let at_the_end = if entry.is_mark { old } else { new };
        let explained = found == at_the_end || is_running && (found == old || found == new);
        match ranges.last_mut() {
            _ if explained => {}
            Some(last) if last.end() == at => last.length = last.length.saturating_add(1),
            _ => ranges.push(Extent::new(at, 1)),
        }
    }
    Ok(ranges)
}

/// Puts the old bytes that lie in a piece of the file back into it.
fn put_back(old: &BTreeMap<u64, Vec<u8>>, at: u64, buf: &mut [u8]) {
    let end = at.saturating_add(buf.len() as u64);
    let before = old.range(..at).next_back();
    for (place, bytes) in before.into_iter().chain(old.range(at..end)) {
        let skipped = usize::try_from(at.saturating_sub(*place)).unwrap_or(usize::MAX);
        let into = usize::try_from(place.saturating_sub(at)).unwrap_or(usize::MAX);
        if let (Some(from), Some(into)) = (bytes.get(skipped..), buf.get_mut(into..)) {
            into.iter_mut().zip(from).for_each(|(into, from)| *into = *from);
        }
    }
}
