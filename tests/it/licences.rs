//! Licences and versions of everything that is linked or built, as `Cargo.lock` fixes them; `deny.toml` says the same to
//! cargo-deny.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Licences that anything may have.
const ALLOWED: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates of which there may be several versions: `ntfs`, `nt-hive`, `ring` and `rustls` stand on older ones.
const SEVERAL: [&str; 7] = ["binrw", "binrw_derive", "getrandom", "heck", "strum_macros", "syn", "windows-sys"];

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let wrong: Vec<String> = packages()
        .iter()
        .map(|package| {
            [&package["name"], &package["license"]].map(|member| member.as_str().unwrap_or_default().to_owned())
        })
        // The second reader of hives makes a default build GPL, and the README says so.
        .filter(|[name, licence]| !is_allowed(licence) && name != "nt-hive")
        .map(|[name, licence]| format!("{name}: {licence:?}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_expression_needs_every_part_of_and_and_one_of_or() {
    for allowed in ["MIT OR GPL-3.0-only", "(MIT OR Apache-2.0) AND Unicode-3.0", "MIT/Apache-2.0", "Apache-2.0 / MIT"]
    {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in
        ["", "GPL-3.0-only", "(MIT OR Apache-2.0) AND GPL-3.0-only", "MIT AND (GPL-3.0-only OR AGPL-3.0-only)"]
    {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn one_version_of_each_dependency_is_built() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let member = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
        versions.entry(member("name")).or_default().insert(member("version"));
    }
    versions.retain(|name, versions| versions.len() > 1 && !SEVERAL.contains(&name.as_str()));
    assert!(versions.is_empty(), "{versions:#?}");
}

fn packages() -> Vec<serde_json::Value> {
    let arguments = ["metadata", "--locked", "--format-version", "1"];
    let told = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let told = told.expect("cargo runs");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&told.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("cargo lists packages").clone()
}

/// Judges an SPDX expression without nesting beyond one pair of parentheses, which is all that manifests use.
fn is_allowed(expression: &str) -> bool {
    let one_of = |part: &str| {
        let part = part.trim().trim_start_matches('(').trim_end_matches(')').replace('/', " OR ");
        part.split(" OR ").any(|licence| ALLOWED.contains(&licence.trim()))
    };
    expression.split(" AND ").all(one_of)
}
