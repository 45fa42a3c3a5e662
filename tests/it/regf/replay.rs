//! Replay of transaction logs: as Windows recovered the same hives, and as the independent checker replays them.

use std::path::Path;

use coldforge::base::time::FileTime;
use coldforge::base::{Extent, Failure as _, Kind};
use coldforge::regf::{End, Error, Hive, Ignored, Log, LogReport, Outcome, Recovered};

use super::{hives, own_findings};
use crate::support::{ask, fixture, oracle, shared};

/// A hive and its logs, by name.
struct Set {
    primary: Vec<u8>,
    logs: Vec<(String, Vec<u8>)>,
}

impl Set {
    /// Reads a hive and the logs called by it, and checks that their names say so.
    fn read(folder: &Path, hive: &str, suffixes: &[&str]) -> Self {
        let log = |suffix: &&str| {
            let name = format!("{hive}{suffix}");
            assert!(Log::is_named_for(&name, hive), "{name}");
            let bytes = std::fs::read(folder.join(&name)).unwrap();
            (name, bytes)
        };
        Self { primary: std::fs::read(folder.join(hive)).unwrap(), logs: suffixes.iter().map(log).collect() }
    }

    fn fixture() -> Self {
        Self::read(&fixture("hives"), "logged-1.5", &[".LOG1", ".LOG2"])
    }

    fn real(hive: &str, suffixes: &[&str]) -> Option<Self> {
        Some(Self::read(&hives()?, hive, suffixes))
    }

    fn recover(&self) -> Result<Recovered, Error> {
        let logs: Vec<Log<'_>> = self.logs.iter().map(|(name, bytes)| Log { name, bytes }).collect();
        let forwards = Hive::recover(self.primary.clone(), &logs);
        let backwards = Hive::recover(self.primary.clone(), &logs.into_iter().rev().collect::<Vec<_>>());
        match (&forwards, &backwards) {
            (Ok(forwards), Ok(backwards)) => {
                assert!(forwards.hive.bytes() == backwards.hive.bytes(), "the order of logs does not matter");
                assert_eq!(forwards.replay, backwards.replay);
                assert!(forwards.logs.iter().eq(backwards.logs.iter().rev()));
            }
            (Err(forwards), Err(backwards)) => assert_eq!(forwards.code(), backwards.code()),
            _ => panic!("{forwards:?} and {backwards:?}"),
        }
        forwards
    }

    /// Recovers, and checks that what the report tells is what happened.
    fn recovered(&self) -> Recovered {
        let recovered = self.recover().unwrap_or_else(|error| panic!("{error}"));
        let replay = recovered.replay.as_ref().expect("the hive was dirty");
        let (before, now) = (&self.primary, recovered.hive.bytes());
        assert_eq!(replay.grown_to, (now.len() > before.len()).then_some(now.len() as u64));
        assert_eq!(recovered.hive.touched(), replay.changed);
        let mut masked = now.to_vec();
        for extent in &replay.changed {
            let range = extent.offset as usize..extent.end() as usize;
            let old = before.get(range.start..range.end.min(before.len())).unwrap_or_default();
            if range.end <= before.len() {
                assert_ne!(old.first(), now[range.clone()].first(), "an extent begins with a changed byte");
                assert_ne!(old.last(), now[range.clone()].last(), "an extent ends with a changed byte");
            }
            masked[range.start..range.start + old.len()].copy_from_slice(old);
            let inside = |pages: &Extent| pages.offset <= extent.offset && extent.end() <= pages.end();
            let explained = extent.end() <= 512 || extent.end() > before.len() as u64;
            assert!(explained || replay.pages.iter().any(inside), "{extent:?} is no page's");
        }
        assert!(masked[..before.len()] == before[..], "every other byte is as it was");
        let word = |at: usize| u32::from_le_bytes(now[at..at + 4].try_into().unwrap());
        assert_eq!(word(4), word(8));
        recovered
    }
}

