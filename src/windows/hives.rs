//! The hives of an installed Windows: which file holds which part of the registry.

use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::certificates::{self, Installed};
use super::identity::CURRENT;
use super::setting::{Data, Found, Setting, SettingError, Value, ValueType};
use super::{Error, Result, acl};
use super::{policies, profiles};
use coldforge_base::digest::Digest;
use coldforge_base::{CellOffset, Failure as _, FileOffset, ReadAt};
use coldforge_ntfs as ntfs;
use coldforge_regf as regf;
use coldforge_regf::Accept;

/// No real hive is larger; the registry's own limit for a hive of the system is 2 GiB, and SOFTWARE stays below 300 MB.
pub(super) const HIVE_LIMIT_BYTES: u64 = 1 << 30;

/// Where the machine's hives are.
pub(super) const CONFIG: &str = r"\Windows\System32\config";

/// The hive that holds a setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HiveName<'s> {
    /// A file of the configuration folder.
    Machine(&'static str),
    /// That of a user, by the root of its keys: `HKU\\Default`.
    User(&'s str),
}

/// Returns the path of a hive of the configuration folder.
pub(super) fn in_config(name: &str) -> String {
    format!(r"{CONFIG}\{name}")
}

/// The parts of the machine's registry that are handled, each with the file below [`CONFIG`] that holds it.
pub(super) const ROOTS: [(&str, &str); 2] = [(r"HKLM\SOFTWARE", "SOFTWARE"), (r"HKLM\SYSTEM", "SYSTEM")];

/// The root of the hive that holds rights and audit policy, of whose keys only the permissions of this one are reported.
const SECURITY_ROOT: &str = r"HKLM\SECURITY";

/// The place of SOFTWARE, and of SYSTEM, in [`ROOTS`].
pub(super) const SOFTWARE: usize = 0;
pub(super) const SYSTEM: usize = 1;

/// An opened hive and the files it came from.
#[derive(Debug)]
pub(super) struct HiveFile {
    /// The path on the volume.
    pub(super) path: String,
    /// The file.
    pub(super) file: ntfs::File,
    /// The content, recovered if it was dirty.
    pub(super) hive: regf::Hive,
    /// The digest of the content as it was found.
    pub(super) before: Digest,
    /// The hive's transaction logs.
    pub(super) logs: Vec<LogFile>,
    /// What was done to a dirty hive, as a warning; `None` if it was clean.
    pub(super) recovery: Option<String>,
    /// What it was damaged by and taken with all the same.
    pub(super) accepted: Accept,
}

/// A transaction log of a hive.
#[derive(Debug)]
pub(super) struct LogFile {
    /// The path on the volume.
    pub(super) path: String,
    /// The file.
    pub(super) file: ntfs::File,
    /// The content.
    pub(super) bytes: Vec<u8>,
}

impl LogFile {
    /// Returns the log as the registry crate takes it.
    pub(super) fn log(&self) -> regf::Log<'_> {
        regf::Log { name: self.path.rsplit('\\').next().unwrap_or_default(), bytes: &self.bytes }
    }
}

/// Reads a file of the volume that is no larger than a hive can be; `None` if there is no such file.
pub(super) fn read<D: ReadAt>(volume: &ntfs::Volume<D>, path: &str) -> Result<Option<(ntfs::File, Vec<u8>)>> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let Some(file) = volume.find(path).map_err(failed)? else { return Ok(None) };
    let bytes = volume.read(&file, HIVE_LIMIT_BYTES).map_err(failed)?;
    Ok(Some((file, bytes)))
}

