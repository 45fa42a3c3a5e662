//! What a partition table says, whichever kind it is: the disk, its partitions, and what is remarkable about them.

use std::fmt;

use super::error::{Defect, Error};
use super::layout;
use crate::Signature;
use coldforge_base::guid::Guid;
use coldforge_base::{ImageOffset, ReadAt, Refusal};

/// The result of reading a partition table.
pub type Result<T> = std::result::Result<T, Error>;

/// How a disk says where its volumes lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// It does not: it is one volume.
    Bare,
    /// By a GUID partition table.
    Gpt,
    /// By a master boot record.
    Mbr,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "no partition table",
            Self::Gpt => "GPT",
            Self::Mbr => "MBR",
        })
    }
}

/// What tells a disk from others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DiskId {
    /// The disk GUID of a GUID partition table.
    Gpt(Guid),
    /// The disk signature of a master boot record.
    Mbr(u32),
}

/// What a disk's table says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    /// How the disk is divided.
    pub scheme: Scheme,
    /// Bytes of a sector, the unit that the table counts in.
    pub sector_bytes: u32,
    /// What tells the disk from others; `None` for a bare volume.
    pub disk_id: Option<DiskId>,
    /// The partitions, in the order of their numbers.
    pub partitions: Vec<Partition>,
    /// Reasons not to write anything to this disk.
    pub refusals: Vec<Refusal>,
    /// What is remarkable and no reason.
    pub notes: Vec<Note>,
}

/// The type of a partition, as its table has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The whole disk is the volume.
    Bare,
    /// The type GUID.
    Gpt(Guid),
    /// The type byte.
    Mbr(u8),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare => f.write_str("whole disk"),
            Self::Gpt(guid) => write!(f, "{guid}"),
            Self::Mbr(kind) => write!(f, "{kind:#04x}"),
        }
    }
}

/// A range of the disk that is meant for a volume.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partition {
    /// The number: 1 to 4 for primary partitions, from 5 on for logical ones, the entry's place in a GUID partition
    /// table, 0 for a bare volume.
    pub number: u32,
    /// First byte.
    pub start: ImageOffset,
    /// Length in bytes.
    pub length_bytes: u64,
    /// The type.
    pub kind: Kind,
    /// The unique partition GUID of a GUID partition table.
    pub id: Option<Guid>,
    /// The name in a GUID partition table.
    pub name: Option<String>,
    /// The attribute bits of a GUID partition table, zero elsewhere.
    pub attributes: u64,
    /// Whether a master boot record calls it active: the one to boot.
    pub active: bool,
    /// What its first sector says.
    pub signature: Signature,
    /// The reason not to write to this partition.
    pub refusal: Option<Refusal>,
}

impl Partition {
    /// Tells whether the range holds logical partitions and no volume.
    pub fn is_extended(&self) -> bool {
        matches!(self.kind, Kind::Mbr(kind) if layout::is_extended(kind))
    }
}

/// Something remarkable about a table that is no reason not to write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Note {
    /// The last copy of the GUID partition table is unusable.
    BackupDamaged(Defect),
    /// The last copy does not lie at the end of the disk: the disk was enlarged.
    BackupInside(ImageOffset),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackupDamaged(defect) => write!(f, "the last copy of the GUID partition table has {defect}"),
            Self::BackupInside(at) => {
                write!(f, "the last copy of the GUID partition table lies at {at}, not at the end of the disk")
            }
        }
    }
}

/// Reads what a partition's first sector says.
pub(super) fn signature(device: &dyn ReadAt, start: u64, length_bytes: u64) -> Result<Signature> {
    let mut sector = [0; layout::SECTOR_BYTES];
    if length_bytes < sector.len() as u64 {
        return Ok(Signature::Unknown);
    }
    device.read_at(start, &mut sector)?;
    Ok(Signature::of(&sector))
}

/// Checks that no two ranges share a byte; each is a number to report, a first byte and a length.
pub(super) fn check_overlap(mut ranges: Vec<(u32, u64, u64)>) -> Result<()> {
    ranges.sort_unstable_by_key(|(_, start, _)| *start);
    let neighbours = ranges.iter().zip(ranges.iter().skip(1));
    for ((first, start, length), (second, next, _)) in neighbours {
        if start.saturating_add(*length) > *next {
            return Err(Error::Overlap { first: *first, second: *second, at: ImageOffset(*next) });
        }
    }
    Ok(())
}
