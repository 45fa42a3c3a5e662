//! The "Parent Locator" of a differencing VHDX (MS-VHDX 2.6.2.6): keys and values that say what its parent is.

use super::layout::VHDX_LOCATOR;
use coldforge_base::{read, utf16};

/// The keys and values of a "Parent Locator" (MS-VHDX 2.6.2.6).
pub struct Locator(Vec<(String, String)>);

impl Locator {
    /// Reads a locator; `None` if it is of another kind, or if a key or a value lies outside.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if read::array(bytes, 0).ok()? != VHDX_LOCATOR.0 {
            return None;
        }
        let count = read::u16_le(bytes, 18).ok()?;
        let mut pairs = Vec::new();
        // Each entry takes twelve bytes of an item of at most 1 MiB; the sum of the texts is bounded, too.
        let mut text_bytes = 0usize;
        for i in 0..usize::from(count) {
            let entry = read::slice(bytes, i.checked_mul(12)?.checked_add(20)?, 12).ok()?;
            let mut text = |at: usize, length_at: usize| {
                let at = usize::try_from(read::u32_le(entry, at).ok()?).ok()?;
                let length = usize::from(read::u16_le(entry, length_at).ok()?);
                text_bytes = text_bytes.checked_add(length).filter(|sum| *sum <= 1 << 20)?;
                let bytes = read::slice(bytes, at, length).ok().filter(|bytes| bytes.len().is_multiple_of(2))?;
                Some(utf16::decode(bytes))
            };
            pairs.push((text(0, 8)?, text(4, 10)?));
        }
        Some(Self(pairs))
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// Returns the bytes of a locator with these keys and values.
    pub fn to_bytes(pairs: &[(&str, String)]) -> Vec<u8> {
        let mut head = [&VHDX_LOCATOR.0[..], &[0; 2], &[u8::try_from(pairs.len()).expect("a few pairs"), 0]].concat();
        let mut text = Vec::new();
        let texts_at = pairs.len().saturating_mul(12).saturating_add(20);
        let mut lengths = Vec::new();
        for (key, value) in pairs {
            let places = [utf16::encode(key), utf16::encode(value)].map(|bytes| {
                let at = u32::try_from(texts_at.saturating_add(text.len())).expect("paths are short");
                text.extend_from_slice(&bytes);
                (at, u16::try_from(bytes.len()).expect("paths are short"))
            });
            lengths.push(places);
        }
        for [(key_at, key_bytes), (value_at, value_bytes)] in lengths {
            head.extend_from_slice(&key_at.to_le_bytes());
            head.extend_from_slice(&value_at.to_le_bytes());
            head.extend_from_slice(&key_bytes.to_le_bytes());
            head.extend_from_slice(&value_bytes.to_le_bytes());
        }
        head.extend_from_slice(&text);
        head
    }
}
