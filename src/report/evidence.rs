//! What reports are made of: findings and changes, as the assessment document and the audit log tell them.

use serde::Deserialize;
use serde_json::Value as Json;

use super::text::{line, plain, uuid};
use crate::audit;
pub use crate::policy::Status;
use crate::policy::{Benchmark, Catalog, Official, Severity, Waiver};
use crate::windows::setting::Setting;
use coldforge_base::digest::Digest;

/// Everything that a report tells.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The program that assessed.
    pub tool: Program,
    /// The moment, as RFC 3339, if a log tells it.
    pub started: Option<String>,
    /// The image's file name.
    pub image: String,
    /// The machine's name, or the image's where its hives tell none.
    pub host: String,
    /// Product and build.
    pub product: String,
    /// `workstation`, `member_server` or `domain_controller`.
    pub role: String,
    /// The benchmark.
    pub benchmark: Benchmark,
    /// The benchmarks that were assessed beside it, each with its identifier in DISA's files.
    pub components: Vec<(Benchmark, String)>,
    /// What the result covers, one sentence each: benchmarks, policies and components with digests and counts, what was
    /// left out, and what a benchmark file lacks.
    pub scope: Vec<String>,
    /// One for each rule.
    pub findings: Vec<Finding>,
    /// What a hardening run did, if there was one.
    pub run: Option<Run>,
    /// What Amazon would say of the image, if that was asked.
    pub preflight: Option<Preflight>,
    /// The benchmark's identifier in DISA's files, if the catalog tells.
    stig_id: Option<String>,
    /// The benchmark's own texts, by STIG id.
    texts: Vec<(String, Texts)>,
}

/// What Amazon would say of an image.
#[derive(Clone, Debug, Deserialize)]
pub struct Preflight {
    /// `import-image` or `snapshot`.
    pub route: String,
    /// The checks.
    pub checks: Vec<PreflightCheck>,
}

/// A check of the preflight.
#[derive(Clone, Debug, Deserialize)]
pub struct PreflightCheck {
    /// `P01` to `P48`.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// `pass`, `warn`, `fail` or `unknown`.
    pub verdict: String,
    /// What was found.
    pub found: String,
    /// What to do.
    pub hint: String,
}

/// A program and its version.
#[derive(Clone, Debug, Deserialize)]
pub struct Program {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
}

/// What came of a rule.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The group's id.
    pub vuln_id: String,
    /// The rule's id with its revision.
    pub rule_id: String,
    /// The STIG id.
    pub stig_id: String,
    /// The severity.
    pub severity: Severity,
    /// The id of the component that the rule belongs to; `None` for the main benchmark.
    pub component: Option<String>,
    /// What the rule is about.
    pub kind: String,
    /// What holds when the rule is met.
    pub title: String,
    /// What came of it.
    pub status: Status,
    /// The setting.
    pub setting: Option<String>,
    /// What was found.
    pub found: Option<String>,
    /// What was demanded.
    pub required: Option<String>,
    /// The file that holds the setting.
    pub file: Option<String>,
    /// Why the status is what it is.
    pub reason: Option<String>,
    /// The organization's decision to leave the rule unmet.
    pub waiver: Option<Waiver>,
}

/// What a hardening run did.
#[derive(Clone, Debug)]
pub struct Run {
    /// The image as it was.
    pub source: Image,
    /// The image as it is.
    pub output: Image,
    /// What was demanded, as the log's header tells it.
    pub policy: Json,
    /// SHA-256 of the catalog's text.
    pub catalog_sha256: String,
    /// SHA-256 of the log.
    pub log_sha256: String,
    /// The settings that were changed.
    pub changes: Vec<Change>,
    /// How many rules had each status before, by severity.
    pub before: Vec<(Severity, [usize; 4])>,
    /// What was left open on purpose.
    pub held_back: Vec<Held>,
    /// What is open because nothing could be done about it there.
    pub left_open: Vec<Held>,
    /// What was noticed.
    pub warnings: Vec<String>,
}

