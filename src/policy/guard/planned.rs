//! A machine as a plan would leave it: what the plan writes stands before what the machine holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::plan::step::{Step, folded};
use crate::windows::setting::{
    Data, FolderEntry, Found, Identity, PolicyScope, Readings, Setting, SettingError, Value,
};

/// A machine with the steps of a plan taken.
pub(in crate::policy) struct Planned<'a> {
    machine: &'a dyn Readings,
    /// By the one spelling of each setting; `None` for one that is removed.
    written: BTreeMap<Setting, Option<&'a Value>>,
}

impl<'a> Planned<'a> {
    pub(in crate::policy) fn new(machine: &'a dyn Readings, steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let mut planned = Self { machine, written: BTreeMap::new() };
        steps.into_iter().for_each(|step| planned.take(step));
        planned
    }

    /// Returns the machine as it is before the plan.
    pub(super) fn before(&self) -> &'a dyn Readings {
        self.machine
    }

    /// Takes a step.
    pub(super) fn take(&mut self, step: &'a Step) {
        for setting in effective(&step.setting, self.machine) {
            let to = step.to.as_ref().filter(|value| **value != Value::Deletion);
            self.written.insert(folded(&setting), to);
        }
    }

    /// Takes a step back.
    pub(super) fn take_back(&mut self, step: &Step) {
        for setting in effective(&step.setting, self.machine) {
            self.written.remove(&folded(&setting));
        }
    }

    /// Returns the value of a registry setting, or `None` if it is absent or cannot be read.
    pub(super) fn value(&self, key: &str, name: &str) -> Option<Value> {
        let setting = Setting::Registry { key: key.to_owned(), name: name.to_owned() };
        let place = self.machine.places(&setting).into_iter().next()?;
        self.get(&place).ok()?.value
    }

    /// Returns the number of a REG_DWORD.
    pub(in crate::policy) fn dword(&self, key: &str, name: &str) -> Option<u32> {
        self.value(key, name)?.as_dword()
    }

    /// Returns the values of a key that may lie in the current control set.
    pub(super) fn values_of(&self, key: &str) -> Vec<(String, Data)> {
        let setting = Setting::Registry { key: key.to_owned(), name: String::new() };
        match self.machine.places(&setting).into_iter().next() {
            Some(Setting::Registry { key, .. }) => self.values(&key).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

/// Returns the settings that take effect when Windows has applied one: an entry of local group policy is written to the
/// registry at the next refresh.
pub(super) fn effective(setting: &Setting, machine: &dyn Readings) -> Vec<Setting> {
    match setting {
        Setting::LocalPolicy { scope: PolicyScope::Machine, key, name } => {
            machine.places(&Setting::Registry { key: format!(r"HKLM\{key}"), name: name.clone() })
        }
        Setting::LocalPolicy { scope: PolicyScope::User, key, name } => {
            vec![Setting::Registry { key: format!(r"HKCU\{key}"), name: name.clone() }]
        }
        other => vec![other.clone()],
    }
}

impl Readings for Planned<'_> {
    fn identity(&self) -> &Identity {
        self.machine.identity()
    }

    fn places(&self, setting: &Setting) -> Vec<Setting> {
        self.machine.places(setting)
    }

    fn get(&self, setting: &Setting) -> Result<Found, SettingError> {
        match self.written.get(&folded(setting)) {
            Some(value) => Ok(Found { value: value.cloned(), file: String::new(), cell: None }),
            None => self.machine.get(setting),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<FolderEntry>, SettingError> {
        self.machine.list(folder)
    }

    fn subkeys(&self, key: &str) -> Result<Vec<String>, SettingError> {
        let mut names: BTreeSet<String> = self.machine.subkeys(key)?.into_iter().collect();
        let head = format!("{}\\", key.to_uppercase());
        for (setting, to) in &self.written {
            if let (Setting::Registry { key, .. }, Some(_)) = (setting, to)
                && let Some(name) = key.strip_prefix(&head).and_then(|below| below.split('\\').next())
                && !names.iter().any(|known| known.eq_ignore_ascii_case(name))
            {
                names.insert(name.to_owned());
            }
        }
        Ok(names.into_iter().collect())
    }

    fn values(&self, key: &str) -> Result<Vec<(String, Data)>, SettingError> {
        let mut values: BTreeMap<String, (String, Data)> =
            self.machine.values(key)?.into_iter().map(|(name, data)| (name.to_uppercase(), (name, data))).collect();
        for (setting, to) in &self.written {
            if let Setting::Registry { key: written, name } = setting
                && written.eq_ignore_ascii_case(key)
            {
                match to.and_then(Value::as_data) {
                    Some(data) => values.insert(name.to_uppercase(), (name.clone(), data.clone())),
                    None => values.remove(&name.to_uppercase()),
                };
            }
        }
        Ok(values.into_values().collect())
    }
}
