//! The boot sector: sizes and places of a volume, which every other structure is found by.

use super::{Error, Result};
use coldforge_base::read;

/// The bytes of the boot sector that are read, whatever the sector size.
pub(super) const SECTOR_BYTES: usize = 512;

/// The largest cluster that any Windows makes: 64 sectors of 4096 bytes.
const MAX_CLUSTER_BYTES: u64 = 256 << 10;
/// A FAT12 volume has fewer clusters.
const LEAST_FAT16: u64 = 4085;
/// A FAT16 volume has fewer clusters.
const LEAST_FAT32: u64 = 65_525;
/// A FAT32 volume has fewer clusters: the numbers from 0x0ffffff7 on mean something else.
const MAX_FAT32: u64 = 0x0fff_fff5;
/// The first cluster that holds data.
pub(super) const FIRST_CLUSTER: u32 = 2;

/// Offsets in the boot sector.
mod at {
    pub(super) const JUMP: usize = 0;
    pub(super) const SECTOR_BYTES: usize = 11;
    pub(super) const CLUSTER_SECTORS: usize = 13;
    pub(super) const RESERVED_SECTORS: usize = 14;
    pub(super) const COPIES: usize = 16;
    pub(super) const ROOT_ENTRIES: usize = 17;
    pub(super) const SECTORS_16: usize = 19;
    pub(super) const MEDIA: usize = 21;
    pub(super) const TABLE_SECTORS_16: usize = 22;
    pub(super) const SECTORS_32: usize = 32;
    pub(super) const TABLE_SECTORS_32: usize = 36;
    pub(super) const FLAGS_32: usize = 40;
    pub(super) const VERSION_32: usize = 42;
    pub(super) const ROOT_CLUSTER_32: usize = 44;
    pub(super) const MARK: usize = 510;
}

/// The width of the entries of a volume's table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Width {
    /// Twelve bits.
    Fat12,
    /// Sixteen bits.
    Fat16,
    /// Twenty-eight bits of thirty-two.
    Fat32,
}

impl Width {
    /// Returns the bits that an entry takes.
    pub(super) fn bits(self) -> u64 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }
}

impl std::fmt::Display for Width {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        })
    }
}

/// Where the root directory is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Root {
    /// In an area of its own, after the table.
    Area {
        /// First byte on the volume.
        at: u64,
        /// Length.
        bytes: u64,
    },
    /// In clusters, as other directories.
    Chain {
        /// The first.
        cluster: u32,
    },
}

/// Sizes and places of a volume; every place was checked to be on the device.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub width: Width,
    pub cluster_bytes: u64,
    /// Number of clusters, which are counted from 2.
    pub clusters: u64,
    /// First byte of the copy of the table that counts.
    pub table: u64,
    /// First bytes of the copies that must say the same.
    pub mirrors: Vec<u64>,
    pub root: Root,
    /// First byte of the first cluster.
    data: u64,
}

