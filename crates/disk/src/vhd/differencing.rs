//! A differencing VHD: the sectors whose bits are set are its own, all others are its parent's.
//!
//! The structures are those of a dynamic disk, with other meaning: a block without a place is the parent's as a whole.
//! The parent may be fixed, dynamic or differencing itself; it is known by the id in its footer. Windows leaves the
//! parent's time stamp zero in what it makes, so that times are not compared.

use super::super::parent::{Identity, Link, OpenParent, Parent};
use super::super::pieces::{self, own_sectors};
use super::super::{Raw, Result};
use super::dynamic::{Dynamic, is_set};
use super::layout::SECTOR;
use super::locator::Locators;
use coldforge_base::device::check_range;
use coldforge_base::{Extent, ReadAt, device};

/// A differencing VHD, opened for reading.
#[derive(Debug)]
pub struct Differencing {
    child: Dynamic,
    parent: Parent,
}

impl Differencing {
    /// Opens a file whose footer says that it is a differencing VHD, and its parents.
    ///
    /// # Errors
    /// The `Vhd...` errors for what contradicts the format, the `Parent...` errors if the parent cannot be found or is
    /// not the one that the child was made from.
    pub(super) fn open(raw: Raw, open_parent: &mut OpenParent<'_>) -> Result<Self> {
        let (child, header) = Dynamic::open_structures(raw)?;
        let Locators { id, paths, .. } = Locators::open(child.raw(), &header)?;
        let parent = open_parent(child.raw(), Link { paths, identity: Identity::Vhd(id) })?;
        Ok(Self { child, parent })
    }

    /// Returns the child without its parent.
    pub(in super::super) fn child(&self) -> &Dynamic {
        &self.child
    }

    /// Reads a range of a block whose bitmap begins at `block_at` of the file: its own sectors from there, the others
    /// from the parent.
    fn read_block(&self, block_at: u64, at: u64, buf: &mut [u8]) -> Result<()> {
        let bitmap = self.child.bitmap(block_at)?;
        let within = |at| self.child.split(at).1;
        let end = at.saturating_add(buf.len() as u64);
        let find = |at: u64| {
            let is_own = |at| is_set(&bitmap, within(at) / SECTOR);
            Ok(own_sectors(at, end.saturating_sub(at), SECTOR, is_own))
        };
        pieces::fill(at, buf, find, |own, at, piece| {
            if own {
                Ok(self.child.raw().read_at(self.child.data_at(block_at).saturating_add(within(at)), piece)?)
            } else {
                self.parent.read(at, piece)
            }
        })
    }
}

impl ReadAt for Differencing {
    fn len(&self) -> u64 {
        self.child.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.len())?;
        let find = |at| {
            let (index, within) = self.child.split(at);
            Ok((self.child.block_at(index), self.child.block_bytes().saturating_sub(within)))
        };
        Ok(pieces::fill(at, buf, find, |block_at, at, piece| match block_at {
            None => self.parent.read(at, piece),
            Some(block_at) => self.read_block(block_at, at, piece),
        })?)
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        Ok(pieces::next_data(from, self.len(), |at| {
            let (index, within) = self.child.split(at);
            let end = at.saturating_add(self.child.block_bytes().saturating_sub(within)).min(self.len());
            let data = match self.child.block_at(index) {
                Some(_) => Some(Extent::new(at, end.saturating_sub(at))),
                None => self.parent.next_data(at, end)?,
            };
            Ok((end, data))
        })?)
    }
}
