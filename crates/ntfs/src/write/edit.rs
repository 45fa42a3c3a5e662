//! One change to a volume: planned completely in memory, then written in an order that survives a crash.

use std::collections::BTreeSet;

use super::order::{Changes, Rank};
use super::record::Editor;
use super::space::Space;
use super::stage::{Stage, Write};
use crate::bitmap;
use crate::error::{Error, Place, Result};
use crate::fixup;
use crate::layout::{kind, system};
use crate::runs::Run;
use crate::stream::Stream;
use crate::volume::Volume;
use coldforge_base::device::check_range;
use coldforge_base::time::FileTime;
use coldforge_base::{Extent, Lcn, ReadAt, Vcn, WriteAt, read};

/// A change under way.
pub(super) struct Edit<'a, 'c, D> {
    /// The volume as it will be.
    pub view: Volume<Stage<'a, D>>,
    pub space: Space,
    /// The moment of the change.
    pub now: FileTime,
    /// Whether names are removed: then leaves are written before their parents, else after them.
    pub is_removing: bool,
    /// Records that no file had before.
    fresh: BTreeSet<u64>,
    /// Clusters that NTFS's own files got.
    pub own: Vec<Run>,
    /// New content that is too large to be kept twice: where it goes, and the bytes.
    bulk: Vec<(u64, &'c [u8])>,
}

/// What is written at once of one sector or more of a bitmap.
const BITMAP_PART_BYTES: u64 = 512;
const BITMAP_PART_BITS: u64 = BITMAP_PART_BYTES * 8;

impl<D: WriteAt> Volume<D> {
    /// Plans a change, and writes it if the whole plan holds.
    ///
    /// # Errors
    /// What the plan answers, and then nothing was written; the device's, and then a part may be written.
    pub(super) fn edit<'c, T>(
        &mut self,
        now: FileTime,
        plan: impl FnOnce(&mut Edit<'_, 'c, D>) -> Result<T>,
    ) -> Result<(T, Changes)> {
        let space = match self.space.take() {
            Some(space) => *space,
            None => Space::open(self)?,
        };
        let view = self.on(Stage::new(&self.device));
        let mut edit =
            Edit { view, space, now, is_removing: false, fresh: BTreeSet::new(), own: Vec::new(), bulk: Vec::new() };
        let planned = plan(&mut edit).and_then(|planned| Ok((planned, edit.plan_bitmaps()?)));
        let Edit { view, mut space, bulk, own, .. } = edit;
        let (planned, bitmaps) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                space.records.settle(false);
                // If the summary cannot be read again, the next change reads all of `$Bitmap`.
                self.space = space.settle(self).is_ok().then(|| Box::new(space));
                return Err(error);
            }
        };
        let mft = view.mft.clone();
        let mut writes = view.into_device().into_writes();
        writes.extend(bitmaps);
        writes.sort_by_key(|write| write.rank);

        // Whoever holds a `File` from before must look again, also if the device fails half way.
        self.generation = self.generation.saturating_add(1);
        let changes = self.write_all(&bulk, &writes)?;
        self.mft = mft;
        space.records.settle(true);
        space.add_own(&own);
        space.settle(self)?;
        self.space = Some(Box::new(space));
        Ok((planned, changes))
    }

    /// Writes in order, and flushes after each step.
    fn write_all(&mut self, bulk: &[(u64, &[u8])], writes: &[Write]) -> Result<Changes> {
        let mut changes = Changes::default();
        let bulk = bulk.iter().map(|(at, bytes)| (Rank::Data, *at, *bytes));
        let writes = writes.iter().map(|write| (write.rank, write.at, write.bytes.as_slice()));
        let mut last = None;
        for (rank, at, bytes) in bulk.chain(writes).filter(|(_, _, bytes)| !bytes.is_empty()) {
            if last.is_some_and(|last| last != rank) {
                self.device.flush()?;
            }
            last = Some(rank);
            self.device.write_at(at, bytes)?;
            changes.push(rank.step(), Extent::new(at, bytes.len() as u64));
        }
        self.device.flush()?;
        changes.normalize();
        Ok(changes)
    }
}

