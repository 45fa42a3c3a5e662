//! Hostile hives, each kind by its name: a good hive with one thing wrong is refused, or the verifier tells what is
//! wrong; reading ends with an answer; an edit that cannot be right fails and changes nothing.

use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, Failure as _};
use coldforge_regf::{Error, Hive, Rule};

use super::{cleaned, parse};
use crate::support::fixture;

const NOW: FileTime = FileTime(1);

/// A hive with something of everything, and where it is.
struct Good {
    bytes: Vec<u8>,
    root: CellOffset,
    many: CellOffset,
    child: CellOffset,
    other: CellOffset,
    value: CellOffset,
    big: CellOffset,
}

impl Good {
    fn new() -> Self {
        let mut hive = parse(&std::fs::read(fixture("hives/minimal-1.5")).unwrap());
        hive.grow(0x80_000).unwrap();
        for number in 0..600 {
            hive.create_key(&format!("Many\\Key{number:03}"), NOW).unwrap();
        }
        hive.set_value("Child\\Below", "Value", 3, &[5; 30], NOW).unwrap();
        hive.set_value("Child", "Text", 1, b"a\0\0\0", NOW).unwrap();
        hive.set_value("Child", "Жук", 3, &[7; 40_000], NOW).unwrap();
        hive.create_key("Child\\Other", NOW).unwrap();
        hive.seal().unwrap();
        assert_eq!(hive.verify(), []);
        let key = |path| hive.key(path).unwrap().unwrap();
        Self {
            root: hive.root().unwrap().cell(),
            many: key("Many").cell(),
            child: key("Child").cell(),
            other: key("Child\\Other").cell(),
            value: key("Child\\Below").value("Value").unwrap().unwrap().cell(),
            big: key("Child").value("жук").unwrap().unwrap().cell(),
            bytes: hive.into_bytes(),
        }
    }

    fn word(&self, at: CellOffset, offset: usize) -> u32 {
        let start = 0x1004 + at.0 as usize + offset;
        u32::from_le_bytes(self.bytes[start..start + 4].try_into().unwrap())
    }

    /// Returns the hive file with bytes of a cell's payload replaced; -4 is the cell's size.
    fn with(&self, at: CellOffset, offset: isize, bytes: &[u8]) -> Vec<u8> {
        let mut hive = self.bytes.clone();
        let start = (0x1004 + at.0 as usize).checked_add_signed(offset).unwrap();
        hive[start..start + bytes.len()].copy_from_slice(bytes);
        hive
    }

    fn with_word(&self, at: CellOffset, offset: isize, word: u32) -> Vec<u8> {
        self.with(at, offset, &word.to_le_bytes())
    }

