//! `$UpCase`: the table by which the volume compares names without case.
//!
//! The table of the volume counts, not Unicode: it was fixed when the volume was formatted.

use std::cmp::Ordering;

use crate::error::{Error, Result};
use coldforge_base::utf16;

/// The table: one code unit for each code unit.
#[derive(Clone, Debug)]
pub(super) struct Upcase(Vec<u16>);

/// The size of `$UpCase`.
pub(super) const UPCASE_BYTES: u64 = 0x2_0000;

impl Upcase {
    /// Reads the table.
    ///
    /// # Errors
    /// [`Error::Upcase`] if ASCII letters do not fold as they must, or if folding twice gives another letter.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let table = Self(utf16::units(bytes));
        for unit in 0..=u16::MAX {
            let actual = table.fold(unit);
            let ascii = u8::try_from(unit).ok().filter(u8::is_ascii).map(|byte| u16::from(byte.to_ascii_uppercase()));
            if ascii.is_some_and(|expected| expected != actual) || table.fold(actual) != actual {
                return Err(Error::Upcase { unit, actual });
            }
        }
        Ok(table)
    }

    /// Folds only ASCII letters: what serves until the volume's table is read.
    pub fn ascii() -> Self {
        Self((0..128u8).map(|byte| u16::from(byte.to_ascii_uppercase())).collect())
    }

    /// Compares two names as the collation of directories does: unsigned folded code units, the shorter first.
    pub fn compare(&self, a: &[u16], b: &[u16]) -> Ordering {
        a.iter().map(|unit| self.fold(*unit)).cmp(b.iter().map(|unit| self.fold(*unit)))
    }

    /// Orders two names in UTF-16LE as a directory does: folded code units first, then the code units themselves.
    pub fn collate(&self, a: &[u8], b: &[u8]) -> Ordering {
        let units = |name| <[u8]>::as_chunks(name).0.iter().map(|unit| u16::from_le_bytes(*unit));
        let folded = units(a).map(|unit| self.fold(unit)).cmp(units(b).map(|unit| self.fold(unit)));
        folded.then_with(|| units(a).cmp(units(b)))
    }

    /// Folds one code unit.
    pub fn fold(&self, unit: u16) -> u16 {
        self.0.get(usize::from(unit)).copied().unwrap_or(unit)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn table(change: impl Fn(&mut Vec<u16>)) -> Result<Upcase> {
        let mut units: Vec<u16> = (0..=u16::MAX).collect();
        for letter in b'a'..=b'z' {
            units[usize::from(letter)] = u16::from(letter.to_ascii_uppercase());
        }
        change(&mut units);
        Upcase::parse(&units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>())
    }

    fn name(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn names_compare_folded_and_the_shorter_comes_first() {
        let upcase = table(|units| units[0xe4] = 0xc4).unwrap();
        assert_eq!(upcase.compare(&name("SoftWare"), &name("sOFTwARE")), Ordering::Equal);
        assert_eq!(upcase.compare(&name("\u{e4}"), &name("\u{c4}")), Ordering::Equal);
        assert_eq!(upcase.compare(&name("SAM"), &name("SAM.LOG")), Ordering::Less);
        assert_eq!(upcase.compare(&name("a_"), &name("aB")), Ordering::Greater);
        assert_eq!(upcase.compare(&name("\u{ffff}"), &name("\u{1f600}")), Ordering::Greater);
    }

    #[test]
    fn a_damaged_table_is_refused() {
        assert!(table(|_| {}).is_ok());
        assert!(matches!(table(|units| units[0x61] = 0x61), Err(Error::Upcase { unit: 0x61, .. })));
        assert!(matches!(table(|units| units[0x5c] = 0x2f), Err(Error::Upcase { unit: 0x5c, .. })));
        assert!(matches!(table(|units| units[0x500] = 0x61), Err(Error::Upcase { unit: 0x500, .. })));
    }
}
