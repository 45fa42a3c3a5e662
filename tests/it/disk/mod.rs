//! Disk images against readers that are not ours: qemu-img, the shared second reader, and files that Windows made.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coldforge_base::digest::Digest;
use coldforge_base::progress::Silent;
use coldforge_base::{Extent, Failure as _, ReadAt, WriteAt};
use coldforge_disk::{EBS_BLOCK_BYTES, Format, Image, Overlay, digest, export};

use crate::support::{Seeded, ask, corpus, oracle, shared};

mod containers;
mod sharing;
mod strangers;
mod verbs;
mod vmdk;

const MIB: u64 = 1 << 20;

fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are text")
}

fn run(tool: &str, arguments: &[&str]) -> String {
    let output = ask(tool, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{tool} {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Writes a disk with data, holes and zeros; its size is no whole number of blocks.
fn make_raw(path: &Path) -> u64 {
    let size = 21 * MIB + 7 * 512;
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    let mut random = Seeded(1);
    for (at, length) in [(0, 5_000), (2 * MIB - 700, 1_400), (9 * MIB, 3 * MIB), (size - 600, 600)] {
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        file.write_all_at(&bytes, at).unwrap();
    }
    file.write_all_at(&[0; 65_536], 15 * MIB).unwrap();
    // An entry, so that the disk is known for one.
    file.write_all_at(b"\x80\0\0\0\x07\0\0\0\x80\0\0\0\0\x40\0\0", 446).unwrap();
    file.write_all_at(&[0; 48], 462).unwrap();
    file.write_all_at(b"\x55\xaa", 510).unwrap();
    size
}

/// A raw disk and what qemu-img makes of it.
struct Made {
    folder: tempfile::TempDir,
    raw: PathBuf,
    fixed: PathBuf,
    dynamic: PathBuf,
}

impl Made {
    fn new() -> Option<Self> {
        if !oracle("qemu-img") {
            return None;
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [raw, fixed, dynamic] = ["disk.raw", "fixed.vhd", "dynamic.vhd"].map(|name| folder.path().join(name));
        make_raw(&raw);
        for (subformat, path) in [("fixed", &fixed), ("dynamic", &dynamic)] {
            let options = format!("subformat={subformat},force_size=on");
            run("qemu-img", &["convert", "-f", "raw", "-O", "vpc", "-o", &options, text(&raw), text(path)]);
        }
        Some(Self { folder, raw, fixed, dynamic })
    }

    fn all(&self) -> [(&Path, Format); 3] {
        [(&self.raw, Format::Raw), (&self.fixed, Format::VhdFixed), (&self.dynamic, Format::VhdDynamic)]
    }
}

fn contents(device: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(device.len()).unwrap()];
    device.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Writes a disk as a raw file through `next_data` alone, so that a wrong hole is a wrong byte.
fn write_raw(device: &dyn ReadAt, path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(device.len()).unwrap();
    let mut at = 0;
    while let Some(extent) = device.next_data(at).unwrap() {
        assert!(extent.offset >= at && extent.length > 0 && extent.end() <= device.len());
        let mut bytes = vec![0; usize::try_from(extent.length).unwrap()];
        device.read_at(extent.offset, &mut bytes).unwrap();
        file.write_all_at(&bytes, extent.offset).unwrap();
        at = extent.end();
    }
}

/// Asks the second reader, which knows containers only, for the digest of a disk's contents.
fn second_reader(path: &Path, format: Format) -> Option<String> {
    let script = shared().filter(|_| format != Format::Raw)?.join("check/vdisk_read.py");
    let said = run("python3", &[text(&script), text(path), "--sha256"]);
    Some(said.split_whitespace().find(|word| word.len() == 64).expect("a digest").to_owned())
}

#[test]
fn disks_that_qemu_made_read_as_qemu_reads_them() {
    let Some(made) = Made::new() else { return };
    let expected = std::fs::read(&made.raw).unwrap();
    for (path, format) in made.all() {
        let image = Image::open(path, None).unwrap();
        assert_eq!((image.format(), image.len()), (format, expected.len() as u64));
        assert!(contents(&image) == expected, "{format}");
        let copy = made.folder.path().join("copy");
        write_raw(&image, &copy);
        assert!(std::fs::read(&copy).unwrap() == expected, "{format} by its extents");
        if let Some(sum) = second_reader(path, format) {
            assert_eq!(sum, Digest::of(&expected).to_string());
        }
        // Pieces of any size at any place.
        let mut random = Seeded(2);
        for _ in 0..200 {
            let at = random.below(image.len());
            let length = random.below((image.len() - at).min(3 * MIB) + 1) as usize;
            let mut bytes = vec![0; length];
            image.read_at(at, &mut bytes).unwrap();
            assert!(bytes == expected[at as usize..][..length]);
        }
    }
}

/// Changes bytes in data, in holes, across blocks of 2 MiB, and at both ends.
fn edit(overlay: &mut Overlay<&Image>) {
    let mut random = Seeded(3);
    let size = overlay.len();
    for (at, length) in [
        (512, 3),
        (2 * MIB - 10, 20),
        (4 * MIB - 1, 1),
        (9 * MIB + 100, 50_000),
        (14 * MIB - 5_000, 10_000),
        (18 * MIB + 9, 1),
        (size - 1, 1),
    ] {
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8 | 1).collect();
        overlay.write_at(at, &bytes).unwrap();
    }
}

/// Checks that two disks differ exactly inside the extents.
fn assert_differ_only_in(changed: &[Extent], before: &[u8], after: &[u8]) {
    let mut at = 0;
    for extent in changed {
        let (start, end) = (extent.offset as usize, extent.end() as usize);
        assert!(before[at..start] == after[at..start], "bytes {at:#x} to {start:#x} are as they were");
        assert!(before[start..end].iter().zip(&after[start..end]).all(|(before, after)| before != after));
        at = end;
    }
    assert!(before[at..] == after[at..]);
}

#[test]
fn what_is_exported_is_what_qemu_and_the_second_reader_see() {
    let Some(made) = Made::new() else { return };
    let before = std::fs::read(&made.raw).unwrap();
    for (path, format) in made.all() {
        let image = Image::open(path, None).unwrap();
        let mut overlay = Overlay::new(&image);
        edit(&mut overlay);
        let out = made.folder.path().join(format!("out-{format}"));
        let exported = export(&overlay, &out, &Silent).unwrap();
        let after = contents(&overlay);
        assert_differ_only_in(&exported.changed, &before, &after);

        let expected = made.folder.path().join("expected.raw");
        std::fs::write(&expected, &after).unwrap();
        let kind = if format == Format::Raw { "raw" } else { "vpc" };
        run("qemu-img", &["compare", "-f", kind, "-F", "raw", text(&out), text(&expected)]);
        if let Some(sum) = second_reader(&out, format) {
            assert_eq!(sum, Digest::of(&after).to_string(), "{format}");
        }
        let written = Image::open(&out, None).unwrap();
        assert!(written.format() == format && contents(&written) == after);
        if format == Format::VhdDynamic {
            assert!(exported.added_blocks > 0, "the test writes into holes");
        }
        // The source is the same file with the same bytes, and holes stay holes.
        let copy = made.folder.path().join("source.raw");
        write_raw(&image, &copy);
        assert!(std::fs::read(&copy).unwrap() == before);
        let stored = |path: &Path| path.metadata().unwrap().blocks() * 512;
        assert!(stored(&out) < stored(path) + 200_000 + exported.added_blocks * 8192, "{format}");
    }
}

#[test]
fn an_output_on_another_file_system_is_copied_just_the_same() {
    let Some(made) = Made::new() else { return };
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
    for (path, format) in made.all() {
        let image = Image::open(path, None).unwrap();
        let mut overlay = Overlay::new(&image);
        edit(&mut overlay);
        let out = folder.path().join(format.to_string());
        assert!(!export(&overlay, &out, &Silent).unwrap().cloned);
        assert!(contents(&Image::open(&out, None).unwrap()) == contents(&overlay), "{format}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn all_containers_of_one_disk_have_one_ebs_checksum() {
    let Some(made) = Made::new() else { return };
    let digests: Vec<_> = made
        .all()
        .iter()
        .map(|(path, _)| {
            let digests = digest(&Image::open(path, None).unwrap(), &Silent).unwrap();
            assert_eq!(digests.file, Digest::of(&std::fs::read(path).unwrap()));
            digests
        })
        .collect();
    assert!(digests.iter().all(|other| other.ebs_linear == digests[0].ebs_linear));
    let disk = std::fs::read(&made.raw).unwrap();
    let blocks = disk.chunks(EBS_BLOCK_BYTES as usize).filter(|block| block.iter().any(|byte| *byte != 0));
    assert_eq!(digests[2].ebs_blocks, blocks.count() as u64);
}

#[test]
fn files_that_windows_and_others_made_open_or_are_refused_by_name() {
    let Some(folder) = corpus("^vhd/") else { return };
    let file = |name: &str| folder.join("vhd").join(name);
    for (name, format, size) in [
        ("dfvfs__ntfs-fixed.vhd", Format::VhdFixed, 4 * MIB),
        ("dfvfs__ntfs-parent.vhd", Format::VhdFixed, 4 * MIB),
        ("dfvfs__ntfs-dynamic.vhd", Format::VhdDynamic, 4 * MIB),
        ("qemu__d2v-zerofilled.vhd", Format::VhdDynamic, 263_454_720),
        ("vhd-forensic__core__tests__data__fixed.vhd", Format::VhdFixed, 1_079_296),
        ("vhd-forensic__core__tests__data__minimal.vhd", Format::VhdDynamic, 1_079_296),
        ("vhd-forensic__core__tests__data__original-size-mismatch.vhd", Format::VhdDynamic, 2_123_776),
    ] {
        let image = Image::open(&file(name), None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((image.format(), image.len()), (format, size), "{name}");
        if let Some(sum) = second_reader(&file(name), format) {
            assert_eq!(sum, Digest::of(&contents(&image)).to_string(), "{name}");
        }
    }
    for name in ["qemu__hyperv2012r2-dynamic.vhd", "qemu__virtualpc-dynamic.vhd"] {
        let image = Image::open(&file(name), None).unwrap();
        assert_eq!((image.format(), image.len()), (Format::VhdDynamic, 136_365_211_648), "{name}");
        assert_eq!(image.next_data(0).unwrap(), None);
        let mut end = [9; 4096];
        image.read_at(image.len() - 4096, &mut end).unwrap();
        assert_eq!(end, [0; 4096]);
        let digests = digest(&image, &Silent).unwrap();
        assert_eq!((digests.ebs_blocks, digests.disk_bytes), (0, image.len()));
    }
    for (name, code) in [
        ("dfvfs__image.vhd", "E-VHD-CORRUPT"),
        // Its parent is there, under another name.
        ("dfvfs__ntfs-differential.vhd", "E-PARENT-MISSING"),
        ("dfvfs__ntfs-differential.vhdx", "E-PARENT-MISSING"),
        // Fuzzed: its directory would be larger than it.
        ("qemu__afl9.vmdk", "E-VMDK-CORRUPT"),
    ] {
        let error = Image::open(&file(name), None).unwrap_err();
        assert_eq!(error.code(), Some(code), "{name}: {error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_disk_that_windows_made_grows_as_windows_would_let_it() {
    let Some(folder) = corpus("^vhd/") else { return };
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (name, added) in [
        ("dfvfs__ntfs-dynamic.vhd", 0),
        ("qemu__d2v-zerofilled.vhd", 0),
        ("qemu__hyperv2012r2-dynamic.vhd", 2),
        ("qemu__virtualpc-dynamic.vhd", 2),
    ] {
        let image = Image::open(&folder.join("vhd").join(name), None).unwrap();
        let mut overlay = Overlay::new(&image);
        let last = image.len() - 5;
        overlay.write_at(1000, b"first").unwrap();
        overlay.write_at(last, b"last!").unwrap();
        let out = place.path().join(name);
        let exported = export(&overlay, &out, &Silent).unwrap();
        assert_eq!(exported.added_blocks, added, "{name}");
        let written = Image::open(&out, None).unwrap();
        for (at, expected) in [(1000, b"first"), (last, b"last!")] {
            let mut bytes = [0; 5];
            written.read_at(at, &mut bytes).unwrap();
            assert_eq!(&bytes, expected, "{name}");
        }
        if added == 2 && oracle("qemu-io") {
            let offset = format!("read -P 0x66 {} 1", 1000);
            run("qemu-io", &["-f", "vpc", "-r", "-c", &offset, text(&out)]);
        }
        if let Some(shared) = shared() {
            let script = shared.join("check/vdisk_read.py");
            let said = run("python3", &[text(&script), text(&out), "--info"]);
            assert!(said.contains("\"warnings\": []"), "{name}: {said}");
        }
    }
}

/// Opens a file and reads all that its extents name; whatever happens must be an answer.
fn survey(path: &Path, format: Option<Format>) -> Result<u64, coldforge_disk::Error> {
    let image = Image::open(path, format)?;
    let mut at = 0;
    let mut sum = 0;
    while let Some(extent) = image.next_data(at)? {
        let mut bytes = vec![0; usize::try_from(extent.length.min(64 << 10)).unwrap()];
        image.read_at(extent.offset, &mut bytes)?;
        sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        at = extent.end();
    }
    Ok(sum)
}

#[test]
fn no_truncation_of_a_vhd_passes_for_a_whole_one() {
    let Some(made) = Made::new() else { return };
    for path in [&made.fixed, &made.dynamic] {
        let file = File::options().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        let mut random = Seeded(4);
        let mut lengths: Vec<u64> = (0..300).map(|_| random.below(length)).collect();
        lengths.extend([length - 1, length - 511, length - 512, length - 513, 1536, 1024, 512, 511, 1]);
        lengths.sort_unstable_by(|one, other| other.cmp(one));
        for length in lengths {
            file.set_len(length).unwrap();
            // Whole sectors with all partitions of the disk are a raw disk, whatever the file's name; its bytes are the
            // disk's. Nothing else of a cut VHD is read.
            match survey(path, None) {
                Err(error) => assert!(error.code().is_some(), "{length}: {error}"),
                Ok(_) => {
                    let image = Image::open(path, None).unwrap();
                    assert_eq!((image.format(), image.len(), length % 512), (Format::Raw, length, 0));
                    assert!(path == &made.fixed && length > (0x80 + 0x4000) * 512, "{length}");
                    assert!(contents(&image) == std::fs::read(&made.raw).unwrap()[..length as usize], "{length}");
                }
            }
        }
    }
}

#[test]
fn no_flipped_bit_of_a_vhd_panics_and_none_under_a_checksum_passes() {
    let Some(made) = Made::new() else { return };
    for (path, structures) in [(&made.fixed, 0), (&made.dynamic, 2048)] {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        let mut random = Seeded(5);
        for _ in 0..600 {
            let at = match random.below(2) {
                0 if structures > 0 => random.below(structures),
                _ => length - 512 + random.below(512),
            };
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << random.below(8))], at).unwrap();
            match survey(path, None) {
                Err(error) => assert!(error.code().is_some(), "{at:#x}: {error}"),
                Ok(_) => assert!((1536..2048).contains(&at), "the flip at {at:#x} stands under a checksum"),
            }
            file.write_all_at(&byte, at).unwrap();
        }
        survey(path, None).unwrap();
    }
}

#[test]
fn an_image_that_qemu_writes_to_is_busy_and_one_that_it_reads_is_not() {
    let Some(made) = Made::new().filter(|_| oracle("qemu-io")) else { return };
    for (flags, busy) in [(&["-f", "raw"][..], true), (&["-r", "-f", "raw"], false)] {
        let mut qemu = Command::new("qemu-io")
            .args(flags)
            .arg(&made.raw)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its answer to a command says that the image is open; then it waits for the next one.
        qemu.stdin.as_mut().unwrap().write_all(b"read 0 512\n").unwrap();
        let mut answer = String::new();
        let mut said = BufReader::new(qemu.stdout.take().unwrap());
        while !answer.contains("ops") {
            assert!(said.read_line(&mut answer).unwrap() > 0, "qemu-io answers: {answer}");
        }
        let found = Image::open(&made.raw, None);
        drop(qemu.stdin.take());
        assert!(qemu.wait().unwrap().success());
        match found {
            Err(error) => assert!(busy && error.code() == Some("E-IMAGE-BUSY"), "{error}"),
            Ok(_) => assert!(!busy),
        }
        Image::open(&made.raw, None).unwrap();
    }
}

#[test]
fn a_container_of_another_kind_is_named_with_what_to_do() {
    let Some(made) = Made::new() else { return };
    for (format, name) in [("qcow2", "a QCOW image"), ("vdi", "a VDI")] {
        let path = made.folder.path().join("foreign");
        run("qemu-img", &["convert", "-f", "raw", "-O", format, text(&made.raw), text(&path)]);
        let error = Image::open(&path, None).unwrap_err();
        assert_eq!(error.code(), Some("E-CONTAINER-UNSUPPORTED"));
        assert!(error.to_string().contains(name) && error.hint().unwrap().contains("qemu-img"), "{error}");
    }
}
