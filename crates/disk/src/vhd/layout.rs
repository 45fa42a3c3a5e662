//! The structures of a VHD file as Microsoft's "Virtual Hard Disk Image Format Specification" (2006) names them.
//!
//! All numbers are big-endian. Nothing here judges: the fields' meaning is the readers' business.

use std::io::Cursor;

use binrw::{BinRead, BinWrite};

/// "Hard Disk Footer": the last 512 bytes of the file, and a copy at its beginning if the disk is dynamic.
#[derive(BinRead, BinWrite, Clone, Debug, Eq, PartialEq)]
#[brw(big)]
pub struct Footer {
    /// [`Footer::COOKIE`].
    pub cookie: [u8; 8],
    /// Bit 0: temporary disk; bit 1: always set.
    pub features: u32,
    /// [`VERSION`].
    pub file_format_version: u32,
    /// Byte of the file where the next structure begins: [`NONE`] for a fixed disk.
    pub data_offset: u64,
    /// Seconds since 2000-01-01 00:00 UTC.
    pub time_stamp: u32,
    /// The program that made the disk: `win `, `vpc `, `qemu`.
    pub creator_application: [u8; 4],
    /// Its version, major in the high half.
    pub creator_version: u32,
    /// `Wi2k` or `Mac `.
    pub creator_host_os: [u8; 4],
    /// Size of the disk in bytes when it was made.
    pub original_size: u64,
    /// Size of the disk in bytes.
    pub current_size: u64,
    /// Geometry: cylinders.
    pub cylinders: u16,
    /// Geometry: heads.
    pub heads: u8,
    /// Geometry: sectors per track.
    pub sectors_per_track: u8,
    /// One of [`Footer::FIXED`], [`Footer::DYNAMIC`], [`Footer::DIFFERENCING`].
    pub disk_type: u32,
    /// [`checksum`] of the structure with this field as zero.
    pub checksum: u32,
    /// Identifies the disk to its children.
    pub unique_id: [u8; 16],
    /// 1 if the disk belongs to a machine in saved state.
    pub saved_state: u8,
    /// Zeros.
    pub reserved: [u8; 427],
}

impl Footer {
    /// Length in bytes.
    pub const BYTES: usize = 512;
    /// The first bytes.
    pub const COOKIE: [u8; 8] = *b"conectix";
    /// Where the checksum lies.
    pub const CHECKSUM_AT: usize = 64;
    /// `disk_type` of a disk whose sectors stand in order.
    pub const FIXED: u32 = 2;
    /// `disk_type` of a disk whose blocks are found through a table.
    pub const DYNAMIC: u32 = 3;
    /// `disk_type` of a disk that holds only what differs from its parent.
    pub const DIFFERENCING: u32 = 4;
}

/// "Dynamic Disk Header": 1024 bytes at the footer's data offset.
#[derive(BinRead, BinWrite, Clone, Debug, Eq, PartialEq)]
#[brw(big)]
pub struct DynamicHeader {
    /// [`DynamicHeader::COOKIE`].
    pub cookie: [u8; 8],
    /// [`NONE`].
    pub data_offset: u64,
    /// Byte of the file where the block allocation table begins.
    pub table_offset: u64,
    /// [`VERSION`].
    pub header_version: u32,
    /// Number of entries of the block allocation table.
    pub max_table_entries: u32,
    /// Bytes of a block, without its bitmap.
    pub block_size: u32,
    /// [`checksum`] of the structure with this field as zero.
    pub checksum: u32,
    /// Identifies the parent of a differencing disk.
    pub parent_unique_id: [u8; 16],
    /// The parent's time stamp, often zero.
    pub parent_time_stamp: u32,
    /// Zero.
    pub reserved_1: u32,
    /// The parent's name in UTF-16, big-endian.
    pub parent_unicode_name: [u8; 512],
    /// Eight entries of 24 bytes that say where the parent's paths are.
    pub parent_locators: [u8; 192],
    /// Zeros.
    pub reserved_2: [u8; 256],
}

impl DynamicHeader {
    /// Length in bytes.
    pub const BYTES: usize = 1024;
    /// The first bytes.
    pub const COOKIE: [u8; 8] = *b"cxsparse";
    /// Where the checksum lies.
    pub const CHECKSUM_AT: usize = 36;
}

/// The version of both structures: 1.0.
pub const VERSION: u32 = 0x0001_0000;
/// An offset that leads nowhere.
pub const NONE: u64 = u64::MAX;
/// "Block Allocation Table" entry of a block that has no place in the file.
pub const UNALLOCATED: u32 = u32::MAX;
/// Bytes of a sector: the unit of table entries and of bitmaps.
pub const SECTOR: u64 = 512;

/// The largest disk: 2040 GiB, the limit of Windows and of qemu.
pub const LARGEST_DISK_BYTES: u64 = 2040 << 30;

/// Returns the ones' complement of the sum of all bytes but the four at `field_at`, which hold the checksum itself.
pub fn checksum(bytes: &[u8], field_at: usize) -> u32 {
    let field = field_at..field_at.saturating_add(4);
    let sum = |sum: u32, (_, byte): (usize, &u8)| sum.wrapping_add(u32::from(*byte));
    !bytes.iter().enumerate().filter(|(at, _)| !field.contains(at)).fold(0u32, sum)
}

/// Reads a structure that is known to lie in `bytes` as a whole.
pub fn read<T: for<'a> BinRead<Args<'a> = ()> + binrw::meta::ReadEndian>(bytes: &[u8]) -> Option<T> {
    T::read(&mut Cursor::new(bytes)).ok()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_their_documented_sizes_and_places() {
        let mut bytes: Vec<u8> = (0..1024u32).map(|i| (i * 7 + i / 256) as u8).collect();
        let footer: Footer = read(&bytes).unwrap();
        assert_eq!(footer.checksum.to_be_bytes(), bytes[Footer::CHECKSUM_AT..][..4]);
        assert_eq!([footer.saved_state], bytes[84..85]);
        assert_eq!(footer.current_size.to_be_bytes(), bytes[48..56]);
        let mut written = Cursor::new(Vec::new());
        footer.write(&mut written).unwrap();
        assert_eq!(written.into_inner(), bytes[..Footer::BYTES]);

        let header: DynamicHeader = read(&bytes).unwrap();
        assert_eq!(header.checksum.to_be_bytes(), bytes[DynamicHeader::CHECKSUM_AT..][..4]);
        assert_eq!(header.parent_unicode_name[0], bytes[64]);
        let mut written = Cursor::new(Vec::new());
        header.write(&mut written).unwrap();
        assert_eq!(written.into_inner(), bytes);

        let right = checksum(&bytes, 36);
        bytes[36] ^= 1;
        assert_eq!(checksum(&bytes, 36), right, "the field itself does not count");
        bytes[35] ^= 1;
        assert_ne!(checksum(&bytes, 36), right);
        assert!(read::<Footer>(&bytes[..511]).is_none());
    }
}
