//! Would AWS take an image: the checks on the fixture and on copies with one thing wrong, and the files for AWS.

use std::path::Path;

use crate::support::{ask, coldforge, copy_of, fixture, oracle, python_of_aws, real_image, text, to_raw};

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
        ("P11", "warn", ccs(r"Control\Session Manager\Power"), "HiberbootEnabled", "REG_DWORD", "1"),
        ("P11", "warn", ccs(r"Control\Power"), "HibernateEnabled", "REG_DWORD", "1"),
        ("P16", "fail", software(r"Microsoft\Windows NT\CurrentVersion"), "InstallationType", "REG_SZ", "Nano Server"),
        ("P22", "fail", r"HKLM\SYSTEM\Setup".to_owned(), "OOBEInProgress", "REG_DWORD", "1"),
        // A text without a partner: a file that is deleted.
        (
            "P24",
            "warn",
            ccs(r"Control\Session Manager"),
            "PendingFileRenameOperations",
            "REG_MULTI_SZ",
            r"\??\C:\Windows\System32\a.dll",
        ),
        (
            "P27",
            "pass",
            ccs(r"Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules"),
            "RemoteDesktop-UserMode-In-TCP",
            "REG_SZ",
            r"v2.30|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|App=%SystemRoot%\system32\svchost.exe|Svc=termservice|",
        ),
        // Everyone is denied to log on by remote desktop.
        ("P28", "fail", r"HKLM\SECURITY\Policy\Accounts\S-1-1-0\ActSysAc".to_owned(), "@", "REG_NONE", "02080000"),
        (
            "P31",
            "warn",
            ccs(r"Control\Class\{4d36e972-e325-11ce-bfc1-08002be10318}\0099"),
            "Characteristics",
            "REG_DWORD",
            "4",
        ),
        // The account without a password is disabled.
        (
            "P35",
            "pass",
            r"HKLM\SAM\SAM\Domains\Account\Users\000003EA".to_owned(),
            "F",
            "REG_BINARY",
            "0300010000000000000000000000000000000000000000000000000000000000ffffffffffffff7f0000000000000000\
             ea03000001020000150000000000000000000000000000000000000000000000",
        ),
        (
            "P42",
            "fail",
            software(r"Policies\Microsoft\Windows\Safer\codeidentifiers"),
            "DefaultLevel",
            "REG_DWORD",
            "0",
        ),
        (
            "P44",
            "warn",
            r"HKLM\SECURITY\Policy\PolPrDmS".to_owned(),
            "@",
            "REG_NONE",
            "010400000000000515000000010000000200000003000000",
        ),
        (
            "P46",
            "warn",
            r"HKLM\SYSTEM\HardwareConfig\{5d5f2c0e-1b52-4c0c-8c57-3d2f0c9e2204}".to_owned(),
            "SystemManufacturer",
            "REG_SZ",
            "Dell Inc.",
        ),
        (
            "P46",
            "warn",
            r"HKLM\SYSTEM\HardwareConfig\{5d5f2c0e-1b52-4c0c-8c57-3d2f0c9e2204}".to_owned(),
            "SystemProductName",
            "REG_SZ",
            "PowerEdge",
        ),
        (
            "P46",
            "warn",
            r"HKLM\SYSTEM\HardwareConfig\{5d5f2c0e-1b52-4c0c-8c57-3d2f0c9e2204}".to_owned(),
            "SystemBiosVersion",
            "REG_MULTI_SZ",
            "DELL   - 1",
        ),
        (
            "P30",
            "warn",
            ccs(r"Services\Tcpip\Parameters\Interfaces\{8c0d54e2-5f0a-4e9b-a7c1-20d348f0a221}"),
            "NameServer",
            "REG_SZ",
            "10.0.0.1",
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
    // The kernel's file and the rest still say what they said: nothing fell over.
    assert_eq!(after["totals"]["unknown"], before["totals"]["unknown"]);
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
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(out.join("aws/commands.sh")).unwrap().permissions());
    assert_eq!(mode & 0o100, 0o100, "the commands can be run");
    if oracle("shellcheck") {
        let done = ask("shellcheck", &[text(&out.join("aws/commands.sh"))]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
    coldforge(["harden", text(&fixture("ws2022.vhd")), "--dry-run", "--bucket", "No Bucket"]).expect(2);
}

#[test]
fn keys_and_tags_that_aws_would_not_take_are_refused_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let one_region = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let (long_key, long_value) = (format!("{}=x", "k".repeat(128)), format!("k={}", "v".repeat(256)));
    let options: [&[&str]; 7] = [
        &["--region", "eu-central-1", "--regions", "us-east-1", "--kms-key", one_region],
        &["--region", "us-east-1", "--kms-key", one_region],
        &["--account-ids", "111122223333", "--kms-key", "alias/aws/ebs"],
        &["--kms-key", "arn:aws:iam::111122223333:role/x"],
        &["--tag", &long_key],
        &["--tag", &long_value],
        &["--tag", "coldforge:benchmark=x"],
    ];
    for option in options {
        let image = fixture("ws2022.vhd");
        let refused = coldforge([&["harden", text(&image), "-o", text(&out)], option].concat()).expect(2);
        assert!(refused.err.contains("hint: ") && !out.exists(), "{option:?}: {}", refused.err);
    }
}

