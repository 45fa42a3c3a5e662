//! The labelled lines of the operating systems' benchmarks: `Registry Hive:`, `Registry Path:`, `Value Name:`,
//! `Type:`, `Value:`.
//!
//! Slips that are taken as they are meant: labels without a colon, a space beside a backslash, a path with or without
//! backslashes around it, several values under one path.

use super::{Bound, Expectation, ValueRequirement, after, quoted, value};

/// What a labelled line says.
enum Line<'a> {
    Hive(&'a str),
    Path(&'a str),
    Name(&'a str),
    Kind(&'a str),
    Value(&'a str),
}

/// A value that is being put together.
struct Draft {
    key: String,
    name: String,
    kind: Option<String>,
    demand: Option<ValueRequirement>,
}

/// Reads every value that a check text labels; `None` if there is none, or if one is not whole.
pub(super) fn read(text: &str) -> Option<Vec<Expectation>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let (mut hive, mut path) = (None, None);
    let mut drafts: Vec<Draft> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        match label(line) {
            None => {}
            Some(Line::Hive(said)) => hive = Some(short(said)?),
            Some(Line::Path(said)) => path = Some(clean(said)),
            Some(Line::Name(said)) => drafts.push(Draft {
                key: format!("{}\\{}", hive?, path.as_ref()?),
                name: said.to_owned(),
                kind: None,
                demand: None,
            }),
            Some(Line::Kind(said)) => {
                let draft = drafts.last_mut().filter(|draft| draft.kind.is_none())?;
                draft.kind = Some(said.to_owned());
            }
            Some(Line::Value(said)) => {
                let draft = drafts.last_mut().filter(|draft| draft.demand.is_none())?;
                draft.demand = Some(demand(draft.kind.as_deref()?, said, &lines[at.saturating_add(1)..])?);
            }
        }
    }
    drafts
        .into_iter()
        .map(|Draft { key, name, kind, demand }| {
            Some(Expectation::Registry { key, name, kind: kind?, demand: demand? })
        })
        .collect()
}

/// Reads one line. A label without its colon is known by what follows.
fn label(line: &str) -> Option<Line<'_>> {
    let field = |label: &str, fits: fn(&str) -> bool| {
        let rest = after(line, label)?;
        match rest.trim_start().strip_prefix(':') {
            Some(said) => Some(said.trim()),
            None => Some(rest.trim()).filter(|said| fits(said)),
        }
    };
    if let Some(said) = field("Registry Hive", |said| said.starts_with("HKEY_")) {
        return Some(Line::Hive(said));
    }
    if let Some(said) = field("Registry Path", |said| said.starts_with('\\')) {
        return Some(Line::Path(said));
    }
    let word = |said: &str| !said.is_empty() && !said.contains(' ');
    if let Some(said) = field("Value Name", word) {
        return Some(Line::Name(said));
    }
    let kind = |said: &str| said.starts_with("REG_");
    if let Some(said) = field("Value Type", kind).or_else(|| field("Type", kind)).filter(|said| kind(said)) {
        return Some(Line::Kind(said));
    }
    let digit = |said: &&str| said.starts_with(|c: char| c.is_ascii_digit());
    field("Value", |_| false).or_else(|| after(line, "Value").filter(digit)).map(Line::Value)
}

/// Returns the hive's short name.
pub(super) fn short(hive: &str) -> Option<&'static str> {
    match hive.trim().to_uppercase().as_str() {
        "HKEY_LOCAL_MACHINE" | "HKLM" => Some("HKLM"),
        "HKEY_CURRENT_USER" | "HKCU" => Some("HKCU"),
        _ => None,
    }
}

/// Returns a path without spaces beside its backslashes and without backslashes around it.
pub(super) fn clean(path: &str) -> String {
    path.split('\\').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\\")
}

/// Reads what a value must be, from its own line and the lines behind it.
fn demand(kind: &str, said: &str, behind: &[&str]) -> Option<ValueRequirement> {
    let lower = said.to_lowercase();
    if lower.contains("message text below") {
        let text = behind.join("\n").trim().to_owned();
        return (!text.is_empty()).then_some(ValueRequirement {
            bound: Bound::Prose(text),
            absent_passes: false,
            free: true,
            slip: false,
        });
    }
    if lower.contains("message title options below") {
        let paragraph = behind.iter().find(|line| !line.is_empty())?;
        let titles: Vec<String> = quoted(paragraph).into_iter().map(str::to_owned).collect();
        let free = paragraph.contains("organization-defined");
        return (!titles.is_empty()).then_some(ValueRequirement {
            bound: Bound::TextOneOf(titles),
            absent_passes: false,
            free,
            slip: false,
        });
    }
    if !said.starts_with(|c: char| c.is_ascii_digit()) {
        return if kind == "REG_SZ" { value::text(said) } else { None };
    }
    // Further choices stand on lines of their own, each with its number in hexadecimal.
    let more = behind.iter().filter(|line| !line.is_empty()).take_while(|line| line.starts_with("0x"));
    let all = std::iter::once(&said).chain(more).copied().collect::<Vec<_>>().join("\n");
    value::numbers(&all)
}
