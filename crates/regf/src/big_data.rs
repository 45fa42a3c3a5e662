//! Big data: values above 16,344 bytes, cut into segments where the hive's minor version is above 3.
//!
//! A record (`db`) names a cell with the list of segment cells. Every segment carries 16,344 bytes, the last one the
//! rest, and every segment's cell has room for 16,344, the last one's too.

use super::layout::{BigData, SEGMENT_LEN};
use super::{Error, Hive, Result, tail};
use coldforge_base::{CellOffset, read};

impl Hive {
    /// Returns the `length` bytes that the record at `at` stores.
    pub(super) fn big_data(&self, at: CellOffset, length: usize) -> Result<Vec<u8>> {
        // Segments that a hostile record repeats must not become more memory than the hive itself.
        if length > self.extent_len() {
            return Err(Error::CellTooShort { at, expected: length, actual: self.extent_len() });
        }
        let mut data = Vec::with_capacity(length);
        for segment in self.segments(at, length)?.1 {
            let part = length.saturating_sub(data.len()).min(SEGMENT_LEN);
            data.extend_from_slice(tail(segment, self.cell(segment)?, 0, part)?);
        }
        Ok(data)
    }

    /// Returns the cells that the record at `at` names for `length` bytes: the list's, and the segments'.
    ///
    /// # Errors
    /// [`Error::Signature`], [`Error::CellTooShort`] and [`Error::NoCell`]; [`Error::BigData`] if the number of
    /// segments is not the one that `length` needs.
    pub(super) fn segments(&self, at: CellOffset, length: usize) -> Result<(CellOffset, Vec<CellOffset>)> {
        let (record, _) = self.structure::<BigData>(at)?;
        if record.signature != *b"db" {
            return Err(Error::Signature { at, expected: "big data", actual: record.signature });
        }
        let (expected, actual) = (length.div_ceil(SEGMENT_LEN), usize::from(record.count.get()));
        if actual != expected {
            let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
            return Err(Error::BigData { at, expected: number(expected), actual: number(actual) });
        }
        let list = CellOffset(record.list.get());
        let entries = tail(list, self.cell(list)?, 0, actual.saturating_mul(4))?;
        Ok((list, entries.chunks_exact(4).filter_map(|entry| read::u32_le(entry, 0).ok()).map(CellOffset).collect()))
    }
}
