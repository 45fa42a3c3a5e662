//! Allocation of clusters from `$Bitmap`.
//!
//! One summary is kept for each 4 KiB of `$Bitmap` (32,768 clusters): 12 KiB of memory for 400 GiB of clusters of 4
//! KiB. The bits themselves are read again when they are needed. Clusters of NTFS's own files are never allocated,
//! whatever `$Bitmap` says. Clusters that a change frees cannot be allocated before the change is complete. The zone
//! after `$MFT`, an eighth of the volume, is reserved for `$MFT` while there is other free space.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::free_records::FreeRecords;
use crate::error::{Error, Result};
use crate::layout::{kind, name, system};
use crate::runs::{MOST_RUNS, Run, push};
use crate::stream::Stream;
use crate::volume::Volume;
use coldforge_base::{Extent, FileOffset, Lcn, ReadAt, Vcn, offset, read};

/// How many bytes of `$Bitmap` one summary is about.
const CHUNK_BYTES: u64 = 4096;
/// How many clusters one summary is about.
const CHUNK_BITS: u64 = CHUNK_BYTES * 8;

/// The largest `$MFT:$BITMAP` that is read: 2^29 records, which are half a terabyte of `$MFT`.
const MOST_RECORD_BITMAP_BYTES: u64 = 1 << 26;

/// The free clusters of one chunk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Summary {
    /// How many are free.
    free: u64,
    /// How many at its beginning.
    head: u64,
    /// How many at its end.
    tail: u64,
    /// How many in its longest run.
    longest: u64,
}

/// Which clusters and which records are free.
#[derive(Debug)]
pub(crate) struct Space {
    summaries: Vec<Summary>,
    clusters: u64,
    /// Clusters of NTFS's own files, sorted and apart.
    own: Vec<Extent>,
    /// What the edit took, sorted and apart.
    taken: Vec<Extent>,
    /// For which file the edit took it, by its first cluster.
    owners: BTreeMap<u64, u64>,
    /// Chunks whose summary differs from the disk.
    unsettled: BTreeSet<u64>,
    /// What the edit freed, sorted and apart.
    freed: Vec<Extent>,
    /// Free records.
    pub(super) records: FreeRecords,
}

impl Space {
    /// Sums `$Bitmap` up.
    ///
    /// # Errors
    /// Errors in `$Bitmap`, `$MFT:$BITMAP` or the runs of NTFS's own files.
    pub fn open<D: ReadAt>(volume: &Volume<D>) -> Result<Self> {
        let clusters = volume.geometry.clusters;
        let mut own = Vec::new();
        for number in system::MFT..=system::SECURE {
            let segments = volume.segments(volume.record(number)?)?;
            let mut streams = vec![(kind::DATA, &[][..]), (kind::BITMAP, &[])];
            match number {
                system::BAD_CLUSTERS => streams.push((kind::DATA, name::BAD)),
                system::SECURE => streams.push((kind::DATA, name::SDS)),
                _ => {}
            }
            for (kind, name) in streams {
                let stream = volume.stream(&segments, kind, name)?;
                own.extend(stream.iter().flat_map(Stream::runs).filter_map(located));
            }
        }
        let upcase = volume.system_data(system::UPCASE)?;
        own.extend(upcase.runs().iter().filter_map(located));
        let own = offset::normalize(own);
        let mft = volume.segments(volume.record(system::MFT)?)?;
        let record_bits = volume.required_stream(&mft, kind::BITMAP, &[])?;
        let record_bits = record_bits.read_all(&volume.device, &volume.geometry, MOST_RECORD_BITMAP_BYTES)?;
        let mut space = Self {
            summaries: Vec::new(),
            clusters,
            own,
            taken: Vec::new(),
            owners: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            freed: Vec::new(),
            records: FreeRecords::new(record_bits),
        };
        let bitmap = volume.system_data(system::BITMAP)?;
        for chunk in 0..clusters.div_ceil(CHUNK_BITS) {
            let summary = sum(&space.load(volume, &bitmap, chunk)?);
            space.summaries.push(summary);
        }
        Ok(space)
    }

