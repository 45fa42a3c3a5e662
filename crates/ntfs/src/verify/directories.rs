//! Checks directories: each entry must lead to a file that has this name, and repeat its sizes and flags.
//!
//! Relaxed where Windows itself breaks the rule: it updates the copy of sizes and flags only in the entry of the hard
//! link in use, so entries of other links may be stale. Entries of NTFS's own files keep the values of when they were
//! made.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::files;
use super::finding::{About, Finding, Findings, Rule};
use super::index::{Index, Row};
use super::table::{Node, Table};
use crate::layout::{self, DUP_FILE_NAME_INDEX_PRESENT, collation, kind, namespace, system};
use crate::record::Reference;
use crate::upcase::Upcase;
use coldforge_base::{ReadAt, VolumeOffset, read};

/// The result of the walk of one directory, apart from findings.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// From this directory to those in it.
    pub edges: Vec<(u64, u64)>,
    /// What is stale, by file, before it is known whether the file is NTFS's own.
    pub stale: Vec<Stale>,
}

/// An entry whose sizes or flags differ from those of its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stale {
    child: u64,
    finding: Finding,
}

/// Which entries can be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    /// Every record in use is in the table.
    All,
    /// Records that are not in the table may be in use.
    Some,
}

/// Walks the index of names of a directory.
pub(super) fn walk<D: ReadAt>(
    index: &Index<'_, D>,
    directory: &Node,
    table: &Table,
    upcase: &Upcase,
    scope: Scope,
    findings: &mut Findings,
) -> Walked {
    let mut walked = Walked::default();
    let indexes = index.indexes();
    if indexes != (kind::FILE_NAME, collation::FILE_NAME) {
        let about = About::Block { index: b'0', vcn: None };
        let (actual, expected) = (indexes.0.into(), kind::FILE_NAME.into());
        findings.number(Rule::IndexRoot, directory.number, about, index.root_at(), actual, expected);
    }
    let each = |row: Row<'_>, findings: &mut Findings| {
        check_row(row, directory, table, scope, &mut walked, findings);
    };
    index.walk(|a, b| compare(upcase, a, b), each, findings);
    walked
}

/// Compares two keys; `None` if one is malformed.
fn compare(upcase: &Upcase, a: &[u8], b: &[u8]) -> Option<Ordering> {
    let ((_, a), (_, b)) = (files::name_of(a)?, files::name_of(b)?);
    Some(upcase.collate(a, b))
}

fn check_row(
    row: Row<'_>,
    directory: &Node,
    table: &Table,
    scope: Scope,
    walked: &mut Walked,
    findings: &mut Findings,
) {
    let Some((fields, name)) = files::name_of(row.key) else { return };
    let reference = Reference(read::u64_le(row.whole, 0).unwrap_or(0));
    let (record, child) = (directory.number, reference.record());
    let about = About::Record(child);
    let me = directory.reference().0;
    if fields.parent.get() != me {
        let at = row.at.saturating_add(0x10);
        findings.number(Rule::IndexParent, record, about, at, fields.parent.get(), me);
    }
    let Some(node) = table.node(child) else {
        if scope == Scope::All {
            findings.number(Rule::IndexReference, record, about, row.at, reference.0, reference.0);
        }
        return;
    };
    if !node.is_base() || node.sequence != reference.sequence() {
        findings.number(Rule::IndexReference, record, about, row.at, reference.0, node.reference().0);
        return;
    }
    match table.meet(child, record, name, fields.namespace) {
        None => {
            findings.plain(Rule::IndexName, record, about, row.at);
            return;
        }
        Some(0) if node.is_directory() => walked.edges.push((record, child)),
        Some(_) => {}
    }
    if let Some(finding) = stale(row, fields, node, record) {
        walked.stale.push(Stale { child, finding });
    }
}

/// Returns a finding if an entry has other sizes or flags than its file.
fn stale(row: Row<'_>, fields: &layout::FileName, node: &Node, directory: u64) -> Option<Finding> {
    let found = |rule, byte: u64, actual, expected| {
        let at = VolumeOffset(row.at.saturating_add(byte));
        Some(Finding { rule, record: directory, about: About::Record(node.number), actual, expected, at })
    };
    let (allocated, size) = node.facts.sizes;
    if fields.size.get() != size {
        return found(Rule::IndexSizes, 0x40, fields.size.get(), size);
    }
    if fields.allocated.get() != allocated {
        return found(Rule::IndexSizes, 0x38, fields.allocated.get(), allocated);
    }
    let is_directory = if node.is_directory() { DUP_FILE_NAME_INDEX_PRESENT } else { 0 };
    let expected = node.facts.file_attributes & 0xffff | is_directory;
    let actual = fields.file_attributes.get() & (DUP_FILE_NAME_INDEX_PRESENT | 0xffff);
    if actual != expected {
        return found(Rule::IndexFlags, 0x48, actual.into(), expected.into());
    }
    None
}

/// Returns the records of NTFS's own files: the first ones, and everything below `$Extend`.
pub(super) fn own_files(children: &BTreeMap<u64, Vec<u64>>, table: &Table) -> BTreeSet<u64> {
    let mut folders = BTreeSet::from([system::EXTEND]);
    let mut todo = vec![system::EXTEND];
    // Each record is entered once at most.
    while let Some(directory) = todo.pop() {
        for child in children.get(&directory).into_iter().flatten() {
            if folders.insert(*child) {
                todo.push(*child);
            }
        }
    }
    let inside = table.links().filter(|(link, _)| folders.contains(&link.parent.record())).map(|(link, _)| link.child);
    (0..system::FIRST_USER).chain(inside).chain(folders.iter().copied()).collect()
}

/// Turns stale entries into findings: an error if all entries of a file are stale, a warning if some of several are.
pub(super) fn judge(mut stale: Vec<Stale>, own: &BTreeSet<u64>, table: &Table, findings: &mut Findings) {
    stale.retain(|stale| !own.contains(&stale.child));
    stale.sort_by_key(|stale| stale.child);
    for rows in stale.chunk_by(|a, b| a.child == b.child) {
        let Some(first) = rows.first() else { continue };
        let mut names = 0usize;
        let mut links = 0usize;
        for (link, _) in table.links_of(first.child) {
            names = names.saturating_add(1);
            links = links.saturating_add(usize::from(link.namespace != namespace::DOS));
        }
        let soft = links > 1 && rows.len() < names;
        for Stale { finding, .. } in rows {
            let rule = match finding.rule {
                Rule::IndexSizes if soft => Rule::IndexSizesLink,
                Rule::IndexFlags if soft => Rule::IndexFlagsLink,
                rule => rule,
            };
            findings.push(Finding { rule, ..*finding });
        }
    }
}
