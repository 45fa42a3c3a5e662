//! Read certificates as people keep them, and as the registry does. Input: the file, or the value.
#![no_main]

use coldforge::windows::certificates::blob::Blob;
use coldforge::windows::certificates::input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(blob) = Blob::parse(input) {
        assert_eq!(blob.to_bytes(), input);
    }
    for certificate in input::parse(input).unwrap_or_default() {
        let blob = certificate.blob();
        assert_eq!(Blob::parse(&blob.to_bytes()), Ok(blob));
    }
});
