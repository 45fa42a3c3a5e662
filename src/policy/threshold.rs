//! Thresholds: how many rules may have which status, for a pipeline that is to stop at less.
//!
//! The format is that of MITRE's Security Automation Framework (`saf validate threshold`), YAML or JSON:
//!
//! ```yaml
//! compliance:
//!   min: 90
//! failed:
//!   high: { max: 0 }
//!   medium: { max: 5, controls: [V-254442] }
//! skipped:
//!   total: { max: 60 }
//! ```
//!
//! `passed` counts what passes, `failed` what is open, `skipped` what is not reviewed, `no_impact` what is not applicable;
//! `error` and the severity `critical` are words of that format for what no STIG has, and count nothing. `compliance` is
//! the percentage of the rules that pass among all but those that are not applicable; it is not rounded here.
//! `controls` are the very rules that have the status. A file that could never stop anything is refused.

use std::fmt;

use serde::Deserialize;

use super::finding::{Assessment, Finding, Status};
use super::rule::Severity;
use coldforge_base::Failure;

/// How many rules may have which status.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    bounds: Vec<Bound>,
}

/// A bound that does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Breach {
    /// The bound, as it stands in the file: `failed.high.max`.
    pub bound: String,
    /// What it says.
    pub required: String,
    /// What was counted.
    pub found: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, required {}", self.bound, self.found, self.required)
    }
}

/// A hint that several of these errors share.
const FIELDS: &str =
    "bound `compliance`, or `passed`, `failed`, `skipped`, `no_impact` by `total`, `high` (CAT I), `medium`, `low`";

/// A file that tells no thresholds.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// It is no YAML, or has a member that thresholds do not have.
    #[error("the threshold file cannot be read: {0}")]
    #[failure(usage, hint = FIELDS)]
    Document(String),
    /// A bound makes no sense.
    #[error("the threshold `{bound}` {what}")]
    #[failure(usage, hint = FIELDS)]
    Bound {
        /// The bound, as it stands in the file.
        bound: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No bound is about anything that a STIG has.
    #[error("the threshold file has no bound that a STIG's rules could break")]
    #[failure(usage, hint = FIELDS)]
    Vacuous,
}

/// What is counted, and the bound.
#[derive(Clone, Debug, PartialEq)]
struct Bound {
    path: String,
    what: What,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Compliance,
    /// The rules of a status (`None`: errors, of which there are none), of one severity or of all.
    Rules(Option<Status>, Of),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    All,
    /// No STIG has rules of this severity.
    Critical,
    One(Severity),
}

