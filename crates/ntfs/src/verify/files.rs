//! Checks a file: its attributes from all its records and its names, and collects what its directory entries must
//! repeat.

use super::finding::{About, Findings, Rule};
use super::records::{Attribute, Parsed};
use super::streams::{self, Group};
use crate::layout::{FileName, StandardInformation, information_at, kind, name, namespace, record_flag, system, view};
use crate::record::Reference;
use coldforge_base::read;

/// What other checks need of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// The attributes as `GetFileAttributes` has them.
    pub file_attributes: u32,
    /// The security id; 0 for none.
    pub security_id: u32,
    /// Whether the file has $STANDARD_INFORMATION.
    pub has_information: bool,
    /// Whether the file has a descriptor of its own.
    pub has_descriptor: bool,
    /// Whether the file has an unnamed data stream.
    pub has_data: bool,
    /// Whether the file has an index of names.
    pub has_names: bool,
    /// Whether the file has any index.
    pub has_index: bool,
    /// The sizes that a directory entry must have: on disk, and of the data.
    pub sizes: (u64, u64),
    /// Number of $FILE_NAME attributes, malformed ones too.
    pub names: u32,
}

/// Checks a file whose attributes are all known.
pub(super) fn check(
    base: &Parsed<'_>,
    attributes: &mut [&Attribute<'_>],
    cluster_bytes: u64,
    findings: &mut Findings,
) -> Facts {
    let number = base.number;
    let mut facts = Facts::default();
    streams::sort(attributes);
    for group in streams::groups(attributes) {
        group.check(number, cluster_bytes, findings);
        note(&group, base, &mut facts, findings);
    }
    if !facts.has_information && number >= system::FIRST_USER {
        findings.plain(Rule::StandardInformation, number, About::Whole, base.at);
    }
    let is_directory = base.flags & record_flag::DIRECTORY != 0;
    if is_directory != facts.has_names {
        findings.plain(Rule::DirectoryFlag, number, About::Whole, base.at.saturating_add(0x16));
    }
    if is_directory {
        facts.sizes = (0, 0);
    }
    if u32::from(base.links) != facts.names && (number >= system::FIRST_USER || facts.names > 0) {
        let at = base.at.saturating_add(0x12);
        findings.number(Rule::LinkCount, number, About::Whole, at, base.links.into(), facts.names.into());
    }
    if number >= system::FIRST_USER && facts.names == 0 {
        findings.plain(Rule::NameMissing, number, About::Whole, base.at);
    }
    facts
}

fn note(group: &Group<'_, '_>, base: &Parsed<'_>, facts: &mut Facts, findings: &mut Findings) {
    let first = group.first();
    match first.kind {
        kind::STANDARD_INFORMATION if first.name.is_empty() => {
            let value = first.value();
            facts.has_information = true;
            if ![0x30, 0x48].contains(&value.len()) {
                let length = value.len() as u64;
                findings.number(Rule::StandardInformation, base.number, About::Whole, first.at, length, 0x48);
            }
            facts.file_attributes =
                view::<StandardInformation>(value, 0).map_or(0, |fields| fields.file_attributes.get());
            facts.security_id = read::u32_le(value, information_at::SECURITY_ID).unwrap_or(0);
        }
        kind::FILE_NAME => facts.names = u32::try_from(group.attributes().len()).unwrap_or(u32::MAX),
        kind::SECURITY_DESCRIPTOR => facts.has_descriptor = true,
        kind::DATA if first.name.is_empty() => {
            facts.has_data = true;
            facts.sizes = group.sizes();
        }
        kind::INDEX_ROOT => {
            facts.has_index = true;
            facts.has_names |= group.is(kind::INDEX_ROOT, name::I30);
        }
        _ => {}
    }
}

/// A name of a file, from its $FILE_NAME attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    /// Number of the file's base record.
    pub child: u64,
    pub parent: Reference,
    pub namespace: u8,
    /// The name in UTF-16LE.
    pub name: &'a [u8],
    /// The attribute's first byte in the volume.
    pub at: u64,
}

/// Returns the well-formed names in a record; others are findings.
pub(super) fn links<'a>(record: &Parsed<'a>, findings: &mut Findings) -> Vec<Link<'a>> {
    let child = if record.base == 0 { record.number } else { Reference(record.base).record() };
    let mut links = Vec::new();
    for attribute in record.attributes.iter().filter(|attribute| attribute.kind == kind::FILE_NAME) {
        match name_of(attribute.value()) {
            Some((fields, name)) => links.push(Link {
                child,
                parent: Reference(fields.parent.get()),
                namespace: fields.namespace,
                name,
                at: attribute.at,
            }),
            None => findings.plain(Rule::NameMalformed, record.number, attribute.about(), attribute.at),
        }
    }
    links
}

/// Cuts a $FILE_NAME into its fields and its name; `None` if it is malformed.
pub(super) fn name_of(value: &[u8]) -> Option<(&FileName, &[u8])> {
    let (fields, name) = FileName::split(value).ok()?;
    let is_whole = size_of::<FileName>().saturating_add(name.len()) == value.len() && !name.is_empty();
    (is_whole && fields.namespace <= namespace::WIN32_AND_DOS).then_some((fields, name))
}
