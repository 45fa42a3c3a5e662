//! Overwriting bytes of a file in place: the file keeps its size, its names and its clusters.
//!
//! The content is written first and the device flushed; then the record that holds the initialized size is written,
//! with its next update sequence number, and also to `$MFTMirr` if the mirror repeats it. Times, LSNs and the change
//! journal stay unchanged.

use super::fixup;
use super::layout::{attribute_at, kind, system};
use super::runs::Run;
use super::stream::{Content, Stream};
use crate::error::{Error, Place, Result};
use crate::file::File;
use crate::volume::Volume;
use coldforge_base::{Extent, FileOffset, Lcn, ReadAt, WriteAt, offset, read};

/// How much is zeroed or checked at once.
const CHUNK_BYTES: u64 = 1 << 16;

impl<D: WriteAt> Volume<D> {
    /// Overwrites the bytes of a file that begin at `at`, and returns the extents of the volume that were written, in
    /// ascending order.
    ///
    /// The range must be inside the file. If it extends past the initialized size, the bytes between become zeros,
    /// and the initialized size is raised. For a resident file the extents hold its whole record; if the record has
    /// the bytes already, nothing is written.
    ///
    /// Ask [`Volume::refusals`] first: here only the file is judged.
    ///
    /// # Errors
    /// [`Error::OutsideFile`]; [`Error::SystemFile`], [`Error::IsDirectory`], [`Error::Compressed`],
    /// [`Error::Encrypted`], [`Error::Sparse`], [`Error::Wof`], [`Error::ReparsePoint`]; [`Error::Overlap`],
    /// [`Error::FreeCluster`] and [`Error::Sizes`] if its clusters are not its own: in all these cases nothing was
    /// written. An error of the device can leave a part written.
    pub fn overwrite(&mut self, file: &File, at: FileOffset, bytes: &[u8]) -> Result<Vec<Extent>> {
        let file = self.file(file.reference())?;
        let data = self.writable(&file)?;
        data.check_asked(at, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        // Whoever holds a `File` from before must look again.
        self.generation = self.generation.saturating_add(1);
        let touched = match &data.content {
            Content::Resident { offset, .. } => self.overwrite_resident(data, *offset, at.0, bytes)?,
            Content::Runs(_) => self.overwrite_clusters(data, at.0, bytes)?,
        };
        self.device.flush()?;
        Ok(offset::normalize(touched))
    }

    fn overwrite_resident(&mut self, data: &Stream, offset: usize, at: u64, bytes: &[u8]) -> Result<Vec<Extent>> {
        let place = Place::Record { record: data.record, byte: offset };
        let mut record = self.record(data.record)?.into_bytes();
        let start = usize::try_from(at).unwrap_or(usize::MAX).saturating_add(offset);
        let value = read::slice_mut(&mut record, start, bytes.len()).map_err(place.cut())?;
        if value == bytes {
            return Ok(Vec::new());
        }
        value.copy_from_slice(bytes);
        self.write_record(data.record, record)
    }

    fn overwrite_clusters(&mut self, data: &Stream, at: u64, bytes: &[u8]) -> Result<Vec<Extent>> {
        let mut touched = Vec::new();
        let mut zeroed = data.initialized;
        // Each turn moves on by at least a byte towards `at`, which is in the file's own clusters.
        while zeroed < at {
            let length = at.saturating_sub(zeroed).min(CHUNK_BYTES);
            let zeros = vec![0; read::size(length)];
            touched.extend(data.write(&mut self.device, &self.geometry, zeroed, &zeros)?);
            zeroed = zeroed.saturating_add(length);
        }
        touched.extend(data.write(&mut self.device, &self.geometry, at, bytes)?);
        let end = at.saturating_add(bytes.len() as u64);
        if end > data.initialized {
            self.device.flush()?;
            let place = Place::Record { record: data.record, byte: data.attribute };
            let mut record = self.record(data.record)?.into_bytes();
            let field = data.attribute.saturating_add(attribute_at::INITIALIZED);
            read::put_u64_le(&mut record, field, end).map_err(place.cut())?;
            touched.extend(self.write_record(data.record, record)?);
        }
        Ok(touched)
    }

    /// Writes a changed record to its place, and to `$MFTMirr` if that repeats it.
    fn write_record(&mut self, number: u64, mut bytes: Vec<u8>) -> Result<Vec<Extent>> {
        fixup::protect(&mut bytes, Place::Record { record: number, byte: 0 })?;
        let mirror = self.system_data(system::MFT_MIRROR)?;
        let (start, length) = (self.record_start(number), bytes.len() as u64);
        let is_mirrored = start.saturating_add(length) <= mirror.initialized;
        if is_mirrored {
            // What forbids the second write must be known before the first.
            mirror.places(&self.geometry, start, length)?;
        }
        let mut touched = self.mft.write(&mut self.device, &self.geometry, start, &bytes)?;
        if is_mirrored {
            touched.extend(mirror.write(&mut self.device, &self.geometry, start, &bytes)?);
        }
        Ok(touched)
    }
}

impl<D: ReadAt> Volume<D> {
    /// Checks that the bytes of a file could be overwritten, without doing so.
    ///
    /// # Errors
    /// As [`Volume::overwrite`] before it writes.
    pub fn check_overwritable(&self, file: &File) -> Result<()> {
        self.writable(file).map(|_| ())
    }

