//! Volumes that Windows, Linux and others wrote: the content of every file as an independent reader sees it.

use std::collections::BTreeMap;
use std::path::Path;

use coldforge_base::digest::Digest;
use coldforge_base::{ImageOffset, ReadAt as _};
use coldforge_disk::Window;
use coldforge_ntfs::{Geometry, Volume};

use super::made::{OnFile, walk};
use crate::support::{ask, corpus, shared};

/// A volume of the corpus: file, first byte, the codes of its refusals and warnings.
const VOLUMES: [(&str, u64, &[&str]); 9] = [
    ("dfir_ntfs__ntfs3_attrlist.raw", 0, &[]),
    ("dfir_ntfs__ntfs_index.raw", 65_536, &[]),
    ("dfvfs__vss.raw", 0, &["W-SHADOW-COPIES"]),
    ("dissect.ntfs__ntfs.bin", 0, &[]),
    ("ntfs-forensic__SampleTinyNtfsVolume.dd", 0, &["E-LOGFILE-UNCLEAN"]),
    ("ntfs-samples__ntfs-2m.raw", 65_536, &[]),
    ("ntfs__testfs1", 0, &[]),
    ("velociraptor__partition_image.raw", 0, &[]),
    ("velociraptor__test.ntfs.dd.raw", 0, &["E-FAST-STARTUP", "E-LOGFILE-UNCLEAN"]),
];

#[test]
fn every_file_of_real_volumes_is_read_as_another_reader_reads_it() {
    let (Some(shared), Some(folder)) = (shared(), corpus("^ntfs/(dfir_ntfs__ntfs|dfvfs__vss|dissect|ntfs|veloc)"))
    else {
        return;
    };
    let script = shared.join("check/ntfs_check.py");
    for (name, start, codes) in VOLUMES {
        let path = folder.join("ntfs").join(name);
        let volume = open(&path, start);
        let mut found: Vec<_> = volume.refusals().unwrap().into_iter().map(|refusal| refusal.code).collect();
        found.extend(volume.warnings().unwrap().into_iter().map(|warning| warning.code));
        assert_eq!(found, codes, "{name}");

        let expected = hashes(&script, &path);
        let read: BTreeMap<_, _> = walk(&volume)
            .into_iter()
            .map(|(path, content)| (path.replace('\\', "/"), content.map(|content| Digest::of(&content).to_string())))
            .collect();
        assert!(read.keys().eq(expected.keys()), "{name}: {:?}\n{:?}", read.keys(), expected.keys());
        for (path, digest) in &expected {
            match &read[path] {
                Ok(read) => assert_eq!(read, digest, "{name}: {path}"),
                Err(code) => assert!(*code == "E-FILE-REPARSE", "{name}: {path} {code}"),
            }
        }
        assert!(read.values().filter(|content| content.is_ok()).count() * 2 > read.len(), "{name}");
    }
}

fn open(path: &Path, start: u64) -> Volume<Window<OnFile>> {
    let device = OnFile::open(path);
    let length = device.len() - start;
    Volume::open(Window::open(device, ImageOffset(start), length).unwrap()).unwrap()
}

/// Asks the shared checker for the digest of each file.
fn hashes(script: &Path, path: &Path) -> BTreeMap<String, String> {
    let answer = ask("python3", &[script.to_str().unwrap(), path.to_str().unwrap(), "--hashes", "-"]);
    let text = String::from_utf8(answer.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let files = lines.filter(|(digest, _)| Digest::from_hex(digest).is_some());
    files.map(|(digest, rest)| (rest.split_once(' ').unwrap().1.to_owned(), digest.to_owned())).collect()
}

#[test]
fn boot_sectors_of_large_clusters_and_native_sectors_tell_their_sizes() {
    let Some(folder) = corpus("^ntfs/.*boot") else { return };
    for (name, expected) in [
        ("dfir_ntfs__128k.boot", "cluster_bytes: 131072, sectors: 67102719"),
        ("dfir_ntfs__4kn.boot", "cluster_bytes: 4096, sectors: 14335"),
        ("dfir_ntfs__64k.boot", "cluster_bytes: 65536, sectors: 67102719"),
    ] {
        let bytes = std::fs::read(folder.join("ntfs").join(name)).unwrap();
        let geometry = Geometry::parse(bytes[..512].try_into().unwrap()).unwrap();
        assert!(format!("{geometry:?}").contains(expected), "{name}: {geometry:?}");
    }
}
