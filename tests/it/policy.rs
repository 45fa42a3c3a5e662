//! The built-in catalog against the tables of facts, and documents that somebody has damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use coldforge::policy::{
    Catalog, Check, Condition, Principal, Remedy, Requirement, Rule, RuleKind, RuleScope, Values, catalogs,
};
use coldforge::windows::setting::{Form, Setting, Value, ValueType};
use coldforge_base::access::{self, Comparison};
use coldforge_base::descriptor::Descriptor;
use coldforge_base::sddl;

use crate::benchmarks::DIFFERENCES;
use crate::support::{self, Seeded};

/// Tells whether the reviewed list names this difference between a catalog and its table.
fn differs(rule: &str, what: &str) -> bool {
    DIFFERENCES.lines().any(|line| line.starts_with(&format!("{rule}\t{what}\t")))
}

#[test]
fn every_catalog_agrees_with_its_table_row_by_row() {
    let Some(shared) = support::shared() else { return };
    for (catalog, rules, registry_values) in [
        (Catalog::ws2016(), 273, 106),
        (Catalog::ws2019(), 282, 108),
        (Catalog::ws2022(), 282, 108),
        (Catalog::ws2025(), 284, 106),
    ] {
        let rows = table(&std::fs::read_to_string(shared.join(format!("stig/rules-{}.tsv", catalog.id))).unwrap());
        assert_eq!((rows.len(), catalog.rules.len()), (rules, rules));
        let (mut values, mut probes) = (0, 0);
        for row in &rows {
            let rule = catalog.find_rule(&row["vuln_id"]).unwrap();
            let id = rule.stig_id.as_str();
            assert_eq!((rule.rule_id.as_str(), id), (row["rule_id"].as_str(), row["stig_id"].as_str()));
            assert_eq!(word(&rule.severity), row["severity"], "{id}");
            assert_eq!(word(&rule.kind), row["kind"], "{id}");
            assert_eq!(rule.ccis.join(","), row["ccis"], "{id}");
            assert_eq!(rule.organization.is_some(), row["org_defined"] == "yes" && decides(row), "{id}");
            let role = match row["role"].as_str() {
                "MS" => RuleScope::MemberServer,
                "DC" => RuleScope::DomainController,
                _ => RuleScope::Both,
            };
            assert_eq!(rule.role, role, "{id}");

            let note = &row["applies_note"];
            let applies = |condition| rule.applies.contains(&condition);
            let joined_only = note.contains("domain-joined only") && !differs(id, "table:applies");
            assert_eq!(applies(Condition::DomainJoined), joined_only, "{id}");
            assert_eq!(applies(Condition::NotOnServerCore), note.contains("NA on Server Core"), "{id}");
            let not_on_dc = applies(Condition::NotOnDc) || role == RuleScope::MemberServer;
            assert_eq!(not_on_dc, note.contains("NA on DC") || role == RuleScope::MemberServer, "{id}");

            if rule.kind != RuleKind::Registry {
                assert_eq!(said(rule) == wanted(row), !differs(id, "table:checks"), "{id}: {:?}", said(rule));
                continue;
            }
            if differs(id, "table:checks") {
                assert!(rule.checks.is_empty());
                continue;
            }
            let expected: Vec<&str> = row["expect"].split(" ;; ").collect();
            assert_eq!(expected.len(), rule.checks.len(), "{id}");
            for (expected, check) in expected.into_iter().zip(&rule.checks) {
                values += 1;
                let expected = match differs(id, "table:title") {
                    true => expected.replace("DoD Notice", "DOD Notice"),
                    false => expected.to_owned(),
                };
                probes += agrees(id, &expected, check);
            }
        }
        assert_eq!(values, registry_values, "{}", catalog.id);
        assert!(probes > values * 250, "{probes} values were judged");
    }
}

/// Tells whether an organization has anything to decide: the table takes the word of a tool that also asks where the
/// benchmark fixes the value, and lists of SIDs and of certificates take no value from a values file.
fn decides(row: &BTreeMap<String, String>) -> bool {
    let demand = &row["expect"];
    let fixed = demand.contains(" = ") && demand.ends_with(" or absent");
    !fixed && !["user_right", "certificate"].contains(&row["kind"].as_str())
}

