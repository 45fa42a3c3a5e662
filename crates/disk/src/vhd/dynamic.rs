//! A dynamic VHD: blocks that the block allocation table (BAT) finds, each behind a bitmap of its written sectors.
//!
//! A block without a place reads as zeros. Inside a placed block a clear bit means zeros too; but qemu returns what is
//! stored there and Windows never leaves a bit clear, so a block that stores anything else under a clear bit is refused
//! when it is first read: two programs would see two disks.
//!
//! Memory is bounded by the table of the blocks that the disk needs: at most 16 MiB, at the largest disk and the
//! smallest block.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::pieces::{self, before, on_disk};
use super::super::{Error, Raw, Result};
use super::footer::footer_bytes;
use super::layout::{self, DynamicHeader, Footer, SECTOR, UNALLOCATED, VERSION};
use coldforge_base::device::check_range;
use coldforge_base::{Extent, ReadAt, device, read};

/// The smallest block that Windows makes; a lower bound keeps the table small.
const SMALLEST_BLOCK_BYTES: u32 = 512 << 10;
/// No maker of larger blocks is known.
const LARGEST_BLOCK_BYTES: u32 = 256 << 20;
/// How much of a block is held in memory while it is compared with its bitmap.
const COMPARED_AT_ONCE: u64 = 64 << 10;

/// A dynamic VHD, opened for reading.
#[derive(Debug)]
pub struct Dynamic {
    raw: Raw,
    size: u64,
    block_bytes: NonZeroU64,
    bitmap_bytes: u64,
    table_at: u64,
    table: Vec<u32>,
    agrees: Vec<AtomicBool>,
    footer_at: u64,
    footer: Box<[u8; Footer::BYTES]>,
}

impl Dynamic {
    /// Opens a file whose footer says that it is a dynamic VHD.
    ///
    /// # Errors
    /// The `Vhd...` errors for what contradicts the format, in the order footer, copy, header, table, blocks.
    pub(super) fn open(raw: Raw) -> Result<Self> {
        Ok(Self::open_structures(raw)?.0)
    }

    /// Opens the structures that dynamic and differencing disks share; the header comes along.
    pub(super) fn open_structures(raw: Raw) -> Result<(Self, DynamicHeader)> {
        let (footer_at, bytes) = footer_bytes(&raw)?;
        let footer = Footer::check(&bytes, footer_at)?;
        let mut copy = [0; Footer::BYTES];
        raw.read_at(0, &mut copy)?;
        if copy != bytes || footer_at == 0 {
            return Err(Error::VhdFooterCopies { at: footer_at });
        }
        if !footer_at.is_multiple_of(SECTOR) {
            let (structure, field) = ("footer", "place, which is no whole sector,");
            return Err(Error::VhdField { structure, at: footer_at, field, actual: footer_at });
        }
        let header_at = footer.data_offset;
        let header = open_header(&raw, header_at, footer_at)?;
        let Some(block_bytes) = NonZeroU64::new(header.block_size.into()) else {
            let structure = "dynamic header";
            return Err(Error::VhdField { structure, at: header_at, field: "block size", actual: 0 });
        };
        let needed = footer.current_size.div_ceil(block_bytes.get());
        if u64::from(header.max_table_entries) < needed {
            let (structure, field) = ("dynamic header", "number of table entries, too few for the disk,");
            let actual = header.max_table_entries.into();
            return Err(Error::VhdField { structure, at: header_at, field, actual });
        }
        let table_at = header.table_offset;
        let table_bytes = u64::from(header.max_table_entries).saturating_mul(4);
        check_room("block table", table_at, table_bytes, footer_at)?;
        let table = open_table(&raw, table_at, needed)?;

        let bitmap_bytes = (block_bytes.get() / SECTOR / 8).next_multiple_of(SECTOR);
        let mut taken = vec![
            Extent::new(0, Footer::BYTES as u64),
            Extent::new(header_at, DynamicHeader::BYTES as u64),
            Extent::new(table_at, table_bytes),
        ];
        for place in table.iter().filter(|place| **place != UNALLOCATED) {
            let at = u64::from(*place).saturating_mul(SECTOR);
            let length = bitmap_bytes.saturating_add(block_bytes.get());
            check_room("block", at, length, footer_at)?;
            taken.push(Extent::new(at, length));
        }
        check_overlap(taken)?;

        let agrees = table.iter().map(|_| AtomicBool::new(false)).collect();
        let (size, footer) = (footer.current_size, Box::new(bytes));
        Ok((Self { raw, size, block_bytes, bitmap_bytes, table_at, table, agrees, footer_at, footer }, header))
    }

