//! Each reason not to write is provoked, and named by its code alone.

use std::fs;
use std::path::Path;

use coldforge_base::device::Memory;
use coldforge_base::{Failure as _, FileOffset};
use coldforge_ntfs::Volume;

use super::made::{Made, Planter, SHAPES, Shape, attribute, in_pieces, make, noise, read_at};
use crate::support::{ask, shared};

const SMALL: Shape = Shape { mebibytes: 8, ..SHAPES[1] };

fn base() -> Option<Made> {
    make(SMALL, |tree| {
        tree.put(r"\hiberfil.sys", &noise(1, 8192));
        tree.put(r"\file", &noise(2, 100));
    })
}

/// Opens the volume in a file and returns the codes of its refusals.
fn codes(path: &Path) -> Vec<&'static str> {
    let volume = Volume::open(Memory(fs::read(path).unwrap())).unwrap();
    let refusals = volume.refusals().unwrap();
    for refusal in &refusals {
        assert!(refusal.reason.len() > 20 && refusal.hint.len() > 10, "{refusal:?}");
        assert!(refusal.reason.contains("0x") || refusal.reason.contains("file"), "it says where: {refusal:?}");
        assert!(!refusal.reason.ends_with('.') && !refusal.hint.ends_with('.'), "{refusal:?}");
    }
    refusals.iter().map(|refusal| refusal.code).collect()
}

/// Plants a change into a copy, and returns the codes of the copy's refusals.
fn planted(made: &Made, plant: impl FnOnce(&Planter<'_>)) -> Vec<&'static str> {
    let copy = made.copy("planted");
    plant(&Planter::new(&copy));
    codes(&copy)
}

/// Changes a byte of the value of $VOLUME_INFORMATION.
fn volume_information(planter: &Planter<'_>, mirrored: bool, at: usize, value: u8) {
    planter.record(3, mirrored, |record| {
        let information = attribute(record, 0x70).unwrap();
        record[information + 0x18 + at] = value;
    });
}

#[test]
fn the_marks_of_a_writer_call_the_volume_dirty_and_are_one_byte_each_in_the_record_and_its_copy() {
    let Some(made) = base() else { return };
    let mut bytes = fs::read(&made.path).unwrap();
    let marks = Volume::open(Memory(bytes.clone())).unwrap().dirty_marks().unwrap();
    assert_eq!(marks.len(), 2);
    for (at, byte) in marks {
        let old = &mut bytes[usize::try_from(at.0).unwrap()];
        assert_eq!(*old ^ byte, 1, "one bit is set");
        *old = byte;
    }
    let copy = made.copy("marked");
    fs::write(&copy, bytes).unwrap();
    assert_eq!(codes(&copy), ["E-VOLUME-DIRTY"], "and nothing else: the two are alike");
}

#[test]
fn a_fresh_volume_is_refused_for_nothing_and_each_flag_of_it_by_its_own_code() {
    let Some(made) = base() else { return };
    assert_eq!(codes(&made.path), [""; 0]);
    let flags = |low: u8, high: u8| {
        planted(&made, |planter| {
            volume_information(planter, true, 10, low);
            volume_information(planter, true, 11, high);
        })
    };
    assert_eq!(flags(0x80, 0), [""; 0]);
    assert_eq!(flags(0x01, 0), ["E-VOLUME-DIRTY"]);
    assert_eq!(flags(0x00, 0x40), ["E-VOLUME-CHKDSK"]);
    assert_eq!(flags(0x00, 0x80), ["E-VOLUME-CHKDSK"]);
    assert_eq!(flags(0x02, 0), ["E-VOLUME-FLAGS"]);
    assert_eq!(flags(0x81, 0x40), ["E-VOLUME-DIRTY", "E-VOLUME-CHKDSK"]);
    assert_eq!(planted(&made, |planter| volume_information(planter, true, 9, 0)), ["E-VOLUME-VERSION"]);
    assert_eq!(planted(&made, |planter| volume_information(planter, true, 8, 4)), ["E-VOLUME-VERSION"]);
}

#[test]
fn a_mirror_that_does_not_repeat_its_records_is_refused() {
    let Some(made) = base() else { return };
    let mirror = |path: &Path| u64::from_le_bytes(read_at(path, 0x38, 8).try_into().unwrap()) * SMALL.cluster;
    let mirror = mirror(&made.path);
    assert_eq!(planted(&made, |planter| volume_information(planter, false, 10, 1)), ["E-VOLUME-DIRTY", "E-MFTMIRR"]);
    // A torn copy, a copy of another generation (which is well), and a copy without signature.
    assert_eq!(planted(&made, |planter| planter.bytes(mirror + 1024 + 510, &[0xee])), ["E-MFTMIRR"]);
    let usn = |planter: &Planter<'_>| {
        for at in [0x30, 510, 1022] {
            planter.bytes(mirror + 1024 + at, &[0x77, 0x77]);
        }
    };
    assert_eq!(planted(&made, usn), [""; 0]);
    assert_eq!(planted(&made, |planter| planter.bytes(mirror + 3 * 1024, b"BAAD")), ["E-MFTMIRR"]);
    // Both boot sectors lead elsewhere.
    let sectors = SMALL.mebibytes * 2048 - 1;
    let elsewhere = |planter: &Planter<'_>| {
        for boot in [0, sectors * 512] {
            planter.bytes(boot + 0x38, &[9]);
        }
    };
    assert_eq!(planted(&made, elsewhere), ["E-MFTMIRR"]);
}

