//! Parse a hive and edit it: an edit is all or nothing, and a hive without errors gets none.
//!
//! Input: the number of edits, eight bytes for each, then the hive file. Up to 96 KiB of room are put behind it.
#![no_main]

mod guard;

use coldforge_base::time::FileTime;
use coldforge_regf::{Hive, Severity};
use libfuzzer_sys::fuzz_target;

const EDIT_LEN: usize = 8;
const NAMES: [&str; 8] = ["", "Number", "new", "Жук", "longer than any other name here", "é", "Text", "a"];

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let count = usize::from(*count % 9);
    let Some((edits, file)) = rest.split_at_checked(count * EDIT_LEN) else { return };
    let mut bytes = file.to_vec();
    guard::clean(&mut bytes);
    let room = edits.first().map_or(0, |byte| usize::from(*byte % 4) * 0x8000);
    bytes.resize(bytes.len() + room, 0);
    let Ok(mut hive) = Hive::parse(bytes) else { return };
    let sound = errors(&hive) == 0;
    for edit in edits.chunks_exact(EDIT_LEN) {
        let before = hive.bytes().to_vec();
        if !apply(&mut hive, edit) {
            assert!(hive.bytes() == before, "a failed edit changes nothing");
        }
        if sound {
            assert_eq!(errors(&hive), 0, "{:?}", hive.verify());
        }
    }
    hive.seal().expect("a parsed hive can be sealed");
    let again = Hive::parse(hive.bytes().to_vec()).expect("an edited hive can be parsed");
    assert_eq!(errors(&again), errors(&hive));
});

fn errors(hive: &Hive) -> usize {
    hive.verify().iter().filter(|finding| finding.severity == Severity::Error).count()
}

/// Makes one edit; tells whether it succeeded.
fn apply(hive: &mut Hive, edit: &[u8]) -> bool {
    let [what, key, child, name, kind, fill, low, high] = *edit else { return true };
    let now = FileTime(u64::from(fill) << 40);
    let name = NAMES[usize::from(name) % NAMES.len()];
    let mut path = path_of(hive, usize::from(key));
    if what & 0x10 != 0 {
        path = format!("{path}\\{}", NAMES[usize::from(child) % NAMES.len()]);
    }
    if what & 0x20 != 0 {
        path = format!("{path}\\k{child}");
    }
    let length = usize::from(u16::from_le_bytes([low, high]));
    match what % 4 {
        0 | 1 => hive.set_value(&path, name, kind.into(), &vec![fill; length], now).is_ok(),
        2 => hive.delete_value(&path, name, now).is_ok(),
        _ => hive.create_key(&path, now).is_ok(),
    }
}

/// Returns the path of the `number`th key of the hive, or the last.
fn path_of(hive: &Hive, number: usize) -> String {
    let mut names: Vec<String> = Vec::new();
    for (depth, key) in hive.walk().flatten().take(number + 1) {
        names.truncate(depth.saturating_sub(1));
        if depth > 0 {
            names.push(key.name().to_string());
        }
    }
    names.join("\\")
}
