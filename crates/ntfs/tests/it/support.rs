//! What the tests share: where fixtures and the shared corpus are, and how other tools are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Returns the root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns the path of a file below `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    root().join("fixtures").join(name)
}

/// Tells whether this run is CI's, where a missing oracle is a failure.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Says aloud that a test is skipped; in CI it fails instead.
fn missing(what: &str) {
    assert!(!in_ci(), "{what} is missing, and CI must have it");
    eprintln!("SKIPPED: {what} is missing");
}

/// Returns the folder of shared facts, checkers and real hives that stands beside a developer's checkout.
///
/// `None`, said aloud, elsewhere. `COLDFORGE_SHARED` names another place. In CI it is looked for as well, but is not
/// demanded: a clean clone of the project alone must pass too.
pub fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("COLDFORGE_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    if path.join("check").is_dir() {
        return Some(path.canonicalize().expect("an existing folder has a canonical path"));
    }
    eprintln!("SKIPPED: no shared folder at {}", path.display());
    None
}

/// Unpacks the shared corpus's files whose names match `pattern` (an extended regular expression, such as
/// `^hives/yarp__`) into a folder that all tests share, and returns that folder.
pub fn corpus(pattern: &str) -> Option<PathBuf> {
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let script = shared()?.join("corpus/unpack.sh");
    let _one_at_a_time = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus");
    let status = Command::new("bash").arg(script).arg(&folder).arg(pattern).status().expect("bash runs");
    assert!(status.success(), "the corpus unpacks and its digests agree");
    Some(folder)
}

/// Returns whether a foreign tool is installed; says aloud if not, and fails in CI.
pub fn oracle(tool: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|paths| {
        std::env::split_paths(&paths).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(tool).is_file())
    });
    if !found {
        missing(tool);
    }
    found
}

/// Runs a foreign tool and returns what it said, whatever its exit code.
pub fn ask(tool: &str, arguments: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new(tool)
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{tool} runs: {error}"))
}

/// A generator of repeatable pseudo-random numbers (SplitMix64): sweeps use fixed seeds.
pub struct Seeded(pub u64);

impl Seeded {
    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Converts an image to raw with qemu-img and returns the raw file.
pub fn to_raw(image: &Path, raw: &Path) {
    let format = if image.extension().is_some_and(|e| e == "vhd") { "vpc" } else { "raw" };
    let done = ask("qemu-img", &["convert", "-f", format, "-O", "raw", text(image), text(raw)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Returns a path as text; test paths are UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

/// Cuts a volume out of a raw image into a sparse file.
pub fn cut_volume(raw: &Path, offset: u64, length: u64, volume: &Path) {
    let (skip, count) = (format!("skip={offset}"), format!("count={length}"));
    let (from, to) = (format!("if={}", text(raw)), format!("of={}", text(volume)));
    let done =
        ask("dd", &[&from, &to, "bs=1M", &skip, &count, "iflag=skip_bytes,count_bytes", "conv=sparse", "status=none"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    std::fs::File::options().write(true).open(volume).unwrap().set_len(length).unwrap();
}

/// A volume mounted by ntfs-3g for as long as the value lives.
pub struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Mounts a volume file, with options such as `ro`.
    pub fn of(volume: &Path, options: &str) -> Self {
        let mount = tempfile::tempdir().expect("a folder");
        let done = ask("ntfs-3g", &["-o", options, text(volume), text(mount.path())]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self(mount)
    }

    /// Returns a path below the mount.
    pub fn join(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = ask("umount", &[text(self.0.path())]);
    }
}
