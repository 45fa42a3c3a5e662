//! Changing a volume: content of any size, new and deleted files and directories, security descriptors.
//!
//! ```text
//! replace, create, delete, secure, names   the operations of a caller
//! edit                   one change: planned on a private view of the volume, written when it is complete
//! order                  the order in which its parts reach the disk
//! stage                  the private view: a device that keeps writes in memory
//! space, free_records    allocation of clusters and of file records
//! record, attribute      a file record and its attributes, edited and encoded
//! extents                an attribute in whichever records hold it, and the attribute list
//! mft                    a record for a new file; growing $MFT
//! index, node, split     an index: its nodes, entries inserted and removed
//! ```
//!
//! If a change fails before its first write, nothing was written; all space is allocated before. The caller asks
//! [`refusals`](super::Volume::refusals) first. Attribute lists are never created, and never made shorter than needed.

mod attribute;
mod create;
mod delete;
mod edit;
mod extents;
mod free_records;
mod index;
mod mft;
mod names;
mod node;
mod order;
mod record;
mod replace;
mod secure;
mod space;
mod split;
mod stage;

pub use order::{Changes, WriteStep};
pub use secure::Security;
pub(super) use space::Space;
