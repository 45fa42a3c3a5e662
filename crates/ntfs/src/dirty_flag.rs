//! The dirty flag, for a caller that changes the volume in place on its disk.
//!
//! While structures are written one after the other, the volume on the disk is inconsistent. The caller sets bit 0 of
//! the flags in $VOLUME_INFORMATION first and clears it last, in `$Volume` (record 3) and in its copy in `$MFTMirr`. If
//! the write is interrupted, Windows runs `chkdsk` before it uses the volume. Only one byte of one sector changes, so
//! the update sequence stays valid.

use super::layout::{STRIDE_BYTES, VolumeInformation, attribute_at, kind, system, volume_flag};
use crate::error::{Error, Place, Result};
use crate::volume::Volume;
use coldforge_base::{ReadAt, VolumeOffset, read};

/// Where the flags are in the attribute's value.
const FLAGS_AT: usize = core::mem::offset_of!(VolumeInformation, flags);

impl<D: ReadAt> Volume<D> {
    /// Returns the bytes that call the volume dirty, each with its place: in `$Volume` and in its copy in `$MFTMirr`.
    ///
    /// # Errors
    /// Errors in `$Volume` or `$MFTMirr`.
    pub fn dirty_marks(&self) -> Result<Vec<(VolumeOffset, u8)>> {
        let record = self.record(system::VOLUME)?;
        let attribute = record.required(kind::VOLUME_INFORMATION)?;
        let place = Place::Record { record: system::VOLUME, byte: attribute.offset };
        let value_at = read::u16_le(record.bytes(), attribute.offset.saturating_add(attribute_at::VALUE_OFFSET))
            .map_err(place.cut())?;
        let within = attribute.offset.saturating_add(value_at.into()).saturating_add(FLAGS_AT);
        let flags = *read::slice(record.bytes(), within, 1).map_err(place.cut())?.first().unwrap_or(&0);
        // The last two bytes of a stride are elsewhere on the disk; attributes are aligned so that the flags never are.
        if within.checked_rem(STRIDE_BYTES).is_none_or(|at| at >= STRIDE_BYTES.saturating_sub(2)) {
            return Err(Error::Field { place, field: "the place of the flags", actual: within as u64 });
        }
        let [dirty, _] = volume_flag::DIRTY.to_le_bytes();
        let mirror = self.system_data(system::MFT_MIRROR)?;
        let at = self.record_start(system::VOLUME).saturating_add(within as u64);
        let mut places = self.mft.places(&self.geometry, at, 1)?;
        places.extend(mirror.places(&self.geometry, at, 1)?);
        Ok(places.into_iter().map(|place| (VolumeOffset(place.offset), flags | dirty)).collect())
    }
}
