//! What Windows runs by itself counts as a script, whatever writes it; and a call at the first start is put where it is run.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::support::{Answer, coldforge, copy_of, text};

const RUN: &str = r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Run";

fn document(home: &Path, steps: &str) -> PathBuf {
    let file = home.join("document.yml");
    let steps = steps.trim_end().replace('\n', "\n      ");
    std::fs::write(&file, format!("schemaVersion: 1.0\nphases:\n  - name: build\n    steps:\n      {steps}\n"))
        .unwrap();
    file
}

fn harden(image: &Path, out: &Path, component: &Path, scripts: &str) -> Answer {
    let what = ["--component", text(component), "--scripts", scripts, "--only", "WN22-CC-000010"];
    coldforge([&["harden", text(image), "-o", text(out), "--fail-on", "none", "--json"], &what[..]].concat())
}

#[test]
fn what_windows_runs_by_itself_is_a_script_whatever_writes_it() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    std::fs::create_dir_all(home.join("files/deep")).unwrap();
    std::fs::write(home.join("files/deep/a.cmd"), "echo a\r\n").unwrap();
    std::fs::write(home.join("run.reg"), "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run]\r\n\"a\"=\"a.exe\"\r\n").unwrap();
    let make = r"- {name: Make, action: CreateFile, inputs: [{path: 'C:\Acme\a.cmd', content: x}]}";
    let startup = r"C:\ProgramData\Microsoft\Windows\Start Menu\Programs\Startup";
    for steps in [
        r"- {name: A, action: CreateFile, inputs: [{path: 'C:\Windows\Setup\Scripts\SetupComplete.cmd', content: x}]}".to_owned(),
        r"- {name: A, action: CreateFile, inputs: [{path: 'c:/windows/SETUP/scripts/ERRORHANDLER.CMD', content: x}]}".to_owned(),
        r"- {name: A, action: CreateFile, onFailure: Ignore, inputs: [{path: 'C:\Windows\Tasks\a.job', content: x}]}".to_owned(),
        r"- {name: A, action: CreateFile, inputs: [{path: 'C:\Windows\System32\Tasks\Acme', content: x}]}".to_owned(),
        format!(r"{make}
- {{name: A, action: CopyFile, inputs: [{{source: 'C:\Acme\a.cmd', destination: '{startup}\'}}]}}"),
        format!(r"{make}
- {{name: A, action: MoveFile, inputs: [{{source: 'C:\Acme\*.cmd', destination: '{startup}\'}}]}}"),
        format!(r"{make}
- {{name: A, action: CopyFolder, inputs: [{{source: 'C:\Acme', destination: '{startup}\'}}]}}"),
        format!(r"- {{name: A, action: InstallFiles, inputs: [{{source: files, destination: '{startup}'}}]}}"),
        r"- {name: A, action: InstallFiles, inputs: [{source: files/deep/a.cmd, destination: 'C:\Windows\Setup\Scripts\setupcomplete.cmd'}]}".to_owned(),
        format!("- {{name: A, action: SetRegistry, inputs: [{{path: '{RUN}', name: a, value: a.exe, type: SZ}}]}}"),
        r"- {name: A, action: SetRegistry, inputs: [{path: 'HKLM:\SOFTWARE\WOW6432NODE\Microsoft\Windows\CurrentVersion\RUNONCE', name: a, value: a.exe, type: SZ}]}".to_owned(),
        r"- {name: A, action: SetRegistry, inputs: [{path: 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon', name: Userinit, value: 'a.exe,', type: SZ}]}".to_owned(),
        r"- {name: A, action: SetRegistry, inputs: [{path: 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Image File Execution Options\sethc.exe', name: Debugger, value: cmd.exe, type: SZ}]}".to_owned(),
        r"- {name: A, action: SetRegistry, inputs: [{path: 'HKLM:\SYSTEM\ControlSet001\Services\Acme', name: ImagePath, value: a.exe, type: EXPAND_SZ}]}".to_owned(),
        r"- {name: A, action: SetRegistry, inputs: [{path: 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager', name: SetupExecute, value: [a], type: MULTI_SZ}]}".to_owned(),
        "- {name: A, action: ApplyPolicy, inputs: [{source: run.reg}]}".to_owned(),
    ] {
        let component = document(home, &steps);
        let answer = harden(&image, &home.join("out"), &component, "fail").expect(3);
        assert!(answer.err.contains("E-COMPONENT-AUTOSTART") && answer.err.contains("hint:"), "{steps}: {}", answer.err);
        assert!(!home.join("out").exists(), "{steps}");
        let lint = coldforge(["component", "lint", text(&component), "--json"]).json();
        let flaws: Vec<&Json> = lint["faults"].as_array().unwrap().iter().map(|fault| &fault["flaw"]).collect();
        assert!(flaws.contains(&&Json::from("autostart")), "{steps}: {lint:#}");
        assert_eq!((&lint["valid"], &lint["offline"]), (&Json::from(true), &Json::from(false)));
        coldforge(["component", "lint", text(&component), "--scripts", "translate"]).expect(0);
    }
    // Neighbours that Windows does not run, and what stands there already.
    let plain = r"- {name: A, action: CreateFile, inputs: [{path: 'C:\Windows\Setup\Scripts\other.cmd', content: x}]}
- {name: B, action: SetRegistry, inputs: [{path: 'HKLM:\SOFTWARE\Acme\Run', name: a, value: a.exe, type: SZ}]}";
    harden(&image, &home.join("plain"), &document(home, plain), "fail").expect(0);
}

#[test]
fn every_other_choice_names_it_in_run_log_and_reports() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    let steps = format!(
        "- {{name: Key, action: SetRegistry, inputs: [{{path: '{RUN}', name: acme, value: a.exe, type: SZ}}]}}\n\
         - {{name: Door, action: CreateFile, inputs: [{{path: 'C:\\Windows\\Setup\\Scripts\\ErrorHandler.cmd', content: x}}]}}\n\
         - {{name: Keep, action: CreateFile, inputs: [{{path: 'C:\\Acme\\a.cmd', content: x}}]}}\n\
         - {{name: Move, action: MoveFile, inputs: [{{source: 'C:\\Acme\\a.cmd', destination: 'C:\\Windows\\Tasks\\a.job'}}]}}"
    );
    let component = document(home, &steps);
    let skip = home.join("skip");
    let run = harden(&image, &skip, &component, "skip").expect(0).json();
    let statuses: Vec<&str> =
        run["components"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["left_out", "left_out", "done", "left_out"]);
    let left: Vec<&str> =
        run["left_open"].as_array().unwrap().iter().filter_map(|held| held["reason"].as_str()).collect();
    assert!(left.iter().any(|why| why.contains(r"CurrentVersion\Run!acme")), "{left:?}");
    let hardened = skip.join("ws2022.vhd");
    coldforge(["reg", "get", text(&hardened), r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run", "acme"]).expect(1);
    coldforge(["cat", text(&hardened), r"\Windows\Setup\Scripts\ErrorHandler.cmd"]).expect(4);
    assert_eq!(coldforge(["cat", text(&hardened), r"\Acme\a.cmd"]).expect(0).out, "x", "what was not moved stays");
    coldforge(["verify", text(&skip), "--source", text(&image)]).expect(0);
    let out = home.join("translate");
    let run = harden(&image, &out, &component, "translate").expect(0).json();
    let warnings = run["warnings"].to_string();
    for place in [r"CurrentVersion\\Run!acme", "ErrorHandler.cmd", r"Tasks\\a.job"] {
        assert!(warnings.contains("W-AUTOSTART") && warnings.contains(place), "{place}: {warnings}");
    }
    assert!(run["components"][0]["autostarts"][0].as_str().unwrap().contains("acme"), "{run:#}");
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    let html = std::fs::read_to_string(out.join("reports/report.html")).unwrap();
    assert!(log.lines().next().unwrap().contains("W-AUTOSTART") && html.contains("W-AUTOSTART"));
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    // What stands there is written by nobody, and refused to nobody.
    harden(
        &out.join("ws2022.vhd"),
        &home.join("again"),
        &document(home, steps.split("\n- {name: Keep").next().unwrap()),
        "fail",
    )
    .expect(0);
}

#[test]
fn a_call_that_is_not_run_is_put_where_it_is() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    crate::first_boot::prepare(&image);
    coldforge(["mkdir", text(&image), "/Windows/Setup/Scripts", "--parents"]).expect(0);
    let component = document(home, "- {name: A, action: ExecutePowerShell, inputs: {commands: [Get-Date]}}");
    let own = home.join("own.cmd");
    for (number, stands) in [
        "@echo off\r\nrem @call \"%~dp0coldforge\\steps.cmd\"\r\n",
        "exit /b 0\r\n@call \"%~dp0coldforge\\steps.cmd\"\r\n",
        ":: @call \"%~dp0coldforge\\reapply.cmd\"\r\nexit\r\n",
    ]
    .iter()
    .enumerate()
    {
        std::fs::write(&own, stands).unwrap();
        let _ = coldforge(["rm", text(&image), "/Windows/Setup/Scripts/SetupComplete.cmd"]);
        coldforge(["put", text(&image), text(&own), "/Windows/Setup/Scripts/SetupComplete.cmd"]).expect(0);
        let out = home.join(number.to_string());
        harden(&image, &out, &component, "first-boot").expect(0);
        let hardened = out.join("ws2022.vhd");
        let said = coldforge(["cat", text(&hardened), "/Windows/Setup/Scripts/SetupComplete.cmd"]).expect(0).out;
        assert!(said.starts_with("@call \"%~dp0coldforge\\steps.cmd\"\r\n") && said.ends_with(stands), "{said}");
        let again = harden(&hardened, &home.join(format!("{number}-again")), &component, "first-boot").expect(0).json();
        assert_eq!(again["changed"].as_array().unwrap().len(), 0, "{again:#}");
    }
}

#[test]
fn lint_says_what_harden_refuses_without_an_image_and_no_hint_leads_in_a_circle() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    let head = "schemaVersion: 1.0\nparameters:\n  - Ver: {type: string, default: '1.2'}\n  - Kind: {type: string, default: DWORD}\n\
                phases:\n  - name: build\n    steps:\n";
    let key = r"HKLM:\SOFTWARE\Acme";
    for (steps, scripts, flaw) in [
        ("- {name: A, action: ExecutePowerShell, inputs: {commands: [\"choco install -y awscli --version '{{ Ver }}'\"]}}".to_owned(), "translate", "script"),
        ("- {name: A, action: ExecutePowerShell, loop: {forEach: [a, b]}, inputs: {commands: ['choco install {{ loop.value }}']}}".to_owned(), "translate", "script"),
        (r"- {name: A, action: ExecutePowerShell, inputs: {commands: ['New-Item -Path HKLM:\SOFTWARE\Acme']}}".to_owned(), "translate", "script"),
        ("- {name: A, action: ExecutePowerShell, inputs: {commands: []}}".to_owned(), "translate", "missing-field"),
        (format!("- {{name: A, action: SetRegistry, inputs: [{{path: '{key}', name: A, value: 1.1, type: DWORD}}]}}"), "fail", "registry-value"),
        (format!("- {{name: A, action: SetRegistry, inputs: [{{path: '{key}', name: A, value: '{{{{ Ver }}}}', type: '{{{{ Kind }}}}'}}]}}"), "fail", "registry-value"),
        (format!("- {{name: A, action: SetRegistry, inputs: [{{path: '{key}', name: A, value: '4294967296', type: DWORD}}]}}"), "fail", "registry-value"),
        (format!("- {{name: A, action: SetRegistry, inputs: [{{path: '{key}', name: A, value: zz, type: BINARY}}]}}"), "fail", "registry-value"),
        (format!("- {{name: A, action: SetRegistry, inputs: [{{path: '{key}', name: A, value: 1, type: WORD}}]}}"), "fail", "word"),
        ("- {name: A, action: SetRegistry, inputs: [{path: 'HKXX:\\A', name: A, value: 1, type: DWORD}]}".to_owned(), "fail", "registry-key"),
        ("- {name: A, action: SetService, inputs: [{name: Spooler, startupType: Sometimes}]}".to_owned(), "fail", "word"),
        (r"- {name: A, action: CreateFile, inputs: [{path: 'C:\a\..\b', content: x}]}".to_owned(), "fail", "path"),
        (r"- {name: A, action: CreateFile, inputs: [{path: 'C:\a{{ Ver }}:b', content: x}]}".to_owned(), "fail", "path"),
        (r"- {name: A, action: CreateFile, inputs: [{path: 'C:\Windows\System32\config\SYSTEM', content: x}]}".to_owned(), "fail", "path"),
        (r"- {name: A, action: CreateFile, inputs: [{path: 'C:\a', content: x, encoding: utf-16}]}".to_owned(), "fail", "word"),
        (r"- {name: A, action: InstallFiles, inputs: [{source: none.txt, destination: 'C:\a'}]}".to_owned(), "fail", "path"),
        ("- {name: A, action: S3Download, inputs: []}".to_owned(), "fail", "missing-field"),
        ("- {name: A, action: SetRegistry, inputs: []}".to_owned(), "fail", "missing-field"),
        ("- {name: A, action: Assert, inputs: {stringEquals: '2', value: '{{ Ver }}'}}".to_owned(), "fail", "failed"),
        (r"- {name: A, action: InstallMSI, inputs: {path: 'C:\a.msi', reboot: Force}}".to_owned(), "first-boot", "script"),
    ] {
        let file = home.join("steps.yml");
        std::fs::write(&file, format!("{head}      {steps}\n")).unwrap();
        let lint = coldforge(["component", "lint", text(&file), "--scripts", scripts, "--json"]).expect(1).json();
        assert_eq!(lint["faults"][0]["flaw"], flaw, "{steps}: {lint:#}");
        assert!(lint["faults"][0]["hint"].is_string());
        let answer = harden(&image, &home.join("out"), &file, scripts).expect(3);
        assert!(answer.err.contains("hint:"), "{}", answer.err);
        let said = lint["faults"][0]["message"].as_str().unwrap();
        assert!(answer.err.contains(said), "{steps}: harden says {}, lint {said}", answer.err);
    }
    // A parameter without a value: lint asks for the same that harden asks for.
    let file = home.join("open.yml");
    std::fs::write(&file, "schemaVersion: 1.0\nparameters:\n  - Site: {type: string}\nphases:\n  - name: build\n    steps:\n      - {name: A, action: CreateFile, inputs: [{path: 'C:\\a', content: '{{ Site }}'}]}\n").unwrap();
    let lint = coldforge(["component", "lint", text(&file), "--json"]).expect(1).json();
    assert_eq!(lint["faults"][0]["flaw"], "parameter");
    assert!(harden(&image, &home.join("out"), &file, "fail").expect(3).err.contains("--parameter NAME=VALUE"));
    coldforge(["component", "lint", text(&file), "--parameter", "Site=a"]).expect(0);
    // What only the image tells is no matter of lint, and no hint sends the reader there.
    for steps in [
        r"- {name: A, action: DeleteFile, inputs: [{path: 'C:\none'}]}",
        r"- {name: A, action: Assert, inputs: {fileExists: 'C:\none'}}",
        "- {name: A, action: SetService, inputs: [{name: None, startupType: Manual}]}",
        "- {name: A, action: SetRegistry, if: {stringEquals: '2', value: '{{ Ver }}'}, inputs: [{path: 'HKLM:\\SOFTWARE\\A', name: A, value: '{{ Ver }}', type: DWORD}]}",
        "- {name: A, action: SetRegistry, onFailure: Ignore, inputs: [{path: 'HKLM:\\SOFTWARE\\A', name: A, value: '{{ Ver }}', type: DWORD}]}",
        r"- {name: A, action: SetRegistry, inputs: [{path: 'HKLM:\SOFTWARE\A', name: A, value: '{{ env:None }}', type: DWORD}]}",
    ] {
        let file = home.join("steps.yml");
        std::fs::write(&file, format!("{head}      {steps}\n")).unwrap();
        coldforge(["component", "lint", text(&file)]).expect(0);
        let answer = harden(&image, &home.join("out"), &file, "fail");
        assert!(!answer.err.contains("component lint"), "{steps}: {}", answer.err);
        let _ = std::fs::remove_dir_all(home.join("out"));
    }
}
