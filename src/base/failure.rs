//! What kinds of failure there are, how an error tells its own, and the named refusals.
//!
//! Every floor has one error enum; each implements [`Failure`], so that the command line can choose an exit code and
//! print a hint without knowing the floors.

use std::fmt;

use serde::Serialize;

/// The kind of a failure, which decides the exit code.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bytes contradict their own format: exit code 4.
    Corrupt,
    /// The operating system failed a read or a write: exit code 4.
    Io,
    /// A bound that protects time or memory was reached: exit code 4.
    Limit,
    /// Something that was named does not exist: exit code 4.
    NotFound,
    /// The input is understood, and going on would be unsafe: exit code 3, with a stable code.
    Refused,
    /// The input uses a form that this version does not handle: exit code 3, with a stable code.
    Unsupported,
    /// The command was asked for something impossible: exit code 2.
    Usage,
}

/// An error that knows its kind and, where it is a refusal, its stable code and what to do next.
pub trait Failure: std::error::Error + 'static {
    /// Returns the kind, which decides the exit code.
    fn kind(&self) -> Kind;

    /// Returns the stable code (`E-VOLUME-DIRTY`) of a refusal.
    ///
    /// Every error of kind [`Kind::Refused`] or [`Kind::Unsupported`] has one.
    fn code(&self) -> Option<&'static str> {
        None
    }

    /// Returns what the user can do about it, as one imperative sentence without a final period.
    fn hint(&self) -> Option<&'static str> {
        None
    }
}

/// A named reason not to write, found by a read-only check.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Refusal {
    /// The stable code, such as `E-VOLUME-DIRTY`.
    pub code: &'static str,
    /// What was found and where, one sentence without a final period.
    pub reason: String,
    /// What to do, one imperative sentence without a final period.
    pub hint: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}
