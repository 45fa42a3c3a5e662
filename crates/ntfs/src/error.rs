//! The errors of reading, overwriting and changing a volume, and the places in structures that they name.

use std::fmt;

use thiserror::Error;

use coldforge_base::read::OutOfBounds;
use coldforge_base::{Failure, FileOffset, Lcn, Vcn, VolumeOffset, device};

/// The result of every operation on a volume.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where among a volume's structures something is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// A byte of the attribute list of a file.
    AttributeList {
        /// Number of the file's base record.
        record: u64,
        /// Byte of the list.
        byte: usize,
    },
    /// A byte of an index block of a directory.
    IndexBlock {
        /// Number of the directory's base record.
        directory: u64,
        /// VCN of the block.
        vcn: Vcn,
        /// Byte of the block.
        byte: usize,
    },
    /// A byte of the index root of a directory.
    IndexRoot {
        /// Number of the directory's base record.
        directory: u64,
        /// Byte of the attribute's value.
        byte: usize,
    },
    /// A byte of a copy of a file record in `$MFTMirr`.
    Mirror {
        /// Number of the record.
        record: u64,
        /// Byte of the copy.
        byte: usize,
    },
    /// A byte of a file record of `$MFT`.
    Record {
        /// Number of the record.
        record: u64,
        /// Byte of the record.
        byte: usize,
    },
    /// A byte of `$LogFile`.
    LogFile {
        /// Byte of the file.
        at: FileOffset,
    },
}

impl Place {
    /// Returns the place `by` bytes further on.
    pub(super) fn plus(self, by: usize) -> Self {
        match self {
            Self::AttributeList { record, byte } => Self::AttributeList { record, byte: byte.saturating_add(by) },
            Self::IndexBlock { directory, vcn, byte } => {
                Self::IndexBlock { directory, vcn, byte: byte.saturating_add(by) }
            }
            Self::IndexRoot { directory, byte } => Self::IndexRoot { directory, byte: byte.saturating_add(by) },
            Self::Mirror { record, byte } => Self::Mirror { record, byte: byte.saturating_add(by) },
            Self::Record { record, byte } => Self::Record { record, byte: byte.saturating_add(by) },
            Self::LogFile { at } => Self::LogFile { at: FileOffset(at.0.saturating_add(by as u64)) },
        }
    }

    /// Returns a closure for `map_err` that says what could not be cut here.
    pub(super) fn cut(self) -> impl Fn(OutOfBounds) -> Error {
        move |source| Error::Cut { place: self, source }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AttributeList { record, byte } => {
                write!(f, "byte {byte:#x} of the attribute list of file {record:#x}")
            }
            Self::IndexBlock { directory, vcn, byte } => {
                write!(f, "byte {byte:#x} of the index block at VCN {vcn} of directory {directory:#x}")
            }
            Self::IndexRoot { directory, byte } => {
                write!(f, "byte {byte:#x} of the index root of directory {directory:#x}")
            }
            Self::Mirror { record, byte } => {
                write!(f, "byte {byte:#x} of the copy of file record {record:#x} in $MFTMirr")
            }
            Self::Record { record, byte } => write!(f, "byte {byte:#x} of file record {record:#x}"),
            Self::LogFile { at } => write!(f, "byte {at} of $LogFile"),
        }
    }
}

/// The fault in the mapping pairs of a non-resident attribute.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MappingFault {
    /// A pair has a length of zero or below.
    #[error("a run without clusters")]
    Empty,
    /// A number does not fit into 63 bits.
    #[error("a number that is too large")]
    Overflow,
    /// A run leaves the volume.
    #[error("a run outside the volume")]
    OutsideVolume,
    /// The attribute ends before the end mark.
    #[error("no end mark")]
    Unterminated,
    /// The runs do not hold the clusters that the attribute's header says.
    #[error("a number of clusters that differs from the attribute's header")]
    WrongCount,
}

