//! Subkey lists: leaves of the kinds `lf`, `lh` and `li`, and the index `ri` of leaves.
//!
//! All of a key's leaves together are sorted by the upper-cased names; an index never holds another index.

use std::cmp::Ordering;

use zerocopy::FromBytes;

use super::layout::KeyIndex;
use super::name::Name;
use super::{Error, Hive, Key, Result, tail};
use coldforge_base::{CellOffset, read};

/// The kind of a leaf.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `lf`: each key with its name's first four characters.
    Hinted,
    /// `lh`: each key with its name's hash.
    Hashed,
    /// `li`: keys alone.
    Plain,
}

impl Kind {
    /// Returns the kind that a new leaf has in a hive of this minor version.
    pub(super) fn for_minor(minor: u32) -> Self {
        if minor >= 5 { Self::Hashed } else { Self::Hinted }
    }

    /// Returns the two bytes that a leaf of this kind begins with.
    pub(super) fn signature(self) -> [u8; 2] {
        match self {
            Self::Hinted => *b"lf",
            Self::Hashed => *b"lh",
            Self::Plain => *b"li",
        }
    }

    /// Returns the size of an entry in bytes.
    pub(super) fn entry_len(self) -> usize {
        match self {
            Self::Hinted | Self::Hashed => 8,
            Self::Plain => 4,
        }
    }

    /// Returns how many entries fill `len` bytes.
    pub(super) fn count(self, len: usize) -> usize {
        match self {
            Self::Hinted | Self::Hashed => len / 8,
            Self::Plain => len / 4,
        }
    }

    /// Returns an entry of this kind.
    pub(super) fn entry(self, child: CellOffset, name: Name<'_>) -> Vec<u8> {
        let mut entry = child.0.to_le_bytes().to_vec();
        match self {
            Self::Hinted => entry.extend_from_slice(&name.hint()),
            Self::Hashed => entry.extend_from_slice(&name.hash().to_le_bytes()),
            Self::Plain => {}
        }
        entry
    }
}

/// A leaf: a sorted piece of a key's subkeys.
#[derive(Clone, Copy)]
pub(super) struct Leaf<'h> {
    pub at: CellOffset,
    pub kind: Kind,
    /// The entries in use.
    pub entries: &'h [u8],
    /// Bytes for entries, used or not.
    pub room_len: usize,
}

impl<'h> Leaf<'h> {
    /// Returns the number of subkeys.
    pub(super) fn len(&self) -> usize {
        self.kind.count(self.entries.len())
    }

    /// Returns the subkeys' cells, each with its hint or hash.
    pub(super) fn children(&self) -> impl Iterator<Item = (CellOffset, Option<[u8; 4]>)> + use<'h> {
        self.entries.chunks_exact(self.kind.entry_len()).filter_map(|entry| {
            // An entry has at least four bytes.
            let cell = read::u32_le(entry, 0).ok()?;
            Some((CellOffset(cell), read::array(entry, 4).ok()))
        })
    }

    /// Returns the cell of the subkey at `index`.
    pub(super) fn child(&self, index: usize) -> Result<CellOffset> {
        self.children().nth(index).map(|child| child.0).ok_or(Error::NoCell { at: self.at })
    }
}

/// A list cell, read.
pub(super) enum List<'h> {
    /// A leaf.
    Leaf(Leaf<'h>),
    /// An index: the cells of leaves.
    Index(Vec<CellOffset>),
}

impl<'h> List<'h> {
    /// Reads a list from the payload of its cell.
    pub(super) fn parse(at: CellOffset, payload: &'h [u8]) -> Result<Self> {
        let head = size_of::<KeyIndex>();
        let short = Error::CellTooShort { at, expected: head, actual: payload.len() };
        let Ok((index, rest)) = KeyIndex::ref_from_prefix(payload) else { return Err(short) };
        let count = usize::from(index.count.get());
        let kind = match &index.signature {
            b"lf" => Kind::Hinted,
            b"lh" => Kind::Hashed,
            b"li" => Kind::Plain,
            b"ri" => {
                let entries = tail(at, rest, head, count.saturating_mul(4))?;
                let leaves = entries.chunks_exact(4).filter_map(|entry| read::u32_le(entry, 0).ok());
                return Ok(Self::Index(leaves.map(CellOffset).collect()));
            }
            _ => return Err(Error::Signature { at, expected: "a subkey list", actual: index.signature }),
        };
        let entries = tail(at, rest, head, count.saturating_mul(kind.entry_len()))?;
        Ok(Self::Leaf(Leaf { at, kind, entries, room_len: rest.len() }))
    }
}

