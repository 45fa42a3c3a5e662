//! The XML of a benchmark (XCCDF 1.1.4 and 1.2, NIST IR 7275 section 6): what is taken of it, and what is refused.
//!
//! One pass without a tree. Elements of other namespaces, profiles, values and results are passed over. No document
//! type is read, so that there are no entities but XML's own five.

use std::collections::BTreeSet;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use serde::Serialize;

use super::error::Error;
use crate::policy::rule::Severity;
use coldforge_base::digest::Digest;

const NAMESPACES: [(&str, Revision); 2] = [
    ("http://checklists.nist.gov/xccdf/1.1", Revision::V1_1),
    ("http://checklists.nist.gov/xccdf/1.2", Revision::V1_2),
];
/// A benchmark nests six deep; XHTML in a description adds a few.
const MOST_DEPTH: usize = 64;
/// Benchmarks name one or two; more are not kept.
const MOST_PLATFORMS: usize = 64;
/// The largest benchmark has some 600.
const MOST_RULES: usize = 10_000;
/// What XCCDF 1.2 demands before DISA's own ids (6.2.3).
const PREFIXES: [&str; 3] =
    ["xccdf_mil.disa.stig_benchmark_", "xccdf_mil.disa.stig_group_", "xccdf_mil.disa.stig_rule_"];

/// The revision of XCCDF.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Revision {
    /// XCCDF 1.1, the one of DISA's manual benchmarks.
    #[serde(rename = "1.1")]
    V1_1,
    /// XCCDF 1.2.
    #[serde(rename = "1.2")]
    V1_2,
}

/// A benchmark as its file says it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Document {
    /// The revision of XCCDF.
    pub revision: Revision,
    /// The benchmark's id, such as `MS_Windows_Server_2022_STIG`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The version, the 2 of V2R8.
    pub version: u32,
    /// The release, the 8 of V2R8.
    pub release: u32,
    /// The day of the release, such as `2026-04-01`.
    pub date: String,
    /// SHA-256 of the file, or of the archive that it came in.
    pub sha256: Digest,
    /// The platforms that the benchmark as a whole is for, as it names them (CPE, or a reference).
    pub platforms: Vec<String>,
    /// The rules, in the order of the file.
    pub rules: Vec<Entry>,
}

/// A rule as its benchmark says it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// The group's id, such as `V-254276`.
    pub vuln_id: String,
    /// The group's title, which is the id of the requirement, such as `SRG-OS-000095-GPOS-00049`.
    pub requirement: String,
    /// The rule's id, such as `SV-254276r958478_rule`.
    pub rule_id: String,
    /// The STIG id, such as `WN22-00-000390`.
    pub stig_id: String,
    /// The severity.
    pub severity: Severity,
    /// The weight, as it is written.
    pub weight: String,
    /// The title.
    pub title: String,
    /// Why the rule is there.
    pub discussion: String,
    /// How a person checks it.
    pub check: String,
    /// How a person mends it.
    pub fix: String,
    /// The control correlation identifiers, such as `CCI-000381`.
    pub ccis: Vec<String>,
    /// The ids of the rule in earlier benchmarks, such as `V-73299`.
    pub legacy_ids: Vec<String>,
}

/// Where a text goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Slot {
    BenchmarkTitle,
    BenchmarkVersion,
    ReleaseInfo,
    GroupTitle,
    StigId,
    RuleTitle,
    Description,
    Identifier,
    Fix,
    Check,
}

/// An open element.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Element {
    Benchmark,
    Group,
    Rule,
    Check,
    Text(Slot),
    /// Passed over with everything in it.
    Other,
    /// Markup inside a text: its own text counts.
    Inline,
}

