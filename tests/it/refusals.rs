//! Each named refusal, provoked by planting its cause into the project's own disk: the code, exit 3, and nothing written.

use std::path::{Path, PathBuf};

use coldforge_base::ReadAt as _;
use coldforge_disk::Image;

use crate::support::{self, Mounted, coldforge, copy_of, cut_volume, fixture, oracle, text};

/// Where the fixture's only partition begins, and how long it is.
const START: usize = 2048 * 512;

/// A raw copy of the fixture in memory, to be damaged and written out.
struct Planted {
    home: tempfile::TempDir,
    disk: Vec<u8>,
}

impl Planted {
    fn new() -> Self {
        let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
        let mut disk = vec![0u8; usize::try_from(image.len()).unwrap()];
        image.read_at(0, &mut disk).unwrap();
        Self { home: tempfile::tempdir().unwrap(), disk }
    }

    fn write(&self) -> PathBuf {
        let path = self.home.path().join("disk.raw");
        std::fs::write(&path, &self.disk).unwrap();
        path
    }

    /// Writes the disk and demands that hardening refuses it by this code.
    fn is_refused(&self, code: &str) {
        refused(&self.write(), self.home.path(), code);
    }

    fn u16_at(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes([self.disk[at], self.disk[at + 1]]))
    }

    fn u32_at(&self, at: usize) -> usize {
        u32::from_le_bytes(self.disk[at..at + 4].try_into().unwrap()) as usize
    }

    /// Returns where an MFT record (below 16) lies, and its copy in the mirror if it has one. Records are 1 KiB,
    /// clusters 4 KiB, and the MFT begins in one piece: the fixture's maker sees to it.
    fn records(&self, number: usize) -> Vec<usize> {
        let lcn =
            |field: usize| u64::from_le_bytes(self.disk[START + field..START + field + 8].try_into().unwrap()) as usize;
        let mut places = vec![START + lcn(0x30) * 4096 + number * 1024];
        if number < 4 {
            places.push(START + lcn(0x38) * 4096 + number * 1024);
        }
        places
    }

    /// Returns where the unnamed attribute of a type begins in a record.
    fn attribute(&self, record: usize, kind: usize) -> usize {
        let mut at = record + self.u16_at(record + 0x14);
        for _ in 0..64 {
            if self.u32_at(at) == kind {
                return at;
            }
            at += self.u32_at(at + 4);
        }
        panic!("the record has an attribute {kind:#x}");
    }

    /// Returns where the first run of a record's $DATA lies on the disk.
    fn first_run(&self, record: usize) -> usize {
        let attribute = self.attribute(record, 0x80);
        let pairs = attribute + self.u16_at(attribute + 0x20);
        let (lengths, offsets) = (usize::from(self.disk[pairs] & 15), usize::from(self.disk[pairs] >> 4));
        let bytes = &self.disk[pairs + 1 + lengths..pairs + 1 + lengths + offsets];
        let lcn = bytes.iter().rev().fold(0usize, |lcn, byte| lcn << 8 | usize::from(*byte));
        START + lcn * 4096
    }

    /// Puts a restart page at the head of $LogFile, and at its second place.
    fn plant_restart_page(&mut self, major: u8, clients_in_use: u16, flags: u16) {
        let log = self.first_run(self.records(2)[0]);
        let mut page = vec![0u8; 4096];
        page[..4].copy_from_slice(b"RSTR");
        page[4..8].copy_from_slice(&[0x1e, 0, 9, 0]); // update sequence array at 0x1e, 9 words
        page[0x10..0x14].copy_from_slice(&4096u32.to_le_bytes());
        page[0x14..0x18].copy_from_slice(&4096u32.to_le_bytes());
        page[0x18..0x1a].copy_from_slice(&0x30u16.to_le_bytes());
        page[0x1a] = if major == 2 { 0 } else { 1 };
        page[0x1c] = major;
        page[0x38..0x3a].copy_from_slice(&1u16.to_le_bytes());
        page[0x3a..0x3c].copy_from_slice(&u16::MAX.to_le_bytes());
        page[0x3c..0x3e].copy_from_slice(&clients_in_use.to_le_bytes());
        page[0x3e..0x40].copy_from_slice(&flags.to_le_bytes());
        page[0x54..0x56].copy_from_slice(&0x40u16.to_le_bytes()); // client array
        page[0x1e] = 1;
        for sector in 1..=8 {
            page[sector * 512 - 2..sector * 512].copy_from_slice(&[1, 0]);
        }
        self.disk[log..log + 4096].copy_from_slice(&page);
        self.disk[log + 4096..log + 8192].copy_from_slice(&page);
    }

    /// Returns where a hive of the configuration folder begins.
    fn hive(&self, name: &str) -> usize {
        let tail: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        (START..self.disk.len())
            .step_by(4096)
            .find(|at| {
                let field = &self.disk[at + 48..at + 112];
                self.disk[*at..at + 4] == *b"regf" && field.windows(tail.len()).any(|window| window == tail)
            })
            .unwrap_or_else(|| panic!("the hive {name} lies on the disk"))
    }
}

