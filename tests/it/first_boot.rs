//! Images that setup has not finished: what may be set anew is told, and a script that sets it again is put into them.

use std::path::Path;

use coldforge::formats::security_template::SecurityTemplate;

use crate::support::{coldforge, copy_of, text};

const COMPLETE: &str = r"\Windows\Setup\Scripts\SetupComplete.cmd";
const SCRIPT: &str = r"\Windows\Setup\Scripts\coldforge\reapply.cmd";
const TEMPLATE: &str = r"\Windows\Setup\Scripts\coldforge\reapply.inf";

/// Makes the fixture one that was prepared by sysprep.
pub fn prepare(image: &Path) {
    let state = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State";
    coldforge(["reg", "set", text(image), state, "ImageState", "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"]).expect(0);
    for name in ["SetupType", "SystemSetupInProgress", "OOBEInProgress"] {
        coldforge(["reg", "set", text(image), r"HKLM\SYSTEM\Setup", name, "1", "--type", "REG_DWORD"]).expect(0);
    }
}

fn harden(image: &Path, out: &Path, what: &str) -> serde_json::Value {
    let arguments = [
        "harden",
        text(image),
        "-o",
        text(out),
        "--first-boot",
        what,
        "--hold-back",
        "none",
        "--fail-on",
        "none",
        "--json",
    ];
    coldforge(arguments).expect(0).json()
}

fn printed(image: &Path, path: &str) -> String {
    coldforge(["cat", text(image), path]).expect(0).out
}

#[test]
fn an_image_that_waits_for_setup_tells_what_is_at_risk_and_gets_a_script() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let [plain, told, staged, again] = ["plain", "told", "staged", "again"].map(|name| home.path().join(name));
    assert_eq!(harden(&image, &plain, "stage")["at_risk"].as_array().unwrap().len(), 0, "nothing tells of setup");
    prepare(&image);

    let report = harden(&image, &told, "report");
    let at_risk = report["at_risk"].as_array().unwrap().len();
    assert!(at_risk > 40, "{at_risk}");
    assert_eq!(report["windows"]["setup"], "prepared");
    coldforge(["ls", text(&told.join("ws2022.vhd")), r"\Windows\Setup\Scripts"]).expect(4);

    let report = harden(&image, &staged, "stage");
    assert_eq!(report["at_risk"].as_array().unwrap().len(), at_risk);
    coldforge(["verify", text(&staged), "--source", text(&image)]).expect(0);
    let hardened = staged.join("ws2022.vhd");
    coldforge(["check", text(&hardened)]).expect(0);
    assert_eq!(printed(&hardened, COMPLETE).lines().nth(1), Some("@call \"%~dp0coldforge\\reapply.cmd\""));
    let template = SecurityTemplate::parse(printed(&hardened, TEMPLATE).as_bytes()).unwrap();
    let access = template.system_access().unwrap();
    assert!(access.iter().any(|named| named.name == "MinimumPasswordLength" && named.value == "14"), "{access:?}");
    assert!(access.iter().any(|named| named.name == "LockoutDuration" && named.value == "30"), "{access:?}");
    let rights = template.privilege_rights().unwrap();
    let debug = rights.iter().find(|right| right.right == "SeDebugPrivilege").unwrap();
    assert_eq!(debug.holders.len(), 1);
    let script = printed(&hardened, SCRIPT);
    assert!(script.matches("auditpol.exe").count() > 20 && script.matches("secedit.exe").count() == 1, "{script}");
    assert!(!script.to_lowercase().contains("del "), "it deletes nothing");

    assert_eq!(harden(&hardened, &again, "stage")["changes"], 0, "a second run finds it all there");
}

#[test]
fn a_script_of_the_users_own_is_kept_behind_the_call() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    prepare(&image);
    let first = home.path().join("first");
    harden(&image, &first, "stage");
    let hardened = first.join("ws2022.vhd");
    let own = home.path().join("own.cmd");
    std::fs::write(&own, "echo mine\r\nexit 0\r\n").unwrap();
    coldforge(["put", text(&hardened), text(&own), COMPLETE]).expect(0);
    let second = home.path().join("second");
    assert_eq!(harden(&hardened, &second, "stage")["changes"], 1);
    let content = printed(&second.join("ws2022.vhd"), COMPLETE);
    assert!(content.starts_with("@rem ") && content.ends_with("reapply.cmd\"\r\necho mine\r\nexit 0\r\n"), "{content}");

    std::fs::write(&own, b"\xff\xfee\0c\0").unwrap();
    coldforge(["put", text(&hardened), text(&own), COMPLETE]).expect(0);
    let third = home.path().join("third");
    let arguments = ["harden", text(&hardened), "-o", text(&third), "--first-boot", "stage"];
    assert!(coldforge(arguments).expect(3).err.contains("E-NO-TEXT"));
    assert!(!third.exists());
}
