//! Allocation of file records from `$MFT:$BITMAP`, which is held in memory.
//!
//! Records below 24 belong to NTFS, whatever their bits say. Bits after the last record have no meaning.

use std::collections::BTreeSet;

use crate::bitmap;
use crate::error::{Error, Result};
use crate::layout::system;
use coldforge_base::read;

/// The bits, and the changes of the current edit.
#[derive(Debug)]
pub(super) struct FreeRecords {
    bits: Vec<u8>,
    /// How many bytes the disk has.
    held: usize,
    taken: BTreeSet<u64>,
    freed: BTreeSet<u64>,
    /// No record below it is free.
    hint: u64,
}

impl FreeRecords {
    /// Starts from `$MFT:$BITMAP` as it is on the disk.
    pub fn new(bits: Vec<u8>) -> Self {
        let held = bits.len();
        Self { bits, held, taken: BTreeSet::new(), freed: BTreeSet::new(), hint: system::FIRST_USER }
    }

    /// Takes the first free record below `records`, but only one with a bit; `None` if there is none.
    pub fn take(&mut self, records: u64) -> Option<u64> {
        let records = records.min(self.covered());
        // Each turn moves on to the next record, or over eight that are used.
        let mut number = self.hint;
        while number < records {
            let byte = self.byte(number);
            if byte == u8::MAX && number.is_multiple_of(8) {
                number = number.saturating_add(8);
                continue;
            }
            if byte & read::bit(number) == 0 && !self.taken.contains(&number) {
                self.taken.insert(number);
                self.hint = number.saturating_add(1);
                return Some(number);
            }
            number = number.saturating_add(1);
        }
        None
    }

    /// Returns how many records have a bit.
    pub fn covered(&self) -> u64 {
        (self.bits.len() as u64).saturating_mul(8)
    }

    /// Learns that the bitmap was extended by zeros.
    pub fn extend(&mut self, bytes: usize) {
        self.bits.resize(bytes.max(self.bits.len()), 0);
    }

    /// Gives a record back once the edit is over.
    ///
    /// # Errors
    /// [`Error::NotInUse`] if its bit is clear already.
    pub fn free(&mut self, number: u64) -> Result<()> {
        if self.byte(number) & read::bit(number) == 0 || number < system::FIRST_USER {
            return Err(Error::NotInUse { record: number });
        }
        self.freed.insert(number);
        Ok(())
    }

    /// Returns the records that were taken, and those that were freed.
    pub fn pending(&self) -> (&BTreeSet<u64>, &BTreeSet<u64>) {
        (&self.taken, &self.freed)
    }

    /// Ends the edit: it happened, or it did not.
    pub fn settle(&mut self, happened: bool) {
        let (taken, freed) = (std::mem::take(&mut self.taken), std::mem::take(&mut self.freed));
        let lowest = if happened { freed.first() } else { taken.first() };
        self.hint = self.hint.min(lowest.copied().unwrap_or(u64::MAX));
        if !happened {
            self.bits.truncate(self.held);
            return;
        }
        self.held = self.bits.len();
        for (numbers, is_used) in [(&taken, true), (&freed, false)] {
            for number in numbers {
                bitmap::set(&mut self.bits, *number, is_used);
            }
        }
    }

    fn byte(&self, number: u64) -> u8 {
        usize::try_from(number / 8).ok().and_then(|at| self.bits.get(at)).copied().unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_record_is_taken_once_and_only_below_the_end() {
        let mut records = FreeRecords::new(vec![0, 0, 0, 0xff, 0b1111_0111, 0]);
        assert_eq!(records.take(48), Some(35));
        assert_eq!(records.take(48), Some(40));
        assert_eq!(records.take(41), None);
        records.settle(false);
        assert_eq!(records.take(48), Some(35));
        records.settle(true);
        assert_eq!(records.take(48), Some(40));
    }

    #[test]
    fn a_freed_record_is_free_only_after_the_edit() {
        let mut records = FreeRecords::new(vec![0, 0, 0, 0xff, 0xff]);
        records.free(30).unwrap();
        assert_eq!(records.take(40), None);
        records.settle(true);
        assert!(records.free(30).is_err());
        assert_eq!(records.take(40), Some(30));
        assert!(records.free(5).is_err(), "never NTFS's own");
    }
}
