//! Whether the rules of a catalog hold on a machine.
//!
//! Every rule that is selected becomes one [`Finding`], in the catalog's order. It passes only if every place of every
//! one of its checks was read and meets the demand. What could not be read, or cannot be told, is `not_reviewed`.

use std::collections::BTreeSet;
use std::error::Error as _;

use super::applicability::Applicability;
use super::catalog::{Benchmark, Catalog, Component};
use super::finding::{Assessment, CheckResult, Finding, Part, Place, Remediation, Status, Summary};
use super::local_policy;
use super::principal::Principal;
use super::require::{Requirement, Shortfall};
use super::rule::{Check, Gate, Remedy, Rule};
use super::selection::Selection;
use super::values::{TailoredRequirement, Values};
use crate::windows::setting::{Identity, Readings, Role, Setting, SettingError, Value};
use coldforge_base::sid::Sid;

/// Assesses the selected rules of a catalog on a machine.
///
/// Nothing that the machine answers makes this fail: a setting that cannot be read makes its rule `not_reviewed`.
pub fn assess(catalog: &Catalog, selection: &Selection, values: &Values, machine: &dyn Readings) -> Assessment {
    let role = selection.role(machine.identity());
    let mut totals = Summary::default();
    let mut findings = Vec::new();
    let part = |component: &Component| Part {
        benchmark: component.benchmark.clone(),
        xccdf: component.xccdf.clone(),
        sha256: component.sha256,
        totals: Summary::default(),
    };
    let mut components: Vec<Part> = catalog.components.iter().map(part).collect();
    for (at, rule) in catalog.rules.iter().enumerate().filter(|(_, rule)| selection.takes(rule)) {
        let component = catalog.component_of(at).map(|component| component.benchmark.id.clone());
        let finding = Finding { component, ..find(rule, role, values, machine) };
        totals.add(finding.severity, finding.status);
        for part in &mut components {
            if finding.component.as_ref() == Some(&part.benchmark.id) {
                part.totals.add(finding.severity, finding.status);
            }
        }
        findings.push(finding);
    }
    let benchmark = Benchmark::of(catalog);
    Assessment { benchmark, role, totals, components, scope: Vec::new(), findings }
}

fn find(rule: &Rule, role: Role, values: &Values, machine: &dyn Readings) -> Finding {
    let blank = blank(rule, values);
    match Applicability::of(rule, role, machine.identity()) {
        Applicability::Not(reason) => {
            return Finding { status: Status::NotApplicable, reason: Some(reason.to_owned()), ..blank };
        }
        Applicability::Unknown(reason) => return Finding { reason: Some(reason.to_owned()), ..blank },
        Applicability::Applies => {}
    }
    let mut looked_at = Vec::new();
    if let Some(gate) = rule.only_where.as_deref() {
        match passed(gate, (rule, values), machine, &mut looked_at) {
            Passed::Through => {}
            Passed::Shut => {
                let reason = Some(gate.otherwise.clone());
                return Finding { status: Status::NotApplicable, reason, gate: looked_at, ..blank };
            }
            Passed::Unknown(reason) => {
                let reason = Some(format!("whether the rule applies cannot be told: {reason}"));
                return Finding { reason, gate: looked_at, ..blank };
            }
        }
    }
    let blank = Finding { gate: looked_at, ..blank };
    if rule.not_reviewed.is_some() {
        return Finding { reason: rule.not_reviewed.clone(), ..blank };
    }
    let mut checks = Vec::new();
    for check in &rule.checks {
        let demand = values.demand(rule, check);
        match Applicability::under_all(&check.applies, role, machine.identity()) {
            Applicability::Applies => checks.extend(look(check, &demand, machine)),
            Applicability::Unknown(reason) => checks.push(untold(check.setting.clone(), &demand, reason.to_owned())),
            Applicability::Not(_) => {}
        }
    }
    let first = |status| checks.iter().find(|check: &&CheckResult| check.status == status);
    let Some(decisive) = first(Status::Open).or_else(|| first(Status::NotReviewed)).or_else(|| checks.first()) else {
        return Finding { reason: Some("the rule has no check".to_owned()), ..blank };
    };
    let reasons: Vec<&str> = decisive.reason.iter().chain(&rule.caveat).map(String::as_str).collect();
    Finding {
        status: decisive.status,
        setting: Some(decisive.setting.clone()),
        found: decisive.found.clone(),
        required: Some(decisive.required.clone()),
        at: decisive.at.clone(),
        reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        checks,
        ..blank
    }
}

/// Whether a machine has what a rule is about.
enum Passed {
    Through,
    Shut,
    /// With what could not be read.
    Unknown(String),
}

