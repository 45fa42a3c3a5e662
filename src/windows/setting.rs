//! Settings: what can be read and changed on a machine, independent of where it is stored.
//!
//! Policies see a machine only through the traits [`Readings`] and [`Settings`]; their tests use a map.

mod data;
mod parse;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::windows::security::right::Right;
use coldforge_base::digest::Digest;
use coldforge_base::sid::Sid;
use coldforge_base::{CellOffset, Extent, Failure, hex};

pub use data::{Data, ValueType};

/// One setting that a policy can require.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Setting {
    /// A registry value. A key below `HKCU` refers to the same key of every user ([`Readings::places`]).
    Registry {
        /// The key with its hive: `HKLM\SYSTEM\CurrentControlSet\Control\Lsa`.
        key: String,
        /// The value's name; empty for the key's unnamed value.
        name: String,
    },
    /// An entry of local group policy's `Registry.pol`, which Windows writes to the registry at every refresh.
    LocalPolicy {
        /// Whose policy it is.
        scope: PolicyScope,
        /// The key as the file writes it, without a hive: `SOFTWARE\Policies\Microsoft\Windows\System`.
        key: String,
        /// The value's name.
        name: String,
    },
    /// A row of local group policy's `audit.csv`, which Windows applies at every refresh.
    LocalAuditPolicy {
        /// The subcategory, as in [`Setting::AuditPolicy`].
        subcategory: String,
    },
    /// What a subcategory of the audit policy records.
    AuditPolicy {
        /// The subcategory's English name, as `auditpol` prints it: `Credential Validation`.
        subcategory: String,
    },
    /// A field of the password and lockout policy.
    AccountPolicy {
        /// The field.
        field: AccountPolicyField,
    },
    /// Who holds a privilege or a logon right.
    UserRight {
        /// Its constant: `SeDebugPrivilege`.
        right: String,
    },
    /// A property of a local account.
    Account {
        /// The account's relative identifier; `None` refers to every enabled account ([`Readings::places`]).
        rid: Option<u32>,
        /// The property.
        property: AccountProperty,
    },
    /// The members of a local group. It can be read only.
    GroupMembers {
        /// The group's relative identifier, such as 544 for Administrators.
        rid: u32,
    },
    /// A security option that is no registry value.
    SecurityOption {
        /// The option.
        option: SecurityOption,
    },
    /// The permissions of a registry key.
    RegistryAcl {
        /// The key with its hive.
        key: String,
    },
    /// The permissions of a file or folder.
    FileAcl {
        /// The path on the Windows volume.
        path: String,
    },
    /// Whether a file is there. A file can be deleted (`false`), not created.
    File {
        /// The path on the Windows volume.
        path: String,
    },
    /// Whether a folder is there: it can be created, with its parents, and deleted if it is empty.
    Folder {
        /// The path on the Windows volume.
        path: String,
    },
    /// What a text file of a few pages holds; `None` if it is not there.
    FileContent {
        /// The path on the Windows volume.
        path: String,
    },
    /// The content of a file of any kind, reported by size and digest; `None` if it does not exist.
    FileData {
        /// The path on the Windows volume.
        path: String,
    },
    /// A certificate in a store of the machine.
    Certificate {
        /// The store, such as `ROOT`.
        store: String,
        /// The SHA-1 of the certificate in upper-case hex digits.
        thumbprint: String,
    },
    /// Whether a role or feature of Windows is installed. It can be read only.
    Feature {
        /// The name of the optional feature, such as `SMB1Protocol`.
        name: String,
    },
}

