//! NTFS's structures as they lie on disk, all little-endian, in the words of Microsoft's structures.
//!
//! Nothing here checks a value. Structures are viewed in place with [`view`].

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use coldforge_base::read::OutOfBounds;

/// Views the structure that begins at `at`.
pub(super) fn view<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    buf: &[u8],
    at: usize,
) -> Result<&T, OutOfBounds> {
    let cut = buf.get(at..).and_then(|rest| T::ref_from_prefix(rest).ok());
    let outside = OutOfBounds { at, length: size_of::<T>(), available: buf.len() };
    cut.map(|(structure, _)| structure).ok_or(outside)
}

/// Type codes of attributes ($AttrDef).
pub(super) mod kind {
    pub(crate) const STANDARD_INFORMATION: u32 = 0x10;
    pub(crate) const ATTRIBUTE_LIST: u32 = 0x20;
    pub(crate) const FILE_NAME: u32 = 0x30;
    pub(crate) const OBJECT_ID: u32 = 0x40;
    pub(crate) const SECURITY_DESCRIPTOR: u32 = 0x50;
    pub(crate) const VOLUME_NAME: u32 = 0x60;
    pub(crate) const VOLUME_INFORMATION: u32 = 0x70;
    pub(crate) const DATA: u32 = 0x80;
    pub(crate) const INDEX_ROOT: u32 = 0x90;
    pub(crate) const INDEX_ALLOCATION: u32 = 0xa0;
    pub(crate) const BITMAP: u32 = 0xb0;
    pub(crate) const REPARSE_POINT: u32 = 0xc0;
    pub(crate) const EA_INFORMATION: u32 = 0xd0;
    pub(crate) const END: u32 = 0xffff_ffff;
}

/// Numbers of the file records that NTFS keeps for itself.
pub(super) mod system {
    pub(crate) const MFT: u64 = 0;
    pub(crate) const MFT_MIRROR: u64 = 1;
    pub(crate) const LOG_FILE: u64 = 2;
    pub(crate) const VOLUME: u64 = 3;
    pub(crate) const ATTRIBUTE_DEFINITIONS: u64 = 4;
    pub(crate) const ROOT: u64 = 5;
    pub(crate) const BITMAP: u64 = 6;
    pub(crate) const BOOT: u64 = 7;
    pub(crate) const BAD_CLUSTERS: u64 = 8;
    pub(crate) const SECURE: u64 = 9;
    pub(crate) const UPCASE: u64 = 10;
    /// The directory of the files that NTFS added later; its files are NTFS's own as well.
    pub(crate) const EXTEND: u64 = 11;
    /// The first record that a user's file can have.
    pub(crate) const FIRST_USER: u64 = 24;
}

/// The stride of update sequence marks: 512 bytes whatever the sector size (MULTI_SECTOR_HEADER).
pub(super) const STRIDE_BYTES: usize = 512;

/// PACKED_BOOT_SECTOR with its BIOS_PARAMETER_BLOCK.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BootSector {
    pub jump: [u8; 3],
    pub oem_id: [u8; 8],
    pub bytes_per_sector: U16,
    pub sectors_per_cluster: u8,
    pub reserved: [u8; 26],
    pub total_sectors: U64,
    pub mft_lcn: U64,
    pub mft_mirror_lcn: U64,
    pub clusters_per_record: i8,
    pub reserved_record: [u8; 3],
    pub clusters_per_index_block: i8,
    pub reserved_index: [u8; 3],
    pub serial: U64,
    pub checksum: U32,
    pub boot_code: [u8; 426],
    pub signature: [u8; 2],
}

/// MULTI_SECTOR_HEADER: what a FILE, INDX or RSTR structure begins with.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct MultiSectorHeader {
    pub signature: [u8; 4],
    pub usa_offset: U16,
    pub usa_count: U16,
}

/// FILE_RECORD_SEGMENT_HEADER.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FileRecordHeader {
    pub multi_sector: MultiSectorHeader,
    pub lsn: U64,
    pub sequence: U16,
    pub link_count: U16,
    pub attributes_offset: U16,
    pub flags: U16,
    pub bytes_used: U32,
    pub bytes_allocated: U32,
    pub base: U64,
    pub next_attribute_id: U16,
    pub reserved: U16,
    pub number: U32,
}

/// Flags of a file record.
pub(super) mod record_flag {
    pub(crate) const IN_USE: u16 = 1;
    pub(crate) const DIRECTORY: u16 = 2;
    /// A file of `$Extend`.
    pub(crate) const EXTEND: u16 = 4;
    /// A file with an index that is not of names.
    pub(crate) const VIEW_INDEX: u16 = 8;
}

/// The first part of ATTRIBUTE_RECORD_HEADER, common to both forms.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttributeHeader {
    pub kind: U32,
    pub length: U32,
    pub is_nonresident: u8,
    pub name_units: u8,
    pub name_offset: U16,
    pub flags: U16,
    pub id: U16,
}

/// The resident form of ATTRIBUTE_RECORD_HEADER.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ResidentHeader {
    pub common: AttributeHeader,
    pub value_length: U32,
    pub value_offset: U16,
    pub resident_flags: u8,
    pub reserved: u8,
}

/// The non-resident form of ATTRIBUTE_RECORD_HEADER, without the size that only compressed streams have.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct NonresidentHeader {
    pub common: AttributeHeader,
    pub lowest_vcn: U64,
    pub highest_vcn: U64,
    pub mapping_offset: U16,
    pub compression_unit: u8,
    pub reserved: [u8; 5],
    pub allocated: U64,
    pub size: U64,
    pub initialized: U64,
}

