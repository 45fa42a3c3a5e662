//! What the tests of every crate share: fixtures, the shared corpus, and tools that this project did not write (oracles).
//!
//! A test whose oracle is missing is skipped; where `CI` is set it fails. When the tests of a binary end, the oracles that
//! were missing are counted and named.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are parts of tests"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, Once, PoisonError};

/// Returns the path of a file below `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    root().join("fixtures").join(name)
}

/// Returns the root of the repository.
///
/// # Panics
/// If this package does not lie in it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the package lies in tests/oracles")
}

/// Returns the folder of what was built: the one with the validators and the unpacked corpus in it.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a test has a program");
    // target/debug/deps/it-0123456789abcdef
    program.ancestors().nth(3).expect("the program of a test lies in target").to_owned()
}

/// Tells whether this run is CI's, where a missing oracle is a failure.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// The oracles that were missing so far.
static MISSING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Says aloud that a test is skipped, and counts its oracle; in CI the test fails instead.
fn missing(what: &str) {
    assert!(!in_ci(), "{what} is missing, and CI must have it");
    skip(what);
}

/// Says aloud that a test is skipped, and counts its oracle, which CI need not have.
fn skip(what: &str) {
    static AT_EXIT: Once = Once::new();
    AT_EXIT.call_once(count_at_exit);
    eprintln!("SKIPPED: {what} is missing");
    MISSING.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned());
}

/// Has the missing oracles counted when the process ends: the harness of tests has no place for it, and shows what tests
/// print only where they fail.
#[allow(unsafe_code, reason = "the standard library has no way to run something at the end of a process")]
fn count_at_exit() {
    unsafe extern "C" {
        fn atexit(run: extern "C" fn()) -> std::ffi::c_int;
    }
    extern "C" fn count() {
        let missing = MISSING.lock().unwrap_or_else(PoisonError::into_inner);
        let names = missing.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let oracles = if missing.len() == 1 { "oracle" } else { "oracles" };
        // Written to the stream itself, since what is printed may be captured.
        let _ = writeln!(std::io::stderr(), "\n{} {oracles} missing: {names}", missing.len());
    }
    // SAFETY: the function takes a pointer to a function of this program, which stays valid until the process ends.
    unsafe { atexit(count) };
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
    skip("the shared folder");
    None
}

/// Returns the folder with the validators that come from a package registry (`target/validators`), if `part` is in it;
/// says aloud if not, and fails in CI, which installs them.
pub fn validators(part: &str) -> Option<PathBuf> {
    let folder = target().join("validators");
    if folder.join(part).exists() {
        return Some(folder);
    }
    missing(part);
    None
}

/// Returns the Python of `target/validators` if it can import these modules; says aloud if not, and fails in CI.
pub fn python_with(modules: &str) -> Option<PathBuf> {
    let python = target().join("validators/bin/python");
    let imported = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if imported.is_ok_and(|imported| imported.status.success()) {
        return Some(python);
    }
    missing(&format!("a Python with {modules} (a venv in target/validators)"));
    None
}

/// Unpacks the shared corpus's files whose names match `pattern` (an extended regular expression, such as
/// `^hives/yarp__`) into a folder that all tests share, and returns that folder.
pub fn corpus(pattern: &str) -> Option<PathBuf> {
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let script = shared()?.join("corpus/unpack.sh");
    let _one_at_a_time = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = target().join("tmp/corpus");
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

/// Returns the Python that has the AWS CLI and parliament beside it: `.ci/run` makes it; says aloud if there is none, and
/// fails in CI. `COLDFORGE_AWS_PYTHON` names another one.
pub fn python_of_aws() -> Option<PathBuf> {
    let made = root().join("target/aws-venv/bin/python");
    let python = std::env::var_os("COLDFORGE_AWS_PYTHON").map_or(made, PathBuf::from);
    let is_whole = ["aws", "parliament"].iter().all(|tool| python.with_file_name(tool).is_file());
    if !is_whole {
        missing("the AWS CLI with parliament (a venv in target/aws-venv)");
    }
    is_whole.then_some(python)
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
    #[allow(clippy::should_implement_trait, reason = "the numbers do not end")]
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

/// Returns the lower-case hex SHA-256 of a file.
pub fn sha256(path: &Path) -> String {
    let done = ask("sha256sum", &[text(path)]);
    String::from_utf8_lossy(&done.stdout).split_whitespace().next().expect("sha256sum prints a digest").to_owned()
}

/// A Windows-like image around real hives.
pub struct RealImage {
    /// The image file.
    pub path: PathBuf,
    /// Where its NTFS volume begins on the disk, in bytes.
    pub offset: u64,
    /// The length of that volume in bytes.
    pub length: u64,
}

/// Makes a Windows-like image around real hives with the shared image maker; `None`, said aloud, where it is not there.
pub fn real_image(folder: &Path, name: &str, options: &[&str]) -> Option<RealImage> {
    const HIVES: &str = "^hives/(regipy__SYSTEM_B|dfwinreg__SOFTWARE|velociraptor__SAM|regipy__SECURITY|dfwinreg__NTUSER.DAT|regipy__BCD)";
    let maker = shared()?.join("check/make_image.py");
    for tool in ["mkntfs", "ntfs-3g", "hivexregedit", "sfdisk", "qemu-img"] {
        if !oracle(tool) {
            return None;
        }
    }
    let hives = corpus(HIVES)?;
    let path = folder.join(name);
    let mut arguments = vec![text(&maker), text(&path), "--corpus", text(&hives)];
    arguments.extend_from_slice(options);
    let done = ask("python3", &arguments);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let made: serde_json::Value = serde_json::from_str(&said).expect("the maker prints one JSON object");
    let number = |member: &str| made[member].as_u64().expect("the maker names the volume");
    Some(RealImage { path, offset: number("ntfs_offset"), length: number("ntfs_bytes") })
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
