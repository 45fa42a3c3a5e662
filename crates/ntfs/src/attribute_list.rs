//! Reading an attribute list (ATTRIBUTE_LIST_ENTRY): which records hold the attributes of a file that needs several.
//!
//! Entries ascend by type, name and lowest VCN. A list names every attribute of the file except itself, including those
//! of the base record.

use super::layout::{self, view};
use crate::error::{Error, Place, Result};
use crate::record::Reference;
use coldforge_base::{Vcn, read};

/// The largest list that is read: NTFS itself stops at 256 KiB.
pub(super) const MOST_BYTES: u64 = 0x4_0000;

/// An entry of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// The type code.
    pub kind: u32,
    /// The name in UTF-16LE.
    pub name: Vec<u8>,
    /// First VCN of the extent.
    pub lowest: Vcn,
    /// The record that holds the attribute.
    pub reference: Reference,
    /// The attribute's number in its record.
    pub id: u16,
}

/// Reads the list of the file with base record `record`.
///
/// # Errors
/// [`Error::Cut`] or [`Error::Field`] if an entry does not fit or has an impossible length.
pub(super) fn parse(bytes: &[u8], record: u64) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut at = 0usize;
    // Each turn moves on by at least the size of an entry: a list of 256 KiB has at most 10,082 entries.
    while at < bytes.len() {
        let place = Place::AttributeList { record, byte: at };
        let entry: &layout::AttributeListEntry = view(bytes, at).map_err(place.cut())?;
        let length = usize::from(entry.length.get());
        if length < size_of::<layout::AttributeListEntry>() || length % 8 != 0 {
            return Err(Error::Field { place: place.plus(4), field: "the length of an entry", actual: length as u64 });
        }
        let whole = read::slice(bytes, at, length).map_err(place.cut())?;
        let name_bytes = usize::from(entry.name_units).saturating_mul(2);
        entries.push(Entry {
            kind: entry.kind.get(),
            name: match name_bytes {
                0 => Vec::new(),
                _ => read::slice(whole, usize::from(entry.name_offset), name_bytes).map_err(place.cut())?.to_vec(),
            },
            lowest: Vcn(entry.lowest_vcn.get()),
            reference: Reference(entry.reference.get()),
            id: entry.id.get(),
        });
        at = at.saturating_add(length);
    }
    Ok(entries)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn entry(kind: u32, lowest: u64, record: u64, id: u16) -> Vec<u8> {
        let mut bytes = vec![0u8; 32];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4] = 32;
        bytes[7] = 0x1a;
        bytes[8..16].copy_from_slice(&lowest.to_le_bytes());
        bytes[16..24].copy_from_slice(&Reference::new(record, 1).0.to_le_bytes());
        bytes[24..26].copy_from_slice(&id.to_le_bytes());
        bytes
    }

    #[test]
    fn entries_are_read_in_their_order() {
        let list = parse(&[entry(0x80, 0, 40, 2), entry(0x80, 9, 41, 0)].concat(), 40).unwrap();
        let seen: Vec<_> = list.iter().map(|e| (e.kind, e.lowest.0, e.reference.record(), e.id)).collect();
        assert_eq!(seen, [(0x80, 0, 40, 2), (0x80, 9, 41, 0)]);
    }

    #[test]
    fn an_entry_of_length_zero_does_not_loop() {
        for length in [0, 8, 0x21, 0xf8] {
            let mut bytes = entry(0x80, 0, 40, 2);
            bytes[4] = length;
            assert!(parse(&bytes, 40).is_err(), "{length:#x}");
        }
        assert!(parse(&entry(0x80, 0, 40, 2)[..20], 40).is_err());
    }
}
