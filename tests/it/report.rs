//! Reports of a bundle: all there, all telling the same, and valid for those who check such files.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::{ask, coldforge, fixture, oracle, shared, text, validators};

const SCHEMA: &str = "/usr/share/openscap/schemas/xccdf/1.2/xccdf_1.2.xsd";

/// Hardens the fixture and returns the bundle's assessment.
fn harden(out: &Path) -> Value {
    coldforge(["harden", text(&fixture("ws2022.vhd")), "-o", text(out), "--fail-on", "none"]).expect(0);
    serde_json::from_slice(&std::fs::read(out.join("reports/assessment.json")).unwrap()).unwrap()
}

fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn every_report_counts_what_the_assessment_counts() {
    let home = tempfile::tempdir().unwrap();
    let assessment = harden(home.path().join("out").as_path());
    let reports = home.path().join("out/reports");
    let total = |name: &str| usize::try_from(assessment["totals"][name].as_u64().unwrap()).unwrap();
    let [pass, open, not_applicable, not_reviewed] = ["pass", "open", "not_applicable", "not_reviewed"].map(total);
    let all = pass + open + not_applicable + not_reviewed;

    let cklb: Value = serde_json::from_str(&read(&reports.join("checklist.cklb"))).unwrap();
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in cklb["stigs"][0]["rules"].as_array().unwrap() {
        *statuses.entry(rule["status"].as_str().unwrap()).or_default() += 1;
    }
    let expected =
        [("not_a_finding", pass), ("open", open), ("not_applicable", not_applicable), ("not_reviewed", not_reviewed)];
    assert_eq!(statuses, expected.into());
    assert_eq!(cklb["stigs"][0]["size"], all);

    let ckl = read(&reports.join("checklist.ckl"));
    for (status, expected) in
        [("NotAFinding", pass), ("Open", open), ("Not_Applicable", not_applicable), ("Not_Reviewed", not_reviewed)]
    {
        assert_eq!(count(&ckl, &format!("<STATUS>{status}</STATUS>")), expected, "{status}");
    }

    let xccdf = read(&reports.join("results.xccdf.xml"));
    let result = |word: &str| count(&xccdf, &format!("<result>{word}</result>"));
    assert_eq!((result("pass") + result("fixed"), result("fail")), (pass, open));
    assert_eq!((result("notapplicable"), result("notchecked")), (not_applicable, not_reviewed));
    assert!(result("fixed") > 50, "what the run changed is told as such");

    let hdf: Value = serde_json::from_str(&read(&reports.join("results.hdf.json"))).unwrap();
    let hdf = |status: &str| {
        let controls = hdf["profiles"][0]["controls"].as_array().unwrap();
        controls.iter().filter(|control| control["results"][0]["status"] == status).count()
    };
    assert_eq!((hdf("passed"), hdf("failed"), hdf("skipped")), (pass, open, not_applicable + not_reviewed));

    let oscal: Value = serde_json::from_str(&read(&reports.join("assessment-results.oscal.json"))).unwrap();
    let findings = oscal["assessment-results"]["results"][0]["findings"].as_array().unwrap();
    let satisfied = findings.iter().filter(|finding| finding["target"]["status"]["state"] == "satisfied").count();
    assert_eq!((satisfied, findings.len()), (pass, pass + open));

    let sarif: Value = serde_json::from_str(&read(&reports.join("results.sarif"))).unwrap();
    let sarif = |kind: &str| {
        sarif["runs"][0]["results"].as_array().unwrap().iter().filter(|result| result["kind"] == kind).count()
    };
    assert_eq!((sarif("pass"), sarif("fail")), (pass, open));
    assert_eq!((sarif("notApplicable"), sarif("review")), (not_applicable, not_reviewed));

    let junit = read(&reports.join("results.junit.xml"));
    assert_eq!(count(&junit, "<testcase "), all);
    assert_eq!((count(&junit, "<failure "), count(&junit, "<skipped ")), (open, not_applicable + not_reviewed));

    let html = read(&reports.join("report.html"));
    assert_eq!((count(&html, "data-status=\"pass"), count(&html, "data-status=\"open")), (pass, open));
    assert!(!html.contains("http://") && !html.contains("https://"), "the page needs nothing else");
    assert_eq!(count(&read(&reports.join("findings.csv")), "\r\n"), all + 1);
    assert!(read(&reports.join("summary.md")).contains(&format!("| **all** | {pass} | {open} |")));

    let provenance: Value = serde_json::from_str(&read(&home.path().join("out/provenance.json"))).unwrap();
    let image = crate::support::sha256(&home.path().join("out/ws2022.vhd"));
    assert_eq!(provenance["subject"][0]["digest"]["sha256"], image);
}

