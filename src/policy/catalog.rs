//! A benchmark as data: its rules, how it is chosen for a machine, and how a rule in it is found by any of its ids.
//!
//! The catalogs lie beside this file as TOML; [`document`] reads them.

pub(super) mod document;

use std::fmt;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::nearest::nearest;
use super::rule::Rule;
use crate::windows::setting::{Identity, Role};
use coldforge_base::digest::Digest;

/// A benchmark.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Catalog {
    /// Our short name, such as `ws2022`.
    pub id: String,
    /// The benchmark's title.
    pub title: String,
    /// The benchmark's own id in XCCDF, such as `MS_Windows_Server_2022_STIG`.
    pub benchmark: String,
    /// The version, the 2 of V2R8.
    pub version: u32,
    /// The release, the 8 of V2R8.
    pub release: u32,
    /// The day of the release, such as `2026-04-01`.
    pub date: String,
    /// The builds of Windows Server that it is for.
    pub builds: Vec<u32>,
    /// SHA-256 of the catalog's text, so that evidence can name it exactly.
    pub sha256: Digest,
    /// The rules, in the order of their STIG ids; those of [`components`](Self::components) behind them.
    pub rules: Vec<Rule>,
    /// Whether it is for a program beside Windows, and no benchmark of a machine by itself.
    pub is_component: bool,
    /// The benchmarks whose rules were joined to it, in the order of the rules.
    pub components: Vec<Component>,
}

/// A benchmark that was joined to another one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Component {
    /// What identifies it.
    pub benchmark: Benchmark,
    /// Its own id in XCCDF, such as `MS_Edge_STIG`.
    pub xccdf: String,
    /// SHA-256 of its text.
    pub sha256: Digest,
    /// How many rules it has.
    pub rules: usize,
}

/// What identifies a benchmark.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Benchmark {
    /// The catalog's id, such as `ws2022`.
    pub id: String,
    /// The benchmark's title.
    pub title: String,
    /// The version, the 2 of V2R8.
    pub version: u32,
    /// The release, the 8 of V2R8.
    pub release: u32,
    /// The day of the release.
    pub date: String,
}

impl Benchmark {
    /// Returns what identifies the benchmark of a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        Self {
            id: catalog.id.clone(),
            title: catalog.title.clone(),
            version: catalog.version,
            release: catalog.release,
            date: catalog.date.clone(),
        }
    }
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} V{}R{}", self.title, self.version, self.release)
    }
}

/// Defines the built-in catalogs, each read when it is first asked for.
macro_rules! built_in {
    ($($name:ident $title:literal $document:literal,)+) => {
        /// Returns the built-in catalogs.
        pub fn catalogs() -> Vec<&'static Catalog> {
            vec![$(Catalog::$name()),+]
        }

        impl Catalog {
            $(
                #[doc = concat!("Returns the ", $title, ".")]
                pub fn $name() -> &'static Self {
                    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
                        Catalog::parse(include_str!($document)).expect("the built-in catalogs are read by the tests")
                    });
                    &CATALOG
                }
            )+
        }
    };
}

built_in! {
    ws2016 "Microsoft Windows Server 2016 STIG, version 2, release 10" "catalog/ws2016.toml",
    ws2019 "Microsoft Windows Server 2019 STIG, version 3, release 8" "catalog/ws2019.toml",
    ws2022 "Microsoft Windows Server 2022 STIG, version 2, release 8" "catalog/ws2022.toml",
    ws2025 "Microsoft Windows Server 2025 STIG, version 1, release 1" "catalog/ws2025.toml",
    defender "Microsoft Defender Antivirus STIG, version 2, release 8" "catalog/defender.toml",
    edge "Microsoft Edge STIG, version 2, release 5" "catalog/edge.toml",
    ie11 "Microsoft Internet Explorer 11 STIG, version 2, release 6" "catalog/ie11.toml",
    dotnet "Microsoft .NET Framework 4 STIG, version 2, release 8" "catalog/dotnet.toml",
    firewall "Microsoft Windows Firewall STIG, version 2, release 2" "catalog/firewall.toml",
}

