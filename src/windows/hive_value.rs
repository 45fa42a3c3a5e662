//! Reads values of SAM and SECURITY with their cell, and writes them with the ranges that each write touched.

use super::{Error, Result, UnusableValue};
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, Extent, offset};
use coldforge_regf::{self as regf, Edit, Hive, Key, Lookup};

/// The hive of accounts and groups, as a path on the volume.
pub(super) const SAM: &str = r"\Windows\System32\config\SAM";
/// The hive of the local security authority, as a path on the volume.
pub(super) const SECURITY: &str = r"\Windows\System32\config\SECURITY";

/// A value as it is stored in a hive.
pub(super) struct StoredValue {
    /// Its cell.
    pub(super) cell: CellOffset,
    /// Its type's number.
    pub(super) kind: u32,
    /// Its data.
    pub(super) data: Vec<u8>,
}

/// What a write did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValueWrite<T> {
    /// What was there before, or `None` if nothing was.
    pub before: Option<T>,
    /// The cell of the value, if it is one value.
    pub cell: Option<CellOffset>,
    /// The ranges of the hive file whose bytes changed; empty if nothing changed.
    pub touched: Vec<Extent>,
}

/// What several edits touched.
#[derive(Debug, Default)]
pub(super) struct TouchedRanges(Vec<Extent>);

impl TouchedRanges {
    /// Adds what an edit touched.
    pub(super) fn add(&mut self, edit: Option<Edit>) {
        self.0.extend(edit.into_iter().flat_map(|edit| edit.touched));
    }

    /// Returns it: ascending, without overlap.
    pub(super) fn extents(self) -> Vec<Extent> {
        offset::normalize(self.0)
    }
}

/// Converts an error of a hive.
pub(super) fn broken(file: &str) -> impl Fn(regf::Error) -> Error {
    move |source| Error::Hive { path: file.to_owned(), source }
}

/// Converts the reason why something at a key of a hive cannot be used.
pub(super) fn unusable(file: &str, key: &str) -> impl Fn(UnusableValue) -> Error {
    move |source| Error::UnusableValue { path: file.to_owned(), key: key.to_owned(), source }
}

/// Reads a value of a hive; `None` if there is no such key or value.
pub(super) fn read(hive: &dyn Lookup, file: &str, key: &str, name: &str) -> Result<Option<StoredValue>> {
    match hive.key(key).map_err(broken(file))? {
        Some(key) => value_of(&key, file, name),
        None => Ok(None),
    }
}

/// Reads a value of a key.
pub(super) fn value_of(key: &Key<'_>, file: &str, name: &str) -> Result<Option<StoredValue>> {
    let Some(value) = key.value(name).map_err(broken(file))? else { return Ok(None) };
    let data = value.data().map_err(broken(file))?.into_owned();
    Ok(Some(StoredValue { cell: value.cell(), kind: value.kind(), data }))
}

/// Returns the subkeys of a key of a hive; none if there is no such key.
pub(super) fn subkeys<'h>(hive: &'h dyn Lookup, file: &str, key: &str) -> Result<Vec<Key<'h>>> {
    let Some(key) = hive.key(key).map_err(broken(file))? else { return Ok(Vec::new()) };
    key.subkeys().map_err(broken(file))?.collect::<regf::Result<_>>().map_err(broken(file))
}

/// Sets a value of a hive, which grows if it must.
pub(super) fn write(
    hive: &mut Hive,
    file: &str,
    (key, name): (&str, &str),
    (kind, data): (u32, &[u8]),
    now: FileTime,
) -> Result<Edit> {
    hive.growing(|hive| hive.set_value(key, name, kind, data, now)).map_err(broken(file))
}

/// Runs several edits as one: if one fails, the hive is as it was before.
pub(super) fn as_one<T>(hive: &mut Hive, edits: impl FnOnce(&mut Hive) -> Result<T>) -> Result<T> {
    let before = hive.clone();
    let answer = edits(hive);
    if answer.is_err() {
        *hive = before;
    }
    answer
}
