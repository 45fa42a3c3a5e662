//! Each folder of `src` may import only what the table allows. The compiler holds the crates apart; nothing else holds the
//! direction of the arrows inside one, so this test reads every path in every source file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// For each room, the module paths and crates that it may import from. A room may always import from itself.
const CRATES: [&str; 4] = ["coldforge_base", "coldforge_disk", "coldforge_ntfs", "coldforge_regf"];

/// The rooms from the lowest to the highest, with what each may import: crates and module paths.
const ARROWS: &[(&str, &[&str])] = &[
    ("formats", &["coldforge_base"]),
    ("windows", &["CRATES", "formats"]),
    ("policy", &["coldforge_base", "formats", "windows::setting"]),
    ("audit", &["coldforge_base", "formats", "windows", "policy"]),
    ("report", &["coldforge_base", "formats", "windows::setting", "policy", "audit"]),
    // The partition table tells what starts a disk, and whether AWS would convert it.
    ("aws", &["coldforge_base", "coldforge_disk", "formats", "windows", "audit"]),
    ("component", &["coldforge_base", "formats", "windows", "policy", "audit"]),
    ("edit", &["CRATES", "formats", "windows"]),
    ("harden", &["CRATES", "formats", "windows", "policy", "audit", "report", "aws", "component", "edit"]),
    ("imagebuilder", &["CRATES", "formats", "windows", "policy", "audit", "report", "aws", "component", "harden"]),
    (
        "cli",
        &[
            "CRATES",
            "formats",
            "windows",
            "policy",
            "audit",
            "report",
            "aws",
            "component",
            "edit",
            "harden",
            "imagebuilder",
        ],
    ),
];

#[test]
fn every_import_goes_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the source tree was found");
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file is readable");
        let module = module_of(file.strip_prefix(&root).expect("the file lies below src"));
        wrong.extend(judge(&module, &text).into_iter().map(|message| format!("{}: {message}", file.display())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_upward_import_is_found_in_each_spelling() {
    for text in [
        "use crate::policy;",
        "use crate::policy::Rule;",
        "pub use crate::policy::Rule as Law;",
        "fn f() { crate::policy::assess(); }",
        "use super::super::policy::Rule;",
        "fn f() -> super::super::policy::Rule { g() }",
        "use crate::{formats::json, policy::Rule};",
        "use crate::{\n    formats,\n    policy,\n};",
        "use crate::{formats::{json, zip}, policy::{self, Rule}};",
        "use super::super::{formats, policy};",
        "mod inner { use super::super::super::policy; }",
        "use crate::*;",
        "use crate as house;",
        "use self::super::super::policy;",
    ] {
        assert!(!judge(&path("formats::zip"), text).is_empty(), "{text}");
    }
}

#[test]
fn a_sibling_import_is_found_in_each_spelling() {
    for text in [
        "use crate::aws::Import;",
        "type V = crate::aws::Import<()>;",
        "use super::aws::Import;",
        "use crate::{formats::json, aws::Import};",
        "impl From<crate::aws::Error> for E {}",
        "use coldforge_disk::Image;",
        "use coldforge_ntfs as volumes;",
    ] {
        assert_eq!(judge(&path("report"), text).len(), 1, "{text}");
    }
}

#[test]
fn an_unlisted_folder_is_found_in_each_spelling() {
    for text in ["use crate::formats;", "fn f() { crate::formats::json::text(&[]); }", "use super::formats;", ""] {
        assert_eq!(judge(&path("helpers::stuff"), text), ["`helpers` is not in the table of rooms"], "{text}");
    }
    for text in
        ["use crate::helpers::x;", "use super::helpers;", "use crate::{formats, helpers::x};", "crate::helpers::f()"]
    {
        assert_eq!(judge(&path("cli"), text).len(), 1, "{text}");
    }
}

#[test]
fn a_narrow_arrow_admits_only_its_module() {
    assert!(judge(&path("policy::plan"), "use crate::windows::setting::{Setting, Value};").is_empty());
    for text in
        ["use crate::windows::Machine;", "use crate::windows;", "use crate::windows::{setting::Value, Machine};"]
    {
        assert_eq!(judge(&path("policy::plan"), text).len(), 1, "{text}");
    }
}

#[test]
fn downward_and_own_imports_comments_and_texts_are_left_alone() {
    for text in [
        "use crate::formats::{json, markdown};",
        "use coldforge_base::{Extent, read};",
        "use crate::report::text;",
        "use super::record;",
        "use super::super::audit;",
        "#[cfg(test)] mod tests { use super::*; use super::super::record; }",
        "// use crate::cli;\n/* crate::cli::main() /* nested crate::cli */ */",
        "/// See [`crate::cli`].\nconst T: &str = \"crate::cli\"; const R: &str = r#\"super::super::cli \" \"#;",
        "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }",
    ] {
        assert_eq!(judge(&path("report::html"), text), Vec::<String>::new(), "{text}");
    }
}

/// Returns the module path of a source file: `report/html.rs` and `report/html/mod.rs` are `report::html`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

fn path(text: &str) -> Vec<String> {
    text.split("::").map(str::to_owned).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the source folder is readable") {
        let path = entry.expect("an entry is readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns what is wrong with the imports of the module at `module` whose text is `text`.
fn judge(module: &[String], text: &str) -> Vec<String> {
    let Some(floor) = module.first() else { return Vec::new() }; // lib.rs and main.rs declare and start, no more
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == floor) else {
        return vec![format!("`{floor}` is not in the table of rooms")];
    };
    let mut wrong = BTreeSet::new();
    for target in imports(module, &tokens(text)) {
        let inside = |prefix: &str| {
            let prefix = path(prefix);
            target.len() >= prefix.len() && target[..prefix.len()] == prefix[..]
        };
        if !inside(floor)
            && !allowed.iter().any(|prefix| match *prefix {
                "CRATES" => CRATES.iter().any(|prefix| inside(prefix)),
                prefix => inside(prefix),
            })
        {
            wrong.insert(format!("`{floor}` must not import `{}`", target.join("::")));
        }
    }
    wrong.into_iter().collect()
}

/// Returns the absolute paths that begin with `crate`, `super`, `self` or one of the crates, groups spelled out.
fn imports(module: &[String], tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut here = module.to_vec();
    let mut depth = 0usize;
    let mut inline: Vec<usize> = Vec::new(); // brace depths at which inline modules opened
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                here.push(tokens[at + 1].clone());
                inline.push(depth);
                depth += 1;
                at += 3;
            }
            "{" => {
                depth += 1;
                at += 1;
            }
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                    here.pop();
                }
                at += 1;
            }
            word if (matches!(word, "crate" | "super" | "self") || word.starts_with("coldforge_"))
                && (at == 0 || tokens[at - 1] != "::") =>
            {
                at = tree(&here, Vec::new(), true, tokens, at, &mut found)
            }
            _ => at += 1,
        }
    }
    found
}

