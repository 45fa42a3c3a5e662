//! `coldforge preflight`.

use std::path::Path;

use clap::Args;

use super::harden::typed;
use super::options::{Parent, Source, warn_unsettled};
use super::ui::{Ui, columns, plain};
use super::{Result, Verdict, boxed};
use crate::aws::preflight::{self, Report, Route};
use crate::harden;
use coldforge_base::progress::Progress as _;

/// Tell from the image alone whether AWS would take it, whether it would start there, and whether anybody could log on
///
/// Nothing is written and nothing is sent. Exit code 1 if a check fails; what cannot be told from an image is unknown,
/// with the reason, and fails nothing.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    parent: Parent,

    /// The way to AWS: import-image (AWS changes the image and starts it once) or snapshot (import-snapshot or EBS direct,
    /// then register-image: the image must bring everything)
    #[arg(long, value_name = "ROUTE", default_value = "import-image", value_parser = route)]
    route: Route,

    /// Show the checks that pass, too
    #[arg(long)]
    all: bool,
}

const AFTER_HELP: &str = "\
Examples:
  coldforge preflight base.vhd                     what stands against `aws ec2 import-image`
  coldforge preflight base.vhd --route snapshot    what stands against a snapshot that is registered as it is
  coldforge preflight base.vhd --json | jq -r '.checks[] | select(.verdict == \"fail\") | .id'";

pub(super) fn route(text: &str) -> std::result::Result<Route, String> {
    text.parse().map_err(|unknown: preflight::UnknownRoute| unknown.to_string())
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let source = &arguments.source;
    ui.start("checking", 0);
    let parent = arguments.parent.file.as_deref();
    warn_unsettled(&source.image, ui);
    let report = harden::preflight(&source.image, source.input_format, parent, arguments.route).map_err(boxed)?;
    ui.finish();
    let report = report.naming(&source.image.display().to_string());
    if ui.json {
        let name = source.image.file_name().unwrap_or_default().to_string_lossy();
        ui.document(&report.document(&name));
    } else {
        ui.data(&table(&report, &source.image, arguments.all));
    }
    Ok(if report.failed().next().is_some() { Verdict::Open } else { Verdict::Done })
}

/// Lays a report out: the checks in a table, then what to do about those that do not pass.
fn table(report: &Report, image: &Path, all: bool) -> String {
    let shown = report.checks.iter().filter(|check| all || check.verdict != preflight::Verdict::Pass);
    let rows: Vec<Vec<String>> = shown
        .clone()
        .map(|check| {
            vec![check.id.to_string(), check.verdict.to_string(), check.title.to_string(), plain(&check.found)]
        })
        .collect();
    let mut text = columns(&rows);
    let failed: Vec<_> = report.failed().collect();
    if !failed.is_empty() {
        text.push_str("\nWhat fails:\n");
    }
    for check in failed {
        text.push_str(&format!("  {}  {}\n", check.id, check.requires));
        for place in &check.at {
            text.push_str(&format!("       at {}\n", plain(place)));
        }
        text.push_str(&format!("       prevents: {}\n       hint: {}\n", check.prevents, plain(&check.hint)));
    }
    let fixable: Vec<&str> = report.checks.iter().filter(|check| check.fixable).map(|check| &*check.id).collect();
    if !fixable.is_empty() {
        let (fixes, image) = (fixable.join(","), typed(image));
        text.push_str(&format!("\nSets {fixes} right: coldforge harden {image} -o DIR --fix {fixes}\n"));
    }
    text.push_str(&format!("\n{}\n", summary(report)));
    text
}

/// Says in a line how the checks stand.
pub(super) fn summary(report: &Report) -> String {
    use preflight::Verdict::{Fail, Pass, Unknown, Warn};
    format!(
        "preflight for {}: {} pass, {} warn, {} fail, {} unknown",
        report.route,
        report.count(Pass),
        report.count(Warn),
        report.count(Fail),
        report.count(Unknown)
    )
}
