//! Local group policy: the files below `System32\GroupPolicy` that Windows applies at every start and refresh.
//!
//! An entry of `Registry.pol` is written to the registry again and again, a row of `audit.csv` to the audit policy: a
//! setting that is changed in a hive alone is turned back by an entry that says otherwise ([`LocalPolicy::turns_back`]).
//! [`LocalPolicy`] takes the files as they are, is edited, and tells which of them have new content; one change to a half
//! raises its count in `gpt.ini` once, and an edit that changes nothing leaves every byte as it was.
//!
//! Not here: security templates, which local policy does not have (Windows keeps those settings in its hives), scripts,
//! and the policies of single users and groups (`GroupPolicyUsers`).

pub mod gpt_ini;

use thiserror::Error;

use self::gpt_ini::{AUDIT, GptIni, REGISTRY_MACHINE, REGISTRY_USER};
use super::setting::{AuditFlags, PolicyScope};
use crate::formats::audit_csv::{self, AuditCsv, Audited, Subcategory};
use crate::formats::registry_pol::{self, Effect, RegistryPol};
use coldforge_base::Failure;
use coldforge_base::failure::Code;

/// The folder of local group policy on the Windows volume.
pub const FOLDER: &str = r"\Windows\System32\GroupPolicy";

/// A file of local group policy.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PolicyFile {
    /// The registry values of the machine.
    Machine,
    /// The registry values of every user.
    User,
    /// The audit policy.
    Audit,
    /// The version, and the client-side extensions of the policy.
    GptIni,
}

impl PolicyFile {
    /// All of them, `gpt.ini` last: a version must not be raised before what it speaks of.
    pub const ALL: [Self; 4] = [Self::Machine, Self::User, Self::Audit, Self::GptIni];

    /// Returns the path on the Windows volume.
    pub fn path(self) -> &'static str {
        match self {
            Self::Machine => r"\Windows\System32\GroupPolicy\Machine\Registry.pol",
            Self::User => r"\Windows\System32\GroupPolicy\User\Registry.pol",
            Self::Audit => r"\Windows\System32\GroupPolicy\Machine\Microsoft\Windows NT\Audit\audit.csv",
            Self::GptIni => r"\Windows\System32\GroupPolicy\gpt.ini",
        }
    }

    /// Returns the file that holds the registry values of a scope.
    pub fn of(scope: PolicyScope) -> Self {
        match scope {
            PolicyScope::Machine => Self::Machine,
            PolicyScope::User => Self::User,
        }
    }
}

/// The codes of its files.
pub(super) const CODES: &[Code] = gpt_ini::Error::CODES;

/// Why local group policy cannot be read or edited.
#[derive(Clone, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum Error {
    /// A Registry.pol.
    #[error("the registry values of local group policy cannot be used")]
    #[failure(transparent)]
    RegistryPol(#[from] registry_pol::Error),
    /// The audit.csv.
    #[error("the audit policy of local group policy cannot be used")]
    #[failure(transparent)]
    AuditCsv(#[from] audit_csv::Error),
    /// The gpt.ini.
    #[error("the version of local group policy cannot be used")]
    #[failure(transparent)]
    GptIni(#[from] gpt_ini::Error),
    /// A subcategory of the audit policy that no Windows has.
    #[error("no subcategory of the audit policy is named `{name}`")]
    #[failure(usage, hint = "name it as `auditpol /list /subcategory:*` does on an English Windows")]
    Subcategory {
        /// The name.
        name: String,
    },
}

/// Whether local group policy turns a setting back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It leaves the setting as wanted, or sets it so itself.
    Keeps,
    /// It sets or deletes it otherwise.
    TurnsBack,
    /// An order or a part of a file is not understood.
    CannotTell,
}

/// The local group policy of a machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalPolicy {
    machine: Part<RegistryPol>,
    user: Part<RegistryPol>,
    audit: Part<AuditCsv>,
    gpt_ini: Part<GptIni>,
}

/// A file, and whether it was there and is edited.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Part<T> {
    content: T,
    is_there: bool,
    is_edited: bool,
}

