//! The guard on a server of which the settings are a map.

use std::collections::BTreeSet;

use super::*;
use crate::policy::assess::assess;
use crate::policy::catalog::Catalog;
use crate::policy::fake_machine::{self, FakeMachine, setting};
use crate::policy::selection::Selection;
use crate::policy::values::Values;
use crate::windows::setting::{AccountPolicyField, Identity, PolicyScope, ValueType};
use coldforge_base::{Failure as _, utf16};

const SERVICES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services";
const CONTROL: &str = r"HKLM\SYSTEM\CurrentControlSet\Control";
const TERMINAL: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server";
const TERMINAL_POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services";
const FIREWALL: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy";
const FIREWALL_POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall";
const NT: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
const RDP_RULE: &str = "v2.30|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|App=%SystemRoot%\\system32\\svchost.exe|Svc=termservice|";

fn texts(texts: &[&str]) -> Value {
    let mut data: Vec<u8> = texts.iter().flat_map(|text| utf16::encode_with_nul(text)).collect();
    data.extend([0, 0]);
    Value::data(ValueType::MULTI_SZ, data)
}

fn sids(texts: &[&str]) -> Value {
    Value::Sids(texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// Returns a server that starts, that is reached through Remote Desktop, and on which services have their rights.
fn server() -> FakeMachine {
    let mut machine = FakeMachine::new(fake_machine::member_server());
    let mut put = |key: &str, name: &str, value: Value| machine.put(&setting(key, name), Some(value));
    for (service, kind, start, group) in [
        ("disk", 1, 0, ""),
        ("acmebus", 1, 0, "System Bus Extender"),
        ("acmeraid", 1, 0, "SCSI Miniport"),
        ("acmefilter", 1, 3, ""),
        ("beep", 1, 1, "Base"),
        ("mrxsmb10", 2, 2, "Network"),
        ("Spooler", 0x110, 2, ""),
        ("RpcSs", 0x20, 2, ""),
        ("TermService", 0x20, 3, ""),
        ("Netlogon", 0x20, 2, ""),
        ("RemoteRegistry", 0x20, 4, ""),
    ] {
        let key = format!(r"{SERVICES}\{service}");
        put(&key, "Start", Value::dword(start));
        put(&key, "Type", Value::dword(kind));
        put(&key, "Group", Value::sz(group));
        put(&key, "ImagePath", Value::sz("x"));
    }
    let class = format!(r"{CONTROL}\Class\{{4d36e967-e325-11ce-bfc1-08002be10318}}");
    put(&class, "Class", Value::sz("DiskDrive"));
    put(&class, "LowerFilters", texts(&["acmefilter"]));
    put(&class, "UpperFilters", texts(&["partmgr"]));
    put(&format!(r"{CONTROL}\Lsa"), "Authentication Packages", texts(&["msv1_0", "kerberos"]));
    put(&format!(r"{CONTROL}\Session Manager"), "BootExecute", texts(&["autocheck autochk *"]));
    put(&format!(r"{NT}\Winlogon"), "Shell", Value::sz("explorer.exe"));
    put(&format!(r"{NT}\Winlogon"), "Userinit", Value::sz(r"C:\Windows\system32\userinit.exe,"));
    put(&format!(r"{NT}\Svchost"), "rpcss", texts(&["RpcSs", "RpcEptMapper"]));
    put(TERMINAL, "fDenyTSConnections", Value::dword(0));
    put(&format!(r"{TERMINAL}\WinStations\RDP-Tcp"), "PortNumber", Value::dword(3389));
    put(&format!(r"{FIREWALL}\PublicProfile"), "EnableFirewall", Value::dword(1));
    put(&format!(r"{FIREWALL}\FirewallRules"), "RemoteDesktop-UserMode-In-TCP", Value::sz(RDP_RULE));
    for right in ["SeImpersonatePrivilege", "SeAssignPrimaryTokenPrivilege", "SeServiceLogonRight"] {
        let holders = ["S-1-5-32-544", "S-1-5-6", "S-1-5-19", "S-1-5-20", "S-1-5-80-0"];
        machine.put(&Setting::UserRight { right: right.into() }, Some(sids(&holders)));
    }
    machine
}

fn no_rules() -> Assessment {
    let mut catalog = Catalog::ws2022().clone();
    catalog.rules.clear();
    assess(&catalog, &Selection::default(), &Values::default(), &FakeMachine::new(fake_machine::member_server()))
}

fn steps(machine: &FakeMachine, changes: &[(Setting, Option<Value>)]) -> Vec<Step> {
    let placed = |(setting, to): &(Setting, Option<Value>)| {
        let step = |setting| Step { rules: vec!["T-1".into()], setting, to: to.clone() };
        machine.places(setting).into_iter().map(step).collect::<Vec<_>>()
    };
    changes.iter().flat_map(placed).collect()
}

fn guarded(machine: &FakeMachine, changes: &[(Setting, Option<Value>)], choice: HoldBackChoice) -> Result<Plan, Error> {
    Plan { steps: steps(machine, changes), ..Plan::default() }.guarded(&no_rules(), machine, choice)
}

/// Tells what becomes of one change: `kept`, or `held` and `refused` with the reason.
fn judged(machine: &FakeMachine, setting: Setting, to: Option<Value>) -> String {
    let changes = [(setting, to)];
    let free = guarded(machine, &changes, HoldBackChoice::Nothing);
    match guarded(machine, &changes, HoldBackChoice::ImportRisk) {
        Err(error) => {
            assert_eq!((error.code(), error.kind()), (Some("E-UNSAFE-CHANGE"), coldforge_base::Kind::Refused));
            assert!(error.hint().is_some());
            assert!(free.is_err(), "nothing lets a fatal change through");
            format!("refused: {error}")
        }
        Ok(plan) => {
            assert_eq!(free.unwrap().steps.len(), 1, "--hold-back none applies it");
            match plan.held_back.first() {
                Some(held) => {
                    assert!(plan.steps.is_empty());
                    format!("held: {}", held.reason)
                }
                None => "kept".to_owned(),
            }
        }
    }
}

#[track_caller]
fn expect(machine: &FakeMachine, (key, name): (&str, &str), to: Option<Value>, expected: &str) {
    let said = judged(machine, setting(key, name), to);
    assert!(said.starts_with(expected), "{key}!{name}: {said}, not {expected}");
}

#[test]
fn the_start_of_what_a_machine_boots_and_logs_on_by_is_kept() {
    let machine = server();
    let service = |name: &str| format!(r"{SERVICES}\{name}");
    let dword = |number: u32| Some(Value::dword(number));
    for (name, to, expected) in [
        ("disk", dword(4), "refused"),
        ("DISK", dword(3), "refused"),
        ("disk", dword(1), "refused"),
        ("disk", None, "refused"),
        ("disk", Some(Value::sz("0")), "refused"),
        ("disk", dword(0), "kept"),
        ("acmebus", dword(4), "refused"),
        ("acmefilter", dword(4), "refused"),
        ("acmefilter", dword(0), "kept"),
        ("acmeraid", dword(4), "held"),
        ("beep", dword(4), "held"),
        ("RpcSs", dword(4), "refused"),
        ("rpcss", dword(3), "refused"),
        ("RpcSs", dword(9), "refused"),
        ("Netlogon", dword(4), "held"),
        ("TermService", dword(4), "held"),
        ("TermService", dword(2), "kept"),
        ("mrxsmb10", dword(4), "kept"),
        ("Spooler", dword(4), "kept"),
        ("RemoteRegistry", dword(4), "kept"),
        ("RpcSs", dword(1), "refused"),
        ("TermService", dword(0), "held"),
        ("Spooler", dword(1), "kept"),
        ("brandnew", dword(0), "held"),
        ("brandnew", dword(2), "kept"),
    ] {
        expect(&machine, (&service(name), "Start"), to, expected);
    }
    for (name, value, to, expected) in [
        ("RpcSs", "ImagePath", Value::sz("y"), "refused"),
        ("RpcSs", "ErrorControl", Value::dword(1), "kept"),
        ("RpcSs", "DeleteFlag", Value::dword(1), "refused"),
        ("RpcSs", "ServiceDll", Value::sz("y"), "refused"),
        ("RpcSs", "Description", Value::sz("y"), "kept"),
        ("disk", "ErrorControl", Value::dword(3), "held"),
        ("RpcSs", "DependOnService", texts(&["nobody"]), "refused"),
        ("RpcSs", "DependOnService", texts(&["Spooler"]), "kept"),
        ("acmeraid", "Type", Value::dword(2), "held"),
        ("Spooler", "ImagePath", Value::sz("y"), "kept"),
        ("brandnew", "ImagePath", Value::sz("y"), "kept"),
    ] {
        expect(&machine, (&service(name), value), Some(to), expected);
    }
    for (below, name) in
        [(r"RpcSs\Parameters", "ServiceDll"), (r"RpcSs\Parameters", "ServiceMain"), (r"RpcSs\Security", "Security")]
    {
        expect(&machine, (&service(below), name), Some(Value::sz("y")), "refused");
    }
    expect(&machine, (&service(r"RpcSs\Parameters"), "Other"), dword(1), "kept");
    expect(&machine, (&service(r"disk\StartOverride"), "0"), dword(3), "refused");
    expect(&machine, (&service(r"acmeraid\StartOverride"), "0"), dword(3), "held");
    // What a needed service waits for is needed as well, also where the same plan says so.
    let mut waiting = server();
    waiting.put(&setting(&service("RpcSs"), "DependOnService"), Some(texts(&["acmefilter", "Beep"])));
    expect(&waiting, (&service("beep"), "Start"), dword(4), "refused");
    let both = [
        (setting(&service("RpcSs"), "DependOnService"), Some(texts(&["Spooler"]))),
        (setting(&service("Spooler"), "Start"), dword(4)),
    ];
    assert!(guarded(&machine, &both, HoldBackChoice::Nothing).is_err());
    waiting.put(&setting(&service("Spooler"), "DependOnService"), Some(texts(&["RpcSs"])));
    expect(&waiting, (&service("RpcSs"), "DependOnService"), Some(texts(&["Spooler"])), "refused");
    let mut alone = server();
    alone.identity = Identity { domain_joined: Some(false), ..alone.identity };
    expect(&alone, (&service("Netlogon"), "Start"), dword(4), "kept");
    // The other control set of a machine is no other machine.
    expect(&machine, (r"HKLM\SYSTEM\ControlSet001\\Services\disk", "Start"), dword(4), "refused");
}

#[test]
fn the_values_of_boot_are_kept() {
    let machine = server();
    let system = |below: &str| format!(r"HKLM\SYSTEM\{below}");
    let control = |below: &str| format!(r"{CONTROL}\{below}");
    let class = control(r"Class\{4d36e967-e325-11ce-bfc1-08002be10318}");
    for (key, name, to, expected) in [
        (system("Setup"), "SetupType", Some(Value::dword(2)), "refused"),
        (system("Setup"), "CmdLine", Some(Value::sz("cmd.exe")), "refused"),
        (system(r"Setup\LabConfig"), "CmdLine", Some(Value::sz("x")), "kept"),
        (system("Select"), "Default", Some(Value::dword(2)), "refused"),
        (system("MountedDevices"), r"\DosDevices\C:", None, "kept"),
        (system("MountedDevices"), r"\DosDevices\C:", Some(Value::data(ValueType::BINARY, vec![1])), "refused"),
        (control("Lsa"), "Authentication Packages", Some(texts(&["kerberos"])), "refused"),
        (control("Lsa"), "Authentication Packages", Some(Value::sz("msv1_0")), "refused"),
        (control("Lsa"), "Authentication Packages", Some(texts(&["msv1_0"])), "held"),
        (control("Lsa"), "Security Packages", Some(texts(&["evil"])), "held"),
        (control("Lsa"), "CrashOnAuditFail", Some(Value::dword(1)), "held"),
        (control("Lsa"), "CrashOnAuditFail", Some(Value::dword(0)), "kept"),
        (control(r"Session Manager"), "BootExecute", Some(texts(&["x"])), "held"),
        (control(r"Session Manager"), "PendingFileRenameOperations", Some(texts(&["x", ""])), "held"),
        (control(r"Session Manager"), "ProtectionMode", Some(Value::dword(1)), "kept"),
        (control(r"Session Manager\SubSystems"), "Required", Some(texts(&["Debug"])), "refused"),
        (control(r"Session Manager\SubSystems"), "Optional", Some(texts(&[])), "kept"),
        (control(r"Session Manager\Environment"), "Path", Some(Value::sz(r"C:\tools")), "held"),
        (control(r"Session Manager\Environment"), "Path", Some(Value::sz(r"C:\Windows\system32;C:\t")), "kept"),
        (class.clone(), "UpperFilters", Some(texts(&[])), "refused"),
        (class.clone(), "UpperFilters", Some(texts(&["partmgr", "nobody"])), "refused"),
        (class.clone(), "UpperFilters", Some(texts(&["partmgr", "beep"])), "held"),
        (class, "Icon", Some(Value::sz("x")), "kept"),
        (control("Lsa"), "SecureBoot", Some(Value::dword(2)), "refused"),
        (control(r"Lsa\MSV1_0"), "RestrictReceivingNTLMTraffic", Some(Value::dword(2)), "held"),
        (control(r"Lsa\MSV1_0"), "NtlmMinServerSec", Some(Value::dword(537_395_200)), "kept"),
        (control("SecurityProviders"), "SecurityProviders", Some(Value::sz("")), "held"),
        (control("SecurityProviders"), "SecurityProviders", Some(Value::sz("credssp.dll")), "kept"),
        (control(r"Nls\CodePage"), "ACP", Some(Value::sz("9999")), "held"),
        (CONTROL.to_owned(), "ServicesPipeTimeout", Some(Value::dword(1)), "held"),
        (CONTROL.to_owned(), "ServicesPipeTimeout", Some(Value::dword(60_000)), "kept"),
        (CONTROL.to_owned(), "WaitToKillServiceTimeout", Some(Value::sz("5000")), "kept"),
        (control("ProductOptions"), "ProductType", Some(Value::sz("WinNT")), "refused"),
        (control("ServiceGroupOrder"), "List", Some(texts(&[])), "refused"),
    ] {
        expect(&machine, (&key, name), to, expected);
    }
}

#[test]
fn the_values_of_logon_are_kept() {
    let machine = server();
    let nt = |below: &str| format!(r"{NT}\{below}");
    let system_policy = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System".to_owned();
    for (key, name, to, expected) in [
        (nt("Winlogon"), "Shell", Some(Value::sz("kiosk.exe")), "held"),
        (nt("Winlogon"), "Shell", None, "kept"),
        (nt("WINLOGON"), "userinit", Some(Value::sz("")), "refused"),
        (nt("Winlogon"), "Userinit", None, "refused"),
        (nt("Winlogon"), "Userinit", Some(Value::sz("other.exe,")), "held"),
        (nt("Winlogon"), "Userinit", Some(Value::sz(r"C:\Windows\system32\USERINIT.EXE,other.exe")), "held"),
        (nt("Winlogon"), "Userinit", Some(Value::sz(r"Q:\nowhere\userinit.exe,")), "held"),
        (nt("Winlogon"), "Userinit", Some(Value::sz(r"C:\x\notuserinit.exe,")), "held"),
        (nt("Winlogon"), "CachedLogonsCount", Some(Value::sz("4")), "kept"),
        (nt(r"Image File Execution Options\lsass.exe"), "Debugger", Some(Value::sz("x")), "refused"),
        (nt(r"Image File Execution Options\WinLogon.EXE\1"), "Debugger", Some(Value::sz("x")), "refused"),
        (nt(r"Image File Execution Options\lsass.exe"), "AuditLevel", Some(Value::dword(8)), "kept"),
        (nt(r"Image File Execution Options\lsass.exe"), "VerifierDlls", Some(Value::sz("x")), "held"),
        (nt(r"Image File Execution Options\dllhost.exe"), "Debugger", Some(Value::sz("x")), "refused"),
        (nt(r"Image File Execution Options\notepad.exe"), "Debugger", Some(Value::sz("x")), "kept"),
        (nt("Svchost"), "rpcss", Some(texts(&["RpcEptMapper"])), "refused"),
        (nt("Svchost"), "rpcss", Some(texts(&["RpcEptMapper", "RpcSs", "more"])), "kept"),
        (nt("ProfileList"), "Default", Some(Value::sz("x")), "held"),
        (system_policy.clone(), "scforceoption", Some(Value::dword(1)), "held"),
        (system_policy, "EnableLUA", Some(Value::dword(1)), "kept"),
        (
            r"HKU\S-1-5-21-1\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon".to_owned(),
            "Shell",
            Some(Value::sz("x")),
            "held",
        ),
        (
            r"HKLM\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions".to_owned(),
            "DenyUnspecified",
            Some(Value::dword(1)),
            "held",
        ),
    ] {
        expect(&machine, (&key, name), to, expected);
    }
}

#[test]
fn what_closes_remote_desktop_is_held_back() {
    let machine = server();
    let public = format!(r"{FIREWALL_POLICY}\PublicProfile");
    let rules = format!(r"{FIREWALL}\FirewallRules");
    let station = format!(r"{TERMINAL}\WinStations\RDP-Tcp");
    let name = "RemoteDesktop-UserMode-In-TCP";
    for (key, name, to, expected) in [
        (TERMINAL, "fDenyTSConnections", Some(Value::dword(1)), "held"),
        (TERMINAL, "fDenyTSConnections", None, "held"),
        (TERMINAL, "TSServerDrainMode", Some(Value::dword(2)), "held"),
        (TERMINAL_POLICY, "fDenyTSConnections", Some(Value::dword(1)), "held"),
        (TERMINAL_POLICY, "fDenyTSConnections", Some(Value::dword(0)), "kept"),
        (TERMINAL_POLICY, "MinEncryptionLevel", Some(Value::dword(3)), "kept"),
        (&station, "fEnableWinStation", Some(Value::dword(0)), "held"),
        (&station, "PortNumber", Some(Value::dword(3390)), "held"),
        (&public, "DoNotAllowExceptions", Some(Value::dword(1)), "held"),
        (&public, "AllowLocalPolicyMerge", Some(Value::dword(0)), "held"),
        (&public, "DefaultInboundAction", Some(Value::dword(1)), "kept"),
        (&public, "EnableFirewall", Some(Value::dword(1)), "kept"),
        (&rules, name, None, "held"),
        (&rules, name, Some(Value::sz(&RDP_RULE.replace("TRUE", "FALSE"))), "held"),
        (&rules, "Mine", Some(Value::sz(&RDP_RULE.replace("Allow", "Block"))), "held"),
        (&rules, "Mine", Some(Value::sz(&RDP_RULE.replace("3389", "443"))), "kept"),
        (&rules, "Mine", Some(Value::sz("v2.30|Action=Block|Active=TRUE|Dir=In|")), "held"),
        (
            &rules,
            "Mine",
            Some(Value::sz("v2.30|Action=Block|Active=TRUE|Dir=In|RA4=203.0.113.0/255.255.255.0|")),
            "kept",
        ),
        (&rules, "Mine", Some(Value::sz(r"v2.30|Action=Block|Active=TRUE|Dir=In|App=C:\x.exe|")), "kept"),
        (TERMINAL, "fDenyTSConnections", Some(Value::sz("1")), "held"),
    ] {
        expect(&machine, (key, name), to, expected);
    }
    // An entry of local group policy takes effect at the next refresh.
    let entry = |name: &str| Setting::LocalPolicy {
        scope: PolicyScope::Machine,
        key: r"SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services".into(),
        name: name.into(),
    };
    assert!(judged(&machine, entry("fDenyTSConnections"), Some(Value::dword(1))).starts_with("held"));
    assert_eq!(judged(&machine, entry("MinEncryptionLevel"), Some(Value::dword(3))), "kept");
    // A rule that lets it in counts, wherever in the plan it stands.
    let mut open = server();
    let mut all = Vec::new();
    for profile in ["PublicProfile", "DomainProfile"] {
        open.put(&setting(&format!(r"{FIREWALL}\{profile}"), "EnableFirewall"), Some(Value::dword(0)));
        all.push((setting(&format!(r"{FIREWALL}\{profile}"), "EnableFirewall"), Some(Value::dword(1))));
    }
    open.put(&setting(&rules, name), None);
    let held = guarded(&open, &all, HoldBackChoice::ImportRisk).unwrap();
    assert_eq!((held.steps.len(), held.held_back.len()), (0, 2));
    all.push((setting(&format!(r"{FIREWALL_POLICY}\FirewallRules"), "Mine"), Some(Value::sz(RDP_RULE))));
    let plan = guarded(&open, &all, HoldBackChoice::ImportRisk).unwrap();
    assert_eq!((plan.steps.len(), plan.held_back.len()), (3, 0), "{:?}", plan.held_back);
    // What is closed already is not closed by a plan.
    let mut closed = server();
    closed.put(&setting(TERMINAL, "fDenyTSConnections"), Some(Value::dword(1)));
    expect(&closed, (TERMINAL_POLICY, "fDenyTSConnections"), Some(Value::dword(1)), "kept");
    expect(&closed, (&public, "DoNotAllowExceptions"), Some(Value::dword(1)), "held");
}

#[test]
fn rights_that_services_need_are_held_back() {
    let machine = server();
    let judged = |right: &str, holders: &[&str]| {
        judged(&machine, Setting::UserRight { right: right.into() }, Some(sids(holders)))
    };
    let service = ["S-1-5-32-544", "S-1-5-6", "S-1-5-19", "S-1-5-20"];
    for (right, holders, expected) in [
        ("SeImpersonatePrivilege", &service[..], "kept"),
        ("SeImpersonatePrivilege", &service[..1], "held"),
        ("SeAssignPrimaryTokenPrivilege", &["S-1-5-19"], "held"),
        ("SeServiceLogonRight", &service, "held"),
        ("SeDenyServiceLogonRight", &["S-1-5-32-546"], "kept"),
        ("SeDenyServiceLogonRight", &["S-1-1-0"], "held"),
        ("SeDebugPrivilege", &[], "kept"),
    ] {
        let said = judged(right, holders);
        assert!(said.starts_with(expected), "{right} {holders:?}: {said}");
    }
}

#[test]
fn denials_on_what_boot_and_logon_read_are_refused() {
    let mut machine = server();
    let system = Setting::FileAcl { path: r"\Windows\System32".into() };
    let usual = "O:BAG:BAD:(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)";
    machine.put(&system, Some(Value::Sddl(usual.into())));
    let bare = Setting::FileAcl { path: r"Windows\System32\".into() };
    let hive = Setting::RegistryAcl { key: r"HKLM\SYSTEM".into() };
    machine.put(&hive, Some(Value::Sddl("O:BAG:SYD:(A;CI;KA;;;SY)(A;CI;KA;;;BA)(A;CI;KR;;;BU)".into())));
    let elsewhere = Setting::FileAcl { path: r"\Data".into() };
    machine.put(&elsewhere, Some(Value::Sddl(usual.into())));
    for (setting, text, expected) in [
        (&system, "O:BAG:BAD:(D;OICI;FA;;;WD)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", "refused"),
        (&system, "O:BAG:BAD:(D;OICIIO;FR;;;BU)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)", "refused"),
        (&system, "O:BAG:BAD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)(D;;FX;;;S-1-5-17)", "kept"),
        (&system, "O:BAG:BAD:(D;;SD;;;WD)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)", "kept"),
        (
            &system,
            "O:BAG:BAD:(D;;FX;;;S-1-5-21-1-2-3-1001)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)",
            "held",
        ),
        (&system, "O:BAG:BAD:(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", "refused"),
        (&bare, "O:BAG:BAD:(D;OICI;FA;;;WD)(A;OICI;FA;;;SY)", "refused"),
        (&system, "O:BAG:BAD:(A;OICI;FA;;;BU)", "refused"),
        (&system, "O:BAG:BAD:P", "refused"),
        (&system, "O:BAG:BAD:(D;OICI;FA;;;BG)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)", "kept"),
        (&hive, "O:BAG:SYD:(A;CI;KA;;;BA)(D;CI;KA;;;SY)", "refused"),
        (&elsewhere, "O:BAG:BAD:(D;OICI;FA;;;WD)", "kept"),
    ] {
        let said = judged(&machine, setting.clone(), Some(Value::Sddl(text.into())));
        let is_known = said.starts_with(expected)
            || (expected == "kept" && said.starts_with("held: ") && said.contains("wrong permission"));
        assert!(is_known, "{setting} {text}: {said}");
    }
}

#[test]
fn files_that_boot_and_logon_read_are_refused() {
    let mut machine = server();
    let data = |path: &str| Setting::FileData { path: path.into() };
    let content = Some(Value::Content(crate::windows::setting::Content::of(&b"x"[..])));
    for path in [
        r"Windows\System32\winlogon.exe",
        r"C:/Windows/System32/WINLOGON.EXE",
        r"\Windows\System32\winlogon.exe",
        r"\bootmgr",
        r"\Windows\System32\drivers\disk.sys",
        r"\Windows\System32\drivers\acme.sys",
    ] {
        machine.put(&data(path), content.clone());
    }
    let other = Some(Value::Content(crate::windows::setting::Content::of(&b"y"[..])));
    for (path, expected) in [
        (r"\Windows\System32\WINLOGON.exe", "refused"),
        (r"\bootmgr", "refused"),
        (r"\Boot\BCD", "refused"),
        (r"Windows\System32\winlogon.exe", "refused"),
        (r"C:/Windows/System32/WINLOGON.EXE", "refused"),
        (r"\Windows\System32\config\SOFTWARE", "refused"),
        (r"\Windows\System32\config\SYSTEM.LOG1", "refused"),
        (r"\Users\Default\NTUSER.DAT", "refused"),
        (r"\Windows\System32\drivers\disk.sys", "refused"),
        (r"\Windows\System32\drivers\acme.sys", "held"),
        (r"\Windows\System32\drivers\new.sys", "kept"),
        (r"\Windows\System32\notepad.exe", "kept"),
        (r"\ProgramData\x.txt", "kept"),
    ] {
        let said = judged(&machine, data(path), other.clone());
        assert!(said.starts_with(expected), "{path}: {said}");
    }
    let gone = Setting::File { path: r"\bootmgr".into() };
    machine.put(&gone, Some(Value::Flag(true)));
    assert!(judged(&machine, gone, Some(Value::Flag(false))).starts_with("refused"));
}

#[test]
fn what_a_catalog_calls_a_risk_is_one_whoever_asks() {
    let machine = server();
    let fips = format!(r"{CONTROL}\Lsa\FIPSAlgorithmPolicy");
    expect(&machine, (&fips, "Enabled"), Some(Value::dword(1)), "held");
    expect(&machine, (&fips, "Enabled"), Some(Value::dword(0)), "kept");
    let launch = r"HKLM\SYSTEM\CurrentControlSet\Policies\EarlyLaunch";
    expect(&machine, (launch, "DriverLoadPolicy"), Some(Value::dword(8)), "held");
    expect(&machine, (launch, "DriverLoadPolicy"), Some(Value::dword(3)), "kept");
    let field = AccountPolicyField::LockoutDuration;
    assert!(judged(&machine, Setting::AccountPolicy { field }, Some(Value::Number(0))).starts_with("held"));
    assert_eq!(judged(&machine, Setting::AccountPolicy { field }, Some(Value::Number(15))), "kept");
}

#[test]
fn fields_that_bind_each_other_are_held_back_left_and_refused_together() {
    let mut machine = server();
    let field = |field: AccountPolicyField| Setting::AccountPolicy { field };
    let [threshold, duration, window, least, most] = [
        AccountPolicyField::LockoutThreshold,
        AccountPolicyField::LockoutDuration,
        AccountPolicyField::LockoutWindow,
        AccountPolicyField::MinimumPasswordAge,
        AccountPolicyField::MaximumPasswordAge,
    ]
    .map(field);
    for (setting, number) in [(&threshold, 0), (&duration, 30), (&window, 30), (&least, 0), (&most, 42)] {
        machine.put(setting, Some(Value::Number(number)));
    }
    let number = |setting: &Setting, number: u32| (setting.clone(), Some(Value::Number(number)));
    // An endless lockout is held back, and the others with it.
    let endless = [number(&threshold, 3), number(&window, 60), number(&duration, 0)];
    let plan = guarded(&machine, &endless, HoldBackChoice::ImportRisk).unwrap();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    let reasons: BTreeSet<&str> = plan.held_back.iter().map(|held| held.reason.rsplit(": ").next().unwrap()).collect();
    assert_eq!((plan.held_back.len(), reasons.len()), (3, 1), "{:?}", plan.held_back);
    assert_eq!(guarded(&machine, &endless, HoldBackChoice::Nothing).unwrap().steps.len(), 3, "0 is longer than 60");
    // Two that contradict each other are refused, and one that contradicts what stays is left.
    let error = guarded(&machine, &[number(&window, 60), number(&duration, 15)], HoldBackChoice::Nothing).unwrap_err();
    assert_eq!(error.code(), Some("E-POLICY-RANGE"));
    let plan = guarded(&machine, &[number(&window, 60)], HoldBackChoice::Nothing).unwrap();
    assert_eq!((plan.steps.len(), plan.left_open.len()), (0, 1));
    assert!(
        plan.left_open[0].reason.contains("must be at most lockout_duration, which would be 30"),
        "{:?}",
        plan.left_open
    );
    let plan = guarded(&machine, &[number(&least, 50)], HoldBackChoice::Nothing).unwrap();
    assert_eq!((plan.steps.len(), plan.left_open.len()), (0, 1));
    assert_eq!(
        guarded(&machine, &[number(&least, 50), number(&most, 60)], HoldBackChoice::Nothing).unwrap().steps.len(),
        2
    );
    // Half a minute more than the number says is too long as well.
    machine.put(&window, Some(Value::Interval { number: 15, ticks: -9_300_000_000 }));
    let plan = guarded(&machine, &[number(&duration, 15)], HoldBackChoice::Nothing).unwrap();
    assert_eq!((plan.steps.len(), plan.left_open.len()), (0, 1));
}

#[test]
fn a_right_is_the_same_in_every_spelling() {
    for spelling in [
        "sedenyremoteinteractivelogonright",
        "SEDENYREMOTEINTERACTIVELOGONRIGHT",
        " SeDenyRemoteInteractiveLogonRight ",
    ] {
        let usual = Setting::UserRight { right: "SeDenyRemoteInteractiveLogonRight".into() };
        assert_eq!(Setting::user_right(spelling), usual);
    }
    assert_eq!(Setting::user_right("SeAcmeRight"), Setting::UserRight { right: "SeAcmeRight".into() });
}

#[test]
fn what_hardening_asks_of_logs_and_devices_is_not_held_back() {
    let mut machine = server();
    let log = format!(r"{SERVICES}\Eventlog\Security");
    for (name, value) in [
        ("WarningLevel", Value::dword(90)),
        ("MaxSize", Value::dword(0x0c00_0000)),
        ("Retention", Value::dword(0)),
        ("CustomSD", Value::sz("O:BAG:SYD:(A;;0x7;;;BA)")),
        ("RestrictGuestAccess", Value::dword(1)),
    ] {
        expect(&machine, (&log, name), Some(value), "kept");
    }
    expect(
        &machine,
        (&format!(r"{SERVICES}\RpcSs\Security"), "Security"),
        Some(Value::data(ValueType::BINARY, vec![1])),
        "refused",
    );
    let restrictions = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions";
    expect(&machine, (restrictions, "DenyDeviceIDs"), Some(Value::dword(1)), "held");
    expect(&machine, (restrictions, "DenyDeviceIDsRetroactive"), Some(Value::dword(1)), "kept");
    machine.put(&setting(&format!(r"{restrictions}\DenyDeviceIDs"), "1"), Some(Value::sz(r"PCI\CC_0C0A")));
    expect(&machine, (restrictions, "DenyDeviceIDs"), Some(Value::dword(1)), "kept");
    machine.put(&setting(&format!(r"{restrictions}\DenyDeviceIDs"), "2"), Some(Value::sz(r"PCI\VEN_1D0F")));
    expect(&machine, (restrictions, "DenyDeviceIDs"), Some(Value::dword(1)), "held");
    let printers = Setting::FileAcl { path: r"\Windows\System32\spool\drivers".into() };
    let denied = Some(Value::Sddl("O:BAG:BAD:(D;OICI;0x1301bf;;;SY)(A;OICI;FA;;;BA)(A;OICI;FRFX;;;BU)".into()));
    assert_eq!(judged(&machine, printers, denied), "kept");
}

#[test]
fn values_by_which_windows_starts_and_users_log_on_are_held_back_in_every_form() {
    let mut machine = server();
    machine.put(&setting(&format!(r"{SERVICES}\Hollow"), "Start"), Some(Value::dword(3)));
    let software = |below: &str| format!(r"HKLM\SOFTWARE\{below}");
    let dword = |number: u32| Some(Value::dword(number));
    let sz = |text: &str| Some(Value::sz(text));
    let binary = |bytes: &[u8]| Some(Value::data(ValueType::BINARY, bytes.to_vec()));
    for (key, name, to, expected) in [
        (format!(r"{CONTROL}\DeviceGuard"), "EnableVirtualizationBasedSecurity", dword(1), "held"),
        (format!(r"{CONTROL}\DeviceGuard"), "Mandatory", dword(1), "held"),
        (format!(r"{CONTROL}\DeviceGuard"), "EnableVirtualizationBasedSecurity", dword(0), "kept"),
        (software(r"Policies\Microsoft\Windows\DeviceGuard"), "DeployConfigCIPolicy", dword(1), "held"),
        (format!(r"{SERVICES}\WinSock2\Parameters"), "Current_Protocol_Catalog", sz("x"), "held"),
        (format!(r"{SERVICES}\WinSock2\Parameters\Protocol_Catalog9"), "Num_Catalog_Entries64", dword(0), "held"),
        (format!(r"{CONTROL}\Nls\CodePage"), "1252", sz("nothere.nls"), "held"),
        (format!(r"{CONTROL}\Session Manager\Environment"), "windir", sz(r"Q:\windows"), "held"),
        (format!(r"{CONTROL}\Session Manager\Environment"), "windir", sz("%SystemRoot%"), "kept"),
        (format!(r"{CONTROL}\Session Manager\Environment"), "Path", sz(r"C:\evil\system32"), "held"),
        (format!(r"{CONTROL}\Session Manager\Environment"), "Path", sz(r"%SystemRoot%\system32;C:\Acme"), "kept"),
        (format!(r"{CONTROL}\Session Manager\Environment"), "ComSpec", sz(r"Q:\x\cmd.exe"), "held"),
        (format!(r"{NT}\Winlogon"), "Userinit", sz(r"C:\Windows\system32\userinit.exe,logoff.exe"), "held"),
        (format!(r"{NT}\Winlogon"), "Userinit", sz(r"%SystemRoot%\system32\userinit.exe"), "kept"),
        (format!(r"{NT}\Winlogon\AlternateShells\AvailableShells"), "90000", sz("x.exe"), "held"),
        (software(r"Policies\Microsoft\Windows\Safer\CodeIdentifiers"), "DefaultLevel", dword(0x1000), "held"),
        (software(r"Policies\Microsoft\Windows\Safer\CodeIdentifiers"), "DefaultLevel", dword(0x40000), "kept"),
        (
            software(r"Policies\Microsoft\Windows\Safer\CodeIdentifiers\0\Paths\{1}"),
            "ItemData",
            sz(r"C:\Windows"),
            "held",
        ),
        (software(r"Classes\CLSID\{60B78E88-EAD8-445C-9CFD-0B87F74EA6CD}\InprocServer32"), "", sz("x.dll"), "held"),
        (software(r"Policies\Microsoft\Windows NT\DCOM"), "MachineAccessRestriction", sz("O:BAG:BAD:"), "held"),
        (software(r"Microsoft\Ole"), "MachineLaunchRestriction", binary(&[1, 0]), "held"),
        (software(r"Microsoft\Ole"), "EnableDCOM", sz("N"), "held"),
        (
            format!(r"{CONTROL}\Lsa"),
            "CrashOnAuditFail",
            Some(Value::data(ValueType::QWORD, vec![1, 0, 0, 0, 0, 0, 0, 0])),
            "held",
        ),
        (format!(r"{CONTROL}\Lsa"), "CrashOnAuditFail", binary(&[1, 0, 0, 0]), "held"),
        (format!(r"{CONTROL}\Lsa"), "CrashOnAuditFail", sz("1"), "held"),
        (format!(r"{CONTROL}\Lsa"), "CrashOnAuditFail", dword(0), "kept"),
        (format!(r"{SERVICES}\RpcSs"), "DependOnService", sz("nothere"), "refused"),
        (format!(r"{SERVICES}\RpcSs"), "DependOnService", Some(texts(&["Hollow"])), "refused"),
        (format!(r"{SERVICES}\RpcSs"), "DependOnService", Some(texts(&["Spooler"])), "kept"),
        (format!(r"{NT}\Image File Execution Options\EC2Launch.exe"), "Debugger", sz("x.exe"), "held"),
        (format!(r"{TERMINAL}\WinStations\RDP-Tcp"), "Security", binary(&[1, 0]), "held"),
        (format!(r"{TERMINAL}\WinStations"), "DefaultSecurity", binary(&[1, 0]), "held"),
        (format!(r"{TERMINAL}\WinStations\RDP-Tcp"), "WdDLL", sz("nothere"), "held"),
        (format!(r"{TERMINAL}\WinStations\RDP-Tcp"), "LanAdapter", dword(5), "held"),
        (format!(r"{TERMINAL}\WinStations\RDP-Tcp"), "MaxConnectionTime", dword(1), "held"),
        (TERMINAL_POLICY.to_owned(), "MaxConnectionTime", dword(60_000), "kept"),
        (TERMINAL_POLICY.to_owned(), "InitialProgram", sz("logoff.exe"), "held"),
    ] {
        expect(&machine, (&key, name), to, expected);
    }
}

#[test]
fn remote_desktop_is_kept_open_for_whoever_connects() {
    let machine = server();
    let rules = format!(r"{FIREWALL}\FirewallRules");
    let block =
        |part: &str| Some(Value::sz(&format!("v2.30|Action=Block|Active=TRUE|Dir=In|Protocol=6|LPort=3389|{part}|")));
    for (part, expected) in [
        ("RA4=0.0.0.0-255.255.255.255", "held"),
        ("RA4=0.0.0.0/1|RA4=128.0.0.0/1", "held"),
        ("RA42=Internet", "held"),
        ("RA42=LocalSubnet", "held"),
        ("RA4=203.0.113.0/255.255.255.0", "kept"),
        ("LA4=203.0.113.7", "kept"),
        ("LA4=0.0.0.0/0", "held"),
        ("RPort=1-65535", "held"),
        ("App=%SystemRoot%\\system32\\svchost.exe|Svc=*", "held"),
        ("IFType=Wireless", "kept"),
        ("RPort=1", "kept"),
        ("RUAuth=O:LSD:(A;;CC;;;BG)", "kept"),
    ] {
        expect(&machine, (&rules, "Acme"), block(part), expected);
    }
    let allow = |part: &str| Some(Value::sz(&RDP_RULE.replace("LPort=3389", &format!("LPort=3389|{part}"))));
    for (part, expected) in [
        ("LA4=10.1.2.3", "held"),
        ("RA4=127.0.0.1", "held"),
        ("IFType=Wireless", "held"),
        ("RPort=1", "held"),
        ("Platform=2:99:0", "held"),
        ("AppPkgId=S-1-15-2-1", "held"),
        ("RA4=203.0.113.0/255.255.255.0", "kept"),
        ("IFType=Lan", "kept"),
    ] {
        expect(&machine, (&rules, "RemoteDesktop-UserMode-In-TCP"), allow(part), expected);
    }
    let service = "v2.30|Action=Block|Active=TRUE|Dir=In|App=%SystemRoot%\\system32\\svchost.exe|Svc=termservice|";
    let secured = "v2.30|Action=SecureServer|Active=TRUE|";
    let schannel = format!(r"{CONTROL}\SecurityProviders\SCHANNEL");
    for (key, name, to, expected) in [
        (format!(r"{FIREWALL}\RestrictedServices\Configurable\System"), "Acme", Some(Value::sz(service)), "held"),
        (format!(r"{FIREWALL}\Mdm\FirewallRules"), "Acme", block("RA4=0.0.0.0/0"), "held"),
        (format!(r"{FIREWALL_POLICY}\ConSecRules"), "Acme", Some(Value::sz(secured)), "held"),
        (
            r"HKLM\SOFTWARE\Policies\Microsoft\Windows\IPSec\Policy\Local".into(),
            "ActivePolicy",
            Some(Value::sz("x")),
            "held",
        ),
        (format!(r"{schannel}\Hashes\SHA256"), "Enabled", Some(Value::dword(0)), "held"),
        (format!(r"{schannel}\Hashes\MD5"), "Enabled", Some(Value::dword(0)), "kept"),
        (format!(r"{schannel}\Ciphers\AES 128/128"), "Enabled", Some(Value::dword(0)), "kept"),
        (format!(r"{schannel}\KeyExchangeAlgorithms\PKCS"), "Enabled", Some(Value::dword(0)), "kept"),
    ] {
        expect(&machine, (&key, name), to, expected);
    }
    let suites = r"HKLM\SOFTWARE\Policies\Microsoft\Cryptography\Configuration\SSL\00010002";
    let local = format!(r"{CONTROL}\Cryptography\Configuration\Local\SSL\00010002");
    for list in ["NONE", "TLS_NOTHING"] {
        expect(&machine, (suites, "Functions"), Some(Value::sz(list)), "held");
        expect(&machine, (&local, "Functions"), Some(texts(&[list])), "held");
    }
    let station = format!(r"{TERMINAL}\WinStations\RDP-Tcp");
    expect(&machine, (&station, "MaxIdleTime"), Some(Value::dword(1)), "held");
    expect(&machine, (&station, "PortNumber"), Some(Value::sz("3390")), "held");
    expect(&machine, (TERMINAL, "TSServerDrainMode"), Some(Value::sz("1")), "held");
    let providers = format!(r"{CONTROL}\SecurityProviders");
    expect(&machine, (&providers, "SecurityProviders"), Some(Value::sz("notcredssp.dll")), "held");
    expect(&machine, (&providers, "SecurityProviders"), Some(Value::sz("schannel.dll, credssp.dll")), "kept");
    expect(&machine, (suites, "Functions"), Some(Value::sz("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")), "kept");
    let both = [r"Ciphers\AES 128/128", r"Ciphers\AES 256/256"]
        .map(|part| (setting(&format!(r"{schannel}\{part}"), "Enabled"), Some(Value::dword(0))));
    let plan = guarded(&machine, &both, HoldBackChoice::ImportRisk).unwrap();
    assert_eq!((plan.steps.len(), plan.held_back.len()), (1, 1), "one of the two stays");
}

#[test]
fn keys_and_folders_that_services_read_stay_readable_to_them() {
    let machine = server();
    let own = |key: &str| Setting::RegistryAcl { key: key.into() };
    let file = |path: &str| Setting::FileAcl { path: path.into() };
    let closed = "O:BAG:BAD:P(A;OICI;GA;;;SY)(A;OICI;GA;;;BA)";
    for (setting, text, expected) in [
        (own(r"HKLM\SYSTEM\CurrentControlSet\Services"), closed, "refused"),
        (own(r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"), closed, "refused"),
        (own(r"HKLM\SYSTEM\CurrentControlSet\Control\SecurePipeServers\winreg"), closed, "kept"),
        (own(r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa"), closed, "refused"),
        (own(r"HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server"), closed, "refused"),
        (own(r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Svchost"), closed, "refused"),
        (own(r"HKLM\SOFTWARE\Microsoft\Ole"), "O:BAG:BAD:P(A;CI;KA;;;BG)", "refused"),
        (own(r"HKLM\SOFTWARE\Classes\exefile"), "O:BAG:BAD:P(A;CI;KA;;;BG)", "held"),
        (own(r"HKLM\SOFTWARE\Policies\Microsoft"), closed, "kept"),
        (file(r"\Windows\System32"), "O:BAG:BAD:(D;OICI;FA;;;S-1-5-64-10)(A;OICI;FA;;;WD)", "refused"),
        (file(r"\Windows\WinSxS"), closed, "refused"),
        (file(r"\Windows\System32\wkssvc.dll"), closed, "held"),
        (file(r"\Windows\System32\userinit.exe"), "O:BAG:BAD:(A;;FA;;;WD)S:(ML;;NWNRNX;;;SI)", "refused"),
        (file(r"\Windows\System32\userinit.exe"), "O:BAG:BAD:(A;;FA;;;WD)S:(ML;;NW;;;HI)", "kept"),
        (file(r"\Windows\System32\userinit.exe"), "O:BAG:BAD:(A;;FA;;;WD)S:(ML;;NWNR;;;ME)", "kept"),
        (file(r"\Windows\System32\wkssvc.dll"), "O:BAG:BAD:(D;;FA;;;SY)(A;;FA;;;WD)", "refused"),
        (file(r"\Windows\System32"), "O:BAG:BAD:(D;OICI;FA;;;S-1-5-80-1-2-3-4-5)(A;OICI;FA;;;WD)", "refused"),
    ] {
        let said = judged(&machine, setting.clone(), Some(Value::Sddl(text.into())));
        let is_known = said.starts_with(expected) || (expected == "kept" && said.contains("wrong permission"));
        assert!(is_known, "{setting} {text}: {said}");
    }
}

#[test]
fn ages_that_shut_each_other_out_are_set_together() {
    let field = |field: AccountPolicyField| Setting::AccountPolicy { field };
    let (least, most) = (field(AccountPolicyField::MinimumPasswordAge), field(AccountPolicyField::MaximumPasswordAge));
    for (min, max, expected) in [(61, 62, [59, 60]), (60, 62, [59, 60]), (1, 42, [1, 42]), (0, 42, [1, 42])] {
        let mut machine = server();
        machine.put(&least, Some(Value::Number(min)));
        machine.put(&most, Some(Value::Number(max)));
        let mut catalog = Catalog::ws2022().clone();
        catalog.rules.retain(|rule| ["WN22-AC-000050", "WN22-AC-000060"].contains(&rule.stig_id.as_str()));
        let assessment = assess(&catalog, &Selection::default(), &Values::default(), &machine);
        let plan = crate::policy::plan(&assessment, &crate::policy::HoldBack::Nothing).unwrap();
        let plan = plan.guarded(&assessment, &machine, HoldBackChoice::Nothing).unwrap();
        assert!(plan.left_open.is_empty(), "{:?}", plan.left_open);
        for step in &plan.steps {
            machine.put(&step.setting, step.to.clone());
        }
        let now = [&least, &most].map(|setting| machine.get(setting).unwrap().value.unwrap().as_number().unwrap());
        assert_eq!(now, expected, "{min} and {max}");
    }
}

#[test]
fn a_lockout_that_is_chosen_to_agree_outlasts_no_first_logon() {
    let field = |field: AccountPolicyField| Setting::AccountPolicy { field };
    let (duration, window) = (field(AccountPolicyField::LockoutDuration), field(AccountPolicyField::LockoutWindow));
    for (stays, expected) in [(50, 50), (99_999, 15)] {
        let mut machine = server();
        machine.put(&duration, Some(Value::Number(10)));
        machine.put(&window, Some(Value::Number(stays)));
        let mut catalog = Catalog::ws2022().clone();
        catalog.rules.retain(|rule| ["WN22-AC-000010", "WN22-AC-000030"].contains(&rule.stig_id.as_str()));
        let assessment = assess(&catalog, &Selection::default(), &Values::default(), &machine);
        let plan = crate::policy::plan(&assessment, &crate::policy::HoldBack::Nothing).unwrap();
        let plan = plan.guarded(&assessment, &machine, HoldBackChoice::ImportRisk).unwrap();
        for step in &plan.steps {
            machine.put(&step.setting, step.to.clone());
        }
        let now = [&duration, &window].map(|setting| machine.get(setting).unwrap().value.unwrap().as_number().unwrap());
        assert_eq!(now[0], expected, "{now:?}");
        assert!(now[1] <= now[0], "{now:?}");
    }
}

#[test]
fn long_passwords_need_the_switch_by_which_windows_knows_them() {
    let length = Setting::AccountPolicy { field: AccountPolicyField::MinimumPasswordLength };
    let switch = (setting(&format!(r"{CONTROL}\SAM"), "RelaxMinimumPasswordLengthLimits"), Some(Value::dword(1)));
    let mut machine = server();
    machine.put(&length, Some(Value::Number(0)));
    let ask = |number: u32| (length.clone(), Some(Value::Number(number)));
    let plan = |changes: &[(Setting, Option<Value>)]| guarded(&machine, changes, HoldBackChoice::Nothing).unwrap();
    assert_eq!(plan(&[ask(14)]).steps.len(), 1);
    let alone = plan(&[ask(15)]);
    assert_eq!((alone.steps.len(), alone.left_open.len()), (0, 1));
    assert!(alone.left_open[0].reason.contains("RelaxMinimumPasswordLengthLimits"), "{:?}", alone.left_open);
    assert_eq!(plan(&[ask(20), switch]).steps.len(), 2);
}
