//! The document `recipe.toml`, schema `coldforge/recipe/1`: its tables and fields as they are written.
//!
//! [`super::Recipe`] interprets the fields; here they have a name and a type.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::{Table, Value};

use super::super::notify::Notice;
use super::Fault;
use super::assertion::Assertion;
use crate::policy::nearest;

/// The schema.
pub(super) const SCHEMA: &str = "coldforge/recipe/1";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(rename = "schema")]
    _schema: String,
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) source: Vec<Source>,
    #[serde(default)]
    pub(super) stig: Stig,
    #[serde(default)]
    pub(super) component: Vec<ComponentFile>,
    #[serde(default)]
    pub(super) build: Build,
    #[serde(default)]
    pub(super) tests: Tests,
    #[serde(default)]
    pub(super) output: Output,
    #[serde(default)]
    pub(super) aws: Aws,
    #[serde(default)]
    pub(super) distribution: Distribution,
    pub(super) schedule: Option<String>,
    #[serde(default)]
    pub(super) notify: Vec<Notice>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) image: String,
    pub(super) sha256: Option<String>,
    pub(super) format: Option<String>,
    pub(super) parent: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Stig {
    pub(super) release: Option<String>,
    pub(super) force: bool,
    pub(super) benchmark: Option<PathBuf>,
    pub(super) with: Vec<String>,
    pub(super) policy: Vec<PathBuf>,
    pub(super) level: Option<String>,
    pub(super) role: Option<String>,
    pub(super) only: Vec<String>,
    pub(super) skip: Vec<String>,
    pub(super) values: Option<PathBuf>,
    pub(super) waivers: Option<PathBuf>,
    pub(super) hold_back: Option<String>,
    pub(super) certificates: Option<PathBuf>,
    pub(super) fail_on: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ComponentFile {
    pub(super) file: PathBuf,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Build {
    pub(super) scripts: Option<String>,
    pub(super) downloads: Option<PathBuf>,
    pub(super) local_gpo: Option<String>,
    pub(super) first_boot: Option<String>,
    pub(super) check: Option<String>,
    pub(super) boot_mode: Option<String>,
    pub(super) fix: Vec<String>,
    pub(super) accept_dirty_hive: bool,
    pub(super) accept_refcounts: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tests {
    pub(super) run: Vec<String>,
    pub(super) assert: Vec<Assertion>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Output {
    pub(super) name: Option<String>,
    pub(super) format: Option<String>,
    pub(super) folder: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Aws {
    pub(super) route: Option<String>,
    pub(super) skip_preflight: bool,
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) region: Option<String>,
    pub(super) role_name: Option<String>,
    pub(super) kms_key: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) license: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Distribution {
    pub(super) regions: Vec<String>,
    pub(super) accounts: Vec<String>,
}

impl Document {
    /// Reads a text and sets what the command line assigns; returns also the text that tells both.
    pub(super) fn read(text: &str, set: &[(String, String)]) -> Result<(Self, String), Fault> {
        let misread = |source| Fault::Document { source: Box::new(source) };
        let mut table: Table = text.parse().map_err(misread)?;
        let found = table.get("schema").and_then(Value::as_str).unwrap_or_default();
        if found != SCHEMA {
            return Err(Fault::Schema { found: found.to_owned(), expected: SCHEMA });
        }
        let read = |text: &str| {
            toml::from_str(text).map_err(|error| unknown_field(text, &error).unwrap_or_else(|| misread(error)))
        };
        if set.is_empty() {
            return Ok((read(text)?, text.to_owned()));
        }
        for (key, value) in set {
            assign(&mut table, key, value)?;
        }
        let text = table.to_string();
        Ok((read(&text)?, text))
    }
}

/// Sets a value by its dotted key; tables on the way are made, elements of lists are named by their number.
fn assign(table: &mut Table, key: &str, text: &str) -> Result<(), Fault> {
    let no_place = || Fault::Key { key: key.to_owned() };
    // What is not a value of TOML is a text.
    let value = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    let (folders, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut place = table;
    let mut names = folders.split('.').filter(|name| !name.is_empty());
    while let Some(name) = names.next() {
        let next = place.entry(name).or_insert_with(|| Value::Table(Table::new()));
        place = match next {
            Value::Table(table) => table,
            Value::Array(array) => {
                let number: usize = names.next().and_then(|number| number.parse().ok()).ok_or_else(no_place)?;
                array.get_mut(number).and_then(Value::as_table_mut).ok_or_else(no_place)?
            }
            _ => return Err(no_place()),
        };
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

/// Returns the fault for a field that there is not; `None` if something else is wrong.
fn unknown_field(text: &str, error: &toml::de::Error) -> Option<Fault> {
    let mut quoted = error.message().strip_prefix("unknown field `")?.split('`');
    let name = quoted.next()?.to_owned();
    // Two names in backticks are separated by a comma or an `or`.
    let known: Vec<&str> = quoted.skip(1).step_by(2).collect();
    let line = text.get(..error.span()?.start)?.matches('\n').count().saturating_add(1);
    let nearest = nearest(&name, known).map(str::to_owned);
    Some(Fault::Field { line, name, nearest })
}
