//! Settings that are files of the Windows volume: local group policy, permissions, and whether a file exists.
//!
//! Setting a value writes nothing: [`Staged`] keeps the new content and descriptors, reads return them, and the commit
//! calls [`Staged::write`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::commit::{FileChange, on_disk, steps_on_disk};
use super::local_policy::{self, LocalPolicy, PolicyFile};
use super::setting::{
    Change, Content, Data, FolderEntry, FolderEntryKind, Found, Setting, SettingError, Value, ValueType,
};
use super::{Error, Result, acl, hives};
use coldforge_base::digest::Digest;
use coldforge_base::time::FileTime;
use coldforge_base::{ReadAt, WriteAt, inherit};
use coldforge_disk::Window;
use coldforge_ntfs::{self as ntfs, Changes, File, Security, Volume};

/// No file of local group policy, and no registry of one, is longer.
const MAX_POLICY_BYTES: u64 = 64 << 20;

/// No text file that is written or kept as a whole is longer.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// What can be asked of the files of a volume.
pub(super) trait Files: Send + Sync {
    /// Returns a file's content; `None` if it is not there.
    fn content(&self, path: &str) -> Result<Option<Vec<u8>>>;
    /// Returns whether a file or folder is there.
    fn is_there(&self, path: &str) -> Result<bool>;
    /// Returns whether a folder is there.
    fn is_folder(&self, path: &str) -> Result<bool>;
    /// Returns what a folder holds; `None` if it is not there.
    fn entries(&self, path: &str) -> Result<Option<Vec<FolderEntry>>>;
    /// Returns the descriptor of a file or folder; `None` if it is not there.
    fn descriptor(&self, path: &str) -> Result<Option<Vec<u8>>>;
}

impl<D: ReadAt> Files for Volume<D> {
    fn content(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let Some(file) = self.find(path).map_err(failed)? else { return Ok(None) };
        self.read(&file, MAX_POLICY_BYTES).map(Some).map_err(failed)
    }

    fn is_there(&self, path: &str) -> Result<bool> {
        Ok(self.find(path).map_err(|source| Error::File { path: path.to_owned(), source })?.is_some())
    }

    fn is_folder(&self, path: &str) -> Result<bool> {
        let found = self.find(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        Ok(found.is_some_and(|found| found.is_directory()))
    }

    fn entries(&self, path: &str) -> Result<Option<Vec<FolderEntry>>> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let rooted = if path.is_empty() { r"\" } else { path };
        let Some(folder) = self.find(rooted).map_err(failed)?.filter(File::is_directory) else { return Ok(None) };
        let entry = |entry: ntfs::Entry| -> Result<FolderEntry> {
            let file = self.file(entry.reference).map_err(failed)?;
            let kind = match (file.reparse_tag(), entry.is_directory) {
                (Some(_), _) => FolderEntryKind::Link,
                (None, true) => FolderEntryKind::Folder,
                (None, false) => FolderEntryKind::File,
            };
            Ok(FolderEntry { name: entry.name, kind })
        };
        self.list(&folder).map_err(failed)?.into_iter().map(entry).collect::<Result<_>>().map(Some)
    }

    fn descriptor(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let Some(file) = self.find(path).map_err(failed)? else { return Ok(None) };
        self.security(&file).map_err(failed)
    }
}

/// The settings of a volume's files, as they are and as they are wanted.
#[derive(Debug)]
pub(super) struct Staged {
    /// Local group policy, or why it cannot be used: that matters only when it is asked for.
    policy: std::result::Result<LocalPolicy, local_policy::Error>,
    /// The descriptors that files and folders will have, by path.
    descriptors: BTreeMap<String, Vec<u8>>,
    /// What files will hold, by path.
    contents: BTreeMap<String, Arc<[u8]>>,
    /// The files that will be deleted.
    removed: BTreeSet<String>,
    /// The folders that will exist, and those that will be deleted.
    folders: BTreeMap<String, bool>,
}

impl Staged {
    /// Reads local group policy.
    ///
    /// # Errors
    /// [`Error::File`] if the volume fails; what is wrong inside a file is kept for when it is asked for.
    pub(super) fn open(files: &dyn Files) -> Result<Self> {
        let mut contents = BTreeMap::new();
        for file in PolicyFile::ALL {
            contents.insert(file, files.content(file.path())?);
        }
        let policy = LocalPolicy::open(|file| Ok(contents.remove(&file).flatten()));
        let (descriptors, contents) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { policy, descriptors, contents, removed: BTreeSet::new(), folders: BTreeMap::new() })
    }

