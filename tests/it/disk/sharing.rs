//! Images that others use, and block devices: locks that qemu heeds, whose they are and how long they last; what killed
//! runs leave; disks that are mounted.

use std::os::unix::fs::PermissionsExt as _;

use coldforge_disk::{UndoJournal, write_in_place};

use super::*;
use crate::support::{coldforge, copy_of, sha256};

/// Opens an image with qemu's locks, reads or writes a byte of it, and says whether that was allowed.
fn qemu_may(path: &Path, command: &str) -> bool {
    let options = format!("driver=raw,file.driver=file,file.filename={},file.locking=on", text(path));
    let mut arguments = vec!["--image-opts", "-c", command, &options];
    if command.starts_with("read") {
        arguments.insert(0, "-r");
    }
    let done = ask("qemu-io", &arguments);
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() || said.contains("lock"), "{said}");
    done.status.success()
}

#[test]
fn qemu_heeds_the_locks_of_readers_and_of_a_writer_until_its_last_byte_is_compared() {
    if !oracle("qemu-io") {
        return;
    }
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = place.path().join("disk.raw");
    make_raw(&image);
    assert!(qemu_may(&image, "read 0 512") && qemu_may(&image, "write 1M 512"));
    let opened = Image::open(&image, None).unwrap();
    assert!(qemu_may(&image, "read 0 512"), "readers share");
    assert!(!qemu_may(&image, "write 1M 512"), "a reader is not written under");
    let mut overlay = Overlay::new(&opened);
    overlay.write_at(5 * MIB, b"in place").unwrap();
    let done = write_in_place(&overlay, &[], &[], UndoJournal::KeepUnsettled, &Silent).unwrap();
    // The file is opened and closed by the same process, which would end a POSIX record lock.
    drop(File::open(&image).unwrap());
    drop(opened);
    assert!(!qemu_may(&image, "read 0 512") && !qemu_may(&image, "write 1M 512"));
    let held = done.held.unwrap();
    drop(held.image(Format::Raw).unwrap());
    assert!(!qemu_may(&image, "read 0 512"), "also behind the comparison");
    drop(held);
    assert!(qemu_may(&image, "read 0 512") && qemu_may(&image, "write 1M 512"));
}

