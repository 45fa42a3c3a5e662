//! Rules that somebody writes: a TOML document of schema `coldforge/policy/1`.
//!
//! ```toml
//! schema = "coldforge/policy/1"
//! title = "Baseline of Example"
//!
//! [[rule]]
//! id = "EX-0001"
//! title = "LAN Manager hashes are not stored"
//! severity = "high"
//!
//! [[rule.check]]
//! key = 'HKLM\SYSTEM\CurrentControlSet\Control\Lsa'
//! name = "NoLMHash"
//! type = "REG_DWORD"
//! equals = 1
//! ```
//!
//! Checks have the grammar of the built-in catalogs. The schema's text is [`SCHEMA`](super::SCHEMA).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::error::Fault;
use super::import::{catalog, identified, kind_of};
use crate::policy::catalog::Catalog;
use crate::policy::catalog::document::{RawCheck, RawGate, check, conditions, gate, word};
use crate::policy::error::RuleFault;
use crate::policy::nearest::nearest;
use crate::policy::rule::{ImportRisk, Rule, RuleKind, RuleScope, Severity};

const SCHEMA: &str = "coldforge/policy/1";
/// Why a certificate that must be there is not installed: the document holds none.
const CERTIFICATE: &str = "the certificate itself is needed: give it with --certificates";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    #[serde(rename = "schema")]
    _schema: String,
    id: Option<String>,
    title: Option<String>,
    version: Option<u32>,
    release: Option<u32>,
    date: Option<String>,
    #[serde(default)]
    texts: BTreeMap<String, String>,
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    title: String,
    severity: String,
    role: Option<String>,
    #[serde(default)]
    applies: Vec<String>,
    only_where: Option<RawGate>,
    #[serde(default)]
    ccis: Vec<String>,
    /// What the organization decides, in words.
    organization: Option<String>,
    caveat: Option<String>,
    import_risk: Option<ImportRisk>,
    /// Why the rule is not assessed, in words.
    not_reviewed: Option<String>,
    #[serde(default)]
    check: Vec<RawCheck>,
}

/// Reads a rule document.
pub(super) fn read(name: &str, content: &[u8]) -> Result<Catalog, Fault> {
    let text = std::str::from_utf8(content).map_err(|_| Fault::Encoding)?;
    let misread = |source| Fault::Document { source: Box::new(source) };
    let table: toml::Table = text.parse().map_err(misread)?;
    let found = table.get("schema").and_then(toml::Value::as_str).unwrap_or_default();
    if found != SCHEMA {
        return Err(Fault::Schema { found: found.to_owned(), expected: SCHEMA });
    }
    // From the text, so that an error tells the line.
    let raw: RawPolicy = toml::from_str(text).map_err(|error| unknown_field(text, &error).unwrap_or(misread(error)))?;
    let line = |at: usize| text.get(..at).unwrap_or_default().matches('\n').count().saturating_add(1);
    let id = raw.id.unwrap_or_else(|| name.to_owned());
    let mut ids = BTreeSet::new();
    let mut rules = Vec::with_capacity(raw.rule.len());
    for spanned in raw.rule {
        let line = line(spanned.span().start);
        let raw_rule = spanned.into_inner();
        let named = raw_rule.id.clone();
        let faulty = |fault| Fault::Rule { line, rule: named.clone(), source: Box::new(fault) };
        if !ids.insert(named.to_uppercase()) {
            return Err(faulty(RuleFault::Duplicate { id: named.clone() }));
        }
        rules.push(rule(&id, raw_rule, &raw.texts).map_err(faulty)?);
    }
    let plain =
        |id: &str| !id.is_empty() && id.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if !plain(&id) {
        let expected = "small letters, digits and hyphens";
        let fault = RuleFault::Word { member: "id", found: id.clone(), expected };
        return Err(Fault::Rule { line: 1, rule: id, source: Box::new(fault) });
    }
    let title = raw.title.unwrap_or_else(|| format!("Policy {id}"));
    let made = catalog(&id, &title, rules);
    Ok(Catalog {
        version: raw.version.unwrap_or(made.version),
        release: raw.release.unwrap_or(made.release),
        date: raw.date.unwrap_or(made.date),
        ..made
    })
}

