//! Edits against a model: whatever sequence is made, the hive holds what a plain map holds, and stays in order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::list::Kind;
use crate::{Error, Hive, Rule, sample};
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, Extent, offset, read};

/// Key path -> value name -> (type, data); paths and names in the case in which they were made first.
type Model = BTreeMap<String, BTreeMap<String, (u32, Vec<u8>)>>;

const PATHS: &[&str] = &["", "A", "A\\b", "A\\Éa", "A\\b\\c\\d", "Жук", "zz", "ZZ\\x", "A\\ba", "B_c", "bZ\\1\\2"];
const NAMES: &[&str] = &["", "Start", "START", "Ж", "naïve", "a\\b", "\u{1f30e}", "x"];
const LENGTHS: &[usize] = &[0, 1, 3, 4, 5, 8, 12, 100, 4000, 4061, 16_344, 16_345, 20_000, 32_688, 32_689];

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Delete(usize, usize),
    DeleteKey(usize),
    DeleteTree(usize),
    Rename(usize, usize, usize),
    Set(usize, usize, u32, usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let set = (0..PATHS.len(), 0..NAMES.len(), 0..4u32, 0..LENGTHS.len(), 0..3u8)
        .prop_map(|(path, name, kind, length, fill)| Step::Set(path, name, kind, length, fill));
    prop_oneof![
        1 => (0..PATHS.len()).prop_map(Step::Create),
        2 => (0..PATHS.len(), 0..NAMES.len()).prop_map(|(path, name)| Step::Delete(path, name)),
        1 => (0..PATHS.len()).prop_map(Step::DeleteKey),
        1 => (0..PATHS.len()).prop_map(Step::DeleteTree),
        1 => (0..PATHS.len(), 0..NAMES.len(), 0..NAMES.len()).prop_map(|(path, from, to)| Step::Rename(path, from, to)),
        5 => set,
    ]
}

/// Returns the entry of `map` whose name is `name` in whatever case, or `name` itself.
fn spelled<T>(map: &BTreeMap<String, T>, name: &str) -> String {
    map.keys().find(|known| known.to_uppercase() == name.to_uppercase()).cloned().unwrap_or_else(|| name.to_owned())
}

/// Makes a key of the model, and those above it; returns its path as the model has it.
fn make(model: &mut Model, path: &str) -> String {
    let mut made = String::new();
    for name in path.split('\\').filter(|name| !name.is_empty()) {
        let child = if made.is_empty() { name.to_owned() } else { format!("{made}\\{name}") };
        made = spelled(model, &child);
        model.entry(made.clone()).or_default();
    }
    made
}

/// Returns what a hive holds.
fn read_all(hive: &Hive) -> Model {
    let mut names: Vec<String> = Vec::new();
    let mut all = Model::new();
    for step in hive.walk() {
        let (depth, key) = step.expect("a good hive");
        names.truncate(depth.saturating_sub(1));
        if depth > 0 {
            names.push(key.name().to_string());
        }
        let values = key.values().expect("a good list").map(|value| {
            let value = value.expect("a good value");
            (value.name().to_string(), (value.kind(), value.data().expect("good data").into_owned()))
        });
        all.insert(names.join("\\"), values.collect());
    }
    all
}

/// Tells whether two files differ only inside `touched`.
fn differ_only_in(before: &[u8], now: &[u8], touched: &[Extent]) -> bool {
    let mut masked = now.to_vec();
    for extent in touched {
        let (at, length) = (extent.offset as usize, extent.length as usize);
        read::put(&mut masked, at, &before[at..at + length]).expect("inside the file");
    }
    masked == before
}

