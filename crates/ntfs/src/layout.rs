//! The on-disk structures of NTFS, all little-endian, under the names that Microsoft gave them.
//!
//! This file holds every structure, offset, type code, flag and reserved name of the format. It checks no values:
//! readers view structures in place with [`view`]; writers put fields at the offsets of the `*_at` modules.

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use coldforge_base::read::{self, OutOfBounds};

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
    pub(crate) const EA: u32 = 0xe0;
    pub(crate) const END: u32 = 0xffff_ffff;
}

/// The reserved names of attributes, in UTF-16LE.
pub(super) mod name {
    /// The index of a directory.
    pub(crate) const I30: &[u8] = b"$\0I\x003\x000\0";
    /// The index of `$Secure` by security id.
    pub(crate) const SII: &[u8] = b"$\0S\0I\0I\0";
    /// The index of `$Secure` by hash.
    pub(crate) const SDH: &[u8] = b"$\0S\0D\0H\0";
    /// The stream of `$Secure` that holds the security descriptors.
    pub(crate) const SDS: &[u8] = b"$\0S\0D\0S\0";
    /// The stream of `$BadClus` that maps the bad clusters.
    pub(crate) const BAD: &[u8] = b"$\0B\0a\0d\0";
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
    /// How many records `$MFTMirr` repeats: Windows keeps only the first four current, also in a longer mirror.
    pub(crate) const MIRRORED: u64 = 4;
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

/// Offsets in a file record.
pub(super) mod record_at {
    use super::{FileRecordHeader, MultiSectorHeader, offset_of};
    pub(crate) const USA_OFFSET: usize = offset_of!(MultiSectorHeader, usa_offset);
    pub(crate) const USA_COUNT: usize = offset_of!(MultiSectorHeader, usa_count);
    pub(crate) const SEQUENCE: usize = offset_of!(FileRecordHeader, sequence);
    pub(crate) const LINK_COUNT: usize = offset_of!(FileRecordHeader, link_count);
    pub(crate) const ATTRIBUTES: usize = offset_of!(FileRecordHeader, attributes_offset);
    pub(crate) const FLAGS: usize = offset_of!(FileRecordHeader, flags);
    pub(crate) const USED: usize = offset_of!(FileRecordHeader, bytes_used);
    pub(crate) const ALLOCATED: usize = offset_of!(FileRecordHeader, bytes_allocated);
    pub(crate) const NEXT_ID: usize = offset_of!(FileRecordHeader, next_attribute_id);
    pub(crate) const NUMBER: usize = offset_of!(FileRecordHeader, number);
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

/// Offsets in an attribute.
pub(super) mod attribute_at {
    use super::{AttributeHeader, NonresidentHeader, ResidentHeader, offset_of};
    pub(crate) const LENGTH: usize = offset_of!(AttributeHeader, length);
    pub(crate) const FLAGS: usize = offset_of!(AttributeHeader, flags);
    pub(crate) const ID: usize = offset_of!(AttributeHeader, id);
    pub(crate) const VALUE_LENGTH: usize = offset_of!(ResidentHeader, value_length);
    pub(crate) const VALUE_OFFSET: usize = offset_of!(ResidentHeader, value_offset);
    pub(crate) const RESIDENT_FLAGS: usize = offset_of!(ResidentHeader, resident_flags);
    pub(crate) const LOWEST_VCN: usize = offset_of!(NonresidentHeader, lowest_vcn);
    pub(crate) const HIGHEST_VCN: usize = offset_of!(NonresidentHeader, highest_vcn);
    pub(crate) const MAPPING_OFFSET: usize = offset_of!(NonresidentHeader, mapping_offset);
    pub(crate) const ALLOCATED: usize = offset_of!(NonresidentHeader, allocated);
    pub(crate) const SIZE: usize = offset_of!(NonresidentHeader, size);
    pub(crate) const INITIALIZED: usize = offset_of!(NonresidentHeader, initialized);
    /// The size on disk, which only sparse and compressed attributes have.
    pub(crate) const TOTAL: usize = size_of::<NonresidentHeader>();
}

/// Flags of an attribute.
pub(super) mod attribute_flag {
    /// The compression format.
    pub(crate) const COMPRESSION_MASK: u16 = 0x00ff;
    pub(crate) const LZNT1: u16 = 1;
    pub(crate) const ENCRYPTED: u16 = 0x4000;
    pub(crate) const SPARSE: u16 = 0x8000;
}

/// The clusters of a compression unit, as a power of two; NTFS has no other.
pub(super) const COMPRESSION_UNIT_POWER: u8 = 4;

/// Flags of a file in $STANDARD_INFORMATION, as `dwFileAttributes` has them.
pub(super) mod file_attribute {
    pub(crate) const ARCHIVE: u32 = 0x20;
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

/// Offsets in STANDARD_INFORMATION.
pub(super) mod information_at {
    pub(crate) const CREATED: usize = 0x00;
    pub(crate) const MODIFIED: usize = 0x08;
    pub(crate) const CHANGED: usize = 0x10;
    pub(crate) const ACCESSED: usize = 0x18;
    pub(crate) const FILE_ATTRIBUTES: usize = 0x20;
    /// Maximum number of versions and version number; both are set in a case-sensitive directory.
    pub(crate) const VERSIONS: usize = 0x24;
    pub(crate) const SECURITY_ID: usize = 0x34;
}

/// The size of STANDARD_INFORMATION of version 3; the older form of 48 bytes has no security id.
pub(super) const INFORMATION_BYTES: usize = 72;

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

impl FileName {
    /// Splits a FILE_NAME into its fields and its name in UTF-16LE.
    pub fn split(value: &[u8]) -> Result<(&Self, &[u8]), OutOfBounds> {
        let fields: &Self = view(value, 0)?;
        let name = read::slice(value, size_of::<Self>(), usize::from(fields.name_units).saturating_mul(2))?;
        Ok((fields, name))
    }
}

/// Offsets in FILE_NAME.
pub(super) mod name_at {
    use super::{FileName, offset_of};
    pub(crate) const PARENT: usize = offset_of!(FileName, parent);
    pub(crate) const TIMES: usize = offset_of!(FileName, times);
    pub(crate) const ALLOCATED: usize = offset_of!(FileName, allocated);
    pub(crate) const SIZE: usize = offset_of!(FileName, size);
    pub(crate) const FILE_ATTRIBUTES: usize = offset_of!(FileName, file_attributes);
    pub(crate) const UNITS: usize = offset_of!(FileName, name_units);
    pub(crate) const NAMESPACE: usize = offset_of!(FileName, namespace);
}

/// Values of [`FileName::namespace`].
pub(super) mod namespace {
    pub(crate) const POSIX: u8 = 0;
    /// A long name that has an 8.3 twin.
    pub(crate) const WIN32: u8 = 1;
    /// The 8.3 twin of a long name.
    pub(crate) const DOS: u8 = 2;
    pub(crate) const WIN32_AND_DOS: u8 = 3;
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

/// Flags of [`VolumeInformation`].
pub(super) mod volume_flag {
    pub(crate) const DIRTY: u16 = 0x0001;
    /// `chkdsk` has not finished.
    pub(crate) const CHKDSK: u16 = 0xc000;
    /// Windows sets it on every volume; its meaning is not published.
    pub(crate) const USUAL: u16 = 0x0080;
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

/// The largest index root that is read: it is in a record of at most 4096 bytes.
pub(super) const MOST_INDEX_ROOT_BYTES: u64 = 4096;

/// Collation rules of indexes.
pub(super) mod collation {
    pub(crate) const BINARY: u32 = 0x00;
    pub(crate) const FILE_NAME: u32 = 0x01;
    pub(crate) const ULONG: u32 = 0x10;
    pub(crate) const SID: u32 = 0x11;
    pub(crate) const SECURITY_HASH: u32 = 0x12;
    pub(crate) const ULONGS: u32 = 0x13;
}

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

/// In [`IndexHeader::flags`]: the entries of the node have children.
pub(super) const INDEX_NODE: u8 = 1;

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
pub(super) const INDEX_ROOT_HEADER: usize = offset_of!(IndexRoot, header);
/// Where [`IndexHeader`] begins in an index block.
pub(super) const INDEX_BLOCK_HEADER: usize = offset_of!(IndexBlock, header);

/// The fixed part of INDEX_ENTRY. In an index that is not of names, `reference` holds the offset and the length of the
/// data.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct IndexEntry {
    pub reference: U64,
    pub length: U16,
    pub key_length: U16,
    pub flags: U16,
    pub reserved: U16,
}

/// Offsets in an index entry.
pub(super) mod entry_at {
    use super::{IndexEntry, offset_of};
    pub(crate) const LENGTH: usize = offset_of!(IndexEntry, length);
    pub(crate) const KEY_LENGTH: usize = offset_of!(IndexEntry, key_length);
    pub(crate) const FLAGS: usize = offset_of!(IndexEntry, flags);
    pub(crate) const KEY: usize = size_of::<IndexEntry>();
}

/// Flags of an index entry.
pub(super) mod entry_flag {
    /// The entry's last eight bytes are the VCN of a child.
    pub(crate) const NODE: u16 = 1;
    /// The entry ends its block and has no key.
    pub(crate) const LAST: u16 = 2;
}

/// SECURITY_DESCRIPTOR_HEADER: stands before each descriptor in `$SDS`; `$SII` and `$SDH` repeat it as their data.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub(super) struct DescriptorHeader {
    pub hash: U32,
    pub id: U32,
    /// Where this header begins in `$SDS`.
    pub offset: U64,
    /// Bytes of the header and the descriptor.
    pub length: U32,
}

/// The size of [`DescriptorHeader`].
pub(super) const DESCRIPTOR_HEADER_BYTES: usize = size_of::<DescriptorHeader>();

/// The size of a block of `$SDS`; a copy of equal size follows each block.
pub(super) const SDS_BLOCK_BYTES: u64 = 0x4_0000;

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
const _: () = assert!(attribute_at::INITIALIZED == 0x38);
const _: () = assert!(record_at::NUMBER == 0x2c);
const _: () = assert!(name_at::NAMESPACE == 0x41);
const _: () = assert!(size_of::<AttributeListEntry>() == 0x1a);
const _: () = assert!(size_of::<StandardInformation>() == 0x24);
const _: () = assert!(size_of::<FileName>() == 0x42);
const _: () = assert!(size_of::<VolumeInformation>() == 0xc);
const _: () = assert!(size_of::<IndexRoot>() == 0x20);
const _: () = assert!(INDEX_ROOT_HEADER == 0x10);
const _: () = assert!(size_of::<IndexBlock>() == 0x28);
const _: () = assert!(INDEX_BLOCK_HEADER == 0x18);
const _: () = assert!(size_of::<IndexEntry>() == 0x10);
const _: () = assert!(DESCRIPTOR_HEADER_BYTES == 20);
const _: () = assert!(size_of::<RestartPage>() == 0x1e);
const _: () = assert!(size_of::<RestartArea>() == 0x10);
