//! The verbs about containers: convert, diff, undo, and what inspect says; and a conversion that is killed.

use std::time::Duration;

use coldforge_disk::{UndoJournal, write_in_place};

use super::*;
use crate::support::{coldforge, copy_of};

#[test]
fn convert_and_diff_go_round_and_inspect_tells_the_container() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = copy_of("ws2022.vhd", place.path());
    let outs = ["a.vhdx", "b.vmdk", "c.raw", "d.vhd"].map(|name| place.path().join(name));
    let mut from = image.clone();
    for out in &outs {
        let said = coldforge(["convert", text(&from), text(out), "--json"]).expect(0).json();
        assert_eq!(said["schema"], "coldforge/conversion/1");
        let linear = digest(&Image::open(&image, None).unwrap(), &Silent).unwrap().ebs_linear;
        assert_eq!(said["ebs_linear"], linear.as_str());
        let equal = coldforge(["diff", text(&image), text(out)]).expect(0);
        assert_eq!(equal.out, "the disks are equal\n");
        from.clone_from(out);
    }
    let inspected = coldforge(["inspect", text(&outs[0]), "--json"]).expect(0).json();
    assert_eq!(inspected["image"]["format"], "vhdx-dynamic");
    assert_eq!(inspected["image"]["health"]["sector_bytes"], 512);
    assert!(coldforge(["inspect", text(&outs[0])]).expect(0).out.contains("blocks of 2.0 MiB"));
    coldforge(["scan", text(&outs[0]), "--fail-on", "none"]).expect(0);
    coldforge(["convert", text(&image), text(&outs[0])]).expect(3);
    coldforge(["convert", text(&image), text(&place.path().join("x.iso"))]).expect(2);
    coldforge(["convert", text(&image), text(&place.path().join("x.vhd")), "--format", "vhd-delta"]).expect(2);

    let raw = &outs[2];
    File::options().write(true).open(raw).unwrap().write_all_at(b"\xa5\x5a", 70_000).unwrap();
    let differ = coldforge(["diff", text(&image), text(raw), "--json"]).expect(1).json();
    assert_eq!(differ["equal"], false);
    assert!(differ["extents"].as_array().unwrap().iter().all(|extent| {
        let offset = extent["offset"].as_u64().unwrap();
        (70_000..70_002).contains(&offset)
    }));
}

#[test]
fn a_run_in_place_is_undone_by_the_verb_and_an_unfinished_one_stops_every_other() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = copy_of("ws2022.vhd", place.path());
    let before = crate::support::sha256(&image);
    let write = || {
        let opened = Image::open(&image, None).unwrap();
        let mut overlay = Overlay::new(&opened);
        overlay.write_at(1_000_000, b"changed in place").unwrap();
        overlay.write_at(opened.len() - 3, b"end").unwrap();
        write_in_place(&overlay, &[vec![Extent::new(1_000_000, 4)]], &[], UndoJournal::Keep, &Silent).unwrap()
    };
    assert!(write().journal.is_some() && crate::support::sha256(&image) != before);
    assert!(coldforge(["inspect", text(&image)]).expect(0).out.contains("can be taken back"));
    let said = coldforge(["undo", text(&image), "--json"]).expect(0).json();
    assert_eq!((&said["did"], &said["run"]), (&"undo".into(), &"finished".into()));
    assert_eq!(crate::support::sha256(&image), before);
    assert!(coldforge(["undo", text(&image)]).expect(4).err.contains("E-NO-UNDO"));

    // A journal that does not say that its run ended.
    let journal = write().journal.unwrap();
    File::options().write(true).open(&journal).unwrap().write_all_at(&[0; 512], 512).unwrap();
    for verb in ["inspect", "scan"] {
        let refused = coldforge([verb, text(&image)]).expect(3);
        assert!(refused.err.contains("E-UNFINISHED-RUN") && refused.err.contains("coldforge undo"), "{}", refused.err);
    }
    coldforge(["undo", "--forget", text(&image)]).expect(3);
    coldforge(["undo", text(&image)]).expect(0);
    assert_eq!(crate::support::sha256(&image), before);

    write();
    coldforge(["undo", "--forget", text(&image)]).expect(0);
    assert_ne!(crate::support::sha256(&image), before);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn a_vhdx_is_hardened_to_a_vhdx_that_passes_again() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = place.path().join("disk.vhdx");
    coldforge(["convert", text(&crate::support::fixture("ws2022.vhd")), text(&image)]).expect(0);
    let bundle = place.path().join("bundle");
    coldforge(["harden", text(&image), "-o", text(&bundle), "--fail-on", "none"]).expect(0);
    let hardened = bundle.join("disk.vhdx");
    assert_eq!(Image::open(&hardened, None).unwrap().format(), Format::VhdxDynamic);
    if oracle("qemu-img") {
        run("qemu-img", &["check", "-f", "vhdx", text(&hardened)]);
    }
    coldforge(["verify", text(&bundle), "--source", text(&image)]).expect(0);
    let again = coldforge(["harden", text(&hardened), "--dry-run", "--fail-on", "none", "--json"]).expect(0).json();
    assert_eq!(again["changes"], 0);
}

#[test]
fn a_conversion_that_is_killed_leaves_no_output_or_a_whole_one() {
    let Some(made) = Made::new() else { return };
    let expected = std::fs::read(&made.raw).unwrap();
    let out = made.folder.path().join("out.vhdx");
    let (mut absent, mut whole) = (0, 0);
    for i in 0..16u64 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_coldforge"))
            .args(["convert", text(&made.raw), text(&out)])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(i * i));
        child.kill().unwrap();
        child.wait().unwrap();
        if out.exists() {
            assert!(contents(&Image::open(&out, None).unwrap()) == expected, "killed after {} ms", i * i);
            std::fs::remove_file(&out).unwrap();
            whole += 1;
        } else {
            absent += 1;
        }
    }
    assert!(absent > 0, "{absent} absent, {whole} whole");
}
