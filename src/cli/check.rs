//! `coldforge check`.

use clap::Args;
use serde_json::{Value, json};

use super::options::Parent;
use super::ui::Ui;
use super::volume::{self, Error, Place};
use super::{Result, Verdict, boxed};
use coldforge_base::progress::Progress as _;
use coldforge_base::{Failure as _, Kind};
use coldforge_disk::partition::Partition;
use coldforge_ntfs::verify::{Check, Finding, Report, Severity};

/// Check the NTFS volumes of an image: every record, name, index, cluster and descriptor against all others
///
/// Nothing is written. Exit code 0 if no volume contradicts itself (warnings are states of healthy volumes, such as
/// unfinished transactions), 1 if one does, 3 if one cannot be looked into (BitLocker).
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    parent: Parent,
}

const AFTER_HELP: &str = "\
Examples:
  coldforge check base.vhd                   every NTFS volume of the image
  coldforge check disk.raw --partition 2     the volume of one partition
  coldforge check disk.raw --json | jq '.volumes[].findings[] | select(.severity == \"error\")'";

/// What was found in a partition.
type Checked = (Partition, std::result::Result<Report, Error>);

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let Place { source, partition } = &arguments.place;
    let image = source.open(&arguments.parent, ui)?;
    let mut checked: Vec<Checked> = Vec::new();
    for partition in volume::candidates(&image, *partition)? {
        let failed = |source| Error::Volume { partition: partition.number, source };
        let report = volume::open(&image, &partition).and_then(|volume| volume.verify(Check::Full, ui).map_err(failed));
        ui.finish();
        match report {
            // What the operating system failed says nothing of the volume.
            Err(error) if error.kind() == Kind::Io => return Err(boxed(error)),
            report => checked.push((partition, report)),
        }
    }
    if ui.json {
        let sound = checked.iter().all(|(_, report)| report.as_ref().is_ok_and(Report::is_sound));
        ui.document(&json!({
            "schema": "coldforge/check/1",
            "image": source.image.display().to_string(),
            "sound": sound,
            "volumes": checked.iter().map(document).collect::<Vec<_>>(),
        }));
    } else {
        ui.data(&checked.iter().map(text).collect::<String>());
    }
    let is_wrong = |(_, report): &Checked| match report {
        Ok(report) => !report.is_sound(),
        Err(error) => error.kind() == Kind::Corrupt,
    };
    if checked.iter().any(is_wrong) {
        return Ok(Verdict::Open);
    }
    match checked.into_iter().find_map(|(_, report)| report.err()) {
        // The document says it already, and must stay the only one.
        Some(_) if ui.json => Ok(Verdict::Refused),
        Some(error) => Err(boxed(error)),
        None => Ok(Verdict::Done),
    }
}

fn text((partition, report): &Checked) -> String {
    let head = format!("partition {} at {}", partition.number, partition.start);
    let report = match report {
        Ok(report) => report,
        Err(error) => return format!("{head}: {}\n", chain(error)),
    };
    let warnings = report.findings.len() - report.errors().count();
    let verdict = match (report.errors().count(), warnings) {
        (0, 0) => "no findings".to_owned(),
        (errors, warnings) => format!("{errors} errors, {warnings} warnings"),
    };
    let Report { records, files, directories, clusters, omitted, .. } = report;
    let mut text =
        format!("{head}: {verdict} ({records} records, {files} files, {directories} folders, {clusters} clusters)\n");
    for finding in &report.findings {
        text.push_str(&format!("  {finding}\n"));
    }
    if *omitted > 0 {
        text.push_str(&format!("  and {omitted} more\n"));
    }
    text
}

fn document((partition, report): &Checked) -> Value {
    let mut document = json!({ "partition": partition.number, "start": partition.start });
    let members = match report {
        Err(error) => json!({
            "sound": false,
            "error": { "code": error.code(), "message": chain(error), "hint": error.advice() },
        }),
        Ok(report) => json!({
            "sound": report.is_sound(),
            "records": report.records,
            "files": report.files,
            "directories": report.directories,
            "clusters": report.clusters,
            "errors": report.errors().count(),
            "warnings": report.findings.iter().filter(|finding| finding.severity() == Severity::Warning).count(),
            "omitted": report.omitted,
            "findings": report.findings.iter().map(|finding| member(finding, partition)).collect::<Vec<_>>(),
        }),
    };
    if let (Value::Object(document), Value::Object(members)) = (&mut document, members) {
        document.extend(members);
    }
    document
}

fn member(finding: &Finding, partition: &Partition) -> Value {
    json!({
        "severity": finding.severity().to_string(),
        "rule": finding.rule.code(),
        "record": finding.record,
        "about": finding.about.to_string().trim_start_matches(", "),
        "actual": finding.actual,
        "expected": finding.expected,
        "volume_offset": finding.at,
        "image_offset": partition.start.checked_add(finding.at.0),
        "message": finding.to_string(),
    })
}

/// Returns an error with its causes as one sentence.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