    /// Returns how many clusters are free.
    pub fn free_clusters(&self) -> u64 {
        self.summaries.iter().fold(0, |sum, summary| sum.saturating_add(summary.free))
    }

    /// Returns the runs of at least `least` free clusters, in clusters, in ascending order.
    ///
    /// # Errors
    /// Errors in `$Bitmap`.
    pub fn free_runs<D: ReadAt>(&self, volume: &Volume<D>, least: u64) -> Result<Vec<Extent>> {
        let bitmap = volume.system_data(system::BITMAP)?;
        let mut found = Vec::new();
        let mut open = Extent::new(0, 0);
        let mut close = |run: Extent| {
            if run.length > 0 && run.length >= least {
                found.push(run);
            }
        };
        for (chunk, summary) in (0u64..).zip(&self.summaries) {
            if summary.free == 0 {
                close(std::mem::replace(&mut open, Extent::new(0, 0)));
                continue;
            }
            // A run may go on over the end of a chunk.
            for run in self.load(volume, &bitmap, chunk)?.runs() {
                if open.length > 0 && open.end() == run.offset {
                    open.length = open.length.saturating_add(run.length);
                } else {
                    close(std::mem::replace(&mut open, run));
                }
            }
        }
        close(open);
        Ok(found)
    }

    /// Takes `clusters` from VCN `first` of a file on: in one run if one is long enough, else in as few as possible.
    ///
    /// With a `goal`, they begin there if that cluster is free. `for_mft` prefers the zone after `$MFT`.
    ///
    /// # Errors
    /// [`Error::VolumeFull`]; [`Error::TooFragmented`]; errors in `$Bitmap`.
    pub fn take<D: ReadAt>(
        &mut self,
        volume: &Volume<D>,
        file: u64,
        (first, clusters): (Vcn, u64),
        goal: Option<Lcn>,
        for_mft: bool,
    ) -> Result<Vec<Run>> {
        let free = self.free_clusters();
        if clusters > free {
            let bytes = |clusters: u64| clusters.saturating_mul(volume.geometry.cluster_bytes);
            return Err(Error::VolumeFull { needed: bytes(clusters), free: bytes(free) });
        }
        let bitmap = volume.system_data(system::BITMAP)?;
        let mut found = Vec::new();
        let mut left = clusters;
        if let Some(goal) = goal {
            let here = self.free_at(volume, &bitmap, goal, left)?;
            if here > 0 {
                found.push(Extent::new(goal.0, here));
                left = left.saturating_sub(here);
                self.mark_taken(volume, &bitmap, file, Extent::new(goal.0, here))?;
            }
        }
        if left > 0 {
            let zone = self.zone(volume);
            let outside = [zone.end..self.clusters, 0..zone.start];
            let ranges = if for_mft {
                vec![zone, outside[0].clone(), outside[1].clone(), 0..self.clusters]
            } else {
                vec![outside[0].clone(), outside[1].clone(), 0..self.clusters]
            };
            let mut whole = None;
            for range in ranges {
                whole = self.first_run(volume, &bitmap, range, left)?;
                if whole.is_some() {
                    break;
                }
            }
            let parts = match whole {
                Some(lcn) => vec![Extent::new(lcn, left)],
                None => self.longest_runs(volume, &bitmap, left)?,
            };
            for part in parts {
                self.mark_taken(volume, &bitmap, file, part)?;
                found.push(part);
            }
        }
        let mut runs = Vec::new();
        let mut vcn = first;
        for part in found {
            push(&mut runs, Run { vcn, lcn: Some(Lcn(part.offset)), clusters: part.length });
            vcn = Vcn(vcn.0.saturating_add(part.length));
        }
        Ok(runs)
    }

