//! What a rule demands, out of the prose that tells a person how to check it.
//!
//! DISA writes check texts after a dozen patterns. Each pattern has a file here; a text that none of them understands
//! gives nothing, and the rule stays for a person. A pattern that recognizes its beginning and not all that matters
//! gives nothing either: an expectation is never guessed.

mod account;
mod audit;
mod criteria;
mod editor;
mod installed;
mod registry;
mod rights;
mod role;
mod value;

use std::fmt;

pub use role::{Applies, applies};

/// One demand that a check text states.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expectation {
    /// A registry value.
    Registry {
        /// The key, from `HKLM\` or `HKCU\` on.
        key: String,
        /// The value's name.
        name: String,
        /// The type, such as `REG_DWORD`.
        kind: String,
        /// What the value must be.
        demand: ValueRequirement,
    },
    /// Who holds a privilege or logon right.
    UserRight {
        /// The right's constant, such as `SeDebugPrivilege`.
        right: String,
        /// On which machines this is demanded.
        scope: Scope,
        /// Who may or must hold it.
        holders: Holders,
    },
    /// A subcategory of the audit policy.
    Audit(AuditDemand),
    /// A field of the password or lockout policy, by its name in a security template, such as `LockoutDuration`.
    AccountPolicy {
        /// The field.
        field: String,
        /// What it must be; durations of lockout in minutes, ages of passwords in days.
        bound: Bound,
    },
    /// A field of the domain's Kerberos policy, by its name in the policy editor.
    Kerberos {
        /// The field.
        field: String,
        /// What it must be, in the unit of the editor.
        bound: Bound,
    },
    /// A security option that is no registry value, by its name in a security template, such as `EnableGuestAccount`.
    SecurityOption {
        /// The option.
        option: String,
        /// What it must be.
        demand: OptionDemand,
    },
    /// A property of every enabled account.
    EveryAccount(AccountDemand),
    /// A certificate that must be in a store of the machine.
    Certificate {
        /// The store, such as `Root` or `Disallowed`.
        store: String,
        /// The subject as it is written.
        subject: String,
        /// The SHA-1 thumbprint, 40 hex digits in upper case.
        thumbprint: String,
    },
    /// A role or feature of Windows that must not be installed, by its name in PowerShell.
    FeatureAbsent {
        /// The feature, such as `Telnet-Client`.
        name: String,
    },
}

/// What a registry value must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValueRequirement {
    /// The values that pass.
    pub bound: Bound,
    /// Whether it passes if the value is not there.
    pub absent_passes: bool,
    /// Whether an organization may choose a text of its own.
    pub free: bool,
    /// Whether the text contradicts itself, hexadecimal against decimal; the decimal number is taken.
    pub slip: bool,
}

/// Which values pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bound {
    /// One number.
    Equals(u32),
    /// One of several numbers.
    OneOf(Vec<u32>),
    /// That number or more.
    AtLeast(u32),
    /// That number or more, or 0, which stands for "without end".
    AtLeastOrZero(u32),
    /// That number or less.
    AtMost(u32),
    /// Any number from the first to the second.
    Range(u32, u32),
    /// One text.
    Text(String),
    /// One of several texts.
    TextOneOf(Vec<String>),
    /// A text of several lines, whose line breaks do not matter.
    Prose(String),
    /// Comma-separated terms, in any order and among others.
    Terms(String),
    /// None: the value must not be there.
    Absent,
}

/// On which machines something is demanded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// On every machine to which the rule applies.
    Every,
    /// On members of a domain.
    Joined,
    /// On machines that belong to no domain.
    Standalone,
}

/// Who may or must hold a right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Holders {
    /// Nobody but these; those that are only tolerated need not be given it.
    Only {
        /// Who holds it.
        these: Vec<Principal>,
        /// Who may hold it as well.
        tolerated: Vec<Principal>,
    },
    /// All of these, and perhaps others.
    Include(Vec<Principal>),
}

/// Who holds a right, as far as a check text can say it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Principal {
    /// The same on every machine, such as `S-1-5-32-544`.
    Sid(String),
    /// Relative to the machine's domain, such as 512.
    Domain(u32),
    /// Relative to the root of the machine's forest, such as 519.
    RootDomain(u32),
    /// One of several.
    AnyOf(Vec<Principal>),
}

/// A demand on a subcategory of the audit policy; each part that is not demanded may be either way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditDemand {
    /// The name that `auditpol` prints in English.
    pub subcategory: &'static str,
    /// Whether successes must be recorded.
    pub success: bool,
    /// Whether failures must be recorded.
    pub failure: bool,
}

/// What every enabled account must have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccountDemand {
    /// A password.
    PasswordRequired,
    /// A password that ages.
    PasswordExpires,
}

/// What a security option must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OptionDemand {
    /// Switched off.
    Disabled,
    /// Any text but this one.
    Not(String),
}

/// Reads what a text demands after one pattern; `None` if it is not of that pattern.
type Pattern = fn(&str) -> Option<Vec<Expectation>>;

/// Reads what a check text demands; `None` if it is not understood.
pub fn expect(check: &str) -> Option<Vec<Expectation>> {
    let text = plain(check);
    let patterns: [Pattern; 8] = [
        registry::read,
        rights::read,
        audit::read,
        account::read,
        editor::read,
        installed::features,
        installed::certificates,
        criteria::read,
    ];
    patterns.into_iter().find_map(|pattern| pattern(&text).filter(|found| !found.is_empty()))
}

/// Returns a text with the plain forms of quotation marks, dashes and spaces.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\r' && *c != '\u{feff}' && *c != '\u{200b}')
        .map(|c| match c {
            '\u{201c}' | '\u{201d}' | '\u{201e}' => '"',
            '\u{2018}' | '\u{2019}' => '\'',
            '\u{2013}' | '\u{2014}' => '-',
            '\u{a0}' | '\t' | '\u{2009}' | '\u{202f}' => ' ',
            other => other,
        })
        .collect()
}

/// Returns the parts of a text that stand in double quotation marks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// Returns what follows a prefix, in upper or lower case.
fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sid(sid) => f.write_str(sid),
            Self::Domain(rid) => write!(f, "S-1-5-domain-{rid}"),
            Self::RootDomain(rid) => write!(f, "S-1-5-rootdomain-{rid}"),
            Self::AnyOf(choices) => {
                let choices: Vec<String> = choices.iter().map(ToString::to_string).collect();
                write!(f, "({})", choices.join("|"))
            }
        }
    }
}
