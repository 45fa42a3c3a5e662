//! Planted damage: each rule is broken once, alone where that is possible, and must be found.

use super::{Rule, Severity};
use crate::bin::{Tile, Tiles, file_position};
use crate::layout::{NIL, SEGMENT_LEN};
use crate::{Hive, sample};
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, read};

/// Where things are in the hive of these tests.
struct Sample {
    hive: Hive,
    root: u32,
    alpha: u32,
    one: u32,
    list: u32,
    leaf: u32,
    index: u32,
    first_leaf: u32,
    values: u32,
    unnamed: u32,
    number: u32,
    empty: u32,
    big: u32,
    greek: u32,
    record: u32,
    segment: u32,
    free: u32,
    sk: u32,
    other_sk: u32,
}

/// Returns a hive with something of everything, and where it is.
fn sample(minor: u32) -> Sample {
    let mut hive = Hive::parse(sample::empty(minor, 0x60_000)).expect("a hive");
    let mut set = |path: &str, name: &str, kind: u32, data: &[u8]| {
        CellOffset(hive.set_value(path, name, kind, data, FileTime(1)).expect("room enough").cell.0)
    };
    let unnamed = set("Alpha", "", 1, b"a\0b\0\0\0");
    let number = set("Alpha", "Number", 4, &[1, 0, 0, 0]);
    let empty = set("Alpha", "Empty", 3, &[]);
    let greek = set("Alpha\\One", "αβ", 3, &[1; 12]);
    let big = set("Alpha", "Big", 3, &[7; 33_000]);
    for number in 0..600 {
        set(&format!("many\\{number}"), "", 3, &[]);
    }
    hive.create_key("Alpha\\Two", FileTime(1)).expect("room enough");
    let at = |hive: &Hive, path: &str| hive.key(path).expect("good").expect("made").cell();
    let (alpha, one, two) = (at(&hive, "Alpha"), at(&hive, "Alpha\\One"), at(&hive, "Alpha\\Two"));
    // A second descriptor for one key, and a class for another.
    let sk = CellOffset(0x78);
    let mut descriptor = sample::DESCRIPTOR;
    descriptor[32] = 0x19;
    let other_sk = hive
        .transact(|t| {
            let count = 1u32.to_le_bytes();
            let ring = sk.0.to_le_bytes();
            let head = [&b"sk\0\0"[..], &ring, &ring, &count, &76u32.to_le_bytes(), &descriptor].concat();
            let other = t.store(&head)?;
            let references = read::u32_le(t.hive().cell(sk)?, 12).expect("inside");
            t.put_u32(sk, 4, other.0)?;
            t.put_u32(sk, 8, other.0)?;
            t.put_u32(sk, 12, references - 1)?;
            t.put_u32(two, 44, other.0)?;
            let class = t.store(b"S\0h\0e\0l\0l\0")?;
            t.put_u32(one, 48, class.0)?;
            t.put(one, 74, &[10, 0])?;
            t.put_u32(alpha, 56, 10)?;
            Ok(other)
        })
        .expect("room enough")
        .0;
    assert_eq!(hive.verify(), []);
    let word = |at: CellOffset, offset| read::u32_le(hive.cell(at).expect("a cell"), offset).expect("inside");
    let index = word(at(&hive, "many"), 28);
    let record = word(big, 8);
    let (list, leaf) = (word(CellOffset(0x20), 28), word(alpha, 28));
    let (values, first_leaf) = (word(alpha, 40), if minor == 5 { word(CellOffset(index), 4) } else { 0 });
    let segment = if minor > 3 { word(CellOffset(word(CellOffset(record), 4)), 0) } else { 0 };
    let free = Tiles::new(hive.bytes(), hive.header.bins_len)
        .filter_map(|tile| match tile.expect("tiles") {
            Tile::Cell { at, len, allocated: false } if len > 64 => Some(at.0),
            _ => None,
        })
        .next()
        .expect("a free cell");
    Sample {
        root: 0x20,
        alpha: alpha.0,
        one: one.0,
        list,
        leaf,
        index,
        first_leaf,
        values,
        unnamed: unnamed.0,
        number: number.0,
        empty: empty.0,
        big: big.0,
        greek: greek.0,
        record,
        segment,
        free,
        sk: sk.0,
        other_sk: other_sk.0,
        hive,
    }
}

