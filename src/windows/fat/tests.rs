//! What a volume tells, and what is wrong with one.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

use super::sample::{self, Maker, Shape, entry};
use super::*;
use coldforge_base::Failure as _;
use coldforge_base::device::Memory;

const PATH: &str = r"\efi\MICROSOFT\Boot\BootMgFw.efi";
const LIMIT: u64 = 1 << 24;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 % 251) as u8).collect()
}

fn read(bytes: &[u8], path: &str) -> Result<Option<Vec<u8>>> {
    let volume = Volume::open(Memory(bytes.to_vec()))?;
    volume.find(path)?.map(|entry| volume.read(&entry, LIMIT)).transpose()
}

#[test]
fn a_file_is_found_by_its_path_in_other_case_on_each_width() {
    for shape in [sample::FAT12, sample::FAT16, sample::FAT32, sample::LARGE] {
        for length in [0, 1, shape.cluster_bytes(), 9 * shape.cluster_bytes() + 3] {
            let content = content(length);
            let (made, _) = sample::esp(shape, &content);
            let volume = Volume::open(Memory(made.bytes.clone())).unwrap();
            assert_eq!((volume.width(), volume.cluster_bytes()), (shape.width, shape.cluster_bytes() as u64));
            // An empty file has a cluster here, which its length does not account for.
            if length > 0 {
                assert_eq!(read(&made.bytes, PATH).unwrap(), Some(content), "{}", shape.width);
            }
            assert_eq!(read(&made.bytes, r"\EFI\MICROS~1\BOOT\BOOTMGFW.EFI").is_ok(), length > 0);
            assert_eq!(volume.find(r"\EFI\Boot").unwrap(), None);
            assert_eq!(volume.find(&format!(r"{PATH}\x")).unwrap(), None);
            assert_eq!(volume.root().unwrap().iter().map(|entry| &*entry.name).collect::<Vec<_>>(), ["EFI"]);
        }
    }
}

#[test]
fn a_directory_goes_on_over_its_clusters_and_long_names_over_their_parts() {
    let name = "a rather long name that takes several entries.efi";
    let mut made = Maker::new(sample::FAT32);
    let mut entries: Vec<u8> = (0..40)
        .flat_map(|number| entry(format!("F{number:<7}EFI").as_bytes().try_into().unwrap(), "", 0x20, 0, 0))
        .collect();
    entries.extend(entry(b"ARATHE~1EFI", name, 0x20, 0, 0));
    let folder = made.store(&entries);
    made.set_root(&entry(b"X          ", "", 0x10, folder, 0));
    let volume = Volume::open(Memory(made.bytes)).unwrap();
    let folder = volume.find("x").unwrap().unwrap();
    let listed = volume.list(&folder).unwrap();
    assert_eq!((listed.len(), &*listed[40].name, &*listed[40].short_name), (41, name, "ARATHE~1.EFI"));
    assert_eq!(read(&volume.device.0, &format!(r"x\{name}")).unwrap(), Some(Vec::new()));
}

#[test]
fn a_long_name_that_belongs_to_another_entry_is_left_out() {
    let mut entries = entry(b"ONE        ", "the long name of one", 0x20, 0, 0);
    let last = entries.len() - 32;
    entries[last..last + 11].copy_from_slice(b"TWO        ");
    let parsed = directory::parse(&entries, Width::Fat32).unwrap();
    assert_eq!((parsed.len(), &*parsed[0].name), (1, "TWO"));
    // A part is missing.
    let mut entries = entry(b"ONE        ", "the long name of one", 0x20, 0, 0);
    entries.drain(32..64);
    assert_eq!(directory::parse(&entries, Width::Fat32).unwrap()[0].name, "ONE");
}

/// Changes a good volume and returns how reading the file answers.
fn broken(shape: Shape, change: impl FnOnce(&mut Maker, u32)) -> Error {
    let (mut made, file) = sample::esp(shape, &content(5 * shape.cluster_bytes()));
    change(&mut made, file);
    let answer = read(&made.bytes, PATH);
    answer.expect_err("the volume is broken")
}

#[test]
fn a_chain_that_bites_its_tail_or_leads_nowhere_is_named() {
    for shape in [sample::FAT12, sample::FAT16, sample::FAT32] {
        let circle = broken(shape, |made, file| made.link(file + 4, file));
        assert!(matches!(circle, Error::ChainCircle { .. }), "{circle}");
        let long = broken(shape, |made, file| made.link(file + 8, 1999));
        assert!(matches!(long, Error::ChainLong { limit: 5, .. }), "{long}");
        let short = broken(shape, |made, file| made.link(file + 2, 0x0fff_ffff));
        assert!(matches!(short, Error::ChainLength { clusters: 2, expected: 5, .. }), "{short}");
        for to in [0, 1, 0x0fff_fff7, shape.clusters as u32 + 2] {
            let astray = broken(shape, |made, file| made.link(file, to));
            assert!(matches!(astray, Error::Link { .. }), "{to:#x}: {astray}");
            assert_eq!(astray.code(), Some("E-FAT-CORRUPT"));
            assert!(astray.hint().is_some());
        }
        let differ = broken(shape, |made, file| made.link_in(1, file + 2, 0x0fff_ffff));
        assert!(matches!(differ, Error::CopiesDiffer { .. }), "{differ}");
    }
}

