//! `coldforge harden`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::component::Components;
use super::options::{self, Parent, Policy, Source};
use super::scan;
use super::signing::Signing;
use super::ui::{Ui, plain};
use super::{Result, Verdict, boxed};
use crate::audit::Holds;
use crate::aws;
use crate::aws::preflight::Route;
use crate::component::{StepReport, StepStatus};
use crate::formats::shell;
use crate::harden;
use crate::harden::{Emission, Harden, Outcome, Request, RunDocument};
use crate::policy::{FirstBoot, Held, LocalGpo};
use crate::windows::{BootMode, VolumeCheck};
use coldforge_disk::{Format, Target};

/// Apply a STIG to an image and write a bundle: hardened image, audit log, import files
///
/// The source is opened for reading only, unless --in-place is given. The bundle appears whole or not at all: it is made
/// under a temporary name beside its place and renamed when every check has passed.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    parent: Parent,

    /// The folder to make; it must not exist, or be empty
    #[arg(long, short, value_name = "DIR", required_unless_present = "dry_run")]
    output: Option<PathBuf>,

    /// Do everything but write: shows what would be changed
    #[arg(long, conflicts_with = "output")]
    dry_run: bool,

    /// The container of the new image: raw, vhd, vhd-dynamic, vhdx, vhdx-dynamic, vmdk, or delta (a differencing VHD or
    /// VHDX that holds only the changes, with the source as its parent); without it that of the source
    #[arg(long, value_name = "FORMAT", value_parser = target)]
    format: Option<Target>,

    /// Write into the image itself; what it was lies in an undo journal beside it, for `coldforge undo`
    ///
    /// The bundle in DIR has everything but the image, and no digest of the whole file: only what holds data is read.
    #[arg(long, conflicts_with_all = ["format", "dry_run"])]
    in_place: bool,

    #[command(flatten)]
    policy: Policy,

    /// What becomes of local group policy: write (entries that would turn a demanded value back are changed, and policies
    /// that are set get an entry, so that the policy editor shows them), update (only the former) or leave
    #[arg(long, value_name = "WHAT", default_value = "write", value_parser = local_gpo)]
    local_gpo: LocalGpo,

    /// What is done about settings that setup may set anew when an image starts that was prepared for a new machine
    /// (sysprep) or never started: report (they are listed), or stage (Windows\Setup\Scripts\SetupComplete.cmd also sets
    /// accounts, account policy, rights and audit policy again when setup has ended)
    #[arg(long, value_name = "WHAT", default_value = "report", value_parser = first_boot)]
    first_boot: FirstBoot,

    /// How much of the volume is verified before and after the edit: full, or touched (the edited files, the folders
    /// above them and the file system's own) for very large volumes
    #[arg(long, value_name = "SCOPE", default_value = "full", value_parser = check)]
    check: VolumeCheck,

    /// How firmware starts the machine, where the partition table does not tell: legacy-bios or uefi
    #[arg(long, value_name = "MODE", value_parser = boot_mode)]
    boot_mode: Option<BootMode>,

    #[command(flatten)]
    components: Components,

    #[command(flatten)]
    aws: Aws,

    /// Put the results of all rules into SARIF, not only those of open ones
    #[arg(long)]
    sarif_all: bool,

    #[command(flatten)]
    signing: Signing,
}

/// Where the image goes; nothing is sent anywhere.
#[derive(Args, Debug)]
#[command(next_help_heading = "Files for AWS")]
struct Aws {
    /// The way to AWS that the preflight is about: import-image or snapshot
    ///
    /// Without it the checks for import-image are made and told; with it a check that fails ends the run.
    #[arg(long, value_name = "ROUTE", value_parser = super::preflight::route)]
    route: Option<Route>,

    /// Go on although a check of the preflight for --route fails
    #[arg(long, requires = "route")]
    skip_preflight: bool,

    /// Set right what checks of the preflight find (P11, P14, P25, P26, P27, P29, P30, P36, P37, P43, P45, P47; repeat, or
    /// separate by commas), or `safe` for all of these; what a rule demands otherwise stays as the rule wants it
    #[arg(long = "fix", value_name = "CHECK", value_delimiter = ',')]
    fixes: Vec<String>,

