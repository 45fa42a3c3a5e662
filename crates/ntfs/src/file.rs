//! A file or directory of the volume, and reading its content.

use std::borrow::Cow;

use super::fixup;
use super::index::{Entry, Index};
use super::layout::{StandardInformation, file_attribute, kind, system, view};
use super::segments::Segments;
use super::stream::{Content, Stream};
use crate::error::{Error, Place, Result};
use crate::record::Reference;
use crate::volume::Volume;
use coldforge_base::time::FileTime;
use coldforge_base::{Extent, FileOffset, ReadAt};

/// A file or directory of a volume: what its records said when it was looked up.
///
/// It stays valid when the volume is written: a volume that was written since reads the records again.
#[derive(Clone, Debug)]
pub struct File {
    pub(super) reference: Reference,
    pub(super) is_directory: bool,
    pub(super) is_internal: bool,
    pub(super) attributes: u32,
    modified: FileTime,
    pub(super) reparse_tag: Option<u32>,
    pub(super) data: Option<Stream>,
    links: u16,
    generation: u64,
}

/// The reparse tag of files that the Windows overlay filter compresses (CompactOS).
const WOF: u32 = 0x8000_0017;

impl File {
    /// Returns the reference that leads to the file.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Returns the size of the content in bytes; 0 for a directory.
    pub fn size(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.size)
    }

    /// Returns how many bytes of the content were ever written; those after them read as zeros.
    pub fn initialized(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.initialized)
    }

    /// Returns how many bytes are set aside for the content.
    pub fn allocated(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.allocated)
    }

    /// Returns the file's attributes, as `GetFileAttributes` has them but for the directory bit.
    pub fn attributes(&self) -> u32 {
        self.attributes
    }

    /// Returns when the content was last changed.
    pub fn modified(&self) -> FileTime {
        self.modified
    }

    /// Returns the number of names, 8.3 twins included.
    pub fn links(&self) -> u16 {
        self.links
    }

    /// Returns the tag of a reparse point.
    pub fn reparse_tag(&self) -> Option<u32> {
        self.reparse_tag
    }

    /// Returns whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// Returns whether the content is in the file record.
    pub fn is_resident(&self) -> bool {
        self.data.as_ref().is_some_and(Stream::is_resident)
    }

    /// Returns whether the content is compressed by NTFS.
    pub fn is_compressed(&self) -> bool {
        self.data.as_ref().is_some_and(Stream::is_compressed)
    }

    /// Returns whether the content is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.attributes & file_attribute::ENCRYPTED != 0 || self.data.as_ref().is_some_and(Stream::is_encrypted)
    }

    /// Returns whether the content is marked as sparse.
    pub fn is_sparse(&self) -> bool {
        self.data.as_ref().is_some_and(Stream::is_sparse)
    }

    /// Returns whether the file is one of NTFS's own.
    pub fn is_system(&self) -> bool {
        self.is_internal || self.reference.record() < system::FIRST_USER
    }

    /// Returns the stream that holds the content, if it can be read.
    pub(super) fn readable(&self) -> Result<&Stream> {
        let record = self.reference.record();
        if self.is_directory {
            return Err(Error::IsDirectory { record });
        }
        match self.reparse_tag {
            Some(WOF) => return Err(Error::Wof { record }),
            Some(tag) => return Err(Error::ReparsePoint { record, tag }),
            None => {}
        }
        let data = self.data.as_ref().ok_or(Error::MissingAttribute { record, kind: kind::DATA })?;
        if self.is_encrypted() {
            return Err(Error::Encrypted { record });
        }
        Ok(data)
    }
}

impl<D: ReadAt> Volume<D> {
    /// Returns the file or directory that a reference leads to.
    ///
    /// # Errors
    /// [`Error::StaleReference`], [`Error::NotInUse`] and [`Error::OutsideMft`] if it leads to none; otherwise what is
    /// wrong with its records.
    pub fn file(&self, reference: Reference) -> Result<File> {
        self.file_of(&self.referenced(reference)?)
    }

    /// Returns the content of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; [`Error::IsDirectory`]; [`Error::Encrypted`], [`Error::Wof`] and [`Error::ReparsePoint`] if
    /// the content is stored elsewhere; [`Error::Compressed`] if it is compressed by anything but LZNT1; otherwise errors
    /// in the volume.
    pub fn read(&self, file: &File, limit: u64) -> Result<Vec<u8>> {
        self.current(file)?.readable()?.read_all(&self.device, &self.geometry, limit)
    }

    /// Fills `buf` with the bytes of a file that begin at `at`.
    ///
    /// # Errors
    /// [`Error::OutsideFile`]; otherwise as [`Volume::read`].
    pub fn read_at(&self, file: &File, at: FileOffset, buf: &mut [u8]) -> Result<()> {
        let file = self.current(file)?;
        let data = file.readable()?;
        data.check_asked(at, buf.len() as u64)?;
        data.read(&self.device, &self.geometry, at.0, buf)
    }

    /// Returns the entries of a directory in their order, without the 8.3 names of files that have a long one, and
    /// without the root directory's entry for itself (`.`).
    ///
    /// # Errors
    /// [`Error::NotADirectory`]; otherwise errors in the index.
    pub fn list(&self, directory: &File) -> Result<Vec<Entry>> {
        let segments = self.referenced(directory.reference)?;
        if !segments.base.is_directory() {
            return Err(Error::NotADirectory { record: segments.base.number() });
        }
        let mut entries = Index::open(self, &segments)?.list(self)?;
        entries.retain(|entry| entry.reference != directory.reference);
        Ok(entries)
    }

