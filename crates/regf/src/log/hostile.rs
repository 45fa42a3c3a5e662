//! Logs that crashes, mistakes and strangers leave: what is whole is replayed, what is doubtful is not, and nothing
//! panics, runs without an end, or grows beyond the files.

use super::sample::{
    FIRST, dirty, entry, log, number, old_log, recover, recover_of, rehash, states, step, whole_log, with,
};
use super::{End, Ignored, Log};
use crate::{Error, Hive, Outcome, Recovered, Result};
use coldforge_base::{Extent, Failure as _, FileOffset, Kind, read};

/// Returns why logs were ignored, when nothing could be replayed.
fn reasons(outcome: Result<Recovered>) -> Vec<Ignored> {
    let Err(Error::DirtyNoLog { logs, .. }) = outcome else { panic!("{outcome:?}") };
    let reason = |outcome| match outcome {
        Outcome::Ignored(reason) => reason,
        Outcome::Replayed { .. } => panic!("replayed, and yet no log"),
    };
    logs.iter().map(|log| reason(log.outcome)).collect()
}

/// Returns the value in the recovered hive, and what became of the logs.
fn good(outcome: Result<Recovered>) -> (u8, Vec<Outcome>) {
    let recovered = outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(recovered.hive.verify(), []);
    (number(&recovered.hive), recovered.logs.iter().map(|log| log.outcome).collect())
}

fn replayed(first: u32, last: u32, pages: usize, end: End) -> Outcome {
    Outcome::Replayed { entries: Some((first, last)), pages, end: Some(end) }
}

/// Returns how many pages the steps between the states have.
fn pages() -> [usize; 2] {
    let [a, b, c] = states();
    [step(&a, &b, 0), step(&b, &c, 0)].map(|entry| read::u32_le(&entry, 20).expect("inside") as usize)
}

/// Returns the next of a sequence of repeatable numbers (xorshift).
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

#[test]
fn a_replay_gives_the_last_state_byte_for_byte() {
    let recovered = recover(&[&whole_log()]).expect("a good log");
    let [_, _, last] = states();
    assert_eq!(recovered.hive.bytes()[0x1000..], last[0x1000..]);
    assert_eq!(recovered.hive.bytes()[..512], with(last[..512].to_vec(), &[(4, FIRST + 2), (8, FIRST + 2)]));
    let replay = recovered.replay.expect("was dirty");
    let end = last.len() as u64;
    assert_eq!((replay.entries, replay.grown_to), (Some((FIRST, FIRST + 1)), Some(end)));
    assert_eq!(replay.changed.last().map(|extent| extent.end()), Some(end));
    assert!(replay.changed.iter().any(|extent| *extent == Extent::new(0x2000, end - 0x2000)), "{:?}", replay.changed);
}

#[test]
fn a_cut_log_gives_the_last_state_that_is_whole_in_it() {
    let whole = whole_log();
    let first = 512 + read::u32_le(&whole, 516).expect("inside") as usize;
    for length in (0..600).chain((600..whole.len()).step_by(7)).chain([first - 1, first, whole.len() - 1]) {
        let outcome = recover(&[&whole[..length]]);
        if length < first {
            let expected = match length {
                0 => Ignored::Blank,
                1..512 => Ignored::NoBaseBlock,
                512..552 => Ignored::NoEntries(End::NoEntry),
                _ => Ignored::NoEntries(End::Length { actual: first as u32 - 512 }),
            };
            assert_eq!(reasons(outcome), [expected], "{length}");
        } else {
            let (number, outcomes) = good(outcome);
            assert!(matches!(outcomes[..], [Outcome::Replayed { entries: Some((FIRST, FIRST)), .. }]), "{length}");
            assert_eq!(number, 6);
        }
    }
}

