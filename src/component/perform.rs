//! Performs the steps of a component against [`PendingChanges`].

use std::collections::BTreeMap;

use super::Result as JobResult;
use super::actions::{Action, Offline};
use super::attachments::{self, Attachments};
use super::condition::{Branch, Condition, Operator, compare};
use super::destination::{destination_path, encoding_fault, ends_open, same_path, write_file};
use super::document::{OnFailure, Step, Values};
use super::download;
use super::environment;
use super::expression::{self, Scope, StepResults};
use super::fault::{Fault, Flaw, Position};
use super::loaded::Component;
use super::pending_changes::PendingChanges;
use super::powershell::{self, Operation, Scripts};
use super::registry::{self, setting as registry_setting, value as registry_value};
use super::report::{StepReport, StepStatus};
use super::staged::Script;
use super::yaml::Node;
use crate::formats::pattern;
use crate::windows::certificates::input as certificates;
use crate::windows::setting::{AuditFlags, Content, Setting, Value};

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

/// Performs one action once.
fn act(
    action: &str,
    input: &Node,
    attachments: &Attachments,
    pending: &mut PendingChanges<'_>,
) -> Result<BTreeMap<String, String>> {
    let text = |name: &str| input.get(name).and_then(Node::text).unwrap_or_default();
    let flag = |name: &str, usual: bool| input.get(name).and_then(Node::flag).unwrap_or(usual);
    let mut outputs = BTreeMap::new();
    if let Some(fault) = input.get("encoding").and_then(encoding_fault) {
        return Err(fault);
    }
    match action {
        "CreateFile" => {
            let path = pending.path(text("path"))?;
            if !flag("overwrite", true) && pending.is_file(&path)? {
                return Err(pending.fault(Flaw::Failed, format!("`{path}` exists")));
            }
            pending.put(path, text("content").to_owned())?;
        }
        "AppendFile" => {
            let path = pending.path(text("path"))?;
            let current = existing(pending, &path)?;
            pending.put(path, current + text("content"))?;
        }
        "ReadFile" | "SetFileEncoding" => {
            let path = pending.path(text("path"))?;
            let current = existing(pending, &path)?;
            outputs.insert("content".to_owned(), current);
        }
        "CopyFile" | "MoveFile" => {
            let sources = pending.matching(text("source"))?;
            if sources.is_empty() || (sources.len() > 1 && !ends_open(text("destination"))) {
                let count = sources.len();
                let what =
                    format!("{count} files fit {:?}, and {:?} is to hold them", text("source"), text("destination"));
                return Err(pending.fault(Flaw::Failed, what));
            }
            for source in sources {
                let content = pending.content(&source)?;
                let content =
                    content.ok_or_else(|| pending.fault(Flaw::Failed, format!("there is no file `{source}`")))?;
                let destination = destination_path(text("destination"), &source, pending)?;
                if same_path(&source, &destination) {
                    continue;
                }
                let already_skipped = pending.skipped_writes();
                write_file(destination, content, flag("overwrite", true), pending)?;
                // A file that was not written to the destination stays at the source.
                if action == "MoveFile" && pending.skipped_writes() == already_skipped {
                    pending.remove(source)?;
                }
            }
        }
        "CopyFolder" | "MoveFolder" => {
            let source = pending.path(text("source"))?;
            if !pending.is_folder(&source)? {
                return Err(pending.fault(Flaw::Failed, format!("there is no folder `{source}`")));
            }
            let destination = destination_path(text("destination"), &source, pending)?;
            let [from, to] = [&source, &destination].map(|path| format!(r"{}\", path.to_uppercase()));
            if to.starts_with(&from) || from.starts_with(&to) {
                return Err(pending.fault(Flaw::Failed, format!("`{destination}` and `{source}` contain one another")));
            }
            if !flag("overwrite", true) && pending.is_folder(&destination)? {
                return Err(pending.fault(Flaw::Failed, format!("`{destination}` exists")));
            }
            let below = pending.walk(&source)?;
            let already_skipped = pending.skipped_writes();
            pending.make_folder(destination.clone())?;
            for (path, is_folder) in below {
                let place = format!("{destination}{path}");
                if is_folder {
                    pending.make_folder(place)?;
                } else if let Some(content) = pending.content(&format!("{source}{path}"))? {
                    pending.put_content(place, content)?;
                }
            }
            if action == "MoveFolder" && pending.skipped_writes() == already_skipped {
                pending.remove_folder(source, true)?;
            }
        }
        "ListFiles" => {
            let folder = pending.path(text("path"))?;
            if !pending.is_folder(&folder)? {
                return Err(pending.fault(Flaw::Failed, format!("there is no folder `{folder}`")));
            }
            let wanted = input.get("fileNamePattern").and_then(Node::text).unwrap_or("*").to_uppercase();
            let is_wanted = |path: &str| {
                let (above, name) = path.rsplit_once('\\').unwrap_or(("", path));
                (flag("recursive", false) || above.is_empty()) && pattern::fits(&name.to_uppercase(), &wanted)
            };
            let below = pending.walk(&folder)?.into_iter();
            let files = below.filter(|(path, is_folder)| !is_folder && is_wanted(path));
            let files: Vec<String> = files.map(|(path, _)| format!(r"{}:\{folder}{path}", pending.drive())).collect();
            outputs.insert("files".to_owned(), files.join(","));
        }
        "S3Download" | "WebDownload" => {
            let placed = download::fetch(action, input, attachments, pending)?;
            if action == "WebDownload" {
                outputs.insert("destination".to_owned(), placed);
            }
        }
        "InstallFiles" => {
            let source = text("source");
            let files = attachments::below(attachments, source);
            if files.is_empty() {
                return Err(pending.fault(Flaw::Failed, format!("there is no file in {source:?} next to the document")));
            }
            let destination =
                destination_path(text("destination"), &source.trim_end_matches('/').replace('/', r"\"), pending)?;
            for (below, content) in files {
                // The name of an attachment is checked as a Windows file name.
                let place = match below {
                    "" => destination.clone(),
                    below => pending.path(&format!(r"{destination}\{below}"))?,
                };
                write_file(place, content.clone(), flag("overwrite", true), pending)?;
            }
        }
        "InstallCertificate" => {
            let store = input.get("store").and_then(Node::text).unwrap_or("ROOT").to_owned();
            let files = attachments::below(attachments, text("source"));
            let read = |content: &Content| certificates::parse(content.data.as_deref()?);
            let found: Option<Vec<Vec<_>>> = files.iter().map(|(_, content)| read(content)).collect();
            let Some(found) = found.filter(|found| !found.is_empty()) else {
                return Err(
                    pending.fault(Flaw::Failed, format!("{:?} holds something else than certificates", text("source")))
                );
            };
            for certificate in found.into_iter().flatten() {
                let setting = Setting::Certificate { store: store.clone(), thumbprint: certificate.thumbprint() };
                pending.set(&setting, Some(Value::Certificate(certificate.der().to_vec())))?;
            }
        }
        // They were heard before the first step.
        "ApplyPolicy" | "ApplyStig" => {}
        "DeleteFile" => {
            for path in pending.matching(text("path"))? {
                if !pending.is_file(&path)? {
                    return Err(pending.fault(Flaw::Failed, format!("there is no file `{path}`")));
                }
                pending.remove(path)?;
            }
        }
        "CreateFolder" => {
            let path = pending.path(text("path"))?;
            if !flag("overwrite", true) && pending.is_folder(&path)? {
                return Err(pending.fault(Flaw::Failed, format!("`{path}` exists")));
            }
            pending.make_folder(path)?;
        }
        "DeleteFolder" => {
            let path = pending.path(text("path"))?;
            match (pending.is_folder(&path)?, flag("force", false)) {
                (true, with_all) => pending.remove_folder(path, with_all)?,
                (false, true) => {}
                (false, false) => return Err(pending.fault(Flaw::Failed, format!("there is no folder `{path}`"))),
            }
        }
        "SetRegistry" => {
            let value = registry_value(input)?;
            pending.set(&registry_setting(text("path"), text("name"), pending)?, Some(value))?;
        }
        "AssertRegistry" => {
            let setting = registry_setting(text("path"), text("name"), pending)?;
            let wanted = input.get("value").map(|_| registry_value(input)).transpose()?;
            let found = pending.get(&setting)?;
            if found != wanted {
                let show =
                    |value: &Option<Value>| value.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
                let what = format!("{setting} is {} instead of {}", show(&found), show(&wanted));
                return Err(pending.fault(Flaw::Failed, what));
            }
        }
        "SetService" => service(text("name"), text("startupType"), pending)?,
        "ExecutePowerShell" => {
            let mut operations = Vec::new();
            for command in input.get("commands").and_then(Node::list).unwrap_or_default() {
                let translated = powershell::translate(command.text().unwrap_or_default());
                operations.extend(translated.map_err(|what| Fault::new(command.at, Flaw::Script, what))?);
            }
            let mut made: Vec<String> = Vec::new();
            for operation in operations {
                perform_operation(operation, input.at, &mut made, pending)?;
            }
            if let Some(key) = made.iter().find(|key| !pending.has_key(key)) {
                let what = format!("`{key}` is made and holds no value: a key without one is not written");
                return Err(pending.fault(Flaw::Script, what));
            }
        }
        _ => return Err(pending.fault(Flaw::NeedsWindows, action)),
    }
    Ok(outputs)
}

/// Returns the content of a file that must be there.
fn existing(pending: &PendingChanges<'_>, path: &str) -> Result<String> {
    pending.text(path)?.ok_or_else(|| pending.fault(Flaw::Failed, format!("there is no file `{path}`")))
}

/// Sets how a service starts that is there.
fn service(name: &str, start: &str, pending: &mut PendingChanges<'_>) -> Result<()> {
    let number = registry::start_of(start).map_err(|what| pending.fault(Flaw::Word, what))?;
    let setting = registry::service(name).map_err(|what| pending.fault(Flaw::RegistryKey, what))?;
    match pending.get(&setting)?.and_then(|value| value.as_dword()) {
        // These words do not apply to a driver that starts with the kernel.
        Some(0 | 1) => Err(pending.fault(Flaw::Failed, format!("`{name}` is a driver that Windows starts with"))),
        Some(_) => pending.set(&setting, Some(Value::dword(number))),
        None => Err(pending.fault(Flaw::Failed, format!("there is no service `{name}`"))),
    }
}

/// Does what one command of a script says. `made` are the keys that the script has made so far.
fn perform_operation(
    operation: Operation,
    at: Position,
    made: &mut Vec<String>,
    pending: &mut PendingChanges<'_>,
) -> Result<()> {
    let is_made = |made: &[String], key: &str| made.iter().any(|known| known.eq_ignore_ascii_case(key));
    match operation {
        Operation::SetValue { key, name, kind, data, makes_key } => {
            let scalar = |text: String| Node::scalar(at, text);
            let input = Node::of(at, [("type", scalar(kind)), ("value", scalar(data))]);
            let setting = registry_setting(&key, &name, pending)?;
            if !makes_key && !is_made(made, &key) && !pending.has_key(&key) {
                return Err(pending.fault(Flaw::Failed, format!("there is no key `{key}`")));
            }
            pending.set(&setting, Some(registry_value(&input)?))
        }
        Operation::RemoveValue { key, name, may_miss } => {
            let setting = registry_setting(&key, &name, pending)?;
            match pending.get(&setting)? {
                Some(_) => pending.set(&setting, None),
                None if may_miss => Ok(()),
                None => Err(pending.fault(Flaw::Failed, format!("there is no value {setting}"))),
            }
        }
        Operation::MakeKey { key, makes_above } => {
            // It is checked as a key before it holds any value.
            registry_setting(&key, "", pending)?;
            if is_made(made, &key) || pending.has_key(&key) {
                // With force, everything in it would go.
                return Err(pending.fault(Flaw::Failed, format!("the key `{key}` exists")));
            }
            let above = key.rsplit_once('\\').map_or("", |(above, _)| above);
            if !makes_above && !is_made(made, above) && !pending.has_key(above) {
                return Err(pending.fault(Flaw::Failed, format!("there is no key `{above}`")));
            }
            made.push(key);
            Ok(())
        }
        Operation::MakeFile { path, text, is_forced } => {
            let path = pending.path(&path)?;
            if !is_forced && pending.is_file(&path)? {
                return Err(pending.fault(Flaw::Failed, format!("`{path}` exists")));
            }
            if let Some((above, _)) = path.rsplit_once('\\').filter(|_| !is_forced)
                && !pending.is_folder(above)?
            {
                return Err(pending.fault(Flaw::Failed, format!("there is no folder `{above}`")));
            }
            pending.put(path, text)
        }
        Operation::CopyFile { source, destination } => {
            let source = pending.path(&source)?;
            let content = pending.content(&source)?;
            let content = content.ok_or_else(|| pending.fault(Flaw::Failed, format!("there is no file `{source}`")))?;
            let mut destination = pending.path(&destination)?;
            if pending.is_folder(&destination)? {
                let name = source.rsplit('\\').next().unwrap_or(&source);
                destination = format!(r"{destination}\{name}");
            }
            if let Some((above, _)) = destination.rsplit_once('\\')
                && !pending.is_folder(above)?
            {
                return Err(pending.fault(Flaw::Failed, format!("there is no folder `{above}`")));
            }
            pending.put_content(destination, content)
        }
        Operation::MakeFolder { path, may_exist } => {
            let path = pending.path(&path)?;
            match pending.is_folder(&path)? && !may_exist {
                true => Err(pending.fault(Flaw::Failed, format!("`{path}` exists"))),
                false => pending.make_folder(path),
            }
        }
        Operation::Service { name, start } => service(&name, start, pending),
        Operation::Account { field, number } => {
            pending.set(&Setting::AccountPolicy { field }, Some(Value::Number(number)))
        }
        Operation::Audit { subcategory, success, failure } => {
            let setting = Setting::AuditPolicy { subcategory };
            let current = match pending.get(&setting)? {
                Some(Value::Audit(flags)) => flags,
                _ => AuditFlags::default(),
            };
            let (success, failure) = (success.unwrap_or(current.success), failure.unwrap_or(current.failure));
            pending.set(&setting, Some(Value::Audit(AuditFlags { success, failure })))
        }
    }
}
