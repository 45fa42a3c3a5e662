//! Performs the steps of a component against [`PendingChanges`].

use std::collections::BTreeMap;

use super::Result as JobResult;
use super::act::act;
use super::actions::{Action, Offline};
use super::condition::{Branch, Condition, Operator, compare};
use super::document::{OnFailure, Step, Values};
use super::environment;
use super::expression::{self, Scope, StepResults};
use super::fault::{Fault, Flaw};
use super::loaded::Component;
use super::pending_changes::PendingChanges;
use super::powershell::Scripts;
use super::report::{StepReport, StepStatus};
use super::staged::Script;

type Result<T> = std::result::Result<T, Fault>;

/// Performs the wanted phases of a component.
///
/// # Errors
/// [`super::Error::Faults`] for a step that fails, unless that is to be ignored.
pub(super) fn run(
    component: &Component,
    pending: &mut PendingChanges<'_>,
    scripts: Scripts,
    wanted: fn(&str) -> bool,
) -> JobResult<Vec<StepReport>> {
    let names = component.names().map_err(|fault| component.error(1, fault))?;
    let mut results = BTreeMap::new();
    let mut reports = Vec::new();
    let mut failed = None;
    for phase in component.document.phases.iter().filter(|phase| wanted(&phase.name)) {
        for step in &phase.steps {
            let label = component.label(&phase.name, &step.name);
            pending.start_step(label.clone(), step.at, scripts);
            let mut step_run =
                StepRun { component, names: &names, results: &results, phase: &phase.name, step, scripts };
            let (status, why) = match step_run.run(pending) {
                Ok((status, outputs)) => {
                    results.insert(format!("{}.{}", phase.name, step.name), outputs);
                    let why = match status {
                        StepStatus::LeftOut => Some("its script was left out".to_owned()),
                        StepStatus::Staged => Some("it runs once when setup has ended".to_owned()),
                        _ => None,
                    };
                    (status, why)
                }
                Err(fault) if step.on_failure == OnFailure::Ignore && fault.flaw != Flaw::Autostart => {
                    (StepStatus::IgnoredFailure, Some(fault.to_string()))
                }
                Err(fault) => {
                    let why = Some(fault.to_string());
                    let first = failed.get_or_insert(fault);
                    if step.on_failure == OnFailure::Abort || first.flaw == Flaw::Autostart {
                        return Err(super::Error::Faults { name: label, count: 1, first: first.clone() });
                    }
                    (StepStatus::Failed, why)
                }
            };
            let autostarts = pending.autostarts();
            let (status, why) = match autostarts.is_empty() || scripts != Scripts::Skip || status != StepStatus::Done {
                true => (status, why),
                false => (StepStatus::LeftOut, Some(format!("left out as a script: {}", autostarts.join("; ")))),
            };
            reports.push(StepReport { step: label, action: step.action.clone(), status, why, autostarts });
        }
    }
    match failed {
        None => Ok(reports),
        Some(first) => {
            let count = reports.iter().filter(|reports| reports.status == StepStatus::Failed).count();
            Err(component.error(count, first))
        }
    }
}

/// The run of one step.
struct StepRun<'a> {
    component: &'a Component,
    names: &'a BTreeMap<String, String>,
    results: &'a BTreeMap<String, StepResults>,
    phase: &'a str,
    step: &'a Step,
    scripts: Scripts,
}

