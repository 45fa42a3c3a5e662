//! The machine in an image: opens its hives, reads and changes its settings, and writes the changes back.
//!
//! Nothing is written before [`Machine::commit`]; what commit writes goes to the device the machine was opened on,
//! which for a hardening run is a copy-on-write overlay.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::certificates::{self, Certificate};
use super::commit::{self, FileChange, VolumeCheck};
use super::files::{self, Staged};
use super::hive_value::{self, ValueWrite};
use super::hives::{self, HiveFile, HiveName, ROOTS};
use super::identity::{self, ControlSets};
use super::locate::{self, BootMode, WindowsVolume};
use super::policies;
use super::profiles::{self, UserHive};
use super::setting::{
    Change, Data, FolderEntry, Found, Identity, Readings, Setting, SettingError, Settings, Value, ValueType,
};
use super::{Error, Result, acl, features};
use coldforge_base::time::FileTime;
use coldforge_base::{Extent, FileOffset, ReadAt, Refusal, WriteAt};
use coldforge_disk::Window;
use coldforge_ntfs::Volume;
use coldforge_ntfs::verify::Report;
use coldforge_regf::{self as regf, Accept, Edit, Hive};

/// How a machine is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// The time that changed keys will carry.
    pub now: FileTime,
    /// What is taken of a damaged hive, instead of refusing it.
    pub accept: Accept,
    /// How much of the volume is verified before and after an edit.
    pub check: VolumeCheck,
}

/// A Windows in an image.
#[derive(Debug)]
pub struct Machine<D> {
    volume: Volume<Window<D>>,
    partition: u32,
    hives: Vec<HiveFile>,
    /// The hives that a machine can do without, and that cannot be used in this one.
    absent: Vec<(String, Refusal)>,
    /// The users who have a hive, usable or not.
    users: Vec<UserHive>,
    identity: Identity,
    sets: ControlSets,
    boot_mode: Option<BootMode>,
    warnings: Vec<String>,
    now: FileTime,
    /// What the verifier found on the volume before any edit.
    report: Option<Report>,
    check: VolumeCheck,
    /// The settings that are files.
    files: Staged,
}

impl<D: ReadAt> Machine<D> {
    /// Finds the one Windows on a disk, opens its hives, recovered from their logs where they are dirty, and runs the
    /// strict verifiers over each of them and over the volume, in parallel: what cannot be trusted to be written cannot be trusted to be read.
    ///
    /// # Errors
    /// Every refusal that applies to the disk, the volume or a hive; nothing was written. One that applies to SAM, to
    /// SECURITY or to the hive of a user becomes the error of the settings that are there.
    pub fn open(device: D, opening: OpenOptions) -> Result<Self> {
        let WindowsVolume { volume, partition, boot_mode, mut warnings } = locate::open_windows_volume(device)?;
        let accept = opening.accept;
        let missing = |path: &str| Error::NoHive { partition, path: path.to_owned() };
        let open = |path: &String| hives::open(&volume, path, accept)?.ok_or_else(|| missing(path));
        let sound = |path: &String| open(path).and_then(|file| hives::verify(&file).map(|()| file));
        let config = |names: &[&str]| names.iter().map(|name| hives::in_config(name)).collect::<Vec<_>>();
        let (roots, further) = (config(&ROOTS.map(|(_, name)| name)), config(&policies::HIVES));
        let (opened, more) = rayon::join(
            || roots.par_iter().map(open).collect::<Result<Vec<_>>>(),
            || further.par_iter().map(sound).collect::<Vec<_>>(),
        );
        let mut opened = opened?;
        let users = match opened.first() {
            Some(software) => profiles::present(&volume, &software.hive)?,
            None => Vec::new(),
        };
        let paths: Vec<String> = users.iter().map(|user| user.path.clone()).collect();
        let theirs: Vec<_> = paths.par_iter().map(sound).collect();
        let mut absent = Vec::new();
        for (path, answer) in further.into_iter().chain(paths).zip(more.into_iter().chain(theirs)) {
            match answer {
                Ok(file) => opened.push(file),
                Err(error) => absent.push((path, locate::as_refusal(&error))),
            }
        }
        let (sound, report) = rayon::join(
            || opened.par_iter().take(ROOTS.len()).try_for_each(hives::verify),
            || commit::check(&volume, partition, &opened, opening.check),
        );
        let report = sound.and(report)?;
        warnings.extend(opened.iter().filter_map(|file| file.recovery.clone()));
        let security = opened.iter().find(|file| file.path == hive_value::SECURITY);
        if security.is_none() {
            warnings.push(identity::DOMAIN_UNKNOWN.to_owned());
        }
        let [software, system, ..] = opened.as_slice() else {
            return Err(Error::NoHive { partition, path: hives::CONFIG.to_owned() });
        };
        let sets = ControlSets::read(&system.hive)?;
        warnings.extend(sets.warnings());
        let identity = identity::read(&software.hive, &system.hive, security.map(|file| &file.hive as _), sets)?;
        let OpenOptions { now, check, .. } = opening;
        let files = Staged::open(&volume)?;
        Ok(Self {
            volume,
            partition,
            hives: opened,
            absent,
            users,
            identity,
            sets,
            boot_mode,
            warnings,
            now,
            report,
            check,
            files,
        })
    }

