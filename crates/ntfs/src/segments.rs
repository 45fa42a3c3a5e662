//! All records of a file: its base record and those that its attribute list names.

use super::attribute::Attribute;
use super::attribute_list::{self, Entry};
use super::layout::kind;
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::record::Record;
use crate::volume::Volume;
use coldforge_base::ReadAt;

/// A base record and its attribute list.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    /// The base record.
    pub base: Record,
    /// The list, if the file has one.
    pub list: Option<Vec<Entry>>,
}

impl<D: ReadAt> Volume<D> {
    /// Reads the attribute list of a base record.
    ///
    /// # Errors
    /// Errors in the list or its runs.
    pub(super) fn segments(&self, base: Record) -> Result<Segments> {
        let file = base.number();
        let list = match base.find(|attribute| attribute.is(kind::ATTRIBUTE_LIST, &[]))? {
            None => None,
            Some(attribute) => {
                let stream = Stream::first(file, &attribute, &self.geometry)?.complete(&self.geometry)?;
                let bytes = stream.read_all(&self.device, &self.geometry, attribute_list::MOST_BYTES)?;
                Some(attribute_list::parse(&bytes, file)?)
            }
        };
        Ok(Segments { base, list })
    }

    /// Joins the extents of a stream that the file must have.
    ///
    /// # Errors
    /// [`Error::MissingAttribute`]; those of [`Volume::stream`].
    pub(super) fn required_stream(&self, segments: &Segments, kind: u32, name: &[u8]) -> Result<Stream> {
        let missing = Error::MissingAttribute { record: segments.base.number(), kind };
        self.stream(segments, kind, name)?.ok_or(missing)
    }

    /// Joins the extents of the stream with this type and name; `None` if the file has none.
    ///
    /// # Errors
    /// Errors in the list, in a record it names, in the runs or the sizes.
    pub(super) fn stream(&self, segments: &Segments, kind: u32, name: &[u8]) -> Result<Option<Stream>> {
        let file = segments.base.number();
        let mut stream: Option<Stream> = None;
        if segments.list.is_none()
            && let Some(attribute) = segments.base.find(|attribute| attribute.is(kind, name))?
        {
            stream = Some(Stream::first(file, &attribute, &self.geometry)?);
        }
        let mut last = None;
        // A list has at most 10,082 entries, and each extent must begin where the one before ends.
        for entry in segments.entries(kind, name) {
            let record = self.segment(segments, entry, last.take())?;
            let attribute = extent(&record, entry, file)?;
            match &mut stream {
                None => stream = Some(Stream::first(file, &attribute, &self.geometry)?),
                Some(stream) => stream.append(&attribute, &self.geometry)?,
            }
            last = Some(record);
        }
        stream.map(|stream| stream.complete(&self.geometry)).transpose()
    }

    /// Joins the extents of `$MFT` itself, whose first extent `self.mft` is.
    ///
    /// Each extent's record is in the extents before it: that is the only way to find it.
    ///
    /// # Errors
    /// As [`Volume::stream`].
    pub(super) fn join_mft(&mut self, segments: &Segments) -> Result<()> {
        for entry in segments.entries(kind::DATA, &[]).filter(|entry| entry.lowest.0 != 0) {
            let record = self.segment(segments, entry, None)?;
            let attribute = extent(&record, entry, segments.base.number())?;
            self.mft.append(&attribute, &self.geometry)?;
        }
        self.mft = self.mft.clone().complete(&self.geometry)?;
        Ok(())
    }

    /// Returns the record that an entry names, checked to belong to the file; `last` is the one read before.
    pub(super) fn segment(&self, segments: &Segments, entry: &Entry, last: Option<Record>) -> Result<Record> {
        let number = entry.reference.record();
        if number == segments.base.number() {
            check_sequence(&segments.base, entry)?;
            return Ok(segments.base.clone());
        }
        if let Some(last) = last.filter(|last| last.number() == number) {
            check_sequence(&last, entry)?;
            return Ok(last);
        }
        let record = self.record(number)?;
        check_sequence(&record, entry)?;
        let base = segments.base.reference();
        match record.base() {
            Some(actual) if actual == base => Ok(record),
            Some(actual) => Err(Error::StaleReference {
                record: actual.record(),
                expected: actual.sequence(),
                actual: base.sequence(),
            }),
            None => Err(Error::MissingAttribute { record: segments.base.number(), kind: entry.kind }),
        }
    }
}

impl Segments {
    /// Returns the names, in UTF-16LE, of the file's attributes of a type, each once and in their order.
    pub(super) fn names_of(&self, kind: u32) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        match &self.list {
            Some(list) => names.extend(list.iter().filter(|entry| entry.kind == kind).map(|entry| entry.name.clone())),
            None => {
                for attribute in self.base.attributes() {
                    let attribute = attribute?;
                    if attribute.kind == kind {
                        names.push(attribute.name.to_vec());
                    }
                }
            }
        }
        names.dedup();
        Ok(names)
    }

    pub fn entries<'a>(&'a self, kind: u32, name: &'a [u8]) -> impl Iterator<Item = &'a Entry> {
        self.list.iter().flatten().filter(move |entry| entry.kind == kind && entry.name == name)
    }
}

/// Returns the attribute that an entry names.
pub(super) fn extent<'a>(record: &'a Record, entry: &Entry, file: u64) -> Result<Attribute<'a>> {
    let wanted = |attribute: &Attribute<'_>| {
        attribute.is(entry.kind, &entry.name) && attribute.id == entry.id && attribute.lowest() == entry.lowest
    };
    record.find(wanted)?.ok_or(Error::MissingAttribute { record: file, kind: entry.kind })
}

fn check_sequence(record: &Record, entry: &Entry) -> Result<()> {
    let (expected, actual) = (entry.reference.sequence(), record.sequence());
    if expected == actual {
        return Ok(());
    }
    Err(Error::StaleReference { record: record.number(), expected, actual })
}
