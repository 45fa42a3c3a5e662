//! Files that are written below one folder and nowhere else: no link is followed on the way, and what stands there already is
//! replaced only where the caller recognises it as its own.
//!
//! Every step goes through the descriptor of the folder before it, so that a path that is exchanged meanwhile leads nowhere.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use thiserror::Error as ThisError;

use super::fs;
use crate::Failure;

/// A hint that several of these errors share.
const CHOOSE_ANOTHER: &str = "choose another name, or move away what stands there";

/// Why a file is not written.
#[derive(Debug, ThisError, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The path is absolute, goes up, or names nothing.
    #[error("`{}` leads out of its folder", path.display())]
    #[failure(refused, "E-OUTPUT", hint = "name a file below that folder, without `..`")]
    Outside {
        /// The path.
        path: PathBuf,
    },

    /// A link stands in the path or in the place of the file.
    #[error("`{}` is a link, and links are not followed", path.display())]
    #[failure(refused, "E-OUTPUT", hint = "name the folder or the file that the link stands for, or remove the link")]
    Link {
        /// The link.
        path: PathBuf,
    },

    /// Something else than a plain file stands there.
    #[error("`{}` is not a plain file", path.display())]
    #[failure(refused, "E-OUTPUT", hint = CHOOSE_ANOTHER)]
    NotAFile {
        /// The place.
        path: PathBuf,
    },

    /// A file stands there that the caller does not recognise.
    #[error("`{}` exists, and coldforge did not write it", path.display())]
    #[failure(refused, "E-OUTPUT", hint = CHOOSE_ANOTHER)]
    Foreign {
        /// The file.
        path: PathBuf,
    },

    /// The operating system failed.
    #[error(transparent)]
    #[failure(transparent)]
    File(#[from] fs::Error),
}

/// Returns the parts of a path that stays below the folder that it counts from; `None` if it may lead out of it.
pub fn parts(path: &Path) -> Option<Vec<&OsStr>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!parts.is_empty()).then_some(parts)
}

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder by the path that the user named, in which links are followed.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed("open", path, error))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder right below, and makes it if nothing stands there.
    ///
    /// # Errors
    /// [`Error::Link`], [`Error::NotAFile`]; the operating system's.
    pub fn enter(&self, name: &OsStr) -> Result<Self, Error> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed("create", &path, error)),
        }
        match self.kind(name)? {
            Some(FileType::Symlink) => return Err(Error::Link { path }),
            Some(FileType::Directory) => {}
            _ => return Err(Error::NotAFile { path }),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        Ok(Self { fd: fd.map_err(|error| failed("open", &path, error))?, path })
    }

    /// Tells what stands under a name; a link is not followed.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kind(&self, name: &OsStr) -> Result<Option<FileType>, Error> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("look at", &self.path.join(name), error)),
        }
    }

    /// Demands that a file may be written under a name: nothing stands there, or a plain file that `is_own` recognises.
    ///
    /// # Errors
    /// [`Error::Link`], [`Error::NotAFile`], [`Error::Foreign`]; the operating system's.
    pub fn check(&self, name: &OsStr, limit: u64, is_own: &dyn Fn(&[u8]) -> bool) -> Result<(), Error> {
        let path = self.path.join(name);
        match self.kind(name)? {
            None => return Ok(()),
            Some(FileType::RegularFile) => {}
            Some(FileType::Symlink) => return Err(Error::Link { path }),
            Some(_) => return Err(Error::NotAFile { path }),
        }
        // Another kind of file that took its place meanwhile is not waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        let fd = fd.map_err(|error| failed("open", &path, error))?;
        let mut bytes = Vec::new();
        let read = File::from(fd).take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(fs::failed("read", &path))?;
        match bytes.len() as u64 <= limit && is_own(&bytes) {
            true => Ok(()),
            false => Err(Error::Foreign { path }),
        }
    }

    /// Gives a file this content: the old or the new one stands there, whatever happens.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn put(&self, name: &OsStr, bytes: &[u8]) -> Result<(), Error> {
        let mut fresh = OsString::from(".");
        fresh.push(name);
        fresh.push(".coldforge-new");
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(&self.fd, &fresh, flags, Mode::from_raw_mode(0o666));
        let made = match make() {
            // What a run that was killed left behind.
            Err(rustix::io::Errno::EXIST) if self.kind(&fresh)? == Some(FileType::RegularFile) => {
                let _ = rustix::fs::unlinkat(&self.fd, &fresh, AtFlags::empty());
                make()
            }
            made => made,
        };
        let mut file = File::from(made.map_err(|error| failed("create", &self.path.join(&fresh), error))?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fs::failed("write", &path));
        let named = written.map_err(Error::from).and_then(|()| {
            rustix::fs::renameat(&self.fd, &fresh, &self.fd, name).map_err(|error| failed("write", &path, error))
        });
        if named.is_err() {
            let _ = rustix::fs::unlinkat(&self.fd, &fresh, AtFlags::empty());
        }
        named
    }
}

fn failed(deed: &'static str, path: &Path, error: rustix::io::Errno) -> Error {
    fs::failed(deed, path)(io::Error::from(error)).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_that_may_lead_out_of_its_folder_has_no_parts() {
        for odd in ["", ".", "/etc/passwd", "../a", "a/../../b", "a/.."] {
            assert!(parts(Path::new(odd)).is_none(), "{odd}");
        }
        assert_eq!(parts(Path::new("./a/b")).unwrap(), ["a", "b"]);
    }

    #[test]
    fn links_and_foreign_files_stay_as_they_are() {
        let home = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let name = OsStr::new("a.json");
        symlink(outside.path(), home.path().join("folder")).unwrap();
        symlink(outside.path().join("target"), home.path().join("link")).unwrap();
        std::fs::create_dir(home.path().join("made")).unwrap();
        std::fs::write(home.path().join("foreign"), "mine").unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let never = |_: &[u8]| false;
        assert!(matches!(folder.enter(OsStr::new("folder")), Err(Error::Link { .. })));
        assert!(matches!(folder.enter(OsStr::new("foreign")), Err(Error::NotAFile { .. })));
        assert!(matches!(folder.check(OsStr::new("link"), 10, &never), Err(Error::Link { .. })));
        assert!(matches!(folder.check(OsStr::new("made"), 10, &never), Err(Error::NotAFile { .. })));
        assert!(matches!(folder.check(OsStr::new("foreign"), 10, &never), Err(Error::Foreign { .. })));
        assert!(matches!(folder.check(OsStr::new("foreign"), 3, &|_| true), Err(Error::Foreign { .. })), "too long");
        folder.check(OsStr::new("foreign"), 10, &|bytes| bytes == b"mine").unwrap();
        let inner = folder.enter(OsStr::new("inner")).unwrap();
        inner.check(name, 10, &never).unwrap();
        std::fs::write(home.path().join("inner/.a.json.coldforge-new"), "left behind").unwrap();
        inner.put(name, b"one").unwrap();
        inner.put(name, b"two").unwrap();
        assert_eq!(std::fs::read(home.path().join("inner/a.json")).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(home.path().join("inner")).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