impl Sample {
    /// Returns the rules that are broken after bytes of a cell's payload are replaced, wherever they lie.
    fn broken(&self, at: u32, offset: i64, bytes: &[u8]) -> Vec<Rule> {
        let mut hive = self.hive.clone();
        let position = file_position(CellOffset(at)) as i64 + 4 + offset;
        hive.transact(|t| t.write(position as usize, bytes)).expect("inside the file");
        // The set of allocated cells, as a parse would see it.
        for tile in Tiles::new(&hive.bytes.clone(), hive.header.bins_len).flatten() {
            if let Tile::Cell { at, allocated, .. } = tile {
                hive.live.set(at, allocated);
            }
        }
        let findings = hive.verify();
        assert_eq!(findings, hive.check(true), "several cores find the same, in the same order");
        findings.iter().map(|finding| finding.rule).collect()
    }
}

#[test]
fn several_cores_find_what_one_finds_in_the_same_order() {
    let mut hive = Hive::parse(sample::empty(5, 0x40_0000)).expect("a hive");
    for number in 0..3000u32 {
        let path = format!("{}\\{}\\{number}", number % 7, number % 53);
        hive.set_value(&path, "v", 3, &[1; 40], FileTime(1)).expect("room enough");
    }
    assert!(hive.header.bins_len < 0x20_0000 && hive.check(true).is_empty());
    let keys: Vec<CellOffset> = hive.walk().map(|step| step.expect("a good hive").1.cell()).collect();
    let count = |at: &CellOffset| read::u32_le(hive.cell(*at).expect("a key"), 20).expect("inside");
    let parents: Vec<CellOffset> = keys.iter().copied().filter(|at| count(at) > 0).collect();
    let mut state: u32 = 1;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as usize % below
    };
    let (mut twice, mut most) = (0, 0);
    for round in 0..60 {
        let mut damaged = hive.clone();
        for _ in 0..1 + round {
            // A parent, a bound, a security cell; in every other round another key's values or subkeys.
            let field = [16, 64, 44, 40, 28][next([3, 4, 3, 5][round % 4])];
            let among = if field == 28 { &parents } else { &keys };
            let (at, from) = (among[next(among.len())], among[next(among.len())]);
            let from = hive.cell(from).expect("a key");
            let word = read::u32_le(from, field).expect("inside");
            damaged.transact(|t| t.put_u32(at, field, word ^ u32::from(field == 16))).expect("inside");
        }
        let findings = damaged.check(false);
        assert_eq!(damaged.check(true), findings, "{round}");
        twice += usize::from(findings.iter().any(|finding| finding.rule == Rule::DoubleUse));
        most = most.max(findings.len());
    }
    assert!(twice > 10 && twice < 50 && most > 50, "{twice} {most}");
}

