//! A rule: its identifiers, on which machines it applies, what it checks, and what is risky about it.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::principal::Principal;
use super::require::{Override, Requirement};
use crate::windows::setting::{AuditFlags, Form, Setting, Value};

/// A rule of a benchmark. Either [`checks`](Self::checks) or [`not_reviewed`](Self::not_reviewed) says something.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Rule {
    /// The group's id, such as `V-254276`.
    pub vuln_id: String,
    /// The rule's id with its revision, such as `SV-254276r958478_rule`.
    pub rule_id: String,
    /// The STIG id, such as `WN22-00-000390`.
    pub stig_id: String,
    /// The severity.
    pub severity: Severity,
    /// What it is about.
    pub kind: RuleKind,
    /// For which servers it is.
    pub role: RuleScope,
    /// What else must hold for it to apply; all of them.
    pub applies: Vec<Condition>,
    /// What must be found on the machine for it to apply, such as the program that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_where: Option<Box<Gate>>,
    /// What holds when the rule is met, in one line.
    pub title: String,
    /// The control correlation identifiers, such as `CCI-000381`.
    pub ccis: Vec<String>,
    /// What to ask of a machine; all must pass.
    pub checks: Vec<Check>,
    /// Why this version cannot assess the rule, if it cannot.
    pub not_reviewed: Option<String>,
    /// What a pass or an open finding does not say.
    pub caveat: Option<String>,
    /// What the organization decides, if the value is its own; the value of [`Check::remedy`] is then a default.
    pub organization: Option<String>,
    /// What the rule can do to the first boot of an imported image.
    pub import_risk: Option<ImportRisk>,
    /// The publisher's own texts, if the rule was read from a file of his.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub official: Option<Box<Official>>,
}

impl Rule {
    /// Returns how far the rule is met here: what is done about an open finding, at best.
    pub fn reach(&self) -> Reach {
        let can = |check: &Check| !matches!(check.remedy, Remedy::Beyond(_));
        match &self.checks[..] {
            [] => Reach::NotReviewed,
            checks if checks.iter().any(can) => Reach::Applied,
            _ => Reach::Checked,
        }
    }
}

/// How far a rule is met on a powered-off machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// It is assessed, and what is open is changed.
    Applied,
    /// It is assessed, and what is open stays so, with a reason.
    Checked,
    /// It is not assessed, with a reason.
    NotReviewed,
}

/// What the publisher of a benchmark says of a rule. Catalogs that are built in carry none of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Official {
    /// The id of the requirement behind the rule, such as `SRG-OS-000095-GPOS-00049`.
    pub requirement: String,
    /// Why the rule is there.
    pub discussion: String,
    /// How a person checks it.
    pub check: String,
    /// How a person mends it.
    pub fix: String,
    /// The ids of the rule in earlier benchmarks, such as `V-73299`.
    pub legacy_ids: Vec<String>,
}

/// What a machine must have for a rule to be about it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Gate {
    /// One of these must be met, in every place of its setting.
    pub any: Vec<Check>,
    /// Why the rule does not apply where none of them is.
    pub otherwise: String,
}

/// One demand of a rule on one setting.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Check {
    /// The setting, as the benchmark names it: `CurrentControlSet` stands for the control sets that matter.
    pub setting: Setting,
    /// The form that the value must have.
    #[serde(rename = "type")]
    pub form: Form,
    /// What the value must be; serialized in words.
    #[serde(serialize_with = "in_words")]
    pub require: Requirement,
    /// What to do where it is not so; serialized in words.
    #[serde(serialize_with = "in_words")]
    pub remedy: Remedy,
    /// What else must hold of the machine for this check to be made; all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applies: Vec<Condition>,
    /// How far the organization may choose another value, if this is the one that it decides.
    #[serde(skip)]
    pub organization: Option<Override>,
}

/// What to do where a demand is not met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// Write this value.
    Set(Value),
    /// Record this as well.
    Record(AuditFlags),
    /// Give it to these, and leave it to nobody else whom the demand does not allow.
    Assign(BTreeSet<Principal>),
    /// Give it to these as well.
    Grant(BTreeSet<Principal>),
    /// Remove what is there.
    Remove,
    /// Nothing that can be done here, with the reason.
    Beyond(String),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |these: &BTreeSet<Principal>| these.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Set(value) => value.fmt(f),
            Self::Record(flags) => write!(f, "{flags}, beside what is recorded"),
            Self::Assign(these) if these.is_empty() => f.write_str("nobody"),
            Self::Assign(these) => f.write_str(&names(these)),
            Self::Grant(these) => write!(f, "{}, beside those who have it", names(these)),
            Self::Remove => f.write_str("removed"),
            Self::Beyond(reason) => write!(f, "nothing: {reason}"),
        }
    }
}

fn in_words<T: fmt::Display, S: serde::Serializer>(words: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(words)
}

/// How severe a finding is; DISA's CAT III, II and I.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// CAT III.
    Low,
    /// CAT II.
    Medium,
    /// CAT I.
    High,
}

impl Severity {
    /// Returns the word of the benchmarks: `low`, `medium` or `high`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Returns DISA's category: `CAT III`, `CAT II` or `CAT I`.
    pub fn category(self) -> &'static str {
        match self {
            Self::Low => "CAT III",
            Self::Medium => "CAT II",
            Self::High => "CAT I",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a rule is about, which tells where its setting lies.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// A local account or the members of a group.
    Account,
    /// Password, lockout or Kerberos policy.
    AccountPolicy,
    /// An object of Active Directory.
    AdObject,
    /// A subcategory of the audit policy.
    AuditPolicy,
    /// A certificate in a store.
    Certificate,
    /// A file that must or must not be there.
    File,
    /// Permissions of a file or folder.
    FileAcl,
    /// People, documents, procedures.
    Manual,
    /// A state of the running system or of its hardware.
    OsState,
    /// A registry value.
    Registry,
    /// Permissions of a registry key.
    RegistryAcl,
    /// A security option that is no registry value.
    SecurityOption,
    /// A service.
    Service,
    /// A privilege or a logon right.
    UserRight,
    /// A role or feature of Windows.
    WindowsFeature,
}

impl std::fmt::Display for RuleKind {
    /// Writes the word of the JSON documents.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// For which servers a rule is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum RuleScope {
    /// Every server.
    #[serde(rename = "both")]
    Both,
    /// Servers that are no domain controllers, joined or not.
    #[serde(rename = "ms")]
    MemberServer,
    /// Domain controllers.
    #[serde(rename = "dc")]
    DomainController,
}

/// What must hold of a machine for a rule to apply to it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The machine belongs to a domain.
    DomainJoined,
    /// The machine belongs to no domain.
    Standalone,
    /// The machine is no domain controller.
    NotOnDc,
    /// The installation has a desktop.
    NotOnServerCore,
}

/// What a rule can do to the first boot of an imported image, and what to do about it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRisk {
    /// What to do.
    pub advice: Advice,
    /// What can happen.
    pub reason: String,
    /// The numbers whose writing is no risk, so that a guard need not be proven for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safe_values: Vec<u32>,
}

/// What to do with a rule before an import.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Leave it for after the import.
    Hold,
    /// Apply it only where it is proven that what the reason names cannot happen.
    Guard,
    /// Apply it; the reason says what to expect.
    Apply,
}

impl std::fmt::Display for Advice {
    /// Writes the word of the JSON documents.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}