/// Asks about an image by a route; an image that passes everything ends with 0.
fn asked(image: &Path, route: &str) -> serde_json::Value {
    let answer = coldforge(["preflight", text(image), "--route", route, "--json"]);
    assert!(matches!(answer.code, 0 | 1), "{}", answer.err);
    answer.json()
}

/// Where the NTFS volume of the fixture begins on its disk.
const VOLUME: usize = 1 << 20;

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Returns where on the disk the flags of the volume are: in $VOLUME_INFORMATION of the fourth record.
fn volume_flags(disk: &[u8]) -> usize {
    let cluster = number(disk, VOLUME + 0xb, 2) * number(disk, VOLUME + 0xd, 1);
    let record = VOLUME + number(disk, VOLUME + 0x30, 8) * cluster + 3 * 1024;
    let mut at = record + number(disk, record + 0x14, 2);
    while number(disk, at, 4) != 0x70 {
        at += number(disk, at + 4, 4);
    }
    at + number(disk, at + 0x14, 2) + 10
}

#[test]
fn each_wrong_byte_of_the_disk_turns_the_verdict_of_its_check() {
    if !oracle("qemu-img") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let raw = home.path().join("good.raw");
    to_raw(&fixture("ws2022.vhd"), &raw);
    let good = std::fs::read(&raw).unwrap();
    let before = asked(&raw, "import-image");
    let last_sector = VOLUME + (260_096 - 2048 - 1) * 512;
    let mirror =
        VOLUME + number(&good, VOLUME + 0x38, 8) * number(&good, VOLUME + 0xb, 2) * number(&good, VOLUME + 0xd, 1);
    let cases: [(&str, &str, usize, &[u8]); 7] = [
        ("P04", "fail", 446 + 4, &[0x42]),
        ("P05", "fail", 446, &[0]),
        ("P07", "fail", VOLUME + 3, b"-FVE-FS-"),
        ("P08", "fail", last_sector + 3, b"Zeropage"),
        ("P09", "fail", VOLUME + 3, b"-FVE-FS-"),
        ("P10", "fail", volume_flags(&good), &[1]),
        ("P48", "fail", mirror + 0x38 + 0x20, &[0xaa, 0x55]),
    ];
    for (id, wanted, at, bytes) in cases {
        assert_eq!(verdict(&before, id), "pass", "{id} before");
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        let path = home.path().join("bad.raw");
        std::fs::write(&path, bad).unwrap();
        assert_eq!(verdict(&asked(&path, "import-image"), id), wanted, "{id}");
    }
}

