//! `coldforge undo`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::ui::{Ui, bytes};
use super::{Result, Verdict, boxed};
use crate::disk::{self, Pending};

/// Take back what a run wrote into an image: from the undo journal beside it
///
/// Brings every byte of the image file back to what it was before the run, whether the run ended or was broken off, and
/// removes the journal. Refused if another program has written to the image since.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The disk image that was written to
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Keep the image as it is, for good: remove the journal of a run that ended
    #[arg(long)]
    forget: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let image = arguments.image.display();
    let (did, text, undone) = if arguments.forget {
        let text = match disk::forget(&arguments.image).map_err(boxed)? {
            true => format!("{image} stays as it is; the journal is removed\n"),
            false => format!("{image} has no undo journal\n"),
        };
        ("forget", text, None)
    } else {
        let undone = disk::undo(&arguments.image, ui).map_err(boxed)?;
        let run = match undone.run {
            Pending::Finished => "the run is taken back",
            Pending::Unfinished => "the run that had not ended is taken back",
        };
        ("undo", format!("{image}: {run}, {} put back\n", bytes(undone.bytes)), Some(undone))
    };
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/undo/1",
            "image": image.to_string(),
            "did": did,
            "run": undone.as_ref().map(|undone| match undone.run {
                Pending::Finished => "finished",
                Pending::Unfinished => "unfinished",
            }),
            "bytes": undone.as_ref().map(|undone| undone.bytes),
            "file_bytes": undone.as_ref().map(|undone| undone.file_bytes),
        }));
    } else {
        ui.data(&text);
    }
    Ok(Verdict::Done)
}
