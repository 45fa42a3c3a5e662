//! How long work on a large volume takes. `COLDFORGE_BENCH_VOLUME` names a file that holds an NTFS volume and nothing
//! else, such as `fixtures/make/many_files.py` makes with 200,000 records; without it nothing is timed.
#![allow(missing_docs, clippy::print_stderr, clippy::unwrap_used, reason = "criterion's macros; a bench may stop")]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

use coldforge::base::progress::Silent;
use coldforge::disk::{Format, Image};
use coldforge::ntfs::Volume;
use coldforge::ntfs::verify::Check;

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

criterion_group!(benches, verify);
criterion_main!(benches);
