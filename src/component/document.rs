//! The parsed form of a component document (EC2 Image Builder's grammar, schema version 1.0). [`super::parse`] produces it.

use super::condition::{Branch, Condition};
use super::fault::Position;
use super::yaml::Node;

/// A component document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Document {
    /// What it is called.
    pub name: Option<String>,
    /// Its parameters, each with its default.
    pub parameters: Vec<(String, Option<String>)>,
    /// Its constants.
    pub constants: Vec<(String, String)>,
    /// Its phases, in their order.
    pub phases: Vec<Phase>,
}

/// A phase.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Phase {
    pub name: String,
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub at: Position,
    pub name: String,
    pub action: String,
    pub on_failure: OnFailure,
    /// How often it is tried, which matters to what is left to the first start: here nothing fails by chance.
    pub attempts: u32,
    pub condition: Option<(Condition, Branch, Branch)>,
    pub repeat: Option<Loop>,
    /// The inputs, each once it is done.
    pub inputs: Vec<Node>,
}

/// What a step that fails means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OnFailure {
    Abort,
    Continue,
    Ignore,
}

/// How often a step is done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Loop {
    /// Its name; empty without one.
    pub name: String,
    pub values: Values,
}

/// What a loop goes through.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Values {
    /// Numbers, as they are written.
    Numbers(Vec<String>),
    /// Texts with expressions.
    Items(Vec<Node>),
    /// One text with expressions, split by a character.
    Split(Node, char),
}
