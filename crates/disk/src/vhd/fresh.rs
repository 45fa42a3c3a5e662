//! Footer and header of a VHD that is made anew, as Windows makes them.
//!
//! The creator tag is that of Windows, for which every known reader goes by the current size; the geometry beside it
//! follows the rule of the specification's appendix and is rounded down, so that it never decides. The time stamp is
//! zero, which is 2000-01-01: the same disk gives the same file at any time.

use std::io::Cursor;

use binrw::BinWrite;

use super::super::{Error, Result};
use super::layout::{DynamicHeader, Footer, LARGEST_DISK_BYTES, NONE, SECTOR, VERSION, checksum};
use super::locator::Locators;

/// The block of every dynamic VHD that Windows makes.
pub(in super::super) const BLOCK_BYTES: u64 = 2 << 20;
/// Where the block table of a dynamic disk begins.
pub(in super::super) const TABLE_AT: u64 = 1536;
/// What stands in the table for a block without a place.
pub(in super::super) const UNALLOCATED: u32 = super::layout::UNALLOCATED;

/// Checks that a disk of this size can be a VHD.
pub(in super::super) fn check_size(size: u64) -> Result<()> {
    if size > LARGEST_DISK_BYTES {
        return Err(Error::TooLarge { container: "VHD", size, limit: LARGEST_DISK_BYTES });
    }
    if size == 0 || !size.is_multiple_of(SECTOR) { Err(Error::OddSize { size, unit: SECTOR }) } else { Ok(()) }
}

/// Returns the footer of a disk of one of the types that [`Footer`] names.
pub(in super::super) fn footer(size: u64, disk_type: u32, id: [u8; 16]) -> Vec<u8> {
    let (cylinders, heads, sectors_per_track) = geometry(size / SECTOR);
    let footer = Footer {
        cookie: Footer::COOKIE,
        features: 2,
        file_format_version: VERSION,
        data_offset: if disk_type == Footer::FIXED { NONE } else { Footer::BYTES as u64 },
        time_stamp: 0,
        creator_application: *b"win ",
        creator_version: 0x000a_0000,
        creator_host_os: *b"Wi2k",
        original_size: size,
        current_size: size,
        cylinders,
        heads,
        sectors_per_track,
        disk_type,
        checksum: 0,
        unique_id: id,
        saved_state: 0,
        reserved: [0; 427],
    };
    sealed(&footer, Footer::CHECKSUM_AT)
}

/// Returns the header of a dynamic or a differencing disk whose block table begins at `table_at`.
pub(in super::super) fn header(size: u64, table_at: u64, parent: Option<&Locators>) -> Vec<u8> {
    let entries = size.div_ceil(BLOCK_BYTES);
    let header = DynamicHeader {
        cookie: DynamicHeader::COOKIE,
        data_offset: NONE,
        table_offset: table_at,
        header_version: VERSION,
        max_table_entries: u32::try_from(entries).expect("the largest VHD has a million blocks"),
        block_size: u32::try_from(BLOCK_BYTES).expect("2 MiB"),
        checksum: 0,
        parent_unique_id: parent.map_or([0; 16], |parent| parent.id),
        parent_time_stamp: parent.map_or(0, |parent| parent.time_stamp),
        reserved_1: 0,
        parent_unicode_name: parent.map_or([0; 512], Locators::name_field),
        parent_locators: parent.map_or([0; 192], Locators::entries_field),
        reserved_2: [0; 256],
    };
    sealed(&header, DynamicHeader::CHECKSUM_AT)
}

fn sealed<T: for<'a> BinWrite<Args<'a> = ()> + binrw::meta::WriteEndian>(structure: &T, checksum_at: usize) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    structure.write(&mut bytes).expect("a vector takes every byte");
    let mut bytes = bytes.into_inner();
    let sum = checksum(&bytes, checksum_at);
    coldforge_base::read::put(&mut bytes, checksum_at, &sum.to_be_bytes()).expect("a structure holds its checksum");
    bytes
}

/// Returns cylinders, heads and sectors per track of a disk of so many sectors.
///
/// Source: the specification's appendix "CHS Calculation"; equal to what Windows, Virtual PC and qemu store.
pub(in super::super) fn geometry(sectors: u64) -> (u16, u8, u8) {
    let sectors = sectors.min(65_535 * 16 * 255);
    let (heads, per_track): (u64, u64) = if sectors >= 65_535 * 16 * 63 {
        (16, 255)
    } else {
        // Tried in this order: 17, 31 and 63 sectors a track.
        let tracks = sectors / 17;
        let heads = tracks.div_ceil(1024).max(4);
        if heads <= 16 && tracks < heads.saturating_mul(1024) {
            (heads, 17)
        } else if sectors / 31 < 16 * 1024 {
            (16, 31)
        } else {
            (16, 63)
        }
    };
    let cylinders = sectors.checked_div(per_track.saturating_mul(heads)).unwrap_or(0);
    let small = |number| u8::try_from(number).unwrap_or(u8::MAX);
    (u16::try_from(cylinders).unwrap_or(u16::MAX), small(heads), small(per_track))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries_are_those_that_windows_and_qemu_store() {
        for (bytes, expected) in [
            (4 << 20, (120, 4, 17)),
            (10 << 20, (301, 4, 17)),
            (136_365_211_648, (65_278, 16, 255)),
            (64 << 20, (963, 8, 17)),
            (LARGEST_DISK_BYTES, (65_535, 16, 255)),
        ] {
            assert_eq!(geometry(bytes / SECTOR), expected, "{bytes}");
        }
    }
}
