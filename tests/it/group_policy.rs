//! Group policy: real backups against readers that this project did not write, and the local policy of an image.

use std::path::{Path, PathBuf};

use coldforge::formats::audit_csv::AuditCsv;
use coldforge::formats::registry_pol::{Effect, RegistryPol};
use coldforge::formats::security_template::SecurityTemplate;
use coldforge::windows::boot::{BootStore, Nx};
use coldforge::windows::features::Servicing;
use coldforge::windows::profiles::user_hives;
use coldforge::windows::setting::SetupState;
use coldforge::windows::setting::{AuditFlags, PolicyScope, Readings as _, Setting, Settings as _, Value};
use coldforge::windows::setup_state;
use coldforge::windows::{Machine, OpenOptions, ReadOnlyMachine};
use coldforge_base::descriptor::Descriptor;
use coldforge_base::time::Moment;
use coldforge_base::{access, sddl};
use coldforge_disk::{Image, Overlay};
use coldforge_regf::Hive;

use crate::support::{Seeded, ask, corpus, fixture, shared, text};

/// Unpacks the backups of group policy objects, and returns the files with this name, in any case of letters.
fn backups(folder: &Path, name: &str) -> Vec<PathBuf> {
    let Some(shared) = shared() else { return Vec::new() };
    for entry in std::fs::read_dir(shared.join("stig/gpo")).unwrap() {
        let done = ask("tar", &["-xJf", text(&entry.unwrap().path()), "-C", text(folder)]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let done = ask("find", &[text(folder), "-iname", name]);
    let mut found: Vec<PathBuf> = String::from_utf8(done.stdout).unwrap().lines().map(PathBuf::from).collect();
    found.sort();
    found
}

#[test]
fn registry_pol_files_of_real_backups_are_read_as_others_read_them_and_written_as_they_were() {
    let home = tempfile::tempdir().unwrap();
    let files = backups(home.path(), "registry.pol");
    let (mut entries, mut by_samba) = (0, 0);
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        let pol = RegistryPol::parse(&bytes).unwrap();
        assert!(pol.broken().is_none());
        assert_eq!(pol.to_bytes(), bytes);
        entries += pol.entries().len();
        let told = |key: &str, name: &str| serde_json::json!([key, name]);
        let ours: Vec<_> = pol.entries().iter().map(|entry| told(&entry.key, &entry.name)).collect();
        let checker = shared().unwrap().join("check/winpolicy.py");
        let done = ask("python3", &[text(&checker), "pol", text(path)]);
        let theirs: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        let theirs: Vec<_> =
            theirs["records"].as_array().unwrap().iter().map(|r| serde_json::json!([r["key"], r["name"]])).collect();
        assert_eq!(ours, theirs, "{}", path.display());
        // Samba's reader, where it is installed.
        let script = "import json,sys\nfrom samba.ndr import ndr_unpack\nfrom samba.dcerpc import preg\n\
            f=ndr_unpack(preg.file,open(sys.argv[1],'rb').read())\n\
            print(json.dumps([[e.keyname,e.valuename,e.type] for e in f.entries]))";
        let done = ask("/usr/bin/python3", &["-c", script, text(path)]);
        if done.status.success() {
            let theirs: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
            let ours: Vec<_> = pol.entries().iter().map(|e| serde_json::json!([e.key, e.name, e.kind])).collect();
            assert_eq!(serde_json::Value::from(ours), theirs);
            by_samba += 1;
        }
        // One edit and its undoing leave the bytes as they were.
        let mut edited = pol.clone();
        assert!(edited.set("Software\\Coldforge", "X", 4, &[1, 0, 0, 0]).unwrap());
        assert!(matches!(edited.effect("SOFTWARE\\coldforge", "x"), Effect::Sets(_)));
        assert!(edited.forget("Software\\Coldforge", "X").unwrap());
        assert_eq!(edited.to_bytes(), bytes);
        // No damage makes it panic, and none is written differently.
        let mut seeded = Seeded(7);
        for _ in 0..300 {
            let mut bytes = bytes.clone();
            let at = seeded.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << seeded.below(8);
            bytes.truncate(seeded.below(bytes.len() as u64 + 1) as usize);
            if let Ok(pol) = RegistryPol::parse(&bytes) {
                assert_eq!(pol.to_bytes(), bytes);
                let _ = pol.effect("Software\\Policies", "x");
            }
        }
    }
    eprintln!("{} files with {entries} entries, {by_samba} read by samba too", files.len());
    assert!(files.is_empty() || entries > 100);
}

#[test]
fn templates_and_audit_policies_of_real_backups_are_read_whole() {
    let home = tempfile::tempdir().unwrap();
    let mut rights = 0;
    for path in backups(home.path(), "GptTmpl.inf") {
        let bytes = std::fs::read(&path).unwrap();
        let template = SecurityTemplate::parse(&bytes).unwrap();
        assert_eq!(template.to_bytes(), bytes);
        template.system_access().unwrap();
        template.registry_values().unwrap();
        rights += template.privilege_rights().unwrap().len();
        template.services().unwrap();
    }
    let mut rows = 0;
    for path in backups(home.path(), "audit.csv") {
        let bytes = std::fs::read(&path).unwrap();
        let csv = AuditCsv::parse(&bytes).unwrap();
        assert_eq!(csv.to_bytes(), bytes);
        rows += csv.settings().unwrap().len();
    }
    assert!(shared().is_none() || (rights > 50 && rows > 40), "{rights} rights, {rows} rows");
}

fn opening() -> OpenOptions {
    OpenOptions { now: Moment(1_767_225_600).filetime(), ..OpenOptions::default() }
}

fn policy(name: &str) -> Setting {
    let key = r"SOFTWARE\Policies\Microsoft\Windows\Installer".to_owned();
    Setting::LocalPolicy { scope: PolicyScope::Machine, key, name: name.to_owned() }
}

#[test]
fn local_policy_of_an_image_is_written_once_and_read_again() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let mut machine = Machine::open(Overlay::new(&image), opening()).unwrap();
    let audit = Setting::LocalAuditPolicy { subcategory: "Credential Validation".to_owned() };
    let flags = Value::Audit(AuditFlags { success: true, failure: true });
    let entry = policy("AlwaysInstallElevated");
    assert_eq!(machine.get(&entry).unwrap().value, None);
    let change = machine.set(&entry, Some(&Value::dword(0))).unwrap().unwrap();
    assert_eq!((change.before, change.after), (None, Some(Value::dword(0))));
    assert!(machine.set(&entry, Some(&Value::dword(0))).unwrap().is_none());
    assert!(machine.set(&audit, Some(&flags)).unwrap().is_some());
    assert_eq!(machine.get(&audit).unwrap().value, Some(flags.clone()));
    let misfit = machine.set(&entry, Some(&Value::Flag(true))).unwrap_err();
    assert_eq!(coldforge_base::Failure::code(&misfit), Some("E-SETTING-UNSUPPORTED"));
    let written = machine.commit().unwrap();
    let files: Vec<(&str, u64)> = written.iter().map(|change| (change.file.as_str(), change.bytes_before)).collect();
    assert_eq!(
        files,
        [
            (r"\Windows\System32\GroupPolicy\Machine\Registry.pol", 0),
            (r"\Windows\System32\GroupPolicy\Machine\Microsoft\Windows NT\Audit\audit.csv", 0),
            (r"\Windows\System32\GroupPolicy\gpt.ini", 0),
        ]
    );
    assert!(written.iter().all(|change| !change.extents.is_empty() && !change.order.is_empty()));
    assert_eq!(machine.commit().unwrap(), []);

    let disk = machine.into_device();
    let source = Machine::open(Overlay::new(&image), opening()).unwrap();
    assert_eq!(source.get(&entry).unwrap().value, None, "the source is as it was");
    let again = Machine::open(&disk, opening()).unwrap();
    assert_eq!(again.get(&entry).unwrap().value, Some(Value::dword(0)));
    assert_eq!(again.get(&audit).unwrap().value, Some(flags));
    let path = |name: &str| Setting::File { path: format!(r"\Windows\System32\GroupPolicy\{name}") };
    assert_eq!(again.get(&path("gpt.ini")).unwrap().value, Some(Value::Flag(true)));
    assert_eq!(again.get(&path("none")).unwrap().value, Some(Value::Flag(false)));
    let ini = again.read_file(r"\Windows\System32\GroupPolicy\gpt.ini").unwrap().unwrap();
    assert!(String::from_utf8(ini).unwrap().contains("Version=1\r\n"));
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let read_only = ReadOnlyMachine::open(image, opening()).unwrap();
    assert_eq!(read_only.get(&entry).unwrap().value, None);
}

