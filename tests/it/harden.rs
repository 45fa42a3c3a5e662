//! The main job on the project's own fixture, from the command line: what the README promises.

use std::path::Path;

use serde_json::Value;

use crate::support::{Answer, Seeded, ask, coldforge, copy_of, fixture, sha256, text};

/// The rules that stay open: two are held back since they could stop a first logon, six need what no image holds
/// (a feature that only Windows removes, certificates, and new names for two accounts).
const BEYOND: [&str; 8] = [
    "WN22-00-000200",
    "WN22-00-000210",
    "WN22-00-000410",
    "WN22-PK-000010",
    "WN22-PK-000020",
    "WN22-PK-000030",
    "WN22-SO-000030",
    "WN22-SO-000040",
];

/// Hardens the fixture into `folder/out`; the exit code says that the rules [`BEYOND`] are open.
fn harden(folder: &Path) -> Answer {
    coldforge(["harden", text(&fixture("ws2022.vhd")), "-o", text(&folder.join("out"))])
}

#[test]
fn the_fixture_becomes_a_bundle_that_proves_itself() {
    let home = tempfile::tempdir().unwrap();
    let source = sha256(&fixture("ws2022.vhd"));
    harden(home.path()).expect(1);
    let out = home.path().join("out");
    let sums = std::process::Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS"]).current_dir(&out).status();
    assert!(sums.unwrap().success());
    let proof = coldforge(["verify", text(&out), "--source", text(&fixture("ws2022.vhd")), "--json"]).expect(0).json();
    assert_eq!(proof["intact"], true);
    assert_eq!(proof["problems"], Value::Array(vec![]));
    assert_eq!(sha256(&fixture("ws2022.vhd")), source, "the source is as it was");
    for file in [
        "ws2022.vhd",
        "audit.jsonl",
        "manifest.json",
        "reports/assessment.json",
        "aws/containers.json",
        "aws/import-image.json",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "no temporary folder is left");
}

#[test]
fn after_hardening_no_assessed_rule_is_open_and_none_is_passed_unassessed() {
    let home = tempfile::tempdir().unwrap();
    let before = coldforge(["scan", text(&fixture("ws2022.vhd")), "--json"]).expect(1).json();
    assert!(before["totals"]["open"].as_u64().unwrap() > 50);
    harden(home.path()).expect(1);
    let after = coldforge(["scan", text(&home.path().join("out/ws2022.vhd")), "--json"]).expect(1).json();
    let open = |finding: &&Value| finding["status"] == "open";
    let open: Vec<&str> =
        after["findings"].as_array().unwrap().iter().filter(open).filter_map(|f| f["stig_id"].as_str()).collect();
    assert_eq!(open, BEYOND);
    assert_eq!(after["totals"]["not_reviewed"], before["totals"]["not_reviewed"]);
    let findings = after["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 282);
    for finding in findings {
        let manual = ["manual", "ad_object", "os_state"].iter().any(|kind| finding["kind"] == *kind);
        assert!(!manual || finding["status"] != "pass", "{finding}");
        assert!(finding["status"] == "pass" || finding["reason"].is_string(), "{finding}");
    }
}

#[test]
fn hardening_a_hardened_image_changes_nothing_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    harden(home.path()).expect(1);
    let (first, second) = (home.path().join("out/ws2022.vhd"), home.path().join("again"));
    let run = coldforge(["harden", text(&first), "-o", text(&second), "--json"]).expect(1).json();
    assert_eq!(run["changes"], 0);
    assert_eq!(sha256(&first), sha256(&second.join("ws2022.vhd")));
    let said = coldforge(["harden", text(&first), "--dry-run"]).expect(1);
    assert!(said.out.contains("Nothing had to be changed"), "{}", said.out);
}

#[test]
fn two_runs_at_the_same_moment_give_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        coldforge(["harden", text(&fixture("ws2022.vhd")), "-o", text(&home.path().join(name))]).expect(1);
    }
    let done = ask("diff", &["-r", text(&home.path().join("a")), text(&home.path().join("b"))]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

#[test]
fn a_dry_run_shows_the_changes_and_writes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let run = coldforge(["harden", text(&image), "--dry-run", "--json"]).expect(1).json();
    let wet = harden(home.path()).expect(1);
    assert!(wet.out.contains(&format!("{} settings changed", run["changes"])), "{}", wet.out);
    assert_eq!(run["bundle"], Value::Null);
    let mut names: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["out", "ws2022.vhd"], "only the second, wet run wrote");
    assert_eq!(sha256(&image), sha256(&fixture("ws2022.vhd")));
}

