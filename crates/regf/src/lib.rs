//! A registry hive, bytes in and bytes out.
//!
//! [`Hive::parse`] accepts a hive whose base block is in order, which is clean, and whose bins and cells tile the
//! file without a gap. Keys and values are read where they lie. Edits are all or nothing, keep the rules that Windows
//! itself keeps (sorted lists, hashes, reference counts, upper bounds), and tell every byte they changed;
//! [`Hive::verify`] checks all of those rules over the whole hive. [`Hive::seal`] makes an edited hive a clean one.
//! [`Hive::recover`] makes a clean hive of a dirty one and its transaction logs, as Windows does. [`Reader`] looks into
//! a hive without loading it.
//!
//! Reading touches only what is asked for: errors in a corner of the hive surface when that corner is read, or in
//! [`Hive::verify`]. Not here: layered hives and symbolic links (never followed).
//!
//! Cells are addressed by [`CellOffset`] (from the first bin), changed bytes by [`Extent`]s of the hive file: the byte
//! of cell offset `x` is file byte `x + 0x1000`.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

mod base_block;
mod big_data;
mod bin;
mod edit;
mod error;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod hostile;
mod key;
mod layout;
mod list;
mod log;
mod name;
mod pages;
mod recover;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod sample;
mod security;
mod upcase;
mod value;
mod verify;
mod walk;

pub use edit::Edit;
pub use error::Error;
pub use key::Key;
pub use log::{End, Ignored, Log};
pub use name::Name;
pub use pages::{Reader, Source};
pub use recover::{Accept, LogReport, Outcome, Recovered, Replay};
pub use value::Value;
pub use verify::{Finding, Rule, Severity};
pub use walk::Walk;

use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use self::base_block::Header;
use self::bin::{CellSet, Survey, file_position};
use self::layout::{CELL_HEADER_LEN, DEPTH_MAX};
use self::pages::Pages;
use coldforge_base::{CellOffset, Extent, offset, read};

/// The answer of every function of this floor.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be asked for a key by its path: a [`Hive`], or a [`Reader`] of one.
pub trait Lookup {
    /// Returns the key at `path`, as [`Hive::key`] does.
    ///
    /// # Errors
    /// What contradicts the format on the way.
    fn key(&self, path: &str) -> Result<Option<Key<'_>>>;

    /// Tells whether what was asked so far met damage that only a loaded hive can judge: see [`Reader::met_damage`].
    fn met_damage(&self) -> bool {
        false
    }
}

impl Lookup for Hive {
    fn key(&self, path: &str) -> Result<Option<Key<'_>>> {
        self.key(path)
    }
}

impl Lookup for Reader {
    fn key(&self, path: &str) -> Result<Option<Key<'_>>> {
        self.key(path)
    }

    fn met_damage(&self) -> bool {
        self.met_damage()
    }
}

/// A registry hive in memory.
#[derive(Clone, Debug)]
pub struct Hive {
    bytes: Vec<u8>,
    header: Header,
    /// The allocated cells.
    live: CellSet,
    /// Where cells come from if `bytes` and `live` are empty.
    paged: Option<Arc<Pages>>,
    /// The free cells, surveyed by the first edit.
    space: Option<edit::Space>,
    /// What edits changed, in the order they did.
    touched: Vec<Extent>,
    /// Whether the base block does not yet speak of the last edit.
    unsealed: bool,
}

