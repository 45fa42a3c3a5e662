//! Checks one file record: its header, its attributes, their forms and their mapping pairs.
//!
//! Structures: FILE_RECORD_SEGMENT_HEADER, ATTRIBUTE_RECORD_HEADER. The reader in `attribute` stops at the first fault.
//! This parser goes on while it can find the next attribute, so that one fault does not hide another.

use std::cmp::Ordering;

use super::finding::{About, Findings, Rule};
use crate::error::{Error, MappingFault};
use crate::layout::{
    AttributeHeader, FileRecordHeader, MultiSectorHeader, NonresidentHeader, ResidentHeader, STRIDE_BYTES,
    attribute_at, attribute_flag, kind, record_flag, view,
};
use crate::runs::{Pairs, Run};
use crate::upcase::Upcase;
use coldforge_base::{Vcn, read, utf16};

/// An attribute of a record.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    /// Number of the record that holds it.
    pub record: u64,
    /// Its first byte in the volume.
    pub at: u64,
    pub kind: u32,
    /// The name in UTF-16LE.
    pub name: &'a [u8],
    pub flags: u16,
    pub id: u16,
    pub form: Form<'a>,
}

/// Where the content of an attribute is.
#[derive(Debug)]
pub(super) enum Form<'a> {
    /// In the record.
    Resident(&'a [u8]),
    /// In clusters.
    Clusters(Extent),
}

/// The part of a stream that one non-resident attribute maps.
#[derive(Debug)]
pub(super) struct Extent {
    pub lowest: u64,
    /// First VCN after the runs.
    pub end: u64,
    pub runs: Vec<Run>,
    pub unit: u8,
    pub allocated: u64,
    pub size: u64,
    pub initialized: u64,
    /// The size on disk, which only sparse and compressed streams have.
    pub total: u64,
}

impl Extent {
    /// Returns how many clusters the runs hold, holes included, and how many of them are holes.
    pub fn clusters(&self) -> (u64, u64) {
        let sum = |holes: bool| {
            let wanted = self.runs.iter().filter(|run| !holes || run.lcn.is_none());
            wanted.fold(0u64, |sum, run| sum.saturating_add(run.clusters))
        };
        (sum(false), sum(true))
    }
}

impl<'a> Attribute<'a> {
    pub fn about(&self) -> About {
        About::Attribute { kind: self.kind, id: self.id }
    }

    /// Returns the value; empty if the attribute is not resident.
    pub fn value(&self) -> &'a [u8] {
        match &self.form {
            Form::Resident(value) => value,
            Form::Clusters(_) => &[],
        }
    }

    pub fn lowest(&self) -> u64 {
        match &self.form {
            Form::Resident(_) => 0,
            Form::Clusters(extent) => extent.lowest,
        }
    }

    pub fn extent(&self) -> Option<&Extent> {
        match &self.form {
            Form::Resident(_) => None,
            Form::Clusters(extent) => Some(extent),
        }
    }
}

/// A record in use.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub number: u64,
    /// Its first byte in the volume.
    pub at: u64,
    pub links: u16,
    pub flags: u16,
    /// The reference to the base record; 0 in a base record.
    pub base: u64,
    pub attributes: Vec<Attribute<'a>>,
}

/// What records are read against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub upcase: &'a Upcase,
    /// Clusters of the volume.
    pub clusters: u64,
}

/// Puts the protected bytes of a structure back, whatever its marks say.
///
/// Returns whether all marks were right, or `None` if the update sequence array is impossible.
pub(super) fn unprotect(buf: &mut [u8]) -> Option<bool> {
    let header: &MultiSectorHeader = view(buf, 0).ok()?;
    let (array, count) = (usize::from(header.usa_offset.get()), usize::from(header.usa_count.get()));
    let blocks = buf.len().checked_div(STRIDE_BYTES)?;
    let end = array.checked_add(count.checked_mul(2)?)?;
    if count != blocks.checked_add(1)? || array % 2 != 0 || array < 0x1e || end > STRIDE_BYTES.saturating_sub(2) {
        return None;
    }
    let usn: [u8; 2] = read::array(buf, array).ok()?;
    let mut whole = true;
    // One turn a block of a structure of at most 64 KiB.
    for (slot, mark) in crate::fixup::slots(array, buf.len()) {
        whole &= read::array(buf, mark).ok()? == usn;
        let bytes: [u8; 2] = read::array(buf, slot).ok()?;
        read::put(buf, mark, &bytes).ok()?;
    }
    Some(whole)
}