#[test]
fn one_flipped_byte_makes_verify_fail_and_say_where() {
    let home = tempfile::tempdir().unwrap();
    harden(home.path()).expect(1);
    let out = home.path().join("out");
    let mut random = Seeded(7);
    for file in
        ["ws2022.vhd", "audit.jsonl", "manifest.json", "SHA256SUMS", "reports/assessment.json", "aws/import-image.json"]
    {
        let path = out.join(file);
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..12 {
            let at = usize::try_from(random.below(whole.len() as u64)).unwrap();
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << random.below(8);
            std::fs::write(&path, &damaged).unwrap();
            let answer = coldforge(["verify", text(&out)]);
            assert!(matches!(answer.code, 1 | 4), "byte {at:#x} of {file}: exit {}", answer.code);
            let said = answer.out + &answer.err;
            assert!(said.contains(file) || file == "SHA256SUMS", "byte {at:#x} of {file} is not named: {said}");
        }
        std::fs::write(&path, &whole).unwrap();
    }
    coldforge(["verify", text(&out)]).expect(0);
}

#[test]
fn an_edit_that_no_line_explains_is_found_even_when_all_digests_are_made_anew() {
    let answer = forged(|log| log.to_owned());
    assert!(answer.out.contains("no line explains"), "{}", answer.out);
}

#[test]
fn a_log_that_claims_more_bytes_than_its_changes_touched_is_found_too() {
    let everything = "\"extents\":[{\"offset\":0,\"length\":134217728}]";
    let answer = forged(|log| {
        let at = log.rfind("\"extents\":[").unwrap();
        let end = at + log[at..].find(']').unwrap();
        format!("{}{everything}{}", &log[..at], &log[end + 1..])
    });
    assert!(!answer.out.contains("no line explains"), "{}", answer.out);
    assert!(answer.out.contains("does not hold that the same edit of the source gives this disk"), "{}", answer.out);
    assert!(
        answer.out.contains("does not hold that the same edit of the source gives the same change"),
        "{}",
        answer.out
    );
}

/// Hardens the fixture, then changes a byte of the image, lets `lie` rewrite the log, and seals everything again;
/// returns what `verify --source` says, which must not be that all is well.
fn forged(lie: impl FnOnce(&str) -> String) -> Answer {
    let home = tempfile::tempdir().unwrap();
    harden(home.path()).expect(1);
    let out = home.path().join("out");
    // A forger changes a byte of the image that no registry value depends on.
    let image = out.join("ws2022.vhd");
    let mut bytes = std::fs::read(&image).unwrap();
    let at = bytes.windows(8).rposition(|window| window == b"ElfFile\0").expect("the fixture has event logs");
    bytes[at + 64] ^= 0xff;
    std::fs::write(&image, &bytes).unwrap();
    lied(&out, "audit.jsonl", lie).expect(1)
}

/// Lets `lie` rewrite a file of a bundle, seals everything again, and returns what `verify --source` says.
fn lied(out: &Path, file: &str, lie: impl FnOnce(&str) -> String) -> Answer {
    let text_before = std::fs::read_to_string(out.join(file)).unwrap();
    std::fs::write(out.join(file), lie(&text_before)).unwrap();
    let old = std::fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    let old = old.lines().find(|line| line.ends_with("  ws2022.vhd")).unwrap()[..64].to_owned();
    reseal(out, &old, &sha256(&out.join("ws2022.vhd")));
    coldforge(["verify", text(out), "--source", text(&fixture("ws2022.vhd"))])
}

/// Rewrites a file of a bundle.
type Lie = Box<dyn Fn(&str) -> String>;

