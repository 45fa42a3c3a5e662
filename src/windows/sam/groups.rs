//! Local groups (aliases): the keys below `Aliases` of the built-in domain and of the machine's own.
//!
//! A group's value `C` is a table of four slots (descriptor, name, description, members) and what they hold; members are
//! SIDs, one after the other. A second index leads from each member to its groups. Groups are only read here.
//!
//! Source: real hives of Windows 7 to 10.

use std::collections::BTreeSet;

use super::super::hive_value::{self, SAM};
use super::super::unusable_value::Structure;
use super::super::{Result, UnusableValue};
use coldforge_base::sid::Sid;
use coldforge_base::{CellOffset, read};
use coldforge_regf::Lookup;

/// The bytes of the identifier and the table, from whose end places count.
const TABLE_BYTES: usize = 0x34;
const NAME: usize = 0x10;
const COMMENT: usize = 0x1c;
const MEMBERS: usize = 0x28;

/// A domain of a SAM hive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Domain {
    /// What Windows makes: Administrators, Users and their kind.
    Builtin,
    /// What is made on the machine.
    Account,
}

impl Domain {
    const ALL: [Self; 2] = [Self::Builtin, Self::Account];

    /// Returns the key above those of its local groups.
    fn aliases(self) -> &'static str {
        match self {
            Self::Builtin => r"SAM\Domains\Builtin\Aliases",
            Self::Account => r"SAM\Domains\Account\Aliases",
        }
    }
}

/// A local group: its value `C`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alias {
    /// The relative identifier.
    pub rid: u32,
    /// The name, in the language of the machine.
    pub name: String,
    /// The description.
    pub comment: String,
    /// The members, in their order.
    pub members: Vec<Sid>,
}

impl Alias {
    /// Reads the value.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if a part leaves it, or its members are not as many as it counts.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, UnusableValue> {
        let malformed = |at, field| Structure::Alias.malformed(at, field, bytes.len());
        let word = |at: usize| read::u32_le(bytes, at).map_err(|_| malformed(at, "table"));
        let parts = bytes.get(TABLE_BYTES..).ok_or_else(|| malformed(0, "length"))?;
        let part = |at: usize| {
            let (offset, length) = (word(at)? as usize, word(at.saturating_add(4))? as usize);
            read::slice(parts, offset, length).map_err(|_| malformed(at, "offset"))
        };
        let text = |at: usize| {
            let (units, rest) = part(at)?.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
            text.ok_or_else(|| malformed(at, "text"))
        };
        let (raw, mut members, mut next) = (part(MEMBERS)?, Vec::new(), 0usize);
        // Each SID takes at least eight bytes.
        while next < raw.len() {
            let sid = Sid::parse(raw, next).ok().flatten().ok_or_else(|| malformed(MEMBERS, "member"))?;
            next = next.saturating_add(sid.len_bytes());
            members.push(sid);
        }
        let count = word(MEMBERS.saturating_add(8))? as usize;
        if members.len() != count {
            return Err(malformed(MEMBERS.saturating_add(8), "number of members"));
        }
        Ok(Self { rid: word(0)?, name: text(NAME)?, comment: text(COMMENT)?, members })
    }
}

/// Reads the local groups of a domain, by ascending identifier.
///
/// # Errors
/// [`UnusableValue::Malformed`]; errors of the hive.
pub fn aliases(sam: &dyn Lookup, domain: Domain) -> Result<Vec<Alias>> {
    let mut aliases = Vec::new();
    for (rid, key) in super::rid_keys(sam, domain.aliases())? {
        let path = path(domain, rid);
        let value = hive_value::value_of(&key, SAM, "C")?
            .ok_or_else(|| hive_value::unusable(SAM, &path)(UnusableValue::Missing))?;
        aliases.push(checked(rid, &value.data).map_err(hive_value::unusable(SAM, &path))?);
    }
    aliases.sort_by_key(|alias| alias.rid);
    Ok(aliases)
}

