//! The audit log: each kind of change has its line, which says who asked, what was, what is, and where.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::{coldforge, copy_of, fixture, text};

/// Every kind of setting that a run can change.
const KINDS: [&str; 15] = [
    "account",
    "account_policy",
    "audit_policy",
    "certificate",
    "file",
    "file_acl",
    "file_content",
    "file_data",
    "folder",
    "local_policy",
    "registry",
    "registry_acl",
    "security_option",
    "service",
    "user_right",
];

const STEPS: &str = r"schemaVersion: 1.0
name: log
phases:
  - name: build
    steps:
      - {name: Bring, action: InstallFiles, inputs: [{source: data.bin, destination: 'C:\Acme\data.bin'}]}
      - {name: Write, action: CreateFile, inputs: [{path: 'C:\Acme\new.txt', content: new}]}
      - {name: Over, action: CreateFile, inputs: [{path: 'C:\Acme\old.txt', content: changed}]}
      - {name: Gone, action: DeleteFile, inputs: [{path: 'C:\Acme\gone.txt'}]}
      - {name: Folder, action: CreateFolder, inputs: [{path: 'C:\Acme\folder'}]}
      - {name: Root, action: InstallCertificate, inputs: [{source: root.pem, store: TrustedPublisher}]}
";

/// An option of the fixture that the policy below takes back.
const MORE: &str = r#"
[[rule]]
id = "EX-0100"
title = "A value that must not be there"
severity = "low"
check = [{ key = 'HKLM\SOFTWARE\Acme', name = "Retired", type = "REG_DWORD", present = false }]
"#;

fn prepare(home: &Path) -> std::path::PathBuf {
    let image = copy_of("ws2022.vhd", home);
    coldforge(["reg", "set", text(&image), r"HKLM\SOFTWARE\Acme", "Retired", "1", "--type", "REG_DWORD"]).expect(0);
    coldforge(["mkdir", text(&image), "/Acme"]).expect(0);
    for name in ["old.txt", "gone.txt"] {
        let file = home.join(name);
        std::fs::write(&file, "as it was").unwrap();
        coldforge(["put", text(&image), text(&file), &format!("/Acme/{name}")]).expect(0);
    }
    // A log that is older than its hive is blanked when the hive is written.
    let log = fixture("hives/logged-1.5.LOG1");
    coldforge(["put", text(&image), text(&log), "/Windows/System32/config/SOFTWARE.LOG1"]).expect(0);
    image
}

