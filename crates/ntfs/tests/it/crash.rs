//! Writes that fail, stop or are torn at every place of a change: the content of a file is all old or all new, what was
//! there before is still there, and what is left over are only bits that are set and records that nothing leads to.

use std::collections::BTreeMap;
use std::fs;

use coldforge_base::device::Memory;
use coldforge_base::{Failure as _, Kind, ReadAt, WriteAt, device};
use coldforge_ntfs::{Error, Result, Security, Volume};

use super::made::{Made, SHAPES, Shape, make, noise, one_of_each, walk};
use super::oracles::findings;
use super::writing::NOW;

/// What happens to the write after the last good one; all that follow are lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Accident {
    Fails,
    Dropped,
    Torn,
}

/// A device that makes only `left` writes.
struct Unlucky {
    memory: Memory,
    accident: Accident,
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
            Accident::Torn if self.writes == self.left + 1 => {
                // Every other sector gets through.
                for (index, part) in buf.chunks(512).enumerate().filter(|(index, _)| index % 2 == 0) {
                    self.memory.write_at(at + index as u64 * 512, part)?;
                }
                Ok(())
            }
            Accident::Dropped | Accident::Torn => Ok(()),
        }
    }

    fn flush(&mut self) -> device::Result<()> {
        Ok(())
    }
}

/// A change to be interrupted.
type Change<'a> = dyn Fn(&mut Volume<Unlucky>) -> Result<()> + 'a;

/// Makes a change with an accident after `left` writes.
fn run(image: &[u8], accident: Accident, left: usize, change: &Change<'_>) -> (Unlucky, Result<()>) {
    let device = Unlucky { memory: Memory(image.to_vec()), accident, left, writes: 0 };
    let mut volume = Volume::open(device).unwrap();
    let answer = change(&mut volume);
    (volume.into_device(), answer)
}

/// Interrupts a change at every write in every way, and has what is left looked at; returns how many writes there are.
fn interrupt(made: &Made, change: &Change<'_>, allowed: &[&str], look: &dyn Fn(&Volume<Memory>, &str)) -> usize {
    let image = fs::read(&made.path).unwrap();
    let before = findings(&made.path);
    let (whole, answer) = run(&image, Accident::Fails, usize::MAX, change);
    answer.unwrap();
    let stopped = made.copy("stopped");
    for accident in [Accident::Fails, Accident::Dropped, Accident::Torn] {
        for left in 0..whole.writes {
            let what = format!("{accident:?} after {left}");
            let (device, answer) = run(&image, accident, left, change);
            match answer {
                // Where writes are lost, a later part of the change can miss an earlier one.
                Err(error) => assert!(error.kind() != Kind::Limit, "{what}: {error}"),
                Ok(()) => assert!(accident != Accident::Fails, "{what}"),
            }
            match Volume::open(device.memory.clone()) {
                Ok(volume) => look(&volume, &what),
                Err(Error::Torn { .. }) if accident == Accident::Torn => {}
                Err(error) => panic!("{what}: {error}"),
            }
            if accident == Accident::Fails && before.is_some() {
                fs::write(&stopped, &device.memory.0).unwrap();
                for line in findings(&stopped).unwrap_or_default().lines() {
                    let kind = line.split_whitespace().nth(1).unwrap();
                    assert!(allowed.contains(&kind), "{what}: {line}");
                }
            }
        }
    }
    whole.writes
}

/// Checks that files hold what they held; a torn structure is told apart, never taken for content.
fn assert_old(volume: &Volume<Memory>, files: &BTreeMap<String, Vec<u8>>, what: &str) {
    for (path, content) in files {
        match volume.find(path).and_then(|file| volume.read(&file.expect("what was there is there"), 1 << 30)) {
            Ok(read) => assert!(read == *content, "{what}: {path}"),
            Err(Error::Torn { .. }) if what.starts_with("Torn") => {}
            Err(error) => panic!("{what}: {path}: {error}"),
        }
    }
}

