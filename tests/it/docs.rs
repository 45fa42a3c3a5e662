//! The documentation is held to what it shows: each console block runs and prints what the page says, each link leads to
//! a page and a heading that exist, and README.md stays short enough to be read.
//!
//! In a block ```` ```console ````, a line that begins with `$ ` is a command. A `\` at its end continues it, and after
//! `<<'END'` the lines up to `END` belong to it. The lines below are its output: `...` on a line of its own stands for any
//! number of lines, and `…` within a line for any text. The blocks of a page run in order in one folder, with a copy of
//! `fixtures/` and of its image as `base.vhd`. A command may exit with 0 or 1; a page that shows another failure must show
//! its message. Commands that need another program or a network are in blocks ```` ```sh ````, which are not run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{self, fixture};

/// The longest README.md that a newcomer reads to the end.
const LONGEST_README: usize = 180;

/// One command of a console block, and the output that the page shows for it.
struct Shown {
    line: usize,
    command: String,
    output: Vec<String>,
}

#[test]
fn readme_is_short_enough_to_be_read() {
    let lines = read(&support::root().join("README.md")).lines().count();
    assert!(lines <= LONGEST_README, "README.md has {lines} lines: move details to a page of docs/");
}

#[test]
fn every_console_block_prints_what_the_page_shows() {
    let bin = folder("bin");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_coldforge"), bin.path().join("coldforge")).unwrap();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let pages: Vec<_> =
            support::pages().into_iter().map(|page| scope.spawn(|| run_page(page, bin.path()))).collect();
        pages.into_iter().flat_map(|page| page.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_link_leads_to_a_page_and_a_heading_that_exist() {
    let mut broken = Vec::new();
    for page in support::pages() {
        for target in links(&read(&page)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').map_or((target.as_str(), None), |(f, a)| (f, Some(a)));
            let to = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let found = match anchor {
                _ if !to.exists() => false,
                Some(anchor) => headings(&read(&to)).iter().any(|heading| heading == anchor),
                None => true,
            };
            if !found {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_index_of_docs_lists_every_page() {
    let docs = support::root().join("docs");
    let listed = links(&read(&docs.join("README.md")));
    for page in support::pages() {
        let name = page.file_name().unwrap().to_str().unwrap();
        if page.parent() == Some(&docs) && name != "README.md" {
            assert!(listed.iter().any(|link| link == name), "docs/README.md does not list {name}");
        }
    }
}

#[test]
fn dots_stand_for_lines_and_an_ellipsis_for_text() {
    let lines = |text: &'static str| text.lines().collect::<Vec<_>>();
    assert!(agree(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(agree(&lines("took … s"), &lines("took 0.2 s")));
    assert!(!agree(&lines("a\nd"), &lines("a\nb\nd")), "no line is left out unseen");
    assert!(!agree(&lines("took … s"), &lines("took 0.2 ms or so")));
    assert_eq!(headings("# One `two`, three\n"), ["one-two-three"]);
    assert_eq!(links("[a](b.md#c) `[x](y)`\n```\n[d](e)\n```\n"), ["b.md#c"]);
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(name).tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs the console blocks of a page in order, and returns what does not agree.
fn run_page(page: PathBuf, bin: &Path) -> Vec<String> {
    let shown = console(&read(&page));
    let mut wrong = Vec::new();
    if shown.is_empty() {
        return wrong;
    }
    let scratch = folder("docs");
    copy(&fixture(""), &scratch.path().join("fixtures"));
    std::fs::copy(fixture("ws2022.vhd"), scratch.path().join("base.vhd")).unwrap();
    for shown in shown {
        let Some(command) = runnable(&shown.command) else { continue };
        let paths = std::env::join_paths(
            std::iter::once(bin.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let ran = Command::new("sh")
            .args(["-c", &command])
            .current_dir(scratch.path())
            .env("PATH", paths.unwrap())
            .env("SOURCE_DATE_EPOCH", support::EPOCH)
            .output()
            .unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        let refusal = stderr.find("error: ").map_or("", |at| &stderr[at..]);
        let printed = format!("{}{refusal}", String::from_utf8(ran.stdout).unwrap());
        let output: Vec<&str> = shown.output.iter().map(String::as_str).collect();
        let is_shown = output.is_empty() && refusal.is_empty() || agree(&output, &trimmed(&printed));
        let code = ran.status.code();
        if !is_shown || !(matches!(code, Some(0 | 1)) || output.iter().any(|line| line.starts_with("error: "))) {
            wrong.push(format!(
                "{}:{}: {}\nexit code {code:?}, printed:\n{printed}{stderr}",
                page.display(),
                shown.line,
                shown.command
            ));
        }
    }
    wrong
}

/// Returns the command as the test runs it: a program that cargo has built already is called by its path. `None` for
/// what would build or test the project within its own test, and for an example that was not built.
fn runnable(command: &str) -> Option<String> {
    if let Some(arguments) = command.strip_prefix("cargo run --release -- ") {
        return Some(format!("coldforge {arguments}"));
    }
    if let Some((_, example)) = command.strip_prefix("cargo run -p ").and_then(|rest| rest.split_once(" --example ")) {
        let (name, arguments) = example.split_once(" -- ").unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_coldforge")).parent().unwrap().join("examples").join(name);
        if !program.is_file() {
            eprintln!("SKIPPED: the example {name} is not built (cargo test --workspace builds it)");
            return None;
        }
        return Some(format!("'{}' {arguments}", program.display()));
    }
    (!command.starts_with("cargo ")).then(|| command.to_owned())
}

/// Returns the commands of a page's console blocks.
fn console(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut inside = false;
    let mut continues = false;
    let mut is_input = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
            continues = false;
        } else if is_input {
            let last = all.last_mut().unwrap();
            last.command = format!("{}\n{line}", last.command);
            is_input = line != "END";
        } else if inside {
            match (line.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) if !continues => {
                    all.push(Shown { line: index + 1, command: command.to_owned(), output: Vec::new() });
                    continues = command.ends_with('\\');
                    is_input = command.ends_with("<<'END'");
                }
                (_, Some(last)) if continues => {
                    last.command = format!("{}{}", last.command.trim_end_matches('\\'), line.trim_start());
                    continues = line.ends_with('\\');
                }
                (_, Some(last)) => last.output.push(line.trim_end().to_owned()),
                (_, None) => panic!("line {}: a console block begins with `$ `", index + 1),
            }
        }
    }
    for shown in &mut all {
        let length = shown.output.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        shown.output.truncate(length);
    }
    all
}

/// Returns the lines without blanks at their ends and empty lines at the end of all.
fn trimmed(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

/// Tells whether the output that a page shows is what was printed.
fn agree(shown: &[&str], printed: &[&str]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, _) => printed.is_empty(),
        (Some((line, rest)), _) if line.trim() == "..." => {
            (0..=printed.len()).any(|skipped| agree(rest, &printed[skipped..]))
        }
        (Some((line, rest)), Some((first, others))) => line_agrees(line, first) && agree(rest, others),
        (Some(_), None) => false,
    }
}

fn line_agrees(shown: &str, printed: &str) -> bool {
    let Some((head, tail)) = shown.split_once('…') else { return shown == printed };
    let Some(rest) = printed.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| line_agrees(tail, rest)))
}

/// Returns the targets of a page's links, but for those in code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let plain: String = line.split('`').step_by(2).collect();
        found.extend(plain.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to.to_owned()));
    }
    found
}

/// Returns the anchors that GitHub makes of a page's headings.
fn headings(text: &str) -> Vec<String> {
    prose(text)
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
        .map(|heading| {
            let kept = heading.to_lowercase();
            kept.chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// Returns the lines of a page outside its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
