//! The structures in the first megabyte of a VHDX and in its metadata region, as Microsoft's "VHDX Format
//! Specification" (MS-VHDX 2.2 to 2.6) names them. All numbers are little-endian.
//!
//! Parsing here checks what a structure says of itself (signature, checksum, version, bounds); whether structures fit
//! together is the reader's business.

use super::super::{Error, Result};
use coldforge_base::crc32c::crc32c_of;
use coldforge_base::guid::Guid;
use coldforge_base::{Extent, read};

/// The container's name in errors.
pub const NAME: &str = "VHDX";

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;

/// The first bytes of the file.
pub const FILE_SIGNATURE: [u8; 8] = *b"vhdxfile";
/// Where the two headers lie.
pub const HEADERS_AT: [u64; 2] = [64 * KIB, 128 * KIB];
pub const HEADER_BYTES: usize = 4096;
/// Where the two region tables lie.
pub const REGION_TABLES_AT: [u64; 2] = [192 * KIB, 256 * KIB];
pub const REGION_TABLE_BYTES: usize = 64 << 10;
/// Everything behind the first megabyte lies at multiples of it.
pub const ALIGNMENT: u64 = MIB;
/// A table of either kind has at most this many entries.
const ENTRIES_MAX: u32 = 2047;
/// The metadata table fills the beginning of its region; items lie behind it.
pub const METADATA_TABLE_BYTES: usize = 64 << 10;
/// No metadata item is longer.
const ITEM_BYTES_MAX: u32 = 1 << 20;

pub const BAT_REGION: Guid = Guid::new(0x2dc2_7766, 0xf623, 0x4200, [0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08]);
pub const METADATA_REGION: Guid =
    Guid::new(0x8b7c_a206, 0x4790, 0x4b9a, [0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e]);
pub const FILE_PARAMETERS: Guid =
    Guid::new(0xcaa1_6737, 0xfa36, 0x4d43, [0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b]);
pub const DISK_SIZE: Guid = Guid::new(0x2fa5_4224, 0xcd1b, 0x4876, [0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8]);
pub const DISK_ID: Guid = Guid::new(0xbeca_12ab, 0xb2e6, 0x4523, [0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46]);
pub const LOGICAL_SECTOR: Guid =
    Guid::new(0x8141_bf1d, 0xa96f, 0x4709, [0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f]);
pub const PHYSICAL_SECTOR: Guid =
    Guid::new(0xcda3_48c7, 0x445d, 0x4471, [0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56]);
pub const PARENT_LOCATOR: Guid =
    Guid::new(0xa8d3_5f2d, 0xb30b, 0x454d, [0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c]);
pub const VHDX_LOCATOR: Guid = Guid::new(0xb04a_efb7, 0xd19e, 0x4a81, [0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13]);

/// Largest disk: 64 TiB.
pub const LARGEST_DISK_BYTES: u64 = 64 << 40;
pub const SMALLEST_BLOCK_BYTES: u64 = MIB;
pub const LARGEST_BLOCK_BYTES: u64 = 256 * MIB;

/// "leave blocks allocated": the disk is of fixed size.
pub const FIXED: u32 = 1;
pub const HAS_PARENT: u32 = 2;

/// "VHDX Header" (MS-VHDX 2.2.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    pub sequence: u64,
    pub file_write: Guid,
    pub data_write: Guid,
    pub log: Guid,
    pub log_version: u16,
    pub version: u16,
    pub log_length: u32,
    pub log_at: u64,
}

impl Header {
    /// Reads a header; `None` if signature or checksum are not right, which is the state of the one that was being
    /// written when the power went.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let stored = read::u32_le(bytes, 4).ok()?;
        if !bytes.starts_with(b"head") || checksum(bytes) != stored {
            return None;
        }
        let guid = |at| read::array(bytes, at).map(Guid).ok();
        Some(Self {
            sequence: read::u64_le(bytes, 8).ok()?,
            file_write: guid(16)?,
            data_write: guid(32)?,
            log: guid(48)?,
            log_version: read::u16_le(bytes, 64).ok()?,
            version: read::u16_le(bytes, 66).ok()?,
            log_length: read::u32_le(bytes, 68).ok()?,
            log_at: read::u64_le(bytes, 72).ok()?,
        })
    }

    /// Returns the header's bytes with the right checksum.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = [
            &b"head\0\0\0\0"[..],
            &self.sequence.to_le_bytes(),
            &self.file_write.0,
            &self.data_write.0,
            &self.log.0,
            &self.log_version.to_le_bytes(),
            &self.version.to_le_bytes(),
            &self.log_length.to_le_bytes(),
            &self.log_at.to_le_bytes(),
        ]
        .concat();
        bytes.resize(HEADER_BYTES, 0);
        seal(&mut bytes);
        bytes
    }

    /// Returns where the log lies.
    pub fn log_extent(&self) -> Extent {
        Extent::new(self.log_at, self.log_length.into())
    }
}

