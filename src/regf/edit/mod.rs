//! Edits: set a value, make a key, delete a value, seal the hive.
//!
//! Each is all or nothing, and does no more than Windows would: a value that is already so is not written, data is
//! rewritten in place where it fits, a key's time of last writing changes with its values and its subkeys.

mod alloc;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod model;
mod subkeys;
mod transaction;
mod values;

pub(super) use alloc::Space;
pub(super) use transaction::Transaction;

use std::mem::offset_of;

use super::layout::KeyNode;
use super::{Hive, Key, Result, base_block, parts};
use crate::base::time::FileTime;
use crate::base::{CellOffset, Extent};

/// What an edit did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edit {
    /// The value's type and data before, or `None` if it was not there or a key was made.
    pub before: Option<(u32, Vec<u8>)>,
    /// The value's cell, or that of the key that was made; the cell of a deleted value is free now.
    pub cell: CellOffset,
    /// The ranges of the hive file whose bytes changed: ascending, without overlap, with less than eight unchanged
    /// bytes in a row. Empty if everything was so already.
    pub touched: Vec<Extent>,
}

impl Edit {
    /// Tells whether everything was so already, and nothing was written.
    pub fn is_unchanged(&self) -> bool {
        self.touched.is_empty()
    }
}

impl Hive {
    /// Sets a value of the key at `path` to the type `kind` and to `data`; makes the key, and those above it, if they
    /// are missing. `name` is `""` for the unnamed value; an existing value keeps the case of its name.
    ///
    /// # Errors
    /// [`Error::Full`](super::Error::Full) if neither a free cell nor the file has room,
    /// [`Error::Link`](super::Error::Link), [`Error::KeyFlags`](super::Error::KeyFlags) and
    /// [`Error::ValueFlags`](super::Error::ValueFlags) where editing is refused,
    /// [`Error::Name`](super::Error::Name), and what contradicts the format; nothing is changed then.
    pub fn set_value(&mut self, path: &str, name: &str, kind: u32, data: &[u8], now: FileTime) -> Result<Edit> {
        let (key, missing) = self.descend(path)?;
        let old = if missing.is_empty() { Key::at(self, key)?.value(name)? } else { None };
        let before = old.map(|value| Ok((value.kind(), value.data()?.into_owned()))).transpose()?;
        if let (Some(value), Some((old_kind, old_data))) = (old, &before)
            && *old_kind == kind
            && old_data == data
        {
            return Ok(Edit { cell: value.cell(), before, touched: Vec::new() });
        }
        let (cell, touched) = self.transact(|t| {
            let key = t.create_path(key, &missing, now)?;
            let cell = t.write_value(key, name, kind, data)?;
            t.put_u64(key, offset_of!(KeyNode, last_written), now.0)?;
            Ok(cell)
        })?;
        Ok(Edit { before, cell, touched })
    }

    /// Makes the key at `path`, and those above it, with the security of the nearest key that exists.
    ///
    /// # Errors
    /// As [`Hive::set_value`].
    pub fn create_key(&mut self, path: &str, now: FileTime) -> Result<Edit> {
        let (key, missing) = self.descend(path)?;
        let (cell, touched) = self.transact(|t| t.create_path(key, &missing, now))?;
        Ok(Edit { before: None, cell, touched })
    }

    /// Deletes a value; `None` if there is no such key or no such value.
    ///
    /// # Errors
    /// As [`Hive::set_value`].
    pub fn delete_value(&mut self, path: &str, name: &str, now: FileTime) -> Result<Option<Edit>> {
        let (key, missing) = self.descend(path)?;
        if !missing.is_empty() {
            return Ok(None);
        }
        let Some(value) = Key::at(self, key)?.value(name)? else { return Ok(None) };
        let (cell, before) = (value.cell(), (value.kind(), value.data()?.into_owned()));
        let ((), touched) = self.transact(|t| {
            t.remove_value(key, cell)?;
            t.put_u64(key, offset_of!(KeyNode, last_written), now.0)
        })?;
        Ok(Some(Edit { before: Some(before), cell, touched }))
    }

    /// Makes an edited hive a clean one: the next sequence number twice, the size of the bins, the checksum. Returns
    /// the ranges of the base block that changed; none if there was no edit since the hive was parsed or sealed.
    ///
    /// The base block's time of last writing stays: Windows has not maintained it since 8.1.
    ///
    /// # Errors
    /// None that a parsed hive can meet: the base block was long enough.
    pub fn seal(&mut self) -> Result<Vec<Extent>> {
        if !self.unsealed {
            return Ok(Vec::new());
        }
        let block = base_block::sealed(&self.bytes, self.header.bins_len)?;
        let ((), touched) = self.transact(|t| t.write(0, &block))?;
        self.unsealed = false;
        Ok(touched)
    }

    /// Returns the last key on `path` that exists, and the names that are missing below it.
    ///
    /// Every key on the way must be one that may be edited, because a link or a layer would lead Windows elsewhere.
    fn descend<'p>(&self, path: &'p str) -> Result<(CellOffset, Vec<&'p str>)> {
        let mut key = self.root()?;
        key.check_editable()?;
        let mut names = parts(path)?.into_iter();
        while let Some(name) = names.next() {
            let Some(child) = key.subkey(name)? else {
                return Ok((key.cell(), std::iter::once(name).chain(names).collect()));
            };
            child.check_editable()?;
            key = child;
        }
        Ok((key.cell(), Vec::new()))
    }
}

impl Transaction<'_> {
    /// Makes keys of these names, each below the one before, the first below `key`; returns the last.
    pub(super) fn create_path(&mut self, key: CellOffset, names: &[&str], now: FileTime) -> Result<CellOffset> {
        names.iter().try_fold(key, |parent, name| self.create_subkey(parent, name, now.0))
    }
}
