//! Block devices: how large one is, whether the machine uses it, what tells that it was written to, and where the undo
//! journal of one lies.
//!
//! A device is opened for exclusive use for a moment: Linux refuses that (`EBUSY`) while it, a partition of it, or a
//! logical volume, array or swap space on it is mounted or otherwise in use.

use std::fs::{DirBuilder, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, SeekFrom};

use super::{Error, Result};
use coldforge_base::digest::Digest;
use coldforge_base::fs;

/// Where undo journals of devices lie: `/dev` is lost when the machine stops.
const JOURNALS: &str = "/var/lib/coldforge/undo";
/// Attributes of a device are a line.
const ATTRIBUTE_BYTES_MAX: u64 = 64 << 10;
/// Which number in `stat` of a block device counts the sectors that were written to it (Linux, Documentation/block/stat).
const SECTORS_WRITTEN: usize = 6;

/// Tells whether a path leads to a block device.
pub fn is_block_device(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| is_device(&metadata))
}

/// Tells whether a path or a file is a block device.
pub(super) fn is_device(metadata: &Metadata) -> bool {
    metadata.file_type().is_block_device()
}

/// Opens a device for reading; with `write` for writing too, and then nobody can mount it as long as it is open.
///
/// # Errors
/// [`Error::DeviceBusy`] if the machine uses it, otherwise the operating system's.
pub(super) fn open(path: &Path, write: bool) -> Result<File> {
    let flags = i32::try_from(OFlags::EXCL.bits()).unwrap_or(0);
    let opened = File::options().read(true).write(write).custom_flags(flags).open(path);
    let exclusive = opened.map_err(|error| match error.kind() {
        ErrorKind::ResourceBusy => Error::DeviceBusy { path: path.to_owned() },
        _ => fs::failed("open", path)(error).into(),
    })?;
    if write {
        return Ok(exclusive);
    }
    // Several readers may share a device.
    let file = fs::open(path)?;
    // What was written to it and lies in memory yet counts as written from now on.
    file.sync_all().map_err(fs::failed("flush", path))?;
    Ok(file)
}

/// Returns the length of a file or of a device in bytes.
pub(super) fn length(file: &File, metadata: &Metadata, path: &Path) -> Result<u64> {
    if !is_device(metadata) {
        return Ok(metadata.len());
    }
    Ok(rustix::fs::seek(file, SeekFrom::End(0)).map_err(|errno| fs::failed("examine", path)(errno.into()))?)
}

/// Returns how many sectors were written to a device since the machine was started; zero where nobody counts.
pub(super) fn sectors_written(metadata: &Metadata) -> i64 {
    let counts = attribute(&folder(metadata), "stat").unwrap_or_default();
    counts.split_ascii_whitespace().nth(SECTORS_WRITTEN).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Returns where the undo journal of a device lies, its folder made if `make` says so.
pub(super) fn journal(path: &Path, metadata: &Metadata, make: bool) -> Result<PathBuf> {
    let folder = Path::new(JOURNALS);
    if make {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(fs::failed("create", folder))?;
    }
    let name = path.canonicalize().map_err(fs::failed("open", path))?;
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Names of devices change when the machine starts again; what the device says of itself does not.
    let id = Digest::of(identity(metadata).unwrap_or(name).as_bytes()).to_string();
    Ok(folder.join(id.get(..32).unwrap_or(&id)))
}

/// Returns what identifies a device: the id of a logical volume, the serial number of a drive, the file of a loop device.
fn identity(metadata: &Metadata) -> Option<String> {
    let own = folder(metadata);
    let part = attribute(&own, "partition");
    let drive = if part.is_some() { own.join("..") } else { own };
    let names = ["dm/uuid", "wwid", "device/wwid", "device/serial", "serial", "loop/backing_file"];
    let found = names.into_iter().find_map(|name| Some((name, attribute(&drive, name)?)));
    found.map(|(name, value)| format!("{name} {value} {}", part.unwrap_or_default()))
}

fn folder(metadata: &Metadata) -> PathBuf {
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let link = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    link.canonicalize().unwrap_or(link)
}

fn attribute(folder: &Path, name: &str) -> Option<String> {
    let bytes = fs::read(&folder.join(name), ATTRIBUTE_BYTES_MAX).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}
