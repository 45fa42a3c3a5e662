//! Floor 5: the evidence: typed records in a hash chain, and the bundle that holds the image and everything about it.
//!
//! `audit.jsonl` is one JSON object a line. `hash` is the lower-case hex SHA-256 of the line's bytes before the final
//! `,"hash":"`; `prev` is the hash of the line before, 64 zeros in the first. Twenty lines of script can check it.

mod assessment;
mod bundle;
mod chain;
mod error;
mod log;
mod preflight;
mod record;
mod signature;

pub use assessment::AssessmentDocument;
pub use bundle::{Bundle, Damage, Holds, LOG_SIGNATURE, Listed, MANIFEST, Staging, check_outside, digest_file};
pub use chain::{Chain, Fault};
pub use error::Error;
pub use log::{Log, Numbered};
pub use preflight::{PreflightCheck, PreflightDocument, PreflightTotals, Route, UnknownRoute, Verdict};
pub use record::{
    AwsRecord, ChangeRecord, ComponentRecord, FileRecord, Header, ImageRecord, LinearChecksum, Policy,
    PolicyFileRecord, PolicyRecord, Record, SCHEMA, SecondOpinion, Tool, Trailer,
};
pub use signature::{KeyFault, PublicKey, SecretKey, Signature};

/// The answer of every function of this floor.
pub type Result<T> = std::result::Result<T, Error>;
