//! The verifier: silent on healthy volumes of every shape and on real ones, alarmed by planted faults, and in bounds
//! on damaged ones.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use coldforge_base::device::Memory;
use coldforge_base::progress::Silent;
use coldforge_base::{Failure as _, ImageOffset, Kind, ReadAt, WriteAt, device};
use coldforge_disk::{Format, Image, Window, partition};
use coldforge_ntfs::Volume;
use coldforge_ntfs::verify::{Check, Finding, Report, Rule};

use super::made::{OnFile, Planter, SHAPES, Shape, attribute, in_pieces, make, one_of_each};
use crate::support::{Seeded, ask, corpus, fixture, oracle, shared, text};

fn verified<D: ReadAt>(volume: &Volume<D>) -> Report {
    volume.verify(Check::Full, &Silent).unwrap()
}

fn sentences(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_clean(report: &Report, what: &str) {
    assert!(report.findings.is_empty() && report.omitted == 0, "{what}: {:#?}", sentences(&report.findings));
}

#[test]
fn a_fresh_volume_of_every_cluster_size_has_no_findings() {
    if !oracle("mkntfs") {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("volume");
    let sizes = |sector: u64| (0..).map(move |power| sector << power).take_while(|cluster| *cluster <= 0x20_0000);
    for (sector, cluster) in sizes(512).map(|size| (512, size)).chain(sizes(4096).map(|size| (4096, size))) {
        let file = File::create(&path).unwrap();
        file.set_len((cluster * 300).max(16 << 20)).unwrap();
        let (sector, cluster) = (sector.to_string(), cluster.to_string());
        let options = ["-q", "-F", "-Q", "-T", "-s", &sector, "-c", &cluster, "-p", "0", "-H", "255", "-S", "63"];
        let made = ask("mkntfs", &[&options[..], &[text(&path)]].concat());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let volume = Volume::open(OnFile::open(&path)).unwrap();
        let report = verified(&volume);
        assert_clean(&report, &format!("sectors of {sector}, clusters of {cluster}"));
        assert!(report.records > 12 && report.clusters > 0, "{report:?}");
    }
}

#[test]
fn volumes_that_another_driver_filled_have_no_findings() {
    for shape in SHAPES {
        let many = if shape.cluster > 4096 { 50 } else { 3000 };
        let Some(made) = make(shape, |tree| one_of_each(tree, many)) else { return };
        let report = verified(&made.volume());
        assert_clean(&report, &format!("{shape:?}"));
        // 30 of the names are of one file.
        assert_eq!(report.files, made.files.len() as u64 - 30, "{shape:?}");
    }
    for shape in [SHAPES[0], SHAPES[1]] {
        let Some(made) = make(shape, |tree| in_pieces(tree, shape.cluster as usize)) else { return };
        assert_clean(&verified(&made.volume()), &format!("{shape:?} in pieces"));
    }
}

#[test]
fn the_fixture_has_no_findings() {
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let partition = &partition::scan(&image).unwrap().partitions[0];
    let volume = Volume::open(Window::open(&image, partition.start, partition.length_bytes).unwrap()).unwrap();
    assert_clean(&verified(&volume), "ws2022.vhd");
}

/// What the shared checker says of one volume.
fn verdict(script: &Path, path: &Path, start: u64) -> (bool, Vec<String>) {
    let start = start.to_string();
    let answer = ask("python3", &[text(script), text(path), "--offset", &start, "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().iter();
    (
        document["ok"] == true,
        findings.map(|finding| format!("{} {}", finding["severity"], finding["message"])).collect(),
    )
}

#[test]
fn real_volumes_are_judged_as_another_checker_judges_them() {
    let (Some(shared), Some(folder)) = (shared(), corpus("^(ntfs|vhd)/")) else { return };
    let script = shared.join("check/ntfs_check.py");
    let mut judged = 0;
    for kind in ["ntfs", "vhd"] {
        let mut paths: Vec<_> = fs::read_dir(folder.join(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let Ok(image) = Image::open(&path, None) else { continue };
            // The other checker knows no parents.
            if image.parent().is_some() {
                continue;
            }
            let Ok(table) = partition::scan(&image) else { continue };
            for partition in &table.partitions {
                let Ok(window) = Window::open(&image, partition.start, partition.length_bytes) else { continue };
                let Ok(volume) = Volume::open(window) else { continue };
                let report = verified(&volume);
                // The checker reads raw disks.
                let raw = folder.join("raw");
                let flat = if image.format() != Format::Raw {
                    let answer = ask("qemu-img", &["convert", "-O", "raw", text(&path), text(&raw)]);
                    assert!(answer.status.success());
                    &raw
                } else {
                    &path
                };
                let (sound, said) = verdict(&script, flat, partition.start.0);
                let mine = sentences(&report.findings);
                assert_eq!(report.is_sound(), sound, "{}: {mine:#?}\n{said:#?}", path.display());
                assert_eq!(report.findings.is_empty(), said.is_empty(), "{}: {mine:#?}\n{said:#?}", path.display());
                judged += 1;
            }
        }
    }
    assert!(judged >= 9, "{judged}");
    // A volume that is smaller than its file, which is no disk image for that.
    let path = folder.join("ntfs/dissect.ntfs__ntfs.bin");
    let report = verified(&Volume::open(OnFile::open(&path)).unwrap());
    let (sound, said) = verdict(&script, &path, 0);
    let mine = sentences(&report.findings);
    assert!(report.is_sound() == sound && mine.is_empty() == said.is_empty(), "{mine:#?}\n{said:#?}");
}

const SMALL: Shape = Shape { sector: 512, cluster: 4096, mebibytes: 8 };

/// A planted fault: what changes, and the rule that must alarm.
type Plant = (&'static str, fn(&Planter<'_>, u64), Rule);

fn number(bytes: &mut [u8], at: usize, change: impl Fn(u32) -> u32) {
    let old = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    bytes[at..at + 4].copy_from_slice(&change(old).to_le_bytes());
}

/// Changes the attribute of a type in the record at a place.
fn change(planter: &Planter<'_>, at: u64, kind: u32, change: impl Fn(&mut [u8])) {
    planter.protected(at, 1024, |record| {
        let start = attribute(record, kind).unwrap();
        change(&mut record[start..]);
    });
}

const PLANTS: [Plant; 14] = [
    ("data size", |p, at| change(p, at, 0x80, |a| number(a, 0x30, |n| n + 0x10_0000)), Rule::SizeData),
    ("allocated size", |p, at| change(p, at, 0x80, |a| number(a, 0x28, |n| n + 4096)), Rule::SizeAllocated),
    ("initialized size", |p, at| change(p, at, 0x80, |a| number(a, 0x38, |n| n + 1)), Rule::SizeInitialized),
    ("highest VCN", |p, at| change(p, at, 0x80, |a| number(a, 0x18, |n| n + 2)), Rule::RunsHighest),
    ("stale index copy", |p, at| change(p, at, 0x80, |a| number(a, 0x30, |n| n - 1)), Rule::IndexSizes),
    ("used size", |p, at| p.protected(at, 1024, |r| number(r, 0x18, |n| n + 64)), Rule::RecordUsed),
    ("next id", |p, at| p.protected(at, 1024, |r| number(r, 0x28, |_| 0)), Rule::RecordNextId),
    ("link count", |p, at| p.protected(at, 1024, |r| r[0x12] = 5), Rule::LinkCount),
    ("sequence", |p, at| p.protected(at, 1024, |r| r[0x10] += 1), Rule::IndexReference),
    ("parent's sequence", |p, at| change(p, at, 0x30, |a| a[0x18 + 6] = 77), Rule::NameParent),
    ("name", |p, at| change(p, at, 0x30, |a| a[0x18 + 0x42] = b'~'), Rule::NameIndex),
    ("directory flag", |p, at| p.protected(at, 1024, |r| r[0x16] |= 2), Rule::DirectoryFlag),
    ("in use", |p, at| p.protected(at, 1024, |r| r[0x16] = 0), Rule::BitmapUsed),
    ("torn", |p, at| p.bytes(at + 510, &[0xa5, 0x5a]), Rule::RecordTorn),
];

#[test]
fn each_planted_fault_is_told_by_its_rule_and_an_unchanged_volume_does_not_grow_findings() {
    let Some(made) = make(SMALL, |tree| one_of_each(tree, 60)) else { return };
    let whole = fs::read(&made.path).unwrap();
    let before = verified(&made.volume());
    assert_clean(&before, "before");
    let volume = made.volume();
    let file = volume.find(r"\Windows\System32\config\SAM").unwrap().unwrap();
    let number = file.reference().record();
    let planter = Planter::new(&made.path);
    let at = planter.records_of(u32::try_from(number).unwrap())[0];
    for (what, plant, rule) in PLANTS {
        plant(&planter, at);
        let volume = made.volume();
        let report = verified(&volume);
        let grown = report.grown_from(&before);
        assert!(grown.iter().any(|finding| finding.rule == rule), "{what}: {:#?}", sentences(&grown));
        assert!(!report.is_sound(), "{what}");
        assert!(report.grown_from(&report).is_empty(), "{what}");
        // The fast check sees the file's own faults too; clusters that nobody holds any longer it cannot see.
        if rule != Rule::BitmapUsed {
            let fast = volume.verify(Check::Touched(&[number]), &Silent).unwrap();
            assert!(
                fast.findings.iter().any(|finding| finding.rule == rule),
                "{what}: {:#?}",
                sentences(&fast.findings)
            );
        }
        fs::write(&made.path, &whole).unwrap();
    }
    let fast = made.volume().verify(Check::Touched(&[number]), &Silent).unwrap();
    assert_clean(&fast, "the fast check");
    assert!(fast.records < before.records, "{fast:?}");
}

/// A view of a volume that counts what is read.
struct Counting<'a>(&'a Memory, AtomicU64);

impl ReadAt for Counting<'_> {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.0.read_at(at, buf)
    }
}

impl WriteAt for Counting<'_> {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> device::Result<()> {
        device::check_range(at, buf.len(), self.len())
    }

    fn flush(&mut self) -> device::Result<()> {
        Ok(())
    }
}

