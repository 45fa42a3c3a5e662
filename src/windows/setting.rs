//! The vocabulary of settings: what can be asked of a machine and changed on it, without knowing where it is stored.
//!
//! The floor above sees nothing of a machine but the traits [`Readings`] and [`Settings`]; its tests run on a map.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{CellOffset, Extent, Failure, Kind, digest, read, utf16};

/// One thing that a policy can demand.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Setting {
    /// A registry value.
    Registry {
        /// The key with its hive: `HKLM\SYSTEM\CurrentControlSet\Control\Lsa`.
        key: String,
        /// The value's name; empty for the key's unnamed value.
        name: String,
    },
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { key, name } if name.is_empty() => write!(f, "{key} (Default)"),
            Self::Registry { key, name } => write!(f, "{key}!{name}"),
        }
    }
}

/// The type of a registry value, by its number: types outside the named ones are legal and kept.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ValueType(pub u32);

impl ValueType {
    /// REG_NONE.
    pub const NONE: Self = Self(0);
    /// REG_SZ.
    pub const SZ: Self = Self(1);
    /// REG_EXPAND_SZ.
    pub const EXPAND_SZ: Self = Self(2);
    /// REG_BINARY.
    pub const BINARY: Self = Self(3);
    /// REG_DWORD.
    pub const DWORD: Self = Self(4);
    /// REG_MULTI_SZ.
    pub const MULTI_SZ: Self = Self(7);
    /// REG_QWORD.
    pub const QWORD: Self = Self(11);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::NONE, "REG_NONE"),
        (Self::SZ, "REG_SZ"),
        (Self::EXPAND_SZ, "REG_EXPAND_SZ"),
        (Self::BINARY, "REG_BINARY"),
        (Self::DWORD, "REG_DWORD"),
        (Self::MULTI_SZ, "REG_MULTI_SZ"),
        (Self::QWORD, "REG_QWORD"),
    ];

    /// Returns the type with Microsoft's name, if it is one of the named ones.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(kind, _)| kind == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl Serialize for ValueType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A value as it is stored: a type number and bytes.
///
/// Serialized as `{"type": "REG_DWORD", "data": 5}`: numbers for DWORD and QWORD of the right length, text for SZ and
/// EXPAND_SZ, a list of texts for MULTI_SZ, lower-case hex digits for everything else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Value {
    /// The type.
    pub kind: ValueType,
    /// The bytes as stored.
    pub data: Vec<u8>,
}

impl Value {
    /// Returns a REG_DWORD.
    pub fn dword(number: u32) -> Self {
        Self { kind: ValueType::DWORD, data: number.to_le_bytes().to_vec() }
    }

    /// Returns a REG_SZ with its terminating NUL.
    pub fn sz(text: &str) -> Self {
        Self { kind: ValueType::SZ, data: utf16::encode_with_nul(text) }
    }

    /// Returns the number of a REG_DWORD of exactly four bytes.
    pub fn as_dword(&self) -> Option<u32> {
        (self.kind == ValueType::DWORD && self.data.len() == 4).then(|| read::u32_le(&self.data, 0).ok()).flatten()
    }

    /// Returns the number of a REG_QWORD of exactly eight bytes.
    pub fn as_qword(&self) -> Option<u64> {
        (self.kind == ValueType::QWORD && self.data.len() == 8).then(|| read::u64_le(&self.data, 0).ok()).flatten()
    }

    /// Returns the text of a REG_SZ or REG_EXPAND_SZ up to its first NUL.
    pub fn as_text(&self) -> Option<String> {
        matches!(self.kind, ValueType::SZ | ValueType::EXPAND_SZ).then(|| utf16::decode_to_nul(&self.data))
    }

    /// Returns the strings of a REG_MULTI_SZ, without the empty one that ends the list.
    pub fn as_texts(&self) -> Option<Vec<String>> {
        (self.kind == ValueType::MULTI_SZ).then(|| {
            let text = utf16::decode(&self.data);
            text.trim_end_matches('\0').split('\0').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.as_dword() {
            write!(f, "{number}")
        } else if let Some(text) = self.as_text() {
            write!(f, "{text:?}")
        } else if let Some(texts) = self.as_texts() {
            write!(f, "{texts:?}")
        } else {
            write!(f, "{} {}", self.kind, digest::hex(&self.data))
        }
    }
}

impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut value = serializer.serialize_struct("Value", 2)?;
        value.serialize_field("type", &self.kind)?;
        if let Some(number) = self.as_dword() {
            value.serialize_field("data", &number)?;
        } else if let Some(number) = self.as_qword() {
            value.serialize_field("data", &number)?;
        } else if let Some(text) = self.as_text() {
            value.serialize_field("data", &text)?;
        } else if let Some(texts) = self.as_texts() {
            value.serialize_field("data", &texts)?;
        } else {
            value.serialize_field("data", &digest::hex(&self.data))?;
        }
        value.end()
    }
}

/// What a machine answers when a setting is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The value, or `None` if the setting is not there.
    pub value: Option<Value>,
    /// The file that holds it, or would hold it, as a path on the Windows volume.
    pub file: String,
    /// The cell of the value inside that file.
    pub cell: Option<CellOffset>,
}

/// What a change did.
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

/// The part that a machine plays.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A client edition (ProductType WinNT).
    Workstation,
    /// A server that is not a domain controller (ProductType ServerNT).
    MemberServer,
    /// A domain controller (ProductType LanmanNT).
    DomainController,
}

/// Who a machine is, as its own hives tell it. Serialized as the `windows` member of the JSON documents.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
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
    /// The number of the control set that the next boot loads (`Select\Default`).
    pub control_set: u32,
}

/// Why a setting could not be read or changed.
#[derive(Debug)]
pub struct SettingError {
    /// `read` or `change`.
    pub deed: &'static str,
    /// The setting.
    pub setting: Setting,
    /// The cause, from the floor that met it.
    pub source: Box<dyn Failure + Send + Sync>,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.deed, self.setting)
    }
}

impl std::error::Error for SettingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl Failure for SettingError {
    fn kind(&self) -> Kind {
        self.source.kind()
    }

    fn code(&self) -> Option<&'static str> {
        self.source.code()
    }

    fn hint(&self) -> Option<&'static str> {
        self.source.hint()
    }
}

/// A machine whose settings can be read.
pub trait Readings {
    /// Returns who the machine is.
    fn identity(&self) -> &Identity;

    /// Returns the concrete settings that `setting` stands for: a value below `CurrentControlSet` lies in the control
    /// set of the next boot, and also in the one of the last boot where that is another.
    fn places(&self, setting: &Setting) -> Vec<Setting> {
        vec![setting.clone()]
    }

    /// Reads a concrete setting.
    ///
    /// # Errors
    /// [`SettingError`] if it cannot be read; a setting that is not there is no error.
    fn get(&self, setting: &Setting) -> Result<Found, SettingError>;
}

/// A machine whose settings can be read and changed.
pub trait Settings: Readings {
    /// Sets a concrete setting, or removes it with `None`; returns `None` if it was so already.
    ///
    /// # Errors
    /// [`SettingError`] if it cannot be changed; it is then as it was before.
    fn set(&mut self, setting: &Setting, to: Option<&Value>) -> Result<Option<Change>, SettingError>;

    /// Sets many concrete settings; a machine may work on several files at once. Answers in the order asked.
    fn set_all(&mut self, steps: &[(Setting, Option<Value>)]) -> Vec<Result<Option<Change>, SettingError>> {
        steps.iter().map(|(setting, to)| self.set(setting, to.as_ref())).collect()
    }
}