    /// Checks that the clusters of some runs of a file can be its own.
    ///
    /// # Errors
    /// [`Error::FreeCluster`] if one is free, [`Error::Overlap`] if one is NTFS's own, of another file, or freed.
    pub fn check<D: ReadAt>(&self, volume: &Volume<D>, file: u64, runs: &[Run]) -> Result<()> {
        let bitmap = volume.system_data(system::BITMAP)?;
        for run in runs.iter().filter_map(located) {
            // NTFS's own files are asked about their own clusters as well.
            let own = if file < system::FIRST_USER { &[] } else { self.own.as_slice() };
            for (others, other) in [(own, system::MFT), (self.freed.as_slice(), file)] {
                if let Some(lcn) = first_shared(others, run) {
                    return Err(Error::Overlap { record: file, lcn, other });
                }
            }
            for piece in shared(&self.taken, run) {
                let owner = self.owners.get(&piece.offset).copied();
                if let Some(other) = owner.filter(|owner| *owner != file) {
                    return Err(Error::Overlap { record: file, lcn: Lcn(piece.offset), other });
                }
            }
            if let Some(lcn) = self.first_free(volume, &bitmap, run)? {
                return Err(Error::FreeCluster { record: file, lcn });
            }
        }
        Ok(())
    }

    /// Gives the clusters of some runs of a file back once the edit is over.
    ///
    /// # Errors
    /// As [`Space::check`].
    pub fn free<D: ReadAt>(&mut self, volume: &Volume<D>, file: u64, runs: &[Run]) -> Result<()> {
        for run in runs {
            self.check(volume, file, std::slice::from_ref(run))?;
            let Some(extent) = located(run) else { continue };
            let mut rest = vec![extent];
            for piece in shared(&self.taken, extent) {
                // The same edit took it: the disk calls it free, and will.
                self.taken.retain(|taken| taken.offset != piece.offset);
                self.owners.remove(&piece.offset);
                rest = rest.into_iter().flat_map(|part| without(part, piece)).collect();
                for kept in without(piece, extent) {
                    insert(&mut self.taken, kept);
                    self.owners.insert(kept.offset, file);
                }
            }
            for part in rest {
                insert(&mut self.freed, part);
            }
        }
        Ok(())
    }

    /// Returns the clusters that the edit took, and those that it freed.
    pub fn pending(&self) -> (&[Extent], &[Extent]) {
        (&self.taken, &self.freed)
    }

    /// Forgets the edit: on the disk everything is as `$Bitmap` says.
    ///
    /// # Errors
    /// Errors in `$Bitmap`.
    pub fn settle<D: ReadAt>(&mut self, volume: &Volume<D>) -> Result<()> {
        self.taken.clear();
        self.owners.clear();
        self.unsettled.extend(self.freed.drain(..).flat_map(chunks));
        let bitmap = volume.system_data(system::BITMAP)?;
        for chunk in std::mem::take(&mut self.unsettled) {
            self.sum_again(volume, &bitmap, chunk)?;
        }
        Ok(())
    }

    /// Learns that clusters became NTFS's own.
    pub fn add_own(&mut self, runs: &[Run]) {
        self.own.extend(runs.iter().filter_map(located));
        self.own = offset::normalize(std::mem::take(&mut self.own));
    }

    /// Returns the room that is left to `$MFT`.
    fn zone<D: ReadAt>(&self, volume: &Volume<D>) -> Range<u64> {
        let start = volume.geometry.mft.0;
        start..start.saturating_add(self.clusters / 8).min(self.clusters)
    }

    fn mark_taken<D: ReadAt>(&mut self, volume: &Volume<D>, bitmap: &Stream, file: u64, extent: Extent) -> Result<()> {
        insert(&mut self.taken, extent);
        self.owners.insert(extent.offset, file);
        self.unsettled.extend(chunks(extent));
        for chunk in chunks(extent) {
            self.sum_again(volume, bitmap, chunk)?;
        }
        Ok(())
    }

