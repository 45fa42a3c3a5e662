//! `aws/block-map.json`: a block that is not sent may come back as anything, so that only free clusters may be left out.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use coldforge_base::digest::{Digest, base64};

use crate::support::{Mounted, Seeded, ask, coldforge, cut_volume, fixture, oracle, sha256, text, to_raw};

const BLOCK: usize = 512 << 10;
const VOLUME: u64 = 1 << 20;
const VOLUME_BYTES: u64 = 260_096 * 512 - VOLUME;

struct Map {
    document: serde_json::Value,
    blocks: BTreeMap<usize, String>,
}

/// Hardens an image by one rule into a raw disk, and returns that disk and its block map.
fn hardened(image: &Path, out: &Path) -> (PathBuf, Map) {
    let rule = ["--only", "WN22-SO-000310", "--format", "raw", "--route", "snapshot", "--skip-preflight"];
    coldforge([&["harden", text(image), "-o", text(out)], &rule[..]].concat()).expect(0);
    let map = std::fs::read_to_string(out.join("aws/block-map.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&map).unwrap();
    let blocks = document["blocks"].as_array().unwrap().iter().map(|block| {
        let index = usize::try_from(block["index"].as_u64().unwrap()).unwrap();
        (index, block["sha256"].as_str().unwrap().to_owned())
    });
    let blocks = blocks.collect();
    let raw = out.join(image.file_stem().unwrap()).with_extension("raw");
    (raw, Map { document, blocks })
}

fn block_of(disk: &[u8], index: usize) -> Vec<u8> {
    let mut block = disk[index * BLOCK..disk.len().min((index + 1) * BLOCK)].to_vec();
    block.resize(BLOCK, 0);
    block
}

/// Fills what is not sent with bytes of chance, as an encrypted volume does.
fn materialise(disk: &[u8], map: &Map) -> Vec<u8> {
    let mut random = Seeded(19);
    let mut made = disk.to_vec();
    for (index, block) in made.chunks_mut(BLOCK).enumerate().filter(|(index, _)| !map.blocks.contains_key(index)) {
        assert!(block.iter().all(|byte| *byte == 0), "block {index} holds data and is not sent");
        block.chunks_mut(8).for_each(|part| part.copy_from_slice(&random.next().to_le_bytes()[..part.len()]));
    }
    made
}

#[test]
fn what_is_left_out_of_the_block_map_may_come_back_as_anything() {
    let home = tempfile::tempdir().unwrap();
    let (raw, map) = hardened(&fixture("ws2022.vhd"), &home.path().join("out"));
    let disk = std::fs::read(&raw).unwrap();
    let count = disk.len().div_ceil(BLOCK);
    let left_out = count - map.blocks.len();
    assert!(left_out > 0, "the fixture has free clusters");
    let document = &map.document;
    assert_eq!(document["set"], "free-left-out");
    assert_eq!((document["free_blocks_left_out"].as_u64(), left_out), (Some(left_out as u64), left_out));
    assert_eq!(document["changed_blocks"].as_u64(), Some(map.blocks.len() as u64));
    let mut digests = Vec::new();
    for (index, sum) in &map.blocks {
        let digest = Digest::of(&block_of(&disk, *index));
        assert_eq!(&base64(&digest.0), sum, "block {index}");
        digests.extend(digest.0);
    }
    assert_eq!(document["checksum"], base64(&Digest::of(&digests).0).as_str());
    let zeros = map.blocks.keys().filter(|index| block_of(&disk, **index).iter().all(|byte| *byte == 0)).count();
    assert!(zeros > 0, "zeros in files and in the file system's own tables are sent");
    assert!(map.blocks.contains_key(&(count - 1)), "the end of the disk is sent");
    coldforge(["verify", text(&home.path().join("out"))]).expect(0);

    // On an encrypted volume they come back as noise: nothing that anybody reads may have changed.
    let noisy = home.path().join("noisy.raw");
    std::fs::write(&noisy, materialise(&disk, &map)).unwrap();
    coldforge(["check", text(&noisy)]).expect(0);
    let scan = |image: &Path| {
        let mut document = coldforge(["scan", text(image), "--json"]).expect(1).json();
        document["image"] = serde_json::Value::Null;
        document
    };
    assert_eq!(scan(&noisy), scan(&raw));
    if oracle("ntfsclone") {
        // It copies the clusters that are in use, and no others.
        let cloned = |disk: &Path, name: &str| {
            let (volume, clone) = (home.path().join(format!("{name}.ntfs")), home.path().join(format!("{name}.clone")));
            cut_volume(disk, VOLUME, VOLUME_BYTES, &volume);
            let done = ask("ntfsclone", &["--save-image", "--force", "-o", text(&clone), text(&volume)]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            sha256(&clone)
        };
        assert_eq!(cloned(&noisy, "noisy"), cloned(&raw, "raw"));
    }
}

/// Returns the fixture as a raw disk of 192 MiB, whose last 64 MiB no partition has.
fn longer(home: &Path) -> PathBuf {
    let raw = home.join("longer.img");
    to_raw(&fixture("ws2022.vhd"), &raw);
    std::fs::File::options().write(true).open(&raw).unwrap().set_len(192 << 20).unwrap();
    raw
}

#[test]
fn zeros_that_no_volume_calls_free_are_sent() {
    if !oracle("qemu-img") || !oracle("mkntfs") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let image = longer(home.path());
    let behind = |map: &Map| (256..384).filter(|index| map.blocks.contains_key(index)).count();
    let zeros = base64(&Digest::of(&vec![0; BLOCK]).0);
    let (_, map) = hardened(&image, &home.path().join("gap"));
    assert_eq!(behind(&map), 128, "a gap behind the last partition");
    assert!((256..384).all(|index| map.blocks[&index] == zeros));

    // The same place as a partition that nobody here reads.
    let disk = std::fs::File::options().write(true).open(&image).unwrap();
    let entry = |kind: u8| {
        let mut entry = [0u8; 16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&(128u32 << 11).to_le_bytes());
        entry[12..].copy_from_slice(&(64u32 << 11).to_le_bytes());
        entry
    };
    disk.write_all_at(&entry(0x83), 446 + 16).unwrap();
    assert_eq!(behind(&hardened(&image, &home.path().join("unread")).1), 128, "a partition that is not read");

    // An NTFS volume on it, first clean, then in use.
    let volume = home.path().join("data.ntfs");
    std::fs::File::create(&volume).unwrap().set_len(64 << 20).unwrap();
    let done = ask("mkntfs", &["-F", "-Q", "-q", "-p", "262144", "-H", "255", "-S", "63", text(&volume)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut data = std::fs::read(&volume).unwrap();
    disk.write_all_at(&entry(7), 446 + 16).unwrap();
    disk.write_all_at(&data, 128 << 20).unwrap();
    let sent = behind(&hardened(&image, &home.path().join("clean")).1);
    assert!(sent < 64, "{sent} of 128 blocks of an empty volume are sent");
    // A shadow copy reads clusters that were freed behind its back.
    if oracle("ntfs-3g") {
        let shadowed = home.path().join("shadowed.ntfs");
        std::fs::write(&shadowed, &data).unwrap();
        let mounted = Mounted::of(&shadowed, "rw");
        let folder = mounted.join("System Volume Information");
        std::fs::create_dir(&folder).unwrap();
        let store = "{0f4a1c5e-1c2d-4b5e-9a3f-6f1f6d0c2b11}{3808876b-c176-4e48-b7ae-04046e6cc752}";
        std::fs::write(folder.join(store), "store").unwrap();
        drop(mounted);
        disk.write_all_at(&std::fs::read(&shadowed).unwrap(), 128 << 20).unwrap();
        assert_eq!(behind(&hardened(&image, &home.path().join("shadowed")).1), 128, "a volume with a shadow copy");
    }
    // $VOLUME_INFORMATION of the fourth record: the flag that a volume is dirty.
    let number = |data: &[u8], at: usize, length: usize| {
        data[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let cluster = number(&data, 0xb, 2) * number(&data, 0xd, 1);
    let record = number(&data, 0x30, 8) * cluster + 3 * 1024;
    let mut at = record + number(&data, record + 0x14, 2);
    while number(&data, at, 4) != 0x70 {
        at += number(&data, at + 4, 4);
    }
    let flags = at + number(&data, at + 0x14, 2) + 10;
    data[flags] |= 1;
    disk.write_all_at(&data, 128 << 20).unwrap();
    assert_eq!(behind(&hardened(&image, &home.path().join("dirty")).1), 128, "a volume that is dirty");
}
