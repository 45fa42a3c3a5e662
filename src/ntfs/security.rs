//! The security descriptor of a file, wherever it lies: in `$Secure` by its id, or in an attribute of the file.
//!
//! Facts: `$STANDARD_INFORMATION` of version 3 has a security id; `$SII` of `$Secure` leads from the id to an entry of
//! `$SDS`. The shorter form has none, and the descriptor is the file's own $SECURITY_DESCRIPTOR. Reading only.

use crate::base::read;

/// The name of the stream of descriptors, in UTF-16LE.
pub(super) const SDS: &[u8] = b"$\0S\0D\0S\0";
/// The size of a block of `$SDS`; its copy follows it.
pub(super) const SDS_BLOCK_BYTES: u64 = 0x4_0000;
/// The bytes of an entry of `$SDS` before its descriptor (SECURITY_DESCRIPTOR_HEADER).
pub(super) const ENTRY_HEADER_BYTES: usize = 20;

/// SECURITY_DESCRIPTOR_HEADER: what `$SDS` has before each descriptor, and `$SII` and `$SDH` repeat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EntryHeader {
    pub hash: u32,
    pub id: u32,
    /// Where the entry begins in `$SDS`.
    pub offset: u64,
    /// Bytes of the header and the descriptor.
    pub length: u32,
}

impl EntryHeader {
    /// Reads the header that `bytes` begins with.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            hash: read::u32_le(bytes, 0).ok()?,
            id: read::u32_le(bytes, 4).ok()?,
            offset: read::u64_le(bytes, 8).ok()?,
            length: read::u32_le(bytes, 16).ok()?,
        })
    }
}

/// Returns the hash by which `$SDH` finds a descriptor.
pub(super) fn hash_of(descriptor: &[u8]) -> u32 {
    let words = descriptor.chunks_exact(4).filter_map(|word| read::u32_le(word, 0).ok());
    words.fold(0u32, |hash, word| hash.rotate_left(3).wrapping_add(word))
}

/// Returns the name of `$SII` or `$SDH` by its last letter, in UTF-16LE.
pub(super) fn name_of_index(letter: u8) -> [u8; 8] {
    let middle = if letter == b'H' { b'D' } else { b'I' };
    [b'$', 0, b'S', 0, middle, 0, letter, 0]
}

/// Returns the key of an entry of `$SII`.
pub(super) fn sii_key(header: &EntryHeader) -> Vec<u8> {
    header.id.to_le_bytes().to_vec()
}

/// Returns the key of an entry of `$SDH`.
pub(super) fn sdh_key(header: &EntryHeader) -> Vec<u8> {
    [header.hash.to_le_bytes(), header.id.to_le_bytes()].concat()
}