    fn sum_again<D: ReadAt>(&mut self, volume: &Volume<D>, bitmap: &Stream, chunk: u64) -> Result<()> {
        let summary = sum(&self.load(volume, bitmap, chunk)?);
        let slot = usize::try_from(chunk).ok().and_then(|chunk| self.summaries.get_mut(chunk));
        *slot.ok_or(Error::OutsideFile {
            record: system::BITMAP,
            at: FileOffset(chunk.saturating_mul(CHUNK_BYTES)),
            length: CHUNK_BYTES,
            size: self.clusters.div_ceil(8),
        })? = summary;
        Ok(())
    }

    /// Returns the bits of a chunk: those of clusters that can be taken are clear.
    fn load<D: ReadAt>(&self, volume: &Volume<D>, bitmap: &Stream, chunk: u64) -> Result<Bits> {
        let start = chunk.saturating_mul(CHUNK_BITS);
        let end = start.saturating_add(CHUNK_BITS).min(self.clusters);
        let bytes = end.saturating_sub(start).div_ceil(8);
        let mut buffer = vec![0xff; read::size(CHUNK_BYTES)];
        let known = buffer.get_mut(..read::size(bytes)).unwrap_or_default();
        bitmap.read(&volume.device, &volume.geometry, chunk.saturating_mul(CHUNK_BYTES), known)?;
        let words = buffer.chunks_exact(8).map(|word| read::u64_le(word, 0).unwrap_or(0));
        let mut bits = Bits { start, words: words.collect() };
        bits.set(end, start.saturating_add(CHUNK_BITS));
        for extents in [&self.own, &self.taken] {
            let after = extents.partition_point(|extent| extent.end() <= start);
            for extent in extents.iter().skip(after).take_while(|extent| extent.offset < end) {
                bits.set(extent.offset, extent.end());
            }
        }
        Ok(bits)
    }

    /// Returns how many clusters at `lcn` are free, `most` at most.
    fn free_at<D: ReadAt>(&self, volume: &Volume<D>, bitmap: &Stream, lcn: Lcn, most: u64) -> Result<u64> {
        let mut free = 0u64;
        // Each turn looks at another chunk of the volume.
        while free < most {
            let at = lcn.0.saturating_add(free);
            if at >= self.clusters {
                break;
            }
            let bits = self.load(volume, bitmap, at / CHUNK_BITS)?;
            let run = bits.runs().find(|run| (run.offset..run.end()).contains(&at));
            let Some(run) = run else { break };
            free = run.end().saturating_sub(lcn.0);
            if run.end() < bits.end() {
                break;
            }
        }
        Ok(free.min(most))
    }

    /// Returns where the first `clusters` contiguous free clusters of a range begin.
    fn first_run<D: ReadAt>(
        &self,
        volume: &Volume<D>,
        bitmap: &Stream,
        range: Range<u64>,
        clusters: u64,
    ) -> Result<Option<u64>> {
        let mut open = Extent::new(range.start, 0);
        if range.is_empty() {
            return Ok(None);
        }
        for chunk in chunks(Extent::new(range.start, range.end.saturating_sub(range.start))) {
            let (start, end) = (chunk.saturating_mul(CHUNK_BITS), chunk.saturating_add(1).saturating_mul(CHUNK_BITS));
            let is_whole = range.start <= start && end <= range.end;
            let known = usize::try_from(chunk).ok().and_then(|chunk| self.summaries.get(chunk)).copied();
            let mut summary = known.unwrap_or_default();
            let mut bits = None;
            if !is_whole && summary.free > 0 {
                let mut part = self.load(volume, bitmap, chunk)?;
                part.set(start, range.start);
                part.set(range.end, end);
                summary = sum(&part);
                bits = Some(part);
            }
            if open.length == 0 {
                open.offset = start;
            }
            if open.length.saturating_add(summary.head) >= clusters {
                return Ok(Some(open.offset));
            }
            if summary.longest >= clusters {
                let bits = match bits {
                    Some(bits) => bits,
                    None => self.load(volume, bitmap, chunk)?,
                };
                return Ok(bits.runs().find(|run| run.length >= clusters).map(|run| run.offset));
            }
            open = match summary.free {
                CHUNK_BITS => Extent::new(open.offset, open.length.saturating_add(CHUNK_BITS)),
                _ => Extent::new(end.saturating_sub(summary.tail), summary.tail),
            };
        }
        Ok(None)
    }

