//! What an assessment says: findings and their totals, as the JSON documents carry them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalog::Benchmark;
use super::require::Requirement;
use super::rule::{ImportRisk, RuleKind, Severity};
use super::waivers::{Waiver, Waivers};
use crate::windows::setting::{Form, Role, Setting, Value};
use coldforge_base::CellOffset;
use coldforge_base::digest::Digest;

/// What was found on a machine. Serialized, it gives the members of the assessment document that are policy's own.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Assessment {
    /// The benchmark.
    pub benchmark: Benchmark,
    /// The role in which the machine was assessed.
    pub role: Role,
    /// How many findings there are of each status, those of components among them.
    pub totals: Summary,
    /// The benchmarks that were assessed beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Part>,
    /// What the assessment covers, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// One finding for every selected rule.
    pub findings: Vec<Finding>,
}

/// A benchmark that was assessed beside the main one.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Part {
    /// The benchmark.
    #[serde(flatten)]
    pub benchmark: Benchmark,
    /// Its own id in XCCDF, such as `MS_Edge_STIG`.
    pub xccdf: String,
    /// SHA-256 of the catalog's text, or of the policy's file.
    pub sha256: Digest,
    /// How many of its findings there are of each status.
    pub totals: Summary,
}

/// How many findings there are of each status.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Totals {
    /// Rules that hold.
    pub pass: usize,
    /// Rules that do not hold.
    pub open: usize,
    /// Rules that are not for this machine.
    pub not_applicable: usize,
    /// Rules that nothing is said about.
    pub not_reviewed: usize,
}

/// The totals, overall and of each severity.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Summary {
    /// Of all findings.
    #[serde(flatten)]
    pub all: Totals,
    /// Of CAT I.
    pub high: Totals,
    /// Of CAT II.
    pub medium: Totals,
    /// Of CAT III.
    pub low: Totals,
}

/// What came of a rule. Only what was assessed can pass.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not hold.
    Open,
    /// It is not for this machine.
    NotApplicable,
    /// It was not assessed.
    NotReviewed,
}

impl Status {
    /// Returns the word of the documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Open => "open",
            Self::NotApplicable => "not_applicable",
            Self::NotReviewed => "not_reviewed",
        }
    }

    /// Returns what STIG Viewer shows.
    pub fn words(self) -> &'static str {
        match self {
            Self::Pass => "Not a Finding",
            Self::Open => "Open",
            Self::NotApplicable => "Not Applicable",
            Self::NotReviewed => "Not Reviewed",
        }
    }
}

/// Where a value lies, or would lie.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Place {
    /// The file on the Windows volume.
    pub file: String,
    /// The cell of the value inside that file, if the value is there.
    pub cell: Option<CellOffset>,
}

/// What came of one rule.
///
/// The members from [`setting`](Self::setting) to [`at`](Self::at) are those of the check that decided: the first
/// open one, else the first unreadable one, else the first. Without a check that was read, `setting` and `required`
/// tell what would be asked.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Finding {
    /// The group's id, such as `V-254276`.
    pub vuln_id: String,
    /// The rule's id with its revision.
    pub rule_id: String,
    /// The STIG id.
    pub stig_id: String,
    /// The severity.
    pub severity: Severity,
    /// The id of the component that the rule belongs to; `None` for the main benchmark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What the rule is about.
    pub kind: RuleKind,
    /// What holds when the rule is met.
    pub title: String,
    /// What came of it.
    pub status: Status,
    /// The setting.
    pub setting: Option<Setting>,
    /// The value found.
    pub found: Option<Value>,
    /// What was demanded, in words.
    pub required: Option<String>,
    /// Where the value lies.
    pub at: Option<Place>,
    /// Why the status is what it is, and what it does not say.
    pub reason: Option<String>,
    /// What came of each place of each check.
    pub checks: Vec<CheckResult>,
    /// The organization's decision to leave the rule unmet; it does not change the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Waiver>,
    /// What was looked at to tell whether the rule applies, beside what the machine is.
    #[serde(skip)]
    pub gate: Vec<Setting>,
    /// What the rule can do to the first boot of an imported image.
    #[serde(skip)]
    pub import_risk: Option<ImportRisk>,
}

impl Finding {
    /// Tells whether a waiver that has not expired covers the rule.
    pub fn is_waived(&self) -> bool {
        self.waiver.as_ref().is_some_and(Waiver::holds)
    }
}

impl Assessment {
    /// Returns the assessment with the waivers beside the findings that they are for.
    pub fn with_waivers(mut self, waivers: &Waivers) -> Self {
        for finding in &mut self.findings {
            finding.waiver = waivers.of(&finding.stig_id).cloned();
        }
        self
    }
}

/// What came of one check in one place.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct CheckResult {
    /// The setting, concrete: a control set is named by its number.
    pub setting: Setting,
    /// Pass, open, or not reviewed.
    pub status: Status,
    /// The value found.
    pub found: Option<Value>,
    /// What was demanded, in words.
    pub required: String,
    /// Where the value lies.
    pub at: Option<Place>,
    /// Why the status is what it is.
    pub reason: Option<String>,
    /// What would meet the demand.
    #[serde(skip)]
    pub to: Remediation,
    /// The form and the demand that were judged, with principals resolved; `None` where nothing could be judged.
    #[serde(skip)]
    pub demand: Option<(Form, Requirement)>,
    /// The entry of local group policy that is not there, and belongs beside the setting.
    #[serde(skip)]
    pub twin: Option<Setting>,
}

/// What would meet a demand on one setting of one machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Remediation {
    /// To write this value.
    Write(Value),
    /// To write a value that holds all of this one: users, or what is recorded.
    Include(Value),
    /// To remove what is there.
    Remove,
    /// Nothing that can be done here, with the reason.
    Beyond(String),
}

impl Default for Remediation {
    /// What a document does not tell: there it is only said what would be demanded.
    fn default() -> Self {
        Self::Beyond(String::new())
    }
}

impl Summary {
    /// Returns how many findings of a severity, or of all, have a status.
    pub fn count(&self, severity: Option<Severity>, status: Status) -> usize {
        let totals = match severity {
            None => &self.all,
            Some(Severity::High) => &self.high,
            Some(Severity::Medium) => &self.medium,
            Some(Severity::Low) => &self.low,
        };
        match status {
            Status::Pass => totals.pass,
            Status::Open => totals.open,
            Status::NotApplicable => totals.not_applicable,
            Status::NotReviewed => totals.not_reviewed,
        }
    }

    /// Counts one finding.
    pub(super) fn add(&mut self, severity: Severity, status: Status) {
        let of_severity = match severity {
            Severity::High => &mut self.high,
            Severity::Medium => &mut self.medium,
            Severity::Low => &mut self.low,
        };
        for totals in [&mut self.all, of_severity] {
            let total = match status {
                Status::Pass => &mut totals.pass,
                Status::Open => &mut totals.open,
                Status::NotApplicable => &mut totals.not_applicable,
                Status::NotReviewed => &mut totals.not_reviewed,
            };
            *total += 1;
        }
    }
}