#[test]
fn an_entry_that_was_not_written_whole_ends_the_log() {
    let whole = whole_log();
    let second = 512 + read::u32_le(&whole, 516).expect("inside") as usize;
    let spoiled = |at: usize, word: u32| {
        let mut log = whole.clone();
        read::put_u32_le(&mut log, at, word).expect("inside");
        log
    };
    for (log, end) in [
        (spoiled(second + 60, 0x1234_5678), End::Hash),
        (spoiled(second + 24, 0), End::Hash),
        (spoiled(second + 32, 0), End::Hash),
        (spoiled(second + 16, 0x2000), End::Hash),
        (spoiled(second, 0), End::NoEntry),
        (spoiled(second + 4, 0), End::Length { actual: 0 }),
        (spoiled(second + 4, 100), End::Length { actual: 100 }),
        (spoiled(second + 4, u32::MAX), End::Length { actual: u32::MAX }),
        (spoiled(second + 4, 0xffff_fe00), End::Length { actual: 0xffff_fe00 }),
        (spoiled(second + 12, FIRST), End::Sequence { expected: FIRST + 1, actual: FIRST }),
    ] {
        assert_eq!(good(recover(&[&log])), (6, vec![replayed(FIRST, FIRST, pages()[0], end)]));
    }
    let hash_wrong_at_once = spoiled(512 + 50, 0x1234_5678);
    assert_eq!(reasons(recover(&[&hash_wrong_at_once])), [Ignored::NoEntries(End::Hash)]);
}

#[test]
fn a_base_block_that_is_not_a_finished_logs_is_ignored_by_name() {
    let (whole, state) = (whole_log(), dirty(&states()[0], FIRST));
    let mut flipped = whole.clone();
    flipped[300] ^= 1;
    for (log, reason) in [
        (vec![], Ignored::Blank),
        (vec![0; 5000], Ignored::Blank),
        ([vec![0; 512], whole[512..].to_vec()].concat(), Ignored::NoBaseBlock),
        (vec![1; 5000], Ignored::NoBaseBlock),
        (flipped, Ignored::Checksum),
        (state, Ignored::FileType { actual: 0 }),
        (with(whole.clone(), &[(28, 9)]), Ignored::FileType { actual: 9 }),
        (with(whole.clone(), &[(4, FIRST + 1)]), Ignored::Unfinished { primary: FIRST + 1, secondary: FIRST }),
        (with(whole.clone(), &[(24, 3)]), Ignored::OtherHive),
        (with(whole.clone(), &[(36, 0x28)]), Ignored::OtherHive),
    ] {
        assert_eq!(reasons(recover(&[&log])), [reason]);
    }
    assert_eq!(reasons(recover(&[])), []);
}

