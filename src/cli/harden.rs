//! `coldforge harden`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::options::{self, Parent, Policy, Source};
use super::scan;
use super::signing::Signing;
use super::ui::{Ui, plain};
use super::{Result, Verdict, boxed};
use crate::audit::Holds;
use crate::disk::{Format, Target};
use crate::pipeline::{self, Demand, Emission, Harden, Outcome};
use crate::policy::{FirstBoot, Held, LocalGpo};
use crate::windows::{BootMode, VolumeCheck};

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

    /// The S3 bucket that the import files name
    #[arg(long, value_name = "BUCKET", default_value = "YOUR-BUCKET")]
    s3_bucket: String,

    #[command(flatten)]
    signing: Signing,
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
    let job = Harden {
        source: arguments.source.image.clone(),
        format: arguments.source.input_format,
        parent: arguments.parent.file.clone(),
        emission: match (arguments.in_place, arguments.format) {
            (true, _) => Emission::InPlace,
            (false, target) => Emission::New(target.unwrap_or(Target::Same)),
        },
        output: arguments.output.clone(),
        demand: Demand {
            check: arguments.check,
            local_gpo: arguments.local_gpo,
            first_boot: arguments.first_boot,
            ..arguments.policy.demand()?
        },
        now: options::now()?,
        boot_mode: arguments.boot_mode,
        bucket: arguments.s3_bucket.clone(),
        signer: arguments.signing.key()?,
        elapsed: options::elapsed,
    };
    let outcome = pipeline::harden(&job, ui).map_err(boxed)?;
    for warning in &outcome.warnings {
        ui.status(&format!("warning: {}", plain(warning)));
    }
    if ui.json {
        ui.document(&document(&outcome));
    } else {
        ui.data(&report(&outcome));
    }
    let breaks = options::breaks(threshold.as_ref(), &outcome.after, ui);
    Ok(if breaks || arguments.policy.fails(&outcome.after) { Verdict::Open } else { Verdict::Done })
}

fn document(outcome: &Outcome) -> serde_json::Value {
    json!({
        "schema": "coldforge/run/1",
        "windows": outcome.windows,
        "benchmark": outcome.after.benchmark,
        "warnings": outcome.warnings,
        "before": {"totals": outcome.before.totals},
        "after": {"totals": outcome.after.totals},
        "changes": outcome.applied.len(),
        "changed": outcome.applied.iter().map(|applied| json!({
            "rules": applied.rules,
            "setting": applied.change.setting,
            "before": applied.change.before,
            "after": applied.change.after,
        })).collect::<Vec<_>>(),
        "held_back": outcome.held_back,
        "waived": outcome.waived,
        "left_open": outcome.left_open,
        "at_risk": outcome.at_risk,
        "bundle": outcome.bundle.as_ref().map(|bundle| json!({
            "folder": bundle.folder.display().to_string(),
            "image": match bundle.holds {
                Holds::Nothing => bundle.image.display().to_string(),
                _ => bundle.image.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            },
            "holds": bundle.holds,
            "files": bundle.files,
        })),
        "journal": outcome.journal.as_ref().map(|journal| journal.display().to_string()),
        "second_opinion": outcome.second_opinion,
        "digests": outcome.output.as_ref().map(|output| json!({
            "source_sha256": outcome.source.as_ref().map(|source| source.sha256),
            "image_sha256": output.sha256,
            "ebs_linear": output.ebs_linear,
        })),
        "timings_ms": outcome.timings_ms,
    })
}

fn report(outcome: &Outcome) -> String {
    let mut text = scan::machine(&outcome.windows);
    text.push_str(&format!("{}\n\n", outcome.after.benchmark));
    text.push_str(&scan::totals(&outcome.after.totals, Some(&outcome.before.totals)));
    if scan::nothing_assessed(&outcome.after) {
        text.push_str("\nNone of the selected rules can be assessed: nothing was changed, and nothing is proven.\n");
    } else if outcome.applied.is_empty() {
        text.push_str("\nNothing had to be changed: every rule that can be applied is met already.\n");
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
    text.push_str(&at_risk(outcome));
    let open = scan::findings(&outcome.after);
    if !open.is_empty() {
        text.push_str(&format!("\nStill open:\n{open}"));
    }
    text.push_str(&scan::held("Held back (--hold-back none applies them)", &outcome.held_back));
    text.push_str(&scan::waived(&outcome.after));
    match (&outcome.bundle, &outcome.output) {
        (Some(bundle), Some(output)) => {
            text.push_str(&format!("\n{}\n", bundle.image.display()));
            text.push_str(&format!("  container   {}\n", output.format));
            if let Some(sha256) = output.sha256 {
                text.push_str(&format!("  sha256      {sha256}\n"));
            }
            let linear = &output.ebs_linear;
            text.push_str(&format!("  EBS LINEAR  {} ({} blocks)\n", linear.sha256_base64, linear.blocks));
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
