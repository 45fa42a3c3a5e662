//! A whole log: what the lines of `audit.jsonl` say, once their chain is proven.

use super::chain::{self, Fault};
use super::record::{ChangeRecord, FileRecord, Header, Record, Trailer};
use coldforge_base::Extent;
use coldforge_base::digest::Digest;

/// The records of a log in their order.
#[derive(Clone, Debug)]
pub struct Log {
    /// Who changed what by which policy.
    pub header: Header,
    /// The settings that were changed.
    pub changes: Vec<Numbered<ChangeRecord>>,
    /// The files that were changed.
    pub files: Vec<Numbered<FileRecord>>,
    /// What came out.
    pub trailer: Trailer,
    /// How many lines there are.
    pub lines: usize,
    /// SHA-256 of the log.
    pub sha256: Digest,
    /// What this version would not have written, by line from 1: a member that is unknown, repeated or spelled otherwise.
    pub oddities: Vec<(usize, String)>,
}

/// A record with the number of its line, from 1.
#[derive(Clone, Debug)]
pub struct Numbered<T> {
    /// The line.
    pub line: usize,
    /// What it says.
    pub record: T,
}

impl Log {
    /// Reads a log and proves its chain.
    ///
    /// # Errors
    /// The first line that breaks the chain, or lacks what a line of its type says.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let (mut header, mut trailer) = (None, None);
        let (mut changes, mut files, mut oddities) = (Vec::new(), Vec::new(), Vec::new());
        let lines = chain::read(text)?;
        for (line, sealed) in lines.iter().enumerate().map(|(at, sealed)| (at.saturating_add(1), sealed)) {
            let (record, oddity) = sealed.record().map_err(|what| Fault { line, what: what.into() })?;
            oddities.extend(oddity.map(|what| (line, what)));
            match record {
                Record::Header(record) => header = Some(*record),
                Record::Change(record) => changes.push(Numbered { line, record }),
                Record::File(record) => files.push(Numbered { line, record }),
                Record::Trailer(record) => trailer = Some(*record),
            }
        }
        // A chain that is whole begins with a header and ends with a trailer.
        let missing = || Fault { line: 1, what: "there is no header, or no trailer".into() };
        Ok(Self {
            header: header.ok_or_else(missing)?,
            changes,
            files,
            trailer: trailer.ok_or_else(missing)?,
            lines: lines.len(),
            sha256: Digest::of(text.as_bytes()),
            oddities,
        })
    }

    /// Returns every byte of the disk that the log explains: those of its `file` lines.
    pub fn extents(&self) -> Vec<Extent> {
        self.files.iter().flat_map(|file| file.record.extents.iter().copied()).collect()
    }
}
