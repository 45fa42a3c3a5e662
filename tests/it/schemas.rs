//! JSON Schemas of documents, which a validator that this project did not write holds against the documents themselves.

use std::path::Path;

use crate::support::{ask, coldforge, copy_of, python_with, text};

/// Reads a schema and a document a line; demands that each is valid, and that each is invalid with a member of another
/// type: a schema that takes everything says nothing.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
count = 0
for line in open(sys.argv[2]):
    document = json.loads(line)
    for error in validator.iter_errors(document):
        sys.exit(f"{list(error.absolute_path)}: {error.message}")
    wrong = 0
    for member in document:
        if member == "schema":
            continue
        changed = dict(document)
        changed[member] = {"no": "such"} if not isinstance(document[member], dict) else 7
        wrong += not validator.is_valid(changed)
    if wrong < len(document) // 2:
        sys.exit(f"only {wrong} of {len(document)} members are held by the schema")
    count += 1
print(count)
"#;

fn validate(home: &Path, name: &str, documents: &str) -> u64 {
    let python = python_with("jsonschema").expect("the caller asked for it");
    let (schema, file) = (home.join(format!("{name}.schema.json")), home.join(format!("{name}.jsonl")));
    std::fs::write(&schema, coldforge(["schema", name]).expect(0).out).unwrap();
    std::fs::write(&file, documents).unwrap();
    let told = ask(text(&python), &["-c", VALIDATE, text(&schema), text(&file)]);
    assert!(told.status.success(), "{name}: {}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8_lossy(&told.stdout).trim().parse().unwrap()
}

#[test]
fn documents_of_a_run_are_valid_by_their_schemas() {
    if python_with("jsonschema").is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let image = copy_of("ws2022.vhd", home.path());
    let out = home.path().join("out");
    let run = coldforge(["--json", "harden", text(&image), "-o", text(&out), "--fail-on", "none"]).expect(0).json();
    let file = |path: &str| std::fs::read_to_string(out.join(path)).unwrap();
    let one_line = |document: &str| serde_json::from_str::<serde_json::Value>(document).unwrap().to_string() + "\n";
    assert_eq!(validate(home.path(), "run", &(run.to_string() + "\n")), 1);
    assert_eq!(validate(home.path(), "assessment", &one_line(&file("reports/assessment.json"))), 1);
    assert_eq!(validate(home.path(), "preflight", &one_line(&file("aws/preflight.json"))), 1);
    let lines = file("audit.jsonl");
    assert_eq!(validate(home.path(), "audit", &lines), lines.lines().count() as u64);
}

#[test]
fn every_schema_is_printed() {
    for name in ["assessment", "audit", "policy", "preflight", "recipe", "run"] {
        let schema = coldforge(["schema", name]).expect(0).json();
        assert!(schema["$schema"].is_string() && schema["title"].is_string(), "{name}: {schema}");
    }
    coldforge(["schema", "nothing"]).expect(2);
}