#[test]
fn an_entry_that_is_whole_and_impossible_is_refused_where_it_counts() {
    let [a, b, _] = states();
    let page: &[u8] = &a[0x1000..0x1200];
    let at = FileOffset(512);
    let log_name = || "0".to_owned();
    let length = |entry: &[u8]| entry.len();
    let patched = |patch: &[(usize, u32)]| {
        let mut entry = entry(FIRST, 0, 0x1000, &[(0, page), (0x200, page)]);
        for (at, word) in patch {
            read::put_u32_le(&mut entry, *at, *word).expect("inside");
        }
        rehash(&mut entry, 0);
        entry
    };
    let bins = |actual, limit| Error::LogBins { log: log_name(), at, actual, limit };
    let bad_page = |offset, length| Error::LogPage { log: log_name(), at, offset, length };
    let pages = |actual| Error::LogPages { log: log_name(), at, actual, length: length(&patched(&[])) };
    let format_limit = 0x7fff_f000;
    for (entry, expected) in [
        (patched(&[(16, 0)]), bins(0, format_limit)),
        (patched(&[(16, 0x1200)]), bins(0x1200, format_limit)),
        (patched(&[(16, 0x8000_0000)]), bins(0x8000_0000, format_limit)),
        (patched(&[(16, 0xffff_f000)]), bins(0xffff_f000, format_limit)),
        // No more than the hive and the log hold.
        (patched(&[(16, 0x7fff_f000)]), bins(0x7fff_f000, (a.len() + 512 + length(&patched(&[])) - 0x1000) as u64)),
        (patched(&[(20, 0)]), pages(0)),
        (patched(&[(20, 1000)]), pages(1000)),
        (patched(&[(20, u32::MAX)]), pages(u32::MAX)),
        (patched(&[(20, 0x2000_0000)]), pages(0x2000_0000)),
        (patched(&[(40, 0x1000)]), bad_page(0x1000, 0x200)),
        (patched(&[(40, 0xffff_fe00)]), bad_page(0xffff_fe00, 0x200)),
        (patched(&[(40, 8)]), bad_page(8, 0x200)),
        (patched(&[(44, 0)]), bad_page(0, 0)),
        (patched(&[(44, 0x1200)]), bad_page(0, 0x1200)),
        (patched(&[(44, u32::MAX)]), bad_page(0, u32::MAX)),
        (patched(&[(44, 0xffff_fe00)]), bad_page(0, 0xffff_fe00)),
        (patched(&[(44, 0x1000)]), bad_page(0, 0x1000)),
        (patched(&[(44, 100)]), bad_page(0, 100)),
    ] {
        let error = recover(&[&log(&a, FIRST, std::slice::from_ref(&entry))]).map(|_| ()).expect_err("impossible");
        assert_eq!(error, expected);
        assert_eq!((error.kind(), error.code()), (Kind::Refused, Some("E-HIVE-LOG")));
        assert!(error.hint().is_some() && !error.to_string().is_empty());
        // Behind a good entry, and alone in the log that goes on behind a good one.
        let renumbered = |number: u32| {
            let mut entry = entry.clone();
            read::put_u32_le(&mut entry, 12, number).expect("inside");
            rehash(&mut entry, 0);
            entry
        };
        let behind = log(&a, FIRST, &[step(&a, &b, FIRST), renumbered(FIRST + 1)]);
        assert_eq!(recover(&[&behind]).map(|_| ()).expect_err("impossible").code(), Some("E-HIVE-LOG"));
        let first = log(&a, FIRST, &[step(&a, &b, FIRST)]);
        let goes_on = log(&a, FIRST + 1, &[renumbered(FIRST + 1)]);
        assert_eq!(recover(&[&first, &goes_on]).map(|_| ()).expect_err("impossible").code(), Some("E-HIVE-LOG"));
        // In a log that is not needed, it does not matter.
        let stale = log(&a, FIRST - 9, &[renumbered(FIRST - 9)]);
        assert_eq!(good(recover(&[&stale, &first])).0, 6);
    }
}

#[test]
fn of_pages_that_overlap_the_last_one_counts() {
    let [a, b, _] = states();
    let (old, new) = (&a[0x1000..0x2000], &b[0x1000..0x2000]);
    for (pages, number) in [([(0, old), (0, new)], 6), ([(0, new), (0, old)], 5)] {
        assert_eq!(good(recover(&[&log(&a, FIRST, &[entry(FIRST, 0, 0x1000, &pages)])])).0, number);
    }
    let crossing = [(0, new), (0x200, &old[0x200..0x600]), (0x400, &new[0x400..])];
    let recovered = recover(&[&log(&a, FIRST, &[entry(FIRST, 0, 0x1000, &crossing)])]).expect("a good log");
    let mixed = [&new[..0x200], &old[0x200..0x400], &new[0x400..]].concat();
    assert_eq!(recovered.hive.bytes()[0x1000..0x2000], mixed);
}

