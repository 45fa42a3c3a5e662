//! Registry values by which Windows starts, and by which users log on.

use super::harm::Harm;
use super::planned::Planned;
use super::services;
use crate::windows::setting::{Data, Value};

/// Processes of boot and logon: a debugger or verifier in their place keeps the machine from starting.
const PROCESSES: [&str; 24] = [
    "autochk.exe",
    "conhost.exe",
    "consent.exe",
    "csrss.exe",
    "ctfmon.exe",
    "dllhost.exe",
    "dwm.exe",
    "explorer.exe",
    "fontdrvhost.exe",
    "logonui.exe",
    "lsaiso.exe",
    "lsass.exe",
    "lsm.exe",
    "rdpclip.exe",
    "rundll32.exe",
    "runtimebroker.exe",
    "services.exe",
    "sihost.exe",
    "smss.exe",
    "svchost.exe",
    "taskhostw.exe",
    "userinit.exe",
    "wininit.exe",
    "winlogon.exe",
];

/// Programs by which AWS prepares a machine at its first start.
const CLOUD_PROCESSES: [&str; 6] =
    ["amazon-ssm-agent.exe", "cmd.exe", "ec2config.exe", "ec2launch.exe", "powershell.exe", "ssm-agent-worker.exe"];

/// Values of `SYSTEM\Setup` by which Windows runs a program instead of starting.
const SETUP: [&str; 9] = [
    "CmdLine",
    "FactoryPreInstallInProgress",
    "OOBEInProgress",
    "RespecializeCmdLine",
    "RestartSetup",
    "SetupPhase",
    "SetupShutdownRequired",
    "SetupType",
    "SystemSetupInProgress",
];

/// What changes how a process runs, beside a debugger in its place.
const PROCESS_OPTIONS: [&str; 6] =
    ["GlobalFlag", "MaxLoaderThreads", "MitigationOptions", "UseFilter", "VerifierDlls", "VerifierFlags"];

/// The credential provider of passwords.
const PASSWORD_PROVIDER: &str = "{60B78E88-EAD8-445C-9CFD-0B87F74EA6CD}";