impl<T: Default> Part<T> {
    fn of<E>(bytes: Option<&[u8]>, parse: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<Self, E> {
        let content = bytes.map_or_else(|| Ok(T::default()), parse)?;
        Ok(Self { content, is_there: bytes.is_some(), is_edited: false })
    }
}

impl LocalPolicy {
    /// Takes the files, each asked for once; a file that is not there is empty.
    ///
    /// # Errors
    /// [`Error`](enum@Error) by the file that has another format; damage further down in a `Registry.pol` is reported when it
    /// is edited.
    pub fn open<E: From<Error>>(mut read: impl FnMut(PolicyFile) -> Result<Option<Vec<u8>>, E>) -> Result<Self, E> {
        let (machine, user) = (read(PolicyFile::Machine)?, read(PolicyFile::User)?);
        let (audit, gpt_ini) = (read(PolicyFile::Audit)?, read(PolicyFile::GptIni)?);
        let part = || -> Result<Self, Error> {
            Ok(Self {
                machine: Part::of(machine.as_deref(), RegistryPol::parse)?,
                user: Part::of(user.as_deref(), RegistryPol::parse)?,
                audit: Part::of(audit.as_deref(), AuditCsv::parse)?,
                gpt_ini: Part::of(gpt_ini.as_deref(), GptIni::parse)?,
            })
        };
        part().map_err(E::from)
    }

    /// Returns the type and data that the policy gives a registry value; `None` if it gives none, or deletes it.
    ///
    /// # Errors
    /// [`registry_pol::Error::Broken`] if the file is not understood as a whole, [`registry_pol::Error::Order`] for an
    /// order that is not.
    pub fn value(&self, scope: PolicyScope, key: &str, name: &str) -> Result<Option<(u32, &[u8])>, Error> {
        let pol = &self.pol(scope).content;
        if let Some(broken) = pol.broken() {
            return Err(broken.clone().into());
        }
        match pol.effect(key, name) {
            Effect::Sets(entry) => Ok(Some((entry.kind, &entry.data))),
            Effect::Deletes(_) | Effect::Nothing => Ok(None),
            Effect::Unclear(entry) => {
                Err(registry_pol::Error::Order { key: entry.key.clone(), name: entry.name.clone() }.into())
            }
        }
    }

    /// Returns whether the policy deletes a registry value; what [`LocalPolicy::value`] refuses is asked there.
    pub fn deletes(&self, scope: PolicyScope, key: &str, name: &str) -> bool {
        matches!(self.pol(scope).content.effect(key, name), Effect::Deletes(_))
    }

    /// Makes the policy give a registry value, or with `None` not configure it; returns whether it was changed.
    ///
    /// # Errors
    /// [`registry_pol::Error`]; nothing is changed then.
    pub fn set_value(
        &mut self,
        scope: PolicyScope,
        key: &str,
        name: &str,
        to: Option<(u32, &[u8])>,
    ) -> Result<bool, Error> {
        let part = match scope {
            PolicyScope::Machine => &mut self.machine,
            PolicyScope::User => &mut self.user,
        };
        let is_changed = match to {
            Some((kind, data)) => part.content.set(key, name, kind, data)?,
            None => part.content.forget(key, name)?,
        };
        part.is_edited |= is_changed;
        Ok(is_changed)
    }

    /// Returns whether the policy turns a registry value back that is as wanted; `None` is wanted to be absent. The key has
    /// no hive: a scope has one of its own.
    pub fn turns_back(&self, scope: PolicyScope, key: &str, name: &str, wanted: Option<(u32, &[u8])>) -> Verdict {
        let pol = &self.pol(scope).content;
        let verdict = match (pol.effect(key, name), wanted) {
            (Effect::Nothing, _) | (Effect::Deletes(_), None) => Verdict::Keeps,
            (Effect::Sets(entry), Some((kind, data))) if entry.kind == kind && entry.data == data => Verdict::Keeps,
            (Effect::Sets(_) | Effect::Deletes(_), _) => Verdict::TurnsBack,
            (Effect::Unclear(_), _) => Verdict::CannotTell,
        };
        // What follows a broken entry may say anything.
        if pol.broken().is_some() { Verdict::CannotTell } else { verdict }
    }

