//! Conditions: the operators of `if` and of the action `Assert`. Texts are compared without regard to case, as the format
//! does.
//!
//! The comparisons of order put the second operand first: `numberLessThan: 2, value: 1` holds, because 1 is less than 2.

use super::fault::{Fault, Flaw, Position};
use super::yaml::Node;
use coldforge_base::hex;

/// Logical operators in each other.
const MAX_DEPTH: usize = 4;
/// No pattern takes more memory.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// A condition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    /// All hold; the first that does not ends it.
    And(Vec<Condition>),
    /// One holds; the first that does ends it.
    Or(Vec<Condition>),
    /// The other does not hold.
    Not(Box<Condition>),
    /// An operator with its operand and its second one, if it has one.
    Is { at: Position, operator: Operator, operand: String, value: Option<String> },
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Branch {
    Abort,
    Execute,
    Skip,
}

/// An operator of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Operator {
    StringIsEmpty,
    StringIsWhitespace,
    String(Order),
    Number(Order),
    PatternMatches,
    BinaryExists,
    FileExists,
    FolderExists,
    FileHash(Hash),
}

/// A digest of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    /// Returns the digest of these bytes in lower-case hex digits.
    pub fn of(self, bytes: &[u8]) -> String {
        use sha2::Digest as _;
        match self {
            Self::Md5 => hex::encode(&md5::Md5::digest(bytes)),
            Self::Sha1 => hex::encode(&sha1::Sha1::digest(bytes)),
            Self::Sha256 => hex::encode(&sha2::Sha256::digest(bytes)),
            Self::Sha512 => hex::encode(&sha2::Sha512::digest(bytes)),
        }
    }
}

/// How the second operand compares with the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// The operators, each with the key of its second operand.
const OPERATORS: [(&str, Operator, Option<&str>); 20] = [
    ("stringIsEmpty", Operator::StringIsEmpty, None),
    ("stringIsWhitespace", Operator::StringIsWhitespace, None),
    ("stringEquals", Operator::String(Order::Equal), Some("value")),
    ("stringLessThan", Operator::String(Order::Less), Some("value")),
    ("stringLessThanEquals", Operator::String(Order::LessOrEqual), Some("value")),
    ("stringGreaterThan", Operator::String(Order::Greater), Some("value")),
    ("stringGreaterThanEquals", Operator::String(Order::GreaterOrEqual), Some("value")),
    ("numberEquals", Operator::Number(Order::Equal), Some("value")),
    ("numberLessThan", Operator::Number(Order::Less), Some("value")),
    ("numberLessThanEquals", Operator::Number(Order::LessOrEqual), Some("value")),
    ("numberGreaterThan", Operator::Number(Order::Greater), Some("value")),
    ("numberGreaterThanEquals", Operator::Number(Order::GreaterOrEqual), Some("value")),
    ("fileExists", Operator::FileExists, None),
    ("folderExists", Operator::FolderExists, None),
    ("patternMatches", Operator::PatternMatches, Some("value")),
    ("binaryExists", Operator::BinaryExists, None),
    ("fileMD5Equals", Operator::FileHash(Hash::Md5), Some("path")),
    ("fileSHA1Equals", Operator::FileHash(Hash::Sha1), Some("path")),
    ("fileSHA256Equals", Operator::FileHash(Hash::Sha256), Some("path")),
    ("fileSHA512Equals", Operator::FileHash(Hash::Sha512), Some("path")),
];

/// Evaluates the operator at a position, with its first and second operand.
pub(super) type Evaluate<'j> = dyn FnMut(Position, Operator, &str, Option<&str>) -> Result<bool, Fault> + 'j;

