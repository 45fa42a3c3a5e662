//! Evidence for preflight checks: reads a Windows from a disk, including disks that must not be edited.
//!
//! [`super::Machine`] and [`super::ReadOnlyMachine`] refuse a disk with any problem. Here each part is read on its own: a
//! dirty volume is read, and a hive that cannot be opened only leaves its own settings unknown. Keys begin
//! with `HKLM\SOFTWARE`, `HKLM\SYSTEM`, `HKLM\SAM` or `HKLM\SECURITY`; `CurrentControlSet` is the set that the next boot
//! loads. Nothing is written; of file systems, NTFS is read, and the FAT of an EFI system partition.

use rayon::prelude::*;

use super::boot::BootStore;
use super::esp::{self, Processor, SystemPartition};
use super::features::Servicing;
use super::hives::{self, HiveFile};
use super::identity::{self, ControlSets};
use super::locate::{self, BootMode, Depth, Survey};
use super::sam::{accounts, groups};
use super::security::user_rights;
use super::setting::{Data, Identity, SetupState, ValueType};
use super::setup_state;
use super::{Error, Result};
use crate::windows::fat;
use coldforge_base::sid::Sid;
use coldforge_base::{FileOffset, ReadAt, Refusal};
use coldforge_disk::Window;
use coldforge_ntfs::Volume;
use coldforge_regf::{self as regf, Accept, Lookup};

/// An answer, or the reason why there is none.
pub type Answer<T> = std::result::Result<T, Refusal>;

/// The hives that are asked, as files of the configuration folder, by the root of their keys.
const HIVES: [(&str, &str); 4] =
    [(r"HKLM\SOFTWARE", "SOFTWARE"), (r"HKLM\SYSTEM", "SYSTEM"), (r"HKLM\SAM", "SAM"), (r"HKLM\SECURITY", "SECURITY")];

/// The kernel, which tells what Windows is made for.
const KERNEL: &str = r"\Windows\System32\ntoskrnl.exe";
/// Bytes of the head of a program that tell for which processor it is.
const PROGRAM_HEAD_BYTES: u64 = 4096;
/// Where the boot configuration store of a BIOS machine is on its active partition.
const BOOT_STORE: &str = r"\Boot\BCD";

/// A local account, as far as it matters who can log on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalAccount {
    /// The account, with its flags.
    pub account: accounts::Account,
    /// Bytes of the record of its password: 4 and 24 are those of a record without a hash.
    pub password_bytes: usize,
    /// The local groups that it is a member of, by relative identifier.
    pub groups: Vec<u32>,
}

/// What is known of a disk and of the Windows on it.
pub struct Evidence<'d> {
    device: &'d dyn ReadAt,
    survey: Answer<Survey>,
    installed: Answer<Installed<'d>>,
}

/// The Windows.
struct Installed<'d> {
    partition: u32,
    volume: Volume<Window<&'d dyn ReadAt>>,
    /// In the order of [`HIVES`].
    hives: Vec<Answer<HiveFile>>,
    sets: Answer<ControlSets>,
}

impl<'d> Evidence<'d> {
    /// Reads a disk. A part that cannot be read returns the reason when it is queried.
    pub fn of(device: &'d dyn ReadAt) -> Self {
        let survey = Survey::of(device, Depth::Volumes).map_err(|error| locate::as_refusal(&error));
        let installed = match &survey {
            Ok(survey) => Installed::open(device, survey).map_err(|error| match survey.refusals().into_iter().next() {
                // A volume that hides its contents explains the absence better.
                Some(refusal) => refusal,
                None => locate::as_refusal(&error),
            }),
            Err(refusal) => Err(refusal.clone()),
        };
        Self { device, survey, installed }
    }

