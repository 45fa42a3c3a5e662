//! The main job: an image goes in, a bundle with a hardened image and its evidence comes out.
//!
//! Everything is written to a copy-on-write overlay first. The machine is opened again through the overlay and assessed
//! anew; then the image is written (as a new file of any container, or in place), opened from its file, and assessed a
//! third time, and readers that this project did not write look at every changed value. Only then does the bundle appear
//! under its name. A run in place that fails behind its last write takes that write back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::component::{self, Component, StepTold};
use super::output::{self, Edited, TakeBack};
use super::{Demand, Document, Emission, Error, Result, reports, scope};
use crate::audit::{
    self, AwsRecord, Chain, ChangeRecord, FileRecord, Header, Holds, ImageRecord, LinearChecksum, Record,
    SecondOpinion, SecretKey, Staging, Tool, Trailer,
};
use crate::aws::preflight::{self, Container, Facts, Report};
use crate::aws::{self, Import};
use crate::policy::{self, Applied, Assessment, CheckResult, Finding, Held, Plan, Status, Step};
use crate::report::Results;
use crate::windows::setting::{Identity, Readings, Setting};
use crate::windows::{self, BootMode, Evidence, FileChange, Machine, Opening, VolumeCheck};
use coldforge_base::digest::Digest;
use coldforge_base::interrupt::CriticalSection;
use coldforge_base::progress::{Progress, Silent};
use coldforge_base::time::Moment;
use coldforge_base::{Extent, ReadAt};
use coldforge_disk::{self as disk, Blocks, Format, Image, Overlay, Target, UndoJournal};

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
    /// What is demanded.
    pub demand: Demand,
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
    pub components: Vec<StepTold>,
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
#[derive(Clone, Copy, Debug, Default, Serialize)]
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

/// What the edit left in the overlay.
pub(super) struct Edit {
    applied: Vec<Applied>,
    extents: Vec<Vec<Extent>>,
    files: Vec<FileChange>,
    place: Edited,
}

impl Edit {
    /// Makes a machine meet what was found open, and writes it to the machine's device.
    pub(super) fn apply(plan: &Plan, machine: &mut Machine<Overlay<&Image>>) -> Result<Self> {
        let applied = policy::apply(plan, machine)?;
        let files = machine.commit()?;
        let extents = applied.iter().map(|Applied { change, .. }| match change.touched.is_empty() {
            false => machine.extents(change),
            // What is written as a whole is told by its file.
            true => {
                let written = files.iter().filter(|file| file.file == change.file);
                Ok(written.flat_map(|file| file.extents.clone()).collect())
            }
        });
        let extents = extents.collect::<std::result::Result<_, _>>()?;
        let place = Edited { partition: machine.partition(), volume: machine.volume_extent() };
        Ok(Self { applied, extents, files, place })
    }

    /// Asks readers that this project did not write for every changed value.
    ///
    /// # Errors
    /// [`Error::SecondOpinion`] if one reads another value than was written.
    #[cfg(feature = "second-opinion")]
    pub(super) fn second_opinion(&self, image: &Image) -> Result<SecondOpinion> {
        use windows::second_opinion;
        let changes = self.applied.iter().map(|Applied { change, .. }| change);
        let wanted: Vec<_> =
            changes.map(|change| (change.file.as_str(), &change.setting, change.after.as_ref())).collect();
        let opinion = second_opinion::ask(image, self.place.volume, &wanted);
        match opinion.disagreed.first() {
            Some(first) => Err(Error::SecondOpinion { count: opinion.disagreed.len(), first: first.clone() }),
            None => Ok(SecondOpinion {
                readers: second_opinion::READERS.map(str::to_owned).to_vec(),
                agreed: opinion.agreed,
                cannot_read: opinion.cannot_read,
            }),
        }
    }

    /// Answers that nobody was asked: this build has no second readers.
    ///
    /// # Errors
    /// None.
    #[cfg(not(feature = "second-opinion"))]
    pub(super) fn second_opinion(&self, _: &Image) -> Result<SecondOpinion> {
        Ok(SecondOpinion::default())
    }

