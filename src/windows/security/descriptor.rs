//! Who may ask the LSA which name belongs to a SID: the descriptor in the unnamed value of `Policy\SecDesc`.
//!
//! The security option *Allow anonymous SID/Name translation* is nothing but the access check of ANONYMOUS LOGON
//! (S-1-5-7) for POLICY_LOOKUP_NAMES: an entry that allows it is in the list in both states, and one that denies it
//! precedes it if the option is off. Entries of other kinds are kept byte by byte; one that could decide the
//! question in a way that is not known here is refused.
//!
//! Source: MS-DTYP 2.4.4 to 2.4.6, MS-LSAD 2.2.1.1.2; real hives in both states.

use super::super::UnusableValue;
use super::super::unusable_value::Structure;
use coldforge_base::read;
use coldforge_base::sid::Sid;

/// POLICY_LOOKUP_NAMES.
const LOOKUP_NAMES: u32 = 0x0800;
/// The bytes of the descriptor's header; every part comes after it.
const HEAD_BYTES: usize = 20;
/// The bytes of the list's head.
const LIST_HEAD_BYTES: usize = 8;
/// Where the head tells the places of owner, group, audit list and access list.
const PLACES: [usize; 4] = [4, 8, 12, 16];
const SELF_RELATIVE: u16 = 0x8000;
const DACL_PRESENT: u16 = 0x0004;
const INHERIT_ONLY: u8 = 0x08;
const ALLOWED: u8 = 0;
const DENIED: u8 = 1;

/// The descriptor of the LSA's policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyDescriptor {
    bytes: Vec<u8>,
    /// Where the access list is.
    list: usize,
    entries: Vec<AccessEntry>,
}

/// An entry of the access list.
#[derive(Clone, Debug, Eq, PartialEq)]
struct AccessEntry {
    at: usize,
    length: usize,
    kind: u8,
    flags: u8,
    /// Rights and whom they are for, if the entry plainly allows or denies.
    plain: Option<(u32, Sid)>,
}

impl AccessEntry {
    /// Returns whether this entry decides whether ANONYMOUS LOGON may ask for names.
    fn decides(&self) -> bool {
        let anonymous = Sid::new(5, &[7]);
        let plain = self.plain.as_ref();
        self.flags & INHERIT_ONLY == 0 && plain.is_some_and(|(mask, sid)| mask & LOOKUP_NAMES != 0 && *sid == anonymous)
    }
}

