//! The TOML document of a catalog (schema `coldforge/catalog/1`), and the one function that makes rules of it.
//!
//! The document is taken as it is written, unknown members refused, and then checked rule by rule, so that an error
//! names the rule. A value to write that does not meet its own demand is refused here, before any machine is asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Catalog;
use crate::base::digest::Digest;
use crate::policy::error::{Error, RuleFault};
use crate::policy::require::{Freedom, Plain, Requirement};
use crate::policy::rule::{Check, Condition, ImportRisk, Rule, RuleKind, RuleScope, Severity};
use crate::windows::setting::{Setting, ValueType};

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
    #[serde(default)]
    ccis: Vec<String>,
    organization: Option<String>,
    caveat: Option<String>,
    import_risk: Option<ImportRisk>,
    not_reviewed: Option<String>,
    #[serde(default)]
    check: Vec<RawCheck>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    key: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    equals: Option<toml::Value>,
    one_of: Option<Vec<toml::Value>>,
    at_least: Option<u32>,
    at_most: Option<u32>,
    range: Option<(u32, u32)>,
    prose: Option<String>,
    terms: Option<String>,
    #[serde(default)]
    absent_passes: bool,
    set: Option<toml::Value>,
    organization: Option<String>,
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

    let mut ids = BTreeSet::new();
    let mut rules = Vec::with_capacity(raw.rule.len());
    for (at, table) in raw.rule.into_iter().enumerate() {
        let name = match table.get("stig_id").and_then(toml::Value::as_str) {
            Some(stig_id) => stig_id.to_owned(),
            None => format!("number {}", at.saturating_add(1)),
        };
        let rule = rule(table, &raw.texts, &raw.not_reviewed)
            .and_then(|rule| claim(&mut ids, &rule).map(|()| rule))
            .map_err(|fault| Error::Rule { rule: name, source: Box::new(fault) })?;
        rules.push(rule);
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
    let applies = raw
        .applies
        .iter()
        .map(|condition| word("applies", condition, "domain-joined, not-on-dc or not-on-server-core"))
        .collect::<Result<Vec<Condition>, _>>()?;
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
        title: raw.title,
        ccis: raw.ccis,
        checks,
        not_reviewed,
        caveat: raw.caveat,
        organization: raw.organization,
        import_risk: raw.import_risk,
    })
}

fn check(raw: RawCheck, texts: &BTreeMap<String, String>) -> Result<Check, RuleFault> {
    let below = raw.key.strip_prefix("HKLM\\").unwrap_or_default();
    if below.split('\\').any(str::is_empty) {
        return Err(RuleFault::Key { found: raw.key });
    }
    let setting = Setting::Registry { key: raw.key.clone(), name: raw.name.clone() };
    let kind = match ValueType::from_name(&raw.kind) {
        Some(kind @ (ValueType::DWORD | ValueType::SZ)) => kind,
        _ => {
            return Err(RuleFault::Word { member: "type", found: raw.kind, expected: "REG_DWORD or REG_SZ" });
        }
    };
    let (require, only) = demand(&raw, kind, texts)?;
    let plain = match raw.set {
        Some(set) => plain("set", &set, kind)?,
        None => only.ok_or_else(|| RuleFault::NoSet { setting: setting.clone() })?,
    };
    let set = require.encode(kind, &plain).ok_or_else(|| misfit("set", kind))?;
    let require = if raw.absent_passes { Requirement::AbsentOr(Box::new(require)) } else { require };
    if require.judge(kind, Some(&set)).is_err() {
        return Err(RuleFault::BadSet { setting });
    }
    let organization = match raw.organization.as_deref() {
        None => None,
        Some("within") => Some(Freedom::Within),
        Some("free") => Some(Freedom::Free),
        Some(found) => {
            let found = found.to_owned();
            return Err(RuleFault::Word { member: "organization", found, expected: "within or free" });
        }
    };
    if organization == Some(Freedom::Free) && kind != ValueType::SZ {
        return Err(misfit("organization", kind));
    }
    Ok(Check { setting, kind, require, set, organization })
}

