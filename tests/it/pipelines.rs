//! Pipelines from the command line: a folder of recipes, its history, what stays of it, its clocks, and who is told.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use crate::support::{EPOCH, ask, coldforge, coldforge_with, fixture, text};

/// A month later than the other runs.
const LATER: &str = "1769904000";

/// Makes a folder of two pipelines: one that holds, and one whose test does not.
fn folder(home: &Path) -> PathBuf {
    std::fs::copy(fixture("ws2022.vhd"), home.join("base.vhd")).unwrap();
    let folder = home.join("images");
    std::fs::create_dir_all(folder.join("bad")).unwrap();
    let notice = home.join("told.json");
    let good = format!(
        r#"schema = "coldforge/recipe/1"
name = "good"
version = "1.0.0"
description = "It holds"
schedule = "cron(30 3 ? * MON *)"

[[source]]
image = "../base.vhd"

[stig]
only = ["WN22-CC-000010", "WN22-CC-000020"]

[output]
name = "good-{{version}}"
folder = "../out"

[[notify]]
on = ["success"]
command = ["sh", "-c", "cat > {told}"]
sns = {{ topic_arn = "arn:aws:sns:eu-north-1:111122223333:images", file = "messages/sns.json" }}

[[notify]]
on = ["success"]
command = ["no-such-program"]

[[notify]]
on = ["failure"]
command = ["sh", "-c", "touch {told}.failure"]
"#,
        told = text(&notice)
    );
    std::fs::write(folder.join("good.toml"), good).unwrap();
    let bad = r#"schema = "coldforge/recipe/1"
name = "bad"
version = "0.1.0"

[[source]]
image = "../../base.vhd"

[stig]
only = ["WN22-CC-000010"]

[[tests.assert]]
name = "there is a file"
file = { path = '\no-such-file' }

[output]
name = "bad"
folder = "../../out-bad"
"#;
    std::fs::write(folder.join("bad/recipe.toml"), bad).unwrap();
    std::fs::write(folder.join("other.toml"), "title = 'no recipe'\n").unwrap();
    folder
}

fn json(arguments: &[&str], code: i32) -> Json {
    coldforge([arguments, &["--json"]].concat()).expect(code).json()
}

