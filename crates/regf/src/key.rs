//! A key: the `nk` cell, and what hangs from it.

use super::bin::pointer;
use super::layout::{KEY_COMPRESSED, KEY_LINK, KEY_NOT_ON_DISK, KEY_PREDEFINED, KEY_ROOT, KeyNode, KeySecurity};
use super::list::{Leaf, List};
use super::name::Name;
use super::{Error, Hive, Result, Value, prefix, tail};
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, read, utf16};

/// A key of a hive.
#[derive(Clone, Copy)]
pub struct Key<'h> {
    hive: &'h Hive,
    at: CellOffset,
    node: &'h KeyNode,
    name: Name<'h>,
}

impl<'h> Key<'h> {
    /// Reads the key node at `at`.
    pub(super) fn at(hive: &'h Hive, at: CellOffset) -> Result<Self> {
        Self::read(hive, at, hive.cell(at)?)
    }

    /// Reads the key node in the payload of the cell at `at`.
    pub(super) fn read(hive: &'h Hive, at: CellOffset, payload: &'h [u8]) -> Result<Self> {
        let (node, rest) = prefix::<KeyNode>(at, payload)?;
        if node.signature != *b"nk" {
            return Err(Error::Signature { at, expected: "a key", actual: node.signature });
        }
        let compressed = node.flags.get() & KEY_COMPRESSED != 0;
        let length = node.name_len.get();
        if !compressed && !length.is_multiple_of(2) {
            return Err(Error::NameLength { at, actual: length });
        }
        let raw = tail(at, rest, size_of::<KeyNode>(), usize::from(length))?;
        Ok(Self { hive, at, node, name: Name::new(raw, compressed) })
    }

    /// Returns the key's cell.
    pub fn cell(&self) -> CellOffset {
        self.at
    }

    /// Tells whether this is the hive's root key.
    pub fn is_root(&self) -> bool {
        self.at == self.hive.header.root
    }

    /// Returns the name; that of a root key means nothing.
    pub fn name(&self) -> Name<'h> {
        self.name
    }

    /// Returns when a value or subkey was last written.
    pub fn last_written(&self) -> FileTime {
        FileTime(self.node.last_written.get())
    }

    /// Returns the class name, if there is one.
    ///
    /// # Errors
    /// [`Error::NoCell`] or [`Error::CellTooShort`] if its cell cannot hold it.
    pub fn class(&self) -> Result<Option<String>> {
        let length = usize::from(self.node.class_len.get());
        match pointer(self.node.class.get()).filter(|_| length > 0) {
            Some(at) => Ok(Some(utf16::decode(tail(at, self.hive.cell(at)?, 0, length)?))),
            None => Ok(None),
        }
    }

    /// Tells whether the key is a symbolic link, which is never followed here.
    pub fn is_link(&self) -> bool {
        self.node.flags.get() & KEY_LINK != 0
    }

    /// Returns the number of subkeys that the key says it has.
    pub fn subkey_count(&self) -> u32 {
        self.node.subkey_count.get()
    }

    /// Returns the subkeys in the order of their list.
    ///
    /// A walk down a tree belongs to [`Hive::walk`], which ends even where a hostile hive's lists loop.
    ///
    /// # Errors
    /// What contradicts the format in the list, and then in each key.
    pub fn subkeys(&self) -> Result<impl Iterator<Item = Result<Key<'h>>> + use<'h>> {
        let hive = self.hive;
        let (first, rest) = match self.subkey_list().map(|at| hive.list(at)).transpose()? {
            None => (None, Vec::new()),
            Some(List::Leaf(leaf)) => (Some(leaf), Vec::new()),
            Some(List::Index(_)) => (None, self.leaves()?),
        };
        let children = first.into_iter().chain(rest).flat_map(|leaf| leaf.children());
        Ok(children.map(move |(child, _)| Key::at(hive, child)))
    }

    /// Returns the subkey of this name, ignoring case as Windows does.
    ///
    /// # Errors
    /// What contradicts the format in the lists and keys looked at.
    pub fn subkey(&self, name: &str) -> Result<Option<Key<'h>>> {
        match self.subkey_list() {
            Some(list) => self.hive.find_subkey(list, name),
            None => Ok(None),
        }
    }

    /// Returns the values in the order of their list.
    ///
    /// # Errors
    /// What contradicts the format in the list, and then in each value.
    pub fn values(&self) -> Result<impl Iterator<Item = Result<Value<'h>>> + use<'h>> {
        let hive = self.hive;
        let list = self.value_list()?;
        Ok(list
            .chunks_exact(4)
            .filter_map(|entry| read::u32_le(entry, 0).ok())
            .map(move |at| Value::at(hive, CellOffset(at))))
    }

    /// Returns the value of this name, ignoring case as Windows does; `""` is the unnamed value.
    ///
    /// # Errors
    /// What contradicts the format in the list and in the values before it.
    pub fn value(&self, name: &str) -> Result<Option<Value<'h>>> {
        for value in self.values()? {
            let value = value?;
            if value.name().is(name) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Returns the key's security descriptor in self-relative form.
    ///
    /// # Errors
    /// [`Error::NoCell`], [`Error::Signature`] or [`Error::CellTooShort`] if its cell is not one.
    pub fn security(&self) -> Result<&'h [u8]> {
        let at = CellOffset(self.node.security.get());
        let (head, rest) = self.hive.security_cell(at)?;
        tail(at, rest, size_of::<KeySecurity>(), head.descriptor_len.get() as usize)
    }

    /// Returns the node, for the writer and the verifier.
    pub(super) fn node(&self) -> &'h KeyNode {
        self.node
    }

    /// Returns the cell of the subkey list, if there are subkeys.
    pub(super) fn subkey_list(&self) -> Option<CellOffset> {
        pointer(self.node.subkey_list.get()).filter(|_| self.node.subkey_count.get() > 0)
    }

    /// Returns the leaves of the subkey list.
    pub(super) fn leaves(&self) -> Result<Vec<Leaf<'h>>> {
        self.subkey_list().map_or(Ok(Vec::new()), |list| self.hive.leaves(list))
    }

    /// Returns the entries of the value list that are in use.
    pub(super) fn value_list(&self) -> Result<&'h [u8]> {
        let count = self.node.value_count.get() as usize;
        if count == 0 || self.node.flags.get() & KEY_PREDEFINED != 0 {
            return Ok(&[]);
        }
        let at = CellOffset(self.node.value_list.get());
        tail(at, self.hive.cell(at)?, 0, count.saturating_mul(4))
    }

    /// Checks that this version knows all there is to editing the key, or going through it to one that is edited.
    pub(super) fn check_editable(&self) -> Result<()> {
        let flags = self.node.flags.get();
        if self.is_link() {
            return Err(Error::Link { at: self.at });
        }
        if flags & (KEY_NOT_ON_DISK | KEY_PREDEFINED) != 0 {
            return Err(Error::KeyFlags { at: self.at, flags });
        }
        Ok(())
    }

    /// Tells whether the root flag is set.
    pub(super) fn has_root_flag(&self) -> bool {
        self.node.flags.get() & KEY_ROOT != 0
    }
}
