//! What a rule demands of a value, whether a value meets it, and how an organization may narrow it.
//!
//! How values are compared, where the benchmark leaves it open:
//! - The type must be the demanded one: a REG_SZ `1` does not meet a demand for a REG_DWORD 1, because Windows reads
//!   the one where it looks for the other as no value at all.
//! - A REG_DWORD has four bytes; one of another length meets nothing.
//! - A text ends at its first NUL, as Windows reads it, whatever lies behind; otherwise it is compared exactly.
//! - A number in a text is plain decimal digits.
//! - Prose (the consent banner) is compared with every run of white space taken as one space, because editors and
//!   policy tools break lines differently; it is written with CR LF between its lines.
//! - Terms (`A=1, B=1`) are compared as a set, without regard to case, spaces and order. Further terms may stand
//!   beside the demanded ones, such as `RequirePrivacy=1`; a name that is given two values meets nothing.
//! - A name that must be another is compared without regard to case, as Windows compares account names.

use std::collections::BTreeSet;
use std::fmt;

use super::principal::Principal;
use crate::windows::setting::{AuditFlags, Form, Identity, Value, ValueType};
use coldforge_base::access::{self, Comparison, Excess};
use coldforge_base::descriptor::Descriptor;
use coldforge_base::sid::Sid;
use coldforge_base::{sddl, utf16};

/// A number or a text, as catalogs and values files write it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Plain {
    /// A number of 32 bits.
    Number(u32),
    /// A text.
    Text(String),
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(&quoted(text)),
        }
    }
}

/// How far an organization may go with a value of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Override {
    /// The value must meet the benchmark's demand.
    Within,
    /// Any text that is not blank: the benchmark lets the organization word it.
    Free,
}

/// A demand on one value. Numbers are plain ones, those of a REG_DWORD, or those of a REG_SZ in decimal digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Requirement {
    /// This number.
    Equals(u32),
    /// One of these numbers.
    OneOf(Vec<u32>),
    /// This number or more.
    AtLeast(u32),
    /// This number or less.
    AtMost(u32),
    /// A number from the first to the second, both included.
    Range(u32, u32),
    /// This text.
    Text(String),
    /// One of these texts.
    TextOneOf(Vec<String>),
    /// This text, however its white space is broken.
    Prose(String),
    /// At least these comma-separated terms.
    Terms(String),
    /// Another text than this one.
    OtherThan(String),
    /// Yes or no.
    Flag(bool),
    /// At least this is recorded.
    Records(AuditFlags),
    /// Nobody but these.
    Only(BTreeSet<Principal>),
    /// One of each of these groups, whoever else.
    Includes(Vec<BTreeSet<Principal>>),
    /// Permissions that grant nothing beyond these.
    NotWiderThan {
        /// Of what they are.
        kind: access::Kind,
        /// The widest ones, as a text (MS-DTYP 2.5.1).
        limit: String,
    },
    /// This value and no other, to the last byte.
    Exactly(Value),
    /// Any value.
    Present,
    /// No value.
    Absent,
    /// One of these demands is met.
    AnyOf(Vec<Requirement>),
    /// No value at all, or one that meets the inner demand.
    AbsentOr(Box<Requirement>),
}

/// In what a value falls short of a demand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shortfall {
    /// There is no value.
    Absent,
    /// The value has another form.
    OtherType {
        /// The form found.
        found: Form,
        /// The form demanded.
        required: Form,
    },
    /// A REG_DWORD has not four bytes.
    Misshapen {
        /// Its length.
        length_bytes: usize,
    },
    /// A text that should hold a number holds something else.
    NotANumber {
        /// The text.
        found: String,
    },
    /// Another number than those demanded.
    Number {
        /// The number found.
        found: u32,
    },
    /// Another text than those demanded.
    Text {
        /// The text found.
        found: String,
    },
    /// It is the other way round.
    Flag,
    /// Less is recorded than demanded.
    Audit {
        /// What is recorded.
        found: AuditFlags,
    },
    /// Others than those who may.
    Others {
        /// Those who may not.
        others: Vec<Sid>,
    },
    /// Not all of those who must.
    Missing {
        /// The first group of those who are missing.
        missing: String,
    },
    /// Another value than the demanded one.
    Other {
        /// The value found.
        found: Value,
    },
    /// Permissions grant more than they may.
    Wider {
        /// Of what they are.
        kind: access::Kind,
        /// What they grant beyond; nothing, if they grant everything to everyone.
        excess: Vec<Excess>,
    },
    /// Whether it is met cannot be told: permissions have an entry that is not understood.
    CannotTell,
    /// There is nothing that could have permissions.
    Nowhere,
    /// There is a value, and there must be none.
    Present,
}

