//! The ring of security cells: closed, with exact reference counts, every descriptor well-formed and only once.

use std::collections::HashMap;

use zerocopy::FromBytes;

use super::{Rule, Verifier};
use crate::layout::KeySecurity;
use crate::security::is_descriptor;
use coldforge_base::CellOffset;

impl<'h> Verifier<'h, '_> {
    /// Follows the ring from each security cell in use. Ends, because each cell is taken once.
    pub(super) fn ring(&mut self) {
        let mut starts: Vec<CellOffset> = self.references.keys().copied().collect();
        starts.sort_unstable();
        let mut ring: HashMap<CellOffset, &'h KeySecurity> = HashMap::new();
        let mut descriptors: HashMap<&'h [u8], CellOffset> = HashMap::new();
        for start in starts {
            if ring.contains_key(&start) {
                continue;
            }
            if !ring.is_empty() {
                self.error(Rule::SecurityRing, start);
            }
            let (mut at, mut before) = (start, None);
            let closed = loop {
                if let Some(first) = ring.get(&at) {
                    break Some(*first);
                }
                let Some((head, descriptor)) = self.security_cell(at) else { break None };
                ring.insert(at, head);
                if let Some(before) = before {
                    self.link(at, head, before);
                }
                self.references_of(at, head);
                if !is_descriptor(descriptor) {
                    self.error(Rule::Descriptor, at);
                }
                if descriptors.insert(descriptor, at).is_some() {
                    self.error(Rule::DescriptorTwice, at);
                }
                before = Some(at);
                at = CellOffset(head.next.get());
            };
            if let (Some(first), Some(before)) = (closed, before) {
                self.link(at, first, before);
            }
        }
    }

    fn security_cell(&mut self, at: CellOffset) -> Option<(&'h KeySecurity, &'h [u8])> {
        let payload = self.take(at)?;
        let read = KeySecurity::ref_from_prefix(payload).ok().filter(|(head, _)| head.signature == *b"sk");
        let read = read.and_then(|(head, rest)| Some((head, rest.get(..head.descriptor_len.get() as usize)?)));
        if read.is_none() {
            self.error(Rule::Security, at);
        }
        read
    }

    fn link(&mut self, at: CellOffset, head: &KeySecurity, before: CellOffset) {
        if head.previous.get() != before.0 {
            self.wrong(Rule::SecurityRing, at, head.previous.get(), before.0);
        }
    }

    fn references_of(&mut self, at: CellOffset, head: &KeySecurity) {
        let (actual, expected) = (head.references.get(), self.references.get(&at).copied().unwrap_or(0));
        if actual != expected || expected == 0 {
            self.wrong(Rule::SecurityReferences, at, actual, expected);
        }
    }
}
