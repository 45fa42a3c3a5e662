//! ZIP archives, read whole from memory (PKWARE APPNOTE 6.3.10): the central directory, stored and deflated entries.
//!
//! The central directory alone tells what is inside; each entry's local header must agree with it. Everything that
//! could make two readers see two archives, or unpack to a place or a size that nobody meant, is refused by name:
//! encryption, several disks, ZIP64, other methods, names that leave the folder, entries that share bytes, entries
//! that unpack to more than they say. Nothing is written to a disk here.

use std::collections::BTreeSet;

use miniz_oxide::inflate::decompress_to_vec_with_limit;
use thiserror::Error;

use coldforge_base::Failure;
use coldforge_base::read::{self, OutOfBounds};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// 4.3.16: the fixed part of the end record, and the longest comment behind it.
const END_BYTES: usize = 22;
const COMMENT_BYTES: usize = 0xffff;
/// Of the general purpose flags, those that change what the bytes mean: encrypted (bit 0), patched (5), strongly
/// encrypted (6), masked headers (13).
const FLAGS_REFUSED: u16 = 0x2061;
/// A policy archive holds some dozen files; a directory of more is made to cost time.
const MOST_ENTRIES: usize = 10_000;

/// A hint that several of these errors share.
const DOWNLOAD_AGAIN: &str = "download the archive again";
/// A hint that several of these errors share.
const DO_NOT_USE: &str = "do not use this archive; get it from its publisher again";

/// What can be wrong with an archive.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// There is no end record, or its directory is not where it says.
    #[error("the ZIP archive's directory cannot be found")]
    #[failure(corrupt, "E-ZIP-CORRUPT", hint = DOWNLOAD_AGAIN)]
    NoDirectory,

    /// A structure leaves the file, or does not begin with its signature.
    #[error("the ZIP archive is damaged at {at:#x}")]
    #[failure(corrupt, "E-ZIP-CORRUPT", hint = DOWNLOAD_AGAIN)]
    Damaged {
        /// The offset in the file.
        at: usize,
    },

    /// The archive or an entry uses a form that is not read.
    #[error("the ZIP archive's {name:?} uses {form}")]
    #[failure(unsupported, "E-ZIP-UNSUPPORTED", hint = "unpack the archive yourself and name the file in it")]
    Unsupported {
        /// The entry; empty for the archive.
        name: String,
        /// The form.
        form: &'static str,
    },

    /// A name would lead out of the folder that the archive is unpacked to, or is there twice.
    #[error("the ZIP archive's entry {name:?} has a name that {fault}")]
    #[failure(refused, "E-ZIP-NAME", hint = DO_NOT_USE)]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },

    /// Two entries share bytes of the file, as those of a bomb do.
    #[error("the ZIP archive's entry {name:?} shares bytes with another")]
    #[failure(refused, "E-ZIP-BOMB", hint = DO_NOT_USE)]
    Overlap {
        /// The second of the two.
        name: String,
    },

    /// An entry is larger than is read.
    #[error("the ZIP archive's entry {name:?} unpacks to more than {limit_bytes} bytes")]
    #[failure(refused, "E-ZIP-BOMB", hint = DO_NOT_USE)]
    TooLarge {
        /// The entry.
        name: String,
        /// The limit.
        limit_bytes: u64,
    },

    /// There are more entries than are read.
    #[error("the ZIP archive has {entries} entries, more than {MOST_ENTRIES}")]
    #[failure(refused, "E-ZIP-BOMB", hint = DO_NOT_USE)]
    TooMany {
        /// The entries.
        entries: usize,
    },

    /// The unpacked bytes are not those that were packed.
    #[error("the ZIP archive's entry {name:?} does not unpack to what its checksum says")]
    #[failure(corrupt, "E-ZIP-CORRUPT", hint = DOWNLOAD_AGAIN)]
    Checksum {
        /// The entry.
        name: String,
    },
}

impl From<OutOfBounds> for Error {
    fn from(error: OutOfBounds) -> Self {
        Self::Damaged { at: error.at }
    }
}

/// A file in an archive.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The path, with `/` between folders; never absolute, never with `..`.
    pub name: String,
    packed: &'a [u8],
    deflated: bool,
    len_bytes: u32,
    crc32: u32,
}

