//! Would Amazon take this image, and would what comes of it start and let somebody in: told from the image alone.
//!
//! Forty-eight checks ([`checks`]), each with what AWS requires and the error that it prevents. A check answers pass,
//! warn or fail only by what it read; what it cannot read, or what nobody has proven, is unknown, with the reason. A
//! value that is absent is an answer of its own, and one of another type than Windows writes is unknown.
//!
//! Nothing is written.

mod access;
mod boot;
mod disk;
mod drivers;
mod facts;
mod fix;
mod identity;
mod servicing;
mod software;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::formats::shell;
use coldforge_base::Refusal;
pub use facts::{Container, Facts};
pub use fix::{Fix, UnknownFix, check_words, fixes};

/// The way from an image to a machine.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Route {
    /// `aws ec2 import-image`: AWS changes the image, installs drivers and starts it once.
    #[default]
    #[serde(rename = "import-image")]
    ImportImage,
    /// `aws ec2 import-snapshot`, or EBS direct, then `register-image`: nothing is changed, the image brings everything.
    #[serde(rename = "snapshot")]
    Snapshot,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A word that names no route.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the routes are import-image and snapshot")]
pub struct UnknownRoute;

impl FromStr for Route {
    type Err = UnknownRoute;

    fn from_str(word: &str) -> Result<Self, UnknownRoute> {
        match word {
            "import-image" => Ok(Self::ImportImage),
            "snapshot" => Ok(Self::Snapshot),
            _ => Err(UnknownRoute),
        }
    }
}

/// What a check says.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is as AWS wants it.
    Pass,
    /// It may go wrong, or AWS changes it.
    Warn,
    /// It will go wrong.
    Fail,
    /// It cannot be told from the image.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        })
    }
}

/// What a check found.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Outcome {
    verdict: Verdict,
    found: String,
    at: Vec<String>,
    /// What to do about it, where the check's own hint is about something else.
    advice: Vec<String>,
}

impl Outcome {
    /// Says what to do about just this.
    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    /// Says where it was found.
    fn at(mut self, place: impl Into<String>) -> Self {
        self.at.push(place.into());
        self
    }
}

fn outcome(verdict: Verdict, found: String) -> Outcome {
    Outcome { verdict, found, at: Vec::new(), advice: Vec::new() }
}

fn pass(found: impl Into<String>) -> Outcome {
    outcome(Verdict::Pass, found.into())
}

fn warn(found: impl Into<String>) -> Outcome {
    outcome(Verdict::Warn, found.into())
}

fn fail(found: impl Into<String>) -> Outcome {
    outcome(Verdict::Fail, found.into())
}

fn unknown(reason: impl Into<String>) -> Outcome {
    outcome(Verdict::Unknown, reason.into())
}

/// The worst of several judgements; an unknown part weighs more than a warning, and less than a failure. What each part
/// found that has this weight is told.
fn worst(parts: Vec<Outcome>) -> Outcome {
    let weight = |verdict| match verdict {
        Verdict::Pass => 0,
        Verdict::Warn => 1,
        Verdict::Unknown => 2,
        Verdict::Fail => 3,
    };
    let verdict = parts.iter().map(|part| part.verdict).max_by_key(|verdict| weight(*verdict)).unwrap_or(Verdict::Pass);
    let in_report: Vec<&Outcome> = parts.iter().filter(|part| part.verdict == verdict).collect();
    let found: Vec<&str> = in_report.iter().map(|part| part.found.as_str()).filter(|found| !found.is_empty()).collect();
    let once = |of: fn(&Outcome) -> &Vec<String>| {
        let mut all: Vec<String> = Vec::new();
        for text in in_report.iter().flat_map(|part| of(part)) {
            if !all.contains(text) {
                all.push(text.clone());
            }
        }
        all
    };
    Outcome { verdict, found: found.join("; "), at: once(|part| &part.at), advice: once(|part| &part.advice) }
}

