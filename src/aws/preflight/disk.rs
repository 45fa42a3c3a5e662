//! Checks of the container, the partition table, and the file system of the Windows volume.

use super::check::Check;
use super::facts::Facts;
use super::outcome::{Answer, Outcome, fail, pass, unknown, warn, worst};
use crate::audit::Verdict;
use crate::windows::{BOOT_MANAGER, BootFile, BootMode, Processor, STORE, SystemPartition, VolumeReport};
use coldforge_base::Refusal;
use coldforge_disk::partition::{Kind, Scheme};
use coldforge_disk::{Format, Signature};

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "P01",
        title: "The container is one that AWS takes",
        requires: "a raw, VHD, VHDX or streamOptimized VMDK image that stands alone",
        prevents: "ClientError: Disk validation failed [Unsupported File Format]",
        hint: "write another container with `coldforge convert IMAGE OUT --format vhdx-dynamic`",
        run: container,
    },
    Check {
        id: "P02",
        title: "The container is whole",
        requires: "a container whose own checksums hold, and no log that must be replayed first",
        prevents: "ClientError: Footers not identical; Uncompressed data has invalid length",
        hint: "write it anew with `coldforge convert IMAGE OUT`, which replays the log into the new file",
        run: integrity,
    },
    Check {
        id: "P03",
        title: "The disk is small enough",
        requires: "less than 8 TiB for ImportImage, 16 TiB with a manifest",
        prevents: "ClientError: the disk image is too large",
        hint: "make the disk smaller in Windows before the image is taken",
        run: size,
    },
    Check {
        id: "P04",
        title: "The disk is a basic one",
        requires: "no dynamic disk (LDM) and no Storage Spaces",
        prevents: "ClientError: No valid partitions. Not a valid volume",
        hint: "move Windows to a basic disk before the image is taken",
        run: basic,
    },
    Check {
        id: "P06",
        title: "The partition table stays as it is",
        requires: "a boot mode in the request: without one a GPT disk in a VHDX of at most 2 TiB with at most three partitions becomes an MBR disk",
        prevents: "FirstBootFailure after a conversion that nobody asked for",
        hint: "send `import-image.json` of the bundle, which names the boot mode",
        run: conversion,
    },
    Check {
        id: "P08",
        title: "The Windows volume is NTFS with sane boot sectors",
        requires: "one NTFS volume with a Windows, whose boot sector and its copy agree",
        prevents: "ClientError: No valid partitions; Unknown OS / Missing OS files",
        hint: "run `chkdsk /f` in Windows and take the image again",
        run: volume,
    },
    Check {
        id: "P09",
        title: "No volume is encrypted by BitLocker",
        requires: "volumes without encryption",
        prevents: "ClientError: Unknown OS / Missing OS files",
        hint: "decrypt the volume in Windows with `manage-bde -off` and take the image again",
        run: bitlocker,
    },
    Check {
        id: "P10",
        title: "The volume is clean and no check waits",
        requires: "an NTFS that was dismounted in order",
        prevents: "FirstBootFailure: chkdsk runs at the first start",
        hint: "start Windows, let chkdsk finish, shut down and take the image again",
        run: clean,
    },
    Check {
        id: "P11",
        title: "Windows neither sleeps nor starts fast",
        requires: "a Windows that was shut down, not hibernated",
        prevents: "FirstBootFailure: the memory of another machine is resumed",
        hint: "run `powercfg /h off` in Windows and shut it down",
        run: hibernation,
    },
    Check {
        id: "P12",
        title: "Every hive can be opened",
        requires: "hives that are clean, or whose logs can be replayed",
        prevents: "ClientError: Unknown OS / Missing OS files",
        hint: "start Windows once and shut it down, then take the image again",
        run: hives,
    },
    Check {
        id: "P13",
        title: "There is room on the Windows volume",
        requires: "at least 6 GiB free on the volume of Windows",
        prevents: "FirstBootFailure: drivers and agents cannot be installed",
        hint: "delete files or enlarge the volume before the image is taken",
        run: room,
    },
    Check {
        id: "P48",
        title: "The file system's own copies agree",
        requires: "an $MFTMirr that repeats the first records of $MFT",
        prevents: "FirstBootFailure: chkdsk runs at the first start",
        hint: "run `chkdsk /f` in Windows and take the image again",
        run: mirror,
    },
];

