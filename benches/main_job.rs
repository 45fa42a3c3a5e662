//! How long the parts of the main job take, and a whole run of it, on the project's fixture and (where
//! `COLDFORGE_BENCH_IMAGE` names one) on an image of the user's own. Ratios are against a peer timed in the same run:
//! the crate `nt-hive` walks the same hive, `/bin/cp` copies the same image.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros make undocumented items; a bench may stop")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use coldforge::harden::{Emission, Harden, Request, harden};
use coldforge::windows::{Machine, OpenOptions};
use coldforge_base::progress::Silent;
use coldforge_base::time::Moment;
use coldforge_disk::{Image, Overlay, Target};
use coldforge_regf::Hive;

const NOW: Moment = Moment(1_767_225_600);

fn images() -> Vec<(String, PathBuf)> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ws2022.vhd");
    let own = std::env::var_os("COLDFORGE_BENCH_IMAGE").map(|path| ("own".to_owned(), PathBuf::from(path)));
    [("fixture".to_owned(), fixture)].into_iter().chain(own).collect()
}

/// Takes a hive's bytes out of an image through the library.
fn software(path: &Path) -> Vec<u8> {
    let image = Image::open(path, None).unwrap();
    Machine::open(&image, OpenOptions::default())
        .unwrap()
        .read_file(r"\Windows\System32\config\SOFTWARE")
        .unwrap()
        .unwrap()
}

fn walk(hive: &Hive) -> (usize, usize) {
    fn visit(key: &coldforge_regf::Key<'_>, count: &mut (usize, usize)) {
        count.0 += 1;
        count.1 += key.values().unwrap().count();
        for child in key.subkeys().unwrap() {
            visit(&child.unwrap(), count);
        }
    }
    let mut count = (0, 0);
    visit(&hive.root().unwrap(), &mut count);
    count
}

#[cfg(feature = "second-opinion")]
fn walk_by_peer(bytes: &[u8]) -> (usize, usize) {
    fn visit(node: &nt_hive::KeyNode<'_, &[u8]>, count: &mut (usize, usize)) {
        count.0 += 1;
        count.1 += node.values().map_or(0, |values| values.unwrap().count());
        if let Some(children) = node.subkeys() {
            for child in children.unwrap() {
                visit(&child.unwrap(), count);
            }
        }
    }
    let hive = nt_hive::Hive::new(bytes).unwrap();
    let mut count = (0, 0);
    visit(&hive.root_key_node().unwrap(), &mut count);
    count
}

fn hives(criterion: &mut Criterion) {
    for (name, path) in images() {
        let bytes = software(&path);
        let mut group = criterion.benchmark_group(format!("hive/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("open", |b| {
            b.iter_batched(|| bytes.clone(), |bytes| Hive::parse(bytes).unwrap(), BatchSize::LargeInput)
        });
        let hive = Hive::parse(bytes.clone()).unwrap();
        group.bench_function("walk", |b| b.iter(|| walk(&hive)));
        #[cfg(feature = "second-opinion")]
        group.bench_function("open and walk by nt-hive", |b| b.iter(|| walk_by_peer(&bytes)));
        group.bench_function("verify", |b| b.iter(|| hive.verify()));
        group.bench_function("100 edits", |b| {
            b.iter_batched(
                || Hive::parse(bytes.clone()).unwrap(),
                |mut hive| {
                    for i in 0..100u32 {
                        let key = format!(r"Policies\Bench\{}", i % 10);
                        hive.set_value(&key, &format!("Value{i}"), 4, &i.to_le_bytes(), NOW.filetime()).unwrap();
                    }
                    hive.seal().unwrap();
                    hive
                },
                BatchSize::LargeInput,
            )
        });
        group.finish();
    }
}

fn whole_run(criterion: &mut Criterion) {
    for (name, path) in images() {
        let mut group = criterion.benchmark_group(format!("image/{name}"));
        group.sample_size(10);
        group.bench_function("open and assess through an overlay", |b| {
            b.iter(|| {
                Machine::open(Overlay::new(&Image::open(&path, None).unwrap()), OpenOptions::default())
                    .unwrap()
                    .partition()
            })
        });
        let run = |output: Option<PathBuf>| {
            let job = Harden {
                sarif: coldforge::report::Results::Open,
                source: path.clone(),
                format: None,
                parent: None,
                emission: Emission::New(Target::Same),
                output,
                request: Request::default(),
                now: NOW,
                boot_mode: None,
                aws: coldforge::aws::Options::default(),
                must_pass_preflight: false,
                signer: None,
                elapsed: || Duration::ZERO,
            };
            harden(&job, &Silent).unwrap()
        };
        group.bench_function("harden, dry run", |b| b.iter(|| run(None)));
        let home = || tempfile::tempdir_in(path.parent().unwrap()).unwrap();
        group.bench_function("harden into a bundle", |b| {
            b.iter_batched(home, |home| (run(Some(home.path().join("out"))), home), BatchSize::PerIteration)
        });
        group.bench_function("copy by cp --sparse=always", |b| {
            b.iter_batched(
                home,
                |home| {
                    let to = home.path().join("copy");
                    assert!(Command::new("cp").arg("--sparse=always").arg(&path).arg(&to).status().unwrap().success());
                    home
                },
                BatchSize::PerIteration,
            )
        });
        group.finish();
    }
}

criterion_group!(benches, hives, whole_run);
criterion_main!(benches);
