//! File records and file references (FILE_RECORD_SEGMENT_HEADER, MFT_SEGMENT_REFERENCE).
//!
//! A [`Record`] holds the bytes of a record after its fixups were undone.

use std::fmt;

use super::attribute::{Attribute, Attributes};
use super::fixup;
use super::layout::{FileRecordHeader, record_flag, view};
use crate::error::{Error, Place, Result};

/// A reference to a file: the number of its base record, and the sequence number that the record must have.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Reference(pub u64);

impl Reference {
    /// Builds a reference from its parts; only the low 48 bits of `record` count.
    pub fn new(record: u64, sequence: u16) -> Self {
        Self(record & RECORD_MASK | u64::from(sequence) << 48)
    }

    /// Returns the number of the record in `$MFT`.
    pub fn record(self) -> u64 {
        self.0 & RECORD_MASK
    }

    /// Returns the sequence number.
    pub fn sequence(self) -> u16 {
        u16::try_from(self.0 >> 48).unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{}", self.record(), self.sequence())
    }
}

/// Where the first attribute can begin at the earliest: records of version 3.0 lack the header's last eight bytes.
const FIRST_ATTRIBUTE: usize = 0x28;

const RECORD_MASK: u64 = 0xffff_ffff_ffff;

/// A file record whose fixups are undone and whose header was checked.
#[derive(Clone, Debug)]
pub(super) struct Record {
    number: u64,
    header: FileRecordHeader,
    bytes: Vec<u8>,
}

impl Record {
    /// The signature of a file record.
    pub const SIGNATURE: [u8; 4] = *b"FILE";

    /// Takes the bytes of a record as they were read.
    ///
    /// # Errors
    /// What [`fixup::undo`] answers; [`Error::Field`] if the header contradicts itself.
    pub fn parse(number: u64, mut bytes: Vec<u8>) -> Result<Self> {
        fixup::undo(&mut bytes, Self::SIGNATURE, Place::Record { record: number, byte: 0 })?;
        Self::undone(number, bytes)
    }

    /// Takes the bytes of a record whose fixups are undone.
    ///
    /// # Errors
    /// [`Error::Field`] if the header contradicts itself.
    pub fn undone(number: u64, bytes: Vec<u8>) -> Result<Self> {
        let place = Place::Record { record: number, byte: 0 };
        let header = *view::<FileRecordHeader>(&bytes, 0).map_err(place.cut())?;
        let field = |byte: usize, field, actual| Err(Error::Field { place: place.plus(byte), field, actual });
        let used = header.bytes_used.get();
        if used as usize > bytes.len() {
            return field(0x18, "the used size", u64::from(used));
        }
        let first = header.attributes_offset.get();
        if !first.is_multiple_of(8) || usize::from(first) < FIRST_ATTRIBUTE || u32::from(first) >= used {
            return field(0x14, "the offset of the first attribute", u64::from(first));
        }
        // Records of version 3.0 have no number: there the update sequence array begins in its place.
        let has_number = usize::from(header.multi_sector.usa_offset.get()) >= size_of::<FileRecordHeader>();
        if has_number && u64::from(header.number.get()) != number & 0xffff_ffff {
            return field(0x2c, "the number of the record", u64::from(header.number.get()));
        }
        Ok(Self { number, header, bytes })
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the reference that leads here.
    pub fn reference(&self) -> Reference {
        Reference::new(self.number, self.sequence())
    }

    pub fn sequence(&self) -> u16 {
        self.header.sequence.get()
    }

    pub fn link_count(&self) -> u16 {
        self.header.link_count.get()
    }

    pub fn is_in_use(&self) -> bool {
        self.header.flags.get() & record_flag::IN_USE != 0
    }

    pub fn is_directory(&self) -> bool {
        self.header.flags.get() & record_flag::DIRECTORY != 0
    }

    /// Returns whether the file belongs to NTFS: one of `$Extend`, or one with an index that is not of names.
    pub fn is_internal(&self) -> bool {
        self.header.flags.get() & (record_flag::EXTEND | record_flag::VIEW_INDEX) != 0
    }

    /// Returns the base record whose attributes this record continues, or `None` if it is a base record.
    pub fn base(&self) -> Option<Reference> {
        Some(Reference(self.header.base.get())).filter(|reference| reference.0 != 0)
    }

    /// Returns the record's attributes in their order.
    pub fn attributes(&self) -> Attributes<'_> {
        let used = usize::try_from(self.header.bytes_used.get()).unwrap_or(usize::MAX);
        Attributes::new(self.number, &self.bytes, usize::from(self.header.attributes_offset.get()), used)
    }

