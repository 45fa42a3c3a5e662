//! The file allocation table: chains of clusters.

use std::collections::BTreeSet;

use super::boot::{Geometry, Width};
use super::{Error, Result};
use coldforge_base::{ReadAt, read};

/// How many bytes of the table are held at once.
const PAGE_BYTES: u64 = 4096;

/// What the table says of a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// The chain goes on here.
    Cluster(u32),
    /// The chain ends.
    End,
    /// The cluster is in no chain: free, bad, or with a number that is reserved.
    Other(u32),
}

/// Returns the clusters of the chain that begins at `first`, at most `limit`.
///
/// # Errors
/// [`Error::Link`], [`Error::CopiesDiffer`]; [`Error::ChainCircle`]; [`Error::ChainLong`] for a chain that is longer.
pub(super) fn chain(device: &dyn ReadAt, geometry: &Geometry, first: u32, limit: u64) -> Result<Vec<u32>> {
    let limit = limit.min(geometry.clusters);
    let mut table = Table { device, geometry, page: None };
    let mut seen = BTreeSet::new();
    let mut clusters = Vec::new();
    let (mut from, mut at) = (first, first);
    // Each turn takes another cluster, of which there are `limit`.
    loop {
        if !geometry.is_cluster(at) {
            return Err(Error::Link { from, to: at });
        }
        if !seen.insert(at) {
            return Err(Error::ChainCircle { first, again: at });
        }
        if clusters.len() as u64 >= limit {
            return Err(Error::ChainLong { first, limit });
        }
        clusters.push(at);
        match table.next(at)? {
            Next::End => return Ok(clusters),
            Next::Cluster(next) => (from, at) = (at, next),
            Next::Other(next) => return Err(Error::Link { from: at, to: next }),
        }
    }
}

/// A table with the page of each copy that was read last.
struct Table<'t> {
    device: &'t dyn ReadAt,
    geometry: &'t Geometry,
    page: Option<(u64, Vec<Vec<u8>>)>,
}

impl Table<'_> {
    /// Returns what all copies say of a cluster.
    fn next(&mut self, cluster: u32) -> Result<Next> {
        let at = u64::from(cluster).saturating_mul(self.geometry.width.bits()) / 8;
        let page = at / PAGE_BYTES;
        if self.page.as_ref().is_none_or(|(number, _)| *number != page) {
            self.page = Some((page, self.load(page)?));
        }
        let copies = self.page.as_ref().map(|(_, copies)| copies.as_slice()).unwrap_or_default();
        let into = usize::try_from(at % PAGE_BYTES).unwrap_or(usize::MAX);
        let mut values = copies.iter().map(|copy| entry(copy, into, cluster, self.geometry.width));
        let first = values.next().unwrap_or_default();
        if let Some(other) = values.find(|other| *other != first) {
            return Err(Error::CopiesDiffer { cluster, first, other });
        }
        // The highest numbers mean the same in each width: 0x..f7 a bad cluster, from 0x..f8 on the end of a chain.
        let top = match self.geometry.width {
            Width::Fat12 => 0x0fff,
            Width::Fat16 => 0xffff,
            Width::Fat32 => 0x0fff_ffff,
        };
        Ok(match first {
            end if end >= top & !0x7 => Next::End,
            next if self.geometry.is_cluster(next) => Next::Cluster(next),
            other => Next::Other(other),
        })
    }

    /// Reads a page of each copy, with a byte more: an entry of FAT12 may reach over the end.
    fn load(&self, page: u64) -> Result<Vec<Vec<u8>>> {
        let one = |start: &u64| {
            let at = start.saturating_add(page.saturating_mul(PAGE_BYTES));
            let length = self.device.len().saturating_sub(at).min(PAGE_BYTES.saturating_add(1));
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            self.device.read_at(at, &mut bytes)?;
            Ok(bytes)
        };
        std::iter::once(&self.geometry.table).chain(&self.geometry.mirrors).map(one).collect()
    }
}

/// Returns the entry of a cluster, which begins at byte `at`; one that is cut off is free.
fn entry(page: &[u8], at: usize, cluster: u32, width: Width) -> u32 {
    match width {
        Width::Fat12 => {
            let pair = u32::from(read::u16_le(page, at).unwrap_or_default());
            if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }
        }
        Width::Fat16 => u32::from(read::u16_le(page, at).unwrap_or_default()),
        Width::Fat32 => read::u32_le(page, at).unwrap_or_default() & 0x0fff_ffff,
    }
}
