//! `coldforge component`, and the components of `coldforge harden`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::ui::{Ui, plain};
use super::{Result, Verdict, boxed};
use crate::component::Error;
use crate::component::{Component, Scripts};
use crate::harden::Request;
use coldforge_base::fs;

/// A document of a component is no larger.
const LIMIT_BYTES: u64 = 1 << 20;

/// Look at component documents, in the format of EC2 Image Builder
#[derive(Args, Debug)]
#[command(subcommand_required = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Lint(Lint),
}

/// Tell everything that stands against a component document before an image is looked at
///
/// `harden` asks the same questions, and then those that only the image answers: give both the same --scripts, --downloads and
/// --parameter. Exit code 0 if nothing stands against it, 1 if something does.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coldforge component lint banner.yml                       judge it; scripts in it are refused
  coldforge component lint banner.yml --scripts translate   judge its scripts, too
  coldforge harden base.vhd -o hardened --component banner.yml   carry it out beside the STIG")]
struct Lint {
    /// The document (YAML, schemaVersion 1.0)
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// What would become of scripts: fail, skip, translate or first-boot
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = scripts)]
    scripts: Scripts,

    /// A folder that stands in for the network, as for `coldforge harden`
    #[arg(long, value_name = "DIR")]
    downloads: Option<PathBuf>,

    /// The value of a parameter (repeat for more)
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
}

/// What is done beside the rules.
#[derive(Args, Debug)]
#[command(next_help_heading = "Components")]
pub(super) struct Components {
    /// Carry out this component document (YAML, as EC2 Image Builder has them) beside the rules; repeat for more
    ///
    /// Its phases build and validate come before the edit is written, its phase test looks at the result: a step that
    /// fails ends the run. What a rule demands otherwise stays as the rule wants it.
    #[arg(long = "component", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The value of a parameter of the components (repeat for more); values are recorded in the audit log
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair, requires = "files")]
    parameters: Vec<(String, String)>,

    /// A folder that stands in for the network: S3Download of s3://BUCKET/KEY takes DIR/BUCKET/KEY, WebDownload of
    /// https://HOST/PATH takes DIR/HOST/PATH
    #[arg(long, value_name = "DIR", requires = "files")]
    downloads: Option<PathBuf>,

    /// What becomes of PowerShell in components: fail (the component is refused), skip (left out, and told), translate
    /// (where each line says in a closed list of commands what can be done offline) or first-boot (it runs once when
    /// setup has ended, and so do programs and installers)
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = scripts, requires = "files")]
    pub(super) scripts: Scripts,
}

impl Components {
    /// Reads the documents, and adds them to what is demanded.
    pub(super) fn add_to(&self, demand: &mut Request) -> Result<()> {
        let parameters: BTreeMap<String, String> = self.parameters.iter().cloned().collect();
        demand.scripts = self.scripts;
        for file in &self.files {
            let component = Component::from_path(file, &parameters, self.downloads.as_deref()).map_err(boxed)?;
            demand.add_component(component).map_err(boxed)?;
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let Verb::Lint(Lint { file, scripts, downloads, parameters }) = &arguments.verb;
    let parameters: BTreeMap<String, String> = parameters.iter().cloned().collect();
    let name = name(file);
    let component = Component::parse(&name, &text(file)?, &parameters);
    let (component, faults) = match component {
        // What it names beside it must be there as well.
        Ok(alone) => match Component::from_path(file, &parameters, downloads.as_deref()) {
            Ok(component) => {
                let faults = component.objections(*scripts);
                (Some(component), faults)
            }
            Err(Error::Faults { first, .. }) => (Some(alone), vec![first]),
            Err(error) => return Err(boxed(error)),
        },
        Err(faults) => (None, faults),
    };
    let is_valid = component.is_some() && faults.iter().all(|fault| fault.flaw.is_sound());
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/component-lint/1",
            "file": file.display().to_string(),
            "valid": is_valid,
            "offline": faults.is_empty(),
            "faults": faults.iter().map(|fault| json!({
                "line": fault.at.line,
                "column": fault.at.column,
                "flaw": fault.flaw.word(),
                "needs_windows": fault.flaw.is_offline(),
                "message": fault.to_string(),
                "hint": fault.flaw.hint(),
            })).collect::<Vec<_>>(),
        }));
    } else {
        let mut said = String::new();
        for fault in &faults {
            said.push_str(&format!("{}:{}\n", file.display(), plain(&fault.to_string())));
        }
        let hints: BTreeSet<&str> = faults.iter().map(|fault| fault.flaw.hint()).collect();
        said.extend(hints.iter().map(|hint| format!("hint: {hint}\n")));
        if let Some(component) = &component {
            let phases: Vec<String> =
                component.phases().iter().map(|(phase, steps)| format!("{phase} ({steps} steps)")).collect();
            let verdict = match faults.len() {
                0 => "can be carried out, as far as that can be told without an image".to_owned(),
                count if !is_valid => format!("cannot be carried out: {count} faults"),
                1 => "is valid, and 1 step is not carried out with this choice of scripts and downloads".to_owned(),
                count => {
                    format!("is valid, and {count} steps are not carried out with this choice of scripts and downloads")
                }
            };
            said.push_str(&format!("{}: {}: {verdict}\n", plain(component.name()), plain(&phases.join(", "))));
        }
        ui.data(&said);
    }
    Ok(if faults.is_empty() { Verdict::Done } else { Verdict::Open })
}

fn text(file: &Path) -> Result<String> {
    let bytes = fs::read(file, LIMIT_BYTES).map_err(boxed)?;
    // What is no text is found by the reader, with its place.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    match value.is_empty() {
        true => Err("a value is not empty".to_owned()),
        false => Ok((name.to_owned(), value.to_owned())),
    }
}

fn scripts(text: &str) -> std::result::Result<Scripts, String> {
    text.parse().map_err(|_| "expected fail, skip, translate or first-boot".to_owned())
}
