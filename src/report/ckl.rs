//! The checklist of STIG Viewer 2 (`.ckl`). Its readers take the elements in this order only.

use super::evidence::{Evidence, Finding, Status};
use super::text::uuid;
use super::xml::Xml;

/// Returns the document.
pub(super) fn render(evidence: &Evidence) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.element("CHECKLIST", &[], |xml| {
        xml.element("ASSET", &[], |xml| {
            let comment = evidence.asset_comment();
            for (name, text) in [
                ("ROLE", evidence.role_words()),
                ("ASSET_TYPE", "Computing"),
                ("MARKING", ""),
                ("HOST_NAME", evidence.host.as_str()),
                ("HOST_IP", ""),
                ("HOST_MAC", ""),
                ("HOST_FQDN", ""),
                ("TARGET_COMMENT", &comment),
                ("TECH_AREA", ""),
                ("TARGET_KEY", ""),
                ("WEB_OR_DATABASE", "false"),
                ("WEB_DB_SITE", ""),
                ("WEB_DB_INSTANCE", ""),
            ] {
                xml.leaf(name, &[], text);
            }
        });
        xml.element("STIGS", &[], |xml| {
            for part in evidence.parts() {
                xml.element("iSTIG", &[], |xml| stig(xml, &part));
            }
        });
    });
    xml.into_bytes()
}

fn stig(xml: &mut Xml, evidence: &Evidence) {
    let benchmark = &evidence.benchmark;
    let stig_uuid = uuid(&["stig", &benchmark.to_string()]);
    xml.element("STIG_INFO", &[], |xml| {
        for (name, data) in [
            ("version", benchmark.version.to_string()),
            ("classification", "UNCLASSIFIED".to_owned()),
            ("customname", String::new()),
            ("stigid", evidence.stig_id().to_owned()),
            ("description", String::new()),
            ("filename", format!("{}.xml", evidence.stig_id())),
            ("releaseinfo", evidence.release_info()),
            ("title", benchmark.title.clone()),
            ("uuid", stig_uuid.clone()),
            ("notice", "terms-of-use".to_owned()),
            ("source", String::new()),
        ] {
            xml.element("SI_DATA", &[], |xml| {
                xml.leaf("SID_NAME", &[], name);
                xml.leaf("SID_DATA", &[], &data);
            });
        }
    });
    for finding in &evidence.findings {
        xml.element("VULN", &[], |xml| vuln(xml, evidence, &stig_uuid, finding));
    }
}

fn vuln(xml: &mut Xml, evidence: &Evidence, stig_uuid: &str, finding: &Finding) {
    let texts = evidence.texts(finding);
    let benchmark = &evidence.benchmark;
    let reference = format!("{} :: Version {}, Release: {}", benchmark.title, benchmark.version, benchmark.release);
    let mut attributes: Vec<(&str, &str)> = vec![
        ("Vuln_Num", &finding.vuln_id),
        ("Severity", finding.severity.as_str()),
        ("Group_Title", &texts.group),
        ("Rule_ID", &finding.rule_id),
        ("Rule_Ver", &finding.stig_id),
        ("Rule_Title", &texts.title),
        ("Vuln_Discuss", &texts.discussion),
        ("IA_Controls", ""),
        ("Check_Content", &texts.check),
        ("Fix_Text", &texts.fix),
        ("False_Positives", ""),
        ("False_Negatives", ""),
        ("Documentable", "false"),
        ("Mitigations", ""),
        ("Potential_Impact", ""),
        ("Third_Party_Tools", ""),
        ("Mitigation_Control", ""),
        ("Responsibility", ""),
        ("Security_Override_Guidance", ""),
        ("Check_Content_Ref", "M"),
        ("Weight", "10.0"),
        ("Class", "Unclass"),
        ("STIGRef", &reference),
        ("TargetKey", ""),
        ("STIG_UUID", stig_uuid),
    ];
    // There are always two.
    let legacy = texts.legacy_ids.iter().map(String::as_str).chain(["", ""]).take(texts.legacy_ids.len().max(2));
    attributes.extend(legacy.map(|id| ("LEGACY_ID", id)));
    attributes.extend(texts.ccis.iter().map(|cci| ("CCI_REF", cci.as_str())));
    for (name, data) in attributes {
        xml.element("STIG_DATA", &[], |xml| {
            xml.leaf("VULN_ATTRIBUTE", &[], name);
            xml.leaf("ATTRIBUTE_DATA", &[], data);
        });
    }
    xml.leaf(
        "STATUS",
        &[],
        match finding.status {
            Status::Pass => "NotAFinding",
            Status::Open => "Open",
            Status::NotApplicable => "Not_Applicable",
            Status::NotReviewed => "Not_Reviewed",
        },
    );
    xml.leaf("FINDING_DETAILS", &[], &evidence.details(finding));
    xml.leaf("COMMENTS", &[], &evidence.comment(finding));
    xml.leaf("SEVERITY_OVERRIDE", &[], "");
    xml.leaf("SEVERITY_JUSTIFICATION", &[], "");
}
