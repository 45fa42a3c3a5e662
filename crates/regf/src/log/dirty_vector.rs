//! The old format (up to Windows 8, file types 1 and 2): a bitmap of dirty pages ("DIRT"), then those pages in order.
//!
//! One bit stands for 512 bytes of bins. Nothing guards the pages but the base block, which is written last.

use super::{Page, SECTOR_LEN};
use crate::layout::BIN_ALIGN;
use coldforge_base::read;

/// Reads the pages of a log of the old format for bins of `bins_len` bytes; `None` if the bitmap or a page is cut off,
/// or if no page is dirty.
pub(super) fn read_all(bytes: &[u8], bins_len: u32) -> Option<Vec<Page<'_>>> {
    let sector = SECTOR_LEN as usize;
    let signature = read::array::<4>(bytes, sector).ok()?;
    if signature != *b"DIRT" {
        return None;
    }
    let start = sector.checked_add(signature.len())?;
    let bitmap = read::slice(bytes, start, (bins_len / BIN_ALIGN) as usize).ok()?;
    let mut at = start.checked_add(bitmap.len())?.checked_next_multiple_of(sector)?;
    let mut pages = Vec::new();
    let mut offset = 0u32;
    // Bounded by the bitmap, which lies in the log; offsets stay below `bins_len`.
    for byte in bitmap {
        for bit in 0..8 {
            if byte >> bit & 1 != 0 {
                pages.push(Page { offset, bytes: read::slice(bytes, at, sector).ok()? });
                at = at.checked_add(sector)?;
            }
            offset = offset.checked_add(SECTOR_LEN)?;
        }
    }
    (!pages.is_empty()).then_some(pages)
}