/// Reads the members of a local group of either domain, and the cell of the value; nothing if there is no such group.
///
/// # Errors
/// [`UnusableValue::Malformed`], also if both domains have one; errors of the hive.
pub fn members(sam: &dyn Lookup, rid: u32) -> Result<(Option<BTreeSet<Sid>>, Option<CellOffset>)> {
    let mut found = (None, None);
    for domain in Domain::ALL {
        let path = path(domain, rid);
        let Some(value) = hive_value::read(sam, SAM, &path, "C")? else { continue };
        let failed = hive_value::unusable(SAM, &path);
        let alias = checked(rid, &value.data).map_err(&failed)?;
        if found.0.is_some() {
            return Err(failed(Structure::Alias.malformed(0, "second group of this identifier", value.data.len())));
        }
        found = (Some(alias.members.into_iter().collect()), Some(value.cell));
    }
    Ok(found)
}

/// Returns the local groups that a user or group is a member of, as the index of members has them.
///
/// # Errors
/// [`UnusableValue::Malformed`] if an entry counts otherwise than it lists; errors of the hive.
pub fn memberships(sam: &dyn Lookup, member: &Sid) -> Result<BTreeSet<u32>> {
    let text = member.to_string();
    let Some((domain, rid)) = text.rsplit_once('-') else { return Ok(BTreeSet::new()) };
    let Ok(rid) = rid.parse::<u32>() else { return Ok(BTreeSet::new()) };
    let mut groups = BTreeSet::new();
    for home in Domain::ALL {
        let path = format!(r"{}\Members\{domain}\{rid:08X}", home.aliases());
        let Some(entry) = hive_value::read(sam, SAM, &path, "")? else { continue };
        let (rids, rest) = entry.data.as_chunks::<4>();
        if !rest.is_empty() || rids.len() != entry.kind as usize {
            let malformed = Structure::MembersIndex.malformed(0, "count", entry.data.len());
            return Err(hive_value::unusable(SAM, &path)(malformed));
        }
        groups.extend(rids.iter().map(|rid| u32::from_le_bytes(*rid)));
    }
    Ok(groups)
}

fn path(domain: Domain, rid: u32) -> String {
    format!(r"{}\{rid:08X}", domain.aliases())
}

/// Reads `C`, which must be that of this group.
fn checked(rid: u32, data: &[u8]) -> std::result::Result<Alias, UnusableValue> {
    let alias = Alias::decode(data)?;
    if alias.rid == rid { Ok(alias) } else { Err(Structure::Alias.malformed(0, "identifier", data.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    fn value(members: &[Sid], count: u32) -> Vec<u8> {
        let name: Vec<u8> = "Users".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let raw: Vec<u8> = members.iter().flat_map(Sid::to_bytes).collect();
        let words = [0x221, 0, 0, 0, 0, 10, 0, 12, 0, 0, 12, raw.len() as u32, count];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        bytes.extend(name);
        bytes.extend([0xaa, 0xbb]);
        bytes.extend(raw);
        bytes
    }

    #[test]
    fn members_of_every_length_are_read() {
        let members = [Sid::new(5, &[11]), Sid::new(5, &[9; 15]), Sid::new(1, &[]), Sid::new(5, &[21, 1, 2, 3, 500])];
        let alias = Alias::decode(&value(&members, 4)).unwrap();
        assert_eq!((alias.rid, alias.name.as_str(), alias.comment.as_str()), (0x221, "Users", ""));
        assert_eq!(alias.members, members);
        assert_eq!(Alias::decode(&value(&[], 0)).unwrap().members, []);
    }

    #[test]
    fn a_group_that_counts_otherwise_or_leaves_its_value_is_refused() {
        let members = [Sid::new(5, &[11]), Sid::new(5, &[9; 15])];
        let good = value(&members, 2);
        for count in [0, 1, 3, u32::MAX] {
            assert_eq!(Alias::decode(&value(&members, count)).unwrap_err().code(), Some("E-SAM-GROUP"));
        }
        for length in 0..good.len() {
            assert!(Alias::decode(&good[..length]).is_err(), "{length}");
        }
        for at in (0..TABLE_BYTES).chain(good.len() - 68..good.len() - 60) {
            for byte in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= byte;
                if let Ok(alias) = Alias::decode(&bytes) {
                    assert!(alias.members.len() <= 2, "{at}");
                }
            }
        }
        let mut sixteen = good.clone();
        sixteen[good.len() - 67] = 16;
        assert_eq!(Alias::decode(&sixteen).unwrap_err().code(), Some("E-SAM-GROUP"));
    }
}
