//! The line `Value:` of a check text: numbers in hexadecimal and decimal, what may follow them, and texts.

use super::{Bound, ValueRequirement};

/// A number with what its text says around it.
struct Number {
    number: u32,
    slip: bool,
}

/// How the numbers bound the value.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Qualifier {
    Exactly,
    OrMore,
    OrLess,
    OrLessNotZero,
}

/// Reads numbers and what qualifies them, such as `0x0000001e (30) (or less, but not 0)`.
pub(super) fn numbers(text: &str) -> Option<ValueRequirement> {
    let mut rest = text.trim();
    let (mut found, mut qualifier, mut absent_passes) = (Vec::new(), Qualifier::Exactly, false);
    while !rest.is_empty() {
        let (option, behind) = number(rest)?;
        found.push(option);
        rest = behind.trim_start();
        loop {
            if let Some(behind) = rest.strip_prefix('(') {
                let (remark, behind) = remark(behind)?;
                rest = behind.trim_start();
                match meaning(remark)? {
                    Remark::Absent => absent_passes = true,
                    Remark::Qualifier(other) if qualifier == Qualifier::Exactly => qualifier = other,
                    Remark::Qualifier(_) => return None,
                    Remark::Comment => {}
                }
            } else if let Some(behind) = rest.strip_prefix("- ") {
                // A comment up to the next number's line.
                rest = behind.split_once('\n').map_or("", |(_, next)| next).trim_start();
                break;
            } else {
                break;
            }
        }
        rest = rest.trim_start_matches([',', ' ', '\n']);
        rest = rest.strip_prefix("or ").unwrap_or(rest).trim_start();
    }
    let slip = found.iter().any(|option| option.slip);
    let found: Vec<u32> = found.into_iter().map(|option| option.number).collect();
    let bound = match (found.as_slice(), qualifier) {
        ([], _) => return None,
        ([one], Qualifier::Exactly) => Bound::Equals(*one),
        ([one], Qualifier::OrMore) => Bound::AtLeast(*one),
        ([one], Qualifier::OrLess) => Bound::AtMost(*one),
        ([one], Qualifier::OrLessNotZero) if *one > 0 => Bound::Range(1, *one),
        (several, Qualifier::Exactly) => Bound::OneOf(several.to_vec()),
        _ => return None,
    };
    Some(ValueRequirement { bound, absent_passes, free: false, slip })
}

/// Reads a text that a value must be.
pub(super) fn text(text: &str) -> Option<ValueRequirement> {
    let text = text.trim();
    let bound = if text.is_empty() {
        return None;
    } else if text.split(',').all(|term| term.trim().split_once('=').is_some_and(|(name, _)| word(name))) {
        Bound::Terms(text.to_owned())
    } else if text.split_whitespace().count() == 1 {
        Bound::Text(text.trim_matches('"').to_owned())
    } else {
        return None;
    };
    Some(ValueRequirement { bound, absent_passes: false, free: false, slip: false })
}

fn word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads `0x00000001 (1)`, `0x1` or `1`. Where hexadecimal and decimal differ, the decimal is what people read.
fn number(text: &str) -> Option<(Number, &str)> {
    let Some(hex) = text.strip_prefix("0x") else {
        let (digits, rest) = split(text, |c| c.is_ascii_digit());
        return Some((Number { number: digits.parse().ok()?, slip: false }, ends(rest)?));
    };
    let (digits, rest) = split(hex, |c| c.is_ascii_hexdigit());
    let from_hex = u32::from_str_radix(digits, 16).ok()?;
    let rest = ends(rest)?;
    let decimal = rest.trim_start().strip_prefix('(').and_then(|inner| inner.split_once(')'));
    match decimal.and_then(|(decimal, behind)| Some((decimal.trim().parse().ok()?, behind))) {
        Some((decimal, behind)) => Some((Number { number: decimal, slip: decimal != from_hex }, behind)),
        None => Some((Number { number: from_hex, slip: false }, rest)),
    }
}

/// Demands that a number ends where its digits end.
fn ends(rest: &str) -> Option<&str> {
    (!rest.starts_with(|c: char| c.is_alphanumeric() || c == '.')).then_some(rest)
}

fn split(text: &str, fits: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !fits(c)).unwrap_or(text.len()))
}

enum Remark {
    Absent,
    Qualifier(Qualifier),
    Comment,
}

/// Splits after the bracket that closes a remark.
fn remark(text: &str) -> Option<(&str, &str)> {
    text.split_once(')')
}

fn meaning(remark: &str) -> Option<Remark> {
    let said = remark.to_lowercase();
    let not_zero = said.contains("excluding \"0\"") || said.contains("not 0") || said.contains("not \"0\"");
    Some(if said.contains("does not exist") {
        Remark::Absent
    } else if said.starts_with("or greater") || said.starts_with("or more") {
        Remark::Qualifier(Qualifier::OrMore)
    } else if said.starts_with("or less") && not_zero {
        Remark::Qualifier(Qualifier::OrLessNotZero)
    } else if said == "or less" {
        Remark::Qualifier(Qualifier::OrLess)
    } else if said.starts_with("or") || said.chars().any(|c| c.is_ascii_digit()) {
        return None;
    } else {
        Remark::Comment
    })
}
