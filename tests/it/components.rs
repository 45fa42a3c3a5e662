//! The STIGs of programs beside Windows: whether they apply, what is done for them, and what the evidence says.

use std::path::Path;

use serde_json::Value as Json;

use crate::support::{coldforge, copy_of, fixture, text};

/// The components, each with the number of its rules.
const COMPONENTS: [(&str, u64); 5] = [("defender", 67), ("edge", 61), ("ie11", 137), ("dotnet", 16), ("firewall", 21)];

fn image() -> String {
    text(&fixture("ws2022.vhd")).to_owned()
}

fn totals(part: &Json) -> [u64; 4] {
    ["pass", "open", "not_applicable", "not_reviewed"].map(|status| part["totals"][status].as_u64().unwrap())
}

/// Returns the part of an assessment that is a component's.
fn part<'a>(assessment: &'a Json, id: &str) -> &'a Json {
    let parts = assessment["components"].as_array().unwrap();
    parts.iter().find(|part| part["id"] == id).unwrap()
}

/// Puts an empty program where Edge has its own, and lets the hives tell of .NET.
fn with_programs(folder: &Path) -> String {
    let image = text(&copy_of("ws2022.vhd", folder)).to_owned();
    let program = folder.join("msedge.exe");
    std::fs::write(&program, b"MZ").unwrap();
    let at = "/Program Files (x86)/Microsoft/Edge/Application/msedge.exe";
    let folder = at.rsplit_once('/').unwrap().0;
    coldforge(["mkdir", &image, folder, "--parents"]).expect(0);
    coldforge(["put", &image, text(&program), at]).expect(0);
    let key = r"HKLM\SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full";
    coldforge(["reg", "set", &image, key, "Install", "1", "--type", "REG_DWORD"]).expect(0);
    image
}

#[test]
fn a_program_that_is_not_there_is_not_applicable_with_the_reason() {
    let scan = coldforge(["scan", &image(), "--with", "all", "--fail-on", "none", "--json"]).expect(0).json();
    for (id, rules) in COMPONENTS {
        assert_eq!(totals(part(&scan, id)).iter().sum::<u64>(), rules, "{id}");
    }
    assert_eq!(totals(part(&scan, "edge")), [0, 0, 61, 0]);
    let edge = scan["findings"].as_array().unwrap().iter().filter(|finding| finding["component"] == "edge");
    assert!(edge.clone().count() == 61 && edge.clone().all(|f| f["reason"] == "Microsoft Edge is not installed"));
    // The rules of Windows are what they are without components.
    let alone = coldforge(["scan", &image(), "--fail-on", "none", "--json"]).expect(0).json();
    assert!(alone["components"].is_null());
    let of_windows = |scan: &Json| {
        let all = scan["findings"].as_array().unwrap();
        all.iter().filter(|finding| finding["component"].is_null()).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_windows(&scan), of_windows(&alone));
}

#[test]
fn an_unknown_component_is_named_with_those_that_there_are() {
    let answer = coldforge(["scan", &image(), "--with", "chrome"]).expect(2);
    assert!(answer.err.contains("defender, edge, ie11, dotnet, firewall"), "{}", answer.err);
}

#[test]
fn components_are_hardened_proven_and_stand_in_the_checklists_each_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let image = with_programs(home.path());
    let out = home.path().join("out");
    let with = ["--with", "edge,dotnet", "--fail-on", "none", "--json"];
    let run = coldforge([&["harden", &image, "-o", text(&out)], &with[..]].concat()).expect(0).json();
    let alone =
        coldforge(["harden", &image, "--dry-run", "--fail-on", "none", "--json"]).expect(0).json()["changes"].clone();
    assert!(run["changes"].as_u64() >= alone.as_u64().map(|changes| changes + 50), "{} {alone}", run["changes"]);

    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let after: Json = serde_json::from_str(&read("reports/assessment.json")).unwrap();
    let [pass, open, not_applicable, not_reviewed] = totals(part(&after, "edge"));
    assert_eq!([pass, open, not_applicable, not_reviewed], [54, 0, 0, 7]);
    assert_eq!(totals(part(&after, "dotnet"))[1], 0);

    let cklb: Json = serde_json::from_str(&read("reports/checklist.cklb")).unwrap();
    let stigs = cklb["stigs"].as_array().unwrap();
    let sizes: Vec<(&str, u64)> =
        stigs.iter().map(|stig| (stig["stig_id"].as_str().unwrap(), stig["size"].as_u64().unwrap())).collect();
    assert_eq!(sizes, [("MS_Windows_Server_2022_STIG", 282), ("MS_Edge_STIG", 61), ("MS_Dot_Net_Framework", 16)]);
    let ckl = read("reports/checklist.ckl");
    assert_eq!((ckl.matches("<iSTIG>").count(), ckl.matches("<VULN>").count()), (3, 282 + 61 + 16));
    let log = read("audit.jsonl");
    assert!(log.contains("EDGE-00-000050") && log.lines().next().unwrap().contains("\"with\":[\"edge\",\"dotnet\"]"));
    coldforge(["verify", text(&out), "--source", &image]).expect(0);

    // Again: nothing is left to do.
    let hardened = out.join("ws2022.vhd");
    let again = coldforge([&["harden", text(&hardened), "--dry-run"], &with[..]].concat()).expect(0).json();
    assert_eq!(again["changes"], 0);
}
