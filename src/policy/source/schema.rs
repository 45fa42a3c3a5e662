//! The JSON Schema of the rule document.

/// The JSON Schema (2020-12) of a rule document, as it stands in TOML or JSON.
pub const SCHEMA: &str = include_str!("schema.json");
