//! Would AWS take an image: the checks on the fixture and on copies with one thing wrong, and the files for AWS.

use crate::support::{ask, coldforge, copy_of, fixture, oracle, text};

const CCS: &str = r"HKLM\SYSTEM\CurrentControlSet";

fn verdict(report: &serde_json::Value, id: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("{id} is there"));
    check["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn the_fixture_fails_what_it_lacks_and_nothing_else() {
    let report = coldforge(["preflight", text(&fixture("ws2022.vhd")), "--json"]).expect(1).json();
    assert_eq!(report["schema"], "coldforge/preflight/1");
    for (wanted, ids) in [("fail", vec!["P13", "P26", "P27", "P35"]), ("warn", vec!["P14", "P36"]), ("unknown", vec![])]
    {
        let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == wanted);
        assert_eq!(checks.map(|check| check["id"].as_str().unwrap()).collect::<Vec<_>>(), ids, "{wanted}");
    }
    let snapshot =
        coldforge(["preflight", text(&fixture("ws2022.vhd")), "--route", "snapshot", "--json"]).expect(1).json();
    assert_eq!((verdict(&snapshot, "P39"), verdict(&snapshot, "P13")), ("fail".to_owned(), "warn".to_owned()));
}

#[test]
fn each_value_turns_the_verdict_of_its_check() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let ccs = |key: &str| format!(r"{CCS}\{key}");
    let software = |key: &str| format!(r"HKLM\SOFTWARE\{key}");
    let edits = [
        (
            "P14",
            "pass",
            ccs(r"Control\Session Manager\Memory Management"),
            "PagingFiles",
            "REG_MULTI_SZ",
            r"C:\pagefile.sys 4096 4096",
        ),
        ("P15", "fail", ccs(r"Services\NTDS\Parameters"), "DSA Database file", "REG_SZ", r"D:\NTDS\ntds.dit"),
        ("P17", "fail", ccs(r"Control\Session Manager\Environment"), "PROCESSOR_ARCHITECTURE", "REG_SZ", "ARM64"),
        ("P18", "fail", ccs(r"Control\MUI\UILanguages\ja-JP"), "LCID", "REG_DWORD", "1041"),
        (
            "P19",
            "fail",
            software(r"Microsoft\Windows NT\CurrentVersion"),
            "EditionID",
            "REG_SZ",
            "ServerDatacenterEval",
        ),
        ("P20", "fail", ccs(r"Services\vmms"), "Start", "REG_DWORD", "2"),
        (
            "P23",
            "fail",
            software(r"Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired"),
            "x",
            "REG_DWORD",
            "1",
        ),
        ("P25", "fail", software(r"Microsoft\Windows NT\CurrentVersion\Winlogon"), "AutoAdminLogon", "REG_SZ", "1"),
        ("P26", "pass", ccs(r"Control\Terminal Server"), "fDenyTSConnections", "REG_DWORD", "0"),
        ("P29", "fail", ccs(r"Services\Dhcp"), "Start", "REG_DWORD", "4"),
        ("P32", "fail", software(r"Microsoft\NET Framework Setup\NDP\v4\Full"), "Release", "REG_DWORD", "1"),
        (
            "P33",
            "fail",
            software(r"Microsoft\Windows\CurrentVersion\Uninstall\x"),
            "DisplayName",
            "REG_SZ",
            "McAfee Agent",
        ),
        ("P34", "warn", ccs(r"Services\VMTools"), "Start", "REG_DWORD", "2"),
        ("P36", "pass", ccs(r"Control\TimeZoneInformation"), "RealTimeIsUniversal", "REG_DWORD", "1"),
        (
            "P37",
            "fail",
            software(r"Policies\Microsoft\Windows\DeviceInstall\Restrictions"),
            "DenyUnspecified",
            "REG_DWORD",
            "1",
        ),
        ("P38", "fail", ccs(r"Services\stornvme"), "Start", "REG_DWORD", "3"),
        ("P41", "fail", ccs(r"Services\AmazonSSMAgent"), "Start", "REG_DWORD", "4"),
        ("P43", "fail", software(r"Policies\Microsoft\Windows\PowerShell"), "EnableScripts", "REG_DWORD", "0"),
        (
            "P45",
            "warn",
            software(r"Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform"),
            "KeyManagementServiceName",
            "REG_SZ",
            "kms",
        ),
        ("P47", "warn", ccs(r"Services\partmgr\Parameters"), "SanPolicy", "REG_DWORD", "3"),
    ];
    let before = coldforge(["preflight", text(&image), "--json"]).expect(1).json();
    for (id, wanted, key, name, kind, value) in &edits {
        assert_ne!(verdict(&before, id), *wanted, "{id} is otherwise on the fixture");
        coldforge(["reg", "set", text(&image), key, name, value, "--type", kind]).expect(0);
    }
    let after = coldforge(["preflight", text(&image), "--json"]).expect(1).json();
    for (id, wanted, ..) in &edits {
        assert_eq!(verdict(&after, id), *wanted, "{id}");
    }
    // A value of another type tells nothing.
    coldforge([
        "reg",
        "set",
        text(&image),
        &ccs(r"Control\Terminal Server"),
        "fDenyTSConnections",
        "0",
        "--type",
        "REG_SZ",
    ])
    .expect(0);
    assert_eq!(verdict(&coldforge(["preflight", text(&image), "--json"]).expect(1).json(), "P26"), "unknown");
}

#[test]
fn the_files_for_aws_name_what_was_asked_for_and_verify_makes_them_again() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let options = ["--bucket", "images", "--prefix", "win/", "--region", "eu-central-1", "--tag", "Owner=it's $(us)"];
    let more = ["--regions", "us-east-1", "--account-ids", "111122223333", "--license", "BYOL"];
    coldforge([&["harden", text(&fixture("ws2022.vhd")), "-o", text(&out)], &options[..], &more].concat()).expect(1);
    coldforge(["verify", text(&out)]).expect(0);
    let read = |name: &str| std::fs::read_to_string(out.join("aws").join(name)).unwrap();
    let request: serde_json::Value = serde_json::from_str(&read("import-image.json")).unwrap();
    assert_eq!(request["DiskContainers"][0]["UserBucket"]["S3Key"], "win/ws2022.vhd");
    assert_eq!(request["LicenseType"], "BYOL");
    let map: serde_json::Value = serde_json::from_str(&read("block-map.json")).unwrap();
    assert_eq!(map["blocks"].as_array().unwrap().len() as u64, map["changed_blocks"].as_u64().unwrap());
    if oracle("shellcheck") {
        let done = ask("shellcheck", &[text(&out.join("aws/commands.sh"))]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
    coldforge(["harden", text(&fixture("ws2022.vhd")), "--dry-run", "--bucket", "No Bucket"]).expect(2);
}
