//! Security descriptors in their self-relative form (MS-DTYP 2.4.6), and their text (SDDL, MS-DTYP 2.5.1).
//!
//! The text is what Windows writes, but for two things: SIDs of a domain or machine are written in full, for their
//! letters mean the reader's own; and the data of conditional and resource entries is written in hex.

use std::fmt;

use thiserror::Error;

use super::guid::Guid;
use super::read::{self, OutOfBounds};
use super::sid::Sid;

/// What is wrong with a descriptor.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Malformed {
    /// A part leaves the descriptor.
    #[error("the security descriptor is cut")]
    Cut(#[from] OutOfBounds),
    /// A field has a value that it cannot have.
    #[error("the security descriptor has an impossible {field} at {at:#x}")]
    Field {
        /// Where in the descriptor.
        at: usize,
        /// What the field tells.
        field: &'static str,
    },
}

/// A security descriptor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Descriptor<'a> {
    /// The control bits.
    pub control: u16,
    /// The owner.
    pub owner: Option<Sid>,
    /// The primary group.
    pub group: Option<Sid>,
    /// What is granted and denied.
    pub dacl: List<'a>,
    /// What is audited, and labels.
    pub sacl: List<'a>,
}

/// An access control list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum List<'a> {
    /// The descriptor has none.
    Absent,
    /// The descriptor has one that is null: everything is granted, or nothing audited.
    Null,
    /// Its entries, perhaps none.
    Entries(Vec<Entry<'a>>),
}

/// An access control entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// The type, such as 0 for allowed.
    pub kind: u8,
    /// How it is inherited, and what is audited.
    pub flags: u8,
    /// The rights.
    pub mask: u32,
    /// The object or property it is about.
    pub object: Option<Guid>,
    /// Which kind of object inherits it.
    pub inheritor: Option<Guid>,
    /// Whom it is about.
    pub sid: Sid,
    /// The data behind the SID: an expression or an attribute, and what fills the entry.
    pub data: &'a [u8],
}

/// Control bits (MS-DTYP 2.4.6).
mod control {
    pub(super) const DACL_PRESENT: u16 = 0x0004;
    pub(super) const SACL_PRESENT: u16 = 0x0010;
    pub(super) const DACL_AUTO_INHERIT_REQUIRED: u16 = 0x0100;
    pub(super) const SACL_AUTO_INHERIT_REQUIRED: u16 = 0x0200;
    pub(super) const DACL_AUTO_INHERITED: u16 = 0x0400;
    pub(super) const SACL_AUTO_INHERITED: u16 = 0x0800;
    pub(super) const DACL_PROTECTED: u16 = 0x1000;
    pub(super) const SACL_PROTECTED: u16 = 0x2000;
    pub(super) const SELF_RELATIVE: u16 = 0x8000;
}

/// The bytes of the head, before which no part lies.
const HEAD_BYTES: usize = 20;
/// The bytes of the head of a list.
const LIST_HEAD_BYTES: usize = 8;

impl<'a> Descriptor<'a> {
    /// Reads a self-relative descriptor.
    ///
    /// Parts lie behind the head, aligned to four bytes, without overlap; entries are of known types and lie in their
    /// lists. A list whose bit is not set is not looked into.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (revision, control) = (read::u8(bytes, 0)?, read::u16_le(bytes, 2)?);
        if revision != 1 {
            return Err(Malformed::Field { at: 0, field: "revision" });
        }
        if control & control::SELF_RELATIVE == 0 {
            return Err(Malformed::Field { at: 2, field: "control" });
        }
        let mut spans = Vec::with_capacity(4);
        let part = |at: usize| -> Result<usize, Malformed> {
            let offset = read::u32_le(bytes, at)? as usize;
            if offset != 0 && (offset < HEAD_BYTES || !offset.is_multiple_of(4)) {
                return Err(Malformed::Field { at, field: "offset" });
            }
            Ok(offset)
        };
        let (owner_at, group_at, sacl_at, dacl_at) = (part(4)?, part(8)?, part(12)?, part(16)?);
        let mut sid = |at: usize| -> Result<Option<Sid>, Malformed> {
            if at == 0 {
                return Ok(None);
            }
            let sid = Sid::parse(bytes, at)?.ok_or(Malformed::Field { at, field: "SID" })?;
            spans.push((at, at.saturating_add(sid.len_bytes())));
            Ok(Some(sid))
        };
        let (owner, group) = (sid(owner_at)?, sid(group_at)?);
        let mut list = |at: usize, present: u16| -> Result<List<'a>, Malformed> {
            if at != 0
                && let Ok(length) = read::u16_le(bytes, at.saturating_add(2))
            {
                spans.push((at, at.saturating_add(length.into())));
            }
            match (control & present != 0, at) {
                (false, _) => Ok(List::Absent),
                (true, 0) => Ok(List::Null),
                (true, at) => entries(bytes, at).map(List::Entries),
            }
        };
        let (sacl, dacl) = (list(sacl_at, control::SACL_PRESENT)?, list(dacl_at, control::DACL_PRESENT)?);
        spans.sort_unstable();
        match spans.iter().zip(spans.iter().skip(1)).find(|(before, after)| before.1 > after.0) {
            Some((_, after)) => Err(Malformed::Field { at: after.0, field: "overlap" }),
            None => Ok(Self { control, owner, group, dacl, sacl }),
        }
    }
}

