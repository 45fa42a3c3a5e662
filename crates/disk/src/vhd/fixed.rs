//! A fixed VHD: the disk's sectors in order, then the footer.

use super::super::{Error, Raw, Result};
use super::footer::footer_bytes;
use super::layout::Footer;
use coldforge_base::device::check_range;
use coldforge_base::{Extent, ReadAt, device};

/// A fixed VHD, opened for reading.
#[derive(Debug)]
pub struct Fixed {
    raw: Raw,
    size: u64,
}

impl Fixed {
    /// Opens a file whose footer says that it is a fixed VHD.
    ///
    /// # Errors
    /// The `Vhd...` errors for what contradicts the format; [`Error::Ambiguous`] if sector 0 of the disk looks like
    /// a footer too, for then another reader sees another disk.
    pub(super) fn open(raw: Raw) -> Result<Self> {
        let (at, bytes) = footer_bytes(&raw)?;
        let footer = Footer::check(&bytes, at)?;
        if footer.current_size != at {
            let (structure, field) = ("footer", "current size, unlike the file's length,");
            return Err(Error::VhdField { structure, at, field, actual: footer.current_size });
        }
        let mut first = [0; Footer::COOKIE.len()];
        raw.read_at(0, &mut first)?;
        if first == Footer::COOKIE {
            let (first, second) = ("its end calls it a fixed VHD", "its beginning a dynamic one");
            return Err(Error::Ambiguous { path: raw.path().to_owned(), first, second });
        }
        Ok(Self { raw, size: at })
    }

    /// Returns the container file.
    pub(in super::super) fn raw(&self) -> &Raw {
        &self.raw
    }
}

impl ReadAt for Fixed {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.size)?;
        self.raw.read_at(at, buf)
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        let found = self.raw.next_data(from)?.filter(|extent| extent.offset < self.size);
        Ok(found.map(|e| Extent::new(e.offset, e.end().min(self.size).saturating_sub(e.offset))))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::super::parent::no_parent;
    use super::super::{Vhd, sample};
    use super::*;
    use coldforge_base::Failure as _;

    fn open(bytes: &[u8]) -> Result<Vhd> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Vhd::open(Raw::open(file.path())?, &mut no_parent)
    }

    #[test]
    fn the_footer_is_no_part_of_the_disk() {
        let disk = vec![5; 4096];
        let Vhd::Fixed(fixed) = open(&sample::fixed(&disk)).unwrap() else { panic!("fixed") };
        assert_eq!(fixed.len(), 4096);
        let mut read = vec![0; 4096];
        fixed.read_at(0, &mut read).unwrap();
        assert_eq!(read, disk);
        assert!(matches!(fixed.read_at(4095, &mut [0; 2]), Err(device::Error::OutOfRange { size: 4096, .. })));
        assert_eq!(fixed.next_data(0).unwrap().unwrap().end(), 4096);
        assert_eq!(fixed.next_data(4096).unwrap(), None);
    }

    #[test]
    fn a_file_of_another_length_and_a_footer_in_sector_zero_are_refused() {
        let whole = sample::fixed(&[5; 4096]);
        assert_eq!(open(&whole[512..]).unwrap_err().code(), Some("E-VHD-CORRUPT"));
        assert_eq!(open(&whole[..4096]).unwrap_err().code(), Some("E-VHD-CORRUPT"));
        let mut disk = vec![0; 4096];
        disk[..8].copy_from_slice(b"conectix");
        assert_eq!(open(&sample::fixed(&disk)).unwrap_err().code(), Some("E-IMAGE-AMBIGUOUS"));
    }
}
