//! Checks `$Secure`: each security id occurs once in `$SDS`, in its copy, in `$SII` and in `$SDH`, and all agree.
//!
//! An entry of `$SDS` is hash, id, its own offset, length and descriptor, aligned to 16 bytes. Blocks of 256 KiB
//! alternate with their copies, and no entry crosses the end of its block. Between the last entry and the end of a
//! block are leftovers of what the disk held before: they are damage only if an index or the copy has an entry there.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::finding::{About, Findings, Rule};
use super::index::{Budget, Index};
use crate::error::Result;
use crate::layout::{DESCRIPTOR_HEADER_BYTES, DescriptorHeader, SDS_BLOCK_BYTES, kind, name, system};
use crate::security::hash_of;
use crate::stream::Stream;
use crate::volume::Volume;
use coldforge_base::{ReadAt, read};

/// The largest `$SDS` that is read: 2,097,152 descriptors and more, and the ids have 32 bits.
const MOST_SDS_BYTES: u64 = 1 << 31;

/// An entry of `$SII` or `$SDH`.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    header: DescriptorHeader,
    at: u64,
}

/// Checks `$Secure` and returns the ids that `$SII` knows.
pub(super) fn check<D: ReadAt>(volume: &Volume<D>, budget: &Budget, findings: &mut Findings) -> BTreeSet<u32> {
    let at = volume.record_place(system::SECURE);
    match check_streams(volume, budget, at, findings) {
        Ok(Some(ids)) => ids,
        Ok(None) | Err(_) => {
            findings.plain(Rule::SecureMissing, system::SECURE, About::Whole, at);
            BTreeSet::new()
        }
    }
}

fn check_streams<D: ReadAt>(
    volume: &Volume<D>,
    budget: &Budget,
    record_at: u64,
    findings: &mut Findings,
) -> Result<Option<BTreeSet<u32>>> {
    let segments = volume.segments(volume.record(system::SECURE)?)?;
    let Some(stream) = volume.stream(&segments, kind::DATA, name::SDS)? else { return Ok(None) };
    let mut rows: [Vec<Indexed>; 2] = [Vec::new(), Vec::new()];
    let keys = [DescriptorHeader::sii_key, DescriptorHeader::sdh_key];
    for ((rows, key_of), name) in rows.iter_mut().zip(keys).zip([name::SII, name::SDH]) {
        // The shape of the index is checked with all others; here only its entries count.
        let mut seen = Findings::default();
        let index = Index::open(volume, &segments, record_at, name, budget, &mut seen)?;
        let Some(index) = index else { return Ok(None) };
        let mut wrong = Vec::new();
        let mut note = |row: super::index::Row<'_>, _: &mut Findings| match DescriptorHeader::of_entry(row.whole)
            .filter(|header| row.key == key_of(header))
        {
            Some(header) => rows.push(Indexed { header, at: row.at }),
            None => wrong.push((read::u32_le(row.key, row.key.len().saturating_sub(4)).unwrap_or(0), row.at)),
        };
        index.walk(|_, _| Some(Ordering::Less), &mut note, &mut seen);
        for (id, at) in wrong {
            findings.plain(Rule::SecureIndex, system::SECURE, About::Security(id), at);
        }
    }
    let [sii, sdh] = rows;
    let marks: BTreeSet<u64> = sii.iter().chain(&sdh).map(|row| row.header.offset.get()).collect();
    let entries = read_entries(volume, &stream, &marks, record_at, findings)?;
    for row in sii.iter().chain(&sdh) {
        if entries.get(&row.header.offset.get()) != Some(&row.header) {
            let (id, offset) = (About::Security(row.header.id.get()), row.header.offset.get());
            findings.number(Rule::SecureIndex, system::SECURE, id, row.at, offset, offset);
        }
    }
    let ids = |rows: &[Indexed]| rows.iter().map(|row| row.header.id.get()).collect::<BTreeSet<u32>>();
    let (in_sii, in_sdh) = (ids(&sii), ids(&sdh));
    for id in in_sii.symmetric_difference(&in_sdh) {
        findings.plain(Rule::SecurePair, system::SECURE, About::Security(*id), record_at);
    }
    let in_sds: BTreeSet<u32> = entries.values().map(|header| header.id.get()).collect();
    for id in in_sds.iter().filter(|id| !in_sii.contains(id) && !in_sdh.contains(id)) {
        findings.plain(Rule::SecureUnindexed, system::SECURE, About::Security(*id), record_at);
    }
    Ok(Some(in_sii))
}

/// Reads the entries of `$SDS` by their offsets, and compares each with its copy.
fn read_entries<D: ReadAt>(
    volume: &Volume<D>,
    stream: &Stream,
    marks: &BTreeSet<u64>,
    record_at: u64,
    findings: &mut Findings,
) -> Result<BTreeMap<u64, DescriptorHeader>> {
    let mut entries = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let end = stream.size.min(MOST_SDS_BYTES);
    let mut start = 0u64;
    // Each turn reads one block and its copy of at most 2 GiB.
    while start < end {
        let block = Block::read(volume, stream, start, record_at)?;
        block.entries(marks, &mut entries, &mut ids, findings);
        start = start.saturating_add(SDS_BLOCK_BYTES.saturating_mul(2));
    }
    Ok(entries)
}

