//! How a differencing disk names its parent, where the parent's file is found, and how its bytes are read.
//!
//! A child names its parent by paths of the machine that it was made on. Of those only the file name counts, and only
//! in the child's own folder: whatever an image says, no path in it leads to another folder. A file elsewhere is used if
//! the user names it.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pieces::before;
use super::{Error, Raw, Result};
use coldforge_base::{Extent, ReadAt, fs};

/// The longest chain of parents that is followed.
const DEPTH_MAX: usize = 32;

/// What a differencing disk says of its parent.
#[derive(Debug)]
pub(super) struct Link {
    /// The parent's paths, the best first.
    pub paths: Vec<String>,
    /// What the parent must be.
    pub identity: Identity,
}

/// What identifies the parent that a differencing disk was made from.
#[derive(Debug)]
pub(super) enum Identity {
    /// A VHD with this unique id in its footer.
    Vhd([u8; 16]),
    /// A VHDX.
    Vhdx {
        /// The values of `parent_linkage` and `parent_linkage2`: the parent's data write GUID is one of them.
        linkages: Vec<String>,
        /// Bytes of the parent's logical sectors.
        logical_sector: u32,
    },
}

/// Opens the parent of the child in a file: who opens images gives this to the containers.
pub(super) type OpenParent<'a> = dyn FnMut(&Raw, Link) -> Result<Parent> + 'a;

/// The disk below a differencing disk. It may be shorter than the child, whose rest is zero, or missing, which makes
/// everything zero.
#[derive(Default)]
pub(super) struct Parent(Option<Arc<dyn ReadAt>>);

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parent").field(&self.0.as_ref().map(|parent| parent.len())).finish()
    }
}

impl Parent {
    /// Takes the parent's disk.
    pub fn of(parent: Arc<dyn ReadAt>) -> Self {
        Self(Some(parent))
    }

    /// Fills `buf` with the parent's bytes at `at`.
    pub fn read(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        let length = self.0.as_ref().map_or(0, |parent| parent.len()).saturating_sub(at);
        let inside = usize::try_from(length).unwrap_or(usize::MAX).min(buf.len());
        let (stored, behind) = buf.split_at_mut(inside);
        behind.fill(0);
        match &self.0 {
            Some(parent) if !stored.is_empty() => Ok(parent.read_at(at, stored)?),
            _ => Ok(()),
        }
    }

    /// Returns the parent's first extent at or after `from` and before `end` that may hold anything but zeros.
    pub fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>> {
        let Some(parent) = self.0.as_ref().filter(|parent| from < parent.len()) else { return Ok(None) };
        Ok(parent.next_data(from)?.and_then(|data| before(data, end)))
    }
}

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

    /// Returns where the parent of the image in `child` lies, which calls it by `paths`, the best first.
    pub fn find(&mut self, child: &Raw, paths: &[String]) -> Result<PathBuf> {
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
        Ok(path)
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

/// Opens no parent: for disks that have none.
#[cfg(test)]
pub(super) fn no_parent(child: &Raw, _: Link) -> Result<Parent> {
    Err(Error::ParentMissing { path: child.path().to_owned(), name: String::new() })
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
