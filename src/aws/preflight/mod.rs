//! Preflight: whether AWS accepts an image, and whether an instance of it starts and lets somebody log on, checked on the
//! image alone.
//!
//! Forty-eight checks ([`checks`]), each with what AWS requires and the error that it prevents. A check returns
//! pass, warn or fail only for what it read; what it cannot read, or what has no evidence, is unknown, with the reason. An
//! absent value is a result of its own; a value of a type that Windows does not write is unknown.
//!
//! Nothing is written.

mod access;
mod boot;
mod catalog;
mod check;
mod disk;
mod drivers;
mod facts;
mod fix;
mod identity;
mod outcome;
mod servicing;
mod software;

use crate::audit::PreflightDocument;
pub use crate::audit::{PreflightCheck, Route, UnknownRoute, Verdict};
use crate::formats::shell;
pub use catalog::checks;
pub use check::Check;
pub use facts::{Container, Facts, Fix};
pub use fix::{UnknownFix, check_words, fixes};
use outcome::{Outcome, fail, unknown};

/// The outcomes of all checks on an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The route that was checked.
    pub route: Route,
    /// The checks by ascending id.
    pub checks: Vec<PreflightCheck>,
}

impl Report {
    /// Runs all checks.
    pub fn of(facts: &Facts<'_>) -> Self {
        let one = |check: &'static Check| {
            let outcome = (check.run)(facts).unwrap_or_else(|refusal| unknown(refusal.to_string()));
            let fixable = outcome.verdict != Verdict::Pass && fix::sets_right(facts, check);
            checked(check, outcome, fixable)
        };
        Self { route: facts.route, checks: checks().into_iter().map(one).collect() }
    }

    /// Returns the report on an image whose container cannot be opened: nothing is known but that.
    pub fn unopened(route: Route, is_damaged: bool, reason: &str) -> Self {
        let culprit = if is_damaged { "P02" } else { "P01" };
        let one = |check: &'static Check| match check.id == culprit {
            true => checked(check, fail(reason), false),
            false => checked(check, unknown("the image cannot be opened"), false),
        };
        Self { route, checks: checks().into_iter().map(one).collect() }
    }

    /// Returns the report with the image's name or path in the commands that its hints show.
    pub fn naming(&self, image: &str) -> Self {
        let mut named = self.clone();
        let image = format!(" {} ", shell::word(image));
        for check in &mut named.checks {
            for command in ["coldforge harden", "coldforge convert"] {
                check.hint = check.hint.replace(&format!("{command} IMAGE "), &format!("{command}{image}"));
            }
        }
        named
    }

    /// Returns how many checks have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// Returns the checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &PreflightCheck> {
        self.checks.iter().filter(|check| check.verdict == Verdict::Fail)
    }

    /// Returns the report as a document (`coldforge/preflight/1`) about the image of this file name.
    pub fn document<'a>(&'a self, image: &'a str) -> PreflightDocument<'a> {
        PreflightDocument::new(image, self.route, &self.checks)
    }
}

fn checked(check: &'static Check, outcome: Outcome, fixable: bool) -> PreflightCheck {
    let Outcome { verdict, found, at, advice } = outcome;
    let own = if advice.is_empty() { check.hint.to_owned() } else { advice.join("; ") };
    let hint = match fixable {
        true => format!("`coldforge harden IMAGE -o DIR --fix {}` sets it right; or {own}", check.id),
        false => own,
    };
    PreflightCheck {
        id: check.id.into(),
        title: check.title.into(),
        verdict,
        found,
        at,
        requires: check.requires.into(),
        prevents: check.prevents.into(),
        hint,
        fixable,
    }
}

#[cfg(test)]
mod tests {
    use super::outcome::{pass, warn, worst};
    use super::*;

    #[test]
    fn every_check_from_p01_to_p48_is_there_once() {
        let ids: Vec<String> = checks().iter().map(|check| check.id.to_owned()).collect();
        let expected: Vec<String> = (1..=48).map(|number| format!("P{number:02}")).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn an_unknown_part_hides_a_warning_and_never_a_failure() {
        let both = worst(vec![warn("a").at("x"), unknown("b"), pass("c")]);
        assert_eq!((both.verdict, both.found.as_str()), (Verdict::Unknown, "b"));
        let all = worst(vec![unknown("b"), fail("d").at("x"), fail("e").at("x")]);
        assert_eq!((all.verdict, all.found.as_str(), all.at), (Verdict::Fail, "d; e", vec!["x".to_owned()]));
    }
}
