//! What can be wrong with a virtual disk, and why one is refused.

use std::path::PathBuf;

use thiserror::Error;

use super::Format;
use crate::base::{Failure, Kind, fs};

/// A failure of this floor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The signatures of two formats stand in one file, or its name contradicts its content.
    #[error("`{}` can be read in two ways: {first}, and {second}", path.display())]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// One reading.
        first: &'static str,
        /// The other reading.
        second: &'static str,
    },

    /// Another process holds the file for itself.
    #[error("`{}` is in use by another program", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// The file's format is known by name, and not handled.
    #[error("`{}` is {container}, which is recognised but not handled", path.display())]
    ContainerUnsupported {
        /// The file.
        path: PathBuf,
        /// The format, with its article.
        container: &'static str,
        /// What to do about it.
        hint: &'static str,
    },

    /// The VHD holds only the changes against another one.
    #[error("the disk is a differencing VHD, which holds only the changes against its parent")]
    Differencing,

    /// The file has no bytes.
    #[error("`{}` is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },

    /// The operating system failed.
    #[error(transparent)]
    File(#[from] fs::Error),

    /// The image is of another format than was asked for.
    #[error("`{}` is {actual}, not {expected}", path.display())]
    FormatMismatch {
        /// The file.
        path: PathBuf,
        /// The format that was named.
        expected: Format,
        /// The format that the file has.
        actual: Format,
    },

    /// The path leads to something that is not a file of bytes.
    #[error("`{}` is {what}, not a disk image file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there, with its article.
        what: &'static str,
    },

    /// Nothing in the file says that it is a disk.
    #[error("`{}` has no container signature, partition table or volume boot sector", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
    },

    /// The file to write exists.
    #[error("`{}` exists already", path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },

    /// A range lies outside the device.
    #[error("{length:#x} bytes at {at:#x} lie outside the disk of {size:#x} bytes")]
    OutOfRange {
        /// First byte asked for.
        at: u64,
        /// Number of bytes asked for.
        length: u64,
        /// Size of the device.
        size: u64,
    },

    /// What was written does not read back as it should.
    #[error("the written image does not hold at {at:#x} what was written there")]
    ReadBack {
        /// First byte of the virtual disk that differs, or the size if that differs.
        at: u64,
    },

    /// The device takes no writes.
    #[error("the disk was opened for reading only")]
    ReadOnly,

    /// The VHD belongs to a machine that sleeps.
    #[error("the VHD belongs to a machine in saved state")]
    SavedState,

    /// The image was changed by someone else after it was opened.
    #[error("`{}` was changed by another program while it was read", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },

    /// The bitmap of a VHD block calls sectors unwritten that hold data: readers differ about them.
    #[error("block {block} of the VHD holds data at {at:#x} of the file in a sector that its bitmap calls unwritten")]
    VhdBitmap {
        /// Index of the block.
        block: u64,
        /// The first such byte, in the container file.
        at: u64,
    },

    /// A VHD structure's checksum is wrong.
    #[error("the VHD {structure} at {at:#x} has the checksum {actual:#010x}, and {expected:#010x} is right")]
    VhdChecksum {
        /// Which structure.
        structure: &'static str,
        /// Where it begins in the file.
        at: u64,
        /// The checksum of the bytes.
        expected: u32,
        /// The checksum that is stored.
        actual: u32,
    },

    /// A VHD structure does not begin with its cookie.
    #[error("there is no VHD {structure} at {at:#x}")]
    VhdCookie {
        /// Which structure.
        structure: &'static str,
        /// Where it should begin in the file.
        at: u64,
    },

    /// A field of a VHD structure has a value that it cannot have.
    #[error("the VHD {structure} at {at:#x} has the {field} {actual:#x}, which is impossible or unknown")]
    VhdField {
        /// Which structure.
        structure: &'static str,
        /// Where it begins in the file.
        at: u64,
        /// Which field.
        field: &'static str,
        /// The value.
        actual: u64,
    },

    /// The footer at the end of a dynamic VHD and its copy in front are unlike.
    #[error("the VHD footer at {at:#x} and its copy at 0x0 are unlike")]
    VhdFooterCopies {
        /// Where the footer begins in the file.
        at: u64,
    },

    /// A block cannot be added to a dynamic VHD, because it would lie beyond what its table can address.
    #[error("a new block at {at:#x} of the file is out of reach of the VHD's block table")]
    VhdFull {
        /// Where the block would begin in the file.
        at: u64,
    },

    /// Two structures of a VHD share bytes of the file.
    #[error("two structures of the VHD overlap at {at:#x}")]
    VhdOverlap {
        /// The first shared byte of the file.
        at: u64,
    },

    /// A structure of a VHD leaves the space that the file has for it.
    #[error(
        "the VHD {structure} of {length:#x} bytes at {at:#x} leaves the file of {size:#x} bytes or meets its footer"
    )]
    VhdTruncated {
        /// Which structure.
        structure: &'static str,
        /// Where it begins in the file.
        at: u64,
        /// Its length in bytes.
        length: u64,
        /// The file's length in bytes.
        size: u64,
    },
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Ambiguous { .. }
            | Self::Busy { .. }
            | Self::Empty { .. }
            | Self::FormatMismatch { .. }
            | Self::NotAFile { .. }
            | Self::NotAnImage { .. }
            | Self::OutputExists { .. }
            | Self::SavedState
            | Self::SourceChanged { .. }
            | Self::VhdBitmap { .. } => Kind::Refused,
            Self::ContainerUnsupported { .. } | Self::Differencing => Kind::Unsupported,
            Self::File(error) => error.kind(),
            Self::OutOfRange { .. }
            | Self::VhdChecksum { .. }
            | Self::VhdCookie { .. }
            | Self::VhdField { .. }
            | Self::VhdFooterCopies { .. }
            | Self::VhdOverlap { .. }
            | Self::VhdTruncated { .. } => Kind::Corrupt,
            Self::ReadBack { .. } | Self::ReadOnly => Kind::Io,
            Self::VhdFull { .. } => Kind::Limit,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Ambiguous { .. } => Some("E-IMAGE-AMBIGUOUS"),
            Self::Busy { .. } => Some("E-IMAGE-BUSY"),
            Self::ContainerUnsupported { .. } => Some("E-CONTAINER-UNSUPPORTED"),
            Self::Differencing => Some("E-DIFFERENCING"),
            Self::Empty { .. } => Some("E-IMAGE-EMPTY"),
            Self::File(error) => error.code(),
            Self::FormatMismatch { .. } => Some("E-FORMAT-MISMATCH"),
            Self::NotAFile { .. } => Some("E-NOT-A-FILE"),
            Self::NotAnImage { .. } => Some("E-NOT-AN-IMAGE"),
            Self::OutputExists { .. } => Some("E-OUTPUT-EXISTS"),
            Self::SavedState => Some("E-SAVED-STATE"),
            Self::SourceChanged { .. } => Some("E-SOURCE-CHANGED"),
            Self::VhdBitmap { .. } => Some("E-VHD-BITMAP"),
            Self::VhdFull { .. } => Some("E-VHD-FULL"),
            Self::VhdChecksum { .. }
            | Self::VhdCookie { .. }
            | Self::VhdField { .. }
            | Self::VhdFooterCopies { .. }
            | Self::VhdOverlap { .. }
            | Self::VhdTruncated { .. } => Some("E-VHD-CORRUPT"),
            Self::OutOfRange { .. } | Self::ReadBack { .. } | Self::ReadOnly => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ambiguous { .. } => Some("name the format of the image with `--input-format`"),
            Self::Busy { .. } => {
                Some("shut the machine that uses the image down, or wait for the program that writes it")
            }
            Self::ContainerUnsupported { hint, .. } => Some(hint),
            Self::Differencing => Some("merge the disk with its parents into one VHD, and use that"),
            Self::Empty { .. } => Some("check that the download or the copy of the image is complete"),
            Self::File(error) => error.hint(),
            Self::FormatMismatch { .. } => Some("leave the format out to have it found by its signature"),
            Self::NotAFile { .. } => Some("copy the disk into an image file, and name that file"),
            Self::NotAnImage { .. } => {
                Some("check the path; if it is a raw disk all the same, say so with `--input-format raw`")
            }
            Self::OutputExists { .. } => Some("remove that file, or choose another name"),
            Self::ReadBack { .. } => Some("check the health of the disk that the image was written to"),
            Self::SavedState => Some("start the machine, shut it down, and use the disk then"),
            Self::SourceChanged { .. } => Some("shut the machine that uses the image down, and start again"),
            Self::VhdBitmap { .. }
            | Self::VhdChecksum { .. }
            | Self::VhdCookie { .. }
            | Self::VhdField { .. }
            | Self::VhdFooterCopies { .. }
            | Self::VhdOverlap { .. }
            | Self::VhdTruncated { .. } => {
                Some("have the machine that made the VHD check it, or convert it there to a new one")
            }
            Self::VhdFull { .. } => Some("convert the image to a fixed VHD or a raw disk first"),
            Self::OutOfRange { .. } | Self::ReadOnly => None,
        }
    }
}
