//! What a bundle claims beside its image, what stands in the way of judging it, and what is said of work that was done.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{EPOCH, ask, coldforge, coldforge_with, copy_of, fixture, oracle, sha256, text};
use crate::tampering::{SECRET, copy, edit, lines_of, relist, relog};

fn harden(home: &Path, name: &str, more: &[&str]) -> PathBuf {
    let out = home.join(name);
    let image = fixture("ws2022.vhd");
    let arguments = [&["harden", text(&image), "-o", text(&out), "--fail-on", "none"], more].concat();
    coldforge_with(arguments, &[("KEY", SECRET)]).expect(0);
    out
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Expects that a bundle does not verify, because of this place.
#[track_caller]
fn broken(arguments: &[&str], place: &str) {
    let answer = coldforge([&["verify"], arguments].concat()).expect(1);
    let is_named = answer.out.lines().any(|line| line.starts_with("PROBLEM") && line.contains(place));
    assert!(is_named, "{place}: {}", answer.out);
}

#[test]
fn files_for_aws_that_were_made_with_other_options_do_not_verify() {
    let home = home();
    let out = harden(home.path(), "out", &["--bucket", "my-bucket"]);
    let theirs = harden(home.path(), "theirs", &["--bucket", "attackers-bucket", "--account-ids", "666666666666"]);
    let source = fixture("ws2022.vhd");
    for bundle in [&out, &theirs] {
        coldforge(["verify", text(bundle), "--source", text(&source)]).expect(0);
    }
    for entry in std::fs::read_dir(theirs.join("aws")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, out.join("aws").join(path.file_name().unwrap())).unwrap();
    }
    relist(&out);
    broken(&[text(&out)], "aws/options.json");
    broken(&[text(&out), "--source", text(&source)], "aws/options.json");
}

#[test]
fn a_boot_mode_that_was_named_stands_in_the_log_and_no_other_is_believed() {
    let home = home();
    let out = harden(home.path(), "out", &["--boot-mode", "uefi"]);
    coldforge(["verify", text(&out), "--source", text(&fixture("ws2022.vhd"))]).expect(0);
    edit(&out, "aws/import-image.json", "uefi", "legacy-bios");
    broken(&[text(&out)], "aws/import-image.json");
    // Files of a list in another order are another list.
    let other = harden(home.path(), "other", &[]);
    let path = other.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["files"].as_array_mut().unwrap().reverse();
    let before = sha256(&path);
    std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&manifest).unwrap())).unwrap();
    let sums = std::fs::read_to_string(other.join("SHA256SUMS")).unwrap();
    std::fs::write(other.join("SHA256SUMS"), sums.replace(&before, &sha256(&path))).unwrap();
    broken(&[text(&other)], "manifest.json");
}

#[test]
fn a_header_that_says_what_the_run_did_not_do_does_not_verify() {
    let home = home();
    let source = fixture("ws2022.vhd");
    // What made no difference is not recorded.
    let out = harden(home.path(), "out", &["--accept-dirty-hive", "--accept-refcounts"]);
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    assert!(log.contains("\"accept_dirty_hive\":false") && !log.contains("accept_refcounts"));
    coldforge(["verify", text(&out), "--source", text(&source)]).expect(0);
    let lies = [
        ("\"accept_dirty_hive\":false", "\"accept_dirty_hive\":true", true),
        ("\"accept_dirty_hive\":false", "\"accept_dirty_hive\":false,\"accept_refcounts\":true", true),
        ("\"warnings\":[", "\"warnings\":[\"W-APPROVED: by somebody\"", true),
        ("\"source\":{\"name\":\"ws2022.vhd\"", "\"source\":{\"name\":\"other.vhd\"", false),
        ("\"source\":{\"name\":\"ws2022.vhd\"", "\"source\":{\"name\":\"\"", false),
        ("\"source\":{\"name\":\"ws2022.vhd\"", "\"source\":{\"name\":\"a/ws2022.vhd\"", false),
        ("\"options_sha256\":\"", "\"boot_mode\":\"uefi\",\"options_sha256\":\"", false),
    ];
    for (number, (from, to, needs_source)) in lies.into_iter().enumerate() {
        let forged = home.path().join(format!("forged-{number}"));
        copy(&out, &forged);
        relog(&forged, lines_of("header", from, to));
        let with = [text(&forged), "--source", text(&source)];
        broken(if needs_source { &with } else { &with[..1] }, "");
    }
    // A file can be renamed, and then its name is said not to be proven.
    let renamed = home.path().join("renamed.vhd");
    std::fs::copy(&source, &renamed).unwrap();
    let proof = coldforge(["verify", text(&out), "--source", text(&renamed)]).expect(0);
    assert!(proof.out.contains("calls the source `ws2022.vhd`"), "{}", proof.out);
}