/// Looks whether a machine has what a rule is about, and notes what was looked at.
fn passed(
    gate: &Gate,
    (rule, values): (&Rule, &Values),
    machine: &dyn Readings,
    looked_at: &mut Vec<Setting>,
) -> Passed {
    let mut unknown = None;
    for check in &gate.any {
        let results = look(check, &values.demand(rule, check), machine);
        looked_at.extend(results.iter().map(|result| result.setting.clone()));
        if results.iter().all(|result| result.status == Status::Pass) {
            return Passed::Through;
        }
        let untold = results.into_iter().find(|result| result.status == Status::NotReviewed);
        unknown = unknown.or(untold.and_then(|result| result.reason));
    }
    unknown.map_or(Passed::Shut, Passed::Unknown)
}

/// Returns the finding of a rule before anything was asked: it is not reviewed.
fn blank(rule: &Rule, values: &Values) -> Finding {
    let first = rule.checks.first();
    Finding {
        vuln_id: rule.vuln_id.clone(),
        rule_id: rule.rule_id.clone(),
        stig_id: rule.stig_id.clone(),
        severity: rule.severity,
        component: None,
        kind: rule.kind,
        title: rule.title.clone(),
        status: Status::NotReviewed,
        setting: first.map(|check| check.setting.clone()),
        found: None,
        required: first.map(|check| values.demand(rule, check).require.to_string()),
        at: None,
        reason: None,
        checks: Vec::new(),
        waiver: None,
        gate: Vec::new(),
        import_risk: rule.import_risk.clone(),
    }
}

/// Looks at every place of a check; the answer is never empty.
fn look(check: &Check, demand: &TailoredRequirement, machine: &dyn Readings) -> Vec<CheckResult> {
    let mut results: Vec<CheckResult> =
        machine.places(&check.setting).into_iter().map(|setting| look_at(setting, check, demand, machine)).collect();
    if results.is_empty() {
        let reason = "the machine knows no place for this setting".to_owned();
        results.push(untold(check.setting.clone(), demand, reason));
    }
    if let Some(entry) = local_policy::entry(&check.setting) {
        match look_back(entry, check, demand, machine) {
            Entry::Keeps => {}
            Entry::Wanted(entry) => results.iter_mut().for_each(|result| result.twin = Some(entry.clone())),
            Entry::TurnsBack(result) => results.push(*result),
        }
    }
    results
}

/// What local group policy does about a setting.
enum Entry {
    /// It leaves it alone, or sets what meets the demand.
    Keeps,
    /// It leaves it alone, and this entry belongs beside the setting.
    Wanted(Setting),
    /// It turns it back, or that cannot be told.
    TurnsBack(Box<CheckResult>),
}

/// Looks whether local group policy turns a setting back.
fn look_back(entry: Setting, check: &Check, demand: &TailoredRequirement, machine: &dyn Readings) -> Entry {
    let found = match machine.get(&entry) {
        Ok(found) => found,
        Err(error) => return Entry::TurnsBack(Box::new(untold(entry, demand, chain(&error)))),
    };
    let left = match &found.value {
        None if local_policy::is_wanted(&entry, &found.file, machine) => return Entry::Wanted(entry),
        None => return Entry::Keeps,
        Some(Value::Deletion) => None,
        Some(value) => Some(value),
    };
    let Err(shortfall) = demand.require.judge(check.form, left) else { return Entry::Keeps };
    let required = demand.require.to_string();
    Entry::TurnsBack(Box::new(CheckResult {
        setting: entry,
        status: Status::Open,
        reason: Some(format!("{} turns it back at every refresh: {shortfall}; {required} is required", found.file)),
        required,
        at: Some(Place { file: found.file, cell: None }),
        to: amend(&demand.remedy, &demand.require, found.value.as_ref(), machine.identity()),
        found: found.value,
        demand: Some((check.form, demand.require.clone())),
        twin: None,
    }))
}

/// Returns the answer of a check that could not be made.
fn untold(setting: Setting, demand: &TailoredRequirement, reason: String) -> CheckResult {
    CheckResult {
        setting,
        status: Status::NotReviewed,
        found: None,
        required: demand.require.to_string(),
        at: None,
        to: Remediation::Beyond(reason.clone()),
        reason: Some(reason),
        demand: None,
        twin: None,
    }
}

