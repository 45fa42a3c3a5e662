//! The block allocation table of a VHDX (BAT, MS-VHDX 2.5): where each block of the disk lies, and for differencing
//! disks where the bitmaps lie that say which sectors are the child's own.
//!
//! The table is read once and kept as runs of blocks that follow one another in disk and file, so that memory goes with
//! the file's fragments and not with the size of the disk.

use std::collections::BTreeMap;

use super::super::{Error, Result};
use super::layout::{HAS_PARENT, MIB, Metadata, NAME, field, overlap};
use super::log::Patched;
use coldforge_base::{Extent, read};

/// The bits of an entry that say where a block lies: whole megabytes.
const PLACE: u64 = !(MIB - 1);
/// How many sectors a bitmap block of 1 MiB knows.
const BITMAP_SECTORS: u64 = 1 << 23;
/// More fragments than any disk has that somebody uses; they take 100 MB.
const RUNS_MAX: usize = 4 << 20;
const READ_AT_ONCE: u64 = MIB;

/// What is known of a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Block {
    /// Nothing is stored: zeros, or the parent's.
    Absent,
    /// Zeros, whatever the parent holds.
    Zero,
    /// The block lies at this place of the file.
    Present(u64),
    /// The block lies at this place of the file, and a bitmap tells which sectors of it count.
    Partial(u64),
}

/// Blocks that follow one another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Run {
    first: u64,
    count: u64,
    block: Block,
}

impl Run {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

#[derive(Debug)]
pub(super) struct Table {
    runs: Vec<Run>,
    /// Where the bitmap of a chunk lies.
    bitmaps: BTreeMap<u64, u64>,
    block_bytes: u64,
    blocks: u64,
}

/// Numbers of a disk's blocks and table entries.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Blocks of the disk.
    pub blocks: u64,
    /// Blocks that share a bitmap.
    pub chunk_ratio: u64,
    /// Table entries, those for bitmaps among them.
    pub entries: u64,
}

impl Shape {
    pub fn of(metadata: &Metadata) -> Self {
        let chunk_bytes = BITMAP_SECTORS.saturating_mul(metadata.logical_sector.into());
        let chunk_ratio = chunk_bytes.checked_div(metadata.block_bytes).unwrap_or(1).max(1);
        let blocks = metadata.disk_bytes.div_ceil(metadata.block_bytes.max(1));
        let entries = if metadata.flags & HAS_PARENT != 0 {
            blocks.div_ceil(chunk_ratio).saturating_mul(chunk_ratio.saturating_add(1))
        } else {
            blocks.saturating_add(blocks.saturating_sub(1).checked_div(chunk_ratio).unwrap_or(0))
        };
        Self { blocks, chunk_ratio, entries }
    }

    /// Returns the table entry of a block.
    pub fn entry_of(&self, block: u64) -> u64 {
        block.saturating_add(block.checked_div(self.chunk_ratio).unwrap_or(0))
    }

    /// Returns the table entry of a chunk's bitmap.
    pub fn bitmap_entry_of(&self, chunk: u64) -> u64 {
        chunk.saturating_mul(self.chunk_ratio.saturating_add(1)).saturating_add(self.chunk_ratio)
    }
}

impl Table {
    /// Reads the table in its region, and checks that no two structures share a byte of the file; `taken` are those
    /// that are known already.
    pub fn open(file: &Patched, region: Extent, metadata: &Metadata, taken: Vec<Extent>) -> Result<Self> {
        let shape = Shape::of(metadata);
        let bytes = shape.entries.saturating_mul(8);
        if bytes > region.length {
            return Err(field("block table", region.offset, "length, too short for the disk,", region.length));
        }
        let (bitmaps, block_bytes) = (BTreeMap::new(), metadata.block_bytes);
        let mut table = Self { runs: Vec::new(), bitmaps, block_bytes, blocks: shape.blocks };
        let has_parent = metadata.flags & HAS_PARENT != 0;
        let end = region.offset.saturating_add(bytes);
        let (mut at, mut piece) = (region.offset, Vec::new());
        // Each round passes at least an entry; holes of the file are no blocks and need not be read.
        while let Some(data) = file.next_data(at, end)? {
            let start = data.offset.saturating_sub(data.offset % 8).max(at);
            let length = data.end().next_multiple_of(8).min(end).saturating_sub(start).min(READ_AT_ONCE);
            piece.resize(read::size(length), 0);
            file.read_at(start, &mut piece)?;
            let first = start.saturating_sub(region.offset) / 8;
            for (index, entry) in (first..).zip(piece.chunks_exact(8)) {
                let entry = read::u64_le(entry, 0).unwrap_or(0);
                if entry != 0 {
                    let entry_at = region.offset.saturating_add(index.saturating_mul(8));
                    table.add(&shape, has_parent, index, entry, entry_at, file.len())?;
                }
            }
            at = start.saturating_add(length);
        }
        table.check_overlap(taken)?;
        Ok(table)
    }

