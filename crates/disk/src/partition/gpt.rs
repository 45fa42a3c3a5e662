//! The GUID partition table, with sectors of 512 or 4096 bytes.
//!
//! A VHDX tells the size of a sector. Elsewhere the first copy of the table does, because it lies in sector 1 and says
//! so. If that copy is unusable the last one is read, which lies in the last sector, and the disk is refused for
//! writing. The two copies have to say the same.

use zerocopy::FromBytes as _;

use super::error::{Defect, Error};
use super::layout::{GPT_ENTRY_BYTES, GptEntry, GptHeader};
use super::refusal;
use super::table::{DiskId, Kind, Note, Partition, Result, Scheme, Table, check_overlap, signature};
use coldforge_base::guid::Guid;
use coldforge_base::{ImageOffset, ReadAt, Refusal, read, utf16};

/// The sizes of a sector that are tried, in this order, where the container does not tell it.
const SECTOR_SIZES: [u32; 2] = [512, 4096];

/// Returns the sizes that a disk's sectors can have.
fn sector_sizes(device: &dyn ReadAt) -> impl Iterator<Item = u32> + use<> {
    let told = device.sector_bytes();
    SECTOR_SIZES.into_iter().filter(move |size| told.is_none_or(|told| told == *size))
}
/// The header of revision 1.0.
const REVISION: u32 = 0x0001_0000;
/// Every table in use has 16 KiB of entries; this bounds the memory for hostile ones.
const ENTRIES_BYTES_MAX: u64 = 1 << 20;
/// No larger entries than a sector are in use.
const ENTRY_BYTES_MAX: u32 = 4096;

/// The copies of a table that were found sound.
pub struct Tables {
    used: Copy,
    refusals: Vec<Refusal>,
    notes: Vec<Note>,
}

/// A sound copy of a table.
struct Copy {
    sector_bytes: u32,
    header: GptHeader,
    entries: Vec<u8>,
}

/// Finds the table whose first copy is sound; `None` if no sector size gives one.
///
/// # Errors
/// What reading the disk answers.
pub fn find(device: &dyn ReadAt) -> Result<Option<Tables>> {
    let mut found = Vec::new();
    for sector_bytes in sector_sizes(device) {
        found.extend(Copy::read(device, sector_bytes, 1)?.ok());
    }
    let mut found = found.into_iter();
    let Some(used) = found.next() else { return Ok(None) };
    let (mut refusals, mut notes) = (Vec::new(), Vec::new());
    if found.next().is_some() {
        refusals.push(refusal::gpt_ambiguous("there are GUID tables for sectors of 512 and of 4096 bytes"));
    }
    let alternate = used.header.alternate_lba.get();
    match Copy::read(device, used.sector_bytes, alternate)? {
        Err(defect) => notes.push(Note::BackupDamaged(defect)),
        Ok(backup) if !backup.says_the_same(&used) => {
            refusals.push(refusal::gpt_ambiguous("the two copies of the GUID table say different things"));
        }
        Ok(_) if Some(alternate) != last_lba(device, used.sector_bytes) => {
            notes.push(Note::BackupInside(ImageOffset(used.byte_of(alternate))));
        }
        Ok(_) => {}
    }
    Ok(Some(Tables { used, refusals, notes }))
}

/// Finds the table whose last copy is sound, where the first one is not.
///
/// # Errors
/// [`Error::GptUnsound`] if the last copy is not sound either; what reading the disk answers.
pub fn find_backup(device: &dyn ReadAt) -> Result<Tables> {
    let mut worst = (Defect::Absent, Defect::Absent);
    for sector_bytes in sector_sizes(device) {
        let primary = Copy::read(device, sector_bytes, 1)?.err().unwrap_or(Defect::Absent);
        let Some(last) = last_lba(device, sector_bytes) else { continue };
        match Copy::read(device, sector_bytes, last)? {
            Ok(used) => {
                let refusals = vec![refusal::gpt_damaged(primary)];
                return Ok(Tables { used, refusals, notes: Vec::new() });
            }
            Err(backup) => {
                worst.0 = if worst.0 == Defect::Absent { primary } else { worst.0 };
                worst.1 = if worst.1 == Defect::Absent { backup } else { worst.1 };
            }
        }
    }
    Err(Error::GptUnsound { primary: worst.0, backup: worst.1 })
}

fn last_lba(device: &dyn ReadAt, sector_bytes: u32) -> Option<u64> {
    device.len().checked_div(sector_bytes.into())?.checked_sub(1)
}