/// Reads the entries of the list at `at`.
fn entries(bytes: &[u8], at: usize) -> Result<Vec<Entry<'_>>, Malformed> {
    let revision = read::u8(bytes, at)?;
    let length = usize::from(read::u16_le(bytes, at.saturating_add(2))?);
    let count = read::u16_le(bytes, at.saturating_add(4))?;
    if !(2..=4).contains(&revision) {
        return Err(Malformed::Field { at, field: "list revision" });
    }
    if length < LIST_HEAD_BYTES || !length.is_multiple_of(4) {
        return Err(Malformed::Field { at, field: "list length" });
    }
    let list = read::slice(bytes, at, length)?;
    let (mut next, mut entries) = (LIST_HEAD_BYTES, Vec::new());
    // At most 65,535 entries, each of at least 16 bytes inside the list.
    for _ in 0..count {
        let length = usize::from(read::u16_le(list, next.saturating_add(2))?);
        if length < 16 || !length.is_multiple_of(4) {
            return Err(Malformed::Field { at: at.saturating_add(next), field: "entry length" });
        }
        entries.push(entry(read::slice(list, next, length)?, at.saturating_add(next))?);
        next = next.saturating_add(length);
    }
    Ok(entries)
}

/// Reads an entry that lies at `at` of the descriptor.
fn entry(bytes: &[u8], at: usize) -> Result<Entry<'_>, Malformed> {
    let (kind, flags, mask) = (read::u8(bytes, 0)?, read::u8(bytes, 1)?, read::u32_le(bytes, 4)?);
    let (mut next, mut object, mut inheritor) = (8usize, None, None);
    match kind {
        0..=3 | 0x09 | 0x0a | 0x0d | 0x0e | 0x11..=0x14 => {}
        0x05..=0x08 | 0x0b | 0x0c | 0x0f | 0x10 => {
            let present = read::u32_le(bytes, next)?;
            next = next.saturating_add(4);
            let mut guid = |is_present: bool| -> Result<Option<Guid>, Malformed> {
                if !is_present {
                    return Ok(None);
                }
                let guid = Guid(read::array(bytes, next)?);
                next = next.saturating_add(16);
                Ok(Some(guid))
            };
            (object, inheritor) = (guid(present & 1 != 0)?, guid(present & 2 != 0)?);
        }
        _ => return Err(Malformed::Field { at, field: "entry type" }),
    }
    let sid = Sid::parse(bytes, next)?.ok_or(Malformed::Field { at: at.saturating_add(next), field: "SID" })?;
    let data = bytes.get(next.saturating_add(sid.len_bytes())..).unwrap_or(&[]);
    Ok(Entry { kind, flags, mask, object, inheritor, sid, data })
}

impl fmt::Display for Descriptor<'_> {
    /// Writes SDDL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(owner) = &self.owner {
            write!(f, "O:{}", letters(owner))?;
        }
        if let Some(group) = &self.group {
            write!(f, "G:{}", letters(group))?;
        }
        let has = |bit: u16, text: &'static str| if self.control & bit != 0 { text } else { "" };
        let dacl = [
            has(control::DACL_PROTECTED, "P"),
            has(control::DACL_AUTO_INHERIT_REQUIRED, "AR"),
            has(control::DACL_AUTO_INHERITED, "AI"),
        ];
        self.dacl.write(f, "D:", &dacl)?;
        let sacl = [
            has(control::SACL_PROTECTED, "P"),
            has(control::SACL_AUTO_INHERIT_REQUIRED, "AR"),
            has(control::SACL_AUTO_INHERITED, "AI"),
        ];
        self.sacl.write(f, "S:", &sacl)
    }
}

