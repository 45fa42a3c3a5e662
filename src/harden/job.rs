//! The main job: an image goes in, a bundle with a hardened image and its evidence comes out.
//!
//! Everything is written to a copy-on-write overlay first. The machine is opened again through the overlay and assessed
//! anew; then the image is written (as a new file of any container, or in place), opened from its file, and assessed a
//! third time, and readers that this project did not write look at every changed value. Only then does the bundle appear
//! under its name. A run in place that fails behind its last write takes that write back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::checks::{prove_closed, prove_fixed};
use super::edit::Edit;
use super::emit::{Changed, Emitted};
use super::evidence::Evidence;
use super::request::Resolved;
use super::{Emission, Error, Request, Result, scope};
use crate::audit::{Holds, ImageRecord, Policy, SecondOpinion, SecretKey, Staging};
use crate::aws;
use crate::aws::preflight::{Container, Facts, Report};
use crate::component::{Component, StepReport};
use crate::policy::{self, Applied, Assessment, Held, Plan};
use crate::report::Results;
use crate::windows::setting::{Identity, Readings as _};
use crate::windows::{self, BootMode, Machine, OpenOptions, VolumeCheck};
use coldforge_base::progress::Progress;
use coldforge_base::time::Moment;
use coldforge_disk::{self as disk, Format, Image, Overlay};

/// A hardening job.
#[derive(Clone, Debug)]
pub struct Harden {
    /// The image; it is opened for reading only, unless it is written in place.
    pub source: PathBuf,
    /// The container, or `None` to recognise it.
    pub format: Option<Format>,
    /// The parent of a differencing disk that does not lie beside it.
    pub parent: Option<PathBuf>,
    /// What becomes of the changed disk.
    pub emission: Emission,
    /// Where the bundle will stand, or `None` for a dry run.
    pub output: Option<PathBuf>,
    /// What is asked for.
    pub request: Request,
    /// The moment that the log and changed keys carry.
    pub now: Moment,
    /// How firmware starts the machine, or `None` to take it from the partition table.
    pub boot_mode: Option<BootMode>,
    /// Where the image goes, as the files for AWS name it.
    pub aws: aws::Options,
    /// Whether a check of the preflight that fails ends the run.
    pub must_pass_preflight: bool,
    /// Which results the bundle's SARIF document holds.
    pub sarif: Results,
    /// The key that signs the bundle.
    pub signer: Option<SecretKey>,
    /// A monotonic clock for the timings, which reach no file: this floor has none of its own.
    pub elapsed: fn() -> Duration,
}

/// What a hardening job did.
#[derive(Debug)]
pub struct Outcome {
    /// The machine.
    pub windows: Identity,
    /// What was noticed about the image, each with its code.
    pub warnings: Vec<String>,
    /// The assessment before.
    pub before: Assessment,
    /// The assessment after, made anew.
    pub after: Assessment,
    /// What was changed, in the order of the log.
    pub applied: Vec<Applied>,
    /// What the rules demanded and was not done, with the reason.
    pub held_back: Vec<Held>,
    /// What the rules demanded and the organization waived.
    pub waived: Vec<Held>,
    /// What the rules demanded and nothing can be done about here, with the reason.
    pub left_open: Vec<Held>,
    /// What setup may set anew when the image starts.
    pub at_risk: Vec<Held>,
    /// What became of each step of the components, in their order.
    pub components: Vec<StepReport>,
    /// What the result covers, one sentence each, in the words of the log and the reports.
    pub scope: Vec<String>,
    /// The image as it was; `None` in a dry run, which digests nothing.
    pub source: Option<ImageRecord>,
    /// The image as it is; `None` in a dry run.
    pub output: Option<ImageRecord>,
    /// What readers that this project did not write found in the image; `None` in a dry run.
    pub second_opinion: Option<SecondOpinion>,
    /// What Amazon would say of the image as it was, and as it is now.
    pub preflight: (Report, Report),
    /// The undo journal beside an image that was written in place.
    pub journal: Option<PathBuf>,
    /// The bundle; `None` in a dry run.
    pub bundle: Option<BundleSummary>,
    /// How long each stage took.
    pub timings_ms: Timings,
}

/// The bundle that a job made.
#[derive(Clone, Debug)]
pub struct BundleSummary {
    /// The folder.
    pub folder: PathBuf,
    /// The changed image: in the bundle, or the source itself.
    pub image: PathBuf,
    /// What the bundle holds of the image.
    pub holds: Holds,
    /// Every file in it.
    pub files: Vec<String>,
}

/// Wall-clock milliseconds of each stage.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub struct Timings {
    /// Finding the Windows, opening and verifying its hives, assessing.
    pub open: u64,
    /// Assessing before the edit.
    pub assess: u64,
    /// Editing, sealing and verifying hives, writing them to the overlay.
    pub apply: u64,
    /// Opening the machine again through the overlay, verifying and assessing it.
    pub verify: u64,
    /// Writing the image.
    pub export: u64,
    /// Digesting source and image, assessing the image, and asking other readers, beyond the time of writing it.
    pub digest: u64,
    /// Writing log, reports and lists.
    pub reports: u64,
}