    /// Returns the bytes of a block, a power of two.
    pub fn block_bytes(&self) -> u64 {
        self.block_bytes.get()
    }

    /// Returns the bytes of a block's bitmap, a multiple of the sector.
    pub fn bitmap_bytes(&self) -> u64 {
        self.bitmap_bytes
    }

    /// Returns where the footer begins in the file.
    pub(super) fn footer_at(&self) -> u64 {
        self.footer_at
    }

    /// Returns the footer as it is stored.
    pub(super) fn footer(&self) -> &[u8; Footer::BYTES] {
        &self.footer
    }

    /// Returns where the table entry of a block lies in the file.
    pub(super) fn entry_at(&self, index: u64) -> u64 {
        self.table_at.saturating_add(index.saturating_mul(4))
    }

    /// Returns where a block's bitmap begins in the file; its data follow. `None` if the block has no place.
    pub fn block_at(&self, index: u64) -> Option<u64> {
        let place = *self.table.get(usize::try_from(index).ok()?)?;
        (place != UNALLOCATED).then(|| u64::from(place).saturating_mul(SECTOR))
    }

    /// Returns where the data of a block lie in the file whose bitmap begins at `block_at`.
    pub(super) fn data_at(&self, block_at: u64) -> u64 {
        block_at.saturating_add(self.bitmap_bytes)
    }

    /// Returns how many blocks have a place.
    pub(in super::super) fn stored(&self) -> u64 {
        self.table.iter().filter(|place| **place != UNALLOCATED).count() as u64
    }

    /// Reads the bitmap that begins at `block_at` of the file.
    pub(super) fn bitmap(&self, block_at: u64) -> Result<Vec<u8>> {
        // At most 64 KiB: a bit for each sector of the largest block.
        let mut bitmap = vec![0; read::size(self.bitmap_bytes)];
        self.raw.read_at(block_at, &mut bitmap)?;
        Ok(bitmap)
    }

    /// Returns the container file.
    pub(in super::super) fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Returns the index of the block that holds a byte of the disk, and where in the block it lies.
    pub(super) fn split(&self, at: u64) -> (u64, u64) {
        (at / self.block_bytes, at % self.block_bytes)
    }