impl Setting {
    /// Returns the setting of a privilege or a logon right, spelled as Windows spells it: names of rights in templates may
    /// differ by case, and mean the same.
    pub fn user_right(name: &str) -> Self {
        let name = name.trim();
        let known = Right::named(name).map(Right::name);
        Self::UserRight { right: known.unwrap_or(name).to_owned() }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { key, name } if name.is_empty() => write!(f, "{key} (Default)"),
            Self::Registry { key, name } => write!(f, "{key}!{name}"),
            Self::LocalPolicy { scope, key, name } => write!(f, "local policy of the {scope}: {key}!{name}"),
            Self::LocalAuditPolicy { subcategory } => write!(f, "local audit policy: {subcategory}"),
            Self::AuditPolicy { subcategory } => write!(f, "audit policy: {subcategory}"),
            Self::AccountPolicy { field } => write!(f, "account policy: {field}"),
            Self::UserRight { right } => write!(f, "user right: {right}"),
            Self::Account { rid: Some(rid), property } => write!(f, "account {rid}: {property}"),
            Self::Account { rid: None, property } => write!(f, "every enabled account: {property}"),
            Self::GroupMembers { rid } => write!(f, "members of group {rid}"),
            Self::SecurityOption { option } => write!(f, "security option: {option}"),
            Self::RegistryAcl { key } => write!(f, "permissions of {key}"),
            Self::FileAcl { path } => write!(f, "permissions of {path}"),
            Self::File { path } => write!(f, "file {path}"),
            Self::Folder { path } => write!(f, "folder {path}"),
            Self::FileContent { path } | Self::FileData { path } => write!(f, "content of {path}"),
            Self::Certificate { store, thumbprint } => write!(f, "certificate {thumbprint} in {store}"),
            Self::Feature { name } => write!(f, "feature {name}"),
        }
    }
}

/// Gives an enumeration its words: those of the documents, which `Display` writes as well.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, in the order in which Windows shows them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }
    };
}

words! {
    /// How far the installation of a Windows has come.
    SetupState {
        /// Finished: the next start is an ordinary one.
        Installed = "installed",
        /// Prepared: the next start asks for what a new machine needs.
        Prepared = "prepared",
        /// Prepared for a start in audit mode.
        Audit = "audit",
        /// In between: setup has never finished.
        Unfinished = "unfinished",
        /// Its witnesses are missing, or contradict each other.
        Unknown = "unknown",
    }
}

words! {
    /// Whose policy an entry of local group policy is.
    PolicyScope {
        /// The machine's.
        Machine = "machine",
        /// Every user's.
        User = "user",
    }
}

words! {
    /// A field of the password and lockout policy, in the units in which Windows shows it.
    AccountPolicyField {
        /// How many passwords are remembered.
        PasswordHistory = "password_history",
        /// Days until a password must be changed; 0 for never.
        MaximumPasswordAge = "maximum_password_age",
        /// Days until a password may be changed again.
        MinimumPasswordAge = "minimum_password_age",
        /// Characters.
        MinimumPasswordLength = "minimum_password_length",
        /// Whether passwords must be complex: 1 or 0.
        PasswordComplexity = "password_complexity",
        /// Whether passwords are stored so that they can be read: 1 or 0.
        ReversibleEncryption = "reversible_encryption",
        /// Minutes for which an account stays locked; 0 until an administrator unlocks it.
        LockoutDuration = "lockout_duration",
        /// Failed logons until an account is locked; 0 for never.
        LockoutThreshold = "lockout_threshold",
        /// Minutes until failed logons are forgotten.
        LockoutWindow = "lockout_window",
    }
}

words! {
    /// A property of a local account.
    AccountProperty {
        /// Whether it can be used: a flag.
        Enabled = "enabled",
        /// Its name: a text.
        Name = "name",
        /// Whether it must have a password: a flag.
        PasswordRequired = "password_required",
        /// Whether its password ages: a flag.
        PasswordExpires = "password_expires",
    }
}

words! {
    /// A security option that is no registry value.
    SecurityOption {
        /// Whether anybody may ask which name belongs to a SID: a flag.
        AnonymousNameTranslation = "anonymous_name_translation",
    }
}

/// What success and failure a subcategory of the audit policy records.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AuditFlags {
    /// Attempts that succeeded.
    pub success: bool,
    /// Attempts that failed.
    pub failure: bool,
}

impl AuditFlags {
    /// Returns what either records.
    pub fn union(self, other: Self) -> Self {
        Self { success: self.success || other.success, failure: self.failure || other.failure }
    }

    /// Returns whether everything that `other` records is recorded.
    pub fn covers(self, other: Self) -> bool {
        self.union(other) == self
    }

