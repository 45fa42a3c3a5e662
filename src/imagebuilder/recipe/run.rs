//! Runs a recipe: each image becomes a bundle, is tested under a temporary name, and then gets its final name.
//!
//! Whenever a run is killed, a bundle under its final name is complete. The next run removes temporary folders and builds
//! what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::super::{Error, Result};
use super::budget::Budget;
use super::images::Image;
use super::lock::{Lock, LockedBundle, added_to, sums_of};
use super::parsed::bundle_name;
use super::{Fault, Recipe, built_in_tests};
use crate::component::{StepReport, StepStatus};
use crate::harden::sums;
use crate::harden::{Harden, Outcome, harden};
use crate::policy::Summary as Totals;
use crate::report;
use crate::windows::{Evidence, Machine, OpenOptions, VolumeCheck};
use coldforge_base::digest::Digest;
use coldforge_base::fs;
use coldforge_base::progress::{Progress, Silent};
use coldforge_base::time::Moment;
use coldforge_disk as disk;

/// Where bundles are made, inside the folder of the output.
const WORK: &str = ".coldforge-run";

/// How a recipe is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The moment that logs and changed keys carry.
    pub now: Moment,
    /// A monotonic clock.
    pub elapsed: fn() -> Duration,
    /// Whether an image is left alone of which nothing changed since its bundle was made.
    pub only_if_changed: bool,
    /// Whether an image that fails a test is kept, under a name that says so.
    pub keep_failed: bool,
    /// How many images are worked on at once.
    pub jobs: usize,
    /// The bytes of memory that they may take together, as their hives let expect.
    pub memory: u64,
}

/// What a run did.
#[derive(Debug)]
pub struct Summary {
    /// The recipe's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The images in the recipe's order.
    pub images: Vec<Built>,
}

/// What became of an image.
#[derive(Debug)]
pub struct Built {
    /// The image, as the recipe's folder shows it.
    pub source: String,
    /// The inputs that changed since its last bundle, by name; none for the first.
    pub changed: Vec<String>,
    /// Whether its bundle was made before, of the same inputs, and is complete.
    pub is_kept: bool,
    /// The folder of its bundle; of one that failed a test where it was kept.
    pub bundle: Option<PathBuf>,
    /// The digest of the new image.
    pub sha256: Option<Digest>,
    /// The counts of its assessment.
    pub totals: Option<Totals>,
    /// How many settings were changed.
    pub changes: usize,
    /// What was noticed about the image, each with its code.
    pub warnings: Vec<String>,
    /// The steps of components that were not carried out, or not here.
    pub left: Vec<StepReport>,
    /// The tests in the recipe's order.
    pub tests: Vec<TestReport>,
    /// Why there is no bundle.
    pub error: Option<Error>,
}

/// How a test went.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// Its name.
    pub test: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was found.
    pub found: String,
}

impl Built {
    /// Returns whether every test holds.
    pub fn is_good(&self) -> bool {
        self.error.is_none() && self.tests.iter().all(|test| test.passed)
    }
}

/// What all images of a run share.
struct Shared<'a> {
    recipe: &'a Recipe,
    options: &'a Options,
    lock: Mutex<Lock>,
    lock_path: PathBuf,
    was_finished: bool,
    budget: Budget,
}

