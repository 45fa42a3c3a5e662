//! Carries out a component, step by step, on a [`Desk`].

use std::collections::BTreeMap;

use super::condition::{Branch, Condition, Operator, compare};
use super::desk::Desk;
use super::document::{OnFailure, Step, Values};
use super::expression::{self, Done, Scope};
use super::fault::{Fault, Flaw, Position};
use super::powershell::{self, Deed, Scripts};
use super::yaml::{Node, Value as Yaml};
use super::{Component, StepStatus, StepTold};
use crate::base::digest::Digest;
use crate::base::utf16;
use crate::pipeline::Result as JobResult;
use crate::windows::setting::{AuditFlags, Setting, Value, ValueType};

type Result<T> = std::result::Result<T, Fault>;

/// Registry roots as components write them, and as settings do. The modules run as SYSTEM, whose own part of the registry
/// is that of the default user.
const ROOTS: [(&str, &str); 10] = [
    ("HKEY_LOCAL_MACHINE", "HKLM"),
    ("HKLM", "HKLM"),
    ("HKEY_CURRENT_USER", r"HKU\.DEFAULT"),
    ("HKCU", r"HKU\.DEFAULT"),
    ("HKEY_USERS", "HKU"),
    ("HKU", "HKU"),
    ("HKEY_CLASSES_ROOT", r"HKLM\SOFTWARE\Classes"),
    ("HKCR", r"HKLM\SOFTWARE\Classes"),
    ("HKEY_CURRENT_CONFIG", r"HKLM\SYSTEM\CurrentControlSet\Hardware Profiles\0001"),
    ("HKCC", r"HKLM\SYSTEM\CurrentControlSet\Hardware Profiles\0001"),
];

const SERVICES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services";
const ENVIRONMENT: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment";

