//! `block-map.json`: the blocks of the disk that hold data, as the EBS direct APIs take them.
//!
//! A block is 512 KiB, the last one padded with zeros; blocks of zeros are left out. Each goes with its SHA-256 in base64,
//! the whole with the LINEAR checksum over the digests in ascending order. One block stands in one line.

use std::fmt::Write as _;

use super::Import;
use crate::base::digest::base64;
use crate::disk::EBS_BLOCK_BYTES;

const GIB: u64 = 1 << 30;

/// Returns the size of the volume in GiB, as EBS counts.
pub(super) fn volume_gib(disk_bytes: u64) -> u64 {
    disk_bytes.div_ceil(GIB).max(1)
}

/// Returns the file.
pub fn block_map(import: &Import<'_>) -> Vec<u8> {
    let mut text = format!(
        "{{\n\"schema\":\"coldforge/block-map/1\",\n\"block_bytes\":{EBS_BLOCK_BYTES},\n\"disk_bytes\":{},\n\
        \"volume_gib\":{},\n\"changed_blocks\":{},\n\"checksum\":\"{}\",\n\"checksum_algorithm\":\"SHA256\",\n\
        \"checksum_aggregation_method\":\"LINEAR\",\n\"blocks\":[",
        import.disk_bytes,
        volume_gib(import.disk_bytes),
        import.blocks.len(),
        import.linear
    );
    for (number, (index, digest)) in import.blocks.iter().enumerate() {
        let end = if number == 0 { "\n" } else { ",\n" };
        let _ = write!(text, "{end}{{\"index\":{index},\"sha256\":\"{}\"}}", base64(&digest.0)); // a String takes everything
    }
    text.push_str("\n]\n}\n");
    text.into_bytes()
}
