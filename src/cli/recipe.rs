//! `coldforge recipe` and `coldforge run`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::options;
use super::ui::{Ui, plain};
use super::{Result, Verdict, boxed};
use crate::imagebuilder::recipe::{self, Built, Options, Recipe, Summary, TEMPLATE};
use crate::imagebuilder::sentence::sentence;
use crate::imagebuilder::{notify, shell_word};
use coldforge_base::{Failure as _, Kind, fs};

/// Begin, judge and review recipes: which images are hardened how, tested and released
#[derive(Args, Debug)]
#[command(subcommand_required = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a recipe to begin with
    Init {
        /// The file to make; it must not exist
        #[arg(value_name = "FILE", default_value = "recipe.toml")]
        file: PathBuf,
    },
    /// Read a recipe and every file that it names, and say what is wrong: exit code 3; 1 if a component needs a Windows that
    /// runs
    Lint(Named),
    /// Tell the whole of what a run will do: images, bundles, rules, components, tests, place
    Review(Named),
    /// Tell what there is of a recipe: its images, the bundles that were made of them, and what those were made of
    Show(Named),
    /// Print the JSON Schema of recipes, for editors
    Schema,
}

#[derive(Args, Debug)]
struct Named {
    /// The recipe (TOML, schema coldforge/recipe/1)
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,

    /// Read it as if this stood in it, by dotted key, such as `stig.level=medium` or `source.0.image=other.vhd` (repeat)
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

/// Carry out a recipe: harden each image, test the result, and let it appear when every test holds
///
/// `recipe.lock` beside the recipe tells what each bundle was made of. An image whose run was broken off is made again,
/// those that were done are kept. A bundle that this recipe made before is replaced as a whole. Exit code 0 if every test
/// holds, 1 if one does not, 3 if an image was refused.
#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    named: Named,

    /// Leave an image alone if nothing changed that its bundle was made of, and the bundle is whole
    #[arg(long)]
    only_if_changed: bool,

    /// Keep an image that fails a test, as NAME.failed
    #[arg(long)]
    keep_failed: bool,

    #[command(flatten)]
    pub(super) share: Share,
}

/// What a run may take of the machine.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Share {
    /// How many images are worked on at once
    #[arg(long, value_name = "NUMBER", default_value = "2")]
    pub(super) jobs: NonZeroUsize,

    /// The memory that they may take together: an image waits until its share is free (three times its hives, and a little)
    #[arg(long, value_name = "MIB", default_value = "2048")]
    memory: NonZeroU32,
}

impl Share {
    pub(super) fn memory_bytes(self) -> u64 {
        u64::from(self.memory.get()) << 20
    }
}

