//! Component documents of EC2 Image Builder, carried out beside a STIG: each write in the log, proven again from the source,
//! and nothing left when a step fails.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Answer, coldforge, copy_of, fixture, text};

const NOTICE: &str = r"\Acme\notice.txt";

fn harden(image: &Path, out: &Path, component: &Path, more: &[&str]) -> Answer {
    let mut arguments = vec!["harden", text(image), "-o", text(out), "--fail-on", "none", "--json"];
    arguments.extend(["--component", text(component)]);
    arguments.extend(more);
    coldforge(arguments)
}

fn document(home: &Path, steps: &str) -> PathBuf {
    let file = home.join("document.yml");
    let steps = steps.trim_end().replace('\n', "\n      ");
    std::fs::write(&file, format!("schemaVersion: 1.0\nphases:\n  - name: build\n    steps:\n      {steps}\n"))
        .unwrap();
    file
}

fn value(image: &Path, name: &str) -> String {
    coldforge(["reg", "get", text(image), r"HKLM\SOFTWARE\Acme\Baseline", name]).expect(0).out
}

#[test]
fn a_component_is_carried_out_logged_proven_and_changes_nothing_the_second_time() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let component = fixture("components/baseline.yml");
    let [first, second] = ["first", "second"].map(|name| home.path().join(name));
    let run = harden(&image, &first, &component, &["--parameter", "Site=Bergen"]).expect(0).json();
    let hardened = first.join("ws2022.vhd");

    assert_eq!(
        coldforge(["cat", text(&hardened), NOTICE]).expect(0).out,
        "This server stands in Bergen.\nIt is hardened.\n"
    );
    coldforge(["ls", text(&hardened), r"\Acme\tools"]).expect(0);
    coldforge(["check", text(&hardened)]).expect(0);
    assert!(value(&hardened, "Site").contains("Bergen") && value(&hardened, "Ports").contains("5986"));
    let statuses: Vec<&str> =
        run["components"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect();
    let done = "done";
    assert_eq!(statuses, [done, done, done, done, "skipped", done, done, done, done]);

    let log = std::fs::read_to_string(first.join("audit.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |step: &str| {
        let is_of = |line: &&Value| {
            let rules = line["rules"].as_array();
            rules.is_some_and(|rules| rules.iter().any(|rule| rule.as_str().unwrap().ends_with(step)))
        };
        lines.iter().filter(is_of).collect::<Vec<_>>()
    };
    assert_eq!(of("build.Values").len(), 3);
    assert_eq!((of("build.Folders").len(), of("build.Notice").len(), of("build.More").len()), (2, 1, 1));
    let label = of("build.More")[0]["rules"][0].as_str().unwrap().to_owned();
    let recorded = &lines[0]["policy"]["components"][0];
    let digest = recorded["sha256"].as_str().unwrap();
    assert_eq!(label, format!("component acme-baseline@{} build.Notice", &digest[..12]));
    assert_eq!(digest, crate::support::sha256(&component));
    assert_eq!(recorded["parameters"]["Site"], "Bergen");

    coldforge(["verify", text(&first), "--source", text(&image)]).expect(0);
    let again = harden(&hardened, &second, &component, &["--parameter", "Site=Bergen"]).expect(0).json();
    assert_eq!(again["changed"].as_array().unwrap().len(), 0, "{again:#}");
}

#[test]
fn files_are_moved_and_taken_away() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let [first, second] = ["first", "second"].map(|name| home.path().join(name));
    harden(&image, &first, &fixture("components/baseline.yml"), &[]).expect(0);
    let hardened = first.join("ws2022.vhd");
    let steps = "\
- name: Move
  action: MoveFile
  inputs:
    - source: C:\\Acme\\notice.txt
      destination: C:\\Acme\\logs\\
- name: Folder
  action: DeleteFolder
  inputs:
    - path: C:\\Acme\\tools
- name: Gone
  action: DeleteFolder
  inputs:
    - path: C:\\Nowhere
      force: true
- name: Look
  action: Assert
  inputs:
    not:
      or:
        - fileExists: C:\\Acme\\notice.txt
        - folderExists: C:\\Acme\\tools";
    harden(&hardened, &second, &document(home.path(), steps), &[]).expect(0);
    let moved = second.join("ws2022.vhd");
    coldforge(["cat", text(&moved), NOTICE]).expect(4);
    coldforge(["ls", text(&moved), r"\Acme\tools"]).expect(4);
    assert!(coldforge(["cat", text(&moved), r"\Acme\logs\notice.txt"]).expect(0).out.contains("Oslo"));
    coldforge(["check", text(&moved)]).expect(0);
    coldforge(["verify", text(&second), "--source", text(&hardened)]).expect(0);
}

