//! Where the changed bytes of a dynamic VHD go: into the blocks that exist, and into new ones behind them.
//!
//! New blocks follow in ascending order of the disk where the footer was, placed as Windows places them: data at a
//! multiple of 4 KiB, bitmap right before, all bits set, unwritten bytes zero. The footer moves behind them unchanged,
//! so that it still equals its copy in front.

use super::super::plan::{Plan, PlannedWrite};
use super::super::{Error, Result};
use super::dynamic::{Dynamic, bit, is_set};
use super::layout::{Footer, SECTOR, UNALLOCATED};
use coldforge_base::{Extent, ReadAt as _, device, read};

/// Windows lets the data of a block begin at a multiple of this.
const DATA_ALIGNMENT: u64 = 4096;

impl Dynamic {
    /// Returns the writes that bring `changed` extents of the disk, which are normalized, into a copy of this file.
    ///
    /// # Errors
    /// [`device::Error::OutOfRange`] if an extent leaves the disk, [`Error::VhdFull`] if the table cannot address a new block,
    /// otherwise what reading a bitmap answers.
    pub(in super::super) fn plan(&self, changed: &[Extent]) -> Result<Plan> {
        let mut planner = Planner { disk: self, writes: Vec::new(), current: None, behind: None, added: 0 };
        for extent in changed {
            let (at, length, size) = (extent.offset, extent.length, self.len());
            if at.checked_add(length).is_none_or(|end| end > size) {
                return Err(device::Error::OutOfRange { at, length, size }.into());
            }
            let mut at = at;
            // Ends with the extent: each round passes the rest of a block.
            while at < extent.end() {
                let (index, within) = self.split(at);
                let left = self.block_bytes().saturating_sub(within).min(extent.end().saturating_sub(at));
                planner.add(index, within, Extent::new(at, left))?;
                at = at.saturating_add(left);
            }
        }
        planner.finish()
    }
}

/// A plan in the making; pieces come in ascending order of the disk.
struct Planner<'a> {
    disk: &'a Dynamic,
    writes: Vec<PlannedWrite>,
    current: Option<Block>,
    /// Where the footer goes, once a block was added.
    behind: Option<u64>,
    added: u64,
}

/// The block that the last piece fell into.
struct Block {
    index: u64,
    at: u64,
    /// The bitmap as the file has it, and as it has to be.
    bitmap: (Vec<u8>, Vec<u8>),
}

