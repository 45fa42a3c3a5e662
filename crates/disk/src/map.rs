//! Read-only maps of pieces of an image file, for the digest of a whole image and nothing else: the one module with
//! `unsafe`.
//!
//! A map saves a copy of every byte, which counts where each byte is read once and at the speed of the memory. Its price
//! is that a page which cannot be had (the file was cut, the medium failed) kills the process. Pages are therefore asked
//! for with `MADV_POPULATE_READ` before they are looked at, which answers an error instead; what remains is a file that
//! is cut in the moment between. Where the kernel does not know that advice (before Linux 5.14), or the file cannot be
//! mapped, [`works`] says so, and the caller reads with `pread`.
#![allow(unsafe_code, reason = "mapping a file is unsafe by nature; the reasons stand at the call")]

use std::io;
use std::ops::Deref;

use memmap2::{Advice, Mmap, MmapOptions};

use super::Raw;
use coldforge_base::ReadAt as _;
use coldforge_base::device::check_range;

/// A piece of a file in the address space of the process.
#[derive(Debug)]
pub(super) struct Map(Mmap);

/// Tells whether a file can be mapped safely.
pub(super) fn works(raw: &Raw) -> bool {
    Map::of(raw, 0, 1).is_ok()
}

impl Map {
    /// Maps the `length` bytes of a file that begin at `at`, and loads them.
    ///
    /// # Errors
    /// The operating system's, if the file has become shorter or cannot be read or mapped.
    pub fn of(raw: &Raw, at: u64, length: usize) -> io::Result<Self> {
        check_range(at, length, raw.len()).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        // SAFETY: the map is private to this process and only read. Another process may change the file's bytes while
        // they are hashed; then the digest is of neither state, which `Raw::unchanged` finds before it is used. No
        // byte of the map is used for anything but hashing and comparing with zero, where any value is valid.
        let map = unsafe { MmapOptions::new().offset(at).len(length).map(raw.file()) }?;
        map.advise(Advice::PopulateRead)?;
        Ok(Self(map))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_became_shorter_is_an_error_and_no_crash() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), vec![7; 1 << 20]).expect("a write");
        let raw = Raw::open(file.path()).expect("a raw disk");
        if !works(&raw) {
            return;
        }
        assert_eq!(Map::of(&raw, 4097, 3).expect("bytes")[..], [7; 3]);
        assert!(Map::of(&raw, (1 << 20) - 1, 2).is_err());
        file.as_file().set_len(4096).expect("a cut");
        assert!(Map::of(&raw, 512 << 10, 4096).is_err(), "the page is gone");
        assert_eq!(Map::of(&raw, 0, 1).expect("the first page is left")[..], [7]);
    }
}
