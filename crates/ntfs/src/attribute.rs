//! Reading the attributes of one file record (ATTRIBUTE_RECORD_HEADER).
//!
//! Attributes ascend by type, are aligned to 8 bytes, and end with type 0xFFFFFFFF.

use super::layout::{AttributeHeader, NonresidentHeader, ResidentHeader, kind, view};
use crate::error::{Error, Place, Result};
use coldforge_base::{Vcn, read};

/// An attribute of a record, parsed.
#[derive(Clone, Debug)]
pub(super) struct Attribute<'a> {
    /// Number of the record that holds it.
    pub record: u64,
    /// Its first byte in the record.
    pub offset: usize,
    /// The type code.
    pub kind: u32,
    /// The name in UTF-16LE; empty for the unnamed attribute.
    pub name: &'a [u8],
    /// Compression, encryption, sparseness.
    pub flags: u16,
    /// The number that is unique in its record.
    pub id: u16,
    /// Where its content is.
    pub form: Form<'a>,
}

/// Where the content of an attribute is.
#[derive(Clone, Debug)]
pub(super) enum Form<'a> {
    /// In the record itself.
    Resident {
        /// The content.
        value: &'a [u8],
        /// First byte of the content in the record.
        offset: usize,
    },
    /// In clusters.
    NonResident {
        /// First VCN of this extent.
        lowest: Vcn,
        /// First VCN after this extent.
        end: Vcn,
        /// Allocated size; only the first extent's counts.
        allocated: u64,
        /// Data size; only the first extent's counts.
        size: u64,
        /// Initialized size; only the first extent's counts.
        initialized: u64,
        /// Clusters of a compression unit, as a power of two; only the first extent's counts.
        unit: u8,
        /// The mapping pairs.
        pairs: &'a [u8],
        /// First byte of the mapping pairs in the record.
        pairs_offset: usize,
    },
}

impl Attribute<'_> {
    /// Returns whether the attribute has this type and this name.
    pub fn is(&self, kind: u32, name: &[u8]) -> bool {
        self.kind == kind && self.name == name
    }

    /// Returns the first VCN of this extent; 0 for a resident attribute.
    pub fn lowest(&self) -> Vcn {
        match self.form {
            Form::Resident { .. } => Vcn(0),
            Form::NonResident { lowest, .. } => lowest,
        }
    }

    /// Returns the content of a resident attribute.
    pub fn value(&self) -> Result<&[u8]> {
        match self.form {
            Form::Resident { value, .. } => Ok(value),
            Form::NonResident { .. } => Err(Error::Field {
                place: Place::Record { record: self.record, byte: self.offset.saturating_add(8) },
                field: "the non-resident mark",
                actual: 1,
            }),
        }
    }
}

/// Walks the attributes of a record; ends after the first error.
#[derive(Clone, Debug)]
pub(super) struct Attributes<'a> {
    record: u64,
    bytes: &'a [u8],
    next: Option<usize>,
}

impl<'a> Attributes<'a> {
    /// Walks from `first` up to the end mark, which is before `used`; a missing end mark is an error.
    pub fn new(record: u64, bytes: &'a [u8], first: usize, used: usize) -> Self {
        Self { record, bytes: bytes.get(..used).unwrap_or(bytes), next: Some(first) }
    }

    fn parse(&self, offset: usize) -> Result<Option<(Attribute<'a>, usize)>> {
        let place = Place::Record { record: self.record, byte: offset };
        let code = read::u32_le(self.bytes, offset).map_err(place.cut())?;
        if code == kind::END {
            return Ok(None);
        }
        let header: &AttributeHeader = view(self.bytes, offset).map_err(place.cut())?;
        let length = header.length.get() as usize;
        // At least a resident header: so each step moves on, and a record holds less than 256 attributes.
        if length < size_of::<ResidentHeader>() || !length.is_multiple_of(8) {
            return Err(Error::Field {
                place: place.plus(4),
                field: "the length of an attribute",
                actual: header.length.get().into(),
            });
        }
        let bytes = read::slice(self.bytes, offset, length).map_err(place.cut())?;
        let name_bytes = usize::from(header.name_units).saturating_mul(2);
        let name = match name_bytes {
            0 => &[],
            _ => read::slice(bytes, usize::from(header.name_offset.get()), name_bytes).map_err(place.cut())?,
        };
        let form = match header.is_nonresident {
            0 => resident(bytes, offset, place)?,
            1 => non_resident(bytes, offset, place)?,
            actual => {
                return Err(Error::Field {
                    place: place.plus(8),
                    field: "the non-resident mark",
                    actual: actual.into(),
                });
            }
        };
        let (flags, id) = (header.flags.get(), header.id.get());
        let attribute = Attribute { record: self.record, offset, kind: code, name, flags, id, form };
        Ok(Some((attribute, offset.saturating_add(length))))
    }
}

fn resident(bytes: &[u8], offset: usize, place: Place) -> Result<Form<'_>> {
    let header: &ResidentHeader = view(bytes, 0).map_err(place.cut())?;
    let value_offset = usize::from(header.value_offset.get());
    let value = read::slice(bytes, value_offset, header.value_length.get() as usize).map_err(place.cut())?;
    if value_offset < size_of::<ResidentHeader>() {
        return Err(Error::Field {
            place: place.plus(0x14),
            field: "the offset of a value",
            actual: value_offset as u64,
        });
    }
    Ok(Form::Resident { value, offset: offset.saturating_add(value_offset) })
}

fn non_resident(bytes: &[u8], offset: usize, place: Place) -> Result<Form<'_>> {
    let header: &NonresidentHeader = view(bytes, 0).map_err(place.cut())?;
    let pairs_offset = usize::from(header.mapping_offset.get());
    let pairs = bytes.get(pairs_offset..).filter(|_| pairs_offset >= size_of::<NonresidentHeader>());
    let Some(pairs) = pairs else {
        return Err(Error::Field {
            place: place.plus(0x20),
            field: "the offset of mapping pairs",
            actual: pairs_offset as u64,
        });
    };
    // An attribute without clusters has the highest VCN -1.
    let (lowest, end) = (header.lowest_vcn.get(), header.highest_vcn.get().wrapping_add(1));
    if end < lowest {
        return Err(Error::Field {
            place: place.plus(0x18),
            field: "the highest VCN",
            actual: header.highest_vcn.get(),
        });
    }
    Ok(Form::NonResident {
        lowest: Vcn(lowest),
        end: Vcn(end),
        allocated: header.allocated.get(),
        size: header.size.get(),
        initialized: header.initialized.get(),
        unit: header.compression_unit,
        pairs,
        pairs_offset: offset.saturating_add(pairs_offset),
    })
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.next.take()?;
        match self.parse(offset) {
            Ok(None) => None,
            Ok(Some((attribute, next))) => {
                self.next = Some(next);
                Some(Ok(attribute))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
