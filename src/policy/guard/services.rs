//! Services and drivers: which must start for the machine to boot, to admit a logon, or to be reached.
//!
//! A start value may be lowered (started earlier) but not raised for what the image itself loads at boot. Which drivers these are
//! is read from the image: boot-start and system-start drivers with their groups, and the filters of device classes. The
//! services of Windows itself are named here.

use std::collections::BTreeSet;

use super::harm::Harm;
use super::planned::Planned;
use crate::windows::setting::{Readings, Role, Setting, Value, ValueType};

/// The values of `Start`: the boot loader, the kernel, the service control manager, on demand, never.
const BOOT: u32 = 0;
const SYSTEM: u32 = 1;
const AUTO: u32 = 2;
const DISABLED: u32 = 4;
/// The bits of `Type` that tell a driver: kernel, file system, recognizer.
const DRIVER: u32 = 0x0b;

/// Drivers of Windows without which its own volume, its devices or its local calls are not there.
const CORE_DRIVERS: [&str; 34] = [
    "ACPI",
    "AFD",
    "CLFS",
    "CNG",
    "disk",
    "FileInfo",
    "FltMgr",
    "Fs_Rec",
    "KSecDD",
    "KSecPkg",
    "mountmgr",
    "Msfs",
    "msisadrv",
    "Mup",
    "NDIS",
    "Npfs",
    "Ntfs",
    "Null",
    "partmgr",
    "pci",
    "pcw",
    "rdbss",
    "spaceport",
    "swenum",
    "tdx",
    "vdrvroot",
    "volmgr",
    "volmgrx",
    "volsnap",
    "volume",
    "Wdf01000",
    "WindowsTrustedRT",
    "WindowsTrustedRTProxy",
    "werkernel",
];

/// Load-order groups of drivers that the boot device stands on, whatever the drivers are called.
const CORE_GROUPS: [&str; 9] = [
    "Boot Bus Extender",
    "Boot File System",
    "Core",
    "Core Platform Extensions",
    "Core Security Extensions",
    "PnP Filter",
    "SCSI Class",
    "System Bus Extender",
    "WdfLoadGroup",
];

/// Services without which nobody can log on.
const CORE_SERVICES: [&str; 16] = [
    "BrokerInfrastructure",
    "CoreMessagingRegistrar",
    "DcomLaunch",
    "EventLog",
    "gpsvc",
    "KeyIso",
    "LSM",
    "PlugPlay",
    "Power",
    "ProfSvc",
    "RpcEptMapper",
    "RpcSs",
    "SamSs",
    "StateRepository",
    "SystemEventsBroker",
    "UserManager",
];

/// Services of a member of a domain, and of a domain controller, without which no account of the domain can log on.
const DOMAIN_SERVICES: [&str; 2] = ["LanmanWorkstation", "Netlogon"];
const CONTROLLER_SERVICES: [&str; 5] = ["DFSR", "DNS", "IsmServ", "Kdc", "NTDS"];

/// Services and drivers that the machine is reached by, and what is lost without them.
const REMOTE: [(&str, &str); 32] = [
    ("TermService", "Remote Desktop"),
    ("SessionEnv", "Remote Desktop"),
    ("UmRdpService", "Remote Desktop"),
    ("RDPWD", "Remote Desktop"),
    ("TermDD", "Remote Desktop"),
    ("rdpbus", "Remote Desktop"),
    ("rdpdr", "Remote Desktop"),
    ("RdpVideoMiniport", "Remote Desktop"),
    ("Dhcp", "the network address"),
    ("Tcpip", "the network"),
    ("nsi", "the network"),
    ("nsiproxy", "the network"),
    ("NlaSvc", "the network profile, which chooses the firewall's rules"),
    ("netprofm", "the network profile, which chooses the firewall's rules"),
    ("Dnscache", "name resolution"),
    ("BFE", "the firewall, without whose engine inbound connections are dropped"),
    ("mpssvc", "the firewall, without whose service inbound connections are dropped"),
    ("CryptSvc", "the check of signatures, by which drivers are installed"),
    ("TrustedInstaller", "the installation of drivers and features"),
    ("DeviceInstall", "the installation of drivers"),
    ("condrv", "every program of the command line"),
    ("Schedule", "scheduled tasks, by which launch agents run"),
    ("Winmgmt", "WMI, by which launch agents read the machine"),
    ("AmazonSSMAgent", "the management agent of AWS"),
    ("Amazon EC2Launch", "the launch agent of AWS"),
    ("Ec2Config", "the launch agent of AWS"),
    ("AWSLiteAgent", "the guest agent of AWS"),
    ("AWSNVMe", "the disks of AWS"),
    ("ena", "the network adapter of AWS"),
    ("xenbus", "the devices of AWS"),
    ("xenvbd", "the disks of AWS"),
    ("xennet", "the network adapter of AWS"),
];

