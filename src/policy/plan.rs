//! What must be changed on a machine for its open findings to close.

pub(super) mod requirements;
pub(super) mod step;

use std::collections::{BTreeMap, BTreeSet};

use self::requirements::Requirements;
use self::step::{Held, HoldBack, Plan, Step, folded};
use super::bound_fields;
use super::error::Error;
use super::finding::{Assessment, CheckResult, Finding, Remediation, Status};
use super::rule::Advice;
use crate::windows::setting::{Setting, Value};

/// Plans the changes that close the open findings of an assessment.
///
/// Settings that several rules demand become one step, with a value that meets all of them; what rules want added to a
/// setting is added together. A setting of a rule that is held back is not changed for another rule either: the risk lies
/// in the setting; nor is a field of the account policy that is bound to it. A waived rule wants nothing.
///
/// # Errors
/// [`Error::Conflict`] (`E-RULE-CONFLICT`) if two rules contradict each other: no value meets both, though one of them may
/// be met as it is.
pub fn plan(assessment: &Assessment, hold_back: &HoldBack) -> Result<Plan, Error> {
    let (waived, live): (Vec<&Finding>, Vec<&Finding>) =
        assessment.findings.iter().partition(|finding| finding.is_waived());
    let requirements = Requirements::of(&live);
    let mut plan = Plan { waived: waived_rules(&waived), ..Plan::default() };
    let (held, open): (Vec<_>, Vec<_>) = live
        .into_iter()
        .filter(|finding| finding.status == Status::Open)
        .map(|finding| (finding, reason_to_hold_back(finding, hold_back)))
        .partition(|(_, reason)| reason.is_some());
    let held_rules: BTreeSet<&str> = held.iter().map(|(finding, _)| finding.stig_id.as_str()).collect();
    let mut kept = KeptSettings::default();
    for (finding, reason) in &held {
        let reason = reason.clone().unwrap_or_default();
        kept.keep_settings_of(finding, &reason);
        plan.held_back.push(Held { rule: finding.stig_id.clone(), reason });
    }
    let mut at = BTreeMap::new();
    for (finding, _) in open.iter().filter(|(finding, _)| !held_rules.contains(finding.stig_id.as_str())) {
        for check in open_checks(finding) {
            match kept.reason(&check.setting) {
                Some(reason) => plan.held_back.push(Held { rule: finding.stig_id.clone(), reason: reason.clone() }),
                None => add_step(&mut plan, &mut at, (finding, check), &requirements)?,
            }
        }
    }
    keep_what_passes(&plan, &requirements)?;
    Ok(plan)
}

/// Returns the open findings among those that are waived.
fn waived_rules(waived: &[&Finding]) -> Vec<Held> {
    let reason = |finding: &Finding| finding.waiver.as_ref().map(ToString::to_string).unwrap_or_default();
    waived
        .iter()
        .filter(|finding| finding.status == Status::Open)
        .map(|finding| Held { rule: finding.stig_id.clone(), reason: reason(finding) })
        .collect()
}

/// The settings that stay as they are, each with the reason.
#[derive(Default)]
struct KeptSettings(BTreeMap<Setting, String>);

impl KeptSettings {
    /// Adds the settings of a rule that is held back, and the fields of the account policy that are set together with them.
    fn keep_settings_of(&mut self, finding: &Finding, reason: &str) {
        for check in open_checks(finding) {
            let setting = &check.setting;
            self.0.entry(folded(setting)).or_insert(format!("{setting} is held back for {}", finding.stig_id));
            for bound in bound_fields::bound_to(setting) {
                let why = format!("{bound} is set together with {setting} ({}): {reason}", finding.stig_id);
                self.0.entry(bound).or_insert(why);
            }
        }
    }

    fn reason(&self, setting: &Setting) -> Option<&String> {
        self.0.get(&folded(setting))
    }
}