/// Returns what the checks of a rule demand, in the words of [`wanted`].
fn said(rule: &Rule) -> BTreeSet<String> {
    let one = |check: &Check| {
        let on = match check.applies[..] {
            [] => "",
            [Condition::DomainJoined] => " when joined",
            [Condition::Standalone] => " when standalone",
            _ => panic!("{}", rule.stig_id),
        };
        let names = |these: &BTreeSet<Principal>| these.iter().map(|one| format!("{one:?}")).collect::<BTreeSet<_>>();
        match (&check.setting, &check.require) {
            (Setting::UserRight { right }, Requirement::Only(allowed)) => {
                format!("{right}{on} only {:?}", names(allowed))
            }
            (Setting::UserRight { right }, Requirement::Includes(groups)) => {
                format!("{right}{on} includes {:?}", groups.iter().map(names).collect::<BTreeSet<_>>())
            }
            (setting, require) => format!("{setting}{on} is {require}"),
        }
    };
    // Permissions are compared as such, by another test.
    let is_acl = |check: &&Check| matches!(check.setting, Setting::FileAcl { .. } | Setting::RegistryAcl { .. });
    rule.checks.iter().filter(|check| !is_acl(check)).map(one).collect()
}

/// Returns what a row of the table demands, as far as it is assessed.
fn wanted(row: &BTreeMap<String, String>) -> BTreeSet<String> {
    const POLICY: [(&str, &str, &str); 9] = [
        ("LockoutDuration", ">=15 min, or 0", "lockout_duration is 0, or 15 or more"),
        ("LockoutBadCount", "1..3", "lockout_threshold is 1 to 3"),
        ("ResetLockoutCount", ">=15 min", "lockout_window is 15 or more"),
        ("PasswordHistorySize", ">=24", "password_history is 24 or more"),
        ("MaximumPasswordAge", "1..60 days", "maximum_password_age is 1 to 60"),
        ("MinimumPasswordAge", ">=1 day", "minimum_password_age is 1 or more"),
        ("MinimumPasswordLength", ">=14", "minimum_password_length is 14 or more"),
        ("PasswordComplexity", "=1", "password_complexity is 1"),
        ("ClearTextPassword", "=0", "reversible_encryption is 0"),
    ];
    let demand = row["expect"].as_str();
    let inside = |text: &str| {
        let (_, rest) = text.split_once('{').unwrap();
        rest.split_once('}').unwrap().0.to_owned()
    };
    let named = |sid: &str| {
        let sid = sid.trim().replace("S-1-5-rootdomain-", "forest-").replace("S-1-5-domain-", "domain-");
        format!("{:?}", sid.parse::<Principal>().unwrap())
    };
    let list = |text: &str| text.split(',').filter(|part| !part.trim().is_empty()).map(named).collect::<BTreeSet<_>>();
    match row["kind"].as_str() {
        "audit_policy" => {
            let (subcategory, rest) = demand.split_once(" {").unwrap();
            let (_, kind) = rest.split_once(" includes ").unwrap();
            [format!("audit policy: {subcategory} is at least {kind}")].into()
        }
        "account_policy" => {
            let row = POLICY.iter().find(|(name, ..)| demand.starts_with(&format!("{name} (")));
            row.map(|(_, bound, said)| {
                assert!(demand.contains(&format!(") {bound}")), "{demand}");
                format!("account policy: {said}")
            })
            .into_iter()
            .collect()
        }
        "user_right" if demand != "(manual)" => {
            let (right, rest) = demand.split_once(' ').unwrap();
            if rest == "no account" {
                return [format!("{right} only {:?}", BTreeSet::<String>::new())].into();
            }
            if rest.starts_with("subset of") {
                let mut allowed = list(&inside(rest));
                let optional = rest.split_once(" optional ").and_then(|(_, rest)| rest.split(' ').next());
                allowed.extend(optional.map(named));
                return [format!("{right} only {allowed:?}")].into();
            }
            let (every, joined) = rest.split_once("; domain-joined also ").unwrap();
            let groups = |text: &str| {
                let inner = inside(text);
                let groups = inner.split(',').filter(|part| !part.trim().is_empty());
                groups.map(|group| group.trim_matches([' ', '(', ')']).split('|').map(named).collect()).collect()
            };
            let (every, joined): (BTreeSet<BTreeSet<String>>, BTreeSet<BTreeSet<String>>) =
                (groups(every), groups(joined));
            let mut said = BTreeSet::new();
            if !every.is_empty() {
                said.insert(format!("{right} includes {every:?}"));
            }
            if !joined.is_empty() {
                said.insert(format!("{right} when joined includes {joined:?}"));
            }
            if rest.contains("empty (standalone)") {
                said.insert(format!("{right} when standalone only {:?}", BTreeSet::<String>::new()));
            }
            said
        }
        "security_option" => [match demand {
            "Accounts: Guest account status = Disabled" => "account 501: enabled is no",
            "Network access: Allow anonymous SID/Name translation = Disabled" => {
                "security option: anonymous_name_translation is no"
            }
            _ if demand.contains("'Administrator'") => "account 500: name is another than \"Administrator\"",
            _ if demand.contains("'Guest'") => "account 501: name is another than \"Guest\"",
            other => panic!("{other}"),
        }
        .to_owned()]
        .into(),
        "account" if demand.contains("PasswordNeverExpires") => {
            ["every enabled account: password_expires is yes".to_owned()].into()
        }
        "account" if demand.contains("PasswordNotRequired") => {
            ["every enabled account: password_required is yes".to_owned()].into()
        }
        "windows_feature" => [format!("feature {} is absent", demand.strip_suffix(" Absent").unwrap())].into(),
        "certificate" => {
            let store = if row["stig_id"].ends_with("PK-000010") { "ROOT" } else { "Disallowed" };
            let thumbprints = demand.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() >= 40);
            // A digit too many is a known slip of the texts for the graphical console.
            thumbprints.map(|thumbprint| format!("certificate {} in {store} is present", &thumbprint[..40])).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Permissions that a table tells in words, as text: `Users:ReadKey[This Key and Subkeys], ...`.
fn permissions(kind: access::Kind, words: &str) -> String {
    let mut text = "D:".to_owned();
    // An entry ends with its scope; a comma stands between rights too.
    for entry in words.split(']').map(|entry| entry.trim_matches([' ', ','])).filter(|entry| !entry.is_empty()) {
        let (grant, scope) = entry.split_once('[').unwrap();
        let (who, rights) = grant.rsplit_once(':').unwrap();
        let sid = match who {
            "SYSTEM" => "SY",
            "Administrators" => "BA",
            "Users" => "BU",
            "Authenticated Users" => "AU",
            "Server Operators" => "SO",
            "CREATOR OWNER" => "CO",
            "ALL APPLICATION PACKAGES" => "S-1-15-2-1",
            "ALL RESTRICTED APPLICATION PACKAGES" => "S-1-15-2-2",
            "TrustedInstaller" => "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
            "Eventlog" => "S-1-5-80-880578595-1860270145-482643319-2788375705-1540778122",
            sid => sid,
        };
        let mask = match (rights, kind) {
            ("FullControl", access::Kind::Key) => "KA",
            ("FullControl", access::Kind::File) => "FA",
            ("ReadKey", _) => "KR",
            ("ReadAndExecute", _) => "0x1200a9",
            ("Modify", _) => "0x1301bf",
            ("CreateDirectories,AppendData", _) => "0x4",
            ("CreateFiles,WriteData", _) => "0x2",
            // What may be modified, with the permissions and the owner; the text says so in the words of icacls.
            (list, _) if list.contains("TakeOwnership") => "0x1f01bf",
            (other, _) => panic!("{other}"),
        };
        let flags = match scope {
            "This folder subfolders and files" | "" => "OICI",
            "This folder and subfolders" | "This Key and Subkeys" => "CI",
            "Subfolders only" | "Subkeys Only" => "CIIO",
            "Subfolders and files only" => "OICIIO",
            "This folder only" => "",
            other => panic!("{other}"),
        };
        text += &format!("(A;{flags};{mask};;;{sid})");
    }
    text
}

#[test]
fn the_widest_permissions_are_those_of_the_tables() {
    let Some(shared) = support::shared() else { return };
    let (mut compared, mut widened) = (0, BTreeSet::new());
    for catalog in catalogs().into_iter().filter(|catalog| !catalog.is_component) {
        let rows = table(&std::fs::read_to_string(shared.join(format!("stig/rules-{}.tsv", catalog.id))).unwrap());
        for row in rows.iter().filter(|row| row["kind"].ends_with("_acl")) {
            let rule = catalog.find_rule(&row["vuln_id"]).unwrap();
            let is_listed = differs(&rule.stig_id, "table:acl");
            // A table that tells no list, or half of one, stands in the list of differences.
            if !row["expect"].contains("=>") || row["expect"].contains("(RX)") || rule.checks.is_empty() {
                assert!(is_listed, "{}", rule.stig_id);
                widened.insert(rule.stig_id.clone());
                continue;
            }
            for object in row["expect"].split(" ;; ") {
                let (path, words) = object.split_once(" => ").unwrap();
                let named = |check: &&Check| {
                    let end = |text: &str| text.trim_end_matches('\\').rsplit('\\').next().unwrap().to_uppercase();
                    match &check.setting {
                        Setting::RegistryAcl { key } => end(key) == end(&path.replace(':', "")),
                        Setting::FileAcl { path: own } => {
                            let expanded = path.replace("%ProgramFiles(x86)%", "\\Program Files (x86)");
                            let expanded = expanded.replace("%ProgramFiles%", "\\Program Files");
                            let expanded = expanded.replace("%windir%", "\\Windows").replace("%SystemDrive%", "");
                            end(own) == end(&expanded)
                        }
                        _ => false,
                    }
                };
                let check = rule.checks.iter().find(named).unwrap_or_else(|| panic!("{}: {path}", rule.stig_id));
                let Requirement::NotWiderThan { kind, limit } = &check.require else { panic!("{}", rule.stig_id) };
                let (own, theirs) = (sddl::parse(limit).unwrap(), sddl::parse(&permissions(*kind, words)).unwrap());
                let (own, theirs) = (Descriptor::parse(&own).unwrap(), Descriptor::parse(&theirs).unwrap());
                let narrower = access::compare(*kind, &theirs, &own);
                assert_eq!(narrower, Comparison::NotWider, "{} {path}: {limit}", rule.stig_id);
                let wider = access::compare(*kind, &own, &theirs) != Comparison::NotWider;
                if wider {
                    assert!(differs(&rule.stig_id, "table:wider"), "{} {path}: {limit}", rule.stig_id);
                    widened.insert(rule.stig_id.clone());
                }
                compared += 1;
            }
        }
    }
    assert!(compared >= 40, "{compared}");
    let listed = DIFFERENCES.lines().filter(|line| line.contains("\ttable:wider\t") || line.contains("\ttable:acl\t"));
    let listed: BTreeSet<String> = listed.map(|line| line.split('\t').next().unwrap().to_owned()).collect();
    assert_eq!(listed, widened, "what is listed and does not differ, or differs and is not listed");
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

    let mut texts: Vec<String> =
        ["", "x", "O:BAG:BAD:(A;;RC;;;BA)", "DoD Notice and Consent Banner", "DOD Notice and Consent Banner"]
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

fn document(id: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/catalog");
    std::fs::read_to_string(format!("{folder}/{id}.toml")).unwrap()
}

#[test]
fn a_damaged_catalog_is_an_error_or_a_catalog_and_never_a_panic() {
    // The head and the last rules: short enough to be read many times.
    let whole = document("ws2022");
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
fn the_catalogs_read_well() {
    for (id, rules) in [("ws2016", 273), ("ws2019", 282), ("ws2022", 282), ("ws2025", 284)] {
        let whole = document(id);
        assert!(!whole.contains('\t') && !whole.contains(" \n") && whole.ends_with("\n"));
        assert_eq!(whole.matches("\n[[rule]]\n").count(), rules);
        assert_eq!(whole.matches("\n\n[[rule]]\nstig_id = ").count(), rules, "a rule begins with its STIG id");
    }
}
