//! A sparse extent: grains that a directory and its tables find, as they are or deflated.
//!
//! Tables are read when they are needed and not kept; of inflated grains the last few are. Where the directory lies is
//! said in the header, or in streamed files in a footer at the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::super::pieces;
use super::super::{Error, Raw, Result};
use super::layout::{AT_END, COMPRESSED, DEFLATE, Header, NEWLINE_TEST, NEWLINES, SECTOR, SECTOR_BYTES};
use super::layout::{LARGEST_DISK_BYTES, NAME, TABLE_BYTES, TABLE_ENTRIES, ZEROED_GRAINS, field};
use coldforge_base::{Extent, ReadAt as _, read};

/// Grains of 4 KiB to 1 MiB; 64 KiB is what everybody makes.
const GRAIN_SECTORS: std::ops::RangeInclusive<u64> = 8..=2048;
/// How many inflated grains are kept.
const KEPT: usize = 32;

/// A sparse extent of a VMDK, opened for reading.
#[derive(Debug)]
pub struct Sparse {
    raw: Raw,
    header: Header,
    /// Sector of each grain table; 0 if there is none.
    directory: Vec<u32>,
    kept: Mutex<VecDeque<(u64, Arc<Vec<u8>>)>>,
}

/// Where a grain is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Grain {
    Hole,
    /// First byte of the file.
    At(u64),
}

