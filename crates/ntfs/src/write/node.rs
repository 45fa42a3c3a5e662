//! An index node as a list of items that can be changed and turned back into bytes.
//!
//! The bytes are parsed by `index_node`. The last item of a node has no key.

use zerocopy::{FromZeros, IntoBytes};

use crate::error::{Error, Place, Result};
use crate::index_node::{Entry, entries};
use crate::layout::{
    INDEX_BLOCK_HEADER, INDEX_NODE, IndexBlock, IndexEntry, IndexHeader, MultiSectorHeader, STRIDE_BYTES, entry_at,
    entry_flag,
};
use coldforge_base::{Vcn, read};

/// An entry of an index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Item {
    /// The entry without the VCN of its child; its length and child flag are those of an entry without one.
    pub bytes: Vec<u8>,
    /// The child whose keys are smaller.
    pub child: Option<Vcn>,
}

impl Item {
    /// Returns the item that ends a node.
    pub fn last(child: Option<Vcn>) -> Self {
        let entry = IndexEntry {
            reference: 0.into(),
            length: 16.into(),
            key_length: 0.into(),
            flags: entry_flag::LAST.into(),
            reserved: 0.into(),
        };
        Self { bytes: entry.as_bytes().to_vec(), child }
    }

    /// Copies an entry.
    ///
    /// # Errors
    /// [`Error::Field`] if it is too long for a child to come to it.
    fn parse(entry: &Entry<'_>, place: Place) -> Result<Self> {
        let length = entry.whole.len();
        if length > MOST_ITEM_BYTES {
            let field = "the length of an index entry";
            return Err(Error::Field { place: place.plus(entry_at::LENGTH), field, actual: length as u64 });
        }
        let child_bytes = if entry.child.is_some() { 8 } else { 0 };
        let mut bytes = read::slice(entry.whole, 0, length.saturating_sub(child_bytes)).map_err(place.cut())?.to_vec();
        let own_length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let flags = read::u16_le(&bytes, entry_at::FLAGS).map_err(place.cut())?;
        read::put_u16_le(&mut bytes, entry_at::LENGTH, own_length).map_err(place.cut())?;
        read::put_u16_le(&mut bytes, entry_at::FLAGS, flags & !entry_flag::NODE).map_err(place.cut())?;
        if entry.is_last {
            read::put_u16_le(&mut bytes, entry_at::KEY_LENGTH, 0).map_err(place.cut())?;
        }
        Ok(Self { bytes, child: entry.child })
    }

    /// Returns the length on the disk.
    pub fn length(&self) -> usize {
        self.bytes.len().saturating_add(if self.child.is_some() { 8 } else { 0 })
    }

    /// Returns the key; empty for the item that ends a node.
    pub fn key(&self) -> &[u8] {
        let length = read::u16_le(&self.bytes, entry_at::KEY_LENGTH).map_or(0, usize::from);
        read::slice(&self.bytes, entry_at::KEY, length).unwrap_or_default()
    }

    /// Returns the key for a change that keeps its order.
    pub fn key_mut(&mut self) -> &mut [u8] {
        let length = read::u16_le(&self.bytes, entry_at::KEY_LENGTH).map_or(0, usize::from);
        read::slice_mut(&mut self.bytes, entry_at::KEY, length).unwrap_or_default()
    }

    /// Appends the entry; `None` if it is too long for one, or has no header.
    fn append_to(&self, bytes: &mut Vec<u8>) -> Option<()> {
        let start = bytes.len();
        bytes.extend(&self.bytes);
        let Some(child) = self.child else { return Some(()) };
        bytes.extend(child.0.to_le_bytes());
        let entry = bytes.get_mut(start..)?;
        let length = u16::try_from(entry.len()).ok()?;
        read::put_u16_le(entry, entry_at::LENGTH, length).ok()?;
        let flags = read::u16_le(entry, entry_at::FLAGS).ok()?;
        read::put_u16_le(entry, entry_at::FLAGS, flags | entry_flag::NODE).ok()
    }
}

/// The largest entry: its length has 16 bits, and a child may come to it.
const MOST_ITEM_BYTES: usize = 0xff00;

/// A root or a block of an index.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The bytes before the first entry, including the header of the node.
    pub prefix: Vec<u8>,
    /// Where INDEX_HEADER begins in it.
    header: usize,
    /// The entries; the last one has no key.
    pub items: Vec<Item>,
}

impl Node {
    /// Reads a node whose fixups are undone and whose INDEX_HEADER begins at `header`.
    ///
    /// # Errors
    /// [`Error::Cut`] and [`Error::Field`] if its parts contradict each other.
    pub fn parse(bytes: &[u8], header: usize, place: Place) -> Result<Self> {
        let (entries, first) = entries(bytes, header, place)?;
        let prefix = read::slice(bytes, 0, first).map_err(place.cut())?.to_vec();
        let items = entries.iter().map(|entry| Item::parse(entry, place.plus(entry.at))).collect::<Result<_>>()?;
        Ok(Self { prefix, header, items })
    }

