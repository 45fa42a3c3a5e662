//! Edits on real hives of both minor versions, judged by the independent checker and read by foreign readers.

use coldforge_base::time::FileTime;
use coldforge_base::{Extent, Failure as _};
use coldforge_regf::{Error, Hive};

use super::{cleaned, judge_bytes, keys, own_findings, parse, real};
use crate::support::{Seeded, ask, oracle};

/// Real hives with room behind their bins: SYSTEM, SOFTWARE, NTUSER and SAM, Windows XP to 10.
const HIVES: &[&str] = &[
    "dfwinreg2019__SYSTEM",
    "dfwinreg__NTUSER.DAT",
    "dfwinreg__SAM",
    "dfwinreg__SYSTEM",
    "regipy__SYSTEM_WIN_10_1709",
    "regipy__transactions_NTUSER.DAT",
    "velociraptor__Amcache.hve",
    "yarp__ManySubkeysHive",
    "yarp__NewFlagsHive",
];

/// 2024-01-01.
const NOW: FileTime = FileTime(133_485_408_000_000_000);

/// A value to be set: path, name, type, data.
type Set = (String, String, u32, Vec<u8>);

/// Returns the edits that every hive takes: values of every form in new keys with names of every form, and every
/// tenth of the hive's own first thousand values made longer, shorter, or of another type.
fn sets(hive: &Hive) -> Vec<Set> {
    let bytes = |length: usize| (0..length).map(|at| (at % 253) as u8).collect::<Vec<u8>>();
    let mut sets: Vec<Set> = [0, 1, 4, 5, 400, 16_344]
        .into_iter()
        .map(|length| (r"Policies\Cold Forge\Längen".to_owned(), format!("v{length}"), 3, bytes(length)))
        .collect();
    sets.push((r"Policies\Cold Forge".to_owned(), String::new(), 1, b"x\0\0\0".to_vec()));
    sets.push((r"Policies\Ж€".to_owned(), "Имя".to_owned(), 0xffff_0007, bytes(9)));
    let mut own = Vec::new();
    for (path, key) in keys(hive) {
        for value in key.values().unwrap().map(Result::unwrap) {
            own.push((path.clone(), value.name().to_string(), value.kind(), value.data().unwrap().into_owned()));
        }
        if own.len() > 1000 {
            break;
        }
    }
    for (number, (path, name, kind, mut data)) in own.into_iter().step_by(10).enumerate() {
        match number % 4 {
            0 => data.extend_from_slice(&[0x5a; 7]),
            1 => data.truncate(data.len() / 2),
            2 => data = bytes(data.len()),
            _ => data = vec![1, 0, 0, 0],
        }
        sets.push((path, name, if number % 3 == 0 { 4 } else { kind }, data));
    }
    sets
}

/// Tells whether two files differ only inside `touched`.
fn differ_only_in(before: &[u8], now: &[u8], touched: &[Extent]) -> bool {
    let mut masked = now.to_vec();
    for extent in touched {
        let range = extent.offset as usize..extent.end() as usize;
        masked[range.clone()].copy_from_slice(&before[range]);
    }
    masked == before
}

