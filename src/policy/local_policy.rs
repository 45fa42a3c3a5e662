//! Local group policy, which Windows applies again at every refresh: entries that turn back what is demanded, and the
//! entries that are written beside what is changed, so that the policy editor shows it.

use std::fmt;
use std::str::FromStr;

use super::finding::{Assessment, Status};
use super::plan::step::{Held, Plan, Step, folded};
use super::selection::UnknownWord;
use crate::windows::setting::{PolicyScope, Readings, Setting, Value};

/// The keys below which a value is a policy: one that the policy editor shows.
const POLICIES: [&str; 2] = [r"SOFTWARE\Policies", r"SOFTWARE\Microsoft\Windows\CurrentVersion\Policies"];

/// What a run does to local group policy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LocalGpo {
    /// Entries that turn a demanded value back are changed, and what is changed below the keys of policies gets one.
    #[default]
    Write,
    /// Only entries that turn a demanded value back are changed.
    Update,
    /// Nothing.
    Leave,
}

impl fmt::Display for LocalGpo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "write",
            Self::Update => "update",
            Self::Leave => "leave",
        })
    }
}

impl FromStr for LocalGpo {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "write" => Ok(Self::Write),
            "update" => Ok(Self::Update),
            "leave" => Ok(Self::Leave),
            _ => Err(UnknownWord),
        }
    }
}

/// Returns the entry of local group policy that could turn a setting back, if there are such entries for it.
pub(super) fn entry(setting: &Setting) -> Option<Setting> {
    match setting {
        Setting::Registry { key, name } => {
            let (root, key) = key.split_once('\\')?;
            let scope = match root.to_ascii_uppercase().as_str() {
                "HKLM" => PolicyScope::Machine,
                "HKCU" => PolicyScope::User,
                _ => return None,
            };
            Some(Setting::LocalPolicy { scope, key: key.to_owned(), name: name.clone() })
        }
        Setting::AuditPolicy { subcategory } => Some(Setting::LocalAuditPolicy { subcategory: subcategory.clone() }),
        _ => None,
    }
}

/// Tells whether an entry that is not there is to be written beside its setting: a value that is a policy, and a row
/// wherever rows are, because Windows clears the whole audit policy before it applies them. A file of rows is not begun.
pub(super) fn is_wanted(entry: &Setting, file: &str, machine: &dyn Readings) -> bool {
    match entry {
        Setting::LocalPolicy { key, .. } => POLICIES.iter().any(|root| {
            let head = key.get(..root.len()).is_some_and(|head| head.eq_ignore_ascii_case(root));
            head && key.get(root.len()..).is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
        }),
        Setting::LocalAuditPolicy { .. } => {
            let file = Setting::File { path: file.to_owned() };
            machine.get(&file).is_ok_and(|found| found.value == Some(Value::Flag(true)))
        }
        _ => false,
    }
}

impl Plan {
    /// Returns the plan with what a run does to local group policy: the entries to write beside the steps, or none at all.
    pub fn with_local_policy(mut self, assessment: &Assessment, local: LocalGpo) -> Self {
        let is_local =
            |step: &Step| matches!(step.setting, Setting::LocalPolicy { .. } | Setting::LocalAuditPolicy { .. });
        match local {
            LocalGpo::Update => {}
            LocalGpo::Leave => {
                let (left, steps) = std::mem::take(&mut self.steps).into_iter().partition(is_local);
                self.steps = steps;
                let reason = |step: &Step| format!("{} turns it back, and is to be left as it is", step.setting);
                self.left_open.extend(left.iter().flat_map(|step: &Step| {
                    step.rules.iter().map(|rule| Held { rule: rule.clone(), reason: reason(step) })
                }));
            }
            LocalGpo::Write => self.add_entries(assessment),
        }
        self
    }

