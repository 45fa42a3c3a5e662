//! Where the result of an edit goes, and the rollback of an edit in place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Error, Result};
use crate::windows;
use coldforge_base::interrupt::CriticalSection;
use coldforge_base::progress::{Progress, Silent};
use coldforge_base::{Extent, ImageOffset};
use coldforge_disk::{self as disk, Image, Mark, Overlay, UndoJournal, Window};
use coldforge_ntfs::{Volume, WriteStep};

/// Where the result of an edit goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Into the file that was read.
    InPlace,
    /// Into a new file; the one that was read stays as it is.
    File(PathBuf),
}

/// The volume that an edit changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edited {
    /// The number of its partition.
    pub partition: u32,
    /// Its position on the disk.
    pub volume: Extent,
}

impl Edited {
    /// Returns the marks that set the volume's dirty flag while it is written in place.
    pub(crate) fn marks(self, image: &Image) -> Result<Vec<Mark>> {
        let Self { partition, volume: Extent { offset, length } } = self;
        let failed = |source| windows::Error::Volume { partition, source };
        let volume = Volume::open(Window::open(image, ImageOffset(offset), length)?).map_err(failed)?;
        let marks = volume.dirty_marks().map_err(failed)?;
        Ok(marks.into_iter().map(|(at, byte)| Mark { at: offset.saturating_add(at.0), byte }).collect())
    }
}

/// Joins the ranges of several changes of a volume step by step, in the order in which they must reach the disk.
pub(crate) fn order<'c>(steps: impl IntoIterator<Item = &'c (WriteStep, Vec<Extent>)>) -> Vec<Vec<Extent>> {
    let mut order: BTreeMap<WriteStep, Vec<Extent>> = BTreeMap::new();
    for (step, extents) in steps {
        order.entry(*step).or_default().extend(extents);
    }
    order.into_values().collect()
}

/// Undoes a run in place when it is dropped, unless it is settled.
#[derive(Debug)]
pub(crate) struct Rollback {
    held: Option<disk::Held>,
    _critical: CriticalSection,
}

impl Rollback {
    /// Takes over a run in place that has left its journal. The process must not end before the run is settled or undone, and
    /// nobody else can use the image until then.
    pub(crate) fn new(held: disk::Held, critical: CriticalSection) -> Self {
        Self { held: Some(held), _critical: critical }
    }

    /// Leaves the image as it is now.
    ///
    /// # Errors
    /// The operating system's; the run is then undone.
    pub(crate) fn settle(mut self) -> Result<()> {
        if let Some(held) = &self.held {
            held.settle()?;
        }
        self.held = None;
        Ok(())
    }
}

impl Drop for Rollback {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            // If this fails, the journal stays for `coldforge undo`.
            let _ = held.take_back(&Silent);
        }
    }
}

impl Output {
    /// Checks that a new file would be new.
    ///
    /// # Errors
    /// [`Error::Exists`].
    pub(crate) fn check(&self) -> Result<()> {
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
    pub(crate) fn emit(
        &self,
        overlay: &Overlay<&Image>,
        path: &Path,
        (edited, order): (Edited, &[Vec<Extent>]),
        progress: &dyn Progress,
    ) -> Result<Vec<PathBuf>> {
        match self {
            Self::InPlace if overlay.changed()?.is_empty() => Ok(Vec::new()),
            Self::InPlace => {
                let marks = edited.marks(overlay.base())?;
                disk::write_in_place(overlay, order, &marks, UndoJournal::Remove, progress)?;
                Ok(vec![path.to_owned()])
            }
            Self::File(out) => {
                disk::export(overlay, out, progress)?;
                Ok(vec![out.clone()])
            }
        }
    }
}