#[test]
fn an_edited_real_hive_gives_the_checker_nothing_new_and_every_reader_the_new_values() {
    let folder = tempfile::tempdir().unwrap();
    for name in HIVES {
        let Some(original) = real(name) else { return };
        let mut hive = parse(&original);
        let sets = sets(&hive);
        let mut made = Vec::new();
        for (path, name_, kind, data) in &sets {
            match hive.set_value(path, name_, *kind, data, NOW) {
                Ok(_) => made.push((path, name_, *kind, data)),
                Err(error) => assert!(matches!(error, Error::Full { .. }), "{name}: {path} {name_}: {error}"),
            }
        }
        assert!(made.len() + 2 >= sets.len(), "{name} takes {} of {}", made.len(), sets.len());
        let deleted = hive.delete_value(r"Policies\Cold Forge\Längen", "V4", NOW).unwrap().expect("was set");
        assert_eq!(deleted.before.map(|(kind, data)| (kind, data.len())), Some((3, 4)));
        made.retain(|(_, name, ..)| *name != "v4");
        hive.seal().unwrap();
        let edited = hive.bytes().to_vec();
        assert_eq!(edited.len(), original.len(), "{name}");
        assert!(differ_only_in(&original, &edited, &hive.touched()), "{name}");
        assert_eq!(
            hive.verify().iter().map(ToString::to_string).collect::<Vec<_>>(),
            old_warnings(&original),
            "{name}"
        );

        // Read again from the bytes alone; what is so already is not written.
        let mut again = parse(&edited);
        for (path, value, kind, data) in &made {
            let found = again.key(path).unwrap().expect("made").value(value).unwrap().expect("set");
            assert_eq!((found.kind(), &*found.data().unwrap()), (*kind, data.as_slice()), "{name}: {path} {value}");
            let edit = again.set_value(path, value, *kind, data, FileTime(1)).unwrap();
            assert!(edit.is_unchanged() && edit.before.is_some(), "{name}: {path} {value}");
        }
        assert_eq!(again.seal().unwrap(), []);
        assert_eq!(again.bytes(), edited, "{name}");

        if let Some(verdict) = judge_bytes(folder.path(), "edited", &edited) {
            // The checker's verdict on each hive before is our own: another test compares them.
            assert_eq!(verdict.findings, own_findings(&parse(&original)), "{name}: {}", verdict.text);
            foreign_readers(name, folder.path().join("edited").to_str().unwrap());
        }
    }
}

/// Returns what the verifier says of a hive as it was.
fn old_warnings(bytes: &[u8]) -> Vec<String> {
    parse(bytes).verify().iter().map(ToString::to_string).collect()
}

