//! Counting the keys that use a security cell, and the members of the ring.

use std::mem::offset_of;

use super::Transaction;
use crate::layout::KeySecurity;
use crate::verify::{Rule, Severity};
use crate::{Error, Hive, Result};
use coldforge_base::CellOffset;

impl Hive {
    /// Sets the reference counts of security descriptors to the number of keys that use each, if wrong counts are all that is
    /// wrong with the hive; returns how many were set. `None` if a descriptor is used by no key, or something else is wrong:
    /// nothing is changed then.
    ///
    /// # Errors
    /// What contradicts the format.
    pub fn mend_references(&mut self) -> Result<Option<usize>> {
        let errors: Vec<_> = self.verify().into_iter().filter(|finding| finding.severity == Severity::Error).collect();
        let is_count = |rule: Rule, expected: u32| rule == Rule::SecurityReferences && expected > 0;
        if !errors.iter().all(|finding| is_count(finding.rule, finding.expected)) {
            return Ok(None);
        }
        self.transact(|t| {
            let put = |finding: &crate::Finding| (finding.at, finding.expected);
            errors
                .iter()
                .map(put)
                .try_for_each(|(at, expected)| t.put_u32(at, offset_of!(KeySecurity, references), expected))
        })?;
        Ok(Some(errors.len()))
    }
}

impl Transaction<'_> {
    /// Counts one key more that uses the security cell at `at`.
    ///
    /// # Errors
    /// [`Error::References`] if the count cannot go further.
    pub(super) fn refer(&mut self, at: CellOffset) -> Result<()> {
        let actual = self.hive().security_cell(at)?.0.references.get();
        let more = actual.checked_add(1).ok_or(Error::References { at, actual })?;
        self.put_u32(at, offset_of!(KeySecurity, references), more)
    }

    /// Counts one key less that uses the security cell at `at`; takes it out of the ring and frees it with the last.
    ///
    /// # Errors
    /// [`Error::References`] if the count is zero already, or if the ring would lose its only member: the root key
    /// uses one. [`Error::Ring`] if a neighbour does not point back.
    pub(super) fn release(&mut self, at: CellOffset) -> Result<()> {
        let (head, _) = self.hive().security_cell(at)?;
        let actual = head.references.get();
        let (next, previous) = (CellOffset(head.next.get()), CellOffset(head.previous.get()));
        let less = actual.checked_sub(1).ok_or(Error::References { at, actual })?;
        if less > 0 {
            return self.put_u32(at, offset_of!(KeySecurity, references), less);
        }
        if next == at || previous == at {
            return Err(Error::References { at, actual });
        }
        if self.hive().security_cell(next)?.0.previous.get() != at.0 {
            return Err(Error::Ring { at: next });
        }
        if self.hive().security_cell(previous)?.0.next.get() != at.0 {
            return Err(Error::Ring { at: previous });
        }
        self.put_u32(previous, offset_of!(KeySecurity, next), next.0)?;
        self.put_u32(next, offset_of!(KeySecurity, previous), previous.0)?;
        self.free(at)
    }

    /// Returns the security cell with this descriptor, counted for one key more: the one in the ring that `near` is
    /// in, or a new one behind `near`.
    ///
    /// # Errors
    /// [`Error::Ring`], [`Error::References`], [`Error::DataTooLong`], and what contradicts the format in the ring.
    pub(super) fn security_like(&mut self, near: CellOffset, descriptor: &[u8]) -> Result<CellOffset> {
        if let Some(found) = self.hive().find_descriptor(near, descriptor)? {
            self.refer(found)?;
            return Ok(found);
        }
        let next = CellOffset(self.hive().security_cell(near)?.0.next.get());
        let long = |_| Error::DataTooLong { actual: descriptor.len() };
        let length = u32::try_from(descriptor.len()).map_err(long)?;
        let words = [next.0, near.0, 1, length].map(u32::to_le_bytes).concat();
        let new = self.store(&[&b"sk\0\0"[..], &words, descriptor].concat())?;
        // In a ring of one both are the same cell.
        self.put_u32(next, offset_of!(KeySecurity, previous), new.0)?;
        self.put_u32(near, offset_of!(KeySecurity, next), new.0)?;
        Ok(new)
    }
}
