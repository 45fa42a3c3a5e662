//! Waivers: rules that an organization leaves unmet for a time, with the reason and who took the decision.
//!
//! A TOML document:
//!
//! ```toml
//! schema = "coldforge/waivers/1"
//!
//! [[waiver]]
//! rule = "WN22-CC-000470"
//! reason = "The build pipeline comes over WinRM with basic authentication"
//! approver = "R. Roe, ISSM"
//! expires = 2027-01-31
//! ```
//!
//! A waived rule is assessed as every other and stays open where it is not met: a waiver is a decision, no evidence. It
//! is not applied, and does not count against `--fail-on`. Behind its last day (in UTC) it has no effect but to be told.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use super::error::{Error, WaiverFault};
use coldforge_base::time::Moment;

const SCHEMA: &str = "coldforge/waivers/1";
const DOCUMENT: &str = "waivers file";

/// The waivers of an organization, held against a day; none by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Waivers {
    /// By STIG id.
    waivers: BTreeMap<String, Waiver>,
}

/// A decision to leave a rule unmet.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Waiver {
    /// Why.
    pub reason: String,
    /// Who decided.
    pub approver: String,
    /// The last day on which it holds, as `2027-01-31`.
    pub expires: String,
    /// Whether that day had passed when the machine was assessed.
    pub expired: bool,
}

impl Waiver {
    /// Tells whether it still holds.
    pub fn holds(&self) -> bool {
        !self.expired
    }
}

