//! The master boot record and the chain of logical partitions.
//!
//! Its sectors are taken to be 512 bytes: what Windows does with a master boot record on a disk of larger sectors is
//! not proven. An entry of type 0 or without sectors is unused.

use super::error::Error;
use super::layout::{self, MasterBootRecord, MbrEntry, SECTOR_BYTES};
use super::table::{DiskId, Kind, Partition, Result, Scheme, Table, check_overlap, signature};
use crate::Signature;
use coldforge_base::{ImageOffset, ReadAt};

/// Windows gives no more letters than 24; no sane chain has more logical partitions than this.
const CHAIN_STEPS_MAX: usize = 128;
/// The number of the first logical partition.
const FIRST_LOGICAL: u32 = 5;

/// Tells whether the record's entries could be partitions of a disk of `size` bytes, at least one of them.
pub fn is_plausible(record: &MasterBootRecord, size: u64) -> bool {
    let used = || record.entries.iter().filter(|entry| !entry.is_unused());
    record.entries.iter().all(|entry| matches!(entry.status, 0x00 | 0x80))
        && used().next().is_some()
        && used().all(|entry| entry.first_sector.get() > 0 && bytes(entry.first_sector.get()) < size)
}

/// Reads the primary and logical partitions of a disk whose master boot record is `record`.
///
/// # Errors
/// [`Error::NoTable`] if no entry is used; what contradicts itself; what reading the disk answers.
pub fn read(device: &dyn ReadAt, record: &MasterBootRecord) -> Result<Table> {
    let mut partitions = Vec::new();
    let mut extended = None;
    for (number, entry) in (1u32..).zip(&record.entries) {
        if !matches!(entry.status, 0x00 | 0x80) {
            return Err(Error::Status { number, actual: entry.status });
        }
        if entry.is_unused() {
            continue;
        }
        let space = Space { from: SECTOR_BYTES as u64, to: device.len() };
        let partition = space.place(device, number, 0, entry)?;
        if partition.is_extended() && extended.replace((partition.start.0, partition.length_bytes)).is_some() {
            return Err(Error::SecondExtended { number });
        }
        partitions.push(partition);
    }
    if partitions.is_empty() {
        return Err(Error::NoTable);
    }
    check_overlap(partitions.iter().map(range).collect())?;
    if let Some((start, length)) = extended {
        partitions.extend(follow(device, start, length)?);
    }
    Ok(Table {
        scheme: Scheme::Mbr,
        sector_bytes: layout::MBR_SECTOR_BYTES,
        disk_id: Some(DiskId::Mbr(record.disk_signature.get())),
        partitions,
        refusals: Vec::new(),
        notes: Vec::new(),
    })
}

/// Follows the chain of logical partitions through the extended partition that begins at `start`.
///
/// A logical partition's first sector counts from its own link, the next link's from the extended partition.
fn follow(device: &dyn ReadAt, start: u64, length: u64) -> Result<Vec<Partition>> {
    let space = Space { from: start, to: start.saturating_add(length) };
    let mut logical: Vec<Partition> = Vec::new();
    let mut links: Vec<u64> = Vec::new();
    let mut link = start;
    loop {
        let at = ImageOffset(link);
        if links.len() >= CHAIN_STEPS_MAX || links.contains(&link) {
            return Err(Error::ChainEndless { at, steps: links.len() });
        }
        links.push(link);
        let mut sector = [0; SECTOR_BYTES];
        device.read_at(link, &mut sector)?;
        let Some(record) = MasterBootRecord::of(&sector) else { return Err(Error::Chain { at }) };
        let [volume, next, others @ ..] = &record.entries;
        if others.iter().any(|entry| !entry.is_unused()) {
            return Err(Error::Chain { at });
        }
        if !volume.is_unused() {
            let number = logical.last().map_or(FIRST_LOGICAL, |last| last.number.saturating_add(1));
            if !matches!(volume.status, 0x00 | 0x80) || layout::is_extended(volume.kind) {
                return Err(Error::Chain { at });
            }
            logical.push(space.place(device, number, link, volume)?);
        }
        if next.is_unused() {
            break;
        }
        link = start.saturating_add(bytes(next.first_sector.get()));
        let inside = link >= space.from && link.saturating_add(SECTOR_BYTES as u64) <= space.to;
        if !layout::is_extended(next.kind) || !inside {
            return Err(Error::Chain { at });
        }
    }
    // A link that lies inside a volume would be its data: it is reported as the extended partition's number 0.
    let links = links.into_iter().map(|link| (0, link, SECTOR_BYTES as u64));
    check_overlap(logical.iter().map(range).chain(links).collect())?;
    Ok(logical)
}