#[test]
fn a_volume_without_its_last_sectors_or_with_another_backup_boot_sector_is_refused() {
    let Some(made) = base() else { return };
    let sectors = SMALL.mebibytes * 2048 - 1;
    assert_eq!(planted(&made, |planter| planter.bytes(sectors * 512 + 0x48, &[1])), ["E-BACKUP-BOOT"]);
    // boot code that was renewed in the first sector alone
    assert!(planted(&made, |planter| planter.bytes(sectors * 512 + 0x60, &[1])).is_empty());
    let image = fs::read(&made.path).unwrap();
    let cut = |length: u64| {
        let volume = Volume::open(Memory(image[..length as usize].to_vec())).unwrap();
        volume.refusals().unwrap().iter().map(|refusal| refusal.code).collect::<Vec<_>>()
    };
    assert_eq!(cut(sectors * 512), ["E-BACKUP-BOOT"]);
    assert_eq!(cut(sectors * 512 - 1), ["E-VOLUME-SIZE", "E-BACKUP-BOOT"]);
}

/// The fields of a restart page that decide.
#[derive(Clone, Copy)]
struct Page {
    lsn: u64,
    in_use: u16,
    flags: u16,
    version: (u16, u16),
}

impl Page {
    fn bytes(self) -> Vec<u8> {
        let mut page = vec![0u8; 4096];
        page[..8].copy_from_slice(b"RSTR\x1e\0\x09\0");
        page[0x10..0x14].copy_from_slice(&4096u32.to_le_bytes());
        page[0x14..0x18].copy_from_slice(&4096u32.to_le_bytes());
        page[0x18] = 0x30;
        page[0x1a..0x1c].copy_from_slice(&self.version.1.to_le_bytes());
        page[0x1c..0x1e].copy_from_slice(&self.version.0.to_le_bytes());
        page[0x30..0x38].copy_from_slice(&self.lsn.to_le_bytes());
        page[0x38] = 1;
        page[0x3a..0x3c].copy_from_slice(&[0xff, 0xff]);
        page[0x3c..0x3e].copy_from_slice(&self.in_use.to_le_bytes());
        page[0x3e..0x40].copy_from_slice(&self.flags.to_le_bytes());
        page[0x1e] = 5;
        for block in 0..8 {
            page[block * 512 + 510] = 5;
        }
        page
    }
}

