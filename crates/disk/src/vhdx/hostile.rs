//! Logs, headers and tables that were made to hurt, and logs that are to be replayed: built by hand, each from a whole
//! file whose structures are right but for one.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

use super::super::{Format, Image, Overlay, Target, export_as};
use super::layout::{REGION_TABLES_AT, seal};
use super::*;
use coldforge_base::Failure as _;
use coldforge_base::progress::Silent;

const PAGE: usize = 4096;
const LOG_AT: usize = 1 << 20;
const METADATA_AT: usize = 2 << 20;
const TABLE_AT: usize = 3 << 20;
const BLOCK_AT: usize = 4 << 20;
const LOG_ID: [u8; 16] = [7; 16];

/// A dynamic disk of three blocks, of which the first and the last are stored.
fn made() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    let mut disk = vec![0; 5 << 20];
    disk[..4096].fill(1);
    disk[(4 << 20) + 512..][..512].fill(3);
    std::fs::write(&raw, disk).unwrap();
    let image = Image::open(&raw, Some(Format::Raw)).unwrap();
    let out = folder.path().join("out");
    export_as(&Overlay::new(&image), &out, Target::Format(Format::VhdxDynamic), &Silent).unwrap();
    std::fs::read(&out).unwrap()
}

fn open(bytes: &[u8]) -> Result<Image> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Image::open(file.path(), Some(Format::VhdxDynamic))
}

