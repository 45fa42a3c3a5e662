//! Checked cuts: the one place where untrusted bytes are sliced and turned into integers.
//!
//! Every function takes a buffer and an offset in bytes, and answers [`OutOfBounds`] instead of panicking.

use thiserror::Error;

/// A cut that does not lie inside its buffer.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{length} bytes at {at:#x} do not lie inside {available:#x} bytes")]
pub struct OutOfBounds {
    /// First byte asked for.
    pub at: usize,
    /// Number of bytes asked for.
    pub length: usize,
    /// Length of the buffer.
    pub available: usize,
}

/// Returns a length or an offset that was read, as one in memory. What memory cannot have becomes the largest number,
/// at which no cut succeeds; a length that is reserved has to be bounded before.
pub fn size(value: impl Into<u64>) -> usize {
    usize::try_from(value.into()).unwrap_or(usize::MAX)
}

/// Returns a byte with one bit set: that of the number `index` in a bitmap whose bytes count from their lowest bit.
pub fn bit(index: u64) -> u8 {
    [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80].get(size(index % 8)).copied().unwrap_or(0)
}

/// Returns the `length` bytes that begin at `at`.
///
/// # Errors
/// [`OutOfBounds`] if the range leaves the buffer.
pub fn slice(buf: &[u8], at: usize, length: usize) -> Result<&[u8], OutOfBounds> {
    at.checked_add(length).and_then(|end| buf.get(at..end)).ok_or(OutOfBounds { at, length, available: buf.len() })
}

/// Returns the `length` bytes that begin at `at`, to be changed in place.
///
/// # Errors
/// [`OutOfBounds`] if the range leaves the buffer.
pub fn slice_mut(buf: &mut [u8], at: usize, length: usize) -> Result<&mut [u8], OutOfBounds> {
    let available = buf.len();
    at.checked_add(length).and_then(|end| buf.get_mut(at..end)).ok_or(OutOfBounds { at, length, available })
}

/// Returns the `N` bytes that begin at `at`.
///
/// # Errors
/// [`OutOfBounds`] if the range leaves the buffer.
pub fn array<const N: usize>(buf: &[u8], at: usize) -> Result<[u8; N], OutOfBounds> {
    let cut = buf.get(at..).and_then(|rest| rest.first_chunk::<N>());
    cut.copied().ok_or(OutOfBounds { at, length: N, available: buf.len() })
}

/// Overwrites the bytes that begin at `at`.
///
/// # Errors
/// [`OutOfBounds`] if the range leaves the buffer; nothing is changed then.
pub fn put(buf: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
    slice_mut(buf, at, bytes.len())?.copy_from_slice(bytes);
    Ok(())
}

/// Returns the byte at `at`.
///
/// # Errors
/// [`OutOfBounds`] if it lies outside the buffer.
pub fn u8(buf: &[u8], at: usize) -> Result<u8, OutOfBounds> {
    array::<1>(buf, at).map(|[byte]| byte)
}

macro_rules! integers {
    ($($name:ident $put:ident $type:ty, $from:ident, $to:ident, $words:literal;)*) => {$(
        #[doc = concat!("Returns the ", $words, " integer at `at`.")]
        ///
        /// # Errors
        /// [`OutOfBounds`] if it leaves the buffer.
        pub fn $name(buf: &[u8], at: usize) -> Result<$type, OutOfBounds> {
            array(buf, at).map(<$type>::$from)
        }

        #[doc = concat!("Writes a ", $words, " integer at `at`.")]
        ///
        /// # Errors
        /// [`OutOfBounds`] if it leaves the buffer; nothing is changed then.
        pub fn $put(buf: &mut [u8], at: usize, value: $type) -> Result<(), OutOfBounds> {
            put(buf, at, &value.$to())
        }
    )*};
}

integers! {
    u16_le put_u16_le u16, from_le_bytes, to_le_bytes, "16-bit little-endian";
    u32_le put_u32_le u32, from_le_bytes, to_le_bytes, "32-bit little-endian";
    i32_le put_i32_le i32, from_le_bytes, to_le_bytes, "signed 32-bit little-endian";
    u64_le put_u64_le u64, from_le_bytes, to_le_bytes, "64-bit little-endian";
    u32_be put_u32_be u32, from_be_bytes, to_be_bytes, "32-bit big-endian";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_that_overflows_is_out_of_bounds() {
        assert_eq!(slice(&[0; 8], usize::MAX, 2), Err(OutOfBounds { at: usize::MAX, length: 2, available: 8 }));
        assert!(u64_le(&[0; 8], 1).is_err());
        assert_eq!(u16_le(&[1, 2], 0), Ok(0x0201));
    }

    #[test]
    fn a_failed_put_changes_nothing() {
        let mut buf = [7u8; 4];
        assert!(put_u32_le(&mut buf, 1, 0).is_err());
        assert_eq!(buf, [7; 4]);
    }
}
