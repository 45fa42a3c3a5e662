//! What can be wrong with a FAT volume.

use coldforge_base::{Failure, Kind, device};

/// The code of everything that `chkdsk` has to repair.
const CORRUPT: &str = "E-FAT-CORRUPT";

/// An error of this floor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two entries of a directory have the same name.
    #[error("two entries of a directory are named {name:?}")]
    AmbiguousName {
        /// The name of the first.
        name: String,
    },

    /// A field of the boot sector contradicts the format, the device or another field.
    #[error("{field} in the boot sector is {value:#x}")]
    BootSector {
        /// The field.
        field: &'static str,
        /// What stands there.
        value: u64,
    },

    /// A chain has another length than its file.
    #[error("the chain that begins at cluster {first:#x} has {clusters} clusters, and its file needs {expected}")]
    ChainLength {
        /// Its first cluster.
        first: u32,
        /// How many it has.
        clusters: u64,
        /// How many the length of the file needs.
        expected: u64,
    },

    /// A chain comes back to one of its own clusters.
    #[error("the chain that begins at cluster {first:#x} runs in a circle: it comes back to cluster {again:#x}")]
    ChainCircle {
        /// Its first cluster.
        first: u32,
        /// The cluster that it reaches twice.
        again: u32,
    },

    /// A chain has more clusters than its file needs, or than a directory can have.
    #[error(
        "the chain that begins at cluster {first:#x} has more clusters than the {limit} that belong to its file or directory"
    )]
    ChainLong {
        /// Its first cluster.
        first: u32,
        /// How many clusters the file needs, or a directory can have.
        limit: u64,
    },

    /// The copies of the table say different things of a cluster.
    #[error("the copies of the FAT differ at cluster {cluster:#x}: {first:#x} and {other:#x}")]
    CopiesDiffer {
        /// The cluster.
        cluster: u32,
        /// What the first copy says.
        first: u32,
        /// What another copy says.
        other: u32,
    },

    /// The disk below cannot be read.
    #[error(transparent)]
    Device(#[from] device::Error),

    /// A directory is asked for its bytes.
    #[error("{name:?} is a directory")]
    IsDirectory {
        /// Its name.
        name: String,
    },

    /// A chain leads to a cluster that is free, bad, reserved, or outside the volume.
    #[error("a chain leads from cluster {from:#x} to {to:#x}, which is no cluster in use")]
    Link {
        /// The cluster before; the same as `to` for the first of a chain.
        from: u32,
        /// Where it leads.
        to: u32,
    },

    /// A file is asked for its entries.
    #[error("{name:?} is no directory")]
    NotADirectory {
        /// Its name.
        name: String,
    },

    /// There is no FAT volume.
    #[error("there is no FAT file system")]
    NotFat,

    /// A file is larger than the volume that it lies on.
    #[error("a file has {size:#x} bytes, and the volume has room for {volume:#x}")]
    SizeBeyondVolume {
        /// The size that its directory entry gives.
        size: u64,
        /// The bytes of all clusters of the volume.
        volume: u64,
    },

    /// A file is larger than the caller allows.
    #[error("a file has {size:#x} bytes, more than the limit of {limit:#x}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Device(error) => error.kind(),
            Self::NotFat => Kind::Unsupported,
            Self::TooLarge { .. } => Kind::Limit,
            Self::IsDirectory { .. } | Self::NotADirectory { .. } => Kind::Usage,
            Self::AmbiguousName { .. }
            | Self::BootSector { .. }
            | Self::ChainLength { .. }
            | Self::ChainCircle { .. }
            | Self::ChainLong { .. }
            | Self::CopiesDiffer { .. }
            | Self::Link { .. }
            | Self::SizeBeyondVolume { .. } => Kind::Corrupt,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Device(error) => error.code(),
            Self::NotFat => Some("E-NOT-FAT"),
            Self::TooLarge { .. } => Some("E-FAT-TOO-LARGE"),
            Self::IsDirectory { .. } | Self::NotADirectory { .. } => None,
            _ => Some(CORRUPT),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Device(error) => error.hint(),
            Self::NotFat => Some(
                "format the EFI system partition and write its files with `bcdboot C:\\Windows /s S: /f UEFI` in Windows",
            ),
            Self::IsDirectory { .. } => Some("name a file in it"),
            Self::NotADirectory { .. } => Some("name the folder that it lies in"),
            _ => Some("repair the EFI system partition with `chkdsk /f` in Windows (`mountvol S: /S` shows it)"),
        }
    }
}
