//! The digests of an image: SHA-256 of its file, and a LINEAR digest of its disk.
//!
//! A disk has blocks of 512 KiB, the last one padded with zeros, as the EBS direct APIs take them. LINEAR is their word for
//! SHA-256 over the raw SHA-256 digests of blocks in ascending order, as base64. This one is about the blocks that are not
//! all zero, so that holes cost nothing: it tells one disk from another. EBS is sent more (`aws::block_map`), for a block
//! that was never sent does not always read as zeros.
//!
//! Both are made in one pass: while one thread hashes a piece of the file, which has to go in order, the others load
//! the next piece and hash the blocks of this one. Holes are not read. A container whose disk lies in another order than
//! its file is walked twice at the same time.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::map::{self, Map};
use super::pieces::is_zero;
use super::{Format, Image, Raw, Result};
use coldforge_base::digest::{Digest, base64};
use coldforge_base::progress::Progress;
use coldforge_base::{Extent, ReadAt, read};

/// Bytes of an EBS block.
pub const EBS_BLOCK_BYTES: u64 = 512 << 10;

/// Bytes of a file that are loaded at once, a multiple of the block.
const PIECE_BYTES: u64 = 4 << 20;
/// How many blocks are hashed at once where they are not hashed along with their file.
const BLOCKS_AT_ONCE: usize = 32;

/// One block as bytes.
static ZEROS: [u8; 512 << 10] = [0; 512 << 10];
const _: () = assert!(size_of_val(&ZEROS) as u64 == EBS_BLOCK_BYTES && PIECE_BYTES.is_multiple_of(EBS_BLOCK_BYTES));

/// The digests of an image.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Digests {
    /// SHA-256 of the container file.
    pub file: Digest,
    /// Length of the container file in bytes.
    pub file_bytes: u64,
    /// Size of the disk in bytes.
    pub disk_bytes: u64,
    /// The LINEAR digest over the blocks of the disk that are not all zero, in base64.
    pub ebs_linear: String,
    /// How many blocks that are.
    pub ebs_blocks: u64,
}

/// Returns the digests of an image.
///
/// # Errors
/// [`Error::SourceChanged`](super::Error::SourceChanged) if another program changes the file meanwhile, otherwise what
/// reading it answers.
pub fn digest(image: &Image, progress: &dyn Progress) -> Result<Digests> {
    digest_blocks(image, progress, |_, _| {})
}

/// Returns the digests of an image, and tells `visit` the index and the digest of each block that is not all zero, in
/// ascending order.
///
/// # Errors
/// Those of [`digest`].
pub fn digest_blocks(image: &Image, progress: &dyn Progress, visit: impl FnMut(u64, Digest) + Send) -> Result<Digests> {
    let raw = image.raw();
    progress.start("digest", raw.len());
    let mut linear = Linear { hasher: Sha256::new(), blocks: 0, visit };
    let file = match image.format() {
        Format::Raw | Format::VhdFixed => {
            hash_file(raw, progress, image.len(), |found| found.into_iter().for_each(|block| linear.add(block)))?
        }
        _ => {
            let whole = || hash_file(raw, progress, 0, |_| {});
            let (file, disk) = rayon::join(whole, || hash_disk(image, &mut linear));
            disk?;
            file?
        }
    };
    image.unchanged()?;
    let ebs_linear = base64(&linear.hasher.finalize());
    Ok(Digests { file, file_bytes: raw.len(), disk_bytes: image.len(), ebs_linear, ebs_blocks: linear.blocks })
}

/// Returns the LINEAR digest of a disk in base64, and how many blocks it is about. Holes cost nothing.
///
/// # Errors
/// What the disk answers.
pub fn linear(disk: &dyn ReadAt) -> Result<(String, u64)> {
    let mut linear = Linear { hasher: Sha256::new(), blocks: 0, visit: |_, _| {} };
    hash_disk(disk, &mut linear)?;
    Ok((base64(&linear.hasher.finalize()), linear.blocks))
}

