//! What kinds of failure there are, how an error tells its own, and the named refusals.
//!
//! Each operation has one error type; each implements [`Failure`] by the derive macro of the same name, which also lists
//! its codes. The command line chooses an exit code and prints a hint without knowing the errors themselves.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::offset::{CellOffset, FileOffset, ImageOffset, Lcn, Vcn, VolumeOffset};

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

impl Kind {
    /// Returns what can be done about any failure of this kind.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Corrupt => {
                "compare the input with a sound copy: `coldforge check` and `coldforge reg check` list what is wrong"
            }
            Self::Io => "check that the file system can be read and written and has room, then run the command again",
            Self::Limit => "give an input within the limit that the message names",
            Self::NotFound => "check the spelling of what was named, and that it is there",
            Self::Refused | Self::Unsupported => {
                "run `coldforge inspect` to see everything that stands against the image"
            }
            Self::Usage => "run the command with --help for its options",
        }
    }
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

    /// Returns where something is wrong, as the user would look for it: a path, a key, a line, or an offset.
    fn place(&self) -> Option<String> {
        None
    }

    /// Returns the hint, or what can be done about any failure of its kind: no error leaves the user without a next step.
    fn advice(&self) -> &'static str {
        self.hint().filter(|hint| !hint.is_empty()).unwrap_or(self.kind().advice())
    }
}

/// A stable code, and what it means: a row of the table of codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Code {
    /// The code, such as `E-VOLUME-DIRTY`.
    pub code: &'static str,
    /// The kind of the failures that have it; none where that depends on what was found.
    pub kind: Option<Kind>,
    /// What it means, one or more sentences.
    pub meaning: &'static str,
    /// What to do; empty where that depends on what was found.
    pub hint: &'static str,
}

impl Code {
    /// Returns the code of a reason not to write.
    pub const fn refusal(code: &'static str, meaning: &'static str, hint: &'static str) -> Self {
        Self { code, kind: Some(Kind::Refused), meaning, hint }
    }

    /// Returns the code of a warning, which stops nothing.
    pub const fn warning(code: &'static str, meaning: &'static str, hint: &'static str) -> Self {
        Self { code, kind: None, meaning, hint }
    }
}

/// A field of an error that says where something is wrong.
pub trait Place {
    /// Returns the place as it is shown.
    fn place(&self) -> Option<String>;
}

/// Numbers are byte offsets, which are shown in hexadecimal.
macro_rules! offsets {
    ($($number:ty)+) => {
        $(impl Place for $number {
            fn place(&self) -> Option<String> {
                Some(format!("{self:#x}"))
            }
        })+
    };
}

/// Everything that is shown as it prints itself.
macro_rules! shown {
    ($($shown:ty)+) => {
        $(impl Place for $shown {
            fn place(&self) -> Option<String> {
                Some(self.to_string())
            }
        })+
    };
}

offsets!(u32 u64 usize);
shown!(String &'static str CellOffset FileOffset ImageOffset Lcn Vcn VolumeOffset);

impl Place for PathBuf {
    fn place(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl<T: Place> Place for Option<T> {
    fn place(&self) -> Option<String> {
        self.as_ref().and_then(Place::place)
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

impl Refusal {
    /// Returns the refusal of this code for what was found.
    pub fn new(code: &Code, reason: impl Into<String>) -> Self {
        Self { code: code.code, reason: reason.into(), hint: code.hint }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Plain(Kind, Option<&'static str>);

    impl fmt::Display for Plain {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("it failed")
        }
    }

    impl std::error::Error for Plain {}

    impl Failure for Plain {
        fn kind(&self) -> Kind {
            self.0
        }

        fn hint(&self) -> Option<&'static str> {
            self.1
        }
    }

    #[test]
    fn no_failure_leaves_the_user_without_a_next_step() {
        use Kind::{Corrupt, Io, Limit, NotFound, Refused, Unsupported, Usage};
        for kind in [Corrupt, Io, Limit, NotFound, Refused, Unsupported, Usage] {
            for hint in [None, Some("")] {
                let advice = Plain(kind, hint).advice();
                assert!(advice.len() > 20 && !advice.ends_with('.'), "{kind:?}: {advice}");
            }
            assert_eq!(Plain(kind, Some("do it")).advice(), "do it");
        }
    }
}
