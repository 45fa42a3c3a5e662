//! A stream: the content of one attribute with all its extents, read and written through its runs.
//!
//! Bytes after the initialized size read as zeros, whatever the clusters hold. Compressed streams can be read but not
//! written; encrypted streams are rejected. Nothing here changes the length of a stream.

use super::attribute::{Attribute, Form};
use super::layout::{COMPRESSION_UNIT_POWER, attribute_flag};
use super::lznt1;
use super::runs::{Pairs, Run};
use crate::boot::Geometry;
use crate::error::{Error, Place, Result};
use coldforge_base::{Extent, FileOffset, ReadAt, Vcn, VolumeOffset, WriteAt, read};

/// The content of an attribute.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// Number of the file's base record.
    pub file: u64,
    /// Number of the record that holds the first extent, where the sizes are.
    pub record: u64,
    /// First byte of the first extent's attribute in that record.
    pub attribute: usize,
    /// Compression, encryption, sparseness.
    pub flags: u16,
    /// Clusters of a compression unit, as a power of two.
    pub unit: u8,
    /// Data size.
    pub size: u64,
    /// Initialized size.
    pub initialized: u64,
    /// Allocated size; of a resident stream its size.
    pub allocated: u64,
    /// Where the content is.
    pub content: Content,
}

/// Where the content of a stream is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// In [`Stream::record`].
    Resident {
        /// First byte in the record.
        offset: usize,
        /// The bytes.
        value: Vec<u8>,
    },
    /// In clusters: runs that follow one another from VCN 0.
    Runs(Vec<Run>),
}

/// A contiguous part of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    /// Its first byte in the volume; `None` in a hole.
    pub at: Option<VolumeOffset>,
    /// Number of bytes, at least 1.
    pub length: u64,
}

impl Stream {
    /// Takes the first extent of a stream of the file with base record `file`.
    ///
    /// # Errors
    /// [`Error::ExtentGap`] if the extent is not the first; [`Error::MappingPairs`].
    pub fn first(file: u64, attribute: &Attribute<'_>, geometry: &Geometry) -> Result<Self> {
        let (size, initialized, allocated, unit) = match attribute.form {
            Form::Resident { value, .. } => (value.len() as u64, value.len() as u64, value.len() as u64, 0),
            Form::NonResident { size, initialized, allocated, unit, .. } => (size, initialized, allocated, unit),
        };
        let content = match attribute.form {
            Form::Resident { value, offset } => Content::Resident { offset, value: value.to_vec() },
            Form::NonResident { .. } => Content::Runs(Vec::new()),
        };
        let (record, offset, flags) = (attribute.record, attribute.offset, attribute.flags);
        let mut stream = Self { file, record, attribute: offset, flags, unit, size, initialized, allocated, content };
        if stream.is_resident() {
            return Ok(stream);
        }
        stream.append(attribute, geometry)?;
        Ok(stream)
    }

    /// Takes the next extent.
    ///
    /// # Errors
    /// [`Error::ExtentGap`] if the extent does not join; [`Error::MappingPairs`], [`Error::TooFragmented`].
    pub fn append(&mut self, attribute: &Attribute<'_>, geometry: &Geometry) -> Result<()> {
        let expected = self.end();
        let gap = Error::ExtentGap { record: self.file, expected, actual: attribute.lowest() };
        let Content::Runs(runs) = &mut self.content else { return Err(gap) };
        match attribute.form {
            Form::NonResident { lowest, end, pairs, pairs_offset, .. } if lowest == expected => {
                let pairs = Pairs { record: attribute.record, offset: pairs_offset, bytes: pairs };
                pairs.decode_into(runs, lowest, end, geometry.clusters)
            }
            _ => Err(gap),
        }
    }

    /// Checks that the extents hold all bytes of the stream.
    ///
    /// # Errors
    /// [`Error::Sizes`].
    pub fn complete(self, geometry: &Geometry) -> Result<Self> {
        if !self.is_resident() && (self.size > self.mapped(geometry) || self.initialized > self.size) {
            return Err(self.sizes(geometry));
        }
        Ok(self)
    }

    pub fn is_resident(&self) -> bool {
        matches!(self.content, Content::Resident { .. })
    }

    pub fn is_compressed(&self) -> bool {
        self.flags & attribute_flag::COMPRESSION_MASK != 0
    }

    pub fn is_encrypted(&self) -> bool {
        self.flags & attribute_flag::ENCRYPTED != 0
    }