/// The digests of a disk's blocks, kept so that what changes in few of them is read from those alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Blocks(BTreeMap<u64, Digest>);

impl Blocks {
    /// Reads a disk, except for its holes.
    ///
    /// # Errors
    /// Those of [`digest`].
    pub fn of(image: &Image) -> Result<Self> {
        let mut blocks = BTreeMap::new();
        let visit = |index, digest| {
            blocks.insert(index, digest);
        };
        hash_disk(image, &mut Linear { hasher: Sha256::new(), blocks: 0, visit })?;
        image.unchanged()?;
        Ok(Self(blocks))
    }

    /// Reads again the blocks that some ranges of the disk touch.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn refresh(&mut self, device: &dyn ReadAt, changed: &[Extent]) -> Result<()> {
        let touched =
            changed.iter().flat_map(|extent| extent.offset / EBS_BLOCK_BYTES..extent.end().div_ceil(EBS_BLOCK_BYTES));
        let mut buf = Vec::new();
        for index in touched.collect::<BTreeSet<u64>>() {
            let start = index.saturating_mul(EBS_BLOCK_BYTES);
            let length = device.len().saturating_sub(start).min(EBS_BLOCK_BYTES);
            buf.resize(read::size(length), 0);
            device.read_at(start, &mut buf)?;
            match hash_block(&buf) {
                Some(digest) => self.0.insert(index, digest),
                None => self.0.remove(&index),
            };
        }
        Ok(())
    }

    /// Returns the index and the digest of each block that is not all zero, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Digest)> {
        self.0.iter().map(|(index, digest)| (*index, *digest))
    }

    /// Returns the EBS LINEAR checksum in base64, and how many blocks it is about.
    pub fn linear(&self) -> (String, u64) {
        let mut hasher = Sha256::new();
        self.0.values().for_each(|digest| hasher.update(digest.0));
        (base64(&hasher.finalize()), self.0.len() as u64)
    }
}

/// The LINEAR checksum in the making.
struct Linear<V> {
    hasher: Sha256,
    blocks: u64,
    visit: V,
}

impl<V: FnMut(u64, Digest)> Linear<V> {
    fn add(&mut self, (index, digest): (u64, Digest)) {
        self.hasher.update(digest.0);
        self.blocks = self.blocks.saturating_add(1);
        (self.visit)(index, digest);
    }
}

/// Returns a block's digest, padded with zeros, or `None` if it is all zero.
pub(super) fn hash_block(block: &[u8]) -> Option<Digest> {
    if is_zero(block) {
        return None;
    }
    let mut hasher = Sha256::new();
    hasher.update(block);
    hasher.update(ZEROS.get(block.len()..).unwrap_or_default());
    Some(Digest(hasher.finalize().into()))
}

/// A range of the file with its bytes.
struct Piece {
    extent: Extent,
    bytes: Bytes,
}

enum Bytes {
    Hole,
    Mapped(Map),
    Read(Vec<u8>),
}

impl Piece {
    /// Returns the bytes; none for a hole.
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Hole => &[],
            Bytes::Mapped(bytes) => bytes,
            Bytes::Read(bytes) => bytes,
        }
    }

    /// Adds the piece to the digest of the whole file.
    fn hash(&self, file: &mut Sha256, progress: &dyn Progress) {
        match self.bytes {
            Bytes::Hole => {
                let mut rest = self.extent.length;
                while rest > 0 {
                    let length = rest.min(EBS_BLOCK_BYTES);
                    file.update(ZEROS.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default());
                    progress.advance(length);
                    rest = rest.saturating_sub(length);
                }
            }
            Bytes::Mapped(_) | Bytes::Read(_) => {
                file.update(self.bytes());
                progress.advance(self.extent.length);
            }
        }
    }

    /// Returns the blocks that are not all zero, of the disk that begins with the file and has `disk_bytes`.
    fn blocks(&self, disk_bytes: u64) -> Vec<(u64, Digest)> {
        let inside = disk_bytes.saturating_sub(self.extent.offset).min(self.bytes().len() as u64);
        let bytes = usize::try_from(inside).ok().and_then(|inside| self.bytes().get(..inside)).unwrap_or_default();
        let first = self.extent.offset / EBS_BLOCK_BYTES;
        let blocks = bytes.par_chunks(ZEROS.len()).enumerate();
        blocks.filter_map(|(i, block)| Some((first.saturating_add(i as u64), hash_block(block)?))).collect()
    }
}