fn look_at(setting: Setting, check: &Check, demand: &TailoredRequirement, machine: &dyn Readings) -> CheckResult {
    let found = match machine.get(&setting) {
        Ok(found) => found,
        Err(error) => return untold(setting, demand, chain(&error)),
    };
    let require = match demand.require.resolved(machine.identity()) {
        Ok(require) => require,
        Err(principal) => {
            let place = Some(Place { file: found.file, cell: found.cell });
            let reason = format!("no hive of this machine tells the SID of {principal}");
            return CheckResult { found: found.value, at: place, ..untold(setting, demand, reason) };
        }
    };
    let own_words =
        demand.own_words.then(|| "compared with the organization's own words, not with the benchmark's".to_owned());
    let (status, reason) = match require.judge(check.form, found.value.as_ref()) {
        Ok(()) => {
            let absent = found.value.is_none().then(|| "the value is absent, which passes".to_owned());
            (Status::Pass, own_words.or(absent))
        }
        Err(shortfall @ (Shortfall::CannotTell | Shortfall::Nowhere)) => {
            let at = Some(Place { file: found.file, cell: found.cell });
            return CheckResult { found: found.value, at, ..untold(setting, demand, shortfall.to_string()) };
        }
        Err(shortfall) => {
            let reasons = [Some(format!("{shortfall}; {} is required", demand.require)), own_words];
            (Status::Open, Some(reasons.into_iter().flatten().collect::<Vec<_>>().join("; ")))
        }
    };
    CheckResult {
        setting,
        status,
        required: demand.require.to_string(),
        at: Some(Place { file: found.file, cell: found.cell }),
        reason,
        to: amend(&demand.remedy, &require, found.value.as_ref(), machine.identity()),
        found: found.value,
        demand: Some((check.form, require)),
        twin: None,
    }
}

/// Returns what a remedy is on this machine, where this was found.
fn amend(remedy: &Remedy, require: &Requirement, found: Option<&Value>, identity: &Identity) -> Remediation {
    let known = |these: &BTreeSet<Principal>| -> Result<BTreeSet<Sid>, Remediation> {
        let sid = |one: &Principal| match one.resolved(identity) {
            Ok(Principal::Sid(sid)) => Ok(sid),
            _ => Err(Remediation::Beyond(format!("no hive of this machine tells the SID of {one}"))),
        };
        these.iter().map(sid).collect()
    };
    match remedy {
        Remedy::Set(value) => Remediation::Write(value.clone()),
        Remedy::Record(flags) => Remediation::Include(Value::Audit(*flags)),
        Remedy::Grant(these) => {
            known(these).map_or_else(|beyond| beyond, |these| Remediation::Include(Value::Sids(these)))
        }
        Remedy::Assign(these) => match known(these) {
            Err(beyond) => beyond,
            Ok(mut these) => {
                if let (Requirement::Only(allowed), Some(Value::Sids(found))) = (require, found) {
                    these.extend(found.iter().filter(|sid| allowed.contains(&Principal::Sid((*sid).clone()))).cloned());
                }
                Remediation::Write(Value::Sids(these))
            }
        },
        Remedy::Remove => Remediation::Remove,
        Remedy::Beyond(reason) => Remediation::Beyond(reason.clone()),
    }
}

