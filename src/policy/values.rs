//! Organization values: what an organization decides where the benchmark lets it.
//!
//! A TOML document:
//!
//! ```toml
//! schema = "coldforge/values/1"
//!
//! [values]
//! "WN22-SO-000120" = 600
//! "V-254458" = "Authorized use only"
//! ```
//!
//! A value is the one to write, and it narrows what passes: with 600 for an idle time of at most 900 seconds, 700 is
//! open. A value that the benchmark does not allow is refused, and so is one that would not be used.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::catalog::Catalog;
use super::error::{Error, ValueFault};
use super::require::{Override, Plain, Requirement};
use super::rule::{Check, Remedy, Rule};

const SCHEMA: &str = "coldforge/values/1";
const DOCUMENT: &str = "organization values file";

/// The values of an organization, each with the demand it makes; none by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Values {
    /// By STIG id: each rule has at most one check that is the organization's.
    demands: BTreeMap<String, TailoredRequirement>,
}

/// What is demanded of one setting in the end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TailoredRequirement {
    /// What the value must be.
    pub require: Requirement,
    /// What to do where it is not so.
    pub remedy: Remedy,
    /// Whether the organization's own words stand in for the benchmark's.
    pub own_words: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawValues {
    #[serde(rename = "schema")]
    _schema: String,
    #[serde(default)]
    values: toml::Table,
}

impl Values {
    /// Reads the values for the rules of a catalog.
    ///
    /// # Errors
    /// [`Error::Document`] and [`Error::Schema`]; [`Error::Value`], which names the rule.
    pub fn parse(toml: &str, catalog: &Catalog) -> Result<Self, Error> {
        let misread = |source| Error::Document { document: DOCUMENT, source: Box::new(source) };
        let table: toml::Table = toml.parse().map_err(misread)?;
        let found = table.get("schema").and_then(toml::Value::as_str).unwrap_or_default();
        if found != SCHEMA {
            return Err(Error::Schema { document: DOCUMENT, found: found.to_owned(), expected: SCHEMA });
        }
        let raw: RawValues = table.try_into().map_err(misread)?;
        let mut demands = BTreeMap::new();
        for (name, value) in raw.values {
            let (stig_id, demand) = demand(catalog, &name, &value)
                .map_err(|fault| Error::Value { rule: name.clone(), source: Box::new(fault) })?;
            if demands.insert(stig_id, demand).is_some() {
                return Err(Error::Value { rule: name, source: Box::new(ValueFault::Twice) });
            }
        }
        Ok(Self { demands })
    }

    /// Returns what is demanded by a check of a rule: the organization's demand if it has one, else the benchmark's.
    pub fn demand(&self, rule: &Rule, check: &Check) -> TailoredRequirement {
        match self.demands.get(&rule.stig_id) {
            Some(demand) if check.organization.is_some() => demand.clone(),
            _ => TailoredRequirement { require: check.require.clone(), remedy: check.remedy.clone(), own_words: false },
        }
    }
}

/// Returns the rule's STIG id and the demand that a value for it makes.
fn demand(catalog: &Catalog, name: &str, value: &toml::Value) -> Result<(String, TailoredRequirement), ValueFault> {
    let rule = catalog.find_rule(name).map_err(|error| match error {
        Error::UnknownRule { nearest, .. } => ValueFault::UnknownRule { nearest },
        _ => ValueFault::UnknownRule { nearest: None },
    })?;
    if let Some(reason) = &rule.not_reviewed {
        return Err(ValueFault::NotAssessed { reason: reason.clone() });
    }
    let Some((check, freedom)) = rule.checks.iter().find_map(|check| Some((check, check.organization?))) else {
        let required = rule.checks.iter().map(|check| check.require.to_string()).collect::<Vec<_>>().join(" and ");
        return Err(ValueFault::Fixed { required });
    };
    let wish = match value {
        toml::Value::Integer(number) => u32::try_from(*number).map(Plain::Number).map_err(|_| ValueFault::Shape)?,
        toml::Value::String(text) => Plain::Text(text.clone()),
        _ => return Err(ValueFault::Shape),
    };
    let out_of_bounds =
        || ValueFault::OutOfBounds { found: wish.to_string(), required: bound(&check.require, freedom) };
    let require = check.require.narrowed(check.form, &wish, freedom).ok_or_else(out_of_bounds)?;
    let set = check.require.encode(check.form, &wish).ok_or_else(out_of_bounds)?;
    let own_words = check.require.judge(check.form, Some(&set)).is_err();
    Ok((rule.stig_id.clone(), TailoredRequirement { require, remedy: Remedy::Set(set), own_words }))
}

