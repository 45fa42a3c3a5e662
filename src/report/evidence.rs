//! What reports are made of: findings and changes, as the assessment document and the audit log tell them.

use super::text::{line, plain, uuid};
use crate::audit::{self, AssessmentDocument, ChangeRecord, Log, PreflightDocument, Tool};
use crate::formats::json;
use crate::policy::{Benchmark, Catalog, Official, Severity};
pub use crate::policy::{Finding, Status};
use crate::windows::setting::{Data, Role, Value};
use coldforge_base::hex;

/// Everything that a report tells.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The program that assessed.
    pub tool: Tool,
    /// The moment, as RFC 3339, if a log tells it.
    pub started: Option<String>,
    /// The image's file name.
    pub image: String,
    /// The machine's name, or the image's where its hives tell none.
    pub host: String,
    /// Product and build.
    pub product: String,
    /// The part that the machine plays.
    pub role: Role,
    /// The benchmark.
    pub benchmark: Benchmark,
    /// The benchmarks that were assessed beside it, each with its identifier in DISA's files.
    pub components: Vec<(Benchmark, String)>,
    /// What the result covers, one sentence each: benchmarks, policies and components with digests and counts, what was
    /// left out, and what a benchmark file lacks.
    pub scope: Vec<String>,
    /// One for each rule.
    pub findings: Vec<Finding>,
    /// The log of the hardening run, if there was one.
    pub log: Option<Log>,
    /// What Amazon would say of the image, if that was asked.
    pub preflight: Option<PreflightDocument<'static>>,
    /// The benchmark's identifier in DISA's files, if the catalog tells.
    stig_id: Option<String>,
    /// The benchmark's own texts, by STIG id.
    texts: Vec<(String, Texts)>,
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
    /// The chain of the log is broken, or a line lacks what it should hold.
    #[error("{0}")]
    Log(audit::Fault),

    /// The document of the preflight is none.
    #[error("the preflight document is malformed")]
    Preflight(#[source] serde_json::Error),
}

