//! Hands-on work on hives and on the registry of an image, by the built binary, with hivexregedit as the judge of text.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use coldforge_regf::Hive;

use crate::support::{ask, coldforge, copy_of, corpus, fixture, oracle, real_image, sha256, shared, text};

/// Returns a hive as text, by the tool that is the judge of it; `None` if it cannot read the hive.
fn exported_by_hivex(hive: &Path) -> Option<Vec<u8>> {
    let done = ask("hivexregedit", &["--export", text(hive), r"\"]);
    done.status.success().then_some(done.stdout)
}

/// Tells whether two lines say the same: hivexregedit writes a name without characters above U+00FF as Latin-1.
fn agree(ours: &[u8], theirs: &[u8]) -> bool {
    let latin1 = || theirs.iter().map(|byte| char::from(*byte)).collect::<String>();
    ours == theirs || std::str::from_utf8(ours).is_ok_and(|ours| ours == latin1())
}

#[test]
fn exports_are_those_of_hivexregedit_byte_for_byte() {
    let Some(folder) = corpus("^hives/") else { return };
    if !oracle("hivexregedit") {
        return;
    }
    let (mut equal, mut latin1) = (0, 0);
    for entry in std::fs::read_dir(folder.join("hives")).unwrap() {
        let path = entry.unwrap().path();
        // The largest takes that tool a minute, and has nothing that the others lack.
        if path.metadata().unwrap().len() > 12 << 20 {
            continue;
        }
        // A dirty hive is recovered here, or refused: hivex reads it as it lies there.
        if std::fs::read(&path).unwrap().get(..4) != Some(b"regf") || is_dirty(&path) {
            continue;
        }
        let done = Command::new(env!("CARGO_BIN_EXE_coldforge")).args(["reg", "export", text(&path)]).output().unwrap();
        let (true, Some(theirs)) = (done.status.success(), exported_by_hivex(&path)) else { continue };
        let ours = done.stdout;
        if ours == theirs {
            equal += 1;
            continue;
        }
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (ours.split(|b| *b == b'\n').collect(), theirs.split(|b| *b == b'\n').collect());
        let differing: Vec<_> = ours.iter().zip(&theirs).filter(|(ours, theirs)| !agree(ours, theirs)).collect();
        let first = differing.first().map(|(a, b)| [a, b].map(|line| String::from_utf8_lossy(line).into_owned()));
        assert!(ours.len() == theirs.len() && differing.is_empty(), "{}: {first:?}", path.display());
        latin1 += 1;
    }
    assert!(equal >= 12, "{equal} are equal, {latin1} but for their Latin-1 names");
    eprintln!("{equal} are equal, {latin1} but for their Latin-1 names");
}

fn is_dirty(hive: &Path) -> bool {
    let bytes = std::fs::read(hive).unwrap();
    bytes[4..8] != bytes[8..12]
}

#[test]
fn exported_text_makes_the_same_registry_in_another_hive() {
    let folder = tempfile::tempdir().unwrap();
    let mut hives = vec![fixture("hives/bigdata-1.5")];
    if let Some(corpus) = corpus("^hives/(dfwinreg__NTUSER.DAT|velociraptor__SAM|hivex__rlenvalue_test_hive|nt-hive)") {
        hives.extend(
            ["dfwinreg__NTUSER.DAT", "velociraptor__SAM", "nt-hive__testhive"].map(|n| corpus.join("hives").join(n)),
        );
    }
    for hive in hives {
        for style in ["hivex", "regedit"] {
            let empty = copy_of("hives/minimal-1.5", folder.path());
            let delete = coldforge(["reg", "export", text(&empty), "--style", "hivex"]).expect(0);
            assert!(delete.out.starts_with("Windows Registry Editor Version 5.00\n\n[\\]\n"));
            let reg = folder.path().join("text.reg");
            let _ = std::fs::remove_file(&reg);
            let prefix = r"HKEY_LOCAL_MACHINE\Test";
            coldforge(["reg", "export", text(&hive), "--style", style, "--prefix", prefix, "-o", text(&reg)]).expect(0);
            coldforge(["reg", "import", text(&empty), text(&reg), "--prefix", prefix]).expect(0);
            let only = coldforge(["reg", "diff", text(&hive), text(&empty)]);
            // What the empty hive had of its own may be all that is left.
            assert!(
                only.out.lines().all(|line| line.starts_with("+ ") || line.contains(": absent -> ")),
                "{}",
                only.out
            );
            coldforge(["reg", "check", text(&empty)]).expect(0);
            if oracle("hivexregedit") {
                assert!(exported_by_hivex(&empty).is_some());
            }
            let again = coldforge(["reg", "import", text(&empty), text(&reg), "--prefix", prefix]).expect(0);
            assert!(again.err.contains("nothing had to be changed"), "{}", again.err);
        }
    }
}

#[test]
fn a_difference_as_text_makes_the_first_like_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (copy_of("hives/minimal-1.5", folder.path()), copy_of("hives/bigdata-1.5", folder.path()));
    let differing = coldforge(["reg", "diff", text(&first), text(&second)]).expect(1);
    assert!(differing.out.lines().count() > 3, "{}", differing.out);
    let patch = folder.path().join("patch.reg");
    std::fs::write(&patch, coldforge(["reg", "diff", "--reg", text(&first), text(&second)]).expect(1).out).unwrap();
    coldforge(["reg", "import", text(&first), text(&patch)]).expect(0);
    assert_eq!(coldforge(["reg", "diff", text(&first), text(&second)]).expect(0).out, "");
    let json = coldforge(["reg", "diff", "--json", text(&first), text(&second)]).expect(0).json();
    assert_eq!(json["differences"].as_array().map(Vec::len), Some(0));
}

#[test]
fn values_of_every_type_are_set_shown_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let hive = copy_of("hives/minimal-1.3", folder.path());
    std::fs::set_permissions(&hive, std::fs::Permissions::from_mode(0o640)).unwrap();
    let set = |name: &str, kind: &str, data: &[&str]| {
        let mut words = vec!["reg", "set", text(&hive), r"A\New\Key", name, "--type", kind];
        words.extend_from_slice(data);
        coldforge(words).expect(0)
    };
    let shown = |name: &str| coldforge(["reg", "get", text(&hive), r"a\NEW\key", name]).expect(0).out;
    for (name, kind, data, expected) in [
        ("@", "REG_SZ", &["text with \"quotes\""][..], "text with \"quotes\"\n"),
        ("Expand", "REG_EXPAND_SZ", &["%SystemRoot%"], "%SystemRoot%\n"),
        ("Multi", "REG_MULTI_SZ", &["one", "two"], "one\ntwo\n"),
        ("Number", "REG_DWORD", &["0xffffffff"], "4294967295\n"),
        ("Long", "REG_QWORD", &["18446744073709551615"], "18446744073709551615\n"),
        ("Bytes", "REG_BINARY", &["00ff"], "00ff\n"),
        ("Odd", "0xffff0001", &["0102"], "0102\n"),
        ("Empty", "REG_NONE", &[], "\n"),
    ] {
        set(name, kind, data);
        assert_eq!(shown(name), expected, "{name}");
    }
    if oracle("hivexget") {
        let done = ask("hivexget", &[text(&hive), r"A\New\Key", "Number"]);
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "-1", "that tool knows signed numbers");
    }
    assert_eq!(hive.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    let json = coldforge(["reg", "get", "--json", text(&hive), r"A\New\Key"]).expect(0).json();
    assert_eq!(
        (json["values"].as_array().map(Vec::len), json["last_written"].as_str()),
        (Some(8), Some("2026-01-01T00:00:00Z"))
    );
    coldforge(["reg", "delete", text(&hive), r"A\New\Key", "Number"]).expect(0);
    coldforge(["reg", "get", text(&hive), r"A\New\Key", "Number"]).expect(1);
    let refused = coldforge(["reg", "delete", text(&hive), "A"]).expect(3);
    assert!(refused.err.contains("E-HIVE-HAS-SUBKEYS") && refused.err.contains("hint:"), "{}", refused.err);
    coldforge(["reg", "delete", text(&hive), "A", "--recursive"]).expect(0);
    coldforge(["reg", "get", text(&hive), "A"]).expect(1);
    coldforge(["reg", "check", text(&hive)]).expect(0);
}

