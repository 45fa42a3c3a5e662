//! The audit policy: the unnamed value of `Policy\PolAdtEv`.
//!
//! A head of 12 bytes, a word for each subcategory, a spare word that most machines never wrote, and how many
//! subcategories each of the nine categories has. Which subcategory a word belongs to follows from those counts alone:
//! of five known vectors, four have an order that is known too. Every other one is refused: in it a word would be
//! another subcategory's.
//!
//! Source: the values of Windows 8.1 to 11 as they are on disk; the counts and the order as other readers found them.

use std::fmt;

use super::super::hive_value::{self, SECURITY, ValueWrite};
use super::super::setting::AuditFlags;
use super::super::unusable_value::Structure;
use super::super::{Result, UnusableValue};
use coldforge_base::guid::Guid;
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, read};
use coldforge_regf::{Hive, Lookup};

/// The key whose unnamed value holds the audit policy.
pub const KEY: &str = r"Policy\PolAdtEv";

/// A subcategory of the audit policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subcategory {
    category: &'static str,
    name: &'static str,
    /// What tells its GUID from those of the others.
    code: u8,
    since: Layout,
}

impl Subcategory {
    /// Returns all of them, in the order of the newest layout.
    pub fn all() -> &'static [Self] {
        &SUBCATEGORIES
    }

    /// Returns the one with this English name, as `auditpol` prints it; case does not matter.
    pub fn named(name: &str) -> Option<&'static Self> {
        SUBCATEGORIES.iter().find(|known| known.name.eq_ignore_ascii_case(name))
    }

    /// Returns the one with this GUID.
    pub fn with_guid(guid: Guid) -> Option<&'static Self> {
        SUBCATEGORIES.iter().find(|known| known.guid() == guid)
    }

    /// Returns the English name, such as `Credential Validation`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the English name of its category, such as `Account Logon`.
    pub fn category(&self) -> &'static str {
        self.category
    }

    /// Returns its GUID, which is the same in every language and release.
    pub fn guid(&self) -> Guid {
        Guid::new(0x0cce_9200 | u32::from(self.code), 0x69ae, 0x11d9, [0xbe, 0xd3, 0x50, 0x50, 0x54, 0x50, 0x30, 0x30])
    }
}

/// Which subcategories a Windows has.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Layout {
    /// 56 subcategories: Windows 8 and Server 2012.
    L56,
    /// 57: Windows 8.1 and Server 2012 R2 with Plug and Play Events.
    L57,
    /// 59: Windows 10 since 1607, Windows 11 to 23H2, Server 2016 to 2022.
    L59,
    /// 60: Windows 11 since 24H2, Server 2025.
    L60,
}

impl Layout {
    const ALL: [Self; 4] = [Self::L56, Self::L57, Self::L59, Self::L60];

    /// Returns the number of subcategories in each category.
    pub fn counts(self) -> [u16; 9] {
        match self {
            Self::L56 => [5, 10, 14, 3, 4, 6, 6, 4, 4],
            Self::L57 => [5, 10, 14, 3, 5, 6, 6, 4, 4],
            Self::L59 => [5, 11, 14, 3, 6, 6, 6, 4, 4],
            Self::L60 => [5, 12, 14, 3, 6, 6, 6, 4, 4],
        }
    }

    /// Returns the subcategories in the order of their words.
    pub fn subcategories(self) -> impl Iterator<Item = &'static Subcategory> {
        SUBCATEGORIES.iter().filter(move |known| known.since <= self)
    }

    /// Returns where the word of a subcategory is.
    fn position(self, subcategory: &Subcategory) -> Option<usize> {
        let index = self.subcategories().position(|known| known == subcategory)?;
        index.checked_mul(2)?.checked_add(HEAD_BYTES)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The bytes before the first word.
const HEAD_BYTES: usize = 12;
/// The bytes of the counts after the spare word.
const COUNTS_BYTES: usize = 18;
/// What a word records, bit by bit.
const SUCCESS: u16 = 1;
const FAILURE: u16 = 2;

/// The audit policy of a machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditPolicy {
    layout: Layout,
    bytes: Vec<u8>,
}

