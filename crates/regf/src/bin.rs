//! Bins and the cells that tile them: every byte behind the base block belongs to exactly one cell or bin header.
//!
//! A hive is accepted only where that holds; afterwards a pointer is good exactly if an allocated cell begins there,
//! which [`CellSet`] answers in one step.

use std::mem::offset_of;

use zerocopy::FromBytes;

use rayon::prelude::*;

use super::layout::{BASE_BLOCK_LEN, BIN_ALIGN, BIN_HEADER_LEN, BinHeader, CELL_ALIGN, NIL};
use super::{Error, Result};
use coldforge_base::{CellOffset, FileOffset, read};

/// Bytes of bins that one word of a [`CellSet`] stands for.
const WORD_SPAN: usize = 64 * CELL_ALIGN as usize;

/// Bytes of bins that are surveyed in one piece: long enough that handing it to another core pays.
const PIECE_LEN: u32 = 0x10_0000;

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

    /// Returns the first member, and the number of all.
    pub(super) fn first_and_count(&self) -> Option<(CellOffset, u32)> {
        let index = self.words.iter().position(|word| *word != 0)?;
        let word = self.words.get(index)?;
        let unit = u32::try_from(index).ok()?.checked_mul(64)?.checked_add(word.trailing_zeros())?;
        let count = self.words.iter().fold(0u32, |sum, word| sum.saturating_add(word.count_ones()));
        Some((CellOffset(unit.checked_mul(CELL_ALIGN)?), count))
    }

    /// Takes out of this set what `other`, which began as a copy of `base`, no longer has; tells whether this set had
    /// all of it.
    pub(super) fn take_as(&mut self, other: &Self, base: &Self) -> bool {
        let mut all = true;
        for ((ours, theirs), before) in self.words.iter_mut().zip(&other.words).zip(&base.words) {
            let taken = before & !theirs;
            all &= *ours & taken == taken;
            *ours &= !taken;
        }
        all
    }

    fn place(at: CellOffset) -> (usize, u64) {
        let unit = at.0 / CELL_ALIGN;
        ((unit / 64) as usize, 1u64 << (unit % 64))
    }
}

/// What a look over all bins finds.
pub(super) struct Survey {
    /// The allocated cells.
    pub live: CellSet,
    /// Free cells that follow a free cell of the same bin, ascending.
    pub adjacent: Vec<CellOffset>,
    /// Why bins and cells do not tile the hive; nothing behind it has been looked at.
    pub broken: Option<Error>,
}

impl Survey {
    /// Looks over `bins_len` bytes of bins, on several cores where that pays.
    pub(super) fn of(bytes: &[u8], bins_len: u32) -> Self {
        let mut live = CellSet::new(bins_len as usize);
        let pieces = pieces(bytes, bins_len);
        let mut work = Vec::with_capacity(pieces.len());
        let mut rest = live.words.as_mut_slice();
        for (start, end) in pieces {
            // Bins begin at multiples of 4096 bytes, so that two pieces never share a word.
            let (words, behind) = rest.split_at_mut((end.saturating_sub(start) as usize / WORD_SPAN).min(rest.len()));
            rest = behind;
            work.push((start, end, words));
        }
        let outcomes: Vec<_> = match work.len() {
            1 => work.into_iter().map(|(start, end, words)| piece(bytes, start, end, words)).collect(),
            _ => work.into_par_iter().map(|(start, end, words)| piece(bytes, start, end, words)).collect(),
        };
        let (mut adjacent, mut broken) = (Vec::new(), None);
        for (found, error) in outcomes {
            adjacent.extend(found);
            if error.is_some() {
                broken = error;
                break;
            }
        }
        Self { live, adjacent, broken }
    }
}

/// Cuts the bins into pieces that begin and end between bins, by the sizes that the bins say they have. Where one
/// cannot be right, the last piece goes on to the end.
fn pieces(bytes: &[u8], bins_len: u32) -> Vec<(u32, u32)> {
    let (mut pieces, mut start, mut at) = (Vec::new(), 0u32, 0u32);
    while at < bins_len {
        let len = read::u32_le(bytes, file_position(CellOffset(at)).saturating_add(offset_of!(BinHeader, len)));
        let next = len.ok().filter(|len| *len > 0 && len % BIN_ALIGN == 0).and_then(|len| at.checked_add(len));
        match next.filter(|next| *next < bins_len) {
            Some(next) => at = next,
            None => break,
        }
        if at.saturating_sub(start) >= PIECE_LEN {
            pieces.push((start, at));
            start = at;
        }
    }
    pieces.push((start, bins_len));
    pieces
}