/// Reads a document.
pub(super) fn read(bytes: &[u8], sha256: Digest) -> Result<Document, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error::Encoding { at: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = NsReader::from_str(text);
    let mut reading = Reading::default();
    loop {
        let at = reader.buffer_position();
        let malformed = |fault: quick_xml::Error| Error::Malformed { at, fault: fault.to_string() };
        let (namespace, event) = reader.read_resolved_event().map_err(malformed)?;
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => Some(namespace.0.to_owned()),
            ResolveResult::Unbound => None,
            ResolveResult::Unknown(prefix) => {
                return Err(Error::Malformed { at, fault: format!("the prefix {prefix:?} is bound to no namespace") });
            }
        };
        match event {
            Event::Start(start) => reading.open(&start, namespace.as_deref(), at)?,
            Event::Empty(start) => {
                reading.open(&start, namespace.as_deref(), at)?;
                reading.close()?;
            }
            Event::End(_) => reading.close()?,
            Event::Text(text) => reading.say(&text.xml10_content(), at)?,
            Event::CData(text) => reading.say(&text.xml10_content(), at)?,
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content();
                let entity = || Error::Entity { at, name: name.to_string() };
                match reference.resolve_char_ref().map_err(|_| entity())? {
                    Some(character) => reading.say(character.encode_utf8(&mut [0; 4]), at)?,
                    None => {
                        let text = quick_xml::escape::resolve_xml_entity(&name).ok_or_else(entity)?;
                        reading.say(text, at)?;
                    }
                }
            }
            Event::DocType(_) => return Err(Error::DocumentType { at }),
            Event::Decl(declaration) => {
                if let Some(encoding) = declaration.encoding() {
                    let encoding = encoding.map_err(|fault| Error::Malformed { at, fault: fault.to_string() })?;
                    if !["utf-8", "us-ascii", "ascii"].contains(&encoding.to_lowercase().as_str()) {
                        return Err(Error::Encoding { at: 0 });
                    }
                }
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => {
                if !reading.open.is_empty() {
                    return Err(Error::Malformed { at, fault: "the document ends inside an element".to_owned() });
                }
                return reading.finish(sha256);
            }
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    open: Vec<Element>,
    namespace: String,
    revision: Option<Revision>,
    id: String,
    title: String,
    version: String,
    release_info: String,
    platforms: Vec<String>,
    /// The open groups: id and title.
    groups: Vec<(String, String)>,
    rule: Option<Draft>,
    rules: Vec<Entry>,
    text: String,
    ids: BTreeSet<String>,
    /// Whether the `ident` that is open names a CCI.
    names_cci: bool,
    rooted: bool,
}

/// A rule that is being read.
#[derive(Default)]
struct Draft {
    id: String,
    severity: String,
    weight: String,
    stig_id: String,
    title: String,
    description: String,
    check: String,
    fix: String,
    ccis: Vec<String>,
    legacy_ids: Vec<String>,
}

impl Reading {
    fn open(&mut self, start: &BytesStart<'_>, namespace: Option<&str>, at: u64) -> Result<(), Error> {
        if self.open.len() >= MOST_DEPTH {
            return Err(Error::TooDeep { at, limit: MOST_DEPTH });
        }
        let malformed = |fault: String| Error::Malformed { at, fault };
        let (mut id, mut severity, mut weight, mut system, mut idref) = (None, None, None, None, None);
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|fault| malformed(fault.to_string()))?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|fault| malformed(fault.to_string()))?.into_owned();
            match attribute.key.0 {
                "id" => id = Some(value),
                "severity" => severity = Some(value),
                "weight" => weight = Some(value),
                "system" => system = Some(value),
                "idref" => idref = Some(value),
                _ => {}
            }
        }
        let name = start.local_name();
        let name = name.as_ref();
        let ours = namespace == Some(self.namespace.as_str());
        let inside = self.open.last().copied();
        let element = match (inside, name) {
            (None, _) => {
                let known = NAMESPACES.into_iter().find(|(known, _)| Some(*known) == namespace);
                let (known, revision) = match known.filter(|_| name == "Benchmark" && !self.rooted) {
                    Some(known) => known,
                    None => {
                        let namespace = namespace.unwrap_or_default().to_owned();
                        return Err(Error::Namespace { found: name.to_owned(), namespace });
                    }
                };
                self.rooted = true;
                self.namespace = known.to_owned();
                self.revision = Some(revision);
                self.id = own(&id.unwrap_or_default());
                Element::Benchmark
            }
            (Some(Element::Text(_) | Element::Inline), _) => Element::Inline,
            (Some(Element::Other), _) => Element::Other,
            _ if !ours => Element::Other,
            (Some(Element::Benchmark), "title") => Element::Text(Slot::BenchmarkTitle),
            (Some(Element::Benchmark), "version") => Element::Text(Slot::BenchmarkVersion),
            (Some(Element::Benchmark), "platform") => {
                let room = MOST_PLATFORMS.saturating_sub(self.platforms.len());
                self.platforms.extend(idref.into_iter().take(room));
                Element::Other
            }
            (Some(Element::Benchmark), "plain-text") if id.as_deref() == Some("release-info") => {
                Element::Text(Slot::ReleaseInfo)
            }
            (Some(Element::Benchmark | Element::Group), "Group") => {
                self.groups.push((own(&id.unwrap_or_default()), String::new()));
                Element::Group
            }
            (Some(Element::Group), "title") => Element::Text(Slot::GroupTitle),
            (Some(Element::Benchmark | Element::Group), "Rule") => {
                let (severity, weight) = (severity.unwrap_or_default(), weight.unwrap_or_default());
                self.rule = Some(Draft { id: own(&id.unwrap_or_default()), severity, weight, ..Draft::default() });
                Element::Rule
            }
            (Some(Element::Rule), "version") => Element::Text(Slot::StigId),
            (Some(Element::Rule), "title") => Element::Text(Slot::RuleTitle),
            (Some(Element::Rule), "description") => Element::Text(Slot::Description),
            (Some(Element::Rule), "fixtext") => Element::Text(Slot::Fix),
            (Some(Element::Rule), "ident") => {
                self.names_cci = system.unwrap_or_default().to_lowercase().contains("cci");
                Element::Text(Slot::Identifier)
            }
            (Some(Element::Rule), "check") => Element::Check,
            (Some(Element::Check), "check-content") => Element::Text(Slot::Check),
            _ => Element::Other,
        };
        if matches!(element, Element::Text(_)) {
            self.text.clear();
        }
        self.open.push(element);
        Ok(())
    }

    fn say(&mut self, text: &str, at: u64) -> Result<(), Error> {
        match self.open.last() {
            Some(Element::Text(_) | Element::Inline) => self.text.push_str(text),
            None if !text.trim().is_empty() => {
                return Err(Error::Malformed { at, fault: "text outside the root".to_owned() });
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        match self.open.pop() {
            Some(Element::Text(slot)) => {
                let text = std::mem::take(&mut self.text);
                self.keep(slot, text.trim());
            }
            Some(Element::Group) => {
                self.groups.pop();
            }
            Some(Element::Rule) => {
                if let Some(draft) = self.rule.take() {
                    let (group, requirement) = self.groups.last().cloned().unwrap_or_default();
                    self.add(draft.finish(group, requirement)?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, slot: Slot, text: &str) {
        let names_cci = self.names_cci;
        let place = match (slot, &mut self.rule) {
            (Slot::BenchmarkTitle, _) => &mut self.title,
            (Slot::BenchmarkVersion, _) => &mut self.version,
            (Slot::ReleaseInfo, _) => &mut self.release_info,
            (Slot::GroupTitle, _) => match self.groups.last_mut() {
                Some((_, title)) => title,
                None => return,
            },
            (_, None) => return,
            (Slot::StigId, Some(rule)) => &mut rule.stig_id,
            (Slot::RuleTitle, Some(rule)) => &mut rule.title,
            (Slot::Description, Some(rule)) => &mut rule.description,
            (Slot::Fix, Some(rule)) => &mut rule.fix,
            (Slot::Check, Some(rule)) => &mut rule.check,
            (Slot::Identifier, Some(rule)) => {
                let list = if names_cci { &mut rule.ccis } else { &mut rule.legacy_ids };
                list.push(text.to_owned());
                return;
            }
        };
        // A second one of the kind adds to the first, so that nothing that a rule says is lost.
        if !place.is_empty() {
            place.push('\n');
        }
        place.push_str(text);
    }

    fn add(&mut self, entry: Entry) -> Result<(), Error> {
        if self.rules.len() >= MOST_RULES {
            return Err(Error::TooMany { limit: MOST_RULES });
        }
        for id in [&entry.vuln_id, &entry.rule_id, &entry.stig_id] {
            if !self.ids.insert(id.to_uppercase()) {
                return Err(Error::Duplicate { id: id.clone() });
            }
        }
        self.rules.push(entry);
        Ok(())
    }

    fn finish(self, sha256: Digest) -> Result<Document, Error> {
        let Some(revision) = self.revision else {
            return Err(Error::Namespace { found: String::new(), namespace: String::new() });
        };
        let place = || "the benchmark".to_owned();
        let missing = |member, found: String| Error::Member { place: place(), member, found: Some(found) };
        identifier(&self.id).map_err(|()| missing("id", self.id.clone()))?;
        let version = leading(&self.version).ok_or_else(|| missing("version", self.version.clone()))?;
        let (release, date) =
            released(&self.release_info).ok_or_else(|| missing("release", self.release_info.clone()))?;
        if self.rules.is_empty() {
            return Err(Error::Member { place: place(), member: "rule", found: None });
        }
        let Self { id, title, platforms, rules, .. } = self;
        Ok(Document { revision, id, title, version, release, date, sha256, platforms, rules })
    }
}

impl Draft {
    fn finish(self, vuln_id: String, requirement: String) -> Result<Entry, Error> {
        let place = || format!("the rule {:?}", self.id);
        let missing = |member, found: &str| Error::Member { place: place(), member, found: Some(found.to_owned()) };
        identifier(&self.id).map_err(|()| missing("id", &self.id))?;
        identifier(&vuln_id).map_err(|()| missing("group id", &vuln_id))?;
        identifier(&self.stig_id).map_err(|()| missing("version (the STIG id)", &self.stig_id))?;
        let severity = match self.severity.as_str() {
            "high" => Severity::High,
            "medium" => Severity::Medium,
            "low" => Severity::Low,
            other => return Err(missing("severity", other)),
        };
        Ok(Entry {
            vuln_id,
            requirement,
            discussion: discussion(&self.description),
            rule_id: self.id,
            stig_id: self.stig_id,
            severity,
            weight: self.weight,
            title: self.title,
            check: self.check,
            fix: self.fix,
            ccis: self.ccis,
            legacy_ids: self.legacy_ids,
        })
    }
}

/// Refuses an id that would not stand in a table or on a command line.
fn identifier(id: &str) -> Result<(), ()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = !id.is_empty() && id.len() <= 200 && id.bytes().all(plain);
    if fits { Ok(()) } else { Err(()) }
}

/// Returns DISA's own id, without what XCCDF 1.2 demands before it.
fn own(id: &str) -> String {
    PREFIXES.iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id).to_owned()
}

/// Returns the discussion, which DISA writes as markup inside the text of a description.
fn discussion(description: &str) -> String {
    let inner = description.split_once("<VulnDiscussion>").and_then(|(_, rest)| rest.split_once("</VulnDiscussion>"));
    inner.map_or(description, |(inner, _)| inner).trim().to_owned()
}

/// Returns the number that a text begins with.
fn leading(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
    digits.parse().ok()
}

/// Reads `Release: 8 Benchmark Date: 01 Apr 2026` as the release and the day `2026-04-01`.
fn released(text: &str) -> Option<(u32, String)> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let (release, date) = text.strip_prefix("Release:")?.split_once("Benchmark Date:")?;
    let mut words = date.split_whitespace();
    let (day, month, year) = (words.next()?, words.next()?.to_lowercase(), words.next()?);
    let month = MONTHS.iter().zip(1_u32..).find(|(name, _)| month.starts_with(**name))?.1;
    let (day, year): (u32, u32) = (day.parse().ok()?, year.parse().ok()?);
    let sound = (1..=31).contains(&day) && (1990..10_000).contains(&year) && words.next().is_none();
    sound
        .then(|| (leading(release.trim()), format!("{year:04}-{month:02}-{day:02}")))
        .and_then(|(release, date)| Some((release?, date)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    const RULE: &str = r#"<Group id="V-1"><title>SRG-1</title><Rule id="SV-1r2_rule" severity="high" weight="10.0">
<version>T-01</version><title>A &amp; B</title>
<description>&lt;VulnDiscussion&gt;Because &#x41;.&lt;/VulnDiscussion&gt;&lt;FalsePositives&gt;&lt;/FalsePositives&gt;</description>
<ident system="http://cyber.mil/cci">CCI-000001</ident><ident system="http://cyber.mil/legacy">V-9</ident>
<fixtext fixref="F-1">Mend <b xmlns="urn:other">it</b>.</fixtext>
<check system="C-1"><check-content-ref href="x"/><check-content><![CDATA[Look <at> it.]]></check-content></check>
</Rule></Group>"#;

    fn document(inner: &str) -> String {
        let head = r#"<?xml version="1.0" encoding="utf-8"?><Benchmark xmlns="http://checklists.nist.gov/xccdf/1.1" id="T_STIG">
<title>Test</title><plain-text id="release-info">Release: 3 Benchmark Date: 07 May 2025</plain-text><version>2</version>"#;
        format!("{head}<Profile id=\"x\"><title>P</title><select idref=\"V-1\"/></Profile>{inner}</Benchmark>")
    }

    fn of(text: &str) -> Result<Document, Error> {
        read(text.as_bytes(), Digest::of(b""))
    }

    #[test]
    fn a_benchmark_is_read() {
        let read = of(&document(RULE)).unwrap();
        assert_eq!((read.id.as_str(), read.title.as_str(), read.revision), ("T_STIG", "Test", Revision::V1_1));
        assert_eq!((read.version, read.release, read.date.as_str()), (2, 3, "2025-05-07"));
        let rule = &read.rules[0];
        let ids = [&rule.vuln_id, &rule.rule_id, &rule.stig_id, &rule.requirement, &rule.weight];
        assert_eq!(ids, ["V-1", "SV-1r2_rule", "T-01", "SRG-1", "10.0"]);
        assert_eq!((rule.title.as_str(), rule.discussion.as_str()), ("A & B", "Because A."));
        assert_eq!((rule.fix.as_str(), rule.check.as_str()), ("Mend it.", "Look <at> it."));
        assert_eq!(
            (rule.ccis.as_slice(), rule.legacy_ids.as_slice()),
            (&["CCI-000001".into()][..], &["V-9".into()][..])
        );
        assert_eq!(rule.severity, Severity::High);
    }

    #[test]
    fn the_ids_of_revision_1_2_lose_their_prefixes() {
        let text = document(RULE)
            .replace("xccdf/1.1", "xccdf/1.2")
            .replace("\"V-1\"", "\"xccdf_mil.disa.stig_group_V-1\"")
            .replace("\"SV-1r2_rule\"", "\"xccdf_mil.disa.stig_rule_SV-1r2_rule\"")
            .replace("\"T_STIG\"", "\"xccdf_mil.disa.stig_benchmark_T_STIG\"");
        let (one, two) = (of(&document(RULE)).unwrap(), of(&text).unwrap());
        assert_eq!(two.revision, Revision::V1_2);
        assert_eq!((two.id, two.rules), (one.id, one.rules));
    }

    #[test]
    fn hostile_and_damaged_documents_are_refused_by_name() {
        let whole = document(RULE);
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let cases = [
            (whole.replacen("?>", "?><!DOCTYPE a [<!ENTITY b \"c\">]>", 1), "E-BENCHMARK-DOCTYPE"),
            (whole.replace("SRG-1", "&lol;"), "E-BENCHMARK-ENTITY"),
            (whole.replace("SRG-1", "&#0;"), "E-BENCHMARK-ENTITY"),
            (whole.replace("\"high\"", "\"&lol;\""), "E-BENCHMARK-XML"),
            (whole.replace("xccdf/1.1", "xccdf/1.3"), "E-BENCHMARK-NAMESPACE"),
            (whole.replace("xmlns=\"http", "xmlns:x=\"http"), "E-BENCHMARK-NAMESPACE"),
            ("<html/>".to_owned(), "E-BENCHMARK-NAMESPACE"),
            (String::new(), "E-BENCHMARK-NAMESPACE"),
            (
                format!("{whole}{whole}").replacen("<?xml version=\"1.0\" encoding=\"utf-8\"?>", "", 1),
                "E-BENCHMARK-NAMESPACE",
            ),
            (whole.replace("SRG-1", &deep), "E-BENCHMARK-BOMB"),
            (whole.replace("utf-8", "utf-16"), "E-BENCHMARK-ENCODING"),
            (whole.replace("</Benchmark>", ""), "E-BENCHMARK-XML"),
            (whole.replace("</Rule>", "</Role>"), "E-BENCHMARK-XML"),
            (whole.replace("<Rule ", "<z:Rule "), "E-BENCHMARK-XML"),
            (format!("{whole}x"), "E-BENCHMARK-XML"),
            (whole.replace("\"high\"", "\"dire\""), "E-BENCHMARK-MEMBER"),
            (whole.replace("T-01", ""), "E-BENCHMARK-MEMBER"),
            (whole.replace("T-01", "T 01\n"), "E-BENCHMARK-MEMBER"),
            (whole.replace("<version>2</version>", ""), "E-BENCHMARK-MEMBER"),
            (whole.replace("07 May", "57 May"), "E-BENCHMARK-MEMBER"),
            (document(""), "E-BENCHMARK-MEMBER"),
            (document(&format!("{RULE}{RULE}")), "E-BENCHMARK-DUPLICATE"),
            (
                document(&format!("{RULE}{}", RULE.replace("V-1", "V-2").replace("T-01", "t-01"))),
                "E-BENCHMARK-DUPLICATE",
            ),
        ];
        for (text, code) in cases {
            let error = of(&text).unwrap_err();
            assert_eq!(error.code(), Some(code), "{error}: {}", &text[..text.len().min(200)]);
            assert!(error.hint().is_some_and(|hint| !hint.is_empty()));
        }
        assert_eq!(read(b"\xff\xfe<\0", Digest::of(b"")).unwrap_err().code(), Some("E-BENCHMARK-ENCODING"));
    }

    #[test]
    fn no_truncation_and_no_replaced_byte_makes_it_panic() {
        let whole = document(RULE);
        for end in 0..whole.len() {
            assert!(read(&whole.as_bytes()[..end], Digest::of(b"")).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            for byte in [b'<', b'&', b'"', b'>', 0, 0xff] {
                let mut bytes = whole.clone().into_bytes();
                bytes[at] = byte;
                let _ = read(&bytes, Digest::of(b""));
            }
        }
    }
}
