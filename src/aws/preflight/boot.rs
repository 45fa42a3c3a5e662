//! Checks of the boot: the boot mode and the boot configuration store.

use super::check::Check;
use super::disk;
use super::facts::Facts;
use super::outcome::{Answer, Outcome, fail, pass, warn, worst};
use crate::windows::boot::BootStore;
use crate::windows::{BootMode, STORE};
use coldforge_base::Refusal;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "P05",
        title: "The boot mode is known, and what firmware starts is there",
        requires: "a disk that starts by BIOS or by UEFI, named in the request, with the files that firmware starts",
        prevents: "ClientError: No bootable partition found; FirstBootFailure",
        hint: r"name it with --boot-mode legacy-bios|uefi; `bcdboot C:\Windows /s S: /f UEFI` in Windows writes the files of an EFI system partition that is S:",
        run: disk::boot_mode,
    },
    Check {
        id: "P07",
        title: "One Windows is installed, and it is the one that starts",
        requires: "no dual boot: one Windows on the disk, one loader in the boot menu",
        prevents: "FirstBootFailure: several boot partitions",
        hint: "remove the other entries in Windows with `bcdedit /delete`",
        run: one_loader,
    },
    Check {
        id: "P20",
        title: "The Hyper-V role is not installed",
        requires: "an operating system without a hypervisor of its own",
        prevents: "FirstBootFailure: nested virtualization is not supported",
        hint: "remove the role with `Remove-WindowsFeature Hyper-V` and restart before the image is taken",
        run: hypervisor,
    },
    Check {
        id: "P21",
        title: "Emergency management services are off",
        requires: "EMS off: AWS turns it off on import",
        prevents: "a serial console that EC2 uses itself",
        hint: "run `bcdedit /ems off` and `bcdedit /bootems off` in Windows",
        run: emergency,
    },
];

/// Returns the boot store and where it is, or what it means that there is none where firmware or the boot manager looks
/// for it.
fn store(facts: &Facts<'_>) -> Result<Result<(String, BootStore), Outcome>, Refusal> {
    match facts.evidence.boot_store() {
        Ok(Some(found)) => Ok(Ok(found)),
        Ok(None) => Ok(Err(fail(match facts.evidence.boot_mode() {
            Some(BootMode::Uefi) => format!("the EFI system partition has no {STORE}"),
            _ => "the active partition has no boot configuration store".to_owned(),
        }))),
        // The boot manager reads the same bytes, and finds no store in them either.
        Err(refusal) if refusal.code == "E-BOOT-STORE" => Ok(Err(fail(refusal.to_string()).advise(refusal.hint))),
        Err(refusal) => Err(refusal),
    }
}

fn one_loader(facts: &Facts<'_>) -> Answer {
    let survey = facts.evidence.survey()?;
    let installed = survey
        .partitions
        .iter()
        .filter(|surveyed| matches!(&surveyed.volume, Ok(Some(volume)) if volume.windows))
        .count();
    match installed {
        0 => return Ok(fail("no Windows is found on the disk")),
        1 => {}
        _ => return Ok(fail(format!("{installed} installations of Windows are on the disk"))),
    }
    let (place, store) = match store(facts)? {
        Ok(found) => found,
        Err(none) => return Ok(none),
    };
    let is_real = |id: &str| store.loaders.iter().any(|loader| loader.id.eq_ignore_ascii_case(id) && !loader.winpe);
    let listed: Vec<&String> = store.display_order.iter().filter(|id| is_real(id)).collect();
    let default = store.default.clone().unwrap_or_default();
    Ok(match listed.as_slice() {
        [] => fail("the boot menu lists no loader of a Windows"),
        [_] if store.default_loader().is_none() => fail(format!("the default entry {default} is not there")),
        [one] if one.eq_ignore_ascii_case(&default) => match wrong_loader(facts, &store) {
            Some(path) => warn(format!("one loader, which is the default, and {path} starts by BIOS only")),
            None => pass("one loader, which is the default"),
        },
        [one] => warn(format!("the one loader is {one}, and the default is {default}")),
        _ => fail(format!("the boot menu lists {} loaders", listed.len())),
    }
    .at(place))
}

/// Returns the path of the default loader if it is `winload.exe`, which firmware of the UEFI kind cannot run.
fn wrong_loader(facts: &Facts<'_>, store: &BootStore) -> Option<String> {
    let path = store.default_loader()?.path.clone()?;
    let is_wrong = path.to_ascii_lowercase().ends_with(r"\winload.exe");
    (facts.evidence.boot_mode() == Some(BootMode::Uefi) && is_wrong).then_some(path)
}

fn hypervisor(facts: &Facts<'_>) -> Answer {
    if facts.has_current(r"Services\vmms")? {
        return Ok(fail("the service vmms of the role is there").at(facts.place(r"Services\vmms")));
    }
    let options = facts.current("Control", "SystemStartOptions")?;
    let was_on = options.text()?.unwrap_or_default().to_ascii_uppercase().contains("HYPERVISORLAUNCHTYPE=AUTO");
    let mut parts = Vec::new();
    if was_on {
        parts.push(warn("the last start ran a hypervisor").at(options.at));
    }
    // The service shows the role itself; a store that cannot be read leaves only the launch type open.
    if let Ok(Ok((place, store))) = store(facts)
        && store.default_loader().is_some_and(|loader| loader.hypervisor)
    {
        parts.push(warn("hypervisorlaunchtype is not off").at(place));
    }
    parts.push(pass("the role is not installed"));
    Ok(worst(parts))
}

fn emergency(facts: &Facts<'_>) -> Answer {
    let (place, store) = match store(facts)? {
        Ok(found) => found,
        Err(none) => return Ok(none),
    };
    let on: Vec<&str> = [
        store.boot_ems.then_some("the boot manager"),
        store.loaders.iter().any(|loader| !loader.winpe && loader.ems).then_some("the loader"),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok(match on.as_slice() {
        [] => pass("off in the boot manager and the loader"),
        on => warn(format!("on for {}", on.join(" and "))),
    }
    .at(place))
}
