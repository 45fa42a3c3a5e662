//! The outcome of one check: its verdict, what was found and where, and how outcomes combine.

use crate::audit::Verdict;
use coldforge_base::Refusal;

/// What a check found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) found: String,
    pub(super) at: Vec<String>,
    /// What to do about it, where the check's own hint is about something else.
    pub(super) advice: Vec<String>,
}

impl Outcome {
    /// Adds advice for exactly this finding.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    /// Adds where it was found.
    pub(super) fn at(mut self, place: impl Into<String>) -> Self {
        self.at.push(place.into());
        self
    }
}

fn outcome(verdict: Verdict, found: String) -> Outcome {
    Outcome { verdict, found, at: Vec::new(), advice: Vec::new() }
}

pub(super) fn pass(found: impl Into<String>) -> Outcome {
    outcome(Verdict::Pass, found.into())
}

pub(super) fn warn(found: impl Into<String>) -> Outcome {
    outcome(Verdict::Warn, found.into())
}

pub(super) fn fail(found: impl Into<String>) -> Outcome {
    outcome(Verdict::Fail, found.into())
}

pub(super) fn unknown(reason: impl Into<String>) -> Outcome {
    outcome(Verdict::Unknown, reason.into())
}

/// Combines several outcomes into the worst one. An unknown part weighs more than a warning and less than a failure; the
/// result reports what each part with that verdict found.
pub(super) fn worst(parts: Vec<Outcome>) -> Outcome {
    let weight = |verdict| match verdict {
        Verdict::Pass => 0,
        Verdict::Warn => 1,
        Verdict::Unknown => 2,
        Verdict::Fail => 3,
    };
    let verdict = parts.iter().map(|part| part.verdict).max_by_key(|verdict| weight(*verdict)).unwrap_or(Verdict::Pass);
    let deciding: Vec<&Outcome> = parts.iter().filter(|part| part.verdict == verdict).collect();
    let found: Vec<&str> = deciding.iter().map(|part| part.found.as_str()).filter(|found| !found.is_empty()).collect();
    let once = |of: fn(&Outcome) -> &Vec<String>| {
        let mut all: Vec<String> = Vec::new();
        for text in deciding.iter().flat_map(|part| of(part)) {
            if !all.contains(text) {
                all.push(text.clone());
            }
        }
        all
    };
    Outcome { verdict, found: found.join("; "), at: once(|part| &part.at), advice: once(|part| &part.advice) }
}

/// The answer of a check; an error means that the outcome is unknown.
pub(super) type Answer = Result<Outcome, Refusal>;
