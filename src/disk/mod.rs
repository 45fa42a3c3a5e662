//! Floor 1: the bytes of a virtual disk, whatever file they lie in.
//!
//! Everything here is a device to read ([`ReadAt`](crate::base::ReadAt)) or to write ([`WriteAt`](crate::base::WriteAt)).
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod block_device;
mod compare;
mod digest;
mod emit;
mod error;
mod export;
mod image;
mod in_place;
mod lock;
mod map;
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

pub use block_device::is_block_device;
pub use compare::differences;
pub use digest::{Blocks, Digests, EBS_BLOCK_BYTES, digest, digest_blocks, linear};
pub use error::Error;
pub use export::{Exported, Target, convert, export, export_as};
pub use image::{Format, Image, UnknownFormat, file_name};
pub use in_place::{
    Held, InPlace, Mark, Pending, UndoJournal, Undone, forget, pending, undo, undo_by_force, write_in_place,
};
pub use overlay::Overlay;
pub use raw::Raw;
pub use signature::Signature;
pub use window::Window;

/// The answer of every function of this floor.
pub type Result<T> = std::result::Result<T, Error>;
