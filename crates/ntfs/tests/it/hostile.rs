//! Damaged volumes: an answer or an error, in bounded time and memory, and never a panic.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use coldforge_base::device::Memory;
use coldforge_base::{Failure as _, FileOffset, Kind, ReadAt, WriteAt, device};
use coldforge_ntfs::{Error, Result, Volume};

use super::made::{Planter, SHAPES, Shape, in_pieces, make, one_of_each};
use crate::support::Seeded;

/// A view of a disk of which only the first `length` bytes exist; counts what is read, and forgets what is written.
struct Sieve<'a> {
    memory: &'a Memory,
    length: u64,
    read: AtomicU64,
}

impl<'a> Sieve<'a> {
    fn new(memory: &'a Memory, length: u64) -> Self {
        Self { memory, length, read: AtomicU64::new(0) }
    }
}

impl ReadAt for Sieve<'_> {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        device::check_range(at, buf.len(), self.length)?;
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.memory.read_at(at, buf)
    }
}

impl WriteAt for Sieve<'_> {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> device::Result<()> {
        device::check_range(at, buf.len(), self.length)
    }

    fn flush(&mut self) -> device::Result<()> {
        Ok(())
    }
}

/// The most that a file may have here.
const LIMIT: u64 = 1 << 22;

/// Does everything that can be done with a volume; answers how many bytes were read of the disk.
fn everything(device: Sieve<'_>) -> Result<u64> {
    let mut volume = Volume::open(device)?;
    let _ = volume.refusals();
    let _ = volume.warnings();
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    let mut todo: Vec<_> = volume.find("").into_iter().flatten().collect();
    while let Some(folder) = todo.pop() {
        for entry in volume.list(&folder).unwrap_or_default().into_iter().take(100) {
            let Ok(file) = volume.file(entry.reference) else { continue };
            if !seen.insert(entry.reference) {
                continue;
            }
            if file.is_directory() {
                todo.push(file);
            } else {
                let _ = volume.read(&file, LIMIT);
                let _ = volume.extents(&file, FileOffset(0), file.size());
                let _ = volume.extents(&file, FileOffset(file.size() / 2), 1);
                files.push(file);
            }
        }
    }
    for path in [r"\Windows\System32\config\SYSTEM", r"\many\file_00077_with_some_long_name.dll", r"\SOFTWARE"] {
        if let Ok(Some(file)) = volume.find(path) {
            let _ = volume.read(&file, LIMIT);
        }
    }
    for file in files.iter().step_by(7) {
        let at = FileOffset(file.size() / 3);
        let _ = volume.overwrite(file, at, b"overwritten");
    }
    Ok(volume.into_device().read.into_inner())
}

