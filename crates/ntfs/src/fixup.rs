//! Fixups (multi-sector transfer protection), which show whether a FILE, INDX or RSTR structure was written completely.
//!
//! The last two bytes of each 512-byte block hold the update sequence number; the bytes that belong there are kept in
//! the update sequence array of the header. The stride is 512 bytes also on disks with sectors of 4096 bytes.

use super::layout::{MultiSectorHeader, STRIDE_BYTES, view};
use crate::error::{Error, Place, Result};
use coldforge_base::read;

/// Checks a structure that was just read and puts the protected bytes back into their places.
///
/// # Errors
/// [`Error::Signature`] if it begins otherwise, [`Error::Field`] if the update sequence array is impossible,
/// [`Error::Torn`] if a block does not end in the update sequence number.
pub(super) fn undo(buf: &mut [u8], signature: [u8; 4], place: Place) -> Result<()> {
    let actual = read::array(buf, 0).map_err(place.cut())?;
    if actual != signature {
        return Err(Error::Signature { place, expected: signature, actual });
    }
    let array = array_offset(buf, place)?;
    let expected = read::u16_le(buf, array).map_err(place.cut())?;
    for (slot, end) in slots(array, buf.len()) {
        let actual = read::u16_le(buf, end).map_err(place.cut())?;
        if actual != expected {
            return Err(Error::Torn { place: place.plus(end), expected, actual });
        }
        let bytes: [u8; 2] = read::array(buf, slot).map_err(place.cut())?;
        read::put(buf, end, &bytes).map_err(place.cut())?;
    }
    Ok(())
}

/// Protects a structure that is about to be written: the update sequence number becomes the next one.
///
/// # Errors
/// As [`undo`], which the structure has passed before.
pub(super) fn protect(buf: &mut [u8], place: Place) -> Result<()> {
    let array = array_offset(buf, place)?;
    let next = match read::u16_le(buf, array).map_err(place.cut())?.wrapping_add(1) {
        // 0 and 0xFFFF are never used: a zeroed or an erased sector could pass for a whole one.
        0 | u16::MAX => 1,
        next => next,
    };
    read::put_u16_le(buf, array, next).map_err(place.cut())?;
    for (slot, end) in slots(array, buf.len()) {
        let bytes: [u8; 2] = read::array(buf, end).map_err(place.cut())?;
        read::put(buf, slot, &bytes).map_err(place.cut())?;
        read::put_u16_le(buf, end, next).map_err(place.cut())?;
    }
    Ok(())
}

/// Returns where the update sequence array of a checked structure begins.
pub(super) fn array_offset(buf: &[u8], place: Place) -> Result<usize> {
    let header: &MultiSectorHeader = view(buf, 0).map_err(place.cut())?;
    let (offset, count) = (usize::from(header.usa_offset.get()), usize::from(header.usa_count.get()));
    let blocks = buf.len().checked_div(STRIDE_BYTES).unwrap_or(0);
    if blocks == 0 || !buf.len().is_multiple_of(STRIDE_BYTES) || count != blocks.saturating_add(1) {
        return Err(Error::Field { place: place.plus(6), field: "the update sequence count", actual: count as u64 });
    }
    // The array is after the header and before the first mark, which it must not overwrite.
    let end = offset.saturating_add(count.saturating_mul(2));
    if offset < size_of::<MultiSectorHeader>() || offset % 2 != 0 || end > STRIDE_BYTES.saturating_sub(2) {
        return Err(Error::Field { place: place.plus(4), field: "the update sequence offset", actual: offset as u64 });
    }
    Ok(offset)
}

/// Returns the slot in the array and the protected place of each block of a structure of `length` bytes.
pub(super) fn slots(array: usize, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let slots = (array.saturating_add(2)..).step_by(2);
    let ends = (STRIDE_BYTES.saturating_sub(2)..length).step_by(STRIDE_BYTES);
    slots.zip(ends)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const PLACE: Place = Place::Record { record: 7, byte: 0 };

    fn record(usn: u16) -> Vec<u8> {
        let mut buf: Vec<u8> = (0..1024u32).map(|i| (i * 7) as u8).collect();
        buf[..8].copy_from_slice(b"FILE\x30\0\x03\0");
        buf[0x30..0x32].copy_from_slice(&usn.to_le_bytes());
        buf
    }

    #[test]
    fn protecting_and_undoing_returns_the_bytes_and_counts_on() {
        let plain = record(5);
        let mut buf = plain.clone();
        protect(&mut buf, PLACE).unwrap();
        assert_eq!((buf[510], buf[511], buf[1022], buf[1023]), (6, 0, 6, 0));
        assert_eq!(buf[0x32..0x34], plain[510..512]);
        undo(&mut buf, *b"FILE", PLACE).unwrap();
        assert_eq!(buf[0x36..], plain[0x36..]);
    }

    #[test]
    fn the_update_sequence_number_skips_zero_and_all_ones() {
        for (old, new) in [(0xfffeu16, 1u16), (0xffff, 1), (0, 1), (1, 2)] {
            let mut buf = record(old);
            protect(&mut buf, PLACE).unwrap();
            assert_eq!(buf[510..512], new.to_le_bytes());
        }
    }

    #[test]
    fn a_block_of_an_older_write_is_found() {
        let mut buf = record(5);
        protect(&mut buf, PLACE).unwrap();
        buf[1022] = 5;
        match undo(&mut buf, *b"FILE", PLACE) {
            Err(Error::Torn { place: Place::Record { record: 7, byte: 1022 }, expected: 6, actual: 5 }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_array_that_reaches_a_mark_is_refused() {
        for offset in [0u16, 7, 0x1f9, 0x1fa, 0xffff] {
            let mut buf = record(5);
            buf[4..6].copy_from_slice(&offset.to_le_bytes());
            assert!(matches!(undo(&mut buf, *b"FILE", PLACE), Err(Error::Field { .. })), "{offset:#x}");
        }
        let mut buf = record(5);
        buf[6] = 4;
        assert!(matches!(undo(&mut buf, *b"FILE", PLACE), Err(Error::Field { .. })));
    }
}
