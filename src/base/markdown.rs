//! Text from elsewhere inside a Markdown document: it is read as text, and makes no mark-up, HTML or further lines.

use super::json::is_obeyed;

/// Returns a text that stays a text, in a paragraph, a heading or a table: in one line, without mark-up and HTML; what is
/// obeyed or not seen is spelled out.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !escaped.is_empty() {
            escaped.push(' ');
        }
        for c in word.chars() {
            match c {
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '&' => escaped.push_str("&amp;"),
                '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '$' => escaped.extend(['\\', c]),
                c if is_obeyed(c) => escaped.extend(c.escape_unicode()),
                c => escaped.push(c),
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_makes_no_mark_up_no_html_and_no_further_line() {
        let hostile = "a\n# b <img src=x> [c](javascript:d) `e` *f* g|h & \u{202e}i\u{e0041}";
        let safe = r"a # b &lt;img src=x&gt; \[c\](javascript:d) \`e\` \*f\* g\|h &amp; \u{202e}i\u{e0041}";
        assert_eq!(escaped(hostile), safe);
    }
}