    pub fn is_sparse(&self) -> bool {
        self.flags & attribute_flag::SPARSE != 0
    }

    /// Returns the runs; none if the stream is resident.
    pub fn runs(&self) -> &[Run] {
        match &self.content {
            Content::Resident { .. } => &[],
            Content::Runs(runs) => runs,
        }
    }

    /// Returns how many bytes the runs hold, holes included.
    pub fn mapped(&self, geometry: &Geometry) -> u64 {
        self.end().0.saturating_mul(geometry.cluster_bytes)
    }

    /// Returns the error for sizes that contradict each other.
    pub fn sizes(&self, geometry: &Geometry) -> Error {
        Error::Sizes {
            record: self.file,
            mapped: self.mapped(geometry),
            allocated: self.allocated,
            size: self.size,
            initialized: self.initialized,
        }
    }

    /// Fills `buf` with the bytes that begin at `at`, in as few reads as the runs allow.
    ///
    /// # Errors
    /// [`Error::ShortStream`]; [`Error::Encrypted`]; of a compressed stream [`Error::Compressed`] if it is no LZNT1 in
    /// units of 16 clusters, and [`Error::CompressedUnit`]; the device's.
    pub fn read<D: ReadAt>(&self, device: &D, geometry: &Geometry, at: u64, buf: &mut [u8]) -> Result<()> {
        self.check_range(at, buf.len() as u64)?;
        if self.is_encrypted() {
            return Err(Error::Encrypted { record: self.file });
        }
        if let Content::Resident { value, .. } = &self.content {
            // The range was checked; a resident value is stored plain even if its flags say compressed.
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let place = Place::Record { record: self.record, byte: self.attribute };
            buf.copy_from_slice(read::slice(value, at, buf.len()).map_err(place.cut())?);
            return Ok(());
        }
        if self.is_compressed() {
            return self.read_compressed(device, geometry, at, buf);
        }
        let valid = self.initialized.saturating_sub(at).min(buf.len() as u64);
        let (stored, mut rest) = buf.split_at_mut(usize::try_from(valid).unwrap_or(usize::MAX));
        rest.fill(0);
        rest = stored;
        for piece in self.pieces(geometry, at, valid)? {
            let (part, tail) = rest.split_at_mut(usize::try_from(piece.length).unwrap_or(usize::MAX));
            match piece.at {
                Some(at) => device.read_at(at.0, part)?,
                None => part.fill(0),
            }
            rest = tail;
        }
        Ok(())
    }

    /// Fills `buf` with decompressed bytes, unit by unit.
    fn read_compressed<D: ReadAt>(&self, device: &D, geometry: &Geometry, at: u64, buf: &mut [u8]) -> Result<()> {
        if self.flags & attribute_flag::COMPRESSION_MASK != attribute_flag::LZNT1 || self.unit != COMPRESSION_UNIT_POWER
        {
            return Err(Error::Compressed { record: self.file });
        }
        // Clusters have at most 2 MiB: a unit has at most 32.
        let unit_bytes = geometry.cluster_bytes << COMPRESSION_UNIT_POWER;
        let (mut at, mut rest) = (at, buf);
        // Each turn fills at least one byte.
        while !rest.is_empty() {
            let into = at.checked_rem(unit_bytes).unwrap_or(0);
            let start = at.saturating_sub(into);
            let length = unit_bytes.saturating_sub(into).min(rest.len() as u64);
            let (part, tail) = rest.split_at_mut(read::size(length));
            let valid = self.initialized.saturating_sub(at).min(length);
            let (stored, behind) = part.split_at_mut(read::size(valid));
            behind.fill(0);
            if !stored.is_empty() {
                let unit = self.unit_at(device, geometry, start, unit_bytes)?;
                let into = read::size(into);
                let place = Place::Record { record: self.record, byte: self.attribute };
                stored.copy_from_slice(read::slice(&unit, into, stored.len()).map_err(place.cut())?);
            }
            at = at.saturating_add(length);
            rest = tail;
        }
        Ok(())
    }