/// Demands that hardening refuses an image by this code: exit 3, a hint, nothing written, and inspect says the same.
fn refused(image: &Path, home: &Path, code: &str) {
    let out = home.join("out");
    let before: Vec<u8> = std::fs::read(image).unwrap();
    let answer = coldforge(["harden", "--fail-on", "none", text(image), "-o", text(&out)]).expect(3);
    assert!(answer.err.contains(&format!("[{code}]")), "{}", answer.err);
    assert!(answer.err.contains("\nhint: "), "{}", answer.err);
    assert_eq!(answer.out, "");
    coldforge(["scan", "--fail-on", "none", text(image)]).expect(3);
    assert!(std::fs::read_dir(home).unwrap().all(|entry| entry.unwrap().path() == image), "nothing is left behind");
    assert!(std::fs::read(image).unwrap() == before, "the source is as it was");
}

/// Demands that inspect lists the refusal, where the disk can be looked into.
fn listed(image: &Path, code: &str) {
    let report = coldforge(["inspect", text(image), "--json"]).expect(0).json();
    let codes: Vec<&str> = report["refusals"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&code), "{codes:?}");
}

#[test]
fn the_planted_disk_itself_is_accepted() {
    let planted = Planted::new();
    coldforge(["harden", "--fail-on", "none", text(&planted.write()), "--dry-run"]).expect(0);
}

#[test]
fn a_bitlocker_volume_is_refused() {
    let mut planted = Planted::new();
    planted.disk[START + 3..START + 11].copy_from_slice(b"-FVE-FS-");
    planted.is_refused("E-BITLOCKER");
    listed(&planted.write(), "E-BITLOCKER");
}

#[test]
fn a_refs_volume_is_refused() {
    let mut planted = Planted::new();
    planted.disk[START + 3..START + 11].copy_from_slice(b"ReFS\0\0\0\0");
    planted.disk[START + 16..START + 20].copy_from_slice(b"FSRS");
    planted.is_refused("E-REFS");
}

#[test]
fn a_dirty_volume_is_refused() {
    let mut planted = Planted::new();
    for record in planted.records(3) {
        let attribute = planted.attribute(record, 0x70);
        let flags = attribute + planted.u16_at(attribute + 0x14) + 10;
        planted.disk[flags] |= 1;
    }
    planted.is_refused("E-VOLUME-DIRTY");
    listed(&planted.write(), "E-VOLUME-DIRTY");
}

#[test]
fn a_log_file_with_open_clients_is_refused_and_a_clean_one_is_not() {
    let mut planted = Planted::new();
    planted.plant_restart_page(1, 0, 0);
    planted.is_refused("E-LOGFILE-UNCLEAN");
    planted.plant_restart_page(1, u16::MAX, 0);
    coldforge(["harden", "--fail-on", "none", text(&planted.write()), "--dry-run"]).expect(0);
}

#[test]
fn a_log_file_of_fast_startup_is_refused() {
    let mut planted = Planted::new();
    planted.plant_restart_page(2, u16::MAX, 2);
    planted.is_refused("E-FAST-STARTUP");
}

