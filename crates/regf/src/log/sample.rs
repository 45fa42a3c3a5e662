//! Logs for tests: what Windows would have written between two states of a hive.

use super::Log;
use super::marvin::marvin32;
use crate::base_block::checksum;
use crate::{Hive, Result, sample};
use coldforge_base::read;
use coldforge_base::time::FileTime;

const SECTOR_LEN: usize = super::SECTOR_LEN as usize;
/// The first sequence number of the states' log.
pub(super) const FIRST: u32 = 40;

/// Three states of a hive file: a value is 5, then 6, then 7, with a new key in a bin of its own.
pub(super) fn states() -> [Vec<u8>; 3] {
    let state = |number: u8, grow: bool| {
        let mut hive = Hive::parse(sample::empty(5, 0x10_000)).expect("a hive");
        hive.set_value("Alpha", "Number", 4, &[number, 0, 0, 0], FileTime(1)).expect("room enough");
        if grow {
            hive.set_value("Alpha\\Added", "long", 3, &[7; 5000], FileTime(1)).expect("room enough");
        }
        hive.seal().expect("long enough");
        let end = 0x1000 + hive.header.bins_len as usize;
        let mut bytes = hive.into_bytes();
        bytes.truncate(end);
        with(bytes, &[(4, FIRST), (8, FIRST)])
    };
    [state(5, false), state(6, false), state(7, true)]
}

/// Returns a hive file or a log with some words of its base block set, and the checksum that fits.
pub(super) fn with(mut bytes: Vec<u8>, words: &[(usize, u32)]) -> Vec<u8> {
    for (at, word) in words {
        read::put_u32_le(&mut bytes, *at, *word).expect("inside");
    }
    let sum = checksum(&bytes);
    read::put_u32_le(&mut bytes, 508, sum).expect("inside");
    bytes
}

/// Returns the state as a crash leaves it: the next write begun, not ended.
pub(super) fn dirty(state: &[u8], secondary: u32) -> Vec<u8> {
    with(state.to_vec(), &[(4, secondary.wrapping_add(1)), (8, secondary)])
}

/// Returns an entry.
pub(super) fn entry(sequence: u32, flags: u32, bins_len: u32, pages: &[(u32, &[u8])]) -> Vec<u8> {
    let mut bytes = b"HvLE".to_vec();
    for word in [0, flags, sequence, bins_len, pages.len() as u32, 0, 0, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    for (offset, page) in pages {
        bytes.extend(offset.to_le_bytes());
        bytes.extend((page.len() as u32).to_le_bytes());
    }
    pages.iter().for_each(|(_, page)| bytes.extend(*page));
    bytes.resize(bytes.len().next_multiple_of(SECTOR_LEN), 0);
    let length = bytes.len() as u32;
    read::put_u32_le(&mut bytes, 4, length).expect("inside");
    rehash(&mut bytes, 0);
    bytes
}

/// Returns the entry that turns one state into another.
pub(super) fn step(before: &[u8], after: &[u8], sequence: u32) -> Vec<u8> {
    let (old, new) = (&before[0x1000..], &after[0x1000..]);
    let changed = |at: &usize| old.get(*at..*at + SECTOR_LEN) != new.get(*at..*at + SECTOR_LEN);
    let pages: Vec<(u32, &[u8])> =
        (0..new.len()).step_by(SECTOR_LEN).filter(changed).map(|at| (at as u32, &new[at..at + SECTOR_LEN])).collect();
    entry(sequence, 0, new.len() as u32, &pages)
}

/// Returns a log of the new format of the hive `of`.
pub(super) fn log(of: &[u8], first: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let base = with(of[..SECTOR_LEN].to_vec(), &[(4, first), (8, first), (28, 6)]);
    [base, entries.concat()].concat()
}

/// Returns a log of the old format of the hive `of`, that holds these 4096-byte pages of it.
pub(super) fn old_log(of: &[u8], sequence: u32, pages: &[usize]) -> Vec<u8> {
    let mut bytes = with(of[..SECTOR_LEN].to_vec(), &[(4, sequence), (8, sequence), (28, 1)]);
    bytes.extend(b"DIRT");
    let bit = |page| if pages.contains(&page) { 0xff } else { 0 };
    bytes.extend((0..of.len() / 0x1000 - 1).map(bit));
    bytes.resize(2 * SECTOR_LEN, 0);
    for page in pages {
        bytes.extend(&of[0x1000 + page * 0x1000..0x2000 + page * 0x1000]);
    }
    bytes
}

/// Gives the entry at `at` of a log the hashes that fit what it says; returns where the next would be.
pub(super) fn rehash(log: &mut [u8], at: usize) -> Option<usize> {
    let length = read::u32_le(log, at + 4).ok()? as usize;
    let entry = read::slice_mut(log, at, length).ok().filter(|entry| entry.len() >= 40)?;
    let body = marvin32(&entry[40..]);
    entry[24..32].copy_from_slice(&body.to_le_bytes());
    let head = marvin32(&entry[..32]);
    entry[32..40].copy_from_slice(&head.to_le_bytes());
    Some(at + length)
}

/// The log that leads through all states.
pub(super) fn whole_log() -> Vec<u8> {
    let [a, b, c] = states();
    log(&a, FIRST, &[step(&a, &b, FIRST), step(&b, &c, FIRST + 1)])
}

/// Recovers the first state, dirty, with these logs; their names are `0`, `1` and so on.
pub(super) fn recover(logs: &[&[u8]]) -> Result<crate::Recovered> {
    recover_of(dirty(&states()[0], FIRST), logs)
}

/// Recovers a hive with these logs; their names are `0`, `1` and so on.
pub(super) fn recover_of(primary: Vec<u8>, logs: &[&[u8]]) -> Result<crate::Recovered> {
    let logs: Vec<Log<'_>> =
        ["0", "1", "2", "3"].into_iter().zip(logs).map(|(name, bytes)| Log { name, bytes }).collect();
    Hive::recover(primary, &logs)
}

/// Returns a hive file with the number of its value.
pub(super) fn number(hive: &Hive) -> u8 {
    let key = hive.key("Alpha").expect("good").expect("is there");
    key.value("Number").expect("good").expect("is there").data().expect("good")[0]
}