impl List<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str, flags: &[&str; 3]) -> fmt::Result {
        let entries = match self {
            Self::Absent => return Ok(()),
            Self::Null => return write!(f, "{name}{}NO_ACCESS_CONTROL", flags.concat()),
            Self::Entries(entries) => entries,
        };
        write!(f, "{name}{}", flags.concat())?;
        entries.iter().try_for_each(|entry| write!(f, "{entry}"))
    }
}

/// The letters of each entry type (MS-DTYP 2.5.1.1); an empty text for those that have none.
const KINDS: [&str; 21] =
    ["A", "D", "AU", "AL", "", "OA", "OD", "OU", "OL", "XA", "XD", "ZA", "", "XU", "", "", "", "ML", "RA", "SP", "TL"];
/// The letters of each flag, from the lowest bit.
const FLAGS: [&str; 8] = ["OI", "CI", "NP", "IO", "ID", "CR", "SA", "FA"];
/// Rights that have letters as a whole: files, keys.
const WHOLE_RIGHTS: [(u32, &str); 7] = [
    (0x1f_01ff, "FA"),
    (0x12_0089, "FR"),
    (0x12_0116, "FW"),
    (0x12_00a0, "FX"),
    (0x0f_003f, "KA"),
    (0x02_0019, "KR"),
    (0x02_0006, "KW"),
];
/// Rights that have letters bit by bit, in the order in which Windows writes them.
const SINGLE_RIGHTS: [(u32, &str); 17] = [
    (0x0000_0001, "CC"),
    (0x0000_0002, "DC"),
    (0x0000_0004, "LC"),
    (0x0000_0008, "SW"),
    (0x0000_0010, "RP"),
    (0x0000_0020, "WP"),
    (0x0000_0040, "DT"),
    (0x0000_0080, "LO"),
    (0x0000_0100, "CR"),
    (0x0001_0000, "SD"),
    (0x0002_0000, "RC"),
    (0x0004_0000, "WD"),
    (0x0008_0000, "WO"),
    (0x1000_0000, "GA"),
    (0x2000_0000, "GX"),
    (0x4000_0000, "GW"),
    (0x8000_0000, "GR"),
];
/// The rights of a mandatory label.
const LABEL_RIGHTS: [(u32, &str); 3] = [(1, "NW"), (2, "NR"), (4, "NX")];
/// The type of a mandatory label.
const MANDATORY_LABEL: u8 = 0x11;

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KINDS.get(usize::from(self.kind)).filter(|letters| !letters.is_empty()) {
            Some(letters) => write!(f, "({letters};")?,
            None => write!(f, "({:#x};", self.kind)?,
        }
        // CR, the fifth, has the bit that marks critical entries of some types.
        for (_, letters) in FLAGS.iter().enumerate().filter(|(bit, _)| self.flags >> bit & 1 != 0) {
            f.write_str(letters)?;
        }
        let guid = |guid: &Option<Guid>| guid.map_or_else(String::new, |guid| guid.to_string());
        let (object, inheritor) = (guid(&self.object), guid(&self.inheritor));
        write!(f, ";{};{object};{inheritor};{}", rights(self.kind, self.mask), letters(&self.sid))?;
        if self.data.iter().any(|byte| *byte != 0) {
            write!(f, ";(0x")?;
            self.data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str(")")?;
        }
        f.write_str(")")
    }
}

fn letters(sid: &Sid) -> String {
    sid.abbreviation().map_or_else(|| sid.to_string(), str::to_owned)
}

