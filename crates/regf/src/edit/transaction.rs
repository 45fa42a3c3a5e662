//! One edit: every byte it writes passes through [`Transaction::write`], which remembers what was there.
//!
//! So an edit that fails is taken back whole, and one that succeeds can tell exactly which bytes it changed.

use super::alloc::Space;
use crate::bin::file_position;
use crate::layout::CELL_HEADER_LEN;
use crate::{Error, Hive, Result};
use coldforge_base::{CellOffset, Extent, offset, read};

/// Changed bytes with fewer unchanged ones between them are told as one extent.
const GAP_LEN: usize = 8;

/// An edit under way.
pub(crate) struct Transaction<'h> {
    hive: &'h mut Hive,
    undo: Vec<Undo>,
    bins_len_before: u32,
    /// The length of the file: bins that need more of it can be made, so that the edit tells at its end how much is
    /// missing, but such an edit is taken back.
    file_len: usize,
}

/// What takes one step back.
enum Undo {
    /// These bytes were at this place of the file.
    Bytes { position: usize, before: Vec<u8> },
    /// This cell was allocated, or was not.
    Live { at: CellOffset, before: bool },
}

impl Hive {
    /// Runs `edit`; returns its answer and the ranges of the file that it changed.
    ///
    /// # Errors
    /// That of `edit`, or [`Error::Full`] if the file is too short for it; the hive then is what it was before, byte
    /// for byte.
    pub(crate) fn transact<T>(
        &mut self,
        edit: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<(T, Vec<Extent>)> {
        let (bins_len_before, file_len) = (self.header.bins_len, self.bytes.len());
        let mut transaction = Transaction { hive: self, undo: Vec::new(), bins_len_before, file_len };
        let outcome = edit(&mut transaction).and_then(|answer| transaction.check_room().map(|()| answer));
        match outcome {
            Ok(answer) => {
                let touched = transaction.changes();
                if !touched.is_empty() {
                    self.unsealed = true;
                    self.touched.extend_from_slice(&touched);
                }
                Ok((answer, touched))
            }
            Err(error) => {
                transaction.roll_back();
                Err(error)
            }
        }
    }
}

impl Transaction<'_> {
    /// Returns the hive as the edit has left it so far.
    pub(crate) fn hive(&self) -> &Hive {
        self.hive
    }

    /// Returns the index of free cells; the first edit of a hive surveys it.
    pub(super) fn space(&mut self) -> &mut Space {
        let Hive { bytes, header, space, .. } = &mut *self.hive;
        space.get_or_insert_with(|| Space::survey(bytes, header.bins_len))
    }

    /// Overwrites a part of an allocated cell's payload.
    ///
    /// # Errors
    /// [`Error::NoCell`], or [`Error::CellTooShort`] if the part leaves the cell.
    pub(crate) fn put(&mut self, at: CellOffset, offset: usize, bytes: &[u8]) -> Result<()> {
        let (expected, actual) = (offset.saturating_add(bytes.len()), self.hive.cell(at)?.len());
        if expected > actual {
            return Err(Error::CellTooShort { at, expected, actual });
        }
        let payload = file_position(at).saturating_add(CELL_HEADER_LEN as usize);
        self.write(payload.saturating_add(offset), bytes)
    }

    /// Overwrites a 16-bit field of a cell.
    pub(super) fn put_u16(&mut self, at: CellOffset, offset: usize, value: u16) -> Result<()> {
        self.put(at, offset, &value.to_le_bytes())
    }

    /// Overwrites a 32-bit field of a cell.
    pub(crate) fn put_u32(&mut self, at: CellOffset, offset: usize, value: u32) -> Result<()> {
        self.put(at, offset, &value.to_le_bytes())
    }

    /// Overwrites a 64-bit field of a cell.
    pub(super) fn put_u64(&mut self, at: CellOffset, offset: usize, value: u64) -> Result<()> {
        self.put(at, offset, &value.to_le_bytes())
    }

