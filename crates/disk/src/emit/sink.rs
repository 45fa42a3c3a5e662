//! What every writer of a container shares: the file that it writes to, runs without zeros, tables, ids from contents.

use super::super::Result;
use super::super::pieces::is_zero;
use super::walk::{Piece, Walked};
use coldforge_base::digest::Digest;
use coldforge_base::guid::Guid;
use coldforge_base::read;

/// Where a new file's bytes go.
pub(crate) trait Sink {
    /// Writes bytes at a place of the file.
    fn put(&self, at: u64, bytes: &[u8]) -> Result<()>;

    /// Gives the file a length.
    fn resize(&self, length: u64) -> Result<()>;
}

/// What was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Emitted {
    pub file_bytes: u64,
    pub ebs_linear: String,
    pub ebs_blocks: u64,
}

impl Emitted {
    pub(super) fn new(file_bytes: u64, walked: Walked) -> Self {
        Self { file_bytes, ebs_linear: walked.ebs_linear, ebs_blocks: walked.ebs_blocks }
    }
}

/// Writes the parts of a piece that are not zero; the piece begins at `at` of the file.
pub(super) fn put_runs(sink: &dyn Sink, at: u64, piece: &Piece) -> Result<()> {
    piece.runs.iter().try_for_each(|run| {
        let bytes = read::slice(&piece.bytes, run.start, run.len())?;
        sink.put(at.saturating_add(run.start as u64), bytes)
    })
}

/// Returns an id for one purpose from the identity of some contents.
pub(super) fn id(purpose: &str, identity: &Digest) -> Guid {
    let Digest(digest) = Digest::of(&[b"coldforge/", purpose.as_bytes(), b"\0", &identity.0].concat());
    let mut id = [0; 16];
    for (byte, from) in id.iter_mut().zip(digest) {
        *byte = from;
    }
    // Version 8 and variant 1 of RFC 9562: made from data.
    id[7] = id[7] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    Guid(id)
}

/// Writes only those pages of a table that hold anything but zeros.
pub(super) fn put_table(sink: &dyn Sink, at: u64, table: &[u8]) -> Result<()> {
    for (i, page) in (0u64..).zip(table.chunks(64 << 10)) {
        if !is_zero(page) {
            sink.put(at.saturating_add(i.saturating_mul(64 << 10)), page)?;
        }
    }
    Ok(())
}