/// Judges a registry value. `key` has one backslash between names.
pub(super) fn judge(
    (key, name): (&str, &str),
    values: (Option<&Value>, Option<&Value>),
    machine: &Planned<'_>,
) -> Option<Harm> {
    let upper = key.to_uppercase();
    if let Some(below) = upper.strip_prefix(r"HKLM\SYSTEM\") {
        let (first, rest) = below.split_once('\\').unwrap_or((below, ""));
        return match first {
            "SELECT" => fatal("the boot loader takes the control set from this key"),
            "MOUNTEDDEVICES" => fatal("Windows finds its volume by this key"),
            "SETUP" if rest.is_empty() && is_one(name, &SETUP) => {
                fatal("Windows runs setup instead of starting where this value says so")
            }
            _ if first.starts_with("CONTROLSET") || first == "CURRENTCONTROLSET" => {
                let set = key.get(..r"HKLM\SYSTEM\".len() + first.len())?;
                control_set((set, rest, name), values, machine)
            }
            _ => None,
        };
    }
    let (root, below) = upper.split_once('\\')?;
    let software = match root {
        "HKLM" => below.strip_prefix(r"SOFTWARE\"),
        // `HKU\name\SOFTWARE`, and `HKCU\SOFTWARE`.
        _ => below.split_once(r"SOFTWARE\").map(|(_, rest)| rest),
    }?;
    self::software((software, name), values, root == "HKLM", machine)
}

fn control_set(
    (set, below, name): (&str, &str, &str),
    (before, to): (Option<&Value>, Option<&Value>),
    machine: &Planned<'_>,
) -> Option<Harm> {
    if below.starts_with(r"SERVICES\WINSOCK2\PARAMETERS") {
        return risk("programs find the network by this key");
    }
    if let Some(service) = below.strip_prefix(r"SERVICES\") {
        return services::judge((set, service, name), (before, to), machine);
    }
    if below.starts_with(r"ENUM\") {
        return risk("a device is described by this key, and is lost with a wrong value");
    }
    let control = below.strip_prefix("CONTROL")?.trim_start_matches('\\');
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let dword = to.and_then(Value::as_dword);
    // What is no number may be taken for one.
    let is_odd = to.is_some() && dword.is_none();
    if let Some(class) = control.strip_prefix(r"CLASS\") {
        return match is("UpperFilters") || is("LowerFilters") {
            true => services::judge_filters((set, class), (before, to), machine),
            false => None,
        };
    }
    match control {
        "LSA" | r"LSA\OSCONFIG" => lsa(name, before, to),
        r"LSA\MSV1_0" if is("RestrictReceivingNTLMTraffic") && (dword == Some(2) || is_odd) => {
            risk("no local account can log on through the network, as Remote Desktop asks for")
        }
        "SECURITYPROVIDERS" if is("SecurityProviders") => {
            let text = to.and_then(Value::as_text).unwrap_or_default().to_lowercase();
            match text.split(',').any(|library| library.trim() == "credssp.dll") {
                true => None,
                false => risk("Remote Desktop asks for the logon through credssp.dll, which is no longer loaded"),
            }
        }
        r"SECURITYPROVIDERS\SCHANNEL\PROTOCOLS\TLS 1.2\SERVER"
            if (is("Enabled") && (dword == Some(0) || is_odd))
                || (is("DisabledByDefault") && (dword.is_some_and(|on| on != 0) || is_odd)) =>
        {
            risk("Remote Desktop speaks TLS 1.2")
        }
        "" if is("ServicesPipeTimeout") && dword.is_none_or(|time| time < SERVICES_PIPE_TIMEOUT) && to.is_some() => {
            risk("services that need longer to start are given up")
        }
        "MININT" => risk("Windows takes itself for one of setup, and restarts again and again"),
        r"NLS\CODEPAGE" => risk("Windows does not start without the tables that this key names"),
        r"NLS\LANGUAGE" | r"NLS\LOCALE" if is_one(name, &["", "@", "Default", "InstallLanguage"]) => {
            risk("Windows does not start without the tables that this value names")
        }
        "DEVICEGUARD" if is_one(name, &["EnableVirtualizationBasedSecurity", "Mandatory"]) && dword != Some(0) => {
            risk("a machine whose hypervisor does not let Windows use virtualization may not start")
        }
        r"TERMINAL SERVER\WINSTATIONS" if is("DefaultSecurity") => risk("it tells who may open a session"),
        r"TERMINAL SERVER\WINSTATIONS\RDP-TCP"
            if is_one(
                name,
                &["CdDLL", "LoadableProtocol_Object", "PdDLL", "PdName", "Security", "WdDLL", "WdName", "WsxDLL"],
            ) =>
        {
            risk("the listener of Remote Desktop works by this value")
        }
        "WINDOWS" if is("Directory") || is("SystemDirectory") => fatal("Windows finds its own folder by this value"),
        r"SESSION MANAGER\MEMORY MANAGEMENT" if is("VerifyDrivers") || is("VerifyDriverLevel") => {
            risk("Windows stops where the verifier finds fault with a driver")
        }
        "HIVELIST" => fatal("Windows loads its hives by this key"),
        "PRODUCTOPTIONS" => fatal("Windows stops at boot when its product type or suite is changed"),
        "SERVICEGROUPORDER" if is("List") => fatal("drivers are loaded in this order"),
        "GROUPORDERLIST" => risk("drivers of a group are loaded in this order"),
        r"SESSION MANAGER\SUBSYSTEMS" if !(is("Optional") || is("Posix") || is("Debug")) => {
            fatal("the Session Manager starts Windows itself by this value")
        }
        r"SESSION MANAGER\KNOWNDLLS" => fatal("every process loads its libraries by this key"),
        r"SESSION MANAGER\DOS DEVICES" => risk("programs find devices by this key"),
        r"SESSION MANAGER\ENVIRONMENT" if is_one(name, &["Path", "ComSpec", "windir", "SystemRoot"]) => {
            environment(name, before, to)
        }
        "SESSION MANAGER"
            if is_one(
                name,
                &[
                    "BootExecute",
                    "BootShell",
                    "Execute",
                    "PendingFileRenameOperations",
                    "PendingFileRenameOperations2",
                    "S0InitialCommand",
                    "SetupExecute",
                ],
            ) =>
        {
            risk("the Session Manager runs or renames what this value names before Windows starts")
        }
        _ if control.starts_with(r"CRITICALDEVICEDATABASE\") => risk("boot devices get their drivers by this key"),
        _ => None,
    }
}

/// The least time in milliseconds that the service control manager waits for a service: its default.
const SERVICES_PIPE_TIMEOUT: u32 = 30_000;

/// Judges a value of the local security authority.
fn lsa(name: &str, before: Option<&Value>, to: Option<&Value>) -> Option<Harm> {
    if name.eq_ignore_ascii_case("CrashOnAuditFail") {
        return match to.map(Value::as_dword) {
            Some(Some(0)) | None => None,
            Some(None) => risk("it is no number (REG_DWORD), and Windows may stop when the security log is full"),
            Some(Some(2)) => risk("only administrators can log on while this is 2"),
            Some(Some(_)) => risk("Windows stops when the security log is full"),
        };
    }
    if name.eq_ignore_ascii_case("SecureBoot") {
        return fatal("Windows asks for a key at boot where this value says so, and nobody is there to give it");
    }
    let lists = ["Authentication Packages", "Notification Packages", "Security Packages"];
    if !is_one(name, &lists) {
        return None;
    }
    let names = |value: Option<&Value>| value.and_then(|value| value.as_data()?.as_texts());
    let stands = names(before).unwrap_or_default();
    let Some(after) = names(to) else {
        return fatal("the packages of the local security authority are a list (REG_MULTI_SZ)");
    };
    let holds = |list: &[String], wanted: &str| list.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    if name.eq_ignore_ascii_case(lists[0]) && !holds(&after, "msv1_0") {
        return fatal("no local account can log on without the authentication package msv1_0");
    }
    if let Some(lost) = stands.iter().find(|known| known.as_str() != "\"\"" && !holds(&after, known)) {
        return Some(Harm::Risk(format!("the package {lost} is no longer loaded, which logons may need")));
    }
    let added = after.iter().find(|name| name.as_str() != "\"\"" && !holds(&stands, name))?;
    Some(Harm::Risk(format!(
        "the local security authority loads the package {added}, and can stop the boot if it fails"
    )))
}

/// Judges a variable of every process. Windows lies in `C:\Windows`, unless the value that is there says otherwise.
fn environment(name: &str, before: Option<&Value>, to: Option<&Value>) -> Option<Harm> {
    let plain = |value: Option<&Value>| {
        let text = value.and_then(Value::as_text).unwrap_or_default().to_lowercase();
        ["%systemroot%", "%windir%"].iter().fold(text, |text, root| text.replace(root, r"c:\windows"))
    };
    let folders = |text: &str| -> Vec<String> {
        text.split(';').map(|folder| folder.trim().trim_end_matches('\\').to_owned()).collect()
    };
    let (old, text) = (plain(before), plain(to));
    let is_kept = match name.to_ascii_lowercase().as_str() {
        "path" => {
            let is_system = |folder: &String| folder.ends_with(r"\system32");
            let own: Vec<String> = folders(&old).into_iter().filter(is_system).collect();
            let needed = if own.is_empty() { vec![r"c:\windows\system32".to_owned()] } else { own };
            folders(&text).iter().any(|folder| needed.contains(folder))
        }
        "comspec" => text == r"c:\windows\system32\cmd.exe",
        _ => text.trim_end_matches('\\') == r"c:\windows",
    };
    if is_kept { None } else { risk("services and scripts find the programs of Windows by this value") }
}

fn software(
    (below, name): (&str, &str),
    (before, to): (Option<&Value>, Option<&Value>),
    is_machine: bool,
    machine: &Planned<'_>,
) -> Option<Harm> {
    const NT: &str = r"MICROSOFT\WINDOWS NT\CURRENTVERSION";
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let text = to.and_then(Value::as_text).unwrap_or_default();
    let dword = to.and_then(Value::as_dword);
    let is_odd = to.is_some() && dword.is_none();
    if below == r"MICROSOFT\WINDOWS\CURRENTVERSION\POLICIES\SYSTEM" {
        return match () {
            () if is("Shell") => shell(&text, to),
            () if is_machine && is("scforceoption") && (dword.is_some_and(|on| on != 0) || is_odd) => {
                risk("nobody can log on without a smart card")
            }
            () if is_machine
                && is("ExcludedCredentialProviders")
                && text.to_uppercase().contains(PASSWORD_PROVIDER) =>
            {
                risk("nobody can log on with a password")
            }
            () => None,
        };
    }
    if below == format!(r"{NT}\WINLOGON") && is("Shell") {
        return shell(&text, to);
    }
    if !is_machine {
        return None;
    }
    if let Some(rest) = below.strip_prefix(NT) {
        return windows_nt((rest.trim_start_matches('\\'), name), (before, to));
    }
    if let Some(rest) = below.strip_prefix(r"MICROSOFT\WINDOWS\CURRENTVERSION\AUTHENTICATION\") {
        return match rest.split_once('\\') {
            Some(("CREDENTIAL PROVIDERS", provider)) if is("Disabled") && dword != Some(0) && to.is_some() => {
                match provider == PASSWORD_PROVIDER {
                    true => risk("nobody can log on with a password"),
                    false => None,
                }
            }
            Some(("CREDENTIAL PROVIDER FILTERS", _)) if to.is_some() => {
                risk("a filter of credential providers can take every way to log on away")
            }
            _ => None,
        };
    }
    if below.starts_with(r"CLASSES\CLSID\") && below.contains(PASSWORD_PROVIDER) {
        return risk("nobody can log on with a password without this library");
    }
    if below == r"MICROSOFT\OLE" || below == r"POLICIES\MICROSOFT\WINDOWS NT\DCOM" {
        let limits = [
            "DefaultAccessPermission",
            "DefaultLaunchPermission",
            "MachineAccessRestriction",
            "MachineLaunchRestriction",
        ];
        let is_off = is("EnableDCOM") && !text.eq_ignore_ascii_case("Y");
        return match (is_one(name, &limits) && to.is_some()) || is_off {
            true => risk("services of Windows call each other by these permissions"),
            false => None,
        };
    }
    if below == r"POLICIES\MICROSOFT\WINDOWS NT\TERMINAL SERVICES" && is("InitialProgram") && !text.trim().is_empty() {
        return risk("each session through Remote Desktop runs this program, and ends with it");
    }
    let policy = below.strip_prefix(r"POLICIES\MICROSOFT\WINDOWS\")?;
    match policy {
        r"SAFER\CODEIDENTIFIERS"
            if is("DefaultLevel") && (is_odd || dword.is_some_and(|level| level < UNRESTRICTED)) =>
        {
            risk("only programs that are listed run, and those of boot, logon and the cloud may not be")
        }
        _ if policy.starts_with(r"SAFER\CODEIDENTIFIERS\0\") && is("ItemData") && to.is_some() => {
            risk("programs that this rule names do not run, and those of boot, logon and the cloud may be among them")
        }
        r"DEVICEINSTALL\RESTRICTIONS"
            if name.to_ascii_lowercase().starts_with("deny")
                && !name.to_ascii_lowercase().ends_with("retroactive")
                && (dword.is_some_and(|on| on != 0) || is_odd) =>
        {
            device_installation(name, machine)
        }
        "DEVICEGUARD" if is("DeployConfigCIPolicy") && dword != Some(0) => {
            risk("only code that the policy of code integrity names runs, and that of boot and the cloud may not be")
        }
        _ if policy.starts_with(r"SRPV2\") && is("EnforcementMode") && dword == Some(1) => {
            risk("only programs that are listed run, and those of boot, logon and the cloud may not be")
        }
        _ => None,
    }
}

/// The level of software restriction at which every program runs.
const UNRESTRICTED: u32 = 0x4_0000;

/// Judges a switch that keeps devices from getting their drivers, by the devices that its list names.
fn device_installation(switch: &str, machine: &Planned<'_>) -> Option<Harm> {
    /// Thunderbolt and FireWire controllers and what is attached to these and to USB, which no cloud has.
    const ABSENT: [&str; 5] = [
        r"PCI\CC_0C0A",
        r"PCI\CC_0C00",
        "USB",
        "{D48179BE-EC20-11D1-B6B8-00C04FA372A7}",
        "{7EBEFBC0-3200-11D2-B4C2-00A0C9697D07}",
    ];
    let list =
        machine.values_of(&format!(r"HKLM\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions\{switch}"));
    let is_absent = |data: &Data| {
        let name = data.as_text().unwrap_or_default().to_uppercase();
        ABSENT.iter().any(|absent| name.starts_with(absent))
    };
    match !list.is_empty() && list.iter().all(|(_, data)| is_absent(data)) {
        true => None,
        false => risk("the devices of another machine do not get their drivers"),
    }
}

/// Judges a value at or below `Microsoft\Windows NT\CurrentVersion`.
fn windows_nt((below, name): (&str, &str), (before, to): (Option<&Value>, Option<&Value>)) -> Option<Harm> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let text = to.and_then(Value::as_text).unwrap_or_default();
    match below {
        "" if is("SystemRoot") || is("PathName") => fatal("Windows finds its own folder by this value"),
        "WINLOGON" if is("Userinit") => userinit(&text, before),
        "WINLOGON" if is("GinaDLL") && !text.is_empty() => {
            risk("another library than that of Windows asks for the logon")
        }
        "WINLOGON" if is("WinStationsDisabled") && text.trim() == "1" => {
            risk("no session can be opened through Remote Desktop")
        }
        r"WINLOGON\ALTERNATESHELLS\AVAILABLESHELLS" => risk("another program is the shell of each logon"),
        "WINDOWS" if is("AppInit_DLLs") && !text.trim().is_empty() => {
            risk("every process with a window, those of the logon too, loads these libraries")
        }
        "SVCHOST" => services::judge_host(name, before, to),
        _ if below == "PROFILELIST" || below.starts_with(r"PROFILELIST\") => {
            risk("users get their profiles by this key, and may not log on without")
        }
        _ => {
            let (list, rest) = below.split_once('\\')?;
            let process = rest.split('\\').next()?;
            let is_listed = PROCESSES.iter().any(|known| known.eq_ignore_ascii_case(process));
            let is_of_cloud = CLOUD_PROCESSES.iter().any(|known| known.eq_ignore_ascii_case(process));
            match list {
                "IMAGE FILE EXECUTION OPTIONS" if is_listed && to.is_some() => {
                    let process = process.to_lowercase();
                    match is("Debugger") && !text.trim().is_empty() {
                        true => Some(Harm::Fatal(format!("{process} is replaced by another program at boot or logon"))),
                        false => is_one(name, &PROCESS_OPTIONS)
                            .then(|| Harm::Risk(format!("{process}, a process of boot and logon, runs otherwise"))),
                    }
                }
                "IMAGE FILE EXECUTION OPTIONS" if is_of_cloud && is("Debugger") && !text.trim().is_empty() => {
                    risk("another program runs in place of one by which a machine in the cloud is prepared")
                }
                "SILENTPROCESSEXIT" if is_listed && to.is_some() => {
                    risk("another program runs when a process of boot or logon ends")
                }
                _ => None,
            }
        }
    }
}

/// Judges the programs that prepare a logon, of which that of Windows must be the first.
fn userinit(text: &str, before: Option<&Value>) -> Option<Harm> {
    let programs = |text: &str| -> Vec<String> {
        let one = |text: &str| text.trim().trim_matches('"').to_lowercase();
        text.split(',').map(one).filter(|program| !program.is_empty()).collect()
    };
    let (now, own) = (programs(text), before.and_then(Value::as_text).map(|text| programs(&text)).unwrap_or_default());
    let known = [
        "userinit.exe",
        r"%systemroot%\system32\userinit.exe",
        r"%windir%\system32\userinit.exe",
        r"c:\windows\system32\userinit.exe",
    ];
    let is_usual = |program: &String| known.contains(&program.as_str());
    let is_first = now
        .first()
        .is_some_and(|first| is_usual(first) || (own.first() == Some(first) && first.ends_with("userinit.exe")));
    match () {
        () if now.is_empty() => fatal("every logon ends at once without a program here"),
        () if !is_first => risk("another program than userinit.exe of Windows prepares each logon"),
        () if now.iter().skip(1).any(|program| !is_usual(program) && !own.contains(program)) => {
            risk("one more program runs at each logon, and can end it")
        }
        () => None,
    }
}

fn shell(text: &str, to: Option<&Value>) -> Option<Harm> {
    let is_usual = text.trim().eq_ignore_ascii_case("explorer.exe") || to.is_none();
    if is_usual { None } else { risk("another program than explorer.exe is the shell of each logon") }
}

fn is_one(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn fatal(why: &str) -> Option<Harm> {
    Some(Harm::Fatal(why.to_owned()))
}

fn risk(why: &str) -> Option<Harm> {
    Some(Harm::Risk(why.to_owned()))
}
