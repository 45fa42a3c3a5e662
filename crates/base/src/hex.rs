//! Bytes and numbers in hexadecimal digits. The readers take digits alone: no sign, no blank, no prefix.

/// Returns `bytes` as lower-case hex digits without separators.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

/// Returns the bytes that pairs of hex digits stand for; `None` if anything else is among them.
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::try_from(number(pair)?).ok()
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

/// Returns the number that hex digits stand for; `None` if there is none, anything else is among them, or the number has
/// more than 64 bits. The standard library's reader would take a sign.
pub fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_are_written() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(decode("0aFf"), Some(vec![0x0a, 0xff]));
        for other in ["0", "0g", "012", "+f", " f", "-0", "0x", "ß"] {
            assert_eq!(decode(other), None, "{other}");
        }
    }

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        assert_eq!(number("1F4"), Some(500));
        assert_eq!(number("ffffffffffffffff"), Some(u64::MAX));
        for other in ["", "+f", "-f", " f", "0xf", "10000000000000000"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