impl Tables {
    /// Reads the partitions.
    ///
    /// # Errors
    /// [`Error::Outside`] and [`Error::Overlap`]; what reading the disk answers.
    pub fn read(self, device: &dyn ReadAt) -> Result<Table> {
        let Self { used, refusals, notes } = self;
        let partitions = used.partitions(device)?;
        check_overlap(partitions.iter().map(|p| (p.number, p.start.0, p.length_bytes)).collect())?;
        Ok(Table {
            scheme: Scheme::Gpt,
            sector_bytes: used.sector_bytes,
            disk_id: Some(DiskId::Gpt(Guid(used.header.disk_guid))),
            partitions,
            refusals,
            notes,
        })
    }
}

impl Copy {
    /// Reads the copy whose header lies in a sector, and checks everything but the partitions.
    fn read(device: &dyn ReadAt, sector_bytes: u32, lba: u64) -> Result<std::result::Result<Self, Defect>> {
        let size = device.len();
        let length = read::size(sector_bytes);
        let at = lba
            .checked_mul(sector_bytes.into())
            .filter(|at| at.checked_add(sector_bytes.into()).is_some_and(|end| end <= size));
        let Some(at) = at else { return Ok(Err(Defect::Absent)) };
        let mut sector = vec![0; length];
        device.read_at(at, &mut sector)?;
        let (header, entries) = match check_header(&sector, sector_bytes, lba, size) {
            Ok(checked) => checked,
            Err(defect) => return Ok(Err(defect)),
        };
        // At most 1 MiB, as the check bounds it.
        let mut bytes = vec![0; read::size(entries.1)];
        device.read_at(entries.0, &mut bytes)?;
        if crc32fast::hash(&bytes) != header.partition_entry_array_crc32.get() {
            return Ok(Err(Defect::EntriesChecksum));
        }
        Ok(Ok(Self { sector_bytes, header, entries: bytes }))
    }

    /// Tells whether two copies describe the same disk with the same partitions.
    fn says_the_same(&self, other: &Self) -> bool {
        let what = |copy: &Self| {
            let header = &copy.header;
            (header.disk_guid, header.first_usable_lba, header.last_usable_lba, header.size_of_partition_entry)
        };
        what(self) == what(other) && self.entries == other.entries
    }

    fn byte_of(&self, lba: u64) -> u64 {
        lba.saturating_mul(self.sector_bytes.into())
    }

    fn partitions(&self, device: &dyn ReadAt) -> Result<Vec<Partition>> {
        let from = self.byte_of(self.header.first_usable_lba.get());
        let to = self.byte_of(self.header.last_usable_lba.get().saturating_add(1)).min(device.len());
        let entry_bytes = read::size(self.header.size_of_partition_entry.get());
        let mut partitions = Vec::new();
        // At most 8192 entries: 1 MiB of at least 128 bytes each.
        for (number, entry) in (1u32..).zip(self.entries.chunks_exact(entry_bytes)) {
            let Ok((entry, _)) = GptEntry::ref_from_prefix(entry) else { continue };
            if entry.partition_type_guid == Guid::NIL.0 {
                continue;
            }
            let start = self.byte_of(entry.starting_lba.get());
            let end = self.byte_of(entry.ending_lba.get().saturating_add(1));
            if start >= end || start < from || end > to {
                return Err(Error::Outside { number, start: ImageOffset(start), end, from, to });
            }
            let length_bytes = end.saturating_sub(start);
            partitions.push(Partition {
                number,
                start: ImageOffset(start),
                length_bytes,
                kind: Kind::Gpt(Guid(entry.partition_type_guid)),
                id: Some(Guid(entry.unique_partition_guid)),
                name: Some(utf16::decode_to_nul(&entry.partition_name)),
                attributes: entry.attributes.get(),
                active: false,
                signature: signature(device, start, length_bytes)?,
                refusal: None,
            });
        }
        Ok(partitions)
    }
}

