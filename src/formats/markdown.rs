//! Text from elsewhere inside a Markdown document: it is read as text, and makes no mark-up, HTML or further lines.

use super::json::is_obeyed;

/// Returns a text that stays a text, in a paragraph, a heading or a table: in one line, without mark-up and HTML; what is
/// obeyed or not seen is spelled out.
pub fn escaped(text: &str) -> String {
    inert(&in_one_line(text))
}

/// Returns a text like [`escaped`], in which what stands between two back ticks is shown as code: nothing in it is mark-up
/// either. Not for tables, where a `|` in code would end a cell.
pub fn with_code(text: &str) -> String {
    let text = in_one_line(text);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, code, behind)) = first_code(rest) {
        shown.push_str(&inert(before));
        shown.push('`');
        for c in code.chars() {
            match is_obeyed(c) {
                true => shown.extend(c.escape_unicode()),
                false => shown.push(c),
            }
        }
        shown.push('`');
        rest = behind;
    }
    shown.push_str(&inert(rest));
    shown
}

/// Returns the first piece of code of a text, and what stands before and behind it. Two ticks in a row mean something else
/// to Markdown, and a tick without a fellow means nothing: neither begins or ends code here.
fn first_code(text: &str) -> Option<(&str, &str, &str)> {
    let mut ticks = text.match_indices('`').map(|(at, _)| at).peekable();
    let is_tick = |at: Option<usize>| at.is_some_and(|at| text.get(at..).is_some_and(|rest| rest.starts_with('`')));
    while let Some(start) = ticks.next() {
        let Some(end) = ticks.peek().copied() else { break };
        let is_alone = |at: usize| !is_tick(at.checked_sub(1)) && !is_tick(at.checked_add(1));
        let code = text.get(start..end)?.strip_prefix('`')?;
        // Readers of Markdown that know no code would obey what looks like HTML or a link.
        let is_plain = !code.contains(['<', '>', '[', ']']);
        if is_alone(start) && is_alone(end) && is_plain && !code.trim().is_empty() {
            return Some((text.get(..start)?, code, text.get(end..)?.strip_prefix('`')?));
        }
    }
    None
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Spells out what would be mark-up, HTML, or not seen.
fn inert(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '$' => escaped.extend(['\\', c]),
            c if is_obeyed(c) => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
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

    #[test]
    fn what_stands_between_two_ticks_is_shown_as_code_and_nothing_else_is() {
        for (text, expected) in [
            ("run `slmgr /ckms` in\n`Windows`.", "run `slmgr /ckms` in `Windows`."),
            (r"`bcdboot C:\Windows /s S: *x*`: *y*", r"`bcdboot C:\Windows /s S: *x*`: \*y\*"),
            ("one ` and <b>", r"one \` and &lt;b&gt;"),
            ("``a`` `b` ```", r"\`\`a\`\` `b` \`\`\`"),
            ("`a``b`", r"\`a\`\`b\`"),
            ("` ` `\u{202e}c`", r"\` \` `\u{202e}c`"),
            (r"\`a`", r"\\`a`"),
        ] {
            assert_eq!(with_code(text), expected, "{text}");
        }
    }
}
