//! Parses a recipe and checks everything that needs none of the files that it names.
//!
//! `recipe lint`, `run` and every command that works on a folder of pipelines use this parser, so all of them accept and
//! reject the same recipes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::super::error::unknown;
use super::super::schedule::Schedule;
use super::super::{Result, notify};
use super::document::{Document, SCHEMA};
use super::error::Fault;
use super::{built_in_tests, images};
use crate::aws::{self, preflight};
use crate::component::Scripts;
use crate::policy::{FirstBoot, HoldBackChoice, Level, LocalGpo, RoleChoice, Severity};
use crate::windows::{BootMode, VolumeCheck};
use coldforge_base::fs;
use coldforge_disk::{Format, Target};

/// The largest recipe that is read.
pub(super) const LIMIT_BYTES: u64 = 1 << 20;

/// The characters that a name of a recipe or a bundle may have.
const PLAIN: &str = "letters, digits, dots, hyphens and underscores, a letter, a digit or an underscore first";

/// A parsed recipe, before the files that it names are read.
#[derive(Clone, Debug)]
pub(super) struct ParsedRecipe {
    pub(super) document: Document,
    /// The text, with the values set on the command line.
    pub(super) text: String,
    pub(super) level: Option<Level>,
    pub(super) role: RoleChoice,
    pub(super) hold_back: HoldBackChoice,
    pub(super) local_gpo: LocalGpo,
    pub(super) first_boot: FirstBoot,
    pub(super) scripts: Scripts,
    pub(super) check: VolumeCheck,
    pub(super) fail_on: Option<Severity>,
    pub(super) boot_mode: Option<BootMode>,
    pub(super) target: Target,
    pub(super) aws: aws::Options,
    pub(super) built_in_tests: Vec<built_in_tests::BuiltInTest>,
    pub(super) template: String,
    pub(super) schedule: Option<Schedule>,
    /// Where the bundles are put.
    pub(super) folder: PathBuf,
}

/// The header of a recipe.
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
    /// Where its bundles are put.
    pub output: PathBuf,
}

impl Heading {
    /// Reads a recipe's own text; `None` if the file is of another schema, and no recipe.
    ///
    /// # Errors
    /// [`Fault`]; what is wrong with the file.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = text(path)?;
        let is_ours = |schema: &str| schema.starts_with("coldforge/recipe/");
        let is_recipe = match text.parse::<toml::Table>() {
            Ok(table) => table.get("schema").and_then(toml::Value::as_str).is_some_and(is_ours),
            // A file with a syntax error may still be meant as a recipe.
            Err(_) => {
                text.lines().any(|line| line.trim_start().starts_with("schema") && line.contains("coldforge/recipe/"))
            }
        };
        if !is_recipe {
            return Ok(None);
        }
        let ParsedRecipe { document, schedule, folder, .. } = ParsedRecipe::of(path, &text, &[])?;
        let Document { name, version, description, .. } = document;
        Ok(Some(Self { path: path.to_owned(), name, version, description, schedule, output: folder }))
    }
}

impl ParsedRecipe {
    /// Reads a recipe's text; `set` are values that replace its own, by dotted key.
    ///
    /// # Errors
    /// [`Fault`]; what is wrong with the file.
    pub(super) fn read(path: &Path, set: &[(String, String)]) -> Result<Self> {
        Self::of(path, &text(path)?, set)
    }