/// Tells whether the bytes begin as an archive does.
pub fn is_zip(bytes: &[u8]) -> bool {
    matches!(read::u32_le(bytes, 0), Ok(LOCAL | END))
}

/// Returns the files of an archive in the order of its directory; folders are left out.
///
/// # Errors
/// [`Error`](enum@Error), for anything that is not plain.
pub fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, Error> {
    let (mut at, count) = directory(bytes)?;
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    let mut spans = Vec::new();
    // At most MOST_ENTRIES rounds.
    for _ in 0..count {
        let header = read::slice(bytes, at, 46)?;
        if read::u32_le(header, 0)? != CENTRAL {
            return Err(Error::Damaged { at });
        }
        let lengths = [read::u16_le(header, 28)?, read::u16_le(header, 30)?, read::u16_le(header, 32)?];
        let [name_bytes, extra_bytes, comment_bytes] = lengths.map(usize::from);
        let raw_name = read::slice(bytes, at.saturating_add(46), name_bytes)?;
        // Compress-Archive of Windows PowerShell writes `\` between folders, where APPNOTE 4.4.17.1 asks for `/`.
        let name = String::from_utf8_lossy(raw_name).replace('\\', "/");
        plain(&name)?;
        if !names.insert(name.to_lowercase()) {
            return Err(Error::Name { name, fault: "is there twice" });
        }
        let entry = entry(bytes, header, raw_name, name, &mut spans)?;
        found.extend(entry);
        at = at.saturating_add(46).saturating_add(name_bytes).saturating_add(extra_bytes).saturating_add(comment_bytes);
    }
    spans.sort_by_key(|(start, _, _)| *start);
    match spans.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(Error::Overlap { name: pair[1].2.clone() }),
        None => Ok(found),
    }
}

impl Entry<'_> {
    /// Returns the unpacked bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than `limit_bytes`, [`Error::Checksum`] if they are not what was packed.
    pub fn read(&self, limit_bytes: u64) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(self.len_bytes).unwrap_or(usize::MAX);
        if u64::from(self.len_bytes) > limit_bytes {
            return Err(Error::TooLarge { name: self.name.clone(), limit_bytes });
        }
        let wrong = || Error::Checksum { name: self.name.clone() };
        let bytes = if self.deflated {
            // No more is unpacked than the directory promised.
            decompress_to_vec_with_limit(self.packed, length).map_err(|_| wrong())?
        } else {
            self.packed.to_vec()
        };
        if bytes.len() != length || crc32fast::hash(&bytes) != self.crc32 {
            return Err(wrong());
        }
        Ok(bytes)
    }
}

/// Returns where the directory begins and how many entries it has.
fn directory(bytes: &[u8]) -> Result<(usize, usize), Error> {
    let last = bytes.len().checked_sub(END_BYTES).ok_or(Error::NoDirectory)?;
    let first = last.saturating_sub(COMMENT_BYTES);
    // The record whose comment reaches exactly to the end of the file, the last such.
    let ends = |at: &usize| {
        let comment = read::u16_le(bytes, at.saturating_add(20)).map_or(usize::MAX, usize::from);
        read::u32_le(bytes, *at) == Ok(END) && at.saturating_add(END_BYTES).saturating_add(comment) == bytes.len()
    };
    let at = (first..=last).rev().find(ends).ok_or(Error::NoDirectory)?;
    let disks = [read::u16_le(bytes, at.saturating_add(4))?, read::u16_le(bytes, at.saturating_add(6))?];
    let [here, all] = [read::u16_le(bytes, at.saturating_add(8))?, read::u16_le(bytes, at.saturating_add(10))?];
    let [size, start] = [read::u32_le(bytes, at.saturating_add(12))?, read::u32_le(bytes, at.saturating_add(16))?];
    let archive = |form| Error::Unsupported { name: String::new(), form };
    if all == u16::MAX || size == u32::MAX || start == u32::MAX {
        return Err(archive("ZIP64"));
    }
    if disks != [0, 0] || here != all {
        return Err(archive("several disks"));
    }
    let (size, start) = (size as usize, start as usize);
    if start.saturating_add(size) != at {
        return Err(Error::NoDirectory);
    }
    let entries = usize::from(all);
    if entries > MOST_ENTRIES {
        return Err(Error::TooMany { entries });
    }
    Ok((start, entries))
}

