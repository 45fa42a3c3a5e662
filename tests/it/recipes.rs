//! Recipes from the command line: the examples, what is refused, what a lock knows, and a run that is killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use crate::support::{Answer, EPOCH, ask, coldforge, fixture, real_image, sha256, text, validators};

/// Copies the fixtures that the examples name into a folder of the test's own.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let root = fixture("ws2022.vhd").parent().unwrap().to_owned();
    for folder in ["recipes", "components", "policy"] {
        let done = Command::new("cp").args(["-r", text(&root.join(folder)), text(home.path())]).status().unwrap();
        assert!(done.success());
    }
    std::fs::copy(fixture("ws2022.vhd"), home.path().join("ws2022.vhd")).unwrap();
    home
}

fn recipe(home: &Path, name: &str) -> String {
    text(&home.join("recipes").join(name).join("recipe.toml")).to_owned()
}

fn run(recipe: &str, options: &[&str]) -> Answer {
    coldforge([&["run", recipe, "--json"], options].concat())
}

/// Returns the only image of a run.
fn only(answer: &Json) -> &Json {
    assert_eq!(answer["images"].as_array().unwrap().len(), 1);
    &answer["images"][0]
}

/// Returns the digest of every file below a folder.
fn digests(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.strip_prefix(folder).unwrap().to_owned(), sha256(&path))),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_least_recipe_makes_the_bundle_that_harden_makes() {
    let home = home();
    run(&recipe(home.path(), "minimal"), &[]).expect(0);
    let alone = home.path().join("alone");
    let image = home.path().join("ws2022.vhd");
    coldforge(["harden", text(&image), "-o", text(&alone), "--fail-on", "none"]).expect(0);
    let made = home.path().join("recipes/minimal/out/minimal-1.0.0-ws2022");
    assert!(digests(&made).len() > 20);
    assert_eq!(digests(&made), digests(&alone));
}

#[test]
fn the_full_recipe_is_tested_and_left_alone_until_an_input_changes() {
    let home = home();
    let path = recipe(home.path(), "full");
    let first = run(&path, &[]).expect(0).json();
    let image = only(&first);
    assert_eq!((&image["status"], image["tests"].as_array().unwrap().len()), (&"built".into(), 5));
    let bundle = PathBuf::from(image["bundle"].as_str().unwrap());
    let source = home.path().join("ws2022.vhd");
    coldforge(["verify", text(&bundle), "--source", text(&source)]).expect(0);
    let distribution = std::fs::read_to_string(bundle.join("aws/distribution.json")).unwrap();
    assert!(distribution.contains("eu-west-1") && distribution.contains("111122223333"), "{distribution}");

    let lock = std::fs::read(home.path().join("recipes/full/recipe.lock")).unwrap();
    let again = run(&path, &["--only-if-changed"]).expect(0).json();
    assert_eq!(only(&again)["status"], "unchanged");
    assert_eq!(std::fs::read(home.path().join("recipes/full/recipe.lock")).unwrap(), lock);

    // A damaged bundle is made again, and so is one of other inputs; each takes the place of the old one.
    let before = digests(&bundle);
    std::fs::write(bundle.join("audit.jsonl"), "{}").unwrap();
    assert_eq!(only(&run(&path, &["--only-if-changed"]).expect(0).json())["status"], "built");
    assert_eq!(digests(&bundle), before);
    // One with a file that `verify` does not know is not unchanged, and nothing replaces what somebody put there.
    for extra in ["mine.txt", "audit.jsonl.minisig", "aws/mine"] {
        std::fs::write(bundle.join(extra), "mine").unwrap();
        coldforge(["verify", text(&bundle)]).expect(1);
        let refused = run(&path, &["--only-if-changed"]).expect(3).json();
        assert_eq!(only(&refused)["error"]["code"], "E-RECIPE-OUTPUT", "{extra}: {refused:#}");
        assert_eq!(std::fs::read(bundle.join(extra)).unwrap(), b"mine");
        std::fs::remove_file(bundle.join(extra)).unwrap();
    }
    let component = home.path().join("components/scripts.yml");
    let text = std::fs::read_to_string(&component).unwrap();
    std::fs::write(&component, text.replace("/d 3", "/d 4")).unwrap();
    let changed = run(&path, &["--only-if-changed"]).expect(0).json();
    assert_eq!(only(&changed)["status"], "built");
    assert_eq!(only(&changed)["changed_inputs"], serde_json::json!(["component acme-scripts"]));
    assert_ne!(digests(&bundle), before);
}

