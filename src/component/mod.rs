//! Components: what is done to an image beside the rules, in the documents of EC2 Image Builder.
//!
//! A document is read and judged as a whole; its phases are then carried out step by step against what can be read of a
//! powered-off machine. Nothing is written on the way: what comes out are steps of the same [`crate::policy::Plan`] that
//! the rules make, so that the audit log, the verifiers and a later proof treat them alike. The phase `test` is run after
//! the edit, and only looks. What a document names beside it is read with it, and kept by the bundle.

mod actions;
mod attachments;
mod checks;
mod condition;
mod destination;
mod document;
mod download;
mod environment;
mod error;
mod expression;
mod fault;
mod loaded;
mod parse;
mod path;
mod pending_changes;
mod perform;
mod powershell;
mod registry;
mod report;
mod run;
mod staged;
mod yaml;

pub(crate) use attachments::FILE_LIMIT_BYTES;
pub use error::{Error, Result};
pub use fault::{Fault, Flaw, Position};
pub use loaded::Component;
pub(crate) use loaded::is_label;
pub(crate) use pending_changes::PendingChanges;
pub use powershell::{Scripts, UnknownScripts};
pub use report::{StepReport, StepStatus};
