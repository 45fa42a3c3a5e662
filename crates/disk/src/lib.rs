//! The bytes of a virtual disk, whatever file they lie in: raw, VHD, VHDX (its log replayed in memory), VMDK, differencing
//! disks with their parents, block devices.
//!
//! [`Image`] reads one; [`Overlay`] keeps what is written over it; [`export`] writes a new file of it, [`write_in_place`]
//! changes the image itself and leaves a journal from which [`undo`] restores it. [`Window`] is a part of a disk, and [`partition`] finds
//! the parts by MBR and GPT.
//!
//! Everything here is a device to read ([`ReadAt`](coldforge_base::ReadAt)) or to write ([`WriteAt`](coldforge_base::WriteAt)).
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod block_device;
mod compare;
mod digest;
mod emit;
mod error;
mod export;
mod file_name;
mod format;
mod image;
mod in_place;
mod lock;
mod map;
mod overlay;
mod ovf;
mod parent;
pub mod partition;
mod pieces;
mod plan;
mod raw;
mod signature;
mod vhd;
mod vhdx;
mod vmdk;
mod window;

pub use block_device::is_block_device;
pub use compare::differences;
pub use digest::{Blocks, Digests, EBS_BLOCK_BYTES, digest, digest_blocks, linear};
pub use error::Error;
pub use export::{Exported, Target, convert, export, export_as};
pub use file_name::file_name;
pub use format::{Format, UnknownFormat};
pub use image::Image;
pub use in_place::{
    Held, InPlace, Mark, Pending, UndoJournal, Undone, forget, pending, undo, undo_by_force, write_in_place,
};
pub use overlay::Overlay;
pub use raw::Raw;
pub use signature::Signature;
pub use window::Window;

/// The result of an operation on a virtual disk.
pub type Result<T> = std::result::Result<T, Error>;
