//! Checks the shape of any index: root, blocks, entries, their order, and the bitmap of blocks.
//!
//! The bytes are parsed by `index_node`. The caller of the walk checks what keys and data mean. Unlike the reader, the
//! walk goes on after a fault wherever it can.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::atomic::{self, AtomicU64};

use super::finding::{About, Findings, Rule};
use super::records;
use crate::bitmap;
use crate::boot::Geometry;
use crate::error::Result;
use crate::index_node::{BlockSize, EntryHeader, NodeHeader};
use crate::layout::{
    INDEX_BLOCK_HEADER, INDEX_NODE, INDEX_ROOT_HEADER, IndexBlock, IndexRoot, MOST_INDEX_ROOT_BYTES, STRIDE_BYTES,
    entry_at, entry_flag, kind, name, view,
};
use crate::segments::Segments;
use crate::stream::Stream;
use crate::volume::Volume;
use coldforge_base::{ReadAt, Vcn, read};

/// The deepest index: blocks of at least 512 bytes with two entries each would fill 2^30 of them.
const MOST_DEPTH: usize = 30;

/// How many blocks of 512 bytes and more may be read of what several files could share: as many as the device has.
///
/// Only files that share clusters can have more, and those could keep the verifier busy without end.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    pub fn new(blocks: u64) -> Self {
        Self(AtomicU64::new(blocks))
    }

    /// Takes some blocks of what is left; `false` if there are not so many.
    pub fn take(&self, blocks: u64) -> bool {
        let less = |left: u64| left.checked_sub(blocks);
        self.0.fetch_update(atomic::Ordering::Relaxed, atomic::Ordering::Relaxed, less).is_ok()
    }
}

/// An entry that has a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    /// The entry.
    pub whole: &'a [u8],
    pub key: &'a [u8],
    /// Its first byte in the volume.
    pub at: u64,
}

/// An index to be walked.
#[derive(Debug)]
pub(super) struct Index<'a, D> {
    volume: &'a Volume<D>,
    record: u64,
    /// First byte of the record in the volume, for what has no better place.
    record_at: u64,
    letter: u8,
    root: Vec<u8>,
    /// Where the root's value begins in the volume.
    root_at: u64,
    allocation: Option<Stream>,
    bitmap: Option<Vec<u8>>,
    block: BlockSize,
    budget: &'a Budget,
}

impl<'a, D: ReadAt> Index<'a, D> {
    /// Reads the streams of the index `name` of a file; faults in the fields of the root become findings.
    ///
    /// # Errors
    /// Errors in the streams.
    pub fn open(
        volume: &'a Volume<D>,
        segments: &Segments,
        record_at: u64,
        name: &[u8],
        budget: &'a Budget,
        findings: &mut Findings,
    ) -> Result<Option<Self>> {
        let record = segments.base.number();
        let stream = volume.required_stream(segments, kind::INDEX_ROOT, name)?;
        let root = stream.read_all(&volume.device, &volume.geometry, MOST_INDEX_ROOT_BYTES)?;
        let root_at = match stream.content {
            crate::stream::Content::Resident { offset, .. } => {
                volume.record_place(stream.record).saturating_add(offset as u64)
            }
            crate::stream::Content::Runs(_) => record_at,
        };
        let letter = name.chunks(2).last().and_then(|unit| unit.first()).copied().unwrap_or(0);
        let about = About::Block { index: letter, vcn: None };
        let Ok(fields) = view::<IndexRoot>(&root, 0) else {
            findings.number(Rule::IndexRoot, record, about, root_at, root.len() as u64, 0x20);
            return Ok(None);
        };
        let is_large = fields.header.flags & INDEX_NODE != 0;
        let wrong = |byte: u64, actual: u64, expected: u64| {
            findings.number(Rule::IndexRoot, record, about, root_at.saturating_add(byte), actual, expected);
        };
        let Some(block) = check_block_size(fields, &volume.geometry, name, wrong) else { return Ok(None) };
        let allocation = volume.stream(segments, kind::INDEX_ALLOCATION, name)?;
        let bits = volume.stream(segments, kind::BITMAP, name)?;
        if allocation.is_some() != bits.is_some() || is_large && allocation.is_none() {
            findings.plain(Rule::IndexStreams, record, about, record_at);
        }
        let mut bitmap = None;
        if let Some(bits) = bits {
            // One bit a block, of which the device has room for no more, and what fills a cluster.
            let blocks = volume.device.len().checked_div(block.bytes as u64).unwrap_or(0);
            let most = blocks.div_ceil(8).saturating_add(volume.geometry.cluster_bytes);
            if !budget.take(bits.size.min(most).div_ceil(STRIDE_BYTES as u64)) {
                findings.plain(Rule::IndexTooLarge, record, About::Whole, record_at);
                return Ok(None);
            }
            bitmap = Some(bits.read_all(&volume.device, &volume.geometry, most)?);
        }
        Ok(Some(Self { volume, record, record_at, letter, root, root_at, allocation, bitmap, block, budget }))
    }

