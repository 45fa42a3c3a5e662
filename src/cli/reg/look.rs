//! The verbs that only read: get, export, check, diff.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Reading, Source};
use crate::cli::options::{self, warn_unsettled};
use crate::cli::ui::{Ui, columns, plain};
use crate::cli::{Result, Verdict, boxed};
use crate::edit::Error;
use crate::edit::registry::{self, Difference, Target, Unprintable};
use crate::formats::reg_file::{self, Writer};
use crate::windows;
use crate::windows::setting::{Data, ValueType};
use coldforge_base::time::FileTime;
use coldforge_base::{Failure as _, fs, hex, utf16};
use coldforge_regf::{Key, Severity};

/// Show a key with its values and subkeys, or one value
///
/// Of a clean hive file only the pages on the way are read. Exit code 1 if there is no such key or value.
#[derive(Args, Debug)]
pub(super) struct Get {
    #[command(flatten)]
    source: Source,

    /// The key
    #[arg(value_name = "KEY")]
    key: String,

    /// The value's name; @ for the unnamed one. Prints its data alone
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// What a look at a key found.
struct Shown {
    written: FileTime,
    class: Option<String>,
    values: Vec<(String, Data)>,
    subkeys: Vec<String>,
}

impl Shown {
    fn of(key: Key<'_>) -> coldforge_regf::Result<Self> {
        let values = key.values()?.map(|value| {
            let value = value?;
            Ok((value.name().to_string(), Data { kind: ValueType(value.kind()), data: value.data()?.into_owned() }))
        });
        Ok(Self {
            written: key.last_written(),
            class: key.class()?,
            values: values.collect::<coldforge_regf::Result<_>>()?,
            subkeys: key.subkeys()?.map(|key| Ok(key?.name().to_string())).collect::<coldforge_regf::Result<_>>()?,
        })
    }
}

pub(super) fn get(arguments: &Get, ui: &Ui) -> Result<Verdict> {
    let Source { target, reading } = &arguments.source;
    warn_unsettled(target, ui);
    let key = &arguments.key;
    if let Some(name) = &arguments.name {
        let name = if name == "@" { "" } else { name };
        let look = |key: Option<Key<'_>>| match key.map(|key| key.value(name)).transpose()?.flatten() {
            Some(value) => Ok(Some(Data { kind: ValueType(value.kind()), data: value.data()?.into_owned() })),
            None => Ok(None),
        };
        let (value, warnings) =
            Target::look(target, reading.input_format, reading.accept(), key, look).map_err(boxed)?;
        warn(ui, &warnings);
        if ui.json {
            ui.document(&json!({
                "schema": "coldforge/value/1",
                "key": key,
                "name": name,
                "value": value,
                "hex": value.as_ref().map(|value| hex::encode(&value.data)),
            }));
        } else if let Some(value) = &value {
            ui.data(&format!("{}\n", alone(value, "\n")));
        } else {
            ui.status("there is no such value");
        }
        return Ok(if value.is_some() { Verdict::Done } else { Verdict::Open });
    }
    let look = |key: Option<Key<'_>>| key.map(Shown::of).transpose();
    let (shown, warnings) = Target::look(target, reading.input_format, reading.accept(), key, look).map_err(boxed)?;
    warn(ui, &warnings);
    let Some(shown) = shown else {
        if ui.json {
            ui.document(&json!({"schema": "coldforge/key/1", "key": key, "found": false}));
        } else {
            ui.status("there is no such key");
        }
        return Ok(Verdict::Open);
    };
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/key/1",
            "key": key,
            "found": true,
            "last_written": shown.written.to_string(),
            "class": shown.class,
            "values": shown.values.iter().map(|(name, value)| json!({"name": name, "value": value, "hex": hex::encode(&value.data)})).collect::<Vec<_>>(),
            "subkeys": shown.subkeys,
        }));
        return Ok(Verdict::Done);
    }
    let mut text = format!("last written {}\n", shown.written);
    if let Some(class) = &shown.class {
        text.push_str(&format!("class {}\n", plain(class)));
    }
    let rows: Vec<Vec<String>> = shown
        .values
        .iter()
        .map(|(name, value)| {
            let name = if name.is_empty() { "(Default)".to_owned() } else { plain(name) };
            vec![format!("  {name}"), value.kind.to_string(), alone(value, " | ")]
        })
        .collect();
    text.push_str(&columns(&rows));
    for name in &shown.subkeys {
        text.push_str(&format!("  {}\\\n", plain(name)));
    }
    ui.data(&text);
    Ok(Verdict::Done)
}