/// Adds the step that makes a check pass, or joins it with the step that already changes the same setting. `at` maps each
/// setting to its step.
fn add_step(
    plan: &mut Plan,
    at: &mut BTreeMap<Setting, usize>,
    (finding, check): (&Finding, &CheckResult),
    requirements: &Requirements<'_>,
) -> Result<(), Error> {
    let (rule, setting) = (&finding.stig_id, &check.setting);
    let to = match &check.to {
        Remediation::Write(value) => Some(value.clone()),
        Remediation::Include(value) => Some(including(check.found.as_ref(), value)),
        Remediation::Remove => None,
        Remediation::Beyond(reason) => {
            plan.left_open.push(Held { rule: rule.clone(), reason: reason.clone() });
            return Ok(());
        }
    };
    let Some(step) = at.get(&folded(setting)).and_then(|at| plan.steps.get_mut(*at)) else {
        at.insert(folded(setting), plan.steps.len());
        plan.steps.push(Step { rules: vec![rule.clone()], setting: setting.clone(), to });
        return Ok(());
    };
    if step.to != to {
        // Values that rules want added are added together; otherwise one value must meet all requirements.
        let joined = match (&check.to, &step.to) {
            (Remediation::Include(value), Some(planned)) => Some(including(Some(planned), value)),
            _ => to.clone(),
        };
        let candidates = [joined, step.to.clone(), to];
        let met = candidates.into_iter().find(|to| requirements.unmet(setting, to.as_ref()).is_none());
        step.to = met.ok_or_else(|| Error::Conflict {
            setting: setting.clone(),
            one: step.rules.join(", "),
            other: rule.clone(),
        })?;
    }
    if !step.rules.contains(rule) {
        step.rules.push(rule.clone());
    }
    Ok(())
}

/// Refuses a plan in which a step would break a rule that passes as it is.
fn keep_what_passes(plan: &Plan, requirements: &Requirements<'_>) -> Result<(), Error> {
    for step in &plan.steps {
        if let Some(other) = requirements.unmet(&step.setting, step.to.as_ref()) {
            let (setting, one) = (step.setting.clone(), step.rules.join(", "));
            return Err(Error::Conflict { setting, one, other: other.to_owned() });
        }
    }
    Ok(())
}

/// Returns a value that holds what stands and what is to be included.
fn including(stands: Option<&Value>, included: &Value) -> Value {
    match (stands, included) {
        (Some(Value::Audit(stands)), Value::Audit(more)) => Value::Audit(stands.union(*more)),
        (Some(Value::Sids(stands)), Value::Sids(more)) => Value::Sids(stands | more),
        _ => included.clone(),
    }
}

/// Returns why a finding is held back, or `None` if it is not.
fn reason_to_hold_back(finding: &Finding, hold_back: &HoldBack) -> Option<String> {
    let HoldBack::ImportRisk { disproved } = hold_back else { return None };
    let risk = finding.import_risk.as_ref()?;
    // What nothing can be done about is left open, and not because of its risk.
    if open_checks(finding).all(|check| matches!(check.to, Remediation::Beyond(_))) {
        return None;
    }
    let safe = |check: &CheckResult| match &check.to {
        Remediation::Write(to) => to.as_dword().is_some_and(|number| risk.safe_values.contains(&number)),
        _ => false,
    };
    let risky = match risk.advice {
        Advice::Hold => true,
        Advice::Guard => !disproved.contains(&finding.stig_id) && !open_checks(finding).all(safe),
        Advice::Apply => false,
    };
    risky.then(|| risk.reason.clone())
}

/// Returns the checks of a finding that are open.
fn open_checks(finding: &Finding) -> impl Iterator<Item = &CheckResult> {
    finding.checks.iter().filter(|check| check.status == Status::Open)
}

#[cfg(test)]
mod tests {
    use super::super::assess::assess;
    use super::super::catalog::Catalog;
    use super::super::fake_machine::{self, FakeMachine, setting};
    use super::super::rule::RuleKind;
    use super::super::selection::Selection;
    use super::super::values::Values;
    use super::*;
    use crate::windows::setting::{AccountProperty, AuditFlags};
    use coldforge_base::Failure as _;
    use coldforge_base::sid::Sid;

    fn assessed(catalog: &Catalog, machine: &FakeMachine) -> Assessment {
        assess(catalog, &Selection::default(), &Values::default(), machine)
    }

    fn fresh() -> Assessment {
        let mut catalog = Catalog::ws2022().clone();
        catalog.rules.retain(|rule| rule.kind == RuleKind::Registry);
        assessed(&catalog, &FakeMachine::new(fake_machine::member_server()))
    }

