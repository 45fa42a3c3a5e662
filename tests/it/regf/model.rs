//! Thousands of seeded edits against a model, a plain tree of maps: after each batch the hive is the tree, and at the
//! end every reader that this project did not write agrees.

use std::collections::BTreeMap;
use std::path::Path;

use coldforge_base::time::FileTime;
use coldforge_base::{Extent, Failure as _};
use coldforge_regf::{Error, Hive, Key};
use proptest::prelude::*;

use super::corpus::{exported, lines};
use super::{cleaned, judge_bytes, own_findings, parse, real};
use crate::support::{Seeded, fixture, oracle};

/// A key of the model, with everything that a reader can see of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Node {
    name: String,
    written: u64,
    class: Option<String>,
    security: Vec<u8>,
    /// Name, type and data, in the order in which they were made.
    values: Vec<(String, u32, Vec<u8>)>,
    /// By upper-cased name, which is the order of the hive's lists.
    children: BTreeMap<Vec<u16>, Node>,
}

/// Returns the UTF-16 units of a name in upper case, as Windows has it for all names that occur here.
fn upper(name: &str) -> Vec<u16> {
    let unit = |unit: u16| {
        let mut upper = char::from_u32(u32::from(unit)).into_iter().flat_map(char::to_uppercase);
        match (unit, upper.next(), upper.next()) {
            (0xb5 | 0x131 | 0x17f | 0x3c2, ..) => unit,
            (_, Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
            _ => unit,
        }
    };
    name.encode_utf16().map(unit).collect()
}

impl Node {
    /// Reads a hive's key and all below it.
    fn read(key: &Key<'_>) -> Self {
        let value = |value: coldforge_regf::Value<'_>| {
            (value.name().to_string(), value.kind(), value.data().unwrap().into_owned())
        };
        let children = key.subkeys().unwrap().map(|child| Self::read(&child.unwrap()));
        Self {
            name: key.name().to_string(),
            written: key.last_written().0,
            class: key.class().unwrap(),
            security: key.security().unwrap().to_vec(),
            values: key.values().unwrap().map(|found| value(found.unwrap())).collect(),
            children: children.map(|child| (upper(&child.name), child)).collect(),
        }
    }

    fn at(&mut self, path: &[String]) -> &mut Self {
        path.iter().fold(self, |node, name| node.children.get_mut(&upper(name)).expect("a path of the model"))
    }

    fn value(&self, name: &str) -> Option<usize> {
        self.values.iter().position(|value| upper(&value.0) == upper(name))
    }

    /// Returns the number of keys and of values, this key among them.
    fn count(&self) -> (u64, u64) {
        let below = self.children.values().map(Self::count);
        below.fold((1, self.values.len() as u64), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    }

    /// Returns where two trees differ first.
    fn difference(&self, other: &Self, path: &str) -> Option<String> {
        let bare = |node: &Self| Self { children: BTreeMap::new(), ..node.clone() };
        if bare(self) != bare(other) {
            let show = |node: &Self| format!("{:.2000}", format!("{:?}", bare(node)));
            return Some(format!("[{path}] {}\n{}", show(self), show(other)));
        }
        if let Some(odd) = self.children.keys().find(|name| !other.children.contains_key(*name)) {
            return Some(format!("[{path}] only the first has {:?}", String::from_utf16_lossy(odd)));
        }
        if let Some(odd) = other.children.keys().find(|name| !self.children.contains_key(*name)) {
            return Some(format!("[{path}] only the second has {:?}", String::from_utf16_lossy(odd)));
        }
        self.children.iter().zip(&other.children).find_map(|((_, one), (_, two))| {
            if one == two { None } else { one.difference(two, &format!("{path}\\{}", one.name)) }
        })
    }
}

/// What the edits did, so that a test can demand that each kind was seen.
#[derive(Debug, Default)]
struct Tally {
    done: BTreeMap<&'static str, usize>,
    refused: BTreeMap<&'static str, usize>,
    last_refusal: &'static str,
    grown: usize,
}

/// A hive, its model, and the source of the edits.
struct Run {
    hive: Hive,
    model: Node,
    seeded: Seeded,
    now: u64,
    tally: Tally,
    touched: Vec<Extent>,
    /// How long the longest data is.
    data_max: u64,
}

impl Run {
    fn new(bytes: &[u8], seed: u64) -> Self {
        let hive = parse(bytes);
        let model = Node::read(&hive.root().unwrap());
        // Not earlier than what is there.
        let (seeded, now) = (Seeded(seed), 200_000_000_000_000_000);
        Self { hive, model, seeded, now, tally: Tally::default(), touched: Vec::new(), data_max: 60_000 }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.seeded.below(bound as u64) as usize
    }

    /// Returns the path of a random key: each level with the same chance to be the last.
    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        loop {
            let count = self.model.at(&path).children.len();
            if count == 0 || self.below(4) == 0 {
                return path;
            }
            let number = self.below(count);
            let child = self.model.at(&path).children.values().nth(number).expect("below their number");
            path.push(child.name.clone());
        }
    }

    fn name(&mut self) -> String {
        let number = self.seeded.below(3000);
        match self.below(12) {
            0 => format!("Ж€{number}"),
            1 => format!("\u{1f30e}{number}"),
            2 => format!("Ä{number}ÿ"),
            3 => format!("{:0>1$}", number, 1 + (number % 255) as usize),
            4 => format!("KEY{number}"),
            5 => format!("key{number} with a longer name"),
            _ => format!("key{number}"),
        }
    }

    /// Returns the name of one of the key's values, in some case, or another name.
    fn value_name(&mut self, path: &[String]) -> String {
        let known = self.model.at(path).values.len();
        if known == 0 || self.below(3) == 0 {
            let name = self.name();
            return if self.below(8) == 0 { String::new() } else { name };
        }
        let number = self.below(known);
        let name = self.model.at(path).values[number].0.clone();
        if self.below(2) == 0 { name.to_ascii_uppercase() } else { name }
    }

    fn data(&mut self) -> Vec<u8> {
        let length = match self.below(40) {
            0 => 16_340 + self.seeded.below(10),
            1 => 16_345 + self.seeded.below(self.data_max - 16_345),
            2..6 => self.seeded.below(5000),
            _ => self.seeded.below(40),
        };
        let first = self.seeded.next() as u8;
        (0..length).map(|at| first.wrapping_add((at % 251) as u8)).collect()
    }

    /// Makes an edit; where the hive is full, makes it longer, and the same edit then must succeed.
    fn edit<T>(&mut self, what: &'static str, edit: impl Fn(&mut Hive, FileTime) -> Result<T, Error>) -> Option<T> {
        let now = FileTime(self.now);
        let outcome = match edit(&mut self.hive, now) {
            Err(Error::Full { missing }) => {
                let (before, len) = (self.hive.bytes().len() as u64, self.hive.next_len(missing).unwrap());
                self.hive.grow(len).unwrap();
                self.touched.push(Extent::new(before, len - before));
                self.tally.grown += 1;
                Ok(edit(&mut self.hive, now).unwrap_or_else(|error| panic!("{what} after growth: {error}")))
            }
            outcome => outcome,
        };
        match outcome {
            Ok(done) => {
                *self.tally.done.entry(what).or_default() += 1;
                Some(done)
            }
            Err(error) => {
                let code = error.code().unwrap_or_else(|| panic!("{what}: {error}"));
                *self.tally.refused.entry(code).or_default() += 1;
                self.tally.last_refusal = code;
                None
            }
        }
    }

    /// Makes one random edit in the hive and in the model.
    fn step(&mut self) {
        self.now += 1;
        let path = self.path();
        let text = path.join("\\");
        match self.below(20) {
            0..4 => self.create(path),
            4..11 => {
                let (name, kind, data) = (self.value_name(&path), self.seeded.below(13) as u32, self.data());
                self.set(path, &name, kind, data);
            }
            11..13 => {
                let name = self.value_name(&path);
                let edit = self.edit("delete value", |hive, now| hive.delete_value(&text, &name, now));
                let (now, node) = (self.now, self.model.at(&path));
                let Some(edit) = edit else { return };
                let gone = node.value(&name).map(|place| node.values.remove(place));
                if gone.is_some() {
                    node.written = now;
                }
                assert_eq!(
                    edit.as_ref().and_then(|edit| edit.before.clone()),
                    gone.map(|(_, kind, data)| (kind, data))
                );
                self.touched.extend(edit.into_iter().flat_map(|edit| edit.touched));
            }
            13..15 => self.rename(&path),
            15 | 16 => self.security(&path),
            17 => {
                let edit = self.edit("delete key", |hive, now| hive.delete_key(&text, now));
                if let Some(edit) = edit {
                    assert!(self.model.at(&path).children.is_empty(), "{text}");
                    self.remove(&path, edit.expect("it is there").touched);
                }
            }
            _ => {
                // Large trees would leave little to edit.
                if !path.is_empty() && self.model.at(&path).count().0 > 60 {
                    return;
                }
                if let Some(edit) = self.edit("delete tree", |hive, now| hive.delete_tree(&text, now)) {
                    self.remove(&path, edit.expect("it is there").touched);
                }
            }
        }
    }

    fn remove(&mut self, path: &[String], touched: Vec<Extent>) {
        let (name, above) = path.split_last().expect("not the root");
        let (now, parent) = (self.now, self.model.at(above));
        parent.children.remove(&upper(name)).expect("was there");
        parent.written = now;
        self.touched.extend(touched);
    }

    /// Makes a key, sometimes far below.
    fn create(&mut self, mut path: Vec<String>) {
        let more = if self.below(30) == 0 { 1 + self.below(60) } else { 1 };
        for _ in 0..more.min(512 - path.len()) {
            path.push(self.name());
        }
        let text = path.join("\\");
        let Some(edit) = self.edit("create", |hive, now| hive.create_key(&text, now)) else { return };
        let before = self.model.count().0;
        self.make(&path);
        assert_eq!(edit.is_unchanged(), self.model.count().0 == before);
        self.touched.extend(edit.touched);
    }

    /// Makes the keys of a path in the model.
    fn make(&mut self, path: &[String]) {
        let now = self.now;
        let mut node = &mut self.model;
        for name in path {
            let key = upper(name);
            if !node.children.contains_key(&key) {
                node.written = now;
                let (name, security) = (name.clone(), node.security.clone());
                node.children.insert(key.clone(), Node { name, written: now, security, ..Node::default() });
            }
            node = node.children.get_mut(&key).expect("just made");
        }
    }

    fn set(&mut self, path: Vec<String>, name: &str, kind: u32, data: Vec<u8>) {
        let text = path.join("\\");
        let edit = self.edit("set", |hive, now| hive.set_value(&text, name, kind, &data, now));
        let Some(edit) = edit else { return };
        self.make(&path);
        let (now, node) = (self.now, self.model.at(&path));
        let before = match node.value(name) {
            Some(place) => {
                let value = &mut node.values[place];
                Some((std::mem::replace(&mut value.1, kind), std::mem::replace(&mut value.2, data.clone())))
            }
            None => {
                node.values.push((name.to_owned(), kind, data.clone()));
                None
            }
        };
        let same = before == Some((kind, data));
        if !same {
            node.written = now;
        }
        assert_eq!((edit.is_unchanged(), &edit.before), (same, &before));
        self.touched.extend(edit.touched);
    }

    fn rename(&mut self, path: &[String]) {
        let text = path.join("\\");
        let (from, to) = (self.value_name(path), self.value_name(path));
        let edit = self.edit("rename", |hive, now| hive.rename_value(&text, &from, &to, now));
        let (now, node) = (self.now, self.model.at(path));
        let (old, other) = (node.value(&from), node.value(&to));
        match edit {
            None if self.tally.last_refusal == "E-HIVE-VALUE-EXISTS" => assert!(other.is_some() && old != other),
            None => assert_eq!(self.tally.last_refusal, "E-HIVE-LINK"),
            Some(edit) => {
                assert_eq!(edit.is_some(), old.is_some());
                if let Some(place) = old.filter(|place| node.values[*place].0 != to) {
                    assert!(other.is_none_or(|other| other == place));
                    to.clone_into(&mut node.values[place].0);
                    node.written = now;
                }
                self.touched.extend(edit.into_iter().flat_map(|edit| edit.touched));
            }
        }
    }

    fn security(&mut self, path: &[String]) {
        let (text, descriptor) = (path.join("\\"), descriptor(self.seeded.below(12) as u8));
        let edit = self.edit("security", |hive, now| hive.set_security(&text, &descriptor, now));
        let (now, node) = (self.now, self.model.at(path));
        let Some(edit) = edit else { return };
        let edit = edit.expect("it is there");
        assert_eq!(edit.is_unchanged(), node.security == descriptor);
        if !edit.is_unchanged() {
            node.written = now;
        }
        node.security = descriptor;
        self.touched.extend(edit.touched);
    }

    /// Makes `count` random edits, and compares the hive with the model, and its bytes with what the edits told.
    fn batch(&mut self, count: usize) {
        let before = self.hive.bytes().to_vec();
        self.touched.clear();
        for _ in 0..count {
            self.step();
        }
        let mut masked = self.hive.bytes().to_vec();
        for extent in &self.touched {
            let (start, end) = (extent.offset as usize, extent.end() as usize);
            let old = before.get(start..end.min(before.len())).unwrap_or_default();
            masked[start..start + old.len()].copy_from_slice(old);
        }
        assert!(masked[..before.len()] == before, "a byte changed that no edit told");
        self.compare();
    }

    fn compare(&self) {
        let read = Node::read(&self.hive.root().unwrap());
        assert!(read == self.model, "{}", read.difference(&self.model, "").unwrap_or_default());
    }

    /// Seals the hive, and asks everyone who can read it.
    fn judge(mut self, folder: &Path, old: &[(String, String)]) -> Self {
        self.hive.seal().unwrap();
        let bytes = self.hive.bytes().to_vec();
        self.hive = parse(&bytes);
        self.compare();
        assert_eq!(own_findings(&self.hive), old);
        #[cfg(feature = "second-opinion")]
        peer::agrees(&bytes, &self.model);
        if let Some(verdict) = judge_bytes(folder, "edited", &bytes) {
            assert_eq!(verdict.findings, old, "{}", verdict.text);
            assert_eq!((verdict.keys, verdict.values), self.model.count());
        }
        if oracle("hivexregedit") {
            let path = folder.join("edited");
            std::fs::write(&path, &bytes).unwrap();
            let (own, theirs) = (lines(&self.hive), exported(&path));
            let differing = own.iter().zip(&theirs).find(|(own, theirs)| own != theirs);
            assert!(own == theirs, "{} and {} lines, first {differing:.500?}", own.len(), theirs.len());
        }
        self
    }
}