#[test]
fn each_wrong_file_of_the_volume_turns_the_verdict_of_its_check() {
    let home = tempfile::tempdir().unwrap();
    let before = asked(&fixture("ws2022.vhd"), "import-image");
    let with = |id: &str, wanted: &str, file: &[u8], path: &str| {
        assert_eq!(verdict(&before, id), "pass", "{id} before");
        let folder = tempfile::tempdir().unwrap();
        let image = copy_of("ws2022.vhd", folder.path());
        let source = folder.path().join("file");
        std::fs::write(&source, file).unwrap();
        coldforge(["put", text(&image), text(&source), path]).expect(0);
        assert_eq!(verdict(&asked(&image, "import-image"), id), wanted, "{id}: {path}");
    };
    let out = |path: &str, name: &str| {
        let file = home.path().join(name);
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_coldforge"))
            .args(["cat", text(&fixture("ws2022.vhd")), path])
            .output()
            .unwrap();
        assert!(done.status.success());
        std::fs::write(&file, done.stdout).unwrap();
        file
    };
    with("P11", "fail", &[b"HIBR".as_slice(), &[0; 8188]].concat(), r"\hiberfil.sys");
    // The menu of the loader lists nothing, and the boot manager talks on the serial port.
    let store = out(r"\Boot\BCD", "BCD");
    let manager = r"Objects\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\Elements";
    let turned = home.path().join("BCD.ems");
    std::fs::copy(&store, &turned).unwrap();
    coldforge(["reg", "set", text(&turned), &format!(r"{manager}\16000020"), "Element", "01", "--type", "REG_BINARY"])
        .expect(0);
    with("P21", "warn", &std::fs::read(&turned).unwrap(), r"\Boot\BCD");
    coldforge(["reg", "delete", text(&store), &format!(r"{manager}\24000001"), "--recursive"]).expect(0);
    with("P07", "fail", &std::fs::read(&store).unwrap(), r"\Boot\BCD");
    // A hive that was being written, and has no log.
    let hive = out(r"\Windows\System32\config\SAM", "SAM");
    let mut bytes = std::fs::read(&hive).unwrap();
    bytes[4..8].copy_from_slice(&0x7777_u32.to_le_bytes());
    let sum = bytes[..508].chunks(4).fold(0, |sum, word| sum ^ u32::from_le_bytes(word.try_into().unwrap()));
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    with("P12", "fail", &bytes, r"\Windows\System32\config\SAM");

    let image = copy_of("ws2022.vhd", home.path());
    for folder in [r"\Program Files\Amazon", r"\Program Files\Amazon\EC2Launch"] {
        coldforge(["mkdir", text(&image), folder]).expect(0);
    }
    let found =
        |route: &str| (verdict(&asked(&image, route), "P40"), verdict(&asked(&fixture("ws2022.vhd"), route), "P40"));
    assert_eq!(found("import-image"), ("warn".to_owned(), "pass".to_owned()));
    assert_eq!(found("snapshot"), ("pass".to_owned(), "warn".to_owned()));
}

/// Returns what a check says of an image, and its hint.
fn told(image: &Path, route: &str, id: &str) -> (String, String) {
    let report = asked(image, route);
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id).unwrap();
    (check["verdict"].as_str().unwrap().to_owned(), check["hint"].as_str().unwrap().to_owned())
}

#[test]
fn a_pending_deletion_warns_and_a_pending_replacement_fails_whatever_the_file_is() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let set = |name: &str, pairs: &[(&str, &str)]| {
        let units = pairs.iter().flat_map(|(from, to)| {
            [from, to].map(|text| format!("{text}\0")).concat().encode_utf16().collect::<Vec<_>>()
        });
        let bytes: Vec<u8> = units.chain([0]).flat_map(u16::to_le_bytes).collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = home.path().join("pending.reg");
        let digits: Vec<&str> = (0..hex.len() / 2).map(|at| &hex[at * 2..at * 2 + 2]).collect();
        let key = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager";
        let text_of = format!(
            "Windows Registry Editor Version 5.00\r\n\r\n[{key}]\r\n\"{name}\"=hex(7):{}\r\n",
            digits.join(",")
        );
        std::fs::write(&file, text_of).unwrap();
        coldforge(["reg", "import", text(&image), text(&file)]).expect(0);
        told(&image, "import-image", "P24").0
    };
    let name = "PendingFileRenameOperations";
    assert_eq!(set(name, &[(r"\??\C:\Windows\System32\drivers\old.sys", ""), (r"\??\C:\a.tmp", "")]), "warn");
    assert_eq!(set(name, &[(r"\??\C:\a.tmp", ""), (r"\??\C:\new.txt", r"!\??\C:\old.txt")]), "fail");
    assert_eq!(set(name, &[]), "pass");
    assert_eq!(set("PendingFileRenameOperations2", &[(r"\??\C:\new.dll", r"\??\C:\Windows\System32\x.dll")]), "fail");
}

