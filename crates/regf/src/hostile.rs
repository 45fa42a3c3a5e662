//! Hostile hives: every cut and many seeded flips of a good one are answered, never with a panic or without an end.

use crate::base_block::checksum;
use crate::{Hive, sample};
use coldforge_base::read;
use coldforge_base::time::FileTime;

/// Returns a hive with something of everything.
fn rich(minor: u32) -> Vec<u8> {
    let mut hive = Hive::parse(sample::empty(minor, 0x40_000)).expect("a hive");
    let mut set = |path: &str, name: &str, data: &[u8]| {
        hive.set_value(path, name, 3, data, FileTime(1)).expect("room enough");
    };
    for number in 0..600 {
        set(&format!("many\\{number}"), "", &[]);
    }
    set("Жук\\deep\\er", "Ж", &[1; 40]);
    set("Жук", "big", &[7; 40_000]);
    set("Жук", "small", &[7; 3]);
    hive.seal().expect("long enough");
    assert_eq!(hive.verify(), []);
    hive.into_bytes()
}

/// Does with a hive whatever can be done; every answer is allowed, and none may be missing.
fn exercise(bytes: Vec<u8>) -> bool {
    let Ok(mut hive) = Hive::parse(bytes) else { return false };
    for step in hive.walk() {
        let Ok((_, key)) = step else { continue };
        let _ = (key.class(), key.security().map(<[u8]>::len), key.subkeys().map(Iterator::count));
        for value in key.values().into_iter().flatten().flatten() {
            let _ = value.data().map(|data| data.len());
        }
    }
    for path in ["Жук\\DEEP\\er", "many\\300", "many\\nothing", "nothing"] {
        let _ = hive.key(path).map(|key| key.map(|key| key.value("Ж").map(|_| ())));
    }
    let _ = hive.verify().iter().map(ToString::to_string).collect::<String>();
    for (path, name, length) in [("Жук", "big", 20_000), ("Жук", "small", 5), ("many\\5\\new", "n", 17_000)] {
        let before = hive.bytes().to_vec();
        if hive.set_value(path, name, 1, &vec![9; length], FileTime(2)).is_err() {
            assert!(hive.bytes() == before, "a failed edit changes nothing");
        }
    }
    let _ = hive.delete_value("Жук", "big", FileTime(2)).is_ok();
    let _ = hive.create_key("many\\a\\b", FileTime(2)).is_ok();
    let _ = hive.seal().is_ok();
    let _ = hive.verify();
    true
}

fn fix_checksum(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    let _ = read::put_u32_le(bytes, 508, sum);
}

/// Returns the next of a sequence of repeatable numbers (xorshift).
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

#[test]
fn every_cut_is_an_error_or_a_hive() {
    let good = rich(5);
    let mut accepted = 0;
    for length in (0..0x1200).step_by(16).chain((0x1200..good.len()).step_by(1021)).chain([good.len()]) {
        accepted += usize::from(exercise(good[..length].to_vec()));
    }
    assert!((1..good.len() / 1021).contains(&accepted), "{accepted}");
}

#[test]
fn flipped_bytes_are_survived_by_every_function() {
    let mut accepted = 0;
    for (minor, seed) in [(3, 0x1234_5678), (5, 0x9abc_def0)] {
        let good = rich(minor);
        let used = Hive::parse(good.clone()).expect("a hive").header.bins_len as usize + 0x1000;
        let mut state: u64 = seed;
        for round in 0..400 {
            let mut bytes = good.clone();
            for _ in 0..[1, 4, 40][round % 3] {
                let at = match next(&mut state) % 8 {
                    0 => next(&mut state) % 512,
                    _ => 0x1000 + next(&mut state) % (used - 0x1000),
                };
                bytes[at] = match next(&mut state) % 3 {
                    0 => 0xff,
                    1 => bytes[at] ^ 1 << (next(&mut state) % 8),
                    _ => next(&mut state) as u8,
                };
            }
            fix_checksum(&mut bytes);
            accepted += usize::from(exercise(bytes));
        }
    }
    assert!(accepted > 200, "{accepted}");
}

#[test]
fn offsets_swapped_for_others_of_the_same_hive_are_survived() {
    let good = rich(5);
    let used = Hive::parse(good.clone()).expect("a hive").header.bins_len as usize + 0x1000;
    // Words that point to cells, so that loops, shared lists and twins come about.
    let pointers: Vec<usize> = (0x1024..used)
        .step_by(4)
        .filter(|at| {
            read::u32_le(&good, *at).is_ok_and(|word| word.is_multiple_of(8) && (0x20..0x3f000).contains(&word))
        })
        .collect();
    let mut state = 77;
    for _ in 0..600 {
        let mut bytes = good.clone();
        for _ in 0..1 + next(&mut state) % 12 {
            let (from, to) = (pointers[next(&mut state) % pointers.len()], pointers[next(&mut state) % pointers.len()]);
            bytes.copy_within(from..from + 4, to);
        }
        exercise(bytes);
    }
}

#[test]
fn a_list_that_contains_its_own_key_ends_everywhere() {
    let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
    hive.create_key("A\\B", FileTime(1)).expect("room enough");
    let (a, b) = (hive.key("A").expect("good").expect("made"), hive.key("A\\B").expect("good").expect("made"));
    let (list, cell, a) = (a.subkey_list().expect("one subkey"), b.cell(), a.cell());
    hive.transact(|t| {
        t.put_u32(cell, 20, 1)?;
        t.put_u32(cell, 28, list.0)
    })
    .expect("inside");
    assert!(hive.walk().count() < 10 && hive.walk().any(|step| step.is_err()));
    assert!(hive.verify().iter().any(|finding| finding.rule.code() == "double-use"));
    assert!(hive.key(&"A\\B\\B\\B\\B".repeat(100)).is_ok());
    hive.transact(|t| t.put_u32(list, 4, a.0)).expect("inside");
    assert!(hive.walk().count() < 10 && !hive.verify().is_empty());
}
