//! The identity of a machine: product, edition, build and role, domain and control set, each from the value that is
//! reliable on an offline disk.
//!
//! `CurrentControlSet` is a volatile link and never on disk: `Select\Default` names the set that the next boot loads,
//! `Select\Current` the one that the last boot used. `CurrentVersion` stays `6.3` on every newer release and is
//! useless; the build number is what counts.

use super::setting::{Data, Identity, Role, Setting, SetupState, ValueType};
use super::{Error, Result, setup_state};
use coldforge_base::sid::Sid;
use coldforge_base::{read, utf16};
use coldforge_regf::Lookup;

/// The prefix that refers to the control sets.
pub(super) const CURRENT: &str = r"HKLM\SYSTEM\CurrentControlSet";

/// What is said of a machine whose SECURITY hive cannot be read.
pub(super) const DOMAIN_UNKNOWN: &str = "W-DOMAIN-UNKNOWN: SECURITY cannot be read, so domain membership is unknown";

const VERSION_KEY: &str = r"Microsoft\Windows NT\CurrentVersion";

/// The control sets that matter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ControlSets {
    /// The set that the next boot loads.
    pub(super) default: u32,
    /// The set that the last boot used.
    pub(super) current: u32,
    /// The set that failed to boot; 0 if none did.
    pub(super) failed: u32,
}

impl ControlSets {
    /// Reads `Select` of a SYSTEM hive.
    pub(super) fn read(system: &dyn Lookup) -> Result<Self> {
        let number = |name: &'static str| {
            dword(system, "Select", name).ok_or(Error::NoIdentity { key: r"HKLM\SYSTEM\Select".into(), name })
        };
        let sets = Self {
            default: number("Default")?,
            current: number("Current")?,
            failed: dword(system, "Select", "Failed").unwrap_or(0),
        };
        // An edit below a set that is not there would make one out of nothing, which no machine could boot.
        for (name, number) in [("Default", sets.default), ("Current", sets.current)] {
            if !(1..=999).contains(&number) || !matches!(system.key(&sets.key(number)), Ok(Some(_))) {
                return Err(Error::NoIdentity { key: r"HKLM\SYSTEM\Select".into(), name });
            }
        }
        Ok(sets)
    }

    /// Returns the sets to edit: the next boot's, and the last boot's where that is another one.
    pub(super) fn to_edit(self) -> Vec<u32> {
        if self.current == self.default { vec![self.default] } else { vec![self.default, self.current] }
    }

    /// Returns the concrete settings that a setting below `CurrentControlSet` refers to: one in each set to edit.
    pub(super) fn places(self, setting: &Setting) -> Vec<Setting> {
        let (Setting::Registry { key, .. } | Setting::RegistryAcl { key }) = setting else {
            return vec![setting.clone()];
        };
        let head = key.get(..CURRENT.len()).filter(|head| head.eq_ignore_ascii_case(CURRENT));
        let rest = head.and_then(|head| key.get(head.len()..)).filter(|rest| rest.is_empty() || rest.starts_with('\\'));
        let Some(rest) = rest else { return vec![setting.clone()] };
        let place = |number| {
            let key = format!(r"HKLM\SYSTEM\{}{rest}", self.key(number));
            match setting {
                Setting::Registry { name, .. } => Setting::Registry { key, name: name.clone() },
                _ => Setting::RegistryAcl { key },
            }
        };
        self.to_edit().into_iter().map(place).collect()
    }

    /// Returns what should be known about the sets, each with its code.
    pub(super) fn warnings(self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.current != self.default {
            warnings.push(format!(
                "W-CONTROL-SET: the next boot loads control set {}, the last one used {}: both are edited",
                self.default, self.current
            ));
        }
        if self.failed != 0 {
            warnings.push(format!("W-CONTROL-SET-FAILED: control set {} once failed to boot", self.failed));
        }
        warnings
    }

    /// Returns the name of a set's key.
    pub(super) fn key(self, number: u32) -> String {
        format!("ControlSet{number:03}")
    }
}

/// Returns the path in a SYSTEM hive that a path below its `CurrentControlSet` refers to: in the set that the next boot
/// loads; `None` if the hive has no control sets, so is not a SYSTEM hive.
///
/// # Errors
/// [`Error::NoIdentity`] if `Select` names sets that are not there.
pub fn control_set(system: &dyn Lookup, path: &str) -> Result<Option<String>> {
    if !matches!(system.key("Select"), Ok(Some(_))) {
        return Ok(None);
    }
    let sets = ControlSets::read(system)?;
    let rest = path.split_once('\\').map_or("", |(_, rest)| rest);
    Ok(Some(format!(r"{}\{rest}", sets.key(sets.default))))
}

