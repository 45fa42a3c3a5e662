//! Carries out a plan on a machine. Nothing is written to an image here: that is for the machine's own commit.

use super::error::Error;
use super::plan::Plan;
use crate::windows::{Change, Setting, Settings, Value};

/// A step that changed something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// The STIG ids of the rules that demanded it.
    pub rules: Vec<String>,
    /// What changed.
    pub change: Change,
}

/// Carries out the steps of a plan, and returns those that changed something, in the plan's order.
///
/// # Errors
/// [`Error::Step`] for the first step that failed: the machine must then be thrown away, not committed.
/// [`Error::Answers`] if the machine does not answer every step.
pub fn apply(plan: &Plan, machine: &mut dyn Settings) -> Result<Vec<Applied>, Error> {
    let steps: Vec<(Setting, Option<Value>)> =
        plan.steps.iter().map(|step| (step.setting.clone(), step.to.clone())).collect();
    let answers = machine.set_all(&steps);
    if answers.len() != steps.len() {
        return Err(Error::Answers { asked: steps.len(), answered: answers.len() });
    }
    let mut applied = Vec::new();
    for (step, answer) in plan.steps.iter().zip(answers) {
        let change = answer.map_err(|source| Error::Step { rules: step.rules.clone(), source: Box::new(source) })?;
        applied.extend(change.map(|change| Applied { rules: step.rules.clone(), change }));
    }
    Ok(applied)
}
