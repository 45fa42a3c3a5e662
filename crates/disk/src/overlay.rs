//! Copy on write: what is written stays in memory, the device below is only read.
//!
//! Memory grows with the pages that are written, not with the device.

use std::collections::BTreeMap;

use super::Result;
use coldforge_base::device::check_range;
use coldforge_base::{Extent, ReadAt, WriteAt, device, offset, read};

/// Written bytes are kept in pieces of this many bytes, aligned to them.
const PAGE_BYTES: u64 = 4096;

type Page = [u8; 4096];
const _: () = assert!(size_of::<Page>() as u64 == PAGE_BYTES);

/// A writable view of a device that is only read.
#[derive(Debug)]
pub struct Overlay<B> {
    base: B,
    pages: BTreeMap<u64, Box<Page>>,
}

impl<B: ReadAt> Overlay<B> {
    /// Lays an empty overlay over a device.
    pub fn new(base: B) -> Self {
        Self { base, pages: BTreeMap::new() }
    }

    /// Returns the device below.
    pub fn base(&self) -> &B {
        &self.base
    }

    /// Returns the device below and forgets everything that was written.
    pub fn into_base(self) -> B {
        self.base
    }

    /// Returns the ranges whose bytes differ from the base's, in bytes of the disk, ascending and apart.
    ///
    /// A byte that was overwritten with its own value is in none of them.
    ///
    /// # Errors
    /// What reading the base answers.
    pub fn changed(&self) -> Result<Vec<Extent>> {
        let mut changed = Vec::new();
        let mut below: Page = [0; _];
        for (index, page) in &self.pages {
            let range = self.page(*index);
            let length = read::size(range.length);
            let above = read::slice(&page[..], 0, length)?;
            let below = read::slice_mut(&mut below, 0, length)?;
            self.base.read_at(range.offset, below)?;
            let mut run: Option<Extent> = None;
            for (at, (above, below)) in (range.offset..).zip(above.iter().zip(below.iter())) {
                match &mut run {
                    Some(run) if above != below => run.length = run.length.saturating_add(1),
                    None if above != below => run = Some(Extent::new(at, 1)),
                    _ => changed.extend(run.take()),
                }
            }
            changed.extend(run);
        }
        Ok(offset::normalize(changed))
    }

    /// Returns the range of the disk that a page stands for: the last one may be short.
    fn page(&self, index: u64) -> Extent {
        let at = index.saturating_mul(PAGE_BYTES);
        Extent::new(at, self.len().saturating_sub(at).min(PAGE_BYTES))
    }

    /// Returns the part of `extent` that lies in a page: where in the page, and where in the extent.
    fn meet(&self, index: u64, extent: Extent) -> (usize, usize, usize) {
        let page = self.page(index);
        let start = page.offset.max(extent.offset);
        let length = page.end().min(extent.end()).saturating_sub(start);
        let small = |value: u64| read::size(value);
        let in_page = start.saturating_sub(page.offset);
        let in_extent = start.saturating_sub(extent.offset);
        (small(in_page), small(in_extent), small(length))
    }
}

/// Returns the indices of the pages that a range touches.
fn pages(extent: Extent) -> std::ops::Range<u64> {
    extent.offset / PAGE_BYTES..extent.end().div_ceil(PAGE_BYTES)
}

impl<B: ReadAt> ReadAt for Overlay<B> {
    fn len(&self) -> u64 {
        self.base.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.len())?;
        self.base.read_at(at, buf)?;
        let extent = Extent::new(at, buf.len() as u64);
        for (index, page) in self.pages.range(pages(extent)) {
            let (in_page, in_buf, length) = self.meet(*index, extent);
            let above = read::slice(&page[..], in_page, length)?;
            read::put(buf, in_buf, above)?;
        }
        Ok(())
    }

    fn sector_bytes(&self) -> Option<u32> {
        self.base.sector_bytes()
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        if from >= self.len() {
            return Ok(None);
        }
        let below = self.base.next_data(from)?;
        let above = self.pages.range(from / PAGE_BYTES..).next().map(|(index, _)| {
            let page = self.page(*index);
            let start = page.offset.max(from);
            Extent::new(start, page.end().saturating_sub(start))
        });
        Ok(match (above, below) {
            (Some(above), Some(below)) if above.offset < below.offset => Some(above),
            (above, below) => below.or(above),
        })
    }
}