#[test]
fn advice_fits_what_is_missing_and_names_the_fix_that_sets_it_right() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let set = |key: &str, name: &str, kind: &str, value: &str| {
        coldforge(["reg", "set", text(&image), &format!(r"{CCS}\{key}"), name, value, "--type", kind]).expect(0);
    };
    // What a fix sets right says so, also where it warns; what none can does not.
    for (id, fixable) in [("P26", true), ("P27", true), ("P14", true), ("P36", true), ("P13", false), ("P35", false)] {
        let (verdict, hint) = told(&image, "import-image", id);
        assert_ne!(verdict, "pass", "{id}");
        assert_eq!(
            hint.contains(&format!("`coldforge harden {} -o DIR --fix {id}`", text(&image))),
            fixable,
            "{id}: {hint}"
        );
    }
    let shown = coldforge(["preflight", text(&image)]).expect(1).out;
    assert!(shown.contains(&format!("coldforge harden {} -o DIR --fix P14,P26,P27,P36", text(&image))), "{shown}");
    // A hibernated Windows is not woken by values.
    set(r"Control\Session Manager\Power", "HiberbootEnabled", "REG_DWORD", "1");
    set(r"Control\Power", "HibernateEnabled", "REG_DWORD", "1");
    assert!(told(&image, "import-image", "P11").1.contains("--fix P11"));
    let file = home.path().join("hiberfil.sys");
    std::fs::write(&file, [b"HIBR".as_slice(), &[0; 8188]].concat()).unwrap();
    coldforge(["put", text(&image), text(&file), r"\hiberfil.sys"]).expect(0);
    let (verdict, hint) = told(&image, "import-image", "P11");
    assert!(verdict == "fail" && !hint.contains("--fix"), "{hint}");

    let image = copy_of("ws2022.vhd", home.path());
    let hint = |word: &str| {
        let (verdict, hint) = told(&image, "import-image", "P38");
        assert!(verdict == "fail" && hint.contains(word), "{verdict}: {hint}");
        hint
    };
    coldforge(["reg", "set", text(&image), &format!(r"{CCS}\Services\volsnap"), "Start", "3", "--type", "REG_DWORD"])
        .expect(0);
    assert!(!hint("sc config volsnap start= boot").contains("NVMe"));
    coldforge(["reg", "set", text(&image), &format!(r"{CCS}\Services\volsnap"), "Start", "0", "--type", "REG_DWORD"])
        .expect(0);
    coldforge(["rm", text(&image), r"\Windows\System32\drivers\disk.sys"]).expect(0);
    assert!(!hint(r"\Windows\system32\drivers\disk.sys").contains("NVMe"));
    let image = copy_of("ws2022.vhd", home.path());
    coldforge(["reg", "delete", text(&image), &format!(r"{CCS}\Services\partmgr"), "--recursive"]).expect(0);
    let (_, hint) = told(&image, "import-image", "P38");
    assert!(hint.contains("partmgr is not registered") && !hint.contains("sc config"), "{hint}");
    let image = copy_of("ws2022.vhd", home.path());
    coldforge(["reg", "delete", text(&image), &format!(r"{CCS}\Services\stornvme"), "--recursive"]).expect(0);
    let (_, hint) = told(&image, "import-image", "P38");
    assert!(hint.contains("install the AWS NVMe driver") && !hint.contains("import-image route"), "{hint}");
}