/// Opens the hive at a path, recovered from its logs if it is dirty; `None` if there is no such file. What of a damaged hive
/// is taken all the same is set right in memory.
pub(super) fn open<D: ReadAt>(volume: &ntfs::Volume<D>, path: &str, accept: Accept) -> Result<Option<HiveFile>> {
    let path = path.to_owned();
    let unusable = |source| Error::File { path: path.clone(), source };
    let Some(file) = volume.find(&path).map_err(unusable)? else { return Ok(None) };
    // Asked before it is read: a sparse file could claim any length.
    volume.check_overwritable(&file).map_err(unusable)?;
    let bytes = volume.read(&file, HIVE_LIMIT_BYTES).map_err(unusable)?;
    let mut logs = Vec::new();
    for suffix in [".LOG", ".LOG1", ".LOG2"] {
        let path = format!("{path}{suffix}");
        if let Some((file, bytes)) = read(volume, &path)? {
            let source = volume.check_overwritable(&file);
            source.map_err(|source| Error::File { path: path.clone(), source })?;
            logs.push(LogFile { path, file, bytes });
        }
    }
    let failed = |source| Error::Hive { path: path.clone(), source };
    let before = Digest::of(&bytes);
    let known: Vec<regf::Log<'_>> = logs.iter().map(LogFile::log).collect();
    let regf::Recovered { hive, replay, logs: reports, mended } = accept.load(bytes, &known).map_err(failed)?;
    let accepted = Accept { dirty: replay.is_some() && reports.is_empty(), refcounts: mended > 0 };
    let dirty = replay.map(|_| {
        let used: Vec<String> = reports.iter().map(ToString::to_string).collect();
        if used.is_empty() {
            format!("W-HIVE-DIRTY-ACCEPTED: {path} was dirty without a usable log, and was used without recovery")
        } else {
            format!("W-HIVE-RECOVERED: {path} was dirty: {}", used.join("; "))
        }
    });
    let mended = (mended > 0).then(|| {
        format!("W-HIVE-REFCOUNTS: {path} had {mended} security descriptors with wrong reference counts, which were set right")
    });
    let recovery = [dirty, mended].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"));
    Ok(Some(HiveFile { path, file, hive, before, logs, recovery, accepted }))
}

/// Opens the hive at a path for reading. Only a dirty hive is loaded, recovered as [`open`] does, and verified; `None` if
/// there is no such file.
pub(super) fn open_read_only<D: ReadAt + 'static>(
    volume: &Arc<ntfs::Volume<D>>,
    path: &str,
    accept: Accept,
) -> Result<Option<ReadOnlyHive>> {
    let path = path.to_owned();
    let unusable = |source| Error::File { path: path.clone(), source };
    let Some(file) = volume.find(&path).map_err(unusable)? else { return Ok(None) };
    volume.check_overwritable(&file).map_err(unusable)?;
    let len = file.size().min(HIVE_LIMIT_BYTES);
    let source = Box::new(Content { volume: Arc::clone(volume), file });
    match regf::Reader::open(source, len) {
        Ok(hive) => Ok(Some(ReadOnlyHive { path, hive: Box::new(hive), recovery: None })),
        Err(_) => {
            let opened = open(volume, &path, accept)?;
            opened.as_ref().map_or(Ok(()), verify)?;
            Ok(opened.map(|file| ReadOnlyHive { path, hive: Box::new(file.hive), recovery: file.recovery }))
        }
    }
}

/// A hive that is opened for reading only.
pub(super) struct ReadOnlyHive {
    /// The path on the volume.
    pub(super) path: String,
    /// The hive, loaded or not.
    pub(super) hive: Box<dyn regf::Lookup + Send + Sync>,
    /// What was done to a dirty hive, as a warning; `None` if it was clean.
    pub(super) recovery: Option<String>,
}

/// The content of a file of a volume.
struct Content<D> {
    volume: Arc<ntfs::Volume<D>>,
    file: ntfs::File,
}

impl<D: ReadAt> regf::Source for Content<D> {
    fn read_at(&self, at: FileOffset, buf: &mut [u8]) -> io::Result<()> {
        self.volume.read_at(&self.file, at, buf).map_err(io::Error::other)
    }
}