    /// Overwrites bytes of the file: the only place where the hive's bytes change.
    ///
    /// # Errors
    /// [`Error::TooShort`] if the range leaves the file; nothing is changed then.
    pub(crate) fn write(&mut self, position: usize, bytes: &[u8]) -> Result<()> {
        let place = read::slice_mut(&mut self.hive.bytes, position, bytes.len())
            .map_err(|_| Error::TooShort { at: coldforge_base::FileOffset(position as u64), length: bytes.len() })?;
        if place != bytes {
            self.undo.push(Undo::Bytes { position, before: place.to_vec() });
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Lets the bins end at `bins_len`, behind the end of the file if they must.
    pub(super) fn reserve(&mut self, bins_len: u32) {
        let end = file_position(CellOffset(bins_len));
        if end > self.hive.bytes.len() {
            self.hive.bytes.resize(end, 0);
            self.hive.live.grow(end);
        }
    }

    /// Checks that the edit did without more bytes than the file has.
    fn check_room(&self) -> Result<()> {
        match self.hive.bytes.len().saturating_sub(self.file_len) {
            0 => Ok(()),
            missing => Err(Error::Full { missing: u32::try_from(missing).unwrap_or(u32::MAX) }),
        }
    }

    /// Notes that a cell is allocated, or is no longer.
    pub(super) fn set_live(&mut self, at: CellOffset, live: bool) {
        if self.hive.live.set(at, live) {
            self.undo.push(Undo::Live { at, before: !live });
        }
    }

    /// Makes the bins longer; their bytes have been written.
    pub(super) fn set_bins_len(&mut self, bins_len: u32) {
        self.hive.header.bins_len = bins_len;
    }

    /// Returns the ranges that differ from what was there before the edit.
    fn changes(&self) -> Vec<Extent> {
        let written = self.undo.iter().filter_map(|undo| match undo {
            Undo::Bytes { position, before } => Some(Extent::new(*position as u64, before.len() as u64)),
            Undo::Live { .. } => None,
        });
        let ranges = offset::normalize(written.collect());
        let mut pieces: Vec<(usize, Vec<u8>)> = ranges
            .iter()
            .filter_map(|range| {
                let (start, length) = (usize::try_from(range.offset).ok()?, usize::try_from(range.length).ok()?);
                Some((start, read::slice(&self.hive.bytes, start, length).ok()?.to_vec()))
            })
            .collect();
        // Each write lies inside one piece; taken back in reverse order they give the bytes before the edit.
        for undo in self.undo.iter().rev() {
            let Undo::Bytes { position, before } = undo else { continue };
            let index = pieces.partition_point(|piece| piece.0 <= *position).saturating_sub(1);
            if let Some((start, piece)) = pieces.get_mut(index) {
                read::put(piece, position.saturating_sub(*start), before).expect("the piece covers every write in it");
            }
        }
        let changed = pieces.iter().flat_map(|(start, before)| {
            let now = read::slice(&self.hive.bytes, *start, before.len()).unwrap_or_default();
            differences(*start, before, now)
        });
        changed.collect()
    }

    fn roll_back(self) {
        let Self { hive, undo, bins_len_before, file_len } = self;
        for step in undo.into_iter().rev() {
            match step {
                Undo::Bytes { position, before } => {
                    read::put(&mut hive.bytes, position, &before).expect("the same range was written");
                }
                Undo::Live { at, before } => {
                    hive.live.set(at, before);
                }
            }
        }
        hive.bytes.truncate(file_len);
        hive.header.bins_len = bins_len_before;
        hive.space = None;
    }
}

/// Returns the ranges in which two equally long pieces at `start` differ.
fn differences(start: usize, before: &[u8], now: &[u8]) -> Vec<Extent> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (index, _) in before.iter().zip(now).enumerate().filter(|(_, (before, now))| before != now) {
        let end = index.saturating_add(1);
        match ranges.last_mut() {
            Some(last) if index.saturating_sub(last.1) < GAP_LEN => last.1 = end,
            _ => ranges.push((index, end)),
        }
    }
    let extent =
        |(from, to): (usize, usize)| Extent::new(start.saturating_add(from) as u64, to.saturating_sub(from) as u64);
    ranges.into_iter().map(extent).collect()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn differences_join_over_short_gaps_and_split_over_long_ones() {
        let (before, mut now) = ([0u8; 64], [0u8; 64]);
        for at in [3, 10, 40] {
            now[at] = 1;
        }
        assert_eq!(differences(100, &before, &now), [Extent::new(103, 8), Extent::new(140, 1)]);
    }

    #[test]
    fn bytes_written_back_to_what_they_were_are_not_touched() {
        let mut hive = Hive::parse(sample::empty(5, 0x2000)).expect("a hive");
        let ((), touched) = hive
            .transact(|t| {
                t.write(0x1f00, &[1, 2, 3, 4])?;
                t.write(0x1f02, &[9, 9])?;
                t.write(0x1f00, &[0, 0])
            })
            .expect("inside the file");
        assert_eq!(touched, [Extent::new(0x1f02, 2)]);
        assert_eq!(hive.touched(), touched);
    }

    #[test]
    fn a_failed_edit_leaves_every_byte_as_it_was() {
        let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
        let before = hive.bytes().to_vec();
        let outcome = hive.transact(|t| {
            let at = t.store(&[7; 100])?;
            t.store(&[8; 5000])?;
            t.free(at)?;
            t.put_u32(CellOffset(0x20), 0, 0)?;
            t.put(CellOffset(0x20), 84, &[0])
        });
        assert!(matches!(outcome, Err(Error::CellTooShort { .. })), "{outcome:?}");
        assert_eq!(hive.bytes(), before);
        assert_eq!(hive.header.bins_len, 0x1000);
        assert!(hive.verify().is_empty() && hive.touched().is_empty());
    }
}
