//! What an image says is shown and never does anything: in a terminal, and in each report as those read it who use it.

use std::path::{Path, PathBuf};

use crate::support::{Answer, ask, coldforge, copy_of, fixture, text, validators};

/// Texts that would do something where they are not made inert; each has the mark by which it is found again.
const TEXTS: [(&str, &str); 8] = [
    ("LegalNoticeText", "MARK1</script></td><img src=x onerror=alert(1)>]]>&amp;<!--"),
    ("LegalNoticeCaption", "=MARK2+cmd|'/c calc'!A0"),
    ("SCRemoveOption", "\u{1b}]0;MARK3\u{7}\u{1b}[2J"),
    ("AutoAdminLogon", "@MARK4\u{202e}gnp.exe\u{200b}"),
    ("ScRemoveOption2", "-MARK5"),
    ("CachedLogonsCount", "\t=MARK6 | [x](javascript:alert(1)) `code` **b**"),
    ("DefaultUserName", "MARK7"),
    ("DefaultDomainName", "MARK8"),
];

const WINLOGON: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon";
const SYSTEM: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System";

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(",")
}

/// Plants the texts, a lone surrogate and a text of 1 MiB in a copy of the fixture that has a name of its own kind.
fn planted(home: &Path) -> PathBuf {
    let plain = copy_of("ws2022.vhd", home);
    let image = home.join("<img src=x onerror=alert(1)> & 'x' =1.vhd");
    std::fs::rename(plain, &image).unwrap();
    let mut lines = vec!["Windows Registry Editor Version 5.00".to_owned(), String::new()];
    for (name, value) in TEXTS {
        let key = if name.starts_with("Legal") { SYSTEM } else { WINLOGON };
        lines.push(format!("[{key}]\r\n\"{name}\"=hex(1):{}\r\n", hex(&utf16(value))));
    }
    let surrogate: Vec<u8> = [&[0x00, 0xd8][..], &utf16("MARK9")].concat();
    let long = utf16(&"A<b>".repeat(131_072));
    let current = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    let lsa = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Lsa";
    for (key, name, data) in [
        (lsa, "LmCompatibilityLevel", surrogate),
        (lsa, "RestrictAnonymous", long),
        (current, "ProductName", utf16("Windows Server 2022 <img src=x onerror=alert(2)>\u{1b}[1m")),
        (
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\ComputerName\ComputerName",
            "ComputerName",
            utf16("<b>=HOST\u{202e}"),
        ),
    ] {
        lines.push(format!("[{key}]\r\n\"{name}\"=hex(1):{}\r\n", hex(&data)));
    }
    let file = home.join("plant.reg");
    std::fs::write(&file, lines.join("\r\n")).unwrap();
    coldforge(["reg", "import", text(&image), text(&file)]).expect(0);
    image
}

/// Demands that a text has no character that a terminal or an editor obeys.
#[track_caller]
fn is_plain(what: &str, said: &str) {
    for (at, c) in said.chars().enumerate() {
        let obeyed = (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!obeyed, "{what}: {c:?} at {at}");
    }
}

#[test]
fn nothing_that_an_image_says_is_obeyed_by_a_terminal_or_a_reader_of_reports() {
    let home = tempfile::tempdir().unwrap();
    let image = planted(home.path());
    let out = home.path().join("out");
    let run = |arguments: &[&str]| -> Answer {
        let answer = coldforge(arguments);
        assert!(answer.code <= 1, "{arguments:?}: {}", answer.err);
        is_plain(arguments[0], &format!("{}{}", answer.out, answer.err));
        answer
    };
    run(&["inspect", text(&image)]);
    run(&["scan", text(&image), "--level", "high"]);
    run(&["scan", text(&image), "--level", "high", "--json"]);
    run(&["preflight", text(&image)]);
    run(&["harden", text(&image), "--dry-run"]);
    run(&["harden", text(&image), "-o", text(&out), "--only", "WN22-00-000010,WN22-SO-000130,WN22-SO-000190"]);
    run(&["verify", text(&out), "--source", text(&image)]);
    let whole = home.path().join("whole");
    run(&["harden", text(&image), "-o", text(&whole), "--hold-back", "none"]);
    run(&["verify", text(&whole), "--source", text(&image)]);
    let log = std::fs::read_to_string(whole.join("audit.jsonl")).unwrap();
    let told: Vec<u32> = (1..10).filter(|number| log.contains(&format!("MARK{number}"))).collect();
    assert_eq!(told, [1, 2, 3, 9], "what was changed is in the log");

    // A scan shows what was found before anything was changed: its reports are the fullest.
    let scanned = home.path().join("scanned");
    run(&["scan", text(&image), "--level", "high", "--reports", text(&scanned)]);
    for folder in [&whole, &out, &scanned] {
        let mut open = vec![folder.clone()];
        let mut marks = 0;
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                if path.extension().is_some_and(|suffix| suffix == "vhd") {
                    continue;
                }
                let said = std::fs::read_to_string(&path).unwrap();
                is_plain(text(&path), &said);
                marks += usize::from(said.contains("MARK"));
                assert!(said.len() < 8 << 20, "{}: {} bytes", path.display(), said.len());
            }
        }
        assert!(marks > 0, "{}", folder.display());
    }
    let Some(validators) = validators("bin/python") else { return };
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/inert.py");
    for reports in [whole.join("reports"), out.join("reports"), scanned] {
        let done = ask(text(&validators.join("bin/python")), &[text(&tool), text(&reports), text(&fixture("schemas"))]);
        assert!(
            done.status.success(),
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
}
