//! Floor 4: what is demanded of a machine, whether it holds, and the steps that make it hold.
//!
//! A [`Catalog`] is a benchmark as data: [`Rule`]s with [`Check`]s, each a setting and a [`Requirement`]. [`assess`]
//! asks a machine and gives an [`Assessment`]; [`plan`] turns its open findings into [`Step`]s; [`apply`] takes them.
//! This floor sees a machine only through [`Settings`](crate::windows::setting::Settings): it knows neither hives nor disks.
//!
//! A rule that was not assessed is never reported as passed: what this version cannot assess is `not_reviewed`, and
//! the finding says why.

mod applicability;
mod apply;
mod assess;
mod autostart;
mod bound_fields;
mod catalog;
mod error;
#[cfg(test)]
mod fake_machine;
mod finding;
mod first_boot;
mod fit;
mod fixes;
mod guard;
mod local_policy;
mod nearest;
mod plan;
mod principal;
mod require;
mod rule;
mod selection;
pub mod source;
mod threshold;
mod values;
mod waivers;
pub mod xccdf;

pub use apply::{Applied, apply};
pub use assess::assess;
pub use autostart::autostart;
pub use catalog::{Benchmark, Catalog, Component, catalogs, find_rule};
pub use error::{Error, RuleFault, ValueFault, WaiverFault};
pub use finding::{Assessment, CheckResult, Finding, Part, Place, Remediation, Status, Summary, Totals};
pub use first_boot::{FirstBoot, SETUP_COMPLETE, with_call_first};
pub use fit::lacks;
pub use guard::keep_an_administrator;
pub use local_policy::LocalGpo;
pub use nearest::nearest;
pub use plan::plan;
pub use plan::step::{Held, HoldBack, Plan, Step};
pub use principal::{Principal, UnknownPrincipal};
pub use require::{Override, Plain, Requirement, Shortfall};
pub use rule::{
    Advice, Check, Condition, Gate, ImportRisk, Official, Reach, Remedy, Rule, RuleKind, RuleScope, Severity,
};
pub use selection::{HoldBackChoice, Level, RoleChoice, Selection, UnknownWord};
pub use threshold::{Breach, Error as ThresholdError, Threshold};
pub use values::{TailoredRequirement, Values};
pub use waivers::{Waiver, Waivers};

/// Every code of this room.
pub const CODES: &[&[coldforge_base::failure::Code]] =
    &[Error::CODES, ThresholdError::CODES, source::Fault::CODES, xccdf::Error::CODES];
