//! Where an edited image goes.

use std::path::{Path, PathBuf};

use super::{Error, Result};
use crate::base::Extent;
use crate::base::progress::Progress;
use crate::disk::{self, Image, Overlay, UndoJournal};

/// Where the result of hands-on work goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Into the file that was read.
    InPlace,
    /// Into a new file; the one that was read stays as it is.
    File(PathBuf),
}

impl Output {
    /// Checks that a new file would be new.
    ///
    /// # Errors
    /// [`Error::Exists`].
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::File(out) if out.symlink_metadata().is_ok() => Err(Error::Exists { path: out.clone() }),
            _ => Ok(()),
        }
    }

    /// Writes the disk that an overlay shows; in place with an undo journal, which is gone when everything is written.
    /// `order` names ranges of the disk in the order in which they must reach it. Returns the files that were written:
    /// none if in place nothing differs.
    ///
    /// # Errors
    /// Those of the export, or of writing in place; the image is then what it was.
    pub(super) fn emit(
        &self,
        overlay: &Overlay<&Image>,
        path: &Path,
        order: &[Vec<Extent>],
        progress: &dyn Progress,
    ) -> Result<Vec<PathBuf>> {
        match self {
            Self::InPlace if overlay.changed()?.is_empty() => Ok(Vec::new()),
            Self::InPlace => {
                disk::write_in_place(overlay, order, UndoJournal::Remove, progress)?;
                Ok(vec![path.to_owned()])
            }
            Self::File(out) => {
                disk::export(overlay, out, progress)?;
                Ok(vec![out.clone()])
            }
        }
    }
}
