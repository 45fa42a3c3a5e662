//! Files and folders under a temporary name beside their target, until they are whole.
//!
//! The name tells the target: `.NAME.coldforge-XXXXXX.part`. A run that is killed leaves it behind, and the next run of
//! the same target removes it. What a process still works on has a shared `flock`, and is left alone.

use std::ffi::OsString;
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use super::digest::Digest;
use super::fs::folder_of;
use super::interrupt::TemporaryGuard;

/// What follows the target's name.
const MARK: &str = ".coldforge-";
const SUFFIX: &str = ".part";
/// How many characters the random part of the name has.
const RANDOM_LENGTH: usize = 6;
/// Longer names of targets stand there by their digest: a file's name has at most 255 bytes.
const NAME_BYTES_MAX: usize = 200;
/// Another run may take a new file for a leftover, in the moment before it is locked.
const ATTEMPTS: usize = 16;

/// Makes a file beside `target`, with a mode that the user's mask takes its part of, and removes what killed runs of
/// the same target have left.
///
/// # Errors
/// The operating system's.
pub fn file(target: &Path, mode: u32) -> io::Result<(NamedTempFile, TemporaryGuard)> {
    clear(target);
    let make = || {
        let mut builder = tempfile::Builder::new();
        let prefix = prefix(target);
        builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM_LENGTH).permissions(Permissions::from_mode(mode));
        builder.tempfile_in(folder_of(target))
    };
    locked(|| TemporaryGuard::make(make, |file| file.path().to_owned()), |(file, _)| lock(file.as_file()))
}

/// A folder under a temporary name, which dies with this value.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
    // Locked as long as it is open.
    _lock: File,
    _guard: TemporaryGuard,
}

impl Folder {
    /// Makes a folder beside `target`, and removes what killed runs of the same target have left.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(target: &Path) -> io::Result<Self> {
        clear(target);
        let make = || {
            let prefix = prefix(target);
            let mut builder = tempfile::Builder::new();
            builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM_LENGTH).tempdir_in(folder_of(target))
        };
        let make = || {
            let (folder, guard) = TemporaryGuard::make(make, |folder| folder.path().to_owned())?;
            let lock = File::open(folder.path())?;
            Ok(Self { folder, _lock: lock, _guard: guard })
        };
        locked(make, |made| lock(&made._lock))
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder where it is: it has got another name.
    pub fn keep(self) {
        let _ = self.folder.keep();
    }
}

/// Makes something and locks it, again if another run has removed it meanwhile.
fn locked<T>(make: impl Fn() -> io::Result<T>, lock: impl Fn(&T) -> io::Result<bool>) -> io::Result<T> {
    for _ in 0..ATTEMPTS {
        let made = make()?;
        if lock(&made)? {
            return Ok(made);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Says that a process works on a file; tells whether it still has its name. A file system without locks has nobody to
/// ask.
fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(false),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file.metadata()?.nlink() > 0),
    }
}

fn prefix(target: &Path) -> OsString {
    let name = target.file_name().unwrap_or_default();
    let mut prefix = OsString::from(".");
    if name.len() <= NAME_BYTES_MAX {
        prefix.push(name);
    } else {
        prefix.push(Digest::of(name.as_bytes()).to_string());
    }
    prefix.push(MARK);
    prefix
}

/// Removes what killed runs of the same user have left of a target; what cannot be removed is left.
fn clear(target: &Path) {
    let prefix = prefix(target);
    let Ok(entries) = std::fs::read_dir(folder_of(target)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let rest = name.as_bytes().strip_prefix(prefix.as_bytes());
        let random = rest.and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
        if random.is_some_and(|random| random.len() == RANDOM_LENGTH && random.iter().all(u8::is_ascii_alphanumeric)) {
            let _ = remove_leftover(&entry.path());
        }
    }
}

/// Removes a file or folder that no process works on.
fn remove_leftover(path: &PathBuf) -> io::Result<()> {
    let named = path.symlink_metadata()?;
    if !(named.is_file() || named.is_dir()) || named.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let file = File::open(path)?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) || file.try_lock().is_err() {
        return Ok(());
    }
    if named.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_run_left_is_removed_by_the_next_of_the_same_target_and_by_no_other() {
        let place = tempfile::tempdir().expect("a folder");
        let target = place.path().join("out.vhdx");
        let left =
            [".out.vhdx.coldforge-Ab3xYz.part", ".other.vhdx.coldforge-Ab3xYz.part", ".out.vhdx.coldforge-Ab3.part"];
        for name in left {
            std::fs::write(place.path().join(name), b"left").expect("a file");
        }
        std::fs::create_dir(place.path().join(".out.vhdx.coldforge-folder.part")).expect("a folder");
        std::fs::write(place.path().join(".out.vhdx.coldforge-folder.part/a"), b"left").expect("a file");
        let (file, guard) = file(&target, 0o666).expect("a file");
        let own = file.path().file_name().expect("a name").to_string_lossy().into_owned();
        assert!(own.starts_with(".out.vhdx.coldforge-") && own.ends_with(".part"), "{own}");
        let mut expected = vec![left[1].to_owned(), left[2].to_owned(), own];
        expected.sort();
        assert_eq!(names(place.path()), expected);
        drop((file, guard));
        assert_eq!(names(place.path()), [left[1], left[2]]);
    }

    #[test]
    fn what_a_process_still_works_on_is_left_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let target = place.path().join("out");
        let first = file(&target, 0o666).expect("a file");
        let folder = Folder::create(&target).expect("a folder");
        let second = file(&target, 0o600).expect("a file");
        assert!(first.0.path().exists() && folder.path().exists() && second.0.path().exists());
        assert_eq!(names(place.path()).len(), 3);
        drop((first, second, folder));
        assert_eq!(names(place.path()).len(), 0);
        let long = place.path().join("x".repeat(255));
        assert!(file(&long, 0o600).is_ok(), "a name of 255 bytes");
    }
}
