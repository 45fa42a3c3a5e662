//! How long a hive takes: opening it for some lookups, a full walk, the verifier, and edits with both verifier passes;
//! beside the crate `nt-hive` and, where they are installed, the commands of hivex, in the same run.
//!
//! On a generated hive of 1,000,000 values and, where `COLDFORGE_BENCH_HIVE` names one, on a hive file of the user's
//! own. Times of whole commands contain the start of a process, about a millisecond.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros make undocumented items; a bench may stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

use coldforge_base::time::FileTime;
use coldforge_regf::{Error, Hive, Key, Reader};

const NOW: FileTime = FileTime(134_116_992_000_000_000);
const LOOKUPS: usize = 200;
const EDITS: u32 = 300;

/// A hive file in a folder of its own, made clean.
struct Subject {
    name: &'static str,
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
}

impl Subject {
    fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hive"), &bytes).unwrap();
        Self { name, folder, bytes }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hive")
    }
}

fn subjects() -> Vec<Subject> {
    let own =
        std::env::var_os("COLDFORGE_BENCH_HIVE").map(|path| Subject::new("own", cleaned(std::fs::read(path).unwrap())));
    [Subject::new("million", million())].into_iter().chain(own).collect()
}

/// Returns a hive file as if its last writer had finished.
fn cleaned(mut bytes: Vec<u8>) -> Vec<u8> {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    bytes.copy_within(4..8, 8);
    let sum = (0..508).step_by(4).fold(0, |sum, at| sum ^ word(&bytes, at));
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Returns a hive of 1,000,000 values: 20,000 keys in 200 with 50 values each, of four bytes and of a short text.
fn million() -> Vec<u8> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hives/minimal-1.5");
    let mut hive = Hive::parse(std::fs::read(fixture).unwrap()).unwrap();
    hive.grow(192 << 20).unwrap();
    for key in 0..20_000u32 {
        let path = format!("Million\\Group{}\\Key{key}", key % 200);
        for value in 0..50u32 {
            let (kind, data) = match value % 2 {
                0 => (4, value.to_le_bytes().to_vec()),
                _ => (1, format!("text {value} of {key}\0").encode_utf16().flat_map(u16::to_le_bytes).collect()),
            };
            hive.set_value(&path, &format!("Value{value}"), kind, &data, NOW).unwrap();
        }
    }
    hive.seal().unwrap();
    hive.into_bytes()
}

/// Returns settings from all over the hive as (path, value).
fn settings(bytes: &[u8]) -> Vec<(String, String)> {
    let hive = Hive::parse(bytes.to_vec()).unwrap();
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"\\_-. {}".contains(&byte));
    let (mut names, mut found): (Vec<String>, Vec<(String, String)>) = Default::default();
    for step in hive.walk() {
        let (depth, key) = step.unwrap();
        names.truncate(depth.saturating_sub(1));
        if depth > 0 {
            names.push(key.name().to_string());
        }
        let path = names.join("\\");
        // Numbers, because the peer's command prints each on one line.
        let values = key.values().unwrap().map(Result::unwrap).filter(|value| value.kind() == 4);
        let mut values = values.map(|value| value.name().to_string());
        if let Some(name) = values.find(|name| !name.is_empty() && plain(name)).filter(|_| plain(&path)) {
            found.push((path, name));
        }
    }
    let step = found.len() / LOOKUPS;
    found.into_iter().step_by(step.max(1)).take(LOOKUPS).collect()
}