#[test]
fn a_file_that_is_larger_than_its_volume_contradicts_it_and_one_that_is_smaller_than_its_chain_too() {
    for shape in [sample::FAT12, sample::FAT16, sample::FAT32] {
        let (made, _) = sample::esp(shape, &content(5 * shape.cluster_bytes()));
        let volume = Volume::open(Memory(made.bytes)).unwrap();
        let file = volume.find(PATH).unwrap().unwrap();
        let room = (shape.clusters * shape.cluster_bytes()) as u32;
        for size in [room + 1, u32::MAX] {
            let error = volume.read(&DirectoryEntry { size, ..file.clone() }, u64::MAX).unwrap_err();
            assert!(matches!(error, Error::SizeBeyondVolume { .. }), "{error}");
            assert_eq!(error.code(), Some("E-FAT-CORRUPT"));
        }
        let error = volume.read(&file, 1).unwrap_err();
        assert_eq!(error.code(), Some("E-FAT-TOO-LARGE"), "the caller's limit says nothing of the volume");
        for (size, limit) in [(0, 0), (1, 1), (4 * shape.cluster_bytes() as u32, 4)] {
            let error = volume.read(&DirectoryEntry { size, ..file.clone() }, LIMIT).unwrap_err();
            assert!(matches!(error, Error::ChainLong { limit: of, .. } if of == limit), "{error}");
            assert!(!error.to_string().contains("does not end"), "{error}");
        }
    }
}

#[test]
fn a_directory_whose_chain_runs_in_a_circle_ends() {
    let mut made = Maker::new(sample::FAT32);
    let full: Vec<u8> = (0..64).flat_map(|_| entry(b"A       EFI", "", 0x20, 0, 0)).collect();
    let folder = made.store(&full);
    made.link(folder + 2, folder);
    made.set_root(&entry(b"EFI        ", "", 0x10, folder, 0));
    assert!(matches!(read(&made.bytes, r"\EFI\x"), Err(Error::ChainCircle { .. })));
    // Its parent as a subdirectory of itself is no circle for a path, which ends.
    let mut made = Maker::new(sample::FAT32);
    made.set_root(&entry(b"EFI        ", "", 0x10, 2, 0));
    assert_eq!(read(&made.bytes, r"\EFI\EFI\EFI\x").unwrap(), None);
}

#[test]
fn two_entries_of_one_name_are_ambiguous() {
    let mut made = Maker::new(sample::FAT16);
    made.set_root(&[entry(b"EFI        ", "", 0x20, 0, 0), entry(b"EFI        ", "", 0x20, 0, 0)].concat());
    assert!(matches!(read(&made.bytes, "EFI"), Err(Error::AmbiguousName { .. })));
}

#[test]
fn zeros_and_other_file_systems_are_no_fat_and_impossible_parameters_are_named() {
    for bytes in [vec![], vec![0; 100], vec![0; 1 << 16], vec![0xff; 1 << 16]] {
        assert!(matches!(Volume::open(Memory(bytes)), Err(Error::NotFat)));
    }
    let (made, _) = sample::esp(sample::FAT32, b"x");
    for (at, bytes) in [
        (13, &[0u8][..]), // sectors in a cluster
        (13, &[3]),
        (14, &[0, 0]),       // reserved sectors
        (16, &[9]),          // copies
        (17, &[1, 0]),       // a root area on FAT32
        (32, &[0, 0, 0, 0]), // sectors
        (32, &[0xff; 4]),
        (36, &[0; 4]), // sectors of the table
        (36, &[0xff; 4]),
        (40, &[0x8f, 0]), // the active copy
        (42, &[1, 0]),    // version
    ] {
        let mut bad = made.bytes.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        let error = Volume::open(Memory(bad)).expect_err("impossible");
        assert!(matches!(error, Error::BootSector { .. }), "{at}: {error}");
    }
}

#[test]
fn no_change_of_a_few_bytes_hangs_or_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for shape in [sample::FAT12, sample::FAT16] {
        let (made, file) = sample::esp(shape, &content(5000));
        let places = [
            (0, 64),
            (shape.table(0), 64),
            (shape.table(1), 64),
            (shape.root(), 96),
            (shape.place(file), (5000usize.div_ceil(shape.cluster_bytes()) + 4) * 2 * shape.cluster_bytes()),
        ];
        for _ in 0..1000 {
            let mut bad = made.bytes.clone();
            for _ in 0..=random(3) {
                let (start, length) = places[random(places.len())];
                let at = start + random(length);
                bad[at] = [0, 0xff, random(256) as u8][random(3)];
            }
            if let Ok(volume) = Volume::open(Memory(bad))
                && let Ok(entries) = volume.root()
            {
                for entry in entries {
                    let _ = volume.read(&entry, LIMIT);
                    let _ = volume.list(&entry);
                }
                let _ = volume.find(PATH).map(|found| found.map(|entry| volume.read(&entry, LIMIT)));
            }
        }
    }
}