    /// Returns the words of the documents: `success`, `failure`.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        [(self.success, "success"), (self.failure, "failure")].into_iter().filter(|(on, _)| *on).map(|(_, word)| word)
    }
}

impl fmt::Display for AuditFlags {
    /// Writes what `auditpol` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.success, self.failure) {
            (false, false) => "No Auditing",
            (true, false) => "Success",
            (false, true) => "Failure",
            (true, true) => "Success and Failure",
        })
    }
}

/// What a setting can be.
///
/// Serialized as `{"type": ..., "data": ...}`: a registry value as [`Data`] does, the others with their [`Form`]'s word
/// as the type, and numbers (with the stored bytes in `hex` beside one that is not exact), flags, texts, lists of SIDs, lists of `success` and `failure`, hex digits, or a file's size and
/// digest as the data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// What a registry value holds.
    Data(Data),
    /// A number in the unit of its setting.
    Number(u32),
    /// An interval that is no whole number of the unit of its setting. It can be read only.
    Interval {
        /// The number that Windows shows for it.
        number: u32,
        /// What is stored: a negative count of 100 ns.
        ticks: i64,
    },
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// Users and groups.
    Sids(BTreeSet<Sid>),
    /// What is recorded.
    Audit(AuditFlags),
    /// A security descriptor in the definition language (MS-DTYP 2.5.1).
    Sddl(String),
    /// A certificate (X.509, DER).
    Certificate(Vec<u8>),
    /// What a file holds.
    Content(Content),
    /// An order of local group policy to delete a value. It can be read only.
    Deletion,
}

/// What kind of value a setting has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Form {
    /// A registry value of this type.
    Data(ValueType),
    /// A number.
    Number,
    /// Yes or no.
    Flag,
    /// A text.
    Text,
    /// Users and groups.
    Sids,
    /// What is recorded.
    Audit,
    /// A security descriptor.
    Sddl,
    /// A certificate.
    Certificate,
    /// What a file holds.
    Content,
    /// An order to delete.
    Deletion,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data(kind) => return kind.fmt(f),
            Self::Number => "number",
            Self::Flag => "flag",
            Self::Text => "text",
            Self::Sids => "sids",
            Self::Audit => "audit",
            Self::Sddl => "sddl",
            Self::Certificate => "certificate",
            Self::Content => "content",
            Self::Deletion => "deletion",
        })
    }
}

impl Serialize for Form {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Value {
    /// Returns a registry value.
    pub fn data(kind: ValueType, data: Vec<u8>) -> Self {
        Self::Data(Data { kind, data })
    }

    /// Returns a REG_DWORD.
    pub fn dword(number: u32) -> Self {
        Self::Data(Data::dword(number))
    }

    /// Returns a REG_SZ with its terminating NUL.
    pub fn sz(text: &str) -> Self {
        Self::Data(Data::sz(text))
    }

    /// Returns what a registry value holds.
    pub fn as_data(&self) -> Option<&Data> {
        match self {
            Self::Data(data) => Some(data),
            _ => None,
        }
    }

    /// Returns the number of a REG_DWORD of exactly four bytes.
    pub fn as_dword(&self) -> Option<u32> {
        self.as_data().and_then(Data::as_dword)
    }

    /// Returns the text of a REG_SZ or REG_EXPAND_SZ up to its first NUL.
    pub fn as_text(&self) -> Option<String> {
        self.as_data().and_then(Data::as_text)
    }

