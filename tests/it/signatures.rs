//! Signed bundles: ours hold for minisign, minisign's hold for us, and nothing in a signed bundle can be replaced.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Answer, EPOCH, ask, coldforge, coldforge_with, fixture, oracle, text};

/// A key of no worth, made by `minisign -G -W`.
const SECRET: &str = "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA5H7yTXY/6CSn1KcNng6em0VeOPGWuJEA6X8ZOKuL\
    ZzRe7KmjdV8EEToK3fHb1Em5TuZXVioafXvTUwe4Qma1nh5FvL3iSbaKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const PUBLIC: &str = "RWTkfvJNdj/oJDoK3fHb1Em5TuZXVioafXvTUwe4Qma1nh5FvL3iSbaK";

fn harden(out: &Path, sign: &[&str], variables: &[(&str, &str)]) -> Answer {
    let image = fixture("ws2022.vhd");
    let arguments = [&["harden", text(&image), "-o", text(out), "--fail-on", "none"], sign].concat();
    coldforge_with(arguments, variables)
}

fn signed(out: &Path) {
    harden(out, &["--sign", "env:KEY"], &[("KEY", SECRET)]).expect(0);
}

/// Makes a key pair with minisign; with a password, which it takes from its standard input.
fn key_pair(folder: &Path, password: Option<&str>) -> (PathBuf, PathBuf) {
    let (secret, public) = (folder.join("key"), folder.join("key.pub"));
    let mut command = Command::new("minisign");
    command.args(["-G", "-f", "-s", text(&secret), "-p", text(&public)]);
    if password.is_none() {
        command.arg("-W");
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("minisign runs");
    let password = password.unwrap_or_default();
    let said = format!("{password}\n{password}\n");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), said.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    (secret, public)
}

#[test]
fn minisign_and_sha256sum_prove_a_bundle_that_we_signed() {
    if !oracle("minisign") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let (secret, public) = key_pair(home.path(), Some("correct horse"));
    let password = home.path().join("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    let wrong = harden(&out, &["--sign", text(&secret)], &[("COLDFORGE_SIGN_PASSWORD", "wrong")]).expect(2);
    assert!(wrong.err.contains("another password") && !out.exists(), "{}", wrong.err);
    harden(&out, &["--sign", text(&secret), "--sign-password-file", text(&password)], &[]).expect(0);
    for file in ["SHA256SUMS", "audit.jsonl"] {
        let done = ask("minisign", &["-V", "-m", text(&out.join(file)), "-p", text(&public)]);
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        assert!(said.contains(&format!("Trusted comment: timestamp:{EPOCH}\tfile:{file}")), "{said}");
    }
    let sums = Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out).status().unwrap();
    assert!(sums.success());
    let proof = coldforge(["verify", text(&out), "--public-key", text(&public)]).expect(0);
    assert!(proof.out.contains("SHA256SUMS: the key ") && proof.out.contains("audit.jsonl: the key "), "{}", proof.out);
}

#[test]
fn a_bundle_that_minisign_signed_later_is_proven() {
    if !oracle("minisign") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    harden(&out, &[], &[]).expect(0);
    let (secret, public) = key_pair(home.path(), None);
    let unsigned = coldforge(["verify", text(&out), "--public-key", text(&public)]).expect(1);
    assert!(unsigned.out.contains("the bundle is not signed"), "{}", unsigned.out);
    let done = ask("minisign", &["-S", "-m", text(&out.join("SHA256SUMS")), "-s", text(&secret)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    coldforge(["verify", text(&out), "--public-key", text(&public)]).expect(0);
    let other = coldforge(["verify", text(&out), "--public-key", PUBLIC]).expect(1);
    assert!(other.out.contains("made it, not 24E83F764DF27EE4"), "{}", other.out);
    // Anybody can add a file with the form of a signature: without the key it is an extra file.
    let unasked = coldforge(["verify", text(&out)]).expect(1);
    assert!(unasked.out.contains("is a signature that the manifest does not announce"), "{}", unasked.out);
}

#[test]
fn the_same_key_and_moment_give_the_same_signatures() {
    let home = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| home.path().join(name));
    signed(&a);
    signed(&b);
    for file in ["SHA256SUMS", "SHA256SUMS.minisig", "audit.jsonl.minisig"] {
        assert_eq!(std::fs::read(a.join(file)).unwrap(), std::fs::read(b.join(file)).unwrap(), "{file}");
    }
    assert!(std::fs::read_to_string(a.join("SHA256SUMS")).unwrap().contains("  audit.jsonl.minisig\n"));
    // What is not of this bundle is found, though the same key signed it.
    let other = home.path().join("other");
    let image = fixture("ws2022.vhd");
    let arguments =
        ["harden", text(&image), "-o", text(&other), "--fail-on", "none", "--level", "low", "--sign", "env:KEY"];
    coldforge_with(arguments, &[("KEY", SECRET)]).expect(0);
    for file in ["SHA256SUMS.minisig", "audit.jsonl.minisig"] {
        let whole = std::fs::read(a.join(file)).unwrap();
        std::fs::copy(other.join(file), a.join(file)).unwrap();
        let answer = coldforge(["verify", text(&a), "--public-key", PUBLIC]).expect(1);
        assert!(answer.out.contains(&format!("PROBLEM  {file}")), "{}", answer.out);
        std::fs::write(a.join(file), whole).unwrap();
    }
    coldforge(["verify", text(&a), "--public-key", PUBLIC]).expect(0);
}

#[test]
fn a_key_that_cannot_be_used_stops_the_run_before_it_begins() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    for (key, variables, said) in [
        ("env:KEY", &[][..], "no key in the environment variable"),
        ("env:KEY", &[("KEY", PUBLIC)], "the secret key cannot be used"),
        ("/nowhere", &[], "cannot look at `/nowhere`"),
    ] {
        let answer = harden(&out, &["--sign", key], variables);
        assert!(answer.code != 0 && answer.err.contains(said), "{}", answer.err);
        assert!(!out.exists());
    }
    harden(&out, &[], &[]).expect(0);
    let answer = coldforge(["verify", text(&out), "--public-key", &PUBLIC[2..]]).expect(4);
    assert!(answer.err.contains("cannot look at"), "{}", answer.err);
}