/// An image.
#[derive(Clone, Debug, Deserialize)]
pub struct Image {
    /// The file's name.
    pub name: String,
    /// The container.
    pub format: String,
    /// The length of the file.
    pub file_bytes: u64,
    /// The size of the disk that a guest sees.
    pub disk_bytes: u64,
    /// SHA-256 of the file; a run in place does not make it.
    pub sha256: Option<String>,
    /// The checksum of the disk's contents that EBS computes.
    pub ebs_linear: audit::LinearChecksum,
}

impl Image {
    /// Returns the strongest digest that is known, with the name of its kind.
    pub fn digest(&self) -> (&'static str, &str) {
        match &self.sha256 {
            Some(sha256) => ("sha256", sha256),
            None => ("ebsLinearSha256Base64", &self.ebs_linear.sha256_base64),
        }
    }
}

/// A changed setting.
#[derive(Clone, Debug)]
pub struct Change {
    /// The STIG ids of the rules that demanded it.
    pub rules: Vec<String>,
    /// The setting.
    pub setting: String,
    /// What was there, or `absent`.
    pub before: String,
    /// What is there, or `absent`.
    pub after: String,
    /// The file that holds it.
    pub file: String,
}

/// An open rule and why it is open.
#[derive(Clone, Debug, Deserialize)]
pub struct Held {
    /// The rule's STIG id.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// The texts that stand beside a rule's result.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// The rule's title.
    pub title: String,
    /// The group's title.
    pub group: String,
    /// Why the rule is.
    pub discussion: String,
    /// How it is checked.
    pub check: String,
    /// How it is met.
    pub fix: String,
    /// The control correlation identifiers.
    pub ccis: Vec<String>,
    /// The ids of the rule in earlier benchmarks.
    pub legacy_ids: Vec<String>,
}

