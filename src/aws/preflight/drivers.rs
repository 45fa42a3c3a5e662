//! Checks of the drivers and agents that an instance needs: storage, network, the launch agent, the management agent.

use super::check::Check;
use super::facts::{Facts, unproven};
use super::outcome::{Answer, fail, pass, unknown, warn, worst};
use crate::audit::Route;
use coldforge_base::Refusal;

const DRIVERS: &str = r"\Windows\System32\drivers";
/// The drivers between the firmware and the volume: each must be loaded by the boot loader.
const CHAIN: [&str; 6] = ["disk", "partmgr", "volmgr", "mountmgr", "volsnap", "fvevol"];
/// Filters of the classes of disks and volumes that Windows brings itself.
const OWN_FILTERS: [&str; 7] = ["partmgr", "ehstorclass", "fvevol", "iorate", "rdyboost", "volsnap", "vmstorfl"];
const CLASSES: [&str; 2] =
    [r"Control\Class\{4d36e967-e325-11ce-bfc1-08002be10318}", r"Control\Class\{71a27cdd-812a-11d0-bec7-08002be2092f}"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "P38",
        title: "The drivers of the boot disk are loaded",
        requires: "the NVMe driver loaded by the boot loader, and a whole chain of disk and volume drivers",
        prevents: "FirstBootFailure: INACCESSIBLE_BOOT_DEVICE (0x7B)",
        hint: "install the AWS NVMe driver before the image is taken",
        run: storage,
    },
    Check {
        id: "P39",
        title: "There is a driver for the network adapter",
        requires: "the ENA driver, unless AWS installs it on import",
        prevents: "an instance that is not reachable (snapshot route)",
        hint: "install the ENA driver before the image is taken, or take the import-image route",
        run: network,
    },
    Check {
        id: "P40",
        title: "The launch agent fits the route",
        requires: "no EC2Launch v2 for import-image, EC2Launch v2 for a snapshot",
        prevents: "hours of booting, then FirstBootFailure; on the snapshot route no password and no user data",
        hint: "install EC2Launch v2 after an import, or before taking a snapshot",
        run: launch_agent,
    },
    Check {
        id: "P41",
        title: "The management agent can start",
        requires: "the SSM agent, unless AWS installs it on import",
        prevents: "an instance that Systems Manager does not see",
        hint: "install the SSM agent, and let it start by itself",
        run: management_agent,
    },
];

/// Returns the file of a driver on the Windows volume.
fn file_of(facts: &Facts<'_>, service: &str) -> Result<String, Refusal> {
    let path = facts.current(&format!(r"Services\{service}"), "ImagePath")?.text()?.unwrap_or_default();
    let lower = path.to_ascii_lowercase();
    let below = [r"\systemroot\", r"%systemroot%\", r"system32\"].iter().find_map(|head| {
        let rest = lower.strip_prefix(head)?;
        Some(if *head == r"system32\" { format!(r"system32\{rest}") } else { rest.to_owned() })
    });
    Ok(match below {
        Some(below) => format!(r"\Windows\{below}"),
        None => format!(r"{DRIVERS}\{service}.sys"),
    })
}

fn storage(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    for service in CHAIN {
        let path = file_of(facts, service)?;
        match facts.start(service)? {
            Some(0) if facts.evidence.is_there(&path)? => {}
            Some(0) => {
                parts.push(fail(format!("the file of {service} is missing")).at(path.clone()).advise(restore(&path)))
            }
            Some(start) => {
                let outcome = fail(format!("{service} is started by {start}, not loaded at boot"));
                parts.push(outcome.at(facts.start_at(service)).advise(load(service)));
            }
            None => {
                let outcome = fail(format!("{service} is absent, not loaded at boot")).at(facts.start_at(service));
                parts.push(outcome.advise(format!(
                    "repair the Windows, whose own driver {service} is not registered, or take the image from one that starts"
                )));
            }
        }
    }
    for class in CLASSES {
        for name in ["UpperFilters", "LowerFilters"] {
            let filters = facts.current(class, name)?;
            for filter in filters.texts()? {
                if OWN_FILTERS.contains(&filter.to_ascii_lowercase().as_str()) {
                    continue;
                }
                let path = file_of(facts, &filter)?;
                let is_whole = facts.start(&filter)?.is_some() && facts.evidence.is_there(&path)?;
                let outcome = match is_whole {
                    true => warn(format!("the filter {filter} of another maker")).advise(format!(
                        "uninstall the software that {filter} belongs to, if it is made for other hardware"
                    )),
                    false => fail(format!("the filter {filter} has no driver")).advise(format!(
                        "install the software that {filter} belongs to again, or take its name out of {}",
                        filters.at
                    )),
                };
                parts.push(outcome.at(filters.at.clone()));
            }
        }
    }
    parts.push(nvme(facts)?);
    Ok(worst(parts))
}

