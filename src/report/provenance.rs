//! An in-toto statement about the hardened image, with SLSA provenance 1.0 as its predicate: from what, by what, and as
//! whom asked it was made. It is unsigned: who signs it wraps it in an envelope.

use serde_json::{Value, json};

use super::evidence::Evidence;
use super::text::line;

/// Returns the statement; `None` if no image was written.
pub(super) fn document(evidence: &Evidence) -> Option<Value> {
    let run = evidence.run.as_ref()?;
    let (source, output) = (run.source.digest(), run.output.digest());
    let mut dependencies = vec![
        json!({ "name": line(&run.source.name), "digest": { source.0: source.1 } }),
        json!({ "name": evidence.benchmark.id, "digest": { "sha256": run.catalog_sha256 } }),
    ];
    for (kind, member) in [("policy", "policies"), ("component", "components")] {
        for one in run.policy[member].as_array().into_iter().flatten() {
            let name = format!("{kind} {}", line(one["name"].as_str().unwrap_or_default()));
            dependencies.push(json!({ "name": name, "digest": { "sha256": one["sha256"] } }));
        }
    }
    Some(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": line(&run.output.name), "digest": { output.0: output.1 } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://github.com/coldforge/harden/v1",
                "externalParameters": run.policy,
                "internalParameters": { "scope": evidence.scope.iter().map(|said| line(said)).collect::<Vec<_>>() },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {
                    "id": format!("https://github.com/coldforge/{}", evidence.tool.name),
                    "version": { evidence.tool.name.clone(): evidence.tool.version },
                },
                "metadata": { "startedOn": evidence.started },
                "byproducts": [{ "name": "audit.jsonl", "digest": { "sha256": run.log_sha256 } }],
            },
        },
    }))
}
