//! Names of keys and values: Latin-1 or UTF-16LE on disk, compared and hashed by UTF-16 units in upper case.

use std::cmp::Ordering;
use std::fmt;

use super::layout::{KEY_NAME_MAX, VALUE_NAME_MAX};
use super::{Error, Result, upcase};

/// A name as it is stored. Its text replaces unpaired surrogates by U+FFFD.
#[derive(Clone, Copy)]
pub struct Name<'h> {
    raw: &'h [u8],
    compressed: bool,
}

impl<'h> Name<'h> {
    /// Returns the name with these bytes; the caller has seen to it that UTF-16 has an even number of them.
    pub(super) fn new(raw: &'h [u8], compressed: bool) -> Self {
        Self { raw, compressed }
    }

    /// Returns the UTF-16 units.
    pub fn units(self) -> impl Iterator<Item = u16> + 'h {
        self.raw.chunks_exact(if self.compressed { 1 } else { 2 }).map(|unit| match unit {
            [low, high] => u16::from_le_bytes([*low, *high]),
            [low] => u16::from(*low),
            _ => 0,
        })
    }

    /// Returns the number of UTF-16 units.
    pub fn len(self) -> usize {
        if self.compressed { self.raw.len() } else { self.raw.len() / 2 }
    }

    /// Tells whether the name is empty, as that of a key's unnamed value.
    pub fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// Tells whether the name is stored as Latin-1, one byte a character.
    pub(super) fn is_compressed(self) -> bool {
        self.compressed
    }

    /// Compares in the order of keys, which ignores case as Windows does.
    pub fn compare(self, other: Name<'_>) -> Ordering {
        match (self.is_ascii(), other.is_ascii()) {
            (true, true) => compare_ascii(self.raw, other.raw),
            _ => upcase::compare(self.units(), other.units()),
        }
    }

    /// Returns the UTF-16 units in upper case as Windows does: equal exactly for names that are the same to it.
    pub fn folded(self) -> Vec<u16> {
        self.units().map(upcase::unit).collect()
    }

    /// Tells whether `text` is this name, ignoring case as Windows does.
    pub fn is(self, text: &str) -> bool {
        match self.is_ascii() && text.is_ascii() {
            true => self.raw.eq_ignore_ascii_case(text.as_bytes()),
            false => self.compare_text(text) == Ordering::Equal,
        }
    }

    /// Compares with a name that is not stored.
    pub(super) fn compare_text(self, text: &str) -> Ordering {
        if self.is_ascii() && text.is_ascii() {
            return compare_ascii(self.raw, text.as_bytes());
        }
        upcase::compare(self.units(), text.encode_utf16())
    }

    /// Returns the hash of `lh` lists.
    pub(super) fn hash(self) -> u32 {
        match self.compressed {
            true => upcase::hash_latin1(self.raw),
            false => upcase::hash(self.units()),
        }
    }

    /// Returns a number that is the same for names that compare as equal, and differs for most others.
    pub(super) fn mark(self) -> u32 {
        let mix = |mark: u32, unit: u16| mark.rotate_left(5) ^ u32::from(upcase::unit(unit));
        match self.compressed {
            true => self.raw.iter().map(|byte| u16::from(*byte)).fold(0, mix),
            false => self.units().fold(0, mix),
        }
    }

    /// Tells whether one of the units is this ASCII character.
    pub(super) fn contains(self, ascii: u8) -> bool {
        match self.compressed {
            true => self.raw.contains(&ascii),
            false => self.units().any(|unit| unit == u16::from(ascii)),
        }
    }

    /// Returns the hint of `lf` lists: the first four characters, or zeros if one of them is not Latin-1.
    pub(super) fn hint(self) -> [u8; 4] {
        let mut hint = [0; 4];
        for (byte, unit) in hint.iter_mut().zip(self.units()) {
            match u8::try_from(unit) {
                Ok(latin1) => *byte = latin1,
                Err(_) => return [0; 4],
            }
        }
        hint
    }

    fn is_ascii(self) -> bool {
        self.compressed && self.raw.is_ascii()
    }
}

