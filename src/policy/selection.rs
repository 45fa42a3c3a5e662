//! Which rules of a catalog are taken, and for which role.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::catalog::Catalog;
use super::error::Error;
use super::rule::{Rule, Severity};
use crate::windows::setting::{Identity, Role};

/// How severe the rules must be; each level holds the ones below it, as EC2 Image Builder's STIG components do.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// CAT III only.
    Low,
    /// CAT III and II.
    Medium,
    /// Every rule.
    #[default]
    High,
}

impl Level {
    /// Returns whether rules of this severity belong to the level.
    pub fn holds(self, severity: Severity) -> bool {
        match self {
            Self::Low => severity == Severity::Low,
            Self::Medium => severity <= Severity::Medium,
            Self::High => true,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

impl FromStr for Level {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|level| level.to_string() == text).ok_or(UnknownWord)
    }
}

/// A word that names no choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownWord;

/// As what a machine is assessed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RoleChoice {
    /// As what its own hives say.
    #[default]
    Auto,
    /// As a server that is no domain controller.
    MemberServer,
    /// As a domain controller.
    DomainController,
}

impl fmt::Display for RoleChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::MemberServer => "ms",
            Self::DomainController => "dc",
        })
    }
}

impl FromStr for RoleChoice {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let choices = [Self::Auto, Self::MemberServer, Self::DomainController];
        choices.into_iter().find(|choice| choice.to_string() == text).ok_or(UnknownWord)
    }
}

/// A choice of rules.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    level: Level,
    role: RoleChoice,
    only: BTreeSet<String>,
    skip: BTreeSet<String>,
}

impl Selection {
    /// Chooses rules of a catalog: those of `level`, or those named in `only` whatever their severity, without those
    /// named in `skip`. Any id names a rule, as in [`Catalog::find_rule`].
    ///
    /// # Errors
    /// [`Error::UnknownRule`], with the nearest id; [`Error::EmptySelection`], because nothing assessed is not the
    /// same as nothing open.
    pub fn new(
        catalog: &Catalog,
        level: Level,
        role: RoleChoice,
        only: &[String],
        skip: &[String],
    ) -> Result<Self, Error> {
        let resolve = |names: &[String]| -> Result<BTreeSet<String>, Error> {
            names.iter().map(|name| Ok(catalog.find_rule(name)?.stig_id.clone())).collect()
        };
        let selection = Self { level, role, only: resolve(only)?, skip: resolve(skip)? };
        if !catalog.rules.iter().any(|rule| selection.takes(rule)) {
            return Err(Error::EmptySelection);
        }
        Ok(selection)
    }

    /// Returns whether the rule is taken.
    pub fn takes(&self, rule: &Rule) -> bool {
        let wanted =
            if self.only.is_empty() { self.level.holds(rule.severity) } else { self.only.contains(&rule.stig_id) };
        wanted && !self.skip.contains(&rule.stig_id)
    }

    /// Returns the role in which the machine is assessed; a client counts as a machine that is no domain controller.
    pub fn role(&self, identity: &Identity) -> Role {
        match self.role {
            RoleChoice::Auto => identity.role,
            RoleChoice::MemberServer => Role::MemberServer,
            RoleChoice::DomainController => Role::DomainController,
        }
    }
}

/// What a user wants left open.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HoldBackChoice {
    /// What could stop the first boot of an imported image, or lock everybody out of it.
    #[default]
    ImportRisk,
    /// Nothing.
    Nothing,
}

impl fmt::Display for HoldBackChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ImportRisk => "import-risk",
            Self::Nothing => "none",
        })
    }
}

impl FromStr for HoldBackChoice {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        [Self::ImportRisk, Self::Nothing].into_iter().find(|choice| choice.to_string() == text).ok_or(UnknownWord)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake_machine;
    use super::*;

    fn taken(level: Level, only: &[&str], skip: &[&str]) -> Result<usize, Error> {
        let catalog = Catalog::ws2022();
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let selection = Selection::new(catalog, level, RoleChoice::Auto, &owned(only), &owned(skip))?;
        Ok(catalog.rules.iter().filter(|rule| selection.takes(rule)).count())
    }

    #[test]
    fn levels_are_cumulative() {
        assert_eq!(taken(Level::Low, &[], &[]).unwrap(), 12);
        assert_eq!(taken(Level::Medium, &[], &[]).unwrap(), 12 + 239);
        assert_eq!(taken(Level::High, &[], &[]).unwrap(), 282);
        assert_eq!(
            Selection::default(),
            Selection::new(Catalog::ws2022(), Level::High, RoleChoice::Auto, &[], &[]).unwrap()
        );
    }

    #[test]
    fn rules_are_named_by_any_id() {
        assert_eq!(taken(Level::High, &[], &["v-254276", "SV-254277", "WN22-SO-000120"]).unwrap(), 279);
        assert_eq!(taken(Level::Low, &["V-254475", "WN22-SO-000310"], &[]).unwrap(), 1, "whatever its severity");
        assert_eq!(taken(Level::High, &["V-254475", "V-254276"], &["V-254276"]).unwrap(), 1);
    }

    #[test]
    fn an_unknown_id_is_an_error_with_the_nearest() {
        for (only, skip) in [(vec!["V-25447"], vec![]), (vec![], vec!["V-25447"])] {
            let error = taken(Level::High, &only, &skip).unwrap_err();
            assert!(matches!(&error, Error::UnknownRule { nearest: Some(_), .. }), "{error}");
        }
    }

    #[test]
    fn a_selection_of_nothing_is_refused() {
        assert!(matches!(taken(Level::High, &["V-254475"], &["V-254475"]), Err(Error::EmptySelection)));
    }

    #[test]
    fn the_role_is_the_machines_unless_it_is_chosen() {
        let server = fake_machine::member_server();
        let as_role = |role| Selection::new(Catalog::ws2022(), Level::High, role, &[], &[]).unwrap().role(&server);
        assert_eq!(as_role(RoleChoice::Auto), Role::MemberServer);
        assert_eq!(as_role(RoleChoice::DomainController), Role::DomainController);
    }
}
