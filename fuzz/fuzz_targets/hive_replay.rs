//! Recover a hive with two logs: what comes back is clean, no larger than all files together, and told exactly.
//!
//! Input: a byte of options, the hive's length in sectors, the first log's, then hive, first log and second log.
#![no_main]

mod guard;

use coldforge_regf::{Hive, Log};
use libfuzzer_sys::fuzz_target;

const SECTOR_LEN: usize = 512;
/// Options: leave the hive's base block, the logs' base blocks, the entries' hashes as they are.
const KEEP: [u8; 3] = [1, 2, 4];

fuzz_target!(|input: &[u8]| {
    let [options, hive_len, log_len, rest @ ..] = input else { return };
    let (mut primary, rest) = cut(rest, *hive_len);
    let (mut first, rest) = cut(rest, *log_len);
    let mut second = rest.to_vec();
    if options & KEEP[0] == 0 {
        guard::seal(&mut primary);
    }
    for log in [&mut first, &mut second] {
        if options & KEEP[1] == 0 {
            guard::clean(log);
        }
        if options & KEEP[2] == 0 {
            guard::rehash(log);
        }
    }
    let logs = [Log { name: "A.LOG1", bytes: &first }, Log { name: "A.LOG2", bytes: &second }];
    let recovered = match Hive::recover(primary.clone(), &logs) {
        Ok(recovered) => recovered,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let now = recovered.hive.bytes();
    assert!(now.len() <= primary.len() + first.len() + second.len());
    let mut masked = now.to_vec();
    for extent in recovered.hive.touched() {
        let (start, end) = (extent.offset as usize, (extent.end() as usize).min(primary.len()));
        if start < end {
            masked[start..end].copy_from_slice(&primary[start..end]);
        }
    }
    assert!(masked[..primary.len()] == primary[..], "every other byte is as it was");
    let again = Hive::recover(now.to_vec(), &logs).expect("a recovered hive is clean");
    assert!(again.replay.is_none() && again.hive.bytes() == now);
    let _ = recovered.hive.verify().len();
});

fn cut(bytes: &[u8], sectors: u8) -> (Vec<u8>, &[u8]) {
    let (part, rest) = bytes.split_at((usize::from(sectors) * SECTOR_LEN).min(bytes.len()));
    (part.to_vec(), rest)
}
