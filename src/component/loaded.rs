//! A component that was read together with the files, downloads and policies that its document names.

use std::collections::BTreeMap;
use std::path::Path;

use super::attachments::{self, Attachments};
use super::document::Document;
use super::fault::{Fault, Flaw, Position};
use super::yaml::Node;
use super::{Error, Result, download};
use crate::audit::ComponentRecord;
use crate::policy::Level;
use crate::policy::source::Source;
use crate::windows::setting::Content;
use coldforge_base::digest::Digest;
use coldforge_base::fs;

/// The largest document.
const LIMIT_BYTES: u64 = 1 << 20;

/// How the label of a step ends that applies a policy.
pub(super) const POLICY: &str = "(ApplyPolicy)";

/// What the labels of components begin with; no id of a rule or a check does.
const LABEL: &str = "component ";

/// A component document with the values of its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Component {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) sha256: Digest,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) document: Document,
    /// The attachments that its steps name.
    pub(super) attachments: Attachments,
    /// Whether its downloads were read with it.
    pub(super) has_downloads: bool,
    /// The policies that it applies.
    pub(super) policies: Vec<Source>,
}

/// What a component requests for the whole run: the STIG, its level, and additional STIGs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct StigRequest {
    /// The STIG's release, unless it is the one that fits.
    pub release: Option<String>,
    /// The level.
    pub level: Option<Level>,
    /// Additional STIGs.
    pub with: Vec<String>,
    /// The position of the request in the document.
    pub at: Position,
}

