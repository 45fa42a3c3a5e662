//! The hash chain: lines are sealed one after another, and read back with every fault named.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::record::Record;
use crate::formats::json;
use coldforge_base::digest::Digest;

/// What stands between a line's content and its hash.
const HASH_MARK: &str = ",\"hash\":\"";

/// A log that grows line by line.
#[derive(Debug)]
pub struct Chain {
    text: String,
    next: u64,
    prev: Digest,
}

impl Default for Chain {
    fn default() -> Self {
        Self { text: String::new(), next: 0, prev: Digest([0; 32]) }
    }
}

#[derive(Serialize)]
struct Unsealed<'a> {
    seq: u64,
    #[serde(flatten)]
    record: &'a Record,
    prev: Digest,
}

impl Chain {
    /// Adds one record as a sealed line.
    pub fn push(&mut self, record: &Record) {
        let unsealed = Unsealed { seq: self.next, record, prev: self.prev };
        let mut line = json::line(&unsealed);
        line.pop(); // the closing brace comes after the hash
        let hash = Digest::of(line.as_bytes());
        self.text.push_str(&format!("{line}{HASH_MARK}{hash}\"}}\n"));
        self.prev = hash;
        self.next += 1;
    }

    /// Returns the log: one JSON object a line, each line ended.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// A line whose place in the chain is proven.
#[derive(Debug)]
pub(super) struct Line {
    /// The number, from 0.
    pub seq: u64,
    /// `header`, `change`, `file` or `trailer`.
    pub kind: String,
    /// The whole object.
    pub object: serde_json::Map<String, serde_json::Value>,
    /// The bytes that the hash covers.
    content: String,
}

impl Line {
    /// Reads what the line says, and what about it this version would not have written: a line that holds more, less or
    /// otherwise spelled says something that nobody checks.
    ///
    /// # Errors
    /// What a line of its type lacks, in words.
    pub fn record(&self) -> Result<(Record, Option<String>), String> {
        let mut object = self.object.clone();
        let prev = object.remove("prev").and_then(|prev| serde_json::from_value::<Digest>(prev).ok());
        object.remove("seq");
        object.remove("hash");
        let record: Record = serde_json::from_value(serde_json::Value::Object(object))
            .map_err(|error| format!("the line is no {} line: {error}", self.kind))?;
        let written = json::line(&Unsealed { seq: self.seq, record: &record, prev: prev.unwrap_or(Digest([0; 32])) });
        if written.strip_suffix('}') == Some(self.content.as_str()) {
            return Ok((record, None));
        }
        let written = serde_json::from_str(&written).unwrap_or_default();
        let found = serde_json::Value::Object(
            self.object
                .iter()
                .filter(|(name, _)| *name != "hash")
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        );
        let oddity = match first_difference(&found, &written) {
            Some(member) => format!("the member `{member}` is unknown, or not as this version writes it"),
            None => "the line repeats a member, or is spelled otherwise than this version writes it".to_owned(),
        };
        Ok((record, Some(oddity)))
    }
}

/// Returns the path of the first member that is not in both documents, or has another value there.
fn first_difference(one: &serde_json::Value, other: &serde_json::Value) -> Option<String> {
    use serde_json::Value::{Array, Object};
    let below = |name: String, inner: Option<String>| match inner {
        Some(inner) if !inner.is_empty() => format!("{name}.{inner}"),
        _ => name,
    };
    match (one, other) {
        (Object(one), Object(other)) => {
            let missing = one.keys().find(|name| !other.contains_key(*name));
            let missing = missing.or_else(|| other.keys().find(|name| !one.contains_key(*name)));
            missing.cloned().or_else(|| {
                one.iter().find_map(|(name, value)| {
                    let inner = first_difference(value, other.get(name)?)?;
                    Some(below(name.clone(), Some(inner)))
                })
            })
        }
        (Array(one), Array(other)) if one.len() == other.len() => {
            one.iter().zip(other).enumerate().find_map(|(at, (one, other))| {
                let inner = first_difference(one, other)?;
                Some(below(at.to_string(), Some(inner)))
            })
        }
        _ => (one != other).then(String::new),
    }
}

/// A broken place in a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The line in the file, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: Cow<'static, str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit.jsonl line {}: {}", self.line, self.what)
    }
}