#[test]
fn a_mirror_that_differs_is_refused() {
    let mut planted = Planted::new();
    let mirror = planted.records(1)[1];
    planted.disk[mirror + 0x38] ^= 0xff;
    planted.is_refused("E-MFTMIRR");
}

#[test]
fn a_hibernated_windows_is_refused() {
    if !oracle("ntfs-3g") {
        return;
    }
    let planted = Planted::new();
    let raw = planted.write();
    let length = (planted.disk.len() - START) as u64;
    let volume = planted.home.path().join("volume");
    cut_volume(&raw, START as u64, partition_length(&planted).min(length), &volume);
    {
        let mounted = Mounted::of(&volume, "rw");
        let mut hibernation = vec![0u8; 8192];
        hibernation[..4].copy_from_slice(b"hibr");
        std::fs::write(mounted.join("hiberfil.sys"), hibernation).unwrap();
    }
    let mut planted = planted;
    let volume_bytes = std::fs::read(&volume).unwrap();
    planted.disk[START..START + volume_bytes.len()].copy_from_slice(&volume_bytes);
    std::fs::remove_file(volume).unwrap();
    std::fs::remove_file(raw).unwrap();
    planted.is_refused("E-HIBERNATED");
}

/// Returns the length of the fixture's partition from its MBR.
fn partition_length(planted: &Planted) -> u64 {
    planted.u32_at(446 + 12) as u64 * 512
}

#[test]
fn a_dynamic_disk_is_refused() {
    let mut planted = Planted::new();
    planted.disk[446 + 4] = 0x42;
    planted.is_refused("E-DYNAMIC-DISK");
    listed(&planted.write(), "E-DYNAMIC-DISK");
}

#[test]
fn a_dirty_hive_without_logs_is_refused_unless_it_is_accepted() {
    for name in ["SYSTEM", "SOFTWARE"] {
        let mut planted = Planted::new();
        let hive = planted.hive(name);
        let sequence = planted.u32_at(hive + 4) as u32 + 1;
        planted.disk[hive + 4..hive + 8].copy_from_slice(&sequence.to_le_bytes());
        let sum = (0..127).fold(0u32, |sum, word| sum ^ planted.u32_at(hive + word * 4) as u32);
        planted.disk[hive + 508..hive + 512].copy_from_slice(&sum.to_le_bytes());
        planted.is_refused("E-HIVE-DIRTY-NO-LOG");
        listed(&planted.write(), "E-HIVE-DIRTY-NO-LOG");
        let accepted =
            coldforge(["harden", "--fail-on", "none", text(&planted.write()), "--dry-run", "--accept-dirty-hive"])
                .expect(0);
        assert!(accepted.err.contains("W-HIVE-DIRTY-ACCEPTED"), "{}", accepted.err);
    }
}

#[test]
fn a_disk_without_windows_is_refused() {
    let mut planted = Planted::new();
    planted.disk[START..].fill(0);
    planted.is_refused("E-NO-WINDOWS");
    listed(&planted.write(), "E-NO-WINDOWS");
}

#[test]
fn two_installations_are_refused() {
    let mut planted = Planted::new();
    let length = usize::try_from(partition_length(&planted)).unwrap();
    let second = planted.disk.len();
    planted.disk.resize(second + length, 0);
    planted.disk.copy_within(START..START + length, second);
    let mut entry = [0u8; 16];
    entry.copy_from_slice(&planted.disk[446..462]);
    entry[0] = 0; // one active partition is enough
    entry[8..12].copy_from_slice(&u32::try_from(second / 512).unwrap().to_le_bytes());
    planted.disk[462..478].copy_from_slice(&entry);
    planted.is_refused("E-SEVERAL-WINDOWS");
    listed(&planted.write(), "E-SEVERAL-WINDOWS");
}

