//! A file read by position: a raw disk, and the carrier of every container.
//!
//! The file is opened for reading only, and the locks of a reader are held on it as long as it is open (see the `lock`
//! module), so that a program that wants to write learns of us, and we of it. Locks are advice: the file's length and
//! time are therefore remembered and compared again by [`Raw::unchanged`] wherever a torn copy would do harm.
//!
//! Everything is read with `pread`. A map of the file would be a little faster, but a page of a map whose file shrank,
//! or whose medium fails, kills the process, where `pread` returns an error; only the digest of a whole image uses one
//! (see the `map` module).

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::in_place::refuse_unfinished;
use super::{Error, Result, block_device, lock};
use coldforge_base::device::check_range;
use coldforge_base::{Extent, ReadAt, device, fs};

/// A file of bytes, opened for reading.
#[derive(Debug)]
pub struct Raw {
    file: File,
    path: PathBuf,
    length: u64,
    stamp: Stamp,
}

/// What tells whether a file is still the one that was opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    fn of(metadata: &Metadata, length: u64) -> Self {
        if block_device::is_device(metadata) {
            // The time of a device's name says nothing; the count of sectors that were written to it does.
            return Self { length, seconds: block_device::sectors_written(metadata), nanoseconds: 0 };
        }
        Self { length, seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() }
    }
}

impl Raw {
    /// Opens a regular file or a block device and takes the locks of a reader on it.
    ///
    /// # Errors
    /// [`Error::NotAFile`] for a folder or another special file, [`Error::Empty`], [`Error::DeviceBusy`] for a device
    /// that is mounted or in use, [`Error::Busy`] if another process writes to it, [`Error::UnfinishedRun`] if a run that wrote into the file did not end, otherwise the
    /// operating system's.
    pub fn open(path: &Path) -> Result<Self> {
        // Asked before opening, because opening a pipe would wait for its writer.
        let metadata = path.metadata().map_err(fs::failed("open", path))?;
        check_kind(&metadata, path)?;
        let file = if block_device::is_device(&metadata) { block_device::open(path, false)? } else { fs::open(path)? };
        check_kind(&file.metadata().map_err(fs::failed("examine", path))?, path)?;
        lock::share(&file, path)?;
        refuse_unfinished(path)?;
        Self::of_file(file, path)
    }

    /// Takes a file that is open and locked already.
    pub(super) fn of_file(file: File, path: &Path) -> Result<Self> {
        let metadata = file.metadata().map_err(fs::failed("examine", path))?;
        let length = block_device::length(&file, &metadata, path)?;
        if length == 0 {
            return Err(Error::Empty { path: path.to_owned() });
        }
        let stamp = Stamp::of(&metadata, length);
        Ok(Self { file, path: path.to_owned(), length, stamp })
    }

    /// Returns the path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the file has the length and the time that it had when it was opened.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] if not, otherwise the operating system's.
    pub fn unchanged(&self) -> Result<()> {
        let metadata = self.metadata()?;
        let length = block_device::length(&self.file, &metadata, &self.path)?;
        if Stamp::of(&metadata, length) == self.stamp { Ok(()) } else { Err(self.changed()) }
    }

    /// Returns the open file: for cloning and mapping, never for its cursor.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn metadata(&self) -> Result<Metadata> {
        Ok(self.file.metadata().map_err(fs::failed("examine", &self.path))?)
    }

    /// Tells whether the file is a block device.
    pub(super) fn is_device(&self) -> Result<bool> {
        Ok(block_device::is_device(&self.metadata()?))
    }

    pub(super) fn changed(&self) -> Error {
        Error::SourceChanged { path: self.path.clone() }
    }

    /// Seeks without touching what `pread` does; `None` where the file system knows no holes.
    fn seek(&self, to: SeekFrom) -> Result<Option<Sought>> {
        match rustix::fs::seek(&self.file, to) {
            Ok(at) => Ok(Some(Sought::At(at))),
            Err(Errno::NXIO) => Ok(Some(Sought::End)),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(fs::failed("look for holes in", &self.path)(errno.into()).into()),
        }
    }
}

