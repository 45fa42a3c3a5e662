//! A hive for tests, made of nothing: one bin with a root key and its security cell.

use super::base_block::checksum;
use coldforge_base::read;

/// O:BA G:SY D:(A;;KA;;;SY)
pub(super) const DESCRIPTOR: [u8; 76] = [
    1, 0, 0x04, 0x80, 48, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, // header
    2, 0, 28, 0, 1, 0, 0, 0, // list
    0, 2, 20, 0, 0x3f, 0, 0x0f, 0, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, // entry
    1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0, // owner
    1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, // group
];

/// Returns the file of a hive without subkeys and values, of `file_len` bytes, the last of them behind its one bin.
pub(super) fn empty(minor: u32, file_len: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; file_len];
    let mut put = |at: usize, part: &[u8]| read::put(&mut bytes, at, part).expect("a file of at least 0x2000 bytes");
    put(0, b"regf");
    for (at, word) in [(4, 1u32), (8, 1), (20, 1), (24, minor), (32, 1), (36, 0x20), (40, 0x1000), (44, 1)] {
        put(at, &word.to_le_bytes());
    }
    put(164, b"rmtm");
    put(0x1000, b"hbin");
    put(0x1008, &0x1000u32.to_le_bytes());
    // The root key, 88 bytes at 0x20.
    put(0x1020, &(-88i32).to_le_bytes());
    put(0x1024, b"nk\x2c\0");
    for (at, word) in [(28, u32::MAX), (32, u32::MAX), (40, u32::MAX), (44, 0x78), (48, u32::MAX), (72, 4)] {
        put(0x1024 + at, &word.to_le_bytes());
    }
    put(0x1024 + 76, b"ROOT");
    // The security cell, 104 bytes at 0x78.
    put(0x1078, &(-104i32).to_le_bytes());
    put(0x107c, b"sk");
    for (at, word) in [(4, 0x78u32), (8, 0x78), (12, 1), (16, 76)] {
        put(0x107c + at, &word.to_le_bytes());
    }
    put(0x107c + 20, &DESCRIPTOR);
    // The rest of the bin is free.
    put(0x10e0, &(0x1000i32 - 0xe0).to_le_bytes());
    let sum = checksum(&bytes);
    read::put_u32_le(&mut bytes, 508, sum).expect("inside");
    bytes
}
