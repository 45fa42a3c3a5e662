//! Inserting and removing index entries: full nodes are split, empty nodes are removed.
//!
//! A node that is too large keeps its lower half; its middle item moves to the parent, its upper half to a new block. A
//! root that is too large moves into a block of its own, which becomes its only child. When an entry of an inner node
//! is removed, the entry before it, which is in a leaf, takes its place. All leaves stay at the same depth.

use super::edit::Edit;
use super::index::{Id, Index, Path};
use super::node::{Item, Node};
use crate::error::{Error, Result};
use coldforge_base::{ReadAt, Vcn};

/// The most turns that one entry can cause: each level is split at most three times.
const MOST_TURNS: usize = 96;

/// The free bytes that a record needs before an entry is inserted, so that the runs of a new block fit.
const LEAST_ROOM_BYTES: usize = 40;

impl Index {
    /// Puts an entry into its place.
    ///
    /// # Errors
    /// [`Error::NameTaken`] if the key is there; [`Error::VolumeFull`], [`Error::RecordFull`], [`Error::IndexFull`].
    pub fn insert<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>, item: Item) -> Result<()> {
        if self.is_large()
            && self.node(edit, Id::Root)?.keys() > 0
            && edit.editor(self.file.record())?.room() < LEAST_ROOM_BYTES
        {
            self.promote(edit)?;
        }
        let (path, is_found) = self.descend(edit, item.key())?;
        if is_found {
            return Err(Error::NameTaken { directory: self.file.record() });
        }
        let (id, at) = path.last().copied().ok_or_else(|| self.contradiction())?;
        let items = &mut self.node_mut(id)?.items;
        if at > items.len() {
            return Err(self.contradiction());
        }
        items.insert(at, item);
        self.settle(edit, path)
    }

    /// Takes the entry with a key out, and returns it.
    ///
    /// # Errors
    /// [`Error::NameMissing`] if there is none; [`Error::VolumeFull`], [`Error::RecordFull`], [`Error::IndexFull`].
    pub fn remove<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>, key: &[u8]) -> Result<Item> {
        let (mut path, is_found) = self.descend(edit, key)?;
        let missing = Error::NameMissing { directory: self.file.record() };
        let Some((id, at)) = path.last().copied().filter(|_| is_found) else { return Err(missing) };
        let child = self.node(edit, id)?.items.get(at).and_then(|item| item.child);
        let Some(child) = child else {
            let item = self.take_item(id, at)?;
            self.drop_empty(edit, path)?;
            return Ok(item);
        };
        let mut next = self.deeper(&path, child)?;
        // Each turn goes one level down, and `deeper` bounds the levels.
        loop {
            let node = self.node(edit, next)?;
            let (last, child) = (node.keys(), node.items.last().and_then(|item| item.child));
            path.push((next, last));
            match child {
                Some(vcn) => next = self.deeper(&path, vcn)?,
                None => break,
            }
        }
        let before = self.node(edit, next)?.keys().checked_sub(1).ok_or(missing)?;
        let moved = self.take_item(next, before)?;
        let key = moved.key().to_vec();
        let contradiction = self.contradiction();
        let place = self.node_mut(id)?.items.get_mut(at).ok_or(contradiction)?;
        let item = Item { bytes: std::mem::replace(&mut place.bytes, moved.bytes), child: None };
        self.drop_empty(edit, path)?;
        // The item that moved up may be longer than the one that went.
        let (path, _) = self.descend(edit, &key)?;
        self.settle(edit, path)?;
        Ok(item)
    }

    /// Splits nodes that are too large, from the end of a path upwards.
    fn settle<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>, mut path: Path) -> Result<()> {
        for _ in 0..MOST_TURNS {
            let Some((id, _)) = path.pop() else { return Ok(()) };
            if self.fits(edit, id)? {
                return Ok(());
            }
            match id {
                Id::Root => {
                    self.promote(edit)?;
                    let child = self.node(edit, Id::Root)?.items.first().and_then(|item| item.child);
                    let child = child.ok_or(Error::IndexFull { record: self.file.record() })?;
                    path = vec![(Id::Root, 0), (Id::Block(child), 0)];
                }
                Id::Block(vcn) => {
                    let (parent, at) = path.last().copied().ok_or_else(|| self.contradiction())?;
                    self.split(edit, vcn, parent, at)?;
                }
            }
        }
        Err(Error::IndexFull { record: self.file.record() })
    }

    /// Moves the items of the root into a block, which becomes its only child; `false` if there is nothing to move.
    ///
    /// # Errors
    /// [`Error::VolumeFull`], [`Error::RecordFull`].
    pub(super) fn promote<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>) -> Result<bool> {
        if self.node(edit, Id::Root)?.keys() == 0 {
            return Ok(false);
        }
        let items = std::mem::replace(&mut self.node_mut(Id::Root)?.items, vec![Item::last(Some(Vcn(0)))]);
        // The record gets its room before the runs of the block need it; the child is not right yet.
        if !self.put_root(edit)? {
            return Err(Error::RecordFull { record: self.file.record(), needed: 24, room: 0 });
        }
        let vcn = self.take_block(edit)?;
        self.node_mut(Id::Block(vcn))?.items = items;
        self.node_mut(Id::Root)?.items = vec![Item::last(Some(vcn))];
        Ok(true)
    }

    fn split<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>, vcn: Vcn, parent: Id, at: usize) -> Result<()> {
        let full = Error::IndexFull { record: self.file.record() };
        let middle = middle(self.node(edit, Id::Block(vcn))?).ok_or(full)?;
        let new = self.take_block(edit)?;
        let (no_middle, no_parent) = (self.contradiction(), self.contradiction());
        let node = self.node_mut(Id::Block(vcn))?;
        let upper = node.items.split_off(middle.saturating_add(1));
        let mut item = node.items.pop().ok_or(no_middle)?;
        node.items.push(Item::last(item.child));
        item.child = Some(vcn);
        self.node_mut(Id::Block(new))?.items = upper;
        let above = self.node_mut(parent)?;
        // The item that led to the block now leads to its upper half.
        above.items.get_mut(at).ok_or(no_parent)?.child = Some(new);
        above.items.insert(at, item);
        for id in [Id::Block(vcn), Id::Block(new)] {
            if !self.fits(edit, id)? {
                return Err(Error::IndexFull { record: self.file.record() });
            }
        }
        Ok(())
    }

    /// Drops the node at the end of a way if it has no key, and puts the item of its parent elsewhere.
    fn drop_empty<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>, mut path: Path) -> Result<()> {
        let Some((mut id, _)) = path.pop() else { return Ok(()) };
        if self.node(edit, id)?.keys() > 0 {
            return Ok(());
        }
        // Each turn goes one level up.
        loop {
            let Id::Block(vcn) = id else {
                self.node_mut(Id::Root)?.items = vec![Item::last(None)];
                return Ok(());
            };
            self.free_block(vcn);
            let contradiction = self.contradiction();
            let Some((parent, at)) = path.pop() else { return Err(contradiction) };
            let node = self.node_mut(parent)?;
            if node.keys() == 0 {
                id = parent;
                continue;
            }
            let item = if at < node.keys() {
                node.items.remove(at)
            } else {
                let item = node.items.remove(at.saturating_sub(1));
                node.items.last_mut().ok_or(contradiction)?.child = item.child;
                item
            };
            return self.insert(edit, Item { bytes: item.bytes, child: None });
        }
    }
}

