//! Recognise a file by its content: an OVF descriptor, text in any encoding, or none. Input: the file.
#![no_main]

mod container;

use std::sync::LazyLock;

use coldforge_disk::Image;
use container::Scratch;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("ovf"));

fuzz_target!(|input: &[u8]| {
    FILE.fill(input);
    if let Err(error) = Image::open(&FILE.path, None) {
        // What is said of it is spelled out, whatever the file holds.
        assert!(!error.to_string().chars().any(char::is_control));
    }
});