/// A document from which no report can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not the document that it should be.
    #[error("the assessment document cannot be read")]
    Assessment(#[source] serde_json::Error),
    /// A line of the log lacks what it should hold.
    #[error("a line of the audit log cannot be read")]
    Log(#[source] serde_json::Error),
    /// The chain of the log is broken.
    #[error("{0}")]
    Chain(audit::Fault),

    /// The document of the preflight is none.
    #[error("the preflight document is malformed")]
    Preflight(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct RawAssessment {
    image: String,
    windows: RawWindows,
    benchmark: Benchmark,
    #[serde(default)]
    components: Vec<RawPart>,
    #[serde(default)]
    scope: Vec<String>,
    findings: Vec<RawFinding>,
}

#[derive(Deserialize)]
struct RawWindows {
    computer_name: Option<String>,
    product: String,
    build: u32,
    ubr: Option<u32>,
    role: String,
}

#[derive(Deserialize)]
struct RawPart {
    #[serde(flatten)]
    benchmark: Benchmark,
    xccdf: String,
}

#[derive(Deserialize)]
struct RawFinding {
    vuln_id: String,
    rule_id: String,
    stig_id: String,
    severity: Severity,
    component: Option<String>,
    kind: String,
    title: String,
    status: Status,
    setting: Option<Setting>,
    found: Option<Json>,
    required: Option<String>,
    at: Option<RawPlace>,
    reason: Option<String>,
    waiver: Option<Waiver>,
}

#[derive(Deserialize)]
struct RawPlace {
    file: String,
}

#[derive(Deserialize)]
struct RawHeader {
    tool: Program,
    started: String,
    source: Image,
    policy: Json,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct RawTrailer {
    output: Image,
    #[serde(default)]
    scope: Vec<String>,
    before: Json,
    #[serde(default)]
    held_back: Vec<Held>,
    #[serde(default)]
    left_open: Vec<Held>,
}

#[derive(Deserialize)]
struct RawChange {
    rules: Vec<String>,
    setting: Setting,
    before: Json,
    after: Json,
    file: String,
}

impl Evidence {
    /// Reads the assessment document, and the audit log of the run that led to it if there was one; `catalog` tells the
    /// texts that stand beside the results.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(assessment: &str, log: Option<&str>, catalog: Option<&Catalog>) -> Result<Self, Unreadable> {
        let raw: RawAssessment = serde_json::from_str(assessment).map_err(Unreadable::Assessment)?;
        let RawWindows { computer_name, product, build, ubr, role } = raw.windows;
        let ubr = ubr.map_or_else(String::new, |ubr| format!(".{ubr}"));
        let stem = raw.image.rsplit_once('.').map_or(raw.image.as_str(), |(stem, _)| stem);
        let mut evidence = Self {
            tool: Program { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            started: None,
            host: computer_name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| stem.to_owned()),
            image: raw.image,
            product: format!("{product} (build {build}{ubr})"),
            role,
            benchmark: raw.benchmark,
            components: raw.components.into_iter().map(|part| (part.benchmark, part.xccdf)).collect(),
            scope: raw.scope,
            findings: raw.findings.into_iter().map(finding).collect(),
            run: None,
            preflight: None,
            stig_id: catalog.map(|catalog| catalog.benchmark.clone()),
            texts: catalog.map(texts).unwrap_or_default(),
        };
        if let Some(log) = log {
            evidence.read_log(log)?;
        }
        Ok(evidence)
    }

    /// Adds the document of a preflight.
    ///
    /// # Errors
    /// [`Unreadable::Preflight`].
    pub fn with_preflight(self, document: &str) -> Result<Self, Unreadable> {
        let preflight = serde_json::from_str(document).map_err(Unreadable::Preflight)?;
        Ok(Self { preflight: Some(preflight), ..self })
    }

    fn read_log(&mut self, log: &str) -> Result<(), Unreadable> {
        let lines = audit::read(log).map_err(Unreadable::Chain)?;
        let of = |kind: &'static str| {
            lines.iter().filter(move |line| line.kind == kind).map(|line| Json::Object(line.object.clone()))
        };
        let (mut header, mut trailer) = (None, None);
        for line in of("header") {
            header = Some(serde_json::from_value::<RawHeader>(line).map_err(Unreadable::Log)?);
        }
        for line in of("trailer") {
            trailer = Some(serde_json::from_value::<RawTrailer>(line).map_err(Unreadable::Log)?);
        }
        let mut changes = Vec::new();
        for line in of("change") {
            let raw: RawChange = serde_json::from_value(line).map_err(Unreadable::Log)?;
            changes.push(Change {
                rules: raw.rules,
                setting: raw.setting.to_string(),
                before: value(&raw.before),
                after: value(&raw.after),
                file: raw.file,
            });
        }
        // The chain is whole, so both are there.
        let (Some(header), Some(trailer)) = (header, trailer) else { return Ok(()) };
        self.tool = header.tool;
        // A run did more than an assessment tells: its components.
        self.scope = trailer.scope;
        self.started = Some(header.started);
        self.run = Some(Run {
            source: header.source,
            output: trailer.output,
            catalog_sha256: header.policy["catalog_sha256"].as_str().unwrap_or_default().to_owned(),
            policy: header.policy,
            log_sha256: Digest::of(log.as_bytes()).to_string(),
            changes,
            before: before(&trailer.before),
            held_back: trailer.held_back,
            left_open: trailer.left_open,
            warnings: header.warnings,
        });
        Ok(())
    }

    /// Returns how many rules have each status, in the order pass, open, not applicable, not reviewed; of one severity
    /// or of all.
    pub fn counts(&self, severity: Option<Severity>) -> [usize; 4] {
        let of = |status| {
            let wanted = |finding: &&Finding| {
                finding.status == status && severity.is_none_or(|severity| finding.severity == severity)
            };
            self.findings.iter().filter(wanted).count()
        };
        [Status::Pass, Status::Open, Status::NotApplicable, Status::NotReviewed].map(of)
    }

    /// Tells whether the run changed something for a rule.
    pub fn is_changed(&self, finding: &Finding) -> bool {
        self.changes(finding).next().is_some()
    }

    /// Returns what the run changed for a rule.
    pub fn changes(&self, finding: &Finding) -> impl Iterator<Item = &Change> {
        let changes = self.run.iter().flat_map(|run| &run.changes);
        changes.filter(|change| change.rules.contains(&finding.stig_id))
    }

    /// Returns what the organization decided of a rule that is open.
    pub fn waiver(&self, finding: &Finding) -> Option<String> {
        let waiver = finding.waiver.as_ref().filter(|_| finding.status == Status::Open)?;
        let words = waiver.to_string();
        let mut letters = words.chars();
        Some(letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect()))
    }

    /// Returns why a rule is open although the run could have changed it, or was asked to.
    pub fn held(&self, finding: &Finding) -> Option<&str> {
        let held = self.run.iter().flat_map(|run| run.held_back.iter().chain(&run.left_open));
        held.filter(|held| held.rule == finding.stig_id).map(|held| held.reason.as_str()).next()
    }

    /// Returns what was seen of a rule, one sentence a line.
    pub fn details(&self, finding: &Finding) -> String {
        let mut lines = Vec::new();
        if let Some(setting) = &finding.setting {
            lines.push(format!("Setting: {setting}"));
        }
        if let Some(found) = &finding.found {
            lines.push(format!("Found: {found}"));
        }
        if let Some(required) = &finding.required {
            lines.push(format!("Required: {required}"));
        }
        if let Some(file) = &finding.file {
            lines.push(format!("File: {file}"));
        }
        if let Some(reason) = &finding.reason {
            lines.push(format!("Reason: {reason}"));
        }
        if let Some(reason) = self.held(finding) {
            lines.push(format!("Left open: {reason}"));
        }
        lines.extend(self.waiver(finding));
        for Change { setting, before, after, .. } in self.changes(finding) {
            lines.push(format!("Changed offline: {setting}: {before} -> {after}"));
        }
        if lines.is_empty() { finding.status.words().to_owned() } else { plain(&lines.join("\n")) }
    }

    /// Returns the texts that stand beside a rule: the benchmark's own where they are known, else ours.
    pub fn texts(&self, finding: &Finding) -> Texts {
        let known = self.texts.iter().find(|(stig_id, _)| *stig_id == finding.stig_id).map(|(_, texts)| texts.clone());
        let mut texts = known.unwrap_or_default();
        let or = |text: &mut String, other: &str| {
            if text.is_empty() {
                other.clone_into(text);
            }
        };
        or(&mut texts.title, &finding.title);
        or(&mut texts.group, &finding.title);
        or(&mut texts.discussion, &finding.title);
        let setting = finding.setting.as_deref().unwrap_or("the machine");
        let required = finding.required.as_deref().unwrap_or("as the benchmark demands");
        or(&mut texts.check, &format!("{setting} is {required}."));
        or(&mut texts.fix, &format!("Make {setting} be {required}."));
        texts
    }

    /// Returns what a checklist's comment says of a rule.
    pub fn comment(&self, finding: &Finding) -> String {
        let who = format!("{} {}, offline", self.tool.name, self.tool.version);
        match finding.status {
            Status::Pass if self.is_changed(finding) => format!("Set by {who}."),
            Status::NotReviewed => format!("Not reviewed by {who}."),
            _ => match self.waiver(finding) {
                Some(waiver) => plain(&format!("Assessed by {who}. {waiver}")),
                None => format!("Assessed by {who}."),
            },
        }
    }

    /// Returns what a checklist's comment says of the machine and of what the result covers.
    pub fn asset_comment(&self) -> String {
        let what = format!("{}, assessed offline in {}", line(&self.product), line(&self.image));
        std::iter::once(what).chain(self.scope.iter().map(|said| line(said))).collect::<Vec<_>>().join("\n")
    }

    /// Returns the evidence of each benchmark by itself: the main one first, each with its own findings.
    pub fn parts(&self) -> Vec<Self> {
        let part = |component: Option<&(Benchmark, String)>| {
            let id = component.map(|(benchmark, _)| &benchmark.id);
            let mut part = self.clone();
            part.findings.retain(|finding| finding.component.as_ref() == id);
            part.components.clear();
            if let Some((benchmark, xccdf)) = component {
                part.benchmark = benchmark.clone();
                part.stig_id = Some(xccdf.clone());
            }
            part
        };
        std::iter::once(part(None)).chain(self.components.iter().map(|component| part(Some(component)))).collect()
    }

    /// Returns the benchmark's identifier in DISA's files.
    pub fn stig_id(&self) -> &str {
        self.stig_id.as_deref().unwrap_or(&self.benchmark.id)
    }

    /// Returns the release as DISA's files write it: `Release: 8 Benchmark Date: 01 Apr 2026`.
    pub fn release_info(&self) -> String {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let Benchmark { release, date, .. } = &self.benchmark;
        let mut parts = date.splitn(3, '-');
        let (year, month, day) = (parts.next(), parts.next(), parts.next());
        let month =
            month.and_then(|month| month.parse::<usize>().ok()).and_then(|month| MONTHS.get(month.checked_sub(1)?));
        match (year, month, day) {
            (Some(year), Some(month), Some(day)) => format!("Release: {release} Benchmark Date: {day} {month} {year}"),
            _ => format!("Release: {release}"),
        }
    }

    /// Returns the role as STIG Viewer names it.
    pub fn role_words(&self) -> &'static str {
        match self.role.as_str() {
            "workstation" => "Workstation",
            "member_server" => "Member Server",
            "domain_controller" => "Domain Controller",
            _ => "None",
        }
    }

    /// Returns what identifiers are made of, so that two runs on two images have different ones.
    pub fn seed(&self) -> String {
        let run = self.run.as_ref().map_or("", |run| run.log_sha256.as_str());
        uuid(&[&self.image, &self.benchmark.to_string(), self.started.as_deref().unwrap_or_default(), run])
    }
}

