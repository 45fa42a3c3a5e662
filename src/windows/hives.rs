//! The hives of an installed Windows: which file holds which part of the registry.

use serde::Serialize;

use super::{Error, Result};
use crate::base::Failure as _;
use crate::base::digest::Digest;
use crate::disk::BlockDevice;
use crate::{ntfs, regf};

/// No real hive is larger; the registry's own limit for a hive of the system is 2 GiB, and SOFTWARE stays below 300 MB.
pub(super) const HIVE_LIMIT_BYTES: u64 = 1 << 30;

/// Where the machine's hives lie.
pub(super) const CONFIG: &str = r"\Windows\System32\config";

/// The parts of the registry that are handled, each with the file below [`CONFIG`] that holds it.
pub(super) const ROOTS: [(&str, &str); 2] = [(r"HKLM\SOFTWARE", "SOFTWARE"), (r"HKLM\SYSTEM", "SYSTEM")];

/// An opened hive and the file it came from.
#[derive(Debug)]
pub(super) struct HiveFile {
    /// The path on the volume.
    pub(super) path: String,
    /// The file.
    pub(super) file: ntfs::File,
    /// The content.
    pub(super) hive: regf::Hive,
    /// The digest of the content as it was opened.
    pub(super) before: Digest,
}

/// Reads the hive file `name` of the configuration folder, or `None` if there is no such file.
pub(super) fn read<D: BlockDevice>(volume: &ntfs::Volume<D>, name: &str) -> Result<Option<(ntfs::File, Vec<u8>)>> {
    let path = format!(r"{CONFIG}\{name}");
    let failed = |source| Error::File { path: path.clone(), source };
    let Some(file) = volume.find(&path).map_err(failed)? else { return Ok(None) };
    let bytes = volume.read(&file, HIVE_LIMIT_BYTES).map_err(failed)?;
    Ok(Some((file, bytes)))
}

/// Opens a hive that must be there.
pub(super) fn open<D: BlockDevice>(volume: &ntfs::Volume<D>, partition: u32, name: &str) -> Result<HiveFile> {
    let path = format!(r"{CONFIG}\{name}");
    let (file, bytes) = read(volume, name)?.ok_or_else(|| Error::NoHive { partition, path: path.clone() })?;
    let (hive, before) = rayon::join(|| regf::Hive::parse(bytes.clone()), || Digest::of(&bytes));
    let hive = hive.map_err(|source| Error::Hive { path: path.clone(), source })?;
    Ok(HiveFile { path, file, hive, before })
}

/// Splits a full key into the part of the registry and the path below it; `None` if the part is not handled.
pub(super) fn split(key: &str) -> Option<(usize, &str)> {
    ROOTS.iter().enumerate().find_map(|(index, (root, _))| {
        let head = key.get(..root.len())?;
        let rest = key.get(root.len()..)?;
        let below = if rest.is_empty() { rest } else { rest.strip_prefix('\\')? };
        head.eq_ignore_ascii_case(root).then_some((index, below))
    })
}

/// What a look at a hive tells.
#[derive(Clone, Debug, Serialize)]
pub struct HiveState {
    /// The path on the volume.
    pub path: String,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The format's version, such as `1.5`.
    pub version: Option<String>,
    /// `clean`, or the code or sentence of what stands against editing it.
    pub state: String,
}

/// Looks at the hives of the configuration folder; those that are not there are left out.
pub(super) fn look<D: BlockDevice>(volume: &ntfs::Volume<D>) -> Vec<HiveState> {
    let mut states = Vec::new();
    for name in ["SYSTEM", "SOFTWARE", "SAM", "SECURITY", "DEFAULT"] {
        let path = format!(r"{CONFIG}\{name}");
        match read(volume, name) {
            Ok(None) => {}
            Ok(Some((file, bytes))) => {
                let (version, state) = match regf::Hive::parse(bytes) {
                    Ok(hive) => (Some(format!("1.{}", hive.minor_version())), "clean".to_owned()),
                    Err(error) => (None, error.code().map_or_else(|| error.to_string(), str::to_owned)),
                };
                states.push(HiveState { path, bytes: file.size(), version, state });
            }
            Err(error) => states.push(HiveState { path, bytes: 0, version: None, state: describe(&error) }),
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