    /// Reads a setting; `None` if it is not a file setting.
    ///
    /// # Errors
    /// [`Error::LocalPolicy`], [`Error::File`], [`Error::Descriptor`].
    pub(super) fn get(&self, files: &dyn Files, setting: &Setting) -> Result<Option<Found>> {
        let (value, file) = match setting {
            Setting::LocalPolicy { scope, key, name } => {
                let entry = self.policy()?.value(*scope, key, name)?;
                let deletion = || self.policy().is_ok_and(|policy| policy.deletes(*scope, key, name));
                let value = match entry {
                    Some((kind, data)) => Some(Value::data(ValueType(kind), data.to_vec())),
                    None => deletion().then_some(Value::Deletion),
                };
                (value, PolicyFile::of(*scope).path())
            }
            Setting::LocalAuditPolicy { subcategory } => {
                (self.policy()?.audited(subcategory)?.map(Value::Audit), PolicyFile::Audit.path())
            }
            Setting::File { path } => {
                let is_staged = self.contents.contains_key(path);
                let is_there = !self.removed.contains(path) && (is_staged || files.is_there(path)?);
                (Some(Value::Flag(is_there)), path.as_str())
            }
            Setting::Folder { path } => {
                let staged = self.folders.get(path).copied();
                let is_there = staged.map_or_else(|| files.is_folder(path), Ok)?;
                (Some(Value::Flag(is_there)), path.as_str())
            }
            Setting::FileContent { path } => {
                let found = self.content(files, path)?.map(|content| text(path, &content)).transpose()?;
                (found.map(Value::Text), path.as_str())
            }
            Setting::FileData { path } => {
                let found = self.content(files, path)?;
                (found.map(|content| Value::Content(Content::of(content))), path.as_str())
            }
            Setting::FileAcl { path } => {
                let staged = self.descriptors.get(path).cloned();
                let found = staged.map_or_else(|| files.descriptor(path), |staged| Ok(Some(staged)))?;
                (found.map(|found| acl::text(path, &found).map(Value::Sddl)).transpose()?, path.as_str())
            }
            _ => return Ok(None),
        };
        Ok(Some(Found { value, file: rooted(file), cell: None }))
    }

    /// Stages a setting; `None` if it is not a file setting, `Some(None)` if nothing changes.
    ///
    /// # Errors
    /// As [`Staged::get`]; [`Error::TypeMismatch`] for a value of another form, [`Error::UnsupportedSetting`] for what can be read only or
    /// is not there; [`Error::Sddl`].
    pub(super) fn set(
        &mut self,
        files: &dyn Files,
        setting: &Setting,
        to: Option<&Value>,
    ) -> Result<Option<Option<Change>>> {
        let Some(Found { value: before, file, .. }) = self.get(files, setting)? else { return Ok(None) };
        let type_mismatch = |value: &Value| Error::TypeMismatch { form: value.form() };
        let mut after = to.cloned();
        let is_changed = match (setting, to) {
            (Setting::LocalPolicy { scope, key, name }, to) => {
                let to = match to {
                    Some(Value::Data(Data { kind, data })) => Some((kind.0, data.as_slice())),
                    Some(other) => return Err(type_mismatch(other)),
                    None => None,
                };
                self.policy_mut()?.set_value(*scope, key, name, to)?
            }
            (Setting::LocalAuditPolicy { subcategory }, to) => {
                let to = match to {
                    Some(Value::Audit(flags)) => Some(*flags),
                    Some(other) => return Err(type_mismatch(other)),
                    None => None,
                };
                self.policy_mut()?.set_audited(subcategory, to)?
            }
            (Setting::FileAcl { path }, Some(Value::Sddl(text))) => {
                let staged = self.descriptors.get(path).cloned();
                let current = staged.map_or_else(|| files.descriptor(path), |staged| Ok(Some(staged)))?;
                let current = current.ok_or_else(|| Error::UnsupportedSetting { setting: setting.clone() })?;
                let wanted = acl::joined(path, text, &current)?;
                let is_changed = wanted != current;
                if is_changed {
                    // The text may name a part only; the report shows the whole descriptor.
                    after = Some(Value::Sddl(acl::text(path, &wanted)?));
                    self.descriptors.insert(path.clone(), wanted);
                }
                is_changed
            }
            (Setting::FileContent { path }, Some(Value::Text(text))) => {
                let is_changed = before.as_ref() != to;
                if is_changed {
                    self.contents.insert(path.clone(), text.as_bytes().into());
                }
                is_changed
            }
            (Setting::FileData { path }, Some(Value::Content(content))) => {
                let data =
                    content.data.clone().ok_or_else(|| Error::UnsupportedSetting { setting: setting.clone() })?;
                let is_changed = before.as_ref() != to;
                if is_changed {
                    self.contents.insert(path.clone(), data);
                }
                is_changed
            }
            (Setting::File { path }, Some(Value::Flag(false))) => {
                if files.is_folder(path)? {
                    return Err(Error::UnsupportedSetting { setting: setting.clone() });
                }
                before.as_ref() != to && self.removed.insert(path.clone())
            }
            (Setting::Folder { path }, Some(Value::Flag(wanted))) => {
                let is_changed = before.as_ref() != to;
                if is_changed && *wanted && files.is_there(path)? {
                    return Err(Error::UnsupportedSetting { setting: setting.clone() });
                }
                if is_changed {
                    self.folders.insert(path.clone(), *wanted);
                }
                is_changed
            }
            (Setting::FileAcl { .. } | Setting::FileContent { .. } | Setting::FileData { .. }, Some(other)) => {
                return Err(type_mismatch(other));
            }
            _ => return Err(Error::UnsupportedSetting { setting: setting.clone() }),
        };
        Ok(Some(is_changed.then(|| Change {
            setting: setting.clone(),
            before,
            after,
            file,
            cell: None,
            touched: Vec::new(),
        })))
    }