/// Reads a record in use whose fixups are undone.
///
/// Returns `None` if it is unclear where the attributes begin.
pub(super) fn parse<'a>(
    context: Context<'_>,
    number: u64,
    at: u64,
    bytes: &'a [u8],
    findings: &mut Findings,
) -> Option<Parsed<'a>> {
    let header: &FileRecordHeader = view(bytes, 0).ok()?;
    let mut wrong = |rule, byte: u64, actual: u64, expected: u64| {
        findings.number(rule, number, About::Whole, at.saturating_add(byte), actual, expected);
    };
    let allocated = u64::from(header.bytes_allocated.get());
    if allocated != bytes.len() as u64 {
        wrong(Rule::RecordAllocated, 0x1c, allocated, bytes.len() as u64);
    }
    if header.sequence.get() == 0 {
        wrong(Rule::RecordSequence, 0x10, 0, 0);
    }
    // Records of version 3.0 have no number: there the update sequence array begins in its place.
    let array = usize::from(header.multi_sector.usa_offset.get());
    if array >= size_of::<FileRecordHeader>() && u64::from(header.number.get()) != number & 0xffff_ffff {
        wrong(Rule::RecordNumber, 0x2c, header.number.get().into(), number);
    }
    let flags = header.flags.get();
    let known = record_flag::IN_USE | record_flag::DIRECTORY | record_flag::EXTEND | record_flag::VIEW_INDEX;
    if flags & !known != 0 {
        wrong(Rule::RecordFlags, 0x16, flags.into(), (flags & known).into());
    }
    let first = usize::from(header.attributes_offset.get());
    let least = array.saturating_add(usize::from(header.multi_sector.usa_count.get()).saturating_mul(2));
    if !first.is_multiple_of(8) || first < least.next_multiple_of(8) || first > bytes.len().saturating_sub(8) {
        wrong(Rule::RecordFirst, 0x14, first as u64, least.next_multiple_of(8) as u64);
        if !first.is_multiple_of(4) || first > bytes.len().saturating_sub(8) {
            return None;
        }
    }
    let (attributes, end) = attributes(context, number, at, bytes, first, findings);
    if let Some(end) = end {
        let (used, expected) = (u64::from(header.bytes_used.get()), (end as u64).saturating_add(8));
        if used != expected {
            findings.number(Rule::RecordUsed, number, About::Whole, at.saturating_add(0x18), used, expected);
        }
    }
    let next_id = header.next_attribute_id.get();
    if let Some(most) = attributes.iter().map(|attribute| attribute.id).max().filter(|most| *most >= next_id) {
        let (at, least) = (at.saturating_add(0x28), u64::from(most).saturating_add(1));
        findings.number(Rule::RecordNextId, number, About::Whole, at, next_id.into(), least);
    }
    Some(Parsed { number, at, links: header.link_count.get(), flags, base: header.base.get(), attributes })
}

/// Reads the attributes, and returns where the end mark is, if one was found.
fn attributes<'a>(
    context: Context<'_>,
    number: u64,
    record_at: u64,
    bytes: &'a [u8],
    first: usize,
    findings: &mut Findings,
) -> (Vec<Attribute<'a>>, Option<usize>) {
    let mut found: Vec<Attribute<'a>> = Vec::with_capacity(4);
    let mut at = first;
    // Each turn moves on by at least 24 bytes inside a record of at most 4096.
    loop {
        let place = record_at.saturating_add(at as u64);
        let Ok(code) = read::u32_le(bytes, at) else { break };
        if code == kind::END {
            return (found, Some(at));
        }
        let Ok(header) = view::<AttributeHeader>(bytes, at) else { break };
        let length = header.length.get() as usize;
        let about = About::Attribute { kind: code, id: header.id.get() };
        let whole = read::slice(bytes, at, length).ok();
        let Some(whole) = whole.filter(|whole| whole.len() >= size_of::<ResidentHeader>() && length.is_multiple_of(8))
        else {
            findings.number(Rule::AttributeLength, number, about, place, length as u64, length as u64);
            return (found, None);
        };
        if let Some(attribute) = attribute(context, number, place, whole, findings) {
            check_order(context.upcase, &found, &attribute, findings);
            found.push(attribute);
        }
        at = at.saturating_add(length);
    }
    findings.plain(Rule::RecordEnd, number, About::Whole, record_at.saturating_add(at as u64));
    (found, None)
}

