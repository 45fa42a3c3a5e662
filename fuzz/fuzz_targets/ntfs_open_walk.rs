//! Open a volume, look at every reason not to write it, list its folders and read its files: an answer or an error.
//!
//! Input: the bytes of a volume, whose update sequence marks are made right so that a change gets past them.
#![no_main]

mod marks;

use std::collections::HashSet;

use coldforge_base::FileOffset;
use coldforge_base::device::Memory;
use coldforge_ntfs::Volume;
use libfuzzer_sys::fuzz_target;

/// The most of a file that is read.
const LIMIT: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    marks::mend(&mut bytes);
    let Ok(volume) = Volume::open(Memory(bytes)) else { return };
    let _ = volume.refusals();
    let _ = volume.warnings();
    let mut seen = HashSet::new();
    let mut todo: Vec<_> = volume.find("").into_iter().flatten().collect();
    while let Some(folder) = todo.pop() {
        for entry in volume.list(&folder).unwrap_or_default().into_iter().take(50) {
            if !seen.insert(entry.reference) {
                continue;
            }
            let Ok(file) = volume.file(entry.reference) else { continue };
            if file.is_directory() {
                todo.push(file);
            } else {
                let _ = volume.read(&file, LIMIT);
                let _ = volume.extents(&file, FileOffset(file.size() / 2), 1);
            }
        }
    }
});