#[track_caller]
fn refused(bytes: &[u8], code: &str) {
    let error = open(bytes).map(|_| ()).expect_err("a refusal");
    assert_eq!(error.code(), Some(code), "{error}");
    assert!(error.hint().is_some());
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

/// Changes the current header, the second one, and seals it.
fn with_header(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    let header = &mut bytes[128 << 10..][..HEADER_BYTES];
    put(header, at, new);
    seal(header);
    bytes
}

/// Changes both region tables and seals them.
fn with_regions(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    for table in REGION_TABLES_AT {
        let table = &mut bytes[table as usize..][..REGION_TABLE_BYTES];
        put(table, at, new);
        seal(table);
    }
    bytes
}

/// What a log entry does.
#[derive(Clone)]
enum Op {
    Page(u64, u8),
    /// A whole page, byte by byte.
    Bytes(u64, Vec<u8>),
    Zero(u64, u64),
}

/// Builds an entry at `at` of a ring of 1 MiB.
fn entry(sequence: u64, tail: u32, ops: &[Op], file_bytes: u64) -> Vec<u8> {
    let mut head = b"loge\0\0\0\0".to_vec();
    let (mut descriptors, mut data) = (Vec::new(), Vec::new());
    for op in ops {
        match op {
            Op::Page(at, fill) => {
                descriptors.extend_from_slice(b"desc");
                descriptors.extend_from_slice(&[*fill; 4]);
                descriptors.extend_from_slice(&[*fill; 8]);
                descriptors.extend_from_slice(&at.to_le_bytes());
                data.extend_from_slice(b"data");
                data.extend_from_slice(&((sequence >> 32) as u32).to_le_bytes());
                data.extend_from_slice(&[*fill; 4084]);
                data.extend_from_slice(&(sequence as u32).to_le_bytes());
            }
            Op::Bytes(at, page) => {
                descriptors.extend_from_slice(b"desc");
                descriptors.extend_from_slice(&page[PAGE - 4..]);
                descriptors.extend_from_slice(&page[..8]);
                descriptors.extend_from_slice(&at.to_le_bytes());
                data.extend_from_slice(b"data");
                data.extend_from_slice(&((sequence >> 32) as u32).to_le_bytes());
                data.extend_from_slice(&page[8..PAGE - 4]);
                data.extend_from_slice(&(sequence as u32).to_le_bytes());
            }
            Op::Zero(at, length) => {
                descriptors.extend_from_slice(b"zero\0\0\0\0");
                descriptors.extend_from_slice(&length.to_le_bytes());
                descriptors.extend_from_slice(&at.to_le_bytes());
            }
        }
        descriptors.extend_from_slice(&sequence.to_le_bytes());
    }
    let length = (64 + descriptors.len()).next_multiple_of(PAGE) + data.len();
    head.extend_from_slice(&(length as u32).to_le_bytes());
    head.extend_from_slice(&tail.to_le_bytes());
    head.extend_from_slice(&sequence.to_le_bytes());
    head.extend_from_slice(&(ops.len() as u32).to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&LOG_ID);
    head.extend_from_slice(&file_bytes.to_le_bytes());
    head.extend_from_slice(&file_bytes.to_le_bytes());
    head.extend_from_slice(&descriptors);
    head.resize(head.len().next_multiple_of(PAGE), 0);
    head.extend_from_slice(&data);
    seal(&mut head);
    head
}

/// Puts entries into the ring at places, round its end, and says in the header that there is a log.
fn with_log(bytes: Vec<u8>, entries: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = with_header(bytes, 48, &LOG_ID);
    for (at, entry) in entries {
        for (i, page) in entry.chunks(PAGE).enumerate() {
            put(&mut bytes, LOG_AT + (at + i * PAGE) % (1 << 20), page);
        }
    }
    bytes
}

/// Returns a byte of the disk.
fn byte(image: &Image, at: u64) -> u8 {
    let mut byte = [0xee];
    image.read_at(at, &mut byte).unwrap();
    byte[0]
}

#[test]
fn a_log_is_replayed_from_the_tail_of_its_last_entry_and_the_file_stays_as_it_is() {
    let whole = made();
    let size = whole.len() as u64;
    let block = BLOCK_AT as u64;
    // Two entries, the tail at the second: the first is in its place already and must not come again.
    let entries = [
        (0, entry(5, 0, &[Op::Page(block, 0x55)], size)),
        (2 * PAGE, entry(6, 2 * PAGE as u32, &[Op::Page(block + 4096, 0x66)], size)),
    ];
    let image = open(&with_log(whole.clone(), &entries)).unwrap();
    assert_eq!((byte(&image, 0), byte(&image, 4095), byte(&image, 4096), byte(&image, 8191)), (1, 1, 0x66, 0x66));
    assert!(image.health().notes[0].contains("1 entries"));
    // The tail at the first: both.
    let entries = [
        (0, entry(5, 0, &[Op::Page(block, 0x55)], size)),
        (2 * PAGE, entry(6, 0, &[Op::Zero(block, 4096), Op::Page(block + 4096, 0x66)], size)),
    ];
    let image = open(&with_log(whole.clone(), &entries)).unwrap();
    assert_eq!((byte(&image, 0), byte(&image, 4096)), (0, 0x66));
    // Round the end of the ring, behind an entry without descriptors, with older ones left over.
    let last = (1 << 20) - PAGE;
    let entries = [
        (last - PAGE, entry(8, (last - PAGE) as u32, &[], size)),
        (last, entry(9, (last - PAGE) as u32, &[Op::Page(block, 0x99)], size)),
        (4 * PAGE, entry(3, 4 * PAGE as u32, &[Op::Page(block, 0x33)], size)),
    ];
    let image = open(&with_log(whole.clone(), &entries)).unwrap();
    assert_eq!((byte(&image, 0), byte(&image, 4095)), (0x99, 0x99));
    // A torn last entry: the run just ends before it.
    let mut torn = entry(6, 0, &[Op::Page(block, 0x66)], size);
    torn[5000] ^= 1;
    let entries = [(0, entry(5, 0, &[Op::Page(block, 0x55)], size)), (2 * PAGE, torn)];
    assert_eq!(byte(&open(&with_log(whole.clone(), &entries)).unwrap(), 0), 0x55);
    // The table is read after the replay: zeros there make the disk empty.
    let entries = [(0, entry(1, 0, &[Op::Zero(TABLE_AT as u64, 1 << 20)], size))];
    let image = open(&with_log(whole.clone(), &entries)).unwrap();
    assert_eq!((byte(&image, 0), image.next_data(0).unwrap()), (0, None));
    // The file grows: a block of it may lie behind the old end.
    let entries = [(0, entry(1, 0, &[Op::Page(block, 0x11)], size + (1 << 20)))];
    let cut = with_log(whole, &entries);
    refused(&cut, "E-VHDX-LOG");
}

#[test]
fn each_log_that_cannot_be_is_refused() {
    let whole = made();
    let size = whole.len() as u64;
    let block = BLOCK_AT as u64;
    let good = || entry(5, 0, &[Op::Page(block, 0x55)], size);
    assert_eq!(byte(&open(&with_log(whole.clone(), &[(0, good())])).unwrap(), 0), 0x55);
    refused(&with_log(whole.clone(), &[]), "E-VHDX-LOG");
    let changed = |at: usize, new: &[u8]| {
        let mut entry = good();
        put(&mut entry, at, new);
        seal(&mut entry);
        with_log(whole.clone(), &[(0, entry)])
    };
    // Length zero, not whole pages, beyond the ring; a tail outside or nowhere; sequence zero; counts that do not fit.
    for length in [0u32, 4095, 2 << 20, u32::MAX] {
        refused(&changed(8, &length.to_le_bytes()), "E-VHDX-LOG");
    }
    for tail in [1u32, 8192, 1 << 20, u32::MAX] {
        refused(&changed(12, &tail.to_le_bytes()), "E-VHDX-LOG");
    }
    refused(&changed(16, &0u64.to_le_bytes()), "E-VHDX-LOG");
    for count in [2u32, 126, 127, u32::MAX] {
        refused(&changed(24, &count.to_le_bytes()), "E-VHDX-LOG");
    }
    refused(&changed(32, &[8; 16]), "E-VHDX-LOG");
    // Flushed and last offsets.
    for length in [1u64, 1 << 60, u64::MAX, size + (1 << 20)] {
        refused(&changed(48, &length.to_le_bytes()), "E-VHDX-LOG");
    }
    refused(&changed(56, &(1u64 << 60).to_le_bytes()), "E-VHDX-LOG");
    // Descriptors: signature, place, sequence.
    refused(&changed(64, b"dusc"), "E-VHDX-LOG");
    refused(&changed(64 + 16, &1u64.to_le_bytes()), "E-VHDX-LOG");
    refused(&changed(64 + 24, &9u64.to_le_bytes()), "E-VHDX-LOG");
    // Pages of the headers, of the log itself, beyond the file.
    for at in [0, 64 << 10, 188 << 10, LOG_AT as u64, (LOG_AT + (1 << 20) - PAGE) as u64, size, u64::MAX - 4095] {
        refused(&changed(64 + 16, &at.to_le_bytes()), "E-VHDX-LOG");
    }
    for (at, length) in [(0, 4096), (LOG_AT as u64 - 4096, 1 << 62), (LOG_AT as u64 + 4096, 4096)] {
        let entry = entry(5, 0, &[Op::Zero(at, length)], size);
        refused(&with_log(whole.clone(), &[(0, entry)]), "E-VHDX-LOG");
    }
    // A length of zeros that overflows ends with the file.
    let zeros = entry(5, 0, &[Op::Zero(block, u64::MAX - 4095)], size);
    assert_eq!(byte(&open(&with_log(whole.clone(), &[(0, zeros)])).unwrap(), 0), 0);
    // A sequence that cannot go on.
    let entries = [
        (0, entry(u64::MAX, 0, &[Op::Page(block, 0x55)], size)),
        (2 * PAGE, entry(0, 0, &[Op::Page(block, 0x66)], size)),
    ];
    assert_eq!(byte(&open(&with_log(whole.clone(), &entries)).unwrap(), 0), 0x55);
    // The header's own words about the log.
    let log = with_log(whole.clone(), &[(0, good())]);
    for (at, new) in [
        (64, &1u16.to_le_bytes()[..]),
        (68, &0u32.to_le_bytes()),
        (68, &(u32::MAX - 0xf_ffff).to_le_bytes()),
        (68, &(64u32 << 20).to_le_bytes()),
        (68, &4096u32.to_le_bytes()),
        (72, &0u64.to_le_bytes()),
        (72, &(1u64 << 62).to_le_bytes()),
        (72, &4096u64.to_le_bytes()),
    ] {
        refused(&with_header(log.clone(), at, new), "E-VHDX-LOG");
    }
}

#[test]
fn each_impossible_header_region_or_table_is_refused() {
    let whole = made();
    open(&whole).unwrap();
    let corrupt = "E-VHDX-CORRUPT";
    refused(&with_header(whole.clone(), 66, &2u16.to_le_bytes()), corrupt);
    // Both headers of one sequence, and unlike.
    refused(&with_header(with_header(whole.clone(), 8, &1u64.to_le_bytes()), 16, &[9; 16]), corrupt);
    // The largest sequence is just read.
    open(&with_header(whole.clone(), 8, &u64::MAX.to_le_bytes())).unwrap();
    refused(&with_header(whole.clone(), 72, &(2u64 << 20).to_le_bytes()), corrupt);
    let mut both = whole.clone();
    both[(64 << 10) + 100] ^= 1;
    open(&both).unwrap();
    both[(128 << 10) + 100] ^= 1;
    refused(&both, corrupt);

    // Region tables: one may be damaged; unlike ones are two truths.
    let mut tables = whole.clone();
    tables[(192 << 10) + 16 + 18] ^= 0x40;
    assert!(open(&tables).unwrap().health().notes[0].contains("region table"));
    seal(&mut tables[192 << 10..256 << 10]);
    refused(&tables, corrupt);
    refused(&with_regions(whole.clone(), 8, &2048u32.to_le_bytes()), corrupt);
    refused(&with_regions(whole.clone(), 8, &1u32.to_le_bytes()), corrupt);
    refused(&with_regions(whole.clone(), 8, &0u32.to_le_bytes()), corrupt);
    for at in [0u64, 4096, 1 << 20, 2 << 20, 1 << 62] {
        refused(&with_regions(whole.clone(), 16 + 16, &at.to_le_bytes()), corrupt);
    }
    for length in [0u32, 4096, 0xfff0_0000] {
        refused(&with_regions(whole.clone(), 16 + 24, &length.to_le_bytes()), corrupt);
    }
    refused(&with_regions(whole.clone(), 16 + 32, &whole[(192 << 10) + 16..][..16]), corrupt);
    refused(&with_regions(whole.clone(), 16, &[9; 16]), "E-CONTAINER-UNKNOWN-PART");

    // Metadata.
    let metadata = |at: usize, new: &[u8]| {
        let mut bytes = whole.clone();
        put(&mut bytes, METADATA_AT + at, new);
        bytes
    };
    refused(&metadata(0, b"METADATA"), corrupt);
    refused(&metadata(10, &u16::MAX.to_le_bytes()), corrupt);
    refused(&metadata(10, &4u16.to_le_bytes()), corrupt);
    refused(&metadata(32, &[9; 16]), "E-CONTAINER-UNKNOWN-PART");
    for (at, length) in [(0u32, 8u32), (65_535, 8), (u32::MAX, 8), (65_536, u32::MAX), (65_536, 16), (65_544, 8)] {
        refused(&metadata(32 + 16, &[at.to_le_bytes(), length.to_le_bytes()].concat()), corrupt);
    }
    refused(&metadata(32 + 32, &whole[METADATA_AT + 32..][..16]), corrupt);
    let items = 64 << 10;
    for block in [0u32, 1, 1 << 19, 3 << 20, 512 << 20, u32::MAX] {
        refused(&metadata(items, &block.to_le_bytes()), corrupt);
    }
    refused(&metadata(items + 4, &2u32.to_le_bytes()), corrupt);
    refused(&metadata(items + 4, &4u32.to_le_bytes()), corrupt);
    for size in [0u64, 511, (64 << 40) + 512, 1 << 63, u64::MAX] {
        refused(&metadata(items + 8, &size.to_le_bytes()), corrupt);
    }
    for sector in [0u32, 1, 520, 8192] {
        refused(&metadata(items + 32, &sector.to_le_bytes()), corrupt);
        refused(&metadata(items + 40, &sector.to_le_bytes()), corrupt);
    }
    // A disk for which the table is too short.
    refused(&metadata(items + 8, &(1u64 << 45).to_le_bytes()), corrupt);

    // The block table: states, reserved bits, places.
    let table = |block: usize, entry: u64| {
        let mut bytes = whole.clone();
        put(&mut bytes, TABLE_AT + block * 8, &entry.to_le_bytes());
        bytes
    };
    let place = BLOCK_AT as u64;
    for entry in [
        place | 4,
        place | 5,
        place | 7,
        place | 6 | 8,
        6,
        (1 << 20) | 6,
        (2 << 20) | 6,
        (3 << 20) | 6,
        place | 6,
        (place + (1 << 20)) | 6,
        (whole.len() as u64 - (1 << 20)) | 6,
        1 << 63 | 6,
        !0xf_fff9,
    ] {
        refused(&table(1, entry), corrupt);
    }
    for entry in [1u64, 2, 3, place | 2, place] {
        assert_eq!(byte(&open(&table(1, entry)).unwrap(), 2 << 20), 0);
    }
}

/// Returns a file with the entries' changes put in their places, and no log: what a replay makes of it.
fn replayed(bytes: &[u8], entries: &[Vec<Op>]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for op in entries.iter().flatten() {
        match op {
            Op::Page(at, fill) => bytes[*at as usize..][..PAGE].fill(*fill),
            Op::Bytes(at, page) => put(&mut bytes, *at as usize, page),
            Op::Zero(at, length) => bytes[*at as usize..][..*length as usize].fill(0),
        }
    }
    bytes
}

/// Reads a disk by its extents, each of which must lie behind the one before.
fn by_extents(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0; image.len() as usize];
    let mut at = 0;
    while let Some(data) = image.next_data(at).unwrap() {
        assert!(data.offset >= at && data.length > 0 && data.end() <= image.len(), "{data:?} from {at:#x}");
        image.read_at(data.offset, &mut bytes[data.offset as usize..data.end() as usize]).unwrap();
        at = data.end();
    }
    bytes
}