impl Evidence {
    /// Reads the assessment document, and the audit log of the run that led to it if there was one; `catalog` tells the
    /// texts that stand beside the results.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(assessment: &str, log: Option<&str>, catalog: Option<&Catalog>) -> Result<Self, Unreadable> {
        let document = serde_json::from_str(assessment).map_err(Unreadable::Assessment)?;
        let log = log.map(Log::read).transpose().map_err(Unreadable::Log)?;
        Ok(Self::of(document, log, catalog))
    }

    /// Returns the evidence of an assessment, and of the run that led to it if there was one.
    pub fn of(document: AssessmentDocument<'_>, log: Option<Log>, catalog: Option<&Catalog>) -> Self {
        let AssessmentDocument { image, windows, assessment, .. } = document;
        let (windows, assessment) = (windows.into_owned(), assessment.into_owned());
        let ubr = windows.ubr.map_or_else(String::new, |ubr| format!(".{ubr}"));
        let stem = image.rsplit_once('.').map_or(&*image, |(stem, _)| stem);
        let mut evidence = Self {
            tool: Tool::THIS,
            started: None,
            host: windows.computer_name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| stem.to_owned()),
            image: image.into_owned(),
            product: format!("{} (build {}{ubr})", windows.product, windows.build),
            role: windows.role,
            benchmark: assessment.benchmark,
            components: assessment.components.into_iter().map(|part| (part.benchmark, part.xccdf)).collect(),
            scope: assessment.scope,
            findings: assessment.findings,
            log: None,
            preflight: None,
            stig_id: catalog.map(|catalog| catalog.benchmark.clone()),
            texts: catalog.map(texts).unwrap_or_default(),
        };
        if let Some(log) = log {
            evidence.tool = log.header.tool.clone();
            evidence.started = Some(log.header.started.to_string());
            // A run did more than an assessment tells: its components.
            evidence.scope.clone_from(&log.trailer.scope);
            evidence.log = Some(log);
        }
        evidence
    }

    /// Adds the document of a preflight.
    ///
    /// # Errors
    /// [`Unreadable::Preflight`].
    pub fn with_preflight(self, document: &str) -> Result<Self, Unreadable> {
        let preflight = serde_json::from_str(document).map_err(Unreadable::Preflight)?;
        Ok(Self { preflight: Some(preflight), ..self })
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

    /// Returns how many rules of a severity had each status before the run, in the same order.
    pub fn counts_before(&self, severity: Severity) -> Option<[usize; 4]> {
        let before = &self.log.as_ref()?.trailer.before;
        let count = |status| before.count(Some(severity), status);
        Some([Status::Pass, Status::Open, Status::NotApplicable, Status::NotReviewed].map(count))
    }

    /// Tells whether the run changed something for a rule.
    pub fn is_changed(&self, finding: &Finding) -> bool {
        self.changes(finding).next().is_some()
    }

    /// Returns what the run changed for a rule.
    pub fn changes(&self, finding: &Finding) -> impl Iterator<Item = &ChangeRecord> {
        let changes = self.log.iter().flat_map(|log| &log.changes).map(|change| &change.record);
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
        let held = self.log.iter().flat_map(|log| log.trailer.held_back.iter().chain(&log.trailer.left_open));
        held.filter(|held| held.rule == finding.stig_id).map(|held| held.reason.as_str()).next()
    }

    /// Returns what was seen of a rule, one sentence a line.
    pub fn details(&self, finding: &Finding) -> String {
        let mut lines = Vec::new();
        if let Some(setting) = &finding.setting {
            lines.push(format!("Setting: {setting}"));
        }
        if let Some(found) = found(finding) {
            lines.push(format!("Found: {found}"));
        }
        if let Some(required) = &finding.required {
            lines.push(format!("Required: {required}"));
        }
        if let Some(at) = &finding.at {
            lines.push(format!("File: {}", at.file));
        }
        if let Some(reason) = &finding.reason {
            lines.push(format!("Reason: {reason}"));
        }
        if let Some(reason) = self.held(finding) {
            lines.push(format!("Left open: {reason}"));
        }
        lines.extend(self.waiver(finding));
        for ChangeRecord { setting, before, after, .. } in self.changes(finding) {
            lines.push(format!("Changed offline: {setting}: {} -> {}", shown(before.as_ref()), shown(after.as_ref())));
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
        let setting = finding.setting.as_ref().map_or_else(|| "the machine".to_owned(), ToString::to_string);
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
        match self.role {
            Role::Workstation => "Workstation",
            Role::MemberServer => "Member Server",
            Role::DomainController => "Domain Controller",
        }
    }

    /// Returns what identifiers are made of, so that two runs on two images have different ones.
    pub fn seed(&self) -> String {
        let log = self.log.as_ref().map_or_else(String::new, |log| log.sha256.to_string());
        uuid(&[&self.image, &self.benchmark.to_string(), self.started.as_deref().unwrap_or_default(), &log])
    }
}

/// Returns what was found, as people read it; what was looked at and was not there was found to be absent.
pub(super) fn found(finding: &Finding) -> Option<String> {
    match (&finding.found, &finding.at) {
        (None, None) => None,
        (found, _) => Some(shown(found.as_ref())),
    }
}

/// Returns a value as people read it.
pub(super) fn shown(value: Option<&Value>) -> String {
    let list = |list: Vec<String>, empty: &str| if list.is_empty() { empty.to_owned() } else { list.join(", ") };
    match value {
        None => "absent".to_owned(),
        Some(Value::Data(data)) => shown_data(data),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Interval { number, ticks }) => format!("{number} (bytes {})", hex::encode(&ticks.to_le_bytes())),
        Some(Value::Flag(flag)) => if *flag { "yes" } else { "no" }.to_owned(),
        Some(Value::Text(text) | Value::Sddl(text)) => text.clone(),
        Some(Value::Sids(sids)) => list(sids.iter().map(ToString::to_string).collect(), "nobody"),
        Some(Value::Audit(flags)) => list(flags.words().map(str::to_owned).collect(), "No Auditing"),
        Some(Value::Certificate(der)) => hex::encode(der),
        Some(Value::Content(content)) => json::line(content),
        Some(Value::Deletion) => "deleted".to_owned(),
    }
}

