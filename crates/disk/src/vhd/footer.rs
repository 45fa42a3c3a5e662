//! The "Hard Disk Footer" at the end of every VHD, and what is refused by it.

use super::super::{Error, Raw, Result};
use super::layout::{self, Footer, LARGEST_DISK_BYTES, SECTOR};
use coldforge_base::ReadAt as _;

impl Footer {
    /// Reads and checks the footer at the end of a file.
    pub fn open(raw: &Raw) -> Result<Self> {
        let (at, bytes) = footer_bytes(raw)?;
        Self::check(&bytes, at)
    }

    /// Checks a footer that lies at `at` of its file.
    pub fn check(bytes: &[u8; Self::BYTES], at: u64) -> Result<Self> {
        let structure = "footer";
        let footer: Self = layout::read(bytes).ok_or(Error::VhdCookie { structure, at })?;
        let field = |field, actual| Err(Error::VhdField { structure, at, field, actual });
        if footer.cookie != Self::COOKIE {
            return Err(Error::VhdCookie { structure, at });
        }
        let expected = layout::checksum(bytes, Self::CHECKSUM_AT);
        if footer.checksum != expected {
            return Err(Error::VhdChecksum { structure, at, expected, actual: footer.checksum });
        }
        if footer.file_format_version != layout::VERSION {
            return field("version", footer.file_format_version.into());
        }
        match footer.disk_type {
            Self::FIXED | Self::DYNAMIC | Self::DIFFERENCING => {}
            other => return field("disk type", other.into()),
        }
        match footer.saved_state {
            0 => {}
            1 => return Err(Error::SavedState),
            other => return field("saved state", other.into()),
        }
        let size = footer.current_size;
        if size == 0 || !size.is_multiple_of(SECTOR) || size > LARGEST_DISK_BYTES {
            return field("current size", size);
        }
        Ok(footer)
    }
}

/// Returns the last 512 bytes of a file and where they lie.
pub fn footer_bytes(raw: &Raw) -> Result<(u64, [u8; Footer::BYTES])> {
    let structure = "footer";
    let size = raw.len();
    let Some(at) = size.checked_sub(Footer::BYTES as u64) else {
        return Err(Error::VhdTruncated { structure, at: 0, length: Footer::BYTES as u64, size });
    };
    let mut bytes = [0; Footer::BYTES];
    raw.read_at(at, &mut bytes)?;
    Ok((at, bytes))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::sample;
    use super::*;
    use coldforge_base::Failure as _;

    fn code(change: impl Fn(&mut Footer)) -> Option<&'static str> {
        let mut footer = sample::footer(1 << 20, Footer::FIXED);
        change(&mut footer);
        Footer::check(&sample::seal_footer(&footer), 0).err().map(|error| error.code().expect("a code"))
    }

    #[test]
    fn each_impossible_or_unsafe_footer_is_refused_by_name() {
        assert_eq!(code(|_| {}), None);
        assert_eq!(code(|f| f.features = 0), None, "unknown bits are no reason");
        assert_eq!(code(|f| f.cookie = *b"conectiX"), Some("E-VHD-CORRUPT"));
        assert_eq!(code(|f| f.file_format_version = 0x0002_0000), Some("E-VHD-CORRUPT"));
        assert_eq!(code(|f| f.file_format_version = 0x0001_0001), Some("E-VHD-CORRUPT"));
        for disk_type in [0, 1, 5, 6, u32::MAX] {
            assert_eq!(code(|f| f.disk_type = disk_type), Some("E-VHD-CORRUPT"));
        }
        assert_eq!(code(|f| f.disk_type = Footer::DIFFERENCING), None);
        assert_eq!(code(|f| f.saved_state = 1), Some("E-SAVED-STATE"));
        for size in [0, 511, 513, LARGEST_DISK_BYTES + 512, u64::MAX] {
            assert_eq!(code(|f| f.current_size = size), Some("E-VHD-CORRUPT"));
        }
        assert_eq!(code(|f| f.current_size = LARGEST_DISK_BYTES), None);
    }

    #[test]
    fn every_single_wrong_bit_of_a_footer_is_found() {
        let bytes = sample::seal_footer(&sample::footer(1 << 20, Footer::FIXED));
        for bit in 0..Footer::BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::check(&flipped, 0).is_err(), "bit {bit}");
        }
    }
}