    /// Writes what is wanted to the volume, and forgets that it was wanted.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Inheritance`] for a new file in a folder whose descriptor passes on what is not
    /// understood, [`Error::LocalPolicy`].
    pub(super) fn write<D: WriteAt>(
        &mut self,
        volume: &mut Volume<Window<D>>,
        now: FileTime,
    ) -> Result<Vec<FileChange>> {
        let mut written = Vec::new();
        let contents = match &self.policy {
            Ok(policy) => policy.staged()?,
            Err(_) => Vec::new(),
        };
        let has_policy = !contents.is_empty();
        for (file, content) in contents {
            written.push(put(volume, file.path(), &content, now)?);
        }
        let folders = std::mem::take(&mut self.folders);
        // Those above come first, since their names are shorter, and go last.
        for path in folders.iter().filter(|(_, wanted)| **wanted).map(|(path, _)| path) {
            let mut changes = Changes::default();
            folder(volume, path, now, &mut changes)?;
            written.push(told(volume, path, (0, Digest::of(&[])), (0, Digest::of(&[])), &changes));
        }
        for (path, content) in std::mem::take(&mut self.contents) {
            written.push(put(volume, &path, &content, now)?);
        }
        for path in std::mem::take(&mut self.removed) {
            written.push(take_away(volume, &path, now)?);
        }
        for path in folders.iter().rev().filter(|(_, wanted)| !**wanted).map(|(path, _)| path) {
            written.push(take_away(volume, path, now)?);
        }
        for (path, descriptor) in std::mem::take(&mut self.descriptors) {
            let failed = |source| Error::File { path: path.clone(), source };
            let Some(file) = volume.find(&path).map_err(failed)? else { continue };
            let changes = volume.set_security(&file, &descriptor, now).map_err(failed)?;
            // A folder has no content of its own.
            let content = match file.is_directory() {
                true => Vec::new(),
                false => volume.read(&file, hives::HIVE_LIMIT_BYTES).map_err(failed)?,
            };
            let digest = Digest::of(&content);
            let bytes = content.len() as u64;
            written.push(told(volume, &path, (bytes, digest), (bytes, digest), &changes));
        }
        if has_policy {
            self.policy = Self::open(volume)?.policy;
        }
        Ok(written)
    }

    /// Returns what a file holds, or will hold; `None` if it is not there.
    fn content(&self, files: &dyn Files, path: &str) -> Result<Option<Arc<[u8]>>> {
        match self.contents.get(path) {
            Some(staged) => Ok(Some(Arc::clone(staged))),
            None => Ok(files.content(path)?.map(Arc::from)),
        }
    }

    fn policy(&self) -> Result<&LocalPolicy> {
        self.policy.as_ref().map_err(|error| error.clone().into())
    }

    fn policy_mut(&mut self) -> Result<&mut LocalPolicy> {
        self.policy.as_mut().map_err(|error| error.clone().into())
    }
}

/// Returns what a folder of a volume holds.
///
/// # Errors
/// [`SettingError`] if there is no such folder, or it cannot be read.
pub(super) fn entries(files: &dyn Files, folder: &str) -> std::result::Result<Vec<FolderEntry>, SettingError> {
    let setting = Setting::Folder { path: folder.to_owned() };
    let failed = |source| SettingError { operation: "list", setting: setting.clone(), source: Box::new(source) };
    let entries = files.entries(folder).map_err(failed)?;
    entries.ok_or_else(|| failed(Error::UnsupportedSetting { setting: setting.clone() }))
}