#[test]
fn sequence_numbers_wrap_inside_a_log_and_between_logs() {
    let [a, b, c] = states();
    let last = u32::MAX;
    for first in [last, last - 1, 0] {
        let primary = dirty(&a, first);
        let together = log(&a, first, &[step(&a, &b, first), step(&b, &c, first.wrapping_add(1))]);
        let parts = [
            log(&a, first, &[step(&a, &b, first)]),
            log(&a, first.wrapping_add(1), &[step(&b, &c, first.wrapping_add(1))]),
        ];
        let stale = log(&a, first.wrapping_sub(1), &[step(&a, &a, first.wrapping_sub(1))]);
        for logs in [vec![&together], vec![&parts[0], &parts[1]], vec![&parts[1], &parts[0]], vec![&stale, &together]] {
            let logs: Vec<&[u8]> = logs.into_iter().map(Vec::as_slice).collect();
            let recovered = recover_of(primary.clone(), &logs).expect("good logs");
            let sequence = first.wrapping_add(2).to_le_bytes();
            assert_eq!(recovered.hive.bytes()[4..12], [sequence, sequence].concat(), "{first:#x}");
            assert_eq!(number(&recovered.hive), 7);
        }
    }
}

#[test]
fn logs_are_used_as_far_as_they_follow_one_another() {
    let [a, b, c] = states();
    let log_of = |first: u32, from: &[u8], to: &[u8]| log(&a, first, &[step(from, to, first)]);
    let (one, two) = (log_of(FIRST, &a, &b), log_of(FIRST + 1, &b, &c));
    let [first_pages, second_pages] = pages();
    let used = |first, pages| replayed(first, first, pages, End::NoEntry);
    assert_eq!(good(recover(&[&two, &one])), (7, vec![used(FIRST + 1, second_pages), used(FIRST, first_pages)]));
    // A gap behind the first.
    let far = log_of(FIRST + 5, &b, &c);
    let gap = Outcome::Ignored(Ignored::Gap { first: FIRST + 5, expected: FIRST + 1 });
    assert_eq!(good(recover(&[&one, &far])), (6, vec![used(FIRST, first_pages), gap]));
    // A gap before the first is what Windows leaves between two reconciliations.
    let distant = log_of(FIRST + 500, &a, &b);
    assert_eq!(good(recover(&[&distant])).0, 6);
    assert_eq!(good(recover(&[&distant, &[], &[0; 4096]])).0, 6);
    // Unless a damaged log may have filled it.
    let mut torn = one.clone();
    torn[600] ^= 1;
    let mut dark = one.clone();
    dark[300] ^= 1;
    let headless = Ignored::Headless { first: FIRST + 500 };
    assert_eq!(reasons(recover(&[&distant, &torn])), [headless, Ignored::NoEntries(End::Hash)]);
    assert_eq!(reasons(recover(&[&distant, &dark])), [headless, Ignored::Checksum]);
    let unfinished = with(one.clone(), &[(4, FIRST + 1)]);
    assert_eq!(reasons(recover(&[&distant, &unfinished]))[0], headless);
    // Damage behind what is used, or where nothing is missing, does not matter.
    let mut torn_later = log_of(FIRST + 501, &b, &c);
    torn_later[600] ^= 1;
    assert_eq!(good(recover(&[&distant, &torn_later])).0, 6);
    assert_eq!(good(recover(&[&one, &dark])).0, 6);
    // Everything stale.
    let stale = log_of(FIRST - 1, &a, &b);
    assert_eq!(reasons(recover(&[&stale])), [Ignored::Stale { first: FIRST - 1, hive: FIRST }]);
}

#[test]
fn two_logs_that_begin_alike_must_say_the_same() {
    let [a, b, c] = states();
    let one = log(&a, FIRST, &[step(&a, &b, FIRST)]);
    let other = log(&a, FIRST, &[step(&a, &c, FIRST)]);
    assert_eq!(reasons(recover(&[&one, &other])), [Ignored::Twin; 2]);
    let (number, outcomes) = good(recover(&[&one, &one]));
    assert_eq!((number, outcomes[1]), (6, Outcome::Ignored(Ignored::Twin)));
    // Alike as far as they are possible, and one goes on with what is not.
    let forged = log(&a, FIRST, &[step(&a, &b, FIRST), entry(FIRST + 1, 0, 0x1000, &[])]);
    assert_eq!(reasons(recover(&[&one, &forged])), [Ignored::Twin; 2]);
    assert_eq!(reasons(recover(&[&forged, &one])), [Ignored::Twin; 2]);
}

