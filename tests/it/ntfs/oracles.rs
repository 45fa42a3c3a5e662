//! What strangers say of a volume that was written: the shared checker, ntfs-3g's tools, and checkdisk.

use std::path::Path;
use std::process::Command;

use super::made::Made;
use crate::support::{ask, oracle, shared};

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
        assert!(answer.status.success(), "{what}: checkdisk\n{said}{}", String::from_utf8_lossy(&answer.stderr));
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
