//! Generates the files that start pipelines: systemd timers, and workflows of CI systems.
//!
//! Names of recipes are mapped one to one to names of jobs, or refused. The name or path of a recipe can never inject a
//! line, an option or an expression.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::error::PipelineFault;
use super::pipelines::UnusableRecipe;
use super::recipe::Heading;
use crate::formats::json::is_obeyed;

/// A CI system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ci {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
    /// Jenkins.
    Jenkins,
}

impl fmt::Display for Ci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Jenkins => "jenkins",
        })
    }
}

impl FromStr for Ci {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Github, Self::Gitlab, Self::Jenkins];
        all.into_iter().find(|one| one.to_string() == text).ok_or("expected github, gitlab or jenkins")
    }
}

/// Begins each unit that is written here, which tells it from one of somebody else.
const MARK: &str = "# Written by `coldforge pipeline schedule`, which overwrites it.\n";
/// What units began with before they had the mark.
const FORMER_MARK: &str = "[Unit]\nDescription=coldforge pipeline ";

/// Returns whether a unit file was written here.
pub fn is_own_unit(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK.as_bytes()) || bytes.starts_with(FORMER_MARK.as_bytes())
}

/// Returns the service and the timer of a pipeline, each with its file name. `program` and `folder` are absolute.
///
/// # Errors
/// What systemd has no words for.
pub fn units(heading: &Heading, program: &Path, folder: &Path) -> Result<[(String, String); 2], PipelineFault> {
    // A name of a recipe has no character that a unit's name has not, so that each has its own unit.
    let name = &heading.name;
    let unscheduled = |why| unscheduled(name, why);
    let schedule = heading.schedule.as_ref().ok_or("it has no schedule").map_err(unscheduled)?;
    let timer = schedule.timer().map_err(unscheduled)?;
    let [program, folder] = [written(program)?, written(folder)?];
    let command = [program, "pipeline", "run", "--only-if-changed", "--", folder, name.as_str()];
    let command = command.map(quoted).join(" ");
    let service = format!(
        "{MARK}[Unit]\nDescription=coldforge pipeline {name}\n\n[Service]\nType=oneshot\nExecStart={command}\nNice=10\n\
         NoNewPrivileges=yes\n"
    );
    let timer = format!(
        "{MARK}[Unit]\nDescription=coldforge pipeline {name}\n\n[Timer]\n{}\n\n[Install]\nWantedBy=timers.target\n",
        timer.join("\n")
    );
    Ok([(format!("coldforge-{name}.service"), service), (format!("coldforge-{name}.timer"), timer)])
}

fn unscheduled(name: &str, why: &str) -> PipelineFault {
    let what = format!("`{name}` cannot be scheduled: {why}");
    PipelineFault::NotExpressible { what, hint: "write another `schedule` into the recipe" }
}

/// Returns a path as it is written to a generated file.
fn written(path: &Path) -> Result<&str, PipelineFault> {
    let is_odd = |c: char| is_obeyed(c) || matches!(c, '\u{2028}' | '\u{2029}');
    match path.to_str().filter(|text| !text.chars().any(is_odd) && !text.contains("${{")) {
        Some(text) => Ok(text),
        None => Err(PipelineFault::NotExpressible {
            what: format!("its path {:?} cannot stand in a generated file", path.display().to_string()),
            hint: "rename the file or the folder: letters, digits, dots, hyphens and underscores are always taken",
        }),
    }
}

/// Returns a word of a unit's command line.
fn quoted(word: &str) -> String {
    let word = word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{word}\"")
}

/// A pipeline as a CI system takes it.
struct Job<'a> {
    /// The pipeline's name.
    name: &'a str,
    /// The name of the job.
    id: String,
    /// The recipe, as it is in the repository.
    path: &'a str,
    crontab: Option<String>,
}

/// Returns a workflow that runs pipelines, and those that it could not take; recipes are named as they are in the
/// repository.
///
/// # Errors
/// [`PipelineFault`] if there is no pipeline left.
pub fn workflow(
    ci: Ci,
    headings: &[Heading],
) -> Result<(String, Vec<UnusableRecipe>), (PipelineFault, Vec<UnusableRecipe>)> {
    let (mut jobs, mut unusable) = (Vec::new(), Vec::new());
    for heading in headings {
        let job = || -> Result<Job<'_>, PipelineFault> {
            let crontab = heading.schedule.as_ref().map(super::Schedule::crontab).transpose();
            let crontab = crontab.map_err(|why| unscheduled(&heading.name, why))?;
            Ok(Job { name: &heading.name, id: job_id(ci, &heading.name)?, path: written(&heading.path)?, crontab })
        };
        match job() {
            Ok(job) => jobs.push(job),
            Err(fault) => unusable.push(UnusableRecipe::of(heading, fault)),
        }
    }
    if jobs.is_empty() {
        let what = format!("no pipeline is left for {ci}, which takes no workflow without a job");
        return Err((
            PipelineFault::NotExpressible { what, hint: "put a recipe into the folder, or fix those that are named" },
            unusable,
        ));
    }
    let text = match ci {
        Ci::Github => github(&jobs),
        Ci::Gitlab => gitlab(&jobs),
        Ci::Jenkins => jenkins(&jobs),
    };
    Ok((text, unusable))
}

