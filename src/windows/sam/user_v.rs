//! The variable part of an account: its value `V`, a table of 17 slots and what they hold.
//!
//! Each slot tells where its part begins after the table, its length, and a number that means something else in each.
//! Parts follow each other without a gap, padded to four bytes by whatever was there. So a part of another length moves
//! all that follow, and only their places change.
//!
//! Source: real hives of Windows 7 to 11; MS-SAMR names the fields, not their places.

use super::super::UnusableValue;
use super::super::unusable_value::Structure;
use coldforge_base::{read, utf16};

/// The number of slots.
const SLOTS: usize = 17;
/// The bytes of a slot.
const SLOT_BYTES: usize = 12;
/// The bytes of the table, from whose end places count.
const TABLE_BYTES: usize = SLOTS * SLOT_BYTES;
/// Parts begin at multiples of this.
const ALIGNMENT: usize = 4;
const NAME: usize = 1;
const FULL_NAME: usize = 2;
const COMMENT: usize = 3;
const NT_HASH: usize = 14;

/// The variable part of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserV {
    slots: Vec<Slot>,
}

/// What a slot holds.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Slot {
    data: Vec<u8>,
    padding: Vec<u8>,
    extra: u32,
}

impl UserV {
    /// Reads the value.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if its parts do not follow each other to its very end.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnusableValue> {
        let malformed = |at, field| Structure::UserV.malformed(at, field, bytes.len());
        let parts = bytes.get(TABLE_BYTES..).ok_or_else(|| malformed(0, "length"))?;
        let mut slots = Vec::with_capacity(SLOTS);
        let mut next = 0usize;
        for number in 0..SLOTS {
            let at = number.saturating_mul(SLOT_BYTES);
            let word =
                |offset: usize| read::u32_le(bytes, at.saturating_add(offset)).map_err(|_| malformed(at, "slot"));
            let (offset, length, extra) = (word(0)? as usize, word(4)? as usize, word(8)?);
            if offset != next {
                return Err(malformed(at, "offset"));
            }
            let data = read::slice(parts, offset, length).map_err(|_| malformed(at.saturating_add(4), "length"))?;
            let end = offset.saturating_add(length);
            next = end.next_multiple_of(ALIGNMENT);
            let padding = parts.get(end..next).ok_or_else(|| malformed(at.saturating_add(4), "padding"))?;
            slots.push(Slot { data: data.to_vec(), padding: padding.to_vec(), extra });
        }
        if next != parts.len() {
            return Err(malformed(TABLE_BYTES.saturating_add(next), "end"));
        }
        Ok(Self { slots })
    }

    /// Returns the value.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if its parts are too long for its length fields.
    pub fn encode(&self) -> Result<Vec<u8>, UnusableValue> {
        let (mut table, mut parts) = (Vec::with_capacity(TABLE_BYTES), Vec::new());
        for slot in &self.slots {
            let too_long = Structure::UserV.malformed(table.len(), "length", slot.data.len());
            let place = u32::try_from(parts.len()).ok().zip(u32::try_from(slot.data.len()).ok());
            let (at, length) = place.ok_or(too_long)?;
            table.extend([at.to_le_bytes(), length.to_le_bytes(), slot.extra.to_le_bytes()].concat());
            parts.extend_from_slice(&slot.data);
            parts.extend_from_slice(&slot.padding);
        }
        Ok([table, parts].concat())
    }

    /// Returns the account's name.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if it is not text.
    pub fn name(&self) -> Result<String, UnusableValue> {
        self.text(NAME)
    }

    /// Returns the user's full name.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if it is not text.
    pub fn full_name(&self) -> Result<String, UnusableValue> {
        self.text(FULL_NAME)
    }

    /// Returns the description.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if it is not text.
    pub fn comment(&self) -> Result<String, UnusableValue> {
        self.text(COMMENT)
    }

    /// Returns the bytes of the record of its password, which is not looked into.
    pub fn password_bytes(&self) -> usize {
        self.slots.get(NT_HASH).map_or(0, |slot| slot.data.len())
    }

    /// Sets the account's name. Whether it may have it is for the caller to know.
    pub fn set_name(&mut self, name: &str) {
        let Some(slot) = self.slots.get_mut(NAME) else { return };
        slot.data = utf16::encode(name);
        let missing = slot.data.len().next_multiple_of(ALIGNMENT).saturating_sub(slot.data.len());
        slot.padding.resize(missing, 0);
    }

    fn text(&self, slot: usize) -> Result<String, UnusableValue> {
        let data = self.slots.get(slot).map_or(&[][..], |slot| &slot.data);
        let (units, rest) = data.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
        let at = slot.saturating_mul(SLOT_BYTES);
        text.ok_or_else(|| Structure::UserV.malformed(at, "text", data.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use coldforge_base::Failure as _;

    fn value(parts: &[&[u8]; SLOTS], filler: u8) -> Vec<u8> {
        let slot = |part: &&[u8]| {
            let missing = part.len().next_multiple_of(4) - part.len();
            Slot { data: part.to_vec(), padding: vec![filler; missing], extra: part.len() as u32 ^ 0xffff }
        };
        UserV { slots: parts.iter().map(slot).collect() }.encode().unwrap()
    }

    fn usual(name: &[u8]) -> Vec<u8> {
        let mut parts: [&[u8]; SLOTS] = [&[]; SLOTS];
        (parts[0], parts[1], parts[3], parts[12], parts[14]) = (&[7; 101], name, b"c\0", &[1; 8], &[9; 20]);
        value(&parts, 0xcf)
    }

    #[test]
    fn a_new_name_moves_what_follows_and_changes_nothing_else() {
        for (old, new) in [("Bob", "Robert"), ("Robert", "Bob"), ("Bob", "Tom"), ("Жук", "\u{1F600}x"), ("a", "abc")]
        {
            let mut user = UserV::decode(&usual(&utf16::encode(old))).unwrap();
            assert_eq!(user.name().unwrap(), old);
            let original = user.clone();
            user.set_name(new);
            let again = UserV::decode(&user.encode().unwrap()).unwrap();
            assert_eq!((again.name().unwrap(), &again), (new.to_owned(), &user));
            for (number, (old, new)) in original.slots.iter().zip(&again.slots).enumerate() {
                assert!(number == NAME || old == new, "{number}");
            }
            user.set_name(old);
            let same_padding = (utf16::encode(old).len() + utf16::encode(new).len()).is_multiple_of(4);
            assert!(!same_padding || user == original);
            assert_eq!(user.encode().unwrap().len(), original.encode().unwrap().len());
        }
    }

    #[test]
    fn parts_that_do_not_follow_each_other_are_refused() {
        let good = usual(b"B\0o\0b\0");
        for length in 0..good.len() {
            assert_eq!(UserV::decode(&good[..length]).unwrap_err().code(), Some("E-SAM-USER"), "{length}");
        }
        assert!(UserV::decode(&[&good[..], &[0; 4]].concat()).is_err());
        for at in (0..TABLE_BYTES).filter(|at| at % 12 < 8) {
            for byte in [0x04, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= byte;
                assert!(UserV::decode(&bytes).is_err(), "{at} {byte:#x}");
            }
        }
        let error = UserV::decode(&usual(b"B\0o")).unwrap().name().unwrap_err();
        assert_eq!(error.code(), Some("E-SAM-USER"));
        assert!(UserV::decode(&usual(&[0, 0xd8])).unwrap().name().is_err(), "half a surrogate");
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(
            parts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..30), any::<u32>()), SLOTS),
            filler: u8,
        ) {
            let slot = |(data, extra): (Vec<u8>, u32)| {
                let missing = data.len().next_multiple_of(4) - data.len();
                Slot { data, padding: vec![filler; missing], extra }
            };
            let user = UserV { slots: parts.into_iter().map(slot).collect() };
            let bytes = user.encode().unwrap();
            prop_assert_eq!(UserV::decode(&bytes), Ok(user.clone()));
            for text in [user.name(), user.full_name(), user.comment()] {
                prop_assert!(text.is_ok() || text.is_err_and(|error| error.code() == Some("E-SAM-USER")));
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(0u8..32, 0..400)) {
            let _ = UserV::decode(&bytes);
            bytes.resize(TABLE_BYTES, 0);
            let _ = UserV::decode(&bytes);
        }
    }
}
