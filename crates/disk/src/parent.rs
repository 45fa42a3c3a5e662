//! Where the parent of a differencing disk is found, and how far a search may go.
//!
//! A child names its parent by paths of the machine that it was made on. Of those only the file name counts, and only
//! in the child's own folder: whatever an image says, it leads nobody to another place. A file elsewhere is used if the
//! user names it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::image::Image;
use super::{Error, Raw, Result};
use coldforge_base::{Extent, ReadAt, fs};

/// Longer chains are somebody's mistake.
const DEPTH_MAX: usize = 32;

/// The files that were opened on the way from a child to its oldest ancestor.
#[derive(Debug, Default)]
pub(super) struct Lineage<'a> {
    /// The parent that the user named for the first child.
    given: Option<&'a Path>,
    /// Device and number of each file.
    seen: Vec<(u64, u64)>,
}

impl<'a> Lineage<'a> {
    /// Begins a chain whose first parent the user may name.
    pub fn new(given: Option<&'a Path>) -> Self {
        Self { given, seen: Vec::new() }
    }

    /// Opens the parent of the image in `child`, which calls it by `paths`, the best first.
    pub fn open(&mut self, child: &Raw, paths: &[String]) -> Result<Image> {
        let metadata = child.metadata()?;
        self.seen.push((metadata.dev(), metadata.ino()));
        let path = match self.given.take() {
            Some(given) => given.to_owned(),
            None => beside(child.path(), paths)?,
        };
        let metadata = path.metadata().map_err(fs::failed("open", &path))?;
        let is_known = self.seen.contains(&(metadata.dev(), metadata.ino()));
        if is_known || self.seen.len() >= DEPTH_MAX {
            return Err(Error::ParentLoop { path });
        }
        Image::open_in(&path, None, self)
    }
}

/// Returns the first file in the child's folder that has the name at the end of one of the paths.
fn beside(child: &Path, paths: &[String]) -> Result<PathBuf> {
    let child = child.canonicalize().map_err(fs::failed("open", child))?;
    let folder = child.parent().unwrap_or(Path::new("/"));
    let names: Vec<&str> = paths.iter().filter_map(|path| file_name(path)).collect();
    for name in &names {
        let path = folder.join(name);
        match path.canonicalize() {
            // A link to another folder is a way out as well.
            Ok(real) if real.parent() != Some(folder) => return Err(Error::ParentOutside { path }),
            Ok(real) if real != child => return Ok(real),
            _ => {}
        }
    }
    let name = names.first().map_or_else(String::new, |name| (*name).to_owned());
    Err(Error::ParentMissing { path: child, name })
}

/// Returns the last part of a path as Windows or a Unix writes it, if it can name a file.
fn file_name(path: &str) -> Option<&str> {
    let name = path.rsplit(['\\', '/']).next()?;
    let usable = !matches!(name, "" | "." | "..") && !name.contains(['\0', ':']);
    usable.then_some(name)
}

/// Reads from a parent that may be missing, which makes everything zero, or shorter than its child, whose rest is zero.
pub(super) fn read(parent: Option<&Image>, at: u64, buf: &mut [u8]) -> Result<()> {
    let length = parent.map_or(0, ReadAt::len).saturating_sub(at);
    let inside = usize::try_from(length).unwrap_or(usize::MAX).min(buf.len());
    let (stored, behind) = buf.split_at_mut(inside);
    behind.fill(0);
    match parent {
        Some(parent) if !stored.is_empty() => Ok(parent.read_at(at, stored)?),
        _ => Ok(()),
    }
}

/// Returns the first extent of a parent at or after `from` and before `end` that may hold anything but zeros.
pub(super) fn next_data(parent: Option<&Image>, from: u64, end: u64) -> Result<Option<Extent>> {
    let Some(parent) = parent.filter(|parent| from < parent.len()) else { return Ok(None) };
    let data = parent.next_data(from)?.filter(|data| data.offset < end);
    Ok(data.map(|data| Extent::new(data.offset, data.end().min(end).saturating_sub(data.offset))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_part_of_a_path_counts() {
        assert_eq!(file_name(r".\base.vhd"), Some("base.vhd"));
        assert_eq!(file_name(r"C:\Windows\..\base.vhd"), Some("base.vhd"));
        assert_eq!(file_name(r"\\server\share\base.vhdx"), Some("base.vhdx"));
        assert_eq!(file_name("../../etc/shadow"), Some("shadow"));
        for path in ["", ".", "..", r"a\..", "a/", "a\\", "C:", "a\0b", "stream:x"] {
            assert_eq!(file_name(path), None, "{path}");
        }
    }
}