#[test]
fn a_step_that_fails_leaves_no_bundle_and_is_named() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let out = home.path().join("out");
    for (steps, said) in [
        (r"- {name: A, action: CreateFile, inputs: [{path: 'C:\a\..\b', content: x}]}", "dots"),
        (r"- {name: A, action: CreateFile, inputs: [{path: 'D:\a', content: x}]}", "another drive"),
        (r"- {name: A, action: CreateFile, inputs: [{path: 'C:\a:b', content: x}]}", "alternate stream"),
        (r"- {name: A, action: CreateFile, inputs: [{path: 'C:\nul.txt', content: x}]}", "name of a device"),
        (
            r"- {name: A, action: CreateFile, inputs: [{path: 'C:\Windows\System32\config\SYSTEM', content: x}]}",
            "itself",
        ),
        (r"- {name: A, action: DeleteFile, inputs: [{path: 'C:\no'}]}", "no file"),
        (r"- {name: A, action: Assert, inputs: {fileExists: 'C:\no'}}", "does not hold"),
        (
            r"- {name: A, action: SetRegistry, inputs: [{path: 'HKLM:\SOFTWARE\A', name: B, value: 1.1, type: DWORD}]}",
            "whole number",
        ),
        (r"- {name: A, action: SetRegistry, inputs: [{path: 'HKXX:\A', name: B, value: 1, type: DWORD}]}", "no root"),
        (r"- {name: A, action: SetService, inputs: [{name: NoSuch, startupType: Disabled}]}", "no service"),
        (r"- {name: A, action: Reboot}", "needs a Windows that runs"),
        (r"- {name: A, action: ExecutePowerShell, inputs: {commands: [Get-Date]}}", "needs a Windows that runs"),
        (r"- {name: A, action: CreateSymlink, inputs: [{path: a}]}", "not one of Windows"),
    ] {
        let answer = harden(&image, &out, &document(home.path(), steps), &[]).expect(3);
        assert!(answer.err.contains(said), "{steps}: {}", answer.err);
        assert!(!out.exists(), "{steps}");
    }
    // A test that fails comes after the edit, and withholds the image as well.
    let failing =
        std::fs::read_to_string(fixture("components/baseline.yml")).unwrap().replace("value: 42", "value: 43");
    let file = home.path().join("failing.yml");
    std::fs::write(&file, failing).unwrap();
    let answer = harden(&image, &out, &file, &[]).expect(3);
    assert!(answer.err.contains("test.Level") && !out.exists(), "{}", answer.err);
}

#[test]
fn scripts_are_refused_left_out_or_translated() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let component = fixture("components/scripts.yml");
    let [refused, skipped, translated] = ["a", "b", "c"].map(|name| home.path().join(name));
    assert!(harden(&image, &refused, &component, &[]).expect(3).err.contains("E-COMPONENT-OFFLINE"));
    let run = harden(&image, &skipped, &component, &["--scripts", "skip"]).expect(0).json();
    assert_eq!(run["components"][0]["status"], "left_out");
    let is_told = |held: &Value| held["reason"] == "its script was left out";
    assert!(run["left_open"].as_array().unwrap().iter().any(is_told));
    harden(&image, &translated, &component, &["--scripts", "translate"]).expect(0);
    let hardened = translated.join("ws2022.vhd");
    let found = coldforge(["reg", "get", text(&hardened), r"HKLM\SOFTWARE\Acme\Scripts", "Text"]).expect(0).out;
    assert!(found.contains("two words"), "{found}");
    coldforge(["verify", text(&translated), "--source", text(&image)]).expect(0);
}