/// Asks hivexget, hivexregedit and reged for the values that were set.
fn foreign_readers(name: &str, path: &str) {
    let text = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    if oracle("hivexget") {
        let lines = text(ask("hivexget", &[path, r"\Policies\Cold Forge"]));
        assert!(lines.contains("\"@\"=\"x\""), "{name}: {lines}");
        let lines = text(ask("hivexget", &[path, r"\Policies\Ж€"]));
        assert!(lines.contains("\"Имя\"=hex(4294901767):00,01,02,03,04,05,06,07,08"), "{name}: {lines}");
    }
    if oracle("hivexregedit") {
        let lines = text(ask("hivexregedit", &["--export", path, r"\Policies\Cold Forge"]));
        for expected in ["\"v0\"=hex(3):\n", "\"v1\"=hex(3):00\n", "\"v5\"=hex(3):00,01,02,03,04\n"] {
            assert!(lines.contains(expected), "{name}: {expected} in {lines}");
        }
        assert!(!lines.contains("\"v4\"") && lines.contains("\"v16344\"=hex(3):00,01"), "{name}");
    }
    // Not a value whose name is beyond Latin-1: reged aborts on each, also on those that Windows wrote.
    if oracle("reged") {
        let output = format!("{path}.reg");
        let answer = text(ask("reged", &["-x", path, "HKLM", r"\Policies\Cold Forge", &output]));
        let lines = std::fs::read(&output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let lines = lines.unwrap_or_else(|error| panic!("{name}: {error}: {answer}"));
        assert!(lines.contains("Cold Forge") && lines.contains("\"v5\"=hex:00,01,02,03,04"), "{name}: {lines}");
        let _ = std::fs::remove_file(output);
    }
}

#[test]
fn an_edit_of_the_largest_hive_is_judged_clean() {
    let folder = tempfile::tempdir().unwrap();
    let Some(original) = real("dfwinreg__SOFTWARE") else { return };
    let mut hive = parse(&original);
    let path = r"Microsoft\Windows\CurrentVersion\Policies\System";
    let edits = [
        hive.set_value(path, "EnableLUA", 4, &[0, 0, 0, 0], NOW).unwrap(),
        hive.set_value(path, "InactivityTimeoutSecs", 4, &900u32.to_le_bytes(), NOW).unwrap(),
        hive.set_value(r"Policies\Microsoft\Windows\New\Key", "Long", 3, &[9; 20_000], NOW).unwrap(),
    ];
    // Four bytes in the value and the key's time: nothing else.
    assert_eq!(edits[0].touched.iter().map(|extent| extent.length).sum::<u64>().div_ceil(16), 1, "{:?}", edits[0]);
    hive.seal().unwrap();
    assert!(differ_only_in(&original, hive.bytes(), &hive.touched()));
    assert!(hive.verify().is_empty());
    if let Some(verdict) = judge_bytes(folder.path(), "SOFTWARE", hive.bytes()) {
        let keys = keys(&hive);
        let values: usize = keys.iter().map(|(_, key)| key.values().unwrap().map(Result::unwrap).count()).sum();
        assert_eq!((verdict.findings, verdict.keys, verdict.values), (vec![], keys.len() as u64, values as u64));
    }
}

/// Returns a real empty hive of Windows, said to be of another minor version: without lists both are the same.
fn empty(minor: u8) -> Option<Vec<u8>> {
    let mut bytes = real("yarp__EmptyHive")?;
    bytes[24] = minor;
    bytes[8] ^= 1; // out of order, so that `cleaned` makes the checksum right
    Some(cleaned(bytes))
}

#[test]
fn many_keys_and_long_values_are_judged_clean_on_both_minor_versions() {
    let folder = tempfile::tempdir().unwrap();
    for minor in [3, 5] {
        let Some(original) = empty(minor) else { return };
        let mut hive = parse(&original);
        let mut numbers: Vec<u64> = (0..2000).collect();
        let mut seeded = Seeded(u64::from(minor));
        while let Some(number) = (!numbers.is_empty()).then(|| seeded.below(numbers.len() as u64) as usize) {
            let key = format!("m\\{}", numbers.swap_remove(number));
            if numbers.len() > 100 {
                hive.create_key(&key, NOW).unwrap();
            } else {
                // The last ones still fit, with a value each.
                hive.set_value(&key, "", 4, &[1, 0, 0, 0], NOW).unwrap();
            }
        }
        hive.seal().unwrap();
        assert!(differ_only_in(&original, hive.bytes(), &hive.touched()));
        let Some(verdict) = judge_bytes(folder.path(), "many", hive.bytes()) else { return };
        assert_eq!((verdict.findings, verdict.keys, verdict.values), (vec![], 2002, 101), "{}", verdict.text);

        let mut hive = parse(&original);
        let data: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
        for length in [0, 1, 4, 5, 16_344, 16_345, 100_000] {
            hive.set_value("values", &format!("v{length}"), 3, &data[..length], NOW).unwrap();
        }
        hive.set_value("values", "v100000", 3, &data[..16_340], NOW).unwrap();
        hive.set_value("values", "v16345", 3, &data[..50_000], NOW).unwrap();
        hive.set_value("values", "v16344", 3, &data[..16_346], NOW).unwrap();
        hive.seal().unwrap();
        let verdict = judge_bytes(folder.path(), "long", hive.bytes()).expect("the checker was there");
        assert_eq!((verdict.findings, verdict.values), (vec![], 7), "{}", verdict.text);
        let path = folder.path().join("long");
        let answer = ask("hivexregedit", &["--export", path.to_str().unwrap(), r"\values"]);
        let lines = String::from_utf8(answer.stdout).unwrap();
        for (name, length) in [("v100000", 16_340), ("v16344", 16_346), ("v16345", 50_000)] {
            let hex: Vec<String> = data[..length].iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(lines.contains(&format!("\"{name}\"=hex(3):{}\n", hex.join(","))), "{minor}: {name}");
        }
    }
}

#[test]
fn a_full_hive_refuses_by_name_and_keeps_every_byte() {
    let Some(original) = real("regipy__NTUSER-WSL.DAT") else { return };
    let mut hive = parse(&original);
    let error = hive.set_value(r"A\B\C", "v", 3, &[1; 100_000], NOW).unwrap_err();
    assert_eq!((error.code(), error.hint().is_some()), (Some("E-HIVE-FULL"), true));
    assert_eq!(hive.bytes(), original);
    assert!(hive.touched().is_empty() && hive.seal().unwrap().is_empty());
    hive.set_value(r"A\B\C", "v", 3, &[1; 100], NOW).unwrap();
    assert_eq!(hive.verify(), []);
}