impl PolicyDescriptor {
    /// Reads the value.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if it is not a self-relative descriptor with an access list, or its parts overlap.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnusableValue> {
        let malformed = |at, field| Structure::PolicyDescriptor.malformed(at, field, bytes.len());
        let cut = |at| move |_| malformed(at, "end");
        let control = read::u16_le(bytes, 2).map_err(cut(2))?;
        if read::u8(bytes, 0) != Ok(1) {
            return Err(malformed(0, "revision"));
        }
        if control & (SELF_RELATIVE | DACL_PRESENT) != SELF_RELATIVE | DACL_PRESENT {
            return Err(malformed(2, "control"));
        }
        let mut spans = Vec::with_capacity(4);
        let mut list = 0;
        for place in PLACES {
            let at = read::u32_le(bytes, place).map_err(cut(place))? as usize;
            let is_list = place >= 12;
            if at == 0 && place != 16 {
                continue;
            }
            if at < HEAD_BYTES || !at.is_multiple_of(4) {
                return Err(malformed(place, "offset"));
            }
            let length = if is_list {
                read::u16_le(bytes, at.saturating_add(2)).map_err(cut(at))?.into()
            } else {
                Sid::parse(bytes, at).map_err(cut(at))?.ok_or_else(|| malformed(at, "SID"))?.len_bytes()
            };
            if length < LIST_HEAD_BYTES {
                return Err(malformed(at, "list length"));
            }
            read::slice(bytes, at, length).map_err(cut(at))?;
            spans.push((at, at.saturating_add(length)));
            list = at;
        }
        spans.sort_unstable();
        if let Some((_, after)) = spans.iter().zip(spans.iter().skip(1)).find(|(one, two)| one.1 > two.0) {
            return Err(malformed(after.0, "overlap"));
        }
        let entries = entries(bytes, list)?;
        Ok(Self { bytes: bytes.to_vec(), list, entries })
    }

    /// Returns the value.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether ANONYMOUS LOGON may ask which name belongs to a SID.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if an entry of a kind that is not evaluated here could decide it.
    pub fn allows_anonymous(&self) -> Result<bool, UnusableValue> {
        for entry in &self.entries {
            if entry.decides() {
                return Ok(entry.kind == ALLOWED);
            }
            // Compound, object and conditional entries that allow or deny.
            if matches!(entry.kind, 0x04..=0x06 | 0x09..=0x0c) {
                return Err(Structure::PolicyDescriptor.malformed(entry.at, "entry type", self.bytes.len()));
            }
        }
        Ok(false)
    }

    /// Lets ANONYMOUS LOGON ask for names, or forbids it: puts an entry that denies before all others, or takes such
    /// entries away. Nothing changes if it already holds.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] as [`PolicyDescriptor::allows_anonymous`]; if the list is too long for another entry; if
    /// no entry would be left that allows it, because how wide a right would be granted is not for this to choose.
    pub fn allow_anonymous(&mut self, allow: bool) -> Result<(), UnusableValue> {
        if self.allows_anonymous()? == allow {
            return Ok(());
        }
        let mut next = self.clone();
        if allow {
            while let Some(entry) = next.entries.iter().find(|entry| entry.kind == DENIED && entry.decides()) {
                next = next.without(&entry.clone())?;
            }
        } else {
            next = next.with_denial()?;
        }
        if next.allows_anonymous()? != allow {
            return Err(Structure::PolicyDescriptor.malformed(self.list, "list that allows", self.bytes.len()));
        }
        *self = next;
        Ok(())
    }

    /// Returns the descriptor with an entry before all others that denies.
    fn with_denial(&self) -> Result<Self, UnusableValue> {
        let sid = Sid::new(5, &[7]).to_bytes();
        let length = 20u16;
        let entry = [&[DENIED, 0][..], &length.to_le_bytes(), &LOOKUP_NAMES.to_le_bytes(), &sid].concat();
        self.replaced(self.list.saturating_add(LIST_HEAD_BYTES), 0, &entry, 1)
    }

    /// Returns the descriptor with an entry that no longer denies: without it, or without the one right.
    fn without(&self, entry: &AccessEntry) -> Result<Self, UnusableValue> {
        match entry.plain.as_ref().map(|(mask, _)| mask & !LOOKUP_NAMES) {
            Some(rest) if rest != 0 => self.replaced(entry.at.saturating_add(4), 4, &rest.to_le_bytes(), 0),
            _ => self.replaced(entry.at, entry.length, &[], -1),
        }
    }

    /// Returns the descriptor with other bytes at a place inside its access list, which then has `more` entries more:
    /// whatever follows the list moves.
    fn replaced(&self, at: usize, length: usize, new: &[u8], more: i16) -> Result<Self, UnusableValue> {
        let failed = |field| Structure::PolicyDescriptor.malformed(self.list, field, self.bytes.len());
        let moved = |old: usize| {
            let new = old.checked_add(new.len()).and_then(|sum| sum.checked_sub(length));
            new.ok_or_else(|| failed("list length"))
        };
        let mut bytes = self.bytes.clone();
        let end = at.checked_add(length).filter(|end| *end <= bytes.len()).ok_or_else(|| failed("end"))?;
        bytes.splice(at..end, new.iter().copied());
        let cut = |_| failed("end");
        for place in PLACES {
            let part = read::u32_le(&self.bytes, place).map_err(cut)? as usize;
            if part > self.list {
                let part = u32::try_from(moved(part)?).map_err(|_| failed("offset"))?;
                read::put_u32_le(&mut bytes, place, part).map_err(cut)?;
            }
        }
        let field = |offset| self.list.saturating_add(offset);
        let size = moved(read::u16_le(&self.bytes, field(2)).map_err(cut)?.into())?;
        let size = u16::try_from(size).map_err(|_| failed("list length"))?;
        read::put_u16_le(&mut bytes, field(2), size).map_err(cut)?;
        let count = read::u16_le(&self.bytes, field(4)).map_err(cut)?;
        let count = count.checked_add_signed(more).ok_or_else(|| failed("number of entries"))?;
        read::put_u16_le(&mut bytes, field(4), count).map_err(cut)?;
        Self::decode(&bytes)
    }
}

