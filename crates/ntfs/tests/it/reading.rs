//! What mkntfs and ntfs-3g wrote is what is read.

use std::collections::BTreeMap;

use coldforge_base::{Failure as _, FileOffset};
use coldforge_ntfs::Error;

use super::made::{SHAPES, in_pieces, make, noise, one_of_each, walk};
use crate::support::{Seeded, ask, oracle};

fn expected(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Result<Vec<u8>, &'static str>> {
    files.iter().map(|(path, content)| (path.clone(), Ok(content.clone()))).collect()
}

#[test]
fn every_file_of_every_cluster_size_holds_what_was_written() {
    for shape in SHAPES {
        let many = if shape.cluster == 4096 { 3000 } else { 700 };
        let Some(made) = make(shape, |tree| one_of_each(tree, many)) else { return };
        let volume = made.volume();
        assert_eq!(volume.geometry().cluster_bytes, shape.cluster);
        assert_eq!(volume.information().label, "COLD");
        assert_eq!(volume.information().version, (3, 1));
        let found = walk(&volume);
        let wanted = expected(&made.files);
        assert!(found.keys().eq(wanted.keys()), "{shape:?}: the names");
        for (path, content) in &wanted {
            assert!(found[path] == *content, "{shape:?}: {path}");
        }
        assert_eq!(volume.refusals().unwrap(), [], "{shape:?}");
        assert_eq!(volume.warnings().unwrap(), [], "{shape:?}");
    }
}

#[test]
fn names_are_found_whatever_their_case_and_missing_ones_are_not() {
    let Some(made) = make(SHAPES[1], |tree| one_of_each(tree, 300)) else { return };
    let volume = made.volume();
    for path in [
        r"\windows\SYSTEM32\Config\system",
        r"WINDOWS\system32\config\SYSTEM",
        "\\gR\u{d6}\u{df}E \u{c9}\u{411} \u{1f600}.TXT",
        r"\MANY\FILE_00299_WITH_SOME_LONG_NAME.DLL",
        r"\many\file_00000_with_some_long_name.dll",
    ] {
        assert!(volume.find(path).unwrap().is_some_and(|file| !file.is_directory()), "{path}");
    }
    assert!(volume.find("").unwrap().is_some_and(|root| root.is_directory()));
    for path in
        [r"\Windows\System33", r"\many\file_00300_with_some_long_name.dll", r"\resident\below", r"\win\dows", "\0"]
    {
        assert!(volume.find(path).unwrap().is_none(), "{path}");
    }
}

#[test]
fn a_name_that_fits_several_files_is_refused_and_not_guessed() {
    let made = make(SHAPES[1], |tree| {
        tree.put(r"\SYSTEM", b"one");
        tree.put(r"\System", b"another");
        tree.put(r"\only", b"once");
    });
    let Some(made) = made else { return };
    let volume = made.volume();
    assert_eq!(volume.find(r"\system").unwrap_err().code(), Some("E-NAME-AMBIGUOUS"));
    assert!(volume.find(r"\ONLY").unwrap().is_some());
    assert_eq!(walk(&volume).len(), 3);
}

#[test]
fn a_file_tells_its_sizes_and_a_range_outside_is_an_error() {
    let Some(made) = make(SHAPES[1], |tree| one_of_each(tree, 10)) else { return };
    let volume = made.volume();
    let file = volume.find(r"\Windows\System32\config\SYSTEM").unwrap().unwrap();
    assert_eq!((file.size(), file.initialized(), file.allocated()), (300_000, 300_000, 303_104));
    assert!(!file.is_resident() && !file.is_sparse() && !file.is_compressed());
    let mut buf = [0; 100];
    volume.read_at(&file, FileOffset(299_900), &mut buf).unwrap();
    assert_eq!(buf, noise(1, 300_000)[299_900..]);
    assert!(matches!(volume.read_at(&file, FileOffset(299_901), &mut buf), Err(Error::OutsideFile { .. })));
    assert!(matches!(volume.read_at(&file, FileOffset(u64::MAX), &mut buf), Err(Error::OutsideFile { .. })));
    assert!(matches!(volume.read(&file, 299_999), Err(Error::TooLarge { .. })));
    assert!(matches!(volume.list(&file), Err(Error::NotADirectory { .. })));
    let folder = volume.find(r"\Windows").unwrap().unwrap();
    assert!(matches!(volume.read(&folder, 1000), Err(Error::IsDirectory { .. })));
    assert_eq!(volume.find(r"\linked").unwrap().unwrap().links(), 31);
}