#[test]
fn runs_are_entered_listed_and_told_of() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(home.path());
    let images = text(&folder);
    let list = json(&["pipeline", "list", images], 0);
    let names: Vec<&str> =
        list["pipelines"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bad", "good"]);
    assert_eq!(list["pipelines"][1]["next"], "2026-01-05T03:30:00Z");
    assert!(!folder.join("history.sqlite").exists(), "to look at it begins nothing");

    let run = coldforge(["pipeline", "run", images, "good"]).expect(0);
    assert!(run.err.contains("W-NOTIFY: `no-such-program` was not notified"), "{}", run.err);
    let told: Json = serde_json::from_slice(&std::fs::read(home.path().join("told.json")).unwrap()).unwrap();
    assert_eq!((&told["schema"], &told["images"][0]["status"]), (&"coldforge/recipe-run/1".into(), &"built".into()));
    assert!(!home.path().join("told.json.failure").exists());
    let sns: Json = serde_json::from_slice(&std::fs::read(folder.join("messages/sns.json")).unwrap()).unwrap();
    assert_eq!(sns["Subject"], "coldforge good: succeeded");
    assert_eq!(serde_json::from_str::<Json>(sns["Message"].as_str().unwrap()).unwrap(), told);
    if let Some(python) = crate::support::python_of_aws() {
        let request = format!("file://{}", text(&folder.join("messages/sns.json")));
        let arguments = [
            "sns",
            "publish",
            "--cli-input-json",
            &request,
            "--generate-cli-skeleton",
            "output",
            "--region",
            "eu-north-1",
        ];
        let said = ask(text(&python.with_file_name("aws")), &arguments);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    coldforge(["pipeline", "run", images, "bad"]).expect(1);
    let runs = json(&["pipeline", "history", images], 0)["runs"].clone();
    let statuses: Vec<&str> = runs.as_array().unwrap().iter().map(|run| run["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["failed", "succeeded"]);
    let bundle = &runs[1]["bundles"][0];
    assert_eq!(bundle["path"], text(&home.path().join("out/good-1.0.0").canonicalize().unwrap()));
    assert_eq!(bundle["totals"][1], 0);
    assert!(runs[1]["duration_ms"].as_i64().unwrap() > 0 && bundle["sha256sums"].as_str().unwrap().len() == 64);

    let again = json(&["pipeline", "run", images, "good", "--only-if-changed"], 0);
    assert_eq!(again["images"][0]["status"], "unchanged");
    let shown = coldforge(["pipeline", "show", images, "good"]).expect(0).out;
    for mark in ["It holds", "cron(30 3 ? * MON *)", "2026-01-05T03:30:00Z", "#3", "#1"] {
        assert!(shown.contains(mark), "{mark}: {shown}");
    }
    coldforge(["pipeline", "show", images, "none"]).expect(2);

    // A pipeline that cannot be run at all does not keep the others from theirs.
    let broken = folder.join("bad/recipe.toml");
    let said = std::fs::read_to_string(&broken).unwrap();
    std::fs::write(&broken, said.replace("base.vhd", "no-such.vhd")).unwrap();
    let all = coldforge(["pipeline", "run", images, "--only-if-changed"]).expect(3);
    assert!(all.err.contains("E-RECIPE-SOURCE") && all.out.contains("unchanged"), "{}{}", all.out, all.err);
}

/// Answers one request, and returns what was asked.
#[cfg(feature = "notify")]
fn answer_once(listener: std::net::TcpListener, status: &'static str) -> std::thread::JoinHandle<String> {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let at = head.len();
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
            if let Some((name, value)) = head[at..].split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.into_inner().write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
        head + &String::from_utf8(body).unwrap()
    })
}

#[cfg(feature = "notify")]
#[test]
fn a_webhook_gets_the_runs_document_and_one_that_fails_is_told_without_its_secret() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(home.path());
    let path = folder.join("good.toml");
    let said = std::fs::read_to_string(&path).unwrap();
    let (recipe, _) = said.split_once("[[notify]]").unwrap();
    let run = |line: &str, variables: &[(&str, &str)]| {
        std::fs::write(&path, format!("{recipe}[[notify]]\non = [\"success\"]\n{line}\n")).unwrap();
        let variables = [variables, &[("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")]].concat();
        coldforge_with(["run", text(&path), "--only-if-changed", "--json"], &variables).expect(0)
    };
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = listen();
    let address = format!("http://{}/hooks/secret?token=secret", listener.local_addr().unwrap());
    let asked = answer_once(listener, "200 OK");
    let told = run(&format!("webhook = {address:?}"), &[]);
    assert!(!told.err.contains("W-NOTIFY"), "{}", told.err);
    let asked = asked.join().unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hooks/secret?token=secret HTTP/1.1"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    let document: Json = serde_json::from_str(body).unwrap();
    assert_eq!((&document, &document["status"]), (&told.json(), &"succeeded".into()));

    for status in ["500 Internal Server Error", "302 Found"] {
        let listener = listen();
        let address = format!("http://{}/hooks/secret", listener.local_addr().unwrap());
        let asked = answer_once(listener, status);
        let told = run("webhook_from = \"HOOK\"", &[("HOOK", &address)]);
        asked.join().unwrap();
        assert!(told.err.contains(&format!("was not notified: it answered {status}")), "{}", told.err);
        assert!(!told.err.contains("secret"), "{}", told.err);
    }
    let nobody = listen().local_addr().unwrap();
    let told = run(&format!("webhook = \"http://{nobody}/secret\""), &[]);
    assert!(told.err.contains("W-NOTIFY: `127.0.0.1:") && !told.err.contains("secret"), "{}", told.err);
    assert!(run("webhook_from = \"HOOK\"", &[]).err.contains("the variable `HOOK` is not set"));
}