/// Returns a hive file after the independent checker's replay, and what it says it did.
fn checkers_replay(folder: &Path, set: &Set) -> Option<(Vec<u8>, String)> {
    let script = "import sys, regf_check as r; read = lambda name: open(name, 'rb').read(); \
                  bytes, what = r.replay(read(sys.argv[2]), [read(log) for log in sys.argv[3:]]); \
                  open(sys.argv[1], 'wb').write(bytes); sys.stdout.write(str(what))";
    let check = shared()?.join("check");
    if !oracle("python3") {
        return None;
    }
    let (out, hive) = (folder.join("out"), folder.join("hive"));
    std::fs::write(&hive, &set.primary).unwrap();
    let mut arguments = vec!["-C".to_owned(), check.to_str().unwrap().to_owned()];
    arguments.extend(["python3", "-B", "-c", script].map(str::to_owned));
    arguments.extend([&out, &hive].map(|path| path.to_str().unwrap().to_owned()));
    for (number, (_, bytes)) in set.logs.iter().enumerate() {
        let path = folder.join(format!("log{number}"));
        std::fs::write(&path, bytes).unwrap();
        arguments.push(path.to_str().unwrap().to_owned());
    }
    let answer = ask("env", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    Some((std::fs::read(out).unwrap(), String::from_utf8(answer.stdout).unwrap()))
}

fn outcomes(logs: &[LogReport]) -> Vec<Outcome> {
    logs.iter().map(|log| log.outcome).collect()
}

#[test]
fn the_logged_fixture_becomes_what_its_log_says() {
    let recovered = Set::fixture().recovered();
    let (hive, replay) = (recovered.hive, recovered.replay.unwrap());
    assert_eq!(hive.key("Alpha").unwrap().unwrap().value("Number").unwrap().unwrap().data().unwrap()[..], [6, 0, 0, 0]);
    assert!(hive.key(r"Alpha\Added").unwrap().is_some());
    assert_eq!(own_findings(&hive), []);
    assert_eq!(hive.bytes()[4..12], [19, 0, 0, 0, 19, 0, 0, 0]);
    assert_eq!((replay.entries, replay.grown_to, replay.base_block_from), (Some((17, 18)), Some(0x4000), None));
    assert_eq!(replay.pages, [Extent::new(0x1000, 0x800), Extent::new(0x2000, 0x2000)]);
    assert_eq!(
        outcomes(&recovered.logs),
        [
            Outcome::Replayed { entries: Some((17, 18)), pages: 21, end: Some(End::NoEntry) },
            Outcome::Ignored(Ignored::Stale { first: 12, hive: 16 }),
        ]
    );
}

#[test]
fn a_recovered_hive_can_be_edited_and_its_touched_ranges_are_those_of_both() {
    let set = Set::fixture();
    let mut hive = set.recovered().hive;
    let changed = hive.touched();
    let edit = hive.set_value("Beta", "late", 4, &[1, 0, 0, 0], FileTime(1)).unwrap();
    hive.seal().unwrap();
    assert_eq!(own_findings(&hive), []);
    assert_eq!(hive.bytes()[4..12], [20, 0, 0, 0, 20, 0, 0, 0]);
    let covered = |extent: &Extent| hive.touched().iter().any(|t| t.offset <= extent.offset && extent.end() <= t.end());
    assert!(changed.iter().chain(&edit.touched).all(covered));
}

#[test]
fn real_dirty_hives_become_what_the_checker_makes_of_them() {
    let folder = tempfile::tempdir().unwrap();
    for (hive, suffixes, entries, bins_len, errors) in [
        ("regipy__SYSTEM_B", &[".LOG1", ".LOG2"][..], Some((2107, 2130)), 0xc0_2000, 0),
        ("yarp__NewDirtyHive1__NewDirtyHive", &[".LOG1", ".LOG2"], Some((2, 5)), 0x5000, 0),
        ("yarp__OldDirtyHive__OldDirtyHive", &[".LOG1"], None, 0x7_7000, 0),
    ] {
        let Some(set) = Set::real(hive, suffixes) else { return };
        let Some((bytes, what)) = checkers_replay(folder.path(), &set) else { return };
        assert_ne!(what, "None", "{hive}");
        let recovered = set.recovered();
        assert!(recovered.hive.bytes() == bytes, "{hive}: {what}");
        assert_eq!(recovered.replay.unwrap().entries, entries, "{hive}");
        assert_eq!(bytes[40..44], u32::to_le_bytes(bins_len), "{hive}");
        let findings = own_findings(&recovered.hive);
        assert_eq!(findings.iter().filter(|finding| finding.0 == "error").count(), errors, "{hive}: {findings:?}");
        assert!(recovered.logs.iter().all(|log| matches!(log.outcome, Outcome::Replayed { .. })), "{hive}");
    }
}

#[test]
fn a_users_hive_takes_the_log_that_is_not_stale_whatever_the_case_of_its_name() {
    let Some(folder) = hives() else { return };
    let (hive, names) = (
        "regipy__transactions_NTUSER.DAT",
        ["regipy__transactions_ntuser.dat.log1", "regipy__transactions_ntuser.dat.log2"],
    );
    assert!(names.iter().all(|name| Log::is_named_for(name, hive)));
    let log = |name: &str| (name.to_owned(), std::fs::read(folder.join(name)).unwrap());
    let set = Set { primary: std::fs::read(folder.join(hive)).unwrap(), logs: names.map(log).into() };
    let recovered = set.recovered();
    assert_eq!(recovered.replay.as_ref().unwrap().entries, Some((566, 588)));
    assert_eq!(recovered.logs[1].outcome, Outcome::Ignored(Ignored::Stale { first: 562, hive: 566 }));
    assert!(own_findings(&recovered.hive).iter().all(|finding| finding.0 != "error"));
    let oracles = tempfile::tempdir().unwrap();
    let Some((bytes, _)) = checkers_replay(oracles.path(), &set) else { return };
    assert!(recovered.hive.bytes() == bytes);
}

#[test]
fn the_result_is_that_of_windows_10() {
    let name = "yarp__NewDirtyHive1__NewDirtyHive";
    let Some(set) = Set::real(name, &[".LOG1", ".LOG2"]) else { return };
    let windows = std::fs::read(hives().unwrap().join("yarp__NewDirtyHive1__RecoveredHive_Windows10")).unwrap();
    assert!(set.recovered().hive.bytes() == windows);
}

#[test]
fn the_result_is_that_of_windows_7_but_for_what_it_did_with_the_hive_afterwards() {
    let Some(set) = Set::real("yarp__OldDirtyHive__OldDirtyHive", &[".LOG1"]) else { return };
    let windows = std::fs::read(hives().unwrap().join("yarp__OldDirtyHive__RecoveredHive_Windows7")).unwrap();
    let recovered = set.recovered();
    let ours = recovered.hive.bytes();
    assert_eq!(ours.len(), windows.len());
    let differing: Vec<usize> = (0..ours.len()).filter(|at| ours[*at] != windows[*at]).collect();
    // Windows loaded it from another folder, unloaded it again (one more sequence number, and the time), and noted an
    // access to one key.
    let explained = |at: &usize| {
        matches!(at, 4 | 8 | 12..20 | 48..112 | 508..512) || (0x1014..0x101c).contains(at) || *at == 0x6_bdc8
    };
    assert!(differing.iter().all(explained), "{differing:x?}");
    assert_eq!((ours[4], windows[4]), (6, 7));
}

#[test]
fn a_log_with_a_wrong_checksum_does_not_recover_a_hive() {
    let Some(set) = Set::real("yarp__BadLogHive1__BadLogHive", &[".LOG1"]) else { return };
    let error = set.recover().err().unwrap();
    assert_eq!((error.kind(), error.code()), (Kind::Refused, Some("E-HIVE-DIRTY-NO-LOG")));
    let Error::DirtyNoLog { primary: 5, secondary: 4, logs } = &error else { panic!("{error:?}") };
    assert_eq!(outcomes(logs), [Outcome::Ignored(Ignored::Checksum)]);
    assert!(error.to_string().ends_with("BadLogHive.LOG1: ignored, its base block's checksum is wrong"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_lost_base_block_is_taken_from_the_log() {
    let Some(set) = Set::real("yarp__BadBaseBlockHive__BadBaseBlockHive", &[".LOG1"]) else { return };
    let recovered = set.recovered();
    let whole = Set::real("yarp__OldDirtyHive__OldDirtyHive", &[".LOG1"]).unwrap().recovered();
    assert!(recovered.hive.bytes() == whole.hive.bytes(), "as if the base block had been there");
    let from = recovered.replay.unwrap().base_block_from;
    assert_eq!(from.as_deref(), Some("yarp__BadBaseBlockHive__BadBaseBlockHive.LOG1"));
    let alone = Hive::recover(set.primary, &[]).err().unwrap();
    assert!(matches!(alone, Error::Checksum { .. }), "{alone}");
}

#[test]
fn a_clean_hive_is_the_file_as_it_is_and_ignores_its_logs() {
    let Some(set) = Set::real("dfwinreg__NTUSER.DAT", &[".LOG"]) else { return };
    let recovered = set.recover().unwrap();
    assert!(recovered.replay.is_none() && recovered.hive.bytes() == set.primary && recovered.hive.touched().is_empty());
    assert_eq!(outcomes(&recovered.logs), [Outcome::Ignored(Ignored::HiveClean)]);
}

#[test]
fn blanked_logs_say_nothing_over_any_hive() {
    let set = Set::fixture();
    let blanked: Vec<(String, Vec<u8>)> = set
        .logs
        .iter()
        .map(|(name, bytes)| {
            let blank = Log { name, bytes }.blanked();
            assert!(blank.len() == bytes.len() && Log { name, bytes: &blank }.is_blank());
            assert!(!Log { name, bytes }.is_blank());
            (name.clone(), blank)
        })
        .collect();
    let error = Set { primary: set.primary, logs: blanked }.recover().err().unwrap();
    let Error::DirtyNoLog { primary: 17, secondary: 16, logs } = error else { panic!("{error}") };
    assert_eq!(outcomes(&logs), [Outcome::Ignored(Ignored::Blank); 2]);
}

#[test]
fn a_dirty_hive_can_be_accepted_as_it_lies_there() {
    for name in ["dirty-1.5", "logged-1.5"] {
        let dirty = std::fs::read(fixture("hives").join(name)).unwrap();
        let accepted = Hive::accept_dirty(dirty.clone()).unwrap();
        let bytes = accepted.hive.bytes();
        assert_eq!(bytes[4..12], [18, 0, 0, 0, 18, 0, 0, 0]);
        assert!(bytes.len() == dirty.len() && bytes[512..] == dirty[512..]);
        let replay = accepted.replay.unwrap();
        assert!(replay.entries.is_none() && replay.pages.is_empty() && replay.changed.iter().all(|e| e.end() <= 512));
        assert_eq!(own_findings(&accepted.hive), []);
    }
    let clean = std::fs::read(fixture("hives/minimal-1.5")).unwrap();
    assert!(Hive::accept_dirty(clean).unwrap().replay.is_none());
}
