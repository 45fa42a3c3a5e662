//! What is wrong with a step of a plan.

use crate::policy::plan::step::Step;

/// What a step could do to the machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Harm {
    /// No machine starts, or admits anybody, with it.
    Fatal(String),
    /// An imported machine may not start with it, or cannot be reached.
    Risk(String),
}

/// A step that is not taken, and why.
pub(in crate::policy) struct HeldStep {
    pub(in crate::policy) step: Step,
    pub(in crate::policy) reason: String,
}