    /// Returns an opened hive, with its path.
    fn hive(&self, holder: HiveName<'_>) -> Result<(&str, &dyn regf::Lookup)> {
        let file = &self.hives[self.number_of(holder)?];
        Ok((&file.path, &file.hive))
    }

    /// Returns the number of an opened hive.
    fn number_of(&self, holder: HiveName<'_>) -> Result<usize> {
        let path = match holder {
            HiveName::Machine(name) => hives::in_config(name),
            HiveName::User(root) => {
                let user = self.users.iter().find(|user| user.root.eq_ignore_ascii_case(root));
                user.ok_or_else(|| Error::UnknownHive { key: root.to_owned() })?.path.clone()
            }
        };
        let missing = || match self.absent.iter().find(|(absent, _)| *absent == path) {
            Some((_, refusal)) => Error::Refused(refusal.clone()),
            None => Error::NoHive { partition: self.partition, path: path.clone() },
        };
        self.hives.iter().position(|file| file.path == path).ok_or_else(missing)
    }

    /// Returns the number of the partition that holds the Windows.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Returns how firmware starts the machine, or `None` where the partition table does not tell.
    pub fn boot_mode(&self) -> Option<BootMode> {
        self.boot_mode
    }

    /// Returns what its hives were damaged by and taken with all the same: what an opening that accepts nothing would
    /// have refused.
    pub fn accepted(&self) -> Accept {
        let any = |of: fn(&Accept) -> bool| self.hives.iter().any(|file| of(&file.accepted));
        Accept { dirty: any(|one| one.dirty), refcounts: any(|one| one.refcounts) }
    }

    /// Returns where the Windows volume is on the disk, and its length.
    pub fn volume_extent(&self) -> Extent {
        let window = self.volume.device();
        Extent::new(window.start().0, window.len())
    }

    /// Reads a file of the Windows volume that is no larger than a hive can be; `None` if there is no such file.
    ///
    /// # Errors
    /// Errors of the volume.
    pub fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(hives::read(&self.volume, path)?.map(|(_, bytes)| bytes))
    }

    /// Returns what was noticed and did not stop the machine from being opened, each with its code.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the device, with everything that was committed.
    pub fn into_device(self) -> D {
        self.volume.into_device().into_inner()
    }

    /// Seals and verifies every hive that was edited or recovered, in parallel, and writes what changed to the device,
    /// a hive that became longer to new clusters. The logs of such a hive are zeroed: an old entry in them must never be
    /// replayed over the edit. Then the volume is verified again.
    ///
    /// # Errors
    /// [`Error::HiveCorrupt`] if an edited hive fails its verifier: nothing was written then. [`Error::VolumeWorse`] if
    /// the volume has a finding that it had not when it was opened. Errors of the volume.
    pub fn commit(&mut self) -> Result<Vec<FileChange>>
    where
        D: WriteAt,
    {
        let before = (self.report.as_ref(), self.check);
        commit::commit(&mut self.volume, self.partition, &mut self.hives, Some(&mut self.files), self.now, before)
    }

    /// Returns the bytes of the disk that hold the bytes of a file that a change touched.
    ///
    /// # Errors
    /// Errors of the volume.
    pub fn extents(&self, change: &Change) -> Result<Vec<Extent>> {
        let Some(file) = self.hives.iter().find(|file| file.path == change.file) else { return Ok(Vec::new()) };
        let failed = |source| Error::File { path: file.path.clone(), source };
        let mut extents = Vec::new();
        for range in &change.touched {
            extents.extend(self.volume.extents(&file.file, FileOffset(range.offset), range.length).map_err(failed)?);
        }
        Ok(commit::on_disk(&self.volume, extents))
    }
}