    /// Returns the number of a setting that is counted in a unit.
    pub fn as_number(&self) -> Option<u32> {
        match self {
            Self::Number(number) | Self::Interval { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// Returns its form.
    pub fn form(&self) -> Form {
        match self {
            Self::Data(data) => Form::Data(data.kind),
            Self::Number(_) | Self::Interval { .. } => Form::Number,
            Self::Flag(_) => Form::Flag,
            Self::Text(_) => Form::Text,
            Self::Sids(_) => Form::Sids,
            Self::Audit(_) => Form::Audit,
            Self::Sddl(_) => Form::Sddl,
            Self::Certificate(_) => Form::Certificate,
            Self::Content(_) => Form::Content,
            Self::Deletion => Form::Deletion,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => data.fmt(f),
            Self::Number(number) => write!(f, "{number}"),
            Self::Interval { number, ticks } => write!(f, "{number} ({ticks} of 100 ns)"),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Sids(sids) if sids.is_empty() => f.write_str("nobody"),
            Self::Sids(sids) => f.write_str(&sids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            Self::Audit(flags) => flags.fmt(f),
            Self::Sddl(text) => f.write_str(text),
            Self::Certificate(der) => write!(f, "a certificate of {} bytes", der.len()),
            Self::Content(content) => content.fmt(f),
            Self::Deletion => f.write_str("deleted"),
        }
    }
}

impl JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "A value: its type (a registry type such as REG_DWORD, or number, flag, text, sids, audit, sddl, \
                            certificate, content, deletion) and its data; hex holds the stored bytes where data does not tell them",
            "properties": {
                "type": { "type": "string" },
                "data": true,
                "hex": { "type": "string", "pattern": "^([0-9a-f]{2})*$" },
            },
            "required": ["type", "data"],
            "additionalProperties": false,
        })
    }
}

impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        if let Self::Data(data) = self {
            return data.serialize(serializer);
        }
        let mut value = serializer.serialize_struct("Value", 3)?;
        value.serialize_field("type", &self.form())?;
        match self {
            Self::Data(_) => {}
            Self::Number(number) => value.serialize_field("data", number)?,
            Self::Interval { number, ticks } => {
                value.serialize_field("data", number)?;
                value.serialize_field("hex", &hex::encode(&ticks.to_le_bytes()))?;
            }
            Self::Flag(flag) => value.serialize_field("data", flag)?,
            Self::Text(text) | Self::Sddl(text) => value.serialize_field("data", text)?,
            Self::Sids(sids) => value.serialize_field("data", sids)?,
            Self::Audit(flags) => value.serialize_field("data", &flags.words().collect::<Vec<_>>())?,
            Self::Certificate(der) => value.serialize_field("data", &hex::encode(der))?,
            Self::Content(content) => value.serialize_field("data", content)?,
            Self::Deletion => value.serialize_field("data", &())?,
        }
        value.end()
    }
}

/// What a file holds. Two are equal if their size and digest are.
///
/// Serialized as `{"bytes": 12, "sha256": "..."}`, without the bytes themselves.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The size.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// The bytes, where they are at hand: a file is never written without them.
    #[serde(skip)]
    pub data: Option<Arc<[u8]>>,
}

impl Content {
    /// Returns the content that these bytes are.
    pub fn of(data: impl Into<Arc<[u8]>>) -> Self {
        let data = data.into();
        Self { bytes: data.len() as u64, sha256: Digest::of(&data), data: Some(data) }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        (self.bytes, self.sha256) == (other.bytes, other.sha256)
    }
}

impl Eq for Content {}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes with SHA-256 {}", self.bytes, self.sha256)
    }
}

/// An entry of a folder.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FolderEntry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FolderEntryKind,
}

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FolderEntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A reparse point, whose target may be anywhere.
    Link,
}

/// The result of reading a setting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The value, or `None` if the setting is not there.
    pub value: Option<Value>,
    /// The file that holds it, or would hold it, as a path on the Windows volume.
    pub file: String,
    /// The cell of the value inside that file.
    pub cell: Option<CellOffset>,
}

/// The result of a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The setting, concrete: a control set is named by its number.
    pub setting: Setting,
    /// The value before, or `None` if it was not there.
    pub before: Option<Value>,
    /// The value after, or `None` if it was removed.
    pub after: Option<Value>,
    /// The file that was changed, as a path on the Windows volume.
    pub file: String,
    /// The cell of the value inside that file.
    pub cell: Option<CellOffset>,
    /// The bytes of the file that this change touched.
    pub touched: Vec<Extent>,
}

/// The role of a machine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A client edition (ProductType WinNT).
    Workstation,
    /// A server that is not a domain controller (ProductType ServerNT).
    MemberServer,
    /// A domain controller (ProductType LanmanNT).
    DomainController,
}

