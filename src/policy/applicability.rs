//! Whether a rule is for a machine at all.

use super::rule::{Condition, Rule, RuleScope};
use crate::windows::setting::{Identity, Role};

const NOT_ON_DC: &str = "the rule is not for domain controllers, and this machine is one";
const ONLY_ON_DC: &str = "the rule is for domain controllers, and this machine is none";
const JOINED_ONLY: &str = "the rule is for members of a domain, and this machine is none";
const JOINED_UNKNOWN: &str = "the rule is for members of a domain, and whether this machine is one could not be told";
const STANDALONE_ONLY: &str = "the rule is for machines outside a domain, and this machine is in one";
const STANDALONE_UNKNOWN: &str =
    "the rule is for machines outside a domain, and whether this machine is could not be told";
const NOT_ON_CORE: &str = "the rule is not for Server Core, and this installation is one";
const CORE_UNKNOWN: &str = "the rule is not for Server Core, and the type of this installation could not be told";

/// Whether a rule is for a machine, with the reason if it is not, or if that cannot be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Applicability {
    Applies,
    Not(&'static str),
    Unknown(&'static str),
}

impl Applicability {
    /// Tells whether a rule is for a machine in a role. One condition that fails decides, whatever cannot be told of
    /// another.
    pub(super) fn of(rule: &Rule, role: Role, identity: &Identity) -> Self {
        let controller = role == Role::DomainController;
        match rule.role {
            RuleScope::DomainController if !controller => return Self::Not(ONLY_ON_DC),
            RuleScope::MemberServer if controller => return Self::Not(NOT_ON_DC),
            _ => {}
        }
        Self::under_all(&rule.applies, role, identity)
    }

    /// Tells whether all conditions hold of a machine in a role.
    pub(super) fn under_all(conditions: &[Condition], role: Role, identity: &Identity) -> Self {
        let mut answer = Self::Applies;
        for condition in conditions {
            match (Self::under(*condition, role == Role::DomainController, identity), answer) {
                (not @ Self::Not(_), _) => return not,
                (unknown @ Self::Unknown(_), Self::Applies) => answer = unknown,
                _ => {}
            }
        }
        answer
    }

    fn under(condition: Condition, controller: bool, identity: &Identity) -> Self {
        match condition {
            Condition::NotOnDc if controller => Self::Not(NOT_ON_DC),
            Condition::NotOnDc => Self::Applies,
            // A domain controller belongs to its domain, whatever else could be read.
            Condition::DomainJoined if controller => Self::Applies,
            Condition::DomainJoined => match identity.domain_joined {
                Some(true) => Self::Applies,
                Some(false) => Self::Not(JOINED_ONLY),
                None => Self::Unknown(JOINED_UNKNOWN),
            },
            Condition::Standalone if controller => Self::Not(STANDALONE_ONLY),
            Condition::Standalone => match identity.domain_joined {
                Some(true) => Self::Not(STANDALONE_ONLY),
                Some(false) => Self::Applies,
                None => Self::Unknown(STANDALONE_UNKNOWN),
            },
            Condition::NotOnServerCore => match identity.installation_type.as_str() {
                "" => Self::Unknown(CORE_UNKNOWN),
                core if core.eq_ignore_ascii_case("Server Core") => Self::Not(NOT_ON_CORE),
                _ => Self::Applies,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::Catalog;
    use super::super::fake_machine;
    use super::*;

    #[test]
    fn a_condition_that_fails_decides_over_one_that_cannot_be_told() {
        let rule = Catalog::ws2022().find_rule("WN22-CC-000110").unwrap();
        let identity =
            Identity { domain_joined: Some(false), installation_type: String::new(), ..fake_machine::member_server() };
        let role = identity.role;
        for applies in [
            vec![Condition::NotOnServerCore, Condition::DomainJoined],
            vec![Condition::DomainJoined, Condition::NotOnServerCore],
        ] {
            let rule = Rule { applies, ..rule.clone() };
            assert_eq!(Applicability::of(&rule, role, &identity), Applicability::Not(JOINED_ONLY));
            let untold = Identity { domain_joined: None, ..identity.clone() };
            assert!(matches!(Applicability::of(&rule, role, &untold), Applicability::Unknown(_)));
            let told = Identity { domain_joined: Some(true), installation_type: "Server".into(), ..identity.clone() };
            assert_eq!(Applicability::of(&rule, role, &told), Applicability::Applies);
        }
    }
}
