//! The places whose contents Windows runs by itself: when it starts, when somebody logs on, when setup ends, when another
//! program starts or fails.
//!
//! A file or a registry value in such a place is a script in all but name, whoever writes it. Where a place holds a list of
//! programs, an empty text or a zero starts nothing. What is known here follows Microsoft's documentation and what
//! Sysinternals Autoruns lists.

use crate::formats::pattern;
use crate::windows::setting::{Setting, Value};

/// Files by their path on the Windows volume in upper case: `*` stands for any part of one name, `**` for any names.
const FILES: &[(&str, &str)] = &[
    (r"WINDOWS\SETUP\SCRIPTS\SETUPCOMPLETE.CMD", "Windows runs it as SYSTEM when setup has ended"),
    (r"WINDOWS\SETUP\SCRIPTS\ERRORHANDLER.CMD", "Windows runs it as SYSTEM when setup fails"),
    (r"WINDOWS\OEM\SETUPCOMPLETE*.CMD", "it runs when setup has ended"),
    (r"**\START MENU\PROGRAMS\STARTUP\**", "it runs when a user logs on (startup folder)"),
    (r"WINDOWS\SYSTEM32\TASKS\**", "it is a scheduled task"),
    (r"WINDOWS\SYSTEM32\TASKS_MIGRATED\**", "it is a scheduled task"),
    (r"WINDOWS\SYSWOW64\TASKS\**", "it is a scheduled task"),
    (r"WINDOWS\TASKS\**", "it is a scheduled task"),
    (r"WINDOWS\SYSTEM32\GROUPPOLICY\**\SCRIPTS\**", "it is a script of group policy"),
    (r"WINDOWS\SYSTEM32\GROUPPOLICYUSERS\**\SCRIPTS\**", "it is a script of group policy"),
    (r"WINDOWS\SYSWOW64\GROUPPOLICY*\**\SCRIPTS\**", "it is a script of group policy"),
    (r"WINDOWS\SYSVOL*\**\SCRIPTS\**", "it is a script of group policy"),
    (r"**\GROUP POLICY\HISTORY\**", "group policy preferences apply it"),
    (r"WINDOWS\SYSVOL*\**\SCHEDULEDTASKS.XML", "it makes scheduled tasks (group policy preferences)"),
    (r"**\SCRIPTS\SCRIPTS.INI", "it lists scripts of group policy"),
    (r"**\SCRIPTS\PSSCRIPTS.INI", "it lists scripts of group policy"),
    (
        r"WINDOWS\PROVISIONING\PACKAGES\*.PPKG",
        "Windows applies provisioning packages, and their scripts, at its first start",
    ),
    (r"RECOVERY\CUSTOMIZATIONS\*.PPKG", "Windows applies provisioning packages, and their scripts, at its first start"),
    (r"WINDOWS\SYSTEM32\WBEM\REPOSITORY\**", "it holds what WMI runs when events happen"),
    (r"WINDOWS\SYSTEM32\WBEM\AUTORECOVER\**", "WMI compiles it by itself"),
    (r"WINDOWS\SYSTEM32\WBEM\MOF\**", "WMI compiles it by itself"),
    (r"WINDOWS\*\WINDOWSPOWERSHELL\V1.0\*PROFILE.PS1", "PowerShell runs it whenever it starts"),
    (r"**\WINDOWSPOWERSHELL\*PROFILE.PS1", "PowerShell runs it whenever it starts"),
    (r"PROGRAM FILES\POWERSHELL\*\*PROFILE.PS1", "PowerShell runs it whenever it starts"),
    (r"**\DOCUMENTS\POWERSHELL\*PROFILE.PS1", "PowerShell runs it whenever it starts"),
    (r"WINDOWS\EXPLORER.EXE", "it runs when a user logs on"),
    (r"WINDOWS\SYSTEM32\USERINIT.EXE", "it runs when a user logs on"),
    (r"WINDOWS\SYSTEM32\LOGONUI.EXE", ON_REQUEST),
    (r"WINDOWS\SYSTEM32\SETHC.EXE", ON_REQUEST),
    (r"WINDOWS\SYSTEM32\UTILMAN.EXE", ON_REQUEST),
    (r"WINDOWS\SYSTEM32\OSK.EXE", ON_REQUEST),
    (r"WINDOWS\SYSTEM32\MAGNIFY.EXE", ON_REQUEST),
    (r"WINDOWS\SYSTEM32\NARRATOR.EXE", ON_REQUEST),
    (r"WINDOWS\SYSTEM32\DISPLAYSWITCH.EXE", ON_REQUEST),
    (r"WINDOWS\SYSTEM32\ATBROKER.EXE", ON_REQUEST),
    (r"PROGRAM.EXE", "a service whose path has blanks and no quotes runs it instead"),
    (r"PROGRAMDATA\AMAZON\EC2LAUNCH\CONFIG\*", EC2_LAUNCH),
    (r"PROGRAMDATA\AMAZON\EC2LAUNCH\SYSPREP\*", EC2_LAUNCH),
    (r"PROGRAMDATA\AMAZON\EC2-WINDOWS\LAUNCH\CONFIG\*", EC2_LAUNCH),
    (r"PROGRAMDATA\AMAZON\EC2-WINDOWS\LAUNCH\SCRIPTS\*", EC2_LAUNCH),
    (r"PROGRAMDATA\AMAZON\EC2-WINDOWS\LAUNCH\SYSPREP\*", EC2_LAUNCH),
    (r"PROGRAM FILES\AMAZON\EC2CONFIGSERVICE\**", EC2_LAUNCH),
    (r"AUTORUN.INF", "Windows reads from it what to run"),
];

