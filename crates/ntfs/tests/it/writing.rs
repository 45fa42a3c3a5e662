//! Files whose content is replaced, and files that come and go: read back by us and by strangers.

use std::fs;

use coldforge_base::time::FileTime;
use coldforge_base::{Extent, Failure as _};
use coldforge_ntfs::{Changes, Error, Security, WriteStep};

use super::made::{Made, Planter, SHAPES, Shape, attribute, in_pieces, make, noise, one_of_each, walk};
use super::oracles::{agree_with, findings};
use crate::support::ask;

/// The moment of all changes: 2026-01-01T00:00:00Z.
pub const NOW: FileTime = FileTime(134_116_992_000_000_000);

/// Every cluster size that mkntfs knows at both sector sizes.
fn shapes() -> Vec<Shape> {
    let sized = |sector: u64, first: u32| {
        (first..=21).map(move |power| Shape {
            sector,
            cluster: 1 << power,
            mebibytes: (8u64 << power >> 10).clamp(24, 512),
        })
    };
    sized(512, 9).chain(sized(4096, 12)).collect()
}

fn replace(made: &mut Made, path: &str, content: &[u8]) -> Changes {
    let mut volume = made.volume();
    let file = volume.find(path).unwrap().unwrap();
    let changes = volume.replace_stream(&file, content, NOW).unwrap();
    assert!(volume.read(&file, 1 << 30).unwrap() == content, "{path} through the old handle");
    let names: Vec<_> =
        made.files.iter().filter(|(_, other)| **other == made.files[path]).map(|(p, _)| p.clone()).collect();
    let is_linked = volume.file(file.reference()).unwrap().links() > 1;
    for name in names.into_iter().filter(|name| name == path || is_linked) {
        made.files.insert(name, content.into());
    }
    changes
}

fn check(made: &Made, what: &str) {
    for (path, content) in walk(&made.volume()) {
        assert!(content.as_ref() == Ok(&made.files[&path]), "{what}: {path}");
    }
    agree_with(made, what);
}

#[test]
fn content_of_any_size_replaces_content_of_any_other_at_every_cluster_size() {
    for shape in shapes() {
        let Some(mut made) = make(shape, |tree| one_of_each(tree, 40)) else { return };
        let what = format!("{shape:?}");
        let system = r"\Windows\System32\config\SYSTEM";
        for (path, sizes) in [
            (system, &[400_000, 300_000, 5, 0, 700, 2_000_000][..]),
            (r"\resident", &[0, 601, 5000, 600]),
            (r"\nothing", &[1, 100_000]),
            (r"\linked", &[9000, 10, 70_000]),
        ] {
            for (seed, size) in (50..).zip(sizes) {
                replace(&mut made, path, &noise(seed, *size));
            }
        }
        check(&made, &what);
    }
}

#[test]
fn nothing_is_written_outside_the_extents_that_are_told_and_the_steps_are_in_order() {
    let Some(mut made) = make(SHAPES[1], |tree| one_of_each(tree, 40)) else { return };
    let before = fs::read(&made.path).unwrap();
    let changes = replace(&mut made, r"\resident", &noise(7, 50_000));
    let after = fs::read(&made.path).unwrap();
    let mut at = 0;
    for extent in changes.extents().into_iter().chain([Extent::new(before.len() as u64, 0)]) {
        assert!(before[at..extent.offset as usize] == after[at..extent.offset as usize], "before {extent:?}");
        at = extent.end() as usize;
    }
    let steps: Vec<_> = changes.steps().iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [WriteStep::Data, WriteStep::Bitmap, WriteStep::BaseRecords, WriteStep::Index]);
    let changes = replace(&mut made, r"\resident", &noise(7, 5));
    let steps: Vec<_> = changes.steps().iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [WriteStep::BaseRecords, WriteStep::Index, WriteStep::Freed]);
    let mut volume = made.volume();
    let root = volume.find("").unwrap().unwrap();
    // The root has a descriptor of its own, which the first new file brings into $Secure.
    let (_, changes) = volume.create_file(&root, "first", b"", Security::SameAs(&root), NOW).unwrap();
    assert!(changes.steps().iter().any(|(step, _)| *step == WriteStep::Security));
    let (_, changes) = volume.create_file(&root, "new", &noise(1, 5000), Security::SameAs(&root), NOW).unwrap();
    let steps: Vec<_> = changes.steps().iter().map(|(step, _)| *step).collect();
    let expected = [WriteStep::Data, WriteStep::Bitmap, WriteStep::MftBitmap, WriteStep::NewRecords, WriteStep::Index];
    assert_eq!(steps, expected);
}

