//! Whether the rules of a catalog hold on a machine.
//!
//! Every rule that is selected becomes one [`Finding`], in the catalog's order. It passes only if every place of every
//! one of its checks was read and meets the demand. What could not be read, or cannot be told, is `not_reviewed`.

use std::error::Error as _;

use serde::Serialize;

use super::catalog::Catalog;
use super::rule::{Check, Condition, ImportRisk, Rule, RuleKind, RuleScope, Severity};
use super::selection::Selection;
use super::values::{Demand, Values};
use crate::base::CellOffset;
use crate::windows::{Identity, Role, Setting, SettingError, Settings, Value};

/// What was found on a machine. Serialized, it gives the members of the assessment document that are policy's own.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Assessment {
    /// The benchmark.
    pub benchmark: Benchmark,
    /// The role in which the machine was assessed.
    pub role: Role,
    /// How many findings there are of each status.
    pub totals: Summary,
    /// One finding for every selected rule.
    pub findings: Vec<Finding>,
}

/// Which benchmark was assessed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Benchmark {
    /// The catalog's id, such as `ws2022`.
    pub id: String,
    /// The benchmark's title.
    pub title: String,
    /// The version, the 2 of V2R8.
    pub version: u32,
    /// The release, the 8 of V2R8.
    pub release: u32,
    /// The day of the release.
    pub date: String,
}

/// How many findings there are of each status.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
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

/// What came of a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
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

/// Where a value lies, or would lie.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
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
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The group's id, such as `V-254276`.
    pub vuln_id: String,
    /// The rule's id with its revision.
    pub rule_id: String,
    /// The STIG id.
    pub stig_id: String,
    /// The severity.
    pub severity: Severity,
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
    /// What the rule can do to the first boot of an imported image.
    #[serde(skip)]
    pub import_risk: Option<ImportRisk>,
}

/// What came of one check in one place.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
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
    /// The value to write where the demand is not met.
    #[serde(skip)]
    pub to: Value,
}

