//! Damaged volumes that are changed: a refusal that writes nothing, or a change that can be read back; never a panic.

use std::fs;
use std::time::Instant;

use coldforge_base::device::Memory;
use coldforge_base::{Failure as _, Kind};
use coldforge_ntfs::{File, Result, Security, Volume};

use super::made::{SHAPES, Shape, make, noise, one_of_each};
use super::writing::NOW;
use crate::support::Seeded;

/// The kinds of change.
const CHANGES: usize = 7;

/// Makes one change of a volume; `None` if what it needs cannot be found.
fn change(volume: &mut Volume<Memory>, which: usize, content: &[u8]) -> Option<Result<Option<File>>> {
    let find = |volume: &Volume<Memory>, path: &str| volume.find(path).ok().flatten();
    let system = r"\Windows\System32\config\SYSTEM";
    Some(match which {
        0 => {
            let file = find(volume, system)?;
            volume.replace_stream(&file, content, NOW).map(|_| Some(file))
        }
        1 => {
            let file = find(volume, r"\linked")?;
            volume.replace_stream(&file, content, NOW).map(|_| Some(file))
        }
        2 => {
            let folder = find(volume, r"\many")?;
            let name = "a new file with a name of some length, so that a block is split.txt";
            volume.create_file(&folder, name, content, Security::SameAs(&folder), NOW).map(|(file, _)| Some(file))
        }
        3 => {
            let root = find(volume, "")?;
            volume.create_dir(&root, "new", Security::SameAs(&root), NOW).map(|_| None)
        }
        4 => {
            let folder = find(volume, r"\many")?;
            volume.delete(&folder, "file_00017_with_some_long_name.dll", NOW).map(|_| None)
        }
        5 => {
            let folder = find(volume, r"\Windows\System32\config")?;
            volume.delete(&folder, "system", NOW).map(|_| None)
        }
        _ => {
            let mut descriptor = vec![1, 0, 0, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            descriptor.extend([1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0].repeat(2));
            let file = find(volume, r"\resident")?;
            volume.set_security(&file, &descriptor, NOW).map(|_| None)
        }
    })
}

/// Returns the places of records in use and index blocks, and the boot sector.
fn structures(image: &[u8]) -> Vec<usize> {
    let mut sectors = vec![0];
    for at in (0..image.len() - 4096).step_by(512) {
        if image[at..].starts_with(b"FILE\x30\0") && image[at + 0x16] & 1 == 1 {
            sectors.push(at);
        } else if image[at..].starts_with(b"INDX\x28\0") {
            sectors.extend((at..at + 4096).step_by(512));
        }
    }
    sectors
}

#[test]
fn no_damage_makes_a_change_panic_hang_or_write_when_it_refuses() {
    let shape = Shape { mebibytes: 4, ..SHAPES[0] };
    let Some(made) = make(shape, |tree| one_of_each(tree, 60)) else { return };
    let image = fs::read(&made.path).unwrap();
    let content = noise(5, 40_000);
    let sectors = structures(&image);
    let mft = u64::from_le_bytes(image[0x30..0x38].try_into().unwrap()) as usize * 512;
    let first: Vec<usize> = (mft..mft + 12 * 1024).step_by(512).chain([0]).collect();
    // $Bitmap and $MFT:$BITMAP lie somewhere: a change anywhere in the first megabyte meets them in time.
    let anywhere: Vec<usize> = (0..1 << 20).step_by(512).collect();
    let mut seeded = Seeded(31);
    let (mut done, mut refused, mut lost) = (0, 0, 0);
    for round in 0..2800u64 {
        let sectors = [&sectors, &first, &sectors, &anywhere][round as usize % 4];
        let mut bytes = image.clone();
        for _ in 0..=seeded.below(3) {
            let sector = sectors[seeded.below(sectors.len() as u64) as usize];
            let span = if seeded.below(2) == 0 { 0x60 } else { 0x1f8 };
            let at = sector + seeded.below(span) as usize;
            match seeded.below(4) {
                0 => bytes[at] ^= 1 << seeded.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][seeded.below(5) as usize],
                2 => bytes[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]),
                _ => bytes[at..at + 8].copy_from_slice(&seeded.next().to_le_bytes()),
            }
        }
        let start = Instant::now();
        let Ok(mut volume) = Volume::open(Memory(bytes)) else { continue };
        for which in [round as usize / 4 % CHANGES, seeded.below(CHANGES as u64) as usize] {
            let before = volume.device().0.clone();
            match change(&mut volume, which, &content) {
                None => lost += 1,
                Some(Err(error)) => {
                    assert!(error.kind() != Kind::Io, "round {round}: {error}");
                    assert!(volume.device().0 == before, "round {round}: {error}, and yet something was written");
                    refused += 1;
                }
                Some(Ok(file)) => {
                    if let Some(file) = file {
                        assert!(volume.read(&file, 1 << 20).unwrap() == content, "round {round}: change {which}");
                    }
                    done += 1;
                }
            }
        }
        if let Err(error) = Volume::open(volume.into_device()) {
            panic!("round {round}: {error}");
        }
        assert!(start.elapsed().as_secs() < 10, "round {round}: time");
    }
    assert!(done > 1000 && refused > 100, "{done} done, {refused} refused, {lost} lost");
}
