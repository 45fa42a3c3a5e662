//! The concepts of EC2 Image Builder for images in local files: recipes with their tests, folders of pipelines with their
//! schedules, history, notifications and retention of bundles.

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
