//! What all rules together require of a setting, so that a step for one rule breaks no other.

use std::collections::BTreeMap;

use super::step::folded;
use crate::policy::finding::{CheckResult, Finding, Remediation, Status};
use crate::windows::setting::{Setting, Value};

/// The requirements of the rules, by setting.
pub(in crate::policy) struct Requirements<'a> {
    of: BTreeMap<Setting, Vec<(&'a str, &'a CheckResult)>>,
}

impl<'a> Requirements<'a> {
    /// Collects the requirements that can be met on a powered-off machine.
    pub(in crate::policy) fn of(findings: &[&'a Finding]) -> Self {
        let mut of: BTreeMap<Setting, Vec<(&str, &CheckResult)>> = BTreeMap::new();
        for finding in findings {
            for check in &finding.checks {
                let is_beyond = check.status == Status::Open && matches!(check.to, Remediation::Beyond(_));
                if check.demand.is_some() && !is_beyond {
                    of.entry(folded(&check.setting)).or_default().push((&finding.stig_id, check));
                }
            }
        }
        Self { of }
    }

    /// Tells whether any rule has a requirement for a setting.
    pub(in crate::policy) fn has(&self, setting: &Setting) -> bool {
        self.of.contains_key(&folded(setting))
    }

    /// Returns the first rule whose requirement a value would not meet.
    pub(in crate::policy) fn unmet(&self, setting: &Setting, to: Option<&Value>) -> Option<&'a str> {
        let checks = self.of.get(&folded(setting))?;
        let unmet = |check: &CheckResult| {
            check.demand.as_ref().is_some_and(|(form, require)| require.judge(*form, to).is_err())
        };
        checks.iter().find(|(_, check)| unmet(check)).map(|(rule, _)| *rule)
    }
}