/// The file as pieces, in order.
struct Pieces<'a> {
    raw: &'a Raw,
    /// Whether pieces are mapped, or else read.
    mapped: bool,
    at: u64,
    /// The next extent of the file that is no hole, if it is known already.
    data: Option<Extent>,
}

impl<'a> Pieces<'a> {
    fn new(raw: &'a Raw, mapped: bool) -> Self {
        Self { raw, mapped, at: 0, data: None }
    }

    /// Loads the next piece: a hole of whatever length, or at most [`PIECE_BYTES`] that begin at a multiple of it.
    ///
    /// `spare` is memory that may be used again.
    fn next(&mut self, spare: Option<Vec<u8>>) -> Result<Option<Piece>> {
        let (at, size) = (self.at, self.raw.len());
        if at >= size {
            return Ok(None);
        }
        if self.data.is_none_or(|data| data.end() <= at) {
            self.data = self.raw.next_data(at)?;
        }
        let start = self.data.map_or(size, |data| data.offset.max(at));
        let boundary = if start >= size { size } else { start.saturating_sub(start % PIECE_BYTES) };
        let extent = if boundary > at {
            Extent::new(at, boundary.saturating_sub(at))
        } else {
            Extent::new(at, size.saturating_sub(at).min(PIECE_BYTES))
        };
        let bytes = if boundary > at { Bytes::Hole } else { self.load(extent, spare)? };
        self.at = extent.end();
        Ok(Some(Piece { extent, bytes }))
    }

    fn load(&self, extent: Extent, spare: Option<Vec<u8>>) -> Result<Bytes> {
        // Asked before each piece: a file that was cut must not be touched through a map.
        self.raw.unchanged()?;
        let length = read::size(extent.length);
        // A hole on a full tmpfs cannot be mapped and can be read; and `pread` tells better what else is wrong.
        if self.mapped
            && let Ok(map) = Map::of(self.raw, extent.offset, length)
        {
            return Ok(Bytes::Mapped(map));
        }
        let mut bytes = spare.unwrap_or_default();
        bytes.clear();
        bytes.resize(length, 0);
        let mut at = extent.offset;
        // Each round passes an extent of the file system or ends.
        while let Some(data) = self.raw.next_data(at)?.filter(|data| data.offset < extent.end()) {
            let end = data.end().min(extent.end());
            let from = read::size(data.offset.saturating_sub(extent.offset));
            let count = read::size(end.saturating_sub(data.offset));
            let into = read::slice_mut(&mut bytes, from, count)?;
            // A file that was cut meanwhile is named as what it is.
            let read = self.raw.read_at(data.offset, into);
            read.map_err(|error| self.raw.unchanged().err().unwrap_or(error.into()))?;
            at = end;
        }
        Ok(Bytes::Read(bytes))
    }
}

/// Hashes a file in order, and the blocks of its first `disk_bytes` beside it.
fn hash_file(
    raw: &Raw,
    progress: &dyn Progress,
    disk_bytes: u64,
    found: impl FnMut(Vec<(u64, Digest)>) + Send,
) -> Result<Digest> {
    hash_pieces(Pieces::new(raw, map::works(raw)), progress, disk_bytes, found)
}

