//! What is overwritten is read back by us and by ntfs-3g, and nothing else changes.

use std::fs;
use std::path::Path;

use coldforge_base::device::Memory;
use coldforge_base::offset::normalize;
use coldforge_base::{Extent, Failure as _, FileOffset, ReadAt, WriteAt, device};
use coldforge_ntfs::{Error, Volume};

use super::made::{Made, OnFile, Planter, SHAPES, Shape, Tree, attribute, in_pieces, make, noise, one_of_each, walk};
use crate::support::{ask, oracle, shared};

/// Overwrites a part of a file of a made volume, and checks everything that can be checked about it.
fn overwrite_and_check(made: &mut Made, path: &str, at: usize, bytes: &[u8]) -> Vec<Extent> {
    let before = fs::read(&made.path).unwrap();
    let mut volume = made.volume();
    let file = volume.find(path).unwrap().unwrap();
    let touched = volume.overwrite(&file, FileOffset(at as u64), bytes).unwrap();
    made.files.get_mut(path).unwrap()[at..at + bytes.len()].copy_from_slice(bytes);

    // The handle from before the write sees what is there now.
    assert!(volume.read(&file, 1 << 30).unwrap() == made.files[path], "{path} through the old handle");
    assert_eq!(touched, normalize(touched.clone()), "{path}: in order, and nothing twice");
    let after = fs::read(&made.path).unwrap();
    assert_only_inside(&before, &after, &touched, path);
    drop(volume);
    let volume = made.volume();
    let file = volume.find(path).unwrap().unwrap();
    assert!(volume.read(&file, 1 << 30).unwrap() == made.files[path], "{path} through a new handle");
    assert_eq!(volume.refusals().unwrap(), [], "{path}");
    touched
}

fn assert_only_inside(before: &[u8], after: &[u8], touched: &[Extent], path: &str) {
    let mut at = 0;
    for extent in touched.iter().copied().chain([Extent::new(before.len() as u64, 0)]) {
        let outside = at..extent.offset as usize;
        assert!(before[outside.clone()] == after[outside], "{path}: a change outside the extents");
        at = extent.end() as usize;
    }
}

/// Asks the shared checker for errors.
fn findings(path: &Path) -> Option<String> {
    let script = shared()?.join("check/ntfs_check.py");
    let answer = ask("python3", &[script.to_str().unwrap(), path.to_str().unwrap(), "--strict"]);
    let text = String::from_utf8(answer.stdout).unwrap();
    Some(text.lines().filter(|line| !line.starts_with("INFO")).collect::<Vec<_>>().join("\n"))
}

fn made_and_checked(shape: Shape, fill: impl FnOnce(&mut Tree), change: impl FnOnce(&mut Made)) {
    let Some(mut made) = make(shape, fill) else { return };
    let before = findings(&made.path);
    change(&mut made);
    for (path, content) in walk(&made.volume()) {
        assert!(content.as_ref() == Ok(&made.files[&path]), "{path}");
    }
    assert_eq!(findings(&made.path), before, "{shape:?}");
    made.assert_ntfsresize_agrees();
    made.assert_mount_agrees();
}

#[test]
fn content_in_clusters_is_overwritten_where_it_lies_at_every_cluster_size() {
    for shape in SHAPES.into_iter().filter(|shape| shape.mebibytes <= 64) {
        made_and_checked(
            shape,
            |tree| one_of_each(tree, 40),
            |made| {
                let system = r"\Windows\System32\config\SYSTEM";
                let touched = overwrite_and_check(made, system, 4090, &noise(9, 100_000));
                assert_eq!(touched.iter().map(|extent| extent.length).sum::<u64>(), 100_000, "{shape:?}");
                overwrite_and_check(made, system, 299_999, &[8]);
                overwrite_and_check(made, r"\Windows\System32\config\SAM", 0, &noise(10, 65_536));
            },
        );
    }
}