    fn of(path: &Path, text: &str, set: &[(String, String)]) -> Result<Self> {
        let (document, text) = Document::read(text, set)?;
        plain("name", &document.name, PLAIN)?;
        let is_version = |part: &str| !part.is_empty() && part.len() < 10 && part.bytes().all(|c| c.is_ascii_digit());
        if document.version.split('.').count() != 3 || !document.version.split('.').all(is_version) {
            return Err(unknown("version", &document.version, "three numbers, such as 1.0.0"));
        }
        images::check(&document.source)?;
        let (stig, build) = (&document.stig, &document.build);
        let level = stig.level.as_ref().map(|_| word("stig.level", &stig.level, "low, medium or high")).transpose()?;
        preflight::check_words(&build.fix)?;
        let fail_on = match stig.fail_on.as_deref().unwrap_or("low") {
            "none" => None,
            "high" => Some(Severity::High),
            "medium" => Some(Severity::Medium),
            "low" => Some(Severity::Low),
            other => return Err(unknown("stig.fail_on", other, "high, medium, low or none")),
        };
        let boot_mode = match build.boot_mode.as_deref() {
            None => None,
            Some("legacy-bios") => Some(BootMode::LegacyBios),
            Some("uefi") => Some(BootMode::Uefi),
            Some(other) => return Err(unknown("build.boot_mode", other, "legacy-bios or uefi")),
        };
        let home = path.parent().unwrap_or(Path::new(""));
        let output = document.output.folder.as_deref().unwrap_or(Path::new("out"));
        for notice in &document.notify {
            if let Some((field, found, expected)) = notice.objection(output) {
                return Err(unknown(field, &found, expected));
            }
        }
        for assertion in &document.tests.assert {
            if let Err((field, found, expected)) = assertion.check() {
                return Err(unknown(field, &found, expected));
            }
        }
        let ready = |word: &String| {
            built_in_tests::BuiltInTest::named(word).ok_or_else(|| unknown("tests.run", word, built_in_tests::WORDS))
        };
        let template = document.output.name.clone().unwrap_or_else(|| "{name}-{version}-{source.name}".to_owned());
        let filled = ["{name}", "{version}", "{date}", "{source.name}", "{source.build}"]
            .iter()
            .fold(template.clone(), |text, part| text.replace(part, "0"));
        bundle_name(&template, &filled)?;
        Ok(Self {
            level,
            role: word("stig.role", &stig.role, "auto, ms or dc")?,
            hold_back: word("stig.hold_back", &stig.hold_back, "import-risk or none")?,
            local_gpo: word("build.local_gpo", &build.local_gpo, "write, update or leave")?,
            first_boot: word("build.first_boot", &build.first_boot, "report or stage")?,
            scripts: word("build.scripts", &build.scripts, "fail, skip, translate or first-boot")?,
            check: word("build.check", &build.check, "full or touched")?,
            fail_on,
            boot_mode,
            target: target(document.output.format.as_deref())?,
            aws: options(&document)?,
            built_in_tests: document.tests.run.iter().map(ready).collect::<Result<_>>()?,
            template,
            schedule: schedule(&document)?,
            folder: home.join(output),
            text,
            document,
        })
    }

    /// Returns the files that a run writes in addition to its bundles.
    pub(super) fn written(&self, path: &Path) -> Vec<PathBuf> {
        let home = path.parent().unwrap_or(Path::new(""));
        let messages = self.document.notify.iter().filter_map(notify::Notice::file).map(|file| home.join(file));
        std::iter::once(path.with_extension("lock")).chain(messages).collect()
    }
}

fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path, LIMIT_BYTES)?;
    Ok(String::from_utf8(bytes)
        .map_err(|_| Fault::Schema { found: "bytes that are not UTF-8".into(), expected: SCHEMA })?)
}

/// Returns when a recipe runs.
fn schedule(document: &Document) -> Result<Option<Schedule>> {
    let read = |text: &String| Schedule::parse(text).map_err(|why| Fault::Schedule { text: text.clone(), why });
    Ok(document.schedule.as_ref().map(read).transpose()?)
}

fn target(format: Option<&str>) -> Result<Target> {
    const FORMATS: &str = "same, raw, vhd, vhd-dynamic, vhdx, vhdx-dynamic, vmdk or delta";
    match format {
        None | Some("same") => Ok(Target::Same),
        Some("delta") => Ok(Target::Delta),
        Some(text) => match text.parse::<Format>() {
            Ok(format) if format == format.alone() => Ok(Target::Format(format)),
            _ => Err(unknown("output.format", text, FORMATS)),
        },
    }
}

/// Returns where the image goes, as the files for AWS name it.
fn options(document: &Document) -> Result<aws::Options> {
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
    match options.check() {
        Ok(()) => Ok(options),
        Err(error) => Err(unknown("aws", &error.value, error.what)),
    }
}

/// Reads a word where there is one.
fn word<T: FromStr + Default>(field: &'static str, text: &Option<String>, expected: &'static str) -> Result<T> {
    let read = |text: &String| text.parse().map_err(|_| unknown(field, text, expected));
    text.as_ref().map_or_else(|| Ok(T::default()), read)
}

/// Checks that the expanded `output.name` can be the name of a bundle.
pub(super) fn bundle_name(template: &str, name: &str) -> Result<()> {
    const EXPECTED: &str = "a file name of {name}, {version}, {date}, {source.name}, {source.build} and text";
    plain("output.name", name, EXPECTED).map_err(|_| unknown("output.name", template, EXPECTED))
}

/// Checks that a name can be part of a file name, and that no program takes it for an option.
fn plain(field: &'static str, text: &str, expected: &'static str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match !text.is_empty() && text.len() <= 200 && !text.starts_with(['.', '-']) && text.chars().all(is_plain) {
        true => Ok(()),
        false => Err(unknown(field, text, expected)),
    }
}
