//! The log of a VHDX (MS-VHDX 2.3): what its last writer had promised and not yet put in its place.
//!
//! The log is replayed into memory and the file is left alone. [`Patched`] is the file as it would be after a replay;
//! the region tables, metadata, block table and blocks are all read through it. A log that is set and holds no valid
//! sequence of entries means a damaged file, and is refused.

use std::collections::BTreeMap;

use super::super::{Error, Raw, Result};
use super::layout::{Header, MIB, REGION_TABLES_AT, checksum};
use coldforge_base::device::check_range;
use coldforge_base::guid::Guid;
use coldforge_base::offset::normalize;
use coldforge_base::{Extent, ReadAt as _, read};

/// Entries, and everything that they change, are whole numbers of this.
const PAGE: u64 = 4096;
const PAGE_BYTES: usize = 4096;
/// Every maker's log has 1 MiB; the bound keeps what is held in memory small.
const LOG_BYTES_MAX: u32 = 32 << 20;
/// How often each byte of a log may be summed up, on average. Entries that were overwritten in part leave their beginnings
/// behind, so that once is not enough.
const SUMMED_PER_BYTE: u64 = 16;
/// No file is longer: 64 TiB of disk, its table, and some room.
const FILE_BYTES_MAX: u64 = 65 << 40;

/// A VHDX file as it is once its log is replayed.
#[derive(Debug)]
pub(super) struct Patched {
    raw: Raw,
    length: u64,
    /// Ranges that are zero; once the log is replayed, ascending and apart.
    zeros: Vec<Extent>,
    /// Pages by their place in the file; they lie over the zeros.
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
    entries: u64,
}

impl Patched {
    /// Replays the log of a file, if the header says that there is one.
    pub fn open(raw: Raw, header: &Header) -> Result<Self> {
        let length = raw.len();
        let mut patched = Self { raw, length, zeros: Vec::new(), pages: BTreeMap::new(), entries: 0 };
        if header.log != Guid::NIL {
            patched.replay(header)?;
        }
        Ok(patched)
    }

    /// Returns the file itself.
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Returns the length of the file after a replay.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Returns how many log entries were replayed.
    pub fn replayed(&self) -> u64 {
        self.entries
    }