#[test]
fn content_in_a_record_is_overwritten_with_the_whole_record_and_its_mirror() {
    let mirroring = Shape { sector: 512, cluster: 0x2_0000, mebibytes: 96 };
    for shape in [SHAPES[0], SHAPES[1], mirroring, SHAPES[4]] {
        made_and_checked(
            shape,
            |tree| one_of_each(tree, 40),
            |made| {
                let record_bytes = made.volume().geometry().record_bytes as u64;
                for (at, length) in [(0, 600), (433, 101)] {
                    let touched = overwrite_and_check(made, r"\resident", at, &noise(at as u64 + 20, length));
                    // Clusters of 128 KiB mirror the first 128 records, users' files among them.
                    let copies = if shape.cluster == 0x2_0000 { 2 } else { 1 };
                    let total: u64 = touched.iter().map(|extent| extent.length).sum();
                    assert_eq!(total, copies * record_bytes, "{shape:?}: {touched:?}");
                }
                overwrite_and_check(made, r"\Windows\System32\drivers\etc\hosts", 0, b"127.0.0.2");
                if shape.cluster == 0x2_0000 {
                    assert_mirror_is_equal(&made.path, record_bytes as usize);
                }
            },
        );
    }
}

/// Checks that all 128 records of a mirror of 128 KiB are those of `$MFT`.
fn assert_mirror_is_equal(path: &Path, record_bytes: usize) {
    let image = fs::read(path).unwrap();
    let place = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap()) as usize * 0x2_0000;
    let (mft, mirror) = (place(0x30), place(0x38));
    for record in 24..128 {
        let at = record * record_bytes;
        assert!(image[mft + at..][..record_bytes] == image[mirror + at..][..record_bytes], "record {record}");
    }
}

#[test]
fn a_file_in_hundreds_of_runs_is_overwritten_across_all_of_them() {
    made_and_checked(
        SHAPES[1],
        |tree| in_pieces(tree, 4096),
        |made| {
            let length = made.files[r"\SOFTWARE"].len();
            let touched = overwrite_and_check(made, r"\SOFTWARE", 1000, &noise(11, length - 2000));
            assert!(touched.len() > 100, "{}", touched.len());
            overwrite_and_check(made, r"\small\000700", 1, b"M");
        },
    );
}

#[test]
fn bytes_that_are_there_already_leave_a_resident_file_alone() {
    let Some(made) = make(SHAPES[1], |tree| one_of_each(tree, 1)) else { return };
    let before = fs::read(&made.path).unwrap();
    let mut volume = made.volume();
    let file = volume.find(r"\resident").unwrap().unwrap();
    assert_eq!(volume.overwrite(&file, FileOffset(10), &noise(3, 600)[10..50]).unwrap(), []);
    assert_eq!(volume.overwrite(&file, FileOffset(600), &[]).unwrap(), []);
    assert!(fs::read(&made.path).unwrap() == before);
}

/// Lowers the initialized size of a file whose base record has this number.
fn lower_initialized(made: &Made, path: &str, initialized: u64) {
    let number = made.volume().find(path).unwrap().unwrap().reference().record();
    let planter = Planter::new(&made.path);
    let mut planted = 0;
    for at in planter.records_of(number as u32) {
        let has_first = std::cell::Cell::new(false);
        planter.protected(at, 1024, |record| {
            if let Some(data) = attribute(record, 0x80).filter(|data| record[data + 0x10..data + 0x18] == [0; 8]) {
                record[data + 0x38..data + 0x40].copy_from_slice(&initialized.to_le_bytes());
                has_first.set(true);
            }
        });
        planted += u32::from(has_first.get());
    }
    assert_eq!(planted, 1, "{path}: the first extent");
}

#[test]
fn bytes_behind_the_initialized_size_read_as_zeros_and_an_overwrite_there_raises_it() {
    type Fill = fn(&mut Tree);
    let cases: [(&str, Fill); 2] = [
        (r"\Windows\System32\config\SYSTEM", |tree| one_of_each(tree, 1)),
        (r"\SOFTWARE", |tree| in_pieces(tree, 4096)),
    ];
    for (path, fill) in cases {
        made_and_checked(SHAPES[1], fill, |made| {
            lower_initialized(made, path, 5000);
            let content = made.files.get_mut(path).unwrap();
            content[5000..].fill(0);
            made.assert_mount_agrees();
            let volume = made.volume();
            let file = volume.find(path).unwrap().unwrap();
            assert_eq!(file.initialized(), 5000);
            assert!(volume.read(&file, 1 << 30).unwrap() == made.files[path]);

            overwrite_and_check(made, path, 4000, &noise(12, 1000));
            assert_eq!(made.volume().find(path).unwrap().unwrap().initialized(), 5000);
            overwrite_and_check(made, path, 200_000, &noise(13, 777));
            assert_eq!(made.volume().find(path).unwrap().unwrap().initialized(), 200_777);
            let end = made.files[path].len();
            overwrite_and_check(made, path, 200_700, &noise(14, end - 200_700));
            assert_eq!(made.volume().find(path).unwrap().unwrap().initialized(), end as u64);
        });
    }
}

