//! `coldforge schema NAME`: the JSON Schema of a document.

use clap::{Args, ValueEnum};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::ui::Ui;
use super::{Result, Verdict};
use crate::audit::{AssessmentDocument, PreflightDocument, Record};
use crate::harden::RunDocument;
use crate::imagebuilder::recipe;
use crate::policy::source;

/// Print the JSON Schema of a document
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coldforge schema assessment      what scan --json prints, and reports/assessment.json of a bundle
  coldforge schema audit           a line of audit.jsonl
  coldforge schema recipe          a recipe, for an editor that completes fields")]
pub(super) struct Arguments {
    /// The document
    #[arg(value_enum)]
    name: Name,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Name {
    /// What scan --json prints; reports/assessment.json of a bundle
    Assessment,
    /// A line of audit.jsonl
    Audit,
    /// A policy of your own
    Policy,
    /// What preflight --json prints; aws/preflight.json of a bundle
    Preflight,
    /// A recipe
    Recipe,
    /// What harden --json prints
    Run,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    match arguments.name {
        Name::Policy => ui.data(source::SCHEMA),
        Name::Recipe => ui.data(recipe::SCHEMA),
        Name::Assessment => ui.document(&schema::<AssessmentDocument<'_>>()),
        Name::Audit => ui.document(&audit()),
        Name::Preflight => ui.document(&schema::<PreflightDocument<'_>>()),
        Name::Run => ui.document(&schema::<RunDocument<'_>>()),
    }
    Ok(Verdict::Done)
}

fn schema<T: JsonSchema>() -> Schema {
    SchemaGenerator::default().into_root_schema_for::<T>()
}

/// Returns the schema of a line of the log: a record with its place in the chain.
fn audit() -> Schema {
    let mut schema = schema::<Record>();
    schema.insert(
        "properties".to_owned(),
        serde_json::json!({
            "seq": { "type": "integer", "minimum": 0, "description": "The number of the line, from 0" },
            "prev": { "$ref": "#/$defs/Sha256", "description": "The hash of the line before; 64 zeros in the first" },
            "hash": {
                "$ref": "#/$defs/Sha256",
                "description": "SHA-256 of the line's bytes before the final ,\"hash\":\"",
            },
        }),
    );
    schema.insert("required".to_owned(), serde_json::json!(["seq", "prev", "hash"]));
    schema
}
