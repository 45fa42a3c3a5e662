//! The shape of any index: root, blocks, entries, their order, and the bitmap of blocks.
//!
//! Facts: INDEX_ROOT, INDEX_ALLOCATION_BUFFER, INDEX_ENTRY. What the entries mean is told by who asks for the walk.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::atomic::{self, AtomicU64};

use super::finding::{About, Findings, Rule};
use super::records;
use crate::layout::{self, INDEX_BLOCK_HEADER, INDEX_ROOT_HEADER, IndexHeader, STRIDE_BYTES, entry_flag, kind, view};
use crate::segments::Segments;
use crate::stream::Stream;
use crate::{Error, Result, Volume};
use coldforge_base::{ReadAt, read};

/// The deepest index: blocks of at least 512 bytes with two entries each would fill 2^30 of them.
const MOST_DEPTH: usize = 30;
/// The largest index root that is read: it lies in a record of at most 4096 bytes.
const MOST_ROOT_BYTES: u64 = 4096;

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
    block_bytes: usize,
    unit_bytes: u64,
    budget: &'a Budget,
}

impl<'a, D: ReadAt> Index<'a, D> {
    /// Reads the streams of the index `name` of a file; what is wrong with the root's own fields is a finding.
    ///
    /// # Errors
    /// What is wrong with the streams.
    pub fn open(
        volume: &'a Volume<D>,
        segments: &Segments,
        record_at: u64,
        name: &[u8],
        budget: &'a Budget,
        findings: &mut Findings,
    ) -> Result<Option<Self>> {
        let record = segments.base.number();
        let root = volume.stream(segments, kind::INDEX_ROOT, name)?;
        let stream = root.ok_or(Error::MissingAttribute { record, kind: kind::INDEX_ROOT })?;
        let root = stream.read_all(&volume.device, &volume.geometry, MOST_ROOT_BYTES)?;
        let root_at = match stream.content {
            crate::stream::Content::Resident { offset, .. } => {
                volume.record_place(stream.record).saturating_add(offset as u64)
            }
            crate::stream::Content::Runs(_) => record_at,
        };
        let letter = name.chunks(2).last().and_then(|unit| unit.first()).copied().unwrap_or(0);
        let about = About::Block { index: letter, vcn: None };
        let Ok(fields) = view::<layout::IndexRoot>(&root, 0) else {
            findings.number(Rule::IndexRoot, record, about, root_at, root.len() as u64, 0x20);
            return Ok(None);
        };
        let (block_bytes, units) = (fields.block_bytes.get() as usize, u64::from(fields.block_units));
        let mut wrong = |byte: u64, actual: u64, expected: u64| {
            findings.number(Rule::IndexRoot, record, about, root_at.saturating_add(byte), actual, expected);
        };
        let usual = volume.geometry.index_block_bytes;
        if !block_bytes.is_power_of_two() || !(STRIDE_BYTES..=0x1_0000).contains(&block_bytes) {
            wrong(8, block_bytes as u64, usual as u64);
            return Ok(None);
        }
        if block_bytes != usual && name == I30 {
            wrong(8, block_bytes as u64, usual as u64);
        }
        let cluster_bytes = volume.geometry.cluster_bytes;
        let unit_bytes = if cluster_bytes <= block_bytes as u64 { cluster_bytes } else { STRIDE_BYTES as u64 };
        let expected = (block_bytes as u64).checked_div(unit_bytes).unwrap_or(0);
        if units != expected {
            wrong(12, units, expected);
        }
        let is_large = fields.header.flags & 1 != 0;
        let allocation = volume.stream(segments, kind::INDEX_ALLOCATION, name)?;
        let bitmap = volume.stream(segments, kind::BITMAP, name)?;
        if allocation.is_some() != bitmap.is_some() || is_large && allocation.is_none() {
            findings.plain(Rule::IndexStreams, record, about, record_at);
        }
        let bitmap = match bitmap {
            Some(bits) => {
                // One bit a block, of which the device has room for no more, and what fills a cluster.
                let blocks = volume.device.len().checked_div(block_bytes as u64).unwrap_or(0);
                let most = blocks.div_ceil(8).saturating_add(cluster_bytes);
                if !budget.take(bits.size.min(most).div_ceil(layout::STRIDE_BYTES as u64)) {
                    findings.plain(Rule::IndexTooLarge, record, About::Whole, record_at);
                    return Ok(None);
                }
                Some(bits.read_all(&volume.device, &volume.geometry, most)?)
            }
            None => None,
        };
        let index = Self {
            volume,
            record,
            record_at,
            letter,
            root,
            root_at,
            allocation,
            bitmap,
            block_bytes,
            unit_bytes,
            budget,
        };
        Ok(Some(index))
    }

