//! `std::fs`, with the path and the attempted deed in every error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::interrupt::TemporaryGuard;
use super::temporary;
use crate::{Failure, Kind};

/// A file operation that the operating system failed.
#[derive(Debug, Error, Failure)]
#[failure(kind = kind_of(source), hint = hint_of(source))]
#[error("cannot {deed} `{}`", path.display())]
pub struct Error {
    /// What was attempted, as an infinitive: `open`, `write`, `rename`.
    pub deed: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's answer.
    pub source: io::Error,
}

/// Returns whether a path was not found, or the operating system failed.
fn kind_of(source: &io::Error) -> Kind {
    match source.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Io,
    }
}

/// Returns what to do about an answer of the operating system.
fn hint_of(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "check the spelling of the path",
        io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => "name a plain file of a sensible size",
        io::ErrorKind::PermissionDenied => "check the permissions of the file and of its folder",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on that file system, or choose another output folder"
        }
        io::ErrorKind::ReadOnlyFilesystem => "choose an output folder on a writable file system",
        io::ErrorKind::DirectoryNotEmpty => "name a folder that does not exist yet, or is empty",
        io::ErrorKind::AlreadyExists => "choose another name, or remove what stands there",
        _ => "check that the file system can be read and written, then run the command again",
    }
}

/// Returns a closure for `map_err` that names the deed and the path.
pub fn failed(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error { deed, path, source }
}

/// Opens a file for reading.
///
/// # Errors
/// The operating system's, with the path.
pub fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(failed("open", path))
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// The operating system's, with the path; a larger file is [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let metadata = std::fs::metadata(path).map_err(failed("look at", path))?;
    if !metadata.is_file() {
        // A pipe would be waited for, a device read without end.
        return Err(failed("read", path)(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file")));
    }
    let mut bytes = Vec::new();
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(failed("read", path)(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    Ok(bytes)
}

/// Makes a folder; one that is there already is taken as it is.
///
/// # Errors
/// The operating system's, with the path.
pub fn create_folder(path: &Path) -> Result<(), Error> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        answer => answer.map_err(failed("create", path)),
    }
}

/// Writes a new file and flushes it to the disk; an existing file is an error.
///
/// # Errors
/// The operating system's, with the path.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed("create", path))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("flush", path))
}

/// Lets whoever may read a file run it.
///
/// # Errors
/// The operating system's, with the path.
pub fn make_executable(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map_err(failed("look at", path))?.permissions().mode();
    let permissions = std::fs::Permissions::from_mode(mode | (mode & 0o444) >> 2);
    std::fs::set_permissions(path, permissions).map_err(failed("set the permissions of", path))
}

/// A file that appears under its name only when it is whole; dropped before, it leaves nothing behind.
#[derive(Debug)]
pub struct Fresh {
    file: tempfile::NamedTempFile,
    path: PathBuf,
    _guard: TemporaryGuard,
}

impl Fresh {
    /// Begins a file that must not exist yet.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn create(path: &Path) -> Result<Self, Error> {
        if path.symlink_metadata().is_ok() {
            return Err(failed("create", path)(io::Error::from(io::ErrorKind::AlreadyExists)));
        }
        // As any new file: the user's mask takes its part.
        let made = temporary::file(path, 0o666);
        let (file, guard) = made.map_err(failed("create", path))?;
        Ok(Self { file, path: path.to_owned(), _guard: guard })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(failed("write", &self.path))
    }

    /// Flushes the file to the disk and gives it its name.
    ///
    /// # Errors
    /// The operating system's, with the path; nothing is left behind then.
    pub fn finish(self) -> Result<(), Error> {
        self.file.as_file().sync_all().map_err(failed("flush", &self.path))?;
        self.file.persist_noclobber(&self.path).map_err(|error| failed("create", &self.path)(error.error))?;
        sync_folder(folder_of(&self.path))
    }
}

/// Returns the folder that a path lies in; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes files into a folder that is not there, or is empty: it appears with all of them or not at all. A single file may
/// be added to a folder that holds others, where it is whole or absent.
///
/// # Errors
/// The operating system's, with the path; for several files, a folder that holds something is an error, and for a single
/// one, an existing file of its name. Nothing is written then.
pub fn write_folder(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>, Error> {
    let places: Vec<PathBuf> = files.iter().map(|(name, _)| folder.join(name)).collect();
    let is_empty = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed("read", folder)(error)),
    };
    if !is_empty {
        // Several names cannot appear in a folder at once: who is killed between them would leave a part of the set.
        let ([place], [(_, bytes)]) = (places.as_slice(), files) else {
            return Err(failed("create all files at once in", folder)(io::Error::from(
                io::ErrorKind::DirectoryNotEmpty,
            )));
        };
        let mut fresh = Fresh::create(place)?;
        fresh.write(bytes)?;
        fresh.finish()?;
        return Ok(places);
    }
    // The folder in the temporary one has the mode of any new folder.
    let temporary = temporary::Folder::create(folder).map_err(failed("create", folder))?;
    let made = temporary.path().join("made");
    std::fs::create_dir(&made).map_err(failed("create", folder))?;
    for (name, bytes) in files {
        write_new(&made.join(name), bytes)?;
    }
    sync_folder(&made)?;
    std::fs::rename(&made, folder).map_err(failed("create", folder))?;
    sync_folder(folder_of(folder))?;
    Ok(places)
}

/// Flushes a folder's entries to the disk, so that a rename in it survives a power cut.
///
/// # Errors
/// The operating system's, with the path.
pub fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("flush", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_appear_in_a_new_or_empty_folder_and_in_no_other() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str| (name.to_owned(), b"content".to_vec());
        let count = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
        let set = [file("a"), file("b")];
        let folder = home.path().join("folder");
        write_folder(&folder, &set).unwrap();
        assert_eq!(count(&folder), 2);
        let held = home.path().join("held");
        std::fs::create_dir(&held).unwrap();
        std::fs::write(held.join("mine"), b"mine").unwrap();
        let error = write_folder(&held, &set).unwrap_err();
        assert!(error.to_string().contains("held") && error.hint().is_some(), "{error}");
        assert_eq!(count(&held), 1, "nothing is written");
        // A single file is whole or absent by itself.
        write_folder(&held, &set[..1]).unwrap();
        assert!(write_folder(&held, &set[..1]).is_err());
        assert_eq!(count(&held), 2);
    }
}
