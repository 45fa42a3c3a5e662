//! Replay the log of a VHDX. Input: the first bytes of the ring; entries get their checksums.
#![no_main]

mod container;

use std::os::unix::fs::FileExt as _;
use std::sync::LazyLock;

use coldforge_disk::Format;
use container::{Scratch, seal, survey};
use libfuzzer_sys::fuzz_target;

/// A disk whose header says that there is a log, by the id of sixteen sevens.
static FILE: LazyLock<Scratch> = LazyLock::new(|| {
    let made = Scratch::with("vhdx-log", Format::VhdxDynamic);
    let mut header = vec![0; 4096];
    made.file.read_exact_at(&mut header, 128 << 10).expect("bytes");
    header[48..64].fill(7);
    seal(&mut header);
    made.put(128 << 10, &header);
    made
});

fuzz_target!(|input: &[u8]| {
    let mut ring = input[..input.len().min(1 << 20)].to_vec();
    let mut at = 0;
    while let Some(head) = ring.get(at..at + 64).filter(|head| head.starts_with(b"loge")) {
        let length = u32::from_le_bytes(head[8..12].try_into().expect("four bytes")) as usize;
        let Some(entry) = ring.get_mut(at..at.saturating_add(length)).filter(|entry| entry.len() >= 64) else { break };
        seal(entry);
        at += length;
    }
    let before = FILE.put(1 << 20, &ring);
    survey(&FILE, Format::VhdxDynamic);
    FILE.put(before.0, &before.1);
});
