//! Parses a component document: phases of steps, with parameters and constants (EC2 Image Builder's grammar, schema
//! version 1.0).
//!
//! Parsing reports every fault at once. Inputs are checked again when their expressions are resolved.

use std::collections::BTreeSet;

use super::actions::{ACTIONS, Action, Kind, Offline};
use super::condition::Condition;
use super::document::{Document, Loop, OnFailure, Phase, Step, Values};
use super::expression;
use super::fault::{Fault, Flaw, Position};
use super::powershell::{self, Scripts};
use super::yaml::{self, Node, Value};
use crate::policy::nearest;

/// The phases, of which a document has at least one.
const PHASES: [&str; 3] = ["build", "validate", "test"];
/// The least and the most characters of a name.
const NAME_CHARS: std::ops::RangeInclusive<usize> = 3..=128;

/// The most iterations of a loop of numbers.
const MAX_ITERATIONS: usize = 10_000;

impl Document {
    /// Reads a document; `Err` is everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let root = yaml::parse(text).map_err(|fault| vec![fault])?;
        let mut reader = Reader { faults: Vec::new() };
        let document = reader.document(&root);
        if reader.faults.is_empty() {
            expression::check(&document, &mut reader.faults);
        }
        reader.faults.sort_by_key(|fault| fault.at);
        match reader.faults.is_empty() {
            true => Ok(document),
            false => Err(reader.faults),
        }
    }

    /// Returns the faults of steps that cannot be performed on a powered-off machine.
    pub fn beyond(&self, scripts: Scripts, has_downloads: bool) -> Vec<Fault> {
        let mut faults = Vec::new();
        for step in self.phases.iter().flat_map(|phase| &phase.steps) {
            match Action::named(&step.action).map(|action| action.offline) {
                Some(Offline::Never(why)) => {
                    faults.push(Fault::new(step.at, Flaw::NeedsWindows, format!("{} ({why})", step.action)));
                }
                Some(Offline::Download(why)) if !has_downloads => {
                    faults.push(Fault::new(step.at, Flaw::NeedsWindows, format!("{} ({why})", step.action)));
                }
                Some(Offline::Program(why)) if scripts != Scripts::FirstBoot => {
                    faults.push(Fault::new(step.at, Flaw::NeedsWindows, format!("{} ({why})", step.action)));
                }
                Some(Offline::Script) => faults.extend(powershell::beyond(step, scripts)),
                _ => {}
            }
        }
        faults
    }
}

struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, at: Position, flaw: Flaw, what: impl Into<String>) {
        self.faults.push(Fault::new(at, flaw, what));
    }

    /// Finds members that have no meaning, and required ones that are not there.
    fn members(&mut self, node: &Node, known: &[&str], required: &[&str]) {
        let Some(members) = node.map() else {
            return self.fault(node.at, Flaw::Form, format!("{} instead of a map", node.form()));
        };
        for (name, at, _) in members {
            if !known.contains(&name.as_str()) {
                let meant = nearest(name, known.iter().copied());
                let hint = meant.map(|meant| format!(", perhaps `{meant}` is meant")).unwrap_or_default();
                self.fault(*at, Flaw::UnknownField, format!("`{name}`{hint}"));
            }
        }
        for name in required.iter().filter(|name| node.get(name).is_none()) {
            self.fault(node.at, Flaw::Missing, format!("`{name}`"));
        }
    }

    fn text(&mut self, node: Option<&Node>) -> Option<String> {
        let node = node?;
        let text = node.text().map(str::to_owned);
        if text.is_none() {
            self.fault(node.at, Flaw::Form, format!("{} instead of a text", node.form()));
        }
        text
    }

    fn items<'n>(&mut self, node: Option<&'n Node>) -> &'n [Node] {
        let Some(node) = node else { return &[] };
        node.list().unwrap_or_else(|| {
            self.fault(node.at, Flaw::Form, format!("{} instead of a list", node.form()));
            &[]
        })
    }

    fn number(&mut self, node: Option<&Node>, fits: impl Fn(i64) -> bool, name: &str) -> Option<i64> {
        let node = node?;
        let number = node.text().and_then(|text| text.parse::<i64>().ok()).filter(|number| fits(*number));
        if number.is_none() {
            self.fault(node.at, Flaw::Number, format!("`{name}`"));
        }
        number
    }

    fn document(&mut self, root: &Node) -> Document {
        const FIELDS: [&str; 6] = ["name", "description", "schemaVersion", "parameters", "constants", "phases"];
        self.members(root, &FIELDS, &["schemaVersion", "phases"]);
        if let Some(version) = root.get("schemaVersion")
            && !version.text().is_some_and(|text| matches!(text, "1.0" | "1"))
        {
            self.fault(version.at, Flaw::Schema, version.text().unwrap_or_else(|| version.form()));
        }
        let name = self.text(root.get("name"));
        self.text(root.get("description"));
        let mut names = BTreeSet::new();
        let mut parameters = Vec::new();
        for (name, body) in self.named(root.get("parameters"), &mut names) {
            self.members(body, &["type", "default", "description"], &["type"]);
            if let Some(kind) = body.get("type")
                && !kind.text().is_some_and(|word| word.eq_ignore_ascii_case("string"))
            {
                self.fault(kind.at, Flaw::Word, "the type of a parameter is `string`");
            }
            parameters.push((name, self.text(body.get("default"))));
        }
        let mut constants = Vec::new();
        for (name, body) in self.named(root.get("constants"), &mut names) {
            self.members(body, &["type", "value"], &["type", "value"]);
            constants.push((name, self.text(body.get("value")).unwrap_or_default()));
        }
        let mut phases: Vec<Phase> = Vec::new();
        for node in self.items(root.get("phases")) {
            self.members(node, &["name", "steps"], &["name", "steps"]);
            let name = self.text(node.get("name")).unwrap_or_default();
            if phases.iter().any(|phase| phase.name == name) {
                self.fault(node.at, Flaw::Name, format!("the phase `{name}`"));
            }
            let steps = self.steps(node);
            phases.push(Phase { name, steps });
        }
        if root.get("phases").is_some() && !phases.iter().any(|phase| PHASES.contains(&phase.name.as_str())) {
            self.fault(root.at, Flaw::Phases, phases.iter().map(|phase| &*phase.name).collect::<Vec<_>>().join(", "));
        }
        Document { name, parameters, constants, phases }
    }

    /// Reads a list of maps with one key each.
    fn named<'n>(&mut self, node: Option<&'n Node>, names: &mut BTreeSet<String>) -> Vec<(String, &'n Node)> {
        let mut found = Vec::new();
        for item in self.items(node) {
            let Some([(name, at, body)]) = item.map() else {
                let flat = item.get("name").is_some();
                let hint = if flat { "a flat map: write `- NAME: {type: ..}`" } else { "not a map with one key" };
                self.fault(item.at, Flaw::Form, hint);
                continue;
            };
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if !NAME_CHARS.contains(&name.chars().count()) || !name.chars().all(fits) {
                self.fault(*at, Flaw::BadName, name.clone());
            }
            if !names.insert(name.clone()) {
                self.fault(*at, Flaw::Name, name.clone());
            }
            found.push((name.clone(), body));
        }
        found
    }

    fn steps(&mut self, phase: &Node) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut loops = BTreeSet::new();
        for node in self.items(phase.get("steps")) {
            const FIELDS: [&str; 8] =
                ["name", "action", "timeoutSeconds", "onFailure", "maxAttempts", "if", "loop", "inputs"];
            self.members(node, &FIELDS, &["name", "action"]);
            let name = self.text(node.get("name")).unwrap_or_default();
            if steps.iter().any(|step| step.name == name) {
                self.fault(node.at, Flaw::Name, format!("the step `{name}`"));
            }
            self.number(node.get("timeoutSeconds"), |seconds| seconds == -1 || seconds > 0, "timeoutSeconds");
            let attempts = self.number(node.get("maxAttempts"), |attempts| attempts >= 1, "maxAttempts");
            let attempts = attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(1);
            let on_failure = match node.get("onFailure").map(|word| (word.at, word.text().unwrap_or_default())) {
                None | Some((_, "Abort")) => OnFailure::Abort,
                Some((_, "Continue")) => OnFailure::Continue,
                Some((_, "Ignore")) => OnFailure::Ignore,
                Some((at, other)) => {
                    self.fault(at, Flaw::Word, format!("`{other}` instead of Abort, Continue or Ignore"));
                    OnFailure::Abort
                }
            };
            let condition = match node.get("if").map(Condition::of_step) {
                None => None,
                Some(Ok(condition)) => Some(condition),
                Some(Err(fault)) => {
                    self.faults.push(fault);
                    None
                }
            };
            let repeat = node.get("loop").and_then(|node| self.repeat(node));
            if let Some(repeat) = &repeat
                && !repeat.name.is_empty()
                && !loops.insert(repeat.name.clone())
            {
                self.fault(node.at, Flaw::Name, format!("the loop `{}`", repeat.name));
            }
            let action = self.text(node.get("action")).unwrap_or_default();
            let inputs = match Action::named(&action) {
                Some(known) => self.inputs(known, node),
                None => {
                    let meant = nearest(&action, ACTIONS.iter().map(|action| action.name));
                    let hint = meant.map(|meant| format!(", perhaps `{meant}` is meant")).unwrap_or_default();
                    let at = node.get("action").map_or(node.at, |action| action.at);
                    self.fault(at, Flaw::UnknownAction, format!("`{action}`{hint}"));
                    Vec::new()
                }
            };
            if Action::named(&action).is_some_and(|action| action.offline == Offline::Run) {
                self.of_the_run(node, phase);
            }
            steps.push(Step { at: node.at, name, action, on_failure, attempts, condition, repeat, inputs });
        }
        steps
    }

    /// Judges a step that is heard before the first one is done: nothing can depend on what others find.
    fn of_the_run(&mut self, step: &Node, phase: &Node) {
        if phase.get("name").and_then(Node::text) == Some("test") {
            self.fault(step.at, Flaw::Word, "a test must not change anything");
        }
        for name in ["if", "loop"] {
            if let Some(node) = step.get(name) {
                self.fault(node.at, Flaw::Condition, format!("`{name}`: the step counts for the run as a whole"));
            }
        }
        let mut open = vec![step];
        while let Some(node) = open.pop() {
            match &node.value {
                Value::Scalar(text, _) if text.contains("{{") => {
                    self.fault(node.at, Flaw::Expression, "the step counts for the run as a whole: write it out");
                }
                Value::Scalar(..) => {}
                Value::List(items) => open.extend(items),
                Value::Map(members) => open.extend(members.iter().map(|(.., member)| member)),
            }
        }
    }

    fn repeat(&mut self, node: &Node) -> Option<Loop> {
        self.members(node, &["name", "for", "forEach"], &[]);
        let name = self.text(node.get("name")).unwrap_or_default();
        let values = match (node.get("for"), node.get("forEach")) {
            (Some(counted), None) => {
                self.members(counted, &["start", "end", "updateBy"], &["start", "end", "updateBy"]);
                let mut number = |name| self.number(counted.get(name), |_| true, name);
                let (start, end, by) = (number("start")?, number("end")?, number("updateBy")?);
                Values::Numbers(counting(start, end, by).or_else(|| {
                    self.fault(counted.at, Flaw::Loop, format!("from {start} to {end} by {by}"));
                    None
                })?)
            }
            (None, Some(Node { value: Value::List(items), .. })) => {
                for item in items {
                    self.text(Some(item));
                }
                Values::Items(items.clone())
            }
            (None, Some(node)) => {
                self.members(node, &["list", "delimiter"], &["list"]);
                let delimiter = self.text(node.get("delimiter")).unwrap_or_else(|| ",".to_owned());
                let delimiter = match delimiter.as_str() {
                    "\\n" => '\n',
                    "\\t" => '\t',
                    text => match text.chars().next().filter(|c| ".,;:\n\t -_".contains(*c) && text.len() == 1) {
                        Some(delimiter) => delimiter,
                        None => {
                            self.fault(node.at, Flaw::Loop, format!("the delimiter {text:?}"));
                            return None;
                        }
                    },
                };
                self.text(node.get("list"))?;
                Values::Split(node.get("list")?.clone(), delimiter)
            }
            _ => {
                self.fault(node.at, Flaw::Loop, "neither `for` nor `forEach`, or both");
                return None;
            }
        };
        Some(Loop { name, values })
    }

    /// Judges the inputs of a step by those of its action.
    fn inputs(&mut self, action: &Action, step: &Node) -> Vec<Node> {
        if action.offline == Offline::OtherSystem {
            self.fault(step.at, Flaw::OtherSystem, action.name);
            return Vec::new();
        }
        let inputs: Vec<Node> = match (step.get("inputs").filter(|inputs| !inputs.is_null()), action.is_list) {
            (None, _) if action.inputs.iter().all(|(.., required)| !required) && action.name != "Assert" => Vec::new(),
            (None, _) => {
                self.fault(step.at, Flaw::Missing, "`inputs`");
                Vec::new()
            }
            // A step that is done no time would pass whatever it asserts.
            (Some(node), true) if node.list().is_some_and(<[Node]>::is_empty) => {
                self.fault(node.at, Flaw::Missing, "`inputs` holds nothing: name at least one");
                Vec::new()
            }
            (Some(node), true) => self.items(Some(node)).to_vec(),
            (Some(node), false) => vec![node.clone()],
        };
        if action.name == "Assert" {
            for input in &inputs {
                if let Err(fault) = Condition::parse(input) {
                    self.faults.push(fault);
                }
            }
            return inputs;
        }
        let names: Vec<&str> = action.inputs.iter().map(|(name, ..)| *name).collect();
        let required: Vec<&str> = action.inputs.iter().filter(|(.., must)| *must).map(|(name, ..)| *name).collect();
        for input in &inputs {
            self.members(input, &names, &required);
            for (name, kind, _) in action.inputs {
                let Some(value) = input.get(name) else { continue };
                if matches!(*name, "owner" | "group" | "permissions") {
                    self.fault(value.at, Flaw::OtherSystem, format!("`{name}`"));
                }
                self.input(value, *kind, name);
            }
            if let Some(commands) = input.get("commands")
                && commands.list().is_some_and(<[Node]>::is_empty)
            {
                self.fault(commands.at, Flaw::Missing, "`commands` holds nothing: name at least one");
            }
            if action.offline == Offline::Script && input.get("commands").is_some() == input.get("file").is_some() {
                self.fault(input.at, Flaw::Missing, "exactly one of `commands` and `file`");
            }
        }
        inputs
    }

    fn input(&mut self, value: &Node, kind: Kind, name: &str) {
        let items = if kind == Kind::Texts { value.list().unwrap_or_default() } else { &[] };
        if let Some(nothing) = std::iter::once(value).chain(items).find(|node| node.is_null()) {
            let what = format!("`{name}` holds nothing: write '' for an empty text");
            return self.fault(nothing.at, Flaw::Form, what);
        }
        let is_open = value.text().is_some_and(|text| text.contains("{{"));
        match kind {
            Kind::Text => {
                if self.text(Some(value)).is_some_and(|text| {
                    matches!(name, "path" | "source" | "destination" | "file") && text.chars().any(char::is_control)
                }) {
                    let what = format!("`{name}` holds a control character: use single quotation marks");
                    self.fault(value.at, Flaw::Path, what);
                }
            }
            Kind::Flag if !is_open && value.flag().is_none() => {
                self.fault(value.at, Flaw::Form, format!("`{name}` is neither true nor false"));
            }
            Kind::Number if !is_open => {
                self.number(Some(value), |number| number >= 0, name);
            }
            Kind::Texts => {
                for item in self.items(Some(value)) {
                    self.text(Some(item));
                }
            }
            Kind::Flag | Kind::Number | Kind::Any => {}
        }
    }
}

/// Returns the numbers of a loop, whose bounds both count; `None` if it has no end, or too many.
fn counting(start: i64, end: i64, by: i64) -> Option<Vec<String>> {
    if by == 0 || (by > 0) != (end >= start) && end != start {
        return None;
    }
    let mut numbers = Vec::new();
    let mut at = start;
    while if by > 0 { at <= end } else { at >= end } {
        if numbers.len() >= MAX_ITERATIONS {
            return None;
        }
        numbers.push(at.to_string());
        at = at.checked_add(by)?;
    }
    Some(numbers)
}