#[test]
fn of_the_flags_only_the_first_bit_is_taken_over() {
    let [a, b, _] = states();
    let pages: [(u32, &[u8]); 1] = [(0, &b[0x1000..0x2000])];
    for (own, theirs, expected) in [(0, 0xffff_ffff, 1), (0x8000_0003, 0, 0x8000_0002), (1, 1, 1)] {
        let primary = with(dirty(&a, FIRST), &[(144, own)]);
        let log = log(&a, FIRST, &[entry(FIRST, theirs, 0x1000, &pages)]);
        let recovered = recover_of(primary, &[&log]).expect("a good log");
        assert_eq!(read::u32_le(recovered.hive.bytes(), 144), Ok(expected));
    }
}

#[test]
fn a_lost_base_block_comes_from_the_latest_log_which_is_used_alone() {
    let [a, b, c] = states();
    let mut primary = dirty(&b, FIRST);
    let one = log(&b, FIRST, &[step(&a, &b, FIRST)]);
    let two = log(&c, FIRST + 1, &[step(&b, &c, FIRST + 1)]);
    for lost in [&[0; 512][..], b"reg!", &[0xaa; 512]] {
        primary[..lost.len()].copy_from_slice(lost);
        let recovered = recover_of(primary.clone(), &[&one, &two]).expect("good logs");
        assert_eq!(recovered.logs[0].outcome, Outcome::Ignored(Ignored::Superseded));
        assert_eq!(recovered.hive.bytes()[0x1000..], c[0x1000..]);
        assert_eq!(read::u32_le(recovered.hive.bytes(), 4), Ok(FIRST + 2));
        let replay = recovered.replay.expect("was lost");
        assert_eq!(replay.base_block_from.as_deref(), Some("1"));
        // A log that cannot be dated could be the latest.
        let mut dark = one.clone();
        dark[300] ^= 1;
        assert!(matches!(recover_of(primary.clone(), &[&dark, &two]), Err(Error::NoHive { .. })));
        assert!(matches!(recover_of(primary.clone(), &[]), Err(Error::NoHive { .. })));
        // Nothing but a base block is nothing to recover.
        assert!(recover_of(primary[..0x1000].to_vec(), &[&one, &two]).is_err());
        // The recovered version counts.
        let layered = with(two.clone(), &[(24, 6)]);
        assert!(matches!(recover_of(primary.clone(), &[&layered]), Err(Error::Layered { minor: 6 })));
    }
}

#[test]
fn a_lost_base_block_comes_from_a_log_of_the_old_format_that_is_not_older_than_the_first_bin() {
    let [a, b, _] = states();
    let at = |state: &[u8], time: u32| with(state.to_vec(), &[(12, time)]);
    let mut primary = at(&a, 100);
    primary[..512].fill(0xaa);
    read::put_u32_le(&mut primary, 0x1014, 99).expect("inside");
    let one = old_log(&at(&b, 99), FIRST, &[0]);
    let recovered = recover_of(primary.clone(), &[&one, &[]]).expect("a good log");
    assert_eq!((number(&recovered.hive), recovered.hive.bytes()[4]), (6, FIRST as u8 + 1));
    assert_eq!(recovered.replay.and_then(|replay| replay.base_block_from).as_deref(), Some("0"));
    let older = old_log(&at(&b, 98), FIRST, &[0]);
    let mut dark = one.clone();
    dark[300] ^= 1;
    for logs in [vec![older], vec![one.clone(), dark]] {
        let logs: Vec<&[u8]> = logs.iter().map(Vec::as_slice).collect();
        assert!(matches!(recover_of(primary.clone(), &logs), Err(Error::NoHive { .. })));
    }
}

