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

    /// Returns the hint, or what can be done about any failure of its kind: no error leaves the user without a next step.
    fn advice(&self) -> &'static str {
        self.hint().filter(|hint| !hint.is_empty()).unwrap_or(self.kind().advice())
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
