//! A changed byte in any file of a bundle is found.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use coldforge::audit::PublicKey;
use coldforge::harden::{Given, verify};
use coldforge_base::digest::Digest;
use coldforge_base::progress::Silent;
use serde_json::Value;

use crate::support::{Seeded, ask, coldforge, coldforge_with, fixture, text};

/// A key of no worth, made by `minisign -G -W`.
pub const SECRET: &str = "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA5H7yTXY/6CSn1KcNng6em0VeOPGWuJEA6X8ZOKuL\
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

fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

/// Lists every file of a bundle again, as somebody would who made it up: also those that no bundle has.
pub fn relist(out: &Path) {
    let mut manifest: Value = serde_json::from_str(&read(&out.join("manifest.json"))).unwrap();
    let lists = ["manifest.json", "SHA256SUMS", "SHA256SUMS.minisig"];
    let mut rows: Vec<(String, Vec<u8>)> = files(out)
        .into_iter()
        .map(|path| (text(path.strip_prefix(out).unwrap()).to_owned(), path))
        .filter(|(name, _)| !lists.contains(&name.as_str()))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect();
    rows.sort();
    let row = |(name, bytes): &(String, Vec<u8>)| serde_json::json!({ "path": name, "bytes": bytes.len(), "sha256": Digest::of(bytes).to_string() });
    manifest["files"] = rows.iter().map(row).collect();
    resum(out, &format!("{}\n", serde_json::to_string_pretty(&manifest).unwrap()));
}

/// Writes a manifest, and the list that names it and all files in it.
fn resum(out: &Path, manifest: &str) {
    std::fs::write(out.join("manifest.json"), manifest).unwrap();
    let document: Value = serde_json::from_str(manifest).unwrap();
    let of = |row: &Value| format!("{}  {}\n", row["sha256"].as_str().unwrap(), row["path"].as_str().unwrap());
    let own = format!("{}  manifest.json\n", Digest::of(manifest.as_bytes()));
    let mut sums: Vec<String> = document["files"].as_array().unwrap().iter().map(of).chain([own]).collect();
    sums.sort_by_key(|line| line.split_once("  ").unwrap().1.to_owned());
    std::fs::write(out.join("SHA256SUMS"), sums.concat()).unwrap();
}

/// Changes lines of the log, seals its chain again, and lists everything again.
pub fn relog(out: &Path, change: impl Fn(&str) -> String) {
    let log = out.join("audit.jsonl");
    let (whole, mut sealed, mut prev) = (read(&log), String::new(), "0".repeat(64));
    let mut is_changed = false;
    for line in whole.lines() {
        let (content, _) = line.rsplit_once(",\"prev\":\"").unwrap();
        let changed = change(content);
        is_changed |= changed != content;
        // A line that was taken out leaves no gap in the numbers.
        let Some((_, rest)) = changed.split_once(',') else { continue };
        let content = format!("{{\"seq\":{},{rest},\"prev\":\"{prev}\"", sealed.lines().count());
        prev = Digest::of(content.as_bytes()).to_string();
        sealed.push_str(&format!("{content},\"hash\":\"{prev}\"}}\n"));
    }
    assert!(is_changed, "the log was changed");
    std::fs::write(&log, sealed).unwrap();
    // The reports tell of the forged log as well, where it can still be read.
    let reports = out.with_extension("reports");
    if coldforge(["report", text(out), "-o", text(&reports)]).code == 0 {
        for report in files(&reports) {
            let name = report.file_name().unwrap();
            let folder = if name == "provenance.json" { out.to_owned() } else { out.join("reports") };
            std::fs::copy(&report, folder.join(name)).unwrap();
        }
    }
    relist(out);
}

/// Replaces the first occurrence of a text in a file, and lists everything again.
pub fn edit(out: &Path, file: &str, from: &str, to: &str) {
    let path = out.join(file);
    let whole = read(&path);
    assert!(whole.contains(from), "{file} holds {from}");
    std::fs::write(&path, whole.replacen(from, to, 1)).unwrap();
    relist(out);
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for path in files(from) {
        let place = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(path, place).unwrap();
    }
}

/// Changes lines of one type in the log.
pub fn lines_of(kind: &'static str, from: &'static str, to: &'static str) -> impl Fn(&str) -> String {
    move |line: &str| match line.contains(&format!("\"type\":\"{kind}\"")) {
        true => line.replacen(from, to, 1),
        false => line.to_owned(),
    }
}

