//! The TOML document of a catalog (schema `coldforge/catalog/1`), and the one function that makes rules of it.
//!
//! The document is taken as it is written, unknown members refused, and then checked rule by rule, so that an error
//! names the rule. A value to write that does not meet its own demand is refused here, before any machine is asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Catalog;
use crate::policy::error::{Error, RuleFault};
use crate::policy::principal::Principal;
use crate::policy::require::{Override, Plain, Requirement};
use crate::policy::rule::{Check, Condition, Gate, ImportRisk, Remedy, Rule, RuleKind, RuleScope, Severity};
use crate::windows::setting::{AccountProperty, AuditFlags, Data, Form, Setting, Value, ValueType};
use coldforge_base::digest::Digest;
use coldforge_base::{access, hex, sddl, utf16};

const SCHEMA: &str = "coldforge/catalog/1";
const DOCUMENT: &str = "rule catalog";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalog {
    #[serde(rename = "schema")]
    _schema: String,
    id: String,
    title: String,
    benchmark: String,
    version: u32,
    release: u32,
    date: String,
    builds: Vec<u32>,
    /// For what program the rules are, where they are not for Windows itself.
    only_where: Option<RawGate>,
    #[serde(default)]
    texts: BTreeMap<String, String>,
    #[serde(default)]
    not_reviewed: BTreeMap<String, String>,
    #[serde(default)]
    rule: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    stig_id: String,
    vuln_id: String,
    rule_id: String,
    title: String,
    severity: String,
    kind: String,
    role: String,
    #[serde(default)]
    applies: Vec<String>,
    only_where: Option<RawGate>,
    #[serde(default)]
    ccis: Vec<String>,
    organization: Option<String>,
    caveat: Option<String>,
    import_risk: Option<ImportRisk>,
    not_reviewed: Option<String>,
    #[serde(default)]
    check: Vec<RawCheck>,
}

/// What must be found for a rule, or a whole catalog, to apply.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct RawGate {
    otherwise: String,
    any: Vec<RawCheck>,
}

/// A check: what it asks, what it demands, and what to do where the demand is not met.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct RawCheck {
    // What it asks: one of these.
    key: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    audit_policy: Option<String>,
    account_policy: Option<String>,
    user_right: Option<String>,
    account: Option<String>,
    rid: Option<u32>,
    group: Option<u32>,
    security_option: Option<String>,
    registry_acl: Option<String>,
    file_acl: Option<String>,
    file: Option<String>,
    pub(in crate::policy) certificate: Option<String>,
    store: Option<String>,
    service: Option<String>,
    feature: Option<String>,
    // What it demands: one of these.
    equals: Option<toml::Value>,
    one_of: Option<Vec<toml::Value>>,
    at_least: Option<u32>,
    at_most: Option<u32>,
    range: Option<(u32, u32)>,
    prose: Option<String>,
    terms: Option<String>,
    other_than: Option<String>,
    records: Option<Vec<String>>,
    only: Option<Vec<String>>,
    includes: Option<Vec<Vec<String>>>,
    no_wider_than: Option<String>,
    pub(in crate::policy) present: Option<bool>,
    /// How a service starts.
    starts: Option<String>,
    // How far.
    /// Numbers that meet a bound although they lie outside it, such as the 0 that means "for ever".
    #[serde(default)]
    or: Vec<u32>,
    /// Holders that may stay beside those of `only`, and are not given the right.
    #[serde(default)]
    tolerates: Vec<String>,
    #[serde(default)]
    absent_passes: bool,
    // What to do.
    set: Option<toml::Value>,
    /// Why nothing can be set here.
    pub(in crate::policy) beyond: Option<String>,
    organization: Option<String>,
    #[serde(default)]
    applies: Vec<String>,
}

