//! The verbs that write: set, delete, import, replay.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thiserror::Error;

use super::Source;
use super::look::warn;
use crate::cli::options;
use crate::cli::ui::{Ui, plain};
use crate::cli::{Result, Verdict, boxed};
use crate::edit::Output;
use crate::edit::registry::{self, EditResult, RegistryEdit};
use crate::formats::reg_file;
use crate::windows::OpenOptions;
use crate::windows::setting::ValueType;
use coldforge_base::{Failure, fs, hex, utf16};

/// The text of a whole SOFTWARE hive has 200 MB.
const TEXT_LIMIT_BYTES: u64 = 1 << 30;

/// Where the result goes.
#[derive(Args, Debug)]
struct Destination {
    /// Write the result into this new file, and leave the target as it is
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
}

impl Destination {
    fn output(&self) -> Output {
        self.output.clone().map_or(Output::InPlace, Output::File)
    }
}

/// Set a value; its key, and those above it, are made if they are missing
#[derive(Args, Debug)]
pub(super) struct Set {
    #[command(flatten)]
    source: Source,

    /// The key
    #[arg(value_name = "KEY")]
    key: String,

    /// The value's name; @ for the unnamed one
    #[arg(value_name = "NAME")]
    name: String,

    /// The data: text, a number (decimal, or hex after 0x), or hex digits; REG_MULTI_SZ takes several
    #[arg(value_name = "DATA")]
    data: Vec<String>,

    /// The type: REG_SZ, REG_EXPAND_SZ, REG_MULTI_SZ, REG_DWORD, REG_QWORD, REG_BINARY, REG_NONE, or any number
    #[arg(long = "type", value_name = "TYPE", default_value = "REG_SZ")]
    kind: String,

    #[command(flatten)]
    destination: Destination,
}

pub(super) fn set(arguments: &Set, ui: &Ui) -> Result<Verdict> {
    let (kind, data) = content(&arguments.kind, &arguments.data).map_err(boxed)?;
    let name = unnamed(&arguments.name);
    let step = RegistryEdit::SetValue { key: arguments.key.clone(), name, kind: kind.0, data };
    carry_out(&arguments.source, &arguments.destination, &[step], ui)
}

/// Delete a value, or a key
#[derive(Args, Debug)]
pub(super) struct Delete {
    #[command(flatten)]
    source: Source,

    /// The key
    #[arg(value_name = "KEY")]
    key: String,

    /// The value's name; @ for the unnamed one. Without a name the key itself is deleted
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Delete a key with all its subkeys
    #[arg(long, conflicts_with = "name")]
    recursive: bool,

    #[command(flatten)]
    destination: Destination,
}

pub(super) fn delete(arguments: &Delete, ui: &Ui) -> Result<Verdict> {
    let key = arguments.key.clone();
    let step = match &arguments.name {
        Some(name) => RegistryEdit::DeleteValue { key, name: unnamed(name) },
        None => RegistryEdit::DeleteKey { key, recursive: arguments.recursive },
    };
    carry_out(&arguments.source, &arguments.destination, &[step], ui)
}

/// Apply .reg text: of version 5, from regedit, hivexregedit or coldforge reg export
#[derive(Args, Debug)]
pub(super) struct Import {
    #[command(flatten)]
    source: Source,

    /// The text
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// What stands before the keys of a hive file, such as HKEY_LOCAL_MACHINE\SOFTWARE, and is taken off
    #[arg(long, value_name = "KEY", default_value = "")]
    prefix: String,

    #[command(flatten)]
    destination: Destination,
}

pub(super) fn import(arguments: &Import, ui: &Ui) -> Result<Verdict> {
    let text = fs::read(&arguments.file, TEXT_LIMIT_BYTES).map_err(boxed)?;
    let sections = reg_file::parse(&text).map_err(boxed)?;
    let steps = registry::steps(sections, &arguments.prefix).map_err(boxed)?;
    carry_out(&arguments.source, &arguments.destination, &steps, ui)
}

/// Recover a dirty hive file from its transaction logs, as Windows does at the next boot
///
/// In place, the logs are zeroed behind the hive, as nothing in them is needed any longer.
#[derive(Args, Debug)]
pub(super) struct Replay {
    /// The hive file
    #[arg(value_name = "HIVE")]
    hive: PathBuf,

    /// Its logs; those that lie beside it if none are named
    #[arg(value_name = "LOG")]
    logs: Vec<PathBuf>,

    #[command(flatten)]
    destination: Destination,
}

pub(super) fn replay(arguments: &Replay, ui: &Ui) -> Result<Verdict> {
    options::check_outside(arguments.destination.output.as_deref())?;
    let (replay, reports, written) =
        registry::replay(&arguments.hive, &arguments.logs, &arguments.destination.output(), ui).map_err(boxed)?;
    let files: Vec<String> = written.files.iter().map(|path| path.display().to_string()).collect();
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/replay/1",
            "dirty": replay.is_some(),
            "entries": replay.as_ref().and_then(|replay| replay.entries),
            "grown_to": replay.as_ref().and_then(|replay| replay.grown_to),
            "logs": reports.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "files": files,
        }));
        return Ok(Verdict::Done);
    }
    let mut text = match &replay {
        None => "the hive was clean\n".to_owned(),
        Some(_) => "the hive was dirty, and is clean now\n".to_owned(),
    };
    for report in &reports {
        text.push_str(&format!("  {}\n", plain(&report.to_string())));
    }
    for file in files {
        text.push_str(&format!("written: {}\n", plain(&file)));
    }
    ui.data(&text);
    Ok(Verdict::Done)
}