#[test]
fn a_signature_that_the_manifest_does_not_announce_does_not_verify_and_neither_does_one_by_another_key() {
    let home = home();
    let (plain, signed) = (harden(home.path(), "plain", &[]), harden(home.path(), "signed", &["--sign", "env:KEY"]));
    coldforge(["verify", text(&signed)]).expect(0);
    let [sums, log] = ["SHA256SUMS.minisig", "audit.jsonl.minisig"];
    let case = |name: &str, from: &Path, change: &dyn Fn(&Path)| {
        let out = home.path().join(name);
        copy(from, &out);
        change(&out);
        out
    };
    // The form is right, and nobody was to have signed this bundle.
    let added = case("added", &plain, &|out| {
        std::fs::copy(signed.join(sums), out.join(sums)).unwrap();
    });
    broken(&[text(&added)], sums);
    let both = case("both", &plain, &|out| {
        for name in [sums, log] {
            std::fs::copy(signed.join(name), out.join(name)).unwrap();
        }
        relist(out);
    });
    broken(&[text(&both)], log);
    let garbage = case("garbage", &signed, &|out| {
        std::fs::write(out.join(log), "garbage").unwrap();
        relist(out);
    });
    broken(&[text(&garbage)], log);
    // The number of another key, in the right form.
    for name in [sums, log] {
        let other = case(&format!("other-{name}"), &signed, &|out| {
            let whole = std::fs::read_to_string(out.join(name)).unwrap();
            let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
            lines[1].replace_range(3..5, "AA");
            std::fs::write(out.join(name), lines.join("\n") + "\n").unwrap();
            relist(out);
        });
        broken(&[text(&other)], name);
    }
    // A signature of another file, and comments that somebody changed: nobody's key is needed to see it.
    let moved = case("moved", &signed, &|out| {
        std::fs::copy(out.join(log), out.join(sums)).unwrap();
    });
    broken(&[text(&moved)], sums);
    for (at, comment) in [(0, "untrusted comment: approved by the CISO"), (2, "trusted comment: approved by the CISO")]
    {
        let said = case(&format!("said-{at}"), &signed, &|out| {
            let whole = std::fs::read_to_string(out.join(sums)).unwrap();
            let mut lines: Vec<&str> = whole.lines().collect();
            lines[at] = comment;
            std::fs::write(out.join(sums), lines.join("\n") + "\n").unwrap();
        });
        broken(&[text(&said)], sums);
    }
    // A file whose name is no text.
    let odd = case("odd", &plain, &|out| {
        use std::os::unix::ffi::OsStrExt as _;
        std::fs::write(out.join(std::ffi::OsStr::from_bytes(b"ws\xff.vhd")), "x").unwrap();
    });
    broken(&[text(&odd)], "ws");
    let stripped = case("stripped", &signed, &|out| std::fs::remove_file(out.join(sums)).unwrap());
    broken(&[text(&stripped)], sums);
}

#[test]
fn a_bundle_whose_image_cannot_be_looked_at_now_is_not_judged() {
    let home = home();
    let out = harden(home.path(), "out", &[]);
    let not_judged = |arguments: &[&str], code: i32, said: &str| {
        let answer = coldforge([&["verify"], arguments].concat()).expect(code);
        assert!(answer.err.contains("was not judged") && answer.err.contains("hint:"), "{}", answer.err);
        assert!(answer.err.contains(said) && !answer.out.contains("intact"), "{}{}", answer.out, answer.err);
    };
    let image = std::fs::File::open(out.join("ws2022.vhd")).unwrap();
    image.lock().unwrap();
    not_judged(&[text(&out)], 3, "E-IMAGE-BUSY");
    // What is broken anyway is broken.
    std::fs::write(out.join("extra"), "x").unwrap();
    broken(&[text(&out)], "extra");
    std::fs::remove_file(out.join("extra")).unwrap();
    image.unlock().unwrap();
    coldforge(["verify", text(&out)]).expect(0);
    not_judged(&[text(&out), "--source", "/nowhere.vhd"], 4, "/nowhere.vhd");

    let image = copy_of("ws2022.vhd", home.path());
    let bundle = home.path().join("bundle");
    coldforge(["harden", text(&image), "--in-place", "-o", text(&bundle), "--fail-on", "none"]).expect(0);
    not_judged(&[text(&bundle)], 2, "--image");
    not_judged(&[text(&bundle), "--image", "/nowhere.vhd"], 4, "/nowhere.vhd");
    coldforge(["verify", text(&bundle), "--image", text(&image)]).expect(0);
    // A journal that is not obeyed.
    let journal = home.path().join("ws2022.vhd.coldforge-undo");
    assert!(ask("chmod", &["0666", text(&journal)]).status.success());
    not_judged(&[text(&bundle), "--image", text(&image)], 3, "E-UNDO-OWNER");
    let refused = coldforge(["preflight", text(&image)]).expect(3);
    assert!(refused.err.contains("E-UNDO-OWNER") && refused.err.contains("chown"), "{}", refused.err);
    assert!(!refused.out.contains("P01"), "{}", refused.out);
}