#[test]
fn each_kind_of_change_has_its_line_with_who_asked_what_was_what_is_and_where() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = prepare(home);
    let component = home.join("log.yml");
    std::fs::write(&component, STEPS).unwrap();
    std::fs::write(home.join("data.bin"), [0xff, 0, 1, 2]).unwrap();
    std::fs::copy(fixture("make/root.pem"), home.join("root.pem")).unwrap();
    let policy = home.join("policy.toml");
    let every = std::fs::read_to_string(fixture("policy/every-kind.toml")).unwrap();
    // The fixture does as this rule wants: the other way round it has something to change.
    let every =
        every.replace("anonymous_name_translation\", equals = false", "anonymous_name_translation\", equals = true");
    std::fs::write(&policy, every + MORE).unwrap();
    let out = home.join("out");
    let arguments = ["harden", text(&image), "-o", text(&out), "--stig", "none", "--policy", text(&policy)];
    let more =
        ["--component", text(&component), "--format", "vhdx-dynamic", "--hold-back", "none", "--fail-on", "none"];
    coldforge([&arguments[..], &more[..]].concat()).expect(0);

    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(move |line| line["type"] == kind).collect::<Vec<_>>();
    let (changes, files) = (of("change"), of("file"));
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for change in &changes {
        let setting = &change["setting"];
        let kind = setting["kind"].as_str().unwrap();
        let is_service = setting["key"].as_str().is_some_and(|key| key.contains(r"\Services\"));
        *kinds.entry(if is_service { "service" } else { kind }).or_default() += 1;
        let rules = change["rules"].as_array().unwrap();
        assert!(
            rules
                .iter()
                .all(|rule| rule.as_str().unwrap().starts_with("EX-")
                    || rule.as_str().unwrap().contains("component log@"))
        );
        assert!(!rules.is_empty() && change.get("before").is_some() && change.get("after").is_some(), "{change:#}");
        assert_ne!(change["before"], change["after"], "{change:#}");
        let file = change["file"].as_str().unwrap();
        assert!(file.starts_with('\\'), "{file}");
        assert!(files.iter().any(|line| line["file"] == file), "{file} has a line of its own");
        let bytes: u64 = change["extents"].as_array().unwrap().iter().map(|one| one["length"].as_u64().unwrap()).sum();
        assert!(bytes > 0, "{change:#}");
    }
    let missing: Vec<&str> = KINDS.into_iter().filter(|kind| !kinds.contains_key(kind)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "{kinds:?}");
    let deleted = changes.iter().find(|change| change["setting"]["name"] == "Retired").unwrap();
    assert_eq!((&deleted["before"]["data"], &deleted["after"]), (&Value::from(1), &Value::Null));

    // Each file of the image that changed: created, replaced, taken away, blanked.
    let file =
        |path: &str| files.iter().find(|line| line["file"] == path).unwrap_or_else(|| panic!("no line of {path}"));
    let sizes = |path: &str| (file(path)["bytes_before"].as_u64().unwrap(), file(path)["bytes"].as_u64().unwrap());
    assert_eq!(sizes(r"\Acme\new.txt"), (0, 3));
    assert_eq!(sizes(r"\Acme\old.txt"), (9, 7));
    assert_eq!(sizes(r"\Acme\gone.txt"), (9, 0));
    let blanked = file(r"\Windows\System32\config\SOFTWARE.LOG1");
    assert_ne!(blanked["sha256_before"], blanked["sha256_after"]);
    for hive in ["SOFTWARE", "SYSTEM", "SAM", "SECURITY"] {
        let line = file(&format!(r"\Windows\System32\config\{hive}"));
        assert_ne!(line["sha256_before"], line["sha256_after"], "{hive}");
    }
    // And the container.
    assert_eq!(lines[0]["source"]["format"], "vhd-dynamic");
    assert_eq!(lines[lines.len() - 1]["output"]["format"], "vhdx-dynamic");
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
}

/// Values whose decoded text tells less than their bytes, as `.reg` text writes them.
const ODD: &str = "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Acme]\r\n\
    \"NoNul\"=hex(1):61,00,62,00\r\n\"OddByte\"=hex(1):61,00,00,00,7a\r\n\"Surrogate\"=hex(2):00,d8,61,00,00,00\r\n\
    \"Embedded\"=hex(1):61,00,00,00,62,00,00,00\r\n\"List\"=hex(7):61,00,00,00,00,00,62,00,00,00,00,00\r\n\
    \"Short\"=hex(4):01,02,03\r\n\"Whole\"=\"ab\"\r\n";

#[test]
fn the_log_holds_the_bytes_of_a_value_whose_text_does_not_tell_them() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let odd = home.path().join("odd.reg");
    std::fs::write(&odd, ODD).unwrap();
    coldforge(["reg", "import", text(&image), text(&odd)]).expect(0);
    let rules = |name: &str| {
        format!(
            "[[rule]]\nid = \"EX-{name}\"\ntitle = \"A value\"\nseverity = \"low\"\ncheck = [{{ key = 'HKLM\\SOFTWARE\\Acme', \
             name = \"{name}\", type = \"REG_SZ\", equals = \"other\" }}]\n"
        )
    };
    let names = ["NoNul", "OddByte", "Surrogate", "Embedded", "List", "Short"];
    let policy = home.path().join("odd.toml");
    let document = format!("schema = \"coldforge/policy/1\"\n{}", names.map(rules).concat());
    std::fs::write(&policy, document).unwrap();
    let out = home.path().join("out");
    let run =
        ["harden", text(&image), "-o", text(&out), "--stig", "none", "--policy", text(&policy), "--local-gpo", "leave"];
    coldforge([&run[..], &["--fail-on", "none"]].concat()).expect(0);
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    let before: BTreeMap<String, Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "change")
        .map(|line| (line["setting"]["name"].as_str().unwrap().to_owned(), line["before"].clone()))
        .collect();
    for (name, hex) in [
        ("NoNul", "61006200"),
        ("OddByte", "610000007a"),
        ("Surrogate", "00d861000000"),
        ("Embedded", "6100000062000000"),
        ("List", "610000000000620000000000"),
        ("Short", "010203"),
    ] {
        assert_eq!(before[name]["hex"], hex, "{name}: {:?}", before.get(name));
        let report = std::fs::read_to_string(out.join("reports/report.html")).unwrap();
        assert!(report.contains(hex), "{name}");
    }
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
}