impl Sparse {
    /// Opens a file that begins with a sparse header.
    pub fn open(raw: Raw) -> Result<Self> {
        let mut header = read_header(&raw, 0)?;
        check(&header)?;
        if header.directory_at == AT_END {
            let at = raw.len().saturating_sub(2 * SECTOR);
            let footer = read_header(&raw, at)?;
            if (Header { directory_at: AT_END, ..footer }) != header || footer.directory_at == AT_END {
                return Err(field("footer, unlike the header,", at, "directory", footer.directory_at));
            }
            let end = raw.len().saturating_sub(SECTOR);
            let mut last = [0; SECTOR_BYTES];
            raw.read_at(end, &mut last)?;
            if last != [0; SECTOR_BYTES] {
                return Err(Error::Signature { container: NAME, structure: "end-of-stream marker", at: end });
            }
            header = footer;
        }
        let tables = header.capacity.div_ceil(header.grain_sectors.max(1)).div_ceil(TABLE_ENTRIES);
        let (at, length) = (header.directory_at.checked_mul(SECTOR), tables.saturating_mul(4));
        let at = at.filter(|at| *at >= SECTOR && at.checked_add(length).is_some_and(|end| end <= raw.len()));
        let at = at.ok_or_else(|| field("header", 0, "directory offset", header.directory_at))?;
        // At most 64 TiB / 4 KiB grains / 512 entries of four bytes, and all of them lie in the file.
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| field("header", 0, "capacity", header.capacity))?];
        raw.read_at(at, &mut bytes)?;
        let directory: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_le_bytes(*entry)).collect();
        for table in directory.iter().filter(|table| **table != 0) {
            let table_at = u64::from(*table).saturating_mul(SECTOR);
            if table_at.saturating_add(TABLE_BYTES) > raw.len() {
                return Err(field("directory", at, "grain table offset", (*table).into()));
            }
        }
        Ok(Self { raw, header, directory, kept: Mutex::default() })
    }

    /// Returns the file.
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Returns the size of the extent in bytes.
    pub fn len(&self) -> u64 {
        self.header.capacity.saturating_mul(SECTOR)
    }

    /// Returns where the embedded descriptor lies.
    pub fn descriptor(&self) -> Option<Extent> {
        let (at, sectors) = (self.header.descriptor_at, self.header.descriptor_sectors);
        (at != 0 && sectors != 0).then(|| Extent::new(at.saturating_mul(SECTOR), sectors.saturating_mul(SECTOR)))
    }

    /// Returns the bytes of a grain.
    pub fn grain_bytes(&self) -> u64 {
        self.header.grain_sectors.saturating_mul(SECTOR)
    }

    fn is_compressed(&self) -> bool {
        self.header.flags & COMPRESSED != 0
    }

    /// Reads the entries of the table that knows a grain.
    fn table(&self, grain: u64) -> Result<Option<Vec<u32>>> {
        let table = usize::try_from(grain / TABLE_ENTRIES).ok().and_then(|index| self.directory.get(index));
        let Some(table) = table.copied().filter(|table| *table != 0) else { return Ok(None) };
        let mut bytes = vec![0; read::size(TABLE_BYTES)];
        self.raw.read_at(u64::from(table).saturating_mul(SECTOR), &mut bytes)?;
        Ok(Some(bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_le_bytes(*entry)).collect()))
    }

    fn place(&self, grain: u64, entry: u32) -> Result<Grain> {
        let at = u64::from(entry).saturating_mul(SECTOR);
        let length = if self.is_compressed() { SECTOR } else { self.grain_bytes() };
        let inside = at.checked_add(length).is_some_and(|end| end <= self.raw.len());
        match entry {
            0 => Ok(Grain::Hole),
            1 if self.header.flags & ZEROED_GRAINS != 0 => Ok(Grain::Hole),
            // Not even the descriptor may be taken for data.
            _ if inside && at >= self.descriptor().map_or(SECTOR, Extent::end) => Ok(Grain::At(at)),
            _ => Err(field("grain table", grain, "grain offset", entry.into())),
        }
    }

    fn grain(&self, grain: u64) -> Result<Grain> {
        let entry = match self.table(grain)? {
            None => 0,
            Some(table) => {
                let index = read::size(grain % TABLE_ENTRIES);
                table.get(index).copied().unwrap_or(0)
            }
        };
        self.place(grain, entry)
    }

    /// Fills `buf` with bytes that lie in one grain, `within` from its beginning.
    fn read_grain(&self, grain: u64, within: u64, buf: &mut [u8]) -> Result<()> {
        match self.grain(grain)? {
            Grain::Hole => buf.fill(0),
            Grain::At(at) if self.is_compressed() => {
                let bytes = self.inflate(grain, at)?;
                let from = read::size(within);
                let there = bytes.get(from..).unwrap_or_default();
                let (filled, behind) = buf.split_at_mut(there.len().min(buf.len()));
                filled.copy_from_slice(there.get(..filled.len()).unwrap_or_default());
                // A short grain was checked to reach the end of the disk.
                behind.fill(0);
            }
            Grain::At(at) => self.raw.read_at(at.saturating_add(within), buf)?,
        }
        Ok(())
    }

    fn inflate(&self, grain: u64, at: u64) -> Result<Arc<Vec<u8>>> {
        if let Ok(kept) = self.kept.lock()
            && let Some((_, bytes)) = kept.iter().find(|(kept, _)| *kept == grain)
        {
            return Ok(Arc::clone(bytes));
        }
        let mut head = [0; 12];
        self.raw.read_at(at, &mut head)?;
        let (sector, length) = (read::u64_le(&head, 0).unwrap_or(0), read::u32_le(&head, 8).unwrap_or(0));
        if sector != grain.saturating_mul(self.header.grain_sectors) {
            return Err(field("grain marker, which names another grain,", at, "sector", sector));
        }
        let grain_bytes = read::size(self.grain_bytes());
        // What does not deflate grows a little.
        let limit = grain_bytes.saturating_add(grain_bytes / 8).saturating_add(4096);
        let length = usize::try_from(length).ok().filter(|length| (1..=limit).contains(length));
        let length =
            length.ok_or_else(|| field("grain marker", at, "length", read::u32_le(&head, 8).unwrap_or(0).into()))?;
        let mut packed = vec![0; length];
        if at.saturating_add(12).saturating_add(length as u64) > self.raw.len() {
            let (structure, length, size) = ("grain", length as u64, self.raw.len());
            return Err(Error::Truncated { container: NAME, structure, at, length, size });
        }
        self.raw.read_at(at.saturating_add(12), &mut packed)?;
        let bytes = decompress_to_vec_zlib_with_limit(&packed, grain_bytes);
        let bytes = bytes.map_err(|_| field("grain, which does not inflate,", at, "length", length as u64))?;
        let left = self.len().saturating_sub(grain.saturating_mul(self.grain_bytes()));
        if (bytes.len() as u64) < left.min(self.grain_bytes()) {
            return Err(field("grain, which is too short,", at, "inflated length", bytes.len() as u64));
        }
        let bytes = Arc::new(bytes);
        if let Ok(mut kept) = self.kept.lock() {
            kept.push_back((grain, Arc::clone(&bytes)));
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
        Ok(bytes)
    }

    /// Fills `buf`, whose range lies inside the extent.
    pub fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        let grain_bytes = self.grain_bytes();
        let find = |at: u64| {
            let within = at.checked_rem(grain_bytes).unwrap_or(0);
            let grain = at.checked_div(grain_bytes).unwrap_or(0);
            Ok(((grain, within), grain_bytes.saturating_sub(within)))
        };
        pieces::fill(at, buf, find, |(grain, within), _, piece| self.read_grain(grain, within, piece))
    }

    /// Returns the first extent at or after `from` that may hold anything but zeros.
    pub fn next_data(&self, from: u64) -> Result<Option<Extent>> {
        let grain_bytes = self.grain_bytes();
        let mut grain = from.checked_div(grain_bytes).unwrap_or(0);
        let grains = self.len().div_ceil(grain_bytes.max(1));
        // Each round passes a table, of which the directory knows a bounded number.
        while grain < grains {
            let next_table = (grain / TABLE_ENTRIES).saturating_add(1).saturating_mul(TABLE_ENTRIES).min(grains);
            if let Some(table) = self.table(grain)? {
                let skipped = read::size(grain % TABLE_ENTRIES);
                let mut found: Option<u64> = None;
                for (index, entry) in (grain..next_table).zip(table.iter().skip(skipped)) {
                    match (self.place(index, *entry)?, found) {
                        (Grain::At(_), None) => found = Some(index),
                        (Grain::Hole, Some(first)) => return Ok(Some(self.extent(first, index, from))),
                        _ => {}
                    }
                }
                if let Some(first) = found {
                    return Ok(Some(self.extent(first, next_table, from)));
                }
            }
            grain = next_table;
        }
        Ok(None)
    }

    /// Returns the bytes of some grains from `from` on.
    fn extent(&self, first: u64, end: u64, from: u64) -> Extent {
        let start = first.saturating_mul(self.grain_bytes()).max(from);
        let end = end.saturating_mul(self.grain_bytes()).min(self.len());
        Extent::new(start, end.saturating_sub(start))
    }
}

