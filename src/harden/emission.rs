//! What becomes of the disk that a hardening run has changed.

use super::{Error, Result};
use coldforge_disk::{self as disk, Format, Image, Target};

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
    pub(crate) fn format(self, image: &Image) -> Result<Format> {
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
    pub(crate) fn name(self, name: &str, to: Format) -> String {
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