#[test]
fn what_must_not_be_overwritten_is_refused_by_name_and_stays() {
    let made = make(SHAPES[1], |tree| {
        one_of_each(tree, 1);
        tree.folder(r"\packed");
        let compressed_directory = 0x0000_0810u32.to_be_bytes();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(tree.place(r"\packed"), "system.ntfs_attrib_be", &compressed_directory, flags).unwrap();
        tree.put(r"\packed\large", &b"compress me ".repeat(50_000));
        tree.put(r"\packed\small", b"compress me");
    });
    let Some(made) = made else { return };
    plant_reparse_point(&made, r"\Windows\System32\drivers\etc\hosts", 0x8000_0017);
    plant_reparse_point(&made, r"\resident", 0xa000_000c);
    plant_reparse_point(&made, r"\nothing", 0x8000_0013);
    plant_reparse_point(&made, r"\empty", 0xa000_0003);
    let sam = made.volume().find(r"\Windows\System32\config\SAM").unwrap().unwrap().reference().record();
    Planter::new(&made.path).record(sam, false, |record| {
        let data = attribute(record, 0x80).unwrap();
        record[data + 0xd] |= 0x40;
    });
    let before = fs::read(&made.path).unwrap();
    let mut volume = made.volume();
    for (path, code) in [
        (r"\packed\large", "E-FILE-COMPRESSED"),
        (r"\packed\small", "E-FILE-COMPRESSED"),
        (r"\sparse", "E-FILE-SPARSE"),
        (r"\Windows\System32\drivers\etc\hosts", "E-FILE-WOF"),
        (r"\resident", "E-FILE-REPARSE"),
        (r"\nothing", "E-FILE-REPARSE"),
        (r"\Windows\System32\config\SAM", "E-FILE-ENCRYPTED"),
        (r"\$MFT", "E-FILE-SYSTEM"),
        (r"\$Boot", "E-FILE-SYSTEM"),
        (r"\$Extend\$ObjId", "E-FILE-SYSTEM"),
    ] {
        let file = volume.find(path).unwrap().unwrap_or_else(|| panic!("{path} exists"));
        let error = volume.overwrite(&file, FileOffset(0), b"x").unwrap_err();
        assert_eq!(error.code(), Some(code), "{path}: {error}");
        assert!(error.hint().is_some(), "{path}");
        // What is compressed or sparse is read, but not written.
        if !path.contains('$') && !["E-FILE-COMPRESSED", "E-FILE-SPARSE"].contains(&code) {
            assert_eq!(volume.read(&file, 1 << 20).unwrap_err().code(), Some(code), "{path}: read");
        }
    }
    let junction = volume.find(r"\empty\below").unwrap_err();
    assert_eq!(junction.code(), Some("E-FILE-REPARSE"), "a junction is not followed");
    let folder = volume.find(r"\Windows").unwrap().unwrap();
    assert!(matches!(volume.overwrite(&folder, FileOffset(0), b"x"), Err(Error::IsDirectory { .. })));
    let file = volume.find(r"\linked").unwrap().unwrap();
    assert!(matches!(volume.overwrite(&file, FileOffset(4990), &[0; 11]), Err(Error::OutsideFile { .. })));
    assert!(matches!(volume.overwrite(&file, FileOffset(u64::MAX), &[0; 11]), Err(Error::OutsideFile { .. })));
    drop(volume);
    assert!(fs::read(&made.path).unwrap() == before);
}

/// Adds a $REPARSE_POINT behind the last attribute of a small file's record.
fn plant_reparse_point(made: &Made, path: &str, tag: u32) {
    let number = made.volume().find(path).unwrap().unwrap().reference().record();
    Planter::new(&made.path).record(number, false, |record| {
        let used = u32::from_le_bytes(record[0x18..0x1c].try_into().unwrap()) as usize;
        let end = used - 8;
        let mut added = vec![0u8; 0x20];
        added[..4].copy_from_slice(&0xc0u32.to_le_bytes());
        added[4] = 0x20;
        added[0xe] = record[0x28];
        added[0x10] = 8;
        added[0x14] = 0x18;
        added[0x18..0x1c].copy_from_slice(&tag.to_le_bytes());
        record.copy_within(end..used, end + 0x20);
        record[end..end + 0x20].copy_from_slice(&added);
        record[0x18..0x1c].copy_from_slice(&(used as u32 + 0x20).to_le_bytes());
        record[0x28] += 1;
    });
}