const ON_REQUEST: &str = "the logon screen runs it as SYSTEM, before anybody has logged on";
const EC2_LAUNCH: &str = "the launch agent of an EC2 instance obeys it as SYSTEM";

/// Answer files, which are run where they hold commands.
const ANSWERS: [&str; 2] = ["UNATTEND.XML", "AUTOUNATTEND.XML"];
const ANSWERED: &str = "Windows runs the commands of an answer file when it is set up";

const LOGON: &str = "it runs when a user logs on";
const WINLOGON: &str = "Winlogon runs or loads it";
const GPO: &str = "it is a script of group policy";
const DEBUG: &str = "it runs in place of another program, or when one ends or fails";
const SERVICE: &str = "it is what a service or a driver runs or loads";
const SESSION: &str = "the session manager runs or loads it when Windows starts";
const LOADED: &str = "Windows or every program loads it";
const SHELL: &str = "Explorer loads it";

/// Values by the pattern of their key in upper case, from `SOFTWARE` or `SYSTEM` of the machine or from a user's own root,
/// and those of their names.
const VALUES: &[(&str, &[&str], &str)] = &[
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\RUN\**", &["*"], LOGON),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\RUNONCE\**", &["*"], LOGON),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\RUNONCEEX\**", &["*"], LOGON),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\RUNSERVICES\**", &["*"], LOGON),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\RUNSERVICESONCE\**", &["*"], LOGON),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\POLICIES\EXPLORER\RUN\**", &["*"], LOGON),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\POLICIES\SYSTEM", &["SHELL"], LOGON),
    (
        r"**\MICROSOFT\WINDOWS\CURRENTVERSION\EXPLORER\*SHELL FOLDERS",
        &["STARTUP", "COMMON STARTUP"],
        "it says where the startup folder lies",
    ),
    (
        r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\WINLOGON",
        &[
            "SHELL",
            "USERINIT",
            "TASKMAN",
            "SYSTEM",
            "APPSETUP",
            "UIHOST",
            "VMAPPLET",
            "GINADLL",
            "LSASTART",
            "SAVEDUMPSTART",
            "SERVICECONTROLLERSTART",
            "MPNOTIFY",
        ],
        WINLOGON,
    ),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\WINLOGON\NOTIFY\**", &["DLLNAME"], WINLOGON),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\WINLOGON\GPEXTENSIONS\**", &["DLLNAME"], WINLOGON),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\WINLOGON\ALTERNATESHELLS\**", &["*"], WINLOGON),
    (r"**\MICROSOFT\ACTIVE SETUP\INSTALLED COMPONENTS\*", &["STUBPATH"], LOGON),
    (
        r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\IMAGE FILE EXECUTION OPTIONS\**",
        &["DEBUGGER", "VERIFIERDLLS", "MONITORPROCESS"],
        DEBUG,
    ),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\SILENTPROCESSEXIT\**", &["MONITORPROCESS"], DEBUG),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\AEDEBUG\**", &["DEBUGGER"], DEBUG),
    (r"**\MICROSOFT\WINDOWS\WINDOWS ERROR REPORTING\HANGS", &["DEBUGGER", "REFLECTDEBUGGER"], DEBUG),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\APPCOMPATFLAGS\CUSTOM\**", &["*"], LOADED),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\APPCOMPATFLAGS\INSTALLEDSDB\**", &["*"], LOADED),
    (r"**\MICROSOFT\WINDOWS\WINDOWS ERROR REPORTING\RUNTIMEEXCEPTIONHELPERMODULES", &["*"], DEBUG),
    (
        r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\WINDOWS",
        &["APPINIT_DLLS", "LOADAPPINIT_DLLS", "LOAD", "RUN", "ICONSERVICELIB"],
        LOADED,
    ),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\SCHEDULE\TASKCACHE\**", &["*"], "it is a scheduled task"),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\ACCESSIBILITY\ATS\**", &["STARTEXE", "ATEXE"], LOGON),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\GROUP POLICY\SCRIPTS\**", &["*"], GPO),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\GROUP POLICY\STATE\**\SCRIPTS\**", &["*"], GPO),
    (r"**\POLICIES\MICROSOFT\WINDOWS\SYSTEM\SCRIPTS\**", &["*"], GPO),
    (r"**\MICROSOFT\COMMAND PROCESSOR", &["AUTORUN"], "every command prompt runs it"),
    (r"**\EXEFILE\SHELL\*\COMMAND", &["*"], "it runs in place of every program"),
    (r"**\COMFILE\SHELL\*\COMMAND", &["*"], "it runs in place of programs"),
    (r"**\BATFILE\SHELL\*\COMMAND", &["*"], "it runs in place of batch files"),
    (r"**\CMDFILE\SHELL\*\COMMAND", &["*"], "it runs in place of batch files"),
    (
        r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\APPCOMPATFLAGS\TELEMETRYCONTROLLER\**",
        &["COMMAND"],
        "Windows runs it every day as SYSTEM",
    ),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\DRIVERS32", &["*"], LOADED),
    (r"**\MICROSOFT\WINDOWS NT\CURRENTVERSION\MINIDUMPAUXILIARYDLLS", &["*"], DEBUG),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\WSMAN\PLUGIN\**", &["CONFIGXML"], SERVICE),
    (r"**\MICROSOFT\AMSI\PROVIDERS\**", &["*"], LOADED),
    (r"**\MICROSOFT\OFFICE TEST\SPECIAL\PERF", &["*"], "Office loads it"),
    (r"**\MICROSOFT\CRYPTOGRAPHY\OID\**", &["DLL"], LOADED),
    (r"**\MICROSOFT\CRYPTOGRAPHY\PROVIDERS\TRUST\**", &["$DLL"], LOADED),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\CONTENTINDEX\LANGUAGE\**", &["DLLOVERRIDEPATH"], SERVICE),
    (r"**\MICROSOFT\NETSH", &["*"], "netsh loads it"),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\SHELLSERVICEOBJECTDELAYLOAD", &["*"], SHELL),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\EXPLORER\SHELLEXECUTEHOOKS", &["*"], SHELL),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\EXPLORER\SHAREDTASKSCHEDULER", &["*"], SHELL),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\EXPLORER\SHELLICONOVERLAYIDENTIFIERS\**", &["*"], SHELL),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\EXPLORER\BROWSER HELPER OBJECTS\**", &["*"], SHELL),
    (r"**\MICROSOFT\WINDOWS\CURRENTVERSION\AUTHENTICATION\*PROVIDERS\**", &["*"], WINLOGON),
    (r"**\POLICIES\MICROSOFT\WINDOWS NT\TERMINAL SERVICES", &["INITIALPROGRAM"], LOGON),
    (r"ENVIRONMENT", &["USERINITMPRLOGONSCRIPT"], LOGON),
    (r"CONTROL PANEL\DESKTOP", &["SCRNSAVE.EXE"], "Windows runs it as a screen saver"),
    (r"**\POLICIES\MICROSOFT\WINDOWS\CONTROL PANEL\DESKTOP", &["SCRNSAVE.EXE"], "Windows runs it as a screen saver"),
    (
        r"SYSTEM\CURRENTCONTROLSET\SERVICES\**",
        &[
            "IMAGEPATH",
            "SERVICEDLL",
            "FAILURECOMMAND",
            "APPLICATION",
            "LIBRARY",
            "DLLNAME",
            "DLLPATH",
            "PROVIDERPATH",
            "LIBRARYPATH",
            "AUTODIALDLL",
            "SERVERLEVELPLUGINDLL",
            "DIRECTORYSERVICEEXTPT",
            "LSADBEXTPT",
        ],
        SERVICE,
    ),
    // A service that has a type and no image is a driver of its own name.
    (r"SYSTEM\CURRENTCONTROLSET\SERVICES\*", &["TYPE"], "it makes a service or a driver"),
    (r"SYSTEM\CURRENTCONTROLSET\SERVICES\WINSOCK2\PARAMETERS\**", &["PACKEDCATALOGITEM"], SERVICE),
    (
        r"SYSTEM\CURRENTCONTROLSET\CONTROL\SESSION MANAGER",
        &[
            "BOOTEXECUTE*",
            "SETUPEXECUTE*",
            "EXECUTE",
            "PLATFORMEXECUTE",
            "S0INITIALCOMMAND",
            "INITIALCOMMAND",
            "PENDINGFILERENAMEOPERATIONS*",
        ],
        SESSION,
    ),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\SESSION MANAGER\APPCERTDLLS", &["*"], LOADED),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\SESSION MANAGER\KNOWNDLLS*", &["*"], LOADED),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\SESSION MANAGER\SUBSYSTEMS", &["*"], SESSION),
    (
        r"SYSTEM\CURRENTCONTROLSET\CONTROL\SESSION MANAGER\ENVIRONMENT",
        &[
            "COR_PROFILER*",
            "COR_ENABLE_PROFILING",
            "CORECLR_PROFILER*",
            "CORECLR_ENABLE_PROFILING",
            "DOTNET_STARTUP_HOOKS",
            "PSMODULEPATH",
        ],
        LOADED,
    ),
    (
        r"ENVIRONMENT",
        &["COR_PROFILER*", "COR_ENABLE_PROFILING", "CORECLR_PROFILER*", "DOTNET_STARTUP_HOOKS", "PSMODULEPATH"],
        LOADED,
    ),
    (
        r"SYSTEM\CURRENTCONTROLSET\CONTROL\LSA",
        &["AUTHENTICATION PACKAGES", "SECURITY PACKAGES", "NOTIFICATION PACKAGES"],
        "LSASS loads it",
    ),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\LSA\OSCONFIG", &["SECURITY PACKAGES"], "LSASS loads it"),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\LSAEXTENSIONCONFIG\**", &["EXTENSIONS"], "LSASS loads it"),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\SECURITYPROVIDERS", &["SECURITYPROVIDERS"], "LSASS loads it"),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\NETWORKPROVIDER\*ORDER", &["PROVIDERORDER"], WINLOGON),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\PRINT\MONITORS\*", &["DRIVER"], "the print spooler loads it"),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\PRINT\PROVIDERS\*", &["NAME"], "the print spooler loads it"),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\PRINT\**\PRINT PROCESSORS\*", &["DRIVER"], "the print spooler loads it"),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\TERMINAL SERVER\WDS\RDPWD", &["STARTUPPROGRAMS"], LOGON),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\TERMINAL SERVER\WINSTATIONS\*", &["INITIALPROGRAM"], LOGON),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\SAFEBOOT", &["ALTERNATESHELL"], "it runs in safe mode"),
    (r"SYSTEM\CURRENTCONTROLSET\CONTROL\BOOTVERIFICATIONPROGRAM", &["IMAGEPATH"], SERVICE),
    (r"SYSTEM\SETUP", &["CMDLINE"], "Windows runs it before anything else when it starts"),
];

