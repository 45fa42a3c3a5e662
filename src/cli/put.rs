//! `coldforge put`, `mkdir` and `rm`: the verbs that change files of a volume.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::options;
use super::ui::{Ui, plain};
use super::volume::{self, Place};
use super::{Result, Verdict, boxed};
use crate::edit;
use crate::edit::{FileEdit, Output};
use coldforge_base::fs;
use coldforge_disk::Image;

/// Content is held in memory, twice while it is written.
const CONTENT_LIMIT_BYTES: u64 = 2 << 30;

/// Where the result goes.
#[derive(Args, Debug)]
struct Destination {
    /// Write the changed image into this new file, and leave IMAGE as it is
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
}

/// Put a file into a volume of an image: its whole content, replaced or new
///
/// A new file gets the security descriptor that its folder passes on, as in Windows. The whole volume is verified
/// before and after; IMAGE is then changed in place, with an undo journal beside it until everything is written, so that
/// a run that is cut off can be taken back with `coldforge undo`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coldforge put base.vhd unattend.xml 'C:\\Windows\\Panther\\unattend.xml'
  coldforge put base.vhd SetupComplete.cmd /Windows/Setup/Scripts/SetupComplete.cmd -o new.vhd")]
pub(super) struct Put {
    #[command(flatten)]
    place: Place,

    /// The file to read
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where it goes; its folder must exist
    #[arg(value_name = "PATH")]
    path: String,

    #[command(flatten)]
    destination: Destination,
}

/// Make a folder in a volume of an image
///
/// It gets the security descriptor that the folder it lies in passes on. As for all verbs that write, the volume is verified before and after.
#[derive(Args, Debug)]
pub(super) struct MakeDirectory {
    #[command(flatten)]
    place: Place,

    /// The folder
    #[arg(value_name = "PATH")]
    path: String,

    /// Make the folders above it too, and be content if it exists
    #[arg(long, short)]
    parents: bool,

    #[command(flatten)]
    destination: Destination,
}

/// Delete a file or an empty folder of a volume of an image
///
/// As for all verbs that write, the volume is verified before and after.
#[derive(Args, Debug)]
pub(super) struct Remove {
    #[command(flatten)]
    place: Place,

    /// The file or folder
    #[arg(value_name = "PATH")]
    path: String,

    /// Delete a folder with everything in it
    #[arg(long, short)]
    recursive: bool,

    #[command(flatten)]
    destination: Destination,
}

pub(super) fn put(arguments: &Put, ui: &Ui) -> Result<Verdict> {
    let content = fs::read(&arguments.file, CONTENT_LIMIT_BYTES).map_err(boxed)?;
    let step = FileEdit::Put { path: volume::path(&arguments.path), content };
    carry_out(&arguments.place, &arguments.destination, step, ui)
}

pub(super) fn make_directory(arguments: &MakeDirectory, ui: &Ui) -> Result<Verdict> {
    let step = FileEdit::MakeDirectory { path: volume::path(&arguments.path), parents: arguments.parents };
    carry_out(&arguments.place, &arguments.destination, step, ui)
}

pub(super) fn remove(arguments: &Remove, ui: &Ui) -> Result<Verdict> {
    let step = FileEdit::Remove { path: volume::path(&arguments.path), recursive: arguments.recursive };
    carry_out(&arguments.place, &arguments.destination, step, ui)
}

fn carry_out(place: &Place, destination: &Destination, step: FileEdit, ui: &Ui) -> Result<Verdict> {
    let Place { source, partition } = place;
    options::check_outside(destination.output.as_deref())?;
    let output = destination.output.clone().map_or(Output::InPlace, Output::File);
    let now = options::now()?.filetime();
    let partition = {
        let image = Image::open(&source.image, source.input_format).map_err(boxed)?;
        let (number, _) = volume::choose(&image, *partition)?;
        volume::candidates(&image, Some(number))?.swap_remove(0)
    };
    let written =
        edit::edit_files(&source.image, source.input_format, &partition, &[step], (&output, now), ui).map_err(boxed)?;
    for warning in &written.warnings {
        ui.status(&format!("warning: {}", plain(warning)));
    }
    let files: Vec<String> = written.files.iter().map(|path| path.display().to_string()).collect();
    if ui.json {
        ui.document(&json!({"schema": "coldforge/file-edit/1", "partition": partition.number, "files": files, "warnings": written.warnings}));
    } else if files.is_empty() {
        ui.status("nothing had to be changed");
    } else {
        ui.status(&format!("written: {}", plain(&files.join(", "))));
    }
    Ok(Verdict::Done)
}
