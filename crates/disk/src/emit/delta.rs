//! A differencing disk that holds only the sectors in which a disk differs from its image: VHD on VHD, VHDX on VHDX.

use super::super::pieces::for_each_piece;
use super::super::vhd::fresh;
use super::super::vhd::{Footer, Locators};
use super::super::vhdx::Locator;
use super::super::vhdx::layout::HAS_PARENT;
use super::super::{Error, Format, Image, Overlay, Result};
use super::properties::DiskProperties;
use super::sink::{Emitted, Sink, id, put_table};
use super::vhd::Blocks;
use super::vhdx::Frame;
use super::walk::Walked;
use coldforge_base::digest::Digest;
use coldforge_base::offset::normalize;
use coldforge_base::progress::Progress;
use coldforge_base::{Extent, ReadAt};

/// State of a block of which some sectors are the child's own.
const PARTLY_PRESENT: u64 = 7;
const SECTOR: u64 = 512;
/// The sectors of a VHD that share a byte of a block's bitmap. Readers differ about the order of a byte's bits (the
/// format's document counts from the highest, libvhdi from the lowest), so that a byte is written as all ones or not at
/// all; sectors of a group that did not change are filled from the parent.
const GROUP_BYTES: u64 = 8 * SECTOR;
/// A bitmap block of a VHDX.
const BITMAP_BYTES: usize = 1 << 20;
/// Memory for what is copied at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes the `changed` ranges of an overlay as a child of the image below it; `path` leads from the child's folder to
/// that image, as Windows writes paths.
///
/// # Errors
/// [`Error::Delta`] if the image cannot be a parent, otherwise what the disk and the sink answer.
pub(in super::super) fn emit_delta(
    overlay: &Overlay<&Image>,
    changed: &[Extent],
    path: String,
    sink: &dyn Sink,
    progress: &dyn Progress,
) -> Result<Emitted> {
    let parent = *overlay.base();
    let properties = DiskProperties::of(parent)?;
    let format = parent.delta_format().ok_or(Error::Delta { format: parent.format() })?;
    let unit = if format == Format::VhdxDelta { u64::from(properties.sector) } else { GROUP_BYTES };
    let pieces = widen(changed, unit, overlay.len());
    progress.start("write", pieces.iter().fold(0u64, |sum, extent| sum.saturating_add(extent.length)));
    if format == Format::VhdxDelta {
        vhdx(overlay, &pieces, properties, path, sink, progress)
    } else {
        vhd(overlay, &pieces, path, sink, progress)
    }
}

/// Widens ranges of a disk of `size` bytes to whole units.
fn widen(changed: &[Extent], unit: u64, size: u64) -> Vec<Extent> {
    let widened = changed.iter().map(|extent| {
        let start = extent.offset.saturating_sub(extent.offset.checked_rem(unit).unwrap_or(0));
        let end = extent.end().checked_next_multiple_of(unit).unwrap_or(u64::MAX).min(size);
        Extent::new(start, end.saturating_sub(start))
    });
    normalize(widened.collect())
}

fn vhd(
    overlay: &Overlay<&Image>,
    groups: &[Extent],
    path: String,
    sink: &dyn Sink,
    progress: &dyn Progress,
) -> Result<Emitted> {
    let size = overlay.len();
    fresh::check_size(size)?;
    let vhd = overlay.base().vhd().ok_or(Error::Delta { format: overlay.base().format() })?;
    let (id_of_parent, time_stamp) = (vhd.unique_id()?, vhd.time_stamp()?);
    let mut locators = Locators { id: id_of_parent, time_stamp, paths: vec![path], path_at: fresh::TABLE_AT };
    let path = locators.path_bytes();
    locators.path_at = fresh::TABLE_AT;
    let table_at = fresh::TABLE_AT.saturating_add((path.len() as u64).next_multiple_of(SECTOR));
    let mut blocks = Blocks::new(size, table_at)?;
    let mut hash = Contents::new(size, &id_of_parent);
    for (block, pieces) in by_block(groups, fresh::BLOCK_BYTES) {
        let block_at = blocks.place(block)?;
        let mut bitmap = [0u8; 512];
        for piece in &pieces {
            // The last group of a disk may reach behind its end: what lies there in the block is zero.
            let first = piece.offset.saturating_sub(block) / GROUP_BYTES;
            let end = piece.end().saturating_sub(block).div_ceil(GROUP_BYTES);
            for (_, byte) in (0..end).zip(&mut bitmap).filter(|(group, _)| *group >= first) {
                *byte = 0xff;
            }
        }
        sink.put(block_at, &bitmap)?;
        let data_at = block_at.saturating_add(bitmap.len() as u64);
        copy(overlay, block, data_at, &pieces, &mut hash, sink, progress)?;
    }
    let walked = hash.finish();
    let footer = fresh::footer(size, Footer::DIFFERENCING, id("vhd/delta", &walked.identity).0);
    let file_bytes = blocks.end().saturating_add(Footer::BYTES as u64);
    sink.resize(file_bytes)?;
    sink.put(0, &footer)?;
    sink.put(Footer::BYTES as u64, &fresh::header(size, table_at, Some(&locators)))?;
    sink.put(fresh::TABLE_AT, &path)?;
    sink.put(table_at, &blocks.table())?;
    sink.put(blocks.end(), &footer)?;
    Ok(Emitted::new(file_bytes, walked))
}