impl Planner<'_> {
    /// Adds a piece of the disk that lies inside one block, `within` bytes from its beginning.
    fn add(&mut self, index: u64, within: u64, piece: Extent) -> Result<()> {
        if self.current.as_ref().is_none_or(|block| block.index != index) {
            self.close();
            self.current = Some(match self.disk.block_at(index) {
                Some(at) => {
                    let bitmap = self.disk.bitmap(at)?;
                    Block { index, at, bitmap: (bitmap.clone(), bitmap) }
                }
                None => self.allocate(index)?,
            });
        }
        // The current block was just set.
        let Some(block) = self.current.as_mut() else { return Ok(()) };
        let sectors = within / SECTOR..within.saturating_add(piece.length).div_ceil(SECTOR);
        for sector in sectors.filter(|sector| !is_set(&block.bitmap.0, *sector)) {
            let byte = usize::try_from(sector / 8).ok().and_then(|at| block.bitmap.1.get_mut(at));
            // A block has a bit for each of its sectors.
            *byte.ok_or(Error::VhdCookie { structure: "bitmap", at: block.at })? |= bit(sector);
        }
        let at = block.at.saturating_add(self.disk.bitmap_bytes()).saturating_add(within);
        self.writes.push(PlannedWrite::Data { at, extent: piece });
        Ok(())
    }

    /// Places a new block where the footer is; the file behind its end reads as zeros.
    fn allocate(&mut self, index: u64) -> Result<Block> {
        let footer_at = self.behind.unwrap_or(self.disk.footer_at());
        let at = self.bitmap_behind(footer_at);
        let sector = u32::try_from(at / SECTOR).ok().filter(|sector| *sector != UNALLOCATED);
        let sector = sector.ok_or(Error::VhdFull { at })?;
        if self.behind.is_none() {
            // The old footer is part of the gap before the new block, or lies below its bitmap.
            let gap = at.saturating_sub(footer_at).min(Footer::BYTES as u64);
            if gap > 0 {
                self.writes.push(PlannedWrite::Structure { at: footer_at, bytes: vec![0; Footer::BYTES] });
            }
        }
        let bitmap = vec![0xff; read::size(self.disk.bitmap_bytes())];
        self.writes.push(PlannedWrite::Structure { at, bytes: bitmap.clone() });
        self.writes
            .push(PlannedWrite::Structure { at: self.disk.entry_at(index), bytes: sector.to_be_bytes().to_vec() });
        let end = at.saturating_add(self.disk.bitmap_bytes()).saturating_add(self.disk.block_bytes());
        self.behind = Some(self.bitmap_behind(end));
        self.added = self.added.saturating_add(1);
        Ok(Block { index, at, bitmap: (bitmap.clone(), bitmap) })
    }

    /// Returns the first place at or behind `end` for a bitmap whose data are aligned.
    fn bitmap_behind(&self, end: u64) -> u64 {
        let bitmap_bytes = self.disk.bitmap_bytes();
        end.saturating_add(bitmap_bytes).next_multiple_of(DATA_ALIGNMENT).saturating_sub(bitmap_bytes)
    }

    /// Writes the current block's bitmap if it gained a bit.
    fn close(&mut self) {
        if let Some(Block { at, bitmap: (before, after), .. }) = self.current.take()
            && before != after
        {
            self.writes.push(PlannedWrite::Structure { at, bytes: after });
        }
    }

    fn finish(mut self) -> Result<Plan> {
        self.close();
        let footer_at = self.behind.unwrap_or(self.disk.footer_at());
        if self.behind.is_some() {
            self.writes.push(PlannedWrite::Structure { at: footer_at, bytes: self.disk.footer().to_vec() });
        }
        let file_bytes = footer_at.saturating_add(Footer::BYTES as u64);
        Ok(Plan { file_bytes, writes: self.writes, added_blocks: self.added })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::super::parent::no_parent;
    use super::super::sample::{self, BLOCK};
    use super::super::{Raw, Vhd};
    use super::*;

    fn open(bytes: &[u8]) -> Dynamic {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let opened = Vhd::open(Raw::open(file.path()).unwrap(), &mut no_parent).unwrap();
        let Vhd::Dynamic(disk) = opened else { panic!("dynamic") };
        disk
    }

    #[test]
    fn a_change_in_a_placed_block_touches_nothing_but_its_bytes() {
        let bytes = sample::dynamic(2 * BLOCK, &[(1, vec![1; 512])]);
        let plan = open(&bytes).plan(&[Extent::new(BLOCK + 700, 9)]).unwrap();
        let at = 2048 + 512 + 700;
        assert_eq!(plan.writes, [PlannedWrite::Data { at, extent: Extent::new(BLOCK + 700, 9) }]);
        assert_eq!((plan.file_bytes, plan.added_blocks), (bytes.len() as u64, 0));
    }

    #[test]
    fn a_clear_bit_is_set_with_the_first_byte_of_its_sector() {
        let mut bytes = sample::dynamic(BLOCK, &[(0, vec![])]);
        bytes[2048..2050].copy_from_slice(&[0, 0]);
        let plan = open(&bytes).plan(&[Extent::new(6 * 512 + 511, 514)]).unwrap();
        let mut bitmap = vec![0xff; 512];
        bitmap[..2].copy_from_slice(&[0x03, 0x80]);
        assert_eq!(plan.writes.last(), Some(&PlannedWrite::Structure { at: 2048, bytes: bitmap }));
    }

    #[test]
    fn new_blocks_lie_in_disk_order_with_their_data_on_4_kib() {
        let bytes = sample::dynamic(4 * BLOCK, &[]);
        let plan = open(&bytes).plan(&[Extent::new(BLOCK - 1, 2), Extent::new(3 * BLOCK + 5, 1)]).unwrap();
        assert_eq!(plan.added_blocks, 3);
        let footer = bytes[bytes.len() - Footer::BYTES..].to_vec();
        assert_eq!(
            plan.writes[0],
            PlannedWrite::Structure { at: 2048, bytes: vec![0; 512] },
            "the old footer is wiped"
        );
        assert_eq!(plan.writes.last(), Some(&PlannedWrite::Structure { at: plan.file_bytes - 512, bytes: footer }));
        let guests = plan.writes.iter().filter_map(|write| match write {
            PlannedWrite::Data { at, extent } => Some((*at, extent.offset)),
            PlannedWrite::Structure { .. } => None,
        });
        let stride = BLOCK + 4096;
        assert_eq!(
            guests.collect::<Vec<_>>(),
            [(4096 + BLOCK - 1, BLOCK - 1), (4096 + stride, BLOCK), (4096 + 2 * stride + 5, 3 * BLOCK + 5)]
        );
        assert_eq!(plan.file_bytes, 4096 + 3 * stride);
    }
}