/// Returns the fault for a field that there is not; `None` if something else is wrong.
fn unknown_field(text: &str, error: &toml::de::Error) -> Option<Fault> {
    let mut quoted = error.message().strip_prefix("unknown field `")?.split('`');
    let name = quoted.next()?.to_owned();
    // Between two names in backticks stands a comma or an `or`.
    let known: Vec<&str> = quoted.skip(1).step_by(2).collect();
    let line = text.get(..error.span()?.start)?.matches('\n').count().saturating_add(1);
    let nearest = nearest(&name, known).map(str::to_owned);
    Some(Fault::Field { line, name, nearest })
}

fn rule(policy: &str, raw: RawRule, texts: &BTreeMap<String, String>) -> Result<Rule, RuleFault> {
    let letter = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if raw.id.is_empty() || !raw.id.bytes().all(letter) {
        let expected = "letters, digits, `-`, `_` and `.`";
        return Err(RuleFault::Word { member: "id", found: raw.id, expected });
    }
    let severity: Severity = word("severity", &raw.severity, "high, medium or low")?;
    let role = raw.role.as_deref().unwrap_or("both");
    let role: RuleScope = word("role", role, "both, ms or dc")?;
    let with_reason = |mut raw: RawCheck| {
        if raw.certificate.is_some() && raw.present == Some(true) && raw.beyond.is_none() {
            raw.beyond = Some(CERTIFICATE.to_owned());
        }
        check(raw, texts)
    };
    let checks = raw.check.into_iter().map(with_reason).collect::<Result<Vec<_>, _>>()?;
    if checks.is_empty() == raw.not_reviewed.is_none() {
        return Err(RuleFault::ChecksOrReason);
    }
    let (count, noted) =
        (checks.iter().filter(|check| check.organization.is_some()).count(), raw.organization.is_some());
    if count > 1 || (count == 1) != noted {
        return Err(RuleFault::Organization { count, noted });
    }
    Ok(Rule {
        severity,
        role,
        applies: conditions(&raw.applies)?,
        only_where: raw.only_where.map(|raw| gate(raw, texts)).transpose()?,
        ccis: raw.ccis,
        organization: raw.organization,
        caveat: raw.caveat,
        import_risk: raw.import_risk,
        not_reviewed: raw.not_reviewed,
        kind: checks.first().map_or(RuleKind::Manual, |check| kind_of(&check.setting)),
        ..identified(policy, &raw.id, raw.title, checks)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value as Json;

    use super::super::SCHEMA as TEXT;
    use super::*;

    const HEAD: &str = "schema = \"coldforge/policy/1\"\n";

    /// Returns what the reader knows where a document has the field `zz`.
    fn known(document: &str) -> BTreeSet<String> {
        let error = toml::from_str::<RawPolicy>(&format!("{HEAD}{document}")).err().unwrap();
        let mut quoted = error.message().strip_prefix("unknown field `zz`").unwrap().split('`');
        quoted.next();
        quoted.step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_schema_has_each_field_that_the_reader_knows_and_no_other() {
        let schema: Json = serde_json::from_str(TEXT).unwrap();
        let fields = |object: &Json| -> BTreeSet<String> {
            assert_eq!(object["additionalProperties"], false);
            object["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let of = |name: &str| fields(&schema["$defs"][name]);
        let rule = "[[rule]]\nid = \"A\"\ntitle = \"T\"\nseverity = \"low\"\n";
        assert_eq!(known("zz = 1"), fields(&schema));
        assert_eq!(known("[[rule]]\nzz = 1"), of("rule"));
        assert_eq!(known(&format!("{rule}check = [{{ zz = 1 }}]")), of("check"));
        assert_eq!(known(&format!("{rule}only_where = {{ zz = 1 }}")), of("gate"));
        assert_eq!(known(&format!("{rule}import_risk = {{ zz = 1 }}")), of("risk"));
        for (name, object) in [("rule", &schema), ("title", &schema["$defs"]["rule"])] {
            assert!(object["properties"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn a_wrong_document_is_refused_with_its_line() {
        let said = |document: &str| match read("t", document.as_bytes()) {
            Ok(_) => "read".to_owned(),
            Err(fault) => {
                let cause = std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default();
                format!("{fault}: {cause}")
            }
        };
        let rule = |more: &str| format!("{HEAD}\n[[rule]]\nid = \"A\"\ntitle = \"T\"\nseverity = \"low\"\n{more}");
        let check = "check = [{ user_right = \"SeTcbPrivilege\", only = [] }]\n";
        assert_eq!(said(&rule(check)), "read");
        for (document, expected) in [
            (rule("chek = []\n"), "line 7: there is no field `chek`; `check` is near"),
            (
                rule("[[rule.check]]\nuser_rigth = \"S\"\n"),
                "line 8: there is no field `user_rigth`; `user_right` is near",
            ),
            (rule("xyzzyxyzzy = 1\n"), "line 7: there is no field `xyzzyxyzzy`: "),
            (rule(""), "line 3: the rule A is wrong: a rule has either checks or a reason"),
            (rule(&check.replace("only = []", "only = [\"Guests\"]")), "only is \"Guests\", not a SID"),
            (
                format!("{}{}", rule(check), rule(check).replace(HEAD, "").replace('A', "a")),
                "line 9: the rule a is wrong: a is already",
            ),
            (rule(check).replace("low", "lwo"), "severity is \"lwo\""),
            (rule(check).replace("\"A\"", "\"A B\""), "id is \"A B\""),
            (rule(check).replace("policy/1", "policy/2"), "it is of schema \"coldforge/policy/2\""),
            (rule("check = 1\n"), "TOML parse error at line 7"),
            (format!("{HEAD}id = \"A b\"\n"), "id is \"A b\""),
        ] {
            let said = said(&document);
            assert!(said.contains(expected), "{said}\n{document}");
        }
        assert!(matches!(read("t", b"\xff"), Err(Fault::Encoding)));
    }

    #[test]
    fn services_and_values_of_every_type_are_understood() {
        let said = |check: &str| {
            let document =
                format!("{HEAD}[[rule]]\nid = \"A\"\ntitle = \"T\"\nseverity = \"low\"\ncheck = [{{ {check} }}]\n");
            match read("t", document.as_bytes()) {
                Ok(catalog) => {
                    let check = &catalog.rules[0].checks[0];
                    format!("{} is {} ({})", check.setting, check.require, catalog.rules[0].kind)
                }
                Err(fault) => std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default(),
            }
        };
        let key = r"key = 'HKLM\SOFTWARE\A', name = 'N', type =";
        for (check, expected) in [
            (
                "service = 'Spooler', starts = 'disabled'",
                r"HKLM\SYSTEM\CurrentControlSet\Services\Spooler!Start is 4 (service)",
            ),
            ("service = 'Spooler', starts = 'off'", "starts is \"off\", not automatic, manual or disabled"),
            (r"service = 'A\B', starts = 'manual'", r"is not a key below HKLM"),
            ("file = 'A', starts = 'manual'", "starts does not fit"),
            (&format!("{key} 'REG_MULTI_SZ', equals = ['a', 'b']"), "is [\"a\", \"b\"] (registry)"),
            (&format!("{key} 'REG_MULTI_SZ', equals = ['a', '']"), "equals does not fit a REG_MULTI_SZ"),
            (&format!("{key} 'REG_BINARY', equals = '0aff'"), "is REG_BINARY 0aff"),
            (&format!("{key} 'REG_BINARY', equals = '0af'"), "equals does not fit a REG_BINARY"),
            (&format!("{key} 'REG_BINARY', at_least = 5"), "at_least does not fit a REG_BINARY"),
            (&format!("{key} 'REG_QWORD', equals = 5"), "!N is"),
            (&format!("{key} 'REG_QWORD', equals = -5"), "equals does not fit a REG_QWORD"),
            (&format!("{key} 'REG_EXPAND_SZ', equals = '%A%'"), "is \"%A%\""),
        ] {
            let said = said(check);
            assert!(said.contains(expected), "{check}: {said}");
        }
    }
}