/// Returns the CRC-32C of a structure with its own field, the second four bytes, taken as zero.
pub fn checksum(bytes: &[u8]) -> u32 {
    let signature = bytes.get(..4).unwrap_or_default();
    let rest = bytes.get(8..).unwrap_or_default();
    crc32c_of(&[signature, &[0; 4], rest])
}

/// Writes a structure's checksum into its field.
pub fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    read::put_u32_le(bytes, 4, sum).expect("a structure is longer than its checksum");
}

/// The regions that are known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Regions {
    pub bat: Option<Extent>,
    pub metadata: Option<Extent>,
    /// Optional ones that nobody here knows; they are kept clear of.
    pub others: Vec<Extent>,
}

impl Regions {
    /// Reads a region table ("Region Table", MS-VHDX 2.2.3); `None` if signature or checksum are not right.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a required region that is not known, [`Error::Field`] for what cannot be.
    pub fn parse(bytes: &[u8], at: u64) -> Result<Option<Self>> {
        let stored = read::u32_le(bytes, 4).unwrap_or(0);
        if !bytes.starts_with(b"regi") || checksum(bytes) != stored {
            return Ok(None);
        }
        let bad = |name, actual| field("region table", at, name, actual);
        let count = read::u32_le(bytes, 8).unwrap_or(u32::MAX);
        if count > ENTRIES_MAX {
            return Err(bad("number of entries", count.into()));
        }
        let mut regions = Self::default();
        let mut seen = Vec::new();
        for entry in bytes.get(16..).unwrap_or_default().chunks_exact(32).take(count as usize) {
            let entry = Entry::region(entry).ok_or_else(|| bad("entry", 0))?;
            let extent = entry.extent;
            if seen.contains(&entry.guid) {
                return Err(bad("region that is named twice, at", extent.offset));
            }
            seen.push(entry.guid);
            let aligned = extent.offset.is_multiple_of(ALIGNMENT) && extent.length.is_multiple_of(ALIGNMENT);
            if !aligned || extent.offset < ALIGNMENT || extent.length == 0 {
                return Err(bad("region offset or length", extent.offset));
            }
            match entry.guid {
                BAT_REGION => regions.bat = Some(extent),
                METADATA_REGION => regions.metadata = Some(extent),
                _ if entry.flags & 1 == 1 => return Err(unknown("region", entry.guid)),
                _ => regions.others.push(extent),
            }
        }
        Ok(Some(regions))
    }

    /// Returns the bytes of a region table.
    pub fn to_bytes(&self) -> Vec<u8> {
        let known = [(BAT_REGION, self.bat), (METADATA_REGION, self.metadata)];
        let entries: Vec<_> = known.into_iter().filter_map(|(guid, extent)| Some((guid, extent?))).collect();
        let mut bytes = b"regi\0\0\0\0".to_vec();
        bytes.extend_from_slice(&(entries.len() as u64).to_le_bytes());
        for (guid, extent) in entries {
            let length = u32::try_from(extent.length).expect("a region is shorter than 4 GiB");
            bytes.extend_from_slice(&guid.0);
            bytes.extend_from_slice(&extent.offset.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&1u32.to_le_bytes());
        }
        bytes.resize(REGION_TABLE_BYTES, 0);
        seal(&mut bytes);
        bytes
    }
}

/// An entry of a region table or a metadata table.
struct Entry {
    guid: Guid,
    extent: Extent,
    flags: u32,
}

impl Entry {
    fn region(bytes: &[u8]) -> Option<Self> {
        let guid = Guid(read::array(bytes, 0).ok()?);
        let extent = Extent::new(read::u64_le(bytes, 16).ok()?, read::u32_le(bytes, 24).ok()?.into());
        Some(Self { guid, extent, flags: read::u32_le(bytes, 28).ok()? })
    }