/// The answer of a check: what cannot be read is unknown.
type Answer = Result<Outcome, Refusal>;

/// A check.
pub struct Check {
    /// `P01` to `P48`.
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// What AWS requires, or what the first start needs.
    pub requires: &'static str,
    /// The error that it prevents, in AWS's words where there are any.
    pub prevents: &'static str,
    /// What to do.
    pub hint: &'static str,
    run: fn(&Facts<'_>) -> Answer,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What the checks about one area are, in the order of their ids.
const AREAS: [&[Check]; 6] =
    [disk::CHECKS, boot::CHECKS, identity::CHECKS, servicing::CHECKS, access::CHECKS, software::CHECKS];

/// Returns all checks by ascending id.
pub fn checks() -> Vec<&'static Check> {
    let mut all: Vec<&Check> = AREAS.iter().flat_map(|area| area.iter()).chain(drivers::CHECKS).collect();
    all.sort_by_key(|check| check.id);
    all
}

/// A check that was made.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Checked {
    /// `P01` to `P48`.
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// What it says.
    pub verdict: Verdict,
    /// What was found, or why nothing can be told.
    pub found: String,
    /// Where: keys and values, files, partitions.
    #[serde(rename = "where")]
    pub at: Vec<String>,
    /// What AWS requires.
    pub requires: &'static str,
    /// The error that it prevents.
    pub prevents: &'static str,
    /// What to do.
    pub hint: String,
    /// Whether `--fix` with this id makes the check pass.
    pub fixable: bool,
}

/// What all checks say of an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The way that was asked about.
    pub route: Route,
    /// The checks by ascending id.
    pub checks: Vec<Checked>,
}

impl Report {
    /// Makes all checks.
    pub fn of(facts: &Facts<'_>) -> Self {
        let one = |check: &'static Check| {
            let outcome = (check.run)(facts).unwrap_or_else(|refusal| unknown(refusal.to_string()));
            let fixable = outcome.verdict != Verdict::Pass && fix::sets_right(facts, check);
            in_report(check, outcome, fixable)
        };
        Self { route: facts.route, checks: checks().into_iter().map(one).collect() }
    }

    /// Returns the report on an image whose container cannot be opened: nothing is known but that.
    pub fn unopened(route: Route, is_damaged: bool, reason: &str) -> Self {
        let culprit = if is_damaged { "P02" } else { "P01" };
        let one = |check: &'static Check| match check.id == culprit {
            true => in_report(check, fail(reason), false),
            false => in_report(check, unknown("the image cannot be opened"), false),
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
    pub fn failed(&self) -> impl Iterator<Item = &Checked> {
        self.checks.iter().filter(|check| check.verdict == Verdict::Fail)
    }

    /// Returns the report as a document (`coldforge/preflight/1`) about the image of this file name.
    pub fn document(&self, image: &str) -> Value {
        json!({
            "schema": "coldforge/preflight/1",
            "image": image,
            "route": self.route,
            "totals": {
                "pass": self.count(Verdict::Pass),
                "warn": self.count(Verdict::Warn),
                "fail": self.count(Verdict::Fail),
                "unknown": self.count(Verdict::Unknown),
            },
            "checks": self.checks,
        })
    }
}

fn in_report(check: &'static Check, outcome: Outcome, fixable: bool) -> Checked {
    let Outcome { verdict, found, at, advice } = outcome;
    let own = if advice.is_empty() { check.hint.to_owned() } else { advice.join("; ") };
    let hint = match fixable {
        true => format!("`coldforge harden IMAGE -o DIR --fix {}` sets it right; or {own}", check.id),
        false => own,
    };
    Checked {
        id: check.id,
        title: check.title,
        verdict,
        found,
        at,
        requires: check.requires,
        prevents: check.prevents,
        hint,
        fixable,
    }
}

#[cfg(test)]
mod tests {
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