    /// Returns the indexed attribute and the collation rule in the root.
    pub fn indexes(&self) -> (u32, u32) {
        view::<IndexRoot>(&self.root, 0).map_or((0, 0), |root| (root.indexed_kind.get(), root.collation.get()))
    }

    /// Returns where the root's value begins in the volume.
    pub fn root_at(&self) -> u64 {
        self.root_at
    }

    /// Walks all entries in their order; `compare` answers `None` for a key that is malformed.
    pub fn walk(
        &self,
        compare: impl Fn(&[u8], &[u8]) -> Option<Ordering>,
        mut each: impl FnMut(Row<'_>, &mut Findings),
        findings: &mut Findings,
    ) {
        let about = self.about(None);
        let room = self.root.len().saturating_sub(INDEX_ROOT_HEADER) as u64;
        let allocated = view::<IndexRoot>(&self.root, 0).map_or(0, |root| root.header.allocated.get());
        if u64::from(allocated) != room {
            let at = self.root_at.saturating_add(0x18);
            findings.number(Rule::IndexHeader, self.record, about, at, allocated.into(), room);
        }
        let mut seen = BTreeSet::new();
        let mut depths = BTreeSet::new();
        let mut last: Option<Vec<u8>> = None;
        let root = Node { bytes: self.root.clone(), at: self.root_at, header: INDEX_ROOT_HEADER, vcn: None };
        let mut path = vec![Walk::of(self, root, findings)];
        // Each block is entered once at most, and the budget bounds their number; entries are in their block.
        while let Some(walk) = path.last_mut() {
            match walk.next(self, findings) {
                None => {
                    if walk.is_leaf {
                        depths.insert(path.len());
                    }
                    path.pop();
                }
                Some(Step::Child { vcn, at }) => {
                    let depth = path.len();
                    if let Some(block) = self.block(vcn, at, depth, &mut seen, findings) {
                        path.push(Walk::of(self, block, findings));
                    }
                }
                Some(Step::Row(entry)) => {
                    let Walk { node, .. } = walk;
                    let (about, at) = (self.about(node.vcn), node.at.saturating_add(entry.at as u64));
                    let (whole, key) = entry.cut(&node.bytes).map_or((&[][..], &[][..]), |row| (row.whole, row.key));
                    // A malformed key is one that does not even compare to itself.
                    if compare(key, key).is_none() {
                        findings.plain(Rule::IndexEntry, self.record, about, at);
                        continue;
                    }
                    if last.as_ref().is_some_and(|last| compare(last, key) != Some(Ordering::Less)) {
                        findings.plain(Rule::IndexOrder, self.record, about, at);
                    }
                    let before = last.get_or_insert_default();
                    before.clear();
                    before.extend_from_slice(key);
                    each(Row { whole, key, at }, findings);
                }
            }
        }
        if depths.len() > 1 {
            findings.plain(Rule::IndexShape, self.record, about, self.root_at);
        }
        self.check_bitmap(&seen, findings);
    }

    fn about(&self, vcn: Option<u64>) -> About {
        About::Block { index: self.letter, vcn }
    }

    /// Reads the block at `vcn`, to which an entry at `at` leads.
    fn block(
        &self,
        vcn: u64,
        at: u64,
        depth: usize,
        seen: &mut BTreeSet<u64>,
        findings: &mut Findings,
    ) -> Option<Node> {
        let about = self.about(Some(vcn));
        let start = self.block.start(Vcn(vcn));
        let number = self.block.number(Vcn(vcn)).filter(|_| {
            let end = start.saturating_add(self.block.bytes as u64);
            depth <= MOST_DEPTH && self.allocation.as_ref().is_some_and(|allocation| end <= allocation.size)
        });
        if !number.is_some_and(|number| seen.insert(number)) {
            findings.number(Rule::IndexChild, self.record, about, at, vcn, vcn);
            return None;
        }
        if !self.budget.take(1) {
            findings.plain(Rule::IndexTooLarge, self.record, About::Whole, self.record_at);
            return None;
        }
        let allocation = self.allocation.as_ref()?;
        let mut bytes = vec![0; self.block.bytes];
        let geometry = &self.volume.geometry;
        if allocation.read(&self.volume.device, geometry, start, &mut bytes).is_err() {
            findings.plain(Rule::Unreadable, self.record, about, at);
            return None;
        }
        let pieces = allocation.pieces(geometry, start, 1).ok()?;
        let block_at = pieces.first().and_then(|piece| piece.at).map_or(at, |at| at.0);
        self.check_block(vcn, block_at, bytes, findings)
    }

    /// Checks the header of a block.
    fn check_block(&self, vcn: u64, at: u64, mut bytes: Vec<u8>, findings: &mut Findings) -> Option<Node> {
        let about = self.about(Some(vcn));
        let mut wrong = |rule, byte: u64, actual: u64, expected: u64| {
            findings.number(rule, self.record, about, at.saturating_add(byte), actual, expected);
        };
        if !bytes.starts_with(b"INDX") {
            wrong(
                Rule::IndexBlock,
                0,
                read::u32_le(&bytes, 0).map_or(0, u64::from),
                u64::from(u32::from_le_bytes(*b"INDX")),
            );
            return None;
        }
        if records::unprotect(&mut bytes) != Some(true) {
            wrong(Rule::IndexTorn, 0, 0, 0);
        }
        let header: &IndexBlock = view(&bytes, 0).ok()?;
        if header.vcn.get() != vcn {
            wrong(Rule::IndexBlock, 0x10, header.vcn.get(), vcn);
        }
        let room = bytes.len().saturating_sub(INDEX_BLOCK_HEADER) as u64;
        let allocated = u64::from(header.header.allocated.get());
        if allocated != room {
            wrong(Rule::IndexHeader, 0x20, allocated, room);
        }
        let array = usize::from(header.multi_sector.usa_offset.get());
        let marks = usize::from(header.multi_sector.usa_count.get()).saturating_mul(2);
        let first = (header.header.first_entry.get() as usize).saturating_add(INDEX_BLOCK_HEADER);
        if first < array.saturating_add(marks).next_multiple_of(8) {
            wrong(Rule::IndexHeader, 0x18, first as u64, array.saturating_add(marks).next_multiple_of(8) as u64);
        }
        Some(Node { bytes, at, header: INDEX_BLOCK_HEADER, vcn: Some(vcn) })
    }

    /// Compares the blocks that the walk entered with the bitmap.
    fn check_bitmap(&self, seen: &BTreeSet<u64>, findings: &mut Findings) {
        let (Some(allocation), Some(bitmap)) = (&self.allocation, self.bitmap.as_deref()) else { return };
        let whole = self.about(None);
        let blocks = allocation.size.checked_div(self.block.bytes as u64).unwrap_or(0);
        if !allocation.size.is_multiple_of(self.block.bytes as u64) {
            findings.number(Rule::IndexStreams, self.record, whole, self.record_at, allocation.size, 0);
        }
        let bits = (bitmap.len() as u64).saturating_mul(8);
        if bits < blocks {
            findings.number(Rule::IndexStreams, self.record, whole, self.record_at, bits, blocks);
        }
        let about = |block: u64| self.about(Some(self.block.vcn(block).0));
        for block in seen.iter().filter(|block| !bitmap::is_set(bitmap, **block)) {
            findings.plain(Rule::IndexBitmapFree, self.record, about(*block), self.record_at);
        }
        // As many bits as the device has blocks, and bytes of zeros are skipped.
        for (byte, _) in (0u64..).zip(bitmap).filter(|(_, bits)| **bits != 0) {
            for block in (byte.saturating_mul(8)..)
                .take(8)
                .filter(|block| bitmap::is_set(bitmap, *block) && !seen.contains(block))
            {
                findings.plain(Rule::IndexBitmapUsed, self.record, about(block), self.record_at);
            }
        }
    }
}

/// Checks the block size that a root holds, and returns it if an index can have such blocks.
fn check_block_size(
    root: &IndexRoot,
    geometry: &Geometry,
    name: &[u8],
    mut wrong: impl FnMut(u64, u64, u64),
) -> Option<BlockSize> {
    let (bytes, usual) = (root.block_bytes.get() as usize, geometry.index_block_bytes);
    let block = BlockSize::new(bytes, geometry.cluster_bytes);
    if block.is_none() || bytes != usual && name == name::I30 {
        wrong(8, bytes as u64, usual as u64);
    }
    let (units, expected) = (u64::from(root.block_units), block?.vcns());
    if units != expected {
        wrong(12, units, expected);
    }
    block
}

/// An index root or an index block.
#[derive(Debug)]
struct Node {
    bytes: Vec<u8>,
    /// Its first byte in the volume.
    at: u64,
    header: usize,
    vcn: Option<u64>,
}

/// A walk through the entries of one node.
#[derive(Debug)]
struct Walk {
    node: Node,
    is_leaf: bool,
    /// Where the next entry begins; `None` after the last.
    next: Option<usize>,
    /// Where the entries end.
    end: usize,
    /// The entry whose child was entered; its key comes next.
    waiting: Option<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Child { vcn: u64, at: u64 },
    Row(EntryHeader),
}

impl Walk {
    fn of<D: ReadAt>(index: &Index<'_, D>, node: Node, findings: &mut Findings) -> Self {
        let (header, about) = (node.header, index.about(node.vcn));
        let at = node.at.saturating_add(header as u64);
        let mut walk = Self { is_leaf: false, next: None, end: 0, waiting: None, node };
        let Ok(fields) = NodeHeader::read(&walk.node.bytes, header) else {
            findings.plain(Rule::IndexHeader, index.record, about, at);
            return walk;
        };
        let room = walk.node.bytes.len().saturating_sub(header) as u64;
        let fits = fields.used <= fields.allocated
            && u64::from(fields.allocated) <= room
            && fields.first.saturating_add(entry_at::KEY) <= fields.end;
        if !fits || !fields.first.is_multiple_of(8) || !fields.used.is_multiple_of(8) {
            findings.number(Rule::IndexHeader, index.record, about, at, fields.used.into(), fields.allocated.into());
            return walk;
        }
        walk.is_leaf = !fields.has_children;
        (walk.next, walk.end) = (Some(fields.first), fields.end);
        walk
    }