/// Returns one of some security descriptors: O:BA G:SY D:(A;;mask;;;SY)
fn descriptor(number: u8) -> Vec<u8> {
    let mut bytes = vec![
        1, 0, 0x04, 0x80, 48, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, // header
        2, 0, 28, 0, 1, 0, 0, 0, // list
        0, 2, 20, 0, 0x3f, 0, 0x0f, 0, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, // entry
        1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0, // owner
        1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, // group
    ];
    bytes[32] = number;
    bytes
}

/// The same hive, read by the crate `nt-hive`.
#[cfg(feature = "second-opinion")]
mod peer {
    use nt_hive::{Hive, KeyNode, KeyValueData};

    use super::Node;

    /// Demands that nt-hive reads exactly the model: names, their order, and data. It cannot read data above 16,344
    /// bytes of minor version 3, and has no word for types that it does not know.
    pub(super) fn agrees(bytes: &[u8], model: &Node) {
        let hive = Hive::new(bytes).unwrap();
        key(&hive.root_key_node().unwrap(), model, bytes[24]);
    }

    fn key(node: &KeyNode<'_, &[u8]>, model: &Node, minor: u8) {
        let mut names = model.values.iter();
        for value in node.values().into_iter().flat_map(Result::unwrap) {
            let (value, (name, _, data)) = (value.unwrap(), names.next().expect("a value more than the model has"));
            assert_eq!(value.name().unwrap().to_string_lossy(), *name);
            if data.len() > 16_344 && minor == 3 {
                continue;
            }
            let read = match value.data().unwrap() {
                KeyValueData::Small(data) => data.to_vec(),
                KeyValueData::Big(slices) => slices.flat_map(|slice| slice.unwrap().to_vec()).collect(),
            };
            assert!(read == *data, "{name}");
        }
        assert_eq!(names.next(), None);
        let mut children = model.children.values();
        for child in node.subkeys().into_iter().flat_map(Result::unwrap) {
            let (child, expected) = (child.unwrap(), children.next().expect("a key more than the model has"));
            assert_eq!(child.name().unwrap().to_string_lossy(), expected.name);
            key(&child, expected, minor);
        }
        assert_eq!(children.next(), None);
    }
}

