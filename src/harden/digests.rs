//! The digests of an image, and how evidence describes it.

use super::Result;
use crate::audit::{ImageRecord, LinearChecksum};
use crate::windows;
use coldforge_base::digest::Digest;
use coldforge_base::progress::Progress;
use coldforge_base::{Extent, ReadAt as _};
use coldforge_disk::{self as disk, Blocks, Image};

/// The digests of an image that evidence names.
pub(crate) struct Sums {
    /// SHA-256 of the file, unless only its blocks were read.
    pub file: Option<Digest>,
    /// The blocks that hold data.
    pub blocks: Vec<(u64, Digest)>,
    ebs_linear: LinearChecksum,
}

impl From<(disk::Digests, Vec<(u64, Digest)>)> for Sums {
    fn from((digests, blocks): (disk::Digests, Vec<(u64, Digest)>)) -> Self {
        let ebs_linear = LinearChecksum { sha256_base64: digests.ebs_linear, blocks: digests.ebs_blocks };
        Self { file: Some(digests.file), blocks, ebs_linear }
    }
}

impl From<&Blocks> for Sums {
    fn from(blocks: &Blocks) -> Self {
        let (sha256_base64, count) = blocks.linear();
        let ebs_linear = LinearChecksum { sha256_base64, blocks: count };
        Self { file: None, blocks: blocks.iter().collect(), ebs_linear }
    }
}

/// Returns the ranges of an image that EBS need not be sent where they are zero.
pub(super) fn unsent(image: &Image) -> Vec<Extent> {
    // Amazon takes no differencing disks.
    match image.format() == image.format().alone() {
        true => windows::free_extents(image, disk::EBS_BLOCK_BYTES),
        false => Vec::new(),
    }
}

/// Digests an image: its file, and its blocks.
pub(crate) fn sums(image: &Image, progress: &dyn Progress) -> Result<Sums> {
    let mut blocks = Vec::new();
    let digests = disk::digest_blocks(image, progress, |index, digest| blocks.push((index, digest)))?;
    Ok((digests, blocks).into())
}

/// Returns the evidence's words for an image and its digests.
pub(super) fn record(image: &Image, name: &str, sums: &Sums) -> ImageRecord {
    ImageRecord {
        name: name.to_owned(),
        format: image.format().to_string(),
        file_bytes: image.file_len(),
        disk_bytes: image.len(),
        sha256: sums.file,
        ebs_linear: sums.ebs_linear.clone(),
    }
}
