//! Hives that become longer inside an image, and files that come and go in it, with strangers as judges.

use std::path::Path;

use coldforge::windows::setting::{Setting, Settings as _, Value, ValueType};
use coldforge::windows::{Machine, OpenOptions};
use coldforge_base::time::{FileTime, Moment};
use coldforge_disk::{Image, Overlay, Window, export};
use coldforge_ntfs::Volume;
use coldforge_regf::{Error, Hive};

use crate::support::{
    Mounted, RealImage, ask, coldforge, copy_of, cut_volume, oracle, real_image, sha256, shared, text, to_raw,
};

const NOW: FileTime = FileTime(134_116_992_000_000_000);
const SOFTWARE: &str = r"\Windows\System32\config\SOFTWARE";

/// Fills every free cell of a hive, and cuts its file behind the last bin.
fn without_slack(bytes: Vec<u8>) -> Vec<u8> {
    let mut hive = Hive::parse(bytes).unwrap();
    for length in [16_344, 4096, 1024, 256, 64, 12, 5, 4] {
        for number in 0.. {
            match hive.set_value("Filler", &format!("{length}-{number}"), 3, &vec![0x5a; length], NOW) {
                Ok(_) => {}
                Err(Error::Full { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    hive.seal().unwrap();
    let bins_len = u32::from_le_bytes(hive.bytes()[40..44].try_into().unwrap()) as usize;
    let mut bytes = hive.into_bytes();
    bytes.truncate(0x1000 + bins_len);
    bytes
}

/// Demands of every checker of a volume that it finds nothing that `before` has not.
fn volume_stays_sound(before: &Path, after: &Path, image: &RealImage, work: &Path) {
    let strict = |raw: &Path| {
        let checker = shared().expect("the image came from there").join("check/ntfs_check.py");
        let done = ask("python3", &[text(&checker), text(raw), "--strict", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        let lists = ["errors", "warnings", "findings"].into_iter().filter_map(|list| report[list].as_array().cloned());
        lists.flatten().map(|finding| finding.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(strict(after), strict(before));
    let volume = work.join("volume");
    cut_volume(after, image.offset, image.length, &volume);
    for (tool, arguments) in [("ntfsresize", &["-i", "-f"][..]), ("ntfsfix", &["-n"]), ("ntfssecaudit", &["-a"])] {
        let mut words = arguments.to_vec();
        words.push(text(&volume));
        let done = ask(tool, &words);
        assert!(done.status.success(), "{tool}: {}", String::from_utf8_lossy(&done.stdout));
    }
    coldforge(["check", text(after)]).expect(0);
}

#[test]
fn a_hive_without_slack_takes_five_thousand_values_and_every_checker_stays_clean() {
    let home = tempfile::tempdir().unwrap();
    let Some(image) = real_image(home.path(), "tight.raw", &["--os", "ws2022", "--size", "1G"]) else { return };
    let tight = home.path().join("no-slack.raw");
    {
        let source = Image::open(&image.path, None).unwrap();
        let start = coldforge_base::ImageOffset(image.offset);
        let window = Window::open(Overlay::new(&source), start, image.length).unwrap();
        let mut volume = Volume::open(window).unwrap();
        let file = volume.find(SOFTWARE).unwrap().unwrap();
        let bytes = without_slack(volume.read(&file, 1 << 30).unwrap());
        volume.replace_stream(&file, &bytes, NOW).unwrap();
        export(&volume.into_device().into_inner(), &tight, &coldforge_base::progress::Silent).unwrap();
    }
    std::fs::remove_file(&image.path).unwrap();
    let grown = home.path().join("grown.raw");
    let source = Image::open(&tight, None).unwrap();
    let opening = OpenOptions { now: Moment(1_767_225_600).filetime(), ..OpenOptions::default() };
    let mut machine = Machine::open(Overlay::new(&source), opening).unwrap();
    let value = Value::data(ValueType::BINARY, vec![0xc5; 1024]);
    let key = |number: usize| format!(r"HKLM\SOFTWARE\Policies\Coldforge\Key{}", number % 50);
    let steps: Vec<(Setting, Option<Value>)> = (0..5000)
        .map(|number| (Setting::Registry { key: key(number), name: format!("Value{number}") }, Some(value.clone())))
        .collect();
    for answer in machine.set_all(&steps) {
        answer.unwrap().expect("it was not there");
    }
    let changes = machine.commit().unwrap();
    let software = changes.iter().find(|change| change.file == SOFTWARE).unwrap();
    assert!(software.bytes > software.bytes_before + (5 << 20), "{} {}", software.bytes_before, software.bytes);
    assert!(software.bytes.is_multiple_of(256 << 10));
    export(&machine.into_device(), &grown, &coldforge_base::progress::Silent).unwrap();

    volume_stays_sound(&tight, &grown, &image, home.path());
    let volume = home.path().join("volume");
    let mounted = Mounted::of(&volume, "ro");
    let copy = home.path().join("SOFTWARE");
    std::fs::copy(mounted.join("Windows/System32/config/SOFTWARE"), &copy).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), software.bytes);
    let checker = shared().expect("the image came from there").join("check/regf_check.py");
    let done = ask("python3", &[text(&checker), text(&copy)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    if oracle("hivexget") {
        let done = ask("hivexget", &[text(&copy), r"Policies\Coldforge\Key49", "Value4999"]);
        let length = done.stdout.iter().filter(|byte| **byte == 0xc5).count();
        assert!(done.status.success() && length == 1024, "{length} bytes of the value");
    }
    // What was made longer is hardened as any other, and proves itself.
    let out = home.path().join("out");
    coldforge(["harden", "--fail-on", "none", text(&grown), "-o", text(&out)]).expect(0);
    coldforge(["verify", text(&out), "--source", text(&grown)]).expect(0);
}

#[test]
fn hardening_an_image_whose_hive_is_full_makes_it_longer_and_proves_it() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let (hive, full) = (home.path().join("SOFTWARE"), home.path().join("full"));
    coldforge(["cat", text(&image), SOFTWARE, "-o", text(&hive)]).expect(0);
    std::fs::write(&full, without_slack(std::fs::read(&hive).unwrap())).unwrap();
    coldforge(["put", text(&image), text(&full), SOFTWARE]).expect(0);
    let before = sha256(&image);
    let out = home.path().join("out");
    coldforge(["harden", "--hold-back", "none", "--fail-on", "none", text(&image), "-o", text(&out)]).expect(0);
    assert_eq!(sha256(&image), before);
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let file = lines.into_iter().find(|line| line["file"] == SOFTWARE && line["type"] == "file").unwrap();
    assert!(file["bytes"].as_u64() > file["bytes_before"].as_u64(), "{file}");
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    let scan = coldforge(["scan", "--fail-on", "none", text(&out.join("ws2022.vhd")), "--json"]).expect(0).json();
    assert_eq!(scan["totals"]["open"], crate::support::BEYOND);
    coldforge(["check", text(&out.join("ws2022.vhd"))]).expect(0);
    let extents = file["extents"].as_array().unwrap();
    assert!(extents.len() > 2, "the record, the index and the clusters: {file}");
}

#[test]
fn files_and_folders_come_and_go_in_place_and_a_mount_agrees() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let content = home.path().join("SetupComplete.cmd");
    std::fs::write(&content, "@echo off\r\n".repeat(500)).unwrap();
    let folder = r"C:\Windows\Setup\Scripts\Deep";
    coldforge(["mkdir", text(&image), folder]).expect(4);
    coldforge(["mkdir", "-p", text(&image), folder]).expect(0);
    coldforge(["mkdir", "-p", text(&image), folder]).expect(0);
    coldforge(["mkdir", text(&image), folder]).expect(3);
    let made = coldforge(["ls", "--acl", text(&image), r"\Windows\Setup"]).expect(0).out;
    assert!(made.contains("O:BAG:SYD:"), "{made}");
    let path = "/Windows/Setup/Scripts/SetupComplete.cmd";
    coldforge(["put", text(&image), text(&content), path]).expect(0);
    std::fs::write(&content, "short").unwrap();
    coldforge(["put", text(&image), text(&content), "/windows/setup/scripts/SETUPCOMPLETE.cmd"]).expect(0);
    assert_eq!(coldforge(["cat", text(&image), path]).expect(0).out, "short");
    let other = home.path().join("other.vhd");
    let before = sha256(&image);
    coldforge(["rm", text(&image), r"\Windows\Setup\Scripts", "-o", text(&other)]).expect(3);
    coldforge(["rm", "-r", text(&image), r"\Windows\Setup\Scripts", "-o", text(&other)]).expect(0);
    assert_eq!(sha256(&image), before);
    coldforge(["ls", text(&other), r"\Windows\Setup\Scripts"]).expect(4);
    for image in [&image, &other] {
        coldforge(["check", text(image)]).expect(0);
        if let Some(shared) = shared() {
            let raw = home.path().join("raw");
            to_raw(image, &raw);
            let done = ask("python3", &[text(&shared.join("check/ntfs_check.py")), text(&raw), "--strict"]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        }
    }
    assert!(!home.path().join("ws2022.vhd.coldforge-undo").exists());
    // A machine that is hardened afterwards is none the worse.
    coldforge(["harden", "--fail-on", "none", text(&image), "-o", text(&home.path().join("out"))]).expect(0);
}

#[test]
fn what_no_volume_takes_is_refused_and_nothing_is_written() {
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let before = sha256(&image);
    let (small, large) = (home.path().join("small"), home.path().join("large"));
    std::fs::write(&small, "x").unwrap();
    std::fs::write(&large, vec![1; 160 << 20]).unwrap();
    for (words, code, expected) in [
        (vec!["put", text(&image), text(&large), r"\large"], 3, "E-VOLUME-FULL"),
        (vec!["put", text(&image), text(&small), r"\a:b"], 2, "hint:"),
        (vec!["put", text(&image), text(&small), r"\$MFT"], 3, "hint:"),
        (vec!["put", text(&image), text(&small), r"\Windows"], 2, "hint:"),
        (vec!["put", text(&image), text(&small), r"\Missing\x"], 4, "hint:"),
        (vec!["rm", text(&image), r"\$Extend", "-r"], 3, "hint:"),
        (vec!["rm", text(&image), r"\Missing"], 4, "coldforge ls"),
    ] {
        let answer = coldforge(&words);
        assert!(answer.code == code && answer.err.contains(expected), "{words:?}: {} {}", answer.code, answer.err);
        assert_eq!(sha256(&image), before, "{words:?}");
    }
}
