//! A new container file with the contents of any disk.
//!
//! Each format has a file: it says where a piece of the disk goes, and what stands around the pieces. Pieces that are
//! all zero are never written, and zeros inside a piece stay holes of the file. The same disk gives the same bytes: ids
//! come from a digest of the contents.

mod deflate;
mod delta;
mod vhd;
mod vhdx;
mod vmdk;
mod walk;

pub(super) use delta::emit_delta;

use super::pieces::is_zero;
use super::vhd::fresh;
use super::{Error, Format, Image, Result};
use coldforge_base::digest::Digest;
use coldforge_base::guid::Guid;
use coldforge_base::progress::Progress;
use coldforge_base::{ReadAt, read};
use walk::{Piece, Walked, walk};

/// The first bytes of a GUID partition table's header.
const GPT_SIGNATURE: [u8; 8] = *b"EFI PART";

/// Where a new file's bytes go.
pub(super) trait Sink {
    /// Writes bytes at a place of the file.
    fn put(&self, at: u64, bytes: &[u8]) -> Result<()>;

    /// Gives the file a length.
    fn resize(&self, length: u64) -> Result<()>;
}

/// What a disk is beside its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Traits {
    /// Bytes of a logical sector.
    pub sector: u32,
    /// Bytes of a physical sector.
    pub physical: u32,
    /// What identifies the disk to its machine, if its container says so.
    pub id: Option<Guid>,
}

impl Traits {
    /// Returns the traits of the disk in an image.
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

/// What was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Emitted {
    pub file_bytes: u64,
    pub ebs_linear: String,
    pub ebs_blocks: u64,
}

impl Emitted {
    fn new(file_bytes: u64, walked: Walked) -> Self {
        Self { file_bytes, ebs_linear: walked.ebs_linear, ebs_blocks: walked.ebs_blocks }
    }
}

/// Writes a disk as a new file of a format that stands alone.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::OddSize`] and [`Error::SectorSize`] for a disk that the format cannot hold, otherwise
/// what the disk and the sink answer.
pub(super) fn emit(
    device: &dyn ReadAt,
    format: Format,
    traits: Traits,
    sink: &dyn Sink,
    progress: &dyn Progress,
) -> Result<Emitted> {
    if traits.sector != 512 && !matches!(format, Format::Raw | Format::VhdxFixed | Format::VhdxDynamic) {
        return Err(Error::SectorSize { actual: traits.sector, format });
    }
    match format {
        Format::Raw => {
            sink.resize(device.len())?;
            let walked = walk(device, None, progress, |piece| put_runs(sink, piece.at, piece))?;
            Ok(Emitted::new(device.len(), walked))
        }
        Format::VhdFixed => vhd::fixed(device, sink, progress),
        Format::VhdDynamic | Format::VhdDelta => vhd::dynamic(device, sink, progress),
        Format::VhdxFixed => vhdx::emit(device, true, traits, sink, progress),
        Format::VhdxDynamic | Format::VhdxDelta => vhdx::emit(device, false, traits, sink, progress),
        Format::Vmdk => vmdk::emit(device, sink, progress),
    }
}

/// Writes the parts of a piece that are not zero; the piece begins at `at` of the file.
fn put_runs(sink: &dyn Sink, at: u64, piece: &Piece) -> Result<()> {
    piece.runs.iter().try_for_each(|run| {
        let bytes = read::slice(&piece.bytes, run.start, run.len())?;
        sink.put(at.saturating_add(run.start as u64), bytes)
    })
}

/// Returns an id for one purpose from the identity of some contents.
fn id(purpose: &str, identity: &Digest) -> Guid {
    let Digest(digest) = Digest::of(&[b"coldforge/", purpose.as_bytes(), b"\0", &identity.0].concat());
    let mut id = [0; 16];
    for (byte, from) in id.iter_mut().zip(digest) {
        *byte = from;
    }
    // Version 8 and variant 1 of RFC 9562: made from data.
    id[7] = id[7] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    Guid(id)
}

/// Writes only those pages of a table that hold anything but zeros.
fn put_table(sink: &dyn Sink, at: u64, table: &[u8]) -> Result<()> {
    for (i, page) in (0u64..).zip(table.chunks(64 << 10)) {
        if !is_zero(page) {
            sink.put(at.saturating_add(i.saturating_mul(64 << 10)), page)?;
        }
    }
    Ok(())
}