impl Requirement {
    /// Judges a value, or its absence, that should be of this form. Principals must be [resolved](Self::resolved).
    ///
    /// # Errors
    /// The [`Shortfall`], if the demand is not met.
    pub fn judge(&self, form: Form, value: Option<&Value>) -> Result<(), Shortfall> {
        let value = match (self, value) {
            (Self::AbsentOr(_) | Self::Absent, None) => return Ok(()),
            // Permissions of nothing are neither wide nor narrow.
            (Self::NotWiderThan { .. }, None) => return Err(Shortfall::Nowhere),
            (_, None) => return Err(Shortfall::Absent),
            (Self::Absent, Some(_)) => return Err(Shortfall::Present),
            (Self::AbsentOr(inner), Some(_)) => return inner.judge(form, value),
            (Self::AnyOf(demands), Some(_)) => {
                let mut answers = demands.iter().map(|demand| demand.judge(form, value));
                // What the last demand says of the value serves for all of them.
                let last = answers.next_back().unwrap_or(Err(Shortfall::Absent));
                return if answers.any(|answer| answer.is_ok()) { Ok(()) } else { last };
            }
            (_, Some(value)) if value.form() != form => {
                return Err(Shortfall::OtherType { found: value.form(), required: form });
            }
            (_, Some(value)) => value,
        };
        let met = |met: bool, shortfall: Shortfall| if met { Ok(()) } else { Err(shortfall) };
        match (self, value) {
            (Self::Present, _) => Ok(()),
            (Self::Exactly(wanted), found) => met(found == wanted, Shortfall::Other { found: found.clone() }),
            (Self::Flag(wanted), Value::Flag(found)) => met(found == wanted, Shortfall::Flag),
            (Self::Records(wanted), Value::Audit(found)) => {
                met(found.covers(*wanted), Shortfall::Audit { found: *found })
            }
            (Self::Only(allowed), Value::Sids(found)) => {
                let may = |sid: &Sid| allowed.contains(&Principal::Sid(sid.clone()));
                let others: Vec<Sid> = found.iter().filter(|sid| !may(sid)).cloned().collect();
                met(others.is_empty(), Shortfall::Others { others })
            }
            (Self::Includes(groups), Value::Sids(found)) => {
                let there = |group: &BTreeSet<Principal>| {
                    group.iter().any(|one| matches!(one, Principal::Sid(sid) if found.contains(sid)))
                };
                match groups.iter().find(|group| !there(group)) {
                    Some(group) => Err(Shortfall::Missing { missing: any_of(&said(group)) }),
                    None => Ok(()),
                }
            }
            (Self::NotWiderThan { kind, limit }, Value::Sddl(found)) => match compared(*kind, found, limit) {
                Some(Comparison::NotWider) => Ok(()),
                Some(Comparison::Wider(excess)) => Err(Shortfall::Wider { kind: *kind, excess }),
                Some(Comparison::CannotTell) | None => Err(Shortfall::CannotTell),
            },
            (
                Self::Text(_) | Self::TextOneOf(_) | Self::Prose(_) | Self::Terms(_) | Self::OtherThan(_),
                Value::Data(_) | Value::Text(_),
            ) => {
                let found = text(value);
                if self.admits_text(&found) { Ok(()) } else { Err(Shortfall::Text { found }) }
            }
            (_, Value::Data(_) | Value::Number(_) | Value::Interval { .. }) => {
                let found = number(value)?;
                if self.admits_number(found) { Ok(()) } else { Err(Shortfall::Number { found }) }
            }
            // A demand of one form on a setting of another: the catalog's reader lets none through.
            (_, value) => Err(Shortfall::OtherType { found: value.form(), required: form }),
        }
    }

    /// Returns the demand with every principal known by its SID on this machine.
    ///
    /// # Errors
    /// The first principal that this machine's hives cannot tell.
    pub fn resolved(&self, identity: &Identity) -> Result<Self, Principal> {
        let all = |group: &BTreeSet<Principal>| group.iter().map(|one| one.resolved(identity)).collect();
        Ok(match self {
            Self::Only(allowed) => Self::Only(all(allowed)?),
            Self::Includes(groups) => Self::Includes(groups.iter().map(all).collect::<Result<_, _>>()?),
            other => other.clone(),
        })
    }

