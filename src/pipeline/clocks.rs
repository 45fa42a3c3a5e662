//! Files for those who start pipelines: systemd timers, and the workflows of CI systems.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::recipe::Heading;

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

/// Returns the service and the timer of a pipeline, each with its file name. `program` and `folder` are absolute.
///
/// # Errors
/// What systemd has no words for.
pub fn units(heading: &Heading, program: &Path, folder: &Path) -> Result<[(String, String); 2], &'static str> {
    let name = &heading.name;
    let timer = heading.schedule.as_ref().ok_or("it has no schedule")?.timer()?;
    let command =
        [program.to_str(), Some("pipeline"), Some("run"), folder.to_str(), Some(name), Some("--only-if-changed")];
    let command: Option<Vec<String>> = command.into_iter().map(|word| word.map(quoted)).collect();
    let command = command.ok_or("a path is not UTF-8")?.join(" ");
    let service = format!(
        "[Unit]\nDescription=coldforge pipeline {name}\n\n[Service]\nType=oneshot\nExecStart={command}\nNice=10\n\
         NoNewPrivileges=yes\n"
    );
    let timer = format!(
        "[Unit]\nDescription=coldforge pipeline {name}\n\n[Timer]\n{}\n\n[Install]\nWantedBy=timers.target\n",
        timer.join("\n")
    );
    Ok([(format!("coldforge-{name}.service"), service), (format!("coldforge-{name}.timer"), timer)])
}

/// Returns a word of a unit's command line.
fn quoted(word: &str) -> String {
    let word = word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{word}\"")
}

/// Returns a workflow that runs pipelines; recipes are named as they lie in the repository.
///
/// # Errors
/// The pipeline, and what a crontab has no words for.
pub fn workflow(ci: Ci, headings: &[Heading]) -> Result<String, (String, &'static str)> {
    let mut pipelines = Vec::new();
    for heading in headings {
        let crontab = heading.schedule.as_ref().map(super::Schedule::crontab).transpose();
        pipelines.push((heading, crontab.map_err(|why| (heading.name.clone(), why))?));
    }
    Ok(match ci {
        Ci::Github => github(&pipelines),
        Ci::Gitlab => gitlab(&pipelines),
        Ci::Jenkins => jenkins(&pipelines),
    })
}

type Pipelines<'a> = [(&'a Heading, Option<String>)];

fn github(pipelines: &Pipelines<'_>) -> String {
    let mut text = String::from("name: images\non:\n  workflow_dispatch: {}\n");
    let mut crontabs: Vec<&String> = pipelines.iter().filter_map(|(_, crontab)| crontab.as_ref()).collect();
    crontabs.sort();
    crontabs.dedup();
    if !crontabs.is_empty() {
        text.push_str("  schedule:\n");
    }
    for crontab in crontabs {
        text.push_str(&format!("    - cron: {}\n", yaml(crontab)));
    }
    text.push_str("permissions:\n  contents: read\njobs:\n");
    for (Heading { name, path, .. }, crontab) in pipelines {
        // What is not scheduled runs by hand only, and each at its own time.
        let when = match crontab {
            Some(crontab) => format!("github.event_name != 'schedule' || github.event.schedule == '{crontab}'"),
            None => "github.event_name != 'schedule'".to_owned(),
        };
        let run = format!("coldforge run {} --json > run.json", shell(path));
        text.push_str(&format!(
            "  {name}:\n    if: {when}\n    runs-on: [self-hosted, linux]\n    steps:\n      - uses: actions/checkout@v4\n      \
             - run: {run}\n      - if: always()\n        uses: actions/upload-artifact@v4\n        with:\n          \
             name: {name}\n          path: run.json\n",
            name = job(name),
            when = yaml(&when),
            run = yaml(&run),
        ));
    }
    text
}

fn gitlab(pipelines: &Pipelines<'_>) -> String {
    let mut text = String::new();
    for (Heading { name, path, .. }, crontab) in pipelines {
        if let Some(crontab) = crontab {
            text.push_str(&format!(
                "# Build > Pipeline schedules: {crontab} in UTC, with the variable PIPELINE={name}\n"
            ));
        }
        text.push_str(&format!(
            "{name}:\n  rules:\n    - if: {when}\n    - if: '$CI_PIPELINE_SOURCE == \"web\"'\n      when: manual\n  script:\n    \
             - {run}\n  artifacts:\n    when: always\n    paths: [run.json]\n",
            name = job(name),
            when = yaml(&format!("$CI_PIPELINE_SOURCE == \"schedule\" && $PIPELINE == \"{name}\"")),
            run = yaml(&format!("coldforge run {} --json > run.json", shell(path))),
        ));
    }
    text
}

fn jenkins(pipelines: &Pipelines<'_>) -> String {
    let mut text = String::from("pipeline {\n  agent { label 'linux' }\n");
    let crontabs: Vec<&str> = pipelines.iter().filter_map(|(_, crontab)| crontab.as_deref()).collect();
    if !crontabs.is_empty() {
        text.push_str(&format!("  triggers {{ cron('''TZ=Etc/UTC\n{}''') }}\n", crontabs.join("\n")));
    }
    text.push_str("  stages {\n");
    for (Heading { name, path, .. }, _) in pipelines {
        let run = format!("coldforge run {} --only-if-changed --json > {name}.json", shell(path));
        let run = run.replace('\\', r"\\").replace('\'', r"\'");
        // One that fails does not keep the others from their turn.
        text.push_str(&format!(
            "    stage('{name}') {{ steps {{ catchError(stageResult: 'FAILURE') {{ sh '{run}' }} }} }}\n"
        ));
    }
    text.push_str("  }\n  post { always { archiveArtifacts artifacts: '*.json' } }\n}\n");
    text
}

/// Returns the name of a job, which has no dots.
fn job(name: &str) -> String {
    name.replace('.', "-")
}

fn yaml(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a path as a shell takes it.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