impl Condition {
    /// Reads the `if` of a step, with the branches for when it holds and when it does not.
    pub fn of_step(node: &Node) -> Result<(Self, Branch, Branch), Fault> {
        let node = match node.list() {
            Some([only]) => only,
            _ => node,
        };
        let branch = |name: &str, usual| match node.get(name).map(|word| (word.at, word.text())) {
            None => Ok(usual),
            Some((_, Some("Abort"))) => Ok(Branch::Abort),
            Some((_, Some("Execute"))) => Ok(Branch::Execute),
            Some((_, Some("Skip"))) => Ok(Branch::Skip),
            Some((at, word)) => Err(Fault::new(at, Flaw::Word, word.unwrap_or_default())),
        };
        Ok((read(node, &["then", "else"], 0)?, branch("then", Branch::Execute)?, branch("else", Branch::Skip)?))
    }

    /// Reads the inputs of an `Assert`.
    pub fn parse(node: &Node) -> Result<Self, Fault> {
        read(node, &[], 0)
    }

    /// Returns whether it holds; `evaluate` evaluates one operator.
    pub fn holds(&self, evaluate: &mut Evaluate<'_>) -> Result<bool, Fault> {
        match self {
            Self::And(all) => {
                for one in all {
                    if !one.holds(evaluate)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(any) => {
                for one in any {
                    if one.holds(evaluate)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(other) => Ok(!other.holds(evaluate)?),
            Self::Is { at, operator, operand, value } => evaluate(*at, *operator, operand, value.as_deref()),
        }
    }

    /// Returns every text in it that can hold an expression.
    pub fn texts(&self) -> Vec<(Position, &str)> {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().flat_map(Self::texts).collect(),
            Self::Not(other) => other.texts(),
            Self::Is { at, operand, value, .. } => {
                std::iter::once(operand.as_str()).chain(value.as_deref()).map(|text| (*at, text)).collect()
            }
        }
    }
}

/// Judges an operator on texts and numbers; `None` for one on files, and for a pattern that is none.
pub(super) fn compare(operator: Operator, operand: &str, value: Option<&str>) -> Option<bool> {
    let value = value.unwrap_or_default();
    Some(match operator {
        Operator::StringIsEmpty => operand.is_empty(),
        Operator::StringIsWhitespace => !operand.is_empty() && operand.chars().all(|c| c == ' '),
        Operator::String(order) => order.holds(value.to_lowercase().cmp(&operand.to_lowercase())),
        Operator::Number(order) => match (number(value), number(operand)) {
            (Some(value), Some(operand)) => value.partial_cmp(&operand).is_some_and(|found| order.holds(found)),
            _ => false,
        },
        Operator::PatternMatches => return Some(pattern(operand)?.is_match(value)),
        Operator::BinaryExists | Operator::FileExists | Operator::FolderExists | Operator::FileHash(_) => return None,
    })
}

/// Returns a pattern; it takes large and small letters for the same, as the format does.
fn pattern(text: &str) -> Option<regex::Regex> {
    regex::RegexBuilder::new(text).case_insensitive(true).size_limit(MAX_PATTERN_BYTES).build().ok()
}

/// Parses a number: a sign, digits, and digits after a point.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_digits(whole) && is_digits(part)).then(|| text.parse().ok()).flatten()
}

fn read(node: &Node, attachments: &[&str], depth: usize) -> Result<Condition, Fault> {
    let fault = |what: &str| Err(Fault::new(node.at, Flaw::Condition, what));
    if depth > MAX_DEPTH {
        return fault("logical operators are nested deeper than four");
    }
    let Some(members) = node.map() else { return fault("it is no map") };
    let second = |name: &str| matches!(name, "value" | "path");
    let mut operators = members.iter().filter(|(name, ..)| !second(name) && !attachments.contains(&name.as_str()));
    let (Some((name, at, operand)), None) = (operators.next(), operators.next()) else {
        return fault("it needs exactly one operator");
    };
    let many = || -> Result<Vec<Condition>, Fault> {
        let items = operand.list().filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| Fault::new(*at, Flaw::Condition, format!("`{name}` needs a list")))?;
        items.iter().map(|item| read(item, &[], depth.saturating_add(1))).collect()
    };
    match name.as_str() {
        "and" => return Ok(Condition::And(many()?)),
        "or" => return Ok(Condition::Or(many()?)),
        "not" => return Ok(Condition::Not(Box::new(read(operand, &[], depth.saturating_add(1))?))),
        _ => {}
    }
    let Some((_, operator, key)) = OPERATORS.iter().find(|(known, ..)| known == name) else {
        let meant = crate::policy::nearest(name, OPERATORS.iter().map(|(known, ..)| *known));
        let hint = meant.map(|meant| format!(", perhaps `{meant}` is meant")).unwrap_or_default();
        return Err(Fault::new(*at, Flaw::Condition, format!("no operator `{name}`{hint}")));
    };
    let text = |node: &Node| {
        let text = node.text().map(str::to_owned);
        text.ok_or_else(|| Fault::new(node.at, Flaw::Form, format!("{} instead of a text", node.form())))
    };
    let value = match key.map(|key| (key, node.get(key))) {
        None => None,
        Some((_, Some(value))) => Some(text(value)?),
        Some((key, None)) => return Err(Fault::new(*at, Flaw::Missing, format!("`{key}` of `{name}`"))),
    };
    if let Some((extra, at, _)) = members.iter().find(|(name, ..)| second(name) && Some(name.as_str()) != *key) {
        return Err(Fault::new(*at, Flaw::UnknownField, format!("`{extra}` beside `{name}`")));
    }
    let operand = text(operand)?;
    if *operator == Operator::PatternMatches && !operand.contains("{{") && pattern(&operand).is_none() {
        return Err(Fault::new(*at, Flaw::Condition, format!("{operand:?} is not a valid pattern")));
    }
    Ok(Condition::Is { at: *at, operator: *operator, operand, value })
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn holds(text: &str) -> Result<bool, Fault> {
        let condition = Condition::parse(&yaml::parse(text)?)?;
        condition.holds(&mut |_, operator, operand, value| Ok(compare(operator, operand, value).unwrap()))
    }

    #[test]
    fn the_second_operand_is_held_against_the_first() {
        for (text, holds_so) in [
            ("numberLessThan: 2\nvalue: 1", true),
            ("numberLessThan: 1\nvalue: 2", false),
            ("numberEquals: 1.0\nvalue: 1", true),
            ("numberEquals: x\nvalue: x", false),
            ("stringLessThan: b\nvalue: a", true),
            ("value: ABC\nstringEquals: abc", true),
            ("value: ThisIsValue\npatternMatches: '^[a-z]+$'", true),
            ("value: This is\npatternMatches: '^[a-z]+$'", false),
            ("stringIsEmpty: ''", true),
            ("stringIsWhitespace: ''", false),
            ("not:\n  stringIsEmpty: ''", false),
            ("and:\n  - stringIsEmpty: ''\n  - stringIsEmpty: x", false),
            ("or:\n  - stringIsEmpty: x\n  - stringIsEmpty: ''", true),
        ] {
            assert_eq!(holds(text).unwrap(), holds_so, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_told() {
        for (text, flaw) in [
            ("stringEquals: a", Flaw::Missing),
            ("stringequals: a\nvalue: a", Flaw::Condition),
            ("stringEquals: a\nnumberEquals: 1\nvalue: a", Flaw::Condition),
            ("stringIsEmpty: a\nvalue: b", Flaw::UnknownField),
            ("patternMatches: '['\nvalue: a", Flaw::Condition),
            ("- a", Flaw::Condition),
            ("not:\n  not:\n    not:\n      not:\n        not:\n          stringIsEmpty: ''", Flaw::Condition),
        ] {
            assert_eq!(holds(text).unwrap_err().flaw, flaw, "{text}");
        }
        assert!(holds("not:\n  not:\n    not:\n      not:\n        stringIsEmpty: ''").unwrap(), "four are allowed");
    }
}
