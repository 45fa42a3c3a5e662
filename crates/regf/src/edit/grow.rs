//! A longer file for a hive that is full.
//!
//! This floor does not know the volume that holds the file, so it asks: an edit without room fails with
//! [`Error::Full`], the caller finds the room, and [`Hive::grow`] takes it.

use crate::layout::{BASE_BLOCK_LEN, BINS_MAX};
use crate::{Error, Hive, Result};
use coldforge_base::Extent;

/// The lengths of hive files that Windows customarily makes are multiples of this many bytes.
const LEN_STEP: u64 = 256 * 1024;
/// The length of the longest hive file: the base block, and as many bins as offsets can address.
const LEN_MAX: u64 = BASE_BLOCK_LEN as u64 + BINS_MAX as u64;

impl Hive {
    /// Returns the length in bytes that the file should have next if an edit failed with [`Error::Full`] and these
    /// `missing` bytes: the first multiple of 256 KiB with which the same edit succeeds, or 2 GiB where no multiple
    /// is left below it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above the 2 GiB that cell offsets can address.
    pub fn next_len(&self, missing: u32) -> Result<u64> {
        let needed = (self.bytes.len() as u64).saturating_add(u64::from(missing));
        if needed > LEN_MAX {
            return Err(Error::TooLarge { actual: needed });
        }
        Ok(needed.checked_next_multiple_of(LEN_STEP).unwrap_or(needed).min(LEN_MAX))
    }

    /// Makes the file `len` bytes long, with zeros behind what was there; a file that is as long already stays as it
    /// is. Later edits make bins of the new room; the appended range is among those of [`Hive::touched`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] above the 2 GiB that cell offsets can address; nothing is changed then.
    pub fn grow(&mut self, len: u64) -> Result<()> {
        let too_large = Error::TooLarge { actual: len };
        let before = self.bytes.len();
        let len = usize::try_from(len).ok().filter(|_| len <= LEN_MAX).ok_or(too_large)?;
        if len > before {
            self.bytes.resize(len, 0);
            self.live.grow(len);
            self.touched.push(Extent::new(before as u64, len.saturating_sub(before) as u64));
        }
        Ok(())
    }

    /// Runs an edit, and again with a longer file as long as it fails for want of room.
    ///
    /// # Errors
    /// Those of the edit, and [`Error::TooLarge`].
    pub fn growing<T>(&mut self, mut edit: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        // Ends: each turn makes the file longer, up to 2 GiB.
        loop {
            match edit(self) {
                Err(Error::Full { missing }) => self.grow(self.next_len(missing)?)?,
                answer => return answer,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::sample;
    use coldforge_base::Failure as _;
    use coldforge_base::time::FileTime;

    #[test]
    fn an_edit_without_room_succeeds_after_the_growth_that_it_asks_for() {
        for (minor, length) in [(5, 300_000), (3, 300_000), (5, 20_000), (5, 5000)] {
            let original = sample::empty(minor, 0x2000);
            let mut hive = Hive::parse(original.clone()).expect("a hive");
            let data = vec![7; length];
            let error = hive.set_value("A\\B", "v", 3, &data, FileTime(1)).expect_err("no room");
            let Error::Full { missing } = error else { panic!("{error}") };
            assert_eq!((error.code(), hive.bytes()), (Some("E-HIVE-FULL"), &original[..]));
            let next = hive.next_len(missing).expect("small");
            assert_eq!((next % LEN_STEP, next >= (0x2000 + u64::from(missing))), (0, true));
            // The bytes that were told are enough, and one page less is not.
            let mut short = hive.clone();
            short.grow(0x2000 + u64::from(missing) - 0x1000).expect("small");
            let again = short.set_value("A\\B", "v", 3, &data, FileTime(1));
            assert_eq!(again.expect_err("no room"), Error::Full { missing: 0x1000 });
            short.grow(0x2000 + u64::from(missing)).expect("small");
            short.set_value("A\\B", "v", 3, &data, FileTime(1)).expect("room enough");
            assert_eq!(short.verify(), []);
            hive.grow(next).expect("small");
            assert!(hive.bytes().len() as u64 == next && hive.bytes()[0x2000..].iter().all(|byte| *byte == 0));
            assert_eq!(hive.touched(), [Extent::new(0x2000, next - 0x2000)]);
            hive.set_value("A\\B", "v", 3, &data, FileTime(1)).expect("room enough");
            hive.seal().expect("long enough");
            let again = Hive::parse(hive.into_bytes()).expect("a sealed hive");
            assert_eq!(again.verify(), []);
            let value = again.key("A\\B").expect("good").expect("made").value("v").expect("good").expect("set");
            assert_eq!(&*value.data().expect("good data"), data);
        }
    }

    #[test]
    fn a_file_is_never_made_shorter_or_longer_than_can_be_addressed() {
        let mut hive = Hive::parse(sample::empty(5, 0x4000)).expect("a hive");
        hive.grow(0x2000).expect("nothing to do");
        assert!(hive.bytes().len() == 0x4000 && hive.touched().is_empty());
        assert_eq!(hive.grow(LEN_MAX + 1), Err(Error::TooLarge { actual: LEN_MAX + 1 }));
        assert_eq!(hive.grow(u64::MAX).expect_err("too large").code(), Some("E-HIVE-TOO-LARGE"));
        assert_eq!(hive.next_len(1), Ok(LEN_STEP));
        assert_eq!(hive.next_len(LEN_STEP as u32 - 0x4000), Ok(LEN_STEP));
        assert_eq!(hive.next_len(BINS_MAX - 0x3000), Ok(LEN_MAX));
        assert!(matches!(hive.next_len(BINS_MAX - 0x2fff), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_bin_beyond_what_offsets_can_address_is_refused() {
        // The hive says that its bins end just below the limit; nothing looks at those that are not there.
        let mut hive = Hive::parse(sample::empty(5, 0x2000)).expect("a hive");
        hive.transact(|t| t.store(&[1; 3000])).expect("room enough");
        hive.header.bins_len = BINS_MAX - 0x1000;
        let before = hive.bytes().to_vec();
        let error = hive.transact(|t| t.store(&[1; 5000])).expect_err("too large");
        assert_eq!(error, Error::TooLarge { actual: u64::from(BINS_MAX) + 0x1000 });
        assert_eq!(hive.bytes(), before);
    }
}
