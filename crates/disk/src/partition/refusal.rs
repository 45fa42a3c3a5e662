//! The named reasons not to write to a disk or to a partition.

use super::error::Defect;
use super::layout;
use super::table::{Kind, Table};
use crate::Signature;
use coldforge_base::failure::Code;
use coldforge_base::{ImageOffset, Refusal};

const GPT_AMBIGUOUS: Code = Code::refusal(
    "E-GPT-AMBIGUOUS",
    "Two partition tables contradict each other, and which one Windows follows is not certain.",
    "remove the table that is not in use, for example with `gdisk`, on a copy of the image",
);
const GPT_DAMAGED: Code = Code::refusal(
    "E-GPT-DAMAGED",
    "The first copy of the GUID partition table is unusable.",
    "restore the table from its backup, for example with `gdisk`, on a copy of the image",
);
const HYBRID_MBR: Code = Code::refusal(
    "E-HYBRID-MBR",
    "The master boot record lists partitions beside those of the GUID partition table.",
    "make the master boot record a protective one, for example with `gdisk`, on a copy of the image",
);
const SECTOR_SIZE: Code = Code::refusal(
    "E-SECTOR-SIZE",
    "A disk with sectors larger than 512 bytes has a master boot record, whose unit is not certain then.",
    "use an image with a GUID partition table, or one with sectors of 512 bytes",
);
const TABLE_AMBIGUOUS: Code = Code::refusal(
    "E-TABLE-AMBIGUOUS",
    "Sector 0 is the boot sector of a volume and lists partitions as well.",
    "use an image that is either one volume or a disk with partitions",
);
const BITLOCKER: Code = Code::refusal(
    "E-BITLOCKER",
    "The volume is encrypted by BitLocker.",
    "decrypt the volume (`manage-bde -off`) before the image is taken",
);
const REFS: Code = Code::refusal("E-REFS", "The volume is ReFS.", "use an image whose Windows volume is NTFS");
const DYNAMIC_DISK: Code = Code::refusal(
    "E-DYNAMIC-DISK",
    "A partition belongs to a dynamic disk (logical disk manager).",
    "convert the disk to a basic one before the image is taken",
);
const STORAGE_SPACES: Code = Code::refusal(
    "E-STORAGE-SPACES",
    "A partition belongs to Storage Spaces.",
    "move Windows to a disk outside the storage pool before the image is taken",
);

/// Every reason that a partition table gives not to write to a disk.
pub const CODES: &[Code] = &[
    GPT_AMBIGUOUS,
    GPT_DAMAGED,
    HYBRID_MBR,
    SECTOR_SIZE,
    TABLE_AMBIGUOUS,
    BITLOCKER,
    REFS,
    DYNAMIC_DISK,
    STORAGE_SPACES,
];

/// Two tables say different things, and which one Windows follows is not certain.
pub fn gpt_ambiguous(reason: &'static str) -> Refusal {
    Refusal::new(&GPT_AMBIGUOUS, reason)
}

/// The first copy of the GUID partition table is unusable.
pub fn gpt_damaged(defect: Defect) -> Refusal {
    Refusal::new(
        &GPT_DAMAGED,
        format!("the first copy of the GUID partition table has {defect}, and the last one was read instead"),
    )
}

/// A master boot record and a GUID partition table both list partitions.
pub fn hybrid() -> Refusal {
    Refusal::new(&HYBRID_MBR, "the master boot record lists partitions beside those of the GUID table")
}

/// A master boot record on a disk whose container tells of larger sectors than the record is known to count in.
pub fn large_sectors(sector_bytes: u32) -> Refusal {
    Refusal::new(
        &SECTOR_SIZE,
        format!("the disk has sectors of {sector_bytes} bytes, and a master boot record instead of a GUID table"),
    )
}

/// A volume begins in sector 0, and the same sector lists partitions.
pub fn table_ambiguous() -> Refusal {
    Refusal::new(&TABLE_AMBIGUOUS, "sector 0 is a volume's boot sector and lists partitions as well")
}

/// Returns the reason not to write to a volume that begins so.
pub fn of_volume(signature: Signature, start: ImageOffset) -> Option<Refusal> {
    match signature {
        Signature::BitLocker => {
            Some(Refusal::new(&BITLOCKER, format!("the volume at {start} is encrypted by BitLocker")))
        }
        Signature::ReFs => Some(Refusal::new(&REFS, format!("the volume at {start} is ReFS"))),
        Signature::ExFat | Signature::Fat | Signature::Ntfs | Signature::Unknown => None,
    }
}

/// Adds the reasons that the types of the partitions give, each once.
pub fn add_by_type(table: &mut Table) {
    let first = |kinds: &[Kind]| table.partitions.iter().find(|partition| kinds.contains(&partition.kind));
    let dynamic =
        first(&[Kind::Mbr(layout::MBR_LDM), Kind::Gpt(layout::GPT_LDM_METADATA), Kind::Gpt(layout::GPT_LDM_DATA)]);
    let dynamic = dynamic.map(|partition| {
        Refusal::new(
            &DYNAMIC_DISK,
            format!("partition {} belongs to a dynamic disk (logical disk manager)", partition.number),
        )
    });
    let spaces = first(&[Kind::Mbr(layout::MBR_STORAGE_SPACES), Kind::Gpt(layout::GPT_STORAGE_SPACES)]);
    let spaces = spaces.map(|partition| {
        Refusal::new(&STORAGE_SPACES, format!("partition {} belongs to Storage Spaces", partition.number))
    });
    table.refusals.extend(dynamic.into_iter().chain(spaces));
}