#[test]
fn keys_and_files_of_a_script_are_made_where_powershell_would_make_them() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let run = |name: &str, script: &str, code: i32| {
        let lines: String = script.lines().map(|line| format!("      {}\n", line.trim())).collect();
        let step = format!("- name: Script\n  action: ExecutePowerShell\n  inputs:\n    commands:\n    - |\n{lines}");
        let component = document(home.path(), &step);
        harden(&image, &home.path().join(name), &component, &["--scripts", "translate"]).expect(code)
    };
    run(
        "made",
        r"New-Item -Path HKLM:\SOFTWARE\Acme
          New-Item -Path HKLM:\SOFTWARE\Acme\Deep\Deeper -Force | Out-Null
          Set-ItemProperty -Path HKLM:\SOFTWARE\Acme\Deep\Deeper -Name Level -Value 7 -Type DWord
          Remove-ItemProperty -Path HKLM:\SOFTWARE\Acme -Name Gone -ErrorAction SilentlyContinue
          New-Item -Path C:\Acme\a.txt -ItemType File -Value 'a text' -Force
          Copy-Item -Path C:\Acme\a.txt -Destination C:\Windows\Temp",
        0,
    );
    let made = home.path().join("made/ws2022.vhd");
    let found = coldforge(["reg", "get", text(&made), r"HKLM\SOFTWARE\Acme\Deep\Deeper", "Level"]).expect(0).out;
    assert!(found.contains('7'), "{found}");
    assert_eq!(coldforge(["cat", text(&made), "/Windows/Temp/a.txt"]).expect(0).out, "a text");
    coldforge(["verify", text(&home.path().join("made")), "--source", text(&image)]).expect(0);
    for (script, why) in [
        (r"New-Item -Path HKLM:\SOFTWARE\Acme", "holds no value"),
        (r"New-Item -Path HKLM:\SOFTWARE\Microsoft -Force", "exists"),
        (r"New-Item -Path HKLM:\SOFTWARE\None\Acme", "there is no key"),
        (r"Set-ItemProperty -Path HKLM:\SOFTWARE\None -Name A -Value 1 -Type DWord", "there is no key"),
        (r"New-Item -Path C:\None\a.txt -ItemType File", "there is no folder"),
        (r"Copy-Item -Path C:\none.txt -Destination C:\Windows\Temp", "there is no file"),
        (r"Copy-Item -Path C:\Windows\Temp -Destination C:\b", "there is no file"),
    ] {
        let answer = run("refused", script, 3);
        assert!(answer.err.contains(why), "{script}: {}", answer.err);
    }
}

#[test]
fn what_windows_keeps_from_system_is_kept_from_components() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let run = |step: &str, code: i32| {
        let component = document(home.path(), &format!("- {{name: Step, {step}}}\n"));
        let _ = std::fs::remove_dir_all(home.path().join("out"));
        harden(&image, &home.path().join("out"), &component, &[]).expect(code)
    };
    for step in [
        r"action: CreateFile, inputs: [{path: 'C:\Windows\System32\ntoskrnl.exe', content: x}]",
        r"action: DeleteFile, inputs: [{path: 'C:\Windows\System32\cmd.exe'}]",
        r"action: MoveFile, inputs: [{source: 'C:\Windows\System32\cmd.exe', destination: 'C:\cmd.exe'}]",
    ] {
        let answer = run(step, 3);
        assert!(answer.err.contains("do not let SYSTEM change it"), "{step}: {}", answer.err);
    }
    for step in [
        r"action: CopyFile, inputs: [{source: 'C:\Windows\System32\cmd.exe', destination: 'C:\cmd.exe'}]",
        r"action: CreateFile, inputs: [{path: 'C:\Windows\System32\acme.txt', content: x}]",
        r"action: AppendFile, inputs: [{path: 'C:\Windows\System32\drivers\etc\hosts', content: x}]",
        r"action: CreateFolder, inputs: [{path: 'C:\Acme\a\b'}]",
    ] {
        run(step, 0);
    }
}

#[test]
fn a_document_that_would_fill_the_memory_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let refused = |steps: &str, what: &str| {
        let component = document(home.path(), steps);
        let answer = harden(&image, &home.path().join("out"), &component, &[]).expect(3);
        assert!(answer.err.contains(what), "{}", answer.err);
    };
    let many = format!(
        r"- name: Many
  action: CreateFile
  loop: {{for: {{start: 1, end: 9000, updateBy: 1}}}}
  inputs: [{{path: 'C:\a\{{{{ loop.index }}}}', content: '{}'}}]
",
        "y".repeat(900_000)
    );
    refused(&many, "more than 512 MiB of texts and files");
    let step = |number: usize, content: &str| {
        format!("- {{name: Step{number:02}, action: CreateFile, inputs: [{{path: 'C:\\a', content: '{content}'}}]}}\n")
    };
    let mut twice = step(0, "abcdefgh");
    for number in 1..40 {
        let before = format!("{{{{ build.Step{:02}.inputs.content }}}}", number - 1);
        twice.push_str(&step(number, &before.repeat(2)));
    }
    refused(&twice, "makes a text of more than 16 MiB");
}