#[test]
fn a_differencing_vhd_without_its_parent_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let mut bytes = std::fs::read(&image).unwrap();
    let end = bytes.len() - 512;
    for footer in [0, end] {
        bytes[footer + 60..footer + 64].copy_from_slice(&4u32.to_be_bytes());
        bytes[footer + 64..footer + 68].fill(0);
        let sum = !bytes[footer..footer + 512].iter().map(|byte| u32::from(*byte)).sum::<u32>();
        bytes[footer + 64..footer + 68].copy_from_slice(&sum.to_be_bytes());
    }
    std::fs::write(&image, bytes).unwrap();
    refused(&image, home.path(), "E-PARENT-MISSING");
}

#[test]
fn another_container_is_refused_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    for (magic, name) in [(b"COWD\x01\0\0\0".as_slice(), "VMDK"), (b"QFI\xfb\0\0\0\x03", "QCOW")] {
        let image = home.path().join("disk.raw"); // the name lies, the signature does not
        let mut bytes = vec![0u8; 1 << 20];
        bytes[..8].copy_from_slice(magic);
        std::fs::write(&image, bytes).unwrap();
        refused(&image, home.path(), "E-CONTAINER-UNSUPPORTED");
        let answer = coldforge(["inspect", text(&image)]).expect(3);
        assert!(answer.err.to_uppercase().contains(name), "{}", answer.err);
    }
}

#[test]
fn a_file_that_is_no_disk_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let image = home.path().join("disk.raw");
    std::fs::write(&image, vec![0x5a; 1 << 20]).unwrap();
    refused(&image, home.path(), "E-NOT-AN-IMAGE");
    std::fs::write(&image, b"").unwrap();
    let answer = coldforge(["scan", "--fail-on", "none", text(&image)]);
    assert!(matches!(answer.code, 3 | 4), "{}", answer.err);
}

#[test]
fn an_image_that_somebody_writes_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    file.lock().unwrap();
    refused(&image, home.path(), "E-IMAGE-BUSY");
    file.unlock().unwrap();
    coldforge(["scan", text(&image), "--fail-on", "none"]).expect(0);
}

#[test]
fn an_unknown_build_is_refused_by_scan_unless_a_stig_is_forced() {
    let mut planted = Planted::new();
    let old: Vec<u8> = "20348".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let new: Vec<u8> = "20349".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let places: Vec<usize> =
        (START..planted.disk.len() - 10).step_by(2).filter(|at| planted.disk[*at..at + 10] == old[..]).collect();
    assert!(!places.is_empty());
    for at in places {
        planted.disk[at..at + new.len()].copy_from_slice(&new);
    }
    let image = planted.write();
    let answer = coldforge(["scan", "--fail-on", "none", text(&image)]).expect(3);
    assert!(answer.err.contains("[E-NO-STIG]"), "{}", answer.err);
    // A STIG that is named is for one build as well.
    let named = ["scan", text(&image), "--stig", "ws2022", "--fail-on", "none"];
    let answer = coldforge(named).expect(3);
    assert!(answer.err.contains("[E-STIG-MISMATCH]"), "{}", answer.err);
    let forced = coldforge([&named[..], &["--force-stig"]].concat()).expect(0);
    assert!(forced.err.contains("W-STIG-FORCED"), "{}", forced.err);
}

#[test]
fn the_docs_tell_every_code() {
    fn collect(folder: &Path, codes: &mut std::collections::BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, codes);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for word in text.split('"').filter(|word| word.starts_with("E-") && word.len() > 4) {
                if word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
                    codes.insert(word.to_owned());
                }
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut codes = std::collections::BTreeSet::new();
    collect(&root.join("src"), &mut codes);
    for room in ["base", "disk", "ntfs", "regf"] {
        collect(&root.join("crates").join(room).join("src"), &mut codes);
    }
    assert!(codes.len() > 60, "{codes:?}");
    let docs: String = support::pages().iter().map(|page| std::fs::read_to_string(page).unwrap()).collect();
    // The paper machine of the unit tests has a code of its own.
    let untold: Vec<_> =
        codes.iter().filter(|code| *code != "E-FAKE" && !docs.contains(&format!("`{code}`"))).collect();
    assert!(untold.is_empty(), "{untold:?}");
}
