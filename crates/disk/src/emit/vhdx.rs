//! VHDX: identifier, headers, region tables, an empty log, metadata, block table and blocks.

use super::super::vhdx::Shape;
use super::super::vhdx::layout::{
    FILE_SIGNATURE, FIXED, HEADERS_AT, Header, LARGEST_DISK_BYTES, MIB, Metadata, REGION_TABLES_AT, Regions,
};
use super::super::{Error, Result};
use super::properties::DiskProperties;
use super::sink::{Emitted, Sink, id, put_runs, put_table};
use super::walk::{PIECE_BYTES, Walked, walk};
use coldforge_base::guid::Guid;
use coldforge_base::progress::Progress;
use coldforge_base::{Extent, ReadAt, read, utf16};

/// The log of every known maker.
const LOG: Extent = Extent { offset: MIB, length: MIB };
const METADATA: Extent = Extent { offset: 2 * MIB, length: MIB };
const TABLE_AT: u64 = 3 * MIB;
/// Blocks of a disk of up to [`SMALL_DISK_BYTES`]: little is stored for little.
const BLOCK_BYTES: u64 = 2 * MIB;
const SMALL_DISK_BYTES: u64 = 4 << 40;
/// Blocks of a larger disk, as Windows makes them: the table stays small.
const LARGE_BLOCK_BYTES: u64 = 32 * MIB;
const _: () = assert!(BLOCK_BYTES.is_multiple_of(PIECE_BYTES) && LARGE_BLOCK_BYTES.is_multiple_of(PIECE_BYTES));
/// State of a block that is stored.
pub(super) const PRESENT: u64 = 6;

pub(super) fn emit(
    device: &dyn ReadAt,
    fixed: bool,
    properties: DiskProperties,
    sink: &dyn Sink,
    progress: &dyn Progress,
) -> Result<Emitted> {
    let mut frame = Frame::new(device.len(), if fixed { FIXED } else { 0 }, properties)?;
    if fixed {
        for block in 0..frame.shape.blocks {
            frame.place(block, PRESENT)?;
        }
        sink.resize(frame.end)?;
    }
    let block_bytes = frame.metadata.block_bytes.max(1);
    let walked = walk(device, None, progress, |piece| {
        let block = piece.at.checked_div(block_bytes).unwrap_or(0);
        let place = frame.place(block, PRESENT)?;
        put_runs(sink, place.saturating_add(piece.at.checked_rem(block_bytes).unwrap_or(0)), piece)
    })?;
    frame.finish(walked, None, sink)
}

/// A file in the making: everything but the blocks.
pub(super) struct Frame {
    pub metadata: Metadata,
    pub shape: Shape,
    table: Vec<u64>,
    /// Where the next block goes.
    end: u64,
}

impl Frame {
    pub fn new(size: u64, flags: u32, properties: DiskProperties) -> Result<Self> {
        if size > LARGEST_DISK_BYTES {
            return Err(Error::TooLarge { container: "VHDX", size, limit: LARGEST_DISK_BYTES });
        }
        let unit = properties.sector.into();
        if size == 0 || !size.is_multiple_of(unit) {
            return Err(Error::OddSize { size, unit });
        }
        let metadata = Metadata {
            block_bytes: if size > SMALL_DISK_BYTES { LARGE_BLOCK_BYTES } else { BLOCK_BYTES },
            flags,
            disk_bytes: size,
            disk_id: properties.id.unwrap_or(Guid::NIL),
            logical_sector: properties.sector,
            physical_sector: properties.physical,
            locator: None,
        };
        let shape = Shape::of(&metadata);
        // At most two million blocks and a few more entries.
        let table = vec![0; read::size(shape.entries)];
        let end = TABLE_AT.saturating_add(table_bytes(&shape));
        Ok(Self { metadata, shape, table, end })
    }

    /// Returns where a block lies in the file; gives it a place if it has none.
    pub fn place(&mut self, block: u64, state: u64) -> Result<u64> {
        let entry = self.shape.entry_of(block);
        self.place_entry(entry, state, self.metadata.block_bytes)
    }

    /// Returns where the bitmap of a chunk lies; gives it a place if it has none.
    pub fn place_bitmap(&mut self, chunk: u64) -> Result<u64> {
        let entry = self.shape.bitmap_entry_of(chunk);
        self.place_entry(entry, PRESENT, MIB)
    }

    fn place_entry(&mut self, entry: u64, state: u64, length: u64) -> Result<u64> {
        let size = self.metadata.disk_bytes;
        let entry = usize::try_from(entry).ok().and_then(|entry| self.table.get_mut(entry));
        let entry = entry.ok_or(Error::TooLarge { container: "VHDX", size, limit: LARGEST_DISK_BYTES })?;
        if *entry == 0 {
            *entry = self.end | state;
            self.end = self.end.saturating_add(length);
        }
        Ok(*entry & !(MIB - 1))
    }

    /// Writes everything around the blocks; `parent` is whose state the contents are changes against.
    pub fn finish(mut self, walked: Walked, parent: Option<Guid>, sink: &dyn Sink) -> Result<Emitted> {
        let identity = &walked.identity;
        if self.metadata.disk_id == Guid::NIL {
            self.metadata.disk_id = id("vhdx/disk", identity);
        }
        let purpose = |name: &str| parent.map_or_else(|| name.to_owned(), |parent| format!("{name}/{parent}"));
        let header = Header {
            sequence: 1,
            file_write: id(&purpose("vhdx/file"), identity),
            data_write: id(&purpose("vhdx/data"), identity),
            log: Guid::NIL,
            log_version: 0,
            version: 1,
            log_length: u32::try_from(LOG.length).expect("1 MiB"),
            log_at: LOG.offset,
        };
        let table = Extent::new(TABLE_AT, table_bytes(&self.shape));
        let regions = Regions { bat: Some(table), metadata: Some(METADATA), others: Vec::new() };
        sink.resize(self.end)?;
        let creator = [&FILE_SIGNATURE[..], &utf16::encode("coldforge")].concat();
        sink.put(0, &creator)?;
        for (at, sequence) in HEADERS_AT.into_iter().zip(1..) {
            sink.put(at, &Header { sequence, ..header }.to_bytes())?;
        }
        for at in REGION_TABLES_AT {
            sink.put(at, &regions.to_bytes())?;
        }
        sink.put(METADATA.offset, &self.metadata.to_bytes())?;
        let bytes: Vec<u8> = self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        put_table(sink, TABLE_AT, &bytes)?;
        Ok(Emitted::new(self.end, walked))
    }
}

/// Returns the length of the table's region.
fn table_bytes(shape: &Shape) -> u64 {
    shape.entries.saturating_mul(8).next_multiple_of(MIB)
}
