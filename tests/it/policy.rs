//! The built-in catalog against the tables of facts, and documents that somebody has damaged.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use coldforge::policy::{Catalog, Check, Condition, Remedy, RuleScope, Values};
use coldforge::windows::setting::{Form, Setting, Value, ValueType};

use crate::support::{self, Seeded};

/// Rules for which the table and the benchmark's own text differ. The text of both says that the rule applies to
/// "member servers and standalone or nondomain-joined systems"; the table has them for members of a domain only.
const ALSO_STANDALONE: [&str; 2] = ["WN22-MS-000040", "WN22-MS-000060"];

#[test]
fn the_server_2022_catalog_agrees_with_the_table_row_by_row() {
    let Some(shared) = support::shared() else { return };
    let rows = table(&std::fs::read_to_string(shared.join("stig/rules-ws2022.tsv")).unwrap());
    let catalog = Catalog::ws2022();
    assert_eq!(rows.len(), catalog.rules.len());

    let (mut values, mut probes) = (0, 0);
    for row in &rows {
        let rule = catalog.find_rule(&row["vuln_id"]).unwrap();
        let id = rule.stig_id.as_str();
        assert_eq!((rule.rule_id.as_str(), id), (row["rule_id"].as_str(), row["stig_id"].as_str()));
        assert_eq!(word(&rule.severity), row["severity"], "{id}");
        assert_eq!(word(&rule.kind), row["kind"], "{id}");
        assert_eq!(rule.ccis.join(","), row["ccis"], "{id}");
        assert_eq!(rule.organization.is_some(), row["org_defined"] == "yes", "{id}");
        let role = match row["role"].as_str() {
            "MS" => RuleScope::MemberServer,
            "DC" => RuleScope::DomainController,
            _ => RuleScope::Both,
        };
        assert_eq!(rule.role, role, "{id}");

        let note = &row["applies_note"];
        let applies = |condition| rule.applies.contains(&condition);
        let joined_only = note.contains("domain-joined only") && !ALSO_STANDALONE.contains(&id);
        assert_eq!(applies(Condition::DomainJoined), joined_only, "{id}");
        assert_eq!(applies(Condition::NotOnServerCore), note.contains("NA on Server Core"), "{id}");
        let not_on_dc = applies(Condition::NotOnDc) || role == RuleScope::MemberServer;
        assert_eq!(not_on_dc, note.contains("NA on DC") || role == RuleScope::MemberServer, "{id}");

        if rule.checks.is_empty() {
            assert!(row["kind"] != "registry" || row["expect"].starts_with("HKCU\\"), "{id}");
            continue;
        }
        let expected: Vec<&str> = row["expect"].split(" ;; ").collect();
        assert_eq!(expected.len(), rule.checks.len(), "{id}");
        for (expected, check) in expected.into_iter().zip(&rule.checks) {
            values += 1;
            probes += agrees(id, expected, check);
        }
    }
    assert_eq!(values, 107);
    assert!(probes > 107 * 250, "{probes} values were judged");
}

/// Judges many values by the check and by the table's words; returns how many.
fn agrees(id: &str, expected: &str, check: &Check) -> usize {
    let (key, rest) = expected.split_once(" : ").unwrap();
    let (name, rest) = rest.split_once(" REG_").unwrap();
    let (kind, demand) = rest.split_once(' ').unwrap();
    let Setting::Registry { key: of_key, name: of_name } = &check.setting else { panic!("{id}") };
    let Remedy::Set(set) = &check.remedy else { panic!("{id}") };
    assert_eq!(key.to_lowercase(), of_key.to_lowercase(), "{id}");
    assert_eq!(name, of_name, "{id}");
    assert_eq!(ValueType::from_name(&format!("REG_{kind}")).map(Form::Data), Some(check.form), "{id}");

    let absent_passes = demand.ends_with(" or absent");
    assert_eq!(check.require.judge(check.form, None).is_ok(), absent_passes, "{id}");
    let demand = demand.trim_end_matches(" or absent");
    assert!(check.require.judge(check.form, Some(set)).is_ok(), "{id}");

    let mut texts: Vec<String> = ["", "x", "O:BAG:BAD:(A;;RC;;;BA)", "DoD Notice and Consent Banner", "Another title"]
        .map(str::to_owned)
        .to_vec();
    texts.push("US Department of Defense Warning Statement".to_owned());
    texts.push("RequireMutualAuthentication=1, RequireIntegrity=1".to_owned());
    texts.push("RequireMutualAuthentication=1".to_owned());
    // Every number that the table names, and its neighbours.
    let named = demand.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u32>().ok());
    let numbers: Vec<u32> = named
        .flat_map(|number| [number.wrapping_sub(1), number, number.wrapping_add(1)])
        .chain(0..256)
        .chain([u32::MAX])
        .collect();
    let mut judged = 0;
    for number in numbers {
        let text = number.to_string();
        let (value, other) = match check.form {
            Form::Data(ValueType::DWORD) => (Value::dword(number), Value::sz(&text)),
            _ => (Value::sz(&text), Value::dword(number)),
        };
        assert_eq!(check.require.judge(check.form, Some(&value)).is_ok(), admits(demand, &text), "{id}: {number}");
        assert!(check.require.judge(check.form, Some(&other)).is_err(), "{id}: {other} of another type");
        judged += 1;
    }
    if check.form == Form::Data(ValueType::SZ) && !demand.contains("DoD consent banner") {
        for text in texts {
            let value = Value::sz(&text);
            assert_eq!(check.require.judge(check.form, Some(&value)).is_ok(), admits(demand, &text), "{id}: {text}");
            judged += 1;
        }
    }
    judged
}