impl StepRun<'_> {
    fn run(&mut self, pending: &mut PendingChanges<'_>) -> Result<(StepStatus, StepResults)> {
        if let Some((condition, then, otherwise)) = &self.step.condition {
            let holds = self.holds(condition, None, pending)?;
            match if holds { then } else { otherwise } {
                Branch::Execute => {}
                Branch::Skip => return Ok((StepStatus::Skipped, StepResults::default())),
                Branch::Abort => return Err(Fault::new(self.step.at, Flaw::Failed, "its condition ends the run")),
            }
        }
        let is_staged = self.is_staged();
        if self.step.action == "ExecutePowerShell" && self.scripts == Scripts::Skip || is_staged && self.phase == "test"
        {
            return Ok((StepStatus::LeftOut, StepResults::default()));
        }
        let status = if is_staged { StepStatus::Staged } else { StepStatus::Done };
        let mut results = StepResults::default();
        let Some(repeat) = &self.step.repeat else {
            self.run_once(None, &mut results, pending)?;
            return Ok((status, results));
        };
        let values: Vec<String> = match &repeat.values {
            Values::Numbers(numbers) => numbers.clone(),
            Values::Items(items) => items
                .iter()
                .map(|item| self.resolve(item.text().unwrap_or_default(), None, pending))
                .collect::<Result<_>>()?,
            Values::Split(list, delimiter) => {
                let list = self.resolve(list.text().unwrap_or_default(), None, pending)?;
                list.split(*delimiter).map(str::to_owned).collect()
            }
        };
        for (index, value) in values.iter().enumerate() {
            self.run_once(Some((repeat.name.as_str(), index, value.as_str())), &mut results, pending)?;
        }
        Ok((status, results))
    }

    /// Returns whether the step is staged for the first start.
    fn is_staged(&self) -> bool {
        let offline = Action::named(&self.step.action).map(|action| action.offline);
        self.scripts == Scripts::FirstBoot && matches!(offline, Some(Offline::Script | Offline::Program(_)))
    }

    fn run_once(
        &self,
        iteration: Option<(&str, usize, &str)>,
        results: &mut StepResults,
        pending: &mut PendingChanges<'_>,
    ) -> Result<()> {
        for input in &self.step.inputs {
            if self.step.action == "Assert" {
                if !self.holds(&Condition::parse(input)?, iteration, pending)? {
                    return Err(Fault::new(input.at, Flaw::Failed, "the assertion does not hold"));
                }
                continue;
            }
            let input = {
                let environment_value = |name: &str| self.environment_value(name, pending);
                let scope = Scope {
                    names: self.names,
                    results: self.results,
                    iteration,
                    environment_value: &environment_value,
                };
                expression::resolve_node(input, &scope)?
            };
            let given = input.map().unwrap_or_default().iter();
            let given = given.filter_map(|(name, _, node)| Some((name.clone(), node.text()?.to_owned())));
            let given: BTreeMap<String, String> = given.collect();
            pending.reserve(given.values().map(String::len).sum())?;
            results.inputs.push(given);
            if self.is_staged() {
                let label = self.component.label(self.phase, &self.step.name);
                pending.stage_script(Script::of(self.step, &label, &input)?)?;
                continue;
            }
            let outputs = act(&self.step.action, &input, &self.component.attachments, pending)?;
            pending.reserve(outputs.values().map(String::len).sum())?;
            results.outputs.push(outputs);
        }
        Ok(())
    }

    fn resolve(
        &self,
        text: &str,
        iteration: Option<(&str, usize, &str)>,
        pending: &PendingChanges<'_>,
    ) -> Result<String> {
        let environment_value = |name: &str| self.environment_value(name, pending);
        expression::resolve(
            text,
            self.step.at,
            &Scope { names: self.names, results: self.results, iteration, environment_value: &environment_value },
        )
    }

    fn holds(
        &self,
        condition: &Condition,
        iteration: Option<(&str, usize, &str)>,
        pending: &PendingChanges<'_>,
    ) -> Result<bool> {
        condition.holds(&mut |_, operator, operand, value| {
            let operand = self.resolve(operand, iteration, pending)?;
            let value = value.map(|value| self.resolve(value, iteration, pending)).transpose()?;
            if let Some(holds) = compare(operator, &operand, value.as_deref()) {
                return Ok(holds);
            }
            match operator {
                Operator::FileExists => pending.is_file(&pending.path(&operand)?),
                Operator::FolderExists => pending.is_folder(&pending.path(&operand)?),
                Operator::BinaryExists => self.is_program(&operand, pending),
                Operator::FileHash(hash) => {
                    let content = pending.content(&pending.path(&value.unwrap_or_default())?)?;
                    let found = content.and_then(|content| content.data).map(|data| hash.of(&data));
                    Ok(found.is_some_and(|found| found.eq_ignore_ascii_case(&operand)))
                }
                _ => Err(Fault::new(self.step.at, Flaw::Condition, format!("{operand:?} is not a valid pattern"))),
            }
        })
    }

    /// Returns whether Windows would find a program by its name, in the folders of the machine's `Path`.
    fn is_program(&self, name: &str, pending: &PendingChanges<'_>) -> Result<bool> {
        if name.contains(['\\', '/', ':']) {
            return pending.is_file(&pending.path(name)?);
        }
        let unknown = || pending.fault(Flaw::Failed, "cannot determine the `Path` variable of the machine");
        let folders = environment::variable("Path", pending).ok_or_else(unknown)?;
        let suffixes = environment::variable("PATHEXT", pending).unwrap_or_else(|| ".COM;.EXE;.BAT;.CMD".to_owned());
        let suffixes: Vec<&str> = std::iter::once("").chain(suffixes.split(';')).collect();
        for folder in folders.split(';').filter(|folder| !folder.is_empty()) {
            for suffix in &suffixes {
                // A folder on another drive is not in this image.
                if let Ok(path) = pending.path(&format!(r"{}\{name}{suffix}", folder.trim_end_matches('\\')))
                    && pending.is_file(&path)?
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Returns the value of a `context:` or `env:` name.
    fn environment_value(&self, name: &str, pending: &PendingChanges<'_>) -> Option<String> {
        if let Some(variable) = name.strip_prefix("env:") {
            return environment::variable(variable, pending);
        }
        let moment = pending.now.to_string();
        match name {
            "context:phase" => Some(self.phase.to_owned()),
            "context:step" => Some(self.step.name.clone()),
            "context:osPlatform" => Some("Windows".to_owned()),
            "context:date" => moment.get(..10).map(str::to_owned),
            "context:dateTime" => Some(moment),
            _ => None,
        }
    }
}
