//! A recipe with everything that it names, apart from the bytes of its images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::super::error::Result;
use super::super::notify::Notice;
use super::super::schedule::Schedule;
use super::document::Document;
use super::images::{self, Image};
use super::parsed::{LIMIT_BYTES, ParsedRecipe};
use super::{built_in_tests, run};
use crate::audit::Tool;
use crate::aws;
use crate::component::Component;
use crate::harden::{Emission, Request};
use crate::policy::{self, Severity, source};
use crate::windows::certificates::input;
use crate::windows::{self, BootMode};
use coldforge_base::digest::Digest;
use coldforge_base::fs;
use coldforge_base::time::Moment;

/// A recipe with everything that it names, apart from the bytes of its images.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub(super) path: PathBuf,
    pub(super) document: Document,
    pub(super) images: Vec<Image>,
    pub(super) demand: Request,
    pub(super) emission: Emission,
    pub(super) boot_mode: Option<BootMode>,
    pub(super) aws: aws::Options,
    pub(super) must_pass_preflight: bool,
    pub(super) built_in_tests: Vec<built_in_tests::BuiltInTest>,
    pub(super) fail_on: Option<Severity>,
    pub(super) folder: PathBuf,
    pub(super) template: String,
    /// The digest of everything that is the same for all images, by name.
    pub(super) inputs: BTreeMap<String, String>,
    pub(super) schedule: Option<Schedule>,
    /// The files that a run writes in addition to its bundles.
    pub(super) written: Vec<PathBuf>,
}

impl Recipe {
    /// Reads a recipe and what it names; `set` are values that replace its own, by dotted key.
    ///
    /// # Errors
    /// [`Fault`](super::Fault), and what is wrong with a file that it names.
    pub fn read(path: &Path, set: &[(String, String)]) -> Result<Self> {
        let parsed = ParsedRecipe::read(path, set)?;
        let document = &parsed.document;
        let home = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut inputs = BTreeMap::new();
        let tool = format!("{} {}", Tool::THIS.name, Tool::THIS.version);
        inputs.insert("recipe".to_owned(), Digest::of(parsed.text.as_bytes()).to_string());
        inputs.insert("tool".to_owned(), Digest::of(tool.as_bytes()).to_string());
        let demand = request(&parsed, &home, &mut inputs)?;
        Ok(Self {
            images: images::find(&home, &document.source)?,
            demand,
            emission: Emission::New(parsed.target),
            boot_mode: parsed.boot_mode,
            must_pass_preflight: document.aws.route.is_some() && !document.aws.skip_preflight,
            written: parsed.written(path),
            aws: parsed.aws,
            built_in_tests: parsed.built_in_tests,
            fail_on: parsed.fail_on,
            folder: parsed.folder,
            template: parsed.template,
            inputs,
            schedule: parsed.schedule,
            path: path.to_owned(),
            document: parsed.document,
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

    /// Returns its notifications.
    pub fn notices(&self) -> &[Notice] {
        &self.document.notify
    }

    /// Describes everything that a run will do.
    ///
    /// # Errors
    /// Where an image cannot be opened, or two become one bundle.
    pub fn review(&self, now: Moment) -> Result<Json> {
        let names = run::names(self, now)?;
        let component = |component: &Component| {
            let objections = component.objections(self.demand.scripts);
            let those = |is_sound: bool| {
                let those = objections.iter().filter(|fault| fault.flaw.is_sound() == is_sound);
                those.map(ToString::to_string).collect::<Vec<_>>()
            };
            json!({
                "name": component.name(),
                "scripts": component.script_steps(self.demand.scripts),
                "phases": component.phases().iter().map(|(phase, steps)| json!({"phase": phase, "steps": steps})).collect::<Vec<_>>(),
                "needs_windows": those(true),
                "faults": those(false),
            })
        };
        let (document, demand) = (&self.document, &self.demand);
        let home = self.path.parent().unwrap_or(Path::new(""));
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
            "writes_beside_bundles": self.written.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
            "notify": document.notify.iter().map(|notice| notice.review(home)).collect::<Vec<_>>(),
        }))
    }
}

/// Reads the files that a recipe names, adds their digests to `inputs`, and returns the request to harden with them.
fn request(parsed: &ParsedRecipe, home: &Path, inputs: &mut BTreeMap<String, String>) -> Result<Request> {
    let document = &parsed.document;
    let mut input = |name: String, bytes: &[u8]| inputs.insert(name, Digest::of(bytes).to_string());
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
    let mut demand = Request {
        stig: stig.release.clone().filter(|release| release != "auto"),
        force_stig: stig.force,
        benchmark,
        with: stig.with.clone(),
        policies,
        level: parsed.level,
        role: parsed.role,
        only: stig.only.clone(),
        skip: stig.skip.clone(),
        values,
        waivers,
        hold_back: parsed.hold_back,
        certificates,
        local_gpo: parsed.local_gpo,
        first_boot: parsed.first_boot,
        fixes: document.build.fix.clone(),
        components: Vec::new(),
        scripts: parsed.scripts,
        accept_dirty_hive: document.build.accept_dirty_hive,
        accept_refcounts: document.build.accept_refcounts,
        check: parsed.check,
    };
    for component in &document.component {
        let downloads = document.build.downloads.as_ref().map(|folder| home.join(folder));
        let file = home.join(&component.file);
        let component = Component::from_path(&file, &component.parameters, downloads.as_deref())?;
        inputs.extend(
            component.digests().into_iter().map(|(name, sha256)| (format!("component {name}"), sha256.to_string())),
        );
        demand.add_component(component)?;
    }
    Ok(demand)
}