fn vhdx(
    overlay: &Overlay<&Image>,
    sectors: &[Extent],
    properties: DiskProperties,
    path: String,
    sink: &dyn Sink,
    progress: &dyn Progress,
) -> Result<Emitted> {
    let parent = overlay.base().vhdx().ok_or(Error::Delta { format: overlay.base().format() })?;
    let linkage = parent.data_write();
    let mut frame = Frame::new(overlay.len(), HAS_PARENT, properties)?;
    let pairs = [
        ("parent_linkage", format!("{{{linkage}}}")),
        ("parent_linkage2", "{00000000-0000-0000-0000-000000000000}".to_owned()),
        ("relative_path", path),
    ];
    frame.metadata.locator = Some(Locator::to_bytes(&pairs));
    let unit = u64::from(properties.sector);
    let chunk_bytes = frame.shape.chunk_ratio.saturating_mul(frame.metadata.block_bytes);
    let mut hash = Contents::new(overlay.len(), &linkage.0);
    let mut bitmaps: std::collections::BTreeMap<u64, Vec<u8>> = std::collections::BTreeMap::new();
    let block_bytes = frame.metadata.block_bytes;
    for (block, pieces) in by_block(sectors, block_bytes) {
        let block_at = frame.place(block.checked_div(block_bytes).unwrap_or(0), PARTLY_PRESENT)?;
        let chunk = block.checked_div(chunk_bytes).unwrap_or(0);
        let bitmap = bitmaps.entry(chunk).or_insert_with(|| vec![0; BITMAP_BYTES]);
        for piece in &pieces {
            let within = piece.offset.checked_rem(chunk_bytes).unwrap_or(0);
            let first = within.checked_div(unit).unwrap_or(0);
            let count = piece.length.checked_div(unit).unwrap_or(0);
            for sector in first..first.saturating_add(count) {
                // A bitmap knows all sectors of its chunk.
                if let Some(byte) = usize::try_from(sector / 8).ok().and_then(|byte| bitmap.get_mut(byte)) {
                    *byte |= 1 << (sector % 8);
                }
            }
        }
        copy(overlay, block, block_at, &pieces, &mut hash, sink, progress)?;
        // Blocks come in order: the bitmaps before this one are done.
        while let Some(done) = bitmaps.first_entry().filter(|done| *done.key() < chunk) {
            let (chunk, bitmap) = done.remove_entry();
            put_table(sink, frame.place_bitmap(chunk)?, &bitmap)?;
        }
    }
    for (chunk, bitmap) in bitmaps {
        put_table(sink, frame.place_bitmap(chunk)?, &bitmap)?;
    }
    frame.finish(hash.finish(), Some(linkage), sink)
}

/// Cuts sorted ranges at the ends of blocks, and groups them by block: where each begins on the disk.
fn by_block(sectors: &[Extent], block_bytes: u64) -> Vec<(u64, Vec<Extent>)> {
    let mut blocks: Vec<(u64, Vec<Extent>)> = Vec::new();
    for extent in sectors {
        let mut at = extent.offset;
        while at < extent.end() {
            let block = at.saturating_sub(at.checked_rem(block_bytes).unwrap_or(0));
            let end = extent.end().min(block.saturating_add(block_bytes));
            let piece = Extent::new(at, end.saturating_sub(at));
            match blocks.last_mut() {
                Some((last, pieces)) if *last == block => pieces.push(piece),
                _ => blocks.push((block, vec![piece])),
            }
            at = end;
        }
    }
    blocks
}

/// Copies ranges of one block to where it lies in the file.
fn copy(
    overlay: &Overlay<&Image>,
    block: u64,
    data_at: u64,
    pieces: &[Extent],
    hash: &mut Contents,
    sink: &dyn Sink,
    progress: &dyn Progress,
) -> Result<()> {
    let mut buf = vec![0; BUFFER_BYTES];
    for extent in pieces {
        for_each_piece(*extent, &mut buf, |piece, buf| {
            overlay.read_at(piece.offset, buf)?;
            hash.add(piece.offset, buf);
            progress.advance(piece.length);
            sink.put(data_at.saturating_add(piece.offset.saturating_sub(block)), buf)
        })?;
    }
    Ok(())
}

/// The identity of changes, in the making.
struct Contents(Vec<u8>);

impl Contents {
    fn new(size: u64, parent: &[u8; 16]) -> Self {
        Self([&size.to_le_bytes()[..], parent].concat())
    }

    fn add(&mut self, at: u64, bytes: &[u8]) {
        self.0.extend_from_slice(&at.to_le_bytes());
        self.0.extend_from_slice(&Digest::of(bytes).0);
        // Folded, so that it stays small however many pieces there are.
        if self.0.len() > BUFFER_BYTES {
            self.0 = Digest::of(&self.0).0.to_vec();
        }
    }

    fn finish(self) -> Walked {
        Walked { ebs_linear: String::new(), ebs_blocks: 0, identity: Digest::of(&self.0) }
    }
}
