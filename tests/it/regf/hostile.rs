//! Real hives with seeded damage: every function answers, and none panics or runs without an end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coldforge_base::time::FileTime;
use coldforge_regf::Hive;
use rayon::prelude::*;

use super::real;
use crate::support::Seeded;

/// How many damaged hives are tried at most, and for how long in an ordinary run; `COLDFORGE_MUTANTS` lifts the bound in
/// time.
const MUTANTS: u64 = 100_000;
const BOX: Duration = Duration::from_secs(15);

#[test]
fn a_hundred_thousand_cut_and_flipped_hives_are_survived_as_far_as_time_allows() {
    let Some(folder) = super::hives() else { return };
    let mut hives: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| super::cleaned(std::fs::read(entry.unwrap().path()).unwrap()))
        .filter(|bytes| (0x2000..1 << 20).contains(&bytes.len()))
        .collect();
    hives.sort();
    assert!(hives.len() > 20, "{} hives", hives.len());
    let (begun, unbound) = (Instant::now(), std::env::var_os("COLDFORGE_MUTANTS").is_some());
    let accepted = AtomicU64::new(0);
    let tried = (0..MUTANTS)
        .into_par_iter()
        .map(|number| {
            if !unbound && begun.elapsed() > BOX {
                return 0;
            }
            let mut seeded = Seeded(number);
            let mut bytes = hives[seeded.below(hives.len() as u64) as usize].clone();
            for _ in 0..1 + seeded.below(6) {
                let at =
                    seeded.below(bytes.len() as u64 - 0x1000) as usize + if seeded.below(8) == 0 { 0 } else { 0x1000 };
                bytes[at] ^= 1 << seeded.below(8);
            }
            if seeded.below(4) == 0 {
                bytes.truncate(seeded.below(bytes.len() as u64) as usize);
            }
            if let Ok(hive) = Hive::parse(super::cleaned(bytes)) {
                let keys = hive.walk().flatten().count();
                assert!(keys <= hive.bytes().len() / 80, "no key is visited twice");
                let _ = hive.verify();
                accepted.fetch_add(1, Ordering::Relaxed);
            }
            1
        })
        .sum::<u64>();
    eprintln!("{tried} damaged hives were tried, {} of them accepted", accepted.load(Ordering::Relaxed));
    assert!(tried > 1000 && accepted.load(Ordering::Relaxed) > 100, "{tried}");
}

#[test]
fn damaged_real_hives_are_survived_by_every_function() {
    let mut seeded = Seeded(7);
    let mut accepted = 0;
    for name in ["velociraptor__SAM", "yarp__BigDataHive", "python-registry__UNICODE_TESTS", "regipy__BCD"] {
        let Some(good) = real(name) else { return };
        for _ in 0..150 {
            let mut bytes = good.clone();
            for _ in 0..1 + seeded.below(30) {
                let at = 0x1000 + seeded.below(bytes.len() as u64 - 0x1000) as usize;
                bytes[at] = if seeded.below(2) == 0 { 0xff } else { seeded.next() as u8 };
            }
            let Ok(mut hive) = Hive::parse(bytes) else { continue };
            accepted += 1;
            for (_, key) in hive.walk().flatten() {
                let _ = (key.class(), key.security().map(<[u8]>::len));
                for value in key.values().into_iter().flatten().flatten() {
                    let _ = value.data().map(|data| data.len());
                }
            }
            let _ = hive.verify();
            for path in [r"SAM\Domains\Account", "key_with_bigdata", "Objects"] {
                let before = hive.bytes().to_vec();
                if hive.set_value(path, "new", 3, &[1; 17_000], FileTime(1)).is_err() {
                    assert!(hive.bytes() == before, "a failed edit changes nothing");
                }
            }
            let _ = hive.delete_value("", "new", FileTime(1)).is_ok();
            let _ = hive.verify();
        }
    }
    assert!(accepted > 50, "{accepted}");
}
