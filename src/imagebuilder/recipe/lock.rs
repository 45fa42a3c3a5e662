//! `recipe.lock` next to a recipe: what each bundle was made of, so that a later run knows what changed.
//!
//! A bundle is recorded before it gets its final name. If a run is killed in between, the entry names a bundle that does not
//! exist, and the image is built again; a bundle that exists is always recorded.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::Result;
use super::Fault;
use crate::audit::{Bundle, Holds};
use crate::harden::{Given, verify};
use coldforge_base::digest::Digest;
use coldforge_base::progress::Silent;
use coldforge_base::{confined, fs};

const SCHEMA: &str = "coldforge/recipe-lock/1";
const LIMIT_BYTES: u64 = 16 << 20;

/// What a recipe's bundles were made of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    schema: String,
    /// Whether the last run came to its end.
    pub(super) finished: bool,
    /// By the path of the source, as the recipe's folder shows it.
    #[serde(default)]
    pub(super) image: BTreeMap<String, LockedBundle>,
}

/// A bundle and what it was made of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockedBundle {
    /// Its name in the folder of the output.
    pub(super) bundle: String,
    /// The digest of its `SHA256SUMS`, which names that of every file.
    pub(super) sha256sums: String,
    /// The same of the bundle that it took the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<String>,
    /// The digest of everything that it was made of, by name.
    pub(super) inputs: BTreeMap<String, String>,
}

impl Lock {
    /// Reads the lock; an empty one if there is none.
    pub(super) fn read(path: &Path) -> Result<Self> {
        if path.is_symlink() {
            return Err(confined::Error::Link { path: path.to_owned() }.into());
        }
        if !path.exists() {
            return Ok(Self { schema: SCHEMA.to_owned(), finished: true, image: BTreeMap::new() });
        }
        let text = String::from_utf8_lossy(&fs::read(path, LIMIT_BYTES)?).into_owned();
        let lock: Self = toml::from_str(&text).map_err(|source| Fault::Document { source: Box::new(source) })?;
        if lock.schema != SCHEMA {
            return Err(Fault::Schema { found: lock.schema, expected: SCHEMA }.into());
        }
        match lock.image.values().find(|entry| !is_name(&entry.bundle)) {
            Some(entry) => {
                Err(Fault::Schema { found: format!("the bundle {:?}", entry.bundle), expected: SCHEMA }.into())
            }
            None => Ok(lock),
        }
    }

    /// Writes the lock: the old one or the new one is there, whatever happens.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let text = toml::to_string(self).expect("texts, flags and tables of them are TOML");
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fs::failed("create a file in", folder))?;
        file.write_all(text.as_bytes()).map_err(fs::failed("write", path))?;
        file.as_file().sync_all().map_err(fs::failed("flush", path))?;
        file.persist(path).map_err(|error| fs::failed("write", path)(error.error))?;
        Ok(fs::sync_folder(folder)?)
    }
}

impl LockedBundle {
    /// Returns whether its bundle is complete in a folder: every file is read.
    pub(super) fn is_whole(&self, folder: &Path) -> bool {
        let place = folder.join(&self.bundle);
        sums_of(&place).as_ref() == Some(&self.sha256sums) && is_whole(&place)
    }

    /// Returns whether the existing bundle of that name was made by this recipe.
    pub(super) fn is_own(&self, sums: &str) -> bool {
        self.sha256sums == sums || self.replaces.as_deref() == Some(sums)
    }

    /// Returns the inputs that differ, by name.
    pub(super) fn changed(&self, inputs: &BTreeMap<String, String>) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.inputs.keys().chain(inputs.keys()).collect();
        names.into_iter().filter(|name| self.inputs.get(*name) != inputs.get(*name)).cloned().collect()
    }
}

/// Returns whether a text is the name of something right in a folder.
fn is_name(text: &str) -> bool {
    !text.contains('/') && confined::parts(Path::new(text)).is_some()
}

/// Returns whether a bundle is as `coldforge verify` wants it: each file is read, and none is there that is not listed.
fn is_whole(folder: &Path) -> bool {
    let is_proven = |bundle: Bundle| match bundle.holds {
        Holds::Image => verify(folder, Given::default(), &Silent).is_ok_and(|proof| proof.problems.is_empty()),
        // The image is elsewhere, or is read together with its parent; what is here is compared all the same.
        Holds::Delta | Holds::Nothing => bundle.check(&|_| ()).is_ok_and(|damages| damages.is_empty()),
    };
    Bundle::open(folder).is_ok_and(is_proven)
}

/// Returns a file or folder of a bundle that its `SHA256SUMS` do not name: somebody put it there, and it goes with no bundle.
pub(in crate::imagebuilder) fn added_to(folder: &Path) -> Option<String> {
    let sums = fs::read(&folder.join("SHA256SUMS"), LIMIT_BYTES).ok()?;
    let sums = String::from_utf8_lossy(&sums);
    let listed: Vec<&str> = sums.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name).collect();
    let is_own = |path: &str| matches!(path, "SHA256SUMS" | "SHA256SUMS.minisig");
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(folder.join(&below)).ok()?.flatten() {
            let path = format!("{below}{}", entry.file_name().to_string_lossy());
            let head = format!("{path}/");
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true if listed.iter().any(|name| name.starts_with(&head)) => open.push(head),
                false if is_own(&path) || listed.contains(&path.as_str()) => {}
                _ => return Some(path),
            }
        }
    }
    None
}

/// Returns the digest of a bundle's `SHA256SUMS`; `None` if there is none.
pub(in crate::imagebuilder) fn sums_of(folder: &Path) -> Option<String> {
    fs::read(&folder.join("SHA256SUMS"), LIMIT_BYTES).ok().map(|bytes| Digest::of(&bytes).to_string())
}
