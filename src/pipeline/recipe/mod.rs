//! Recipes: which images are hardened how, what must hold of the result, and where it goes, in one file.
//!
//! A recipe is read into the same request that `coldforge harden` makes ([`super::Harden`]); there is no second way to a
//! bundle. What is built is tested under a temporary name, and gets its own when every test holds. [`run`] keeps a lock
//! beside the recipe, by which a later run knows what changed and what is done already.

mod assertion;
mod budget;
mod checks;
mod document;
mod error;
mod images;
mod lock;
mod run;
mod show;
mod told;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Value as Json, json};

pub use error::Fault;
pub(super) use lock::{is_whole, sums_of};
pub use run::{Built, Options, Summary, TestTold, run};
pub use told::sentence;

use super::component::Component;
use super::notify::Notice;
use super::schedule::Schedule;
use super::{Demand, Emission, Result};
use crate::audit::Tool;
use crate::aws::{self, preflight};
use crate::base::digest::Digest;
use crate::base::fs;
use crate::base::time::Moment;
use crate::disk::{Format, Target};
use crate::policy::{self, Severity, source};
use crate::windows::certificates::input;
use crate::windows::{self, BootMode};
use document::Document;
use images::Image;

/// A recipe is a page or two.
const LIMIT_BYTES: u64 = 1 << 20;

/// A recipe to begin with.
pub const TEMPLATE: &str = include_str!("template.toml");

/// The JSON Schema of a recipe.
pub const SCHEMA: &str = include_str!("recipe.schema.json");

/// A recipe that was read with everything that it names but its images' bytes.
#[derive(Clone, Debug)]
pub struct Recipe {
    path: PathBuf,
    document: Document,
    images: Vec<Image>,
    demand: Demand,
    emission: Emission,
    boot_mode: Option<BootMode>,
    aws: aws::Options,
    must_pass_preflight: bool,
    checks: Vec<checks::Ready>,
    fail_on: Option<Severity>,
    folder: PathBuf,
    template: String,
    /// The digest of everything that is the same for all images, by name.
    inputs: BTreeMap<String, String>,
    schedule: Option<Schedule>,
}

/// What stands at the head of a recipe, of which nothing else was looked at.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The recipe.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// When it runs, if it says so.
    pub schedule: Option<Schedule>,
}

impl Heading {
    /// Reads a recipe's heading; `None` if the file is of another schema, and no recipe.
    ///
    /// # Errors
    /// [`Fault`]; what is wrong with the file.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = String::from_utf8_lossy(&fs::read(path, LIMIT_BYTES)?).into_owned();
        let is_recipe =
            text.lines().any(|line| line.trim_start().starts_with("schema") && line.contains("coldforge/recipe/"));
        if !is_recipe {
            return Ok(None);
        }
        let (document, _) = Document::read(&text, &[])?;
        let schedule = schedule(&document)?;
        let Document { name, version, description, .. } = document;
        Ok(Some(Self { path: path.to_owned(), name, version, description, schedule }))
    }
}

/// Returns when a recipe runs.
fn schedule(document: &Document) -> Result<Option<Schedule>> {
    let read = |text: &String| Schedule::parse(text).map_err(|why| Fault::Schedule { text: text.clone(), why });
    Ok(document.schedule.as_ref().map(read).transpose()?)
}