/// Returns what makes Windows run what a setting holds; `None` for every other setting, and for what is taken away.
///
/// `to` is what the setting will hold; `None` if that is not known.
pub fn autostart(setting: &Setting, to: Option<&Value>) -> Option<&'static str> {
    match setting {
        Setting::Registry { key, name } | Setting::LocalPolicy { key, name, .. } => {
            let found = of_value(key, name)?;
            to.is_none_or(starts_something).then_some(found)
        }
        Setting::FileContent { path } | Setting::FileData { path } => of_file(path).or_else(|| of_answers(path, to)),
        _ => None,
    }
}

/// Returns what makes Windows run a file, by its path on the Windows volume.
pub fn of_file(path: &str) -> Option<&'static str> {
    let names = names_of(path);
    FILES.iter().find(|(pattern, _)| fits(&names, &split(pattern))).map(|(_, what)| *what)
}

/// Returns what makes Windows run what a registry value holds. The key begins with its root, or stands below `SOFTWARE` as in
/// files of group policy.
pub fn of_value(key: &str, name: &str) -> Option<&'static str> {
    let names = keys_of(key);
    let name = name.to_uppercase();
    let is_named = |patterns: &[&str]| patterns.iter().any(|one| *one == "*" || pattern::fits(&name, one));
    let found = VALUES.iter().find(|(pattern, values, _)| is_named(values) && fits(&names, &split(pattern)));
    found.map(|(.., what)| *what)
}

