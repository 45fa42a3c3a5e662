//! The guard on the built binary: what could stop the boot, close Remote Desktop or lock everybody out is held back or
//! refused whatever asks for it; and what is read and written of the account policy.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::support::{coldforge, fixture, text};

const FIREWALL: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy";

/// Returns a copy of the fixture that is reached through Remote Desktop.
fn reachable(home: &Path) -> PathBuf {
    let image = home.join("reachable.vhd");
    std::fs::copy(fixture("ws2022.vhd"), &image).unwrap();
    let rule = r"v2.30|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|App=%SystemRoot%\system32\svchost.exe|Svc=termservice|";
    let terminal = r"HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server";
    let rules = format!(r"{FIREWALL}\FirewallRules");
    coldforge(["reg", "set", text(&image), terminal, "fDenyTSConnections", "0", "--type", "REG_DWORD"]).expect(0);
    coldforge(["reg", "set", text(&image), &rules, "Rdp", rule, "--type", "REG_SZ"]).expect(0);
    let report = coldforge(["preflight", text(&image), "--json"]).json();
    for id in ["P26", "P27"] {
        let check = report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap();
        assert_eq!(check["verdict"], "pass", "{check}");
    }
    image
}

fn write(home: &Path, name: &str, content: &str) -> PathBuf {
    let path = home.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

/// Hardens by a policy alone, as a dry run.
fn by_policy(image: &Path, policy: &Path, more: &[&str]) -> crate::support::Answer {
    let run = ["harden", text(image), "--dry-run", "--json", "--stig", "none", "--policy", text(policy)];
    coldforge([&run[..], more].concat())
}

fn template(section: &str) -> String {
    format!("[Unicode]\r\nUnicode=yes\r\n[Version]\r\nsignature=\"$CHICAGO$\"\r\nRevision=1\r\n{section}\r\n")
}

fn rule(check: &str) -> String {
    format!(
        "schema = \"coldforge/policy/1\"\ntitle = \"T\"\n\n[[rule]]\nid = \"T-1\"\ntitle = \"t\"\nseverity = \"high\"\n\
        check = [{check}]\n"
    )
}

#[test]
fn what_closes_remote_desktop_is_held_back_whatever_kind_of_policy_asks() {
    let home = tempfile::tempdir().unwrap();
    let image = reachable(home.path());
    let deny = r"Software\Policies\Microsoft\Windows NT\Terminal Services";
    for (name, content) in [
        ("template/GptTmpl.inf", template(&format!("[Registry Values]\r\nMACHINE\\{deny}\\fDenyTSConnections=4,1"))),
        ("service/GptTmpl.inf", template("[Service General Setting]\r\n\"TermService\",4,\"\"")),
        ("rule.toml", rule(&format!("{{ key = 'HKLM\\{deny}', name = 'fDenyTSConnections', type = 'REG_DWORD', equals = 1 }}"))),
        (
            "text.reg",
            format!("Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\{deny}]\r\n\"fDenyTSConnections\"=dword:00000001\r\n"),
        ),
        (
            "closed.reg",
            "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Microsoft\\WindowsFirewall\\PublicProfile]\r\n\
             \"DoNotAllowExceptions\"=dword:00000001\r\n"
                .to_owned(),
        ),
    ] {
        let policy = write(home.path(), name, &content);
        let run = by_policy(&image, &policy, &[]).expect(1).json();
        let reason = run["held_back"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("Remote Desktop"), "{name}: {run}");
        assert_eq!(run["changes"], 0, "{name}");
        let free = by_policy(&image, &policy, &["--hold-back", "none"]).expect(0).json();
        assert_ne!(free["changes"], 0, "{name}");
    }
}

#[test]
fn what_stops_the_boot_or_locks_everybody_out_is_refused_whatever_kind_of_policy_asks() {
    let home = tempfile::tempdir().unwrap();
    let image = reachable(home.path());
    let setup = "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SYSTEM\\Setup]\r\n\"SetupType\"=dword:00000002\r\n";
    for (name, content, code) in [
        ("drivers.toml", rule("{ service = 'volmgr', starts = 'disabled' }"), "E-UNSAFE-CHANGE"),
        ("services.toml", rule("{ service = 'SamSs', starts = 'disabled' }"), "E-UNSAFE-CHANGE"),
        ("setup.reg", setup.to_owned(), "E-UNSAFE-CHANGE"),
        ("service/GptTmpl.inf", template("[Service General Setting]\r\n\"RpcSs\",4,\"\""), "E-UNSAFE-CHANGE"),
    ] {
        let policy = write(home.path(), name, &content);
        for more in [&[][..], &["--hold-back", "none"]] {
            let refused = by_policy(&image, &policy, more).expect(3);
            assert!(refused.err.contains(code) && refused.err.contains("hint:"), "{name}: {}", refused.err);
        }
    }
    // Whoever logs on is of this organization.
    let everybody = "{ user_right = 'SeDenyInteractiveLogonRight', includes = [['S-1-5-15']] }, \
        { user_right = 'SeDenyRemoteInteractiveLogonRight', includes = [['S-1-5-15']] }";
    let policy = write(home.path(), "organization.toml", &rule(everybody));
    let held = by_policy(&image, &policy, &[]).expect(1).json();
    assert_eq!((held["held_back"].as_array().unwrap().len(), &held["changes"]), (1, &json!(0)), "{held}");
    let refused = by_policy(&image, &policy, &["--hold-back", "none"]).expect(3);
    assert!(refused.err.contains("E-LAST-ADMINISTRATOR"), "{}", refused.err);
}

#[test]
fn a_step_of_a_component_is_held_back_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let image = reachable(home.path());
    let component = write(
        home.path(),
        "closing.yml",
        "name: closing\nschemaVersion: 1.0\nphases:\n  - name: build\n    steps:\n      - name: Close\n        action: SetRegistry\n        inputs:\n\
        \x20         - path: HKLM:\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server\n            name: fDenyTSConnections\n            value: 1\n            type: DWORD\n",
    );
    let run =
        ["harden", text(&image), "--dry-run", "--json", "--only", "WN22-SO-000310", "--component", text(&component)];
    // What was asked for and is not done leaves something open.
    let held = coldforge(run).expect(1).json();
    let is_ours = |held: &&Json| held["rule"].as_str().unwrap().contains("Close");
    assert!(held["held_back"].as_array().unwrap().iter().any(|held| is_ours(&held)), "{held}");
    let step =
        held["components"].as_array().unwrap().iter().find(|step| step["step"].as_str().unwrap().contains("Close"));
    assert_eq!(step.unwrap()["status"], "held_back", "{held}");
}

