//! GUIDs in Microsoft's mixed-endian layout.

use std::fmt;

/// A GUID as it lies on disk: the first three groups little-endian, the rest in order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The all-zero GUID.
    pub const NIL: Self = Self([0; 16]);

    /// Builds a GUID from its text's five groups.
    pub const fn new(a: u32, b: u16, c: u16, d: [u8; 8]) -> Self {
        let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
        Self([a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]])
    }
}

impl Guid {
    /// Parses `c12a7328-f81f-11d2-ba4b-00a0c93ec93b`, in any case of letters.
    pub fn from_text(text: &str) -> Option<Self> {
        let groups: Vec<&str> = text.split('-').collect();
        let is_hex = |group: &&str| group.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) || !groups.iter().all(is_hex) {
            return None;
        }
        let number = |group: usize| u64::from_str_radix(groups[group], 16).ok();
        let (a, b, c) = (u32::try_from(number(0)?), u16::try_from(number(1)?), u16::try_from(number(2)?));
        Some(Self::new(a.ok()?, b.ok()?, c.ok()?, (number(3)? << 48 | number(4)?).to_be_bytes()))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let g = &self.0;
        write!(
            f,
            "{:02x}{:02x}{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}",
            g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_swaps_the_first_three_groups() {
        let esp = Guid::new(0xc12a_7328, 0xf81f, 0x11d2, [0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]);
        assert_eq!(esp.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(esp.0[..4], [0x28, 0x73, 0x2a, 0xc1]);
        assert_eq!(Guid::from_text("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"), Some(esp));
        for text in ["", "c12a7328", "{c12a7328-f81f-11d2-ba4b-00a0c93ec93b}", "+12a7328-f81f-11d2-ba4b-00a0c93ec93b"] {
            assert_eq!(Guid::from_text(text), None);
        }
    }
}