/// Returns what makes Windows run an answer file that holds commands.
fn of_answers(path: &str, to: Option<&Value>) -> Option<&'static str> {
    let names = names_of(path);
    let last = names.last()?;
    if !ANSWERS.iter().any(|answers| is_name(last, answers)) {
        return None;
    }
    let bytes = match to {
        Some(Value::Text(text)) => text.as_bytes(),
        Some(Value::Content(content)) => content.data.as_deref().unwrap_or_default(),
        _ => return Some(ANSWERED),
    };
    // Whether the text is UTF-8 or UTF-16, its tags are ASCII.
    let text: Vec<u8> = bytes.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase).collect();
    let tags: [&[u8]; 5] = [b"runsynchronous", b"runasynchronous", b"logoncommands", b"commandline", b"<path>"];
    let is_known = text.starts_with(b"<") || text.contains(&b'<');
    let has_commands = tags.iter().any(|tag| text.windows(tag.len()).any(|window| window == *tag));
    (has_commands || !is_known).then_some(ANSWERED)
}

/// Tells whether a registry value names anything to run: an empty text and a zero do not.
fn starts_something(value: &Value) -> bool {
    let Some(data) = value.as_data() else { return !matches!(value, Value::Deletion) };
    if let Some(number) = data.as_dword().map(u64::from).or(data.as_qword()) {
        return number != 0;
    }
    match (data.as_text(), data.as_texts()) {
        (Some(text), _) => !text.trim().is_empty(),
        (None, Some(texts)) => !texts.is_empty(),
        (None, None) => !data.data.is_empty(),
    }
}

