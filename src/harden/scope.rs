//! What a result covers, one sentence each: the same words in the console, the log, every report and `verify`.

use super::request::{Request, Resolved};
use crate::audit::ComponentRecord;
use crate::component;
use crate::policy::{Assessment, Finding, RoleChoice, Status, Totals, source};

/// Begins the sentences that warn of something.
const WARNING: &str = "W-";

/// Says what an assessment covers: each benchmark and policy with its digest, its rules and what came of them, what was
/// left out by choice, and what a benchmark file lacks.
pub(super) fn of_assessment(demand: &Request, resolved: &Resolved, assessment: &Assessment) -> Vec<String> {
    let catalog = &resolved.catalog;
    let joined: usize = catalog.components.iter().map(|component| component.rules).sum();
    let own = catalog.rules.len().saturating_sub(joined);
    let is_alone = demand.benchmark.is_none() && demand.stig.as_deref() == Some(source::NO_STIG);
    let (what, origin) = match (is_alone, demand.benchmark.is_some()) {
        (true, _) => (format!("policy {}", assessment.benchmark.id), "given"),
        (false, true) => (assessment.benchmark.to_string(), "from a file"),
        (false, false) => (assessment.benchmark.to_string(), "built in"),
    };
    let findings = |id: Option<&str>| -> Vec<&Finding> {
        assessment.findings.iter().filter(|finding| finding.component.as_deref() == id).collect()
    };
    let is_whole = resolved.notices.is_empty();
    let mut said = vec![line(&what, origin, &resolved.own_sha256.to_string(), own, &findings(None), is_whole)];
    for component in &catalog.components {
        let id = component.benchmark.id.as_str();
        let is_policy = demand.policies.iter().any(|policy| policy.name() == id);
        let (what, origin) = match is_policy {
            true => (format!("policy {id}"), "given"),
            false => (component.benchmark.to_string(), "built in"),
        };
        let findings = findings(Some(id));
        said.push(line(&what, origin, &component.sha256.to_string(), component.rules, &findings, true));
    }
    if demand.level().to_string() != "high" {
        said.push(format!("left out by choice: rules above the level {}", demand.level()));
    }
    if !demand.only.is_empty() {
        said.push(format!("limited by choice to the rules {}", demand.only.join(", ")));
    }
    if !demand.skip.is_empty() {
        said.push(format!("left out by choice: the rules {}", demand.skip.join(", ")));
    }
    if demand.role != RoleChoice::Auto {
        said.push(format!("assessed by choice in the role {}, whatever the image says of itself", demand.role));
    }
    let is_waived = |finding: &&Finding| finding.status == Status::Open && finding.is_waived();
    let waived = assessment.findings.iter().filter(is_waived).count();
    if waived > 0 {
        said.push(format!("{waived} of the open rules are waived"));
    }
    said.extend(resolved.notices.iter().cloned());
    said
}

/// Says what was carried out beside the rules: each component document with its digest and the settings it changed, of
/// changes that are told by the rules that they were made for.
pub(super) fn of_components(components: &[ComponentRecord], changes: &[Vec<String>]) -> Vec<String> {
    let of = |record: &ComponentRecord| {
        let digest = record.sha256.to_string();
        let label = format!("{}@{} ", record.name, digest.get(..12).unwrap_or(&digest));
        let is_its = |rule: &String| component::is_label(rule) && rule.contains(&label);
        let count = changes.iter().filter(|rules| rules.iter().any(is_its)).count();
        let settings = if count == 1 { "setting" } else { "settings" };
        format!("component {} (SHA-256 {digest}): {count} {settings} changed", record.name)
    };
    components.iter().map(of).collect()
}

/// Returns the sentences that warn.
pub(super) fn warnings(scope: &[String]) -> impl Iterator<Item = &String> {
    scope.iter().filter(|said| said.starts_with(WARNING))
}

fn line(what: &str, origin: &str, sha256: &str, rules: usize, findings: &[&Finding], is_whole: bool) -> String {
    let mut totals = Totals::default();
    for finding in findings {
        *match finding.status {
            Status::Pass => &mut totals.pass,
            Status::Open => &mut totals.open,
            Status::NotApplicable => &mut totals.not_applicable,
            Status::NotReviewed => &mut totals.not_reviewed,
        } += 1;
    }
    let taken = match (findings.len() == rules, is_whole) {
        (true, true) => format!("all {rules} rules"),
        (true, false) => format!("{rules} rules"),
        (false, _) => format!("{} of {rules} rules", findings.len()),
    };
    let Totals { pass, open, not_applicable, not_reviewed } = totals;
    format!(
        "{what} ({origin}, SHA-256 {sha256}): {taken}: {pass} pass, {open} open, {not_applicable} not applicable, \
         {not_reviewed} not reviewed"
    )
}