    /// Returns the hive file with a word of the base block replaced, and the checksum made right.
    fn with_base(&self, offset: usize, word: u32) -> Vec<u8> {
        let mut hive = self.bytes.clone();
        hive[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
        if offset != 508 {
            let equal = hive[4..8] == hive[8..12];
            hive[8] ^= 1; // out of order, so that `cleaned` makes the checksum right
            hive = cleaned(hive);
            assert!(equal);
        }
        hive
    }
}

/// Does with a hive whatever can be done; an edit that fails must change nothing.
fn exercise(hive: &mut Hive) {
    let steps = hive.walk().count();
    assert!(steps < 5000, "{steps}");
    for (_, key) in hive.walk().flatten() {
        let _ = (key.class(), key.security().map(<[u8]>::len), key.subkeys().map(Iterator::count));
        for value in key.values().into_iter().flatten().flatten() {
            let _ = value.data().map(|data| data.len());
        }
    }
    type Edit = fn(&mut Hive) -> Result<(), Error>;
    let edits: [Edit; 8] = [
        |hive| hive.set_value("Child", "New", 3, &[1; 20_000], NOW).map(drop),
        |hive| hive.set_value("Child", "Жук", 3, &[1; 20_000], NOW).map(drop),
        |hive| hive.rename_value("Child", "Text", "A longer name for a text", NOW).map(drop),
        |hive| hive.delete_value("Child", "Жук", NOW).map(drop),
        |hive| hive.create_key("Many\\Key300a\\b", NOW).map(drop),
        |hive| hive.delete_key("Many\\Key301", NOW).map(drop),
        |hive| hive.delete_tree("Child", NOW).map(drop),
        |hive| hive.delete_tree("Many", NOW).map(drop),
    ];
    for edit in edits {
        let before = hive.bytes().to_vec();
        if edit(hive).is_err() {
            assert!(hive.bytes() == before, "a failed edit changes nothing");
        }
    }
    let _ = (hive.verify(), hive.seal());
}

#[test]
fn a_base_block_that_is_wrong_is_refused_by_name() {
    let good = Good::new();
    let cases: &[(&str, usize, u32, &str)] = &[
        ("bad magic", 0, 0x6665_6773, "the file is no hive"),
        ("sequence numbers that differ", 8, 0x1234, "the hive is dirty"),
        ("major version 2", 20, 2, "the hive has the version 2.5"),
        ("minor version 1", 24, 1, "the hive has the version 1.1"),
        ("minor version 2", 24, 2, "the hive has the version 1.2"),
        ("minor version 6", 24, 6, "the hive is layered"),
        ("minor version 7", 24, 7, "the hive has the version 1.7"),
        ("a transaction log", 28, 6, "the file is of type 6"),
        ("another format", 32, 2, "the file is of type 0 and format 2"),
        ("no bins", 40, 0, "the bins' size"),
        ("bins of no whole pages", 40, 0x1800, "the bins' size"),
        ("more bins than the file has", 40, 0x7fff_f000, "the bins' size"),
        ("more bins than can be addressed", 40, 0xffff_f000, "the bins' size"),
        ("wrong checksum", 508, 0x1234_5678, "the base block's checksum"),
        ("a root that is no cell", 36, 0x24, "no allocated cell begins at 0x24"),
        ("a root that is no key", 36, good.value.0, "the cell at"),
    ];
    for (name, offset, word, expected) in cases {
        let bytes = if *offset == 8 {
            let mut bytes = good.bytes.clone();
            bytes[8..12].copy_from_slice(&word.to_le_bytes());
            let sum =
                (0..508).step_by(4).fold(0, |sum, at| sum ^ u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
            bytes[508..512].copy_from_slice(&sum.to_le_bytes());
            bytes
        } else {
            good.with_base(*offset, *word)
        };
        let error = Hive::parse(bytes).map(|_| ()).expect_err(name).to_string();
        assert!(error.starts_with(expected), "{name}: {error}");
    }
}

#[test]
fn bins_and_cells_that_do_not_tile_are_refused_by_name() {
    let good = Good::new();
    let bin = CellOffset(0);
    let cases: &[(&str, CellOffset, isize, u32, &str)] = &[
        ("a bin without signature", bin, -4, 0, "no bin header at 0x0"),
        ("a bin that says it lies elsewhere", bin, 0, 0x2000, "the bin at 0x0 says that it lies at 0x2000"),
        ("a bin of size 0", bin, 4, 0, "the bin at 0x0 has the impossible size"),
        ("an unaligned bin", bin, 4, 0x1010, "the bin at 0x0 has the impossible size"),
        ("a bin beyond the bins", bin, 4, 0x7000_0000, "the bin at 0x0 has the impossible size"),
        ("a cell of size 0", good.child, -4, 0, "the cell at"),
        ("a cell of odd size", good.child, -4, 0xffff_ffa4, "the cell at"),
        ("a cell that overruns its bin", good.child, -4, 0xffff_8000, "the cell at"),
        ("a cell of the smallest size", good.child, -4, 0x8000_0000, "the cell at"),
    ];
    for (name, at, offset, word, expected) in cases {
        let error = Hive::parse(good.with_word(*at, *offset, *word)).map(|_| ()).expect_err(name).to_string();
        assert!(error.starts_with(expected), "{name}: {error}");
    }
    for length in [0, 4, 511, 4095, 4096, 4100, 8000, 0x8000] {
        assert!(Hive::parse(good.bytes[..length].to_vec()).is_err(), "cut to {length}");
    }
}

#[test]
fn damage_inside_is_told_by_the_verifier_and_survived_by_everything_else() {
    let good = Good::new();
    let (list, index) = (CellOffset(good.word(good.child, 28)), CellOffset(good.word(good.many, 28)));
    let (leaf, second) = (CellOffset(good.word(index, 4)), CellOffset(good.word(index, 8)));
    let (values, record) = (CellOffset(good.word(good.child, 40)), CellOffset(good.word(good.big, 8)));
    let segments = CellOffset(good.word(record, 4));
    let (security, size) = (CellOffset(good.word(good.child, 44)), |len: i32| len.to_le_bytes());
    let own_size =
        i32::from_le_bytes(good.with(good.other, 0, &[])[0x1000 + good.other.0 as usize..][..4].try_into().unwrap());
    let short = |number: u16| number.to_le_bytes();
    let word = |word: u32| word.to_le_bytes();
    type Case<'c> = (&'c str, CellOffset, isize, Vec<u8>, Rule);
    let cases: Vec<Case<'_>> = vec![
        ("an index that names itself", index, 4, word(index.0).to_vec(), Rule::DoubleUse),
        ("an index below an index", leaf, 0, b"ri".to_vec(), Rule::ListKind),
        ("an index that names one leaf twice", index, 8, word(leaf.0).to_vec(), Rule::DoubleUse),
        ("a key that is its own subkey", list, 4, word(good.child.0).to_vec(), Rule::DoubleUse),
        ("a key whose subkey is the root", list, 4, word(good.root.0).to_vec(), Rule::DoubleUse),
        ("two keys with one list", good.other, 20, [word(2), word(0), word(list.0)].concat(), Rule::DoubleUse),
        ("a list that is a value", good.child, 28, word(good.value.0).to_vec(), Rule::ListKind),
        ("a subkey that is a value", list, 4, word(good.value.0).to_vec(), Rule::Dangling),
        ("a subkey beyond the hive", list, 4, word(0x7fff_fff8).to_vec(), Rule::Dangling),
        ("more subkeys by the key than by the list", good.child, 20, word(3).to_vec(), Rule::SubkeyCount),
        ("fewer subkeys by the key than by the list", good.child, 20, word(1).to_vec(), Rule::SubkeyCount),
        ("a list longer than its cell", list, 2, short(0xffff).to_vec(), Rule::ListLength),
        ("an empty list", list, 2, short(0).to_vec(), Rule::ListEmpty),
        ("a leaf of another version", leaf, 0, b"lf".to_vec(), Rule::ListKind),
        ("a wrong hash", second, 8, word(1).to_vec(), Rule::Mark),
        ("a free cell that is used", good.other, -4, size(-own_size).to_vec(), Rule::FreeUsed),
        ("a key name longer than its cell", good.other, 72, short(0x4000).to_vec(), Rule::Dangling),
        ("a key name of half a character", good.other, 2, [short(0), [0; 2]].concat()[..2].to_vec(), Rule::Dangling),
        ("a key without name", good.other, 72, short(0).to_vec(), Rule::KeyName),
        ("two keys of one name", good.other, 72, [&short(5)[..], &short(0), b"Below"].concat(), Rule::SubkeyOrder),
        ("another parent", good.other, 16, word(good.root.0).to_vec(), Rule::Parent),
        ("a class name beyond its cell", good.other, 74, short(100).to_vec(), Rule::Class),
        ("a class that is a key", good.other, 48, word(good.root.0).to_vec(), Rule::Class),
        ("a value list longer than its cell", good.child, 36, word(0x4000_0000).to_vec(), Rule::ValueList),
        ("a value list that is a key", good.child, 40, word(good.other.0).to_vec(), Rule::DoubleUse),
        ("a value twice in its list", values, 4, word(good.word(values, 0)).to_vec(), Rule::DoubleUse),
        ("a value that is a key", values, 0, word(good.other.0).to_vec(), Rule::DoubleUse),
        ("a value name longer than its cell", good.value, 2, short(0x7fff).to_vec(), Rule::Value),
        ("a value name of half a character", good.big, 2, short(5).to_vec(), Rule::Value),
        ("a value with flags that are not known", good.value, 16, short(3).to_vec(), Rule::ValueFlags),
        ("five bytes said to be inline", good.value, 4, word(0x8000_0005).to_vec(), Rule::ValueSize),
        ("four bytes not inline", good.value, 4, word(4).to_vec(), Rule::ValueSize),
        ("data longer than its cell", good.value, 4, word(16_000).to_vec(), Rule::ValueData),
        ("data of two gibibytes", good.value, 4, word(0x7fff_ffff).to_vec(), Rule::BigDataRecord),
        ("big data without a record", record, 0, b"bd".to_vec(), Rule::BigDataRecord),
        ("big data with a segment more", record, 2, short(4).to_vec(), Rule::BigDataCount),
        ("big data with 65,535 segments", record, 2, short(0xffff).to_vec(), Rule::BigDataList),
        ("a segment list that is its own record", record, 4, word(record.0).to_vec(), Rule::DoubleUse),
        ("a segment twice", segments, 4, word(good.word(segments, 0)).to_vec(), Rule::DoubleUse),
        ("a segment that is a value", segments, 0, word(good.value.0).to_vec(), Rule::BigDataSegment),
        ("security that is a key", good.other, 44, word(good.root.0).to_vec(), Rule::DoubleUse),
        ("a ring that does not close", security, 4, word(0x7fff_fff8).to_vec(), Rule::Dangling),
        ("a ring that leaves out members", security, 4, word(security.0).to_vec(), Rule::SecurityRing),
        ("a ring whose member points elsewhere", security, 8, word(good.root.0).to_vec(), Rule::SecurityRing),
        ("a reference count of 0", security, 12, word(0).to_vec(), Rule::SecurityReferences),
        ("a reference count about to wrap", security, 12, word(u32::MAX).to_vec(), Rule::SecurityReferences),
        ("a descriptor longer than its cell", security, 16, word(0xffff_ff00).to_vec(), Rule::Security),
        ("a descriptor that is none", security, 20, vec![9], Rule::Descriptor),
    ];
    for (name, at, offset, bytes, rule) in cases {
        let mut hive = parse(&good.with(at, offset, &bytes));
        let found: Vec<Rule> = hive.verify().iter().map(|finding| finding.rule).collect();
        if name == "a key name of half a character" {
            // Its nine bytes are no UTF-16.
            let name_len = [&[0, 0][..], &5u16.to_le_bytes()].concat();
            let mut odd = good.with(at, 2, &name_len[..2]);
            let start = 0x1004 + at.0 as usize + 72;
            odd[start..start + 2].copy_from_slice(&name_len[2..]);
            hive = parse(&odd);
        }
        assert!(found.contains(&rule), "{name}: {rule:?} not in {found:?}");
        exercise(&mut hive);
    }
}

