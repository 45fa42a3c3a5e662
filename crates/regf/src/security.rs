//! Security cells (`sk`): a ring of all descriptors in the hive, each once, with the number of keys that use it.
//!
//! A descriptor must be well-formed (MS-DTYP 2.4.6); what it grants is not this floor's matter.

use super::layout::{CELL_HEADER_LEN, KeySecurity};
use super::{Error, Hive, Result, tail};
use coldforge_base::descriptor::Descriptor;
use coldforge_base::{CellOffset, read};

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
    Descriptor::parse(bytes).is_ok()
}

/// Tells whether a well-formed descriptor names an owner: Windows does not accept one without.
pub(super) fn has_owner(bytes: &[u8]) -> bool {
    read::u32_le(bytes, 4).is_ok_and(|owner| owner != 0)
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
