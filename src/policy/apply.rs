//! Carries out a plan on a machine. Nothing is written to an image here: that is for the machine's own commit.

use super::error::Error;
use super::plan::step::Plan;
use crate::windows::setting::{Change, Setting, Settings, Value};

/// A step that changed something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// The STIG ids of the rules that demanded it.
    pub rules: Vec<String>,
    /// What changed.
    pub change: Change,
}

/// Carries out the steps of a plan, and returns those that changed something, in the plan's order.
///
/// # Errors
/// [`Error::Step`] for the first step that failed: the machine must then be thrown away, not committed.
/// [`Error::Answers`] if the machine does not answer every step.
pub fn apply(plan: &Plan, machine: &mut dyn Settings) -> Result<Vec<Applied>, Error> {
    let steps: Vec<(Setting, Option<Value>)> =
        plan.steps.iter().map(|step| (step.setting.clone(), step.to.clone())).collect();
    let answers = machine.set_all(&steps);
    if answers.len() != steps.len() {
        return Err(Error::Answers { asked: steps.len(), answered: answers.len() });
    }
    let mut applied = Vec::new();
    for (step, answer) in plan.steps.iter().zip(answers) {
        let change = answer.map_err(|source| Error::Step { rules: step.rules.clone(), source: Box::new(source) })?;
        applied.extend(change.map(|change| Applied { rules: step.rules.clone(), change }));
    }
    Ok(applied)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::super::assess::assess;
    use super::super::catalog::Catalog;
    use super::super::fake_machine::{self, FakeMachine};
    use super::super::finding::{Assessment, Status, Totals};
    use super::super::plan::{plan, step::HoldBack};
    use super::super::require::Requirement;
    use super::super::rule::{Check, Remedy, Rule, RuleKind, RuleScope};
    use super::super::selection::Selection;
    use super::super::values::Values;
    use super::*;
    use crate::windows::setting::{Data, FolderEntry, Form, Found, Identity, Readings, SettingError, ValueType};
    use coldforge_base::Failure as _;

    /// The rules of the registry: for them every value that is wrong can be told.
    static REGISTRY: LazyLock<Catalog> = LazyLock::new(|| {
        let mut catalog = Catalog::ws2022().clone();
        catalog.rules.retain(|rule| rule.kind == RuleKind::Registry);
        catalog
    });

    fn assessed(machine: &FakeMachine) -> Assessment {
        assess(&REGISTRY, &Selection::default(), &Values::default(), machine)
    }

    fn planned(machine: &FakeMachine) -> Plan {
        plan(&assessed(machine), &HoldBack::Nothing).unwrap()
    }

    fn open(machine: &FakeMachine) -> Vec<String> {
        let findings = assessed(machine).findings;
        findings.into_iter().filter(|finding| finding.status == Status::Open).map(|finding| finding.stig_id).collect()
    }

    /// Returns a machine to which the rule applies and which meets every rule.
    fn hardened(rule: &Rule) -> FakeMachine {
        let mut machine = FakeMachine::new(match rule.role {
            RuleScope::DomainController => fake_machine::domain_controller(),
            _ => fake_machine::member_server(),
        });
        machine.control_sets = vec![1, 2];
        for check in REGISTRY.rules.iter().flat_map(|rule| &rule.checks) {
            machine.put(&check.setting, Some(written(check)));
        }
        machine
    }

    /// Returns what a check writes.
    fn written(check: &Check) -> Value {
        match &check.remedy {
            Remedy::Set(value) => value.clone(),
            other => panic!("{} has the remedy {other:?}", check.setting),
        }
    }

    /// Returns values that do not meet a check: absence, other types, and the numbers and texts just beside.
    fn wrong(check: &Check) -> Vec<Option<Value>> {
        let set = written(check);
        let bytes = set.as_data().unwrap().data.clone();
        let mut wrong =
            vec![Some(Value::data(ValueType::BINARY, bytes.clone())), Some(Value::data(ValueType(4711), Vec::new()))];
        let (require, absent_passes) = match &check.require {
            Requirement::AbsentOr(inner) => (&**inner, true),
            require => (require, false),
        };
        if !absent_passes {
            wrong.push(None);
        }
        let numbers: Vec<u32> = match require {
            Requirement::Equals(number) => vec![number.wrapping_add(1), number.wrapping_sub(1), u32::MAX],
            Requirement::OneOf(numbers) => (0..200).filter(|number| !numbers.contains(number)).collect(),
            Requirement::AtLeast(least) => vec![0, least - 1],
            Requirement::AtMost(most) => vec![most + 1, u32::MAX],
            Requirement::Range(least, most) => vec![least - 1, most + 1, u32::MAX],
            _ => Vec::new(),
        };
        if check.form == Form::Data(ValueType::DWORD) {
            wrong.extend(numbers.iter().map(|number| Some(Value::dword(*number))));
            wrong.push(Some(Value::sz(&set.to_string())));
            wrong.push(Some(Value::data(ValueType::DWORD, bytes[..2].to_vec())));
        } else {
            wrong.extend(numbers.iter().map(|number| Some(Value::sz(&number.to_string()))));
            wrong.push(Some(Value::dword(1)));
            wrong.push(Some(Value::sz("")));
            wrong.push(Some(Value::sz("x")));
            wrong.push(Some(Value::data(ValueType::EXPAND_SZ, bytes)));
        }
        wrong
    }

    #[test]
    fn every_rule_is_open_where_a_value_is_wrong_and_closed_by_its_one_step() {
        let mut rules = 0;
        for rule in &REGISTRY.rules {
            rules += 1;
            let good = hardened(rule);
            assert!(open(&good).is_empty(), "{:?}", open(&good));
            for check in &rule.checks {
                for value in wrong(check) {
                    for place in good.places(&check.setting) {
                        let mut machine = hardened(rule);
                        machine.put(&place, value.clone());
                        assert_eq!(open(&machine), [rule.stig_id.as_str()], "{value:?} in {place}");
                        let plan = planned(&machine);
                        assert_eq!(plan.steps.len(), 1, "{}", rule.stig_id);
                        let applied = apply(&plan, &mut machine).unwrap();
                        assert_eq!(applied.len(), 1, "{}", rule.stig_id);
                        assert_eq!(applied[0].rules, [rule.stig_id.as_str()]);
                        assert_eq!((&applied[0].change.setting, &applied[0].change.before), (&place, &value));
                        assert_eq!(applied[0].change.after.as_ref(), Some(&written(check)));
                        assert!(open(&machine).is_empty(), "{}", rule.stig_id);
                    }
                }
            }
        }
        assert_eq!(rules, 106);
    }

    #[test]
    fn a_bare_machine_is_hardened_and_then_left_alone() {
        for (identity, pass) in [(fake_machine::member_server(), 102), (fake_machine::domain_controller(), 99)] {
            let mut machine = FakeMachine::new(identity);
            machine.control_sets = vec![1, 3];
            let before = assessed(&machine).totals.all;
            let first = planned(&machine);
            assert_eq!(apply(&first, &mut machine).unwrap().len(), first.steps.len());
            let after = assessed(&machine).totals.all;
            assert_eq!(after, Totals { pass, open: 0, ..before });
            assert_eq!(planned(&machine), Plan::default(), "nothing is left to do");
            let again = apply(&first, &mut machine).unwrap();
            assert!(again.is_empty(), "the same steps change nothing a second time");
        }
    }

    #[test]
    fn a_failed_step_is_an_error_that_names_its_rules() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let plan = planned(&machine);
        machine.damaged.insert("HKLM\\SYSTEM\\CONTROLSET001\\CONTROL\\SESSION MANAGER".into());
        let error = apply(&plan, &mut machine).unwrap_err();
        assert_eq!(error.to_string(), "the step for WN22-SO-000370 failed");
        assert_eq!((error.code(), error.kind()), (Some("E-FAKE"), coldforge_base::Kind::Corrupt));
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.starts_with("cannot change HKLM\\SYSTEM\\ControlSet001\\Control\\Session Manager!"), "{cause}");
    }

    /// A machine that forgets to answer.
    struct Silent(FakeMachine);

    impl Readings for Silent {
        fn identity(&self) -> &Identity {
            self.0.identity()
        }

        fn get(&self, setting: &Setting) -> Result<Found, SettingError> {
            self.0.get(setting)
        }

        fn list(&self, folder: &str) -> Result<Vec<FolderEntry>, SettingError> {
            self.0.list(folder)
        }

        fn subkeys(&self, key: &str) -> Result<Vec<String>, SettingError> {
            self.0.subkeys(key)
        }

        fn values(&self, key: &str) -> Result<Vec<(String, Data)>, SettingError> {
            self.0.values(key)
        }
    }

    impl Settings for Silent {
        fn set(&mut self, setting: &Setting, to: Option<&Value>) -> Result<Option<Change>, SettingError> {
            self.0.set(setting, to)
        }

        fn set_all(&mut self, _: &[(Setting, Option<Value>)]) -> Vec<Result<Option<Change>, SettingError>> {
            Vec::new()
        }
    }

    #[test]
    fn a_machine_must_answer_every_step() {
        let machine = FakeMachine::new(fake_machine::member_server());
        let plan = planned(&machine);
        let error = apply(&plan, &mut Silent(machine)).unwrap_err();
        assert_eq!(error.to_string(), "the machine answered 0 of 97 steps");
    }
}
