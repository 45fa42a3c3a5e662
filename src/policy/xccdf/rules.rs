//! A benchmark's document as a catalog of rules.
//!
//! What the document says counts: ids, severities, titles, machines, and the demands that its prose states. What it
//! cannot say comes from the built-in rule of the same group, if there is one: the reason why something is not
//! reviewed, the note on an organization's choice, the value to write among several, the risk at an import. A rule
//! whose prose is not understood is taken from the built-in rule of the same revision, which was made from the same
//! text; of another revision it is not reviewed.

use std::collections::BTreeSet;

use serde::Serialize;

use super::prose::{
    AccountDemand, Bound, Expectation, Holders, OptionDemand, Principal as Named, Scope, ValueRequirement, applies,
    expect,
};
use super::{Document, Entry};
use crate::policy::catalog::{Catalog, catalogs};
use crate::policy::error::Error;
use crate::policy::principal::Principal;
use crate::policy::require::{Override, Plain, Requirement};
use crate::policy::rule::{Check, Condition, ImportRisk, Official, Remedy, Rule, RuleKind};
use crate::windows::setting::{
    AccountPolicyField, AccountProperty, AuditFlags, Form, SecurityOption, Setting, Value, ValueType,
};

const NOT_UNDERSTOOD: &str = "The benchmark's text for this rule is not understood, so a person must check it";
const NOT_HANDLED: &str = "The benchmark's text is understood, but what it asks for is not assessed by this version";
const CHOICE: &str = "The benchmark leaves a choice";
const CERTIFICATE: &str = "The certificate itself is needed, and it is not part of this program: install it with \
                           InstallRoot, or after the import";
const SERVICING: &str =
    "Only Windows's own servicing removes a feature: use Uninstall-WindowsFeature on the running machine";
const NEW_NAME: &str = "The new name is the organization's: give it in the values file";

/// Where the checks of an imported rule come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The benchmark's prose, which demands what the built-in rule demands.
    Agreed,
    /// The benchmark's prose alone.
    Prose,
    /// The built-in rule of the same revision, because the prose is not understood.
    BuiltIn,
    /// There are none: the rule is not reviewed.
    None,
}

/// A benchmark as a catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Imported {
    /// The catalog.
    pub catalog: Catalog,
    /// For each rule of the catalog, where its checks come from.
    pub origins: Vec<Origin>,
}

impl Imported {
    /// Makes a catalog of a document.
    pub fn of(document: &Document) -> Self {
        let same = catalogs().into_iter().find(|catalog| catalog.benchmark.eq_ignore_ascii_case(&document.id));
        let mut ruled: Vec<(Rule, Origin)> = document.rules.iter().map(rule).collect();
        ruled.sort_by(|(one, _), (other, _)| one.stig_id.cmp(&other.stig_id));
        let (rules, origins) = ruled.into_iter().unzip();
        let catalog = Catalog {
            id: same.map_or_else(|| document.id.clone(), |same| same.id.clone()),
            title: document.title.clone(),
            benchmark: document.id.clone(),
            version: document.version,
            release: document.release,
            date: document.date.clone(),
            builds: same.map(|same| same.builds.clone()).unwrap_or_default(),
            sha256: document.sha256,
            rules,
            is_component: same.is_some_and(|same| same.is_component),
            components: Vec::new(),
        };
        Self { catalog, origins }
    }
}

impl Catalog {
    /// Makes a catalog of a benchmark file (XCCDF, or its archive), beside which nothing built in decides what is
    /// demanded.
    ///
    /// # Errors
    /// [`Error::Benchmark`].
    pub fn of_benchmark(file: &[u8]) -> Result<Self, Error> {
        let document = super::read(file).map_err(Box::new)?;
        Ok(Imported::of(&document).catalog)
    }
}

