//! The structures of a sparse VMDK as VMware's "Virtual Disk Format 1.1" names them. All numbers are little-endian;
//! places are counted in sectors of 512 bytes.

use super::super::Error;
use coldforge_base::read;

/// The container's name in errors.
pub const NAME: &str = "VMDK";
/// VMware's own limit is 62 TiB.
pub const LARGEST_DISK_BYTES: u64 = 64 << 40;
pub const SECTOR: u64 = 512;
pub const SECTOR_BYTES: usize = 512;
pub const MAGIC: [u8; 4] = *b"KDMV";
/// What the first line of a descriptor says.
pub const DESCRIPTOR_MAGIC: &[u8] = b"# Disk DescriptorFile";
/// A directory offset that says: look into the footer.
pub const AT_END: u64 = u64::MAX;
/// Entries of a grain table, in every file.
pub const TABLE_ENTRIES: u64 = 512;
pub const TABLE_BYTES: u64 = TABLE_ENTRIES * 4;
/// "grains of zeros are marked" in the flags: a table entry of 1 is one.
pub const ZEROED_GRAINS: u32 = 4;
pub const COMPRESSED: u32 = 0x1_0000;
pub const MARKERS: u32 = 0x2_0000;
/// The test of the bytes at 73 is valid.
pub const NEWLINE_TEST: u32 = 1;
/// What a transfer as text would have changed.
pub const NEWLINES: [u8; 4] = *b"\n \r\n";
/// `compressAlgorithm` of a deflated file.
pub const DEFLATE: u16 = 1;

/// "SparseExtentHeader": the first sector, and in streamed files also the last but one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    pub version: u32,
    pub flags: u32,
    pub capacity: u64,
    pub grain_sectors: u64,
    pub descriptor_at: u64,
    pub descriptor_sectors: u64,
    pub table_entries: u32,
    pub directory_at: u64,
    pub overhead: u64,
    pub newlines: [u8; 4],
    pub compression: u16,
}

impl Header {
    /// Reads a header; `None` without its magic.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(&MAGIC) {
            return None;
        }
        let (word, long) = (|at| read::u32_le(bytes, at).ok(), |at| read::u64_le(bytes, at).ok());
        Some(Self {
            version: word(4)?,
            flags: word(8)?,
            capacity: long(12)?,
            grain_sectors: long(20)?,
            descriptor_at: long(28)?,
            descriptor_sectors: long(36)?,
            table_entries: word(44)?,
            directory_at: long(56)?,
            overhead: long(64)?,
            newlines: read::array(bytes, 73).ok()?,
            compression: read::u16_le(bytes, 77).ok()?,
        })
    }

    /// Returns the header's sector; there is no redundant directory, and the file was closed well.
    pub fn to_bytes(self) -> [u8; SECTOR_BYTES] {
        let bytes = [
            &MAGIC[..],
            &self.version.to_le_bytes(),
            &self.flags.to_le_bytes(),
            &self.capacity.to_le_bytes(),
            &self.grain_sectors.to_le_bytes(),
            &self.descriptor_at.to_le_bytes(),
            &self.descriptor_sectors.to_le_bytes(),
            &self.table_entries.to_le_bytes(),
            &[0; 8],
            &self.directory_at.to_le_bytes(),
            &self.overhead.to_le_bytes(),
            &[0],
            &self.newlines,
            &self.compression.to_le_bytes(),
        ]
        .concat();
        let mut sector = [0; SECTOR_BYTES];
        read::put(&mut sector, 0, &bytes).expect("a header fits into its sector");
        sector
    }
}

/// What follows a marker in a streamed file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Marker {
    EndOfStream = 0,
    Table = 1,
    Directory = 2,
    Footer = 3,
}

/// Returns the sector that announces so many sectors of metadata.
pub fn marker(kind: Marker, sectors: u64) -> [u8; SECTOR_BYTES] {
    let mut sector = [0; SECTOR_BYTES];
    read::put_u64_le(&mut sector, 0, sectors).expect("a marker fits into its sector");
    read::put_u32_le(&mut sector, 12, kind as u32).expect("a marker fits into its sector");
    sector
}

/// Returns the error for a field that has a value it cannot have.
pub fn field(structure: &'static str, at: u64, field: &'static str, actual: u64) -> Error {
    Error::Field { container: NAME, structure, at, field, actual }
}