/// Hardens an image.
///
/// # Errors
/// Every refusal of the floors below, and this job's own checks; nothing stands at the output then.
pub fn harden(job: &Harden, progress: &dyn Progress) -> Result<Outcome> {
    let mut clock = Stopwatch::start(job.elapsed);
    let image = Image::open_as(&job.source, job.format, job.parent.as_deref())?;
    let names = Names::of(job, &image)?;
    // The place is looked at before the work, and taken after it.
    let staging = job.output.as_deref().map(|output| Staging::begin(output, &names.output)).transpose()?;

    progress.start("reading", 0);
    let mut machine = Machine::open(Overlay::new(&image), job.request.opening(job.now))?;
    let boot_mode = job.boot_mode.or(machine.boot_mode());
    if boot_mode.is_none() && staging.is_some() {
        return Err(Error::BootModeUnknown);
    }
    clock.lap(|t, ms| t.open = ms);

    let request = job.request.resolve(machine.identity(), job.now)?;
    let before = request.assess(&machine);
    clock.lap(|t, ms| t.assess = ms);

    progress.start("editing", 0);
    let (plan, components) = planned(&request, &before, &machine, &image)?;
    let mut outcome = begun(job, &machine, (before, &plan, components))?;
    // Only where it made a difference: what changes nothing could be said of any run.
    let accepted = machine.accepted();
    let recorded = Policy {
        accept_dirty_hive: accepted.dirty,
        accept_refcounts: accepted.refcounts,
        ..job.request.record(&request)
    };
    let edit = Edit::apply(&plan, &mut machine)?;
    outcome.applied.clone_from(&edit.applied);
    let overlay = machine.into_device();
    clock.lap(|t, ms| t.apply = ms);

    progress.start("verifying", 0);
    verify_edit(job, &request, &plan, &overlay, &mut outcome)?;
    outcome.tell_scope(&recorded);
    clock.lap(|t, ms| t.verify = ms);
    let has_ena = outcome.judge(job, &image, names.format, &overlay)?;

    let (Some(mut staging), Some(boot_mode)) = (staging, boot_mode) else {
        progress.finish();
        outcome.timings_ms = clock.timings;
        return Ok(outcome);
    };
    let changed = Changed { overlay: &overlay, edit: &edit, request: &request, after: &outcome.after };
    let place = staging.place(&names.output)?;
    let mut emitted = changed.emit(job, &place, (&names.source, &names.output), names.format, progress)?;
    let take_back = emitted.take_back.take();
    clock.lap(|t, ms| {
        t.export = milliseconds(emitted.writing);
        t.digest = ms.saturating_sub(t.export);
    });

    progress.start("writing evidence", 0);
    let holds = names.list(&mut staging, &emitted);
    let evidence = Evidence {
        job,
        catalog: &request.catalog,
        recorded,
        edit: &edit,
        emitted: &emitted,
        name: &names.output,
        format: names.format,
        holds,
        boot_mode,
        has_ena,
    };
    evidence.write(&mut staging, &outcome)?;
    if let Some(key) = &job.signer {
        staging.sign(key.clone(), job.now);
    }
    let bundle = staging.finish(&names.output, holds, &emitted.output.ebs_linear)?;
    if let Some(take_back) = take_back {
        take_back.settle()?;
    }
    clock.lap(|t, ms| t.reports = ms);
    progress.finish();

    outcome.bundle = Some(BundleSummary {
        image: if holds == Holds::Nothing { job.source.clone() } else { bundle.path(&bundle.image) },
        holds,
        folder: bundle.folder,
        files: bundle.files.into_iter().map(|file| file.path).collect(),
    });
    outcome.source = Some(emitted.source);
    outcome.output = Some(emitted.output);
    outcome.second_opinion = Some(emitted.second_opinion);
    outcome.journal = emitted.journal;
    outcome.timings_ms = clock.timings;
    Ok(outcome)
}

/// How source and output are called, and what the output is.
struct Names {
    source: String,
    output: String,
    format: Format,
}

impl Names {
    fn of(job: &Harden, image: &Image) -> Result<Self> {
        let source = file_name(&job.source)?;
        let format = job.emission.format(image)?;
        // The name of a device says nothing of what its copy is.
        let called = match job.emission {
            Emission::New(_) if disk::is_block_device(&job.source) => format!("{source}.{}", image.format().ending()),
            _ => source.clone(),
        };
        Ok(Self { output: job.emission.name(&called, format), source, format })
    }

    /// Lists the image among the files of its bundle, unless it lies elsewhere; returns what the bundle holds of it.
    fn list(&self, staging: &mut Staging, emitted: &Emitted) -> Holds {
        match emitted.output.sha256 {
            None => Holds::Nothing,
            Some(sha256) => {
                staging.list(&self.output, emitted.output.file_bytes, sha256);
                if self.format == self.format.alone() { Holds::Image } else { Holds::Delta }
            }
        }
    }
}

