//! Checks of the machine's identity: edition, language, clock, domain, licence, other disks.

use super::check::Check;
use super::facts::Facts;
use super::outcome::{Answer, Outcome, fail, pass, unknown, warn, worst};
use crate::windows::Processor;
use crate::windows::setting::Role;
use coldforge_base::read;
use coldforge_disk::partition::DiskId;

const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
const WINLOGON: &str = r"Microsoft\Windows NT\CurrentVersion\Winlogon";
const PAGING: &str = r"Control\Session Manager\Memory Management";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "P14",
        title: "The page file has a fixed size on C:",
        requires: "a page file of a fixed size on the volume of Windows",
        prevents: "a page file as large as the memory of the instance fills the volume",
        hint: "set a fixed size in Windows",
        run: paging,
    },
    Check {
        id: "P15",
        title: "Nothing needs another volume",
        requires: "everything that the start needs on the imported disk",
        prevents: "FirstBootFailure: a missing Active Directory volume, a recovery loop",
        hint: "move what is named to C: before the image is taken, or import the other disk too",
        run: other_volumes,
    },
    Check {
        id: "P16",
        title: "AWS takes this edition and build",
        requires: "an edition in the list of VM Import/Export",
        prevents: "ClientError: Unknown OS; unsupported operating system",
        hint: "compare with the list in the VM Import/Export user guide; the snapshot route asks no one",
        run: edition,
    },
    Check {
        id: "P17",
        title: "It is a Windows for x64",
        requires: "x86_64: no ARM64, no 32-bit server",
        prevents: "ClientError: unsupported architecture",
        hint: "use an image of a 64-bit Windows for Intel and AMD",
        run: architecture,
    },
    Check {
        id: "P18",
        title: "Its language is one that the import handles",
        requires: "English for a client; no language pack in other than Latin letters",
        prevents: "FirstBootFailure: names are not found in another language",
        hint: "install an English Windows and add languages after the import",
        run: language,
    },
    Check {
        id: "P19",
        title: "It is no evaluation edition",
        requires: "a Windows that can be activated",
        prevents: "FirstBootFailure: activation failed",
        hint: "convert it with `DISM /Online /Set-Edition` before the image is taken",
        run: evaluation,
    },
    Check {
        id: "P25",
        title: "Nobody is logged on by itself",
        requires: "automatic logon off",
        prevents: "FirstBootFailure; a password that everybody who has the image can read",
        hint: "turn automatic logon off in Windows",
        run: autologon,
    },
    Check {
        id: "P36",
        title: "The hardware clock is taken for UTC",
        requires: "RealTimeIsUniversal = 1: the clock of an instance runs in UTC",
        prevents: "a clock that is wrong by hours after a restart, failing activation and logons",
        hint: "set the value",
        run: clock,
    },
    Check {
        id: "P44",
        title: "The machine belongs to no domain",
        requires: "a first start without a domain controller",
        prevents: "group policies come back at the first start, accounts of the domain cannot log on",
        hint: "leave the domain before the image is taken, and keep a local administrator",
        run: domain,
    },
    Check {
        id: "P45",
        title: "No other activation server is set",
        requires: "no KMS server in the registry: it hides the one of AWS",
        prevents: "a Windows that is not activated",
        hint: "run `slmgr /ckms` in Windows",
        run: activation,
    },
    Check {
        id: "P46",
        title: "It comes from a virtual machine",
        requires: "a virtual machine: an image of a physical one is not supported",
        prevents: "FirstBootFailure after physical-to-virtual conversion",
        hint: "start the image in a virtual machine once before the import",
        run: hardware,
    },
    Check {
        id: "P47",
        title: "Further disks come online, and C: is this volume",
        requires: "a SAN policy that brings disks online, and a drive letter that names the Windows volume",
        prevents: "data disks that stay offline; a start that ends without C:",
        hint: "run `san policy=OnlineAll` in diskpart",
        run: disks,
    },
];

fn paging(facts: &Facts<'_>) -> Answer {
    let value = facts.current(PAGING, "PagingFiles")?;
    let files = value.texts()?;
    let mut parts: Vec<Outcome> = files.iter().map(|file| paging_file(file)).collect();
    if files.is_empty() {
        parts.push(warn("there is no page file"));
    }
    Ok(worst(parts).at(value.at))
}

