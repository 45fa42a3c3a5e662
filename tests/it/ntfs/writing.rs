//! Files whose content is replaced, and files that come and go: read back by us and by strangers.

use coldforge::base::Failure as _;
use coldforge::base::time::FileTime;
use coldforge::ntfs::{Changes, Error, WriteStep};

use super::made::{Made, SHAPES, Shape, in_pieces, make, noise, one_of_each, walk};
use super::oracles::{agree_with, findings};

/// The moment of all changes: 2026-01-01T00:00:00Z.
pub const NOW: FileTime = FileTime(134_116_992_000_000_000);

/// Every cluster size that mkntfs knows at both sector sizes.
fn shapes() -> Vec<Shape> {
    let sized = |sector: u64, first: u32| {
        (first..=21).map(move |power| Shape { sector, cluster: 1 << power, mebibytes: (8u64 << power >> 10).clamp(24, 512) })
    };
    sized(512, 9).chain(sized(4096, 12)).collect()
}

fn replace(made: &mut Made, path: &str, content: &[u8]) -> Changes {
    let mut volume = made.volume();
    let file = volume.find(path).unwrap().unwrap();
    let changes = volume.replace_stream(&file, content, NOW).unwrap();
    assert!(volume.read(&file, 1 << 30).unwrap() == content, "{path} through the old handle");
    let names: Vec<_> = made.files.iter().filter(|(_, other)| **other == made.files[path]).map(|(p, _)| p.clone()).collect();
    let is_linked = volume.file(file.reference()).unwrap().links() > 1;
    for name in names.into_iter().filter(|name| name == path || is_linked) {
        made.files.insert(name, content.into());
    }
    changes
}

fn check(made: &Made, what: &str) {
    for (path, content) in walk(&made.volume()) {
        assert!(content.as_ref() == Ok(&made.files[&path]), "{what}: {path}");
    }
    agree_with(made, what);
}

#[test]
fn content_of_any_size_replaces_content_of_any_other_at_every_cluster_size() {
    for shape in shapes() {
        let Some(mut made) = make(shape, |tree| one_of_each(tree, 40)) else { return };
        let what = format!("{shape:?}");
        let system = r"\Windows\System32\config\SYSTEM";
        for (path, sizes) in [
            (system, &[400_000, 300_000, 5, 0, 700, 2_000_000][..]),
            (r"\resident", &[0, 601, 5000, 600]),
            (r"\nothing", &[1, 100_000]),
            (r"\linked", &[9000, 10, 70_000]),
        ] {
            for (seed, size) in (50..).zip(sizes) {
                replace(&mut made, path, &noise(seed, *size));
            }
        }
        check(&made, &what);
    }
}