/// Carries a recipe out.
///
/// # Errors
/// Fails for errors of the run as a whole; errors of one image are reported with that image.
pub fn run(recipe: &Recipe, options: &Options, progress: &dyn Progress) -> Result<Summary> {
    let names = names(recipe, options.now)?;
    std::fs::create_dir_all(&recipe.folder).map_err(fs::failed("create", &recipe.folder))?;
    let folder = fs::open(&recipe.folder)?;
    if folder.try_lock().is_err() {
        return Err(Fault::Busy { path: recipe.folder.clone() }.into());
    }
    let work = recipe.folder.join(WORK);
    clear(&work)?;
    let lock_path = recipe.path.with_extension("lock");
    let mut lock = Lock::read(&lock_path)?;
    let was_finished = std::mem::replace(&mut lock.finished, false);
    // A run that has nothing to do leaves the lock as it is.
    let shared =
        Shared { recipe, options, lock: Mutex::new(lock), lock_path, was_finished, budget: Budget::of(options.memory) };
    std::fs::create_dir(&work).map_err(fs::failed("create", &work))?;

    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Built>> = Mutex::new(BTreeMap::new());
    let workers = options.jobs.clamp(1, recipe.images.len().max(1));
    let whole = progress;
    if workers > 1 {
        whole.start("several images", 0);
    }
    let progress = if workers == 1 { progress } else { &Silent };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let (Some(image), Some(name)) = (recipe.images.get(number), names.get(number)) else { break };
                    let built = shared.image(image, name, &work.join(number.to_string()), progress);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(number, built);
                }
            });
        }
    });
    whole.finish();
    clear(&work)?;
    let images: Vec<Built> =
        done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect();
    if images.iter().any(|image| !image.is_kept) || !was_finished {
        let mut lock = shared.lock.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        lock.finished = images.iter().all(Built::is_good);
        lock.write(&shared.lock_path)?;
    }
    Ok(Summary { name: recipe.document.name.clone(), version: recipe.document.version.clone(), images })
}

