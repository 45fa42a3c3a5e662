//! Security identifiers (MS-DTYP 2.4.2): who owns, who is granted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::read::{self, OutOfBounds};
use crate::hex;

/// A security identifier.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sid {
    /// Who issued it: 48 bits, such as 5 for NT.
    authority: u64,
    /// At most 15 parts.
    parts: Vec<u32>,
}

/// The most parts that a SID has.
const MOST_PARTS: u8 = 15;

impl Sid {
    /// Returns the SID with this authority, of which the low 48 bits count, and these parts, of which the first 15 do.
    pub fn new(authority: u64, parts: &[u32]) -> Self {
        let parts = parts.iter().take(MOST_PARTS.into()).copied().collect();
        Self { authority: authority & 0xffff_ffff_ffff, parts }
    }

    /// Reads the SID that begins at `at`; `None` if it has another revision or too many parts.
    ///
    /// # Errors
    /// [`OutOfBounds`] if it leaves the buffer.
    pub fn parse(buf: &[u8], at: usize) -> Result<Option<Self>, OutOfBounds> {
        let [revision, count, a, b, c, d, e, f] = read::array(buf, at)?;
        if revision != 1 || count > MOST_PARTS {
            return Ok(None);
        }
        let parts = read::slice(buf, at.saturating_add(8), usize::from(count).saturating_mul(4))?;
        let parts =
            parts.chunks_exact(4).map(|part| u32::from_le_bytes([part[0], part[1], part[2], part[3]])).collect();
        Ok(Some(Self { authority: u64::from_be_bytes([0, 0, a, b, c, d, e, f]), parts }))
    }

    /// Returns the length of its binary form in bytes.
    pub fn len_bytes(&self) -> usize {
        self.parts.len().saturating_mul(4).saturating_add(8)
    }

    /// Returns the binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = u8::try_from(self.parts.len()).unwrap_or(MOST_PARTS);
        let authority = self.authority.to_be_bytes();
        let mut bytes = vec![1, count];
        bytes.extend_from_slice(&authority[2..]);
        bytes.extend(self.parts.iter().flat_map(|part| part.to_le_bytes()));
        bytes
    }

    /// Returns the SID with one more part; `None` if it has 15 already.
    pub fn child(&self, part: u32) -> Option<Self> {
        let full = self.parts.len() >= usize::from(MOST_PARTS);
        (!full).then(|| Self { authority: self.authority, parts: [self.parts.as_slice(), &[part]].concat() })
    }

    /// Returns the English name that people know it by, if it is the same on every machine and stands in rules.
    pub fn name(&self) -> Option<&'static str> {
        let parts = self.parts.as_slice();
        NAMES
            .iter()
            .find(|(authority, known, _)| self.authority == *authority && parts == *known)
            .map(|(.., name)| *name)
    }

    /// Returns the SID that two letters of SDDL mean on every machine (MS-DTYP 2.5.1.1), in upper case.
    pub fn from_abbreviation(letters: &str) -> Option<Self> {
        let named = WELL_KNOWN.iter().find(|(.., known)| *known == letters);
        named.map(|(authority, parts, _)| Self::new(*authority, parts))
    }

    /// Returns the two letters that SDDL has for it (MS-DTYP 2.5.1.1), if it is the same on every machine.
    pub fn abbreviation(&self) -> Option<&'static str> {
        let parts = self.parts.as_slice();
        let named = WELL_KNOWN.iter().find(|(authority, known, _)| self.authority == *authority && parts == *known);
        named.map(|(_, _, letters)| *letters)
    }
}

impl fmt::Display for Sid {
    /// Writes `S-1-5-18` and the like.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An authority above 32 bits is written in hex.
        if self.authority >> 32 == 0 {
            write!(f, "S-1-{}", self.authority)?;
        } else {
            write!(f, "S-1-0x{:012X}", self.authority)?;
        }
        self.parts.iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

impl Serialize for Sid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|NotASid| serde::de::Error::custom("this is no SID"))
    }
}

/// The text is no SID.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("this is no SID; expected a text such as `S-1-5-32-544`")]
pub struct NotASid;

impl FromStr for Sid {
    type Err = NotASid;

    /// Parses `S-1-5-32-544` and the like.
    fn from_str(text: &str) -> Result<Self, NotASid> {
        let mut words = text.strip_prefix("S-1-").ok_or(NotASid)?.split('-');
        let authority = words.next().ok_or(NotASid)?;
        let authority = match authority.strip_prefix("0x") {
            Some(digits) => hex::number(digits).ok_or(NotASid)?,
            None => u32::from_str(authority).map_err(|_| NotASid)?.into(),
        };
        let parts: Vec<u32> = words.map(u32::from_str).collect::<Result<_, _>>().map_err(|_| NotASid)?;
        let sid = Self::new(authority, &parts);
        // What is not written back as it was read (a sign, a leading zero, a part too many) is another language.
        if sid.to_string() == text { Ok(sid) } else { Err(NotASid) }
    }
}

