//! JUnit XML: each rule a test case, so that a CI job shows the open ones. One suite a severity.

use super::evidence::{Evidence, Finding, Status};
use super::text::line;
use super::xml::Xml;
use crate::policy::Severity;

/// Returns the document.
pub(super) fn render(evidence: &Evidence) -> Vec<u8> {
    let mut xml = Xml::new();
    let all: Vec<&Finding> = evidence.findings.iter().collect();
    let [tests, failures, skipped] = counts(&all);
    let name = evidence.benchmark.to_string();
    let attributes =
        [("name", name.as_str()), ("tests", &tests), ("failures", &failures), ("errors", "0"), ("skipped", &skipped)];
    xml.element("testsuites", &attributes, |xml| {
        for severity in [Severity::High, Severity::Medium, Severity::Low] {
            let of: Vec<&Finding> = all.iter().copied().filter(|finding| finding.severity == severity).collect();
            if !of.is_empty() {
                suite(xml, evidence, severity, &of);
            }
        }
    });
    xml.into_bytes()
}

fn counts(findings: &[&Finding]) -> [String; 3] {
    let of = |wanted: &[Status]| findings.iter().filter(|finding| wanted.contains(&finding.status)).count();
    [findings.len(), of(&[Status::Open]), of(&[Status::NotApplicable, Status::NotReviewed])].map(|n| n.to_string())
}

fn suite(xml: &mut Xml, evidence: &Evidence, severity: Severity, findings: &[&Finding]) {
    let [tests, failures, skipped] = counts(findings);
    let mut attributes = vec![
        ("name", severity.category()),
        ("tests", &tests),
        ("failures", &failures),
        ("errors", "0"),
        ("skipped", &skipped),
    ];
    attributes.extend(evidence.started.as_deref().map(|started| ("timestamp", started.trim_end_matches('Z'))));
    xml.element("testsuite", &attributes, |xml| {
        if !evidence.scope.is_empty() {
            xml.element("properties", &[], |xml| {
                for (number, said) in evidence.scope.iter().enumerate() {
                    let name = format!("scope.{}", number + 1);
                    xml.leaf("property", &[("name", &name), ("value", &line(said))], "");
                }
            });
        }
        for finding in findings {
            let class = format!("{}.{}", evidence.benchmark.id, severity);
            let name = format!("{} {}", finding.stig_id, finding.title);
            xml.element("testcase", &[("classname", &class), ("name", &name), ("time", "0")], |xml| {
                let details = evidence.details(finding);
                match finding.status {
                    Status::Pass => {}
                    Status::Open => {
                        let reason = finding.reason.as_deref().unwrap_or("open");
                        xml.leaf("failure", &[("message", reason), ("type", severity.category())], &details);
                    }
                    Status::NotApplicable | Status::NotReviewed => {
                        let reason = finding.reason.as_deref().unwrap_or_default();
                        xml.leaf("skipped", &[("message", &format!("{}: {reason}", finding.status.words()))], "");
                    }
                }
            });
        }
    });
}
