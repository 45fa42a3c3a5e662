//! Replacing the content of a file, and updating the sizes and times in its record and in its directory entries.
//!
//! Directory listings show the copy of sizes, times and flags in the directory entry. There is one copy for each name,
//! 8.3 names included. The copy in the record's own $FILE_NAME is only updated when a name changes, so it stays here.

use super::edit::{Content, Edit};
use super::index::Index;
use super::order::{Changes, Rank};
use crate::attribute::Form;
use crate::error::{Error, Place, Result};
use crate::file::File;
use crate::layout::{DUP_FILE_NAME_INDEX_PRESENT, FileName, information_at, kind, name, name_at, system, view};
use crate::record::{Record, Reference};
use crate::volume::Volume;
use coldforge_base::time::FileTime;
use coldforge_base::{ReadAt, WriteAt, read};

impl<D: WriteAt> Volume<D> {
    /// Replaces the whole content of a file, and returns what was written.
    ///
    /// Content that fits goes into the file record; other content into free clusters, side by side if there are so
    /// many. What the file had is freed. Sizes are set in the record and in each directory entry, as are the times of
    /// change and modification, to `now`. `file` and other [`File`]s stay valid.
    ///
    /// Ask [`Volume::refusals`] first: here only the file is judged.
    ///
    /// # Errors
    /// [`Error::SystemFile`], [`Error::IsDirectory`], [`Error::Compressed`], [`Error::Encrypted`], [`Error::Sparse`],
    /// [`Error::Wof`], [`Error::ReparsePoint`]; [`Error::VolumeFull`], [`Error::RecordFull`]; [`Error::Overlap`],
    /// [`Error::FreeCluster`], [`Error::Sizes`] and others if the volume is damaged: in all these cases nothing was
    /// written. An error of the device can leave a part written.
    pub fn replace_stream(&mut self, file: &File, content: &[u8], now: FileTime) -> Result<Changes> {
        let file = self.file(file.reference())?;
        self.writable(&file)?;
        let reference = file.reference();
        let ((), changes) = self.edit(now, |edit| {
            edit.replace(reference, Rank::BaseRecords, (kind::DATA, &[]), Content::Bulk(content))?;
            edit.stamp(reference, Rank::BaseRecords)?;
            edit.renew_names(reference, true)
        })?;
        Ok(changes)
    }
}

/// The copy of times, sizes and flags in a FILE_NAME.
#[derive(Clone, Copy, Debug)]
pub(super) struct Duplicated {
    /// Created, modified, changed, accessed.
    pub times: [u64; 4],
    /// Allocated and data size; `None` to leave them.
    pub sizes: Option<(u64, u64)>,
    /// The file attributes and the directory flag.
    pub attributes: u32,
}

/// The file attributes that a directory entry copies from $STANDARD_INFORMATION.
const SHARED_ATTRIBUTES: u32 = 0xffff;

impl Duplicated {
    /// Writes the copy into a FILE_NAME; flags that only exist there are kept.
    pub fn put(&self, key: &mut [u8]) {
        let mut put = |at: usize, field: u64| {
            // A key that is too short for a FILE_NAME was never found.
            let _ = read::put_u64_le(key, at, field);
        };
        for (index, time) in (0usize..).zip(self.times) {
            put(name_at::TIMES.saturating_add(index.saturating_mul(8)), time);
        }
        if let Some((allocated, size)) = self.sizes {
            put(name_at::ALLOCATED, allocated);
            put(name_at::SIZE, size);
        }
        let old = read::u32_le(key, name_at::FILE_ATTRIBUTES).unwrap_or_default();
        let new = old & !SHARED_ATTRIBUTES | self.attributes;
        let _ = read::put_u32_le(key, name_at::FILE_ATTRIBUTES, new);
    }
}

impl<D: ReadAt> Edit<'_, '_, D> {
    /// Sets the times of modification and of change of a file to the moment of the edit.
    ///
    /// # Errors
    /// Errors in its record.
    pub fn stamp(&mut self, file: Reference, rank: Rank) -> Result<()> {
        let mut editor = self.editor(file.record())?;
        let at = information(&editor.view()?)?;
        for field in [information_at::MODIFIED, information_at::CHANGED] {
            editor.put(at.saturating_add(field), &self.now.0.to_le_bytes())?;
        }
        self.put_record(rank, editor)
    }