/// Checks that an attribute is not less than those before it, and that its id is unique.
fn check_order(upcase: &Upcase, before: &[Attribute<'_>], attribute: &Attribute<'_>, findings: &mut Findings) {
    let Attribute { record, at, .. } = *attribute;
    if let Some(last) = before.last() {
        let names = || upcase.compare(&utf16::units(last.name), &utf16::units(attribute.name));
        let order = last.kind.cmp(&attribute.kind).then_with(names);
        if order.then_with(|| last.lowest().cmp(&attribute.lowest())) == Ordering::Greater {
            findings.plain(Rule::AttributeOrder, record, attribute.about(), at);
        }
    }
    // A record of at most 4096 bytes has at most 170 attributes.
    if before.iter().any(|other| other.id == attribute.id) {
        findings.plain(Rule::AttributeId, record, attribute.about(), at.saturating_add(0xe));
    }
}

/// Reads the attribute that `whole` is.
fn attribute<'a>(
    context: Context<'_>,
    record: u64,
    at: u64,
    whole: &'a [u8],
    findings: &mut Findings,
) -> Option<Attribute<'a>> {
    let header: &AttributeHeader = view(whole, 0).ok()?;
    let (code, flags, id) = (header.kind.get(), header.flags.get(), header.id.get());
    let about = About::Attribute { kind: code, id };
    let mut wrong = |rule, byte: u64, actual: u64, expected: u64| {
        findings.number(rule, record, about, at.saturating_add(byte), actual, expected);
    };
    if !is_known(code) {
        wrong(Rule::AttributeType, 0, code.into(), code.into());
    }
    let head = match header.is_nonresident {
        0 => size_of::<ResidentHeader>(),
        1 => size_of::<NonresidentHeader>(),
        _ => usize::MAX,
    };
    if whole.len() < head {
        wrong(Rule::AttributeForm, 8, header.is_nonresident.into(), 0);
        return None;
    }
    let (name_offset, name_bytes) =
        (usize::from(header.name_offset.get()), usize::from(header.name_units).saturating_mul(2));
    let name = match name_bytes {
        0 => &[][..],
        _ => read::slice(whole, name_offset, name_bytes).ok().filter(|_| name_offset >= head).unwrap_or_else(|| {
            wrong(Rule::AttributeName, 0xa, name_offset as u64, head as u64);
            &[]
        }),
    };
    let known_flags = attribute_flag::COMPRESSION_MASK | attribute_flag::ENCRYPTED | attribute_flag::SPARSE;
    if flags & !known_flags != 0 {
        wrong(Rule::AttributeFlags, 0xc, flags.into(), (flags & known_flags).into());
    }
    let names_end = if name.is_empty() { head } else { name_offset.saturating_add(name_bytes) };
    let form = if header.is_nonresident == 0 {
        Form::Resident(resident(record, at, whole, names_end, about, findings)?)
    } else {
        if is_always_resident(code) {
            wrong(Rule::AttributeForm, 8, 1, 0);
        }
        Form::Clusters(clusters(context, record, at, whole, names_end, about, findings)?)
    };
    Some(Attribute { record, at, kind: code, name, flags, id, form })
}

