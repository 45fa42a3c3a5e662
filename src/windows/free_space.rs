//! Which bytes of a disk no file system reads before it has written them: the free clusters of its NTFS volumes.
//!
//! A range counts as free only where that is certain: the partition table contradicts nothing, the volume may be written
//! to, the strict verifier finds no error in it, and its `$Bitmap` calls the clusters free. Everything else is in use,
//! zeros or not: other file systems, gaps between partitions, boot sectors, the metadata of NTFS, and zeros in files. A
//! shadow copy reads what lay in clusters before they were freed, so that a volume with one has no free range either.

use super::locate::{Depth, Survey, SurveyedPartition};
use coldforge_base::offset::normalize;
use coldforge_base::progress::Silent;
use coldforge_base::{Extent, ReadAt};
use coldforge_disk::Window;
use coldforge_ntfs::Volume;
use coldforge_ntfs::verify::Check;

/// Returns the ranges of a disk that are certainly free, at least `least` bytes each, in ascending order.
///
/// What cannot be read has no free ranges.
pub fn free_extents(device: &dyn ReadAt, least: u64) -> Vec<Extent> {
    let Ok(survey) = Survey::of(device, Depth::Volumes) else { return Vec::new() };
    if !survey.table.refusals.is_empty() {
        return Vec::new();
    }
    normalize(
        survey
            .partitions
            .iter()
            .flat_map(|surveyed| of_partition(device, surveyed, least).unwrap_or_default())
            .collect(),
    )
}

/// Returns the free ranges of a partition, in the address space of the disk; `None` where nothing is certain.
fn of_partition(device: &dyn ReadAt, surveyed: &SurveyedPartition, least: u64) -> Option<Vec<Extent>> {
    let SurveyedPartition { partition, volume } = surveyed;
    let report = volume.as_ref().ok()?.as_ref()?;
    let is_uncertain = partition.refusal.is_some() || partition.is_extended() || !report.refusals.is_empty();
    if is_uncertain || report.warnings.iter().any(|warning| warning.code == "W-SHADOW-COPIES") {
        return None;
    }
    let window = Window::open(device, partition.start, partition.length_bytes).ok()?;
    let volume = Volume::open(window).ok()?;
    if !volume.verify(Check::Full, &Silent).ok()?.is_sound() {
        return None;
    }
    let of_disk = |free: Extent| {
        let end = free.end().min(partition.length_bytes);
        Extent::new(partition.start.0.saturating_add(free.offset), end.saturating_sub(free.offset))
    };
    Some(volume.free_extents(least).ok()?.into_iter().map(of_disk).collect())
}