/// A block of `$SDS` and its copy.
#[derive(Debug)]
struct Block {
    start: u64,
    bytes: Vec<u8>,
    copy: Vec<u8>,
    /// Where the block and the copy begin in the volume.
    places: (u64, u64),
}

impl Block {
    fn read<D: ReadAt>(volume: &Volume<D>, stream: &Stream, start: u64, record_at: u64) -> Result<Self> {
        let part = |at: u64| -> Result<(Vec<u8>, u64)> {
            let length = stream.size.saturating_sub(at).min(SDS_BLOCK_BYTES);
            let mut bytes = vec![0; read::size(length)];
            if length > 0 {
                stream.read(&volume.device, &volume.geometry, at, &mut bytes)?;
            }
            let pieces = stream.pieces(&volume.geometry, at, length.min(1))?;
            Ok((bytes, pieces.first().and_then(|piece| piece.at).map_or(record_at, |at| at.0)))
        };
        let (bytes, place) = part(start)?;
        let (copy, copy_place) = part(start.saturating_add(SDS_BLOCK_BYTES).min(stream.size))?;
        Ok(Self { start, bytes, copy, places: (place, copy_place) })
    }

    fn entries(
        &self,
        marks: &BTreeSet<u64>,
        entries: &mut BTreeMap<u64, DescriptorHeader>,
        ids: &mut BTreeSet<u32>,
        findings: &mut Findings,
    ) {
        let mut at = 0usize;
        // Each turn moves on by at least 16 bytes inside the block, or to the next mark after it.
        while at.saturating_add(DESCRIPTOR_HEADER_BYTES) <= self.bytes.len() {
            let offset = self.start.saturating_add(at as u64);
            let next = match self.entry(at, offset, findings) {
                Some((header, length)) => {
                    if !ids.insert(header.id.get()) {
                        findings.plain(
                            Rule::SecureTwice,
                            system::SECURE,
                            About::Security(header.id.get()),
                            self.places.0.saturating_add(at as u64),
                        );
                    }
                    entries.insert(offset, header);
                    at.saturating_add(length).next_multiple_of(16)
                }
                None => {
                    if marks.contains(&offset) || self.has_copy(at, offset) {
                        let place = self.places.0.saturating_add(at as u64);
                        findings.number(Rule::SecureEntry, system::SECURE, About::Whole, place, offset, offset);
                    }
                    let end = self.start.saturating_add(SDS_BLOCK_BYTES);
                    let behind = offset.saturating_add(1)..end.max(offset.saturating_add(1));
                    let Some(next) = marks.range(behind).find(|mark| mark.is_multiple_of(16)) else { return };
                    usize::try_from(next.saturating_sub(self.start)).unwrap_or(usize::MAX)
                }
            };
            at = next;
        }
    }

    /// Reads the entry at `at` of the block; `None` if none can be there.
    fn entry(&self, at: usize, offset: u64, findings: &mut Findings) -> Option<(DescriptorHeader, usize)> {
        let header = self.header(&self.bytes, at).filter(|header| header.offset.get() == offset)?;
        let length = header.length.get() as usize;
        let whole = read::slice(&self.bytes, at, length).ok()?;
        let descriptor =
            read::slice(whole, DESCRIPTOR_HEADER_BYTES, length.saturating_sub(DESCRIPTOR_HEADER_BYTES)).ok()?;
        let (about, place) = (About::Security(header.id.get()), self.places.0.saturating_add(at as u64));
        let hash = hash_of(descriptor);
        if hash != header.hash.get() {
            findings.number(Rule::SecureHash, system::SECURE, about, place, header.hash.get().into(), hash.into());
        }
        if read::slice(&self.copy, at, length).ok() != Some(whole) {
            let place = self.places.1.saturating_add(at as u64);
            findings.plain(Rule::SecureMirror, system::SECURE, about, place);
        }
        if !is_likely_descriptor(descriptor) {
            findings.plain(Rule::SecureEntry, system::SECURE, about, place);
        }
        Some((header, length))
    }

    /// Returns whether the copy holds an entry that says that it belongs here.
    fn has_copy(&self, at: usize, offset: u64) -> bool {
        self.header(&self.copy, at).is_some_and(|header| header.offset.get() == offset)
    }

    fn header(&self, bytes: &[u8], at: usize) -> Option<DescriptorHeader> {
        const LEAST: usize = DESCRIPTOR_HEADER_BYTES + 20;
        let header = DescriptorHeader::parse(bytes.get(at..)?)?;
        let length = header.length.get() as usize;
        let end = at.checked_add(length)?;
        (length >= LEAST && end as u64 <= SDS_BLOCK_BYTES).then_some(header)
    }
}

/// Returns whether the bytes look like a self-relative descriptor whose offsets are inside it.
fn is_likely_descriptor(bytes: &[u8]) -> bool {
    const SELF_RELATIVE: u8 = 0x80;
    let head = |at| read::u8(bytes, at).unwrap_or(0);
    let inside = |at| {
        let offset = read::u32_le(bytes, at).map_or(usize::MAX, |offset| offset as usize);
        offset == 0 || offset >= 20 && offset.saturating_add(8) <= bytes.len()
    };
    head(0) == 1 && head(3) & SELF_RELATIVE != 0 && [4, 8, 12, 16].into_iter().all(inside)
}
