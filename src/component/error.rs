//! Why a component is not carried out.

use thiserror::Error;

use super::fault::{Fault, Flaw};
use crate::policy;
use coldforge_base::{Failure, Kind, fs};

/// The result of working with a component.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of a component.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// A component cannot be used, or one of its steps fails.
    #[error("{name} cannot be carried out ({}): {first}", faults(*count))]
    #[failure(
        kind = kind_of(first),
        code = code_of(first),
        codes = ["E-COMPONENT", "E-COMPONENT-AUTOSTART", "E-COMPONENT-OFFLINE"],
        hint = hint_of(first)
    )]
    Faults {
        /// The component, or its step.
        name: String,
        /// How many faults it has.
        count: usize,
        /// The first one.
        first: Fault,
    },

    /// A file could not be read.
    #[error(transparent)]
    #[failure(transparent)]
    File(#[from] fs::Error),

    /// A policy that a component applies cannot be used.
    #[error(transparent)]
    #[failure(transparent)]
    Policy(#[from] policy::Error),
}

fn faults(count: usize) -> String {
    match count {
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    }
}

fn kind_of(first: &Fault) -> Kind {
    if first.flaw.is_offline() { Kind::Unsupported } else { Kind::Refused }
}

fn code_of(first: &Fault) -> &'static str {
    match first.flaw {
        flaw if flaw.is_offline() => "E-COMPONENT-OFFLINE",
        Flaw::Autostart => "E-COMPONENT-AUTOSTART",
        _ => "E-COMPONENT",
    }
}

fn hint_of(first: &Fault) -> &'static str {
    if first.flaw.is_of_reading() {
        "mend the document: `coldforge component lint` lists everything that is wrong with it"
    } else {
        first.flaw.hint()
    }
}
