//! Floor 6: the jobs, each one function: assess an image, ask whether Amazon would take it, harden it into a bundle, verify a bundle, carry out a
//! recipe; and hands-on work on its registry and its files.
//!
//! A job takes everything it needs (also the moment it happens) and touches no terminal.

mod claims;
mod clocks;
pub mod component;
mod demand;
mod error;
mod files;
mod folder;
mod harden;
mod history;
mod notify;
mod output;
mod preflight;
pub mod recipe;
pub mod registry;
mod reports;
mod retention;
mod scan;
mod schedule;
mod scope;
mod verify;
mod webhook;

pub use claims::{CLAIMS, Claim};
pub use clocks::{Ci, is_own_unit, shell_word, units, workflow};
pub use demand::Demand;
pub use error::Error;
pub use files::{FileStep, FilesWritten, edit_files};
pub use folder::{Broken, PipelineFault, Pipelines};
pub use harden::{BundleSummary, Harden, Outcome, Timings, harden};
pub use history::{BundleRow, History, HistoryError, Run};
pub use notify::{Notice, notify};
pub use output::{Emission, Output};
pub use preflight::preflight;
pub use reports::{report, write_rendered, write_reports};
pub use retention::{Pruned, Retention, prune};
pub use scan::{Document, Scan, scan};
pub use schedule::Schedule;
pub use verify::{Given, Problem, Proof, verify};

/// The answer of every job.
pub type Result<T> = std::result::Result<T, Error>;
