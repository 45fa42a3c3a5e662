//! JSON documents in which nothing is obeyed by a terminal or an editor that shows them: what controls one, or turns the
//! direction of writing, or is not seen, is spelled out as JSON has it (RFC 8259, section 7).

use serde::Serialize;

const WHY: &str = "documents have text keys only, which JSON can hold";

/// Returns a document in one line.
pub fn line(document: &impl Serialize) -> String {
    inert(serde_json::to_string(document).expect(WHY))
}

/// Returns a document in many lines, without an end to the last one.
pub fn pretty(document: &impl Serialize) -> String {
    inert(serde_json::to_string_pretty(document).expect(WHY))
}

/// Returns a document as a file holds it: in many lines, each ended.
pub fn file(document: &impl Serialize) -> Vec<u8> {
    (pretty(document) + "\n").into_bytes()
}

/// Tells whether a character is obeyed where it should be shown, or is not seen at all.
///
/// Beside control characters that is what Unicode lists as Default_Ignorable_Code_Point: marks that turn the direction of
/// writing, joiners, soft hyphens, fillers, variation selectors, tags. Line and paragraph separators, and the marks of
/// interlinear notes, are not in that list and act alike.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Spells out what is obeyed. Beside line ends, which JSON spells out itself, it can stand in texts only.
fn inert(document: String) -> String {
    let is_live = |c: char| c != '\n' && is_obeyed(c);
    if !document.chars().any(is_live) {
        return document;
    }
    let mut text = String::with_capacity(document.len());
    for c in document.chars() {
        match is_live(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
            false => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_spelled_out() {
        for c in [
            '\u{61c}',
            '\u{ad}',
            '\u{e0000}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{180e}',
            '\u{fe0f}',
            '\u{3164}',
            '\u{fffa}',
        ] {
            let document = serde_json::json!({ "a": c.to_string() });
            assert!(line(&document).is_ascii(), "U+{:04X}", u32::from(c));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&line(&document)).unwrap(), document);
        }
        assert!(!['\u{e9}', ' ', '\u{a0}', '\u{4e2d}', '\u{1f600}', '\u{fffd}'].into_iter().any(is_obeyed));
    }

    #[test]
    fn what_is_obeyed_is_spelled_out_and_reads_as_it_was() {
        let document = serde_json::json!({"a": "\u{9b}\u{7f}\u{202e}\u{e9}\n", "b": [1]});
        for text in [line(&document), pretty(&document)] {
            assert!(text.contains(r"\u009b\u007f\u202e") && text.contains('\u{e9}'), "{text}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), document);
        }
    }
}
