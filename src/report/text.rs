//! Text from an image, made inert: no control characters, nothing that turns the direction of writing, no endless lines.

use crate::base::digest::Digest;
use crate::base::guid::Guid;

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
            c if c.is_control() || hides(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Returns a text as [`plain`] does, in one line.
pub(super) fn line(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells whether a character is invisible, turns the direction of writing, or may stand in no XML 1.0 document.
fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns an identifier that is made of these parts and of nothing else: a UUID of version 8 (RFC 9562), whose bits are
/// those of their SHA-256.
pub(super) fn uuid(parts: &[&str]) -> String {
    let Digest(digest) = Digest::of(parts.join("\0").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // A GUID's third group lies with its low byte first: the version is the high half of byte 7.
    bytes[7] = bytes[7] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Guid(bytes).to_string()
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
    fn an_identifier_is_a_uuid_of_version_8() {
        let id = uuid(&["a", "b"]);
        assert_eq!(id, uuid(&["a", "b"]));
        assert_ne!(id, uuid(&["ab"]));
        assert_eq!((id.len(), &id[14..15]), (36, "8"));
        assert!("89ab".contains(&id[19..20]));
    }
}
