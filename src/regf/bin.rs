//! Bins and the cells that tile them: every byte behind the base block belongs to exactly one cell or bin header.
//!
//! A hive is accepted only where that holds; afterwards a pointer is good exactly if an allocated cell begins there,
//! which [`CellSet`] answers in one step.

use zerocopy::FromBytes;

use super::layout::{BASE_BLOCK_LEN, BIN_ALIGN, BIN_HEADER_LEN, BinHeader, CELL_ALIGN, NIL};
use super::{Error, Result};
use crate::base::{CellOffset, FileOffset, read};

/// Bytes of bins that one word of a [`CellSet`] stands for.
const WORD_SPAN: usize = 64 * CELL_ALIGN as usize;

/// A set of cells: one bit for each place where a cell can begin.
#[derive(Clone, Debug)]
pub(super) struct CellSet {
    words: Vec<u64>,
}

impl CellSet {
    /// Returns the empty set for bins of up to `len_bytes` bytes: 1/64 of them in memory.
    pub(super) fn new(len_bytes: usize) -> Self {
        Self { words: vec![0; len_bytes.div_ceil(WORD_SPAN)] }
    }

    /// Makes room for bins of up to `len_bytes` bytes; never less than there is.
    pub(super) fn grow(&mut self, len_bytes: usize) {
        let words = len_bytes.div_ceil(WORD_SPAN);
        self.words.resize(words.max(self.words.len()), 0);
    }

    /// Tells whether the set holds `at`; never true where no cell can begin.
    pub(super) fn contains(&self, at: CellOffset) -> bool {
        let (index, bit) = Self::place(at);
        at.0.is_multiple_of(CELL_ALIGN) && self.words.get(index).is_some_and(|word| word & bit != 0)
    }

    /// Adds `at`, or takes it out; tells whether that changed the set.
    pub(super) fn set(&mut self, at: CellOffset, member: bool) -> bool {
        let (index, bit) = Self::place(at);
        let Some(word) = self.words.get_mut(index) else { return false };
        let before = *word & bit != 0;
        *word = if member { *word | bit } else { *word & !bit };
        before != member
    }

    /// Returns the members of this set that `other` lacks, ascending.
    pub(super) fn without<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = CellOffset> + 's {
        let words = self.words.iter().zip(&other.words).map(|(ours, theirs)| ours & !theirs);
        words.enumerate().flat_map(|(index, word)| {
            let bits = (0u32..64).filter(move |bit| word >> bit & 1 != 0);
            bits.filter_map(move |bit| {
                let unit = u32::try_from(index).ok()?.checked_mul(64)?.checked_add(bit)?;
                unit.checked_mul(CELL_ALIGN).map(CellOffset)
            })
        })
    }

    fn place(at: CellOffset) -> (usize, u64) {
        let unit = at.0 / CELL_ALIGN;
        ((unit / 64) as usize, 1u64 << (unit % 64))
    }
}

/// One tile: a bin's header, or a cell in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tile {
    /// A bin begins.
    Bin {
        /// Its header.
        at: CellOffset,
        /// Its size in bytes.
        len: u32,
    },
    /// A cell.
    Cell {
        /// Its header.
        at: CellOffset,
        /// Its size in bytes, with the header.
        len: u32,
        /// Whether something is stored in it.
        allocated: bool,
    },
}

/// Walks the bins and cells of a hive file in order. An error ends the walk.
pub(super) struct Tiles<'h> {
    bytes: &'h [u8],
    /// The next tile.
    at: u32,
    /// The end of the current bin.
    bin_end: u32,
    /// The end of the last bin.
    end: u32,
}

impl<'h> Tiles<'h> {
    /// Begins at the first bin of `bins_len` bytes of them.
    pub(super) fn new(bytes: &'h [u8], bins_len: u32) -> Self {
        Self { bytes, at: 0, bin_end: 0, end: bins_len }
    }

