//! Checks of software: .NET, security software, tools of other hypervisors, and policies against drivers and scripts.

use super::check::Check;
use super::facts::Facts;
use super::outcome::{Answer, fail, pass, unknown, warn, worst};
use crate::audit::Route;
use crate::windows::setting::Role;
use coldforge_base::Refusal;

const UNINSTALL: [&str; 2] =
    [r"Microsoft\Windows\CurrentVersion\Uninstall", r"Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall"];
pub(super) const RESTRICTIONS: &str = r"Policies\Microsoft\Windows\DeviceInstall\Restrictions";
pub(super) const POWERSHELL: &str = r"Policies\Microsoft\Windows\PowerShell";
pub(super) const INSTALLER: &str = r"Policies\Microsoft\Windows\Installer";
const SHELL: &str = r"Microsoft\PowerShell\1\ShellIds\Microsoft.PowerShell";
/// The first release of .NET 4.5.
const NET_4_5: u32 = 378_389;

/// The values that forbid the installation of devices.
pub(super) const DENIALS: [&str; 4] = ["DenyUnspecified", "DenyDeviceIDs", "DenyDeviceClasses", "DenyInstanceIDs"];

/// The services that install drivers and programs, and how Windows starts them.
pub(super) const INSTALLING: [(&str, u32); 6] =
    [("PlugPlay", 3), ("DeviceInstall", 3), ("DsmSvc", 3), ("TrustedInstaller", 3), ("msiserver", 3), ("Schedule", 2)];

/// Makers whose security software is known to hinder an import, as the lists of programs name them.
const SECURITY_MAKERS: [&str; 18] = [
    "mcafee",
    "trellix",
    "symantec",
    "norton",
    "crowdstrike",
    "sentinelone",
    "carbon black",
    "sophos",
    "trend micro",
    "kaspersky",
    "eset",
    "bitdefender",
    "cylance",
    "palo alto networks cortex",
    "fireeye",
    "malwarebytes",
    "avast",
    "cybereason",
];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "P32",
        title: ".NET Framework 4.5 or later is there",
        requires: ".NET Framework 4.5: AWS's agents need it",
        prevents: "Booter Networking failure: .NET Framework is missing",
        hint: "install .NET Framework 4.8 before the image is taken",
        run: framework,
    },
    Check {
        id: "P33",
        title: "No other maker's security software is installed",
        requires: "no anti-virus, intrusion detection or endpoint agent during the import",
        prevents: "FirstBootFailure: drivers and services cannot be installed",
        hint: "uninstall it before the image is taken, and install it again on the instance",
        run: security_software,
    },
    Check {
        id: "P34",
        title: "No tools of another hypervisor are left",
        requires: "VMware Tools and the like uninstalled",
        prevents: "FirstBootFailure: drivers of devices that are gone",
        hint: "uninstall the tools before the image is taken",
        run: hypervisor_tools,
    },
    Check {
        id: "P37",
        title: "No policy forbids drivers",
        requires: "device installation without restrictions",
        prevents: "FirstBootFailure: INACCESSIBLE_BOOT_DEVICE (0x7B)",
        hint: "take the policy away until the import is done",
        run: device_installation,
    },
    Check {
        id: "P42",
        title: "No code policy keeps AWS's programs out",
        requires: "AppLocker, WDAC and software restriction without enforcement during the import",
        prevents: "FirstBootFailure: unknown programs and drivers are not run",
        hint: "take the policy away until the import is done, or allow Amazon's programs",
        run: code_policy,
    },
    Check {
        id: "P43",
        title: "Scripts run, and programs can be installed",
        requires: "PowerShell scripts and Windows Installer usable by the system",
        prevents: "FirstBootFailure: the scripts that prepare the instance do not run",
        hint: "relax the policy until the import is done",
        run: scripts,
    },
];