    /// Returns the value to store for `plain` in this form; `None` if a number is wanted and `plain` is a text, or if
    /// the form is neither a number nor a text.
    pub fn encode(&self, form: Form, plain: &Plain) -> Option<Value> {
        match (form, plain) {
            (Form::Data(ValueType::DWORD), Plain::Number(number)) => Some(Value::dword(*number)),
            (Form::Data(ValueType::SZ), Plain::Number(number)) => Some(Value::sz(&number.to_string())),
            (Form::Data(ValueType::SZ), Plain::Text(text)) if matches!(self, Self::Prose(_)) => {
                Some(Value::sz(&text.lines().map(str::trim_end).collect::<Vec<_>>().join("\r\n")))
            }
            (Form::Data(ValueType::SZ), Plain::Text(text)) => Some(Value::sz(text)),
            (Form::Number, Plain::Number(number)) => Some(Value::Number(*number)),
            (Form::Text, Plain::Text(text)) => Some(Value::Text(text.clone())),
            _ => None,
        }
    }

    /// Returns the demand narrowed to an organization's `wish`, which is a value to write: a bound moves to it, a
    /// choice becomes it, and absence no longer passes. Of a range the upper end moves; the lower one only keeps out
    /// the number that switches the setting off.
    ///
    /// `None` if the wish does not fit the form, or lies outside the demand and `freedom` does not let it.
    pub fn narrowed(&self, form: Form, wish: &Plain, freedom: Override) -> Option<Self> {
        if let Self::AbsentOr(inner) = self {
            return inner.narrowed(form, wish, freedom);
        }
        let value = self.encode(form, wish)?;
        match freedom {
            Override::Within => self.judge(form, Some(&value)).ok()?,
            Override::Free => match wish {
                Plain::Text(text) if !text.trim().is_empty() => {}
                _ => return None,
            },
        }
        Some(match self {
            Self::AtLeast(_) => Self::AtLeast(number(&value).ok()?),
            Self::AtMost(_) => Self::AtMost(number(&value).ok()?),
            Self::Range(least, _) => Self::Range(*least, number(&value).ok()?),
            Self::Equals(_) | Self::OneOf(_) => Self::Equals(number(&value).ok()?),
            // Of several demands, the one that the wish meets is the organization's.
            Self::AnyOf(demands) => demands.iter().find_map(|demand| demand.narrowed(form, wish, freedom))?,
            Self::Prose(_) => Self::Prose(text(&value)),
            Self::Terms(_) => Self::Terms(text(&value)),
            Self::Text(_) | Self::TextOneOf(_) | Self::OtherThan(_) => Self::Text(text(&value)),
            Self::Flag(_)
            | Self::Records(_)
            | Self::Only(_)
            | Self::Includes(_)
            | Self::NotWiderThan { .. }
            | Self::Exactly(_)
            | Self::Present
            | Self::Absent
            | Self::AbsentOr(_) => return None,
        })
    }

    fn admits_number(&self, found: u32) -> bool {
        match self {
            Self::Equals(number) => found == *number,
            Self::OneOf(numbers) => numbers.contains(&found),
            Self::AtLeast(least) => found >= *least,
            Self::AtMost(most) => found <= *most,
            Self::Range(least, most) => (*least..=*most).contains(&found),
            _ => false,
        }
    }