    /// Adds the entries that are not there yet, of steps and of rows that a file of rows must have.
    fn add_entries(&mut self, assessment: &Assessment) {
        for finding in &assessment.findings {
            for check in &finding.checks {
                let Some(twin) = &check.twin else { continue };
                let same = |step: &&Step| folded(&step.setting) == folded(&check.setting);
                let step = self.steps.iter().find(same).map(|step| (step.rules.clone(), step.to.clone()));
                let is_row = matches!(twin, Setting::LocalAuditPolicy { .. }) && check.status == Status::Pass;
                let (rules, to) = match step {
                    Some(step) => step,
                    None if is_row => (vec![finding.stig_id.clone()], check.found.clone()),
                    None => continue,
                };
                let known = self.steps.iter().any(|step| folded(&step.setting) == folded(twin));
                if to.is_some() && !known {
                    self.steps.push(Step { rules, setting: twin.clone(), to });
                }
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
    use crate::windows::setting::AuditFlags;

    const KEY: &str = r"HKLM\SOFTWARE\Policies\K";

    fn catalog() -> Catalog {
        let rule = |number: u8, check: &str| {
            format!(
                "[[rule]]\nstig_id = \"T-{number}\"\nvuln_id = \"V-{number}\"\nrule_id = \"SV-{number}r1_rule\"\n\
                title = \"T\"\nseverity = \"low\"\nkind = \"registry\"\nrole = \"both\"\n[[rule.check]]\n{check}\n"
            )
        };
        let head = "schema = \"coldforge/catalog/1\"\nid = \"t\"\ntitle = \"T\"\nbenchmark = \"T\"\nversion = 1\n\
            release = 1\ndate = \"2026-01-01\"\nbuilds = [20348]\n";
        let value = |key: &str| format!("key = '{key}'\nname = \"N\"\ntype = \"REG_DWORD\"\nequals = 1");
        let rules = [
            rule(0, &value(KEY)),
            rule(1, &value(r"HKLM\SYSTEM\Setup")),
            rule(2, "audit_policy = \"Logon\"\nrecords = [\"success\"]"),
        ];
        Catalog::parse(&format!("{head}{}", rules.concat())).unwrap()
    }

    fn assessed(machine: &FakeMachine) -> Assessment {
        assess(&catalog(), &Selection::default(), &Values::default(), machine)
    }

    fn steps(machine: &FakeMachine, local: LocalGpo) -> Vec<String> {
        let assessment = assessed(machine);
        let plan = plan(&assessment, &HoldBack::Nothing).unwrap().with_local_policy(&assessment, local);
        let to = |step: &Step| step.to.as_ref().map_or("none".to_owned(), ToString::to_string);
        plan.steps.iter().map(|step| format!("{} = {}", step.setting, to(step))).collect()
    }

    fn logon() -> Setting {
        Setting::AuditPolicy { subcategory: "Logon".into() }
    }

    fn local(setting: &Setting) -> Setting {
        entry(setting).unwrap()
    }

    #[test]
    fn what_is_changed_below_the_keys_of_policies_gets_an_entry() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        machine.put(&logon(), Some(Value::Audit(AuditFlags::default())));
        let alone = [r"HKLM\SOFTWARE\Policies\K!N = 1", r"HKLM\SYSTEM\Setup!N = 1", "audit policy: Logon = Success"];
        assert_eq!(steps(&machine, LocalGpo::Update), alone);
        assert_eq!(steps(&machine, LocalGpo::Leave), alone);
        let beside = r"local policy of the machine: SOFTWARE\Policies\K!N = 1";
        assert_eq!(steps(&machine, LocalGpo::Write), [&alone[..], &[beside]].concat(), "no file of rows is begun");
    }

    #[test]
    fn an_entry_that_turns_a_value_back_is_open_and_changed() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        let (policy, other) = (setting(KEY, "N"), setting(r"HKLM\SYSTEM\Setup", "N"));
        machine.put(&policy, Some(Value::dword(1)));
        machine.put(&other, Some(Value::dword(1)));
        machine.put(&logon(), Some(Value::Audit(AuditFlags { success: true, failure: true })));
        assert!(steps(&machine, LocalGpo::Write).is_empty(), "everything passes");
        machine.put(&local(&policy), Some(Value::dword(0)));
        machine.put(&local(&other), Some(Value::Deletion));
        machine.put(&local(&logon()), Some(Value::Audit(AuditFlags { success: false, failure: true })));
        let findings = assessed(&machine).findings;
        assert!(findings.iter().all(|finding| finding.status == Status::Open && finding.checks.len() == 2));
        let reason = findings[0].reason.clone().unwrap();
        assert!(reason.contains("PAPER turns it back") && reason.contains("the value is 0; 1 is required"), "{reason}");
        let mended = [
            r"local policy of the machine: SOFTWARE\Policies\K!N = 1",
            r"local policy of the machine: SYSTEM\Setup!N = 1",
            "local audit policy: Logon = Success and Failure",
        ];
        assert_eq!(steps(&machine, LocalGpo::Update), mended);
        assert_eq!(steps(&machine, LocalGpo::Write), mended);
        let assessment = assessed(&machine);
        let left = plan(&assessment, &HoldBack::Nothing).unwrap().with_local_policy(&assessment, LocalGpo::Leave);
        assert!(left.steps.is_empty() && left.left_open.len() == 3);
        assert!(left.left_open[0].reason.contains("to be left as it is"));
    }

    #[test]
    fn where_rows_are_every_demanded_subcategory_has_one_and_none_loses_anything() {
        let mut machine = FakeMachine::new(fake_machine::member_server());
        for setting in [setting(KEY, "N"), setting(r"HKLM\SYSTEM\Setup", "N")] {
            machine.put(&setting, Some(Value::dword(1)));
        }
        machine.put(&Setting::File { path: "Windows/System32/config/PAPER".into() }, Some(Value::Flag(true)));
        let both = Value::Audit(AuditFlags { success: true, failure: true });
        machine.put(&logon(), Some(both.clone()));
        assert_eq!(steps(&machine, LocalGpo::Write), ["local audit policy: Logon = Success and Failure"]);
        assert!(steps(&machine, LocalGpo::Update).is_empty());
        machine.put(&logon(), Some(Value::Audit(AuditFlags::default())));
        machine.put(&local(&logon()), Some(both));
        assert_eq!(steps(&machine, LocalGpo::Write), ["audit policy: Logon = Success"], "the row stays as it is");
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for local in [LocalGpo::Write, LocalGpo::Update, LocalGpo::Leave] {
            assert_eq!(local.to_string().parse(), Ok(local));
        }
        assert_eq!("keep".parse::<LocalGpo>(), Err(UnknownWord));
    }
}
