//! What must be changed on a machine for its open findings to close.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::assess::{Assessment, Finding, Status};
use super::error::Error;
use super::rule::Advice;
use crate::windows::{Setting, Value};

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

/// The changes to make, in the order of the catalog.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Plan {
    /// One step for each setting.
    pub steps: Vec<Step>,
    /// What is left open on purpose.
    pub held_back: Vec<Held>,
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

/// An open finding that is left open on purpose.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Held {
    /// The rule's STIG id.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// Plans the changes that close the open findings of an assessment.
///
/// Settings that several rules demand become one step. A setting of a rule that is held back is not changed for
/// another rule either: the risk lies in the setting.
///
/// # Errors
/// [`Error::Conflict`] (`E-RULE-CONFLICT`) if two rules demand different values of one setting.
pub fn plan(assessment: &Assessment, hold_back: &HoldBack) -> Result<Plan, Error> {
    let open: Vec<&Finding> = assessment.findings.iter().filter(|finding| finding.status == Status::Open).collect();
    let mut plan = Plan::default();

    let mut kept: BTreeMap<(String, String), &str> = BTreeMap::new();
    let mut held_rules: BTreeSet<&str> = BTreeSet::new();
    for finding in &open {
        if let Some(reason) = held(finding, hold_back) {
            plan.held_back.push(Held { rule: finding.stig_id.clone(), reason });
            held_rules.insert(&finding.stig_id);
            kept.extend(targets(finding).map(|(setting, _)| (folded(setting), finding.stig_id.as_str())));
        }
    }

    let mut at: BTreeMap<(String, String), usize> = BTreeMap::new();
    for finding in open.iter().filter(|finding| !held_rules.contains(finding.stig_id.as_str())) {
        for (setting, to) in targets(finding) {
            if let Some(other) = kept.get(&folded(setting)) {
                let reason = format!("{setting} is held back for {other}");
                plan.held_back.push(Held { rule: finding.stig_id.clone(), reason });
                continue;
            }
            match at.get(&folded(setting)).and_then(|at| plan.steps.get_mut(*at)) {
                None => {
                    at.insert(folded(setting), plan.steps.len());
                    plan.steps.push(Step {
                        rules: vec![finding.stig_id.clone()],
                        setting: setting.clone(),
                        to: Some(to.clone()),
                    });
                }
                Some(step) if step.to.as_ref() == Some(to) => {
                    if !step.rules.contains(&finding.stig_id) {
                        step.rules.push(finding.stig_id.clone());
                    }
                }
                Some(step) => {
                    return Err(Error::Conflict {
                        setting: setting.clone(),
                        one: step.rules.join(", "),
                        other: finding.stig_id.clone(),
                    });
                }
            }
        }
    }
    Ok(plan)
}

/// Returns why a finding is held back, if it is.
fn held(finding: &Finding, hold_back: &HoldBack) -> Option<String> {
    let HoldBack::ImportRisk { disproved } = hold_back else { return None };
    let risk = finding.import_risk.as_ref()?;
    let safe = |to: &Value| to.as_dword().is_some_and(|number| risk.safe_values.contains(&number));
    let risky = match risk.advice {
        Advice::Hold => true,
        Advice::Guard => !disproved.contains(&finding.stig_id) && !targets(finding).all(|(_, to)| safe(to)),
        Advice::Apply => false,
    };
    risky.then(|| risk.reason.clone())
}

/// Returns the settings to change for a finding, with the values to write.
fn targets(finding: &Finding) -> impl Iterator<Item = (&Setting, &Value)> {
    finding.checks.iter().filter(|check| check.status == Status::Open).map(|check| (&check.setting, &check.to))
}

/// Returns the one spelling of a setting: Windows does not tell keys and names apart by their case.
fn folded(setting: &Setting) -> (String, String) {
    match setting {
        Setting::Registry { key, name } => (key.to_uppercase(), name.to_uppercase()),
    }
}
