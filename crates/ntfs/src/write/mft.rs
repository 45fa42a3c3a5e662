//! Allocating a file record, and growing `$MFT` when none is free.
//!
//! A free record keeps its update sequence number and its sequence number, which went up when the record was freed.
//! `$MFT` grows by 16 records, all formatted at once; its bitmap grows by eight bytes.

use super::edit::Edit;
use super::order::Rank;
use super::record::Editor;
use crate::error::{Error, Place, Result};
use crate::fixup;
use crate::layout::{kind, record_at, record_flag, system};
use crate::record::{Record, Reference};
use crate::stream::Stream;
use coldforge_base::{ReadAt, read};

/// How many records `$MFT` gets at a time.
const GROWTH_RECORDS: u64 = 16;

/// The most records that are formatted at a time, should `$MFT` be longer than it is initialized.
const MOST_RECORDS: u64 = 4096;

impl<D: ReadAt> Edit<'_, '_, D> {
    /// Takes a free record, empty and not yet marked as used.
    ///
    /// # Errors
    /// [`Error::VolumeFull`], [`Error::MftFragmented`]; [`Error::Field`] if a record is in use and its bit is clear.
    pub fn new_record(&mut self) -> Result<Editor> {
        let number = match self.space.records.take(self.records()) {
            Some(number) => number,
            None => {
                self.grow_mft()?;
                self.space.records.take(self.records()).ok_or(Error::MftFragmented)?
            }
        };
        let (sequence, update_sequence) = self.numbers_of_free(number)?;
        self.is_fresh(number);
        Editor::blank(number, self.view.geometry.record_bytes, sequence, update_sequence)
    }

    /// Returns the sequence number and the update sequence number of a free record.
    ///
    /// Nothing else of a free record is looked at: mkntfs leaves some with the number 0.
    fn numbers_of_free(&self, number: u64) -> Result<(u16, u16)> {
        let mut bytes = self.view.raw_record(number)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok((1, 0));
        }
        let place = Place::Record { record: number, byte: 0 };
        fixup::undo(&mut bytes, Record::SIGNATURE, place)?;
        let word = |at: usize| read::u16_le(&bytes, at).map_err(place.cut());
        let flags = word(record_at::FLAGS)?;
        if flags & record_flag::IN_USE != 0 {
            let place = place.plus(record_at::FLAGS);
            return Err(Error::Field {
                place,
                field: "the flags of a record that is marked as free",
                actual: flags.into(),
            });
        }
        // A sequence number of 0 would let any reference lead here.
        Ok((word(record_at::SEQUENCE)?.max(1), word(fixup::array_offset(&bytes, place)?)?))
    }

    fn grow_mft(&mut self) -> Result<()> {
        let base = self.view.record(system::MFT)?;
        let mft = base.reference();
        if self.view.segments(base)?.list.is_some() {
            return Err(Error::MftFragmented);
        }
        let record_bytes = self.view.geometry.record_bytes as u64;
        let records = self.records();
        let held = self.view.mft.size.checked_div(record_bytes).unwrap_or(0);
        let total = records.saturating_add(GROWTH_RECORDS).max(held);
        if total.saturating_sub(records) > MOST_RECORDS {
            return Err(Error::MftFragmented);
        }
        if self.space.records.covered() < total {
            let bytes = total.div_ceil(8).next_multiple_of(8);
            self.grow(mft, Rank::MftHead, (kind::BITMAP, &[]), bytes)?;
            self.space.records.extend(usize::try_from(bytes).map_err(|_| Error::MftFragmented)?);
        }
        self.grow(mft, Rank::MftHead, (kind::DATA, &[]), total.saturating_mul(record_bytes))?;
        self.view.mft = self.whole_mft(mft)?;
        for number in records..total {
            self.is_fresh(number);
            self.put_record(Rank::NewRecords, Editor::blank(number, self.view.geometry.record_bytes, 1, 0)?)?;
        }
        Ok(())
    }

    /// Reads the runs of `$MFT` as they are now.
    fn whole_mft(&self, mft: Reference) -> Result<Stream> {
        let segments = self.view.referenced(mft)?;
        self.view.required_stream(&segments, kind::DATA, &[])
    }
}
