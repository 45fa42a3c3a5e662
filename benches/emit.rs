//! How fast images are written, beside peers that are timed in the same run: `cp --sparse=always` and `qemu-img
//! convert` write the same disk, 4 GiB of which 100 MB hold data. Files lie in `COLDFORGE_BENCH_DIR`, or in the build's
//! folder for temporary files.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros make undocumented items; a bench may stop")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};

use coldforge_base::WriteAt as _;
use coldforge_base::progress::Silent;
use coldforge_disk::{Format, Image, Overlay, UndoJournal, convert, digest, export, undo, write_in_place};

const GIB: u64 = 1 << 30;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = std::env::var_os("COLDFORGE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        Self { folder: tempfile::tempdir_in(folder).unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a raw disk with 100 pieces of one megabyte that do not compress, evenly spread.
    fn disk(&self, name: &str, gib: u64) -> PathBuf {
        let path = self.file(name);
        let file = File::create(&path).unwrap();
        file.set_len(gib * GIB).unwrap();
        let mut state = 1u64;
        for i in 0..100 {
            let bytes: Vec<u8> = (0..131_072)
                .flat_map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state ^ state >> 29).to_le_bytes()
                })
                .collect();
            file.write_all_at(&bytes, i * (gib * GIB / 100) / 4096 * 4096).unwrap();
        }
        file.sync_all().unwrap();
        path
    }
}

/// Times something that makes a file, which is removed before each time.
fn time(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, out: &Path, mut make: impl FnMut()) {
    group.bench_function(name, |bencher| {
        bencher.iter_batched(|| drop(std::fs::remove_file(out)), |()| make(), BatchSize::PerIteration);
    });
    let _ = std::fs::remove_file(out);
}

fn peer(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).output().unwrap().status.success());
}

fn emit(criterion: &mut Criterion) {
    let place = Place::new();
    let raw = place.disk("disk.raw", 4);
    let out = place.file("out");
    let (from, to) = (raw.to_str().unwrap(), out.to_str().unwrap());
    let open = || Image::open(&raw, Some(Format::Raw)).unwrap();

    let mut group = criterion.benchmark_group("raw");
    time(&mut group, "cp --sparse=always", &out, || peer("cp", &["--sparse=always", from, to]));
    time(&mut group, "cp and sync", &out, || {
        peer("cp", &["--sparse=always", from, to]);
        peer("sync", &[to]);
    });
    time(&mut group, "export", &out, || drop(export(&Overlay::new(&open()), &out, &Silent).unwrap()));
    time(&mut group, "export and LINEAR", &out, || {
        drop(convert(&open(), &out, Format::Raw, &Silent).unwrap());
    });
    time(&mut group, "export and all digests", &out, || {
        export(&Overlay::new(&open()), &out, &Silent).unwrap();
        digest(&open(), &Silent).unwrap();
    });
    time(&mut group, "sha256sum", &out, || peer("sha256sum", &[from]));
    group.finish();

    for (format, kind, options) in [
        (Format::VhdDynamic, "vpc", "subformat=dynamic,force_size=on"),
        (Format::VhdxDynamic, "vhdx", "subformat=dynamic"),
        (Format::Vmdk, "vmdk", "subformat=streamOptimized"),
    ] {
        let mut group = criterion.benchmark_group(format.word());
        time(&mut group, "qemu-img convert", &out, || {
            peer("qemu-img", &["convert", "-f", "raw", "-O", kind, "-o", options, from, to]);
        });
        time(&mut group, "qemu-img convert and sync", &out, || {
            peer("qemu-img", &["convert", "-f", "raw", "-O", kind, "-o", options, from, to]);
            peer("sync", &[to]);
        });
        time(&mut group, "convert", &out, || drop(convert(&open(), &out, format, &Silent).unwrap()));
        group.finish();
    }
}

/// A run in place writes what changed, however large the image is.
fn in_place(criterion: &mut Criterion) {
    let place = Place::new();
    let mut group = criterion.benchmark_group("in place");
    for gib in [4, 40, 400] {
        let raw = place.disk("disk.raw", gib);
        group.bench_function(format!("write and undo, {gib} GiB"), |bencher| {
            bencher.iter(|| {
                let image = Image::open(&raw, Some(Format::Raw)).unwrap();
                let mut overlay = Overlay::new(&image);
                for i in 0..100 {
                    overlay.write_at(i * 9_000_000, &[i as u8 | 1; 3_000]).unwrap();
                }
                write_in_place(&overlay, &[], &[], UndoJournal::Keep, &Silent).unwrap();
                drop(image);
                undo(&raw, &Silent).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    targets = emit, in_place
}
criterion_main!(benches);