    /// Returns the next child or key; an entry's child comes before its key.
    fn next<D: ReadAt>(&mut self, index: &Index<'_, D>, findings: &mut Findings) -> Option<Step> {
        if let Some(step) = self.waiting.take() {
            return Some(step);
        }
        let start = self.next.take()?;
        let (record, about) = (index.record, index.about(self.node.vcn));
        let at = self.node.at.saturating_add(start as u64);
        let entry = EntryHeader::read(&self.node.bytes, start).ok();
        let Some(entry) = entry.filter(|_| start.saturating_add(entry_at::KEY) <= self.end) else {
            findings.plain(Rule::IndexEntry, record, about, at);
            return None;
        };
        let (end, least) = (entry.end(), entry.least_length());
        let is_known = entry.flags & !(entry_flag::NODE | entry_flag::LAST) == 0;
        if !entry.length.is_multiple_of(8) || entry.length < least || end > self.end || !is_known {
            findings.number(Rule::IndexEntry, record, about, at, entry.length as u64, least as u64);
            return None;
        }
        if entry.has_child() == self.is_leaf {
            let expected = entry.flags ^ entry_flag::NODE;
            findings.number(Rule::IndexEntry, record, about, at, entry.flags.into(), expected.into());
        }
        if !entry.is_last() {
            self.next = Some(end);
        } else if end != self.end {
            let at = self.node.at.saturating_add(self.node.header as u64).saturating_add(4);
            findings.number(Rule::IndexHeader, record, about, at, self.end as u64, end as u64);
        }
        let row = (!entry.is_last()).then_some(Step::Row(entry));
        if !entry.has_child() {
            // The last entry of a leaf ends it.
            return row;
        }
        let vcn = read::u64_le(&self.node.bytes, entry.child_at()).unwrap_or(u64::MAX);
        self.waiting = row;
        Some(Step::Child { vcn, at: self.node.at.saturating_add(entry.child_at() as u64) })
    }
}
