//! Expressions: `{{ Name }}` for parameters and constants, `{{ phase.step.outputs.key }}` for what other steps were given
//! and gave, `{{ loop.value }}`, `{{ env:NAME }}` and `{{ context:key }}`.
//!
//! They are resolved once, right before a step is done; what comes out is not resolved again.

use std::collections::BTreeMap;

use super::document::{Document, Values};
use super::fault::{Fault, Flaw, Position};
use super::yaml::{Node, Value};

/// No text that expressions make is longer: each step could double that of the one before.
const MAX_BYTES: usize = 16 << 20;

/// What an expression can name.
pub(super) struct Scope<'a> {
    /// Parameters and constants.
    pub names: &'a BTreeMap<String, String>,
    /// What the steps before were given and gave, by `phase.step`.
    pub results: &'a BTreeMap<String, StepResults>,
    /// The turn of the loop: its name, the index from 0, the value.
    pub iteration: Option<(&'a str, usize, &'a str)>,
    /// Answers what begins with `env:` or `context:`.
    pub environment_value: &'a dyn Fn(&str) -> Option<String>,
}

/// What a step was given and gave, each time.
#[derive(Clone, Debug, Default)]
pub(super) struct StepResults {
    pub inputs: Vec<BTreeMap<String, String>>,
    pub outputs: Vec<BTreeMap<String, String>>,
}

/// Returns a text with its expressions resolved.
pub(super) fn resolve(text: &str, at: Position, scope: &Scope<'_>) -> Result<String, Fault> {
    let mut resolved = String::new();
    let mut rest = text;
    while let Some((before, name, after)) = next(rest) {
        resolved.push_str(before);
        let known = scope.names.get(name).cloned().or_else(|| chained(name, scope)).or_else(|| iteration(name, scope));
        let known = known.or_else(|| (scope.environment_value)(name));
        match known {
            Some(known) => resolved.push_str(&known),
            // EC2 Image Builder leaves a loop reference unresolved in a step without a loop.
            None if is_turn(name) && scope.iteration.is_none() => resolved.push_str(&format!("{{{{ {name} }}}}")),
            None => return Err(Fault::new(at, Flaw::Expression, format!("`{{{{ {name} }}}}`"))),
        }
        if resolved.len() > MAX_BYTES {
            let what = format!("`{{{{ {name} }}}}` makes a text of more than {} MiB", MAX_BYTES >> 20);
            return Err(Fault::new(at, Flaw::Expression, what));
        }
        rest = after;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// Returns a node with the expressions of its scalars resolved.
pub(super) fn resolve_node(node: &Node, scope: &Scope<'_>) -> Result<Node, Fault> {
    let mut resolved = node.clone();
    match &mut resolved.value {
        Value::Scalar(text, _) => *text = resolve(text, node.at, scope)?,
        Value::List(items) => {
            for item in items {
                *item = resolve_node(item, scope)?;
            }
        }
        Value::Map(members) => {
            for (.., member) in members {
                *member = resolve_node(member, scope)?;
            }
        }
    }
    Ok(resolved)
}

/// Judges every expression of a document: what it names is there, and earlier.
pub(super) fn check(document: &Document, faults: &mut Vec<Fault>) {
    let names: Vec<&str> = document
        .parameters
        .iter()
        .map(|(name, _)| name.as_str())
        .chain(document.constants.iter().map(|(name, _)| name.as_str()))
        .collect();
    let mut earlier: Vec<String> = Vec::new();
    for phase in &document.phases {
        for step in &phase.steps {
            let mut texts = Vec::new();
            step.inputs.iter().for_each(|input| scalars(input, &mut texts));
            match step.repeat.as_ref().map(|repeat| &repeat.values) {
                Some(Values::Items(items)) => items.iter().for_each(|item| scalars(item, &mut texts)),
                Some(Values::Split(list, _)) => scalars(list, &mut texts),
                Some(Values::Numbers(_)) | None => {}
            }
            texts.extend(step.condition.iter().flat_map(|(condition, ..)| condition.texts()));
            let own_loop = step.repeat.as_ref().map_or("", |repeat| repeat.name.as_str());
            for (at, text) in texts {
                let mut rest = text;
                while let Some((_, name, after)) = next(rest) {
                    rest = after;
                    if let Err(what) = check_name(name, &names, &earlier, &phase.name, own_loop) {
                        faults.push(Fault::new(at, Flaw::Expression, format!("`{{{{ {name} }}}}` {what}")));
                    }
                }
            }
            earlier.push(format!("{}.{}", phase.name, step.name));
        }
    }
}

fn check_name(name: &str, names: &[&str], earlier: &[String], phase: &str, own_loop: &str) -> Result<(), &'static str> {
    if names.contains(&name) || is_turn(name) {
        return Ok(());
    }
    if !own_loop.is_empty() && name.split_once('.').is_some_and(|(head, tail)| head == own_loop && is_of_turn(tail)) {
        return Ok(());
    }
    if let Some(path) = name.strip_prefix("aws:imds:") {
        let is_secret = path.trim_start_matches('/').starts_with("iam/") || path.contains("identity-credentials/");
        return Err(if is_secret { "may not be asked for" } else { "is known to a running instance alone" });
    }
    if name.starts_with("aws:") {
        return Err("is known to AWS alone: use a parameter");
    }
    if name.starts_with("env:") || CONTEXT.contains(&name) {
        return Ok(());
    }
    if name.starts_with('.') {
        return Err("is another template's: expressions have no leading dot");
    }
    let Some((step, _)) = split_chain(name) else { return Err("names no parameter or constant") };
    match earlier.contains(&step.to_owned()) {
        false => Err("names no earlier step"),
        // The build's instance is gone when the test's starts.
        true if phase == "test" && !step.starts_with("test.") => Err("leads from the test stage to the build stage"),
        true => Ok(()),
    }
}

/// What is known of the run itself.
const CONTEXT: [&str; 5] = ["context:phase", "context:step", "context:osPlatform", "context:date", "context:dateTime"];

/// Returns the first expression of a text: the text before it, its name without blanks, and the text after it.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name.trim(), after))
}

