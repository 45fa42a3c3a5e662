//! The target of an edit, opened for reading: an image or a hive file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::edit::{Error, Result};
use crate::windows::{self, OpenOptions, Registry};
use coldforge_base::digest::Digest;
use coldforge_base::fs;
use coldforge_disk::{self as disk, Format, Image, Pending};
use coldforge_regf::{self as regf, Accept, Hive, Log, LogReport, Lookup, Reader, Replay};

/// No hive of Windows is larger.
const HIVE_LIMIT_BYTES: u64 = 1 << 31;

/// A registry that is read: a hive file, or the hives of the Windows in an image.
#[derive(Debug)]
pub enum Target {
    /// A hive file; keys are relative to its root.
    Hive(Box<HiveFile>),
    /// An image; keys begin with a root such as `HKLM\SOFTWARE`.
    Image(Box<Registry<Arc<Image>>>),
}

/// A hive file, loaded.
#[derive(Debug)]
pub struct HiveFile {
    /// The path.
    pub path: PathBuf,
    /// The hive, recovered if it was dirty.
    pub hive: Hive,
    /// The digest of the file as it was read.
    pub before: Digest,
    /// The transaction logs next to it, with their content.
    pub logs: Vec<(PathBuf, Vec<u8>)>,
    /// What a recovery did; `None` if the hive was clean.
    pub replay: Option<Replay>,
    /// What became of each log.
    pub reports: Vec<LogReport>,
    /// How many reference counts of security descriptors were set right.
    pub mended: usize,
}

impl HiveFile {
    /// Loads a hive file, with the logs next to it.
    ///
    /// # Errors
    /// [`Error::HiveFile`] with what [`Hive::recover`] says.
    pub fn load(path: &Path, accept: Accept) -> Result<Self> {
        let logs = logs_beside(path)?;
        Self::load_with(path, logs, accept)
    }

    /// Loads a hive file with these logs.
    ///
    /// # Errors
    /// As [`HiveFile::load`].
    pub fn load_with(path: &Path, logs: Vec<(PathBuf, Vec<u8>)>, accept: Accept) -> Result<Self> {
        if disk::pending(path)? == Some(Pending::Unfinished) {
            return Err(disk::Error::UnfinishedRun { path: path.to_owned() }.into());
        }
        let path = &path.canonicalize().map_err(fs::failed("find", path))?;
        let failed = |source| Error::HiveFile { path: path.to_owned(), source };
        let names: Vec<String> = logs.iter().map(|(path, _)| name_of(path)).collect();
        let known: Vec<Log<'_>> =
            names.iter().zip(&logs).map(|(name, (_, bytes))| Log { name, bytes: bytes.as_slice() }).collect();
        let bytes = fs::read(path, HIVE_LIMIT_BYTES)?;
        let before = Digest::of(&bytes);
        let regf::Recovered { hive, replay, logs: reports, mended } = accept.load(bytes, &known).map_err(failed)?;
        Ok(Self { path: path.to_owned(), hive, before, logs, replay, reports, mended })
    }

    /// Returns what was done to a damaged hive, as a warning with its code; `None` if nothing was.
    pub fn warning(&self) -> Option<String> {
        let mended = (self.mended > 0).then(|| {
            let (path, count) = (self.path.display(), self.mended);
            format!("W-HIVE-REFCOUNTS: {path} has {count} security descriptors with wrong reference counts")
        });
        let dirty = self.replay.as_ref().map(|_| {
            let used: Vec<String> = self.reports.iter().map(ToString::to_string).collect();
            let path = self.path.display();
            match used.is_empty() {
                true => format!("W-HIVE-DIRTY-ACCEPTED: {path} was dirty, and was used without recovery"),
                false => format!("W-HIVE-RECOVERED: {path} was dirty: {}", used.join("; ")),
            }
        });
        [dirty, mended].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"))
    }
}

impl Target {
    /// Opens a hive file or an image, whichever the file's first bytes say it is.
    ///
    /// # Errors
    /// Those of the hive, or every refusal that applies to the image.
    pub fn open(path: &Path, format: Option<Format>, accept: Accept) -> Result<Self> {
        if format.is_none() && is_hive(path)? {
            return HiveFile::load(path, accept).map(|file| Self::Hive(Box::new(file)));
        }
        let image = Arc::new(Image::open(path, format)?);
        let opening = OpenOptions { accept, ..OpenOptions::default() };
        Ok(Self::Image(Box::new(Registry::open(image, opening)?)))
    }