#[test]
fn intervals_that_are_no_whole_number_are_read_compared_and_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let image = home.path().join("odd.vhd");
    std::fs::copy(fixture("ws2022.vhd"), &image).unwrap();
    let account = r"HKLM\SAM\SAM\Domains\Account";
    let found = coldforge(["reg", "get", text(&image), account, "F", "--json"]).expect(0).json();
    let mut bytes: Vec<u8> = {
        let hex = found["hex"].as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    // A maximum age of 90 d 22:47:42.256, and a lockout of 90 s.
    let day = 864_000_000_000_i64;
    let odd = -(90 * day + 820_622_560_000);
    bytes[0x18..0x20].copy_from_slice(&odd.to_le_bytes());
    bytes[0x30..0x38].copy_from_slice(&(-900_000_000_i64).to_le_bytes());
    bytes[0x38..0x40].copy_from_slice(&(-900_000_000_i64).to_le_bytes());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    coldforge(["reg", "set", text(&image), account, "F", &hex, "--type", "REG_BINARY"]).expect(0);

    let hex_of = |ticks: i64| -> String { ticks.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect() };
    let rules = "WN22-AC-000010,WN22-AC-000020,WN22-AC-000030,WN22-AC-000050,WN22-AC-000060";
    let scan = coldforge(["scan", text(&image), "--only", rules, "--json"]).expect(1).json();
    let found = |rule: &str| {
        let finding = scan["findings"].as_array().unwrap().iter().find(|finding| finding["stig_id"] == rule);
        (finding.unwrap()["status"].clone(), finding.unwrap()["found"].clone())
    };
    assert_eq!(found("WN22-AC-000050"), (json!("open"), json!({ "type": "number", "data": 90, "hex": hex_of(odd) })));
    assert_eq!(
        found("WN22-AC-000010"),
        (json!("open"), json!({ "type": "number", "data": 1, "hex": hex_of(-900_000_000) }))
    );

    // A duration that must agree with the window that stays gets the nearest number that the rule allows.
    let short = home.path().join("short.vhd");
    std::fs::copy(fixture("ws2022.vhd"), &short).unwrap();
    bytes[0x38..0x40].copy_from_slice(&(-18_000_000_000_i64).to_le_bytes());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    coldforge(["reg", "set", text(&short), account, "F", &hex, "--type", "REG_BINARY"]).expect(0);
    let lockout = "WN22-AC-000010,WN22-AC-000020,WN22-AC-000030";
    let run = ["harden", text(&short), "--dry-run", "--only", lockout, "--hold-back", "none", "--json"];
    let run = coldforge(run).expect(0).json();
    let is_duration = |step: &&Json| step["setting"]["field"] == "lockout_duration";
    let duration = run["changed"].as_array().unwrap().iter().find(is_duration).unwrap();
    assert_eq!(duration["after"]["data"], 30, "{run}");

    let out = home.path().join("out");
    let run = ["harden", text(&image), "-o", text(&out), "--only", rules, "--hold-back", "none", "--json"];
    coldforge(run).expect(0);
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    let change = |field: &str| -> Json {
        let is_it = |line: &Json| line["setting"]["field"] == field;
        log.lines().map(|line| serde_json::from_str(line).unwrap()).find(is_it).unwrap()
    };
    assert_eq!(change("maximum_password_age")["before"]["hex"], hex_of(odd));
    assert_eq!(change("maximum_password_age")["after"], json!({ "type": "number", "data": 60 }));
    assert_eq!(change("lockout_duration")["before"]["hex"], hex_of(-900_000_000));
}

#[test]
fn values_that_bind_each_other_are_held_back_together() {
    let home = tempfile::tempdir().unwrap();
    let image = fixture("ws2022.vhd");
    for duration in ["-1", "0"] {
        let lines =
            format!("[System Access]\r\nLockoutBadCount = 3\r\nResetLockoutCount = 60\r\nLockoutDuration = {duration}");
        let policy = write(home.path(), &format!("lockout{duration}/GptTmpl.inf"), &template(&lines));
        let run = by_policy(&image, &policy, &[]).expect(1).json();
        let held = run["held_back"].as_array().unwrap();
        assert_eq!((held.len(), &run["changes"]), (3, &json!(0)), "{run}");
        let reason = held[0]["reason"].as_str().unwrap();
        assert!(held.iter().all(|held| held["reason"].as_str().unwrap().ends_with(reason)), "one reason: {held:?}");
        let free = by_policy(&image, &policy, &["--hold-back", "none"]).expect(0).json();
        assert_eq!(free["changes"], 3, "{free}");
    }
}
