//! Reading an index: a B-tree of entries, in a directory a B-tree of names (`$I30`).
//!
//! Structures: INDEX_ROOT and INDEX_ALLOCATION_BUFFER, whose entries are cut by `index_node`; FILE_NAME as the key of a
//! directory. Blocks are read as they are needed, each once at most. Nothing here writes.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::index_node::{self, BlockSize, entries};
use super::layout::{
    DUP_FILE_NAME_INDEX_PRESENT, FileName, INDEX_BLOCK_HEADER, INDEX_ROOT_HEADER, IndexRoot, MOST_INDEX_ROOT_BYTES,
    collation, kind, name, namespace, view,
};
use super::segments::Segments;
use super::stream::Stream;
use super::upcase::Upcase;
use crate::error::{Error, Place, Result};
use crate::record::Reference;
use crate::volume::Volume;
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

/// An index of a file.
#[derive(Debug)]
pub(super) struct Index {
    file: Reference,
    root: Node,
    allocation: Option<Stream>,
    block: BlockSize,
}

impl Index {
    /// Opens the index of a directory.
    ///
    /// # Errors
    /// [`Error::MissingAttribute`] if there is none, [`Error::Field`] if it is not an index of names.
    pub fn open<D: ReadAt>(volume: &Volume<D>, directory: &Segments) -> Result<Self> {
        Self::open_named(volume, directory, name::I30, kind::FILE_NAME, collation::FILE_NAME)
    }

    /// Opens the index `name` of a file, whose keys are of attribute `indexed` (0 if of none) in the order `collation`.
    ///
    /// # Errors
    /// [`Error::MissingAttribute`] if there is none, [`Error::Field`] if it indexes something else.
    pub fn open_named<D: ReadAt>(
        volume: &Volume<D>,
        file: &Segments,
        name: &[u8],
        indexed: u32,
        collation: u32,
    ) -> Result<Self> {
        let number = file.base.number();
        let root = volume.required_stream(file, kind::INDEX_ROOT, name)?;
        let bytes = root.read_all(&volume.device, &volume.geometry, MOST_INDEX_ROOT_BYTES)?;
        let place = Place::IndexRoot { directory: number, byte: 0 };
        let header: &IndexRoot = view(&bytes, 0).map_err(place.cut())?;
        let field = |byte: usize, field, actual: u32| {
            Err(Error::Field { place: place.plus(byte), field, actual: actual.into() })
        };
        if header.indexed_kind.get() != indexed {
            return field(0, "the indexed attribute", header.indexed_kind.get());
        }
        if header.collation.get() != collation {
            return field(4, "the collation rule", header.collation.get());
        }
        let block = BlockSize::of_root(header, &volume.geometry, place)?;
        let allocation = volume.stream(file, kind::INDEX_ALLOCATION, name)?;
        let root = Node { place, bytes, header: INDEX_ROOT_HEADER };
        Ok(Self { file: file.base.reference(), root, allocation, block })
    }

    /// Returns all entries of a directory in their order, without the 8.3 names of files that have a long one.
    ///
    /// # Errors
    /// Errors in a block, its entries or their order; the device's.
    pub fn list<D: ReadAt>(&self, volume: &Volume<D>) -> Result<Vec<Entry>> {
        let mut listed = Vec::new();
        let mut seen = HashSet::new();
        let mut last: Option<Vec<u16>> = None;
        let mut path = vec![self.root.steps(self.file)?.into_iter()];
        // Each block is entered once at most, and the blocks are in the volume.
        while let Some(node) = path.last_mut() {
            match node.next() {
                None => {
                    path.pop();
                }
                Some(Step::Child(vcn)) => {
                    path.push(self.block(volume, vcn, &mut seen)?.steps(self.file)?.into_iter());
                }
                Some(Step::Name(name)) => {
                    name.check_order(last.as_deref(), &volume.upcase)?;
                    if name.namespace != Namespace::Dos {
                        listed.push(name.entry());
                    }
                    last = Some(name.units);
                }
            }
        }
        Ok(listed)
    }

    /// Returns the entry of a directory whose name is `name` but for the case of letters; 8.3 names count.
    ///
    /// # Errors
    /// As [`Index::list`], and [`Error::AmbiguousName`] if several files fit.
    pub fn find<D: ReadAt>(&self, volume: &Volume<D>, name: &[u16]) -> Result<Option<Entry>> {
        let mut found: Option<Entry> = None;
        let mut seen = HashSet::new();
        let mut todo = self.matches(&self.root, name, &volume.upcase, &mut found)?;
        // Each block is entered once at most. Names that differ only by case are neighbors, perhaps in several
        // blocks: all are looked at.
        while let Some(vcn) = todo.pop() {
            let node = self.block(volume, vcn, &mut seen)?;
            todo.extend(self.matches(&node, name, &volume.upcase, &mut found)?);
        }
        Ok(found)
    }

