//! The named reasons not to write to a disk or to a partition.

use super::error::Defect;
use super::layout;
use super::table::{Kind, Table};
use crate::Signature;
use coldforge_base::{ImageOffset, Refusal};

/// Two tables say different things, and which one Windows follows is not certain.
pub fn gpt_ambiguous(reason: &'static str) -> Refusal {
    Refusal {
        code: "E-GPT-AMBIGUOUS",
        reason: reason.to_owned(),
        hint: "remove the table that is not in use, for example with `gdisk`, on a copy of the image",
    }
}

/// The first copy of the GUID partition table is unusable.
pub fn gpt_damaged(defect: Defect) -> Refusal {
    Refusal {
        code: "E-GPT-DAMAGED",
        reason: format!("the first copy of the GUID partition table has {defect}, and the last one was read instead"),
        hint: "restore the table from its backup, for example with `gdisk`, on a copy of the image",
    }
}

/// A master boot record and a GUID partition table both list partitions.
pub fn hybrid() -> Refusal {
    Refusal {
        code: "E-HYBRID-MBR",
        reason: "the master boot record lists partitions beside those of the GUID table".to_owned(),
        hint: "make the master boot record a protective one, for example with `gdisk`, on a copy of the image",
    }
}

/// A master boot record on a disk whose container tells of larger sectors than the record is known to count in.
pub fn large_sectors(sector_bytes: u32) -> Refusal {
    Refusal {
        code: "E-SECTOR-SIZE",
        reason: format!(
            "the disk has sectors of {sector_bytes} bytes, and a master boot record instead of a GUID table"
        ),
        hint: "use an image with a GUID partition table, or one with sectors of 512 bytes",
    }
}

/// A volume begins in sector 0, and the same sector lists partitions.
pub fn table_ambiguous() -> Refusal {
    Refusal {
        code: "E-TABLE-AMBIGUOUS",
        reason: "sector 0 is a volume's boot sector and lists partitions as well".to_owned(),
        hint: "use an image that is either one volume or a disk with partitions",
    }
}

/// Returns the reason not to write to a volume that begins so.
pub fn of_volume(signature: Signature, start: ImageOffset) -> Option<Refusal> {
    match signature {
        Signature::BitLocker => Some(Refusal {
            code: "E-BITLOCKER",
            reason: format!("the volume at {start} is encrypted by BitLocker"),
            hint: "decrypt the volume (`manage-bde -off`) before the image is taken",
        }),
        Signature::ReFs => Some(Refusal {
            code: "E-REFS",
            reason: format!("the volume at {start} is ReFS"),
            hint: "use an image whose Windows volume is NTFS",
        }),
        Signature::ExFat | Signature::Fat | Signature::Ntfs | Signature::Unknown => None,
    }
}

/// Adds the reasons that the types of the partitions give, each once.
pub fn add_by_type(table: &mut Table) {
    let first = |kinds: &[Kind]| table.partitions.iter().find(|partition| kinds.contains(&partition.kind));
    let dynamic =
        first(&[Kind::Mbr(layout::MBR_LDM), Kind::Gpt(layout::GPT_LDM_METADATA), Kind::Gpt(layout::GPT_LDM_DATA)]);
    let dynamic = dynamic.map(|partition| Refusal {
        code: "E-DYNAMIC-DISK",
        reason: format!("partition {} belongs to a dynamic disk (logical disk manager)", partition.number),
        hint: "convert the disk to a basic one before the image is taken",
    });
    let spaces = first(&[Kind::Mbr(layout::MBR_STORAGE_SPACES), Kind::Gpt(layout::GPT_STORAGE_SPACES)]);
    let spaces = spaces.map(|partition| Refusal {
        code: "E-STORAGE-SPACES",
        reason: format!("partition {} belongs to Storage Spaces", partition.number),
        hint: "move Windows to a disk outside the storage pool before the image is taken",
    });
    table.refusals.extend(dynamic.into_iter().chain(spaces));
}
