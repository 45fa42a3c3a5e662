//! An NTFS volume: reading it, telling what forbids to write it, overwriting bytes of a file in place, and
//! changing files, names and descriptors.
//!
//! ```text
//! Volume::open       boot sector -> $MFT (its runs, over several records if need be) -> $Volume, $UpCase
//! Volume::find       path -> $I30 of each directory -> reference -> records -> File
//! Volume::read       File -> runs -> clusters; zeros behind the initialized size; LZNT1
//! Volume::security   File -> its descriptor, by id from $Secure or from its own records
//! Volume::refusals   every reason not to write this volume, by its stable code
//! Volume::verify     every rule that ties the structures together -> findings
//! Volume::overwrite  File + bytes -> clusters or record, and the extents that were touched
//! Volume::replace_stream, create_file, create_dir, delete, set_security
//!                    planned in memory, then written in an order that a crash survives
//! ```
//!
//! Compressed files are read and not written; encrypted and reparse files are refused by name.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod attribute;
mod attribute_list;
mod bitmap;
mod boot;
mod error;
mod file;
mod fixup;
mod gate;
mod index;
mod index_node;
mod layout;
mod log_file;
mod lznt1;
mod mark;
mod overwrite;
mod path;
mod record;
mod runs;
mod security;
mod segments;
mod stream;
mod upcase;
pub mod verify;
mod volume;
mod write;

pub use boot::Geometry;
pub use error::{Error, MappingFault, Place, Result};
pub use file::File;
pub use gate::is_shadow_store;
pub use index::{Entry, Namespace};
pub use record::Reference;
pub use volume::{Information, Volume};
pub use write::{Changes, Security, WriteStep};
