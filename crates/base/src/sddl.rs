//! The text of security descriptors (SDDL, MS-DTYP 2.5.1), read into their self-relative form.
//!
//! Takes what [`Descriptor`](super::descriptor::Descriptor) writes and what Windows writes, but for letters that mean
//! another SID on every machine or domain (`DA`, `LA`), and conditional expressions as text: both are refused.

use thiserror::Error;

use super::guid::Guid;
use super::sid::Sid;
use crate::{Failure, hex};

/// Why a text is no security descriptor.
#[derive(Clone, Debug, Eq, Error, PartialEq, Failure)]
#[error("the security descriptor `{text}` lacks {expected}")]
#[failure(
    refused,
    "E-SDDL",
    hint = "write the descriptor as `O:BAG:SYD:P(A;OICI;FA;;;SY)`, with the SIDs of a domain in full"
)]
pub struct Error {
    /// What is wrong, from the place where it is.
    pub text: String,
    /// What should be there.
    pub expected: &'static str,
}

const SELF_RELATIVE: u16 = 0x8000;
const HEAD_BYTES: usize = 20;
/// What a list may be long: its length has 16 bits.
const MOST_LIST_BYTES: usize = 0xfffc;

/// The control bits of a list: present, protected, to be inherited automatically, inherited automatically.
struct Bits {
    present: u16,
    protected: u16,
    required: u16,
    inherited: u16,
}

const DACL: Bits = Bits { present: 0x0004, protected: 0x1000, required: 0x0100, inherited: 0x0400 };
const SACL: Bits = Bits { present: 0x0010, protected: 0x2000, required: 0x0200, inherited: 0x0800 };

/// The letters of each entry type that has some (MS-DTYP 2.5.1.1).
const KINDS: [(&str, u8); 17] = [
    ("A", 0x00),
    ("D", 0x01),
    ("AU", 0x02),
    ("AL", 0x03),
    ("OA", 0x05),
    ("OD", 0x06),
    ("OU", 0x07),
    ("OL", 0x08),
    ("XA", 0x09),
    ("XD", 0x0a),
    ("ZA", 0x0b),
    ("XU", 0x0d),
    ("ML", 0x11),
    ("RA", 0x12),
    ("SP", 0x13),
    ("TL", 0x14),
    ("FL", 0x15),
];
const FLAGS: [(&str, u8); 8] =
    [("OI", 1), ("CI", 2), ("NP", 4), ("IO", 8), ("ID", 0x10), ("CR", 0x20), ("SA", 0x40), ("FA", 0x80)];
const RIGHTS: [(&str, u32); 27] = [
    ("FA", 0x001f_01ff),
    ("FR", 0x0012_0089),
    ("FW", 0x0012_0116),
    ("FX", 0x0012_00a0),
    ("KA", 0x000f_003f),
    ("KR", 0x0002_0019),
    ("KW", 0x0002_0006),
    ("KX", 0x0002_0019),
    ("CC", 1),
    ("DC", 2),
    ("LC", 4),
    ("SW", 8),
    ("RP", 0x10),
    ("WP", 0x20),
    ("DT", 0x40),
    ("LO", 0x80),
    ("CR", 0x100),
    ("SD", 0x1_0000),
    ("RC", 0x2_0000),
    ("WD", 0x4_0000),
    ("WO", 0x8_0000),
    ("GA", 0x1000_0000),
    ("GX", 0x2000_0000),
    ("GW", 0x4000_0000),
    ("GR", 0x8000_0000),
    ("NW", 1),
    ("NR", 2),
];
const MANDATORY_LABEL: u8 = 0x11;
/// The type of an entry about a property: it has a word of flags and GUIDs before its SID.
const OBJECT_KINDS: [u8; 8] = [0x05, 0x06, 0x07, 0x08, 0x0b, 0x0c, 0x0f, 0x10];

