//! An in-toto statement about the hardened image, with SLSA provenance 1.0 as its predicate: from what, by what, and as
//! whom asked it was made. It is unsigned: who signs it wraps it in an envelope.

use serde_json::{Value, json};

use super::evidence::Evidence;
use super::text::line;

/// Returns the statement; `None` if no image was written.
pub(super) fn document(evidence: &Evidence) -> Option<Value> {
    let run = evidence.run.as_ref()?;
    let (source, output) = (run.source.digest(), run.output.digest());
    Some(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": line(&run.output.name), "digest": { output.0: output.1 } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://github.com/coldforge/harden/v1",
                "externalParameters": run.policy,
                "internalParameters": {},
                "resolvedDependencies": [
                    { "name": line(&run.source.name), "digest": { source.0: source.1 } },
                    { "name": evidence.benchmark.id, "digest": { "sha256": run.catalog_sha256 } },
                ],
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