/// Reads the table's words for a demand as an admission of a value, given as text.
fn admits(demand: &str, found: &str) -> bool {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let found_number = number(found);
    if demand.contains("DoD consent banner") {
        return false;
    }
    if let Some(list) = demand.strip_prefix("one-of {") {
        let (list, _) = list.split_once('}').unwrap();
        return list.split(',').any(|choice| choice.trim_matches('"') == found);
    }
    if let Some(least) = demand.strip_prefix(">= ") {
        return found_number >= number(least) && found_number.is_some();
    }
    if let Some(most) = demand.strip_prefix("<= (numeric string) ") {
        return found_number.is_some_and(|found| Some(found) <= number(most));
    }
    if let Some((least, most)) = demand.strip_suffix(" (0 not allowed)").and_then(|range| range.split_once("..")) {
        return found_number.is_some_and(|found| number(least) <= Some(found) && Some(found) <= number(most));
    }
    demand.strip_prefix("= ").unwrap() == found
}

/// Returns the word that a type is spelled with in documents.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

/// Reads a table of tab-separated columns; a column in quotation marks has its own ones doubled.
fn table(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = text.lines().map(|line| line.split('\t').map(unquoted).collect::<Vec<_>>());
    let names = lines.next().unwrap();
    lines.map(|columns| names.iter().cloned().zip(columns).collect()).collect()
}

fn unquoted(column: &str) -> String {
    match column.strip_prefix('"').and_then(|column| column.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => column.to_owned(),
    }
}

fn document() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/catalog/ws2022.toml")).unwrap()
}

#[test]
fn a_damaged_catalog_is_an_error_or_a_catalog_and_never_a_panic() {
    // The head and the last rules: short enough to be read many times.
    let whole = document();
    let rules: Vec<&str> = whole.split("\n[[rule]]").collect();
    let mut small = rules[0].to_owned();
    for rule in rules.iter().filter(|rule| rule.contains("WN22-SO-0001")) {
        write!(small, "\n[[rule]]{rule}").unwrap();
    }
    let rules = Catalog::parse(&small).unwrap().rules.len();
    assert_eq!(rules, 10);

    let mut random = Seeded(0x2022);
    let mut refused = 0;
    for round in 0..400 {
        let mut bytes = small.clone().into_bytes();
        if round % 2 == 0 {
            bytes.truncate(random.below(bytes.len() as u64) as usize);
        } else {
            for _ in 0..4 {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(128) as u8;
            }
        }
        match Catalog::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(catalog) => assert!(catalog.rules.len() <= rules),
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(refused > 200, "{refused} of 400 were refused");
}

#[test]
fn a_damaged_values_file_is_an_error_or_values_and_never_a_panic() {
    let whole = "schema = \"coldforge/values/1\"\n[values]\n\"WN22-SO-000120\" = 600\nV-254458 = \"Title\"\n";
    let mut random = Seeded(0x7a1e5);
    for _ in 0..2000 {
        let mut bytes = whole.as_bytes().to_vec();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] = random.below(128) as u8;
        bytes.truncate(1 + random.below(bytes.len() as u64) as usize);
        let _ = Values::parse(&String::from_utf8_lossy(&bytes), Catalog::ws2022());
    }
}

#[test]
fn the_catalog_reads_well() {
    let whole = document();
    assert!(!whole.contains('\t') && !whole.contains(" \n") && whole.ends_with("\n"));
    assert_eq!(whole.matches("\n[[rule]]\n").count(), 282);
    assert_eq!(whole.matches("\n\n[[rule]]\nstig_id = ").count(), 282, "a rule begins with its STIG id");
}