#[test]
fn a_run_in_place_locks_by_open_file_descriptions_and_releases_nothing_before_its_bundle_stands() {
    if !oracle("strace") {
        return;
    }
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = copy_of("ws2022.vhd", place.path());
    let (out, log) = (place.path().join("out"), place.path().join("log"));
    let mut command = Command::new("strace");
    command.args(["-f", "-o", text(&log), "-e", "trace=fcntl,flock,rename,renameat,renameat2"]);
    command.args([env!("CARGO_BIN_EXE_coldforge"), "harden", text(&image), "--in-place", "--fail-on", "none", "-o"]);
    let done = command.arg(&out).env("SOURCE_DATE_EPOCH", crate::support::EPOCH).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let log = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let find = |what: &[&str]| lines.iter().position(|line| what.iter().all(|word| line.contains(word)));
    let claimed = find(&["F_OFD_SETLK", "F_WRLCK", "l_start=0", "l_len=0"]).expect("a lock on all bytes");
    let published = find(&["rename", ".out.coldforge-", "\"", "/out\""]).expect("the bundle gets its name");
    assert!(claimed < published);
    let held = &lines[claimed + 1..published];
    assert!(!held.iter().any(|line| line.contains("F_UNLCK") || line.contains("LOCK_UN")), "{held:#?}");
    assert!(!log.contains("F_SETLK,") && !log.contains("F_SETLKW"), "no POSIX record lock");
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_run_of_the_same_target_unless_a_process_works_on_it() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = copy_of("ws2022.vhd", place.path());
    let path = |name: &str| place.path().join(name);
    let hive = path("SOFTWARE");
    coldforge(["cat", text(&image), "/Windows/System32/config/SOFTWARE", "-o", text(&hive)]).expect(0);
    let bundle = path("bundle");
    coldforge(["harden", text(&image), "--fail-on", "none", "-o", text(&bundle)]).expect(0);
    let runs: [(&str, Vec<String>); 5] = [
        ("out.vhdx", vec!["convert".into(), text(&image).into(), text(&path("out.vhdx")).into()]),
        (
            "scanned",
            ["scan", text(&image), "--fail-on", "none", "--reports", text(&path("scanned"))]
                .map(str::to_owned)
                .to_vec(),
        ),
        ("reported", ["report", text(&bundle), "-o", text(&path("reported"))].map(str::to_owned).to_vec()),
        (
            "key.reg",
            ["reg", "export", text(&hive), "Microsoft\\Windows NT", "-o", text(&path("key.reg"))]
                .map(str::to_owned)
                .to_vec(),
        ),
        (
            "hardened",
            ["harden", text(&image), "--fail-on", "none", "-o", text(&path("hardened"))].map(str::to_owned).to_vec(),
        ),
    ];
    for (target, arguments) in runs {
        let [dead, alive, other] = [
            format!(".{target}.coldforge-000000.part"),
            format!(".{target}.coldforge-111111.part"),
            format!(".{target}2.coldforge-000000.part"),
        ];
        for name in [&dead, &alive, &other] {
            std::fs::write(path(name), b"left").unwrap();
        }
        let working = File::open(path(&alive)).unwrap();
        working.lock_shared().unwrap();
        coldforge(&arguments).expect(0);
        assert!(path(target).exists() && !path(&dead).exists(), "{target}");
        assert!(path(&alive).exists() && path(&other).exists(), "{target}");
        let left = std::fs::read_dir(place.path()).unwrap().flatten();
        let left =
            left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!(".{target}.coldforge-")));
        assert_eq!(left.count(), 1, "{target}");
    }
    let mode = path("scanned").metadata().unwrap().permissions().mode() & 0o777;
    let plain = path("plain");
    std::fs::create_dir(&plain).unwrap();
    assert_eq!(mode, plain.metadata().unwrap().permissions().mode() & 0o777, "as any new folder");
    // Into a folder with other files, and never over one of the same name.
    coldforge(["report", text(&bundle), "-o", text(&path("scanned"))]).expect(4);
    std::fs::write(plain.join("mine"), b"mine").unwrap();
    coldforge(["report", text(&bundle), "--format", "csv", "-o", text(&plain)]).expect(0);
    assert_eq!(std::fs::read_dir(&plain).unwrap().count(), 2);
}

#[test]
fn an_image_of_another_name_is_hardened_into_a_file_that_is_named_by_its_container() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let source = crate::support::fixture("ws2022.vhd");
    for (format, name, expected) in [("vhdx", "x.vhd", "x.vhdx"), ("raw", "x.vhd", "x.raw"), ("raw", "x.vmdk", "x.raw")]
    {
        let (made, image, out) = (place.path().join("made"), place.path().join(name), place.path().join("out"));
        coldforge(["convert", text(&source), text(&made), "--format", format]).expect(0);
        std::fs::rename(&made, &image).unwrap();
        coldforge(["harden", text(&image), "--fail-on", "none", "-o", text(&out)]).expect(0);
        assert!(out.join(expected).is_file(), "{format} named {name}");
        let request = std::fs::read_to_string(out.join("aws/import-image.json")).unwrap();
        assert!(request.contains(&format!("{expected}\"")) && !request.contains(&format!("{name}\"")), "{request}");
        coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
        std::fs::remove_dir_all(&out).unwrap();
        std::fs::remove_file(&image).unwrap();
    }
}

/// A loop device over a file, as long as the value lives.
struct Loop(String);

