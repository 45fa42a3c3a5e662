//! Small VHDs for this floor's tests, built from the layout alone.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::Cursor;

use binrw::BinWrite as _;

use super::layout::{DynamicHeader, Footer, NONE, SECTOR, UNALLOCATED, VERSION, checksum};

/// The smallest block that is handled.
pub const BLOCK: u64 = 512 << 10;

/// Returns a footer as Windows writes it, without checksum.
pub fn footer(size: u64, disk_type: u32) -> Footer {
    Footer {
        cookie: Footer::COOKIE,
        features: 2,
        file_format_version: VERSION,
        data_offset: if disk_type == Footer::FIXED { NONE } else { Footer::BYTES as u64 },
        time_stamp: 655_731_463,
        creator_application: *b"win ",
        creator_version: 0x000a_0000,
        creator_host_os: *b"Wi2k",
        original_size: size,
        current_size: size,
        cylinders: 120,
        heads: 4,
        sectors_per_track: 17,
        disk_type,
        checksum: 0,
        unique_id: *b"0123456789abcdef",
        saved_state: 0,
        reserved: [0; 427],
    }
}

/// Returns a header without checksum.
pub fn header(size: u64) -> DynamicHeader {
    DynamicHeader {
        cookie: DynamicHeader::COOKIE,
        data_offset: NONE,
        table_offset: 1536,
        header_version: VERSION,
        max_table_entries: size.div_ceil(BLOCK) as u32,
        block_size: BLOCK as u32,
        checksum: 0,
        parent_unique_id: [0; 16],
        parent_time_stamp: 0,
        reserved_1: 0,
        parent_unicode_name: [0; 512],
        parent_locators: [0; 192],
        reserved_2: [0; 256],
    }
}

/// Returns a footer's bytes with the right checksum.
pub fn seal_footer(footer: &Footer) -> [u8; Footer::BYTES] {
    let mut bytes = Cursor::new(Vec::new());
    footer.write(&mut bytes).unwrap();
    seal(bytes.into_inner(), Footer::CHECKSUM_AT).try_into().unwrap()
}

/// Returns a header's bytes with the right checksum.
pub fn seal_header(header: &DynamicHeader) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    header.write(&mut bytes).unwrap();
    seal(bytes.into_inner(), DynamicHeader::CHECKSUM_AT)
}

fn seal(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    let sum = checksum(&bytes, at);
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// Returns a fixed VHD that holds `disk`.
pub fn fixed(disk: &[u8]) -> Vec<u8> {
    [disk, &seal_footer(&footer(disk.len() as u64, Footer::FIXED))].concat()
}

/// Returns a dynamic VHD of `size` bytes whose blocks lie in the order of `blocks`, tightly packed, all bits set.
pub fn dynamic(size: u64, blocks: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let table_bytes = (size.div_ceil(BLOCK) * 4).next_multiple_of(SECTOR);
    let mut places = BTreeMap::new();
    let mut data = Vec::new();
    for (index, bytes) in blocks {
        places.insert(*index, ((1536 + table_bytes + data.len() as u64) / SECTOR) as u32);
        data.extend_from_slice(&[0xff; 512]);
        let start = data.len();
        data.extend_from_slice(bytes);
        data.resize(start + BLOCK as usize, 0);
    }
    let footer = seal_footer(&footer(size, Footer::DYNAMIC));
    let mut file = [&footer[..], &seal_header(&header(size))].concat();
    for index in 0..table_bytes as u32 / 4 {
        file.extend_from_slice(&places.get(&index).copied().unwrap_or(UNALLOCATED).to_be_bytes());
    }
    file.extend_from_slice(&data);
    file.extend_from_slice(&footer);
    file
}
