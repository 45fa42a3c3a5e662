//! Options that several verbs share, and what they mean.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use thiserror::Error;

use super::ui::{Ui, plain};
use super::{Result, boxed};
use crate::audit;
use crate::harden::Request;
use crate::policy::source;
use crate::policy::{self, Assessment, HoldBackChoice, Level, RoleChoice, Severity, Status, Threshold};
use crate::report::Results;
use crate::windows::certificates::input;
use coldforge_base::time::Moment;
use coldforge_base::{Failure, fs};
use coldforge_disk::{self as disk, Format, Image};

/// A values file is small text.
const VALUES_LIMIT_BYTES: u64 = 1 << 20;
/// A threshold file is a few bounds, and some lists of ids.
const THRESHOLD_LIMIT_BYTES: u64 = 1 << 20;

/// The image and how to read it.
#[derive(Args, Debug)]
pub(super) struct Source {
    /// The disk image: raw, VHD, VHDX or VMDK; of a differencing disk the parents are looked for in its folder
    #[arg(value_name = "IMAGE")]
    pub(super) image: PathBuf,

    /// Read the image as this container instead of recognising it by its signature
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub(super) input_format: Option<Format>,
}

/// Where a differencing disk's parent is.
#[derive(Args, Debug)]
pub(super) struct Parent {
    /// The parent of a differencing disk, where it is not in the disk's own folder
    #[arg(long = "parent", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

impl Source {
    /// Opens the image, and says what its user must know of it whatever is done with it.
    pub(super) fn open(&self, parent: &Parent, ui: &Ui) -> Result<Image> {
        let image = Image::open_as(&self.image, self.input_format, parent.file.as_deref()).map_err(boxed)?;
        warn_unsettled(&self.image, ui);
        Ok(image)
    }
}

/// Checks that a file which is no part of a bundle would not be written into one.
pub(super) fn check_outside(output: Option<&Path>) -> Result<()> {
    output.map_or(Ok(()), audit::check_outside).map_err(boxed)
}

/// Says of an image that a run in place was broken off before its evidence was whole, if it was.
///
/// What else is wrong with its journal is for the opening of the image to say.
pub(super) fn warn_unsettled(image: &Path, ui: &Ui) {
    if matches!(disk::pending(image), Ok(Some(disk::Pending::Unsettled))) {
        ui.status(&format!("warning: {}", Image::UNSETTLED));
    }
}

pub(super) fn format(text: &str) -> std::result::Result<Format, String> {
    text.parse().map_err(|unknown: coldforge_disk::UnknownFormat| unknown.to_string())
}

/// What is demanded of the machine.
#[derive(Args, Debug)]
pub(super) struct Policy {
    /// The STIG to apply: an id that `coldforge rules list` shows, auto for the one that fits the image, or none for what
    /// --policy names alone
    #[arg(long, value_name = "STIG", default_value = "auto")]
    stig: String,

    /// Assess a STIG or benchmark of another Windows than the image's all the same; console, log and reports say so
    #[arg(long)]
    force_stig: bool,

    /// Apply this benchmark instead: DISA's own XCCDF file, or the zip that it comes in
    #[arg(long, value_name = "FILE", conflicts_with = "stig")]
    benchmark: Option<PathBuf>,

    /// Also the STIGs of programs beside Windows: defender, edge, ie11, dotnet, firewall, or all
    ///
    /// One that is not installed is not applicable.
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    with: Vec<String>,

    /// Also this policy: rules in TOML (`coldforge rules schema`), a Registry.pol, GptTmpl.inf, audit.csv or .reg file, or
    /// the folder or zip of backups of group policy (repeat for several)
    #[arg(long, value_name = "FILE|DIR")]
    policy: Vec<PathBuf>,

    /// Rules up to this level: low (CAT III), medium (CAT II and III), high (all; also without this option)
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<Level>,

    /// Assess the machine in this role: auto (as its own hives say), ms (member server) or dc (domain controller)
    #[arg(long, value_name = "ROLE", default_value = "auto", value_parser = role)]
    role: RoleChoice,

    /// Only these rules, named by V-, SV- or STIG id (repeat, or separate by commas)
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    only: Vec<String>,

    /// Leave these rules out (repeat, or separate by commas)
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    skip: Vec<String>,

    /// Organization values: a TOML file with `schema = "coldforge/values/1"` and a table `[values]` by rule id
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,

    /// Waivers: a TOML file with `schema = "coldforge/waivers/1"` and a table `[[waiver]]` (rule, reason, approver,
    /// expires) for each rule that is left as it is for a time
    #[arg(long, value_name = "FILE")]
    waivers: Option<PathBuf>,

    /// What is left open on purpose: import-risk (what could stop the first boot of an image that Amazon imports, or lock
    /// every administrator out of it) or none
    #[arg(long, value_name = "WHAT", default_value = "import-risk", value_parser = hold_back)]
    hold_back: HoldBackChoice,

    /// Certificates to install where a rule demands one of them: a file (DER, PEM, .p7b), or a folder of such files
    #[arg(long, value_name = "FILE|DIR")]
    certificates: Option<PathBuf>,

    /// Take a dirty hive that has no usable transaction log as it lies there, instead of refusing it
    ///
    /// What its last writer had not finished is lost. The audit log records it.
    #[arg(long)]
    accept_dirty_hive: bool,

    /// Take a hive whose only errors are wrong reference counts of security descriptors, and set these right
    ///
    /// The audit log records it.
    #[arg(long)]
    accept_refcounts: bool,

