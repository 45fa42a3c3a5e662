//! Damaged images, by fixed seeds, through everything that reads: an error with a place, never a panic, nothing written.
//!
//! The sweep runs in this process, where a panic, an overflow or an endless loop cannot hide behind an exit code.

use std::path::Path;

use coldforge::harden::{Request, scan};
use coldforge::windows::{Depth, Survey};
use coldforge_base::time::Moment;
use coldforge_disk::Image;

use crate::support::{Seeded, coldforge, fixture, text};

/// Looks into an image as `inspect` and `scan` do; answers are not judged, only that there is one.
fn look(image: &Path) {
    if let Ok(image) = Image::open(image, None)
        && let Ok(survey) = Survey::of(&image, Depth::Hives)
    {
        let _ = survey.refusals();
        let _ = survey.boot_mode();
    }
    if let Ok(image) = Image::open(image, None) {
        let _ = scan(image, &Request::default(), Moment(0));
    }
}

#[test]
fn an_image_cut_at_64_places_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture("ws2022.vhd")).unwrap();
    let mut random = Seeded(0x7472_756e);
    for cut in 0..64 {
        // the first cuts fall into the tables at the front, where most structure is
        let length = if cut < 16 { cut * 97 } else { random.below(whole.len() as u64) as usize };
        let image = home.path().join("cut.vhd");
        std::fs::write(&image, &whole[..length]).unwrap();
        look(&image);
        if cut % 8 == 0 {
            let answer = coldforge([
                "harden",
                "--hold-back",
                "none",
                "--fail-on",
                "none",
                text(&image),
                "-o",
                text(&home.path().join("out")),
            ]);
            assert!(matches!(answer.code, 3 | 4), "cut at {length:#x}: exit {} {}", answer.code, answer.err);
            assert!(answer.err.contains("error:"), "{}", answer.err);
            assert!(!home.path().join("out").exists());
        }
    }
}

#[test]
fn an_image_with_2000_flipped_bits_one_at_a_time_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let image = home.path().join("flipped.vhd");
    let mut bytes = std::fs::read(fixture("ws2022.vhd")).unwrap();
    let targets = structures(&bytes);
    let mut random = Seeded(0x666c_6970);
    for flip in 0..2000u64 {
        // nine of ten hit a structure: a flip in a file's content proves nothing
        let at = if flip % 10 == 0 {
            random.below(bytes.len() as u64) as usize
        } else {
            let (start, length) = targets[random.below(targets.len() as u64) as usize];
            start + random.below(length as u64) as usize
        };
        let bit = 1u8 << random.below(8);
        bytes[at] ^= bit;
        write_byte(&image, &bytes, at, flip == 0);
        look(&image);
        bytes[at] ^= bit;
        write_byte(&image, &bytes, at, false);
    }
}

/// Writes one changed byte of the image, or all of it the first time.
fn write_byte(image: &Path, bytes: &[u8], at: usize, first: bool) {
    use std::os::unix::fs::FileExt as _;
    if first {
        std::fs::write(image, bytes).unwrap();
    } else {
        std::fs::File::options().write(true).open(image).unwrap().write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
}

/// Finds what a reader parses: container tables, partition table, boot sector, records, index blocks, hive bins.
fn structures(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = vec![(0, 8192), (bytes.len() - 512, 512)];
    for at in (0..bytes.len() - 512).step_by(512) {
        match &bytes[at..at + 4] {
            b"FILE" => found.push((at, 1024)),
            b"INDX" | b"regf" | b"hbin" => found.push((at, 4096.min(bytes.len() - at))),
            [0xeb, 0x52, 0x90, b'N'] => found.push((at, 512)),
            _ => {}
        }
    }
    assert!(found.len() > 100, "the fixture has structures");
    found
}

#[test]
fn random_and_empty_files_are_answered() {
    let home = tempfile::tempdir().unwrap();
    let mut random = Seeded(42);
    for length in [0usize, 1, 511, 512, 513, 4096, 1 << 16] {
        let image = home.path().join("noise");
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        std::fs::write(&image, bytes).unwrap();
        for verb in ["inspect", "scan"] {
            let answer = coldforge([verb, text(&image)]);
            assert!(matches!(answer.code, 3 | 4), "{verb} of {length} bytes: exit {}", answer.code);
            assert!(answer.err.contains("error:"), "{}", answer.err);
        }
    }
    for place in [home.path().to_owned(), "/dev/null".into(), home.path().join("missing")] {
        let answer = coldforge(["inspect", text(&place)]);
        assert!(matches!(answer.code, 3 | 4), "{}: exit {}", place.display(), answer.code);
        assert!(answer.err.contains("hint:"), "{}", answer.err);
    }
}
