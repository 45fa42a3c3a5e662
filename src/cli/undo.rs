//! `coldforge undo`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::ui::{Ui, bytes};
use super::{Result, Verdict, boxed};
use coldforge_base::Extent;
use coldforge_disk::{self as disk, Pending};

/// Take back what a run wrote into an image: from the undo journal beside it
///
/// Brings every byte of the image file back to what it was before the run, whether the run ended or was broken off, and
/// removes the journal. Refused, with the places, if another program has written to the image since: that is judged by
/// digests and not by times, so that a copy of image and journal is taken back as well.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The disk image that was written to
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Keep the image as it is, for good: remove the journal of a run that ended
    #[arg(long)]
    forget: bool,

    /// Take back what the run wrote and is still as it was written, also if another program has written to the image
    /// since: what that wrote is left, and listed
    #[arg(long, conflicts_with = "forget")]
    force: bool,
}

/// So many places are named; the JSON document has them all.
const MOST_PLACES: usize = 16;

/// Returns a line for each of some places of the image file.
fn places(what: &str, places: &[Extent]) -> String {
    let named = places.iter().take(MOST_PLACES);
    let mut text: String =
        named.map(|place| format!("{what} {:#x} bytes at {:#x}\n", place.length, place.offset)).collect();
    if let Some(more) = places.len().checked_sub(MOST_PLACES).filter(|more| *more > 0) {
        text.push_str(&format!("{what} {more} more places (--json names them all)\n"));
    }
    text
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
        let undo = if arguments.force { disk::undo_by_force } else { disk::undo };
        let undone = undo(&arguments.image, ui).map_err(boxed)?;
        let run = match undone.run {
            Pending::Finished => "the run is taken back",
            Pending::Unsettled => "the run, which was broken off before its evidence was whole, is taken back",
            Pending::Unfinished => "the run that had not ended is taken back",
        };
        let mut text = match undone.was_restored {
            true => format!(
                "{image} is what it was before the run already: nothing had to be put back, and the journal is removed\n"
            ),
            false => format!("{image}: {run}, {} put back\n", bytes(undone.bytes)),
        };
        text.push_str(&places("left: changed since within", &undone.left));
        text.push_str(&places("cut off behind the old end of the file: changed since within", &undone.cut));
        ("undo", text, Some(undone))
    };
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/undo/1",
            "image": image.to_string(),
            "did": did,
            "run": undone.as_ref().map(|undone| match undone.run {
                Pending::Finished => "finished",
                Pending::Unsettled => "unsettled",
                Pending::Unfinished => "unfinished",
            }),
            "bytes": undone.as_ref().map(|undone| undone.bytes),
            "file_bytes": undone.as_ref().map(|undone| undone.file_bytes),
            "left": undone.as_ref().map(|undone| &undone.left),
            "cut": undone.as_ref().map(|undone| &undone.cut),
            "was_restored": undone.as_ref().map(|undone| undone.was_restored),
        }));
    } else {
        ui.data(&text);
    }
    Ok(Verdict::Done)
}
