//! A Windows in an image, opened for reading only: hives are read in place, and only as far as a query needs.

use std::fmt;
use std::sync::Arc;

use super::files::{self, Files, Staged};
use super::hive_value;
use super::hives::{self, HiveName, ROOTS, ReadOnlyHive};
use super::identity::{self, ControlSets};
use super::locate::{self, WindowsVolume};
use super::policies;
use super::profiles::{self, UserHive};
use super::setting::{Data, FolderEntry, Found, Identity, Readings, Setting, SettingError};
use super::{Error, OpenOptions, Result, features};
use coldforge_base::{ReadAt, Refusal};

/// A Windows in an image, opened for reading only.
///
/// The cost does not grow with the hives: a clean hive is not loaded, and so not verified as a whole. Damage met while
/// reading a setting becomes that setting's error, and is remembered ([`ReadOnlyMachine::met_damage`]).
pub struct ReadOnlyMachine {
    hives: Vec<ReadOnlyHive>,
    /// The optional hives, or why one cannot be used.
    further: Vec<(String, std::result::Result<ReadOnlyHive, Refusal>)>,
    /// The users who have a hive, usable or not.
    users: Vec<UserHive>,
    identity: Identity,
    sets: ControlSets,
    warnings: Vec<String>,
    volume: Arc<dyn Files>,
    /// The settings that are files.
    files: Staged,
}

impl ReadOnlyMachine {
    /// Finds the one Windows on a disk and opens its hives; a dirty hive is recovered in memory, as
    /// [`super::Machine::open`] does.
    ///
    /// # Errors
    /// Every refusal that applies to the disk, the volume, or the head of a hive.
    pub fn open<D: ReadAt + 'static>(device: D, opening: OpenOptions) -> Result<Self> {
        let WindowsVolume { volume, partition, mut warnings, .. } = locate::open_windows_volume(device)?;
        let volume = Arc::new(volume);
        let look_at = |path: String| {
            let found = hives::open_read_only(&volume, &path, opening.accept)?;
            found.ok_or(Error::NoHive { partition, path })
        };
        let roots = ROOTS.iter().map(|(_, name)| look_at(hives::in_config(name)));
        let hives = roots.collect::<Result<Vec<_>>>()?;
        warnings.extend(hives.iter().filter_map(|file| file.recovery.clone()));
        let [software, system] = hives.as_slice() else {
            return Err(Error::NoHive { partition, path: hives::CONFIG.to_owned() });
        };
        let users = profiles::present(&volume, &*software.hive)?;
        let paths = policies::HIVES.iter().map(|name| hives::in_config(name));
        let further: Vec<_> = paths
            .chain(users.iter().map(|user| user.path.clone()))
            .map(|path| (path.clone(), look_at(path).map_err(|error| locate::as_refusal(&error))))
            .collect();
        let security =
            further.iter().filter_map(|(_, file)| file.as_ref().ok()).find(|file| file.path == hive_value::SECURITY);
        if security.is_none() {
            warnings.push(identity::DOMAIN_UNKNOWN.to_owned());
        }
        let sets = ControlSets::read(&*system.hive)?;
        warnings.extend(sets.warnings());
        let domain = security.map(|file| &*file.hive as _);
        let identity = identity::read(&*software.hive, &*system.hive, domain, sets)?;
        let files = Staged::open(&*volume)?;
        Ok(Self { hives, further, users, identity, sets, warnings, volume, files })
    }

    /// Returns whether any query so far met damage in a hive. Its answers must then be discarded: use a [`super::Machine`],
    /// which loads and verifies the hives.
    pub fn met_damage(&self) -> bool {
        let further = self.further.iter().filter_map(|(_, file)| file.as_ref().ok());
        self.hives.iter().chain(further).any(|file| file.hive.met_damage())
    }

    /// Returns a hive.
    fn hive(&self, holder: HiveName<'_>) -> Result<&ReadOnlyHive> {
        let path = match holder {
            HiveName::Machine(name) => hives::in_config(name),
            HiveName::User(root) => {
                let user = self.users.iter().find(|user| user.root.eq_ignore_ascii_case(root));
                user.ok_or_else(|| Error::UnknownHive { key: root.to_owned() })?.path.clone()
            }
        };
        if let Some((_, file)) = self.further.iter().find(|(known, _)| *known == path) {
            return file.as_ref().map_err(|refusal| Error::Refused(refusal.clone()));
        }
        self.hives.iter().find(|file| file.path == path).ok_or(Error::UnknownHive { key: path })
    }

    /// Returns the warnings of opening the machine, each with its code.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Readings for ReadOnlyMachine {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn places(&self, setting: &Setting) -> Vec<Setting> {
        let sam = self.hive(HiveName::Machine("SAM")).ok().map(|file| &*file.hive as _);
        let accounts = |place: &Setting| policies::places(sam, place);
        let users = |place: &Setting| profiles::places(self.users.iter(), place);
        self.sets.places(setting).iter().flat_map(accounts).flat_map(|place| users(&place)).collect()
    }

    fn get(&self, setting: &Setting) -> std::result::Result<Found, SettingError> {
        let failed = |source| SettingError { operation: "read", setting: setting.clone(), source: Box::new(source) };
        if let Some(found) = self.files.get(&*self.volume, setting).map_err(failed)? {
            return Ok(found);
        }
        if let Setting::Feature { name } = setting {
            let [software, system] = [hives::SOFTWARE, hives::SYSTEM].map(|index| &*self.hives[index].hive);
            let query = features::FeatureQuery {
                software,
                system,
                control_set: self.sets.key(self.sets.default),
                build: self.identity.build,
            };
            return features::read(name, &query, &*self.volume).map_err(failed);
        }
        hives::get(setting, |holder| {
            let file = self.hive(holder)?;
            Ok((&file.path, &*file.hive))
        })
    }

    fn list(&self, folder: &str) -> std::result::Result<Vec<FolderEntry>, SettingError> {
        files::entries(&*self.volume, folder)
    }

    fn subkeys(&self, key: &str) -> std::result::Result<Vec<String>, SettingError> {
        hives::subkeys(key, |holder| self.hive(holder).map(|file| (&*file.path, &*file.hive as _)))
    }

    fn values(&self, key: &str) -> std::result::Result<Vec<(String, Data)>, SettingError> {
        hives::values(key, |holder| self.hive(holder).map(|file| (&*file.path, &*file.hive as _)))
    }
}

impl fmt::Debug for ReadOnlyMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyMachine")
            .field("identity", &self.identity)
            .field("sets", &self.sets)
            .finish_non_exhaustive()
    }
}
