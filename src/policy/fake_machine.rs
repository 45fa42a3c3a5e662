//! A fake machine for tests: its settings are a map.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::windows::setting::{
    Change, Data, FolderEntry, Found, Identity, Readings, Role, Setting, SettingError, Settings, SetupState, Value,
};
use coldforge_base::{CellOffset, Failure};

const CURRENT: &str = "HKLM\\SYSTEM\\CurrentControlSet\\";

pub(super) struct FakeMachine {
    pub identity: Identity,
    /// The control sets that matter.
    pub control_sets: Vec<u32>,
    pub values: BTreeMap<(String, String), Value>,
    /// Upper-case keys that cannot be read or changed.
    pub damaged: BTreeSet<String>,
}

/// Returns a joined member server with a desktop.
pub(super) fn member_server() -> Identity {
    Identity {
        product: "Windows Server 2022 Datacenter".into(),
        edition: "ServerDatacenter".into(),
        build: 20348,
        ubr: Some(587),
        release: Some("21H2".into()),
        architecture: Some("AMD64".into()),
        installation_type: "Server".into(),
        role: Role::MemberServer,
        domain_joined: Some(true),
        domain: Some("EXAMPLE".into()),
        computer_name: None,
        machine_sid: None,
        domain_sid: None,
        control_set: 1,
        setup: SetupState::Installed,
    }
}

pub(super) fn domain_controller() -> Identity {
    Identity { role: Role::DomainController, ..member_server() }
}

pub(super) fn setting(key: &str, name: &str) -> Setting {
    Setting::Registry { key: key.into(), name: name.into() }
}

impl FakeMachine {
    pub fn new(identity: Identity) -> Self {
        Self { identity, control_sets: vec![1], values: BTreeMap::new(), damaged: BTreeSet::new() }
    }

    /// Stores a value in every place of a setting, or removes it.
    pub fn put(&mut self, setting: &Setting, value: Option<Value>) {
        for place in self.places(setting) {
            match &value {
                Some(value) => self.values.insert(folded(&place), value.clone()),
                None => self.values.remove(&folded(&place)),
            };
        }
    }

    fn reach(&self, operation: &'static str, setting: &Setting) -> Result<(String, String), SettingError> {
        let at = folded(setting);
        if self.damaged.contains(&at.0) {
            return Err(SettingError { operation, setting: setting.clone(), source: Box::new(Damaged) });
        }
        Ok(at)
    }
}

impl Readings for FakeMachine {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn places(&self, setting: &Setting) -> Vec<Setting> {
        let Setting::Registry { key, name } = setting else { return vec![setting.clone()] };
        match key.strip_prefix(CURRENT) {
            Some(rest) => self
                .control_sets
                .iter()
                .map(|set| Setting::Registry {
                    key: format!("HKLM\\SYSTEM\\ControlSet{set:03}\\{rest}"),
                    name: name.clone(),
                })
                .collect(),
            None => vec![setting.clone()],
        }
    }

    fn get(&self, setting: &Setting) -> Result<Found, SettingError> {
        let value = self.values.get(&self.reach("read", setting)?).cloned();
        let cell = value.is_some().then_some(CellOffset(0x1020));
        Ok(Found { value, file: "Windows/System32/config/PAPER".into(), cell })
    }

    fn list(&self, _: &str) -> Result<Vec<FolderEntry>, SettingError> {
        Ok(Vec::new())
    }

    fn subkeys(&self, key: &str) -> Result<Vec<String>, SettingError> {
        let head = format!("{}\\", key.to_uppercase());
        let below = self.values.keys().filter_map(|(key, _)| key.strip_prefix(&head)?.split('\\').next());
        Ok(below.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn values(&self, key: &str) -> Result<Vec<(String, Data)>, SettingError> {
        let of_key = self.values.iter().filter(|((known, _), _)| known.eq_ignore_ascii_case(key));
        Ok(of_key.filter_map(|((_, name), value)| Some((name.clone(), value.as_data()?.clone()))).collect())
    }
}

impl Settings for FakeMachine {
    fn set(&mut self, setting: &Setting, to: Option<&Value>) -> Result<Option<Change>, SettingError> {
        let at = self.reach("change", setting)?;
        let before = self.values.get(&at).cloned();
        if before.as_ref() == to {
            return Ok(None);
        }
        match to {
            Some(value) => self.values.insert(at, value.clone()),
            None => self.values.remove(&at),
        };
        Ok(Some(Change {
            setting: setting.clone(),
            before,
            after: to.cloned(),
            file: "Windows/System32/config/PAPER".into(),
            cell: None,
            touched: Vec::new(),
        }))
    }
}

fn folded(setting: &Setting) -> (String, String) {
    match setting {
        Setting::Registry { key, name } => (key.to_uppercase(), name.to_uppercase()),
        other => (other.to_string().to_uppercase(), String::new()),
    }
}

#[derive(Debug, Failure)]
#[failure(corrupt, "E-FAKE")]
struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cell at 0x1020 is damaged")
    }
}

impl std::error::Error for Damaged {}