#[test]
fn clusters_that_are_free_or_anothers_are_found_before_anything_is_written() {
    let Some(made) = make(SHAPES[1], |tree| one_of_each(tree, 1)) else { return };
    let volume = made.volume();
    let [system, sam] = [r"\Windows\System32\config\SYSTEM", r"\Windows\System32\config\SAM"]
        .map(|path| volume.find(path).unwrap().unwrap());
    let lcn = |file| volume.extents(file, FileOffset(0), 1).unwrap()[0].offset / 4096;
    let (first, bitmap) = (lcn(&system), volume.find(r"\$Bitmap").unwrap().unwrap());
    let map = volume.extents(&bitmap, FileOffset(0), bitmap.size()).unwrap()[0].offset;
    let mft = volume.geometry().mft.0;
    drop(volume);

    // The last cluster of SYSTEM becomes free.
    let planter = Planter::new(&made.path);
    let last = first + 73;
    let byte = super::made::read_at(&made.path, map + last / 8, 1)[0];
    planter.bytes(map + last / 8, &[byte & !(1 << (last % 8))]);
    assert_refused(&made, system.reference().record(), "is marked as free");
    planter.bytes(map + last / 8, &[byte]);

    // SAM is mapped onto $MFT, and then onto itself.
    let map_sam = |bytes: &[u8]| {
        planter.record(sam.reference().record(), false, |record| {
            let data = attribute(record, 0x80).unwrap();
            let pairs = data + usize::from(record[data + 0x20]);
            record[pairs..pairs + bytes.len()].copy_from_slice(bytes);
        });
    };
    map_sam(&[0x21, 16, mft as u8, (mft >> 8) as u8, 0]);
    assert_refused(&made, sam.reference().record(), "belongs to file 0x0 as well");
    map_sam(&[0x21, 8, first as u8, (first >> 8) as u8, 0x11, 8, 7, 0]);
    let itself = format!("belongs to file {:#x} as well", sam.reference().record());
    assert_refused(&made, sam.reference().record(), &itself);
}

fn assert_refused(made: &Made, record: u64, what: &str) {
    let before = fs::read(&made.path).unwrap();
    let mut volume = made.volume();
    let sequence = (1..9).find(|sequence| volume.file(coldforge_ntfs::Reference::new(record, *sequence)).is_ok());
    let file = volume.file(coldforge_ntfs::Reference::new(record, sequence.unwrap())).unwrap();
    let error = volume.overwrite(&file, FileOffset(0), b"x").unwrap_err();
    assert_eq!(error.code(), Some("E-VOLUME-CORRUPT"), "{error}");
    assert!(error.to_string().contains(what), "{error}");
    assert!(fs::read(&made.path).unwrap() == before);
}

/// What happens to the n-th write.
#[derive(Clone, Copy, Debug)]
enum Accident {
    /// It is answered with an error, and nothing comes after it.
    Fails,
    /// It is not done, nor what comes after it.
    Dropped,
    /// Only every other of its 512-byte sectors is done, and nothing comes after it.
    Torn,
}

/// A disk in memory on which the n-th write meets an accident.
struct Unlucky {
    memory: Memory,
    accident: Accident,
    /// How many writes go well before it.
    left: usize,
    writes: usize,
}

impl ReadAt for Unlucky {
    fn len(&self) -> u64 {
        self.memory.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        self.memory.read_at(at, buf)
    }
}

impl WriteAt for Unlucky {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> device::Result<()> {
        self.writes += 1;
        if self.writes <= self.left {
            return self.memory.write_at(at, buf);
        }
        match self.accident {
            Accident::Fails => Err(device::Error::OutOfRange { at: 0, length: 0, size: 0 }),
            Accident::Torn if self.writes == self.left + 1 => self.write_every_other_sector(at, buf),
            Accident::Dropped | Accident::Torn => Ok(()),
        }
    }

    fn flush(&mut self) -> device::Result<()> {
        Ok(())
    }
}

