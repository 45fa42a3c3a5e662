//! Benchmarks as DISA publishes them: XCCDF 1.1 and 1.2 (NIST IR 7275), as a file or in its zip.
//!
//! [`read`] gives a [`Document`]: what the file says, unchanged. What a rule demands stands there only as prose for
//! people; [`expect`] turns it into [`Expectation`]s, or into nothing where it does not understand every word that
//! matters. Checks in other languages (OVAL) are not read.

mod document;
mod error;
mod prose;
mod rules;

pub use document::{Document, Entry, Revision};
pub use error::Error;
pub use prose::{
    AccountDemand, Applies, AuditDemand, Bound, Expectation, Holders, OptionDemand, Principal, Scope, ValueRequirement,
    applies, expect,
};
pub use rules::{Imported, Origin};

use crate::formats::zip;
use coldforge_base::digest::Digest;

/// The largest file that is read, and the largest document in an archive. The largest that DISA publishes has 3 MB.
pub const LIMIT_BYTES: u64 = 100_000_000;

/// Reads a benchmark: an XML document, or an archive that holds one.
///
/// # Errors
/// [`Error`], always with a code.
pub fn read(bytes: &[u8]) -> Result<Document, Error> {
    let size = bytes.len() as u64;
    if size > LIMIT_BYTES {
        return Err(Error::TooLarge { limit_bytes: LIMIT_BYTES });
    }
    let sha256 = Digest::of(bytes);
    if !zip::is_zip(bytes) {
        return document::read(bytes, sha256);
    }
    let entries = zip::entries(bytes)?;
    let named = |entry: &&zip::Entry<'_>| entry.name.to_lowercase().ends_with("xccdf.xml");
    let mut found: Vec<_> = entries.iter().filter(named).collect();
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Error::NoDocument),
        (Some(entry), true) => match entry.read(LIMIT_BYTES) {
            Err(zip::Error::TooLarge { limit_bytes, .. }) => Err(Error::TooLarge { limit_bytes }),
            Err(error) => Err(error.into()),
            Ok(document) => document::read(&document, sha256),
        },
        (Some(_), false) => Err(Error::SeveralDocuments {
            names: entries.iter().filter(named).map(|entry| entry.name.clone()).collect(),
        }),
    }
}
