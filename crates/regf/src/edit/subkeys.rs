//! A subkey's place in the sorted lists of its parent: found for a new one, closed behind a deleted one.
//!
//! A leaf takes up to 507 keys, as Windows fills them; a fuller one is split, and several are held by an index. Leaves
//! that have become short are joined where one of them has the room, an index of one leaf gives way to the leaf: so a
//! deletion never needs room.

use std::mem::offset_of;

use super::Transaction;
use crate::layout::{KeyIndex, KeyNode, NIL};
use crate::list::{Kind, Leaf, List};
use crate::name::NewName;
use crate::{Error, Key, Result};
use coldforge_base::CellOffset;

/// Keys in a leaf that is written; larger ones that exist are read, and split when a key is added.
const LEAF_MAX: usize = 507;
/// A leaf that must move gets room for one key more in so many, so that it need not move with each. Windows leaves
/// far more room in some.
const LEAF_SPARE: usize = 4;
/// Two neighbours with no more keys than this are joined: far from the next split.
const LEAF_JOINED_MAX: usize = LEAF_MAX / 2;

impl Transaction<'_> {
    /// Puts `child` into the lists of `parent`, counts it, and raises the parent's bound on names.
    ///
    /// No subkey of that name may exist.
    ///
    /// # Errors
    /// What contradicts the format in the lists; [`Error::Full`]; [`Error::ListTooLong`] for an index of 65,536.
    pub(super) fn link_subkey(
        &mut self,
        parent: CellOffset,
        child: CellOffset,
        text: &str,
        name: &NewName,
    ) -> Result<()> {
        let key = Key::at(self.hive(), parent)?;
        let (count, largest) = (key.subkey_count(), key.node().largest_subkey_name.get());
        let list = match key.subkey_list() {
            None => {
                let kind = Kind::for_minor(self.hive().header.minor);
                self.store_leaf(kind, &kind.entry(child, name.stored()), 0)?
            }
            Some(list) => self.insert(list, child, text, name)?,
        };
        self.put_u32(parent, offset_of!(KeyNode, subkey_list), list.0)?;
        let count = count.checked_add(1).ok_or(Error::ListTooLong { at: list })?;
        self.put_u32(parent, offset_of!(KeyNode, subkey_count), count)?;
        self.put_u16(parent, offset_of!(KeyNode, largest_subkey_name), largest.max(name.utf16_len()))
    }

    /// Puts a key into the list at `list`; returns where the list is then.
    fn insert(&mut self, list: CellOffset, child: CellOffset, text: &str, name: &NewName) -> Result<CellOffset> {
        let mut leaves = match self.hive().list(list)? {
            List::Leaf(_) => {
                let pieces = self.insert_in_leaf(list, child, text, name)?;
                return match pieces.as_slice() {
                    [one] => Ok(*one),
                    _ => self.store_index(list, &pieces),
                };
            }
            List::Index(leaves) => leaves,
        };
        let number = self.hive().leaf_for(&self.hive().leaves(list)?, text)?;
        let at = *leaves.get(number).ok_or(Error::NoCell { at: list })?;
        let pieces = self.insert_in_leaf(at, child, text, name)?;
        if pieces == [at] {
            return Ok(list);
        }
        let fits = pieces.len() == 1;
        leaves.splice(number..=number, pieces);
        if fits {
            let entries: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0.to_le_bytes()).collect();
            self.put(list, size_of::<KeyIndex>(), &entries)?;
            return Ok(list);
        }
        self.free(list)?;
        self.store_index(list, &leaves)
    }

    /// Puts a key into the leaf at `at`; returns the leaves that it has become.
    fn insert_in_leaf(
        &mut self,
        at: CellOffset,
        child: CellOffset,
        text: &str,
        name: &NewName,
    ) -> Result<Vec<CellOffset>> {
        let leaf = self.hive().leaf(at)?;
        let place = self.hive().lower_bound(&leaf, text)?;
        let Leaf { kind, entries, room_len, .. } = leaf;
        let split_at = place.saturating_mul(kind.entry_len());
        let (before, behind) = entries.split_at_checked(split_at).ok_or(Error::NoCell { at })?;
        let entries = [before, &kind.entry(child, name.stored()), behind].concat();
        let count = kind.count(entries.len());
        if count <= LEAF_MAX && entries.len() <= room_len {
            let moved = entries.get(split_at..).unwrap_or_default();
            self.put(at, size_of::<KeyIndex>().saturating_add(split_at), moved)?;
            self.put_u16(at, offset_of!(KeyIndex, count), u16::try_from(count).unwrap_or(u16::MAX))?;
            return Ok(vec![at]);
        }
        self.free(at)?;
        // Evenly, so that each piece has room for keys to come.
        let pieces = count.div_ceil(LEAF_MAX).max(1);
        let piece = count.div_ceil(pieces);
        let spare = (piece / LEAF_SPARE).max(1).min(LEAF_MAX.saturating_sub(piece));
        let piece_len = piece.saturating_mul(kind.entry_len());
        entries.chunks(piece_len).map(|piece| self.store_leaf(kind, piece, spare)).collect()
    }

    /// Takes `child` out of the lists of `parent`, and counts it no longer. The bound on names stays: Windows does not
    /// lower it either.
    ///
    /// # Errors
    /// [`Error::SubkeyCount`] if the lists and the count differ, [`Error::NoCell`] if the lists do not name `child`,
    /// and what else contradicts the format in them.
    pub(super) fn unlink_subkey(&mut self, parent: CellOffset, child: CellOffset) -> Result<()> {
        let key = Key::at(self.hive(), parent)?;
        let (list, leaves, actual) = (key.subkey_list(), key.leaves()?, key.subkey_count());
        let named = leaves.iter().fold(0usize, |sum, leaf| sum.saturating_add(leaf.len()));
        let expected = u32::try_from(named).unwrap_or(u32::MAX);
        let (Some(list), Some(less), true) = (list, actual.checked_sub(1), expected == actual) else {
            return Err(Error::SubkeyCount { at: parent, expected, actual });
        };
        let place = leaves
            .iter()
            .enumerate()
            .find_map(|(number, leaf)| Some((number, leaf.children().position(|(entry, _)| entry == child)?)));
        let (number, index) = place.ok_or(Error::NoCell { at: child })?;
        let cells = leaves.iter().map(|leaf| leaf.at).collect();
        let list = self.remove(list, cells, number, index)?;
        self.put_u32(parent, offset_of!(KeyNode, subkey_list), list.map_or(NIL, |list| list.0))?;
        self.put_u32(parent, offset_of!(KeyNode, subkey_count), less)
    }

    /// Takes the entry at `index` out of the leaf at `number` of the list at `list`; returns where the list is then.
    fn remove(
        &mut self,
        list: CellOffset,
        mut leaves: Vec<CellOffset>,
        number: usize,
        index: usize,
    ) -> Result<Option<CellOffset>> {
        let at = *leaves.get(number).ok_or(Error::NoCell { at: list })?;
        let leaf = self.hive().leaf(at)?;
        let start = index.saturating_mul(leaf.kind.entry_len());
        let end = start.saturating_add(leaf.kind.entry_len());
        let (Some(before), Some(behind)) = (leaf.entries.get(..start), leaf.entries.get(end..)) else {
            return Err(Error::NoCell { at });
        };
        let (kind, entries) = (leaf.kind, [before, behind].concat());
        let known = leaves.len();
        if entries.is_empty() {
            self.free(at)?;
            leaves.remove(number);
        } else {
            self.rewrite_leaf(at, kind, &entries)?;
            let pairs =
                [number.checked_sub(1).map(|before| (before, number)), Some((number, number.saturating_add(1)))];
            for (left, right) in pairs.into_iter().flatten() {
                if let (Some(one), Some(two)) = (leaves.get(left).copied(), leaves.get(right).copied())
                    && let Some(joined) = self.join_leaves(one, two)?
                {
                    leaves.splice(left..=right, [joined]);
                    break;
                }
            }
        }
        match leaves.as_slice() {
            // It was a leaf alone.
            [] if at == list => Ok(None),
            [one] if *one == list => Ok(Some(list)),
            [] => self.free(list).map(|()| None),
            [one] => self.free(list).map(|()| Some(*one)),
            _ if leaves.len() == known => Ok(Some(list)),
            _ => {
                let mut entries: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0.to_le_bytes()).collect();
                entries.resize(known.saturating_mul(4), 0);
                self.put(list, size_of::<KeyIndex>(), &entries)?;
                self.put_u16(list, offset_of!(KeyIndex, count), u16::try_from(leaves.len()).unwrap_or(u16::MAX))?;
                Ok(Some(list))
            }
        }
    }

    /// Joins two neighbouring leaves if both are short, of one kind, and one of them has the room; returns where.
    fn join_leaves(&mut self, one: CellOffset, two: CellOffset) -> Result<Option<CellOffset>> {
        let (first, second) = (self.hive().leaf(one)?, self.hive().leaf(two)?);
        let (kind, entries) = (first.kind, [first.entries, second.entries].concat());
        if kind != second.kind || kind.count(entries.len()) > LEAF_JOINED_MAX {
            return Ok(None);
        }
        let (stays, goes) = match entries.len() {
            len if len <= first.room_len => (one, two),
            len if len <= second.room_len => (two, one),
            _ => return Ok(None),
        };
        self.rewrite_leaf(stays, kind, &entries)?;
        self.free(goes)?;
        Ok(Some(stays))
    }

    /// Replaces the entries of a leaf that has room for these, and clears those that are no longer in use.
    fn rewrite_leaf(&mut self, at: CellOffset, kind: Kind, entries: &[u8]) -> Result<()> {
        let used_len = self.hive().leaf(at)?.entries.len();
        let mut whole = entries.to_vec();
        whole.resize(used_len.max(entries.len()), 0);
        let count = u16::try_from(kind.count(entries.len())).unwrap_or(u16::MAX);
        self.put(at, size_of::<KeyIndex>(), &whole)?;
        self.put_u16(at, offset_of!(KeyIndex, count), count)
    }

    fn store_leaf(&mut self, kind: Kind, entries: &[u8], spare: usize) -> Result<CellOffset> {
        let count = u16::try_from(kind.count(entries.len())).unwrap_or(u16::MAX);
        let mut cell = [&kind.signature()[..], &count.to_le_bytes(), entries].concat();
        cell.resize(cell.len().saturating_add(spare.saturating_mul(kind.entry_len())), 0);
        self.store(&cell)
    }

    fn store_index(&mut self, at: CellOffset, leaves: &[CellOffset]) -> Result<CellOffset> {
        let count = u16::try_from(leaves.len()).map_err(|_| Error::ListTooLong { at })?;
        let mut cell = [*b"ri", count.to_le_bytes()].concat();
        cell.extend(leaves.iter().flat_map(|leaf| leaf.0.to_le_bytes()));
        self.store(&cell)
    }

    /// Makes a key below `parent` with its parent's security, and links it in.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Full`], [`Error::References`], and what contradicts the format in the lists.
    pub(super) fn create_subkey(&mut self, parent: CellOffset, text: &str, now: u64) -> Result<CellOffset> {
        let name = NewName::of_key(text)?;
        let security = CellOffset(Key::at(self.hive(), parent)?.node().security.get());
        self.refer(security)?;
        let child = self.store(&key_node(&name, parent, security, now))?;
        self.link_subkey(parent, child, text, &name)?;
        self.put_u64(parent, offset_of!(KeyNode, last_written), now)?;
        Ok(child)
    }
}

