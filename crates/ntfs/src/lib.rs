//! An NTFS volume without a mount: read, verified and changed.
//!
//! ```text
//! Volume::open       boot sector -> $MFT (its runs, over several records if need be) -> $Volume, $UpCase
//! Volume::find       path -> $I30 of each directory -> file reference -> records -> File
//! Volume::read       File -> runs -> clusters; zeros after the initialized size; LZNT1
//! Volume::security   File -> its security descriptor, by id from $Secure or from its own records
//! Volume::refusals   every reason not to write this volume, with its code
//! Volume::verify     every rule between the structures -> findings
//! Volume::overwrite  File + bytes -> clusters or record, and the extents that were touched
//! Volume::replace_stream, create_file, create_dir, delete, set_security
//!                    planned in memory, then written in an order that survives a crash
//! ```
//!
//! | where | what |
//! |---|---|
//! | `layout` | every on-disk structure, offset, flag and reserved name |
//! | `boot`, `record`, `attribute`, `attribute_list`, `runs`, `fixup`, `index_node`, `bitmap`, `lznt1` | one structure each |
//! | `volume`, `segments`, `stream`, `index`, `path`, `file`, `security` | reading |
//! | `refusals`, `log_file`, `dirty_flag` | whether the volume may be written |
//! | `overwrite`, `write` | writing |
//! | `verify` | the verifier |
//!
//! Compressed files can be read but not written; encrypted files and reparse points are rejected with an error code.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod attribute;
mod attribute_list;
mod bitmap;
mod boot;
mod dirty_flag;
mod error;
mod file;
mod fixup;
mod index;
mod index_node;
mod layout;
mod log_file;
mod lznt1;
mod overwrite;
mod path;
mod record;
mod refusals;
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
pub use index::{Entry, Namespace};
pub use record::Reference;
pub use refusals::{CODES, is_shadow_store};
pub use volume::{Information, Volume};
pub use write::{Changes, Security, WriteStep};