impl Component {
    /// Reads a document. `name` is what it is called where it has no name of its own; `parameters` are values for its
    /// parameters, of which others take no notice.
    ///
    /// # Errors
    /// Every fault, in the order of the text.
    pub fn parse(
        name: &str,
        text: &str,
        parameters: &BTreeMap<String, String>,
    ) -> std::result::Result<Self, Vec<Fault>> {
        let document = Document::parse(text)?;
        let known = |name: &String| document.parameters.iter().any(|(parameter, _)| parameter == name);
        let given = parameters.iter().filter(|(name, _)| known(name));
        let parameters = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self {
            name: document.name.clone().unwrap_or_else(|| name.to_owned()),
            sha256: Digest::of(text.as_bytes()),
            text: text.to_owned(),
            parameters,
            document,
            attachments: Attachments::new(),
            has_downloads: false,
            policies: Vec::new(),
        })
    }

    /// Reads a document from a file, with its attachments, and with its downloads if a mirror folder is given: there,
    /// `s3://BUCKET/KEY` is `BUCKET/KEY`, and `https://HOST/PATH` is `HOST/PATH`.
    ///
    /// # Errors
    /// [`Error::Faults`] with the first thing that is wrong; what is wrong with the file, or with a policy that it
    /// names.
    pub fn from_path(path: &Path, parameters: &BTreeMap<String, String>, downloads: Option<&Path>) -> Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(path, LIMIT_BYTES)?;
        // The parser reports bytes that are not UTF-8, with their position.
        let mut component = Self::read(&name, &String::from_utf8_lossy(&bytes), parameters)?;
        let home = path.parent().filter(|home| !home.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |fault: Fault| component.error(1, fault);
        let mut attachments = attachments::read(&component.document, home).map_err(failed)?;
        if let Some(mirror) = downloads {
            let names = component.names().map_err(failed)?;
            download::read(&component.document, &names, mirror, &mut attachments).map_err(failed)?;
        }
        let mut policies = Vec::new();
        for input in component.inputs_of("ApplyPolicy") {
            let source = input.get("source").and_then(Node::text).unwrap_or_default();
            let wrong = |why: &str| failed(Fault::new(input.at, Flaw::Path, format!("{source:?} {why}")));
            policies.push(Source::from_path(&home.join(attachments::relative(source).map_err(wrong)?))?);
        }
        component.stig_request()?;
        (component.attachments, component.policies, component.has_downloads) =
            (attachments, policies, downloads.is_some());
        Ok(component)
    }

    /// Returns the digests of everything that was read for it, by name.
    pub(crate) fn digests(&self) -> Vec<(String, Digest)> {
        let own = std::iter::once((self.name.clone(), self.sha256));
        let attachments = self.attachments.iter().map(|(path, content)| (path.clone(), content.sha256));
        let policies = self.policies.iter().map(|policy| (policy.name().to_owned(), policy.sha256()));
        own.chain(attachments.chain(policies).map(|(name, digest)| (format!("{} {name}", self.name), digest))).collect()
    }

    /// Returns the policies that it applies.
    pub(crate) fn policies(&self) -> &[Source] {
        &self.policies
    }

    /// Returns what it requests for the whole run.
    ///
    /// # Errors
    /// [`Error::Faults`] for a word that is none.
    pub(crate) fn stig_request(&self) -> Result<StigRequest> {
        let mut stig_request = StigRequest::default();
        for input in self.inputs_of("ApplyStig") {
            let text = |name: &str| input.get(name).and_then(Node::text);
            stig_request.at = input.at;
            stig_request.release =
                text("release").filter(|release| *release != "auto").map(str::to_owned).or(stig_request.release);
            if let Some(level) = text("level") {
                let fault = || Fault::new(input.at, Flaw::Word, format!("`{level}` instead of low, medium or high"));
                stig_request.level = Some(level.parse().map_err(|_| self.error(1, fault()))?);
            }
            let with = input.get("with").and_then(Node::list).unwrap_or_default();
            stig_request.with.extend(with.iter().filter_map(Node::text).map(str::to_owned));
        }
        Ok(stig_request)
    }

    /// Returns the files that it brings.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Content> {
        self.attachments.values()
    }

    /// Takes the bytes of the files that it brings from where a bundle keeps them; tells whether all are there.
    pub(crate) fn take_files(&mut self, read: &dyn Fn(Digest) -> Option<Vec<u8>>) -> bool {
        self.attachments.values_mut().all(|content| {
            let found = read(content.sha256).map(Content::of).filter(|found| found == content);
            content.data = found.and_then(|found| found.data);
            content.data.is_some()
        })
    }

    pub(super) fn inputs_of(&self, action: &'static str) -> impl Iterator<Item = &Node> {
        let steps = self.document.phases.iter().flat_map(|phase| &phase.steps);
        steps.filter(move |step| step.action == action).flat_map(|step| &step.inputs)
    }

    /// Reads a document, as [`Component::parse`] does.
    ///
    /// # Errors
    /// [`Error::Faults`] with the first thing that is wrong.
    pub fn read(name: &str, text: &str, parameters: &BTreeMap<String, String>) -> Result<Self> {
        Self::parse(name, text, parameters).map_err(|faults| {
            let first = faults.first().cloned();
            let first = first.unwrap_or_else(|| Fault::new(Position::default(), Flaw::Yaml, "nothing"));
            Error::Faults { name: format!("{LABEL}{name}"), count: faults.len(), first }
        })
    }

    /// Returns what it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names of its parameters, each with its default.
    pub fn parameters(&self) -> &[(String, Option<String>)] {
        &self.document.parameters
    }

    /// Returns a warning for each value that looks like a secret: the bundle records every value.
    pub(crate) fn secrets(&self) -> Vec<String> {
        const WORDS: [&str; 6] = ["password", "passwd", "pwd", "secret", "token", "credential"];
        let parameters = self.document.parameters.iter().map(|(name, _)| name);
        let names = parameters.chain(self.document.constants.iter().map(|(name, _)| name));
        let is_secret = |name: &&String| WORDS.iter().any(|word| name.to_ascii_lowercase().contains(word));
        let warn = |name: &String| {
            format!("W-SECRET: `{name}` of {LABEL}{} is recorded in the audit log, as every value is", self.name)
        };
        names.filter(is_secret).map(warn).collect()
    }

    /// Returns its phases, each with its number of steps.
    pub fn phases(&self) -> Vec<(&str, usize)> {
        self.document.phases.iter().map(|phase| (phase.name.as_str(), phase.steps.len())).collect()
    }

    /// Returns its parameters and constants by their names.
    pub(super) fn names(&self) -> std::result::Result<BTreeMap<String, String>, Fault> {
        let mut names: BTreeMap<String, String> = self.document.constants.iter().cloned().collect();
        for (name, default) in &self.document.parameters {
            let missing = || Fault::new(Position::default(), Flaw::Parameter, format!("`{name}`: give it one"));
            let value = self.parameters.get(name).or(default.as_ref()).ok_or_else(missing)?;
            names.insert(name.clone(), value.clone());
        }
        Ok(names)
    }

    /// Returns the error that names the component with its first fault.
    pub(crate) fn error(&self, count: usize, first: Fault) -> Error {
        Error::Faults { name: format!("{LABEL}{}", self.name), count, first }
    }

    /// Returns what the log names a step: the component with the head of its digest, the phase, the step.
    pub(super) fn label(&self, phase: &str, step: &str) -> String {
        let digest = self.sha256.to_string();
        format!("{LABEL}{}@{} {phase}.{step}", self.name, digest.get(..12).unwrap_or(&digest))
    }

    /// Returns the component as the audit log records it.
    pub(crate) fn record(&self) -> ComponentRecord {
        ComponentRecord {
            name: self.name.clone(),
            sha256: self.sha256,
            text: self.text.clone(),
            parameters: self.parameters.clone(),
            files: self.attachments.clone(),
        }
    }

    /// Rebuilds components from what [`Component::record`] wrote; `None` if a record is malformed, or its text has
    /// another digest.
    pub(crate) fn from_records(recorded: &[ComponentRecord]) -> Option<Vec<Self>> {
        let one = |record: &ComponentRecord| {
            let mut component = Self::parse(&record.name, &record.text, &record.parameters).ok()?;
            component.attachments = record.files.clone();
            // What it downloads was there when it was recorded, or it would not have been carried out.
            component.has_downloads = true;
            (component.sha256 == record.sha256 && component.name == record.name).then_some(component)
        };
        recorded.iter().map(one).collect()
    }
}

/// Returns whether a name in a plan is a component's.
pub(crate) fn is_label(rule: &str) -> bool {
    rule.starts_with(LABEL)
}