impl Recipe {
    /// Reads a recipe and what it names; `set` are values that stand in for its own, by dotted key.
    ///
    /// # Errors
    /// [`Fault`], and what is wrong with a file that it names.
    pub fn read(path: &Path, set: &[(String, String)]) -> Result<Self> {
        let text = String::from_utf8_lossy(&fs::read(path, LIMIT_BYTES)?).into_owned();
        let (document, text) = Document::read(&text, set)?;
        let home = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut inputs = BTreeMap::new();
        let mut input = |name: String, bytes: &[u8]| inputs.insert(name, Digest::of(bytes).to_string());
        input("recipe".to_owned(), text.as_bytes());
        input("tool".to_owned(), format!("{} {}", Tool::THIS.name, Tool::THIS.version).as_bytes());
        plain("name", &document.name, "letters, digits, dots, hyphens and underscores")?;
        let is_version = |part: &str| !part.is_empty() && part.len() < 10 && part.bytes().all(|c| c.is_ascii_digit());
        if document.version.split('.').count() != 3 || !document.version.split('.').all(is_version) {
            return Err(unknown("version", &document.version, "three numbers, such as 1.0.0"));
        }
        let demand = {
            let stig = &document.stig;
            let mut read = |name: &str, path: &Option<PathBuf>, most| -> Result<Option<Vec<u8>>> {
                let Some(path) = path else { return Ok(None) };
                let bytes = fs::read(&home.join(path), most)?;
                input(name.to_owned(), &bytes);
                Ok(Some(bytes))
            };
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let benchmark = read("benchmark", &stig.benchmark, policy::xccdf::LIMIT_BYTES)?;
            let values = read("values", &stig.values, LIMIT_BYTES)?.map(text);
            let waivers = read("waivers", &stig.waivers, LIMIT_BYTES)?.map(text);
            let mut policies = Vec::new();
            for path in &stig.policy {
                let source = source::Source::from_path(&home.join(path))?;
                input(format!("policy {}", path.display()), format!("{source:?}").as_bytes());
                policies.push(source);
            }
            let mut certificates = Vec::new();
            if let Some(path) = &stig.certificates {
                certificates = input::from_path(&home.join(path)).map_err(windows::Error::from)?;
                let all: Vec<u8> = certificates.iter().flat_map(|one| one.der().to_vec()).collect();
                input("certificates".to_owned(), &all);
            }
            let mut demand = Demand {
                stig: stig.release.clone().filter(|release| release != "auto"),
                force_stig: stig.force,
                benchmark,
                with: stig.with.clone(),
                policies,
                level: stig
                    .level
                    .as_ref()
                    .map(|_| word("stig.level", &stig.level, "low, medium or high"))
                    .transpose()?,
                role: word("stig.role", &stig.role, "auto, ms or dc")?,
                only: stig.only.clone(),
                skip: stig.skip.clone(),
                values,
                waivers,
                hold_back: word("stig.hold_back", &stig.hold_back, "import-risk or none")?,
                certificates,
                local_gpo: word("build.local_gpo", &document.build.local_gpo, "write, update or leave")?,
                first_boot: word("build.first_boot", &document.build.first_boot, "report or stage")?,
                fixes: document.build.fix.clone(),
                components: Vec::new(),
                scripts: word("build.scripts", &document.build.scripts, "fail, skip, translate or first-boot")?,
                accept_dirty_hive: document.build.accept_dirty_hive,
                check: word("build.check", &document.build.check, "full or touched")?,
            };
            for component in &document.component {
                let downloads = document.build.downloads.as_ref().map(|folder| home.join(folder));
                let file = home.join(&component.file);
                let component = Component::from_path(&file, &component.parameters, downloads.as_deref())?;
                inputs.extend(
                    component
                        .digests()
                        .into_iter()
                        .map(|(name, sha256)| (format!("component {name}"), sha256.to_string())),
                );
                demand.add_component(component)?;
            }
            demand
        };
        preflight::check_words(&demand.fixes)?;
        let fail_on = match document.stig.fail_on.as_deref().unwrap_or("low") {
            "none" => None,
            "high" => Some(Severity::High),
            "medium" => Some(Severity::Medium),
            "low" => Some(Severity::Low),
            other => return Err(unknown("stig.fail_on", other, "high, medium, low or none")),
        };
        let boot_mode = match document.build.boot_mode.as_deref() {
            None => None,
            Some("legacy-bios") => Some(BootMode::LegacyBios),
            Some("uefi") => Some(BootMode::Uefi),
            Some(other) => return Err(unknown("build.boot_mode", other, "legacy-bios or uefi")),
        };
        let target = match document.output.format.as_deref() {
            None | Some("same") => Target::Same,
            Some("delta") => Target::Delta,
            Some(text) => match text.parse::<Format>() {
                Ok(format) if format == format.alone() => Target::Format(format),
                _ => {
                    return Err(unknown(
                        "output.format",
                        text,
                        "same, raw, vhd, vhd-dynamic, vhdx, vhdx-dynamic, vmdk or delta",
                    ));
                }
            },
        };
        let aws = &document.aws;
        let standard = aws::Options::default();
        let options = aws::Options {
            route: word("aws.route", &aws.route, "import-image or snapshot")?,
            bucket: aws.bucket.clone().unwrap_or(standard.bucket),
            prefix: aws.prefix.clone().unwrap_or_default(),
            region: aws.region.clone(),
            role_name: aws.role_name.clone().unwrap_or(standard.role_name),
            kms_key: aws.kms_key.clone(),
            tags: aws.tags.clone(),
            license: aws.license.clone(),
            regions: document.distribution.regions.clone(),
            account_ids: document.distribution.accounts.clone(),
        };
        if let Err(error) = options.check() {
            return Err(unknown("aws", &error.value, error.what));
        }
        let ready = |word: &String| checks::Ready::named(word).ok_or_else(|| unknown("tests.run", word, checks::WORDS));
        for notice in &document.notify {
            if let Some((field, found, expected)) = notice.objection() {
                return Err(unknown(field, &found, expected));
            }
        }
        for assertion in &document.tests.assert {
            if let Err((field, found, expected)) = assertion.check() {
                return Err(unknown(field, &found, expected));
            }
        }
        let template = document.output.name.clone().unwrap_or_else(|| "{name}-{version}-{source.name}".to_owned());
        Ok(Self {
            images: images::find(&home, &document.source)?,
            demand,
            emission: Emission::New(target),
            boot_mode,
            must_pass_preflight: aws.route.is_some() && !aws.skip_preflight,
            aws: options,
            checks: document.tests.run.iter().map(ready).collect::<Result<_>>()?,
            fail_on,
            folder: home.join(document.output.folder.as_deref().unwrap_or(Path::new("out"))),
            template,
            inputs,
            schedule: schedule(&document)?,
            path: path.to_owned(),
            document,
        })
    }