impl Shared<'_> {
    /// Makes an image's bundle, or finds it made.
    fn image(&self, image: &Image, name: &str, work: &Path, progress: &dyn Progress) -> Built {
        let mut built = Built {
            source: image.shown.clone(),
            changed: Vec::new(),
            is_kept: false,
            bundle: None,
            sha256: None,
            totals: None,
            changes: 0,
            warnings: Vec::new(),
            left: Vec::new(),
            tests: Vec::new(),
            error: None,
        };
        if let Err(error) = self.build(image, name, work, progress, &mut built) {
            built.error = Some(error);
        }
        built
    }

    fn build(&self, image: &Image, name: &str, work: &Path, progress: &dyn Progress, built: &mut Built) -> Result<()> {
        let Self { recipe, options, .. } = self;
        let inputs = self.inputs(image, progress)?;
        let entry = self.lock().image.get(&image.shown).cloned();
        built.changed = entry.as_ref().map(|entry| entry.changed(&inputs)).unwrap_or_default();
        let may_stay = options.only_if_changed || !self.was_finished;
        if let Some(entry) = entry.as_ref().filter(|_| may_stay && built.changed.is_empty())
            && entry.is_whole(&recipe.folder)
        {
            built.is_kept = true;
            built.bundle = Some(recipe.folder.join(&entry.bundle));
            return Ok(());
        }
        let target = recipe.folder.join(name);
        let failed = recipe.folder.join(format!("{name}.failed"));
        let replaces = replaceable(&target, entry.as_ref())?;
        if options.keep_failed && failed.symlink_metadata().is_ok() {
            return Err(Fault::Taken { path: failed }.into());
        }
        std::fs::create_dir(work).map_err(fs::failed("create", work))?;
        let bundle = work.join("bundle");
        let _share = {
            let opened = disk::Image::open_as(&image.path, image.format, image.parent.as_deref())?;
            self.budget.take(&opened)
        };
        let outcome = harden(&self.job(image, &bundle), progress)?;
        built.report(&outcome);
        // The image may have been exchanged since it was digested.
        let read = outcome.source.as_ref().and_then(|source| source.sha256).map(|sha256| sha256.to_string());
        if let (Some(expected), Some(found)) = (inputs.get("source"), read)
            && *expected != found
        {
            return Err(Fault::Digest { path: image.path.clone(), found, expected: expected.clone() }.into());
        }
        built.tests = self.test(image, &outcome, &bundle)?;
        if !built.is_good() {
            if options.keep_failed {
                std::fs::rename(&bundle, &failed).map_err(fs::failed("rename", &bundle))?;
                built.bundle = Some(failed);
            }
            return Ok(());
        }
        self.publish(&bundle, &target, &image.shown, replaces, inputs)?;
        built.bundle = Some(target);
        clear(work)
    }

    /// Returns the hardening job that builds a bundle from an image.
    fn job(&self, image: &Image, bundle: &Path) -> Harden {
        Harden {
            sarif: report::Results::Open,
            source: image.path.clone(),
            format: image.format,
            parent: image.parent.clone(),
            emission: self.recipe.emission,
            output: Some(bundle.to_owned()),
            request: self.recipe.demand.clone(),
            now: self.options.now,
            boot_mode: self.recipe.boot_mode,
            aws: self.recipe.aws.clone(),
            must_pass_preflight: self.recipe.must_pass_preflight,
            signer: None,
            elapsed: self.options.elapsed,
        }
    }

    /// Records a bundle in the lock, then gives it its final name, in exchange for the bundle that it replaces.
    fn publish(
        &self,
        bundle: &Path,
        target: &Path,
        image: &str,
        replaces: Option<String>,
        inputs: BTreeMap<String, String>,
    ) -> Result<()> {
        let is_replacement = replaces.is_some();
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sha256sums = sums_of(bundle).unwrap_or_default();
        {
            let mut lock = self.lock();
            let entry = LockedBundle { bundle: name, sha256sums, replaces, inputs };
            lock.image.insert(image.to_owned(), entry);
            lock.write(&self.lock_path)?;
        }
        let flags = match is_replacement {
            true => rustix::fs::RenameFlags::EXCHANGE,
            false => rustix::fs::RenameFlags::NOREPLACE,
        };
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, bundle, cwd, target, flags)
            .map_err(|error| fs::failed("rename", bundle)(error.into()))?;
        Ok(fs::sync_folder(&self.recipe.folder)?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lock> {
        self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Digests what an image's bundle is made of.
    fn inputs(&self, image: &Image, progress: &dyn Progress) -> Result<BTreeMap<String, String>> {
        let mut inputs = self.recipe.inputs.clone();
        progress.start("digesting", 0);
        let opened = disk::Image::open_as(&image.path, image.format, image.parent.as_deref())?;
        let digests = sums(&opened, &Silent)?;
        let found = digests.file.map(|sha256| sha256.to_string()).unwrap_or_default();
        if let Some(expected) = image.sha256.as_ref().filter(|expected| **expected != found) {
            return Err(Fault::Digest { path: image.path.clone(), found, expected: expected.clone() }.into());
        }
        inputs.insert("source".to_owned(), found);
        // Of a differencing disk the parents count as well.
        let content: String = digests.blocks.iter().map(|(at, digest)| format!("{at} {digest}\n")).collect();
        inputs.insert("source content".to_owned(), Digest::of(content.as_bytes()).to_string());
        if let Some(ended) = self.ended_waivers() {
            inputs.insert("ended waivers".to_owned(), ended);
        }
        Ok(inputs)
    }

    /// Returns the days of waivers that are over, which makes their rules count again.
    fn ended_waivers(&self) -> Option<String> {
        let table: toml::Table = self.recipe.demand.waivers.as_ref()?.parse().ok()?;
        let today = day(self.options.now);
        let waivers = table.get("waiver")?.as_array()?;
        let days = waivers.iter().filter_map(|waiver| waiver.get("expires")).map(|day| match day {
            toml::Value::String(day) => day.clone(),
            day => day.to_string(),
        });
        Some(days.filter(|day| *day < today).collect::<Vec<_>>().join(" "))
    }

    /// Tests what was built.
    fn test(&self, image: &Image, outcome: &Outcome, folder: &Path) -> Result<Vec<TestReport>> {
        let recipe = self.recipe;
        let report = |test: &str, result: super::assertion::AssertionResult| {
            let passed = result.is_ok();
            let (Ok(found) | Err(found)) = result;
            TestReport { test: test.to_owned(), passed, found }
        };
        let mut tests = Vec::new();
        let Some(bundle) = &outcome.bundle else { return Ok(tests) };
        let is_delta = bundle.holds == crate::audit::Holds::Delta;
        let written = disk::Image::open_as(&bundle.image, None, is_delta.then_some(&*image.path))?;
        let work = built_in_tests::Work {
            outcome,
            folder,
            image: &written,
            source: &image.path,
            parent: image.parent.as_deref(),
            route: recipe.aws.route,
            fail_on: recipe.fail_on,
        };
        for check in &recipe.built_in_tests {
            tests.push(report(check.word(), check.evaluate(&work)?));
        }
        if !recipe.document.tests.assert.is_empty() {
            let opening = OpenOptions { check: VolumeCheck::Skip, ..recipe.demand.opening(self.options.now) };
            let machine = Machine::open(&written, opening)?;
            let evidence = Evidence::of(&written);
            for assertion in &recipe.document.tests.assert {
                tests.push(report(&assertion.name, assertion.evaluate(&machine, &evidence)));
            }
        }
        Ok(tests)
    }
}

/// Returns the names of the bundles in the order of the images.
///
/// # Errors
/// [`Fault::SameName`], [`Fault::Word`], and what is wrong with an image whose Windows a name tells.
pub(super) fn names(recipe: &Recipe, now: Moment) -> Result<Vec<String>> {
    let mut known = BTreeSet::new();
    let mut names = Vec::new();
    for image in &recipe.images {
        let stem = image.path.file_stem().unwrap_or_default().to_string_lossy();
        let mut name = recipe
            .template
            .replace("{name}", &recipe.document.name)
            .replace("{version}", &recipe.document.version)
            .replace("{date}", &day(now))
            .replace("{source.name}", &stem);
        if name.contains("{source.build}") {
            let opened = disk::Image::open_as(&image.path, image.format, image.parent.as_deref())?;
            let identity = Evidence::of(&opened).identity().map_err(crate::windows::Error::Refused)?;
            name = name.replace("{source.build}", &identity.build.to_string());
        }
        bundle_name(&name, &name)?;
        if !known.insert(name.to_ascii_lowercase()) {
            return Err(Fault::SameName { name }.into());
        }
        names.push(name);
    }
    Ok(names)
}

fn day(now: Moment) -> String {
    let (year, month, day) = now.date();
    format!("{year:04}-{month:02}-{day:02}")
}

/// Removes a folder of temporary things, if it is there.
fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(fs::failed("remove", folder)(error).into()),
        _ => Ok(()),
    }
}

