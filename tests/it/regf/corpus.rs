//! Every real hive of the corpus: accepted or refused as recorded, judged as the independent checker judges it, and
//! read as a foreign reader reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use coldforge_base::Failure as _;
use coldforge_regf::Hive;

use super::{cleaned, hives, judge, keys, own_findings, parse, real};
use crate::support::{Seeded, ask, oracle};

/// The hives that are not accepted as they are, with the code of the refusal or the beginning of the error.
const REFUSED: &[(&str, &str)] = &[
    ("dfwinreg__SOFTWARE", "E-HIVE-DIRTY"),
    ("dfwinreg__SYSTEM", "E-HIVE-DIRTY"),
    ("plaso__winreg__Amcache.hve", "E-HIVE-DIRTY"),
    ("regipy__SECURITY", "E-HIVE-DIRTY"),
    ("regipy__SYSTEM_B", "E-HIVE-DIRTY"),
    ("regipy__SYSTEM_WIN_10_1709", "E-HIVE-DIRTY"),
    ("regipy__corrupted_system_hive", "no bin header at 0x19000"),
    ("regipy__transactions_NTUSER.DAT", "E-HIVE-DIRTY"),
    ("velociraptor__Amcache.hve", "E-HIVE-DIRTY"),
    ("yarp__BadBaseBlockHive__BadBaseBlockHive", "the base block's checksum"),
    ("yarp__BadLogHive1__BadLogHive", "E-HIVE-DIRTY"),
    ("yarp__EffectiveSizeHive", "the base block's checksum"),
    ("yarp__NewDirtyHive1__NewDirtyHive", "E-HIVE-DIRTY"),
    ("yarp__OldDirtyHive__OldDirtyHive", "E-HIVE-DIRTY"),
    ("yarp__TruncatedHive", "the bins' size 0x77000"),
];

/// Hives that are accepted although something in them is damaged; a verdict on them must be an error.
const DAMAGED: &[&str] = &[
    "plaso__regf__corrupt_sub_key_list.hiv",
    "yarp__BadListHive",
    "yarp__CompHive",
    "yarp__TruncatedNameHive",
    "yarp__WrongOrderHive",
];

/// Findings that one side has and the checker has not, with the reason why that is no fault.
const MORE_FINDINGS: &[(&str, (&str, &str), &str)] = &[(
    "yarp__BadListHive",
    ("error", "parent"),
    "two keys share a list: the checker goes into the last one first, and the other's child is not looked at",
)];

/// Returns the corpus's hives by name; logs are none.
fn files() -> Option<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(hives()?).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.to_lowercase().contains(".log") {
            files.insert(name, std::fs::read(path).unwrap());
        }
    }
    Some(files)
}

/// Writes hives that can be parsed, clean, into `folder`; returns their paths. The largest takes the checker too long
/// to be judged here as well: it is judged after its edit.
fn written(folder: &Path) -> Option<BTreeMap<PathBuf, Hive>> {
    let mut written = BTreeMap::new();
    for (name, bytes) in files()?.into_iter().filter(|(name, _)| name != "dfwinreg__SOFTWARE") {
        let bytes = cleaned(bytes);
        if let Ok(hive) = Hive::parse(bytes.clone()) {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            written.insert(path, hive);
        }
    }
    Some(written)
}