/// Returns the item that divides a node into halves of about the same length, with a key on each side.
fn middle(node: &Node) -> Option<usize> {
    let half = node.items.iter().fold(0usize, |sum, item| sum.saturating_add(item.length())) / 2;
    let mut before = 0usize;
    let mut middle = 0usize;
    for (index, item) in node.items.iter().enumerate() {
        before = before.saturating_add(item.length());
        if before > half {
            middle = index;
            break;
        }
    }
    let last = node.keys().checked_sub(2).filter(|last| *last >= 1)?;
    Some(middle.clamp(1, last))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::node::tests::item;
    use super::*;

    #[test]
    fn the_middle_leaves_a_key_on_each_side_whatever_their_lengths() {
        for lengths in [[1usize, 1, 1, 1, 1], [500, 1, 1, 1, 1], [1, 1, 1, 1, 500], [1, 500, 1, 1, 1]] {
            let mut node = Node::block(Vcn(0), 4096);
            for (index, length) in lengths.iter().enumerate() {
                node.items.insert(index, item(&vec![index as u8; *length], None));
            }
            let middle = middle(&node).unwrap();
            assert!((1..=3).contains(&middle), "{lengths:?}: {middle}");
        }
        assert_eq!(middle(&Node::block(Vcn(0), 4096)), None);
    }
}
