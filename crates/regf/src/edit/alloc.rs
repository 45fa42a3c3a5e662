//! Room for cells: the free ones by size and by place, splitting, joining, and new bins behind the last.
//!
//! A cell never crosses its bin, and no two free cells of a bin stay neighbours. The best fit is taken, the first of
//! several, so that an edit that is repeated takes the same cells.

use std::collections::{BTreeMap, BTreeSet};

use super::Transaction;
use crate::bin::{Tile, Tiles, file_position};
use crate::layout::{BIN_ALIGN, BIN_HEADER_LEN, BINS_MAX, CELL_ALIGN, CELL_HEADER_LEN, CELL_MAX};
use crate::{Error, Result};
use coldforge_base::{CellOffset, read};

/// The free cells of a hive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    /// (size, offset): the best fit is the first one that is large enough.
    by_size: BTreeSet<(u32, u32)>,
    /// Offset to size.
    by_place: BTreeMap<u32, u32>,
}

impl Space {
    /// Finds the free cells of a hive.
    pub(super) fn survey(bytes: &[u8], bins_len: u32) -> Self {
        let mut space = Self::default();
        // The hive was accepted because it tiles, and edits keep it so.
        for tile in Tiles::new(bytes, bins_len).flatten() {
            if let Tile::Cell { at, len, allocated: false } = tile {
                space.insert(at.0, len);
            }
        }
        space
    }

    fn insert(&mut self, at: u32, len: u32) {
        self.by_place.insert(at, len);
        self.by_size.insert((len, at));
    }

    fn remove(&mut self, at: u32, len: u32) {
        self.by_place.remove(&at);
        self.by_size.remove(&(len, at));
    }

    /// Takes out the smallest cell of at least `len` bytes, the first of several: its offset and size.
    fn take(&mut self, len: u32) -> Option<(u32, u32)> {
        let (found, at) = *self.by_size.range((len, 0)..).next()?;
        self.remove(at, found);
        Some((at, found))
    }

    /// Takes out the free neighbours of a cell: returns where all of them together begin, and their size.
    ///
    /// A neighbour lies in the same bin: between the cells of two bins is a bin's header.
    fn join(&mut self, at: u32, len: u32) -> (u32, u32) {
        let (mut start, mut end) = (at, at.saturating_add(len));
        if let Some((before, size)) = self.by_place.range(..at).next_back().map(|(at, size)| (*at, *size))
            && before.saturating_add(size) == at
        {
            self.remove(before, size);
            start = before;
        }
        if let Some(size) = self.by_place.get(&end).copied() {
            self.remove(end, size);
            end = end.saturating_add(size);
        }
        (start, end.saturating_sub(start))
    }
}

