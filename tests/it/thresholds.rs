//! `--threshold`: the counts that a pipeline is content with.

use std::path::Path;

use crate::support::{coldforge, fixture, text};

fn file(folder: &Path, content: &str) -> String {
    let path = folder.join("threshold.yml");
    std::fs::write(&path, content).unwrap();
    text(&path).to_owned()
}

#[test]
fn a_threshold_decides_for_scan_harden_and_verify() {
    let home = tempfile::tempdir().unwrap();
    let image = fixture("ws2022.vhd");
    let (image, out) = (text(&image), home.path().join("out"));
    let threshold = file(home.path(), "compliance:\n  min: 70\nfailed:\n  high:\n    max: 0\n");
    let before = coldforge(["scan", image, "--threshold", &threshold]).expect(1);
    assert!(before.err.contains("threshold: failed.high.max: 7 rules (") && before.err.contains("compliance.min: "));
    // Rules of lower severity are open, which a threshold that allows them does not mind.
    let after = coldforge(["harden", image, "-o", text(&out), "--threshold", &threshold]).expect(0);
    assert!(!after.err.contains("threshold"), "{}", after.err);
    coldforge(["verify", text(&out), "--threshold", &threshold]).expect(0);
    let strict = file(home.path(), "{\"failed\": {\"total\": {\"max\": 0}}}");
    let answer = coldforge(["verify", text(&out), "--threshold", &strict]).expect(1);
    assert!(answer.out.contains("is intact") && answer.err.contains("failed.total.max: 8 rules"), "{}", answer.err);
    let both = file(home.path(), "failed: {total: {max: 5}}");
    coldforge(["scan", image, "--threshold", &both]).expect(1);
    let again = home.path().join("again");
    coldforge(["harden", image, "-o", text(&again), "--threshold", &both, "--fail-on", "medium"]).expect(1);
}

#[test]
fn a_threshold_file_that_is_not_understood_stops_the_run_before_it_begins() {
    let home = tempfile::tempdir().unwrap();
    let image = fixture("ws2022.vhd");
    let out = home.path().join("out");
    let threshold = file(home.path(), "failed:\n  hihg:\n    max: 0\n");
    let answer = coldforge(["harden", text(&image), "-o", text(&out), "--threshold", &threshold]).expect(2);
    assert!(answer.err.contains("hihg") && !out.exists(), "{}", answer.err);
}
