//! Rights that services need, and permissions and files that boot and logon need.

use std::collections::BTreeSet;

use super::harm::Harm;
use super::services;
use crate::windows::setting::Value;
use coldforge_base::access::{self, Kind};
use coldforge_base::descriptor::{Descriptor, List};
use coldforge_base::sddl;
use coldforge_base::sid::Sid;

const SERVICE: &str = "S-1-5-6";
const LOCAL_SERVICE: &str = "S-1-5-19";
const NETWORK_SERVICE: &str = "S-1-5-20";
const ALL_SERVICES: &str = "S-1-5-80-0";
const EVERYONE: &str = "S-1-1-0";

/// Privileges and logon rights, each with those whom services hold it by.
const NEEDED: [(&str, &[&str]); 7] = [
    ("SeAssignPrimaryTokenPrivilege", &[LOCAL_SERVICE, NETWORK_SERVICE]),
    ("SeAuditPrivilege", &[LOCAL_SERVICE, NETWORK_SERVICE]),
    ("SeChangeNotifyPrivilege", &[EVERYONE, LOCAL_SERVICE, NETWORK_SERVICE]),
    ("SeCreateGlobalPrivilege", &[SERVICE, LOCAL_SERVICE, NETWORK_SERVICE]),
    ("SeImpersonatePrivilege", &[SERVICE, LOCAL_SERVICE, NETWORK_SERVICE]),
    ("SeIncreaseQuotaPrivilege", &[LOCAL_SERVICE, NETWORK_SERVICE]),
    ("SeServiceLogonRight", &[ALL_SERVICES]),
];

/// Those in whom services are denied what is denied to them: all of it, or one kind of them.
const SERVICES: [&str; 8] =
    [EVERYONE, "S-1-5-11", "S-1-5-32-545", "S-1-5-18", SERVICE, LOCAL_SERVICE, NETWORK_SERVICE, ALL_SERVICES];

/// Those in whose name Windows boots, runs its services or admits an administrator: to deny them what is read is to deny it
/// to Windows.
const NEEDFUL: [&str; 19] = [
    EVERYONE,
    "S-1-2-0",
    "S-1-2-1",
    "S-1-5-2",
    "S-1-5-4",
    SERVICE,
    "S-1-5-11",
    "S-1-5-14",
    "S-1-5-15",
    "S-1-5-18",
    LOCAL_SERVICE,
    NETWORK_SERVICE,
    "S-1-5-32-544",
    "S-1-5-32-545",
    "S-1-5-64-10",
    "S-1-5-113",
    "S-1-5-114",
    ALL_SERVICES,
    "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
];
/// What the SIDs of accounts begin with: one of them may be the administrator.
const ACCOUNT: &str = "S-1-5-21-";
/// What the SIDs of services begin with.
const SERVICE_SID: &str = "S-1-5-80-";

/// The SIDs of the system's own token.
const SYSTEM: [&str; 4] = ["S-1-5-18", "S-1-5-32-544", "S-1-5-11", EVERYONE];
/// The SIDs of an administrator's token, as far as boot and logon ask for them.
const ADMINISTRATOR: [&str; 5] = ["S-1-5-32-544", "S-1-5-32-545", "S-1-5-11", "S-1-5-4", EVERYONE];

/// The SIDs of the tokens of services that are not the system.
const LOCAL_SERVICES: [&str; 5] = [LOCAL_SERVICE, SERVICE, "S-1-5-32-545", "S-1-5-11", EVERYONE];

/// Bits of a mask by which a file is read and run, and a key read and written: the object's own and the generic ones.
const USED_OF_FILE: u32 = 0xb000_00a9;
const USED_OF_KEY: u32 = 0xf000_001f;

/// Reading and running a file; reading a key.
const READ_FILE: u32 = 0x0012_00a9;
const READ_KEY: u32 = 0x0002_0019;

/// The kind of an entry that is a mandatory label, and its bits that deny reading and running to lower levels.
const MANDATORY_LABEL: u8 = 0x11;
const NO_READ_UP: u32 = 0x6;
/// The level of a confirmed administrator: what is labelled so, or higher, is closed to everybody else.
const HIGH: u32 = 0x3000;

