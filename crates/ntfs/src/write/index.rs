//! Changing an index: its B-tree of nodes in memory, for any collation.
//!
//! `$I30` of a directory is ordered by name, `$SII` of `$Secure` by id, `$SDH` by hash and id. One bit of `$BITMAP`
//! stands for one block. Nodes are read when they are needed and written when the change is complete. Inserting and
//! removing entries is in `split`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::attribute::resident;
use super::edit::{Content, Edit};
use super::extents::accepted;
use super::node::{Item, Node};
use super::order::Rank;
use super::record::Editor;
use crate::error::{Error, Place, Result};
use crate::index_node::BlockSize;
use crate::layout::{
    FileName, INDEX_BLOCK_HEADER, INDEX_ROOT_HEADER, IndexRoot, MOST_INDEX_ROOT_BYTES, collation, kind, name, system,
    view,
};
use crate::record::Reference;
use crate::upcase::Upcase;
use crate::{bitmap, fixup};
use coldforge_base::{ReadAt, Vcn, read};

/// How the keys of an index are ordered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Collation {
    /// FILE_NAME: folded names, then the names themselves.
    Name,
    /// Numbers of 32 bits, one after the other.
    Numbers,
}

impl Collation {
    fn of(name: &[u8]) -> (Self, u32) {
        match name {
            name::SII => (Self::Numbers, collation::ULONG),
            name::SDH => (Self::Numbers, collation::SECURITY_HASH),
            _ => (Self::Name, collation::FILE_NAME),
        }
    }

    fn compare(self, upcase: &Upcase, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Self::Name => {
                let name = |key| FileName::split(key).map_or(&[][..], |(_, name)| name);
                upcase.collate(name(a), name(b))
            }
            Self::Numbers => {
                let words = |key: &[u8]| -> Vec<u32> {
                    key.chunks_exact(4).map(|word| read::u32_le(word, 0).unwrap_or_default()).collect()
                };
                words(a).cmp(&words(b))
            }
        }
    }
}

/// A node's place: the root, or a block.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Id {
    Root,
    Block(Vcn),
}

/// A way down an index: nodes, and in each the item that was followed or found.
pub(super) type Path = Vec<(Id, usize)>;

/// An index under change.
pub(super) struct Index {
    pub(super) file: Reference,
    name: &'static [u8],
    collation: Collation,
    block: BlockSize,
    pub(super) nodes: BTreeMap<Id, Node>,
    changed: BTreeSet<Id>,
    /// `$BITMAP`; none if the index is in its root alone.
    bitmap: Option<Vec<u8>>,
    /// `$BITMAP` on the disk: blocks that are free there can be written before the rest.
    was: Vec<u8>,
    is_bitmap_changed: bool,
    /// How many blocks there are.
    blocks: u64,
}

/// The deepest tree that is followed: with two keys a node it holds 2^24 entries.
const MOST_LEVELS: usize = 24;

/// The most bytes of `$BITMAP` that are read: 2^23 blocks, which are 32 GiB.
const MOST_BITMAP_BYTES: u64 = 1 << 20;

/// What a root leaves free in its record, so that the runs of the blocks can grow.
const ROOT_RESERVE_BYTES: usize = 48;

impl Index {
    /// Opens the index `name` of a file.
    ///
    /// # Errors
    /// [`Error::MissingAttribute`], [`Error::Field`] if it is another kind of index; errors in its root.
    pub fn open<D: ReadAt>(edit: &Edit<'_, '_, D>, file: Reference, name: &'static [u8]) -> Result<Self> {
        let volume = &edit.view;
        let number = file.record();
        let segments = volume.referenced(file)?;
        let root = volume.required_stream(&segments, kind::INDEX_ROOT, name)?;
        let root = root.read_all(&volume.device, &volume.geometry, MOST_INDEX_ROOT_BYTES)?;
        let place = Place::IndexRoot { directory: number, byte: 0 };
        let header: &IndexRoot = view(&root, 0).map_err(place.cut())?;
        let (collation, rule) = Collation::of(name);
        if header.collation.get() != rule {
            let actual = header.collation.get().into();
            return Err(Error::Field { place: place.plus(4), field: "the collation rule", actual });
        }
        let block = BlockSize::of_root(header, &volume.geometry, place)?;
        let allocation = volume.stream(&segments, kind::INDEX_ALLOCATION, name)?;
        let bitmap = match volume.stream(&segments, kind::BITMAP, name)? {
            Some(bitmap) => Some(bitmap.read_all(&volume.device, &volume.geometry, MOST_BITMAP_BYTES)?),
            None => None,
        };
        if allocation.is_some() != bitmap.is_some() {
            return Err(Error::MissingAttribute { record: number, kind: kind::INDEX_ALLOCATION });
        }
        let blocks = allocation.map_or(0, |allocation| allocation.size.checked_div(block.bytes as u64).unwrap_or(0));
        let was = bitmap.clone().unwrap_or_default();
        let root = Node::parse(&root, INDEX_ROOT_HEADER, place)?;
        Ok(Self {
            file,
            name,
            collation,
            block,
            nodes: BTreeMap::from([(Id::Root, root)]),
            changed: BTreeSet::new(),
            bitmap,
            was,
            is_bitmap_changed: false,
            blocks,
        })
    }

