//! A plan: the steps to take, and the rules that are left open, each with the reason.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::windows::setting::{Setting, Value};

/// The changes to make, in the order of the catalog.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Plan {
    /// One step for each setting.
    pub steps: Vec<Step>,
    /// What is left open on purpose.
    pub held_back: Vec<Held>,
    /// What is left open because the organization waived it.
    pub waived: Vec<Held>,
    /// What is left open because nothing can be done about it here.
    pub left_open: Vec<Held>,
    /// What setup may set anew when the image starts for the first time.
    pub at_risk: Vec<Held>,
}

/// One change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// The STIG ids of the rules that demand it.
    pub rules: Vec<String>,
    /// The setting, concrete.
    pub setting: Setting,
    /// The value to write, or `None` to remove what is there.
    pub to: Option<Value>,
}

/// An open finding that is left open.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Held {
    /// The rule's STIG id.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// Which open findings are left open on purpose.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HoldBack {
    /// None.
    #[default]
    Nothing,
    /// Those of rules that are held before an import, and of guarded rules unless their risk is disproved.
    ImportRisk {
        /// The STIG ids of guarded rules whose risk was disproved for this machine.
        disproved: BTreeSet<String>,
    },
}

/// Returns the one spelling of a setting: Windows does not tell keys and names apart by their case.
pub(in crate::policy) fn folded(setting: &Setting) -> Setting {
    match setting.clone() {
        Setting::Registry { key, name } => Setting::Registry { key: key.to_uppercase(), name: name.to_uppercase() },
        Setting::LocalPolicy { scope, key, name } => {
            Setting::LocalPolicy { scope, key: key.to_uppercase(), name: name.to_uppercase() }
        }
        Setting::RegistryAcl { key } => Setting::RegistryAcl { key: key.to_uppercase() },
        Setting::FileAcl { path } => Setting::FileAcl { path: path.to_uppercase() },
        Setting::FileContent { path } => Setting::FileContent { path: path.to_uppercase() },
        Setting::FileData { path } => Setting::FileData { path: path.to_uppercase() },
        Setting::File { path } => Setting::File { path: path.to_uppercase() },
        Setting::Folder { path } => Setting::Folder { path: path.to_uppercase() },
        other => other,
    }
}
