//! A hive that is read where it lies: only the bins on the way to what is asked for are fetched, and each once.
//!
//! [`super::Hive`] looks over all bins before it trusts a pointer; here a bin is looked over when a pointer first leads
//! into it. Bins do not tell where their neighbours begin, so the bin of a cell is searched backwards, page by page,
//! for a header that says it lies there and reaches the cell. What is wrong elsewhere in the hive is never met.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use zerocopy::FromBytes;

use super::base_block;
use super::bin::{CellSet, file_position};
use super::layout::{BASE_BLOCK_LEN, BIN_ALIGN, BIN_HEADER_LEN, BinHeader, CELL_ALIGN, CELL_HEADER_LEN};
use super::{Error, Hive, Key, Result};
use coldforge_base::{CellOffset, FileOffset, read};

/// The largest bin that is fetched, and so the longest way back to its header. A bin is as large as its largest cell
/// needs; no cell of a real hive has more than a few megabytes (the list of a million values has four).
const BIN_LEN_MAX: u32 = 16 << 20;

/// The bits of an offset that lie inside a page.
const BIN_MASK: u32 = BIN_ALIGN.saturating_sub(1);

/// The bytes of a hive file, by position.
pub trait Source: Send + Sync {
    /// Fills `buf` with the bytes of the file that begin at `at`.
    ///
    /// # Errors
    /// What the source answers; [`io::ErrorKind::UnexpectedEof`] behind its end.
    fn read_at(&self, at: FileOffset, buf: &mut [u8]) -> io::Result<()>;
}

impl Source for std::fs::File {
    fn read_at(&self, at: FileOffset, buf: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, at.0)
    }
}

/// A clean hive that is only looked into: its file is not read as a whole, nor checked.
///
/// Every bin that is fetched stays in memory, so that a reader grows up to the size of the hive, and to no more.
#[derive(Debug)]
pub struct Reader(Hive);

impl Reader {
    /// Opens the hive in a file of `len` bytes.
    ///
    /// # Errors
    /// As [`Hive::parse`], for the base block and the root key: [`Error::Dirty`] if the last writer did not finish.
    /// [`Error::Source`] if the bytes cannot be fetched.
    pub fn open(source: Box<dyn Source>, len: u64) -> Result<Self> {
        let mut base = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(BASE_BLOCK_LEN as usize)];
        fetch(&*source, 0, &mut base)?;
        let header = base_block::parse(&base, len)?;
        let bins = (header.bins_len / BIN_ALIGN) as usize;
        let pages = Pages {
            source,
            bins_len: header.bins_len,
            bins: (0..bins).map(|_| OnceLock::new()).collect(),
            met_damage: AtomicBool::new(false),
        };
        let hive = Hive::paged(header, pages);
        Key::at(&hive, header.root)?;
        Ok(Self(hive))
    }

    /// Returns the root key.
    ///
    /// # Errors
    /// The root key was good when the hive was opened.
    pub fn root(&self) -> Result<Key<'_>> {
        self.0.root()
    }

    /// Returns the key at `path`, as [`Hive::key`] does.
    ///
    /// # Errors
    /// What contradicts the format on the way; [`Error::Source`].
    pub fn key(&self, path: &str) -> Result<Option<Key<'_>>> {
        self.0.key(path)
    }

    /// Tells whether a pointer led nowhere, in whatever was looked at so far.
    ///
    /// Data that a hostile writer made look like the head of a bin can hide cells from a reader, never change them: an
    /// answer counts only if this is false, and otherwise [`Hive::parse`] has the last word.
    pub fn met_damage(&self) -> bool {
        self.0.paged.as_ref().is_some_and(|pages| pages.met_damage.load(Ordering::Relaxed))
    }

    /// Returns the minor version: 3, 4 or 5.
    pub fn minor_version(&self) -> u32 {
        self.0.minor_version()
    }
}

/// The bins of a hive, fetched one by one.
pub(super) struct Pages {
    source: Box<dyn Source>,
    bins_len: u32,
    /// A place for each page; that of a bin's every page holds the bin.
    bins: Vec<OnceLock<Arc<Bin>>>,
    /// Whether a pointer led nowhere.
    met_damage: AtomicBool,
}

/// A bin that was fetched.
struct Bin {
    start: u32,
    bytes: Vec<u8>,
    /// Its allocated cells, counted from its start.
    live: CellSet,
}