fn whole_disk(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0; image.len() as usize];
    image.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_log_that_holds_the_page_in_which_the_block_table_ends_is_replayed() {
    let whole = made();
    let size = whole.len() as u64;
    // The table of three blocks ends inside its first page: what lies behind it in that page is logged with it.
    let mut page = whole[TABLE_AT..][..PAGE].to_vec();
    let stored = page[..8].to_vec();
    for (first, expected) in [(stored, 1), (vec![0; 8], 0)] {
        put(&mut page, 0, &first);
        let logged = vec![Op::Bytes(TABLE_AT as u64, page.clone())];
        let image = open(&with_log(whole.clone(), &[(0, entry(1, 0, &logged, size))])).unwrap();
        assert_eq!(byte(&image, 0), expected);
        let plain = open(&replayed(&whole, &[logged])).unwrap();
        assert!(whole_disk(&image) == whole_disk(&plain) && by_extents(&image) == whole_disk(&plain));
        // A range without bytes lies in no page, and is no reason to stop.
        image.read_at(0, &mut []).unwrap();
        image.read_at(image.len(), &mut []).unwrap();
    }
}

/// A generator of repeatable pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Makes a few entries that change pages of blocks, of the table and of the metadata.
fn some_entries(random: &mut Random, whole: &[u8]) -> Vec<Vec<Op>> {
    let size = whole.len() as u64;
    let pages = (size - BLOCK_AT as u64) / PAGE as u64;
    let op = |random: &mut Random| match random.below(6) {
        0 => {
            let at = [TABLE_AT, METADATA_AT, METADATA_AT + (64 << 10)][random.below(3) as usize];
            Op::Bytes(at as u64, whole[at..][..PAGE].to_vec())
        }
        1 => {
            let page = random.below(pages);
            let length = (1 + random.below(40).min(pages - page - 1)) * PAGE as u64;
            Op::Zero(BLOCK_AT as u64 + page * PAGE as u64, length)
        }
        2 => Op::Bytes(
            BLOCK_AT as u64 + random.below(pages) * PAGE as u64,
            (0..PAGE).map(|_| random.below(256) as u8).collect(),
        ),
        _ => Op::Page(BLOCK_AT as u64 + random.below(12) * PAGE as u64, random.below(3) as u8),
    };
    (0..1 + random.below(4)).map(|_| (0..random.below(9)).map(|_| op(random)).collect()).collect()
}

