//! Policies that are not benchmarks: rules that somebody writes, and what group policy exports.
//!
//! A [`Source`] is one of: a rule document (TOML, schema `coldforge/policy/1`), a `Registry.pol`, a `GptTmpl.inf`, an
//! `audit.csv`, a `.reg` file, or one or more backups of group policy objects in a folder or a zip. [`Catalog::of_policy`]
//! makes rules of it, so that a policy takes the same way as a STIG. What has no meaning for a powered-off machine becomes
//! a rule that is not reviewed, with the reason.

mod document;
mod error;
mod gpo;
mod import;
mod schema;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use self::import::Import;
pub use error::Fault;
pub use schema::SCHEMA;

use super::catalog::{Catalog, catalogs};
use super::error::Error;
use super::guard::import_risk::known_risk;
use super::plan::step::folded;
use super::principal::Principal;
use super::require::Requirement;
use super::rule::{Check, Remedy, Rule, RuleScope};
use crate::formats::audit_csv::AuditCsv;
use crate::formats::registry_pol::RegistryPol;
use crate::formats::security_template::SecurityTemplate;
use crate::formats::{reg_file, zip};
use crate::windows::setting::{AuditFlags, Setting, Value};
use coldforge_base::digest::Digest;
use coldforge_base::fs;

/// A policy is text and some dozen kilobytes of a `Registry.pol`.
const FILE_LIMIT_BYTES: u64 = 8 << 20;
/// An archive holds many objects, and papers about them.
const ARCHIVE_LIMIT_BYTES: u64 = 128 << 20;
/// What all files of a policy that are read may have together.
const WHOLE_LIMIT_BYTES: usize = 32 << 20;
/// The files of a folder, and how deep they lie; more is no backup.
const MOST_FILES: usize = 10_000;
const MOST_DEPTH: usize = 16;
/// How many earlier demands on a setting another one is compared with.
const MOST_COMPARED: usize = 16;
/// How many contradictions are told in full.
const MOST_TOLD: usize = 8;

/// A policy as its author made it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    name: String,
    files: Vec<File>,
}

/// A file of a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Its path inside the policy, with `/` between folders.
    pub path: String,
    /// What it holds; `None` for one of a kind that is not read, of which only the name is told.
    pub content: Option<Vec<u8>>,
}

impl Source {
    /// Returns a policy of these files, as they were recorded; they are brought into the order of their paths.
    pub fn new(name: &str, mut files: Vec<File>) -> Self {
        files.sort_by_cached_key(|file| (file.path.to_lowercase(), file.path.clone()));
        Self { name: name.to_owned(), files }
    }

    /// Reads a policy: a file, an archive, or a folder.
    ///
    /// # Errors
    /// [`Error::Policy`] for what cannot be read, is too large, or is no policy.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        let text = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        let (own, stem, above) =
            (text(path.file_name()), text(path.file_stem()), text(path.parent().and_then(Path::file_name)));
        let faulty = |fault: Fault| Error::Policy { name: own.clone(), source: Box::new(fault) };
        if path.is_dir() {
            let files = folder(path).map_err(faulty)?;
            return gpo::backups(&slug(&own), files).map(|files| Self::new(&slug(&own), files)).map_err(faulty);
        }
        let bytes = fs::read(path, ARCHIVE_LIMIT_BYTES).map_err(|source| faulty(Fault::File(source)))?;
        if zip::is_zip(&bytes) {
            let files = archive(&bytes).map_err(faulty)?;
            return gpo::backups(&slug(&stem), files).map(|files| Self::new(&slug(&stem), files)).map_err(faulty);
        }
        if bytes.len() as u64 > FILE_LIMIT_BYTES {
            return Err(faulty(Fault::TooLarge { limit_bytes: FILE_LIMIT_BYTES }));
        }
        // The folder tells whose policy a `Registry.pol` is.
        let is_users = above.eq_ignore_ascii_case("User");
        let path = if is_users { format!("User/{own}") } else { own.clone() };
        Ok(Self::new(&slug(&stem), vec![File { path, content: Some(bytes) }]))
    }

    /// Returns the name, of which the ids of its rules begin: small letters, digits and hyphens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its files.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Returns the SHA-256 of the file; of several, that of the list of their digests as `sha256sum` writes it.
    pub fn sha256(&self) -> Digest {
        match &self.files[..] {
            [File { content: Some(content), .. }] => Digest::of(content),
            files => {
                let line = |file: &File| {
                    let content = file.content.as_deref().unwrap_or_default();
                    format!("{}  {}\n", Digest::of(content), file.path)
                };
                Digest::of(files.iter().map(line).collect::<String>().as_bytes())
            }
        }
    }

    fn rules(&self) -> Result<Catalog, Fault> {
        let mut import = Import::new(&self.name);
        if let [file @ File { content: Some(content), .. }] = &self.files[..]
            && !gpo::is_of_backup(&file.path)
        {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            let has =
                |extension: &str| name.rsplit_once('.').is_some_and(|(_, own)| own.eq_ignore_ascii_case(extension));
            if content.starts_with(b"PReg") || has("pol") {
                let pol = RegistryPol::parse(content).map_err(|source| Fault::pol(&file.path, source))?;
                import.registry_pol(&file.path, &pol, file.path.starts_with("User/"))?;
            } else if has("reg") {
                let sections = reg_file::parse(content);
                import.reg_file(&sections.map_err(|source| Fault::RegFile { path: file.path.clone(), source })?);
            } else if has("inf") {
                let template =
                    SecurityTemplate::parse(content).map_err(|source| Fault::template(&file.path, source))?;
                import.template(&file.path, &template)?;
            } else if has("csv") {
                let csv = AuditCsv::parse(content).map_err(|source| Fault::csv(&file.path, source))?;
                import.audit_csv(&file.path, &csv)?;
            } else if has("toml") {
                return document::read(&self.name, content);
            } else {
                return Err(Fault::Unknown);
            }
        } else {
            gpo::import(&self.files, &mut import)?;
        }
        import.into_catalog()
    }
}

