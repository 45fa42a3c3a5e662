//! The built-in tests of a built image.

use std::path::Path;

use super::super::Result;
use super::assertion::AssertionResult;
use crate::aws::preflight::{Container, Facts, Report, Route, Verdict};
use crate::harden::{Given, Outcome, verify};
use crate::policy::{Severity, Status};
use crate::windows::Evidence;
use crate::windows::setting::Setting;
use coldforge_base::progress::Silent;
use coldforge_disk as disk;

/// The words.
pub(super) const WORDS: &str = "stig-closed, boots-plausibly, import-ready, unchanged-elsewhere or services-kept";
/// The checks of the preflight about what the first start reads: partitions, the volume, hives, boot files, boot store,
/// drivers. Every run requires that somebody can still log on.
const START: [&str; 11] = ["P05", "P07", "P08", "P10", "P12", "P20", "P21", "P38", "P39", "P40", "P41"];

/// A ready-made test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BuiltInTest {
    /// No rule is open at or above `stig.fail_on` that is not waived.
    StigClosed,
    /// The files that the first start reads exist and are intact; an unknown result does not pass.
    BootsPlausibly,
    /// No check of the preflight fails.
    Importable,
    /// The bundle proves itself, and the image differs from its source only where the log says.
    UnchangedElsewhere,
    /// No service that started by itself is disabled or gone.
    ServicesKept,
}

/// What was built.
pub(super) struct Work<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) folder: &'a Path,
    pub(super) image: &'a disk::Image,
    pub(super) source: &'a Path,
    pub(super) parent: Option<&'a Path>,
    pub(super) route: Route,
    pub(super) fail_on: Option<Severity>,
}

impl BuiltInTest {
    pub(super) fn named(word: &str) -> Option<Self> {
        [Self::StigClosed, Self::BootsPlausibly, Self::Importable, Self::UnchangedElsewhere, Self::ServicesKept]
            .into_iter()
            .find(|one| one.word() == word)
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::StigClosed => "stig-closed",
            Self::BootsPlausibly => "boots-plausibly",
            Self::Importable => "import-ready",
            Self::UnchangedElsewhere => "unchanged-elsewhere",
            Self::ServicesKept => "services-kept",
        }
    }

    /// Tests what was built.
    ///
    /// # Errors
    /// What the operating system answers.
    pub(super) fn evaluate(self, work: &Work<'_>) -> Result<AssertionResult> {
        Ok(match self {
            Self::StigClosed => closed(work),
            Self::BootsPlausibly => {
                let report = report(work);
                let asked = report.checks.iter().filter(|check| START.contains(&&*check.id));
                let wrong = |verdict| matches!(verdict, Verdict::Fail | Verdict::Unknown);
                let wrong: Vec<String> = asked
                    .filter(|check| wrong(check.verdict))
                    .map(|check| format!("{} {}: {}", check.id, check.title, check.found))
                    .collect();
                holds(
                    &wrong,
                    "partitions, volume, hives, boot files, boot store and drivers are there and whole".to_owned(),
                )
            }
            Self::Importable => {
                let report = report(work);
                let wrong: Vec<String> =
                    report.failed().map(|check| format!("{} {}: {}", check.id, check.title, check.found)).collect();
                holds(&wrong, format!("no check for {} fails", work.route))
            }
            Self::UnchangedElsewhere => {
                let given = Given { source: Some(work.source), parent: work.parent, ..Given::default() };
                let proof = verify(work.folder, given, &Silent)?;
                let wrong: Vec<String> =
                    proof.problems.iter().map(|problem| format!("{}: {}", problem.place, problem.what)).collect();
                holds(&wrong, format!("{} claims are proven", proof.proven.len()))
            }
            Self::ServicesKept => kept(work),
        })
    }
}

fn holds(wrong: &[String], said: String) -> AssertionResult {
    if wrong.is_empty() { Ok(said) } else { Err(wrong.join("; ")) }
}

fn report(work: &Work<'_>) -> Report {
    let evidence = Evidence::of(work.image);
    Report::of(&Facts::new(Container::of(work.image), &evidence, work.route, true))
}

fn closed(work: &Work<'_>) -> AssertionResult {
    let counts = |severity: Severity| match work.fail_on {
        None => false,
        Some(Severity::High) => severity == Severity::High,
        Some(Severity::Medium) => severity != Severity::Low,
        Some(Severity::Low) => true,
    };
    let findings = &work.outcome.after.findings;
    let open = findings.iter().filter(|one| one.status == Status::Open && !one.is_waived() && counts(one.severity));
    let open: Vec<&str> = open.map(|one| one.stig_id.as_str()).collect();
    let passed = findings.iter().filter(|one| one.status == Status::Pass).count();
    match (open.is_empty(), passed) {
        (true, 0) => Err("no rule was assessed as met".to_owned()),
        (true, _) => Ok(format!("{passed} rules are met, and none is open that is not waived")),
        (false, _) => Err(format!("{} rules are open: {}", open.len(), open.join(", "))),
    }
}

/// The log names every change of the image, so that it also tells what became of the services.
fn kept(work: &Work<'_>) -> AssertionResult {
    const AUTOMATIC: u32 = 2;
    const DISABLED: u32 = 4;
    let mut changed = 0_usize;
    let mut wrong = Vec::new();
    for change in work.outcome.applied.iter().map(|applied| &applied.change) {
        let Setting::Registry { key, name } = &change.setting else { continue };
        let Some((_, service)) = key.rsplit_once(r"\Services\").filter(|_| name.eq_ignore_ascii_case("Start")) else {
            continue;
        };
        let number = |value: &Option<crate::windows::setting::Value>| value.as_ref().and_then(|value| value.as_dword());
        changed = changed.saturating_add(1);
        let started = number(&change.before).is_some_and(|start| start <= AUTOMATIC);
        if started && number(&change.after).is_none_or(|start| start >= DISABLED) {
            wrong.push(format!("{service} does not start any more"));
        }
    }
    holds(&wrong, format!("{changed} services start otherwise, and none that started by itself is off"))
}
