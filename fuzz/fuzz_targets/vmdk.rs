//! Open a VMDK. Input: the file, a sparse one or a descriptor.
#![no_main]

mod container;

use std::sync::LazyLock;

use coldforge_disk::Format;
use container::{Scratch, survey};
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("vmdk"));

fuzz_target!(|input: &[u8]| {
    FILE.fill(input);
    survey(&FILE, Format::Vmdk);
});
