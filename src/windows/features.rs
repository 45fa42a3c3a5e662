//! Roles, features and updates of an offline Windows. Read-only: removing a feature is work for Windows servicing.
//!
//! No single value says whether a feature is installed: the state of its package says only that the payload is present.
//! Several sources are combined instead: services, files, the components in use (`SideBySide\Winners`), and the cache of
//! Server Manager. If they contradict each other, or too few are present, the answer is unknown.

use super::files::Files;
use super::setting::{Found, Value};
use super::{Error, Result};
use coldforge_base::{read, utf16};
use coldforge_regf::{self as regf, Lookup};

const SERVICING: &str = r"Microsoft\Windows\CurrentVersion\Component Based Servicing";
const WINNERS: &str = r"Microsoft\Windows\CurrentVersion\SideBySide\Winners";
const CACHE: &str = r"Microsoft\ServerManager\ServicingStorage\ServerComponentCache";
const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
/// The last build whose list of components in use was seen to answer.
const LAST_KNOWN_BUILD: u32 = 9600;

/// What shows that a feature is installed.
struct FeatureEvidence {
    /// The names that Server Manager and servicing give it.
    names: &'static [&'static str],
    services: &'static [&'static str],
    /// Below `System32`.
    files: &'static [&'static str],
    /// Parts of the names of its components.
    components: &'static [&'static str],
}

const FEATURES: [FeatureEvidence; 8] = [
    FeatureEvidence {
        names: &["FS-SMB1", "SMB1Protocol"],
        services: &["mrxsmb10", "srv"],
        files: &[r"drivers\mrxsmb10.sys", r"drivers\srv.sys"],
        components: &["smbserver-v1", "smb10-minirdr"],
    },
    FeatureEvidence {
        names: &["PowerShell-V2", "MicrosoftWindowsPowerShellV2", "MicrosoftWindowsPowerShellV2Root"],
        services: &[],
        files: &[],
        components: &["powershell-v2"],
    },
    FeatureEvidence {
        names: &["Telnet-Client", "TelnetClient"],
        services: &[],
        files: &["telnet.exe"],
        components: &["telnet-client"],
    },
    FeatureEvidence {
        names: &["TFTP-Client", "TFTP"],
        services: &[],
        files: &["tftp.exe"],
        components: &["tftp-client"],
    },
    FeatureEvidence {
        names: &["Simple-TCPIP", "SimpleTCP"],
        services: &["simptcp"],
        files: &["tcpsvcs.exe"],
        components: &["simpletcp"],
    },
    FeatureEvidence {
        names: &["Fax", "FaxServicesClientPackage"],
        services: &["Fax"],
        files: &["fxssvc.exe"],
        components: &["fax-service"],
    },
    FeatureEvidence {
        names: &["Web-Ftp-Service", "Web-Ftp-Server", "IIS-FTPServer", "IIS-FTPSvc"],
        services: &["FTPSVC"],
        files: &[],
        components: &["iis-ftpsvc", "iis-ftpserver"],
    },
    FeatureEvidence { names: &["PNRP"], services: &["PNRPsvc"], files: &[], components: &["peertopeerpnrp"] },
];

/// What a query needs: the two hives, the control set and the build.
pub(super) struct FeatureQuery<'h> {
    pub(super) software: &'h dyn Lookup,
    pub(super) system: &'h dyn Lookup,
    /// The name of the control set's key.
    pub(super) control_set: String,
    /// The build number.
    pub(super) build: u32,
}

/// Reads whether a feature is installed: the text `installed`, or nothing if it is absent.
///
/// # Errors
/// [`Error::FeatureUnclear`] if the state is unclear, or the feature is not known; errors of hives and files.
pub(super) fn read(name: &str, query: &FeatureQuery<'_>, files: &dyn Files) -> Result<Found> {
    let unclear = || Error::FeatureUnclear { name: name.to_owned() };
    let known = FEATURES.iter().find(|feature| feature.names.iter().any(|own| own.eq_ignore_ascii_case(name)));
    let feature = known.ok_or_else(unclear)?;
    let software = |source| Error::Hive { path: r"\Windows\System32\config\SOFTWARE".to_owned(), source };
    let system = |source| Error::Hive { path: r"\Windows\System32\config\SYSTEM".to_owned(), source };
    let mut is_seen = false;
    for service in feature.services {
        let key = format!(r"{}\Services\{service}", query.control_set);
        // A key without a program is not a service: a policy that disables a missing service creates such a key.
        if let Some(key) = query.system.key(&key).map_err(system)? {
            is_seen |= key.value("ImagePath").map_err(system)?.is_some();
        }
    }
    for file in feature.files {
        is_seen |= files.is_there(&format!(r"\Windows\System32\{file}"))?;
    }
    let (has_components, is_used) = components(query.software, feature.components).map_err(software)?;
    let mut cached = None;
    for name in feature.names {
        let key = format!(r"{CACHE}\{name}");
        cached = cached.or(number(query.software, &key, "InstallState").map_err(software)?);
    }
    let has_witness = !(feature.services.is_empty() && feature.files.is_empty());
    let value = match (is_seen || is_used, cached) {
        (true, None | Some(1)) | (false, Some(1)) => Some(Value::Text("installed".to_owned())),
        // On later builds the components in use were never seen to answer.
        (false, Some(0)) if has_components || has_witness => None,
        (false, None) if has_components && has_witness && query.build <= LAST_KNOWN_BUILD => None,
        _ => return Err(unclear()),
    };
    Ok(Found { value, file: r"\Windows\System32\config\SOFTWARE".to_owned(), cell: None })
}