    /// Returns the longest free runs, as many as hold `clusters`, in the order of the disk.
    fn longest_runs<D: ReadAt>(&self, volume: &Volume<D>, bitmap: &Stream, clusters: u64) -> Result<Vec<Extent>> {
        let mut all: Vec<Extent> = Vec::new();
        for (chunk, summary) in (0u64..).zip(&self.summaries) {
            if summary.free == 0 {
                continue;
            }
            for run in self.load(volume, bitmap, chunk)?.runs() {
                match all.last_mut() {
                    Some(last) if last.end() == run.offset => last.length = last.length.saturating_add(run.length),
                    _ => all.push(run),
                }
            }
            if all.len() > MOST_RUNS {
                return Err(Error::TooFragmented { record: system::BITMAP, limit: MOST_RUNS });
            }
        }
        all.sort_by_key(|run| std::cmp::Reverse(run.length));
        let mut chosen = Vec::new();
        let mut left = clusters;
        for run in all {
            if left == 0 {
                break;
            }
            let length = run.length.min(left);
            chosen.push(Extent::new(run.offset, length));
            left = left.saturating_sub(length);
        }
        chosen.sort_unstable();
        Ok(chosen)
    }

    fn first_free<D: ReadAt>(&self, volume: &Volume<D>, bitmap: &Stream, run: Extent) -> Result<Option<Lcn>> {
        for chunk in chunks(run) {
            let mut bits = self.load(volume, bitmap, chunk)?;
            bits.set(0, run.offset);
            bits.set(run.end(), u64::MAX);
            if let Some(free) = bits.runs().next() {
                return Ok(Some(Lcn(free.offset)));
            }
        }
        Ok(None)
    }
}

/// The bits of a chunk.
struct Bits {
    start: u64,
    words: Vec<u64>,
}

impl Bits {
    fn end(&self) -> u64 {
        self.start.saturating_add((self.words.len() as u64).saturating_mul(64))
    }

    /// Sets the bits of the clusters `from..to`, as far as they are here.
    fn set(&mut self, from: u64, to: u64) {
        let from = from.max(self.start).saturating_sub(self.start);
        let to = to.min(self.end()).saturating_sub(self.start);
        for (index, word) in (0u64..).zip(&mut self.words) {
            let first = index.saturating_mul(64);
            let low = from.saturating_sub(first).min(64);
            let high = to.saturating_sub(first).min(64);
            if low < high {
                *word |= ones(high) & !ones(low);
            }
        }
    }

    /// Returns the runs of clear bits.
    fn runs(&self) -> impl Iterator<Item = Extent> + '_ {
        let mut at = 0u64;
        let end = (self.words.len() as u64).saturating_mul(64);
        std::iter::from_fn(move || {
            let from = self.next(at, end, 0)?;
            let to = self.next(from, end, u64::MAX).unwrap_or(end);
            at = to;
            Some(Extent::new(self.start.saturating_add(from), to.saturating_sub(from)))
        })
    }

    /// Returns the first bit at or after `at` that differs from those of `flip`: a clear one for 0, a set one for ones.
    fn next(&self, at: u64, end: u64, flip: u64) -> Option<u64> {
        let mut at = at;
        // Each turn moves on to the next word.
        while at < end {
            let index = usize::try_from(at / 64).ok()?;
            let word = (!(self.words.get(index)? ^ flip)) & !ones(at % 64);
            if word != 0 {
                return Some((at / 64).saturating_mul(64).saturating_add(u64::from(word.trailing_zeros())));
            }
            at = (at / 64).saturating_add(1).saturating_mul(64);
        }
        None
    }
}