/// Reads a text and returns the self-relative descriptor, laid out as Windows does: lists first, then owner and group.
///
/// # Errors
/// [`Error`](struct@Error).
pub fn parse(text: &str) -> Result<Vec<u8>, Error> {
    let mut control = SELF_RELATIVE;
    let (mut owner, mut group, mut dacl, mut sacl) = (None, None, None, None);
    let mut rest = text.trim();
    // Each turn takes a part's letter, and each part may stand there once.
    while !rest.is_empty() {
        let wrong = |expected| Error { text: rest.to_owned(), expected };
        let (letter, body) = rest.split_once(':').ok_or(wrong("`O:`, `G:`, `D:` or `S:`"))?;
        let end = end_of_part(body);
        let (part, next) = (body.get(..end).unwrap_or_default(), body.get(end..).unwrap_or_default());
        match letter {
            "O" if owner.is_none() => owner = Some(sid(part.trim())?),
            "G" if group.is_none() => group = Some(sid(part.trim())?),
            "D" if dacl.is_none() => dacl = Some(list(part, &DACL, &mut control)?),
            "S" if sacl.is_none() => sacl = Some(list(part, &SACL, &mut control)?),
            _ => return Err(wrong("one of `O:`, `G:`, `D:` and `S:`, each once")),
        }
        rest = next;
    }
    let parts = [owner.map(|sid| sid.to_bytes()), group.map(|sid| sid.to_bytes()), sacl.flatten(), dacl.flatten()];
    let mut bytes = vec![1, 0];
    bytes.extend(control.to_le_bytes());
    let mut body = Vec::new();
    let mut offsets = [0u32; 4];
    // The order on disk is another than that of the offsets.
    for index in [2, 3, 0, 1] {
        if let Some(part) = &parts[index] {
            let at = HEAD_BYTES + body.len();
            offsets[index] = u32::try_from(at).unwrap_or(u32::MAX);
            body.extend_from_slice(part);
        }
    }
    bytes.extend(offsets.into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(body);
    Ok(bytes)
}

/// Returns where a part ends: before the letter and colon of the next one, outside brackets.
fn end_of_part(body: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in body.char_indices() {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => return at.saturating_sub(1),
            _ => {}
        }
    }
    body.len()
}

fn sid(text: &str) -> Result<Sid, Error> {
    let found = Sid::from_abbreviation(text).or_else(|| text.parse().ok());
    found.ok_or(Error { text: text.to_owned(), expected: "a SID, or its letters where they mean the same everywhere" })
}

/// Reads a list, and sets its control bits; `None` for a null one.
fn list(text: &str, bits: &Bits, control: &mut u16) -> Result<Option<Vec<u8>>, Error> {
    let wrong = |expected| Error { text: text.to_owned(), expected };
    *control |= bits.present;
    let begin = text.find('(').unwrap_or(text.len());
    let mut flags = text.get(..begin).unwrap_or_default().trim();
    let mut is_null = false;
    while !flags.is_empty() {
        let known = [("P", bits.protected), ("AR", bits.required), ("AI", bits.inherited), ("NO_ACCESS_CONTROL", 0)];
        let found = known.iter().find_map(|(word, bit)| Some((flags.strip_prefix(word)?, *bit)));
        let (rest, bit) = found.ok_or(wrong("`P`, `AR`, `AI` or entries"))?;
        is_null |= bit == 0;
        *control |= bit;
        flags = rest;
    }
    let mut rest = text.get(begin..).unwrap_or_default().trim();
    if is_null {
        return if rest.is_empty() { Ok(None) } else { Err(wrong("no entry in a list without access control")) };
    }
    let (mut body, mut count, mut revision) = (Vec::new(), 0u16, 2u8);
    while !rest.is_empty() {
        let end = end_of_entry(rest).ok_or(wrong("an entry between brackets"))?;
        let entry = entry(rest.get(1..end).unwrap_or_default())?;
        if entry.first().is_some_and(|kind| OBJECT_KINDS.contains(kind)) {
            revision = 4;
        }
        body.extend(entry);
        count = count.checked_add(1).ok_or(wrong("fewer entries"))?;
        rest = rest.get(end.saturating_add(1)..).unwrap_or_default().trim_start();
    }
    let length = body.len().saturating_add(8);
    let length = u16::try_from(length).ok().filter(|length| usize::from(*length) <= MOST_LIST_BYTES);
    let mut list = vec![revision, 0];
    list.extend(length.ok_or(wrong("fewer entries"))?.to_le_bytes());
    list.extend(count.to_le_bytes());
    list.extend([0, 0]);
    list.extend(body);
    Ok(Some(list))
}

