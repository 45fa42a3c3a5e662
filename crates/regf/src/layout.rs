//! The structures of a hive as they lie on disk, in Microsoft's names (`HBASE_BLOCK`, `HBIN`, `CM_KEY_NODE`,
//! `CM_KEY_VALUE`, `CM_KEY_SECURITY`, `CM_BIG_DATA`, `CM_KEY_INDEX`), and the limits of the format.
//!
//! Everything is little-endian. Cell payloads begin behind the cell's four size bytes.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Size of the base block in bytes: the first bin begins there, and cell offsets count from there.
pub(super) const BASE_BLOCK_LEN: u32 = 0x1000;
/// Bins are multiples of this many bytes.
pub(super) const BIN_ALIGN: u32 = 0x1000;
/// Size of a bin's header in bytes.
pub(super) const BIN_HEADER_LEN: u32 = 32;
/// Size of a cell's header in bytes.
pub(super) const CELL_HEADER_LEN: u32 = 4;
/// Cells are multiples of this many bytes.
pub(super) const CELL_ALIGN: u32 = 8;
/// Size of the head of a log entry in bytes.
pub(super) const LOG_ENTRY_LEN: usize = 40;
/// Size of the largest cell in bytes, with its header: Windows allocates none above it.
pub(super) const CELL_MAX: u32 = 0x10_0000;
/// Size of the largest hive's bins in bytes: offsets from 0x80000000 on are those of volatile cells.
pub(super) const BINS_MAX: u32 = 0x7fff_f000;
/// "No cell".
pub(super) const NIL: u32 = 0xffff_ffff;
/// Data bytes in one segment of big data; longer values are cut where the minor version is above 3.
pub(super) const SEGMENT_LEN: usize = 16_344;
/// Levels of keys below the root.
pub(super) const DEPTH_MAX: usize = 512;
/// UTF-16 units in the name of a key.
pub(super) const KEY_NAME_MAX: usize = 255;
/// UTF-16 units in the name of a value.
pub(super) const VALUE_NAME_MAX: usize = 16_383;
/// Set in a value's size: the data lies in the offset field.
pub(super) const INLINE: u32 = 0x8000_0000;
/// Set in `KeyNode::flags`: the key is the root of its hive.
pub(super) const KEY_ROOT: u16 = 0x04;
/// Set in `KeyNode::flags`: the key is not to be deleted.
pub(super) const KEY_NO_DELETE: u16 = 0x08;
/// Set in `KeyNode::flags`: the key is a symbolic link.
pub(super) const KEY_LINK: u16 = 0x10;
/// Set in `KeyNode::flags`: the name is Latin-1, one byte a character.
pub(super) const KEY_COMPRESSED: u16 = 0x20;
/// Set in `KeyNode::flags`: a predefined handle; the value fields mean something else.
pub(super) const KEY_PREDEFINED: u16 = 0x40;
/// `KeyNode::flags` that never belong on disk: volatile, and the exit to another hive.
pub(super) const KEY_NOT_ON_DISK: u16 = 0x03;
/// Set in `KeyValue::flags`: the name is Latin-1, one byte a character.
pub(super) const VALUE_COMPRESSED: u16 = 0x01;

/// `HBASE_BLOCK`: the first 512 bytes of the base block, which the checksum covers.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BaseBlock {
    pub signature: [u8; 4],
    pub primary_sequence: U32,
    pub secondary_sequence: U32,
    pub last_written: U64,
    pub major: U32,
    pub minor: U32,
    pub file_type: U32,
    pub format: U32,
    pub root: U32,
    pub bins_len: U32,
    pub clustering: U32,
    pub file_name: [u8; 64],
    pub resource_manager_id: [u8; 16],
    pub log_id: [u8; 16],
    pub flags: U32,
    pub transaction_manager_id: [u8; 16],
    pub guid_signature: [u8; 4],
    pub last_reorganized: U64,
    /// "OfRg" where Microsoft's offline registry library made the hive.
    pub offline_mark: [u8; 4],
    pub reserved: [u8; 328],
    pub checksum: U32,
}

/// `HBIN`: the header of a bin.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BinHeader {
    pub signature: [u8; 4],
    pub offset: U32,
    pub len: U32,
    pub reserved: U64,
    pub last_written: U64,
    pub spare: U32,
}

/// `CM_KEY_NODE` ("nk"): a key; its name follows.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct KeyNode {
    pub signature: [u8; 2],
    pub flags: U16,
    pub last_written: U64,
    pub access_bits: u8,
    /// Tells what a key of a layered hive (version 1.6) covers; Windows leaves it uninitialised in others.
    pub layer: u8,
    pub access_spare: U16,
    pub parent: U32,
    pub subkey_count: U32,
    pub volatile_subkey_count: U32,
    pub subkey_list: U32,
    pub volatile_subkey_list: U32,
    pub value_count: U32,
    pub value_list: U32,
    pub security: U32,
    pub class: U32,
    /// In bytes of UTF-16, whatever form the name is stored in.
    pub largest_subkey_name: U16,
    /// Virtualization, user and debug flags.
    pub user_flags: U16,
    pub largest_class: U32,
    pub largest_value_name: U32,
    pub largest_value_data: U32,
    pub work_var: U32,
    pub name_len: U16,
    pub class_len: U16,
}

/// `CM_KEY_VALUE` ("vk"): a value; its name follows.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct KeyValue {
    pub signature: [u8; 2],
    pub name_len: U16,
    pub data_len: U32,
    pub data: U32,
    pub kind: U32,
    pub flags: U16,
    pub spare: U16,
}

/// `CM_KEY_SECURITY` ("sk"): a security descriptor in the ring of all; the descriptor follows.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct KeySecurity {
    pub signature: [u8; 2],
    pub reserved: U16,
    pub next: U32,
    pub previous: U32,
    pub references: U32,
    pub descriptor_len: U32,
}

/// `CM_BIG_DATA` ("db"): a value cut into segments.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BigData {
    pub signature: [u8; 2],
    pub count: U16,
    pub list: U32,
}

/// `CM_KEY_INDEX` ("lf", "lh", "li", "ri"): the head of a subkey list; its entries follow.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct KeyIndex {
    pub signature: [u8; 2],
    pub count: U16,
}

/// `HVLE`: the head of an entry in a transaction log; page references and pages follow.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LogEntry {
    pub signature: [u8; 4],
    /// Of the whole entry, in bytes.
    pub len: U32,
    pub flags: U32,
    pub sequence: U32,
    pub bins_len: U32,
    pub page_count: U32,
    /// Of everything behind this head.
    pub body_hash: U64,
    /// Of everything before this field.
    pub head_hash: U64,
}

/// A reference to a page in a log entry.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LogPage {
    /// From the first bin, in bytes.
    pub offset: U32,
    pub len: U32,
}

const _: () = {
    assert!(size_of::<BaseBlock>() == 512);
    assert!(size_of::<BinHeader>() == BIN_HEADER_LEN as usize);
    assert!(size_of::<KeyNode>() == 76);
    assert!(size_of::<KeyValue>() == 20);
    assert!(size_of::<KeySecurity>() == 20);
    assert!(size_of::<BigData>() == 8);
    assert!(size_of::<KeyIndex>() == 4);
    assert!(size_of::<LogEntry>() == LOG_ENTRY_LEN);
    assert!(size_of::<LogPage>() == 8);
};
