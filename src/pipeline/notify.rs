//! Who is told of a run: a command that gets the run's document, a webhook, and a message in the form that Amazon SNS takes.
//!
//! Nothing that goes wrong here changes what a run is; it is told.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::webhook;
use crate::base::{fs, json as text};

/// A command that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked after.
const GLANCE: Duration = Duration::from_millis(50);
/// SNS takes no longer subject, and no longer message.
const SUBJECT_CHARS: usize = 100;
const MESSAGE_BYTES: usize = 256 << 10;

/// Somebody who is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Of which runs: `success`, `failure`, `findings`.
    pub on: Vec<When>,
    /// A program with its arguments, which gets the run's document on its input.
    #[serde(default)]
    pub command: Vec<String>,
    /// An address that the run's document is posted to.
    pub webhook: Option<String>,
    /// The variable of the environment that holds such an address, since many are secrets.
    pub webhook_from: Option<String>,
    /// A message for `aws sns publish --cli-input-json file://FILE`.
    pub sns: Option<Sns>,
}

/// A kind of run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Every test holds.
    Success,
    /// A test does not hold, or an image was refused.
    Failure,
    /// Every test holds, and rules are open.
    Findings,
}

/// A message for Amazon SNS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sns {
    /// The topic.
    pub topic_arn: String,
    /// The file, from the folder of the recipe.
    pub file: std::path::PathBuf,
}

impl Notice {
    /// Returns what a notice lacks or has too much: the field, what it holds, and what it takes; `None` if it can be
    /// given.
    pub(super) fn objection(&self) -> Option<(&'static str, String, &'static str)> {
        if self.on.is_empty() {
            return Some(("notify.on", "[]".to_owned(), "success, failure or findings"));
        }
        let is_empty = self.command.is_empty() && self.sns.is_none();
        if let Some(url) = &self.webhook {
            return webhook::objection(url)
                .map(|expected| ("notify.webhook", webhook::shown(url).to_owned(), expected));
        }
        if let Some(name) = &self.webhook_from {
            // What it holds is known when it is needed; whether this build can post is known now.
            let stand_in = webhook::objection("https://localhost");
            return stand_in.map(|expected| ("notify.webhook_from", name.clone(), expected));
        }
        is_empty.then(|| ("notify", "nobody".to_owned(), "command, webhook, webhook_from or sns"))
    }

    /// Tells who is told of what.
    pub(super) fn review(&self) -> Json {
        json!({
            "on": self.on,
            "command": self.command,
            "webhook": self.webhook.as_deref().map(webhook::shown),
            "webhook_from": self.webhook_from,
            "sns": self.sns.as_ref().map(|sns| &sns.topic_arn),
        })
    }

    /// Returns the address to post to, if there is one.
    fn address(&self) -> Option<Result<String, String>> {
        let from = |name: &String| {
            let address = std::env::var(name).map_err(|_| format!("the variable `{name}` is not set"))?;
            match webhook::objection(&address) {
                None => Ok(address),
                Some(expected) => Err(format!("the variable `{name}` is not {expected}")),
            }
        };
        self.webhook.clone().map(Ok).or_else(|| self.webhook_from.as_ref().map(from))
    }
}

/// Tells those whom a run concerns. `status` is the run's word ([`super::recipe::Summary::status`]); what comes back is
/// what went wrong.
pub fn notify(notices: &[Notice], home: &Path, status: &str, document: &Json) -> Vec<String> {
    let is_meant = |when: &When| match when {
        When::Success => matches!(status, "succeeded" | "findings"),
        When::Findings => status == "findings",
        When::Failure => matches!(status, "failed" | "refused"),
    };
    let mut wrong = Vec::new();
    for notice in notices.iter().filter(|notice| notice.on.iter().any(is_meant)) {
        if let Some((program, arguments)) = notice.command.split_first()
            && let Err(why) = call(program, arguments, home, document)
        {
            wrong.push(format!("W-NOTIFY: `{program}` was not told: {why}"));
        }
        let failed = match notice.address() {
            None => None,
            Some(Err(why)) => Some(("webhook".to_owned(), why)),
            Some(Ok(url)) => {
                let posted = webhook::post(&url, &text::file(document));
                posted.err().map(|why| (webhook::shown(&url).to_owned(), why))
            }
        };
        wrong.extend(failed.map(|(who, why)| format!("W-NOTIFY: `{who}` was not told: {why}")));
        if let Some(sns) = &notice.sns
            && let Err(why) = write(sns, home, status, document)
        {
            wrong.push(format!("W-NOTIFY: `{}` was not written: {why}", sns.file.display()));
        }
    }
    wrong
}

/// Runs a program in the folder of the recipe with the document on its input.
fn call(program: &str, arguments: &[String], home: &Path, document: &Json) -> Result<(), String> {
    let home = if home.as_os_str().is_empty() { Path::new(".") } else { home };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let input = text::file(document);
    // Its input is written beside, because a program need not read it.
    let pipe = child.stdin.take();
    let writer = std::thread::spawn(move || pipe.map(|mut pipe| pipe.write_all(&input)));
    let begun = Instant::now();
    let ended = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => break Ok(()),
            Some(status) => break Err(status.to_string()),
            None if begun.elapsed() >= PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                break Err(format!("it did not end within {} seconds", PATIENCE.as_secs()));
            }
            None => std::thread::sleep(GLANCE),
        }
    };
    // A program that ended has closed the pipe, unless it left a child of its own that holds it: that one is not waited
    // for.
    drop(writer);
    ended
}

fn write(sns: &Sns, home: &Path, status: &str, document: &Json) -> Result<(), String> {
    let name = document["name"].as_str().unwrap_or_default();
    let subject: String = format!("coldforge {name}: {status}").chars().take(SUBJECT_CHARS).collect();
    let mut message = text::pretty(document);
    if message.len() > MESSAGE_BYTES {
        let images = document["images"].as_array().map(Vec::len);
        message =
            text::pretty(&json!({"schema": document["schema"], "name": name, "status": status, "images": images}));
    }
    let request = json!({"TopicArn": sns.topic_arn, "Subject": subject, "Message": message});
    let path = home.join(&sns.file);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| fs::failed("create", folder)(error).to_string())?;
    std::fs::write(&path, text::file(&request)).map_err(|error| fs::failed("write", &path)(error).to_string())
}