    /// Returns the attribute and the order that the root tells of.
    pub fn indexes(&self) -> (u32, u32) {
        view::<layout::IndexRoot>(&self.root, 0).map_or((0, 0), |root| (root.indexed_kind.get(), root.collation.get()))
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
        let allocated = view::<layout::IndexRoot>(&self.root, 0).map_or(0, |root| root.header.allocated.get());
        if u64::from(allocated) != room {
            let at = self.root_at.saturating_add(0x18);
            findings.number(Rule::IndexHeader, self.record, about, at, allocated.into(), room);
        }
        let mut seen = BTreeSet::new();
        let mut depths = BTreeSet::new();
        let mut last: Option<Vec<u8>> = None;
        let root = Node { bytes: self.root.clone(), at: self.root_at, header: INDEX_ROOT_HEADER, vcn: None };
        let mut path = vec![Walk::of(self, root, findings)];
        // Each block is entered once at most, and the budget bounds their number; entries lie in their block.
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
                Some(Step::Row { start, length, key_length }) => {
                    let Walk { node, .. } = walk;
                    let (about, at) = (self.about(node.vcn), node.at.saturating_add(start as u64));
                    let whole = read::slice(&node.bytes, start, length).unwrap_or(&[]);
                    let key = read::slice(whole, ENTRY_HEADER, key_length).unwrap_or(&[]);
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
        let block_bytes = self.block_bytes as u64;
        let start = vcn.checked_mul(self.unit_bytes).filter(|start| start.is_multiple_of(block_bytes));
        let inside = |start: &u64| {
            let end = start.saturating_add(block_bytes);
            self.allocation.as_ref().is_some_and(|allocation| end <= allocation.size)
        };
        let Some(start) = start.filter(inside).filter(|_| depth <= MOST_DEPTH) else {
            findings.number(Rule::IndexChild, self.record, about, at, vcn, vcn);
            return None;
        };
        if !seen.insert(start.checked_div(block_bytes)?) {
            findings.number(Rule::IndexChild, self.record, about, at, vcn, vcn);
            return None;
        }
        if !self.budget.take(1) {
            findings.plain(Rule::IndexTooLarge, self.record, About::Whole, self.record_at);
            return None;
        }
        let allocation = self.allocation.as_ref()?;
        let mut bytes = vec![0; self.block_bytes];
        let geometry = &self.volume.geometry;
        if allocation.read(&self.volume.device, geometry, start, &mut bytes).is_err() {
            findings.plain(Rule::Unreadable, self.record, about, at);
            return None;
        }
        let pieces = allocation.pieces(geometry, start, 1).ok()?;
        let block_at = pieces.first().and_then(|piece| piece.at).map_or(at, |at| at.0);
        self.check_block(vcn, block_at, bytes, findings)
    }

    /// Checks what a block tells of itself.
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
        let header: &layout::IndexBlock = view(&bytes, 0).ok()?;
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

    /// Compares the blocks that were met with the bitmap.
    fn check_bitmap(&self, seen: &BTreeSet<u64>, findings: &mut Findings) {
        let (Some(allocation), Some(bitmap)) = (&self.allocation, &self.bitmap) else { return };
        let whole = self.about(None);
        let blocks = allocation.size.checked_div(self.block_bytes as u64).unwrap_or(0);
        if !allocation.size.is_multiple_of(self.block_bytes as u64) {
            findings.number(Rule::IndexStreams, self.record, whole, self.record_at, allocation.size, 0);
        }
        let bits = (bitmap.len() as u64).saturating_mul(8);
        if bits < blocks {
            findings.number(Rule::IndexStreams, self.record, whole, self.record_at, bits, blocks);
        }
        let vcn = |block: u64| {
            let vcn = block.saturating_mul(self.block_bytes as u64).checked_div(self.unit_bytes).unwrap_or(0);
            About::Block { index: self.letter, vcn: Some(vcn) }
        };
        let is_set = |block: u64| {
            let byte = usize::try_from(block / 8).ok().and_then(|byte| bitmap.get(byte)).copied().unwrap_or(0);
            byte & 1u8.checked_shl(u32::try_from(block % 8).unwrap_or(0)).unwrap_or(0) != 0
        };
        for block in seen.iter().filter(|block| !is_set(**block)) {
            findings.plain(Rule::IndexBitmapFree, self.record, vcn(*block), self.record_at);
        }
        // As many bits as the device has blocks, and bytes of zeros are skipped.
        for (byte, _) in (0u64..).zip(bitmap).filter(|(_, bits)| **bits != 0) {
            for block in (byte.saturating_mul(8)..).take(8).filter(|block| is_set(*block) && !seen.contains(block)) {
                findings.plain(Rule::IndexBitmapUsed, self.record, vcn(block), self.record_at);
            }
        }
    }
}

/// The name of a directory's index, in UTF-16LE.
pub(super) use crate::index::I30;

/// The bytes of an entry before its key.
pub(super) const ENTRY_HEADER: usize = 16;

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
    /// Where the next entry begins; `None` behind the last.
    next: Option<usize>,
    /// Where the entries end.
    end: usize,
    /// The entry whose child was entered, and which is to be told next.
    waiting: Option<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Child { vcn: u64, at: u64 },
    Row { start: usize, length: usize, key_length: usize },
}

