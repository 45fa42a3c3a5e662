//! VHDX, differencing disks and conversions, against qemu-img, the shared second reader, and files that Windows made.

use coldforge_base::WriteAt as _;
use coldforge_disk::{Target, convert, export_as};

use super::*;

fn code(path: &Path) -> &'static str {
    Image::open(path, None).map(|_| ()).unwrap_err().code().expect("a refusal has a code")
}

/// Asks the second reader for the digest of a disk, with the parent that it stands on.
fn ask_second_reader(arguments: &[&str]) -> Option<String> {
    let script = shared()?.join("check/vdisk_read.py");
    let said = run("python3", &[&[text(&script)], arguments].concat());
    Some(said.split_whitespace().find(|word| word.len() == 64).expect("a digest").to_owned())
}

/// Returns the digest of a whole disk, read by its extents: holes count as zeros.
fn disk_digest(image: &Image) -> String {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let raw = folder.path().join("raw");
    write_raw(image, &raw);
    crate::support::sha256(&raw)
}

#[test]
fn vhdx_that_qemu_made_of_every_block_size_read_as_the_disk() {
    let Some(made) = Made::new() else { return };
    let expected = std::fs::read(&made.raw).unwrap();
    for (subformat, block) in
        [("dynamic", 1), ("dynamic", 2), ("dynamic", 16), ("dynamic", 256), ("fixed", 1), ("fixed", 8)]
    {
        let path = made.folder.path().join("made.vhdx");
        let options = format!("subformat={subformat},block_size={}", block * MIB);
        run("qemu-img", &["convert", "-f", "raw", "-O", "vhdx", "-o", &options, text(&made.raw), text(&path)]);
        let image = Image::open(&path, None).unwrap();
        let format = if subformat == "fixed" { Format::VhdxFixed } else { Format::VhdxDynamic };
        assert_eq!((image.format(), image.len()), (format, expected.len() as u64));
        assert!(contents(&image) == expected, "{subformat} {block}");
        let copy = made.folder.path().join("copy");
        write_raw(&image, &copy);
        assert!(std::fs::read(&copy).unwrap() == expected, "{subformat} {block} by its extents");
        let mut random = Seeded(6);
        for _ in 0..100 {
            let at = random.below(image.len());
            let length = random.below((image.len() - at).min(3 * MIB) + 1) as usize;
            let mut bytes = vec![0; length];
            image.read_at(at, &mut bytes).unwrap();
            assert!(bytes == expected[at as usize..][..length]);
        }
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn every_disk_becomes_every_container_and_strangers_read_it_so() {
    let Some(made) = Made::new() else { return };
    let folder = made.folder.path();
    // Sparse, full, empty, of one sector, of an odd number of sectors.
    let full = folder.join("full.raw");
    let mut random = Seeded(7);
    std::fs::write(&full, (0..5 * MIB + 512).map(|_| random.next() as u8).collect::<Vec<_>>()).unwrap();
    let empty = folder.join("empty.raw");
    File::create(&empty).unwrap().set_len(3 * MIB).unwrap();
    let tiny = folder.join("tiny.raw");
    std::fs::write(&tiny, [5; 512]).unwrap();
    for raw in [&made.raw, &full, &empty, &tiny] {
        let expected = std::fs::read(raw).unwrap();
        let sum = Digest::of(&expected).to_string();
        for format in Format::ALL.into_iter().filter(|format| *format == format.alone()) {
            let source = Image::open(raw, Some(Format::Raw)).unwrap();
            let out = folder.join("out");
            let exported = convert(&source, &out, format, &Silent).unwrap();
            assert_eq!((exported.format, exported.file_bytes), (format, out.metadata().unwrap().len()));
            let image = Image::open(&out, Some(format)).unwrap();
            assert!(image.len() == expected.len() as u64 && contents(&image) == expected, "{format}");
            let digests = digest(&image, &Silent).unwrap();
            if let Some((linear, blocks)) = &exported.ebs {
                assert_eq!((linear, *blocks), (&digests.ebs_linear, digests.ebs_blocks), "{format}");
            }
            // Zeros are not stored.
            let stored = |path: &Path| path.metadata().unwrap().blocks() * 512;
            assert!(stored(&out) <= stored(raw) + 700_000, "{format}: {} bytes", stored(&out));
            let kind = match format.ending() {
                "vhd" => "vpc",
                other => other,
            };
            if format != Format::Raw {
                assert_eq!(ask_second_reader(&[text(&out), "--sha256"]).unwrap_or(sum.clone()), sum, "{format}");
            }
            run("qemu-img", &["compare", "-f", kind, "-F", "raw", text(&out), text(raw)]);
            if kind == "vhdx" {
                run("qemu-img", &["check", "-f", kind, text(&out)]);
            }
            // The way back, and again: the same bytes.
            let back = folder.join("back");
            convert(&image, &back, Format::Raw, &Silent).unwrap();
            assert!(std::fs::read(&back).unwrap() == expected, "{format}");
            let again = folder.join("again");
            convert(&Image::open(&back, Some(Format::Raw)).unwrap(), &again, format, &Silent).unwrap();
            assert!(std::fs::read(&again).unwrap() == std::fs::read(&out).unwrap(), "{format} is repeatable");
            for path in [out, back, again] {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn a_changed_disk_leaves_in_any_container_from_any_container() {
    let Some(made) = Made::new() else { return };
    let folder = made.folder.path();
    let sources: Vec<PathBuf> = Format::ALL
        .into_iter()
        .filter(|format| *format == format.alone())
        .map(|format| {
            let path = folder.join(format!("source-{format}"));
            convert(&Image::open(&made.raw, None).unwrap(), &path, format, &Silent).unwrap();
            path
        })
        .collect();
    for path in &sources {
        let image = Image::open(path, None).unwrap();
        let mut overlay = Overlay::new(&image);
        edit(&mut overlay);
        let expected = contents(&overlay);
        for target in [Target::Same, Target::Format(Format::VhdFixed), Target::Format(Format::VhdxDynamic)] {
            let out = folder.join("out");
            let exported = export_as(&overlay, &out, target, &Silent).unwrap();
            let written = Image::open(&out, Some(exported.format)).unwrap();
            assert!(contents(&written) == expected, "{} to {target:?}", image.format());
            if target == Target::Same {
                assert_eq!(written.format(), image.format());
            }
            std::fs::remove_file(&out).unwrap();
        }
    }
}

#[test]
fn a_delta_holds_what_changed_and_needs_its_parent_unchanged() {
    let Some(made) = Made::new() else { return };
    for format in [Format::VhdFixed, Format::VhdDynamic, Format::VhdxFixed, Format::VhdxDynamic] {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let base = place.path().join(format!("base.{}", format.ending()));
        convert(&Image::open(&made.raw, None).unwrap(), &base, format, &Silent).unwrap();
        let image = Image::open(&base, None).unwrap();
        let mut overlay = Overlay::new(&image);
        edit(&mut overlay);
        let expected = contents(&overlay);
        let child = place.path().join(format!("child.{}", format.ending()));
        let exported = export_as(&overlay, &child, Target::Delta, &Silent).unwrap();
        drop(image);
        assert!(child.metadata().unwrap().blocks() * 512 < 400_000, "{format}: a delta is small");
        let opened = Image::open(&child, None).unwrap();
        assert_eq!(opened.format(), exported.format);
        assert!(contents(&opened) == expected, "{format}");
        let copy = place.path().join("copy");
        write_raw(&opened, &copy);
        assert!(std::fs::read(&copy).unwrap() == expected, "{format} by its extents");
        let sum = Digest::of(&expected).to_string();
        assert_eq!(ask_second_reader(&[text(&child), "--sha256"]).unwrap_or(sum.clone()), sum, "{format}");
        // A child of the child, and one file of both again.
        let mut overlay = Overlay::new(&opened);
        overlay.write_at(5 * MIB + 17, b"grandchild").unwrap();
        let grandchild = place.path().join(format!("grandchild.{}", format.ending()));
        export_as(&overlay, &grandchild, Target::Delta, &Silent).unwrap();
        let flat = place.path().join("flat");
        convert(&Image::open(&grandchild, None).unwrap(), &flat, Format::VhdxDynamic, &Silent).unwrap();
        assert!(contents(&Image::open(&flat, None).unwrap()) == contents(&overlay), "{format}");
        drop(overlay);
        drop(opened);
        // Elsewhere the parent is not found, unless it is named.
        let other = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let moved = other.path().join(child.file_name().unwrap());
        std::fs::copy(&child, &moved).unwrap();
        assert_eq!(code(&moved), "E-PARENT-MISSING");
        let over = Image::open_over(&moved, None, &base).unwrap();
        assert!(contents(&over) == expected);
        drop(over);
        // A link out of the folder is no parent, and neither is the child itself.
        let link = other.path().join(base.file_name().unwrap());
        std::os::unix::fs::symlink(&base, &link).unwrap();
        assert_eq!(code(&moved), "E-PARENT-OUTSIDE");
        std::fs::remove_file(&link).unwrap();
        std::fs::hard_link(&moved, &link).unwrap();
        assert_eq!(code(&moved), "E-PARENT-LOOP");
        // Another disk of the same name.
        std::fs::remove_file(&link).unwrap();
        let mut changed = std::fs::read(&made.raw).unwrap();
        changed[20 * MIB as usize] ^= 1;
        let changed_raw = other.path().join("changed.raw");
        std::fs::write(&changed_raw, changed).unwrap();
        convert(&Image::open(&changed_raw, None).unwrap(), &link, format, &Silent).unwrap();
        assert_eq!(code(&moved), "E-PARENT-CHANGED");
    }
    let image = Image::open(&made.raw, None).unwrap();
    let out = made.folder.path().join("child");
    let refused = export_as(&Overlay::new(&image), &out, Target::Delta, &Silent).unwrap_err();
    assert_eq!(refused.code(), Some("E-DELTA"));
}

#[test]
fn vhdx_that_windows_and_others_made_read_as_their_known_contents() {
    let Some(folder) = corpus("^vhd/") else { return };
    let file = |name: &str| folder.join("vhd").join(name);
    for (name, format, size) in [
        ("dfvfs__ntfs-fixed.vhdx", Format::VhdxFixed, 4 * MIB),
        ("dfvfs__ntfs-parent.vhdx", Format::VhdxFixed, 4 * MIB),
        ("dfvfs__ntfs-dynamic.vhdx", Format::VhdxDynamic, 4 * MIB),
        ("qemu__test-disk2vhd.vhdx", Format::VhdxDynamic, 256 * MIB),
    ] {
        let image = Image::open(&file(name), None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(image.format(), format, "{name}");
        assert!(name.contains("disk2vhd") || image.len() == size, "{name}: {}", image.len());
        if let Some(sum) = ask_second_reader(&[text(&file(name)), "--sha256"]) {
            assert_eq!(sum, disk_digest(&image), "{name}");
        }
    }
    // A gigabyte, some of whose blocks are said to be zero, as qemu-img reads it.
    let zeros = file("qemu__iotest-dynamic-1G.vhdx");
    let image = Image::open(&zeros, None).unwrap();
    assert_eq!((image.format(), image.len()), (Format::VhdxDynamic, 1 << 30));
    if oracle("qemu-img") {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let raw = place.path().join("raw");
        write_raw(&image, &raw);
        run("qemu-img", &["compare", "-f", "vhdx", "-F", "raw", text(&zeros), text(&raw)]);
    }
    // A log with one entry to replay; what the disk holds then is known.
    let dirty = Image::open(&file("qemu__iotest-dirtylog-10G-4M.vhdx"), None).unwrap();
    assert_eq!(dirty.len(), 10_737_418_240);
    assert!(dirty.health().notes[0].contains("1 entries are replayed"), "{:?}", dirty.health());
    let digests = digest(&dirty, &Silent).unwrap();
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let raw = place.path().join("raw");
    write_raw(&dirty, &raw);
    if oracle("qemu-img") {
        let copy = place.path().join("repaired.vhdx");
        std::fs::copy(file("qemu__iotest-dirtylog-10G-4M.vhdx"), &copy).unwrap();
        let _ = ask("qemu-img", &["check", "-r", "all", text(&copy)]);
        run("qemu-img", &["compare", "-f", "vhdx", "-F", "raw", text(&copy), text(&raw)]);
        let repaired = digest(&Image::open(&copy, None).unwrap(), &Silent).unwrap();
        assert_eq!((&repaired.ebs_linear, repaired.ebs_blocks), (&digests.ebs_linear, digests.ebs_blocks));
    }
}

#[test]
fn children_that_windows_made_read_through_their_parents() {
    let Some(folder) = corpus("^vhd/dfvfs__ntfs-(parent|differential)") else { return };
    for (ending, sum) in [
        ("vhd", "b7922a46a6b08fa4f4fc0c51a25d5587d1d49f15cfade45ca740dd07110ae144"),
        ("vhdx", "1ef1fb5360247aa7d36a38415bc7bf6e1e52f62af5e6bd1283815e82584c7efc"),
    ] {
        let file = |kind: &str| folder.join("vhd").join(format!("dfvfs__ntfs-{kind}.{ending}"));
        // The child calls its parent by the name that it had when it was made.
        let over = Image::open_over(&file("differential"), None, &file("parent")).unwrap();
        assert_eq!(Digest::of(&contents(&over)).to_string(), sum, "{ending}");
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for kind in ["parent", "differential"] {
            std::fs::copy(file(kind), place.path().join(format!("ntfs-{kind}.{ending}"))).unwrap();
        }
        let child = place.path().join(format!("ntfs-differential.{ending}"));
        let image = Image::open(&child, None).unwrap();
        assert_eq!(Digest::of(&contents(&image)).to_string(), sum, "{ending}");
        assert_eq!(image.health().parents.len(), 1);
        drop(image);
        // A fixed disk of the same kind that is not the parent.
        std::fs::copy(folder.join("vhd").join(format!("dfvfs__ntfs-parent.{ending}")), &child).unwrap();
        let swapped = Image::open_over(&file("differential"), None, &file("differential")).unwrap_err();
        assert_eq!(swapped.code(), Some("E-PARENT-LOOP"));
    }
    let mixed = folder.join("vhd/dfvfs__ntfs-parent.vhdx");
    let refused = Image::open_over(&folder.join("vhd/dfvfs__ntfs-differential.vhd"), None, &mixed).unwrap_err();
    assert_eq!(refused.code(), Some("E-PARENT-CHANGED"));
}

#[test]
fn no_cut_or_flipped_bit_of_a_vhdx_panics_and_none_under_a_checksum_passes() {
    let Some(made) = Made::new() else { return };
    let path = made.folder.path().join("a.vhdx");
    convert(&Image::open(&made.raw, None).unwrap(), &path, Format::VhdxDynamic, &Silent).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let mut random = Seeded(8);
    for i in 0..700u64 {
        // Headers, region tables, metadata and block table.
        let at = match i % 4 {
            0 => 65_536 + random.below(80),
            1 => 192 * 1024 + random.below(100),
            2 => 2 * MIB + random.below(300) + [0, 65_536][random.below(2) as usize],
            _ => 3 * MIB + random.below(96),
        };
        file.write_all_at(&[whole[at as usize] ^ (1 << random.below(8))], at).unwrap();
        match survey(&path, None) {
            Err(error) => assert!(error.code().is_some(), "{at:#x}: {error}"),
            // One header or region table of two may be damaged.
            Ok(_) => assert!(!(2 * MIB..2 * MIB + 8).contains(&at), "{at:#x}"),
        }
        file.write_all_at(&[whole[at as usize]], at).unwrap();
    }
    survey(&path, None).unwrap();
    let mut lengths: Vec<u64> = (0..150).map(|_| random.below(whole.len() as u64)).collect();
    lengths.sort_unstable_by(|one, other| other.cmp(one));
    for length in lengths {
        file.set_len(length).unwrap();
        let error = survey(&path, None).expect_err("a cut VHDX");
        assert!(error.code().is_some(), "{length}: {error}");
    }
}

#[test]
fn huge_disks_with_little_in_them_cost_little() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (size, format) in [(2040u64 << 30, Format::VhdDynamic), (16 << 40, Format::VhdxDynamic)] {
        // ext4 files end at 16 TiB.
        let size = size.min((16 << 40) - (1 << 20));
        let raw = place.path().join("huge.raw");
        File::create(&raw).unwrap().set_len(size).unwrap();
        let file = File::options().write(true).open(&raw).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(b"last!", size - 5).unwrap();
        drop(file);
        let out = place.path().join("huge.out");
        convert(&Image::open(&raw, Some(Format::Raw)).unwrap(), &out, format, &Silent).unwrap();
        let image = Image::open(&out, None).unwrap();
        assert_eq!((image.format(), image.len()), (format, size));
        for (at, expected) in [(0, b"first"), (size - 5, b"last!")] {
            let mut bytes = [0; 5];
            image.read_at(at, &mut bytes).unwrap();
            assert_eq!(&bytes, expected, "{format}");
        }
        assert!(out.metadata().unwrap().blocks() * 512 < 30 << 20);
        for path in [raw, out] {
            std::fs::remove_file(path).unwrap();
        }
    }
    let raw = place.path().join("large.raw");
    File::create(&raw).unwrap().set_len((2040 << 30) + 512).unwrap();
    let image = Image::open(&raw, Some(Format::Raw)).unwrap();
    for format in [Format::VhdFixed, Format::VhdDynamic] {
        let error = convert(&image, &place.path().join("out"), format, &Silent).unwrap_err();
        assert_eq!(error.code(), Some("E-DISK-TOO-LARGE"));
    }
    File::options().write(true).open(&raw).unwrap().set_len(MIB + 100).unwrap();
    let image = Image::open(&raw, Some(Format::Raw)).unwrap();
    for format in [Format::VhdFixed, Format::VhdDynamic, Format::VhdxFixed, Format::VhdxDynamic] {
        let error = convert(&image, &place.path().join("out"), format, &Silent).unwrap_err();
        assert_eq!(error.code(), Some("E-DISK-SIZE"));
    }
}
