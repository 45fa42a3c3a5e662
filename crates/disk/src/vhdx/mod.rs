//! VHDX: disks of Hyper-V since Windows Server 2012, fixed, dynamic and differencing.
//!
//! A file that its last writer left with a log is read as it would be after a replay, which happens in memory. A block
//! that is not stored is zero, or the parent's if the disk is differencing. Nothing here writes into a file; new ones
//! are made by `emit` from the structures in [`layout`].

#[cfg(test)]
mod hostile;
pub(super) mod layout;
mod locator;
mod log;
mod table;

pub(super) use locator::Locator;
pub(super) use table::Shape;

use super::parent::{Identity, Link, OpenParent, Parent};
use super::pieces::{self, on_disk, own_sectors};
use super::{Error, Raw, Result};
use coldforge_base::device::check_range;
use coldforge_base::guid::Guid;
use coldforge_base::{Extent, ReadAt, device, read};
use layout::{FILE_SIGNATURE, FIXED, HEADER_BYTES, HEADERS_AT, Header, METADATA_TABLE_BYTES, MIB};
use layout::{Metadata, NAME, REGION_TABLE_BYTES, REGION_TABLES_AT, Regions, field, overlap, truncated};
use log::Patched;
use table::{Block, Table};

/// A VHDX, opened for reading.
#[derive(Debug)]
pub struct Vhdx {
    file: Patched,
    header: Header,
    metadata: Metadata,
    table: Table,
    shape: Shape,
    parent: Parent,
    /// Whether the first region table was damaged, so that the second was used.
    second_table: bool,
}

impl Vhdx {
    /// Opens a file that begins with a VHDX's signature.
    ///
    /// # Errors
    /// [`Error::Signature`], [`Error::Checksum`], [`Error::Field`], [`Error::Overlap`], [`Error::Unknown`],
    /// [`Error::VhdxLog`], [`Error::VhdxFragments`] for what contradicts the format; the `Parent...` errors for a
    /// differencing disk; otherwise the operating system's.
    pub(super) fn open(raw: Raw, open_parent: &mut OpenParent<'_>) -> Result<Self> {
        let mut signature = [0; 8];
        if raw.len() < MIB {
            let (structure, at, size) = ("header section", 0, raw.len());
            return Err(Error::Truncated { container: NAME, structure, at, length: MIB, size });
        }
        raw.read_at(0, &mut signature)?;
        if signature != FILE_SIGNATURE {
            return Err(Error::Signature { container: NAME, structure: "file identifier", at: 0 });
        }
        let header = open_header(&raw)?;
        let file = Patched::open(raw, &header)?;
        let (regions, second_table) = open_regions(&file)?;
        let (bat, metadata_region, taken) = check_regions(&file, &header, regions)?;
        let metadata = open_metadata(&file, metadata_region)?;
        let shape = Shape::of(&metadata);
        let table = Table::open(&file, bat, &metadata, taken)?;
        if let Some(block) = table.without_bitmap(shape.chunk_ratio) {
            return Err(field("block table", bat.offset, "missing bitmap for block", block));
        }
        let parent = match &metadata.locator {
            None => Parent::default(),
            Some(locator) => open_parent(file.raw(), parent_link(locator, metadata.logical_sector)?)?,
        };
        Ok(Self { file, header, metadata, table, shape, parent, second_table })
    }

    /// Tells whether all blocks are meant to be stored.
    pub(super) fn is_fixed(&self) -> bool {
        self.metadata.flags & FIXED != 0
    }

    /// Returns the container file.
    pub(super) fn raw(&self) -> &Raw {
        self.file.raw()
    }

    /// Returns the bytes of a logical sector and of a physical one.
    pub(super) fn sectors(&self) -> (u32, u32) {
        (self.metadata.logical_sector, self.metadata.physical_sector)
    }

    /// Returns what identifies the disk to its machine, as page 83 of its SCSI inquiry data.
    pub(super) fn disk_id(&self) -> Guid {
        self.metadata.disk_id
    }

    /// Returns what identifies the state of the disk's contents to children.
    pub(super) fn data_write(&self) -> Guid {
        self.header.data_write
    }

