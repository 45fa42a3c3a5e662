//! The changes that components make to a machine, kept in memory: values and files as they will be. Reads go through these
//! changes first, so that a later step sees what an earlier one did.

use std::collections::BTreeMap;

use super::fault::{Fault, Flaw, Position};
use super::path;
use super::powershell::Scripts;
use super::staged::{self, Script};
use crate::formats::pattern;
use crate::policy::{Step, autostart};
use crate::windows::setting::{
    Content, Data, FolderEntry, FolderEntryKind, Readings, Setting, SettingError, SetupState, Value,
};
use coldforge_base::descriptor::Descriptor;
use coldforge_base::sid::Sid;
use coldforge_base::time::Moment;
use coldforge_base::{access, sddl};

/// The largest file that is kept as text; a larger one is kept as binary content with its digest.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// The most entries of a folder that is copied, moved or deleted as a whole.
const MAX_ENTRIES: usize = 4096;

/// The most bytes of texts and files of all components together: they are held in memory, and a loop can multiply them.
const MAX_BYTES: usize = 512 << 20;

/// A machine with the changes that will be made to it.
pub(crate) struct PendingChanges<'a> {
    machine: &'a dyn Readings,
    /// The moment of the run.
    pub(super) now: Moment,
    /// The letter of the Windows volume.
    drive: char,
    /// Whether changes are allowed; tests only read.
    may_write: bool,
    /// The policy for scripts and for what Windows runs by itself.
    choice: Scripts,
    /// What the current step writes to autostart locations: the location, and why Windows runs it.
    autostarts: Vec<String>,
    /// The current step: its name in the log, and its position in the document.
    step_name: (String, Position),
    values: Vec<(Setting, Option<Value>, Vec<String>)>,
    /// Files and folders, by their path in upper case.
    files: BTreeMap<String, PlannedFile>,
    /// The scripts that run at the first start, in order.
    scripts: Vec<Script>,
    /// The bytes of texts and files so far.
    reserved_bytes: usize,
}

/// A file or folder as it will be.
struct PlannedFile {
    path: String,
    state: FileState,
    step_name: Vec<String>,
}

#[derive(Clone, PartialEq)]
enum FileState {
    Text(String),
    Data(Content),
    Gone,
    Folder,
    NoFolder,
}

impl<'a> PendingChanges<'a> {
    pub(super) fn new(machine: &'a dyn Readings, now: Moment) -> Self {
        let root = Setting::Registry {
            key: r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion".into(),
            name: "SystemRoot".into(),
        };
        let root = machine.get(&root).ok().and_then(|found| found.value?.as_text());
        let drive = root.filter(|root| root.get(1..2) == Some(":")).and_then(|root| root.chars().next()).unwrap_or('C');
        let step_name = (String::new(), Position::default());
        Self {
            machine,
            now,
            drive,
            may_write: true,
            choice: Scripts::default(),
            autostarts: Vec::new(),
            step_name,
            values: Vec::new(),
            files: BTreeMap::new(),
            scripts: Vec::new(),
            reserved_bytes: 0,
        }
    }

    /// Returns one that refuses changes.
    pub(super) fn read_only(machine: &'a dyn Readings, now: Moment) -> Self {
        Self { may_write: false, ..Self::new(machine, now) }
    }

