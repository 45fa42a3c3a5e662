//! What readers of disk images stand on. Nothing here knows a disk, a volume or a hive.
//!
//! - [`read`]: checked cuts of untrusted bytes; [`offset`]: an address type for each place that bytes have
//! - [`device`]: [`ReadAt`] and [`WriteAt`], bytes by position
//! - [`sid`], [`descriptor`], [`sddl`], [`access`], [`inherit`]: security descriptors, their text, what they grant and pass on
//! - [`failure`]: the kind, the code and the hint that each error has
//! - [`fs`], [`confined`], [`temporary`], [`interrupt`]: files that are whole or absent, whatever is killed when
//! - [`digest`], [`guid`], [`time`], [`utf16`], [`crc32c`], [`progress`]
//!
//! Nothing here reads a clock or draws a random number.

// What the derive macro writes names this crate by its own name, also in here.
extern crate self as coldforge_base;

pub mod access;
pub mod confined;
pub mod crc32c;
pub mod descriptor;
pub mod device;
pub mod digest;
pub mod failure;
pub mod fs;
pub mod guid;
pub mod hex;
pub mod inherit;
pub mod interrupt;
pub mod offset;
pub mod progress;
pub mod read;
#[cfg(feature = "schema")]
mod schema;
pub mod sddl;
pub mod sid;
pub mod temporary;
pub mod time;
pub mod utf16;

pub use coldforge_derive::Failure;
pub use device::{ReadAt, WriteAt};
pub use failure::{Failure, Kind, Refusal};
pub use offset::{CellOffset, Extent, FileOffset, ImageOffset, Lcn, Vcn, VolumeOffset};
