//! The table of all records in use, by which records are checked against one another.
//!
//! Memory: 104 bytes a record in use, 48 bytes and the name itself a name, 24 bytes a run; together at most eight times
//! the size of the records in use.

use std::sync::atomic::{AtomicU8, Ordering};

use super::files::{Facts, Link};
use super::records::Parsed;
use crate::layout::record_flag;
use crate::record::Reference;
use crate::runs::Run;

/// A record in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub number: u64,
    /// The reference to the base record; 0 in a base record.
    pub base: u64,
    /// Its first byte in the volume.
    pub at: u64,
    pub sequence: u16,
    pub flags: u16,
    /// Whether it could be read as far as its attributes.
    pub is_read: bool,
    /// Whether it has an attribute list.
    pub has_list: bool,
    pub facts: Facts,
}

impl Node {
    pub fn is_base(&self) -> bool {
        self.base == 0
    }

    pub fn is_directory(&self) -> bool {
        self.flags & record_flag::DIRECTORY != 0
    }

    /// Returns whether NTFS itself reads the file.
    pub fn is_internal(&self) -> bool {
        self.flags & (record_flag::EXTEND | record_flag::VIEW_INDEX) != 0
    }

    pub fn reference(&self) -> Reference {
        Reference::new(self.number, self.sequence)
    }
}

/// Clusters that a record holds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Owned {
    /// First cluster.
    pub start: u64,
    /// First cluster after the run.
    pub end: u64,
    /// Number of the record whose attribute holds the run.
    pub record: u64,
}

/// The records of one part of `$MFT`.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub nodes: Vec<Node>,
    pub owned: Vec<Owned>,
    links: Vec<Stored>,
    names: Vec<u8>,
}

/// A name whose letters are in the store of its part.
#[derive(Clone, Copy, Debug)]
struct Stored {
    child: u64,
    parent: Reference,
    at: u64,
    part: u32,
    start: u32,
    bytes: u16,
    namespace: u8,
}

impl Part {
    /// Keeps the clusters of a record's attributes.
    pub fn own(&mut self, record: &Parsed<'_>) {
        for extent in record.attributes.iter().filter_map(|attribute| attribute.extent()) {
            for Run { lcn, clusters, .. } in &extent.runs {
                if let Some(lcn) = lcn {
                    let end = lcn.0.saturating_add(*clusters);
                    self.owned.push(Owned { start: lcn.0, end, record: record.number });
                }
            }
        }
    }

    /// Remembers a name.
    pub fn link(&mut self, link: &Link<'_>) {
        let (Ok(start), Ok(bytes)) = (u32::try_from(self.names.len()), u16::try_from(link.name.len())) else { return };
        self.names.extend_from_slice(link.name);
        let Link { child, parent, namespace, at, .. } = *link;
        self.links.push(Stored { child, parent, at, part: 0, start, bytes, namespace });
    }
}

/// All records in use and all names.
#[derive(Debug)]
pub(super) struct Table {
    parts: Vec<Vec<Node>>,
    names: Vec<Vec<u8>>,
    links: Vec<Stored>,
    /// How often each name was seen in an index, up to 2.
    met: Vec<AtomicU8>,
}

impl Table {
    /// Joins parts, which follow one another in the order of records.
    pub fn new(parts: Vec<Part>) -> (Self, Vec<Owned>) {
        let mut table = Self { parts: Vec::new(), names: Vec::new(), links: Vec::new(), met: Vec::new() };
        let mut owned = Vec::new();
        for (number, part) in (0u32..).zip(parts) {
            table.links.extend(part.links.into_iter().map(|link| Stored { part: number, ..link }));
            // Parts without records in use would not have a first one to be found by.
            table.parts.extend(Some(part.nodes).filter(|nodes| !nodes.is_empty()));
            table.names.push(part.names);
            owned.extend(part.owned);
        }
        let Self { names, links, .. } = &mut table;
        let key = |link: &Stored| (link.child, link.parent.record(), letters(names, link), link.namespace);
        // Names of base records come sorted by child; a stable sort makes use of that.
        links.sort_by(|a, b| key(a).cmp(&key(b)));
        table.met = table.links.iter().map(|_| AtomicU8::new(0)).collect();
        (table, owned)
    }

    /// Returns the record in use with this number.
    pub fn node(&self, number: u64) -> Option<&Node> {
        let part = self.parts.partition_point(|part| part.last().is_some_and(|last| last.number < number));
        let part = self.parts.get(part)?;
        let first = part.first()?.number;
        let guess = usize::try_from(number.checked_sub(first)?).ok()?;
        // Records that are all in use stand at their distance.
        if let Some(node) = part.get(guess).filter(|node| node.number == number) {
            return Some(node);
        }
        part.binary_search_by_key(&number, |node| node.number).ok().and_then(|at| part.get(at))
    }

    /// Returns the base record in use with this number, to add to it.
    pub fn node_mut(&mut self, number: u64) -> Option<&mut Node> {
        let part = self.parts.partition_point(|part| part.last().is_some_and(|last| last.number < number));
        let part = self.parts.get_mut(part)?;
        let at = part.binary_search_by_key(&number, |node| node.number).ok()?;
        part.get_mut(at)
    }

    /// Returns all records in use in their order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.parts.iter().flatten()
    }

    /// Notes that a name was seen in the index of `parent`, and returns how often it was seen before; `None` if the
    /// record has no such name.
    pub fn meet(&self, child: u64, parent: u64, name: &[u8], namespace: u8) -> Option<u8> {
        let key = |link: &Stored| (link.child, link.parent.record(), letters(&self.names, link), link.namespace);
        let at = self.links.binary_search_by(|link| key(link).cmp(&(child, parent, name, namespace))).ok()?;
        let met = self.met.get(at)?;
        Some(met.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_add(1))).unwrap_or(0))
    }

    /// Returns all names with how often they were seen, by the file they belong to: names of one file follow each
    /// other.
    pub fn links(&self) -> impl Iterator<Item = (Link<'_>, u8)> {
        self.links_from(0)
    }

    /// Returns the names of one file.
    pub fn links_of(&self, child: u64) -> impl Iterator<Item = (Link<'_>, u8)> {
        let first = self.links.partition_point(|link| link.child < child);
        self.links_from(first).take_while(move |(link, _)| link.child == child)
    }

    fn links_from(&self, first: usize) -> impl Iterator<Item = (Link<'_>, u8)> {
        self.links.iter().zip(&self.met).skip(first).map(|(link, met)| {
            let Stored { child, parent, namespace, at, .. } = *link;
            (Link { child, parent, namespace, at, name: letters(&self.names, link) }, met.load(Ordering::Relaxed))
        })
    }
}

fn letters<'a>(names: &'a [Vec<u8>], link: &Stored) -> &'a [u8] {
    let start = link.start as usize;
    let part = names.get(link.part as usize).map_or(&[][..], Vec::as_slice);
    part.get(start..start.saturating_add(link.bytes.into())).unwrap_or(&[])
}
