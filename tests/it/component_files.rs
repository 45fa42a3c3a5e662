//! Components that bring files, work on folders, apply policies, and leave scripts to the first start.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Answer, coldforge, copy_of, fixture, sha256, text};

fn write(home: &Path, name: &str, content: &[u8]) -> PathBuf {
    let file = home.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, content).unwrap();
    file
}

fn document(home: &Path, steps: &str) -> PathBuf {
    let steps = steps.trim_end().replace('\n', "\n      ");
    let text = format!("schemaVersion: 1.0\nphases:\n  - name: build\n    steps:\n      {steps}\n");
    write(home, "document.yml", text.as_bytes())
}

fn harden(image: &Path, out: &Path, component: &Path, more: &[&str]) -> Answer {
    let mut arguments = vec!["harden", text(image), "-o", text(out), "--fail-on", "none", "--json"];
    arguments.extend(["--component", text(component)]);
    arguments.extend(more);
    coldforge(arguments)
}

fn got(image: &Path, path: &str, home: &Path) -> Option<String> {
    let file = home.join("got");
    let answer = coldforge(["cat", text(image), path, "-o", text(&file)]);
    let digest = (answer.code == 0).then(|| sha256(&file));
    let _ = std::fs::remove_file(&file);
    digest
}

/// Bytes that are no text, of some size.
fn binary(seed: u8, count: usize) -> Vec<u8> {
    (0..count).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed) | 0x80).collect()
}

