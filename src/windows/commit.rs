//! Writing edited hives back to their volume.

use rayon::prelude::*;

use super::hives::{self, HiveFile};
use super::{Error, Result};
use crate::base::digest::Digest;
use crate::base::offset::normalize;
use crate::base::{Extent, FileOffset, ImageOffset, read};
use crate::disk::{BlockDevice, Window};
use crate::ntfs::{self, Volume};

/// A file of the volume whose content was replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileChange {
    /// The path on the volume.
    pub file: String,
    /// The length, which did not change.
    pub bytes: u64,
    /// The digest of the content before.
    pub before: Digest,
    /// The digest of the content after.
    pub after: Digest,
    /// The bytes of the disk that were written.
    pub extents: Vec<Extent>,
}

/// Seals and verifies every hive that was edited or recovered, in parallel, and writes what changed to the volume. The
/// logs of such a hive are zeroed: an old entry in them must never be replayed over the edit.
///
/// # Errors
/// [`Error::HiveCorrupt`] if an edited hive fails its verifier: nothing was written then. Errors of the volume.
pub(super) fn commit<D: BlockDevice>(
    volume: &mut Volume<Window<D>>,
    hives: &mut [HiveFile],
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
        let content = file.hive.bytes();
        let extents = write(volume, &file.path, &file.file, content, &touched)?;
        let change = |path: &str, bytes, before, after, extents| FileChange {
            file: path.to_owned(),
            bytes,
            before,
            after,
            extents,
        };
        changes.push(change(&file.path, file.file.size(), file.before, after, extents));
        for log in file.logs.iter().filter(|log| !log.log().is_blank()) {
            let blank = log.log().blanked();
            let whole = [Extent::new(0, blank.len() as u64)];
            let extents = write(volume, &log.path, &log.file, &blank, &whole)?;
            let (before, after) = (Digest::of(&log.bytes), Digest::of(&blank));
            changes.push(change(&log.path, log.file.size(), before, after, extents));
        }
    }
    Ok(changes)
}

/// Writes ranges of a file's new content, and returns the bytes of the disk that were written.
fn write<D: BlockDevice>(
    volume: &mut Volume<Window<D>>,
    path: &str,
    file: &ntfs::File,
    content: &[u8],
    ranges: &[Extent],
) -> Result<Vec<Extent>> {
    let mut extents = Vec::new();
    for range in ranges {
        let place = usize::try_from(range.offset).ok().zip(usize::try_from(range.length).ok());
        let bytes = place.and_then(|(at, length)| read::slice(content, at, length).ok());
        let bytes = bytes.expect("the ranges of a content lie inside it");
        let written = volume.overwrite(file, FileOffset(range.offset), bytes);
        extents.extend(written.map_err(|source| Error::File { path: path.to_owned(), source })?);
    }
    Ok(on_disk(volume, extents))
}

/// Turns extents of the volume into extents of the disk.
pub(super) fn on_disk<D: BlockDevice>(volume: &Volume<Window<D>>, extents: Vec<Extent>) -> Vec<Extent> {
    let ImageOffset(start) = volume.device().start();
    normalize(extents.into_iter().map(|e| Extent::new(start.saturating_add(e.offset), e.length)).collect())
}
