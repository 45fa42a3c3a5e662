//! What is demanded of a machine: a benchmark and the selection of its rules.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::Result;
use crate::audit;
use crate::base::time::Moment;
use crate::base::zip;
use crate::policy::{Benchmark, Catalog, Level, LocalGpo, RoleChoice, Selection, Values};
use crate::windows::setting::Identity;
use crate::windows::{Opening, VolumeCheck};

/// Where a bundle holds the user's own benchmark file: as XML, or in a zip.
pub(super) const BENCHMARKS: [&str; 2] = ["policy/benchmark.xml", "policy/benchmark.zip"];

/// What a user asked for; texts are kept as they were typed, since the evidence repeats them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// The benchmark's id, such as `ws2022`; `None` takes the one that fits the machine.
    pub stig: Option<String>,
    /// A benchmark file as its publisher made it, which then stands in for a built-in one.
    pub benchmark: Option<Vec<u8>>,
    /// The level.
    pub level: Level,
    /// As what the machine is assessed.
    pub role: RoleChoice,
    /// Rules to which the run is limited; empty for all.
    pub only: Vec<String>,
    /// Rules that are left out.
    pub skip: Vec<String>,
    /// The text of an organization values file.
    pub values: Option<String>,
    /// What becomes of local group policy.
    pub local_gpo: LocalGpo,
    /// Whether a dirty hive without a usable log is taken as it lies there.
    pub accept_dirty_hive: bool,
    /// How much of the volume is verified before and after the edit.
    pub check: VolumeCheck,
}

/// A demand that was held against a catalog.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) catalog: Cow<'static, Catalog>,
    pub(super) selection: Selection,
    pub(super) values: Values,
}

impl Demand {
    /// Returns how a machine is opened under this demand, when changed keys carry this moment.
    pub(super) fn opening(&self, now: Moment) -> Opening {
        Opening { now: now.filetime(), accept_dirty_hive: self.accept_dirty_hive, check: self.check }
    }

    /// Returns what the demand means for a machine.
    ///
    /// # Errors
    /// [`Error::Policy`](super::Error::Policy) if there is no such benchmark or rule, or a value is out of bounds.
    pub(super) fn resolve(&self, identity: &Identity) -> Result<Resolved> {
        let catalog = match (&self.benchmark, &self.stig) {
            (Some(file), _) => Cow::Owned(Catalog::of_benchmark(file)?),
            (None, Some(id)) => Cow::Borrowed(Catalog::named(id)?),
            (None, None) => Cow::Borrowed(Catalog::for_identity(identity)?),
        };
        let values = self.values.as_deref().map(|text| Values::parse(text, &catalog)).transpose()?;
        let selection = Selection::new(&catalog, self.level, self.role, &self.only, &self.skip)?;
        Ok(Resolved { catalog, selection, values: values.unwrap_or_default() })
    }

    /// Returns the demand as the audit log records it.
    pub(super) fn record(&self, catalog: &Catalog) -> audit::Policy {
        audit::Policy {
            benchmark: json!(Benchmark::of(catalog)),
            catalog_sha256: catalog.sha256,
            level: self.level.to_string(),
            role: self.role.to_string(),
            only: self.only.clone(),
            skip: self.skip.clone(),
            values: self.values.clone(),
            local_gpo: self.local_gpo.to_string(),
            accept_dirty_hive: self.accept_dirty_hive,
            volume_check: self.check.to_string(),
        }
    }

    /// Returns where a bundle holds the user's own benchmark file, which is what proves the bundle again; `None` if there
    /// is none.
    pub(super) fn benchmark_path(&self) -> Option<&'static str> {
        let file = self.benchmark.as_deref()?;
        Some(if zip::is_zip(file) { BENCHMARKS[1] } else { BENCHMARKS[0] })
    }

    /// Rebuilds a demand from what [`Demand::record`] wrote; `Err` names the member that is malformed.
    pub(super) fn from_record(policy: &Value) -> std::result::Result<Self, &'static str> {
        let texts = |name: &'static str| serde_json::from_value(policy[name].clone()).map_err(|_| name);
        let text = |name: &'static str| policy[name].as_str().ok_or(name);
        Ok(Self {
            stig: Some(policy["benchmark"]["id"].as_str().ok_or("benchmark")?.to_owned()),
            benchmark: None,
            level: text("level")?.parse().map_err(|_| "level")?,
            role: text("role")?.parse().map_err(|_| "role")?,
            only: texts("only")?,
            skip: texts("skip")?,
            values: serde_json::from_value(policy["values"].clone()).map_err(|_| "values")?,
            local_gpo: text("local_gpo")?.parse().map_err(|_| "local_gpo")?,
            accept_dirty_hive: policy["accept_dirty_hive"].as_bool().ok_or("accept_dirty_hive")?,
            check: text("volume_check")?.parse().map_err(|_| "volume_check")?,
        })
    }
}
