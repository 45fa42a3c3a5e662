//! Performs the offline operations of translated PowerShell scripts against [`PendingChanges`].

use super::fault::{Fault, Flaw, Position};
use super::pending_changes::PendingChanges;
use super::powershell::Operation;
use super::registry::{set_service, setting as registry_setting, value as registry_value};
use super::yaml::Node;
use crate::windows::setting::{AuditFlags, Setting, Value};

type Result<T> = std::result::Result<T, Fault>;

/// Performs one operation. `made` are the keys that the script has created so far.
pub(super) fn perform_operation(
    operation: Operation,
    at: Position,
    made: &mut Vec<String>,
    pending: &mut PendingChanges<'_>,
) -> Result<()> {
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
        Operation::MakeKey { key, makes_above } => create_key(key, makes_above, made, pending),
        Operation::MakeFile { path, text, is_forced } => create_file(&path, text, is_forced, pending),
        Operation::CopyFile { source, destination } => copy_file(&source, &destination, pending),
        Operation::MakeFolder { path, may_exist } => {
            let path = pending.path(&path)?;
            match pending.is_folder(&path)? && !may_exist {
                true => Err(pending.fault(Flaw::Failed, format!("`{path}` exists"))),
                false => pending.make_folder(path),
            }
        }
        Operation::Service { name, start } => set_service(&name, start, pending),
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

/// Notes a key that a later command fills; `makes_above` creates its parents too.
fn create_key(key: String, makes_above: bool, made: &mut Vec<String>, pending: &PendingChanges<'_>) -> Result<()> {
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

/// Creates a text file.
fn create_file(path: &str, text: String, is_forced: bool, pending: &mut PendingChanges<'_>) -> Result<()> {
    let path = pending.path(path)?;
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

/// Copies one file.
fn copy_file(source: &str, destination: &str, pending: &mut PendingChanges<'_>) -> Result<()> {
    let source = pending.path(source)?;
    let content = pending.content(&source)?;
    let content = content.ok_or_else(|| pending.fault(Flaw::Failed, format!("there is no file `{source}`")))?;
    let mut destination = pending.path(destination)?;
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

/// Returns whether the script has created a key.
fn is_made(made: &[String], key: &str) -> bool {
    made.iter().any(|known| known.eq_ignore_ascii_case(key))
}
