//! Checks names: each must lead to a directory that lists it exactly once, and every directory must be reachable from
//! the root.

use std::collections::{BTreeMap, BTreeSet};

use super::files::Link;
use super::finding::{About, Findings, Rule};
use super::table::Table;
use crate::layout::{namespace, system};
use coldforge_base::utf16;

/// Letters that no name may hold: NUL, `/` and `\`.
const NEVER: &[u16] = &[0, 0x2f, 0x5c];
/// Letters that Windows programs cannot use in a name: `"`, `*`, `:`, `<`, `>`, `?` and `|`.
const NOT_FOR_WINDOWS: &[u16] = &[0x22, 0x2a, 0x3a, 0x3c, 0x3e, 0x3f, 0x7c];

/// Checks every name of every file.
pub(super) fn check(table: &Table, findings: &mut Findings) {
    let links: Vec<(Link<'_>, u8)> = table.links().collect();
    for names in links.chunk_by(|(a, _), (b, _)| a.child == b.child) {
        for (link, met) in names {
            check_link(link, *met, table, findings);
        }
        check_names(names, table, findings);
    }
}

fn check_link(link: &Link<'_>, met: u8, table: &Table, findings: &mut Findings) {
    let (child, parent) = (link.child, link.parent.record());
    let about = About::Record(parent);
    let directory = table.node(parent).filter(|node| node.is_base() && node.is_directory());
    let Some(directory) = directory else {
        findings.plain(Rule::NameParent, child, about, link.at);
        return;
    };
    let (actual, expected) = (link.parent.sequence(), directory.sequence);
    if actual != expected {
        findings.number(Rule::NameParent, child, about, link.at, actual.into(), expected.into());
    }
    if met != 1 {
        findings.number(Rule::NameIndex, child, about, link.at, met.into(), 1);
    }
    let units = utf16::units(link.name);
    let holds = |letters: &[u16]| units.iter().any(|unit| letters.contains(unit));
    if holds(NEVER) || link.namespace != 0 && holds(NOT_FOR_WINDOWS) {
        findings.plain(Rule::NameLetters, child, about, link.at);
    } else if holds(NOT_FOR_WINDOWS) {
        findings.plain(Rule::NameForeign, child, about, link.at);
    }
}

/// Checks the names of one file against one another.
fn check_names(names: &[(Link<'_>, u8)], table: &Table, findings: &mut Findings) {
    let Some((first, _)) = names.first() else { return };
    let parents = |namespace: u8| -> BTreeSet<u64> {
        names.iter().filter(|(link, _)| link.namespace == namespace).map(|(link, _)| link.parent.record()).collect()
    };
    for parent in parents(namespace::DOS).difference(&parents(namespace::WIN32)) {
        findings.plain(Rule::NameTwin, first.child, About::Record(*parent), first.at);
    }
    if table.node(first.child).is_some_and(|node| node.is_directory()) {
        let places: BTreeSet<u64> = names
            .iter()
            .filter(|(link, _)| link.namespace != namespace::DOS)
            .map(|(link, _)| link.parent.record())
            .collect();
        if places.len() > 1 {
            findings.number(Rule::NameDirectories, first.child, About::Whole, first.at, places.len() as u64, 1);
        }
    }
}

/// Checks that every directory can be reached from the root, and checks each file as a whole.
pub(super) fn check_files(
    table: &Table,
    children: &BTreeMap<u64, Vec<u64>>,
    own: &BTreeSet<u64>,
    security_ids: &BTreeSet<u32>,
    findings: &mut Findings,
) {
    let mut reached = BTreeSet::from([system::ROOT]);
    let mut todo = vec![system::ROOT];
    // Each record is entered once at most.
    while let Some(directory) = todo.pop() {
        for child in children.get(&directory).into_iter().flatten() {
            if reached.insert(*child) {
                todo.push(*child);
            }
        }
    }
    for node in table.nodes().filter(|node| node.is_base() && node.is_read) {
        let number = node.number;
        let is_own = own.contains(&number);
        let has_names = number >= system::FIRST_USER || node.facts.names > 0;
        if node.is_directory() && has_names && !reached.contains(&number) {
            findings.plain(Rule::Unreachable, number, About::Whole, node.at);
        }
        if !is_own && !node.is_directory() && !node.is_internal() && !node.facts.has_data {
            findings.plain(Rule::NoData, number, About::Whole, node.at);
        }
        let id = node.facts.security_id;
        if id != 0 && !security_ids.contains(&id) {
            findings.plain(Rule::SecurityId, number, About::Security(id), node.at);
        }
        if !is_own && node.facts.has_information && id == 0 && !node.facts.has_descriptor {
            findings.plain(Rule::SecurityNone, number, About::Whole, node.at);
        }
    }
}