#[test]
fn lint_names_what_is_wrong_and_where() {
    let home = tempfile::tempdir().unwrap();
    let lint = |text_of: &str| {
        let file = home.path().join("lint.yml");
        std::fs::write(&file, text_of).unwrap();
        coldforge(["component", "lint", text(&file), "--json"]).expect(1).json()
    };
    let head = "schemaVersion: 1.0\nphases:\n  - name: build\n    steps:\n";
    for (steps, flaw) in [
        ("      - {name: A, action: CreateFle, inputs: []}\n", "unknown-action"),
        ("      - {name: A, action: createfile, inputs: []}\n", "unknown-action"),
        ("      - {name: A, action: CreateFile, inputs: [{path: a, force: true}]}\n", "unknown-field"),
        ("      - {name: A, action: CreateFile, inputs: [{content: a}]}\n", "missing-field"),
        ("      - {name: A, action: CreateFile, inputs: {path: a}}\n", "form"),
        ("      - {name: A, action: CreateFile, inputs: [{path: a, owner: b}]}\n", "not-windows"),
        ("      - {name: A, action: CreateFile, timeoutSeconds: 0, inputs: [{path: a}]}\n", "number"),
        ("      - {name: A, action: CreateFile, maxAttempts: 0, inputs: [{path: a}]}\n", "number"),
        ("      - {name: A, action: CreateFile, onFailure: abort, inputs: [{path: a}]}\n", "word"),
        ("      - {name: A, action: CreateFile, inputs: [{path: '{{ Foo }}'}]}\n", "expression"),
        ("      - {name: A, action: CreateFile, inputs: [{path: '{{ build.B.outputs.x }}'}]}\n", "expression"),
        ("      - {name: A, action: CreateFile, inputs: [{path: '{{ aws:imds:iam/x }}'}]}\n", "expression"),
        ("      - {name: A, action: CreateFile, inputs: [{path: \"C:\\temp\"}]}\n", "path"),
        ("      - {name: A, action: Assert, inputs: {stringEquals: a}}\n", "missing-field"),
        (
            "      - {name: A, action: CreateFile, loop: {for: {start: 1, end: 2, updateBy: 0}}, inputs: [{path: a}]}\n",
            "loop",
        ),
        ("      - {name: A, action: ExecutePowerShell, inputs: {commands: [a], file: b}}\n", "missing-field"),
        ("      - {name: A, name: B, action: Reboot}\n", "duplicate-key"),
    ] {
        let said = lint(&format!("{head}{steps}"));
        assert_eq!(said["faults"][0]["flaw"], flaw, "{steps}: {said:#}");
        assert_eq!(said["faults"][0]["line"], 5, "{steps}");
        assert_eq!(said["valid"], false);
    }
    let twice = "      - {name: A, action: DeleteFile, inputs: [{path: a}]}\n".repeat(2);
    assert_eq!(lint(&format!("{head}{twice}"))["faults"][0]["flaw"], "duplicate-name");
    for (document, flaw) in [
        ("schemaVersion: 2.0\nphases:\n  - {name: build, steps: []}\n", "schema-version"),
        ("schemaVersion: 1.0\nphases:\n  - {name: other, steps: []}\n", "phases"),
        ("schemaVersion: 1.0\nphases: {build: []}\n", "form"),
        (
            "schemaVersion: 1.0\nparameters:\n  - {name: X, type: string}\nphases:\n  - {name: build, steps: []}\n",
            "form",
        ),
        (
            "schemaVersion: 1.0\nconstants:\n  - ab: {type: string, value: x}\nphases:\n  - {name: build, steps: []}\n",
            "name",
        ),
    ] {
        let said = lint(document);
        let flaws: Vec<&Value> = said["faults"].as_array().unwrap().iter().map(|fault| &fault["flaw"]).collect();
        assert!(flaws.contains(&&Value::from(flaw)), "{document}: {said:#}");
    }
    let offline = lint(&format!("{head}      - {{name: A, action: UpdateOS}}\n"));
    assert_eq!((&offline["valid"], &offline["offline"]), (&Value::from(true), &Value::from(false)));
    coldforge(["component", "lint", text(&fixture("components/baseline.yml"))]).expect(0);
    coldforge(["component", "lint", text(&fixture("components/scripts.yml")), "--scripts", "translate"]).expect(0);
}
