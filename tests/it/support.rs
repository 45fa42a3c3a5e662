//! What tests of the command line share: the built binary, and copies of fixtures.
#![allow(dead_code, unused_imports, reason = "each subject uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;

pub use coldforge_oracles::*;

/// Returns the pages of the documentation: those at the root, those of `docs/`, and the README of each crate.
pub fn pages() -> Vec<PathBuf> {
    let listed = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).expect("the folder is there");
        entries.map(|entry| entry.expect("the entry is read").path()).collect::<Vec<_>>()
    };
    let crates = listed("crates").into_iter().map(|folder| folder.join("README.md"));
    let mut pages: Vec<_> = listed("").into_iter().chain(listed("docs")).chain(crates).collect();
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    pages.sort();
    pages
}

/// How many rules of the hardened fixture stay open: they need certificates, new names for two accounts, and Windows to
/// remove a feature.
pub const BEYOND: u64 = 6;
/// How many do in images around real hives: four more are about permissions of folders and of a file, two about features.
pub const BEYOND_REAL: u64 = 12;

/// What the built binary answered.
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// What it printed on stdout.
    pub out: String,
    /// What it printed on stderr.
    pub err: String,
}

impl Answer {
    /// Parses stdout as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// Demands an exit code, and shows everything if it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// The moment of all runs in tests: 2026-01-01T00:00:00Z.
pub const EPOCH: &str = "1767225600";

/// Runs the built binary at a fixed moment.
pub fn coldforge<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Answer {
    coldforge_with(arguments, &[])
}

/// Runs the built binary at a fixed moment, with variables in its environment.
pub fn coldforge_with<S: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    variables: &[(&str, &str)],
) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_coldforge"))
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .envs(variables.iter().copied())
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Answer { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Copies a fixture into a folder of the test's own and returns the copy.
pub fn copy_of(name: &str, folder: &Path) -> PathBuf {
    let copy = folder.join(Path::new(name).file_name().expect("a fixture has a name"));
    std::fs::copy(fixture(name), &copy).expect("a fixture can be copied");
    copy
}