/// Returns whether there is a list of components in use, and whether one with such a part in its name is in it.
fn components(software: &dyn Lookup, parts: &[&str]) -> regf::Result<(bool, bool)> {
    let Some(winners) = software.key(WINNERS)? else { return Ok((false, false)) };
    let mut has_some = false;
    for key in winners.subkeys()? {
        has_some = true;
        let name = String::from_utf16_lossy(&key?.name().units().collect::<Vec<_>>()).to_ascii_lowercase();
        if parts.iter().any(|part| name.contains(&format!("-{part}_"))) {
            return Ok((true, true));
        }
    }
    Ok((has_some, false))
}

/// A package of Windows's servicing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Package {
    /// Its name, such as `Package_for_RollupFix~31bf3856ad364e35~amd64~~20348.2227.1.4`.
    pub name: String,
    /// Its state (`CurrentState`): 0x70 is installed, 0x50 superseded, 0x40 staged.
    pub state: u32,
}

impl Package {
    /// Returns whether Windows has work left to do with it.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, 0x05 | 0x10 | 0x30 | 0x60 | 0x65)
    }
}

/// How far a Windows is updated, and what its servicing has left to do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Servicing {
    /// The build number and the update's, such as 20348 and 2227.
    pub build: Option<(u32, u32)>,
    /// The packages.
    pub packages: Vec<Package>,
    /// Why it is not at rest: names of keys, and of packages with work left.
    pub pending: Vec<String>,
}

impl Servicing {
    /// Reads it from a SOFTWARE hive.
    ///
    /// # Errors
    /// What contradicts the format on the way.
    pub fn read(software: &dyn Lookup) -> regf::Result<Self> {
        let mut servicing = Self::default();
        let build = text(software, VERSION, "CurrentBuildNumber")?.and_then(|build| build.trim().parse().ok());
        servicing.build = build.zip(number(software, VERSION, "UBR")?);
        if let Some(packages) = software.key(&format!(r"{SERVICING}\Packages"))? {
            for key in packages.subkeys()? {
                let key = key?;
                let Some(value) = key.value("CurrentState")? else { continue };
                let Ok(state) = read::u32_le(&value.data()?, 0) else { continue };
                let name = String::from_utf16_lossy(&key.name().units().collect::<Vec<_>>());
                servicing.packages.push(Package { name, state });
            }
        }
        for name in ["RebootPending", "PackagesPending", "RebootInProgress"] {
            if software.key(&format!(r"{SERVICING}\{name}"))?.is_some() {
                servicing.pending.push(name.to_owned());
            }
        }
        if number(software, SERVICING, "ExecuteState")?.is_some_and(|state| state != u32::MAX) {
            servicing.pending.push("ExecuteState".to_owned());
        }
        let pending = servicing.packages.iter().filter(|package| package.is_pending());
        servicing.pending.extend(pending.map(|package| package.name.clone()).collect::<Vec<_>>());
        Ok(servicing)
    }

    /// Returns the version of the newest cumulative update that is installed, such as `20348.2227.1.4`.
    pub fn rollup(&self) -> Option<&str> {
        let installed = self.packages.iter().filter(|package| matches!(package.state, 0x70 | 0x80));
        let versions = installed.filter_map(|package| {
            package.name.starts_with("Package_for_RollupFix~").then(|| package.name.rsplit('~').next()).flatten()
        });
        versions.max_by_key(|version| version.split('.').filter_map(|part| part.parse().ok()).collect::<Vec<u32>>())
    }
}

fn number(hive: &dyn Lookup, key: &str, name: &str) -> regf::Result<Option<u32>> {
    let Some(key) = hive.key(key)? else { return Ok(None) };
    let Some(value) = key.value(name)? else { return Ok(None) };
    Ok(read::u32_le(&value.data()?, 0).ok().filter(|_| value.kind() == 4))
}

fn text(hive: &dyn Lookup, key: &str, name: &str) -> regf::Result<Option<String>> {
    let Some(key) = hive.key(key)? else { return Ok(None) };
    key.value(name)?.map(|value| value.data().map(|data| utf16::decode_to_nul(&data))).transpose()
}