#[test]
fn every_lie_about_an_untouched_image_is_found_though_all_is_sealed_again() {
    let home = tempfile::tempdir().unwrap();
    harden(home.path()).expect(1);
    let out = home.path().join("out");
    let pristine = home.path().join("pristine");
    assert!(ask("cp", &["-r", text(&out), text(&pristine)]).status.success());
    lied(&out, "audit.jsonl", str::to_owned).expect(0); // sealing again is no lie
    let replace = |from: &'static str, to: &'static str| {
        Box::new(move |log: &str| {
            assert!(log.contains(from), "{from}");
            log.replacen(from, to, 1)
        }) as Lie
    };
    let drop_changes = Box::new(|log: &str| -> String {
        log.lines().filter(|line| !line.contains("\"type\":\"change\"")).map(|line| format!("{line}\n")).collect()
    }) as Lie;
    let repeat_change = Box::new(|log: &str| -> String {
        log.lines()
            .enumerate()
            .map(|(i, line)| if i == 1 { format!("{line}\n{line}\n") } else { format!("{line}\n") })
            .collect()
    }) as Lie;
    let lies: Vec<(&str, &str, Lie)> = vec![
        ("a rule", "audit.jsonl", replace("[\"WN22-00-000390\"]", "[\"WN22-99-999999\"]")),
        ("a cell", "audit.jsonl", replace("\"cell\":", "\"cell\":1")),
        ("a value before", "audit.jsonl", replace("\"before\":null", "\"before\":{\"type\":\"REG_DWORD\",\"data\":7}")),
        ("a file", "audit.jsonl", replace("config\\\\SYSTEM\",\"cell\"", "config\\\\SAM\",\"cell\"")),
        ("a digest before", "audit.jsonl", replace("\"sha256_before\":\"", "\"sha256_before\":\"0")),
        ("a file's length", "audit.jsonl", replace("\"bytes\":", "\"bytes\":1")),
        ("the totals before", "audit.jsonl", replace("\"before\":{\"pass\":", "\"before\":{\"pass\":1")),
        ("the totals after", "audit.jsonl", replace("\"after\":{\"pass\":", "\"after\":{\"pass\":1")),
        ("the second opinion", "audit.jsonl", replace("\"readers\":[", "\"readers\":[\"chkdsk\",")),
        (
            "the version",
            "audit.jsonl",
            replace("\"name\":\"coldforge\",\"version\":\"", "\"name\":\"coldforge\",\"version\":\"9"),
        ),
        ("the machine", "audit.jsonl", replace("\"edition\":\"Server", "\"edition\":\"Sewer")),
        (
            "the source",
            "audit.jsonl",
            replace(
                "\"source\":{\"name\":\"ws2022.vhd\",\"format\":\"vhd-dynamic\",\"file_bytes\":",
                "\"source\":{\"name\":\"ws2022.vhd\",\"format\":\"vhd-dynamic\",\"file_bytes\":1",
            ),
        ),
        ("the output", "audit.jsonl", replace("\"output\":{\"name\":\"", "\"output\":{\"name\":\"x")),
        ("the level", "audit.jsonl", replace("\"level\":\"high\"", "\"level\":\"low\"")),
        ("the number of changes", "audit.jsonl", replace("\"changes\":", "\"changes\":1")),
        ("an unknown line", "audit.jsonl", replace("\"type\":\"change\"", "\"type\":\"chance\"")),
        ("all changes left out", "audit.jsonl", drop_changes),
        ("a change told twice", "audit.jsonl", repeat_change),
        ("the assessment", "reports/assessment.json", replace("\"status\": \"not_reviewed\"", "\"status\": \"pass\"")),
        ("the boot mode", "aws/import-image.json", replace("legacy-bios", "uefi")),
        ("the tag", "aws/import-image.json", replace("\"Value\": \"", "\"Value\": \"0")),
        ("the container's format", "aws/containers.json", replace("\"vhd\"", "\"raw\"")),
        ("the checksum", "manifest.json", replace("\"sha256_base64\": \"", "\"sha256_base64\": \"A")),
    ];
    for (what, file, lie) in lies {
        std::fs::remove_dir_all(&out).unwrap();
        assert!(ask("cp", &["-r", text(&pristine), text(&out)]).status.success());
        let answer = lied(&out, file, lie);
        assert_eq!(answer.code, 1, "a lie about {what} is believed:\n{}", answer.out);
    }
}