#[test]
fn a_file_in_hundreds_of_runs_with_an_attribute_list_comes_together() {
    for (shape, cluster) in [(SHAPES[0], 512), (SHAPES[1], 4096)] {
        let Some(mut made) = make(shape, |tree| in_pieces(tree, cluster)) else { return };
        let before = findings(&made.path);
        let what = format!("{shape:?}");
        let path = r"\SOFTWARE";
        let planter = Planter::new(&made.path);
        let number = made.volume().find(path).unwrap().unwrap().reference().record() as u32;
        let records = planter.records_of(number).len();
        assert!(records > 1 || cluster > 512, "{what}: the file needs several records");
        let length = made.files[path].len();
        let answer = {
            let mut volume = made.volume();
            let file = volume.find(path).unwrap().unwrap();
            let image = fs::read(&made.path).unwrap();
            let answer = volume.replace_stream(&file, &noise(70, length * 4), NOW);
            assert!(fs::read(&made.path).unwrap() == image, "{what}: a refusal writes nothing");
            answer
        };
        match answer {
            Err(error @ Error::VolumeFull { .. }) => assert_eq!(error.code(), Some("E-VOLUME-FULL")),
            other => panic!("{what}: {other:?}"),
        }
        let fill: Vec<_> = made.files.keys().filter(|name| name.starts_with(r"\fill")).cloned().collect();
        let mut volume = made.volume();
        let folder = volume.find(r"\fill").unwrap().unwrap();
        for name in fill {
            volume.delete(&folder, name.rsplit_once('\\').unwrap().1, NOW).unwrap();
            made.files.remove(&name);
        }
        drop(volume);
        assert_eq!(findings(&made.path), before, "{what}: deleted");
        for (seed, size) in [(71, length / 5), (72, 5), (73, length / 4)] {
            replace(&mut made, path, &noise(seed, size));
            for (path, content) in walk(&made.volume()) {
                assert!(content.as_ref() == Ok(&made.files[&path]), "{what}: {path}");
            }
            assert_eq!(findings(&made.path), before, "{what}: {size}");
        }
        let left = Planter::new(&made.path).records_of(number).len();
        assert!(left < records || records == 1, "{what}: emptied records are free");
        made.assert_ntfsresize_agrees();
        made.assert_mount_agrees();
    }
}