/// Reads a log and proves its chain: every hash, every link, every number, one header first and one trailer last.
///
/// # Errors
/// The first fault, by line.
pub(super) fn read(text: &str) -> Result<Vec<Line>, Fault> {
    let mut lines: Vec<Line> = Vec::new();
    let mut prev = Digest([0; 32]);
    for (index, raw) in text.split_inclusive('\n').enumerate() {
        let fault = |what: &'static str| Fault { line: index + 1, what: what.into() };
        let raw = raw.strip_suffix('\n').ok_or(fault("the line does not end, so the log was cut"))?;
        let (content, seal) = raw.rsplit_once(HASH_MARK).ok_or(fault("there is no hash"))?;
        let hash = seal.strip_suffix("\"}").filter(|hex| hex.len() == 64).ok_or(fault("the hash is malformed"))?;
        let real = Digest::of(content.as_bytes());
        if real.to_string() != hash {
            return Err(fault("the hash does not fit the line"));
        }
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(raw).map_err(|_| fault("the line is not a JSON object"))?;
        let text_of = |name: &str| object.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        if text_of("prev") != prev.to_string() {
            return Err(fault("the line does not follow the one before it"));
        }
        if object.get("seq").and_then(serde_json::Value::as_u64) != Some(lines.len() as u64) {
            return Err(fault("the sequence number is wrong"));
        }
        let kind = text_of("type").to_owned();
        if !["header", "change", "file", "trailer"].contains(&kind.as_str()) {
            return Err(fault("there is no line of this type"));
        }
        if (kind == "header") != lines.is_empty() {
            return Err(fault("a header stands first, and only there"));
        }
        if lines.last().is_some_and(|line| line.kind == "trailer") {
            return Err(fault("a line follows the trailer"));
        }
        prev = real;
        lines.push(Line { seq: lines.len() as u64, kind, object, content: content.to_owned() });
    }
    if lines.last().is_none_or(|line| line.kind != "trailer") {
        return Err(Fault { line: lines.len() + 1, what: "the trailer is missing, so the log was cut".into() });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::FileRecord;

    fn log(lines: usize) -> String {
        let mut chain = Chain::default();
        for number in 0..lines {
            chain.push(&Record::File(FileRecord {
                file: format!("\\file-{number}"),
                bytes_before: 1,
                bytes: 1,
                sha256_before: Digest::of(b"a"),
                sha256_after: Digest::of(b"b"),
                extents: Vec::new(),
            }));
        }
        chain.into_text()
    }

    /// The same lines with other types, sealed again: what an honest writer of header and trailer would have made.
    fn whole_log() -> String {
        let mut text = String::new();
        let mut prev = Digest([0; 32]);
        for (seq, kind) in ["header", "change", "file", "trailer"].iter().enumerate() {
            let content = format!("{{\"seq\":{seq},\"type\":\"{kind}\",\"prev\":\"{prev}\"");
            prev = Digest::of(content.as_bytes());
            text.push_str(&format!("{content}{HASH_MARK}{prev}\"}}\n"));
        }
        text
    }

    #[test]
    fn a_line_is_sealed_as_documented() {
        let text = log(2);
        let second = text.lines().nth(1).unwrap();
        let (content, seal) = second.split_once(HASH_MARK).unwrap();
        assert_eq!(seal, format!("{}\"}}", Digest::of(content.as_bytes())));
        let first_hash = text.lines().next().unwrap().rsplit_once(HASH_MARK).unwrap().1;
        assert!(content.contains(&format!("\"prev\":\"{}", &first_hash[..64])));
        assert!(content.starts_with("{\"seq\":1,\"type\":\"file\",\"file\":"));
    }

    #[test]
    fn a_whole_log_is_read_back() {
        let lines = read(&whole_log()).unwrap();
        assert_eq!(
            lines.iter().map(|line| line.kind.as_str()).collect::<Vec<_>>(),
            ["header", "change", "file", "trailer"]
        );
    }

    #[test]
    fn every_flipped_bit_breaks_the_chain() {
        let whole = whole_log();
        for at in 0..whole.len() {
            for bit in 0..7 {
                let mut bytes = whole.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let damaged = String::from_utf8(bytes).unwrap();
                assert!(read(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    /// Seals the lines of a log again behind a change to the content of one of them.
    fn resealed(text: &str, number: usize, change: impl Fn(&str) -> String) -> String {
        let mut prev = Digest([0; 32]);
        let mut sealed = String::new();
        for (at, line) in text.lines().enumerate() {
            let (content, _) = line.split_once(",\"prev\":").unwrap();
            let content = if at == number { change(content) } else { content.to_owned() };
            let content = format!("{content},\"prev\":\"{prev}\"");
            prev = Digest::of(content.as_bytes());
            sealed.push_str(&format!("{content}{HASH_MARK}{prev}\"}}\n"));
        }
        sealed
    }

    #[test]
    fn a_line_with_an_unknown_repeated_or_missing_member_is_named() {
        let lines = |text: &str| {
            let line = text.lines().nth(1).unwrap().to_owned();
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
            let content = line.rsplit_once(HASH_MARK).unwrap().0.to_owned();
            Line { seq: 1, kind: "file".into(), object, content }
        };
        let whole = log(2);
        assert_eq!(lines(&whole).record().unwrap().1, None);
        assert_eq!(resealed(&whole, 9, str::to_owned), whole);
        let forged = |from: &str, to: &str| {
            let text = resealed(&whole, 1, |content| content.replace(from, to));
            assert_ne!(text, whole, "{from}");
            match lines(&text).record() {
                Ok((_, oddity)) => oddity.unwrap(),
                Err(missing) => missing,
            }
        };
        assert!(forged("\"bytes\":1", "\"bytes\":1,\"approved\":true").contains("`approved`"));
        assert!(forged("\"bytes\":1", "\"bytes\":1,\"bytes\":1").contains("repeats"));
        assert!(forged("\"bytes\":1", "\"bytes\": 1").contains("spelled"));
        assert!(forged("\"bytes\":1,", "").contains("missing field"));
        assert!(
            forged("\"extents\":[]", "\"extents\":[{\"offset\":0,\"length\":1,\"by\":2}]").contains("extents.0.by")
        );
        assert!(forged("file-1", "\\u0066ile-1").contains("spelled"));
    }

    #[test]
    fn a_removed_swapped_or_cut_line_is_named() {
        let whole = whole_log();
        let lines: Vec<&str> = whole.lines().collect();
        assert_eq!(read(&[lines[0], lines[2], lines[3], ""].join("\n")).unwrap_err().line, 2);
        assert_eq!(read(&[lines[0], lines[2], lines[1], lines[3], ""].join("\n")).unwrap_err().line, 2);
        assert_eq!(read(&[lines[0], lines[1], ""].join("\n")).unwrap_err().line, 3);
        assert_eq!(read("").unwrap_err().line, 1);
        assert_eq!(read(whole.trim_end()).unwrap_err().line, 4);
    }
}