    /// Returns the bytes of a block, and how many blocks are stored.
    pub(super) fn blocks(&self) -> (u64, u64) {
        (self.metadata.block_bytes, self.table.stored())
    }

    /// Returns what is noteworthy about the container's health.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.has_log() {
            notes.push(format!("the log is not empty: {} entries are replayed in memory", self.file.replayed()));
        }
        if self.second_table {
            notes.push("the first region table is damaged; the second one is used".to_owned());
        }
        notes
    }

    /// Tells whether the file's log is not empty.
    pub(super) fn has_log(&self) -> bool {
        self.header.log != Guid::NIL
    }

    fn split(&self, at: u64) -> (u64, u64) {
        let block = self.metadata.block_bytes.max(1);
        (at.checked_div(block).unwrap_or(0), at.checked_rem(block).unwrap_or(0))
    }

    /// Reads a range of a partially present block: its own sectors from the file, the others from the parent.
    fn read_partial(&self, at: u64, file_at: u64, buf: &mut [u8]) -> Result<()> {
        let sector_bytes = u64::from(self.metadata.logical_sector);
        let chunk_bytes = self.shape.chunk_ratio.saturating_mul(self.metadata.block_bytes);
        let chunk = at.checked_div(chunk_bytes).unwrap_or(0);
        let bitmap_at = self.table.bitmap(chunk);
        let bitmap_at = bitmap_at.ok_or_else(|| field("block table", 0, "missing bitmap of chunk", chunk))?;
        let sector_of = |at: u64| at.checked_rem(chunk_bytes).unwrap_or(0).checked_div(sector_bytes).unwrap_or(0);
        let last = at.saturating_add(buf.len() as u64).saturating_sub(1);
        let (first_byte, last_byte) = (sector_of(at) / 8, sector_of(last) / 8);
        // A block of 256 MiB has 64 KiB of bits.
        let length = last_byte.saturating_sub(first_byte).saturating_add(1);
        let mut bits = vec![0; read::size(length)];
        self.file.read_at(bitmap_at.saturating_add(first_byte), &mut bits)?;
        let is_own = |at: u64| {
            let sector = sector_of(at).saturating_sub(first_byte.saturating_mul(8));
            let byte = usize::try_from(sector / 8).ok().and_then(|byte| bits.get(byte).copied()).unwrap_or(0);
            byte >> (sector % 8) & 1 == 1
        };
        let end = at.saturating_add(buf.len() as u64);
        let find = |at: u64| Ok(own_sectors(at, end.saturating_sub(at), sector_bytes, is_own));
        pieces::fill(at, buf, find, |own, place, piece| {
            if own {
                self.file.read_at(file_at.saturating_add(place.saturating_sub(at)), piece)
            } else {
                self.parent.read(place, piece)
            }
        })
    }
}

impl ReadAt for Vhdx {
    fn len(&self) -> u64 {
        self.metadata.disk_bytes
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.len())?;
        let find = |at| {
            let (index, within) = self.split(at);
            Ok(((self.table.block(index).0, within), self.metadata.block_bytes.saturating_sub(within)))
        };
        Ok(pieces::fill(at, buf, find, |(block, within), at, piece| match block {
            Block::Absent => self.parent.read(at, piece),
            Block::Zero => {
                piece.fill(0);
                Ok(())
            }
            Block::Present(block_at) => self.file.read_at(block_at.saturating_add(within), piece),
            Block::Partial(block_at) => self.read_partial(at, block_at.saturating_add(within), piece),
        })?)
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        let size = self.len();
        Ok(pieces::next_data(from, size, |at| {
            let (index, within) = self.split(at);
            let (block, count) = self.table.block(index);
            let run_bytes = count.saturating_mul(self.metadata.block_bytes).saturating_sub(within);
            let end = at.saturating_add(run_bytes.max(1)).min(size);
            let data = match block {
                Block::Absent => self.parent.next_data(at, end)?,
                Block::Zero => None,
                Block::Present(block_at) => {
                    let file_at = block_at.saturating_add(within);
                    let file_end = file_at.saturating_add(end.saturating_sub(at));
                    self.file.next_data(file_at, file_end)?.map(|data| on_disk(at, file_at, data))
                }
                Block::Partial(_) => Some(Extent::new(at, end.saturating_sub(at))),
            };
            Ok((end, data))
        })?)
    }
}

