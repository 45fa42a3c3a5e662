//! A new container file with the contents of any disk.
//!
//! Each format has a file: it says where a piece of the disk goes, and what stands around the pieces. Pieces that are
//! all zero are never written, and zeros inside a piece stay holes of the file. The same disk gives the same bytes: ids
//! come from a digest of the contents.

mod deflate;
mod delta;
mod properties;
mod sink;
mod vhd;
mod vhdx;
mod vmdk;
mod walk;

pub(super) use delta::emit_delta;
pub(super) use properties::DiskProperties;
pub(super) use sink::{Emitted, Sink};

use super::{Error, Format, Result};
use coldforge_base::ReadAt;
use coldforge_base::progress::Progress;
use sink::put_runs;
use walk::walk;

/// Writes a disk as a new file of a format that stands alone.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::OddSize`] and [`Error::SectorSize`] for a disk that the format cannot hold, otherwise
/// what the disk and the sink answer.
pub(super) fn emit(
    device: &dyn ReadAt,
    format: Format,
    properties: DiskProperties,
    sink: &dyn Sink,
    progress: &dyn Progress,
) -> Result<Emitted> {
    if properties.sector != 512 && !matches!(format, Format::Raw | Format::VhdxFixed | Format::VhdxDynamic) {
        return Err(Error::SectorSize { actual: properties.sector, format });
    }
    match format {
        Format::Raw => {
            sink.resize(device.len())?;
            let walked = walk(device, None, progress, |piece| put_runs(sink, piece.at, piece))?;
            Ok(Emitted::new(device.len(), walked))
        }
        Format::VhdFixed => vhd::fixed(device, sink, progress),
        Format::VhdDynamic | Format::VhdDelta => vhd::dynamic(device, sink, progress),
        Format::VhdxFixed => vhdx::emit(device, true, properties, sink, progress),
        Format::VhdxDynamic | Format::VhdxDelta => vhdx::emit(device, false, properties, sink, progress),
        Format::Vmdk => vmdk::emit(device, sink, progress),
    }
}
