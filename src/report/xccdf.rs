//! XCCDF 1.2 (NIST SP 800-126): the rules as a benchmark, and a test result beside them.

use super::evidence::{Evidence, Finding, Status};
use super::text::line;
use super::xml::Xml;

const NAMESPACE: &str = "http://checklists.nist.gov/xccdf/1.2";
const CCI: &str = "http://cyber.mil/cci";

/// Returns the document.
pub(super) fn render(evidence: &Evidence) -> Vec<u8> {
    let mut xml = Xml::new();
    let id = format!("xccdf_mil.disa.stig_benchmark_{}", evidence.stig_id());
    let attributes = [("xmlns", NAMESPACE), ("id", id.as_str()), ("resolved", "1"), ("xml:lang", "en")];
    xml.element("Benchmark", &attributes, |xml| {
        xml.leaf("status", &[("date", &evidence.benchmark.date)], "accepted");
        xml.leaf("title", &[], &evidence.benchmark.title);
        xml.leaf("description", &[], &evidence.benchmark.to_string());
        xml.leaf("plain-text", &[("id", "release-info")], &evidence.release_info());
        xml.leaf("version", &[], &evidence.benchmark.version.to_string());
        for finding in &evidence.findings {
            let group = format!("xccdf_mil.disa.stig_group_{}", finding.vuln_id);
            xml.element("Group", &[("id", &group)], |xml| rule(xml, evidence, finding));
        }
        test_result(xml, evidence, &id);
    });
    xml.into_bytes()
}

fn rule(xml: &mut Xml, evidence: &Evidence, finding: &Finding) {
    let texts = evidence.texts(finding);
    xml.leaf("title", &[], &line(&texts.group));
    let attributes = [("id", &*rule_id(finding)), ("severity", finding.severity.as_str()), ("weight", "10.0")];
    xml.element("Rule", &attributes, |xml| {
        xml.leaf("version", &[], &finding.stig_id);
        xml.leaf("title", &[], &line(&texts.title));
        xml.leaf("description", &[], &texts.discussion);
        for cci in &texts.ccis {
            xml.leaf("ident", &[("system", CCI)], cci);
        }
        let fix = format!("F-{}", finding.vuln_id);
        xml.leaf("fixtext", &[("fixref", &fix)], &texts.fix);
        xml.leaf("fix", &[("id", &fix)], "");
        xml.element("check", &[("system", "urn:coldforge:offline")], |xml| {
            xml.leaf("check-content", &[], &texts.check)
        });
    });
}

fn test_result(xml: &mut Xml, evidence: &Evidence, benchmark: &str) {
    let moment = evidence.started.as_deref().unwrap_or("1970-01-01T00:00:00Z");
    let version = evidence.benchmark.version.to_string();
    let system = format!("cpe:/a:coldforge:{}:{}", evidence.tool.name, evidence.tool.version);
    let id = format!("xccdf_coldforge_testresult_{}", evidence.seed());
    let attributes = [
        ("id", id.as_str()),
        ("start-time", moment),
        ("end-time", moment),
        ("version", &version),
        ("test-system", &system),
    ];
    xml.element("TestResult", &attributes, |xml| {
        xml.leaf("benchmark", &[("href", &format!("#{benchmark}")), ("id", benchmark)], "");
        xml.leaf("title", &[], &format!("{} in {}", evidence.benchmark, evidence.image));
        for said in &evidence.scope {
            xml.leaf("remark", &[], &line(said));
        }
        xml.leaf("identity", &[("authenticated", "false"), ("privileged", "true")], "offline");
        xml.leaf("target", &[], &line(&evidence.host));
        xml.element("target-facts", &[], |xml| {
            for (name, text) in [("host_name", &evidence.host), ("os_name", &evidence.product)] {
                let name = format!("urn:scap:fact:asset:identifier:{name}");
                xml.leaf("fact", &[("name", &name), ("type", "string")], &line(text));
            }
        });
        for finding in &evidence.findings {
            let id = rule_id(finding);
            let attributes =
                [("idref", id.as_str()), ("time", moment), ("severity", finding.severity.as_str()), ("weight", "10.0")];
            xml.element("rule-result", &attributes, |xml| {
                let result = match finding.status {
                    // `fixed` would be as true, but importers drop it, and with it the rule.
                    Status::Pass => "pass",
                    Status::Open => "fail",
                    Status::NotApplicable => "notapplicable",
                    Status::NotReviewed => "notchecked",
                };
                xml.leaf("result", &[], result);
                for cci in evidence.texts(finding).ccis {
                    xml.leaf("ident", &[("system", CCI)], &cci);
                }
                if finding.status == Status::Pass && evidence.is_changed(finding) {
                    let by = format!("Remediated by {} {}", evidence.tool.name, evidence.tool.version);
                    xml.leaf("message", &[("severity", "info")], &format!("{by}: the rule was open before this run."));
                }
                xml.leaf("message", &[("severity", "info")], &evidence.details(finding));
                xml.leaf("check", &[("system", "urn:coldforge:offline")], "");
            });
        }
        let [pass, open, ..] = evidence.counts(None);
        let score = if pass + open == 0 { 0.0 } else { 100.0 * pass as f64 / (pass + open) as f64 };
        let attributes = [("system", "urn:xccdf:scoring:default"), ("maximum", "100")];
        xml.leaf("score", &attributes, &format!("{score:.2}"));
    });
}

fn rule_id(finding: &Finding) -> String {
    format!("xccdf_mil.disa.stig_rule_{}", finding.rule_id)
}