fn compare_ascii(one: &[u8], two: &[u8]) -> Ordering {
    one.iter().map(u8::to_ascii_uppercase).cmp(two.iter().map(u8::to_ascii_uppercase))
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        char::decode_utf16(self.units()).try_for_each(|unit| f.write_char(unit.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// A name about to be stored: Latin-1 where that is possible, as Windows does.
#[derive(Clone, Debug)]
pub(super) struct NewName {
    raw: Vec<u8>,
    compressed: bool,
}

impl NewName {
    /// Encodes the name of a key.
    ///
    /// # Errors
    /// [`Error::Name`] if it is empty, above 255 units, or contains a backslash or a NUL.
    pub(super) fn of_key(text: &str) -> Result<Self> {
        let name = Self::encode(text);
        if text.is_empty() || name.stored().len() > KEY_NAME_MAX || text.contains(['\\', '\0']) {
            return Err(Error::Name { name: text.to_owned(), of: "key" });
        }
        Ok(name)
    }

    /// Encodes the name of a value; the empty name is the unnamed value's.
    ///
    /// # Errors
    /// [`Error::Name`] if it is above 16,383 units or contains a NUL.
    pub(super) fn of_value(text: &str) -> Result<Self> {
        let name = Self::encode(text);
        if name.stored().len() > VALUE_NAME_MAX || text.contains('\0') {
            return Err(Error::Name { name: text.to_owned(), of: "value" });
        }
        Ok(name)
    }

    fn encode(text: &str) -> Self {
        match text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>() {
            Some(raw) => Self { raw, compressed: true },
            None => Self { raw: text.encode_utf16().flat_map(u16::to_le_bytes).collect(), compressed: false },
        }
    }

    /// Returns the name as it will be read again.
    pub(super) fn stored(&self) -> Name<'_> {
        Name::new(&self.raw, self.compressed)
    }

    /// Returns the bytes to store.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Returns the length in bytes to store; both limits keep it below 2^16.
    pub(super) fn raw_len(&self) -> u16 {
        u16::try_from(self.raw.len()).unwrap_or(u16::MAX)
    }

    /// Returns the length in bytes as UTF-16, as the `largest` fields count it.
    pub(super) fn utf16_len(&self) -> u16 {
        u16::try_from(self.stored().len().saturating_mul(2)).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_latin1_where_it_can_be() {
        let name = |text| NewName::of_key(text).expect("a name");
        assert_eq!((name("Ärger").raw(), name("Ärger").compressed), (&b"\xc4rger"[..], true));
        assert_eq!((name("Ж").raw(), name("Ж").compressed), (&[0x16, 0x04][..], false));
        assert_eq!(name("Ж€").stored().to_string(), "Ж€");
        assert_eq!((name("Lsa").utf16_len(), name("\u{1f30e}").utf16_len()), (6, 4));
    }

    #[test]
    fn stored_forms_of_one_name_compare_as_equal() {
        let wide = Name::new(b"L\0S\0A\0", false);
        assert_eq!(Name::new(b"lsa", true).compare(wide), Ordering::Equal);
        assert!(wide.is("lSa") && !wide.is("ls"));
        assert_eq!(Name::new(b"a", true).compare(Name::new(b"B", true)), Ordering::Less);
    }

    #[test]
    fn a_hint_is_empty_if_one_of_its_characters_is_not_latin1() {
        assert_eq!(Name::new(b"ab", true).hint(), *b"ab\0\0");
        assert_eq!(Name::new(b"a\0b\0\x16\x04", false).hint(), [0; 4]);
        assert_eq!(Name::new(b"a\0b\0c\0d\0\x16\x04", false).hint(), *b"abcd");
    }

    #[test]
    fn names_outside_the_limits_are_refused() {
        assert!(NewName::of_key("").is_err() && NewName::of_key("a\\b").is_err() && NewName::of_key("a\0").is_err());
        assert!(NewName::of_key(&"x".repeat(255)).is_ok() && NewName::of_key(&"x".repeat(256)).is_err());
        assert!(NewName::of_value("").is_ok() && NewName::of_value("a\\b").is_ok());
        assert!(NewName::of_value(&"€".repeat(16_383)).is_ok() && NewName::of_value(&"x".repeat(16_384)).is_err());
    }
}
