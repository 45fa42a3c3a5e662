//! `coldforge report`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::options;
use super::ui::Ui;
use super::{Result, Verdict, boxed};
use crate::harden;
use crate::report::Format;

/// Render the reports of a bundle again
///
/// Reports come from the bundle's assessment and audit log alone: the same bundle gives the same bytes. With one format
/// and no -o, the report goes to stdout.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The folder that `coldforge harden -o` wrote
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,

    /// html, cklb, ckl, xccdf, hdf, oscal, sarif, junit, csv, markdown or provenance; several with commas; all if it is
    /// left out
    #[arg(long, value_name = "FORMAT", value_delimiter = ',', value_parser = format)]
    format: Vec<Format>,

    /// Put the results of all rules into SARIF, not only those of open ones
    #[arg(long)]
    sarif_all: bool,

    /// The folder to write them to; it is made if it is not there. Several reports need a new or an empty
    /// folder, which holds all of them or none; a single one may join other files, and overwrites none
    #[arg(long, short, value_name = "DIR", required_unless_present = "format")]
    output: Option<PathBuf>,
}

pub(super) fn format(text: &str) -> std::result::Result<Format, String> {
    let known = || Format::all().map(|format| format.to_string()).collect::<Vec<_>>().join(", ");
    text.parse().map_err(|_| format!("the formats are {}", known()))
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let formats = if arguments.format.is_empty() { Format::all().collect() } else { arguments.format.clone() };
    let reports = harden::report(&arguments.bundle, &formats, options::results(arguments.sarif_all)).map_err(boxed)?;
    let Some(folder) = &arguments.output else {
        // XCCDF has a document for each benchmark, and only one of them can stand on stdout: that of Windows.
        for format in &formats {
            if let Some(report) = reports.get(format.path()) {
                ui.bytes(report);
            }
        }
        if reports.len() > formats.len() {
            let count = reports.len() - formats.len();
            ui.status(&format!("{count} documents of further benchmarks are left out: -o DIR writes them all"));
        }
        return Ok(Verdict::Done);
    };
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let files: Vec<(String, Vec<u8>)> = reports.into_iter().map(|(path, report)| (name(&path), report)).collect();
    let written = harden::write_rendered(folder, &files).map_err(boxed)?;
    let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    if ui.json {
        ui.document(&json!({ "schema": "coldforge/reports/1", "files": written }));
    } else {
        ui.data(&written.iter().map(|path| format!("{path}\n")).collect::<String>());
    }
    Ok(Verdict::Done)
}