#[test]
fn a_listed_file_that_no_bundle_has_is_found_also_where_the_image_is_not_at_hand() {
    let home = home();
    let image = copy_of("ws2022.vhd", home.path());
    let [delta, written] = ["delta", "written"].map(|name| home.path().join(name));
    coldforge(["harden", text(&image), "--format", "delta", "-o", text(&delta), "--fail-on", "none"]).expect(0);
    coldforge(["harden", text(&image), "--in-place", "-o", text(&written), "--fail-on", "none"]).expect(0);
    coldforge(["verify", text(&delta)]).expect(3);
    coldforge(["verify", text(&written)]).expect(2);
    for bundle in [&delta, &written] {
        for extra in ["extra", "aws/extra", "reports/extra"] {
            let forged = bundle.with_extension("forged");
            copy(bundle, &forged);
            std::fs::create_dir_all(forged.join("aws")).unwrap();
            std::fs::write(forged.join(extra), "x").unwrap();
            relist(&forged);
            broken(&[text(&forged)], extra);
            std::fs::remove_dir_all(&forged).unwrap();
        }
    }
}

#[test]
fn a_signal_behind_the_last_write_says_that_the_image_is_written_and_how_it_is_taken_back() {
    if !oracle("strace") {
        return;
    }
    let home = home();
    let image = copy_of("ws2022.vhd", home.path());
    let before = sha256(&image);
    let mut stopped = 0;
    for (number, (signal, code)) in [("INT", 130), ("TERM", 143), ("INT", 130)].into_iter().enumerate() {
        let out = home.path().join(format!("out-{number}"));
        // The signal comes with the call that gives the bundle its name; the journal got its own before.
        let inject = format!("inject=/^rename:signal={signal}:when=2");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=/^rename", "-e", &inject]);
        strace.args([env!("CARGO_BIN_EXE_coldforge"), "harden", text(&image), "--in-place", "--fail-on", "none", "-o"]);
        let done = strace.arg(&out).env("SOURCE_DATE_EPOCH", EPOCH).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(out.exists() && sha256(&image) != before, "{said}");
        // A run that was faster than the signal has said everything itself.
        if done.status.code() == Some(code) {
            stopped += 1;
            assert!(said.contains("is written; `coldforge undo "), "{said}");
            assert!(said.contains(&format!("the bundle `{}` is whole", out.display())), "{said}");
        } else {
            assert_eq!(done.status.code(), Some(0), "{said}");
        }
        coldforge(["undo", text(&image)]).expect(0);
        assert_eq!(sha256(&image), before);
    }
    eprintln!("{stopped} of 3 runs were stopped behind their last write");
}

#[test]
fn reports_are_not_written_into_a_bundle_nor_several_among_other_files() {
    let home = home();
    let out = harden(home.path(), "out", &[]);
    let image = fixture("ws2022.vhd");
    for inside in [out.clone(), out.join("new"), out.join("reports")] {
        for arguments in [
            &["scan", text(&image), "--fail-on", "none", "--reports", text(&inside)][..],
            &["report", text(&out), "--format", "csv", "-o", text(&inside)],
        ] {
            let refused = coldforge(arguments).expect(2);
            assert!(refused.err.contains("lies in the bundle") && refused.err.contains("hint:"), "{}", refused.err);
        }
    }
    let (raw, file) = (out.join("a.raw"), out.join("reports/a"));
    for arguments in [
        &["convert", text(&image), text(&raw)][..],
        &["cat", text(&image), "/Windows/System32/config/SAM", "-o", text(&file)],
        &["put", text(&image), text(&image), "/a", "-o", text(&raw)],
        &["reg", "export", text(&image), r"HKLM\SYSTEM\Select", "-o", text(&file)],
        &["reg", "set", text(&image), r"HKLM\SOFTWARE\A", "B", "c", "-o", text(&raw)],
    ] {
        let refused = coldforge(arguments).expect(2);
        assert!(refused.err.contains("lies in the bundle") && refused.err.contains("hint:"), "{}", refused.err);
    }
    coldforge(["verify", text(&out)]).expect(0);
    let held = home.path().join("held");
    std::fs::create_dir(&held).unwrap();
    std::fs::write(held.join("mine"), "mine").unwrap();
    let refused = coldforge(["report", text(&out), "-o", text(&held)]).expect(4);
    assert!(refused.err.contains("held") && refused.err.contains("hint:"), "{}", refused.err);
    assert_eq!(std::fs::read_dir(&held).unwrap().count(), 1);
}

#[test]
fn an_original_that_was_restored_over_the_image_is_no_foreign_change() {
    let home = home();
    let image = copy_of("ws2022.vhd", home.path());
    let out = home.path().join("out");
    coldforge(["harden", text(&image), "--in-place", "-o", text(&out), "--fail-on", "none"]).expect(0);
    std::fs::copy(fixture("ws2022.vhd"), &image).unwrap();
    let undone = coldforge(["undo", text(&image)]).expect(0);
    assert!(undone.out.contains("is what it was before the run already"), "{}", undone.out);
    assert!(!home.path().join("ws2022.vhd.coldforge-undo").exists());
    assert_eq!(sha256(&image), sha256(&fixture("ws2022.vhd")));
}
