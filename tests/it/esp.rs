//! What lies on an EFI system partition: read as other readers do, and judged by the preflight and a recipe's tests.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use coldforge::windows::fat;
use coldforge_base::device::Memory;

use crate::support::{ask, coldforge, cut_volume, fixture, oracle, text, to_raw};

const MIB: u64 = 1 << 20;
const ESP: u64 = MIB;
const ESP_BYTES: u64 = 64 * MIB;
const VOLUME: u64 = ESP + ESP_BYTES;
/// The NTFS volume of the fixture, at a mebibyte of its disk.
const VOLUME_BYTES: u64 = 260_096 * 512 - MIB;

fn run(tool: &str, arguments: &[&str]) {
    let done = ask(tool, arguments);
    assert!(done.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Makes a file system with mkfs.vfat and fills it with mtools.
fn made(home: &Path, format: &[&str], files: &[(&str, Vec<u8>)]) -> PathBuf {
    let esp = home.join("esp.img");
    std::fs::File::create(&esp).unwrap().set_len(ESP_BYTES).unwrap();
    run("mkfs.vfat", &[format, &["-i", "12345678", text(&esp)]].concat());
    for (path, content) in files {
        let parts: Vec<&str> = path.split('/').collect();
        for end in 1..parts.len() {
            let folder = format!("::{}", parts[..end].join("/"));
            if !ask("mdir", &["-i", text(&esp), &folder]).status.success() {
                run("mmd", &["-i", text(&esp), &folder]);
            }
        }
        let file = home.join("content");
        std::fs::write(&file, content).unwrap();
        run("mcopy", &["-i", text(&esp), text(&file), &format!("::{path}")]);
    }
    esp
}

/// The least that firmware takes for an application of x64.
fn application(length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|index| u8::try_from(index * 31 % 251).unwrap()).collect();
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c..0x40].copy_from_slice(&0x80u32.to_le_bytes());
    bytes[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
    bytes[0x80 + 92..0x80 + 94].copy_from_slice(&10u16.to_le_bytes());
    bytes
}

/// The boot configuration store of the fixture, for UEFI.
fn store(home: &Path) -> PathBuf {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_coldforge"))
        .args(["cat", text(&fixture("ws2022.vhd")), r"\Boot\BCD"])
        .output()
        .unwrap();
    assert!(done.status.success());
    let bcd = home.join("BCD");
    std::fs::write(&bcd, done.stdout).unwrap();
    let scheme = std::fs::read_to_string(fixture("make/BCD.reg")).unwrap();
    let loader = scheme.lines().take_while(|line| !line.contains("winload.exe")).filter(|line| line.starts_with('['));
    let element = loader.last().unwrap().trim_matches(['[', ']']).rsplit_once("Objects").unwrap().1;
    let key = format!("Objects{}", element.replace("\\\\", "\\"));
    coldforge(["reg", "set", text(&bcd), &key, "Element", r"\Windows\system32\winload.efi", "--type", "REG_SZ"])
        .expect(0);
    bcd
}

/// Makes a disk that starts by UEFI of the fixture's volume and an EFI system partition, if there is one.
fn disk(home: &Path, esp: Option<&Path>) -> PathBuf {
    let (raw, volume) = (home.join("fixture.raw"), home.join("volume.ntfs"));
    if !volume.exists() {
        to_raw(&fixture("ws2022.vhd"), &raw);
        cut_volume(&raw, MIB, VOLUME_BYTES, &volume);
    }
    let image = home.join("uefi.img");
    let _ = std::fs::remove_file(&image);
    std::fs::File::create(&image).unwrap().set_len(VOLUME + VOLUME_BYTES + MIB).unwrap();
    let script = home.join("layout");
    let layout = format!(
        "label: gpt\nstart=2048, size={}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nstart={}, size={}, \
        type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n",
        ESP_BYTES / 512,
        VOLUME / 512,
        VOLUME_BYTES / 512
    );
    std::fs::write(&script, layout).unwrap();
    let done = std::process::Command::new("bash")
        .args(["-c", "PATH=$PATH:/usr/sbin:/sbin sfdisk --quiet \"$0\" < \"$1\"", text(&image), text(&script)])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    file.write_all_at(&std::fs::read(&volume).unwrap(), VOLUME).unwrap();
    if let Some(esp) = esp {
        file.write_all_at(&std::fs::read(esp).unwrap(), ESP).unwrap();
    }
    image
}

fn has_tools() -> bool {
    ["mkfs.vfat", "mcopy", "sfdisk", "qemu-img"].iter().all(|tool| oracle(tool))
}

const SHAPES: [&[&str]; 4] = [
    &["-F", "32", "-s", "1"],
    &["-F", "16", "-s", "8"],
    &["-F", "16", "-s", "4", "-f", "1"],
    &["-F", "12", "-s", "64"],
];

#[test]
fn a_fat_volume_is_read_as_other_readers_read_it() {
    if !has_tools() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let long = "EFI/Microsoft/Boot/a name of more than two parts of thirteen.mui";
    let mut files = vec![
        ("EFI/Microsoft/Boot/bootmgfw.efi", application(1_500_123)),
        ("EFI/Microsoft/Boot/BCD", application(28_672)),
        ("EFI/Boot/bootx64.efi", application(512)),
        (long, application(4096)),
        ("empty", Vec::new()),
    ];
    let many: Vec<String> = (0..90).map(|number| format!("EFI/Microsoft/Boot/{number:03}-de-DE.mui")).collect();
    files.extend(many.iter().map(|path| (path.as_str(), application(700))));
    for shape in SHAPES {
        let esp = made(home.path(), shape, &files);
        let bytes = std::fs::read(&esp).unwrap();
        let volume = fat::Volume::open(Memory(bytes.clone())).unwrap();
        assert_eq!(volume.width().to_string(), format!("FAT{}", shape[1]));
        for (path, content) in &files {
            let asked = path.replace('/', "\\").to_ascii_uppercase();
            let found = volume.find(&asked).unwrap().unwrap_or_else(|| panic!("{path} is there on {shape:?}"));
            assert_eq!(volume.read(&found, 1 << 24).unwrap(), *content, "{path} on {shape:?}");
        }
        // Every name and byte, as the crate has them.
        let theirs = ::fat::FatFs::open(Cursor::new(bytes)).unwrap();
        let mut seen = BTreeMap::new();
        let mut folders = vec![(theirs.root(), String::new())];
        while let Some((folder, path)) = folders.pop() {
            for node in theirs.read_dir(folder).unwrap() {
                if node.is_deleted || node.is_volume_label || node.name.starts_with('.') {
                    continue;
                }
                let path = format!("{path}\\{}", node.name);
                if node.is_dir {
                    folders.push((node.id, path));
                    continue;
                }
                let mut content = vec![0; usize::try_from(node.size).unwrap()];
                assert_eq!(theirs.read_at(node.id, 0, &mut content).unwrap(), content.len());
                seen.insert(path, content);
            }
        }
        let mut ours = BTreeMap::new();
        let mut folders: Vec<(fat::DirectoryEntry, String)> = Vec::new();
        let mut entries: Vec<(fat::DirectoryEntry, String)> =
            volume.root().unwrap().into_iter().map(|entry| (entry, String::new())).collect();
        while let Some((entry, path)) = entries.pop() {
            let path = format!("{path}\\{}", entry.name);
            match entry.is_directory {
                true => folders.push((entry, path)),
                false => {
                    ours.insert(path, volume.read(&entry, 1 << 24).unwrap());
                }
            }
            if entries.is_empty() {
                for (folder, path) in folders.drain(..) {
                    entries.extend(volume.list(&folder).unwrap().into_iter().map(|entry| (entry, path.clone())));
                }
            }
        }
        assert_eq!(ours.keys().collect::<Vec<_>>(), seen.keys().collect::<Vec<_>>(), "{shape:?}");
        assert_eq!(ours, seen, "{shape:?}");
    }
}

fn verdicts(image: &Path) -> (String, serde_json::Value) {
    let report = coldforge(["preflight", text(image), "--json"]);
    assert!(matches!(report.code, 0 | 1), "{}", report.err);
    let report = report.json();
    let verdict = |id: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap()["verdict"].as_str().unwrap().to_owned()
    };
    (["P05", "P07", "P21"].map(verdict).join(" "), report)
}