    fn add(&mut self, shape: &Shape, has_parent: bool, index: u64, entry: u64, at: u64, file_bytes: u64) -> Result<()> {
        let bad = |name| field("block table", at, name, entry);
        let (state, place) = (entry & 7, entry & PLACE);
        if entry & (MIB - 1) & !7 != 0 {
            return Err(bad("entry with reserved bits,"));
        }
        let stride = shape.chunk_ratio.saturating_add(1);
        let (chunk, within) = (index.checked_div(stride).unwrap_or(0), index.checked_rem(stride).unwrap_or(0));
        let inside = |length: u64| {
            let fits = place >= MIB && place.checked_add(length).is_some_and(|end| end <= file_bytes);
            if fits { Ok(place) } else { Err(bad("entry that leaves the file,")) }
        };
        if within == shape.chunk_ratio {
            return match state {
                0 => Ok(()),
                6 if has_parent => {
                    self.bitmaps.insert(chunk, inside(MIB)?);
                    Ok(())
                }
                _ => Err(bad("bitmap entry of an impossible state,")),
            };
        }
        let index = chunk.saturating_mul(shape.chunk_ratio).saturating_add(within);
        if index >= shape.blocks {
            // Entries behind the disk fill the last chunk and mean nothing.
            return Ok(());
        }
        let block = match state {
            // Nothing but the place is set, and it does not count.
            0 => return Ok(()),
            1..=3 => Block::Zero,
            6 => Block::Present(inside(self.block_bytes)?),
            7 if has_parent => Block::Partial(inside(self.block_bytes)?),
            _ => return Err(bad("entry of an impossible state,")),
        };
        let (block_bytes, count) = (self.block_bytes, self.runs.len());
        match self.runs.last_mut() {
            Some(run) if run.end() == index && ahead(run.block, run.count, block_bytes) == block => {
                run.count = run.count.saturating_add(1);
            }
            _ if count >= RUNS_MAX => return Err(Error::VhdxFragments),
            _ => self.runs.push(Run { first: index, count: 1, block }),
        }
        Ok(())
    }

    fn check_overlap(&self, mut taken: Vec<Extent>) -> Result<()> {
        let blocks = self.runs.iter().filter_map(|run| match run.block {
            Block::Present(at) | Block::Partial(at) => {
                Some(Extent::new(at, run.count.saturating_mul(self.block_bytes)))
            }
            Block::Absent | Block::Zero => None,
        });
        taken.extend(blocks);
        taken.extend(self.bitmaps.values().map(|at| Extent::new(*at, MIB)));
        match overlap(taken) {
            None => Ok(()),
            Some(at) => Err(Error::Overlap { container: NAME, at }),
        }
    }

    /// Returns what is known of a block, and of how many blocks from it on the same is true: those that are present
    /// follow one another in the file.
    pub fn block(&self, index: u64) -> (Block, u64) {
        let next = self.runs.partition_point(|run| run.end() <= index);
        match self.runs.get(next) {
            Some(run) if run.first <= index => {
                let passed = index.saturating_sub(run.first);
                (ahead(run.block, passed, self.block_bytes), run.count.saturating_sub(passed))
            }
            Some(run) => (Block::Absent, run.first.saturating_sub(index)),
            None => (Block::Absent, self.blocks.saturating_sub(index)),
        }
    }

    /// Returns where the bitmap of a chunk lies.
    pub fn bitmap(&self, chunk: u64) -> Option<u64> {
        self.bitmaps.get(&chunk).copied()
    }

    /// Returns how many blocks are stored.
    pub fn stored(&self) -> u64 {
        let stored = self.runs.iter().filter(|run| matches!(run.block, Block::Present(_) | Block::Partial(_)));
        stored.fold(0, |sum, run| sum.saturating_add(run.count))
    }

    /// Returns the number of the first block whose bitmap is missing although it needs one.
    pub fn without_bitmap(&self, chunk_ratio: u64) -> Option<u64> {
        let partial = self.runs.iter().filter(|run| matches!(run.block, Block::Partial(_)));
        let mut blocks = partial.flat_map(|run| run.first..run.end());
        blocks.find(|block| self.bitmap(block.checked_div(chunk_ratio).unwrap_or(0)).is_none())
    }
}

/// Returns what a block is that lies `count` blocks behind one.
fn ahead(block: Block, count: u64, block_bytes: u64) -> Block {
    let further = |at: u64| at.saturating_add(count.saturating_mul(block_bytes));
    match block {
        Block::Present(at) => Block::Present(further(at)),
        Block::Partial(at) => Block::Partial(further(at)),
        other => other,
    }
}