/// Returns everything that is to be done: what rules, fixes and components ask for, as the guard lets it through.
fn planned(
    request: &Resolved,
    before: &Assessment,
    machine: &Machine<Overlay<&Image>>,
    image: &Image,
) -> Result<(Plan, Vec<StepReport>)> {
    let plan = request.plan(before, machine)?;
    let plan = request.with_fixes(plan, before, machine, image)?;
    let (plan, components) = request.with_components(plan, before, machine)?;
    policy::keep_an_administrator(&plan, machine)?;
    Ok((plan, components))
}

/// Returns what is known of the run before it edits anything.
fn begun(
    job: &Harden,
    machine: &Machine<Overlay<&Image>>,
    (before, plan, components): (Assessment, &Plan, Vec<StepReport>),
) -> Result<Outcome> {
    let mut warnings = machine.warnings().to_vec();
    if disk::pending(&job.source)? == Some(disk::Pending::Unsettled) {
        warnings.push(unsettled());
    }
    warnings.extend(job.request.components.iter().flat_map(Component::secrets));
    warnings.extend(components.iter().flat_map(StepReport::warnings));
    let unknown = Report { route: job.aws.route, checks: Vec::new() };
    Ok(Outcome {
        windows: machine.identity().clone(),
        warnings,
        after: before.clone(),
        before,
        applied: Vec::new(),
        held_back: plan.held_back.clone(),
        waived: plan.waived.clone(),
        left_open: plan.left_open.clone(),
        at_risk: plan.at_risk.clone(),
        components,
        scope: Vec::new(),
        source: None,
        output: None,
        second_opinion: None,
        preflight: (unknown.clone(), unknown),
        journal: None,
        bundle: None,
        timings_ms: Timings::default(),
    })
}

/// Opens the machine again through the overlay, assesses it anew, and proves that it is as planned.
fn verify_edit(
    job: &Harden,
    request: &Resolved,
    plan: &Plan,
    overlay: &Overlay<&Image>,
    outcome: &mut Outcome,
) -> Result<()> {
    // The machine has verified the volume behind its edit.
    let again = Machine::open(overlay, OpenOptions { check: VolumeCheck::Skip, ..job.request.opening(job.now) })?;
    outcome.after = request.assess(&again);
    prove_closed(&outcome.before, &outcome.after, plan)?;
    prove_fixed(plan, &job.request.fixes, &again)?;
    outcome.components.extend(request.test_components(&again)?);
    Ok(())
}

impl Outcome {
    /// Says what the result covers, and warns of what it does not.
    fn tell_scope(&mut self, recorded: &Policy) {
        let changed: Vec<Vec<String>> = self.applied.iter().map(|applied| applied.rules.clone()).collect();
        self.scope.clone_from(&self.after.scope);
        self.scope.extend(scope::of_components(&recorded.components, &changed));
        self.warnings.extend(scope::warnings(&self.scope).cloned());
    }

    /// Asks what Amazon would say of the image as it was and as it is; returns whether it has a driver of Amazon's network
    /// adapter.
    fn judge(&mut self, job: &Harden, image: &Image, format: Format, overlay: &Overlay<&Image>) -> Result<bool> {
        let (before, after) = (windows::Evidence::of(image), windows::Evidence::of(overlay));
        let after = Facts::new(Container::to_be(format), &after, job.aws.route, true);
        self.preflight =
            (Report::of(&Facts::new(Container::of(image), &before, job.aws.route, true)), Report::of(&after));
        // What this run sets right does not stand in the way, and what it would break does.
        if let (true, Some(first)) = (job.must_pass_preflight, self.preflight.1.failed().next()) {
            let count = self.preflight.1.failed().count();
            return Err(Error::Preflight {
                route: job.aws.route,
                count,
                check: first.id.to_string(),
                title: first.title.to_string(),
            });
        }
        Ok(after.has_ena())
    }
}

/// Returns the warning about an image that a run which was broken off had written to: its journal says so, not its bytes.
pub(super) fn unsettled() -> String {
    format!("W-UNSETTLED: {}", Image::UNSETTLED)
}

/// Returns the name of the source without its folders.
fn file_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| Error::ImageName { name: path.display().to_string() })
}

/// Splits the run's time into stages.
struct Stopwatch {
    elapsed: fn() -> Duration,
    last: Duration,
    timings: Timings,
}

impl Stopwatch {
    fn start(elapsed: fn() -> Duration) -> Self {
        Self { elapsed, last: elapsed(), timings: Timings::default() }
    }

    fn lap(&mut self, set: impl FnOnce(&mut Timings, u64)) {
        let now = (self.elapsed)();
        set(&mut self.timings, milliseconds(now.saturating_sub(self.last)));
        self.last = now;
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
