//! Checks clusters: each belongs to one stream, and `$Bitmap` agrees.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::directories::Scope;
use super::finding::{About, Findings, Rule};
use super::table::Owned;
use crate::error::Result;
use crate::layout::system;
use crate::stream::Stream;
use crate::volume::Volume;
use coldforge_base::{ReadAt, read};

/// How much of `$Bitmap` is compared at once: the bits of 8,388,608 clusters.
const PIECE_BYTES: u64 = 1 << 20;

/// Checks that no cluster belongs to two streams, and leaves in `owned` the joined clusters in their order.
pub(super) fn check_shared<D: ReadAt>(volume: &Volume<D>, owned: &mut Vec<Owned>, findings: &mut Findings) {
    owned.par_sort_unstable();
    let mut told = BTreeSet::new();
    let mut joined: Vec<Owned> = Vec::with_capacity(owned.len());
    for run in owned.iter().copied() {
        match joined.last_mut() {
            Some(last) if run.start < last.end => {
                if told.insert((last.record, run.record)) && told.len() <= MOST_PAIRS {
                    let at = volume.record_place(run.record);
                    let (about, start) = (About::Record(last.record), run.start);
                    findings.number(Rule::RunsShared, run.record, about, at, start, start);
                }
                if run.end > last.end {
                    (last.end, last.record) = (run.end, run.record);
                }
            }
            Some(last) if run.start == last.end && run.record == last.record => last.end = run.end,
            _ => joined.push(run),
        }
    }
    *owned = joined;
}

/// The most pairs of records with shared clusters that are reported one by one.
const MOST_PAIRS: usize = 2000;

/// Compares `$Bitmap` with the clusters in use, which are in their order.
///
/// # Errors
/// Errors in `$Bitmap`.
pub(super) fn check_bitmap<D: ReadAt>(
    volume: &Volume<D>,
    owned: &[Owned],
    scope: Scope,
    findings: &mut Findings,
) -> Result<()> {
    let bitmap = volume.system_data(system::BITMAP)?;
    let clusters = volume.geometry.clusters;
    let bits = bitmap.size.saturating_mul(8);
    if bits < clusters {
        let at = volume.record_place(system::BITMAP);
        findings.number(Rule::BitmapSize, system::BITMAP, About::Whole, at, bits, clusters);
    }
    let mut compared = Compared { volume, bitmap: &bitmap, clusters, range: None };
    let mut rest = owned;
    let mut at = 0u64;
    // Each turn moves on through $Bitmap, as far as the device has clusters and what fills the last cluster of it.
    let cluster_bytes = volume.geometry.cluster_bytes;
    let most = clusters.min(volume.device.len().checked_div(cluster_bytes).unwrap_or(0).saturating_add(1));
    let end = bitmap.size.min(most.div_ceil(8).saturating_add(cluster_bytes));
    while at < end {
        let length = PIECE_BYTES.min(end.saturating_sub(at));
        let mut piece = vec![0; read::size(length)];
        bitmap.read(&volume.device, &volume.geometry, at, &mut piece)?;
        let first = at.saturating_mul(8);
        let mut expected = vec![0u8; piece.len()];
        let end_bit = first.saturating_add(length.saturating_mul(8));
        // Runs that end in this piece are done; one that goes on is seen again in the next.
        while let Some(run) = rest.first().filter(|run| run.start < end_bit) {
            set(&mut expected, run.start.max(first).saturating_sub(first), run.end.min(end_bit).saturating_sub(first));
            if run.end > end_bit {
                break;
            }
            rest = rest.get(1..).unwrap_or(&[]);
        }
        if clusters < end_bit {
            set(&mut expected, clusters.max(first).saturating_sub(first), length.saturating_mul(8));
        }
        if scope == Scope::Some {
            // Of clusters that are not known to be in use nothing can be said.
            for (expected, actual) in expected.iter_mut().zip(&piece) {
                *expected |= *actual;
            }
        }
        compared.piece(first, &piece, &expected, owned, findings);
        at = at.saturating_add(length);
    }
    compared.close(owned, findings);
    Ok(())
}

