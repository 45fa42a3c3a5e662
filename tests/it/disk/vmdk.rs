//! VMDK against qemu-img and the shared second reader: every kind that is read, the one that is written, and hostile
//! ones.

use coldforge_disk::convert;

use super::*;

fn code(path: &Path) -> String {
    let error = Image::open(path, None).map(|_| ()).unwrap_err();
    error.code().map_or_else(|| error.to_string(), str::to_owned)
}

#[test]
fn every_kind_that_qemu_makes_reads_as_the_disk() {
    let Some(made) = Made::new() else { return };
    let expected = std::fs::read(&made.raw).unwrap();
    for kind in ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"]
    {
        let place = tempfile::tempdir_in(made.folder.path()).unwrap();
        let path = place.path().join("disk.vmdk");
        let options = format!("subformat={kind}");
        run("qemu-img", &["convert", "-f", "raw", "-O", "vmdk", "-o", &options, text(&made.raw), text(&path)]);
        let image = Image::open(&path, None).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((image.format(), image.len()), (Format::Vmdk, expected.len() as u64), "{kind}");
        assert!(image.health().notes[0].contains(kind), "{:?}", image.health());
        assert!(contents(&image) == expected, "{kind}");
        let copy = place.path().join("copy");
        write_raw(&image, &copy);
        assert!(std::fs::read(&copy).unwrap() == expected, "{kind} by its extents");
        let mut random = Seeded(9);
        for _ in 0..100 {
            let at = random.below(image.len());
            let length = random.below((image.len() - at).min(MIB) + 1) as usize;
            let mut bytes = vec![0; length];
            image.read_at(at, &mut bytes).unwrap();
            assert!(bytes == expected[at as usize..][..length]);
        }
    }
}

#[test]
fn a_streamed_disk_of_many_tables_is_read_by_strangers() {
    let Some(made) = Made::new() else { return };
    let folder = made.folder.path();
    // 200 MiB: seven tables, some of them without a grain, the last one short.
    let raw = folder.join("large.raw");
    let file = File::create(&raw).unwrap();
    file.set_len(200 * MIB + 512).unwrap();
    let mut random = Seeded(10);
    for at in [0, 33 * MIB - 5, 100 * MIB, 200 * MIB + 100] {
        let bytes: Vec<u8> = (0..300).map(|_| random.next() as u8).collect();
        file.write_all_at(&bytes, at).unwrap();
    }
    let out = folder.join("out.vmdk");
    convert(&Image::open(&raw, Some(Format::Raw)).unwrap(), &out, Format::Vmdk, &Silent).unwrap();
    run("qemu-img", &["check", "-f", "vmdk", text(&out)]);
    run("qemu-img", &["compare", "-f", "vmdk", "-F", "raw", text(&out), text(&raw)]);
    if let Some(shared) = shared() {
        run("python3", &[text(&shared.join("check/vdisk_read.py")), text(&out), "--compare", text(&raw)]);
    }
    let image = Image::open(&out, None).unwrap();
    let back = folder.join("back");
    write_raw(&image, &back);
    assert!(std::fs::read(&back).unwrap() == std::fs::read(&raw).unwrap());
    let huge = folder.join("huge.raw");
    File::create(&huge).unwrap().set_len((2 << 40) + 512).unwrap();
    let error =
        convert(&Image::open(&huge, Some(Format::Raw)).unwrap(), &back.with_extension("x"), Format::Vmdk, &Silent);
    assert_eq!(error.unwrap_err().code(), Some("E-DISK-TOO-LARGE"));
}

#[test]
fn what_vmware_made_reads_as_qemu_reads_it() {
    let Some(folder) = corpus("^vhd/qemu__.*vmdk").filter(|_| oracle("qemu-img")) else { return };
    let path = folder.join("vhd/qemu__iotest-version3.vmdk");
    let image = Image::open(&path, None).unwrap();
    assert_eq!(image.len(), 16 << 30);
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let raw = place.path().join("raw");
    write_raw(&image, &raw);
    run("qemu-img", &["compare", "-f", "vmdk", "-F", "raw", text(&path), text(&raw)]);
}

