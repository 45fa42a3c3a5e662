//! Mutation test of the verifier: corruptions that somebody else's planter makes, each of which must be found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use coldforge_base::device::Memory;
use coldforge_base::progress::Silent;
use coldforge_ntfs::Volume;
use coldforge_ntfs::verify::{Check, Report, Severity};

use crate::support::{ask, oracle, shared, text};

/// Makes a volume with one of each shape of file, plants each corruption in turn and takes it back.
///
/// Prints a line a case: its name, then offset and bytes in hex of each write, or `-` where the case does not apply.
const DRIVER: &str = r#"
import os, subprocess, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import ntfs_check, ntfs_plant
run = subprocess.run
def run_or_do(command, **options):
    # What `setfattr -h -n NAME -v HEX FILE` does, which is rarely installed.
    if command[0] != 'setfattr':
        return run(command, **options)
    os.setxattr(command[6], command[3], bytes.fromhex(command[5][2:]), follow_symlinks=False)
subprocess.run = run_or_do
path, size, cluster, sector = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
assert ntfs_check.make_fixture(path, size, cluster, sector), 'the volume could not be filled'
for case, (plant, _) in ntfs_plant.CASES.items():
    volume = ntfs_plant.Vol(path)
    try:
        plant(volume)
        writes = {at: bytes(volume.rd(at, len(old))).hex() for at, old in volume.log}
        print(case, *(f'{at} {new}' for at, new in writes.items()))
    except ntfs_plant.NotApplicable as reason:
        print(case, '-')
    volume.undo()
"#;

/// Cases that are states of a healthy volume.
const WARNINGS: [&str; 4] = ["volume-dirty", "log-unclean", "log-fast-startup", "index-hardlink-size"];

/// What a case writes, and where.
type Writes = Vec<(usize, Vec<u8>)>;

fn planted(size: &str, cluster: u64, sector: u64) -> Option<(Memory, BTreeMap<String, Writes>)> {
    let check = shared()?.join("check");
    for tool in ["mkntfs", "ntfs-3g", "fuser"] {
        if !oracle(tool) {
            return None;
        }
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("volume");
    let (cluster, sector) = (cluster.to_string(), sector.to_string());
    let done = ask("python3", &["-c", DRIVER, text(&check), text(&path), size, &cluster, &sector]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let mut cases = BTreeMap::new();
    for line in String::from_utf8(done.stdout).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let writes = words[1..].chunks_exact(2).map(|pair| (pair[0].parse().unwrap(), bytes(pair[1]))).collect();
        cases.insert(words[0].to_owned(), writes);
    }
    Some((Memory(read(&path)), cases))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// Swaps bytes of the device with those of `writes`.
fn swap(memory: &mut Memory, writes: &mut [(usize, Vec<u8>)]) {
    for (at, bytes) in writes {
        memory.0[*at..*at + bytes.len()].swap_with_slice(bytes);
    }
}

/// Returns the report, or why the volume does not even open.
fn verified(memory: &Memory, check: Check<'_>) -> Result<Report, String> {
    let volume = Volume::open(memory).map_err(|error| error.to_string())?;
    Ok(volume.verify(check, &Silent).unwrap())
}

fn finds_every_case(size: &str, cluster: u64, sector: u64, inapplicable: &[&str]) {
    let Some((mut memory, cases)) = planted(size, cluster, sector) else { return };
    let before = verified(&memory, Check::Full).unwrap();
    assert!(before.findings.is_empty(), "{:#?}", before.findings.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(before.records > 1000 && before.files > 1000 && before.directories > 5, "{before:?}");
    let (mut missed, mut left) = (Vec::new(), Vec::new());
    for (case, mut writes) in cases.clone() {
        if writes.is_empty() {
            left.push(case);
            continue;
        }
        swap(&mut memory, &mut writes);
        match verified(&memory, Check::Full) {
            Err(error) => eprintln!("{case:24} does not open: {error}"),
            Ok(report) => {
                let grown = report.grown_from(&before);
                for finding in grown.iter().take(4) {
                    eprintln!("{case:24} {finding}");
                }
                let counts = |severity| severity == Severity::Error || WARNINGS.contains(&case.as_str());
                if !grown.iter().any(|finding| counts(finding.severity())) {
                    missed.push(case);
                }
            }
        }
        writes.reverse();
        swap(&mut memory, &mut writes);
    }
    assert!(missed.is_empty(), "of {} cases were missed: {missed:?}", cases.len());
    assert_eq!(left, inapplicable, "of {} cases", cases.len());
    assert_eq!(verified(&memory, Check::Full).unwrap().findings, [], "everything was taken back");
}

#[test]
fn every_planted_corruption_is_found() {
    finds_every_case("40M", 4096, 512, &[]);
}

#[test]
fn every_planted_corruption_is_found_on_disks_of_4096_byte_sectors() {
    // Records of 4096 bytes hold so many runs that no file needs an attribute list.
    let lists = ["extension-base", "extension-vcn", "list-id", "list-length", "list-missing", "list-record"];
    let more = ["list-sequence", "list-unsorted", "list-vcn"];
    finds_every_case("40M", 4096, 4096, &[&lists[..], &more].concat());
}