/// Reads a catalog.
pub(super) fn read(text: &str) -> Result<Catalog, Error> {
    let misread = |source| Error::Document { document: DOCUMENT, source: Box::new(source) };
    let table: toml::Table = text.parse().map_err(misread)?;
    let found = table.get("schema").and_then(toml::Value::as_str).unwrap_or_default();
    if found != SCHEMA {
        return Err(Error::Schema { document: DOCUMENT, found: found.to_owned(), expected: SCHEMA });
    }
    let raw: RawCatalog = table.try_into().map_err(misread)?;

    let faulty = |rule: &str, fault| Error::Rule { rule: rule.to_owned(), source: Box::new(fault) };
    let whole = raw.only_where.map(|raw| gate(raw, &BTreeMap::new())).transpose();
    let whole = whole.map_err(|fault| faulty("only_where", fault))?;
    let is_component = whole.is_some();
    let mut ids = BTreeSet::new();
    let mut rules = Vec::with_capacity(raw.rule.len());
    for (at, table) in raw.rule.into_iter().enumerate() {
        let name = match table.get("stig_id").and_then(toml::Value::as_str) {
            Some(stig_id) => stig_id.to_owned(),
            None => format!("number {}", at.saturating_add(1)),
        };
        let rule = rule(table, &raw.texts, &raw.not_reviewed)
            .and_then(|rule| claim(&mut ids, &rule).map(|()| rule))
            .map_err(|fault| faulty(&name, fault))?;
        let only_where = rule.only_where.or_else(|| whole.clone());
        rules.push(Rule { only_where, ..rule });
    }
    Ok(Catalog {
        id: raw.id,
        title: raw.title,
        benchmark: raw.benchmark,
        version: raw.version,
        release: raw.release,
        date: raw.date,
        builds: raw.builds,
        sha256: Digest::of(text.as_bytes()),
        rules,
        is_component,
        components: Vec::new(),
    })
}

/// Takes the ids of a rule, which no other rule may have.
fn claim(ids: &mut BTreeSet<String>, rule: &Rule) -> Result<(), RuleFault> {
    for id in [&rule.stig_id, &rule.vuln_id, &rule.rule_id] {
        if !ids.insert(id.to_uppercase()) {
            return Err(RuleFault::Duplicate { id: id.clone() });
        }
    }
    Ok(())
}

fn rule(
    table: toml::Table,
    texts: &BTreeMap<String, String>,
    reasons: &BTreeMap<String, String>,
) -> Result<Rule, RuleFault> {
    let raw: RawRule = table.try_into().map_err(Box::new)?;
    id("vuln_id", &raw.vuln_id, "V-")?;
    id("rule_id", &raw.rule_id, "SV-")?;
    id("stig_id", &raw.stig_id, "")?;
    let severity: Severity = word("severity", &raw.severity, "high, medium or low")?;
    let kind: RuleKind = word("kind", &raw.kind, "a kind such as registry, user_right or audit_policy")?;
    let role: RuleScope = word("role", &raw.role, "both, ms or dc")?;
    let applies = conditions(&raw.applies)?;
    let checks = raw.check.into_iter().map(|raw| check(raw, texts)).collect::<Result<Vec<_>, _>>()?;
    let not_reviewed = match raw.not_reviewed {
        Some(name) => match reasons.get(&name) {
            Some(reason) => Some(reason.clone()),
            None => return Err(RuleFault::Unnamed { name, table: "not_reviewed" }),
        },
        None => None,
    };
    if checks.is_empty() == not_reviewed.is_none() {
        return Err(RuleFault::ChecksOrReason);
    }
    // A rule that cannot be assessed may still be the organization's to decide: the note says so.
    let (count, noted) =
        (checks.iter().filter(|check| check.organization.is_some()).count(), raw.organization.is_some());
    if count > 1 || (!checks.is_empty() && (count == 1) != noted) {
        return Err(RuleFault::Organization { count, noted });
    }
    Ok(Rule {
        vuln_id: raw.vuln_id,
        rule_id: raw.rule_id,
        stig_id: raw.stig_id,
        severity,
        kind,
        role,
        applies,
        only_where: raw.only_where.map(|raw| gate(raw, texts)).transpose()?,
        title: raw.title,
        ccis: raw.ccis,
        checks,
        not_reviewed,
        caveat: raw.caveat,
        organization: raw.organization,
        import_risk: raw.import_risk,
        official: None,
    })
}

/// Returns a gate; its checks are only looked at, so they need no remedy.
pub(in crate::policy) fn gate(raw: RawGate, texts: &BTreeMap<String, String>) -> Result<Box<Gate>, RuleFault> {
    let looked_at = |mut raw: RawCheck| {
        raw.beyond = Some("only looked at".to_owned()).filter(|_| raw.set.is_none());
        check(raw, texts)
    };
    let any = raw.any.into_iter().map(looked_at).collect::<Result<Vec<_>, _>>()?;
    if any.is_empty() {
        return Err(RuleFault::ChecksOrReason);
    }
    Ok(Box::new(Gate { any, otherwise: raw.otherwise }))
}

