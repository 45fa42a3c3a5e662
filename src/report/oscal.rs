//! OSCAL assessment results (NIST), version 1.1.3: an observation for each rule, a finding for each that was assessed.

use serde_json::{Value, json};

use super::evidence::{Evidence, Finding, Status};
use super::text::{line, plain, uuid};

/// The name space of our properties.
const NS: &str = "https://github.com/coldforge/ns/oscal";

/// Returns the document.
pub(super) fn document(evidence: &Evidence) -> Value {
    let id = |parts: &[&str]| uuid(&[parts, &[&evidence.seed()]].concat());
    let moment = evidence.started.as_deref().unwrap_or("1970-01-01T00:00:00Z");
    let observations: Vec<Value> = evidence
        .findings
        .iter()
        .map(|finding| {
            json!({
                "uuid": id(&["observation", &finding.rule_id]),
                "title": format!("{} {}", finding.stig_id, line(&finding.title)),
                "description": plain(&evidence.details(finding)),
                "props": props(evidence, finding),
                "methods": ["EXAMINE"],
                "collected": moment,
            })
        })
        .collect();
    let findings: Vec<Value> = evidence
        .findings
        .iter()
        .filter_map(|finding| {
            let state = match finding.status {
                Status::Pass => "satisfied",
                Status::Open => "not-satisfied",
                Status::NotApplicable | Status::NotReviewed => return None,
            };
            Some(json!({
                "uuid": id(&["finding", &finding.rule_id]),
                "title": format!("{} {}", finding.stig_id, line(&finding.title)),
                "description": plain(finding.reason.as_deref().unwrap_or("The requirement holds.")),
                "target": { "type": "objective-id", "target-id": finding.vuln_id, "status": { "state": state } },
                "related-observations": [{ "observation-uuid": id(&["observation", &finding.rule_id]) }],
            }))
        })
        .collect();
    // Who has a plan in OSCAL replaces the reference; without one the document names what was demanded, and where.
    let plan = id(&["assessment-plan"]);
    let covered: Vec<String> = evidence.scope.iter().map(|said| line(said)).collect();
    let mut resource = json!({
        "uuid": plan,
        "title": format!("What was demanded: {}", line(&evidence.benchmark.to_string())),
        "description": match covered.is_empty() {
            true => "The rules of the benchmark, assessed offline.".to_owned(),
            false => covered.join("\n"),
        },
    });
    if let Some(log) = &evidence.log {
        resource["rlinks"] = json!([{
            "href": "../audit.jsonl",
            "media-type": "application/jsonl",
            "hashes": [{ "algorithm": "SHA-256", "value": log.sha256 }],
        }]);
    }
    let mut result = json!({
        "uuid": id(&["result"]),
        "title": evidence.benchmark.to_string(),
        "description": format!("{} in {}", line(&evidence.product), line(&evidence.image)),
        "start": moment,
        "reviewed-controls": { "control-selections": [{ "include-all": {} }] },
    });
    if !covered.is_empty() {
        result["remarks"] = covered.join("\n").into();
    }
    // Neither list may be there and empty.
    for (name, list) in [("observations", observations), ("findings", findings)] {
        if !list.is_empty() {
            result[name] = list.into();
        }
    }
    json!({ "assessment-results": {
        "uuid": id(&["assessment-results"]),
        "metadata": {
            "title": format!("{}: {}", evidence.benchmark, line(&evidence.image)),
            "last-modified": moment,
            "version": evidence.tool.version,
            "oscal-version": "1.1.3",
        },
        "import-ap": { "href": format!("#{plan}") },
        "results": [result],
        "back-matter": { "resources": [resource] },
    }})
}

fn props(evidence: &Evidence, finding: &Finding) -> Value {
    let ccis = evidence.texts(finding).ccis;
    [("vuln-id", &finding.vuln_id), ("rule-id", &finding.rule_id), ("stig-id", &finding.stig_id)]
        .into_iter()
        .chain([("status", &finding.status.word().to_owned()), ("severity", &finding.severity.to_string())])
        .chain(ccis.iter().map(|cci| ("cci", cci)))
        .map(|(name, value)| json!({ "name": name, "ns": NS, "value": value }))
        .collect()
}