#[test]
fn a_file_and_an_mft_in_hundreds_of_pieces_are_read_whole() {
    for shape in [SHAPES[1], SHAPES[0]] {
        let Some(made) = make(shape, |tree| in_pieces(tree, shape.cluster as usize)) else { return };
        let volume = made.volume();
        let file = volume.find(r"\SOFTWARE").unwrap().unwrap();
        let extents = volume.extents(&file, FileOffset(0), file.size()).unwrap();
        assert!(extents.len() > 120, "{} extents", extents.len());
        if oracle("ntfsinfo") {
            let answer = ask("ntfsinfo", &["-f", "-v", "-i", "0", made.path.to_str().unwrap()]);
            let text = String::from_utf8_lossy(&answer.stdout);
            assert!(text.contains("ATTRIBUTE_LIST (0x20)"), "$MFT has an attribute list: {text}");
        }
        assert!(walk(&volume) == expected(&made.files), "{shape:?}");
        assert_eq!(volume.refusals().unwrap(), [], "{shape:?}");
    }
}

#[test]
fn compressed_files_are_read_as_they_were_written_and_in_any_part() {
    let parts = |lengths: &[(usize, bool)]| -> Vec<u8> {
        let filled = lengths.iter().enumerate();
        filled
            .flat_map(|(i, (length, random))| if *random { noise(i as u64, *length) } else { vec![i as u8; *length] })
            .collect()
    };
    let made = make(SHAPES[1], |tree| {
        tree.folder(r"\packed");
        let place = tree.place(r"\packed");
        let compressed_directory = 0x0000_0810u32.to_be_bytes();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&place, "system.ntfs_attrib_be", &compressed_directory, flags).unwrap();
        tree.put(r"\packed\text", &b"compress me ".repeat(50_000));
        tree.put(r"\packed\small", b"compress me");
        tree.put(r"\packed\random", &noise(9, 300_001));
        tree.put(r"\packed\zeros", &[0; 400_000]);
        tree.put(
            r"\packed\mixed",
            &parts(&[(100_000, false), (70_000, true), (200_000, false), (65_536, true), (77, true)]),
        );
        tree.put(r"\packed\unit", &parts(&[(65_536, false)]));
        let words = noise(10, 1 << 16);
        tree.put(r"\packed\words", &(0..200_000).map(|i| words[i % 97] ^ words[i / 4096] & 3).collect::<Vec<_>>());
        tree.sparse(r"\packed\holes", &[(5, b"begin"), (700_000, &[7; 5000]), (2_000_000, b"end")]);
    });
    let Some(made) = made else { return };
    let volume = made.volume();
    let mut compressed = 0;
    for (path, content) in &made.files {
        let file = volume.find(path).unwrap().unwrap();
        compressed += u32::from(file.is_compressed() && !file.is_resident());
        assert!(volume.read(&file, 1 << 24).unwrap() == *content, "{path}");
        let mut seeded = Seeded(21);
        for _ in 0..40 {
            let at = seeded.below(content.len() as u64);
            let length = seeded.below((content.len() as u64 - at).min(200_000)) as usize;
            let mut part = vec![0xee; length];
            volume.read_at(&file, FileOffset(at), &mut part).unwrap();
            assert!(part == content[at as usize..][..length], "{path} at {at:#x} for {length:#x}");
        }
        if !file.is_resident() {
            let refused = volume.extents(&file, FileOffset(0), 1).unwrap_err();
            assert_eq!(refused.code(), Some("E-FILE-COMPRESSED"), "{path}");
        }
    }
    assert!(compressed >= 6, "{compressed}");
}