impl Walk {
    fn of<D: ReadAt>(index: &Index<'_, D>, node: Node, findings: &mut Findings) -> Self {
        let (header, about) = (node.header, index.about(node.vcn));
        let at = node.at.saturating_add(header as u64);
        let mut walk = Self { is_leaf: false, next: None, end: 0, waiting: None, node };
        let Ok(fields) = view::<IndexHeader>(&walk.node.bytes, header) else {
            findings.plain(Rule::IndexHeader, index.record, about, at);
            return walk;
        };
        let (first, used, allocated) =
            (fields.first_entry.get() as usize, fields.used.get() as usize, fields.allocated.get() as usize);
        let room = walk.node.bytes.len().saturating_sub(header);
        let fits = used <= allocated && allocated <= room && first.saturating_add(ENTRY_HEADER) <= used;
        if !fits || !first.is_multiple_of(8) || !used.is_multiple_of(8) {
            findings.number(Rule::IndexHeader, index.record, about, at, used as u64, allocated as u64);
            return walk;
        }
        walk.is_leaf = fields.flags & 1 == 0;
        (walk.next, walk.end) = (Some(header.saturating_add(first)), header.saturating_add(used));
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
        let entry = view::<layout::IndexEntry>(&self.node.bytes, start).ok();
        let Some(entry) = entry.filter(|_| start.saturating_add(ENTRY_HEADER) <= self.end) else {
            findings.plain(Rule::IndexEntry, record, about, at);
            return None;
        };
        let (length, key_length) = (usize::from(entry.length.get()), usize::from(entry.key_length.get()));
        let flags = entry.flags.get();
        let (has_child, is_last) = (flags & entry_flag::NODE != 0, flags & entry_flag::LAST != 0);
        let key_room = if is_last { 0 } else { key_length };
        let needed = ENTRY_HEADER.saturating_add(key_room).saturating_add(if has_child { 8 } else { 0 });
        let end = start.saturating_add(length);
        if !length.is_multiple_of(8) || length < needed || end > self.end || flags & !3 != 0 {
            findings.number(Rule::IndexEntry, record, about, at, length as u64, needed as u64);
            return None;
        }
        if has_child == self.is_leaf {
            findings.number(Rule::IndexEntry, record, about, at, flags.into(), (flags ^ entry_flag::NODE).into());
        }
        if is_last {
            if end != self.end {
                let at = self.node.at.saturating_add(self.node.header as u64).saturating_add(4);
                let (used, expected) = (self.end as u64, end as u64);
                findings.number(Rule::IndexHeader, record, about, at, used, expected);
            }
        } else {
            self.next = Some(end);
        }
        let row = (!is_last).then_some(Step::Row { start, length, key_length });
        if !has_child {
            // The last entry of a leaf ends it.
            return row;
        }
        let child_at = end.saturating_sub(8);
        let vcn = read::u64_le(&self.node.bytes, child_at).unwrap_or(u64::MAX);
        self.waiting = row;
        Some(Step::Child { vcn, at: self.node.at.saturating_add(child_at as u64) })
    }
}
