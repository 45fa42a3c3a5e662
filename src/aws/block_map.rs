//! `block-map.json`: the blocks of the disk that EBS must be sent, as the EBS direct APIs take them.
//!
//! A block is 512 KiB, the last one padded with zeros. A block that was never sent reads as zeros only on a volume without
//! encryption: on an encrypted one it reads as whatever the zeros of the store decrypt to, and encryption may come later
//! and uninvited (by the account's default, a copy, a launch). So a block of zeros is left out only where every byte of
//! it is in free clusters of an NTFS volume, which nobody reads before they are written. All others are sent, zeros too:
//! metadata, zeros in files, other file systems, gaps between partitions, the last block of the disk.
//!
//! Each block goes with its SHA-256 in base64, the whole with the LINEAR checksum over the digests of what is sent in
//! ascending order. Each block is on one line.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::Import;
use coldforge_base::Extent;
use coldforge_base::digest::{Digest, base64};
use coldforge_disk::EBS_BLOCK_BYTES;

const GIB: u64 = 1 << 30;

/// Returns the size of the volume in GiB, as EBS counts.
pub(super) fn volume_gib(disk_bytes: u64) -> u64 {
    disk_bytes.div_ceil(GIB).max(1)
}

/// The blocks that make a whole snapshot of a disk.
pub(super) struct Blocks<'a> {
    disk_bytes: u64,
    /// Those that are not all zero, by ascending index.
    data: &'a [(u64, Digest)],
    free: &'a [Extent],
    /// The digest of a block of zeros.
    zeros: Digest,
    /// How many are sent.
    pub(super) count: u64,
    /// The LINEAR checksum over them, in base64.
    pub(super) checksum: String,
}

impl<'a> Blocks<'a> {
    /// Finds out which blocks of an image are sent.
    pub(super) fn of(import: &Import<'a>) -> Self {
        let mut blocks = Self {
            disk_bytes: import.disk_bytes,
            data: import.blocks,
            free: import.free,
            zeros: zeros(),
            count: 0,
            checksum: String::new(),
        };
        let mut linear = Sha256::new();
        let mut count = 0u64;
        for (_, digest) in blocks.iter() {
            linear.update(digest.0);
            count = count.saturating_add(1);
        }
        blocks.count = count;
        blocks.checksum = base64(&linear.finalize());
        blocks
    }

    /// Returns how many blocks the disk has, the last one perhaps in part.
    fn all(&self) -> u64 {
        self.disk_bytes.div_ceil(EBS_BLOCK_BYTES)
    }

    /// Returns the blocks that are sent, by ascending index.
    fn iter(&self) -> impl Iterator<Item = (u64, Digest)> + '_ {
        let (mut data, mut free) = (self.data.iter().peekable(), self.free.iter().peekable());
        (0..self.all()).filter_map(move |index| {
            if let Some((_, digest)) = data.next_if(|(at, _)| *at == index) {
                return Some((index, *digest));
            }
            let start = index.saturating_mul(EBS_BLOCK_BYTES);
            let end = start.saturating_add(EBS_BLOCK_BYTES);
            // Each range is passed once; those that touch are one.
            while free.next_if(|range| range.end() <= start).is_some() {}
            let is_free = free.peek().is_some_and(|range| range.offset <= start && end <= range.end());
            (!is_free).then_some((index, self.zeros))
        })
    }
}

/// Returns the digest of a block of zeros.
fn zeros() -> Digest {
    let mut hasher = Sha256::new();
    let piece = [0; 4096];
    for _ in 0..EBS_BLOCK_BYTES / 4096 {
        hasher.update(piece);
    }
    Digest(hasher.finalize().into())
}

/// Returns the file.
pub fn block_map(import: &Import<'_>) -> Vec<u8> {
    let blocks = Blocks::of(import);
    let left_out = blocks.all().saturating_sub(blocks.count);
    let set = if left_out == 0 { "whole" } else { "free-left-out" };
    let mut text = format!(
        "{{\n\"schema\":\"coldforge/block-map/1\",\n\"block_bytes\":{EBS_BLOCK_BYTES},\n\"disk_bytes\":{},\n\
        \"volume_gib\":{},\n\"set\":\"{set}\",\n\"free_blocks_left_out\":{left_out},\n\"changed_blocks\":{},\n\
        \"checksum\":\"{}\",\n\"checksum_algorithm\":\"SHA256\",\n\
        \"checksum_aggregation_method\":\"LINEAR\",\n\"blocks\":[",
        import.disk_bytes,
        volume_gib(import.disk_bytes),
        blocks.count,
        blocks.checksum
    );
    for (number, (index, digest)) in blocks.iter().enumerate() {
        let end = if number == 0 { "\n" } else { ",\n" };
        let _ = write!(text, "{end}{{\"index\":{index},\"sha256\":\"{}\"}}", base64(&digest.0)); // a String takes everything
    }
    text.push_str("\n]\n}\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn sent(disk_bytes: u64, data: &[(u64, Digest)], free: &[Extent]) -> Vec<u64> {
        let blocks = Blocks { disk_bytes, data, free, zeros: Digest([0; 32]), count: 0, checksum: String::new() };
        blocks.iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn a_block_of_zeros_is_left_out_only_where_all_of_it_is_free() {
        assert_eq!(base64(&zeros().0), "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=");
        let data = [(1, Digest([1; 32]))];
        assert_eq!(sent(3 * MIB, &data, &[]), [0, 1, 2, 3, 4, 5]);
        let whole = [Extent::new(0, 3 * MIB)];
        assert_eq!(sent(3 * MIB, &data, &whole), [1], "data in free clusters is sent");
        assert_eq!(sent(3 * MIB - 1, &data, &whole), [1]);
        // Short of a block by a byte at either end, and two that meet inside a block.
        assert_eq!(sent(2 * MIB, &[], &[Extent::new(1, MIB - 1), Extent::new(MIB, MIB - 1)]), [0, 3]);
        assert_eq!(sent(2 * MIB, &[], &[Extent::new(MIB / 4, MIB / 2), Extent::new(MIB, MIB)]), [0, 1]);
        // Behind the last byte of the disk nothing is free.
        let cut = Extent::new(0, 2 * MIB + 512);
        assert_eq!(sent(2 * MIB + 512, &[], &[cut]), [4]);
    }
}