#[test]
fn a_history_that_cannot_be_used_stops_the_run_before_it_begins() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(home.path());
    let images = text(&folder);
    let history = home.path().join("other.sqlite");
    let run = |code: &str| {
        let answer = coldforge(["pipeline", "run", images, "good", "--history", text(&history)]).expect(3);
        assert!(answer.err.contains(code) && !home.path().join("out").exists(), "{}", answer.err);
    };
    std::fs::write(&history, "this is no database, and long enough to be looked at as one by whoever opens it")
        .unwrap();
    run("E-HISTORY]");
    std::fs::remove_file(&history).unwrap();
    let sql = |statement: &str| {
        let script = format!("import sqlite3\nc=sqlite3.connect({:?})\n{statement}", text(&history));
        Command::new("python3").args(["-c", &script]).spawn().unwrap()
    };
    assert!(
        sql("c.execute('PRAGMA user_version=99')\nc.execute('CREATE TABLE a(b)')\nc.commit()")
            .wait()
            .unwrap()
            .success()
    );
    run("E-HISTORY-VERSION");
    std::fs::remove_file(&history).unwrap();
    coldforge(["pipeline", "run", images, "good", "--history", text(&history)]).expect(0);
    std::fs::remove_dir_all(home.path().join("out")).unwrap();
    let ready = home.path().join("ready");
    let hold = format!("c.execute('BEGIN EXCLUSIVE')\nopen({:?},'w')\nimport time\ntime.sleep(60)", text(&ready));
    let mut holder = sql(&hold);
    while !ready.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    run("E-HISTORY-BUSY");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_run_that_was_killed_is_told_as_interrupted() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(home.path());
    let images = text(&folder);
    let mut child = Command::new(env!("CARGO_BIN_EXE_coldforge"))
        .args(["pipeline", "run", images, "good"])
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !home.path().join("out/.coldforge-run").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it is caught at work");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let runs = json(&["pipeline", "history", images], 0)["runs"].clone();
    assert_eq!((&runs[0]["status"], &runs[0]["duration_ms"]), (&"interrupted".into(), &Json::Null));
    coldforge(["pipeline", "run", images, "good"]).expect(0);
    assert_eq!(json(&["pipeline", "list", images], 0)["pipelines"][1]["last"]["status"], "succeeded");
}