    /// Returns the first attribute that `wanted` accepts.
    pub fn find(&self, mut wanted: impl FnMut(&Attribute<'_>) -> bool) -> Result<Option<Attribute<'_>>> {
        for attribute in self.attributes() {
            let attribute = attribute?;
            if wanted(&attribute) {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }

    /// Returns the unnamed attribute of a type that the record must have.
    ///
    /// # Errors
    /// [`Error::MissingAttribute`]; errors in the attributes before it.
    pub fn required(&self, kind: u32) -> Result<Attribute<'_>> {
        let missing = Error::MissingAttribute { record: self.number, kind };
        self.find(|attribute| attribute.is(kind, &[]))?.ok_or(missing)
    }

    /// Returns the bytes, with the fixups undone.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes for a change, which [`fixup::protect`] must follow.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
pub(super) mod tests {
    use super::*;

    /// Builds a protected record with the given attributes.
    pub(crate) fn built(number: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut buf = vec![0u8; 1024];
        buf[..8].copy_from_slice(b"FILE\x30\0\x03\0");
        buf[0x10] = 1;
        buf[0x14] = 0x38;
        buf[0x16] = 1;
        buf[0x1c..0x20].copy_from_slice(&1024u32.to_le_bytes());
        buf[0x2c..0x30].copy_from_slice(&number.to_le_bytes());
        let mut at = 0x38;
        for attribute in attributes {
            buf[at..at + attribute.len()].copy_from_slice(attribute);
            at += attribute.len();
        }
        buf[at..at + 4].copy_from_slice(&[0xff; 4]);
        buf[0x18..0x1c].copy_from_slice(&(at as u32 + 8).to_le_bytes());
        fixup::protect(&mut buf, Place::Record { record: u64::from(number), byte: 0 }).unwrap();
        buf
    }

    /// Builds a resident attribute without a name.
    pub(crate) fn resident(kind: u32, id: u8, value: &[u8]) -> Vec<u8> {
        let mut buf = vec![0u8; (0x18 + value.len()).next_multiple_of(8)];
        let length = buf.len() as u32;
        buf[..4].copy_from_slice(&kind.to_le_bytes());
        buf[4..8].copy_from_slice(&length.to_le_bytes());
        buf[0xe] = id;
        buf[0x10..0x14].copy_from_slice(&(value.len() as u32).to_le_bytes());
        buf[0x14] = 0x18;
        buf[0x18..0x18 + value.len()].copy_from_slice(value);
        buf
    }

    #[test]
    fn references_split_into_number_and_sequence() {
        let reference = Reference::new(0x1_0000_0005, 3);
        assert_eq!((reference.record(), reference.sequence()), (0x1_0000_0005, 3));
        assert_eq!(reference.to_string(), "0x100000005-3");
    }

    #[test]
    fn a_record_tells_its_attributes_and_nothing_behind_the_end_mark() {
        let raw = built(40, &[resident(0x10, 0, &[1; 48]), resident(0x80, 1, b"content")]);
        let record = Record::parse(40, raw).unwrap();
        let kinds: Vec<_> = record.attributes().map(|a| a.unwrap().kind).collect();
        assert_eq!(kinds, [0x10, 0x80]);
        assert!(record.is_in_use() && !record.is_directory() && record.base().is_none());
    }

    #[test]
    fn a_record_in_the_wrong_place_is_refused() {
        assert!(matches!(
            Record::parse(41, built(40, &[])),
            Err(Error::Field { place: Place::Record { record: 41, byte: 0x2c }, .. })
        ));
    }

    #[test]
    fn attributes_that_end_without_their_mark_are_an_error() {
        let mut raw = built(40, &[resident(0x10, 0, &[1; 48])]);
        raw[0x18] = 0x38 + 72;
        let record = Record::parse(40, raw).unwrap();
        let answers: Vec<_> = record.attributes().map(|attribute| attribute.is_ok()).collect();
        assert_eq!(answers, [true, false]);
    }

    #[test]
    fn no_flipped_bit_of_a_record_makes_the_reader_panic_or_loop() {
        let raw = built(40, &[resident(0x10, 0, &[1; 48]), resident(0x80, 1, b"content")]);
        for bit in 0..0x180 * 8 {
            let mut raw = raw.clone();
            raw[bit / 8] ^= 1 << (bit % 8);
            if let Ok(record) = Record::parse(40, raw) {
                assert!(record.attributes().count() < 64, "bit {bit}");
            }
        }
    }
}