/// The values of a service's key that another value of keeps nothing from starting.
const HARMLESS: [&str; 9] = [
    "DelayedAutostart",
    "Description",
    "DisplayName",
    "FailureActions",
    "FailureActionsOnNonCrashFailures",
    "FailureCommand",
    "PreshutdownTimeout",
    "RebootMessage",
    "SvcHostSplitDisable",
];

/// The values below `Parameters` that tell what is run.
const LIBRARY: [&str; 2] = ["ServiceDll", "ServiceMain"];

/// How much hangs on a service.
enum Need {
    /// No Windows starts, or admits a logon, without it.
    Core(String),
    /// This machine may need it, or cannot be reached without it.
    Perhaps(String),
}

impl Need {
    fn harm(self, deed: &str) -> Harm {
        match self {
            Self::Core(why) => Harm::Fatal(format!("{deed}: {why}")),
            Self::Perhaps(why) => Harm::Risk(format!("{deed}: {why}")),
        }
    }
}

/// Judges a value below `Services`. `set` is the control set's key, `below` the path below `Services` in upper case.
pub(super) fn judge(
    (set, below, name): (&str, &str, &str),
    (before, to): (Option<&Value>, Option<&Value>),
    machine: &Planned<'_>,
) -> Option<Harm> {
    let (service, subkey) = below.split_once('\\').unwrap_or((below, ""));
    let service = spelled(service);
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    // A service that is not there yet hangs on nothing, unless the boot is made to load it.
    let is_there = start_of(set, service, machine).is_some();
    let need = || need(set, service, machine);
    match subkey {
        "" if is("Start") && before.is_none() => {
            let is_early = to.and_then(Value::as_dword).is_some_and(|start| start <= SYSTEM);
            is_early.then(|| {
                Harm::Risk(format!("{service} is a new driver of the boot, which stops if it is missing or fails"))
            })
        }
        "" if is("Start") => start((set, service), before, to, need(), machine),
        // The boot loader takes the start value from here, where there is one.
        "STARTOVERRIDE" => {
            let now = Value::dword(start_of(set, service, machine)?);
            start((set, service), Some(&now), to, need(), machine)
        }
        "" if is("DependOnService") => dependencies(set, service, to, machine),
        "" if is("ErrorControl") => {
            let is_severe = to.and_then(Value::as_dword).is_none_or(|control| control > 1);
            let is_boot = start_of(set, service, machine).is_some_and(|start| start <= SYSTEM);
            (is_there && is_severe && is_boot)
                .then(|| Harm::Risk(format!("the boot stops, or starts over, where {service} fails")))
        }
        "" if !is_there || HARMLESS.iter().any(|known| is(known)) => None,
        // `Security` of `EventLog` is the log of that name, and not the descriptor of the service.
        "SECURITY" if !is("Security") => None,
        "" | "SECURITY" | "TRIGGERINFO" => need().map(|need| need.harm(&format!("another {name} of {service}"))),
        "PARAMETERS" if is_there && LIBRARY.iter().any(|known| is(known)) => {
            need().map(|need| need.harm(&format!("another {name} of {service}")))
        }
        _ => None,
    }
}

/// Judges the lists of filters of a device class.
pub(super) fn judge_filters(
    (set, class): (&str, &str),
    (before, to): (Option<&Value>, Option<&Value>),
    machine: &Planned<'_>,
) -> Option<Harm> {
    let names = |value: Option<&Value>| -> Option<BTreeSet<String>> {
        let Some(value) = value else { return Some(BTreeSet::new()) };
        Some(value.as_data()?.as_texts()?.into_iter().map(|name| name.to_uppercase()).collect())
    };
    let before = names(before).unwrap_or_default();
    let Some(after) = names(to) else {
        return Some(Harm::Fatal(format!("the filters of the device class {class} are a list (REG_MULTI_SZ)")));
    };
    let cannot_load =
        |name: &&String| start_of(set, name, machine).is_none_or(|start| start >= DISABLED) && !before.contains(*name);
    if let Some(name) = after.iter().find(cannot_load) {
        return Some(Harm::Fatal(format!(
            "the filter {name} is no service that can start, and devices of the class {class} do not start without it"
        )));
    }
    if let Some(name) =
        before.difference(&after).find(|name| CORE_DRIVERS.iter().any(|core| core.eq_ignore_ascii_case(name)))
    {
        return Some(Harm::Fatal(format!("{name} is what the disks of Windows stand on")));
    }
    (before != after).then(|| Harm::Risk(format!("the filters of the device class {class} change")))
}

