//! A summary for a job's page or a pull request.

use super::evidence::{Evidence, Finding, Status, found};
use super::text::line;
use crate::audit::{PreflightCheck, Verdict};
use crate::formats::markdown::{escaped, with_code};
use crate::policy::Severity;

/// Returns the summary.
pub(super) fn render(evidence: &Evidence) -> String {
    let mut text = format!("# {}\n\n", cell(&evidence.benchmark.to_string()));
    text.push_str(&format!("{} · `{}`\n\n", cell(&evidence.product), code(&evidence.image)));
    text.push_str("| | Not a Finding | Open | Not Applicable | Not Reviewed |\n|---|---:|---:|---:|---:|\n");
    let row = |name: &str, counts: [usize; 4]| {
        format!("| {name} | {} |\n", counts.map(|count| count.to_string()).join(" | "))
    };
    for severity in [Severity::High, Severity::Medium, Severity::Low] {
        if let Some(counts) = evidence.counts_before(severity) {
            text.push_str(&row(&format!("{} before", severity.category()), counts));
        }
        text.push_str(&row(severity.category(), evidence.counts(Some(severity))));
    }
    text.push_str(&row("**all**", evidence.counts(None)));

    let checks = evidence.preflight.iter().flat_map(|preflight| preflight.checks.iter());
    let failed: Vec<&PreflightCheck> = checks.filter(|check| check.verdict == Verdict::Fail).collect();
    if !failed.is_empty() {
        text.push_str("\n## Failed preflight checks\n\n");
        for check in failed {
            text.push_str(&format!("- **{}** {}: {}\n", escaped(&check.id), cell(&check.title), cell(&check.found)));
            text.push_str(&format!("  - hint: {}\n", with_code(&line(&check.hint))));
        }
    }
    let open: Vec<&Finding> = evidence.findings.iter().filter(|finding| finding.status == Status::Open).collect();
    if !open.is_empty() {
        text.push_str("\n## Open\n\n| rule | | title | found | required | why |\n|---|---|---|---|---|---|\n");
        for finding in open {
            let waiver = evidence.waiver(finding);
            let why = waiver.as_deref().or(evidence.held(finding)).or(finding.reason.as_deref()).unwrap_or_default();
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} |\n",
                finding.stig_id,
                finding.severity.category(),
                cell(&finding.title),
                cell(&found(finding).unwrap_or_default()),
                cell(finding.required.as_deref().unwrap_or_default()),
                cell(why),
            ));
        }
    }
    if !evidence.scope.is_empty() {
        text.push_str("\n## What this covers\n\n");
        for said in &evidence.scope {
            text.push_str(&format!("- {}\n", escaped(&line(said))));
        }
    }
    if let Some(log) = &evidence.log {
        if !log.trailer.held_back.is_empty() {
            text.push_str("\n## Held back on purpose\n\n| rule | why |\n|---|---|\n");
            for held in &log.trailer.held_back {
                text.push_str(&format!("| {} | {} |\n", cell(&held.rule), cell(&held.reason)));
            }
        }
        text.push_str(&format!("\n## Image\n\n{} settings were changed.\n\n", log.changes.len()));
        text.push_str("| | file | format | digest |\n|---|---|---|---|\n");
        for (name, image) in [("source", &log.header.source), ("hardened", &log.trailer.output)] {
            let (kind, digest) = image.digest();
            text.push_str(&format!("| {name} | `{}` | {} | {kind} `{digest}` |\n", code(&image.name), image.format));
        }
        for warning in &log.header.warnings {
            text.push_str(&format!("\n> {}\n", cell(warning)));
        }
    }
    text
}

/// Returns a text that stays a text inside a table: no mark-up, no HTML, one line.
fn cell(text: &str) -> String {
    escaped(&shortened(text))
}

/// Returns a text that stays inside its back ticks.
fn code(text: &str) -> String {
    shortened(text).replace(['`', '<', '>', '|'], "?")
}

fn shortened(text: &str) -> String {
    const LONGEST_CHARS: usize = 300;
    let text = line(text);
    match text.char_indices().nth(LONGEST_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