fn is_of_turn(tail: &str) -> bool {
    matches!(tail, "index" | "value")
}

fn is_turn(name: &str) -> bool {
    name.strip_prefix("loop.").is_some_and(is_of_turn)
}

fn iteration(name: &str, scope: &Scope<'_>) -> Option<String> {
    let (own, index, value) = scope.iteration?;
    let (head, tail) = name.split_once('.')?;
    if head != "loop" && (own.is_empty() || head != own) {
        return None;
    }
    match tail {
        "index" => Some(index.to_string()),
        "value" => Some(value.to_owned()),
        _ => None,
    }
}

/// Splits `phase.step.outputs[1].key` into `phase.step` and the rest.
fn split_chain(name: &str) -> Option<(&str, &str)> {
    let at = [".outputs.", ".inputs.", ".outputs[", ".inputs["].iter().filter_map(|mark| name.find(mark)).min()?;
    let (step, rest) = name.split_at_checked(at)?;
    Some((step, rest.strip_prefix('.')?))
}

fn chained(name: &str, scope: &Scope<'_>) -> Option<String> {
    let (step, rest) = split_chain(name)?;
    let results = scope.results.get(step)?;
    let (which, key) = rest.rsplit_once('.')?;
    let (list, number) = match which.split_once('[') {
        Some((list, number)) => (list, number.strip_suffix(']')?.parse().ok()?),
        None => (which, 0_usize),
    };
    let list = if list == "inputs" { &results.inputs } else { &results.outputs };
    list.get(number)?.get(key).cloned()
}

fn scalars<'n>(node: &'n Node, found: &mut Vec<(Position, &'n str)>) {
    match &node.value {
        Value::Scalar(text, _) => found.push((node.at, text)),
        Value::List(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::Map(members) => members.iter().for_each(|(.., node)| scalars(node, found)),
    }
}