/// Runs [`everything`], and checks that an error is one of a volume and that no more was read than is fair.
fn survive(memory: &Memory, length: u64, fair: u64, what: &str) -> bool {
    let start = Instant::now();
    let answer = everything(Sieve::new(memory, length));
    assert!(start.elapsed().as_secs() < 20, "{what}: time");
    match answer {
        Ok(read) => {
            assert!(read <= fair, "{what}: {read:#x} bytes were read, {fair:#x} are fair");
            true
        }
        Err(error) => {
            assert!(matches!(error.kind(), Kind::Corrupt | Kind::Limit | Kind::Unsupported), "{what}: {error}");
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Returns the sectors that hold structures: file records, index blocks, the boot sector.
fn structures(image: &[u8]) -> Vec<usize> {
    let starts = |at: usize, magic: &[u8]| image[at..].starts_with(magic);
    let mut sectors = vec![0];
    for at in (0..image.len() - 4096).step_by(512) {
        if starts(at, b"FILE\x30\0") && image[at + 0x16] & 1 == 1 {
            sectors.push(at);
            sectors.push(at);
        } else if starts(at, b"INDX\x28\0") {
            sectors.extend((at..at + 4096).step_by(512));
        }
    }
    sectors
}

/// Changes one to four numbers of structures at a time, by a fixed seed, and lets the volume be used.
fn sweep(memory: &mut Memory, sectors: &[usize], rounds: u64, seed: u64, fair: u64) -> u64 {
    let mut seeded = Seeded(seed);
    let mut opened = 0;
    for round in 0..rounds {
        let mut undo = Vec::new();
        for _ in 0..=seeded.below(4) {
            let sector = sectors[seeded.below(sectors.len() as u64) as usize];
            // The header and the first attributes weigh more than what lies behind.
            let span = if seeded.below(2) == 0 { 0x60 } else { 0x1f8 };
            let at = sector + seeded.below(span) as usize;
            let old: [u8; 8] = memory.0[at..at + 8].try_into().unwrap();
            undo.push((at, old));
            match seeded.below(4) {
                0 => memory.0[at] ^= 1 << seeded.below(8),
                1 => memory.0[at] = [0, 1, 0x7f, 0x80, 0xff][seeded.below(5) as usize],
                2 => memory.0[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, [0x7f, 0xff][seeded.below(2) as usize]]),
                _ => memory.0[at..at + 8].copy_from_slice(&seeded.next().to_le_bytes()),
            }
        }
        let length = memory.len();
        opened += u64::from(survive(memory, length, fair, &format!("round {round}")));
        for (at, old) in undo.into_iter().rev() {
            memory.0[at..at + 8].copy_from_slice(&old);
        }
    }
    opened
}

const SMALL: Shape = Shape { mebibytes: 4, ..SHAPES[0] };

#[test]
fn no_change_of_the_structures_of_a_volume_does_harm() {
    let Some(made) = make(SMALL, |tree| one_of_each(tree, 60)) else { return };
    let mut memory = Memory(fs::read(&made.path).unwrap());
    let whole = everything(Sieve::new(&memory, memory.len())).unwrap();
    // A damaged size lets a file read as large as the limit, for each of a few numbers that are changed.
    let fair = whole * 2 + 16 * LIMIT;
    let sectors = structures(&memory.0);
    let opened = sweep(&mut memory, &sectors, 1500, 1, fair);
    assert!(opened > 700, "most rounds get past the opening: {opened}");
    // The same, aimed at what every volume needs: the first records and the root.
    let boot = u64::from_le_bytes(memory.0[0x30..0x38].try_into().unwrap()) as usize * 512;
    let first: Vec<usize> = (boot..boot + 12 * 1024).step_by(512).chain([0]).collect();
    let opened = sweep(&mut memory, &first, 1500, 2, fair);
    assert!(opened > 300, "many rounds get past the opening: {opened}");
    assert_eq!(everything(Sieve::new(&memory, memory.len())).unwrap(), whole, "every change was undone");
}

#[test]
fn no_change_of_attribute_lists_and_of_an_mft_in_pieces_does_harm() {
    let Some(made) = make(SHAPES[0], |tree| in_pieces(tree, 512)) else { return };
    let mut memory = Memory(fs::read(&made.path).unwrap());
    // The records that continue others, the ones that have lists, and whatever looks like a list of them.
    let word = |image: &[u8], at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let mut sectors = Vec::new();
    for at in (0..memory.0.len() - 1024).step_by(512) {
        let image = &memory.0;
        let is_record = image[at..].starts_with(b"FILE\x30\0") && image[at + 0x16] & 1 == 1;
        let has_list = is_record && image[at + 0x38..at + 0x100].chunks(8).any(|c| c[..5] == [0x20, 0, 0, 0, 0x48]);
        let continues = is_record && (word(image, at + 0x20) != 0 || word(image, at + 0x24) != 0);
        let is_list = image[at..].starts_with(&[0x10, 0, 0, 0, 0x20, 0, 0, 0x1a]);
        if has_list || continues || is_list {
            sectors.push(at);
        }
    }
    assert!(sectors.len() > 4, "{}", sectors.len());
    let length = memory.len();
    let whole = everything(Sieve::new(&memory, length)).unwrap();
    let opened = sweep(&mut memory, &sectors, 300, 3, whole * 2 + 16 * LIMIT);
    assert!(opened > 50, "{opened}");
}

#[test]
fn an_index_block_that_is_its_own_child_is_met_with_an_error() {
    let Some(made) = make(SMALL, |tree| one_of_each(tree, 60)) else { return };
    let image = fs::read(&made.path).unwrap();
    let planter = Planter::new(&made.path);
    let blocks = (0..image.len() - 4096).step_by(512).filter(|at| image[*at..].starts_with(b"INDX\x28\0"));
    let mut planted = 0;
    for at in blocks {
        planter.protected(at as u64, 4096, |block| {
            let vcn: [u8; 8] = block[0x10..0x18].try_into().unwrap();
            block[0x18..0x20].copy_from_slice(&[0x28, 0, 0, 0, 0x40, 0, 0, 0]);
            block[0x24] = 1;
            // One entry: the last, with the block itself as its child.
            block[0x40..0x58].fill(0);
            block[0x48] = 0x18;
            block[0x4c] = 3;
            block[0x50..0x58].copy_from_slice(&vcn);
        });
        planted += 1;
    }
    assert!(planted > 3, "{planted}");
    let volume = made.volume();
    let folder = volume.file(volume.find("").unwrap().unwrap().reference()).unwrap();
    assert!(matches!(volume.list(&folder), Err(Error::IndexLoop { directory: 5, .. })));
    assert!(matches!(volume.find(r"\many"), Err(Error::IndexLoop { directory: 5, .. })));
}

#[test]
fn a_volume_that_is_cut_off_anywhere_is_met_with_an_error_or_what_is_left() {
    let Some(made) = make(SMALL, |tree| one_of_each(tree, 60)) else { return };
    let memory = Memory(fs::read(&made.path).unwrap());
    let mut seeded = Seeded(4);
    for round in 0..300 {
        let length = if round < 60 { round * 512 } else { seeded.below(memory.len()) };
        survive(&memory, length, 1 << 30, &format!("cut at {length:#x}"));
    }
}