#[test]
fn results_in_xccdf_are_valid_for_openscap() {
    let home = tempfile::tempdir().unwrap();
    harden(home.path().join("out").as_path());
    let results = home.path().join("out/reports/results.xccdf.xml");
    if oracle("xmllint") && Path::new(SCHEMA).is_file() {
        let done = ask("xmllint", &["--noout", "--schema", SCHEMA, text(&results)]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    if oracle("oscap") {
        let done = ask("oscap", &["xccdf", "validate", text(&results)]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

#[test]
fn the_libraries_of_oscal_junit_and_in_toto_read_the_counts_of_the_assessment() {
    let Some(validators) = validators("bin/python") else { return };
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let assessment = harden(&out);
    let total = |name: &str| assessment["totals"][name].as_u64().unwrap();
    let [pass, open, not_applicable, not_reviewed] = ["pass", "open", "not_applicable", "not_reviewed"].map(total);
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/validate.py");
    let done = ask(text(&validators.join("bin/python")), &[text(&tool), text(&out)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let expected = serde_json::json!({
        "satisfied": pass, "not_satisfied": open, "findings": pass + open,
        "cases": pass + open + not_applicable + not_reviewed,
        "failures": open, "skipped": not_applicable + not_reviewed,
        "subjects": [crate::support::sha256(&out.join("ws2022.vhd"))],
    });
    assert_eq!(said, expected);
}

#[test]
fn stig_manager_imports_the_checklists_with_the_counts_of_the_assessment() {
    let Some(checker) = shared().map(|shared| shared.join("check/report_check.mjs")) else { return };
    let Some(modules) = validators("node_modules/@nuwcdivnpt/stig-manager-client-modules") else { return };
    if !oracle("node") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let assessment = harden(&out);
    let total = |name: &str| assessment["totals"][name].as_u64().unwrap();
    for (name, not_reviewed) in [("checklist.ckl", true), ("checklist.cklb", true), ("results.xccdf.xml", false)] {
        let report = out.join("reports").join(name);
        let done = ask("node", &[text(&checker), text(&modules), text(&report)]);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        let counts: Value = serde_json::from_str(&said[said.find('{').unwrap()..]).unwrap();
        assert_eq!(
            (&counts["fail"], &counts["notapplicable"]),
            (&total("open").into(), &total("not_applicable").into())
        );
        // Of XCCDF it takes neither `notchecked` nor `fixed`: what the run changed is missing there, never a pass too many.
        if not_reviewed {
            assert_eq!(counts["pass"], total("pass"), "{name}");
            assert_eq!(counts["informational"], total("not_reviewed"), "{name}");
        } else {
            let fixed = count(&read(&report), "<result>fixed</result>");
            assert_eq!(counts["pass"], total("pass") - u64::try_from(fixed).unwrap(), "{name}");
        }
    }
}

#[test]
fn a_report_is_rendered_again_from_the_bundle() {
    let home = tempfile::tempdir().unwrap();
    let (out, again) = (home.path().join("out"), home.path().join("again"));
    harden(&out);
    coldforge(["report", text(&out), "-o", text(&again)]).expect(0);
    for file in std::fs::read_dir(&again).unwrap() {
        let file = file.unwrap();
        let name = file.file_name();
        let folder = if name == "provenance.json" { out.clone() } else { out.join("reports") };
        assert_eq!(std::fs::read(file.path()).unwrap(), std::fs::read(folder.join(&name)).unwrap(), "{name:?}");
    }
    assert_eq!(std::fs::read_dir(&again).unwrap().count(), 11);
    let csv = coldforge(["report", text(&out), "--format", "csv"]).expect(0);
    assert_eq!(csv.out, read(&out.join("reports/findings.csv")));
    let refused = coldforge(["report", text(&out), "--format", "pdf"]).expect(2);
    assert!(refused.err.contains("html, cklb, ckl"), "{}", refused.err);
    let twice = coldforge(["report", text(&out), "-o", text(&again)]).expect(4);
    assert!(twice.err.contains("cannot create"), "{}", twice.err);
}

#[test]
fn a_scan_writes_reports_that_tell_of_no_run() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("reports");
    coldforge(["scan", text(&fixture("ws2022.vhd")), "--reports", text(&folder), "--fail-on", "none"]).expect(0);
    let xccdf = read(&folder.join("results.xccdf.xml"));
    assert_eq!(count(&xccdf, "<result>fixed</result>"), 0);
    assert!(folder.join("report.html").is_file() && !folder.join("provenance.json").exists());
}

#[test]
fn a_report_that_was_changed_is_found() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    harden(&out);
    // The lie is listed with its own digest: only rendering it again can tell.
    let page = out.join("reports/summary.md");
    let (old, lie) = (read(&page), read(&page).replace("| **all** | ", "| **all** | 1"));
    std::fs::write(&page, &lie).unwrap();
    let digest = |text: &str| coldforge::base::digest::Digest::of(text.as_bytes()).to_string();
    let manifest = read(&out.join("manifest.json"));
    let resealed = manifest
        .replace(&digest(&old), &digest(&lie))
        .replace(&format!("\"bytes\": {}", old.len()), &format!("\"bytes\": {}", lie.len()));
    std::fs::write(out.join("manifest.json"), &resealed).unwrap();
    let sums = read(&out.join("SHA256SUMS"));
    let sums = sums.replace(&digest(&old), &digest(&lie)).replace(&digest(&manifest), &digest(&resealed));
    std::fs::write(out.join("SHA256SUMS"), sums).unwrap();
    let answer = coldforge(["verify", text(&out)]).expect(1);
    assert!(answer.out.contains("reports/summary.md: it is not what the assessment"), "{}", answer.out);
}
