//! The report of a run as one document: for `--json`, for the history, and for notifications.

use serde_json::{Value as Json, json};

use super::super::sentence::sentence;
use super::run::{Built, Summary};
use coldforge_base::Failure as _;

impl Built {
    /// Returns what became of the image, in one word.
    pub fn status(&self) -> &'static str {
        match (&self.error, self.is_kept, self.is_good()) {
            (Some(_), ..) => "error",
            (None, true, _) => "unchanged",
            (None, false, true) => "built",
            (None, false, false) => "failed",
        }
    }
}

impl Summary {
    /// Returns how the run went, in one word.
    pub fn status(&self) -> &'static str {
        let open = |image: &Built| image.totals.is_some_and(|totals| totals.all.open > 0);
        if self.images.iter().any(|image| image.error.is_some()) {
            "refused"
        } else if !self.images.iter().all(Built::is_good) {
            "failed"
        } else if self.images.iter().any(open) {
            "findings"
        } else {
            "succeeded"
        }
    }

    /// Returns the run's document, schema `coldforge/recipe-run/1`.
    pub fn document(&self) -> Json {
        json!({
            "schema": "coldforge/recipe-run/1",
            "name": self.name,
            "version": self.version,
            "status": self.status(),
            "images": self.images.iter().map(image).collect::<Vec<_>>(),
        })
    }
}

fn image(image: &Built) -> Json {
    json!({
        "source": image.source,
        "status": image.status(),
        "changed_inputs": image.changed,
        "bundle": image.bundle.as_ref().map(|bundle| bundle.display().to_string()),
        "image_sha256": image.sha256,
        "totals": image.totals,
        "changes": image.changes,
        "warnings": image.warnings,
        "steps_left": image.left,
        "tests": image.tests,
        "error": image.error.as_ref().map(|error| json!({
            "kind": error.kind(),
            "code": error.code(),
            "message": sentence(error),
            "hint": error.advice(),
        })),
    })
}
