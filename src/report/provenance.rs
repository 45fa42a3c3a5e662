//! An in-toto statement about the hardened image, with SLSA provenance 1.0 as its predicate: from what, by what, and as
//! whom asked it was made. It is unsigned: who signs it wraps it in an envelope.

use serde_json::{Value, json};

use super::evidence::Evidence;
use super::text::line;
use crate::audit::ImageRecord;

/// Returns the statement; `None` if no image was written.
pub(super) fn document(evidence: &Evidence) -> Option<Value> {
    let log = evidence.log.as_ref()?;
    let (source, output, policy) = (&log.header.source, &log.trailer.output, &log.header.policy);
    let digest = |image: &ImageRecord| {
        let (kind, digest) = image.digest();
        json!({ kind: digest })
    };
    let mut dependencies = vec![
        json!({ "name": line(&source.name), "digest": digest(source) }),
        json!({ "name": evidence.benchmark.id, "digest": { "sha256": policy.catalog_sha256 } }),
    ];
    let policies = policy.policies.iter().map(|policy| ("policy", &policy.name, policy.sha256));
    let components = policy.components.iter().map(|component| ("component", &component.name, component.sha256));
    for (kind, name, sha256) in policies.chain(components) {
        let name = format!("{kind} {}", line(name));
        dependencies.push(json!({ "name": name, "digest": { "sha256": sha256 } }));
    }
    Some(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": line(&output.name), "digest": digest(output) }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://github.com/coldforge/harden/v1",
                "externalParameters": policy,
                "internalParameters": { "scope": evidence.scope.iter().map(|said| line(said)).collect::<Vec<_>>() },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {
                    "id": format!("https://github.com/coldforge/{}", evidence.tool.name),
                    "version": { evidence.tool.name.to_string(): evidence.tool.version },
                },
                "metadata": { "startedOn": evidence.started },
                "byproducts": [{ "name": "audit.jsonl", "digest": { "sha256": log.sha256 } }],
            },
        },
    }))
}
