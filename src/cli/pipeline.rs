//! `coldforge pipeline`: the recipes of a folder, their runs, and when they run.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::options;
use super::recipe::{Share, tell};
use super::ui::{Ui, columns, plain};
use super::{Result, Verdict, boxed};
use crate::imagebuilder;
use crate::imagebuilder::recipe::{self, Heading, Options, Recipe};
use crate::imagebuilder::sentence::sentence;
use crate::imagebuilder::{Ci, History, Pipelines, Retention, Run, UnusableRecipe};
use coldforge_base::{Failure as _, Kind, confined, fs};

/// A unit is a few lines.
const UNIT_LIMIT_BYTES: u64 = 64 << 10;
/// How many runs are shown of one pipeline.
const SHOWN_RUNS: u32 = 5;

/// Keep the recipes of a folder as pipelines: run them, look at what became of them, schedule them
///
/// A pipeline is a recipe: FOLDER/*.toml, or FOLDER/NAME/recipe.toml. `pipeline run` does what `coldforge run` does, and
/// enters it into the history, an SQLite file in the folder. Nothing runs by itself: `schedule` writes systemd timers, and
/// `ci` a workflow for GitHub, GitLab or Jenkins.
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  coldforge pipeline list images                       what there is, how it went, when it runs next
  coldforge pipeline run images web-server             run one, and enter it into the history
  coldforge pipeline history images                    the last runs
  coldforge pipeline prune images --keep 3 --older-than 30d --dry-run
  coldforge pipeline schedule images --systemd -o units   then: systemctl link units/*; systemctl enable --now ...
  coldforge pipeline ci github images > .github/workflows/images.yml"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the pipelines of a folder
    List(Place),
    /// Show one pipeline: what it does, when it runs, its last runs
    Show {
        #[command(flatten)]
        place: Place,
        /// The pipeline
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Run pipelines, and enter the runs into the history
    ///
    /// Exit code as that of `coldforge run`; of several pipelines the worst.
    Run {
        #[command(flatten)]
        place: Place,
        /// The pipelines; all of the folder without any
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Leave an image alone if nothing changed that its bundle was made of, and the bundle is whole
        #[arg(long)]
        only_if_changed: bool,
        #[command(flatten)]
        share: Share,
    },
    /// Tell the last runs
    History {
        #[command(flatten)]
        place: Place,
        /// Of this pipeline only
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// How many
        #[arg(long, value_name = "NUMBER", default_value = "20")]
        limit: u32,
    },
    /// Remove bundles that need not stay; never the newest good one of a pipeline, and none that was changed since
    Prune {
        #[command(flatten)]
        place: Place,
        /// How many of the newest bundles of each pipeline stay
        #[arg(long, value_name = "NUMBER")]
        keep: NonZeroUsize,
        /// Those that are younger stay as well: 36h, 30d, 8w
        #[arg(long, value_name = "AGE", value_parser = age)]
        older_than: Option<u64>,
        /// Tell what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the units of systemd that run the pipelines of a folder at their times
    Schedule {
        #[command(flatten)]
        place: Place,
        /// Write systemd timers
        #[arg(long, required = true)]
        systemd: bool,
        /// The folder for the units; without it they are printed
        #[arg(short, long, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
    /// Print a workflow that runs the pipelines of a folder: github, gitlab or jenkins
    Ci {
        /// The system
        #[arg(value_name = "SYSTEM")]
        system: Ci,
        /// The folder, as it lies in the repository
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Place {
    /// The folder of the recipes
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,

    /// The history; without it FOLDER/history.sqlite
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

impl Place {
    fn history(&self, may_begin: bool) -> Result<Option<History>> {
        let path = self.history.clone().unwrap_or_else(|| self.folder.join("history.sqlite"));
        History::open(&path, may_begin).map_err(boxed)
    }

    /// Reads the pipelines of the folder, and tells of those that cannot be used.
    fn read(&self, ui: &Ui) -> Result<Pipelines> {
        let pipelines = Pipelines::read(&self.folder).map_err(boxed)?;
        pipelines.unusable.iter().for_each(|broken| ui.complaint(broken));
        Ok(pipelines)
    }

    /// Tells of runs that another folder's recipes made, as a copied history has them.
    fn warn_of_copy(&self, history: Option<&History>, ui: &Ui) -> Result<()> {
        let Some(history) = history else { return Ok(()) };
        let folder = self.folder.canonicalize().map_err(|error| boxed(fs::failed("find", &self.folder)(error)))?;
        for (home, count) in history.runs_elsewhere(&folder).map_err(boxed)? {
            let home = plain(&home.display().to_string());
            ui.status(&format!(
                "warning: W-HISTORY-COPIED: {count} runs of this history are of recipes in `{home}`, not of this folder; \
                 their bundles are left alone"
            ));
        }
        Ok(())
    }
}

/// Returns the pipeline of a name, or what is wrong with the file that would be its recipe.
fn named(pipelines: &mut Pipelines, name: &str) -> Result<Heading> {
    let unknown = match pipelines.named(name) {
        Ok(heading) => return Ok(heading.clone()),
        Err(unknown) => unknown,
    };
    match pipelines.unusable.iter().position(|broken| broken.is_named(name)) {
        Some(at) => Err(boxed(pipelines.unusable.swap_remove(at))),
        None => Err(boxed(unknown)),
    }
}

/// Returns what the whole comes to where some pipelines could not be used.
fn verdict(broken: usize) -> Verdict {
    if broken == 0 { Verdict::Done } else { Verdict::Refused }
}

/// Returns the pipelines that cannot be used as a document tells them.
fn unusable(broken: &[UnusableRecipe]) -> Vec<Json> {
    let one = |broken: &UnusableRecipe| {
        json!({
            "recipe": broken.path.display().to_string(),
            "kind": broken.kind(),
            "code": broken.code(),
            "message": sentence(broken),
            "hint": broken.hint(),
        })
    };
    broken.iter().map(one).collect()
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    match &arguments.verb {
        Verb::List(place) => return list(place, ui),
        Verb::Show { place, name } => show(place, name, ui)?,
        Verb::Run { place, names, only_if_changed, share } => return start(place, names, *only_if_changed, *share, ui),
        Verb::History { place, name, limit } => {
            let history = place.history(false)?;
            place.warn_of_copy(history.as_ref(), ui)?;
            let runs = match history {
                Some(history) => history.runs(name.as_deref(), *limit).map_err(boxed)?,
                None => Vec::new(),
            };
            match ui.json {
                true => ui.document(&json!({"schema": "coldforge/pipeline-history/1", "runs": runs})),
                false if runs.is_empty() => ui.data("no runs\n"),
                false => ui.data(&table(&runs)),
            }
        }
        Verb::Prune { place, keep, older_than, dry_run } => {
            let retention = Retention { keep: keep.get(), younger_than: *older_than, is_dry: *dry_run };
            let pipelines = place.read(ui)?;
            let history = place.history(false)?;
            place.warn_of_copy(history.as_ref(), ui)?;
            let told = match history {
                Some(history) => {
                    imagebuilder::prune(&history, &pipelines, retention, options::now()?).map_err(boxed)?
                }
                None => Vec::new(),
            };
            if ui.json {
                ui.document(&json!({
                    "schema": "coldforge/pipeline-prune/1",
                    "dry_run": dry_run,
                    "bundles": told,
                    "unusable": unusable(&pipelines.unusable),
                }));
            } else {
                let word = |goes: bool| if goes { "goes" } else { "stays" }.to_owned();
                let row = |one: &imagebuilder::Pruned| {
                    vec![word(one.goes), plain(&one.pipeline), plain(&one.path.display().to_string()), plain(&one.why)]
                };
                ui.data(&columns(&told.iter().map(row).collect::<Vec<_>>()));
            }
            return Ok(verdict(pipelines.unusable.len()));
        }
        Verb::Schedule { place, output, .. } => return schedule(place, output.as_deref(), ui),
        Verb::Ci { system, folder } => {
            let pipelines = Place { folder: folder.clone(), history: None }.read(ui)?;
            let tell = |broken: &[UnusableRecipe]| broken.iter().for_each(|broken| ui.complaint(broken));
            let (text, unfit) = match imagebuilder::workflow(*system, &pipelines.headings) {
                Ok(made) => made,
                Err((fault, unfit)) => {
                    tell(&unfit);
                    return Err(boxed(fault));
                }
            };
            tell(&unfit);
            ui.data(&text);
            return Ok(verdict(pipelines.unusable.len() + unfit.len()));
        }
    }
    Ok(Verdict::Done)
}

fn list(place: &Place, ui: &Ui) -> Result<Verdict> {
    let history = place.history(false)?;
    place.warn_of_copy(history.as_ref(), ui)?;
    let pipelines = place.read(ui)?;
    let now = options::now()?;
    let mut rows = vec![["NAME", "VERSION", "LAST RUN", "", "NEXT RUN"].map(str::to_owned).to_vec()];
    let mut documents = Vec::new();
    for heading in &pipelines.headings {
        let last = match &history {
            Some(history) => history.last(&heading.name).map_err(boxed)?,
            None => None,
        };
        let next =
            heading.schedule.as_ref().and_then(|schedule| schedule.next(now, 1).first().map(ToString::to_string));
        let of = |part: fn(&Run) -> &String| last.as_ref().map(|run| part(run).clone()).unwrap_or_default();
        let (status, started) = (of(|run| &run.status), of(|run| &run.started));
        rows.push(vec![
            plain(&heading.name),
            plain(&heading.version),
            status,
            started,
            next.clone().unwrap_or_default(),
        ]);
        documents.push(json!({
            "name": heading.name,
            "version": heading.version,
            "description": heading.description,
            "recipe": heading.path.display().to_string(),
            "schedule": heading.schedule.as_ref().map(ToString::to_string),
            "next": next,
            "last": last,
        }));
    }
    match ui.json {
        true => ui.document(&json!({
            "schema": "coldforge/pipeline-list/1",
            "pipelines": documents,
            "unusable": unusable(&pipelines.unusable),
        })),
        false if documents.is_empty() => ui.data("no recipes\n"),
        false => ui.data(&columns(&rows)),
    }
    Ok(verdict(pipelines.unusable.len()))
}

fn show(place: &Place, name: &str, ui: &Ui) -> Result<()> {
    let heading = named(&mut Pipelines::read(&place.folder).map_err(boxed)?, name)?;
    let now = options::now()?;
    let runs = match place.history(false)? {
        Some(history) => history.runs(Some(name), SHOWN_RUNS).map_err(boxed)?,
        None => Vec::new(),
    };
    let next: Vec<String> =
        heading.schedule.iter().flat_map(|schedule| schedule.next(now, 3)).map(|moment| moment.to_string()).collect();
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/pipeline/1",
            "name": heading.name,
            "version": heading.version,
            "description": heading.description,
            "recipe": heading.path.display().to_string(),
            "schedule": heading.schedule.as_ref().map(ToString::to_string),
            "explained": heading.schedule.as_ref().map(imagebuilder::Schedule::describe),
            "next": next,
            "runs": runs,
        }));
        return Ok(());
    }
    let mut text = format!("{} {}\n", plain(&heading.name), plain(&heading.version));
    if !heading.description.is_empty() {
        text.push_str(&format!("{}\n", plain(&heading.description)));
    }
    text.push_str(&format!("\nrecipe    {}\n", plain(&heading.path.display().to_string())));
    match &heading.schedule {
        None => text.push_str("schedule  none: it runs when it is told to\n"),
        Some(schedule) => {
            text.push_str(&format!("schedule  {}: {}\n", plain(&schedule.to_string()), plain(&schedule.describe())));
            next.iter().for_each(|moment| text.push_str(&format!("          {moment}\n")));
        }
    }
    match runs.is_empty() {
        true => text.push_str("\nno runs\n"),
        false => text.push_str(&format!("\n{}", table(&runs))),
    }
    let path = imagebuilder::shell_word(&heading.path.display().to_string());
    text.push_str(&format!("\nNext: coldforge recipe review -- {}\n", plain(&path)));
    ui.data(&text);
    Ok(())
}

fn start(place: &Place, names: &[String], only_if_changed: bool, share: Share, ui: &Ui) -> Result<Verdict> {
    let mut pipelines = Pipelines::read(&place.folder).map_err(boxed)?;
    let mut worst = Verdict::Done;
    let chosen: Vec<Heading> = match names.is_empty() {
        true => {
            pipelines.unusable.iter().for_each(|broken| ui.failure(broken));
            worst = verdict(pipelines.unusable.len());
            pipelines.headings
        }
        // What stands against one that was not asked for is no matter of this run.
        false => names.iter().map(|name| named(&mut pipelines, name)).collect::<Result<_>>()?,
    };
    // A run that could not be entered does not begin.
    let Some(history) = place.history(true)? else { return Ok(Verdict::Done) };
    place.warn_of_copy(Some(&history), ui)?;
    let is_alone = chosen.len() == 1 && worst == Verdict::Done;
    for heading in chosen {
        let verdict = match enter(&history, &heading, (only_if_changed, share), ui) {
            Err(error) if is_alone => return Err(error),
            // What stands against one does not stand against the others.
            Err(error) => {
                ui.failure(&*error);
                match error.kind() {
                    Kind::Usage | Kind::Refused | Kind::Unsupported => Verdict::Refused,
                    Kind::Corrupt | Kind::Io | Kind::Limit | Kind::NotFound => Verdict::Failed,
                }
            }
            Ok(verdict) => verdict,
        };
        let rank = |verdict: Verdict| match verdict {
            Verdict::Done => 0,
            Verdict::Open => 1,
            Verdict::Refused => 2,
            Verdict::Failed => 3,
        };
        if rank(verdict) > rank(worst) {
            worst = verdict;
        }
    }
    Ok(worst)
}

/// Runs one pipeline, and enters the run.
fn enter(history: &History, heading: &Heading, (only_if_changed, share): (bool, Share), ui: &Ui) -> Result<Verdict> {
    let recipe = Recipe::read(&heading.path, &[]).map_err(boxed)?;
    let now = options::now()?;
    let options = Options {
        now,
        elapsed: options::elapsed,
        only_if_changed,
        keep_failed: false,
        jobs: share.jobs.get(),
        memory: share.memory_bytes(),
    };
    let number = history.begin(&recipe, options.now).map_err(boxed)?;
    let begun = options::elapsed();
    let summary = recipe::run(&recipe, &options, ui);
    let took = options::elapsed().saturating_sub(begun);
    // What was built stands, whatever becomes of its row.
    if let Err(error) = history.end(number, took, summary.as_ref().ok()) {
        ui.status(&format!("warning: W-HISTORY: run {number} is not entered: {}", plain(&error.to_string())));
    }
    Ok(tell(&recipe, &summary.map_err(boxed)?, ui))
}

fn schedule(place: &Place, output: Option<&Path>, ui: &Ui) -> Result<Verdict> {
    let program = std::env::current_exe().map_err(|error| boxed(fs::failed("find", Path::new("coldforge"))(error)))?;
    let absolute = place.folder.canonicalize().map_err(|error| boxed(fs::failed("find", &place.folder)(error)))?;
    let pipelines = place.read(ui)?;
    let mut count = pipelines.unusable.len();
    let mut units = Vec::new();
    for heading in pipelines.headings.iter().filter(|heading| heading.schedule.is_some()) {
        match imagebuilder::units(heading, &program, &absolute) {
            Ok(both) => units.extend(both),
            Err(fault) => {
                ui.complaint(&UnusableRecipe::of(heading, fault));
                count += 1;
            }
        }
    }
    if let Some(output) = output {
        write_units(output, &units)?;
    }
    let files: Vec<&String> = units.iter().map(|(name, _)| name).collect();
    match (ui.json, output) {
        (true, _) => ui.document(&json!({
            "schema": "coldforge/pipeline-schedule/1",
            "units": units.iter().map(|(name, text)| json!({"file": name, "text": text})).collect::<Vec<_>>(),
            "unusable": unusable(&pipelines.unusable),
        })),
        (false, Some(output)) => {
            let lines = files.iter().map(|file| format!("{}\n", plain(&output.join(file).display().to_string())));
            ui.data(&lines.collect::<String>());
        }
        (false, None) => {
            ui.data(&units.iter().map(|(name, text)| format!("# {name}\n{text}\n")).collect::<String>());
        }
    }
    Ok(verdict(count))
}

/// Writes units into a folder: through no link, and over nothing that was not written here. Nothing is written if one
/// cannot be.
fn write_units(output: &Path, units: &[(String, String)]) -> Result<()> {
    std::fs::create_dir_all(output).map_err(|error| boxed(fs::failed("create", output)(error)))?;
    let folder = confined::Folder::open(output).map_err(boxed)?;
    for (name, _) in units {
        folder.check(name.as_ref(), UNIT_LIMIT_BYTES, &imagebuilder::is_own_unit).map_err(boxed)?;
    }
    for (name, text) in units {
        folder.put(name.as_ref(), text.as_bytes()).map_err(boxed)?;
    }
    Ok(())
}

/// Lays runs out, with a line for each bundle.
fn table(runs: &[Run]) -> String {
    let mut rows = Vec::new();
    for run in runs {
        let took = run.duration_ms.map(|ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100)).unwrap_or_default();
        rows.push(vec![
            format!("#{}", run.id),
            plain(&run.pipeline),
            plain(&run.version),
            run.status.clone(),
            run.started.clone(),
            took,
        ]);
        for bundle in &run.bundles {
            let totals = bundle.totals.map(|[pass, open, ..]| format!("{pass} pass, {open} open")).unwrap_or_default();
            let place = bundle.path.as_deref().or(bundle.error.as_deref()).unwrap_or_default();
            rows.push(vec![
                String::new(),
                plain(&bundle.source),
                String::new(),
                bundle.status.clone(),
                totals,
                plain(place),
            ]);
        }
    }
    columns(&rows)
}

/// Returns the seconds of `30d`.
fn age(text: &str) -> std::result::Result<u64, String> {
    let split = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(split).ok_or("expected a number with h, d or w")?;
    let factor = match unit {
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err("expected a number with h, d or w, such as 30d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a number with h, d or w, such as 30d")?;
    number.checked_mul(factor).ok_or_else(|| "the age is too great".to_owned())
}