#[test]
fn a_file_that_grows_is_all_old_or_all_new_wherever_the_writes_stop() {
    let Some(made) = make(Shape { mebibytes: 8, ..SHAPES[1] }, |tree| one_of_each(tree, 20)) else { return };
    let mut files = made.files.clone();
    for (path, length) in [(r"\Windows\System32\config\SYSTEM", 500_000), (r"\resident", 20_000), (r"\linked", 100)] {
        let old = made.files[path].clone();
        let new = noise(88, length);
        files.retain(|_, content| *content != old);
        let change = |volume: &mut Volume<Unlucky>| -> Result<()> {
            let file = volume.find(path)?.unwrap();
            volume.replace_stream(&file, &new, NOW).map(|_| ())
        };
        let allowed = ["bitmap-leak", "index-sizes", "index-sizes-link", "index-flags"];
        let writes = interrupt(&made, &change, &allowed, &|volume, what| {
            assert_old(volume, &files, what);
            match volume.find(path).and_then(|file| volume.read(&file.unwrap(), 1 << 30)) {
                Ok(read) => assert!(read == old || read == new, "{what}: {path} is a mixture"),
                Err(Error::Torn { .. }) if what.starts_with("Torn") => {}
                Err(error) => panic!("{what}: {path}: {error}"),
            }
        });
        assert!(writes >= 3, "{path}: {writes}");
        files = made.files.clone();
    }
}

#[test]
fn a_new_folder_with_a_file_is_there_or_not_wherever_the_writes_stop() {
    let Some(made) = make(Shape { mebibytes: 8, ..SHAPES[1] }, |tree| one_of_each(tree, 20)) else { return };
    {
        // Until no record is free, so that $MFT has to grow.
        let mut volume = made.volume();
        let folder = volume.find(r"\many").unwrap().unwrap();
        let records = volume.find(r"\$MFT").unwrap().unwrap().size();
        for i in 0.. {
            volume.create_file(&folder, &format!("filler {i}"), b"", Security::SameAs(&folder), NOW).unwrap();
            let now = volume.find(r"\$MFT").unwrap().unwrap().size();
            if now > records {
                // One of the new 16 is used; use 14 more.
                for i in 0..14 {
                    volume.create_file(&folder, &format!("last {i}"), b"", Security::SameAs(&folder), NOW).unwrap();
                }
                break;
            }
        }
    }
    let new = noise(89, 30_000);
    let size = |volume: &Volume<Unlucky>| volume.find(r"\$MFT").unwrap().unwrap().size();
    let change = |volume: &mut Volume<Unlucky>| -> Result<()> {
        let before = size(volume);
        let root = volume.find("")?.unwrap();
        let (folder, _) = volume.create_dir(&root, "new folder", Security::SameAs(&root), NOW)?;
        volume.create_file(&folder, "new file", &new, Security::SameAs(&root), NOW)?;
        if volume.device().left == usize::MAX {
            assert!(size(volume) > before, "$MFT grows");
        }
        Ok(())
    };
    // The root has a descriptor of its own, which goes into $Secure: one that is not indexed yet, or not yet in both.
    let secure = ["sds", "sds-mirror", "secure-index", "secure-unindexed"];
    let allowed = [&["bitmap-leak", "mft-bitmap", "name-index", "unreachable", "mirror"][..], &secure].concat();
    let writes = interrupt(&made, &change, &allowed, &|volume, what| {
        assert_old(volume, &made.files, what);
        let found = match volume.find(r"\new folder\new file") {
            Ok(found) => found,
            Err(Error::Torn { .. }) if what.starts_with("Torn") => return,
            Err(error) => panic!("{what}: {error}"),
        };
        if let Some(file) = found {
            match volume.read(&file, 1 << 30) {
                Ok(read) => assert!(read == new, "{what}: a new file is whole"),
                Err(error) => assert!(what.starts_with("Torn"), "{what}: {error}"),
            }
        }
        if !what.starts_with("Torn") {
            let seen = walk(volume).keys().filter(|path| made.files.contains_key(*path)).count();
            assert_eq!(seen, made.files.len(), "{what}");
        }
    });
    assert!(writes >= 12, "{writes}");
}

#[test]
fn a_file_that_is_deleted_is_there_or_not_wherever_the_writes_stop() {
    let Some(made) = make(Shape { mebibytes: 8, ..SHAPES[1] }, |tree| one_of_each(tree, 20)) else { return };
    let path = r"\Windows\System32\config\SYSTEM";
    let mut files = made.files.clone();
    let old = files.remove(path).unwrap();
    let change = |volume: &mut Volume<Unlucky>| -> Result<()> {
        let folder = volume.find(r"\Windows\System32\config")?.unwrap();
        volume.delete(&folder, "SYSTEM", NOW).map(|_| ())
    };
    let allowed = ["bitmap-leak", "mft-bitmap", "name-index", "unreachable"];
    interrupt(&made, &change, &allowed, &|volume, what| {
        assert_old(volume, &files, what);
        match volume.find(path) {
            Ok(None) => {}
            Ok(Some(file)) => assert!(volume.read(&file, 1 << 30).unwrap() == old, "{what}"),
            Err(error) => assert!(what.starts_with("Torn"), "{what}: {error}"),
        }
    });
}
