//! Directories: the `$I30` index, a B-tree of names.
//!
//! Facts: INDEX_ROOT, INDEX_ALLOCATION_BUFFER, INDEX_ENTRY with a FILE_NAME as key. A child's VCN counts clusters if a
//! cluster is not larger than an index block, else units of 512 bytes. Reading only.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::error::Place;
use super::layout::{self, DUP_FILE_NAME_INDEX_PRESENT, IndexHeader, STRIDE_BYTES, entry_flag, kind, view};
use super::record::Reference;
use super::segments::Segments;
use super::stream::Stream;
use super::upcase::Upcase;
use super::{Error, Result, Volume, fixup};
use coldforge_base::{ReadAt, Vcn, read, utf16};

/// An entry of a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The file that the entry leads to.
    pub reference: Reference,
    /// The name; unpaired surrogates are U+FFFD.
    pub name: String,
    /// Which names of the file this one is.
    pub namespace: Namespace,
    /// Whether the file is a directory.
    pub is_directory: bool,
}

/// Which names of a file one is (FILE_NAME's flags).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Namespace {
    /// Any name; no twin.
    Posix,
    /// A long name, whose twin is an 8.3 name.
    Win32,
    /// An 8.3 name, whose twin is a long name.
    Dos,
    /// A name that is an 8.3 name as well; no twin.
    Win32AndDos,
}

/// The index of one directory.
#[derive(Debug)]
pub(super) struct Index {
    directory: Reference,
    root: Vec<u8>,
    allocation: Option<Stream>,
    block_bytes: usize,
    vcn_bytes: u64,
}

/// The name of a directory's index, in UTF-16LE.
pub(super) const I30: &[u8] = b"$\0I\x003\x000\0";

/// The largest index root that is read: it lies in a record of at most 4096 bytes.
const MOST_ROOT_BYTES: u64 = 4096;

impl Index {
    /// Opens the index of a directory.
    ///
    /// # Errors
    /// [`Error::MissingAttribute`] if there is none, [`Error::Field`] if it is not an index of names.
    pub fn open<D: ReadAt>(volume: &Volume<D>, directory: &Segments) -> Result<Self> {
        let number = directory.base.number();
        let root = volume.stream(directory, kind::INDEX_ROOT, I30)?;
        let root = root.ok_or(Error::MissingAttribute { record: number, kind: kind::INDEX_ROOT })?;
        let root = root.read_all(&volume.device, &volume.geometry, MOST_ROOT_BYTES)?;
        let place = Place::IndexRoot { directory: number, byte: 0 };
        let header: &layout::IndexRoot = view(&root, 0).map_err(place.cut())?;
        let field = |byte: usize, field, actual| Err(Error::Field { place: place.plus(byte), field, actual });
        let (indexed, collation) = (header.indexed_kind.get(), header.collation.get());
        if indexed != kind::FILE_NAME {
            return field(0, "the indexed attribute", indexed.into());
        }
        if collation != layout::COLLATION_FILE_NAME {
            return field(4, "the collation rule", collation.into());
        }
        let block_bytes = header.block_bytes.get() as usize;
        if !block_bytes.is_power_of_two() || !(STRIDE_BYTES..=0x1_0000).contains(&block_bytes) {
            return field(8, "the size of an index block", block_bytes as u64);
        }
        let cluster_bytes = volume.geometry.cluster_bytes;
        let vcn_bytes = if cluster_bytes <= block_bytes as u64 { cluster_bytes } else { STRIDE_BYTES as u64 };
        let allocation = volume.stream(directory, kind::INDEX_ALLOCATION, I30)?;
        Ok(Self { directory: directory.base.reference(), root, allocation, block_bytes, vcn_bytes })
    }

