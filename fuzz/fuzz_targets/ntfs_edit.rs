//! Open a volume and change it: a change that is refused writes nothing, and one that succeeds can be read back.
//!
//! Input: the number of changes, six bytes for each, then the bytes of a volume, whose update sequence marks are made
//! right so that a change of them gets past.
#![no_main]

mod marks;

use coldforge_base::time::FileTime;
use coldforge_base::{Failure as _, Kind};
use coldforge_base::device::Memory;
use coldforge_ntfs::{File, Security, Volume};
use libfuzzer_sys::fuzz_target;

const CHANGE_BYTES: usize = 6;
const NAMES: [&str; 6] = ["new", "FILE.TXT", "Жук", "a name that is longer than the others of this list", "0", "zz"];

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((changes, image)) = rest.split_at_checked(usize::from(*count % 8) * CHANGE_BYTES) else { return };
    let mut bytes = image.to_vec();
    marks::mend(&mut bytes);
    let Ok(mut volume) = Volume::open(Memory(bytes)) else { return };
    for change in changes.chunks_exact(CHANGE_BYTES) {
        let before = volume.device().0.clone();
        if !apply(&mut volume, change) {
            assert!(volume.device().0 == before, "a change that is refused writes nothing");
        }
    }
});

/// Makes one change; tells whether it succeeded.
fn apply(volume: &mut Volume<Memory>, change: &[u8]) -> bool {
    let [what, which, name, fill, low, high] = *change else { return true };
    let now = FileTime(u64::from(fill) << 40);
    let content = vec![fill; usize::from(u16::from_le_bytes([low, high]))];
    let name = NAMES[usize::from(name) % NAMES.len()];
    let Some((folder, file, own)) = pick(volume, usize::from(which)) else { return true };
    let answer = match what % 5 {
        0 => volume.replace_stream(&file, &content, now).map(|_| Some((file, content))),
        1 => volume
            .create_file(&folder, name, &content, Security::SameAs(&file), now)
            .map(|(file, _)| Some((file, content))),
        2 => volume.create_dir(&folder, name, Security::SameAs(&folder), now).map(|_| None),
        3 => volume.delete(&folder, &own, now).map(|_| None),
        _ => volume.set_security(&file, &descriptor(fill), now).map(|_| None),
    };
    match answer {
        Ok(Some((file, content))) => {
            assert!(volume.read(&file, 1 << 20).expect("what was written can be read") == content);
            true
        }
        Ok(None) => true,
        Err(error) => {
            assert!(error.kind() != Kind::Io, "{error}");
            false
        }
    }
}

/// Returns the `which`th entry of the volume, with its folder and its name.
fn pick(volume: &Volume<Memory>, which: usize) -> Option<(File, File, String)> {
    let mut folder = volume.find("").ok()??;
    let mut left = which;
    for _ in 0..4 {
        let entries = volume.list(&folder).ok()?;
        let entry = entries.get(left % entries.len().max(1))?;
        let file = volume.file(entry.reference).ok()?;
        left /= entries.len().max(1);
        if !file.is_directory() || left == 0 {
            return Some((folder, file, entry.name.clone()));
        }
        folder = file;
    }
    None
}

/// Returns a small self-relative descriptor: owner and group, and no list.
fn descriptor(fill: u8) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([1, 1, 0, 0, 0, 0, 0, 5, fill, 0, 0, 0].repeat(2));
    bytes
}
