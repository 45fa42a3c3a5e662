//! What is demanded of a machine: a benchmark and the selection of its rules.

use serde_json::json;

use super::Result;
use crate::audit;
use crate::base::digest::Digest;
use crate::policy::{Catalog, Level, Selection, Values};
use crate::windows::setting::Identity;

/// What a user asked for; texts are kept as they were typed, since the evidence repeats them.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// The benchmark's id, such as `ws2022`; `None` takes the one that fits the machine.
    pub stig: Option<String>,
    /// The level.
    pub level: Level,
    /// Rules to which the run is limited; empty for all.
    pub only: Vec<String>,
    /// Rules that are left out.
    pub skip: Vec<String>,
    /// Organization values.
    pub values: Values,
}

impl Demand {
    /// Returns the catalog and the selection that the demand means for a machine.
    ///
    /// # Errors
    /// [`Error::Policy`](super::Error::Policy) if there is no such benchmark or rule.
    pub fn resolve(&self, identity: &Identity) -> Result<(Catalog, Selection)> {
        let catalog = match &self.stig {
            Some(id) => Catalog::by_id(id)?,
            None => Catalog::for_identity(identity)?,
        };
        self.values.check(&catalog)?;
        let selection = Selection::new(&catalog, self.level, &self.only, &self.skip)?;
        Ok((catalog, selection))
    }

    /// Returns the demand as the audit log records it.
    pub fn record(&self, catalog: &Catalog) -> audit::Policy {
        audit::Policy {
            benchmark: json!(catalog.benchmark()),
            catalog_sha256: Digest::of(catalog.text().as_bytes()),
            level: self.level.to_string(),
            only: self.only.clone(),
            skip: self.skip.clone(),
            values: json!(self.values),
        }
    }

    /// Rebuilds a demand from what [`Demand::record`] wrote.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn from_record(policy: &serde_json::Value) -> std::result::Result<Self, String> {
        let texts = |name: &str| serde_json::from_value::<Vec<String>>(policy[name].clone()).map_err(|_| name.to_owned());
        let malformed = |what: String| format!("the policy's `{what}` is malformed");
        Ok(Self {
            stig: Some(policy["benchmark"]["id"].as_str().ok_or_else(|| malformed("benchmark".into()))?.to_owned()),
            level: policy["level"].as_str().and_then(|text| text.parse().ok()).ok_or_else(|| malformed("level".into()))?,
            only: texts("only").map_err(malformed)?,
            skip: texts("skip").map_err(malformed)?,
            values: serde_json::from_value(policy["values"].clone()).map_err(|_| malformed("values".into()))?,
        })
    }
}
