//! The sentences of the components' benchmarks (Defender, Edge, Internet Explorer): a key, and `If the value "X" is
//! REG_DWORD = 1, this is not a finding`.
//!
//! Every sentence about a finding must be understood, and none may contradict another.

use std::collections::BTreeSet;

use super::registry::{clean, short};
use super::{Bound, Expectation, ValueRequirement};
use coldforge_base::hex;

/// The roots that a key is written with, in lower case.
const ROOTS: [&str; 4] = ["hkey_local_machine\\", "hkey_current_user\\", "hklm\\", "hkcu\\"];
/// The most choices that a range of numbers is taken to mean.
const MOST_CHOICES: u32 = 256;

/// What is known of one value.
#[derive(Default)]
struct Draft {
    name: String,
    kind: Option<String>,
    passes: BTreeSet<String>,
    fails: BTreeSet<String>,
    only: Option<String>,
    most: Option<u32>,
    absent: Option<bool>,
}

/// Reads the values that a check text is about.
pub(super) fn read(text: &str) -> Option<Vec<Expectation>> {
    let lower = text.to_ascii_lowercase();
    let mut starts: Vec<usize> = ROOTS.iter().flat_map(|root| lower.match_indices(root)).map(|(at, _)| at).collect();
    starts.sort_unstable();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let mut found = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let (key, slip, rest) = key(text.get(*start..end)?)?;
        let mut drafts: Vec<Draft> = Vec::new();
        for (sentence, finding) in sentences(rest)? {
            judge(&sentence, finding, &mut drafts)?;
        }
        for draft in drafts {
            found.push(draft.finish(&key, slip)?);
        }
    }
    Some(found)
}

/// Returns the key that the text begins with, whether it was mended, and what follows it.
fn key(text: &str) -> Option<(String, bool, &str)> {
    let ends = ["\n", " Criteria", ". ", "\"", " If "];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    let path = path.trim().trim_end_matches(['.', ':']);
    let (root, below) = path.split_once('\\')?;
    // A key of this name does not exist: the one of the zones has a space.
    let below = clean(below);
    // A value's name behind an exclamation mark is no part of the key.
    let mended = below.split('!').next().unwrap_or(&below);
    let mended = mended.replace("\\CurrentVersion\\InternetSettings\\", "\\CurrentVersion\\Internet Settings\\");
    Some((format!("{}\\{mended}", short(root)?), mended != below, rest))
}

/// Splits into sentences that say what is or is not a finding; `None` if a "finding" is left over.
fn sentences(text: &str) -> Option<Vec<(String, bool)>> {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for sentence in joined.split_inclusive("finding") {
        let Some(said) = sentence.strip_suffix("finding") else {
            continue;
        };
        let said = said.trim_start_matches(['.', ' ', ':', '"']);
        let (said, finding) = match said.strip_suffix("not a ") {
            Some(said) => (said, false),
            None => (said.strip_suffix("a ")?, true),
        };
        let said = ["this is ", "is also acceptable and ", "are acceptable and ", "is "]
            .iter()
            .find_map(|tail| said.strip_suffix(tail))?;
        // Sentences before it in the same piece say nothing about findings; those that begin with "If" are the last.
        let start = ["Criteria: ", "If ", "A value ", "Values of "].iter().filter_map(|head| said.rfind(head)).max()?;
        let said = said[start..].trim_start_matches("Criteria: ").trim_end_matches([',', ' ']);
        found.push((said.to_owned(), finding));
    }
    (!found.is_empty()).then_some(found)
}

