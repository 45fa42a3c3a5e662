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
    assert_eq!((result("pass"), result("fail")), (pass, open));
    assert_eq!((result("notapplicable"), result("notchecked")), (not_applicable, not_reviewed));
    assert!(count(&xccdf, "Remediated by coldforge") > 50, "what the run changed is told as such");

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
    assert_eq!((sarif("fail"), sarif("pass") + sarif("notApplicable") + sarif("review")), (open, 0));
    let whole =
        coldforge(["report", text(&home.path().join("out")), "--format", "sarif", "--sarif-all"]).expect(0).json();
    let whole = |kind: &str| {
        whole["runs"][0]["results"].as_array().unwrap().iter().filter(|result| result["kind"] == kind).count()
    };
    assert_eq!((whole("pass"), whole("fail")), (pass, open));
    assert_eq!((whole("notApplicable"), whole("review")), (not_applicable, not_reviewed));

    let junit = read(&reports.join("results.junit.xml"));
    assert_eq!(count(&junit, "<testcase "), all);
    assert_eq!((count(&junit, "<failure "), count(&junit, "<skipped ")), (open, not_applicable + not_reviewed));

    let html = read(&reports.join("report.html"));
    assert_eq!((count(&html, "data-status=\"pass"), count(&html, "data-status=\"open")), (pass, open));
    assert!(!html.contains("http://") && !html.contains("https://"), "the page needs nothing else");
    let rows = read(&reports.join("findings.csv"));
    assert_eq!(count(&rows, "\r\n"), all + 2, "one row names what is covered");
    assert_eq!(count(&rows, ",scope,"), 1);
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
    // Of XCCDF it does not take `notchecked`.
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
        assert_eq!(counts["pass"], total("pass"), "{name}");
        if not_reviewed {
            assert_eq!(counts["informational"], total("not_reviewed"), "{name}");
        }
    }
}

/// Hardens the fixture with all STIGs of programs and a policy.
fn harden_with_all(home: &Path) -> std::path::PathBuf {
    let policy = "schema = \"coldforge/policy/1\"\n[[rule]]\nid = \"EX-1\"\ntitle = \"A value\"\nseverity = \"low\"\ncheck = \
                  [{ key = 'HKLM\\SOFTWARE\\Acme', name = \"P\", type = \"REG_DWORD\", equals = 1 }]\n";
    let (file, out) = (home.join("ours.toml"), home.join("out"));
    std::fs::write(&file, policy).unwrap();
    let image = fixture("ws2022.vhd");
    let run = ["harden", text(&image), "-o", text(&out), "--fail-on", "none", "--with", "all", "--policy", text(&file)];
    coldforge([&run[..], &["--sarif-all"]].concat()).expect(0);
    out
}