pub(in crate::policy) fn check(raw: RawCheck, texts: &BTreeMap<String, String>) -> Result<Check, RuleFault> {
    let (setting, form) = target(&raw)?;
    let demand = demand(&raw, form, texts)?;
    let mut require = demand.require;
    if !raw.or.is_empty() {
        if !matches!(require, Requirement::AtLeast(_) | Requirement::AtMost(_) | Requirement::Range(..)) {
            return Err(misfit("or", form));
        }
        require = Requirement::AnyOf(vec![Requirement::OneOf(raw.or), require]);
    }
    let remedy = match (raw.set, raw.beyond, demand.remedy) {
        (Some(_), Some(_), _) => return Err(misfit("beyond", form)),
        (None, Some(reason), _) => Remedy::Beyond(reason),
        (Some(set), None, _) => {
            if let (Form::Sddl, toml::Value::String(text)) = (form, &set) {
                Remedy::Set(Value::Sddl(text.clone()))
            } else {
                let plain = plain("set", &set, form)?;
                Remedy::Set(require.encode(form, &plain).ok_or_else(|| misfit("set", form))?)
            }
        }
        (None, None, Some(remedy)) => remedy,
        (None, None, None) => return Err(RuleFault::NoSet { setting }),
    };
    let require = if raw.absent_passes { Requirement::AbsentOr(Box::new(require)) } else { require };
    if let Remedy::Set(set) = &remedy
        && require.judge(form, Some(set)).is_err()
    {
        return Err(RuleFault::BadSet { setting });
    }
    let organization = match raw.organization.as_deref() {
        None => None,
        Some("within") => Some(Override::Within),
        Some("free") => Some(Override::Free),
        Some(found) => {
            let found = found.to_owned();
            return Err(RuleFault::Word { member: "organization", found, expected: "within or free" });
        }
    };
    if organization == Some(Override::Free) && form != Form::Data(ValueType::SZ) {
        return Err(misfit("organization", form));
    }
    Ok(Check { setting, form, require, remedy, applies: conditions(&raw.applies)?, organization })
}

pub(in crate::policy) fn conditions(words: &[String]) -> Result<Vec<Condition>, RuleFault> {
    let expected = "domain-joined, standalone, not-on-dc or not-on-server-core";
    words.iter().map(|condition| word("applies", condition, expected)).collect()
}

/// Returns the setting that a check asks for, and the form of its value.
fn target(raw: &RawCheck) -> Result<(Setting, Form), RuleFault> {
    let mut targets = Vec::new();
    if let (Some(key), Some(name)) = (&raw.key, &raw.name) {
        registry_key(key)?;
        let found = raw.kind.clone().unwrap_or_default();
        let kind = match ValueType::from_name(&found) {
            Some(kind) if kind != ValueType::NONE => kind,
            _ => return Err(RuleFault::Word { member: "type", found, expected: "a type such as REG_DWORD or REG_SZ" }),
        };
        targets.push((Setting::Registry { key: key.clone(), name: name.clone() }, Form::Data(kind)));
    }
    if let Some(service) = &raw.service {
        let key = format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{service}");
        if service.contains('\\') {
            return Err(RuleFault::Key { found: key });
        }
        registry_key(&key)?;
        targets.push((Setting::Registry { key, name: "Start".to_owned() }, Form::Data(ValueType::DWORD)));
    }
    if let Some(subcategory) = raw.audit_policy.clone() {
        targets.push((Setting::AuditPolicy { subcategory }, Form::Audit));
    }
    if let Some(field) = &raw.account_policy {
        let field = word("account_policy", field, "a field such as minimum_password_length")?;
        targets.push((Setting::AccountPolicy { field }, Form::Number));
    }
    if let Some(right) = &raw.user_right {
        targets.push((Setting::user_right(right), Form::Sids));
    }
    if let Some(property) = &raw.account {
        let property = word("account", property, "enabled, name, password_required or password_expires")?;
        let form = if property == AccountProperty::Name { Form::Text } else { Form::Flag };
        targets.push((Setting::Account { rid: raw.rid, property }, form));
    }
    if let Some(rid) = raw.group {
        targets.push((Setting::GroupMembers { rid }, Form::Sids));
    }
    if let Some(option) = &raw.security_option {
        let option = word("security_option", option, "anonymous_name_translation")?;
        targets.push((Setting::SecurityOption { option }, Form::Flag));
    }
    if let Some(key) = &raw.registry_acl {
        registry_key(key)?;
        targets.push((Setting::RegistryAcl { key: key.clone() }, Form::Sddl));
    }
    if let Some(path) = raw.file_acl.clone() {
        targets.push((Setting::FileAcl { path }, Form::Sddl));
    }
    if let Some(path) = raw.file.clone() {
        targets.push((Setting::File { path }, Form::Flag));
    }
    if let (Some(thumbprint), Some(store)) = (raw.certificate.clone(), raw.store.clone()) {
        targets.push((Setting::Certificate { store, thumbprint }, Form::Certificate));
    }
    if let Some(name) = raw.feature.clone() {
        targets.push((Setting::Feature { name }, Form::Text));
    }
    let count = targets.len();
    match targets.pop() {
        Some(target) if count == 1 => Ok(target),
        _ => Err(RuleFault::Targets { count }),
    }
}

