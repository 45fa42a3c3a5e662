//! Keys and values as `.reg` text.

use std::collections::HashSet;

use crate::base::reg_file::{Style, Writer};
use crate::pipeline::{Error, Result};
use crate::regf::{self, Hive, Key};

/// Returns a key with all below it as `.reg` text; `prefix` is the key's path as the text shall name it.
///
/// In [`Style::Hivex`] keys and values are in the order of that tool: by code points. In [`Style::Regedit`] they are in
/// the order of the hive.
///
/// # Errors
/// [`Error::Hive`] for what contradicts the format, [`Error::RegText`] for a name that text cannot carry.
pub fn export(key: &Key<'_>, prefix: &str, style: Style) -> Result<Vec<u8>> {
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
            values.push((value.name().to_string(), value.kind(), value.data()?));
        }
        let mut children = Vec::new();
        for child in key.subkeys()? {
            let child = child?;
            children.push((child.name().to_string(), child));
        }
        if style == Style::Hivex {
            values.sort_by(|a, b| a.0.cmp(&b.0));
            children.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let bare = key.is_root() && (path.is_empty() || style == Style::Hivex);
        let shown = if bare { format!(r"{path}\") } else { path.clone() };
        let told = values.iter().map(|(name, kind, data)| (name.as_str(), Some((*kind, data.as_ref()))));
        writer.key(&shown, told).map_err(Error::RegText)?;
        pending.extend(children.into_iter().rev().map(|(name, child)| (format!(r"{path}\{name}"), child)));
    }
    Ok(writer.finish())
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