/// Reads one entry; `None` for a folder.
fn entry<'a>(
    bytes: &'a [u8],
    header: &[u8],
    raw_name: &[u8],
    name: String,
    spans: &mut Vec<(usize, usize, String)>,
) -> Result<Option<Entry<'a>>, Error> {
    let (flags, method) = (read::u16_le(header, 8)?, read::u16_le(header, 10)?);
    let [crc32, packed_bytes, len_bytes] =
        [read::u32_le(header, 16)?, read::u32_le(header, 20)?, read::u32_le(header, 24)?];
    let at = read::u32_le(header, 42)? as usize;
    if flags & FLAGS_REFUSED != 0 {
        return Err(Error::Unsupported { name, form: "encryption" });
    }
    if [packed_bytes, len_bytes].contains(&u32::MAX) {
        return Err(Error::Unsupported { name, form: "ZIP64" });
    }
    let deflated = match method {
        0 if packed_bytes == len_bytes => false,
        0 => return Err(Error::Damaged { at }),
        8 => true,
        _ => return Err(Error::Unsupported { name, form: "a packing method other than stored and deflated" }),
    };
    let local = read::slice(bytes, at, 30)?;
    let (name_bytes, extra_bytes) = (usize::from(read::u16_le(local, 26)?), usize::from(read::u16_le(local, 28)?));
    let named = read::slice(bytes, at.saturating_add(30), name_bytes)?;
    if read::u32_le(local, 0)? != LOCAL || read::u16_le(local, 8)? != method || named != raw_name {
        return Err(Error::Damaged { at });
    }
    let start = at.saturating_add(30).saturating_add(name_bytes).saturating_add(extra_bytes);
    let packed = read::slice(bytes, start, packed_bytes as usize)?;
    spans.push((at, start.saturating_add(packed.len()), name.clone()));
    if name.ends_with('/') {
        return Ok(None);
    }
    Ok(Some(Entry { name, packed, deflated, len_bytes, crc32 }))
}