#[test]
fn edits_that_meet_damage_are_refused_by_name() {
    let good = Good::new();
    let security = CellOffset(good.word(good.child, 44));
    let refused = |bytes: Vec<u8>, edit: fn(&mut Hive) -> Result<(), Error>| {
        let mut hive = parse(&bytes);
        let error = edit(&mut hive).expect_err("refused");
        assert!(hive.bytes() == bytes);
        error
    };
    let create = |hive: &mut Hive| hive.create_key("Child\\New", NOW).map(drop);
    let delete = |hive: &mut Hive| hive.delete_tree("Child", NOW).map(drop);
    let wrap = refused(good.with_word(security, 12, u32::MAX), create);
    assert_eq!((wrap.code(), wrap), (Some("E-HIVE-REFERENCES"), Error::References { at: security, actual: u32::MAX }));
    let zero = refused(good.with_word(security, 12, 0), delete);
    assert_eq!(zero, Error::References { at: security, actual: 0 });
    let count = refused(good.with_word(good.root, 20, 1), delete);
    assert!(matches!(count, Error::SubkeyCount { actual: 1, .. }), "{count}");
    let parent = refused(good.with_word(good.other, 16, good.root.0), delete);
    assert!(matches!(parent, Error::Parent { .. }), "{parent}");
    let ring = refused(good.with_word(security, 4, good.root.0), |hive| {
        let mut new = hive.key("Child").unwrap().unwrap().security().unwrap().to_vec();
        let last = new.len() - 1;
        new[last] ^= 1;
        hive.set_security("Child", &new, NOW).map(drop)
    });
    assert!(matches!(ring, Error::Signature { .. } | Error::Ring { .. } | Error::Descriptor), "{ring}");
    // A symbolic link, also on the way, is not gone through.
    for path in ["Child\\Other", "Child\\Other\\Below"] {
        let mut hive = parse(&good.with(good.other, 2, &[0x30]));
        let link = Error::Link { at: good.other };
        assert_eq!(hive.set_value(path, "v", 4, &[0; 4], NOW), Err(link.clone()));
        assert_eq!(hive.delete_tree(path, NOW), Err(link));
    }
}

