//! What can be wrong with a hive, or with what is asked of one.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::recover::LogReport;
use coldforge_base::{CellOffset, Failure, FileOffset};

/// A hint that several of these errors share.
const CHANGE_ONLINE: &str = "make this one change on the running machine, and leave its rule out here";
/// A hint that several of these errors share.
const FOREIGN_LOG: &str = "find out who wrote the log: Windows did not; boot the machine once so that Windows recovers the hive \
                 in its own way, then take the image again";

/// A failure of this floor. Cell offsets count from the first bin, file offsets from the base block.
#[derive(Clone, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum Error {
    /// A big-data record or its segments contradict the value's size.
    #[error("big data at {at} has {actual} segments, its size needs {expected}")]
    #[failure(corrupt)]
    BigData {
        /// The big-data cell.
        at: CellOffset,
        /// Segments by the size of the value.
        expected: u32,
        /// Segments by the record.
        actual: u32,
    },

    /// A bin does not begin with its signature.
    #[error("no bin header at {at}")]
    #[failure(corrupt)]
    BinHeader {
        /// Where the bin should begin.
        at: CellOffset,
    },

    /// A bin says that it lies elsewhere.
    #[error("the bin at {at} says that it lies at {actual:#x}")]
    #[failure(corrupt)]
    BinOffset {
        /// Where the bin lies.
        at: CellOffset,
        /// What it says.
        actual: u32,
    },

    /// A bin's size is zero, no multiple of 4096, or leaves the bins.
    #[error("the bin at {at} has the impossible size {actual:#x}")]
    #[failure(corrupt)]
    BinSize {
        /// Where the bin lies.
        at: CellOffset,
        /// Its size in bytes.
        actual: u32,
    },

    /// The size of all bins is zero, no multiple of 4096, or more than the file holds.
    #[error("the bins' size {actual:#x} in the base block does not fit a file of {available:#x} bytes")]
    #[failure(corrupt)]
    BinsSize {
        /// The size in bytes by the base block.
        actual: u32,
        /// The size of the file in bytes.
        available: u64,
    },

    /// A cell's size is no multiple of 8, too small, or leaves the bin.
    #[error("the cell at {at} has the impossible size {actual}, its bin ends at {end}")]
    #[failure(corrupt)]
    CellSize {
        /// The cell.
        at: CellOffset,
        /// Its size in bytes, negative where allocated.
        actual: i32,
        /// The end of its bin.
        end: CellOffset,
    },

    /// A structure is longer than the cell that holds it.
    #[error("the cell at {at} holds {actual} bytes, what lies in it needs {expected}")]
    #[failure(corrupt)]
    CellTooShort {
        /// The cell.
        at: CellOffset,
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        actual: usize,
    },

    /// The base block's checksum is wrong.
    #[error("the base block's checksum is {actual:#010x}, its bytes give {expected:#010x}")]
    #[failure(corrupt, hint = "boot the machine once so that Windows recovers the hive, then take the image again")]
    Checksum {
        /// The checksum computed.
        expected: u32,
        /// The checksum stored.
        actual: u32,
    },

    /// A value is larger than any hive can store.
    #[error("{actual} bytes are more than a value can have")]
    #[failure(usage, "E-HIVE-DATA-TOO-LONG")]
    DataTooLong {
        /// The length in bytes.
        actual: usize,
    },

    /// A security descriptor that is to be stored is malformed, or has no owner.
    #[error("the security descriptor is malformed or has no owner")]
    #[failure(
        refused,
        "E-HIVE-DESCRIPTOR",
        hint = "give a self-relative descriptor with an owner, as Windows stores it"
    )]
    Descriptor,

    /// The sequence numbers differ: the last writer did not finish.
    #[error("the hive is dirty: its sequence numbers are {primary} and {secondary}")]
    #[failure(
        refused,
        "E-HIVE-DIRTY",
        hint = "boot the machine once and shut it down cleanly (shutdown /s /t 0), then take the image again"
    )]
    Dirty {
        /// The primary sequence number.
        primary: u32,
        /// The secondary sequence number.
        secondary: u32,
    },

    /// The sequence numbers differ, and none of the logs can be replayed.
    #[error(
        "the hive is dirty (its sequence numbers are {primary} and {secondary}) and has no log that can be replayed{}",
        listed(logs)
    )]
    #[failure(
        refused,
        "E-HIVE-DIRTY-NO-LOG",
        hint = "take the hive together with its .LOG1 and .LOG2, or boot the machine once and shut it down cleanly \
                 (shutdown /s /t 0), then take the image again"
    )]
    DirtyNoLog {
        /// The primary sequence number.
        primary: u32,
        /// The secondary sequence number.
        secondary: u32,
        /// Why each log cannot.
        logs: Vec<LogReport>,
    },

    /// The base block names another kind of file, or another format.
    #[error("the file is of type {actual} and format {format}, a hive has type 0 and format 1")]
    #[failure(corrupt)]
    FileType {
        /// The type: 1, 2 and 6 are transaction logs.
        actual: u32,
        /// The format.
        format: u32,
    },

    /// No free cells are large enough, and the file has no room for the bins that the edit needs.
    #[error("the hive has no room: its file is {missing} bytes too short")]
    #[failure(
        refused,
        "E-HIVE-FULL",
        hint = "boot the machine once so that Windows enlarges the hive, or make fewer changes"
    )]
    Full {
        /// The bytes by which the file must be longer for this edit, as
        /// [`Hive::next_len`](super::Hive::next_len) takes them.
        missing: u32,
    },

    /// A key that is to be deleted alone has subkeys.
    #[error("the key at {at} has {count} subkeys")]
    #[failure(refused, "E-HIVE-HAS-SUBKEYS", hint = "delete the key with its subkeys, or delete those first")]
    HasSubkeys {
        /// The key's cell.
        at: CellOffset,
        /// The number of subkeys.
        count: u32,
    },

    /// The key has a flag with which this version does not edit it.
    #[error("the key at {at} has the flags {flags:#x}")]
    #[failure(refused, "E-HIVE-KEY-FLAGS", hint = CHANGE_ONLINE)]
    KeyFlags {
        /// The key's cell.
        at: CellOffset,
        /// The flags.
        flags: u16,
    },

    /// The hive belongs to a layered (differencing) registry.
    #[error("the hive is layered (version 1.{minor})")]
    #[failure(unsupported, "E-HIVE-LAYERED", hint = "take the image from the host, not from inside a container")]
    Layered {
        /// The minor version.
        minor: u32,
    },

    /// A key on the path is a symbolic link.
    #[error("the key at {at} is a symbolic link")]
    #[failure(refused, "E-HIVE-LINK", hint = "name the key that the link points to")]
    Link {
        /// The key's cell.
        at: CellOffset,
    },

    /// A subkey list has more entries than the hive has room for keys, or its pieces loop.
    #[error("the subkey list at {at} has more entries than the hive can hold keys")]
    #[failure(limit)]
    ListTooLong {
        /// The list's cell.
        at: CellOffset,
    },

    /// An entry of a log that is needed is whole, and gives the bins a size that they cannot have.
    #[error("the log {log}, at {at}, wants {actual:#x} bytes of bins, of at most {limit:#x} in whole bins")]
    #[failure(refused, "E-HIVE-LOG", hint = FOREIGN_LOG)]
    LogBins {
        /// The log's name.
        log: String,
        /// Where the entry begins.
        at: FileOffset,
        /// The size in bytes.
        actual: u32,
        /// The largest possible: by the format, or by the bytes that the hive and its logs have.
        limit: u64,
    },

    /// An entry of a log that is needed is whole, and has a page that cannot be.
    #[error("the log {log}, at {at}, has a page of {length:#x} bytes for {offset:#x}, which cannot be")]
    #[failure(refused, "E-HIVE-LOG", hint = FOREIGN_LOG)]
    LogPage {
        /// The log's name.
        log: String,
        /// Where the entry begins.
        at: FileOffset,
        /// Where in the bins the page belongs.
        offset: u32,
        /// Its length in bytes.
        length: u32,
    },

    /// An entry of a log that is needed is whole, and has no pages, or more than fit into it.
    #[error("the log {log}, at {at}, has {actual} pages in {length:#x} bytes")]
    #[failure(refused, "E-HIVE-LOG", hint = FOREIGN_LOG)]
    LogPages {
        /// The log's name.
        log: String,
        /// Where the entry begins.
        at: FileOffset,
        /// The number of pages.
        actual: u32,
        /// The entry's length in bytes.
        length: usize,
    },

    /// A key or a list is reached twice.
    #[error("the cell at {at} is reached twice")]
    #[failure(corrupt)]
    Loop {
        /// The cell.
        at: CellOffset,
    },

    /// A name is empty, too long, or has a character that names cannot have.
    #[error("`{name}` cannot be the name of a {of}")]
    #[failure(usage, "E-HIVE-NAME")]
    Name {
        /// The name as it was asked for.
        name: String,
        /// `key` or `value`.
        of: &'static str,
    },

    /// A UTF-16 name has an odd number of bytes.
    #[error("the name in the cell at {at} has {actual} bytes, which is no UTF-16")]
    #[failure(corrupt)]
    NameLength {
        /// The cell.
        at: CellOffset,
        /// The name's length in bytes.
        actual: u16,
    },

    /// No bin of a size that is looked for reaches what is pointed to.
    #[error("no bin holds {at}")]
    #[failure(corrupt)]
    NoBin {
        /// Where it points.
        at: CellOffset,
    },

    /// No allocated cell begins where one is pointed to.
    #[error("no allocated cell begins at {at}")]
    #[failure(corrupt)]
    NoCell {
        /// Where the cell should be.
        at: CellOffset,
    },

    /// The key is one that Windows does not delete: the root, or one with the flag for it.
    #[error("the key at {at} with the flags {flags:#x} cannot be deleted")]
    #[failure(refused, "E-HIVE-NO-DELETE", hint = "delete the values and subkeys of the key instead")]
    NoDelete {
        /// The key's cell.
        at: CellOffset,
        /// Its flags.
        flags: u16,
    },

    /// The file does not begin as a hive.
    #[error("the file is no hive: it begins with {actual:02x?}")]
    #[failure(corrupt)]
    NoHive {
        /// The first four bytes.
        actual: [u8; 4],
    },

    /// A key names another parent than the key whose list names it.
    #[error("the key at {at} says that its parent is {actual:#x}, it is {expected:#x}")]
    #[failure(corrupt)]
    Parent {
        /// The key's cell.
        at: CellOffset,
        /// The parent whose list names the key.
        expected: u32,
        /// The parent that the key names.
        actual: u32,
    },

    /// The security cell's reference count cannot count further.
    #[error("the security cell at {at} has the reference count {actual}")]
    #[failure(limit, "E-HIVE-REFERENCES")]
    References {
        /// The cell.
        at: CellOffset,
        /// The count.
        actual: u32,
    },

    /// The ring of security cells is broken.
    #[error("the ring of security cells is broken at {at}")]
    #[failure(corrupt)]
    Ring {
        /// The cell whose neighbour does not point back, or where the ring does not close.
        at: CellOffset,
    },

    /// A cell holds something else than what points to it says.
    #[error("the cell at {at} begins with {actual:02x?}, expected {expected}")]
    #[failure(corrupt)]
    Signature {
        /// The cell.
        at: CellOffset,
        /// What was expected.
        expected: &'static str,
        /// The two bytes there.
        actual: [u8; 2],
    },

    /// A key's number of subkeys is not that of its lists.
    #[error("the key at {at} says that it has {actual} subkeys, its lists name {expected}")]
    #[failure(corrupt)]
    SubkeyCount {
        /// The key's cell.
        at: CellOffset,
        /// The entries of the lists.
        expected: u32,
        /// The number in the key.
        actual: u32,
    },

    /// A key lies deeper than Windows allows.
    #[error("more than {limit} levels of keys")]
    #[failure(limit, "E-HIVE-TOO-DEEP")]
    TooDeep {
        /// The limit.
        limit: usize,
    },

    /// The hive would be larger than its cells can be addressed in: 2 GiB of bins.
    #[error("a hive of {actual:#x} bytes is more than its offsets can address")]
    #[failure(refused, "E-HIVE-TOO-LARGE", hint = "make fewer changes, or delete what the hive no longer needs")]
    TooLarge {
        /// The size in bytes.
        actual: u64,
    },

    /// Bytes of the hive file cannot be fetched.
    #[error("cannot read the {length} bytes at {at}")]
    #[failure(io)]
    Source {
        /// Where they begin.
        at: FileOffset,
        /// How many.
        length: usize,
        /// What the source answered.
        source: SourceError,
    },

    /// The file is shorter than what it must hold.
    #[error("the file ends inside the {length} bytes at {at}")]
    #[failure(corrupt)]
    TooShort {
        /// Where the missing bytes begin.
        at: FileOffset,
        /// How many are needed.
        length: usize,
    },

    /// A value that is to be renamed would have the name of another one.
    #[error("the value at {at} has that name already")]
    #[failure(refused, "E-HIVE-VALUE-EXISTS", hint = "delete the other value first, or choose another name")]
    ValueExists {
        /// The other value's cell.
        at: CellOffset,
    },

    /// The value has a flag with which this version does not edit it.
    #[error("the value at {at} has the flags {flags:#x}")]
    #[failure(unsupported, "E-HIVE-VALUE-FLAGS", hint = CHANGE_ONLINE)]
    ValueFlags {
        /// The value's cell.
        at: CellOffset,
        /// Its flags.
        flags: u16,
    },

    /// A value's size is inline and more than four bytes.
    #[error("the value at {at} has the impossible inline size {actual}")]
    #[failure(corrupt)]
    ValueSize {
        /// The value's cell.
        at: CellOffset,
        /// The size in bytes.
        actual: u32,
    },

    /// The hive's version is not one that this version reads.
    #[error("the hive has the version {major}.{minor}")]
    #[failure(unsupported, "E-HIVE-VERSION", hint = "use an image of Windows XP or later")]
    Version {
        /// The major version.
        major: u32,
        /// The minor version.
        minor: u32,
    },
}

/// What a [`super::Source`] answered; equal to itself and its copies alone.
#[derive(Clone, Debug, Error)]
#[error(transparent)]
pub struct SourceError(#[from] Arc<io::Error>);

impl PartialEq for SourceError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SourceError {}

/// Returns what became of each log, as the end of a sentence.
fn listed(logs: &[LogReport]) -> String {
    logs.iter().map(|log| format!("; {log}")).collect()
}