#[test]
fn a_full_hive_file_grows() {
    let folder = tempfile::tempdir().unwrap();
    let hive = copy_of("hives/minimal-1.5", folder.path());
    let mut reg = "Windows Registry Editor Version 5.00\n\n".to_owned();
    for number in 0..400 {
        reg.push_str(&format!("[\\Many\\Key{number}]\n\"Value\"=hex:{}\n\n", vec!["5a"; 1024].join(",")));
    }
    let file = folder.path().join("many.reg");
    std::fs::write(&file, reg).unwrap();
    coldforge(["reg", "import", text(&hive), text(&file)]).expect(0);
    let length = hive.metadata().unwrap().len();
    assert!(length > 400 << 10 && length.is_multiple_of(256 << 10), "{length}");
    coldforge(["reg", "check", text(&hive)]).expect(0);
    if let Some(shared) = shared() {
        let done = ask("python3", &[text(&shared.join("check/regf_check.py")), text(&hive)]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

/// Copies the dirty fixture and its logs.
fn dirty(folder: &Path) -> PathBuf {
    for log in ["hives/logged-1.5.LOG1", "hives/logged-1.5.LOG2"] {
        copy_of(log, folder);
    }
    copy_of("hives/logged-1.5", folder)
}

#[test]
fn a_dirty_hive_is_recovered_from_the_logs_beside_it_which_are_zeroed_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let hive = dirty(folder.path());
    let before = sha256(&hive);
    let looked = coldforge(["reg", "get", text(&hive), ""]).expect(0);
    assert!(looked.err.contains("W-HIVE-RECOVERED"), "{}", looked.err);
    assert_eq!(sha256(&hive), before, "looking changes nothing");
    let recovered = folder.path().join("recovered");
    let told = coldforge(["reg", "replay", text(&hive), "-o", text(&recovered)]).expect(0);
    assert!(told.out.contains("replayed, entries"), "{}", told.out);
    assert_eq!(sha256(&hive), before);
    coldforge(["reg", "set", text(&hive), "New", "Value", "1", "--type", "REG_DWORD"]).expect(0);
    for log in ["logged-1.5.LOG1", "logged-1.5.LOG2"] {
        assert!(std::fs::read(folder.path().join(log)).unwrap().iter().all(|byte| *byte == 0), "{log}");
    }
    assert!(!is_dirty(&hive));
    let only = coldforge(["reg", "diff", text(&recovered), text(&hive)]).expect(1);
    assert_eq!(only.out, "+ \\New\n~ \\New!Value: absent -> REG_DWORD 1\n");
    let clean = coldforge(["reg", "replay", text(&recovered)]).expect(0);
    assert_eq!(clean.out, "the hive was clean\n");
}

#[test]
fn a_dirty_hive_without_logs_is_refused_unless_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let hive = copy_of("hives/logged-1.5", folder.path());
    let before = sha256(&hive);
    let refused = coldforge(["reg", "set", text(&hive), "New", "Value", "text"]).expect(3);
    assert!(refused.err.contains("E-HIVE-DIRTY-NO-LOG"), "{}", refused.err);
    assert_eq!(sha256(&hive), before);
    let taken = coldforge(["reg", "set", text(&hive), "New", "Value", "text", "--accept-dirty-hive"]).expect(0);
    assert!(taken.err.contains("W-HIVE-DIRTY-ACCEPTED"), "{}", taken.err);
    coldforge(["reg", "check", text(&hive)]).expect(0);
}

#[test]
fn damage_is_shown_by_check_and_stops_every_edit() {
    let folder = tempfile::tempdir().unwrap();
    let hive = copy_of("hives/bigdata-1.5", folder.path());
    let mut bytes = std::fs::read(&hive).unwrap();
    // The count of subkeys of the root.
    let root = 0x1000 + u32::from_le_bytes(bytes[36..40].try_into().unwrap()) as usize;
    bytes[root + 4 + 20] ^= 1;
    std::fs::write(&hive, bytes).unwrap();
    let before = sha256(&hive);
    let checked = coldforge(["reg", "check", text(&hive)]).expect(1);
    assert!(checked.out.contains("error list at 0x20"), "{}", checked.out);
    let json = coldforge(["reg", "check", "--json", text(&hive)]).expect(1).json();
    assert_eq!(json["hives"][0]["findings"][0]["rule"], "list");
    let refused = coldforge(["reg", "set", text(&hive), "New", "Value", "text"]).expect(3);
    assert!(refused.err.contains("E-HIVE-CORRUPT") && refused.err.contains("reg check"), "{}", refused.err);
    assert_eq!(sha256(&hive), before);
}

#[test]
fn the_registry_of_an_image_is_edited_into_a_new_image() {
    let folder = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", folder.path());
    let before = sha256(&image);
    let out = folder.path().join("out.vhd");
    let key = r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa";
    let set = ["reg", "set", text(&image), key, "RestrictAnonymous", "1", "--type", "REG_DWORD", "-o", text(&out)];
    coldforge(set).expect(0);
    assert_eq!(sha256(&image), before);
    let concrete = r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Control\Lsa";
    assert_eq!(coldforge(["reg", "get", text(&out), concrete, "RestrictAnonymous"]).expect(0).out, "1\n");
    let differing = coldforge(["reg", "diff", text(&image), text(&out), r"HKLM\SYSTEM"]).expect(1);
    assert_eq!(differing.out.lines().count(), 1, "{}", differing.out);
    let again = coldforge(set).expect(2);
    assert!(again.err.contains("exists"), "{}", again.err);
    coldforge(["reg", "check", text(&out)]).expect(0);
    // In place as well, and with an undo journal only as long as it takes.
    let in_place = ["reg", "set", text(&image), key, "RestrictAnonymous", "1", "--type", "REG_DWORD"];
    coldforge(in_place).expect(0);
    assert_eq!(coldforge(["reg", "diff", text(&image), text(&out), r"HKLM\SYSTEM"]).expect(0).out, "");
    assert!(coldforge(in_place).expect(0).err.contains("nothing had to be changed"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    coldforge(["check", text(&image)]).expect(0);
    let exported = coldforge(["reg", "export", text(&out), key]).expect(0);
    assert!(exported.out.contains("[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\Lsa]\n"), "{}", exported.out);
    assert!(exported.out.to_lowercase().contains("\"restrictanonymous\"=dword:00000001\n"));
}

#[test]
fn a_dirty_hive_in_an_image_is_looked_into_without_changing_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--os", "as-is", "--keep-dirty", "--size", "1G"];
    let Some(image) = real_image(folder.path(), "image.raw", &options) else { return };
    let before = sha256(&image.path);
    let looked = coldforge(["reg", "get", text(&image.path), r"HKLM\SYSTEM\Select", "Default"]).expect(0);
    assert!(looked.err.contains("W-HIVE-RECOVERED"), "{}", looked.err);
    assert_eq!((looked.out.as_str(), sha256(&image.path)), ("1\n", before));
}

#[test]
fn what_looks_like_the_head_of_a_bin_inside_a_value_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", folder.path());
    let hive = folder.path().join("SOFTWARE");
    let path = r"\Windows\System32\config\SOFTWARE";
    coldforge(["cat", text(&image), path, "-o", text(&hive)]).expect(0);
    // A value over several pages, then, at each page that begins inside it, the head of a bin that lies there and has
    // one free cell: the keys around it must be found all the same.
    let key = r"Policies\Microsoft\Windows\LanmanWorkstation";
    let zeros = "00".repeat(12_000);
    coldforge(["reg", "set", text(&hive), key, "Blob", &zeros, "--type", "REG_BINARY"]).expect(0);
    coldforge(["reg", "set", text(&hive), key, "AllowInsecureGuestAuth", "1", "--type", "REG_DWORD"]).expect(0);
    let mut bytes = std::fs::read(&hive).unwrap();
    let start = bytes.windows(12_000).position(|part| part.iter().all(|byte| *byte == 0)).unwrap();
    for page in (start.next_multiple_of(0x1000)..start + 12_000 - 40).step_by(0x1000) {
        bytes[page..page + 4].copy_from_slice(b"hbin");
        bytes[page + 4..page + 8].copy_from_slice(&(page as u32 - 0x1000).to_le_bytes());
        bytes[page + 8..page + 12].copy_from_slice(&0x1000u32.to_le_bytes());
        bytes[page + 32..page + 36].copy_from_slice(&0xfe0u32.to_le_bytes());
    }
    std::fs::write(&hive, bytes).unwrap();
    coldforge(["reg", "check", text(&hive)]).expect(0);
    assert_eq!(coldforge(["reg", "get", text(&hive), key, "AllowInsecureGuestAuth"]).expect(0).out, "1\n");
    coldforge(["put", text(&image), text(&hive), path]).expect(0);
    let scan = coldforge(["scan", text(&image), "--only", "WN22-CC-000070", "--json"]).expect(1).json();
    assert_eq!((&scan["totals"]["open"], &scan["totals"]["not_reviewed"]), (&1.into(), &0.into()));
}

#[test]
fn the_link_to_the_control_set_is_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", folder.path());
    let hive = folder.path().join("SYSTEM");
    coldforge(["cat", text(&image), r"\Windows\System32\config\SYSTEM", "-o", text(&hive)]).expect(0);
    let reg = folder.path().join("lsa.reg");
    let lsa = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Lsa";
    std::fs::write(&reg, format!("Windows Registry Editor Version 5.00\n\n[{lsa}]\n\"Mark\"=dword:7\n")).unwrap();
    coldforge(["reg", "import", text(&hive), text(&reg), "--prefix", r"HKEY_LOCAL_MACHINE\SYSTEM"]).expect(0);
    coldforge(["reg", "import", text(&image), text(&reg)]).expect(0);
    let doubled = r"HKLM\SYSTEM\\CurrentControlSet\Control\Lsa";
    coldforge(["reg", "set", text(&image), doubled, "Mark", "8", "--type", "REG_DWORD"]).expect(0);
    for (target, root, mark) in [(&hive, "", "7\n"), (&image, r"HKLM\SYSTEM\", "8\n")] {
        let concrete = format!(r"{root}ControlSet001\Control\Lsa");
        assert_eq!(coldforge(["reg", "get", text(target), &concrete, "Mark"]).expect(0).out, mark);
        let below = coldforge(["reg", "get", text(target), root.trim_end_matches('\\')]).expect(0).out;
        assert!(!below.contains("CurrentControlSet"), "{below}");
    }
}

#[test]
fn a_hive_that_is_named_through_a_link_is_the_same_file_afterwards_and_its_logs_are_found() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let hive = dirty(folder.path());
    let before = hive.metadata().unwrap();
    let beside = tempfile::tempdir().unwrap();
    let link = beside.path().join("SYSTEM");
    std::os::unix::fs::symlink(&hive, &link).unwrap();
    coldforge(["reg", "set", text(&link), "New", "Value", "1", "--type", "REG_DWORD"]).expect(0);
    let after = hive.metadata().unwrap();
    assert_eq!((before.ino(), before.mode(), before.uid()), (after.ino(), after.mode(), after.uid()));
    for log in ["logged-1.5.LOG1", "logged-1.5.LOG2"] {
        assert!(std::fs::read(folder.path().join(log)).unwrap().iter().all(|byte| *byte == 0), "{log}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no journal is left");
}

#[test]
fn only_all_logs_of_a_hive_are_replayed_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let hive = dirty(folder.path());
    let before = sha256(&hive);
    let one = folder.path().join("logged-1.5.LOG1");
    let refused = coldforge(["reg", "replay", text(&hive), text(&one)]).expect(2);
    assert!(refused.err.contains("logged-1.5.LOG2"), "{}", refused.err);
    assert_eq!(sha256(&hive), before);
    coldforge(["reg", "replay", text(&hive), text(&one), "-o", text(&folder.path().join("out"))]).expect(0);
}