fn rule(entry: &Entry) -> (Rule, Origin) {
    let known = catalogs().into_iter().flat_map(|catalog| &catalog.rules).find(|rule| rule.vuln_id == entry.vuln_id);
    let applies = applies(&entry.stig_id, &entry.check);
    let expected = expect(&entry.check);
    let kind = match (known, &expected) {
        (Some(known), _) => known.kind,
        (None, Some(expected)) => expected.first().map_or(RuleKind::Manual, kind),
        (None, None) => RuleKind::Manual,
    };
    let stated: Option<Vec<Check>> = expected.as_ref().and_then(|expected| expected.iter().map(check).collect());
    let same_revision = known.filter(|known| known.rule_id == entry.rule_id);
    let (mut checks, origin) = match stated {
        Some(stated) => {
            let kept = known.and_then(|known| agreeing(&stated, &known.checks));
            match kept {
                Some(kept) => (kept, Origin::Agreed),
                None => {
                    (known.map_or_else(|| stated.clone(), |known| inheriting(&stated, &known.checks)), Origin::Prose)
                }
            }
        }
        None => match same_revision.filter(|known| !known.checks.is_empty()) {
            Some(known) => (known.checks.clone(), Origin::BuiltIn),
            None => (Vec::new(), Origin::None),
        },
    };
    // One value at most is the organization's, so that a values file can name it by the rule.
    if checks.iter().filter(|check| check.organization.is_some()).count() > 1 {
        for check in &mut checks {
            check.organization = None;
        }
    }
    let noted = known.and_then(|known| known.organization.clone());
    let organization = match (checks.is_empty(), checks.iter().any(|check| check.organization.is_some())) {
        (true, _) => noted,
        (false, true) => noted.or_else(|| Some(CHOICE.to_owned())),
        (false, false) => None,
    };
    let not_reviewed =
        checks.is_empty().then(|| match (known.and_then(|known| known.not_reviewed.clone()), expected) {
            (Some(reason), _) => reason,
            (None, Some(_)) => NOT_HANDLED.to_owned(),
            (None, None) => NOT_UNDERSTOOD.to_owned(),
        });
    let import_risk = known.map_or_else(|| risk_of(&checks), |known| known.import_risk.clone());
    let rule = Rule {
        vuln_id: entry.vuln_id.clone(),
        rule_id: entry.rule_id.clone(),
        stig_id: entry.stig_id.clone(),
        severity: entry.severity,
        kind,
        role: applies.role,
        applies: applies.conditions,
        only_where: known.and_then(|known| known.only_where.clone()),
        title: entry.title.clone(),
        ccis: entry.ccis.clone(),
        checks,
        not_reviewed,
        caveat: known.and_then(|known| known.caveat.clone()),
        organization,
        import_risk,
        official: Some(Box::new(Official {
            requirement: entry.requirement.clone(),
            discussion: entry.discussion.clone(),
            check: entry.check.clone(),
            fix: entry.fix.clone(),
            legacy_ids: entry.legacy_ids.clone(),
        })),
    };
    (rule, origin)
}

/// Returns the built-in checks if they demand what the prose demands, setting by setting.
fn agreeing(stated: &[Check], known: &[Check]) -> Option<Vec<Check>> {
    let same = |stated: &Check, known: &Check| {
        folded(&stated.setting) == folded(&known.setting)
            && stated.form == known.form
            && stated.applies == known.applies
            && alike(&stated.require, &known.require)
    };
    let all = stated.len() == known.len() && stated.iter().all(|one| known.iter().any(|other| same(one, other)));
    all.then(|| known.to_vec())
}

/// Returns whether two demands are the same; the order of choices and the breaks of lines do not matter.
fn alike(one: &Requirement, other: &Requirement) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match (one, other) {
        (Requirement::OneOf(one), Requirement::OneOf(other)) => {
            one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
        }
        (Requirement::TextOneOf(one), Requirement::TextOneOf(other)) => {
            one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
        }
        // The digits of a text, whether they are read as a number or not.
        (Requirement::OneOf(numbers), Requirement::TextOneOf(texts))
        | (Requirement::TextOneOf(texts), Requirement::OneOf(numbers)) => {
            numbers.iter().map(u32::to_string).collect::<BTreeSet<_>>() == texts.iter().cloned().collect()
        }
        (Requirement::Prose(one), Requirement::Prose(other)) => words(one) == words(other),
        (Requirement::AbsentOr(one), Requirement::AbsentOr(other)) => alike(one, other),
        _ => one == other,
    }
}