#[test]
fn a_directory_whose_index_lies_in_several_records_takes_and_loses_names() {
    let Some(mut made) = make(SHAPES[0], |tree| in_pieces(tree, 512)) else { return };
    let before = findings(&made.path);
    let mut volume = made.volume();
    let folder = volume.find(r"\fill").unwrap().unwrap();
    let number = folder.reference().record() as u32;
    assert!(Planter::new(&made.path).records_of(number).len() > 1, "the folder needs several records");
    let (mut put, mut refused) = (0, 0);
    for i in 0..400 {
        let name = format!("{:06} and a long tail {i}", i * 37 % 4000);
        match volume.create_file(&folder, &name, b"new", Security::SameAs(&folder), NOW) {
            Ok(_) => {
                made.files.insert(format!(r"\fill\{name}"), b"new".into());
                put += 1;
            }
            Err(Error::RecordFull { .. } | Error::VolumeFull { .. } | Error::MftFragmented) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    for path in made.files.keys().filter(|path| path.starts_with(r"\fill\")).step_by(3).cloned().collect::<Vec<_>>() {
        volume.delete(&folder, path.rsplit_once('\\').unwrap().1, NOW).unwrap();
        made.files.remove(&path);
    }
    assert!(put > 100, "{put} names were put in, {refused} refused");
    assert_eq!(walk(&volume).len(), made.files.len());
    drop(volume);
    assert_eq!(findings(&made.path), before);
    made.assert_ntfsresize_agrees();
    made.assert_mount_agrees();
}

#[test]
fn one_name_of_several_goes_alone_and_the_last_one_takes_the_file_with_it() {
    let Some(mut made) = make(SHAPES[1], |tree| one_of_each(tree, 5)) else { return };
    made.files.remove(r"\sparse");
    let mut volume = made.volume();
    let root = volume.find("").unwrap().unwrap();
    volume.delete(&root, "SPARSE", NOW).unwrap();
    let names: Vec<String> = made.files.keys().filter(|path| path.contains("linked")).cloned().collect();
    assert_eq!(names.len(), 31);
    let reference = volume.find(r"\linked").unwrap().unwrap().reference();
    for (gone, path) in (1..).zip(&names) {
        volume.delete(&root, path.trim_start_matches('\\'), NOW).unwrap();
        made.files.remove(path);
        match volume.file(reference) {
            Ok(file) => assert_eq!(usize::from(file.links()), 31 - gone),
            Err(error) => assert!(gone == 31 && matches!(error, Error::NotInUse { .. }), "{gone}: {error}"),
        }
        if gone % 10 == 1 {
            check(&made, &format!("{gone} names gone"));
        }
    }
    assert!(matches!(volume.delete(&root, "linked", NOW), Err(Error::NameMissing { .. })));
    assert!(matches!(volume.delete(&root, "Windows", NOW), Err(Error::DirectoryNotEmpty { .. })));
    check(&made, "all names gone");
}

#[test]
fn what_is_not_understood_is_refused_by_name_and_nothing_is_written() {
    let Some(made) = make(SHAPES[1], |tree| {
        one_of_each(tree, 5);
        tree.folder(r"\packed");
        let folder = tree.place(r"\packed");
        let set = "import os, sys; os.setxattr(sys.argv[1], 'system.ntfs_attrib_be', bytes.fromhex('00000810'))";
        assert!(ask("python3", &["-c", set, folder.to_str().unwrap()]).status.success());
        tree.put(r"\packed\file", &vec![b'a'; 200_000]);
        tree.put(r"\streams", b"plain");
        fs::write(tree.place(r"\streams:other"), noise(8, 9000)).unwrap();
    }) else {
        return;
    };
    let image = fs::read(&made.path).unwrap();
    let mut volume = made.volume();
    let code = |answer: Result<Changes, Error>| answer.unwrap_err().code().unwrap_or("none");
    let root = volume.find("").unwrap().unwrap();
    let mut replaced = |path: &str| {
        let file = volume.find(path).unwrap().unwrap();
        code(volume.replace_stream(&file, b"new", NOW))
    };
    assert_eq!(replaced(r"\sparse"), "E-FILE-SPARSE");
    assert_eq!(replaced(r"\packed\file"), "E-FILE-COMPRESSED");
    assert_eq!(replaced(r"\$MFT"), "E-FILE-SYSTEM");
    assert_eq!(replaced(r"\$Secure"), "E-FILE-SYSTEM");
    assert_eq!(replaced(r"\$Extend\$ObjId"), "E-FILE-SYSTEM");
    assert_eq!(replaced(r"\Windows"), "none");
    let mut volume = made.volume();
    assert_eq!(code(volume.delete(&root, "$Volume", NOW)), "E-FILE-SYSTEM");
    assert_eq!(code(volume.delete(&root, "windows", NOW)), "E-DIRECTORY-NOT-EMPTY");
    let extend = volume.find(r"\$Extend").unwrap().unwrap();
    let mut create = |folder: &coldforge_ntfs::File, name: &str| {
        let answer = volume.create_file(folder, name, b"", Security::SameAs(&root), NOW);
        answer.map(|(_, changes)| changes)
    };
    assert_eq!(code(create(&extend, "x")), "E-FILE-SYSTEM");
    assert_eq!(code(create(&root, "RESIDENT")), "E-NAME-TAKEN");
    assert!(matches!(create(&root, "a:b"), Err(Error::NameUnfit { .. })));
    assert!(matches!(create(&root, "nul"), Err(Error::NameUnfit { .. })));
    let mut volume = made.volume();
    let file = volume.find(r"\resident").unwrap().unwrap();
    assert!(matches!(volume.set_security(&file, &[1, 0, 4, 0], NOW), Err(Error::Descriptor { .. })));
    let answer = volume.replace_stream(&file, &vec![1; 30 << 20], NOW);
    assert_eq!(code(answer), "E-VOLUME-FULL");
    assert!(fs::read(&made.path).unwrap() == image, "no refusal writes");

    // A stream of another name is not touched by a new content of the unnamed one.
    let file = volume.find(r"\streams").unwrap().unwrap();
    volume.replace_stream(&file, &noise(9, 10_000), NOW).unwrap();
    drop(volume);
    let mount = made.mount("ro");
    assert!(fs::read(mount.folder.join("streams:other")).unwrap() == noise(8, 9000));
    assert!(fs::read(mount.folder.join("streams")).unwrap() == noise(9, 10_000));
    drop(mount);
    assert_eq!(findings(&made.path).as_deref().unwrap_or(""), "");
}

#[test]
fn a_directory_that_tells_names_apart_by_case_is_refused() {
    let Some(made) = make(SHAPES[1], |tree| one_of_each(tree, 5)) else { return };
    let volume = made.volume();
    let folder = volume.find(r"\many").unwrap().unwrap();
    let planter = Planter::new(&made.path);
    planter.record(folder.reference().record(), false, |record| {
        let information = attribute(record, 0x10).unwrap() + 0x18;
        record[information + 0x28] = 1;
    });
    let mut volume = made.volume();
    let answer = volume.create_dir(&folder, "new", Security::SameAs(&folder), NOW);
    assert_eq!(answer.unwrap_err().code(), Some("E-DIRECTORY-CASE"));
}

#[test]
fn a_file_of_the_old_style_gets_an_id_and_loses_its_own_descriptor() {
    // Without the option `permissions`, ntfs-3g gives files descriptors of their own.
    let Some(made) = make(SHAPES[1], |tree| one_of_each(tree, 5)) else { return };
    let mut volume = made.volume();
    let root = volume.find("").unwrap().unwrap();
    for path in [r"\resident", r"\Windows", r"\Windows\System32\config\SYSTEM"] {
        let file = volume.find(path).unwrap().unwrap();
        let planter = Planter::new(&made.path);
        let is_old = |expected: bool| {
            planter.record(file.reference().record(), false, |record| {
                assert_eq!(record[attribute(record, 0x10).unwrap() + 0x10], if expected { 48 } else { 72 }, "{path}");
                assert_eq!(attribute(record, 0x50).is_some(), expected, "{path}");
            });
        };
        is_old(true);
        let mut descriptor = vec![1, 0, 0, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        descriptor.extend([1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0].repeat(2));
        volume.set_security(&file, &descriptor, NOW).unwrap();
        is_old(false);
        // A new file beside it gets the same.
        let (new, _) = volume
            .create_file(&root, &format!("beside {}", file.reference()), b"", Security::SameAs(&file), NOW)
            .unwrap();
        let changes = volume.set_security(&new, &descriptor, NOW).unwrap();
        assert!(changes.steps().is_empty(), "{path}");
        volume.delete(&root, &format!("beside {}", file.reference()), NOW).unwrap();
    }
    drop(volume);
    let mut made = made;
    made.files.remove(r"\sparse");
    let mut volume = made.volume();
    volume.delete(&root, "sparse", NOW).unwrap();
    check(&made, "old style");
}
