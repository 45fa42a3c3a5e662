//! Security cells (`sk`): a ring of all descriptors in the hive, each once, with the number of keys that use it.
//!
//! The shape of a descriptor is checked here (MS-DTYP 2.4.6); what it grants is not this floor's matter.

use super::layout::{CELL_HEADER_LEN, KeySecurity};
use super::{Error, Hive, Result, tail};
use crate::base::{CellOffset, read};

impl Hive {
    /// Returns the security cell at `at`: its head, and the bytes behind it.
    pub(super) fn security_cell(&self, at: CellOffset) -> Result<(&KeySecurity, &[u8])> {
        let (head, rest) = self.structure::<KeySecurity>(at)?;
        if head.signature != *b"sk" {
            return Err(Error::Signature { at, expected: "a security descriptor", actual: head.signature });
        }
        Ok((head, rest))
    }

    /// Returns the member with this descriptor of the ring that `start` is in.
    ///
    /// # Errors
    /// [`Error::Ring`] if a neighbour does not point back, or if the ring has more members than the hive has room for
    /// cells of that kind; what contradicts the format in a member.
    pub(super) fn find_descriptor(&self, start: CellOffset, descriptor: &[u8]) -> Result<Option<CellOffset>> {
        let head_len = size_of::<KeySecurity>();
        let most = self.extent_len().checked_div(head_len.saturating_add(CELL_HEADER_LEN as usize)).unwrap_or(0);
        let mut at = start;
        for _ in 0..most {
            let (head, rest) = self.security_cell(at)?;
            if tail(at, rest, head_len, head.descriptor_len.get() as usize)? == descriptor {
                return Ok(Some(at));
            }
            let next = CellOffset(head.next.get());
            if self.security_cell(next)?.0.previous.get() != at.0 {
                return Err(Error::Ring { at: next });
            }
            if next == start {
                return Ok(None);
            }
            at = next;
        }
        Err(Error::Ring { at: start })
    }
}

/// Tells whether `bytes` are a well-formed self-relative descriptor: owner, group and lists inside, aligned and
/// without overlap, every entry of a known type and inside its list.
pub(super) fn is_descriptor(bytes: &[u8]) -> bool {
    shape(bytes).is_some()
}

/// Tells whether a well-formed descriptor names an owner: Windows does not accept one without.
pub(super) fn has_owner(bytes: &[u8]) -> bool {
    read::u32_le(bytes, 4).is_ok_and(|owner| owner != 0)
}

fn shape(bytes: &[u8]) -> Option<()> {
    let word = |at| read::u32_le(bytes, at).ok();
    let (revision, control) = (read::u8(bytes, 0).ok()?, read::u16_le(bytes, 2).ok()?);
    let [owner, group, sacl, dacl] = [word(4)?, word(8)?, word(12)?, word(16)?].map(|at| at as usize);
    if revision != 1 || control & 0x8000 == 0 {
        return None;
    }
    let mut spans = Vec::with_capacity(4);
    for at in [owner, group].into_iter().filter(|at| *at != 0) {
        spans.push((at, at.checked_add(sid_len(bytes, at)?)?));
    }
    for (at, present) in [(sacl, 0x10), (dacl, 0x04)] {
        // A list whose bit is not set is not looked into, but its bytes are its own.
        if at != 0
            && let Ok(length) = read::u16_le(bytes, at.saturating_add(2))
        {
            spans.push((at, at.checked_add(usize::from(length))?));
        }
        if at != 0 && control & present != 0 {
            acl(bytes, at)?;
        }
    }
    spans.sort_unstable();
    let apart = spans.iter().zip(spans.iter().skip(1)).all(|(before, after)| before.1 <= after.0);
    let placed = [owner, group, sacl, dacl].iter().all(|at| *at == 0 || (*at >= 20 && at % 4 == 0));
    (apart && placed).then_some(())
}

/// Checks the access control list at `at`.
fn acl(bytes: &[u8], at: usize) -> Option<()> {
    let revision = read::u8(bytes, at).ok()?;
    let length = usize::from(read::u16_le(bytes, at.checked_add(2)?).ok()?);
    let count = read::u16_le(bytes, at.checked_add(4)?).ok()?;
    if !(2..=4).contains(&revision) || length < 8 || length % 4 != 0 {
        return None;
    }
    let list = read::slice(bytes, at, length).ok()?;
    let mut next = 8usize;
    // At most 65,535 entries, each inside the list.
    for _ in 0..count {
        let kind = read::u8(list, next).ok()?;
        let length = usize::from(read::u16_le(list, next.checked_add(2)?).ok()?);
        if length < 16 || length % 4 != 0 {
            return None;
        }
        let entry = read::slice(list, next, length).ok()?;
        let sid = match kind {
            // Header and mask; for the object types also two optional GUIDs.
            0..=3 | 0x09 | 0x0a | 0x0d | 0x0e | 0x11..=0x14 => 8,
            0x05..=0x08 | 0x0b | 0x0c | 0x0f | 0x10 => match read::u32_le(entry, 8).ok()? & 3 {
                0 => 12,
                3 => 44,
                _ => 28,
            },
            _ => return None,
        };
        sid_len(entry, sid)?;
        next = next.checked_add(length)?;
    }
    Some(())
}

/// Returns the length in bytes of the SID at `at`, if one is there.
fn sid_len(bytes: &[u8], at: usize) -> Option<usize> {
    let (revision, count) = (read::u8(bytes, at).ok()?, read::u8(bytes, at.checked_add(1)?).ok()?);
    let length = usize::from(count).checked_mul(4)?.checked_add(8)?;
    (revision == 1 && count <= 15 && read::slice(bytes, at, length).is_ok()).then_some(length)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::sample::DESCRIPTOR;
    use super::*;

    #[test]
    fn a_descriptor_is_recognized_and_no_cut_of_it_is() {
        assert!(is_descriptor(&DESCRIPTOR));
        for length in 0..DESCRIPTOR.len() {
            assert!(!is_descriptor(&DESCRIPTOR[..length]), "{length}");
        }
    }

    #[test]
    fn a_descriptor_with_a_wrong_part_is_not_recognized() {
        // Revision, control, owner, group, list, and the list's revision, size, entry type and entry size.
        for (at, byte) in [(0, 2), (3, 0), (4, 3), (8, 21), (16, 24), (20, 9), (22, 7), (28, 0x60), (30, 6), (37, 16)] {
            let mut bytes = DESCRIPTOR;
            bytes[at] = byte;
            assert!(!is_descriptor(&bytes), "byte {at}");
        }
    }
}