fn framework(facts: &Facts<'_>) -> Answer {
    let value = facts.software(r"Microsoft\NET Framework Setup\NDP\v4\Full", "Release")?;
    let build = facts.evidence.identity()?.build;
    Ok(match value.dword()? {
        Some(release) if release >= NET_4_5 => pass(format!("release {release}")),
        Some(release) => fail(format!("release {release} is older than 4.5")),
        None if build < 9200 => warn("absent"),
        None => fail("absent"),
    }
    .at(value.at))
}

/// Returns the programs that Windows lists as installed: name with maker, and the key.
fn programs(facts: &Facts<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let mut programs = Vec::new();
    for root in UNINSTALL {
        for name in facts.software_keys(root)?.unwrap_or_default() {
            let key = format!(r"{root}\{name}");
            // A name of another type is shown nowhere.
            let text = |value: &str| -> Result<Option<String>, Refusal> {
                Ok(facts.software(&key, value)?.value.and_then(|data| data.as_text()))
            };
            if let Some(shown) = text("DisplayName")? {
                let maker = text("Publisher")?.unwrap_or_default();
                programs.push((format!("{shown} ({maker})"), format!(r"HKLM\SOFTWARE\{key}")));
            }
        }
    }
    Ok(programs)
}

fn security_software(facts: &Facts<'_>) -> Answer {
    let judge = |found: String| if facts.route == Route::ImportImage { fail(found) } else { warn(found) };
    let mut parts = Vec::new();
    for (program, key) in programs(facts)? {
        let lower = program.to_ascii_lowercase();
        if SECURITY_MAKERS.iter().any(|maker| lower.contains(maker)) {
            parts.push(judge(program).at(key));
        }
    }
    for service in facts.current_keys("Services")? {
        let key = format!(r"Services\{service}");
        let Some(0..=2) = facts.current(&key, "Start")?.dword().unwrap_or(None) else { continue };
        if ["wdfilter", "wdboot", "wdnisdrv", "windefend", "sense"].contains(&service.to_ascii_lowercase().as_str()) {
            continue;
        }
        let group = facts.current(&key, "Group")?.text().unwrap_or(None).unwrap_or_default().to_ascii_lowercase();
        if group == "fsfilter anti-virus" || group == "early-launch" {
            parts.push(judge(format!("the service {service} of the group {group}")).at(facts.place(&key)));
            continue;
        }
        for instance in facts.current_keys(&format!(r"{key}\Instances"))? {
            let altitude = facts.current(&format!(r"{key}\Instances\{instance}"), "Altitude")?;
            // Altitudes are decimal numbers with fractions, written as text.
            let number: Option<f64> = altitude.text().unwrap_or(None).and_then(|text| text.trim().parse().ok());
            if number.is_some_and(|number| (320_000.0..330_000.0).contains(&number)) {
                parts
                    .push(judge(format!("the filter {service} at an altitude of anti-virus software")).at(altitude.at));
            }
        }
    }
    parts.push(pass("none is found among programs, filters and early drivers"));
    Ok(worst(parts))
}

fn hypervisor_tools(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    for (program, key) in programs(facts)? {
        let known =
            ["VMware Tools", "VirtualBox Guest Additions", "XenServer", "Citrix Hypervisor", "QEMU guest agent"];
        if known.iter().any(|name| program.contains(name)) {
            parts.push(warn(program).at(key));
        }
    }
    for service in ["VMTools", "vmci", "vsock", "VBoxGuest", "VBoxService", "VBoxSF", "xenbus", "xenfilt", "prl_tg"] {
        if facts.start(service)?.is_some() {
            parts.push(warn(format!("the service {service}")).at(facts.start_at(service)));
        }
    }
    let providers = facts.current(r"Control\NetworkProvider\Order", "ProviderOrder")?;
    let order = providers.text()?.unwrap_or_default();
    if let Some(left) = order.split(',').find(|name| ["VBoxSF", "vmhgfs", "prl_fs"].contains(&name.trim())) {
        parts.push(warn(format!("the network provider {left}")).at(providers.at));
    }
    parts.push(pass("none is found among programs and services"));
    Ok(worst(parts))
}