fn installed(tool: &str) -> bool {
    Command::new(tool).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn lookups(group: &mut BenchmarkGroup<'_, WallTime>, subject: &Subject) {
    let (path, settings) = (subject.path(), settings(&subject.bytes));
    group.bench_function("open and 200 lookups", |b| {
        b.iter(|| {
            let file = std::fs::File::open(&path).unwrap();
            let len = file.metadata().unwrap().len();
            let hive = Reader::open(Box::new(file), len).unwrap();
            for (key, name) in &settings {
                black_box(hive.key(key).unwrap().unwrap().value(name).unwrap().unwrap().data().unwrap());
            }
        })
    });
    #[cfg(feature = "second-opinion")]
    group.bench_function("open and 200 lookups by nt-hive", |b| {
        b.iter(|| {
            let bytes = std::fs::read(&path).unwrap();
            let hive = nt_hive::Hive::new(bytes.as_slice()).unwrap();
            for (key, name) in &settings {
                let node = hive.root_key_node().unwrap().subpath(key).unwrap().unwrap();
                black_box(node.value(name).unwrap().unwrap().data_size());
            }
        })
    });
    if installed("hivexsh") {
        let mut script = String::new();
        for (key, name) in &settings {
            write!(script, "cd \\{key}\nlsval {name}\n").unwrap();
        }
        let commands = subject.folder.path().join("lookups");
        std::fs::write(&commands, script).unwrap();
        group.bench_function("open and 200 lookups by hivexsh", |b| {
            b.iter(|| {
                let done = Command::new("hivexsh").arg("-f").arg(&commands).arg(&path).output().unwrap();
                let lines = done.stdout.split(|byte| *byte == b'\n').count();
                assert!(done.status.success() && lines >= settings.len(), "{}", String::from_utf8_lossy(&done.stderr));
            })
        });
    }
}

fn walk(hive: &Hive) -> (usize, usize) {
    fn visit(key: &Key<'_>, count: &mut (usize, usize)) {
        count.0 += 1;
        for value in key.values().unwrap() {
            count.1 += usize::from(value.unwrap().kind() < 100);
        }
        for child in key.subkeys().unwrap() {
            visit(&child.unwrap(), count);
        }
    }
    let mut count = (0, 0);
    visit(&hive.root().unwrap(), &mut count);
    count
}

#[cfg(feature = "second-opinion")]
fn walk_by_peer(hive: &nt_hive::Hive<&[u8]>) -> (usize, usize) {
    fn visit(node: &nt_hive::KeyNode<'_, &[u8]>, count: &mut (usize, usize)) {
        count.0 += 1;
        for value in node.values().into_iter().flat_map(Result::unwrap) {
            count.1 += usize::from(value.is_ok());
        }
        for child in node.subkeys().into_iter().flat_map(Result::unwrap) {
            visit(&child.unwrap(), count);
        }
    }
    let mut count = (0, 0);
    visit(&hive.root_key_node().unwrap(), &mut count);
    count
}

fn walks(group: &mut BenchmarkGroup<'_, WallTime>, subject: &Subject) {
    let hive = Hive::parse(subject.bytes.clone()).unwrap();
    group.bench_function("full walk", |b| b.iter(|| walk(&hive)));
    group.bench_function("full walk, each key once", |b| {
        b.iter(|| hive.walk().map(|step| step.unwrap().1.values().unwrap().count()).sum::<usize>())
    });
    #[cfg(feature = "second-opinion")]
    {
        let peer = nt_hive::Hive::new(subject.bytes.as_slice()).unwrap();
        group.bench_function("full walk by nt-hive", |b| b.iter(|| walk_by_peer(&peer)));
    }
    group.bench_function("verify", |b| b.iter(|| hive.verify()));
}

/// Sets 300 values in 30 new keys.
fn edit(hive: &mut Hive) {
    for number in 0..EDITS {
        let (path, name) = (format!("ColdForge\\Key{}", number % 30), format!("Value{number}"));
        let data = number.to_le_bytes();
        match hive.set_value(&path, &name, 4, &data, NOW) {
            Ok(_) => {}
            Err(Error::Full { missing }) => {
                hive.grow(hive.next_len(missing).unwrap()).unwrap();
                hive.set_value(&path, &name, 4, &data, NOW).unwrap();
            }
            Err(error) => unreachable!("{error}"),
        }
    }
}

fn edits(group: &mut BenchmarkGroup<'_, WallTime>, subject: &Subject) {
    let path = subject.path();
    group.bench_function("read, verify, 300 edits, seal, verify", |b| {
        b.iter(|| {
            let mut hive = Hive::parse(std::fs::read(&path).unwrap()).unwrap();
            assert!(hive.verify().is_empty());
            edit(&mut hive);
            hive.seal().unwrap();
            assert!(hive.verify().is_empty());
            hive
        })
    });
    group.bench_function("read, and verify twice", |b| {
        let hive = Hive::parse(subject.bytes.clone()).unwrap();
        b.iter(|| {
            let bytes = std::fs::read(&path).unwrap();
            (bytes, hive.verify(), hive.verify())
        })
    });
    group.bench_function("300 edits and seal alone", |b| {
        b.iter_batched(
            || Hive::parse(subject.bytes.clone()).unwrap(),
            |mut hive| {
                edit(&mut hive);
                hive.seal().unwrap();
                hive
            },
            BatchSize::PerIteration,
        )
    });
    if installed("hivexregedit") {
        let mut text = "Windows Registry Editor Version 5.00\n\n[\\ColdForge]\n\n".to_owned();
        for key in 0..30 {
            writeln!(text, "[\\ColdForge\\Key{key}]").unwrap();
            for number in (key..EDITS).step_by(30) {
                writeln!(text, "\"Value{number}\"=dword:{number:08x}").unwrap();
            }
            text.push('\n');
        }
        let (file, copy) = (subject.folder.path().join("edits.reg"), subject.folder.path().join("copy"));
        std::fs::write(&file, text).unwrap();
        group.bench_function("300 edits by hivexregedit --merge", |b| {
            b.iter_batched(
                || std::fs::copy(&path, &copy).unwrap(),
                |_| {
                    let done = Command::new("hivexregedit").arg("--merge").arg(&copy).arg(&file).output().unwrap();
                    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
                },
                BatchSize::PerIteration,
            )
        });
    }
}

fn hives(criterion: &mut Criterion) {
    for subject in subjects() {
        let mut group = criterion.benchmark_group(format!("regf/{}", subject.name));
        group.sample_size(10).throughput(Throughput::Bytes(subject.bytes.len() as u64));
        lookups(&mut group, &subject);
        walks(&mut group, &subject);
        edits(&mut group, &subject);
        group.finish();
    }
}

criterion_group!(benches, hives);
criterion_main!(benches);