/// Returns where the entry's last bracket is.
fn end_of_entry(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' if depth == 1 => return Some(at),
            ')' => depth = depth.checked_sub(1)?,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Reads an entry, without its brackets.
fn entry(text: &str) -> Result<Vec<u8>, Error> {
    let wrong = |expected| Error { text: text.to_owned(), expected };
    let fields: Vec<&str> = text.splitn(7, ';').map(str::trim).collect();
    let [kind, flags, mask, object, inheritor, holder, more @ ..] = fields.as_slice() else {
        return Err(wrong("six fields"));
    };
    let known = KINDS.iter().find(|(letters, _)| letters == kind).map(|(_, number)| *number);
    let hex = |text: &str| u32::try_from(hex::number(text.strip_prefix("0x")?)?).ok();
    let kind = known.or_else(|| u8::try_from(hex(kind)?).ok()).ok_or(wrong("a type of entry"))?;
    let mut entry = vec![kind, letters(flags, &FLAGS).ok_or(wrong("flags"))?, 0, 0];
    let mask = match hex(mask).or_else(|| mask.parse().ok()) {
        Some(mask) => mask,
        None if kind == MANDATORY_LABEL => {
            letters(mask, &[("NW", 1), ("NR", 2), ("NX", 4)]).ok_or(wrong("rights of a label"))?
        }
        None => letters(mask, &RIGHTS[..RIGHTS.len() - 2]).ok_or(wrong("rights"))?,
    };
    entry.extend(mask.to_le_bytes());
    let guid = |text: &&str| match text.is_empty() {
        true => Ok(None),
        false => Guid::from_text(text).map(Some).ok_or(wrong("a GUID")),
    };
    let (object, inheritor) = (guid(object)?, guid(inheritor)?);
    match OBJECT_KINDS.contains(&kind) {
        true => {
            entry.extend((u32::from(object.is_some()) | u32::from(inheritor.is_some()) << 1).to_le_bytes());
            entry.extend(object.iter().chain(&inheritor).flat_map(|guid| guid.0));
        }
        false if object.is_some() || inheritor.is_some() => return Err(wrong("a type of entry that has GUIDs")),
        false => {}
    }
    entry.extend(sid(holder)?.to_bytes());
    if let [more] = more {
        let digits = more.strip_prefix("(0x").and_then(|text| text.strip_suffix(')'));
        entry.extend(digits.and_then(hex::decode).ok_or(wrong("data of hex digits: `(0x..)`"))?);
    }
    entry.resize(entry.len().next_multiple_of(4), 0);
    let length = u16::try_from(entry.len()).map_err(|_| wrong("less data"))?;
    entry[2..4].copy_from_slice(&length.to_le_bytes());
    Ok(entry)
}

/// Joins the bits of letters that stand in pairs.
fn letters<T: Copy + Default + std::ops::BitOr<Output = T>>(text: &str, known: &[(&str, T)]) -> Option<T> {
    let mut bits = T::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (pair, next) = (rest.get(..2)?, rest.get(2..)?);
        bits = bits | known.iter().find(|(letters, _)| *letters == pair)?.1;
        rest = next;
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::super::descriptor::Descriptor;
    use super::*;

    #[test]
    fn a_text_that_is_written_again_is_the_same() {
        for text in [
            "",
            "O:BA",
            "O:BAG:SYD:P(A;OICI;FA;;;SY)(D;;KR;;;AN)",
            "D:NO_ACCESS_CONTROL",
            "D:PNO_ACCESS_CONTROL",
            "D:",
            "D:PAI(A;OICIIO;GA;;;CO)(A;;0x1301bf;;;SY)(A;;FA;;;S-1-5-80-956008885-3418522649)",
            "G:S-1-5-21-1-2-3-513D:ARAI(A;CIID;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;BU)S:AI(AU;SAFA;WD;;;WD)(ML;;NWNR;;;LW)",
            "D:(OA;CI;RPWP;bf967a68-0de6-11d0-a285-00aa003049e2;bf967aba-0de6-11d0-a285-00aa003049e2;S-1-5-21-1-2-3-4)",
            "D:(OA;;RP;;bf967aba-0de6-11d0-a285-00aa003049e2;PS)(XA;;FX;;;WD;(0x61727478f8000000))",
        ] {
            let bytes = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(Descriptor::parse(&bytes).unwrap().to_string(), text);
        }
        let same = parse(" O:S-1-5-32-544 D:(A;;0x001F01FF;;;S-1-5-18) (A;;1;;;BU) ").unwrap();
        assert_eq!(Descriptor::parse(&same).unwrap().to_string(), "O:BAD:(A;;FA;;;SY)(A;;CC;;;BU)");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "X:BA",
            "O",
            "O:",
            "O:DA",
            "O:BAO:BA",
            "D:X",
            "D:(A;;FA;;;SY",
            "D:(A;;FA;;SY)",
            "D:(A;;FA;;;)",
            "D:(Q;;FA;;;SY)",
            "D:(A;XX;FA;;;SY)",
            "D:(A;;FAX;;;SY)",
            "D:(A;;NR;;;SY)",
            "D:(A;;FA;bf967aba-0de6-11d0-a285-00aa003049e2;;SY)",
            "D:(OA;;FA;bf967aba;;SY)",
            "D:(XA;;FX;;;WD;(@User.a == 1))",
            "D:(A;;FA;;;SY)x",
            "D:NO_ACCESS_CONTROL(A;;FA;;;SY)",
            "D:))((",
            "ä:",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let long = format!("D:{}", "(A;;FA;;;SY)".repeat(4000));
        assert!(parse(&long).is_err());
    }
}