    /// Fills `buf` with the bytes at `at`.
    pub fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        check_range(at, buf.len(), self.length)?;
        let inside = usize::try_from(self.raw.len().saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
        let (stored, behind) = buf.split_at_mut(inside);
        if !stored.is_empty() {
            self.raw.read_at(at, stored)?;
        }
        behind.fill(0);
        let wanted = Extent::new(at, buf.len() as u64);
        let first = self.zeros.partition_point(|zeros| zeros.end() <= at);
        for zeros in self.zeros.iter().skip(first).take_while(|zeros| zeros.offset < wanted.end()) {
            if let Some(zeroed) = meet(*zeros, wanted).and_then(|(into, _)| buf.get_mut(into)) {
                zeroed.fill(0);
            }
        }
        let first = at.saturating_sub(at % PAGE);
        for (page_at, page) in self.pages.range(first..wanted.end()) {
            // A range without bytes meets no page.
            let Some((into, from)) = meet(Extent::new(*page_at, PAGE), wanted) else { continue };
            if let (Some(into), Some(from)) = (buf.get_mut(into), page.get(from)) {
                into.copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// Returns the first extent at or after `from` and before `end` that may hold anything but zeros.
    pub fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>> {
        if from >= end {
            // The page that the log holds may reach beyond the end, as the last one of the block table does.
            return Ok(None);
        }
        let first = from.saturating_sub(from % PAGE);
        if self.pages.range(first..end).next().is_some() {
            // The log reaches into the range, which no writer lets it do with a block: nothing is told apart.
            return Ok(Some(Extent::new(from, end.saturating_sub(from))));
        }
        let data = self.raw.next_data(from)?.filter(|data| data.offset < end);
        Ok(data.map(|data| Extent::new(data.offset, data.end().min(end).saturating_sub(data.offset))))
    }

    fn replay(&mut self, header: &Header) -> Result<()> {
        let at = header.log_at;
        let bad = |what| Error::VhdxLog { at, what };
        if header.log_version != 0 {
            return Err(bad("is of an unknown version"));
        }
        let length = header.log_length;
        if length == 0 || !u64::from(length).is_multiple_of(MIB) || !at.is_multiple_of(MIB) || at < MIB {
            return Err(bad("has an impossible place or length"));
        }
        if length > LOG_BYTES_MAX {
            return Err(bad("is longer than any known program makes it"));
        }
        // At most 32 MiB.
        let mut ring = vec![0; usize::try_from(length).unwrap_or(0)];
        if check_range(at, ring.len(), self.raw.len()).is_err() {
            return Err(bad("leaves the file"));
        }
        self.raw.read_at(at, &mut ring)?;
        let log = Log { ring, guid: header.log };
        let run = log.active().map_err(bad)?;
        let none = "is in use and holds no valid sequence of entries";
        let last = run.last().ok_or_else(|| bad(none))?;
        if last.flushed > self.raw.len() {
            return Err(bad("speaks of a longer file: this one was cut"));
        }
        if last.file_bytes > FILE_BYTES_MAX {
            return Err(bad("speaks of an impossibly long file"));
        }
        self.length = self.length.max(last.file_bytes);
        // From the tail of the last entry on: what lies before it is in its place.
        let first = run.iter().position(|entry| entry.at == last.tail).unwrap_or(0);
        for entry in run.iter().skip(first) {
            self.apply(&log, entry, header.log_extent()).ok_or_else(|| bad("would change itself or the headers"))?;
            self.entries = self.entries.saturating_add(1);
        }
        self.zeros = normalize(std::mem::take(&mut self.zeros));
        Ok(())
    }

    /// Applies an entry, whose descriptors were checked; `None` if it reaches where a log must not.
    fn apply(&mut self, log: &Log, entry: &LogEntry, own: Extent) -> Option<()> {
        let allowed = |extent: Extent| {
            let clear = extent.end() <= own.offset || extent.offset >= own.end();
            (extent.offset >= REGION_TABLES_AT[0] && clear).then_some(extent)
        };
        let mut sector = entry.sectors_at;
        // At most as many rounds as descriptors fit into the log.
        for i in 0..entry.count {
            let descriptor = log.descriptor(entry, i)?;
            let at = read::u64_le(&descriptor, 16).ok()?;
            if descriptor.starts_with(b"desc") {
                allowed(Extent::new(at, PAGE))?;
                if at.checked_add(PAGE)? > self.length {
                    return None;
                }
                let mut page = Box::new(log.page(sector)?);
                read::put(&mut page[..], 0, read::slice(&descriptor, 8, 8).ok()?).ok()?;
                read::put(&mut page[..], PAGE_BYTES.saturating_sub(4), read::slice(&descriptor, 4, 4).ok()?).ok()?;
                self.pages.insert(at, page);
                sector = sector.checked_add(PAGE)?;
            } else {
                let length = read::u64_le(&descriptor, 8).ok()?;
                let zeros = Extent::new(at, length.min(self.length.saturating_sub(at)));
                if zeros.length > 0 {
                    allowed(zeros)?;
                    let covered: Vec<u64> = self.pages.range(zeros.offset..zeros.end()).map(|(at, _)| *at).collect();
                    for page in covered {
                        self.pages.remove(&page);
                    }
                    self.zeros.push(zeros);
                }
            }
        }
        Some(())
    }
}

/// Returns where two ranges meet: inside `wanted`, and inside `there`.
fn meet(there: Extent, wanted: Extent) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let (start, end) = (there.offset.max(wanted.offset), there.end().min(wanted.end()));
    let range = |base: u64| {
        let small = |at: u64| usize::try_from(at.checked_sub(base)?).ok();
        Some(small(start)?..small(end)?)
    };
    if start < end { Some((range(wanted.offset)?, range(there.offset)?)) } else { None }
}

/// The ring as it is in the file.
struct Log {
    ring: Vec<u8>,
    guid: Guid,
}

/// A valid entry.
#[derive(Clone, Copy, Debug)]
struct LogEntry {
    /// Where it begins in the ring.
    at: u64,
    length: u64,
    tail: u64,
    sequence: u64,
    count: u32,
    /// Where its data sectors begin in the ring, not yet wrapped.
    sectors_at: u64,
    flushed: u64,
    file_bytes: u64,
}

impl Log {
    fn len(&self) -> u64 {
        self.ring.len() as u64
    }

    /// Copies bytes out of the ring, round its end if need be.
    fn copy(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let start = usize::try_from(at.checked_rem(self.len())?).ok()?;
        let ahead = self.ring.get(start..)?;
        let first = ahead.get(..length.min(ahead.len()))?;
        let second = self.ring.get(..length.checked_sub(first.len())?)?;
        Some([first, second].concat())
    }

    fn page(&self, at: u64) -> Option<[u8; PAGE_BYTES]> {
        self.copy(at, PAGE_BYTES)?.try_into().ok()
    }

    fn descriptor(&self, entry: &LogEntry, index: u32) -> Option<Vec<u8>> {
        let at = entry.at.checked_add(64)?.checked_add(u64::from(index).checked_mul(32)?)?;
        self.copy(at, 32)
    }

    /// Returns the entry that begins at a place of the ring, if there is a valid one.
    ///
    /// `budget` is how many bytes of entries may still be summed up: entries that begin inside one another would be
    /// summed up for each page of the ring.
    fn entry(&self, at: u64, budget: &mut u64) -> Option<LogEntry> {
        let head = self.copy(at, 64)?;
        if !head.starts_with(b"loge") || read::array(&head, 32).ok()? != self.guid.0 {
            return None;
        }
        let length = u64::from(read::u32_le(&head, 8).ok()?);
        let tail = u64::from(read::u32_le(&head, 12).ok()?);
        let sequence = read::u64_le(&head, 16).ok()?;
        let count = read::u32_le(&head, 24).ok()?;
        let (flushed, file_bytes) = (read::u64_le(&head, 48).ok()?, read::u64_le(&head, 56).ok()?);
        let whole = length > 0 && length.is_multiple_of(PAGE) && length <= self.len();
        if !whole || !tail.is_multiple_of(PAGE) || tail >= self.len() || sequence == 0 {
            return None;
        }
        if !flushed.is_multiple_of(MIB) || !file_bytes.is_multiple_of(MIB) {
            return None;
        }
        let descriptors = u64::from(count).checked_mul(32)?.checked_add(64)?.checked_next_multiple_of(PAGE)?;
        if descriptors > length {
            return None;
        }
        *budget = budget.checked_sub(length)?;
        let bytes = self.copy(at, usize::try_from(length).ok()?)?;
        if checksum(&bytes) != read::u32_le(&bytes, 4).ok()? {
            return None;
        }
        let mut sector = usize::try_from(descriptors).ok()?;
        for descriptor in bytes.get(64..)?.chunks_exact(32).take(usize::try_from(count).ok()?) {
            let place = read::u64_le(descriptor, 16).ok()?;
            if read::u64_le(descriptor, 24).ok()? != sequence || !place.is_multiple_of(PAGE) {
                return None;
            }
            if descriptor.starts_with(b"desc") {
                let data = read::slice(&bytes, sector, PAGE_BYTES).ok()?;
                let halves = u64::from(read::u32_le(data, 4).ok()?) << 32 | u64::from(read::u32_le(data, 4092).ok()?);
                if !data.starts_with(b"data") || halves != sequence {
                    return None;
                }
                sector = sector.checked_add(PAGE_BYTES)?;
            } else if !descriptor.starts_with(b"zero") || !read::u64_le(descriptor, 8).ok()?.is_multiple_of(PAGE) {
                return None;
            }
        }
        let sectors_at = at.checked_add(descriptors)?;
        Some(LogEntry { at, length, tail, sequence, count, sectors_at, flushed, file_bytes })
    }

    /// Returns the entries that count: of all runs of entries with ascending sequence numbers whose last one's tail is
    /// in the run, the one with the highest number; none if there is no such run.
    ///
    /// # Errors
    /// What is wrong with the log, if more of it looks like entries than a log can hold.
    fn active(&self) -> std::result::Result<Vec<LogEntry>, &'static str> {
        let pages = self.len() / PAGE;
        let mut budget = self.len().saturating_mul(SUMMED_PER_BYTE);
        // Each entry is looked at once, and then found by its place.
        let mut valid: BTreeMap<u64, LogEntry> = BTreeMap::new();
        for page in 0..pages {
            let at = page.saturating_mul(PAGE);
            let entry = self.entry(at, &mut budget);
            if budget < self.len() {
                return Err("holds more that begins like an entry than fits into it");
            }
            valid.extend(entry.map(|entry| (at, entry)));
        }
        let next = |entry: &LogEntry| {
            let at = entry.at.checked_add(entry.length)?.checked_rem(self.len())?;
            let next = valid.get(&at)?;
            (Some(next.sequence) == entry.sequence.checked_add(1)).then_some(next)
        };
        let followed: std::collections::BTreeSet<u64> = valid.values().filter_map(next).map(|entry| entry.at).collect();
        let mut best: Vec<LogEntry> = Vec::new();
        // A run begins where nothing leads to. Sequence numbers rise along a run, so that none comes back to its
        // beginning, and no entry is in two.
        for first in valid.values().filter(|entry| !followed.contains(&entry.at)) {
            let run: Vec<LogEntry> = std::iter::successors(Some(first), |entry| next(entry)).copied().collect();
            let last = run.last().unwrap_or(first);
            let length = run.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.length));
            let whole = length <= self.len() && run.iter().any(|entry| entry.at == last.tail);
            let best_sequence = best.last().map_or(0, |entry| entry.sequence);
            if whole && last.sequence > best_sequence {
                best = run;
            }
        }
        Ok(best)
    }
}
