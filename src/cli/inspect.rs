//! `coldforge inspect`.

use clap::Args;
use serde_json::{Value, json};

use super::options::{Parent, Source};
use super::ui::{Ui, bytes, columns, plain};
use super::{Result, Verdict, boxed, scan};
use crate::harden;
use crate::policy::Catalog;
use crate::windows::setting::Readings as _;
use crate::windows::{Depth, Machine, OpenOptions, Survey, SurveyedPartition};
use coldforge_base::{Failure, ReadAt as _, Refusal};

/// Show what an image holds: container, partitions, Windows, hives, and what would stand against editing it
///
/// Refusals are a result here, not a failure: the exit code is 0 also for an image that `harden` would refuse.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    parent: Parent,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let image = arguments.source.open(&arguments.parent, ui)?;
    let health = image.health();
    let survey = Survey::of(&image, Depth::Hives).map_err(boxed)?;
    let refusals = survey.refusals();
    let machine = if refusals.is_empty() { Some(Machine::open(&image, OpenOptions::default())) } else { None };
    // What only shows when the hives are opened is a refusal like the others.
    let (windows, late) = match &machine {
        Some(Ok(machine)) => (Some(machine.identity()), None),
        Some(Err(error)) => (None, Some(crate::windows::as_refusal(error))),
        None => (None, None),
    };
    let mut refusals: Vec<_> = refusals.into_iter().chain(late).collect();
    if let Some(Err(error)) = windows.map(Catalog::for_identity) {
        refusals.push(refusal(&error));
    }
    if windows.is_some() && survey.boot_mode().is_none() {
        refusals.push(refusal(&harden::Error::BootModeUnknown));
    }
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/inspection/1",
            "image": {
                "path": arguments.source.image.display().to_string(),
                "format": image.format().to_string(),
                "disk_bytes": image.len(),
                "file_bytes": image.file_len(),
                "health": health,
            },
            "scheme": survey.table.scheme.to_string(),
            "sector_bytes": survey.table.sector_bytes,
            "boot_mode": survey.boot_mode(),
            "partitions": survey.partitions.iter().map(surveyed).collect::<Vec<_>>(),
            "windows": windows,
            "refusals": refusals,
        }));
        return Ok(Verdict::Done);
    }
    let mut text = format!(
        "{}\n{}, {} of disk in {} of file\n",
        arguments.source.image.display(),
        image.format(),
        bytes(image.len()),
        bytes(image.file_len())
    );
    if let Some(block) = health.block_bytes {
        let stored = health.stored_blocks.map(|stored| format!(", {stored} of them stored")).unwrap_or_default();
        text.push_str(&format!("blocks of {}{stored}\n", bytes(block)));
    }
    for parent in &health.parents {
        text.push_str(&format!("stands on {}\n", plain(&parent.display().to_string())));
    }
    for note in &health.notes {
        text.push_str(&format!("note: {}\n", plain(note)));
    }
    let boots = survey.boot_mode().map_or_else(|| "boot mode unknown".to_owned(), |mode| format!("boots by {mode}"));
    text.push_str(&format!("{}, {}-byte sectors, {boots}\n\n", survey.table.scheme, survey.table.sector_bytes));
    let mut rows = vec![["#", "start", "size", "type", "holds"].map(str::to_owned).to_vec()];
    rows.extend(survey.partitions.iter().map(|surveyed| {
        let partition = &surveyed.partition;
        vec![
            partition.number.to_string(),
            format!("{:#x}", partition.start.0),
            bytes(partition.length_bytes),
            partition.kind.to_string(),
            plain(&holds(surveyed)),
        ]
    }));
    text.push_str(&columns(&rows));
    if let Some(windows) = windows {
        text.push_str(&format!("\n{}", scan::machine(windows)));
    }
    for surveyed in &survey.partitions {
        let Ok(Some(volume)) = &surveyed.volume else { continue };
        let rows: Vec<Vec<String>> = volume
            .hives
            .iter()
            .map(|hive| {
                let version = hive.version.clone().unwrap_or_else(|| "?".to_owned());
                vec![
                    format!("  {}", hive.path),
                    hive.bytes.map_or_else(|| "?".to_owned(), bytes),
                    version,
                    plain(&hive.state),
                ]
            })
            .collect();
        text.push_str(&columns(&rows));
        for warning in &volume.warnings {
            text.push_str(&format!("warning: {}\n", plain(&warning.to_string())));
        }
    }
    if refusals.is_empty() {
        text.push_str("\nNothing stands against editing this image.\n");
    } else {
        text.push_str("\nhardening would be refused:\n");
        for refusal in &refusals {
            text.push_str(&format!("  {}\n    hint: {}\n", plain(&refusal.to_string()), refusal.hint));
        }
    }
    ui.data(&text);
    Ok(Verdict::Done)
}

fn refusal(error: &dyn Failure) -> Refusal {
    Refusal { code: error.code().unwrap_or_default(), reason: error.to_string(), hint: error.advice() }
}

fn surveyed(surveyed: &SurveyedPartition) -> Value {
    let partition = &surveyed.partition;
    json!({
        "number": partition.number,
        "start": partition.start,
        "length": partition.length_bytes,
        "type": partition.kind.to_string(),
        "name": partition.name,
        "active": partition.active,
        "signature": partition.signature.to_string(),
        "volume": surveyed.volume.as_ref().ok().and_then(Option::as_ref),
        "error": surveyed.volume.as_ref().err().map(crate::windows::as_refusal),
    })
}

fn holds(surveyed: &SurveyedPartition) -> String {
    match &surveyed.volume {
        Ok(Some(volume)) => {
            let windows = if volume.windows { ", Windows" } else { "" };
            format!("NTFS, {} clusters{windows}", bytes(volume.cluster_bytes))
        }
        Ok(None) => surveyed.partition.signature.to_string(),
        Err(error) => format!("unreadable: {error}"),
    }
}
