//! The base block: is this a hive that can be worked on, where is its root, and how an edited one is sealed.
//!
//! The time stamp in it is left alone: Windows no longer maintains it since 8.1.

use std::mem::offset_of;

use zerocopy::FromBytes;

use super::layout::{BASE_BLOCK_LEN, BIN_ALIGN, BaseBlock};
use super::{Error, Result};
use coldforge_base::{CellOffset, FileOffset, read};

/// The largest size of all bins in bytes, 2 GiB less one bin: offsets from 0x80000000 on are those of volatile cells.
pub(super) const BINS_LEN_MAX: u32 = 0x7fff_f000;

/// What the rest of the floor needs of the base block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// The minor version: 3, 4 or 5.
    pub minor: u32,
    /// The root key's cell.
    pub root: CellOffset,
    /// Size of all bins in bytes: a multiple of 4096 that the file holds.
    pub bins_len: u32,
    /// Windows XP or 2003 wrote the hive: no mark of the resource manager, and no plausible reorganization time.
    pub xp: bool,
    /// Microsoft's offline registry library wrote the hive.
    pub offline: bool,
}

/// Checks the base block, with which `bytes` begin, of a hive file of `file_len` bytes.
///
/// # Errors
/// [`Error::NoHive`], [`Error::Checksum`], [`Error::Layered`], [`Error::Version`], [`Error::FileType`],
/// [`Error::Dirty`], [`Error::BinsSize`] or [`Error::TooShort`], in this order of precedence.
pub(super) fn parse(bytes: &[u8], file_len: u64) -> Result<Header> {
    let short = Error::TooShort { at: FileOffset(0), length: BASE_BLOCK_LEN as usize };
    let Ok(signature) = read::array::<4>(bytes, 0) else { return Err(short) };
    if signature != *b"regf" {
        return Err(Error::NoHive { actual: signature });
    }
    let Ok((base, _)) = BaseBlock::ref_from_prefix(bytes) else { return Err(short) };
    let expected = checksum(bytes);
    if base.checksum.get() != expected {
        return Err(Error::Checksum { expected, actual: base.checksum.get() });
    }
    match (base.major.get(), base.minor.get()) {
        (1, 3..=5) => {}
        (1, 6) => return Err(Error::Layered { minor: 6 }),
        (major, minor) => return Err(Error::Version { major, minor }),
    }
    if base.file_type.get() != 0 || base.format.get() != 1 {
        return Err(Error::FileType { actual: base.file_type.get(), format: base.format.get() });
    }
    let (primary, secondary) = (base.primary_sequence.get(), base.secondary_sequence.get());
    if primary != secondary {
        return Err(Error::Dirty { primary, secondary });
    }
    let bins_len = base.bins_len.get();
    let room = file_len.saturating_sub(u64::from(BASE_BLOCK_LEN));
    if !is_bins_len(bins_len) || u64::from(bins_len) > room {
        return Err(Error::BinsSize { actual: bins_len, available: file_len });
    }
    let reorganized_high = base.last_reorganized.get() >> 48;
    Ok(Header {
        minor: base.minor.get(),
        root: CellOffset(base.root.get()),
        bins_len,
        // A FILETIME from about 1999 to 2043 is plausible.
        xp: base.guid_signature != *b"rmtm" && !(0x1c0..0x300).contains(&reorganized_high),
        offline: base.offline_mark == *b"OfRg",
    })
}

/// Tells whether all bins together can have this size in bytes.
pub(super) fn is_bins_len(bins_len: u32) -> bool {
    bins_len != 0 && bins_len.is_multiple_of(BIN_ALIGN) && bins_len <= BINS_LEN_MAX
}

/// Returns the checksum of a base block: the XOR of its first 127 words, never 0 and never all ones.
///
/// A buffer shorter than that counts as if zeros followed.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(4).take(offset_of!(BaseBlock, checksum) / 4);
    let xor = words.fold(0, |xor, word| xor ^ read::u32_le(word, 0).unwrap_or(0));
    match xor {
        0 => 1,
        u32::MAX => 0xffff_fffe,
        _ => xor,
    }
}

