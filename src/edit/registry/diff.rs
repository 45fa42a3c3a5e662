//! What differs between two registries.

use std::collections::{BTreeMap, HashSet};

use crate::edit::Result;
use coldforge_regf::{self as regf, Key};

/// A type number and data.
type Content = (u32, Vec<u8>);

/// One difference; paths are relative to the keys that were compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Difference {
    /// A key is only in the first, with all below it.
    OnlyInFirst {
        /// The key.
        key: String,
    },
    /// A key is only in the second; what it holds follows as differences of its own.
    OnlyInSecond {
        /// The key.
        key: String,
    },
    /// A value differs.
    Value {
        /// The key.
        key: String,
        /// The value's name, `""` for the unnamed one.
        name: String,
        /// What it is in the first, if it is there.
        first: Option<Content>,
        /// What it is in the second, if it is there.
        second: Option<Content>,
    },
}

/// Compares two keys and everything below them. Times, descriptors and class names are not compared.
///
/// # Errors
/// [`crate::edit::Error::Hive`] for what contradicts the format.
pub fn diff(first: Option<Key<'_>>, second: Option<Key<'_>>) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    let mut pending = vec![(String::new(), first, second)];
    // Ends on any hive: no key of either is gone into twice.
    let mut seen = [HashSet::new(), HashSet::new()];
    while let Some((path, first, second)) = pending.pop() {
        for (seen, key) in seen.iter_mut().zip([first, second]) {
            if let Some(at) = key.map(|key| key.cell()).filter(|at| !seen.insert(*at)) {
                return Err(regf::Error::Loop { at }.into());
            }
        }
        match (first, second) {
            (Some(_), None) => {
                differences.push(Difference::OnlyInFirst { key: path });
                continue;
            }
            (None, Some(_)) => differences.push(Difference::OnlyInSecond { key: path.clone() }),
            (Some(_), Some(_)) => {}
            (None, None) => continue,
        }
        let (before, after) = (values(first)?, values(second)?);
        let names: BTreeMap<&Vec<u16>, &String> =
            before.iter().chain(&after).map(|(folded, (name, _))| (folded, name)).collect();
        for (folded, name) in names {
            let content = |side: &BTreeMap<Vec<u16>, (String, Content)>| side.get(folded).map(|(_, c)| c.clone());
            let (first, second) = (content(&before), content(&after));
            if first != second {
                differences.push(Difference::Value { key: path.clone(), name: name.clone(), first, second });
            }
        }
        let (before, after) = (subkeys(first)?, subkeys(second)?);
        let mut names: BTreeMap<Vec<u16>, String> = BTreeMap::new();
        names.extend(before.iter().map(|(folded, key)| (folded.clone(), key.name().to_string())));
        names.extend(after.iter().map(|(folded, key)| (folded.clone(), key.name().to_string())));
        let below = names.into_iter().rev().map(|(folded, name)| {
            let path = if path.is_empty() { name } else { format!(r"{path}\{name}") };
            (path, before.get(&folded).copied(), after.get(&folded).copied())
        });
        pending.extend(below);
    }
    Ok(differences)
}

/// Returns a key's values by their folded names.
fn values(key: Option<Key<'_>>) -> regf::Result<BTreeMap<Vec<u16>, (String, Content)>> {
    let mut values = BTreeMap::new();
    let Some(key) = key else { return Ok(values) };
    for value in key.values()? {
        let value = value?;
        let name = value.name().to_string();
        values.insert(value.name().folded(), (name, (value.kind(), value.data()?.into_owned())));
    }
    Ok(values)
}

/// Returns a key's subkeys by their folded names.
fn subkeys(key: Option<Key<'_>>) -> regf::Result<BTreeMap<Vec<u16>, Key<'_>>> {
    let mut subkeys = BTreeMap::new();
    let Some(key) = key else { return Ok(subkeys) };
    for child in key.subkeys()? {
        let child = child?;
        subkeys.insert(child.name().folded(), child);
    }
    Ok(subkeys)
}
