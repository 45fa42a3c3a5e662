//! Runs a component: what it would do under a script policy, its build phases, and its tests.

use super::actions::{Action, Offline};
use super::fault::Fault;
use super::loaded::{Component, POLICY};
use super::pending_changes::PendingChanges;
use super::powershell::{self, Scripts};
use super::report::StepReport;
use super::{Result, checks, perform};
use crate::windows::setting::Readings;
use coldforge_base::time::Moment;

impl Component {
    /// Describes how each step that is a script or starts a program is handled under a script policy.
    pub fn script_steps(&self, scripts: Scripts) -> Vec<String> {
        let mut reports = Vec::new();
        for phase in &self.document.phases {
            for step in &phase.steps {
                let offline = Action::named(&step.action).map(|action| action.offline);
                let becomes = match (offline, scripts) {
                    (Some(Offline::Script), Scripts::Fail) => "refused",
                    (Some(Offline::Script), Scripts::Skip) => "left out",
                    (Some(Offline::Script), Scripts::Translate) if powershell::beyond(step, scripts).is_empty() => {
                        "translated"
                    }
                    (Some(Offline::Script), Scripts::Translate) => "refused: it cannot be translated",
                    (Some(Offline::Script | Offline::Program(_)), Scripts::FirstBoot) if phase.name == "test" => {
                        "left out"
                    }
                    (Some(Offline::Script | Offline::Program(_)), Scripts::FirstBoot) => "left to the first start",
                    (Some(Offline::Program(_)), _) => "refused: a program has to run",
                    _ => continue,
                };
                reports.push(format!("{}.{} ({}): {becomes}", phase.name, step.name, step.action));
            }
        }
        let becomes = match scripts {
            Scripts::Fail => "refused",
            Scripts::Skip => "left out",
            Scripts::Translate | Scripts::FirstBoot => "written, with a warning",
        };
        let autostarts = checks::check(self, scripts).autostarts.into_iter();
        let becomes = |step: &str| {
            if scripts == Scripts::Skip && step.ends_with(POLICY) { "written, with a warning" } else { becomes }
        };
        reports.extend(autostarts.map(|(step, fault)| format!("{step}: {}: {}", fault.what, becomes(&step))));
        reports
    }

    /// Returns every fault that can be found under a script policy before an image is read. A run checks the same.
    pub fn objections(&self, scripts: Scripts) -> Vec<Fault> {
        let checks::Objections { mut faults, later, autostarts } = checks::check(self, scripts);
        faults.extend(later);
        if scripts == Scripts::Fail {
            faults.extend(autostarts.into_iter().map(|(_, fault)| fault));
        }
        faults.sort_by_key(|fault| fault.at);
        faults.dedup();
        faults
    }

    /// Returns an empty set of pending changes.
    pub(crate) fn pending(machine: &dyn Readings, now: Moment) -> PendingChanges<'_> {
        PendingChanges::new(machine, now)
    }

    /// Carries out the phases before the tests.
    ///
    /// # Errors
    /// [`Error::Faults`].
    pub(crate) fn build(&self, pending: &mut PendingChanges<'_>, scripts: Scripts) -> Result<Vec<StepReport>> {
        let checks::Objections { mut faults, autostarts, .. } = checks::check(self, scripts);
        // Other autostarts are checked where they are written, because an unchanged value is not a new autostart.
        let of_policies: Vec<_> = autostarts.into_iter().filter(|(step, _)| step.ends_with(POLICY)).collect();
        if scripts == Scripts::Fail {
            faults.extend(of_policies.iter().map(|(_, fault)| fault.clone()));
        }
        if let Some(first) = faults.first() {
            return Err(self.error(faults.len(), first.clone()));
        }
        let mut reports = perform::run(self, pending, scripts, |phase| phase != "test")?;
        for step in reports.iter_mut().filter(|step| step.action == "ApplyPolicy") {
            step.autostarts.extend(of_policies.iter().map(|(_, fault)| fault.what.clone()));
        }
        Ok(reports)
    }

    /// Carries out the tests.
    ///
    /// # Errors
    /// [`Error::Faults`].
    pub(crate) fn test(&self, machine: &dyn Readings, now: Moment, scripts: Scripts) -> Result<Vec<StepReport>> {
        perform::run(self, &mut PendingChanges::read_only(machine, now), scripts, |phase| phase == "test")
    }
}