/// Returns the stated checks with what the built-in ones of the same settings add: which value to write, and how far
/// an organization may choose. A value that does not meet the stated demand is not taken.
fn inheriting(stated: &[Check], known: &[Check]) -> Vec<Check> {
    let inherit = |stated: &Check| {
        let twin = known.iter().find(|known| folded(&known.setting) == folded(&stated.setting));
        let Some(twin) = twin.filter(|twin| twin.form == stated.form) else { return stated.clone() };
        let fits = matches!(&twin.remedy, Remedy::Set(value) if stated.require.judge(stated.form, Some(value)).is_ok());
        Check {
            remedy: if fits { twin.remedy.clone() } else { stated.remedy.clone() },
            organization: twin.organization.or(stated.organization),
            ..stated.clone()
        }
    };
    stated.iter().map(inherit).collect()
}

/// Returns the import risk of a built-in rule that touches one of these settings.
fn risk_of(checks: &[Check]) -> Option<ImportRisk> {
    let settings: BTreeSet<Setting> = checks.iter().map(|check| folded(&check.setting)).collect();
    let touches = |rule: &&Rule| rule.checks.iter().any(|check| settings.contains(&folded(&check.setting)));
    let rules = catalogs().into_iter().flat_map(|catalog| &catalog.rules);
    rules.filter(touches).find_map(|rule| rule.import_risk.clone())
}

/// Windows does not tell keys and names apart by their case.
fn folded(setting: &Setting) -> Setting {
    match setting.clone() {
        Setting::Registry { key, name } => Setting::Registry { key: key.to_uppercase(), name: name.to_uppercase() },
        other => other,
    }
}

fn kind(expectation: &Expectation) -> RuleKind {
    match expectation {
        Expectation::Registry { .. } => RuleKind::Registry,
        Expectation::UserRight { .. } => RuleKind::UserRight,
        Expectation::Audit(_) => RuleKind::AuditPolicy,
        Expectation::AccountPolicy { .. } | Expectation::Kerberos { .. } => RuleKind::AccountPolicy,
        Expectation::SecurityOption { .. } => RuleKind::SecurityOption,
        Expectation::EveryAccount(_) => RuleKind::Account,
        Expectation::Certificate { .. } => RuleKind::Certificate,
        Expectation::FeatureAbsent { .. } => RuleKind::WindowsFeature,
    }
}

/// Returns the check of an expectation; `None` if nothing here can be asked for it.
fn check(expectation: &Expectation) -> Option<Check> {
    let plain = |setting, form, require, remedy| Check {
        setting,
        form,
        require,
        remedy,
        applies: Vec::new(),
        organization: None,
    };
    Some(match expectation {
        Expectation::Registry { key, name, kind, demand } => registry(key, name, kind, demand)?,
        Expectation::UserRight { right, scope, holders } => {
            let (require, remedy) = holding(holders)?;
            let applies = match scope {
                Scope::Every => Vec::new(),
                Scope::Joined => vec![Condition::DomainJoined],
                Scope::Standalone => vec![Condition::Standalone],
            };
            Check { applies, ..plain(Setting::user_right(right), Form::Sids, require, remedy) }
        }
        Expectation::Audit(demand) => {
            let flags = AuditFlags { success: demand.success, failure: demand.failure };
            let setting = Setting::AuditPolicy { subcategory: demand.subcategory.to_owned() };
            plain(setting, Form::Audit, Requirement::Records(flags), Remedy::Record(flags))
        }
        Expectation::AccountPolicy { field, bound } => {
            let setting = Setting::AccountPolicy { field: policy_field(field)? };
            // What is yes or no is one number, not "1 or more".
            let bound = match (field.as_str(), bound) {
                ("PasswordComplexity", Bound::AtLeast(1)) => &Bound::Equals(1),
                (_, bound) => bound,
            };
            let (require, set) = bounded(bound)?;
            let value = require.encode(Form::Number, &set)?;
            let organization = chooses(&require).then_some(Override::Within);
            Check { organization, ..plain(setting, Form::Number, require, Remedy::Set(value)) }
        }
        Expectation::SecurityOption { option, demand } => return security_option(option, demand),
        Expectation::EveryAccount(demand) => {
            let property = match demand {
                AccountDemand::PasswordRequired => AccountProperty::PasswordRequired,
                AccountDemand::PasswordExpires => AccountProperty::PasswordExpires,
            };
            let remedy = Remedy::Set(Value::Flag(true));
            plain(Setting::Account { rid: None, property }, Form::Flag, Requirement::Flag(true), remedy)
        }
        Expectation::Certificate { store, thumbprint, .. } => {
            let store = if store == "Root" { "ROOT".to_owned() } else { store.clone() };
            let setting = Setting::Certificate { store, thumbprint: thumbprint.clone() };
            plain(setting, Form::Certificate, Requirement::Present, Remedy::Beyond(CERTIFICATE.to_owned()))
        }
        Expectation::FeatureAbsent { name } => {
            let remedy = Remedy::Beyond(SERVICING.to_owned());
            plain(Setting::Feature { name: name.clone() }, Form::Text, Requirement::Absent, remedy)
        }
        Expectation::Kerberos { .. } => return None,
    })
}

