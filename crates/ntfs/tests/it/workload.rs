//! Thousands of random changes against a model, on every kind of volume; strangers judge the result.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use coldforge_base::digest::Digest;
use coldforge_base::time::FileTime;
use coldforge_base::{Failure as _, ReadAt, WriteAt, device};
use coldforge_ntfs::{Error, File, Security, Volume, WriteStep};

use super::made::{Made, OnFile, SHAPES, Shape, make, noise, one_of_each, walk};
use super::oracles::{agree, seen_through_a_mount};
use super::writing::NOW;
use crate::support::Seeded;

/// What all contents are cut from: larger than the largest file by the range of places where a cut can begin.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| noise(99, 21 << 20));

/// The largest file.
const MOST_BYTES: u64 = 20 << 20;

/// What a path of the model is.
#[derive(Clone, Debug)]
enum Node {
    Directory { descriptor: Vec<u8> },
    File { start: usize, length: usize, descriptor: Vec<u8> },
}

impl Node {
    fn descriptor(&self) -> &[u8] {
        match self {
            Self::Directory { descriptor } | Self::File { descriptor, .. } => descriptor,
        }
    }
}

/// A volume and what it must hold.
struct Model {
    seeded: Seeded,
    nodes: BTreeMap<String, Node>,
    /// How many bytes the files may have together.
    most_bytes: u64,
    serial: u64,
    refused: usize,
}