/// Runs the strict verifier over a hive.
pub(super) fn verify(file: &HiveFile) -> Result<()> {
    let errors: Vec<regf::Finding> =
        file.hive.verify().into_iter().filter(|finding| finding.severity == regf::Severity::Error).collect();
    match errors.first() {
        None => Ok(()),
        Some(first) => Err(Error::HiveCorrupt {
            path: file.path.clone(),
            findings: errors.len(),
            at: first.at,
            first: first.to_string(),
        }),
    }
}

/// Returns the hive that holds a setting.
pub(super) fn holder(setting: &Setting) -> Result<HiveName<'_>> {
    match setting {
        Setting::Registry { key, .. } => Ok(locate(key)?.0),
        Setting::RegistryAcl { key } => Ok(guarded(key)?.0),
        Setting::Certificate { .. } => Ok(HiveName::Machine(ROOTS[SOFTWARE].1)),
        _ => policies::holder(setting)
            .map(HiveName::Machine)
            .ok_or_else(|| Error::UnsupportedSetting { setting: setting.clone() }),
    }
}

/// Returns the hive that holds a registry key, and the key's path inside it.
pub(super) fn locate(key: &str) -> Result<(HiveName<'_>, &str)> {
    let machine = || ROOTS.iter().find_map(|(root, name)| Some((HiveName::Machine(name), below(key, root)?)));
    let user = || profiles::split(key).map(|(root, below)| (HiveName::User(root), below));
    // `CurrentControlSet` is a volatile link: creating it on disk would shadow nothing and mislead everyone.
    let link = key.get(..CURRENT.len()).is_some_and(|head| head.eq_ignore_ascii_case(CURRENT));
    let held = if link { None } else { machine().or_else(user) };
    held.ok_or_else(|| Error::UnknownHive { key: key.to_owned() })
}

/// As [`locate`], for permissions: those of the SECURITY hive's root can be read as well.
fn guarded(key: &str) -> Result<(HiveName<'_>, &str)> {
    if key.eq_ignore_ascii_case(SECURITY_ROOT) { Ok((HiveName::Machine("SECURITY"), "")) } else { locate(key) }
}

/// Reads a setting from one of the hives, each given by its holder, with its path.
pub(super) fn get<'h>(
    setting: &Setting,
    hive: impl FnOnce(HiveName<'_>) -> Result<(&'h str, &'h dyn regf::Lookup)>,
) -> std::result::Result<Found, SettingError> {
    let failed = |source: Error| SettingError { operation: "read", setting: setting.clone(), source: Box::new(source) };
    let (path, hive) = holder(setting).and_then(hive).map_err(failed)?;
    let (value, cell) = match setting {
        Setting::Registry { key, name } => {
            let (_, below) = locate(key).map_err(failed)?;
            let read = value(hive, below, name);
            read.map_err(|source| failed(Error::Hive { path: path.to_owned(), source }))?
        }
        Setting::RegistryAcl { key } => {
            let (_, below) = guarded(key).map_err(failed)?;
            acl::read_key(hive, path, below).map_err(failed)?
        }
        Setting::Certificate { store, thumbprint } => {
            let found = certificates::find(hive, store, thumbprint).map_err(|source| failed(source.into()))?;
            let value = |found: &Installed| Value::Certificate(found.blob.certificate().to_vec());
            (found.as_ref().map(value), found.map(|found| found.cell))
        }
        _ => policies::get(hive, setting).map_err(failed)?,
    };
    Ok(Found { value, file: path.to_owned(), cell })
}

/// Reads a registry value and tells its cell.
fn value(hive: &dyn regf::Lookup, key: &str, name: &str) -> regf::Result<(Option<Value>, Option<CellOffset>)> {
    let Some(key) = hive.key(key)? else { return Ok((None, None)) };
    let Some(value) = key.value(name)? else { return Ok((None, None)) };
    Ok((Some(Value::data(ValueType(value.kind()), value.data()?.into_owned())), Some(value.cell())))
}