/// Takes one sentence in.
fn judge(sentence: &str, finding: bool, drafts: &mut Vec<Draft>) -> Option<()> {
    if let Some(range) = sentence.strip_prefix("A value of ").or_else(|| sentence.strip_prefix("Values of ")) {
        let draft = drafts.last_mut()?;
        let mut ends = range.split(" through ").flat_map(|part| part.split(" - "));
        let first = number(ends.next()?)?;
        let last = ends.next().map_or(Some(first), number)?;
        if ends.next().is_some() || last < first || last.saturating_sub(first) > MOST_CHOICES {
            return None;
        }
        let side = if finding { &mut draft.fails } else { &mut draft.passes };
        side.extend((first..=last).map(|number| number.to_string()));
        return Some(());
    }
    if let Some(most) = sentence.strip_prefix("A value higher than ").filter(|_| finding) {
        drafts.last_mut()?.most = Some(number(most)?);
        return Some(());
    }
    let said = sentence.strip_prefix("If the value")?.trim_start();
    let (name, said) = match said.strip_prefix("for ").unwrap_or(said) {
        said if said.starts_with("is ") || said.starts_with("does not exist") => (None, said),
        said => {
            let (name, rest) = match said.strip_prefix('"') {
                // The closing mark may be missing.
                Some(quoted) => quoted.split_once('"').or_else(|| quoted.split_once(' '))?,
                None => said.split_once(' ')?,
            };
            (Some(name.trim()), rest.trim_start())
        }
    };
    let said = [", (Decimal)", " (Decimal)", " (decimal)"]
        .iter()
        .fold(said.to_owned(), |said, remark| said.replace(remark, ""));
    let said = said.as_str();
    if let Some(name) = name.filter(|name| drafts.last().is_none_or(|draft| draft.name != **name)) {
        drafts.push(Draft { name: name.to_owned(), ..Draft::default() });
    }
    let draft = drafts.last_mut()?;
    if said == "does not exist" {
        draft.absent = Some(!finding);
        return Some(());
    }
    if let Some(only) = said.strip_prefix("is other than ").filter(|_| finding) {
        draft.only = Some(value(only)?);
        return Some(());
    }
    let (said, passes) = match said.strip_prefix("is not set to ").or_else(|| said.strip_prefix("is not ")) {
        Some(said) if finding => (said, true),
        Some(_) => return None,
        None => (said.strip_prefix("is set to ").or_else(|| said.strip_prefix("is "))?, !finding),
    };
    for choice in said.replace(" (or ", " or ").replace(", or ", " or ").split(" or ") {
        let choice = choice.trim_matches(['"', ' ', ')', ',']);
        let found = match choice.split_once('=') {
            Some((kind, found)) if kind.trim().starts_with("REG_") => {
                let kind = kind.trim().to_owned();
                if draft.kind.get_or_insert_with(|| kind.clone()) != &kind {
                    return None;
                }
                found
            }
            Some(_) => return None,
            None => choice,
        };
        let found = value(found)?;
        if passes {
            draft.passes.insert(found);
        } else {
            draft.fails.insert(found);
        }
    }
    Some(())
}

/// Returns a value as it is compared: numbers in decimal, texts as they are.
fn value(text: &str) -> Option<String> {
    let text = text.trim_matches(['"', ' ', '\'']);
    if text.is_empty() || text.contains(' ') {
        return None;
    }
    Some(number(text).map_or_else(|| text.to_owned(), |number| number.to_string()))
}

/// Reads `7`, `0x7`, and hexadecimal without its prefix where a letter shows it.
fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    let of_hex = |digits| hex::number(digits).and_then(|number| u32::try_from(number).ok());
    if let Some(digits) = text.strip_prefix("0x") {
        return of_hex(digits);
    }
    let digits = |fits: fn(&char) -> bool| !text.is_empty() && text.chars().all(|c| fits(&c));
    if digits(char::is_ascii_digit) {
        return text.parse().ok();
    }
    let is_hex = text.starts_with(|c: char| c.is_ascii_digit()) && digits(char::is_ascii_hexdigit);
    is_hex.then(|| of_hex(text))?
}

impl Draft {
    fn finish(self, key: &str, slip: bool) -> Option<Expectation> {
        // A key that ends in the value's own name is the value's full path.
        let above = key.rsplit_once('\\').filter(|(_, last)| *last == self.name).map(|(above, _)| above);
        let (key, slip) = (above.unwrap_or(key), slip || above.is_some());
        let contradicts = self.passes.iter().any(|value| self.fails.contains(value))
            || self.only.is_some_and(|only| self.passes.iter().any(|value| *value != only))
            || self.most.is_some_and(|most| self.passes.iter().any(|value| number(value).is_none_or(|n| n > most)));
        if contradicts {
            return None;
        }
        let absent_passes = self.absent.unwrap_or(false);
        let numbers: Option<Vec<u32>> = self.passes.iter().map(|value| number(value)).collect();
        let texts: Vec<String> = self.passes.into_iter().collect();
        let kind = match (self.kind, texts.is_empty()) {
            (Some(kind), false) => kind,
            // A value that must not be there has no type.
            (None, true) if absent_passes && self.fails.is_empty() => {
                let demand = ValueRequirement { bound: Bound::Absent, absent_passes, free: false, slip };
                return Some(Expectation::Registry {
                    key: key.to_owned(),
                    name: self.name,
                    kind: String::new(),
                    demand,
                });
            }
            _ => return None,
        };
        let bound = match kind.as_str() {
            "REG_DWORD" => of_numbers(numbers?),
            "REG_SZ" => match &texts[..] {
                [one] => Bound::Text(one.clone()),
                _ => Bound::TextOneOf(texts),
            },
            _ => return None,
        };
        let demand = ValueRequirement { bound, absent_passes, free: false, slip };
        Some(Expectation::Registry { key: key.to_owned(), name: self.name, kind, demand })
    }
}

fn of_numbers(mut numbers: Vec<u32>) -> Bound {
    numbers.sort_unstable();
    match numbers[..] {
        [one] => Bound::Equals(one),
        [first, .., last] if numbers.len() > 2 && numbers.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 1) => {
            Bound::Range(first, last)
        }
        _ => Bound::OneOf(numbers),
    }
}