/// Files on which a start hangs, beside hives and drivers.
const FILES: [&str; 31] = [
    r"\BOOTMGR",
    r"\BOOTNXT",
    r"\WINDOWS\SYSTEM32\CI.DLL",
    r"\WINDOWS\SYSTEM32\CSRSS.EXE",
    r"\WINDOWS\SYSTEM32\CSRSRV.DLL",
    r"\WINDOWS\SYSTEM32\HAL.DLL",
    r"\WINDOWS\SYSTEM32\KDCOM.DLL",
    r"\WINDOWS\SYSTEM32\KERNEL32.DLL",
    r"\WINDOWS\SYSTEM32\KERNELBASE.DLL",
    r"\WINDOWS\SYSTEM32\LOGONUI.EXE",
    r"\WINDOWS\SYSTEM32\LSASRV.DLL",
    r"\WINDOWS\SYSTEM32\LSASS.EXE",
    r"\WINDOWS\SYSTEM32\LSM.DLL",
    r"\WINDOWS\SYSTEM32\MSV1_0.DLL",
    r"\WINDOWS\SYSTEM32\NTDLL.DLL",
    r"\WINDOWS\SYSTEM32\NTOSKRNL.EXE",
    r"\WINDOWS\SYSTEM32\RPCRT4.DLL",
    r"\WINDOWS\SYSTEM32\RPCSS.DLL",
    r"\WINDOWS\SYSTEM32\SAMSRV.DLL",
    r"\WINDOWS\SYSTEM32\SERVICES.EXE",
    r"\WINDOWS\SYSTEM32\SMSS.EXE",
    r"\WINDOWS\SYSTEM32\SVCHOST.EXE",
    r"\WINDOWS\SYSTEM32\TERMSRV.DLL",
    r"\WINDOWS\SYSTEM32\USERINIT.EXE",
    r"\WINDOWS\SYSTEM32\WIN32K.SYS",
    r"\WINDOWS\SYSTEM32\WIN32KBASE.SYS",
    r"\WINDOWS\SYSTEM32\WIN32KFULL.SYS",
    r"\WINDOWS\SYSTEM32\WININIT.EXE",
    r"\WINDOWS\SYSTEM32\WINLOAD.EFI",
    r"\WINDOWS\SYSTEM32\WINLOAD.EXE",
    r"\WINDOWS\SYSTEM32\WINLOGON.EXE",
];

/// The hives of the machine and of users: a file written in their place is no edit of a hive.
const HIVES: [&str; 11] =
    ["BBI", "BCD-TEMPLATE", "COMPONENTS", "DEFAULT", "DRIVERS", "ELAM", "SAM", "SECURITY", "SOFTWARE", "SYSTEM", "BCD"];

/// Judges who holds a right.
pub(super) fn judge_right(right: &str, before: Option<&Value>, to: Option<&Value>) -> Option<Harm> {
    let texts = |value: Option<&Value>| -> BTreeSet<String> {
        match value {
            Some(Value::Sids(sids)) => sids.iter().map(ToString::to_string).collect(),
            _ => BTreeSet::new(),
        }
    };
    let (before, after) = (texts(before), texts(to));
    if let Some((_, needed)) = NEEDED.iter().find(|(known, _)| *known == right) {
        let lost = needed.iter().find(|sid| before.contains(**sid) && !after.contains(**sid))?;
        return Some(Harm::Risk(format!(
            "services that run as {lost} lose this right, and cannot start or work without it"
        )));
    }
    if ["SeDenyServiceLogonRight", "SeDenyBatchLogonRight"].contains(&right) {
        let denied = SERVICES.iter().find(|sid| after.contains(**sid) && !before.contains(**sid))?;
        return Some(Harm::Risk(format!("services and tasks that run as {denied} cannot start")));
    }
    None
}