enum Sought {
    At(u64),
    End,
}

fn check_kind(metadata: &Metadata, path: &Path) -> Result<()> {
    let kind = metadata.file_type();
    let what = if kind.is_file() || kind.is_block_device() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_char_device() {
        "a character device"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a special file"
    };
    Err(Error::NotAFile { path: path.to_owned(), what })
}

impl ReadAt for Raw {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.length)?;
        self.file.read_exact_at(buf, at).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.changed().into(),
            _ => device::Error::failed(fs::failed("read", &self.path)(error)),
        })
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        if from >= self.length {
            return Ok(None);
        }
        let start = match self.seek(SeekFrom::Data(from))? {
            Some(Sought::At(at)) if at < self.length => at.max(from),
            Some(_) => return Ok(None),
            None => from,
        };
        let end = match self.seek(SeekFrom::Hole(start))? {
            Some(Sought::At(at)) if at > start => at.min(self.length),
            _ => self.length,
        };
        Ok(Some(Extent::new(start, end.saturating_sub(start))))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use std::fs::TryLockError;

    use super::*;
    use coldforge_base::{Failure as _, Kind};

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn folders_devices_pipes_and_empty_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let empty = file(&[]);
        for (path, code) in [
            (folder.path(), "E-NOT-A-FILE"),
            (Path::new("/dev/null"), "E-NOT-A-FILE"),
            (&pipe, "E-NOT-A-FILE"),
            (empty.path(), "E-IMAGE-EMPTY"),
        ] {
            let error = Raw::open(path).unwrap_err();
            assert_eq!((error.kind(), error.code()), (Kind::Refused, Some(code)), "{error}");
        }
        assert_eq!(Raw::open(&folder.path().join("none")).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn an_exclusive_lock_of_another_makes_the_file_busy_and_a_shared_one_does_not() {
        let file = file(b"disk");
        let other = File::open(file.path()).unwrap();
        other.lock().unwrap();
        assert_eq!(Raw::open(file.path()).unwrap_err().code(), Some("E-IMAGE-BUSY"));
        other.unlock().unwrap();
        other.lock_shared().unwrap();
        let raw = Raw::open(file.path()).unwrap();
        other.unlock().unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)), "our lock is held while the file is open");
        drop(raw);
        other.try_lock().unwrap();
    }

    #[test]
    fn a_change_by_another_program_is_noticed() {
        let file = file(&[1; 4096]);
        let raw = Raw::open(file.path()).unwrap();
        raw.unchanged().unwrap();
        file.as_file().set_len(1024).unwrap();
        assert_eq!(raw.unchanged().unwrap_err().code(), Some("E-SOURCE-CHANGED"));
        let error = raw.read_at(512, &mut [0; 1024]).unwrap_err();
        assert_eq!(error.code(), Some("E-SOURCE-CHANGED"), "a read beyond the new end says the same");
    }

    #[test]
    fn holes_are_skipped_and_ranges_are_checked() {
        let file = file(&[]);
        file.as_file().set_len(9 << 20).unwrap();
        file.as_file().write_all_at(&[7; 4096], 4 << 20).unwrap();
        let raw = Raw::open(file.path()).unwrap();
        let extent = raw.next_data(0).unwrap().unwrap();
        assert!(extent.offset <= 4 << 20 && extent.end() >= (4 << 20) + 4096, "{extent:?}");
        assert_eq!(raw.next_data(9 << 20).unwrap(), None);
        let mut byte = [0];
        raw.read_at(4 << 20, &mut byte).unwrap();
        assert_eq!(byte, [7]);
        assert!(matches!(raw.read_at(9 << 20, &mut byte), Err(device::Error::OutOfRange { .. })));
        assert!(matches!(raw.read_at(u64::MAX, &mut byte), Err(device::Error::OutOfRange { .. })));
    }
}
