//! What strangers say of a volume that was written: the shared checker, ntfs-3g's tools, and checkdisk.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::made::Made;
use crate::support::{Mounted, ask, oracle, shared};

/// Returns what the shared checker finds, its summary apart; `None`, said aloud, where it is not there.
pub fn findings(path: &Path) -> Option<String> {
    let script = shared()?.join("check/ntfs_check.py");
    let answer = ask("python3", &[script.to_str().unwrap(), path.to_str().unwrap(), "--strict"]);
    assert!(answer.status.code().is_some_and(|code| code < 2), "{answer:?}");
    let text = String::from_utf8(answer.stdout).unwrap();
    let is_finding = |line: &&str| line.starts_with("ERROR") || line.starts_with("WARNING");
    Some(text.lines().filter(is_finding).collect::<Vec<_>>().join("\n"))
}

/// Demands that every tool calls a volume clean; a full volume is none that ntfsresize checks.
#[track_caller]
pub fn agree(path: &Path, what: &str) {
    if let Some(found) = findings(path) {
        assert_eq!(found, "", "{what}: ntfs_check.py");
    }
    let place = path.to_str().unwrap();
    if oracle("ntfsresize") {
        let answer = ask("ntfsresize", &["-i", "-f", place]);
        let said = String::from_utf8_lossy(&answer.stdout).into_owned() + &String::from_utf8_lossy(&answer.stderr);
        let is_full = said.contains("is full");
        assert!(answer.status.success() || is_full, "{what}: ntfsresize\n{said}");
    }
    if oracle("ntfsfix") {
        let answer = ask("ntfsfix", &["-n", place]);
        let said = String::from_utf8_lossy(&answer.stdout);
        assert!(answer.status.success() && !said.contains("FAILED"), "{what}: ntfsfix\n{said}");
    }
    if oracle("ntfssecaudit") {
        let answer = ask("ntfssecaudit", &["-a", place]);
        let said = String::from_utf8_lossy(&answer.stdout).into_owned() + &String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success() && said.contains("No errors were found"), "{what}: ntfssecaudit\n{said}");
    }
    if let Some(checkdisk) = checkdisk() {
        let answer = Command::new(checkdisk).args(["fix", place]).output().unwrap();
        let said = String::from_utf8_lossy(&answer.stdout);
        // It counts records behind the end of $MFT's data, in clusters that are only set aside.
        let is_known = |line: &&str| line.contains("$BITMAP covers") && line.contains("report-only");
        let faults: Vec<_> = said.lines().filter(|line| line.starts_with('!') && !is_known(line)).collect();
        let is_clean = answer.status.success() || said.contains("$BITMAP covers");
        assert!(is_clean && faults.is_empty(), "{what}: checkdisk\n{said}{}", String::from_utf8_lossy(&answer.stderr));
    }
}

/// Demands the same, and that a mount shows the files that are remembered.
#[track_caller]
pub fn agree_with(made: &Made, what: &str) {
    agree(&made.path, what);
    made.assert_mount_agrees();
}

/// Returns where PyPI's checkdisk is: it needs a Python that few systems have, so it is named by a variable.
fn checkdisk() -> Option<std::ffi::OsString> {
    let found = std::env::var_os("COLDFORGE_CHECKDISK");
    if found.is_none() {
        eprintln!("SKIPPED: COLDFORGE_CHECKDISK names no checkdisk");
    }
    found
}

/// Reads a volume through a mount of ntfs-3g: path with `/` -> digest of the content (none for a folder) and security
/// descriptor.
pub fn seen_through_a_mount(path: &Path) -> Option<BTreeMap<String, (String, Vec<u8>)>> {
    const SCRIPT: &str = r#"
import ctypes, hashlib, os, sys
top = sys.argv[1]
libc = ctypes.CDLL(None)
# os.getxattr first asks with a small buffer, to which ntfs-3g gives an answer that the kernel does not take.
room = ctypes.create_string_buffer(65536)
def attribute(place):
    length = libc.getxattr(os.fsencode(place), b'system.ntfs_acl', room, len(room))
    assert length > 0, place
    return room.raw[:length].hex()
for folder, folders, files in os.walk(top):
    for name in folders + files:
        place = os.path.join(folder, name)
        acl = attribute(place)
        digest = '-' if name in folders else hashlib.sha256(open(place, 'rb').read()).hexdigest()
        print(digest, acl, place[len(top):])
"#;
    if !oracle("ntfs-3g") || !oracle("python3") {
        return None;
    }
    let mount = Mounted::of(path, "ro,permissions");
    let answer = ask("python3", &["-X", "utf8", "-c", SCRIPT, mount.join("").to_str().unwrap().trim_end_matches('/')]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let text = String::from_utf8(answer.stdout).unwrap();
    let line = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let (digest, acl, path) = (parts.next()?, parts.next()?, parts.next()?);
        let acl = (0..acl.len()).step_by(2).map(|at| u8::from_str_radix(&acl[at..at + 2], 16).unwrap()).collect();
        Some((path.to_owned(), (digest.trim_matches('-').to_owned(), acl)))
    };
    Some(text.lines().filter_map(line).collect())
}
