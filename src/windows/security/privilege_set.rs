//! A set of privileges (PRIVILEGE_SET): the unnamed value of an LSA account's `Privilgs`.
//!
//! A count, a control word, and for each privilege its number (LUID) of 64 bits and its attributes. Order is that of
//! granting and means nothing. The control word, the attributes and numbers that no Windows of today knows are kept.

use super::super::UnusableValue;
use super::super::unusable_value::Structure;
use coldforge_base::read;

/// The bytes before the first privilege.
const HEAD_BYTES: usize = 8;
/// The bytes of a privilege.
const ENTRY_BYTES: usize = 12;

/// A set of privileges.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PrivilegeSet {
    control: u32,
    /// Numbers and attributes.
    entries: Vec<(u64, u32)>,
}

impl PrivilegeSet {
    /// Reads the value.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if its length is not that of as many privileges as it counts.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnusableValue> {
        let malformed = |at, field| Structure::PrivilegeSet.malformed(at, field, bytes.len());
        let count = read::u32_le(bytes, 0).map_err(|_| malformed(0, "length"))?;
        let control = read::u32_le(bytes, 4).map_err(|_| malformed(4, "length"))?;
        let rest = bytes.get(HEAD_BYTES..).unwrap_or_default();
        if Some(rest.len()) != (count as usize).checked_mul(ENTRY_BYTES) {
            return Err(malformed(0, "count"));
        }
        let entry = |entry: &[u8]| Some((read::u64_le(entry, 0).ok()?, read::u32_le(entry, 8).ok()?));
        let entries = rest.chunks_exact(ENTRY_BYTES).filter_map(entry).collect();
        Ok(Self { control, entries })
    }

    /// Returns the value.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if it holds more privileges than its field counts.
    pub fn encode(&self) -> Result<Vec<u8>, UnusableValue> {
        let too_many = |_| Structure::PrivilegeSet.malformed(0, "count", self.entries.len());
        let count = u32::try_from(self.entries.len()).map_err(too_many)?;
        let mut bytes = [count.to_le_bytes(), self.control.to_le_bytes()].concat();
        for (luid, attributes) in &self.entries {
            bytes.extend(luid.to_le_bytes());
            bytes.extend(attributes.to_le_bytes());
        }
        Ok(bytes)
    }

    /// Returns whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the numbers of the privileges, in the order of granting.
    pub fn luids(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|(luid, _)| *luid)
    }

    /// Returns whether a privilege is in the set.
    pub fn contains(&self, luid: u64) -> bool {
        self.luids().any(|known| known == luid)
    }

    /// Appends a privilege without attributes, unless it is present.
    pub fn insert(&mut self, luid: u64) {
        if !self.contains(luid) {
            self.entries.push((luid, 0));
        }
    }

    /// Takes a privilege out, however often it is there.
    pub fn remove(&mut self, luid: u64) {
        self.entries.retain(|(known, _)| *known != luid);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use coldforge_base::Failure as _;

    #[test]
    fn a_value_whose_length_does_not_fit_its_count_is_refused() {
        let mut set = PrivilegeSet::default();
        for luid in [8, 17, 1 << 40] {
            set.insert(luid);
        }
        let good = set.encode().unwrap();
        assert_eq!(good.len(), 44);
        for length in 0..good.len() {
            assert_eq!(PrivilegeSet::decode(&good[..length]).unwrap_err().code(), Some("E-LSA-ACCOUNT"), "{length}");
        }
        for (count, length) in [(4, 44), (2, 44), (u32::MAX, 44), (0x1555_5556, 16), (0, 9)] {
            let mut bytes = vec![0; length];
            bytes[..4].copy_from_slice(&count.to_le_bytes());
            assert_eq!(PrivilegeSet::decode(&bytes).unwrap_err().code(), Some("E-LSA-ACCOUNT"), "{count} {length}");
        }
        assert!(PrivilegeSet::decode(&[0; 8]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back_and_a_grant_is_taken_back(
            control: u32, entries in proptest::collection::vec((0u64..64, any::<u32>()), 0..40), luid in 0u64..64,
        ) {
            let set = PrivilegeSet { control, entries };
            let bytes = set.encode().unwrap();
            prop_assert_eq!(PrivilegeSet::decode(&bytes), Ok(set.clone()));
            let mut changed = set.clone();
            changed.insert(luid);
            prop_assert!(changed.contains(luid));
            if !set.contains(luid) {
                changed.remove(luid);
                prop_assert_eq!(changed.encode().unwrap(), bytes);
            }
            changed.remove(luid);
            prop_assert!(!changed.contains(luid));
            let rest = |set: &PrivilegeSet| set.entries.iter().filter(|e| e.0 != luid).copied().collect::<Vec<_>>();
            prop_assert_eq!(rest(&changed), rest(&set));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(set) = PrivilegeSet::decode(&bytes) {
                prop_assert_eq!(set.encode().unwrap(), bytes);
            }
        }
    }
}