#[test]
fn every_hive_is_accepted_or_refused_as_recorded() {
    let Some(files) = files() else { return };
    let refused: BTreeMap<&str, &str> = REFUSED.iter().copied().collect();
    assert!(refused.keys().all(|name| files.contains_key(*name)), "the table names a hive that is not there");
    for (name, bytes) in &files {
        let answer = Hive::parse(bytes.clone()).map(|_| ()).map_err(|error| (error.code(), error.to_string()));
        match (answer, refused.get(name.as_str())) {
            (Ok(()), None) => {}
            (Err((code, text)), Some(expected)) => {
                assert!(code == Some(expected) || text.starts_with(expected), "{name}: {code:?} {text}");
            }
            (answer, expected) => panic!("{name}: {answer:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn every_verdict_and_every_count_is_the_checkers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(hives) = written(folder.path()) else { return };
    let paths: Vec<PathBuf> = hives.keys().cloned().collect();
    let Some(verdicts) = judge(&paths) else { return };
    for (path, hive) in &hives {
        let (name, verdict) = (path.file_name().unwrap().to_str().unwrap(), &verdicts[path]);
        let found = own_findings(hive);
        let mut expected = verdict.findings.clone();
        for (_, (severity, code), _) in MORE_FINDINGS.iter().filter(|more| more.0 == name) {
            expected.push(((*severity).to_owned(), (*code).to_owned()));
        }
        expected.sort();
        assert_eq!(found, expected, "{name}: {}", verdict.text);
        let damaged = found.iter().any(|(severity, _)| severity == "error");
        assert_eq!(damaged, DAMAGED.contains(&name), "{name}");
        if !damaged {
            let keys = keys(hive);
            let values: usize = keys.iter().map(|(_, key)| key.values().unwrap().map(Result::unwrap).count()).sum();
            assert_eq!((keys.len() as u64, values as u64), (verdict.keys, verdict.values), "{name}");
        }
    }
}

#[test]
fn the_upper_case_of_names_is_the_checkers() {
    let Some(shared) = crate::support::shared() else { return };
    let script = "import sys, regf_check as r; sys.stdout.write(' '.join('%d' % ord(r.upcase(chr(c))) \
                  for c in range(0x10000) if not 0xd800 <= c < 0xe000))";
    let folder = shared.join("check");
    let answer = ask("env", &["-C", folder.to_str().unwrap(), "python3", "-B", "-c", script]);
    let upper: Vec<u32> =
        String::from_utf8(answer.stdout).unwrap().split(' ').map(|code| code.parse().unwrap()).collect();
    let codes: Vec<u32> = (0..0x1_0000).filter(|code| !(0xd800..0xe000).contains(code)).collect();
    assert_eq!(codes.len(), upper.len());
    // A hive with one key per character finds exactly those keys by a name whose case is the other one.
    let Some(bytes) = real("yarp__ManySubkeysHive") else { return };
    let mut hive = parse(&bytes);
    let mut asked = 0;
    for (code, upper) in codes.into_iter().zip(upper).filter(|(code, upper)| code != upper && code % 7 == 0) {
        let name = |code| format!("n{}", char::from_u32(code).unwrap());
        hive.create_key(&name(upper), coldforge_base::time::FileTime(1)).unwrap();
        assert!(hive.key(&name(code)).unwrap().is_some(), "{code:#x} and {upper:#x}");
        asked += 1;
    }
    assert!(asked > 100, "{asked}");
}

#[test]
fn keys_and_data_are_those_that_hivexregedit_reads() {
    let Some(folder) = hives().filter(|_| oracle("hivexregedit")) else { return };
    for name in [
        "dfwinreg2019__SYSTEM",
        "dfwinreg__NTUSER.DAT",
        "dfwinreg__SAM",
        "nt-hive__testhive",
        "python-registry__UNICODE_TESTS",
        "velociraptor__SAM",
        "yarp__ManySubkeysHive",
    ] {
        let path = folder.join(name);
        let hive = parse(&cleaned(std::fs::read(&path).unwrap()));
        let (own, theirs) = (lines(&hive), exported(&path));
        let differing = own.iter().zip(&theirs).find(|(own, theirs)| own != theirs);
        assert!(own == theirs, "{name}: {} and {} lines, first {differing:?}", own.len(), theirs.len());
    }
}

/// Returns every key and value of a hive as hivexregedit prints them, sorted.
pub(super) fn lines(hive: &Hive) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (path, key) in keys(hive) {
        lines.push(format!("[\\{path}]"));
        for value in key.values().unwrap().map(Result::unwrap) {
            lines.push(line(&path, &value.name().to_string(), value.kind(), &value.data().unwrap()));
        }
    }
    lines.sort();
    lines
}

/// Returns what hivexregedit prints of a hive file, each value behind the path of its key, sorted.
pub(super) fn exported(path: &Path) -> Vec<String> {
    let answer = ask("hivexregedit", &["--export", path.to_str().unwrap(), "\\"]);
    let mut path = String::new();
    let mut lines: Vec<String> = Vec::new();
    // Perl writes a line as Latin-1 unless one of its characters is not.
    let text = |line: &[u8]| {
        String::from_utf8(line.to_vec()).unwrap_or_else(|_| line.iter().map(|byte| char::from(*byte)).collect())
    };
    for line in answer.stdout.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()).map(text) {
        match line.strip_prefix("[\\").and_then(|line| line.strip_suffix(']')) {
            Some(key) => {
                key.clone_into(&mut path);
                lines.push(line.clone());
            }
            None => lines.push(format!("{path} {line}")),
        }
    }
    lines.sort();
    lines
}

/// Returns a value as hivexregedit prints it, behind the path of its key.
fn line(path: &str, name: &str, kind: u32, data: &[u8]) -> String {
    let name = match name {
        "" => "@".to_owned(),
        _ => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    let mut line = format!("{path} {name}=");
    match <[u8; 4]>::try_from(data) {
        Ok(data) if kind == 4 => write!(line, "dword:{:08x}", u32::from_le_bytes(data)).unwrap(),
        _ => {
            let hex: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
            write!(line, "hex({kind:x}):{}", hex.join(",")).unwrap();
        }
    }
    line
}

#[test]
fn planted_damage_is_judged_as_the_checker_judges_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut seeded = Seeded(20);
    let mut mutants: BTreeMap<PathBuf, Hive> = BTreeMap::new();
    for name in ["yarp__BigDataHive", "hivex__special", "python-registry__UNICODE_TESTS", "yarp__FuseHive"] {
        let Some(good) = real(name) else { return };
        let mut structures: Vec<usize> = Vec::new();
        for signature in [b"nk", b"vk", b"sk", b"lf", b"lh", b"db"] {
            structures.extend(good.windows(2).enumerate().filter(|(_, two)| two == signature).map(|(at, _)| at));
        }
        for number in 0..150 {
            // Damage in a structure's head, most often in one byte of a field.
            let mut bytes = good.clone();
            let at = structures[seeded.below(structures.len() as u64) as usize] + seeded.below(80) as usize;
            let byte = match seeded.below(4) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ 1 << seeded.below(8),
                _ => seeded.next() as u8,
            };
            bytes[at] = byte;
            if let Ok(hive) = Hive::parse(bytes.clone()) {
                let path = folder.path().join(format!("{name}-{number}"));
                std::fs::write(&path, bytes).unwrap();
                mutants.insert(path, hive);
            }
        }
    }
    let paths: Vec<PathBuf> = mutants.keys().cloned().collect();
    let Some(verdicts) = judge(&paths) else { return };
    let (mut damaged, mut sound) = (0, 0);
    for (path, hive) in &mutants {
        let (own, theirs) = (own_findings(hive), &verdicts[path].findings);
        let bad = |findings: &[(String, String)]| findings.iter().any(|(severity, _)| severity == "error");
        assert_eq!(bad(&own), bad(theirs), "{}: {own:?}, checker {}", path.display(), verdicts[path].text);
        *if bad(theirs) { &mut damaged } else { &mut sound } += 1;
    }
    assert!(damaged > 150 && sound > 150, "{damaged} damaged, {sound} sound");
}