#[test]
fn an_image_that_starts_by_uefi_is_judged_by_what_lies_on_its_system_partition() {
    if !has_tools() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let bcd = std::fs::read(store(home)).unwrap();
    let manager = ("EFI/Microsoft/Boot/bootmgfw.efi", application(5000));
    let fallback = ("EFI/Boot/bootx64.efi", application(5000));
    let whole = [manager.clone(), fallback.clone(), ("EFI/Microsoft/Boot/BCD", bcd.clone())];
    let judge = |shape: &[&str], files: &[(&str, Vec<u8>)]| {
        let esp = made(home, shape, files);
        verdicts(&disk(home, Some(&esp))).0
    };

    assert_eq!(verdicts(&disk(home, None)).0, "fail fail fail", "it was never formatted");
    assert_eq!(judge(SHAPES[0], &[]), "fail fail fail", "it holds nothing");
    for shape in SHAPES {
        assert_eq!(judge(shape, &whole), "pass pass pass", "{shape:?}");
    }
    assert_eq!(judge(SHAPES[0], &[whole[0].clone(), whole[2].clone()]), "warn pass pass", "no fallback");
    assert_eq!(judge(SHAPES[0], &[whole[1].clone(), whole[2].clone()]), "warn pass pass", "only the fallback");
    assert_eq!(judge(SHAPES[0], &whole[2..]), "fail pass pass", "a store and no boot manager");
    assert_eq!(judge(SHAPES[0], &whole[..2]), "fail fail fail", "no store");
    for bad in [Vec::new(), vec![0; 5000], b"#!/bin/sh".to_vec()] {
        assert_eq!(judge(SHAPES[0], &[(manager.0, bad), whole[1].clone(), whole[2].clone()]), "fail pass pass");
    }
    // What is no store at all is none for the boot manager either; a hive that is broken tells nothing.
    let mut torn = bcd.clone();
    torn[0x1000..0x1004].fill(7);
    for (store, expected) in [
        (Vec::new(), "fail fail fail"),
        (vec![7; 8192], "fail fail fail"),
        (vec![0; 8192], "fail fail fail"),
        (torn, "pass unknown unknown"),
    ] {
        let store = ("EFI/Microsoft/Boot/BCD", store);
        assert_eq!(judge(SHAPES[0], &[whole[0].clone(), whole[1].clone(), store]), expected);
    }

    // Emergency management services, and a store for BIOS.
    let turned = home.join("BCD");
    let object = r"Objects\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\Elements\16000020";
    coldforge(["reg", "set", text(&turned), object, "Element", "01", "--type", "REG_BINARY"]).expect(0);
    let serial = ("EFI/Microsoft/Boot/BCD", std::fs::read(&turned).unwrap());
    assert_eq!(judge(SHAPES[0], &[whole[0].clone(), whole[1].clone(), serial]), "pass pass warn");

    // One bit of one copy of the table, where the boot manager's chain runs.
    let esp = made(home, SHAPES[0], &whole);
    let mut bytes = std::fs::read(&esp).unwrap();
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (reserved, table) = (number(14, 2) * 512, number(36, 4) * 512);
    let second = reserved + table;
    let used = (8..table).step_by(4).filter(|at| bytes[second + at..second + at + 4] != [0; 4]);
    for at in used.collect::<Vec<_>>() {
        bytes[second + at] ^= 1;
    }
    std::fs::write(&esp, bytes).unwrap();
    let (verdict, report) = verdicts(&disk(home, Some(&esp)));
    assert_eq!(verdict, "fail unknown unknown");
    assert!(report.to_string().contains("E-FAT-CORRUPT"));

    // The directory entry of a file gives it more bytes than the volume has, or fewer clusters than its chain has.
    for (size, said) in [(u32::MAX, "the volume has room for"), (1, "has more clusters than")] {
        let esp = made(home, SHAPES[2], &whole);
        let mut bytes = std::fs::read(&esp).unwrap();
        let entry = bytes.windows(11).position(|name| name == b"BOOTMGFWEFI").unwrap();
        bytes[entry + 28..entry + 32].copy_from_slice(&size.to_le_bytes());
        std::fs::write(&esp, bytes).unwrap();
        let (verdict, report) = verdicts(&disk(home, Some(&esp)));
        assert_eq!(verdict, "fail pass pass");
        let report = report.to_string();
        assert!(report.contains("E-FAT-CORRUPT") && report.contains(said), "{report}");
    }
}