    /// Returns the file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// Returns its version.
    pub fn version(&self) -> &str {
        &self.document.version
    }

    /// Returns where its bundles are put.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns who is told of its runs.
    pub fn notices(&self) -> &[Notice] {
        &self.document.notify
    }

    /// Returns everything that a run will do, before it does it.
    ///
    /// # Errors
    /// Where an image cannot be opened, or two become one bundle.
    pub fn review(&self, now: Moment) -> Result<Json> {
        let names = run::names(self, now)?;
        let component = |component: &Component| {
            json!({
                "name": component.name(),
                "scripts": component.script_steps(self.demand.scripts),
                "phases": component.phases().iter().map(|(phase, steps)| json!({"phase": phase, "steps": steps})).collect::<Vec<_>>(),
                "needs_windows": component.beyond(self.demand.scripts).iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        };
        let (document, demand) = (&self.document, &self.demand);
        Ok(json!({
            "schema": "coldforge/recipe-review/1",
            "name": document.name,
            "version": document.version,
            "description": document.description,
            "images": self.images.iter().zip(&names).map(|(image, name)| json!({
                "image": image.path.display().to_string(),
                "sha256": image.sha256,
                "bundle": self.folder.join(name).display().to_string(),
            })).collect::<Vec<_>>(),
            "stig": demand.stig.as_deref().unwrap_or("auto"),
            "force_stig": demand.force_stig,
            "benchmark_file": document.stig.benchmark,
            "with": demand.with,
            "policy": document.stig.policy,
            "level": demand.level().to_string(),
            "role": demand.role.to_string(),
            "only": demand.only,
            "skip": demand.skip,
            "values": document.stig.values,
            "waivers": document.stig.waivers,
            "hold_back": demand.hold_back.to_string(),
            "first_boot": demand.first_boot.to_string(),
            "local_gpo": demand.local_gpo.to_string(),
            "fix": demand.fixes,
            "scripts": demand.scripts.to_string(),
            "components": demand.components.iter().map(component).collect::<Vec<_>>(),
            "tests": document.tests.run.iter().chain(document.tests.assert.iter().map(|one| &one.name)).collect::<Vec<_>>(),
            "output_format": document.output.format.as_deref().unwrap_or("same"),
            "aws": self.aws,
            "schedule": self.schedule.as_ref().map(Schedule::describe),
            "notify": document.notify.iter().map(Notice::review).collect::<Vec<_>>(),
        }))
    }
}

fn unknown(field: &'static str, found: &str, expected: &'static str) -> super::Error {
    Fault::Word { field, found: found.to_owned(), expected }.into()
}

/// Reads a word where there is one.
fn word<T: FromStr + Default>(field: &'static str, text: &Option<String>, expected: &'static str) -> Result<T> {
    let read = |text: &String| text.parse().map_err(|_| unknown(field, text, expected));
    text.as_ref().map_or_else(|| Ok(T::default()), read)
}

/// Demands a name that can be a part of a file's.
fn plain(field: &'static str, text: &str, expected: &'static str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(is_plain) {
        true => Ok(()),
        false => Err(unknown(field, text, expected)),
    }
}
