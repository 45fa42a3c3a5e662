//! How long work on a volume takes. `COLDFORGE_BENCH_VOLUME` names a file that holds an NTFS volume and nothing else, such
//! as `fixtures/make/many_files.py` makes with 200,000 records; `COLDFORGE_BENCH_IMAGE` a raw image with a Windows, whose
//! SOFTWARE hive is found, read and replaced, beside a mount by ntfs-3g and a copy out of it. Without them nothing is timed.
#![allow(missing_docs, clippy::print_stderr, clippy::unwrap_used, reason = "criterion's macros; a bench may stop")]

use std::process::Command;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use coldforge_base::progress::Silent;
use coldforge_base::time::FileTime;
use coldforge_disk::partition::{self, Partition};
use coldforge_disk::{Format, Image, Overlay, Window};
use coldforge_ntfs::Volume;
use coldforge_ntfs::verify::Check;

fn verify(criterion: &mut Criterion) {
    let Some(path) = std::env::var_os("COLDFORGE_BENCH_VOLUME") else {
        eprintln!("SKIPPED: COLDFORGE_BENCH_VOLUME names no volume");
        return;
    };
    let image = Image::open(path.as_ref(), Some(Format::Raw)).unwrap();
    let volume = Volume::open(&image).unwrap();
    let report = volume.verify(Check::Full, &Silent).unwrap();
    assert_eq!(report.errors().count(), 0);
    let mut group = criterion.benchmark_group(format!("ntfs/{} records", report.records));
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.bench_function("verify", |b| b.iter(|| volume.verify(Check::Full, &Silent).unwrap().records));
    let touched: Vec<u64> = (1000..1100).collect();
    group.bench_function("verify 100 touched records", |b| {
        b.iter(|| volume.verify(Check::Touched(&touched), &Silent).unwrap().records)
    });
}

const SOFTWARE: &str = r"\Windows\System32\config\SOFTWARE";

fn hive(criterion: &mut Criterion) {
    let Some(path) = std::env::var_os("COLDFORGE_BENCH_IMAGE") else {
        eprintln!("SKIPPED: COLDFORGE_BENCH_IMAGE names no image");
        return;
    };
    let image = Image::open(path.as_ref(), Some(Format::Raw)).unwrap();
    let table = partition::scan(&image).unwrap();
    let open = |partition: &Partition| {
        let window = Window::open(Overlay::new(&image), partition.start, partition.length_bytes).unwrap();
        Volume::open(window).ok()
    };
    let holds =
        |partition: &&Partition| open(partition).is_some_and(|volume| volume.find(SOFTWARE).is_ok_and(|f| f.is_some()));
    let partition = table.partitions.iter().find(holds).expect("the image has a Windows");
    let volume = open(partition).unwrap();
    let file = volume.find(SOFTWARE).unwrap().unwrap();
    let content = volume.read(&file, 1 << 30).unwrap();
    let mut group = criterion.benchmark_group(format!("ntfs/a file of {} bytes", content.len()));
    group.sample_size(10);
    group.bench_function("open and find", |b| {
        b.iter(|| open(partition).unwrap().find(SOFTWARE).unwrap().unwrap().size())
    });
    group.throughput(Throughput::Bytes(content.len() as u64));
    group.bench_function("read", |b| b.iter(|| volume.read(&file, 1 << 30).unwrap()));
    group.bench_function("replace in memory", |b| {
        let longer = [content.as_slice(), &[0; 4096]].concat();
        b.iter_batched(
            || open(partition).unwrap(),
            |mut volume| {
                volume.replace_stream(&file, &longer, FileTime(134_116_992_000_000_000)).unwrap();
                volume
            },
            BatchSize::PerIteration,
        )
    });
    let mount = tempfile::tempdir().unwrap();
    let shell = format!(
        "set -e; d=$(losetup -r -f --show -o {} '{}'); ntfs-3g -o ro $d {m}; cat {m}/Windows/System32/config/SOFTWARE \
         > /dev/null; umount {m}; losetup -d $d",
        partition.start.0,
        std::path::Path::new(&path).display(),
        m = mount.path().display(),
    );
    let peer = || Command::new("bash").args(["-c", &shell]).status().is_ok_and(|status| status.success());
    if peer() {
        group.bench_function("mount by ntfs-3g and read", |b| b.iter(&peer));
    } else {
        eprintln!("SKIPPED: no ntfs-3g, or no right to mount");
    }
}

criterion_group!(benches, verify, hive);
criterion_main!(benches);
