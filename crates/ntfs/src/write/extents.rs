//! Changing an attribute in whichever records hold it: replacing, growing, moving, inserting and removing it.
//!
//! Only the extent with lowest VCN 0 holds sizes. An attribute list names every attribute except itself, ordered by
//! type, name and lowest VCN. Lists are updated here, but never created and never removed.

use super::attribute::{Sizes, non_resident, resident};
use super::edit::{Content, Edit};
use super::order::Rank;
use super::record::Editor;
use crate::attribute::Attribute;
use crate::attribute_list::Entry;
use crate::error::{Error, Result};
use crate::layout::{AttributeListEntry, attribute_at, kind, system};
use crate::record::Reference;
use crate::runs::{Run, push};
use crate::segments::{Segments, extent};
use crate::stream::Stream;
use coldforge_base::{Lcn, ReadAt, Vcn, read, utf16};

/// Where an extent of an attribute is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// The record.
    pub record: u64,
    /// First byte of the attribute in it.
    pub offset: usize,
    /// The attribute's number there.
    pub id: u16,
    /// First VCN.
    pub lowest: Vcn,
}

impl Spot {
    fn of(attribute: &Attribute<'_>) -> Self {
        Self { record: attribute.record, offset: attribute.offset, id: attribute.id, lowest: attribute.lowest() }
    }
}

/// How much of a stream is moved at once.
const CHUNK_BYTES: u64 = 1 << 16;

