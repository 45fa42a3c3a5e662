//! The formats of disk images that are read and written, by the words that name them on the command line and in documents.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A format of disk images that is read and written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// The disk's bytes and nothing else: `raw`.
    Raw,
    /// A fixed VHD: `vhd`.
    VhdFixed,
    /// A dynamic VHD: `vhd-dynamic`.
    VhdDynamic,
    /// A differencing VHD, the changes against a parent: `vhd-delta`.
    VhdDelta,
    /// A fixed VHDX: `vhdx`.
    VhdxFixed,
    /// A dynamic VHDX: `vhdx-dynamic`.
    VhdxDynamic,
    /// A differencing VHDX: `vhdx-delta`.
    VhdxDelta,
    /// A VMDK; `streamOptimized` if it is written: `vmdk`.
    Vmdk,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 8] = [
        Self::Raw,
        Self::VhdFixed,
        Self::VhdDynamic,
        Self::VhdDelta,
        Self::VhdxFixed,
        Self::VhdxDynamic,
        Self::VhdxDelta,
        Self::Vmdk,
    ];

    /// Returns the word that names the format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::VhdFixed => "vhd",
            Self::VhdDynamic => "vhd-dynamic",
            Self::VhdDelta => "vhd-delta",
            Self::VhdxFixed => "vhdx",
            Self::VhdxDynamic => "vhdx-dynamic",
            Self::VhdxDelta => "vhdx-delta",
            Self::Vmdk => "vmdk",
        }
    }

    /// Returns the ending of a file of this format, without the dot.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::VhdFixed | Self::VhdDynamic | Self::VhdDelta => "vhd",
            Self::VhdxFixed | Self::VhdxDynamic | Self::VhdxDelta => "vhdx",
            Self::Vmdk => "vmdk",
        }
    }

    /// Returns the format that a disk of this one has once it needs no parent.
    pub const fn alone(self) -> Self {
        match self {
            Self::VhdDelta => Self::VhdDynamic,
            Self::VhdxDelta => Self::VhdxDynamic,
            other => other,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A word that names no format.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the image formats are raw, vhd, vhd-dynamic, vhd-delta, vhdx, vhdx-dynamic, vhdx-delta and vmdk")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> std::result::Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.to_string() == word).ok_or(UnknownFormat)
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
