//! Security descriptors: byte for byte what another driver reads, of both styles, and well-formed on real volumes.

use std::path::Path;

use coldforge_base::descriptor::Descriptor;
use coldforge_base::{ImageOffset, ReadAt};
use coldforge_disk::Window;
use coldforge_ntfs::{Reference, Volume};

use super::made::{OnFile, SHAPES, make, one_of_each};
use crate::support::{Mounted, corpus, cut_volume, fixture, oracle, to_raw};

/// Returns the descriptor that ntfs-3g reads of a file.
fn through_mount(path: &Path) -> Vec<u8> {
    let mut bytes = vec![0; 0x1_0000];
    let length = rustix::fs::lgetxattr(path, "system.ntfs_acl", &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// Compares the descriptor of every file below the root with that of a mount; returns how many there were.
fn compare<D: ReadAt>(volume: &Volume<D>, place: impl Fn(&str) -> std::path::PathBuf) -> usize {
    let mut compared = 0;
    let mut todo = vec![(String::new(), Reference::new(5, 5))];
    while let Some((path, reference)) = todo.pop() {
        let file = volume.file(reference).unwrap();
        let read = volume.security(&file).unwrap().unwrap();
        assert!(read == through_mount(&place(&path)), "{path}");
        assert!(Descriptor::parse(&read).unwrap().to_string().starts_with("O:"), "{path}");
        compared += 1;
        if file.is_directory() && file.reparse_tag().is_none() {
            let entries = volume.list(&file).unwrap().into_iter().filter(|entry| entry.reference.record() >= 24);
            todo.extend(entries.map(|entry| (format!("{path}/{}", entry.name), entry.reference)));
        }
    }
    compared
}

#[test]
fn descriptors_in_the_files_own_records_are_those_of_another_driver() {
    for shape in [SHAPES[1], SHAPES[4]] {
        let Some(made) = make(shape, |tree| one_of_each(tree, 20)) else { return };
        let mount = made.mount("ro");
        let compared = compare(&made.volume(), |path| mount.folder.join(path.trim_start_matches('/')));
        assert!(compared > 60, "{compared}");
    }
}

#[test]
fn descriptors_by_security_id_are_those_of_another_driver() {
    if !oracle("ntfs-3g") || !oracle("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (raw, volume) = (folder.path().join("raw"), folder.path().join("volume"));
    to_raw(&fixture("ws2022.vhd"), &raw);
    cut_volume(&raw, 2048 * 512, (260_095 - 2048 + 1) * 512, &volume);
    let mount = Mounted::of(&volume, "ro");
    let compared =
        compare(&Volume::open(OnFile::open(&volume)).unwrap(), |path| mount.join(path.trim_start_matches('/')));
    assert!(compared > 300, "{compared}");
}

#[test]
fn every_file_of_real_volumes_has_a_well_formed_descriptor() {
    let Some(folder) = corpus("^ntfs/(dfir_ntfs__ntfs_index|dfvfs__vss|dissect|veloc)") else { return };
    for (name, start) in [
        ("dfir_ntfs__ntfs_index.raw", 65_536),
        ("dfvfs__vss.raw", 0),
        ("dissect.ntfs__ntfs.bin", 0),
        ("velociraptor__partition_image.raw", 0),
        ("velociraptor__test.ntfs.dd.raw", 0),
    ] {
        let device = OnFile::open(&folder.join("ntfs").join(name));
        let length = device.len() - start;
        let volume = Volume::open(Window::open(device, ImageOffset(start), length).unwrap()).unwrap();
        let mut todo = vec![Reference::new(5, 5)];
        let mut seen = 0;
        while let Some(reference) = todo.pop() {
            let file = volume.file(reference).unwrap();
            let bytes = volume.security(&file).unwrap().unwrap();
            let text = Descriptor::parse(&bytes).unwrap().to_string();
            assert!(text.starts_with("O:") && text.contains("D:"), "{name}: {text}");
            seen += 1;
            if file.is_directory() && file.reparse_tag().is_none() {
                let entries = volume.list(&file).unwrap().into_iter().filter(|entry| entry.reference.record() >= 24);
                todo.extend(entries.map(|entry| entry.reference));
            }
        }
        assert!(seen > 5, "{name}: {seen}");
    }
}
