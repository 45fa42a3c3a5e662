//! Read a partition table. Input: the disk; a GPT header at either sector size gets its checksums.
#![no_main]

use coldforge_base::device::Memory;
use libfuzzer_sys::fuzz_target;

/// CRC-32 as GPT has it: polynomial 0x04C11DB7, reflected.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fuzz_target!(|input: &[u8]| {
    let mut disk = input.to_vec();
    for sector in [512usize, 4096] {
        if disk.get(sector..sector + 8) != Some(b"EFI PART") || disk.len() < sector + 92 {
            continue;
        }
        let word = |at: usize| u32::from_le_bytes(disk[at..at + 4].try_into().expect("four bytes")) as usize;
        let entries_at = word(sector + 72).saturating_mul(sector);
        let entries_bytes = word(sector + 80).saturating_mul(word(sector + 84));
        let entries = disk.get(entries_at..entries_at.saturating_add(entries_bytes.min(1 << 20))).map(crc32);
        if let Some(sum) = entries {
            disk[sector + 88..sector + 92].copy_from_slice(&sum.to_le_bytes());
        }
        disk[sector + 16..sector + 20].fill(0);
        let sum = crc32(&disk[sector..sector + 92]);
        disk[sector + 16..sector + 20].copy_from_slice(&sum.to_le_bytes());
    }
    let size = disk.len() as u64;
    let memory = Memory(disk);
    if let Ok(table) = coldforge_disk::partition::scan(&memory) {
        for partition in &table.partitions {
            assert!(partition.start.0.checked_add(partition.length_bytes).is_some_and(|end| end <= size));
        }
    }
});