/// The answer to a request for a change.
type Answer = std::result::Result<Option<Change>, SettingError>;

impl<D: ReadAt> Readings for Machine<D> {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn places(&self, setting: &Setting) -> Vec<Setting> {
        let sam = self.number_of(HiveName::Machine("SAM")).ok().map(|number| &self.hives[number].hive as _);
        let accounts = |place: &Setting| policies::places(sam, place);
        let users = |place: &Setting| profiles::places(self.users.iter(), place);
        self.sets.places(setting).iter().flat_map(accounts).flat_map(|place| users(&place)).collect()
    }

    fn get(&self, setting: &Setting) -> std::result::Result<Found, SettingError> {
        let failed = |source| SettingError { operation: "read", setting: setting.clone(), source: Box::new(source) };
        if let Some(found) = self.files.get(&self.volume, setting).map_err(failed)? {
            return Ok(found);
        }
        if let Setting::Feature { name } = setting {
            let [software, system] = [hives::SOFTWARE, hives::SYSTEM].map(|index| &self.hives[index].hive);
            let query = features::FeatureQuery {
                software,
                system,
                control_set: self.sets.key(self.sets.default),
                build: self.identity.build,
            };
            return features::read(name, &query, &self.volume).map_err(failed);
        }
        hives::get(setting, |holder| self.hive(holder))
    }

    fn list(&self, folder: &str) -> std::result::Result<Vec<FolderEntry>, SettingError> {
        files::entries(&self.volume, folder)
    }

    fn subkeys(&self, key: &str) -> std::result::Result<Vec<String>, SettingError> {
        hives::subkeys(key, |holder| self.hive(holder))
    }

    fn values(&self, key: &str) -> std::result::Result<Vec<(String, Data)>, SettingError> {
        hives::values(key, |holder| self.hive(holder))
    }
}

impl<D: WriteAt> Settings for Machine<D> {
    fn set(&mut self, setting: &Setting, to: Option<&Value>) -> Answer {
        let staged = self.files.set(&self.volume, setting, to).map_err(|source| unchanged(setting, source))?;
        if let Some(answer) = staged {
            return Ok(answer);
        }
        let now = self.now;
        let number = hives::holder(setting).and_then(|holder| self.number_of(holder));
        let set = number.and_then(|number| set(&mut self.hives[number], setting, to, now));
        set.map_err(|source| unchanged(setting, source))
    }

    /// Works on the hives in parallel, on each in the order asked.
    fn set_all(&mut self, steps: &[(Setting, Option<Value>)]) -> Vec<Answer> {
        let mut answers: BTreeMap<usize, Answer> = BTreeMap::new();
        let mut work: Vec<Vec<usize>> = vec![Vec::new(); self.hives.len()];
        for (number, (setting, to)) in steps.iter().enumerate() {
            match self.files.set(&self.volume, setting, to.as_ref()) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    answers.insert(number, Ok(answer));
                    continue;
                }
                Err(source) => {
                    answers.insert(number, Err(unchanged(setting, source)));
                    continue;
                }
            }
            match hives::holder(setting).and_then(|holder| self.number_of(holder)) {
                Ok(index) => work[index].push(number),
                Err(source) => {
                    answers.insert(number, Err(unchanged(setting, source)));
                }
            }
        }
        let now = self.now;
        let done: Vec<(usize, Answer)> = self
            .hives
            .par_iter_mut()
            .zip(work)
            .flat_map_iter(|(file, work)| set_many(file, work, steps, now))
            .collect();
        answers.extend(done);
        answers.into_values().collect()
    }
}

fn unchanged(setting: &Setting, source: Error) -> SettingError {
    SettingError { operation: "change", setting: setting.clone(), source: Box::new(source) }
}