/// Reads the identity from SOFTWARE and SYSTEM, and the domain from SECURITY where that hive can be read.
pub(super) fn read(
    software: &dyn Lookup,
    system: &dyn Lookup,
    security: Option<&dyn Lookup>,
    sets: ControlSets,
) -> Result<Identity> {
    let text = |name: &str| value(software, VERSION_KEY, name).and_then(|value| value.as_text());
    let needed =
        |name: &'static str| text(name).ok_or(Error::NoIdentity { key: format!(r"HKLM\SOFTWARE\{VERSION_KEY}"), name });
    let build = needed("CurrentBuildNumber").or_else(|_| needed("CurrentBuild"))?;
    let build = build
        .trim()
        .parse()
        .map_err(|_| Error::NoIdentity { key: format!(r"HKLM\SOFTWARE\{VERSION_KEY}"), name: "CurrentBuildNumber" })?;
    let options = format!(r"{}\Control\ProductOptions", sets.key(sets.default));
    let environment = format!(r"{}\Control\Session Manager\Environment", sets.key(sets.default));
    let name = format!(r"{}\Control\ComputerName\ComputerName", sets.key(sets.default));
    let role = match value(system, &options, "ProductType").and_then(|value| value.as_text()).as_deref() {
        Some("WinNT") => Role::Workstation,
        Some("ServerNT") => Role::MemberServer,
        Some("LanmanNT") => Role::DomainController,
        _ => return Err(Error::NoIdentity { key: format!(r"HKLM\SYSTEM\{options}"), name: "ProductType" }),
    };
    Ok(Identity {
        product: needed("ProductName")?,
        edition: needed("EditionID")?,
        build,
        ubr: dword(software, VERSION_KEY, "UBR"),
        release: text("DisplayVersion").or_else(|| text("ReleaseId")),
        installation_type: needed("InstallationType")?,
        architecture: value(system, &environment, "PROCESSOR_ARCHITECTURE").and_then(|value| value.as_text()),
        role,
        domain_joined: security.and_then(domain_joined),
        domain: security.and_then(domain_name),
        computer_name: value(system, &name, "ComputerName").and_then(|value| value.as_text()),
        machine_sid: security.and_then(|security| sid(security, r"Policy\PolAcDmS")),
        domain_sid: security.and_then(|security| sid(security, r"Policy\PolPrDmS")),
        control_set: sets.default,
        // A key that cannot be read tells nothing, and is no reason to refuse: what it would tell is advice.
        setup: setup_state::read(software, system).unwrap_or(SetupState::Unknown),
    })
}

/// Returns whether `Policy\PolPrDmS` holds the SID of a primary domain: it is there and empty on a standalone machine.
fn domain_joined(security: &dyn Lookup) -> Option<bool> {
    value(security, r"Policy\PolPrDmS", "").map(|sid| !sid.data.is_empty())
}

/// Returns the SID in a value of the policy.
fn sid(security: &dyn Lookup, key: &str) -> Option<Sid> {
    Sid::parse(&value(security, key, "")?.data, 0).ok()?
}

/// Returns the text of `Policy\PolPrDmN`: u16 length, u16 capacity, u32 offset (8), UTF-16.
fn domain_name(security: &dyn Lookup) -> Option<String> {
    let data = value(security, r"Policy\PolPrDmN", "")?.data;
    let length = usize::from(read::u16_le(&data, 0).ok()?);
    let offset = usize::try_from(read::u32_le(&data, 4).ok()?).ok()?;
    let text = utf16::decode(read::slice(&data, offset, length).ok()?);
    Some(text.trim_end_matches('\0').to_owned()).filter(|text| !text.is_empty())
}

fn value(hive: &dyn Lookup, key: &str, name: &str) -> Option<Data> {
    let value = hive.key(key).ok()??.value(name).ok()??;
    Some(Data { kind: ValueType(value.kind()), data: value.data().ok()?.into_owned() })
}

fn dword(hive: &dyn Lookup, key: &str, name: &str) -> Option<u32> {
    value(hive, key, name)?.as_dword()
}