    /// Returns a catalog of rules that each want a number in a value of one key.
    fn small(rules: &[(&str, &str, &str)]) -> Catalog {
        let mut document = "schema = \"coldforge/catalog/1\"\nid = \"t\"\ntitle = \"T\"\nbenchmark = \"T\"\n\
            version = 1\nrelease = 1\ndate = \"2026-01-01\"\nbuilds = [20348]\n"
            .to_owned();
        for (at, (key, demand, more)) in rules.iter().enumerate() {
            document += &format!(
                "[[rule]]\nstig_id = \"T-{at}\"\nvuln_id = \"V-{at}\"\nrule_id = \"SV-{at}r1_rule\"\ntitle = \"T\"\n\
                severity = \"low\"\nkind = \"registry\"\nrole = \"both\"\n{more}\n[[rule.check]]\n\
                key = 'HKLM\\SOFTWARE\\{key}'\nname = \"N\"\ntype = \"REG_DWORD\"\n{demand}\n"
            );
        }
        Catalog::parse(&document).unwrap()
    }

    fn planned(rules: &[(&str, &str, &str)], hold_back: &HoldBack) -> Result<Plan, Error> {
        plan(&assessed(&small(rules), &FakeMachine::new(fake_machine::member_server())), hold_back)
    }

    #[test]
    fn only_open_findings_become_steps_in_the_order_of_the_catalog() {
        let assessment = fresh();
        let plan = plan(&assessment, &HoldBack::Nothing).unwrap();
        let open = assessment.findings.iter().filter(|finding| finding.status == Status::Open);
        let expected: Vec<&str> =
            open.flat_map(|finding| finding.checks.iter().map(|_| finding.stig_id.as_str())).collect();
        let planned: Vec<&str> = plan.steps.iter().map(|step| step.rules[0].as_str()).collect();
        assert_eq!(planned, expected);
        assert_eq!((plan.steps.len(), plan.held_back.len()), (97, 0), "95 open rules, two of them with two values");
        assert!(plan.steps.iter().all(|step| step.to.is_some()));
    }

    #[test]
    fn organization_defaults_are_the_values_to_write() {
        let mut machine = FakeMachine::new(fake_machine::domain_controller());
        machine.identity.domain_joined = Some(true);
        let early_launch = setting("HKLM\\SYSTEM\\CurrentControlSet\\Policies\\EarlyLaunch", "DriverLoadPolicy");
        machine.put(&early_launch, Some(Value::dword(7)));
        let controller = plan(&assessed(Catalog::ws2022(), &machine), &HoldBack::Nothing).unwrap();
        let server = plan(&fresh(), &HoldBack::Nothing).unwrap();
        let written = |name: &str| {
            let of = |step: &&Step| matches!(&step.setting, Setting::Registry { name: of, .. } if of == name);
            controller.steps.iter().chain(&server.steps).find(of).unwrap().to.clone().unwrap()
        };
        for (name, number) in [
            ("InactivityTimeoutSecs", 900),
            ("AllowTelemetry", 1),
            ("DODownloadMode", 0),
            ("DriverLoadPolicy", 3),
            ("ConsentPromptBehaviorAdmin", 2),
            ("MaximumPasswordAge", 30),
            ("StrongCertificateBindingEnforcement", 1),
            ("RequirePlatformSecurityFeatures", 1),
        ] {
            assert_eq!(written(name), Value::dword(number), "{name}");
        }
        for (name, text) in [
            ("scremoveoption", "1"),
            ("CachedLogonsCount", "4"),
            ("LegalNoticeCaption", "DoD Notice and Consent Banner"),
        ] {
            assert_eq!(written(name), Value::sz(text), "{name}");
        }
    }

    #[test]
    fn rules_that_demand_the_same_value_share_a_step() {
        let plan = planned(&[("K", "equals = 1", ""), ("k", "equals = 1", "")], &HoldBack::Nothing).unwrap();
        assert_eq!(plan.steps.len(), 1);
        assert_eq!(plan.steps[0].rules, ["T-0", "T-1"]);
    }

    #[test]
    fn rules_that_contradict_each_other_are_refused() {
        let error = planned(&[("K", "equals = 1", ""), ("k", "equals = 2", "")], &HoldBack::Nothing).unwrap_err();
        assert_eq!(error.code(), Some("E-RULE-CONFLICT"));
        assert_eq!(error.to_string(), "T-0 and T-1 demand different values of HKLM\\SOFTWARE\\k!N");
    }