#[test]
fn changed_structures_are_verified_without_a_panic_and_in_bounds() {
    let Some(made) = make(SMALL, |tree| one_of_each(tree, 200)) else { return };
    let mut memory = Memory(fs::read(&made.path).unwrap());
    let fair = memory.len() * 8;
    let image = &memory.0;
    let starts = |at: usize, magic: &[u8]| image[at..].starts_with(magic);
    let blocks: Vec<usize> = (0..image.len() - 4096)
        .step_by(512)
        .filter(|at| starts(*at, b"FILE\x30\0") && image[at + 0x16] & 1 == 1 || starts(*at, b"INDX\x28\0"))
        .chain([0; 8])
        .collect();
    let mut seeded = Seeded(11);
    let (mut opened, mut alarmed) = (0, 0);
    for round in 0..1500 {
        let mut old = Vec::new();
        for _ in 0..1 + seeded.below(3) {
            let block = blocks[seeded.below(blocks.len() as u64) as usize];
            let at = block + seeded.below(if block == 0 { 80 } else { 400 }) as usize;
            old.push((at, memory.0[at]));
            memory.0[at] = match seeded.below(4) {
                0 => 0,
                1 => 0xff,
                2 => memory.0[at] ^ 1 << seeded.below(8),
                _ => seeded.next() as u8,
            };
        }
        let started = Instant::now();
        match Volume::open(Counting(&memory, AtomicU64::new(0))) {
            Ok(volume) => {
                let report = verified(&volume);
                opened += 1;
                alarmed += u32::from(!report.findings.is_empty());
                let _ = volume.verify(Check::Touched(&[64, 70, 1 << 40]), &Silent).unwrap();
                let read = volume.into_device().1.into_inner();
                assert!(read < fair, "round {round}: {read:#x} bytes were read, {fair:#x} are fair");
            }
            Err(error) => assert!(matches!(error.kind(), Kind::Corrupt | Kind::Limit | Kind::Unsupported), "{error}"),
        }
        assert!(started.elapsed().as_secs() < 10, "round {round}");
        for (at, byte) in old.into_iter().rev() {
            memory.0[at] = byte;
        }
    }
    assert!(opened > 1000 && alarmed > 700, "{opened} {alarmed}");
    assert_clean(&verified(&Volume::open(&memory).unwrap()), "everything was taken back");
}

#[test]
fn a_volume_that_is_cut_off_is_verified_without_a_panic() {
    let Some(made) = make(SMALL, |tree| one_of_each(tree, 60)) else { return };
    let memory = Memory(fs::read(&made.path).unwrap());
    let mut seeded = Seeded(12);
    for _ in 0..60 {
        let length = seeded.below(memory.len());
        if let Ok(volume) = Volume::open(Window::open(&memory, ImageOffset(0), length).unwrap()) {
            assert!(!verified(&volume).is_sound(), "cut at {length:#x}");
        }
    }
}