/// Refuses a name that is not a path below the archive's own folder.
fn plain(name: &str) -> Result<(), Error> {
    let path = name.strip_suffix('/').unwrap_or(name);
    let fault = if path.is_empty() {
        "is empty"
    } else if name.contains([':', '\0']) || path.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        "leads out of its folder"
    } else if name.contains('\u{fffd}') || name.chars().any(char::is_control) {
        "is no plain text"
    } else {
        return Ok(());
    };
    Err(Error::Name { name: name.to_owned(), fault })
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec;

    use super::*;

    /// Makes an archive of these files; a file of more than 20 bytes is deflated.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut central) = (Vec::new(), Vec::new());
        for (name, data) in files {
            let deflated = data.len() > 20;
            let packed = if deflated { compress_to_vec(data, 6) } else { data.to_vec() };
            let mut fields = Vec::new();
            fields.extend([20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0, 0]);
            fields.extend(crc32fast::hash(data).to_le_bytes());
            fields.extend((packed.len() as u32).to_le_bytes());
            fields.extend((data.len() as u32).to_le_bytes());
            fields.extend((name.len() as u16).to_le_bytes());
            fields.extend([0, 0]);
            central.extend(CENTRAL.to_le_bytes());
            central.extend([20, 0]);
            central.extend(&fields);
            central.extend([0; 10]);
            central.extend((bytes.len() as u32).to_le_bytes());
            central.extend(name.as_bytes());
            bytes.extend(LOCAL.to_le_bytes());
            bytes.extend(fields);
            bytes.extend(name.as_bytes());
            bytes.extend(packed);
        }
        let start = bytes.len() as u32;
        bytes.extend(&central);
        bytes.extend(END.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend((files.len() as u16).to_le_bytes());
        bytes.extend((files.len() as u16).to_le_bytes());
        bytes.extend((central.len() as u32).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    fn code(bytes: &[u8]) -> &'static str {
        entries(bytes).unwrap_err().code().unwrap()
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let long = b"again and again, ".repeat(400);
        let bytes = archive(&[("a/short.txt", b"short"), ("a/", b""), ("long.xml", &long)]);
        assert!(is_zip(&bytes));
        let found = entries(&bytes).unwrap();
        assert_eq!(found.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a/short.txt", "long.xml"]);
        assert_eq!(found[0].read(5).unwrap(), b"short");
        assert_eq!(found[1].read(1 << 20).unwrap(), long);
        assert!(matches!(found[1].read(100), Err(Error::TooLarge { limit_bytes: 100, .. })));
        assert_eq!(entries(&archive(&[])).unwrap().len(), 0);
    }

    #[test]
    fn a_backslash_between_folders_is_read_as_a_slash() {
        let bytes = archive(&[("GPO\\Machine\\", b""), ("GPO\\Machine/Registry.pol", b"x"), ("GPO/a", b"y")]);
        let names: Vec<String> = entries(&bytes).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["GPO/Machine/Registry.pol", "GPO/a"]);
        assert_eq!(code(&archive(&[("a\\b", b"x"), ("A/B", b"y")])), "E-ZIP-NAME", "two names for one file");
    }

    #[test]
    fn a_name_that_leaves_its_folder_is_refused() {
        for name in [
            "../x",
            "/etc/passwd",
            "a/../../x",
            "a\\..\\x",
            "\\x",
            "\\\\server\\share\\x",
            "a\\\\b",
            "..\\x",
            "c:\\x",
            "c:x",
            "a//b",
            "./a",
            "",
            "\\",
            "a\nb",
        ] {
            assert_eq!(code(&archive(&[(name, b"x")])), "E-ZIP-NAME", "{name:?}");
        }
        assert_eq!(code(&archive(&[("a", b"x"), ("A", b"y")])), "E-ZIP-NAME");
    }

    #[test]
    fn an_entry_that_unpacks_to_more_than_it_says_is_refused_without_unpacking_it() {
        let mut bytes = archive(&[("bomb", &vec![0; 1 << 20])]);
        let central = bytes.windows(4).position(|four| four == CENTRAL.to_le_bytes()).unwrap();
        bytes[central + 24..central + 28].copy_from_slice(&100_u32.to_le_bytes());
        let found = entries(&bytes).unwrap();
        assert!(matches!(found[0].read(1 << 30), Err(Error::Checksum { .. })));
    }

    #[test]
    fn entries_that_share_bytes_are_refused() {
        let bytes = archive(&[("a", b"x"), ("b", b"y")]);
        let mut central: Vec<usize> = Vec::new();
        central.extend((0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == CENTRAL.to_le_bytes()));
        let mut shared = bytes.clone();
        // The second entry takes the name and the place of the first, in upper case to be another name.
        shared[central[1] + 42..central[1] + 46].copy_from_slice(&0_u32.to_le_bytes());
        assert!(matches!(entries(&shared), Err(Error::Damaged { .. })), "the local header has another name");
        let grown = (bytes.len() as u32 / 4).to_le_bytes();
        let mut longer = bytes;
        longer[central[0] + 20..central[0] + 24].copy_from_slice(&grown);
        longer[central[0] + 24..central[0] + 28].copy_from_slice(&grown);
        assert!(matches!(entries(&longer), Err(Error::Overlap { .. })));
    }

    #[test]
    fn forms_that_are_not_read_are_named() {
        let bytes = archive(&[("a", b"x")]);
        let central = bytes.windows(4).position(|four| four == CENTRAL.to_le_bytes()).unwrap();
        for (at, value, expected) in [(8, 1_u8, "encryption"), (10, 12, "method"), (24 + 3, 0xff, ""), (46, b'z', "")] {
            let mut wrong = bytes.clone();
            wrong[central + at] = value;
            let error = entries(&wrong).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let end = bytes.len() - END_BYTES;
        for (at, expected) in [(4, "several disks"), (11, "several disks"), (19, "")] {
            let mut wrong = bytes.clone();
            wrong[end + at] = 1;
            let error = entries(&wrong).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn no_truncation_and_no_flipped_bit_makes_it_panic_or_lie() {
        let long = b"again and again, ".repeat(40);
        let bytes = archive(&[("a/short.txt", b"short"), ("long.xml", &long)]);
        for end in 0..bytes.len() {
            assert!(entries(&bytes[..end]).is_err(), "{end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            for entry in entries(&wrong).unwrap_or_default() {
                if let Ok(data) = entry.read(1 << 20) {
                    assert!(data == b"short" || data == long, "bit {bit}");
                }
            }
        }
    }
}