/// Refuses what is no full key below HKLM or HKCU.
fn registry_key(key: &str) -> Result<(), RuleFault> {
    let below = key.strip_prefix("HKLM\\").or_else(|| key.strip_prefix("HKCU\\")).unwrap_or_default();
    if below.split('\\').any(str::is_empty) { Err(RuleFault::Key { found: key.to_owned() }) } else { Ok(()) }
}

/// What a check demands, and what to do if only one thing comes into question.
struct RawDemand {
    require: Requirement,
    remedy: Option<Remedy>,
}

fn demand(raw: &RawCheck, form: Form, texts: &BTreeMap<String, String>) -> Result<RawDemand, RuleFault> {
    let numeric = matches!(form, Form::Data(ValueType::DWORD | ValueType::SZ) | Form::Number);
    let textual = matches!(form, Form::Data(ValueType::SZ) | Form::Text);
    let fits = |member, fits: bool| if fits { Ok(()) } else { Err(misfit(member, form)) };
    let mut demands = Vec::new();
    let mut push = |require, remedy| demands.push(RawDemand { require, remedy });
    if let Some(equals) = &raw.equals {
        if let (toml::Value::Boolean(flag), Form::Flag) = (equals, form) {
            // Whether a file is there can only be read.
            let remedy = raw.file.is_none().then_some(Remedy::Set(Value::Flag(*flag)));
            push(Requirement::Flag(*flag), remedy);
        } else if let Form::Data(kind) = form
            && !matches!(kind, ValueType::DWORD | ValueType::SZ)
        {
            let value = Value::Data(data(equals, kind).ok_or_else(|| misfit("equals", form))?);
            push(Requirement::Exactly(value.clone()), Some(Remedy::Set(value)));
        } else {
            let only = plain("equals", equals, form)?;
            let require = match only.clone() {
                Plain::Number(number) => Requirement::Equals(number),
                Plain::Text(text) => Requirement::Text(text),
            };
            let set = require.encode(form, &only).map(Remedy::Set);
            push(require, set);
        }
    }
    if let Some(choices) = &raw.one_of {
        let choices = choices.iter().map(|choice| plain("one_of", choice, form)).collect::<Result<Vec<_>, _>>()?;
        push(one_of(choices).ok_or_else(|| misfit("one_of", form))?, None);
    }
    if let Some(least) = raw.at_least {
        fits("at_least", numeric)?;
        push(Requirement::AtLeast(least), None);
    }
    if let Some(most) = raw.at_most {
        fits("at_most", numeric)?;
        push(Requirement::AtMost(most), None);
    }
    if let Some((least, most)) = raw.range {
        fits("range", numeric)?;
        if least > most {
            return Err(RuleFault::Impossible { setting: target(raw)?.0 });
        }
        push(Requirement::Range(least, most), None);
    }
    if let Some(name) = &raw.prose {
        fits("prose", textual)?;
        let text = texts.get(name).ok_or_else(|| RuleFault::Unnamed { name: name.clone(), table: "texts" })?;
        let require = Requirement::Prose(text.clone());
        let set = require.encode(form, &Plain::Text(text.clone())).map(Remedy::Set);
        push(require, set);
    }
    if let Some(terms) = &raw.terms {
        fits("terms", textual)?;
        let require = Requirement::Terms(terms.clone());
        let set = require.encode(form, &Plain::Text(terms.clone())).map(Remedy::Set);
        push(require, set);
    }
    if let Some(name) = &raw.other_than {
        fits("other_than", textual)?;
        push(Requirement::OtherThan(name.clone()), None);
    }
    if let Some(words) = &raw.records {
        fits("records", form == Form::Audit)?;
        let mut flags = AuditFlags::default();
        for word in words {
            match word.as_str() {
                "success" => flags.success = true,
                "failure" => flags.failure = true,
                found => {
                    let found = found.to_owned();
                    return Err(RuleFault::Word { member: "records", found, expected: "success or failure" });
                }
            }
        }
        push(Requirement::Records(flags), Some(Remedy::Record(flags)));
    }
    if let Some(names) = &raw.only {
        fits("only", form == Form::Sids)?;
        let these = principals("only", names)?;
        let allowed = these.union(&principals("tolerates", &raw.tolerates)?).cloned().collect();
        push(Requirement::Only(allowed), Some(Remedy::Assign(these)));
    }
    if let Some(groups) = &raw.includes {
        fits("includes", form == Form::Sids)?;
        let groups = groups.iter().map(|group| principals("includes", group)).collect::<Result<Vec<_>, _>>()?;
        // Of a group's alternatives the first one written is given the right.
        let first = raw.includes.iter().flatten().filter_map(|group| group.first()?.parse().ok());
        push(Requirement::Includes(groups), Some(Remedy::Grant(first.collect())));
    }
    if let Some(limit) = &raw.no_wider_than {
        fits("no_wider_than", form == Form::Sddl && sddl::parse(limit).is_ok())?;
        let kind = if raw.file_acl.is_some() { access::Kind::File } else { access::Kind::Key };
        push(Requirement::NotWiderThan { kind, limit: limit.clone() }, None);
    }
    if let Some(present) = raw.present {
        // A file answers yes or no: it always has a value.
        fits("present", raw.file.is_none())?;
        let removable = matches!(form, Form::Data(_) | Form::Certificate);
        match present {
            true => push(Requirement::Present, None),
            false => push(Requirement::Absent, removable.then_some(Remedy::Remove)),
        }
    }
    if let Some(start) = &raw.starts {
        fits("starts", raw.service.is_some())?;
        let number = STARTS.iter().find(|(word, _)| word == start).map(|(_, number)| *number);
        let wrong =
            || RuleFault::Word { member: "starts", found: start.clone(), expected: "automatic, manual or disabled" };
        let number = number.ok_or_else(wrong)?;
        push(Requirement::Equals(number), Some(Remedy::Set(Value::dword(number))));
    }
    let count = demands.len();
    match demands.pop() {
        Some(demand) if count == 1 => Ok(demand),
        _ => Err(RuleFault::Demands { count }),
    }
}

