//! Transaction logs (`.LOG`, `.LOG1`, `.LOG2`): what Windows writes beside a hive before it writes into the hive.
//!
//! A log begins with the first sector of a base block, of a file type of its own; then follow entries (new format) or
//! a bitmap and pages (old format). Here a log is read and judged by itself; whether it belongs to a hive, and what
//! its pages make of that hive, is decided in `recover`.

mod dirty_vector;
mod entries;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod hostile;
mod marvin;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod sample;

pub(super) use entries::Entries;

use std::fmt;

use zerocopy::FromBytes;

use super::base_block;
use super::layout::BaseBlock;

/// Logs are written in sectors of this many bytes, whatever the disk has.
const SECTOR_LEN: u32 = 512;

/// A transaction log: the file's name and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Log<'l> {
    /// The file's name, for reports.
    pub name: &'l str,
    /// The whole file.
    pub bytes: &'l [u8],
}

impl Log<'_> {
    /// Tells whether the file called `file` is a log of the hive file called `hive` in the same folder: the same name
    /// with `.LOG`, `.LOG1` or `.LOG2` behind it, whatever the case of its letters (`ntuser.dat.log1` belongs to
    /// `NTUSER.DAT`).
    pub fn is_named_for(file: &str, hive: &str) -> bool {
        let Some((stem, suffix)) = file.split_at_checked(hive.len()) else { return false };
        stem.eq_ignore_ascii_case(hive)
            && [".LOG", ".LOG1", ".LOG2"].iter().any(|known| suffix.eq_ignore_ascii_case(known))
    }

    /// Returns what the log file must hold once its hive was recovered or edited: zeros, and as many as before, so
    /// that the file neither grows nor shrinks.
    ///
    /// The hive is clean then and Windows does not look at its logs, until the next time that it goes down hard. It
    /// takes up a log by writing a new base block at its front and entries behind it; what lies further back stays.
    /// Windows numbers its entries on from the hive's sequence number, so an old entry there, whose hashes are right,
    /// can come to have the number that is due next, and a recovery would write pages from before the edit over it.
    /// Therefore all of the file is zeroed, not only its base block. Windows writes a blank log anew.
    #[must_use]
    pub fn blanked(&self) -> Vec<u8> {
        vec![0; self.bytes.len()]
    }

    /// Tells whether the log is as [`Log::blanked`] makes it; an empty file is, too.
    pub fn is_blank(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }
}

/// Why the entries of a log ended where they did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// The file ends, or no entry begins there.
    NoEntry,
    /// An entry of an earlier turn of the log follows.
    Sequence {
        /// The number that was due.
        expected: u32,
        /// The number there.
        actual: u32,
    },
    /// The entry's length is no number of sectors, or leaves the file.
    Length {
        /// The length in bytes.
        actual: u32,
    },
    /// A hash is wrong: the entry was not written whole.
    Hash,
    /// The entry is whole, and says what is not possible.
    Impossible,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntry => f.write_str("no entry follows"),
            Self::Sequence { expected, actual } => write!(f, "entry {actual} follows where {expected} is due"),
            Self::Length { actual } => write!(f, "an entry has the impossible length {actual:#x}"),
            Self::Hash => f.write_str("the hashes of an entry are wrong"),
            Self::Impossible => f.write_str("an entry says what is not possible"),
        }
    }
}

