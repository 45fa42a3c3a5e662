//! Encoding attributes: both forms of ATTRIBUTE_RECORD_HEADER.

use crate::layout::{NonresidentHeader, ResidentHeader, attribute_at};
use crate::runs;
use crate::runs::Run;
use coldforge_base::read;

/// The sizes in the first extent of a non-resident stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sizes {
    pub allocated: u64,
    pub size: u64,
    pub initialized: u64,
}

/// The number of an attribute in its record that is chosen when it is put there.
pub(super) const NO_ID: u16 = u16::MAX;

/// Returns a resident attribute; `is_indexed` for a FILE_NAME.
pub(super) fn resident(kind: u32, name: &[u8], value: &[u8], is_indexed: bool) -> Vec<u8> {
    let value_offset = size_of::<ResidentHeader>().saturating_add(name.len()).next_multiple_of(8);
    let mut bytes = header(kind, name, size_of::<ResidentHeader>(), value_offset, value);
    put(&mut bytes, attribute_at::VALUE_LENGTH, &u32_of(value.len()).to_le_bytes());
    put(&mut bytes, attribute_at::VALUE_OFFSET, &u16_of(value_offset).to_le_bytes());
    put(&mut bytes, attribute_at::RESIDENT_FLAGS, &[u8::from(is_indexed)]);
    bytes
}

/// Returns an extent of a plain non-resident attribute: `runs`, which follow one another; `sizes` in the first one.
pub(super) fn non_resident(kind: u32, name: &[u8], runs: &[Run], sizes: Sizes) -> Vec<u8> {
    let mapping_offset = size_of::<NonresidentHeader>().saturating_add(name.len()).next_multiple_of(8);
    let lowest = runs.first().map_or(0, |run| run.vcn.0);
    // Without clusters the highest VCN is -1.
    let highest = runs.last().map_or(u64::MAX, |run| run.end().0.wrapping_sub(1));
    let mut bytes = header(kind, name, size_of::<NonresidentHeader>(), mapping_offset, &runs::encode(runs));
    put(&mut bytes, 8, &[1]);
    put(&mut bytes, attribute_at::LOWEST_VCN, &lowest.to_le_bytes());
    put(&mut bytes, attribute_at::HIGHEST_VCN, &highest.to_le_bytes());
    put(&mut bytes, attribute_at::MAPPING_OFFSET, &u16_of(mapping_offset).to_le_bytes());
    put(&mut bytes, attribute_at::ALLOCATED, &sizes.allocated.to_le_bytes());
    put(&mut bytes, attribute_at::SIZE, &sizes.size.to_le_bytes());
    put(&mut bytes, attribute_at::INITIALIZED, &sizes.initialized.to_le_bytes());
    bytes
}

/// Lays out name and content after a header, of which the common part is filled in.
fn header(kind: u32, name: &[u8], name_offset: usize, content_offset: usize, content: &[u8]) -> Vec<u8> {
    let length = content_offset.saturating_add(content.len()).next_multiple_of(8);
    let mut bytes = vec![0; length];
    put(&mut bytes, 0, &kind.to_le_bytes());
    put(&mut bytes, attribute_at::LENGTH, &u32_of(length).to_le_bytes());
    let units = name.len().checked_div(2).and_then(|units| u8::try_from(units).ok());
    put(&mut bytes, 9, &[units.expect("an attribute's name has at most 255 units")]);
    put(&mut bytes, 10, &u16_of(name_offset).to_le_bytes());
    put(&mut bytes, attribute_at::ID, &NO_ID.to_le_bytes());
    put(&mut bytes, name_offset, name);
    put(&mut bytes, content_offset, content);
    bytes
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    read::put(bytes, at, field).expect("the attribute was made long enough for its fields");
}

/// Returns a number that the caller keeps small.
fn u16_of(number: usize) -> u16 {
    u16::try_from(number).expect("a header and a name have less than 1 KiB")
}

/// Returns the length of an attribute, which fits into a record or is refused there.
fn u32_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::attribute::{Attributes, Form};
    use coldforge_base::{Lcn, Vcn};

    const NAME: &[u8] = b"$\0I\x003\x000\0";

    fn parsed(bytes: &[u8], check: impl FnOnce(&crate::attribute::Attribute<'_>)) {
        let record = [bytes, &[0xff; 8]].concat();
        let all: Vec<_> = Attributes::new(9, &record, 0, record.len()).map(Result::unwrap).collect();
        assert_eq!(all.len(), 1);
        check(&all[0]);
    }

    #[test]
    fn a_resident_attribute_is_read_back() {
        for name in [&[][..], NAME] {
            parsed(&resident(0x80, name, b"value", false), |attribute| {
                assert!(attribute.is(0x80, name));
                assert_eq!((attribute.value().unwrap(), attribute.flags), (&b"value"[..], 0));
            });
        }
    }

    #[test]
    fn a_non_resident_attribute_is_read_back() {
        let runs = [Run { vcn: Vcn(5), lcn: Some(Lcn(900)), clusters: 3 }];
        let sizes = Sizes { allocated: 3 << 12, size: 9000, initialized: 8999 };
        parsed(&non_resident(0xa0, NAME, &runs, sizes), |attribute| match attribute.form {
            Form::NonResident { lowest, end, allocated, size, initialized, .. } => {
                assert_eq!((lowest, end), (Vcn(5), Vcn(8)));
                assert_eq!((allocated, size, initialized), (3 << 12, 9000, 8999));
            }
            Form::Resident { .. } => unreachable!(),
        });
    }
}