    fn step(&mut self) -> Result<Tile> {
        let at = CellOffset(self.at);
        let position = file_position(at);
        if self.at == self.bin_end {
            let length = BIN_HEADER_LEN as usize;
            let bytes = read::slice(self.bytes, position, length)
                .map_err(|_| Error::TooShort { at: FileOffset(position as u64), length })?;
            let Ok((bin, _)) = BinHeader::ref_from_prefix(bytes) else { return Err(Error::BinHeader { at }) };
            if bin.signature != *b"hbin" {
                return Err(Error::BinHeader { at });
            }
            if bin.offset.get() != self.at {
                return Err(Error::BinOffset { at, actual: bin.offset.get() });
            }
            let len = bin.len.get();
            let end = self.at.checked_add(len).filter(|end| *end <= self.end);
            let (Some(end), false, true) = (end, len == 0, len % BIN_ALIGN == 0) else {
                return Err(Error::BinSize { at, actual: len });
            };
            self.bin_end = end;
            self.at = self.at.saturating_add(BIN_HEADER_LEN);
            return Ok(Tile::Bin { at, len });
        }
        let size = read::i32_le(self.bytes, position)
            .map_err(|_| Error::TooShort { at: FileOffset(position as u64), length: 4 })?;
        let len = size.unsigned_abs();
        match self.at.checked_add(len) {
            Some(next) if len >= CELL_ALIGN && len % CELL_ALIGN == 0 && next <= self.bin_end => {
                self.at = next;
                Ok(Tile::Cell { at, len, allocated: size < 0 })
            }
            _ => Err(Error::CellSize { at, actual: size, end: CellOffset(self.bin_end) }),
        }
    }
}

impl Iterator for Tiles<'_> {
    type Item = Result<Tile>;

    // Ends: every step moves on by at least 8 bytes, or by a bin header, or is the last.
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let tile = self.step();
        if tile.is_err() {
            self.at = self.end;
        }
        Some(tile)
    }
}

/// Returns the byte of the hive file at which a cell, or a bin, begins.
pub(super) fn file_position(at: CellOffset) -> usize {
    (at.0 as usize).saturating_add(BASE_BLOCK_LEN as usize)
}

/// Returns the cell that a field points to, or `None` for the mark of "no cell".
pub(super) fn pointer(field: u32) -> Option<CellOffset> {
    (field != NIL).then_some(CellOffset(field))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::sample;
    use super::*;

    fn tiles(bytes: &[u8]) -> Result<Vec<Tile>> {
        Tiles::new(bytes, 0x1000).collect()
    }

    #[test]
    fn the_tiles_of_a_hive_follow_one_another_to_the_end() {
        let bytes = sample::empty(5, 0x2000);
        let tiles = tiles(&bytes).expect("tiles");
        assert_eq!(tiles[0], Tile::Bin { at: CellOffset(0), len: 0x1000 });
        let cells: Vec<_> = tiles[1..]
            .iter()
            .map(|tile| match tile {
                Tile::Cell { at, len, allocated } => (at.0, *len, *allocated),
                Tile::Bin { .. } => panic!("one bin"),
            })
            .collect();
        assert_eq!(cells.iter().map(|cell| cell.2).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(cells[0].0, 0x20);
        assert_eq!(cells.iter().map(|cell| cell.1).sum::<u32>(), 0x1000 - 0x20);
    }

    #[test]
    fn a_tile_that_does_not_fit_is_an_error_at_its_offset() {
        let good = sample::empty(5, 0x2000);
        let with = |at: usize, word: u32| {
            let mut bytes = good.clone();
            read::put_u32_le(&mut bytes, 0x1000 + at, word).expect("inside");
            tiles(&bytes).expect_err("does not fit")
        };
        assert_eq!(with(0, 0), Error::BinHeader { at: CellOffset(0) });
        assert_eq!(with(4, 0x1000), Error::BinOffset { at: CellOffset(0), actual: 0x1000 });
        for size in [0, 0x100, 0x2000, 0xffff_f000] {
            assert_eq!(with(8, size), Error::BinSize { at: CellOffset(0), actual: size });
        }
        for size in [0i32, 4, -4, 12, -12, 0x1000, -0x1000, i32::MIN, i32::MAX] {
            let error = with(0x20, size.cast_unsigned());
            assert_eq!(error, Error::CellSize { at: CellOffset(0x20), actual: size, end: CellOffset(0x1000) });
        }
    }

    #[test]
    fn a_set_of_cells_remembers_members_and_tells_differences() {
        let (mut all, mut some) = (CellSet::new(0x1000), CellSet::new(0x1000));
        for at in [0x20, 0x28, 0xff8] {
            assert!(all.set(CellOffset(at), true));
            assert!(!all.set(CellOffset(at), true));
        }
        some.set(CellOffset(0x28), true);
        assert!(all.contains(CellOffset(0x28)) && !all.contains(CellOffset(0x2c)) && !all.contains(CellOffset(NIL)));
        assert_eq!(all.without(&some).collect::<Vec<_>>(), [CellOffset(0x20), CellOffset(0xff8)]);
    }
}