/// Follows one path or group from `at`, adds what it names to `found`, and returns where it ends.
fn tree(
    here: &[String],
    prefix: Vec<String>,
    first: bool,
    tokens: &[String],
    mut at: usize,
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut prefix = prefix;
    let mut relative = first; // only leading segments may be crate, super, self
    let mut named = false;
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("crate") if relative => {
                prefix.clear();
                named = true;
            }
            Some("self") if relative && !named => {
                prefix = here.to_vec();
                named = true;
            }
            Some("self") => relative = false,
            Some("super") if relative => {
                if !named {
                    prefix = here.to_vec();
                    named = true;
                }
                prefix.pop();
            }
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = if tokens[at] == "," { at + 1 } else { tree(here, prefix.clone(), false, tokens, at, found) };
                }
                return at + 1;
            }
            Some("*") => prefix.push("*".into()),
            Some(word) if word.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                relative = false;
                prefix.push(word.to_owned());
            }
            _ => break,
        }
        at += 1;
        if tokens.get(at).map(String::as_str) == Some("::") {
            at += 1;
        } else {
            break;
        }
    }
    if tokens.get(at).map(String::as_str) == Some("as") {
        if prefix.is_empty() {
            prefix.push("crate".into()); // the crate under another name would hide every arrow
        }
        at += 2;
    }
    let plain_self = prefix == here; // `self` as a receiver, `use super::*`'s own module
    if !prefix.is_empty() && !plain_self {
        found.push(prefix);
    }
    at
}

/// Cuts Rust text into words and the marks that paths are made of; comments, texts and lifetimes are left out.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    while at < chars.len() {
        let rest = &chars[at..];
        match rest {
            ['/', '/', ..] => at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => {
                let mut depth = 0;
                while at < chars.len() {
                    match &chars[at..] {
                        ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
                        ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            ['r', '"' | '#', ..] if at == 0 || !word(chars[at - 1]) || chars[at - 1] == 'b' => {
                let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
                if rest.get(1 + hashes) == Some(&'"') {
                    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    let body = &rest[2 + hashes..];
                    let end = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
                    at += 2 + hashes + end + close.len();
                } else {
                    at += 1;
                }
            }
            ['"', ..] => {
                at += 1;
                while at < chars.len() && chars[at] != '"' {
                    at += if chars[at] == '\\' { 2 } else { 1 };
                }
                at += 1;
            }
            ['\'', '\\', ..] => at += 4 + rest[3..].iter().position(|c| *c == '\'').unwrap_or(0),
            ['\'', _, '\'', ..] => at += 3,
            [':', ':', ..] => {
                found.push("::".into());
                at += 2;
            }
            [c, ..] if word(*c) => {
                let length = rest.iter().take_while(|c| word(**c)).count();
                found.push(rest[..length].iter().collect());
                at += length;
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    found.push(c.to_string());
                }
                at += 1;
            }
            [] => break,
        }
    }
    found
}
