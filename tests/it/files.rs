//! `ls`, `cat` and `check` of the built binary.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::support::{coldforge, copy_of, corpus, fixture, oracle, text, to_raw};

/// Where the volume of the fixture begins, and its `$MFT`.
const VOLUME: u64 = 2048 * 512;

fn image() -> String {
    text(&fixture("ws2022.vhd")).to_owned()
}

#[test]
fn a_folder_is_listed_whatever_the_path_is_written_like() {
    for path in [r"\Windows\System32\config", "/windows/system32/CONFIG/", r"C:\Windows\System32\config"] {
        let answer = coldforge(["ls", &image(), path]).expect(0);
        let names: Vec<&str> = answer.out.lines().collect();
        assert!(names.contains(&"SOFTWARE") && names.contains(&"SYSTEM"), "{path}: {names:?}");
    }
    let root = coldforge(["ls", &image()]).expect(0).out;
    assert!(root.contains("Windows\\\n") && root.contains("bootmgr\n"), "{root}");
    let one = coldforge(["ls", "-l", &image(), "/bootmgr"]).expect(0).out;
    assert_eq!(one.lines().count(), 1, "{one}");
}

#[test]
fn a_long_list_tells_sizes_times_and_descriptors() {
    let answer = coldforge(["ls", "-l", "--acl", &image(), "/Windows/System32/config"]).expect(0);
    let line = answer.out.lines().find(|line| line.ends_with("  SYSTEM")).unwrap();
    assert!(line.contains("524288") && line.contains("2022-06-15T"), "{line}");
    assert!(answer.out.contains("    O:BA") || answer.out.contains("    O:SY"), "{}", answer.out);

    let document = coldforge(["ls", "--json", "--acl", &image(), "\\"]).expect(0).json();
    assert_eq!(document["schema"], "coldforge/ls/1");
    let entries = document["entries"].as_array().unwrap();
    let windows = entries.iter().find(|entry| entry["name"] == "Windows").unwrap();
    assert_eq!(windows["directory"], true);
    assert!(windows["sddl"].as_str().unwrap().contains("D:P"), "{windows}");
    let junction = entries.iter().find(|entry| entry["name"] == "Documents and Settings").unwrap();
    assert_eq!(junction["reparse_tag"], 0xa000_0003u32);
}

#[test]
fn a_file_is_printed_or_written_as_a_whole() {
    let path = "/Windows/System32/config/SYSTEM";
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("SYSTEM");
    let document = coldforge(["cat", "--json", &image(), path, "-o", text(&output)]).expect(0).json();
    assert_eq!((&document["schema"], &document["size"]), (&"coldforge/cat/1".into(), &524_288.into()));
    let hive = fs::read(&output).unwrap();
    assert!(hive.starts_with(b"regf") && hive.len() == 524_288);
    // What is there is not overwritten.
    let again = coldforge(["cat", &image(), path, "-o", text(&output)]).expect(4);
    assert!(again.err.contains("cannot create"), "{}", again.err);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(coldforge(["cat", &image(), path]).expect(0).out.starts_with("regf"));
    assert_eq!(coldforge(["cat", "--json", &image(), path]).expect(2).json()["hint"], "name a file with -o");
}

#[test]
fn what_cannot_be_printed_is_refused_by_name() {
    let folder = coldforge(["cat", &image(), "/Windows"]).expect(2);
    assert!(folder.err.contains("is a directory") && folder.err.contains("hint:"), "{}", folder.err);
    let none = coldforge(["cat", &image(), "/Windows/none"]).expect(4);
    assert!(none.err.contains(r"has no `\Windows\none`"), "{}", none.err);
    let link = coldforge(["ls", &image(), "/Documents and Settings/x"]).expect(3);
    assert!(link.err.contains("[E-FILE-REPARSE]"), "{}", link.err);
    assert!(coldforge(["ls", &image(), "--partition", "7"]).expect(4).err.contains("no partition 7"));
}

/// Makes a raw copy of the fixture in which bytes of the volume are changed.
fn changed(folder: &Path, changes: &[(u64, &[u8])]) -> String {
    let raw = folder.join("changed.raw");
    to_raw(&copy_of("ws2022.vhd", folder), &raw);
    let file = fs::File::options().read(true).write(true).open(&raw).unwrap();
    for (at, bytes) in changes {
        file.write_all_at(bytes, VOLUME + at).unwrap();
    }
    text(&raw).to_owned()
}

