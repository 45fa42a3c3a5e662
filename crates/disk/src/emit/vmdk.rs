//! VMDK: `streamOptimized`, deflated grains in order, each table behind its grains, directory and footer at the end.

use super::super::pieces::is_zero;
use super::super::vmdk::layout::{
    AT_END, COMPRESSED, DEFLATE, Header, MARKERS, Marker, NEWLINE_TEST, NEWLINES, SECTOR, TABLE_ENTRIES, marker,
};
use super::super::{Error, Result};
use super::deflate::deflate;
use super::sink::{Emitted, Sink, id};
use super::walk::walk;
use coldforge_base::progress::Progress;
use coldforge_base::{ReadAt, read};

const GRAIN_SECTORS: u64 = 128;
const GRAIN_BYTES: usize = 64 << 10;
const _: () = assert!(GRAIN_SECTORS * SECTOR == GRAIN_BYTES as u64);
/// Where the descriptor lies, in sectors, and its room.
const DESCRIPTOR_AT: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
/// Where the first grain lies, in sectors.
const OVERHEAD: u64 = 128;
/// Tables and grains are found by 32-bit sector numbers.
const LARGEST_DISK_BYTES: u64 = 2 << 40;

pub(super) fn emit(device: &dyn ReadAt, sink: &dyn Sink, progress: &dyn Progress) -> Result<Emitted> {
    let size = device.len();
    if size > LARGEST_DISK_BYTES {
        return Err(Error::TooLarge { container: "VMDK", size, limit: LARGEST_DISK_BYTES });
    }
    if size == 0 || !size.is_multiple_of(SECTOR) {
        return Err(Error::OddSize { size, unit: SECTOR });
    }
    let capacity = size / SECTOR;
    let tables = capacity.div_ceil(GRAIN_SECTORS).div_ceil(TABLE_ENTRIES);
    // At most 64 Ki tables.
    let directory = vec![0; read::size(tables)];
    let mut stream = Stream { sink, at: OVERHEAD, directory, table: None };
    let walked = walk(device, Some(pack), progress, |piece| {
        piece
            .packed
            .iter()
            .try_for_each(|(within, packed)| stream.grain(piece.at.saturating_add(*within as u64) / SECTOR, packed))
    })?;
    stream.close_table()?;
    let directory: Vec<u8> = stream.directory.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let directory_sectors = (directory.len() as u64).div_ceil(SECTOR);
    stream.put(&marker(Marker::Directory, directory_sectors))?;
    let directory_at = stream.at;
    stream.put(&directory)?;
    let header = Header {
        version: 3,
        flags: NEWLINE_TEST | COMPRESSED | MARKERS,
        capacity,
        grain_sectors: GRAIN_SECTORS,
        descriptor_at: DESCRIPTOR_AT,
        descriptor_sectors: DESCRIPTOR_SECTORS,
        table_entries: u32::try_from(TABLE_ENTRIES).expect("512"),
        directory_at: AT_END,
        overhead: OVERHEAD,
        newlines: NEWLINES,
        compression: DEFLATE,
    };
    stream.put(&marker(Marker::Footer, 1))?;
    stream.put(&Header { directory_at, ..header }.to_bytes())?;
    stream.put(&marker(Marker::EndOfStream, 0))?;
    let file_bytes = stream.at.saturating_mul(SECTOR);
    sink.resize(file_bytes)?;
    sink.put(0, &header.to_bytes())?;
    sink.put(DESCRIPTOR_AT.saturating_mul(SECTOR), descriptor(capacity, id("vmdk", &walked.identity).0).as_bytes())?;
    Ok(Emitted::new(file_bytes, walked))
}

/// Deflates the grains of a piece that are not all zero, each padded to its full length.
fn pack(piece: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let grains = piece.chunks(GRAIN_BYTES).enumerate().filter(|(_, grain)| !is_zero(grain));
    grains
        .map(|(i, grain)| {
            let packed = if grain.len() == GRAIN_BYTES {
                deflate(grain)
            } else {
                let mut padded = grain.to_vec();
                padded.resize(GRAIN_BYTES, 0);
                deflate(&padded)
            };
            (i.saturating_mul(GRAIN_BYTES), packed)
        })
        .collect()
}

/// The file in the making, in sectors.
struct Stream<'a> {
    sink: &'a dyn Sink,
    at: u64,
    directory: Vec<u32>,
    /// The table that is being filled, and its number.
    table: Option<(usize, Vec<u32>)>,
}

impl Stream<'_> {
    /// Appends bytes, and goes on at the next sector.
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.put(self.at.saturating_mul(SECTOR), bytes)?;
        self.at = self.at.saturating_add((bytes.len() as u64).div_ceil(SECTOR));
        Ok(())
    }

    /// Returns the sector where the next bytes go, as the tables say it.
    fn place(&self) -> Result<u32> {
        u32::try_from(self.at).map_err(|_| {
            let size = self.at.saturating_mul(SECTOR);
            Error::TooLarge { container: "VMDK", size, limit: LARGEST_DISK_BYTES }
        })
    }

    /// Appends the grain that begins at a sector of the disk.
    fn grain(&mut self, sector: u64, packed: &[u8]) -> Result<()> {
        let grain = sector / GRAIN_SECTORS;
        let table = read::size(grain / TABLE_ENTRIES);
        if self.table.as_ref().is_some_and(|(open, _)| *open != table) {
            self.close_table()?;
        }
        let place = self.place()?;
        let (_, entries) = self.table.get_or_insert_with(|| (table, vec![0; 512]));
        let entry = usize::try_from(grain % TABLE_ENTRIES).ok().and_then(|index| entries.get_mut(index));
        let size = sector.saturating_mul(SECTOR);
        let too_large = || Error::TooLarge { container: "VMDK", size, limit: LARGEST_DISK_BYTES };
        *entry.ok_or_else(too_large)? = place;
        let length = u32::try_from(packed.len()).map_err(|_| too_large())?;
        self.put(&[&sector.to_le_bytes()[..], &length.to_le_bytes(), packed].concat())
    }

    fn close_table(&mut self) -> Result<()> {
        if let Some((index, entries)) = self.table.take() {
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            self.put(&marker(Marker::Table, (bytes.len() as u64).div_ceil(SECTOR)))?;
            let place = self.place()?;
            let size =
                (index as u64).saturating_mul(TABLE_ENTRIES).saturating_mul(GRAIN_SECTORS).saturating_mul(SECTOR);
            let too_large = Error::TooLarge { container: "VMDK", size, limit: LARGEST_DISK_BYTES };
            *self.directory.get_mut(index).ok_or(too_large)? = place;
            self.put(&bytes)?;
        }
        Ok(())
    }
}

fn descriptor(capacity: u64, id: [u8; 16]) -> String {
    let [a, b, c, d, ..] = id;
    // All ones would mean: no content.
    let content = u32::from_le_bytes([a, b, c, d]) & 0x7fff_ffff;
    let cylinders = (capacity / (255 * 63)).clamp(1, 65_535);
    format!(
        "# Disk DescriptorFile\nversion=1\nCID={content:08x}\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\n\
         # Extent description\nRDONLY {capacity} SPARSE \"disk.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n\
         ddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"255\"\n\
         ddb.geometry.sectors = \"63\"\nddb.virtualHWVersion = \"10\"\n"
    )
}