/// Where the initialized size lies in a non-resident attribute.
pub(super) const INITIALIZED_OFFSET: usize = 0x38;

/// Flags of an attribute.
pub(super) mod attribute_flag {
    /// The compression format: LZNT1 is 1.
    pub(crate) const COMPRESSION_MASK: u16 = 0x00ff;
    pub(crate) const ENCRYPTED: u16 = 0x4000;
    pub(crate) const SPARSE: u16 = 0x8000;
}

/// Flags of a file in $STANDARD_INFORMATION, as `dwFileAttributes` has them.
pub(super) mod file_attribute {
    pub(crate) const ENCRYPTED: u32 = 0x4000;
}

/// ATTRIBUTE_LIST_ENTRY.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttributeListEntry {
    pub kind: U32,
    pub length: U16,
    pub name_units: u8,
    pub name_offset: u8,
    pub lowest_vcn: U64,
    pub reference: U64,
    pub id: U16,
}

/// The first part of STANDARD_INFORMATION.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StandardInformation {
    pub times: [U64; 4],
    pub file_attributes: U32,
}

/// FILE_NAME without the name.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FileName {
    pub parent: U64,
    pub times: [U64; 4],
    pub allocated: U64,
    pub size: U64,
    pub file_attributes: U32,
    pub reparse_tag: U32,
    pub name_units: u8,
    pub namespace: u8,
}

/// In [`FileName::file_attributes`]: the file is a directory.
pub(super) const DUP_FILE_NAME_INDEX_PRESENT: u32 = 0x1000_0000;

/// VOLUME_INFORMATION.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct VolumeInformation {
    pub reserved: U64,
    pub major_version: u8,
    pub minor_version: u8,
    pub flags: U16,
}

/// INDEX_ROOT.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct IndexRoot {
    pub indexed_kind: U32,
    pub collation: U32,
    pub block_bytes: U32,
    pub block_units: u8,
    pub reserved: [u8; 3],
    pub header: IndexHeader,
}

/// The collation rule of names.
pub(super) const COLLATION_FILE_NAME: u32 = 1;

/// INDEX_HEADER: offsets count from its own first byte.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct IndexHeader {
    pub first_entry: U32,
    pub used: U32,
    pub allocated: U32,
    pub flags: u8,
    pub reserved: [u8; 3],
}

/// INDEX_ALLOCATION_BUFFER up to its entries' header.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct IndexBlock {
    pub multi_sector: MultiSectorHeader,
    pub lsn: U64,
    pub vcn: U64,
    pub header: IndexHeader,
}

/// Where [`IndexHeader`] begins in an index root's value.
pub(super) const INDEX_ROOT_HEADER: usize = 0x10;
/// Where [`IndexHeader`] begins in an index block.
pub(super) const INDEX_BLOCK_HEADER: usize = 0x18;

/// INDEX_ENTRY of a directory.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct IndexEntry {
    pub reference: U64,
    pub length: U16,
    pub key_length: U16,
    pub flags: U16,
    pub reserved: U16,
}

/// Flags of an index entry.
pub(super) mod entry_flag {
    /// The entry's last eight bytes are the VCN of a child.
    pub(crate) const NODE: u16 = 1;
    /// The entry ends its block and has no key.
    pub(crate) const LAST: u16 = 2;
}

/// LFS_RESTART_PAGE_HEADER.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RestartPage {
    pub multi_sector: MultiSectorHeader,
    pub chkdsk_lsn: U64,
    pub system_page_bytes: U32,
    pub log_page_bytes: U32,
    pub restart_offset: U16,
    pub minor_version: U16,
    pub major_version: U16,
}

/// The first part of LFS_RESTART_AREA.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RestartArea {
    pub current_lsn: U64,
    pub log_clients: U16,
    pub client_free_list: U16,
    pub client_in_use_list: U16,
    pub flags: U16,
}

const _: () = assert!(size_of::<BootSector>() == 0x200);
const _: () = assert!(size_of::<MultiSectorHeader>() == 8);
const _: () = assert!(size_of::<FileRecordHeader>() == 0x30);
const _: () = assert!(size_of::<AttributeHeader>() == 0x10);
const _: () = assert!(size_of::<ResidentHeader>() == 0x18);
const _: () = assert!(size_of::<NonresidentHeader>() == 0x40);
const _: () = assert!(std::mem::offset_of!(NonresidentHeader, initialized) == INITIALIZED_OFFSET);
const _: () = assert!(size_of::<AttributeListEntry>() == 0x1a);
const _: () = assert!(size_of::<StandardInformation>() == 0x24);
const _: () = assert!(size_of::<FileName>() == 0x42);
const _: () = assert!(size_of::<VolumeInformation>() == 0xc);
const _: () = assert!(size_of::<IndexRoot>() == 0x20);
const _: () = assert!(std::mem::offset_of!(IndexRoot, header) == INDEX_ROOT_HEADER);
const _: () = assert!(size_of::<IndexBlock>() == 0x28);
const _: () = assert!(std::mem::offset_of!(IndexBlock, header) == INDEX_BLOCK_HEADER);
const _: () = assert!(size_of::<IndexEntry>() == 0x10);
const _: () = assert!(size_of::<RestartPage>() == 0x1e);
const _: () = assert!(size_of::<RestartArea>() == 0x10);
