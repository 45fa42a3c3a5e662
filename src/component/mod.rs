//! Components: changes to an image beyond the STIG rules, in the document format of EC2 Image Builder.
//!
//! A document is parsed and checked as a whole; its phases then run step by step against a powered-off machine. The steps
//! write nothing: they become steps of the same [`crate::policy::Plan`] that the rules make, so that the audit log and the
//! verifiers treat both alike. The phase `test` runs after the edit and only reads. The files that a document names are
//! read with it and kept in the bundle.

mod act;
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
mod script;
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
