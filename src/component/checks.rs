//! Static checks of a component, before any image is read. `component lint`, `recipe lint`, `recipe review` and the run
//! itself all use them.
//!
//! The checks walk the steps as a run does, with the known parameters and constants. What an expression takes from a machine
//! or from the output of another step is unknown here, and is checked when the step runs.

use std::collections::BTreeMap;

use super::actions::{Action, Offline};
use super::condition::{Branch, Condition, compare};
use super::destination::{encoding_fault, ends_open};
use super::document::{OnFailure, Phase, Step, Values};
use super::expression::{self, Scope, StepResults};
use super::fault::{Fault, Flaw};
use super::powershell::{self, Operation, Scripts};
use super::staged::Script;
use super::yaml::Node;
use super::{Component, attachments, download, path, registry};
use crate::policy::{Catalog, Remedy, autostart};
use crate::windows::certificates::input as certificates;
use crate::windows::setting::{Content, Setting, Value};

/// The most faults reported for one component: a loop repeats the same fault many times.
const MAX_FAULTS: usize = 200;
/// The most inputs that are checked, counting each iteration of a loop; later ones are checked when they run.
const MAX_TURNS: usize = 20_000;
/// The most bytes of inputs that are checked, for the same reason.
const MAX_WORK_BYTES: usize = 32 << 20;
/// Bytes of inputs that are kept for the expressions of later steps.
const MAX_BYTES: usize = 16 << 20;

/// Actions that write whatever they find, which no test does.
const WRITERS: [&str; 13] = [
    "AppendFile",
    "CopyFile",
    "CopyFolder",
    "CreateFile",
    "CreateFolder",
    "DeleteFile",
    "InstallCertificate",
    "InstallFiles",
    "MoveFile",
    "MoveFolder",
    "S3Download",
    "SetRegistry",
    "WebDownload",
];

/// What is known of a component before any image is read.
#[derive(Debug, Default)]
pub(super) struct Objections {
    /// The faults that refuse it.
    pub faults: Vec<Fault>,
    /// What the run refuses as well, when it is there: it may find something first that is nearer to the cause.
    pub later: Vec<Fault>,
    /// What it writes where Windows runs it by itself: the step, and what.
    pub autostarts: Vec<(String, Fault)>,
}

/// Judges a component under a policy for scripts.
pub(super) fn check(component: &Component, scripts: Scripts) -> Objections {
    let faults = component.document.beyond(scripts, component.has_downloads);
    let mut reader = Reader {
        component,
        scripts,
        names: BTreeMap::new(),
        results: BTreeMap::new(),
        turns: 0,
        worked: 0,
        bytes: 0,
        judged: Objections { faults, ..Objections::default() },
    };
    for (name, value) in &component.document.constants {
        reader.names.insert(name.clone(), value.clone());
    }
    for (name, default) in &component.document.parameters {
        match component.parameters.get(name).or(default.as_ref()) {
            Some(value) => drop(reader.names.insert(name.clone(), value.clone())),
            None => {
                let at = super::Position::default();
                reader.judged.faults.push(Fault::new(at, Flaw::Parameter, format!("`{name}`: give it one")));
            }
        }
    }
    for phase in &component.document.phases {
        for step in &phase.steps {
            reader.step(phase, step);
        }
    }
    let mut judged = reader.judged;
    judged.faults.sort_by_key(|fault| fault.at);
    judged.faults.dedup();
    judged.faults.truncate(MAX_FAULTS);
    judged.later.truncate(MAX_FAULTS);
    judged.autostarts.dedup();
    judged.autostarts.truncate(MAX_FAULTS);
    judged
}

struct Reader<'a> {
    component: &'a Component,
    scripts: Scripts,
    names: BTreeMap<String, String>,
    /// What earlier steps that are certainly done are given.
    results: BTreeMap<String, StepResults>,
    turns: usize,
    worked: usize,
    bytes: usize,
    judged: Objections,
}

/// The turn of a loop: its name, the index, the value.
type Iteration<'t> = Option<(&'t str, usize, &'t str)>;

