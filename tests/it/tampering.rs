//! A changed byte in any file of a bundle is found.

use std::path::{Path, PathBuf};

use coldforge::audit::PublicKey;
use coldforge::base::progress::Silent;
use coldforge::pipeline::{Given, verify};

use crate::support::{Seeded, coldforge_with, fixture, text};

/// A key of no worth, made by `minisign -G -W`.
const SECRET: &str = "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA5H7yTXY/6CSn1KcNng6em0VeOPGWuJEA6X8ZOKuL\
    ZzRe7KmjdV8EEToK3fHb1Em5TuZXVioafXvTUwe4Qma1nh5FvL3iSbaKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const PUBLIC: &str = "RWTkfvJNdj/oJDoK3fHb1Em5TuZXVioafXvTUwe4Qma1nh5FvL3iSbaK";
/// The first line of a signature, which minisign's format covers by nothing.
const UNTRUSTED: std::ops::Range<usize> = 19..53;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Tells whether a bundle is found to be wrong.
fn found(bundle: &Path, key: Option<PublicKey>) -> bool {
    let given = Given { public_key: key, ..Given::default() };
    verify(bundle, given, &Silent).map_or(true, |proof| !proof.problems.is_empty())
}

#[test]
fn a_changed_byte_in_any_file_of_a_bundle_is_found() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let image = fixture("ws2022.vhd");
    let arguments = ["harden", text(&image), "-o", text(&out), "--fail-on", "none", "--sign", "env:KEY"];
    coldforge_with(arguments, &[("KEY", SECRET)]).expect(0);
    let key = PublicKey::parse(PUBLIC).ok();
    assert!(!found(&out, None) && !found(&out, key));
    let mut random = Seeded(8);
    let all = files(&out);
    assert_eq!(all.len(), 30, "{all:?}");
    for file in &all {
        let whole = std::fs::read(file).unwrap();
        let edges = [0, whole.len() - 1];
        let inside: Vec<usize> = (0..8).map(|_| usize::try_from(random.below(whole.len() as u64)).unwrap()).collect();
        for at in edges.into_iter().chain(inside) {
            let signature = file.ends_with("SHA256SUMS.minisig");
            if signature && UNTRUSTED.contains(&at) {
                continue;
            }
            let mut damaged = whole.clone();
            damaged[at] ^= 1 + u8::try_from(random.below(255)).unwrap();
            std::fs::write(file, &damaged).unwrap();
            // Only the key can tell what is wrong with its own signature.
            assert!(found(&out, if signature { key } else { None }), "byte {at} of {}", file.display());
        }
        std::fs::write(file, &whole).unwrap();
        // So is a byte more, and a byte less.
        for other in [&whole[..whole.len() - 1], &[&whole[..], b"\n"].concat()] {
            std::fs::write(file, other).unwrap();
            assert!(found(&out, key), "{} bytes of {}", other.len(), file.display());
        }
        std::fs::remove_file(file).unwrap();
        assert!(found(&out, key), "{} is missing", file.display());
        std::fs::write(file, &whole).unwrap();
    }
    assert!(!found(&out, key), "all is as it was");
}
