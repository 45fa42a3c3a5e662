//! Open a VHDX whose structures are the input: 80 bytes of header, 112 of region table, 256 of metadata table, 64 of
//! metadata items, the rest block table. What stands under a checksum gets it.
#![no_main]

mod container;

use std::os::unix::fs::FileExt as _;
use std::sync::LazyLock;

use coldforge_disk::Format;
use container::{Scratch, seal, survey};
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<Scratch> = LazyLock::new(|| Scratch::with("vhdx", Format::VhdxDynamic));

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut before = Vec::new();
    for (at, length, sealed) in [
        (128 << 10, 80, 4096),
        (192 << 10, 112, 64 << 10),
        (2 << 20, 256, 0),
        ((2 << 20) + (64 << 10), 64, 0),
        (3 << 20, 4096, 0),
    ] {
        let (part, behind) = rest.split_at(rest.len().min(length));
        rest = behind;
        if part.is_empty() {
            continue;
        }
        let mut structure = vec![0; part.len().max(sealed)];
        FILE.file.read_exact_at(&mut structure, at).expect("bytes");
        structure[..part.len()].copy_from_slice(part);
        if sealed > 0 {
            seal(&mut structure);
        }
        before.push(FILE.put(at, &structure));
        if at == 192 << 10 {
            before.push(FILE.put(256 << 10, &structure));
        }
    }
    for format in [Format::VhdxDynamic, Format::VhdxDelta] {
        survey(&FILE, format);
    }
    for (at, bytes) in before.into_iter().rev() {
        FILE.put(at, &bytes);
    }
});
