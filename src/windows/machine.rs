//! The machine in an image: its hives opened, its settings read and changed, its changes written back.
//!
//! Nothing is written before [`Machine::commit`]; what commit writes goes to the device the machine was opened on,
//! which for a hardening run is a copy-on-write overlay.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::commit::{self, FileChange, VolumeCheck};
use super::hives::{self, HiveFile, ROOTS};
use super::identity::{self, ControlSets};
use super::locate::{self, BootMode, Entered};
use super::setting::{Change, Found, Identity, Readings, Setting, SettingError, Settings, Value, ValueType};
use super::{Error, Result};
use crate::base::time::FileTime;
use crate::base::{Extent, FileOffset};
use crate::disk::{BlockDevice, Window};
use crate::ntfs::Volume;
use crate::ntfs::verify::Report;
use crate::regf::{Edit, Hive};

/// How a machine is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// The time that changed keys will carry.
    pub now: FileTime,
    /// Whether a dirty hive without a usable log is taken as it lies there, instead of being refused.
    pub accept_dirty_hive: bool,
    /// How much of the volume is verified before and after an edit.
    pub check: VolumeCheck,
}

/// A Windows in an image.
#[derive(Debug)]
pub struct Machine<D> {
    volume: Volume<Window<D>>,
    partition: u32,
    hives: Vec<HiveFile>,
    identity: Identity,
    sets: ControlSets,
    boot_mode: Option<BootMode>,
    warnings: Vec<String>,
    now: FileTime,
    /// What the verifier found on the volume before any edit.
    report: Option<Report>,
    check: VolumeCheck,
}

impl<D: BlockDevice> Machine<D> {
    /// Finds the one Windows on a disk, opens its hives, recovered from their logs where they are dirty, and runs the
    /// strict verifiers over each of them and over the volume, in parallel: what cannot be trusted to be written cannot be trusted to be read.
    ///
    /// # Errors
    /// Every refusal that applies to the disk, the volume or a hive; nothing was written.
    pub fn open(device: D, opening: Opening) -> Result<Self> {
        let Entered { volume, partition, boot_mode, mut warnings } = locate::enter(device)?;
        let accept = opening.accept_dirty_hive;
        let (opened, security) = rayon::join(
            || {
                let open = |(_, name): &(&str, &str)| {
                    let path = || format!(r"{}\{name}", hives::CONFIG);
                    hives::open(&volume, name, accept)?.ok_or_else(|| Error::NoHive { partition, path: path() })
                };
                ROOTS.par_iter().map(open).collect::<Result<Vec<_>>>()
            },
            || hives::open(&volume, "SECURITY", accept),
        );
        let opened = opened?;
        let (sound, report) = rayon::join(
            || opened.par_iter().try_for_each(hives::verify),
            || commit::check(&volume, partition, &opened, opening.check),
        );
        let report = sound.and(report)?;
        warnings.extend(opened.iter().filter_map(|file| file.recovery.clone()));
        let security = match security {
            Ok(Some(file)) => Some(file.hive),
            _ => {
                warnings.push(identity::DOMAIN_UNKNOWN.to_owned());
                None
            }
        };
        let [software, system] = opened.as_slice() else {
            return Err(Error::NoHive { partition, path: hives::CONFIG.to_owned() });
        };
        let sets = ControlSets::read(&system.hive)?;
        warnings.extend(sets.warnings());
        let identity = identity::read(&software.hive, &system.hive, security.as_ref().map(|hive| hive as _), sets)?;
        let Opening { now, check, .. } = opening;
        Ok(Self { volume, partition, hives: opened, identity, sets, boot_mode, warnings, now, report, check })
    }

    /// Returns the number of the partition that holds the Windows.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Returns how firmware starts the machine, or `None` where the partition table does not tell.
    pub fn boot_mode(&self) -> Option<BootMode> {
        self.boot_mode
    }

    /// Returns where the Windows volume lies on the disk, and its length.
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
    pub fn commit(&mut self) -> Result<Vec<FileChange>> {
        let before = (self.report.as_ref(), self.check);
        commit::commit(&mut self.volume, self.partition, &mut self.hives, self.now, before)
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

impl<D: BlockDevice> Readings for Machine<D> {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn places(&self, setting: &Setting) -> Vec<Setting> {
        self.sets.places(setting)
    }

    fn get(&self, setting: &Setting) -> std::result::Result<Found, SettingError> {
        hives::get(setting, |index| (&self.hives[index].path, &self.hives[index].hive))
    }
}

impl<D: BlockDevice> Settings for Machine<D> {
    fn set(&mut self, setting: &Setting, to: Option<&Value>) -> Answer {
        let now = self.now;
        let set = hives::holder(setting).and_then(|index| set(&mut self.hives[index], setting, to, now));
        set.map_err(|source| unchanged(setting, source))
    }

    /// Works on the hives in parallel, on each in the order asked.
    fn set_all(&mut self, steps: &[(Setting, Option<Value>)]) -> Vec<Answer> {
        let mut answers: BTreeMap<usize, Answer> = BTreeMap::new();
        let mut work: Vec<Vec<usize>> = vec![Vec::new(); self.hives.len()];
        for (number, (setting, _)) in steps.iter().enumerate() {
            match hives::holder(setting) {
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
            .flat_map_iter(|(file, work)| {
                let run = |number| {
                    let (setting, to): &(Setting, Option<Value>) = &steps[number];
                    let answer = set(file, setting, to.as_ref(), now);
                    (number, answer.map_err(|source| unchanged(setting, source)))
                };
                work.into_iter().map(run).collect::<Vec<_>>()
            })
            .collect();
        answers.extend(done);
        answers.into_values().collect()
    }
}

fn unchanged(setting: &Setting, source: Error) -> SettingError {
    SettingError { deed: "change", setting: setting.clone(), source: Box::new(source) }
}

/// Sets or removes one setting of one hive.
fn set(file: &mut HiveFile, setting: &Setting, to: Option<&Value>, now: FileTime) -> Result<Option<Change>> {
    let edit = match setting {
        Setting::Registry { key, name } => set_value(file, hives::locate(key)?.1, name, to, now)?,
        _ => return Err(Error::NoPlace { setting: setting.clone() }),
    };
    Ok(edit.filter(|edit| !edit.touched.is_empty()).map(|edit| Change {
        setting: setting.clone(),
        before: edit.before.map(|(kind, data)| Value::data(ValueType(kind), data)),
        after: to.cloned(),
        file: file.path.clone(),
        cell: Some(edit.cell),
        touched: edit.touched,
    }))
}

/// Sets or removes one value of one hive.
fn set_value(file: &mut HiveFile, key: &str, name: &str, to: Option<&Value>, now: FileTime) -> Result<Option<Edit>> {
    let edit = match to {
        Some(Value::Data(value)) => {
            let set = |hive: &mut Hive| hive.set_value(key, name, value.kind.0, &value.data, now);
            file.hive.growing(set).map(Some)
        }
        Some(other) => return Err(Error::Misfit { form: other.form() }),
        None => file.hive.growing(|hive| hive.delete_value(key, name, now)),
    };
    edit.map_err(|source| Error::Hive { path: file.path.clone(), source })
}
