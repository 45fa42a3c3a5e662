//! Read the version of an executable file. Input: the file.
#![no_main]

use coldforge::formats::version_resource;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = version_resource::of(input);
});
