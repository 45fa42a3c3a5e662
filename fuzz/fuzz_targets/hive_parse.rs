//! Parse a hive, read everything in it, verify it. Input: the hive file.
#![no_main]

mod guard;

use coldforge_regf::{Error, Hive};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    if let Err(Error::Checksum { .. } | Error::Dirty { .. }) = Hive::parse(bytes.clone()) {
        guard::clean(&mut bytes);
    }
    let Ok(hive) = Hive::parse(bytes.clone()) else { return };
    let mut names = Vec::new();
    for step in hive.walk() {
        let Ok((depth, key)) = step else { continue };
        names.truncate(depth.saturating_sub(1));
        names.push(key.name().to_string());
        let _ = (key.class().is_ok(), key.security().is_ok(), key.subkeys().map(Iterator::count).is_ok());
        for value in key.values().into_iter().flatten().flatten() {
            let name = value.name().to_string();
            let _ = (value.data().is_ok(), key.value(&name).is_ok());
        }
        let _ = hive.key(&names.join("\\")).is_ok();
    }
    let text: String = hive.verify().iter().map(ToString::to_string).collect();
    assert!(text.is_ascii());
    assert!(hive.bytes() == bytes && hive.touched().is_empty(), "reading changes nothing");
});