#[test]
fn each_container_passes_or_fails_as_amazon_takes_it() {
    if !oracle("qemu-img") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let source = fixture("ws2022.vhd");
    let convert = |name: &str, arguments: &[&str]| {
        let path = home.path().join(name);
        let done = ask("qemu-img", &[&["convert", "-f", "vpc"], arguments, &[text(&source), text(&path)]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        path
    };
    let whole = |image: &Path, route: &str| {
        let report = asked(image, route);
        ["P01", "P02", "P03"].map(|id| verdict(&report, id)).join(" ")
    };
    let vhdx = convert("a.vhdx", &["-O", "vhdx"]);
    assert_eq!(whole(&vhdx, "import-image"), "pass pass pass");
    assert_eq!(whole(&vhdx, "snapshot"), "warn pass pass");
    let streamed = convert("a.vmdk", &["-O", "vmdk", "-o", "subformat=streamOptimized"]);
    assert_eq!(whole(&streamed, "import-image"), "pass pass pass");
    let sparse = convert("b.vmdk", &["-O", "vmdk", "-o", "subformat=monolithicSparse"]);
    assert!(whole(&sparse, "import-image").starts_with("fail "));
    let delta = home.path().join("delta");
    coldforge(["harden", text(&source), "-o", text(&delta), "--format", "delta", "--only", "WN22-SO-000310"]).expect(0);
    std::fs::copy(&source, delta.join("ws2022.vhd")).unwrap();
    let child = std::fs::read_dir(&delta)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "vhd") && path.file_name().unwrap() != "ws2022.vhd");
    assert!(whole(&child.expect("the delta is a VHD"), "import-image").starts_with("fail "));
    // The copy of the footer at the head of a dynamic VHD, and the footer.
    let damaged = copy_of("ws2022.vhd", home.path());
    let mut bytes = std::fs::read(&damaged).unwrap();
    let end = bytes.len();
    bytes[64] ^= 0xff;
    bytes[end - 512 + 64] ^= 0xff;
    std::fs::write(&damaged, bytes).unwrap();
    assert!(whole(&damaged, "import-image").ends_with("fail unknown"), "{}", whole(&damaged, "import-image"));
    let large = home.path().join("large.raw");
    to_raw(&source, &large);
    for (tib, wanted) in [(7, "pass"), (9, "warn")] {
        std::fs::File::options().write(true).open(&large).unwrap().set_len(tib << 40).unwrap();
        assert_eq!(verdict(&asked(&large, "import-image"), "P03"), wanted, "{tib} TiB");
    }
    let huge = home.path().join("huge.vhdx");
    assert!(ask("qemu-img", &["create", "-f", "vhdx", text(&huge), "20T"]).status.success());
    assert_eq!(verdict(&asked(&huge, "import-image"), "P03"), "fail");
}

#[test]
fn an_image_that_starts_by_uefi_is_judged_as_far_as_it_is_read() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--os", "ws2022", "--size", "8G", "--scheme", "gpt", "--files", "10", "--dynamic"];
    let Some(image) = real_image(home.path(), "machine.vhdx", &options) else { return };
    let report = asked(&image.path, "import-image");
    for (id, wanted) in [
        ("P01", "pass"),
        ("P02", "pass"),
        ("P04", "pass"),
        // Its EFI system partition was never formatted.
        ("P05", "fail"),
        // A request without a boot mode would convert it.
        ("P06", "warn"),
        ("P07", "fail"),
        ("P08", "pass"),
        ("P13", "pass"),
        ("P21", "fail"),
        ("P48", "pass"),
    ] {
        assert_eq!(verdict(&report, id), wanted, "{id}: {report:#}");
    }
    let raw = home.path().join("machine.raw");
    coldforge(["convert", text(&image.path), text(&raw), "--format", "raw"]).expect(0);
    let again = asked(&raw, "import-image");
    assert_eq!(verdict(&again, "P06"), "pass", "a raw disk is not converted");
    for (one, other) in report["checks"].as_array().unwrap().iter().zip(again["checks"].as_array().unwrap()) {
        if !["P01", "P02", "P06"].contains(&one["id"].as_str().unwrap()) {
            // Hints name the file, and this is another one.
            let told = |check: &serde_json::Value| check.to_string().replace(text(&raw), text(&image.path));
            assert_eq!(told(one), told(other), "the container tells nothing of the Windows in it");
        }
    }
}