fn container(facts: &Facts<'_>) -> Answer {
    let format = facts.container.format;
    Ok(match format {
        Format::VhdDelta | Format::VhdxDelta => fail(format!("{format}: a differencing disk needs its parent")),
        Format::Vmdk if !facts.container.is_stream_optimized => fail("a VMDK that is not streamOptimized"),
        Format::VhdxFixed | Format::VhdxDynamic if facts.route == super::Route::Snapshot => {
            warn(format!("{format}: the reference of import-snapshot lists VHD, VMDK and RAW only"))
        }
        _ => pass(format.to_string()),
    })
}

fn integrity(facts: &Facts<'_>) -> Answer {
    Ok(match facts.container.has_log {
        true => fail("the VHDX has a log that was not replayed into the file"),
        false => pass(format!("{}: all its own checks hold", facts.container.format)),
    })
}

fn size(facts: &Facts<'_>) -> Answer {
    let bytes = facts.evidence.disk_bytes();
    let found = format!("{} GiB", bytes.div_ceil(GIB));
    Ok(match bytes {
        ..=0x7ff_ffff_ffff => pass(found),
        _ if bytes <= 16 * TIB => warn(format!("{found}: only ImportInstance with a manifest takes so much")),
        _ => fail(found),
    })
}

fn basic(facts: &Facts<'_>) -> Answer {
    let survey = facts.evidence.survey()?;
    let in_report =
        survey.table.partitions.iter().filter_map(|partition| Some((partition.number, partition.refusal.as_ref()?)));
    let codes = ["E-DYNAMIC-DISK", "E-STORAGE-SPACES"];
    let of_table = survey.table.refusals.iter().find(|refusal| codes.contains(&refusal.code));
    if let Some(refusal) = of_table {
        return Ok(fail(refusal.reason.clone()));
    }
    let mut of_partitions = in_report.filter(|(_, refusal)| codes.contains(&refusal.code));
    Ok(match of_partitions.next() {
        Some((number, refusal)) => fail(refusal.reason.clone()).at(format!("partition {number}")),
        None => pass(format!("{} with {} partitions", survey.table.scheme, survey.table.partitions.len())),
    })
}

fn conversion(facts: &Facts<'_>) -> Answer {
    let survey = facts.evidence.survey()?;
    let is_vhdx = matches!(facts.container.format, Format::VhdxFixed | Format::VhdxDynamic);
    let is_small = facts.evidence.disk_bytes() <= 2 * TIB && survey.table.partitions.len() <= 3;
    let would = is_vhdx && survey.table.scheme == Scheme::Gpt && is_small;
    Ok(match (would, facts.is_boot_mode_named) {
        (false, _) => pass(format!("{} in {}: not converted", survey.table.scheme, facts.container.format)),
        (true, true) => pass("converted only without a boot mode, and the request names one"),
        (true, false) => warn(format!(
            "a GPT disk of {} partitions in a VHDX is converted if the request names no boot mode",
            survey.table.partitions.len()
        )),
    })
}

/// Returns the report on the Windows volume.
fn windows_volume<'f>(facts: &'f Facts<'_>) -> Result<(u32, &'f VolumeReport), Refusal> {
    let survey = facts.evidence.survey()?;
    let number = facts.evidence.partition()?;
    let surveyed = survey.partitions.iter().find(|surveyed| surveyed.partition.number == number);
    match surveyed.map(|surveyed| &surveyed.volume) {
        Some(Ok(Some(volume))) => Ok((number, volume)),
        _ => Err(Refusal {
            code: "E-UNREADABLE",
            reason: format!("partition {number} cannot be read"),
            hint: "check the image with `coldforge check`",
        }),
    }
}

/// Returns the refusals of the Windows volume that have one of these codes.
fn refusals<'f>(facts: &'f Facts<'_>, codes: &[&str]) -> Result<(u32, Vec<&'f Refusal>), Refusal> {
    let (number, volume) = windows_volume(facts)?;
    Ok((number, volume.refusals.iter().filter(|refusal| codes.contains(&refusal.code)).collect()))
}

