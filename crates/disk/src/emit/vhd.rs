//! VHD: fixed, the sectors and a footer; dynamic, footer copy, header, block table, blocks and footer.

use super::super::vhd::Footer;
use super::super::vhd::fresh;
use super::super::{Error, Result};
use super::sink::{Emitted, Sink, id, put_runs};
use super::walk::walk;
use coldforge_base::ReadAt;
use coldforge_base::progress::Progress;

/// The data of a block begin at a multiple of this, as Windows lets them.
const DATA_ALIGNMENT: u64 = 4096;
/// The bitmap of a block of 2 MiB: a bit for each of 4096 sectors.
const BITMAP_BYTES: u64 = size_of::<[u8; 512]>() as u64;
const SECTOR: u64 = 512;

pub(super) fn fixed(device: &dyn ReadAt, sink: &dyn Sink, progress: &dyn Progress) -> Result<Emitted> {
    let size = device.len();
    fresh::check_size(size)?;
    let file_bytes = size.saturating_add(Footer::BYTES as u64);
    sink.resize(file_bytes)?;
    let walked = walk(device, None, progress, |piece| put_runs(sink, piece.at, piece))?;
    sink.put(size, &fresh::footer(size, Footer::FIXED, id("vhd", &walked.identity).0))?;
    Ok(Emitted::new(file_bytes, walked))
}

pub(super) fn dynamic(device: &dyn ReadAt, sink: &dyn Sink, progress: &dyn Progress) -> Result<Emitted> {
    let size = device.len();
    fresh::check_size(size)?;
    let mut blocks = Blocks::new(size, fresh::TABLE_AT)?;
    let walked = walk(device, None, progress, |piece| {
        let block_at = blocks.place(piece.at)?;
        sink.put(block_at, &[0xff; 512])?;
        put_runs(sink, block_at.saturating_add(BITMAP_BYTES), piece)
    })?;
    let footer = fresh::footer(size, Footer::DYNAMIC, id("vhd", &walked.identity).0);
    let file_bytes = blocks.end().saturating_add(Footer::BYTES as u64);
    sink.resize(file_bytes)?;
    sink.put(0, &footer)?;
    sink.put(Footer::BYTES as u64, &fresh::header(size, fresh::TABLE_AT, None))?;
    sink.put(fresh::TABLE_AT, &blocks.table())?;
    sink.put(blocks.end(), &footer)?;
    Ok(Emitted::new(file_bytes, walked))
}

/// The places of blocks, given in order.
pub(super) struct Blocks {
    entries: Vec<u32>,
    /// Where the next bitmap goes.
    next: u64,
}

impl Blocks {
    /// Begins behind a table at `table_at` that finds the blocks of a disk of `size` bytes.
    pub fn new(size: u64, table_at: u64) -> Result<Self> {
        // At most a million blocks.
        let count = usize::try_from(size.div_ceil(fresh::BLOCK_BYTES)).map_err(|_| Error::VhdFull { at: size })?;
        let entries = vec![fresh::UNALLOCATED; count];
        let end = table_at.saturating_add((count as u64).saturating_mul(4).next_multiple_of(SECTOR));
        Ok(Self { entries, next: bitmap_behind(end) })
    }

    /// Places the block that begins at `disk_at` of the disk; returns where its bitmap goes.
    pub fn place(&mut self, disk_at: u64) -> Result<u64> {
        let at = self.next;
        let sector = u32::try_from(at / SECTOR).ok().filter(|sector| *sector != fresh::UNALLOCATED);
        let index = usize::try_from(disk_at / fresh::BLOCK_BYTES).ok();
        let entry = index.and_then(|index| self.entries.get_mut(index)).ok_or(Error::VhdFull { at: disk_at })?;
        *entry = sector.ok_or(Error::VhdFull { at })?;
        self.next = bitmap_behind(at.saturating_add(BITMAP_BYTES).saturating_add(fresh::BLOCK_BYTES));
        Ok(at)
    }

    /// Returns where the footer goes.
    pub fn end(&self) -> u64 {
        self.next
    }

    /// Returns the table's bytes, padded as Windows pads them.
    pub fn table(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(512), 0xff);
        bytes
    }
}

/// Returns the first place at or behind `end` for a bitmap whose data are aligned.
fn bitmap_behind(end: u64) -> u64 {
    end.saturating_add(BITMAP_BYTES).next_multiple_of(DATA_ALIGNMENT).saturating_sub(BITMAP_BYTES)
}