#[test]
fn versions_that_are_refused_clean_are_refused_dirty() {
    let [a, ..] = states();
    for (word, code) in [((24, 6), "E-HIVE-LAYERED"), ((24, 1), "E-HIVE-VERSION"), ((20, 2), "E-HIVE-VERSION")] {
        let primary = with(dirty(&a, FIRST), &[word]);
        let log = with(whole_log(), &[word]);
        assert_eq!(recover_of(primary, &[&log]).err().and_then(|error| error.code()), Some(code));
    }
    let typed = with(dirty(&a, FIRST), &[(28, 6)]);
    assert!(matches!(recover_of(typed, &[&whole_log()]), Err(Error::FileType { actual: 6, .. })));
}

#[test]
fn a_log_of_the_old_format_needs_the_hives_time_and_number() {
    let [a, b, c] = states();
    let at = |state: &[u8], time: u32| with(state.to_vec(), &[(12, time)]);
    let primary = dirty(&at(&a, 100), FIRST);
    let recover = |logs: &[&[u8]]| recover_of(primary.clone(), logs);
    let one = old_log(&at(&b, 100), FIRST, &[0]);
    let used = |pages| Outcome::Replayed { entries: None, pages, end: None };
    assert_eq!(good(recover(&[&one])), (6, vec![used(8)]));
    assert_eq!(recover(&[&one]).map(|r| r.hive.bytes()[4]).ok(), Some(FIRST as u8 + 2));
    let newer = old_log(&at(&c, 101), FIRST + 1, &[0, 1, 2]);
    let (number, outcomes) = good(recover(&[&one, &newer]));
    assert_eq!((number, outcomes), (7, vec![Outcome::Ignored(Ignored::Superseded), used(24)]));
    let (number, outcomes) = good(recover(&[&newer, &one]));
    assert_eq!((number, outcomes), (7, vec![used(24), Outcome::Ignored(Ignored::Superseded)]));
    assert_eq!(reasons(recover(&[&old_log(&at(&b, 99), FIRST, &[0])])), [Ignored::Older]);
    let stale = old_log(&at(&b, 100), FIRST - 1, &[0]);
    assert_eq!(reasons(recover(&[&stale])), [Ignored::Stale { first: FIRST - 1, hive: FIRST }]);
    let twin = old_log(&at(&a, 100), FIRST, &[0]);
    assert_eq!(reasons(recover(&[&one, &twin])), [Ignored::Twin; 2]);
    assert_eq!(good(recover(&[&one, &one])).0, 6);
    assert_eq!(reasons(recover(&[&old_log(&at(&b, 100), FIRST, &[])])), [Ignored::DirtyVector]);
    for length in (512..one.len()).step_by(13) {
        assert_eq!(reasons(recover(&[&one[..length]])), [Ignored::DirtyVector], "{length}");
    }
    for bins_len in [0, 0x800, 0x1200, 0x8000_0000, u32::MAX] {
        assert_eq!(reasons(recover(&[&with(one.clone(), &[(40, bins_len)])])), [Ignored::DirtyVector]);
    }
    // 512 bytes of bitmap, which the log holds, stand for more bins than there are bytes.
    let huge = with(old_log(&at(&b, 100), FIRST, &[0]), &[(40, 0x20_0000)]);
    assert_eq!(reasons(recover(&[&huge])).len(), 1);
    // Entries are preferred.
    let new = log(&primary, FIRST, &[step(&a, &c, FIRST)]);
    let (number, outcomes) = good(recover(&[&one, &new]));
    assert_eq!((number, outcomes[0]), (7, Outcome::Ignored(Ignored::Superseded)));
}

