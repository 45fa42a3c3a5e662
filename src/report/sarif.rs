//! SARIF 2.1.0 (OASIS): each rule a reporting descriptor, each open rule a result, or each rule where all are wanted.

use serde_json::{Value, json};

use super::Results;
use super::evidence::{Evidence, Finding, Status};
use super::text::{line, plain};
use crate::policy::Severity;

/// Returns the document.
pub(super) fn document(evidence: &Evidence, wanted: Results) -> Value {
    // A rule is named by its place in the list of rules, which holds all of them either way.
    let findings = evidence.findings.iter().enumerate();
    let shown = findings.filter(|(_, finding)| wanted == Results::All || finding.status == Status::Open);
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": evidence.tool.name,
                "version": evidence.tool.version,
                "rules": evidence.findings.iter().map(|finding| rule(evidence, finding)).collect::<Vec<_>>(),
            }},
            "automationDetails": { "id": format!("{}/{}", evidence.benchmark.id, line(&evidence.image)) },
            "columnKind": "unicodeCodePoints",
            "results": shown.map(|(index, finding)| result(evidence, index, finding)).collect::<Vec<_>>(),
            "properties": { "scope": evidence.scope.iter().map(|said| line(said)).collect::<Vec<_>>() },
        }],
    })
}

fn rule(evidence: &Evidence, finding: &Finding) -> Value {
    let texts = evidence.texts(finding);
    json!({
        "id": finding.stig_id,
        "name": finding.vuln_id,
        "shortDescription": { "text": line(&finding.title) },
        "fullDescription": { "text": plain(&texts.title) },
        "defaultConfiguration": { "level": level(finding.severity) },
        "properties": {
            // What code scanning sorts by.
            "security-severity": match finding.severity { Severity::High => "8.0", Severity::Medium => "5.0", Severity::Low => "2.0" },
            "tags": texts.ccis.iter().map(String::as_str).chain([finding.severity.category(), &finding.kind.to_string()]).collect::<Vec<_>>(),
        },
    })
}

fn result(evidence: &Evidence, index: usize, finding: &Finding) -> Value {
    let (kind, level) = match finding.status {
        Status::Pass => ("pass", "none"),
        Status::Open => ("fail", level(finding.severity)),
        Status::NotApplicable => ("notApplicable", "none"),
        Status::NotReviewed => ("review", "none"),
    };
    // The root of the volume has no name that a reference could be made of.
    let file = finding.at.as_ref().map(|at| at.file.trim_start_matches('\\')).filter(|file| !file.is_empty());
    let uri = path(file.unwrap_or(&evidence.image));
    json!({
        "ruleId": finding.stig_id,
        "ruleIndex": index,
        "kind": kind,
        "level": level,
        "message": { "text": plain(&evidence.details(finding)) },
        "locations": [{ "physicalLocation": { "artifactLocation": { "uri": uri } } }],
        "partialFingerprints": { "rule/v1": finding.vuln_id },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// Returns a path as a relative URI reference.
fn path(text: &str) -> String {
    let mut uri = String::new();
    for byte in line(text).bytes() {
        match byte {
            b'\\' => uri.push('/'),
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => uri.push(byte.into()),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}