    /// Exit with 1 if a rule of this severity or above is open and not waived: high, medium, low or none; low without it,
    /// and none without it where a --threshold is given
    #[arg(long, value_name = "SEVERITY", value_parser = ["high", "medium", "low", "none"])]
    fail_on: Option<String>,

    #[command(flatten)]
    pub(super) gate: Gate,
}

/// What a pipeline demands of the counts.
#[derive(Args, Debug)]
pub(super) struct Gate {
    /// Exit with 1 if the counts break a bound in this file, which is one for `saf validate threshold` (YAML or JSON)
    #[arg(long, value_name = "FILE")]
    threshold: Option<PathBuf>,
}

impl Gate {
    /// Reads the file, if there is one.
    pub(super) fn read(&self) -> Result<Option<Threshold>> {
        let read = |path: &PathBuf| fs::read(path, THRESHOLD_LIMIT_BYTES).map_err(boxed);
        let Some(bytes) = self.threshold.as_ref().map(read).transpose()? else { return Ok(None) };
        Threshold::parse(&String::from_utf8_lossy(&bytes)).map(Some).map_err(boxed)
    }
}

/// Says which bounds an assessment breaks, and whether there is one.
pub(super) fn breaks(threshold: Option<&Threshold>, assessment: &Assessment, ui: &Ui) -> bool {
    let breaches = threshold.map(|threshold| threshold.breaches(assessment)).unwrap_or_default();
    for breach in &breaches {
        ui.status(&format!("threshold: {}", plain(&breach.to_string())));
    }
    !breaches.is_empty()
}

/// Returns which results a SARIF document is to hold.
pub(super) fn results(all: bool) -> Results {
    if all { Results::All } else { Results::Open }
}

/// Reads a benchmark file of a sensible size.
pub(super) fn benchmark(path: &Path) -> Result<Vec<u8>> {
    fs::read(path, policy::xccdf::LIMIT_BYTES).map_err(boxed)
}

fn level(text: &str) -> std::result::Result<Level, String> {
    text.parse().map_err(|_| "expected low, medium or high".to_owned())
}

fn role(text: &str) -> std::result::Result<RoleChoice, String> {
    text.parse().map_err(|_| "expected auto, ms or dc".to_owned())
}

fn hold_back(text: &str) -> std::result::Result<HoldBackChoice, String> {
    text.parse().map_err(|_| "expected import-risk or none".to_owned())
}

impl Policy {
    /// Returns the demand.
    pub(super) fn demand(&self) -> Result<Request> {
        let text = |path: &PathBuf| {
            fs::read(path, VALUES_LIMIT_BYTES).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(boxed)
        };
        let certificates = self.certificates.as_deref().map(|path| input::from_path(path).map_err(boxed));
        Ok(Request {
            stig: Some(self.stig.clone()).filter(|stig| stig != "auto"),
            force_stig: self.force_stig,
            benchmark: self.benchmark.as_deref().map(benchmark).transpose()?,
            with: self.with.clone(),
            policies: self
                .policy
                .iter()
                .map(|path| source::Source::from_path(path).map_err(boxed))
                .collect::<Result<_>>()?,
            level: self.level,
            role: self.role,
            only: self.only.clone(),
            skip: self.skip.clone(),
            values: self.values.as_ref().map(text).transpose()?,
            waivers: self.waivers.as_ref().map(text).transpose()?,
            hold_back: self.hold_back,
            certificates: certificates.transpose()?.unwrap_or_default(),
            accept_dirty_hive: self.accept_dirty_hive,
            accept_refcounts: self.accept_refcounts,
            ..Request::default()
        })
    }

    /// Tells whether a finding is open and not waived that `--fail-on` names.
    pub(super) fn fails(&self, assessment: &Assessment) -> bool {
        let standard = if self.gate.threshold.is_some() { "none" } else { "low" };
        let counts = |severity: Severity| match self.fail_on.as_deref().unwrap_or(standard) {
            "none" => false,
            "high" => severity == Severity::High,
            "medium" => severity != Severity::Low,
            _ => true,
        };
        let fails = |finding: &policy::Finding| finding.status == Status::Open && !finding.is_waived();
        assessment.findings.iter().any(|finding| fails(finding) && counts(finding.severity))
    }
}

/// An environment variable that makes no sense.
#[derive(Debug, Error, Failure)]
#[error("SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds since 1970")]
#[failure(usage, hint = "set it to a whole number, such as the output of `git log -1 --format=%ct`, or unset it")]
struct BadEpoch {
    text: String,
}

/// Returns the time since it was first asked.
pub(super) fn elapsed() -> Duration {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed()
}

/// The last moment that RFC 3339 can express with four digits of year: 9999-12-31T23:59:59Z.
pub(super) const LAST_MOMENT: u64 = 253_402_300_799;

/// Returns the moment of this run: `SOURCE_DATE_EPOCH` where it is set, else the clock's.
pub(super) fn now() -> Result<Moment> {
    match std::env::var_os("SOURCE_DATE_EPOCH") {
        Some(text) => {
            let text = text.to_string_lossy().into_owned();
            let seconds = text.trim().parse().ok().filter(|seconds| *seconds <= LAST_MOMENT);
            seconds.map(Moment).ok_or_else(|| boxed(BadEpoch { text }))
        }
        None => Ok(Moment(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()))),
    }
}