/// Judges an entry `path minimum maximum`, in MB.
fn paging_file(entry: &str) -> Outcome {
    let mut words = entry.split_whitespace();
    let path = words.next().unwrap_or_default().to_ascii_lowercase();
    let sizes: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    let is_fixed = matches!(sizes.as_slice(), [least, most] if *least > 0 && *most > 0);
    match (path.as_str(), is_fixed) {
        (path, true) if path.starts_with("c:") => pass(entry),
        (path, false) if path.starts_with("?:") => warn("Windows chooses volume and size"),
        (path, false) if path.starts_with("c:") => warn("Windows chooses the size"),
        _ => warn(format!("{entry} is on another volume")),
    }
}

fn other_volumes(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    let elsewhere = |path: &str| {
        let path = path.trim_start_matches(r"\??\").trim_start_matches('"').to_ascii_lowercase();
        let mut letters = path.chars();
        let (drive, colon) = (letters.next(), letters.next());
        colon == Some(':') && drive.is_some_and(|drive| drive.is_ascii_alphabetic() && drive != 'c')
    };
    let paging = facts.current(PAGING, "PagingFiles")?;
    for file in paging.texts()?.iter().filter(|file| elsewhere(file)) {
        parts.push(warn(format!("a page file: {file}")).at(paging.at.clone()));
    }
    for name in ["DumpFile", "DedicatedDumpFile"] {
        let dump = facts.current(r"Control\CrashControl", name)?;
        if let Some(file) = dump.text()?.filter(|file| elsewhere(file)) {
            parts.push(warn(format!("a crash dump: {file}")).at(dump.at));
        }
    }
    let database = facts.current(r"Services\NTDS\Parameters", "DSA Database file")?;
    if let Some(file) = database.text()?.filter(|file| elsewhere(file)) {
        parts.push(fail(format!("the database of Active Directory: {file}")).at(database.at));
    }
    for service in facts.current_keys("Services")? {
        let key = format!(r"Services\{service}");
        let Some(start @ 0..=2) = facts.current(&key, "Start")?.dword().unwrap_or(None) else { continue };
        let image = facts.current(&key, "ImagePath")?;
        if let Some(path) = image.text().unwrap_or(None).filter(|path| elsewhere(path)) {
            let found = format!("the service {service}: {path}");
            parts.push(if start == 0 { fail(found) } else { warn(found) }.at(image.at));
        }
    }
    parts.push(pass("page file, dumps, database and services lie on C:"));
    Ok(worst(parts))
}

fn edition(facts: &Facts<'_>) -> Answer {
    let identity = facts.evidence.identity()?;
    let in_report = format!("{} ({}), build {}", identity.product, identity.edition, identity.build);
    let known = |found: &str| match identity.build {
        9600 | 14393 | 17763 | 20348 => pass(found),
        26100 => warn(format!("{found}: Server 2025 is not in the copies of the list that this check knows")),
        _ => unknown(format!("{found}: the build is not among those that this check knows")),
    };
    let outcome = match (identity.installation_type.as_str(), identity.edition.as_str()) {
        ("Nano Server", _) => fail(format!("{in_report}: Nano Server is not supported")),
        ("Server" | "Server Core", "ServerStandard" | "ServerDatacenter") => known(&in_report),
        ("Server" | "Server Core", edition) if edition.ends_with("Eval") => known(&in_report),
        ("Client", _) if matches!(identity.build, 7601 | 9600 | 10240..) => pass(in_report),
        _ => unknown(format!("{in_report}: the edition is not among those that this check knows")),
    };
    Ok(outcome.at(format!(r"HKLM\SOFTWARE\{VERSION}")))
}

fn architecture(facts: &Facts<'_>) -> Answer {
    let value = facts.current(r"Control\Session Manager\Environment", "PROCESSOR_ARCHITECTURE")?;
    let kernel = r"\Windows\System32\ntoskrnl.exe";
    let machine = facts.evidence.processor_of_kernel()?;
    let in_report = value.text()?;
    let outcome = match (in_report.as_deref(), machine) {
        (Some("AMD64"), Some(Processor::AMD64)) => pass("AMD64, as the kernel's file is"),
        // A kernel whose head is none tells nothing; the registry is one witness.
        (Some("AMD64"), None) => unknown("the registry says AMD64, and the file of the kernel does not tell"),
        (Some("ARM64"), _) | (_, Some(Processor::ARM64)) => fail("ARM64"),
        (Some("x86"), _) if facts.evidence.identity()?.role != Role::Workstation => fail("x86"),
        (Some("x86"), _) => warn("x86: only old clients are taken"),
        (Some(other), machine) => unknown(format!(
            "the registry says {other}, the kernel's file {}",
            machine.map_or("does not tell".to_owned(), |machine| machine.to_string())
        )),
        (None, _) => unknown("the registry does not tell"),
    };
    Ok(outcome.at(value.at).at(kernel))
}

fn language(facts: &Facts<'_>) -> Answer {
    let installed = facts.current(r"Control\Nls\Language", "InstallLanguage")?;
    let Some(language) = installed.text()? else {
        return Ok(unknown("the language of the installation is absent").at(installed.at));
    };
    let packs = facts.current_keys(r"Control\MUI\UILanguages")?;
    let client = facts.evidence.identity()?.role == Role::Workstation;
    let is_english = |tag: &String| tag.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("en-"));
    let others: Vec<&String> = packs.iter().filter(|tag| !is_english(tag)).collect();
    // Languages whose own name is written in Latin letters without a mark do not exist in number: only these are sure.
    let foreign = ["ar", "bg", "el", "he", "hi", "ja", "ko", "ru", "sr", "th", "uk", "zh"];
    let beyond: Vec<&&String> =
        others.iter().filter(|tag| foreign.iter().any(|head| tag.to_ascii_lowercase().starts_with(head))).collect();
    let outcome = match (client, language.as_str()) {
        (true, "0409") if others.is_empty() => pass("0409, en-US"),
        (true, _) => fail(format!("a client in {language} with {packs:?}")),
        (false, _) if !beyond.is_empty() => fail(format!("the language packs {beyond:?}")),
        (false, "0409") if others.is_empty() => pass(format!("0409 with {packs:?}")),
        (false, _) => warn(format!("{language} with {packs:?}")),
    };
    Ok(outcome.at(installed.at).at(facts.place(r"Control\MUI\UILanguages")))
}

