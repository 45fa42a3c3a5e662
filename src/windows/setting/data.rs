//! A registry value as it is stored: a type number and bytes, and the number or the texts that they encode.

use std::fmt;

use serde::Serialize;

use coldforge_base::{hex, read, utf16};

/// The type of a registry value, by its number: types outside the named ones are legal and kept.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ValueType(pub u32);

impl ValueType {
    /// REG_NONE.
    pub const NONE: Self = Self(0);
    /// REG_SZ.
    pub const SZ: Self = Self(1);
    /// REG_EXPAND_SZ.
    pub const EXPAND_SZ: Self = Self(2);
    /// REG_BINARY.
    pub const BINARY: Self = Self(3);
    /// REG_DWORD.
    pub const DWORD: Self = Self(4);
    /// REG_MULTI_SZ.
    pub const MULTI_SZ: Self = Self(7);
    /// REG_QWORD.
    pub const QWORD: Self = Self(11);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::NONE, "REG_NONE"),
        (Self::SZ, "REG_SZ"),
        (Self::EXPAND_SZ, "REG_EXPAND_SZ"),
        (Self::BINARY, "REG_BINARY"),
        (Self::DWORD, "REG_DWORD"),
        (Self::MULTI_SZ, "REG_MULTI_SZ"),
        (Self::QWORD, "REG_QWORD"),
    ];

    /// Returns the type with Microsoft's name, if it is one of the named ones.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(kind, _)| kind == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl Serialize for ValueType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A registry value as it is stored: a type number and bytes.
///
/// Serialized as `{"type": "REG_DWORD", "data": 5}`: numbers for DWORD and QWORD of the right length, text for SZ and
/// EXPAND_SZ, a list of texts for MULTI_SZ, lower-case hex digits for everything else. Where `data` does not encode back
/// to the stored bytes (an odd byte, a lone surrogate, a missing or embedded NUL, a DWORD of three bytes), `hex` holds
/// them, so that two values serialize alike only if their types and bytes are the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Data {
    /// The type.
    pub kind: ValueType,
    /// The bytes as stored.
    pub data: Vec<u8>,
}

impl Data {
    /// Returns a REG_DWORD.
    pub fn dword(number: u32) -> Self {
        Self { kind: ValueType::DWORD, data: number.to_le_bytes().to_vec() }
    }

    /// Returns a REG_SZ with its terminating NUL.
    pub fn sz(text: &str) -> Self {
        Self { kind: ValueType::SZ, data: utf16::encode_with_nul(text) }
    }

    /// Returns the number of a REG_DWORD of exactly four bytes.
    pub fn as_dword(&self) -> Option<u32> {
        (self.kind == ValueType::DWORD && self.data.len() == 4).then(|| read::u32_le(&self.data, 0).ok()).flatten()
    }

    /// Returns the number of a REG_QWORD of exactly eight bytes.
    pub fn as_qword(&self) -> Option<u64> {
        (self.kind == ValueType::QWORD && self.data.len() == 8).then(|| read::u64_le(&self.data, 0).ok()).flatten()
    }

    /// Returns the text of a REG_SZ or REG_EXPAND_SZ up to its first NUL.
    pub fn as_text(&self) -> Option<String> {
        matches!(self.kind, ValueType::SZ | ValueType::EXPAND_SZ).then(|| utf16::decode_to_nul(&self.data))
    }

    /// Returns the strings of a REG_MULTI_SZ, without the empty one that ends the list.
    pub fn as_texts(&self) -> Option<Vec<String>> {
        (self.kind == ValueType::MULTI_SZ).then(|| {
            let text = utf16::decode(&self.data);
            text.trim_end_matches('\0').split('\0').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        })
    }