#[test]
fn the_baseline_holds_with_its_waivers_and_not_without() {
    let home = home();
    let path = recipe(home.path(), "baseline");
    let bundle = home.path().join("recipes/baseline/out/company-baseline-3.0.1-2026-01-01-ws2022");
    let waivers = home.path().join("recipes/baseline/waivers.toml");
    let whole = std::fs::read_to_string(&waivers).unwrap();
    std::fs::write(&waivers, whole.replacen("2027-12-31", "2025-12-31", 1)).unwrap();
    let failed = run(&path, &["--keep-failed"]).expect(1).json();
    assert!(only(&failed)["tests"][0]["found"].as_str().unwrap().contains("1 rules are open: WN22-00-000200"));
    assert!(!bundle.exists() && bundle.with_file_name("company-baseline-3.0.1-2026-01-01-ws2022.failed").is_dir());
    std::fs::write(&waivers, whole).unwrap();
    run(&path, &[]).expect(0);
    assert!(bundle.is_dir());
}

#[test]
fn each_fault_of_a_recipe_is_refused_by_its_code() {
    let home = home();
    let path = recipe(home.path(), "minimal");
    for (set, code) in [
        ("stig.levl=high", "E-RECIPE"),
        ("stig.level=highest", "E-RECIPE"),
        ("version=1.0", "E-RECIPE"),
        ("output.name=../x", "E-RECIPE"),
        ("source.0.image=none.vhd", "E-RECIPE-SOURCE"),
        ("source.0.image=none*.vhd", "E-RECIPE-SOURCE"),
    ] {
        let refused = run(&path, &["--set", set]).expect(3).json();
        assert_eq!(refused["code"], code, "{set}: {refused}");
    }
    let refused = run(&path, &["--set", "stig.levl=high"]).expect(3);
    assert!(refused.err.contains("`level` is near"), "{}", refused.err);
    let zeros = "0".repeat(64);
    let refused = run(&path, &["--set", &format!("source.0.sha256={zeros:?}")]).expect(3).json();
    assert_eq!(only(&refused)["error"]["code"], "E-RECIPE-DIGEST");

    std::fs::copy(home.path().join("ws2022.vhd"), home.path().join("copy.vhd")).unwrap();
    let two = ["--set", "source.0.image=../../*.vhd"];
    let same = run(&path, &[&two[..], &["--set", "output.name={name}"]].concat()).expect(3).json();
    assert_eq!(same["code"], "E-RECIPE-OUTPUT");
    let foreign = home.path().join("recipes/minimal/out/minimal-1.0.0-ws2022");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("mine"), "").unwrap();
    let partly = run(&path, &two).expect(3).json();
    assert_eq!((&partly["images"][0]["status"], &partly["images"][1]["status"]), (&"built".into(), &"error".into()));
    assert_eq!(partly["images"][1]["error"]["code"], "E-RECIPE-OUTPUT");
    assert!(foreign.join("mine").exists());
}

#[test]
fn an_assertion_that_does_not_hold_withholds_the_image() {
    let home = home();
    let path = recipe(home.path(), "full");
    for (set, test) in [
        ("tests.assert.0.registry.equals=\"Oslo\"", 2),
        ("tests.assert.1.file.exists=false", 3),
        ("tests.assert.2.free_bytes=1099511627776", 4),
        ("tests.assert.2.service={name=\"EventLog\",start=\"disabled\"}", 4),
        ("tests.assert.2.account={rid=500,enabled=false}", 4),
        ("tests.assert.2.acl={path='\\Windows',not_wider_than=\"D:(A;;GR;;;SY)\"}", 4),
    ] {
        let failed = run(&path, &["--set", set]).expect(1).json();
        let tests = only(&failed)["tests"].as_array().unwrap();
        let wrong: Vec<usize> = (0..tests.len()).filter(|number| tests[*number]["passed"] == false).collect();
        assert_eq!(wrong, [test], "{set}: {failed}");
    }
    let out = home.path().join("recipes/full/out");
    assert_eq!(std::fs::read_dir(out).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn an_executable_file_is_asserted_by_the_version_that_it_tells() {
    let home = home();
    let steps = r"{schemaVersion: 1.0, phases: [{name: build, steps: [{name: Tool, action: InstallFiles,
        inputs: [{source: tool.dll, destination: 'C:\Acme\tool.dll'}]}]}]}";
    std::fs::write(home.path().join("components/tool.yml"), steps).unwrap();
    let path = recipe(home.path(), "minimal");
    let said = std::fs::read_to_string(&path).unwrap();
    let assert = |version: &str| {
        let table =
            format!("\n[[tests.assert]]\nname = 'the tool'\nfile = {{ path = '\\Acme\\tool.dll', {version} }}\n");
        let component = "\n[[component]]\nfile = '../../components/tool.yml'\n";
        std::fs::write(&path, format!("{said}{component}{table}")).unwrap();
    };
    for version in ["version = '10.2.300.4'", "min_version = '10.2'", "version = '10.2.300.4', min_version = '9.99.9'"]
    {
        assert(version);
        let done = run(&path, &[]).expect(0).json();
        let found = only(&done)["tests"][0]["found"].as_str().unwrap();
        assert_eq!(found, r"\Acme\tool.dll has version 10.2.300.4", "{version}");
    }
    for version in ["version = '10.2'", "min_version = '10.10'", "version = '10.2.300.4', min_version = '11'"] {
        assert(version);
        assert_eq!(only(&run(&path, &[]).expect(1).json())["tests"][0]["passed"], false, "{version}");
    }
    assert("version = '10.x'");
    coldforge(["recipe", "lint", &path]).expect(3);
    assert("version = '10.2.300.4'");
    let said = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, said.replace(r"\Acme\tool.dll', version", r"\Windows\explorer.exe', version")).unwrap();
    let failed = run(&path, &[]).expect(1).json();
    assert_eq!(only(&failed)["tests"][0]["passed"], false, "{failed}");
}