impl std::fmt::Display for Waiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { reason, approver, expires, expired } = self;
        match expired {
            false => write!(f, "waived until {expires} by {approver}: {reason}"),
            true => write!(f, "the waiver by {approver} ended on {expires}: {reason}"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWaivers {
    #[serde(rename = "schema")]
    _schema: String,
    #[serde(default)]
    waiver: Vec<RawWaiver>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWaiver {
    rule: String,
    reason: String,
    approver: String,
    expires: toml::Value,
}

impl Waivers {
    /// Reads the waivers for the rules of a catalog, held against the day of `today`.
    ///
    /// # Errors
    /// [`Error::Document`] and [`Error::Schema`]; [`Error::Waiver`], which names the rule.
    pub fn parse(text: &str, catalog: &Catalog, today: Moment) -> Result<Self, Error> {
        let misread = |source| Error::Document { document: DOCUMENT, source: Box::new(source) };
        let table: toml::Table = text.parse().map_err(misread)?;
        let found = table.get("schema").and_then(toml::Value::as_str).unwrap_or_default();
        if found != SCHEMA {
            return Err(Error::Schema { document: DOCUMENT, found: found.to_owned(), expected: SCHEMA });
        }
        // From the text, so that an error tells the line.
        let raw: RawWaivers = toml::from_str(text).map_err(misread)?;
        let mut waivers = BTreeMap::new();
        for raw in raw.waiver {
            let name = raw.rule.clone();
            let (stig_id, waiver) = waiver(raw, catalog, today)
                .map_err(|fault| Error::Waiver { rule: name.clone(), source: Box::new(fault) })?;
            if waivers.insert(stig_id, waiver).is_some() {
                return Err(Error::Waiver { rule: name, source: Box::new(WaiverFault::Twice) });
            }
        }
        Ok(Self { waivers })
    }

    /// Returns the waiver of the rule with a STIG id, whether it still holds or not.
    pub fn of(&self, stig_id: &str) -> Option<&Waiver> {
        self.waivers.get(stig_id)
    }
}

fn waiver(raw: RawWaiver, catalog: &Catalog, today: Moment) -> Result<(String, Waiver), WaiverFault> {
    let RawWaiver { rule, reason, approver, expires } = raw;
    let rule = catalog.find_rule(&rule).map_err(|error| match error {
        Error::UnknownRule { nearest, .. } => WaiverFault::UnknownRule { nearest },
        _ => WaiverFault::UnknownRule { nearest: None },
    })?;
    for (member, text) in [("reason", &reason), ("approver", &approver)] {
        if text.trim().is_empty() {
            return Err(WaiverFault::Blank { member });
        }
    }
    let expires = match &expires {
        toml::Value::Datetime(at) if at.time.is_none() => at.to_string(),
        toml::Value::String(text) => text.clone(),
        _ => return Err(WaiverFault::Day),
    };
    // Both are of the form 2027-01-31, whose order is that of the days.
    let midnight = Moment::parse(&format!("{expires}T00:00:00Z")).ok_or(WaiverFault::Day)?;
    let expired = day(today) > day(midnight);
    Ok((rule.stig_id.clone(), Waiver { reason, approver, expires, expired }))
}

fn day(moment: Moment) -> u64 {
    const SECONDS: u64 = 86_400;
    moment.0 / SECONDS
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use coldforge_base::Failure as _;

    fn moment(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    fn read(waivers: &str, today: &str) -> Result<Waivers, Error> {
        let document = format!("schema = \"coldforge/waivers/1\"\n{waivers}\n");
        Waivers::parse(&document, Catalog::ws2022(), moment(today))
    }

    fn one(rule: &str, expires: &str) -> String {
        format!("[[waiver]]\nrule = \"{rule}\"\nreason = \"R\"\napprover = \"A\"\nexpires = {expires}")
    }

    fn refused(waivers: &str) -> String {
        let error = read(waivers, "2026-01-01T00:00:00Z").unwrap_err();
        assert!(error.hint().is_some());
        format!("{error}: {}", error.source().unwrap())
    }

    #[test]
    fn a_waiver_holds_to_the_end_of_its_last_day() {
        for expires in ["2027-01-31", "\"2027-01-31\""] {
            for (today, expired) in
                [("2026-01-01T00:00:00Z", false), ("2027-01-31T23:59:59Z", false), ("2027-02-01T00:00:00Z", true)]
            {
                let waivers = read(&one("V-254378", expires), today).unwrap();
                let waiver = waivers.of("WN22-CC-000470").unwrap();
                assert_eq!((waiver.expired, waiver.expires.as_str()), (expired, "2027-01-31"), "{today}");
            }
        }
    }

    #[test]
    fn a_waiver_that_would_not_be_used_is_refused() {
        assert!(refused(&one("WN22-CC-00470", "2027-01-31")).contains("WN22-CC-000470 is near"));
        let twice = format!("{}\n{}", one("V-254378", "2027-01-31"), one("WN22-CC-000470", "2027-01-31"));
        assert!(refused(&twice).contains("waived already"));
        assert!(refused(&one("V-254378", "2027-01-31").replace("\"R\"", "\" \"")).contains("reason is blank"));
        assert!(refused(&one("V-254378", "2027-01-31").replace("\"A\"", "\"\"")).contains("approver is blank"));
        for day in ["\"soon\"", "20270131", "\"2027-02-30\"", "2027-01-31T00:00:00Z", "\"2027-1-31\""] {
            assert!(refused(&one("V-254378", day)).contains("no day"), "{day}");
        }
    }

    #[test]
    fn a_member_that_is_missing_or_unknown_is_refused_with_its_line() {
        let unknown = refused(&one("V-254378", "2027-01-31").replace("approver", "aprover"));
        assert!(unknown.contains("line 5") && unknown.contains("unknown field `aprover`"), "{unknown}");
        let missing = refused("[[waiver]]\nrule = \"V-254378\"");
        assert!(missing.contains("missing field"), "{missing}");
        let parse = |text: &str| Waivers::parse(text, Catalog::ws2022(), Moment(0));
        assert!(matches!(parse("[[waiver]]").unwrap_err(), Error::Schema { .. }));
        assert_eq!(parse("schema = \"coldforge/waivers/1\"").unwrap(), Waivers::default());
    }
}