/// Returns a fixture hive, said to be of this minor version.
fn minimal(minor: u8) -> Vec<u8> {
    let mut bytes = std::fs::read(fixture(if minor == 5 { "hives/minimal-1.5" } else { "hives/minimal-1.3" })).unwrap();
    bytes[24] = minor;
    bytes[8] ^= 1; // out of order, so that `cleaned` makes the checksum right
    cleaned(bytes)
}

#[test]
fn ten_thousand_edits_leave_what_the_model_holds_and_every_reader_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(&minimal(5), 1);
    // As deep as Windows goes, and as wide as no leaf is.
    let deepest = vec!["deep".to_owned(); 512];
    run.make(&deepest);
    assert!(run.edit("create", |hive, now| hive.create_key(&deepest.join("\\"), now)).is_some());
    for number in 0..20_000u32 {
        // Prime to 20,000: every number once, far from the one before.
        let path = vec!["many".to_owned(), format!("Sub{}", number * 7919 % 20_000)];
        run.make(&path);
        assert!(run.edit("create", |hive, now| hive.create_key(&path.join("\\"), now)).is_some());
    }
    run.compare();
    assert_eq!(run.hive.verify(), []);
    for _ in 0..25 {
        run.batch(400);
        assert_eq!(run.hive.verify(), []);
    }
    let seen = |what| *run.tally.done.get(what).unwrap_or(&0);
    for (what, least) in [
        ("create", 1500),
        ("set", 3000),
        ("rename", 300),
        ("security", 500),
        ("delete value", 500),
        ("delete key", 200),
        ("delete tree", 500),
    ] {
        assert!(seen(what) >= least, "{what}: {:?}", run.tally);
    }
    for code in ["E-HIVE-LINK", "E-HIVE-NO-DELETE", "E-HIVE-HAS-SUBKEYS", "E-HIVE-VALUE-EXISTS"] {
        assert!(run.tally.refused.contains_key(code), "{code}: {:?}", run.tally);
    }
    assert!(run.tally.grown > 3, "{:?}", run.tally);
    // Key after key goes, from the front and here and there: leaves become short, and are joined.
    let names = |run: &Run| run.model.children[&upper("many")].children.values().map(|key| key.name.clone()).collect();
    let names: Vec<String> = names(&run);
    for name in names.iter().take(1500).chain(names.iter().skip(1500).step_by(3)) {
        let path = vec!["many".to_owned(), name.clone()];
        let done = run.edit("delete tree", |hive, now| hive.delete_tree(&path.join("\\"), now));
        run.remove(&path, done.flatten().expect("it is there").touched);
    }
    run.compare();
    let mut run = run.judge(folder.path(), &[]);
    // What is left of the wide key goes in one edit, and its room is found again.
    let len = run.hive.bytes().len();
    let done = run.edit("delete tree", |hive, now| hive.delete_tree("MANY", now));
    run.remove(&["many".to_owned()], done.flatten().expect("it is there").touched);
    run.compare();
    assert_eq!(run.hive.verify(), []);
    for number in 0..10_000 {
        let path = vec!["again".to_owned(), format!("Sub{number}")];
        run.make(&path);
        run.hive.create_key(&path.join("\\"), FileTime(run.now)).expect("the room of the deleted keys");
    }
    run.compare();
    assert_eq!((run.hive.verify(), run.hive.bytes().len()), (vec![], len));
}