/// How a service starts, and the number that the registry has for it.
const STARTS: [(&str, u32); 3] = [("automatic", 2), ("manual", 3), ("disabled", 4)];

/// Returns what the registry holds for a value of one of the types that are compared to the last byte.
fn data(value: &toml::Value, kind: ValueType) -> Option<Data> {
    let data = match (value, kind) {
        (toml::Value::String(text), ValueType::EXPAND_SZ) => utf16::encode_with_nul(text),
        (toml::Value::String(digits), ValueType::BINARY) => hex::decode(digits)?,
        (toml::Value::Integer(number), ValueType::QWORD) => u64::try_from(*number).ok()?.to_le_bytes().to_vec(),
        (toml::Value::Array(texts), ValueType::MULTI_SZ) => {
            let texts: Vec<&str> = texts.iter().map(toml::Value::as_str).collect::<Option<_>>()?;
            // An empty text would end the list.
            if texts.iter().any(|text| text.is_empty() || text.contains('\0')) {
                return None;
            }
            texts.into_iter().flat_map(utf16::encode_with_nul).chain([0, 0]).collect()
        }
        _ => return None,
    };
    Some(Data { kind, data })
}

fn principals(member: &'static str, names: &[String]) -> Result<BTreeSet<Principal>, RuleFault> {
    let expected = "a SID, or machine-, domain- or forest- with a relative identifier";
    let one = |name: &String| name.parse().map_err(|_| RuleFault::Word { member, found: name.clone(), expected });
    names.iter().map(one).collect()
}

/// Returns the demand of one of several numbers or of one of several texts; `None` of both or of nothing.
fn one_of(choices: Vec<Plain>) -> Option<Requirement> {
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for choice in choices {
        match choice {
            Plain::Number(number) => numbers.push(number),
            Plain::Text(text) => texts.push(text),
        }
    }
    match (numbers.is_empty(), texts.is_empty()) {
        (false, true) => Some(Requirement::OneOf(numbers)),
        (true, false) => Some(Requirement::TextOneOf(texts)),
        _ => None,
    }
}

/// Returns a number or text that fits the form.
fn plain(member: &'static str, value: &toml::Value, form: Form) -> Result<Plain, RuleFault> {
    match (value, form) {
        (toml::Value::Integer(number), Form::Data(ValueType::DWORD | ValueType::SZ) | Form::Number) => {
            u32::try_from(*number).map(Plain::Number).map_err(|_| misfit(member, form))
        }
        (toml::Value::String(text), Form::Data(ValueType::SZ) | Form::Text) => Ok(Plain::Text(text.clone())),
        _ => Err(misfit(member, form)),
    }
}

