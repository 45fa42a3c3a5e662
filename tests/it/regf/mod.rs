//! Hives: reading, editing and verifying real ones, with foreign readers and an independent checker as judges.

mod bad_input;
mod corpus;
mod edits;
mod hostile;
mod model;
mod reader;
mod replay;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use coldforge_regf::{Hive, Key};
use serde_json::Value as Json;

use crate::support::{self, ask, oracle};

/// Returns the folder of real hives.
fn hives() -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| Some(support::corpus("^hives/")?.join("hives"))).clone()
}

/// Returns one real hive file, with a dirty one made clean.
fn real(name: &str) -> Option<Vec<u8>> {
    Some(cleaned(std::fs::read(hives()?.join(name)).unwrap()))
}

/// Returns a hive file as if its last writer had finished: equal sequence numbers and the checksum that fits.
fn cleaned(mut bytes: Vec<u8>) -> Vec<u8> {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    if bytes.len() >= 512 && word(&bytes, 4) != word(&bytes, 8) {
        bytes.copy_within(4..8, 8);
        let sum = (0..508).step_by(4).fold(0, |sum, at| sum ^ word(&bytes, at));
        bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

fn parse(bytes: &[u8]) -> Hive {
    Hive::parse(bytes.to_vec()).unwrap_or_else(|error| panic!("a good hive: {error}"))
}

/// Returns every key with its path relative to the root; panics on damage.
fn keys(hive: &Hive) -> Vec<(String, Key<'_>)> {
    let mut names: Vec<String> = Vec::new();
    let mut keys = Vec::new();
    for step in hive.walk() {
        let (depth, key) = step.unwrap_or_else(|error| panic!("a good hive: {error}"));
        names.truncate(depth.saturating_sub(1));
        if depth > 0 {
            names.push(key.name().to_string());
        }
        keys.push((names.join("\\"), key));
    }
    keys
}

/// Returns the severity and code of everything that our own verifier finds, sorted.
fn own_findings(hive: &Hive) -> Vec<(String, String)> {
    let findings = hive.verify();
    let mut found: Vec<_> =
        findings.iter().map(|finding| (finding.severity.to_string(), finding.rule.code().to_owned())).collect();
    found.sort();
    found
}

/// What the independent checker says about a hive.
struct Verdict {
    findings: Vec<(String, String)>,
    keys: u64,
    values: u64,
    text: String,
}

/// Asks the independent checker about hive files; `None` without one.
fn judge(paths: &[PathBuf]) -> Option<BTreeMap<PathBuf, Verdict>> {
    let script = support::shared()?.join("check/regf_check.py");
    if !oracle("python3") || paths.is_empty() {
        return None;
    }
    let mut arguments = vec![script.to_str().unwrap(), "--json"];
    arguments.extend(paths.iter().map(|path| path.to_str().unwrap()));
    let answer = ask("python3", &arguments);
    let report: Json = serde_json::from_slice(&answer.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer.stderr)));
    let verdict = |report: &Json| {
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        let problems = report["problems"].as_array().unwrap_or_else(|| panic!("unreadable: {report}"));
        let mut findings: Vec<_> =
            problems.iter().map(|problem| (text(&problem["severity"]), text(&problem["code"]))).collect();
        findings.sort();
        Verdict {
            findings,
            keys: report["keys"].as_u64().unwrap(),
            values: report["values"].as_u64().unwrap(),
            text: problems.iter().take(5).map(|problem| format!("{problem}\n")).collect(),
        }
    };
    Some(paths.iter().map(|path| (path.clone(), verdict(&report[path.to_str().unwrap()]))).collect())
}

/// Writes a hive file into `folder` and asks the independent checker about it.
fn judge_bytes(folder: &Path, name: &str, bytes: &[u8]) -> Option<Verdict> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    judge(std::slice::from_ref(&path))?.remove(&path)
}