    /// Finds a key: the way to it, and whether it is there; if not, the way leads to where it belongs in a leaf.
    ///
    /// # Errors
    /// Errors in a block; [`Error::IndexLoop`].
    pub fn descend<D: ReadAt>(&mut self, edit: &Edit<'_, '_, D>, key: &[u8]) -> Result<(Path, bool)> {
        let mut path = Path::new();
        let mut id = Id::Root;
        loop {
            let collation = self.collation;
            let node = self.node(edit, id)?;
            let mut at = node.keys();
            let mut is_found = false;
            for (index, item) in node.items.iter().enumerate().take(node.keys()) {
                match collation.compare(&edit.view.upcase, key, item.key()) {
                    Ordering::Greater => {}
                    order => {
                        (at, is_found) = (index, order == Ordering::Equal);
                        break;
                    }
                }
            }
            let child = node.items.get(at).and_then(|item| item.child);
            path.push((id, at));
            match child {
                Some(vcn) if !is_found => id = self.deeper(&path, vcn)?,
                _ => return Ok((path, is_found)),
            }
        }
    }

    /// Returns the id of a child, which must not be on the way to it.
    pub(super) fn deeper(&self, path: &Path, vcn: Vcn) -> Result<Id> {
        let id = Id::Block(vcn);
        if path.len() >= MOST_LEVELS || path.iter().any(|(other, _)| *other == id) {
            return Err(Error::IndexLoop { directory: self.file.record(), vcn });
        }
        Ok(id)
    }