/// Checks a header, and returns it with the first byte and the length of its entries.
fn check_header(
    sector: &[u8],
    sector_bytes: u32,
    lba: u64,
    size: u64,
) -> std::result::Result<(GptHeader, (u64, u64)), Defect> {
    let header = GptHeader::of(sector).filter(|header| header.signature == *b"EFI PART").ok_or(Defect::Absent)?;
    if header.revision.get() != REVISION {
        return Err(Defect::Revision);
    }
    let length = usize::try_from(header.header_size.get()).map_err(|_| Defect::HeaderSize)?;
    if length < size_of::<GptHeader>() {
        return Err(Defect::HeaderSize);
    }
    let whole = read::slice(sector, 0, length).map_err(|_| Defect::HeaderSize)?;
    if GptHeader::checksum(whole) != Some(header.header_crc32.get()) {
        return Err(Defect::HeaderChecksum);
    }
    if header.my_lba.get() != lba {
        return Err(Defect::OwnPlace);
    }
    let byte_of = |lba: u64| lba.checked_mul(sector_bytes.into());
    let first = byte_of(header.first_usable_lba.get()).ok_or(Defect::Usable)?;
    let behind = header.last_usable_lba.get().checked_add(1).and_then(byte_of).ok_or(Defect::Usable)?;
    if first >= behind || behind > size || first < u64::from(sector_bytes).saturating_mul(2) {
        return Err(Defect::Usable);
    }
    let own = byte_of(lba).ok_or(Defect::OwnPlace)?;
    if (first..behind).contains(&own) {
        return Err(Defect::Usable);
    }
    let entry_bytes = header.size_of_partition_entry.get();
    if !(GPT_ENTRY_BYTES..=ENTRY_BYTES_MAX).contains(&entry_bytes) || !entry_bytes.is_power_of_two() {
        return Err(Defect::EntriesSize);
    }
    let bytes = u64::from(header.number_of_partition_entries.get()).saturating_mul(entry_bytes.into());
    if bytes == 0 || bytes > ENTRIES_BYTES_MAX {
        return Err(Defect::EntriesSize);
    }
    let at = byte_of(header.partition_entry_lba.get()).ok_or(Defect::EntriesPlace)?;
    let end = at.checked_add(bytes).filter(|end| *end <= size).ok_or(Defect::EntriesPlace)?;
    let header_end = own.saturating_add(sector_bytes.into());
    let apart = |from: u64, to: u64| end <= from || at >= to;
    if at < sector_bytes.into() || !apart(first, behind) || !apart(own, header_end) {
        return Err(Defect::EntriesPlace);
    }
    Ok((*header, (at, bytes)))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::{layout, scan, tests::codes};
    use super::*;
    use coldforge_base::device::Memory;

    const BASIC: Guid = Guid::new(0xebd0_a0a2, 0xb9e5, 0x4433, [0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7]);
    const SECTORS: u64 = 256;

    /// A disk of 256 sectors with 128 entries, and both copies of the table.
    struct Disk {
        bytes: Vec<u8>,
        sector: usize,
        entries: Vec<u8>,
    }

    impl Disk {
        fn new(sector: usize) -> Self {
            let mut bytes = vec![0; SECTORS as usize * sector];
            bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
            bytes[450] = layout::PROTECTIVE;
            bytes[454..458].copy_from_slice(&1u32.to_le_bytes());
            bytes[458..462].fill(0xff);
            Self { bytes, sector, entries: vec![0; 128 * 128] }
        }

        fn entry(mut self, index: usize, kind: Guid, first: u64, last: u64, name: &str) -> Self {
            let entry = &mut self.entries[index * 128..][..128];
            entry[..16].copy_from_slice(&kind.0);
            entry[16..32].fill(index as u8 + 1);
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            entry[48..56].copy_from_slice(&(1u64 << 63).to_le_bytes());
            let name = utf16::encode(name);
            entry[56..56 + name.len()].copy_from_slice(&name);
            self
        }

        /// Writes both copies; `change` may spoil a header before its checksum is made.
        fn sealed(mut self, change: impl Fn(bool, &mut [u8])) -> Vec<u8> {
            let entry_sectors = (self.entries.len() / self.sector) as u64;
            for (primary, own, other, at) in
                [(true, 1, SECTORS - 1, 2), (false, SECTORS - 1, 1, SECTORS - 1 - entry_sectors)]
            {
                let mut header = vec![0; 92];
                header[..8].copy_from_slice(b"EFI PART");
                header[8..12].copy_from_slice(&REVISION.to_le_bytes());
                header[12..16].copy_from_slice(&92u32.to_le_bytes());
                for (place, value) in [(24, own), (32, other), (40, 2 + entry_sectors), (72, at)] {
                    header[place..place + 8].copy_from_slice(&value.to_le_bytes());
                }
                header[48..56].copy_from_slice(&(SECTORS - 2 - entry_sectors).to_le_bytes());
                header[56..72].fill(0xd1);
                header[80..84].copy_from_slice(&128u32.to_le_bytes());
                header[84..88].copy_from_slice(&128u32.to_le_bytes());
                header[88..92].copy_from_slice(&crc32fast::hash(&self.entries).to_le_bytes());
                change(primary, &mut header);
                let sum = GptHeader::checksum(&header).unwrap();
                header[16..20].copy_from_slice(&sum.to_le_bytes());
                let place = own as usize * self.sector;
                self.bytes[place..place + 92].copy_from_slice(&header);
                let place = at as usize * self.sector;
                self.bytes[place..place + self.entries.len()].copy_from_slice(&self.entries);
            }
            self.bytes
        }
    }

    fn sample(sector: usize) -> Disk {
        Disk::new(sector).entry(0, BASIC, 40, 49, "Basic data partition").entry(4, BASIC, 60, 60, "\u{00e9}nd")
    }

    fn rescan(bytes: Vec<u8>) -> Result<Table> {
        scan(&Memory(bytes))
    }

    #[test]
    fn entries_are_found_with_sectors_of_512_and_4096_bytes() {
        for sector in [512, 4096] {
            let table = rescan(sample(sector).sealed(|_, _| {})).unwrap();
            assert_eq!((table.scheme, table.sector_bytes), (Scheme::Gpt, sector as u32));
            assert_eq!(table.disk_id, Some(DiskId::Gpt(Guid([0xd1; 16]))));
            assert!(table.refusals.is_empty() && table.notes.is_empty(), "{table:?}");
            let listed: Vec<_> = table
                .partitions
                .iter()
                .map(|p| (p.number, p.start.0 / sector as u64, p.length_bytes / sector as u64, p.name.as_deref()))
                .collect();
            assert_eq!(listed, [(1, 40, 10, Some("Basic data partition")), (5, 60, 1, Some("\u{00e9}nd"))]);
            assert_eq!(table.partitions[1].id, Some(Guid([5; 16])));
            assert_eq!((table.partitions[0].kind, table.partitions[0].attributes), (Kind::Gpt(BASIC), 1 << 63));
        }
    }

    #[test]
    fn a_spoiled_first_copy_gives_way_to_the_last_and_is_refused_for_writing() {
        for sector in [512, 4096] {
            for at in [sector, sector + 30, sector + 60, 2 * sector] {
                let mut bytes = sample(sector).sealed(|_, _| {});
                bytes[at] ^= 1;
                let table = rescan(bytes).unwrap();
                assert_eq!(codes(&table), ["E-GPT-DAMAGED"], "byte {at}");
                assert_eq!(table.partitions, rescan(sample(sector).sealed(|_, _| {})).unwrap().partitions);
            }
        }
    }

    #[test]
    fn a_spoiled_last_copy_is_noted_and_an_unlike_one_is_refused() {
        let mut bytes = sample(512).sealed(|_, _| {});
        let last = bytes.len() - 512;
        bytes[last + 60] ^= 1;
        let table = rescan(bytes).unwrap();
        assert_eq!((table.notes, table.refusals), (vec![Note::BackupDamaged(Defect::HeaderChecksum)], vec![]));
        let unlike = sample(512).sealed(|primary, header| header[56] ^= u8::from(primary));
        assert_eq!(codes(&rescan(unlike).unwrap()), ["E-GPT-AMBIGUOUS"]);
        let mut enlarged = sample(512).sealed(|_, _| {});
        enlarged.resize(enlarged.len() + 5120, 0);
        let table = rescan(enlarged).unwrap();
        assert_eq!((table.notes, table.refusals), (vec![Note::BackupInside(ImageOffset(255 * 512))], vec![]));
    }

    #[test]
    fn every_impossible_header_is_a_defect_of_its_own_name() {
        let put = |at: usize, value: u64| {
            move |_: bool, header: &mut [u8]| header[at..at + 8].copy_from_slice(&value.to_le_bytes())
        };
        let half = |at: usize, value: u32| {
            move |_: bool, header: &mut [u8]| header[at..at + 4].copy_from_slice(&value.to_le_bytes())
        };
        let defects = |bytes: Vec<u8>| match rescan(bytes) {
            Err(Error::GptUnsound { primary, backup }) => {
                assert_eq!(primary, backup);
                primary
            }
            other => panic!("{other:?}"),
        };
        let with_half = |at, value| defects(sample(512).sealed(half(at, value)));
        let with = |at, value| defects(sample(512).sealed(put(at, value)));
        assert_eq!(with_half(0, 0), Defect::Absent);
        assert_eq!(with_half(8, 0x0002_0000), Defect::Revision);
        for length in [0, 91, 513, u32::MAX] {
            assert_eq!(with_half(12, length), Defect::HeaderSize, "header of {length} bytes");
        }
        assert_eq!(with(24, 7), Defect::OwnPlace);
        for (at, value) in [(40, 0), (40, 1), (40, 250), (40, u64::MAX), (48, 33), (48, 256), (48, u64::MAX)] {
            assert_eq!(with(at, value), Defect::Usable, "field {at} {value:#x}");
        }
        for (at, value) in [(80, 0), (80, u32::MAX), (80, 8193), (84, 0), (84, 1), (84, 64), (84, 129), (84, 8192)] {
            assert_eq!(with_half(at, value), Defect::EntriesSize, "field {at} {value:#x}");
        }
        for value in [0, 40, 200, 256, 1 << 40, u64::MAX] {
            assert_eq!(with(72, value), Defect::EntriesPlace, "entries at {value:#x}");
        }
        assert_eq!(with_half(88, 0), Defect::EntriesChecksum);
    }

    #[test]
    fn a_partition_outside_backwards_or_over_another_is_an_error() {
        for (first, last) in [(33, 40), (40, 223), (50, 49), (0, 10), (u64::MAX, u64::MAX), (40, u64::MAX)] {
            let bytes = Disk::new(512).entry(0, BASIC, first, last, "").sealed(|_, _| {});
            assert!(matches!(rescan(bytes), Err(Error::Outside { number: 1, .. })), "{first} to {last}");
        }
        let bytes = sample(512).entry(1, BASIC, 49, 55, "").sealed(|_, _| {});
        assert!(matches!(rescan(bytes), Err(Error::Overlap { first: 1, second: 2, .. })));
    }

    #[test]
    fn dynamic_disks_and_storage_spaces_are_refused_by_name() {
        for (kind, code) in [
            (layout::GPT_LDM_DATA, "E-DYNAMIC-DISK"),
            (layout::GPT_LDM_METADATA, "E-DYNAMIC-DISK"),
            (layout::GPT_STORAGE_SPACES, "E-STORAGE-SPACES"),
        ] {
            let table = rescan(sample(512).entry(9, kind, 100, 110, "").sealed(|_, _| {})).unwrap();
            assert_eq!((table.partitions.len(), codes(&table)), (3, vec![code]));
        }
    }

    #[test]
    fn two_truths_are_refused() {
        let mut hybrid = sample(512).sealed(|_, _| {});
        hybrid[462 + 4] = 7;
        hybrid[462 + 8] = 40;
        hybrid[462 + 12] = 10;
        assert_eq!(codes(&rescan(hybrid.clone()).unwrap()), ["E-HYBRID-MBR"]);
        hybrid[450] = 0;
        let table = rescan(hybrid.clone()).unwrap();
        assert_eq!((table.scheme, codes(&table)), (Scheme::Mbr, vec!["E-GPT-AMBIGUOUS"]));
        hybrid[462 + 4] = 0;
        let table = rescan(hybrid).unwrap();
        assert_eq!((table.scheme, codes(&table)), (Scheme::Gpt, vec!["E-GPT-AMBIGUOUS"]));
        let mut headless = sample(512).sealed(|_, _| {});
        headless[510] = 0;
        let table = rescan(headless).unwrap();
        assert_eq!((table.scheme, codes(&table)), (Scheme::Gpt, vec!["E-GPT-AMBIGUOUS"]));
        let mut volume = sample(512).sealed(|_, _| {});
        volume[3..11].copy_from_slice(b"NTFS    ");
        let table = rescan(volume).unwrap();
        assert_eq!((table.scheme, codes(&table)), (Scheme::Bare, vec!["E-GPT-AMBIGUOUS", "E-TABLE-AMBIGUOUS"]));
        let mut both = sample(4096).sealed(|_, _| {});
        let small = Disk::new(512).sealed(|_, header| {
            header[40..48].copy_from_slice(&100u64.to_le_bytes());
            header[72..80].copy_from_slice(&64u64.to_le_bytes());
        });
        both[512..604].copy_from_slice(&small[512..604]);
        assert_eq!(both[64 * 512..96 * 512], small[64 * 512..96 * 512], "no entries of either are there");
        let table = rescan(both).unwrap();
        assert_eq!((table.sector_bytes, codes(&table)), (512, vec!["E-GPT-AMBIGUOUS"]));
    }

    #[test]
    fn no_flipped_bit_of_the_tables_panics_or_lists_what_is_not_there() {
        let good = sample(512).sealed(|_, _| {});
        let expected = rescan(good.clone()).unwrap().partitions;
        for at in (446..512).chain(512..604).chain(1024..1300) {
            for bit in [0, 3, 7] {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                if let Ok(table) = rescan(bytes) {
                    assert!(table.scheme != Scheme::Gpt || table.partitions == expected, "byte {at} bit {bit}");
                }
            }
        }
        for sectors in 0..SECTORS as usize {
            let _ = rescan(good[..sectors * 512].to_vec());
            let _ = rescan(good[..sectors * 512 + 100].to_vec());
        }
    }
}
