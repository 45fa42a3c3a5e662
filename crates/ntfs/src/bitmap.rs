//! Single bits of the bitmaps of clusters (`$Bitmap`), file records (`$MFT:$BITMAP`) and index blocks.
//!
//! Bit `n % 8` of byte `n / 8` stands for cluster, record or block `n`. `write::space` and `verify::clusters` work on
//! runs of bits and do so without this file.

use coldforge_base::read;

/// Returns whether a bit is set; a bit past the end is clear.
pub(super) fn is_set(bitmap: &[u8], number: u64) -> bool {
    let byte = usize::try_from(number / 8).ok().and_then(|at| bitmap.get(at));
    byte.is_some_and(|byte| byte & read::bit(number) != 0)
}

/// Sets or clears a bit, and returns whether the bitmap has it.
pub(super) fn set(bitmap: &mut [u8], number: u64, is_used: bool) -> bool {
    let byte = usize::try_from(number / 8).ok().and_then(|at| bitmap.get_mut(at));
    let Some(byte) = byte else { return false };
    let mask = read::bit(number);
    *byte = if is_used { *byte | mask } else { *byte & !mask };
    true
}