#[test]
fn show_tells_which_bundles_stand() {
    let home = home();
    let path = recipe(home.path(), "minimal");
    let state = || coldforge(["recipe", "show", &path, "--json"]).expect(0).json()["images"][0]["bundle_is"].clone();
    assert_eq!(state(), "none");
    run(&path, &[]).expect(0);
    assert_eq!(state(), "there");
    assert!(coldforge(["recipe", "show", &path]).expect(0).out.contains("minimal-1.0.0-ws2022"));
    let sums = home.path().join("recipes/minimal/out/minimal-1.0.0-ws2022/SHA256SUMS");
    std::fs::write(&sums, "").unwrap();
    assert_eq!(state(), "changed");
    std::fs::remove_dir_all(sums.parent().unwrap()).unwrap();
    assert_eq!(state(), "gone");
}

#[test]
fn what_a_test_or_a_notice_lacks_is_told_before_anything_is_built() {
    let home = home();
    let path = recipe(home.path(), "minimal");
    let said = std::fs::read_to_string(&path).unwrap();
    for (table, field) in [
        ("[[tests.assert]]\nname = 'a'", "tests.assert"),
        ("[[tests.assert]]\nname = 'a'\nfile = { path = 'a', sha256 = '12' }", "file.sha256"),
        ("[[tests.assert]]\nname = 'a'\nfile = { path = 'a', exists = false, version = '1' }", "file.exists"),
        ("[[tests.assert]]\nname = 'a'\nacl = { not_wider_than = 'D:' }", "acl"),
        ("[[tests.assert]]\nname = 'a'\nacl = { path = 'a', not_wider_than = 'what' }", "acl.not_wider_than"),
        ("[[tests.assert]]\nname = 'a'\naccount = { rid = 500 }", "account"),
        ("[[tests.assert]]\nname = 'a'\ncertificate = { store = 'ROOT', thumbprint = 'AB' }", "certificate.thumbprint"),
        ("[[notify]]\non = []\ncommand = ['true']", "notify.on"),
        ("[[notify]]\non = ['success']", "notify"),
        ("[[notify]]\non = ['success']\nwebhook = 'ftp://example.com'", "notify.webhook"),
    ] {
        std::fs::write(&path, format!("{said}\n{table}\n")).unwrap();
        let refused = coldforge(["recipe", "lint", &path]).expect(3);
        assert!(refused.err.contains(&format!("`{field}` is")), "{table}: {}", refused.err);
    }
}

#[test]
fn a_run_that_is_killed_leaves_whole_bundles_and_the_next_one_makes_the_rest() {
    let home = home();
    for name in ["a.vhd", "b.vhd"] {
        std::fs::copy(home.path().join("ws2022.vhd"), home.path().join(name)).unwrap();
    }
    let path = recipe(home.path(), "minimal");
    let out = home.path().join("recipes/minimal/out");
    let options = ["--set", "source.0.image=../../?.vhd", "--jobs", "1", "--json"];
    run(&path, &options[..4]).expect(0);
    let undisturbed = digests(&out);
    let lock = home.path().join("recipes/minimal/recipe.lock");
    let mut kept = 0;
    for delay in [30, 90, 150, 220, 300, 400, 500, 650] {
        std::fs::remove_dir_all(&out).unwrap();
        std::fs::remove_file(&lock).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_coldforge"))
            .args(["run", &path])
            .args(options)
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        for name in ["minimal-1.0.0-a", "minimal-1.0.0-b"] {
            if out.join(name).exists() {
                coldforge(["verify", text(&out.join(name))]).expect(0);
            }
        }
        let rest = run(&path, &options[..4]).expect(0).json();
        kept += rest["images"].as_array().unwrap().iter().filter(|image| image["status"] == "unchanged").count();
        assert_eq!(digests(&out), undisturbed, "killed after {delay} ms");
    }
    eprintln!("{kept} bundles of killed runs were kept");
}