/// Returns the rule of this name in any built-in catalog, as [`Catalog::find_rule`] does in one.
///
/// # Errors
/// [`Error::UnknownRule`], with the nearest id of the first catalog.
pub fn find_rule(name: &str) -> Result<(&'static Catalog, &'static Rule), Error> {
    let mut failure = None;
    for catalog in catalogs() {
        match catalog.find_rule(name) {
            Ok(rule) => return Ok((catalog, rule)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or(Error::UnknownRule { name: name.to_owned(), nearest: None }))
}

impl Catalog {
    /// Reads a catalog from its TOML document (schema `coldforge/catalog/1`).
    ///
    /// # Errors
    /// [`Error::Document`], [`Error::Schema`], or [`Error::Rule`], which names the rule.
    pub fn parse(toml: &str) -> Result<Self, Error> {
        document::read(toml)
    }

    /// Returns the built-in catalog of this id, such as `ws2022`.
    ///
    /// # Errors
    /// [`Error::NoCatalog`].
    pub fn named(id: &str) -> Result<&'static Self, Error> {
        catalogs()
            .into_iter()
            .find(|catalog| catalog.id.eq_ignore_ascii_case(id))
            .ok_or_else(|| Error::NoCatalog { id: id.to_owned(), available: available() })
    }

    /// Returns the built-in catalog for a machine: the one for its build, if it is a server.
    ///
    /// # Errors
    /// [`Error::NoStig`] (`E-NO-STIG`).
    pub fn for_identity(identity: &Identity) -> Result<&'static Self, Error> {
        catalogs()
            .into_iter()
            .filter(|_| identity.role != Role::Workstation)
            .find(|catalog| catalog.builds.contains(&identity.build))
            .ok_or_else(|| Error::NoStig {
                product: identity.product.clone(),
                build: identity.build,
                available: available(),
            })
    }

    /// Returns the built-in components of these ids, such as `edge`; `all` stands for every one. None is named twice.
    ///
    /// # Errors
    /// [`Error::NoComponent`].
    pub fn components_named(ids: &[String]) -> Result<Vec<&'static Self>, Error> {
        let known: Vec<&Self> = catalogs().into_iter().filter(|catalog| catalog.is_component).collect();
        for id in ids.iter().filter(|id| !id.eq_ignore_ascii_case("all")) {
            if !known.iter().any(|catalog| catalog.id.eq_ignore_ascii_case(id)) {
                let available = known.iter().map(|catalog| catalog.id.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Error::NoComponent { id: id.clone(), available });
            }
        }
        let named = |catalog: &&&Self| {
            ids.iter().any(|id| id.eq_ignore_ascii_case("all") || id.eq_ignore_ascii_case(&catalog.id))
        };
        Ok(known.iter().filter(named).copied().collect())
    }

    /// Returns this catalog with the rules of others behind its own.
    #[must_use]
    pub fn joined(&self, components: &[&Self]) -> Self {
        let mut joined = self.clone();
        let mut digests = self.sha256.to_string();
        for other in components {
            let (benchmark, xccdf) = (Benchmark::of(other), other.benchmark.clone());
            joined.components.push(Component { benchmark, xccdf, sha256: other.sha256, rules: other.rules.len() });
            joined.rules.extend(other.rules.iter().cloned());
            digests.push_str(&other.sha256.to_string());
        }
        if !components.is_empty() {
            joined.sha256 = Digest::of(digests.as_bytes());
        }
        joined
    }

    /// Returns the component that the rule at this place was joined with; `None` for the catalog's own.
    pub fn component_of(&self, at: usize) -> Option<&Component> {
        let joined: usize = self.components.iter().map(|component| component.rules).sum();
        let mut behind = at.checked_sub(self.rules.len().saturating_sub(joined))?;
        for component in &self.components {
            match behind.checked_sub(component.rules) {
                None => return Some(component),
                Some(rest) => behind = rest,
            }
        }
        None
    }

    /// Returns the rule of this name, in upper or lower case: its V- id, its SV- id with or without the revision, or
    /// its STIG id.
    ///
    /// # Errors
    /// [`Error::UnknownRule`], with the nearest id.
    pub fn find_rule(&self, name: &str) -> Result<&Rule, Error> {
        let name = name.trim();
        self.rules
            .iter()
            .find(|rule| ids(rule).iter().any(|id| id.eq_ignore_ascii_case(name)))
            .ok_or_else(|| Error::UnknownRule { name: name.to_owned(), nearest: self.nearest(name) })
    }

    /// Returns the id that was probably meant: the same rule in the revision that is here, else the one spelled most
    /// like it.
    fn nearest(&self, name: &str) -> Option<String> {
        let same = self.rules.iter().find(|rule| bare(name).eq_ignore_ascii_case(bare(&rule.rule_id)));
        same.map(|rule| rule.rule_id.clone())
            .or_else(|| nearest(name, self.rules.iter().flat_map(ids)).map(str::to_owned))
    }
}

