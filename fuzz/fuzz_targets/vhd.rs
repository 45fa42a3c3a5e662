//! Open a VHD. Input: the file; footer, copy and header get their checksums.
#![no_main]

mod container;

use std::sync::LazyLock;

use coldforge_disk::Format;
use container::{Scratch, survey};
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("vhd"));

/// Writes the ones' complement of the sum of a structure's bytes.
fn seal(structure: &mut [u8], field: usize) {
    structure[field..field + 4].fill(0);
    let sum = !structure.iter().fold(0u32, |sum, byte| sum.wrapping_add((*byte).into()));
    structure[field..field + 4].copy_from_slice(&sum.to_be_bytes());
}

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    if bytes.len() >= 2048 {
        let end = bytes.len() - 512;
        seal(&mut bytes[end..], 64);
        let footer = bytes[end..].to_vec();
        bytes[..512].copy_from_slice(&footer);
        seal(&mut bytes[512..1536], 36);
    }
    FILE.fill(&bytes);
    for format in [Format::VhdFixed, Format::VhdDynamic, Format::VhdDelta] {
        survey(&FILE, format);
    }
});