#[test]
fn old_bundles_go_and_the_newest_good_one_and_what_was_changed_stay() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(home.path());
    let images = text(&folder);
    let recipe = folder.join("good.toml");
    let first = std::fs::read_to_string(&recipe).unwrap();
    for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
        std::fs::write(&recipe, first.replace("\"1.0.0\"", &format!("\"{version}\""))).unwrap();
        coldforge(["pipeline", "run", images, "good"]).expect(0);
    }
    let out = home.path().join("out");
    let there = || {
        let mut names: Vec<String> =
            std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    // Somebody wrote into one of them, and put a link where another was.
    std::fs::write(out.join("good-1.1.0/SHA256SUMS"), "").unwrap();
    let prune = |options: &[&str], moment: &str| {
        let arguments = [&["pipeline", "prune", images, "--json"], options].concat();
        let told = coldforge_with(arguments, &[("SOURCE_DATE_EPOCH", moment)]).expect(0).json();
        let gone = told["bundles"].as_array().unwrap().iter().filter(|bundle| bundle["goes"] == true);
        gone.map(|bundle| bundle["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ["good-1.0.0", "good-1.1.0", "good-1.2.0", "good-1.3.0"];
    assert_eq!(prune(&["--keep", "1", "--dry-run"], LATER), ["good-1.2.0", "good-1.0.0"]);
    assert_eq!(prune(&["--keep", "1", "--older-than", "8w"], LATER), Vec::<String>::new(), "they are young");
    assert_eq!(prune(&["--keep", "2", "--dry-run"], LATER), ["good-1.0.0"]);
    assert_eq!(there(), all);
    assert_eq!(prune(&["--keep", "1", "--older-than", "30d"], LATER), ["good-1.2.0", "good-1.0.0"]);
    assert_eq!(there(), ["good-1.1.0", "good-1.3.0"]);
    // A newest one that is damaged is not the good one that stays.
    std::fs::write(&recipe, first.replace("\"1.0.0\"", "\"1.4.0\"")).unwrap();
    coldforge(["pipeline", "run", images, "good"]).expect(0);
    std::fs::write(out.join("good-1.4.0/audit.jsonl"), "{}").unwrap();
    assert_eq!(prune(&["--keep", "1", "--dry-run"], LATER), Vec::<String>::new());
    std::fs::remove_dir_all(out.join("good-1.4.0")).unwrap();
    std::fs::rename(out.join("good-1.3.0"), home.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(home.path().join("elsewhere"), out.join("good-1.3.0")).unwrap();
    assert_eq!(prune(&["--keep", "1"], LATER), Vec::<String>::new());
    assert!(home.path().join("elsewhere/SHA256SUMS").exists());
    coldforge(["pipeline", "prune", images, "--keep", "0"]).expect(2);
}

#[test]
fn systemd_and_ci_systems_take_what_is_written_for_them() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(home.path());
    let images = text(&folder);
    let units = home.path().join("units");
    coldforge(["pipeline", "schedule", images, "--systemd", "-o", text(&units)]).expect(0);
    let read = |name: &str| std::fs::read_to_string(units.join(name)).unwrap();
    let timer = read("coldforge-good.timer");
    assert!(timer.contains("OnCalendar=Mon *-*-* 3:30:00 UTC\nPersistent=true"), "{timer}");
    assert!(read("coldforge-good.service").contains("\"pipeline\" \"run\""));
    assert!(!units.join("coldforge-bad.timer").exists(), "it has no schedule");
    if Path::new("/usr/bin/systemd-analyze").is_file() {
        let calendar = ask("systemd-analyze", &["calendar", "Mon *-*-* 3:30:00 UTC"]);
        assert!(calendar.status.success(), "{}", String::from_utf8_lossy(&calendar.stderr));
        for name in ["coldforge-good.timer", "coldforge-good.service"] {
            let said = ask("systemd-analyze", &["verify", "--man=no", text(&units.join(name))]);
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
    } else {
        eprintln!("SKIPPED: systemd-analyze is missing");
    }

    let workflow = |system: &str| coldforge(["pipeline", "ci", system, images]).expect(0).out;
    for system in ["github", "gitlab"] {
        let said = workflow(system);
        let document: Json = serde_saphyr::from_str(&said).unwrap();
        if let Some(validators) = crate::support::validators("bin/check-jsonschema") {
            let file = home.path().join(format!("{system}.yml"));
            std::fs::write(&file, &said).unwrap();
            let schema: &[&str] = match system {
                "github" => &["vendor.github-workflows"],
                _ => &["vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
            };
            let judge = text(&validators.join("bin/check-jsonschema")).to_owned();
            let arguments = [&["--builtin-schema"], schema, &[text(&file)]].concat();
            let judged = ask(&judge, &arguments);
            assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
            std::fs::write(&file, said.replace("runs-on", "runs_on").replace("script:", "scripts: 1\n  script: 1 #"))
                .unwrap();
            assert!(!ask(&judge, &arguments).status.success(), "it judges");
        }
        match system {
            "github" => {
                assert_eq!(document["on"]["schedule"][0]["cron"], "30 3 * * MON");
                let step = &document["jobs"]["good"]["steps"][1]["run"];
                assert!(step.as_str().unwrap().starts_with("coldforge run "), "{step}");
                assert!(document["jobs"]["bad"]["if"].as_str().unwrap().contains("!= 'schedule'"));
            }
            _ => assert!(document["good"]["script"][0].as_str().unwrap().contains("good.toml")),
        }
    }
    let jenkins = workflow("jenkins");
    assert!(
        jenkins.contains("30 3 * * MON") && jenkins.matches('{').count() == jenkins.matches('}').count(),
        "{jenkins}"
    );

    // What these have no words for is refused, and names the pipeline.
    let recipe = folder.join("good.toml");
    let said = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, said.replace("30 3 ? * MON *", "30 3 ? * MON#1 *")).unwrap();
    assert!(coldforge(["pipeline", "ci", "gitlab", images]).expect(3).err.contains("`good` cannot be scheduled"));
    std::fs::write(&recipe, said.replace("30 3 ? * MON *", "30 3 * * MON *")).unwrap();
    assert!(coldforge(["pipeline", "list", images]).expect(3).err.contains("exactly one of the day"));
    std::fs::write(&recipe, said.replace("\"good\"", "\"bad\"")).unwrap();
    assert!(coldforge(["pipeline", "list", images]).expect(3).err.contains("E-PIPELINE"));
}