/// Makes one step in the hive and in the model.
fn apply(hive: &mut Hive, model: &mut Model, step: &Step, now: FileTime) -> Result<Vec<Extent>, Error> {
    match step {
        Step::Create(path) => {
            let edit = hive.create_key(PATHS[*path], now)?;
            let known = model.len();
            make(model, PATHS[*path]);
            assert_eq!(edit.is_unchanged(), model.len() == known);
            Ok(edit.touched)
        }
        Step::Delete(path, name) => {
            let edit = hive.delete_value(PATHS[*path], NAMES[*name], now)?;
            let values = model.get_mut(&spelled(model, PATHS[*path]));
            let gone = values.and_then(|values| values.remove(&spelled(values, NAMES[*name])));
            assert_eq!(edit.as_ref().and_then(|edit| edit.before.clone()), gone);
            Ok(edit.map(|edit| edit.touched).unwrap_or_default())
        }
        Step::DeleteKey(path) | Step::DeleteTree(path) => {
            let path = spelled(model, PATHS[*path]);
            let tree = matches!(step, Step::DeleteTree(_));
            let edit = if tree { hive.delete_tree(&path, now) } else { hive.delete_key(&path, now) };
            let below = |known: &str| known == path || known.starts_with(&format!("{path}\\"));
            let count = model.keys().filter(|known| below(known)).count();
            match edit {
                Ok(edit) => {
                    assert!(!path.is_empty() && edit.is_some() == (count > 0) && (tree || count < 2));
                    model.retain(|known, _| !below(known));
                    Ok(edit.map(|edit| edit.touched).unwrap_or_default())
                }
                Err(Error::NoDelete { .. }) if path.is_empty() => Ok(Vec::new()),
                Err(Error::HasSubkeys { .. }) if !tree && (count > 1 || path.is_empty()) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        }
        Step::Rename(path, from, to) => {
            let (from, to) = (NAMES[*from], NAMES[*to]);
            let edit = hive.rename_value(PATHS[*path], from, to, now);
            let values = model.get_mut(&spelled(model, PATHS[*path]));
            let Some((values, old)) = values.and_then(|values| {
                let old = Some(spelled(values, from)).filter(|old| values.contains_key(old))?;
                Some((values, old))
            }) else {
                assert_eq!(edit, Ok(None));
                return Ok(Vec::new());
            };
            let other = Some(spelled(values, to)).filter(|other| values.contains_key(other) && *other != old);
            match edit {
                Ok(edit) => {
                    assert_eq!(other, None);
                    let value = values.remove(&old).expect("just found");
                    values.insert(to.to_owned(), value);
                    Ok(edit.expect("the value is there").touched)
                }
                Err(Error::ValueExists { .. }) if other.is_some() => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        }
        Step::Set(path, name, kind, length, fill) => {
            let data = vec![*fill; LENGTHS[*length]];
            let edit = hive.set_value(PATHS[*path], NAMES[*name], *kind, &data, now)?;
            let path = make(model, PATHS[*path]);
            let values = model.get_mut(&path).expect("just made");
            let before = values.insert(spelled(values, NAMES[*name]), (*kind, data.clone()));
            assert_eq!(edit.is_unchanged(), before == Some((*kind, data)));
            assert_eq!(edit.before, before);
            Ok(edit.touched)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_edits_leaves_what_a_map_would_hold_and_a_hive_in_order(
        minor in 3u32..=5,
        pages in 2usize..40,
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let original = sample::empty(minor, pages * 0x1000);
        let mut hive = Hive::parse(original.clone()).expect("a hive");
        let mut model = Model::from([(String::new(), BTreeMap::new())]);
        for (number, step) in (1u64..).zip(&steps) {
            let before = hive.bytes().to_vec();
            match apply(&mut hive, &mut model, step, FileTime(number)) {
                Ok(touched) => {
                    prop_assert!(differ_only_in(&before, hive.bytes(), &touched), "{step:?}");
                    prop_assert_eq!(&offset::normalize(touched.clone()), &touched);
                }
                Err(error) => {
                    let full = matches!(error, Error::Full { .. });
                    prop_assert!(full, "{:?}: {}", step, error);
                    prop_assert!(hive.bytes() == before, "{step:?}");
                }
            }
            prop_assert_eq!(hive.verify(), []);
            prop_assert_eq!(&read_all(&hive), &model);
        }
        hive.seal().expect("long enough");
        prop_assert!(differ_only_in(&original, hive.bytes(), &hive.touched()));
        let again = Hive::parse(hive.into_bytes()).expect("a sealed hive");
        prop_assert_eq!(again.verify(), []);
        prop_assert_eq!(read_all(&again), model);
    }
}

#[test]
fn two_thousand_subkeys_in_any_order_stay_sorted_in_leaves_and_an_index() {
    for minor in [3, 5] {
        let mut hive = Hive::parse(sample::empty(minor, 0x80_000)).expect("a hive");
        // 1,999 is prime to 7: every number once, far from the one before.
        let names: Vec<String> = (0..1999u32).map(|number| format!("Key{}", number * 7 % 1999)).collect();
        for name in &names {
            hive.create_key(&format!("many\\{name}"), FileTime(1)).expect("room enough");
        }
        assert_eq!(hive.verify(), []);
        let many = hive.key("MANY").expect("good lists").expect("made");
        assert_eq!(many.subkeys().expect("good lists").count(), names.len());
        let leaves = many.leaves().expect("good lists");
        assert!(leaves.len() >= 4 && leaves.iter().all(|leaf| leaf.len() <= 507));
        for name in &names {
            let found = many.subkey(&name.to_uppercase()).expect("good lists").expect("made");
            assert_eq!(found.name().to_string(), *name);
        }
    }
}

#[test]
fn data_of_every_length_is_stored_in_its_form_on_every_version() {
    for minor in [3, 4, 5] {
        let mut hive = Hive::parse(sample::empty(minor, 0xa0_000)).expect("a hive");
        let data: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
        let lengths = [0, 1, 2, 3, 4, 5, 16_344, 16_345, 32_688, 32_689, 100_000];
        // Up and down, so that each form replaces each neighbour, larger and smaller.
        for length in lengths.into_iter().chain(lengths.into_iter().rev()) {
            let edit = hive.set_value("k", "v", 3, &data[..length], FileTime(9)).expect("room enough");
            let value = hive.key("k").expect("good").expect("made").value("V").expect("good").expect("set");
            assert_eq!(value.data().expect("good data"), &data[..length], "{minor} {length}");
            assert_eq!(value.cell(), edit.cell);
            assert_eq!(hive.verify(), [], "{minor} {length}");
            hive.set_value("k", &format!("v{length}"), 3, &data[..length], FileTime(9)).expect("room enough");
        }
        assert_eq!(hive.verify(), []);
    }
}

#[test]
fn a_link_or_a_flag_that_is_not_known_is_not_edited() {
    let good = sample::empty(5, 0x4000);
    let with = |at: usize, byte: u8| {
        let mut hive = Hive::parse(good.clone()).expect("a hive");
        hive.set_value("A\\B", "v", 4, &[1, 0, 0, 0], FileTime(1)).expect("room enough");
        let key = hive.key("A").expect("good").expect("made").cell();
        let value = hive.key("A\\B").expect("good").expect("made").value("v").expect("good").expect("set").cell();
        let cell = if at >= 0x100 { value } else { key };
        hive.transact(|t| t.put(cell, at % 0x100, &[byte])).expect("inside");
        let before = hive.bytes().to_vec();
        let set = hive.set_value("A\\B", "v", 4, &[2, 0, 0, 0], FileTime(2)).expect_err("refused");
        assert_eq!(hive.delete_value("a\\b", "V", FileTime(2)).expect_err("refused"), set);
        assert_eq!(hive.bytes(), before);
        set
    };
    assert!(matches!(with(2, 0x30), Error::Link { .. }));
    assert!(matches!(with(2, 0x60), Error::KeyFlags { flags: 0x60, .. }));
    assert!(matches!(with(2, 0x22), Error::KeyFlags { flags: 0x22, .. }));
    assert!(matches!(with(0x110, 3), Error::ValueFlags { flags: 3, .. }));
}

#[test]
fn a_key_without_room_for_a_reference_is_not_made() {
    let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
    hive.transact(|t| t.put_u32(CellOffset(0x78), 12, u32::MAX)).expect("inside");
    assert!(matches!(hive.create_key("A", FileTime(1)), Err(Error::References { .. })));
    assert!(matches!(hive.create_key(&"a\\".repeat(513), FileTime(1)), Err(Error::TooDeep { .. })));
    assert!(matches!(hive.create_key(&"a".repeat(256), FileTime(1)), Err(Error::Name { .. })));
}

#[test]
fn times_change_only_where_values_or_subkeys_do() {
    let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
    hive.set_value("A\\B", "v", 4, &[1, 0, 0, 0], FileTime(1)).expect("room enough");
    hive.set_value("A\\B", "v", 4, &[2, 0, 0, 0], FileTime(2)).expect("in place");
    hive.create_key("A\\C", FileTime(3)).expect("room enough");
    assert!(hive.create_key("A\\C", FileTime(4)).expect("there").is_unchanged());
    assert!(hive.set_value("A\\B", "V", 4, &[2, 0, 0, 0], FileTime(4)).expect("so already").is_unchanged());
    let time = |path| hive.key(path).expect("good").expect("made").last_written().0;
    assert_eq!([time(""), time("A"), time("A\\B"), time("A\\C")], [1, 3, 2, 3]);
    hive.seal().expect("long enough");
    assert_eq!(hive.seal().expect("long enough"), []);
}

/// Puts all subkeys of `many` into one leaf of this kind, as other writers make it.
fn in_one_leaf(hive: &mut Hive, kind: Kind) {
    let many = hive.key("many").expect("good").expect("made");
    let (at, list) = (many.cell(), many.subkey_list().expect("subkeys"));
    let leaves: Vec<CellOffset> = many.leaves().expect("good lists").iter().map(|leaf| leaf.at).collect();
    let keys: Vec<_> = many.subkeys().expect("good lists").map(|key| key.expect("a key")).collect();
    let mut cell = [&kind.signature()[..], &(keys.len() as u16).to_le_bytes()].concat();
    cell.extend(keys.iter().flat_map(|key| kind.entry(key.cell(), key.name())));
    hive.transact(|t| {
        t.free(list)?;
        leaves.iter().filter(|leaf| **leaf != list).try_for_each(|leaf| t.free(*leaf))?;
        let list = t.store(&cell)?;
        t.put_u32(at, 28, list.0)
    })
    .expect("room enough");
}

#[test]
fn a_list_without_names_stays_one_when_a_key_is_added() {
    let mut hive = Hive::parse(sample::empty(3, 0x20_000)).expect("a hive");
    for name in ["delta", "alpha", "Charlie"] {
        hive.create_key(&format!("many\\{name}"), FileTime(1)).expect("room enough");
    }
    in_one_leaf(&mut hive, Kind::Plain);
    for name in ["bravo", "ECHO", "aa"] {
        hive.create_key(&format!("many\\{name}"), FileTime(1)).expect("room enough");
    }
    assert_eq!(hive.verify(), []);
    let many = hive.key("many").expect("good").expect("made");
    assert!(many.leaves().expect("good lists").iter().all(|leaf| leaf.kind == Kind::Plain));
    let names: Vec<String> = many.subkeys().expect("good").map(|key| key.expect("a key").name().to_string()).collect();
    assert_eq!(names, ["aa", "alpha", "bravo", "Charlie", "delta", "ECHO"]);
}

#[test]
fn a_leaf_above_the_limit_is_read_and_is_split_when_a_key_is_added() {
    for (kind, minor) in [(Kind::Hashed, 5), (Kind::Hinted, 3), (Kind::Plain, 3)] {
        let mut hive = Hive::parse(sample::empty(minor, 0x80_000)).expect("a hive");
        for number in 0..1014 {
            hive.create_key(&format!("many\\{number}"), FileTime(1)).expect("room enough");
        }
        in_one_leaf(&mut hive, kind);
        assert!(hive.key("many\\777").expect("good").is_some());
        assert!(hive.verify().iter().all(|finding| finding.rule == Rule::ListLong));
        hive.create_key("many\\5000", FileTime(1)).expect("room enough");
        assert_eq!(hive.verify(), []);
        let many = hive.key("many").expect("good").expect("made");
        let lengths: Vec<usize> = many.leaves().expect("good lists").iter().map(|leaf| leaf.len()).collect();
        assert_eq!(lengths, [339, 339, 337]);
    }
}

#[test]
fn a_key_in_the_wrong_place_of_its_list_is_still_found() {
    for minor in [3, 5] {
        let mut hive = Hive::parse(sample::empty(minor, 0x4000)).expect("a hive");
        for name in ["a", "b", "c", "d", "e"] {
            hive.create_key(name, FileTime(1)).expect("room enough");
        }
        let list = hive.root().expect("a root").subkey_list().expect("subkeys");
        let entries = hive.leaf(list).expect("a leaf").entries.to_vec();
        let (first, last) = (entries[..8].to_vec(), entries[32..40].to_vec());
        hive.transact(|t| t.put(list, 4, &last).and_then(|()| t.put(list, 36, &first))).expect("inside");
        for name in ["a", "b", "c", "d", "E"] {
            assert!(hive.key(name).expect("good lists").is_some(), "{minor} {name}");
        }
        assert!(hive.verify().iter().any(|finding| finding.rule == Rule::SubkeyOrder));
    }
}

#[test]
fn nothing_of_older_data_stays_in_a_cell_that_is_written() {
    let mut hive = Hive::parse(sample::empty(5, 0x20_000)).expect("a hive");
    let mut set = |name: &str, data: &[u8]| hive.set_value("", name, 3, data, FileTime(1)).expect("room enough");
    set("v", &[0xaa; 100]);
    set("v", &[1; 10]);
    set("w", &[0xaa; 20_000]);
    set("w", &[1; 17_000]);
    assert!(!hive.bytes().contains(&0xaa));
    hive.set_value("", "u", 3, &[0xaa; 100], FileTime(1)).expect("room enough");
    hive.delete_value("", "u", FileTime(1)).expect("good").expect("set");
    let list = hive.cell(CellOffset(hive.root().expect("a root").node().value_list.get())).expect("a list");
    assert_eq!(list[8..], vec![0; list.len() - 8]);
    // The same cell, three bytes of it unused.
    hive.set_value("", "x", 3, &[1; 97], FileTime(1)).expect("room enough");
    let value = hive.root().expect("a root").value("x").expect("good").expect("set");
    let data = hive.cell(CellOffset(value.head().data.get())).expect("a cell");
    assert_eq!((data.len(), &data[97..]), (100, &[0; 3][..]));
}

#[test]
fn leaves_are_joined_and_an_index_of_one_gives_way_when_keys_go() {
    for minor in [3, 5] {
        let mut hive = Hive::parse(sample::empty(minor, 0x80_000)).expect("a hive");
        for number in 0..2000 {
            hive.create_key(&format!("many\\{number:04}"), FileTime(1)).expect("room enough");
        }
        let leaves = |hive: &Hive| -> Vec<usize> {
            let many = hive.key("many").expect("good").expect("made");
            many.leaves().expect("good lists").iter().map(|leaf| leaf.len()).collect()
        };
        let most = leaves(&hive).len();
        assert!(most > 4);
        // Every other key, then one end: leaves become short everywhere, and empty there.
        for (left, number) in (1..2000).rev().zip((0..2000).step_by(2).chain((1..2000).step_by(2).rev())) {
            hive.delete_key(&format!("many\\{number:04}"), FileTime(2)).expect("no room is needed").expect("made");
            let many = hive.key("many").expect("good").expect("made");
            assert_eq!(many.subkey_count(), left);
            if left % 100 == 0 {
                assert_eq!(hive.verify(), [], "{minor} {left}");
                let now = leaves(&hive);
                assert!(now.windows(2).all(|two| two[0] + two[1] > 253), "{now:?}");
                assert!(left > 700 || now.len() < most, "{now:?}");
            }
            if left == 200 {
                let list = many.subkey_list().expect("subkeys");
                assert!(leaves(&hive).len() > 1 || hive.leaf(list).is_ok(), "no index of one leaf");
            }
        }
        hive.delete_key("many\\0001", FileTime(2)).expect("good").expect("the last one");
        assert_eq!(hive.verify(), []);
        let many = hive.key("many").expect("good").expect("made");
        assert_eq!((many.node().subkey_count.get(), many.node().subkey_list.get()), (0, u32::MAX));
        hive.delete_tree("many", FileTime(3)).expect("good").expect("made");
        // Everything is free again, in one cell a bin.
        assert_eq!(hive.verify(), []);
        assert!(hive.root().expect("a root").subkey_list().is_none());
        let live = hive.live.first_and_count().expect("two cells");
        assert_eq!(live, (CellOffset(0x20), 2));
    }
}

#[test]
fn a_deleted_tree_gives_back_its_classes_segments_and_security() {
    let mut hive = Hive::parse(sample::empty(5, 0x40_000)).expect("a hive");
    hive.set_value("A\\B\\C", "big", 3, &[7; 50_000], FileTime(1)).expect("room enough");
    hive.set_value("A\\B", "", 1, &[1; 100], FileTime(1)).expect("room enough");
    let mut other = sample::DESCRIPTOR;
    other[32] = 0x19;
    hive.set_security("A\\B", &other, FileTime(1)).expect("room enough");
    hive.set_security("A\\B\\C", &other, FileTime(1)).expect("room enough");
    let (a, b) = (hive.key("A").expect("good"), hive.key("A\\B").expect("good"));
    let (a, b) = (a.expect("made").cell(), b.expect("made").cell());
    hive.transact(|t| {
        let class = t.store(b"S\0h\0e\0l\0l\0")?;
        t.put_u32(b, 48, class.0)?;
        t.put_u16(b, 74, 10)?;
        t.put_u32(a, 56, 10)
    })
    .expect("room enough");
    assert_eq!(hive.verify(), []);
    hive.set_value("A", "v", 4, &[1; 4], FileTime(1)).expect("room enough");
    hive.delete_tree("a\\b", FileTime(5)).expect("good").expect("made");
    assert_eq!(hive.verify(), [], "nothing leaks, and the ring has one member again");
    let a = hive.key("A").expect("good").expect("made");
    assert_eq!((a.subkey_count(), a.last_written(), a.values().expect("good").count()), (0, FileTime(5), 1));
    assert_eq!(hive.delete_tree("A\\B", FileTime(6)), Ok(None));
    assert_eq!(hive.delete_key("A\\B\\C", FileTime(6)), Ok(None));
}

#[test]
fn descriptors_are_shared_counted_and_freed() {
    let mut hive = Hive::parse(sample::empty(5, 0x40_000)).expect("a hive");
    let descriptor = |number: u8| {
        let mut bytes = sample::DESCRIPTOR;
        bytes[32] = number;
        bytes
    };
    for number in 0..40 {
        hive.create_key(&format!("k{number}"), FileTime(1)).expect("room enough");
    }
    for round in [5, 1, 7, 40, 3] {
        for number in 0..40u8 {
            let path = format!("K{number}");
            let edit = hive.set_security(&path, &descriptor(number % round), FileTime(2)).expect("room enough");
            let same = hive.set_security(&path, &descriptor(number % round), FileTime(3)).expect("room enough");
            assert!(edit.is_some() && same.expect("made").is_unchanged());
        }
        assert_eq!(hive.verify(), [], "{round}");
        for number in 0..40u8 {
            let key = hive.key(&format!("k{number}")).expect("good").expect("made");
            assert_eq!(key.security().expect("good"), descriptor(number % round));
        }
        let cells: std::collections::BTreeSet<u32> =
            (0..40).map(|n| hive.key(&format!("k{n}")).expect("good").expect("made").node().security.get()).collect();
        assert_eq!(cells.len(), usize::from(round));
    }
    assert_eq!(hive.set_security("nothing", &descriptor(1), FileTime(2)), Ok(None));
    for wrong in [&descriptor(1)[..75], &[], &[1, 0, 4, 0x80]] {
        assert_eq!(hive.set_security("k1", wrong, FileTime(2)), Err(Error::Descriptor));
    }
    let mut ownerless = descriptor(1);
    ownerless[4] = 0;
    assert_eq!(hive.set_security("k1", &ownerless, FileTime(2)), Err(Error::Descriptor));
}

#[test]
fn a_renamed_value_keeps_its_place_type_data_and_spare_word() {
    let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
    for (name, kind, length) in [("one", 1, 2), ("two", 0xffff_0012, 50), ("three", 3, 0)] {
        hive.set_value("k", name, kind, &vec![9; length], FileTime(1)).expect("room enough");
    }
    let two = hive.key("k").expect("good").expect("made").value("two").expect("good").expect("set").cell();
    hive.transact(|t| t.put_u16(two, 18, 0x1234)).expect("inside");
    let one = hive.key("k").expect("good").expect("made").value("one").expect("good").expect("set").cell();
    let mut rename = |from: &str, to: &str| hive.rename_value("K", from, to, FileTime(2));
    assert_eq!(rename("two", "ONE"), Err(Error::ValueExists { at: one }));
    assert_eq!(rename("nothing", "x"), Ok(None));
    for (from, to) in
        [("TWO", "Two"), ("two", "a far longer name than before"), ("a far longer NAME than before", "Ж"), ("ж", "")]
    {
        let edit = rename(from, to).expect("room enough").expect("there");
        assert!(!edit.is_unchanged() && edit.before == Some((0xffff_0012, vec![9; 50])));
    }
    assert!(rename("", "").expect("good").expect("there").is_unchanged());
    assert_eq!(hive.verify(), []);
    let key = hive.key("k").expect("good").expect("made");
    let values: Vec<_> = key.values().expect("good").map(|value| value.expect("good")).collect();
    let names: Vec<String> = values.iter().map(|value| value.name().to_string()).collect();
    assert_eq!((names, key.last_written()), (vec!["one".into(), String::new(), "three".into()], FileTime(2)));
    let head = values[1].head();
    assert_eq!((head.kind.get(), head.flags.get(), head.spare.get()), (0xffff_0012, 0, 0x1234));
    assert_eq!(&*values[1].data().expect("good"), [9; 50]);
}

#[test]
fn what_must_not_be_deleted_is_not() {
    let mut hive = Hive::parse(sample::empty(5, 0x8000)).expect("a hive");
    hive.set_value("A\\B\\C", "v", 3, &[1; 30], FileTime(1)).expect("room enough");
    hive.create_key("A\\B\\D", FileTime(1)).expect("room enough");
    let at = |hive: &Hive, path: &str| hive.key(path).expect("good").expect("made").cell();
    let (b, c, d) = (at(&hive, "A\\B"), at(&hive, "A\\B\\C"), at(&hive, "A\\B\\D"));
    let value = hive.key("A\\B\\C").expect("good").expect("made").value("v").expect("good").expect("set").cell();
    let good = hive.clone();
    let refused = |cell: CellOffset, offset: usize, bytes: &[u8]| {
        let mut hive = good.clone();
        hive.transact(|t| t.put(cell, offset, bytes)).expect("inside");
        let before = hive.bytes().to_vec();
        let error = hive.delete_tree("A", FileTime(2)).expect_err("refused");
        assert!(hive.bytes() == before);
        error
    };
    assert_eq!(refused(c, 2, &[0x28]), Error::NoDelete { at: c, flags: 0x28 });
    assert_eq!(refused(c, 2, &[0x24]), Error::NoDelete { at: c, flags: 0x24 });
    assert_eq!(refused(c, 2, &[0x60]), Error::KeyFlags { at: c, flags: 0x60 });
    assert_eq!(refused(value, 16, &[3]), Error::ValueFlags { at: value, flags: 3 });
    assert_eq!(refused(c, 16, &0x20u32.to_le_bytes()), Error::Parent { at: c, expected: b.0, actual: 0x20 });
    // A list of the subtree that names a key outside it, or the subtree itself.
    assert!(matches!(
        refused(d, 20, &[1, 0, 0, 0, 0, 0, 0, 0, 0xe0, 0, 0, 0]),
        Error::Signature { .. } | Error::NoCell { .. }
    ));
    let a = at(&good, "A");
    let own_list = good.key("").expect("good").expect("root").subkey_list().expect("subkeys").0;
    let count_and_list = [1u32, 0, own_list].map(u32::to_le_bytes).concat();
    assert!(matches!(refused(d, 20, &count_and_list), Error::NoCell { .. } | Error::Parent { .. }));
    // A link below goes, as it is; one on the way is refused.
    let mut hive = good.clone();
    hive.transact(|t| t.put(c, 2, &[0x30])).expect("inside");
    assert_eq!(hive.delete_tree("A\\B\\C", FileTime(2)), Err(Error::Link { at: c }));
    hive.delete_tree("A", FileTime(2)).expect("good").expect("made");
    assert_eq!(hive.verify(), []);
    let mut hive = good.clone();
    assert_eq!(hive.delete_key("A", FileTime(2)), Err(Error::HasSubkeys { at: a, count: 1 }));
    assert!(matches!(hive.delete_tree("", FileTime(2)), Err(Error::NoDelete { at: CellOffset(0x20), .. })));
    assert!(hive.bytes() == good.bytes());
}

#[test]
fn bytes_that_only_layered_hives_use_are_kept_and_stop_no_edit() {
    let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
    hive.set_value("A\\B", "v", 4, &[1, 0, 0, 0], FileTime(1)).expect("room");
    let key = hive.key("A\\B").expect("good").expect("made").cell();
    hive.transact(|t| t.put(key, 13, &[0xa5])).expect("inside");
    hive.set_value("A\\B", "v", 4, &[2, 0, 0, 0], FileTime(2)).expect("no layered hive");
    hive.set_value("A\\B\\C", "w", 4, &[2, 0, 0, 0], FileTime(2)).expect("no layered hive");
    assert_eq!(hive.key("A\\B").expect("good").expect("there").node().layer, 0xa5);
    assert!(hive.verify().iter().all(|finding| finding.severity == crate::Severity::Warning));
    hive.delete_tree("A", FileTime(3)).expect("no layered hive");
}

#[test]
fn reference_counts_that_are_merely_wrong_are_set_right() {
    let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
    for key in ["A", "A\\B", "C"] {
        hive.create_key(key, FileTime(1)).expect("room");
    }
    let good = hive.bytes().to_vec();
    let cell = CellOffset(0x78);
    for wrong in [0u32, 1, 3, 5, u32::MAX] {
        let mut hive = Hive::parse(good.clone()).expect("a hive");
        hive.transact(|t| t.put_u32(cell, 12, wrong)).expect("inside");
        assert_eq!(hive.mend_references(), Ok(Some(1)), "{wrong}");
        assert_eq!(hive.verify(), []);
        assert_eq!(hive.bytes(), good, "nothing else changes");
        assert_eq!(hive.mend_references(), Ok(Some(0)));
    }
    // With anything else wrong, nothing is touched.
    let mut hive = Hive::parse(good).expect("a hive");
    hive.transact(|t| {
        t.put_u32(cell, 12, 9)?;
        t.put_u32(cell, 4, 0x20)
    })
    .expect("inside");
    let before = hive.bytes().to_vec();
    assert_eq!(hive.mend_references(), Ok(None));
    assert_eq!(hive.bytes(), before);
}