#[test]
fn each_benchmark_has_its_own_results_in_xccdf_and_its_own_profile_in_hdf() {
    let home = tempfile::tempdir().unwrap();
    let out = harden_with_all(home.path());
    let reports = out.join("reports");
    let mut passes = 0;
    for (file, id, release, rules) in [
        ("results.xccdf.xml", "MS_Windows_Server_2022_STIG", "Release: 8", 282),
        ("results.defender.xccdf.xml", "MS_Defender_Antivirus", "Release: 8", 67),
        ("results.edge.xccdf.xml", "MS_Edge_STIG", "Release: 5", 61),
        ("results.ie11.xccdf.xml", "IE_11_STIG", "Release: 6", 137),
        ("results.dotnet.xccdf.xml", "MS_Dot_Net_Framework", "Release: 8", 16),
        ("results.firewall.xccdf.xml", "Windows_Firewall_with_Advanced_Security", "Release: 2", 21),
        ("results.ours.xccdf.xml", "ours", "Release: 0", 1),
    ] {
        let xccdf = read(&reports.join(file));
        assert!(
            xccdf.contains(&format!(
                "<Benchmark xmlns=\"http://checklists.nist.gov/xccdf/1.2\" id=\"xccdf_mil.disa.stig_benchmark_{id}\""
            )),
            "{file}"
        );
        assert!(xccdf.contains(release), "{file}");
        assert_eq!((count(&xccdf, "<TestResult "), count(&xccdf, "<rule-result ")), (1, rules), "{file}");
        assert_eq!(count(&xccdf, "<result>fixed</result>"), 0);
        passes += count(&xccdf, "<result>pass</result>");
        if oracle("xmllint") && Path::new(SCHEMA).is_file() {
            let done = ask("xmllint", &["--noout", "--schema", SCHEMA, text(&reports.join(file))]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        if oracle("oscap") {
            let done = ask("oscap", &["xccdf", "validate", text(&reports.join(file))]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        }
    }
    let assessment: Value = serde_json::from_str(&read(&reports.join("assessment.json"))).unwrap();
    assert_eq!(assessment["totals"]["pass"], passes);

    let hdf: Value = serde_json::from_str(&read(&reports.join("results.hdf.json"))).unwrap();
    let profiles = hdf["profiles"].as_array().unwrap();
    let names: Vec<&str> = profiles.iter().map(|profile| profile["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ws2022", "defender", "edge", "ie11", "dotnet", "firewall", "ours"]);
    for profile in &profiles[..6] {
        for control in profile["controls"].as_array().unwrap() {
            let tags = control["tags"]["nist"].as_array().unwrap();
            assert!(!tags.is_empty(), "{}", control["id"]);
        }
    }
    let rule =
        |id: &str| profiles[0]["controls"].as_array().unwrap().iter().find(|control| control["id"] == id).unwrap();
    assert_eq!(rule("V-254276")["tags"]["cci"], serde_json::json!(["CCI-000381"]));
    assert_eq!(rule("V-254276")["tags"]["nist"], serde_json::json!(["CM-7 a"]));

    let oscal: Value = serde_json::from_str(&read(&reports.join("assessment-results.oscal.json"))).unwrap();
    let results = &oscal["assessment-results"];
    let plan = results["import-ap"]["href"].as_str().unwrap().strip_prefix('#').unwrap();
    assert_eq!(results["back-matter"]["resources"][0]["uuid"], plan);

    let sarif: Value = serde_json::from_str(&read(&reports.join("results.sarif"))).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 282 + 67 + 61 + 137 + 16 + 21 + 1);
    coldforge(["verify", text(&out)]).expect(0);
}

#[test]
fn stig_manager_counts_the_same_of_ckl_cklb_and_xccdf_of_all_benchmarks() {
    let Some(checker) = shared().map(|shared| shared.join("check/report_check.mjs")) else { return };
    let Some(modules) = validators("node_modules/@nuwcdivnpt/stig-manager-client-modules") else { return };
    if !oracle("node") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let reports = harden_with_all(home.path()).join("reports");
    let counts = |files: &[std::path::PathBuf]| {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for file in files {
            let done = ask("node", &[text(&checker), text(&modules), text(file)]);
            let said = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
            let counts: BTreeMap<String, u64> = serde_json::from_str(&said[said.find('{').unwrap()..]).unwrap();
            for (result, count) in counts.into_iter().filter(|(result, _)| result != "informational") {
                *all.entry(result).or_default() += count;
            }
        }
        all
    };
    let files = std::fs::read_dir(&reports).unwrap().map(|entry| entry.unwrap().path());
    let xccdf: Vec<_> = files.filter(|path| text(path).ends_with(".xccdf.xml")).collect();
    assert_eq!(xccdf.len(), 7);
    let ckl = counts(&[reports.join("checklist.ckl")]);
    assert!(ckl["pass"] > 250 && ckl["fail"] > 0, "{ckl:?}");
    assert_eq!(ckl, counts(&[reports.join("checklist.cklb")]));
    assert_eq!(ckl, counts(&xccdf));
}

#[test]
fn the_summary_begins_with_counts_what_amazon_would_reject_and_what_is_open() {
    let home = tempfile::tempdir().unwrap();
    let image = fixture("ws2022.vhd");
    let run = coldforge(["harden", text(&image), "-o", text(&home.path().join("out")), "--fail-on", "none"]).expect(0);
    let at = |part: &str| run.out.find(part).unwrap_or_else(|| panic!("{part}: {}", run.out));
    let order =
        ["\npass ", "\npreflight for ", "  P13  ", "\nStill open:", "settings changed.", "changes were read again"];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{}", run.out);
    assert!(!run.err.contains("W-SECOND-OPINION"), "{}", run.err);
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
fn the_summary_begins_with_counts_failed_preflight_checks_and_what_is_open() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    harden(&out);
    let summary = read(&out.join("reports/summary.md"));
    let headings: Vec<&str> = summary.lines().filter(|line| line.starts_with('#')).skip(1).collect();
    assert_eq!(headings[..3], ["## Failed preflight checks", "## Open", "## What this covers"], "{summary}");
    assert!(summary.find("| **all** |").unwrap() < summary.find("## Failed").unwrap());
    let preflight: serde_json::Value = serde_json::from_str(&read(&out.join("aws/preflight.json"))).unwrap();
    let readme = read(&out.join("aws/README.md"));
    let failed: Vec<_> =
        preflight["checks"].as_array().unwrap().iter().filter(|one| one["verdict"] == "fail").collect();
    assert!(failed.len() > 1);
    for check in failed {
        let said = |member: &str| check[member].as_str().unwrap();
        let line = summary.lines().find(|line| line.starts_with(&format!("- **{}** {}", said("id"), said("title"))));
        assert!(line.is_some(), "{}: {summary}", said("id"));
        // What a hint calls code is shown as code, and names the image.
        let hint = said("hint");
        assert!(!hint.contains(" IMAGE "), "{hint}");
        for code in hint.split('`').skip(1).step_by(2) {
            assert!(summary.contains(&format!("`{code}`")) && readme.contains(&format!("`{code}`")), "{code}");
        }
    }
    assert!(readme.contains("`coldforge harden ws2022.vhd -o DIR --fix P26`") && !readme.contains("\\`"), "{readme}");
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
    let digest = |text: &str| coldforge_base::digest::Digest::of(text.as_bytes()).to_string();
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