impl Transaction<'_> {
    /// Allocates a cell, stores `payload` in it, and fills what is left of it with zeros.
    ///
    /// # Errors
    /// [`Error::DataTooLong`] for a cell above 1 MiB, which Windows does not allocate; [`Error::TooLarge`] if no free
    /// cell is large enough and offsets cannot address another bin.
    pub(crate) fn store(&mut self, payload: &[u8]) -> Result<CellOffset> {
        let needed = u32::try_from(payload.len())
            .ok()
            .and_then(|len| len.checked_add(CELL_HEADER_LEN)?.checked_next_multiple_of(CELL_ALIGN))
            .filter(|needed| *needed <= CELL_MAX)
            .ok_or(Error::DataTooLong { actual: payload.len() })?;
        let found = match self.space().take(needed) {
            Some(found) => Some(found),
            None => {
                self.append_bin(needed)?;
                self.space().take(needed)
            }
        };
        let (at, found) = found.ok_or(Error::TooLarge { actual: u64::from(needed) })?;
        let rest = found.saturating_sub(needed);
        if rest > 0 {
            let behind = at.saturating_add(needed);
            self.write_header(behind, rest, false)?;
            self.space().insert(behind, rest);
        }
        self.write_header(at, needed, true)?;
        let cell = CellOffset(at);
        self.set_live(cell, true);
        let mut whole = payload.to_vec();
        whole.resize(needed.saturating_sub(CELL_HEADER_LEN) as usize, 0);
        self.put(cell, 0, &whole)?;
        Ok(cell)
    }

    /// Frees a cell and joins it with the free cells beside it.
    ///
    /// # Errors
    /// [`Error::NoCell`] if it is not allocated.
    pub(crate) fn free(&mut self, at: CellOffset) -> Result<()> {
        let len = u32::try_from(self.hive().cell(at)?.len()).map_err(|_| Error::NoCell { at })?;
        let (start, len) = {
            let len = len.saturating_add(CELL_HEADER_LEN);
            self.space().join(at.0, len)
        };
        self.set_live(at, false);
        self.write_header(start, len, false)?;
        self.space().insert(start, len);
        Ok(())
    }

    /// Adds a bin behind the last one, with one free cell of at least `needed` bytes, a size that a cell can have.
    fn append_bin(&mut self, needed: u32) -> Result<()> {
        let start = self.hive().header.bins_len;
        let len = needed.saturating_add(BIN_HEADER_LEN).next_multiple_of(BIN_ALIGN);
        let end = start.saturating_add(len);
        if end > BINS_MAX {
            return Err(Error::TooLarge { actual: u64::from(end) });
        }
        self.space();
        self.reserve(end);
        let mut bin = vec![0; len as usize];
        let free = len.saturating_sub(BIN_HEADER_LEN);
        for (at, word) in [(4, start), (8, len), (BIN_HEADER_LEN as usize, free)] {
            read::put_u32_le(&mut bin, at, word).expect("a bin has at least 4096 bytes");
        }
        read::put(&mut bin, 0, b"hbin").expect("a bin has at least 4096 bytes");
        self.write(file_position(CellOffset(start)), &bin)?;
        self.set_bins_len(end);
        self.space().insert(start.saturating_add(BIN_HEADER_LEN), free);
        Ok(())
    }

    fn write_header(&mut self, at: u32, len: u32, allocated: bool) -> Result<()> {
        let size = len.cast_signed();
        let size = if allocated { size.saturating_neg() } else { size };
        self.write(file_position(CellOffset(at)), &size.to_le_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::{Hive, sample};

    /// Returns the cells of a hive as (offset, size), negative where allocated.
    fn cells(hive: &Hive) -> Vec<(u32, i64)> {
        Tiles::new(hive.bytes(), hive.header.bins_len)
            .filter_map(|tile| match tile.expect("tiles") {
                Tile::Cell { at, len, allocated } => Some((at.0, i64::from(len) * if allocated { -1 } else { 1 })),
                Tile::Bin { .. } => None,
            })
            .collect()
    }

    #[test]
    fn a_cell_is_cut_from_the_smallest_one_that_is_large_enough() {
        let mut hive = Hive::parse(sample::empty(5, 0x2000)).expect("a hive");
        hive.transact(|t| {
            let (a, b) = (t.store(&[1; 60])?, t.store(&[2; 20])?);
            let (c, _) = (t.store(&[3; 28])?, t.store(&[4; 20])?);
            t.free(a)?;
            t.free(c)?;
            assert_eq!((a, b, c), (CellOffset(0xe0), CellOffset(0x120), CellOffset(0x138)));
            assert_eq!(t.store(&[5; 20])?, c);
            Ok(())
        })
        .expect("room enough");
        assert_eq!(cells(&hive)[2..6], [(0xe0, 64), (0x120, -24), (0x138, -24), (0x150, 8)]);
    }

    #[test]
    fn a_cell_above_what_windows_allocates_is_refused() {
        let mut hive = Hive::parse(sample::empty(5, 0x20_0000)).expect("a hive");
        let (most, more) = (vec![1; 0xf_fffc], vec![1; 0xf_fffd]);
        assert_eq!(hive.transact(|t| t.store(&more)), Err(Error::DataTooLong { actual: 0xf_fffd }));
        hive.transact(|t| t.store(&most)).expect("one mebibyte");
    }

    #[test]
    fn freed_cells_join_on_both_sides_but_not_across_bins() {
        let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
        hive.transact(|t| {
            let a = t.store(&[1; 60])?;
            let b = t.store(&[1; 0x1000 - 0xe0 - 64 - 4])?;
            let c = t.store(&[1; 4060])?;
            assert_eq!(c, CellOffset(0x1020));
            t.free(c)?;
            t.free(a)?;
            t.free(b)
        })
        .expect("room enough");
        assert_eq!(cells(&hive)[2..], [(0xe0, 0x1000 - 0xe0), (0x1020, 0x1000 - 0x20)]);
    }

    #[test]
    fn a_bin_is_appended_until_the_file_is_full() {
        let mut hive = Hive::parse(sample::empty(5, 0x5000)).expect("a hive");
        let stored = hive.transact(|t| Ok((t.store(&[1; 5000])?, t.store(&[1; 4060])?))).expect("room for three bins");
        assert_eq!(stored.0, (CellOffset(0x1020), CellOffset(0x3020)));
        assert_eq!((hive.header.bins_len, hive.bytes().len()), (0x4000, 0x5000));
        let before = hive.bytes().to_vec();
        assert_eq!(hive.transact(|t| t.store(&[1; 4060])), Err(Error::Full { missing: 0x1000 }));
        // What is missing is told for the whole edit, not for its first cell.
        let both = hive.transact(|t| Ok((t.store(&[1; 4060])?, t.store(&[1; 5000])?)));
        assert_eq!(both, Err(Error::Full { missing: 0x3000 }));
        assert_eq!((hive.bytes(), hive.header.bins_len), (&before[..], 0x4000));
        hive.transact(|t| t.store(&[1; 1000])).expect("the first bin has room");
    }
}