fn range(partition: &Partition) -> (u32, u64, u64) {
    (partition.number, partition.start.0, partition.length_bytes)
}

fn bytes(sectors: u32) -> u64 {
    u64::from(sectors).saturating_mul(SECTOR_BYTES as u64)
}

/// The bytes that a partition may lie in.
struct Space {
    from: u64,
    to: u64,
}

impl Space {
    /// Returns the partition of an entry whose sectors count from `base`.
    fn place(&self, device: &dyn ReadAt, number: u32, base: u64, entry: &MbrEntry) -> Result<Partition> {
        let start = base.saturating_add(bytes(entry.first_sector.get()));
        let length_bytes = bytes(entry.sectors.get());
        let end = start.saturating_add(length_bytes);
        if start < self.from || end > self.to {
            return Err(Error::Outside { number, start: ImageOffset(start), end, from: self.from, to: self.to });
        }
        let signature = match entry.kind {
            kind if layout::is_extended(kind) => Signature::Unknown,
            _ => signature(device, start, length_bytes)?,
        };
        Ok(Partition {
            number,
            start: ImageOffset(start),
            length_bytes,
            kind: Kind::Mbr(entry.kind),
            id: None,
            name: None,
            attributes: 0,
            active: entry.status == 0x80,
            signature,
            refusal: None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::{scan, tests::codes};
    use super::*;
    use coldforge_base::device::Memory;

    struct Disk(Vec<u8>);

    impl Disk {
        fn new(sectors: usize) -> Self {
            let mut disk = Self(vec![0; sectors * 512]);
            disk.mark(0);
            disk.0[440..444].copy_from_slice(&0x1234_5678u32.to_le_bytes());
            disk
        }

        fn mark(&mut self, sector: usize) {
            self.0[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xaa]);
        }

        fn entry(mut self, sector: usize, index: usize, status: u8, kind: u8, first: u32, count: u32) -> Self {
            self.mark(sector);
            let at = sector * 512 + 446 + index * 16;
            self.0[at] = status;
            self.0[at + 4] = kind;
            self.0[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            self.0[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
            self
        }

        fn scan(self) -> Result<Table> {
            scan(&Memory(self.0))
        }
    }

    /// Two primaries and an extended partition of 100 sectors with two logical ones, the second link behind.
    fn chained() -> Disk {
        Disk::new(400)
            .entry(0, 0, 0x80, 0x07, 8, 92)
            .entry(0, 2, 0x00, 0x0f, 100, 100)
            .entry(0, 3, 0x00, 0x27, 300, 100)
            .entry(100, 0, 0, 0x07, 2, 20)
            .entry(100, 1, 0, 0x05, 50, 50)
            .entry(150, 0, 0, 0x0b, 1, 49)
    }

    #[test]
    fn primary_and_logical_partitions_are_listed_by_their_numbers() {
        let table = chained().scan().unwrap();
        assert_eq!((table.scheme, table.disk_id), (Scheme::Mbr, Some(DiskId::Mbr(0x1234_5678))));
        let listed: Vec<_> = table
            .partitions
            .iter()
            .map(|p| (p.number, p.start.0 / 512, p.length_bytes / 512, p.kind, p.active, p.is_extended()))
            .collect();
        assert_eq!(
            listed,
            [
                (1, 8, 92, Kind::Mbr(0x07), true, false),
                (3, 100, 100, Kind::Mbr(0x0f), false, true),
                (4, 300, 100, Kind::Mbr(0x27), false, false),
                (5, 102, 20, Kind::Mbr(0x07), false, false),
                (6, 151, 49, Kind::Mbr(0x0b), false, false),
            ]
        );
        assert!(table.refusals.is_empty());
    }

    #[test]
    fn what_lies_outside_overlaps_or_has_no_status_is_an_error() {
        let one = |status, kind, first, count| Disk::new(400).entry(0, 0, status, kind, first, count);
        assert!(matches!(one(0, 7, 0, 10).scan(), Err(Error::Outside { number: 1, .. })));
        assert!(matches!(one(0, 7, 399, 2).scan(), Err(Error::Outside { .. })));
        assert!(matches!(one(0, 7, u32::MAX, u32::MAX).scan(), Err(Error::Outside { .. })));
        assert!(matches!(one(0x81, 7, 8, 2).scan(), Err(Error::Status { number: 1, actual: 0x81 })));
        assert!(matches!(one(0, 0, 8, 2).scan(), Err(Error::NoTable)));
        assert!(matches!(one(0, 7, 8, 0).scan(), Err(Error::NoTable)));
        let two = one(0, 7, 8, 10).entry(0, 2, 0, 7, 17, 4);
        assert!(matches!(two.scan(), Err(Error::Overlap { first: 1, second: 3, .. })));
        let two = one(0, 5, 8, 10).entry(0, 2, 0, 0x0f, 20, 4);
        assert!(matches!(two.scan(), Err(Error::SecondExtended { number: 3 })));
    }

    #[test]
    fn a_chain_that_loops_leaves_or_breaks_is_an_error() {
        let with = |sector, index, kind, first, count| chained().entry(sector, index, 0, kind, first, count).scan();
        assert!(matches!(with(150, 1, 0x05, 50, 50), Err(Error::ChainEndless { steps: 2, .. })), "onto itself");
        assert!(matches!(with(150, 1, 0x05, 0, 50), Err(Error::ChainEndless { .. })), "onto the first");
        assert!(matches!(with(150, 1, 0x05, 100, 50), Err(Error::Chain { .. })), "behind its end");
        assert!(matches!(with(150, 1, 0x05, u32::MAX, 50), Err(Error::Chain { .. })));
        assert!(matches!(with(150, 1, 0x07, 60, 50), Err(Error::Chain { .. })), "no link");
        assert!(matches!(with(150, 1, 0x05, 60, 40), Err(Error::Chain { .. })), "no mark there");
        assert!(matches!(with(150, 2, 0x07, 60, 40), Err(Error::Chain { .. })), "a third entry");
        assert!(matches!(with(150, 0, 0x07, 1, 50), Err(Error::Outside { number: 6, .. })), "beyond the extended");
        assert!(matches!(with(150, 0, 0x07, 0, 40), Err(Error::Overlap { .. })), "over its own link");
        assert!(matches!(with(100, 0, 0x07, 2, 60), Err(Error::Overlap { .. })), "over the next link");
        let mut long = Disk::new(400).entry(0, 0, 0, 0x05, 100, 300);
        for step in 0..200 {
            long = long.entry(100 + step, 1, 0, 0x05, step as u32 + 1, 1);
        }
        assert!(matches!(long.scan(), Err(Error::ChainEndless { steps: 128, .. })));
    }

    #[test]
    fn dynamic_disks_and_storage_spaces_are_listed_and_refused() {
        let table = Disk::new(400).entry(0, 0, 0, 0x42, 63, 300).scan().unwrap();
        assert_eq!((table.partitions.len(), codes(&table)), (1, vec!["E-DYNAMIC-DISK"]));
        let table = Disk::new(400).entry(0, 0, 0, 0xe7, 63, 300).scan().unwrap();
        assert_eq!(codes(&table), ["E-STORAGE-SPACES"]);
    }

    #[test]
    fn no_flipped_byte_of_the_tables_panics_or_runs_on() {
        let good = chained().0;
        for sector in [0, 100, 150] {
            for at in 446..512 {
                for value in [0x00, 0x01, 0x05, 0x7f, 0x80, 0xee, 0xff] {
                    let mut disk = good.clone();
                    disk[sector * 512 + at] = value;
                    if let Ok(table) = scan(&Memory(disk)) {
                        assert!(table.partitions.iter().all(|p| p.start.0 + p.length_bytes <= 400 * 512));
                    }
                }
            }
        }
    }
}