#[derive(Clone, Debug, PartialEq)]
enum Limit {
    Least(f64),
    Most(f64),
    Exactly(f64),
    Just(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThreshold {
    compliance: Option<RawCompliance>,
    passed: Option<RawStatus>,
    failed: Option<RawStatus>,
    skipped: Option<RawStatus>,
    no_impact: Option<RawStatus>,
    error: Option<RawStatus>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCompliance {
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStatus {
    total: Option<RawTotal>,
    critical: Option<RawBounds>,
    high: Option<RawBounds>,
    medium: Option<RawBounds>,
    low: Option<RawBounds>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTotal {
    Exactly(u32),
    Bounds(RawBounds),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBounds {
    min: Option<u32>,
    max: Option<u32>,
    controls: Option<Vec<String>>,
}

impl Threshold {
    /// Reads thresholds.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        // The parser bounds depth, nodes and aliases.
        let raw: RawThreshold = serde_saphyr::from_str(text).map_err(|error| {
            let said = error.without_snippet().to_string();
            Error::Document(said.lines().next().unwrap_or_default().to_owned())
        })?;
        let mut bounds = Vec::new();
        if let Some(RawCompliance { min, max }) = raw.compliance {
            for share in [min, max].into_iter().flatten() {
                if !(0.0..=100.0).contains(&share) {
                    let what = "is no percentage from 0 to 100";
                    return Err(Error::Bound { bound: "compliance".to_owned(), what });
                }
            }
            add(&mut bounds, "compliance", What::Compliance, [min, max])?;
        }
        for (name, status, raw) in [
            ("passed", Some(Status::Pass), raw.passed),
            ("failed", Some(Status::Open), raw.failed),
            ("skipped", Some(Status::NotReviewed), raw.skipped),
            ("no_impact", Some(Status::NotApplicable), raw.no_impact),
            ("error", None, raw.error),
        ] {
            let Some(raw) = raw else { continue };
            let total = match raw.total {
                Some(RawTotal::Exactly(count)) => {
                    let (what, path) = (What::Rules(status, Of::All), format!("{name}.total"));
                    bounds.push(Bound { path, what, limit: Limit::Exactly(count.into()) });
                    None
                }
                Some(RawTotal::Bounds(bounds)) => Some(bounds),
                None => None,
            };
            for (severity, of, raw) in [
                ("total", Of::All, total),
                ("critical", Of::Critical, raw.critical),
                ("high", Of::One(Severity::High), raw.high),
                ("medium", Of::One(Severity::Medium), raw.medium),
                ("low", Of::One(Severity::Low), raw.low),
            ] {
                let Some(RawBounds { min, max, controls }) = raw else { continue };
                let (what, path) = (What::Rules(status, of), format!("{name}.{severity}"));
                add(&mut bounds, &path, what, [min.map(f64::from), max.map(f64::from)])?;
                if let Some(controls) = controls {
                    let path = format!("{path}.controls");
                    if controls.is_empty() {
                        return Err(Error::Bound { bound: path, what: "names no rule: write `max: 0`" });
                    }
                    bounds.push(Bound { path, what, limit: Limit::Just(controls) });
                }
            }
        }
        let bites = |bound: &Bound| {
            !matches!(bound.what, What::Rules(None, _) | What::Rules(_, Of::Critical))
                && !matches!(bound.limit, Limit::Least(least) if least <= 0.0)
        };
        if !bounds.iter().any(bites) {
            return Err(Error::Vacuous);
        }
        Ok(Self { bounds })
    }

    /// Returns the bounds that an assessment breaks, in the order of the format.
    pub fn breaches(&self, assessment: &Assessment) -> Vec<Breach> {
        self.bounds.iter().filter_map(|bound| bound.breach(assessment)).collect()
    }
}

fn add(bounds: &mut Vec<Bound>, path: &str, what: What, [min, max]: [Option<f64>; 2]) -> Result<(), Error> {
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return Err(Error::Bound { bound: path.to_owned(), what: "has a min above its max" });
    }
    let min = min.map(|min| (format!("{path}.min"), Limit::Least(min)));
    let max = max.map(|max| (format!("{path}.max"), Limit::Most(max)));
    bounds.extend([min, max].into_iter().flatten().map(|(path, limit)| Bound { path, what, limit }));
    Ok(())
}

impl Bound {
    fn breach(&self, assessment: &Assessment) -> Option<Breach> {
        let rules: Vec<&Finding> = assessment.findings.iter().filter(|finding| self.what.counts(finding)).collect();
        let (number, mut found) = match self.what {
            What::Compliance => {
                let totals = &assessment.totals.all;
                let (pass, all) = (share(totals.pass), share(totals.pass + totals.open + totals.not_reviewed));
                let percent = if all > 0.0 { 100.0 * pass / all } else { 0.0 };
                (percent, format!("{percent:.2} %"))
            }
            What::Rules(..) => (share(rules.len()), format!("{} rules", rules.len())),
        };
        let (broken, required) = match &self.limit {
            Limit::Least(least) => (number < *least, format!("at least {least}")),
            Limit::Most(most) => (number > *most, format!("at most {most}")),
            Limit::Exactly(exactly) => (number != *exactly, format!("exactly {exactly}")),
            Limit::Just(named) => {
                let is = |name: &str, finding: &Finding| {
                    let ids = [&finding.vuln_id, &finding.rule_id, &finding.stig_id];
                    ids.iter().any(|id| id.eq_ignore_ascii_case(name))
                };
                let others = rules.iter().any(|finding| !named.iter().any(|name| is(name, finding)));
                let missing = named.iter().any(|name| !rules.iter().any(|finding| is(name, finding)));
                (others || missing, format!("{} and no others", named.join(", ")))
            }
        };
        // The few that are too many are worth their names.
        if matches!(self.limit, Limit::Most(_) | Limit::Just(_)) && (1..=20).contains(&rules.len()) {
            let names: Vec<&str> = rules.iter().map(|finding| finding.stig_id.as_str()).collect();
            found = format!("{found} ({})", names.join(", "));
        }
        broken.then(|| Breach { bound: self.path.clone(), required, found })
    }
}

impl What {
    fn counts(self, finding: &Finding) -> bool {
        match self {
            Self::Compliance | Self::Rules(_, Of::Critical) => false,
            Self::Rules(status, Of::All) => status == Some(finding.status),
            Self::Rules(status, Of::One(severity)) => status == Some(finding.status) && finding.severity == severity,
        }
    }
}

/// Returns a count as a number to compare.
fn share(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::catalog::Benchmark;
    use crate::policy::finding::Summary;
    use crate::policy::rule::RuleKind;
    use crate::windows::setting::Role;

    /// Seven rules: 3 pass, 2 open, 1 not applicable, 1 not reviewed.
    fn assessment() -> Assessment {
        let mut totals = Summary::default();
        let rows = [
            (Severity::High, Status::Pass),
            (Severity::High, Status::Open),
            (Severity::Medium, Status::Pass),
            (Severity::Medium, Status::Pass),
            (Severity::Medium, Status::Open),
            (Severity::Low, Status::NotApplicable),
            (Severity::Low, Status::NotReviewed),
        ];
        let findings = rows.iter().enumerate().map(|(number, (severity, status))| {
            totals.add(*severity, *status);
            Finding {
                vuln_id: format!("V-{number}"),
                rule_id: format!("SV-{number}r1_rule"),
                stig_id: format!("T-{number}"),
                severity: *severity,
                kind: RuleKind::Registry,
                title: String::new(),
                status: *status,
                setting: None,
                found: None,
                required: None,
                at: None,
                reason: None,
                checks: Vec::new(),
                import_risk: None,
                waiver: None,
                component: None,
                gate: Vec::new(),
            }
        });
        let findings = findings.collect();
        let benchmark =
            Benchmark { id: "t".into(), title: "T".into(), version: 1, release: 1, date: "2026-01-01".into() };
        Assessment { benchmark, role: Role::MemberServer, totals, components: Vec::new(), scope: Vec::new(), findings }
    }

    fn breaches(text: &str) -> Vec<String> {
        let threshold = Threshold::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        threshold.breaches(&assessment()).iter().map(Breach::to_string).collect()
    }

    #[test]
    fn each_bound_holds_up_to_its_edge_and_not_beyond() {
        for (holds, breaks) in [
            ("compliance: {min: 50}", "compliance: {min: 50.1}"),
            ("compliance: {max: 50}", "compliance: {max: 49}"),
            ("failed: {total: {max: 2}}", "failed: {total: {max: 1}}"),
            ("failed: {high: {max: 1}}", "failed: {high: {max: 0}}"),
            ("failed: {medium: {min: 1}}", "failed: {medium: {min: 2}}"),
            ("passed: {medium: {min: 2}}", "passed: {medium: {min: 3}}"),
            ("skipped: {low: {max: 1}}", "skipped: {low: {max: 0}}"),
            ("no_impact: {total: 1}", "no_impact: {total: 0}"),
            ("failed: {high: {controls: [v-1]}}", "failed: {high: {controls: [V-2]}}"),
            ("failed: {total: {controls: [T-1, SV-4r1_rule]}}", "failed: {total: {controls: [T-1]}}"),
            ("{\"failed\": {\"total\": 2}}", "{\"failed\": {\"total\": 3}}"),
            ("passed:\n  total:\n    min: 3\n", "passed:\n  total:\n    min: 4\n"),
            ("failed: {critical: {max: 0}, high: {max: 1}}", "failed: {critical: {min: 1}, high: {max: 1}}"),
        ] {
            assert_eq!(breaches(holds), Vec::<String>::new(), "{holds}");
            assert_eq!(breaches(breaks).len(), 1, "{breaks}");
        }
    }

    #[test]
    fn a_breach_names_the_bound_and_the_rules() {
        assert_eq!(breaches("failed: {high: {max: 0}}"), ["failed.high.max: 1 rules (T-1), required at most 0"]);
        assert_eq!(breaches("compliance: {min: 90}"), ["compliance.min: 50.00 %, required at least 90"]);
    }

    #[test]
    fn what_is_not_understood_or_could_stop_nothing_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            "failed",
            "failed: {total: {maximum: 1}}",
            "fialed: {total: 1}",
            "failed: {none: {max: 1}}",
            "failed: {total: {max: -1}}",
            "failed: {total: {max: 1.5}}",
            "compliance: {min: 101}",
            "compliance: {min: .nan}",
            "compliance: {min: 9, max: 8}",
            "compliance: {}",
            "compliance: {min: 0}",
            "failed: {critical: {max: 0}}",
            "error: {total: {max: 0}}",
            "failed: {high: {controls: []}}",
            "failed: {total: 1}\nfailed: {total: 2}",
            "failed: {total: 1}\n---\nfailed: {total: 2}",
            "failed: !x {total: 1}\n\tx",
        ] {
            let refused = Threshold::parse(text).err();
            let refused = refused.unwrap_or_else(|| panic!("{text:?} is taken"));
            assert!(!refused.to_string().contains('\n'), "{refused}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_at_once() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, of) in ('b'..='l').zip('a'..='k') {
            text.push_str(&format!("{name}: &{name} [*{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}]\n"));
        }
        assert!(Threshold::parse(&text).is_err());
        assert!(Threshold::parse(&"[".repeat(100_000)).is_err());
        assert!(Threshold::parse(&format!("failed: {{total: {{controls: {}}}}}", "[".repeat(100_000))).is_err());
    }
}
