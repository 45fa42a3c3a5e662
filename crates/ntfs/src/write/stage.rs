//! A device that keeps writes in memory: the changes of one edit before any of them reaches the disk.
//!
//! Structures are kept by sectors of 512 bytes, which no two structures share. Each sector knows its step in the order
//! of writes.

use std::collections::BTreeMap;

use super::order::Rank;
use coldforge_base::device::check_range;
use coldforge_base::{Extent, ReadAt, device, read};

const SECTOR_BYTES: u64 = 512;

type Sector = [u8; 512];
const _: () = assert!(size_of::<Sector>() as u64 == SECTOR_BYTES);

/// A view of a device with changes that the device does not have yet.
#[derive(Debug)]
pub(crate) struct Stage<'a, D> {
    base: &'a D,
    sectors: BTreeMap<u64, (Rank, Box<Sector>)>,
}

/// A write that has to be made.
#[derive(Debug)]
pub(super) struct Write {
    pub rank: Rank,
    pub at: u64,
    pub bytes: Vec<u8>,
}

impl<'a, D: ReadAt> Stage<'a, D> {
    pub fn new(base: &'a D) -> Self {
        Self { base, sectors: BTreeMap::new() }
    }

    /// Keeps bytes; a sector that was kept before keeps the later of both places in the order.
    pub fn put(&mut self, rank: Rank, at: u64, bytes: &[u8]) -> device::Result<()> {
        check_range(at, bytes.len(), self.len())?;
        let (mut at, mut rest) = (at, bytes);
        // Each turn takes at least a byte of `bytes`.
        while !rest.is_empty() {
            let start = at.saturating_sub(at % SECTOR_BYTES);
            let into = read::size(at.saturating_sub(start));
            let room = size_of::<Sector>().saturating_sub(into);
            let (part, tail) = rest.split_at(rest.len().min(room));
            if !self.sectors.contains_key(&start) {
                let mut sector = Box::<Sector>::new([0; _]);
                if part.len() < size_of::<Sector>() {
                    let length = self.len().saturating_sub(start).min(SECTOR_BYTES);
                    let length = read::size(length);
                    let known = read::slice_mut(&mut sector[..], 0, length)?;
                    self.base.read_at(start, known)?;
                }
                self.sectors.insert(start, (rank, sector));
            }
            // The sector is kept by now.
            let Some((kept, sector)) = self.sectors.get_mut(&start) else { continue };
            *kept = rank.max(*kept);
            read::put(&mut sector[..], into, part)?;
            at = at.saturating_add(part.len() as u64);
            rest = tail;
        }
        Ok(())
    }

    /// Returns what has to be written, neighbours of one rank joined, in the order of ranks.
    pub fn into_writes(self) -> Vec<Write> {
        let end = self.len();
        let mut writes: Vec<Write> = Vec::new();
        for (at, (rank, sector)) in self.sectors {
            let length = read::size(end.saturating_sub(at).min(SECTOR_BYTES));
            let bytes = read::slice(&sector[..], 0, length).unwrap_or_default();
            match writes.last_mut() {
                Some(last) if last.rank == rank && last.at.saturating_add(last.bytes.len() as u64) == at => {
                    last.bytes.extend_from_slice(bytes);
                }
                _ => writes.push(Write { rank, at, bytes: bytes.to_vec() }),
            }
        }
        writes.sort_by_key(|write| write.rank);
        writes
    }
}

impl<D: ReadAt> ReadAt for Stage<'_, D> {
    fn len(&self) -> u64 {
        self.base.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        self.base.read_at(at, buf)?;
        let extent = Extent::new(at, buf.len() as u64);
        let first = at.saturating_sub(at % SECTOR_BYTES);
        for (start, (_, sector)) in self.sectors.range(first..extent.end()) {
            let from = at.max(*start);
            let to = extent.end().min(start.saturating_add(SECTOR_BYTES));
            let small = |value: u64| read::size(value);
            let length = small(to.saturating_sub(from));
            let part = read::slice(&sector[..], small(from.saturating_sub(*start)), length)?;
            read::put(buf, small(from.saturating_sub(at)), part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use coldforge_base::device::Memory;

    #[test]
    fn what_was_kept_is_read_back_and_the_device_is_untouched() {
        let memory = Memory((0..1500u32).map(|i| i as u8).collect());
        let mut stage = Stage::new(&memory);
        stage.put(Rank::Data, 500, &[1; 30]).unwrap();
        stage.put(Rank::IndexThen, 1490, &[2; 10]).unwrap();
        let mut read = vec![0; 1500];
        stage.read_at(0, &mut read).unwrap();
        let mut expected = memory.0.clone();
        expected[500..530].fill(1);
        expected[1490..].fill(2);
        assert_eq!(read, expected);
        let mut part = [0; 20];
        stage.read_at(505, &mut part).unwrap();
        assert_eq!(part, [1; 20]);
        assert!(stage.put(Rank::Data, 1499, &[0; 2]).is_err());
    }

    #[test]
    fn writes_come_by_rank_and_neighbours_are_joined() {
        let memory = Memory(vec![0; 8192]);
        let mut stage = Stage::new(&memory);
        stage.put(Rank::IndexThen, 512, &[1; 512]).unwrap();
        stage.put(Rank::Data, 1024, &[2; 1024]).unwrap();
        stage.put(Rank::BaseRecords, 512, &[3; 4]).unwrap();
        let writes: Vec<_> = stage.into_writes().iter().map(|w| (w.rank, w.at, w.bytes.len())).collect();
        assert_eq!(writes, [(Rank::Data, 1024, 1024), (Rank::IndexThen, 512, 512)]);
    }
}
