//! What can be wrong with a virtual disk, and why one is refused.

use std::path::PathBuf;

use thiserror::Error;

use super::Format;
use coldforge_base::guid::Guid;
use coldforge_base::read::OutOfBounds;
use coldforge_base::{Extent, Failure, Kind, device, fs};

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

    /// A device, or a range of one, does not answer.
    #[error(transparent)]
    Device(#[from] device::Error),

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

    /// The image's container cannot be the parent of a differencing disk.
    #[error("a differencing disk needs a VHD or a VHDX as its parent, and the image is {format}")]
    Delta {
        /// The image's format.
        format: Format,
    },

    /// The machine uses the block device.
    #[error("the block device `{}`, or a part of it, is mounted or in use", path.display())]
    DeviceBusy {
        /// The device.
        path: PathBuf,
    },

    /// The file has no bytes.
    #[error("`{}` is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },

    /// A field of a structure has a value that it cannot have.
    #[error("the {container} {structure} at {at:#x} has the {field} {actual:#x}, which is impossible or unknown")]
    Field {
        /// Which format.
        container: &'static str,
        /// Which structure.
        structure: &'static str,
        /// Where it begins in the file.
        at: u64,
        /// Which field.
        field: &'static str,
        /// The value.
        actual: u64,
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

    /// The image's container cannot be written in place.
    #[error("an image that is {container} is not written in place")]
    InPlace {
        /// The container, with its article.
        container: &'static str,
    },

    /// The file is known by several names, and a journal stands beside one only.
    #[error("`{}` is one of {names} names (hard links) of the same file", path.display())]
    Linked {
        /// The file.
        path: PathBuf,
        /// How many names it has.
        names: u64,
    },

    /// There is no run to undo.
    #[error("there is no undo journal beside `{}`", path.display())]
    NoUndo {
        /// The image.
        path: PathBuf,
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

    /// The disk's size is no whole number of sectors.
    #[error("the disk has {size:#x} bytes, which is no whole number of {unit}-byte sectors")]
    OddSize {
        /// Size of the disk in bytes.
        size: u64,
        /// Bytes of a sector.
        unit: u64,
    },

    /// The file to write exists.
    #[error("`{}` exists already", path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },

    /// Two structures of a container share bytes of the file.
    #[error("two structures of the {container} overlap at {at:#x}")]
    Overlap {
        /// Which format.
        container: &'static str,
        /// The first shared byte of the file.
        at: u64,
    },

    /// The file describes an exported machine, and names its disks.
    #[error("`{}` is an OVF descriptor, {}", path.display(), named(disks))]
    Ovf {
        /// The file.
        path: PathBuf,
        /// The disk images that it names.
        disks: Vec<String>,
    },

    /// The parent is not in the state that its child was made from.
    #[error("`{}` is not the disk that its child was made from, or was changed since", path.display())]
    ParentChanged {
        /// The parent.
        path: PathBuf,
    },

    /// The chain of parents comes back to itself, or is too long.
    #[error("the chain of parents leads to `{}` again, or is too long", path.display())]
    ParentLoop {
        /// The file at which it was left.
        path: PathBuf,
    },

    /// The parent of a differencing disk is not beside it.
    #[error("the parent of `{}`, which it calls {name:?}, is not in its folder", path.display())]
    ParentMissing {
        /// The child.
        path: PathBuf,
        /// What the child calls its parent.
        name: String,
    },

    /// The parent is a link to another folder.
    #[error("the parent `{}` is a link that leads out of its folder", path.display())]
    ParentOutside {
        /// The link.
        path: PathBuf,
    },

    /// What was written does not read back as it should.
    #[error("the written image does not hold at {at:#x} what was written there")]
    ReadBack {
        /// First byte of the virtual disk that differs, or the size if that differs.
        at: u64,
    },

    /// The VHD belongs to a machine that sleeps.
    #[error("the VHD belongs to a machine in saved state")]
    SavedState,

    /// The disk's sectors are of another size than the format can say.
    #[error("the disk has sectors of {actual} bytes, which {format} cannot say")]
    SectorSize {
        /// Bytes of a sector.
        actual: u32,
        /// The format.
        format: Format,
    },

    /// A structure does not begin with its signature, or has a wrong checksum.
    #[error("there is no {container} {structure} at {at:#x}")]
    Signature {
        /// Which format.
        container: &'static str,
        /// Which structure.
        structure: &'static str,
        /// Where it should begin in the file.
        at: u64,
    },

    /// The image was changed by someone else after it was opened.
    #[error("`{}` was changed by another program while it was read", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },

    /// The disk is too large for the format.
    #[error("the disk has {size:#x} bytes, and a {container} has at most {limit:#x}")]
    TooLarge {
        /// Which format.
        container: &'static str,
        /// Size of the disk in bytes.
        size: u64,
        /// The largest size.
        limit: u64,
    },

    /// A structure leaves the file.
    #[error("the {container} {structure} of {length:#x} bytes at {at:#x} leaves the file of {size:#x} bytes")]
    Truncated {
        /// Which format.
        container: &'static str,
        /// Which structure.
        structure: &'static str,
        /// Where it begins in the file.
        at: u64,
        /// Its length in bytes.
        length: u64,
        /// The file's length in bytes.
        size: u64,
    },

    /// The undo journal is damaged.
    #[error("the undo journal `{}` is damaged at {at:#x}", path.display())]
    UndoCorrupt {
        /// The journal.
        path: PathBuf,
        /// Where in the journal.
        at: u64,
    },

    /// The undo journal of an earlier run in place is there.
    #[error("the undo journal `{}` of an earlier run is still there", path.display())]
    UndoExists {
        /// The journal.
        path: PathBuf,
    },

    /// The image holds what the run of the journal neither found nor wrote.
    #[error("`{}` was changed by another program since the run that could be undone: {}", path.display(), places_of(places))]
    UndoForeign {
        /// The image.
        path: PathBuf,
        /// Where, in bytes of the image file, ascending.
        places: Vec<Extent>,
    },

    /// Somebody else could have made the undo journal.
    #[error("the undo journal `{}` {why}: it is not obeyed", path.display())]
    UndoOwner {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// The image was written to after the run that a journal of an earlier version is about, as far as times can tell.
    #[error("`{}` has another time than at the end of the run that could be undone", path.display())]
    UndoStale {
        /// The image.
        path: PathBuf,
    },

    /// A run in place was broken off when the image was written, and its evidence was not.
    #[error("a run wrote all of `{}` and was broken off before its evidence was whole", path.display())]
    Unsettled {
        /// The image.
        path: PathBuf,
    },

    /// A structure that must be understood is not.
    #[error("the {container} has the {structure} {id}, which must be understood and is not")]
    Unknown {
        /// Which format.
        container: &'static str,
        /// Which kind of structure.
        structure: &'static str,
        /// Its id.
        id: Guid,
    },

    /// A run that wrote into the image did not end.
    #[error("a run that wrote into `{}` did not end: the image may be half changed", path.display())]
    UnfinishedRun {
        /// The image.
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

    /// A VHDX has too many fragments.
    #[error("the VHDX lies in more than four million fragments")]
    VhdxFragments,

    /// The log of a VHDX cannot be replayed.
    #[error("the log of the VHDX at {at:#x} {what}")]
    VhdxLog {
        /// Where it begins in the file.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
}

impl From<OutOfBounds> for Error {
    fn from(cut: OutOfBounds) -> Self {
        Self::Device(cut.into())
    }
}

impl From<Error> for device::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Device(error) => error,
            own => Self::failed(own),
        }
    }
}

/// How many places of a change are named.
const PLACES_NAMED: usize = 6;

/// Says where an image was changed.
fn places_of(places: &[Extent]) -> String {
    let shown = places.iter().take(PLACES_NAMED);
    let shown: Vec<String> =
        shown.map(|place| format!("within {:#x} bytes at {:#x}", place.length, place.offset)).collect();
    let others = match places.len().saturating_sub(PLACES_NAMED) {
        0 => String::new(),
        count => format!(" and in {count} more places"),
    };
    format!("{}{others}", shown.join(", "))
}

/// How many disks of a descriptor are named.
const DISKS_NAMED: usize = 4;
/// How many characters of a disk's name are shown.
const NAME_SHOWN: usize = 120;

/// Says which disks a descriptor names; the names are spelled out, whatever is in them.
fn named(disks: &[String]) -> String {
    let shown: Vec<String> = disks
        .iter()
        .take(DISKS_NAMED)
        .map(|name| format!("{:?}", name.chars().take(NAME_SHOWN).collect::<String>()))
        .collect();
    let others = match disks.len().saturating_sub(DISKS_NAMED) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    match disks.len() {
        0 => "and it names no disk image".to_owned(),
        1 => format!("which names the disk image {}", shown.join(", ")),
        _ => format!("which names the disk images {}{others}", shown.join(", ")),
    }
}

/// Returns the stable code of what contradicts a format.
fn corrupt(container: &str) -> &'static str {
    match container {
        "VHDX" => "E-VHDX-CORRUPT",
        "VMDK" => "E-VMDK-CORRUPT",
        _ => "E-VHD-CORRUPT",
    }
}

impl Error {
    /// Tells whether it is about the moment and the surroundings, and says nothing of the image itself: the operating
    /// system's answers, another program that uses the image, a run that did not end, a journal that is not obeyed.
    pub fn is_of_the_moment(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::DeviceBusy { .. }
                | Self::File(_)
                | Self::NotAFile { .. }
                | Self::SourceChanged { .. }
                | Self::UndoCorrupt { .. }
                | Self::UndoExists { .. }
                | Self::UndoForeign { .. }
                | Self::UndoOwner { .. }
                | Self::UndoStale { .. }
                | Self::UnfinishedRun { .. }
                | Self::Unsettled { .. }
        )
    }
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Ambiguous { .. }
            | Self::Busy { .. }
            | Self::DeviceBusy { .. }
            | Self::Empty { .. }
            | Self::FormatMismatch { .. }
            | Self::Linked { .. }
            | Self::NotAFile { .. }
            | Self::NotAnImage { .. }
            | Self::OddSize { .. }
            | Self::OutputExists { .. }
            | Self::ParentChanged { .. }
            | Self::ParentLoop { .. }
            | Self::ParentMissing { .. }
            | Self::ParentOutside { .. }
            | Self::SavedState
            | Self::SourceChanged { .. }
            | Self::UndoExists { .. }
            | Self::UndoForeign { .. }
            | Self::UndoOwner { .. }
            | Self::UndoStale { .. }
            | Self::Unsettled { .. }
            | Self::UnfinishedRun { .. }
            | Self::VhdBitmap { .. } => Kind::Refused,
            Self::ContainerUnsupported { .. }
            | Self::Ovf { .. }
            | Self::Delta { .. }
            | Self::InPlace { .. }
            | Self::SectorSize { .. }
            | Self::TooLarge { .. }
            | Self::Unknown { .. } => Kind::Unsupported,
            Self::NoUndo { .. } => Kind::NotFound,
            Self::Device(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Field { .. }
            | Self::Overlap { .. }
            | Self::Signature { .. }
            | Self::Truncated { .. }
            | Self::UndoCorrupt { .. }
            | Self::VhdxLog { .. }
            | Self::VhdChecksum { .. }
            | Self::VhdCookie { .. }
            | Self::VhdField { .. }
            | Self::VhdFooterCopies { .. }
            | Self::VhdOverlap { .. }
            | Self::VhdTruncated { .. } => Kind::Corrupt,
            Self::ReadBack { .. } => Kind::Io,
            Self::VhdFull { .. } | Self::VhdxFragments => Kind::Limit,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Ambiguous { .. } => Some("E-IMAGE-AMBIGUOUS"),
            Self::Busy { .. } | Self::DeviceBusy { .. } => Some("E-IMAGE-BUSY"),
            Self::ContainerUnsupported { .. } | Self::Ovf { .. } => Some("E-CONTAINER-UNSUPPORTED"),
            Self::Delta { .. } => Some("E-DELTA"),
            Self::Field { container, .. }
            | Self::Overlap { container, .. }
            | Self::Signature { container, .. }
            | Self::Truncated { container, .. } => Some(corrupt(container)),
            Self::OddSize { .. } => Some("E-DISK-SIZE"),
            Self::ParentChanged { .. } => Some("E-PARENT-CHANGED"),
            Self::ParentLoop { .. } => Some("E-PARENT-LOOP"),
            Self::ParentMissing { .. } => Some("E-PARENT-MISSING"),
            Self::ParentOutside { .. } => Some("E-PARENT-OUTSIDE"),
            Self::SectorSize { .. } => Some("E-SECTOR-SIZE"),
            Self::TooLarge { .. } => Some("E-DISK-TOO-LARGE"),
            Self::Unknown { .. } => Some("E-CONTAINER-UNKNOWN-PART"),
            Self::VhdxFragments => Some("E-VHDX-FRAGMENTS"),
            Self::VhdxLog { .. } => Some("E-VHDX-LOG"),
            Self::Empty { .. } => Some("E-IMAGE-EMPTY"),
            Self::File(error) => error.code(),
            Self::FormatMismatch { .. } => Some("E-FORMAT-MISMATCH"),
            Self::InPlace { .. } => Some("E-IN-PLACE"),
            Self::Linked { .. } => Some("E-IMAGE-LINKED"),
            Self::NoUndo { .. } => Some("E-NO-UNDO"),
            Self::NotAFile { .. } => Some("E-NOT-A-FILE"),
            Self::NotAnImage { .. } => Some("E-NOT-AN-IMAGE"),
            Self::OutputExists { .. } => Some("E-OUTPUT-EXISTS"),
            Self::SavedState => Some("E-SAVED-STATE"),
            Self::SourceChanged { .. } => Some("E-SOURCE-CHANGED"),
            Self::UndoCorrupt { .. } => Some("E-UNDO-CORRUPT"),
            Self::UndoExists { .. } => Some("E-UNDO-EXISTS"),
            Self::UndoForeign { .. } => Some("E-UNDO-FOREIGN"),
            Self::UndoOwner { .. } => Some("E-UNDO-OWNER"),
            Self::UndoStale { .. } => Some("E-UNDO-STALE"),
            Self::Unsettled { .. } => Some("E-UNDO-EXISTS"),
            Self::UnfinishedRun { .. } => Some("E-UNFINISHED-RUN"),
            Self::VhdBitmap { .. } => Some("E-VHD-BITMAP"),
            Self::VhdFull { .. } => Some("E-VHD-FULL"),
            Self::VhdChecksum { .. }
            | Self::VhdCookie { .. }
            | Self::VhdField { .. }
            | Self::VhdFooterCopies { .. }
            | Self::VhdOverlap { .. }
            | Self::VhdTruncated { .. } => Some("E-VHD-CORRUPT"),
            Self::Device(error) => error.code(),
            Self::ReadBack { .. } => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ambiguous { .. } => Some(
                "name the format of the image with `--input-format`, for example `--input-format raw` for a raw disk",
            ),
            Self::Busy { .. } => {
                Some("shut the machine that uses the image down, or wait for the program that writes it")
            }
            Self::DeviceBusy { .. } => Some(
                "unmount what lies on the device, deactivate its volume group or array, and stop the machine that uses it; \
                 `lsblk` shows what it is used for",
            ),
            Self::ContainerUnsupported { hint, .. } => Some(hint),
            Self::Ovf { .. } => Some("name the disk image itself, which lies in the folder of the descriptor"),
            Self::Delta { .. } => Some("convert the image to a VHD or a VHDX first, and harden that"),
            Self::OddSize { .. } => Some("the disk was cut, or is no disk: make the image again"),
            Self::ParentChanged { .. } => {
                Some("restore the parent from a copy: a parent that was written to has lost its children")
            }
            Self::ParentLoop { .. } | Self::ParentMissing { .. } | Self::ParentOutside { .. } => Some(
                "put the parent into the folder of the child, or run `coldforge convert --parent PARENT CHILD OUT`",
            ),
            Self::SectorSize { .. } => Some("choose `--format vhdx`, `vhdx-dynamic` or `raw`"),
            Self::TooLarge { .. } => Some("choose `--format vhdx-dynamic` or `raw`"),
            Self::VhdxFragments => Some("convert the VHDX to a new one on the machine that made it"),
            Self::Field { .. }
            | Self::Overlap { .. }
            | Self::Signature { .. }
            | Self::Truncated { .. }
            | Self::Unknown { .. }
            | Self::VhdxLog { .. } => Some(
                "have the machine that made the image check it, or convert it there to a new one; if the file is of \
                     another format, name that with `--input-format`",
            ),
            Self::Empty { .. } => Some("check that the download or the copy of the image is complete"),
            Self::File(error) => error.hint(),
            Self::FormatMismatch { .. } => {
                Some("leave `--input-format` out to have the format found by its signature, or name the right one")
            }
            Self::InPlace { .. } => Some("write a new image instead, with `-o`"),
            Self::Linked { .. } => Some("copy the image to a file of its own, or write a new image with `-o`"),
            Self::NoUndo { .. } => Some("check the path: the journal lies beside the image that was written to"),
            Self::NotAFile { .. } => Some("name an image file or a block device, or copy the disk into an image file"),
            Self::NotAnImage { .. } => {
                Some("check the path; if it is a raw disk all the same, say so with `--input-format raw`")
            }
            Self::OutputExists { .. } => Some("remove that file, or choose another name"),
            Self::ReadBack { .. } => Some("check the health of the disk that the image was written to"),
            Self::SavedState => Some("start the machine, shut it down, and use the disk then"),
            Self::SourceChanged { .. } => Some("shut the machine that uses the image down, and start again"),
            Self::UndoCorrupt { .. } => {
                Some("restore the image from a copy, and remove the journal then; nothing was changed now")
            }
            Self::UndoForeign { .. } => Some(
                "nothing was changed now: `coldforge undo --force IMAGE` takes back the rest of the run, leaves these \
                 places, and cuts off what lies behind the old end of the file; `coldforge undo --forget IMAGE` keeps the \
                 image as it is after a run that ended",
            ),
            Self::UndoOwner { .. } => Some(
                "find out who made the journal, because it says what is written into the image. If it is yours or your \
                 administrator's (a run with sudo), run the command as that user, or give the journal to your own: `sudo chown USER \
                 JOURNAL && sudo chmod 0600 JOURNAL`. Nobody else's is to be obeyed; without the journal the run cannot be taken \
                 back any more",
            ),
            Self::UndoExists { .. } => {
                Some("run `coldforge undo IMAGE` to take that run back, or `coldforge undo --forget IMAGE` to keep it")
            }
            Self::UndoStale { .. } => Some(
                "if nobody wrote to the image since, as after a copy of it, `coldforge undo --force IMAGE` takes the run back; \
                 `coldforge undo --forget IMAGE` keeps the image as it is",
            ),
            Self::Unsettled { .. } => Some(
                "run `coldforge undo IMAGE` to take that run back and start it again, or `coldforge undo --forget IMAGE` to \
                 keep the image without evidence",
            ),
            Self::UnfinishedRun { .. } => Some("run `coldforge undo IMAGE` to bring the image back to what it was"),
            Self::VhdBitmap { .. }
            | Self::VhdChecksum { .. }
            | Self::VhdCookie { .. }
            | Self::VhdField { .. }
            | Self::VhdFooterCopies { .. }
            | Self::VhdOverlap { .. }
            | Self::VhdTruncated { .. } => Some(
                "have the machine that made the VHD check it, or convert it there to a new one; if it is a raw disk \
                     that is only named .vhd, read it with `--input-format raw`",
            ),
            Self::VhdFull { .. } => Some("convert the image to a fixed VHD or a raw disk first"),
            Self::Device(error) => error.hint(),
        }
    }
}
