//! Looking up a path: from the root directory to a file, one name at a time.

use super::index::Index;
use super::layout::system;
use crate::error::{Error, Result};
use crate::file::File;
use crate::volume::Volume;
use coldforge_base::ReadAt;

impl<D: ReadAt> Volume<D> {
    /// Finds the file or directory at `path`.
    ///
    /// Names are separated by `\`, a leading one may be left out, and the empty path is the root directory. The case of
    /// letters does not count, by the volume's own table; 8.3 names are names too. `None` if a name does not exist, or
    /// if one that is not the last is a file.
    ///
    /// # Errors
    /// [`Error::ReparsePoint`] if a directory on the way is a junction, a link or a mount point: it is not followed.
    /// [`Error::AmbiguousName`] if several files fit. Otherwise errors in the volume.
    pub fn find(&self, path: &str) -> Result<Option<File>> {
        let mut segments = self.segments(self.record(system::ROOT)?)?;
        for name in names(path) {
            if !segments.base.is_directory() {
                return Ok(None);
            }
            if let Some(tag) = self.reparse_tag(&segments)? {
                return Err(Error::ReparsePoint { record: segments.base.number(), tag });
            }
            match Index::open(self, &segments)?.find(self, &name)? {
                None => return Ok(None),
                Some(entry) => segments = self.referenced(entry.reference)?,
            }
        }
        self.file_of(&segments).map(Some)
    }
}

/// Splits a path into names in UTF-16.
fn names(path: &str) -> impl Iterator<Item = Vec<u16>> {
    path.split('\\').filter(|name| !name.is_empty()).map(|name| name.encode_utf16().collect())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_separator_is_optional_and_the_empty_path_is_the_root() {
        let split = |path| names(path).map(|name| String::from_utf16(&name).unwrap()).collect::<Vec<_>>();
        assert_eq!(split(r"\Windows\System32"), ["Windows", "System32"]);
        assert_eq!(split(r"Windows\System32"), ["Windows", "System32"]);
        assert!(split(r"\").is_empty() && split("").is_empty());
    }
}