    /// Returns the size of the disk in bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.device.len()
    }

    /// Returns what the partitions hold.
    ///
    /// # Errors
    /// Why the table cannot be read.
    pub fn survey(&self) -> Answer<&Survey> {
        self.survey.as_ref().map_err(Clone::clone)
    }

    /// Returns how firmware starts the disk, where the table tells.
    pub fn boot_mode(&self) -> Option<BootMode> {
        self.survey.as_ref().ok().and_then(Survey::boot_mode)
    }

    /// Returns the number of the partition that holds the one Windows.
    ///
    /// # Errors
    /// Why there is none.
    pub fn partition(&self) -> Answer<u32> {
        Ok(self.windows()?.partition)
    }

    fn windows(&self) -> Answer<&Installed<'d>> {
        self.installed.as_ref().map_err(Clone::clone)
    }

    /// Returns how each hive was opened: what was done to one that was dirty, `None` for one that was clean.
    ///
    /// # Errors
    /// If there is no Windows.
    pub fn hives(&self) -> Answer<Vec<(String, Answer<Option<String>>)>> {
        let hives = self.windows()?.hives.iter().zip(HIVES);
        let told = |(hive, (_, name)): (&Answer<HiveFile>, _)| {
            (hives::in_config(name), hive.as_ref().map(|file| file.recovery.clone()).map_err(Clone::clone))
        };
        Ok(hives.map(told).collect())
    }

    /// Returns the control sets of the next boot and of the last one, and the one that failed, 0 if none did.
    ///
    /// # Errors
    /// If SYSTEM does not tell.
    pub fn control_sets(&self) -> Answer<(u32, u32, u32)> {
        let sets = self.windows()?.sets.clone()?;
        Ok((sets.default, sets.current, sets.failed))
    }

    /// Returns who the machine is.
    ///
    /// # Errors
    /// If the hives do not tell.
    pub fn identity(&self) -> Answer<Identity> {
        let (software, system) = (self.hive("SOFTWARE")?, self.hive("SYSTEM")?);
        let security = self.hive("SECURITY").ok().map(|file| &file.hive as &dyn Lookup);
        let sets = self.windows()?.sets.clone()?;
        identity::read(&software.hive, &system.hive, security, sets).map_err(|error| locate::as_refusal(&error))
    }

    /// Returns how far the installation has come.
    ///
    /// # Errors
    /// If the hives do not tell.
    pub fn setup_state(&self) -> Answer<SetupState> {
        let (software, system) = (self.hive("SOFTWARE")?, self.hive("SYSTEM")?);
        setup_state::read(&software.hive, &system.hive).map_err(|source| broken(&software.path, source))
    }

    /// Returns what servicing has left to do.
    ///
    /// # Errors
    /// If SOFTWARE does not tell.
    pub fn servicing(&self) -> Answer<Servicing> {
        let software = self.hive("SOFTWARE")?;
        Servicing::read(&software.hive).map_err(|source| broken(&software.path, source))
    }

    /// Returns the local accounts.
    ///
    /// # Errors
    /// If SAM does not tell.
    pub fn people(&self) -> Answer<Vec<LocalAccount>> {
        let sam = &self.hive("SAM")?.hive;
        let told = || -> Result<Vec<LocalAccount>> {
            let machine = super::sam::machine_sid(sam)?;
            let people = accounts::accounts(sam)?.into_iter().map(|account| {
                let password_bytes = accounts::password_bytes(sam, account.rid)?;
                let groups = match machine.child(account.rid) {
                    Some(sid) => groups::memberships(sam, &sid)?.into_iter().collect(),
                    None => Vec::new(),
                };
                Ok(LocalAccount { account, password_bytes, groups })
            });
            people.collect()
        };
        told().map_err(|error| locate::as_refusal(&error))
    }

    /// Returns who holds a right, such as `SeRemoteInteractiveLogonRight`.
    ///
    /// # Errors
    /// If SECURITY does not tell.
    pub fn holders(&self, right: &str) -> Answer<Vec<Sid>> {
        let holders = user_rights::holders(&self.hive("SECURITY")?.hive, right);
        Ok(holders.map_err(|error| locate::as_refusal(&error))?.into_iter().collect())
    }

    /// Returns the key as it is on the disk: with the number of the control set.
    pub fn place(&self, key: &str) -> String {
        match (self.windows().and_then(|windows| windows.sets.clone()), hives::below(key, identity::CURRENT)) {
            (Ok(sets), Some(rest)) => format!(r"HKLM\SYSTEM\{}\{rest}", sets.key(sets.default)),
            _ => key.to_owned(),
        }
    }

    /// Returns a value of the registry; `None` if there is no such key or value.
    ///
    /// # Errors
    /// Why its hive cannot be asked.
    pub fn value(&self, key: &str, name: &str) -> Answer<Option<Data>> {
        let (file, below) = self.locate(key)?;
        let failed = |source| broken(&file.path, source);
        let Some(key) = file.hive.key(&below).map_err(failed)? else { return Ok(None) };
        let Some(value) = key.value(name).map_err(failed)? else { return Ok(None) };
        let data = value.data().map_err(failed)?.into_owned();
        Ok(Some(Data { kind: ValueType(value.kind()), data }))
    }

    /// Returns the values of a key by name; none if there is no such key.
    ///
    /// # Errors
    /// Why its hive cannot be asked.
    pub fn values(&self, key: &str) -> Answer<Vec<(String, Data)>> {
        let (file, below) = self.locate(key)?;
        let failed = |source| broken(&file.path, source);
        let Some(key) = file.hive.key(&below).map_err(failed)? else { return Ok(Vec::new()) };
        let one = |value: regf::Result<regf::Value<'_>>| {
            let value = value?;
            let name = String::from_utf16_lossy(&value.name().units().collect::<Vec<_>>());
            Ok((name, Data { kind: ValueType(value.kind()), data: value.data()?.into_owned() }))
        };
        key.values().map_err(failed)?.map(one).collect::<regf::Result<_>>().map_err(failed)
    }

    /// Returns the names of a key's subkeys; `None` if there is no such key.
    ///
    /// # Errors
    /// Why its hive cannot be asked.
    pub fn subkeys(&self, key: &str) -> Answer<Option<Vec<String>>> {
        let (file, below) = self.locate(key)?;
        let failed = |source| broken(&file.path, source);
        let Some(key) = file.hive.key(&below).map_err(failed)? else { return Ok(None) };
        let name = |key: regf::Result<regf::Key<'_>>| {
            key.map(|key| String::from_utf16_lossy(&key.name().units().collect::<Vec<_>>()))
        };
        key.subkeys().map_err(failed)?.map(name).collect::<regf::Result<_>>().map(Some).map_err(failed)
    }

    /// Returns how many bytes of the Windows volume are free.
    ///
    /// # Errors
    /// If its bitmap cannot be read.
    pub fn free_bytes(&self) -> Answer<u64> {
        let volume = &self.windows()?.volume;
        volume.free_bytes().map_err(|source| unreadable("$Bitmap", source))
    }

    /// Returns the first bytes of a file of the Windows volume, at most `most`; `None` if it is not there.
    ///
    /// # Errors
    /// What is wrong with the file or the folders above it.
    pub fn head(&self, path: &str, most: u64) -> Answer<Option<Vec<u8>>> {
        let volume = &self.windows()?.volume;
        let failed = |source| unreadable(path, source);
        let Some(file) = volume.find(path).map_err(failed)?.filter(|file| !file.is_directory()) else {
            return Ok(None);
        };
        let length = usize::try_from(file.size().min(most)).unwrap_or(0);
        let mut bytes = vec![0; length];
        volume.read_at(&file, FileOffset(0), &mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// Returns whether a file or folder is there.
    ///
    /// # Errors
    /// What is wrong with the folders above it.
    pub fn is_there(&self, path: &str) -> Answer<bool> {
        Ok(self.windows()?.volume.find(path).map_err(|source| unreadable(path, source))?.is_some())
    }

    /// Returns the names in a folder; none if it is not there.
    ///
    /// # Errors
    /// What is wrong with the folder.
    pub fn names(&self, path: &str) -> Answer<Vec<String>> {
        let volume = &self.windows()?.volume;
        let failed = |source| unreadable(path, source);
        let Some(folder) = volume.find(path).map_err(failed)?.filter(|file| file.is_directory()) else {
            return Ok(Vec::new());
        };
        Ok(volume.list(&folder).map_err(failed)?.into_iter().map(|entry| entry.name).collect())
    }

    /// Returns what the EFI system partitions hold, each an answer of its own.
    ///
    /// # Errors
    /// Why the table cannot be read.
    pub fn system_partitions(&self) -> Answer<Vec<Answer<SystemPartition>>> {
        let partitions = self.survey()?.table.partitions.iter().filter(|partition| locate::is_esp(partition));
        let wanted = self.processor();
        let look = |partition| esp::look(self.device, partition, wanted).map_err(|error| locate::as_refusal(&error));
        Ok(partitions.map(look).collect())
    }

    /// Returns the processor that the file of the kernel is for; `None` if its headers do not tell.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn processor_of_kernel(&self) -> Answer<Option<Processor>> {
        Ok(self.head(KERNEL, PROGRAM_HEAD_BYTES)?.and_then(|head| Processor::of_program(&head)))
    }

    /// Returns the processor that Windows is for: that of its kernel, or where this does not tell, the one in the registry.
    fn processor(&self) -> Option<Processor> {
        let registry = || Processor::named(self.identity().ok()?.architecture.as_deref()?);
        self.processor_of_kernel().ok().flatten().or_else(registry)
    }

    /// Returns the boot configuration store that the firmware's loader reads, and where it is: partition and path;
    /// `None` if there is none.
    ///
    /// # Errors
    /// If the table does not show where it is, or the partition or the store cannot be read.
    pub fn boot_store(&self) -> Answer<Option<(String, BootStore)>> {
        let survey = self.survey()?;
        match survey.boot_mode() {
            Some(BootMode::LegacyBios) => {}
            Some(BootMode::Uefi) => return self.uefi_store(survey),
            None => {
                return Err(Refusal {
                    code: "E-BOOT-MODE-UNKNOWN",
                    reason: "the partition table does not show where the boot configuration store is".into(),
                    hint: "look at it in Windows with `bcdedit /enum all`",
                });
            }
        }
        let Some(active) = survey.table.partitions.iter().find(|partition| partition.active) else { return Ok(None) };
        let place = format!("partition {}, {BOOT_STORE}", active.number);
        let open = || -> Result<Option<HiveFile>> {
            let window = Window::open(self.device, active.start, active.length_bytes)?;
            let partition = active.number;
            let volume = Volume::open(window).map_err(|source| Error::Volume { partition, source })?;
            let unusable = |source| Error::File { path: BOOT_STORE.to_owned(), source };
            if let Some(file) = volume.find(BOOT_STORE).map_err(unusable)?.filter(|file| !file.is_directory()) {
                let mut head = [0; 4];
                let held = usize::try_from(file.size()).unwrap_or(usize::MAX).min(head.len());
                let head = head.get_mut(..held).unwrap_or_default();
                volume.read_at(&file, FileOffset(0), head).map_err(unusable)?;
                if let Some(fault) = BootStore::fault(head) {
                    return Err(Error::BootStore { path: BOOT_STORE, fault });
                }
            }
            hives::open(&volume, BOOT_STORE, Accept::default())
        };
        let Some(file) = open().map_err(|error| locate::as_refusal(&error))? else { return Ok(None) };
        let store = BootStore::read(&file.hive).map_err(|source| broken(&file.path, source))?;
        Ok(Some((place, store)))
    }

    /// Returns the store of the first EFI system partition that holds one. One that cannot be read answers for all: it
    /// may be the one that firmware takes.
    fn uefi_store(&self, survey: &Survey) -> Answer<Option<(String, BootStore)>> {
        for partition in survey.table.partitions.iter().filter(|partition| locate::is_esp(partition)) {
            match esp::store(self.device, partition) {
                Ok(Some(store)) => return Ok(Some((format!("partition {}, {}", partition.number, esp::STORE), store))),
                // A partition that was never formatted holds no store.
                Ok(None) | Err(Error::SystemPartition { source: fat::Error::NotFat, .. }) => {}
                Err(error) => return Err(locate::as_refusal(&error)),
            }
        }
        Ok(None)
    }

    fn hive(&self, name: &str) -> Answer<&HiveFile> {
        let windows = self.windows()?;
        let number = HIVES.iter().position(|(_, known)| *known == name);
        let hive = number.and_then(|number| windows.hives.get(number));
        match hive {
            Some(hive) => hive.as_ref().map_err(Clone::clone),
            None => Err(locate::as_refusal(&Error::UnknownHive { key: name.to_owned() })),
        }
    }

    /// Returns the hive that a key is in, and its path there.
    fn locate(&self, key: &str) -> Answer<(&HiveFile, String)> {
        let place = self.place(key);
        let found = HIVES.iter().find_map(|(root, name)| Some((*name, hives::below(&place, root)?)));
        let Some((name, below)) = found else {
            return Err(locate::as_refusal(&Error::UnknownHive { key: key.to_owned() }));
        };
        Ok((self.hive(name)?, below.to_owned()))
    }
}