/// Returns the names of a path in upper case, as Windows finds them: without a drive, a stream, or dots and blanks at the end.
fn names_of(path: &str) -> Vec<String> {
    let path = path.replace('/', r"\").to_uppercase();
    let path = match path.split_once(':') {
        Some((drive, rest)) if drive.trim_start_matches(['\\', '?', '.']).len() == 1 => rest.to_owned(),
        _ => path,
    };
    let name = |name: &str| name.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']).to_owned();
    path.split('\\').map(name).filter(|name| !name.is_empty()).collect()
}

/// Returns the names of a key in upper case, from `SOFTWARE`, `SYSTEM` or a user's root: each control set is the current one,
/// and what 32-bit programs see is what the others do.
fn keys_of(key: &str) -> Vec<String> {
    let key = key.to_uppercase();
    let mut names: Vec<&str> = key.split('\\').filter(|name| !name.is_empty()).collect();
    match names.first().map(|root| root.trim_end_matches(':')) {
        Some("HKLM" | "HKEY_LOCAL_MACHINE" | "HKCU" | "HKEY_CURRENT_USER") => drop(names.remove(0)),
        Some("HKU" | "HKEY_USERS") => drop(names.drain(..2.min(names.len()))),
        _ => {}
    }
    let is_of_32_bit = |name: &str| matches!(name, "WOW6432NODE" | "WOWAA32NODE");
    let is_control_set = |name: &str| {
        name.strip_prefix("CONTROLSET").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_digit()))
    };
    let is_system = names.first() == Some(&"SYSTEM");
    let names = names.into_iter().filter(|name| !is_of_32_bit(name)).enumerate();
    let current = |(at, name): (usize, &str)| match at == 1 && is_system && is_control_set(name) {
        true => "CURRENTCONTROLSET".to_owned(),
        false => name.to_owned(),
    };
    names.map(current).collect()
}