    fn item(bytes: &[u8]) -> Option<Self> {
        let guid = Guid(read::array(bytes, 0).ok()?);
        let extent = Extent::new(read::u32_le(bytes, 16).ok()?.into(), read::u32_le(bytes, 20).ok()?.into());
        Some(Self { guid, extent, flags: read::u32_le(bytes, 24).ok()? })
    }
}

/// What the metadata say of the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata {
    pub block_bytes: u64,
    /// [`FIXED`], [`HAS_PARENT`].
    pub flags: u32,
    pub disk_bytes: u64,
    pub disk_id: Guid,
    pub logical_sector: u32,
    pub physical_sector: u32,
    /// The parent locator's bytes.
    pub locator: Option<Vec<u8>>,
}

impl Metadata {
    /// Reads the metadata ("Metadata Region", MS-VHDX 2.6) whose table is given; `item` reads an item by its place in
    /// the region.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a required item that is not known, [`Error::Field`], [`Error::Signature`] and
    /// [`Error::Overlap`] for what cannot be, otherwise what `item` answers.
    pub fn parse(table: &[u8], region: Extent, mut item: impl FnMut(u64, usize) -> Result<Vec<u8>>) -> Result<Self> {
        let at = region.offset;
        let bad = |name, actual| field("metadata", at, name, actual);
        if !table.starts_with(b"metadata") {
            return Err(Error::Signature { container: NAME, structure: "metadata table", at });
        }
        let count = read::u16_le(table, 10).unwrap_or(u16::MAX);
        if u32::from(count) > ENTRIES_MAX {
            return Err(bad("number of items", count.into()));
        }
        let mut found = std::collections::BTreeMap::new();
        let mut taken = Vec::new();
        for entry in table.get(32..).unwrap_or_default().chunks_exact(32).take(count.into()) {
            let Entry { guid, extent, flags } = Entry::item(entry).ok_or_else(|| bad("item", 0))?;
            let inside = extent.offset >= METADATA_TABLE_BYTES as u64 && extent.end() <= region.length;
            let fits = if extent.length == 0 { extent.offset == 0 } else { inside };
            if !fits || extent.length > ITEM_BYTES_MAX.into() {
                return Err(bad("item offset", extent.offset));
            }
            let known = [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR];
            let is_user = flags & 1 == 1;
            if known.contains(&guid) && !is_user {
                if found.contains_key(&guid.0) {
                    return Err(bad("item that is named twice, at", extent.offset));
                }
                let length = read::size(extent.length);
                found.insert(guid.0, item(extent.offset, length)?);
            } else if flags & 4 == 4 {
                return Err(unknown("metadata item", guid));
            }
            taken.push(extent);
        }
        if let Some(shared) = overlap(taken) {
            return Err(Error::Overlap { container: NAME, at: at.saturating_add(shared) });
        }
        let get = |guid: Guid, name| found.get(&guid.0).ok_or_else(|| bad(name, 0));
        let parameters = get(FILE_PARAMETERS, "missing file parameters,")?;
        let short = |_| bad("item length", 0);
        let metadata = Self {
            block_bytes: read::u32_le(parameters, 0).map_err(short)?.into(),
            flags: read::u32_le(parameters, 4).map_err(short)?,
            disk_bytes: read::u64_le(get(DISK_SIZE, "missing disk size,")?, 0).map_err(short)?,
            disk_id: Guid(read::array(get(DISK_ID, "missing disk id,")?, 0).map_err(short)?),
            logical_sector: read::u32_le(get(LOGICAL_SECTOR, "missing logical sector size,")?, 0).map_err(short)?,
            physical_sector: read::u32_le(get(PHYSICAL_SECTOR, "missing physical sector size,")?, 0).map_err(short)?,
            locator: found.get(&PARENT_LOCATOR.0).cloned(),
        };
        let block = metadata.block_bytes;
        if !block.is_power_of_two() || !(SMALLEST_BLOCK_BYTES..=LARGEST_BLOCK_BYTES).contains(&block) {
            return Err(bad("block size", block));
        }
        for sector in [metadata.logical_sector, metadata.physical_sector] {
            if !matches!(sector, 512 | 4096) {
                return Err(bad("sector size", sector.into()));
            }
        }
        let (size, sector) = (metadata.disk_bytes, u64::from(metadata.logical_sector));
        if size == 0 || size > LARGEST_DISK_BYTES || !size.is_multiple_of(sector) {
            return Err(bad("disk size", size));
        }
        if metadata.flags & !(FIXED | HAS_PARENT) != 0 {
            return Err(bad("file parameter flags", metadata.flags.into()));
        }
        if (metadata.flags & HAS_PARENT != 0) != metadata.locator.is_some() {
            return Err(bad("parent flag, which the parent locator contradicts,", metadata.flags.into()));
        }
        Ok(metadata)
    }

