//! Writing edited hives back to their volume.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;

use super::files::Staged;
use super::hives::{self, HiveFile};
use super::{Error, Result};
use coldforge_base::digest::Digest;
use coldforge_base::offset::normalize;
use coldforge_base::progress::Silent;
use coldforge_base::time::FileTime;
use coldforge_base::{Extent, FileOffset, ImageOffset, ReadAt, WriteAt, read};
use coldforge_disk::Window;
use coldforge_ntfs::verify::{Check, Report};
use coldforge_ntfs::{self as ntfs, Changes, Volume, WriteStep};

/// A file of the volume whose content was replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileChange {
    /// The path on the volume.
    pub file: String,
    /// The length before, in bytes.
    pub bytes_before: u64,
    /// The length after, in bytes.
    pub bytes: u64,
    /// The digest of the content before.
    pub before: Digest,
    /// The digest of the content after.
    pub after: Digest,
    /// The bytes of the disk that were written.
    pub extents: Vec<Extent>,
    /// The same, in the groups and in the order in which they must reach a disk that is in use.
    pub order: Vec<(WriteStep, Vec<Extent>)>,
}

/// How much of the volume is verified before and after an edit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum VolumeCheck {
    /// Everything on it.
    #[default]
    Full,
    /// The files that are edited, the directories above them, and the file system's own: for very large volumes.
    Touched,
    /// Nothing: the bytes are known from a volume that was verified.
    Skip,
}

impl fmt::Display for VolumeCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Touched => "touched",
            Self::Skip => "skip",
        })
    }
}

impl FromStr for VolumeCheck {
    type Err = UnknownCheck;

    /// Parses what a user can ask for, which [`VolumeCheck::Skip`] is not.
    fn from_str(text: &str) -> std::result::Result<Self, UnknownCheck> {
        match text {
            "full" => Ok(Self::Full),
            "touched" => Ok(Self::Touched),
            _ => Err(UnknownCheck),
        }
    }
}

/// The text names no [`VolumeCheck`] that can be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownCheck;

/// Verifies the volume that holds these hives, as far as it is asked for; returns what was found, to be held against
/// what [`commit`] leaves.
///
/// # Errors
/// [`Error::VolumeCorrupt`] if it contradicts itself.
pub(super) fn check<D: ReadAt>(
    volume: &Volume<Window<D>>,
    partition: u32,
    hives: &[HiveFile],
    check: VolumeCheck,
) -> Result<Option<Report>> {
    let Some(report) = look_over(volume, partition, hives, check)? else { return Ok(None) };
    let first = report.errors().next().map(ToString::to_string);
    match first {
        Some(first) => Err(Error::VolumeCorrupt { partition, findings: report.errors().count(), first }),
        None => Ok(Some(report)),
    }
}

fn look_over<D: ReadAt>(
    volume: &Volume<Window<D>>,
    partition: u32,
    hives: &[HiveFile],
    check: VolumeCheck,
) -> Result<Option<Report>> {
    let files = hives.iter().flat_map(|hive| std::iter::once(&hive.file).chain(hive.logs.iter().map(|log| &log.file)));
    let records: Vec<u64> = files.map(|file| file.reference().record()).collect();
    let check = match check {
        VolumeCheck::Full => Check::Full,
        VolumeCheck::Touched => Check::Touched(&records),
        VolumeCheck::Skip => return Ok(None),
    };
    volume.verify(check, &Silent).map(Some).map_err(|source| Error::Volume { partition, source })
}