    /// Returns the lines of the log between header and trailer.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let changes = self.applied.iter().zip(&self.extents).map(|(Applied { rules, change }, extents)| {
            Record::Change(ChangeRecord {
                rules: rules.clone(),
                setting: change.setting.clone(),
                before: change.before.clone(),
                after: change.after.clone(),
                file: change.file.clone(),
                cell: change.cell,
                extents: extents.clone(),
            })
        });
        let files = self.files.iter().map(|file| {
            Record::File(FileRecord {
                file: file.file.clone(),
                bytes_before: file.bytes_before,
                bytes: file.bytes,
                sha256_before: file.before,
                sha256_after: file.after,
                extents: file.extents.clone(),
            })
        });
        changes.chain(files)
    }
}

/// Hardens an image.
///
/// # Errors
/// Every refusal of the floors below, and this job's own checks; nothing stands at the output then.
pub fn harden(job: &Harden, progress: &dyn Progress) -> Result<Outcome> {
    let mut clock = Stopwatch::start(job.elapsed);
    let image = Image::open_as(&job.source, job.format, job.parent.as_deref())?;
    let source_name = file_name(&job.source)?;
    let format = job.emission.format(&image)?;
    // The name of a device says nothing of what its copy is.
    let called = match job.emission {
        Emission::New(_) if disk::is_block_device(&job.source) => format!("{source_name}.{}", image.format().ending()),
        _ => source_name.clone(),
    };
    let name = job.emission.name(&called, format);
    // The place is looked at before the work, and taken after it.
    let staging = job.output.as_deref().map(|output| Staging::begin(output, &name)).transpose()?;

    progress.start("reading", 0);
    let judge = |container: Container, device: &dyn ReadAt| {
        let evidence = Evidence::of(device);
        Report::of(&Facts::new(container, &evidence, job.aws.route, true))
    };
    let opening = job.demand.opening(job.now);
    let mut machine = Machine::open(Overlay::new(&image), opening)?;
    let boot_mode = job.boot_mode.or(machine.boot_mode());
    if boot_mode.is_none() && staging.is_some() {
        return Err(Error::BootModeUnknown);
    }
    let windows = machine.identity().clone();
    let accepted = machine.accepted();
    let mut warnings = machine.warnings().to_vec();
    if disk::pending(&job.source)? == Some(disk::Pending::Unsettled) {
        warnings.push(unsettled());
    }
    warnings.extend(job.demand.components.iter().flat_map(Component::secrets));
    clock.lap(|t, ms| t.open = ms);

    let demand = job.demand.resolve(&windows, job.now)?;
    let assess = |machine: &dyn Readings| demand.assess(machine);
    let before = assess(&machine);
    clock.lap(|t, ms| t.assess = ms);

    progress.start("editing", 0);
    let plan = demand.plan(&before, &machine)?;
    let plan = demand.with_fixes(plan, &before, &machine, &image)?;
    let (plan, mut component_steps) = demand.with_components(plan, &before, &machine)?;
    warnings.extend(component_steps.iter().flat_map(component::StepTold::warnings));
    policy::keep_an_administrator(&plan, &machine)?;
    let edit = Edit::apply(&plan, &mut machine)?;
    let overlay = machine.into_device();
    clock.lap(|t, ms| t.apply = ms);

    progress.start("verifying", 0);
    // The machine has verified the volume behind its edit.
    let again = Machine::open(&overlay, Opening { check: VolumeCheck::Skip, ..opening })?;
    let after = assess(&again);
    prove_closed(&before, &after, &plan)?;
    prove_fixed(&plan, &job.demand.fixes, &again)?;
    component_steps.extend(demand.test_components(&again)?);
    clock.lap(|t, ms| t.verify = ms);

    let preflight = (judge(Container::of(&image), &image), judge(Container::to_be(format), &overlay));
    // What this run sets right does not stand in the way, and what it would break does.
    if let (true, Some(first)) = (job.must_pass_preflight, preflight.1.failed().next()) {
        let count = preflight.1.failed().count();
        return Err(Error::Preflight { route: job.aws.route, count, check: first.id, title: first.title });
    }
    let has_ena = {
        let evidence = Evidence::of(&overlay);
        Facts::new(Container::to_be(format), &evidence, job.aws.route, true).has_ena()
    };
    // Only where it made a difference: what changes nothing could be said of any run.
    let recorded = audit::Policy {
        accept_dirty_hive: accepted.dirty,
        accept_refcounts: accepted.refcounts,
        ..job.demand.record(&demand)
    };
    let changed: Vec<Vec<String>> = edit.applied.iter().map(|applied| applied.rules.clone()).collect();
    let mut covered = after.scope.clone();
    covered.extend(scope::of_components(&recorded.components, &changed));
    warnings.extend(scope::warnings(&covered).cloned());
    let mut outcome = Outcome {
        scope: covered,
        preflight,
        windows,
        warnings,
        before,
        after,
        applied: edit.applied.clone(),
        held_back: plan.held_back.clone(),
        waived: plan.waived.clone(),
        left_open: plan.left_open.clone(),
        at_risk: plan.at_risk.clone(),
        components: component_steps,
        source: None,
        output: None,
        second_opinion: None,
        journal: None,
        bundle: None,
        timings_ms: Timings::default(),
    };
    let (Some(mut staging), Some(boot_mode)) = (staging, boot_mode) else {
        progress.finish();
        outcome.timings_ms = clock.timings;
        return Ok(outcome);
    };

    let source_record = |digests: &Sums| record(&image, &source_name, digests);
    let mut take_back = None;
    let (source, output, (blocks, free), second_opinion, exported) = match job.emission {
        Emission::New(target) => {
            let written = staging.place(&name)?;
            // Two files are digested from end to end, which a core each can do at once; the source's digest tells how
            // far.
            let (source, output) = rayon::join(
                || sums(&image, progress).map(|sums| source_record(&sums)),
                || -> Result<_> {
                    let begun = (job.elapsed)();
                    let format = disk::export_as(&overlay, &written, target, &Silent)?.format;
                    let exported = (job.elapsed)().saturating_sub(begun);
                    let parent = (target == Target::Delta).then_some(&*job.source);
                    let output = Image::open_as(&written, Some(format), parent)?;
                    // The copy is the file system's work, and nobody else's: it is not taken on trust.
                    let same = || Ok(disk::differences(&overlay, &output, &Silent)?.is_empty());
                    let again =
                        || look_again(&output, job.demand.opening(job.now), same, &edit, &outcome.after, &assess);
                    let (digests, (second_opinion, free)) =
                        rayon::join(|| sums(&output, &Silent), || rayon::join(again, || unsent(&output)));
                    let digests = digests?;
                    Ok((record(&output, &name, &digests), (digests.blocks, free), second_opinion?, exported))
                },
            );
            let (output, blocks, second_opinion, exported) = output?;
            (source?, output, blocks, second_opinion, exported)
        }
        Emission::InPlace => {
            progress.start("digesting", 0);
            let mut blocks = Blocks::of(&image)?;
            let source = source_record(&(&blocks).into());
            let marks = edit.place.marks(&image)?;
            let order = output::order(edit.files.iter().flat_map(|file| &file.order));
            let begun = (job.elapsed)();
            let whole = CriticalSection::begin();
            let done = disk::write_in_place(&overlay, &order, &marks, UndoJournal::KeepUnsettled, progress)?;
            let exported = (job.elapsed)().saturating_sub(begun);
            // The image stays locked until the evidence about it is whole.
            let output = match done.held {
                Some(held) => {
                    let output = held.image(format);
                    take_back = Some(TakeBack::new(held, whole));
                    output?
                }
                None => Image::open_as(&job.source, Some(format), None)?,
            };
            blocks.refresh(&output, &done.changed)?;
            // What was written was read back and compared while it was written.
            let opening = job.demand.opening(job.now);
            let second_opinion = look_again(&output, opening, || Ok(true), &edit, &outcome.after, &assess)?;
            outcome.journal = done.journal;
            let sums = Sums::from(&blocks);
            (source, record(&output, &name, &sums), (sums.blocks, unsent(&output)), second_opinion, exported)
        }
    };
    outcome.second_opinion = Some(second_opinion.clone());
    let holds = match output.sha256 {
        None => Holds::Nothing,
        Some(sha256) => {
            staging.list(&name, output.file_bytes, sha256);
            if format == format.alone() { Holds::Image } else { Holds::Delta }
        }
    };
    clock.lap(|t, ms| {
        t.export = milliseconds(exported);
        t.digest = ms.saturating_sub(t.export);
    });

    progress.start("writing evidence", 0);
    let document = Document::new(&name, &outcome.windows, &outcome.after);
    let assessment = document.to_bytes();
    staging.write(reports::ASSESSMENT, &assessment)?;
    let trailer = Trailer {
        output: output.clone(),
        changes: edit.applied.len(),
        files: edit.files.len(),
        before: outcome.before.totals,
        after: outcome.after.totals,
        scope: outcome.scope.clone(),
        assessment_sha256: Digest::of(&assessment),
        held_back: outcome.held_back.clone(),
        waived: outcome.waived.clone(),
        left_open: outcome.left_open.clone(),
        at_risk: outcome.at_risk.clone(),
        benchmark: outcome.after.benchmark.to_string(),
        second_opinion,
    };
    let header = Header {
        schema: Cow::Borrowed(audit::SCHEMA),
        tool: Tool::THIS,
        started: job.now,
        source: source.clone(),
        windows: outcome.windows.clone(),
        policy: recorded,
        aws: (holds != Holds::Delta).then(|| AwsRecord {
            options_sha256: Digest::of(&aws::options_file(&job.aws)),
            boot_mode: job.boot_mode.map(|mode| mode.to_string()),
        }),
        warnings: outcome.warnings.clone(),
    };
    let log = log(header, &edit, trailer);
    staging.write(reports::LOG, log.as_bytes())?;
    if let (Some(path), Some(file)) = (job.demand.benchmark_path(), &job.demand.benchmark) {
        staging.write(path, file)?;
    }
    let brought = job.demand.components.iter().flat_map(component::Component::files);
    let brought: BTreeMap<Digest, &[u8]> =
        brought.filter_map(|content| Some((content.sha256, content.data.as_deref()?))).collect();
    for (sha256, data) in brought {
        staging.write(&reports::brought(sha256), data)?;
    }
    let mut checked = None;
    // Amazon takes no differencing disks.
    if holds != Holds::Delta {
        let benchmark = outcome.after.benchmark.to_string();
        let import = Import {
            image: &name,
            format,
            sha256: output.sha256,
            disk_bytes: output.disk_bytes,
            blocks: &blocks,
            linear: &output.ebs_linear.sha256_base64,
            free: &free,
            identity: &outcome.windows,
            boot_mode,
            has_ena,
            benchmark: &benchmark,
            options: &job.aws,
        };
        for (path, content) in aws::files(&import, &outcome.preflight.1) {
            staging.write(path, &content)?;
            if path == aws::PREFLIGHT {
                checked = Some(content);
            }
        }
    }
    reports::write_all(&mut staging, (&assessment, &log), checked.as_deref(), &demand.catalog, job.sarif)?;
    if let Some(key) = &job.signer {
        staging.sign(key.clone(), job.now);
    }
    let bundle = staging.finish(&name, holds, &output.ebs_linear)?;
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
    outcome.source = Some(source);
    outcome.output = Some(output);
    outcome.timings_ms = clock.timings;
    Ok(outcome)
}