/// Returns a descriptor that allows a mask to everyone: different masks, different descriptors.
fn descriptor(mask: u32, aces: usize) -> Vec<u8> {
    let acl_length = 8 + 20 * aces;
    let mut bytes = vec![1, 0, 4, 0x80];
    for offset in [20 + acl_length, 36 + acl_length, 0, 20] {
        bytes.extend((offset as u32).to_le_bytes());
    }
    bytes.extend([2, 0, acl_length as u8, (acl_length >> 8) as u8, aces as u8, 0, 0, 0]);
    for ace in 0..aces {
        bytes.extend([0, 0, 20, 0]);
        bytes.extend(((mask << 4 | ace as u32) & 0x001f_01ff).to_le_bytes());
        bytes.extend([1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    }
    // Administrators own it.
    bytes.extend([1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0].repeat(2));
    bytes
}

impl Model {
    fn pick(&mut self, wanted: impl Fn(&str, &Node) -> bool) -> Option<String> {
        let all: Vec<_> = self.nodes.iter().filter(|(path, node)| wanted(path, node)).map(|(path, _)| path).collect();
        if all.is_empty() {
            return None;
        }
        Some(all[self.seeded.below(all.len() as u64) as usize].clone())
    }

    /// Returns a name that no other file has, of any length and shape.
    fn name(&mut self) -> String {
        self.serial += 1;
        let serial = self.serial;
        match self.seeded.below(8) {
            0 => format!("F{serial}.TXT"),
            1 => format!("{serial}{}", "x".repeat(self.seeded.below(240) as usize)),
            2 => format!("\u{c4}\u{df} \u{431}\u{1f600} {serial}.dat"),
            3 => format!("{:08x}-{serial}", self.seeded.next() as u32),
            4 => format!("zz{serial}"),
            _ => format!("file {:03} {serial} with a name of usual length.dll", self.seeded.below(1000)),
        }
    }

    fn length(&mut self) -> u64 {
        match self.seeded.below(100) {
            0 => self.seeded.below(MOST_BYTES + 1),
            1..=6 => self.seeded.below(1 << 20),
            7..=40 => self.seeded.below(40_000),
            41..=50 => 0,
            _ => self.seeded.below(1000),
        }
    }

    fn content(&mut self) -> (usize, usize) {
        let held: u64 =
            self.nodes.values().map(|node| if let Node::File { length, .. } = node { *length as u64 } else { 0 }).sum();
        let length = self.length().min(self.most_bytes.saturating_sub(held));
        (self.seeded.below(1 << 20) as usize, length as usize)
    }

    fn descriptor(&mut self) -> Vec<u8> {
        // Some come again and again, others are new.
        let mask = if self.seeded.below(3) == 0 { self.seeded.next() as u32 } else { self.seeded.below(5) as u32 };
        let aces = if self.seeded.below(10) == 0 { 1 + self.seeded.below(150) as usize } else { 1 };
        descriptor(mask, aces)
    }

    /// Makes one change; the volume and the model agree before and after.
    fn step(&mut self, volume: &mut Volume<OnFile>, now: FileTime) {
        let is_directory = |_: &str, node: &Node| matches!(node, Node::Directory { .. });
        let is_file = |_: &str, node: &Node| matches!(node, Node::File { .. });
        let find = |volume: &Volume<OnFile>, path: &str| -> File { volume.find(path).unwrap().unwrap() };
        let answer = match self.seeded.below(100) {
            0..=44 => {
                let mut parent = self.pick(is_directory).unwrap();
                if self.seeded.below(2) == 0 && self.nodes.contains_key(r"\big") {
                    parent = r"\big".into();
                }
                let name = self.name();
                let path = format!(r"{parent}\{name}");
                let (start, length) = self.content();
                let folder = find(volume, &parent);
                let (descriptor, own);
                let security = if self.seeded.below(4) > 0 {
                    descriptor = self.nodes[&parent].descriptor().to_vec();
                    Security::SameAs(&folder)
                } else {
                    own = self.descriptor();
                    descriptor = own.clone();
                    Security::Descriptor(&own)
                };
                let content = &NOISE[start..start + length];
                let answer = volume.create_file(&folder, &name, content, security, now);
                answer.map(|_| {
                    self.nodes.insert(path, Node::File { start, length, descriptor });
                })
            }
            45..=66 => {
                let Some(path) = self.pick(is_file) else { return };
                let (new_start, new_length) = self.content();
                let file = find(volume, &path);
                let answer = volume.replace_stream(&file, &NOISE[new_start..new_start + new_length], now);
                answer.map(|_| {
                    if let Some(Node::File { start, length, .. }) = self.nodes.get_mut(&path) {
                        (*start, *length) = (new_start, new_length);
                    }
                })
            }
            67..=84 => {
                let Some(path) = self.pick(|path, _| !path.is_empty() && path != r"\big") else { return };
                let (parent, name) = path.rsplit_once('\\').unwrap();
                let inside = format!(r"{path}\");
                let is_empty = !self.nodes.keys().any(|other| other.starts_with(&inside));
                let folder = find(volume, parent);
                // Windows does not look at the case of letters.
                let name = if self.seeded.below(4) == 0 { name.to_ascii_uppercase() } else { name.into() };
                match volume.delete(&folder, &name, now) {
                    Err(Error::DirectoryNotEmpty { .. }) if !is_empty => Ok(()),
                    Ok(_) => {
                        assert!(is_empty, "{path} is not empty");
                        self.nodes.remove(&path);
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            85..=91 => {
                let parent = self.pick(is_directory).unwrap();
                let name = if self.nodes.contains_key(r"\big") { self.name() } else { "big".into() };
                let parent = if name == "big" { String::new() } else { parent };
                let folder = find(volume, &parent);
                let descriptor = self.nodes[&parent].descriptor().to_vec();
                let answer = volume.create_dir(&folder, &name, Security::SameAs(&folder), now);
                answer.map(|_| {
                    self.nodes.insert(format!(r"{parent}\{name}"), Node::Directory { descriptor });
                })
            }
            92..=96 => {
                let path = self.pick(|_, _| true).unwrap();
                let wanted = self.descriptor();
                let file = find(volume, &path);
                let answer = volume.set_security(&file, &wanted, now);
                if answer.is_ok() {
                    assert!(
                        volume.set_security(&file, &wanted, now).unwrap().steps().is_empty(),
                        "{path}: once is enough"
                    );
                }
                answer.map(|_| match self.nodes.get_mut(&path).unwrap() {
                    Node::Directory { descriptor } | Node::File { descriptor, .. } => *descriptor = wanted,
                })
            }
            _ => {
                // What is there cannot be made again.
                let Some(path) = self.pick(|path, _| !path.is_empty()) else { return };
                let (parent, name) = path.rsplit_once('\\').unwrap();
                let folder = find(volume, parent);
                let answer = volume.create_dir(&folder, &name.to_ascii_lowercase(), Security::SameAs(&folder), now);
                assert!(matches!(answer, Err(Error::NameTaken { .. })), "{path}: {answer:?}");
                Ok(())
            }
        };
        match answer {
            Ok(()) => {}
            Err(error @ (Error::VolumeFull { .. } | Error::RecordFull { .. } | Error::MftFragmented)) => {
                assert!(error.code().is_some());
                self.refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn check(&self, path: &Path, what: &str) {
        let volume = Volume::open(OnFile::open(path)).unwrap();
        assert_eq!(volume.refusals().unwrap(), [], "{what}");
        let read = walk(&volume);
        let mut expected = BTreeMap::new();
        for (path, node) in &self.nodes {
            if let Node::File { start, length, .. } = node {
                let content = &NOISE[*start..*start + *length];
                assert!(read.get(path).is_some_and(|read| read.as_deref() == Ok(content)), "{what}: {path}");
                expected.insert(path.replace('\\', "/"), (Digest::of(content).to_string(), node.descriptor().to_vec()));
            } else if !path.is_empty() {
                expected.insert(path.replace('\\', "/"), (String::new(), node.descriptor().to_vec()));
            }
        }
        let files = self.nodes.values().filter(|node| matches!(node, Node::File { .. })).count();
        assert_eq!(read.len(), files, "{what}");
        agree(path, what);
        let Some(seen) = seen_through_a_mount(path) else { return };
        assert!(seen.keys().eq(expected.keys()), "{what}: {:?} {:?}", seen.keys(), expected.keys());
        for (path, (digest, descriptor)) in expected {
            assert_eq!(seen[&path].0, digest, "{what}: {path}");
            assert_eq!(seen[&path].1, descriptor, "{what}: {path}");
        }
    }
}

/// Makes `steps` changes in `batches` on a volume, and has each batch judged.
fn work(shape: Shape, seed: u64, steps: usize, batches: usize, fill: u64) -> Option<(usize, usize)> {
    let made: Made = make(shape, |_| ())?;
    let root = descriptor(0x1f01ff, 1);
    let mut model = Model {
        seeded: Seeded(seed),
        nodes: BTreeMap::from([(String::new(), Node::Directory { descriptor: root.clone() })]),
        most_bytes: (shape.mebibytes << 20) * fill / 100,
        serial: 0,
        refused: 0,
    };
    let mut volume = made.volume();
    let file = volume.find("").unwrap().unwrap();
    volume.set_security(&file, &root, NOW).unwrap();
    for batch in 0..batches {
        let mut volume = made.volume();
        for step in 0..steps / batches {
            model.step(&mut volume, FileTime(NOW.0 + (batch * steps + step) as u64 * 10_000_000));
        }
        drop(volume);
        model.check(&made.path, &format!("{shape:?} seed {seed} batch {batch}"));
    }
    Some((model.nodes.len(), model.refused))
}

/// How many times more changes are made than usual.
fn factor() -> usize {
    std::env::var("COLDFORGE_WORKLOAD").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

const KINDS: [Shape; 5] = [
    Shape { sector: 512, cluster: 512, mebibytes: 64 },
    Shape { sector: 512, cluster: 4096, mebibytes: 96 },
    Shape { sector: 512, cluster: 0x1_0000, mebibytes: 256 },
    Shape { sector: 512, cluster: 0x20_0000, mebibytes: 2048 },
    Shape { sector: 4096, cluster: 4096, mebibytes: 96 },
];

#[test]
fn random_changes_leave_what_the_model_says_on_volumes_of_small_clusters() {
    for (seed, shape) in (1..).zip([KINDS[0], KINDS[1]]) {
        let Some((nodes, refused)) = work(shape, seed, 1250 * factor(), 2 * factor(), 40) else { return };
        assert!(nodes > 100 && refused == 0, "{shape:?}: {nodes} {refused}");
    }
}

#[test]
fn random_changes_leave_what_the_model_says_on_volumes_of_large_clusters_and_sectors() {
    for (seed, shape) in (11..).zip([KINDS[2], KINDS[3], KINDS[4]]) {
        let Some((nodes, _)) = work(shape, seed, 750 * factor(), factor(), 40) else { return };
        assert!(nodes > 100, "{shape:?}: {nodes}");
    }
}

#[test]
fn a_volume_that_is_nearly_full_refuses_by_name_and_stays_whole() {
    let shape = Shape { mebibytes: 16, ..SHAPES[1] };
    let Some((nodes, refused)) = work(shape, 21, 500 * factor(), factor(), 100) else { return };
    assert!(nodes > 30 && refused > 2, "{nodes} {refused}");
}

#[test]
fn descriptors_fill_several_blocks_of_secure_and_stay_found() {
    let Some(made) = make(SHAPES[1], |tree| tree.put(r"\file", b"x")) else { return };
    let mut volume = made.volume();
    let file = volume.find(r"\file").unwrap().unwrap();
    for mask in 0..150 {
        let wanted = descriptor(mask, 300 + mask as usize % 20);
        assert!(!volume.set_security(&file, &wanted, NOW).unwrap().steps().is_empty());
        assert!(volume.set_security(&file, &wanted, NOW).unwrap().steps().is_empty(), "{mask}");
    }
    let root = volume.find("").unwrap().unwrap();
    for mask in (0..150).step_by(7) {
        // What is there is used again: no byte of $Secure changes.
        let changes = volume.set_security(&root, &descriptor(mask, 300 + mask as usize % 20), NOW).unwrap();
        assert!(changes.steps().iter().all(|(step, _)| *step != WriteStep::Security), "{mask}: {changes:?}");
    }
    agree(&made.path, "150 descriptors of 6 KiB");
}

#[test]
fn a_folder_of_thousands_of_files_grows_and_shrinks_again() {
    let shape = Shape { mebibytes: 32, ..SHAPES[0] };
    let Some(made) = make(shape, |tree| one_of_each(tree, 1)) else { return };
    let mut volume = made.volume();
    let folder = volume.find(r"\empty").unwrap().unwrap();
    let name = |i: usize| format!("{:05} x{}", i * 7919 % 3001, "n".repeat(i % 60));
    for i in 0..3000 {
        volume.create_file(&folder, &name(i), &[7; 10], Security::SameAs(&folder), NOW).unwrap();
    }
    assert_eq!(volume.list(&folder).unwrap().len(), 3000);
    agree(&made.path, "3000 files");
    for i in (0..3000).filter(|i| i % 97 > 1) {
        volume.delete(&folder, &name(i), NOW).unwrap();
    }
    agree(&made.path, "a few files");
    let left = volume.list(&folder).unwrap();
    assert_eq!(left.len(), (0..3000).filter(|i| i % 97 <= 1).count());
    for entry in left {
        volume.delete(&folder, &entry.name, NOW).unwrap();
    }
    agree(&made.path, "no file");
    let root = volume.find("").unwrap().unwrap();
    volume.delete(&root, "empty", NOW).unwrap();
    assert!(volume.find(r"\empty").unwrap().is_none());
    agree(&made.path, "no folder");
}

/// A device that counts what is read.
struct Counted(OnFile, AtomicU64);

impl ReadAt for Counted {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.0.read_at(at, buf)
    }
}

impl WriteAt for Counted {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> device::Result<()> {
        self.0.write_at(at, buf)
    }

    fn flush(&mut self) -> device::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_volume_of_400_gibibytes_is_summed_up_once_and_then_hardly_read() {
    let Some(made) = make(Shape { mebibytes: 400 << 10, ..SHAPES[1] }, |tree| one_of_each(tree, 1)) else { return };
    let mut volume = Volume::open(Counted(OnFile::open(&made.path), AtomicU64::new(0))).unwrap();
    let root = volume.find("").unwrap().unwrap();
    let mut read = Vec::new();
    for i in 0..40 {
        let before = volume.device().1.load(Ordering::Relaxed);
        let (file, _) =
            volume.create_file(&root, &format!("new {i}"), &NOISE[..1 << 20], Security::SameAs(&root), NOW).unwrap();
        volume.replace_stream(&file, &NOISE[..3 << 20], NOW).unwrap();
        read.push(volume.device().1.load(Ordering::Relaxed) - before);
    }
    let (first, others) = read.split_first().unwrap();
    assert!(*first > 12 << 20, "$Bitmap was read: {first:#x}");
    assert!(others.iter().all(|read| *read < 1 << 20), "{others:?}");
}