/// Why a log was not replayed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ignored {
    /// The hive is clean: its logs say nothing that it does not hold.
    HiveClean,
    /// The caller chose to take the hive as it is.
    NotAsked,
    /// The file is empty, or all zeros.
    Blank,
    /// The file does not begin with a base block.
    NoBaseBlock,
    /// The base block's checksum is wrong.
    Checksum,
    /// The file is not a log.
    FileType {
        /// Its type: logs have 1, 2 or 6.
        actual: u32,
    },
    /// The log's sequence numbers differ: it was not written to its end.
    Unfinished {
        /// The primary sequence number.
        primary: u32,
        /// The secondary sequence number.
        secondary: u32,
    },
    /// The log's version or root cell is not the hive's.
    OtherHive,
    /// Not even its first entry is good, for this reason.
    NoEntries(End),
    /// Its bitmap or its pages are cut off, or no page is dirty.
    DirtyVector,
    /// It was written before the hive's last complete write.
    Stale {
        /// The log's first sequence number.
        first: u32,
        /// The hive's secondary sequence number, below which a log is stale.
        hive: u32,
    },
    /// Its time of last writing is before the hive's.
    Older,
    /// It does not go on where the replay had come to.
    Gap {
        /// The log's first sequence number.
        first: u32,
        /// The sequence number that was due.
        expected: u32,
    },
    /// What should come before its first entry may lie in another log, which is damaged.
    Headless {
        /// The log's first sequence number.
        first: u32,
    },
    /// Another log begins with the same sequence number and says something else.
    Twin,
    /// Another log is damaged and may be newer, and the hive's base block is lost, which would tell.
    Rivalled,
    /// Another log is newer, and one alone can be used: the old format, or a base block that is lost.
    Superseded,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HiveClean => f.write_str("the hive is clean"),
            Self::NotAsked => f.write_str("the hive was to be taken as it is"),
            Self::Blank => f.write_str("it is blank"),
            Self::NoBaseBlock => f.write_str("it does not begin with a base block"),
            Self::Checksum => f.write_str("its base block's checksum is wrong"),
            Self::FileType { actual } => write!(f, "it is of file type {actual}, which is no log"),
            Self::Unfinished { primary, secondary } => {
                write!(f, "it was not written to its end: its sequence numbers are {primary} and {secondary}")
            }
            Self::OtherHive => f.write_str("its version or its root cell is not the hive's"),
            Self::NoEntries(end) => write!(f, "none of its entries is good: {end}"),
            Self::DirtyVector => f.write_str("its bitmap or its pages are missing"),
            Self::Stale { first, hive } => write!(f, "it begins at {first}, before the hive's {hive}"),
            Self::Older => f.write_str("it was written before the hive"),
            Self::Gap { first, expected } => write!(f, "it begins at {first} where {expected} is due"),
            Self::Headless { first } => {
                write!(f, "what comes before its first entry, {first}, may lie in a log that is damaged")
            }
            Self::Twin => f.write_str("another log begins at the same number and differs"),
            Self::Rivalled => f.write_str("another log is damaged and may be newer"),
            Self::Superseded => f.write_str("another log is newer"),
        }
    }
}

/// A piece of the bins, as it was when the log was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Page<'l> {
    /// Its first byte, counted from the first bin; with its length it stays inside the bins that the log speaks of.
    pub offset: u32,
    /// Whole sectors.
    pub bytes: &'l [u8],
}

/// A log whose base block is good.
pub(super) struct Journal<'l> {
    /// The base block's first sector.
    pub base: &'l BaseBlock,
    /// The same, as bytes.
    pub sector: &'l [u8],
    /// What follows.
    pub content: Content<'l>,
}

/// What a log holds.
pub(super) enum Content<'l> {
    /// New format. There may be none.
    Entries(Entries<'l>),
    /// Old format. There is at least one.
    Pages(Vec<Page<'l>>),
}

/// Reads a log.
///
/// # Errors
/// Why it is none that can be replayed.
pub(super) fn read<'l>(log: &Log<'l>) -> Result<Journal<'l>, Ignored> {
    let sector = log.bytes.get(..SECTOR_LEN as usize).unwrap_or(log.bytes);
    if log.is_blank() {
        return Err(Ignored::Blank);
    }
    let Ok((base, _)) = BaseBlock::ref_from_prefix(sector) else { return Err(Ignored::NoBaseBlock) };
    if base.signature != *b"regf" {
        return Err(Ignored::NoBaseBlock);
    }
    if base_block::checksum(sector) != base.checksum.get() {
        return Err(Ignored::Checksum);
    }
    let kind = base.file_type.get();
    if !matches!(kind, 1 | 2 | 6) {
        return Err(Ignored::FileType { actual: kind });
    }
    let (primary, secondary) = (base.primary_sequence.get(), base.secondary_sequence.get());
    if primary != secondary {
        return Err(Ignored::Unfinished { primary, secondary });
    }
    let content = if kind == 6 {
        Content::Entries(entries::read_all(log.name, log.bytes, primary))
    } else {
        let bins_len = base.bins_len.get();
        let pages = dirty_vector::read_all(log.bytes, bins_len).filter(|_| base_block::is_bins_len(bins_len));
        Content::Pages(pages.ok_or(Ignored::DirtyVector)?)
    };
    Ok(Journal { base, sector, content })
}