impl Catalog {
    /// Makes a catalog of a policy.
    ///
    /// # Errors
    /// [`Error::Policy`], which names the policy.
    pub fn of_policy(source: &Source) -> Result<Self, Error> {
        let faulty = |fault: Fault| Error::Policy { name: source.name.clone(), source: Box::new(fault) };
        let catalog = source.rules().map_err(faulty)?;
        let is_taken = catalogs().iter().any(|known| known.id.eq_ignore_ascii_case(&catalog.id));
        if is_taken || ["all", "auto", NO_STIG].contains(&catalog.id.as_str()) {
            return Err(faulty(Fault::Name { name: catalog.id }));
        }
        if catalog.rules.is_empty() {
            return Err(faulty(Fault::Empty));
        }
        let sha256 = source.sha256();
        Ok(Self { sha256, is_component: true, rules: catalog.rules.into_iter().map(with_risk).collect(), ..catalog })
    }
}

/// The word for a run without a STIG, of policies alone.
pub const NO_STIG: &str = "none";

/// Returns a rule with what the built-in catalogs know of the risk in its settings, unless it tells its own.
fn with_risk(rule: Rule) -> Rule {
    if rule.import_risk.is_some() {
        return rule;
    }
    let import_risk = rule.checks.iter().find_map(|check| known_risk(&check.setting)).cloned();
    Rule { import_risk, ..rule }
}

/// Refuses policies that contradict themselves or each other: two rules that no value of their setting meets together.
/// Rules for different roles, and demands whose users only a machine tells, are left to the plan.
///
/// # Errors
/// [`Error::Contradictions`] (`E-POLICY-CONTRADICTION`); [`Error::Policy`] for two policies of one name.
pub fn agree(policies: &[Catalog]) -> Result<(), Error> {
    let mut names: Vec<&str> = Vec::new();
    let mut known: BTreeMap<Setting, Vec<(&Rule, &Check)>> = BTreeMap::new();
    let mut told = Vec::new();
    for catalog in policies {
        if names.contains(&catalog.id.as_str()) {
            let fault = Fault::Name { name: catalog.id.clone() };
            return Err(Error::Policy { name: catalog.id.clone(), source: Box::new(fault) });
        }
        names.push(&catalog.id);
        for (rule, check) in catalog.rules.iter().flat_map(|rule| rule.checks.iter().map(move |check| (rule, check))) {
            let others = known.entry(folded(&check.setting)).or_default();
            let against = others.iter().take(MOST_COMPARED).find(|(other, demand)| {
                let together = [other.role, rule.role].contains(&RuleScope::Both) || other.role == rule.role;
                together && other.applies == rule.applies && !can_agree(demand, check)
            });
            if let Some((other, demand)) = against {
                told.push(format!(
                    "{} wants {} and {} wants {} of {}",
                    other.stig_id, demand.require, rule.stig_id, check.require, check.setting
                ));
            }
            others.push((rule, check));
        }
    }
    match told.len() {
        0 => Ok(()),
        count => {
            told.truncate(MOST_TOLD);
            Err(Error::Contradictions { count, told: told.join("; ") })
        }
    }
}