/// Writes rights: letters where letters say all of them, else hex.
fn rights(kind: u8, mask: u32) -> String {
    let singles = if kind == MANDATORY_LABEL { &LABEL_RIGHTS[..] } else { &SINGLE_RIGHTS };
    let whole = WHOLE_RIGHTS.iter().find(|(rights, _)| *rights == mask && kind != MANDATORY_LABEL);
    let covered = singles.iter().fold(0, |all, (right, _)| all | right);
    match whole {
        Some((_, letters)) => (*letters).to_owned(),
        None if mask & !covered == 0 => {
            singles.iter().filter(|(right, _)| mask & right != 0).map(|(_, letters)| *letters).collect()
        }
        None => format!("{mask:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(control: u16, owner: Option<&Sid>, dacl: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes[0] = 1;
        bytes[2..4].copy_from_slice(&(control | 0x8000).to_le_bytes());
        if let Some(dacl) = dacl {
            bytes[16..20].copy_from_slice(&(HEAD_BYTES as u32).to_le_bytes());
            bytes.extend_from_slice(dacl);
        }
        if let Some(owner) = owner {
            let at = bytes.len() as u32;
            bytes[4..8].copy_from_slice(&at.to_le_bytes());
            bytes.extend(owner.to_bytes());
        }
        bytes
    }

    fn list(entries: &[(u8, u8, u32, Sid)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, flags, mask, sid) in entries {
            let sid = sid.to_bytes();
            body.extend([*kind, *flags]);
            body.extend(((8 + sid.len()) as u16).to_le_bytes());
            body.extend(mask.to_le_bytes());
            body.extend(sid);
        }
        let mut list = vec![2, 0];
        list.extend(((8 + body.len()) as u16).to_le_bytes());
        list.extend((entries.len() as u16).to_le_bytes());
        list.extend([0, 0]);
        list.extend(body);
        list
    }

    #[test]
    fn the_text_of_the_windows_folder_is_what_windows_writes() {
        let (co, sy, ba, bu) =
            (Sid::new(3, &[0]), Sid::new(5, &[18]), Sid::new(5, &[32, 544]), Sid::new(5, &[32, 545]));
        let installer = Sid::new(5, &[80, 956_008_885, 3_418_522_649, 1_831_038_044, 1_853_292_631, 2_271_478_464]);
        let dacl = list(&[
            (0, 0x0b, 0x1000_0000, co),
            (0, 0, 0x13_01bf, sy),
            (0, 0x0b, 0x1000_0000, ba),
            (0, 0x0b, 0xa000_0000, bu.clone()),
            (0, 0, 0x12_00a9, bu),
            (0, 0, 0x1f_01ff, installer.clone()),
        ]);
        let bytes = built(0x1404, Some(&installer), Some(&dacl));
        assert_eq!(
            Descriptor::parse(&bytes).unwrap().to_string(),
            "O:S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464D:PAI(A;OICIIO;GA;;;CO)(A;;0x1301bf;;;SY)\
             (A;OICIIO;GA;;;BA)(A;OICIIO;GXGR;;;BU)(A;;0x1200a9;;;BU)\
             (A;;FA;;;S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464)"
        );
    }

    #[test]
    fn rights_have_letters_where_letters_say_all_of_them() {
        let cases = [
            (0, 0x02_01fd, "CCLCSWRPWPDTLOCRRC"),
            (0, 0x0f_01ff, "CCDCLCSWRPWPDTLOCRSDRCWDWO"),
            (0, 0xe001_0000, "SDGXGWGR"),
            (0, 0x02_0019, "KR"),
            (0, 0x10_0000, "0x100000"),
            (0x11, 3, "NWNR"),
            (0, 0, ""),
        ];
        for (kind, mask, text) in cases {
            assert_eq!(rights(kind, mask), text);
        }
    }

    #[test]
    fn no_list_a_null_list_and_an_empty_list_are_told_apart() {
        let text = |bytes: &[u8]| Descriptor::parse(bytes).unwrap().to_string();
        assert_eq!(text(&built(0, None, None)), "");
        assert_eq!(text(&built(4, None, None)), "D:NO_ACCESS_CONTROL");
        assert_eq!(text(&built(4, None, Some(&list(&[])))), "D:");
    }

    #[test]
    fn no_cut_and_no_changed_byte_makes_the_reader_panic() {
        let owner = Sid::new(5, &[32, 544]);
        let whole = built(4, Some(&owner), Some(&list(&[(0, 3, 0x1f_01ff, owner.clone()), (1, 0, 1, owner.clone())])));
        assert!(Descriptor::parse(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(Descriptor::parse(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = Descriptor::parse(&bytes).map(|descriptor| descriptor.to_string());
            }
        }
    }
}
