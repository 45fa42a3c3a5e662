//! The nodes of an index: an index root or an index block, cut into its entries.
//!
//! Structures: INDEX_ROOT, INDEX_ALLOCATION_BUFFER, INDEX_HEADER, INDEX_ENTRY. The entries of a node ascend; the last
//! one has no key. In a node with children, the last eight bytes of each entry are the VCN of the child whose keys are
//! smaller.
//!
//! Reader and writer use [`entries`], which rejects a node that contradicts itself. The verifier reads [`NodeHeader`]
//! and [`EntryHeader`], applies its own rules and goes on. Nothing here knows what a key means or how keys are ordered.

use super::fixup;
use super::layout::{
    INDEX_NODE, IndexBlock, IndexEntry, IndexHeader, IndexRoot, STRIDE_BYTES, entry_at, entry_flag, view,
};
use super::stream::Stream;
use crate::boot::Geometry;
use crate::error::{Error, Place, Result};
use coldforge_base::read::OutOfBounds;
use coldforge_base::{ReadAt, Vcn, read};

/// The bytes of a child's VCN at the end of an entry.
const CHILD_BYTES: usize = 8;

/// The fields of an INDEX_HEADER; offsets count from the first byte of the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeHeader {
    /// Where the first entry begins.
    pub first: usize,
    /// Where the entries end.
    pub end: usize,
    /// Bytes of header and entries.
    pub used: u32,
    /// Bytes that header and entries may grow to.
    pub allocated: u32,
    pub has_children: bool,
}

impl NodeHeader {
    /// Reads the INDEX_HEADER at `at`.
    pub fn read(node: &[u8], at: usize) -> Result<Self, OutOfBounds> {
        let fields: &IndexHeader = view(node, at)?;
        let used = fields.used.get();
        Ok(Self {
            first: at.saturating_add(fields.first_entry.get() as usize),
            end: at.saturating_add(used as usize),
            used,
            allocated: fields.allocated.get(),
            has_children: fields.flags & INDEX_NODE != 0,
        })
    }
}

/// The fields of an INDEX_ENTRY.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryHeader {
    /// Where the entry begins in its node.
    pub at: usize,
    pub length: usize,
    pub key_length: usize,
    pub flags: u16,
}

impl EntryHeader {
    /// Reads the fixed part of the entry at `at`.
    pub fn read(node: &[u8], at: usize) -> Result<Self, OutOfBounds> {
        let fields: &IndexEntry = view(node, at)?;
        let (length, key_length) = (fields.length.get().into(), fields.key_length.get().into());
        Ok(Self { at, length, key_length, flags: fields.flags.get() })
    }

    pub fn has_child(&self) -> bool {
        self.flags & entry_flag::NODE != 0
    }

    pub fn is_last(&self) -> bool {
        self.flags & entry_flag::LAST != 0
    }

    /// Returns where the next entry begins.
    pub fn end(&self) -> usize {
        self.at.saturating_add(self.length)
    }

    /// Returns the bytes that the fixed part, the key and the child's VCN need.
    pub fn least_length(&self) -> usize {
        let key = if self.is_last() { 0 } else { self.key_length };
        entry_at::KEY.saturating_add(key).saturating_add(if self.has_child() { CHILD_BYTES } else { 0 })
    }

    /// Returns where the child's VCN is in the node, if the entry has a child.
    pub fn child_at(&self) -> usize {
        self.end().saturating_sub(CHILD_BYTES)
    }

    /// Cuts the entry out of its node.
    pub fn cut<'a>(&self, node: &'a [u8]) -> Result<Entry<'a>, OutOfBounds> {
        let whole = read::slice(node, self.at, self.length)?;
        let key = if self.is_last() { &[] } else { read::slice(whole, entry_at::KEY, self.key_length)? };
        let child = if self.has_child() { Some(Vcn(read::u64_le(node, self.child_at())?)) } else { None };
        Ok(Entry { at: self.at, whole, key, child, is_last: self.is_last() })
    }
}

/// An entry of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Where the entry begins in its node.
    pub at: usize,
    /// All bytes of the entry.
    pub whole: &'a [u8],
    /// The key; empty in the last entry.
    pub key: &'a [u8],
    /// The child whose keys are smaller.
    pub child: Option<Vcn>,
    /// Whether the entry ends its node.
    pub is_last: bool,
}