/// Lays entries behind one another into the ring, from a place on.
fn in_ring(entries: &[Vec<Op>], first_sequence: u64, mut at: usize, size: u64) -> Vec<(usize, Vec<u8>)> {
    let tail = (at % (1 << 20)) as u32;
    let mut placed = Vec::new();
    for (sequence, ops) in (first_sequence..).zip(entries) {
        let bytes = entry(sequence, tail, ops, size);
        let length = bytes.len();
        placed.push((at % (1 << 20), bytes));
        at += length;
    }
    placed
}

#[test]
fn a_replay_in_memory_reads_as_the_file_does_once_it_is_replayed() {
    let whole = made();
    let size = whole.len() as u64;
    let mut random = Random(19);
    for round in 0..60 {
        let entries = some_entries(&mut random, &whole);
        let at = random.below(256) as usize * PAGE;
        let placed = in_ring(&entries, 1 + random.below(1 << 40), at, size);
        let image = open(&with_log(whole.clone(), &placed)).unwrap();
        let plain = open(&replayed(&whole, &entries)).unwrap();
        let expected = whole_disk(&plain);
        assert!(whole_disk(&image) == expected, "round {round}");
        assert!(by_extents(&image) == expected, "round {round} by extents");
        for _ in 0..20 {
            let start = random.below(image.len());
            let mut piece = vec![0xee; random.below((image.len() - start).min(20_000) + 1) as usize];
            image.read_at(start, &mut piece).unwrap();
            assert!(piece == expected[start as usize..][..piece.len()], "round {round} at {start:#x}");
        }
    }
}