impl Summary {
    fn count(&mut self, severity: Severity, status: Status) {
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

/// Assesses the selected rules of a catalog on a machine.
///
/// Nothing that the machine answers makes this fail: a setting that cannot be read makes its rule `not_reviewed`.
pub fn assess(catalog: &Catalog, selection: &Selection, values: &Values, machine: &dyn Settings) -> Assessment {
    let role = selection.role(machine.identity());
    let mut totals = Summary::default();
    let mut findings = Vec::new();
    for rule in catalog.rules.iter().filter(|rule| selection.takes(rule)) {
        let finding = find(rule, role, values, machine);
        totals.count(finding.severity, finding.status);
        findings.push(finding);
    }
    let benchmark = Benchmark {
        id: catalog.id.clone(),
        title: catalog.title.clone(),
        version: catalog.version,
        release: catalog.release,
        date: catalog.date.clone(),
    };
    Assessment { benchmark, role, totals, findings }
}

fn find(rule: &Rule, role: Role, values: &Values, machine: &dyn Settings) -> Finding {
    let blank = blank(rule, values);
    match applicability(rule, role, machine.identity()) {
        Applicability::Not(reason) => {
            return Finding { status: Status::NotApplicable, reason: Some(reason), ..blank };
        }
        Applicability::Unknown(reason) => return Finding { reason: Some(reason), ..blank },
        Applicability::Applies => {}
    }
    if rule.not_reviewed.is_some() {
        return Finding { reason: rule.not_reviewed.clone(), ..blank };
    }
    let checks: Vec<CheckResult> =
        rule.checks.iter().flat_map(|check| look(check, &values.demand(rule, check), machine)).collect();
    let first = |status| checks.iter().find(|check: &&CheckResult| check.status == status);
    let Some(decisive) = first(Status::Open).or_else(|| first(Status::NotReviewed)).or_else(|| checks.first()) else {
        return Finding { reason: Some("the rule has no check".to_owned()), ..blank };
    };
    let reasons: Vec<&str> = decisive.reason.iter().chain(&rule.caveat).map(String::as_str).collect();
    Finding {
        status: decisive.status,
        setting: Some(decisive.setting.clone()),
        found: decisive.found.clone(),
        required: Some(decisive.required.clone()),
        at: decisive.at.clone(),
        reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        checks,
        ..blank
    }
}

/// Returns the finding of a rule before anything was asked: it is not reviewed.
fn blank(rule: &Rule, values: &Values) -> Finding {
    let first = rule.checks.first();
    Finding {
        vuln_id: rule.vuln_id.clone(),
        rule_id: rule.rule_id.clone(),
        stig_id: rule.stig_id.clone(),
        severity: rule.severity,
        kind: rule.kind,
        title: rule.title.clone(),
        status: Status::NotReviewed,
        setting: first.map(|check| check.setting.clone()),
        found: None,
        required: first.map(|check| values.demand(rule, check).require.to_string()),
        at: None,
        reason: None,
        checks: Vec::new(),
        import_risk: rule.import_risk.clone(),
    }
}

/// Looks at every place of a check; the answer is never empty.
fn look(check: &Check, demand: &Demand, machine: &dyn Settings) -> Vec<CheckResult> {
    let places = machine.places(&check.setting);
    if places.is_empty() {
        return vec![CheckResult {
            setting: check.setting.clone(),
            status: Status::NotReviewed,
            found: None,
            required: demand.require.to_string(),
            at: None,
            reason: Some("the machine knows no place for this setting".to_owned()),
            to: demand.set.clone(),
        }];
    }
    places.into_iter().map(|setting| look_at(setting, check, demand, machine)).collect()
}

fn look_at(setting: Setting, check: &Check, demand: &Demand, machine: &dyn Settings) -> CheckResult {
    let answer = machine.get(&setting);
    let mut result = CheckResult {
        setting,
        status: Status::NotReviewed,
        found: None,
        required: demand.require.to_string(),
        at: None,
        reason: None,
        to: demand.set.clone(),
    };
    let found = match answer {
        Ok(found) => found,
        Err(error) => {
            result.reason = Some(chain(&error));
            return result;
        }
    };
    let own_words =
        demand.own_words.then(|| "compared with the organization's own words, not with the benchmark's".to_owned());
    match demand.require.judge(check.kind, found.value.as_ref()) {
        Ok(()) => {
            let absent = found.value.is_none().then(|| "the value is absent, which passes".to_owned());
            (result.status, result.reason) = (Status::Pass, own_words.or(absent));
        }
        Err(shortfall) => {
            let reasons = [Some(format!("{shortfall}; {} is required", demand.require)), own_words];
            result.status = Status::Open;
            result.reason = Some(reasons.into_iter().flatten().collect::<Vec<_>>().join("; "));
        }
    }
    result.at = Some(Place { file: found.file, cell: found.cell });
    result.found = found.value;
    result
}

/// Returns an error and its causes in one line.
fn chain(error: &SettingError) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

enum Applicability {
    Applies,
    Not(String),
    Unknown(String),
}

/// Tells whether a rule is for a machine. One condition that fails decides, whatever cannot be told of another.
fn applicability(rule: &Rule, role: Role, identity: &Identity) -> Applicability {
    let controller = role == Role::DomainController;
    let mut unknown = None;
    match rule.role {
        RuleScope::DomainController if !controller => {
            return Applicability::Not("the rule is for domain controllers, and this machine is none".to_owned());
        }
        RuleScope::MemberServer if controller => {
            return Applicability::Not("the rule is not for domain controllers, and this machine is one".to_owned());
        }
        _ => {}
    }
    for condition in &rule.applies {
        match condition {
            Condition::NotOnDc if controller => {
                return Applicability::Not(
                    "the rule is not for domain controllers, and this machine is one".to_owned(),
                );
            }
            // A domain controller belongs to its domain, whatever else could be read.
            Condition::DomainJoined if !controller => match identity.domain_joined {
                Some(true) => {}
                Some(false) => {
                    return Applicability::Not(
                        "the rule is for members of a domain, and this machine is none".to_owned(),
                    );
                }
                None => {
                    unknown = Some(
                        "the rule is for members of a domain, and whether this machine is one could not be told"
                            .to_owned(),
                    );
                }
            },
            Condition::NotOnServerCore if identity.installation_type.eq_ignore_ascii_case("Server Core") => {
                return Applicability::Not("the rule is not for Server Core, and this installation is one".to_owned());
            }
            Condition::NotOnServerCore if identity.installation_type.is_empty() => {
                unknown = Some(
                    "the rule is not for Server Core, and the type of this installation could not be told".to_owned(),
                );
            }
            Condition::NotOnDc | Condition::DomainJoined | Condition::NotOnServerCore => {}
        }
    }
    unknown.map_or(Applicability::Applies, Applicability::Unknown)
}