    /// Writes times, attributes and, if `has_sizes`, the sizes of a file to each of its directory entries.
    ///
    /// # Errors
    /// [`Error::NameMissing`] if a directory does not have a name that the file has; errors in the index.
    pub fn renew_names(&mut self, file: Reference, has_sizes: bool) -> Result<()> {
        // The root directory lists itself, and NTFS does not keep that copy current.
        if file.record() < system::FIRST_USER {
            return Ok(());
        }
        let duplicated = self.duplicated(file, has_sizes)?;
        for (parent, name) in self.names(file)? {
            let mut index = Index::open(self, parent, name::I30)?;
            index.patch(self, &name, file, |key| duplicated.put(key))?;
            index.put(self)?;
        }
        Ok(())
    }

    /// Returns what the directory entries of a file must repeat.
    ///
    /// # Errors
    /// Errors in its records.
    pub fn duplicated(&self, file: Reference, has_sizes: bool) -> Result<Duplicated> {
        let segments = self.view.referenced(file)?;
        let base = &segments.base;
        let at = information(base)?;
        let place = Place::Record { record: file.record(), byte: at };
        let time = |field: usize| read::u64_le(base.bytes(), at.saturating_add(field)).map_err(place.cut());
        let attributes = read::u32_le(base.bytes(), at.saturating_add(information_at::FILE_ATTRIBUTES));
        let mut attributes = attributes.map_err(place.cut())? & SHARED_ATTRIBUTES;
        let mut sizes = None;
        if base.is_directory() {
            attributes |= DUP_FILE_NAME_INDEX_PRESENT;
            sizes = has_sizes.then_some((0, 0));
        } else if has_sizes {
            let data = self.view.required_stream(&segments, kind::DATA, &[])?;
            let allocated = if data.is_resident() { data.size.next_multiple_of(8) } else { data.allocated };
            sizes = Some((allocated, data.size));
        }
        let times = [
            time(information_at::CREATED)?,
            time(information_at::MODIFIED)?,
            time(information_at::CHANGED)?,
            time(information_at::ACCESSED)?,
        ];
        Ok(Duplicated { times, sizes, attributes })
    }

    /// Returns the names of a file: each with its directory, and as FILE_NAME.
    ///
    /// # Errors
    /// Errors in its records.
    pub fn names(&self, file: Reference) -> Result<Vec<(Reference, Vec<u8>)>> {
        let segments = self.view.referenced(file)?;
        let mut names = Vec::new();
        for spot in self.spots(&segments, kind::FILE_NAME, &[])? {
            let record = self.view.record(spot.record)?;
            let attribute = record.find(|attribute| attribute.offset == spot.offset)?;
            let attribute =
                attribute.ok_or(Error::MissingAttribute { record: file.record(), kind: kind::FILE_NAME })?;
            let value = attribute.value()?;
            let place = Place::Record { record: spot.record, byte: spot.offset };
            let fields: &FileName = view(value, 0).map_err(place.cut())?;
            names.push((Reference(fields.parent.get()), value.to_vec()));
        }
        Ok(names)
    }
}

/// Returns where the value of $STANDARD_INFORMATION begins in a base record.
///
/// # Errors
/// [`Error::MissingAttribute`]; [`Error::Cut`] if it is shorter than any version's.
pub(super) fn information(base: &Record) -> Result<usize> {
    let missing = || Error::MissingAttribute { record: base.number(), kind: kind::STANDARD_INFORMATION };
    let attribute = base.find(|attribute| attribute.is(kind::STANDARD_INFORMATION, &[]))?.ok_or_else(missing)?;
    let place = Place::Record { record: base.number(), byte: attribute.offset };
    let value = attribute.value()?;
    read::slice(value, 0, 48).map_err(place.cut())?;
    match attribute.form {
        Form::Resident { offset, .. } => Ok(offset),
        Form::NonResident { .. } => Err(missing()),
    }
}