impl Reader<'_> {
    fn step(&mut self, phase: &Phase, step: &Step) {
        let branch = step.condition.as_ref().map(|(condition, then, otherwise)| {
            self.holds(condition).map(|holds| if holds { *then } else { *otherwise })
        });
        // What depends on the condition is checked only if the step is known to run.
        let is_certain = match branch {
            None | Some(Some(Branch::Execute)) => true,
            Some(None) => false,
            Some(Some(Branch::Skip)) => return,
            Some(Some(Branch::Abort)) => {
                return self.fault(step, Fault::new(step.at, Flaw::Failed, "its condition ends the run"));
            }
        };
        if is_certain && phase.name == "test" && WRITERS.contains(&step.action.as_str()) {
            self.fault(step, Fault::new(step.at, Flaw::Failed, "a test must not change anything"));
        }
        let offline = Action::named(&step.action).map(|action| action.offline);
        let is_late =
            self.scripts == Scripts::FirstBoot && matches!(offline, Some(Offline::Script | Offline::Program(_)));
        if is_late && phase.name == "test" || self.scripts == Scripts::Skip && offline == Some(Offline::Script) {
            return;
        }
        if step.action == "ApplyPolicy" {
            return self.policies(phase, step);
        }
        let mut results = StepResults::default();
        let values = self.values(step);
        let mut is_known = is_certain && values.is_some();
        for (index, value) in values.into_iter().flatten().enumerate() {
            let name = step.repeat.as_ref().map_or("", |repeat| repeat.name.as_str());
            let iteration = value.as_deref().map(|value| (name, index, value));
            for input in &step.inputs {
                self.turns = self.turns.saturating_add(1);
                self.worked = self.worked.saturating_add(length(input));
                if self.turns > MAX_TURNS || self.worked > MAX_WORK_BYTES {
                    return;
                }
                // A value that is not known yet, or not used, is not a fault.
                let before = (self.judged.faults.len(), self.judged.later.len());
                let resolved = self.resolve(input, iteration);
                self.input(phase, step, input, iteration, is_late);
                if !is_certain && input_is_open(input) {
                    self.judged.faults.truncate(before.0);
                    self.judged.later.truncate(before.1);
                }
                let given = resolved.as_ref().and_then(Node::map).unwrap_or_default().iter();
                let given = given.filter_map(|(name, _, node)| Some((name.clone(), node.text()?.to_owned())));
                let given: BTreeMap<String, String> = given.collect();
                // What expressions make of a short text counts as well.
                self.worked = self.worked.saturating_add(given.values().map(String::len).sum());
                self.bytes = self.bytes.saturating_add(given.values().map(String::len).sum());
                is_known &= resolved.is_some() && self.bytes <= MAX_BYTES;
                if is_known {
                    results.inputs.push(given);
                }
            }
        }
        if is_known {
            self.results.insert(format!("{}.{}", phase.name, step.name), results);
        }
    }

    /// Returns the values of a step's loop, and one that is nothing for a step without; `None` if they are not known.
    fn values(&self, step: &Step) -> Option<Vec<Option<String>>> {
        let Some(repeat) = &step.repeat else { return Some(vec![None]) };
        let text = |node: &Node| self.text(node.text().unwrap_or_default(), None);
        match &repeat.values {
            Values::Numbers(numbers) => Some(numbers.iter().cloned().map(Some).collect()),
            Values::Items(items) => items.iter().map(|item| text(item).map(Some)).collect(),
            Values::Split(list, delimiter) => {
                text(list).map(|list| list.split(*delimiter).map(|one| Some(one.to_owned())).collect())
            }
        }
    }

    /// Adds a fault, unless the run goes on in spite of it.
    fn fault(&mut self, step: &Step, fault: Fault) {
        if step.on_failure != OnFailure::Ignore && self.judged.faults.len() < MAX_FAULTS.saturating_mul(2) {
            self.judged.faults.push(fault);
        }
    }

    fn text(&self, text: &str, iteration: Iteration<'_>) -> Option<String> {
        let scope = Scope { names: &self.names, results: &self.results, iteration, environment_value: &|_| None };
        expression::resolve(text, super::Position::default(), &scope).ok()
    }

    /// Returns a node with its expressions resolved, if all of them are known.
    fn resolve(&self, node: &Node, iteration: Iteration<'_>) -> Option<Node> {
        let scope = Scope { names: &self.names, results: &self.results, iteration, environment_value: &|_| None };
        expression::resolve_node(node, &scope).ok()
    }

    /// Returns whether a condition holds, if that is known.
    fn holds(&self, condition: &Condition) -> Option<bool> {
        let unknown = || Fault::new(super::Position::default(), Flaw::Condition, "not known yet");
        let judged = condition.holds(&mut |_, operator, operand, value| {
            let operand = self.text(operand, None).ok_or_else(unknown)?;
            let value = value.map(|value| self.text(value, None).ok_or_else(unknown)).transpose()?;
            compare(operator, &operand, value.as_deref()).ok_or_else(unknown)
        });
        judged.ok()
    }

    /// Judges one input of a step.
    fn input(&mut self, phase: &Phase, step: &Step, input: &Node, iteration: Iteration<'_>, is_late: bool) {
        let action = step.action.as_str();
        if action == "Assert" {
            let condition = Condition::parse(input).ok();
            if iteration.is_none() && condition.is_some_and(|condition| self.holds(&condition) == Some(false)) {
                self.fault(step, Fault::new(input.at, Flaw::Failed, "the assertion does not hold"));
            }
            return;
        }
        let resolved = self.resolve(input, iteration);
        if is_late {
            if let Some(Err(fault)) = resolved.map(|input| Script::of(step, "", &input)) {
                self.fault(step, fault);
            }
            return;
        }
        // Each known member is checked, even if others are unknown.
        let member = |name: &str| input.get(name).and_then(|node| self.resolve(node, iteration));
        let text = |name: &str| member(name).and_then(|node| Some((node.at, node.text()?.to_owned())));
        let mut faults = Vec::new();
        let mut later = Vec::new();
        let mut writes: Vec<(Setting, Option<Value>)> = Vec::new();
        if let Some(encoding) = member("encoding") {
            faults.extend(encoding_fault(&encoding));
        }
        match action {
            "SetRegistry" | "AssertRegistry" => {
                let key = text("path").zip(text("name"));
                let setting = key.map(|((at, path), (_, name))| (at, registry::parse(&path, &name)));
                // Of an assertion without a value it is asserted that there is none.
                let value = match (input.get("type"), member("type"), member("value")) {
                    (None, _, Some(value)) => Some(registry::value(&Node::of(input.at, [("value", value)]))),
                    (Some(_), Some(kind), Some(value)) => {
                        Some(registry::value(&Node::of(input.at, [("type", kind), ("value", value)])))
                    }
                    _ => None,
                };
                faults.extend(value.as_ref().and_then(|value| value.as_ref().err().cloned()));
                match setting {
                    Some((at, Err(what))) => faults.push(Fault::new(at, Flaw::RegistryKey, what)),
                    Some((_, Ok(setting))) if action == "SetRegistry" => {
                        writes.push((setting, value.and_then(Result::ok)));
                    }
                    _ => {}
                }
            }
            "SetService" => {
                if let Some((at, word)) = text("startupType") {
                    faults.extend(registry::start_of(&word).err().map(|what| Fault::new(at, Flaw::Word, what)));
                }
                if let Some((at, name)) = text("name") {
                    faults.extend(registry::service(&name).err().map(|what| Fault::new(at, Flaw::RegistryKey, what)));
                }
            }
            "ExecutePowerShell" => later.extend(self.script(input, iteration, &mut faults, &mut writes)),
            "InstallCertificate" => {
                let source = text("source").map(|(_, source)| source).unwrap_or_default();
                let read = |content: &Content| certificates::parse(content.data.as_deref()?);
                let files = attachments::below(&self.component.attachments, &source);
                if files.iter().any(|(_, content)| content.data.is_some() && read(content).is_none()) {
                    let what = format!("{source:?} holds something else than certificates");
                    faults.push(Fault::new(input.at, Flaw::Failed, what));
                }
            }
            "S3Download" | "WebDownload" => {
                if let Some(input) = &resolved {
                    faults.extend(
                        download::check(input, &self.component.attachments, self.component.has_downloads).err(),
                    );
                }
                later = self.files(action, input, iteration, &mut faults, &mut writes);
            }
            _ => later = self.files(action, input, iteration, &mut faults, &mut writes),
        }
        if step.on_failure != OnFailure::Ignore && self.judged.later.len() < MAX_FAULTS {
            // Those that come up when the step is done name the step.
            self.judged.later.extend(later.into_iter().map(|fault| Fault { at: step.at, ..fault }));
        }
        for fault in faults {
            self.fault(step, fault);
        }
        for (setting, value) in writes {
            self.started(phase, step, input, &setting, value.as_ref());
        }
    }

    /// Notes what is written where Windows runs it by itself.
    fn started(&mut self, phase: &Phase, step: &Step, input: &Node, setting: &Setting, value: Option<&Value>) {
        if let Some(why) = autostart(setting, value) {
            let fault = Fault::new(input.at, Flaw::Autostart, format!("{setting}: {why}"));
            let label = format!("{}.{} ({})", phase.name, step.name, step.action);
            if self.judged.autostarts.len() < MAX_FAULTS.saturating_mul(2) {
                self.judged.autostarts.push((label, fault));
            }
        }
    }

    /// Checks the paths of an action that works on files, and collects what it writes; returns what is refused later.
    fn files(
        &self,
        action: &str,
        input: &Node,
        iteration: Iteration<'_>,
        faults: &mut Vec<Fault>,
        writes: &mut Vec<(Setting, Option<Value>)>,
    ) -> Vec<Fault> {
        let text = |name: &str| {
            let node = input.get(name).and_then(|node| self.resolve(node, iteration))?;
            Some((node.at, node.text()?.to_owned()))
        };
        let mut place = |name: &str, is_pattern: bool| -> Option<String> {
            let (at, text) = text(name)?;
            let folder = text.rfind(['\\', '/']).and_then(|at| text.get(..at)).unwrap_or_default();
            let is_wild = is_pattern && text.get(folder.len()..).is_some_and(|last| last.contains('*'));
            let shown = if is_wild { format!("{folder}\\") } else { text.clone() };
            match path::on_some_volume(&shown) {
                Ok(path) => (!is_wild).then_some(path),
                Err(why) => {
                    faults.push(Fault::new(at, Flaw::Path, format!("{shown:?} {why}")));
                    None
                }
            }
        };
        let mut written: Vec<(String, Option<Value>)> = Vec::new();
        match action {
            "CreateFile" | "AppendFile" => {
                let content = text("content").map(|(_, content)| Value::Text(content));
                // The text before the appended part is not known.
                let content = content.filter(|_| action == "CreateFile" || input.get("content").is_none());
                written.extend(place("path", false).map(|path| (path, content)));
            }
            "CreateFolder" | "DeleteFolder" | "ListFiles" | "ReadFile" | "SetFileEncoding" => {
                drop(place("path", false))
            }
            "DeleteFile" => drop(place("path", true)),
            "CopyFile" | "MoveFile" | "CopyFolder" | "MoveFolder" => {
                let source = place("source", action.ends_with("File"));
                let destination = place("destination", false);
                let is_open = text("destination").is_some_and(|(_, text)| ends_open(&text));
                if let Some(destination_path) = destination_path(destination, source.as_deref(), is_open, '\\') {
                    written.push((destination_path, None));
                }
            }
            "InstallFiles" => {
                let source = text("source").map(|(_, source)| source).unwrap_or_default();
                let is_open = text("destination").is_some_and(|(_, text)| ends_open(&text));
                let destination = place("destination", false);
                if let Some(destination_path) =
                    destination_path(destination, Some(source.trim_end_matches('/')), is_open, '/')
                {
                    for (below, content) in attachments::below(&self.component.attachments, &source) {
                        let path = if below.is_empty() {
                            destination_path.clone()
                        } else {
                            format!(r"{destination_path}\{below}")
                        };
                        match path::on_some_volume(&path) {
                            Ok(path) => written.push((path, Some(Value::Content(content.clone())))),
                            Err(why) => faults.push(Fault::new(input.at, Flaw::Path, format!("{path:?} {why}"))),
                        }
                    }
                }
            }
            "S3Download" | "WebDownload" => {
                let source = text("source").map(|(_, source)| source);
                let is_open = text("destination").is_some_and(|(_, text)| ends_open(&text));
                let destination = place("destination", false);
                if let Some((destination, source)) = destination.zip(source) {
                    match source.strip_suffix("/*") {
                        Some(_) => written.push((format!(r"{destination}\*"), None)),
                        None => written.extend(
                            destination_path(Some(destination), Some(&source), is_open, '/')
                                .map(|destination_path| (destination_path, None)),
                        ),
                    }
                }
            }
            _ => {}
        }
        let mut later = Vec::new();
        for (path, content) in written {
            let is_folder = action.ends_with("Folder");
            if !path::is_open(&path) && !is_folder {
                later.push(Fault::new(input.at, Flaw::Path, format!("`{path}` belongs to Windows itself")));
            }
            // For a folder, the check records that something is written into it.
            let path = if is_folder { format!(r"{path}\*") } else { path };
            writes.push((Setting::FileContent { path }, content));
        }
        later
    }

    /// Judges a script that is translated; returns what is refused later.
    fn script(
        &self,
        input: &Node,
        iteration: Iteration<'_>,
        faults: &mut Vec<Fault>,
        writes: &mut Vec<(Setting, Option<Value>)>,
    ) -> Option<Fault> {
        if self.scripts != Scripts::Translate {
            return None;
        }
        let mut made: Vec<String> = Vec::new();
        let mut set: Vec<String> = Vec::new();
        let mut is_whole = true;
        for command in input.get("commands").and_then(Node::list).unwrap_or_default() {
            let Some(text) = self.text(command.text().unwrap_or_default(), iteration) else {
                is_whole = false;
                continue;
            };
            let operations = match powershell::translate(&text) {
                Ok(operations) => operations,
                Err(what) => {
                    is_whole = false;
                    faults.push(Fault::new(command.at, Flaw::Script, what));
                    continue;
                }
            };
            let path = |text: &str| {
                let wrong = |why| Fault::new(command.at, Flaw::Path, format!("{text:?} {why}"));
                path::on_some_volume(text).map_err(wrong)
            };
            let key = |key: &str, name: &str| {
                registry::parse(key, name).map_err(|what| Fault::new(command.at, Flaw::RegistryKey, what))
            };
            for operation in operations {
                let judged = match operation {
                    Operation::SetValue { key: path, name, kind, data, .. } => {
                        set.push(path.to_uppercase());
                        let scalar = |text: String| Node::scalar(command.at, text);
                        let input = Node::of(command.at, [("type", scalar(kind)), ("value", scalar(data))]);
                        registry::value(&input).and_then(|value| {
                            writes.push((key(&path, &name)?, Some(value)));
                            Ok(())
                        })
                    }
                    Operation::RemoveValue { key: path, name, .. } => key(&path, &name).map(drop),
                    Operation::MakeKey { key: path, .. } => {
                        made.push(path.clone());
                        key(&path, "").map(drop)
                    }
                    Operation::MakeFile { path: file, text, .. } => path(&file).map(|path| {
                        writes.push((Setting::FileContent { path }, Some(Value::Text(text))));
                    }),
                    Operation::CopyFile { source, destination } => path(&source).and_then(|source| {
                        let destination = path(&destination)?;
                        let name = source.rsplit('\\').next().unwrap_or_default();
                        // It is not known whether the destination is a folder, so both paths are recorded.
                        let inner = format!(r"{destination}\{name}");
                        writes.push((Setting::FileContent { path: inner }, None));
                        writes.push((Setting::FileContent { path: destination }, None));
                        Ok(())
                    }),
                    Operation::MakeFolder { path: folder, .. } => path(&folder).map(drop),
                    Operation::Service { name, .. } => registry::service(&name)
                        .map(drop)
                        .map_err(|what| Fault::new(command.at, Flaw::RegistryKey, what)),
                    Operation::Account { .. } | Operation::Audit { .. } => Ok(()),
                };
                faults.extend(judged.err());
            }
        }
        let is_filled = |key: &str| {
            set.iter().any(|set| set.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('\\')))
        };
        let key = made.iter().find(|key| is_whole && !is_filled(&key.to_uppercase()))?;
        let what = format!("`{key}` is made and holds no value: a key without one is not written");
        Some(Fault::new(input.at, Flaw::Script, what))
    }

    /// Notes what the policies of a step set where Windows runs it by itself.
    fn policies(&mut self, phase: &Phase, step: &Step) {
        for policy in &self.component.policies {
            // Faults of a policy are reported when it is used.
            let Ok(catalog) = Catalog::of_policy(policy) else { continue };
            for check in catalog.rules.iter().flat_map(|rule| &rule.checks) {
                let value = match &check.remedy {
                    Remedy::Set(value) => value,
                    _ => continue,
                };
                let input = step.inputs.first().cloned().unwrap_or_else(|| Node::scalar(step.at, String::new()));
                self.started(phase, step, &input, &check.setting, Some(value));
            }
        }
    }
}

/// Returns where something lands, if that is known.
fn destination_path(
    destination: Option<String>,
    source: Option<&str>,
    is_open: bool,
    separator: char,
) -> Option<String> {
    let destination = destination?;
    match is_open {
        false => Some(destination),
        // Of files that a pattern finds the names are not known.
        true => Some(format!(r"{destination}\{}", source.unwrap_or("*").rsplit(separator).next()?)),
    }
}

/// Returns the bytes of an input's texts.
fn length(node: &Node) -> usize {
    match &node.value {
        super::yaml::Value::Scalar(text, _) => text.len(),
        super::yaml::Value::List(items) => items.iter().map(length).sum(),
        super::yaml::Value::Map(members) => members.iter().map(|(.., node)| length(node)).sum(),
    }
}

/// Returns whether an input contains an expression.
fn input_is_open(node: &Node) -> bool {
    match &node.value {
        super::yaml::Value::Scalar(text, _) => text.contains("{{"),
        super::yaml::Value::List(items) => items.iter().any(input_is_open),
        super::yaml::Value::Map(members) => members.iter().any(|(.., node)| input_is_open(node)),
    }
}
