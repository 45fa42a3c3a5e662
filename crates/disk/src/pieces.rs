//! Ranges of a disk, piece by piece: a read over blocks that lie in different places, the search for data in such blocks,
//! and a long range through a small buffer.
//!
//! Every container that stores a disk in blocks (dynamic and differencing VHD, VHDX, VMDK) reads through [`fill`], which
//! asks the container only where each block lies.

use super::Result;
use coldforge_base::{Extent, read};

/// Fills `buf` with the bytes that begin at `at` of a disk that is stored in blocks.
///
/// `find` tells what holds the byte at an offset of the disk, and how many bytes from there on the same holds; `read` fills
/// a piece that begins at an offset and lies inside that range. The range must lie inside the disk.
pub(crate) fn fill<T>(
    at: u64,
    buf: &mut [u8],
    find: impl Fn(u64) -> Result<(T, u64)>,
    read: impl Fn(T, u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let (mut at, mut rest) = (at, buf);
    // Each round fills at least one byte.
    while !rest.is_empty() {
        let (block, left) = find(at)?;
        let length = usize::try_from(left.max(1)).unwrap_or(usize::MAX).min(rest.len());
        let (piece, behind) = rest.split_at_mut(length);
        read(block, at, piece)?;
        at = at.saturating_add(length as u64);
        rest = behind;
    }
    Ok(())
}

/// Returns the first extent at or after `from` of a disk of `size` bytes that may hold anything but zeros.
///
/// `look` returns the end of the run of blocks in which an offset lies, and the first data in the run from there on.
pub(crate) fn next_data(
    from: u64,
    size: u64,
    look: impl Fn(u64) -> Result<(u64, Option<Extent>)>,
) -> Result<Option<Extent>> {
    let mut at = from;
    // Each round passes a run of blocks, of which a container has a bounded number.
    while at < size {
        let (end, found) = look(at)?;
        if found.is_some() {
            return Ok(found);
        }
        at = end.max(at.saturating_add(1));
    }
    Ok(None)
}

/// Returns data that were found in a file as data of the disk, where the disk's byte `at` lies at `file_at` of the file.
pub(crate) fn on_disk(at: u64, file_at: u64, data: Extent) -> Extent {
    Extent::new(at.saturating_add(data.offset.saturating_sub(file_at)), data.length)
}

/// Returns the part of an extent that lies before `end`.
pub(crate) fn before(data: Extent, end: u64) -> Option<Extent> {
    (data.offset < end).then(|| Extent::new(data.offset, data.end().min(end).saturating_sub(data.offset)))
}

/// Returns how many bytes from `at` on lie in sectors that are all the child's own or all its parent's, and whether they
/// are the child's; no more than `length` bytes are looked at, rounded up to a sector.
pub(crate) fn own_sectors(at: u64, length: u64, sector_bytes: u64, is_own: impl Fn(u64) -> bool) -> (bool, u64) {
    let sector_bytes = sector_bytes.max(1);
    let own = is_own(at);
    let mut left = sector_bytes.saturating_sub(at.checked_rem(sector_bytes).unwrap_or(0));
    // Ends with the range: each round passes a sector.
    while left < length && is_own(at.saturating_add(left)) == own {
        left = left.saturating_add(sector_bytes);
    }
    (own, left)
}

/// Calls `each` for the pieces of an extent that fit into `buf`, with as much of it.
pub(crate) fn for_each_piece(
    extent: Extent,
    buf: &mut [u8],
    mut each: impl FnMut(Extent, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut at = extent.offset;
    while at < extent.end() {
        let length = extent.end().saturating_sub(at).min(buf.len() as u64);
        let piece = read::slice_mut(buf, 0, read::size(length));
        each(Extent::new(at, length), piece?)?;
        at = at.saturating_add(length);
    }
    Ok(())
}

/// Tells whether all bytes are zero, many at a time.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (wide, rest) = bytes.as_chunks::<64>();
    wide.iter().all(|bytes| bytes.iter().fold(0, |sum, byte| sum | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}