/// Returns the entries of a node whose INDEX_HEADER begins at `header`, and where the first one begins.
///
/// # Errors
/// [`Error::Cut`] and [`Error::Field`] if the parts of the node contradict each other.
pub(super) fn entries(node: &[u8], header: usize, place: Place) -> Result<(Vec<Entry<'_>>, usize)> {
    let field =
        |byte: usize, field, actual: usize| Err(Error::Field { place: place.plus(byte), field, actual: actual as u64 });
    let fields = NodeHeader::read(node, header).map_err(place.cut())?;
    let room = node.len().saturating_sub(header);
    if fields.allocated as usize > room {
        return field(header.saturating_add(8), "the allocated size of a node", fields.allocated as usize);
    }
    if fields.used > fields.allocated {
        return field(header.saturating_add(4), "the used size of a node", fields.used as usize);
    }
    let least_first = header.saturating_add(size_of::<IndexHeader>());
    if fields.first < least_first || !fields.first.is_multiple_of(8) {
        return field(header, "the place of the first entry", fields.first);
    }
    let used = read::slice(node, 0, fields.end).map_err(place.cut())?;
    let mut entries = Vec::new();
    let mut at = fields.first;
    // Each turn moves on by at least the 16 bytes of an entry, inside a node of at most 64 KiB.
    loop {
        let entry = EntryHeader::read(used, at).map_err(place.plus(at).cut())?;
        if entry.has_child() != fields.has_children {
            return field(at.saturating_add(entry_at::FLAGS), "the flags of an index entry", entry.flags.into());
        }
        if entry.length < entry.least_length() || !entry.length.is_multiple_of(8) {
            return field(at.saturating_add(entry_at::LENGTH), "the length of an index entry", entry.length);
        }
        entries.push(entry.cut(used).map_err(place.plus(at).cut())?);
        at = entry.end();
        if entry.is_last() {
            break;
        }
    }
    if at != fields.end {
        return field(header.saturating_add(4), "the used size of a node", fields.used as usize);
    }
    Ok((entries, fields.first))
}

/// The size of an index's blocks, and what their VCNs count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BlockSize {
    /// Bytes of a block: a power of two from 512 to 65,536.
    pub bytes: usize,
    /// Bytes that a VCN counts: a cluster if it is not larger than a block, else 512.
    pub vcn_bytes: u64,
}

impl BlockSize {
    /// Returns the sizes for blocks of `bytes` bytes; `None` if no index has such blocks.
    pub fn new(bytes: usize, cluster_bytes: u64) -> Option<Self> {
        let is_possible = bytes.is_power_of_two() && (STRIDE_BYTES..=0x1_0000).contains(&bytes);
        let vcn_bytes = if cluster_bytes <= bytes as u64 { cluster_bytes } else { STRIDE_BYTES as u64 };
        is_possible.then_some(Self { bytes, vcn_bytes })
    }

    /// Returns the sizes that an index root holds.
    ///
    /// # Errors
    /// [`Error::Field`] if no index has such blocks.
    pub fn of_root(root: &IndexRoot, geometry: &Geometry, place: Place) -> Result<Self> {
        let bytes = root.block_bytes.get();
        let field = "the size of an index block";
        let impossible = Error::Field { place: place.plus(8), field, actual: bytes.into() };
        Self::new(bytes as usize, geometry.cluster_bytes).ok_or(impossible)
    }

    /// Returns how many VCNs a block takes.
    pub fn vcns(self) -> u64 {
        (self.bytes as u64).checked_div(self.vcn_bytes).unwrap_or(0)
    }

    /// Returns where a block begins in INDEX_ALLOCATION.
    pub fn start(self, vcn: Vcn) -> u64 {
        vcn.0.saturating_mul(self.vcn_bytes)
    }

    /// Returns the number of the block at `vcn`; `None` if no block begins there.
    pub fn number(self, vcn: Vcn) -> Option<u64> {
        let start = vcn.0.checked_mul(self.vcn_bytes)?;
        start.is_multiple_of(self.bytes as u64).then(|| start.checked_div(self.bytes as u64))?
    }

    /// Returns the VCN of a block.
    pub fn vcn(self, number: u64) -> Vcn {
        Vcn(number.saturating_mul(self.vcns()))
    }

    /// Reads the block at `vcn` and undoes its fixups.
    ///
    /// # Errors
    /// Errors in the block; [`Error::Field`] if it has another VCN.
    pub fn read<D: ReadAt>(
        self,
        device: &D,
        geometry: &Geometry,
        allocation: &Stream,
        vcn: Vcn,
        place: Place,
    ) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes];
        allocation.read(device, geometry, self.start(vcn), &mut bytes)?;
        fixup::undo(&mut bytes, *b"INDX", place)?;
        let block: &IndexBlock = view(&bytes, 0).map_err(place.cut())?;
        let actual = block.vcn.get();
        if actual != vcn.0 {
            return Err(Error::Field { place: place.plus(0x10), field: "the VCN of an index block", actual });
        }
        Ok(bytes)
    }
}