fn device_installation(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    for name in DENIALS {
        let value = facts.software(RESTRICTIONS, name)?;
        if value.dword()? == Some(1) {
            parts.push(fail(format!("{name} = 1")).at(value.at));
        }
    }
    let removable = facts.software(RESTRICTIONS, "DenyRemovableDevices")?;
    if removable.dword()? == Some(1) {
        parts.push(warn("DenyRemovableDevices = 1").at(removable.at));
    }
    parts.push(pass("no restriction is set").at(format!(r"HKLM\SOFTWARE\{RESTRICTIONS}")));
    Ok(worst(parts))
}

fn code_policy(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    let folder = r"\Windows\System32\CodeIntegrity";
    let single = format!(r"{folder}\SIPolicy.p7b");
    if facts.evidence.is_there(&single)? {
        parts.push(warn("a code integrity policy; whether it only audits is not read").at(single));
    }
    let active = format!(r"{folder}\CiPolicies\Active");
    let policies =
        facts.evidence.names(&active)?.into_iter().filter(|name| name.to_ascii_lowercase().ends_with(".cip"));
    if let Some(first) = policies.clone().next() {
        parts.push(warn(format!("{} code integrity policies, the first {first}", policies.count())).at(active));
    }
    let service = facts.start("AppIDSvc")?;
    for kind in ["Exe", "Dll", "Script", "Msi", "Appx"] {
        let value = facts.software(&format!(r"Policies\Microsoft\Windows\SrpV2\{kind}"), "EnforcementMode")?;
        if value.dword()? != Some(1) {
            continue;
        }
        parts.push(
            match (service, facts.route) {
                (Some(2), Route::ImportImage) => fail(format!("AppLocker enforces rules for {kind}")),
                (Some(2), Route::Snapshot) => warn(format!("AppLocker enforces rules for {kind}")),
                _ => warn(format!("AppLocker has rules for {kind}, and its service does not start by itself")),
            }
            .at(value.at),
        );
    }
    let level = facts.software(r"Policies\Microsoft\Windows\Safer\codeidentifiers", "DefaultLevel")?;
    if level.dword()? == Some(0) {
        parts.push(fail("software restriction forbids every program that is not listed").at(level.at));
    }
    let limited = facts.current(r"Control\CI\Policy", "SkuPolicyRequired")?;
    if limited.dword()? == Some(1) {
        parts.push(fail("Windows in S mode").at(limited.at));
    }
    parts.push(pass("no policy is enforced"));
    Ok(worst(parts))
}

fn scripts(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    let enabled = facts.software(POWERSHELL, "EnableScripts")?;
    if enabled.dword()? == Some(0) {
        parts.push(fail("a policy forbids scripts").at(enabled.at));
    }
    for key in [POWERSHELL, SHELL] {
        let value = facts.software(key, "ExecutionPolicy")?;
        match value.text()?.as_deref() {
            Some("AllSigned" | "Restricted") if key == POWERSHELL => {
                parts.push(fail(format!("a policy runs {} scripts", value.text()?.unwrap_or_default())).at(value.at));
            }
            Some("AllSigned") => parts.push(fail("only signed scripts run").at(value.at)),
            _ => {}
        }
    }
    let installer = facts.software(INSTALLER, "DisableMSI")?;
    match installer.dword()? {
        Some(2) => parts.push(fail("Windows Installer is off").at(installer.at)),
        Some(1) => parts.push(warn("Windows Installer takes only managed programs").at(installer.at)),
        None | Some(0) => {}
        Some(other) => parts.push(unknown(format!("DisableMSI = {other} is not known")).at(installer.at)),
    }
    let is_core = facts.evidence.identity()?.role == Role::Workstation && facts.evidence.identity()?.build < 9200;
    for (service, usual) in INSTALLING {
        // Windows 7 has neither.
        if is_core && ["DeviceInstall", "DsmSvc"].contains(&service) {
            continue;
        }
        if facts.start(service)? == Some(4) {
            let found = format!("the service {service} is disabled (usually {usual})");
            parts.push(fail(found).at(facts.start_at(service)));
        }
    }
    parts.push(pass("scripts run and programs can be installed"));
    Ok(worst(parts))
}