impl Unlucky {
    fn write_every_other_sector(&mut self, mut at: u64, mut rest: &[u8]) -> device::Result<()> {
        let mut take = true;
        while !rest.is_empty() {
            let (part, tail) = rest.split_at(rest.len().min(512 - (at % 512) as usize));
            if take {
                self.memory.write_at(at, part)?;
            }
            take = !take;
            at += part.len() as u64;
            rest = tail;
        }
        Ok(())
    }
}

#[test]
fn an_accident_at_any_write_leaves_a_volume_that_opens_and_a_file_that_is_old_new_or_mixed_by_sector() {
    let shape = Shape { mebibytes: 8, ..SHAPES[1] };
    let Some(mut made) = make(shape, |tree| in_pieces(tree, 4096)) else { return };
    lower_initialized(&made, r"\SOFTWARE", 5000);
    made.files.get_mut(r"\SOFTWARE").unwrap()[5000..].fill(0);
    let image = fs::read(&made.path).unwrap();
    for (path, at, length) in [(r"\SOFTWARE", 100_000, 60_000), (r"\SOFTWARE", 100, 4000), (r"\resident", 0, 600)] {
        let old = &made.files[path];
        let mut new = old.clone();
        new[at..at + length].copy_from_slice(&noise(77, length));
        let run = |accident, left| {
            let device = Unlucky { memory: Memory(image.clone()), accident, left, writes: 0 };
            let mut volume = Volume::open(device).unwrap();
            let file = volume.find(path).unwrap().unwrap();
            let answer = volume.overwrite(&file, FileOffset(at as u64), &new[at..at + length]);
            (volume.into_device(), answer)
        };
        let (device, answer) = run(Accident::Fails, usize::MAX);
        answer.unwrap();
        let writes = device.writes;
        assert!(writes >= 1, "{path}");
        for accident in [Accident::Fails, Accident::Dropped, Accident::Torn] {
            for left in 0..writes {
                let (device, answer) = run(accident, left);
                assert_eq!(answer.is_err(), matches!(accident, Accident::Fails), "{path} {accident:?} {left}");
                let volume = Volume::open(device.memory).unwrap();
                assert_eq!(volume.refusals().unwrap(), [], "{path} {accident:?} {left}");
                let read = volume.find(path).and_then(|file| volume.read(&file.unwrap(), 1 << 30));
                match read {
                    Ok(content) => {
                        let sectors = content.chunks(512).zip(old.chunks(512).zip(new.chunks(512)));
                        for (sector, (read, (old, new))) in sectors.enumerate() {
                            let zeroed = read.iter().all(|byte| *byte == 0);
                            let is_pure = read == old || read == new || zeroed || is_spliced(read, old, new);
                            assert!(is_pure, "{path} {accident:?} {left}: sector {sector}");
                        }
                    }
                    // A record of which half was written is told apart, never taken for content.
                    Err(Error::Torn { .. }) => {
                        assert!(matches!(accident, Accident::Torn), "{path} {accident:?} {left}")
                    }
                    Err(error) => panic!("{path} {accident:?} {left}: {error}"),
                }
                let other = volume.find(r"\small\000001").unwrap().unwrap();
                assert_eq!(volume.read(&other, 100).unwrap(), b"small");
            }
        }
    }
}

/// Tells whether a sector is old up to one place and new behind it, or the other way round: the ends of a range.
fn is_spliced(read: &[u8], old: &[u8], new: &[u8]) -> bool {
    (0..=read.len()).any(|at| {
        let halves = |a: &[u8], b: &[u8]| read[..at] == a[..at] && read[at..] == b[at..];
        halves(old, new) || halves(new, old)
    })
}

#[test]
fn a_volume_is_read_by_several_threads_at_once() {
    let Some(made) = make(SHAPES[1], |tree| one_of_each(tree, 50)) else { return };
    let volume = made.volume();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(walk(&volume).len(), made.files.len()));
        }
    });
    let _: &OnFile = volume.device();
}

#[test]
fn ntfscat_reads_what_was_overwritten() {
    if !oracle("ntfscat") {
        return;
    }
    let Some(mut made) = make(SHAPES[0], |tree| one_of_each(tree, 1)) else { return };
    let path = r"\Windows\System32\config\SAM";
    overwrite_and_check(&mut made, path, 33, &noise(15, 9999));
    let answer = ask("ntfscat", &["-f", made.path.to_str().unwrap(), "/Windows/System32/config/SAM"]);
    assert!(answer.stdout == made.files[path]);
}