/// Reads the entries of the list at `at`.
fn entries(bytes: &[u8], at: usize) -> Result<Vec<AccessEntry>, UnusableValue> {
    let malformed = |at, field| Structure::PolicyDescriptor.malformed(at, field, bytes.len());
    let cut = |_| malformed(at, "end");
    let length = usize::from(read::u16_le(bytes, at.saturating_add(2)).map_err(cut)?);
    let count = read::u16_le(bytes, at.saturating_add(4)).map_err(cut)?;
    if !matches!(read::u8(bytes, at), Ok(2..=4)) {
        return Err(malformed(at, "list revision"));
    }
    let end = at.saturating_add(length);
    let (mut next, mut entries) = (at.saturating_add(LIST_HEAD_BYTES), Vec::new());
    // At most 65,535 entries, each of at least four bytes inside the list.
    for _ in 0..count {
        let length = usize::from(read::u16_le(bytes, next.saturating_add(2)).map_err(cut)?);
        let behind = next.saturating_add(length);
        if length < 4 || !length.is_multiple_of(4) || behind > end {
            return Err(malformed(next, "entry length"));
        }
        let entry = read::slice(bytes, next, length).map_err(cut)?;
        let (kind, flags) = (read::u8(entry, 0).map_err(cut)?, read::u8(entry, 1).map_err(cut)?);
        let plain = match kind {
            ALLOWED | DENIED => {
                let whole = |_| malformed(next, "entry length");
                let mask = read::u32_le(entry, 4).map_err(whole)?;
                let sid = Sid::parse(entry, 8).map_err(whole)?.ok_or_else(|| malformed(next, "SID"))?;
                Some((mask, sid))
            }
            _ => None,
        };
        entries.push(AccessEntry { at: next, length, kind, flags, plain });
        next = behind;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;
    use coldforge_base::descriptor::Descriptor;

    fn entry(kind: u8, flags: u8, mask: u32, sid: &Sid) -> Vec<u8> {
        let sid = sid.to_bytes();
        [&[kind, flags][..], &(8 + sid.len() as u16).to_le_bytes(), &mask.to_le_bytes(), &sid].concat()
    }

    /// Returns a descriptor with these entries, its owner and group after the list, or before it.
    fn built(entries: &[Vec<u8>], list_first: bool) -> Vec<u8> {
        let body = entries.concat();
        let length = (8 + body.len()) as u16;
        let mut list = vec![2, 0];
        list.extend(length.to_le_bytes());
        list.extend((entries.len() as u16).to_le_bytes());
        list.extend([0, 0]);
        list.extend(body);
        let (owner, group) = (Sid::new(5, &[32, 544]).to_bytes(), Sid::new(5, &[18]).to_bytes());
        let mut bytes = vec![1, 0, 4, 0x80];
        let places = if list_first { [20 + list.len(), 36 + list.len(), 0, 20] } else { [20, 36, 0, 48] };
        bytes.extend(places.iter().flat_map(|place| (*place as u32).to_le_bytes()));
        let parts = if list_first { [list, owner, group] } else { [owner, group, list] };
        bytes.extend(parts.concat());
        bytes
    }

    fn anonymous() -> Sid {
        Sid::new(5, &[7])
    }

    fn usual() -> Vec<Vec<u8>> {
        vec![
            entry(0, 0, 0xf1fff, &Sid::new(5, &[32, 544])),
            entry(0, 0, 0x20801, &Sid::new(1, &[0])),
            entry(0, 0, 0x801, &anonymous()),
        ]
    }

    #[test]
    fn a_denial_is_put_first_and_taken_away_again() {
        for list_first in [true, false] {
            let open = built(&usual(), list_first);
            let mut policy = PolicyDescriptor::decode(&open).unwrap();
            assert_eq!(policy.allows_anonymous(), Ok(true));
            policy.allow_anonymous(true).unwrap();
            assert_eq!(policy.encode(), open, "it was so already");
            policy.allow_anonymous(false).unwrap();
            let closed = policy.encode().to_vec();
            let denial = [1, 0, 0x14, 0, 0, 8, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0];
            assert_eq!(closed, built(&[vec![denial.to_vec()], usual()].concat(), list_first));
            assert_eq!(
                Descriptor::parse(&closed).unwrap().to_string(),
                "O:BAG:SYD:(D;;DT;;;AN)(A;;0xf1fff;;;BA)(A;;0x20801;;;WD)(A;;0x801;;;AN)".replace("DT", "0x800")
            );
            policy.allow_anonymous(true).unwrap();
            assert_eq!(policy.encode(), open);
        }
    }

    #[test]
    fn the_first_entry_that_speaks_of_it_decides() {
        let everyone = Sid::new(1, &[0]);
        let cases = [
            (vec![entry(1, 0, 0x800, &anonymous())], Ok(false)),
            (vec![entry(0, 0, 0x801, &anonymous()), entry(1, 0, 0x800, &anonymous())], Ok(true)),
            (vec![entry(1, 0, 0x7ff, &anonymous()), entry(0, 0, 0x800, &anonymous())], Ok(true)),
            (vec![entry(1, 8, 0x800, &anonymous()), entry(0, 0, 0x800, &anonymous())], Ok(true)),
            (vec![entry(0, 0, 0xfffff, &everyone)], Ok(false)),
            (vec![], Ok(false)),
            // An unknown kind that grants nothing, longer than any SID, and one that could.
            (
                vec![vec![0x77, 0, 24, 0].into_iter().chain([9; 20]).collect(), entry(0, 0, 0x800, &anonymous())],
                Ok(true),
            ),
            (vec![entry(9, 0, 0x800, &anonymous())], Err(Some("E-LSA-POLICY"))),
            (vec![entry(0, 0, 0x800, &anonymous()), entry(9, 0, 0x800, &anonymous())], Ok(true)),
        ];
        for (entries, expected) in cases {
            let policy = PolicyDescriptor::decode(&built(&entries, true)).unwrap();
            assert_eq!(policy.allows_anonymous().map_err(|error| error.code()), expected, "{entries:x?}");
        }
    }

    #[test]
    fn unknown_entries_and_other_rights_are_kept() {
        let unknown: Vec<u8> = [0x77, 0, 8, 0, 1, 2, 3, 4].to_vec();
        let denials = [entry(1, 0, 0x801, &anonymous()), unknown.clone(), entry(1, 0, 0x800, &anonymous())];
        let mut policy = PolicyDescriptor::decode(&built(&[denials.to_vec(), usual()].concat(), true)).unwrap();
        policy.allow_anonymous(true).unwrap();
        let kept = [vec![entry(1, 0, 1, &anonymous()), unknown], usual()].concat();
        assert_eq!(policy.encode(), built(&kept, true));
    }

    #[test]
    fn what_would_have_to_be_granted_anew_is_refused() {
        let mut policy = PolicyDescriptor::decode(&built(&[entry(1, 0, 0x800, &anonymous())], true)).unwrap();
        let before = policy.clone();
        assert_eq!(policy.allow_anonymous(true).unwrap_err().code(), Some("E-LSA-POLICY"));
        assert_eq!(policy, before);
    }

    #[test]
    fn no_cut_and_no_changed_byte_makes_it_panic_or_change_its_mind() {
        let fifteen = Sid::new(5, &[7; 15]);
        let whole = built(&[usual(), vec![entry(0, 0, 1, &fifteen)]].concat(), true);
        assert!(PolicyDescriptor::decode(&whole).is_ok());
        for length in 0..whole.len() {
            assert_eq!(
                PolicyDescriptor::decode(&whole[..length]).unwrap_err().code(),
                Some("E-LSA-POLICY"),
                "{length}"
            );
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let Ok(mut policy) = PolicyDescriptor::decode(&bytes) else { continue };
                assert_eq!(policy.encode(), bytes);
                for allow in [false, true] {
                    if policy.allow_anonymous(allow).is_ok() {
                        assert_eq!(policy.allows_anonymous(), Ok(allow));
                    }
                }
            }
        }
        let mut sixteen = whole;
        let at = sixteen.windows(8).position(|bytes| bytes == &fifteen.to_bytes()[..8]).unwrap();
        sixteen[at + 1] = 16;
        assert!(PolicyDescriptor::decode(&sixteen).is_err(), "no SID has sixteen parts");
    }
}
