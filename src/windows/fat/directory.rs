//! Directories: entries of 32 bytes, with long names in the entries before them.

use super::Result;
use super::boot::Width;
use coldforge_base::{read, utf16};

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 32;

/// The first byte of a name in an entry that ends the directory.
const END: u8 = 0;
/// The first byte of a name in an entry that was deleted.
const DELETED: u8 = 0xe5;
/// The escape for [`DELETED`] in a name that really begins with it.
const DELETED_ESCAPED: u8 = 0x05;

/// Attribute bits.
mod attribute {
    pub(super) const LABEL: u8 = 0x08;
    pub(super) const DIRECTORY: u8 = 0x10;
    /// A part of a long name has exactly these, of the lower six bits.
    pub(super) const LONG_NAME: u8 = 0x0f;
    pub(super) const MASK: u8 = 0x3f;
}

/// Bits of the byte in which Windows NT notes that a short name is in lower case.
mod lower {
    pub(super) const BASE: u8 = 0x08;
    pub(super) const ENDING: u8 = 0x10;
}

/// Marks the last part of a long name, which comes first.
const LAST_PART: u8 = 0x40;
/// A long name has 255 units in at most 20 parts of 13.
const MAX_PARTS: u8 = 20;

/// A file or a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirectoryEntry {
    /// Its name: the long one if it has one, else the short one.
    pub name: String,
    /// Its short name, such as `BOOTMG~1.EFI`.
    pub short_name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Its length in bytes; 0 for a directory.
    pub size: u32,
    /// Its first cluster; 0 for an empty file.
    pub(super) cluster: u32,
}

impl DirectoryEntry {
    /// Returns whether one of its names is this one, without regard to the case of ASCII letters.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.short_name.eq_ignore_ascii_case(name)
    }
}

/// Reads the entries of a directory from its bytes.
///
/// A long name that does not belong to its entry (another checksum, parts missing) is left out, as Windows does it.
pub(super) fn parse(bytes: &[u8], width: Width) -> Result<Vec<DirectoryEntry>> {
    let mut entries = Vec::new();
    let mut long = LongName::default();
    for raw in bytes.chunks_exact(ENTRY_BYTES) {
        let byte = |at| read::u8(raw, at).unwrap_or_default();
        let attributes = byte(11);
        match byte(0) {
            END => break,
            DELETED => long = LongName::default(),
            _ if attributes & attribute::MASK == attribute::LONG_NAME => long.add(raw),
            _ => {
                let long = std::mem::take(&mut long);
                // A label is not a file, and `.` and `..` lead back.
                if attributes & attribute::LABEL == 0 && byte(0) != b'.' {
                    entries.push(entry(raw, attributes, &long, width));
                }
            }
        }
    }
    Ok(entries)
}

fn entry(raw: &[u8], attributes: u8, long: &LongName, width: Width) -> DirectoryEntry {
    let word = |at| u32::from(read::u16_le(raw, at).unwrap_or_default());
    let is_directory = attributes & attribute::DIRECTORY != 0;
    // In FAT12 and FAT16 the upper half holds something else.
    let high = if width == Width::Fat32 { word(20) } else { 0 };
    let short_name = short_name(raw);
    DirectoryEntry {
        name: long.of(raw).unwrap_or_else(|| short_name.clone()),
        short_name,
        is_directory,
        size: if is_directory { 0 } else { read::u32_le(raw, 28).unwrap_or_default() },
        cluster: high << 16 | word(26),
    }
}

/// Returns a short name with its dot, in the case that Windows NT notes; bytes beyond ASCII are not distinguished.
fn short_name(raw: &[u8]) -> String {
    let case = read::u8(raw, 12).unwrap_or_default();
    let part = |at: usize, length: usize, is_lower: bool| -> String {
        let bytes = read::slice(raw, at, length).unwrap_or_default();
        let shown = bytes.iter().enumerate().map(|(index, byte)| match (at, index, *byte) {
            (0, 0, DELETED_ESCAPED) => char::REPLACEMENT_CHARACTER,
            (_, _, byte) if byte.is_ascii() && is_lower => char::from(byte.to_ascii_lowercase()),
            (_, _, byte) if byte.is_ascii() => char::from(byte),
            _ => char::REPLACEMENT_CHARACTER,
        });
        shown.collect::<String>().trim_end_matches(' ').to_owned()
    };
    let base = part(0, 8, case & lower::BASE != 0);
    let ending = part(8, 3, case & lower::ENDING != 0);
    if ending.is_empty() { base } else { format!("{base}.{ending}") }
}

/// Returns the checksum of a short name that the parts of its long name carry.
pub(super) fn checksum(raw: &[u8]) -> u8 {
    let name = read::slice(raw, 0, 11).unwrap_or_default();
    name.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// A long name whose parts were met, last one first.
#[derive(Debug, Default)]
struct LongName {
    /// The units of all parts so far, in order.
    units: Vec<u8>,
    checksum: u8,
    /// The number of the part that must come next; 0 if the name is whole.
    missing: u8,
}

impl LongName {
    /// Adds a part; one that does not follow the one before it drops the name.
    fn add(&mut self, raw: &[u8]) {
        let byte = |at| read::u8(raw, at).unwrap_or_default();
        let (number, checksum) = (byte(0) & !LAST_PART, byte(13));
        if byte(0) & LAST_PART != 0 {
            *self = Self { units: Vec::new(), checksum, missing: number };
        }
        if number == 0 || number > MAX_PARTS || number != self.missing || checksum != self.checksum {
            return *self = Self::default();
        }
        self.missing = number.saturating_sub(1);
        let parts = [(1, 10), (14, 12), (28, 4)].map(|(at, length)| read::slice(raw, at, length).unwrap_or_default());
        self.units = [parts.concat(), std::mem::take(&mut self.units)].concat();
    }

    /// Returns the name if it is whole and belongs to this entry.
    fn of(&self, raw: &[u8]) -> Option<String> {
        let is_mine = self.missing == 0 && !self.units.is_empty() && self.checksum == checksum(raw);
        is_mine.then(|| utf16::decode_to_nul(&self.units))
    }
}