    /// Returns all entries in their order, without the 8.3 names of files that have a long one.
    ///
    /// # Errors
    /// What is wrong with a block, its entries or their order; the device's.
    pub fn list<D: ReadAt>(&self, volume: &Volume<D>) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        let mut last: Option<Vec<u16>> = None;
        let mut path = vec![self.root_node()?.steps(self.directory)?.into_iter()];
        // Each block is entered once at most, and the blocks lie in the volume.
        while let Some(node) = path.last_mut() {
            match node.next() {
                None => {
                    path.pop();
                }
                Some(Step::Child(vcn)) => {
                    path.push(self.block(volume, vcn, &mut seen)?.steps(self.directory)?.into_iter());
                }
                Some(Step::Key(key)) => {
                    key.check_order(last.as_deref(), &volume.upcase)?;
                    if key.namespace != Namespace::Dos {
                        entries.push(key.entry());
                    }
                    last = Some(key.name);
                }
            }
        }
        Ok(entries)
    }

    /// Returns the entry whose name is `name` but for the case of letters; 8.3 names count.
    ///
    /// # Errors
    /// As [`Index::list`], and [`Error::AmbiguousName`] if several files fit.
    pub fn find<D: ReadAt>(&self, volume: &Volume<D>, name: &[u16]) -> Result<Option<Entry>> {
        let mut found: Option<Entry> = None;
        let mut seen = HashSet::new();
        let mut node = self.root_node()?;
        let mut todo = Vec::new();
        // Each block is entered once at most. Names that differ only by case stand side by side, perhaps in several
        // blocks: all are looked at.
        loop {
            for key in self.matches(&node, name, &volume.upcase, &mut todo)? {
                let other = found.replace(key.entry());
                if other.is_some_and(|other| other.reference != key.reference) {
                    return Err(Error::AmbiguousName { directory: self.directory.record() });
                }
            }
            match todo.pop() {
                None => return Ok(found),
                Some(vcn) => node = self.block(volume, vcn, &mut seen)?,
            }
        }
    }

    /// Returns the keys of a node that equal `name`, and adds to `todo` the children that may hold more of them.
    fn matches(&self, node: &Node, name: &[u16], upcase: &Upcase, todo: &mut Vec<Vcn>) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        let mut last: Option<Vec<u16>> = None;
        let (mut child, mut passed) = (None, false);
        for step in node.steps(self.directory)? {
            match step {
                Step::Child(vcn) => child = Some(vcn),
                Step::Key(key) => {
                    key.check_order(last.as_deref(), upcase)?;
                    let order = upcase.compare(name, &key.name);
                    if order != Ordering::Greater && !passed {
                        todo.extend(child);
                        passed = order == Ordering::Less;
                    }
                    last = Some(key.name.clone());
                    if order == Ordering::Equal {
                        keys.push(key);
                    }
                }
            }
        }
        // The child of the end entry holds what is greater than every key.
        if !passed {
            todo.extend(child);
        }
        Ok(keys)
    }

    fn root_node(&self) -> Result<Node> {
        let place = Place::IndexRoot { directory: self.directory.record(), byte: 0 };
        Node::new(place, self.root.clone(), layout::INDEX_ROOT_HEADER)
    }

    /// Reads the block at `vcn`, which must not have been `seen` before.
    fn block<D: ReadAt>(&self, volume: &Volume<D>, vcn: Vcn, seen: &mut HashSet<Vcn>) -> Result<Node> {
        let directory = self.directory.record();
        if !seen.insert(vcn) {
            return Err(Error::IndexLoop { directory, vcn });
        }
        let missing = Error::MissingAttribute { record: directory, kind: kind::INDEX_ALLOCATION };
        let allocation = self.allocation.as_ref().ok_or(missing)?;
        let mut bytes = vec![0; self.block_bytes];
        allocation.read(&volume.device, &volume.geometry, vcn.0.saturating_mul(self.vcn_bytes), &mut bytes)?;
        let place = Place::IndexBlock { directory, vcn, byte: 0 };
        fixup::undo(&mut bytes, *b"INDX", place)?;
        let header: &layout::IndexBlock = view(&bytes, 0).map_err(place.cut())?;
        let own = header.vcn.get();
        if own != vcn.0 {
            return Err(Error::Field { place: place.plus(0x10), field: "the VCN of an index block", actual: own });
        }
        Node::new(place, bytes, layout::INDEX_BLOCK_HEADER)
    }
}

/// An index root or an index block.
struct Node {
    place: Place,
    bytes: Vec<u8>,
    header: usize,
}

/// What an ordered walk meets in a node.
enum Step {
    Child(Vcn),
    Key(Key),
}

/// The key of an entry.
struct Key {
    place: Place,
    reference: Reference,
    name: Vec<u16>,
    namespace: Namespace,
    file_attributes: u32,
}