/// Surveys one piece: marks its allocated cells in `words`, the part of the set that begins with the piece.
fn piece(bytes: &[u8], start: u32, end: u32, words: &mut [u64]) -> (Vec<CellOffset>, Option<Error>) {
    let (mut adjacent, mut free_before) = (Vec::new(), false);
    for tile in (Tiles { bytes, at: start, bin_end: start, end }) {
        match tile {
            Ok(Tile::Bin { .. }) => free_before = false,
            Ok(Tile::Cell { at, allocated: true, .. }) => {
                let (index, bit) = CellSet::place(CellOffset(at.0.saturating_sub(start)));
                if let Some(word) = words.get_mut(index) {
                    *word |= bit;
                }
                free_before = false;
            }
            Ok(Tile::Cell { at, .. }) => {
                if free_before {
                    adjacent.push(at);
                }
                free_before = true;
            }
            Err(error) => return (adjacent, Some(error)),
        }
    }
    (adjacent, None)
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
    fn a_survey_in_pieces_finds_what_one_walk_finds() {
        let mut hive = crate::Hive::parse(sample::empty(5, 0x60_0000)).expect("a hive");
        for number in 0..4000u32 {
            let data = vec![1; (number % 37 * 61) as usize];
            hive.set_value(
                &format!("k{}", number % 50),
                &format!("v{number}"),
                3,
                &data,
                coldforge_base::time::FileTime(1),
            )
            .expect("room enough");
        }
        let (good, bins_len) = (hive.bytes().to_vec(), hive.header.bins_len);
        assert!(pieces(&good, bins_len).len() > 3);
        let bins: Vec<usize> = Tiles::new(&good, bins_len)
            .filter_map(|tile| match tile.expect("tiles") {
                Tile::Bin { at, .. } => Some(file_position(at)),
                Tile::Cell { .. } => None,
            })
            .collect();
        let check = |bytes: &[u8]| {
            let (mut live, mut broken) = (CellSet::new(bins_len as usize), None);
            for tile in Tiles::new(bytes, bins_len) {
                match tile {
                    Ok(Tile::Cell { at, allocated: true, .. }) => {
                        live.set(at, true);
                    }
                    Ok(_) => {}
                    Err(error) => broken = Some(error),
                }
            }
            let survey = Survey::of(bytes, bins_len);
            assert_eq!(survey.broken, broken);
            assert!(broken.is_some() || survey.live.words == live.words);
            broken.is_some()
        };
        assert!(!check(&good));
        // Each third bin with a wrong signature, place, size, or first cell.
        let wrong = [(0, 0), (4, 1), (8, 0), (8, 0x1001), (8, 0x2000), (8, u32::MAX), (32, 4)];
        for (at, (offset, word)) in bins.iter().step_by(3).zip(wrong.iter().cycle()) {
            let mut bytes = good.clone();
            read::put_u32_le(&mut bytes, at + offset, *word).expect("inside");
            assert!(check(&bytes), "{at:#x} {offset} {word:#x}");
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
        some.set(CellOffset(0x28), false);
        assert!(all.contains(CellOffset(0x28)) && !all.contains(CellOffset(0x2c)) && !all.contains(CellOffset(NIL)));
        assert_eq!((all.first_and_count(), some.first_and_count()), (Some((CellOffset(0x20), 3)), None));
        let (mut one, mut two) = (all.clone(), all.clone());
        assert!(one.set(CellOffset(0x20), false) && two.set(CellOffset(0x28), false));
        let mut rest = all.clone();
        assert!(rest.take_as(&one, &all) && rest.take_as(&two, &all) && !rest.take_as(&one, &all));
        assert_eq!(rest.first_and_count(), Some((CellOffset(0xff8), 1)));
    }
}
