//! All keys of a hive, each once.

use super::bin::CellSet;
use super::layout::DEPTH_MAX;
use super::list::{Leaf, List};
use super::{Error, Hive, Key, Result};
use coldforge_base::CellOffset;

/// Walks the keys of a hive, each before its subkeys, as (depth, key); the root has depth 0.
///
/// Every key and every list is gone into once: one that is reached again is an [`Error::Loop`], so that the walk ends
/// after at most as many steps as the hive has cells and list entries. An error leaves out one branch.
pub struct Walk<'h> {
    hive: &'h Hive,
    seen: CellSet,
    pending: Vec<(usize, Result<CellOffset>)>,
}

impl<'h> Walk<'h> {
    pub(super) fn new(hive: &'h Hive) -> Self {
        let mut walk = Self { hive, seen: CellSet::new(hive.extent_len()), pending: Vec::new() };
        walk.push(0, hive.header.root);
        walk
    }

    fn push(&mut self, depth: usize, at: CellOffset) {
        let first = self.seen.set(at, true);
        self.pending.push((depth, if first { Ok(at) } else { Err(Error::Loop { at }) }));
    }

    fn enter(&mut self, depth: usize, key: &Key<'h>) -> Result<()> {
        let Some(list) = key.subkey_list() else { return Ok(()) };
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep { limit: DEPTH_MAX });
        }
        let mark = self.pending.len();
        let outcome = self.enter_list(depth, list);
        // They are taken from the end.
        if let Some(children) = self.pending.get_mut(mark..) {
            children.reverse();
        }
        outcome
    }

    fn enter_list(&mut self, depth: usize, at: CellOffset) -> Result<()> {
        if !self.seen.set(at, true) {
            return Err(Error::Loop { at });
        }
        let leaves = match self.hive.list(at)? {
            List::Leaf(leaf) => {
                self.enter_leaf(depth, &leaf);
                return Ok(());
            }
            List::Index(leaves) => leaves,
        };
        for at in leaves {
            if !self.seen.set(at, true) {
                return Err(Error::Loop { at });
            }
            self.enter_leaf(depth, &self.hive.leaf(at)?);
        }
        Ok(())
    }

    fn enter_leaf(&mut self, depth: usize, leaf: &Leaf<'h>) {
        for (child, _) in leaf.children() {
            self.push(depth, child);
        }
    }
}

impl<'h> Iterator for Walk<'h> {
    type Item = Result<(usize, Key<'h>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (depth, at) = self.pending.pop()?;
        let key = match at.and_then(|at| Key::at(self.hive, at)) {
            Ok(key) => key,
            Err(error) => return Some(Err(error)),
        };
        if let Err(error) = self.enter(depth.saturating_add(1), &key) {
            self.pending.push((depth, Err(error)));
        }
        Some(Ok((depth, key)))
    }
}
