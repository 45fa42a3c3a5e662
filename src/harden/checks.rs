//! What must hold of an edit before anything of it is emitted.

use super::edit::Edit;
use super::{Error, Result};
use crate::audit::SecondOpinion;
use crate::aws::preflight;
use crate::component;
use crate::policy::{Assessment, CheckResult, Finding, Plan, Status, Step};
use crate::windows::setting::{Readings, Setting};
use crate::windows::{Machine, OpenOptions, VolumeCheck};
use coldforge_disk::Image;

/// Proves that every rule with a step is closed now, as far as the plan went, and that no other rule's status changed.
pub(super) fn prove_closed(before: &Assessment, after: &Assessment, plan: &Plan) -> Result<()> {
    let planned = |id: &str| plan.steps.iter().any(|step| step.rules.iter().any(|rule| rule == id));
    let left = |id: &str| plan.left_open.iter().chain(&plan.held_back).any(|held| held.rule == id);
    let is_step = |setting: &Setting| plan.steps.iter().any(|step| step.setting == *setting);
    let as_planned = |old: &Finding, new: &Finding| {
        let stepped = |check: &CheckResult| is_step(&check.setting);
        let untold = old.checks.iter().any(|check| check.status == Status::NotReviewed);
        new.checks.iter().filter(|check| stepped(check)).all(|check| check.status == Status::Pass)
            && (left(&old.stig_id) || untold)
    };
    let wrong: Vec<&str> = before
        .findings
        .iter()
        .zip(&after.findings)
        .filter(|(old, new)| {
            let held = match planned(&old.stig_id) {
                true => as_planned(old, new),
                false => new.status == old.status,
            };
            // A value that two rules share may close the other one as well, or take away what it is about; a waived rule
            // is left to other rules.
            let shut = || new.status == Status::NotApplicable && new.gate.iter().any(is_step);
            old.stig_id != new.stig_id || !(held || new.status == Status::Pass || old.is_waived() || shut())
        })
        .map(|(old, _)| old.stig_id.as_str())
        .collect();
    match wrong.first() {
        None => Ok(()),
        Some(rule) => Err(Error::NotClosed { count: wrong.len(), rule: (*rule).to_owned() }),
    }
}

/// Proves that every step of a fix or a component is taken: no rule tells.
pub(super) fn prove_fixed(plan: &Plan, fixes: &[String], machine: &dyn Readings) -> Result<()> {
    let is_fix = |step: &&Step| {
        let is_check = |rule: &String| preflight::check_words(std::slice::from_ref(rule)).is_ok();
        step.rules.iter().any(|rule| component::is_label(rule) || !fixes.is_empty() && is_check(rule))
    };
    let is_wrong = |step: &&Step| machine.get(&step.setting).ok().is_none_or(|found| found.value != step.to);
    let wrong: Vec<&Step> = plan.steps.iter().filter(is_fix).filter(is_wrong).collect();
    match wrong.first() {
        None => Ok(()),
        Some(step) => Err(Error::NotClosed { count: wrong.len(), rule: step.rules.join(", ") }),
    }
}

/// Looks at the written image as a stranger would: asks whether its disk is the one that was to be written, verifies its
/// hives, assesses it anew and asks the second readers.
pub(super) fn look_again(
    image: &Image,
    opening: OpenOptions,
    same: impl FnOnce() -> Result<bool>,
    edit: &Edit,
    expected: &Assessment,
    assess: &(dyn Fn(&dyn Readings) -> Assessment + Sync),
) -> Result<SecondOpinion> {
    if !same()? {
        return Err(Error::WrittenOtherwise);
    }
    let machine = Machine::open(image, OpenOptions { check: VolumeCheck::Skip, ..opening })?;
    if assess(&machine) != *expected {
        return Err(Error::WrittenOtherwise);
    }
    edit.second_opinion(image)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::harden::Request;
    use crate::policy;
    use coldforge_base::WriteAt as _;
    use coldforge_base::progress::Silent;
    use coldforge_base::time::Moment;
    use coldforge_disk::{self as disk, Overlay};

    fn fixture() -> Image {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ws2022.vhd");
        Image::open(&path, None).expect("the fixture is an image")
    }

    /// Assesses the fixture, edits it, and gives what every late check looks at.
    fn edited(image: &Image) -> (Assessment, Plan, Edit, Overlay<&Image>) {
        let demand = Request::default();
        let mut machine = Machine::open(Overlay::new(image), demand.opening(Moment(1))).unwrap();
        let before = assess(&machine);
        let plan = policy::plan(&before, &policy::HoldBack::Nothing).unwrap();
        let edit = Edit::apply(&plan, &mut machine).unwrap();
        (before, plan, edit, machine.into_device())
    }

    fn assess(machine: &dyn Readings) -> Assessment {
        Request::default().resolve(machine.identity(), Moment(1)).unwrap().assess(machine)
    }

    #[test]
    fn a_rule_that_an_edit_did_not_close_is_found() {
        let image = fixture();
        let (before, plan, _, overlay) = edited(&image);
        let after = assess(&Machine::open(&overlay, OpenOptions::default()).unwrap());
        assert!(prove_closed(&before, &after, &plan).is_ok());
        let still_open = prove_closed(&before, &before, &plan).unwrap_err();
        assert!(matches!(still_open, Error::NotClosed { count, .. } if count > 50), "{still_open}");
        let mut changed = after.clone();
        let other = changed.findings.iter_mut().find(|finding| finding.status == Status::NotReviewed).unwrap();
        other.status = Status::Open;
        assert!(matches!(prove_closed(&before, &changed, &plan), Err(Error::NotClosed { count: 1, .. })));
    }

    #[test]
    fn a_written_disk_that_differs_anywhere_from_the_overlay_is_found() {
        let image = fixture();
        let (before, _, edit, mut overlay) = edited(&image);
        // As if the copy had missed a byte that no setting depends on: the boot code.
        overlay.write_at(0, &[0x5a]).unwrap();
        let same = || Ok(disk::differences(&overlay, &image, &Silent)?.is_empty());
        let looked = look_again(&image, OpenOptions::default(), same, &edit, &before, &assess);
        assert!(matches!(looked, Err(Error::WrittenOtherwise)));
    }

    #[test]
    fn a_written_disk_that_is_assessed_otherwise_is_found() {
        let image = fixture();
        let (_, _, edit, overlay) = edited(&image);
        let after = assess(&Machine::open(&overlay, OpenOptions::default()).unwrap());
        let looked = look_again(&image, OpenOptions::default(), || Ok(true), &edit, &after, &assess);
        assert!(matches!(looked, Err(Error::WrittenOtherwise)));
    }

    #[cfg(feature = "second-opinion")]
    #[test]
    fn a_second_reader_that_sees_another_value_is_heard() {
        let image = fixture();
        let (_, _, edit, _) = edited(&image);
        // The source does not hold what the edit wrote.
        assert!(matches!(edit.second_opinion(&image), Err(Error::SecondOpinion { count, .. }) if count > 50));
    }
}
