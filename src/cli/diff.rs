//! `coldforge diff`: where two disks differ, whatever containers they are in.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::options::warn_unsettled;
use super::ui::{Ui, bytes, columns};
use super::{Result, Verdict, boxed};
use coldforge_base::ReadAt as _;
use coldforge_disk::{self as disk, Image};

/// Lines of text that are printed; JSON has all of them.
const LINES_MAX: usize = 1_000;

/// Show where the disks of two images differ, byte for byte
///
/// The containers do not count: a raw disk and a VHDX of the same contents are equal. Exit code 0 if nothing differs,
/// 1 if something does.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// One image
    #[arg(value_name = "A")]
    one: PathBuf,

    /// The other image
    #[arg(value_name = "B")]
    other: PathBuf,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let one = Image::open(&arguments.one, None).map_err(boxed)?;
    let other = Image::open(&arguments.other, None).map_err(boxed)?;
    for image in [&arguments.one, &arguments.other] {
        warn_unsettled(image, ui);
    }
    let extents = disk::differences(&one, &other, ui).map_err(boxed)?;
    let total = extents.iter().fold(0u64, |sum, extent| sum.saturating_add(extent.length));
    if ui.json {
        let about = |path: &PathBuf, image: &Image| json!({"path": path.display().to_string(), "format": image.format(), "disk_bytes": image.len()});
        ui.document(&json!({
            "schema": "coldforge/difference/1",
            "a": about(&arguments.one, &one),
            "b": about(&arguments.other, &other),
            "equal": extents.is_empty(),
            "bytes": total,
            "extents": extents,
        }));
    } else if extents.is_empty() {
        ui.data("the disks are equal\n");
    } else {
        let mut rows = vec![["offset", "bytes"].map(str::to_owned).to_vec()];
        let shown = extents.iter().take(LINES_MAX);
        rows.extend(shown.map(|extent| vec![format!("{:#x}", extent.offset), extent.length.to_string()]));
        let mut text = columns(&rows);
        if extents.len() > LINES_MAX {
            text.push_str(&format!("and {} more extents\n", extents.len() - LINES_MAX));
        }
        text.push_str(&format!("\n{} in {} extents differ\n", bytes(total), extents.len()));
        if one.len() != other.len() {
            text.push_str(&format!("the disks have {} and {}\n", bytes(one.len()), bytes(other.len())));
        }
        ui.data(&text);
    }
    Ok(if extents.is_empty() { Verdict::Done } else { Verdict::Open })
}