#[test]
fn hives_of_the_older_versions_take_the_same_edits() {
    let folder = tempfile::tempdir().unwrap();
    for (minor, seed) in [(3, 2), (4, 3)] {
        let mut run = Run::new(&minimal(minor), seed);
        run.data_max = 150_000;
        for number in 0..1200u32 {
            let path = vec!["many".to_owned(), format!("Sub{}", number * 79 % 1200)];
            run.make(&path);
            assert!(run.edit("create", |hive, now| hive.create_key(&path.join("\\"), now)).is_some());
        }
        for _ in 0..10 {
            run.batch(200);
            assert_eq!(run.hive.verify(), [], "{minor}");
        }
        run.judge(folder.path(), &[]);
    }
}

#[test]
fn real_hives_take_edits_and_deletions_as_the_model_does() {
    let folder = tempfile::tempdir().unwrap();
    for (seed, name) in (10..).zip([
        "dfwinreg2019__SYSTEM",
        "dfwinreg__NTUSER.DAT",
        "dfwinreg__SAM",
        "velociraptor__Amcache.hve",
        "yarp__ManySubkeysHive",
        "yarp__NewFlagsHive",
    ]) {
        let Some(bytes) = real(name) else { return };
        let mut run = Run::new(&bytes, seed);
        let old: Vec<(String, String)> = own_findings(&run.hive);
        for _ in 0..3 {
            run.batch(150);
            assert_eq!(own_findings(&run.hive), old, "{name}");
        }
        // The largest tree below the root, whatever it is.
        let largest = run.model.children.values().max_by_key(|node| node.count()).map(|node| node.name.clone());
        let path = largest.expect("a key below the root");
        if let Some(edit) = run.edit("delete tree", |hive, now| hive.delete_tree(&path, now)) {
            run.remove(&[path], edit.expect("it is there").touched);
        }
        assert!(run.tally.done.values().sum::<usize>() > 300, "{name}: {:?}", run.tally);
        run.judge(folder.path(), &old);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_of_any_seed_leave_what_the_model_holds(seed in any::<u64>(), minor in 3u8..=5) {
        let mut run = Run::new(&minimal(minor), seed);
        for _ in 0..4 {
            run.batch(60);
            prop_assert_eq!(run.hive.verify(), []);
        }
        run.hive.seal().unwrap();
        #[cfg(feature = "second-opinion")]
        peer::agrees(run.hive.bytes(), &run.model);
    }
}