#[test]
fn a_key_with_a_million_subkeys_is_read_checked_and_edited() {
    const COUNT: u32 = 1_000_000;
    let mut hive = parse(&std::fs::read(fixture("hives/minimal-1.5")).unwrap());
    hive.grow(0x40_000).unwrap();
    hive.create_key("Million\\Model", NOW).unwrap();
    hive.seal().unwrap();
    let key = hive.key("Million").unwrap().unwrap();
    let (parent, model) = (key.cell(), hive.key("Million\\Model").unwrap().unwrap().cell());
    let (mut bytes, known) = (hive.bytes().to_vec(), hive.walk().count());
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let bins_len = word(&bytes, 40);
    // Behind the bins there is a new one with the keys, copies of the model with names of seven digits, and lists.
    bytes.truncate(0x1000 + bins_len as usize);
    let cell = 0x1000 + model.0 as usize;
    let (node, leaves) = (bytes[cell + 4..cell + 4 + 76].to_vec(), COUNT.div_ceil(500));
    let lists_len = leaves * (4 + 4 + 500 * 8) + 16 + leaves * 4;
    let bin_len = (32 + COUNT * 88 + lists_len + 8).next_multiple_of(4096);
    let mut bin = Vec::with_capacity(bin_len as usize);
    bin.extend(b"hbin");
    [bins_len, bin_len, 0, 0, 0, 0, 0].iter().for_each(|word| bin.extend(word.to_le_bytes()));
    let mut index = Vec::new();
    let mut entries = Vec::new();
    for number in 0..COUNT {
        let (at, name) = (bins_len + bin.len() as u32, format!("{number:07}"));
        bin.extend((-88i32).to_le_bytes());
        bin.extend(&node);
        let length = bin.len();
        bin[length - 4..length - 2].copy_from_slice(&7u16.to_le_bytes());
        bin.extend(name.bytes().chain([0]));
        let hash = name.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(37).wrapping_add(u32::from(byte)));
        entries.extend([at, hash].into_iter().flat_map(u32::to_le_bytes));
        if number % 500 == 499 {
            index.extend((bins_len + bin.len() as u32).to_le_bytes());
            bin.extend((-(8 + 500 * 8i32)).to_le_bytes());
            bin.extend([&b"lh"[..], &500u16.to_le_bytes(), &entries].concat());
            entries.clear();
        }
    }
    let list = bins_len + bin.len() as u32;
    let index_len = (8 + index.len()).next_multiple_of(8);
    bin.extend((-(index_len as i32)).to_le_bytes());
    bin.extend([&b"ri"[..], &(leaves as u16).to_le_bytes(), &index].concat());
    bin.resize(bin.len() + index_len - 8 - index.len(), 0);
    let rest = bin_len - bin.len() as u32;
    bin.extend(rest.to_le_bytes());
    bin.resize(bin_len as usize, 0);
    bytes.extend(bin);
    let mut put = |at: usize, word: u32| bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    let (parent, security) = (0x1004 + parent.0 as usize, 0x1004 + word(&hive.bytes()[cell + 4..], 44) as usize);
    put(40, bins_len + bin_len);
    put(parent + 20, COUNT);
    put(parent + 28, list);
    put(parent + 52, 14);
    put(security + 12, word(hive.bytes(), security + 12) + COUNT);
    bytes[8] ^= 1; // out of order, so that `cleaned` makes the checksum right
    let mut hive = parse(&cleaned(bytes));
    // The model itself and its leaf belong to nothing now.
    let rules: Vec<Rule> = hive.verify().iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::SecurityReferences, Rule::Leak]);
    assert_eq!(hive.walk().count(), COUNT as usize + known - 1);
    for name in ["0000000", "0499999", "0500000", "0999999"] {
        assert_eq!(hive.key(&format!("million\\{name}")).unwrap().expect("made").name().to_string(), name);
    }
    assert!(hive.key("Million\\1000000").unwrap().is_none());
    hive.grow(hive.next_len(1).unwrap()).unwrap();
    hive.create_key("Million\\0500000a", NOW).unwrap();
    hive.delete_key("Million\\0000000", NOW).unwrap().unwrap();
    assert_eq!(hive.key("Million").unwrap().unwrap().subkey_count(), COUNT);
    assert_eq!(hive.verify().iter().map(|finding| finding.rule).collect::<Vec<_>>(), rules);
    hive.delete_tree("Million", NOW).unwrap().unwrap();
    assert_eq!(hive.verify().iter().map(|finding| finding.rule).collect::<Vec<_>>(), rules);
}
