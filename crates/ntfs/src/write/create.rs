//! Creating files and directories.
//!
//! A file gets $STANDARD_INFORMATION of version 3, a $FILE_NAME, and an unnamed $DATA even if that is empty; a
//! directory gets an empty `$I30`. The sizes in the $FILE_NAME of the record stay zero: Windows reads those in the
//! index.

use super::attribute::resident;
use super::edit::{Content, Edit};
use super::index::Index;
use super::names::Name;
use super::node::{Item, Node};
use super::order::{Changes, Rank};
use super::replace::information;
use super::secure::Security;
use crate::error::{Error, Result};
use crate::file::File;
use crate::index;
use crate::layout::{
    DUP_FILE_NAME_INDEX_PRESENT, INDEX_ROOT_HEADER, INFORMATION_BYTES, STRIDE_BYTES, collation, entry_at,
    file_attribute, information_at, kind, name, name_at, system,
};
use crate::record::Reference;
use crate::volume::Volume;
use coldforge_base::time::FileTime;
use coldforge_base::{ReadAt, WriteAt, read};

impl<D: WriteAt> Volume<D> {
    /// Creates a file in a directory, and returns it and what was written.
    ///
    /// `name` is as Windows allows it; it gets no 8.3 twin. All times become `now`.
    ///
    /// # Errors
    /// [`Error::NameUnfit`], [`Error::NameTaken`]; [`Error::NotADirectory`], [`Error::SystemFile`],
    /// [`Error::CaseSensitive`], [`Error::ReparsePoint`] by the directory; [`Error::Descriptor`];
    /// [`Error::VolumeFull`], [`Error::RecordFull`], [`Error::IndexFull`], [`Error::MftFragmented`]; others if the
    /// volume is damaged: in all these cases nothing was written. An error of the device can leave a part written.
    pub fn create_file(
        &mut self,
        parent: &File,
        name: &str,
        content: &[u8],
        security: Security<'_>,
        now: FileTime,
    ) -> Result<(File, Changes)> {
        self.create(parent, name, Some(content), security, now)
    }

    /// Creates an empty directory in a directory, and returns it and what was written.
    ///
    /// # Errors
    /// As [`Volume::create_file`].
    pub fn create_dir(
        &mut self,
        parent: &File,
        name: &str,
        security: Security<'_>,
        now: FileTime,
    ) -> Result<(File, Changes)> {
        self.create(parent, name, None, security, now)
    }

    fn create(
        &mut self,
        parent: &File,
        name: &str,
        content: Option<&[u8]>,
        security: Security<'_>,
        now: FileTime,
    ) -> Result<(File, Changes)> {
        let name = Name::parse(name)?;
        let parent = self.check_directory(parent)?;
        let segments = self.referenced(parent)?;
        match index::Index::open(self, &segments)?.find(self, &name.units) {
            Ok(None) => {}
            Ok(Some(_)) | Err(Error::AmbiguousName { .. }) => {
                return Err(Error::NameTaken { directory: parent.record() });
            }
            Err(error) => return Err(error),
        }
        let (reference, changes) = self.edit(now, |edit| edit.create(parent, &name, content, security))?;
        Ok((self.file(reference)?, changes))
    }

    /// Checks that names may come and go in a directory, and returns what leads to it.
    pub(super) fn check_directory(&self, directory: &File) -> Result<Reference> {
        let directory = self.file(directory.reference())?;
        let reference = directory.reference();
        let record = reference.record();
        if !directory.is_directory() {
            return Err(Error::NotADirectory { record });
        }
        if directory.is_internal || record < system::FIRST_USER && record != system::ROOT {
            return Err(Error::SystemFile { record });
        }
        if let Some(tag) = directory.reparse_tag() {
            return Err(Error::ReparsePoint { record, tag });
        }
        let base = self.record(record)?;
        let versions = information(&base)?.saturating_add(information_at::VERSIONS);
        let place = crate::error::Place::Record { record, byte: versions };
        if read::u64_le(base.bytes(), versions).map_err(place.cut())? != 0 {
            return Err(Error::CaseSensitive { record });
        }
        Ok(reference)
    }
}