    /// Returns the hive that a key is in, and the key's path inside it.
    ///
    /// # Errors
    /// [`Error::NotRelative`] for a root such as `HKLM` in a hive file, otherwise as [`Registry::locate`].
    pub fn hive(&mut self, key: &str) -> Result<(&Hive, String)> {
        match self {
            Self::Hive(file) => Ok((&file.hive, resolve(&file.hive, key)?)),
            Self::Image(registry) => {
                let (number, below) = registry.locate(key)?;
                Ok((registry.hive(number), below))
            }
        }
    }

    /// Returns what was noticed, each with its code.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::Hive(file) => file.warning().into_iter().collect(),
            Self::Image(registry) => registry.warnings().to_vec(),
        }
    }

    /// Looks one key up, and loads no more than it must: `look` gets the key if it is there.
    ///
    /// # Errors
    /// As [`Target::open`] and [`Target::hive`].
    pub fn look<T>(
        path: &Path,
        format: Option<Format>,
        accept: Accept,
        key: &str,
        look: impl Fn(Option<regf::Key<'_>>) -> regf::Result<T>,
    ) -> Result<(T, Vec<String>)> {
        let failed = |source| Error::HiveFile { path: path.to_owned(), source };
        if format.is_none() && is_hive(path)? {
            let file = fs::open(path)?;
            let len = file.metadata().map_err(fs::failed("examine", path))?.len();
            // What is not clean needs its logs, and so the whole.
            if let Ok(reader) = Reader::open(Box::new(file), len)
                && let Ok(below) = resolve(&reader, key)
                && let Ok(found) = Lookup::key(&reader, &below).and_then(&look)
                && !reader.met_damage()
            {
                return Ok((found, Vec::new()));
            }
        }
        let mut target = Self::open(path, format, accept)?;
        let (hive, below) = target.hive(key)?;
        let found = hive.key(&below).and_then(look).map_err(failed)?;
        Ok((found, target.warnings()))
    }
}

/// Returns whether a file begins as a hive, or has transaction logs next to it: its first bytes may be what was
/// lost.
pub(super) fn is_hive(path: &Path) -> Result<bool> {
    let metadata = std::fs::metadata(path).map_err(fs::failed("open", path))?;
    if !metadata.is_file() {
        return Ok(false);
    }
    let mut head = [0; 4];
    let length = fs::open(path)?.take(4).read(&mut head).map_err(fs::failed("read", path))?;
    Ok(length == 4 && &head == b"regf" || logs_beside(path)?.iter().any(|(_, log)| log.starts_with(b"regf")))
}

/// Returns a key's path inside a hive file. `CurrentControlSet` of a SYSTEM hive, a link that is on no disk, is the
/// set that the next boot loads.
pub(super) fn resolve(hive: &dyn Lookup, key: &str) -> Result<String> {
    let root = key.split('\\').find(|name| !name.is_empty()).unwrap_or_default();
    let upper = root.to_ascii_uppercase();
    if matches!(upper.as_str(), "HKLM" | "HKU" | "HKCU" | "HKCR") || upper.starts_with("HKEY_") {
        return Err(Error::NotRelative { key: key.to_owned() });
    }
    let names: Vec<&str> = key.split('\\').filter(|name| !name.is_empty()).collect();
    let below = names.join("\\");
    match root.eq_ignore_ascii_case("CurrentControlSet") {
        true => Ok(windows::control_set(hive, &below)?.unwrap_or(below)),
        false => Ok(below),
    }
}

/// Reads the transaction logs next to a hive file.
pub(super) fn logs_beside(path: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    // Beside the file itself, wherever the link to it is.
    let path = &path.canonicalize().map_err(fs::failed("find", path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = name_of(path);
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fs::failed("list", folder))? {
        let beside = entry.map_err(fs::failed("list", folder))?.path();
        let name = name_of(&beside);
        if beside.is_file() && Log::is_named_for(&name, &own) {
            let bytes = fs::read(&beside, HIVE_LIMIT_BYTES)?;
            logs.push((beside, bytes));
        }
    }
    logs.sort();
    Ok(logs)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