fn resident<'a>(
    record: u64,
    at: u64,
    whole: &'a [u8],
    least: usize,
    about: About,
    findings: &mut Findings,
) -> Option<&'a [u8]> {
    let header: &ResidentHeader = view(whole, 0).ok()?;
    let (offset, length) = (usize::from(header.value_offset.get()), header.value_length.get() as usize);
    let mut wrong = |rule, byte: u64, actual: u64, expected: u64| {
        findings.number(rule, record, about, at.saturating_add(byte), actual, expected);
    };
    let Some(value) = read::slice(whole, offset, length).ok().filter(|_| offset >= least) else {
        wrong(Rule::AttributeValue, 0x10, length as u64, whole.len().saturating_sub(offset) as u64);
        return None;
    };
    let needed = offset.saturating_add(length).next_multiple_of(8);
    if whole.len() > needed.saturating_add(8) {
        wrong(Rule::AttributeSlack, 4, whole.len() as u64, needed as u64);
    }
    let code = header.common.kind.get();
    let indexed = u8::from(code == kind::FILE_NAME);
    if header.resident_flags != indexed {
        wrong(Rule::AttributeIndexed, 0x16, header.resident_flags.into(), indexed.into());
    }
    if code == kind::INDEX_ALLOCATION {
        wrong(Rule::AttributeForm, 8, 0, 1);
    }
    Some(value)
}

fn clusters(
    context: Context<'_>,
    record: u64,
    at: u64,
    whole: &[u8],
    least: usize,
    about: About,
    findings: &mut Findings,
) -> Option<Extent> {
    let header: &NonresidentHeader = view(whole, 0).ok()?;
    let mut wrong = |rule, byte: u64, actual: u64, expected: u64| {
        findings.number(rule, record, about, at.saturating_add(byte), actual, expected);
    };
    let (lowest, highest) = (header.lowest_vcn.get(), header.highest_vcn.get());
    let holed = header.common.flags.get() & (attribute_flag::COMPRESSION_MASK | attribute_flag::SPARSE) != 0;
    let has_total = lowest == 0 && holed;
    let least = if has_total { least.max(attribute_at::TOTAL.saturating_add(8)) } else { least };
    let offset = usize::from(header.mapping_offset.get());
    let Some(pairs) = whole.get(offset..).filter(|_| offset >= least) else {
        wrong(Rule::RunsOffset, 0x20, offset as u64, least as u64);
        return None;
    };
    // An attribute without clusters has the highest VCN -1.
    let end = highest.wrapping_add(1);
    let mut runs = Vec::new();
    let pairs = Pairs { record, offset: 0, bytes: pairs };
    match pairs.decode_into(&mut runs, Vcn(lowest), Vcn(end), context.clusters) {
        Ok(()) => {}
        Err(Error::MappingPairs { fault: MappingFault::WrongCount, .. }) => {
            wrong(Rule::RunsHighest, 0x18, highest, runs.last().map_or(lowest, |run| run.end().0).wrapping_sub(1));
            // The runs are decoded once more without the wrong bound, to know who owns the clusters.
            runs.clear();
            let _ = pairs.decode_into(&mut runs, Vcn(lowest), Vcn(u64::MAX), context.clusters);
        }
        Err(Error::MappingPairs { fault: MappingFault::OutsideVolume, .. }) => {
            wrong(Rule::RunsOutside, offset as u64, 0, 0);
        }
        Err(_) => wrong(Rule::RunsDamaged, offset as u64, 0, 0),
    }
    let total = if has_total { read::u64_le(whole, attribute_at::TOTAL).unwrap_or(0) } else { 0 };
    Some(Extent {
        lowest,
        end: runs.last().map_or(lowest, |run| run.end().0),
        runs,
        unit: header.compression_unit,
        allocated: header.allocated.get(),
        size: header.size.get(),
        initialized: header.initialized.get(),
        total,
    })
}

fn is_known(code: u32) -> bool {
    (0x10..=0x100).contains(&code) && code.is_multiple_of(0x10)
}

/// Returns whether attributes of this type are always resident (flags of $AttrDef).
fn is_always_resident(code: u32) -> bool {
    matches!(
        code,
        kind::STANDARD_INFORMATION
            | kind::FILE_NAME
            | kind::OBJECT_ID
            | kind::VOLUME_NAME
            | kind::VOLUME_INFORMATION
            | kind::INDEX_ROOT
            | kind::EA_INFORMATION
    )
}