/// The identity of a machine, from its own hives. Serialized as the `windows` member of the JSON documents.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Identity {
    /// `ProductName`, such as `Windows Server 2022 Datacenter`.
    pub product: String,
    /// `EditionID`, such as `ServerDatacenter`.
    pub edition: String,
    /// `CurrentBuildNumber`, such as 20348.
    pub build: u32,
    /// `UBR`, the update build revision.
    pub ubr: Option<u32>,
    /// `DisplayVersion`, else `ReleaseId`, such as `21H2`.
    pub release: Option<String>,
    /// `InstallationType`: `Server`, `Server Core` or `Client`.
    pub installation_type: String,
    /// `PROCESSOR_ARCHITECTURE` of the system environment, such as `AMD64`.
    pub architecture: Option<String>,
    /// The role, from `ProductType`.
    pub role: Role,
    /// Whether the machine belongs to a domain; `None` if the SECURITY hive could not tell.
    pub domain_joined: Option<bool>,
    /// The primary domain's or workgroup's name.
    pub domain: Option<String>,
    /// The machine's name, such as `WIN-2U8ARKL5GQ4`.
    pub computer_name: Option<String>,
    /// The SID that the machine's own accounts begin with; `None` if the SECURITY hive could not tell.
    pub machine_sid: Option<Sid>,
    /// The SID of its primary domain; `None` if it belongs to none.
    pub domain_sid: Option<Sid>,
    /// The number of the control set that the next boot loads (`Select\Default`).
    pub control_set: u32,
    /// How far its installation has come.
    pub setup: SetupState,
}

/// Why a setting could not be read or changed.
#[derive(Debug, Failure)]
#[failure(transparent)]
pub struct SettingError {
    /// What failed: `read`, `list` or `change`.
    pub operation: &'static str,
    /// The setting.
    pub setting: Setting,
    /// The cause.
    pub source: Box<dyn Failure + Send + Sync>,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.operation, self.setting)
    }
}

impl std::error::Error for SettingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// A machine whose settings can be read.
pub trait Readings {
    /// Returns who the machine is.
    fn identity(&self) -> &Identity;

    /// Returns the concrete settings that `setting` refers to: a value below `CurrentControlSet` is in the control
    /// set of the next boot, and also in the one of the last boot where that is another; a value below `HKCU` is in the
    /// hive of every user. Empty if the machine has no such user or account.
    fn places(&self, setting: &Setting) -> Vec<Setting> {
        vec![setting.clone()]
    }

    /// Reads a concrete setting.
    ///
    /// # Errors
    /// [`SettingError`] if it cannot be read; a missing setting is not an error.
    fn get(&self, setting: &Setting) -> Result<Found, SettingError>;

    /// Returns what a folder of the Windows volume holds, in its order.
    ///
    /// # Errors
    /// [`SettingError`] if there is no such folder, or it cannot be read.
    fn list(&self, folder: &str) -> Result<Vec<FolderEntry>, SettingError>;

    /// Returns the names of the subkeys of a concrete registry key; none if there is no such key.
    ///
    /// # Errors
    /// [`SettingError`] if the key cannot be read.
    fn subkeys(&self, key: &str) -> Result<Vec<String>, SettingError>;

    /// Returns the values of a concrete registry key, each with its name; none if there is no such key.
    ///
    /// # Errors
    /// [`SettingError`] if the key cannot be read.
    fn values(&self, key: &str) -> Result<Vec<(String, Data)>, SettingError>;
}

/// A machine whose settings can be read and changed.
pub trait Settings: Readings {
    /// Sets a concrete setting, or removes it with `None`; returns `None` if nothing changes.
    ///
    /// # Errors
    /// [`SettingError`] if it cannot be changed; it is then as it was before.
    fn set(&mut self, setting: &Setting, to: Option<&Value>) -> Result<Option<Change>, SettingError>;

    /// Sets many concrete settings; a machine may work on several files at once, and sets the fields of the account
    /// policy together, because some are bounded by others. Answers in the order asked.
    fn set_all(&mut self, steps: &[(Setting, Option<Value>)]) -> Vec<Result<Option<Change>, SettingError>> {
        steps.iter().map(|(setting, to)| self.set(setting, to.as_ref())).collect()
    }
}
