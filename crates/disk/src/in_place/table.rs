//! Digests of an image file's blocks as they were before a run: what tells a change of somebody else's from the run's.
//!
//! Holes and blocks of zeros have no entry. Blocks grow with the file, so that the table stays small.

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::super::pieces::{for_each_piece, is_zero};
use super::super::{Error, Result};
use coldforge_base::digest::Digest;
use coldforge_base::{Extent, read};

const MAGIC: [u8; 8] = *b"BLOCKS\r\n";
const HEAD_BYTES: usize = 24;
const ENTRY_BYTES: usize = 40;
/// A change is told by the block that it lies in.
const BLOCK_BYTES_MIN: u64 = 256 << 10;
/// No table has more entries.
const BLOCKS_MAX: u64 = 1 << 20;
/// No table is longer.
pub(super) const BYTES_MAX: u64 = HEAD_BYTES as u64 + BLOCKS_MAX * ENTRY_BYTES as u64;

/// The digests of the blocks of a file that are not all zero, by their index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Table {
    pub block_bytes: u64,
    pub blocks: Vec<(u64, Digest)>,
}

impl Table {
    /// Returns the bytes of a block in the table of a file of `length` bytes.
    pub fn block_bytes(length: u64) -> u64 {
        length.div_ceil(BLOCKS_MAX).checked_next_power_of_two().unwrap_or(u64::MAX).max(BLOCK_BYTES_MIN)
    }

    /// Digests the blocks of a file of `length` bytes that may hold data, as `data` says; `read` fills a buffer with the
    /// bytes at a place inside the file.
    pub fn of(
        length: u64,
        data: impl Fn(u64) -> Result<Option<Extent>>,
        read: impl Fn(u64, &mut [u8]) -> Result<()> + Sync,
    ) -> Result<Self> {
        let block_bytes = Self::block_bytes(length);
        let (mut indexes, mut at) = (Vec::new(), 0);
        // Each round passes a block at least.
        while let Some(found) = data(at)?.filter(|found| found.offset < length) {
            let index = found.offset.max(at).checked_div(block_bytes).unwrap_or(0);
            indexes.push(index);
            at = index.saturating_add(1).saturating_mul(block_bytes);
        }
        let digest = |index: &u64| {
            let at = index.saturating_mul(block_bytes);
            let length = length.saturating_sub(at).min(block_bytes);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            read(at, &mut bytes)?;
            Ok((!is_zero(&bytes)).then(|| (*index, Digest(Sha256::digest(&bytes).into()))))
        };
        let blocks = indexes.par_iter().map(digest).collect::<Result<Vec<_>>>()?;
        Ok(Self { block_bytes, blocks: blocks.into_iter().flatten().collect() })
    }

    /// Returns the ranges of a file of `length` bytes in which two tables differ.
    pub fn differing(&self, other: &Self, length: u64) -> Vec<Extent> {
        let (mut one, mut two) = (self.blocks.iter().peekable(), other.blocks.iter().peekable());
        let mut differing = Vec::new();
        // Each round passes an entry.
        loop {
            let (index, equal) = match (one.peek(), two.peek()) {
                (None, None) => return differing,
                (Some(a), Some(b)) if a.0 == b.0 => (a.0, a.1 == b.1),
                (Some(a), Some(b)) => (a.0.min(b.0), false),
                (Some(a), None) => (a.0, false),
                (None, Some(b)) => (b.0, false),
            };
            one.next_if(|entry| entry.0 == index);
            two.next_if(|entry| entry.0 == index);
            if !equal {
                let at = index.saturating_mul(self.block_bytes);
                differing.push(Extent::new(at, length.saturating_sub(at).min(self.block_bytes)));
            }
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let count = (self.blocks.len() as u64).to_le_bytes();
        let mut bytes = [&MAGIC[..], &self.block_bytes.to_le_bytes(), &count].concat();
        for (index, digest) in &self.blocks {
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(&digest.0);
        }
        bytes
    }

    /// Reads a table of a file of `length` bytes; `None` if it is none.
    pub fn parse(bytes: &[u8], length: u64) -> Option<Self> {
        let (head, entries) = bytes.split_at_checked(HEAD_BYTES)?;
        let block_bytes = read::u64_le(head, 8).ok()?;
        let count = usize::try_from(read::u64_le(head, 16).ok()?).ok()?;
        if !head.starts_with(&MAGIC) || block_bytes != Self::block_bytes(length) {
            return None;
        }
        if entries.len() != count.checked_mul(ENTRY_BYTES)? {
            return None;
        }
        let entry = |entry: &[u8]| Some((read::u64_le(entry, 0).ok()?, Digest(read::array(entry, 8).ok()?)));
        let blocks = entries.chunks_exact(ENTRY_BYTES).map(entry).collect::<Option<Vec<_>>>()?;
        let rises = blocks.iter().zip(blocks.iter().skip(1)).all(|(one, next)| one.0 < next.0);
        rises.then_some(Self { block_bytes, blocks })
    }
}

/// Returns the digest of a range of a file that a run has made longer.
pub(super) fn digest_of(range: Extent, mut read: impl FnMut(u64, &mut [u8]) -> Result<()>) -> Result<Digest> {
    let mut sum = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    for_each_piece(range, &mut buf, |piece, buf| {
        read(piece.offset, buf)?;
        sum.update(&*buf);
        Ok::<(), Error>(())
    })?;
    Ok(Digest(sum.finalize().into()))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_block_is_named_and_every_changed_byte_of_a_table_is_refused_or_told() {
        let length = 3 * BLOCK_BYTES_MIN + 100;
        let mut bytes = vec![0; length as usize];
        bytes[5] = 1;
        bytes[length as usize - 1] = 2;
        let table = |bytes: &[u8]| {
            let all = |at| Ok((at < length).then(|| Extent::new(at, length - at)));
            Table::of(length, all, |at, buf: &mut [u8]| {
                buf.copy_from_slice(&bytes[at as usize..][..buf.len()]);
                Ok(())
            })
            .unwrap()
        };
        let before = table(&bytes);
        assert_eq!(before.blocks.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(Table::parse(&before.to_bytes(), length), Some(before.clone()));
        let stored = before.to_bytes();
        for cut in 0..stored.len() {
            assert_eq!(Table::parse(&stored[..cut], length), None);
        }
        bytes[BLOCK_BYTES_MIN as usize + 9] = 1;
        bytes[5] = 0;
        bytes[length as usize - 2] = 1;
        let expected = [
            Extent::new(0, BLOCK_BYTES_MIN),
            Extent::new(BLOCK_BYTES_MIN, BLOCK_BYTES_MIN),
            Extent::new(3 * BLOCK_BYTES_MIN, 100),
        ];
        assert_eq!(before.differing(&table(&bytes), length), expected);
        assert_eq!(table(&bytes).differing(&before, length), expected);
        assert_eq!(before.differing(&before, length), []);
        assert!(Table::block_bytes(64 << 40) * BLOCKS_MAX >= 64 << 40 && Table::block_bytes(u64::MAX) > 1 << 43);
    }
}
