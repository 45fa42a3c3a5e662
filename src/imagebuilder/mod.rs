//! What EC2 Image Builder has around a build, for images that lie in files: recipes with their tests, pipelines of a folder
//! with their schedules, their history and who is notified, and which of their bundles are kept.

mod clocks;
mod error;
mod folder;
mod history;
mod notify;
pub mod recipe;
mod retention;
mod schedule;
mod webhook;

pub use clocks::{Ci, is_own_unit, shell_word, units, workflow};
pub use error::Error;
pub use folder::{Broken, PipelineFault, Pipelines};
pub use history::{BundleRow, History, HistoryError, Run};
pub use notify::{Notice, notify};
pub use retention::{Pruned, Retention, prune};
pub use schedule::Schedule;

/// The answer of a recipe or a pipeline.
pub type Result<T> = std::result::Result<T, Error>;
