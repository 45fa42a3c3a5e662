//! Partition tables against sfdisk, and the tables and volumes of real disks.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coldforge_base::device::Memory;
use coldforge_base::{Failure as _, ReadAt};
use coldforge_disk::partition::{DiskId, Kind, Scheme, Signature, Table, scan};
use coldforge_disk::{Format, Image};
use serde_json::Value;

use crate::support::{Seeded, ask, corpus, oracle};

/// Makes a disk of `mib` MiB in a new folder and lets sfdisk divide it.
fn divided(mib: u64, script: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("disk.raw");
    File::create(&path).unwrap().set_len(mib << 20).unwrap();
    sfdisk(&path, script);
    (folder, path)
}

fn sfdisk(path: &Path, script: &str) {
    let mut child = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(path)
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "sfdisk takes the script");
}

fn scan_file(path: &Path) -> Table {
    scan(&Image::open(path, Some(Format::Raw)).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks that sfdisk lists the same partitions.
fn assert_agrees(path: &Path, table: &Table) {
    let output = ask("sfdisk", &["--json", path.to_str().unwrap()]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_same(&json["partitiontable"], path.to_str().unwrap(), table);
}

fn assert_same(said: &Value, node: &str, table: &Table) {
    let sector = said["sectorsize"].as_u64().unwrap();
    assert_eq!(u64::from(table.sector_bytes), sector);
    let id = match table.disk_id.unwrap() {
        DiskId::Gpt(guid) => guid.to_string().to_uppercase(),
        DiskId::Mbr(signature) => format!("{signature:#010x}"),
    };
    assert_eq!(said["id"], id);
    let theirs: Vec<_> = said["partitions"].as_array().cloned().unwrap_or_default();
    let theirs: Vec<_> = theirs
        .iter()
        .map(|one| {
            let number = one["node"].as_str().unwrap().strip_prefix(node).unwrap().trim_start_matches('p').to_owned();
            let (start, size) = (one["start"].as_u64().unwrap(), one["size"].as_u64().unwrap());
            let name = one["name"].as_str().unwrap_or_default().to_owned();
            let kind = one["type"].as_str().unwrap().to_lowercase();
            (number, start, size, kind, one["bootable"] == true, name, one["uuid"].as_str().map(str::to_lowercase))
        })
        .collect();
    let ours: Vec<_> = table
        .partitions
        .iter()
        .map(|one| {
            let kind = match one.kind {
                Kind::Mbr(kind) => format!("{kind:x}"),
                Kind::Gpt(guid) => guid.to_string(),
                Kind::Bare => panic!("a table"),
            };
            let (start, size) = (one.start.0 / sector, one.length_bytes / sector);
            let name = one.name.clone().unwrap_or_default();
            (one.number.to_string(), start, size, kind, one.active, name, one.id.map(|id| id.to_string()))
        })
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn mbr_partitions_are_those_that_sfdisk_made() {
    if !oracle("sfdisk") {
        return;
    }
    let (_folder, path) = divided(
        100,
        "label: dos\nlabel-id: 0x12345678\nstart=2048,size=20480,type=7,bootable\nstart=22528,size=100000,type=f\n\
         start=122880,type=27\nstart=24576,size=10000,type=7\nstart=90000,size=10000,type=b\nstart=40000,size=500,type=7\n",
    );
    let table = scan_file(&path);
    assert_eq!((table.scheme, table.partitions.len(), table.refusals.len()), (Scheme::Mbr, 6, 0));
    assert_agrees(&path, &table);
    assert!(table.partitions[1].is_extended());
}

const GPT: &str = "label: gpt\n\
    size=1MiB,type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B,name=\"EFI system partition\"\n\
    size=1MiB,type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE,name=\"Microsoft reserved partition\"\n\
    size=20MiB,type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7,name=\"Basic data partition\"\n\
    type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC,name=\"recov\u{e9}ry\"\n";

#[test]
fn gpt_partitions_are_those_that_sfdisk_made() {
    if !oracle("sfdisk") {
        return;
    }
    let (_folder, path) = divided(64, GPT);
    let table = scan_file(&path);
    assert_eq!((table.scheme, table.partitions.len()), (Scheme::Gpt, 4));
    assert!(table.refusals.is_empty() && table.notes.is_empty(), "{table:?}");
    assert_agrees(&path, &table);
}

#[test]
fn gpt_partitions_of_4096_byte_sectors_are_those_that_sfdisk_made() {
    if !oracle("sfdisk") || !oracle("losetup") {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("disk.raw");
    File::create(&path).unwrap().set_len(64 << 20).unwrap();
    let attached = ask("losetup", &["--find", "--show", "--sector-size", "4096", path.to_str().unwrap()]);
    let device = String::from_utf8(attached.stdout).unwrap().trim().to_owned();
    if !attached.status.success() || device.is_empty() {
        eprintln!("SKIPPED: no loop device of 4096-byte sectors here; the unit tests build such a table by hand");
        return;
    }
    sfdisk(Path::new(&device), GPT);
    let said = ask("sfdisk", &["--json", &device]);
    assert!(ask("losetup", &["--detach", &device]).status.success());
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    let table = scan_file(&path);
    assert_eq!((table.scheme, table.sector_bytes, table.partitions.len()), (Scheme::Gpt, 4096, 4));
    assert_same(&json["partitiontable"], &device, &table);
}

#[test]
fn real_disks_and_volumes_are_divided_as_they_are() {
    let Some(folder) = corpus("^ntfs/.*(raw|dd|bin|testfs1)\\s") else { return };
    let file = |name: &str| folder.join("ntfs").join(name);
    for name in [
        "dfir_ntfs__ntfs3_attrlist.raw",
        "dfvfs__vss.raw",
        "ntfs-forensic__SampleTinyNtfsVolume.dd",
        "ntfs__testfs1",
        "velociraptor__partition_image.raw",
        "velociraptor__test.ntfs.dd.raw",
    ] {
        let image = Image::open(&file(name), None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let table = scan(&image).unwrap();
        assert_eq!((table.scheme, table.partitions.len()), (Scheme::Bare, 1), "{name}");
        let volume = &table.partitions[0];
        assert_eq!((volume.length_bytes, volume.signature), (image.len(), Signature::Ntfs), "{name}");
        assert!(table.refusals.is_empty() && volume.refusal.is_none());
    }
    // A volume cut out of a fixed VHD together with the footer: it has to be named.
    let cut = file("dissect.ntfs__ntfs.bin");
    assert_eq!(Image::open(&cut, None).unwrap_err().code(), Some("E-VHD-CORRUPT"));
    assert_eq!(scan_file(&cut).partitions[0].signature, Signature::Ntfs);
    for (name, signatures) in [
        ("dfir_ntfs__ntfs_index.raw", &[Signature::Ntfs][..]),
        ("ntfs-samples__ntfs-2m.raw", &[Signature::Ntfs]),
        (
            "forensics-samples__fs.multiple.raw",
            &[Signature::Unknown, Signature::Unknown, Signature::ExFat, Signature::Ntfs],
        ),
    ] {
        let table = scan_file(&file(name));
        let found: Vec<_> = table.partitions.iter().map(|one| one.signature).collect();
        assert_eq!((table.scheme, &found[..]), (Scheme::Mbr, signatures), "{name}");
        assert!(table.refusals.is_empty(), "{name}");
        if oracle("sfdisk") {
            assert_agrees(&file(name), &table);
        }
    }
    let table = scan_file(&file("dfvfs__gpt_non_sequential.raw"));
    assert!(table.scheme == Scheme::Gpt && table.refusals.is_empty() && table.notes.is_empty());
    if oracle("sfdisk") {
        assert_agrees(&file("dfvfs__gpt_non_sequential.raw"), &table);
    }
    let table = scan_file(&file("dfvfs__gpt_empty_with_mbr.raw"));
    let codes: Vec<_> = table.refusals.iter().map(|refusal| refusal.code).collect();
    assert_eq!((table.scheme, codes), (Scheme::Mbr, vec!["E-GPT-AMBIGUOUS"]));
}

#[test]
fn vhds_that_windows_made_hold_one_ntfs_volume() {
    let Some(folder) = corpus("^vhd/dfvfs__ntfs-(fixed|dynamic|parent).vhd\\s") else { return };
    for name in ["fixed", "dynamic", "parent"] {
        let image = Image::open(&folder.join(format!("vhd/dfvfs__ntfs-{name}.vhd")), None).unwrap();
        let table = scan(&image).unwrap();
        assert_eq!((table.scheme, table.partitions.len()), (Scheme::Mbr, 1), "{name}");
        let volume = &table.partitions[0];
        assert_eq!((volume.start.0, volume.kind, volume.signature), (65_536, Kind::Mbr(7), Signature::Ntfs));
    }
}

#[test]
fn damaged_and_cut_tables_give_an_answer() {
    if !oracle("sfdisk") {
        return;
    }
    let mbr = "label: dos\nsize=1MiB,type=7\nsize=10MiB,type=5\nstart=6144,size=1MiB,type=7\nsize=1MiB,type=7\n";
    for (script, places) in [(mbr, vec![0..512, 2 << 20..(2 << 20) + 512]), (GPT, vec![446..604, 1024..1600])] {
        let (_folder, path) = divided(32, script);
        let good = std::fs::read(&path).unwrap();
        scan(&Memory(good.clone())).unwrap();
        let mut disk = Memory(good.clone());
        let mut random = Seeded(6);
        let mut wrong = 0;
        for _ in 0..3000 {
            let place = &places[random.below(places.len() as u64) as usize];
            let at = place.start + random.below(place.len() as u64) as usize;
            disk.0[at] = random.next() as u8;
            match scan(&disk) {
                Ok(table) => {
                    assert!(table.partitions.iter().all(|one| one.start.0 + one.length_bytes <= disk.len()));
                    wrong += table.refusals.len();
                }
                Err(error) => {
                    assert!(error.code().is_some() && error.hint().is_some(), "{error}");
                    wrong += 1;
                }
            }
            disk.0[at] = good[at];
        }
        assert!(wrong > 0);
        for _ in 0..200 {
            let _ = scan(&Memory(good[..random.below(4 << 20) as usize].to_vec()));
        }
    }
}