    fn admits_text(&self, found: &str) -> bool {
        match self {
            Self::Text(text) => found == text,
            Self::TextOneOf(texts) => texts.iter().any(|text| text == found),
            Self::OtherThan(text) => found.to_lowercase() != text.to_lowercase(),
            Self::Prose(text) => found.split_whitespace().eq(text.split_whitespace()),
            Self::Terms(required) => {
                let (required, found) = (terms(required), terms(found));
                let twice = found.iter().any(|(name, value)| {
                    found.iter().any(|(other, other_value)| other == name && other_value != value)
                });
                !twice && required.iter().all(|term| found.contains(term))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(number) => write!(f, "{number}"),
            Self::OneOf(numbers) => f.write_str(&any_of(&numbers.iter().map(u32::to_string).collect::<Vec<_>>())),
            Self::AtLeast(least) => write!(f, "{least} or more"),
            Self::AtMost(most) => write!(f, "{most} or less"),
            Self::Range(least, most) => write!(f, "{least} to {most}"),
            Self::Text(text) | Self::Prose(text) | Self::Terms(text) => f.write_str(&quoted(text)),
            Self::TextOneOf(texts) => f.write_str(&any_of(&texts.iter().map(|text| quoted(text)).collect::<Vec<_>>())),
            Self::AbsentOr(inner) => write!(f, "{inner}, or absent"),
            Self::OtherThan(text) => write!(f, "another than {}", quoted(text)),
            Self::Flag(flag) => Value::Flag(*flag).fmt(f),
            Self::Records(flags) => write!(f, "at least {flags}"),
            Self::Only(allowed) if allowed.is_empty() => f.write_str("nobody"),
            Self::Only(allowed) => write!(f, "nobody but {}", said(allowed).join(", ")),
            Self::Includes(groups) => {
                let groups: Vec<String> = groups.iter().map(|group| any_of(&said(group))).collect();
                write!(f, "at least {}", groups.join(", "))
            }
            Self::NotWiderThan { limit, .. } => write!(f, "no wider than {limit}"),
            Self::Exactly(value) => value.fmt(f),
            Self::Present => f.write_str("present"),
            Self::Absent => f.write_str("absent"),
            Self::AnyOf(demands) => {
                f.write_str(&demands.iter().map(ToString::to_string).collect::<Vec<_>>().join(", or "))
            }
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the value is absent"),
            Self::OtherType { found, required } => write!(f, "the value is a {found} where a {required} is required"),
            Self::Misshapen { length_bytes } => write!(f, "the value is a REG_DWORD of {length_bytes} bytes"),
            Self::NotANumber { found } => write!(f, "the value is {}, which is no number", quoted(found)),
            Self::Number { found } => write!(f, "the value is {found}"),
            Self::Text { found } => write!(f, "the value is {}", quoted(found)),
            Self::Flag => f.write_str("it is the other way round"),
            Self::Audit { found } => write!(f, "{found} is recorded"),
            Self::Others { others } => {
                let others: Vec<String> = others.iter().map(|sid| Principal::Sid(sid.clone()).to_string()).collect();
                write!(f, "{} may not have it", others.join(", "))
            }
            Self::Missing { missing } => write!(f, "{missing} is missing"),
            Self::Other { found } => write!(f, "the value is {found}"),
            Self::Wider { excess, .. } if excess.is_empty() => f.write_str("everything is granted to everyone"),
            Self::Wider { kind, excess } => {
                // The same right is often granted at several depths: it is said once, with the nearest.
                let mut said: Vec<(&Sid, u32, String)> = Vec::new();
                for Excess { sid, scope, mask } in excess {
                    if !said.iter().any(|(known, rights, _)| *known == sid && *rights == *mask) {
                        let who = Principal::Sid(sid.clone());
                        let rights = access::rights(*kind, *mask).join(", ");
                        said.push((sid, *mask, format!("{who} may {rights} {scope}")));
                    }
                }
                f.write_str(&said.into_iter().map(|(_, _, text)| text).collect::<Vec<_>>().join("; "))
            }
            Self::CannotTell => f.write_str("the permissions have an entry that is not understood"),
            Self::Nowhere => f.write_str("there is nothing there whose permissions could be told"),
            Self::Present => f.write_str("it is there"),
        }
    }
}

/// Compares permissions with the widest ones; `None` if one of the texts is no descriptor.
fn compared(kind: access::Kind, found: &str, limit: &str) -> Option<Comparison> {
    let (found, limit) = (sddl::parse(found).ok()?, sddl::parse(limit).ok()?);
    Some(access::compare(kind, &Descriptor::parse(&found).ok()?, &Descriptor::parse(&limit).ok()?))
}

/// Returns a text, that of a registry value up to its first NUL, whatever its type.
fn text(value: &Value) -> String {
    match value {
        Value::Data(data) => utf16::decode_to_nul(&data.data),
        Value::Text(text) => text.clone(),
        _ => String::new(),
    }
}

fn number(value: &Value) -> Result<u32, Shortfall> {
    let data = match value {
        Value::Number(number) | Value::Interval { number, .. } => return Ok(*number),
        Value::Data(data) if data.kind == ValueType::DWORD => {
            return data.as_dword().ok_or(Shortfall::Misshapen { length_bytes: data.data.len() });
        }
        other => other,
    };
    let found = text(data);
    // `parse` alone would take a leading plus sign as well.
    match found.parse() {
        Ok(number) if found.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(Shortfall::NotANumber { found }),
    }
}

fn said(principals: &BTreeSet<Principal>) -> Vec<String> {
    principals.iter().map(ToString::to_string).collect()
}

/// Returns the comma-separated terms as names and values, without spaces and in lower case.
fn terms(text: &str) -> Vec<(String, String)> {
    text.split(',')
        .map(|term| term.split_whitespace().collect::<String>().to_lowercase())
        .filter(|term| !term.is_empty())
        .map(|term| match term.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (term, String::new()),
        })
        .collect()
}

