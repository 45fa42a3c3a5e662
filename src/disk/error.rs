//! What can be wrong with a virtual disk.

use thiserror::Error;

use crate::base::{Failure, Kind, fs};

/// A failure of this floor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system failed.
    #[error(transparent)]
    File(#[from] fs::Error),

    /// A range lies outside the device.
    #[error("{length:#x} bytes at {at:#x} lie outside the disk of {size:#x} bytes")]
    OutOfRange {
        /// First byte asked for.
        at: u64,
        /// Number of bytes asked for.
        length: u64,
        /// Size of the device.
        size: u64,
    },

    /// The device takes no writes.
    #[error("the disk was opened for reading only")]
    ReadOnly,
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::File(error) => error.kind(),
            Self::OutOfRange { .. } => Kind::Corrupt,
            Self::ReadOnly => Kind::Io,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File(error) => error.hint(),
            _ => None,
        }
    }
}
