//! A Windows in an image that is only looked at: its hives are read where they lie, and only what is asked for.

use std::fmt;
use std::sync::Arc;

use super::files::{Files, Staged};
use super::hives::{self, CONFIG, Glimpse, ROOTS};
use super::identity::{self, ControlSets};
use super::locate::{self, Entered};
use super::setting::{Found, Identity, Readings, Setting, SettingError};
use super::{Error, Opening, Result, features};
use crate::disk::BlockDevice;

/// A Windows in an image that is only looked at.
///
/// What it costs does not grow with the hives: a clean hive is not loaded, and so not verified as a whole. What damage
/// stands in the way of a setting becomes that setting's error, and is remembered ([`View::met_damage`]).
pub struct View {
    hives: Vec<Glimpse>,
    security: Option<Glimpse>,
    identity: Identity,
    sets: ControlSets,
    warnings: Vec<String>,
    volume: Arc<dyn Files>,
    /// The settings that are files.
    files: Staged,
}

impl View {
    /// Finds the one Windows on a disk and looks into its hives; one that is dirty is recovered in memory, as
    /// [`super::Machine::open`] does.
    ///
    /// # Errors
    /// Every refusal that applies to the disk, the volume, or the head of a hive.
    pub fn open<D: BlockDevice + 'static>(device: D, opening: Opening) -> Result<Self> {
        let Entered { volume, partition, mut warnings, .. } = locate::enter(device)?;
        let volume = Arc::new(volume);
        let look = |name: &str| hives::look_into(&volume, name, opening.accept_dirty_hive);
        let look_at = |(_, name): &(&str, &str)| {
            let path = || format!(r"{CONFIG}\{name}");
            look(name)?.ok_or_else(|| Error::NoHive { partition, path: path() })
        };
        let hives = ROOTS.iter().map(look_at).collect::<Result<Vec<_>>>()?;
        warnings.extend(hives.iter().filter_map(|file| file.recovery.clone()));
        let security = look("SECURITY").ok().flatten();
        if security.is_none() {
            warnings.push(identity::DOMAIN_UNKNOWN.to_owned());
        }
        let [software, system] = hives.as_slice() else {
            return Err(Error::NoHive { partition, path: CONFIG.to_owned() });
        };
        let sets = ControlSets::read(&*system.hive)?;
        warnings.extend(sets.warnings());
        let domain = security.as_ref().map(|file| &*file.hive as _);
        let identity = identity::read(&*software.hive, &*system.hive, domain, sets)?;
        let files = Staged::open(&*volume)?;
        Ok(Self { hives, security, identity, sets, warnings, volume, files })
    }

    /// Tells whether anything that was asked so far met damage in a hive. What was answered then does not count: a
    /// [`super::Machine`] must be asked, which loads and verifies the hives.
    pub fn met_damage(&self) -> bool {
        self.hives.iter().chain(&self.security).any(|file| file.hive.met_damage())
    }

    /// Returns what was noticed and did not stop the machine from being looked at, each with its code.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Readings for View {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn places(&self, setting: &Setting) -> Vec<Setting> {
        self.sets.places(setting)
    }

    fn get(&self, setting: &Setting) -> std::result::Result<Found, SettingError> {
        let failed = |source| SettingError { deed: "read", setting: setting.clone(), source: Box::new(source) };
        if let Some(found) = self.files.get(&*self.volume, setting).map_err(failed)? {
            return Ok(found);
        }
        if let Setting::Feature { name } = setting {
            let [software, system] = [hives::SOFTWARE, hives::SYSTEM].map(|index| &*self.hives[index].hive);
            let sought = features::Sought {
                software,
                system,
                control_set: self.sets.key(self.sets.default),
                build: self.identity.build,
            };
            return features::read(name, &sought, &*self.volume).map_err(failed);
        }
        hives::get(setting, |index| (&self.hives[index].path, &*self.hives[index].hive))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("identity", &self.identity).field("sets", &self.sets).finish_non_exhaustive()
    }
}
