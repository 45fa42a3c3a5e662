//! The user's own tests of a built image: one table `[[tests.assert]]` each.

use serde::Deserialize;
use toml::Value as Toml;

use crate::formats::version_resource::{self, FileVersion};
use crate::windows::Evidence;
use crate::windows::setting::{AccountProperty, Data, Readings, Setting, Value};
use coldforge_base::access::{self, Comparison};
use coldforge_base::descriptor::Descriptor;
use coldforge_base::digest::Digest;
use coldforge_base::sddl;

/// A larger file is not digested: it would have to be in memory.
const FILE_LIMIT_BYTES: u64 = 256 << 20;

/// A test of one thing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assertion {
    pub(super) name: String,
    registry: Option<RegistryIs>,
    file: Option<FileIs>,
    service: Option<ServiceIs>,
    acl: Option<AclIs>,
    account: Option<AccountIs>,
    certificate: Option<CertificateIs>,
    free_bytes: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryIs {
    key: String,
    value: String,
    /// What it holds; a value that must be absent has none.
    equals: Option<Toml>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIs {
    path: String,
    #[serde(default = "yes")]
    exists: bool,
    sha256: Option<String>,
    /// The version that its version resource tells.
    version: Option<String>,
    /// The least that it may be.
    min_version: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceIs {
    name: String,
    start: Start,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Start {
    Boot,
    System,
    Automatic,
    Manual,
    Disabled,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AclIs {
    key: Option<String>,
    path: Option<String>,
    not_wider_than: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountIs {
    rid: u32,
    enabled: Option<bool>,
    name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateIs {
    store: String,
    /// The SHA-1 of the certificate in hex digits.
    thumbprint: String,
    #[serde(default = "yes")]
    present: bool,
}

fn yes() -> bool {
    true
}

/// Whether a test holds: why, or why not.
pub(super) type AssertionResult = Result<String, String>;

impl Assertion {
    /// Checks what can be checked without an image; `Err` names a field, what it holds and what it takes.
    pub(super) fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        let asserted = [
            self.registry.is_some(),
            self.file.is_some(),
            self.service.is_some(),
            self.acl.is_some(),
            self.account.is_some(),
            self.certificate.is_some(),
            self.free_bytes.is_some(),
        ];
        if !asserted.contains(&true) {
            let expected = "with registry, file, service, acl, account, certificate or free_bytes";
            return Err(("tests.assert", self.name.clone(), expected));
        }
        let file = self.file.as_ref();
        if let Some(sha256) = file.and_then(|is| is.sha256.as_ref())
            && Digest::from_hex(&sha256.to_ascii_lowercase()).is_none()
        {
            return Err(("file.sha256", sha256.clone(), "64 hex digits"));
        }
        let mut versions = file.into_iter().flat_map(FileIs::versions);
        if let Some(odd) = versions.find(|text| text.parse::<FileVersion>().is_err()) {
            return Err(("file.version", odd.clone(), "one to four numbers with dots between them"));
        }
        if let Some(is) = file.filter(|is| !is.exists && (is.sha256.is_some() || is.versions().next().is_some())) {
            return Err(("file.exists", is.path.clone(), "true if content or version are given"));
        }
        if let Some(is) = &self.acl {
            if is.key.is_some() == is.path.is_some() {
                return Err(("acl", self.name.clone(), "either a key or a path"));
            }
            let limit = sddl::parse(&is.not_wider_than).ok().filter(|bytes| Descriptor::parse(bytes).is_ok());
            if limit.is_none() {
                return Err(("acl.not_wider_than", is.not_wider_than.clone(), "a security descriptor in SDDL"));
            }
        }
        if let Some(is) = self.account.as_ref().filter(|is| is.enabled.is_none() && is.name.is_none()) {
            return Err(("account", is.rid.to_string(), "enabled or name"));
        }
        if let Some(is) = &self.certificate
            && !(is.thumbprint.len() == 40 && is.thumbprint.bytes().all(|c| c.is_ascii_hexdigit()))
        {
            return Err(("certificate.thumbprint", is.thumbprint.clone(), "40 hex digits"));
        }
        Ok(())
    }

    /// Tests a machine. What cannot be read does not hold.
    pub(super) fn evaluate(&self, machine: &dyn Readings, evidence: &Evidence<'_>) -> AssertionResult {
        let judgements = [
            self.registry.as_ref().map(|is| is.evaluate(evidence)),
            self.file.as_ref().map(|is| is.evaluate(evidence)),
            self.service.as_ref().map(|is| is.evaluate(evidence)),
            self.acl.as_ref().map(|is| is.evaluate(machine)),
            self.account.as_ref().map(|is| is.evaluate(machine)),
            self.certificate.as_ref().map(|is| is.evaluate(machine)),
            self.free_bytes.map(|least| free(least, evidence)),
        ];
        let mut said = Vec::new();
        for result in judgements.into_iter().flatten() {
            said.push(result?);
        }
        match said.is_empty() {
            true => Err("it asserts nothing".to_owned()),
            false => Ok(said.join("; ")),
        }
    }
}

impl RegistryIs {
    fn evaluate(&self, evidence: &Evidence<'_>) -> AssertionResult {
        let Self { key, value, equals } = self;
        let found = evidence.value(key, value).map_err(|refusal| refusal.to_string())?;
        let shown = found.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
        let holds = match (&found, equals) {
            (None, None) => true,
            (Some(data), Some(equals)) => is(data, equals),
            _ => false,
        };
        let said = format!("{key}!{value} is {shown}");
        match (holds, equals) {
            (true, _) => Ok(said),
            (false, Some(equals)) => Err(format!("{said}, not {equals}")),
            (false, None) => Err(format!("{said}, not absent")),
        }
    }
}

/// Returns whether registry data is what TOML writes: numbers for DWORD and QWORD, a text, a list of texts.
fn is(data: &Data, equals: &Toml) -> bool {
    let number = || data.as_dword().map(u64::from).or(data.as_qword());
    match equals {
        Toml::Integer(wanted) => number().is_some_and(|number| u64::try_from(*wanted) == Ok(number)),
        Toml::String(wanted) => data.as_text().as_ref() == Some(wanted),
        Toml::Array(wanted) => data.as_texts().is_some_and(|texts| {
            texts.len() == wanted.len() && texts.iter().zip(wanted).all(|(text, one)| one.as_str() == Some(text))
        }),
        _ => false,
    }
}

impl FileIs {
    fn evaluate(&self, evidence: &Evidence<'_>) -> AssertionResult {
        let path = &self.path;
        let is_there = evidence.is_there(path).map_err(|refusal| refusal.to_string())?;
        let said = format!("{path} {}", if is_there { "is there" } else { "is not there" });
        if is_there != self.exists {
            return Err(said);
        }
        if !is_there || (self.sha256.is_none() && self.versions().next().is_none()) {
            return Ok(said);
        }
        let bytes = evidence.head(path, FILE_LIMIT_BYTES.saturating_add(1)).map_err(|refusal| refusal.to_string())?;
        let Some(bytes) = bytes.filter(|bytes| bytes.len() as u64 <= FILE_LIMIT_BYTES) else {
            return Err(format!("{path} is not a file of at most 256 MiB"));
        };
        let mut said = Vec::new();
        if let Some(wanted) = &self.sha256 {
            let found = Digest::of(&bytes);
            said.push(format!("{path} has SHA-256 {found}"));
            if Digest::from_hex(&wanted.to_ascii_lowercase()) != Some(found) {
                return Err(said.join("; "));
            }
        }
        if self.versions().next().is_some() {
            let found = version_resource::of(&bytes).map_err(|why| format!("{path}: {why}"))?;
            said.push(format!("{path} has version {found}"));
            let is = |wanted: &Option<String>, fits: fn(&FileVersion, &FileVersion) -> bool| {
                wanted.as_ref().is_none_or(|wanted| wanted.parse().is_ok_and(|wanted| fits(&found, &wanted)))
            };
            if !is(&self.version, FileVersion::eq) || !is(&self.min_version, FileVersion::ge) {
                return Err(said.join("; "));
            }
        }
        Ok(said.join("; "))
    }

    fn versions(&self) -> impl Iterator<Item = &String> {
        self.version.iter().chain(&self.min_version)
    }
}

impl ServiceIs {
    fn evaluate(&self, evidence: &Evidence<'_>) -> AssertionResult {
        const WORDS: [&str; 5] = ["boot", "system", "automatic", "manual", "disabled"];
        let key = format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{}", self.name);
        let found = evidence.value(&key, "Start").map_err(|refusal| refusal.to_string())?;
        let Some(start) = found.as_ref().and_then(Data::as_dword) else {
            return Err(format!("there is no service {}", self.name));
        };
        let word = usize::try_from(start).ok().and_then(|start| WORDS.get(start)).unwrap_or(&"unknown");
        let said = format!("service {} starts: {word}", self.name);
        if start == self.start as u32 { Ok(said) } else { Err(said) }
    }
}

impl AclIs {
    fn evaluate(&self, machine: &dyn Readings) -> AssertionResult {
        let (kind, setting) = match (&self.key, &self.path) {
            (Some(key), None) => (access::Kind::Key, Setting::RegistryAcl { key: key.clone() }),
            (None, Some(path)) => (access::Kind::File, Setting::FileAcl { path: path.clone() }),
            _ => return Err("an acl names either a key or a path".to_owned()),
        };
        let limit = sddl::parse(&self.not_wider_than).map_err(|error| error.to_string())?;
        let limit = Descriptor::parse(&limit).map_err(|error| error.to_string())?;
        let places = machine.places(&setting);
        if places.is_empty() {
            return Err(format!("{setting}: the setting does not exist in this Windows"));
        }
        for place in &places {
            let found = machine.get(place).map_err(|error| error.to_string())?.value;
            let Some(Value::Sddl(found)) = found else { return Err(format!("{place} are not there")) };
            let bytes = sddl::parse(&found).map_err(|error| error.to_string())?;
            let descriptor = Descriptor::parse(&bytes).map_err(|error| error.to_string())?;
            match access::compare(kind, &descriptor, &limit) {
                Comparison::NotWider => {}
                Comparison::Wider(excess) => {
                    let who: Vec<String> = excess.iter().map(|one| one.sid.to_string()).collect();
                    return Err(format!("{place} grant more, to {}: {found}", who.join(", ")));
                }
                Comparison::CannotTell => return Err(format!("{place} cannot be compared: {found}")),
            }
        }
        Ok(format!("{setting} are not wider"))
    }
}

impl AccountIs {
    fn evaluate(&self, machine: &dyn Readings) -> AssertionResult {
        let wanted = [
            self.enabled.map(|enabled| (AccountProperty::Enabled, Value::Flag(enabled))),
            self.name.clone().map(|name| (AccountProperty::Name, Value::Text(name))),
        ];
        let mut said = Vec::new();
        for (property, wanted) in wanted.into_iter().flatten() {
            let setting = Setting::Account { rid: Some(self.rid), property };
            let found = machine.get(&setting).map_err(|error| error.to_string())?.value;
            let shown = found.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
            if found.as_ref() != Some(&wanted) {
                return Err(format!("{setting} is {shown}, not {wanted}"));
            }
            said.push(format!("{setting} is {shown}"));
        }
        match said.is_empty() {
            true => Err("it asserts nothing of the account".to_owned()),
            false => Ok(said.join("; ")),
        }
    }
}

impl CertificateIs {
    fn evaluate(&self, machine: &dyn Readings) -> AssertionResult {
        let thumbprint = self.thumbprint.to_ascii_uppercase();
        let setting = Setting::Certificate { store: self.store.clone(), thumbprint };
        let is_there = machine.get(&setting).map_err(|error| error.to_string())?.value.is_some();
        let said = format!("{setting} is {}", if is_there { "there" } else { "not there" });
        if is_there == self.present { Ok(said) } else { Err(said) }
    }
}

fn free(least: u64, evidence: &Evidence<'_>) -> AssertionResult {
    let found = evidence.free_bytes().map_err(|refusal| refusal.to_string())?;
    let said = format!("{found} bytes are free");
    if found >= least { Ok(said) } else { Err(format!("{said}, not {least}")) }
}
