//! Editing a file record: inserting, replacing and removing attributes.
//!
//! Attributes ascend by type, then by folded name, then by lowest VCN. The used size includes eight bytes for the end
//! mark. An attribute's id is unique in its record and is never used again there.

use std::cmp::Ordering;

use super::attribute::NO_ID;
use crate::attribute::Attribute;
use crate::error::{Error, Place, Result};
use crate::layout::{FileRecordHeader, STRIDE_BYTES, attribute_at, kind, record_at, record_flag};
use crate::record::{Record, Reference};
use crate::upcase::Upcase;
use coldforge_base::{read, utf16};

/// The end mark and what fills its eight bytes.
const END_BYTES: usize = 8;

/// A file record whose fixups are undone.
#[derive(Clone, Debug)]
pub(super) struct Editor {
    number: u64,
    bytes: Vec<u8>,
    /// Where the end mark is.
    end: usize,
}

impl Editor {
    /// Takes a record that was read.
    ///
    /// # Errors
    /// Errors in its attributes.
    pub fn new(record: Record) -> Result<Self> {
        let number = record.number();
        let mut end = None;
        for attribute in record.attributes() {
            end = Some(end_of(&attribute?, record.bytes())?);
        }
        let place = Place::Record { record: number, byte: record_at::ATTRIBUTES };
        let first = read::u16_le(record.bytes(), record_at::ATTRIBUTES).map_err(place.cut())?;
        Ok(Self { number, end: end.unwrap_or(usize::from(first)), bytes: record.into_bytes() })
    }

