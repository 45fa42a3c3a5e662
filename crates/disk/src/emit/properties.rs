//! What a disk has besides its bytes: the sizes of its sectors and its id.

use super::super::{Image, Result};
use coldforge_base::ReadAt as _;
use coldforge_base::guid::Guid;

/// The first bytes of a GUID partition table's header.
const GPT_SIGNATURE: [u8; 8] = *b"EFI PART";

/// What a disk has besides its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DiskProperties {
    /// Bytes of a logical sector.
    pub sector: u32,
    /// Bytes of a physical sector.
    pub physical: u32,
    /// What identifies the disk to its machine, if its container says so.
    pub id: Option<Guid>,
}

impl DiskProperties {
    /// Returns the properties of the disk in an image.
    ///
    /// # Errors
    /// What the image answers.
    pub fn of(image: &Image) -> Result<Self> {
        if let Some(vhdx) = image.vhdx() {
            let (sector, physical) = vhdx.sectors();
            return Ok(Self { sector, physical, id: Some(vhdx.disk_id()) });
        }
        let sector = if is_laid_out_in(image, 4096)? && !is_laid_out_in(image, 512)? { 4096 } else { 512 };
        Ok(Self { sector, physical: sector, id: None })
    }
}

/// Tells whether the header of a GUID partition table lies where it does on a disk with sectors of so many bytes: a raw
/// disk has no other word on its sectors.
fn is_laid_out_in(image: &Image, sector: u64) -> Result<bool> {
    let mut signature = [0; 8];
    if image.len() >= sector.saturating_add(signature.len() as u64) {
        image.read_at(sector, &mut signature)?;
    }
    Ok(signature == GPT_SIGNATURE)
}
