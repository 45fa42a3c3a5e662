//! Bytes addressed by position: what a disk, a partition and a file system stand on.
//!
//! [`ReadAt`] and [`WriteAt`] have no cursor, so that several readers can share a device. A range outside the device is an
//! error and never a panic. What a device itself answers (a container, the operating system) travels as
//! [`Error::Failed`], with its kind, its code and its hint: who stands on a device needs to know nothing of what it is.

use std::fmt;
use std::sync::Arc;

use super::offset::Extent;
use super::read::{self, OutOfBounds};
use crate::Failure;

/// The answer of a device.
pub type Result<T> = std::result::Result<T, Error>;

/// Why bytes of a device cannot be read or written.
#[derive(Debug, Failure)]
#[non_exhaustive]
pub enum Error {
    /// A range leaves the device.
    #[failure(corrupt, hint = "the image or its file system is damaged, or was changed meanwhile: make it again")]
    OutOfRange {
        /// First byte asked for.
        at: u64,
        /// Number of bytes asked for.
        length: u64,
        /// Size of the device in bytes.
        size: u64,
    },

    /// The device failed.
    #[failure(transparent)]
    Failed(Box<dyn Failure + Send + Sync>),
}

impl Error {
    /// Wraps what a device answers.
    pub fn failed(error: impl Failure + Send + Sync) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { at, length, size } => {
                write!(f, "{length:#x} bytes at {at:#x} lie outside the disk of {size:#x} bytes")
            }
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OutOfRange { .. } => None,
            Self::Failed(error) => error.source(),
        }
    }
}

impl From<OutOfBounds> for Error {
    fn from(cut: OutOfBounds) -> Self {
        Self::OutOfRange { at: cut.at as u64, length: cut.length as u64, size: cut.available as u64 }
    }
}

/// A disk, or a part of one, that can be read.
pub trait ReadAt: Send + Sync {
    /// Returns the size in bytes.
    fn len(&self) -> u64;

    /// Tells whether the device has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes that begin at `at`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the range leaves the device; [`Error::Failed`].
    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()>;

    /// Returns the bytes of the disk's logical sectors, if its container says so.
    fn sector_bytes(&self) -> Option<u32> {
        None
    }

    /// Returns the first extent at or after `from` that may hold anything but zeros, or `None` if only zeros follow.
    ///
    /// Bytes outside the returned extents read as zero and need not be read at all.
    ///
    /// # Errors
    /// [`Error::Failed`].
    fn next_data(&self, from: u64) -> Result<Option<Extent>> {
        Ok(self.len().checked_sub(from).filter(|rest| *rest > 0).map(|rest| Extent::new(from, rest)))
    }
}

/// A disk, or a part of one, that can be written.
pub trait WriteAt: ReadAt {
    /// Writes `buf` at `at`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the range leaves the device; [`Error::Failed`].
    fn write_at(&mut self, at: u64, buf: &[u8]) -> Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`Error::Failed`].
    fn flush(&mut self) -> Result<()>;
}

/// Checks that `length` bytes at `at` lie inside a device of `size` bytes.
///
/// # Errors
/// [`Error::OutOfRange`] if they do not.
pub fn check_range(at: u64, length: usize, size: u64) -> Result<()> {
    match at.checked_add(length as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::OutOfRange { at, length: length as u64, size }),
    }
}

macro_rules! forward {
    ($($type:ty),*) => {$(
        impl<D: ReadAt + ?Sized> ReadAt for $type {
            fn len(&self) -> u64 {
                (**self).len()
            }

            fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
                (**self).read_at(at, buf)
            }

            fn next_data(&self, from: u64) -> Result<Option<Extent>> {
                (**self).next_data(from)
            }

            fn sector_bytes(&self) -> Option<u32> {
                (**self).sector_bytes()
            }
        }
    )*};
}

forward!(&D, &mut D, Arc<D>, Box<D>);

impl<D: WriteAt + ?Sized> WriteAt for &mut D {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> Result<()> {
        (**self).write_at(at, buf)
    }

    fn flush(&mut self) -> Result<()> {
        (**self).flush()
    }
}

/// A disk that is a vector of bytes, for tests and small volumes.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub Vec<u8>);

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        check_range(at, buf.len(), self.len())?;
        buf.copy_from_slice(read::slice(&self.0, read::size(at), buf.len())?);
        Ok(())
    }
}

impl WriteAt for Memory {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> Result<()> {
        check_range(at, buf.len(), self.len())?;
        read::put(&mut self.0, read::size(at), buf)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