#[test]
fn permissions_of_keys_and_files_are_set_and_read_again() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let mut machine = Machine::open(Overlay::new(&image), opening()).unwrap();
    let key = Setting::RegistryAcl { key: r"HKLM\SOFTWARE\Microsoft".to_owned() };
    let file = Setting::FileAcl { path: r"\Windows\System32\config".to_owned() };
    let wanted = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
    for (setting, wanted) in [(&key, "D:P(A;CI;KA;;;SY)(A;CI;KA;;;BA)(A;CI;KR;;;BU)"), (&file, wanted)] {
        let before = machine.get(setting).unwrap().value.unwrap();
        let change = machine.set(setting, Some(&Value::Sddl(wanted.to_owned()))).unwrap().unwrap();
        assert_eq!(change.before, Some(before));
        assert!(machine.set(setting, Some(&Value::Sddl(wanted.to_owned()))).unwrap().is_none());
        let Some(Value::Sddl(now)) = machine.get(setting).unwrap().value else { panic!("a text") };
        assert!(now.ends_with(wanted), "{now}");
    }
    let error = machine.set(&file, Some(&Value::Sddl("D:(".to_owned()))).unwrap_err();
    assert_eq!(coldforge_base::Failure::code(&error), Some("E-SDDL"));
    machine.commit().unwrap();
    let disk = machine.into_device();
    let again = Machine::open(&disk, opening()).unwrap();
    let Some(Value::Sddl(now)) = again.get(&file).unwrap().value else { panic!("a text") };
    assert!(now.ends_with(wanted), "{now}");
    let missing = Setting::RegistryAcl { key: r"HKLM\SOFTWARE\Nothing".to_owned() };
    assert_eq!(again.get(&missing).unwrap().value, None);
}