impl Pages {
    /// Returns the payload of the allocated cell at `at`.
    pub(super) fn cell(&self, at: CellOffset) -> Result<&[u8]> {
        let found = self.look(at);
        if found.is_err() {
            self.met_damage.store(true, Ordering::Relaxed);
        }
        found
    }

    fn look(&self, at: CellOffset) -> Result<&[u8]> {
        let missing = Error::NoCell { at };
        let slot = self.bins.get((at.0 / BIN_ALIGN) as usize).ok_or(missing.clone())?;
        let bin = match slot.get() {
            Some(bin) => bin,
            None => {
                let bin = Arc::new(self.find(at)?);
                for page in self.bins.iter().skip((bin.start / BIN_ALIGN) as usize).take(bin.bytes.len() >> 12) {
                    // Another thread may have been faster, with the same bin.
                    let _ = page.set(Arc::clone(&bin));
                }
                slot.get().ok_or(missing.clone())?
            }
        };
        let within = at.0.checked_sub(bin.start).map(CellOffset).filter(|cell| bin.live.contains(*cell));
        let start = within.ok_or(missing.clone())?.0 as usize;
        let size = read::i32_le(&bin.bytes, start).map_err(|_| missing.clone())?;
        let length = size.unsigned_abs().saturating_sub(CELL_HEADER_LEN) as usize;
        read::slice(&bin.bytes, start.saturating_add(CELL_HEADER_LEN as usize), length).map_err(|_| missing)
    }

    /// Fetches the bin that holds `at`.
    fn find(&self, at: CellOffset) -> Result<Bin> {
        let mut start = at.0 & !BIN_MASK;
        let mut page = self.fetch(start, BIN_ALIGN)?;
        // Each turn goes back by a page, and never further than the largest bin reaches.
        loop {
            let (header, _) = BinHeader::ref_from_prefix(&page).map_err(|_| Error::NoBin { at })?;
            let (len, end) = (header.len.get(), start.checked_add(header.len.get()));
            let fits = end.is_some_and(|end| at.0 < end && end <= self.bins_len);
            if header.signature == *b"hbin" && header.offset.get() == start && len % BIN_ALIGN == 0 && fits {
                // Nearly every bin is a page, which has been fetched.
                let bytes = match len {
                    BIN_ALIGN if page.len() == BIN_ALIGN as usize => page,
                    1..=BIN_LEN_MAX => self.fetch(start, len)?,
                    _ => return Err(Error::NoBin { at }),
                };
                let live = cells_of(&bytes, start)?;
                return Ok(Bin { start, bytes, live });
            }
            start = start.checked_sub(BIN_ALIGN).ok_or(Error::NoBin { at })?;
            if at.0.saturating_sub(start) > BIN_LEN_MAX {
                return Err(Error::NoBin { at });
            }
            page = self.fetch(start, BIN_HEADER_LEN)?;
        }
    }

    fn fetch(&self, start: u32, len: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        fetch(&*self.source, file_position(CellOffset(start)) as u64, &mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fetched = self.bins.iter().filter(|bin| bin.get().is_some()).count();
        f.debug_struct("Pages").field("bins_len", &self.bins_len).field("fetched", &fetched).finish_non_exhaustive()
    }
}

/// Returns the allocated cells of the bin that begins at `start`, counted from there.
///
/// # Errors
/// [`Error::CellSize`] if cells do not tile the bin.
fn cells_of(bytes: &[u8], start: u32) -> Result<CellSet> {
    let (mut live, mut at) = (CellSet::new(bytes.len()), BIN_HEADER_LEN as usize);
    // Each turn moves on by at least eight bytes.
    while at < bytes.len() {
        let cell = CellOffset(u32::try_from(at).unwrap_or(u32::MAX));
        let size = read::i32_le(bytes, at).unwrap_or(0);
        let next = at.saturating_add(size.unsigned_abs() as usize);
        if size == 0 || !size.unsigned_abs().is_multiple_of(CELL_ALIGN) || next > bytes.len() {
            let end = CellOffset(start.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
            return Err(Error::CellSize { at: CellOffset(start.saturating_add(cell.0)), actual: size, end });
        }
        live.set(cell, size < 0);
        at = next;
    }
    Ok(live)
}

fn fetch(source: &dyn Source, at: u64, buf: &mut [u8]) -> Result<()> {
    let at = FileOffset(at);
    source.read_at(at, buf).map_err(|source| Error::Source { at, length: buf.len(), source: Arc::new(source).into() })
}