/// Returns the names of a rule.
fn ids(rule: &Rule) -> [&str; 5] {
    let revision = rule.rule_id.strip_suffix("_rule").unwrap_or(&rule.rule_id);
    [&rule.vuln_id, &rule.stig_id, &rule.rule_id, revision, bare(&rule.rule_id)]
}

/// Returns an SV- id without its revision.
fn bare(rule_id: &str) -> &str {
    rule_id.split_once(['r', 'R']).map_or(rule_id, |(bare, _)| bare)
}

fn available() -> String {
    catalogs()
        .iter()
        .filter(|catalog| !catalog.is_component)
        .map(|catalog| format!("{} ({}, V{}R{})", catalog.id, catalog.title, catalog.version, catalog.release))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fake_machine;
    use super::super::rule::{RuleKind, Severity};
    use super::*;
    use coldforge_base::Failure as _;

    #[test]
    fn the_counts_are_those_of_the_benchmark() {
        let catalog = Catalog::ws2022();
        assert_eq!((catalog.version, catalog.release, catalog.date.as_str()), (2, 8, "2026-04-01"));
        assert_eq!(catalog.rules.len(), 282);

        let mut kinds: BTreeMap<RuleKind, [usize; 3]> = BTreeMap::new();
        for rule in &catalog.rules {
            let at = match rule.severity {
                Severity::High => 0,
                Severity::Medium => 1,
                Severity::Low => 2,
            };
            kinds.entry(rule.kind).or_default()[at] += 1;
        }
        let all = kinds.values().fold([0; 3], |sum, of| [sum[0] + of[0], sum[1] + of[1], sum[2] + of[2]]);
        assert_eq!(all, [31, 239, 12]);
        assert_eq!(kinds[&RuleKind::Registry], [13, 84, 9]);
        assert_eq!(kinds[&RuleKind::UserRight], [3, 36, 0]);
        assert_eq!(kinds[&RuleKind::AuditPolicy], [0, 44, 0]);
        assert_eq!(kinds[&RuleKind::AccountPolicy], [1, 13, 0]);
        assert_eq!(kinds[&RuleKind::Manual], [4, 21, 2]);
        let of = |kind: RuleKind| kinds[&kind].iter().sum::<usize>();
        for (kind, count) in [
            (RuleKind::SecurityOption, 4),
            (RuleKind::WindowsFeature, 8),
            (RuleKind::FileAcl, 9),
            (RuleKind::RegistryAcl, 1),
            (RuleKind::File, 1),
            (RuleKind::Account, 7),
            (RuleKind::Service, 3),
            (RuleKind::Certificate, 5),
            (RuleKind::OsState, 5),
            (RuleKind::AdObject, 9),
        ] {
            assert_eq!(of(kind), count, "{kind:?}");
        }
    }

    #[test]
    fn every_rule_has_checks_or_a_reason_and_every_rule_of_the_registry_has_checks() {
        for catalog in catalogs() {
            for rule in &catalog.rules {
                assert_ne!(rule.checks.is_empty(), rule.not_reviewed.is_none(), "{}", rule.stig_id);
                // A permanent finding by its text, which names no value.
                let assessed = rule.kind != RuleKind::Registry || rule.stig_id == "WN16-DC-000401";
                assert!(assessed || !rule.checks.is_empty(), "{}", rule.stig_id);
            }
        }
    }

    #[test]
    fn components_are_joined_behind_a_catalog_and_each_rule_knows_its_own() {
        let names = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            Catalog::components_named(&ids)
        };
        let ids = |ids: &[&str]| names(ids).unwrap().iter().map(|catalog| catalog.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&["all"]), ["defender", "edge", "ie11", "dotnet", "firewall"]);
        assert_eq!(ids(&["Edge", "edge", "defender"]), ["defender", "edge"], "in one order, and once");
        let error = names(&["ws2022"]).unwrap_err();
        assert!(error.to_string().contains("there is defender, edge, ie11"), "{error}");

        let whole = Catalog::ws2022().joined(&names(&["edge", "firewall"]).unwrap());
        assert_eq!(whole.rules.len(), 282 + 61 + 21);
        let of = |at: usize| whole.component_of(at).map(|component| component.benchmark.id.as_str());
        assert_eq!(
            [of(0), of(281), of(282), of(342), of(343), of(363), of(364)],
            [None, None, Some("edge"), Some("edge"), Some("firewall"), Some("firewall"), None]
        );
        assert_ne!(whole.sha256, Catalog::ws2022().sha256);
        assert_eq!(Catalog::ws2022().joined(&[]), *Catalog::ws2022());
        assert!(whole.rules[282..].iter().all(|rule| rule.only_where.is_some()));
        let mut seen = std::collections::BTreeSet::new();
        let all = Catalog::ws2022().joined(&names(&["all"]).unwrap());
        assert!(all.rules.iter().all(|rule| seen.insert(&rule.vuln_id) && seen.insert(&rule.stig_id)));
    }

    #[test]
    fn a_catalog_is_chosen_by_the_build() {
        for (build, id) in [(14393, "ws2016"), (17763, "ws2019"), (20348, "ws2022"), (26100, "ws2025")] {
            let identity = Identity { build, ..fake_machine::member_server() };
            assert_eq!(Catalog::for_identity(&identity).unwrap().id, id);
            assert_eq!(Catalog::named(id).unwrap().builds, [build]);
        }
    }

    #[test]
    fn the_document_is_in_the_order_of_its_ids_and_every_title_is_a_line() {
        for catalog in catalogs() {
            assert!(catalog.rules.windows(2).all(|pair| pair[0].stig_id < pair[1].stig_id));
        }
        for rule in catalogs().into_iter().flat_map(|catalog| &catalog.rules) {
            assert!(!rule.title.is_empty() && rule.title.chars().count() <= 110, "{}", rule.title);
            assert!(!rule.title.ends_with('.') && !rule.ccis.is_empty(), "{}", rule.stig_id);
        }
    }

    #[test]
    fn a_rule_is_found_by_each_of_its_names() {
        let catalog = Catalog::ws2022();
        for rule in &catalog.rules {
            let number = rule.vuln_id.strip_prefix("V-").unwrap();
            let names =
                [&rule.vuln_id, &rule.rule_id, &rule.stig_id, &format!("SV-{number}"), &format!(" v-{number} ")];
            for name in names {
                assert_eq!(catalog.find_rule(name).unwrap(), rule, "{name}");
                assert_eq!(catalog.find_rule(&name.to_lowercase()).unwrap(), rule, "{name}");
            }
        }
        assert_eq!(catalog.find_rule("SV-254276r958478").unwrap().stig_id, "WN22-00-000390");
    }

    #[test]
    fn an_unknown_rule_names_the_nearest() {
        let error = Catalog::ws2022().find_rule("WN22-SO-00120").unwrap_err();
        assert_eq!(error.to_string(), "there is no rule \"WN22-SO-00120\"; WN22-SO-000120 is near");
        let revision = Catalog::ws2022().find_rule("SV-254276r111111_rule").unwrap_err();
        assert!(revision.to_string().contains("SV-254276r958478_rule is near"), "another revision is another rule");
        assert!(Catalog::ws2022().find_rule("").is_err());
    }

    #[test]
    fn the_catalog_is_chosen_by_the_build_of_a_server() {
        let server = fake_machine::member_server();
        assert_eq!(Catalog::for_identity(&server).unwrap().id, "ws2022");
        let older = Identity { build: 9600, product: "Windows Server 2012 R2 Standard".into(), ..server.clone() };
        let error = Catalog::for_identity(&older).unwrap_err();
        assert_eq!(error.code(), Some("E-NO-STIG"));
        let said = error.to_string();
        assert!(
            said.starts_with("there is no STIG here for Windows Server 2012 R2 Standard (build 9600); there is ws2016")
        );
        assert!(said.contains("ws2022 (Microsoft Windows Server 2022 STIG, V2R8), ws2025"), "{said}");
        let client = Identity { role: Role::Workstation, ..server };
        assert_eq!(Catalog::for_identity(&client).unwrap_err().code(), Some("E-NO-STIG"));
        assert_eq!(Catalog::named("WS2022").unwrap().id, "ws2022");
        assert!(Catalog::named("ws2003").unwrap_err().to_string().contains("ws2022"));
    }
}