#[test]
fn a_sound_image_checks_clean() {
    let answer = coldforge(["check", &image()]).expect(0);
    assert!(answer.out.contains("partition 1 at 0x100000: no findings"), "{}", answer.out);
    let document = coldforge(["check", "--json", &image()]).expect(0).json();
    assert_eq!((&document["schema"], &document["sound"]), (&"coldforge/check/1".into(), &true.into()));
    assert_eq!(document["volumes"][0]["findings"], serde_json::json!([]));
    assert!(document["volumes"][0]["files"].as_u64().unwrap() > 300);
}

#[test]
fn a_damaged_image_is_told_by_finding_and_exit_code() {
    if !oracle("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // The last two bytes of a sector of a record are its mark.
    let file = fs::read(changed(folder.path(), &[])).unwrap();
    let mft = u64::from_le_bytes(file[VOLUME as usize + 0x30..][..8].try_into().unwrap()) * 4096;
    let is_used = |number: &u64| file[(VOLUME + mft + number * 1024 + 0x16) as usize] == 1;
    let number = (70..300).find(is_used).unwrap();
    let image = changed(folder.path(), &[(mft + number * 1024 + 510, &[0x5a, 0xa5])]);
    let answer = coldforge(["check", &image]).expect(1);
    let sentence = format!("error record-torn in file record {number:#x}");
    assert!(answer.out.contains(&sentence), "{}", answer.out);
    let document = coldforge(["check", "--json", &image]).expect(1).json();
    let finding = &document["volumes"][0]["findings"][0];
    assert_eq!(
        (&finding["severity"], &finding["rule"], &finding["record"]),
        (&"error".into(), &"record-torn".into(), &number.into())
    );
    let at = VOLUME + mft + number * 1024;
    assert_eq!((finding["image_offset"].as_u64(), finding["volume_offset"].as_u64()), (Some(at), Some(at - VOLUME)));
}

#[test]
fn a_volume_that_cannot_be_opened_is_a_finding_and_an_encrypted_one_a_refusal() {
    if !oracle("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broken = changed(folder.path(), &[(0x30, &[7, 0, 0, 0, 0, 0, 0, 0])]);
    let answer = coldforge(["check", &broken]).expect(1);
    assert!(answer.out.contains("partition 1 at 0x100000: the volume in partition 1 cannot be used"), "{}", answer.out);
    let locked = changed(folder.path(), &[(3, b"-FVE-FS-")]);
    let answer = coldforge(["check", &locked]).expect(3);
    assert!(answer.err.contains("[E-BITLOCKER]"), "{}", answer.err);
    let document = coldforge(["check", "--json", &locked]).expect(3).json();
    assert_eq!(document["volumes"][0]["error"]["code"], "E-BITLOCKER");
    coldforge(["ls", &locked]).expect(3);
}

#[test]
fn the_store_of_shadow_copies_is_neither_deleted_nor_replaced() {
    let Some(folder) = corpus("^ntfs/dfvfs__vss") else { return };
    let home = tempfile::tempdir().unwrap();
    let image = home.path().join("vss.raw");
    fs::copy(folder.join("ntfs/dfvfs__vss.raw"), &image).unwrap();
    let before = crate::support::sha256(&image);
    let catalog = "/System Volume Information/{3808876b-c176-4e48-b7ae-04046e6cc752}";
    fs::write(home.path().join("small"), "small").unwrap();
    for arguments in [
        vec!["rm", "-r", text(&image), "/System Volume Information"],
        vec!["rm", text(&image), catalog],
        vec!["put", text(&image), text(&home.path().join("small")), catalog],
    ] {
        let answer = coldforge(&arguments).expect(3);
        assert!(answer.err.contains("E-FILE-SYSTEM"), "{arguments:?}: {}", answer.err);
    }
    assert_eq!(crate::support::sha256(&image), before);
}

#[test]
fn the_root_does_not_list_itself() {
    let listed = coldforge(["ls", &image(), "/", "--json"]).expect(0).json();
    let names: Vec<&str> =
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"Windows") && names.contains(&"$MFT") && !names.contains(&"."), "{names:?}");
}