/// Reads a key of one of the hives, each given by its holder, with its path; `None` if there is no such key.
fn key_of<'h, T>(
    key: &str,
    hive: impl FnOnce(HiveName<'_>) -> Result<(&'h str, &'h dyn regf::Lookup)>,
    read: impl FnOnce(regf::Key<'h>) -> regf::Result<T>,
) -> std::result::Result<Option<T>, SettingError> {
    let setting = || Setting::Registry { key: key.to_owned(), name: String::new() };
    let failed = |source: Error| SettingError { operation: "read", setting: setting(), source: Box::new(source) };
    let (holder, below) = locate(key).map_err(failed)?;
    let (path, hive) = hive(holder).map_err(failed)?;
    let found = hive.key(below).and_then(|key| key.map(read).transpose());
    found.map_err(|source| failed(Error::Hive { path: path.to_owned(), source }))
}

/// Returns the names of the subkeys of a key, as [`get`] reads a value.
pub(super) fn subkeys<'h>(
    key: &str,
    hive: impl FnOnce(HiveName<'_>) -> Result<(&'h str, &'h dyn regf::Lookup)>,
) -> std::result::Result<Vec<String>, SettingError> {
    let name = |key: regf::Result<regf::Key<'_>>| key.map(|key| text(key.name()));
    let names = key_of(key, hive, |key| key.subkeys()?.map(name).collect::<regf::Result<Vec<_>>>())?;
    Ok(names.unwrap_or_default())
}

/// Returns the values of a key with their names, as [`get`] reads one.
pub(super) fn values<'h>(
    key: &str,
    hive: impl FnOnce(HiveName<'_>) -> Result<(&'h str, &'h dyn regf::Lookup)>,
) -> std::result::Result<Vec<(String, Data)>, SettingError> {
    let one = |value: regf::Result<regf::Value<'_>>| {
        let value = value?;
        Ok((text(value.name()), Data { kind: ValueType(value.kind()), data: value.data()?.into_owned() }))
    };
    let values = key_of(key, hive, |key| key.values()?.map(one).collect::<regf::Result<Vec<_>>>())?;
    Ok(values.unwrap_or_default())
}

fn text(name: regf::Name<'_>) -> String {
    String::from_utf16_lossy(&name.units().collect::<Vec<_>>())
}

/// Returns the path of a key below another one, which may be itself; `None` if it is not there.
pub(super) fn below<'k>(key: &'k str, root: &str) -> Option<&'k str> {
    let head = key.get(..root.len())?;
    let rest = key.get(root.len()..)?;
    let below = if rest.is_empty() { rest } else { rest.strip_prefix('\\')? };
    head.eq_ignore_ascii_case(root).then_some(below)
}

/// What a look at a hive tells.
#[derive(Clone, Debug, Serialize)]
pub struct HiveState {
    /// The path on the volume.
    pub path: String,
    /// The length of the file in bytes, if the hive could be opened.
    pub bytes: Option<u64>,
    /// The format's version, such as `1.5`, if the hive could be opened.
    pub version: Option<String>,
    /// `clean`, how a dirty hive would be recovered, or the code or message of why it cannot be edited.
    pub state: String,
}

/// Looks at the hives of the configuration folder; those that are not there are left out.
pub(super) fn look<D: ReadAt>(volume: &ntfs::Volume<D>) -> Vec<HiveState> {
    let mut states = Vec::new();
    for name in ["SYSTEM", "SOFTWARE", "SAM", "SECURITY", "DEFAULT"] {
        let path = in_config(name);
        match open(volume, &path, Accept::default()) {
            Ok(None) => {}
            Ok(Some(found)) => states.push(HiveState {
                path,
                bytes: Some(found.file.size()),
                version: Some(format!("1.{}", found.hive.minor_version())),
                state: found.recovery.unwrap_or_else(|| "clean".to_owned()),
            }),
            Err(error) => {
                let state = error.code().map_or_else(|| describe(&error), str::to_owned);
                states.push(HiveState { path, bytes: None, version: None, state });
            }
        }
    }
    states
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