impl Geometry {
    /// Reads a boot sector of a device of `size` bytes.
    ///
    /// # Errors
    /// [`Error::NotFat`] without the marks of a boot sector of this format; [`Error::BootSector`] for what contradicts
    /// itself.
    pub fn parse(sector: &[u8; SECTOR_BYTES], size: u64) -> Result<Self> {
        let byte = |at| u64::from(read::u8(sector, at).unwrap_or_default());
        let word = |at| u64::from(read::u16_le(sector, at).unwrap_or_default());
        let long = |at| u64::from(read::u32_le(sector, at).unwrap_or_default());
        let sane = |holds: bool, field, value| if holds { Ok(value) } else { Err(Error::BootSector { field, value }) };
        let sector_bytes = word(at::SECTOR_BYTES);
        let has_marks = word(at::MARK) == 0xaa55
            && matches!(byte(at::JUMP), 0xeb | 0xe9)
            && matches!(sector_bytes, 512 | 1024 | 2048 | 4096)
            && byte(at::COPIES) > 0
            && (byte(at::MEDIA) == 0xf0 || byte(at::MEDIA) >= 0xf8);
        if !has_marks {
            return Err(Error::NotFat);
        }
        let cluster_sectors = byte(at::CLUSTER_SECTORS);
        sane(cluster_sectors.is_power_of_two(), "the number of sectors in a cluster", cluster_sectors)?;
        let cluster_bytes = sector_bytes.saturating_mul(cluster_sectors);
        sane(cluster_bytes <= MAX_CLUSTER_BYTES, "the size of a cluster", cluster_bytes)?;
        let reserved = word(at::RESERVED_SECTORS);
        sane(reserved > 0, "the number of reserved sectors", reserved)?;
        let copies = byte(at::COPIES);
        sane(copies <= 2, "the number of copies of the FAT", copies)?;
        let sectors = sane(
            (word(at::SECTORS_16) == 0) != (long(at::SECTORS_32) == 0) || word(at::SECTORS_16) == long(at::SECTORS_32),
            "the number of sectors",
            word(at::SECTORS_16).max(long(at::SECTORS_32)),
        )?;
        let volume_bytes = sectors.saturating_mul(sector_bytes);
        sane(volume_bytes > 0 && volume_bytes <= size, "the number of sectors", sectors)?;

        // Windows and UEFI tell FAT32 by this field, and the other two by the number of clusters.
        let is_fat32 = word(at::TABLE_SECTORS_16) == 0;
        let table_sectors = if is_fat32 { long(at::TABLE_SECTORS_32) } else { word(at::TABLE_SECTORS_16) };
        sane(table_sectors > 0, "the number of sectors of the FAT", table_sectors)?;
        let table_bytes = table_sectors.saturating_mul(sector_bytes);
        let root_entries = word(at::ROOT_ENTRIES);
        sane(is_fat32 == (root_entries == 0), "the number of entries of the root directory", root_entries)?;
        let root_sectors = root_entries.saturating_mul(32).div_ceil(sector_bytes);
        let table = reserved.saturating_mul(sector_bytes);
        let root_at = table.saturating_add(table_bytes.saturating_mul(copies));
        let data = root_at.saturating_add(root_sectors.saturating_mul(sector_bytes));
        sane(data < volume_bytes, "the number of sectors of the FAT", table_sectors)?;
        let held = volume_bytes.saturating_sub(data).checked_div(cluster_bytes).unwrap_or(0);
        let width = match (is_fat32, held) {
            (true, _) => Width::Fat32,
            (false, ..LEAST_FAT16) => Width::Fat12,
            (false, _) => Width::Fat16,
        };
        let most = if is_fat32 { MAX_FAT32 } else { LEAST_FAT32 };
        sane(held > 0 && held < most, "the number of clusters", held)?;
        // Clusters that the table does not reach do not exist.
        let told = table_bytes.saturating_mul(8).checked_div(width.bits()).unwrap_or(0).saturating_sub(2);
        let clusters = held.min(told);
        sane(clusters > 0, "the number of sectors of the FAT", table_sectors)?;
        let copy = |number: u64| table.saturating_add(number.saturating_mul(table_bytes));
        let flags = if is_fat32 { word(at::FLAGS_32) } else { 0 };
        let (table, mirrors) = match flags & 0x80 {
            0 => (copy(0), (1..copies).map(copy).collect()),
            _ => {
                let active = sane(flags & 0xf < copies, "the number of the active FAT", flags & 0xf)?;
                (copy(active), Vec::new())
            }
        };
        let root = if is_fat32 {
            sane(word(at::VERSION_32) == 0, "the version of FAT32", word(at::VERSION_32))?;
            let cluster = read::u32_le(sector, at::ROOT_CLUSTER_32).unwrap_or_default();
            Root::Chain { cluster }
        } else {
            Root::Area { at: root_at, bytes: root_entries.saturating_mul(32) }
        };
        Ok(Self { width, cluster_bytes, clusters, table, mirrors, root, data })
    }

    /// Returns whether a number is that of a cluster of the volume.
    pub fn is_cluster(&self, cluster: u32) -> bool {
        cluster >= FIRST_CLUSTER && u64::from(cluster) < self.clusters.saturating_add(u64::from(FIRST_CLUSTER))
    }

    /// Returns the first byte of a cluster.
    ///
    /// # Errors
    /// [`Error::Link`] if the volume has no such cluster.
    pub fn place(&self, cluster: u32) -> Result<u64> {
        if !self.is_cluster(cluster) {
            return Err(Error::Link { from: cluster, to: cluster });
        }
        let number = u64::from(cluster.saturating_sub(FIRST_CLUSTER));
        Ok(self.data.saturating_add(number.saturating_mul(self.cluster_bytes)))
    }

    /// Returns how many bytes all clusters have.
    pub fn data_bytes(&self) -> u64 {
        self.clusters.saturating_mul(self.cluster_bytes)
    }
}