/// Returns the first 512 bytes of the base block as they must be after an edit: the next sequence number twice, the
/// type of a primary file, the size of the bins, and the checksum.
///
/// # Errors
/// [`Error::TooShort`] for a buffer below 512 bytes.
pub(super) fn sealed(bytes: &[u8], bins_len: u32) -> Result<Vec<u8>> {
    let short = |_| Error::TooShort { at: FileOffset(0), length: size_of::<BaseBlock>() };
    let mut block = read::slice(bytes, 0, size_of::<BaseBlock>()).map_err(short)?.to_vec();
    let sequence = |at| read::u32_le(bytes, at).map_err(short);
    let next = sequence(offset_of!(BaseBlock, primary_sequence))?
        .max(sequence(offset_of!(BaseBlock, secondary_sequence))?)
        .wrapping_add(1);
    for (at, word) in [
        (offset_of!(BaseBlock, primary_sequence), next),
        (offset_of!(BaseBlock, secondary_sequence), next),
        (offset_of!(BaseBlock, file_type), 0),
        (offset_of!(BaseBlock, bins_len), bins_len),
    ] {
        read::put_u32_le(&mut block, at, word).map_err(short)?;
    }
    let sum = checksum(&block);
    read::put_u32_le(&mut block, offset_of!(BaseBlock, checksum), sum).map_err(short)?;
    Ok(block)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::sample;
    use super::*;
    use coldforge_base::{Failure as _, Kind};

    /// Returns the base block of a good hive with one word replaced and the checksum made right again.
    fn with_word(at: usize, word: u32) -> Vec<u8> {
        let mut bytes = sample::empty(5, 0x4000);
        read::put_u32_le(&mut bytes, at, word).expect("inside");
        let sum = checksum(&bytes);
        read::put_u32_le(&mut bytes, 508, sum).expect("inside");
        bytes
    }

    fn whole(bytes: &[u8]) -> Result<Header> {
        parse(bytes, bytes.len() as u64)
    }

    #[test]
    fn a_good_base_block_is_accepted_in_each_minor_version() {
        for minor in [3, 4, 5] {
            let header = whole(&with_word(24, minor)).expect("a good base block");
            assert_eq!((header.minor, header.root, header.bins_len), (minor, CellOffset(0x20), 0x1000));
        }
    }

    #[test]
    fn each_wrong_field_has_its_own_error() {
        let refused = |at, word| whole(&with_word(at, word)).map(|_| ()).expect_err("refused");
        assert!(matches!(refused(0, 0x1234), Error::NoHive { .. }));
        assert_eq!(refused(4, 9), Error::Dirty { primary: 9, secondary: 1 });
        assert_eq!(refused(20, 2), Error::Version { major: 2, minor: 5 });
        assert_eq!(refused(24, 2), Error::Version { major: 1, minor: 2 });
        assert_eq!(refused(24, 6), Error::Layered { minor: 6 });
        assert_eq!(refused(28, 6), Error::FileType { actual: 6, format: 1 });
        for size in [0, 0x800, 0x1001, 0x4000, 0x8000_1000, 0xffff_f000] {
            assert!(matches!(refused(40, size), Error::BinsSize { .. }), "{size:#x}");
        }
        let mut bytes = sample::empty(5, 0x4000);
        bytes[300] ^= 1;
        assert!(matches!(whole(&bytes), Err(Error::Checksum { .. })));
        for length in [0, 3, 4, 511] {
            assert!(matches!(whole(&bytes[..length]), Err(Error::TooShort { .. })), "{length}");
        }
        assert_eq!((refused(4, 9).kind(), refused(4, 9).code()), (Kind::Refused, Some("E-HIVE-DIRTY")));
        assert_eq!(refused(24, 6).code(), Some("E-HIVE-LAYERED"));
        assert_eq!(refused(24, 7).code(), Some("E-HIVE-VERSION"));
    }

    #[test]
    fn the_two_forbidden_checksums_are_replaced() {
        let mut bytes = [0; 512];
        assert_eq!(checksum(&bytes), 1);
        bytes[..4].copy_from_slice(&[0xff; 4]);
        assert_eq!(checksum(&bytes), 0xffff_fffe);
    }

    #[test]
    fn a_sealed_block_wraps_its_sequence_number_and_keeps_everything_else() {
        let mut bytes = with_word(4, u32::MAX);
        read::put_u32_le(&mut bytes, 12, 0x1234_5678).expect("inside");
        let block = sealed(&bytes, 0x2000).expect("long enough");
        let changed: Vec<usize> = (0..512).filter(|at| block[*at] != bytes[*at]).collect();
        assert!(changed.iter().all(|at| matches!(at, 4..12 | 40..44 | 508..512)), "{changed:?}");
        assert_eq!((read::u32_le(&block, 4), read::u32_le(&block, 8)), (Ok(0), Ok(0)));
        assert_eq!(read::u32_le(&block, 508), Ok(checksum(&block)));
    }
}
