//! The jobs, each one function: assess an image, ask whether Amazon would take it, harden it into a bundle, verify a bundle.
//!
//! A job takes everything it needs (also the moment it happens) and touches no terminal.

mod checks;
mod claims;
mod digests;
mod document;
mod edit;
mod emission;
mod emit;
mod error;
mod evidence;
mod job;
mod preflight;
mod reports;
mod request;
mod scan;
mod scope;
mod verify;

pub use claims::{CLAIMS, Claim};
pub(crate) use digests::sums;
pub use document::RunDocument;
pub use emission::Emission;
pub use error::Error;
pub use job::{BundleSummary, Harden, Outcome, Timings, harden};
pub use preflight::preflight;
pub use reports::{report, write_rendered, write_reports};
pub use request::Request;
pub use scan::{Scan, scan};
pub use verify::{Given, Problem, Proof, verify};

/// The answer of a job.
pub type Result<T> = std::result::Result<T, Error>;
