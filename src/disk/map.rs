//! A read-only map of an image file, for the digest of a whole image and nothing else: the one module with `unsafe`.
//!
//! The map saves a copy of every byte, which counts where each byte is read once and at the speed of the memory. Its
//! price is that a page which cannot be had (the file was cut, the medium failed) kills the process. Pages are therefore
//! asked for with `MADV_POPULATE_READ` before they are looked at, which answers an error instead; what remains is a
//! file that is cut in the microseconds between. Where the kernel does not know that advice (before Linux 5.14), or the
//! file cannot be mapped, there is no map, and the caller reads with `pread`.
#![allow(unsafe_code, reason = "mapping a file is unsafe by nature; the reasons stand at the call")]

use std::io;

use memmap2::{Advice, Mmap, MmapOptions};

use super::{BlockDevice as _, Raw, check_range};
use crate::base::read;

/// A file's bytes in the address space of the process.
#[derive(Debug)]
pub(super) struct Map {
    map: Mmap,
}

impl Map {
    /// Maps a whole file; `None` where that does not work.
    pub fn of(raw: &Raw) -> Option<Self> {
        let length = usize::try_from(raw.len()).ok()?;
        // SAFETY: the map is private to this process and only read. Another process may change the file's bytes while
        // they are hashed; then the digest is of neither state, which `Raw::unchanged` finds before it is used. No
        // reference into the map is used for anything but hashing and comparing with zero, where any byte is valid.
        let map = unsafe { MmapOptions::new().len(length).map(raw.file()) }.ok()?;
        let map = Self { map };
        map.bytes(0, length.min(1)).ok()?;
        Some(map)
    }

    /// Loads the `length` bytes that begin at `at`, and returns them.
    ///
    /// # Errors
    /// The operating system's, if the file has become shorter or cannot be read.
    pub fn bytes(&self, at: u64, length: usize) -> io::Result<&[u8]> {
        let outside = || io::Error::from(io::ErrorKind::UnexpectedEof);
        check_range(at, length, self.map.len() as u64).map_err(|_| outside())?;
        let at = usize::try_from(at).map_err(|_| outside())?;
        self.map.advise_range(Advice::PopulateRead, at, length)?;
        read::slice(&self.map, at, length).map_err(|_| outside())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Raw;
    use super::*;

    #[test]
    fn a_file_that_became_shorter_is_an_error_and_no_crash() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), vec![7; 1 << 20]).expect("a write");
        let raw = Raw::open(file.path()).expect("a raw disk");
        let Some(map) = Map::of(&raw) else { return };
        assert_eq!(map.bytes(4097, 3).expect("bytes"), [7; 3]);
        assert!(map.bytes((1 << 20) - 1, 2).is_err());
        file.as_file().set_len(4096).expect("a cut");
        assert!(map.bytes(512 << 10, 4096).is_err(), "the page is gone");
        assert_eq!(map.bytes(0, 1).expect("the first page is left"), [7]);
    }
}