    /// Checks once that a block stores only zeros in the sectors that its bitmap calls unwritten.
    fn check_bitmap(&self, index: u64, block_at: u64) -> Result<()> {
        let agrees = usize::try_from(index).ok().and_then(|index| self.agrees.get(index));
        // A block with a place has an entry.
        let Some(agrees) = agrees else {
            return Err(Error::VhdCookie { structure: "block table entry", at: block_at });
        };
        if agrees.load(Ordering::Relaxed) {
            return Ok(());
        }
        let bitmap = self.bitmap(block_at)?;
        if bitmap.iter().any(|byte| *byte != 0xff) {
            self.compare(index, block_at, &bitmap)?;
        }
        agrees.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn compare(&self, index: u64, block_at: u64, bitmap: &[u8]) -> Result<()> {
        let data_at = block_at.saturating_add(self.bitmap_bytes);
        let disk_at = index.saturating_mul(self.block_bytes.get());
        let inside_disk = self.size.saturating_sub(disk_at).min(self.block_bytes.get());
        let mut piece = Vec::new();
        let mut at = 0;
        // Ends after at most 256 MiB / 64 KiB rounds.
        while at < inside_disk {
            let length = inside_disk.saturating_sub(at).min(COMPARED_AT_ONCE);
            piece.resize(read::size(length), 0);
            self.raw.read_at(data_at.saturating_add(at), &mut piece)?;
            let sectors = piece.chunks(512).zip(at / SECTOR..);
            for (bytes, sector) in sectors.filter(|(_, sector)| !is_set(bitmap, *sector)) {
                if let Some(within) = bytes.iter().position(|byte| *byte != 0) {
                    let at = data_at.saturating_add(sector.saturating_mul(SECTOR)).saturating_add(within as u64);
                    return Err(Error::VhdBitmap { block: index, at });
                }
            }
            at = at.saturating_add(length);
        }
        Ok(())
    }
}

/// Tells whether a bitmap calls a sector of its block written: the most significant bit comes first.
pub(super) fn is_set(bitmap: &[u8], sector: u64) -> bool {
    let byte = usize::try_from(sector / 8).ok().and_then(|at| bitmap.get(at).copied()).unwrap_or(0);
    byte & bit(sector) != 0
}

/// Returns the bit that stands for a sector in its byte of the bitmap.
pub(super) fn bit(sector: u64) -> u8 {
    [0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01].get((sector % 8) as usize).copied().unwrap_or(0)
}

fn open_header(raw: &Raw, at: u64, footer_at: u64) -> Result<DynamicHeader> {
    let structure = "dynamic header";
    check_room(structure, at, DynamicHeader::BYTES as u64, footer_at)?;
    let mut bytes = [0; DynamicHeader::BYTES];
    raw.read_at(at, &mut bytes)?;
    let header: DynamicHeader = layout::read(&bytes).ok_or(Error::VhdCookie { structure, at })?;
    if header.cookie != DynamicHeader::COOKIE {
        return Err(Error::VhdCookie { structure, at });
    }
    let expected = layout::checksum(&bytes, DynamicHeader::CHECKSUM_AT);
    if header.checksum != expected {
        return Err(Error::VhdChecksum { structure, at, expected, actual: header.checksum });
    }
    let field = |field, actual| Err(Error::VhdField { structure, at, field, actual });
    if header.header_version != VERSION {
        return field("version", header.header_version.into());
    }
    if header.data_offset != layout::NONE {
        return field("data offset", header.data_offset);
    }
    let block = header.block_size;
    if !block.is_power_of_two() || !(SMALLEST_BLOCK_BYTES..=LARGEST_BLOCK_BYTES).contains(&block) {
        return field("block size", block.into());
    }
    if !header.table_offset.is_multiple_of(SECTOR) {
        return field("table offset", header.table_offset);
    }
    Ok(header)
}

/// Reads the `needed` first entries of the table, whose room in the file was checked.
fn open_table(raw: &Raw, at: u64, needed: u64) -> Result<Vec<u32>> {
    // At most 2040 GiB / 512 KiB entries of four bytes: 16 MiB.
    let mut bytes = vec![0; read::size(needed.saturating_mul(4))];
    raw.read_at(at, &mut bytes)?;
    Ok(bytes.chunks_exact(4).filter_map(|entry| read::u32_be(entry, 0).ok()).collect())
}

/// Checks that a structure ends before the footer begins.
fn check_room(structure: &'static str, at: u64, length: u64, footer_at: u64) -> Result<()> {
    match at.checked_add(length) {
        Some(end) if end <= footer_at => Ok(()),
        _ => {
            let size = footer_at.saturating_add(Footer::BYTES as u64);
            Err(Error::VhdTruncated { structure, at, length, size })
        }
    }
}

fn check_overlap(mut taken: Vec<Extent>) -> Result<()> {
    taken.sort_unstable();
    match taken.iter().zip(taken.iter().skip(1)).find(|(one, next)| one.end() > next.offset) {
        None => Ok(()),
        Some((_, next)) => Err(Error::VhdOverlap { at: next.offset }),
    }
}

impl ReadAt for Dynamic {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.size)?;
        let find = |at| {
            let (index, within) = self.split(at);
            Ok(((index, within), self.block_bytes().saturating_sub(within)))
        };
        Ok(pieces::fill(at, buf, find, |(index, within), _, piece| match self.block_at(index) {
            None => {
                piece.fill(0);
                Ok(())
            }
            Some(block_at) => {
                self.check_bitmap(index, block_at)?;
                Ok(self.raw.read_at(self.data_at(block_at).saturating_add(within), piece)?)
            }
        })?)
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        Ok(pieces::next_data(from, self.size, |at| {
            let (index, within) = self.split(at);
            let left = self.block_bytes().saturating_sub(within).min(self.size.saturating_sub(at));
            let end = at.saturating_add(left);
            let Some(block_at) = self.block_at(index) else { return Ok((end, None)) };
            // What the file system stores as a hole inside a block need not be read either.
            let file_at = self.data_at(block_at).saturating_add(within);
            let data = self.raw.next_data(file_at)?.and_then(|data| before(data, file_at.saturating_add(left)));
            Ok((end, data.map(|data| on_disk(at, file_at, data))))
        })?)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::super::super::parent::no_parent;
    use super::super::sample::{self, BLOCK};
    use super::super::{Vhd, layout};
    use super::*;
    use coldforge_base::Failure as _;

    const SIZE: u64 = 3 * BLOCK - 1024;

    struct Made {
        file: tempfile::NamedTempFile,
    }

    impl Made {
        fn new(bytes: &[u8]) -> Self {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            Self { file }
        }

        fn open(&self) -> Result<Dynamic> {
            match Vhd::open(Raw::open(self.file.path())?, &mut no_parent)? {
                Vhd::Dynamic(dynamic) => Ok(dynamic),
                _ => panic!("a dynamic disk"),
            }
        }