/// Returns a word whose lowest `count` bits are set.
fn ones(count: u64) -> u64 {
    u32::try_from(count).ok().and_then(|count| 1u64.checked_shl(count)).map_or(u64::MAX, |bit| bit.wrapping_sub(1))
}

fn sum(bits: &Bits) -> Summary {
    let mut summary = Summary::default();
    for run in bits.runs() {
        summary.free = summary.free.saturating_add(run.length);
        summary.longest = summary.longest.max(run.length);
        if run.offset == bits.start {
            summary.head = run.length;
        }
        if run.end() == bits.end() {
            summary.tail = run.length;
        }
    }
    summary
}

/// Returns the chunks that hold some clusters.
fn chunks(extent: Extent) -> Range<u64> {
    extent.offset / CHUNK_BITS..extent.end().div_ceil(CHUNK_BITS)
}

/// Returns the clusters of a run; `None` for a hole.
fn located(run: &Run) -> Option<Extent> {
    run.lcn.map(|lcn| Extent::new(lcn.0, run.clusters))
}

/// Returns the first cluster of `run` that is in `sorted`.
fn first_shared(sorted: &[Extent], run: Extent) -> Option<Lcn> {
    let after = sorted.partition_point(|extent| extent.end() <= run.offset);
    let shared = sorted.get(after).filter(|extent| extent.offset < run.end())?;
    Some(Lcn(shared.offset.max(run.offset)))
}

/// Returns those of `sorted` that share a cluster with `run`, whole.
fn shared(sorted: &[Extent], run: Extent) -> Vec<Extent> {
    let after = sorted.partition_point(|extent| extent.end() <= run.offset);
    sorted.iter().skip(after).take_while(|extent| extent.offset < run.end()).copied().collect()
}

/// Returns what remains of an extent without another.
fn without(extent: Extent, other: Extent) -> impl Iterator<Item = Extent> {
    let before = Extent::new(extent.offset, other.offset.min(extent.end()).saturating_sub(extent.offset));
    let start = other.end().max(extent.offset);
    let behind = Extent::new(start, extent.end().saturating_sub(start));
    [before, behind].into_iter().filter(|part| part.length > 0)
}

/// Adds an extent to sorted ones that it does not overlap.
fn insert(sorted: &mut Vec<Extent>, extent: Extent) {
    let at = sorted.partition_point(|other| other.offset < extent.offset);
    sorted.insert(at, extent);
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn bits(free: &[Range<u64>]) -> Bits {
        let mut bits = Bits { start: CHUNK_BITS, words: vec![0; 512] };
        let mut at = CHUNK_BITS;
        for range in free {
            bits.set(at, CHUNK_BITS + range.start);
            at = CHUNK_BITS + range.end;
        }
        bits.set(at, CHUNK_BITS * 2);
        bits
    }

    #[test]
    fn runs_of_clear_bits_are_found_across_words() {
        let free = [0..3, 60..70, 128..192, 1000..1001, 32_760..32_768];
        let bits = bits(&free);
        let runs: Vec<_> = bits.runs().map(|run| run.offset - CHUNK_BITS..run.end() - CHUNK_BITS).collect();
        assert_eq!(runs, free);
        assert_eq!(sum(&bits), Summary { free: 3 + 10 + 64 + 1 + 8, head: 3, tail: 8, longest: 64 });
    }

    #[test]
    fn full_and_empty_chunks_have_no_run_and_one() {
        assert_eq!(sum(&bits(&[])), Summary::default());
        let all = CHUNK_BITS;
        assert_eq!(
            sum(&bits(std::slice::from_ref(&(0..all)))),
            Summary { free: all, head: all, tail: all, longest: all }
        );
    }
}