impl Hive {
    /// Reads the list cell at `at`.
    pub(super) fn list(&self, at: CellOffset) -> Result<List<'_>> {
        List::parse(at, self.cell(at)?)
    }

    /// Reads the leaf at `at`, where an index is not allowed.
    pub(super) fn leaf(&self, at: CellOffset) -> Result<Leaf<'_>> {
        match self.list(at)? {
            List::Leaf(leaf) => Ok(leaf),
            List::Index(_) => Err(Error::Signature { at, expected: "a leaf of subkeys", actual: *b"ri" }),
        }
    }

    /// Returns the leaves of the list at `at`.
    ///
    /// # Errors
    /// [`Error::ListTooLong`] if they have more entries than the hive has room for keys (80 bytes each): no reader
    /// has to do more work than that, whatever a hostile index repeats.
    pub(super) fn leaves(&self, at: CellOffset) -> Result<Vec<Leaf<'_>>> {
        let leaves = match self.list(at)? {
            List::Leaf(leaf) => return Ok(vec![leaf]),
            List::Index(leaves) => leaves,
        };
        let mut room = (self.header.bins_len / 80) as usize;
        let mut read = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let leaf = self.leaf(leaf)?;
            room = room.checked_sub(leaf.len().max(1)).ok_or(Error::ListTooLong { at })?;
            read.push(leaf);
        }
        Ok(read)
    }

    /// Finds the subkey of this name in the list at `at`: by halving, and if that fails one by one, for the sake of
    /// hives whose order is broken.
    pub(super) fn find_subkey(&self, at: CellOffset, name: &str) -> Result<Option<Key<'_>>> {
        let leaves = self.leaves(at)?;
        if let Some(leaf) = leaves.get(self.leaf_for(&leaves, name)?) {
            let index = self.lower_bound(leaf, name)?;
            if index < leaf.len() {
                let key = Key::at(self, leaf.child(index)?)?;
                if key.name().is(name) {
                    return Ok(Some(key));
                }
            }
        }
        let hash = super::upcase::hash(name.encode_utf16()).to_le_bytes();
        for (child, mark) in leaves.iter().filter(|leaf| leaf.kind == Kind::Hashed).flat_map(Leaf::children) {
            if mark == Some(hash) {
                let key = Key::at(self, child)?;
                if key.name().is(name) {
                    return Ok(Some(key));
                }
            }
        }
        for (child, _) in leaves.iter().filter(|leaf| leaf.kind != Kind::Hashed).flat_map(Leaf::children) {
            let key = Key::at(self, child)?;
            if key.name().is(name) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Returns the number of the leaf in which a key of this name is, or belongs: the last one that does not begin
    /// behind it, else the first.
    pub(super) fn leaf_for(&self, leaves: &[Leaf<'_>], name: &str) -> Result<usize> {
        let after = partition(leaves.len(), |number| {
            let leaf = leaves.get(number).filter(|leaf| leaf.len() > 0);
            let Some(leaf) = leaf else { return Ok(true) };
            Ok(Key::at(self, leaf.child(0)?)?.name().compare_text(name) != Ordering::Greater)
        })?;
        Ok(after.saturating_sub(1))
    }

    /// Returns the number of the first entry whose name is not before `name`.
    pub(super) fn lower_bound(&self, leaf: &Leaf<'_>, name: &str) -> Result<usize> {
        partition(
            leaf.len(),
            |index| Ok(Key::at(self, leaf.child(index)?)?.name().compare_text(name) == Ordering::Less),
        )
    }
}

/// Returns the first number below `len` for which `before` is false, or `len`; halves, so at most 64 questions.
fn partition(len: usize, before: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = usize::midpoint(low, high);
        if before(middle)? {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}
