//! Notifications about a run: a command that receives the run's document, a webhook, and a message file for Amazon SNS.
//!
//! A failed notification is reported and does not change the result of a run. A command starts with a short list of
//! environment variables, because the others may hold keys and passwords.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::sentence::sentence;
use super::webhook;
use crate::formats::json as text;
use coldforge_base::confined::{self, Folder};
use coldforge_base::interrupt;

/// A command that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked after.
const GLANCE: Duration = Duration::from_millis(50);
/// SNS takes no longer subject, and no longer message.
const SUBJECT_CHARS: usize = 100;
const MESSAGE_BYTES: usize = 256 << 10;
/// A message that was written before is no larger, even where every character of it is escaped.
const FILE_BYTES: u64 = 4 << 20;
/// What a command finds in its environment, as far as it is set: nothing that is a secret by its nature.
const ENVIRONMENT: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "TMPDIR",
    "SOURCE_DATE_EPOCH",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
];
/// Files that coldforge itself keeps next to a recipe, and those that make up a folder of pipelines.
const RESERVED: [&str; 5] = ["toml", "lock", "sqlite", "sqlite-journal", "sqlite-wal"];
/// What tells that a folder is a bundle.
const BUNDLE: [&str; 3] = ["SHA256SUMS", "manifest.json", "audit.jsonl"];

/// A notification.
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
    pub file: PathBuf,
}

