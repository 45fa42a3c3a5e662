//! Where an edited image goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Error, Result};
use crate::windows;
use coldforge_base::interrupt::CriticalSection;
use coldforge_base::progress::{Progress, Silent};
use coldforge_base::{Extent, ImageOffset};
use coldforge_disk::{self as disk, Format, Image, Mark, Overlay, Target, UndoJournal, Window};
use coldforge_ntfs::{Volume, WriteStep};

/// Where the result of hands-on work goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Into the file that was read.
    InPlace,
    /// Into a new file; the one that was read stays as it is.
    File(PathBuf),
}

/// What becomes of the disk that a hardening run has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Emission {
    /// A new image in the bundle; the source stays as it is.
    New(Target),
    /// The source itself, with an undo journal beside it that is kept.
    InPlace,
}

impl Emission {
    /// Returns the container that the changed disk will be in.
    ///
    /// # Errors
    /// [`disk::Error::Delta`] if the image cannot have children, [`disk::Error::InPlace`] if it is not written in place,
    /// [`disk::Error::UndoExists`] if the journal of an earlier run is still beside it.
    pub(super) fn format(self, image: &Image) -> Result<Format> {
        Ok(match self {
            Self::New(Target::Same) => image.format().alone(),
            Self::New(Target::Format(format)) => format.alone(),
            Self::New(Target::Delta) => {
                image.delta_format().ok_or(disk::Error::Delta { format: image.format() }).map_err(Error::Disk)?
            }
            Self::InPlace => {
                image.check_in_place()?;
                image.format()
            }
        })
    }

    /// Returns the name of the changed image, whose source is called `name`.
    ///
    /// It keeps its ending where that fits the container. A differencing disk needs another name than its parent, and an
    /// image that is changed in place keeps its own.
    pub(super) fn name(self, name: &str, to: Format) -> String {
        match self {
            Self::New(Target::Delta) => {
                let whole = disk::file_name(name, to.alone());
                let stem = whole.rsplit_once('.').map_or(whole.as_str(), |(stem, _)| stem);
                format!("{stem}.delta.{}", to.ending())
            }
            Self::New(_) => disk::file_name(name, to),
            Self::InPlace => name.to_owned(),
        }
    }
}

/// The volume of an image that an edit is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edited {
    /// The number of its partition.
    pub partition: u32,
    /// Where it lies on the disk.
    pub volume: Extent,
}

impl Edited {
    /// Returns what calls the volume dirty while it is written to in place.
    pub(super) fn marks(self, image: &Image) -> Result<Vec<Mark>> {
        let Self { partition, volume: Extent { offset, length } } = self;
        let failed = |source| windows::Error::Volume { partition, source };
        let volume = Volume::open(Window::open(image, ImageOffset(offset), length)?).map_err(failed)?;
        let marks = volume.dirty_marks().map_err(failed)?;
        Ok(marks.into_iter().map(|(at, byte)| Mark { at: offset.saturating_add(at.0), byte }).collect())
    }
}

/// Joins the ranges of several changes of a volume step by step, in the order in which they must reach the disk.
pub(super) fn order<'c>(steps: impl IntoIterator<Item = &'c (WriteStep, Vec<Extent>)>) -> Vec<Vec<Extent>> {
    let mut order: BTreeMap<WriteStep, Vec<Extent>> = BTreeMap::new();
    for (step, extents) in steps {
        order.entry(*step).or_default().extend(extents);
    }
    order.into_values().collect()
}

/// Takes a run in place back, unless it is settled.
#[derive(Debug)]
pub(super) struct TakeBack {
    held: Option<disk::Held>,
    _critical: CriticalSection,
}

impl TakeBack {
    /// Begins when a run in place has left its journal; the process is not to end before it is known what becomes of it,
    /// and nobody else can use the image until then.
    pub(super) fn new(held: disk::Held, whole: CriticalSection) -> Self {
        Self { held: Some(held), _critical: whole }
    }

    /// Leaves the image as it is now.
    ///
    /// # Errors
    /// The operating system's; the run is then taken back.
    pub(super) fn settle(mut self) -> Result<()> {
        if let Some(held) = &self.held {
            held.settle()?;
        }
        self.held = None;
        Ok(())
    }
}

impl Drop for TakeBack {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            // Where this fails, the journal stays for `coldforge undo`.
            let _ = held.take_back(&Silent);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_its_ending_where_that_fits_its_container() {
        let name = |name, to| Emission::New(Target::Format(to)).name(name, to);
        assert_eq!(name("base.vhd", Format::VhdxFixed), "base.vhdx");
        assert_eq!(name("base.VHD", Format::VhdDynamic), "base.VHD");
        assert_eq!(name("base.img", Format::Raw), "base.img");
        assert_eq!(name("base.v1", Format::Vmdk), "base.v1.vmdk");
        for (name, from, to, expected) in [
            ("base.vhdx", Target::Delta, Format::VhdxDelta, "base.delta.vhdx"),
            // A parent whose name is another container's.
            ("base.vhd", Target::Delta, Format::VhdxDelta, "base.delta.vhdx"),
            ("child", Target::Same, Format::VhdDynamic, "child.vhd"),
            ("x.vhd", Target::Same, Format::VhdxDynamic, "x.vhdx"),
            ("x.vmdk", Target::Same, Format::Raw, "x.raw"),
        ] {
            assert_eq!(Emission::New(from).name(name, to), expected);
        }
        assert_eq!(Emission::InPlace.name("x.vhd", Format::Raw), "x.vhd");
    }
}
