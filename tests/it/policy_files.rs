//! Policies beside a STIG, or alone: one of every kind on images around real hives, backups of group policy, and what is
//! refused.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use coldforge::formats::registry_pol::{Entry, RegistryPol};
use coldforge::policy::source::{self, File, SCHEMA, Source};
use coldforge::policy::{Catalog, Remedy, Requirement};
use coldforge::windows::setting::{Setting, Value};
use serde_json::{Value as Json, json};

use crate::support::{
    Mounted, ask, coldforge, cut_volume, fixture, in_ci, oracle, real_image, shared, text, validators,
};

fn every_kind() -> PathBuf {
    fixture("policy/every-kind.toml")
}

/// Returns what the independent decoder reads, which must find nothing wrong.
fn decoded(arguments: &[&str]) -> Json {
    let script = shared().expect("the image came from there").join("check/winpolicy.py");
    let done = ask("python3", &[&[text(&script)], arguments].concat());
    let json: Json = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&done.stderr)));
    assert!(done.status.success(), "{arguments:?}: {json}");
    json
}

/// Unpacks a shared backup of group policy into a folder of its own.
fn backup(home: &Path, name: &str) -> Option<PathBuf> {
    let archive = shared()?.join(format!("stig/gpo/{name}.tar.xz"));
    let folder = home.join(name);
    std::fs::create_dir(&folder).unwrap();
    let done = ask("tar", &["-xJf", text(&archive), "-C", text(&folder)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(folder)
}

#[test]
fn a_policy_of_every_kind_is_applied_alone_proven_and_read_by_others() {
    if shared().is_none() || !oracle("python3") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (policy, root) = (every_kind(), fixture("make/root.pem"));
    let with = ["--stig", "none", "--policy", text(&policy), "--certificates", text(&root), "--hold-back", "none"];
    for os in ["ws2016", "ws2019", "ws2022"] {
        let name = format!("{os}.raw");
        let Some(source) = real_image(home.path(), &name, &["--os", os, "--size", "1G", "--files", "50"]) else {
            return;
        };
        let out = home.path().join(os);
        let before = coldforge([&["scan", text(&source.path), "--json"], &with[..]].concat()).expect(1).json();
        assert_eq!(before["benchmark"]["title"], "Baseline of Example");
        assert!(before["totals"]["open"].as_u64().unwrap() > 8, "{os}: {}", before["totals"]);
        let run = [&["harden", text(&source.path), "-o", text(&out), "--json"], &with[..]].concat();
        let run = coldforge(run).expect(0).json();
        assert!(run["changes"].as_u64().unwrap() > 15, "{os}: {}", run["changes"]);
        assert_eq!((&run["held_back"], &run["left_open"]), (&json!([]), &json!([])), "{os}");

        let image = out.join(&name);
        let after = coldforge([&["scan", text(&image), "--json"], &with[..]].concat()).expect(0).json();
        let totals = |status: &str| after["totals"][status].as_u64().unwrap();
        assert_eq!((totals("pass"), totals("open"), totals("not_reviewed")), (15, 0, 1), "{os}: {}", after["findings"]);
        let again = coldforge([&["harden", text(&image), "--dry-run", "--json"], &with[..]].concat());
        assert_eq!(again.expect(0).json()["changes"], 0, "{os}");
        coldforge(["verify", text(&out), "--source", text(&source.path)]).expect(0);
        let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
        let header: Json = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        let recorded = &header["policy"]["policies"][0];
        assert_eq!(recorded["files"][0]["text"], std::fs::read_to_string(&policy).unwrap());
        assert_eq!(recorded["sha256"], crate::support::sha256(&policy));

        let volume = home.path().join("volume");
        cut_volume(&image, source.offset, source.length, &volume);
        read_by_others(&Mounted::of(&volume, "ro"), os);
    }
}

/// Asks the independent decoder for what the policy of every kind sets.
fn read_by_others(mounted: &Mounted, os: &str) {
    let hive = |name: &str| text(&mounted.join(&format!("Windows/System32/config/{name}"))).to_owned();
    let (software, system, sam, security) = (hive("SOFTWARE"), hive("SYSTEM"), hive("SAM"), hive("SECURITY"));
    let rows = mounted_rows();
    for (hive, strip, rows) in [(&system, r"HKLM\SYSTEM\", &rows[0]), (&software, r"HKLM\SOFTWARE\", &rows[1])] {
        let mut table = tempfile::NamedTempFile::new().unwrap();
        write!(table, "{rows}").unwrap();
        let table = text(table.path()).to_owned();
        let script = shared().unwrap().join("check/winpolicy.py");
        let done = ask("python3", &[text(&script), "check-registry", hive, &table, "--strip", strip]);
        assert!(done.status.success(), "{os}: {}", String::from_utf8_lossy(&done.stdout));
    }
    let account = decoded(&["account", &sam]).to_string();
    assert!(account.contains("14"), "{os}: {account}");
    let users = decoded(&["users", &sam]).to_string();
    assert!(users.contains("Visitor") && !users.contains("\"Guest\""), "{os}: {users}");
    let rights = decoded(&["rights", &security]).to_string();
    assert!(rights.contains("SeDenyBatchLogonRight"), "{os}: {rights}");
    let certificates = decoded(&["certs", &software]).to_string();
    assert!(certificates.contains("D03683F35A7F487CB200C868D18623C9E7882820"), "{os}");
    let audit = decoded(&["audit", &security]).to_string();
    assert!(audit.contains("Credential Validation"), "{os}: {audit}");
}

/// Returns what must stand in SYSTEM and SOFTWARE, as the decoder's tables write it.
fn mounted_rows() -> [String; 2] {
    [
        "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa\tNoLMHash\tREG_DWORD\t1\n\
         HKLM\\SYSTEM\\CurrentControlSet\\Services\\Spooler\tStart\tREG_DWORD\t4\n"
            .to_owned(),
        "HKLM\\SOFTWARE\\Policies\\Example\tFolder\tREG_EXPAND_SZ\t%SystemRoot%\\Example\n\
         HKLM\\SOFTWARE\\Policies\\Example\tServers\tREG_MULTI_SZ\tone.example|two.example\n\
         HKLM\\SOFTWARE\\Policies\\Example\tSeed\tREG_BINARY\t00ff10\n\
         HKLM\\SOFTWARE\\Policies\\Example\tQuota\tREG_QWORD\t4294967296\n\
         HKLM\\SOFTWARE\\Policies\\Example\tRetired\tABSENT\n"
            .to_owned(),
    ]
}

/// Returns what a machine's `Registry.pol` is made of again: the values that rules set and remove, in their order.
fn exported(catalog: &Catalog, root: &str) -> RegistryPol {
    let mut pol = RegistryPol::parse(b"PReg\x01\0\0\0").unwrap();
    for check in catalog.rules.iter().flat_map(|rule| &rule.checks) {
        let Setting::Registry { key, name } = &check.setting else { continue };
        let key = key.strip_prefix(root).unwrap();
        match &check.remedy {
            Remedy::Set(Value::Data(data)) => pol.set(key, name, data.kind.0, &data.data).unwrap(),
            Remedy::Remove => pol.order_deletion(key, name).unwrap(),
            other => panic!("{other}"),
        };
    }
    pol
}

#[test]
fn a_registry_pol_is_imported_without_loss() {
    let home = tempfile::tempdir().unwrap();
    for name in ["dod-ws2016-ms-computer", "nsa-win10-computer", "nsa-certificates-computer"] {
        let Some(folder) = backup(home.path(), name) else { return };
        let found = ask("find", &[text(&folder), "-iname", "registry.pol"]);
        let path = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim_end());
        let bytes = std::fs::read(&path).unwrap();
        let catalog = Catalog::of_policy(&Source::from_path(&path).unwrap()).unwrap();
        let again = exported(&catalog, r"HKLM\");
        let pol = RegistryPol::parse(&bytes).unwrap();
        // Entries that make a key without a value are told, and not made.
        let (keys, values): (Vec<&Entry>, Vec<&Entry>) =
            pol.entries().iter().partition(|entry| entry.name.is_empty() && entry.kind == 0);
        assert!(values.len() > 30, "{name}");
        assert_eq!(again.entries().iter().collect::<Vec<_>>(), values, "{name}");
        let untold = catalog.rules.iter().filter(|rule| rule.not_reviewed.is_some()).count();
        assert_eq!(untold, keys.len(), "{name}");
        if keys.is_empty() {
            assert_eq!(again.to_bytes(), bytes, "{name}");
        }
        assert_eq!(keys.is_empty(), name != "nsa-certificates-computer");
    }
}

#[test]
fn a_backup_of_group_policy_is_applied_as_a_folder_and_as_a_zip() {
    let home = tempfile::tempdir().unwrap();
    let Some(folder) = backup(home.path(), "dod-ws2016-ms-computer") else { return };
    let catalog = Catalog::of_policy(&Source::from_path(&folder).unwrap()).unwrap();
    source::agree(std::slice::from_ref(&catalog)).unwrap();
    let find = |end: &str| {
        let of = |id: &String| id.starts_with("dod-windows-server-2016-ms") && id.ends_with(end);
        catalog.rules.iter().find(|rule| of(&rule.stig_id)).unwrap_or_else(|| panic!("{end}"))
    };
    let said = |end: &str| find(end).checks[0].require.to_string();
    assert_eq!(said(":MinimumPasswordLength"), "14");
    assert_eq!(said(":NewGuestName"), "\"Visitor\"");
    assert_eq!(said(r":HKLM\System\CurrentControlSet\Control\Lsa\LmCompatibilityLevel"), "5");
    assert_eq!(said(":SeTcbPrivilege"), "nobody");
    assert_eq!(find(":SeNetworkLogonRight").checks.len(), 2, "nobody else, and each of them");
    assert!(find(":audit:Credential Validation").checks[0].require.to_string().contains("Success"));
    assert!(
        find(":SeDenyNetworkLogonRight").import_risk.is_some(),
        "what a catalog knows of the setting holds here too"
    );
    assert!(catalog.rules.iter().all(|rule| rule.checks.is_empty() == rule.not_reviewed.is_some()));

    let archive = home.path().join("baseline.zip");
    let zip = "import os, sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n    \
            for folder, _, files in os.walk(sys.argv[2]):\n        \
                for name in files:\n            \
                    path = os.path.join(folder, name)\n            \
                    z.write(path, os.path.relpath(path, sys.argv[2]))\n";
    if !oracle("python3") {
        return;
    }
    let done = ask("python3", &["-c", zip, text(&archive), text(&folder)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let zipped = Source::from_path(&archive).unwrap();
    assert_eq!(zipped.files(), Source::from_path(&folder).unwrap().files());

    let image = fixture("ws2022.vhd");
    let out = home.path().join("out");
    let with = ["--stig", "none", "--policy", text(&archive), "--fail-on", "none", "--hold-back", "none", "--json"];
    // Its two administrators are local, and this one denies them Remote Desktop.
    let remote = "dod-windows-server-2016-ms-computer:SeDenyRemoteInteractiveLogonRight";
    let refused = coldforge([&["harden", text(&image), "--dry-run"], &with[..]].concat()).expect(3).json();
    assert_eq!(refused["code"], "E-LAST-ADMINISTRATOR");
    assert!(refused["message"].as_str().unwrap().contains(remote), "{refused}");
    let with = [&with[..], &["--skip", remote]].concat();
    let run = coldforge([&["harden", text(&image), "-o", text(&out)], &with[..]].concat()).expect(0).json();
    assert!(run["changes"].as_u64().unwrap() > 140, "{}", run["changes"]);
    let after = &run["after"]["totals"];
    assert_eq!((after["open"].as_u64(), after["not_reviewed"].as_u64()), (Some(0), Some(0)), "{after}");
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    let again = coldforge([&["harden", text(&out.join("ws2022.vhd")), "--dry-run"], &with[..]].concat());
    assert_eq!(again.expect(0).json()["changes"], 0);
}

#[test]
fn a_policy_stands_beside_a_stig_and_a_contradiction_names_both() {
    let home = tempfile::tempdir().unwrap();
    let image = fixture("ws2022.vhd");
    let write = |name: &str, content: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let reg = |level: u32| {
        format!(
            "Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Lsa]\n\
             \"LmCompatibilityLevel\"=dword:{level:08x}\n\"Gone\"=-\n\n[-HKEY_LOCAL_MACHINE\\SOFTWARE\\Old]\n\
             [HKEY_USERS\\S-1-5-18\\Software]\n\"A\"=\"b\"\n"
        )
    };
    let (good, bad) = (write("extra.reg", &reg(5)), write("weak.reg", &reg(1)));
    let scan =
        coldforge(["scan", text(&image), "--policy", text(&good), "--fail-on", "none", "--json"]).expect(0).json();
    assert_eq!((&scan["benchmark"]["id"], &scan["components"][0]["id"]), (&json!("ws2022"), &json!("extra")));
    let finding = |id: &str| {
        let findings = scan["findings"].as_array().unwrap().iter();
        findings.clone().find(|finding| finding["stig_id"] == id).unwrap_or_else(|| panic!("{id}")).clone()
    };
    assert_eq!(finding(r"extra:HKLM\SYSTEM\CurrentControlSet\Control\Lsa\LmCompatibilityLevel")["status"], "open");
    assert_eq!(finding(r"extra:HKLM\SYSTEM\CurrentControlSet\Control\Lsa\Gone")["status"], "pass");
    for (id, reason) in [
        (r"extra:-HKLM\SOFTWARE\Old", "a key is not deleted"),
        (r"extra:HKU\S-1-5-18\Software\A", "no hive that rules can reach"),
    ] {
        let finding = finding(id);
        assert_eq!(finding["status"], "not_reviewed");
        assert!(finding["reason"].as_str().unwrap().contains(reason), "{finding}");
    }
    let refused = coldforge(["scan", text(&image), "--policy", text(&bad)]).expect(3).err;
    assert!(refused.contains("[E-RULE-CONFLICT]") && refused.contains("WN22-SO-000310"), "{refused}");
    assert!(refused.contains("weak:HKLM") && refused.contains("--skip"), "{refused}");
    coldforge(["scan", text(&image), "--policy", text(&bad), "--skip", "WN22-SO-000310", "--fail-on", "none"])
        .expect(0);
    let both = ["scan", text(&image), "--policy", text(&good), "--policy", text(&bad)];
    let refused = coldforge(both).expect(3).err;
    assert!(refused.contains("[E-POLICY-CONTRADICTION]") && refused.contains("in 1 settings: extra:HKLM"), "{refused}");
    let alone = coldforge(["scan", text(&image), "--stig", "none"]).expect(2).err;
    assert!(alone.contains("--policy"), "{alone}");

    let out = home.path().join("out");
    let run = ["harden", text(&image), "-o", text(&out), "--policy", text(&good), "--fail-on", "none"];
    coldforge(run).expect(0);
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    // Who changes the recorded policy changes the chain.
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    assert!(log.lines().next().unwrap().contains("dword:00000005"));
}

#[test]
fn a_bad_policy_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let image = fixture("ws2022.vhd");
    let refused = |name: &str, content: &[u8], code: i32| {
        let path = home.path().join(name);
        std::fs::write(&path, content).unwrap();
        coldforge(["scan", text(&image), "--stig", "none", "--policy", text(&path)]).expect(code).err
    };
    let sample = std::fs::read_to_string(every_kind()).unwrap();
    let line = sample.lines().position(|line| line.contains("starts = ")).unwrap() + 1;
    let said = refused("slip.toml", sample.replace("starts = ", "start = ").as_bytes(), 2);
    assert!(
        said.contains("slip") && said.contains(&format!("line {line}: there is no field `start`; `starts` is near")),
        "{said}"
    );
    let twice = sample.replace("EX-0016", "EX-0015");
    assert!(refused("twice.toml", twice.as_bytes(), 2).contains("EX-0015 is already another rule's"));
    let against = format!(
        "{sample}\n[[rule]]\nid = \"EX-0017\"\ntitle = \"T\"\nseverity = \"low\"\ncheck = [{{ service = \"spooler\", starts = \"manual\" }}]\n"
    );
    let said = refused("against.toml", against.as_bytes(), 3);
    assert!(
        said.contains("[E-POLICY-CONTRADICTION]") && said.contains("EX-0011") && said.contains("EX-0017"),
        "{said}"
    );

    let pol = b"PReg\x01\0\0\0[\0S\0\0\0;\0N\0\0\0;\0\x04\0\0\0;\0\x04\0\0\0;\0\x01\0\0\0]\0".to_vec();
    let cut = &pol[..pol.len() - 4];
    assert!(refused("registry.pol", cut, 3).contains("[E-POL-BROKEN]"));
    assert!(refused("other.pol", b"PRef", 3).contains("[E-POL-HEAD]"));
    assert!(refused("notes.txt", b"set everything", 2).contains("it is no rule document"));
    assert!(refused("empty.reg", b"Windows Registry Editor Version 5.00\n", 2).contains("it holds no rule"));
    assert!(refused("ws2022.toml", sample.as_bytes(), 2).contains("the name \"ws2022\" is another's"));

    if !oracle("python3") {
        return;
    }
    let zip = |name: &str, code: &str| {
        let path = home.path().join(name);
        let code = format!(
            "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n    {code}\n"
        );
        let done = ask("python3", &["-c", &code, text(&path)]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        std::fs::read(path).unwrap()
    };
    let slip = zip("slip.zip", "z.writestr('../{A}/DomainSysvol/GPO/Machine/registry.pol', b'PReg')");
    assert!(refused("slip2.zip", &slip, 3).contains("[E-ZIP-NAME]"));
    let bomb = zip("bomb.zip", "z.writestr('{A}/DomainSysvol/GPO/Machine/registry.pol', b'PReg' + bytes(64 << 20))");
    assert!(refused("bomb2.zip", &bomb, 3).contains("[E-ZIP-BOMB]"));
    let none = zip("none.zip", "z.writestr('readme.txt', b'x')");
    assert!(refused("none2.zip", &none, 2).contains("it is no rule document"));
}

#[test]
fn what_a_template_says_without_a_twin_is_not_reviewed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("GptTmpl.inf");
    let template = "[Unicode]\nUnicode=yes\n[System Access]\nLockoutDuration = -1\nRequireLogonToChangePassword = 0\n\
        [Registry Values]\nMACHINE\\Software\\Microsoft\\Windows\\CurrentVersion\\Policies\\System\\LegalNoticeText=7,One,Two\n\
        [Privilege Rights]\nSeDenyNetworkLogonRight = *S-1-5-32-546,ADD YOUR ADMINS\n[Service General Setting]\n\
        \"Spooler\",4,\"D:(A;;RC;;;BA)\"\n[Kerberos Policy]\nMaxServiceAge = 600\n[Magic]\nA = 1\n[Group Membership]\n\
        *S-1-5-32-544__Members =\n[Version]\nsignature=\"$CHICAGO$\"\n";
    std::fs::write(&path, template).unwrap();
    let catalog = Catalog::of_policy(&Source::from_path(&path).unwrap()).unwrap();
    let rules: Vec<(&str, bool)> =
        catalog.rules.iter().map(|rule| (rule.stig_id.as_str(), rule.not_reviewed.is_none())).collect();
    assert_eq!(
        rules,
        [
            ("gpttmpl:LockoutDuration", true),
            ("gpttmpl:access:RequireLogonToChangePassword", false),
            (r"gpttmpl:HKLM\Software\Microsoft\Windows\CurrentVersion\Policies\System\LegalNoticeText", true),
            ("gpttmpl:SeDenyNetworkLogonRight", false),
            (r"gpttmpl:HKLM\SYSTEM\CurrentControlSet\Services\Spooler\Start", true),
            ("gpttmpl:service-acl:Spooler", false),
            ("gpttmpl:kerberos:MaxServiceAge", false),
            ("gpttmpl:section:Magic", false),
            ("gpttmpl:group:*S-1-5-32-544__Members", false),
        ]
    );
    assert_eq!(catalog.rules[0].checks[0].require, Requirement::Equals(0), "until an administrator unlocks it");
    assert_eq!(catalog.rules[2].checks[0].require, Requirement::Text("One\r\nTwo".to_owned()));
    let said = coldforge(["rules", "import", text(&path), "--explain"]).expect(0).out;
    assert!(said.contains("9 rules") && said.contains("ADD YOUR ADMINS"), "{said}");
}

#[test]
fn the_schema_is_printed_and_takes_the_sample_and_refuses_its_mutations() {
    let printed = coldforge(["rules", "schema"]).expect(0).out;
    assert_eq!(printed, SCHEMA);
    let Some(validators) = validators("bin/python") else { return };
    let home = tempfile::tempdir().unwrap();
    let schema = home.path().join("schema.json");
    std::fs::write(&schema, &printed).unwrap();
    let sample = std::fs::read_to_string(every_kind()).unwrap();
    let python = validators.join("bin/python");
    if !ask(text(&python), &["-c", "import jsonschema"]).status.success() {
        assert!(!in_ci(), "jsonschema is missing, and CI must have it");
        eprintln!("SKIPPED: jsonschema is missing");
        return;
    }
    let takes = |document: &str| {
        let tree: toml::Value = toml::from_str(document).unwrap();
        let path = home.path().join("document.json");
        std::fs::write(&path, serde_json::to_vec(&tree).unwrap()).unwrap();
        let code = "import json, sys, jsonschema\n\
            schema, document = (json.load(open(path)) for path in sys.argv[1:])\n\
            jsonschema.Draft202012Validator.check_schema(schema)\n\
            sys.exit(not jsonschema.Draft202012Validator(schema).is_valid(document))\n";
        let done = ask(text(&python), &["-c", code, text(&schema), text(&path)]);
        assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
        done.status.success()
    };
    assert!(takes(&sample));
    for (from, to) in [
        ("starts = ", "start = "),
        ("severity = \"high\"", "severity = \"hihg\""),
        ("id = \"EX-0001\"\n", ""),
        ("coldforge/policy/1", "coldforge/policy/2"),
        ("not_reviewed = \"Asks for people\"\n", ""),
        ("account = \"enabled\", rid", "rid"),
        ("REG_DWORD", "REG_DWROD"),
    ] {
        assert!(sample.contains(from), "{from}");
        assert!(!takes(&sample.replacen(from, to, 1)), "{from} -> {to}");
    }
}

#[test]
fn a_damaged_policy_is_an_error_or_a_policy_and_never_a_panic() {
    let pol = b"PReg\x01\0\0\0[\0S\0\0\0;\0N\0\0\0;\0\x04\0\0\0;\0\x04\0\0\0;\0\x01\0\0\0]\0".to_vec();
    let inf = b"[System Access]\nLockoutDuration = -1\n[Privilege Rights]\nSeTcbPrivilege = *S-1-5-32-544\n\
        [Service General Setting]\n\"Spooler\",4,\"D:(A;;RC;;;BA)\"\n[Registry Values]\nMACHINE\\Software\\A\\B=7,a,b\n";
    let csv =
        b"Machine Name,Policy Target,Subcategory,Subcategory GUID,Inclusion Setting,Exclusion Setting,Setting Value\n\
        ,System,Audit Logon,{0cce9215-69ae-11d9-bed3-505054503030},Success,,1\n";
    let reg = b"Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\A]\n\"B\"=hex(7):61,00,00,00\n\"C\"=-\n";
    let sample = std::fs::read(every_kind()).unwrap();
    let mut seeded = crate::support::Seeded(7);
    let (mut taken, mut refused) = (0, 0);
    for (path, whole) in [
        ("a.pol", &pol[..]),
        ("a.inf", inf),
        ("a.csv", csv),
        ("a.reg", reg),
        ("a.toml", &sample),
        ("{A}/DomainSysvol/GPO/User/registry.pol", &pol),
    ] {
        for turn in 0..150 {
            let mut bytes = whole.to_vec();
            for _ in 0..turn.min(3) {
                let at = seeded.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << seeded.below(8);
            }
            if turn % 5 == 4 {
                bytes.truncate(seeded.below(bytes.len() as u64) as usize);
            }
            let files = vec![File { path: path.to_owned(), content: Some(bytes) }];
            match Catalog::of_policy(&Source::new("damaged", files)) {
                Ok(catalog) => {
                    let _ = source::agree(&[catalog]);
                    taken += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(taken > 50 && refused > 50, "{taken} {refused}");
}