/// Takes those steps of many that one hive holds: the fields of the account policy together, because some are bounded by
/// others, and each other step by itself.
fn set_many(
    file: &mut HiveFile,
    work: Vec<usize>,
    steps: &[(Setting, Option<Value>)],
    now: FileTime,
) -> Vec<(usize, Answer)> {
    let (fields, others): (Vec<usize>, Vec<usize>) =
        work.into_iter().partition(|number| policies::as_field(&steps[*number]).is_some());
    let numbers: Vec<_> = fields.iter().filter_map(|number| policies::as_field(&steps[*number])).collect();
    let run = |number: usize| {
        let (setting, to) = &steps[number];
        let answer = set(file, setting, to.as_ref(), now);
        (number, answer.map_err(|source| unchanged(setting, source)))
    };
    let mut answers: Vec<(usize, Answer)> = others.into_iter().map(run).collect();
    for (number, answer) in fields.into_iter().zip(policies::set_fields(&mut file.hive, &numbers, now)) {
        let (setting, to) = &steps[number];
        let answer = answer.map(|written| change(file, setting, to.as_ref(), written));
        answers.push((number, answer.map_err(|source| unchanged(setting, source))));
    }
    answers
}

/// Sets or removes one setting of one hive.
fn set(file: &mut HiveFile, setting: &Setting, to: Option<&Value>, now: FileTime) -> Result<Option<Change>> {
    let (mut told, mut left) = (None, to.cloned());
    let edit = match (setting, to) {
        (Setting::Registry { key, name }, to) => set_value(file, hives::locate(key)?.1, name, to, now)?,
        (Setting::RegistryAcl { key }, Some(Value::Sddl(text))) => {
            let (before, edit) = acl::write_key(&mut file.hive, &file.path, hives::locate(key)?.1, text, now)?;
            told = Some(before);
            // The text may name a part only; the report shows the whole descriptor as it is read.
            left = acl::read_key(&file.hive, &file.path, hives::locate(key)?.1)?.0;
            Some(edit)
        }
        (Setting::Certificate { store, thumbprint }, Some(Value::Certificate(der))) => {
            let certificate = Certificate::parse(der)?;
            let actual = certificate.thumbprint();
            if !actual.eq_ignore_ascii_case(thumbprint) {
                return Err(certificates::Error::Other { expected: thumbprint.clone(), actual }.into());
            }
            Some(certificates::install(&mut file.hive, store, &certificate, now)?)
        }
        (Setting::Certificate { store, thumbprint }, None) => {
            let found = certificates::find(&file.hive, store, thumbprint)?;
            told = found.map(|found| Value::Certificate(found.blob.certificate().to_vec()));
            certificates::remove(&mut file.hive, store, thumbprint, now)?
        }
        (Setting::RegistryAcl { .. } | Setting::Certificate { .. }, Some(other)) => {
            return Err(Error::TypeMismatch { form: other.form() });
        }
        _ => {
            let written = policies::set(&mut file.hive, setting, to, now)?;
            return Ok(change(file, setting, to, written));
        }
    };
    Ok(edit.filter(|edit| !edit.touched.is_empty()).map(|edit| Change {
        setting: setting.clone(),
        before: match setting {
            Setting::Registry { .. } => edit.before.map(|(kind, data)| Value::data(ValueType(kind), data)),
            _ => told,
        },
        after: left,
        file: file.path.clone(),
        cell: Some(edit.cell),
        touched: edit.touched,
    }))
}

/// Returns what a write of a setting changed; `None` if nothing changes.
fn change(file: &HiveFile, setting: &Setting, to: Option<&Value>, written: ValueWrite<Value>) -> Option<Change> {
    let ValueWrite { before, cell, touched } = written;
    let (setting, file, after) = (setting.clone(), file.path.clone(), to.cloned());
    (!touched.is_empty()).then_some(Change { setting, before, after, file, cell, touched })
}

/// Sets or removes one value of one hive.
fn set_value(file: &mut HiveFile, key: &str, name: &str, to: Option<&Value>, now: FileTime) -> Result<Option<Edit>> {
    let edit = match to {
        Some(Value::Data(value)) => {
            let set = |hive: &mut Hive| hive.set_value(key, name, value.kind.0, &value.data, now);
            file.hive.growing(set).map(Some)
        }
        Some(other) => return Err(Error::TypeMismatch { form: other.form() }),
        None => file.hive.growing(|hive| hive.delete_value(key, name, now)),
    };
    edit.map_err(|source| Error::Hive { path: file.path.clone(), source })
}