    /// Returns the content of a file, if it may be overwritten.
    pub(super) fn writable<'a>(&self, file: &'a File) -> Result<&'a Stream> {
        let record = file.reference().record();
        if file.is_system() {
            return Err(Error::SystemFile { record });
        }
        let data = file.readable()?;
        if data.is_compressed() {
            return Err(Error::Compressed { record });
        }
        if data.is_sparse() || data.runs().iter().any(|run| run.lcn.is_none()) {
            return Err(Error::Sparse { record });
        }
        if !data.is_resident() {
            if data.allocated != data.mapped(&self.geometry) {
                return Err(data.sizes(&self.geometry));
            }
            self.check_clusters(data)?;
        }
        Ok(data)
    }

    /// Checks that a stream's clusters are its own: nowhere twice, not the file system's, and marked as used.
    fn check_clusters(&self, data: &Stream) -> Result<()> {
        let mut clusters = located(data);
        clusters.sort_unstable();
        for pair in clusters.windows(2) {
            if let [a, b] = pair
                && a.end() > b.offset
            {
                return Err(Error::Overlap { record: data.file, lcn: Lcn(b.offset), other: data.file });
            }
        }
        let mft = self.segments(self.record(system::MFT)?)?;
        let map = self.stream(&mft, kind::BITMAP, &[])?;
        let mut owners = vec![(system::MFT, located(&self.mft))];
        owners.extend(map.iter().map(|map| (system::MFT, located(map))));
        for number in [system::MFT_MIRROR, system::LOG_FILE, system::BITMAP, system::BOOT, system::UPCASE] {
            owners.push((number, located(&self.system_data(number)?)));
        }
        for (other, runs) in owners {
            if let Some(lcn) = first_shared(&clusters, &runs) {
                return Err(Error::Overlap { record: data.file, lcn, other });
            }
        }
        match self.first_free(&clusters)? {
            Some(lcn) => Err(Error::FreeCluster { record: data.file, lcn }),
            None => Ok(()),
        }
    }

    /// Returns the first of some clusters that `$Bitmap` calls free.
    fn first_free(&self, clusters: &[Extent]) -> Result<Option<Lcn>> {
        let bitmap = self.system_data(system::BITMAP)?;
        for run in clusters {
            let mut at = run.offset.checked_div(8).unwrap_or(0);
            let end = run.end().div_ceil(8);
            // Each turn moves on by at least a byte of a bitmap that is in the volume.
            while at < end {
                let length = end.saturating_sub(at).min(CHUNK_BYTES);
                let mut chunk = vec![0u8; read::size(length)];
                bitmap.read(&self.device, &self.geometry, at, &mut chunk)?;
                for (bits, byte) in (at..).zip(&chunk) {
                    let first = bits.saturating_mul(8);
                    let wanted = (0..8).map(|bit| (bit, first.saturating_add(bit)));
                    let mut wanted = wanted.filter(|(_, lcn)| (run.offset..run.end()).contains(lcn));
                    if let Some((_, lcn)) = wanted.find(|(bit, _)| byte >> bit & 1 == 0) {
                        return Ok(Some(Lcn(lcn)));
                    }
                }
                at = at.saturating_add(length);
            }
        }
        Ok(None)
    }
}

/// Returns the clusters of a stream, counted in clusters, in the order of the stream.
fn located(stream: &Stream) -> Vec<Extent> {
    let located = |run: &Run| run.lcn.map(|lcn| Extent::new(lcn.0, run.clusters));
    stream.runs().iter().filter_map(located).collect()
}

/// Returns the first cluster of `sorted` that is among `others` as well.
fn first_shared(sorted: &[Extent], others: &[Extent]) -> Option<Lcn> {
    others.iter().find_map(|other| {
        let after = sorted.partition_point(|run| run.end() <= other.offset);
        let run = sorted.get(after).filter(|run| run.offset < other.end())?;
        Some(Lcn(run.offset.max(other.offset)))
    })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_cluster_is_found_at_either_end_of_a_run() {
        let sorted = [Extent::new(10, 5), Extent::new(20, 5)];
        let shared = |offset, length| first_shared(&sorted, &[Extent::new(offset, length)]);
        assert_eq!(shared(5, 5), None);
        assert_eq!(shared(5, 6), Some(Lcn(10)));
        assert_eq!(shared(14, 1), Some(Lcn(14)));
        assert_eq!(shared(15, 5), None);
        assert_eq!(shared(15, 9), Some(Lcn(20)));
        assert_eq!(shared(25, 9), None);
        assert_eq!(shared(0, 99), Some(Lcn(10)));
    }
}