impl AuditPolicy {
    /// Reads the value.
    ///
    /// # Errors
    /// [`UnusableValue::AuditLayout`] if its counts are not those of a known layout, [`UnusableValue::Malformed`] if its head
    /// differs from that of every known machine or a word records what no word can.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, UnusableValue> {
        let length = bytes.len();
        let counts = length.checked_sub(COUNTS_BYTES).and_then(|at| read::array::<COUNTS_BYTES>(bytes, at).ok());
        let counts: Vec<u16> = counts
            .filter(|_| length > HEAD_BYTES.saturating_add(COUNTS_BYTES))
            .map(|raw| raw.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word)).collect())
            .unwrap_or_default();
        let Some(layout) = Layout::ALL.into_iter().find(|known| known.counts()[..] == counts[..]) else {
            return Err(UnusableValue::AuditLayout { length, counts });
        };
        let malformed = |at, field| Structure::AuditPolicy.malformed(at, field, length);
        let words = layout.subcategories().count();
        let trailer = words.saturating_mul(2).saturating_add(HEAD_BYTES).saturating_add(2);
        if length != trailer.saturating_add(COUNTS_BYTES) {
            return Err(UnusableValue::AuditLayout { length, counts });
        }
        let field = |at| read::u32_le(bytes, at).map_err(|_| malformed(at, "head"));
        if field(0)? != 0x0100 {
            return Err(malformed(0, "mark"));
        }
        if field(4)? != 9 {
            return Err(malformed(4, "number of categories"));
        }
        if field(8)? as usize != trailer {
            return Err(malformed(8, "place of the counts"));
        }
        for number in 0..words {
            let at = number.saturating_mul(2).saturating_add(HEAD_BYTES);
            if read::u16_le(bytes, at).map_or(true, |word| word > SUCCESS | FAILURE) {
                return Err(malformed(at, "setting"));
            }
        }
        Ok(Self { layout, bytes: bytes.to_vec() })
    }

    /// Returns the value, every byte as it was read but the words that were set.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns which subcategories the value has.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns what a subcategory records; `None` if this Windows does not have it.
    pub fn get(&self, subcategory: &Subcategory) -> Option<AuditFlags> {
        let word = read::u16_le(&self.bytes, self.layout.position(subcategory)?).ok()?;
        Some(AuditFlags { success: word & SUCCESS != 0, failure: word & FAILURE != 0 })
    }

    /// Sets what a subcategory records.
    ///
    /// # Errors
    /// [`UnusableValue::SubcategoryElsewhere`] if this Windows does not have it.
    pub fn set(&mut self, subcategory: &Subcategory, flags: AuditFlags) -> std::result::Result<(), UnusableValue> {
        let missing = || self.lacks(subcategory);
        let at = self.layout.position(subcategory).ok_or_else(missing)?;
        let word = if flags.success { SUCCESS } else { 0 } | if flags.failure { FAILURE } else { 0 };
        let lacks = self.lacks(subcategory);
        read::put_u16_le(&mut self.bytes, at, word).map_err(|_| lacks)
    }

    /// Returns that this Windows does not have a subcategory.
    fn lacks(&self, subcategory: &Subcategory) -> UnusableValue {
        let count = self.layout.subcategories().count();
        UnusableValue::SubcategoryElsewhere { name: subcategory.name.to_owned(), count }
    }
}

/// Reads what a subcategory of a SECURITY hive records, and the cell of the policy; nothing if the hive has no audit policy.
///
/// # Errors
/// [`UnusableValue::SubcategoryElsewhere`] if this Windows does not have it: nothing could set it either.
/// [`UnusableValue::NoSubcategory`] if no Windows has it, and those of [`AuditPolicy::decode`]; errors of the hive.
pub fn get(security: &dyn Lookup, name: &str) -> Result<(Option<AuditFlags>, Option<CellOffset>)> {
    let failed = hive_value::unusable(SECURITY, KEY);
    let subcategory = known(name).map_err(&failed)?;
    let Some(value) = hive_value::read(security, SECURITY, KEY, "")? else { return Ok((None, None)) };
    let policy = AuditPolicy::decode(&value.data).map_err(&failed)?;
    match policy.get(subcategory) {
        Some(flags) => Ok((Some(flags), Some(value.cell))),
        None => Err(failed(policy.lacks(subcategory))),
    }
}