/// Seals and verifies every hive that was edited or recovered, in parallel, and writes what changed to the volume: in
/// place, or where the file became longer, as new content. The logs of such a hive are zeroed: an old entry in them
/// must never be replayed over the edit. Then the files that are staged are written, and the volume is verified again.
///
/// # Errors
/// [`Error::HiveCorrupt`] if an edited hive fails its verifier: nothing was written then. [`Error::VolumeWorse`] if the
/// volume has findings that it did not have `before`. Errors of the volume.
pub(super) fn commit<D: WriteAt>(
    volume: &mut Volume<Window<D>>,
    partition: u32,
    hives: &mut [HiveFile],
    staged: Option<&mut Staged>,
    now: FileTime,
    (before, check): (Option<&Report>, VolumeCheck),
) -> Result<Vec<FileChange>> {
    let sealed: Vec<Option<(Vec<Extent>, Digest)>> = hives
        .par_iter_mut()
        .map(|file| {
            file.hive.seal().map_err(|source| Error::Hive { path: file.path.clone(), source })?;
            let touched = file.hive.touched();
            if touched.is_empty() {
                return Ok(None);
            }
            hives::verify(file)?;
            Ok(Some((touched, Digest::of(file.hive.bytes()))))
        })
        .collect::<Result<_>>()?;
    let mut changes = Vec::new();
    for (file, sealed) in hives.iter().zip(sealed) {
        let Some((touched, after)) = sealed else { continue };
        let order = write(volume, &file.path, &file.file, file.hive.bytes(), &touched, now)?;
        changes.push(FileChange {
            file: file.path.clone(),
            bytes_before: file.file.size(),
            bytes: file.hive.bytes().len() as u64,
            before: file.before,
            after,
            extents: on_disk(volume, order.extents()),
            order: steps_on_disk(volume, &order),
        });
        for log in file.logs.iter().filter(|log| !log.log().is_blank()) {
            let blank = log.log().blanked();
            let whole = [Extent::new(0, blank.len() as u64)];
            let order = write(volume, &log.path, &log.file, &blank, &whole, now)?;
            changes.push(FileChange {
                file: log.path.clone(),
                bytes_before: log.file.size(),
                bytes: log.file.size(),
                before: Digest::of(&log.bytes),
                after: Digest::of(&blank),
                extents: on_disk(volume, order.extents()),
                order: steps_on_disk(volume, &order),
            });
        }
    }
    if let Some(staged) = staged {
        changes.extend(staged.write(volume, now)?);
    }
    if !changes.is_empty()
        && let (Some(before), Some(after)) = (before, look_over(volume, partition, hives, check)?)
        && let Some(first) = after.grown_from(before).first()
    {
        return Err(Error::VolumeWorse { partition, first: first.to_string() });
    }
    Ok(changes)
}

/// Writes a file's new content, of which these ranges changed, and returns what was written of the volume.
fn write<D: WriteAt>(
    volume: &mut Volume<Window<D>>,
    path: &str,
    file: &ntfs::File,
    content: &[u8],
    ranges: &[Extent],
    now: FileTime,
) -> Result<Changes> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    if content.len() as u64 != file.size() {
        return volume.replace_stream(file, content, now).map_err(failed);
    }
    let mut extents = Vec::new();
    for range in ranges {
        let place = usize::try_from(range.offset).ok().zip(usize::try_from(range.length).ok());
        let bytes = place.and_then(|(at, length)| read::slice(content, at, length).ok());
        let outside = ntfs::Error::OutsideFile {
            record: file.reference().record(),
            at: FileOffset(range.offset),
            length: range.length,
            size: content.len() as u64,
        };
        let bytes = bytes.ok_or_else(|| failed(outside))?;
        extents.extend(volume.overwrite(file, FileOffset(range.offset), bytes).map_err(failed)?);
    }
    Ok(Changes::of_content(normalize(extents)))
}

pub(super) fn steps_on_disk<D: ReadAt>(volume: &Volume<Window<D>>, changes: &Changes) -> Vec<(WriteStep, Vec<Extent>)> {
    changes.steps().iter().map(|(step, extents)| (*step, on_disk(volume, extents.clone()))).collect()
}

/// Turns extents of the volume into extents of the disk.
pub(super) fn on_disk<D: ReadAt>(volume: &Volume<Window<D>>, extents: Vec<Extent>) -> Vec<Extent> {
    let ImageOffset(start) = volume.device().start();
    normalize(extents.into_iter().map(|e| Extent::new(start.saturating_add(e.offset), e.length)).collect())
}