    /// Returns all items with a key in their order.
    ///
    /// # Errors
    /// Errors in a block; [`Error::IndexLoop`].
    pub fn items<D: ReadAt>(&mut self, edit: &Edit<'_, '_, D>) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut seen = BTreeSet::new();
        let mut path: Path = vec![(Id::Root, 0)];
        let mut is_entered = true;
        // Each block is entered once at most.
        while let Some((id, at)) = path.pop() {
            let node = self.node(edit, id)?;
            let Some(item) = node.items.get(at) else { continue };
            match item.child.filter(|_| is_entered) {
                Some(vcn) => {
                    path.push((id, at));
                    if !seen.insert(vcn) {
                        return Err(Error::IndexLoop { directory: self.file.record(), vcn });
                    }
                    path.push((self.deeper(&path, vcn)?, 0));
                }
                None => {
                    is_entered = at < node.keys();
                    if is_entered {
                        items.push(item.clone());
                        path.push((id, at.saturating_add(1)));
                    }
                }
            }
        }
        Ok(items)
    }

    /// Changes the key of an entry that leads to `file`, without changing its order.
    ///
    /// # Errors
    /// [`Error::NameMissing`] if there is no such entry.
    pub fn patch<D: ReadAt>(
        &mut self,
        edit: &Edit<'_, '_, D>,
        key: &[u8],
        file: Reference,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        let missing = Error::NameMissing { directory: self.file.record() };
        let (path, is_found) = self.descend(edit, key)?;
        let Some((id, at)) = path.last().copied().filter(|_| is_found) else { return Err(missing) };
        let node = self.node_mut(id)?;
        let Some(item) = node.items.get_mut(at) else { return Err(missing) };
        if read::u64_le(&item.bytes, 0).ok() != Some(file.0) {
            return Err(missing);
        }
        change(item.key_mut());
        Ok(())
    }

    /// Returns a node.
    ///
    /// # Errors
    /// Errors in the block.
    pub(super) fn node<D: ReadAt>(&mut self, edit: &Edit<'_, '_, D>, id: Id) -> Result<&Node> {
        if let Id::Block(vcn) = id
            && !self.nodes.contains_key(&id)
        {
            let node = self.read(edit, vcn)?;
            self.nodes.insert(id, node);
        }
        self.nodes.get(&id).ok_or_else(|| self.contradiction())
    }

    /// Returns a node that was read before, to change it.
    ///
    /// # Errors
    /// [`Error::Field`] if it was not.
    pub(super) fn node_mut(&mut self, id: Id) -> Result<&mut Node> {
        let contradiction = self.contradiction();
        self.changed.insert(id);
        self.nodes.get_mut(&id).ok_or(contradiction)
    }

    /// Takes an item out of a node that was read before.
    ///
    /// # Errors
    /// [`Error::Field`] if it has no such item.
    pub(super) fn take_item(&mut self, id: Id, at: usize) -> Result<Item> {
        let contradiction = self.contradiction();
        let items = &mut self.node_mut(id)?.items;
        if at < items.len() { Ok(items.remove(at)) } else { Err(contradiction) }
    }

    /// Returns the error for a tree whose nodes do not fit each other, which no node that was parsed can cause alone.
    pub(super) fn contradiction(&self) -> Error {
        let place = Place::IndexBlock { directory: self.file.record(), vcn: Vcn(0), byte: 0 };
        Error::Field { place, field: "the tree of the index", actual: self.nodes.len() as u64 }
    }

    fn read<D: ReadAt>(&self, edit: &Edit<'_, '_, D>, vcn: Vcn) -> Result<Node> {
        let volume = &edit.view;
        let number = self.file.record();
        let place = Place::IndexBlock { directory: number, vcn, byte: 0 };
        let number_of_block = self.block_of(vcn);
        if number_of_block.is_none_or(|block| !self.is_used(block)) {
            return Err(Error::Field { place, field: "the bit of an index block", actual: 0 });
        }
        let segments = volume.referenced(self.file)?;
        let allocation = volume.required_stream(&segments, kind::INDEX_ALLOCATION, self.name)?;
        let bytes = self.block.read(&volume.device, &volume.geometry, &allocation, vcn, place)?;
        Node::parse(&bytes, INDEX_BLOCK_HEADER, place)
    }

    /// Takes a free block, or makes the index longer by one.
    ///
    /// # Errors
    /// [`Error::VolumeFull`], [`Error::RecordFull`].
    pub(super) fn take_block<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>) -> Result<Vcn> {
        let free = (0..self.blocks).find(|block| !self.is_used(*block));
        let block = match free {
            Some(block) => block,
            None => {
                self.lengthen(edit)?;
                self.blocks.saturating_sub(1)
            }
        };
        self.mark(block, true);
        let vcn = self.block.vcn(block);
        let node = Node::block(vcn, self.block.bytes);
        self.nodes.insert(Id::Block(vcn), node);
        self.changed.insert(Id::Block(vcn));
        Ok(vcn)
    }

    /// Gives a block back.
    pub(super) fn free_block(&mut self, vcn: Vcn) {
        self.nodes.remove(&Id::Block(vcn));
        self.changed.remove(&Id::Block(vcn));
        if let Some(block) = self.block_of(vcn) {
            self.mark(block, false);
        }
    }

    /// Returns whether the index has blocks, used or not.
    pub(super) fn is_large(&self) -> bool {
        self.bitmap.is_some()
    }

    fn lengthen<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>) -> Result<()> {
        let blocks = self.blocks.saturating_add(1);
        let size = blocks.saturating_mul(self.block.bytes as u64);
        let rank = edit.upper();
        if self.bitmap.is_none() {
            let empty = super::attribute::non_resident(kind::INDEX_ALLOCATION, self.name, &[], Default::default());
            edit.insert(self.file, rank, kind::INDEX_ALLOCATION, self.name, empty)?;
            let bitmap = resident(kind::BITMAP, self.name, &[0; 8], false);
            edit.insert(self.file, rank, kind::BITMAP, self.name, bitmap)?;
            self.bitmap = Some(vec![0; 8]);
        }
        edit.grow(self.file, rank, (kind::INDEX_ALLOCATION, self.name), size)?;
        self.blocks = blocks;
        let bytes = usize::try_from(blocks.div_ceil(8).next_multiple_of(8)).unwrap_or(usize::MAX);
        let bitmap = self.bitmap.get_or_insert_default();
        if bitmap.len() < bytes {
            bitmap.resize(bytes, 0);
            self.is_bitmap_changed = true;
        }
        Ok(())
    }

    /// Returns the place of a used block in the order: `$Secure` is there before a record that needs it.
    fn block_rank<D>(&self, edit: &Edit<'_, '_, D>, id: Id) -> Rank
    where
        D: ReadAt,
    {
        match self.nodes.get(&id) {
            _ if self.file.record() == system::SECURE => Rank::SecurityBlocks,
            Some(node) if !node.has_children() => edit.lower(),
            _ => edit.upper(),
        }
    }

    fn block_of(&self, vcn: Vcn) -> Option<u64> {
        self.block.number(vcn).filter(|block| *block < self.blocks)
    }

    fn is_used(&self, block: u64) -> bool {
        self.bitmap.as_deref().is_some_and(|bitmap| bitmap::is_set(bitmap, block))
    }

    fn mark(&mut self, block: u64, is_used: bool) {
        if let Some(bitmap) = &mut self.bitmap {
            self.is_bitmap_changed |= bitmap::set(bitmap, block, is_used);
        }
    }

    /// Returns whether a node fits into its block, or into its record.
    ///
    /// # Errors
    /// Errors in the record.
    pub(super) fn fits<D: ReadAt>(&mut self, edit: &Edit<'_, '_, D>, id: Id) -> Result<bool> {
        let reserve = if self.is_large() { ROOT_RESERVE_BYTES } else { 0 };
        let (block_bytes, number) = (self.block.bytes, self.file.record());
        let node = self.node(edit, id)?;
        if id != Id::Root {
            return Ok(node.length() <= block_bytes);
        }
        // The item that ends the root must always do.
        if node.keys() == 0 {
            return Ok(true);
        }
        let value = node.to_root(number)?;
        let room = self.with_root(edit, &value)?.map_or(0, |editor| editor.room().saturating_add(1));
        Ok(room > reserve)
    }

    /// Returns the record of the root with another root; `None` if that does not fit.
    fn with_root<D: ReadAt>(&self, edit: &Edit<'_, '_, D>, value: &[u8]) -> Result<Option<Editor>> {
        let segments = edit.view.referenced(self.file)?;
        let spots = edit.spots(&segments, kind::INDEX_ROOT, self.name)?;
        let missing = Error::MissingAttribute { record: self.file.record(), kind: kind::INDEX_ROOT };
        let spot = spots.first().ok_or(missing)?;
        let mut editor = edit.editor(spot.record)?;
        let attribute = resident(kind::INDEX_ROOT, self.name, value, false);
        Ok(accepted(editor.exchange(spot.offset, attribute))?.then_some(editor))
    }

    /// Keeps the root as it is now.
    ///
    /// # Errors
    /// [`Error::RecordFull`].
    pub(super) fn put_root<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>) -> Result<bool> {
        let number = self.file.record();
        let value = self.node(edit, Id::Root)?.to_root(number)?;
        match self.with_root(edit, &value)? {
            None => Ok(false),
            Some(editor) => {
                edit.put_record(edit.upper(), editor)?;
                Ok(true)
            }
        }
    }

    /// Keeps everything that changed.
    ///
    /// # Errors
    /// [`Error::VolumeFull`], [`Error::RecordFull`]; errors in the file's records.
    pub fn put<D: ReadAt>(mut self, edit: &mut Edit<'_, '_, D>) -> Result<()> {
        if self.changed.contains(&Id::Root) {
            // If the longer runs leave the root no room, it moves into a block of its own; the second time it fits.
            for attempt in 0..2 {
                if self.put_root(edit)? {
                    break;
                }
                if attempt == 1 || !self.promote(edit)? {
                    return Err(Error::RecordFull { record: self.file.record(), needed: 24, room: 0 });
                }
            }
        }
        let number = self.file.record();
        let is_leaf = !self.node(edit, Id::Root)?.has_children();
        let has_blocks = self.bitmap.iter().flatten().any(|byte| *byte != 0);
        if self.is_large() && is_leaf && self.is_bitmap_changed && !has_blocks {
            edit.delete_attribute(self.file, edit.upper(), kind::INDEX_ALLOCATION, self.name)?;
            return edit.delete_attribute(self.file, edit.upper(), kind::BITMAP, self.name);
        }
        let segments = edit.view.referenced(self.file)?;
        let allocation = edit.view.stream(&segments, kind::INDEX_ALLOCATION, self.name)?;
        for id in std::mem::take(&mut self.changed) {
            let Id::Block(vcn) = id else { continue };
            let missing = Error::MissingAttribute { record: number, kind: kind::INDEX_ALLOCATION };
            let allocation = allocation.as_ref().ok_or(missing)?;
            let block_bytes = self.block.bytes;
            let mut bytes = self.node(edit, id)?.to_block(block_bytes, number)?;
            fixup::protect(&mut bytes, Place::IndexBlock { directory: number, vcn, byte: 0 })?;
            let is_new = self.block_of(vcn).is_some_and(|block| !bitmap::is_set(&self.was, block));
            let rank = if is_new { Rank::Data } else { self.block_rank(edit, id) };
            edit.put_stream(rank, allocation, self.block.start(vcn), &bytes)?;
        }
        if self.is_bitmap_changed {
            self.put_bitmap(edit)?;
        }
        Ok(())
    }

    fn put_bitmap<D: ReadAt>(&mut self, edit: &mut Edit<'_, '_, D>) -> Result<()> {
        let bitmap = self.bitmap.take().unwrap_or_default();
        let segments = edit.view.referenced(self.file)?;
        let stream = edit.view.required_stream(&segments, kind::BITMAP, self.name)?;
        if !stream.is_resident() && bitmap.len() as u64 <= stream.size {
            return edit.put_stream(self.block_rank(edit, Id::Root), &stream, 0, &bitmap);
        }
        edit.replace(self.file, edit.upper(), (kind::BITMAP, self.name), Content::Small(&bitmap))
    }
}
