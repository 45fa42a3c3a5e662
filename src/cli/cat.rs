//! `coldforge cat`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use thiserror::Error;

use super::options::{self, Parent};
use super::ui::Ui;
use super::volume::{self, Place};
use super::{Result, Verdict, boxed};
use coldforge_base::progress::Progress as _;
use coldforge_base::{Failure, FileOffset, fs};

/// Print the content of a file of the Windows volume
///
/// Files that NTFS compresses are decompressed. Files compressed by the Windows overlay filter (CompactOS), encrypted
/// files and links are refused by name.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    parent: Parent,

    /// A path as Windows or as a shell writes it: \Windows\win.ini, C:\Windows\win.ini, /Windows/win.ini
    #[arg(value_name = "PATH")]
    path: String,

    /// Write to this file, which must not exist, instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  coldforge cat base.vhd /Windows/System32/drivers/etc/hosts
  coldforge cat base.vhd 'C:\\Windows\\System32\\config\\SOFTWARE' -o SOFTWARE";

/// How much is read at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// `--json` without a file to write to: the content and the document cannot both go to stdout.
#[derive(Debug, Error, Failure)]
#[error("with --json the content needs a file to go to")]
#[failure(usage, hint = "name a file with -o")]
struct NowhereToWrite;

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let Place { source, partition } = &arguments.place;
    if ui.json && arguments.output.is_none() {
        return Err(boxed(NowhereToWrite));
    }
    let image = source.open(&arguments.parent, ui)?;
    let (number, volume) = volume::choose(&image, *partition)?;
    let path = volume::path(&arguments.path);
    let file = volume::find(&volume, &path)?;
    if file.is_directory() {
        return Err(boxed(volume::Error::Directory { path }));
    }
    // A file that cannot be read is refused before anything is written.
    volume.read_at(&file, FileOffset(0), &mut []).map_err(boxed)?;
    options::check_outside(arguments.output.as_deref())?;
    let mut output = arguments.output.as_deref().map(fs::Fresh::create).transpose().map_err(boxed)?;
    if output.is_some() {
        ui.start("reading", file.size());
    }
    let mut at = 0;
    while at < file.size() {
        let length = CHUNK_BYTES.min(file.size() - at);
        let mut chunk = vec![0; usize::try_from(length).expect("a chunk is small")];
        volume.read_at(&file, FileOffset(at), &mut chunk).map_err(boxed)?;
        match &mut output {
            Some(output) => output.write(&chunk).map_err(boxed)?,
            None if !ui.bytes(&chunk) => break,
            None => {}
        }
        ui.advance(length);
        at += length;
    }
    ui.finish();
    if let Some(output) = output {
        output.finish().map_err(boxed)?;
    }
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/cat/1",
            "image": source.image.display().to_string(),
            "partition": number,
            "path": path,
            "size": file.size(),
            "output": arguments.output.as_ref().map(|path| path.display().to_string()),
        }));
    }
    Ok(Verdict::Done)
}