/// Returns a value's data as a script wants it: text without quotes, strings with `between` between them, numbers in
/// decimal, hex digits for the rest.
fn alone(value: &Data, between: &str) -> String {
    // Text that says less than the bytes do is not shown as text.
    if let Some(text) = value.as_text().filter(|text| utf16::encode_with_nul(text) == value.data) {
        return plain(&text);
    }
    let whole = |texts: &Vec<String>| {
        let strings: Vec<u8> = texts.iter().flat_map(|text| utf16::encode_with_nul(text)).collect();
        [strings.as_slice(), &[0, 0]].concat() == value.data
    };
    if let Some(texts) = value.as_texts().filter(whole) {
        return texts.iter().map(|text| plain(text)).collect::<Vec<_>>().join(between);
    }
    let number = value.as_dword().map(u64::from).or_else(|| value.as_qword());
    number.map_or_else(|| hex::encode(&value.data), |number| number.to_string())
}

/// How `.reg` text is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Style {
    /// UTF-8, LF, strings as hex digits: what hivexregedit --export writes
    Hivex,
    /// UTF-16 with byte order mark, CRLF, strings in quotes: what regedit writes
    Regedit,
}

impl From<Style> for reg_file::Style {
    fn from(style: Style) -> Self {
        match style {
            Style::Hivex => Self::Hivex,
            Style::Regedit => Self::Regedit,
        }
    }
}

/// Write a key and all below it as .reg text
///
/// A key or value whose name no line of text can carry (a line break, an unpaired surrogate) is left out with a warning, and
/// the exit code is 1; with --escape-names it is written under an escaped name, for people to read.
#[derive(Args, Debug)]
pub(super) struct Export {
    #[command(flatten)]
    source: Source,

    /// The key; the root of a hive file if none is named
    #[arg(value_name = "KEY", default_value = "")]
    key: String,

    /// The form of the text
    #[arg(long, value_enum, default_value = "hivex")]
    style: Style,

    /// What stands before the keys of a hive file, such as HKEY_LOCAL_MACHINE\SOFTWARE
    #[arg(long, value_name = "KEY", default_value = "")]
    prefix: String,

    /// Write names that no line of text can carry with <U+000A> in the place of such characters, instead of leaving them
    /// out; an import makes other names of them
    #[arg(long)]
    escape_names: bool,

    /// Write into this new file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn export(arguments: &Export, ui: &Ui) -> Result<Verdict> {
    let Source { target, reading } = &arguments.source;
    options::check_outside(arguments.output.as_deref())?;
    warn_unsettled(target, ui);
    let mut opened = Target::open(target, reading.input_format, reading.accept()).map_err(boxed)?;
    let prefix = match &opened {
        Target::Hive(_) => arguments.prefix.trim_end_matches('\\').to_owned(),
        Target::Image(registry) => registry.long_root(&arguments.key).unwrap_or_default(),
    };
    let (hive, below) = opened.hive(&arguments.key).map_err(boxed)?;
    let found = registry::spelled(hive, &below).map_err(boxed)?;
    let key = hive.key(&below).map_err(|error| boxed(Error::Hive(error)))?;
    let (Some(path), Some(key)) = (found, key) else {
        ui.status("there is no such key");
        return Ok(Verdict::Open);
    };
    let odd = if arguments.escape_names { Unprintable::Escape } else { Unprintable::Skip };
    let exported = registry::export(&key, &format!("{prefix}{path}"), arguments.style.into(), odd).map_err(boxed)?;
    let text = exported.text;
    warn(ui, &opened.warnings());
    let done = if arguments.escape_names { "is written as" } else { "is left out, with all below it:" };
    let noticed =
        exported.unprintable.iter().map(|name| format!("W-REG-NAME: a name that text cannot carry {done} {name}"));
    warn(ui, &noticed.collect::<Vec<_>>());
    match &arguments.output {
        Some(path) => {
            let write = || {
                let mut file = fs::Fresh::create(path)?;
                file.write(&text)?;
                file.finish()
            };
            write().map_err(boxed)?;
        }
        None => {
            ui.bytes(&text);
        }
    }
    let is_whole = exported.unprintable.is_empty() || arguments.escape_names;
    Ok(if is_whole { Verdict::Done } else { Verdict::Open })
}