    /// Makes an empty record of `length` bytes that is not in use.
    ///
    /// # Errors
    /// [`Error::Cut`] and [`Error::Field`] if no record can be as long as that.
    pub fn blank(number: u64, length: usize, sequence: u16, update_sequence: u16) -> Result<Self> {
        let count = length.checked_div(STRIDE_BYTES).unwrap_or(0).saturating_add(1);
        let array = size_of::<FileRecordHeader>();
        let first = array.saturating_add(count.saturating_mul(2)).next_multiple_of(8);
        let mut editor = Self { number, bytes: vec![0; length], end: first };
        let small = |number: usize| {
            let place = Place::Record { record: editor.number, byte: record_at::ALLOCATED };
            let actual = number as u64;
            u16::try_from(number).map_err(|_| Error::Field { place, field: "the length of the record", actual })
        };
        let (array_at, count, first, length) = (small(array)?, small(count)?, small(first)?, small(length)?);
        // The header holds the lower 32 bits of the number.
        let [a, b, c, d, ..] = number.to_le_bytes();
        editor.put(0, &Record::SIGNATURE)?;
        editor.put_u16(record_at::USA_OFFSET, array_at)?;
        editor.put_u16(record_at::USA_COUNT, count)?;
        editor.put_u16(record_at::SEQUENCE, sequence)?;
        editor.put_u16(record_at::ATTRIBUTES, first)?;
        editor.put_u16(record_at::ALLOCATED, length)?;
        editor.put(record_at::NUMBER, &[a, b, c, d])?;
        editor.put_u16(array, update_sequence)?;
        editor.seal()?;
        Ok(editor)
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns how many bytes of attributes can be added.
    pub fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.end.saturating_add(END_BYTES))
    }

    /// Returns whether the record has no attribute left.
    ///
    /// # Errors
    /// [`Error::Cut`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(usize::from(self.u16(record_at::ATTRIBUTES)?) == self.end)
    }

    /// Puts an attribute into its place, and returns its number.
    ///
    /// # Errors
    /// [`Error::RecordFull`]; errors in the attributes that are there.
    pub fn insert(&mut self, upcase: &Upcase, mut attribute: Vec<u8>) -> Result<u16> {
        let id = self.u16(record_at::NEXT_ID)?;
        // The number 0xFFFF would leave no next one.
        if id == NO_ID {
            return Err(Error::RecordFull { record: self.number, needed: attribute.len(), room: 0 });
        }
        let at = self.place_of(upcase, &attribute)?;
        read::put_u16_le(&mut attribute, attribute_at::ID, id).map_err(self.place(at).cut())?;
        self.splice(at, 0, &attribute)?;
        self.put_u16(record_at::NEXT_ID, id.saturating_add(1))?;
        Ok(id)
    }

    /// Exchanges the attribute at `offset`, which keeps its number and its flags.
    ///
    /// # Errors
    /// [`Error::RecordFull`].
    pub fn exchange(&mut self, offset: usize, mut attribute: Vec<u8>) -> Result<()> {
        let place = self.place(offset);
        let length = self.length_at(offset)?;
        for at in [attribute_at::FLAGS, attribute_at::ID] {
            let field = read::u16_le(&self.bytes, offset.saturating_add(at)).map_err(place.cut())?;
            read::put_u16_le(&mut attribute, at, field).map_err(place.cut())?;
        }
        self.splice(offset, length, &attribute)
    }

    /// Takes the attribute at `offset` out.
    ///
    /// # Errors
    /// Errors in its length.
    pub fn remove(&mut self, offset: usize) -> Result<()> {
        let length = self.length_at(offset)?;
        self.splice(offset, length, &[])
    }

    /// Overwrites bytes of an attribute.
    ///
    /// # Errors
    /// [`Error::Cut`].
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let place = self.place(at);
        read::put(&mut self.bytes, at, bytes).map_err(place.cut())
    }

    /// Writes the number of names.
    ///
    /// # Errors
    /// [`Error::Cut`].
    pub fn set_links(&mut self, links: u16) -> Result<()> {
        self.put_u16(record_at::LINK_COUNT, links)
    }

    /// Marks the record as used by a file, or by a directory.
    ///
    /// # Errors
    /// [`Error::Cut`].
    pub fn set_used(&mut self, is_directory: bool) -> Result<()> {
        let directory = if is_directory { record_flag::DIRECTORY } else { 0 };
        self.put_u16(record_at::FLAGS, record_flag::IN_USE | directory)
    }

    /// Marks the record as free, with a new sequence number so that old references no longer match.
    ///
    /// # Errors
    /// [`Error::Cut`].
    pub fn set_free(&mut self) -> Result<()> {
        let flags = self.u16(record_at::FLAGS)? & !record_flag::IN_USE;
        self.put_u16(record_at::FLAGS, flags)?;
        let next = match self.u16(record_at::SEQUENCE)?.wrapping_add(1) {
            // 0 means a reference without a sequence number.
            0 => 1,
            next => next,
        };
        self.put_u16(record_at::SEQUENCE, next)
    }

    /// Returns the reference that leads to the record.
    ///
    /// # Errors
    /// [`Error::Cut`].
    pub fn reference(&self) -> Result<Reference> {
        Ok(Reference::new(self.number, self.u16(record_at::SEQUENCE)?))
    }

    /// Replaces `length` bytes at `at`, moves what follows, and writes the end mark.
    fn splice(&mut self, at: usize, length: usize, bytes: &[u8]) -> Result<()> {
        let room = self.room().saturating_add(length);
        if bytes.len() > room {
            return Err(Error::RecordFull { record: self.number, needed: bytes.len(), room });
        }
        let behind = at.saturating_add(length);
        let tail = self.bytes.get(behind..self.end).unwrap_or_default().to_vec();
        let old_end = self.end;
        let place = self.place(at);
        read::put(&mut self.bytes, at, bytes).map_err(place.cut())?;
        let moved = at.saturating_add(bytes.len());
        read::put(&mut self.bytes, moved, &tail).map_err(place.cut())?;
        self.end = moved.saturating_add(tail.len());
        let stale = old_end.saturating_add(END_BYTES).min(self.bytes.len());
        if let Some(stale) = self.bytes.get_mut(self.end..stale) {
            stale.fill(0);
        }
        self.seal()
    }

    /// Writes the end mark and the used size.
    fn seal(&mut self) -> Result<()> {
        let full = Error::RecordFull { record: self.number, needed: END_BYTES, room: 0 };
        let used = u32::try_from(self.end.saturating_add(END_BYTES)).map_err(|_| full)?;
        self.put(self.end, &u64::from(kind::END).to_le_bytes())?;
        self.put(record_at::USED, &used.to_le_bytes())
    }

    /// Returns where an attribute belongs: after all that are not greater.
    fn place_of(&self, upcase: &Upcase, attribute: &[u8]) -> Result<usize> {
        let place = self.place(0);
        let kind = read::u32_le(attribute, 0).map_err(place.cut())?;
        let name_offset = usize::from(read::u16_le(attribute, 10).map_err(place.cut())?);
        let units = usize::from(read::u8(attribute, 9).map_err(place.cut())?);
        let name = utf16::units(read::slice(attribute, name_offset, units.saturating_mul(2)).map_err(place.cut())?);
        let is_resident = read::u8(attribute, 8).map_err(place.cut())? == 0;
        let lowest =
            if is_resident { 0 } else { read::u64_le(attribute, attribute_at::LOWEST_VCN).map_err(place.cut())? };
        let record = self.view()?;
        for other in record.attributes() {
            let other = other?;
            let order = other.kind.cmp(&kind);
            let order = order.then_with(|| upcase.compare(&utf16::units(other.name), &name));
            if order.then_with(|| other.lowest().0.cmp(&lowest)) == Ordering::Greater {
                return Ok(other.offset);
            }
        }
        Ok(self.end)
    }

    /// Returns the attributes as they are now.
    pub fn view(&self) -> Result<Record> {
        Record::undone(self.number, self.bytes.clone())
    }

    fn length_at(&self, offset: usize) -> Result<usize> {
        let place = self.place(offset);
        let length = read::u32_le(&self.bytes, offset.saturating_add(attribute_at::LENGTH)).map_err(place.cut())?;
        let length = length as usize;
        if offset.saturating_add(length) > self.end {
            return Err(Error::Field { place, field: "the length of an attribute", actual: length as u64 });
        }
        Ok(length)
    }

    fn place(&self, byte: usize) -> Place {
        Place::Record { record: self.number, byte }
    }

    fn u16(&self, at: usize) -> Result<u16> {
        read::u16_le(&self.bytes, at).map_err(self.place(at).cut())
    }

    fn put_u16(&mut self, at: usize, value: u16) -> Result<()> {
        self.put(at, &value.to_le_bytes())
    }
}