#[test]
fn every_planted_damage_is_found_by_its_rule() {
    let s = sample(5);
    let word = |word: u32| word.to_le_bytes().to_vec();
    let size = |size: i32| size.to_le_bytes().to_vec();
    let entry = |at: u32| s.hive.cell(CellOffset(at)).expect("a cell")[4..20].to_vec();
    let swapped = [&entry(s.leaf)[8..], &entry(s.leaf)[..8]].concat();
    let own_len = |at: u32| s.hive.cell(CellOffset(at)).expect("a cell").len() as i32 + 4;
    let cases: Vec<(Rule, u32, i64, Vec<u8>)> = vec![
        (Rule::Dangling, s.alpha, 0, b"xx".to_vec()),
        (Rule::Dangling, s.leaf, 4, word(s.alpha + 8)),
        (Rule::Dangling, s.alpha, 40, word(0xffff_fff0)),
        (Rule::Parent, s.one, 16, word(0x20)),
        (Rule::SubkeyCount, s.root, 20, word(99)),
        (Rule::ListEmpty, s.root, 20, word(0)),
        (Rule::ListEmpty, s.index, 2, vec![0, 0]),
        (Rule::Root, s.alpha, 2, vec![0x24, 0]),
        (Rule::Root, s.root, 2, vec![0x28, 0]),
        (Rule::KeyFlags, s.alpha, 2, vec![0x21, 0]),
        (Rule::KeyFlagsUnknown, s.alpha, 2, vec![0x20, 0x80]),
        (Rule::KeyName, s.alpha, 76, b"Al\\ph".to_vec()),
        (Rule::KeyName, s.alpha, 72, vec![0, 0]),
        (Rule::SubkeyOrder, s.alpha, 76, b"z".to_vec()),
        (Rule::SubkeyOrder, s.leaf, 4, swapped),
        (Rule::Mark, s.alpha, 76, b"B".to_vec()),
        (Rule::Mark, s.leaf, 8, word(1)),
        (Rule::DoubleUse, s.leaf, 12, word(s.alpha)),
        (Rule::DoubleUse, s.index, 8, word(s.first_leaf)),
        (Rule::DoubleUse, s.values, 4, word(s.unnamed)),
        (Rule::FreeUsed, s.alpha, 40, word(s.free)),
        (Rule::FreeUsed, s.leaf, 4, word(s.free)),
        (Rule::FreeUsed, s.one, -4, size(own_len(s.one))),
        (Rule::ListKind, s.list, 0, b"lf".to_vec()),
        (Rule::ListKind, s.list, 0, b"li".to_vec()),
        (Rule::ListKind, s.list, 0, b"no".to_vec()),
        (Rule::ListKind, s.first_leaf, 0, b"ri".to_vec()),
        (Rule::ListLength, s.list, 2, vec![0xff, 0xff]),
        (Rule::LargestSubkeyName, s.root, 52, vec![3, 0]),
        (Rule::LargestClass, s.alpha, 56, word(0)),
        (Rule::LargestValueName, s.alpha, 60, word(1)),
        (Rule::LargestValueData, s.alpha, 64, word(9)),
        (Rule::Class, s.one, 48, word(NIL)),
        (Rule::Class, s.one, 74, vec![0, 0x20]),
        (Rule::ValueList, s.alpha, 36, word(0)),
        (Rule::ValueList, s.alpha, 36, word(500)),
        (Rule::Value, s.number, 0, b"xx".to_vec()),
        (Rule::ValueFlags, s.big, 16, vec![3, 0]),
        (Rule::ValueFlags, s.unnamed, 16, vec![1, 0]),
        (Rule::ValueName, s.greek, 20, b"a\0b\0".to_vec()),
        (Rule::ValueSize, s.number, 4, word(0x8000_0009)),
        (Rule::ValueSize, s.empty, 4, word(0)),
        (Rule::ValueSize, s.empty, 8, word(1)),
        (Rule::ValueSize, s.unnamed, 4, word(3)),
        (Rule::ValueData, s.unnamed, 4, word(900)),
        (Rule::Duplicate, s.number, 2, vec![0, 0]),
        (Rule::BigDataRecord, s.record, 0, b"no".to_vec()),
        (Rule::BigDataCount, s.record, 2, vec![2, 0]),
        (Rule::BigDataCount, s.big, 4, word(20_000)),
        (Rule::BigDataList, s.record, 2, vec![0xff, 0x7f]),
        (Rule::SecurityReferences, s.sk, 12, word(1)),
        (Rule::SecurityRing, s.sk, 8, word(0x20)),
        (Rule::SecurityRing, s.sk, 4, word(s.sk)),
        (Rule::Security, s.other_sk, 0, b"zz".to_vec()),
        (Rule::Security, s.other_sk, 16, word(60_000)),
        (Rule::Descriptor, s.sk, 20, vec![9]),
        (Rule::Descriptor, s.other_sk, 16, word(60)),
        (Rule::DescriptorTwice, s.other_sk, 52, vec![0x3f]),
        (Rule::Leak, s.free, -4, size(-(free_len(&s)))),
        (Rule::AdjacentFree, s.free, -4, [size(8), vec![0; 4], size(free_len(&s) - 8)].concat()),
        (Rule::Tiles, s.root, -4, size(0)),
        (Rule::Tiles, s.root, -4, size(-84)),
        (Rule::Tiles, 0, -4, b"xbin".to_vec()),
    ];
    for (number, (rule, at, offset, bytes)) in cases.iter().enumerate() {
        let broken = s.broken(*at, *offset, bytes);
        assert!(broken.contains(rule), "case {number}: {rule:?} not in {broken:?}");
    }
}