/// Returns an error and its causes in one line.
fn chain(error: &SettingError) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::super::fake_machine::{self, FakeMachine, setting};
    use super::super::finding::Totals;
    use super::super::rule::{RuleScope, Severity};
    use super::super::selection::{Level, RoleChoice};
    use super::*;
    use crate::windows::setting::{Identity, Value, ValueType};

    const SYSTEM_POLICIES: &str = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Policies\\System";
    /// The rules about sites of an FTP server, which a bare machine has not.
    const FTP: [&str; 2] = ["WN22-00-000420", "WN22-00-000430"];
    const LSA: &str = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa";

    fn assessed(machine: &FakeMachine) -> Assessment {
        assess(Catalog::ws2022(), &Selection::default(), &Values::default(), machine)
    }

    fn finding(machine: &FakeMachine, name: &str) -> Finding {
        let stig_id = &Catalog::ws2022().find_rule(name).unwrap().stig_id;
        assessed(machine).findings.into_iter().find(|finding| finding.stig_id == *stig_id).unwrap()
    }

    /// Returns what comes of a rule whose every check finds this value.
    fn status(name: &str, value: impl Into<Option<Value>>) -> Status {
        let rule = Catalog::ws2022().find_rule(name).unwrap();
        let mut machine = FakeMachine::new(match rule.role {
            RuleScope::DomainController => fake_machine::domain_controller(),
            _ => fake_machine::member_server(),
        });
        let value = value.into();
        for check in &rule.checks {
            machine.put(&check.setting, value.clone());
        }
        finding(&machine, name).status
    }

    fn passing(name: &str, numbers: impl IntoIterator<Item = u32>) -> Vec<u32> {
        numbers.into_iter().filter(|number| status(name, Value::dword(*number)) == Status::Pass).collect()
    }

    fn reason(machine: &FakeMachine, name: &str) -> String {
        finding(machine, name).reason.unwrap()
    }

    #[test]
    fn a_machine_without_any_value_passes_only_where_absence_passes() {
        let assessment = assessed(&FakeMachine::new(fake_machine::member_server()));
        let of = |status| assessment.findings.iter().filter(move |finding| finding.status == status);
        let passed: Vec<&str> = of(Status::Pass).map(|finding| finding.stig_id.as_str()).collect();
        assert_eq!(
            passed,
            [
                "WN22-00-000320",
                "WN22-00-000330",
                "WN22-00-000340",
                "WN22-00-000350",
                "WN22-00-000360",
                "WN22-00-000370",
                "WN22-00-000380",
                "WN22-00-000410",
                "WN22-CC-000130",
                "WN22-CC-000310",
                "WN22-CC-000320",
                "WN22-CC-000330",
                "WN22-CC-000400",
                "WN22-CC-000440",
                "WN22-UC-000010"
            ]
        );
        assert!(of(Status::Pass).all(|finding| finding.reason.as_deref() == Some("the value is absent, which passes")));
        assert_eq!(assessment.totals.all, Totals { pass: 15, open: 181, not_applicable: 46, not_reviewed: 40 });
    }

    #[test]
    fn the_totals_are_the_sums_of_the_findings() {
        for identity in [fake_machine::member_server(), fake_machine::domain_controller()] {
            let Assessment { totals, findings, .. } = assessed(&FakeMachine::new(identity));
            let count = |severity: Option<Severity>, status| {
                let of = |finding: &&Finding| severity.is_none_or(|severity| severity == finding.severity);
                findings.iter().filter(of).filter(|finding| finding.status == status).count()
            };
            for (severity, totals) in [
                (None, totals.all),
                (Some(Severity::High), totals.high),
                (Some(Severity::Medium), totals.medium),
                (Some(Severity::Low), totals.low),
            ] {
                assert_eq!(totals.pass, count(severity, Status::Pass));
                assert_eq!(totals.open, count(severity, Status::Open));
                assert_eq!(totals.not_applicable, count(severity, Status::NotApplicable));
                assert_eq!(totals.not_reviewed, count(severity, Status::NotReviewed));
            }
            assert_eq!(findings.len(), 282);
        }
    }

    #[test]
    fn every_finding_that_does_not_pass_says_why() {
        for finding in assessed(&FakeMachine::new(fake_machine::member_server())).findings {
            assert!(finding.reason.is_some_and(|reason| !reason.is_empty()), "{}", finding.stig_id);
        }
    }

    #[test]
    fn an_unreadable_setting_is_not_reviewed_with_the_error_as_its_reason() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        machine.damaged.insert("HKLM\\SYSTEM\\CONTROLSET001\\CONTROL\\LSA".into());
        let finding = finding(&machine, "WN22-SO-000310");
        assert_eq!(finding.status, Status::NotReviewed);
        assert_eq!(
            finding.reason.unwrap(),
            "cannot read HKLM\\SYSTEM\\ControlSet001\\Control\\Lsa!LmCompatibilityLevel: the cell at 0x1020 is damaged"
        );
        assert_eq!(finding.at, None);
        assert_eq!(finding.required.as_deref(), Some("5"));
    }

    #[test]
    fn permissions_that_are_not_understood_are_not_reviewed() {
        let document = "schema = \"coldforge/catalog/1\"\nid = \"t\"\ntitle = \"T\"\nbenchmark = \"T\"\nversion = 1\n\
            release = 1\ndate = \"2026-01-01\"\nbuilds = [20348]\n[[rule]]\nstig_id = \"T-0\"\nvuln_id = \"V-0\"\n\
            rule_id = \"SV-0r1_rule\"\ntitle = \"T\"\nseverity = \"low\"\nkind = \"registry_acl\"\nrole = \"both\"\n\
            [[rule.check]]\nregistry_acl = 'HKLM\\SOFTWARE'\nno_wider_than = \"D:(A;CI;KA;;;BA)\"\nset = \"D:(A;CI;KA;;;BA)\"\n";
        let catalog = Catalog::parse(document).unwrap();
        let acl = Setting::RegistryAcl { key: "HKLM\\SOFTWARE".into() };
        for (found, status) in [
            ("D:(A;CI;KR;;;BA)", Status::Pass),
            ("D:(A;CI;KR;;;BU)", Status::Open),
            ("D:(XA;;FX;;;WD;(0x61727478))", Status::NotReviewed),
        ] {
            let mut machine = FakeMachine::new(fake_machine::member_server());
            machine.put(&acl, Some(Value::Sddl(found.into())));
            let findings = assess(&catalog, &Selection::default(), &Values::default(), &machine).findings;
            assert_eq!((findings[0].status, findings[0].at.is_some()), (status, true), "{found}");
        }
    }

    #[test]
    fn permissions_of_what_is_not_there_are_not_reviewed_and_defaults_pass() {
        const LOGS: &str = "\\Windows\\System32\\winevt\\Logs\\";
        let event_log = "S-1-5-80-880578595-1860270145-482643319-2788375705-1540778122";
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let said = finding(&machine, "WN22-AU-000040");
        assert_eq!(said.status, Status::NotReviewed);
        assert!(said.reason.unwrap().contains("nothing there whose permissions"));
        for (found, status) in [
            (format!("D:AI(A;ID;FA;;;{event_log})(A;ID;FA;;;SY)(A;ID;FA;;;BA)"), Status::Pass),
            (format!("D:PAI(A;OICI;FA;;;{event_log})(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"), Status::Pass),
            (format!("D:(A;;FA;;;{event_log})(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;BU)"), Status::Open),
        ] {
            machine.put(&Setting::FileAcl { path: format!("{LOGS}Security.evtx") }, Some(Value::Sddl(found.clone())));
            assert_eq!(finding(&machine, "WN22-AU-000040").status, status, "{found}");
        }
    }

    #[test]
    fn a_gate_that_is_shut_makes_a_rule_not_applicable_and_one_that_cannot_be_told_not_reviewed() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let server = setting("HKLM\\SYSTEM\\CurrentControlSet\\Services\\LanmanServer\\Parameters", "SMB1");
        let client = setting("HKLM\\SYSTEM\\CurrentControlSet\\Services\\mrxsmb10", "Start");
        machine.put(&Setting::Feature { name: "FS-SMB1".into() }, Some(Value::Text("installed".into())));
        assert_eq!(finding(&machine, "WN22-00-000380").status, Status::Open);
        machine.put(&server, Some(Value::dword(0)));
        assert_eq!(finding(&machine, "WN22-00-000380").status, Status::Open, "the client is on");
        machine.put(&client, Some(Value::dword(4)));
        let shut = finding(&machine, "WN22-00-000380");
        assert_eq!(shut.status, Status::NotApplicable);
        assert!(shut.reason.unwrap().contains("WN22-00-000390"));
        machine.damaged.insert("HKLM\\SYSTEM\\CONTROLSET001\\SERVICES\\MRXSMB10".into());
        let untold = finding(&machine, "WN22-00-000380");
        assert_eq!(untold.status, Status::NotReviewed);
        assert!(untold.reason.unwrap().starts_with("whether the rule applies cannot be told: cannot read"));
    }

    #[test]
    fn a_setting_without_a_place_is_not_reviewed() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        machine.control_sets.clear();
        let finding = finding(&machine, "WN22-SO-000310");
        assert_eq!((finding.status, finding.checks.len()), (Status::NotReviewed, 1));
        assert_eq!(finding.reason.unwrap(), "the machine knows no place for this setting");
    }

    #[test]
    fn an_open_place_decides_over_an_unreadable_one_and_that_over_a_pass() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        machine.control_sets = vec![1, 2];
        let level = setting(LSA, "LmCompatibilityLevel");
        machine.put(&level, Some(Value::dword(5)));
        assert_eq!(finding(&machine, "WN22-SO-000310").status, Status::Pass);
        machine.damaged.insert("HKLM\\SYSTEM\\CONTROLSET002\\CONTROL\\LSA".into());
        let unread = finding(&machine, "WN22-SO-000310");
        assert_eq!(unread.status, Status::NotReviewed);
        assert_eq!(unread.setting, Some(unread.checks[1].setting.clone()), "the one that decided");
        machine
            .put(&setting("HKLM\\SYSTEM\\ControlSet001\\Control\\Lsa", "LmCompatibilityLevel"), Some(Value::dword(3)));
        let open = finding(&machine, "WN22-SO-000310");
        assert_eq!((open.status, open.found), (Status::Open, Some(Value::dword(3))));
        assert_eq!(open.reason.unwrap(), "the value is 3; 5 is required");
    }

    #[test]
    fn every_control_set_that_matters_must_hold() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        machine.control_sets = vec![1, 2];
        let second = setting("HKLM\\SYSTEM\\ControlSet002\\Control\\Lsa", "NoLMHash");
        machine.put(&setting(LSA, "NoLMHash"), Some(Value::dword(1)));
        machine.put(&second, Some(Value::dword(0)));
        let finding = finding(&machine, "WN22-SO-000300");
        assert_eq!((finding.status, finding.setting), (Status::Open, Some(second)));
        assert_eq!(finding.checks.iter().map(|check| check.status).collect::<Vec<_>>(), [Status::Pass, Status::Open]);
    }

    #[test]
    fn rules_for_domain_controllers_are_not_applicable_elsewhere() {
        let server = assessed(&FakeMachine::new(fake_machine::member_server()));
        let controller = assessed(&FakeMachine::new(fake_machine::domain_controller()));
        for (finding, on_controller) in server.findings.iter().zip(&controller.findings) {
            let without_ftp = FTP.contains(&finding.stig_id.as_str());
            let dc = finding.stig_id.contains("-DC-") || without_ftp;
            let ms = finding.stig_id.contains("-MS-");
            assert_eq!(finding.status == Status::NotApplicable, dc, "{}", finding.stig_id);
            let not_here = ms || without_ftp || finding.stig_id == "WN22-CC-000140";
            assert_eq!(on_controller.status == Status::NotApplicable, not_here, "{}", finding.stig_id);
        }
        assert_eq!(controller.totals.all, Totals { pass: 15, open: 185, not_applicable: 17, not_reviewed: 65 });
        assert_eq!(controller.role, Role::DomainController);
    }

    #[test]
    fn a_chosen_role_stands_over_the_machines_own() {
        let selection = Selection::new(Catalog::ws2022(), Level::High, RoleChoice::DomainController, &[], &[]).unwrap();
        let machine = FakeMachine::new(fake_machine::member_server());
        let assessment = assess(Catalog::ws2022(), &selection, &Values::default(), &machine);
        assert_eq!(assessment.totals, assessed(&FakeMachine::new(fake_machine::domain_controller())).totals);
    }

    #[test]
    fn rules_for_members_of_a_domain_are_not_applicable_on_a_standalone_machine() {
        let joined = ["00-000090", "CC-000080", "CC-000110", "MS-000020", "MS-000030", "MS-000050", "MS-000140"];
        let of = |domain_joined, wanted| {
            let identity = Identity { domain_joined, ..fake_machine::member_server() };
            let findings = assessed(&FakeMachine::new(identity)).findings;
            let of = |finding: &Finding| {
                let elsewhere = finding.stig_id.contains("-DC-") || FTP.contains(&finding.stig_id.as_str());
                finding.status == wanted && !elsewhere
            };
            findings.into_iter().filter(of).map(|finding| finding.stig_id[5..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of(Some(false), Status::NotApplicable), joined);
        assert!(of(Some(true), Status::NotApplicable).is_empty());
        assert!(of(None, Status::NotApplicable).is_empty());
        let machine = FakeMachine::new(Identity { domain_joined: None, ..fake_machine::member_server() });
        for name in joined {
            let finding = finding(&machine, &format!("WN22-{name}"));
            assert_eq!(finding.status, Status::NotReviewed, "{name}");
            assert!(finding.reason.unwrap().contains("could not be told"), "{name}");
        }
    }

    #[test]
    fn a_domain_controller_counts_as_joined_whatever_could_be_read() {
        let machine = FakeMachine::new(Identity { domain_joined: None, ..fake_machine::domain_controller() });
        assert_eq!(finding(&machine, "WN22-CC-000080").status, Status::Open);
    }

    #[test]
    fn rules_about_the_desktop_are_not_applicable_on_server_core() {
        let core =
            FakeMachine::new(Identity { installation_type: "Server Core".into(), ..fake_machine::member_server() });
        let unknown = FakeMachine::new(Identity { installation_type: String::new(), ..fake_machine::member_server() });
        for name in [
            "AU-000060",
            "SO-000380",
            "SO-000390",
            "SO-000400",
            "SO-000410",
            "SO-000420",
            "SO-000430",
            "SO-000440",
            "SO-000450",
        ] {
            let name = format!("WN22-{name}");
            assert_eq!(finding(&core, &name).status, Status::NotApplicable, "{name}");
            assert_eq!(finding(&unknown, &name).status, Status::NotReviewed, "{name}");
            assert!(reason(&unknown, &name).contains("could not be told"), "{name}");
        }
        assert_eq!(assessed(&core).totals.all.not_applicable, 46 + 9);
    }

    #[test]
    fn remote_sam_and_rpc_rules_apply_to_standalone_servers_too() {
        let machine = FakeMachine::new(Identity { domain_joined: Some(false), ..fake_machine::member_server() });
        for name in ["WN22-MS-000040", "WN22-MS-000060"] {
            assert_eq!(finding(&machine, name).status, Status::Open, "{name}");
        }
    }

    #[test]
    fn the_security_log_floor_is_the_decimal_number_of_kilobytes() {
        assert_eq!(
            passing("WN22-CC-000280", [196_608, 5_119_999, 5_120_000, 1_234_569_216]),
            [5_120_000, 1_234_569_216]
        );
        assert!(reason(&FakeMachine::new(fake_machine::member_server()), "WN22-CC-000280").contains("decimal"));
    }

    #[test]
    fn no_diagnostic_data_at_all_is_a_finding() {
        assert_eq!(passing("WN22-CC-000250", 0..6), [1, 3]);
    }

    #[test]
    fn delivery_optimization_of_100_is_a_finding() {
        assert_eq!(passing("WN22-CC-000260", 0..300), [0, 1, 2, 99]);
    }

    #[test]
    fn cached_logons_are_a_text_that_holds_a_number() {
        let of = |value| status("WN22-MS-000050", value);
        assert_eq!(of(Value::sz("4")), Status::Pass);
        assert_eq!(of(Value::sz("0")), Status::Pass);
        assert_eq!(of(Value::sz("10")), Status::Open);
        assert_eq!(of(Value::sz("")), Status::Open);
        assert_eq!(of(Value::dword(4)), Status::Open);
    }

    #[test]
    fn protection_mode_is_a_number() {
        assert_eq!(status("WN22-SO-000370", Value::dword(1)), Status::Pass);
        assert_eq!(status("WN22-SO-000370", Value::sz("1")), Status::Open);
    }

    #[test]
    fn remote_sam_is_a_security_descriptor_in_text() {
        assert_eq!(status("WN22-MS-000060", Value::sz("O:BAG:BAD:(A;;RC;;;BA)")), Status::Pass);
        assert_eq!(status("WN22-MS-000060", Value::sz("O:BAG:BAD:(A;;RC;;;WD)")), Status::Open);
    }

    #[test]
    fn zone_information_passes_where_it_is_absent_or_2() {
        let finding = finding(&FakeMachine::new(fake_machine::member_server()), "WN22-UC-000010");
        assert_eq!(finding.status, Status::Pass);
        assert_eq!(passing("WN22-UC-000010", 0..5), [2]);
    }

    #[test]
    fn an_elevation_prompt_of_11_is_a_finding() {
        assert_eq!(passing("WN22-SO-000400", 0..30), [1, 2]);
    }

    #[test]
    fn key_protection_is_2_and_not_1() {
        assert_eq!(passing("WN22-SO-000350", 0..5), [2]);
    }

    #[test]
    fn zero_switches_limits_off_and_is_a_finding() {
        assert_eq!(passing("WN22-SO-000100", [0, 1, 30, 31]), [1, 30]);
        assert_eq!(passing("WN22-SO-000120", [0, 1, 900, 901]), [1, 900]);
    }

    #[test]
    fn boot_drivers_of_every_kind_are_a_finding_and_no_value_is_none() {
        assert_eq!(passing("WN22-CC-000130", 0..10), [1, 3, 8]);
        assert_eq!(status("WN22-CC-000130", None), Status::Pass);
        assert_eq!(status("WN22-CC-000130", Value::sz("3")), Status::Open);
    }

    #[test]
    fn smart_card_removal_is_a_text() {
        for (value, expected) in [
            (Value::sz("1"), Status::Pass),
            (Value::sz("2"), Status::Pass),
            (Value::sz("0"), Status::Open),
            (Value::sz("12"), Status::Open),
            (Value::dword(1), Status::Open),
        ] {
            assert_eq!(status("WN22-SO-000150", value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn hardened_paths_need_both_names_in_any_order_of_terms() {
        let terms = Value::sz("requireintegrity=1,RequireMutualAuthentication=1");
        assert_eq!(status("WN22-CC-000080", terms.clone()), Status::Pass);
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let key = "HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows\\NetworkProvider\\HardenedPaths";
        machine.put(&setting(key, "\\\\*\\NETLOGON"), Some(terms));
        let finding = finding(&machine, "WN22-CC-000080");
        assert_eq!((finding.status, finding.checks.len()), (Status::Open, 2));
        assert_eq!(finding.setting, Some(setting(key, "\\\\*\\SYSVOL")));
    }

    #[test]
    fn passes_of_virtualization_based_security_claim_no_more_than_the_value() {
        for (name, value) in [("WN22-CC-000110", 1), ("WN22-MS-000140", 1)] {
            let rule = Catalog::ws2022().find_rule(name).unwrap();
            let mut machine = FakeMachine::new(fake_machine::member_server());
            for check in &rule.checks {
                machine.put(&check.setting, Some(Value::dword(value)));
            }
            assert_eq!(finding(&machine, name).status, Status::Pass);
            assert!(reason(&machine, name).contains("shows only on the running machine"), "{name}");
        }
    }

    #[test]
    fn the_banner_passes_however_its_lines_are_broken() {
        let rule = Catalog::ws2022().find_rule("WN22-SO-000130").unwrap();
        let Remedy::Set(banner) = &rule.checks[0].remedy else { panic!() };
        let banner = banner.as_text().unwrap();
        assert_eq!((banner.matches("\r\n").count(), banner.matches('\n').count()), (6, 6));
        assert!(banner.starts_with("You are accessing a U.S. Government (USG) Information System (IS)"));
        assert!(banner.ends_with("See User Agreement for details."));
        assert_eq!(status("WN22-SO-000130", Value::sz(&banner.replace("\r\n", "\r\n\r\n"))), Status::Pass);
        assert_eq!(status("WN22-SO-000130", Value::sz(&banner.replace("USG", "usg"))), Status::Open);
        assert_eq!(status("WN22-SO-000130", Value::sz(&banner[..200])), Status::Open);
    }

    #[test]
    fn an_organizations_own_banner_passes_and_the_reason_says_that_it_is_its_own() {
        let document = "schema = \"coldforge/values/1\"\n[values]\nV-254457 = \"Ours\"\nV-254456 = 600";
        let values = Values::parse(document, Catalog::ws2022()).unwrap();
        let mut machine = FakeMachine::new(fake_machine::member_server());
        machine.put(&setting(SYSTEM_POLICIES, "LegalNoticeText"), Some(Value::sz("Ours")));
        machine.put(&setting(SYSTEM_POLICIES, "InactivityTimeoutSecs"), Some(Value::dword(700)));
        let findings = assess(Catalog::ws2022(), &Selection::default(), &values, &machine).findings;
        let of = |name| findings.iter().find(|finding| finding.vuln_id == name).unwrap();
        assert_eq!(of("V-254457").status, Status::Pass);
        assert!(of("V-254457").reason.as_ref().unwrap().contains("the organization's own words"));
        assert_eq!((of("V-254456").status, of("V-254456").required.as_deref()), (Status::Open, Some("1 to 600")));
    }

    #[test]
    fn rules_outside_the_selection_are_no_findings() {
        let selection =
            Selection::new(Catalog::ws2022(), Level::Low, RoleChoice::Auto, &[], &["V-254335".into()]).unwrap();
        let assessment =
            assess(Catalog::ws2022(), &selection, &Values::default(), &FakeMachine::new(fake_machine::member_server()));
        assert_eq!(assessment.findings.len(), 11);
        assert!(assessment.findings.iter().all(|finding| finding.severity == Severity::Low));
        assert_eq!(assessment.totals.all, assessment.totals.low);
    }

    #[test]
    fn the_document_has_the_members_that_others_build_on() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        machine.put(&setting(LSA, "LmCompatibilityLevel"), Some(Value::dword(3)));
        let selection = Selection::new(
            Catalog::ws2022(),
            Level::High,
            RoleChoice::Auto,
            &["WN22-SO-000310".into(), "WN22-AU-000010".into()],
            &[],
        )
        .unwrap();
        let assessment = assess(Catalog::ws2022(), &selection, &Values::default(), &machine);
        let setting = serde_json::json!({
            "kind": "registry", "key": "HKLM\\SYSTEM\\ControlSet001\\Control\\Lsa", "name": "LmCompatibilityLevel",
        });
        let at = serde_json::json!({"file": "Windows/System32/config/PAPER", "cell": 0x1020});
        let found = serde_json::json!({"type": "REG_DWORD", "data": 3});
        let totals = |open: u32, not_reviewed: u32| serde_json::json!({"pass": 0, "open": open, "not_applicable": 0, "not_reviewed": not_reviewed});
        let mut all = totals(1, 1);
        for (severity, of) in [("high", totals(1, 0)), ("medium", totals(0, 1)), ("low", totals(0, 0))] {
            all[severity] = of;
        }
        let reason = "the value is 3; 5 is required";
        assert_eq!(
            serde_json::to_value(&assessment).unwrap(),
            serde_json::json!({
                "benchmark": {
                    "id": "ws2022", "title": "Microsoft Windows Server 2022 STIG",
                    "version": 2, "release": 8, "date": "2026-04-01",
                },
                "role": "member_server",
                "totals": all,
                "findings": [
                    {
                        "vuln_id": "V-254294", "rule_id": "SV-254294r958754_rule", "stig_id": "WN22-AU-000010",
                        "severity": "medium", "kind": "manual", "title": "Audit records are backed up elsewhere",
                        "status": "not_reviewed", "setting": null, "found": null, "required": null, "at": null,
                        "reason": "Asks for a procedure of the organization, which no image shows", "checks": [],
                    },
                    {
                        "vuln_id": "V-254475", "rule_id": "SV-254475r991589_rule", "stig_id": "WN22-SO-000310",
                        "severity": "high", "kind": "registry",
                        "title": "Only NTLMv2 is sent, and LM and NTLM are refused",
                        "status": "open", "setting": setting, "found": found, "required": "5", "at": at,
                        "reason": reason,
                        "checks": [{
                            "setting": setting, "status": "open", "found": found, "required": "5", "at": at,
                            "reason": reason,
                        }],
                    },
                ],
            })
        );
    }

    #[test]
    fn odd_bytes_under_every_setting_are_never_a_pass_by_chance_and_never_a_panic() {
        let rules = Catalog::ws2022().rules.iter().flat_map(|rule| &rule.checks);
        let mut machine = FakeMachine::new(fake_machine::member_server());
        for check in rules {
            machine.put(&check.setting, Some(Value::data(ValueType::BINARY, vec![0xff; 7])));
        }
        let totals = assessed(&machine).totals.all;
        assert_eq!((totals.pass, totals.open), (0, 203));
    }
}
