//! Checks files with an attribute list: the list must name every attribute of all records, in order.

use std::collections::{HashMap, HashSet};

use super::files::{self, Facts};
use super::finding::{About, Findings, Rule};
use super::index::Budget;
use super::records::{self, Attribute, Context, Parsed};
use super::table::{Node, Table};
use crate::attribute_list;
use crate::error::Result;
use crate::layout::{STRIDE_BYTES, kind};
use crate::upcase::Upcase;
use crate::volume::Volume;
use coldforge_base::{ReadAt, utf16};

/// Reads the records of a file that has an attribute list, and checks them as one.
///
/// `extensions` are the numbers of the records that say that they continue this one.
pub(super) fn check<D: ReadAt>(
    volume: &Volume<D>,
    base: &Node,
    extensions: &[u64],
    table: &Table,
    budget: &Budget,
    findings: &mut Findings,
) -> Option<Facts> {
    let bytes: Vec<(u64, Vec<u8>)> = std::iter::once(base.number)
        .chain(extensions.iter().copied())
        .filter_map(|number| Some((number, plain_record(volume, number)?)))
        .collect();
    let context = Context { upcase: &volume.upcase, clusters: volume.geometry.clusters };
    // Faults of each record by itself were reported when all records were read.
    let parsed: Vec<Parsed<'_>> = bytes
        .iter()
        .filter_map(|(number, bytes)| {
            records::parse(context, *number, volume.record_place(*number), bytes, &mut Findings::default())
        })
        .collect();
    let head = parsed.first().filter(|first| first.number == base.number)?;
    let list = head.attributes.iter().find(|attribute| attribute.kind == kind::ATTRIBUTE_LIST)?;
    let length = list.extent().map_or(0, |extent| extent.size.min(attribute_list::MOST_BYTES));
    if !budget.take(length.div_ceil(STRIDE_BYTES as u64)) {
        findings.plain(Rule::IndexTooLarge, base.number, list.about(), list.at);
        return None;
    }
    for attribute in parsed.iter().skip(1).flat_map(|record| &record.attributes) {
        if [kind::ATTRIBUTE_LIST, kind::STANDARD_INFORMATION].contains(&attribute.kind) {
            findings.plain(Rule::ExtensionAttribute, attribute.record, attribute.about(), attribute.at);
        }
    }
    let mut attributes: Vec<&Attribute<'_>> = parsed.iter().flat_map(|record| &record.attributes).collect();
    match list_of(volume, base.number) {
        Ok(list) => compare(&list, base, &attributes, table, &volume.upcase, findings),
        Err(_) => findings.plain(Rule::ListDamaged, base.number, list.about(), list.at),
    }
    Some(files::check(head, &mut attributes, volume.geometry.cluster_bytes, findings))
}

/// Reads a record and puts its protected bytes back.
pub(super) fn plain_record<D: ReadAt>(volume: &Volume<D>, number: u64) -> Option<Vec<u8>> {
    let mut bytes = volume.raw_record(number).ok()?;
    records::unprotect(&mut bytes)?;
    Some(bytes)
}

/// Returns the entries of the attribute list of a file.
fn list_of<D: ReadAt>(volume: &Volume<D>, number: u64) -> Result<Vec<attribute_list::Entry>> {
    volume.segments(volume.record(number)?).map(|segments| segments.list.unwrap_or_default())
}

fn compare(
    list: &[attribute_list::Entry],
    base: &Node,
    attributes: &[&Attribute<'_>],
    table: &Table,
    upcase: &Upcase,
    findings: &mut Findings,
) {
    let there: HashMap<_, u64> = attributes
        .iter()
        .filter(|attribute| attribute.kind != kind::ATTRIBUTE_LIST)
        .map(|attribute| ((attribute.record, attribute.id, attribute.kind, attribute.name), attribute.lowest()))
        .collect();
    let mut named = HashSet::new();
    let mut last: Option<(u32, Vec<u16>, u64)> = None;
    for entry in list {
        let (record, kind) = (entry.reference.record(), entry.kind);
        let about = About::Attribute { kind, id: entry.id };
        let folded = utf16::units(&entry.name).into_iter().map(|unit| upcase.fold(unit)).collect();
        let place = (kind, folded, entry.lowest.0);
        // A file can have several names, which a list does not distinguish.
        let wrong = |last: &_| place < *last || place == *last && kind != crate::layout::kind::FILE_NAME;
        let key = (record, entry.id, kind, entry.name.as_slice());
        let is_new = named.insert(key);
        if !is_new || last.as_ref().is_some_and(wrong) {
            findings.number(Rule::ListOrder, base.number, about, base.at, record, record);
        }
        last = Some(place);
        let sequence = table.node(record).map(|node| node.sequence);
        match there.get(&key) {
            Some(lowest) if sequence == Some(entry.reference.sequence()) => {
                if *lowest != entry.lowest.0 {
                    findings.number(Rule::ListVcn, base.number, about, base.at, entry.lowest.0, *lowest);
                }
            }
            _ => findings.number(Rule::ListTarget, base.number, about, base.at, entry.reference.0, entry.reference.0),
        }
    }
    for attribute in attributes.iter().filter(|attribute| attribute.kind != kind::ATTRIBUTE_LIST) {
        if !named.contains(&(attribute.record, attribute.id, attribute.kind, attribute.name)) {
            findings.number(
                Rule::ListMissing,
                attribute.record,
                attribute.about(),
                attribute.at,
                attribute.lowest(),
                attribute.lowest(),
            );
        }
    }
}