    /// Returns where in the volume the `length` bytes of a file at `at` are, in the order of the file.
    ///
    /// The extents of a file without holes are together as long as the range; holes have no place and are left out. The
    /// content of a resident file is in its record; there the last two bytes of each 512-byte block stand in the
    /// update sequence array, and so the extents lead there.
    ///
    /// # Errors
    /// As [`Volume::read_at`], and [`Error::Compressed`]: compressed bytes have no place.
    pub fn extents(&self, file: &File, at: FileOffset, length: u64) -> Result<Vec<Extent>> {
        let file = self.current(file)?;
        let data = file.readable()?;
        data.check_asked(at, length)?;
        if data.is_compressed() && !data.is_resident() {
            return Err(Error::Compressed { record: file.reference.record() });
        }
        if let Content::Resident { offset, .. } = data.content {
            return self.resident_extents(data.record, (offset as u64).saturating_add(at.0), length);
        }
        let pieces = data.pieces(&self.geometry, at.0, length)?;
        let places = pieces.iter().filter_map(|piece| piece.at.map(|at| Extent::new(at.0, piece.length)));
        Ok(joined(places))
    }

    /// Reads the base record that a reference leads to, and its attribute list.
    pub(super) fn referenced(&self, reference: Reference) -> Result<Segments> {
        let record = self.record(reference.record())?;
        let (expected, actual) = (reference.sequence(), record.sequence());
        if expected != actual {
            return Err(Error::StaleReference { record: record.number(), expected, actual });
        }
        if let Some(base) = record.base() {
            let place = Place::Record { record: record.number(), byte: 0x20 };
            return Err(Error::Field { place, field: "the base record of a file", actual: base.0 });
        }
        self.segments(record)
    }

    /// Collects the properties of a file from its records.
    pub(super) fn file_of(&self, segments: &Segments) -> Result<File> {
        let base = &segments.base;
        let information = base.find(|attribute| attribute.is(kind::STANDARD_INFORMATION, &[]))?;
        let (attributes, modified) = match &information {
            None => (0, FileTime::default()),
            Some(attribute) => {
                let place = Place::Record { record: base.number(), byte: attribute.offset };
                let fields: &StandardInformation = view(attribute.value()?, 0).map_err(place.cut())?;
                let [_, modified, ..] = fields.times;
                (fields.file_attributes.get(), FileTime(modified.get()))
            }
        };
        Ok(File {
            reference: base.reference(),
            is_directory: base.is_directory(),
            is_internal: base.is_internal(),
            attributes,
            modified,
            reparse_tag: self.reparse_tag(segments)?,
            data: if base.is_directory() { None } else { self.stream(segments, kind::DATA, &[])? },
            links: base.link_count(),
            generation: self.generation,
        })
    }

    /// Returns the tag of a reparse point.
    pub(super) fn reparse_tag(&self, segments: &Segments) -> Result<Option<u32>> {
        let Some(stream) = self.stream(segments, kind::REPARSE_POINT, &[])? else { return Ok(None) };
        let mut tag = [0; 4];
        stream.read(&self.device, &self.geometry, 0, &mut tag)?;
        Ok(Some(u32::from_le_bytes(tag)))
    }

    /// Returns the file as its records are now.
    fn current<'a>(&self, file: &'a File) -> Result<Cow<'a, File>> {
        if file.generation == self.generation {
            return Ok(Cow::Borrowed(file));
        }
        self.file(file.reference).map(Cow::Owned)
    }

    /// Returns where the `length` bytes at `at` of a record are; bytes under an update sequence number are in the
    /// update sequence array.
    fn resident_extents(&self, number: u64, at: u64, length: u64) -> Result<Vec<Extent>> {
        let place = Place::Record { record: number, byte: 0 };
        let record = self.record(number)?;
        let array = fixup::array_offset(record.bytes(), place)?;
        let end = at.saturating_add(length);
        let mut spans = Vec::new();
        let mut next = at;
        // At most eight marks: a record has at most 4096 bytes.
        for (slot, mark) in fixup::slots(array, record.bytes().len()) {
            let (slot, mark) = (slot as u64, mark as u64);
            if mark.saturating_add(2) <= next || mark >= end {
                continue;
            }
            let from = next.max(mark);
            let to = end.min(mark.saturating_add(2));
            spans.push((next, mark.saturating_sub(next)));
            spans.push((slot.saturating_add(from.saturating_sub(mark)), to.saturating_sub(from)));
            next = to;
        }
        spans.push((next, end.saturating_sub(next)));
        let start = self.record_start(number);
        let mut places = Vec::new();
        for (at, length) in spans.into_iter().filter(|(_, length)| *length > 0) {
            let pieces = self.mft.pieces(&self.geometry, start.saturating_add(at), length)?;
            places.extend(pieces.iter().filter_map(|piece| piece.at.map(|at| Extent::new(at.0, piece.length))));
        }
        Ok(joined(places))
    }
}

/// Joins extents that follow one another, without changing their order.
fn joined(extents: impl IntoIterator<Item = Extent>) -> Vec<Extent> {
    let mut joined: Vec<Extent> = Vec::new();
    for extent in extents {
        match joined.last_mut() {
            Some(last) if last.end() == extent.offset => last.length = last.length.saturating_add(extent.length),
            _ => joined.push(extent),
        }
    }
    joined
}
