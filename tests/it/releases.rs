//! Each release around real hives, without holding anything back: every open rule is changed or left open with a reason, a
//! level takes exactly its rules, and DISA's own file of the release demands the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::support::{ask, coldforge, oracle, real_image, shared, text};

/// The releases, and the benchmark files of the built-in catalogs.
const RELEASES: [(&str, &str); 4] = [
    ("ws2016", "U_MS_Windows_Server_2016_STIG_V2R10"),
    ("ws2019", "U_MS_Windows_Server_2019_STIG_V3R8"),
    ("ws2022", "U_MS_Windows_Server_2022_STIG_V2R8"),
    ("ws2025", "U_MS_Windows_Server_2025_STIG_V1R1"),
];

/// Returns the rules of a list, or of the rules in a list.
fn rules(list: &Json) -> BTreeSet<String> {
    let entries = list.as_array().unwrap().iter();
    let names = |entry: &Json| match &entry["rules"] {
        Json::Array(rules) => rules.clone(),
        _ => vec![entry["rule"].clone()],
    };
    entries.flat_map(names).map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_release_is_hardened_at_every_level_and_what_stays_open_has_a_reason() {
    let Some(shared) = shared() else { return };
    if !oracle("xz") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for (os, benchmark) in RELEASES {
        let name = format!("{os}.raw");
        let Some(image) = real_image(home.path(), &name, &["--os", os, "--size", "1G", "--files", "20"]) else {
            return;
        };
        let with = ["--hold-back", "none", "--fail-on", "none", "--json"];
        let run = |more: &[&str]| {
            coldforge([&["harden", text(&image.path), "--dry-run"], more, &with].concat()).expect(0).json()
        };
        let scan = coldforge([&["scan", text(&image.path)], &with[..]].concat()).expect(0).json();
        let found: BTreeMap<&str, (&str, &str)> = scan["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                let word = |member: &str| finding[member].as_str().unwrap();
                (word("stig_id"), (word("severity"), word("status")))
            })
            .collect();
        let high = run(&[]);
        let (changed, left) = (rules(&high["changed"]), rules(&high["left_open"]));
        assert!(high["left_open"].as_array().unwrap().iter().all(|held| !held["reason"].as_str().unwrap().is_empty()));
        let open: BTreeSet<String> =
            found.iter().filter(|(_, (_, status))| *status == "open").map(|(id, _)| (*id).to_owned()).collect();
        assert_eq!(&changed | &left, open, "{os}: changed, or left with a reason, and nothing else");
        assert!(changed.is_disjoint(&left), "{os}");
        assert!(high["after"]["totals"]["open"].as_u64().unwrap() <= left.len() as u64, "{os}");
        assert_eq!((&high["held_back"], &high["waived"]), (&Json::Array(vec![]), &Json::Array(vec![])), "{os}");

        for (level, severities) in [("low", &["low"][..]), ("medium", &["low", "medium"])] {
            let own = rules(&run(&["--level", level])["changed"]);
            let expected = changed.iter().filter(|id| severities.contains(&found[id.as_str()].0)).cloned().collect();
            assert_eq!(own, expected, "{os}: {level}");
            assert!(!own.is_empty() && own != changed, "{os}: {level}");
        }

        let file = home.path().join(format!("{os}.xml"));
        let done = ask("xz", &["-dkc", text(&shared.join(format!("stig/xccdf/{benchmark}_Manual-xccdf.xml.xz")))]);
        std::fs::write(&file, done.stdout).unwrap();
        let own = run(&["--benchmark", text(&file)]);
        for member in ["changed", "left_open"] {
            assert_eq!(own[member], high[member], "{os}: {member}");
        }
        assert_eq!(own["after"]["totals"], high["after"]["totals"], "{os}");
    }
}