    /// Returns what the policy audits of a subcategory, named as auditpol does; `None` if it leaves it alone.
    ///
    /// # Errors
    /// [`Error::Subcategory`], [`Error::AuditCsv`].
    pub fn audited(&self, subcategory: &str) -> Result<Option<AuditFlags>, Error> {
        let audited = self.audit.content.audited(known(subcategory)?)?;
        Ok(audited.map(|Audited { success, failure }| AuditFlags { success, failure }))
    }

    /// Makes the policy audit a subcategory so, or with `None` leave it alone; returns whether it was changed.
    ///
    /// # Errors
    /// [`Error::Subcategory`], [`Error::AuditCsv`]; nothing is changed then.
    pub fn set_audited(&mut self, subcategory: &str, to: Option<AuditFlags>) -> Result<bool, Error> {
        let to = to.map(|AuditFlags { success, failure }| Audited { success, failure });
        let is_changed = self.audit.content.set(known(subcategory)?, to)?;
        self.audit.is_edited |= is_changed;
        Ok(is_changed)
    }

    /// Returns the files that must be written, in that order, with their new content: those that were edited, and with
    /// them `gpt.ini`, with a raised version and their client-side extensions.
    ///
    /// # Errors
    /// [`Error::GptIni`].
    pub fn staged(&self) -> Result<Vec<(PolicyFile, Vec<u8>)>, Error> {
        let mut files = Vec::new();
        let (mut ini, mut halves) = (self.gpt_ini.content.clone(), Vec::new());
        if self.machine.is_edited {
            files.push((PolicyFile::Machine, self.machine.content.to_bytes()));
            ini.enlist(PolicyScope::Machine, REGISTRY_MACHINE)?;
        }
        if self.user.is_edited {
            files.push((PolicyFile::User, self.user.content.to_bytes()));
            ini.enlist(PolicyScope::User, REGISTRY_USER)?;
            halves.push(PolicyScope::User);
        }
        if self.audit.is_edited {
            files.push((PolicyFile::Audit, self.audit.content.to_bytes()));
            ini.enlist(PolicyScope::Machine, AUDIT)?;
        }
        if self.machine.is_edited || self.audit.is_edited {
            halves.push(PolicyScope::Machine);
        }
        if !files.is_empty() {
            ini.raise(&halves)?;
            files.push((PolicyFile::GptIni, ini.to_bytes()));
        }
        Ok(files)
    }

    /// Returns whether a file was there when the policy was opened.
    pub fn had(&self, file: PolicyFile) -> bool {
        match file {
            PolicyFile::Machine => self.machine.is_there,
            PolicyFile::User => self.user.is_there,
            PolicyFile::Audit => self.audit.is_there,
            PolicyFile::GptIni => self.gpt_ini.is_there,
        }
    }

