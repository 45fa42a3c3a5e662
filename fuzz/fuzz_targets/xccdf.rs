//! Read a benchmark, alone or in an archive, and make a catalog of it. Input: the file.
#![no_main]

use coldforge_base::Failure as _;
use coldforge::formats::zip;
use coldforge::policy::xccdf::{self, Imported};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match xccdf::read(input) {
        Ok(document) => {
            let imported = Imported::of(&document);
            assert_eq!(imported.catalog.rules.len(), document.rules.len());
            for rule in &imported.catalog.rules {
                assert_ne!(rule.checks.is_empty(), rule.not_reviewed.is_none());
            }
        }
        Err(error) => assert!(error.code().is_some() && error.hint().is_some()),
    }
    for entry in zip::entries(input).unwrap_or_default() {
        assert!(entry.read(1 << 20).is_ok_and(|bytes| bytes.len() <= 1 << 20) || entry.read(0).is_err());
    }
    // Any text may stand where a person is told what to check.
    let text = String::from_utf8_lossy(input);
    let _ = (xccdf::expect(&text), xccdf::applies("T-MS-1", &text));
});
