//! What can be wrong with a partition table.

use thiserror::Error;

use coldforge_base::{Failure, ImageOffset, device};

/// A hint that several of these errors share.
const REPAIR: &str = "repair the partition table, for example with `gdisk` or `testdisk`, on a copy of the image";

/// A failure of this floor.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// A sector of the chain of logical partitions is none.
    #[error("the chain of logical partitions is broken at {at}")]
    #[failure(corrupt, "E-PARTITION-TABLE", hint = REPAIR)]
    Chain {
        /// The sector.
        at: ImageOffset,
    },

    /// The chain of logical partitions comes back to a sector, or is longer than any sane one.
    #[error("the chain of logical partitions does not end: it comes to {at} after {steps} steps")]
    #[failure(limit, "E-PARTITION-TABLE", hint = REPAIR)]
    ChainEndless {
        /// The sector.
        at: ImageOffset,
        /// How many sectors were followed.
        steps: usize,
    },

    /// The disk failed.
    #[error(transparent)]
    #[failure(transparent)]
    Device(#[from] device::Error),

    /// The master boot record announces a GUID partition table, and neither copy of it is sound.
    #[error("neither GUID partition table is sound: {primary} in the first copy, {backup} in the last")]
    #[failure(corrupt, "E-PARTITION-TABLE", hint = REPAIR)]
    GptUnsound {
        /// What is wrong with the copy at the beginning of the disk.
        primary: Defect,
        /// What is wrong with the copy at its end.
        backup: Defect,
    },

    /// There is no table, and no volume either.
    #[error("the disk has no partition table, and no volume begins with it")]
    #[failure(
        not_found,
        "E-NO-PARTITION-TABLE",
        hint = "check that this is the image of a whole Windows disk or of an NTFS volume"
    )]
    NoTable,

    /// A partition leaves the disk, or the part of it that is meant for partitions.
    #[error("partition {number} from {start} to {end:#x} lies outside its bounds {from:#x} to {to:#x}")]
    #[failure(
        corrupt,
        "E-PARTITION-TABLE",
        hint = "check that the image is complete, and repair its partition table if it is"
    )]
    Outside {
        /// The partition's number.
        number: u32,
        /// Its first byte.
        start: ImageOffset,
        /// The first byte behind it.
        end: u64,
        /// The first byte that it may have.
        from: u64,
        /// The first byte behind the last that it may have.
        to: u64,
    },

    /// Two partitions share bytes.
    #[error("partitions {first} and {second} overlap at {at}")]
    #[failure(corrupt, "E-PARTITION-TABLE", hint = REPAIR)]
    Overlap {
        /// One number.
        first: u32,
        /// The other number.
        second: u32,
        /// The first shared byte.
        at: ImageOffset,
    },

    /// There is more than one chain of logical partitions.
    #[error("partition {number} is a second extended partition")]
    #[failure(corrupt, "E-PARTITION-TABLE", hint = REPAIR)]
    SecondExtended {
        /// Its number.
        number: u32,
    },

    /// An entry is neither active nor inactive.
    #[error("partition entry {number} has the status {actual:#04x}, neither 0x00 nor 0x80")]
    #[failure(corrupt, "E-PARTITION-TABLE", hint = REPAIR)]
    Status {
        /// The entry's number.
        number: u32,
        /// The status.
        actual: u8,
    },
}

/// What makes a copy of a GUID partition table unusable.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Defect {
    /// There is no `EFI PART`.
    #[error("no header")]
    Absent,
    /// The entries' checksum is wrong.
    #[error("a wrong checksum of the entries")]
    EntriesChecksum,
    /// The entries lie outside the disk or where partitions may lie.
    #[error("entries at an impossible place")]
    EntriesPlace,
    /// The size or the number of the entries is impossible.
    #[error("an impossible number or size of entries")]
    EntriesSize,
    /// The header's checksum is wrong.
    #[error("a wrong checksum of the header")]
    HeaderChecksum,
    /// The header's size is impossible.
    #[error("an impossible header size")]
    HeaderSize,
    /// The header says that it lies elsewhere.
    #[error("a header that belongs elsewhere")]
    OwnPlace,
    /// The header is of an unknown revision.
    #[error("an unknown revision")]
    Revision,
    /// The range for partitions is impossible.
    #[error("an impossible range for partitions")]
    Usable,
}
