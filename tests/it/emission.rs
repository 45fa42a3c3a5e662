//! Where a hardened disk goes: into the image itself and back, into any other container, and nowhere if it is stopped.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use coldforge_base::progress::Silent;
use coldforge_disk::{Format, Image, convert};
use serde_json::Value;

use crate::support::{EPOCH, Seeded, ask, coldforge, copy_of, fixture, oracle, real_image, sha256, text};

fn home() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Returns the names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn qemu_check(image: &Path, format: &str) {
    if oracle("qemu-img") {
        let done = ask("qemu-img", &["check", "-f", format, text(image)]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

#[test]
fn an_image_is_hardened_in_place_proves_itself_and_comes_back_byte_for_byte() {
    for to in [Format::VhdDynamic, Format::Raw, Format::VhdFixed] {
        let home = home();
        let image = home.path().join("disk.img");
        convert(&Image::open(&fixture("ws2022.vhd"), None).unwrap(), &image, to, &Silent).unwrap();
        let copy = home.path().join("copy.img");
        std::fs::copy(&image, &copy).unwrap();
        let (before, out) = (sha256(&image), home.path().join("out"));
        let harden = |out: &Path| {
            coldforge([
                "harden",
                "--hold-back",
                "none",
                "--fail-on",
                "none",
                text(&image),
                "--in-place",
                "-o",
                text(out),
                "--json",
            ])
        };
        let run = harden(&out).expect(0).json();
        assert_eq!((&run["bundle"]["holds"], &run["digests"]["image_sha256"]), (&"nothing".into(), &Value::Null));
        assert_eq!(run["bundle"]["image"], text(&image));
        assert!(run["changes"].as_u64().unwrap() > 50);
        assert_ne!(sha256(&image), before);
        assert_eq!(names(&out), ["SHA256SUMS", "audit.jsonl", "aws", "manifest.json", "provenance.json", "reports"]);
        assert_eq!(names(home.path()), ["copy.img", "disk.img", "disk.img.coldforge-undo", "out"]);

        let missing = coldforge(["verify", text(&out)]).expect(2);
        assert!(missing.err.contains("--image"), "{}", missing.err);
        let with = ["verify", text(&out), "--image", text(&image), "--source", text(&copy), "--json"];
        let proof = coldforge(with).expect(0).json();
        assert!(proof["proven"].to_string().contains("the same edit of the source gives this disk"), "{proof}");
        coldforge(["verify", text(&out), "--image", text(&copy)]).expect(1);
        assert_eq!(
            coldforge(["scan", "--fail-on", "none", text(&image), "--json"]).expect(0).json()["totals"]["open"],
            crate::support::BEYOND
        );

        let again = harden(&home.path().join("again")).expect(3);
        assert!(again.err.contains("E-UNDO-EXISTS"), "{}", again.err);
        coldforge(["undo", text(&image)]).expect(0);
        assert_eq!(sha256(&image), before, "{to}");
        assert_eq!(names(home.path()), ["copy.img", "disk.img", "out"]);
    }
}

#[test]
fn outputs_and_keys_in_a_bucket_end_as_their_container_does_whatever_the_file_is_called() {
    let home = home();
    let raw = home.path().join("disk.img");
    coldforge(["convert", text(&fixture("ws2022.vhd")), text(&raw)]).expect(0);
    let import = |out: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(out.join("aws/import-image.json")).unwrap()).unwrap()
    };
    let key = |out: &Path| import(out)["DiskContainers"][0]["UserBucket"]["S3Key"].as_str().unwrap().to_owned();
    // A raw disk that is called a VHD, and the raw part of a VMDK.
    for (name, expected) in [("x.vhd", "x.raw"), ("mf-flat.vmdk", "mf-flat.raw"), ("x.img", "x.img")] {
        let image = home.path().join(name);
        std::fs::copy(&raw, &image).unwrap();
        let (new, edited) = (home.path().join("new"), home.path().join("edited"));
        let forced = ["--input-format", "raw", "--fail-on", "none"];
        coldforge([&["harden", text(&image), "-o", text(&new)], &forced[..]].concat()).expect(0);
        assert!(new.join(expected).is_file(), "{name}");
        assert_eq!(key(&new), expected);
        coldforge([&["harden", text(&image), "--in-place", "-o", text(&edited)], &forced[..]].concat()).expect(0);
        assert_eq!((key(&edited).as_str(), &import(&edited)["DiskContainers"][0]["Format"]), (expected, &"raw".into()));
        let commands = std::fs::read_to_string(edited.join("aws/commands.sh")).unwrap();
        assert!(commands.contains(&format!("key='{expected}'")) && commands.contains(&format!("'../{name}'")));
        coldforge(["verify", text(&edited), "--image", text(&image)]).expect(0);
        for place in [&new, &edited] {
            std::fs::remove_dir_all(place).unwrap();
        }
    }
}

#[test]
fn a_hardened_image_is_left_as_it_is_in_place_and_a_failed_bundle_takes_the_writing_back() {
    let home = home();
    let image = copy_of("ws2022.vhd", home.path());
    let before = sha256(&image);
    let harden =
        |out: &Path| coldforge(["harden", "--fail-on", "none", text(&image), "--in-place", "-o", text(out), "--json"]);
    coldforge(["harden", "--fail-on", "none", text(&image), "--in-place"]).expect(2);
    coldforge(["harden", "--fail-on", "none", text(&image), "--in-place", "-o", "x", "--format", "raw"]).expect(2);

    // The bundle's place is taken while the run works: it cannot be published, so nothing may stay changed.
    let out = home.path().join("out");
    let mut child = Command::new(env!("CARGO_BIN_EXE_coldforge"))
        .args(["harden", "--fail-on", "none", text(&image), "--in-place", "-o", text(&out)])
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !names(home.path()).iter().any(|name| name.starts_with(".out.coldforge-")) {
        std::thread::yield_now();
    }
    std::fs::write(&out, b"mine").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(sha256(&image), before);
    assert_eq!(names(home.path()), ["out", "ws2022.vhd"]);
    std::fs::remove_file(&out).unwrap();

    harden(&out).expect(0);
    coldforge(["undo", "--forget", text(&image)]).expect(0);
    let hardened = sha256(&image);
    let second = home.path().join("second");
    let run = harden(&second).expect(0).json();
    assert_eq!((&run["changes"], &run["journal"]), (&0.into(), &Value::Null));
    assert_eq!(sha256(&image), hardened);
    coldforge(["verify", text(&second), "--image", text(&image)]).expect(0);
}

#[test]
fn containers_that_are_not_written_in_place_and_deltas_of_what_has_no_children_are_refused() {
    let home = home();
    let source = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    for (format, ending) in [(Format::VhdxDynamic, "vhdx"), (Format::Vmdk, "vmdk")] {
        let image = home.path().join(format!("disk.{ending}"));
        convert(&source, &image, format, &Silent).unwrap();
        let before = sha256(&image);
        let refused = coldforge([
            "harden",
            "--fail-on",
            "none",
            text(&image),
            "--in-place",
            "-o",
            text(&home.path().join("out")),
        ])
        .expect(3);
        assert!(refused.err.contains("E-IN-PLACE") && refused.err.contains("hint:"), "{}", refused.err);
        assert_eq!(sha256(&image), before);
        std::fs::remove_file(&image).unwrap();
    }
    let raw = home.path().join("disk.raw");
    convert(&source, &raw, Format::Raw, &Silent).unwrap();
    let refused = coldforge([
        "harden",
        "--fail-on",
        "none",
        text(&raw),
        "--format",
        "delta",
        "-o",
        text(&home.path().join("out")),
    ])
    .expect(3);
    assert!(refused.err.contains("E-DELTA") && refused.err.contains("convert"), "{}", refused.err);
    assert_eq!(names(home.path()), ["disk.raw"]);
}

#[test]
fn a_hardened_disk_comes_in_any_container_and_proves_itself_against_a_source_of_another() {
    let home = home();
    let source = home.path().join("base.vhdx");
    convert(&Image::open(&fixture("ws2022.vhd"), None).unwrap(), &source, Format::VhdxDynamic, &Silent).unwrap();
    for (word, name, qemu) in [
        ("raw", "base.raw", None),
        ("vhd", "base.vhd", None),
        ("vhd-dynamic", "base.vhd", None),
        ("vhdx", "base.vhdx", Some("vhdx")),
        ("vhdx-dynamic", "base.vhdx", Some("vhdx")),
        ("vmdk", "base.vmdk", Some("vmdk")),
    ] {
        let out = home.path().join(word);
        let run =
            coldforge(["harden", "--fail-on", "none", text(&source), "--format", word, "-o", text(&out), "--json"])
                .expect(0)
                .json();
        assert_eq!((&run["bundle"]["image"], &run["bundle"]["holds"]), (&name.into(), &"image".into()));
        let image = out.join(name);
        assert_eq!(Image::open(&image, None).unwrap().format().word(), word);
        if let Some(format) = qemu {
            qemu_check(&image, format);
        }
        coldforge(["verify", text(&out), "--source", text(&source)]).expect(0);
        let again = coldforge(["harden", "--fail-on", "none", text(&image), "--dry-run", "--json"]).expect(0).json();
        assert_eq!(again["changes"], 0, "{word}");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn a_delta_holds_only_what_changed_proves_itself_over_its_source_and_becomes_whole_again() {
    let home = home();
    for format in [Format::VhdxDynamic, Format::VhdDynamic, Format::VhdFixed] {
        let name = format!("base.{}", format.ending());
        let source = home.path().join(&name);
        convert(&Image::open(&fixture("ws2022.vhd"), None).unwrap(), &source, format, &Silent).unwrap();
        let out = home.path().join("out");
        let run =
            coldforge(["harden", "--fail-on", "none", text(&source), "--format", "delta", "-o", text(&out), "--json"])
                .expect(0)
                .json();
        assert_eq!(run["bundle"]["holds"], "delta");
        let delta = out.join(format!("base.delta.{}", format.ending()));
        assert!(!out.join("aws").exists(), "Amazon takes no differencing disks");
        let stored = std::os::unix::fs::MetadataExt::blocks(&delta.metadata().unwrap()) * 512;
        assert!(stored < 4 << 20, "{stored} bytes are stored");

        let alone = coldforge(["verify", text(&out)]).expect(3);
        assert!(alone.err.contains("E-PARENT-MISSING"), "{}", alone.err);
        coldforge(["verify", text(&out), "--source", text(&source)]).expect(0);
        let whole = home.path().join("whole.raw");
        coldforge(["convert", text(&delta), "--parent", text(&source), text(&whole)]).expect(0);
        let flat = home.path().join("flat");
        coldforge(["harden", "--fail-on", "none", text(&source), "--format", "raw", "-o", text(&flat)]).expect(0);
        assert_eq!(sha256(&whole), sha256(&flat.join("base.raw")));

        // A child is hardened through its parent, and comes out whole.
        let child = coldforge([
            "harden",
            "--fail-on",
            "none",
            text(&delta),
            "--parent",
            text(&source),
            "-o",
            text(&home.path().join("more")),
        ]);
        child.expect(0);
        coldforge(["verify", text(&home.path().join("more")), "--source", text(&delta), "--parent", text(&source)])
            .expect(0);
        for folder in ["out", "flat", "more"] {
            std::fs::remove_dir_all(home.path().join(folder)).unwrap();
        }
        std::fs::remove_file(&whole).unwrap();
        std::fs::remove_file(&source).unwrap();
    }
}

/// Starts the binary on an image of its own.
fn start(arguments: &[&str]) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_coldforge"))
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns how long a run takes, in microseconds.
fn duration(arguments: &[&str]) -> u64 {
    let begun = std::time::Instant::now();
    assert!(start(arguments).wait().unwrap().success());
    u64::try_from(begun.elapsed().as_micros()).unwrap()
}

#[test]
fn a_run_that_is_stopped_leaves_nothing_behind_and_says_so_by_its_exit_code() {
    let home = home();
    let image = copy_of("ws2022.vhd", home.path());
    let out = home.path().join("out");
    let (before, arguments) = (sha256(&image), ["harden", "--fail-on", "none", text(&image), "-o", text(&out)]);
    let whole = duration(&arguments);
    std::fs::remove_dir_all(&out).unwrap();
    let (mut random, mut stopped) = (Seeded(5), 0);
    for i in 0..16 {
        let mut child = start(&arguments);
        // A signal before the program watches for it ends it as any other, also without a trace.
        std::thread::sleep(Duration::from_micros(random.below(whole)));
        let signal = if i % 2 == 0 { "-INT" } else { "-TERM" };
        ask("kill", &[signal, &child.id().to_string()]);
        let status = child.wait().unwrap();
        match status.code() {
            Some(0) => std::fs::remove_dir_all(&out).unwrap(),
            Some(code) => {
                assert_eq!(code, if signal == "-INT" { 130 } else { 143 });
                stopped += 1;
                if out.exists() {
                    coldforge(["verify", text(&out)]).expect(0);
                    std::fs::remove_dir_all(&out).unwrap();
                }
            }
            None => {}
        }
        assert_eq!(names(home.path()), ["ws2022.vhd"], "run {i}");
    }
    assert!(stopped > 4, "{stopped} runs were stopped in the middle");
    assert_eq!(sha256(&image), before);
}

#[test]
fn a_signal_never_leaves_an_image_half_written() {
    let home = home();
    let image = copy_of("ws2022.vhd", home.path());
    let out = home.path().join("out");
    let (before, arguments) =
        (sha256(&image), ["harden", "--fail-on", "none", text(&image), "--in-place", "-o", text(&out)]);
    let whole = duration(&arguments);
    let after = sha256(&image);
    coldforge(["undo", text(&image)]).expect(0);
    std::fs::remove_dir_all(&out).unwrap();
    let mut random = Seeded(6);
    for i in 0..16 {
        let mut child = start(&arguments);
        std::thread::sleep(Duration::from_micros(random.below(whole)));
        ask("kill", &["-INT", &child.id().to_string()]);
        child.wait().unwrap();
        let now = sha256(&image);
        if now == before {
            assert_eq!(names(home.path()), ["ws2022.vhd"], "run {i}");
        } else {
            assert!(now == after && out.exists(), "run {i}: written as a whole, with its evidence");
            std::fs::remove_dir_all(&out).unwrap();
            coldforge(["undo", text(&image)]).expect(0);
            assert_eq!(sha256(&image), before);
        }
    }
}

#[test]
fn a_killed_run_leaves_a_whole_bundle_or_none() {
    let home = home();
    let image = copy_of("ws2022.vhd", home.path());
    let out = home.path().join("out");
    let (before, arguments) = (sha256(&image), ["harden", "--fail-on", "none", text(&image), "-o", text(&out)]);
    let whole = duration(&arguments);
    std::fs::remove_dir_all(&out).unwrap();
    let mut random = Seeded(7);
    let (mut absent, mut present) = (0, 0);
    for _ in 0..24 {
        let mut child = start(&arguments);
        std::thread::sleep(Duration::from_micros(random.below(whole + whole / 4)));
        child.kill().unwrap();
        child.wait().unwrap();
        if out.exists() {
            coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
            std::fs::remove_dir_all(&out).unwrap();
            present += 1;
        } else {
            absent += 1;
        }
        assert_eq!(sha256(&image), before);
        for left in names(home.path()).iter().filter(|name| *name != "ws2022.vhd") {
            assert!(left.starts_with(".out.coldforge-"), "{left}");
            std::fs::remove_dir_all(home.path().join(left)).unwrap();
        }
    }
    assert!(absent > 6, "{absent} absent, {present} whole");
}

/// The calls at which a run in place is killed, one after the other.
const CALLS: [&str; 6] = ["pwrite64", "fsync", "fallocate", "rename", "unlink", "ftruncate"];

/// Counts how often the run makes a call, by running it under `strace`.
fn calls(arguments: &[&str], call: &str, log: &Path) -> usize {
    let traced = ["-f", "-qq", "-o", text(log), "-e", &format!("trace={call}"), env!("CARGO_BIN_EXE_coldforge")];
    let status = Command::new("strace").args(traced).args(arguments).env("SOURCE_DATE_EPOCH", EPOCH).output().unwrap();
    assert!(status.status.success());
    std::fs::read_to_string(log).unwrap().lines().filter(|line| line.contains(&format!("{call}("))).count()
}

#[test]
fn an_image_whose_writer_was_killed_at_any_call_is_brought_back_by_undo() {
    // Not demanded of every machine: the same is shown below the command line, by a file that fails at each deed.
    if !std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join("strace").is_file()) {
        eprintln!("SKIPPED: strace is not installed");
        return;
    }
    let home = home();
    let image = home.path().join("disk.raw");
    // Sparse, so that room has to be found as well.
    convert(&Image::open(&fixture("ws2022.vhd"), None).unwrap(), &image, Format::Raw, &Silent).unwrap();
    let (out, log) = (home.path().join("out"), home.path().join("log"));
    let pristine = home.path().join("pristine");
    std::fs::copy(&image, &pristine).unwrap();
    let before = sha256(&image);
    let arguments = [
        "harden",
        "--fail-on",
        "none",
        text(&image),
        "--in-place",
        "-o",
        text(&out),
        "--only",
        "WN22-00-000390,WN22-CC-000010",
    ];
    let settled = |what: &str| {
        let journal = home.path().join("disk.raw.coldforge-undo");
        let part = home.path().join("disk.raw.coldforge-undo.part");
        let unfinished = coldforge(["inspect", text(&image)]).err.contains("E-UNFINISHED-RUN");
        assert!(!unfinished || journal.exists(), "{what}");
        if journal.exists() || part.exists() {
            coldforge(["undo", text(&image)]).expect(0);
        }
        assert_eq!(sha256(&image), before, "{what}");
        if out.exists() {
            std::fs::remove_dir_all(&out).unwrap();
        }
        for left in names(home.path()).iter().filter(|name| name.starts_with(".out.coldforge-")) {
            std::fs::remove_dir_all(home.path().join(left)).unwrap();
        }
        unfinished
    };
    let mut unfinished = 0;
    for call in CALLS {
        let count = calls(&arguments, call, &log);
        settled(call);
        let step = (count / 6).max(1);
        for n in (1..=count).step_by(step) {
            let inject = format!("inject={call}:signal=KILL:when={n}");
            let traced = ["-f", "-qq", "-o", "/dev/null", "-e", &inject, env!("CARGO_BIN_EXE_coldforge")];
            let mut strace = Command::new("strace");
            strace.args(traced).args(arguments).env("SOURCE_DATE_EPOCH", EPOCH).output().unwrap();
            unfinished += usize::from(settled(&format!("{call} {n} of {count}")));
        }
    }
    assert!(unfinished > 3, "{unfinished} runs were killed while they wrote");
}

/// Makes a GPT machine in a dynamic VHDX; `None`, said aloud, where the maker is missing.
fn machine(folder: &Path, options: &[&str]) -> Option<PathBuf> {
    let raw = real_image(folder, "machine.raw", &[&["--os", "ws2022"], options].concat())?;
    let image = folder.join("machine.vhdx");
    coldforge(["convert", text(&raw.path), text(&image)]).expect(0);
    std::fs::remove_file(&raw.path).unwrap();
    Some(image)
}

#[test]
fn a_gpt_machine_with_large_clusters_in_a_dynamic_vhdx_is_hardened_and_passes_again() {
    let home = home();
    let Some(image) = machine(home.path(), &["--scheme", "gpt", "--cluster", "65536", "--size", "1G"]) else { return };
    let out = home.path().join("out");
    coldforge(["harden", "--hold-back", "none", text(&image), "-o", text(&out), "--fail-on", "none"]).expect(0);
    let hardened = out.join("machine.vhdx");
    assert_eq!(Image::open(&hardened, None).unwrap().format(), Format::VhdxDynamic);
    qemu_check(&hardened, "vhdx");
    let scan = coldforge(["scan", text(&hardened), "--fail-on", "none", "--json"]).expect(0).json();
    assert_eq!(scan["totals"]["open"], crate::support::BEYOND_REAL);
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    let fixed = home.path().join("fixed");
    let harden = ["harden", "--hold-back", "none", text(&image), "-o", text(&fixed), "--format", "vhd"];
    coldforge([&harden[..], &["--fail-on", "none"]].concat()).expect(0);
    let vhd = Image::open(&fixed.join("machine.vhd"), None).unwrap();
    assert_eq!(vhd.format(), Format::VhdFixed);
    let same = coldforge(["diff", text(&hardened), text(&fixed.join("machine.vhd"))]).expect(0);
    assert_eq!(same.out, "the disks are equal\n");
}

/// Writes a GUID partition table for sectors of 4096 bytes with one partition, and a protective master boot record.
fn write_gpt(disk: &File, size: u64, start: u64, length: u64) {
    const SECTOR: u64 = 4096;
    let last = size / SECTOR - 1;
    let mut entries = vec![0; 4 * SECTOR as usize];
    let basic = [0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7];
    entries[..16].copy_from_slice(&basic);
    entries[16..32].fill(0x11);
    entries[32..40].copy_from_slice(&(start / SECTOR).to_le_bytes());
    entries[40..48].copy_from_slice(&((start + length) / SECTOR - 1).to_le_bytes());
    for (own, other, at) in [(1, last, 2), (last, 1, last - 4)] {
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        let numbers: [(usize, u64); 6] =
            [(24, own), (32, other), (40, 6), (48, last - 5), (72, at), (80, 128 << 32 | 128)];
        for (place, number) in numbers {
            header[place..place + 8].copy_from_slice(&number.to_le_bytes());
        }
        header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        header[56..72].fill(0xd1);
        header[88..].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
        let sum = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        disk.write_all_at(&header, own * SECTOR).unwrap();
        disk.write_all_at(&entries, at * SECTOR).unwrap();
    }
    disk.write_all_at(b"\0\0\0\0\xee\0\0\0\x01\0\0\0\xff\xff\xff\xff", 446).unwrap();
    disk.write_all_at(b"\x55\xaa", 510).unwrap();
}

#[test]
fn a_disk_of_large_sectors_is_read_by_the_size_that_its_container_tells() {
    const MIB: u64 = 1 << 20;
    let home = home();
    let options = ["--os", "ws2022", "--scheme", "bare", "--sector", "4096", "--size", "600M"];
    let Some(volume) = real_image(home.path(), "volume.raw", &options) else { return };
    let length = volume.path.metadata().unwrap().len() / 4096 * 4096;
    let (raw, image) = (home.path().join("disk.raw"), home.path().join("disk.vhdx"));
    let done = ask(
        "dd",
        &[
            &format!("if={}", text(&volume.path)),
            &format!("of={}", text(&raw)),
            "bs=1M",
            "seek=1",
            "conv=sparse,notrunc",
            "status=none",
        ],
    );
    assert!(done.status.success());
    let disk = File::options().write(true).open(&raw).unwrap();
    let size = length + 2 * MIB;
    disk.set_len(size).unwrap();
    write_gpt(&disk, size, MIB, length);
    drop(disk);
    coldforge(["convert", text(&raw), text(&image)]).expect(0);
    let inspected = coldforge(["inspect", text(&image), "--json"]).expect(0).json();
    assert_eq!(
        (&inspected["sector_bytes"], &inspected["image"]["health"]["sector_bytes"]),
        (&4096.into(), &4096.into())
    );
    let out = home.path().join("out");
    let harden =
        ["harden", "--hold-back", "none", text(&image), "-o", text(&out), "--fail-on", "none", "--boot-mode", "uefi"];
    coldforge(harden).expect(0);
    let hardened = out.join("disk.vhdx");
    let again = coldforge(["inspect", text(&hardened), "--json"]).expect(0).json();
    assert_eq!(again["image"]["health"]["sector_bytes"], 4096);
    assert_eq!(
        coldforge(["scan", text(&hardened), "--fail-on", "none", "--json"]).expect(0).json()["totals"]["open"],
        crate::support::BEYOND_REAL
    );
    coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    let vhd = home.path().join("vhd");
    let refused = coldforge([&harden[..5], &[text(&vhd), "--format", "vhd", "--boot-mode", "uefi"]].concat()).expect(3);
    assert!(refused.err.contains("E-SECTOR-SIZE"), "{}", refused.err);
    assert!(!vhd.exists());
}