    /// The S3 bucket that the files name
    #[arg(long, visible_alias = "s3-bucket", value_name = "BUCKET", default_value = aws::NO_BUCKET)]
    bucket: String,

    /// What the image's key in the bucket begins with, such as `images/`
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,

    /// The region of the bucket and of the new image
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// The role that VM Import/Export takes on
    #[arg(long, value_name = "NAME", default_value = "vmimport")]
    role_name: String,

    /// Encrypt the new snapshot and its copies by this KMS key (id, alias or ARN; with --regions an alias or a multi-Region key,
    /// which each region can have)
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,

    /// A tag of the new image (repeat for more)
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,

    /// AWS, BYOL, or the ARN of a licence configuration
    #[arg(long, value_name = "LICENSE")]
    license: Option<String>,

    /// Copy the new image to these regions, too (repeat, or separate by commas)
    #[arg(long, value_name = "REGION", value_delimiter = ',')]
    regions: Vec<String>,

    /// Let these accounts start the new image (repeat, or separate by commas)
    #[arg(long, value_name = "ACCOUNT", value_delimiter = ',')]
    account_ids: Vec<String>,
}

impl Aws {
    fn options(&self) -> Result<aws::Options> {
        let options = aws::Options {
            route: self.route.unwrap_or_default(),
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            region: self.region.clone(),
            role_name: self.role_name.clone(),
            kms_key: self.kms_key.clone(),
            tags: self.tags.iter().cloned().collect(),
            license: self.license.clone(),
            regions: self.regions.clone(),
            account_ids: self.account_ids.clone(),
        };
        options.check().map_err(boxed)?;
        aws::preflight::check_words(&self.fixes).map_err(boxed)?;
        Ok(options)
    }
}

