//! Assesses an image without changing anything.

use std::path::Path;

use serde::Serialize;

use super::{Demand, Result};
use crate::base::time::Moment;
use crate::disk::{Format, Image};
use crate::policy::{self, Assessment};
use crate::windows::Machine;
use crate::windows::setting::{Identity, Settings as _};

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
/// Every refusal that would stop a hardening run too: what cannot be trusted to be written cannot be trusted to be read.
pub fn scan(path: &Path, format: Option<Format>, demand: &Demand) -> Result<Scan> {
    let image = Image::open(path, format)?;
    let machine = Machine::open(&image, demand.opening(Moment(0)))?;
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
