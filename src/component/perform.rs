//! Carries out a component, step by step, on a [`Desk`].

use std::collections::BTreeMap;

use super::Result as JobResult;
use super::actions::{Action, Offline};
use super::beside::{self, Beside};
use super::condition::{Branch, Condition, Operator, compare};
use super::desk::Desk;
use super::document::{OnFailure, Step, Values};
use super::download;
use super::environment;
use super::expression::{self, Done, Scope};
use super::fault::{Fault, Flaw, Position};
use super::judge::encoding_fault;
use super::powershell::{self, Deed, Scripts};
use super::registry::{self, setting as registry_setting, value as registry_value};
use super::staged::Script;
use super::yaml::Node;
use super::{Component, StepStatus, StepTold};
use crate::formats::pattern;
use crate::windows::certificates::input as certificates;
use crate::windows::setting::{AuditFlags, Content, Setting, Value};

type Result<T> = std::result::Result<T, Fault>;

/// Carries out the phases of a component that are wanted.
///
/// # Errors
/// [`super::Error::Faults`] for a step that fails, unless that is to be ignored.
pub(super) fn run(
    component: &Component,
    desk: &mut Desk<'_>,
    scripts: Scripts,
    wanted: fn(&str) -> bool,
) -> JobResult<Vec<StepTold>> {
    let names = component.names().map_err(|fault| component.error(1, fault))?;
    let mut done = BTreeMap::new();
    let mut told = Vec::new();
    let mut failed = None;
    for phase in component.document.phases.iter().filter(|phase| wanted(&phase.name)) {
        for step in &phase.steps {
            let label = component.label(&phase.name, &step.name);
            desk.begin(label.clone(), step.at, scripts);
            let mut turns = Turns { component, names: &names, done: &done, phase: &phase.name, step, scripts };
            let (status, why) = match turns.run(desk) {
                Ok((status, gave)) => {
                    done.insert(format!("{}.{}", phase.name, step.name), gave);
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
            let autostarts = desk.autostarts();
            let (status, why) = match autostarts.is_empty() || scripts != Scripts::Skip || status != StepStatus::Done {
                true => (status, why),
                false => (StepStatus::LeftOut, Some(format!("left out as a script: {}", autostarts.join("; ")))),
            };
            told.push(StepTold { step: label, action: step.action.clone(), status, why, autostarts });
        }
    }
    match failed {
        None => Ok(told),
        Some(first) => {
            let count = told.iter().filter(|told| told.status == StepStatus::Failed).count();
            Err(component.error(count, first))
        }
    }
}

/// One step at work.
struct Turns<'a> {
    component: &'a Component,
    names: &'a BTreeMap<String, String>,
    done: &'a BTreeMap<String, Done>,
    phase: &'a str,
    step: &'a Step,
    scripts: Scripts,
}

impl Turns<'_> {
    fn run(&mut self, desk: &mut Desk<'_>) -> Result<(StepStatus, Done)> {
        if let Some((condition, then, otherwise)) = &self.step.condition {
            let holds = self.holds(condition, None, desk)?;
            match if holds { then } else { otherwise } {
                Branch::Execute => {}
                Branch::Skip => return Ok((StepStatus::Skipped, Done::default())),
                Branch::Abort => return Err(Fault::new(self.step.at, Flaw::Failed, "its condition ends the run")),
            }
        }
        let is_late = self.is_late();
        if self.step.action == "ExecutePowerShell" && self.scripts == Scripts::Skip || is_late && self.phase == "test" {
            return Ok((StepStatus::LeftOut, Done::default()));
        }
        let status = if is_late { StepStatus::Staged } else { StepStatus::Done };
        let mut done = Done::default();
        let Some(repeat) = &self.step.repeat else {
            self.once(None, &mut done, desk)?;
            return Ok((status, done));
        };
        let values: Vec<String> = match &repeat.values {
            Values::Numbers(numbers) => numbers.clone(),
            Values::Items(items) => items
                .iter()
                .map(|item| self.resolve(item.text().unwrap_or_default(), None, desk))
                .collect::<Result<_>>()?,
            Values::Split(list, delimiter) => {
                let list = self.resolve(list.text().unwrap_or_default(), None, desk)?;
                list.split(*delimiter).map(str::to_owned).collect()
            }
        };
        for (index, value) in values.iter().enumerate() {
            self.once(Some((repeat.name.as_str(), index, value.as_str())), &mut done, desk)?;
        }
        Ok((status, done))
    }

    /// Tells whether the step is left to the first start.
    fn is_late(&self) -> bool {
        let offline = Action::named(&self.step.action).map(|action| action.offline);
        self.scripts == Scripts::FirstBoot && matches!(offline, Some(Offline::Script | Offline::Program(_)))
    }

    fn once(&self, turn: Option<(&str, usize, &str)>, done: &mut Done, desk: &mut Desk<'_>) -> Result<()> {
        for input in &self.step.inputs {
            if self.step.action == "Assert" {
                if !self.holds(&Condition::parse(input)?, turn, desk)? {
                    return Err(Fault::new(input.at, Flaw::Failed, "the assertion does not hold"));
                }
                continue;
            }
            let input = {
                let outside = |name: &str| self.outside(name, desk);
                let scope = Scope { names: self.names, done: self.done, turn, outside: &outside };
                expression::resolve_node(input, &scope)?
            };
            let given = input.map().unwrap_or_default().iter();
            let given = given.filter_map(|(name, _, node)| Some((name.clone(), node.text()?.to_owned())));
            let given: BTreeMap<String, String> = given.collect();
            desk.spend(given.values().map(String::len).sum())?;
            done.inputs.push(given);
            if self.is_late() {
                let label = self.component.label(self.phase, &self.step.name);
                desk.leave(Script::of(self.step, &label, &input)?)?;
                continue;
            }
            let gave = act(&self.step.action, &input, &self.component.beside, desk)?;
            desk.spend(gave.values().map(String::len).sum())?;
            done.outputs.push(gave);
        }
        Ok(())
    }

    fn resolve(&self, text: &str, turn: Option<(&str, usize, &str)>, desk: &Desk<'_>) -> Result<String> {
        let outside = |name: &str| self.outside(name, desk);
        expression::resolve(text, self.step.at, &Scope { names: self.names, done: self.done, turn, outside: &outside })
    }

    fn holds(&self, condition: &Condition, turn: Option<(&str, usize, &str)>, desk: &Desk<'_>) -> Result<bool> {
        condition.holds(&mut |_, operator, operand, value| {
            let operand = self.resolve(operand, turn, desk)?;
            let value = value.map(|value| self.resolve(value, turn, desk)).transpose()?;
            if let Some(holds) = compare(operator, &operand, value.as_deref()) {
                return Ok(holds);
            }
            match operator {
                Operator::FileExists => desk.is_file(&desk.path(&operand)?),
                Operator::FolderExists => desk.is_folder(&desk.path(&operand)?),
                Operator::BinaryExists => self.is_program(&operand, desk),
                Operator::FileHash(hash) => {
                    let content = desk.content(&desk.path(&value.unwrap_or_default())?)?;
                    let found = content.and_then(|content| content.data).map(|data| hash.of(&data));
                    Ok(found.is_some_and(|found| found.eq_ignore_ascii_case(&operand)))
                }
                _ => Err(Fault::new(self.step.at, Flaw::Condition, format!("{operand:?} is no pattern"))),
            }
        })
    }

    /// Tells whether a program is found by its name as Windows looks for it, in the folders of the machine's own path.
    fn is_program(&self, name: &str, desk: &Desk<'_>) -> Result<bool> {
        if name.contains(['\\', '/', ':']) {
            return desk.is_file(&desk.path(name)?);
        }
        let unknown = || desk.fault(Flaw::Failed, "the path of the machine's own environment cannot be told");
        let folders = environment::variable("Path", desk).ok_or_else(unknown)?;
        let suffixes = environment::variable("PATHEXT", desk).unwrap_or_else(|| ".COM;.EXE;.BAT;.CMD".to_owned());
        let suffixes: Vec<&str> = std::iter::once("").chain(suffixes.split(';')).collect();
        for folder in folders.split(';').filter(|folder| !folder.is_empty()) {
            for suffix in &suffixes {
                // A folder on another drive is none of this image.
                if let Ok(path) = desk.path(&format!(r"{}\{name}{suffix}", folder.trim_end_matches('\\')))
                    && desk.is_file(&path)?
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Answers for what the run and the machine's own environment know.
    fn outside(&self, name: &str, desk: &Desk<'_>) -> Option<String> {
        if let Some(variable) = name.strip_prefix("env:") {
            return environment::variable(variable, desk);
        }
        let moment = desk.now.to_string();
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

/// Does what one action says, once.
fn act(action: &str, input: &Node, beside: &Beside, desk: &mut Desk<'_>) -> Result<BTreeMap<String, String>> {
    let text = |name: &str| input.get(name).and_then(Node::text).unwrap_or_default();
    let flag = |name: &str, usual: bool| input.get(name).and_then(Node::flag).unwrap_or(usual);
    let mut gave = BTreeMap::new();
    if let Some(fault) = input.get("encoding").and_then(encoding_fault) {
        return Err(fault);
    }
    match action {
        "CreateFile" => {
            let path = desk.path(text("path"))?;
            if !flag("overwrite", true) && desk.is_file(&path)? {
                return Err(desk.fault(Flaw::Failed, format!("`{path}` exists")));
            }
            desk.put(path, text("content").to_owned())?;
        }
        "AppendFile" => {
            let path = desk.path(text("path"))?;
            let stands = existing(desk, &path)?;
            desk.put(path, stands + text("content"))?;
        }
        "ReadFile" | "SetFileEncoding" => {
            let path = desk.path(text("path"))?;
            let stands = existing(desk, &path)?;
            gave.insert("content".to_owned(), stands);
        }
        "CopyFile" | "MoveFile" => {
            let sources = desk.matching(text("source"))?;
            if sources.is_empty() || (sources.len() > 1 && !ends_open(text("destination"))) {
                let count = sources.len();
                let what =
                    format!("{count} files fit {:?}, and {:?} is to hold them", text("source"), text("destination"));
                return Err(desk.fault(Flaw::Failed, what));
            }
            for source in sources {
                let content = desk.content(&source)?;
                let content =
                    content.ok_or_else(|| desk.fault(Flaw::Failed, format!("there is no file `{source}`")))?;
                let destination = landing(text("destination"), &source, desk)?;
                if same_path(&source, &destination) {
                    continue;
                }
                let left_out = desk.left_out();
                lay(destination, content, flag("overwrite", true), desk)?;
                // What was not put elsewhere stays where it is.
                if action == "MoveFile" && desk.left_out() == left_out {
                    desk.remove(source)?;
                }
            }
        }
        "CopyFolder" | "MoveFolder" => {
            let source = desk.path(text("source"))?;
            if !desk.is_folder(&source)? {
                return Err(desk.fault(Flaw::Failed, format!("there is no folder `{source}`")));
            }
            let destination = landing(text("destination"), &source, desk)?;
            let [from, to] = [&source, &destination].map(|path| format!(r"{}\", path.to_uppercase()));
            if to.starts_with(&from) || from.starts_with(&to) {
                return Err(desk.fault(Flaw::Failed, format!("`{destination}` and `{source}` lie in each other")));
            }
            if !flag("overwrite", true) && desk.is_folder(&destination)? {
                return Err(desk.fault(Flaw::Failed, format!("`{destination}` exists")));
            }
            let below = desk.walk(&source)?;
            let left_out = desk.left_out();
            desk.make_folder(destination.clone())?;
            for (path, is_folder) in below {
                let place = format!("{destination}{path}");
                if is_folder {
                    desk.make_folder(place)?;
                } else if let Some(content) = desk.content(&format!("{source}{path}"))? {
                    desk.put_content(place, content)?;
                }
            }
            if action == "MoveFolder" && desk.left_out() == left_out {
                desk.remove_folder(source, true)?;
            }
        }
        "ListFiles" => {
            let folder = desk.path(text("path"))?;
            if !desk.is_folder(&folder)? {
                return Err(desk.fault(Flaw::Failed, format!("there is no folder `{folder}`")));
            }
            let wanted = input.get("fileNamePattern").and_then(Node::text).unwrap_or("*").to_uppercase();
            let is_wanted = |path: &str| {
                let (above, name) = path.rsplit_once('\\').unwrap_or(("", path));
                (flag("recursive", false) || above.is_empty()) && pattern::fits(&name.to_uppercase(), &wanted)
            };
            let below = desk.walk(&folder)?.into_iter();
            let files = below.filter(|(path, is_folder)| !is_folder && is_wanted(path));
            let files: Vec<String> = files.map(|(path, _)| format!(r"{}:\{folder}{path}", desk.drive())).collect();
            gave.insert("files".to_owned(), files.join(","));
        }
        "S3Download" | "WebDownload" => {
            let placed = download::fetch(action, input, beside, desk)?;
            if action == "WebDownload" {
                gave.insert("destination".to_owned(), placed);
            }
        }
        "InstallFiles" => {
            let source = text("source");
            let files = beside::below(beside, source);
            if files.is_empty() {
                return Err(desk.fault(Flaw::Failed, format!("there is no file in {source:?} beside the document")));
            }
            let destination = landing(text("destination"), &source.trim_end_matches('/').replace('/', r"\"), desk)?;
            for (below, content) in files {
                // A name beside the document is judged as one of Windows.
                let place = match below {
                    "" => destination.clone(),
                    below => desk.path(&format!(r"{destination}\{below}"))?,
                };
                lay(place, content.clone(), flag("overwrite", true), desk)?;
            }
        }
        "InstallCertificate" => {
            let store = input.get("store").and_then(Node::text).unwrap_or("ROOT").to_owned();
            let files = beside::below(beside, text("source"));
            let read = |content: &Content| certificates::parse(content.data.as_deref()?);
            let found: Option<Vec<Vec<_>>> = files.iter().map(|(_, content)| read(content)).collect();
            let Some(found) = found.filter(|found| !found.is_empty()) else {
                return Err(
                    desk.fault(Flaw::Failed, format!("{:?} holds something else than certificates", text("source")))
                );
            };
            for certificate in found.into_iter().flatten() {
                let setting = Setting::Certificate { store: store.clone(), thumbprint: certificate.thumbprint() };
                desk.set(&setting, Some(Value::Certificate(certificate.der().to_vec())))?;
            }
        }
        // They were heard before the first step.
        "ApplyPolicy" | "ApplyStig" => {}
        "DeleteFile" => {
            for path in desk.matching(text("path"))? {
                if !desk.is_file(&path)? {
                    return Err(desk.fault(Flaw::Failed, format!("there is no file `{path}`")));
                }
                desk.remove(path)?;
            }
        }
        "CreateFolder" => {
            let path = desk.path(text("path"))?;
            if !flag("overwrite", true) && desk.is_folder(&path)? {
                return Err(desk.fault(Flaw::Failed, format!("`{path}` exists")));
            }
            desk.make_folder(path)?;
        }
        "DeleteFolder" => {
            let path = desk.path(text("path"))?;
            match (desk.is_folder(&path)?, flag("force", false)) {
                (true, with_all) => desk.remove_folder(path, with_all)?,
                (false, true) => {}
                (false, false) => return Err(desk.fault(Flaw::Failed, format!("there is no folder `{path}`"))),
            }
        }
        "SetRegistry" => {
            let value = registry_value(input)?;
            desk.set(&registry_setting(text("path"), text("name"), desk)?, Some(value))?;
        }
        "AssertRegistry" => {
            let setting = registry_setting(text("path"), text("name"), desk)?;
            let wanted = input.get("value").map(|_| registry_value(input)).transpose()?;
            let found = desk.get(&setting)?;
            if found != wanted {
                let show =
                    |value: &Option<Value>| value.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
                let what = format!("{setting} is {} instead of {}", show(&found), show(&wanted));
                return Err(desk.fault(Flaw::Failed, what));
            }
        }
        "SetService" => service(text("name"), text("startupType"), desk)?,
        "ExecutePowerShell" => {
            let mut deeds = Vec::new();
            for command in input.get("commands").and_then(Node::list).unwrap_or_default() {
                let translated = powershell::translate(command.text().unwrap_or_default());
                deeds.extend(translated.map_err(|what| Fault::new(command.at, Flaw::Script, what))?);
            }
            let mut made: Vec<String> = Vec::new();
            for deed in deeds {
                do_deed(deed, input.at, &mut made, desk)?;
            }
            if let Some(key) = made.iter().find(|key| !desk.has_key(key)) {
                let what = format!("`{key}` is made and holds no value: a key without one is not written");
                return Err(desk.fault(Flaw::Script, what));
            }
        }
        _ => return Err(desk.fault(Flaw::NeedsWindows, action)),
    }
    Ok(gave)
}

/// Returns the content of a file that must be there.
fn existing(desk: &Desk<'_>, path: &str) -> Result<String> {
    desk.text(path)?.ok_or_else(|| desk.fault(Flaw::Failed, format!("there is no file `{path}`")))
}

/// Tells whether a destination is a folder that what comes keeps its name in.
pub(super) fn ends_open(destination: &str) -> bool {
    destination.ends_with(['\\', '/'])
}

/// Returns where something lands.
pub(super) fn landing(destination: &str, source: &str, desk: &Desk<'_>) -> Result<String> {
    let path = desk.path(destination)?;
    let name = source.rsplit('\\').next().unwrap_or(source);
    Ok(if ends_open(destination) { desk.path(&format!(r"{path}\{name}"))? } else { path })
}

fn same_path(one: &str, other: &str) -> bool {
    one.to_uppercase() == other.to_uppercase()
}

/// Puts content where nothing is, or may be overwritten.
pub(super) fn lay(path: String, content: Content, may_overwrite: bool, desk: &mut Desk<'_>) -> Result<()> {
    match !may_overwrite && desk.is_file(&path)? {
        true => Err(desk.fault(Flaw::Failed, format!("`{path}` exists"))),
        false => desk.put_content(path, content),
    }
}

/// Sets how a service starts that is there.
fn service(name: &str, start: &str, desk: &mut Desk<'_>) -> Result<()> {
    let number = registry::start_of(start).map_err(|what| desk.fault(Flaw::Word, what))?;
    let setting = registry::service(name).map_err(|what| desk.fault(Flaw::RegistryKey, what))?;
    match desk.get(&setting)?.and_then(|value| value.as_dword()) {
        // A driver that starts with the kernel is none of the services that these words are about.
        Some(0 | 1) => Err(desk.fault(Flaw::Failed, format!("`{name}` is a driver that Windows starts with"))),
        Some(_) => desk.set(&setting, Some(Value::dword(number))),
        None => Err(desk.fault(Flaw::Failed, format!("there is no service `{name}`"))),
    }
}

/// Does what one command of a script says. `made` are the keys that the script has made so far.
fn do_deed(deed: Deed, at: Position, made: &mut Vec<String>, desk: &mut Desk<'_>) -> Result<()> {
    let is_made = |made: &[String], key: &str| made.iter().any(|known| known.eq_ignore_ascii_case(key));
    match deed {
        Deed::SetValue { key, name, kind, data, makes_key } => {
            let scalar = |text: String| Node::scalar(at, text);
            let input = Node::of(at, [("type", scalar(kind)), ("value", scalar(data))]);
            let setting = registry_setting(&key, &name, desk)?;
            if !makes_key && !is_made(made, &key) && !desk.has_key(&key) {
                return Err(desk.fault(Flaw::Failed, format!("there is no key `{key}`")));
            }
            desk.set(&setting, Some(registry_value(&input)?))
        }
        Deed::RemoveValue { key, name, may_miss } => {
            let setting = registry_setting(&key, &name, desk)?;
            match desk.get(&setting)? {
                Some(_) => desk.set(&setting, None),
                None if may_miss => Ok(()),
                None => Err(desk.fault(Flaw::Failed, format!("there is no value {setting}"))),
            }
        }
        Deed::MakeKey { key, makes_above } => {
            // It is judged as a key before anything stands in it.
            registry_setting(&key, "", desk)?;
            if is_made(made, &key) || desk.has_key(&key) {
                // With force, everything in it would go.
                return Err(desk.fault(Flaw::Failed, format!("the key `{key}` exists")));
            }
            let above = key.rsplit_once('\\').map_or("", |(above, _)| above);
            if !makes_above && !is_made(made, above) && !desk.has_key(above) {
                return Err(desk.fault(Flaw::Failed, format!("there is no key `{above}`")));
            }
            made.push(key);
            Ok(())
        }
        Deed::MakeFile { path, text, is_forced } => {
            let path = desk.path(&path)?;
            if !is_forced && desk.is_file(&path)? {
                return Err(desk.fault(Flaw::Failed, format!("`{path}` exists")));
            }
            if let Some((above, _)) = path.rsplit_once('\\').filter(|_| !is_forced)
                && !desk.is_folder(above)?
            {
                return Err(desk.fault(Flaw::Failed, format!("there is no folder `{above}`")));
            }
            desk.put(path, text)
        }
        Deed::CopyFile { source, destination } => {
            let source = desk.path(&source)?;
            let content = desk.content(&source)?;
            let content = content.ok_or_else(|| desk.fault(Flaw::Failed, format!("there is no file `{source}`")))?;
            let mut destination = desk.path(&destination)?;
            if desk.is_folder(&destination)? {
                let name = source.rsplit('\\').next().unwrap_or(&source);
                destination = format!(r"{destination}\{name}");
            }
            if let Some((above, _)) = destination.rsplit_once('\\')
                && !desk.is_folder(above)?
            {
                return Err(desk.fault(Flaw::Failed, format!("there is no folder `{above}`")));
            }
            desk.put_content(destination, content)
        }
        Deed::MakeFolder { path, may_exist } => {
            let path = desk.path(&path)?;
            match desk.is_folder(&path)? && !may_exist {
                true => Err(desk.fault(Flaw::Failed, format!("`{path}` exists"))),
                false => desk.make_folder(path),
            }
        }
        Deed::Service { name, start } => service(&name, start, desk),
        Deed::Account { field, number } => desk.set(&Setting::AccountPolicy { field }, Some(Value::Number(number))),
        Deed::Audit { subcategory, success, failure } => {
            let setting = Setting::AuditPolicy { subcategory };
            let stands = match desk.get(&setting)? {
                Some(Value::Audit(flags)) => flags,
                _ => AuditFlags::default(),
            };
            let (success, failure) = (success.unwrap_or(stands.success), failure.unwrap_or(stands.failure));
            desk.set(&setting, Some(Value::Audit(AuditFlags { success, failure })))
        }
    }
}
