//! Changing a volume: content of any size, new and deleted files and directories, security descriptors.
//!
//! ```text
//! edit       one change: planned on a view of the volume that nobody else sees, written when it is whole
//! order      in which order its parts reach the disk
//! stage      the view: a device over the device
//! bitmap, records   which clusters and which file records are free
//! record, attribute, mapping   a file record and what stands in it, as bytes
//! extents    an attribute of a file wherever it lies: exchanged, grown, moved, taken out; the attribute list
//! mft        a file record for a new file; a longer $MFT
//! node, index, split   an index, generic over its collation: entries put in and taken out
//! replace, create, delete, secure, names   what a caller can ask for
//! ```
//!
//! Each change is all or nothing up to its first write: what it lacks is known before. The caller asks
//! [`refusals`](super::Volume::refusals) first. No attribute list is ever made, and none is made shorter than it must.

mod attribute;
mod bitmap;
mod create;
mod delete;
mod edit;
mod extents;
mod index;
mod mapping;
mod mft;
mod names;
mod node;
mod order;
mod record;
mod records;
mod replace;
mod secure;
mod split;
mod stage;

pub(super) use bitmap::Space;
pub use order::{Changes, WriteStep};
pub use secure::Security;