#[test]
fn a_named_route_refuses_what_fails_and_writes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (image, out) = (fixture("ws2022.vhd"), home.path().join("out"));
    let harden = |more: &[&str]| coldforge([&["harden", text(&image), "-o", text(&out)], more].concat());
    let refused = harden(&["--route", "import-image", "--fix", "safe"]).expect(3);
    assert!(refused.err.contains("[E-PREFLIGHT]") && refused.err.contains("2 checks"), "{}", refused.err);
    assert!(refused.err.contains("hint: ") && refused.err.contains("--skip-preflight"), "{}", refused.err);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing was written");
    harden(&["--skip-preflight"]).expect(2);
    let skipped = harden(&["--route", "import-image", "--skip-preflight"]).expect(1);
    assert!(skipped.err.contains("W-PREFLIGHT: import-image fail: P13, P26, P27, P35"), "{}", skipped.err);
    let page = std::fs::read_to_string(out.join("reports/report.html")).unwrap();
    assert!(page.contains("Ready for AWS (import-image)") && page.contains("kiosk has no password"));
    let last = skipped.out.lines().last().unwrap().to_owned();
    assert_eq!(last, format!("Next: coldforge preflight {} --route import-image", text(&out.join("ws2022.vhd"))));
    std::fs::remove_dir_all(&out).unwrap();
    // The snapshot route wants a network driver and an agent, but not so much room; an image that passes goes through.
    let whole = copy_of("ws2022.vhd", home.path());
    let ccs = |key: &str| format!(r"{CCS}\{key}");
    let account = r"HKLM\SAM\SAM\Domains\Account\Users\000003EA";
    let disabled = "0300010000000000000000000000000000000000000000000000000000000000ffffffffffffff7f0000000000000000\
        ea03000001020000150000000000000000000000000000000000000000000000";
    coldforge(["reg", "set", text(&whole), account, "F", disabled, "--type", "REG_BINARY"]).expect(0);
    coldforge(["reg", "set", text(&whole), &ccs(r"Services\ena"), "Start", "3", "--type", "REG_DWORD"]).expect(0);
    let driver = home.path().join("ena.sys");
    std::fs::write(&driver, "driver").unwrap();
    coldforge(["put", text(&whole), text(&driver), r"\Windows\System32\drivers\ena.sys"]).expect(0);
    let done = coldforge([
        "harden",
        text(&whole),
        "-o",
        text(&out),
        "--route",
        "snapshot",
        "--fix",
        "safe",
        "--bucket",
        "images",
    ])
    .expect(1);
    let last = done.out.lines().last().unwrap().to_owned();
    assert_eq!(last, format!("Next: AWS_REGION=REGION bash {} snapshot", text(&out.join("aws/commands.sh"))));
    coldforge(["verify", text(&out), "--source", text(&whole)]).expect(0);
}