fn volume(facts: &Facts<'_>) -> Answer {
    // Without a table there is nothing that could be started; a volume that hides its contents is named by another check.
    let number = match facts.evidence.partition() {
        Ok(number) => number,
        Err(refusal) => {
            return Ok(match refusal.code {
                "E-BITLOCKER" => unknown(refusal.reason),
                _ => fail(refusal.reason),
            });
        }
    };
    let (_, bad) = refusals(facts, &["E-BACKUP-BOOT", "E-VOLUME-SIZE", "E-VOLUME-VERSION", "E-VOLUME-CORRUPT"])?;
    let place = format!("partition {number}");
    Ok(match bad.first() {
        Some(refusal) => fail(refusal.reason.clone()).at(place),
        None => pass("NTFS; the boot sector and its copy agree").at(place),
    })
}

fn bitlocker(facts: &Facts<'_>) -> Answer {
    let survey = facts.evidence.survey()?;
    let locked = survey.table.partitions.iter().find(|partition| partition.signature == Signature::BitLocker);
    Ok(match locked {
        Some(partition) => fail("a volume that BitLocker encrypts").at(format!("partition {}", partition.number)),
        None => pass("no volume has BitLocker's boot sector"),
    })
}

fn clean(facts: &Facts<'_>) -> Answer {
    let dirty = ["E-VOLUME-DIRTY", "E-VOLUME-CHKDSK", "E-VOLUME-FLAGS"];
    let (number, bad) = refusals(facts, &dirty)?;
    let mut parts: Vec<Outcome> =
        bad.into_iter().map(|refusal| fail(refusal.reason.clone()).at(format!("partition {number}"))).collect();
    let (_, log) = refusals(facts, &["E-LOGFILE-UNCLEAN", "E-LOGFILE-VERSION"])?;
    parts.extend(log.into_iter().map(|refusal| warn(refusal.reason.clone()).at(format!("partition {number}"))));
    let waiting = facts.current(r"Control\Session Manager", "BootExecute")?;
    let programs = waiting.texts()?;
    if !(programs.is_empty() || programs == ["autocheck autochk *"]) {
        parts.push(warn(format!("at the next start runs {programs:?}")).at(waiting.at));
    }
    parts.push(pass("the volume is clean"));
    Ok(worst(parts))
}

fn hibernation(facts: &Facts<'_>) -> Answer {
    let (number, bad) = refusals(facts, &["E-HIBERNATED", "E-FAST-STARTUP"])?;
    if let Some(refusal) = bad.first() {
        return Ok(fail(refusal.reason.clone()).at(format!("partition {number}")));
    }
    let fast = facts.current(r"Control\Session Manager\Power", "HiberbootEnabled")?;
    let set = facts.current(r"Control\Power", "HibernateEnabled")?.dword()?;
    let default = facts.current(r"Control\Power", "HibernateEnabledDefault")?.dword()?;
    let can_sleep = set.or(default).unwrap_or(1) != 0;
    Ok(match (fast.dword()?, can_sleep) {
        (Some(1), true) => warn("fast startup is on: the next shutdown would leave a hibernated kernel").at(fast.at),
        _ => pass("no hibernated Windows, and fast startup cannot happen"),
    })
}

fn hives(facts: &Facts<'_>) -> Answer {
    let parts = facts.evidence.hives()?.into_iter().map(|(path, state)| match state {
        Ok(None) => pass(""),
        // What is replayed in memory here, Windows replays at its start.
        Ok(Some(recovery)) => pass(recovery).at(path),
        Err(refusal) => fail(refusal.to_string()).at(path),
    });
    let mut outcome = worst(parts.collect());
    if outcome.found.is_empty() {
        outcome.found = "all are clean".to_owned();
    }
    Ok(outcome)
}

fn room(facts: &Facts<'_>) -> Answer {
    let free = facts.evidence.free_bytes()?;
    let found = format!("{:.2} GiB free", free as f64 / GIB as f64);
    let place = format!("partition {}", facts.evidence.partition()?);
    Ok(match facts.route {
        super::Route::ImportImage if free < 6 * GIB => fail(found),
        super::Route::Snapshot if free < GIB => warn(found),
        _ => pass(found),
    }
    .at(place))
}

fn mirror(facts: &Facts<'_>) -> Answer {
    let (number, bad) = refusals(facts, &["E-MFTMIRR"])?;
    Ok(match bad.first() {
        Some(refusal) => fail(refusal.reason.clone()),
        None => pass("$MFTMirr repeats the first records of $MFT"),
    }
    .at(format!("partition {number}")))
}

