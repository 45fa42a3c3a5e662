//! The machine in an image: control sets, recovery of dirty hives, and what must never be made out of nothing.

use coldforge::windows::setting::{Readings as _, Setting, Settings as _, Value};
use coldforge::windows::{Machine, OpenOptions, ReadOnlyMachine};
use coldforge_base::device::Memory;
use coldforge_base::{Failure as _, ReadAt, time::Moment};
use coldforge_disk::{Image, Overlay};

use crate::support::{ask, coldforge, fixture, real_image, shared, text};

fn opening() -> OpenOptions {
    OpenOptions { now: Moment(1_767_225_600).filetime(), ..OpenOptions::default() }
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
        let mut all = vec![
            "harden",
            "--hold-back",
            "none",
            "--fail-on",
            "none",
            text(&source.path),
            "--stig",
            "ws2022",
            "--force-stig",
            "--accept-dirty-hive",
        ];
        all.extend_from_slice(more);
        coldforge(all)
    };
    // SOFTWARE is dirty without a log: refused, unless it is accepted.
    let refused =
        coldforge(["harden", "--fail-on", "none", text(&source.path), "--stig", "ws2022", "--force-stig", "--dry-run"])
            .expect(3);
    assert!(refused.err.contains("[E-HIVE-DIRTY-NO-LOG]"), "{}", refused.err);
    let run = arguments(&["-o", text(&out)]).expect(0);
    assert!(run.err.contains("SYSTEM.LOG1: replayed") && run.err.contains("SYSTEM.LOG2: replayed"), "{}", run.err);
    assert!(run.err.contains("W-HIVE-DIRTY-ACCEPTED"), "{}", run.err);
    coldforge(["verify", text(&out), "--source", text(&source.path)]).expect(0);
    let image = out.join("dirty.raw");
    let scan = coldforge(["scan", "--fail-on", "none", text(&image), "--stig", "ws2022", "--force-stig", "--json"])
        .expect(0)
        .json();
    assert_eq!(scan["totals"]["open"], crate::support::BEYOND_REAL);
    let again = coldforge([
        "harden",
        "--hold-back",
        "none",
        "--fail-on",
        "none",
        text(&image),
        "--stig",
        "ws2022",
        "--force-stig",
        "--dry-run",
        "--json",
    ])
    .expect(0)
    .json();
    // The hives are another release's, and that is all there is to warn of.
    let warnings = again["warnings"].as_array().unwrap();
    assert!(again["changes"] == 0 && warnings.iter().all(|one| one.as_str().unwrap().starts_with("W-STIG-FORCED")));

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

const ATTACHMENTS: &str = r"HKCU\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\Attachments";

/// Returns the registry value below each user's root that one of the current user stands for.
fn of_users(roots: &[&str]) -> Vec<Setting> {
    roots.iter().map(|root| registry(&ATTACHMENTS.replacen("HKCU", root, 1), "SaveZoneInformation")).collect()
}

#[test]
fn a_value_of_the_current_user_is_set_in_the_hive_of_every_user() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let mut machine = Machine::open(Overlay::new(&image), opening()).unwrap();
    let places = machine.places(&registry(ATTACHMENTS, "SaveZoneInformation"));
    assert_eq!(places, of_users(&[r"HKU\.DEFAULT", r"HKU\Default"]));
    for place in &places {
        assert_eq!(machine.get(place).unwrap().value, Some(Value::dword(1)));
        let change = machine.set(place, Some(&Value::dword(2))).unwrap().unwrap();
        assert!(!machine.extents(&change).unwrap().is_empty());
    }
    let files: Vec<String> = machine.commit().unwrap().into_iter().map(|file| file.file).collect();
    assert_eq!(files, [r"\Windows\System32\config\DEFAULT", r"\Users\Default\NTUSER.DAT"]);
    let device = std::sync::Arc::new(machine.into_device());
    let read_only = ReadOnlyMachine::open(Memory(whole(&*device)), opening()).unwrap();
    let again = Machine::open(&*device, opening()).unwrap();
    assert_eq!(read_only.places(&registry(ATTACHMENTS, "SaveZoneInformation")), places);
    for place in &places {
        assert_eq!(again.get(place).unwrap().value, Some(Value::dword(2)));
        assert_eq!(read_only.get(place).unwrap().value, Some(Value::dword(2)));
    }
    let nobody = registry(r"HKU\S-1-5-21-1-2-3-1000\Software", "N");
    assert_eq!(again.get(&nobody).unwrap_err().code(), Some("E-SETTING-UNSUPPORTED"));
}

#[test]
fn a_user_hive_that_cannot_be_used_is_the_refusal_of_its_own_settings() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let machine = Machine::open(&image, opening()).unwrap();
    let hive = machine.read_file(r"\Users\Default\NTUSER.DAT").unwrap().unwrap();
    let mut disk = whole(&image);
    let at = disk.windows(512).position(|window| window == &hive[..512]).unwrap();
    disk[at + 0x1000..at + 0x1004].fill(0);
    let machine = Machine::open(Memory(disk.clone()), opening()).unwrap();
    let read_only = ReadOnlyMachine::open(Memory(disk), opening()).unwrap();
    let places = of_users(&[r"HKU\.DEFAULT", r"HKU\Default"]);
    assert_eq!(machine.places(&registry(ATTACHMENTS, "SaveZoneInformation")), places);
    assert_eq!(machine.get(&places[0]).unwrap().value, Some(Value::dword(1)));
    assert!(machine.get(&places[1]).is_err());
    let _ = read_only.get(&places[1]);
    assert!(read_only.get(&places[1]).is_err() || read_only.met_damage());
    let lsa = registry(r"HKLM\SYSTEM\ControlSet001\Control\Lsa", "LmCompatibilityLevel");
    assert!(machine.get(&lsa).is_ok() && read_only.get(&lsa).is_ok());
}

/// Returns every byte of a disk.
fn whole(device: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(device.len()).unwrap()];
    device.read_at(0, &mut bytes).unwrap();
    bytes
}