/// Judges another list of services in a `svchost.exe` process.
pub(super) fn judge_host(group: &str, before: Option<&Value>, to: Option<&Value>) -> Option<Harm> {
    let names = |value: Option<&Value>| value.and_then(|value| value.as_data()?.as_texts()).unwrap_or_default();
    let after = names(to);
    let lost: Vec<String> =
        names(before).into_iter().filter(|name| !after.iter().any(|kept| kept.eq_ignore_ascii_case(name))).collect();
    let first = lost.first()?;
    let is_core = |name: &&String| CORE_SERVICES.iter().any(|core| core.eq_ignore_ascii_case(name));
    Some(match lost.iter().find(is_core) {
        Some(core) => {
            Harm::Fatal(format!("{core} is no longer started in its process, and nobody can log on without it"))
        }
        None => Harm::Risk(format!("{first} is no longer started in the process group {group}")),
    })
}

/// Tells whether a file name is that of a driver on which every Windows stands.
pub(super) fn is_core_driver(file: &str) -> bool {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    CORE_DRIVERS.iter().any(|core| core.eq_ignore_ascii_case(stem))
}

/// Judges the services that must run before another one starts.
fn dependencies(set: &str, service: &str, to: Option<&Value>, machine: &Planned<'_>) -> Option<Harm> {
    let data = to?.as_data();
    let Some(names) = data.and_then(|data| data.as_texts()) else {
        let deed = format!("what {service} waits for is no list (REG_MULTI_SZ)");
        return need(set, service, machine).map(|need| need.harm(&deed));
    };
    // A group of drivers is named behind a plus sign.
    let is_none = |name: &str| {
        let has_type = dword(machine, &format!(r"{set}\Services\{name}"), "Type").is_some();
        !has_type || start_of(set, name, machine).is_none_or(|start| start >= DISABLED)
    };
    let cannot_start = |name: &&String| !name.starts_with('+') && is_none(name);
    let deed = match names.iter().find(cannot_start) {
        Some(missing) => format!("{service} waits for {missing}, which is no service that can start"),
        None => {
            let waits = |name: &&String| waits_for(set, name, service, machine);
            format!("{service} waits for {}, which waits for {service}", names.iter().find(waits)?)
        }
    };
    need(set, service, machine).map(|need| need.harm(&deed))
}

/// Tells whether a service starts only when another one runs.
fn waits_for(set: &str, service: &str, other: &str, machine: &dyn Readings) -> bool {
    /// No real chain of services is longer.
    const MOST_SERVICES: usize = 64;
    let (mut open, mut seen) = (vec![service.to_uppercase()], BTreeSet::new());
    while let Some(name) = open.pop() {
        if name.eq_ignore_ascii_case(other) {
            return true;
        }
        if seen.len() >= MOST_SERVICES || !seen.insert(name.clone()) {
            continue;
        }
        let list = get(machine, &format!(r"{set}\Services\{name}"), "DependOnService");
        let names = list.and_then(|value| value.as_data()?.as_texts()).unwrap_or_default();
        open.extend(names.into_iter().map(|name| name.to_uppercase()));
    }
    false
}

/// Returns how much hangs on a service because another one waits for it.
fn need_of_others(set: &str, service: &str, machine: &dyn Readings) -> Option<Need> {
    let waits = |name: &&str| start_of(set, name, machine).is_some() && waits_for(set, name, service, machine);
    if let Some(core) = CORE_SERVICES.iter().copied().find(|name| waits(name)) {
        return Some(Need::Core(format!("nobody can log on without {core}, which waits for it")));
    }
    let domain = if machine.identity().domain_joined == Some(false) { &[][..] } else { &DOMAIN_SERVICES };
    if let Some(name) = domain.iter().copied().find(|name| waits(name)) {
        return Some(Need::Perhaps(format!("no account of the domain can log on without {name}, which waits for it")));
    }
    let (name, lost) = REMOTE.iter().find(|(name, _)| waits(name))?;
    Some(Need::Perhaps(format!("{name} waits for it, and without that {lost} is lost")))
}

/// Judges another start value.
fn start(
    (set, service): (&str, &str),
    before: Option<&Value>,
    to: Option<&Value>,
    need: Option<Need>,
    machine: &Planned<'_>,
) -> Option<Harm> {
    // The service control manager starts no service by the values of the boot loader and the kernel.
    let is_driver = match dword(machine.before(), &format!(r"{set}\Services\{service}"), "Type") {
        Some(kind) => kind & DRIVER != 0,
        None => !CORE_SERVICES.iter().any(|core| core.eq_ignore_ascii_case(service)),
    };
    let rank = |start: u32| if !is_driver && start <= SYSTEM { DISABLED } else { start };
    let before = before.and_then(Value::as_dword).map(rank);
    let after = to.and_then(|to| to.as_data().filter(|data| data.kind == ValueType::DWORD)?.as_dword());
    let deed = match (before, after.map(rank)) {
        (_, Some(after)) if after > DISABLED => format!("{service} gets the start value {after}, which there is not"),
        (_, None) => format!("{service} loses its start value"),
        (before, Some(DISABLED)) if before != Some(DISABLED) => match after {
            Some(DISABLED) => format!("{service} is disabled"),
            _ => format!("{service} gets a start value of drivers, by which no service is started"),
        },
        (Some(before), Some(after)) if before <= AUTO && after > before => {
            format!("{service} starts later than it does now ({after} instead of {before})")
        }
        _ => return None,
    };
    need.map(|need| need.harm(&deed))
}

