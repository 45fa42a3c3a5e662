//! The fixed part of an account: its value `F`, of 80 bytes.
//!
//! Times, the relative identifier, and the bits that say what the account may do (USER_ACCOUNT control of MS-SAMR
//! 2.2.1.12, which are other bits than those of the directory's userAccountControl). Counters, the tail that no Windows
//! ever cleared, and bits that are not named here are kept.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::UnusableValue;
use super::super::unusable_value::Structure;
use coldforge_base::time::FileTime;

const REVISIONS: [u32; 2] = [0x0001_0002, 0x0001_0003];

/// A bit of an account's control word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Control {
    /// The account cannot be used.
    Disabled = 0x0001,
    /// It needs no password.
    PasswordNotRequired = 0x0004,
    /// It is a user's, not one of a machine or a domain.
    Normal = 0x0010,
    /// Its password does not age.
    PasswordNeverExpires = 0x0200,
    /// It was locked after too many failed logons.
    Locked = 0x0400,
}

/// The fixed part of an account.
#[derive(Clone, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct UserF {
    revision: U32,
    counters: [u8; 20],
    password_last_set: U64,
    account_expires: U64,
    last_bad_password: U64,
    rid: U32,
    primary_group: U32,
    control: U32,
    rest: [u8; 20],
}

impl UserF {
    /// Reads the value.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if it is of another length or an unknown revision.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnusableValue> {
        let malformed = |field| Structure::UserF.malformed(0, field, bytes.len());
        let user = Self::read_from_bytes(bytes).map_err(|_| malformed("length"))?;
        if !REVISIONS.contains(&user.revision.get()) {
            return Err(malformed("revision"));
        }
        Ok(user)
    }

    /// Returns the value, every byte as it was read but the bits that were set.
    pub fn encode(&self) -> &[u8] {
        self.as_bytes()
    }

    /// Returns the relative identifier.
    pub fn rid(&self) -> u32 {
        self.rid.get()
    }

    /// Returns the control word, with bits that have no name here.
    pub fn control(&self) -> u32 {
        self.control.get()
    }

    /// Returns whether a bit of the control word is set.
    pub fn is(&self, bit: Control) -> bool {
        self.control() & bit as u32 != 0
    }

    /// Sets or clears a bit of the control word.
    pub fn set(&mut self, bit: Control, on: bool) {
        let others = self.control() & !(bit as u32);
        let all = if on { others | bit as u32 } else { others };
        self.control.set(all);
    }

    /// Returns when the password was last set; none if it never was, or must be changed at the next logon.
    pub fn password_last_set(&self) -> Option<FileTime> {
        Some(FileTime(self.password_last_set.get())).filter(|time| time.0 != 0)
    }

    /// Returns when the account ends; none if it never does.
    pub fn account_expires(&self) -> Option<FileTime> {
        Some(FileTime(self.account_expires.get())).filter(|time| time.0 != 0 && time.0 < i64::MAX.cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    #[test]
    fn each_bit_is_set_alone_and_set_back() {
        let mut original: Vec<u8> = (0..80).collect();
        original[..4].copy_from_slice(&0x0001_0003u32.to_le_bytes());
        let user = UserF::decode(&original).unwrap();
        assert_eq!(user.rid(), 0x3332_3130);
        for bit in [Control::Disabled, Control::PasswordNotRequired, Control::PasswordNeverExpires, Control::Locked] {
            for on in [true, false] {
                let mut changed = user.clone();
                changed.set(bit, on);
                assert_eq!(changed.is(bit), on);
                assert_eq!(changed.control() ^ user.control(), if user.is(bit) == on { 0 } else { bit as u32 });
                assert_eq!(
                    (&changed.encode()[..0x38], &changed.encode()[0x3c..]),
                    (&original[..0x38], &original[0x3c..])
                );
                changed.set(bit, user.is(bit));
                assert_eq!(changed.encode(), original);
            }
        }
    }

    #[test]
    fn another_length_or_revision_is_refused() {
        let mut bytes = vec![0; 80];
        assert_eq!(UserF::decode(&bytes).unwrap_err().code(), Some("E-SAM-USER"));
        bytes[..4].copy_from_slice(&0x0001_0002u32.to_le_bytes());
        assert!(UserF::decode(&bytes).is_ok_and(|user| user.password_last_set().is_none()));
        assert!(UserF::decode(&bytes[..79]).is_err());
        bytes.push(0);
        assert!(UserF::decode(&bytes).is_err());
    }
}
