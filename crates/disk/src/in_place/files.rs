//! What a run does to files, in one place, so that tests can let each deed fail, tear or get lost.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// The deeds of a run on the image, on its journal and on their folder.
pub(super) trait Files {
    /// Creates a file that must not exist, readable by its owner alone.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes all bytes at a place.
    fn write(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another length.
    fn resize(&self, file: &File, length: u64) -> io::Result<()>;
    /// Makes sure that a range of a file can be written, also where it is a hole or behind the end; no byte changes.
    fn reserve(&self, file: &File, at: u64, length: u64) -> io::Result<()>;
    /// Makes what was written to a file durable.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The operating system's files.
pub(super) struct Real;

impl Files for Real {
    fn create(&self, path: &Path) -> io::Result<File> {
        // It holds what the image held: password hashes too.
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    fn write(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn resize(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn reserve(&self, file: &File, at: u64, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, at, length) {
            // A file system that cannot say so beforehand says it when it is written to.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) => Ok(()),
            answer => Ok(answer?),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}