/// Returns the digest of the `SHA256SUMS` of the bundle that a new one replaces; `None` if there is none.
///
/// # Errors
/// [`Fault::Taken`] if this recipe did not make what has the name; [`Fault::Added`] if the bundle has foreign files, which
/// the exchange would remove with it.
fn replaceable(target: &Path, entry: Option<&LockedBundle>) -> Result<Option<String>> {
    let sums = sums_of(target);
    let is_own = |sums: &String| entry.is_some_and(|entry| entry.is_own(sums));
    if target.symlink_metadata().is_ok() && !sums.as_ref().is_some_and(is_own) {
        return Err(Fault::Taken { path: target.to_owned() }.into());
    }
    match sums.as_ref().and_then(|_| added_to(target)) {
        Some(file) => Err(Fault::Added { path: target.to_owned(), file }.into()),
        None => Ok(sums),
    }
}

impl Built {
    /// Takes over what the report says of a hardening run.
    fn report(&mut self, outcome: &Outcome) {
        self.totals = Some(outcome.after.totals);
        self.changes = outcome.applied.len();
        self.warnings.clone_from(&outcome.warnings);
        let is_left = |report: &&StepReport| !matches!(report.status, StepStatus::Done | StepStatus::Skipped);
        self.left = outcome.components.iter().filter(is_left).cloned().collect();
        self.sha256 = outcome.output.as_ref().and_then(|output| output.sha256);
    }
}