#[test]
fn no_changed_byte_of_a_log_makes_a_reader_panic_or_hang() {
    let whole = made();
    let size = whole.len() as u64;
    let mut random = Random(20);
    let (mut read, mut told) = (0, 0);
    for _ in 0..400 {
        let entries = some_entries(&mut random, &whole);
        let at = random.below(256) as usize * PAGE;
        let mut placed = in_ring(&entries, 5, at, size);
        // A word of an entry becomes another one, and the checksum is right again: what is left is for the reader to see.
        let index = random.below(placed.len() as u64) as usize;
        let entry = &mut placed[index].1;
        let end = if random.below(2) == 0 { 64 } else { entry.len().min(64 + 9 * 32) };
        let field = random.below(end as u64 / 4) as usize * 4;
        let values = [0, 1, 8, 4096, 8192, 1 << 20, u32::MAX, u32::MAX - 4095, random.below(1 << 32) as u32];
        put(entry, field, &values[random.below(values.len() as u64) as usize].to_le_bytes());
        if random.below(4) > 0 {
            let length = (u32::from_le_bytes(entry[8..12].try_into().unwrap()) as usize).clamp(8, entry.len());
            seal(&mut entry[..length]);
        }
        match open(&with_log(whole.clone(), &placed)) {
            Ok(image) => {
                assert!(by_extents(&image) == whole_disk(&image));
                read += 1;
            }
            Err(error) => {
                assert!(error.code().is_some() && error.hint().is_some(), "{error}");
                told += 1;
            }
        }
    }
    assert!(read > 50 && told > 50, "{read} read, {told} refused");
}

#[test]
fn entries_that_begin_inside_one_another_are_not_summed_up_without_end() {
    let whole = made();
    let mut bytes = with_header(whole, 48, &LOG_ID);
    // Each page of the ring begins like an entry that is as long as the ring.
    let mut head = entry(1, 0, &[], 5 << 20);
    put(&mut head, 8, &(1u32 << 20).to_le_bytes());
    for page in 0..(1 << 20) / PAGE {
        put(&mut bytes, LOG_AT + page * PAGE, &head);
    }
    refused(&bytes, "E-VHDX-LOG");
}