/// Returns the size of the free cell of the sample.
fn free_len(sample: &Sample) -> i32 {
    read::i32_le(sample.hive.bytes(), file_position(CellOffset(sample.free))).expect("inside")
}

#[test]
fn a_segments_cell_must_have_its_full_size() {
    let s = sample(5);
    let shorter = (8 - (SEGMENT_LEN as i32 + 8)).to_le_bytes();
    let mut bytes = s.hive.bytes().to_vec();
    let at = file_position(CellOffset(s.segment));
    bytes[at..at + 4].copy_from_slice(&shorter);
    bytes[at + SEGMENT_LEN..at + SEGMENT_LEN + 4].copy_from_slice(&8i32.to_le_bytes());
    let mut hive = s.hive.clone();
    hive.bytes = bytes;
    let rules: Vec<Rule> = hive.verify().iter().map(|finding| finding.rule).collect();
    assert!(rules.contains(&Rule::BigDataSegment) && rules.len() <= 2, "{rules:?}");
}

#[test]
fn hints_kinds_and_whole_values_are_those_of_an_old_version() {
    let s = sample(3);
    assert!(s.broken(s.list, 8, &[1, 0, 0, 0]).contains(&Rule::Mark));
    assert!(s.broken(s.list, 0, b"lh").contains(&Rule::ListKind));
    assert!(s.broken(s.big, 4, &40_000u32.to_le_bytes()).contains(&Rule::ValueData));
}

#[test]
fn what_windows_itself_breaks_is_a_warning() {
    let s = sample(5);
    let mut hive = s.hive.clone();
    hive.header.xp = true;
    hive.header.offline = true;
    hive.transact(|t| {
        t.put(CellOffset(s.root), 52, &[3, 0])?;
        t.put(CellOffset(s.root), 2, &[0x28, 0])
    })
    .expect("inside");
    let findings: Vec<(Severity, Rule)> = hive.verify().iter().map(|f| (f.severity, f.rule)).collect();
    assert_eq!(findings, [(Severity::Warning, Rule::Root), (Severity::Warning, Rule::LargestSubkeyName)]);
}

#[test]
fn a_finding_prints_its_place_and_its_numbers() {
    let s = sample(5);
    let mut hive = s.hive.clone();
    hive.transact(|t| t.put_u32(CellOffset(s.one), 16, 0x20)).expect("inside");
    let text = hive.verify().iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected =
        format!("error parent at {}: the key names another parent (0x20, expected {:#x})", CellOffset(s.one), s.alpha);
    assert_eq!(text, [expected]);
}

#[test]
fn keys_nested_too_deeply_are_told_and_findings_have_an_end() {
    let mut hive = Hive::parse(sample::empty(5, 0x40_000)).expect("a hive");
    hive.create_key(&"k\\".repeat(512), FileTime(1)).expect("as deep as Windows goes");
    assert_eq!(hive.verify(), []);
    let deepest = hive.key(&"k\\".repeat(512)).expect("good").expect("made").cell();
    hive.transact(|t| t.create_path(deepest, &["k"], FileTime(1))).expect("room enough");
    let rules: Vec<Rule> = hive.verify().iter().map(|finding| finding.rule).collect();
    assert_eq!(rules[0], Rule::Depth);
    assert!(hive.walk().any(|step| step.is_err()));

    // A list of eleven thousand keys that are none.
    let mut hive = Hive::parse(sample::empty(5, 0x40_000)).expect("a hive");
    hive.transact(|t| {
        let mut cell = [&b"lh"[..], &11_000u16.to_le_bytes()].concat();
        cell.resize(4 + 8 * 11_000, 0x11);
        let list = t.store(&cell)?;
        t.put_u32(CellOffset(0x20), 28, list.0)?;
        t.put_u32(CellOffset(0x20), 20, 11_000)
    })
    .expect("room enough");
    let findings = hive.verify();
    assert_eq!(findings, hive.check(true));
    assert_eq!((findings.len(), findings.last().map(|last| last.rule)), (10_001, Some(Rule::TooMany)));
}
