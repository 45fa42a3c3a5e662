//! Deleting keys with everything that hangs from them.

use std::mem::offset_of;

use super::Transaction;
use super::values::check_editable;
use crate::bin::pointer;
use crate::layout::{KEY_NO_DELETE, KEY_NOT_ON_DISK, KEY_PREDEFINED, KEY_ROOT, KeyNode};
use crate::{Error, Key, Result, Value};
use coldforge_base::{CellOffset, read};

impl Transaction<'_> {
    /// Takes the key at `at` out of the lists of `parent`, and frees it with all its subkeys.
    ///
    /// A symbolic link among them is deleted itself, never what it points to. Counts and lists of volatile subkeys
    /// are leftovers on disk: they are neither followed nor changed.
    ///
    /// # Errors
    /// [`Error::NoDelete`] and [`Error::KeyFlags`] if one of the keys cannot be deleted; [`Error::Parent`] if one of
    /// them says that it belongs to another key, because then another list names it too; [`Error::NoCell`] if one cell
    /// is reached twice; what else contradicts the format in what is freed.
    pub(super) fn delete_tree(&mut self, parent: CellOffset, at: CellOffset, now: u64) -> Result<()> {
        self.unlink_subkey(parent, at)?;
        self.put_u64(parent, offset_of!(KeyNode, last_written), now)?;
        let mut pending = vec![(parent, at)];
        // Ends: a list is freed with the key that it belongs to, so each is read once.
        while let Some((parent, at)) = pending.pop() {
            let key = Key::at(self.hive(), at)?;
            check_deletable(&key)?;
            let node = key.node();
            if node.parent.get() != parent.0 {
                return Err(Error::Parent { at, expected: parent.0, actual: node.parent.get() });
            }
            let security = CellOffset(node.security.get());
            let class = pointer(node.class.get()).filter(|_| node.class_len.get() > 0);
            let leaves = key.leaves()?;
            pending.extend(leaves.iter().flat_map(|leaf| leaf.children().map(|(child, _)| (at, child))));
            let lists: Vec<CellOffset> = leaves.iter().map(|leaf| leaf.at).collect();
            let index = key.subkey_list().filter(|list| !lists.contains(list));
            for list in index.into_iter().chain(lists) {
                self.free(list)?;
            }
            self.delete_values(at)?;
            if let Some(class) = class {
                self.free(class)?;
            }
            self.release(security)?;
            self.free(at)?;
        }
        Ok(())
    }

    /// Frees all values of a key that is about to be freed itself.
    fn delete_values(&mut self, key: CellOffset) -> Result<()> {
        let node = Key::at(self.hive(), key)?;
        let list = CellOffset(node.node().value_list.get());
        let entries = node.value_list()?.chunks_exact(4).filter_map(|entry| read::u32_le(entry, 0).ok());
        let values: Vec<CellOffset> = entries.map(CellOffset).collect();
        if values.is_empty() {
            return Ok(());
        }
        for at in values {
            let value = Value::at(self.hive(), at)?;
            check_editable(&value)?;
            let storage = value.storage()?;
            self.free_data(storage)?;
            self.free(at)?;
        }
        self.free(list)
    }
}

/// Checks that a key may be deleted, and that this version knows all that hangs from it.
fn check_deletable(key: &Key<'_>) -> Result<()> {
    let (at, flags) = (key.cell(), key.node().flags.get());
    if flags & (KEY_NO_DELETE | KEY_ROOT) != 0 {
        return Err(Error::NoDelete { at, flags });
    }
    if flags & (KEY_NOT_ON_DISK | KEY_PREDEFINED) != 0 {
        return Err(Error::KeyFlags { at, flags });
    }
    Ok(())
}
