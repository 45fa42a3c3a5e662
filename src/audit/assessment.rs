//! The assessment as a document: `reports/assessment.json` of a bundle, and what `scan --json` prints.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::formats::json;
use crate::policy::{Assessment, Held};
use crate::windows::setting::Identity;

/// The schema of the document.
const SCHEMA: &str = "coldforge/assessment/1";

/// An assessment as one JSON document (`coldforge/assessment/1`).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct AssessmentDocument<'a> {
    /// `coldforge/assessment/1`.
    pub schema: Cow<'static, str>,
    /// The image's file name.
    pub image: Cow<'a, str>,
    /// The machine in it.
    pub windows: Cow<'a, Identity>,
    /// What was found.
    #[serde(flatten)]
    pub assessment: Cow<'a, Assessment>,
    /// Of a scan: what a hardening run would leave open on purpose. A run's is in its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<Cow<'a, [Held]>>,
}

impl<'a> AssessmentDocument<'a> {
    /// Returns the document about the machine in an image of this file name.
    pub fn new(image: &'a str, windows: &'a Identity, assessment: &'a Assessment) -> Self {
        Self {
            schema: Cow::Borrowed(SCHEMA),
            image: Cow::Borrowed(image),
            windows: Cow::Borrowed(windows),
            assessment: Cow::Borrowed(assessment),
            held_back: None,
        }
    }

    /// Returns the document with what a hardening run would leave open on purpose.
    pub fn holding_back(self, held_back: &'a [Held]) -> Self {
        Self { held_back: Some(Cow::Borrowed(held_back)), ..self }
    }

    /// Returns the document as a file holds it.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::file(self)
    }
}
