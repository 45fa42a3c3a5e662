//! A differencing VHD: the sectors whose bits are set are its own, all others are its parent's.
//!
//! The structures are those of a dynamic disk, with other meaning: a block without a place is the parent's as a whole.
//! The parent may be fixed, dynamic or differencing itself; it is known by the id in its footer. Windows leaves the
//! parent's time stamp zero in what it makes, so that times are not compared.

use super::super::parent::{self, Lineage};
use super::super::{Error, Image, Raw, Result};
use super::dynamic::{Dynamic, is_set};
use super::layout::SECTOR;
use super::locator::Locators;
use coldforge_base::device::check_range;
use coldforge_base::{Extent, ReadAt, device};

/// A differencing VHD, opened for reading.
#[derive(Debug)]
pub struct Differencing {
    child: Dynamic,
    parent: Box<Image>,
}

impl Differencing {
    /// Opens a file whose footer says that it is a differencing VHD, and its parents.
    ///
    /// # Errors
    /// The `Vhd...` errors for what contradicts the format, the `Parent...` errors if the parent cannot be found or is
    /// not the one that the child was made from.
    pub(super) fn open(raw: Raw, lineage: &mut Lineage<'_>) -> Result<Self> {
        let (child, header) = Dynamic::open_structures(raw)?;
        let locators = Locators::open(child.raw(), &header)?;
        let parent = Box::new(lineage.open(child.raw(), &locators.paths)?);
        let id = parent.vhd().map(|vhd| vhd.unique_id()).transpose()?;
        if id != Some(locators.id) {
            return Err(Error::ParentChanged { path: parent.path().to_owned() });
        }
        Ok(Self { child, parent })
    }

    /// Returns the child without its parent.
    pub(in super::super) fn child(&self) -> &Dynamic {
        &self.child
    }

    /// Returns the parent.
    pub(in super::super) fn parent(&self) -> &Image {
        &self.parent
    }
}

impl ReadAt for Differencing {
    fn len(&self) -> u64 {
        self.child.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.len())?;
        let (mut at, mut rest) = (at, buf);
        while !rest.is_empty() {
            let (index, within) = self.child.split(at);
            let left = usize::try_from(self.child.block_bytes().saturating_sub(within)).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at_mut(left.min(rest.len()));
            match self.child.block_at(index) {
                None => parent::read(Some(&self.parent), at, piece)?,
                Some(block_at) => self.read_block(block_at, at, within, piece)?,
            }
            at = at.saturating_add(piece.len() as u64);
            rest = behind;
        }
        Ok(())
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        let mut at = from;
        // Each round passes a block, and there are at most four million.
        while at < self.len() {
            let (index, within) = self.child.split(at);
            let end = at.saturating_add(self.child.block_bytes().saturating_sub(within)).min(self.len());
            if self.child.block_at(index).is_some() {
                return Ok(Some(Extent::new(at, end.saturating_sub(at))));
            }
            if let Some(data) = parent::next_data(Some(&self.parent), at, end)? {
                return Ok(Some(data));
            }
            at = end;
        }
        Ok(None)
    }
}

impl Differencing {
    /// Reads a range of a block that has a place: `at` of the disk, `within` the block.
    fn read_block(&self, block_at: u64, at: u64, within: u64, buf: &mut [u8]) -> Result<()> {
        let bitmap = self.child.bitmap(block_at)?;
        let data_at = block_at.saturating_add(self.child.bitmap_bytes());
        let end = within.saturating_add(buf.len() as u64);
        let (mut place, mut rest) = (within, buf);
        // Each round passes at least a sector, or what is left of one.
        while !rest.is_empty() {
            let own = is_set(&bitmap, place / SECTOR);
            let mut stop = (place / SECTOR).saturating_add(1).saturating_mul(SECTOR);
            while stop < end && is_set(&bitmap, stop / SECTOR) == own {
                stop = stop.saturating_add(SECTOR);
            }
            let length = usize::try_from(stop.min(end).saturating_sub(place)).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at_mut(length.min(rest.len()));
            if own {
                self.child.raw().read_at(data_at.saturating_add(place), piece)?;
            } else {
                let disk_at = at.saturating_add(place.saturating_sub(within));
                parent::read(Some(&self.parent), disk_at, piece)?;
            }
            place = place.saturating_add(piece.len() as u64);
            rest = behind;
        }
        Ok(())
    }
}
