//! File names that Windows allows, and the namespace of a new name.
//!
//! A name has 1 to 255 UTF-16 units, none of them a control character or one of `" * / : < > ? \ |`. It does not end in
//! a space or a dot. Device names are reserved, whatever their extension. A new name that is a valid 8.3 name in upper
//! case gets the namespace for both; any other name gets the POSIX namespace and no 8.3 twin.

use crate::error::{Error, Result};
use crate::index::Namespace;
use crate::layout::{FileName, name_at, namespace};
use crate::record::Reference;
use coldforge_base::{read, utf16};

/// The most units of a name.
const MOST_UNITS: usize = 255;

/// A name for a new file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Name {
    pub units: Vec<u16>,
    pub namespace: Namespace,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::NameUnfit`].
    pub fn parse(name: &str) -> Result<Self> {
        let units: Vec<u16> = name.encode_utf16().collect();
        let unfit = |fault| Err(Error::NameUnfit { units: units.len(), fault });
        if units.is_empty() {
            return unfit("is empty");
        }
        if units.len() > MOST_UNITS {
            return unfit("is longer than 255 units");
        }
        if name.chars().any(|c| c < ' ' || r#""*/:<>?\|"#.contains(c)) {
            return unfit("holds a character that Windows does not allow");
        }
        if name.ends_with([' ', '.']) {
            return unfit("ends in a space or a dot");
        }
        if is_device(name) {
            return unfit("is the name of a device");
        }
        let namespace = if is_short(name) { Namespace::Win32AndDos } else { Namespace::Posix };
        Ok(Self { units, namespace })
    }

    /// Returns a FILE_NAME with this name, of which the copied fields are zero.
    pub fn to_value(&self, parent: Reference) -> Vec<u8> {
        let mut value = vec![0; size_of::<FileName>()];
        let units = u8::try_from(self.units.len()).expect("a name has at most 255 units");
        let namespace = match self.namespace {
            Namespace::Posix => namespace::POSIX,
            Namespace::Win32 => namespace::WIN32,
            Namespace::Dos => namespace::DOS,
            Namespace::Win32AndDos => namespace::WIN32_AND_DOS,
        };
        let fields: [(usize, &[u8]); 3] = [
            (name_at::PARENT, &parent.0.to_le_bytes()),
            (name_at::UNITS, &[units]),
            (name_at::NAMESPACE, &[namespace]),
        ];
        for (at, field) in fields {
            read::put(&mut value, at, field).expect("the fields lie in the structure");
        }
        value.extend(self.units.iter().flat_map(|unit| unit.to_le_bytes()));
        value
    }
}

/// Returns the namespace and the units of a FILE_NAME.
pub(super) fn parts(value: &[u8]) -> (u8, Vec<u16>) {
    FileName::split(value).map_or_else(|_| Default::default(), |(fields, name)| (fields.namespace, utf16::units(name)))
}

/// Returns whether Windows takes a name for a device's: `CON`, `nul.txt`, `COM¹`.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_ascii_uppercase();
    let is_numbered = |prefix: &str| {
        let rest = stem.strip_prefix(prefix).map(|rest| rest.chars().collect::<Vec<_>>());
        matches!(rest.as_deref(), Some(['1'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}']))
    };
    let is_plain = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$");
    is_plain || is_numbered("COM") || is_numbered("LPT")
}

/// Returns whether a name is an 8.3 name in upper case.
fn is_short(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let is_fit = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "!#$%&'()-@^_`{}~".contains(c);
    let has_lengths = (1..=8).contains(&stem.len()) && extension.len() <= 3;
    has_lengths
        && (name.len() == stem.len() || !extension.is_empty())
        && stem.chars().chain(extension.chars()).all(is_fit)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_refuses_are_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            ".",
            "..",
            "a.",
            "a ",
            "a:b",
            "a/b",
            r"a\b",
            "a*",
            "a?",
            "a\"",
            "a<",
            "a>",
            "a|",
            "a\u{1f}",
            "\0",
            "CON",
            "con.txt",
            "Nul",
            "aux .log",
            "COM1",
            "lpt9.x",
            "COM\u{b2}",
            "conin$",
            &long,
        ] {
            assert!(matches!(Name::parse(name), Err(Error::NameUnfit { .. })), "{name:?}");
        }
        for name in ["a", ".a", "a.b.c", "COM", "COM0", "COM10", "CONSOLE", "nulls", "\u{1f600}", "a b", &long[1..]] {
            assert!(Name::parse(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn only_short_upper_case_names_stand_for_both() {
        for name in ["A", "SOFTWARE", "SAM.LOG", "NTUSER~1.DAT", "A-B_C.1"] {
            let expected = name.split('.').next().unwrap().len() <= 8;
            assert_eq!(Name::parse(name).unwrap().namespace == Namespace::Win32AndDos, expected, "{name}");
        }
        for name in ["a", "SOFTWARES", "A.LOGX", "A.B.C", "A B", "\u{c4}", ".A", "A+B"] {
            assert_eq!(Name::parse(name).unwrap().namespace, Namespace::Posix, "{name}");
        }
    }

    #[test]
    fn a_value_is_read_back() {
        let name = Name::parse("Gr\u{f6}\u{df}e").unwrap();
        let value = name.to_value(Reference::new(40, 2));
        assert_eq!(parts(&value), (0, name.units));
        assert_eq!(read::u64_le(&value, 0).unwrap(), Reference::new(40, 2).0);
    }
}