#[test]
fn a_log_that_is_open_torn_or_of_version_2_is_refused() {
    let Some(made) = base() else { return };
    let log = made.volume().find(r"\$LogFile").unwrap().unwrap();
    let extents = made.volume().extents(&log, FileOffset(0), log.size()).unwrap();
    assert_eq!(extents.len(), 1, "mkntfs makes a log in one piece");
    let at = extents[0].offset;
    let clean = Page { lsn: 0x1000, in_use: 0, flags: 2, version: (1, 1) };
    let pages = |first: Page, second: Page| {
        planted(&made, |planter| planter.bytes(at, &[first.bytes(), second.bytes()].concat()))
    };
    let open = Page { in_use: 0, flags: 0, lsn: 0x1001, ..clean };
    assert_eq!(pages(clean, clean), [""; 0]);
    assert_eq!(pages(Page { in_use: 0xffff, flags: 0, ..clean }, clean), [""; 0]);
    assert_eq!(pages(open, clean), ["E-LOGFILE-UNCLEAN"]);
    assert_eq!(pages(clean, open), ["E-LOGFILE-UNCLEAN"]);
    assert_eq!(pages(Page { lsn: 1, ..open }, clean), [""; 0], "the newer page counts");
    assert_eq!(pages(Page { version: (2, 0), ..clean }, clean), ["E-FAST-STARTUP"]);
    assert_eq!(pages(Page { version: (2, 0), ..open }, clean), ["E-FAST-STARTUP", "E-LOGFILE-UNCLEAN"]);
    assert_eq!(pages(Page { version: (3, 0), ..clean }, clean), ["E-LOGFILE-VERSION"]);
    let torn = |block: u64| {
        planted(&made, |planter| {
            planter.bytes(at, &[clean.bytes(), clean.bytes()].concat());
            planter.bytes(at + block * 512 + 510, &[9]);
        })
    };
    assert_eq!(torn(3), ["E-LOGFILE-UNCLEAN"]);
    assert_eq!(torn(11), ["E-LOGFILE-UNCLEAN"]);
    // Version 2.0 has one restart page, and records where the other would be.
    let one_page = |planter: &Planter<'_>| {
        planter.bytes(at, &Page { version: (2, 0), ..clean }.bytes());
        planter.bytes(at + 4096, b"RCRD");
    };
    assert_eq!(planted(&made, one_page), ["E-FAST-STARTUP"]);
    // A log that begins as if unused, and no restart page at all.
    assert_eq!(planted(&made, |planter| planter.bytes(at + 700_000, &[0])), ["E-LOGFILE-UNCLEAN"]);
    let neither = planted(&made, |planter| planter.bytes(at, &[0; 8192]));
    assert_eq!(neither, ["E-LOGFILE-UNCLEAN", "E-LOGFILE-UNCLEAN"]);
}

#[test]
fn a_sleeping_windows_is_refused() {
    let Some(made) = base() else { return };
    let file = made.volume().find(r"\HIBERFIL.SYS").unwrap().unwrap();
    let at = made.volume().extents(&file, FileOffset(0), 4).unwrap()[0].offset;
    for (signature, expected) in [
        (b"hibr", &["E-HIBERNATED"][..]),
        (b"HIBR", &["E-HIBERNATED"]),
        (b"RSTR", &["E-HIBERNATED"]),
        (b"wake", &[]),
        (b"\0\0\0\0", &[]),
    ] {
        assert_eq!(planted(&made, |planter| planter.bytes(at, signature)), expected);
    }
    let short = make(SMALL, |tree| tree.put(r"\hiberfil.sys", &[0; 4095]));
    assert_eq!(codes(&short.unwrap().path), ["E-HIBERNATED"]);
}

#[test]
fn shadow_copies_are_a_warning_and_no_refusal() {
    let folder = r"\System Volume Information";
    let store = "{3808876B-c176-4e48-b7ae-04046e6cc752}";
    let made = make(SMALL, |tree| {
        tree.folder(folder);
        tree.put(&format!(r"{folder}\{store}"), b"the catalog alone says nothing");
    });
    let Some(made) = made else { return };
    assert_eq!(made.volume().warnings().unwrap(), []);
    let mount = made.mount("rw");
    let place = mount.folder.join("System Volume Information");
    fs::write(place.join(format!("{{de81cc22-aa8b-11eb-9339-8cdcd4557abc}}{store}")), b"copy").unwrap();
    drop(mount);
    let warnings = made.volume().warnings().unwrap();
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), ["W-SHADOW-COPIES"]);
    assert_eq!(codes(&made.path), [""; 0]);
}