fn misfit(member: &'static str, form: Form) -> RuleFault {
    RuleFault::TypeMismatch { member, kind: form.to_string() }
}

/// Reads one of the words that a type is spelled with.
pub(in crate::policy) fn word<T: DeserializeOwned>(
    member: &'static str,
    found: &str,
    expected: &'static str,
) -> Result<T, RuleFault> {
    toml::Value::String(found.to_owned()).try_into().map_err(|_| RuleFault::Word {
        member,
        found: found.to_owned(),
        expected,
    })
}

fn id(member: &'static str, found: &str, prefix: &str) -> Result<(), RuleFault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match found.strip_prefix(prefix) {
        Some(rest) if !rest.is_empty() && rest.bytes().all(plain) => Ok(()),
        _ => Err(RuleFault::Word { member, found: found.to_owned(), expected: "an id as the benchmark writes it" }),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    const HEAD: &str = r#"
schema = "coldforge/catalog/1"
id = "t"
title = "T"
benchmark = "T"
version = 1
release = 1
date = "2026-01-01"
builds = [1]
[not_reviewed]
people = "Asks for people"
"#;

    const RULE: &str = r#"
[[rule]]
stig_id = "T-01"
vuln_id = "V-1"
rule_id = "SV-1r1_rule"
title = "T"
severity = "high"
kind = "registry"
role = "both"
[[rule.check]]
key = 'HKLM\SYSTEM\CurrentControlSet\Control\Lsa'
name = "NoLMHash"
type = "REG_DWORD"
equals = 1
"#;

    /// Reads a catalog of one rule in which `from` is replaced by `to`; returns the errors of the chain in one line.
    fn said(from: &str, to: &str) -> String {
        assert!(RULE.contains(from), "{from}");
        match read(&format!("{HEAD}{}", RULE.replace(from, to))) {
            Ok(_) => "read".to_owned(),
            Err(error) => format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default()),
        }
    }

    #[test]
    fn a_rule_is_read() {
        let catalog = read(&format!("{HEAD}{RULE}")).unwrap();
        let rule = &catalog.rules[0];
        assert_eq!((rule.severity, rule.kind, rule.role), (Severity::High, RuleKind::Registry, RuleScope::Both));
        assert_eq!(rule.checks[0].require, Requirement::Equals(1));
        assert_eq!(rule.checks[0].remedy, Remedy::Set(Value::dword(1)));
    }

    #[test]
    fn a_wrong_rule_is_refused_by_name() {
        for (from, to, expected) in [
            ("severity = \"high\"", "severity = \"hihg\"", "severity is \"hihg\", not high, medium or low"),
            ("kind = \"registry\"", "kind = \"regsitry\"", "kind is \"regsitry\""),
            ("role = \"both\"", "role = \"all\"", "role is \"all\", not both, ms or dc"),
            ("role = \"both\"", "rule = \"both\"", "unknown field `rule`"),
            ("title = \"T\"\n", "", "missing field `title`"),
            ("title = \"T\"", "title = 5", "invalid type"),
            ("V-1", "1", "vuln_id is"),
            ("role = \"both\"", "role = \"both\"\napplies = [\"joined\"]", "applies is \"joined\""),
            ("role = \"both\"", "role = \"both\"\nnot_reviewed = \"people\"", "either checks or a reason"),
            (
                "role = \"both\"",
                "role = \"both\"\nnot_reviewed = \"poeple\"",
                "\"poeple\" does not stand in [not_reviewed]",
            ),
            ("role = \"both\"", "role = \"both\"\norganization = \"yes\"", "0 checks are the organization's"),
            (
                "role = \"both\"",
                "role = \"both\"\nimport_risk = { advice = \"guard\", reason = \"r\", safe = [1] }",
                "unknown field `safe`",
            ),
            ("equals = 1", "equals = 1\nat_least = 1", "a check states 2 demands"),
            ("equals = 1", "", "a check states 0 demands"),
            ("equals = 1", "equals = \"1\"", "equals does not fit a REG_DWORD"),
            ("equals = 1", "equals = -1", "equals does not fit a REG_DWORD"),
            ("equals = 1", "equals = 4294967296", "equals does not fit a REG_DWORD"),
            ("equals = 1", "equal = 1", "unknown field `equal`"),
            ("equals = 1", "one_of = []\nset = 1", "one_of does not fit"),
            ("equals = 1", "one_of = [1, 2]", "does not say which value to set"),
            ("equals = 1", "one_of = [1, 2]\nset = 3", "does not meet its own demand"),
            ("equals = 1", "at_least = 4\nset = 3", "does not meet its own demand"),
            ("equals = 1", "range = [4, 3]\nset = 3", "no value meets the demand"),
            ("equals = 1", "prose = \"banner\"", "prose does not fit a REG_DWORD"),
            ("type = \"REG_DWORD\"\nequals = 1", "type = \"REG_SZ\"\nprose = \"banner\"", "does not stand in [texts]"),
            ("equals = 1", "equals = 1\nuser_right = \"SeTcbPrivilege\"", "a check names 2 settings"),
            ("equals = 1", "at_most = 4\nset = 4\norganization = \"within\"", "1 checks are the organization's"),
            ("equals = 1", "equals = 1\norganization = \"any\"", "organization is \"any\""),
            ("equals = 1", "equals = 1\norganization = \"free\"", "organization does not fit"),
            ("REG_DWORD", "REG_DWROD", "type is \"REG_DWROD\""),
            ("REG_DWORD", "REG_NONE", "type is \"REG_NONE\""),
            ("REG_DWORD", "REG_BINARY", "equals does not fit a REG_BINARY"),
            ("HKLM\\SYSTEM", "HKCR\\SYSTEM", "is not a key below HKLM"),
            ("\\Lsa'", "\\Lsa\\'", "is not a key below HKLM"),
        ] {
            let said = said(from, to);
            assert!(said.starts_with("rule T-01 of the catalog is wrong: "), "{to}: {said}");
            assert!(said.contains(expected), "{to}: {said}");
        }
    }

    /// Reads the one check of a rule.
    fn checked(check: &str) -> Result<Check, String> {
        let rule = &RULE[..RULE.find("[[rule.check]]").unwrap()];
        let catalog = read(&format!("{HEAD}{rule}[[rule.check]]\n{check}\n"));
        catalog
            .map(|mut catalog| catalog.rules.remove(0).checks.remove(0))
            .map_err(|error| error.source().map(ToString::to_string).unwrap_or_default())
    }

    #[test]
    fn every_kind_of_setting_is_read() {
        for (check, setting, require, remedy) in [
            (
                "audit_policy = \"Logon\"\nrecords = [\"failure\"]",
                "audit policy: Logon",
                "at least Failure",
                "Failure, beside what is recorded",
            ),
            (
                "account_policy = \"lockout_duration\"\nat_least = 15\nor = [0]\nset = 15",
                "account policy: lockout_duration",
                "0, or 15 or more",
                "15",
            ),
            (
                "user_right = \"SeDebugPrivilege\"\nonly = [\"S-1-5-32-544\"]",
                "user right: SeDebugPrivilege",
                "nobody but Administrators",
                "Administrators",
            ),
            ("user_right = \"SeTcbPrivilege\"\nonly = []", "user right: SeTcbPrivilege", "nobody", "nobody"),
            (
                "user_right = \"SeDenyNetworkLogonRight\"\nincludes = [[\"domain-512\"], [\"S-1-5-114\", \"S-1-5-113\"]]",
                "user right: SeDenyNetworkLogonRight",
                "at least Domain Admins, Local account or Local account and member of Administrators group",
                "Local account and member of Administrators group, Domain Admins, beside those who have it",
            ),
            ("account = \"enabled\"\nrid = 501\nequals = false", "account 501: enabled", "no", "no"),
            (
                "account = \"name\"\nrid = 500\nother_than = \"Administrator\"\nbeyond = \"the name is missing\"",
                "account 500: name",
                "another than \"Administrator\"",
                "nothing: the name is missing",
            ),
            (
                "security_option = \"anonymous_name_translation\"\nequals = false",
                "security option: anonymous_name_translation",
                "no",
                "no",
            ),
            (
                "certificate = \"AB\"\nstore = \"ROOT\"\npresent = true\nbeyond = \"no file\"",
                "certificate AB in ROOT",
                "present",
                "nothing: no file",
            ),
            (
                "registry_acl = 'HKLM\\SOFTWARE'\nno_wider_than = \"D:(A;CI;KA;;;BA)\"\nset = \"D:(A;CI;KA;;;BA)\"",
                "permissions of HKLM\\SOFTWARE",
                "no wider than D:(A;CI;KA;;;BA)",
                "D:(A;CI;KA;;;BA)",
            ),
            (
                "file_acl = '\\Windows'\nno_wider_than = \"D:(A;;FA;;;BA)\"\nbeyond = \"mend it by hand\"",
                "permissions of \\Windows",
                "no wider than D:(A;;FA;;;BA)",
                "nothing: mend it by hand",
            ),
            (
                "file = '\\Windows\\a.exe'\nequals = false\nbeyond = \"nothing is deleted\"",
                "file \\Windows\\a.exe",
                "no",
                "nothing: nothing is deleted",
            ),
            (
                "feature = \"SMB1Protocol\"\npresent = false\nbeyond = \"only Windows removes it\"",
                "feature SMB1Protocol",
                "absent",
                "nothing: only Windows removes it",
            ),
        ] {
            let check = checked(check).unwrap();
            let said = (check.setting.to_string(), check.require.to_string(), check.remedy.to_string());
            assert_eq!(said, (setting.to_owned(), require.to_owned(), remedy.to_owned()));
        }
    }

    #[test]
    fn a_demand_that_does_not_fit_its_setting_is_refused() {
        for (check, expected) in [
            ("audit_policy = \"Logon\"\nequals = 1", "equals does not fit a audit"),
            ("audit_policy = \"Logon\"\nrecords = [\"all\"]", "records is \"all\", not success or failure"),
            ("user_right = \"SeTcbPrivilege\"\nat_least = 1", "at_least does not fit a sids"),
            ("user_right = \"SeTcbPrivilege\"\nonly = [\"Everyone\"]", "only is \"Everyone\", not a SID"),
            ("account_policy = \"password_age\"\nequals = 1", "account_policy is \"password_age\""),
            ("account_policy = \"lockout_duration\"\nat_least = 15", "does not say which value to set"),
            ("account = \"name\"\nequals = 1", "equals does not fit a text"),
            ("account = \"enabled\"\nat_most = 1", "at_most does not fit a flag"),
            ("feature = \"A\"\npresent = false", "does not say which value to set"),
            ("key = 'HKLM\\S'\nequals = 1", "a check names 0 settings"),
            ("file_acl = 'a'\nno_wider_than = \"D:(\"\nbeyond = \"b\"", "no_wider_than does not fit a sddl"),
            ("file_acl = 'a'\nno_wider_than = \"D:(A;;FA;;;BA)\"", "does not say which value to set"),
            (
                "file_acl = 'a'\nno_wider_than = \"D:(A;;FA;;;BA)\"\nset = \"D:(A;;FA;;;BU)\"",
                "does not meet its own demand",
            ),
            ("file_acl = 'a'\nequals = \"D:\"", "equals does not fit a sddl"),
            ("account = \"enabled\"\nno_wider_than = \"D:\"", "no_wider_than does not fit a flag"),
            ("file = 'a'\nequals = false", "does not say which value to set"),
            ("file = 'a'\npresent = false\nbeyond = \"b\"", "present does not fit a flag"),
        ] {
            let said = checked(check).unwrap_err();
            assert!(said.contains(expected), "{check}: {said}");
        }
    }

    #[test]
    fn a_rule_without_its_id_is_refused_by_its_position() {
        assert!(said("stig_id = \"T-01\"\n", "").starts_with("rule number 1 of the catalog is wrong: missing field"));
    }

    #[test]
    fn no_two_rules_share_an_id() {
        for (from, to) in [("T-01", "t-01"), ("V-1\"", "V-1\""), ("SV-1r1", "SV-1r1")] {
            let mut other = RULE.replace("T-01", "T-02").replace("\"V-1\"", "\"V-2\"").replace("SV-1r1", "SV-2r1");
            let unlike = match from {
                "T-01" => "T-02",
                "SV-1r1" => "SV-2r1",
                _ => "V-2\"",
            };
            other = other.replace(unlike, to);
            let error = read(&format!("{HEAD}{RULE}{other}")).unwrap_err();
            assert!(error.source().unwrap().to_string().contains("is already another rule's"), "{from}");
        }
    }

    #[test]
    fn another_schema_and_an_unknown_member_of_the_head_are_refused() {
        let newer = read(&HEAD.replace("catalog/1", "catalog/2")).unwrap_err();
        assert!(matches!(newer, Error::Schema { .. }), "{newer}");
        assert!(matches!(read("id = \"t\"").unwrap_err(), Error::Schema { .. }));
        let unknown = read(&HEAD.replace("builds", "build")).unwrap_err();
        assert!(unknown.source().unwrap().to_string().contains("unknown field `build`"));
        assert!(matches!(read("schema = ").unwrap_err(), Error::Document { .. }));
    }
}
