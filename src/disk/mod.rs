//! Floor 1: the bytes of a virtual disk, whatever file they lie in.
//!
//! [`BlockDevice`] is the trait everything above stands on: positional, without a cursor; a range outside the device
//! is an error and never a panic.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod compare;
mod device;
mod digest;
mod emit;
mod error;
mod export;
mod image;
mod in_place;
mod lock;
mod map;
mod memory;
mod overlay;
mod ovf;
mod parent;
mod plan;
mod raw;
mod signature;
mod vhd;
mod vhdx;
mod vmdk;
mod window;

pub use compare::differences;
pub use device::is_block_device;
pub use digest::{Blocks, Digests, EBS_BLOCK_BYTES, digest, digest_blocks, linear};
pub use error::Error;
pub use export::{Exported, Target, convert, export, export_as};
pub use image::{Format, Image, UnknownFormat, file_name};
pub use in_place::{
    Held, InPlace, Mark, Pending, UndoJournal, Undone, forget, pending, undo, undo_by_force, write_in_place,
};
pub use memory::Memory;
pub use overlay::Overlay;
pub use raw::Raw;
pub use signature::Signature;
pub use window::Window;

use std::sync::Arc;

use crate::base::Extent;

/// The answer of every function of this floor.
pub type Result<T> = std::result::Result<T, Error>;

/// A disk, or a part of one, addressed by byte.
pub trait BlockDevice: Send + Sync {
    /// Returns the size in bytes.
    fn len(&self) -> u64;

    /// Tells whether the device has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes that begin at `at`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the range leaves the device; otherwise what the container answers.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()>;

    /// Writes `buf` at `at`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the range leaves the device, [`Error::ReadOnly`] if the device takes no writes.
    fn write_at(&mut self, at: u64, buf: &[u8]) -> Result<()>;

    /// Returns the bytes of the disk's logical sectors, if its container says so.
    fn sector_bytes(&self) -> Option<u32> {
        None
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the operating system answers.
    fn flush(&mut self) -> Result<()>;

    /// Returns the first extent at or after `from` that may hold anything but zeros, or `None` if only zeros follow.
    ///
    /// Bytes outside the returned extents read as zero and need not be read at all.
    ///
    /// # Errors
    /// What the container or the operating system answers.
    fn next_data(&self, from: u64) -> Result<Option<Extent>> {
        Ok(self.len().checked_sub(from).filter(|rest| *rest > 0).map(|rest| Extent::new(from, rest)))
    }
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
    ($type:ty, $write_at:expr, $flush:expr) => {
        impl<D: BlockDevice + ?Sized> BlockDevice for $type {
            fn len(&self) -> u64 {
                (**self).len()
            }

            fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
                (**self).read_at(at, buf)
            }

            fn write_at(&mut self, at: u64, buf: &[u8]) -> Result<()> {
                ($write_at)(self, at, buf)
            }

            fn flush(&mut self) -> Result<()> {
                ($flush)(self)
            }

            fn next_data(&self, from: u64) -> Result<Option<Extent>> {
                (**self).next_data(from)
            }

            fn sector_bytes(&self) -> Option<u32> {
                (**self).sector_bytes()
            }
        }
    };
}

forward!(&D, |_: &mut &D, _, _: &[u8]| Err(Error::ReadOnly), |_: &mut &D| Ok(()));
forward!(Arc<D>, |_: &mut Arc<D>, _, _: &[u8]| Err(Error::ReadOnly), |_: &mut Arc<D>| Ok(()));
forward!(&mut D, |d: &mut &mut D, at, buf: &[u8]| (**d).write_at(at, buf), |d: &mut &mut D| (**d).flush());
