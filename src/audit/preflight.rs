//! The preflight as a document: `aws/preflight.json` of a bundle, and what `preflight --json` prints.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The schema of the document.
const SCHEMA: &str = "coldforge/preflight/1";

/// The way from an image to a machine: VM Import/Export, or an EBS snapshot.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
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

/// The verdict of a check.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is as AWS wants it.
    Pass,
    /// It may go wrong, or AWS changes it.
    Warn,
    /// It will go wrong.
    Fail,
    /// It cannot be determined from the image.
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

/// The reported outcome of a check.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PreflightCheck {
    /// `P01` to `P48`.
    pub id: Cow<'static, str>,
    /// What it is about.
    pub title: Cow<'static, str>,
    /// The verdict.
    pub verdict: Verdict,
    /// What was found, or why the outcome is unknown.
    pub found: String,
    /// Where: keys and values, files, partitions.
    #[serde(rename = "where")]
    pub at: Vec<String>,
    /// What AWS requires.
    pub requires: Cow<'static, str>,
    /// The error that it prevents.
    pub prevents: Cow<'static, str>,
    /// What to do.
    pub hint: String,
    /// Whether `--fix` with this id makes the check pass.
    pub fixable: bool,
}

/// How many checks have each verdict.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PreflightTotals {
    /// Checks that pass.
    pub pass: usize,
    /// Checks that warn.
    pub warn: usize,
    /// Checks that fail.
    pub fail: usize,
    /// Checks whose outcome cannot be determined.
    pub unknown: usize,
}

/// The outcomes of all checks on an image (`coldforge/preflight/1`).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PreflightDocument<'a> {
    /// `coldforge/preflight/1`.
    pub schema: Cow<'static, str>,
    /// The image's file name.
    pub image: Cow<'a, str>,
    /// The route that was checked.
    pub route: Route,
    /// How many checks have each verdict.
    pub totals: PreflightTotals,
    /// The checks by ascending id.
    pub checks: Cow<'a, [PreflightCheck]>,
}

impl<'a> PreflightDocument<'a> {
    /// Returns the document about the image of this file name.
    pub fn new(image: &'a str, route: Route, checks: &'a [PreflightCheck]) -> Self {
        let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
        Self {
            schema: Cow::Borrowed(SCHEMA),
            image: Cow::Borrowed(image),
            route,
            totals: PreflightTotals {
                pass: count(Verdict::Pass),
                warn: count(Verdict::Warn),
                fail: count(Verdict::Fail),
                unknown: count(Verdict::Unknown),
            },
            checks: Cow::Borrowed(checks),
        }
    }
}