/// Returns a text in quotation marks and in one line, cut where it is too long to be read in a table.
fn quoted(text: &str) -> String {
    const LONGEST_CHARS: usize = 100;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().nth(LONGEST_CHARS).is_none() {
        return format!("{line:?}");
    }
    let start: String = line.chars().take(LONGEST_CHARS).collect();
    format!("{:?}...", start.trim_end())
}

fn any_of(choices: &[String]) -> String {
    match choices {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DWORD: Form = Form::Data(ValueType::DWORD);
    const SZ: Form = Form::Data(ValueType::SZ);

    fn meets(require: &Requirement, form: Form, value: &Value) -> bool {
        require.judge(form, Some(value)).is_ok()
    }

    #[test]
    fn every_small_number_is_judged_as_its_demand_says() {
        type Case = (Requirement, fn(u32) -> bool);
        let cases: [Case; 5] = [
            (Requirement::Equals(5), |n| n == 5),
            (Requirement::OneOf(vec![0, 1, 2, 99]), |n| n < 3 || n == 99),
            (Requirement::AtLeast(7), |n| n >= 7),
            (Requirement::AtMost(4), |n| n < 5),
            (Requirement::Range(1, 30), |n| n != 0 && n < 31),
        ];
        for (require, expected) in &cases {
            for found in (0..=300).chain([u32::MAX - 1, u32::MAX]) {
                assert_eq!(meets(require, DWORD, &Value::dword(found)), expected(found), "{found} for {require}");
                assert_eq!(
                    meets(require, SZ, &Value::sz(&found.to_string())),
                    expected(found),
                    "{found} for {require}"
                );
            }
            assert_eq!(require.judge(DWORD, None), Err(Shortfall::Absent));
            let absent_or = Requirement::AbsentOr(Box::new(require.clone()));
            assert_eq!(absent_or.judge(DWORD, None), Ok(()));
            for found in 0..=300 {
                assert_eq!(meets(&absent_or, DWORD, &Value::dword(found)), expected(found));
            }
        }
    }

    #[test]
    fn a_value_of_another_type_is_open_and_the_reason_says_so() {
        let shortfall = Requirement::Equals(1).judge(DWORD, Some(&Value::sz("1"))).unwrap_err();
        assert_eq!(shortfall.to_string(), "the value is a REG_SZ where a REG_DWORD is required");
        assert!(!meets(&Requirement::AtMost(4), SZ, &Value::dword(4)));
        assert!(!meets(
            &Requirement::Text("1".into()),
            SZ,
            &Value::data(ValueType::EXPAND_SZ, utf16::encode_with_nul("1"))
        ));
        let absent_or = Requirement::AbsentOr(Box::new(Requirement::Equals(0)));
        assert!(!meets(&absent_or, DWORD, &Value::sz("0")), "there, but of another type");
    }

    #[test]
    fn permissions_are_no_wider_than_their_limit() {
        let limit = "D:(A;OICI;FA;;;SY)(A;OICI;FRFX;;;BU)".to_owned();
        let require = Requirement::NotWiderThan { kind: access::Kind::File, limit };
        let said =
            |found: &str| require.judge(Form::Sddl, Some(&Value::Sddl(found.to_owned()))).map_err(|s| s.to_string());
        assert_eq!(said("O:BAD:(A;OICI;FA;;;SY)(A;;FR;;;BU)"), Ok(()));
        assert_eq!(
            said("D:(A;;FRFW;;;BU)").unwrap_err(),
            "Users may write, append, write extended attributes, write attributes on the object itself"
        );
        assert_eq!(said("D:(A;OICI;DC;;;BU)").unwrap_err(), "Users may write on the object itself", "said once");
        assert_eq!(said("D:NO_ACCESS_CONTROL").unwrap_err(), "everything is granted to everyone");
        for odd in ["D:(XA;;FX;;;WD;(0x61727478))", "D:("] {
            assert_eq!(said(odd).unwrap_err(), Shortfall::CannotTell.to_string());
        }
        assert_eq!(require.judge(Form::Sddl, None), Err(Shortfall::Nowhere), "not narrow, and not wide");
    }

    #[test]
    fn a_dword_of_another_length_meets_nothing() {
        for length_bytes in [0, 1, 3, 5, 8] {
            let value = Value::data(ValueType::DWORD, vec![0; length_bytes]);
            let shortfall = Requirement::Range(0, u32::MAX).judge(DWORD, Some(&value)).unwrap_err();
            assert_eq!(shortfall, Shortfall::Misshapen { length_bytes });
        }
    }

    #[test]
    fn a_text_ends_at_its_first_nul() {
        let value = Value::data(ValueType::SZ, utf16::encode("4\0leftover"));
        assert!(meets(&Requirement::AtMost(4), SZ, &value));
        assert!(meets(&Requirement::Text("4".into()), SZ, &value));
        let without_nul = Value::data(ValueType::SZ, utf16::encode("4"));
        assert!(meets(&Requirement::Text("4".into()), SZ, &without_nul));
    }

    #[test]
    fn a_number_in_a_text_is_plain_digits() {
        for odd in ["", " 4", "4 ", "+4", "-1", "0x4", "four", "4.0", "4294967296", "\u{664}"] {
            assert!(!meets(&Requirement::AtMost(u32::MAX), SZ, &Value::sz(odd)), "{odd:?}");
        }
        assert!(meets(&Requirement::AtMost(4), SZ, &Value::sz("04")));
        assert!(!meets(&Requirement::AtMost(4), SZ, &Value::sz("10")), "compared as a number, not as a text");
    }

    #[test]
    fn prose_is_compared_without_regard_to_its_line_breaks() {
        let require = Requirement::Prose("You agree.\nTo this.".into());
        for found in ["You agree.\r\nTo this.", "You agree.\r\n\r\nTo this.\r\n", " You  agree. To\tthis."] {
            assert!(meets(&require, SZ, &Value::sz(found)), "{found:?}");
        }
        for found in ["", "You agree.", "you agree. To this.", "You agree.To this.", "You agree. To this. Really."] {
            assert!(!meets(&require, SZ, &Value::sz(found)), "{found:?}");
        }
    }

    #[test]
    fn prose_is_written_with_carriage_returns() {
        let require = Requirement::Prose(String::new());
        let value = require.encode(SZ, &Plain::Text("One.\nTwo. \r\nThree.\n".into())).unwrap();
        assert_eq!(value, Value::sz("One.\r\nTwo.\r\nThree."));
    }

    #[test]
    fn terms_are_a_set() {
        let require = Requirement::Terms("RequireMutualAuthentication=1, RequireIntegrity=1".into());
        for found in [
            "RequireMutualAuthentication=1, RequireIntegrity=1",
            "RequireIntegrity=1,RequireMutualAuthentication=1",
            " requireintegrity = 1 ,, REQUIREMUTUALAUTHENTICATION=1,",
            "RequireMutualAuthentication=1,RequireIntegrity=1,RequirePrivacy=1",
        ] {
            assert!(meets(&require, SZ, &Value::sz(found)), "{found}");
        }
        for found in [
            "",
            "RequireIntegrity=1",
            "RequireMutualAuthentication=1, RequireIntegrity=0",
            "RequireMutualAuthentication=1, RequireIntegrity=10",
            "RequireMutualAuthentication=1, RequireIntegrity=1, RequireIntegrity=0",
            "RequireMutualAuthentication=1; RequireIntegrity=1",
        ] {
            assert!(!meets(&require, SZ, &Value::sz(found)), "{found}");
        }
    }

    #[test]
    fn demands_read_as_people_say_them() {
        let said = [
            (Requirement::Equals(5), "5"),
            (Requirement::OneOf(vec![1, 3, 8]), "1, 3 or 8"),
            (Requirement::OneOf(vec![1, 2]), "1 or 2"),
            (Requirement::AtLeast(32768), "32768 or more"),
            (Requirement::AtMost(4), "4 or less"),
            (Requirement::Range(1, 900), "1 to 900"),
            (Requirement::Text("O:BAG".into()), "\"O:BAG\""),
            (Requirement::AbsentOr(Box::new(Requirement::Equals(0))), "0, or absent"),
        ];
        for (require, expected) in said {
            assert_eq!(require.to_string(), expected);
        }
        let long = Requirement::Prose("word ".repeat(200)).to_string();
        assert!(long.len() < 120 && long.ends_with("\"..."), "{long}");
    }

    #[test]
    fn an_organization_narrows_and_never_widens() {
        let narrowed = |require: &Requirement, kind, wish: &Plain| require.narrowed(kind, wish, Override::Within);
        let number = |number| Plain::Number(number);
        assert_eq!(narrowed(&Requirement::Range(1, 900), DWORD, &number(600)), Some(Requirement::Range(1, 600)));
        assert_eq!(narrowed(&Requirement::Range(1, 900), DWORD, &number(901)), None);
        assert_eq!(narrowed(&Requirement::Range(1, 900), DWORD, &number(0)), None);
        assert_eq!(narrowed(&Requirement::AtLeast(10), DWORD, &number(12)), Some(Requirement::AtLeast(12)));
        assert_eq!(narrowed(&Requirement::AtMost(4), SZ, &number(2)), Some(Requirement::AtMost(2)));
        assert_eq!(narrowed(&Requirement::AtMost(4), SZ, &Plain::Text("2".into())), Some(Requirement::AtMost(2)));
        let absent_or = Requirement::AbsentOr(Box::new(Requirement::OneOf(vec![1, 3, 8])));
        assert_eq!(narrowed(&absent_or, DWORD, &number(1)), Some(Requirement::Equals(1)), "absence passes no more");
        assert_eq!(narrowed(&absent_or, DWORD, &number(7)), None);
        assert_eq!(narrowed(&absent_or, DWORD, &Plain::Text("1".into())), None);
        let title = Requirement::TextOneOf(vec!["A".into(), "B".into()]);
        assert_eq!(narrowed(&title, SZ, &Plain::Text("C".into())), None);
        let free = |text: &str| title.narrowed(SZ, &Plain::Text(text.into()), Override::Free);
        assert_eq!(free("C"), Some(Requirement::Text("C".into())));
        assert_eq!(free(" \n"), None);
    }

    proptest! {
        #[test]
        fn what_an_organization_writes_always_meets_both_demands(least in any::<u32>(), most in any::<u32>(), wish in any::<u32>()) {
            let demands = [
                Requirement::Equals(least), Requirement::OneOf(vec![least, most]), Requirement::AtLeast(least),
                Requirement::AtMost(most), Requirement::Range(least, most),
                Requirement::AbsentOr(Box::new(Requirement::Range(least, most))),
            ];
            for require in demands {
                for kind in [DWORD, SZ] {
                    if let Some(narrower) = require.narrowed(kind, &Plain::Number(wish), Override::Within) {
                        let value = require.encode(kind, &Plain::Number(wish)).unwrap();
                        prop_assert!(meets(&require, kind, &value));
                        prop_assert!(meets(&narrower, kind, &value));
                    }
                }
            }
        }

        #[test]
        fn what_meets_the_narrower_demand_meets_the_wider(wish in 1..=900_u32, found in any::<u16>()) {
            let require = Requirement::Range(1, 900);
            let narrower = require.narrowed(DWORD, &Plain::Number(wish), Override::Within).unwrap();
            let value = Value::dword(found.into());
            prop_assert!(!meets(&narrower, DWORD, &value) || meets(&require, DWORD, &value));
        }

        #[test]
        fn no_bytes_make_a_judge_panic(kind in 0..12_u32, data in proptest::collection::vec(any::<u8>(), 0..64)) {
            let value = Value::data(ValueType(kind), data);
            for require in [
                Requirement::Equals(1), Requirement::Text("1".into()), Requirement::Prose("a b".into()),
                Requirement::Terms("a=1".into()), Requirement::AbsentOr(Box::new(Requirement::AtMost(3))),
            ] {
                for wanted in [DWORD, SZ] {
                    if let Err(shortfall) = require.judge(wanted, Some(&value)) {
                        prop_assert!(!shortfall.to_string().is_empty());
                    }
                }
            }
        }
    }
}