/// Replaces the image's digest in every list and in the log, and seals both again, as a forger would.
fn reseal(out: &Path, old: &str, new: &str) {
    use sha2::Digest as _;
    let hex = |bytes: &[u8]| sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let replace = |file: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(out.join(file)).unwrap();
        std::fs::write(out.join(file), text.replace(from, to)).unwrap();
    };
    for file in ["audit.jsonl", "manifest.json"] {
        replace(file, old, new);
    }
    for entry in std::fs::read_dir(out.join("aws")).unwrap() {
        replace(&format!("aws/{}", entry.unwrap().file_name().to_str().unwrap()), old, new);
    }
    let mut prev = "0".repeat(64);
    let mut log = String::new();
    for line in std::fs::read_to_string(out.join("audit.jsonl")).unwrap().lines() {
        let (content, _) = line.rsplit_once(",\"hash\":\"").unwrap();
        let (head, _) = content.rsplit_once("\"prev\":\"").unwrap();
        let content = format!("{head}\"prev\":\"{prev}\"");
        prev = hex(content.as_bytes());
        log.push_str(&format!("{content},\"hash\":\"{prev}\"}}\n"));
    }
    std::fs::write(out.join("audit.jsonl"), log).unwrap();
    let sums = std::fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    let manifest = std::fs::read_to_string(out.join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    for file in manifest["files"].as_array_mut().unwrap() {
        let content = std::fs::read(out.join(file["path"].as_str().unwrap())).unwrap();
        file["bytes"] = content.len().into();
        file["sha256"] = hex(&content).into();
    }
    std::fs::write(out.join("manifest.json"), serde_json::to_string_pretty(&manifest).unwrap() + "\n").unwrap();
    let sums: String = sums
        .lines()
        .map(|line| {
            let file = line.split_once("  ").unwrap().1;
            format!("{}  {file}\n", hex(&std::fs::read(out.join(file)).unwrap()))
        })
        .collect();
    std::fs::write(out.join("SHA256SUMS"), sums).unwrap();
}

#[test]
fn the_output_place_is_respected() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let answer = coldforge(["harden", text(&fixture("ws2022.vhd")), "-o", text(&file)]).expect(2);
    assert!(answer.err.contains("exists and is not an empty folder") && answer.err.contains("hint:"), "{}", answer.err);
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    let nowhere = home.path().join("no/such/folder");
    let answer = coldforge(["harden", text(&fixture("ws2022.vhd")), "-o", text(&nowhere)]).expect(4);
    assert!(answer.err.contains("no/such"), "{}", answer.err);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let mount = text(home.path()).to_owned();
    if !ask("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs", &mount]).status.success() {
        eprintln!("SKIPPED: a tmpfs cannot be mounted here");
        return;
    }
    let answer = coldforge(["harden", text(&fixture("ws2022.vhd")), "-o", text(&home.path().join("out"))]);
    let left = std::fs::read_dir(home.path()).unwrap().count();
    ask("umount", &[&mount]);
    assert_eq!(answer.code, 4, "{}", answer.err);
    assert!(answer.err.contains("hint: free space"), "{}", answer.err);
    assert_eq!(left, 0);
}

#[test]
fn rules_are_selected_by_any_id_and_level() {
    let image = fixture("ws2022.vhd");
    let changes = |arguments: &[&str]| {
        let mut all = vec!["harden", text(&image), "--dry-run", "--json", "--fail-on", "none"];
        all.extend_from_slice(arguments);
        coldforge(all).expect(0).json()["changes"].as_u64().unwrap()
    };
    let all = changes(&[]);
    assert_eq!(changes(&["--only", "V-254475"]), 1);
    assert_eq!(changes(&["--only", "wn22-so-000310"]), 1);
    assert_eq!(changes(&["--skip", "WN22-SO-000310"]), all - 1);
    assert!(changes(&["--level", "low"]) < changes(&["--level", "medium"]));
    assert!(changes(&["--level", "medium"]) < all);
    let answer = coldforge(["scan", text(&image), "--only", "WN22-SO-00031"]).expect(2);
    assert!(answer.err.contains("WN22-SO-000310"), "the nearest rule is named: {}", answer.err);
}

#[test]
fn fail_on_decides_the_exit_code_of_a_scan() {
    let image = fixture("ws2022.vhd");
    coldforge(["scan", text(&image), "--fail-on", "none"]).expect(0);
    coldforge(["scan", text(&image), "--fail-on", "high"]).expect(1);
    coldforge(["scan", text(&image), "--level", "low", "--fail-on", "medium"]).expect(0);
}