/// Returns the payload of a key's cell without subkeys, values and class.
fn key_node(name: &NewName, parent: CellOffset, security: CellOffset, now: u64) -> Vec<u8> {
    use crate::layout::KEY_COMPRESSED;
    let flags = if name.stored().is_compressed() { KEY_COMPRESSED } else { 0 };
    let mut cell = vec![0u8; size_of::<KeyNode>()];
    let mut put = |at: usize, bytes: &[u8]| {
        coldforge_base::read::put(&mut cell, at, bytes).expect("every field lies inside the structure");
    };
    put(offset_of!(KeyNode, signature), b"nk");
    put(offset_of!(KeyNode, flags), &flags.to_le_bytes());
    put(offset_of!(KeyNode, last_written), &now.to_le_bytes());
    put(offset_of!(KeyNode, parent), &parent.0.to_le_bytes());
    for empty in [
        offset_of!(KeyNode, subkey_list),
        offset_of!(KeyNode, volatile_subkey_list),
        offset_of!(KeyNode, value_list),
        offset_of!(KeyNode, class),
    ] {
        put(empty, &NIL.to_le_bytes());
    }
    put(offset_of!(KeyNode, security), &security.0.to_le_bytes());
    put(offset_of!(KeyNode, name_len), &name.raw_len().to_le_bytes());
    cell.extend_from_slice(name.raw());
    cell
}