/// Returns the current one of the two headers.
fn open_header(raw: &Raw) -> Result<Header> {
    let read = |at| {
        let mut bytes = vec![0; HEADER_BYTES];
        raw.read_at(at, &mut bytes)?;
        Ok::<_, Error>(Header::parse(&bytes).map(|header| (header, bytes)))
    };
    let [first, second] = HEADERS_AT;
    let header = match (read(first)?, read(second)?) {
        (None, None) => {
            return Err(Error::Signature { container: NAME, structure: "valid header", at: first });
        }
        (Some((header, _)), None) | (None, Some((header, _))) => header,
        (Some((one, a)), Some((other, b))) => {
            if one.sequence == other.sequence && a != b {
                return Err(field("second header, unlike the first, with the same", second, "sequence", one.sequence));
            }
            if one.sequence > other.sequence { one } else { other }
        }
    };
    if header.version != 1 {
        return Err(field("header", first, "version", header.version.into()));
    }
    Ok(header)
}

/// Returns the regions, and whether the first table was damaged.
fn open_regions(file: &Patched) -> Result<(Regions, bool)> {
    let read = |at| {
        let mut bytes = vec![0; REGION_TABLE_BYTES];
        file.read_at(at, &mut bytes)?;
        Regions::parse(&bytes, at)
    };
    let [first, second] = REGION_TABLES_AT;
    match (read(first)?, read(second)?) {
        (Some(one), Some(other)) if one != other => {
            Err(field("second region table, unlike the first,", second, "place", second))
        }
        (Some(regions), _) => Ok((regions, false)),
        (None, Some(regions)) => Ok((regions, true)),
        (None, None) => Err(Error::Signature { container: NAME, structure: "valid region table", at: first }),
    }
}

/// Returns the places of the block table and of the metadata, and all ranges of the file that structures take; checks
/// that they lie in the file and apart.
fn check_regions(file: &Patched, header: &Header, regions: Regions) -> Result<(Extent, Extent, Vec<Extent>)> {
    let region = |region: Option<Extent>, name| {
        let region = region.ok_or_else(|| field("region table", REGION_TABLES_AT[0], name, 0))?;
        if region.end() <= file.len() { Ok(region) } else { Err(truncated(name, region, file.len())) }
    };
    let bat = region(regions.bat, "missing block table region,")?;
    let metadata_region = region(regions.metadata, "missing metadata region,")?;
    let mut taken = vec![Extent::new(0, MIB), bat, metadata_region];
    taken.extend(regions.others);
    if header.log_length > 0 {
        let log = header.log_extent();
        if !log.offset.is_multiple_of(MIB) || !log.length.is_multiple_of(MIB) || log.offset < MIB {
            return Err(field("header", HEADERS_AT[0], "log offset or length", log.offset));
        }
        taken.push(log);
    }
    if let Some(at) = overlap(taken.clone()) {
        return Err(Error::Overlap { container: NAME, at });
    }
    Ok((bat, metadata_region, taken))
}

/// Reads the metadata table and its items.
fn open_metadata(file: &Patched, region: Extent) -> Result<Metadata> {
    let mut table = vec![0; METADATA_TABLE_BYTES];
    file.read_at(region.offset, &mut table)?;
    Metadata::parse(&table, region, |at, length| {
        let mut bytes = vec![0; length];
        file.read_at(region.offset.saturating_add(at), &mut bytes)?;
        Ok(bytes)
    })
}

/// Returns what a parent locator says of the parent of a disk with logical sectors of so many bytes.
fn parent_link(locator: &[u8], logical_sector: u32) -> Result<Link> {
    let locator = Locator::parse(locator).ok_or_else(|| field("parent locator", 0, "layout", 0))?;
    let values = |keys: &[&str]| keys.iter().filter_map(|key| locator.get(key)).map(str::to_owned).collect();
    let linkages = values(&["parent_linkage", "parent_linkage2"]);
    let paths = values(&["relative_path", "volume_path", "absolute_win32_path"]);
    Ok(Link { paths, identity: Identity::Vhdx { linkages, logical_sector } })
}