impl<'c, D: ReadAt> Edit<'_, 'c, D> {
    /// Reads a record to change it.
    ///
    /// # Errors
    /// Errors in it.
    pub fn editor(&self, number: u64) -> Result<Editor> {
        Editor::new(self.view.record(number)?)
    }

    /// Keeps a changed record, and its copy in `$MFTMirr` if that repeats it.
    ///
    /// # Errors
    /// Errors in `$MFT` or `$MFTMirr`.
    pub fn put_record(&mut self, rank: Rank, editor: Editor) -> Result<()> {
        let number = editor.number();
        let rank = match number {
            system::MFT => Rank::MftHead,
            system::SECURE => Rank::Security,
            _ if self.fresh.contains(&number) => Rank::NewRecords,
            _ => rank,
        };
        let place = Place::Record { record: number, byte: 0 };
        let mut bytes = editor.into_bytes();
        fixup::protect(&mut bytes, place)?;
        let mirror = self.view.system_data(system::MFT_MIRROR)?;
        let (start, length) = (self.view.record_start(number), bytes.len() as u64);
        let mft = self.view.mft.clone();
        self.put_stream(rank, &mft, start, &bytes)?;
        if start.saturating_add(length) <= mirror.initialized {
            self.put_stream(rank, &mirror, start, &bytes)?;
        }
        Ok(())
    }

    /// Returns the place in the order of roots, their records and inner nodes of directories.
    pub fn upper(&self) -> Rank {
        if self.is_removing { Rank::IndexThen } else { Rank::IndexFirst }
    }

    /// Returns the place in the order of leaves of directories.
    pub fn lower(&self) -> Rank {
        if self.is_removing { Rank::IndexFirst } else { Rank::IndexThen }
    }

    /// Declares that no file had a record before: it can be written before anything leads to it.
    pub fn is_fresh(&mut self, number: u64) {
        self.fresh.insert(number);
    }

    /// Keeps bytes of a stream through its runs; they may be past its size, but not past its runs.
    ///
    /// # Errors
    /// [`Error::Sizes`], [`Error::Sparse`].
    pub fn put_stream(&mut self, rank: Rank, stream: &Stream, at: u64, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        for piece in stream.pieces(&self.view.geometry, at, bytes.len() as u64)? {
            let place = piece.at.ok_or(Error::Sparse { record: stream.file })?;
            let (part, tail) = rest.split_at(usize::try_from(piece.length).unwrap_or(usize::MAX));
            self.view.device.put(rank, place.0, part)?;
            rest = tail;
        }
        Ok(())
    }

    /// Keeps new content for the clusters of some runs, the last one filled up with zeros.
    ///
    /// # Errors
    /// The device's.
    pub fn put_content(&mut self, runs: &[Run], content: Content<'c, '_>) -> Result<()> {
        let cluster = self.view.geometry.cluster_bytes;
        let mut at = 0usize;
        for run in runs {
            let Some(lcn) = run.lcn else { continue };
            let length = usize::try_from(run.clusters.saturating_mul(cluster)).unwrap_or(usize::MAX);
            let start = self.view.geometry.cluster(lcn);
            let end = at.saturating_add(length);
            let stored = match content {
                Content::Bulk(bytes) => {
                    let part = bytes.get(at..end.min(bytes.len())).unwrap_or_default();
                    // Whole sectors as they are; the rest of the last one goes with the zeros after it.
                    let whole = part.len().saturating_sub(part.len() % 512);
                    let (whole_part, rest) = part.split_at(whole);
                    // What cannot be written must be known before anything is.
                    check_range(start, part.len(), self.view.device.len())?;
                    self.bulk.push((start, whole_part));
                    self.view.device.put(Rank::Data, start.saturating_add(whole as u64), rest)?;
                    part.len()
                }
                Content::Small(bytes) => {
                    let part = bytes.get(at..end.min(bytes.len())).unwrap_or_default();
                    self.view.device.put(Rank::Data, start, part)?;
                    part.len()
                }
            };
            let zeros = vec![0; length.saturating_sub(stored).min(usize::try_from(cluster).unwrap_or(usize::MAX))];
            self.view.device.put(Rank::Data, start.saturating_add(stored as u64), &zeros)?;
            at = end;
        }
        Ok(())
    }

    /// Takes clusters for a file; see [`Space::take`].
    ///
    /// # Errors
    /// As [`Space::take`].
    pub fn take(&mut self, file: u64, first: Vcn, clusters: u64, goal: Option<Lcn>) -> Result<Vec<Run>> {
        self.space.take(&self.view, file, (first, clusters), goal, file == system::MFT)
    }

    /// Gives the clusters of a file back; see [`Space::free`].
    ///
    /// # Errors
    /// As [`Space::free`].
    pub fn free(&mut self, file: u64, runs: &[Run]) -> Result<()> {
        self.space.free(&self.view, file, runs)
    }

    /// Marks a record as free.
    ///
    /// # Errors
    /// Errors in it or its bit.
    pub fn free_record(&mut self, number: u64) -> Result<()> {
        self.space.records.free(number)?;
        let mut editor = self.editor(number)?;
        editor.set_free()?;
        self.put_record(Rank::FreedRecords, editor)
    }

    /// Returns how many records `$MFT` has.
    pub fn records(&self) -> u64 {
        self.view.mft.initialized.checked_div(self.view.geometry.record_bytes as u64).unwrap_or(0)
    }

    /// Returns the writes of both bitmaps: first what becomes set, in the end what becomes clear.
    fn plan_bitmaps(&self) -> Result<Vec<Write>> {
        let mut writes = Vec::new();
        let (taken, freed) = self.space.pending();
        let bitmap = self.view.system_data(system::BITMAP)?;
        self.plan_bitmap(&bitmap, Rank::Bitmap, taken, freed, &mut writes)?;
        let (taken, freed) = self.space.records.pending();
        if taken.is_empty() && freed.is_empty() {
            return Ok(writes);
        }
        let single = |numbers: &BTreeSet<u64>| numbers.iter().map(|number| Extent::new(*number, 1)).collect::<Vec<_>>();
        let mft = self.view.segments(self.view.record(system::MFT)?)?;
        let bitmap = self.view.required_stream(&mft, kind::BITMAP, &[])?;
        if bitmap.is_resident() {
            return Err(Error::MftFragmented);
        }
        self.plan_bitmap(&bitmap, Rank::MftBitmap, &single(taken), &single(freed), &mut writes)?;
        Ok(writes)
    }

    fn plan_bitmap(
        &self,
        bitmap: &Stream,
        rank: Rank,
        taken: &[Extent],
        freed: &[Extent],
        writes: &mut Vec<Write>,
    ) -> Result<()> {
        let parts_of = |extent: &Extent| extent.offset / BITMAP_PART_BITS..extent.end().div_ceil(BITMAP_PART_BITS);
        let parts: BTreeSet<u64> = taken.iter().chain(freed).flat_map(parts_of).collect();
        for part in parts {
            let start = part.saturating_mul(BITMAP_PART_BYTES);
            let length = bitmap.size.saturating_sub(start).min(BITMAP_PART_BYTES);
            let mut bytes = vec![0; read::size(length)];
            bitmap.read(&self.view.device, &self.view.geometry, start, &mut bytes)?;
            let first = part.saturating_mul(BITMAP_PART_BITS);
            let mut set_bits = |extents: &[Extent], rank, is_used| -> Result<()> {
                let before = bytes.clone();
                for extent in extents {
                    set(&mut bytes, first, *extent, is_used);
                }
                if bytes == before {
                    return Ok(());
                }
                let mut rest = bytes.as_slice();
                for place in bitmap.places(&self.view.geometry, start, length)? {
                    let (now, tail) = rest.split_at(usize::try_from(place.length).unwrap_or(usize::MAX));
                    writes.push(Write { rank, at: place.offset, bytes: now.to_vec() });
                    rest = tail;
                }
                Ok(())
            };
            set_bits(taken, rank, true)?;
            set_bits(freed, Rank::FreedBits, false)?;
        }
        Ok(())
    }
}

/// New content of a stream.
#[derive(Clone, Copy)]
pub(super) enum Content<'c, 's> {
    /// Content that outlives the plan and is not read again while it is made.
    Bulk(&'c [u8]),
    /// A few bytes.
    Small(&'s [u8]),
}

impl Content<'_, '_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bulk(bytes) => bytes,
            Self::Small(bytes) => bytes,
        }
    }
}

/// Sets or clears the bits of an extent in a part of a bitmap that begins with bit `first`.
fn set(bytes: &mut [u8], first: u64, extent: Extent, is_used: bool) {
    let bits = (bytes.len() as u64).saturating_mul(8);
    let from = extent.offset.max(first).saturating_sub(first);
    let to = extent.end().saturating_sub(first).min(bits);
    for bit in from..to {
        bitmap::set(bytes, bit, is_used);
    }
}