/// Returns how firmware starts the disk, and whether what it starts is there.
pub(super) fn boot_mode(facts: &Facts<'_>) -> Answer {
    let survey = facts.evidence.survey()?;
    let kinds = survey.table.partitions.iter().map(|partition| partition.kind);
    let has_efi = kinds.clone().any(|kind| kind == Kind::Mbr(0xef));
    let has_active = survey.table.partitions.iter().any(|partition| partition.active);
    Ok(match survey.boot_mode() {
        Some(BootMode::LegacyBios) => pass(r"legacy-bios: an MBR with one active partition that holds \bootmgr"),
        Some(BootMode::Uefi) => system_partition(facts)?,
        None if has_efi && has_active => warn("both an active partition and an EFI system partition: name --boot-mode"),
        None if has_efi => match system_partition(facts)? {
            whole if whole.verdict == Verdict::Pass => {
                warn(format!("{}, in an MBR: name --boot-mode uefi", whole.found))
            }
            other => other,
        },
        None => fail(format!(
            "{} with neither an active partition with \\bootmgr nor an EFI system partition",
            survey.table.scheme
        )),
    })
}

/// Checks what is on the EFI system partition; of several, firmware takes the one that it can start from.
fn system_partition(facts: &Facts<'_>) -> Answer {
    let outcome = facts.evidence.system_partitions()?.into_iter().map(|partition| match partition {
        Ok(partition) => starts(&partition),
        // It has no file system at all, or one that contradicts itself: firmware reads the same bytes.
        Err(refusal) if matches!(refusal.code, "E-NOT-FAT" | "E-FAT-CORRUPT") => fail(format!("uefi: {refusal}")),
        Err(refusal) => unknown(format!("uefi: {refusal}")),
    });
    let best = outcome.min_by_key(|outcome| outcome.verdict);
    Ok(best.unwrap_or_else(|| fail("uefi: the disk has no EFI system partition")))
}

/// Judges one EFI system partition.
fn starts(partition: &SystemPartition) -> Outcome {
    let place = |path: &str| format!("partition {}, {path}", partition.partition);
    let fault = |file: &BootFile| {
        let BootFile { path, fault } = file;
        fault.as_ref().map(|fault| fail(format!("uefi: {path} {fault}")).at(place(path)))
    };
    let files = partition.boot_manager.iter().chain(&partition.fallback).chain(&partition.store);
    if let Some(broken) = files.clone().find_map(fault) {
        return broken;
    }
    let loader = match (&partition.boot_manager, &partition.fallback) {
        (None, None) => {
            return fail(format!("uefi: the EFI system partition ({}) holds no boot manager", partition.width))
                .at(place(BOOT_MANAGER));
        }
        (Some(_), None) => {
            let fallback = match partition.processor {
                Some(Processor::ARM64) => r"\EFI\Boot\bootaa64.efi",
                Some(Processor::I386) => r"\EFI\Boot\bootia32.efi",
                _ => r"\EFI\Boot\bootx64.efi",
            };
            warn(format!(
                "uefi: {BOOT_MANAGER} is there and {fallback} is not: an instance's firmware remembers no entry, and looks for that"
            ))
            .at(place(r"\EFI\Boot"))
        }
        (None, Some(fallback)) => {
            warn(format!("uefi: {BOOT_MANAGER} is missing; firmware starts {}", fallback.path)).at(place(BOOT_MANAGER))
        }
        (Some(_), Some(fallback)) => pass(format!(
            "uefi: an EFI system partition ({}) with {BOOT_MANAGER}, {} and {STORE}",
            partition.width, fallback.path
        ))
        .at(format!("partition {}", partition.partition)),
    };
    match &partition.store {
        None => fail(format!("uefi: the EFI system partition has no {STORE}")).at(place(STORE)),
        // Nothing says that the firmware of an instance, which is of 64 bits, starts programs of 32.
        Some(_) if partition.processor == Some(Processor::I386) => {
            unknown("uefi: a boot manager of 32 bits: whether the firmware of an instance starts it is not known")
                .at(place(BOOT_MANAGER))
        }
        Some(_) => loader,
    }
}