fn registry(key: &str, name: &str, kind: &str, demand: &ValueRequirement) -> Option<Check> {
    let setting = Setting::Registry { key: key.to_owned(), name: name.to_owned() };
    if demand.bound == Bound::Absent {
        let form = Form::Data(ValueType::DWORD);
        let (require, remedy) = (Requirement::Absent, Remedy::Remove);
        return Some(Check { setting, form, require, remedy, applies: Vec::new(), organization: None });
    }
    let form = Form::Data(match ValueType::from_name(kind)? {
        kind @ (ValueType::DWORD | ValueType::SZ) => kind,
        _ => return None,
    });
    let (require, set) = bounded(&demand.bound)?;
    let require = match require {
        // A text of digits that must be one is compared as a text.
        Requirement::OneOf(numbers) if kind == "REG_SZ" => {
            Requirement::TextOneOf(numbers.iter().map(u32::to_string).collect())
        }
        Requirement::Equals(number) if kind == "REG_SZ" => Requirement::Text(number.to_string()),
        other => other,
    };
    let set = require.encode(form, &set)?;
    let organization = match (demand.free, chooses(&require)) {
        (true, _) => Some(Override::Free),
        (false, true) => Some(Override::Within),
        (false, false) => None,
    };
    let require = if demand.absent_passes { Requirement::AbsentOr(Box::new(require)) } else { require };
    Some(Check { setting, form, require, remedy: Remedy::Set(set), applies: Vec::new(), organization })
}

/// Returns a bound as a demand, with the value to write: the first one that is named.
fn bounded(bound: &Bound) -> Option<(Requirement, Plain)> {
    Some(match bound {
        Bound::Equals(number) => (Requirement::Equals(*number), Plain::Number(*number)),
        Bound::OneOf(numbers) => (Requirement::OneOf(numbers.clone()), Plain::Number(*numbers.first()?)),
        Bound::AtLeast(least) => (Requirement::AtLeast(*least), Plain::Number(*least)),
        Bound::AtLeastOrZero(least) => {
            let demands = vec![Requirement::OneOf(vec![0]), Requirement::AtLeast(*least)];
            (Requirement::AnyOf(demands), Plain::Number(*least))
        }
        Bound::AtMost(most) => (Requirement::AtMost(*most), Plain::Number(*most)),
        Bound::Range(least, most) => (Requirement::Range(*least, *most), Plain::Number(*most)),
        Bound::Text(text) => (Requirement::Text(text.clone()), Plain::Text(text.clone())),
        Bound::TextOneOf(texts) => (Requirement::TextOneOf(texts.clone()), Plain::Text(texts.first()?.clone())),
        Bound::Prose(text) => (Requirement::Prose(text.clone()), Plain::Text(text.clone())),
        Bound::Terms(terms) => (Requirement::Terms(terms.clone()), Plain::Text(terms.clone())),
        Bound::Absent => return None,
    })
}