    #[test]
    fn rules_of_import_risk_are_held_back_unless_it_is_disproved() {
        let hold = "import_risk = { advice = \"hold\", reason = \"h\" }";
        let guard = "import_risk = { advice = \"guard\", reason = \"g\" }";
        let safe = "import_risk = { advice = \"guard\", reason = \"s\", safe_values = [1] }";
        let unsafe_value = "import_risk = { advice = \"guard\", reason = \"u\", safe_values = [2] }";
        let apply = "import_risk = { advice = \"apply\", reason = \"a\" }";
        let rules = [hold, guard, safe, unsafe_value, apply, ""];
        let keys: Vec<String> = (0..rules.len()).map(|at| format!("K{at}")).collect();
        let rules: Vec<(&str, &str, &str)> =
            keys.iter().zip(rules).map(|(key, risk)| (key.as_str(), "equals = 1", risk)).collect();
        let held = |hold_back: &HoldBack| {
            let plan = planned(&rules, hold_back).unwrap();
            assert_eq!(plan.steps.len() + plan.held_back.len(), rules.len());
            plan.held_back.iter().map(|held| format!("{} {}", held.rule, held.reason)).collect::<Vec<_>>()
        };
        assert!(held(&HoldBack::Nothing).is_empty());
        assert_eq!(held(&HoldBack::ImportRisk { disproved: BTreeSet::new() }), ["T-0 h", "T-1 g", "T-3 u"]);
        let disproved = BTreeSet::from(["T-0".to_owned(), "T-1".to_owned()]);
        assert_eq!(held(&HoldBack::ImportRisk { disproved }), ["T-0 h", "T-3 u"], "a hold is not a guard");
    }

    #[test]
    fn a_setting_that_is_held_back_is_not_changed_for_another_rule() {
        let hold = "import_risk = { advice = \"hold\", reason = \"h\" }";
        let hold_back = HoldBack::ImportRisk { disproved: BTreeSet::new() };
        let plan = planned(&[("K", "equals = 1", ""), ("k", "equals = 1", hold)], &hold_back).unwrap();
        assert!(plan.steps.is_empty());
        assert_eq!(plan.held_back[1].reason, "HKLM\\SOFTWARE\\k!N is held back for T-1");
    }

    #[test]
    fn what_the_server_2022_catalog_holds_back_before_an_import() {
        let assessment = assessed(Catalog::ws2022(), &FakeMachine::new(fake_machine::member_server()));
        let plan = plan(&assessment, &HoldBack::ImportRisk { disproved: BTreeSet::new() }).unwrap();
        let held: Vec<&str> = plan.held_back.iter().map(|held| &held.rule[5..]).collect();
        let (accounts, policy) =
            (["00-000200", "00-000210"], ["AC-000010", "AC-000020", "AC-000050", "AC-000070", "AC-000080"]);
        let rights = ["MS-000070", "MS-000080", "MS-000120"];
        let others = ["MS-000140", "SO-000020", "SO-000130", "SO-000140", "SO-000360", "UR-000030"];
        // The window and the minimum age are set together with what is held back.
        let bound = ["AC-000030", "AC-000060"];
        let expected: Vec<&str> = [&accounts[..], &policy, &["CC-000110"], &rights, &others, &bound].concat();
        assert_eq!(held, expected);
    }