#[test]
fn what_cannot_be_done_is_said_with_its_reason() {
    let hive = fixture("hives/minimal-1.5");
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.reg");
    std::fs::write(&wrong, "Windows Registry Editor Version 5.00\n\n[\\A]\n\"x\"=dword:zz\n").unwrap();
    for (words, code, expected) in [
        (vec!["reg", "get", text(&hive), r"HKLM\SOFTWARE"], 2, "leave the root out"),
        (vec!["reg", "set", text(&hive), "A", "B", "x", "--type", "REG_DWORD"], 2, "below 2^32"),
        (vec!["reg", "set", text(&hive), "A", "B", "x", "--type", "REG_WORD"], 2, "no type"),
        (vec!["reg", "import", text(&hive), text(&wrong)], 2, "line 4"),
        (vec!["reg", "import", text(&hive), text(&wrong), "--prefix", "HKLM"], 2, "line 4"),
        (vec!["reg", "export", text(&hive), "Missing"], 1, "no such key"),
        (vec!["reg", "diff", text(&hive), text(&hive), "Missing"], 1, "no such key"),
        (vec!["reg", "get", text(&wrong), "A"], 3, "E-NOT-AN-IMAGE"),
    ] {
        let answer = coldforge(&words);
        assert!(answer.code == code && answer.err.contains(expected), "{words:?}: {} {}", answer.code, answer.err);
    }
}