#[test]
fn a_program_for_another_processor_than_that_of_windows_starts_nothing() {
    if !has_tools() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let bcd = ("EFI/Microsoft/Boot/BCD", std::fs::read(store(home)).unwrap());
    let (x64, arm64, x86) = (0x8664u16, 0xaa64, 0x014c);
    let made_for = |processor: u16| {
        let mut bytes = application(5000);
        bytes[0x84..0x86].copy_from_slice(&processor.to_le_bytes());
        bytes
    };
    let judge = |manager: u16, fallbacks: &[(&'static str, u16)]| {
        let mut files = vec![bcd.clone(), ("EFI/Microsoft/Boot/bootmgfw.efi", made_for(manager))];
        files.extend(fallbacks.iter().map(|(path, processor)| (*path, made_for(*processor))));
        let (verdict, report) = verdicts(&disk(home, Some(&made(home, SHAPES[2], &files))));
        let checks = report["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["id"] == "P05").unwrap()["found"].as_str().unwrap().to_owned();
        (verdict, found)
    };
    let (for_x64, for_arm64, for_x86) = ("EFI/Boot/bootx64.efi", "EFI/Boot/bootaa64.efi", "EFI/Boot/bootia32.efi");

    // The Windows of the fixture is for x64.
    assert_eq!(judge(x64, &[(for_x64, x64), (for_arm64, arm64), (for_x86, x86)]).0, "pass pass pass");
    for processor in [arm64, x86, 0x01c4] {
        let (verdict, found) = judge(processor, &[(for_x64, x64)]);
        assert_eq!(verdict, "fail pass pass");
        assert!(found.contains("bootmgfw.efi is a program for") && found.contains("x64 is needed"), "{found}");
        assert_eq!(judge(x64, &[(for_x64, processor)]).0, "fail pass pass");
    }
    for fallbacks in [&[(for_arm64, arm64)][..], &[(for_x86, x86)], &[(for_x86, x86), (for_arm64, arm64)]] {
        let (verdict, found) = judge(x64, fallbacks);
        assert_eq!(verdict, "warn pass pass");
        assert!(found.contains("bootx64.efi is not"), "{found}");
    }
    assert_eq!(judge(arm64, &[(for_arm64, arm64)]).0, "fail pass pass");
}

#[test]
fn a_disk_that_starts_by_uefi_boots_plausibly() {
    if !has_tools() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let bcd = std::fs::read(store(home)).unwrap();
    let files = [
        ("EFI/Microsoft/Boot/bootmgfw.efi", application(5000)),
        ("EFI/Boot/bootx64.efi", application(5000)),
        ("EFI/Microsoft/Boot/BCD", bcd),
    ];
    let esp = made(home, SHAPES[0], &files);
    let recipe = home.join("recipe.toml");
    let text_of = "schema = \"coldforge/recipe/1\"\nname = \"uefi\"\nversion = \"1.0.0\"\n\n[[source]]\nimage = \"uefi.img\"\n\
        format = \"raw\"\n\n[tests]\nrun = [\"boots-plausibly\"]\n";
    std::fs::write(&recipe, text_of).unwrap();
    disk(home, Some(&esp));
    let done = coldforge(["run", text(&recipe)]);
    assert!(matches!(done.code, 0 | 1) && !done.err.contains("boots-plausibly"), "{}{}", done.out, done.err);
    std::fs::remove_dir_all(home.join("out")).unwrap();
    disk(home, None);
    let done = coldforge(["run", text(&recipe)]);
    assert!(done.code == 1 && format!("{}{}", done.out, done.err).contains("P05"), "{}{}", done.out, done.err);
}