    /// Returns the bytes of a metadata region up to its last item.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parameters = (self.block_bytes | u64::from(self.flags) << 32).to_le_bytes().to_vec();
        let mut items = vec![
            (FILE_PARAMETERS, parameters, 4u32),
            (DISK_SIZE, self.disk_bytes.to_le_bytes().to_vec(), 6),
            (DISK_ID, self.disk_id.0.to_vec(), 6),
            (LOGICAL_SECTOR, self.logical_sector.to_le_bytes().to_vec(), 6),
            (PHYSICAL_SECTOR, self.physical_sector.to_le_bytes().to_vec(), 6),
        ];
        items.extend(self.locator.clone().map(|locator| (PARENT_LOCATOR, locator, 4)));
        let mut table = b"metadata\0\0".to_vec();
        table.extend_from_slice(&[u8::try_from(items.len()).expect("six items"), 0]);
        table.resize(32, 0);
        let mut data = Vec::new();
        for (guid, bytes, flags) in items {
            let at = METADATA_TABLE_BYTES.saturating_add(data.len());
            let (at, length) = (u32::try_from(at), u32::try_from(bytes.len()));
            table.extend_from_slice(&guid.0);
            table.extend_from_slice(&at.expect("six short items").to_le_bytes());
            table.extend_from_slice(&length.expect("six short items").to_le_bytes());
            table.extend_from_slice(&flags.to_le_bytes());
            table.extend_from_slice(&[0; 4]);
            data.extend_from_slice(&bytes);
            data.resize(data.len().next_multiple_of(8), 0);
        }
        table.resize(METADATA_TABLE_BYTES, 0);
        table.extend_from_slice(&data);
        table
    }
}

/// Returns the error for a field that has a value it cannot have.
pub fn field(structure: &'static str, at: u64, field: &'static str, actual: u64) -> Error {
    Error::Field { container: NAME, structure, at, field, actual }
}

/// Returns the error for a structure that leaves the file.
pub fn truncated(structure: &'static str, extent: Extent, size: u64) -> Error {
    Error::Truncated { container: NAME, structure, at: extent.offset, length: extent.length, size }
}

/// Returns the error for a part that must be understood and is not.
pub fn unknown(structure: &'static str, id: Guid) -> Error {
    Error::Unknown { container: NAME, structure, id }
}

/// Returns the first byte that two of the ranges share.
pub fn overlap(mut taken: Vec<Extent>) -> Option<u64> {
    taken.retain(|extent| extent.length > 0);
    taken.sort_unstable();
    let shared = taken.iter().zip(taken.iter().skip(1)).find(|(one, next)| one.end() > next.offset);
    shared.map(|(_, next)| next.offset)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_every_flipped_bit_of_it_is_found() {
        let header = Header {
            sequence: 7,
            file_write: Guid([1; 16]),
            data_write: Guid([2; 16]),
            log: Guid::NIL,
            log_version: 0,
            version: 1,
            log_length: 1 << 20,
            log_at: 1 << 20,
        };
        let bytes = header.to_bytes();
        assert_eq!((bytes.len(), Header::parse(&bytes)), (4096, Some(header)));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&flipped), None, "bit {bit}");
        }
        let regions = Regions {
            bat: Some(Extent::new(3 * MIB, MIB)),
            metadata: Some(Extent::new(2 * MIB, MIB)),
            others: Vec::new(),
        };
        assert_eq!(Regions::parse(&regions.to_bytes(), 0).unwrap(), Some(regions));
        let metadata = Metadata {
            block_bytes: 2 * MIB,
            flags: HAS_PARENT,
            disk_bytes: 5 * MIB,
            disk_id: Guid([3; 16]),
            logical_sector: 512,
            physical_sector: 4096,
            locator: Some(vec![9; 20]),
        };
        let bytes = metadata.to_bytes();
        let item = |at: u64, length: usize| Ok(bytes[at as usize..][..length].to_vec());
        assert_eq!(Metadata::parse(&bytes[..METADATA_TABLE_BYTES], Extent::new(0, MIB), item).unwrap(), metadata);
    }
}