#[test]
fn descriptors_lead_to_plain_files_of_their_folder_and_nowhere_else() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = place.path().join("disk.vmdk");
    std::fs::write(place.path().join("data-flat.vmdk"), [7; 1024]).unwrap();
    let write = |head: &str, extent: &str| {
        let text = format!("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n{head}\n{extent}\n");
        std::fs::write(&path, text).unwrap();
    };
    let flat = "createType=\"monolithicFlat\"";
    write(flat, "RW 2 FLAT \"data-flat.vmdk\" 0\nRW 3 ZERO\nRW 1 FLAT \"data-flat.vmdk\" 1");
    let image = Image::open(&path, None).unwrap();
    let bytes = contents(&image);
    assert_eq!((bytes.len(), bytes[1023], bytes[1024], bytes[2559], bytes[2560]), (3072, 7, 0, 0, 7));
    drop(image);
    for name in ["/etc/passwd", "../x/data-flat.vmdk", "./data-flat.vmdk", "..", "", "a\\b", "C:x"] {
        write(flat, &format!("RW 2 FLAT \"{name}\" 0"));
        assert_eq!(code(&path), "E-PARENT-OUTSIDE", "{name}");
    }
    std::os::unix::fs::symlink("/etc/passwd", place.path().join("link")).unwrap();
    write(flat, "RW 1 FLAT \"link\" 0");
    assert_eq!(code(&path), "E-PARENT-OUTSIDE");
    write(flat, "RW 1 SPARSE \"disk.vmdk\"");
    assert_eq!(code(&path), "E-PARENT-LOOP");
    for extent in [
        "RW 3 FLAT \"data-flat.vmdk\" 0",
        "RW 2 FLAT \"data-flat.vmdk\" 1",
        "RW 2 FLAT \"data-flat.vmdk\" 36028797018963968",
    ] {
        write(flat, extent);
        assert_eq!(code(&path), "E-VMDK-CORRUPT", "{extent}");
    }
    for extent in ["", "RW 0 ZERO", "RW -1 ZERO", "RW 36028797018963968 ZERO", "RW 18446744073709551615 ZERO"] {
        write(flat, extent);
        assert_eq!(code(&path), "E-VMDK-CORRUPT", "{extent}");
    }
    write("createType=\"seSparse\"", "RW 1 SESPARSE \"x\"");
    assert_eq!(code(&path), "E-CONTAINER-UNSUPPORTED");
    write(flat, "RW 1 VMFS \"x\"");
    assert_eq!(code(&path), "E-CONTAINER-UNSUPPORTED");
    write("createType=\"monolithicFlat\"\nparentCID=12345678", "RW 1 ZERO");
    assert_eq!(code(&path), "E-CONTAINER-UNSUPPORTED");
}

#[test]
fn no_cut_flip_or_bomb_of_a_streamed_disk_panics_or_passes_unseen() {
    let Some(made) = Made::new() else { return };
    let path = made.folder.path().join("a.vmdk");
    convert(&Image::open(&made.raw, None).unwrap(), &path, Format::Vmdk, &Silent).unwrap();
    let expected = std::fs::read(&made.raw).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let mut random = Seeded(11);
    let read = || -> Result<Vec<u8>, coldforge_disk::Error> {
        let image = Image::open(&path, None)?;
        let mut bytes = vec![0; usize::try_from(image.len().min(64 * MIB)).unwrap()];
        image.read_at(0, &mut bytes)?;
        Ok(bytes)
    };
    let tail = whole.len() as u64 - 12 * 512;
    for i in 0..250 {
        // Header, grains, tables and footer.
        let at = match i % 4 {
            0 => random.below(80),
            1 => 65_536 + random.below(whole.len() as u64 - 65_536),
            2 => tail + random.below(12 * 512),
            _ => 65_536 + random.below(40),
        };
        file.write_all_at(&[whole[at as usize] ^ (1 << random.below(8))], at).unwrap();
        match read() {
            Err(error) => assert!(error.code().is_some(), "{at:#x}: {error}"),
            // zlib's own checksum finds what changed in a grain; a flip elsewhere may be in padding or drop a grain.
            Ok(bytes) => {
                assert!(bytes == expected || !(65_536..tail).contains(&at) || bytes.len() != expected.len(), "{at:#x}")
            }
        }
        file.write_all_at(&[whole[at as usize]], at).unwrap();
    }
    assert!(read().unwrap() == expected);
    let mut lengths: Vec<u64> = (0..60).map(|_| random.below(whole.len() as u64)).collect();
    lengths.sort_unstable_by(|one, other| other.cmp(one));
    for length in lengths {
        file.set_len(length).unwrap();
        assert!(survey(&path, None).expect_err("a cut VMDK").code().is_some(), "{length}");
    }
}

#[test]
fn a_grain_that_inflates_without_end_or_names_another_is_refused() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let raw = place.path().join("raw");
    let mut random = Seeded(12);
    std::fs::write(&raw, (0..65_536).map(|_| random.next() as u8).collect::<Vec<_>>()).unwrap();
    let path = place.path().join("a.vmdk");
    convert(&Image::open(&raw, Some(Format::Raw)).unwrap(), &path, Format::Vmdk, &Silent).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let read = || Image::open(&path, None).unwrap().read_at(0, &mut [0; 512]).map_err(|error| error.code());
    read().unwrap();
    let put = |sector: u64, length: u32, packed: &[u8]| {
        file.write_all_at(&[&sector.to_le_bytes()[..], &length.to_le_bytes(), packed].concat(), 65_536).unwrap();
    };
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 32 << 20], 6);
    let honest = miniz_oxide::deflate::compress_to_vec_zlib(&[7; 65_536], 6);
    let short = miniz_oxide::deflate::compress_to_vec_zlib(&[7; 65_535], 6);
    put(0, honest.len() as u32, &honest);
    read().unwrap();
    for (sector, length, packed) in [
        (0, bomb.len() as u32, &bomb),
        (128, honest.len() as u32, &honest),
        (0, short.len() as u32, &short),
        (0, honest.len() as u32 - 1, &honest),
        (0, 0, &honest),
        (0, u32::MAX, &honest),
    ] {
        put(sector, length, packed);
        assert_eq!(read(), Err(Some("E-VMDK-CORRUPT")), "sector {sector}, {length} bytes");
    }
}