/// Proves that every rule with a step is closed now, as far as the plan went, and that no other rule's status changed.
fn prove_closed(before: &Assessment, after: &Assessment, plan: &Plan) -> Result<()> {
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
fn prove_fixed(plan: &Plan, fixes: &[String], machine: &dyn Readings) -> Result<()> {
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
fn look_again(
    image: &Image,
    opening: Opening,
    same: impl FnOnce() -> Result<bool>,
    edit: &Edit,
    expected: &Assessment,
    assess: &(dyn Fn(&dyn Readings) -> Assessment + Sync),
) -> Result<SecondOpinion> {
    if !same()? {
        return Err(Error::WrittenOtherwise);
    }
    let machine = Machine::open(image, Opening { check: VolumeCheck::Skip, ..opening })?;
    if assess(&machine) != *expected {
        return Err(Error::WrittenOtherwise);
    }
    edit.second_opinion(image)
}

fn log(header: Header, edit: &Edit, trailer: Trailer) -> String {
    let mut chain = Chain::default();
    chain.push(&Record::Header(Box::new(header)));
    for record in edit.records() {
        chain.push(&record);
    }
    chain.push(&Record::Trailer(Box::new(trailer)));
    chain.into_text()
}

/// The digests of an image that evidence names.
pub(super) struct Sums {
    /// SHA-256 of the file, unless only its blocks were read.
    pub file: Option<Digest>,
    /// The blocks that hold data.
    pub blocks: Vec<(u64, Digest)>,
    ebs_linear: LinearChecksum,
}

impl From<(disk::Digests, Vec<(u64, Digest)>)> for Sums {
    fn from((digests, blocks): (disk::Digests, Vec<(u64, Digest)>)) -> Self {
        let ebs_linear = LinearChecksum { sha256_base64: digests.ebs_linear, blocks: digests.ebs_blocks };
        Self { file: Some(digests.file), blocks, ebs_linear }
    }
}

impl From<&Blocks> for Sums {
    fn from(blocks: &Blocks) -> Self {
        let (sha256_base64, count) = blocks.linear();
        let ebs_linear = LinearChecksum { sha256_base64, blocks: count };
        Self { file: None, blocks: blocks.iter().collect(), ebs_linear }
    }
}

/// Returns the ranges of an image that EBS need not be sent where they are zero.
pub(super) fn unsent(image: &Image) -> Vec<Extent> {
    // Amazon takes no differencing disks.
    match image.format() == image.format().alone() {
        true => windows::free_extents(image, disk::EBS_BLOCK_BYTES),
        false => Vec::new(),
    }
}

/// Digests an image: its file, and its blocks.
pub(super) fn sums(image: &Image, progress: &dyn Progress) -> Result<Sums> {
    let mut blocks = Vec::new();
    let digests = disk::digest_blocks(image, progress, |index, digest| blocks.push((index, digest)))?;
    Ok((digests, blocks).into())
}

/// Returns the warning about an image that a run which was broken off had written to: its journal says so, not its bytes.
pub(super) fn unsettled() -> String {
    format!("W-UNSETTLED: {}", Image::UNSETTLED)
}

/// Returns the evidence's words for an image and its digests.
pub(super) fn record(image: &Image, name: &str, sums: &Sums) -> ImageRecord {
    ImageRecord {
        name: name.to_owned(),
        format: image.format().to_string(),
        file_bytes: image.file_len(),
        disk_bytes: image.len(),
        sha256: sums.file,
        ebs_linear: sums.ebs_linear.clone(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::WriteAt as _;

    fn fixture() -> Image {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ws2022.vhd");
        Image::open(&path, None).expect("the fixture is an image")
    }

    /// Assesses the fixture, edits it, and gives what every late check looks at.
    fn edited(image: &Image) -> (Assessment, Plan, Edit, Overlay<&Image>) {
        let demand = Demand::default();
        let mut machine = Machine::open(Overlay::new(image), demand.opening(Moment(1))).unwrap();
        let before = assess(&machine);
        let plan = policy::plan(&before, &policy::HoldBack::Nothing).unwrap();
        let edit = Edit::apply(&plan, &mut machine).unwrap();
        (before, plan, edit, machine.into_device())
    }

    fn assess(machine: &dyn Readings) -> Assessment {
        Demand::default().resolve(machine.identity(), Moment(1)).unwrap().assess(machine)
    }

    #[test]
    fn a_rule_that_an_edit_did_not_close_is_found() {
        let image = fixture();
        let (before, plan, _, overlay) = edited(&image);
        let after = assess(&Machine::open(&overlay, Opening::default()).unwrap());
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
        let looked = look_again(&image, Opening::default(), same, &edit, &before, &assess);
        assert!(matches!(looked, Err(Error::WrittenOtherwise)));
    }

    #[test]
    fn a_written_disk_that_is_assessed_otherwise_is_found() {
        let image = fixture();
        let (_, _, edit, overlay) = edited(&image);
        let after = assess(&Machine::open(&overlay, Opening::default()).unwrap());
        let looked = look_again(&image, Opening::default(), || Ok(true), &edit, &after, &assess);
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