fn evaluation(facts: &Facts<'_>) -> Answer {
    let edition = facts.evidence.identity()?.edition;
    let outcome = if edition.ends_with("Eval") { fail(edition) } else { pass(edition) };
    Ok(outcome.at(format!(r"HKLM\SOFTWARE\{VERSION}!EditionID")))
}

fn autologon(facts: &Facts<'_>) -> Answer {
    let on = facts.software(WINLOGON, "AutoAdminLogon")?;
    let password = facts.software(WINLOGON, "DefaultPassword")?;
    let mut parts = Vec::new();
    if on.text()?.is_some_and(|text| text == "1") {
        parts.push(fail("automatic logon is on").at(on.at.clone()));
    }
    if password.text()?.is_some_and(|text| !text.is_empty()) {
        parts.push(warn("the image contains a password in clear text").at(password.at));
    }
    parts.push(pass("automatic logon is off").at(on.at));
    Ok(worst(parts))
}

fn clock(facts: &Facts<'_>) -> Answer {
    let value = facts.current(r"Control\TimeZoneInformation", "RealTimeIsUniversal")?;
    let wide = value.value.as_ref().and_then(|data| data.as_qword());
    let number = match wide {
        Some(number) => Some(number),
        None => value.dword()?.map(u64::from),
    };
    Ok(match number {
        Some(1) => pass("1"),
        Some(other) => warn(other.to_string()),
        None => warn("absent: the clock is taken for local time"),
    }
    .at(value.at))
}