#[test]
fn files_beside_a_document_are_installed_copied_moved_and_proven_again_without_it() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    let agent = write(home, "doc/files/agent.bin", &binary(1, 70_000));
    let inner = write(home, "doc/files/sub/inner.bin", &binary(2, 300));
    write(home, "doc/files/readme.txt", b"plain text\n");
    let component = document(
        &home.join("doc"),
        r"- name: Bring
  action: InstallFiles
  inputs:
    - {source: files, destination: 'C:\Acme\agent'}
    - {source: files/agent.bin, destination: 'C:\Acme\bin\'}
- name: Wild
  action: CopyFile
  inputs:
    - {source: 'C:\Acme\agent\*.bin', destination: 'C:\Acme\copies\'}
- name: Tree
  action: CopyFolder
  inputs:
    - {source: 'C:\Acme\agent', destination: 'C:\Acme\trees\'}
- name: Move
  action: MoveFolder
  inputs:
    - {source: 'C:\Acme\trees\agent', destination: 'C:\Acme\moved'}
- name: Clean
  action: DeleteFile
  inputs:
    - {path: 'C:\Acme\copies\*.tmp'}
    - {path: 'C:\Acme\moved\*.txt'}
- name: List
  action: ListFiles
  inputs:
    - {path: 'C:\Acme\moved', recursive: true, fileNamePattern: '*.bin'}
- name: Told
  action: CreateFile
  inputs:
    - {path: 'C:\Acme\list.txt', content: '{{ build.List.outputs.files }}'}
- name: Look
  action: Assert
  inputs:
    and:
      - {fileSHA1Equals: SHA1, path: 'C:\Acme\copies\agent.bin'}
      - {fileMD5Equals: MD5, path: 'C:\Acme\copies\agent.bin'}
      - {patternMatches: '^c:\\acme\\moved\\agent\.bin,', value: '{{ build.List.outputs.files }}'}
      - not: {fileExists: 'C:\Acme\moved\readme.txt'}
      - not: {binaryExists: nosuchprogram}",
    );
    let digest = |tool: &str| {
        let answer = std::process::Command::new(tool).arg(&agent).output().unwrap();
        String::from_utf8(answer.stdout).unwrap().split(' ').next().unwrap().to_owned()
    };
    let filled = std::fs::read_to_string(&component).unwrap();
    let filled =
        filled.replace("SHA1,", &format!("{},", digest("sha1sum"))).replace("MD5,", &format!("{},", digest("md5sum")));
    std::fs::write(&component, filled).unwrap();
    let [first, second] = ["first", "second"].map(|name| home.join(name));
    harden(&image, &first, &component, &[]).expect(0);
    let hardened = first.join("ws2022.vhd");
    for (path, source) in [
        (r"\Acme\agent\agent.bin", &agent),
        (r"\Acme\bin\agent.bin", &agent),
        (r"\Acme\copies\agent.bin", &agent),
        (r"\Acme\moved\agent.bin", &agent),
        (r"\Acme\moved\sub\inner.bin", &inner),
    ] {
        assert_eq!(got(&hardened, path, home), Some(sha256(source)), "{path}");
    }
    for path in [r"\Acme\trees\agent", r"\Acme\moved\readme.txt"] {
        assert_eq!(got(&hardened, path, home), None, "{path}");
    }
    let list = coldforge(["cat", text(&hardened), r"\Acme\list.txt"]).expect(0).out;
    assert_eq!(list, r"C:\Acme\moved\agent.bin,C:\Acme\moved\sub\inner.bin");
    coldforge(["check", text(&hardened)]).expect(0);

    // The log tells size and digest; the bundle has the bytes.
    let log = std::fs::read_to_string(first.join("audit.jsonl")).unwrap();
    let of = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let header = of(log.lines().next().unwrap());
    assert_eq!(header["policy"]["components"][0]["files"]["files/agent.bin"]["sha256"], sha256(&agent));
    let is_put =
        |line: &Value| line["setting"]["kind"] == "file_data" && line["setting"]["path"] == r"Acme\bin\agent.bin";
    let put = log.lines().map(of).find(is_put).unwrap();
    assert_eq!((&put["before"], &put["after"]["data"]["bytes"]), (&Value::Null, &Value::from(70_000)));
    let kept = first.join("components").join(sha256(&agent));
    assert_eq!(sha256(&kept), sha256(&agent));

    // It is proven without the files that it came from, and not with others.
    std::fs::remove_dir_all(home.join("doc/files")).unwrap();
    coldforge(["verify", text(&first), "--source", text(&image)]).expect(0);
    let bytes = std::fs::read(&kept).unwrap();
    std::fs::write(&kept, &bytes[1..]).unwrap();
    assert_ne!(coldforge(["verify", text(&first), "--source", text(&image)]).code, 0);
    std::fs::write(&kept, &bytes).unwrap();

    for (path, content) in [("files/agent.bin", binary(1, 70_000)), ("files/sub/inner.bin", binary(2, 300))] {
        write(&home.join("doc"), path, &content);
    }
    write(home, "doc/files/readme.txt", b"plain text\n");
    let again = harden(&hardened, &second, &component, &[]).expect(0).json();
    assert_eq!(again["changed"].as_array().unwrap().len(), 0, "{:#}", again["changed"]);
}

#[test]
fn downloads_come_from_a_folder_that_stands_in_for_the_network() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    let mirror = home.join("mirror");
    write(home, "mirror/acme-bin/agent/a.bin", &binary(1, 5000));
    write(home, "mirror/acme-bin/agent/sub/b.txt", b"b");
    write(home, "mirror/example.com/tools/t.zip", b"zip");
    write(home, "outside/secret", b"secret");
    let steps = |web: &str| {
        format!(
            r"- {{name: Folder, action: CreateFolder, inputs: [{{path: 'C:\Acme'}}]}}
- name: Objects
  action: S3Download
  inputs:
  - {{source: 's3://acme-bin/agent/*', destination: 'C:\Acme'}}
  - {{source: 's3://acme-bin/agent/a.bin', destination: 'C:\Acme\single.bin', expectedBucketOwner: '111122223333'}}
- name: Tool
  action: WebDownload
  inputs: [{{source: 'https://example.com/tools/t.zip', destination: 'C:\New\Tools\', {web}}}]
- name: Chain
  action: CreateFile
  inputs: [{{path: 'C:\Acme\chain.txt', content: '{{{{ build.Tool.outputs[0].destination }}}}'}}]"
        )
    };
    let right =
        format!("algorithm: SHA256, checksum: {}", crate::support::sha256(&mirror.join("example.com/tools/t.zip")));
    let component = document(home, &steps(&right));
    let out = home.join("out");
    let answer = harden(&image, &out, &component, &[]).expect(3);
    assert!(answer.err.contains("name a folder of downloads"), "{}", answer.err);
    let from = ["--downloads", text(&mirror)];
    coldforge([&["component", "lint", text(&component)], &from[..]].concat()).expect(0);
    harden(&image, &out, &component, &from).expect(0);
    let hardened = out.join("ws2022.vhd");
    let sum = |path: &str| got(&hardened, path, home);
    let a = Some(crate::support::sha256(&mirror.join("acme-bin/agent/a.bin")));
    assert_eq!((sum("/Acme/a.bin"), sum("/Acme/single.bin")), (a.clone(), a));
    assert!(sum("/Acme/sub/b.txt").is_some() && sum("/New/Tools/t.zip").is_some());
    assert_eq!(coldforge(["cat", text(&hardened), "/Acme/chain.txt"]).expect(0).out, r"C:\New\Tools\t.zip");
    // The bundle keeps what was downloaded.
    std::fs::rename(&mirror, home.join("gone")).unwrap();
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    std::fs::rename(home.join("gone"), &mirror).unwrap();
    let again = harden(&hardened, &home.join("again"), &component, &from).expect(0).json();
    assert_eq!(again["changed"].as_array().unwrap().len(), 0, "{:#}", again["changed"]);

    let refused = |steps: &str, what: &str| {
        let component = document(home, steps);
        let answer = harden(&image, &home.join("refused"), &component, &from).expect(3);
        assert!(answer.err.contains(what), "{what}: {}", answer.err);
    };
    refused(&steps(&format!("algorithm: SHA256, checksum: {}", "0".repeat(64))), "its SHA256 is");
    refused(&steps("algorithm: SHA256"), "stand together");
    let one = |source: &str, destination: &str| {
        format!("- {{name: One, action: S3Download, inputs: [{{source: '{source}', destination: '{destination}'}}]}}")
    };
    refused(&one("s3://acme-bin/agent/a.bin", r"C:\None\a.bin"), "there is no folder");
    refused(&one("s3://acme-bin/agent/a.bin", r"C:\Windows"), "is a folder: name the file");
    refused(&one("s3://acme-bin/none", r"C:\a"), "\"acme-bin/none\" does not exist in");
    refused(&one("s3://acme-bin/../../outside/secret", r"C:\a"), "leads out of");
    std::os::unix::fs::symlink(home.join("outside/secret"), mirror.join("acme-bin/link")).unwrap();
    refused(&one("s3://acme-bin/link", r"C:\a"), "leads out of");
}

#[test]
fn what_leads_out_of_the_documents_folder_is_not_brought() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    write(home, "secret.txt", b"secret");
    std::fs::create_dir_all(home.join("doc/real")).unwrap();
    std::os::unix::fs::symlink(home.join("secret.txt"), home.join("doc/link.txt")).unwrap();
    std::os::unix::fs::symlink(home.join("secret.txt"), home.join("doc/real/link.txt")).unwrap();
    let out = home.join("out");
    for (source, said) in [
        ("../secret.txt", "leads out"),
        ("/etc/hostname", "leads out"),
        ("link.txt", "leads out"),
        ("real", "symbolic link"),
        ("none.txt", "does not exist"),
        ("'{{ A }}'", "an expression"),
    ] {
        let steps =
            format!(r"- {{name: A, action: InstallFiles, inputs: [{{source: {source}, destination: 'C:\a'}}]}}");
        let component = document(&home.join("doc"), &steps);
        if source.contains('A') {
            let text = std::fs::read_to_string(&component).unwrap();
            std::fs::write(
                &component,
                format!("constants: [{{Axx: {{type: string, value: x}}}}]\n{text}").replace("{{ A }}", "{{ Axx }}"),
            )
            .unwrap();
        }
        let answer = harden(&image, &out, &component, &[]).expect(3);
        assert!(answer.err.contains(said) && !out.exists(), "{source}: {}", answer.err);
    }
}

#[test]
fn a_component_applies_a_policy_and_a_stig_beside_it_and_installs_a_certificate() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    write(home, "doc/acme.reg", b"Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Acme\\ByPolicy]\r\n\"On\"=dword:00000001\r\n");
    std::fs::copy(fixture("make/root.pem"), home.join("doc/root.pem")).unwrap();
    let steps = |level: &str| {
        format!(
            r"- {{name: Stig, action: ApplyStig, inputs: {{level: {level}, with: [defender]}}}}
- {{name: Policy, action: ApplyPolicy, inputs: [{{source: acme.reg}}]}}
- {{name: Root, action: InstallCertificate, inputs: [{{source: root.pem, store: TrustedPublisher}}]}}"
        )
    };
    let out = home.join("out");
    let other = document(&home.join("doc"), &steps("low"));
    let answer = harden(&image, &out, &other, &["--level", "high"]).expect(3);
    assert!(answer.err.contains("the level low, and the run high"), "{}", answer.err);
    // Where the run says nothing, the component's word counts.
    harden(&image, &home.join("low"), &other, &[]).expect(0);
    let log = std::fs::read_to_string(home.join("low/audit.jsonl")).unwrap();
    assert!(log.contains(r#""level":"low""#));
    let component = document(&home.join("doc"), &steps("high"));
    harden(&image, &out, &component, &["--level", "high"]).expect(0);
    let hardened = out.join("ws2022.vhd");
    coldforge(["reg", "get", text(&hardened), r"HKLM\SOFTWARE\Acme\ByPolicy", "On"]).expect(0);
    let assessment: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("reports/assessment.json")).unwrap()).unwrap();
    assert!(assessment["components"].as_array().unwrap().iter().any(|part| part["id"] == "defender"));
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    assert!(log.contains(r#""kind":"certificate","store":"TrustedPublisher""#));
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
}

#[test]
fn scripts_programs_and_installers_are_left_to_the_first_start() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let image = copy_of("ws2022.vhd", home);
    let component = document(
        home,
        r"- name: Script
  action: ExecutePowerShell
  onFailure: Continue
  maxAttempts: 3
  inputs:
    commands: ['Get-Service | Out-File C:\Acme\services.txt']
- name: Program
  action: ExecuteBinary
  inputs: {path: 'C:\Acme\tool.exe', arguments: [/install]}
- name: Package
  action: InstallMSI
  inputs: {path: 'C:\Acme\agent.msi'}",
    );
    let [refused, first, second] = ["refused", "first", "second"].map(|name| home.join(name));
    let answer = harden(&image, &refused, &component, &["--scripts", "first-boot"]).expect(3);
    assert!(answer.err.contains("has finished its setup"), "{}", answer.err);
    crate::first_boot::prepare(&image);
    let own = write(home, "own.cmd", b"@echo own\r\n");
    coldforge(["mkdir", text(&image), "/Windows/Setup/Scripts", "--parents"]).expect(0);
    coldforge(["put", text(&image), text(&own), "/Windows/Setup/Scripts/SetupComplete.cmd"]).expect(0);
    let more = ["--scripts", "first-boot", "--first-boot", "stage"];
    let run = harden(&image, &first, &component, &more).expect(0).json();
    let steps = run["components"].as_array().unwrap();
    assert!(steps.len() == 3 && steps.iter().all(|step| step["status"] == "staged"), "{steps:?}");
    let is_told = |held: &&Value| held["reason"] == "it runs once when setup has ended";
    assert_eq!(run["left_open"].as_array().unwrap().iter().filter(is_told).count(), 3);
    let hardened = first.join("ws2022.vhd");
    let cat = |path: &str| coldforge(["cat", text(&hardened), path]).expect(0).out;
    let called = cat("/Windows/Setup/Scripts/SetupComplete.cmd");
    let order = ["reapply.cmd", "steps.cmd", "@echo own"].map(|mark| called.find(mark).unwrap());
    assert!(order.is_sorted() && called.matches("steps.cmd").count() == 1, "{called}");
    assert!(cat("/Windows/Setup/Scripts/coldforge/steps/001.ps1").contains("Get-Service"));
    assert!(cat("/Windows/Setup/Scripts/coldforge/steps/003.ps1").contains("msiexec"));
    let runner = cat("/Windows/Setup/Scripts/coldforge/steps.cmd");
    assert!(runner.contains("call :step 001 continue 3\r") && runner.contains("call :step 003 abort 1\r"), "{runner}");
    coldforge(["verify", text(&first), "--source", text(&image)]).expect(0);
    let again = harden(&hardened, &second, &component, &more).expect(0).json();
    assert_eq!(again["changed"].as_array().unwrap().len(), 0, "{:#}", again["changed"]);
}
