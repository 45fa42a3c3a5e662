//! Assesses an image without changing anything.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Request, Result, scope};
use crate::policy::{Assessment, Catalog, Held};
use crate::windows::setting::{Identity, Readings};
use crate::windows::{Machine, OpenOptions, ReadOnlyMachine, VolumeCheck};
use coldforge_base::time::Moment;
use coldforge_disk::Image;

/// What a scan found.
#[derive(Debug)]
pub struct Scan {
    /// The machine.
    pub windows: Identity,
    /// What was noticed about the image, each with its code.
    pub warnings: Vec<String>,
    /// What was assessed.
    pub catalog: Cow<'static, Catalog>,
    /// The findings.
    pub assessment: Assessment,
    /// What a hardening run would leave open on purpose, with the reason.
    pub held_back: Vec<Held>,
}

/// Assesses the Windows in an image, on the day of `now`, which ends waivers.
///
/// # Errors
/// Every refusal by which the disk, the volume or a hive would stop a hardening run too. Hives are only looked into, and
/// loaded and verified as soon as one of them gives cause to.
pub fn scan(image: Image, demand: &Request, now: Moment) -> Result<Scan> {
    let image = Arc::new(image);
    let opening = demand.opening(Moment(0));
    if let Ok(read_only) = ReadOnlyMachine::open(Arc::clone(&image), opening) {
        let scan = look(&read_only, read_only.warnings(), demand, now)?;
        if !read_only.met_damage() {
            return Ok(scan);
        }
    }
    // Damage, or what looks like it to a reader that does not load the hives: they are loaded and verified.
    let machine = Machine::open(&*image, OpenOptions { check: VolumeCheck::Skip, ..opening })?;
    look(&machine, machine.warnings(), demand, now)
}

fn look(machine: &dyn Readings, warnings: &[String], demand: &Request, now: Moment) -> Result<Scan> {
    let demand = demand.resolve(machine.identity(), now)?;
    let assessment = demand.assess(machine);
    let held_back = demand.held_back(&assessment, machine)?;
    Ok(Scan {
        windows: machine.identity().clone(),
        warnings: warnings.iter().chain(scope::warnings(&assessment.scope)).cloned().collect(),
        assessment,
        held_back,
        catalog: demand.catalog,
    })
}
