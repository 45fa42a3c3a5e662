//! The checklist of STIG Viewer 3 (`.cklb`, version 1.0). The order of its members is that of files that it writes.

use serde_json::{Value, json};

use super::evidence::{Evidence, Finding, Status};
use super::text::{line, plain, uuid};

/// Returns the document.
pub(super) fn document(evidence: &Evidence) -> Value {
    json!({
        "title": line(&evidence.host),
        "id": uuid(&["checklist", &evidence.seed()]),
        "stigs": evidence.parts().iter().map(stig).collect::<Vec<_>>(),
        "active": true,
        "mode": 2,
        "has_path": false,
        "target_data": {
            "target_type": "Computing",
            "host_name": line(&evidence.host),
            "ip_address": "",
            "mac_address": "",
            "fqdn": "",
            "comments": plain(&evidence.asset_comment()),
            "role": evidence.role_words(),
            "is_web_database": false,
            "technology_area": "",
            "web_db_site": "",
            "web_db_instance": "",
            "classification": null,
        },
        "cklb_version": "1.0",
    })
}

/// Returns the part of one benchmark.
fn stig(evidence: &Evidence) -> Value {
    let stig_uuid = uuid(&["stig", &evidence.benchmark.to_string()]);
    let rules: Vec<Value> = evidence.findings.iter().map(|finding| rule(evidence, &stig_uuid, finding)).collect();
    json!({
        "stig_name": evidence.benchmark.title,
        "display_name": evidence.benchmark.title.trim_end_matches(" STIG"),
        "stig_id": evidence.stig_id(),
        "release_info": evidence.release_info(),
        "version": evidence.benchmark.version.to_string(),
        "uuid": stig_uuid,
        "reference_identifier": "",
        "size": rules.len(),
        "rules": rules,
    })
}

fn rule(evidence: &Evidence, stig_uuid: &str, finding: &Finding) -> Value {
    let texts = evidence.texts(finding);
    let group = line(&texts.group);
    json!({
        "group_id_src": finding.vuln_id,
        "group_tree": [{ "id": finding.vuln_id, "title": group, "description": "<GroupDescription></GroupDescription>" }],
        "group_id": finding.vuln_id,
        "severity": finding.severity,
        "group_title": group,
        "rule_id_src": finding.rule_id,
        "rule_id": finding.rule_id.trim_end_matches("_rule"),
        "rule_version": finding.stig_id,
        "rule_title": line(&texts.title),
        "fix_text": plain(&texts.fix),
        "weight": "10.0",
        "check_content": plain(&texts.check),
        "check_content_ref": { "href": format!("{}.xml", evidence.stig_id()), "name": "M" },
        "classification": "Unclassified",
        "discussion": plain(&texts.discussion),
        "false_positives": "",
        "false_negatives": "",
        "documentable": "false",
        "security_override_guidance": "",
        "potential_impacts": "",
        "third_party_tools": "",
        "ia_controls": "",
        "responsibility": "",
        "mitigations": "",
        "mitigation_control": "",
        "legacy_ids": texts.legacy_ids,
        "ccis": texts.ccis,
        "reference_identifier": "",
        "uuid": uuid(&["rule", stig_uuid, &finding.rule_id]),
        "stig_uuid": stig_uuid,
        "status": match finding.status {
            Status::Pass => "not_a_finding",
            Status::Open => "open",
            Status::NotApplicable => "not_applicable",
            Status::NotReviewed => "not_reviewed",
        },
        "overrides": {},
        "comments": evidence.comment(finding),
        "finding_details": evidence.details(finding),
        "srg_id": group,
    })
}
