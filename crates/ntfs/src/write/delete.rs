//! Deleting a name of a file, and the file with its last name.
//!
//! A long name and its 8.3 twin are deleted together. The record of a deleted file keeps its bytes except for the
//! in-use flag and the sequence number, which goes up. Files with an object id or a reparse point are rejected, because
//! indexes of `$Extend` refer to them.

use std::collections::BTreeSet;

use super::edit::Edit;
use super::index::Index;
use super::names::parts;
use super::order::{Changes, Rank};
use crate::attribute::Form;
use crate::error::{Error, Result};
use crate::file::File;
use crate::index;
use crate::layout::{information_at, kind, name, namespace};
use crate::record::{Record, Reference};
use crate::volume::Volume;
use coldforge_base::time::FileTime;
use coldforge_base::{ReadAt, WriteAt};

impl<D: WriteAt> Volume<D> {
    /// Deletes a name of a file from a directory, and the file if that was its last one, or an empty directory.
    ///
    /// # Errors
    /// [`Error::NameMissing`]; [`Error::DirectoryNotEmpty`]; [`Error::SystemFile`], [`Error::Tied`],
    /// [`Error::ReparsePoint`] by the file, [`Error::NotADirectory`], [`Error::SystemFile`], [`Error::CaseSensitive`],
    /// [`Error::ReparsePoint`] by the directory; [`Error::AmbiguousName`]; [`Error::VolumeFull`],
    /// [`Error::RecordFull`], [`Error::IndexFull`]; others if the volume is damaged: in all these cases nothing was
    /// written. An error of the device can leave a part written.
    pub fn delete(&mut self, parent: &File, name: &str, now: FileTime) -> Result<Changes> {
        let parent = self.check_directory(parent)?;
        let units: Vec<u16> = name.encode_utf16().collect();
        let segments = self.referenced(parent)?;
        let found = index::Index::open(self, &segments)?.find(self, &units)?;
        let missing = Error::NameMissing { directory: parent.record() };
        let file = self.file(found.ok_or(missing)?.reference)?;
        let record = file.reference().record();
        if file.is_system() {
            return Err(Error::SystemFile { record });
        }
        if let Some(tag) = file.reparse_tag() {
            return Err(Error::ReparsePoint { record, tag });
        }
        if file.is_directory() {
            let segments = self.referenced(file.reference())?;
            if !index::Index::open(self, &segments)?.list(self)?.is_empty() {
                return Err(Error::DirectoryNotEmpty { record });
            }
        }
        let reference = file.reference();
        let ((), changes) = self.edit(now, |edit| edit.unlink(parent, reference, &units))?;
        Ok(changes)
    }
}

impl<D: ReadAt> Edit<'_, '_, D> {
    fn unlink(&mut self, parent: Reference, file: Reference, name: &[u16]) -> Result<()> {
        self.is_removing = true;
        let names = self.names(file)?;
        let here = |value: &(Reference, Vec<u8>)| value.0 == parent;
        let upcase = std::sync::Arc::clone(&self.view.upcase);
        let meant = |value: &(Reference, Vec<u8>)| here(value) && upcase.compare(&parts(&value.1).1, name).is_eq();
        let chosen = names.iter().find(|value| meant(value));
        let (_, chosen) = chosen.ok_or(Error::NameMissing { directory: parent.record() })?;
        // A long name and its 8.3 twin go together; a file has at most one such pair in a directory.
        let twin = match parts(chosen).0 {
            namespace::WIN32 => Some(namespace::DOS),
            namespace::DOS => Some(namespace::WIN32),
            _ => None,
        };
        let (gone, kept): (Vec<_>, Vec<_>) = names.iter().partition(|value| {
            here(value) && (value.1 == *chosen || twin.is_some_and(|twin| parts(&value.1).0 == twin))
        });
        if gone.len() > 2 {
            return Err(Error::AmbiguousName { directory: parent.record() });
        }
        for (_, value) in &gone {
            let mut index = Index::open(self, parent, name::I30)?;
            let entry = index.remove(self, value)?;
            if coldforge_base::read::u64_le(&entry.bytes, 0).ok() != Some(file.0) {
                return Err(Error::NameMissing { directory: parent.record() });
            }
            index.put(self)?;
        }
        if kept.is_empty() {
            self.delete_file(file)?;
        } else {
            self.drop_names(file, &gone, kept.len())?;
        }
        self.stamp(parent, self.upper())?;
        self.renew_names(parent, false)
    }

    /// Takes names out of the records of a file that has others.
    fn drop_names(&mut self, file: Reference, gone: &[&(Reference, Vec<u8>)], left: usize) -> Result<()> {
        for (_, value) in gone {
            let segments = self.view.referenced(file)?;
            let missing = Error::MissingAttribute { record: file.record(), kind: kind::FILE_NAME };
            let mut found = None;
            for spot in self.spots(&segments, kind::FILE_NAME, &[])? {
                let record = self.view.record(spot.record)?;
                let attribute = record.find(|attribute| attribute.offset == spot.offset)?;
                if attribute.is_some_and(|attribute| attribute.value().is_ok_and(|other| other == value)) {
                    found = Some(spot);
                }
            }
            self.take_out(file, Rank::BaseRecords, kind::FILE_NAME, &[found.ok_or(missing)?])?;
        }
        let mut editor = self.editor(file.record())?;
        editor.set_links(u16::try_from(left).unwrap_or(u16::MAX))?;
        self.put_record(Rank::BaseRecords, editor)?;
        let mut editor = self.editor(file.record())?;
        let at = super::replace::information(&editor.view()?)?.saturating_add(information_at::CHANGED);
        editor.put(at, &self.now.0.to_le_bytes())?;
        self.put_record(Rank::BaseRecords, editor)?;
        self.renew_names(file, false)
    }

    /// Frees all clusters and records of a file without a name.
    fn delete_file(&mut self, file: Reference) -> Result<()> {
        let segments = self.view.referenced(file)?;
        let mut numbers = BTreeSet::from([file.record()]);
        for entry in segments.list.iter().flatten() {
            self.view.segment(&segments, entry, None)?;
            numbers.insert(entry.reference.record());
        }
        for number in &numbers {
            let record = self.view.record(*number)?;
            self.free_clusters(file.record(), &record)?;
        }
        for number in numbers {
            self.free_record(number)?;
        }
        Ok(())
    }

    /// Frees the clusters of every attribute of a record.
    fn free_clusters(&mut self, file: u64, record: &Record) -> Result<()> {
        for attribute in record.attributes() {
            let attribute = attribute?;
            if !is_separate(attribute.kind) {
                return Err(Error::Tied { record: file, kind: attribute.kind });
            }
            if let Form::NonResident { lowest, end, pairs, pairs_offset, .. } = attribute.form {
                let mut runs = Vec::new();
                let pairs = crate::runs::Pairs { record: record.number(), offset: pairs_offset, bytes: pairs };
                pairs.decode_into(&mut runs, lowest, end, self.view.geometry.clusters)?;
                self.free(file, &runs)?;
            }
        }
        Ok(())
    }
}

/// Returns whether no other structure of the volume refers to an attribute.
fn is_separate(code: u32) -> bool {
    matches!(
        code,
        kind::STANDARD_INFORMATION
            | kind::ATTRIBUTE_LIST
            | kind::FILE_NAME
            | kind::SECURITY_DESCRIPTOR
            | kind::DATA
            | kind::INDEX_ROOT
            | kind::INDEX_ALLOCATION
            | kind::BITMAP
            | kind::EA_INFORMATION
            | kind::EA
    )
}