    #[test]
    fn the_early_launch_policy_is_written_as_3_even_before_an_import() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let key = "HKLM\\SYSTEM\\CurrentControlSet\\Policies\\EarlyLaunch";
        machine.put(&setting(key, "DriverLoadPolicy"), Some(Value::dword(7)));
        let hold_back = HoldBack::ImportRisk { disproved: BTreeSet::new() };
        let with = |document: &str| {
            let values = Values::parse(document, Catalog::ws2022()).unwrap();
            let assessment = assess(Catalog::ws2022(), &Selection::default(), &values, &machine);
            let plan = plan(&assessment, &hold_back).unwrap();
            plan.steps.iter().find(|step| step.rules == ["WN22-CC-000130"]).and_then(|step| step.to.clone())
        };
        let head = "schema = \"coldforge/values/1\"\n[values]\n";
        assert_eq!(with(head), Some(Value::dword(3)));
        assert_eq!(with(&format!("{head}V-254344 = 8")), None, "8 could refuse the drivers of the cloud");
    }

    #[test]
    fn a_plan_is_the_same_each_time() {
        assert_eq!(plan(&fresh(), &HoldBack::Nothing).unwrap(), plan(&fresh(), &HoldBack::Nothing).unwrap());
    }

    /// Returns a catalog of rules that each have these lines as their one check.
    fn catalog(checks: &[&str]) -> Catalog {
        let mut document = "schema = \"coldforge/catalog/1\"\nid = \"t\"\ntitle = \"T\"\nbenchmark = \"T\"\n\
            version = 1\nrelease = 1\ndate = \"2026-01-01\"\nbuilds = [20348]\n"
            .to_owned();
        for (at, check) in checks.iter().enumerate() {
            document += &format!(
                "[[rule]]\nstig_id = \"T-{at}\"\nvuln_id = \"V-{at}\"\nrule_id = \"SV-{at}r1_rule\"\ntitle = \"T\"\n\
                severity = \"low\"\nkind = \"user_right\"\nrole = \"both\"\n[[rule.check]]\n{check}\n"
            );
        }
        Catalog::parse(&document).unwrap()
    }

    #[test]
    fn what_rules_want_added_is_added_together() {
        let catalog = catalog(&[
            "audit_policy = \"Logon\"\nrecords = [\"success\"]",
            "audit_policy = \"Logon\"\nrecords = [\"failure\"]",
            "user_right = \"SeDenyBatchLogonRight\"\nincludes = [[\"S-1-5-32-546\"]]",
        ]);
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let logon = Setting::AuditPolicy { subcategory: "Logon".into() };
        let deny = Setting::UserRight { right: "SeDenyBatchLogonRight".into() };
        machine.put(&logon, Some(Value::Audit(AuditFlags::default())));
        let sid = |text: &str| text.parse::<Sid>().unwrap();
        machine.put(&deny, Some(Value::Sids([sid("S-1-5-32-544")].into())));
        let plan = plan(&assessed(&catalog, &machine), &HoldBack::Nothing).unwrap();
        assert_eq!(plan.steps.len(), 2);
        assert_eq!(plan.steps[0].rules, ["T-0", "T-1"]);
        assert_eq!(plan.steps[0].to, Some(Value::Audit(AuditFlags { success: true, failure: true })));
        assert_eq!(plan.steps[1].to, Some(Value::Sids([sid("S-1-5-32-544"), sid("S-1-5-32-546")].into())));
    }

    #[test]
    fn what_is_given_to_some_alone_keeps_those_who_are_tolerated() {
        let check = "user_right = \"SeDebugPrivilege\"\nonly = [\"S-1-5-32-544\"]\ntolerates = [\"S-1-5-83-0\"]";
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let right = Setting::UserRight { right: "SeDebugPrivilege".into() };
        let sids = |texts: &[&str]| Value::Sids(texts.iter().map(|text| text.parse().unwrap()).collect());
        machine.put(&right, Some(sids(&["S-1-5-83-0", "S-1-5-32-551"])));
        let plan = plan(&assessed(&catalog(&[check]), &machine), &HoldBack::Nothing).unwrap();
        assert_eq!(plan.steps[0].to, Some(sids(&["S-1-5-32-544", "S-1-5-83-0"])));
    }

    #[test]
    fn adding_to_what_another_rule_takes_away_is_a_conflict() {
        let catalog = catalog(&[
            "user_right = \"SeDebugPrivilege\"\nonly = []",
            "user_right = \"SeDebugPrivilege\"\nincludes = [[\"S-1-5-32-544\"]]",
        ]);
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let right = Setting::UserRight { right: "SeDebugPrivilege".into() };
        machine.put(&right, Some(Value::Sids(["S-1-5-32-551".parse().unwrap()].into())));
        let error = plan(&assessed(&catalog, &machine), &HoldBack::Nothing).unwrap_err();
        assert_eq!(error.code(), Some("E-RULE-CONFLICT"));
    }

    #[test]
    fn what_cannot_be_amended_here_is_left_open_with_its_reason() {
        let check = "account = \"name\"\nrid = 500\nother_than = \"Administrator\"\nbeyond = \"which name is missing\"";
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let name = Setting::Account { rid: Some(500), property: AccountProperty::Name };
        machine.put(&name, Some(Value::Text("administrator".into())));
        let plan = plan(&assessed(&catalog(&[check]), &machine), &HoldBack::Nothing).unwrap();
        assert!(plan.steps.is_empty());
        assert_eq!(plan.left_open[0].reason, "which name is missing");
    }
}