    /// Makes an empty block.
    pub fn block(vcn: Vcn, block_bytes: usize) -> Self {
        // A block has at most 128 strides.
        let count = u16::try_from(block_bytes / STRIDE_BYTES).unwrap_or(u16::MAX).saturating_add(1);
        let block = IndexBlock {
            multi_sector: MultiSectorHeader {
                signature: *b"INDX",
                // Behind the header.
                usa_offset: 0x28.into(),
                usa_count: count.into(),
            },
            lsn: 0.into(),
            vcn: vcn.0.into(),
            header: IndexHeader::new_zeroed(),
        };
        let mut prefix = block.as_bytes().to_vec();
        let array = usize::from(count).saturating_mul(2);
        prefix.resize(prefix.len().saturating_add(array).next_multiple_of(8), 0);
        Self { prefix, header: INDEX_BLOCK_HEADER, items: vec![Item::last(None)] }
    }

    /// Makes a root; `head` is the part before INDEX_HEADER.
    pub fn root(head: &[u8]) -> Self {
        let prefix = [head, &[0; size_of::<IndexHeader>()]].concat();
        Self { prefix, header: head.len(), items: vec![Item::last(None)] }
    }

    /// Returns how many bytes the node needs.
    pub fn length(&self) -> usize {
        self.items.iter().fold(self.prefix.len(), |length, item| length.saturating_add(item.length()))
    }

    /// Returns how many keys the node has.
    pub fn keys(&self) -> usize {
        self.items.len().saturating_sub(1)
    }

    pub fn has_children(&self) -> bool {
        self.items.last().is_some_and(|item| item.child.is_some())
    }

    /// Returns the node as the value of an INDEX_ROOT.
    ///
    /// # Errors
    /// [`Error::IndexFull`] if an entry is too long for its length field.
    pub fn to_root(&self, file: u64) -> Result<Vec<u8>> {
        self.to_bytes(self.length()).ok_or(Error::IndexFull { record: file })
    }

    /// Returns the node as a block, whose fixups are to be made.
    ///
    /// # Errors
    /// [`Error::IndexFull`] if the items do not fit.
    pub fn to_block(&self, block_bytes: usize, file: u64) -> Result<Vec<u8>> {
        if self.length() > block_bytes {
            return Err(Error::IndexFull { record: file });
        }
        self.to_bytes(block_bytes).ok_or(Error::IndexFull { record: file })
    }

    fn to_bytes(&self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = self.prefix.clone();
        self.items.iter().try_for_each(|item| item.append_to(&mut bytes))?;
        let fields = [
            (0, self.prefix.len().saturating_sub(self.header)),
            (4, bytes.len().saturating_sub(self.header)),
            (8, length.saturating_sub(self.header)),
        ];
        for (at, value) in fields {
            read::put_u32_le(&mut bytes, self.header.saturating_add(at), u32::try_from(value).ok()?).ok()?;
        }
        let flags = bytes.get_mut(self.header.saturating_add(12))?;
        *flags = *flags & !INDEX_NODE | u8::from(self.has_children());
        bytes.resize(length, 0);
        Some(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
pub(super) mod tests {
    use super::*;

    const PLACE: Place = Place::IndexRoot { directory: 40, byte: 0 };

    pub fn item(key: &[u8], child: Option<u64>) -> Item {
        let length = (16 + key.len()).next_multiple_of(8);
        let mut bytes = vec![0; length];
        read::put_u16_le(&mut bytes, 8, length as u16).unwrap();
        read::put_u16_le(&mut bytes, 10, key.len() as u16).unwrap();
        bytes[16..16 + key.len()].copy_from_slice(key);
        Item { bytes, child: child.map(Vcn) }
    }

    #[test]
    fn nodes_are_read_back_with_and_without_children() {
        for child in [None, Some(8)] {
            let mut node = Node::block(Vcn(24), 4096);
            node.items = vec![item(b"abc", child), item(b"abcdefghi", child), Item::last(child.map(Vcn))];
            let bytes = node.to_block(4096, 40).unwrap();
            assert_eq!(bytes.len(), 4096);
            assert_eq!(read::u32_le(&bytes, 0x20).unwrap(), 4096 - 0x18);
            let again = Node::parse(&bytes, 0x18, PLACE).unwrap();
            assert_eq!((again.items, again.prefix.len()), (node.items.clone(), 0x40));
            assert_eq!(node.has_children(), child.is_some());
        }
        let mut root = Node::root(&[9; 16]);
        root.items.insert(0, item(b"k", None));
        let bytes = root.to_root(40).unwrap();
        assert_eq!(bytes.len(), 16 + 16 + 24 + 16);
        assert_eq!(Node::parse(&bytes, 16, PLACE).unwrap().items, root.items);
    }

    #[test]
    fn a_node_that_contradicts_itself_is_an_error() {
        let mut node = Node::root(&[0; 16]);
        node.items.insert(0, item(b"key", None));
        let good = node.to_root(40).unwrap();
        for at in 16..good.len() {
            for value in [0u8, 1, 7, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = Node::parse(&bad, 16, PLACE);
            }
        }
        let mut bad = good;
        bad[16 + 4] += 8;
        assert!(Node::parse(&bad, 16, PLACE).is_err());
    }
}