/// Carries out the phases of a component that are wanted.
///
/// # Errors
/// [`crate::pipeline::Error::Component`] for a step that fails, unless that is to be ignored.
pub(super) fn run(
    component: &Component,
    desk: &mut Desk<'_>,
    scripts: Scripts,
    wanted: fn(&str) -> bool,
) -> JobResult<Vec<StepTold>> {
    let mut names: BTreeMap<String, String> = component.document.constants.iter().cloned().collect();
    for (name, default) in &component.document.parameters {
        let value = component.parameters.get(name).or(default.as_ref());
        let Some(value) = value else {
            return Err(component.error(1, Fault::new(Position::default(), Flaw::Parameter, format!("`{name}`"))));
        };
        names.insert(name.clone(), value.clone());
    }
    let mut done = BTreeMap::new();
    let mut told = Vec::new();
    let mut failed = None;
    for phase in component.document.phases.iter().filter(|phase| wanted(&phase.name)) {
        for step in &phase.steps {
            let label = component.label(&phase.name, &step.name);
            desk.begin(label.clone(), step.at);
            let mut turns = Turns { names: &names, done: &done, phase: &phase.name, step, scripts };
            let (status, why) = match turns.run(desk) {
                Ok((status, gave)) => {
                    done.insert(format!("{}.{}", phase.name, step.name), gave);
                    let why = (status == StepStatus::LeftOut).then(|| "its script was left out".to_owned());
                    (status, why)
                }
                Err(fault) if step.on_failure == OnFailure::Ignore => {
                    (StepStatus::IgnoredFailure, Some(fault.to_string()))
                }
                Err(fault) => {
                    let why = Some(fault.to_string());
                    let first = failed.get_or_insert(fault);
                    if step.on_failure == OnFailure::Abort {
                        return Err(crate::pipeline::Error::Component { name: label, count: 1, first: first.clone() });
                    }
                    (StepStatus::Failed, why)
                }
            };
            told.push(StepTold { step: label, action: step.action.clone(), status, why });
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
        if self.step.action == "ExecutePowerShell" && self.scripts == Scripts::Skip {
            return Ok((StepStatus::LeftOut, Done::default()));
        }
        let mut done = Done::default();
        let Some(repeat) = &self.step.repeat else {
            self.once(None, &mut done, desk)?;
            return Ok((StepStatus::Done, done));
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
        Ok((StepStatus::Done, done))
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
            done.inputs.push(given.collect());
            let gave = act(&self.step.action, &input, desk)?;
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
                _ => {
                    let text = desk.text(&desk.path(&value.unwrap_or_default())?)?;
                    Ok(text.is_some_and(|text| Digest::of(text.as_bytes()).to_string().eq_ignore_ascii_case(&operand)))
                }
            }
        })
    }

    /// Answers for what the run and the machine's own environment know.
    fn outside(&self, name: &str, desk: &Desk<'_>) -> Option<String> {
        if let Some(variable) = name.strip_prefix("env:") {
            let root = || desk.registry_text(r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "SystemRoot");
            return match variable.to_ascii_lowercase().as_str() {
                "systemdrive" => Some(format!("{}:", desk.drive())),
                "systemroot" | "windir" => root(),
                "programfiles" => {
                    desk.registry_text(r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion", "ProgramFilesDir")
                }
                // A value that names others is not unfolded here.
                _ => desk.registry_text(ENVIRONMENT, variable).filter(|text| !text.contains('%')),
            };
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
fn act(action: &str, input: &Node, desk: &mut Desk<'_>) -> Result<BTreeMap<String, String>> {
    let text = |name: &str| input.get(name).and_then(Node::text).unwrap_or_default();
    let flag = |name: &str, usual: bool| input.get(name).and_then(Node::flag).unwrap_or(usual);
    let mut gave = BTreeMap::new();
    if let Some(encoding) = input.get("encoding") {
        let word = encoding.text().unwrap_or_default().to_ascii_lowercase();
        if !matches!(word.as_str(), "utf8" | "utf-8") {
            return Err(Fault::new(
                encoding.at,
                Flaw::Word,
                format!("the encoding `{word}`: files are written in utf-8"),
            ));
        }
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
            let source = desk.path(text("source"))?;
            let content = existing(desk, &source)?;
            let mut destination = desk.path(text("destination"))?;
            if text("destination").ends_with(['\\', '/']) {
                let name = source.rsplit('\\').next().unwrap_or(&source);
                destination = format!(r"{destination}\{name}");
            }
            if !flag("overwrite", true) && desk.is_file(&destination)? {
                return Err(desk.fault(Flaw::Failed, format!("`{destination}` exists")));
            }
            if source.to_uppercase() != destination.to_uppercase() {
                desk.put(destination, content)?;
                if action == "MoveFile" {
                    desk.remove(source)?;
                }
            }
        }
        "DeleteFile" => {
            let path = desk.path(text("path"))?;
            if !desk.is_file(&path)? {
                return Err(desk.fault(Flaw::Failed, format!("there is no file `{path}`")));
            }
            desk.remove(path)?;
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
                // What is in it stands in its way when it is written: then nothing is emitted.
                (true, _) => desk.remove_folder(path)?,
                (false, true) => {}
                (false, false) => return Err(desk.fault(Flaw::Failed, format!("there is no folder `{path}`"))),
            }
        }
        "SetRegistry" => {
            let value = registry_value(input)?;
            desk.set(&registry(text("path"), text("name"), desk)?, Some(value))?;
        }
        "AssertRegistry" => {
            let setting = registry(text("path"), text("name"), desk)?;
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
            for deed in deeds {
                do_deed(deed, input.at, desk)?;
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

/// Returns the setting that a key and a name of a component mean.
fn registry(path: &str, name: &str, desk: &Desk<'_>) -> Result<Setting> {
    let refuse = |why: &str| desk.fault(Flaw::RegistryKey, format!("{path:?} {why}"));
    if path.contains('/') || path.chars().any(char::is_control) {
        return Err(refuse("has a character that keys do not have"));
    }
    let (root, below) = path.split_once([':', '\\']).ok_or_else(|| refuse("has no key below its root"))?;
    let below = below.trim_start_matches('\\');
    let known = ROOTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(root));
    let (_, root) = known.ok_or_else(|| refuse("begins with no root"))?;
    if below.is_empty() || below.ends_with('\\') || below.contains(r"\\") {
        return Err(refuse("has an empty name in it"));
    }
    if below.to_ascii_uppercase().starts_with("HARDWARE\\") && *root == "HKLM" {
        return Err(refuse("is made anew at every start"));
    }
    Ok(Setting::Registry { key: format!(r"{root}\{below}"), name: name.to_owned() })
}

/// Returns the value that the members `type` and `value` stand for.
fn registry_value(input: &Node) -> Result<Value> {
    let missing = |name: &str| Fault::new(input.at, Flaw::Missing, format!("`{name}`"));
    let kind = input.get("type").ok_or_else(|| missing("type"))?;
    let value = input.get("value").ok_or_else(|| missing("value"))?;
    let misfit = |what: &str| Fault::new(value.at, Flaw::RegistryValue, what);
    let texts = || -> Result<Vec<&str>> {
        let items = match &value.value {
            Yaml::List(items) => items.iter().collect(),
            _ => vec![value],
        };
        items.into_iter().map(|item| item.text().ok_or_else(|| misfit("an item is no text"))).collect()
    };
    let scalar = || value.text().ok_or_else(|| misfit("it is no text and no number"));
    let word = kind.text().unwrap_or_default().to_ascii_uppercase();
    Ok(match word.as_str() {
        "SZ" | "EXPAND_SZ" => {
            let text = scalar()?;
            if text.contains('\0') {
                return Err(misfit("the text holds a NUL"));
            }
            let kind = if word == "SZ" { ValueType::SZ } else { ValueType::EXPAND_SZ };
            Value::data(kind, utf16::encode_with_nul(text))
        }
        "DWORD" => {
            let number = number(scalar()?).and_then(|number| u32::try_from(number).ok());
            Value::dword(number.ok_or_else(|| misfit("it is no whole number from 0 to 4294967295"))?)
        }
        "QWORD" => {
            let number = number(scalar()?).ok_or_else(|| misfit("it is no whole number from 0 to 2^64-1"))?;
            Value::data(ValueType::QWORD, number.to_le_bytes().to_vec())
        }
        "MULTI_SZ" => {
            let texts = texts()?;
            if texts.iter().any(|text| text.is_empty() || text.contains('\0')) {
                return Err(misfit("an item is empty, or holds a NUL"));
            }
            let mut data: Vec<u8> = texts.iter().flat_map(|text| utf16::encode_with_nul(text)).collect();
            data.extend([0, 0]);
            Value::data(ValueType::MULTI_SZ, data)
        }
        "BINARY" => {
            let bytes = match &value.value {
                Yaml::List(_) => {
                    texts()?.into_iter().map(|text| number(text).and_then(|n| u8::try_from(n).ok())).collect()
                }
                _ => hex(scalar()?),
            };
            Value::data(ValueType::BINARY, bytes.ok_or_else(|| misfit("it is no list of bytes, and no hex digits"))?)
        }
        other => {
            let what = format!("`{other}` is not BINARY, DWORD, QWORD, SZ, EXPAND_SZ or MULTI_SZ");
            return Err(Fault::new(kind.at, Flaw::Word, what));
        }
    })
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok(),
    }
}

/// Returns the bytes of hex digits, which blanks and commas may stand between.
fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("hex:").unwrap_or(text);
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b' ' | b',')).collect();
    let digits = Some(digits).filter(|digits| digits.len() % 2 == 0 && digits.iter().all(u8::is_ascii_hexdigit))?;
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Sets how a service starts that is there.
fn service(name: &str, start: &str, desk: &mut Desk<'_>) -> Result<()> {
    let number = match start.to_ascii_lowercase().as_str() {
        "automatic" => 2,
        "manual" => 3,
        "disabled" => 4,
        _ => return Err(desk.fault(Flaw::Word, format!("`{start}` instead of Automatic, Manual or Disabled"))),
    };
    if name.is_empty() || name.contains(['\\', '/']) {
        return Err(desk.fault(Flaw::RegistryKey, format!("{name:?} is no name of a service")));
    }
    let setting = Setting::Registry { key: format!(r"{SERVICES}\{name}"), name: "Start".to_owned() };
    match desk.get(&setting)?.and_then(|value| value.as_dword()) {
        // A driver that starts with the kernel is none of the services that these words are about.
        Some(0 | 1) => Err(desk.fault(Flaw::Failed, format!("`{name}` is a driver that Windows starts with"))),
        Some(_) => desk.set(&setting, Some(Value::dword(number))),
        None => Err(desk.fault(Flaw::Failed, format!("there is no service `{name}`"))),
    }
}

fn do_deed(deed: Deed, at: Position, desk: &mut Desk<'_>) -> Result<()> {
    match deed {
        Deed::SetValue { key, name, kind, data, makes_key } => {
            let scalar = |text: String| Node::scalar(at, text);
            let input = Node::of(at, [("type", scalar(kind)), ("value", scalar(data))]);
            let setting = registry(&key, &name, desk)?;
            if !makes_key && !desk.has_key(&key) {
                return Err(desk.fault(Flaw::Failed, format!("there is no key `{key}`")));
            }
            desk.set(&setting, Some(registry_value(&input)?))
        }
        Deed::RemoveValue { key, name } => {
            let setting = registry(&key, &name, desk)?;
            match desk.get(&setting)? {
                Some(_) => desk.set(&setting, None),
                None => Err(desk.fault(Flaw::Failed, format!("there is no value {setting}"))),
            }
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
