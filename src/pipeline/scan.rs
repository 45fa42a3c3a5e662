//! Assesses an image without changing anything.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::{Demand, Result};
use crate::base::time::Moment;
use crate::disk::{Format, Image};
use crate::policy::{self, Assessment};
use crate::windows::View;
use crate::windows::setting::{Identity, Readings as _};

/// What a scan found.
#[derive(Debug)]
pub struct Scan {
    /// The machine.
    pub windows: Identity,
    /// What was noticed about the image, each with its code.
    pub warnings: Vec<String>,
    /// The findings.
    pub assessment: Assessment,
}

/// Assesses the Windows in the image at `path`.
///
/// # Errors
/// Every refusal by which the disk, the volume or a hive's head would stop a hardening run too. Hives are looked into,
/// not verified: a rule whose setting cannot be read is `not_reviewed`, with the reason.
pub fn scan(path: &Path, format: Option<Format>, demand: &Demand) -> Result<Scan> {
    let image = Image::open(path, format)?;
    let machine = View::open(Arc::new(image), demand.opening(Moment(0)))?;
    let demand = demand.resolve(machine.identity())?;
    Ok(Scan {
        windows: machine.identity().clone(),
        warnings: machine.warnings().to_vec(),
        assessment: policy::assess(demand.catalog, &demand.selection, &demand.values, &machine),
    })
}

/// An assessment as one JSON document (`coldforge/assessment/1`).
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    schema: &'static str,
    image: &'a str,
    windows: &'a Identity,
    #[serde(flatten)]
    assessment: &'a Assessment,
}

impl<'a> Document<'a> {
    /// Returns the document about the machine in an image of this file name.
    pub fn new(image: &'a str, windows: &'a Identity, assessment: &'a Assessment) -> Self {
        Self { schema: "coldforge/assessment/1", image, windows, assessment }
    }
}