fn hive(name: &str) -> Option<Hive> {
    let folder = corpus(&format!("^hives/{name}"))?;
    Some(Hive::accept_dirty(std::fs::read(folder.join("hives").join(name)).unwrap()).unwrap().hive)
}

#[test]
fn descriptors_of_real_keys_are_the_same_after_their_text_and_within_themselves() {
    let (mut asked, mut alike) = (0, 0);
    for name in ["dfwinreg__SOFTWARE", "velociraptor__SAM", "regipy__SECURITY", "dfwinreg__NTUSER.DAT"] {
        let Some(hive) = hive(name) else { return };
        let mut seen = std::collections::BTreeSet::new();
        for step in hive.walk() {
            let Ok((_, key)) = step else { continue };
            let bytes = key.security().unwrap();
            if !seen.insert(bytes.to_vec()) {
                continue;
            }
            let found = Descriptor::parse(bytes).unwrap();
            let again = sddl::parse(&found.to_string()).unwrap();
            let again = Descriptor::parse(&again).unwrap();
            assert_eq!(again.to_string(), found.to_string());
            alike += usize::from(again.dacl == found.dacl && again.sacl == found.sacl);
            let within = access::compare(access::Kind::Key, &found, &again);
            assert_eq!(within, access::Comparison::NotWider, "{found}");
            asked += 1;
        }
    }
    eprintln!("{asked} descriptors, {alike} alike entry by entry");
    assert!(asked > 100);
}

#[test]
fn a_real_boot_store_tells_its_default_loader() {
    let Some(bcd) = hive("regipy__BCD") else { return };
    let store = BootStore::read(&bcd).unwrap();
    let loader = store.default_loader().unwrap();
    assert_eq!(loader.path.as_deref(), Some(r"\Windows\system32\winload.efi"));
    assert_eq!((loader.description.as_deref(), loader.nx), (Some("Windows 10"), Some(Nx::OptIn)));
    assert!(!loader.test_signing && !loader.no_integrity_checks && !loader.ems && !loader.winpe && !store.boot_ems);
    assert_eq!((store.display_order.len(), store.loaders.len()), (1, 2));
    assert!(store.loaders.iter().any(|loader| loader.winpe));
}

#[test]
fn a_real_windows_tells_its_packages_profiles_and_state() {
    let Some(software) = hive("dfwinreg__SOFTWARE") else { return };
    let servicing = Servicing::read(&software).unwrap();
    let count = |state| servicing.packages.iter().filter(|package| package.state == state).count();
    assert_eq!((count(0x70), count(0x50), count(0x40), count(0x20)), (4254, 111, 32, 2));
    assert_eq!(servicing.pending, Vec::<String>::new());
    let hives = user_hives(&software).unwrap();
    assert_eq!((hives[0].root.as_str(), hives[1].path.as_str()), (r"HKU\.DEFAULT", r"\Users\Default\NTUSER.DAT"));
    assert!(hives.iter().any(|hive| hive.path == r"\Users\bperry\NTUSER.DAT"
        && hive.root == r"HKU\S-1-5-21-226059406-2984137831-1201299043-1107"));
    let system = hive("regipy__SYSTEM_WIN_10_1709").unwrap();
    assert_eq!(setup_state::read(&software, &system).unwrap(), SetupState::Installed);
}
