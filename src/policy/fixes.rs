//! What is set beside the demands of rules, because somebody asked for it by name: where a rule demands otherwise, the rule
//! stays.

use super::error::Error;
use super::finding::{Assessment, Finding};
use super::local_policy::{self, LocalGpo};
use super::plan::requirements::Requirements;
use super::plan::step::{Held, Plan, Step, folded};
use crate::windows::setting::{Readings, Value};

impl Plan {
    /// Returns the plan with further steps, whose `rules` are the names of what asked for them. A step that would break a
    /// rule is left open, and so is one that local group policy turns back, where that is to be left alone.
    ///
    /// # Errors
    /// [`Error::Step`] if an entry of local group policy cannot be read.
    pub fn with_fixes(
        mut self,
        fixes: Vec<Step>,
        assessment: &Assessment,
        machine: &dyn Readings,
        local: LocalGpo,
    ) -> Result<Self, Error> {
        let live: Vec<&Finding> = assessment.findings.iter().filter(|finding| !finding.is_waived()).collect();
        let demands = Requirements::of(&live);
        let placed = |fix: Step| {
            let entry = local_policy::entry(&fix.setting);
            let at = |setting| (Step { setting, ..fix.clone() }, entry.clone());
            machine.places(&fix.setting).into_iter().map(at).collect::<Vec<_>>()
        };
        for (fix, entry) in fixes.into_iter().flat_map(placed) {
            let mut leave = |reason: String| {
                self.left_open.extend(fix.rules.iter().map(|rule| Held { rule: rule.clone(), reason: reason.clone() }));
            };
            if let Some(rule) = demands.unmet(&fix.setting, fix.to.as_ref()) {
                leave(format!("{rule} demands another value of {}", fix.setting));
                continue;
            }
            let mut steps = vec![fix.clone()];
            if let Some(entry) = entry {
                let failed = |source| Error::Step { rules: fix.rules.clone(), source: Box::new(source) };
                let found = machine.get(&entry).map_err(failed)?.value;
                let gives = found.as_ref().filter(|value| **value != Value::Deletion);
                if found.is_some() && gives != fix.to.as_ref() {
                    if local == LocalGpo::Leave {
                        leave(format!("{entry} turns {} back, and is to be left as it is", fix.setting));
                        continue;
                    }
                    steps.push(Step { setting: entry, ..fix });
                }
            }
            for step in steps {
                self.add(step);
            }
        }
        Ok(self)
    }

    /// Adds a step; one for the same setting takes the value over.
    fn add(&mut self, step: Step) {
        let same = |known: &&mut Step| folded(&known.setting) == folded(&step.setting);
        let Some(known) = self.steps.iter_mut().find(same) else { return self.steps.push(step) };
        known.to = step.to;
        for rule in step.rules {
            if !known.rules.contains(&rule) {
                known.rules.push(rule);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::assess::assess;
    use super::super::catalog::Catalog;
    use super::super::fake_machine::{self, FakeMachine, setting};
    use super::super::plan::{plan, step::HoldBack};
    use super::super::selection::Selection;
    use super::super::values::Values;
    use super::*;

    const KEY: &str = r"HKLM\SOFTWARE\Policies\K";

    fn fix(key: &str, to: Option<Value>) -> Step {
        Step { rules: vec!["P00".into()], setting: setting(key, "N"), to }
    }

    fn planned(demand: &str, fix: Step, machine: &FakeMachine, local: LocalGpo) -> Plan {
        let catalog = Catalog::parse(&format!(
            "schema = \"coldforge/catalog/1\"\nid = \"t\"\ntitle = \"T\"\nbenchmark = \"T\"\nversion = 1\nrelease = 1\n\
            date = \"2026-01-01\"\nbuilds = [20348]\n[[rule]]\nstig_id = \"T-0\"\nvuln_id = \"V-0\"\n\
            rule_id = \"SV-0r1_rule\"\ntitle = \"T\"\nseverity = \"low\"\nkind = \"registry\"\nrole = \"both\"\n\
            [[rule.check]]\nkey = '{KEY}'\nname = \"N\"\ntype = \"REG_DWORD\"\n{demand}\n"
        ));
        let assessment = assess(&catalog.unwrap(), &Selection::default(), &Values::default(), machine);
        let plan = plan(&assessment, &HoldBack::Nothing).unwrap();
        plan.with_fixes(vec![fix], &assessment, machine, local).unwrap()
    }

    #[test]
    fn what_a_rule_demands_otherwise_is_left_to_the_rule() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let other = fix(&KEY.to_lowercase().replacen("hklm", "HKLM", 1), Some(Value::dword(2)));
        let plan = planned("equals = 1", other.clone(), &machine, LocalGpo::Write);
        assert_eq!(plan.steps.iter().map(|step| step.to.clone()).collect::<Vec<_>>(), [Some(Value::dword(1))]);
        assert!(plan.left_open[0].reason.starts_with("T-0 demands another value"), "{:?}", plan.left_open);
        // Met as it is, it is not broken either.
        machine.put(&setting(KEY, "N"), Some(Value::dword(1)));
        let plan = planned("equals = 1", other, &machine, LocalGpo::Write);
        assert_eq!((plan.steps.len(), plan.left_open.len()), (0, 1));
    }

    #[test]
    fn a_value_that_a_rule_allows_and_one_of_its_own_are_set() {
        let machine = FakeMachine::new(fake_machine::member_server());
        let plan = planned("at_most = 2\nset = 1", fix(KEY, Some(Value::dword(2))), &machine, LocalGpo::Write);
        assert_eq!((plan.steps.len(), plan.steps[0].to.clone()), (1, Some(Value::dword(2))));
        assert_eq!(plan.steps[0].rules, ["T-0", "P00"]);
        let plan = planned("equals = 1", fix(r"HKLM\SYSTEM\K", None), &machine, LocalGpo::Write);
        assert_eq!((plan.steps.len(), plan.steps[1].to.clone()), (2, None));
    }

    #[test]
    fn an_entry_of_local_policy_that_turns_it_back_is_changed_or_the_fix_left_open() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let wanted = fix(r"HKLM\SOFTWARE\Policies\L", Some(Value::dword(0)));
        let entry = local_policy::entry(&wanted.setting).unwrap();
        machine.put(&entry, Some(Value::dword(1)));
        let plan = planned("equals = 1", wanted.clone(), &machine, LocalGpo::Write);
        assert_eq!(plan.steps[1..].iter().map(|step| &step.setting).collect::<Vec<_>>(), [&wanted.setting, &entry]);
        let plan = planned("equals = 1", wanted, &machine, LocalGpo::Leave);
        assert_eq!((plan.steps.len(), plan.left_open.len()), (1, 1));
    }
}