fn hash_pieces(
    mut pieces: Pieces<'_>,
    progress: &dyn Progress,
    disk_bytes: u64,
    mut found: impl FnMut(Vec<(u64, Digest)>) + Send,
) -> Result<Digest> {
    let mut file = Sha256::new();
    let mut spare = None;
    let mut next = pieces.next(None)?;
    while let Some(piece) = next {
        let beside = || (pieces.next(spare.take()), piece.blocks(disk_bytes));
        let ((), (following, blocks)) = rayon::join(|| piece.hash(&mut file, progress), beside);
        found(blocks);
        if let Bytes::Read(bytes) = piece.bytes {
            spare = Some(bytes);
        }
        next = following?;
    }
    Ok(Digest(file.finalize().into()))
}

/// Hashes the blocks of a disk that does not lie in its file in order.
fn hash_disk<V: FnMut(u64, Digest)>(disk: &dyn ReadAt, linear: &mut Linear<V>) -> Result<()> {
    let size = disk.len();
    let mut at = 0;
    loop {
        let mut indices = Vec::with_capacity(BLOCKS_AT_ONCE);
        while indices.len() < BLOCKS_AT_ONCE {
            let Some(data) = disk.next_data(at)? else { break };
            let index = data.offset / EBS_BLOCK_BYTES;
            indices.push(index);
            at = index.saturating_add(1).saturating_mul(EBS_BLOCK_BYTES);
        }
        if indices.is_empty() {
            return Ok(());
        }
        let hash = |buf: &mut Vec<u8>, index: &u64| {
            let start = index.saturating_mul(EBS_BLOCK_BYTES);
            buf.resize(read::size(size.saturating_sub(start).min(EBS_BLOCK_BYTES)), 0);
            disk.read_at(start, buf)?;
            Ok(hash_block(buf).map(|digest| (*index, digest)))
        };
        let found: Vec<_> = indices.par_iter().map_init(Vec::new, hash).collect::<Result<_>>()?;
        found.into_iter().flatten().for_each(|block| linear.add(block));
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::vhd::sample;
    use super::*;
    use coldforge_base::Failure as _;
    use coldforge_base::progress::Silent;

    const BLOCK: usize = EBS_BLOCK_BYTES as usize;

    fn image(bytes: &[u8], format: Format) -> (tempfile::NamedTempFile, Image) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let image = Image::open(file.path(), Some(format)).unwrap();
        (file, image)
    }

    /// The definition, in order and alone.
    fn plain(disk: &[u8]) -> (String, u64, Vec<(u64, Digest)>) {
        let mut padded = disk.to_vec();
        padded.resize(disk.len().next_multiple_of(BLOCK), 0);
        let blocks = padded.chunks(BLOCK).enumerate().filter(|(_, b)| b.iter().any(|byte| *byte != 0));
        let blocks: Vec<_> = blocks.map(|(i, b)| (i as u64, Digest::of(b))).collect();
        let joined: Vec<u8> = blocks.iter().flat_map(|(_, digest)| digest.0).collect();
        (base64(&Digest::of(&joined).0), blocks.len() as u64, blocks)
    }

    #[test]
    fn blocks_follow_the_published_vectors() {
        let a = vec![b'A'; BLOCK];
        assert_eq!(hash_block(&[0; BLOCK]), None);
        assert_eq!(base64(&Digest::of(&[0; BLOCK]).0), "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=");
        assert_eq!(base64(&hash_block(&a).unwrap().0), "X3om4deM0XGxqrAgjaEz6ZbHUoW5SqjvBsZXjqCyaQM=");
        let mut linear = Linear { hasher: Sha256::new(), blocks: 0, visit: |_, _| {} };
        linear.add((0, Digest::of(&[0; BLOCK])));
        linear.add((1, Digest::of(&a)));
        assert_eq!(base64(&linear.hasher.finalize()), "T+eVZ+BAaHMgEDpGUWseTVr662ecC2evdD9w/CMgJUo=");
    }

    #[test]
    fn every_format_and_both_ways_of_reading_give_the_plain_answer() {
        // Eleven blocks and a bit: data across piece boundaries, zero blocks inside, a short last block.
        let mut disk = vec![0; 19 * BLOCK + 1536];
        disk[BLOCK - 1] = 1;
        disk[3 * BLOCK..4 * BLOCK + 5].fill(2);
        disk[7 * BLOCK + 9..8 * BLOCK + 9].fill(3);
        disk[19 * BLOCK + 1535] = 4;
        let blocks = disk.chunks(BLOCK).enumerate().filter(|(_, b)| b.iter().any(|x| *x != 0));
        let blocks: Vec<_> = blocks.map(|(i, b)| (i as u32, b.to_vec())).collect();
        let blocks: Vec<_> = blocks.into_iter().rev().collect();
        let dynamic = sample::dynamic(disk.len() as u64, &blocks);
        let (linear, count, listed) = plain(&disk);
        for (bytes, format) in
            [(disk.clone(), Format::Raw), (sample::fixed(&disk), Format::VhdFixed), (dynamic, Format::VhdDynamic)]
        {
            let (_file, image) = image(&bytes, format);
            let mut seen = Vec::new();
            let digests = digest_blocks(&image, &Silent, |index, digest| seen.push((index, digest))).unwrap();
            assert_eq!(digests.file, Digest::of(&bytes), "{format}");
            assert_eq!((&digests.ebs_linear, digests.ebs_blocks), (&linear, count), "{format}");
            assert_eq!(seen, listed, "{format}");
            assert_eq!(super::linear(&image).unwrap(), (linear.clone(), count), "{format}");
            let pieces = Pieces::new(image.raw(), false);
            assert_eq!(hash_pieces(pieces, &Silent, 0, |_| {}).unwrap(), Digest::of(&bytes), "{format} without a map");
        }
    }

    #[test]
    fn holes_count_as_zeros_and_progress_covers_the_file() {
        struct Sum(AtomicU64);
        impl Progress for Sum {
            fn start(&self, _: &'static str, total: u64) {
                assert_eq!(total, 40 << 20);
            }
            fn advance(&self, by: u64) {
                self.0.fetch_add(by, Ordering::Relaxed);
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(40 << 20).unwrap();
        file.as_file().write_all_at(&[1; 9000], (21 << 20) - 100).unwrap();
        let image = Image::open(file.path(), Some(Format::Raw)).unwrap();
        let sum = Sum(AtomicU64::new(0));
        let digests = digest(&image, &sum).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let (linear, count, _) = plain(&bytes);
        assert_eq!((digests.file, digests.ebs_linear, digests.ebs_blocks), (Digest::of(&bytes), linear, count));
        assert_eq!(sum.0.into_inner(), 40 << 20);
        let pieces = Pieces::new(image.raw(), false);
        assert_eq!(hash_pieces(pieces, &Silent, 0, |_| {}).unwrap(), Digest::of(&bytes));
    }

    #[test]
    fn a_file_that_changes_behind_the_last_read_has_no_digest_either() {
        struct Vandal(PathBuf);
        impl Progress for Vandal {
            fn start(&self, _: &'static str, _: u64) {}
            fn advance(&self, _: u64) {
                File::options().append(true).open(&self.0).unwrap().write_all(b"!").unwrap();
            }
        }
        let (file, image) = image(&[1; BLOCK], Format::Raw);
        let error = digest(&image, &Vandal(file.path().to_owned())).unwrap_err();
        assert_eq!(error.code(), Some("E-SOURCE-CHANGED"));
    }

    #[test]
    fn a_file_that_changes_meanwhile_has_no_digest() {
        let (file, image) = image(&vec![1; 3 * BLOCK], Format::Raw);
        file.as_file().set_len(BLOCK as u64).unwrap();
        assert_eq!(digest(&image, &Silent).unwrap_err().code(), Some("E-SOURCE-CHANGED"));
    }
}