    fn pol(&self, scope: PolicyScope) -> &Part<RegistryPol> {
        match scope {
            PolicyScope::Machine => &self.machine,
            PolicyScope::User => &self.user,
        }
    }
}

fn known(subcategory: &str) -> Result<Subcategory, Error> {
    Subcategory::from_name(subcategory).ok_or_else(|| Error::Subcategory { name: subcategory.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use PolicyScope::{Machine, User};

    const KEY: &str = r"SOFTWARE\Policies\Microsoft\Windows\System";
    const BOTH: AuditFlags = AuditFlags { success: true, failure: true };

    fn opened(files: &[(PolicyFile, Vec<u8>)]) -> LocalPolicy {
        let read = |file| Ok(files.iter().find(|(known, _)| *known == file).map(|(_, bytes)| bytes.clone()));
        LocalPolicy::open::<Error>(read).unwrap()
    }

    #[test]
    fn entries_are_staged_with_their_version_and_a_second_run_changes_nothing() {
        let mut policy = opened(&[]);
        assert!(policy.set_value(Machine, KEY, "A", Some((4, &[1, 0, 0, 0]))).unwrap());
        assert!(policy.set_audited("Logon", Some(BOTH)).unwrap());
        let staged = policy.staged().unwrap();
        let files: Vec<PolicyFile> = staged.iter().map(|(file, _)| *file).collect();
        assert_eq!(files, [PolicyFile::Machine, PolicyFile::Audit, PolicyFile::GptIni]);
        let ini = String::from_utf8(staged[2].1.clone()).unwrap();
        assert!(ini.contains("Version=1\r\n") && ini.contains("[{F3CCC681") && !ini.contains("User"), "{ini}");

        let mut again = opened(&staged);
        assert!(again.had(PolicyFile::Audit) && !again.had(PolicyFile::User));
        assert_eq!(again.value(Machine, KEY, "a"), Ok(Some((4, &[1, 0, 0, 0][..]))));
        assert_eq!((again.value(User, KEY, "a"), again.audited("logon")), (Ok(None), Ok(Some(BOTH))));
        assert!(!again.set_value(Machine, KEY, "A", Some((4, &[1, 0, 0, 0]))).unwrap());
        assert!(!again.set_audited("Logon", Some(BOTH)).unwrap());
        assert_eq!(again.staged(), Ok(vec![]));

        assert!(again.set_value(User, KEY, "B", Some((1, b"a\0\0\0"))).unwrap());
        let staged = again.staged().unwrap();
        let ini = String::from_utf8(staged[1].1.clone()).unwrap();
        assert!(ini.contains("Version=65537\r\n") && ini.contains("gPCUserExtensionNames=[{35378EAC"), "{ini}");
        assert_eq!((staged.len(), staged[0].0), (2, PolicyFile::User));
    }

    #[test]
    fn an_entry_that_turns_a_setting_back_is_found() {
        let mut pol = RegistryPol::default();
        pol.set(KEY, "A", 4, &[1, 0, 0, 0]).unwrap();
        pol.order_deletion(KEY, "B").unwrap();
        let policy = opened(&[(PolicyFile::Machine, pol.to_bytes())]);
        let (one, two): (&[u8], &[u8]) = (&[1, 0, 0, 0], &[2, 0, 0, 0]);
        for (name, wanted, verdict) in [
            ("a", Some((4, one)), Verdict::Keeps),
            ("A", Some((4, two)), Verdict::TurnsBack),
            ("A", Some((3, one)), Verdict::TurnsBack),
            ("A", None, Verdict::TurnsBack),
            ("B", None, Verdict::Keeps),
            ("B", Some((4, one)), Verdict::TurnsBack),
            ("C", Some((4, one)), Verdict::Keeps),
        ] {
            assert_eq!(policy.turns_back(Machine, KEY, name, wanted), verdict, "{name}");
        }
        let mut cut = pol.to_bytes();
        cut.pop();
        let cut = opened(&[(PolicyFile::Machine, cut)]);
        assert_eq!(cut.turns_back(Machine, KEY, "C", Some((4, one))), Verdict::CannotTell);
        assert_eq!(cut.value(Machine, KEY, "A").unwrap_err().code(), Some("E-POL-BROKEN"));
    }

    #[test]
    fn what_cannot_be_edited_is_refused_by_name_and_stays() {
        let read = |file| Ok((file == PolicyFile::GptIni).then(|| b"[General]\nVersion=x".to_vec()));
        assert_eq!(LocalPolicy::open::<Error>(read).unwrap_err().code(), Some("E-GPT-INI"));
        let read = |file| Ok((file == PolicyFile::User).then(|| b"no".to_vec()));
        assert_eq!(LocalPolicy::open::<Error>(read).unwrap_err().code(), Some("E-POL-HEAD"));
        let mut policy = opened(&[]);
        assert!(matches!(policy.set_audited("Nothing", None), Err(Error::Subcategory { .. })));
        assert_eq!(policy.staged(), Ok(vec![]));
    }
}
