//! What a run did, as a document: what `harden --json` prints.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use super::job::{BundleSummary, Outcome, Timings};
use crate::audit::{Holds, LinearChecksum, PreflightTotals, SecondOpinion};
use crate::component::StepReport;
use crate::policy::{Applied, Benchmark, Held, Summary};
use crate::windows::setting::{Identity, Setting, Value};
use coldforge_base::digest::Digest;

/// What a run did (`coldforge/run/1`).
#[derive(Debug, JsonSchema, Serialize)]
pub struct RunDocument<'a> {
    /// `coldforge/run/1`.
    schema: &'static str,
    /// The machine.
    windows: &'a Identity,
    /// The benchmark.
    benchmark: &'a Benchmark,
    /// What was noticed, each with its code.
    warnings: &'a [String],
    /// What the result covers, one sentence each.
    scope: &'a [String],
    /// The assessment before.
    before: Totals<'a>,
    /// The assessment after, made anew.
    after: Totals<'a>,
    /// How many settings were changed.
    changes: usize,
    /// The settings that were changed.
    changed: Vec<Changed<'a>>,
    /// What the rules ask for and was not done on purpose.
    held_back: &'a [Held],
    /// What the rules ask for and the organization waived.
    waived: &'a [Held],
    /// What the rules ask for and cannot be done offline.
    left_open: &'a [Held],
    /// What setup may set anew when the image starts.
    at_risk: &'a [Held],
    /// What became of each step of the components.
    components: &'a [StepReport],
    /// The bundle; null in a dry run.
    bundle: Option<BundleOf<'a>>,
    /// How many checks of the preflight have each verdict.
    preflight: PreflightOf,
    /// The undo journal beside an image that was written in place.
    journal: Option<String>,
    /// What readers that this project did not write found; null in a dry run.
    second_opinion: Option<&'a SecondOpinion>,
    /// The digests; null in a dry run.
    digests: Option<Digests<'a>>,
    /// How long each stage took.
    timings_ms: Timings,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Totals<'a> {
    totals: &'a Summary,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Changed<'a> {
    /// The rules that ask for it.
    rules: &'a [String],
    setting: &'a Setting,
    before: &'a Option<Value>,
    after: &'a Option<Value>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct BundleOf<'a> {
    folder: String,
    /// The image's name in the bundle, or its path where it lies elsewhere.
    image: Cow<'a, str>,
    holds: Holds,
    files: &'a [String],
}

#[derive(Debug, JsonSchema, Serialize)]
struct PreflightOf {
    before: PreflightTotals,
    after: PreflightTotals,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Digests<'a> {
    /// Null where the image was written in place.
    source_sha256: Option<Digest>,
    /// Null where the image was written in place.
    image_sha256: Option<Digest>,
    ebs_linear: &'a LinearChecksum,
}

impl<'a> RunDocument<'a> {
    /// Returns the document about a run.
    pub fn of(outcome: &'a Outcome) -> Self {
        let totals = |summary| Totals { totals: summary };
        Self {
            schema: "coldforge/run/1",
            windows: &outcome.windows,
            benchmark: &outcome.after.benchmark,
            warnings: &outcome.warnings,
            scope: &outcome.scope,
            before: totals(&outcome.before.totals),
            after: totals(&outcome.after.totals),
            changes: outcome.applied.len(),
            changed: outcome.applied.iter().map(changed).collect(),
            held_back: &outcome.held_back,
            waived: &outcome.waived,
            left_open: &outcome.left_open,
            at_risk: &outcome.at_risk,
            components: &outcome.components,
            bundle: outcome.bundle.as_ref().map(bundle),
            preflight: PreflightOf {
                before: outcome.preflight.0.document("").totals,
                after: outcome.preflight.1.document("").totals,
            },
            journal: outcome.journal.as_ref().map(|journal| journal.display().to_string()),
            second_opinion: outcome.second_opinion.as_ref(),
            digests: outcome.output.as_ref().map(|output| Digests {
                source_sha256: outcome.source.as_ref().and_then(|source| source.sha256),
                image_sha256: output.sha256,
                ebs_linear: &output.ebs_linear,
            }),
            timings_ms: outcome.timings_ms,
        }
    }
}

fn changed(applied: &Applied) -> Changed<'_> {
    let Applied { rules, change } = applied;
    Changed { rules, setting: &change.setting, before: &change.before, after: &change.after }
}

fn bundle(bundle: &BundleSummary) -> BundleOf<'_> {
    let image = match bundle.holds {
        Holds::Nothing => bundle.image.to_string_lossy(),
        Holds::Delta | Holds::Image => bundle.image.file_name().unwrap_or_default().to_string_lossy(),
    };
    BundleOf { folder: bundle.folder.display().to_string(), image, holds: bundle.holds, files: &bundle.files }
}