#[test]
fn names_of_logs_are_those_of_their_hive() {
    for (file, hive) in [
        ("SYSTEM.LOG1", "SYSTEM"),
        ("system.log2", "SYSTEM"),
        ("ntuser.dat.LOG", "NTUSER.DAT"),
        ("Пользователь.dat.Log1", "Пользователь.DAT"),
    ] {
        assert!(Log::is_named_for(file, hive), "{file}");
    }
    for file in
        ["SYSTEM", "SYSTEM.", "SYSTEM.LOG3", "SYSTEM.LOG11", "SYSTEM.SAV", "SYSTEMX.LOG1", "SYSTE.LOG1", "SYSTEМ.LOG1"]
    {
        assert!(!Log::is_named_for(file, "SYSTEM"), "{file}");
    }
}

#[test]
fn twenty_thousand_damaged_logs_are_survived() {
    let began = std::time::Instant::now();
    let [a, b, c] = states();
    let primary = dirty(&a, FIRST);
    let new = whole_log();
    let second = log(&a, FIRST + 2, &[step(&c, &b, FIRST + 2), step(&b, &c, FIRST + 3)]);
    let old = old_log(&c, FIRST, &[0, 1]);
    let mut state = 0x0123_4567_89ab_cdef;
    let (mut accepted, mut refused, mut rounds) = (0, 0, 0);
    while rounds < 20_000 && began.elapsed().as_secs() < 20 {
        rounds += 1;
        let mut logs = if rounds % 3 == 0 { vec![old.clone()] } else { vec![new.clone(), second.clone()] };
        let mut primary = primary.clone();
        for _ in 0..1 + next(&mut state) % 4 {
            let which = next(&mut state) % logs.len();
            let log = &mut logs[which];
            if next(&mut state).is_multiple_of(20) {
                log.truncate(next(&mut state) % log.len().max(1));
                continue;
            }
            // A field of the base block, of the first entry or of its references; now and then anything.
            let at = match next(&mut state) % 8 {
                0 => 4 * (next(&mut state) % 12),
                1..=4 => 512 + 4 * (next(&mut state) % 10),
                5 | 6 => 552 + 4 * (next(&mut state) % 40),
                _ => next(&mut state) % log.len().max(1),
            };
            let word = match next(&mut state) % 7 {
                0 => 0,
                1 => u32::MAX,
                2 => 0x1000 * (next(&mut state) % 16) as u32,
                3 => 0x200 * (next(&mut state) % 32) as u32,
                4 => FIRST.wrapping_add(next(&mut state) as u32 % 5).wrapping_sub(1),
                5 => 1 << (next(&mut state) % 32),
                _ => next(&mut state) as u32,
            };
            let _ = read::put_u32_le(log, at, word);
        }
        for log in &mut logs {
            if log.len() >= 512 && !next(&mut state).is_multiple_of(8) {
                *log = with(std::mem::take(log), &[]);
            }
            let mut at = 512;
            while !next(&mut state).is_multiple_of(8) {
                let Some(next) = rehash(log, at).filter(|next| *next > at) else { break };
                at = next;
            }
        }
        if next(&mut state).is_multiple_of(8) {
            let at = next(&mut state) % 512;
            primary[at] ^= 1 << (next(&mut state) % 8);
        }
        let parts: Vec<&[u8]> = logs.iter().map(Vec::as_slice).collect();
        let room = primary.len() + logs.iter().map(Vec::len).sum::<usize>();
        match recover_of(primary.clone(), &parts) {
            Ok(recovered) => {
                accepted += 1;
                let now = recovered.hive.bytes();
                assert!(now.len() <= room);
                let again = Hive::parse(now.to_vec()).expect("a recovered hive is a clean one");
                assert_eq!(again.bytes()[4..8], again.bytes()[8..12]);
                let mut masked = now.to_vec();
                for extent in recovered.hive.touched() {
                    let (start, end) = (extent.offset as usize, (extent.end() as usize).min(primary.len()));
                    if start < end {
                        masked[start..end].copy_from_slice(&primary[start..end]);
                    }
                }
                assert!(masked[..primary.len()] == primary[..], "every other byte is as it was");
                let _ = recovered.hive.verify();
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(accepted > rounds / 10 && refused > rounds / 10, "{accepted} and {refused} of {rounds}");
}
