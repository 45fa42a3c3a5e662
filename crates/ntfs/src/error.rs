//! What can be wrong with a volume, and the refusals of reading and overwriting.

use std::fmt;

use thiserror::Error;

use coldforge_base::read::OutOfBounds;
use coldforge_base::{Failure, FileOffset, Kind, Lcn, Vcn, VolumeOffset, device};

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

/// What is wrong with the mapping pairs of a non-resident attribute.
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
    #[error("another number of clusters than the attribute's header")]
    WrongCount,
}

/// A failure of this floor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Two entries of a directory differ only by case, and the name that was asked for fits both.
    #[error("directory {directory:#x} holds several files of one name that differ only by case")]
    AmbiguousName {
        /// Number of the directory's base record.
        directory: u64,
    },

    /// The volume is encrypted by BitLocker.
    #[error("the volume is encrypted by BitLocker")]
    BitLocker,

    /// A field of the boot sector has a value that no NTFS volume has.
    #[error("the boot sector says {field} {actual:#x} at {at}")]
    BootSector {
        /// Where the field lies.
        at: VolumeOffset,
        /// The name of the field.
        field: &'static str,
        /// What stands there.
        actual: u64,
    },

    /// A directory tells names apart by the case of letters.
    #[error("directory {record:#x} tells names apart by the case of letters")]
    CaseSensitive {
        /// Number of the directory's base record.
        record: u64,
    },

    /// A file's data is compressed (LZNT1).
    #[error("the data of file {record:#x} is compressed")]
    Compressed {
        /// Number of the file's base record.
        record: u64,
    },

    /// A compression unit of a file is damaged.
    #[error("the compressed data at {at} of file {record:#x} is damaged")]
    CompressedUnit {
        /// Number of the file's base record.
        record: u64,
        /// Where the unit begins.
        at: FileOffset,
    },

    /// A structure does not fit into what holds it.
    #[error("a structure at {place} does not fit")]
    Cut {
        /// Where the buffer that was cut begins.
        place: Place,
        /// What was cut.
        source: OutOfBounds,
    },

    /// A security descriptor is not self-relative, or its parts leave it.
    #[error("a security descriptor of {length:#x} bytes has an impossible {field}")]
    Descriptor {
        /// Length of the descriptor.
        length: usize,
        /// What is wrong in it.
        field: &'static str,
    },

    /// A directory that is to be deleted holds files.
    #[error("directory {record:#x} is not empty")]
    DirectoryNotEmpty {
        /// Number of the directory's base record.
        record: u64,
    },

    /// The virtual disk failed.
    #[error(transparent)]
    Device(#[from] device::Error),

    /// A file's data is encrypted by EFS.
    #[error("the data of file {record:#x} is encrypted")]
    Encrypted {
        /// Number of the file's base record.
        record: u64,
    },

    /// The extents of a stream do not join.
    #[error("an extent of file {record:#x} begins at VCN {actual}, not at {expected}")]
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
    Field {
        /// Where the field lies.
        place: Place,
        /// What the field tells.
        field: &'static str,
        /// What stands there.
        actual: u64,
    },

    /// A cluster of a file is marked as free in `$Bitmap`.
    #[error("cluster {lcn} of file {record:#x} is marked as free in $Bitmap")]
    FreeCluster {
        /// Number of the file's base record.
        record: u64,
        /// The cluster.
        lcn: Lcn,
    },

    /// An index has entries so large, or so many levels, that this version does not change it.
    #[error("the index of file {record:#x} cannot take the entry")]
    IndexFull {
        /// Number of the file's base record.
        record: u64,
    },

    /// The tree of a directory leads twice to one block.
    #[error("the index of directory {directory:#x} leads twice to VCN {vcn}")]
    IndexLoop {
        /// Number of the directory's base record.
        directory: u64,
        /// The block.
        vcn: Vcn,
    },

    /// A name stands behind one that belongs behind it.
    #[error("the name at {place} is out of order")]
    IndexOrder {
        /// Where the entry lies.
        place: Place,
    },

    /// What was asked needs a file, and this is a directory.
    #[error("file {record:#x} is a directory")]
    IsDirectory {
        /// Number of the directory's base record.
        record: u64,
    },

    /// The mapping pairs of a stream are damaged.
    #[error("the mapping pairs at byte {byte:#x} of file record {record:#x} hold {fault}")]
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
    MissingAttribute {
        /// Number of the file's base record.
        record: u64,
        /// The type code of the attribute.
        kind: u32,
    },

    /// `$MFT` has to grow, and its own record has no room for one more run, or is continued by other records.
    #[error("$MFT cannot grow: its own record has no room to tell of more clusters")]
    MftFragmented,

    /// A directory has no such name.
    #[error("directory {directory:#x} has no such name")]
    NameMissing {
        /// Number of the directory's base record.
        directory: u64,
    },

    /// A directory has a file of that name already, but perhaps for the case of letters.
    #[error("directory {directory:#x} has a file of that name already")]
    NameTaken {
        /// Number of the directory's base record.
        directory: u64,
    },

    /// A name that Windows does not allow.
    #[error("a name of {units} UTF-16 units {fault}")]
    NameUnfit {
        /// Length of the name.
        units: usize,
        /// What is wrong with it.
        fault: &'static str,
    },

    /// A security id stands in no index, or what the index leads to is not its descriptor.
    #[error("the security id {id:#x} of file {record:#x} leads to no descriptor in $Secure")]
    NoDescriptor {
        /// Number of the file's base record.
        record: u64,
        /// The id.
        id: u32,
    },

    /// What was asked needs a directory, and this is a file.
    #[error("file {record:#x} is not a directory")]
    NotADirectory {
        /// Number of the file's base record.
        record: u64,
    },

    /// A reference leads to a record that holds no file.
    #[error("file record {record:#x} is not in use")]
    NotInUse {
        /// Number of the record.
        record: u64,
    },

    /// The boot sector is not that of an NTFS volume.
    #[error("the boot sector at 0x0 has no NTFS signature")]
    NotNtfs,

    /// A range leaves the file.
    #[error("{length:#x} bytes at {at} lie outside file {record:#x} of {size:#x} bytes")]
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

    /// A record number lies behind the end of `$MFT`.
    #[error("file record {record:#x} lies behind the {records:#x} records of $MFT")]
    OutsideMft {
        /// Number of the record.
        record: u64,
        /// Number of records.
        records: u64,
    },

    /// A cluster belongs to two runs.
    #[error("cluster {lcn} of file {record:#x} belongs to file {other:#x} as well")]
    Overlap {
        /// Number of the file's base record.
        record: u64,
        /// The first such cluster.
        lcn: Lcn,
        /// Number of the base record of the other file, or of the same.
        other: u64,
    },

    /// A file record has no room for what must stand in it.
    #[error("file record {record:#x} has {room:#x} bytes of room, {needed:#x} are needed")]
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
    Refs,

    /// A file's data lies elsewhere: it is a reparse point.
    #[error("file {record:#x} is a reparse point with tag {tag:#x}")]
    ReparsePoint {
        /// Number of the file's base record.
        record: u64,
        /// The reparse tag.
        tag: u32,
    },

    /// A stream ends before what must stand in it.
    #[error("{length:#x} bytes at {at} lie outside a stream of file {record:#x} of {size:#x} bytes")]
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
    Signature {
        /// Where the structure begins.
        place: Place,
        /// The signature.
        expected: [u8; 4],
        /// What stands there.
        actual: [u8; 4],
    },

    /// The sizes of a stream contradict each other or its runs.
    #[error(
        "a stream of file {record:#x} has {mapped:#x} bytes in runs, {allocated:#x} allocated, {size:#x} used, {initialized:#x} initialized"
    )]
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
    Sparse {
        /// Number of the file's base record.
        record: u64,
    },

    /// A reference is older than the file in its record.
    #[error("a reference to file record {record:#x} has sequence number {expected:#x}, the record has {actual:#x}")]
    StaleReference {
        /// Number of the record.
        record: u64,
        /// The reference's sequence number.
        expected: u16,
        /// The record's.
        actual: u16,
    },

    /// The file belongs to NTFS itself.
    #[error("file {record:#x} is a part of the file system itself")]
    SystemFile {
        /// Number of the file's base record.
        record: u64,
    },

    /// A stream has more runs than this version holds in memory.
    #[error("file {record:#x} has more than {limit} runs")]
    TooFragmented {
        /// Number of the file's base record.
        record: u64,
        /// The bound.
        limit: usize,
    },

    /// A file is larger than the caller allows.
    #[error("file {record:#x} has {size:#x} bytes, more than the limit of {limit:#x}")]
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
    Torn {
        /// Where the mark lies.
        place: Place,
        /// The structure's update sequence number.
        expected: u16,
        /// What stands there.
        actual: u16,
    },

    /// A file has an attribute that other parts of the file system point to.
    #[error("file {record:#x} has an attribute of type {kind:#x}, which other parts of the file system point to")]
    Tied {
        /// Number of the file's base record.
        record: u64,
        /// The type code of the attribute.
        kind: u32,
    },

    /// The table of upper-case letters is not what any Windows wrote.
    #[error("$UpCase maps {unit:#x} to {actual:#x}")]
    Upcase {
        /// A code unit.
        unit: u16,
        /// What the table holds for it.
        actual: u16,
    },

    /// The volume has not enough free clusters.
    #[error("the volume has {free:#x} free bytes, {needed:#x} are needed")]
    VolumeFull {
        /// Bytes that are needed, in whole clusters.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },

    /// A file is compressed by the Windows overlay filter (CompactOS).
    #[error("the data of file {record:#x} is compressed by the Windows overlay filter")]
    Wof {
        /// Number of the file's base record.
        record: u64,
    },
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Device(error) => error.kind(),
            Self::Compressed { .. }
            | Self::Encrypted { .. }
            | Self::ReparsePoint { .. }
            | Self::Sparse { .. }
            | Self::Wof { .. }
            | Self::CaseSensitive { .. }
            | Self::IndexFull { .. }
            | Self::MftFragmented
            | Self::RecordFull { .. }
            | Self::Tied { .. }
            | Self::BitLocker
            | Self::NotNtfs
            | Self::Refs => Kind::Unsupported,
            Self::AmbiguousName { .. }
            | Self::DirectoryNotEmpty { .. }
            | Self::FreeCluster { .. }
            | Self::NameTaken { .. }
            | Self::Overlap { .. }
            | Self::SystemFile { .. }
            | Self::VolumeFull { .. } => Kind::Refused,
            Self::NameMissing { .. } => Kind::NotFound,
            Self::Descriptor { .. }
            | Self::IsDirectory { .. }
            | Self::NameUnfit { .. }
            | Self::NotADirectory { .. }
            | Self::OutsideFile { .. } => Kind::Usage,
            Self::TooFragmented { .. } | Self::TooLarge { .. } => Kind::Limit,
            Self::BootSector { .. }
            | Self::CompressedUnit { .. }
            | Self::Cut { .. }
            | Self::ExtentGap { .. }
            | Self::Field { .. }
            | Self::IndexLoop { .. }
            | Self::IndexOrder { .. }
            | Self::MappingPairs { .. }
            | Self::MissingAttribute { .. }
            | Self::NoDescriptor { .. }
            | Self::NotInUse { .. }
            | Self::OutsideMft { .. }
            | Self::ShortStream { .. }
            | Self::Signature { .. }
            | Self::Sizes { .. }
            | Self::StaleReference { .. }
            | Self::Torn { .. }
            | Self::Upcase { .. } => Kind::Corrupt,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::AmbiguousName { .. } => Some("E-NAME-AMBIGUOUS"),
            Self::BitLocker => Some("E-BITLOCKER"),
            Self::CaseSensitive { .. } => Some("E-DIRECTORY-CASE"),
            Self::Compressed { .. } => Some("E-FILE-COMPRESSED"),
            Self::DirectoryNotEmpty { .. } => Some("E-DIRECTORY-NOT-EMPTY"),
            Self::Device(error) => error.code(),
            Self::Encrypted { .. } => Some("E-FILE-ENCRYPTED"),
            Self::IndexFull { .. } => Some("E-INDEX-FULL"),
            Self::MftFragmented => Some("E-MFT-FRAGMENTED"),
            Self::NameTaken { .. } => Some("E-NAME-TAKEN"),
            Self::NotNtfs => Some("E-NOT-NTFS"),
            Self::RecordFull { .. } => Some("E-RECORD-FULL"),
            Self::Refs => Some("E-REFS"),
            Self::ReparsePoint { .. } => Some("E-FILE-REPARSE"),
            Self::Sparse { .. } => Some("E-FILE-SPARSE"),
            Self::SystemFile { .. } => Some("E-FILE-SYSTEM"),
            Self::Tied { .. } => Some("E-FILE-TIED"),
            Self::VolumeFull { .. } => Some("E-VOLUME-FULL"),
            Self::Wof { .. } => Some("E-FILE-WOF"),
            Self::FreeCluster { .. } | Self::Overlap { .. } => Some(CORRUPT),
            _ if self.kind() == Kind::Corrupt => Some(CORRUPT),
            _ => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::IsDirectory { .. } => Some("name a file in it"),
            Self::NotADirectory { .. } => Some("name the folder that it lies in"),
            Self::AmbiguousName { .. } => Some("rename all but one of them in a running Windows"),
            Self::BitLocker => Some("decrypt the volume in Windows with `manage-bde -off`, then make a new image"),
            Self::CaseSensitive { .. } => {
                Some("clear the flag in Windows with `fsutil file setCaseSensitiveInfo FOLDER disable`")
            }
            Self::Compressed { .. } => Some("decompress the file in Windows with `compact /u`"),
            Self::Descriptor { .. } => Some("give a self-relative security descriptor"),
            Self::DirectoryNotEmpty { .. } => Some("delete what the directory holds first"),
            Self::Device(error) => error.hint(),
            Self::Encrypted { .. } => Some("decrypt the file in Windows with `cipher /d`"),
            Self::IndexFull { .. } => Some("make the change in a running Windows"),
            Self::MftFragmented => Some("defragment $MFT in Windows with `defrag /x`, or with `contig -a $mft`"),
            Self::NameTaken { .. } => Some("choose another name, or replace the file's content"),
            Self::NameUnfit { .. } => Some("choose a name that Windows allows"),
            Self::NotNtfs => Some("name a partition that holds an NTFS volume"),
            Self::RecordFull { .. } => Some("free more space on the volume or defragment it in Windows, and try again"),
            Self::Refs => Some("use an image whose Windows lies on an NTFS volume"),
            Self::ReparsePoint { .. } => Some("name the file that the reparse point leads to"),
            Self::Sparse { .. } => Some("clear the sparse flag in Windows with `fsutil sparse setflag FILE 0`"),
            Self::SystemFile { .. } => {
                Some("name a file that is neither part of the file system nor of its shadow copies")
            }
            Self::Tied { .. } => Some("delete the file in a running Windows"),
            Self::TooLarge { .. } => Some("check that the path names the intended file"),
            Self::TooFragmented { .. } => Some("defragment the volume in Windows"),
            Self::VolumeFull { .. } => Some("enlarge the volume, or delete files in it"),
            Self::Wof { .. } => {
                Some("decompress the file in Windows with `compact /u /exe`, or `compact /compactos:never`")
            }
            _ if self.code() == Some(CORRUPT) => Some(REPAIR),
            _ => None,
        }
    }
}

/// The code of everything that `chkdsk` has to repair.
pub(super) const CORRUPT: &str = "E-VOLUME-CORRUPT";

/// What to do about it.
pub(super) const REPAIR: &str = "run `chkdsk /f` on the volume in Windows, shut Windows down, and make a new image";
