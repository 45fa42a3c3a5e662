//! VHD (`conectix`): disks of Virtual PC, Hyper-V, Azure, Xen and qemu.
//!
//! [`Fixed`] disks are their sectors and a footer; [`Dynamic`] ones hold blocks that a table finds; [`Differencing`]
//! ones hold what differs from a parent. Disks of machines in saved state are refused by name. The size of a disk is
//! the footer's current size: the geometry beside it is rounded, and programs differ about which of them counts.

mod differencing;
mod dynamic;
mod fixed;
mod footer;
pub(super) mod fresh;
pub(super) mod layout;
mod locator;
#[cfg(test)]
pub(super) mod sample;
mod write;

pub use differencing::Differencing;
pub use dynamic::Dynamic;
pub use fixed::Fixed;
pub use layout::Footer;
pub(super) use locator::Locators;

use super::parent::OpenParent;
use super::{Raw, Result};
use coldforge_base::ReadAt;

/// A VHD of one of the kinds that are handled.
#[derive(Debug)]
pub enum Vhd {
    /// The sectors in order.
    Fixed(Fixed),
    /// Blocks found through a table.
    Dynamic(Dynamic),
    /// Changes against a parent.
    Differencing(Differencing),
}

impl Vhd {
    /// Opens the VHD that a file holds, by the kind that its footer names.
    ///
    /// # Errors
    /// [`Error::SavedState`](super::Error::SavedState), the `Vhd...` errors for what contradicts the format, the `Parent...` errors for a
    /// differencing disk, otherwise the operating system's.
    pub(super) fn open(raw: Raw, open_parent: &mut OpenParent<'_>) -> Result<Self> {
        let footer = Footer::open(&raw)?;
        match footer.disk_type {
            Footer::DYNAMIC => Dynamic::open(raw).map(Self::Dynamic),
            Footer::DIFFERENCING => Differencing::open(raw, open_parent).map(Self::Differencing),
            _ => Fixed::open(raw).map(Self::Fixed),
        }
    }

    /// Returns the container file.
    pub(super) fn raw(&self) -> &Raw {
        match self {
            Self::Fixed(fixed) => fixed.raw(),
            Self::Dynamic(dynamic) => dynamic.raw(),
            Self::Differencing(differencing) => differencing.child().raw(),
        }
    }

    /// Returns the disk.
    pub(super) fn device(&self) -> &dyn ReadAt {
        match self {
            Self::Fixed(fixed) => fixed,
            Self::Dynamic(dynamic) => dynamic,
            Self::Differencing(differencing) => differencing,
        }
    }

    /// Returns what identifies the disk to its children.
    pub(super) fn unique_id(&self) -> Result<[u8; 16]> {
        Ok(Footer::open(self.raw())?.unique_id)
    }

    /// Returns the footer's time stamp, in seconds since 2000.
    pub(super) fn time_stamp(&self) -> Result<u32> {
        Ok(Footer::open(self.raw())?.time_stamp)
    }
}