/// Returns how much hangs on a service of this machine, as it is or as the plan leaves it.
fn need(set: &str, service: &str, machine: &Planned<'_>) -> Option<Need> {
    need_on(set, service, machine.before()).or_else(|| need_on(set, service, machine))
}

fn need_on(set: &str, service: &str, machine: &dyn Readings) -> Option<Need> {
    let one_of = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(service));
    if one_of(&CORE_DRIVERS) {
        return Some(Need::Core("every Windows loads this driver to start".to_owned()));
    }
    if one_of(&CORE_SERVICES) {
        return Some(Need::Core("nobody can log on without this service".to_owned()));
    }
    let identity = machine.identity();
    if identity.role == Role::DomainController && (one_of(&CONTROLLER_SERVICES) || one_of(&DOMAIN_SERVICES)) {
        return Some(Need::Core("a domain controller admits nobody without this service".to_owned()));
    }
    if identity.domain_joined != Some(false) && one_of(&DOMAIN_SERVICES) {
        return Some(Need::Perhaps("no account of the domain can log on without this service".to_owned()));
    }
    if let Some(class) = filtered_class(set, service, machine) {
        return Some(Need::Core(format!(
            "it filters every device of the class {class}, which do not start without it"
        )));
    }
    let others = need_of_others(set, service, machine);
    if matches!(others, Some(Need::Core(_))) {
        return others;
    }
    let key = format!(r"{set}\Services\{service}");
    let is_driver = dword(machine, &key, "Type").is_some_and(|kind| kind & DRIVER != 0);
    let start = dword(machine, &key, "Start");
    if is_driver && start == Some(BOOT) {
        let group = text(machine, &key, "Group").unwrap_or_default();
        return Some(match CORE_GROUPS.iter().find(|known| known.eq_ignore_ascii_case(&group)) {
            Some(group) => {
                Need::Core(format!("the boot loader loads it in the group {group}, on which the disks stand"))
            }
            None => Need::Perhaps(
                "the boot loader loads this driver, and whether this machine needs it cannot be told".to_owned(),
            ),
        });
    }
    if is_driver && start == Some(SYSTEM) {
        return Some(Need::Perhaps(
            "the kernel loads this driver, and whether this machine needs it cannot be told".to_owned(),
        ));
    }
    let remote = REMOTE.iter().find(|(name, _)| name.eq_ignore_ascii_case(service));
    let remote = remote.map(|(_, lost)| Need::Perhaps(format!("without it {lost} is lost")));
    remote.or(others)
}

/// Returns the device class, by its name, whose devices a driver filters.
fn filtered_class(set: &str, service: &str, machine: &dyn Readings) -> Option<String> {
    let classes = format!(r"{set}\Control\Class");
    for class in machine.subkeys(&classes).ok()? {
        let key = format!(r"{classes}\{class}");
        for list in ["UpperFilters", "LowerFilters"] {
            let names = get(machine, &key, list).and_then(|value| value.as_data()?.as_texts()).unwrap_or_default();
            if names.iter().any(|name| name.eq_ignore_ascii_case(service)) {
                return Some(text(machine, &key, "Class").unwrap_or(class));
            }
        }
    }
    None
}

/// Returns the name of a service as Windows spells it, if it is a known one.
fn spelled(service: &str) -> &str {
    let known = CORE_DRIVERS.iter().chain(&CORE_SERVICES).chain(&DOMAIN_SERVICES).chain(&CONTROLLER_SERVICES);
    let mut known = known.copied().chain(REMOTE.iter().map(|(name, _)| *name));
    known.find(|name| name.eq_ignore_ascii_case(service)).unwrap_or(service)
}

fn start_of(set: &str, service: &str, machine: &dyn Readings) -> Option<u32> {
    dword(machine, &format!(r"{set}\Services\{service}"), "Start")
}

fn get(machine: &dyn Readings, key: &str, name: &str) -> Option<Value> {
    machine.get(&Setting::Registry { key: key.to_owned(), name: name.to_owned() }).ok()?.value
}

fn dword(machine: &dyn Readings, key: &str, name: &str) -> Option<u32> {
    get(machine, key, name)?.as_dword()
}

fn text(machine: &dyn Readings, key: &str, name: &str) -> Option<String> {
    get(machine, key, name)?.as_text()
}