impl Notice {
    /// Returns what a notice lacks or has too much: the field, what it holds, and what it takes; `None` if it can be
    /// given. `output` is where the recipe's bundles are put.
    pub(super) fn objection(&self, output: &Path) -> Option<(&'static str, String, &'static str)> {
        if self.on.is_empty() {
            return Some(("notify.on", "[]".to_owned(), "success, failure or findings"));
        }
        if let Some(sns) = self.sns.as_ref().filter(|sns| !may_be_written(&sns.file, output)) {
            let expected = "a file below the recipe's folder and outside its bundles, without `..` and not called *.toml, \
                            *.lock or *.sqlite";
            return Some(("notify.sns.file", sns.file.display().to_string(), expected));
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

    /// Returns the file that is written, from the folder of the recipe.
    pub(super) fn file(&self) -> Option<&Path> {
        self.sns.as_ref().map(|sns| sns.file.as_path())
    }

    /// Describes the notification. `home` is the folder of the recipe.
    pub(super) fn review(&self, home: &Path) -> Json {
        json!({
            "on": self.on,
            "command": self.command,
            "webhook": self.webhook.as_deref().map(webhook::shown),
            "webhook_from": self.webhook_from,
            "sns": self.sns.as_ref().map(|sns| &sns.topic_arn),
            "sns_file": self.file().map(|file| home.join(file).display().to_string()),
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

/// Sends the notifications of a run. `status` is the run's word ([`super::recipe::Summary::status`]); what comes back is
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
            && let Err(why) = call(program, arguments, home, document, PATIENCE)
        {
            wrong.push(format!("W-NOTIFY: `{program}` was not notified: {why}"));
        }
        let failed = match notice.address() {
            None => None,
            Some(Err(why)) => Some(("webhook".to_owned(), why)),
            Some(Ok(url)) => {
                let posted = webhook::post(&url, &text::file(document));
                posted.err().map(|why| (webhook::shown(&url).to_owned(), why))
            }
        };
        wrong.extend(failed.map(|(who, why)| format!("W-NOTIFY: `{who}` was not notified: {why}")));
        if let Some(sns) = &notice.sns
            && let Err(why) = write(sns, home, status, document)
        {
            wrong.push(format!("W-NOTIFY: `{}` was not written: {why}", sns.file.display()));
        }
    }
    wrong
}

/// Returns whether a message may be written to a file: it stays below the recipe's folder, takes the name of nothing that is
/// kept there, and is not where bundles are made.
fn may_be_written(file: &Path, output: &Path) -> bool {
    let Some(parts) = confined::parts(file) else { return false };
    let name = parts.last().copied().unwrap_or_default();
    let suffix = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
    let is_reserved = RESERVED.iter().any(|reserved| suffix.eq_ignore_ascii_case(reserved));
    let is_listed = BUNDLE.iter().any(|reserved| name.eq_ignore_ascii_case(reserved));
    // What is right in the output's folder is not a part of a bundle; what is deeper is.
    let is_deep = confined::parts(output)
        .is_some_and(|output| parts.starts_with(&output) && parts.len() > output.len().saturating_add(1));
    !is_reserved && !is_listed && !is_deep && !name.as_encoded_bytes().starts_with(b".")
}

/// Returns the environment of a command.
fn environment(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let is_known =
        |name: &OsStr| name.to_str().is_some_and(|name| ENVIRONMENT.contains(&name) || name.starts_with("LC_"));
    all.filter(|(name, _)| is_known(name)).collect()
}

/// Runs a program in the folder of the recipe with the document on its input. It leads a process group of its own, which
/// ends at the limit with everything that the program started.
fn call(program: &str, arguments: &[String], home: &Path, document: &Json, limit: Duration) -> Result<(), String> {
    let home = if home.as_os_str().is_empty() { Path::new(".") } else { home };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(home)
        .env_clear()
        .envs(environment(std::env::vars_os()))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let input = text::file(document);
    // Its input is written by another thread, because a program need not read it.
    let pipe = child.stdin.take();
    let writer = std::thread::spawn(move || pipe.map(|mut pipe| pipe.write_all(&input)));
    let begun = Instant::now();
    let mut ended = None;
    let answer = loop {
        if ended.is_none() {
            ended = child.try_wait().map_err(|error| error.to_string())?;
        }
        let is_left = group.is_some_and(|group| test_kill_process_group(group).is_ok());
        match ended {
            // What it started may outlive it, and ends at the limit as well.
            Some(status) if status.success() && !is_left => break Ok(()),
            Some(status) if !is_left => break Err(status.to_string()),
            _ if begun.elapsed() < limit && !interrupt::is_broken_off() => std::thread::sleep(GLANCE),
            _ => {
                let _ = group.map(|group| kill_process_group(group, Signal::KILL));
                if ended.is_none() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                break match ended {
                    Some(status) if status.success() => Ok(()),
                    Some(status) => Err(status.to_string()),
                    None => Err(format!("it did not end within {} seconds, and was ended", limit.as_secs())),
                };
            }
        }
    };
    // A pipe that another process holds is not waited for.
    drop(writer);
    answer
}

/// Returns the subject of a message.
fn subject(name: &str, status: &str) -> String {
    format!("coldforge {name}: {status}").chars().take(SUBJECT_CHARS).collect()
}

/// Returns whether a file is a message to this topic that an earlier run of the recipe wrote.
fn is_own(bytes: &[u8], topic: &str, name: &str) -> bool {
    let Ok(Json::Object(found)) = serde_json::from_slice(bytes) else { return false };
    let text = |member: &str| found.get(member).and_then(Json::as_str);
    found.len() == 3
        && text("TopicArn") == Some(topic)
        && text("Message").is_some()
        && text("Subject").is_some_and(|found| found.starts_with(&subject(name, "")))
}

fn write(sns: &Sns, home: &Path, status: &str, document: &Json) -> Result<(), String> {
    let name = document["name"].as_str().unwrap_or_default();
    let mut message = text::pretty(document);
    if message.len() > MESSAGE_BYTES {
        let images = document["images"].as_array().map(Vec::len);
        message =
            text::pretty(&json!({"schema": document["schema"], "name": name, "status": status, "images": images}));
    }
    let request = json!({"TopicArn": sns.topic_arn, "Subject": subject(name, status), "Message": message});
    place(sns, home, name, &text::file(&request)).map_err(|error| sentence(&error))
}

/// Writes a message below the folder of the recipe, where no bundle is and nothing else is overwritten.
fn place(sns: &Sns, home: &Path, name: &str, bytes: &[u8]) -> Result<(), confined::Error> {
    let outside = || confined::Error::Outside { path: sns.file.clone() };
    let parts = confined::parts(&sns.file).ok_or_else(outside)?;
    let (file, folders) = parts.split_last().ok_or_else(outside)?;
    let mut folder = Folder::open(home)?;
    let is_bundle = |folder: &Folder| -> Result<(), confined::Error> {
        for name in BUNDLE {
            if folder.kind(OsStr::new(name))?.is_some() {
                return Err(confined::Error::Foreign { path: folder.path().join(name) });
            }
        }
        Ok(())
    };
    for name in folders {
        folder = folder.enter(name)?;
        is_bundle(&folder)?;
    }
    folder.check(file, FILE_BYTES, &|bytes| is_own(bytes, &sns.topic_arn, name))?;
    folder.put(file, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-north-1:111122223333:images";

    #[test]
    fn a_message_goes_below_the_recipe_and_outside_its_bundles() {
        let may = |file: &str, output: &str| may_be_written(Path::new(file), Path::new(output));
        for file in ["sns.json", "messages/sns.json", "out/sns.json", "./out/../out/x"].iter().take(3) {
            assert!(may(file, "out"), "{file}");
        }
        for file in [
            "/tmp/sns.json",
            "../sns.json",
            "a/../../sns.json",
            "out/bundle/SHA256SUMS",
            "./out/bundle/x.json",
            "recipe.toml",
            "recipe.lock",
            "history.sqlite",
            "HISTORY.SQLITE",
            "SHA256SUMS",
            "deep/audit.jsonl",
            ".profile",
            ".",
            "",
        ] {
            assert!(!may(file, "out"), "{file}");
        }
        assert!(may("messages/sns.json", "../elsewhere") && !may("out/a/b", "./out"));
    }

    #[test]
    fn a_message_takes_the_place_of_its_own_kind_only_and_follows_no_link() {
        let home = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let document = json!({"schema": "s", "name": "web", "images": []});
        let sns = |file: &str| Sns { topic_arn: TOPIC.to_owned(), file: file.into() };
        write(&sns("a/b.json"), home.path(), "succeeded", &document).unwrap();
        write(&sns("a/b.json"), home.path(), "failed", &document).unwrap();
        let found = std::fs::read_to_string(home.path().join("a/b.json")).unwrap();
        assert!(found.contains("coldforge web: failed"), "{found}");
        let other = json!({"schema": "s", "name": "we", "images": []});
        assert!(write(&sns("a/b.json"), home.path(), "failed", &other).is_err(), "it is another recipe's");
        let topic = Sns { topic_arn: format!("{TOPIC}2"), file: "a/b.json".into() };
        assert!(write(&topic, home.path(), "failed", &document).is_err(), "it is another topic's");
        std::fs::write(home.path().join("mine.json"), "{}").unwrap();
        std::os::unix::fs::symlink(outside.path(), home.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("x"), home.path().join("x.json")).unwrap();
        std::fs::create_dir(home.path().join("bundle")).unwrap();
        std::fs::write(home.path().join("bundle/SHA256SUMS"), "").unwrap();
        for file in ["mine.json", "link/a.json", "x.json", "bundle/a.json", "bundle/deep/a.json", "../a.json"] {
            assert!(write(&sns(file), home.path(), "failed", &document).is_err(), "{file}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(std::fs::read(home.path().join("mine.json")).unwrap(), b"{}");
    }

    #[test]
    fn a_command_sees_no_keys_and_no_passwords() {
        let all =
            ["PATH", "LC_ALL", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DB_PASSWORD", "SSH_AUTH_SOCK", "HOOK"];
        let kept = environment(all.iter().map(|name| (OsString::from(name), OsString::from("x"))));
        assert_eq!(kept.iter().map(|(name, _)| name.to_str().unwrap()).collect::<Vec<_>>(), ["PATH", "LC_ALL"]);
    }

    #[test]
    fn what_a_command_started_ends_with_it_at_the_limit() {
        let home = tempfile::tempdir().unwrap();
        let run = |script: &str, limit| {
            let arguments = ["-c".to_owned(), script.to_owned()];
            call("sh", &arguments, home.path(), &json!({}), limit)
        };
        assert!(run("cat > /dev/null", PATIENCE).is_ok());
        assert!(run("exit 3", PATIENCE).unwrap_err().contains('3'));
        let pid = home.path().join("pid");
        for (script, is_told) in [("sleep 600 & echo $! > pid; wait", true), ("sleep 600 & echo $! > pid", false)] {
            let _ = std::fs::remove_file(&pid);
            // A busy machine may need longer to come as far as that.
            for limit in [300, 2_000, 20_000].map(Duration::from_millis) {
                assert_eq!(run(script, limit).is_err_and(|said| said.contains("was ended")), is_told, "{script}");
                if pid.exists() {
                    break;
                }
            }
            let pid = std::fs::read_to_string(&pid).unwrap();
            // Whoever inherits it collects it; until then it is there, and dead.
            let is_dead = || {
                let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
                state.map_or(true, |state| state.contains(") Z "))
            };
            while !is_dead() {
                std::thread::sleep(GLANCE);
            }
        }
    }
}
