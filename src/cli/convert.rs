//! `coldforge convert`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::options::{self, Parent, Source};
use super::ui::{Ui, bytes, plain};
use super::{Result, Verdict, boxed};
use coldforge_base::{Failure, ReadAt as _};
use coldforge_disk::{self as disk, Format};

/// Write the disk of an image as a new image of another container
///
/// A differencing disk is read through its parents and comes out whole. Zeros are not stored, no byte of the disk
/// changes, and the same disk gives the same file. The new file is read again before it gets its name.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    parent: Parent,

    /// The file to make; it must not exist
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// The container: raw, vhd, vhd-dynamic, vhdx, vhdx-dynamic or vmdk; without it the ending of OUT says it, where
    /// .vhd and .vhdx are dynamic
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
}

fn format(text: &str) -> std::result::Result<Format, String> {
    let format: Format = text.parse().map_err(|unknown: disk::UnknownFormat| unknown.to_string())?;
    if format == format.alone() {
        Ok(format)
    } else {
        Err("a differencing disk is made by `coldforge harden --format delta`".to_owned())
    }
}

/// The ending of a file that says nothing about its container.
#[derive(Debug, thiserror::Error, Failure)]
#[error("the ending of `{}` does not say which container it is to be", .0.display())]
#[failure(usage, hint = "say it with `--format`")]
struct NoFormat(PathBuf);

impl Arguments {
    /// Returns the container that the ending of the output stands for.
    fn by_ending(&self) -> Option<Format> {
        let ending = self.out.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "raw" | "img" | "dd" => Some(Format::Raw),
            "vhd" => Some(Format::VhdDynamic),
            "vhdx" => Some(Format::VhdxDynamic),
            "vmdk" => Some(Format::Vmdk),
            _ => None,
        }
    }

    fn target(&self) -> Result<Format> {
        self.format.or(self.by_ending()).ok_or_else(|| boxed(NoFormat(self.out.clone())))
    }
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let format = arguments.target()?;
    options::check_outside(Some(&arguments.out))?;
    if arguments.by_ending().is_some_and(|called| called.ending() != format.ending()) {
        let out = plain(&arguments.out.display().to_string());
        ui.status(&format!("warning: {out} is named like another container than {format}, which it will be"));
    }
    let image = arguments.source.open(&arguments.parent, ui)?;
    let exported = disk::convert(&image, &arguments.out, format, ui).map_err(boxed)?;
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/conversion/1",
            "source": arguments.source.image.display().to_string(),
            "source_format": image.format(),
            "output": arguments.out.display().to_string(),
            "format": exported.format,
            "disk_bytes": image.len(),
            "file_bytes": exported.file_bytes,
            "ebs_linear": exported.ebs.as_ref().map(|(linear, _)| linear),
            "ebs_blocks": exported.ebs.as_ref().map(|(_, blocks)| blocks),
        }));
    } else {
        ui.data(&format!(
            "{}: {}, {} of disk in {} of file\n",
            arguments.out.display(),
            exported.format,
            bytes(image.len()),
            bytes(exported.file_bytes)
        ));
    }
    Ok(Verdict::Done)
}