#[test]
fn a_name_that_text_cannot_carry_ends_no_export() {
    let home = tempfile::tempdir().unwrap();
    let hive = home.path().join("odd");
    let mut odd = Hive::parse(std::fs::read(fixture("hives/minimal-1.5")).unwrap()).unwrap();
    let now = coldforge_base::time::FileTime(1);
    odd.growing(|hive| {
        hive.set_value("Odd\nkey\\Below", "inside", 4, &[1, 0, 0, 0], now)?;
        hive.set_value("Even", "odd\rvalue", 4, &[1, 0, 0, 0], now)?;
        hive.set_value("Even", "even", 4, &[2, 0, 0, 0], now)
    })
    .unwrap();
    odd.seal().unwrap();
    std::fs::write(&hive, odd.bytes()).unwrap();
    let skipped = coldforge(["reg", "export", text(&hive)]).expect(1);
    assert!(skipped.out.contains("[\\Even]\n\"even\"=dword:00000002\n"), "{}", skipped.out);
    assert!(!skipped.out.contains("inside") && !skipped.out.contains("value"), "{}", skipped.out);
    for name in [r"\Odd<U+000A>key", r"\Even!odd<U+000D>value"] {
        assert!(skipped.err.contains(name), "{}", skipped.err);
    }
    let escaped = coldforge(["reg", "export", text(&hive), "--escape-names"]).expect(0);
    assert!(escaped.out.contains("[\\Odd<U+000A>key\\Below]\n\"inside\"=dword:00000001\n"), "{}", escaped.out);
    assert!(escaped.out.contains("\"odd<U+000D>value\"=dword:00000001\n"), "{}", escaped.out);
}