impl<'c, D: ReadAt> Edit<'_, 'c, D> {
    /// Returns where the extents of an attribute are, in their order.
    ///
    /// # Errors
    /// Errors in the list or a record it names.
    pub fn spots(&self, segments: &Segments, kind: u32, name: &[u8]) -> Result<Vec<Spot>> {
        let mut spots = Vec::new();
        if segments.list.is_none() {
            for attribute in segments.base.attributes() {
                let attribute = attribute?;
                if attribute.is(kind, name) {
                    spots.push(Spot::of(&attribute));
                }
            }
        }
        for entry in segments.entries(kind, name) {
            let record = self.view.segment(segments, entry, None)?;
            spots.push(Spot::of(&extent(&record, entry, segments.base.number())?));
        }
        Ok(spots)
    }

    /// Puts an attribute of one extent into the base record, and into the list if there is one.
    ///
    /// # Errors
    /// [`Error::RecordFull`].
    pub fn insert(&mut self, file: Reference, rank: Rank, kind: u32, name: &[u8], attribute: Vec<u8>) -> Result<()> {
        let mut editor = self.editor(file.record())?;
        let id = editor.insert(&self.view.upcase, attribute)?;
        self.put_record(rank, editor)?;
        let segments = self.view.referenced(file)?;
        if let Some(mut entries) = segments.list.clone() {
            let entry = Entry { kind, name: name.to_vec(), lowest: Vcn(0), reference: file, id };
            let name = utf16::units(name);
            let at = entries.partition_point(|other| {
                let order = other.kind.cmp(&kind);
                order.then_with(|| self.view.upcase.compare(&utf16::units(&other.name), &name)).is_lt()
            });
            entries.insert(at, entry);
            self.put_list(file, rank, &entries)?;
        }
        Ok(())
    }

    /// Takes extents of an attribute out of their records and out of the list, and frees the records that are left
    /// empty; the clusters stay as they are.
    ///
    /// # Errors
    /// Errors in the records.
    pub fn take_out(&mut self, file: Reference, rank: Rank, kind: u32, spots: &[Spot]) -> Result<()> {
        let mut gone = Vec::new();
        for spot in spots {
            let mut editor = self.editor(spot.record)?;
            let attribute = editor.view()?;
            let attribute = attribute.find(|a| a.kind == kind && a.id == spot.id && a.lowest() == spot.lowest)?;
            let attribute = attribute.ok_or(Error::MissingAttribute { record: file.record(), kind })?;
            editor.remove(attribute.offset)?;
            gone.push((editor.reference()?, spot.id));
            let is_empty = editor.is_empty()?;
            self.put_record(rank, editor)?;
            if is_empty && spot.record != file.record() {
                self.free_record(spot.record)?;
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let segments = self.view.segments(self.view.record(file.record())?)?;
        if let Some(mut entries) = segments.list {
            entries.retain(|entry| entry.kind != kind || !gone.contains(&(entry.reference, entry.id)));
            self.put_list(file, rank, &entries)?;
        }
        Ok(())
    }

    /// Takes an attribute out, and frees its clusters.
    ///
    /// # Errors
    /// Errors in its records and runs.
    pub fn delete_attribute(&mut self, file: Reference, rank: Rank, kind: u32, name: &[u8]) -> Result<()> {
        let segments = self.view.referenced(file)?;
        let Some(stream) = self.view.stream(&segments, kind, name)? else { return Ok(()) };
        let spots = self.spots(&segments, kind, name)?;
        self.take_out(file, rank, kind, &spots)?;
        self.free(file.record(), stream.runs())
    }

    /// Exchanges the whole content of an attribute: in the record if it fits, else in clusters that were free.
    ///
    /// # Errors
    /// [`Error::VolumeFull`]; [`Error::RecordFull`] if the free clusters are so scattered that the record cannot hold
    /// where; errors in the attribute.
    pub fn replace(
        &mut self,
        file: Reference,
        rank: Rank,
        (kind, name): (u32, &[u8]),
        content: Content<'c, '_>,
    ) -> Result<()> {
        let number = file.record();
        let segments = self.view.referenced(file)?;
        let missing = || Error::MissingAttribute { record: number, kind };
        let old = self.view.required_stream(&segments, kind, name)?;
        let spots = self.spots(&segments, kind, name)?;
        let (first, others) = spots.split_first().ok_or_else(missing)?;
        self.space.check(&self.view, number, old.runs())?;

        let bytes = content.bytes();
        let mut editor = self.editor(first.record)?;
        let is_small = bytes.len() < self.view.geometry.record_bytes;
        let fits = is_small && accepted(editor.exchange(first.offset, resident(kind, name, bytes, false)))?;
        if !fits {
            let length = bytes.len() as u64;
            let clusters = length.div_ceil(self.view.geometry.cluster_bytes);
            let runs = self.take(number, Vcn(0), clusters, None)?;
            let allocated = clusters.saturating_mul(self.view.geometry.cluster_bytes);
            let sizes = Sizes { allocated, size: length, initialized: length };
            editor.exchange(first.offset, non_resident(kind, name, &runs, sizes))?;
            self.put_content(&runs, content)?;
        }
        self.put_record(rank, editor)?;
        self.take_out(file, rank, kind, others)?;
        self.free(number, old.runs())
    }

    /// Makes a non-resident stream longer; the added bytes are zeros.
    ///
    /// New clusters follow the last one if they can. If the record has no room for their runs, the whole stream moves
    /// to contiguous clusters; `$MFT` cannot.
    ///
    /// # Errors
    /// [`Error::VolumeFull`], [`Error::RecordFull`], [`Error::MftFragmented`]; errors in the stream.
    pub fn grow(&mut self, file: Reference, rank: Rank, (kind, name): (u32, &[u8]), size: u64) -> Result<()> {
        let number = file.record();
        let segments = self.view.referenced(file)?;
        let missing = || Error::MissingAttribute { record: number, kind };
        let old = self.view.required_stream(&segments, kind, name)?;
        let spots = self.spots(&segments, kind, name)?;
        let (first, last) = spots.first().zip(spots.last()).ok_or_else(missing)?;
        let cluster = self.view.geometry.cluster_bytes;
        let is_plain = !old.is_resident() && old.flags == 0 && old.runs().iter().all(|run| run.lcn.is_some());
        if !is_plain || old.allocated != old.mapped(&self.view.geometry) {
            return Err(old.sizes(&self.view.geometry));
        }
        self.space.check(&self.view, number, old.runs())?;
        let end = old.allocated.checked_div(cluster).unwrap_or(0);
        let needed = size.div_ceil(cluster);
        let total = needed.max(end);
        let sizes = Sizes { allocated: total.saturating_mul(cluster), size, initialized: size };
        let added = needed.saturating_sub(end);
        if added == 0 || self.extend_last(number, rank, (kind, name), &old, last, added)? {
            let mut editor = self.editor(first.record)?;
            put_sizes(&mut editor, first.offset, sizes)?;
            self.put_record(rank, editor)?;
        } else {
            self.move_stream(file, rank, (kind, name), &old, &spots, sizes)?;
        }
        // The records of a longer $MFT are formatted, not zeroed.
        if is_mft(number, kind) {
            return Ok(());
        }
        let segments = self.view.referenced(file)?;
        let stream = self.view.required_stream(&segments, kind, name)?;
        self.zero(&stream, old.initialized, size)
    }

    /// Takes `added` clusters for the end of a stream and adds them to its last extent; `false`, with nothing changed,
    /// if the record of that extent has no room for the runs.
    fn extend_last(
        &mut self,
        number: u64,
        rank: Rank,
        (kind, name): (u32, &[u8]),
        old: &Stream,
        last: &Spot,
        added: u64,
    ) -> Result<bool> {
        let mut runs = old.runs().to_vec();
        let end = runs.last().map_or(Vcn(0), Run::end);
        let goal = runs.last().and_then(|run| run.lcn.map(|lcn| Lcn(lcn.0.saturating_add(run.clusters))));
        let added = self.take(number, end, added, goal)?;
        added.iter().for_each(|run| push(&mut runs, *run));
        let mut editor = self.editor(last.record)?;
        let extent = non_resident(kind, name, &from(&runs, last.lowest), Sizes::default());
        if accepted(editor.exchange(last.offset, extent))? {
            self.put_record(rank, editor)?;
            if number < system::FIRST_USER {
                self.own.extend(added);
            }
            return Ok(true);
        }
        if is_mft(number, kind) {
            return Err(Error::MftFragmented);
        }
        self.free(number, &added)?;
        Ok(false)
    }

    /// Moves a stream to new clusters, as few runs as there are, of which its first record holds all.
    fn move_stream(
        &mut self,
        file: Reference,
        rank: Rank,
        (kind, name): (u32, &[u8]),
        old: &Stream,
        spots: &[Spot],
        sizes: Sizes,
    ) -> Result<()> {
        let number = file.record();
        let missing = Error::MissingAttribute { record: number, kind };
        let (first, others) = spots.split_first().ok_or(missing)?;
        let clusters = sizes.allocated.checked_div(self.view.geometry.cluster_bytes).unwrap_or(0);
        let runs = self.take(number, Vcn(0), clusters, None)?;
        self.copy(old, &runs)?;
        let mut editor = self.editor(first.record)?;
        editor.exchange(first.offset, non_resident(kind, name, &runs, sizes))?;
        self.put_record(rank, editor)?;
        self.take_out(file, rank, kind, others)?;
        self.free(number, old.runs())?;
        if number < system::FIRST_USER {
            self.own.extend(runs);
        }
        Ok(())
    }

    /// Writes zeros to a part of a stream.
    fn zero(&mut self, stream: &Stream, from: u64, to: u64) -> Result<()> {
        let mut at = from;
        // Each turn moves on by at least a byte, inside clusters that the stream has.
        while at < to {
            let length = to.saturating_sub(at).min(CHUNK_BYTES);
            self.put_stream(Rank::Data, stream, at, &vec![0; read::size(length)])?;
            at = at.saturating_add(length);
        }
        Ok(())
    }

    /// Copies what a stream holds to other clusters.
    fn copy(&mut self, old: &Stream, runs: &[Run]) -> Result<()> {
        let mut new = old.clone();
        new.content = crate::stream::Content::Runs(runs.to_vec());
        let mut at = 0u64;
        // Each turn moves on by at least a byte of a stream that is in the volume.
        while at < old.size {
            let length = old.size.saturating_sub(at).min(CHUNK_BYTES);
            let mut chunk = vec![0; read::size(length)];
            old.read(&self.view.device, &self.view.geometry, at, &mut chunk)?;
            self.put_stream(Rank::Data, &new, at, &chunk)?;
            at = at.saturating_add(length);
        }
        Ok(())
    }

    /// Writes a new attribute list of a file.
    fn put_list(&mut self, file: Reference, rank: Rank, entries: &[Entry]) -> Result<()> {
        let bytes: Vec<u8> = entries.iter().flat_map(list_entry).collect();
        let record = self.view.record(file.record())?;
        let attribute = record.required(kind::ATTRIBUTE_LIST)?;
        let stream = Stream::first(file.record(), &attribute, &self.view.geometry)?;
        let length = bytes.len() as u64;
        let offset = attribute.offset;
        let mut editor = Editor::new(record.clone())?;
        if stream.is_resident() {
            editor.exchange(offset, resident(kind::ATTRIBUTE_LIST, &[], &bytes, false))?;
        } else if length <= stream.mapped(&self.view.geometry) {
            // The old list is gone with this: its records change in the same step.
            self.put_stream(rank, &stream, 0, &bytes)?;
            put_sizes(&mut editor, offset, Sizes { allocated: stream.allocated, size: length, initialized: length })?;
        } else {
            let clusters = length.div_ceil(self.view.geometry.cluster_bytes);
            let runs = self.take(file.record(), Vcn(0), clusters, None)?;
            self.put_content(&runs, Content::Small(&bytes))?;
            let allocated = clusters.saturating_mul(self.view.geometry.cluster_bytes);
            let sizes = Sizes { allocated, size: length, initialized: length };
            editor.exchange(offset, non_resident(kind::ATTRIBUTE_LIST, &[], &runs, sizes))?;
            self.free(file.record(), stream.runs())?;
        }
        self.put_record(rank, editor)
    }
}

/// Returns whether a record took an attribute; only a lack of room is an answer.
pub(super) fn accepted(answer: Result<()>) -> Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(Error::RecordFull { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the sizes of a non-resident attribute.
fn put_sizes(editor: &mut Editor, offset: usize, sizes: Sizes) -> Result<()> {
    let fields = [
        (attribute_at::ALLOCATED, sizes.allocated),
        (attribute_at::SIZE, sizes.size),
        (attribute_at::INITIALIZED, sizes.initialized),
    ];
    for (at, size) in fields {
        editor.put(offset.saturating_add(at), &size.to_le_bytes())?;
    }
    Ok(())
}

/// Returns whether a stream is the data of `$MFT`, which must stay where it is.
fn is_mft(number: u64, kind: u32) -> bool {
    number == system::MFT && kind == kind::DATA
}

/// Returns the runs from a VCN on.
fn from(runs: &[Run], vcn: Vcn) -> Vec<Run> {
    let behind = runs.iter().filter(|run| run.end() > vcn);
    let cut = |run: &Run| {
        let skipped = vcn.0.saturating_sub(run.vcn.0);
        Run {
            vcn: Vcn(run.vcn.0.saturating_add(skipped)),
            lcn: run.lcn.map(|lcn| Lcn(lcn.0.saturating_add(skipped))),
            clusters: run.clusters.saturating_sub(skipped),
        }
    };
    behind.map(cut).collect()
}

/// Returns an ATTRIBUTE_LIST_ENTRY as bytes.
fn list_entry(entry: &Entry) -> Vec<u8> {
    let head = size_of::<AttributeListEntry>();
    let length = head.saturating_add(entry.name.len()).next_multiple_of(8);
    let small = |number: usize| u8::try_from(number).expect("a name has at most 255 units");
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(entry.kind.to_le_bytes());
    bytes.extend(u16::try_from(length).expect("a name has at most 255 units").to_le_bytes());
    bytes.extend([small(entry.name.len() / 2), small(head)]);
    bytes.extend(entry.lowest.0.to_le_bytes());
    bytes.extend(entry.reference.0.to_le_bytes());
    bytes.extend(entry.id.to_le_bytes());
    bytes.extend(&entry.name);
    bytes.resize(length, 0);
    bytes
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::attribute_list;

    #[test]
    fn list_entries_are_read_back() {
        let names = [vec![], b"$\0I\x003\x000\0".to_vec(), b"x\0".to_vec()];
        let entries: Vec<Entry> = names
            .into_iter()
            .enumerate()
            .map(|(i, name)| Entry {
                kind: 0x80,
                name,
                lowest: Vcn(i as u64 * 7),
                reference: Reference::new(40 + i as u64, 3),
                id: i as u16,
            })
            .collect();
        let bytes: Vec<u8> = entries.iter().flat_map(list_entry).collect();
        assert_eq!(attribute_list::parse(&bytes, 40).unwrap(), entries);
    }

    #[test]
    fn runs_are_cut_at_a_vcn() {
        let run = |vcn, lcn, clusters| Run { vcn: Vcn(vcn), lcn: Some(Lcn(lcn)), clusters };
        let runs = [run(0, 100, 5), run(5, 900, 5)];
        assert_eq!(from(&runs, Vcn(0)), runs);
        assert_eq!(from(&runs, Vcn(3)), [run(3, 103, 2), run(5, 900, 5)]);
        assert_eq!(from(&runs, Vcn(5)), [run(5, 900, 5)]);
    }
}
