//! Registry keys and values as component documents write them.

use super::fault::{Fault, Flaw};
use super::pending_changes::PendingChanges;
use super::yaml::{Node, Value as Yaml};
use crate::windows::setting::{Setting, Value, ValueType};
use coldforge_base::{hex, utf16};

type Result<T> = std::result::Result<T, Fault>;

const SERVICES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services";

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

/// Returns the setting that a key and a name of a component mean.
pub(super) fn setting(path: &str, name: &str, pending: &PendingChanges<'_>) -> Result<Setting> {
    parse(path, name).map_err(|what| pending.fault(Flaw::RegistryKey, what))
}

/// Returns the setting that a key and a name of a component mean; `Err` says what is wrong with the key.
pub(super) fn parse(path: &str, name: &str) -> std::result::Result<Setting, String> {
    let refuse = |why: &str| format!("{path:?} {why}");
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

/// Returns the number of a service start type; `Err` says what is wrong with the word.
pub(super) fn start_of(word: &str) -> std::result::Result<u32, String> {
    match word.to_ascii_lowercase().as_str() {
        "automatic" => Ok(2),
        "manual" => Ok(3),
        "disabled" => Ok(4),
        _ => Err(format!("`{word}` instead of Automatic, Manual or Disabled")),
    }
}

/// Returns how a service starts, as a setting; `Err` says what is wrong with its name.
pub(super) fn service(name: &str) -> std::result::Result<Setting, String> {
    match name.is_empty() || name.contains(['\\', '/']) || name.chars().any(char::is_control) {
        true => Err(format!("{name:?} is not a service name")),
        false => Ok(Setting::Registry { key: format!(r"{SERVICES}\{name}"), name: "Start".to_owned() }),
    }
}

/// Returns the value that the members `type` and `value` define.
pub(super) fn value(input: &Node) -> Result<Value> {
    let missing = |name: &str| Fault::new(input.at, Flaw::Missing, format!("`{name}`"));
    let kind = input.get("type").ok_or_else(|| missing("type"))?;
    let value = input.get("value").ok_or_else(|| missing("value"))?;
    let misfit = |what: &str| Fault::new(value.at, Flaw::RegistryValue, what);
    let texts = || -> Result<Vec<&str>> {
        let items = match &value.value {
            Yaml::List(items) => items.iter().collect(),
            _ => vec![value],
        };
        items.into_iter().map(|item| item.text().ok_or_else(|| misfit("an item is not text"))).collect()
    };
    let scalar = || value.text().ok_or_else(|| misfit("it is neither text nor a number"));
    if value.list().unwrap_or_default().iter().any(Node::is_null) {
        return Err(misfit("an item is nothing: write '' for an empty text"));
    }
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
            Value::dword(number.ok_or_else(|| misfit("it is not a whole number from 0 to 4294967295"))?)
        }
        "QWORD" => {
            let number = number(scalar()?).ok_or_else(|| misfit("it is not a whole number from 0 to 2^64-1"))?;
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
                _ => bytes(scalar()?),
            };
            Value::data(ValueType::BINARY, bytes.ok_or_else(|| misfit("it is neither a list of bytes nor hex digits"))?)
        }
        other => {
            let what = format!("`{other}` is not BINARY, DWORD, QWORD, SZ, EXPAND_SZ or MULTI_SZ");
            return Err(Fault::new(kind.at, Flaw::Word, what));
        }
    })
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => hex::number(digits),
        // A zero in front makes a number octal for some readers of YAML, and for others not.
        None if text.len() > 1 && text.starts_with('0') => None,
        None => Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok(),
    }
}

/// Returns the bytes of hex digits, which may be separated by blanks and commas.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("hex:").unwrap_or(text);
    hex::decode(&text.replace([' ', ','], ""))
}

/// Sets the start type of an existing service.
pub(super) fn set_service(name: &str, start: &str, pending: &mut PendingChanges<'_>) -> Result<()> {
    let number = start_of(start).map_err(|what| pending.fault(Flaw::Word, what))?;
    let setting = service(name).map_err(|what| pending.fault(Flaw::RegistryKey, what))?;
    match pending.get(&setting)?.and_then(|value| value.as_dword()) {
        // These words do not apply to a driver that starts with the kernel.
        Some(0 | 1) => Err(pending.fault(Flaw::Failed, format!("`{name}` is a driver that Windows starts with"))),
        Some(_) => pending.set(&setting, Some(Value::dword(number))),
        None => Err(pending.fault(Flaw::Failed, format!("there is no service `{name}`"))),
    }
}
