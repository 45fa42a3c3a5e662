//! What a run reports about each step of a component.

use schemars::JsonSchema;
use serde::Serialize;

use crate::policy::Held;

/// The result of one step.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct StepReport {
    /// The component, its phase and its step.
    pub step: String,
    /// The action.
    pub action: String,
    /// How it went.
    pub status: StepStatus,
    /// The reason, if there is one to give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it wrote, or would have written, to autostart locations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub autostarts: Vec<String>,
}

/// How a step went.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It was carried out.
    Done,
    /// Its condition did not hold.
    Skipped,
    /// It is a script, and was left out.
    LeftOut,
    /// It is staged for the first start; its result is not known yet.
    Staged,
    /// What it writes is held back.
    HeldBack,
    /// It failed, and that was to be ignored.
    IgnoredFailure,
    /// It failed, and the later steps were carried out.
    Failed,
}

impl StepReport {
    /// Marks the step as held back if one of its writes is.
    pub(crate) fn mark_held_back(&mut self, held_back: &[Held]) {
        if let Some(held) = held_back.iter().find(|held| held.rule == self.step) {
            self.status = StepStatus::HeldBack;
            self.why = Some(held.reason.clone());
        }
    }

    /// Returns a warning for everything that the step wrote to an autostart location.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let is_written = !matches!(self.status, StepStatus::LeftOut | StepStatus::HeldBack);
        let written = self.autostarts.iter().filter(move |_| is_written);
        written.map(|what| format!("W-AUTOSTART: {} writes {what}", self.step))
    }

    /// Returns the log entry of a step that was not carried out.
    pub(crate) fn as_left_open(&self) -> Option<Held> {
        let is_left = matches!(self.status, StepStatus::LeftOut | StepStatus::Staged | StepStatus::IgnoredFailure);
        is_left.then(|| Held { rule: self.step.clone(), reason: self.why.clone().unwrap_or_default() })
    }
}
