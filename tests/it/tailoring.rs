//! What an organization leaves out of a run: rules that are held back, rules that are waived, and the refusal to lock the
//! last administrator out.

use std::path::Path;

use serde_json::Value as Json;

use coldforge::policy::{Plan, Step, keep_an_administrator};
use coldforge::windows::setting::{AccountProperty, Readings as _, Setting, Value};
use coldforge::windows::{Machine, OpenOptions};
use coldforge_disk::Image;

use crate::support::{coldforge, fixture, text};

/// Returns the rules of a list of what was left.
fn rules(held: &Json) -> Vec<String> {
    let rules = held.as_array().unwrap().iter();
    rules.map(|held| held["rule"].as_str().unwrap().to_owned()).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn what_could_stop_a_first_boot_is_held_back_listed_and_applied_on_demand() {
    let home = tempfile::tempdir().unwrap();
    let (source, out) = (fixture("ws2022.vhd"), home.path().join("out"));
    let run = coldforge(["harden", text(&source), "-o", text(&out), "--fail-on", "none", "--json"]).expect(0).json();
    let held = rules(&run["held_back"]);
    assert!(held.iter().any(|rule| rule == "WN22-00-000200"), "{held:?}");
    assert!(!held.iter().any(|rule| rule == "WN22-SO-000310"), "{held:?}");
    assert!(run["held_back"].as_array().unwrap().iter().all(|held| !held["reason"].as_str().unwrap().is_empty()));

    let all = coldforge(["harden", text(&source), "--dry-run", "--hold-back", "none", "--fail-on", "none", "--json"]);
    let all = all.expect(0).json();
    assert_eq!(all["held_back"], Json::Array(Vec::new()));
    assert!(run["changes"].as_u64() < all["changes"].as_u64());
    let open = |run: &Json| run["after"]["totals"]["open"].as_u64().unwrap();
    let mut distinct = held.clone();
    distinct.dedup();
    assert_eq!(open(&run), open(&all) + distinct.len() as u64, "what is held back is open, and nothing else");

    let scan = coldforge(["scan", text(&source), "--fail-on", "none", "--json"]).expect(0).json();
    assert_eq!(scan["held_back"], run["held_back"], "a scan tells it beforehand");
    let said = coldforge(["harden", text(&source), "--dry-run", "--fail-on", "none"]).expect(0).out;
    assert!(said.contains("Held back (--hold-back none applies them):\n") && said.contains(&held[0]), "{said}");

    let proof = coldforge(["verify", text(&out), "--source", text(&source), "--json"]).expect(0).json();
    assert_eq!(proof["intact"], true);
    assert!(read(&out.join("audit.jsonl")).contains("\"hold_back\":\"import-risk\""));
    assert!(read(&out.join("reports/report.html")).contains("Held back on purpose"));
    assert!(read(&out.join("reports/summary.md")).contains("## Held back on purpose"));
    let again = coldforge(["harden", text(&out.join("ws2022.vhd")), "--dry-run", "--fail-on", "none", "--json"]);
    assert_eq!(again.expect(0).json()["changes"], 0);
}

#[test]
fn a_waived_rule_stays_open_and_untouched_until_its_waiver_ends() {
    let home = tempfile::tempdir().unwrap();
    let (source, out) = (fixture("ws2022.vhd"), home.path().join("out"));
    let waivers = home.path().join("waivers.toml");
    let write = |rule: &str, expires: &str| {
        let head = "schema = \"coldforge/waivers/1\"\n[[waiver]]\n";
        let waiver =
            format!("rule = \"{rule}\"\nreason = \"An <old> client\"\napprover = \"R. Roe\"\nexpires = {expires}\n");
        std::fs::write(&waivers, format!("{head}{waiver}")).unwrap();
    };
    let with = ["--only", "V-254475,V-254454", "--waivers", text(&waivers)];
    write("V-254475", "2026-12-31");
    let run = [&["harden", text(&source), "-o", text(&out), "--json"], &with[..]].concat();
    let run = coldforge(run).expect(0).json();
    assert_eq!(rules(&run["waived"]), ["WN22-SO-000310"]);
    assert_eq!(run["after"]["totals"]["open"], 1, "a waiver is no evidence");
    let said = coldforge([&["scan", text(&source)], &with[..]].concat()).out;
    let waived = "Open, and waived:\n  CAT I    WN22-SO-000310";
    assert!(said.contains(waived) && said.contains("waived until 2026-12-31 by R. Roe: An <old> client"), "{said}");

    coldforge(["verify", text(&out), "--source", text(&source)]).expect(0);
    let waiver = "Waived until 2026-12-31 by R. Roe: An";
    for report in ["checklist.ckl", "checklist.cklb", "report.html", "summary.md"] {
        assert!(read(&out.join("reports").join(report)).contains(waiver), "{report}");
    }
    let checklist: Json = serde_json::from_str(&read(&out.join("reports/checklist.cklb"))).unwrap();
    let rules = checklist["stigs"][0]["rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["rule_version"] == "WN22-SO-000310").unwrap();
    assert_eq!(rule["status"], "open");
    assert!(rule["comments"].as_str().unwrap().contains(waiver), "{rule}");

    write("V-254475", "2025-12-31");
    let said = coldforge([&["scan", text(&source)], &with[..]].concat()).expect(1).out;
    assert!(said.contains("the waiver by R. Roe ended on 2025-12-31"), "{said}");
    let run = [&["harden", text(&source), "--dry-run", "--json"], &with[..]].concat();
    let run = coldforge(run).expect(0).json();
    assert_eq!((&run["waived"], &run["after"]["totals"]["open"]), (&Json::Array(Vec::new()), &Json::from(0)));

    write("V-25447", "2026-12-31");
    let answer = coldforge([&["scan", text(&source)], &with[..]].concat()).expect(2);
    assert!(answer.err.contains("there is no such rule") && answer.err.contains("is near"), "{}", answer.err);
}

#[test]
fn the_last_administrator_is_not_locked_out() {
    // The hives of an image around real ones come from several machines, which share no account.
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let machine = Machine::open(&image, OpenOptions::default()).unwrap();
    let own = format!("{}-", machine.identity().machine_sid.as_ref().expect("the SAM tells it"));
    let members = machine.get(&Setting::GroupMembers { rid: 544 }).unwrap().value;
    let Some(Value::Sids(members)) = members else { panic!("{members:?}") };
    let rids = members.iter().filter_map(|sid| sid.to_string().strip_prefix(&own)?.parse::<u32>().ok());
    let enabled = |rid: u32| Setting::Account { rid: Some(rid), property: AccountProperty::Enabled };
    let is_on = |rid: &u32| machine.get(&enabled(*rid)).unwrap().value == Some(Value::Flag(true));
    let rids: Vec<u32> = rids.filter(is_on).collect();
    assert!(!rids.is_empty(), "an administrator is enabled: {members:?}");
    let disable = |rids: &[u32]| {
        let step = |rid: &u32| Step { rules: vec!["T-1".into()], setting: enabled(*rid), to: Some(Value::Flag(false)) };
        keep_an_administrator(&Plan { steps: rids.iter().map(step).collect(), ..Plan::default() }, &machine)
    };
    let error = disable(&rids).unwrap_err().to_string();
    assert!(error.contains(&format!("{own}{}", rids[0])) && error.contains("then nobody"), "{error}");
    disable(&rids[1..]).unwrap();
}