impl Hive {
    /// Checks the base block, the bins and the cells of a hive file, and takes it over.
    ///
    /// Bytes behind the last bin are kept; edits may use them for new bins.
    ///
    /// # Errors
    /// [`Error::Dirty`] if the last writer did not finish, [`Error::Layered`] and [`Error::Version`] for versions that
    /// are not handled, and otherwise what contradicts the format first.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        let header = base_block::parse(&bytes, bytes.len() as u64)?;
        let Survey { mut live, broken, .. } = Survey::of(&bytes, header.bins_len);
        if let Some(error) = broken {
            return Err(error);
        }
        // So that bins appended later fit.
        live.grow(bytes.len());
        let hive = Self { bytes, header, live, paged: None, space: None, touched: Vec::new(), unsealed: false };
        Key::at(&hive, hive.header.root)?;
        Ok(hive)
    }

    /// Returns a hive without bytes of its own, which only a [`Reader`] may hold: it cannot be edited.
    fn paged(header: Header, pages: Pages) -> Self {
        let (live, paged) = (CellSet::new(0), Some(Arc::new(pages)));
        Self { bytes: Vec::new(), header, live, paged, space: None, touched: Vec::new(), unsealed: false }
    }

    /// Returns the root key.
    ///
    /// # Errors
    /// The root cell was good when the hive was parsed; only a damaged edit could change that.
    pub fn root(&self) -> Result<Key<'_>> {
        Key::at(self, self.header.root)
    }

    /// Returns the key at `path`, which is relative to the root and has `\` between names; `""` is the root.
    ///
    /// Case is ignored as Windows does; empty parts of the path are left out.
    ///
    /// # Errors
    /// What contradicts the format in the lists on the way; [`Error::TooDeep`] for more than 512 names.
    pub fn key(&self, path: &str) -> Result<Option<Key<'_>>> {
        let mut key = self.root()?;
        for name in parts(path)? {
            match key.subkey(name)? {
                Some(child) => key = child,
                None => return Ok(None),
            }
        }
        Ok(Some(key))
    }

    /// Walks all keys, each before its subkeys; ends on any hive, whatever its lists say.
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// Returns the minor version: 3, 4 or 5.
    pub fn minor_version(&self) -> u32 {
        self.header.minor
    }

    /// Returns the bytes of the hive file. Between an edit and [`Hive::seal`] its base block is out of date.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes of the hive file, as [`Hive::bytes`] does.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns every range of the file that edits and [`Hive::seal`] changed since the hive was parsed: ascending,
    /// without overlap.
    pub fn touched(&self) -> Vec<Extent> {
        offset::normalize(self.touched.clone())
    }

    /// Returns the length of everything that the base block speaks of, itself included.
    fn extent_len(&self) -> usize {
        file_position(CellOffset(self.header.bins_len))
    }

    /// Returns the payload of an allocated cell.
    fn cell(&self, at: CellOffset) -> Result<&[u8]> {
        if let Some(pages) = &self.paged {
            return pages.cell(at);
        }
        let known = self.live.contains(at);
        known.then(|| self.payload(at)).flatten().ok_or(Error::NoCell { at })
    }

    /// Returns the payload of a cell that is known to be allocated.
    fn payload(&self, at: CellOffset) -> Option<&[u8]> {
        let position = file_position(at);
        let size = read::i32_le(&self.bytes, position).ok()?;
        let start = position.saturating_add(CELL_HEADER_LEN as usize);
        let length = size.unsigned_abs().saturating_sub(CELL_HEADER_LEN) as usize;
        read::slice(&self.bytes, start, length).ok()
    }

    /// Returns the structure at the start of an allocated cell, and what follows it there.
    fn structure<T>(&self, at: CellOffset) -> Result<(&T, &[u8])>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        prefix(at, self.cell(at)?)
    }
}

/// Returns the structure at the start of the payload of the cell at `at`, and what follows it there.
fn prefix<T>(at: CellOffset, payload: &[u8]) -> Result<(&T, &[u8])>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    T::ref_from_prefix(payload).map_err(|_| Error::CellTooShort { at, expected: size_of::<T>(), actual: payload.len() })
}

/// Returns the first `length` bytes of what follows a structure of `head` bytes in the cell at `at`.
fn tail(at: CellOffset, rest: &[u8], head: usize, length: usize) -> Result<&[u8]> {
    rest.get(..length).ok_or(Error::CellTooShort {
        at,
        expected: head.saturating_add(length),
        actual: head.saturating_add(rest.len()),
    })
}

/// Returns the names in a path.
fn parts(path: &str) -> Result<Vec<&str>> {
    let names: Vec<&str> = path.split('\\').filter(|name| !name.is_empty()).collect();
    if names.len() > DEPTH_MAX {
        return Err(Error::TooDeep { limit: DEPTH_MAX });
    }
    Ok(names)
}