fn bound(require: &Requirement, freedom: Override) -> String {
    match freedom {
        Override::Within => require.to_string(),
        Override::Free => "a text that is not blank".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::windows::setting::Value;
    use coldforge_base::Failure as _;

    fn read(values: &str) -> Result<Values, Error> {
        Values::parse(&format!("schema = \"coldforge/values/1\"\n[values]\n{values}\n"), Catalog::ws2022())
    }

    fn demanded(values: &str, name: &str) -> TailoredRequirement {
        let rule = Catalog::ws2022().find_rule(name).unwrap();
        let check = rule.checks.iter().find(|check| check.organization.is_some()).unwrap();
        read(values).unwrap().demand(rule, check)
    }

    fn refused(values: &str) -> String {
        let error = read(values).unwrap_err();
        assert!(error.hint().is_some());
        format!("{error}: {}", error.source().unwrap())
    }

    #[test]
    fn a_value_is_written_and_narrows_what_passes() {
        let demand = demanded("\"WN22-SO-000120\" = 600", "WN22-SO-000120");
        assert_eq!((demand.require, demand.remedy), (Requirement::Range(1, 600), Remedy::Set(Value::dword(600))));
        let demand = demanded("V-254432 = 2", "WN22-MS-000050");
        assert_eq!((demand.require, demand.remedy), (Requirement::AtMost(2), Remedy::Set(Value::sz("2"))));
        let demand = demanded("SV-254459 = 2", "WN22-SO-000150");
        assert_eq!((demand.require, demand.remedy), (Requirement::Text("2".into()), Remedy::Set(Value::sz("2"))));
        let demand = demanded("\"WN22-CC-000280\" = 6000000", "WN22-CC-000280");
        assert_eq!((demand.require, demand.own_words), (Requirement::AtLeast(6_000_000), false));
    }

    #[test]
    fn the_banner_is_the_organizations_own() {
        let demand = demanded("V-254457 = '''\nOurs.\nOnly ours.\n'''", "V-254457");
        assert_eq!(demand.remedy, Remedy::Set(Value::sz("Ours.\r\nOnly ours.")));
        assert!(demand.own_words);
        let demand = demanded("V-254458 = \"US Department of Defense Warning Statement\"", "V-254458");
        assert_eq!(demand.require, Requirement::Text("US Department of Defense Warning Statement".into()));
        assert!(!demand.own_words, "the benchmark lists this title");
        assert!(refused("V-254458 = \"  \"").contains("a text that is not blank"));
        assert!(refused("V-254458 = 7").contains("a text that is not blank"));
    }

    #[test]
    fn a_value_of_one_check_leaves_the_other_checks_of_its_rule() {
        let rule = Catalog::ws2022().find_rule("WN22-CC-000110").unwrap();
        let values = read("\"WN22-CC-000110\" = 3").unwrap();
        let demands: Vec<_> = rule.checks.iter().map(|check| values.demand(rule, check).remedy).collect();
        assert_eq!(demands, [Remedy::Set(Value::dword(1)), Remedy::Set(Value::dword(3))]);
    }

    #[test]
    fn every_bound_of_the_benchmark_holds() {
        for (values, bound) in [
            ("\"WN22-SO-000120\" = 901", "the value is 901, and the benchmark demands 1 to 900"),
            ("\"WN22-SO-000120\" = 0", "1 to 900"),
            ("\"WN22-SO-000120\" = \"600\"", "1 to 900"),
            ("\"WN22-SO-000100\" = 31", "1 to 30"),
            ("\"WN22-MS-000050\" = 5", "4 or less"),
            ("\"WN22-MS-000050\" = \"many\"", "4 or less"),
            ("\"WN22-CC-000280\" = 196608", "5120000 or more"),
            ("\"WN22-CC-000250\" = 0", "1 or 3"),
            ("\"WN22-CC-000260\" = 100", "0, 1, 2 or 99"),
            ("\"WN22-CC-000130\" = 7", "1, 3 or 8"),
            ("\"WN22-SO-000400\" = 11", "1 or 2"),
            ("\"WN22-SO-000150\" = \"3\"", "\"1\" or \"2\""),
            ("\"WN22-DC-000405\" = 0", "1 or 2"),
        ] {
            assert!(refused(values).contains(bound), "{values}: {}", refused(values));
        }
    }

    #[test]
    fn a_value_that_would_not_be_used_is_refused() {
        assert!(refused("\"WN22-SO-00012\" = 600").contains("there is no such rule; WN22-SO-000120 is near"));
        assert!(refused("V-254475 = 5").contains("the benchmark demands 5"), "not the organization's");
        assert!(refused("\"WN22-DC-000030\" = 600").contains("the rule is not assessed: Kerberos policy"));
        assert!(refused("\"WN22-SO-000120\" = 600\nV-254456 = 700").contains("has a value already"));
        assert!(refused("\"WN22-SO-000120\" = -1").contains("neither a number"));
        assert!(refused("\"WN22-SO-000120\" = true").contains("neither a number"));
    }

    #[test]
    fn a_document_of_another_shape_is_refused() {
        let parse = |text: &str| Values::parse(text, Catalog::ws2022());
        assert!(matches!(parse("[values]").unwrap_err(), Error::Schema { .. }));
        assert!(matches!(parse("schema = \"coldforge/values/2\"").unwrap_err(), Error::Schema { .. }));
        assert!(matches!(parse("schema = \"coldforge/values/1\"\nvalue = 1").unwrap_err(), Error::Document { .. }));
        assert!(matches!(parse("= 1").unwrap_err(), Error::Document { .. }));
        assert_eq!(parse("schema = \"coldforge/values/1\"").unwrap(), Values::default());
    }
}
