//! A whole run on images around real hives: everything that the embedded catalogs demand is set, twice, proven, and read
//! by a decoder that this project did not write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use coldforge::formats::registry_pol::RegistryPol;
use coldforge::windows::setting::{PolicyScope, Setting, Settings as _, Value};
use coldforge::windows::{Machine, OpenOptions};
use coldforge_base::time::Moment;
use coldforge_disk::{Image, Overlay};
use serde_json::Value as Json;

use crate::support::{Mounted, ask, coldforge, copy_of, cut_volume, fixture, oracle, real_image, shared, text};

/// Returns what the independent decoder reads, which must find nothing wrong.
fn decoded(arguments: &[&str]) -> Json {
    let script = shared().expect("the image came from there").join("check/winpolicy.py");
    let done = ask("python3", &[&[text(&script)], arguments].concat());
    let json: Json = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&done.stderr)));
    assert!(done.status.success(), "{arguments:?}: {json}");
    json
}

/// Returns the change lines of a bundle's log.
fn changes(bundle: &Path) -> Vec<Json> {
    let log = std::fs::read_to_string(bundle.join("audit.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    lines.filter(|line| line["type"] == "change").collect()
}

/// Makes a folder with the certificates of a published group policy, as files.
fn certificates(home: &Path) -> PathBuf {
    let (archive, policy, folder) = (
        shared().unwrap().join("stig/gpo/nsa-certificates-computer.tar.xz"),
        home.join("policy"),
        home.join("certificates"),
    );
    for folder in [&policy, &folder] {
        std::fs::create_dir(folder).unwrap();
    }
    ask("tar", &["-xJf", text(&archive), "-C", text(&policy)]);
    let found = ask("find", &[text(&policy), "-iname", "registry.pol"]);
    let mut number = 0;
    for path in String::from_utf8(found.stdout).unwrap().lines() {
        let pol = RegistryPol::parse(&std::fs::read(path).unwrap()).unwrap();
        for entry in pol.entries().iter().filter(|entry| entry.name == "Blob") {
            let blob = coldforge::windows::certificates::blob::Blob::parse(&entry.data).unwrap();
            number += 1;
            std::fs::write(folder.join(format!("{number}.cer")), blob.certificate()).unwrap();
        }
    }
    assert!(number > 30);
    folder
}

#[test]
fn real_hives_are_hardened_proven_and_read_by_others() {
    if shared().is_none() || !oracle("python3") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let certificates = certificates(home.path());
    for os in ["ws2016", "ws2019", "ws2022"] {
        let name = format!("{os}.raw");
        let Some(source) = real_image(home.path(), &name, &["--os", os, "--size", "1G", "--files", "50"]) else {
            return;
        };
        let out = home.path().join(os);
        let with = ["--certificates", text(&certificates), "--fail-on", "none", "--json"];
        let run = |more: &[&str]| coldforge([&["harden"], more, &with].concat()).expect(0).json();
        let first = run(&[text(&source.path), "-o", text(&out)]);
        assert!(first["changes"].as_u64().unwrap() > 100, "{os}: {}", first["changes"]);
        let image = out.join(&name);
        let again = run(&[text(&image), "--dry-run"]);
        assert_eq!(again["changes"], 0, "{os}");
        coldforge(["verify", text(&out), "--source", text(&source.path)]).expect(0);

        let volume = home.path().join("volume");
        cut_volume(&image, source.offset, source.length, &volume);
        let mounted = Mounted::of(&volume, "ro");
        let counted = agreed(&mounted, &changes(&out));
        eprintln!(
            "{os}: {} changes, open {} of {}: {counted:?}",
            first["changes"], first["after"]["totals"]["open"], first["before"]["totals"]["open"]
        );
        assert!(counted.iter().all(|(_, count)| *count > 0), "{os}: {counted:?}");
        std::fs::remove_file(&volume).unwrap();
        std::fs::remove_file(&source.path).unwrap();
        std::fs::remove_file(&image).unwrap();
    }
}

/// Compares changes with what the independent decoder reads of the files; returns how many of each kind agreed.
fn agreed(mounted: &Mounted, changes: &[Json]) -> Vec<(&'static str, usize)> {
    let path = |name: &str| mounted.join(name);
    let config = |name: &str| path(&format!("Windows/System32/config/{name}"));
    let (sam, security) = (config("SAM"), config("SECURITY"));
    let audit = decoded(&["audit", text(&security)]);
    let rights = decoded(&["rights", text(&security)]);
    let account = decoded(&["account", text(&sam)]);
    let pol = |scope: &str| {
        let file = path(&format!("Windows/System32/GroupPolicy/{scope}/Registry.pol"));
        if file.is_file() { decoded(&["pol", text(&file)]).to_string().to_lowercase() } else { String::new() }
    };
    let (of_machine, of_users) = (pol("Machine"), pol("User"));
    let stores = decoded(&["certs", text(&config("SOFTWARE"))]).to_string().to_uppercase();
    let mut counted =
        [("audit_policy", 0), ("user_right", 0), ("account_policy", 0), ("local_policy", 0), ("registry", 0)];
    for change in changes {
        let (setting, after) = (&change["setting"], &change["after"]["data"]);
        let kind = setting["kind"].as_str().unwrap();
        match kind {
            "audit_policy" => {
                let rows = audit["subcategories"].as_array().unwrap();
                let row = rows.iter().find(|row| row["name"] == setting["subcategory"]).unwrap();
                let words: Vec<&str> = after.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
                let expected = if words.len() == 2 { "both" } else { words[0] };
                assert_eq!(row["setting"], expected, "{setting}");
            }
            "user_right" => {
                let set = |list: &Json| -> BTreeSet<String> {
                    list.as_array().into_iter().flatten().map(|sid| sid.as_str().unwrap().to_owned()).collect()
                };
                assert_eq!(set(&rights["rights"][setting["right"].as_str().unwrap()]), set(after), "{setting}");
            }
            "account_policy" => {
                let properties = account["password_properties"].to_string();
                let number = |member: &str| account[member].clone();
                let found = match setting["field"].as_str().unwrap() {
                    "password_history" => number("password_history_length"),
                    "maximum_password_age" => number("maximum_password_age_days"),
                    "minimum_password_age" => number("minimum_password_age_days"),
                    "minimum_password_length" => number("minimum_password_length"),
                    "password_complexity" => u8::from(properties.contains("complexity")).into(),
                    "reversible_encryption" => u8::from(properties.contains("store-cleartext")).into(),
                    "lockout_duration" => number("lockout_duration_minutes"),
                    "lockout_threshold" => number("lockout_threshold"),
                    _ => number("lockout_window_minutes"),
                };
                assert_eq!(&found, after, "{setting}: {account}");
            }
            "local_policy" => {
                let name = setting["name"].as_str().unwrap().to_lowercase().replace('\\', "\\\\");
                let entries = if setting["scope"] == "user" { &of_users } else { &of_machine };
                assert!(entries.contains(&format!("\"{name}\"")), "{setting}");
            }
            "certificate" => assert!(stores.contains(setting["thumbprint"].as_str().unwrap()), "{setting}"),
            "registry" => {
                let key = setting["key"].as_str().unwrap();
                let (file, below) = match key.split('\\').collect::<Vec<_>>().as_slice() {
                    ["HKLM", hive, below @ ..] => (config(hive), below.join("\\")),
                    ["HKU", ".DEFAULT", below @ ..] => (config("DEFAULT"), below.join("\\")),
                    ["HKU", "Default", below @ ..] => (path("Users/Default/NTUSER.DAT"), below.join("\\")),
                    _ => continue,
                };
                // One in thirty: each asks a process of its own.
                if counted[4].1 % 30 == 0 {
                    let found = decoded(&["value", text(&file), &below, setting["name"].as_str().unwrap()]);
                    assert!(found.to_string().contains(&after.to_string()), "{setting}: {found} is not {after}");
                }
            }
            _ => {}
        }
        if let Some(count) = counted.iter_mut().find(|(known, _)| *known == kind) {
            count.1 += 1;
        }
    }
    counted.to_vec()
}

#[test]
fn an_entry_of_local_policy_that_turns_a_value_back_is_open_until_it_is_changed() {
    let home = tempfile::tempdir().unwrap();
    let source = copy_of("ws2022.vhd", home.path());
    let hardened = home.path().join("hardened");
    coldforge(["harden", text(&source), "-o", text(&hardened), "--fail-on", "none"]).expect(0);
    // An administrator's own entry, in an image that has none of ours.
    let key = r"SOFTWARE\Policies\Microsoft\Windows\Installer".to_owned();
    let entry = Setting::LocalPolicy { scope: PolicyScope::Machine, key, name: "AlwaysInstallElevated".into() };
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let opening = OpenOptions { now: Moment(1).filetime(), ..OpenOptions::default() };
    let mut machine = Machine::open(Overlay::new(&image), opening).unwrap();
    machine.set(&entry, Some(&Value::dword(1))).unwrap();
    machine.commit().unwrap();
    let raw = home.path().join("entry.vhd");
    coldforge_disk::export_as(
        &machine.into_device(),
        &raw,
        coldforge_disk::Target::Same,
        &coldforge_base::progress::Silent,
    )
    .unwrap();

    let rule = "WN22-CC-000430";
    let finding = |image: &Path| {
        let scan = coldforge(["scan", text(image), "--only", rule, "--fail-on", "none", "--json"]).expect(0).json();
        scan["findings"][0].clone()
    };
    let reason = |finding: &Json| finding["checks"].as_array().unwrap().last().unwrap()["reason"].to_string();
    let found = finding(&raw);
    assert_eq!(found["status"], "open", "{found}");
    assert!(reason(&found).contains("Registry.pol turns it back"), "{found}");
    for (local, status) in [("leave", "open"), ("update", "pass"), ("write", "pass")] {
        let out = home.path().join(local);
        let arguments = ["harden", text(&raw), "-o", text(&out), "--only", rule, "--local-gpo", local];
        coldforge([&arguments[..], &["--fail-on", "none"]].concat()).expect(0);
        let after = finding(&out.join("entry.vhd"));
        assert_eq!(after["status"], status, "{local}: {after}");
        coldforge(["verify", text(&out), "--source", text(&raw)]).expect(0);
    }
    // Without an entry beforehand, only `write` makes one.
    for (local, made) in [("leave", 0), ("update", 0), ("write", 1)] {
        let out = home.path().join(format!("new-{local}"));
        let arguments = ["harden", text(&source), "-o", text(&out), "--only", rule, "--local-gpo", local];
        coldforge([&arguments[..], &["--fail-on", "none"]].concat()).expect(0);
        let entries = changes(&out).iter().filter(|change| change["setting"]["kind"] == "local_policy").count();
        assert_eq!(entries, made, "{local}");
        assert!(changes(&out).iter().all(|change| !change["extents"].as_array().unwrap().is_empty()), "{local}");
        coldforge(["verify", text(&out), "--source", text(&source)]).expect(0);
    }
}