/// Tells whether some value meets both demands, as far as that is told without a machine.
fn can_agree(one: &Check, other: &Check) -> bool {
    let (Some(first), Some(second)) = (wanted(one), wanted(other)) else { return true };
    let both = match (&first, &second) {
        (Some(Value::Audit(a)), Some(Value::Audit(b))) => Some(Value::Audit(a.union(*b))),
        (Some(Value::Sids(a)), Some(Value::Sids(b))) => Some(Value::Sids(a | b)),
        _ => None,
    };
    let meets = |value: &Option<Value>| {
        [one, other].into_iter().all(|check| check.require.judge(check.form, value.as_ref()).is_ok())
    };
    meets(&first) || meets(&second) || (both.is_some() && meets(&both))
}

/// Returns the value that closes a check; `None` if only a machine tells.
fn wanted(check: &Check) -> Option<Option<Value>> {
    let sids = |these: &std::collections::BTreeSet<Principal>| {
        let sid = |one: &Principal| match one {
            Principal::Sid(sid) => Some(sid.clone()),
            _ => None,
        };
        these.iter().map(sid).collect::<Option<_>>().map(|sids| Some(Value::Sids(sids)))
    };
    if let Requirement::Only(these) = &check.require {
        sids(these)?;
    }
    match &check.remedy {
        Remedy::Set(value) => Some(Some(value.clone())),
        Remedy::Record(flags) => Some(Some(Value::Audit(AuditFlags { ..*flags }))),
        Remedy::Assign(these) | Remedy::Grant(these) => sids(these),
        Remedy::Remove => Some(None),
        Remedy::Beyond(_) => None,
    }
}

/// Returns a name as an id has it: small letters and digits, everything else a hyphen.
fn slug(name: &str) -> String {
    const LONGEST: usize = 64;
    let mut slug = String::new();
    for letter in name.to_lowercase().chars() {
        match letter {
            'a'..='z' | '0'..='9' => slug.push(letter),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.truncate(LONGEST);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "policy".to_owned() } else { slug.to_owned() }
}

/// Returns the files of a folder that belong to backups; links are not followed.
fn folder(path: &Path) -> Result<Vec<File>, Fault> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Fault::File(fs::failed("read", &path)(error))
    };
    let mut files = Vec::new();
    let mut whole_bytes = 0usize;
    let mut folders = vec![(path.to_owned(), String::new(), 0usize)];
    // Every turn takes a folder; their number and depth are bounded.
    while let Some((folder, prefix, depth)) = folders.pop() {
        if depth > MOST_DEPTH {
            return Err(Fault::TooMany { limit: MOST_DEPTH });
        }
        for entry in std::fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(failed(&entry.path()))?;
            if kind.is_dir() {
                folders.push((entry.path(), format!("{name}/"), depth.saturating_add(1)));
            } else {
                let content = match gpo::is_read(&name) && kind.is_file() {
                    true => Some(fs::read(&entry.path(), FILE_LIMIT_BYTES).map_err(Fault::File)?),
                    false => None,
                };
                whole_bytes = whole_bytes.saturating_add(content.as_ref().map_or(0, Vec::len));
                files.push(File { path: name, content });
            }
            if files.len().saturating_add(folders.len()) > MOST_FILES {
                return Err(Fault::TooMany { limit: MOST_FILES });
            }
            if whole_bytes > WHOLE_LIMIT_BYTES {
                return Err(Fault::TooLarge { limit_bytes: WHOLE_LIMIT_BYTES as u64 });
            }
        }
    }
    Ok(files)
}

/// Returns the files of an archive that belong to backups.
fn archive(bytes: &[u8]) -> Result<Vec<File>, Fault> {
    let mut files = Vec::new();
    let mut whole_bytes = 0usize;
    for entry in zip::entries(bytes)? {
        let content = gpo::is_read(&entry.name).then(|| entry.read(FILE_LIMIT_BYTES)).transpose()?;
        whole_bytes = whole_bytes.saturating_add(content.as_ref().map_or(0, Vec::len));
        if whole_bytes > WHOLE_LIMIT_BYTES {
            return Err(Fault::TooLarge { limit_bytes: WHOLE_LIMIT_BYTES as u64 });
        }
        files.push(File { path: entry.name, content });
    }
    Ok(files)
}