#[test]
fn the_template_is_a_recipe_and_a_review_tells_all_of_it() {
    let home = home();
    let path = home.path().join("recipe.toml");
    coldforge(["recipe", "init", text(&path)]).expect(0);
    let set = ["--set", "source.0.image=ws2022.vhd"];
    coldforge([&["recipe", "lint", text(&path)], &set[..]].concat()).expect(0);
    let full = recipe(home.path(), "full");
    let review = coldforge(["recipe", "review", &full]).expect(0).out;
    for part in
        ["ws2022.vhd", "web-server-1.2.0-20348", "acme-baseline", "acme-scripts", "services-kept", "111122223333"]
    {
        assert!(review.contains(part), "{part}: {review}");
    }
}

#[test]
fn one_recipe_makes_four_releases_into_four_bundles_and_one_summary() {
    let home = home();
    let images = home.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let releases = ["ws2016", "ws2019", "ws2022", "ws2025"];
    for release in releases {
        if real_image(&images, &format!("{release}.vhd"), &["--os", release, "--size", "1G"]).is_none() {
            return;
        }
    }
    let path = recipe(home.path(), "full");
    let said = std::fs::read_to_string(&path).unwrap();
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("sha256")).collect();
    std::fs::write(&path, said.join("\n").replace("../../ws2022.vhd", "../../images/*.vhd")).unwrap();
    let run = run(&path, &[]).expect(0).json();
    let built = run["images"].as_array().unwrap();
    assert_eq!(built.len(), 4);
    for (image, release) in built.iter().zip(releases) {
        assert!(image["source"].as_str().unwrap().contains(release) && image["status"] == "built", "{image:#}");
        assert!(image["tests"].as_array().unwrap().iter().all(|test| test["passed"] == true), "{image:#}");
        assert!(Path::new(image["bundle"].as_str().unwrap()).join("aws/distribution.json").is_file());
    }
    let again = coldforge(["run", &path, "--only-if-changed", "--json"]).expect(0).json();
    assert!(again["images"].as_array().unwrap().iter().all(|image| image["status"] == "unchanged"), "{again:#}");
}

#[test]
fn the_schema_takes_every_recipe_and_refuses_what_the_reader_refuses() {
    let Some(validators) = validators("bin/python") else { return };
    let home = home();
    let schema = home.path().join("schema.json");
    std::fs::write(&schema, coldforge(["recipe", "schema"]).expect(0).out).unwrap();
    let begun = home.path().join("begun.toml");
    coldforge(["recipe", "init", text(&begun)]).expect(0);
    let judge = |recipe: &Path| {
        let code = "import json, sys, tomllib, jsonschema\n\
                    schema = json.load(open(sys.argv[1]))\n\
                    jsonschema.Draft202012Validator.check_schema(schema)\n\
                    jsonschema.Draft202012Validator(schema).validate(tomllib.load(open(sys.argv[2], 'rb')))";
        ask(text(&validators.join("bin/python")), &["-c", code, text(&schema), text(recipe)]).status.success()
    };
    let full = PathBuf::from(recipe(home.path(), "full"));
    for path in [recipe(home.path(), "minimal").into(), recipe(home.path(), "baseline").into(), full.clone(), begun] {
        assert!(judge(&path), "{}", path.display());
    }
    let said = std::fs::read_to_string(&full).unwrap();
    for (old, new) in [
        ("level = \"high\"", "level = \"utmost\""),
        ("[tests]", "[tests]\nruns = []"),
        ("name = \"web-server\"", "name = \"web server\""),
        ("version = \"1.2.0\"", "version = \"1.2\""),
        ("scripts = \"translate\"", "scripts = \"run\""),
        ("free_bytes = 10485760", "free_bytes = \"much\""),
    ] {
        let other = said.replace(old, new);
        assert_ne!(other, said, "{old}");
        std::fs::write(&full, other).unwrap();
        assert!(!judge(&full), "{new}");
        coldforge(["recipe", "lint", text(&full)]).expect(3);
    }
}
