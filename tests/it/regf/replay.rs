//! Replay of transaction logs: as Windows recovered the same hives, and as the independent checker replays them.

use std::path::Path;

use coldforge_base::time::FileTime;
use coldforge_base::{Extent, Failure as _, Kind};
use coldforge_regf::{End, Error, Hive, Ignored, Log, LogReport, Outcome, Recovered};

use super::{hives, own_findings};
use crate::support::{Seeded, ask, fixture, oracle, shared};

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

/// Returns Marvin32 of whole words, as the format's specification has it.
fn marvin32(bytes: &[u8]) -> [u8; 8] {
    let (mut low, mut high) = (0x7a4e_55c5u32, 0x82ef_4d88u32);
    let words = bytes.chunks_exact(4).map(|chunk| u32::from_le_bytes(chunk.try_into().unwrap()));
    for word in words.chain([0x80, 0]) {
        low = low.wrapping_add(word);
        high ^= low;
        low = low.rotate_left(20).wrapping_add(high);
        high = high.rotate_left(9) ^ low;
        low = low.rotate_left(27).wrapping_add(high);
        high = high.rotate_left(19);
    }
    (u64::from(high) << 32 | u64::from(low)).to_le_bytes()
}

/// Gives a base block the checksum, and the entries behind it the hashes, that fit what they say.
fn make_valid(file: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let sum = (0..508).step_by(4).fold(0, |sum, at| sum ^ word(file, at));
    file[508..512].copy_from_slice(&sum.to_le_bytes());
    let mut at = 512;
    while file.get(at..at + 4) == Some(b"HvLE") {
        let length = word(file, at + 4) as usize;
        let Some(entry) = file.get_mut(at..at + length).filter(|entry| entry.len() >= 40) else { return };
        let body = marvin32(&entry[40..]);
        entry[24..32].copy_from_slice(&body);
        let head = marvin32(&entry[..32]);
        entry[32..40].copy_from_slice(&head);
        at += length;
    }
}

#[test]
fn damaged_and_forged_logs_are_replayed_as_the_checker_does_or_refused() {
    let Some(check) = shared().map(|shared| shared.join("check")).filter(|_| oracle("python3")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (set, mut seeded) = (Set::fixture(), Seeded(41));
    let mut sets: Vec<Set> = Vec::new();
    for number in 0..600 {
        let mut logs = set.logs.clone();
        let mut primary = set.primary.clone();
        // The fields that decide: sequence numbers, type, bins, lengths, counts, page references.
        let entry = [512, 512 + 1024][seeded.below(2) as usize];
        let at = match seeded.below(6) {
            0 => [4, 8, 12, 28, 40][seeded.below(5) as usize],
            1..=3 => entry + 4 * seeded.below(10) as usize,
            _ => entry + 40 + 4 * seeded.below(40) as usize,
        };
        let value = match seeded.below(6) {
            0 => 0,
            1 => u32::MAX,
            2 => 0x1000 * seeded.below(4) as u32,
            3 => 0x200 * seeded.below(24) as u32,
            4 => 15 + seeded.below(5) as u32,
            _ => seeded.next() as u32,
        };
        let log = &mut logs[usize::from(seeded.below(4) == 0)].1;
        if let Some(place) = log.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        // The second log may be made to go on behind the first.
        let first = [12u32, 16, 17, 18, 19, 20][seeded.below(6) as usize].to_le_bytes();
        for at in [4, 8, 524] {
            logs[1].1[at..at + 4].copy_from_slice(&first);
        }
        if number % 9 == 0 {
            primary[seeded.below(512) as usize] ^= 1 << seeded.below(8);
        }
        if number % 5 != 0 {
            logs.iter_mut().for_each(|(_, log)| make_valid(log));
        }
        for (name, bytes) in [("hive", &primary), ("0", &logs[0].1), ("1", &logs[1].1)] {
            std::fs::write(folder.path().join(format!("{number}.{name}")), bytes).unwrap();
        }
        sets.push(Set { primary, logs });
    }
    let script = "import sys, regf_check as r\n\
                  for n in range(int(sys.argv[2])):\n \
                  f = [open('%s/%d.%s' % (sys.argv[1], n, x), 'rb').read() for x in ('hive', '0', '1')]\n \
                  b, what = r.replay(f[0], f[1:])\n \
                  open('%s/%d.out' % (sys.argv[1], n), 'wb').write(b if what else b'')\n";
    let arguments = ["-C", check.to_str().unwrap(), "python3", "-B", "-c", script, folder.path().to_str().unwrap()];
    let answer = ask("env", &[&arguments[..], &[&sets.len().to_string()]].concat());
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let (mut replayed, mut refused, mut neither) = (0, 0, 0);
    for (number, set) in sets.iter().enumerate() {
        let theirs = std::fs::read(folder.path().join(format!("{number}.out"))).unwrap();
        match set.recover() {
            Ok(recovered) if recovered.replay.is_some() => {
                replayed += 1;
                assert!(recovered.hive.bytes() == theirs, "{number}: {:?}", recovered.logs);
            }
            Ok(_) => assert!(theirs.is_empty(), "{number}"),
            Err(_) if theirs.is_empty() => neither += 1,
            Err(_) => refused += 1,
        }
    }
    // More is refused than the checker refuses, but not everything.
    assert!(
        replayed > 150 && neither > 30 && refused > 30,
        "{replayed} replayed, {refused} refused, {neither} by both"
    );
}