fn tag(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn local_gpo(text: &str) -> std::result::Result<LocalGpo, String> {
    text.parse().map_err(|_| "expected write, update or leave".to_owned())
}

fn first_boot(text: &str) -> std::result::Result<FirstBoot, String> {
    text.parse().map_err(|_| "expected report or stage".to_owned())
}

fn check(text: &str) -> std::result::Result<VolumeCheck, String> {
    text.parse().map_err(|_| "expected full or touched".to_owned())
}

fn target(text: &str) -> std::result::Result<Target, String> {
    match text.parse::<Format>() {
        Ok(format) if format == format.alone() => Ok(Target::Format(format)),
        _ if text == "delta" => Ok(Target::Delta),
        _ => Err("expected raw, vhd, vhd-dynamic, vhdx, vhdx-dynamic, vmdk or delta".to_owned()),
    }
}

fn boot_mode(text: &str) -> std::result::Result<BootMode, String> {
    match text {
        "legacy-bios" => Ok(BootMode::LegacyBios),
        "uefi" => Ok(BootMode::Uefi),
        _ => Err("expected legacy-bios or uefi".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let threshold = arguments.policy.gate.read()?;
    let mut demand = Request {
        check: arguments.check,
        local_gpo: arguments.local_gpo,
        first_boot: arguments.first_boot,
        fixes: arguments.aws.fixes.clone(),
        ..arguments.policy.demand()?
    };
    arguments.components.add_to(&mut demand)?;
    let job = Harden {
        source: arguments.source.image.clone(),
        format: arguments.source.input_format,
        parent: arguments.parent.file.clone(),
        emission: match (arguments.in_place, arguments.format) {
            (true, _) => Emission::InPlace,
            (false, target) => Emission::New(target.unwrap_or(Target::Same)),
        },
        output: arguments.output.clone(),
        request: demand,
        now: options::now()?,
        boot_mode: arguments.boot_mode,
        aws: arguments.aws.options()?,
        must_pass_preflight: arguments.aws.route.is_some() && !arguments.aws.skip_preflight,
        sarif: options::results(arguments.sarif_all),
        signer: arguments.signing.key()?,
        elapsed: options::elapsed,
    };
    let outcome = harden::harden(&job, ui).map_err(boxed)?;
    if ui.json {
        ui.document(&RunDocument::of(&outcome));
    } else {
        ui.data(&report(&outcome));
    }
    // Behind the summary, whose first lines are what somebody must look at, and before the next command.
    for warning in &outcome.warnings {
        ui.status(&format!("warning: {}", plain(warning)));
    }
    let failed: Vec<&str> = outcome.preflight.1.failed().map(|check| &*check.id).collect();
    if !failed.is_empty() {
        ui.status(&format!("warning: W-PREFLIGHT: {} fail: {}", job.aws.route, failed.join(", ")));
    }
    if !ui.json {
        ui.data(&next(&outcome, &job));
    }
    let breaks = options::breaks(threshold.as_ref(), &outcome.after, ui);
    // What was asked for beside the rules, a step of a component or a fix, and was not done.
    let is_rule = |id: &String| outcome.after.findings.iter().any(|finding| finding.stig_id == *id);
    let undone = outcome.held_back.iter().any(|held| !is_rule(&held.rule));
    Ok(if breaks || undone || arguments.policy.fails(&outcome.after) { Verdict::Open } else { Verdict::Done })
}

fn report(outcome: &Outcome) -> String {
    let mut text = scan::machine(&outcome.windows);
    text.push_str(&format!("{}\n\n", outcome.after.benchmark));
    text.push_str(&scan::totals(&outcome.after.totals, Some(&outcome.before.totals)));
    // What needs somebody's attention comes first: what Amazon would reject, and what is open.
    text.push_str(&preflight(outcome));
    let open = scan::findings(&outcome.after);
    if !open.is_empty() {
        text.push_str(&format!("\nStill open:\n{open}"));
    }
    if scan::nothing_assessed(&outcome.after) {
        text.push_str("\nNone of the selected rules can be assessed: nothing was changed, and nothing is proven.\n");
    } else if outcome.applied.is_empty() && outcome.held_back.is_empty() && outcome.left_open.is_empty() {
        text.push_str("\nNothing had to be changed: every rule that can be applied is met already.\n");
    } else if outcome.applied.is_empty() {
        text.push_str("\nNothing had to be changed, beside what is held back or left open below.\n");
    } else {
        let verb = if outcome.bundle.is_some() { "changed" } else { "would be changed" };
        text.push_str(&format!("\n{} settings {verb}", outcome.applied.len()));
        if outcome.bundle.is_none() {
            text.push_str(":\n");
            for applied in &outcome.applied {
                let show = |value: &Option<crate::windows::setting::Value>| {
                    value.as_ref().map_or_else(|| "absent".to_owned(), scan::shown)
                };
                let change = &applied.change;
                let line = format!("{}: {} -> {}", change.setting, show(&change.before), show(&change.after));
                text.push_str(&format!("  {}  {}\n", applied.rules.join(" "), plain(&line)));
            }
        } else {
            text.push_str(".\n");
        }
    }
    text.push_str(&steps(&outcome.components));
    text.push_str(&at_risk(outcome));
    text.push_str(&scan::held("Held back (--hold-back none applies them)", &outcome.held_back));
    text.push_str(&scan::held("Left open", &outcome.left_open));
    text.push_str(&scan::waived(&outcome.after));
    text.push_str(&scan::covered(&outcome.scope));
    text.push_str(&second_readers(outcome));
    match (&outcome.bundle, &outcome.output) {
        (Some(bundle), Some(output)) => {
            text.push_str(&format!("\n{}\n", bundle.image.display()));
            text.push_str(&format!("  container   {}\n", output.format));
            if let Some(sha256) = output.sha256 {
                text.push_str(&format!("  sha256      {sha256}\n"));
            }
            let linear = &output.ebs_linear;
            text.push_str(&format!(
                "  LINEAR      {} ({} blocks that are not all zero)\n",
                linear.sha256_base64, linear.blocks
            ));
            let (image, folder) = (bundle.image.display(), bundle.folder.display());
            let with = match bundle.holds {
                Holds::Image => String::new(),
                Holds::Delta => " --source SOURCE".to_owned(),
                Holds::Nothing => format!(" --image {image}"),
            };
            text.push_str(&format!("\nProve it: coldforge verify {folder}{with}\n"));
            if outcome.journal.is_some() {
                text.push_str(&format!(
                    "Take it back: coldforge undo {image}\nKeep it: coldforge undo --forget {image}\n"
                ));
            }
        }
        _ => text.push_str("\nDry run: nothing was written.\n"),
    }
    text
}

/// Says what Amazon would reject, and what it would take.
fn preflight(outcome: &Outcome) -> String {
    let mut text = format!("\n{}\n", super::preflight::summary(&outcome.preflight.1));
    for check in outcome.preflight.1.failed() {
        text.push_str(&format!("  {}  {}: {}\n", check.id, check.title, plain(&check.found)));
    }
    text
}

/// Says how many of the changes readers that this project did not write have read again; nothing if none was asked.
fn second_readers(outcome: &Outcome) -> String {
    let Some(opinion) = outcome.second_opinion.as_ref().filter(|opinion| !opinion.readers.is_empty()) else {
        return String::new();
    };
    let rest = match opinion.cannot_read.len() {
        0 => String::new(),
        _ => "; the log says why the others were not".to_owned(),
    };
    let (agreed, count, readers) = (opinion.agreed, outcome.applied.len(), opinion.readers.join(" and "));
    format!("\n{agreed} of {count} changes were read again by {readers}{rest}.\n")
}

/// Returns the next command to type.
fn next(outcome: &Outcome, job: &Harden) -> String {
    let source = typed(&job.source);
    let Some(bundle) = &outcome.bundle else {
        return format!("Next: coldforge harden {source} -o DIR\n");
    };
    let image = match bundle.holds {
        Holds::Nothing => &job.source,
        _ => &bundle.image,
    };
    let route = job.aws.route;
    if bundle.holds == Holds::Delta {
        return format!("Next: coldforge verify {} --source {source}\n", typed(&bundle.folder));
    }
    if outcome.preflight.1.failed().next().is_some() {
        return format!("Next: coldforge preflight {} --route {route}\n", typed(image));
    }
    if job.aws.bucket == aws::NO_BUCKET {
        return format!("Next: coldforge harden {source} -o DIR --bucket BUCKET --region REGION\n");
    }
    let mut variables = String::new();
    if job.aws.region.is_none() {
        variables.push_str("AWS_REGION=REGION ");
    }
    if bundle.holds == Holds::Nothing {
        let image = std::path::absolute(image).unwrap_or_else(|_| image.clone());
        variables.push_str(&format!("IMAGE={} ", typed(&image)));
    }
    format!("Next: {variables}bash {} {route}\n", typed(&bundle.folder.join("aws/commands.sh")))
}

/// Returns a path as a shell and the command take it: a name that begins with a dash would be an option.
pub(super) fn typed(path: &Path) -> String {
    plain(&shell::word(&path.display().to_string()))
}

/// Says what became of the steps of components; nothing if there are none.
fn steps(told: &[StepReport]) -> String {
    let words = [
        (StepStatus::Done, "done"),
        (StepStatus::Staged, "left to the first start"),
        (StepStatus::Skipped, "skipped by their condition"),
        (StepStatus::LeftOut, "left out"),
        (StepStatus::IgnoredFailure, "failed, which is to be ignored"),
    ];
    let count = |status| told.iter().filter(|step| step.status == status).count();
    let counts: Vec<String> = words
        .iter()
        .map(|(status, word)| (count(*status), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if counts.is_empty() {
        return String::new();
    }
    let mut text = format!("\nSteps of components: {}.\n", counts.join(", "));
    for step in told {
        if let Some(why) = &step.why {
            text.push_str(&format!("  {}  {}: {}\n", plain(&step.step), step.action, plain(why)));
        }
    }
    text
}

/// Says what becomes of settings when setup goes on at the next start; nothing if there are none.
fn at_risk(outcome: &Outcome) -> String {
    if outcome.at_risk.is_empty() {
        return String::new();
    }
    let is_staged = |held: &&Held| held.reason.contains("sets it again");
    let staged = outcome.at_risk.iter().filter(is_staged).count();
    let count = outcome.at_risk.len();
    let what = "accounts, account policy, rights and audit policy may be set anew";
    let end = match staged {
        0 => "; --first-boot stage sets them again when setup has ended.".to_owned(),
        _ if staged == count => ", and SetupComplete.cmd sets them again.".to_owned(),
        _ => {
            let rest = outcome.at_risk.iter().filter(|held| !is_staged(held));
            let lines: String = rest.map(|held| format!("  {}  {}\n", held.rule, plain(&held.reason))).collect();
            format!(", and SetupComplete.cmd sets those of {staged} again. Not those of\n{}", lines.trim_end())
        }
    };
    format!("\nSetup goes on when this image starts: {count} rules are at risk, because {what}{end}\n")
}