/// Tells whether a demand leaves a choice.
fn chooses(require: &Requirement) -> bool {
    matches!(
        require,
        Requirement::OneOf(_)
            | Requirement::TextOneOf(_)
            | Requirement::AtLeast(_)
            | Requirement::AtMost(_)
            | Requirement::Range(..)
            | Requirement::AnyOf(_)
    )
}

fn holding(holders: &Holders) -> Option<(Requirement, Remedy)> {
    let set = |these: &[Named]| these.iter().map(principal).collect::<Option<BTreeSet<_>>>();
    Some(match holders {
        Holders::Only { these, tolerated } => {
            let these = set(these)?;
            let allowed = these.union(&set(tolerated)?).cloned().collect();
            (Requirement::Only(allowed), Remedy::Assign(these))
        }
        Holders::Include(these) => {
            let choices = |named: &Named| match named {
                Named::AnyOf(choices) => choices.iter().map(principal).collect::<Option<Vec<_>>>(),
                one => principal(one).map(|one| vec![one]),
            };
            let groups = these.iter().map(choices).collect::<Option<Vec<_>>>()?;
            // Of alternatives the first one written is given the right.
            let first = groups.iter().filter_map(|group| group.first().cloned()).collect();
            let groups = groups.into_iter().map(|group| group.into_iter().collect()).collect();
            (Requirement::Includes(groups), Remedy::Grant(first))
        }
    })
}

fn principal(named: &Named) -> Option<Principal> {
    match named {
        Named::Sid(sid) => sid.parse().ok().map(Principal::Sid),
        Named::Domain(rid) => Some(Principal::Domain(*rid)),
        Named::RootDomain(rid) => Some(Principal::ForestRoot(*rid)),
        Named::AnyOf(_) => None,
    }
}

fn policy_field(field: &str) -> Option<AccountPolicyField> {
    Some(match field {
        "ClearTextPassword" => AccountPolicyField::ReversibleEncryption,
        "LockoutBadCount" => AccountPolicyField::LockoutThreshold,
        "LockoutDuration" => AccountPolicyField::LockoutDuration,
        "MaximumPasswordAge" => AccountPolicyField::MaximumPasswordAge,
        "MinimumPasswordAge" => AccountPolicyField::MinimumPasswordAge,
        "MinimumPasswordLength" => AccountPolicyField::MinimumPasswordLength,
        "PasswordComplexity" => AccountPolicyField::PasswordComplexity,
        "PasswordHistorySize" => AccountPolicyField::PasswordHistory,
        "ResetLockoutCount" => AccountPolicyField::LockoutWindow,
        _ => return None,
    })
}

fn security_option(option: &str, demand: &OptionDemand) -> Option<Check> {
    let account = |rid, property| Setting::Account { rid: Some(rid), property };
    let setting = match (option, demand) {
        ("EnableGuestAccount", OptionDemand::Disabled) => account(501, AccountProperty::Enabled),
        ("LSAAnonymousNameLookup", OptionDemand::Disabled) => {
            Setting::SecurityOption { option: SecurityOption::AnonymousNameTranslation }
        }
        ("NewAdministratorName", OptionDemand::Not(_)) => account(500, AccountProperty::Name),
        ("NewGuestName", OptionDemand::Not(_)) => account(501, AccountProperty::Name),
        _ => return None,
    };
    Some(match demand {
        OptionDemand::Disabled => Check {
            setting,
            form: Form::Flag,
            require: Requirement::Flag(false),
            remedy: Remedy::Set(Value::Flag(false)),
            applies: Vec::new(),
            organization: None,
        },
        OptionDemand::Not(name) => Check {
            setting,
            form: Form::Text,
            require: Requirement::OtherThan(name.clone()),
            remedy: Remedy::Beyond(NEW_NAME.to_owned()),
            applies: Vec::new(),
            organization: Some(Override::Within),
        },
    })
}