/// Judges the permissions of a file or folder, by its path.
pub(super) fn judge_file_permissions(path: &str, before: Option<&Value>, to: Option<&Value>) -> Option<Harm> {
    let path = on_volume(path);
    let path = path.as_str();
    let roots = ["", r"\WINDOWS", r"\USERS", r"\PROGRAMDATA", r"\PROGRAM FILES", r"\BOOT", r"\EFI"];
    let is_needed = roots.contains(&path)
        || [r"\WINDOWS\", r"\BOOT\", r"\EFI\", r"\USERS\"].iter().any(|head| path.starts_with(head))
        || FILES.contains(&path);
    let shared = [r"\WINDOWS\SYSTEM32", r"\WINDOWS\WINSXS", r"\WINDOWS\GLOBALIZATION"];
    let is_library = path.starts_with(r"\WINDOWS\SYSTEM32\") && path.ends_with(".DLL");
    let by_services = roots.contains(&path) || shared.contains(&path) || FILES.contains(&path);
    // Printer drivers are denied to the system itself where printing is closed, and nothing else reads them.
    let is_of_printers = path.starts_with(r"\WINDOWS\SYSTEM32\SPOOL\");
    if !is_needed || is_of_printers {
        return None;
    }
    let judged = |by_services| judge_permissions((Kind::File, READ_FILE, by_services), before, to);
    // Which library a service loads cannot be told.
    judged(by_services).or_else(|| match judged(is_library) {
        Some(Harm::Fatal(why)) => Some(Harm::Risk(why)),
        harm => harm,
    })
}

/// Judges the permissions of a registry key. Windows reads keys all over the machine's hives: to close one to the system is
/// fatal where boot and logon are known to read it, and a risk anywhere else.
pub(super) fn judge_key_permissions(key: &str, before: Option<&Value>, to: Option<&Value>) -> Option<Harm> {
    let key = key.to_uppercase();
    if !key.starts_with(r"HKLM\") && key != r"HKU\.DEFAULT" {
        return None;
    }
    let exact = [
        r"HKLM\SAM",
        r"HKLM\SECURITY",
        r"HKLM\SOFTWARE",
        r"HKLM\SOFTWARE\CLASSES",
        r"HKLM\SOFTWARE\MICROSOFT",
        r"HKLM\SOFTWARE\POLICIES",
        r"HKU\.DEFAULT",
    ];
    let heads = [
        r"HKLM\SYSTEM",
        r"HKLM\SAM\",
        r"HKLM\SECURITY\",
        r"HKLM\SOFTWARE\MICROSOFT\OLE",
        r"HKLM\SOFTWARE\MICROSOFT\RPC",
        r"HKLM\SOFTWARE\MICROSOFT\WINDOWS NT\CURRENTVERSION",
        r"HKLM\SOFTWARE\MICROSOFT\WINDOWS\CURRENTVERSION",
        r"HKLM\SOFTWARE\CLASSES\CLSID",
        r"HKLM\SOFTWARE\CLASSES\INTERFACE",
    ];
    let is_needed = exact.contains(&key.as_str()) || heads.iter().any(|head| key.starts_with(head));
    // Services read their own parameters, and what is shared by all.
    let shared = ["CONTROL", r"CONTROL\LSA", r"CONTROL\NLS", r"CONTROL\SESSION MANAGER", r"CONTROL\TERMINAL SERVER"];
    let is_shared = |key: &str| key.split_once('\\').is_some_and(|(_, below)| shared.contains(&below));
    let by_services = [
        r"HKLM\SYSTEM",
        r"HKLM\SOFTWARE",
        r"HKLM\SOFTWARE\CLASSES",
        r"HKLM\SOFTWARE\MICROSOFT",
        r"HKLM\SOFTWARE\MICROSOFT\OLE",
        r"HKLM\SOFTWARE\MICROSOFT\RPC",
        r"HKLM\SOFTWARE\MICROSOFT\WINDOWS NT\CURRENTVERSION",
        r"HKLM\SOFTWARE\MICROSOFT\WINDOWS NT\CURRENTVERSION\SVCHOST",
        r"HKLM\SOFTWARE\MICROSOFT\WINDOWS\CURRENTVERSION",
    ]
    .contains(&key.as_str())
        || below_services(&key).is_some()
        || key.strip_prefix(r"HKLM\SYSTEM\").is_some_and(is_shared);
    match judge_permissions((Kind::Key, READ_KEY, by_services), before, to) {
        Some(Harm::Fatal(why)) if !is_needed => Some(Harm::Risk(why)),
        harm => harm,
    }
}

/// Returns the path below `Services` of a control set of a key in upper case; empty for `Services` itself.
fn below_services(key: &str) -> Option<&str> {
    let (_, below) = key.strip_prefix(r"HKLM\SYSTEM\")?.split_once('\\')?;
    let rest = below.strip_prefix("SERVICES")?;
    (rest.is_empty() || rest.starts_with('\\')).then(|| rest.trim_start_matches('\\'))
}

/// Returns a path in upper case as it is compared here: from the root, with one backslash between names.
fn on_volume(path: &str) -> String {
    let path = path.to_uppercase().replace('/', r"\");
    let path = path.split_once(':').filter(|(drive, _)| drive.len() == 1).map_or(path.as_str(), |(_, below)| below);
    let names = path.split('\\').map(|name| name.trim_end_matches(['.', ' '])).filter(|name| !name.is_empty());
    names.map(|name| format!(r"\{name}")).collect()
}

fn judge_permissions(
    (kind, read, by_services): (Kind, u32, bool),
    before: Option<&Value>,
    to: Option<&Value>,
) -> Option<Harm> {
    let bytes = |value: Option<&Value>| match value {
        Some(Value::Sddl(text)) => sddl::parse(text).ok(),
        _ => None,
    };
    // What is no descriptor is refused by who writes it.
    let after = bytes(to)?;
    let after = Descriptor::parse(&after).ok()?;
    if let List::Entries(labels) = &after.sacl
        && labels.iter().any(|label| {
            let is_high = label.sid.to_string().rsplit('-').next().and_then(|rid| rid.parse().ok()) >= Some(HIGH);
            label.kind == MANDATORY_LABEL && label.mask & NO_READ_UP != 0 && is_high
        })
    {
        return Some(Harm::Fatal("its integrity label lets nobody below that level read or run it".to_owned()));
    }
    let before = bytes(before);
    let before = before.as_deref().and_then(|bytes| Descriptor::parse(bytes).ok());
    let denied = |descriptor: &Descriptor<'_>| denied(kind, descriptor);
    let stands = before.as_ref().map(denied).unwrap_or_default();
    if let Some(sid) = denied(&after).difference(&stands).next() {
        return Some(match sid.starts_with(ACCOUNT) {
            true => Harm::Risk(format!("{sid} is denied what a logon needs")),
            false => Harm::Fatal(format!("{sid} is denied what boot and logon need")),
        });
    }
    let tokens =
        [("the system", &SYSTEM[..]), ("an administrator", &ADMINISTRATOR[..]), ("a service", &LOCAL_SERVICES[..])];
    for (who, token) in tokens.into_iter().take(if by_services { 3 } else { 2 }) {
        let token: Vec<Sid> = token.iter().filter_map(|sid| sid.parse().ok()).collect();
        let may = |descriptor: &Descriptor<'_>| access::allows(kind, descriptor, &token, read) == Some(true);
        if before.as_ref().is_none_or(may) && !may(&after) {
            return Some(Harm::Fatal(format!("{who} can no longer read it")));
        }
    }
    None
}

/// Returns those who are denied what is used of a file or key, as far as that matters to boot and logon.
fn denied(kind: Kind, descriptor: &Descriptor<'_>) -> BTreeSet<String> {
    /// Access denied, for an object, by a callback, and both.
    const DENIED: [u8; 4] = [1, 6, 10, 12];
    let List::Entries(entries) = &descriptor.dacl else { return BTreeSet::new() };
    let used = if kind == Kind::File { USED_OF_FILE } else { USED_OF_KEY };
    let denied = entries.iter().filter(|entry| DENIED.contains(&entry.kind) && entry.mask & used != 0);
    let sids = denied.map(|entry| entry.sid.to_string());
    sids.filter(|sid| {
        NEEDFUL.contains(&sid.as_str()) || [ACCOUNT, SERVICE_SID].iter().any(|head| sid.starts_with(head))
    })
    .collect()
}

/// Judges a file or folder that is written or taken away. `is_there` tells whether it stands now.
pub(super) fn judge_file(path: &str, is_there: bool) -> Option<Harm> {
    let path = on_volume(path);
    let path = path.as_str();
    let fatal = |why: &str| Some(Harm::Fatal(why.to_owned()));
    if FILES.contains(&path) {
        return is_there
            .then(|| Harm::Fatal("Windows does not start, or admits nobody, without this very file".to_owned()));
    }
    if [r"\BOOT\", r"\EFI\"].iter().any(|head| path.starts_with(head)) || [r"\BOOT", r"\EFI"].contains(&path) {
        return fatal("the machine starts from these files");
    }
    if let Some(file) = path.strip_prefix(r"\WINDOWS\SYSTEM32\CONFIG\") {
        let hive = file.split('.').next().unwrap_or_default();
        return if HIVES.contains(&hive) { fatal("a hive is not written as a file") } else { None };
    }
    if path.starts_with(r"\USERS\") && path.rsplit('\\').next().is_some_and(|file| file.starts_with("NTUSER.DAT")) {
        return fatal("a hive is not written as a file");
    }
    if path.starts_with(r"\WINDOWS\SYSTEM32\CODEINTEGRITY\") && [".P7B", ".CIP"].iter().any(|kind| path.ends_with(kind))
    {
        return Some(Harm::Risk(
            "only code that a policy of code integrity names runs, and that of boot and the cloud may not be"
                .to_owned(),
        ));
    }
    if let Some(driver) = path.strip_prefix(r"\WINDOWS\SYSTEM32\DRIVERS\").filter(|file| file.ends_with(".SYS")) {
        return match is_there {
            true if services::is_core_driver(driver) => fatal("every Windows loads this driver to start"),
            true => Some(Harm::Risk("it is a driver, and whether the boot needs it cannot be told".to_owned())),
            false => None,
        };
    }
    None
}
