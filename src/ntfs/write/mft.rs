//! A file record for a new file, and a longer `$MFT` when none is free.
//!
//! Facts: a free record keeps its sequence number, which went up when it became free, and its update sequence number.
//! `$MFT` grows by 16 records, all formatted at once, its bitmap by eight bytes.

use super::edit::Edit;
use super::layout::record_at;
use super::order::Rank;
use super::record::Editor;
use crate::base::read;
use crate::disk::BlockDevice;
use crate::ntfs::error::Place;
use crate::ntfs::layout::{kind, system};
use crate::ntfs::record::Reference;
use crate::ntfs::stream::Stream;
use crate::ntfs::{Error, Result, fixup};

/// How many records `$MFT` gets at a time.
const GROWTH_RECORDS: u64 = 16;

/// The most records that are formatted at a time, should `$MFT` be longer than it is initialized.
const MOST_RECORDS: u64 = 4096;

impl<D: BlockDevice> Edit<'_, '_, D> {
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
        let (mut sequence, mut update_sequence) = (1, 0);
        if let Some(record) = self.any_record(number)? {
            let place = Place::Record { record: number, byte: record_at::FLAGS };
            if record.is_in_use() {
                return Err(Error::Field { place, field: "the use of a record that is marked as free", actual: 1 });
            }
            let array = fixup::array_offset(record.bytes(), place)?;
            sequence = record.sequence().max(1);
            update_sequence = read::u16_le(record.bytes(), array).map_err(place.cut())?;
        }
        self.is_fresh(number);
        Ok(Editor::blank(number, self.view.geometry.record_bytes, sequence, update_sequence))
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
            self.put_record(Rank::NewRecords, Editor::blank(number, self.view.geometry.record_bytes, 1, 0))?;
        }
        Ok(())
    }

    /// Reads the runs of `$MFT` as they are now.
    fn whole_mft(&self, mft: Reference) -> Result<Stream> {
        let segments = self.view.referenced(mft)?;
        let missing = Error::MissingAttribute { record: system::MFT, kind: kind::DATA };
        self.view.stream(&segments, kind::DATA, &[])?.ok_or(missing)
    }
}