fn domain(facts: &Facts<'_>) -> Answer {
    let identity = facts.evidence.identity()?;
    let name = identity.domain.clone().unwrap_or_default();
    let outcome = match (identity.role, identity.domain_joined) {
        (Role::DomainController, _) => warn(format!("a domain controller of {name}")),
        (_, Some(true)) => warn(format!("a member of the domain {name}")),
        (_, Some(false)) => pass(format!("in the workgroup {name}")),
        (_, None) => unknown("SECURITY does not tell"),
    };
    Ok(outcome.at(r"HKLM\SECURITY\Policy\PolPrDmS"))
}

fn activation(facts: &Facts<'_>) -> Answer {
    let server = facts
        .software(r"Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform", "KeyManagementServiceName")?;
    let ticket =
        facts.software(r"Policies\Microsoft\Windows NT\CurrentVersion\Software Protection Platform", "NoGenTicket")?;
    let mut parts = Vec::new();
    if let Some(name) = server.text()?.filter(|name| !name.is_empty()) {
        parts.push(warn(format!("the KMS server {name}")).at(server.at.clone()));
    }
    if ticket.dword()?.unwrap_or(0) != 0 {
        parts.push(warn("a policy forbids activation tickets").at(ticket.at));
    }
    parts.push(pass("no KMS server is set").at(server.at));
    Ok(worst(parts))
}

fn hardware(facts: &Facts<'_>) -> Answer {
    let last = facts.system("HardwareConfig", "LastConfig")?;
    let Some(id) = last.text()? else {
        return Ok(unknown("the registry does not name the machine that Windows last ran on").at(last.at));
    };
    let key = format!(r"HardwareConfig\{id}");
    let maker = facts.system(&key, "SystemManufacturer")?;
    let product = facts.system(&key, "SystemProductName")?.text()?.unwrap_or_default();
    let bios = facts.system(&key, "SystemBiosVersion")?.texts()?.join(" ");
    let in_report = maker.text()?.unwrap_or_default();
    let all = format!("{in_report} {product} {bios}").to_ascii_lowercase();
    let virtual_maker = ["vmware", "vbox", "virtualbox", "innotek", "qemu", "bochs", "xen", "amazon", "kvm", "nutanix"];
    let is_microsoft = in_report == "Microsoft Corporation" && product.contains("Virtual");
    let outcome = if is_microsoft || virtual_maker.iter().any(|name| all.contains(name)) {
        pass(format!("{in_report} {product}").trim().to_owned())
    } else if in_report.is_empty() {
        unknown(format!("no maker is stored, and the BIOS says {bios:?}"))
    } else {
        warn(format!("{in_report} {product}: a physical machine"))
    };
    Ok(outcome.at(maker.at))
}

fn disks(facts: &Facts<'_>) -> Answer {
    let policy = facts.current(r"Services\partmgr\Parameters", "SanPolicy")?;
    let mut parts = vec![
        match policy.dword()? {
            Some(1) => pass("disks come online"),
            Some(2) => warn("shared disks stay offline"),
            Some(3) => warn("all further disks stay offline"),
            Some(4) => warn("internal disks stay offline"),
            Some(other) => unknown(format!("the SAN policy {other} is not known")),
            None => unknown("no SAN policy is stored, and the default of a server is not proven"),
        }
        .at(policy.at),
    ];
    let letter = facts.system("MountedDevices", r"\DosDevices\C:")?;
    let survey = facts.evidence.survey()?;
    let number = facts.evidence.partition()?;
    let home = survey.table.partitions.iter().find(|partition| partition.number == number);
    let (Some(home), Some(found)) = (home, &letter.value) else {
        parts.push(warn("no volume is stored for C:").at(letter.at));
        return Ok(worst(parts));
    };
    let signature = read::u32_le(&found.data, 0).ok().zip(read::u64_le(&found.data, 4).ok());
    let by_guid = found.data.strip_prefix(b"DMIO:ID:");
    let is_this = match (found.data.len(), by_guid, survey.table.disk_id) {
        (12, _, Some(DiskId::Mbr(id))) => signature == Some((id, home.start.0)),
        (24, Some(guid), _) => home.id.is_some_and(|id| id.0.as_slice() == guid),
        _ => false,
    };
    parts.push(
        match is_this {
            true => pass("C: is the Windows volume"),
            false => warn("C: names another volume than that of Windows"),
        }
        .at(letter.at),
    );
    Ok(worst(parts))
}
