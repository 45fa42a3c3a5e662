//! A disk in pieces, each read once: several are read and hashed at the same time while those before them are written.
//!
//! The SHA-256 digests of the disk's 512 KiB blocks fall out on the way. They give the EBS LINEAR checksum, and an
//! identity of the contents from which new containers take their ids: no clock, no chance.

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::super::Result;
use super::super::digest::{EBS_BLOCK_BYTES, hash_block};
use super::super::pieces::is_zero;
use coldforge_base::digest::{Digest, base64};
use coldforge_base::progress::Progress;
use coldforge_base::{ReadAt, read};

/// Bytes of a piece: a block of every container is one or several.
pub(super) const PIECE_BYTES: u64 = 2 << 20;
/// How many pieces are in memory at once, twice.
const PIECES_AT_ONCE: usize = 16;
/// As many where each is there packed as well: memory stays below 128 MiB whatever is written.
const PACKED_AT_ONCE: usize = PIECES_AT_ONCE / 2;
/// What is looked at as a whole when zeros are left out.
const PAGE_BYTES: usize = 4096;
/// Shorter gaps of zeros are written: a call costs more.
const GAP_BYTES: usize = 32 << 10;
const _: () = assert!(PIECE_BYTES.is_multiple_of(EBS_BLOCK_BYTES));

/// A piece of the disk that is not all zero.
pub(super) struct Piece {
    /// Where it begins on the disk, a multiple of [`PIECE_BYTES`].
    pub at: u64,
    /// Its bytes; the last piece of a disk may be short.
    pub bytes: Vec<u8>,
    /// The parts of it that are not all zero, apart by enough to be worth it.
    pub runs: Vec<Range<usize>>,
    /// What the writer made of it beside other pieces: compressed grains.
    pub packed: Vec<(usize, Vec<u8>)>,
    blocks: Vec<(u64, Digest)>,
}

/// What is known of a disk that was walked through.
pub(super) struct Walked {
    /// The EBS LINEAR checksum in base64.
    pub ebs_linear: String,
    /// How many blocks that checksum is about.
    pub ebs_blocks: u64,
    /// Identifies size and contents.
    pub identity: Digest,
}

/// What a caller makes of each piece while others are made: the places in it, and their bytes.
pub(super) type Pack = fn(&[u8]) -> Vec<(usize, Vec<u8>)>;

/// Gives every piece that is not all zero to `each`, in order.
pub(super) fn walk(
    device: &dyn ReadAt,
    pack: Option<Pack>,
    progress: &dyn Progress,
    mut each: impl FnMut(&Piece) -> Result<()>,
) -> Result<Walked> {
    let size = device.len();
    progress.start("write", size);
    let mut linear = Sha256::new();
    let mut identity = Sha256::new();
    identity.update(size.to_le_bytes());
    let mut ebs_blocks = 0u64;
    let mut places = Places { device, at: 0, at_once: pack.map_or(PIECES_AT_ONCE, |_| PACKED_AT_ONCE) };
    let spare = Mutex::new(Vec::new());
    let read = |at: &u64| read_piece(device, *at, pack, &spare);
    let batch = |batch: &[u64]| batch.par_iter().map(read).collect::<Result<Vec<_>>>();
    let mut next = batch(&places.take()?)?;
    let mut told = 0;
    while !next.is_empty() {
        let current = next;
        let indices = places.take()?;
        let mut following = Ok(Vec::new());
        let mut written: Result<()> = Ok(());
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| following = batch(&indices));
            written = current.iter().flatten().try_for_each(|piece| {
                for (index, digest) in &piece.blocks {
                    linear.update(digest.0);
                    identity.update(index.to_le_bytes());
                    identity.update(digest.0);
                    ebs_blocks = ebs_blocks.saturating_add(1);
                }
                each(piece)?;
                let end = piece.at.saturating_add(piece.bytes.len() as u64);
                progress.advance(end.saturating_sub(told));
                told = end;
                Ok(())
            });
        });
        written?;
        if let Ok(mut spare) = spare.lock() {
            spare.extend(current.into_iter().flatten().map(|piece| piece.bytes));
        }
        next = following?;
    }
    progress.advance(size.saturating_sub(told));
    let ebs_linear = base64(&linear.finalize());
    Ok(Walked { ebs_linear, ebs_blocks, identity: Digest(identity.finalize().into()) })
}

/// The places of pieces that may hold data.
struct Places<'a> {
    device: &'a dyn ReadAt,
    at: u64,
    at_once: usize,
}

impl Places<'_> {
    /// Returns the next ones, none at the end of the disk.
    fn take(&mut self) -> Result<Vec<u64>> {
        let mut places = Vec::with_capacity(self.at_once);
        while places.len() < self.at_once {
            let Some(data) = self.device.next_data(self.at)? else { break };
            let place = data.offset.saturating_sub(data.offset % PIECE_BYTES);
            places.push(place);
            self.at = place.saturating_add(PIECE_BYTES);
        }
        Ok(places)
    }
}

/// Reads a piece; `None` if it is all zero. Memory of pieces that are written is in `spare`, and is used again.
fn read_piece(device: &dyn ReadAt, at: u64, pack: Option<Pack>, spare: &Mutex<Vec<Vec<u8>>>) -> Result<Option<Piece>> {
    let length = device.len().saturating_sub(at).min(PIECE_BYTES);
    let mut bytes = spare.lock().ok().and_then(|mut spare| spare.pop()).unwrap_or_default();
    bytes.resize(read::size(length), 0);
    let end = at.saturating_add(length);
    let mut from = at;
    let mut runs = Vec::new();
    // Holes inside the piece need not be read; each round passes an extent.
    while from < end {
        let data = device.next_data(from)?.filter(|data| data.offset < end);
        let (start, stop) = data.map_or((end, end), |data| (data.offset.max(from), data.end().min(end)));
        let hole = offset(at, start).saturating_sub(offset(at, from));
        read::slice_mut(&mut bytes, offset(at, from), hole)?.fill(0);
        let range = offset(at, start)..offset(at, stop);
        let stored = read::slice_mut(&mut bytes, range.start, range.len())?;
        device.read_at(start, stored)?;
        add_runs(&mut runs, range.start, stored);
        from = stop;
    }
    if runs.is_empty() {
        if let Ok(mut spare) = spare.lock() {
            spare.push(bytes);
        }
        return Ok(None);
    }
    let first = at / EBS_BLOCK_BYTES;
    let block_bytes = read::size(EBS_BLOCK_BYTES);
    let hash = |(i, block): (u64, &[u8])| Some((first.saturating_add(i), hash_block(block)?));
    let blocks = (0u64..).zip(bytes.chunks(block_bytes)).filter_map(hash).collect();
    let packed = pack.map_or_else(Vec::new, |pack| pack(&bytes));
    Ok(Some(Piece { at, bytes, runs, packed, blocks }))
}

/// Returns how far `at` lies behind the beginning of its piece.
fn offset(piece_at: u64, at: u64) -> usize {
    read::size(at.saturating_sub(piece_at))
}

/// Adds the parts of some bytes that are not all zero, in whole pages from `at` on; close ones are one.
fn add_runs(runs: &mut Vec<Range<usize>>, at: usize, bytes: &[u8]) {
    let mut start = at;
    for page in bytes.chunks(PAGE_BYTES) {
        let end = start.saturating_add(page.len());
        if !is_zero(page) {
            match runs.last_mut() {
                Some(last) if start.saturating_sub(last.end) < GAP_BYTES => last.end = end,
                _ => runs.push(start..end),
            }
        }
        start = end;
    }
}