/// Returns a registry value as people read it, with its type where Windows names it.
fn shown_data(data: &Data) -> String {
    let number = data.as_dword().map(u64::from).or(data.as_qword()).map(|number| number.to_string());
    let texts = || {
        let texts = data.as_texts()?;
        Some(if texts.is_empty() { "an empty list".to_owned() } else { texts.join(", ") })
    };
    let said = number.or_else(|| data.as_text()).or_else(texts).unwrap_or_else(|| hex::encode(&data.data));
    // Two values of other bytes can read alike.
    let said = if data.is_exact() { said } else { format!("{said} (bytes {})", hex::encode(&data.data)) };
    match data.kind.to_string() {
        kind if kind.starts_with("REG_") => format!("{kind} {said}"),
        _ => said,
    }
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
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;
    use crate::audit::{
        Chain, FileRecord, Header, ImageRecord, LinearChecksum, Policy, Record, SecondOpinion, Trailer,
    };
    use crate::policy::{Held, Summary, Totals};
    use crate::windows::setting::{Identity, Setting};
    use coldforge_base::digest::Digest;
    use coldforge_base::time::Moment;

    const RULES: [(&str, &str, &str); 4] = [
        ("1", "high", "pass"),
        ("2", "medium", "open"),
        ("3", "low", "not_applicable"),
        ("4", "medium", "not_reviewed"),
    ];

    /// Returns a machine whose every text is this one.
    fn machine(text: &str) -> serde_json::Value {
        json!({
            "product": text, "edition": text, "build": 20348, "ubr": 587, "release": text, "installation_type": text,
            "architecture": text, "role": "member_server", "domain_joined": false, "domain": text,
            "computer_name": text, "machine_sid": null, "domain_sid": null, "control_set": 1,
            "setup": "installed",
        })
    }

    /// Returns the assessment document of a scan whose every text from the image is this one.
    pub(in super::super) fn assessment(text: &str) -> String {
        let setting = json!({ "kind": "registry", "key": format!("HKLM\\SOFTWARE\\{text}"), "name": text });
        let value = json!({ "type": "REG_SZ", "data": text });
        let findings: Vec<serde_json::Value> = RULES
            .iter()
            .map(|(number, severity, status)| {
                json!({
                    "vuln_id": format!("V-{number}"), "rule_id": format!("SV-{number}r1_rule"),
                    "stig_id": format!("T-{number}"), "severity": severity, "kind": "registry", "title": "A title",
                    "status": status, "setting": setting, "found": value, "required": "5",
                    "at": { "file": format!("\\Windows\\{text}"), "cell": 32 }, "reason": text, "checks": [],
                })
            })
            .collect();
        let document = json!({
            "schema": "coldforge/assessment/1", "image": format!("{text}.vhd"), "windows": machine(text),
            "benchmark": { "id": "ws2022", "title": "Windows", "version": 2, "release": 8, "date": "2026-04-01" },
            "role": "member_server", "totals": Summary::default(), "findings": findings,
        });
        document.to_string()
    }

    /// Returns the evidence of a run whose every text from the image is this one.
    pub(in super::super) fn harden(text: &str) -> Evidence {
        Evidence::read(&assessment(text), Some(&log(text)), None).unwrap()
    }

    /// Returns the log of a run whose every text from the image is this one.
    fn log(text: &str) -> String {
        let windows: Identity = serde_json::from_value(machine(text)).unwrap();
        let image = ImageRecord {
            name: text.into(),
            format: "vhd".into(),
            file_bytes: 1,
            disk_bytes: 1,
            sha256: None,
            ebs_linear: LinearChecksum { sha256_base64: "AA==".into(), blocks: 1 },
        };
        let policy: Policy = serde_json::from_value(json!({
            "benchmark": { "id": "ws2022", "title": "Windows", "version": 2, "release": 8, "date": "2026-04-01" },
            "catalog_sha256": Digest::of(b""), "level": "high", "role": "auto", "only": [], "skip": [], "values": null,
            "waivers": null, "hold_back": "none", "certificates": {}, "local_gpo": "write", "first_boot": "report",
            "fixes": [], "accept_dirty_hive": false, "volume_check": "full",
        }))
        .unwrap();
        let header = Header {
            schema: Cow::Borrowed(audit::SCHEMA),
            tool: Tool::THIS,
            started: Moment::parse("2026-01-01T00:00:00Z").unwrap(),
            source: image.clone(),
            windows,
            policy,
            aws: None,
            warnings: vec![text.into()],
        };
        let change = ChangeRecord {
            rules: vec!["T-1".into()],
            setting: Setting::Registry { key: text.into(), name: text.into() },
            before: Some(Value::Text(text.into())),
            after: Some(Value::Text(text.into())),
            file: text.into(),
            cell: None,
            extents: Vec::new(),
        };
        let file = FileRecord {
            file: text.into(),
            bytes_before: 1,
            bytes: 1,
            sha256_before: Digest::of(b"a"),
            sha256_after: Digest::of(b"b"),
            extents: Vec::new(),
        };
        let high = Totals { open: 1, ..Totals::default() };
        let trailer = Trailer {
            output: image,
            changes: 1,
            files: 1,
            before: Summary { all: high, high, ..Summary::default() },
            after: Summary::default(),
            scope: vec![format!("component {text} (SHA-256 00): 1 settings changed")],
            held_back: vec![Held { rule: "T-2".into(), reason: text.into() }],
            waived: Vec::new(),
            left_open: Vec::new(),
            at_risk: Vec::new(),
            assessment_sha256: Digest::of(b""),
            benchmark: "Windows V2R8".into(),
            second_opinion: SecondOpinion::default(),
        };
        let mut chain = Chain::default();
        chain.push(&Record::Header(Box::new(header)));
        chain.push(&Record::Change(change));
        chain.push(&Record::File(file));
        chain.push(&Record::Trailer(Box::new(trailer)));
        chain.into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::setting::{AuditFlags, ValueType};
    use coldforge_base::utf16;

    #[test]
    fn values_read_as_people_say_them() {
        let data = |kind, data: &[u8]| Value::Data(Data { kind, data: data.to_vec() });
        let texts = utf16::encode_list(&["a".to_owned(), "b".to_owned()]);
        for (value, expected) in [
            (Value::Data(Data::dword(5)), "REG_DWORD 5"),
            (data(ValueType::DWORD, &[5]), "REG_DWORD 05 (bytes 05)"),
            (data(ValueType::MULTI_SZ, &texts), "REG_MULTI_SZ a, b"),
            (data(ValueType::MULTI_SZ, &[0, 0]), "REG_MULTI_SZ an empty list"),
            (data(ValueType::SZ, &[0x61, 0]), "REG_SZ a (bytes 6100)"),
            (data(ValueType(0x77), &[1]), "01"),
            (Value::Flag(false), "no"),
            (Value::Interval { number: 42, ticks: -1 }, "42 (bytes ffffffffffffffff)"),
            (Value::Audit(AuditFlags::default()), "No Auditing"),
            (Value::Audit(AuditFlags { success: true, failure: true }), "success, failure"),
            (Value::Sids(std::collections::BTreeSet::new()), "nobody"),
        ] {
            assert_eq!(shown(Some(&value)), expected);
        }
        assert_eq!(shown(None), "absent");
    }

    #[test]
    fn a_finding_tells_what_was_changed_for_it() {
        let evidence = sample::harden("x");
        assert!(evidence.details(&evidence.findings[0]).ends_with(": x -> x"));
        assert!(evidence.details(&evidence.findings[1]).contains("Left open: x"));
        assert_eq!(evidence.counts(None), [1, 1, 1, 1]);
        assert_eq!(evidence.counts(Some(Severity::Medium)), [0, 1, 0, 1]);
        assert_eq!(evidence.counts_before(Severity::High), Some([0, 1, 0, 0]));
    }

    #[test]
    fn a_document_of_another_shape_is_refused() {
        assert!(matches!(Evidence::read("{}", None, None), Err(Unreadable::Assessment(_))));
        let assessment = sample::assessment("");
        assert_eq!(Evidence::read(&assessment, None, None).unwrap().host, "");
        assert!(matches!(Evidence::read(&assessment, Some("{}\n"), None), Err(Unreadable::Log(_))));
    }
}