    /// Returns the children of a node that may hold `name`, and keeps the entry of the node that has it.
    fn matches(&self, node: &Node, name: &[u16], upcase: &Upcase, found: &mut Option<Entry>) -> Result<Vec<Vcn>> {
        let mut children = Vec::new();
        let mut last: Option<Vec<u16>> = None;
        let (mut child, mut is_passed) = (None, false);
        for step in node.steps(self.file)? {
            let key = match step {
                Step::Child(vcn) => {
                    child = Some(vcn);
                    continue;
                }
                Step::Name(key) => key,
            };
            key.check_order(last.as_deref(), upcase)?;
            let order = upcase.compare(name, &key.units);
            if order != Ordering::Greater && !is_passed {
                children.extend(child);
                is_passed = order == Ordering::Less;
            }
            if order == Ordering::Equal
                && found.replace(key.entry()).is_some_and(|other| other.reference != key.reference)
            {
                return Err(Error::AmbiguousName { directory: self.file.record() });
            }
            last = Some(key.units);
        }
        // The child of the last entry holds what is greater than every key.
        if !is_passed {
            children.extend(child);
        }
        Ok(children)
    }

    /// Returns the bytes of the entry for whose key `compare` answers `Equal`; it answers how the wanted key compares
    /// to the given one.
    ///
    /// # Errors
    /// Errors in a node on the way to the entry.
    pub fn find_entry<D: ReadAt>(
        &self,
        volume: &Volume<D>,
        compare: impl Fn(&[u8]) -> Ordering,
    ) -> Result<Option<Vec<u8>>> {
        let mut seen = HashSet::new();
        let mut block = None;
        // Each block is entered once at most.
        loop {
            let node = block.as_ref().unwrap_or(&self.root);
            let (entries, _) = entries(&node.bytes, node.header, node.place)?;
            let next = entries.iter().find(|entry| entry.is_last || compare(entry.key) != Ordering::Greater);
            let Some(next) = next else { return Ok(None) };
            if !next.is_last && compare(next.key) == Ordering::Equal {
                return Ok(Some(next.whole.to_vec()));
            }
            let Some(vcn) = next.child else { return Ok(None) };
            block = Some(self.block(volume, vcn, &mut seen)?);
        }
    }

    /// Reads the block at `vcn`, which must not have been `seen` before.
    fn block<D: ReadAt>(&self, volume: &Volume<D>, vcn: Vcn, seen: &mut HashSet<Vcn>) -> Result<Node> {
        let directory = self.file.record();
        if !seen.insert(vcn) {
            return Err(Error::IndexLoop { directory, vcn });
        }
        let missing = Error::MissingAttribute { record: directory, kind: kind::INDEX_ALLOCATION };
        let allocation = self.allocation.as_ref().ok_or(missing)?;
        let place = Place::IndexBlock { directory, vcn, byte: 0 };
        let bytes = self.block.read(&volume.device, &volume.geometry, allocation, vcn, place)?;
        Ok(Node { place, bytes, header: INDEX_BLOCK_HEADER })
    }
}

/// An index root or an index block.
#[derive(Debug)]
struct Node {
    place: Place,
    bytes: Vec<u8>,
    /// Where its INDEX_HEADER begins.
    header: usize,
}

/// What an ordered walk meets in a node of a directory.
enum Step {
    Child(Vcn),
    Name(Name),
}

/// A name that a directory lists.
struct Name {
    place: Place,
    reference: Reference,
    units: Vec<u16>,
    namespace: Namespace,
    is_directory: bool,
}

impl Node {
    /// Returns children and names in their order.
    fn steps(&self, directory: Reference) -> Result<Vec<Step>> {
        let (entries, _) = entries(&self.bytes, self.header, self.place)?;
        let mut steps = Vec::new();
        for entry in entries {
            steps.extend(entry.child.map(Step::Child));
            if !entry.is_last {
                steps.push(Step::Name(Name::parse(&entry, directory, self.place.plus(entry.at))?));
            }
        }
        Ok(steps)
    }
}

impl Name {
    fn parse(entry: &index_node::Entry<'_>, directory: Reference, place: Place) -> Result<Self> {
        let (fields, name) = FileName::split(entry.key).map_err(place.cut())?;
        let parent = Reference(fields.parent.get());
        if parent != directory {
            return Err(Error::Field { place: place.plus(0x10), field: "the parent of a name", actual: parent.0 });
        }
        let namespace = match fields.namespace {
            namespace::POSIX => Namespace::Posix,
            namespace::WIN32 => Namespace::Win32,
            namespace::DOS => Namespace::Dos,
            namespace::WIN32_AND_DOS => Namespace::Win32AndDos,
            actual => {
                let field = "the namespace of a name";
                return Err(Error::Field { place: place.plus(0x51), field, actual: actual.into() });
            }
        };
        let reference = Reference(read::u64_le(entry.whole, 0).map_err(place.cut())?);
        let is_directory = fields.file_attributes.get() & DUP_FILE_NAME_INDEX_PRESENT != 0;
        Ok(Self { place, reference, units: utf16::units(name), namespace, is_directory })
    }

    /// Checks that the name before this one is not greater.
    fn check_order(&self, before: Option<&[u16]>, upcase: &Upcase) -> Result<()> {
        match before {
            Some(before) if upcase.compare(before, &self.units) == Ordering::Greater => {
                Err(Error::IndexOrder { place: self.place })
            }
            _ => Ok(()),
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            reference: self.reference,
            name: String::from_utf16_lossy(&self.units),
            namespace: self.namespace,
            is_directory: self.is_directory,
        }
    }
}
