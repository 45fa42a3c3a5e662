//! Hands-on work on a registry: that of an image, or a hive file of its own.
//!
//! A [`Target`] is opened for reading: a dirty hive is recovered in memory from the logs that lie beside it. [`edit`]
//! changes one: everything is applied in memory, verified, and only then written.

mod diff;
mod edit;
mod target;
mod text;

pub use diff::{Difference, diff};
pub use edit::{EditResult, RegistryEdit, edit, replay, steps};
pub use target::{HiveFile, Target};
pub use text::{Exported, Unprintable, export, spelled};