impl<'c, D: ReadAt> Edit<'_, 'c, D> {
    fn create(
        &mut self,
        parent: Reference,
        name: &Name,
        content: Option<&'c [u8]>,
        security: Security<'_>,
    ) -> Result<Reference> {
        let security_id = self.security_id(security)?;
        let is_directory = content.is_none();
        let mut editor = self.new_record()?;
        editor.set_used(is_directory)?;
        editor.set_links(1)?;
        let reference = editor.reference()?;
        let value = self.first_name(parent, name, is_directory);
        let body = match content {
            Some(_) => resident(kind::DATA, &[], &[], false),
            None => resident(kind::INDEX_ROOT, name::I30, &self.empty_root(editor.number())?, false),
        };
        let information = self.information(if is_directory { 0 } else { file_attribute::ARCHIVE }, security_id);
        for attribute in [
            resident(kind::STANDARD_INFORMATION, &[], &information, false),
            resident(kind::FILE_NAME, &[], &value, true),
            body,
        ] {
            editor.insert(&self.view.upcase, attribute)?;
        }
        self.put_record(Rank::NewRecords, editor)?;
        if let Some(content) = content {
            self.replace(reference, Rank::NewRecords, (kind::DATA, &[]), Content::Bulk(content))?;
        }
        let mut key = value;
        self.duplicated(reference, true)?.put(&mut key);
        let mut index = Index::open(self, parent, name::I30)?;
        index.insert(self, entry(reference, &key))?;
        index.put(self)?;
        self.stamp(parent, self.upper())?;
        self.renew_names(parent, false)?;
        Ok(reference)
    }

    /// Returns the FILE_NAME of a new file.
    fn first_name(&self, parent: Reference, name: &Name, is_directory: bool) -> Vec<u8> {
        let mut value = name.to_value(parent);
        for index in 0..4usize {
            let at = name_at::TIMES.saturating_add(index.saturating_mul(8));
            read::put_u64_le(&mut value, at, self.now.0).expect("the times lie in the structure");
        }
        let attributes = if is_directory { DUP_FILE_NAME_INDEX_PRESENT } else { file_attribute::ARCHIVE };
        read::put_u32_le(&mut value, name_at::FILE_ATTRIBUTES, attributes).expect("the flags lie in the structure");
        value
    }

    /// Returns the STANDARD_INFORMATION of a new file.
    fn information(&self, attributes: u32, security_id: u32) -> Vec<u8> {
        let mut value = vec![0; INFORMATION_BYTES];
        let times =
            [information_at::CREATED, information_at::MODIFIED, information_at::CHANGED, information_at::ACCESSED];
        for at in times {
            read::put_u64_le(&mut value, at, self.now.0).expect("the times lie in the structure");
        }
        for (at, field) in [(information_at::FILE_ATTRIBUTES, attributes), (information_at::SECURITY_ID, security_id)] {
            read::put_u32_le(&mut value, at, field).expect("the fields lie in the structure");
        }
        value
    }

    /// Returns the INDEX_ROOT of an empty directory.
    fn empty_root(&self, record: u64) -> Result<Vec<u8>> {
        let geometry = &self.view.geometry;
        let block = geometry.index_block_bytes as u64;
        let unit = if geometry.cluster_bytes <= block { geometry.cluster_bytes } else { STRIDE_BYTES as u64 };
        let units = block.checked_div(unit).and_then(|units| u8::try_from(units).ok());
        // A boot sector that was read gives blocks of at most 64 KiB, and of at most 128 units.
        let (Some(units), Ok(block)) = (units, u32::try_from(block)) else { return Err(Error::IndexFull { record }) };
        let mut head = Vec::with_capacity(INDEX_ROOT_HEADER);
        head.extend(kind::FILE_NAME.to_le_bytes());
        head.extend(collation::FILE_NAME.to_le_bytes());
        head.extend(block.to_le_bytes());
        head.extend([units, 0, 0, 0]);
        Node::root(&head).to_root(record)
    }
}

/// Returns the entry of a name in its directory.
fn entry(file: Reference, key: &[u8]) -> Item {
    let length = entry_at::KEY.saturating_add(key.len()).next_multiple_of(8);
    let mut bytes = vec![0; length];
    let small = |number: usize| u16::try_from(number).expect("a name has at most 255 units");
    let fields: [(usize, &[u8]); 4] = [
        (0, &file.0.to_le_bytes()),
        (entry_at::LENGTH, &small(length).to_le_bytes()),
        (entry_at::KEY_LENGTH, &small(key.len()).to_le_bytes()),
        (entry_at::KEY, key),
    ];
    for (at, field) in fields {
        read::put(&mut bytes, at, field).expect("the entry was made long enough");
    }
    Item { bytes, child: None }
}