fn read_header(raw: &Raw, at: u64) -> Result<Header> {
    let mut bytes = [0; SECTOR_BYTES];
    if raw.len() < at.saturating_add(SECTOR) {
        let (structure, length, size) = ("header", SECTOR, raw.len());
        return Err(Error::Truncated { container: NAME, structure, at, length, size });
    }
    raw.read_at(at, &mut bytes)?;
    Header::parse(&bytes).ok_or(Error::Signature { container: NAME, structure: "sparse header", at })
}

fn check(header: &Header) -> Result<()> {
    let bad = |name, actual| Err(field("header", 0, name, actual));
    if !(1..=3).contains(&header.version) {
        return bad("version", header.version.into());
    }
    if header.flags & NEWLINE_TEST != 0 && header.newlines != NEWLINES {
        return bad("line ends, changed by a transfer as text,", u32::from_le_bytes(header.newlines).into());
    }
    if header.capacity == 0 || header.capacity > LARGEST_DISK_BYTES / SECTOR {
        return bad("capacity", header.capacity);
    }
    if !header.grain_sectors.is_power_of_two() || !GRAIN_SECTORS.contains(&header.grain_sectors) {
        return bad("grain size", header.grain_sectors);
    }
    if u64::from(header.table_entries) != TABLE_ENTRIES {
        return bad("number of table entries", header.table_entries.into());
    }
    match (header.flags & COMPRESSED != 0, header.compression) {
        (true, DEFLATE) | (false, 0) => Ok(()),
        (_, other) => bad("compression", other.into()),
    }
}
