//! The guard: what a change could do to boot and logon, whoever asks for it.
//!
//! Rules, policies, components and preflight fixes become steps of one plan, and each step is judged here by what it
//! writes. A step that no machine would start with, or that would let nobody log on, is refused. One that an imported
//! machine may not start with, or could not be reached with, is held back with the reason; `--hold-back none` applies it.
//! Rules of a catalog that name their own risk were judged by the plan already.
//!
//! Not judged: whether a program that is started works, and what a running Windows does later.

mod administrators;
pub(super) mod harm;
pub(super) mod import_risk;
mod permissions;
pub(super) mod planned;
mod registry;
mod remote_desktop;
mod services;

pub use administrators::keep_an_administrator;

use self::harm::{Harm, HeldStep};
use self::planned::Planned;
use super::bound_fields;
use super::error::Error;
use super::finding::Assessment;
use super::plan::requirements::Requirements;
use super::plan::step::{Held, HoldBack, Plan, Step};
use super::selection::HoldBackChoice;
use crate::windows::setting::{Readings, Setting, Value};

impl HoldBack {
    /// Returns what the choice means for an assessed machine.
    pub fn on(choice: HoldBackChoice, assessment: &Assessment, machine: &dyn Readings) -> Self {
        match choice {
            HoldBackChoice::Nothing => Self::Nothing,
            HoldBackChoice::ImportRisk => Self::ImportRisk { disproved: import_risk::disproved(assessment, machine) },
        }
    }
}

impl Plan {
    /// Returns the plan without what could keep an imported machine from starting or from being reached, which is held back
    /// with the reason unless nothing is to be; and without fields of the account policy that would contradict others.
    ///
    /// # Errors
    /// [`Error::Unsafe`] (`E-UNSAFE-CHANGE`) for steps with which no machine starts or admits anybody;
    /// [`Error::BoundFields`] (`E-POLICY-RANGE`) for fields of the account policy that contradict each other.
    pub fn guarded(
        mut self,
        assessment: &Assessment,
        machine: &dyn Readings,
        choice: HoldBackChoice,
    ) -> Result<Self, Error> {
        let mut kept = Vec::new();
        let (mut fatal, mut held) = (Vec::new(), Vec::new());
        let steps = std::mem::take(&mut self.steps);
        let planned = Planned::new(machine, &steps);
        let judged: Vec<Option<Harm>> = steps.iter().map(|step| judge(step, machine, &planned)).collect();
        for (step, harm) in steps.iter().cloned().zip(judged) {
            match harm.or_else(|| import_risk::judge(&step, assessment, machine)) {
                None => kept.push(step),
                Some(Harm::Fatal(reason)) => fatal.push(HeldStep { step, reason }),
                Some(Harm::Risk(reason)) => held.push(HeldStep { step, reason }),
            }
        }
        let count = fatal.len();
        if let Some(HeldStep { step, reason }) = fatal.into_iter().next() {
            let rules = step.rules.join(", ");
            return Err(Error::Unsafe { rules, setting: step.setting, reason, count });
        }
        match choice {
            HoldBackChoice::Nothing => kept.extend(held.drain(..).map(|held| held.step)),
            HoldBackChoice::ImportRisk => held.extend(remote_desktop::hold(&mut kept, machine)),
        }
        held.extend(bound_fields::hold_with(&mut kept, &held));
        for HeldStep { step, reason } in held {
            self.hold(&step, &format!("{}: {reason}", step.setting));
        }
        let live: Vec<_> = assessment.findings.iter().filter(|finding| !finding.is_waived()).collect();
        let left = bound_fields::reconcile(&mut kept, &Requirements::of(&live), machine)?;
        self.left_open.extend(left);
        self.left_open.extend(bound_fields::hold_long_passwords(&mut kept, machine));
        self.steps = kept;
        Ok(self)
    }

    /// Lists the rules of a step as held back, each once for a reason.
    fn hold(&mut self, step: &Step, reason: &str) {
        for rule in &step.rules {
            let held = Held { rule: rule.clone(), reason: reason.to_owned() };
            if !self.held_back.contains(&held) {
                self.held_back.push(held);
            }
        }
    }
}

/// Returns a setting with one backslash between the names of its key.
fn spelled(setting: &Setting) -> Setting {
    match setting {
        Setting::Registry { key, name } => {
            let names: Vec<&str> = key.split('\\').filter(|name| !name.is_empty()).collect();
            Setting::Registry { key: names.join("\\"), name: name.clone() }
        }
        other => other.clone(),
    }
}

/// Judges a step by what it writes, on a machine that the whole plan has changed.
fn judge(step: &Step, machine: &dyn Readings, planned: &Planned<'_>) -> Option<Harm> {
    let to = step.to.as_ref().filter(|value| **value != Value::Deletion);
    let judged = |setting: &Setting| {
        let setting = &spelled(setting);
        let before = machine.get(setting).ok().and_then(|found| found.value);
        if before.as_ref() == to {
            return None;
        }
        let before = before.as_ref();
        match setting {
            Setting::Registry { key, name } => registry::judge((key, name), (before, to), planned),
            Setting::UserRight { right } => permissions::judge_right(right, before, to),
            Setting::FileAcl { path } => permissions::judge_file_permissions(path, before, to),
            Setting::RegistryAcl { key } => permissions::judge_key_permissions(key, before, to),
            Setting::FileContent { path } | Setting::FileData { path } => {
                permissions::judge_file(path, before.is_some())
            }
            Setting::File { path } | Setting::Folder { path } => {
                permissions::judge_file(path, before == Some(&Value::Flag(true)))
            }
            _ => None,
        }
    };
    planned::effective(&step.setting, machine).iter().find_map(judged)
}

#[cfg(test)]
mod tests;