/// Check every rule of the hive format over a hive file, or over the hives of an image
///
/// Exit code 0 if there is no error, 1 if there is one. What Windows itself breaks at times is a warning.
#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
}

pub(super) fn check(arguments: &Check, ui: &Ui) -> Result<Verdict> {
    let Source { target, reading } = &arguments.source;
    warn_unsettled(target, ui);
    let mut opened = match Target::open(target, reading.input_format, reading.accept()) {
        Err(error @ Error::HiveFile { .. }) => return Ok(unreadable(&target.display().to_string(), &error, ui)),
        opened => opened.map_err(boxed)?,
    };
    let keys: Vec<&str> = match &opened {
        Target::Hive(_) => vec![""],
        Target::Image(registry) => registry.roots().collect(),
    };
    let (mut errors, mut hives, mut text) = (0, Vec::new(), String::new());
    for root in keys {
        let shown = if root.is_empty() { target.display().to_string() } else { root.to_owned() };
        ui.status(&format!("checking {}", plain(&shown)));
        let findings = match opened.hive(root) {
            Ok((hive, _)) => hive.verify(),
            // An image need not have each of them.
            Err(Error::Windows(windows::Error::NoHive { .. })) => continue,
            Err(error) => {
                errors += 1;
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let code = error.code().map(|code| format!(" [{code}]")).unwrap_or_default();
                text.push_str(&format!("{shown}: unreadable{code}: {}\n", plain(&format!("{error}{cause}"))));
                hives.push(json!({"hive": shown, "readable": false, "code": error.code(), "findings": []}));
                continue;
            }
        };
        let bad = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        errors += bad;
        for finding in &findings {
            text.push_str(&format!("{shown}: {finding}\n"));
        }
        text.push_str(&format!("{shown}: {bad} errors, {} warnings\n", findings.len() - bad));
        hives.push(json!({
            "hive": shown,
            "readable": true,
            "findings": findings.iter().map(|finding| json!({
                "severity": finding.severity.to_string(),
                "rule": finding.rule.code(),
                "cell": finding.at,
                "text": finding.to_string(),
            })).collect::<Vec<_>>(),
        }));
    }
    warn(ui, &opened.warnings());
    if ui.json {
        ui.document(&json!({"schema": "coldforge/hive-check/1", "errors": errors, "hives": hives}));
    } else {
        ui.data(&plain_lines(&text));
    }
    Ok(if errors == 0 { Verdict::Done } else { Verdict::Open })
}

/// Says of a hive file that it cannot be read as one.
fn unreadable(hive: &str, error: &Error, ui: &Ui) -> Verdict {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    if ui.json {
        let listed = json!({"hive": hive, "readable": false, "code": error.code(), "text": format!("{error}{cause}"), "findings": []});
        ui.document(&json!({"schema": "coldforge/hive-check/1", "errors": 1, "hives": [listed]}));
    } else {
        let code = error.code().map(|code| format!(" [{code}]")).unwrap_or_default();
        ui.data(&format!("{}: unreadable{code}: {}\n", plain(hive), plain(&format!("{error}{cause}"))));
    }
    Verdict::Open
}

/// Show what differs between two hive files or images
///
/// Keys and values are compared; times, descriptors and class names are not. Exit code 0 if nothing differs, else 1.
#[derive(Args, Debug)]
pub(super) struct Diff {
    /// A hive file, or an image
    #[arg(value_name = "FIRST")]
    first: PathBuf,

    /// Another one
    #[arg(value_name = "SECOND")]
    second: PathBuf,

    /// Compare this key and what is below it: needed for images, the root of hive files if none is named
    #[arg(value_name = "KEY", default_value = "")]
    key: String,

    #[command(flatten)]
    reading: Reading,