/// SIDs that are the same on every machine: authority, parts, letters.
const WELL_KNOWN: &[(u64, &[u32], &str)] = &[
    (1, &[0], "WD"),
    (3, &[0], "CO"),
    (3, &[1], "CG"),
    (3, &[4], "OW"),
    (5, &[2], "NU"),
    (5, &[4], "IU"),
    (5, &[6], "SU"),
    (5, &[7], "AN"),
    (5, &[9], "ED"),
    (5, &[10], "PS"),
    (5, &[11], "AU"),
    (5, &[12], "RC"),
    (5, &[18], "SY"),
    (5, &[19], "LS"),
    (5, &[20], "NS"),
    (5, &[33], "WR"),
    (5, &[32, 544], "BA"),
    (5, &[32, 545], "BU"),
    (5, &[32, 546], "BG"),
    (5, &[32, 547], "PU"),
    (5, &[32, 548], "AO"),
    (5, &[32, 549], "SO"),
    (5, &[32, 550], "PO"),
    (5, &[32, 551], "BO"),
    (5, &[32, 552], "RE"),
    (5, &[32, 554], "RU"),
    (5, &[32, 555], "RD"),
    (5, &[32, 556], "NO"),
    (5, &[32, 558], "MU"),
    (5, &[32, 559], "LU"),
    (5, &[32, 568], "IS"),
    (5, &[32, 569], "CY"),
    (5, &[32, 573], "ER"),
    (5, &[32, 574], "CD"),
    (5, &[32, 575], "RA"),
    (5, &[32, 576], "ES"),
    (5, &[32, 577], "MS"),
    (5, &[32, 578], "HA"),
    (5, &[32, 579], "AA"),
    (5, &[32, 580], "RM"),
    (5, &[84, 0, 0, 0, 0, 0], "UD"),
    (15, &[2, 1], "AC"),
    (16, &[4096], "LW"),
    (16, &[8192], "ME"),
    (16, &[8448], "MP"),
    (16, &[12288], "HI"),
    (16, &[16384], "SI"),
    (18, &[1], "AS"),
    (18, &[2], "SS"),
];

/// English names: authority, parts, name.
const NAMES: &[(u64, &[u32], &str)] = &[
    (1, &[0], "Everyone"),
    (3, &[0], "Creator Owner"),
    (5, &[6], "Service"),
    (5, &[7], "Anonymous Logon"),
    (5, &[9], "Enterprise Domain Controllers"),
    (5, &[11], "Authenticated Users"),
    (5, &[18], "Local System"),
    (5, &[19], "Local Service"),
    (5, &[20], "Network Service"),
    (5, &[32, 544], "Administrators"),
    (5, &[32, 545], "Users"),
    (5, &[32, 546], "Guests"),
    (5, &[32, 547], "Power Users"),
    (5, &[32, 550], "Print Operators"),
    (5, &[32, 551], "Backup Operators"),
    (5, &[32, 555], "Remote Desktop Users"),
    (5, &[32, 559], "Performance Log Users"),
    (5, &[83, 0], "Virtual Machines"),
    (5, &[113], "Local account"),
    (5, &[114], "Local account and member of Administrators group"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_those_of_windows() {
        let administrators = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
        let sid = Sid::parse(&administrators, 0).unwrap().unwrap();
        assert_eq!((sid.to_string().as_str(), sid.abbreviation()), ("S-1-5-32-544", Some("BA")));
        assert_eq!((sid.to_bytes().as_slice(), sid.len_bytes()), (&administrators[..], 16));
        assert_eq!(Sid::new(0x1_0000_0000, &[7]).to_string(), "S-1-0x000100000000-7");
        assert_eq!(Sid::new(5, &[21, 1, 2, 3, 500]).abbreviation(), None);
    }

    #[test]
    fn only_a_sid_is_read_as_one() {
        for text in ["S-1-5-32-544", "S-1-0x000100000000-7", "S-1-5-21-1-2-3-4294967295", "S-1-1-0", "S-1-5"] {
            assert_eq!(text.parse::<Sid>().unwrap().to_string(), text);
        }
        let sixteen = format!("S-1-5{}", "-1".repeat(16));
        for text in ["", "S-1", "S-1-", "S-2-5-1", "S-1-5-", "S-1-5-+1", "S-1-5-01", "S-1-5-4294967296", &sixteen, "BA"]
        {
            assert_eq!(text.parse::<Sid>(), Err(NotASid), "{text}");
        }
    }

    #[test]
    fn a_sid_that_is_cut_or_of_another_revision_is_none() {
        assert!(Sid::parse(&[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0], 0).is_err());
        assert_eq!(Sid::parse(&[2, 0, 0, 0, 0, 0, 0, 5], 0), Ok(None));
        assert_eq!(Sid::parse(&[[1, 16].as_slice(), &[0; 70]].concat(), 0), Ok(None));
    }
}
