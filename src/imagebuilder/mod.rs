//! What EC2 Image Builder has around a build, for images that lie in files: recipes with their tests, pipelines of a folder
//! with their schedules, their history and who is notified, and which of their bundles are kept.

mod error;
mod history;
mod notify;
mod pipelines;
pub mod recipe;
mod retention;
mod schedule;
mod schedulers;
pub(crate) mod sentence;
mod webhook;

pub use error::{Error, PipelineFault, Result};
pub use history::{BundleRow, History, HistoryError, Run};
pub use notify::{Notice, notify};
pub use pipelines::{Pipelines, UnusableRecipe};
pub use retention::{Pruned, Retention, prune};
pub use schedule::Schedule;
pub use schedulers::{Ci, is_own_unit, shell_word, units, workflow};