    /// Counts bytes that will be held in memory.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), Fault> {
        self.reserved_bytes = self.reserved_bytes.saturating_add(bytes);
        match self.reserved_bytes > MAX_BYTES {
            true => {
                let what = format!("the components make more than {} MiB of texts and files", MAX_BYTES >> 20);
                Err(self.fault(Flaw::Size, what))
            }
            false => Ok(()),
        }
    }

    /// Starts a step, with the policy for its scripts.
    pub(super) fn start_step(&mut self, step_name: String, at: Position, scripts: Scripts) {
        self.step_name = (step_name, at);
        self.choice = scripts;
        self.autostarts.clear();
    }

    /// Takes what the current step writes, or would write, to autostart locations.
    pub(super) fn autostarts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.autostarts)
    }

    /// Returns how many writes the current step has skipped so far.
    pub(super) fn skipped_writes(&self) -> usize {
        if self.choice == Scripts::Skip { self.autostarts.len() } else { 0 }
    }

    /// Applies the script policy to a write: what Windows runs by itself counts as a script. Returns whether it is written;
    /// with [`Scripts::Skip`] it is left out, as other scripts are.
    fn allows_autostart(&mut self, place: &Setting, to: &Value) -> Result<bool, Fault> {
        let Some(why) = autostart(place, Some(to)) else { return Ok(true) };
        // An unchanged value adds no autostart; one that cannot be read may.
        if self.read(place).is_ok_and(|found| found.as_ref().is_some_and(|found| is_same(found, to))) {
            return Ok(true);
        }
        let what = format!("{place}: {why}");
        if self.choice == Scripts::Fail {
            return Err(self.fault(Flaw::Autostart, what));
        }
        if !self.autostarts.contains(&what) {
            self.autostarts.push(what);
        }
        Ok(self.choice != Scripts::Skip)
    }

    /// Returns the steps of the plan that make these changes.
    pub(crate) fn into_steps(self) -> Vec<Step> {
        let values = self.values.into_iter().map(|(setting, to, rules)| Step { rules, setting, to });
        let mut steps: Vec<Step> = values.collect();
        for PlannedFile { path, state, step_name: rules } in self.files.into_values() {
            let (setting, to) = match state {
                FileState::Text(text) => (Setting::FileContent { path }, Value::Text(text)),
                FileState::Data(content) => (Setting::FileData { path }, Value::Content(content)),
                FileState::Gone => (Setting::File { path }, Value::Flag(false)),
                FileState::Folder => (Setting::Folder { path }, Value::Flag(true)),
                FileState::NoFolder => (Setting::Folder { path }, Value::Flag(false)),
            };
            steps.push(Step { rules, setting, to: Some(to) });
        }
        steps
    }

    /// Reads a setting as it will be.
    pub(super) fn get(&self, setting: &Setting) -> Result<Option<Value>, Fault> {
        let places = self.machine.places(setting);
        let place = places.first().ok_or_else(|| self.fault(Flaw::RegistryKey, format!("{setting} is nowhere")))?;
        let planned = self.values.iter().find(|(known, ..)| same(known, place));
        match planned {
            Some((_, to, _)) => Ok(to.clone()),
            None => self.read(place),
        }
    }

    /// Sets a setting, or removes it with `None`, in each of its places.
    pub(super) fn set(&mut self, setting: &Setting, to: Option<Value>) -> Result<(), Fault> {
        self.write()?;
        for place in self.machine.places(setting) {
            // A setting that cannot be read cannot be written either; reported here, the error names the step.
            self.read(&place)?;
            if let Some(to) = &to
                && !self.allows_autostart(&place, to)?
            {
                continue;
            }
            let step_name = self.step_name.0.clone();
            match self.values.iter_mut().find(|(known, ..)| same(known, &place)) {
                Some((_, known, rules)) => {
                    *known = to.clone();
                    join(rules, step_name);
                }
                None => self.values.push((place, to.clone(), vec![step_name])),
            }
        }
        Ok(())
    }

    /// Returns whether a key exists or will exist; writing a value creates the keys above it.
    pub(super) fn has_key(&self, key: &str) -> bool {
        let setting = Setting::RegistryAcl { key: key.to_owned() };
        let is_in = |known: &Setting, key: &str| match known {
            Setting::Registry { key: known, .. } => {
                let known = known.to_uppercase();
                known.strip_prefix(&key.to_uppercase()).is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
            }
            _ => false,
        };
        let places = self.machine.places(&Setting::Registry { key: key.to_owned(), name: String::new() });
        let is_planned = |place: &Setting| match place {
            Setting::Registry { key, .. } => {
                let acl = Setting::RegistryAcl { key: key.clone() };
                self.values.iter().any(|(known, to, _)| to.is_some() && is_in(known, key))
                    || self.machine.get(&acl).is_ok_and(|found| found.value.is_some())
            }
            _ => false,
        };
        places.iter().any(is_planned)
            || self.values.iter().any(|(known, to, _)| to.is_some() && is_in(known, key))
            || self.machine.get(&setting).is_ok_and(|found| found.value.is_some())
    }

    /// Converts a path of a component to a path on the volume.
    pub(super) fn path(&self, text: &str) -> Result<String, Fault> {
        path::on_volume(text, self.drive).map_err(|why| self.fault(Flaw::Path, format!("{text:?} {why}")))
    }

    /// Returns the current or pending text of a file; `None` if it does not exist.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Fault> {
        match self.files.get(&folded(path)).map(|planned| &planned.state) {
            Some(FileState::Text(text)) => Ok(Some(text.clone())),
            Some(FileState::Data(_)) => {
                Err(self.fault(Flaw::Failed, format!("`{path}` is not UTF-8 text of at most 1 MiB")))
            }
            Some(_) => Ok(None),
            None if !self.is_file(path)? => Ok(None),
            None => match self.read(&Setting::FileContent { path: path.to_owned() })? {
                Some(Value::Text(text)) => Ok(Some(text)),
                _ => Ok(None),
            },
        }
    }

    /// Returns the current or pending content of a file of any kind; `None` if it does not exist.
    pub(super) fn content(&self, path: &str) -> Result<Option<Content>, Fault> {
        match self.files.get(&folded(path)).map(|planned| &planned.state) {
            Some(FileState::Text(text)) => Ok(Some(Content::of(text.as_bytes()))),
            Some(FileState::Data(content)) => Ok(Some(content.clone())),
            Some(_) => Ok(None),
            None if !self.is_file(path)? => Ok(None),
            None => match self.read(&Setting::FileData { path: path.to_owned() })? {
                Some(Value::Content(content)) => Ok(Some(content)),
                _ => Ok(None),
            },
        }
    }

    /// Returns whether a file exists or will exist.
    pub(super) fn is_file(&self, path: &str) -> Result<bool, Fault> {
        match self.files.get(&folded(path)).map(|planned| &planned.state) {
            Some(state) => Ok(matches!(state, FileState::Text(_) | FileState::Data(_))),
            None => Ok(self.is_there(&Setting::File { path: path.to_owned() })? && !self.is_folder(path)?),
        }
    }

    /// Returns whether a folder exists or will exist.
    pub(super) fn is_folder(&self, path: &str) -> Result<bool, Fault> {
        let key = folded(path);
        match self.files.get(&key).map(|planned| &planned.state) {
            Some(state) => Ok(*state == FileState::Folder),
            None => {
                // A pending file or folder implies the folders above it.
                let head = format!(r"{key}\");
                let is_held = |(known, planned): (&String, &PlannedFile)| {
                    known.starts_with(&head)
                        && matches!(planned.state, FileState::Text(_) | FileState::Data(_) | FileState::Folder)
                };
                Ok(self.files.iter().any(is_held) || self.is_there(&Setting::Folder { path: path.to_owned() })?)
            }
        }
    }

    /// Returns the current and pending entries of a folder, by name.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<FolderEntry>, Fault> {
        let mut entries: BTreeMap<String, FolderEntry> = BTreeMap::new();
        if self.is_there(&Setting::Folder { path: folder.to_owned() })? {
            let said = |error: SettingError| self.fault(Flaw::Failed, format!("{error}: {}", error.source));
            let found = self.machine.list(folder).map_err(said)?;
            entries.extend(found.into_iter().map(|entry| (folded(&entry.name), entry)));
        }
        let head = format!(r"{}\", folded(folder));
        for (key, planned) in &self.files {
            let Some(rest) = key.strip_prefix(&head) else { continue };
            let depth = head.matches('\\').count();
            let Some(name) = planned.path.split('\\').nth(depth) else { continue };
            let kind = match (&planned.state, rest.contains('\\')) {
                (FileState::Gone | FileState::NoFolder, true) => continue,
                (FileState::Gone | FileState::NoFolder, false) => {
                    entries.remove(rest);
                    continue;
                }
                (FileState::Text(_) | FileState::Data(_), false) => FolderEntryKind::File,
                (FileState::Folder, _) | (_, true) => FolderEntryKind::Folder,
            };
            entries.entry(folded(name)).or_insert(FolderEntry { name: name.to_owned(), kind });
        }
        Ok(entries.into_values().collect())
    }

    /// Returns everything below a folder, each folder before its contents: the relative path, and whether it is a folder.
    pub(super) fn walk(&self, folder: &str) -> Result<Vec<(String, bool)>, Fault> {
        let mut found = Vec::new();
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            for FolderEntry { name, kind } in self.list(&format!("{folder}{below}"))? {
                let path = format!(r"{below}\{name}");
                if kind == FolderEntryKind::Link {
                    let what = format!("`{folder}{path}` is a link, whose target may be anywhere");
                    return Err(self.fault(Flaw::Failed, what));
                }
                if kind == FolderEntryKind::Folder {
                    open.push(path.clone());
                }
                found.push((path, kind == FolderEntryKind::Folder));
            }
            if found.len() > MAX_ENTRIES {
                return Err(self.fault(Flaw::Failed, format!("`{folder}` holds more than {MAX_ENTRIES} entries")));
            }
        }
        Ok(found)
    }

    /// Returns the files that match a path whose last part may be a pattern; a path without a pattern is returned as it is,
    /// whether or not the file exists.
    pub(super) fn matching(&self, text: &str) -> Result<Vec<String>, Fault> {
        let cut = text.rfind(['\\', '/']).map_or(0, |at| at.saturating_add(1));
        let (folder, wanted) = text.split_at_checked(cut).unwrap_or(("", text));
        if !wanted.contains('*') {
            return Ok(vec![self.path(text)?]);
        }
        let folder = self.path(folder)?;
        let wanted = folded(wanted);
        let entries = self.list(&folder)?.into_iter();
        let fit =
            entries.filter(|entry| entry.kind == FolderEntryKind::File && pattern::fits(&folded(&entry.name), &wanted));
        Ok(fit.map(|entry| format!(r"{folder}\{}", entry.name)).collect())
    }

    /// Writes a text file.
    pub(super) fn put(&mut self, path: String, text: String) -> Result<(), Fault> {
        self.room(&path)?;
        self.reserve(text.len())?;
        // A file that is not text now is not recorded as text either.
        let is_text = text.len() <= MAX_TEXT_BYTES && self.read(&Setting::FileContent { path: path.clone() }).is_ok();
        self.plan(path, if is_text { FileState::Text(text) } else { FileState::Data(Content::of(text.as_bytes())) })
    }

    /// Writes a file with this content.
    pub(super) fn put_content(&mut self, path: String, content: Content) -> Result<(), Fault> {
        let text = content.data.as_ref().filter(|data| data.len() <= MAX_TEXT_BYTES);
        match text.and_then(|data| std::str::from_utf8(data).ok()) {
            Some(text) => self.put(path, text.to_owned()),
            None => {
                self.room(&path)?;
                self.reserve(content.data.as_ref().map_or(0, |data| data.len()))?;
                self.plan(path, FileState::Data(content))
            }
        }
    }

    /// Writes a text file that belongs to coldforge itself.
    pub(super) fn put_own(&mut self, path: String, text: String, step_name: &str) {
        let planned = PlannedFile { path: path.clone(), state: FileState::Gone, step_name: Vec::new() };
        let planned = self.files.entry(folded(&path)).or_insert(planned);
        planned.state = FileState::Text(text);
        join(&mut planned.step_name, step_name.to_owned());
    }

    /// Stages a script for the first start.
    pub(super) fn stage_script(&mut self, script: Script) -> Result<(), Fault> {
        self.write()?;
        if self.machine.identity().setup == SetupState::Installed {
            let what = "this Windows has finished its setup, so nothing would run scripts staged for the first start";
            return Err(self.fault(Flaw::NeedsWindows, what));
        }
        self.scripts.push(script);
        Ok(())
    }

    /// Plans the files that run the staged scripts. `others` is the text that the run itself gives to `SetupComplete.cmd`;
    /// returns that text with the call added, if there are scripts.
    pub(crate) fn stage_all(&mut self, others: Option<String>) -> Result<Option<String>, Fault> {
        let scripts = std::mem::take(&mut self.scripts);
        let Some(first) = scripts.first() else { return Ok(None) };
        let path = staged::CALLED_BY;
        let stands = match &others {
            Some(text) => Some(text.clone()),
            None => self.text(path)?,
        };
        let text = staged::plan(self, &scripts, stands)?;
        if others.is_none() {
            self.put_own(path.to_owned(), text.clone(), &first.label);
        }
        Ok(Some(text))
    }

    /// Checks that a file can be created at a path.
    fn room(&self, path: &str) -> Result<(), Fault> {
        if self.is_folder(path)? {
            return Err(self.fault(Flaw::Failed, format!("`{path}` is a folder")));
        }
        self.above(path)
    }

    /// Deletes a file.
    pub(super) fn remove(&mut self, path: String) -> Result<(), Fault> {
        self.plan(path, FileState::Gone)
    }

    /// Creates a folder.
    pub(super) fn make_folder(&mut self, path: String) -> Result<(), Fault> {
        if self.is_file(&path)? {
            return Err(self.fault(Flaw::Failed, format!("`{path}` is a file")));
        }
        self.above(&path)?;
        match self.is_folder(&path)? {
            true => self.write(),
            false => self.plan(path, FileState::Folder),
        }
    }

    /// Deletes a folder, which must be empty unless `with_all` deletes its contents too.
    pub(super) fn remove_folder(&mut self, path: String, with_all: bool) -> Result<(), Fault> {
        let below = self.walk(&path)?;
        if !below.is_empty() && !with_all {
            return Err(self.fault(Flaw::Failed, format!("`{path}` is not empty, and `force` is not true")));
        }
        for (below, is_folder) in below.into_iter().rev() {
            let below = format!("{path}{below}");
            self.plan(below, if is_folder { FileState::NoFolder } else { FileState::Gone })?;
        }
        self.plan(path, FileState::NoFolder)
    }

    /// Returns a fault of the current step.
    pub(super) fn fault(&self, flaw: Flaw, what: impl Into<String>) -> Fault {
        Fault::new(self.step_name.1, flaw, what)
    }

    /// Checks that no parent of a path is a file or a deleted folder.
    fn above(&self, path: &str) -> Result<(), Fault> {
        let mut above = path;
        while let Some((next, _)) = above.rsplit_once('\\') {
            if self.is_file(next)? {
                return Err(self.fault(Flaw::Failed, format!("`{next}` is a file")));
            }
            if matches!(self.files.get(&folded(next)).map(|planned| &planned.state), Some(FileState::NoFolder)) {
                return Err(self.fault(Flaw::Failed, format!("`{next}` is deleted by an earlier step")));
            }
            above = next;
        }
        Ok(())
    }

    fn plan(&mut self, path: String, state: FileState) -> Result<(), Fault> {
        self.write()?;
        if !path::is_open(&path) {
            return Err(self.fault(Flaw::Path, format!("`{path}` belongs to Windows itself")));
        }
        let is_written = match &state {
            FileState::Text(text) => {
                self.allows_autostart(&Setting::FileContent { path: path.clone() }, &Value::Text(text.clone()))?
            }
            FileState::Data(content) => {
                self.allows_autostart(&Setting::FileData { path: path.clone() }, &Value::Content(content.clone()))?
            }
            FileState::Gone | FileState::Folder | FileState::NoFolder => true,
        };
        if !is_written {
            return Ok(());
        }
        if !self.files.contains_key(&folded(&path)) {
            self.may(&path, &state)?;
        }
        let step_name = self.step_name.0.clone();
        let planned = self.files.entry(folded(&path)).or_insert(PlannedFile {
            path,
            state: FileState::Gone,
            step_name: Vec::new(),
        });
        planned.state = state;
        join(&mut planned.step_name, step_name);
        Ok(())
    }

    /// Checks that SYSTEM, the account that components run as, may make a change: most files of Windows belong to
    /// TrustedInstaller.
    fn may(&self, path: &str, state: &FileState) -> Result<(), Fault> {
        const WRITE: u32 = 0x0000_0006;
        const DELETE: u32 = 0x0001_0000;
        const DELETE_BELOW: u32 = 0x0000_0040;
        const ADD_FILE: u32 = 0x0000_0002;
        const ADD_FOLDER: u32 = 0x0000_0004;
        let is_there = match state {
            FileState::Folder | FileState::NoFolder => self.is_there(&Setting::Folder { path: path.to_owned() })?,
            FileState::Text(_) | FileState::Data(_) | FileState::Gone => {
                self.is_there(&Setting::File { path: path.to_owned() })?
            }
        };
        let may = match state {
            FileState::Gone | FileState::NoFolder if !is_there => true,
            FileState::Text(_) | FileState::Data(_) | FileState::Folder if !is_there => {
                let above = || std::iter::successors(path.rsplit_once('\\'), |(above, _)| above.rsplit_once('\\'));
                let mut holder = None;
                for (above, _) in above() {
                    if self.is_there(&Setting::Folder { path: above.to_owned() })? {
                        holder = Some(above);
                        break;
                    }
                }
                let is_right_below = holder == path.rsplit_once('\\').map(|(above, _)| above);
                let is_file = *state != FileState::Folder;
                let right = if is_file && is_right_below { ADD_FILE } else { ADD_FOLDER };
                // Administrators may write to the root.
                holder.map_or(Ok(true), |holder| self.grants(holder, right))?
            }
            FileState::Folder => true,
            FileState::Text(text) => {
                let stands = self.read(&Setting::FileContent { path: path.to_owned() })?;
                stands == Some(Value::Text(text.clone())) || self.grants(path, WRITE)?
            }
            FileState::Data(content) => {
                let stands = self.read(&Setting::FileData { path: path.to_owned() })?;
                matches!(stands, Some(Value::Content(stands)) if stands.sha256 == content.sha256)
                    || self.grants(path, WRITE)?
            }
            FileState::Gone | FileState::NoFolder => {
                let above = path.rsplit_once('\\').map(|(above, _)| above);
                self.grants(path, DELETE)? || above.map_or(Ok(false), |above| self.grants(above, DELETE_BELOW))?
            }
        };
        match may {
            true => Ok(()),
            false => Err(self.fault(Flaw::Failed, format!("the permissions of `{path}` do not let SYSTEM change it"))),
        }
    }

    /// Returns whether SYSTEM has a right to an existing file or folder.
    fn grants(&self, path: &str, mask: u32) -> Result<bool, Fault> {
        let system = ["S-1-5-18", "S-1-5-32-544", "S-1-5-11", "S-1-1-0"];
        let holder: Vec<Sid> = system.iter().filter_map(|sid| sid.parse().ok()).collect();
        let unknown = || self.fault(Flaw::Failed, format!("cannot determine whether SYSTEM may change `{path}`"));
        let Some(Value::Sddl(text)) = self.read(&Setting::FileAcl { path: path.to_owned() })? else {
            return Err(unknown());
        };
        let bytes = sddl::parse(&text).map_err(|_| unknown())?;
        let descriptor = Descriptor::parse(&bytes).map_err(|_| unknown())?;
        access::allows(access::Kind::File, &descriptor, &holder, mask).ok_or_else(unknown)
    }

    fn write(&self) -> Result<(), Fault> {
        match self.may_write {
            true => Ok(()),
            false => Err(self.fault(Flaw::Failed, "a test must not change anything")),
        }
    }

    fn is_there(&self, setting: &Setting) -> Result<bool, Fault> {
        Ok(self.read(setting)? == Some(Value::Flag(true)))
    }

    fn read(&self, setting: &Setting) -> Result<Option<Value>, Fault> {
        let said = |error: SettingError| self.fault(Flaw::Failed, format!("{error}: {}", error.source));
        self.machine.get(setting).map(|found| found.value).map_err(said)
    }

    /// Returns the current or pending text of a registry value.
    pub(super) fn registry_text(&self, key: &str, name: &str) -> Option<String> {
        let setting = Setting::Registry { key: key.to_owned(), name: name.to_owned() };
        self.get(&setting).ok()??.as_data().and_then(Data::as_text)
    }

    /// Returns the letter of the Windows volume.
    pub(super) fn drive(&self) -> char {
        self.drive
    }
}

/// Returns whether two values are equal; files are compared by digest.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Content(one), Value::Content(other)) => one.sha256 == other.sha256,
        _ => one == other,
    }
}

fn join(rules: &mut Vec<String>, step_name: String) {
    if !rules.contains(&step_name) {
        rules.push(step_name);
    }
}

fn folded(path: &str) -> String {
    path.to_uppercase()
}

fn same(one: &Setting, other: &Setting) -> bool {
    match (one, other) {
        (Setting::Registry { name, .. }, Setting::Registry { name: other_name, .. }) => {
            same_key(one, other) && name.to_uppercase() == other_name.to_uppercase()
        }
        _ => one == other,
    }
}

fn same_key(one: &Setting, other: &Setting) -> bool {
    matches!((one, other), (Setting::Registry { key, .. }, Setting::Registry { key: other, .. })
        if key.to_uppercase() == other.to_uppercase())
}