impl<'d> Installed<'d> {
    fn open(device: &'d dyn ReadAt, survey: &Survey) -> Result<Self> {
        let surveyed = survey.windows()?;
        let partition = surveyed.partition.number;
        let window = Window::open(device, surveyed.partition.start, surveyed.partition.length_bytes)?;
        let volume = Volume::open(window).map_err(|source| Error::Volume { partition, source })?;
        let open = |(_, name): &(&str, &str)| {
            let path = hives::in_config(name);
            let opened = hives::open(&volume, &path, Accept::default());
            let file = opened.and_then(|file| file.ok_or(Error::NoHive { partition, path }));
            file.map_err(|error| locate::as_refusal(&error))
        };
        let hives: Vec<Answer<HiveFile>> = HIVES.par_iter().map(open).collect();
        let sets = match hives.get(1) {
            Some(Ok(system)) => ControlSets::read(&system.hive).map_err(|error| locate::as_refusal(&error)),
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Err(locate::as_refusal(&Error::UnknownHive { key: r"HKLM\SYSTEM".to_owned() })),
        };
        Ok(Self { partition, volume, hives, sets })
    }
}

/// Returns how many bytes the machine's hives have together, without reading them.
///
/// # Errors
/// If there is no Windows, or its volume cannot be read.
pub fn hive_bytes(device: &dyn ReadAt) -> Result<u64> {
    let survey = Survey::of(device, Depth::Volumes)?;
    let surveyed = survey.windows()?;
    let partition = surveyed.partition.number;
    let window = Window::open(device, surveyed.partition.start, surveyed.partition.length_bytes)?;
    let volume = Volume::open(window).map_err(|source| Error::Volume { partition, source })?;
    let mut bytes: u64 = 0;
    for (_, name) in HIVES {
        let path = hives::in_config(name);
        let file = volume.find(&path).map_err(|source| Error::File { path, source })?;
        bytes = bytes.saturating_add(file.map_or(0, |file| file.size().min(hives::HIVE_LIMIT_BYTES)));
    }
    Ok(bytes)
}

fn broken(path: &str, source: regf::Error) -> Refusal {
    locate::as_refusal(&Error::Hive { path: path.to_owned(), source })
}

fn unreadable(path: &str, source: coldforge_ntfs::Error) -> Refusal {
    locate::as_refusal(&Error::File { path: path.to_owned(), source })
}
