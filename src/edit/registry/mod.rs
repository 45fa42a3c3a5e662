//! Edits a registry: that of an image, or a single hive file.
//!
//! A [`Target`] is opened for reading: a dirty hive is recovered in memory from the logs next to it. [`edit`]
//! changes one: everything is applied in memory, verified, and only then written.

mod diff;
mod edit;
mod target;
mod text;

pub use diff::{Difference, diff};
pub use edit::{EditResult, RegistryEdit, edit, replay, steps};
pub use target::{HiveFile, Target};
pub use text::{Exported, Unprintable, export, spelled};
