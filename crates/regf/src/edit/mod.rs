//! Edits: set, rename and delete values, make and delete keys, set a key's security, grow and seal the hive.
//!
//! Each is all or nothing, and does no more than Windows would: a value that is already so is not written, data is
//! rewritten in place where it fits, a key's time of last writing changes with its values and its subkeys.

mod alloc;
mod delete;
mod grow;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod model;
mod security;
mod subkeys;
mod transaction;
mod values;

pub(super) use alloc::Space;
pub(super) use transaction::Transaction;

use std::mem::offset_of;

use super::layout::KeyNode;
use super::name::NewName;
use super::security::{has_owner, is_descriptor};
use super::{Error, Hive, Key, Result, base_block, parts};
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, Extent};

/// What an edit did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edit {
    /// The value's type and data before, or `None` if it was not there or the edit is one of a key.
    pub before: Option<(u32, Vec<u8>)>,
    /// The cell of the value or of the key; that of a deleted one is free now.
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
    /// [`Error::Full`] if neither free cells nor the file have room: after [`Hive::grow`] to [`Hive::next_len`] the
    /// same edit succeeds. [`Error::TooLarge`] if a hive cannot be that large. [`Error::Link`], [`Error::KeyFlags`]
    /// and [`Error::ValueFlags`] where editing is refused, [`Error::Name`], [`Error::TooDeep`], [`Error::DataTooLong`]
    /// (1 MiB where the minor version is 3), [`Error::References`], and what contradicts the format. Nothing is changed
    /// then.
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

    /// Gives the value named `from` the name `to`; `None` if there is no such key or no such value. Its place, type and
    /// data stay. A name that differs only in case is another one to write, not another value.
    ///
    /// # Errors
    /// [`Error::ValueExists`] if another value has the name; otherwise as [`Hive::set_value`].
    pub fn rename_value(&mut self, path: &str, from: &str, to: &str, now: FileTime) -> Result<Option<Edit>> {
        let (key, missing) = self.descend(path)?;
        if !missing.is_empty() {
            return Ok(None);
        }
        let node = Key::at(self, key)?;
        let Some(value) = node.value(from)? else { return Ok(None) };
        let (cell, before) = (value.cell(), Some((value.kind(), value.data()?.into_owned())));
        let name = NewName::of_value(to)?;
        if value.name().units().eq(name.stored().units()) {
            return Ok(Some(Edit { before, cell, touched: Vec::new() }));
        }
        if let Some(other) = node.value(to)?.filter(|other| other.cell() != cell) {
            return Err(Error::ValueExists { at: other.cell() });
        }
        let (cell, touched) = self.transact(|t| {
            let cell = t.rename(key, cell, &name)?;
            t.put_u64(key, offset_of!(KeyNode, last_written), now.0)?;
            Ok(cell)
        })?;
        Ok(Some(Edit { before, cell, touched }))
    }

    /// Deletes a key without subkeys, with its values; `None` if there is no such key.
    ///
    /// # Errors
    /// [`Error::HasSubkeys`] if there are some; otherwise as [`Hive::delete_tree`].
    pub fn delete_key(&mut self, path: &str, now: FileTime) -> Result<Option<Edit>> {
        let (key, missing) = self.descend(path)?;
        let count = Key::at(self, key)?.subkey_count();
        if missing.is_empty() && count > 0 {
            return Err(Error::HasSubkeys { at: key, count });
        }
        self.delete_tree(path, now)
    }

    /// Deletes a key with its values and all its subkeys; `None` if there is no such key. Needs no room.
    ///
    /// A symbolic link below the key is deleted itself, never what it points to.
    ///
    /// # Errors
    /// [`Error::NoDelete`] for the root, and if the key or one below it has the flag against deletion; [`Error::Link`]
    /// if the key itself or one above it is a link; [`Error::KeyFlags`] and [`Error::ValueFlags`] where editing is
    /// refused; [`Error::Parent`], [`Error::SubkeyCount`], [`Error::Ring`], [`Error::References`], and what else
    /// contradicts the format in what would be freed. Nothing is changed then.
    pub fn delete_tree(&mut self, path: &str, now: FileTime) -> Result<Option<Edit>> {
        let names = parts(path)?;
        let Some((name, above)) = names.split_last() else {
            let root = self.root()?;
            return Err(Error::NoDelete { at: root.cell(), flags: root.node().flags.get() });
        };
        let above = above.join("\\");
        let (parent, missing) = self.descend(&above)?;
        if !missing.is_empty() {
            return Ok(None);
        }
        let Some(key) = Key::at(self, parent)?.subkey(name)? else { return Ok(None) };
        key.check_editable()?;
        let cell = key.cell();
        let ((), touched) = self.transact(|t| t.delete_tree(parent, cell, now.0))?;
        Ok(Some(Edit { before: None, cell, touched }))
    }

    /// Gives a key this security descriptor, in self-relative form; `None` if there is no such key. A descriptor that
    /// another key has is shared with it, one that no key has any longer is freed. Subkeys keep theirs: inheritance is
    /// the caller's matter.
    ///
    /// # Errors
    /// [`Error::Descriptor`] if it is malformed or has no owner; [`Error::Ring`] and [`Error::References`] if the
    /// hive's security cells are damaged; otherwise as [`Hive::set_value`].
    pub fn set_security(&mut self, path: &str, descriptor: &[u8], now: FileTime) -> Result<Option<Edit>> {
        if !is_descriptor(descriptor) || !has_owner(descriptor) {
            return Err(Error::Descriptor);
        }
        let (key, missing) = self.descend(path)?;
        if !missing.is_empty() {
            return Ok(None);
        }
        let node = Key::at(self, key)?;
        if node.security()? == descriptor {
            return Ok(Some(Edit { before: None, cell: key, touched: Vec::new() }));
        }
        let old = CellOffset(node.node().security.get());
        let ((), touched) = self.transact(|t| {
            let new = t.security_like(old, descriptor)?;
            t.put_u32(key, offset_of!(KeyNode, security), new.0)?;
            t.release(old)?;
            t.put_u64(key, offset_of!(KeyNode, last_written), now.0)
        })?;
        Ok(Some(Edit { before: None, cell: key, touched }))
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
