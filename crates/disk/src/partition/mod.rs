//! Partition tables: where the volumes lie on a disk.
//!
//! [`scan`] reads a master boot record with its chain of logical partitions, a GUID partition table with sectors of 512
//! or 4096 bytes, or finds that the disk is one volume without a table. What is understood but must not be written to
//! (dynamic disks, Storage Spaces, two tables that contradict each other, BitLocker, ReFS) is listed as refusals, so
//! that a disk can be inspected all the same; what contradicts itself is an error. Tables are never written: Windows
//! knows its volumes by disk signature and offset, or by partition GUID.
//!
//! The names of Microsoft's and the UEFI specification's structures stand in `layout`.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod error;
mod gpt;
mod layout;
mod mbr;
mod refusal;
mod table;

pub use crate::Signature;
pub use error::{Defect, Error};
pub use refusal::CODES;
pub use table::{DiskId, Kind, Note, Partition, Result, Scheme, Table};

use coldforge_base::{ImageOffset, ReadAt};

/// Reads the partition table of a disk, or finds the one volume that it is.
///
/// # Errors
/// [`Error::NoTable`] if there is neither; otherwise what contradicts itself in the table, or what reading the disk
/// answers.
pub fn scan(device: &dyn ReadAt) -> Result<Table> {
    let mut sector = [0; layout::SECTOR_BYTES];
    if device.len() < sector.len() as u64 {
        return Err(Error::NoTable);
    }
    device.read_at(0, &mut sector)?;
    let record = layout::MasterBootRecord::of(&sector);
    let signature = Signature::of(&sector);
    let tables = gpt::find(device)?;

    // A volume's boot sector ends like a master boot record, and its text is no table; so volumes come first.
    let mut table = if signature != Signature::Unknown {
        let mut table = bare(device, signature);
        if tables.is_some() {
            table.refusals.push(refusal::gpt_ambiguous("a volume begins in sector 0, and a GUID table behind it"));
        }
        if record.is_some_and(|record| mbr::is_plausible(record, device.len())) {
            table.refusals.push(refusal::table_ambiguous());
        }
        table
    } else {
        match (record.filter(|record| record.is_protective() || !record.is_blank()), tables) {
            (None, None) => return Err(Error::NoTable),
            (None, Some(tables)) => {
                let mut table = tables.read(device)?;
                table.refusals.push(refusal::gpt_ambiguous(
                    "there is a GUID table without a master boot record that protects it",
                ));
                table
            }
            (Some(record), tables) if record.is_protective() => {
                let tables = tables.map_or_else(|| gpt::find_backup(device), Ok)?;
                let mut table = tables.read(device)?;
                if record.is_hybrid() {
                    table.refusals.push(refusal::hybrid());
                }
                table
            }
            (Some(record), tables) => {
                let mut table = mbr::read(device, record)?;
                let told = device.sector_bytes().filter(|told| *told != layout::MBR_SECTOR_BYTES);
                table.refusals.extend(told.map(refusal::large_sectors));
                if tables.is_some() {
                    table.refusals.push(refusal::gpt_ambiguous(
                        "there is a GUID table behind a master boot record that does not protect it",
                    ));
                }
                table
            }
        }
    };
    for partition in &mut table.partitions {
        partition.refusal = refusal::of_volume(partition.signature, partition.start);
    }
    refusal::add_by_type(&mut table);
    Ok(table)
}

fn bare(device: &dyn ReadAt, signature: Signature) -> Table {
    let whole = Partition {
        number: 0,
        start: ImageOffset(0),
        length_bytes: device.len(),
        kind: Kind::Bare,
        id: None,
        name: None,
        attributes: 0,
        active: false,
        signature,
        refusal: None,
    };
    Table {
        scheme: Scheme::Bare,
        sector_bytes: layout::MBR_SECTOR_BYTES,
        disk_id: None,
        partitions: vec![whole],
        refusals: Vec::new(),
        notes: Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use coldforge_base::device::Memory;

    pub(super) fn codes(table: &Table) -> Vec<&'static str> {
        table.refusals.iter().map(|refusal| refusal.code).collect()
    }

    #[test]
    fn a_bare_volume_is_found_whatever_its_boot_code_looks_like() {
        let mut sector = vec![0; 4096];
        sector[510..512].copy_from_slice(&[0x55, 0xaa]);
        sector[3..11].copy_from_slice(b"NTFS    ");
        sector[446..462].copy_from_slice(b"ressed\r\nPress Ct");
        let table = scan(&Memory(sector.clone())).unwrap();
        assert_eq!((table.scheme, table.disk_id, table.partitions.len()), (Scheme::Bare, None, 1));
        let volume = &table.partitions[0];
        assert_eq!((volume.number, volume.start, volume.length_bytes), (0, ImageOffset(0), 4096));
        assert_eq!((volume.signature, &volume.refusal, codes(&table)), (Signature::Ntfs, &None, vec![]));

        for (name, code) in [(b"-FVE-FS-", "E-BITLOCKER"), (b"ReFS\0\0\0\0", "E-REFS")] {
            sector[3..11].copy_from_slice(name);
            let table = scan(&Memory(sector.clone())).unwrap();
            assert_eq!(table.partitions[0].refusal.as_ref().map(|refusal| refusal.code), Some(code));
            assert!(table.refusals.is_empty(), "the refusal belongs to the partition");
        }
    }

    #[test]
    fn a_disk_without_table_and_volume_is_an_error() {
        for bytes in [vec![], vec![0; 511], vec![0; 4096], vec![0xff; 1 << 16]] {
            assert!(matches!(scan(&Memory(bytes)), Err(Error::NoTable)));
        }
    }
}
