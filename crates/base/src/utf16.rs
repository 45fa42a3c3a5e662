//! UTF-16LE text as Windows stores it: code units, often unpaired, often followed by a NUL and leftovers.

/// Returns the little-endian code units of `bytes`; an odd last byte is left out.
pub fn units(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Decodes text; unpaired surrogates become U+FFFD.
pub fn decode(bytes: &[u8]) -> String {
    String::from_utf16_lossy(&units(bytes))
}

/// Decodes text up to its first NUL: real REG_SZ data can hold leftovers behind it.
pub fn decode_to_nul(bytes: &[u8]) -> String {
    let units = units(bytes);
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    String::from_utf16_lossy(&units[..end])
}

/// Encodes text without a terminator.
pub fn encode(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Encodes text with its terminating NUL, as REG_SZ data.
pub fn encode_with_nul(text: &str) -> Vec<u8> {
    let mut bytes = encode(text);
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

/// Encodes texts as REG_MULTI_SZ data: each with its terminating NUL, and a NUL behind the last.
pub fn encode_list(texts: &[String]) -> Vec<u8> {
    let mut bytes: Vec<u8> = texts.iter().flat_map(|text| encode_with_nul(text)).collect();
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_its_first_nul() {
        let mut bytes = encode_with_nul("A\u{1F600}");
        bytes.extend_from_slice(b"x\0y\0z");
        assert_eq!(decode_to_nul(&bytes), "A\u{1F600}");
        assert_eq!(decode(&[0x00, 0xd8]), "\u{fffd}");
    }
}