    /// Returns the bytes of the compression unit at `start`: plain if it has all its clusters, zeros if it has none.
    fn unit_at<D: ReadAt>(&self, device: &D, geometry: &Geometry, start: u64, unit_bytes: u64) -> Result<Vec<u8>> {
        let damaged = || Error::CompressedUnit { record: self.file, at: FileOffset(start) };
        let length = unit_bytes.min(self.mapped(geometry).saturating_sub(start));
        let small = |length| usize::try_from(length).map_err(|_| damaged());
        let pieces = self.pieces(geometry, start, length)?;
        let mut bytes = Vec::new();
        let mut ended = false;
        for piece in pieces {
            match piece.at {
                // The compressed bytes come first; the clusters that they save are holes after them.
                Some(_) if ended => return Err(damaged()),
                Some(place) => {
                    let before = bytes.len();
                    bytes.resize(before.saturating_add(small(piece.length)?), 0);
                    device.read_at(place.0, bytes.get_mut(before..).unwrap_or(&mut []))?;
                }
                None => ended = true,
            }
        }
        if bytes.len() as u64 == unit_bytes {
            return Ok(bytes);
        }
        let mut plain = vec![0; small(unit_bytes)?];
        lznt1::decompress(&bytes, &mut plain).ok_or_else(damaged)?;
        Ok(plain)
    }

    /// Reads the whole stream, which has at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Stream::read`], and [`Error::TooLarge`].
    pub fn read_all<D: ReadAt>(&self, device: &D, geometry: &Geometry, limit: u64) -> Result<Vec<u8>> {
        let too_large = Error::TooLarge { record: self.file, size: self.size, limit };
        let length = usize::try_from(self.size).ok().filter(|_| self.size <= limit).ok_or(too_large)?;
        let mut buf = vec![0; length];
        self.read(device, geometry, 0, &mut buf)?;
        Ok(buf)
    }

    /// Writes `bytes` at `at` through the runs, and returns where they went.
    ///
    /// The sizes stay as they are, also the initialized size.
    ///
    /// # Errors
    /// [`Error::ShortStream`], [`Error::Sparse`] if there is a hole; the device's, and then a part may be written.
    pub fn write<D: WriteAt>(&self, device: &mut D, geometry: &Geometry, at: u64, bytes: &[u8]) -> Result<Vec<Extent>> {
        let places = self.places(geometry, at, bytes.len() as u64)?;
        let mut rest = bytes;
        for place in &places {
            let (part, tail) = rest.split_at(usize::try_from(place.length).unwrap_or(usize::MAX));
            device.write_at(place.offset, part)?;
            rest = tail;
        }
        Ok(places)
    }

    /// Returns where the `length` bytes at `at` can be written, in the order of the stream.
    ///
    /// # Errors
    /// [`Error::ShortStream`], [`Error::Sparse`] if there is a hole.
    pub fn places(&self, geometry: &Geometry, at: u64, length: u64) -> Result<Vec<Extent>> {
        self.check_range(at, length)?;
        let pieces = self.pieces(geometry, at, length)?;
        let places = pieces.iter().map(|piece| piece.at.map(|at| Extent::new(at.0, piece.length))).collect();
        Option::ok_or(places, Error::Sparse { record: self.file })
    }

