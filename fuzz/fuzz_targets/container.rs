//! What the targets of containers share: a file that is written to again and again, and a walk over what it holds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use coldforge_base::crc32c::crc32c;
use coldforge_base::progress::Silent;
use coldforge_base::ReadAt as _;
use coldforge_disk::{Format, Image, convert};

/// A file in memory where there is such a folder.
pub struct Scratch {
    pub path: PathBuf,
    pub file: File,
}

impl Scratch {
    /// Makes an empty file of this process's own.
    pub fn new(name: &str) -> Self {
        let folder = ["/dev/shm", "/tmp"].map(PathBuf::from).into_iter().find(|path| path.is_dir()).expect("a folder");
        let path = folder.join(format!("coldforge-fuzz-{}-{name}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        Self { path, file }
    }

    /// Makes a file of a format that holds a disk of 5 MiB with data at both ends.
    #[allow(dead_code, reason = "each target uses a part")]
    pub fn with(name: &str, format: Format) -> Self {
        let raw = Self::new("raw");
        raw.file.set_len(5 << 20).expect("a length");
        raw.file.write_all_at(&[1; 4096], 0).expect("bytes");
        raw.file.write_all_at(&[2; 4096], (5 << 20) - 4096).expect("bytes");
        let made = Self::new(name);
        std::fs::remove_file(&made.path).expect("a name");
        convert(&Image::open(&raw.path, Some(Format::Raw)).expect("a disk"), &made.path, format, &Silent)
            .expect("a file");
        std::fs::remove_file(&raw.path).expect("a name");
        let file = File::options().read(true).write(true).open(&made.path).expect("a file");
        Self { path: made.path, file }
    }

    /// Gives the file these bytes and no others.
    #[allow(dead_code, reason = "each target uses a part")]
    pub fn fill(&self, bytes: &[u8]) {
        self.file.set_len(0).expect("a length");
        self.file.write_all_at(bytes, 0).expect("bytes");
    }

    /// Overwrites bytes, and returns what was there.
    #[allow(dead_code, reason = "each target uses a part")]
    pub fn put(&self, at: u64, bytes: &[u8]) -> (u64, Vec<u8>) {
        let mut before = vec![0; bytes.len()];
        self.file.read_exact_at(&mut before, at).expect("bytes");
        self.file.write_all_at(bytes, at).expect("bytes");
        (at, before)
    }
}

/// Opens an image and reads the beginning and the end of what it calls data, within bounds.
pub fn survey(scratch: &Scratch, format: Format) {
    let Ok(image) = Image::open(&scratch.path, Some(format)) else { return };
    let (mut at, mut extents) = (0, 0);
    while let Ok(Some(extent)) = image.next_data(at) {
        assert!(extent.offset >= at && extent.length > 0 && extent.end() <= image.len());
        let mut bytes = vec![0; extent.length.min(8192) as usize];
        let _ = image.read_at(extent.offset, &mut bytes).is_ok();
        let _ = image.read_at(extent.end() - bytes.len() as u64, &mut bytes).is_ok();
        at = extent.end();
        extents += 1;
        if extents > 64 {
            break;
        }
    }
    let _ = image.health();
}

/// Writes the CRC-32C of a VHDX structure into its field.
#[allow(dead_code, reason = "each target uses a part")]
pub fn seal(bytes: &mut [u8]) {
    if bytes.len() >= 8 {
        bytes[4..8].fill(0);
        let sum = crc32c(bytes);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    }
}
