//! `coldforge scan`.

use std::path::PathBuf;

use clap::Args;

use super::options::{self, Parent, Policy, Source};
use super::ui::{Ui, columns, plain};
use super::{Result, Verdict, boxed};
use crate::audit::AssessmentDocument;
use crate::harden;
use crate::policy::{Assessment, Finding, Held, Severity, Status, Summary};
use crate::windows::setting::{Identity, Value};
use coldforge_base::progress::Progress as _;

/// Assess an image against a STIG, changing nothing
///
/// Prints what is open and what could not be assessed; a rule that was not assessed is never counted as passed.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    parent: Parent,

    #[command(flatten)]
    policy: Policy,

    /// Write reports (HTML, CKLB, CKL, XCCDF, HDF, OSCAL, SARIF, JUnit, CSV, Markdown) into this new or empty folder
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,

    /// Put the results of all rules into SARIF, not only those of open ones
    #[arg(long, requires = "reports")]
    sarif_all: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let (demand, threshold) = (arguments.policy.demand()?, arguments.policy.gate.read()?);
    ui.start("assessing", 0);
    let image = arguments.source.open(&arguments.parent, ui)?;
    let scan = harden::scan(image, &demand, options::now()?).map_err(boxed)?;
    ui.finish();
    for warning in &scan.warnings {
        ui.status(&format!("warning: {}", plain(warning)));
    }
    let name = arguments.source.image.file_name().unwrap_or_default().to_string_lossy();
    let document = AssessmentDocument::new(&name, &scan.windows, &scan.assessment);
    if let Some(folder) = &arguments.reports {
        let files =
            harden::write_reports(folder, &document.to_bytes(), &scan.catalog, options::results(arguments.sarif_all));
        let files = files.map_err(boxed)?;
        ui.status(&format!("{} files in {}", files.len(), folder.display()));
    }
    if ui.json {
        ui.document(&document.holding_back(&scan.held_back));
    } else {
        let mut text = machine(&scan.windows);
        text.push_str(&format!("{}\n\n{}", scan.assessment.benchmark, totals(&scan.assessment.totals, None)));
        text.push_str(&covered(&scan.assessment.scope));
        let open = findings(&scan.assessment);
        if nothing_assessed(&scan.assessment) {
            text.push_str("\nNone of the selected rules can be assessed: nothing is said about this image.\n");
        } else if open.is_empty() {
            text.push_str("\nNo rule that was assessed is open.\n");
        } else {
            text.push_str(&format!("\nOpen:\n{open}"));
        }
        text.push_str(&held("Would be held back", &scan.held_back));
        text.push_str(&waived(&scan.assessment));
        ui.data(&text);
    }
    let breaks = options::breaks(threshold.as_ref(), &scan.assessment, ui);
    Ok(if breaks || arguments.policy.fails(&scan.assessment) { Verdict::Open } else { Verdict::Done })
}

/// Says what a result covers.
pub(super) fn covered(scope: &[String]) -> String {
    let lines: String = scope.iter().map(|said| format!("  {}\n", plain(said))).collect();
    if lines.is_empty() { lines } else { format!("\nThis covers:\n{lines}") }
}

/// Tells whether not a single rule was assessed, so that "nothing is open" would mean nothing.
pub(super) fn nothing_assessed(assessment: &Assessment) -> bool {
    assessment.totals.all.pass == 0 && assessment.totals.all.open == 0
}

/// Says who the machine is, in a line.
pub(super) fn machine(windows: &Identity) -> String {
    use crate::windows::setting::Role;
    let role = match windows.role {
        Role::Workstation => "workstation",
        Role::MemberServer => "member server",
        Role::DomainController => "domain controller",
    };
    let joined = match windows.domain_joined {
        Some(true) => "domain",
        Some(false) => "workgroup",
        None => "domain membership unknown",
    };
    let build = windows.ubr.map_or_else(|| windows.build.to_string(), |ubr| format!("{}.{ubr}", windows.build));
    let release = windows.release.as_deref().map(|release| format!(" {release}")).unwrap_or_default();
    let domain = windows.domain.as_deref().map(|domain| format!(" {domain}")).unwrap_or_default();
    plain(&format!(
        "{}{release}, build {build}, {}, {role}, {joined}{domain}, control set {}",
        windows.product, windows.installation_type, windows.control_set
    )) + "\n"
}

/// Lays the totals out by severity; with `before`, each cell says what it was.
pub(super) fn totals(after: &Summary, before: Option<&Summary>) -> String {
    let mut rows = vec![["", "CAT I", "CAT II", "CAT III", "all"].map(str::to_owned).to_vec()];
    for (status, label) in [
        (Status::Pass, "pass"),
        (Status::Open, "open"),
        (Status::NotApplicable, "not applicable"),
        (Status::NotReviewed, "not reviewed"),
    ] {
        let mut row = vec![label.to_owned()];
        for severity in [Some(Severity::High), Some(Severity::Medium), Some(Severity::Low), None] {
            let now = after.count(severity, status);
            row.push(match before.map(|before| before.count(severity, status)) {
                Some(then) if then != now => format!("{then} -> {now}"),
                _ => now.to_string(),
            });
        }
        rows.push(row);
    }
    columns(&rows)
}

/// Returns a value as a table shows it: a registry value with its type.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Data(data) => format!("{} {data}", data.kind),
        other => other.to_string(),
    }
}

/// Lists rules with the reason why they are left.
pub(super) fn held(title: &str, held: &[Held]) -> String {
    let lines: String = held.iter().map(|held| format!("  {}  {}\n", held.rule, plain(&held.reason))).collect();
    if lines.is_empty() { lines } else { format!("\n{title}:\n{lines}") }
}

/// Lists the open findings that are waived.
pub(super) fn waived(assessment: &Assessment) -> String {
    let waived = assessment.findings.iter().filter(|finding| finding.status == Status::Open && finding.is_waived());
    let line = |finding: &Finding| {
        let waiver = finding.waiver.as_ref().map(ToString::to_string).unwrap_or_default();
        format!(
            "  {:7}  {}  {}\n           {}\n",
            finding.severity.category(),
            finding.stig_id,
            finding.title,
            plain(&waiver)
        )
    };
    let lines: String = waived.map(line).collect();
    if lines.is_empty() { lines } else { format!("\nOpen, and waived:\n{lines}") }
}

/// Lists the open findings that are not waived: severity, id, title, and what was found where.
pub(super) fn findings(assessment: &Assessment) -> String {
    let mut text = String::new();
    let open = |finding: &&Finding| finding.status == Status::Open && !finding.is_waived();
    for finding in assessment.findings.iter().filter(open) {
        text.push_str(&format!("  {:7}  {}  {}\n", finding.severity.category(), finding.stig_id, finding.title));
        if let Some(waiver) = &finding.waiver {
            text.push_str(&format!("           {}\n", plain(&waiver.to_string())));
        }
        for check in finding.checks.iter().filter(|check| check.status == Status::Open) {
            let found = check.found.as_ref().map_or_else(|| "absent".to_owned(), shown);
            text.push_str(&format!(
                "           {}: {}, required {}\n",
                plain(&check.setting.to_string()),
                plain(&found),
                check.required
            ));
        }
    }
    text
}
