//! How far the catalogs reach: the table in docs/coverage.md, what Amazon's components apply, and the levels.

use std::collections::{BTreeMap, BTreeSet};

use coldforge::policy::{Catalog, Reach, Remedy, Rule, Severity, catalogs};
use serde_json::Value as Json;

use crate::support::{self, coldforge, fixture, text};

/// Rules that Amazon lists and that the releases here no longer have.
const GONE: &[(&str, &str)] = &[("edge", "V-235759"), ("ws2016", "V-224889")];

#[test]
fn the_table_in_the_docs_is_what_the_command_prints() {
    const BOUNDS: [&str; 2] = ["<!-- coldforge rules coverage --markdown -->\n", "<!-- end of coverage -->\n"];
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/coverage.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let printed = coldforge(["rules", "coverage", "--markdown"]).expect(0).out;
    let (head, rest) = page.split_once(BOUNDS[0]).unwrap();
    let (table, tail) = rest.split_once(BOUNDS[1]).unwrap();
    let wanted = format!("\n{printed}\n");
    if std::env::var_os("UPDATE_DOCS").is_some() && table != wanted {
        std::fs::write(&path, [head, BOUNDS[0], &wanted, BOUNDS[1], tail].concat()).unwrap();
        return;
    }
    assert_eq!(table, wanted, "run this test with UPDATE_DOCS=1 to write the table anew");
}

/// Returns why nothing is done about a rule here.
fn reason(rule: &Rule) -> Option<&str> {
    let beyond = rule.checks.iter().find_map(|check| match &check.remedy {
        Remedy::Beyond(reason) => Some(reason.as_str()),
        _ => None,
    });
    rule.not_reviewed.as_deref().or(beyond)
}

#[test]
fn every_rule_that_amazon_applies_is_applied_or_says_why_not() {
    let Some(shared) = support::shared() else { return };
    let table = std::fs::read_to_string(shared.join("stig/aws-coverage.tsv")).unwrap();
    let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    for line in table.lines().skip(1).filter(|line| line.starts_with("AMI page 2026")) {
        let row: Vec<&str> = line.split('\t').collect();
        let (windows, level, stig, vuln_id) = (row[1], row[2], row[3], row[4]);
        let id = match windows {
            "component" if stig.contains(".NET") => "dotnet".to_owned(),
            "component" if stig.contains("Internet Explorer") => "ie11".to_owned(),
            "component" if stig.contains("Defender") => "defender".to_owned(),
            "component" if stig.contains("Edge") => "edge".to_owned(),
            "component" => "firewall".to_owned(),
            year => format!("ws{year}"),
        };
        let Ok(rule) = Catalog::named(&id).unwrap().find_rule(vuln_id) else {
            gone.insert((id, vuln_id.to_owned()));
            continue;
        };
        let expected = match level {
            "Low" => Some(Severity::Low),
            "Medium" => Some(Severity::Medium),
            "High" => Some(Severity::High),
            _ => None,
        };
        assert!(expected.is_none_or(|severity| severity == rule.severity), "{id} {vuln_id}: {level}");
        let reach = rule.reach();
        assert!(reach == Reach::Applied || reason(rule).is_some_and(|reason| reason.len() > 20), "{id} {vuln_id}");
        counts.entry(id).or_default()[reach as usize] += 1;
    }
    let known: BTreeSet<(String, String)> =
        GONE.iter().map(|(id, rule)| ((*id).to_owned(), (*rule).to_owned())).collect();
    assert_eq!(gone, known);
    let counts: Vec<(&str, [usize; 3])> = counts.iter().map(|(id, counts)| (id.as_str(), *counts)).collect();
    // Applied, only checked, not reviewed. The rules that are not reviewed ask for the build and for every volume.
    assert_eq!(
        counts,
        [
            ("defender", [67, 0, 0]),
            ("dotnet", [1, 0, 3]),
            ("edge", [48, 0, 2]),
            ("firewall", [18, 0, 0]),
            ("ie11", [136, 0, 1]),
            ("ws2016", [159, 10, 0]),
            ("ws2019", [170, 14, 2]),
            ("ws2022", [170, 14, 2]),
            ("ws2025", [178, 12, 0]),
        ]
    );
}

#[test]
fn a_level_takes_the_rules_of_its_severities_and_no_other() {
    let image = fixture("ws2022.vhd");
    let whole = coldforge(["scan", text(&image), "--with", "all", "--fail-on", "none", "--json"]).expect(0).json();
    for (level, severities) in
        [("low", &["low"][..]), ("medium", &["low", "medium"]), ("high", &["low", "medium", "high"])]
    {
        let with = ["--with", "all", "--level", level, "--fail-on", "none", "--json"];
        let scan = coldforge([&["scan", text(&image)], &with[..]].concat()).expect(0).json();
        let of = |finding: &&Json| severities.contains(&finding["severity"].as_str().unwrap());
        let wanted: Vec<&Json> = whole["findings"].as_array().unwrap().iter().filter(of).collect();
        assert_eq!(scan["findings"].as_array().unwrap().iter().collect::<Vec<_>>(), wanted, "{level}");
        // What a run plans is for rules of these severities only, and for each that is open and can be changed.
        let run = coldforge([&["harden", text(&image), "--dry-run"], &with[..]].concat()).expect(0).json();
        assert_eq!(run["before"]["totals"]["open"], scan["totals"]["open"]);
        let after = run["after"]["totals"]["open"].as_u64().unwrap();
        let held = ["left_open", "held_back"].iter().flat_map(|list| run[list].as_array().unwrap());
        let left: BTreeSet<&str> = held.map(|held| held["rule"].as_str().unwrap()).collect();
        assert_eq!(after, left.len() as u64, "{level}: {left:?}");
        let rules = catalogs().into_iter().flat_map(|catalog| &catalog.rules);
        let severity: BTreeMap<&str, &str> =
            rules.map(|rule| (rule.stig_id.as_str(), rule.severity.as_str())).collect();
        assert!(left.iter().all(|rule| severities.contains(&severity[rule])), "{level}");
    }
}