/// Returns what a check demands, and the value to write if only one comes into question.
fn demand(
    raw: &RawCheck,
    kind: ValueType,
    texts: &BTreeMap<String, String>,
) -> Result<(Requirement, Option<Plain>), RuleFault> {
    let mut demands = Vec::new();
    if let Some(equals) = &raw.equals {
        let only = plain("equals", equals, kind)?;
        let require = match only.clone() {
            Plain::Number(number) => Requirement::Equals(number),
            Plain::Text(text) => Requirement::Text(text),
        };
        demands.push((require, Some(only)));
    }
    if let Some(choices) = &raw.one_of {
        let choices = choices.iter().map(|choice| plain("one_of", choice, kind)).collect::<Result<Vec<_>, _>>()?;
        demands.push((one_of(choices).ok_or_else(|| misfit("one_of", kind))?, None));
    }
    if let Some(least) = raw.at_least {
        demands.push((Requirement::AtLeast(least), None));
    }
    if let Some(most) = raw.at_most {
        demands.push((Requirement::AtMost(most), None));
    }
    if let Some((least, most)) = raw.range {
        if least > most {
            return Err(RuleFault::Impossible {
                setting: Setting::Registry { key: raw.key.clone(), name: raw.name.clone() },
            });
        }
        demands.push((Requirement::Range(least, most), None));
    }
    if let Some(name) = &raw.prose {
        let text = texts.get(name).ok_or_else(|| RuleFault::Unnamed { name: name.clone(), table: "texts" })?;
        demands.push((Requirement::Prose(text.clone()), Some(Plain::Text(text.clone()))));
    }
    if let Some(terms) = &raw.terms {
        demands.push((Requirement::Terms(terms.clone()), Some(Plain::Text(terms.clone()))));
    }
    let count = demands.len();
    match demands.pop() {
        Some(demand) if count == 1 => Ok(demand),
        _ => Err(RuleFault::Demands { count }),
    }
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

/// Returns a number or text; a REG_DWORD takes no text.
fn plain(member: &'static str, value: &toml::Value, kind: ValueType) -> Result<Plain, RuleFault> {
    match value {
        toml::Value::Integer(number) => u32::try_from(*number).map(Plain::Number).map_err(|_| misfit(member, kind)),
        toml::Value::String(text) if kind == ValueType::SZ => Ok(Plain::Text(text.clone())),
        _ => Err(misfit(member, kind)),
    }
}

fn misfit(member: &'static str, kind: ValueType) -> RuleFault {
    RuleFault::Misfit { member, kind: kind.to_string() }
}

/// Reads one of the words that a type is spelled with.
fn word<T: DeserializeOwned>(member: &'static str, found: &str, expected: &'static str) -> Result<T, RuleFault> {
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
        assert_eq!(rule.checks[0].set, crate::windows::setting::Value::dword(1));
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
            ("equals = 1", "prose = \"banner\"", "\"banner\" does not stand in [texts]"),
            ("equals = 1", "at_most = 4\nset = 4\norganization = \"within\"", "1 checks are the organization's"),
            ("equals = 1", "equals = 1\norganization = \"any\"", "organization is \"any\""),
            ("equals = 1", "equals = 1\norganization = \"free\"", "organization does not fit"),
            ("REG_DWORD", "REG_DWROD", "type is \"REG_DWROD\""),
            ("REG_DWORD", "REG_BINARY", "type is \"REG_BINARY\""),
            ("HKLM\\SYSTEM", "HKCU\\SYSTEM", "is not a key below HKLM"),
            ("\\Lsa'", "\\Lsa\\'", "is not a key below HKLM"),
        ] {
            let said = said(from, to);
            assert!(said.starts_with("rule T-01 of the catalog is wrong: "), "{to}: {said}");
            assert!(said.contains(expected), "{to}: {said}");
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
