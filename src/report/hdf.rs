//! Heimdall Data Format, version 1 (MITRE), as InSpec's JSON reporter writes it.

use serde_json::{Value, json};

use super::controls::controls;
use super::evidence::{Evidence, Finding, Status};
use super::text::{line, plain};
use crate::policy::Severity;
use coldforge_base::digest::Digest;

/// Returns the document.
pub(super) fn document(evidence: &Evidence) -> Value {
    json!({
        "platform": { "name": evidence.tool.name, "release": evidence.tool.version, "target_id": line(&evidence.host) },
        "version": evidence.tool.version,
        "statistics": {},
        "profiles": evidence.parts().iter().map(profile).collect::<Vec<_>>(),
        "passthrough": {
            "image": line(&evidence.image),
            "product": line(&evidence.product),
            "scope": evidence.scope.iter().map(|said| line(said)).collect::<Vec<_>>(),
        },
    })
}

/// Returns the profile of one benchmark.
fn profile(evidence: &Evidence) -> Value {
    let of_rules: Vec<Value> = evidence.findings.iter().map(|finding| control(evidence, finding)).collect();
    json!({
        "name": line(&evidence.benchmark.id),
        "version": format!("{}.{}", evidence.benchmark.version, evidence.benchmark.release),
        "title": line(&evidence.benchmark.title),
        "maintainer": "",
        "summary": line(&evidence.benchmark.to_string()),
        "license": "",
        "copyright": "",
        "copyright_email": "",
        "supports": [],
        "attributes": [],
        "groups": [],
        "status": "loaded",
        "sha256": Digest::of(evidence.benchmark.to_string().as_bytes()).to_string(),
        "controls": of_rules,
    })
}

fn control(evidence: &Evidence, finding: &Finding) -> Value {
    let texts = evidence.texts(finding);
    // An impact of zero is how this format says that a rule does not apply.
    let impact = match (finding.status, finding.severity) {
        (Status::NotApplicable, _) => 0.0,
        (_, Severity::High) => 0.7,
        (_, Severity::Medium) => 0.5,
        (_, Severity::Low) => 0.3,
    };
    let status = match finding.status {
        Status::Pass => "passed",
        Status::Open => "failed",
        Status::NotApplicable | Status::NotReviewed => "skipped",
    };
    let mut result = json!({
        "status": status,
        "code_desc": plain(&finding.setting.as_ref().map_or_else(|| finding.title.clone(), ToString::to_string)),
        "start_time": evidence.started.as_deref().unwrap_or("1970-01-01T00:00:00Z"),
    });
    let said = if status == "skipped" { "skip_message" } else { "message" };
    result[said] = plain(&evidence.details(finding)).into();
    json!({
        "id": finding.vuln_id,
        "title": line(&finding.title),
        "desc": plain(&texts.discussion),
        "descriptions": [
            { "label": "default", "data": plain(&texts.discussion) },
            { "label": "check", "data": plain(&texts.check) },
            { "label": "fix", "data": plain(&texts.fix) },
        ],
        "impact": impact,
        "tags": {
            "nist": controls(&texts.ccis),
            "cci": texts.ccis,
            "severity": finding.severity,
            "gid": finding.vuln_id,
            "rid": finding.rule_id,
            "stig_id": finding.stig_id,
            "gtitle": line(&texts.group),
        },
        "refs": [],
        "source_location": {},
        "code": "",
        "results": [result],
    })
}
