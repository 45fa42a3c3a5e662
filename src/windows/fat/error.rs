//! What can be wrong with a FAT volume.

use coldforge_base::{Failure, device};

/// A hint that several of these errors share.
const REPAIR: &str = "repair the EFI system partition with `chkdsk /f` in Windows (`mountvol S: /S` shows it)";

/// Why a FAT volume cannot be read.
#[derive(Debug, thiserror::Error, Failure)]
pub enum Error {
    /// Two entries of a directory have the same name.
    #[error("two entries of a directory are named {name:?}")]
    #[failure(corrupt, "E-FAT-CORRUPT", hint = REPAIR)]
    AmbiguousName {
        /// The name of the first.
        name: String,
    },

    /// A field of the boot sector contradicts the format, the device or another field.
    #[error("{field} in the boot sector is {value:#x}")]
    #[failure(corrupt, "E-FAT-CORRUPT", hint = REPAIR)]
    BootSector {
        /// The field.
        field: &'static str,
        /// The value found.
        value: u64,
    },

    /// A chain has another length than its file.
    #[error("the chain that begins at cluster {first:#x} has {clusters} clusters, and its file needs {expected}")]
    #[failure(corrupt, "E-FAT-CORRUPT", hint = REPAIR)]
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
    #[failure(corrupt, "E-FAT-CORRUPT", hint = REPAIR)]
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
    #[failure(corrupt, "E-FAT-CORRUPT", hint = REPAIR)]
    ChainLong {
        /// Its first cluster.
        first: u32,
        /// How many clusters the file needs, or a directory can have.
        limit: u64,
    },

    /// The copies of the table say different things of a cluster.
    #[error("the copies of the FAT differ at cluster {cluster:#x}: {first:#x} and {other:#x}")]
    #[failure(corrupt, "E-FAT-CORRUPT", hint = REPAIR)]
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
    #[failure(transparent)]
    Device(#[from] device::Error),

    /// A directory is asked for its bytes.
    #[error("{name:?} is a directory")]
    #[failure(usage, hint = "name a file in it")]
    IsDirectory {
        /// Its name.
        name: String,
    },

    /// A chain leads to a cluster that is free, bad, reserved, or outside the volume.
    #[error("a chain leads from cluster {from:#x} to {to:#x}, which is not an allocated cluster")]
    #[failure(corrupt, "E-FAT-CORRUPT", hint = REPAIR)]
    Link {
        /// The cluster before; the same as `to` for the first of a chain.
        from: u32,
        /// Where it leads.
        to: u32,
    },

    /// A file is asked for its entries.
    #[error("{name:?} is not a directory")]
    #[failure(usage, hint = "name the folder that holds it")]
    NotADirectory {
        /// Its name.
        name: String,
    },

    /// There is no FAT volume.
    #[error("there is no FAT file system")]
    #[failure(
        unsupported,
        "E-NOT-FAT",
        hint = "format the EFI system partition and write its files with `bcdboot C:\\Windows /s S: /f UEFI` in Windows"
    )]
    NotFat,

    /// A file is larger than the volume that it is on.
    #[error("a file has {size:#x} bytes, and the volume has room for {volume:#x}")]
    #[failure(corrupt, "E-FAT-CORRUPT", hint = REPAIR)]
    SizeBeyondVolume {
        /// The size that its directory entry gives.
        size: u64,
        /// The bytes of all clusters of the volume.
        volume: u64,
    },

    /// A file is larger than the caller allows.
    #[error("a file has {size:#x} bytes, more than the limit of {limit:#x}")]
    #[failure(limit, "E-FAT-TOO-LARGE", hint = REPAIR)]
    TooLarge {
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
}