    /// Returns whether the number, the text or the list of texts that the type promises encodes back to the stored bytes.
    /// Types that promise none are shown as bytes, which is always exact.
    pub fn is_exact(&self) -> bool {
        match self.kind {
            ValueType::DWORD => self.data.len() == 4,
            ValueType::QWORD => self.data.len() == 8,
            ValueType::SZ | ValueType::EXPAND_SZ => {
                self.as_text().is_some_and(|text| utf16::encode_with_nul(&text) == self.data)
            }
            ValueType::MULTI_SZ => self.as_texts().is_some_and(|texts| utf16::encode_list(&texts) == self.data),
            _ => true,
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.as_dword() {
            write!(f, "{number}")
        } else if let Some(text) = self.as_text() {
            write!(f, "{text:?}")?;
            self.write_inexact(f)
        } else if let Some(texts) = self.as_texts() {
            write!(f, "{texts:?}")?;
            self.write_inexact(f)
        } else {
            write!(f, "{} {}", self.kind, hex::encode(&self.data))
        }
    }
}

impl Data {
    /// Writes the first bytes of a text that does not encode back to what is stored: two such values can read alike.
    fn write_inexact(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_BYTES: usize = 32;
        if self.is_exact() {
            return Ok(());
        }
        let (shown, more) = match self.data.get(..SHOWN_BYTES) {
            Some(shown) if self.data.len() > SHOWN_BYTES => (shown, "..."),
            _ => (self.data.as_slice(), ""),
        };
        write!(f, " ({} bytes: {}{more})", self.data.len(), hex::encode(shown))
    }
}

impl Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let is_exact = self.is_exact();
        let mut value = serializer.serialize_struct("Value", if is_exact { 2 } else { 3 })?;
        value.serialize_field("type", &self.kind)?;
        if let Some(number) = self.as_dword() {
            value.serialize_field("data", &number)?;
        } else if let Some(number) = self.as_qword() {
            value.serialize_field("data", &number)?;
        } else if let Some(text) = self.as_text() {
            value.serialize_field("data", &text)?;
        } else if let Some(texts) = self.as_texts() {
            value.serialize_field("data", &texts)?;
        } else {
            value.serialize_field("data", &hex::encode(&self.data))?;
        }
        if !is_exact {
            value.serialize_field("hex", &hex::encode(&self.data))?;
        }
        value.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::windows::setting::Value;

    fn units(units: &[u16]) -> Vec<u8> {
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }

    /// Values whose decoded form tells less than the bytes do, and values for which it tells everything.
    fn stored() -> Vec<(ValueType, Vec<u8>, bool)> {
        let text = utf16::encode_with_nul("ab");
        vec![
            (ValueType::SZ, text.clone(), true),
            (ValueType::SZ, utf16::encode_with_nul(""), true),
            (ValueType::SZ, utf16::encode_with_nul("a\u{1F600}\u{fffd}"), true),
            (ValueType::SZ, Vec::new(), false),
            (ValueType::SZ, utf16::encode("ab"), false),
            (ValueType::SZ, [&text[..], &[0x7a]].concat(), false),
            (ValueType::SZ, [&text[..], &[0, 0]].concat(), false),
            (ValueType::EXPAND_SZ, units(&[0x61, 0x62, 0, 0x63, 0]), false),
            (ValueType::EXPAND_SZ, units(&[0xd83d, 0x61, 0]), false),
            (ValueType::EXPAND_SZ, units(&[0xfffd, 0x61, 0]), true),
            (ValueType::MULTI_SZ, units(&[0x61, 0, 0x62, 0, 0]), true),
            (ValueType::MULTI_SZ, units(&[0]), true),
            (ValueType::MULTI_SZ, Vec::new(), false),
            (ValueType::MULTI_SZ, units(&[0, 0]), false),
            (ValueType::MULTI_SZ, units(&[0x61, 0, 0x62, 0]), false),
            (ValueType::MULTI_SZ, units(&[0x61, 0, 0, 0x62, 0, 0]), false),
            (ValueType::MULTI_SZ, units(&[0x61, 0, 0x62, 0, 0, 0x63]), false),
            (ValueType::MULTI_SZ, units(&[0, 0x61, 0, 0x62, 0, 0]), false),
            (ValueType::MULTI_SZ, units(&[0x61, 0, 0xdc00, 0, 0]), false),
            (ValueType::DWORD, vec![5, 0, 0, 0], true),
            (ValueType::DWORD, vec![5, 0, 0], false),
            (ValueType::DWORD, Vec::new(), false),
            (ValueType::DWORD, vec![5, 0, 0, 0, 0], false),
            (ValueType::QWORD, vec![5; 8], true),
            (ValueType::QWORD, vec![5; 4], false),
            (ValueType::BINARY, vec![1, 2, 3], true),
            (ValueType::NONE, Vec::new(), true),
            (ValueType(0x1234), vec![0xff], true),
        ]
    }

    #[test]
    fn bytes_stand_beside_a_text_that_does_not_encode_back_to_them() {
        for (kind, data, is_exact) in stored() {
            let value = Data { kind, data: data.clone() };
            let document = serde_json::to_value(&value).unwrap();
            let hex = document.get("hex").cloned();
            assert_eq!(hex, (!is_exact).then(|| json!(hex::encode(&data))), "{kind} {data:x?}");
            let shown = value.to_string();
            let is_text = value.as_text().is_some() || value.as_texts().is_some();
            assert_eq!(shown.contains("bytes: "), is_text && !is_exact, "{shown}");
        }
    }

    #[test]
    fn values_of_other_bytes_serialize_otherwise_and_read_back_as_they_were() {
        let all: Vec<Data> = stored().into_iter().map(|(kind, data, _)| Data { kind, data }).collect();
        for (at, one) in all.iter().enumerate() {
            let written = serde_json::to_string(one).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), Value::Data(one.clone()), "{written}");
            for other in &all[..at] {
                assert_ne!(written, serde_json::to_string(other).unwrap());
            }
        }
    }
}