/// Returns what a file holds as text.
fn text(path: &str, content: &[u8]) -> Result<String> {
    let text = Some(content).filter(|content| content.len() <= MAX_TEXT_BYTES);
    let text = text.and_then(|content| std::str::from_utf8(content).ok());
    text.map(str::to_owned).ok_or_else(|| Error::NoText { path: path.to_owned() })
}

/// Gives a file this content, and makes it, and the folders above it, where they are not there.
fn put<D: WriteAt>(volume: &mut Volume<Window<D>>, path: &str, content: &[u8], now: FileTime) -> Result<FileChange> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let after = (content.len() as u64, Digest::of(content));
    if let Some(file) = volume.find(path).map_err(failed)? {
        let before = volume.read(&file, MAX_POLICY_BYTES).map_err(failed)?;
        let changes = volume.replace_stream(&file, content, now).map_err(failed)?;
        return Ok(told(volume, path, (before.len() as u64, Digest::of(&before)), after, &changes));
    }
    let (above, name) = path.rsplit_once('\\').unwrap_or(("", path));
    let mut changes = Changes::default();
    let folder = folder(volume, above, now, &mut changes)?;
    let descriptor = passed_on(volume, &folder, path, false)?;
    let security = Security::Descriptor(&descriptor);
    let (_, made) = volume.create_file(&folder, name, content, security, now).map_err(failed)?;
    changes.join(made);
    Ok(told(volume, path, (0, Digest::of(&[])), after, &changes))
}

/// Deletes a file or an empty folder.
fn take_away<D: WriteAt>(volume: &mut Volume<Window<D>>, path: &str, now: FileTime) -> Result<FileChange> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let (above, name) = path.rsplit_once('\\').unwrap_or(("", path));
    let parent = volume.find(if above.is_empty() { r"\" } else { above }).map_err(failed)?;
    let file = volume.find(path).map_err(failed)?;
    let (Some(parent), Some(file)) = (parent, file) else {
        return Err(Error::UnsupportedSetting { setting: Setting::File { path: path.to_owned() } });
    };
    let content = match file.is_directory() {
        true => Vec::new(),
        false => volume.read(&file, hives::HIVE_LIMIT_BYTES).map_err(failed)?,
    };
    let changes = volume.delete(&parent, name, now).map_err(failed)?;
    let before = (content.len() as u64, Digest::of(&content));
    Ok(told(volume, path, before, (0, Digest::of(&[])), &changes))
}

/// Returns a folder, which is made where it is not there.
fn folder<D: WriteAt>(
    volume: &mut Volume<Window<D>>,
    path: &str,
    now: FileTime,
    changes: &mut Changes,
) -> Result<File> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let rooted = if path.is_empty() { r"\" } else { path };
    if let Some(found) = volume.find(rooted).map_err(failed)? {
        let record = found.reference().record();
        return if found.is_directory() { Ok(found) } else { Err(failed(ntfs::Error::NotADirectory { record })) };
    }
    let (above, name) = path.rsplit_once('\\').unwrap_or(("", path));
    let parent = folder(volume, above, now, changes)?;
    let descriptor = passed_on(volume, &parent, path, true)?;
    let (made, written) = volume.create_dir(&parent, name, Security::Descriptor(&descriptor), now).map_err(failed)?;
    changes.join(written);
    Ok(made)
}

/// Returns the descriptor that a folder passes on to what is new in it.
fn passed_on<D: ReadAt>(volume: &Volume<D>, parent: &File, path: &str, is_folder: bool) -> Result<Vec<u8>> {
    let unknown = || Error::Inheritance { path: path.to_owned() };
    let above = volume.security(parent).map_err(|source| Error::File { path: path.to_owned(), source })?;
    inherit::inherited(&above.ok_or_else(unknown)?, is_folder).ok().flatten().ok_or_else(unknown)
}

/// Returns a path of the volume from its root.
fn rooted(path: &str) -> String {
    if path.starts_with('\\') { path.to_owned() } else { format!(r"\{path}") }
}

fn told<D: ReadAt>(
    volume: &Volume<Window<D>>,
    path: &str,
    (bytes_before, before): (u64, Digest),
    (bytes, after): (u64, Digest),
    changes: &Changes,
) -> FileChange {
    FileChange {
        file: rooted(path),
        bytes_before,
        bytes,
        before,
        after,
        extents: on_disk(volume, changes.extents()),
        order: steps_on_disk(volume, changes),
    }
}