#[test]
fn a_hive_whose_reference_counts_are_merely_wrong_is_taken_when_asked_and_set_right() {
    let home = tempfile::tempdir().unwrap();
    let hive = home.path().join("SOFTWARE");
    let mut bytes = std::fs::read(fixture("hives/minimal-1.5")).unwrap();
    let cell = bytes.windows(4).position(|four| four[..2] == *b"sk" && four[2..] == [0, 0]).unwrap();
    let count = u32::from_le_bytes(bytes[cell + 12..cell + 16].try_into().unwrap());
    bytes[cell + 12..cell + 16].copy_from_slice(&(count + 3).to_le_bytes());
    std::fs::write(&hive, &bytes).unwrap();
    let set = ["reg", "set", text(&hive), "New", "v", "1", "--type", "REG_DWORD"];
    let refused = coldforge(set).expect(3);
    assert!(refused.err.contains("--accept-refcounts"), "{}", refused.err);
    let done = coldforge([&set[..], &["--accept-refcounts"]].concat()).expect(0);
    assert!(done.err.contains("W-HIVE-REFCOUNTS"), "{}", done.err);
    coldforge(["reg", "check", text(&hive)]).expect(0);

    // In an image, the audit log and the proof know of it.
    let image = home.path().join("counts.vhd");
    std::fs::copy(fixture("ws2022.vhd"), &image).unwrap();
    let path = "/Windows/System32/config/SOFTWARE";
    let taken = home.path().join("taken");
    coldforge(["cat", text(&image), path, "-o", text(&taken)]).expect(0);
    let mut bytes = std::fs::read(&taken).unwrap();
    let cell = bytes.windows(4).position(|four| four[..2] == *b"sk" && four[2..] == [0, 0]).unwrap();
    let count = u32::from_le_bytes(bytes[cell + 12..cell + 16].try_into().unwrap());
    bytes[cell + 12..cell + 16].copy_from_slice(&(count - 1).to_le_bytes());
    std::fs::write(&taken, &bytes).unwrap();
    coldforge(["put", text(&image), text(&taken), path]).expect(0);
    let out = home.path().join("out");
    let run = ["harden", text(&image), "-o", text(&out), "--fail-on", "none"];
    let refused = coldforge(run).expect(3);
    assert!(refused.err.contains("E-HIVE-CORRUPT") && refused.err.contains("--accept-refcounts"), "{}", refused.err);
    let done = coldforge([&run[..], &["--accept-refcounts"]].concat()).expect(0);
    assert!(done.err.contains("W-HIVE-REFCOUNTS") || done.out.contains("W-HIVE-REFCOUNTS"), "{}{}", done.out, done.err);
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    coldforge(["reg", "check", text(&out.join("counts.vhd"))]).expect(0);
}