        fn put(&self, at: u64, bytes: &[u8]) {
            self.file.as_file().write_all_at(bytes, at).unwrap();
        }
    }

    /// Blocks 2 and 0 in this order in the file, block 1 without a place.
    fn sample_disk() -> Vec<u8> {
        sample::dynamic(SIZE, &[(2, vec![2; 4096]), (0, vec![1; BLOCK as usize])])
    }

    fn code_with_header(change: impl Fn(&mut DynamicHeader)) -> Option<&'static str> {
        let mut header = sample::header(SIZE);
        change(&mut header);
        let mut bytes = sample_disk();
        bytes[512..1536].copy_from_slice(&sample::seal_header(&header));
        Made::new(&bytes).open().err().map(|error| error.code().expect("a code"))
    }

    #[test]
    fn blocks_are_found_through_the_table_and_the_rest_is_zero() {
        let made = Made::new(&sample_disk());
        let disk = made.open().unwrap();
        assert_eq!(disk.len(), SIZE);
        let mut read = vec![9; SIZE as usize];
        disk.read_at(0, &mut read).unwrap();
        let mut expected = vec![0; SIZE as usize];
        expected[..BLOCK as usize].fill(1);
        expected[2 * BLOCK as usize..][..4096].fill(2);
        assert!(read == expected);
        assert!(matches!(disk.read_at(SIZE - 1, &mut [0; 2]), Err(device::Error::OutOfRange { .. })));
        assert_eq!(disk.next_data(0).unwrap(), Some(Extent::new(0, BLOCK)));
        assert_eq!(disk.next_data(BLOCK).unwrap().unwrap().offset, 2 * BLOCK);
        assert_eq!(disk.next_data(SIZE).unwrap(), None);
    }

    #[test]
    fn a_hole_of_the_file_system_inside_a_block_is_skipped() {
        let bytes = sample::dynamic(SIZE, &[(1, vec![])]);
        let made = Made::new(&[]);
        made.file.as_file().set_len(bytes.len() as u64).unwrap();
        made.put(0, &bytes[..4096]);
        made.put(bytes.len() as u64 - 512, &bytes[bytes.len() - 512..]);
        let at = made.open().unwrap().block_at(1).unwrap() + 512 + 300_000;
        made.put(at, &[5; 100]);
        let disk = made.open().unwrap();
        let mut found = Vec::new();
        let (mut from, mut extents) = (0, 0);
        while let Some(extent) = disk.next_data(from).unwrap() {
            let mut read = vec![0; extent.length as usize];
            disk.read_at(extent.offset, &mut read).unwrap();
            found.extend((extent.offset..).zip(read).filter(|(_, byte)| *byte != 0));
            (from, extents) = (extent.end(), extents + 1);
        }
        // The pages of the bitmap, of what was put, and of the footer.
        assert_eq!(extents, 3);
        let expected: Vec<_> = (0..100).map(|i| (BLOCK + 300_000 + i, 5)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_clear_bit_over_zeros_is_zero_and_over_data_is_refused() {
        let made = Made::new(&sample_disk());
        let at = made.open().unwrap().block_at(2).unwrap();
        // Sectors 8 to 15 of block 2 hold zeros.
        made.put(at + 1, &[0x00]);
        let mut sector = [9; 512];
        made.open().unwrap().read_at(2 * BLOCK + 8 * 512, &mut sector).unwrap();
        assert_eq!(sector, [0; 512]);
        // Sector 7 holds data; its bit is the least significant of the first byte.
        made.put(at, &[0xfe]);
        let disk = made.open().unwrap();
        let error = disk.read_at(2 * BLOCK + 100 * 512, &mut sector).unwrap_err();
        assert_eq!(error.code(), Some("E-VHD-BITMAP"), "found when any sector of the block is read");
        assert!(error.to_string() == Error::VhdBitmap { block: 2, at: at + 512 + 7 * 512 }.to_string(), "{error}");
        disk.read_at(0, &mut sector).unwrap();
    }

    #[test]
    fn bits_of_sectors_behind_the_disk_do_not_count() {
        let made = Made::new(&sample_disk());
        let at = made.open().unwrap().block_at(2).unwrap();
        // The disk ends two sectors before the block does.
        made.put(at + 127, &[0xfc]);
        made.put(at + 512 + BLOCK - 1024, &[7; 1024]);
        made.open().unwrap().read_at(2 * BLOCK, &mut [0; 512]).unwrap();
        made.put(at + 127, &[0xf8]);
        made.put(at + 512 + BLOCK - 1025, &[7]);
        assert!(made.open().unwrap().read_at(2 * BLOCK, &mut [0; 512]).is_err());
    }

    #[test]
    fn each_impossible_header_is_refused() {
        assert_eq!(code_with_header(|_| {}), None);
        assert_eq!(code_with_header(|h| h.parent_time_stamp = 7), None);
        let corrupt = Some("E-VHD-CORRUPT");
        assert_eq!(code_with_header(|h| h.cookie = *b"cxsparsE"), corrupt);
        assert_eq!(code_with_header(|h| h.header_version = 0x0002_0000), corrupt);
        assert_eq!(code_with_header(|h| h.data_offset = 4096), corrupt);
        for block in [0, 512, 256 << 10, (512 << 10) + 512, 3 << 20, 512 << 20, 1 << 31, u32::MAX] {
            assert_eq!(code_with_header(|h| h.block_size = block), corrupt, "block size {block:#x}");
        }
        assert_eq!(code_with_header(|h| h.max_table_entries = 2), corrupt, "too few for the disk");
        assert_eq!(code_with_header(|h| h.max_table_entries = u32::MAX), corrupt, "beyond the file");
        for table in [0, 511, 512, 1024, 1537, 1 << 40, u64::MAX, u64::MAX - 511] {
            assert_eq!(code_with_header(|h| h.table_offset = table), corrupt, "table at {table:#x}");
        }
    }

    #[test]
    fn a_table_entry_into_nowhere_a_structure_or_another_block_is_refused() {
        let bytes = sample_disk();
        let footer_sector = (bytes.len() / 512 - 1) as u32;
        let other = u32::from_be_bytes(bytes[1536..1540].try_into().unwrap());
        for place in [0, 1, 3, other, other + 1, other - 1, footer_sector, footer_sector - 1, u32::MAX - 1] {
            let made = Made::new(&bytes);
            made.put(1536 + 8, &place.to_be_bytes());
            assert_eq!(made.open().unwrap_err().code(), Some("E-VHD-CORRUPT"), "sector {place:#x}");
        }
    }

    #[test]
    fn unlike_footers_and_cut_files_are_refused() {
        let bytes = sample_disk();
        let made = Made::new(&bytes);
        let mut footer = sample::footer(SIZE, Footer::DYNAMIC);
        footer.time_stamp += 1;
        made.put(0, &sample::seal_footer(&footer));
        assert!(matches!(made.open(), Err(Error::VhdFooterCopies { .. })));
        // Every sector less, with a good footer at the new end.
        for sectors in (1..bytes.len() / 512 - 1).step_by(97) {
            let mut cut = bytes[..sectors * 512].to_vec();
            cut.extend_from_slice(&bytes[..512]);
            assert!(Made::new(&cut).open().is_err(), "{sectors} sectors");
        }
    }

    #[test]
    fn no_flipped_bit_of_the_structures_passes_or_panics() {
        let bytes = sample_disk();
        let made = Made::new(&bytes);
        let mut seed = 0x5eed_u64;
        for _ in 0..1500 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) % 1548;
            let bit = 1u8 << ((seed >> 20) % 8);
            made.put(at, &[bytes[at as usize] ^ bit]);
            match made.open() {
                Err(error) => assert!(error.code().is_some(), "{error}"),
                Ok(disk) => {
                    assert!(at >= 1536, "the flip at {at:#x} stands under a checksum");
                    let _ = disk.read_at(0, &mut vec![0; SIZE as usize]);
                }
            }
            made.put(at, &[bytes[at as usize]]);
        }
        made.open().unwrap();
        assert_eq!(layout::checksum(&bytes[..512], 64).to_be_bytes(), bytes[64..68]);
    }

    #[test]
    fn the_smallest_file_of_the_largest_disk_needs_little_memory() {
        // A table for 2040 GiB that lies in a hole: all entries zero, which is the footer copy's place.
        let size = 2040 << 30;
        let footer = sample::seal_footer(&sample::footer(size, Footer::DYNAMIC));
        let made = Made::new(&footer);
        made.put(512, &sample::seal_header(&sample::header(size)));
        let end = 1536 + size / BLOCK * 4;
        made.put(end, &footer);
        assert_eq!(made.open().unwrap_err().code(), Some("E-VHD-CORRUPT"));
        made.put(1536, &vec![0xff; (size / BLOCK * 4) as usize]);
        let disk = made.open().unwrap();
        assert_eq!(disk.len(), size);
        assert_eq!(disk.next_data(0).unwrap(), None);
    }
}