impl Node {
    fn new(place: Place, bytes: Vec<u8>, header: usize) -> Result<Self> {
        let fields: &IndexHeader = view(&bytes, header).map_err(place.cut())?;
        let (used, allocated) = (fields.used.get(), fields.allocated.get());
        let room = bytes.len().saturating_sub(header) as u64;
        if u64::from(allocated) > room {
            let place = place.plus(header).plus(8);
            return Err(Error::Field { place, field: "the allocated size of a node", actual: allocated.into() });
        }
        if used > allocated {
            let place = place.plus(header).plus(4);
            return Err(Error::Field { place, field: "the used size of a node", actual: used.into() });
        }
        Ok(Self { place, bytes, header })
    }

    /// Returns children and keys in their order.
    fn steps(&self, directory: Reference) -> Result<Vec<Step>> {
        let fields: &IndexHeader = view(&self.bytes, self.header).map_err(self.place.cut())?;
        let has_children = fields.flags & 1 != 0;
        let used = self.header.saturating_add(fields.used.get() as usize);
        let bytes = self.bytes.get(..used).unwrap_or(&self.bytes);
        let mut at = self.header.saturating_add(fields.first_entry.get() as usize);
        let mut steps = Vec::new();
        // Each turn moves on by at least the 16 bytes of an entry, inside a block of at most 64 KiB.
        loop {
            let place = self.place.plus(at);
            let entry: &layout::IndexEntry = view(bytes, at).map_err(place.cut())?;
            let (length, flags) = (usize::from(entry.length.get()), entry.flags.get());
            if length < size_of::<layout::IndexEntry>() || length % 8 != 0 {
                return Err(Error::Field {
                    place: place.plus(8),
                    field: "the length of an index entry",
                    actual: length as u64,
                });
            }
            let whole = read::slice(bytes, at, length).map_err(place.cut())?;
            if (flags & entry_flag::NODE != 0) != has_children {
                return Err(Error::Field {
                    place: place.plus(12),
                    field: "the flags of an index entry",
                    actual: flags.into(),
                });
            }
            if has_children {
                let child = read::u64_le(whole, length.saturating_sub(8)).map_err(place.cut())?;
                steps.push(Step::Child(Vcn(child)));
            }
            if flags & entry_flag::LAST != 0 {
                if at.saturating_add(length) != used {
                    let field = "the used size of a node";
                    return Err(Error::Field { place: self.place, field, actual: fields.used.get().into() });
                }
                return Ok(steps);
            }
            let room = length.saturating_sub(if has_children { 24 } else { 16 });
            let key_length = usize::from(entry.key_length.get());
            let key = read::slice(whole, size_of::<layout::IndexEntry>(), key_length).map_err(place.cut())?;
            if key_length > room {
                return Err(Error::Field {
                    place: place.plus(10),
                    field: "the length of a key",
                    actual: key_length as u64,
                });
            }
            steps.push(Step::Key(Key::parse(key, Reference(entry.reference.get()), directory, place)?));
            at = at.saturating_add(length);
        }
    }
}

impl Key {
    fn parse(key: &[u8], reference: Reference, directory: Reference, place: Place) -> Result<Self> {
        let fields: &layout::FileName = view(key, 0).map_err(place.cut())?;
        let parent = Reference(fields.parent.get());
        if parent != directory {
            return Err(Error::Field { place: place.plus(0x10), field: "the parent of a name", actual: parent.0 });
        }
        let name_bytes = usize::from(fields.name_units).saturating_mul(2);
        let name = read::slice(key, size_of::<layout::FileName>(), name_bytes).map_err(place.cut())?;
        let namespace = match fields.namespace {
            0 => Namespace::Posix,
            1 => Namespace::Win32,
            2 => Namespace::Dos,
            3 => Namespace::Win32AndDos,
            actual => {
                return Err(Error::Field {
                    place: place.plus(0x51),
                    field: "the namespace of a name",
                    actual: actual.into(),
                });
            }
        };
        let file_attributes = fields.file_attributes.get();
        Ok(Self { place, reference, name: utf16::units(name), namespace, file_attributes })
    }

    /// Checks that the name before this one does not belong behind it.
    fn check_order(&self, before: Option<&[u16]>, upcase: &Upcase) -> Result<()> {
        match before {
            Some(before) if upcase.compare(before, &self.name) == Ordering::Greater => {
                Err(Error::IndexOrder { place: self.place })
            }
            _ => Ok(()),
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            reference: self.reference,
            name: String::from_utf16_lossy(&self.name),
            namespace: self.namespace,
            is_directory: self.file_attributes & DUP_FILE_NAME_INDEX_PRESENT != 0,
        }
    }
}