#[test]
fn fixes_are_planned_logged_and_verified_and_a_second_run_has_none_to_make() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let interface = format!(r"{CCS}\Services\Tcpip\Parameters\Interfaces\{{8c0d54e2-5f0a-4e9b-a7c1-20d348f0a221}}");
    let winlogon = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon";
    let policy = r"HKLM\SOFTWARE\Policies\Microsoft\Windows";
    let kms = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform";
    let restrictions = format!(r"{policy}\DeviceInstall\Restrictions");
    let shell = format!(r"{policy}\PowerShell");
    let ccs = |key: &str| format!(r"{CCS}\{key}");
    for (key, name, kind, value) in [
        (interface.as_str(), "EnableDHCP", "REG_DWORD", "0"),
        (&interface, "IPAddress", "REG_MULTI_SZ", "10.0.0.7"),
        (&interface, "NameServer", "REG_SZ", "10.0.0.1"),
        (winlogon, "AutoAdminLogon", "REG_SZ", "1"),
        (winlogon, "DefaultPassword", "REG_SZ", "secret"),
        (&restrictions, "DenyUnspecified", "REG_DWORD", "1"),
        (&shell, "EnableScripts", "REG_DWORD", "0"),
        (kms, "KeyManagementServiceName", "REG_SZ", "kms"),
        (&ccs(r"Services\Dhcp"), "Start", "REG_DWORD", "4"),
        (&ccs(r"Services\partmgr\Parameters"), "SanPolicy", "REG_DWORD", "3"),
        (&ccs(r"Control\Session Manager\Power"), "HiberbootEnabled", "REG_DWORD", "1"),
        (&ccs(r"Control\Power"), "HibernateEnabled", "REG_DWORD", "1"),
    ] {
        coldforge(["reg", "set", text(&image), key, name, value, "--type", kind]).expect(0);
    }
    let ids = ["P11", "P14", "P25", "P26", "P27", "P29", "P30", "P36", "P37", "P43", "P45", "P47"];
    let before = asked(&image, "import-image");
    assert_eq!(ids.map(|id| verdict(&before, id) == "pass"), [false; 12]);

    let out = home.path().join("out");
    let harden = |from: &Path, words: &str, to: &Path| {
        coldforge(["harden", text(from), "-o", text(to), "--fix", words, "--only", "WN22-SO-000310", "--json"])
    };
    let done = harden(&image, "safe", &out).expect(0).json();
    let fixed = asked(&out.join("ws2022.vhd"), "import-image");
    assert_eq!(ids.map(|id| verdict(&fixed, id)), ["pass"; 12]);
    let rules: Vec<&str> =
        done["changed"].as_array().unwrap().iter().map(|one| one["rules"][0].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| rules.contains(id)), "{rules:?}");
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    let again = harden(&out.join("ws2022.vhd"), "safe", &home.path().join("again")).expect(0).json();
    assert_eq!(again["changes"], 0, "{again:#}");

    // Only what was named is touched.
    let one = home.path().join("one");
    let done = harden(&image, "p36", &one).expect(0).json();
    assert_eq!(done["changes"], 2, "the rule and the clock");
    // The log's word for what was to be fixed is proven by making it again.
    let log = std::fs::read_to_string(one.join("audit.jsonl")).unwrap();
    assert!(log.contains(r#""fixes":["p36"]"#));
    coldforge(["harden", text(&image), "--dry-run", "--fix", "P13"]).expect(2);
}

#[test]
fn the_requests_and_policies_are_what_the_models_of_amazon_take() {
    let Some(python) = python_of_aws() else { return };
    let home = tempfile::tempdir().unwrap();
    let license = "arn:aws:license-manager:eu-central-1:111122223333:license-configuration:lic-1";
    let key = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234";
    let far = ["--bucket", "images", "--prefix", "win/", "--region", "eu-central-1", "--tag", "Owner=it's $(us)"];
    let more = ["--regions", "us-east-1,eu-west-1", "--account-ids", "111122223333", "--license", license];
    let variants: [&[&str]; 4] = [
        &[],
        &["--format", "raw", "--license", "BYOL", "--bucket", "images", "--kms-key", "alias/images"],
        &["--format", "vhdx", "--boot-mode", "uefi", "--prefix", "w*n/", "--bucket", "images"],
        &[&far[..], &more[..], &["--format", "vmdk", "--kms-key", key]].concat(),
    ];
    let mut folders = Vec::new();
    for (number, variant) in variants.iter().enumerate() {
        let out = home.path().join(number.to_string());
        let image = fixture("ws2022.vhd");
        let head = ["harden", text(&image), "-o", text(&out), "--only", "WN22-SO-000310"];
        coldforge([&head, *variant].concat()).expect(0);
        folders.push(out.join("aws"));
    }
    let validate = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/aws/validate.py");
    let ask_about = |folders: &[std::path::PathBuf]| {
        let folders = folders.iter().map(|folder| text(folder));
        let arguments: Vec<&str> = [text(&validate)].into_iter().chain(folders).collect();
        let done = ask(text(&python), &arguments);
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr),
        )
    };
    let (code, said) = ask_about(&folders);
    assert_eq!(code, Some(0), "{said}");
    // The validator finds what is wrong.
    for (file, from, to) in [
        ("import-image.json", "legacy-bios", "bios"),
        ("register-image.json", "EnaSupport", "EnaSuport"),
        ("role-policy.json", "s3:GetObject", "s3:FetchObject"),
    ] {
        let path = folders[0].join(file);
        let good = std::fs::read_to_string(&path).unwrap();
        assert!(good.contains(from), "{file}: {from}");
        std::fs::write(&path, good.replace(from, to)).unwrap();
        assert_eq!(ask_about(&folders[..1]).0, Some(1), "{file}: {to}");
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn the_commands_bring_the_image_to_a_strict_endpoint_by_each_route_though_each_is_cut_off_once() {
    let Some(python) = python_of_aws() else { return };
    let home = tempfile::tempdir().unwrap();
    let rehearse = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/aws/rehearse.py");
    let own =
        ["--regions", "eu-west-1", "--account-ids", "111122223333", "--license", "BYOL", "--role-name", "our-import"];
    let routes: [(&str, &str, &[&str]); 4] = [
        ("import-image", "vhd", &["--regions", "eu-north-1,eu-west-1", "--account-ids", "111122223333"]),
        ("snapshot", "vmdk", &["--regions", "eu-west-1", "--kms-key", "alias/images"]),
        ("snapshot", "vhd", &own),
        ("direct", "raw", &["--kms-key", "alias/images"]),
    ];
    let source = fixture("ws2022.vhd");
    for (number, (route, format, more)) in routes.into_iter().enumerate() {
        let out = home.path().join(format!("{number}-{route}"));
        let far = ["--bucket", "images", "--prefix", "win/", "--region", "eu-north-1", "--tag", "Owner=it's $(us)"];
        let head: &[&str] = &["harden", text(&source), "-o", text(&out), "--only", "WN22-SO-000310"];
        coldforge([head, &["--format", format], &far[..], more].concat()).expect(0);
        let raw = out.join("ws2022.raw");
        let done = ask(text(&python), &[text(&rehearse), text(&out), text(&raw), route]);
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{route}: {said}");
    }
}
