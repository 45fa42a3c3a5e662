//! Floor 2: a FAT12, FAT16 or FAT32 volume, read and never written: the EFI system partition.
//!
//! ```text
//! Volume::open  boot sector -> sizes and places, checked against the device and against each other
//! Volume::find  path -> each directory on the way, by long or short name -> Entry
//! Volume::list  Entry of a directory -> its entries
//! Volume::read  Entry of a file -> its chain of clusters -> bytes
//! ```
//!
//! FAT has no checksums. What it has twice is compared: the copies of the table, wherever a chain is followed, and the
//! length of a file, which its chain must have to the cluster. Every chain is bounded: that of a file by its length, that
//! of a directory by the most entries that the format allows.
//!
//! Specification: Microsoft Extensible Firmware Initiative FAT32 File System Specification, version 1.03. Not read:
//! exFAT, which is another format, and volumes whose boot sector holds no parameters (DOS before 2.0).
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod boot;
mod directory;
mod error;
#[cfg(test)]
mod sample;
mod table;
#[cfg(test)]
mod tests;

pub use boot::Width;
pub use directory::DirectoryEntry;
pub use error::Error;

use boot::Geometry;
use coldforge_base::ReadAt;

/// The result of reading a FAT volume.
pub type Result<T> = std::result::Result<T, Error>;

/// The format's bound: a directory has 65,536 entries of 32 bytes at most.
const MAX_DIRECTORY_BYTES: u64 = 65_536 * directory::ENTRY_BYTES as u64;

/// A FAT volume on a device, which is usually a window on a disk.
#[derive(Debug)]
pub struct Volume<D> {
    device: D,
    geometry: Geometry,
}

impl<D: ReadAt> Volume<D> {
    /// Opens the volume whose boot sector is the device's first.
    ///
    /// # Errors
    /// [`Error::NotFat`] if it is none; otherwise what is wrong with the boot sector.
    pub fn open(device: D) -> Result<Self> {
        let mut sector = [0; boot::SECTOR_BYTES];
        if device.len() < sector.len() as u64 {
            return Err(Error::NotFat);
        }
        device.read_at(0, &mut sector)?;
        let geometry = Geometry::parse(&sector, device.len())?;
        Ok(Self { device, geometry })
    }

    /// Returns the width of the table's entries: FAT12, FAT16 or FAT32.
    pub fn width(&self) -> Width {
        self.geometry.width
    }

    /// Returns the bytes of a cluster.
    pub fn cluster_bytes(&self) -> u64 {
        self.geometry.cluster_bytes
    }

    /// Finds a file or directory by its path, such as `\EFI\Boot\bootx64.efi`; names are compared as ASCII text without
    /// regard to case. `None` if it is not there, or a file is where the path needs a directory.
    ///
    /// # Errors
    /// What is wrong with a directory on the way; [`Error::AmbiguousName`] if two entries have the name.
    pub fn find(&self, path: &str) -> Result<Option<DirectoryEntry>> {
        let mut found: Option<DirectoryEntry> = None;
        for name in path.split('\\').filter(|name| !name.is_empty()) {
            let entries = match &found {
                None => self.root()?,
                Some(folder) if folder.is_directory => self.list(folder)?,
                Some(_) => return Ok(None),
            };
            let mut matching = entries.into_iter().filter(|entry| entry.is_named(name));
            let Some(first) = matching.next() else { return Ok(None) };
            if matching.next().is_some() {
                return Err(Error::AmbiguousName { name: first.name });
            }
            found = Some(first);
        }
        Ok(found)
    }

    /// Returns the entries of the root directory.
    ///
    /// # Errors
    /// What is wrong with its chain.
    pub fn root(&self) -> Result<Vec<DirectoryEntry>> {
        match self.geometry.root {
            boot::Root::Area { at, bytes } => {
                let mut content =
                    vec![0; usize::try_from(bytes).map_err(|_| Error::TooLarge { size: bytes, limit: bytes })?];
                self.device.read_at(at, &mut content)?;
                directory::parse(&content, self.geometry.width)
            }
            boot::Root::Chain { cluster } => self.directory(cluster),
        }
    }

    /// Returns the entries of a directory, without `.`, `..`, volume labels and what was deleted.
    ///
    /// # Errors
    /// What is wrong with its chain; [`Error::NotADirectory`] for a file.
    pub fn list(&self, folder: &DirectoryEntry) -> Result<Vec<DirectoryEntry>> {
        match folder.is_directory {
            true => self.directory(folder.cluster),
            false => Err(Error::NotADirectory { name: folder.name.clone() }),
        }
    }

    /// Returns the bytes of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; [`Error::IsDirectory`]; [`Error::SizeBeyondVolume`]; what is wrong with its chain.
    pub fn read(&self, file: &DirectoryEntry, limit: u64) -> Result<Vec<u8>> {
        if file.is_directory {
            return Err(Error::IsDirectory { name: file.name.clone() });
        }
        let (size, volume) = (u64::from(file.size), self.geometry.data_bytes());
        if size > volume {
            return Err(Error::SizeBeyondVolume { size, volume });
        }
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let expected = size.div_ceil(self.geometry.cluster_bytes);
        let clusters = match (file.cluster, expected) {
            (0, 0) => Vec::new(),
            (first, _) => table::chain(&self.device, &self.geometry, first, expected)?,
        };
        if clusters.len() as u64 != expected {
            return Err(Error::ChainLength { first: file.cluster, clusters: clusters.len() as u64, expected });
        }
        let mut bytes = self.clusters(&clusters)?;
        bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    fn directory(&self, first: u32) -> Result<Vec<DirectoryEntry>> {
        let most = MAX_DIRECTORY_BYTES.div_ceil(self.geometry.cluster_bytes);
        let clusters = table::chain(&self.device, &self.geometry, first, most)?;
        directory::parse(&self.clusters(&clusters)?, self.geometry.width)
    }

    fn clusters(&self, clusters: &[u32]) -> Result<Vec<u8>> {
        let each = usize::try_from(self.geometry.cluster_bytes).unwrap_or(usize::MAX);
        let mut bytes = vec![0; clusters.len().saturating_mul(each)];
        for (cluster, part) in clusters.iter().zip(bytes.chunks_mut(each)) {
            self.device.read_at(self.geometry.place(*cluster)?, part)?;
        }
        Ok(bytes)
    }
}