impl Loop {
    /// Attaches a file; `None`, said aloud, where that cannot be done.
    fn over(file: &Path) -> Option<Self> {
        if !oracle("losetup") {
            return None;
        }
        let done = ask("losetup", &["--find", "--show", text(file)]);
        if !done.status.success() {
            eprintln!("SKIPPED: no loop device: {}", String::from_utf8_lossy(&done.stderr));
            return None;
        }
        Some(Self(String::from_utf8_lossy(&done.stdout).trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = ask("losetup", &["-d", &self.0]);
    }
}

#[test]
fn a_block_device_is_read_and_written_in_place_like_a_file() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let raw = place.path().join("disk.img");
    coldforge(["convert", text(&crate::support::fixture("ws2022.vhd")), text(&raw)]).expect(0);
    let before = sha256(&raw);
    let Some(device) = Loop::over(&raw) else { return };
    let inspected = coldforge(["inspect", &device.0, "--json"]).expect(0).json();
    assert_eq!(inspected["image"]["disk_bytes"], raw.metadata().unwrap().len());
    let copy = place.path().join("copy.raw");
    coldforge(["convert", &device.0, text(&copy)]).expect(0);
    assert_eq!(sha256(&copy), before);
    assert!(copy.metadata().unwrap().blocks() * 512 < copy.metadata().unwrap().len(), "zeros of a device become holes");
    let out = place.path().join("out");
    coldforge(["harden", &device.0, "--fail-on", "none", "-o", text(&out)]).expect(0);
    coldforge(["verify", text(&out), "--source", &device.0]).expect(0);
    // The name of a device says nothing of a container, that of its copy does.
    let called = device.0.rsplit_once('/').unwrap().1;
    assert!(out.join(format!("{called}.raw")).is_file());
    let vhd = place.path().join("vhd");
    coldforge(["harden", &device.0, "--fail-on", "none", "--format", "vhd-dynamic", "-o", text(&vhd)]).expect(0);
    assert!(vhd.join(format!("{called}.vhd")).is_file());
    assert_eq!(sha256(&raw), before, "the source stays as it is");

    let evidence = place.path().join("evidence");
    coldforge(["harden", &device.0, "--in-place", "--fail-on", "none", "-o", text(&evidence)]).expect(0);
    coldforge(["verify", text(&evidence), "--image", &device.0, "--source", text(&copy)]).expect(0);
    assert!(coldforge(["inspect", &device.0]).expect(0).out.contains("can be taken back"));
    assert_ne!(sha256(&raw), before);
    coldforge(["undo", &device.0]).expect(0);
    assert_eq!(sha256(&raw), before);
}

#[test]
fn a_device_that_is_mounted_or_in_use_is_refused() {
    use std::os::unix::fs::OpenOptionsExt as _;
    const O_EXCL: i32 = 0o200;
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let volume = place.path().join("volume");
    File::create(&volume).unwrap().set_len(8 * MIB).unwrap();
    let Some(device) = Loop::over(&volume) else { return };
    let assert_refused = || {
        let said = coldforge(["inspect", &device.0]).expect(3).err;
        assert!(
            said.contains("E-IMAGE-BUSY") && said.contains("mounted or in use") && said.contains("hint:"),
            "{said}"
        );
    };
    // As the kernel holds a device that is mounted, or that a volume group or an array lies on.
    let held = File::options().read(true).custom_flags(O_EXCL).open(&device.0).unwrap();
    assert_refused();
    drop(held);
    // Between its fork and its exec a child of another test holds what this process has open.
    let is_free = || !coldforge(["inspect", &device.0]).err.contains("E-IMAGE-BUSY");
    assert!((0..100).any(|_| is_free()), "nobody holds it any more");

    let mount = place.path().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let made = oracle("mkfs.ext4") && ask("mkfs.ext4", &["-q", "-F", &device.0]).status.success();
    if !made || !ask("mount", &[&device.0, text(&mount)]).status.success() {
        eprintln!("SKIPPED: nothing can be mounted here");
        return;
    }
    let refused = coldforge(["inspect", &device.0]);
    let _ = ask("umount", &[text(&mount)]);
    assert!(refused.expect(3).err.contains("mounted or in use"));
}
