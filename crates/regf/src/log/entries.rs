//! The new format (Windows 8.1 and later, file type 6): entries of dirty pages ("HvLE"), each guarded by two hashes.
//!
//! Entries begin behind the base block's first sector, follow one another without a gap, and are numbered from the base
//! block's sequence number on. The first that is not whole, or that is a remnant of an earlier turn of the log, ends
//! the log: that is what a crash leaves. An entry that is whole and yet impossible was not written by Windows: a log
//! that is needed and has one is refused.

use std::mem::offset_of;

use zerocopy::FromBytes;

use super::marvin::marvin32;
use super::{End, Page, SECTOR_LEN};
use crate::layout::{LOG_ENTRY_LEN, LogEntry, LogPage};
use crate::{Error, base_block};
use coldforge_base::FileOffset;

/// The entries of a log that can be replayed.
pub(crate) struct Entries<'l> {
    /// The sequence number of the first, whether there is one or not.
    pub first: u32,
    /// In the order of their sequence numbers, which are consecutive.
    pub list: Vec<Entry<'l>>,
    /// Why there are no more.
    pub end: End,
    /// What is impossible about the entry behind the last; its hashes are right.
    pub impossible: Option<Error>,
}

impl Entries<'_> {
    /// Returns the sequence number that would come behind the last entry.
    pub fn due(&self) -> u32 {
        self.list.last().map_or(self.first, |last| last.sequence.wrapping_add(1))
    }
}

/// One entry: the pages that were dirty at a flush.
#[derive(Eq, PartialEq)]
pub(crate) struct Entry<'l> {
    /// Where in the log it begins.
    pub at: FileOffset,
    /// Its sequence number.
    pub sequence: u32,
    /// The base block's flags.
    pub flags: u32,
    /// The size of all bins in bytes, a multiple of 4096.
    pub bins_len: u32,
    /// At least one; in the order in which they are written, so that the last of two that overlap counts.
    pub pages: Vec<Page<'l>>,
}

/// Reads the entries of a log whose base block has the sequence number `first`.
pub(super) fn read_all<'l>(name: &str, bytes: &'l [u8], first: u32) -> Entries<'l> {
    let (mut at, mut sequence) = (SECTOR_LEN as usize, first);
    let mut entries = Entries { first, list: Vec::new(), end: End::NoEntry, impossible: None };
    // Ends: every entry is at least one sector of the log.
    loop {
        let whole = match whole(bytes, at, sequence) {
            Ok(whole) => whole,
            Err(end) => {
                entries.end = end;
                return entries;
            }
        };
        match entry(name, whole, at) {
            Ok(entry) => entries.list.push(entry),
            Err(error) => {
                entries.end = End::Impossible;
                entries.impossible = Some(error);
                return entries;
            }
        }
        at = at.saturating_add(whole.len());
        sequence = sequence.wrapping_add(1);
    }
}

/// Returns the bytes of the entry at `at` if it has the sequence number `expected` and was written whole.
fn whole(bytes: &[u8], at: usize, expected: u32) -> Result<&[u8], End> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Ok((head, _)) = LogEntry::ref_from_prefix(rest) else { return Err(End::NoEntry) };
    if head.signature != *b"HvLE" {
        return Err(End::NoEntry);
    }
    let actual = head.sequence.get();
    if actual != expected {
        return Err(End::Sequence { expected, actual });
    }
    let length = head.len.get();
    let entry = match rest.get(..length as usize) {
        Some(entry) if length != 0 && length.is_multiple_of(SECTOR_LEN) => entry,
        _ => return Err(End::Length { actual: length }),
    };
    let hashed_head = entry.get(..offset_of!(LogEntry, head_hash)).unwrap_or_default();
    let hashed_body = entry.get(LOG_ENTRY_LEN..).unwrap_or_default();
    if marvin32(hashed_head) != head.head_hash.get() || marvin32(hashed_body) != head.body_hash.get() {
        return Err(End::Hash);
    }
    Ok(entry)
}

/// Returns what a whole entry says.
fn entry<'l>(name: &str, bytes: &'l [u8], position: usize) -> Result<Entry<'l>, Error> {
    let at = FileOffset(position as u64);
    let log = || name.to_owned();
    let length = bytes.len();
    let Ok((head, rest)) = LogEntry::ref_from_prefix(bytes) else {
        return Err(Error::LogPages { log: log(), at, actual: 0, length });
    };
    let bins_len = head.bins_len.get();
    if !base_block::is_bins_len(bins_len) {
        return Err(Error::LogBins { log: log(), at, actual: bins_len, limit: base_block::BINS_LEN_MAX.into() });
    }
    let count = head.page_count.get();
    let Ok((references, mut data)) = <[LogPage]>::ref_from_prefix_with_elems(rest, count as usize) else {
        return Err(Error::LogPages { log: log(), at, actual: count, length });
    };
    if count == 0 {
        return Err(Error::LogPages { log: log(), at, actual: count, length });
    }
    // Grows with the pages that are there, each at least a sector of the entry: the count alone reserves nothing.
    let mut pages = Vec::new();
    for reference in references {
        let (offset, length) = (reference.offset.get(), reference.len.get());
        let aligned = [offset, length].iter().all(|number| number.is_multiple_of(SECTOR_LEN));
        let inside = u64::from(offset).saturating_add(length.into()) <= bins_len.into();
        let (Some((page, rest)), true, true, true) =
            (data.split_at_checked(length as usize), aligned, inside, length > 0)
        else {
            return Err(Error::LogPage { log: log(), at, offset, length });
        };
        pages.push(Page { offset, bytes: page });
        data = rest;
    }
    Ok(Entry { at, sequence: head.sequence.get(), flags: head.flags.get(), bins_len, pages })
}