type Row = (&'static str, Box<dyn Fn(&Path)>);

fn row(name: &'static str, change: impl Fn(&Path) + 'static) -> Row {
    (name, Box::new(change))
}

/// Every way to break a bundle that somebody could think of who may write to it. Where `relist` or `relog` is called, the
/// digests are right again, and the reports as well.
fn ways() -> Vec<Row> {
    let mut rows = vec![
        // Files that are not listed.
        row("an unlisted file", |out| std::fs::write(out.join("extra"), "x").unwrap()),
        row("an unlisted empty file", |out| std::fs::write(out.join(".hidden"), "").unwrap()),
        row("an unlisted report", |out| std::fs::write(out.join("reports/results.x.xccdf.xml"), "x").unwrap()),
        row("an unlisted file deep below", |out| {
            std::fs::create_dir_all(out.join("a/b/c")).unwrap();
            std::fs::write(out.join("a/b/c/d"), "x").unwrap();
        }),
        row("an empty folder", |out| std::fs::create_dir(out.join("empty")).unwrap()),
        row("an empty folder in a folder", |out| std::fs::create_dir(out.join("reports/empty")).unwrap()),
        row("an unlisted link", |out| symlink("manifest.json", out.join("link")).unwrap()),
        row("a link to nowhere", |out| symlink("/nowhere", out.join("aws/link")).unwrap()),
        // Files that are listed and that no bundle has.
        row("a listed file", |out| {
            std::fs::write(out.join("extra"), "x").unwrap();
            relist(out);
        }),
        row("a listed report", |out| {
            std::fs::copy(out.join("reports/results.xccdf.xml"), out.join("reports/results.x.xccdf.xml")).unwrap();
            relist(out);
        }),
        row("a listed file for AWS", |out| {
            std::fs::write(out.join("aws/approved.json"), "{}").unwrap();
            relist(out);
        }),
        row("a listed component that none names", |out| {
            std::fs::create_dir(out.join("components")).unwrap();
            std::fs::write(out.join("components").join(Digest::of(b"x").to_string()), "x").unwrap();
            relist(out);
        }),
        row("a listed benchmark that was not used", |out| {
            std::fs::create_dir(out.join("policy")).unwrap();
            std::fs::write(out.join("policy/benchmark.xml"), "<x/>").unwrap();
            relist(out);
        }),
        row("a listed signature of nobody", |out| {
            std::fs::write(out.join("audit.jsonl.minisig"), "x").unwrap();
            relist(out);
        }),
        // Unknown members.
        row("a member of the manifest", |out| {
            resum(out, &read(&out.join("manifest.json")).replacen('{', "{\n  \"approved\": true,", 1));
        }),
        row("a member of a row of the manifest", |out| {
            resum(out, &read(&out.join("manifest.json")).replacen("\"path\"", "\"by\": 1,\n      \"path\"", 1));
        }),
        row("a repeated member of the manifest", |out| {
            resum(
                out,
                &read(&out.join("manifest.json")).replacen("\"image\"", "\"holds\": \"image\",\n  \"image\"", 1),
            );
        }),
        row("another spelling of the manifest", |out| {
            resum(out, &read(&out.join("manifest.json")).replacen("\"image\": ", "\"image\":  ", 1));
        }),
        row("a member of the provenance", |out| edit(out, "provenance.json", "{", "{\n  \"approved\": true,")),
        row("a member of the assessment", |out| edit(out, "reports/assessment.json", "{", "{\n  \"approved\": true,")),
        row("a member of a finding", |out| {
            edit(out, "reports/assessment.json", "\"vuln_id\"", "\"by\": 1,\n      \"vuln_id\"")
        }),
        row("a member of the preflight", |out| edit(out, "aws/preflight.json", "{", "{\n  \"approved\": true,")),
        row("a member of the options for AWS", |out| edit(out, "aws/options.json", "{", "{\n  \"approved\": true,")),
        row("a member of the block map", |out| edit(out, "aws/block-map.json", "{", "{\n  \"approved\": true,")),
        row("a member of the header", |out| relog(out, lines_of("header", "\"tool\"", "\"approved\":true,\"tool\""))),
        row("a member of the program", |out| relog(out, lines_of("header", "{\"name\"", "{\"by\":1,\"name\""))),
        row("a member of the policy", |out| relog(out, lines_of("header", "\"level\"", "\"by\":1,\"level\""))),
        row("a member of the machine", |out| relog(out, lines_of("header", "\"edition\"", "\"by\":1,\"edition\""))),
        row("a member of a change", |out| relog(out, lines_of("change", "\"before\"", "\"by\":1,\"before\""))),
        row("a member of a setting", |out| relog(out, lines_of("change", "{\"kind\"", "{\"by\":1,\"kind\""))),
        row("a member of a value before", |out| {
            relog(out, lines_of("change", "\"before\":{", "\"before\":{\"by\":1,"));
        }),
        row("a member of an extent", |out| relog(out, lines_of("change", "{\"offset\"", "{\"by\":1,\"offset\""))),
        row("a member of a file", |out| relog(out, lines_of("file", "\"bytes\"", "\"by\":1,\"bytes\""))),
        row("a member of the trailer", |out| relog(out, lines_of("trailer", "\"output\"", "\"by\":1,\"output\""))),
        row("a member of what the readers said", |out| {
            relog(out, lines_of("trailer", "{\"readers\"", "{\"by\":1,\"readers\""));
        }),
        row("a repeated member of a line", |out| {
            relog(out, lines_of("file", "\"file\":", "\"file\":\"x\",\"file\":"));
        }),
        // Edited lines.
        row("an edited line, not sealed", |out| edit(out, "audit.jsonl", "\"level\":\"high\"", "\"level\":\"low\"")),
        row("a value after", |out| {
            relog(
                out,
                lines_of(
                    "change",
                    "\"after\":{\"type\":\"REG_DWORD\",\"data\":",
                    "\"after\":{\"type\":\"REG_DWORD\",\"data\":9",
                ),
            )
        }),
        row("a digest of a file", |out| relog(out, lines_of("file", "\"sha256_after\":\"", "\"sha256_after\":\"00"))),
        row("totals after", |out| relog(out, lines_of("trailer", "\"after\":{\"pass\":", "\"after\":{\"pass\":1"))),
        row("what is covered", |out| relog(out, lines_of("trailer", "all 282 rules", "all 300 rules"))),
        row("another level", |out| relog(out, lines_of("header", "\"level\":\"high\"", "\"level\":\"low\""))),
        row("a force that was not there", |out| {
            relog(out, lines_of("header", "\"level\"", "\"force_stig\":true,\"level\""));
        }),
        row("another build of Windows", |out| relog(out, lines_of("header", "\"build\":20348", "\"build\":20349"))),
        row("another schema", |out| relog(out, lines_of("header", "coldforge/audit/1", "coldforge/audit/2"))),
        row("a change taken out", |out| {
            let once = std::cell::Cell::new(false);
            relog(out, move |line| match line.contains("\"type\":\"change\"") && !once.replace(true) {
                true => String::new(),
                false => line.to_owned(),
            });
        }),
        row("a sum with another line end", |out| {
            let sums = read(&out.join("SHA256SUMS"));
            std::fs::write(out.join("SHA256SUMS"), sums.replace('\n', "\r\n")).unwrap();
        }),
        row("a sum that stands twice", |out| {
            let sums = read(&out.join("SHA256SUMS"));
            let first = sums.lines().next().unwrap();
            std::fs::write(out.join("SHA256SUMS"), format!("{first}\n{sums}")).unwrap();
        }),
        row("sums in another order", |out| {
            let sums = read(&out.join("SHA256SUMS"));
            let turned: String = sums.lines().rev().map(|line| format!("{line}\n")).collect();
            std::fs::write(out.join("SHA256SUMS"), turned).unwrap();
        }),
        // Documents that are cut, or that are no text.
        row("a manifest that is cut", |out| {
            let whole = read(&out.join("manifest.json"));
            let cut = &whole[..whole.len() / 2];
            let sums = read(&out.join("SHA256SUMS"));
            let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
            std::fs::write(out.join("SHA256SUMS"), sums.replace(&digest(&whole), &digest(cut))).unwrap();
            std::fs::write(out.join("manifest.json"), cut).unwrap();
        }),
        row("an assessment that is cut", |out| {
            let whole = read(&out.join("reports/assessment.json"));
            std::fs::write(out.join("reports/assessment.json"), &whole[..whole.len() / 2]).unwrap();
            relist(out);
        }),
        row("a log that is cut", |out| {
            let whole = read(&out.join("audit.jsonl"));
            std::fs::write(out.join("audit.jsonl"), &whole[..whole.len() / 2]).unwrap();
            relist(out);
        }),
        row("a log that is no text", |out| {
            std::fs::write(out.join("audit.jsonl"), [0xff; 100]).unwrap();
            relist(out);
        }),
        row("an image that is cut", |out| {
            let whole = std::fs::read(out.join("ws2022.vhd")).unwrap();
            std::fs::write(out.join("ws2022.vhd"), &whole[..whole.len() / 2]).unwrap();
            relist(out);
        }),
        row("an empty image", |out| {
            std::fs::write(out.join("ws2022.vhd"), "").unwrap();
            relist(out);
        }),
        row("a manifest about another image", |out| {
            let manifest = read(&out.join("manifest.json"));
            resum(out, &manifest.replacen("\"holds\": \"image\"", "\"holds\": \"delta\"", 1));
        }),
        row("a manifest about no image", |out| {
            std::fs::remove_file(out.join("ws2022.vhd")).unwrap();
            let manifest = read(&out.join("manifest.json"));
            std::fs::write(
                out.join("manifest.json"),
                manifest.replacen("\"holds\": \"image\"", "\"holds\": \"nothing\"", 1),
            )
            .unwrap();
            relist(out);
        }),
        row("nothing at all", |out| {
            std::fs::remove_dir_all(out).unwrap();
            std::fs::create_dir(out).unwrap();
        }),
        row("a file instead of the folder", |out| {
            std::fs::remove_dir_all(out).unwrap();
            std::fs::write(out, "x").unwrap();
        }),
    ];
    // Each kind of file: gone, and something else in its place.
    for file in [
        "SHA256SUMS",
        "manifest.json",
        "audit.jsonl",
        "provenance.json",
        "ws2022.vhd",
        "reports/assessment.json",
        "reports/results.sarif",
        "aws/options.json",
        "aws/commands.sh",
    ] {
        rows.push(row("a file that is gone", move |out| std::fs::remove_file(out.join(file)).unwrap()));
        rows.push(row("a link in the place of a file", move |out| {
            let elsewhere = out.with_extension("elsewhere");
            std::fs::rename(out.join(file), &elsewhere).unwrap();
            symlink(&elsewhere, out.join(file)).unwrap();
        }));
        rows.push(row("a folder in the place of a file", move |out| {
            std::fs::remove_file(out.join(file)).unwrap();
            std::fs::create_dir(out.join(file)).unwrap();
        }));
        rows.push(row("a pipe in the place of a file", move |out| {
            std::fs::remove_file(out.join(file)).unwrap();
            assert!(ask("mkfifo", &[text(&out.join(file))]).status.success());
        }));
    }
    for folder in ["reports", "aws"] {
        rows.push(row("a link in the place of a folder", move |out| {
            let elsewhere = out.with_extension("elsewhere");
            std::fs::rename(out.join(folder), &elsewhere).unwrap();
            symlink(&elsewhere, out.join(folder)).unwrap();
        }));
    }
    rows
}

#[test]
fn a_bundle_that_is_broken_in_any_way_does_not_verify() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let image = fixture("ws2022.vhd");
    coldforge(["harden", text(&image), "-o", text(&out), "--fail-on", "none"]).expect(0);
    // Listing it again changes nothing: what is found below is not the way in which it was listed.
    let sums = read(&out.join("SHA256SUMS"));
    relist(&out);
    assert_eq!(read(&out.join("SHA256SUMS")), sums);
    coldforge(["verify", text(&out)]).expect(0);
    let mut wrong = Vec::new();
    for (number, (name, change)) in ways().into_iter().enumerate() {
        let broken = home.path().join(format!("broken-{number}"));
        copy(&out, &broken);
        change(&broken);
        let answer = coldforge(["verify", text(&broken)]);
        eprintln!(
            "{:3}  exit {}  {name}: {}",
            number + 1,
            answer.code,
            answer.out.lines().find(|line| line.starts_with("PROBLEM")).unwrap_or(&answer.err)
        );
        if answer.code != 1 || !answer.out.contains("PROBLEM") {
            wrong.push(format!("{name}: exit {}\n{}{}", answer.code, answer.out, answer.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    coldforge(["verify", text(&home.path().join("nowhere"))]).expect(4);
}
