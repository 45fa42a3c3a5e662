//! OVF descriptors (DSP0243): which disk images the descriptor of an exported machine names.
//!
//! Nothing is opened here. A descriptor is recognised, so that its user learns which file to name instead.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use super::{Raw, Result};
use coldforge_base::{ReadAt as _, utf16};

/// Descriptors have some tens of kilobytes.
const BYTES_MAX: u64 = 4 << 20;
/// How much of a file is looked at to see that it is no XML.
const HEAD_BYTES: usize = 64;
/// A descriptor nests six deep.
const DEPTH_MAX: usize = 64;
/// Files that are remembered.
const FILES_MAX: usize = 256;
/// The namespaces of DSP0243 begin like this, and that of VMware's own exports before it.
const NAMESPACES: [&str; 2] = ["http://schemas.dmtf.org/ovf/envelope/", "http://www.vmware.com/schema/ovf/"];

/// Returns the names of the disk images that an OVF descriptor lists; `None` if the file is no such descriptor.
///
/// # Errors
/// What reading the file answers.
pub(super) fn disks(raw: &Raw) -> Result<Option<Vec<String>>> {
    let length = usize::try_from(raw.len()).unwrap_or(usize::MAX);
    let mut head = vec![0; length.min(HEAD_BYTES)];
    raw.read_at(0, &mut head)?;
    if raw.len() > BYTES_MAX || !text(&head).trim_start().starts_with('<') {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    raw.read_at(0, &mut bytes)?;
    Ok(parse(&text(&bytes)))
}

/// Decodes a document by its byte order mark; UTF-8 without one.
fn text(bytes: &[u8]) -> String {
    match bytes {
        [0xff, 0xfe, units @ ..] => utf16::decode(units),
        [0xfe, 0xff, units @ ..] => {
            let swapped: Vec<u8> = units.chunks_exact(2).flat_map(|unit| unit.iter().rev().copied()).collect();
            utf16::decode(&swapped)
        }
        _ => String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).into_owned(),
    }
}

/// Reads a descriptor as far as it can be read; `None` if its root element is not an OVF's.
fn parse(text: &str) -> Option<Vec<String>> {
    let mut reader = NsReader::from_str(text);
    let (mut open, mut is_rooted): (Vec<String>, bool) = (Vec::new(), false);
    let (mut files, mut disks): (Vec<(String, String)>, Vec<String>) = (Vec::new(), Vec::new());
    // Each round passes a piece of the document, which has an end.
    while let Ok((namespace, event)) = reader.read_resolved_event() {
        let is_empty = matches!(event, Event::Empty(_));
        match event {
            Event::Start(start) | Event::Empty(start) => {
                let name = start.local_name().as_ref().to_owned();
                if open.is_empty() && (name != "Envelope" || !is_ovf(&namespace)) {
                    return None;
                }
                is_rooted = true;
                let path: Vec<&str> = open.iter().map(String::as_str).chain([name.as_str()]).collect();
                match path.as_slice() {
                    ["Envelope", "References", "File"] if files.len() < FILES_MAX => {
                        files.push((attribute(&start, "id"), attribute(&start, "href")));
                    }
                    ["Envelope", "DiskSection" | "Section", "Disk"] if disks.len() < FILES_MAX => {
                        disks.push(attribute(&start, "fileRef"));
                    }
                    _ => {}
                }
                if !is_empty {
                    open.push(name);
                }
                if open.len() > DEPTH_MAX {
                    break;
                }
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Eof | Event::DocType(_) => break,
            _ => {}
        }
    }
    if !is_rooted {
        return None;
    }
    let is_disk = |(id, _): &&(String, String)| disks.contains(id);
    let known = files.iter().any(|file| is_disk(&file));
    let listed = files.iter().filter(|file| !known || is_disk(file)).map(|(_, href)| href.clone());
    Some(listed.filter(|href| !href.is_empty()).collect())
}

fn is_ovf(namespace: &ResolveResult<'_>) -> bool {
    matches!(namespace, ResolveResult::Bound(name) if NAMESPACES.iter().any(|known| name.0.starts_with(known)))
}

/// Returns an attribute by its local name, whatever prefix it has; empty if there is none.
fn attribute(start: &BytesStart<'_>, name: &str) -> String {
    let found = start.attributes().flatten().find(|attribute| attribute.key.local_name().as_ref() == name);
    let value =
        found.and_then(|found| found.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned()));
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVF: &str = "http://schemas.dmtf.org/ovf/envelope/1";

    #[test]
    fn the_disks_of_a_descriptor_are_named_and_its_other_files_are_not() {
        let whole = format!(
            "\u{feff}<?xml version=\"1.0\"?>\n<!-- made by hand -->\n<ovf:Envelope xmlns:ovf=\"{OVF}\"><ovf:References>\
             <ovf:File ovf:id=\"a\" ovf:href=\"one.vmdk\" ovf:size=\"5\"/><ovf:File ovf:id=\"b\" ovf:href=\"x.nvram\"/>\
             <ovf:File ovf:id=\"c\" ovf:href=\"two &amp; three.vmdk\"></ovf:File></ovf:References><ovf:DiskSection>\
             <ovf:Info/><ovf:Disk ovf:fileRef=\"a\"/><ovf:Disk ovf:fileRef=\"c\"/></ovf:DiskSection></ovf:Envelope>"
        );
        let named = ["one.vmdk", "two & three.vmdk"].map(str::to_owned).to_vec();
        assert_eq!(parse(&text(whole.as_bytes())), Some(named.clone()));
        for big in [false, true] {
            let units = whole.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
            assert_eq!(parse(&text(&units.collect::<Vec<u8>>())), Some(named.clone()));
        }
        let bare =
            format!("<Envelope xmlns='{OVF}'><References><File href='only.vhd' id='f'/></References></Envelope>");
        assert_eq!(parse(&bare), Some(vec!["only.vhd".to_owned()]));
        assert_eq!(parse(&format!("<Envelope xmlns='{OVF}'/>")), Some(Vec::new()));
    }

    #[test]
    fn other_documents_and_broken_ones_are_no_descriptors_and_nothing_hangs() {
        for other in
            ["", "<", "<a/>", "<Envelope/>", "<Envelope xmlns='http://example.org'/>", "<!DOCTYPE a []><a/>", "< >"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
        let deep = format!("<Envelope xmlns='{OVF}'>{}", "<a>".repeat(100_000));
        assert_eq!(parse(&deep), Some(Vec::new()));
        let cut = format!("<Envelope xmlns='{OVF}'><References><File href='a.vmdk'/><File href='b");
        assert_eq!(parse(&cut), Some(vec!["a.vmdk".to_owned()]));
    }
}