/// An error of an operation on a volume.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// Two entries of a directory differ only by case, and the name that was asked for fits both.
    #[error("directory {directory:#x} holds several files of one name that differ only by case")]
    #[failure(refused, "E-NAME-AMBIGUOUS", hint = "rename all but one of them in a running Windows")]
    AmbiguousName {
        /// Number of the directory's base record.
        directory: u64,
    },

    /// The volume is encrypted by BitLocker.
    #[error("the volume is encrypted by BitLocker")]
    #[failure(
        unsupported,
        "E-BITLOCKER",
        hint = "decrypt the volume in Windows with `manage-bde -off`, then make a new image"
    )]
    BitLocker,

    /// A field of the boot sector has a value that no NTFS volume has.
    #[error("the boot sector has {field} {actual:#x} at {at}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    BootSector {
        /// Where the field is.
        at: VolumeOffset,
        /// The name of the field.
        field: &'static str,
        /// The value found.
        actual: u64,
    },

    /// A directory is case-sensitive.
    #[error("directory {record:#x} is case-sensitive")]
    #[failure(
        unsupported,
        "E-DIRECTORY-CASE",
        hint = "clear the flag in Windows with `fsutil file setCaseSensitiveInfo FOLDER disable`"
    )]
    CaseSensitive {
        /// Number of the directory's base record.
        record: u64,
    },

    /// A file's data is compressed (LZNT1).
    #[error("the data of file {record:#x} is compressed")]
    #[failure(unsupported, "E-FILE-COMPRESSED", hint = "decompress the file in Windows with `compact /u`")]
    Compressed {
        /// Number of the file's base record.
        record: u64,
    },

    /// A compression unit of a file is damaged.
    #[error("the compressed data at {at} of file {record:#x} is damaged")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    CompressedUnit {
        /// Number of the file's base record.
        record: u64,
        /// Where the unit begins.
        at: FileOffset,
    },

    /// A structure does not fit into what holds it.
    #[error("a structure at {place} extends past the end of its container")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    Cut {
        /// Where the buffer that was cut begins.
        place: Place,
        /// What was cut.
        source: OutOfBounds,
    },

    /// A security descriptor is not self-relative, or its parts leave it.
    #[error("a security descriptor of {length:#x} bytes has an impossible {field}")]
    #[failure(usage, hint = "give a self-relative security descriptor")]
    Descriptor {
        /// Length of the descriptor.
        length: usize,
        /// What is wrong in it.
        field: &'static str,
    },

    /// A directory that is to be deleted holds files.
    #[error("directory {record:#x} is not empty")]
    #[failure(refused, "E-DIRECTORY-NOT-EMPTY", hint = "delete what the directory holds first")]
    DirectoryNotEmpty {
        /// Number of the directory's base record.
        record: u64,
    },

    /// The virtual disk failed.
    #[error(transparent)]
    #[failure(transparent)]
    Device(#[from] device::Error),

    /// A file's data is encrypted by EFS.
    #[error("the data of file {record:#x} is encrypted")]
    #[failure(unsupported, "E-FILE-ENCRYPTED", hint = "decrypt the file in Windows with `cipher /d`")]
    Encrypted {
        /// Number of the file's base record.
        record: u64,
    },

    /// The extents of a stream do not join.
    #[error("an extent of file {record:#x} begins at VCN {actual}, not at {expected}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    ExtentGap {
        /// Number of the file's base record.
        record: u64,
        /// Where the extent must begin.
        expected: Vcn,
        /// Where it begins.
        actual: Vcn,
    },

    /// A field has a value that cannot be.
    #[error("{field} is {actual:#x} at {place}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    Field {
        /// Where the field is.
        place: Place,
        /// The value of the field.
        field: &'static str,
        /// The value found.
        actual: u64,
    },

    /// A cluster of a file is marked as free in `$Bitmap`.
    #[error("cluster {lcn} of file {record:#x} is marked as free in $Bitmap")]
    #[failure(refused, "E-VOLUME-CORRUPT", hint = REPAIR)]
    FreeCluster {
        /// Number of the file's base record.
        record: u64,
        /// The cluster.
        lcn: Lcn,
    },

    /// An index has entries so large, or so many levels, that this version does not change it.
    #[error("the index of file {record:#x} has no room for the entry")]
    #[failure(unsupported, "E-INDEX-FULL", hint = "make the change in a running Windows")]
    IndexFull {
        /// Number of the file's base record.
        record: u64,
    },

    /// The tree of a directory leads twice to one block.
    #[error("the index of directory {directory:#x} leads to VCN {vcn} twice")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    IndexLoop {
        /// Number of the directory's base record.
        directory: u64,
        /// The block.
        vcn: Vcn,
    },

    /// A name follows a greater one.
    #[error("the name at {place} is out of order")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    IndexOrder {
        /// Where the entry is.
        place: Place,
    },

    /// What was asked needs a file, and this is a directory.
    #[error("file {record:#x} is a directory")]
    #[failure(usage, hint = "name a file in it")]
    IsDirectory {
        /// Number of the directory's base record.
        record: u64,
    },

    /// The mapping pairs of a stream are damaged.
    #[error("the mapping pairs at byte {byte:#x} of file record {record:#x} contain {fault}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    MappingPairs {
        /// Number of the record that holds them.
        record: u64,
        /// First byte of the pairs in the record.
        byte: usize,
        /// What is wrong.
        fault: MappingFault,
    },

    /// A file lacks an attribute that it must have.
    #[error("file {record:#x} has no attribute of type {kind:#x}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    MissingAttribute {
        /// Number of the file's base record.
        record: u64,
        /// The type code of the attribute.
        kind: u32,
    },

    /// `$MFT` has to grow, and its own record has no room for one more run, or is continued by other records.
    #[error("$MFT cannot grow: its record has no room for more runs")]
    #[failure(
        unsupported,
        "E-MFT-FRAGMENTED",
        hint = "defragment $MFT in Windows with `defrag /x`, or with `contig -a $mft`"
    )]
    MftFragmented,

    /// A directory has no such name.
    #[error("directory {directory:#x} has no such name")]
    #[failure(not_found, hint = REPAIR)]
    NameMissing {
        /// Number of the directory's base record.
        directory: u64,
    },

    /// A directory has a file of that name already, but perhaps for the case of letters.
    #[error("directory {directory:#x} already has a file of that name")]
    #[failure(refused, "E-NAME-TAKEN", hint = "choose another name, or replace the file's content")]
    NameTaken {
        /// Number of the directory's base record.
        directory: u64,
    },

    /// A name that Windows does not allow.
    #[error("a name of {units} UTF-16 units {fault}")]
    #[failure(usage, hint = "choose a name that Windows allows")]
    NameUnfit {
        /// Length of the name.
        units: usize,
        /// The fault.
        fault: &'static str,
    },

    /// A security id is in no index, or its index entry leads to another descriptor.
    #[error("the security id {id:#x} of file {record:#x} leads to no descriptor in $Secure")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    NoDescriptor {
        /// Number of the file's base record.
        record: u64,
        /// The id.
        id: u32,
    },

    /// What was asked needs a directory, and this is a file.
    #[error("file {record:#x} is not a directory")]
    #[failure(usage, hint = "name the folder that holds it")]
    NotADirectory {
        /// Number of the file's base record.
        record: u64,
    },

    /// A reference leads to a record that holds no file.
    #[error("file record {record:#x} is not in use")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    NotInUse {
        /// Number of the record.
        record: u64,
    },

    /// The boot sector is not that of an NTFS volume.
    #[error("the boot sector at 0x0 has no NTFS signature")]
    #[failure(unsupported, "E-NOT-NTFS", hint = "name a partition that holds an NTFS volume")]
    NotNtfs,

    /// A range leaves the file.
    #[error("{length:#x} bytes at {at} lie outside file {record:#x} of {size:#x} bytes")]
    #[failure(usage, hint = REPAIR)]
    OutsideFile {
        /// Number of the file's base record.
        record: u64,
        /// First byte asked for.
        at: FileOffset,
        /// Number of bytes asked for.
        length: u64,
        /// Size of the file.
        size: u64,
    },

    /// A record number is past the end of `$MFT`.
    #[error("file record {record:#x} is not among the {records:#x} records of $MFT")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    OutsideMft {
        /// Number of the record.
        record: u64,
        /// Number of records.
        records: u64,
    },

    /// A cluster belongs to two runs.
    #[error("cluster {lcn} of file {record:#x} belongs to file {other:#x} as well")]
    #[failure(refused, "E-VOLUME-CORRUPT", hint = REPAIR)]
    Overlap {
        /// Number of the file's base record.
        record: u64,
        /// The first such cluster.
        lcn: Lcn,
        /// Number of the base record of the other file, or of the same.
        other: u64,
    },

    /// A file record has no room for its attributes.
    #[error("file record {record:#x} has {room:#x} free bytes, but {needed:#x} are needed")]
    #[failure(
        unsupported,
        "E-RECORD-FULL",
        hint = "free more space on the volume or defragment it in Windows, and try again"
    )]
    RecordFull {
        /// Number of the record.
        record: u64,
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that are free.
        room: usize,
    },

    /// The volume is ReFS.
    #[error("the volume is ReFS, not NTFS")]
    #[failure(unsupported, "E-REFS", hint = "use an image with Windows on an NTFS volume")]
    Refs,

    /// A file is a reparse point: its data is elsewhere.
    #[error("file {record:#x} is a reparse point with tag {tag:#x}")]
    #[failure(unsupported, "E-FILE-REPARSE", hint = "name the file that the reparse point leads to")]
    ReparsePoint {
        /// Number of the file's base record.
        record: u64,
        /// The reparse tag.
        tag: u32,
    },

    /// A stream ends before a structure that it must hold.
    #[error("{length:#x} bytes at {at} lie outside a stream of file {record:#x} of {size:#x} bytes")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    ShortStream {
        /// Number of the file's base record.
        record: u64,
        /// First byte that is needed.
        at: FileOffset,
        /// Number of bytes that are needed.
        length: u64,
        /// Size of the stream.
        size: u64,
    },

    /// A structure has another signature.
    #[error("the signature at {place} is {actual:02x?}, not {expected:02x?}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    Signature {
        /// Where the structure begins.
        place: Place,
        /// The signature.
        expected: [u8; 4],
        /// The value found.
        actual: [u8; 4],
    },

    /// The sizes of a stream contradict each other or its runs.
    #[error(
        "a stream of file {record:#x} has {mapped:#x} bytes in runs, {allocated:#x} allocated, {size:#x} used, {initialized:#x} initialized"
    )]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    Sizes {
        /// Number of the file's base record.
        record: u64,
        /// Bytes that the runs hold.
        mapped: u64,
        /// Allocated size.
        allocated: u64,
        /// Data size.
        size: u64,
        /// Initialized size.
        initialized: u64,
    },

    /// A file has holes, and a write may land in one.
    #[error("file {record:#x} is sparse")]
    #[failure(
        unsupported,
        "E-FILE-SPARSE",
        hint = "clear the sparse flag in Windows with `fsutil sparse setflag FILE 0`"
    )]
    Sparse {
        /// Number of the file's base record.
        record: u64,
    },

    /// A reference is older than the file in its record.
    #[error("a reference to file record {record:#x} has sequence number {expected:#x}, the record has {actual:#x}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    StaleReference {
        /// Number of the record.
        record: u64,
        /// The reference's sequence number.
        expected: u16,
        /// The record's.
        actual: u16,
    },

    /// The file belongs to NTFS itself.
    #[error("file {record:#x} belongs to the file system")]
    #[failure(
        refused,
        "E-FILE-SYSTEM",
        hint = "name a file that is neither part of the file system nor of its shadow copies"
    )]
    SystemFile {
        /// Number of the file's base record.
        record: u64,
    },

    /// A stream has more runs than this version holds in memory.
    #[error("file {record:#x} has more than {limit} runs")]
    #[failure(limit, hint = "defragment the volume in Windows")]
    TooFragmented {
        /// Number of the file's base record.
        record: u64,
        /// The bound.
        limit: usize,
    },

    /// A file is larger than the caller allows.
    #[error("file {record:#x} has {size:#x} bytes, more than the limit of {limit:#x}")]
    #[failure(limit, hint = "check that the path names the intended file")]
    TooLarge {
        /// Number of the file's base record.
        record: u64,
        /// Size of the file.
        size: u64,
        /// The bound.
        limit: u64,
    },

    /// A structure was written in part: the mark at the end of one of its 512-byte blocks is not its own.
    #[error("the update sequence number at {place} is {actual:#x}, not {expected:#x}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    Torn {
        /// Where the mark is.
        place: Place,
        /// The structure's update sequence number.
        expected: u16,
        /// The value found.
        actual: u16,
    },

    /// A file has an attribute that other parts of the file system point to.
    #[error("file {record:#x} has an attribute of type {kind:#x}, which other parts of the file system point to")]
    #[failure(unsupported, "E-FILE-TIED", hint = "delete the file in a running Windows")]
    Tied {
        /// Number of the file's base record.
        record: u64,
        /// The type code of the attribute.
        kind: u32,
    },

    /// The table of upper-case letters is not what any Windows wrote.
    #[error("$UpCase maps {unit:#x} to {actual:#x}")]
    #[failure(corrupt, "E-VOLUME-CORRUPT", hint = REPAIR)]
    Upcase {
        /// A code unit.
        unit: u16,
        /// What the table holds for it.
        actual: u16,
    },

    /// The volume has not enough free clusters.
    #[error("the volume has {free:#x} free bytes, {needed:#x} are needed")]
    #[failure(refused, "E-VOLUME-FULL", hint = "enlarge the volume, or delete files in it")]
    VolumeFull {
        /// Bytes that are needed, in whole clusters.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },

    /// A file is compressed by the Windows overlay filter (CompactOS).
    #[error("the data of file {record:#x} is compressed by the Windows overlay filter")]
    #[failure(
        unsupported,
        "E-FILE-WOF",
        hint = "decompress the file in Windows with `compact /u /exe`, or `compact /compactos:never`"
    )]
    Wof {
        /// Number of the file's base record.
        record: u64,
    },
}

/// The code of everything that `chkdsk` has to repair.
pub(super) const CORRUPT: &str = "E-VOLUME-CORRUPT";

/// What to do about it.
pub(super) const REPAIR: &str = "run `chkdsk /f` on the volume in Windows, shut Windows down, and make a new image";