/// Where a run's document is put, in the folder that a CI system works in.
const RESULT: &str = "coldforge-run.json";

fn command(path: &str, options: &str, result: &str) -> String {
    format!("coldforge run {options}--json -- {} > {result}", shell_word(path))
}

fn github(jobs: &[Job<'_>]) -> String {
    let mut text = String::from("name: images\non:\n  workflow_dispatch: {}\n");
    let mut crontabs: Vec<&String> = jobs.iter().filter_map(|job| job.crontab.as_ref()).collect();
    crontabs.sort();
    crontabs.dedup();
    if !crontabs.is_empty() {
        text.push_str("  schedule:\n");
    }
    for crontab in crontabs {
        text.push_str(&format!("    - cron: {}\n", yaml(crontab)));
    }
    text.push_str("permissions:\n  contents: read\njobs:\n");
    for Job { id, path, crontab, .. } in jobs {
        // What is not scheduled runs by hand only, and each at its own time.
        let when = match crontab {
            Some(crontab) => format!("github.event_name != 'schedule' || github.event.schedule == '{crontab}'"),
            None => "github.event_name != 'schedule'".to_owned(),
        };
        text.push_str(&format!(
            "  {id}:\n    if: {when}\n    runs-on: [self-hosted, linux]\n    steps:\n      - uses: actions/checkout@v4\n      \
             - run: {run}\n      - if: always()\n        uses: actions/upload-artifact@v4\n        with:\n          \
             name: {id}\n          path: {RESULT}\n",
            when = yaml(&when),
            run = yaml(&command(path, "", RESULT)),
        ));
    }
    text
}

fn gitlab(jobs: &[Job<'_>]) -> String {
    let mut text = String::new();
    for Job { name, id, path, crontab } in jobs {
        if let Some(crontab) = crontab {
            text.push_str(&format!(
                "# Build > Pipeline schedules: {crontab} in UTC, with the variable PIPELINE={name}\n"
            ));
        }
        text.push_str(&format!(
            "{id}:\n  rules:\n    - if: {when}\n    - if: '$CI_PIPELINE_SOURCE == \"web\"'\n      when: manual\n  script:\n    \
             - {run}\n  artifacts:\n    when: always\n    paths: [{RESULT}]\n",
            when = yaml(&format!("$CI_PIPELINE_SOURCE == \"schedule\" && $PIPELINE == \"{name}\"")),
            run = yaml(&command(path, "", RESULT)),
        ));
    }
    text
}

fn jenkins(jobs: &[Job<'_>]) -> String {
    let mut text = String::from("pipeline {\n  agent { label 'linux' }\n");
    let crontabs: Vec<&str> = jobs.iter().filter_map(|job| job.crontab.as_deref()).collect();
    if !crontabs.is_empty() {
        text.push_str(&format!("  triggers {{ cron('''TZ=Etc/UTC\n{}''') }}\n", crontabs.join("\n")));
    }
    text.push_str("  stages {\n");
    for Job { name, id, path, .. } in jobs {
        let run = command(path, "--only-if-changed ", &format!("coldforge-{id}.json"));
        let run = run.replace('\\', r"\\").replace('\'', r"\'");
        // One that fails does not keep the others from their turn.
        text.push_str(&format!(
            "    stage('{name}') {{ steps {{ catchError(stageResult: 'FAILURE') {{ sh '{run}' }} }} }}\n"
        ));
    }
    text.push_str("  }\n  post { always { archiveArtifacts artifacts: 'coldforge-*.json' } }\n}\n");
    text
}

/// Words that a CI system or YAML takes for something else than the name of a job.
const RESERVED: [&str; 34] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "null",
    "nil",
    "nan",
    "inf",
    "image",
    "services",
    "stages",
    "stage",
    "types",
    "type",
    "before_script",
    "after_script",
    "variables",
    "cache",
    "include",
    "includes",
    "default",
    "workflow",
    "pages",
    "spec",
    "script",
    "inputs",
    "extends",
    "trigger",
    "jobs",
    "constructor",
];
/// The prefix of encoded names.
const ESCAPED: &str = "pipeline_";

/// Returns the name of a pipeline's job: its own name where every system takes it, and otherwise an encoded one
/// alone, in which each character but letters and digits is written as `_` and two hex digits.
///
/// # Errors
/// [`PipelineFault::NotExpressible`] for one that is too long.
fn job_id(ci: Ci, name: &str) -> Result<String, PipelineFault> {
    let lower = name.to_ascii_lowercase();
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
        && !RESERVED.contains(&lower.as_str())
        && !lower.starts_with(ESCAPED);
    let id = match is_plain {
        true => name.to_owned(),
        false => {
            let escaped = |c: u8| match c.is_ascii_alphanumeric() {
                true => char::from(c).to_string(),
                false => format!("_{c:02x}"),
            };
            format!("{ESCAPED}{}", name.bytes().map(escaped).collect::<String>())
        }
    };
    // GitHub takes fewer than 100 characters, GitLab 255; the file of a Jenkins stage has a name as well.
    let most = if ci == Ci::Github { 99 } else { 230 };
    match id.len() <= most {
        true => Ok(id),
        false => Err(PipelineFault::NotExpressible {
            what: format!("its name becomes a job name of {} characters, and {ci} takes {most}", id.len()),
            hint: "give the recipe a shorter name",
        }),
    }
}

fn yaml(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a word as a shell takes it.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn heading(name: &str, path: &str) -> Heading {
        Heading {
            path: path.into(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            description: String::new(),
            schedule: super::super::Schedule::parse("0 3 * * 1").ok(),
            output: "out".into(),
        }
    }

    #[test]
    fn each_name_has_a_job_of_its_own_that_every_system_takes() {
        let names = [
            "web",
            "a.b",
            "a-b",
            "a_b",
            "a_2eb",
            "pipeline_a_2eb",
            "Pipeline_x",
            "true",
            "123",
            "1e3",
            "on",
            "image",
            "_x",
            "__proto__",
            "pages",
            "nil",
            "Null",
            "web.server",
            "web-server",
            "null.",
            "0x1f",
        ];
        let ids: Vec<String> = names.iter().map(|name| job_id(Ci::Github, name).unwrap()).collect();
        let lower: BTreeSet<String> = ids.iter().map(|id| id.to_ascii_lowercase()).collect();
        assert_eq!(lower.len(), names.len(), "{ids:?}");
        for id in &ids {
            assert!(id.starts_with(|c: char| c.is_ascii_alphabetic()) && !RESERVED.contains(&id.as_str()), "{id}");
            assert!(id.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')), "{id}");
        }
        assert_eq!((&*ids[0], &*ids[1], &*ids[8]), ("web", "pipeline_a_2eb", "pipeline_123"));
        assert!(job_id(Ci::Github, &"a".repeat(99)).is_ok() && job_id(Ci::Github, &"a".repeat(100)).is_err());
        assert!(job_id(Ci::Gitlab, &"a".repeat(200)).is_ok() && job_id(Ci::Gitlab, &"1".repeat(240)).is_err());
    }

    #[test]
    fn one_that_cannot_be_written_is_named_and_stops_nobody_else() {
        for odd in ["a\nb.toml", "a${{ secrets.X }}.toml", "a\u{2028}.toml", "a\u{202e}.toml"] {
            let (text, unusable) = workflow(Ci::Github, &[heading("good", "good.toml"), heading("odd", odd)]).unwrap();
            assert!(text.contains("\n  good:\n") && !text.contains("odd"), "{text}");
            assert_eq!(unusable[0].path, Path::new(odd));
            assert!(units(&heading("odd", odd), Path::new("/bin/coldforge"), Path::new(odd)).is_err());
        }
        let (_, unusable) = workflow(Ci::Gitlab, &[heading("odd", "a\nb.toml")]).unwrap_err();
        assert_eq!(unusable.len(), 1);
    }

    #[test]
    fn a_path_is_a_word_and_never_an_option() {
        let (text, _) = workflow(Ci::Gitlab, &[heading("a", "--help")]).unwrap();
        assert!(text.contains("coldforge run --json -- --help > "), "{text}");
        let [(_, service), _] = units(&heading("a", "a"), Path::new("/b/c"), Path::new("/x $y%z\"\\")).unwrap();
        let line = r#"ExecStart="/b/c" "pipeline" "run" "--only-if-changed" "--" "/x $$y%%z\"\\" "a""#;
        assert!(service.contains(line) && is_own_unit(service.as_bytes()), "{service}");
    }
}
