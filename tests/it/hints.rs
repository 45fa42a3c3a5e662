//! Every error says what to do next, as text and as a document.

use std::path::Path;

use crate::support::{coldforge, fixture, text};

#[test]
fn every_error_carries_a_hint_as_text_and_as_a_document() {
    let home = tempfile::tempdir().unwrap();
    let image = fixture("ws2022.vhd");
    let image = text(&image);
    let file = |name: &str, content: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (noise, empty) = (file("noise.raw", &[0x5a; 70_000]), file("empty", b""));
    let (toml, nowhere) = (file("odd.toml", b"schema = 1"), text(&home.path().join("nowhere")).to_owned());
    let folder = text(home.path()).to_owned();
    let commands: Vec<Vec<&str>> = vec![
        vec!["inspect", &nowhere],
        vec!["inspect", &empty],
        vec!["inspect", &folder],
        vec!["scan", &noise],
        vec!["scan", &noise, "--input-format", "vhdx"],
        vec!["scan", image, "--stig", "ws2016"],
        vec!["scan", image, "--stig", "nothing"],
        vec!["scan", image, "--stig", "none"],
        vec!["scan", image, "--with", "nothing"],
        vec!["scan", image, "--only", "V-1"],
        vec!["scan", image, "--values", &toml],
        vec!["scan", image, "--waivers", &toml],
        vec!["scan", image, "--policy", &toml],
        vec!["scan", image, "--policy", &nowhere],
        vec!["scan", image, "--benchmark", &toml],
        vec!["scan", image, "--threshold", &noise],
        vec!["scan", image, "--certificates", &toml],
        vec!["harden", image, "-o", &folder],
        vec!["harden", image, "-o", &nowhere, "--route", "import-image"],
        vec!["harden", image, "-o", &nowhere, "--component", &toml],
        vec!["harden", image, "-o", &nowhere, "--sign", &toml],
        vec!["harden", image, "-o", &nowhere, "--fix", "P99"],
        vec!["verify", &nowhere],
        vec!["report", &folder, "-o", &nowhere],
        vec!["recipe", "lint", &toml],
        vec!["run", &nowhere],
        vec!["reg", "get", &noise, "Nothing"],
        vec!["reg", "set", image, r"HKLM\SOFTWARE\A", "B", "x", "--type", "REG_DWORD"],
        vec!["ls", image, "/nothing"],
        vec!["cat", image, "/Windows"],
        vec!["diff", image, &nowhere],
        vec!["convert", image, &folder],
        vec!["undo", &noise],
        vec!["rules", "show", "V-1"],
    ];
    let mut silent = Vec::new();
    for command in commands {
        let said = coldforge(&command);
        let document = coldforge([&command[..], &["--json"]].concat());
        assert!(said.code >= 2, "{command:?}: {}{}", said.out, said.err);
        let parsed: Option<serde_json::Value> = serde_json::from_str(&document.out).ok();
        let is_told = parsed.as_ref().is_some_and(|parsed| parsed["hint"].as_str().is_some_and(|hint| hint.len() > 8));
        if !said.err.contains("\nhint: ") || !is_told || document.code != said.code {
            silent.push(format!("{command:?} ({}): {}\n{}", said.code, said.err, document.out));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn what_prints_an_error_asks_for_its_advice_which_is_never_missing() {
    fn visit(folder: &Path, wrong: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, wrong);
            } else {
                let source = std::fs::read_to_string(&path).unwrap();
                let asks =
                    source.lines().filter(|line| line.contains("error.hint()") && !line.contains("=> error.hint()"));
                wrong.extend(asks.map(|line| format!("{}: {}", path.display(), line.trim())));
            }
        }
    }
    let mut wrong = Vec::new();
    for room in ["src/cli", "src/component", "src/edit", "src/harden", "src/imagebuilder"] {
        visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join(room), &mut wrong);
    }
    wrong.retain(|line| !line.contains("/error.rs:"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