/// Judges the driver of NVMe disks: Windows's own, or that of AWS.
fn nvme(facts: &Facts<'_>) -> Answer {
    for service in ["AWSNVMe", "stornvme"] {
        let path = file_of(facts, service)?;
        if facts.start(service)? != Some(0) || !facts.evidence.is_there(&path)? {
            continue;
        }
        let key = format!(r"Services\{service}\StartOverride");
        let overrides = facts.current_values(&key)?;
        let is_held = overrides.iter().any(|(_, data)| data.as_dword() != Some(0));
        return Ok(match (is_held, facts.route) {
            (false, _) => pass(format!("{service} is loaded at boot")).at(path),
            (true, Route::ImportImage) => {
                warn(format!("{service} is held back on machines that Windows knows; AWS prepares the drivers"))
                    .at(facts.place(&key))
                    .advise(format!("remove the key {}", facts.place(&key)))
            }
            (true, Route::Snapshot) => {
                unproven(&format!("whether {service}, held back on known machines, loads on an unknown one"))
                    .at(facts.place(&key))
                    .advise(format!("remove the key {}, or take the import-image route", facts.place(&key)))
            }
        });
    }
    let path = file_of(facts, "stornvme")?;
    let place = facts.place(r"Services\stornvme");
    let outcome = fail("neither stornvme nor AWSNVMe is loaded at boot with its file").at(place);
    Ok(match (facts.start("stornvme")?, facts.evidence.is_there(&path)?) {
        (Some(0), _) => outcome.at(path.clone()).advise(restore(&path)),
        (Some(_), true) => outcome.advise(load("stornvme")),
        _ => outcome.advise("install the AWS NVMe driver before the image is taken"),
    })
}

/// Says how the file of a driver comes back.
fn restore(path: &str) -> String {
    format!("bring {path} back with `sfc /scannow` in Windows, or put it there with `coldforge put`")
}

/// Says how a driver is loaded at boot again.
fn load(service: &str) -> String {
    format!("let the boot loader load {service}: `sc config {service} start= boot` in Windows")
}

fn network(facts: &Facts<'_>) -> Answer {
    let path = format!(r"{DRIVERS}\ena.sys");
    if facts.is_ena_installed()? {
        return Ok(pass("the ENA driver is installed").at(path));
    }
    let known = facts.evidence.subkeys(r"HKLM\SYSTEM\DriverDatabase\DeviceIds\PCI")?.unwrap_or_default();
    let staged = known.iter().find(|name| name.to_ascii_uppercase().starts_with("VEN_1D0F&DEV_EC2"));
    Ok(match (staged, facts.route) {
        (_, Route::ImportImage) => pass("absent: AWS installs it"),
        (Some(name), Route::Snapshot) => warn(format!("a package for {name} is there, and binds at the first start")),
        (None, Route::Snapshot) => fail("absent: an instance on Nitro has no network"),
    }
    .at(facts.place(r"Services\ena")))
}

fn launch_agent(facts: &Facts<'_>) -> Answer {
    let agents = [
        ("EC2Launch v2", r"\Program Files\Amazon\EC2Launch"),
        ("EC2Launch v1", r"\ProgramData\Amazon\EC2-Windows\Launch"),
        ("EC2Config", r"\Program Files\Amazon\Ec2ConfigService"),
    ];
    let mut found = Vec::new();
    for (name, path) in agents {
        if facts.evidence.is_there(path)? {
            found.push((name, path));
        }
    }
    let mut outcome = match (found.as_slice(), facts.route) {
        ([], Route::ImportImage) => pass("none: AWS installs it"),
        ([], Route::Snapshot) => warn("none: no password, no user data, no growing of the volume"),
        ([("EC2Launch v2", _)], Route::ImportImage) => warn("EC2Launch v2: reported to end in FirstBootFailure"),
        ([(name, _)], _) => pass(*name),
        (several, _) => {
            warn(several.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" and ") + " beside each other")
        }
    };
    outcome.at.extend(found.iter().map(|(_, path)| (*path).to_owned()));
    Ok(outcome)
}

fn management_agent(facts: &Facts<'_>) -> Answer {
    Ok(match (facts.start("AmazonSSMAgent")?, facts.route) {
        (Some(4), _) => fail("it is disabled"),
        (Some(2), _) => pass("it starts by itself"),
        (Some(other), _) => warn(format!("it is started by {other}")),
        (None, Route::ImportImage) => pass("absent: AWS installs it"),
        (None, Route::Snapshot) if facts.has_current(r"Services\AmazonSSMAgent")? => {
            unknown("its key has no start type")
        }
        (None, Route::Snapshot) => warn("absent"),
    }
    .at(facts.start_at("AmazonSSMAgent")))
}