impl Named {
    fn read(&self) -> Result<Recipe> {
        Recipe::read(&self.recipe, &self.set).map_err(boxed)
    }
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn look(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    match &arguments.verb {
        Verb::Init { file } => {
            fs::write_new(file, TEMPLATE.as_bytes()).map_err(boxed)?;
            let file = file.display().to_string();
            match ui.json {
                true => ui.document(&json!({"schema": "coldforge/recipe-init/1", "file": file})),
                false => ui.data(&format!("{file}\nNext: coldforge recipe review -- {}\n", shell_word(&file))),
            }
        }
        Verb::Lint(named) => {
            let review = named.read()?.review(options::now()?).map_err(boxed)?;
            let components = review["components"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut said = Vec::new();
            for component in components {
                for member in ["faults", "needs_windows"] {
                    let faults = component[member].as_array().map(Vec::as_slice).unwrap_or_default().iter();
                    let name = component["name"].as_str().unwrap_or_default();
                    said.extend(faults.filter_map(Json::as_str).map(|fault| format!("component {name}: {fault}")));
                }
            }
            if ui.json {
                ui.document(
                    &json!({"schema": "coldforge/recipe-lint/1", "offline": said.is_empty(), "components": components}),
                );
            } else {
                let end = match said.len() {
                    0 => "can be carried out".to_owned(),
                    count => format!("cannot be carried out: {count} faults of components"),
                };
                let lines: String = said.iter().map(|line| format!("{}\n", plain(line))).collect();
                ui.data(&format!("{lines}{}: {end}\n", named.recipe.display()));
            }
            return Ok(if said.is_empty() { Verdict::Done } else { Verdict::Open });
        }
        Verb::Schema => ui.data(recipe::SCHEMA),
        Verb::Show(named) => {
            let shown = named.read()?.show().map_err(boxed)?;
            match ui.json {
                true => ui.document(&shown),
                false => ui.data(&told(&shown, "")),
            }
        }
        Verb::Review(named) => {
            let review = named.read()?.review(options::now()?).map_err(boxed)?;
            if ui.json {
                ui.document(&review);
            } else {
                ui.data(&told(&review, ""));
            }
        }
    }
    Ok(Verdict::Done)
}

/// Lays a document out as lines; what is empty is left out.
fn told(document: &Json, indent: &str) -> String {
    let Some(object) = document.as_object() else { return String::new() };
    let mut text = String::new();
    for (name, value) in object {
        let line = match value {
            Json::Null => continue,
            Json::Array(all) if all.is_empty() => continue,
            Json::Object(all) if all.is_empty() => continue,
            Json::String(said) if said.is_empty() || name == "schema" => continue,
            Json::String(said) => format!("{said}\n"),
            Json::Object(_) => format!("\n{}", told(value, &format!("{indent}  "))),
            Json::Array(all) if all.iter().all(Json::is_object) => {
                // The first line of each is marked as one of a list.
                let deeper = format!("{indent}    ");
                let marked = |one: &Json| told(one, &deeper).replacen(&deeper, &format!("{indent}  - "), 1);
                format!("\n{}", all.iter().map(marked).collect::<String>())
            }
            Json::Array(all) if all.iter().any(|one| one.as_str().is_some_and(|text| text.contains(' '))) => {
                let line = |one: &Json| format!("{indent}  - {}\n", one.as_str().unwrap_or_default());
                format!("\n{}", all.iter().map(line).collect::<String>())
            }
            Json::Array(all) => {
                let parts: Vec<String> =
                    all.iter().map(|one| one.as_str().map_or(one.to_string(), str::to_owned)).collect();
                format!("{}\n", parts.join(", "))
            }
            other => format!("{other}\n"),
        };
        let line = line.split('\n').map(plain).collect::<Vec<_>>().join("\n");
        let sign = if line.starts_with('\n') { "" } else { " " };
        text.push_str(&format!("{indent}{}:{sign}{line}", name.replace('_', " ")));
    }
    text
}

pub(super) fn run(arguments: &Run, ui: &Ui) -> Result<Verdict> {
    let recipe = arguments.named.read()?;
    let options = Options {
        now: options::now()?,
        elapsed: options::elapsed,
        only_if_changed: arguments.only_if_changed,
        keep_failed: arguments.keep_failed,
        jobs: arguments.share.jobs.get(),
        memory: arguments.share.memory_bytes(),
    };
    let summary = recipe::run(&recipe, &options, ui).map_err(boxed)?;
    Ok(tell(&recipe, &summary, ui))
}

/// Tells of a run, here and where the recipe wants it told.
pub(super) fn tell(recipe: &Recipe, summary: &Summary, ui: &Ui) -> Verdict {
    let document = summary.document();
    if ui.json {
        ui.document(&document);
    } else {
        ui.data(&report(summary));
    }
    let home = recipe.path().parent().unwrap_or(Path::new(""));
    for warning in notify(recipe.notices(), home, summary.status(), &document) {
        ui.status(&format!("warning: {}", plain(&warning)));
    }
    let errors: Vec<Kind> = summary.images.iter().filter_map(|image| image.error.as_ref()).map(|e| e.kind()).collect();
    let is_refusal = |kind: &Kind| matches!(kind, Kind::Refused | Kind::Unsupported | Kind::Usage);
    if !errors.iter().all(is_refusal) {
        Verdict::Failed
    } else if !errors.is_empty() {
        Verdict::Refused
    } else if summary.images.iter().all(Built::is_good) {
        Verdict::Done
    } else {
        Verdict::Open
    }
}

fn report(summary: &Summary) -> String {
    let mut text = format!("{} {}\n", summary.name, summary.version);
    for image in &summary.images {
        text.push_str(&format!("\n{}: {}\n", plain(&image.source), image.status()));
        if !image.changed.is_empty() {
            text.push_str(&format!("  changed since: {}\n", plain(&image.changed.join(", "))));
        }
        if let Some(sha256) = image.sha256 {
            text.push_str(&format!("  {} settings changed; sha256 {sha256}\n", image.changes));
        }
        for warning in &image.warnings {
            text.push_str(&format!("  warning: {}\n", plain(warning)));
        }
        for left in &image.left {
            let status = json!(left.status);
            let status = status.as_str().unwrap_or_default().replace('_', " ");
            let why = left.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            text.push_str(&format!("  {status}: {}\n", plain(&format!("{}{why}", left.step))));
        }
        for test in &image.tests {
            let verdict = if test.passed { "pass" } else { "FAIL" };
            text.push_str(&format!("  {verdict}  {}: {}\n", plain(&test.test), plain(&test.found)));
        }
        if let Some(error) = &image.error {
            let code = error.code().map(|code| format!("[{code}] ")).unwrap_or_default();
            text.push_str(&format!("  {code}{}\n", plain(&sentence(error))));
            text.push_str(&format!("  hint: {}\n", error.advice()));
        }
        if let Some(bundle) = &image.bundle {
            text.push_str(&format!("  {}\n", bundle.display()));
        }
    }
    text
}
