//! Manual edits: of the registry of an image or a hive file, and of the files of a volume.
//!
//! Everything is applied in memory, verified, and only then written, in place or to a new file.

mod error;
mod files;
mod output;
pub mod registry;

pub use error::{Error, Result};
pub use files::{FileEdit, FileEditResult, edit_files};
pub use output::Output;
pub(crate) use output::{Edited, Rollback, order};
