//! Text from an image, made inert: no control characters, nothing that turns the direction of writing, no endless lines.

use sha1::{Digest as _, Sha1};

use crate::formats::json::is_obeyed;
use coldforge_base::hex;

/// The longest text of an image that a report shows, in characters; the audit log holds it whole.
const LONGEST_CHARS: usize = 4000;

/// Returns a text in which every character shows: what is no letter, sign or space is written as its escape; line feeds
/// and tabs stay. A text that is too long is cut, and says so.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST_CHARS {
            shown.push_str(&format!("... ({} characters in all)", text.chars().count()));
            break;
        }
        match c {
            '\n' | '\t' => shown.push(c),
            c if hides(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Returns a text as [`plain`] does, in one line.
pub(super) fn line(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells whether a character is obeyed or not seen, or may stand in no XML 1.0 document.
fn hides(c: char) -> bool {
    is_obeyed(c) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The name space of our identifiers: any UUID that nobody else uses.
const NAME_SPACE: [u8; 16] = *b"coldforge/report";

/// Returns an identifier that is made of these parts and of nothing else: a UUID of version 5 (RFC 9562, section 5.5).
pub(super) fn uuid(parts: &[&str]) -> String {
    let digest = Sha1::new().chain_update(NAME_SPACE).chain_update(parts.join("\0")).finalize();
    let group = |range: std::ops::Range<usize>| hex::encode(&digest[range]);
    let (version, variant) = (digest[6] & 0x0f | 0x50, digest[8] & 0x3f | 0x80);
    format!(
        "{}-{}-{version:02x}{}-{variant:02x}{}-{}",
        group(0..4),
        group(4..6),
        group(7..8),
        group(9..10),
        group(10..16)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_shows() {
        assert_eq!(plain("a\u{1b}[1mb\0\u{202e}c\n"), "a\\u{1b}[1mb\\u{0}\\u{202e}c\n");
        assert_eq!(line(" a\r\n\tb "), "a\\u{d} b");
        let long = plain(&"x".repeat(5000));
        assert!(long.len() < 4100 && long.ends_with("(5000 characters in all)"));
    }

    #[test]
    fn an_identifier_is_a_uuid_of_version_5() {
        let id = uuid(&["a", "b"]);
        assert_eq!(id, uuid(&["a", "b"]));
        assert_ne!(id, uuid(&["ab"]));
        assert_eq!((id.len(), &id[14..15]), (36, "5"));
        assert!("89ab".contains(&id[19..20]));
    }
}