fn split(pattern: &'static str) -> Vec<&'static str> {
    pattern.split('\\').collect()
}

/// Tells whether names fit the parts of a pattern, in which `**` stands for any number of them. Patterns are this file's own,
/// with two of these at most.
fn fits(names: &[String], pattern: &[&str]) -> bool {
    match pattern.split_first() {
        None => names.is_empty(),
        Some((&"**", rest)) => {
            (0..=names.len()).any(|skipped| names.get(skipped..).is_some_and(|names| fits(names, rest)))
        }
        Some((part, rest)) => names.split_first().is_some_and(|(name, names)| is_name(name, part) && fits(names, rest)),
    }
}

/// Tells whether a name is the one of a pattern, or may be its short form: `STARTM~1` for `START MENU`.
fn is_name(name: &str, part: &str) -> bool {
    if pattern::fits(name, part) {
        return true;
    }
    let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
    let (long, long_suffix) = part.rsplit_once('.').unwrap_or((part, ""));
    let Some((head, number)) = stem.rsplit_once('~') else { return false };
    let long: String = long.chars().filter(|c| !matches!(c, ' ' | '.')).collect();
    let is_short = !head.is_empty() && long.chars().count() > head.chars().count() && long.starts_with(head);
    is_short && number.bytes().all(|c| c.is_ascii_digit()) && long_suffix.starts_with(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::setting::{Content, ValueType};

    #[test]
    fn files_that_windows_runs_are_known_in_each_spelling() {
        for path in [
            r"Windows\Setup\Scripts\SetupComplete.cmd",
            r"C:\WINDOWS\setup\SCRIPTS\setupcomplete.CMD",
            "/Windows/Setup/Scripts/ErrorHandler.cmd",
            r"Windows\Setup\Scripts\SetupComplete.cmd.",
            r"Windows\Setup\Scripts\SetupComplete.cmd::$DATA",
            r"Windows\Setup\Scripts\SETUPC~1.CMD",
            r"ProgramData\Microsoft\Windows\Start Menu\Programs\StartUp\a.lnk",
            r"Users\Default\AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup\a\b.exe",
            r"ProgramData\Microsoft\Windows\STARTM~1\Programs\Startup\a.bat",
            r"Users\All Users\Start Menu\Programs\Startup\a.bat",
            r"Windows\System32\Tasks\Acme\Job",
            r"Windows\Tasks\a.job",
            r"Windows\System32\GroupPolicy\Machine\Scripts\Startup\a.cmd",
            r"Windows\System32\GroupPolicy\Machine\Scripts\scripts.ini",
            r"Windows\System32\GroupPolicy\User\Scripts\psscripts.ini",
            r"Windows\System32\GroupPolicyUsers\S-1-5-32-545\User\Scripts\Logon\a.cmd",
            r"Windows\SYSVOL\sysvol\a.example\Policies\{0}\Machine\Scripts\Startup\a.ps1",
            r"Windows\SYSVOL\domain\scripts\logon.cmd",
            r"Windows\System32\WindowsPowerShell\v1.0\profile.ps1",
            r"Users\a\Documents\WindowsPowerShell\Microsoft.PowerShell_profile.ps1",
            r"Users\Default\Documents\PowerShell\profile.ps1",
            r"Windows\System32\sethc.exe",
            r"Windows\explorer.exe",
            r"Program.exe",
            r"ProgramData\Amazon\EC2Launch\config\agent-config.yml",
            r"ProgramData\Amazon\EC2-Windows\Launch\Config\LaunchConfig.json",
        ] {
            assert!(of_file(path).is_some(), "{path}");
        }
        for path in [
            r"Windows\Setup\Scripts\other.cmd",
            r"Acme\SetupComplete.cmd",
            r"Acme\Startup\a.exe",
            r"Windows\System32\TasksOld\a",
            r"Windows\System32\drivers\etc\hosts",
            r"Acme\scripts.ini",
            r"Windows\Temp\a.ps1",
            r"Acme\explorer.exe",
            r"Windows\System32\acme.exe",
            r"ProgramData\Amazon\EC2Launch\log\agent.log",
        ] {
            assert_eq!(of_file(path), None, "{path}");
        }
    }

    #[test]
    fn values_that_windows_runs_are_known_under_every_root() {
        for (key, name) in [
            (r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run", "a"),
            (r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\runonce", ""),
            (r"HKLM\SOFTWARE\Microsoft\Wow6432Node\Windows\CurrentVersion\RunOnceEx\001", "1"),
            (r"HKU\.DEFAULT\Software\Microsoft\Windows\CurrentVersion\RunServices", "a"),
            (r"HKU\S-1-5-21-1-2-3-500\Software\Microsoft\Windows\CurrentVersion\Policies\Explorer\Run", "1"),
            (r"HKCU\Software\Microsoft\Windows NT\CurrentVersion\Windows", "load"),
            (r"SOFTWARE\Microsoft\Windows\CurrentVersion\Run", "a"),
            (
                r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Terminal Server\Install\Software\Microsoft\Windows\CurrentVersion\Run",
                "a",
            ),
            (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon", "userinit"),
            (r"HKLM\SOFTWARE\Microsoft\Active Setup\Installed Components\{1}", "StubPath"),
            (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Image File Execution Options\sethc.exe", "Debugger"),
            (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\SilentProcessExit\a.exe", "MonitorProcess"),
            (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Windows", "AppInit_DLLs"),
            (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tasks\{1}", "Actions"),
            (r"HKLM\SYSTEM\CurrentControlSet\Services\Acme", "ImagePath"),
            (r"HKLM\SYSTEM\ControlSet001\Services\Acme\Parameters", "ServiceDll"),
            (r"HKLM\SYSTEM\ControlSet002\Control\Session Manager", "BootExecute"),
            (r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager", "SetupExecute"),
            (r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa", "Notification Packages"),
            (r"HKLM\SYSTEM\Setup", "CmdLine"),
            (r"HKU\.DEFAULT\Environment", "UserInitMprLogonScript"),
            (r"HKLM:\SOFTWARE\Microsoft\Command Processor", "AutoRun"),
            (r"HKLM\SOFTWARE\Classes\exefile\shell\open\command", ""),
            (r"HKLM\SOFTWARE\Classes\exefile\shell\runas\command", "IsolatedCommand"),
            (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\AppCompatFlags\TelemetryController\Acme", "Command"),
            (r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows NT\CurrentVersion\Drivers32", "wavemapper"),
        ] {
            assert!(of_value(key, name).is_some(), "{key}!{name}");
        }
        for (key, name) in [
            (r"HKLM\SOFTWARE\Acme\Run", "a"),
            (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon", "CachedLogonsCount"),
            (r"HKLM\SYSTEM\CurrentControlSet\Services\Acme", "Start"),
            (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\AppCompatFlags\Layers", "Command"),
            (r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager", "SafeDllSearchMode"),
            (r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System", "EnableLUA"),
            (r"HKLM", ""),
            (r"HKU", ""),
            ("", ""),
        ] {
            assert_eq!(of_value(key, name), None, "{key}!{name}");
        }
    }

    #[test]
    fn nothing_starts_nothing_and_an_answer_file_starts_its_commands() {
        let key = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Windows".to_owned();
        let value = |name: &str, to: Value| {
            autostart(&Setting::Registry { key: key.clone(), name: name.to_owned() }, Some(&to)).is_some()
        };
        assert!(value("AppInit_DLLs", Value::sz("a.dll")) && value("LoadAppInit_DLLs", Value::dword(1)));
        assert!(!value("AppInit_DLLs", Value::sz("")) && !value("LoadAppInit_DLLs", Value::dword(0)));
        assert!(!value("AppInit_DLLs", Value::data(ValueType::MULTI_SZ, vec![0, 0])));
        let answers = Setting::FileContent { path: r"Windows\Panther\unattend.xml".to_owned() };
        let text = |text: &str| autostart(&answers, Some(&Value::Text(text.to_owned()))).is_some();
        assert!(!text("<unattend><component><TimeZone>UTC</TimeZone></component></unattend>"));
        assert!(text("<unattend><FirstLogonCommands/></unattend>") && text("") && text("what"));
        let wide: Vec<u8> = "<RunSynchronous>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(autostart(&answers, Some(&Value::Content(Content::of(wide)))).is_some());
        assert!(autostart(&answers, None).is_some());
        assert_eq!(
            autostart(&Setting::File { path: r"Windows\Tasks\a.job".to_owned() }, Some(&Value::Flag(false))),
            None
        );
    }
}