#[test]
fn what_is_no_ntfs_volume_is_called_by_its_name() {
    let Some(made) = base() else { return };
    let image = fs::read(&made.path).unwrap();
    for (id, code) in [(b"-FVE-FS-", "E-BITLOCKER"), (b"ReFS\0\0\0\0", "E-REFS"), (b"EXFAT   ", "E-NOT-NTFS")] {
        let mut image = image.clone();
        image[3..11].copy_from_slice(id);
        let error = Volume::open(Memory(image)).unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(error.hint().is_some());
    }
    assert_eq!(Volume::open(Memory(vec![0; 100])).unwrap_err().code(), Some("E-NOT-NTFS"));
}

#[test]
fn damage_planted_by_another_hand_is_refused_or_met_as_an_error() {
    let Some(shared) = shared() else { return };
    let made = make(SMALL, |tree| {
        tree.folder(r"\many");
        for i in 0..400 {
            tree.put(&format!(r"\many\file_{i:05}_with_some_long_name.dll"), &noise(i, 50));
        }
        tree.put(r"\plain", &noise(1, 50_000));
        tree.put(r"\second", &noise(2, 50_000));
    });
    let Some(made) = made else { return };
    let script = shared.join("check/ntfs_plant.py");
    let out = made.path.with_file_name("planted");
    for (case, code) in [
        ("log-fast-startup", "E-FAST-STARTUP"),
        ("log-fixup", "E-LOGFILE-UNCLEAN"),
        ("mirror-record", "E-MFTMIRR"),
        ("boot-sectors", "E-VOLUME-SIZE"),
    ] {
        plant(&script, &made.path, case, &out);
        let volume = Volume::open(Memory(fs::read(&out).unwrap())).unwrap();
        let refusals = volume.refusals().unwrap();
        assert!(refusals.iter().any(|refusal| refusal.code == code), "{case}: {refusals:?}");
    }
    // Damage that a reader meets on its way.
    let mut missed = Vec::new();
    for case in [
        "fixup-indx",
        "data-gt-alloc",
        "highest-vcn",
        "lowest-vcn",
        "run-past-end",
        "sequence-stale",
        "in-use-clear",
        "index-order",
        "index-stale-seq",
        "index-key-parent",
        "index-used",
        "index-own-vcn",
        "index-child-vcn",
        "index-child-loop",
    ] {
        plant(&script, &made.path, case, &out);
        let answer = Volume::open(Memory(fs::read(&out).unwrap())).and_then(|volume| everything(&volume));
        match answer {
            Err(error) => assert_eq!(error.code(), Some("E-VOLUME-CORRUPT"), "{case}: {error}"),
            Ok(()) => missed.push(case),
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn damage_of_attribute_lists_planted_by_another_hand_is_met_as_an_error() {
    let Some(shared) = shared() else { return };
    let Some(made) = make(SHAPES[0], |tree| in_pieces(tree, 512)) else { return };
    let script = shared.join("check/ntfs_plant.py");
    let out = made.path.with_file_name("planted");
    for case in
        ["list-record", "list-sequence", "list-id", "list-vcn", "list-length", "extension-base", "extension-vcn"]
    {
        plant(&script, &made.path, case, &out);
        match Volume::open(Memory(fs::read(&out).unwrap())).and_then(|volume| everything(&volume)) {
            Err(error) => assert_eq!(error.code(), Some("E-VOLUME-CORRUPT"), "{case}: {error}"),
            Ok(()) => panic!("{case} was not met"),
        }
    }
}

fn plant(script: &Path, image: &Path, case: &str, out: &Path) {
    fs::remove_file(out).ok();
    let arguments = [script.to_str().unwrap(), image.to_str().unwrap(), case, "-o", out.to_str().unwrap()];
    let answer = ask("python3", &arguments);
    assert!(answer.status.success(), "{case}: {answer:?}");
}

/// Lists every directory and reads every file.
fn everything(volume: &Volume<Memory>) -> coldforge_ntfs::Result<()> {
    let mut todo = vec![volume.find("")?.unwrap()];
    while let Some(folder) = todo.pop() {
        for entry in volume.list(&folder)?.into_iter().filter(|entry| entry.reference.record() >= 24) {
            let file = volume.file(entry.reference)?;
            if file.is_directory() {
                todo.push(file);
            } else {
                volume.read(&file, 1 << 24)?;
            }
        }
    }
    Ok(())
}