/// Sets what a subcategory of a SECURITY hive records.
///
/// # Errors
/// [`UnusableValue::SubcategoryElsewhere`], [`UnusableValue::NoSubcategory`], [`UnusableValue::Missing`], and those of [`AuditPolicy::decode`]; errors of the hive.
/// Nothing is changed then.
pub fn set(security: &mut Hive, name: &str, to: AuditFlags, now: FileTime) -> Result<ValueWrite<AuditFlags>> {
    let failed = hive_value::unusable(SECURITY, KEY);
    let subcategory = known(name).map_err(&failed)?;
    let value = hive_value::read(security, SECURITY, KEY, "")?.ok_or_else(|| failed(UnusableValue::Missing))?;
    let mut policy = AuditPolicy::decode(&value.data).map_err(&failed)?;
    let before = policy.get(subcategory);
    policy.set(subcategory, to).map_err(failed)?;
    let edit = hive_value::write(security, SECURITY, (KEY, ""), (value.kind, policy.encode()), now)?;
    Ok(ValueWrite { before, cell: Some(edit.cell), touched: edit.touched })
}

fn known(name: &str) -> std::result::Result<&'static Subcategory, UnusableValue> {
    Subcategory::named(name).ok_or_else(|| UnusableValue::NoSubcategory { name: name.to_owned() })
}

const fn of(category: &'static str, code: u8, name: &'static str) -> Subcategory {
    let since = match code {
        0x4b => Layout::L60,
        0x49 | 0x4a => Layout::L59,
        0x48 => Layout::L57,
        _ => Layout::L56,
    };
    Subcategory { category, name, code, since }
}

const SYSTEM: &str = "System";
const LOGON: &str = "Logon/Logoff";
const OBJECT: &str = "Object Access";
const PRIVILEGE: &str = "Privilege Use";
const TRACKING: &str = "Detailed Tracking";
const CHANGE: &str = "Policy Change";
const MANAGEMENT: &str = "Account Management";
const DIRECTORY: &str = "DS Access";
const ACCOUNT_LOGON: &str = "Account Logon";

