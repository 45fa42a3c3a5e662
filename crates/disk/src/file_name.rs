//! What the name of an image file says of its format, and what a file of a format is called.

use std::path::Path;

use super::Format;

/// The container that the ending of a file's name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Named {
    Raw,
    Vhd,
    Vhdx,
    Vmdk,
    Qcow,
    Vdi,
}

impl Named {
    /// Returns what the name says of the file.
    pub const fn claim(self) -> &'static str {
        match self {
            Self::Raw => "its name calls it a raw disk",
            Self::Vhd => "its name calls it a VHD",
            Self::Vhdx => "its name calls it a VHDX",
            Self::Vmdk => "its name calls it a VMDK",
            Self::Qcow => "its name calls it a QCOW image",
            Self::Vdi => "its name calls it a VDI",
        }
    }

    /// Tells whether files of a format are named so.
    pub const fn fits(self, format: Format) -> bool {
        matches!(
            (self, format),
            (Self::Raw, Format::Raw)
                | (Self::Vhd, Format::VhdFixed | Format::VhdDynamic | Format::VhdDelta)
                | (Self::Vhdx, Format::VhdxFixed | Format::VhdxDynamic | Format::VhdxDelta)
                | (Self::Vmdk, Format::Vmdk)
        )
    }
}

/// Returns what a file's name calls it; `None` if it says nothing.
pub(crate) fn named(path: &Path) -> Option<Named> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (stem, ending) = name.rsplit_once('.')?;
    match ending {
        "raw" | "img" | "dd" => Some(Named::Raw),
        "vhd" | "avhd" => Some(Named::Vhd),
        "vhdx" | "avhdx" => Some(Named::Vhdx),
        // The sectors of a flat VMDK lie in a raw file of this name.
        "vmdk" if stem.ends_with("-flat") => Some(Named::Raw),
        "vmdk" => Some(Named::Vmdk),
        "qcow" | "qcow2" => Some(Named::Qcow),
        "vdi" => Some(Named::Vdi),
        _ => None,
    }
}

/// Returns what a file of a format is called whose name is `name`: the same where its ending is one of the format's, or
/// says nothing of containers and the format is raw; otherwise with the format's own ending.
///
/// The ending of a differencing disk that becomes a disk of its own (`avhd`, `avhdx`) is replaced too.
pub fn file_name(name: &str, format: Format) -> String {
    let called = named(Path::new(name));
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && called.is_some() => (stem, ending.to_ascii_lowercase()),
        _ => (name, String::new()),
    };
    let is_child = ending.starts_with("avhd") && format == format.alone();
    // `x-flat.vmdk` is the raw part of a VMDK that its descriptor names. Alone it is a raw disk, and no VMDK.
    let is_part = ending == "vmdk" && format == Format::Raw;
    match called {
        Some(called) if !stem.is_empty() && called.fits(format) && !is_child && !is_part && !ending.is_empty() => {
            name.to_owned()
        }
        None if format == Format::Raw => name.to_owned(),
        _ => format!("{stem}.{}", format.ending()),
    }
}