    /// Print .reg text that makes the first like the second
    #[arg(long)]
    reg: bool,
}

pub(super) fn diff(arguments: &Diff, ui: &Ui) -> Result<Verdict> {
    let reading = &arguments.reading;
    let open = |path: &PathBuf| Target::open(path, reading.input_format, reading.accept()).map_err(boxed);
    let (mut first, mut second) = (open(&arguments.first)?, open(&arguments.second)?);
    let broken = |error| boxed(Error::Hive(error));
    let ((one, at_one), (two, at_two)) =
        (first.hive(&arguments.key).map_err(boxed)?, second.hive(&arguments.key).map_err(boxed)?);
    let keys = (one.key(&at_one).map_err(broken)?, two.key(&at_two).map_err(broken)?);
    if keys.0.is_none() && keys.1.is_none() {
        ui.status("there is no such key");
        return Ok(Verdict::Open);
    }
    let differences = registry::diff(keys.0, keys.1).map_err(boxed)?;
    warn(ui, &first.warnings());
    warn(ui, &second.warnings());
    let root = arguments.key.trim_matches('\\').to_owned();
    let full = |key: &str| match (root.is_empty(), key.is_empty()) {
        (true, _) => format!(r"\{key}"),
        (false, true) => root.clone(),
        (false, false) => format!(r"{root}\{key}"),
    };
    let verdict = if differences.is_empty() { Verdict::Done } else { Verdict::Open };
    if arguments.reg {
        ui.bytes(&patch(&differences, full).map_err(|error| boxed(Error::RegText(error)))?);
        return Ok(verdict);
    }
    let value = |content: &Option<(u32, Vec<u8>)>| {
        content.as_ref().map(|(kind, data)| Data { kind: ValueType(*kind), data: data.clone() })
    };
    let show = |content: &Option<(u32, Vec<u8>)>| {
        value(content).map_or_else(|| "absent".to_owned(), |value| format!("{} {}", value.kind, alone(&value, " | ")))
    };
    if ui.json {
        let listed = differences.iter().map(|difference| match difference {
            Difference::OnlyInFirst { key } => json!({"kind": "key_only_in_first", "key": full(key)}),
            Difference::OnlyInSecond { key } => json!({"kind": "key_only_in_second", "key": full(key)}),
            Difference::Value { key, name, first, second } => json!({
                "kind": "value", "key": full(key), "name": name, "first": value(first), "second": value(second),
            }),
        });
        ui.document(&json!({"schema": "coldforge/registry-diff/1", "differences": listed.collect::<Vec<_>>()}));
        return Ok(verdict);
    }
    let mut text = String::new();
    for difference in &differences {
        text.push_str(&match difference {
            Difference::OnlyInFirst { key } => format!("- {}\n", plain(&full(key))),
            Difference::OnlyInSecond { key } => format!("+ {}\n", plain(&full(key))),
            Difference::Value { key, name, first, second } => {
                let name = if name.is_empty() { "(Default)" } else { name };
                format!("~ {}!{}: {} -> {}\n", plain(&full(key)), plain(name), show(first), show(second))
            }
        });
    }
    ui.data(&text);
    Ok(verdict)
}

/// Returns `.reg` text that makes the first like the second.
fn patch(differences: &[Difference], full: impl Fn(&str) -> String) -> std::result::Result<Vec<u8>, reg_file::Error> {
    let mut writer = Writer::new(reg_file::Style::Hivex);
    for difference in differences {
        match difference {
            Difference::OnlyInFirst { key } => writer.delete_key(&full(key))?,
            Difference::OnlyInSecond { key } => writer.key(&full(key), [])?,
            Difference::Value { key, name, second, .. } => {
                let content = second.as_ref().map(|(kind, data)| (*kind, data.as_slice()));
                writer.key(&full(key), [(name.as_str(), content)])?;
            }
        }
    }
    Ok(writer.finish())
}

fn plain_lines(text: &str) -> String {
    text.lines().map(|line| plain(line) + "\n").collect()
}

/// Says what was noticed.
pub(super) fn warn(ui: &Ui, warnings: &[String]) {
    for warning in warnings {
        ui.status(&format!("warning: {}", plain(warning)));
    }
}
