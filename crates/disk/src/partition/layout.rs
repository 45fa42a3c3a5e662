//! The structures of partition tables: the master boot record and the UEFI specification's GUID partition table
//! (section 5.3), little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use coldforge_base::guid::Guid;
use coldforge_base::read;

/// Bytes of the sector that master boot records count in, and of the structures that lie in one.
pub const SECTOR_BYTES: usize = 512;
/// The same as the tables' readers report it.
pub const MBR_SECTOR_BYTES: u32 = 512;
/// The least that an entry of a GUID partition table can have.
pub const GPT_ENTRY_BYTES: u32 = 128;

/// The master boot record, or an extended boot record of the chain of logical partitions.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MasterBootRecord {
    boot_code: [u8; 440],
    /// Identifies the disk; zero where a GUID partition table does.
    pub disk_signature: U32,
    reserved: U16,
    /// The primary partitions, or a logical one and the next link of the chain.
    pub entries: [MbrEntry; 4],
    boot_mark: [u8; 2],
}

/// An entry of the master boot record.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MbrEntry {
    /// 0x80 if the partition is active, else 0.
    pub status: u8,
    first_chs: [u8; 3],
    /// The type; zero if the entry is unused.
    pub kind: u8,
    last_chs: [u8; 3],
    /// First sector.
    pub first_sector: U32,
    /// Number of sectors.
    pub sectors: U32,
}

/// "GPT Header", its fixed part.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GptHeader {
    /// `EFI PART`.
    pub signature: [u8; 8],
    /// 1.0.
    pub revision: U32,
    /// Bytes that the checksum covers.
    pub header_size: U32,
    /// CRC-32 of the header with this field as zero.
    pub header_crc32: U32,
    reserved: U32,
    /// The sector that this copy lies in.
    pub my_lba: U64,
    /// The sector that the other copy lies in.
    pub alternate_lba: U64,
    /// First sector that a partition may have.
    pub first_usable_lba: U64,
    /// Last sector that a partition may have.
    pub last_usable_lba: U64,
    /// Identifies the disk.
    pub disk_guid: [u8; 16],
    /// First sector of the entries.
    pub partition_entry_lba: U64,
    /// Number of entries.
    pub number_of_partition_entries: U32,
    /// Bytes of an entry.
    pub size_of_partition_entry: U32,
    /// CRC-32 of all entries.
    pub partition_entry_array_crc32: U32,
}

/// "GPT Partition Entry", its fixed part.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GptEntry {
    /// What the partition is for; all zero if the entry is unused.
    pub partition_type_guid: [u8; 16],
    /// Identifies the partition.
    pub unique_partition_guid: [u8; 16],
    /// First sector.
    pub starting_lba: U64,
    /// Last sector, inclusive.
    pub ending_lba: U64,
    /// Attribute bits.
    pub attributes: U64,
    /// UTF-16LE, ended by a NUL or its full length.
    pub partition_name: [u8; 72],
}

const _: () = assert!(size_of::<MasterBootRecord>() == SECTOR_BYTES);
const _: () = assert!(size_of::<MbrEntry>() == 16);
const _: () = assert!(size_of::<GptHeader>() == 92);
const _: () = assert!(size_of::<GptEntry>() == GPT_ENTRY_BYTES as usize);

/// Where the header's own checksum lies in it.
pub const GPT_HEADER_CRC32_AT: usize = 16;

impl MasterBootRecord {
    /// Returns the record that a sector holds, if it ends like one.
    pub fn of(sector: &[u8]) -> Option<&Self> {
        let (record, _) = Self::ref_from_prefix(sector).ok()?;
        (record.boot_mark == [0x55, 0xaa]).then_some(record)
    }

    /// Tells whether the record announces a GUID partition table.
    pub fn is_protective(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == PROTECTIVE)
    }

    /// Tells whether a record that announces a GUID partition table lists partitions of its own as well.
    pub fn is_hybrid(&self) -> bool {
        self.entries.iter().any(|entry| !entry.is_unused() && entry.kind != PROTECTIVE)
    }

    /// Tells whether the record lists nothing at all.
    pub fn is_blank(&self) -> bool {
        self.entries.iter().all(MbrEntry::is_unused)
    }
}

impl MbrEntry {
    /// Tells whether the entry stands for no partition.
    pub fn is_unused(&self) -> bool {
        self.kind == 0 || self.sectors.get() == 0
    }
}

impl GptHeader {
    /// Returns the fixed part of the header that a sector holds.
    pub fn of(sector: &[u8]) -> Option<&Self> {
        Some(Self::ref_from_prefix(sector).ok()?.0)
    }

    /// Returns the checksum of a whole header, its own field taken as zero.
    pub fn checksum(header: &[u8]) -> Option<u32> {
        let mut header = header.to_vec();
        read::put_u32_le(&mut header, GPT_HEADER_CRC32_AT, 0).ok()?;
        Some(crc32fast::hash(&header))
    }
}

/// The type byte of the entry that announces a GUID partition table.
pub const PROTECTIVE: u8 = 0xee;
/// The type byte of a dynamic disk (logical disk manager).
pub const MBR_LDM: u8 = 0x42;
/// The type byte of Storage Spaces, as the Windows headers have it.
pub const MBR_STORAGE_SPACES: u8 = 0xe7;
/// The metadata partition of a dynamic disk.
pub const GPT_LDM_METADATA: Guid =
    Guid::new(0x5808_c8aa, 0x7e8f, 0x42e0, [0x85, 0xd2, 0xe1, 0xe9, 0x04, 0x34, 0xcf, 0xb3]);
/// The data partition of a dynamic disk.
pub const GPT_LDM_DATA: Guid = Guid::new(0xaf9b_60a0, 0x1431, 0x4f62, [0xbc, 0x68, 0x33, 0x11, 0x71, 0x4a, 0x69, 0xad]);
/// Storage Spaces.
pub const GPT_STORAGE_SPACES: Guid =
    Guid::new(0xe75c_af8f, 0xf680, 0x4cee, [0xaf, 0xa3, 0xb0, 0x01, 0xe5, 0x6e, 0xfc, 0x2d]);

/// Tells whether a type byte is an extended partition's.
pub fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0f | 0x85)
}