    /// Returns where the `length` bytes at `at` are, in the order of the stream; only for a stream in clusters.
    ///
    /// # Errors
    /// [`Error::Sizes`] if the runs do not reach so far.
    pub fn pieces(&self, geometry: &Geometry, at: u64, length: u64) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let (mut at, mut left) = (at, length);
        let runs = self.runs();
        let cluster = geometry.cluster_bytes;
        let first = runs.partition_point(|run| run.end().0.saturating_mul(cluster) <= at);
        for run in runs.iter().skip(first) {
            if left == 0 {
                break;
            }
            let into = at.saturating_sub(run.vcn.0.saturating_mul(cluster));
            let length = run.clusters.saturating_mul(cluster).saturating_sub(into).min(left);
            let start = run.lcn.map(|lcn| VolumeOffset(geometry.cluster(lcn).saturating_add(into)));
            pieces.push(Piece { at: start, length });
            at = at.saturating_add(length);
            left = left.saturating_sub(length);
        }
        if left == 0 { Ok(pieces) } else { Err(self.sizes(geometry)) }
    }

    /// Checks that a range that a user named is inside the stream.
    ///
    /// # Errors
    /// [`Error::OutsideFile`].
    pub fn check_asked(&self, at: FileOffset, length: u64) -> Result<()> {
        if self.holds(at.0, length) {
            return Ok(());
        }
        Err(Error::OutsideFile { record: self.file, at, length, size: self.size })
    }

    /// Checks that a range that the volume itself names is inside the stream.
    fn check_range(&self, at: u64, length: u64) -> Result<()> {
        if self.holds(at, length) {
            return Ok(());
        }
        Err(Error::ShortStream { record: self.file, at: FileOffset(at), length, size: self.size })
    }

    fn holds(&self, at: u64, length: u64) -> bool {
        at.checked_add(length).is_some_and(|end| end <= self.size)
    }

    /// Returns the first VCN after the runs.
    fn end(&self) -> Vcn {
        self.runs().last().map_or(Vcn(0), Run::end)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use coldforge_base::Lcn;
    use coldforge_base::device::Memory;

    fn geometry() -> Geometry {
        Geometry {
            sector_bytes: 512,
            cluster_bytes: 512,
            sectors: 16,
            clusters: 16,
            record_bytes: 1024,
            index_block_bytes: 4096,
            mft: Lcn(4),
            mft_mirror: Lcn(2),
            serial: 0,
        }
    }

    fn stream(runs: &[(Option<u64>, u64)], size: u64, initialized: u64) -> Stream {
        let mut vcn = 0;
        let runs: Vec<Run> = runs
            .iter()
            .map(|(lcn, clusters)| {
                let run = Run { vcn: Vcn(vcn), lcn: lcn.map(Lcn), clusters: *clusters };
                vcn += clusters;
                run
            })
            .collect();
        let content = Content::Runs(runs);
        Stream {
            file: 30,
            record: 30,
            attribute: 0x98,
            flags: 0,
            unit: 0,
            size,
            initialized,
            allocated: vcn * 512,
            content,
        }
    }

    fn device() -> Memory {
        Memory((0..16 * 512u32).map(|i| (i / 512 * 16 + i % 7) as u8 | 1).collect())
    }

    #[test]
    fn bytes_come_from_their_runs_holes_and_the_uninitialized_end_as_zeros() {
        let (device, geometry) = (device(), geometry());
        let stream = stream(&[(Some(8), 2), (None, 1), (Some(3), 2)], 2500, 2100);
        let all = stream.read_all(&device, &geometry, 2500).unwrap();
        assert_eq!(all[..1024], device.0[8 * 512..10 * 512]);
        assert_eq!(all[1024..1536], [0; 512]);
        assert_eq!(all[1536..2100], device.0[3 * 512..][..564]);
        assert_eq!(all[2100..], [0; 400]);
        for (at, length) in [(0, 1), (1020, 8), (1530, 10), (2090, 20), (2200, 300), (2500, 0)] {
            let mut buf = vec![0xee; length];
            stream.read(&device, &geometry, at as u64, &mut buf).unwrap();
            assert_eq!(buf, all[at..at + length]);
        }
        assert!(stream.read(&device, &geometry, 2500, &mut [0]).is_err());
        assert!(matches!(stream.read_all(&device, &geometry, 2499), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_write_goes_through_the_runs_and_tells_where() {
        let (mut device, geometry) = (device(), geometry());
        let stream = stream(&[(Some(8), 1), (Some(3), 1)], 1024, 1024);
        let before = device.0.clone();
        let touched = stream.write(&mut device, &geometry, 500, &[0xaa; 20]).unwrap();
        assert_eq!(touched, [Extent::new(8 * 512 + 500, 12), Extent::new(3 * 512, 8)]);
        for (i, (old, new)) in before.iter().zip(&device.0).enumerate() {
            let inside = touched.iter().any(|e| (e.offset..e.end()).contains(&(i as u64)));
            assert_eq!(*new, if inside { 0xaa } else { *old }, "{i}");
        }
    }

    #[test]
    fn a_write_that_meets_a_hole_writes_nothing() {
        let (mut device, geometry) = (device(), geometry());
        let before = device.0.clone();
        let stream = stream(&[(Some(8), 1), (None, 1)], 1024, 1024);
        assert!(matches!(stream.write(&mut device, &geometry, 0, &[1; 600]), Err(Error::Sparse { .. })));
        assert_eq!(device.0, before);
    }

    #[test]
    fn runs_that_are_shorter_than_the_stream_are_an_error() {
        assert!(stream(&[(Some(8), 1)], 513, 0).complete(&geometry()).is_err());
        assert!(stream(&[(Some(8), 1)], 512, 513).complete(&geometry()).is_err());
        assert!(stream(&[(Some(8), 1)], 512, 512).complete(&geometry()).is_ok());
    }
}
