//! An image file that is open for writing under the locks of a writer.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::super::{Error, Format, Image, Raw, Result, block_device, lock};
use super::files::Files;
use super::journal::{Entry, Journal};
use coldforge_base::offset::normalize;
use coldforge_base::{Extent, fs};

/// Changes are widened to whole sectors, so that thousands of single bytes are not thousands of writes.
pub(super) const SECTOR: u64 = 512;

/// An image file, opened for writing under exclusive locks, which last as long as this value.
#[derive(Debug)]
pub(super) struct Target {
    pub file: File,
    pub path: PathBuf,
}

impl Target {
    /// Opens the file that is open for reading already; the locks of its reader become those of a writer.
    pub fn claim(raw: &Raw) -> Result<Self> {
        let target = Self::open_file(raw.path())?;
        let (mine, its) = (target.metadata()?, raw.metadata()?);
        if (mine.dev(), mine.ino()) != (its.dev(), its.ino()) {
            return Err(raw.changed());
        }
        lock::claim(&target.file, Some(raw.file()), raw.path())?;
        Ok(target)
    }

    /// Opens a file and locks it.
    pub fn open(path: &Path) -> Result<Self> {
        let target = Self::open_file(path)?;
        lock::claim(&target.file, None, path)?;
        Ok(target)
    }

    fn open_file(path: &Path) -> Result<Self> {
        let metadata = path.metadata().map_err(fs::failed("open", path))?;
        if block_device::is_device(&metadata) {
            return Ok(Self { file: block_device::open(path, true)?, path: path.to_owned() });
        }
        if !metadata.is_file() {
            return Err(Error::NotAFile { path: path.to_owned(), what: "no plain file" });
        }
        let file = File::options().read(true).write(true).open(path).map_err(fs::failed("open", path))?;
        let target = Self { file, path: path.to_owned() };
        match target.metadata()?.nlink() {
            0 | 1 => Ok(target),
            names => Err(Error::Linked { path: path.to_owned(), names }),
        }
    }

    pub fn metadata(&self) -> Result<std::fs::Metadata> {
        Ok(self.file.metadata().map_err(fs::failed("examine", &self.path))?)
    }

    pub fn length(&self) -> Result<u64> {
        block_device::length(&self.file, &self.metadata()?, &self.path)
    }

    /// Returns when the file was written to last: seconds and nanoseconds since 1970.
    pub fn time(&self) -> Result<(i64, i64)> {
        let metadata = self.metadata()?;
        Ok((metadata.mtime(), metadata.mtime_nsec()))
    }

    /// Fills `buf` with the bytes at a place of the file.
    pub fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        Ok(self.file.read_exact_at(buf, at).map_err(fs::failed("read", &self.path))?)
    }

    /// Opens the file as an image, under the locks that it has.
    pub fn image(&self, format: Format) -> Result<Image> {
        let again = self.file.try_clone().map_err(fs::failed("open", &self.path))?;
        Image::of(Raw::of_file(again, &self.path)?, format)
    }

    /// Puts the old bytes and the old length back, flushes, and reads them again; returns how many bytes there were.
    ///
    /// Sectors that meet one of the ranges in `left`, which are normalized and lie before the old end, stay as they are.
    pub fn restore(&self, journal: &Journal, left: &[Extent], files: &dyn Files) -> Result<u64> {
        let (mut bytes, mut marked) = (0u64, false);
        let write = |at, bytes: &[u8]| files.write(&self.file, at, bytes).map_err(fs::failed("write", &self.path));
        let flush = || files.sync(&self.file).map_err(fs::failed("flush", &self.path));
        journal.for_each_entry(|entry| {
            marked |= entry.is_mark;
            if !entry.is_mark {
                return Ok(());
            }
            pieces(entry, left).try_for_each(|(at, _, new)| Ok(write(at, new)?))
        })?;
        if marked {
            flush()?;
        }
        journal.for_each_entry(|entry| {
            for (at, old, _) in pieces(entry, left) {
                bytes = bytes.saturating_add(old.len() as u64);
                if !entry.is_mark {
                    write(at, old)?;
                }
            }
            Ok(())
        })?;
        let header = &journal.header;
        if self.length()? != header.length_before {
            files.resize(&self.file, header.length_before).map_err(fs::failed("resize", &self.path))?;
        }
        flush()?;
        if marked {
            journal.for_each_entry(|entry| {
                let mut pieces = pieces(entry, left).filter(|_| entry.is_mark);
                pieces.try_for_each(|(at, old, _)| Ok(write(at, old)?))
            })?;
            flush()?;
        }
        journal.for_each_entry(|entry| {
            pieces(entry, left).try_for_each(|(at, old, _)| {
                let mut found = vec![0; old.len()];
                self.read_at(at, &mut found)?;
                if found == old { Ok(()) } else { Err(Error::ReadBack { at }) }
            })
        })?;
        Ok(bytes)
    }
}

/// Returns the parts of an entry outside the sectors that are left: where they lie, and their old and new bytes.
fn pieces<'e>(entry: &'e Entry, left: &[Extent]) -> impl Iterator<Item = (u64, &'e [u8], &'e [u8])> {
    let whole = Extent::new(entry.at, entry.old.len() as u64);
    let sectors = left.iter().filter(|range| range.offset < whole.end() && whole.offset < range.end()).map(|range| {
        let start = range.offset.saturating_sub(range.offset % SECTOR);
        let end = range.end().checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX);
        Extent::new(start, end.saturating_sub(start))
    });
    let (mut parts, mut at) = (Vec::new(), whole.offset);
    for sector in normalize(sectors.collect()) {
        parts.push((at, sector.offset));
        at = at.max(sector.end());
    }
    parts.push((at, whole.end()));
    parts.into_iter().filter_map(move |(start, end)| {
        let from = usize::try_from(start.checked_sub(whole.offset)?).ok()?;
        let length = usize::try_from(end.checked_sub(start)?).ok().filter(|length| *length > 0)?;
        let range = from..from.checked_add(length)?;
        Some((start, entry.old.get(range.clone())?, entry.new.get(range)?))
    })
}
