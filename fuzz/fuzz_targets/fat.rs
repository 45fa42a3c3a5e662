//! Read an EFI system partition. Input: a volume; its first copy of the table is made like the second, which a mutation
//! would else never get past.
#![no_main]

use coldforge_base::device::Memory;
use coldforge::windows::fat::{Entry, Volume};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut disk = input.to_vec();
    if disk.len() > 64 && disk[16] == 2 {
        let word = |at: usize| usize::from(u16::from_le_bytes([disk[at], disk[at + 1]]));
        let (sector, reserved) = (word(11), word(14));
        let sectors = match word(22) {
            0 => u32::from_le_bytes([disk[36], disk[37], disk[38], disk[39]]) as usize,
            sectors => sectors,
        };
        let (first, length) = (reserved.saturating_mul(sector), sectors.saturating_mul(sector));
        let second = first.saturating_add(length);
        if second.checked_add(length).is_some_and(|end| end <= disk.len()) {
            disk.copy_within(first..second, second);
        }
    }
    let size = disk.len() as u64;
    let Ok(volume) = Volume::open(Memory(disk)) else { return };
    let look = |entry: &Entry| match volume.read(entry, 1 << 20) {
        Ok(bytes) => assert!(bytes.len() as u64 <= size),
        Err(_) => {
            let _ = volume.list(entry);
        }
    };
    for entry in volume.root().unwrap_or_default().iter().take(64) {
        look(entry);
    }
    for path in [r"\EFI\Microsoft\Boot\bootmgfw.efi", r"\EFI\Boot\bootx64.efi", r"\EFI\Microsoft\Boot\BCD"] {
        if let Ok(Some(entry)) = volume.find(path) {
            look(&entry);
        }
    }
});
