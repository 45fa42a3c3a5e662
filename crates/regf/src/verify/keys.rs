//! Keys: nodes, parents, names, classes, and the lists of subkeys.

use super::{BATCH, Pending, Rule, Severity, Verifier, number};
use crate::Key;
use crate::bin::pointer;
use crate::layout::{DEPTH_MAX, KEY_NAME_MAX, KEY_NOT_ON_DISK, NIL};
use crate::list::{Kind, Leaf, List};
use crate::name::Name;
use coldforge_base::CellOffset;

/// Keys in a leaf that Windows may have written: 1,012 fill the cell of an `li`, 968 were seen in an `lh`.
const LEAF_MAX: usize = 1012;
/// Key flags of which no version says what they are.
const FLAGS_UNKNOWN: u16 = 0xec00;

impl<'h> Verifier<'h, '_> {
    /// Visits every key that lists lead to from the root. Ends, because each cell is taken once.
    pub(super) fn keys(&mut self) {
        let root = self.first();
        self.pending.extend(root);
        self.visit_pending();
        self.settle();
    }

    /// Takes the root.
    pub(super) fn first(&mut self) -> Option<Pending<'h>> {
        match self.hive.root() {
            Ok(root) => self.claim(root.cell()).then_some((root, None, 0)),
            Err(_) => {
                self.error(Rule::Dangling, self.hive.header.root);
                None
            }
        }
    }

    /// Visits the keys that are pending, and all below them.
    pub(super) fn visit_pending(&mut self) {
        while let Some(next) = self.pending.pop() {
            self.visit(next);
        }
    }

    /// Checks a key with its values and lists; its subkeys are pending then, the first one last.
    pub(super) fn visit(&mut self, (key, parent, depth): Pending<'h>) {
        if depth > DEPTH_MAX {
            return self.error(Rule::Depth, key.cell());
        }
        self.node(&key, parent);
        self.values(&key);
        self.subkeys(&key, depth);
    }

    fn node(&mut self, key: &Key<'h>, parent: Option<CellOffset>) {
        let (at, node) = (key.cell(), key.node());
        let flags = node.flags.get();
        if key.has_root_flag() != parent.is_none() {
            let relaxed = parent.is_none() && self.hive.header.offline;
            self.tell(if relaxed { Severity::Warning } else { Severity::Error }, Rule::Root, at, 0, 0);
        }
        if flags & KEY_NOT_ON_DISK != 0 {
            self.error(Rule::KeyFlags, at);
        }
        if flags & FLAGS_UNKNOWN != 0 {
            self.warn(Rule::KeyFlagsUnknown, at);
        }
        let name = key.name();
        let backslash = parent.is_some() && name.contains(b'\\');
        if name.is_empty() || backslash || !is_stored_rightly(name, KEY_NAME_MAX) {
            self.error(Rule::KeyName, at);
        }
        if let Some(parent) = parent.filter(|parent| parent.0 != node.parent.get()) {
            self.wrong(Rule::Parent, at, node.parent.get(), parent.0);
        }
        self.refer(CellOffset(node.security.get()), 1);
        self.class(at, node.class.get(), node.class_len.get());
    }

    fn class(&mut self, at: CellOffset, class: u32, length: u16) {
        match pointer(class) {
            None if length == 0 => {}
            Some(cell) if length > 0 => {
                if self.take(cell).is_some_and(|payload| payload.len() < usize::from(length)) {
                    self.error(Rule::Class, at);
                }
            }
            _ => self.error(Rule::Class, at),
        }
    }

    fn subkeys(&mut self, key: &Key<'h>, depth: usize) {
        let (at, node) = (key.cell(), key.node());
        if node.subkey_count.get() == 0 {
            if node.subkey_list.get() != NIL {
                self.error(Rule::ListEmpty, at);
            }
            return;
        }
        let leaves = self.leaves(CellOffset(node.subkey_list.get()));
        let first = self.pending.len();
        let (mut count, mut longest, mut longest_class) = (0usize, 0usize, 0u16);
        let mut last: Option<Name<'h>> = None;
        for leaf in &leaves {
            count = count.saturating_add(leaf.len());
            let mut children = leaf.children();
            loop {
                let hive = self.hive;
                let mut batch = std::mem::take(&mut self.batch.0);
                batch.clear();
                let next = children.by_ref().take(BATCH);
                batch.extend(next.map(|(child, mark)| (child, mark, Key::at(hive, child).ok())));
                for (child, mark, key) in &batch {
                    let Some(key) = key else {
                        self.absent(*child);
                        continue;
                    };
                    let name = key.name();
                    self.mark(leaf, name, *mark);
                    if last.is_some_and(|last| last.compare(name).is_ge()) {
                        self.error(Rule::SubkeyOrder, *child);
                    }
                    last = Some(name);
                    longest = longest.max(name.len());
                    longest_class = longest_class.max(key.node().class_len.get());
                    if self.claim(*child) {
                        self.pending.push((*key, Some(at), depth.saturating_add(1)));
                    }
                }
                let done = batch.len() < BATCH;
                self.batch.0 = batch;
                if done {
                    break;
                }
            }
        }
        if number(count) != node.subkey_count.get() {
            self.wrong(Rule::SubkeyCount, at, node.subkey_count.get(), number(count));
        }
        let (largest, longest) = (u32::from(node.largest_subkey_name.get()), number(longest.saturating_mul(2)));
        if largest < longest {
            let severity = if self.hive.header.xp { Severity::Warning } else { Severity::Error };
            self.tell(severity, Rule::LargestSubkeyName, at, largest, longest);
        }
        if node.largest_class.get() < u32::from(longest_class) {
            self.wrong(Rule::LargestClass, at, node.largest_class.get(), u32::from(longest_class));
        }
        // They are taken from the end: first subkey first, as they mostly lie in the file.
        if let Some(children) = self.pending.get_mut(first..) {
            children.reverse();
        }
    }

    fn mark(&mut self, leaf: &Leaf<'h>, name: Name<'_>, mark: Option<[u8; 4]>) {
        let expected = match leaf.kind {
            Kind::Hashed => name.hash().to_le_bytes(),
            Kind::Hinted => name.hint(),
            Kind::Plain => return,
        };
        let actual = mark.unwrap_or_default();
        if actual != expected {
            self.wrong(Rule::Mark, leaf.at, u32::from_le_bytes(actual), u32::from_le_bytes(expected));
        }
    }

    /// Returns the readable leaves of a list.
    fn leaves(&mut self, at: CellOffset) -> Vec<Leaf<'h>> {
        match self.list(at) {
            Some(List::Leaf(leaf)) => vec![leaf],
            Some(List::Index(leaves)) => {
                let mut read = Vec::with_capacity(leaves.len());
                for at in leaves {
                    match self.list(at) {
                        Some(List::Leaf(leaf)) => read.push(leaf),
                        Some(List::Index(_)) => self.error(Rule::ListKind, at),
                        None => {}
                    }
                }
                read
            }
            None => Vec::new(),
        }
    }

    fn list(&mut self, at: CellOffset) -> Option<List<'h>> {
        let payload = self.take(at)?;
        let list = match List::parse(at, payload) {
            Ok(list) => list,
            Err(crate::Error::Signature { .. }) => {
                self.error(Rule::ListKind, at);
                return None;
            }
            Err(_) => {
                self.error(Rule::ListLength, at);
                return None;
            }
        };
        let (len, allowed) = match &list {
            List::Leaf(leaf) => (leaf.len(), (leaf.kind == Kind::Hashed) == (self.hive.header.minor >= 5)),
            List::Index(leaves) => (leaves.len(), true),
        };
        if len == 0 {
            self.error(Rule::ListEmpty, at);
            return None;
        }
        if !allowed {
            self.error(Rule::ListKind, at);
        }
        if len > LEAF_MAX && matches!(list, List::Leaf(_)) {
            self.tell(Severity::Warning, Rule::ListLong, at, number(len), number(LEAF_MAX));
        }
        Some(list)
    }
}

/// Tells whether a name keeps its limit, and is Latin-1 if it can be.
pub(super) fn is_stored_rightly(name: Name<'_>, units_max: usize) -> bool {
    let could_be_latin1 = || name.units().all(|unit| unit <= 0xff);
    name.len() <= units_max && (name.is_compressed() || name.is_empty() || !could_be_latin1())
}