fn carry_out(source: &Source, destination: &Destination, steps: &[RegistryEdit], ui: &Ui) -> Result<Verdict> {
    let Source { target, reading } = source;
    let opening = OpenOptions { now: options::now()?.filetime(), accept: reading.accept(), ..OpenOptions::default() };
    options::check_outside(destination.output.as_deref())?;
    let output = destination.output();
    let written = registry::edit(target, reading.input_format, steps, &output, opening, ui).map_err(boxed)?;
    let EditResult { changed, files, warnings } = written;
    warn(ui, &warnings);
    if ui.json {
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        ui.document(
            &json!({"schema": "coldforge/registry-edit/1", "steps": steps.len(), "changed": changed, "files": files}),
        );
    } else if files.is_empty() {
        ui.status("nothing had to be changed");
    } else {
        let files: Vec<String> = files.iter().map(|path| plain(&path.display().to_string())).collect();
        ui.status(&format!("{changed} of {} steps changed something; written: {}", steps.len(), files.join(", ")));
    }
    Ok(Verdict::Done)
}

fn unnamed(name: &str) -> String {
    if name == "@" { String::new() } else { name.to_owned() }
}

/// What to do about data that does not fit its type.
const VALUE_TYPES: &str = "run `coldforge reg set --help` for the types and their data";

/// Data on the command line that its type does not take.
#[derive(Debug, Error, Failure)]
enum TypeMismatch {
    #[error("`{kind}` is no type of a value")]
    #[failure(usage, hint = VALUE_TYPES)]
    Kind { kind: String },
    #[error("{kind} takes {expected}")]
    #[failure(usage, hint = VALUE_TYPES)]
    Data { kind: ValueType, expected: &'static str },
}

/// Returns the type and the data that words of the command line mean.
fn content(kind: &str, words: &[String]) -> std::result::Result<(ValueType, Vec<u8>), TypeMismatch> {
    let named =
        ValueType::from_name(&kind.to_ascii_uppercase()).or_else(|| number(kind)?.try_into().ok().map(ValueType));
    let kind = named.ok_or_else(|| TypeMismatch::Kind { kind: kind.to_owned() })?;
    let misfit = |expected| TypeMismatch::Data { kind, expected };
    let one = || match words {
        [word] => Ok(word.as_str()),
        _ => Err(misfit("one word of data")),
    };
    let data = match kind {
        ValueType::SZ | ValueType::EXPAND_SZ => utf16::encode_with_nul(one()?),
        ValueType::MULTI_SZ => {
            if words.iter().any(String::is_empty) {
                return Err(misfit("strings that are not empty"));
            }
            let mut data: Vec<u8> = words.iter().flat_map(|word| utf16::encode_with_nul(word)).collect();
            data.extend_from_slice(&[0, 0]);
            data
        }
        ValueType::DWORD => {
            let number = number(one()?).and_then(|number| u32::try_from(number).ok());
            number.ok_or(misfit("a number below 2^32"))?.to_le_bytes().to_vec()
        }
        ValueType::QWORD => number(one()?).ok_or(misfit("a number below 2^64"))?.to_le_bytes().to_vec(),
        _ => hex::decode(&words.concat().replace([' ', ','], "")).ok_or(misfit("pairs of hex digits"))?,
    };
    Ok((kind, data))
}

/// Reads a number, decimal or hex after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => hex::number(digits),
        None => text.parse().ok().filter(|_| !text.starts_with('+')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_the_data_of_their_type() {
        let data = |kind: &str, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            content(kind, &words).ok().map(|(kind, data)| (kind.0, data))
        };
        assert_eq!(data("REG_SZ", &["a"]), Some((1, vec![97, 0, 0, 0])));
        assert_eq!(data("reg_dword", &["0x10"]), Some((4, vec![16, 0, 0, 0])));
        assert_eq!(data("REG_QWORD", &["1"]), Some((11, vec![1, 0, 0, 0, 0, 0, 0, 0])));
        assert_eq!(data("REG_MULTI_SZ", &["a", "b"]), Some((7, vec![97, 0, 0, 0, 98, 0, 0, 0, 0, 0])));
        assert_eq!(data("REG_MULTI_SZ", &[]), Some((7, vec![0, 0])));
        assert_eq!(data("REG_BINARY", &["00 ff", "1A"]), Some((3, vec![0, 255, 26])));
        assert_eq!(data("REG_BINARY", &[]), Some((3, vec![])));
        assert_eq!(data("0x10000", &["ab"]), Some((0x1_0000, vec![0xab])));
        for (kind, words) in [
            ("REG_DWORD", &["4294967296"][..]),
            ("REG_DWORD", &["-1"]),
            ("REG_DWORD", &["+1"]),
            ("REG_DWORD", &[]),
            ("REG_SZ", &["a", "b"]),
            ("REG_MULTI_SZ", &["a", ""]),
            ("REG_BINARY", &["abc"]),
            ("REG_BINARY", &["zz"]),
            ("REG_WORD", &["1"]),
        ] {
            assert_eq!(data(kind, words), None, "{kind} {words:?}");
        }
    }
}
