//! Checks the streams of a file: extents must join, and sizes, runs and flags must agree.

use super::finding::{Findings, Rule};
use super::records::{Attribute, Extent};
use crate::layout::{COMPRESSION_UNIT_POWER, attribute_flag, kind, name, system};

/// The attributes of a file with one type and one name, which are one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a, 'b> {
    first: &'b Attribute<'a>,
    attributes: &'b [&'b Attribute<'a>],
}

/// Orders attributes by type, name and lowest VCN, as groups need them.
pub(super) fn sort(attributes: &mut [&Attribute<'_>]) {
    attributes.sort_by(|a, b| (a.kind, a.name, a.lowest()).cmp(&(b.kind, b.name, b.lowest())));
}

/// Returns the streams of attributes that were ordered by [`sort`]; all names of a file are one group.
pub(super) fn groups<'a, 'b>(attributes: &'b [&'b Attribute<'a>]) -> impl Iterator<Item = Group<'a, 'b>> {
    let alike = attributes.chunk_by(|a, b| a.kind == b.kind && a.name == b.name);
    alike.filter_map(|attributes| Some(Group { first: attributes.first()?, attributes }))
}

impl<'a, 'b> Group<'a, 'b> {
    pub fn first(&self) -> &'b Attribute<'a> {
        self.first
    }

    pub fn attributes(&self) -> &'b [&'b Attribute<'a>] {
        self.attributes
    }

    pub fn is(&self, kind: u32, name: &[u8]) -> bool {
        self.first().kind == kind && self.first().name == name
    }

    /// Returns the sizes that a directory entry must have for the stream: on disk, and of the data.
    pub fn sizes(&self) -> (u64, u64) {
        let first = self.first();
        match first.extent() {
            None => ((first.value().len() as u64).next_multiple_of(8), first.value().len() as u64),
            Some(extent) if is_holed(first.flags) => (extent.total, extent.size),
            Some(extent) => (extent.allocated, extent.size),
        }
    }

    /// Checks that the extents join, and the sizes.
    pub fn check(&self, file: u64, cluster_bytes: u64, findings: &mut Findings) {
        let first = self.first();
        if first.kind == kind::FILE_NAME {
            return;
        }
        let extents: Vec<(&Attribute<'_>, &Extent)> =
            self.attributes.iter().filter_map(|attribute| Some((*attribute, attribute.extent()?))).collect();
        if self.attributes.len() > 1 && extents.len() < self.attributes.len() {
            findings.plain(Rule::AttributeTwice, first.record, first.about(), first.at);
            return;
        }
        let Some((_, head)) = extents.first() else { return };
        if head.lowest != 0 {
            let at = first.at.saturating_add(0x10);
            findings.number(Rule::ExtentFirst, first.record, first.about(), at, head.lowest, 0);
        }
        for ((_, before), (attribute, extent)) in extents.iter().zip(extents.iter().skip(1)) {
            let (record, about, at) = (attribute.record, attribute.about(), attribute.at);
            if extent.lowest != before.end {
                findings.number(Rule::ExtentGap, record, about, at.saturating_add(0x10), extent.lowest, before.end);
            }
            if extent.allocated != 0 || extent.size != 0 || extent.initialized != 0 {
                findings.plain(Rule::ExtentSizes, record, about, at.saturating_add(0x28));
            }
        }
        check_sizes(file, first, head, &extents, cluster_bytes, findings);
    }
}

fn check_sizes(
    file: u64,
    first: &Attribute<'_>,
    head: &Extent,
    extents: &[(&Attribute<'_>, &Extent)],
    cluster_bytes: u64,
    findings: &mut Findings,
) {
    let (mut clusters, mut holes) = (0u64, 0u64);
    for (_, extent) in extents {
        let (all, missing) = extent.clusters();
        (clusters, holes) = (clusters.saturating_add(all), holes.saturating_add(missing));
    }
    let mut wrong = |rule, byte: u64, actual: u64, expected: u64| {
        findings.number(rule, first.record, first.about(), first.at.saturating_add(byte), actual, expected);
    };
    let (flags, mapped) = (first.flags, clusters.saturating_mul(cluster_bytes));
    let compressed = flags & attribute_flag::COMPRESSION_MASK != 0;
    if head.allocated != mapped {
        wrong(Rule::SizeAllocated, 0x28, head.allocated, mapped);
    }
    if head.size > head.allocated {
        wrong(Rule::SizeData, 0x30, head.size, head.allocated);
    }
    if head.initialized > head.size {
        wrong(Rule::SizeInitialized, 0x38, head.initialized, head.size);
    }
    // What is not a bad cluster is a hole in the list of bad clusters.
    let lists_bad_clusters = file == system::BAD_CLUSTERS && first.name == name::BAD;
    if holes > 0 && !is_holed(flags) && !lists_bad_clusters {
        wrong(Rule::RunsHole, 0x20, holes, 0);
    }
    if is_holed(flags) {
        let real = clusters.saturating_sub(holes).saturating_mul(cluster_bytes);
        if head.total != real {
            wrong(Rule::SizeTotal, 0x40, head.total, real);
        }
    }
    let wrong_unit = if compressed { head.unit != COMPRESSION_UNIT_POWER } else { head.unit > COMPRESSION_UNIT_POWER };
    if wrong_unit || head.unit != 0 && !is_holed(flags) {
        wrong(Rule::SizeUnit, 0x22, head.unit.into(), if is_holed(flags) { COMPRESSION_UNIT_POWER.into() } else { 0 });
    } else if compressed && !clusters.is_multiple_of(1 << COMPRESSION_UNIT_POWER) {
        wrong(Rule::SizeUnit, 0x28, clusters, clusters.next_multiple_of(1 << COMPRESSION_UNIT_POWER));
    }
    if flags != 0 && first.kind != kind::DATA {
        wrong(Rule::AttributeFlags, 0xc, flags.into(), 0);
    }
}

/// Returns whether the flags allow holes.
fn is_holed(flags: u16) -> bool {
    flags & (attribute_flag::COMPRESSION_MASK | attribute_flag::SPARSE) != 0
}
