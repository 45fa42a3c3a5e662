//! The machine in an image: control sets, recovery of dirty hives, and what must never be made out of nothing.

use coldforge::base::{Failure as _, time::Moment};
use coldforge::disk::{Image, Memory, Overlay};
use coldforge::windows::setting::{Readings as _, Setting, Settings as _, Value};
use coldforge::windows::{Machine, Opening};

use crate::support::{ask, coldforge, fixture, real_image, shared, text};

fn opening() -> Opening {
    Opening { now: Moment(1_767_225_600).filetime(), ..Opening::default() }
}

fn registry(key: &str, name: &str) -> Setting {
    Setting::Registry { key: key.into(), name: name.into() }
}

/// Opens the fixture, sets registry numbers as they are named, and returns the disk with them.
fn with<'i>(image: &'i Image, values: &[(&str, &str, u32)]) -> Overlay<&'i Image> {
    let mut machine = Machine::open(Overlay::new(image), opening()).unwrap();
    for (key, name, number) in values {
        machine.set(&registry(key, name), Some(&Value::dword(*number))).unwrap();
    }
    machine.commit().unwrap();
    machine.into_device()
}

const SELECT: &str = r"HKLM\SYSTEM\Select";

#[test]
fn a_selected_control_set_that_is_not_there_is_refused_and_never_made() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    for (name, number) in [("Current", 2), ("Default", 2), ("Current", 0), ("Current", 0x1234), ("Default", 0)] {
        let disk = with(&image, &[(SELECT, name, number)]);
        let error = Machine::open(&disk, opening()).unwrap_err();
        assert_eq!(error.code(), Some("E-NO-IDENTITY"), "{name} {number}: {error}");
    }
}

#[test]
fn the_set_of_the_next_boot_and_the_one_of_the_last_are_both_edited() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let options = r"HKLM\SYSTEM\ControlSet002\Control\ProductOptions";
    let mut machine = Machine::open(Overlay::new(&image), opening()).unwrap();
    machine.set(&registry(options, "ProductType"), Some(&Value::sz("ServerNT"))).unwrap();
    machine.set(&registry(SELECT, "Default"), Some(&Value::dword(2))).unwrap();
    machine.commit().unwrap();
    let disk = machine.into_device();
    let machine = Machine::open(&disk, opening()).unwrap();
    assert_eq!(machine.identity().control_set, 2);
    let places = machine.places(&registry(r"HKLM\System\currentcontrolset\Control\Lsa", "LmCompatibilityLevel"));
    let keys: Vec<String> = places.iter().map(ToString::to_string).collect();
    assert_eq!(
        keys,
        [
            r"HKLM\SYSTEM\ControlSet002\Control\Lsa!LmCompatibilityLevel",
            r"HKLM\SYSTEM\ControlSet001\Control\Lsa!LmCompatibilityLevel"
        ]
    );
    assert!(machine.warnings().iter().any(|warning| warning.starts_with("W-CONTROL-SET:")), "{:?}", machine.warnings());
    let beside = registry(r"HKLM\SYSTEM\CurrentControlSetX\Control", "Name");
    assert_eq!(machine.places(&beside), std::slice::from_ref(&beside), "only the link itself stands for control sets");
}

#[test]
fn the_volatile_link_is_never_made_on_disk() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let mut machine = Machine::open(Overlay::new(&image), opening()).unwrap();
    let setting = registry(r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa", "X");
    assert_eq!(machine.set(&setting, Some(&Value::dword(1))).unwrap_err().code(), Some("E-SETTING-UNSUPPORTED"));
    assert_eq!(machine.get(&setting).unwrap_err().code(), Some("E-SETTING-UNSUPPORTED"));
    let user = registry(r"HKCU\Software\X", "X");
    assert_eq!(machine.get(&user).unwrap_err().code(), Some("E-SETTING-UNSUPPORTED"));
}

#[test]
fn a_commit_without_a_change_writes_nothing() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let mut machine = Machine::open(Overlay::new(&image), opening()).unwrap();
    assert_eq!(machine.commit().unwrap(), []);
    assert!(machine.into_device().changed().unwrap().is_empty());
}

#[test]
fn a_machine_that_is_no_disk_is_an_error() {
    for length in [0, 1, 512, 4096] {
        assert!(Machine::open(Memory(vec![0x55; length]), opening()).is_err());
    }
}

#[test]
fn a_dirty_system_hive_is_recovered_from_both_logs_hardened_and_left_clean() {
    let home = tempfile::tempdir().unwrap();
    let Some(source) = real_image(home.path(), "dirty.raw", &["--os", "as-is", "--keep-dirty", "--size", "1G"]) else {
        return;
    };
    let out = home.path().join("out");
    let arguments = |more: &[&str]| {
        let mut all = vec!["harden", text(&source.path), "--stig", "ws2022", "--accept-dirty-hive"];
        all.extend_from_slice(more);
        coldforge(all)
    };
    // SOFTWARE is dirty without a log: refused, unless it is accepted.
    let refused = coldforge(["harden", text(&source.path), "--stig", "ws2022", "--dry-run"]).expect(3);
    assert!(refused.err.contains("[E-HIVE-DIRTY-NO-LOG]"), "{}", refused.err);
    let run = arguments(&["-o", text(&out)]).expect(0);
    assert!(run.err.contains("SYSTEM.LOG1: replayed") && run.err.contains("SYSTEM.LOG2: replayed"), "{}", run.err);
    assert!(run.err.contains("W-HIVE-DIRTY-ACCEPTED"), "{}", run.err);
    coldforge(["verify", text(&out), "--source", text(&source.path)]).expect(0);
    let image = out.join("dirty.raw");
    let scan = coldforge(["scan", text(&image), "--stig", "ws2022", "--json"]).expect(0).json();
    assert_eq!(scan["totals"]["open"], 0);
    let again = coldforge(["harden", text(&image), "--stig", "ws2022", "--dry-run", "--json"]).expect(0).json();
    assert_eq!((&again["changes"], &again["warnings"]), (&0.into(), &serde_json::json!([])));

    let volume = home.path().join("volume");
    crate::support::cut_volume(&image, source.offset, source.length, &volume);
    let mounted = crate::support::Mounted::of(&volume, "ro");
    let checker = shared().expect("the image came from there").join("check/regf_check.py");
    for name in ["SYSTEM", "SOFTWARE"] {
        let hive = home.path().join(name);
        std::fs::copy(mounted.join(&format!("Windows/System32/config/{name}")), &hive).unwrap();
        let done = ask("python3", &[text(&checker), text(&hive)]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        let done = ask("hivexregedit", &["--export", text(&hive), r"\Select"]);
        assert!(done.status.success() || name == "SOFTWARE", "{}", String::from_utf8_lossy(&done.stderr));
    }
    for name in ["SYSTEM.LOG1", "SYSTEM.LOG2"] {
        let log = std::fs::read(mounted.join(&format!("Windows/System32/config/{name}"))).unwrap();
        assert!(!log.is_empty() && log.iter().all(|byte| *byte == 0), "{name} is zeroed, and as long as before");
    }
}