/// All subcategories, in the order of their words in the newest layout; an older one lacks some.
static SUBCATEGORIES: [Subcategory; 60] = [
    of(SYSTEM, 0x10, "Security State Change"),
    of(SYSTEM, 0x11, "Security System Extension"),
    of(SYSTEM, 0x12, "System Integrity"),
    of(SYSTEM, 0x13, "IPsec Driver"),
    of(SYSTEM, 0x14, "Other System Events"),
    of(LOGON, 0x15, "Logon"),
    of(LOGON, 0x16, "Logoff"),
    of(LOGON, 0x17, "Account Lockout"),
    of(LOGON, 0x18, "IPsec Main Mode"),
    of(LOGON, 0x1b, "Special Logon"),
    of(LOGON, 0x19, "IPsec Quick Mode"),
    of(LOGON, 0x1a, "IPsec Extended Mode"),
    of(LOGON, 0x1c, "Other Logon/Logoff Events"),
    of(LOGON, 0x43, "Network Policy Server"),
    of(LOGON, 0x47, "User / Device Claims"),
    of(LOGON, 0x49, "Group Membership"),
    of(LOGON, 0x4b, "Access Rights"),
    of(OBJECT, 0x1d, "File System"),
    of(OBJECT, 0x1e, "Registry"),
    of(OBJECT, 0x1f, "Kernel Object"),
    of(OBJECT, 0x20, "SAM"),
    of(OBJECT, 0x27, "Other Object Access Events"),
    of(OBJECT, 0x21, "Certification Services"),
    of(OBJECT, 0x22, "Application Generated"),
    of(OBJECT, 0x23, "Handle Manipulation"),
    of(OBJECT, 0x24, "File Share"),
    of(OBJECT, 0x25, "Filtering Platform Packet Drop"),
    of(OBJECT, 0x26, "Filtering Platform Connection"),
    of(OBJECT, 0x44, "Detailed File Share"),
    of(OBJECT, 0x45, "Removable Storage"),
    of(OBJECT, 0x46, "Central Policy Staging"),
    of(PRIVILEGE, 0x28, "Sensitive Privilege Use"),
    of(PRIVILEGE, 0x29, "Non Sensitive Privilege Use"),
    of(PRIVILEGE, 0x2a, "Other Privilege Use Events"),
    of(TRACKING, 0x2b, "Process Creation"),
    of(TRACKING, 0x2c, "Process Termination"),
    of(TRACKING, 0x2d, "DPAPI Activity"),
    of(TRACKING, 0x2e, "RPC Events"),
    of(TRACKING, 0x48, "Plug and Play Events"),
    of(TRACKING, 0x4a, "Token Right Adjusted Events"),
    of(CHANGE, 0x2f, "Audit Policy Change"),
    of(CHANGE, 0x30, "Authentication Policy Change"),
    of(CHANGE, 0x31, "Authorization Policy Change"),
    of(CHANGE, 0x32, "MPSSVC Rule-Level Policy Change"),
    of(CHANGE, 0x33, "Filtering Platform Policy Change"),
    of(CHANGE, 0x34, "Other Policy Change Events"),
    of(MANAGEMENT, 0x35, "User Account Management"),
    of(MANAGEMENT, 0x36, "Computer Account Management"),
    of(MANAGEMENT, 0x37, "Security Group Management"),
    of(MANAGEMENT, 0x38, "Distribution Group Management"),
    of(MANAGEMENT, 0x39, "Application Group Management"),
    of(MANAGEMENT, 0x3a, "Other Account Management Events"),
    of(DIRECTORY, 0x3b, "Directory Service Access"),
    of(DIRECTORY, 0x3c, "Directory Service Changes"),
    of(DIRECTORY, 0x3d, "Directory Service Replication"),
    of(DIRECTORY, 0x3e, "Detailed Directory Service Replication"),
    of(ACCOUNT_LOGON, 0x3f, "Credential Validation"),
    of(ACCOUNT_LOGON, 0x40, "Kerberos Service Ticket Operations"),
    of(ACCOUNT_LOGON, 0x41, "Other Account Logon Events"),
    of(ACCOUNT_LOGON, 0x42, "Kerberos Authentication Service"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    /// Returns a value of this layout whose words are what `word` says, with leftovers in the spare one.
    fn value(counts: &[u16], word: impl Fn(u16) -> u16) -> Vec<u8> {
        let words: u16 = counts.iter().sum();
        let mut bytes = vec![0, 1, 0, 0, 9, 0, 0, 0];
        bytes.extend((u32::from(words) * 2 + 14).to_le_bytes());
        bytes.extend((0..words).flat_map(|number| word(number).to_le_bytes()));
        bytes.extend([0xdc, 0xaf]);
        bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
        bytes
    }

    #[test]
    fn every_layout_counts_as_many_subcategories_as_it_has_in_each_category() {
        for layout in Layout::ALL {
            let mut counts: Vec<(&str, u16)> = Vec::new();
            for subcategory in layout.subcategories() {
                match counts.last_mut() {
                    Some((category, count)) if *category == subcategory.category => *count += 1,
                    _ => counts.push((subcategory.category, 1)),
                }
            }
            let counts: Vec<u16> = counts.into_iter().map(|(_, count)| count).collect();
            assert_eq!(counts, layout.counts(), "{layout}");
        }
        let position =
            |layout: Layout, name: &str| (layout.position(Subcategory::named(name).unwrap()).unwrap() - 12) / 2;
        for (name, index) in [("Special Logon", 9), ("Other Object Access Events", 20), ("process creation", 33)] {
            assert_eq!(position(Layout::L59, name), index);
        }
        assert_eq!((position(Layout::L60, "Access Rights"), position(Layout::L60, "File System")), (16, 17));
        assert_eq!(position(Layout::L56, "Kerberos Authentication Service"), 55);
    }

    #[test]
    fn a_subcategory_is_known_by_name_and_by_guid() {
        let guid = Guid::new(0x0cce_923f, 0x69ae, 0x11d9, [0xbe, 0xd3, 0x50, 0x50, 0x54, 0x50, 0x30, 0x30]);
        assert_eq!(Subcategory::with_guid(guid), Subcategory::named("Credential Validation"));
        assert_eq!(Subcategory::with_guid(guid).unwrap().category(), "Account Logon");
        let codes: std::collections::BTreeSet<u8> = SUBCATEGORIES.iter().map(|known| known.code).collect();
        let names: std::collections::BTreeSet<&str> = SUBCATEGORIES.iter().map(|known| known.name).collect();
        assert_eq!((codes.len(), names.len()), (60, 60));
    }

    #[test]
    fn every_word_of_every_layout_is_set_alone_and_set_back() {
        for layout in Layout::ALL {
            let original = value(&layout.counts(), |number| number % 4);
            let policy = AuditPolicy::decode(&original).unwrap();
            assert_eq!((policy.layout(), policy.encode()), (layout, &original[..]));
            for (number, subcategory) in layout.subcategories().enumerate() {
                let at = 12 + 2 * number;
                for word in 0..4u8 {
                    let mut changed = policy.clone();
                    changed.set(subcategory, AuditFlags { success: word & 1 != 0, failure: word & 2 != 0 }).unwrap();
                    let mut expected = original.clone();
                    expected[at] = word;
                    assert_eq!(changed.encode(), expected);
                    changed.set(subcategory, policy.get(subcategory).unwrap()).unwrap();
                    assert_eq!(changed, policy);
                }
            }
        }
    }

    #[test]
    fn a_subcategory_that_this_windows_does_not_have_is_none_and_cannot_be_set() {
        let mut policy = AuditPolicy::decode(&value(&Layout::L59.counts(), |_| 0)).unwrap();
        let later = Subcategory::named("Access Rights").unwrap();
        assert_eq!(policy.get(later), None);
        let error = policy.set(later, AuditFlags::default()).unwrap_err();
        assert_eq!(error.code(), Some("E-AUDIT-SUBCATEGORY"));
    }

    #[test]
    fn every_other_layout_is_refused_by_name() {
        let windows_7 = value(&[5, 9, 12, 3, 4, 6, 6, 4, 4], |_| 0);
        let windows_10_1507 = value(&[5, 11, 14, 3, 5, 6, 6, 4, 4], |_| 0);
        let swapped = value(&[11, 5, 14, 3, 6, 6, 6, 4, 4], |_| 0);
        let good = value(&Layout::L59.counts(), |_| 0);
        let mut longer = good.clone();
        longer.splice(12..12, [0, 0]);
        for bytes in [windows_7, windows_10_1507, swapped, longer, vec![0; 44], vec![0; 30], Vec::new()] {
            assert_eq!(AuditPolicy::decode(&bytes).unwrap_err().code(), Some("E-AUDIT-LAYOUT"), "{bytes:x?}");
        }
        for length in 0..good.len() {
            assert!(AuditPolicy::decode(&good[..length]).is_err(), "{length}");
        }
        for (at, byte) in [(0, 1), (1, 0), (2, 1), (4, 8), (7, 1), (8, 0x82), (11, 1), (12, 4), (13, 1), (129, 1)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let error = AuditPolicy::decode(&bytes).unwrap_err();
            assert_eq!(error.code(), Some("E-AUDIT-LAYOUT"), "{at}: {error}");
        }
        let mut spare = good;
        spare[130] ^= 0xff;
        assert_eq!(AuditPolicy::decode(&spare).unwrap().encode(), spare, "the spare word is anything");
    }
}
