//! What can be wrong with a virtual disk, and why one is refused.

use std::path::PathBuf;

use thiserror::Error;

use super::Format;
use coldforge_base::guid::Guid;
use coldforge_base::read::OutOfBounds;
use coldforge_base::{Extent, Failure, device, fs};

/// A hint that several of these errors share.
const CHECK_CONTAINER: &str = "have the machine that made the image check it, or convert it there to a new one; if the file is of \
                     another format, name that with `--input-format`";
/// A hint that several of these errors share.
const PLACE_PARENT: &str =
    "put the parent into the folder of the child, or run `coldforge convert --parent PARENT CHILD OUT`";
/// A hint that several of these errors share.
const CHECK_VHD: &str = "have the machine that made the VHD check it, or convert it there to a new one; if it is a raw disk \
                     that is only named .vhd, read it with `--input-format raw`";

/// A failure of this floor.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The signatures of two formats stand in one file, or its name contradicts its content.
    #[error("`{}` can be read in two ways: {first}, and {second}", path.display())]
    #[failure(
        refused,
        "E-IMAGE-AMBIGUOUS",
        hint = "name the format of the image with `--input-format`, for example `--input-format raw` for a raw disk"
    )]
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
    #[failure(transparent)]
    Device(#[from] device::Error),

    /// Another process holds the file for itself.
    #[error("`{}` is in use by another program", path.display())]
    #[failure(
        refused,
        "E-IMAGE-BUSY",
        hint = "shut the machine that uses the image down, or wait for the program that writes it"
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// The file's format is known by name, and not handled.
    #[error("`{}` is {container}, which is recognised but not handled", path.display())]
    #[failure(unsupported, "E-CONTAINER-UNSUPPORTED", hint = *hint)]
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
    #[failure(unsupported, "E-DELTA", hint = "convert the image to a VHD or a VHDX first, and harden that")]
    Delta {
        /// The image's format.
        format: Format,
    },

    /// The machine uses the block device.
    #[error("the block device `{}`, or a part of it, is mounted or in use", path.display())]
    #[failure(
        refused,
        "E-IMAGE-BUSY",
        hint = "unmount what lies on the device, deactivate its volume group or array, and stop the machine that uses it; \
                 `lsblk` shows what it is used for"
    )]
    DeviceBusy {
        /// The device.
        path: PathBuf,
    },

    /// The file has no bytes.
    #[error("`{}` is empty", path.display())]
    #[failure(refused, "E-IMAGE-EMPTY", hint = "check that the download or the copy of the image is complete")]
    Empty {
        /// The file.
        path: PathBuf,
    },

    /// A field of a structure has a value that it cannot have.
    #[error("the {container} {structure} at {at:#x} has the {field} {actual:#x}, which is impossible or unknown")]
    #[failure(corrupt, code = corrupt(container), codes = ["E-VHD-CORRUPT", "E-VHDX-CORRUPT", "E-VMDK-CORRUPT"], hint = CHECK_CONTAINER)]
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
    #[failure(transparent)]
    File(#[from] fs::Error),

    /// The image is of another format than was asked for.
    #[error("`{}` is {actual}, not {expected}", path.display())]
    #[failure(
        refused,
        "E-FORMAT-MISMATCH",
        hint = "leave `--input-format` out to have the format found by its signature, or name the right one"
    )]
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
    #[failure(unsupported, "E-IN-PLACE", hint = "write a new image instead, with `-o`")]
    InPlace {
        /// The container, with its article.
        container: &'static str,
    },

    /// The file is known by several names, and a journal stands beside one only.
    #[error("`{}` is one of {names} names (hard links) of the same file", path.display())]
    #[failure(refused, "E-IMAGE-LINKED", hint = "copy the image to a file of its own, or write a new image with `-o`")]
    Linked {
        /// The file.
        path: PathBuf,
        /// How many names it has.
        names: u64,
    },

    /// There is no run to undo.
    #[error("there is no undo journal beside `{}`", path.display())]
    #[failure(not_found, "E-NO-UNDO", hint = "check the path: the journal lies beside the image that was written to")]
    NoUndo {
        /// The image.
        path: PathBuf,
    },

    /// The path leads to something that is not a file of bytes.
    #[error("`{}` is {what}, not a disk image file", path.display())]
    #[failure(
        refused,
        "E-NOT-A-FILE",
        hint = "name an image file or a block device, or copy the disk into an image file"
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there, with its article.
        what: &'static str,
    },

    /// Nothing in the file says that it is a disk.
    #[error("`{}` has no container signature, partition table or volume boot sector", path.display())]
    #[failure(
        refused,
        "E-NOT-AN-IMAGE",
        hint = "check the path; if it is a raw disk all the same, say so with `--input-format raw`"
    )]
    NotAnImage {
        /// The file.
        path: PathBuf,
    },

    /// The disk's size is no whole number of sectors.
    #[error("the disk has {size:#x} bytes, which is no whole number of {unit}-byte sectors")]
    #[failure(refused, "E-DISK-SIZE", hint = "the disk was cut, or is no disk: make the image again")]
    OddSize {
        /// Size of the disk in bytes.
        size: u64,
        /// Bytes of a sector.
        unit: u64,
    },

    /// The file to write exists.
    #[error("`{}` exists already", path.display())]
    #[failure(refused, "E-OUTPUT-EXISTS", hint = "remove that file, or choose another name")]
    OutputExists {
        /// The file.
        path: PathBuf,
    },

    /// Two structures of a container share bytes of the file.
    #[error("two structures of the {container} overlap at {at:#x}")]
    #[failure(corrupt, code = corrupt(container), codes = ["E-VHD-CORRUPT", "E-VHDX-CORRUPT", "E-VMDK-CORRUPT"], hint = CHECK_CONTAINER)]
    Overlap {
        /// Which format.
        container: &'static str,
        /// The first shared byte of the file.
        at: u64,
    },

    /// The file describes an exported machine, and names its disks.
    #[error("`{}` is an OVF descriptor, {}", path.display(), named(disks))]
    #[failure(
        unsupported,
        "E-CONTAINER-UNSUPPORTED",
        hint = "name the disk image itself, which lies in the folder of the descriptor"
    )]
    Ovf {
        /// The file.
        path: PathBuf,
        /// The disk images that it names.
        disks: Vec<String>,
    },

    /// The parent is not in the state that its child was made from.
    #[error("`{}` is not the disk that its child was made from, or was changed since", path.display())]
    #[failure(
        refused,
        "E-PARENT-CHANGED",
        hint = "restore the parent from a copy: a parent that was written to has lost its children"
    )]
    ParentChanged {
        /// The parent.
        path: PathBuf,
    },

    /// The chain of parents comes back to itself, or is too long.
    #[error("the chain of parents leads to `{}` again, or is too long", path.display())]
    #[failure(refused, "E-PARENT-LOOP", hint = PLACE_PARENT)]
    ParentLoop {
        /// The file at which it was left.
        path: PathBuf,
    },

    /// The parent of a differencing disk is not beside it.
    #[error("the parent of `{}`, which it calls {name:?}, is not in its folder", path.display())]
    #[failure(refused, "E-PARENT-MISSING", hint = PLACE_PARENT)]
    ParentMissing {
        /// The child.
        path: PathBuf,
        /// What the child calls its parent.
        name: String,
    },

    /// The parent is a link to another folder.
    #[error("the parent `{}` is a link that leads out of its folder", path.display())]
    #[failure(refused, "E-PARENT-OUTSIDE", hint = PLACE_PARENT)]
    ParentOutside {
        /// The link.
        path: PathBuf,
    },

    /// What was written does not read back as it should.
    #[error("the written image does not hold at {at:#x} what was written there")]
    #[failure(io, hint = "check the health of the disk that the image was written to")]
    ReadBack {
        /// First byte of the virtual disk that differs, or the size if that differs.
        at: u64,
    },

    /// The VHD belongs to a machine that sleeps.
    #[error("the VHD belongs to a machine in saved state")]
    #[failure(refused, "E-SAVED-STATE", hint = "start the machine, shut it down, and use the disk then")]
    SavedState,

    /// The disk's sectors are of another size than the format can say.
    #[error("the disk has sectors of {actual} bytes, which {format} cannot say")]
    #[failure(unsupported, "E-SECTOR-SIZE", hint = "choose `--format vhdx`, `vhdx-dynamic` or `raw`")]
    SectorSize {
        /// Bytes of a sector.
        actual: u32,
        /// The format.
        format: Format,
    },

    /// A structure does not begin with its signature, or has a wrong checksum.
    #[error("there is no {container} {structure} at {at:#x}")]
    #[failure(corrupt, code = corrupt(container), codes = ["E-VHD-CORRUPT", "E-VHDX-CORRUPT", "E-VMDK-CORRUPT"], hint = CHECK_CONTAINER)]
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
    #[failure(refused, "E-SOURCE-CHANGED", hint = "shut the machine that uses the image down, and start again")]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },

    /// The disk is too large for the format.
    #[error("the disk has {size:#x} bytes, and a {container} has at most {limit:#x}")]
    #[failure(unsupported, "E-DISK-TOO-LARGE", hint = "choose `--format vhdx-dynamic` or `raw`")]
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
    #[failure(corrupt, code = corrupt(container), codes = ["E-VHD-CORRUPT", "E-VHDX-CORRUPT", "E-VMDK-CORRUPT"], hint = CHECK_CONTAINER)]
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
    #[failure(
        corrupt,
        "E-UNDO-CORRUPT",
        hint = "restore the image from a copy, and remove the journal then; nothing was changed now"
    )]
    UndoCorrupt {
        /// The journal.
        path: PathBuf,
        /// Where in the journal.
        at: u64,
    },

    /// The undo journal of an earlier run in place is there.
    #[error("the undo journal `{}` of an earlier run is still there", path.display())]
    #[failure(
        refused,
        "E-UNDO-EXISTS",
        hint = "run `coldforge undo IMAGE` to take that run back, or `coldforge undo --forget IMAGE` to keep it"
    )]
    UndoExists {
        /// The journal.
        path: PathBuf,
    },

    /// The image holds what the run of the journal neither found nor wrote.
    #[error("`{}` was changed by another program since the run that could be undone: {}", path.display(), places_of(places))]
    #[failure(
        refused,
        "E-UNDO-FOREIGN",
        hint = "nothing was changed now: `coldforge undo --force IMAGE` takes back the rest of the run, leaves these \
                 places, and cuts off what lies behind the old end of the file; `coldforge undo --forget IMAGE` keeps the \
                 image as it is after a run that ended"
    )]
    UndoForeign {
        /// The image.
        path: PathBuf,
        /// Where, in bytes of the image file, ascending.
        places: Vec<Extent>,
    },

    /// Somebody else could have made the undo journal.
    #[error("the undo journal `{}` {why}: it is not obeyed", path.display())]
    #[failure(
        refused,
        "E-UNDO-OWNER",
        hint = "find out who made the journal, because it says what is written into the image. If it is yours or your \
                 administrator's (a run with sudo), run the command as that user, or give the journal to your own: `sudo chown USER \
                 JOURNAL && sudo chmod 0600 JOURNAL`. Nobody else's is to be obeyed; without the journal the run cannot be taken \
                 back any more"
    )]
    UndoOwner {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// The image was written to after the run that a journal of an earlier version is about, as far as times can tell.
    #[error("`{}` has another time than at the end of the run that could be undone", path.display())]
    #[failure(
        refused,
        "E-UNDO-STALE",
        hint = "if nobody wrote to the image since, as after a copy of it, `coldforge undo --force IMAGE` takes the run back; \
                 `coldforge undo --forget IMAGE` keeps the image as it is"
    )]
    UndoStale {
        /// The image.
        path: PathBuf,
    },

    /// A run in place was broken off when the image was written, and its evidence was not.
    #[error("a run wrote all of `{}` and was broken off before its evidence was whole", path.display())]
    #[failure(
        refused,
        "E-UNDO-EXISTS",
        hint = "run `coldforge undo IMAGE` to take that run back and start it again, or `coldforge undo --forget IMAGE` to \
                 keep the image without evidence"
    )]
    Unsettled {
        /// The image.
        path: PathBuf,
    },

    /// A structure that must be understood is not.
    #[error("the {container} has the {structure} {id}, which must be understood and is not")]
    #[failure(unsupported, "E-CONTAINER-UNKNOWN-PART", hint = CHECK_CONTAINER)]
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
    #[failure(refused, "E-UNFINISHED-RUN", hint = "run `coldforge undo IMAGE` to bring the image back to what it was")]
    UnfinishedRun {
        /// The image.
        path: PathBuf,
    },

    /// The bitmap of a VHD block calls sectors unwritten that hold data: readers differ about them.
    #[error("block {block} of the VHD holds data at {at:#x} of the file in a sector that its bitmap calls unwritten")]
    #[failure(refused, "E-VHD-BITMAP", hint = CHECK_VHD)]
    VhdBitmap {
        /// Index of the block.
        block: u64,
        /// The first such byte, in the container file.
        at: u64,
    },

    /// A VHD structure's checksum is wrong.
    #[error("the VHD {structure} at {at:#x} has the checksum {actual:#010x}, and {expected:#010x} is right")]
    #[failure(corrupt, "E-VHD-CORRUPT", hint = CHECK_VHD)]
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
    #[failure(corrupt, "E-VHD-CORRUPT", hint = CHECK_VHD)]
    VhdCookie {
        /// Which structure.
        structure: &'static str,
        /// Where it should begin in the file.
        at: u64,
    },

    /// A field of a VHD structure has a value that it cannot have.
    #[error("the VHD {structure} at {at:#x} has the {field} {actual:#x}, which is impossible or unknown")]
    #[failure(corrupt, "E-VHD-CORRUPT", hint = CHECK_VHD)]
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
    #[failure(corrupt, "E-VHD-CORRUPT", hint = CHECK_VHD)]
    VhdFooterCopies {
        /// Where the footer begins in the file.
        at: u64,
    },

    /// A block cannot be added to a dynamic VHD, because it would lie beyond what its table can address.
    #[error("a new block at {at:#x} of the file is out of reach of the VHD's block table")]
    #[failure(limit, "E-VHD-FULL", hint = "convert the image to a fixed VHD or a raw disk first")]
    VhdFull {
        /// Where the block would begin in the file.
        at: u64,
    },

    /// Two structures of a VHD share bytes of the file.
    #[error("two structures of the VHD overlap at {at:#x}")]
    #[failure(corrupt, "E-VHD-CORRUPT", hint = CHECK_VHD)]
    VhdOverlap {
        /// The first shared byte of the file.
        at: u64,
    },

    /// A structure of a VHD leaves the space that the file has for it.
    #[error(
        "the VHD {structure} of {length:#x} bytes at {at:#x} leaves the file of {size:#x} bytes or meets its footer"
    )]
    #[failure(corrupt, "E-VHD-CORRUPT", hint = CHECK_VHD)]
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
    #[failure(limit, "E-VHDX-FRAGMENTS", hint = "convert the VHDX to a new one on the machine that made it")]
    VhdxFragments,

    /// The log of a VHDX cannot be replayed.
    #[error("the log of the VHDX at {at:#x} {what}")]
    #[failure(corrupt, "E-VHDX-LOG", hint = CHECK_CONTAINER)]
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