fn finding(raw: RawFinding) -> Finding {
    Finding {
        vuln_id: raw.vuln_id,
        rule_id: raw.rule_id,
        stig_id: raw.stig_id,
        severity: raw.severity,
        component: raw.component,
        kind: raw.kind,
        title: raw.title,
        status: raw.status,
        setting: raw.setting.map(|setting| setting.to_string()),
        // What was looked at and was not there was found to be absent.
        found: match (&raw.found, &raw.at) {
            (Some(found), _) if !found.is_null() => Some(value(found)),
            (_, Some(_)) => Some("absent".to_owned()),
            _ => None,
        },
        required: raw.required,
        file: raw.at.map(|at| at.file),
        reason: raw.reason,
        waiver: raw.waiver,
    }
}

/// Returns a value of the documents as people read it.
fn value(json: &Json) -> String {
    let data = &json["data"];
    let kind = json["type"].as_str().unwrap_or_default();
    let said = match data {
        Json::Null if json.is_null() => return "absent".to_owned(),
        Json::String(text) => text.clone(),
        Json::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Json::Array(list) if list.is_empty() => match kind {
            "audit" => "No Auditing".to_owned(),
            "sids" => "nobody".to_owned(),
            _ => "an empty list".to_owned(),
        },
        Json::Array(list) => list.iter().map(|one| one.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    // Two values of other bytes can read alike.
    let said = match json["hex"].as_str() {
        Some(hex) => format!("{said} (bytes {hex})"),
        None => said,
    };
    if kind.starts_with("REG_") { format!("{kind} {said}") } else { said }
}

fn before(totals: &Json) -> Vec<(Severity, [usize; 4])> {
    let of = |severity: Severity| {
        let totals = &totals[severity.as_str()];
        let count = |name: &str| totals[name].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        (severity, ["pass", "open", "not_applicable", "not_reviewed"].map(count))
    };
    [Severity::High, Severity::Medium, Severity::Low].map(of).to_vec()
}

fn texts(catalog: &Catalog) -> Vec<(String, Texts)> {
    let of = |rule: &crate::policy::Rule| {
        let Official { requirement, discussion, check, fix, legacy_ids } =
            rule.official.as_deref().cloned().unwrap_or_default();
        let (title, ccis) = (rule.title.clone(), rule.ccis.clone());
        (rule.stig_id.clone(), Texts { title, group: requirement, discussion, check, fix, ccis, legacy_ids })
    };
    catalog.rules.iter().map(of).collect()
}

#[cfg(test)]
pub(super) mod sample {
    use serde_json::json;

    use super::*;

    const RULES: [(&str, &str, &str); 4] = [
        ("1", "high", "pass"),
        ("2", "medium", "open"),
        ("3", "low", "not_applicable"),
        ("4", "medium", "not_reviewed"),
    ];

    /// Returns the evidence of a run whose every text from the image is this one.
    pub(in super::super) fn harden(text: &str) -> Evidence {
        let setting = json!({ "kind": "registry", "key": format!("HKLM\\SOFTWARE\\{text}"), "name": text });
        let value = json!({ "type": "REG_SZ", "data": text });
        let findings: Vec<Json> = RULES
            .iter()
            .map(|(number, severity, status)| {
                json!({
                    "vuln_id": format!("V-{number}"), "rule_id": format!("SV-{number}r1_rule"),
                    "stig_id": format!("T-{number}"), "severity": severity, "kind": "registry", "title": "A title",
                    "status": status, "setting": setting, "found": value, "required": "5",
                    "at": { "file": format!("\\Windows\\{text}"), "cell": 32 }, "reason": text,
                })
            })
            .collect();
        let assessment = json!({
            "image": format!("{text}.vhd"), "windows": {
                "computer_name": text, "product": text, "build": 20348, "ubr": 587, "role": "member_server",
            },
            "benchmark": { "id": "ws2022", "title": "Windows", "version": 2, "release": 8, "date": "2026-04-01" },
            "findings": findings,
        });
        let mut evidence = Evidence::read(&assessment.to_string(), None, None).unwrap();
        evidence.scope = vec![format!("component {text} (SHA-256 00): 1 settings changed")];
        let ebs_linear = audit::LinearChecksum { sha256_base64: "AA==".into(), blocks: 1 };
        let image =
            Image { name: text.into(), format: "vhd".into(), file_bytes: 1, disk_bytes: 1, sha256: None, ebs_linear };
        evidence.started = Some("2026-01-01T00:00:00Z".into());
        evidence.run = Some(Run {
            source: image.clone(),
            output: image,
            policy: json!({ "level": "high" }),
            catalog_sha256: "00".into(),
            log_sha256: "00".into(),
            changes: vec![Change {
                rules: vec!["T-1".into()],
                setting: text.into(),
                before: text.into(),
                after: text.into(),
                file: text.into(),
            }],
            before: before(&json!({ "high": { "open": 1 } })),
            held_back: vec![Held { rule: "T-2".into(), reason: text.into() }],
            left_open: Vec::new(),
            warnings: vec![text.into()],
        });
        evidence
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_as_people_say_them() {
        for (json, expected) in [
            (Json::Null, "absent"),
            (json!({ "type": "REG_DWORD", "data": 5 }), "REG_DWORD 5"),
            (json!({ "type": "REG_MULTI_SZ", "data": ["a", "b"] }), "REG_MULTI_SZ a, b"),
            (json!({ "type": "REG_SZ", "data": "a", "hex": "6100" }), "REG_SZ a (bytes 6100)"),
            (json!({ "type": "flag", "data": false }), "no"),
            (json!({ "type": "audit", "data": [] }), "No Auditing"),
            (json!({ "type": "audit", "data": ["success", "failure"] }), "success, failure"),
            (json!({ "type": "sids", "data": [] }), "nobody"),
        ] {
            assert_eq!(value(&json), expected);
        }
    }

    #[test]
    fn a_finding_tells_what_was_changed_for_it() {
        let evidence = sample::harden("x");
        assert!(evidence.details(&evidence.findings[0]).ends_with("Changed offline: x: x -> x"));
        assert!(evidence.details(&evidence.findings[1]).contains("Left open: x"));
        assert_eq!(evidence.counts(None), [1, 1, 1, 1]);
        assert_eq!(evidence.counts(Some(Severity::Medium)), [0, 1, 0, 1]);
    }

    #[test]
    fn a_document_of_another_shape_is_refused() {
        assert!(matches!(Evidence::read("{}", None, None), Err(Unreadable::Assessment(_))));
        let assessment = "{\"image\":\"a\",\"windows\":{\"product\":\"p\",\"build\":1,\"role\":\"r\"},\"benchmark\":{\"id\":\"i\",\
            \"title\":\"t\",\"version\":1,\"release\":1,\"date\":\"d\"},\"findings\":[]}";
        assert_eq!(Evidence::read(assessment, None, None).unwrap().host, "a");
        assert!(matches!(Evidence::read(assessment, Some("{}\n"), None), Err(Unreadable::Chain(_))));
    }
}