fn end_of(attribute: &Attribute<'_>, bytes: &[u8]) -> Result<usize> {
    let place = Place::Record { record: attribute.record, byte: attribute.offset };
    let length = read::u32_le(bytes, attribute.offset.saturating_add(attribute_at::LENGTH)).map_err(place.cut())?;
    Ok(attribute.offset.saturating_add(length as usize))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::attribute::resident;
    use super::*;

    fn kinds(editor: &Editor) -> Vec<(u32, u16)> {
        editor.view().unwrap().attributes().map(|a| a.unwrap()).map(|a| (a.kind, a.id)).collect()
    }

    #[test]
    fn attributes_are_kept_in_order_and_the_used_size_counts_the_end_mark() {
        let upcase = Upcase::ascii();
        let mut editor = Editor::blank(40, 1024, 3, 1).unwrap();
        assert_eq!((editor.end, editor.bytes[0x18]), (0x38, 0x40));
        for kind in [0x80, 0x10, 0x30, 0x30] {
            editor.insert(&upcase, resident(kind, &[], b"some value", false)).unwrap();
        }
        assert_eq!(kinds(&editor), [(0x10, 1), (0x30, 2), (0x30, 3), (0x80, 0)]);
        assert_eq!(read::u32_le(&editor.bytes, 0x18).unwrap() as usize, editor.end + 8);
        let offset = editor.view().unwrap().find(|a| a.id == 2).unwrap().unwrap().offset;
        editor.exchange(offset, resident(0x30, &[], &[7; 100], true)).unwrap();
        assert_eq!(kinds(&editor), [(0x10, 1), (0x30, 2), (0x30, 3), (0x80, 0)]);
        editor.remove(offset).unwrap();
        assert_eq!(kinds(&editor), [(0x10, 1), (0x30, 3), (0x80, 0)]);
        assert!(editor.bytes[editor.end + 8..].iter().all(|byte| *byte == 0), "nothing is left behind the end");
    }

    #[test]
    fn an_attribute_that_does_not_fit_changes_nothing() {
        let mut editor = Editor::blank(40, 512, 1, 1).unwrap();
        let before = editor.bytes.clone();
        let answer = editor.insert(&Upcase::ascii(), resident(0x80, &[], &[1; 500], false));
        assert!(matches!(answer, Err(Error::RecordFull { record: 40, .. })));
        assert_eq!(editor.bytes, before);
        let room = editor.room();
        editor.insert(&Upcase::ascii(), resident(0x80, &[], &vec![1; room - 24], false)).unwrap();
        assert_eq!(editor.room(), 0);
    }

    #[test]
    fn a_freed_record_has_another_sequence_number_but_never_zero() {
        for (old, new) in [(1, 2), (0xfffe, 0xffff), (0xffff, 1)] {
            let mut editor = Editor::blank(40, 1024, old, 1).unwrap();
            editor.set_used(true).unwrap();
            assert!(editor.view().unwrap().is_directory());
            editor.set_free().unwrap();
            assert_eq!(editor.reference().unwrap().sequence(), new);
            assert!(!editor.view().unwrap().is_in_use());
        }
    }
}