/// Sets the bits from `start` up to `end`.
fn set(bits: &mut [u8], start: u64, end: u64) {
    let index = |bit: u64| usize::try_from(bit / 8).unwrap_or(usize::MAX);
    let low = |bit: u64| u8::MAX.checked_shl(u32::try_from(bit % 8).unwrap_or(0)).unwrap_or(0);
    if start >= end {
        return;
    }
    let (first, last) = (index(start), index(end));
    if first == last {
        if let Some(byte) = bits.get_mut(first) {
            *byte |= low(start) & !low(end);
        }
        return;
    }
    if let Some(byte) = bits.get_mut(first) {
        *byte |= low(start);
    }
    if let Some(bytes) = bits.get_mut(first.saturating_add(1)..last) {
        bytes.fill(u8::MAX);
    }
    if let Some(byte) = bits.get_mut(last) {
        *byte |= !low(end);
    }
}

/// Clusters side by side of which `$Bitmap` says the same wrong thing.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    /// First cluster after the run.
    end: u64,
    rule: Rule,
}

#[derive(Debug)]
struct Compared<'a, D> {
    volume: &'a Volume<D>,
    bitmap: &'a Stream,
    clusters: u64,
    range: Option<Range>,
}

impl<D: ReadAt> Compared<'_, D> {
    fn piece(&mut self, first: u64, actual: &[u8], expected: &[u8], owned: &[Owned], findings: &mut Findings) {
        // Whole stretches are mostly equal, and comparing them is fast.
        const STRETCH: usize = 4096;
        let mut at = first;
        for (actual, expected) in actual.chunks(STRETCH).zip(expected.chunks(STRETCH)) {
            if actual != expected {
                for (byte, (actual, expected)) in (at / 8..).zip(actual.iter().zip(expected)) {
                    if actual != expected {
                        self.byte(byte.saturating_mul(8), *actual, *expected, owned, findings);
                    }
                }
            }
            at = at.saturating_add((actual.len() as u64).saturating_mul(8));
        }
    }

    fn byte(&mut self, first: u64, actual: u8, expected: u8, owned: &[Owned], findings: &mut Findings) {
        for bit in 0..8u8 {
            let mask = 1u8.wrapping_shl(bit.into());
            if (actual ^ expected) & mask == 0 {
                continue;
            }
            let cluster = first.saturating_add(bit.into());
            let rule = if cluster >= self.clusters {
                Rule::BitmapTail
            } else if actual & mask != 0 {
                Rule::BitmapUsed
            } else {
                Rule::BitmapFree
            };
            match &mut self.range {
                Some(range) if range.end == cluster && range.rule == rule => range.end = cluster.saturating_add(1),
                _ => {
                    self.close(owned, findings);
                    self.range = Some(Range { first: cluster, end: cluster.saturating_add(1), rule });
                }
            }
        }
    }

    /// Tells the range that ended.
    fn close(&mut self, owned: &[Owned], findings: &mut Findings) {
        let Some(Range { first, end, rule }) = self.range.take() else { return };
        let next = owned.partition_point(|run| run.end <= first);
        let owner = owned.get(next).filter(|run| run.start <= first).map(|run| run.record);
        let record = match rule {
            Rule::BitmapFree => owner.unwrap_or(system::BITMAP),
            _ => system::BITMAP,
        };
        let pieces = self.bitmap.pieces(&self.volume.geometry, first / 8, 1).unwrap_or_default();
        let at = pieces.first().and_then(|piece| piece.at).map_or(0, |at| at.0);
        findings.plain(rule, record, About::Clusters { first, count: end.saturating_sub(first) }, at);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_bits_are_set_at_any_distance() {
        for (start, end) in [(0u64, 0u64), (0, 1), (3, 5), (3, 8), (0, 8), (7, 9), (5, 40), (8, 48), (47, 48), (1, 48)]
        {
            let mut bits = vec![0u8; 6];
            set(&mut bits, start, end);
            for bit in 0..48u64 {
                let is_set = bits[bit as usize / 8] >> (bit % 8) & 1 == 1;
                assert_eq!(is_set, (start..end).contains(&bit), "{start}..{end}: {bit}");
            }
        }
    }
}