impl<B: ReadAt> WriteAt for Overlay<B> {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.len())?;
        let extent = Extent::new(at, buf.len() as u64);
        // All pages are read before the first is changed, so that a failed write changes nothing.
        let mut fresh = Vec::new();
        for index in pages(extent).filter(|index| !self.pages.contains_key(index)) {
            let range = self.page(index);
            let mut page = Box::<Page>::new([0; _]);
            let length = read::size(range.length);
            let below = read::slice_mut(&mut page[..], 0, length)?;
            self.base.read_at(range.offset, below)?;
            fresh.push((index, page));
        }
        self.pages.extend(fresh);
        for index in pages(extent) {
            let (in_page, in_buf, length) = self.meet(index, extent);
            // Every touched page was just loaded.
            let Some(page) = self.pages.get_mut(&index) else { continue };
            let written = read::slice(buf, in_buf, length)?;
            read::put(&mut page[..], in_page, written)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> device::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {

    use super::*;
    use coldforge_base::device::Memory;

    /// A disk of zeros that owns nothing, and calls its last bytes data.
    struct Zeros(u64);

    /// The bytes that are called data.
    const TAIL: u64 = 100;

    impl ReadAt for Zeros {
        fn len(&self) -> u64 {
            self.0
        }
        fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
            check_range(at, buf.len(), self.0)?;
            buf.fill(0);
            Ok(())
        }

        fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
            let start = (self.0 - TAIL).max(from);
            Ok((from < self.0).then(|| Extent::new(start, self.0 - start)))
        }
    }

    #[test]
    fn the_base_is_never_written_and_only_differing_bytes_are_changes() {
        let mut overlay = Overlay::new(Memory((0..10_000u32).map(|i| i as u8).collect()));
        overlay.write_at(4094, &[0xfe, 0x00, 0x00, 0x01, 0x00]).unwrap();
        let mut read = [0; 7];
        overlay.read_at(4093, &mut read).unwrap();
        assert_eq!(read, [0xfd, 0xfe, 0x00, 0x00, 0x01, 0x00, 0x03]);
        assert_eq!(overlay.changed().unwrap(), [Extent::new(4095, 1), Extent::new(4098, 1)]);
        overlay.write_at(4095, &[0xff]).unwrap();
        overlay.write_at(9_999, &[0]).unwrap();
        assert_eq!(overlay.changed().unwrap(), [Extent::new(4098, 1), Extent::new(9_999, 1)]);
        assert!(matches!(overlay.write_at(9_999, &[0; 2]), Err(device::Error::OutOfRange { .. })));
        let base = overlay.into_base();
        assert!(base.0.iter().enumerate().all(|(i, byte)| *byte == i as u8));
    }

    #[test]
    fn an_overlay_answers_as_a_plain_disk_does() {
        let mut seed = 7u64;
        let mut next = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % bound
        };
        let original: Vec<u8> = (0..50_001).map(|_| next(3) as u8).collect();
        let mut plain = Memory(original.clone());
        let mut overlay = Overlay::new(Memory(original.clone()));
        for _ in 0..300 {
            let at = next(50_001);
            let length = next((50_001 - at).min(9_000) + 1) as usize;
            let bytes: Vec<u8> = (0..length).map(|_| next(3) as u8).collect();
            plain.write_at(at, &bytes).unwrap();
            overlay.write_at(at, &bytes).unwrap();
            let at = next(50_001);
            let length = next((50_001 - at).min(9_000) + 1) as usize;
            let (mut one, mut other) = (vec![8; length], vec![9; length]);
            plain.read_at(at, &mut one).unwrap();
            overlay.read_at(at, &mut other).unwrap();
            assert!(one == other);
        }
        let mut differs = vec![false; 50_001];
        for extent in overlay.changed().unwrap() {
            differs[extent.offset as usize..extent.end() as usize].fill(true);
        }
        for (at, differs) in differs.into_iter().enumerate() {
            assert_eq!(differs, original[at] != plain.0[at], "byte {at}");
        }
    }

    #[test]
    fn a_huge_disk_costs_only_what_is_written_and_its_data_are_found() {
        let mut overlay = Overlay::new(Zeros(1 << 50));
        overlay.write_at(1 << 40, b"abc").unwrap();
        overlay.write_at((1 << 50) - 1, b"z").unwrap();
        assert_eq!(overlay.pages.len(), 2);
        assert_eq!(overlay.next_data(0).unwrap(), Some(Extent::new(1 << 40, 4096)));
        assert_eq!(overlay.next_data((1 << 40) + 5).unwrap(), Some(Extent::new((1 << 40) + 5, 4091)));
        assert_eq!(overlay.next_data((1 << 40) + 4096).unwrap(), Some(Extent::new((1 << 50) - 4096, 4096)));
        assert_eq!(overlay.next_data((1 << 50) - 50).unwrap(), Some(Extent::new((1 << 50) - 50, 50)));
        assert_eq!(overlay.next_data(1 << 50).unwrap(), None);
        assert_eq!(overlay.changed().unwrap(), [Extent::new(1 << 40, 3), Extent::new((1 << 50) - 1, 1)]);
    }
}
