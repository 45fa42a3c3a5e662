//! Keys and values as `.reg` text.

use std::collections::HashSet;

use crate::edit::{Error, Result};
use crate::formats::reg_file::{Style, Writer, escaped, is_printable};
use coldforge_regf::{self as regf, Hive, Key};

/// Keys and values as text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exported {
    /// The `.reg` file.
    pub text: Vec<u8>,
    /// The keys, and values as `key!name`, whose names no line of text can carry, with these characters escaped: they were
    /// left out with all below them, or written under these names.
    pub unprintable: Vec<String>,
}

/// What becomes of a key or value whose name no line of text can carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unprintable {
    /// It is left out, with all below it.
    Skip,
    /// It is written with such characters escaped, under a name that is not its own.
    Escape,
}

/// Returns a key with all below it as `.reg` text; `prefix` is the key's path as the text will name it.
///
/// In [`Style::Hivex`] keys and values are in the order of that tool: by code points. In [`Style::Regedit`] they are in
/// the order of the hive.
///
/// # Errors
/// [`Error::Hive`] for what contradicts the format, [`Error::RegText`] for a prefix that text cannot carry.
pub fn export(key: &Key<'_>, prefix: &str, style: Style, odd: Unprintable) -> Result<Exported> {
    let mut unprintable = Vec::new();
    // Returns the name to write, if the key or value is written at all.
    let mut shown = |place: &str, name: String| {
        if is_printable(&name) {
            return Some(name);
        }
        let name = escaped(&name);
        unprintable.push(format!("{place}{name}"));
        (odd == Unprintable::Escape).then_some(name)
    };
    let mut writer = Writer::new(style);
    let mut pending = vec![(prefix.to_owned(), *key)];
    // Ends on any hive: no key is gone into twice.
    let mut seen = HashSet::new();
    while let Some((path, key)) = pending.pop() {
        if !seen.insert(key.cell()) {
            return Err(regf::Error::Loop { at: key.cell() }.into());
        }
        let mut values = Vec::new();
        for value in key.values()? {
            let value = value?;
            if let Some(name) = shown(&format!("{path}!"), value.name().to_string()) {
                values.push((name, value.kind(), value.data()?));
            }
        }
        let mut children = Vec::new();
        for child in key.subkeys()? {
            let child = child?;
            if let Some(name) = shown(&format!(r"{path}\"), child.name().to_string()) {
                children.push((name, child));
            }
        }
        if style == Style::Hivex {
            values.sort_by(|a, b| a.0.cmp(&b.0));
            children.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let bare = key.is_root() && (path.is_empty() || style == Style::Hivex);
        let written = if bare { format!(r"{path}\") } else { path.clone() };
        let of_key = values.iter().map(|(name, kind, data)| (name.as_str(), Some((*kind, data.as_ref()))));
        writer.key(&written, of_key).map_err(Error::RegText)?;
        pending.extend(children.into_iter().rev().map(|(name, child)| (format!(r"{path}\{name}"), child)));
    }
    Ok(Exported { text: writer.finish(), unprintable })
}

/// Returns the path of a key as the hive's own names spell it, with a backslash before each; `None` if it is not there.
///
/// # Errors
/// What contradicts the format on the way.
pub fn spelled(hive: &Hive, path: &str) -> Result<Option<String>> {
    let (mut key, mut spelled) = (hive.root()?, String::new());
    for name in path.split('\\').filter(|name| !name.is_empty()) {
        let Some(child) = key.subkey(name)? else { return Ok(None) };
        spelled.push_str(&format!(r"\{}", child.name()));
        key = child;
    }
    Ok(Some(spelled))
}
