//! Changing a registry: all steps in memory, verified before and after, then written as a whole.

use std::path::{Path, PathBuf};

use super::target::{HiveFile, is_hive, logs_beside, resolve};
use crate::edit::{Edited, order};
use crate::edit::{Error, Output, Result};
use crate::formats::reg_file::Section;
use crate::windows::{OpenOptions, Registry};
use coldforge_base::digest::Digest;
use coldforge_base::progress::Progress;
use coldforge_base::time::FileTime;
use coldforge_base::{Extent, ReadAt as _, WriteAt as _, fs, read};
use coldforge_disk::{self as disk, Format, Image, Overlay, UndoJournal};
use coldforge_regf::{self as regf, Accept, Hive, LogReport, Replay, Severity};

/// One change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RegistryEdit {
    /// Makes a key, and those above it.
    CreateKey {
        /// The key.
        key: String,
    },
    /// Sets a value; makes its key if that is missing.
    SetValue {
        /// The key.
        key: String,
        /// The value's name, `""` for the unnamed one.
        name: String,
        /// The type's number.
        kind: u32,
        /// The data.
        data: Vec<u8>,
    },
    /// Deletes a value.
    DeleteValue {
        /// The key.
        key: String,
        /// The value's name, `""` for the unnamed one.
        name: String,
    },
    /// Deletes a key.
    DeleteKey {
        /// The key.
        key: String,
        /// Whether its subkeys go with it; without, a key that has some is refused.
        recursive: bool,
    },
}

impl RegistryEdit {
    fn key(&self) -> &str {
        match self {
            Self::CreateKey { key }
            | Self::SetValue { key, .. }
            | Self::DeleteValue { key, .. }
            | Self::DeleteKey { key, .. } => key,
        }
    }

    /// Does the step on a hive, at the path of its key there; tells whether anything changed.
    fn apply(&self, hive: &mut Hive, at: &str, now: FileTime) -> regf::Result<bool> {
        let changed = |edit: Option<regf::Edit>| edit.is_some_and(|edit| !edit.is_unchanged());
        hive.growing(|hive| match self {
            Self::CreateKey { .. } => hive.create_key(at, now).map(|edit| !edit.is_unchanged()),
            Self::SetValue { name, kind, data, .. } => {
                hive.set_value(at, name, *kind, data, now).map(|edit| !edit.is_unchanged())
            }
            Self::DeleteValue { name, .. } => hive.delete_value(at, name, now).map(changed),
            Self::DeleteKey { recursive: true, .. } => hive.delete_tree(at, now).map(changed),
            Self::DeleteKey { .. } => hive.delete_key(at, now).map(changed),
        })
    }
}

/// Returns the steps that a `.reg` file asks for; `prefix` is taken off its keys.
///
/// # Errors
/// [`Error::Prefix`] for a key that does not begin with it.
pub fn steps(sections: Vec<Section>, prefix: &str) -> Result<Vec<RegistryEdit>> {
    let prefix = prefix.trim_end_matches('\\');
    let mut steps = Vec::new();
    for Section { key, delete, values, line } in sections {
        let foreign = || Error::Prefix { key: key.clone(), line };
        let head = key.get(..prefix.len()).filter(|head| head.eq_ignore_ascii_case(prefix)).ok_or_else(foreign)?;
        let rest = key.get(head.len()..).filter(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('\\'));
        let at = rest.ok_or_else(foreign)?.to_owned();
        if delete {
            steps.push(RegistryEdit::DeleteKey { key: at, recursive: true });
            continue;
        }
        steps.push(RegistryEdit::CreateKey { key: at.clone() });
        steps.extend(values.into_iter().map(|(name, content)| match content {
            Some((kind, data)) => RegistryEdit::SetValue { key: at.clone(), name, kind, data },
            None => RegistryEdit::DeleteValue { key: at.clone(), name },
        }));
    }
    Ok(steps)
}

/// What an edit did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EditResult {
    /// How many steps changed anything; the others changed nothing.
    pub changed: usize,
    /// The files that were written.
    pub files: Vec<PathBuf>,
    /// Warnings, each with its code.
    pub warnings: Vec<String>,
}

/// Applies all steps to a hive file or an image, or none.
///
/// # Errors
/// What the registry refuses, with the step's key; nothing is written then. [`Error::Exists`] if the output does.
pub fn edit(
    path: &Path,
    format: Option<Format>,
    steps: &[RegistryEdit],
    output: &Output,
    opening: OpenOptions,
    progress: &dyn Progress,
) -> Result<EditResult> {
    output.check()?;
    if format.is_none() && is_hive(path)? {
        return edit_hive(path, steps, output, opening, progress);
    }
    let image = Image::open(path, format)?;
    let mut registry = Registry::open(Overlay::new(&image), opening)?;
    let mut changed = 0;
    // Every hive is opened and verified before the first is edited.
    let places = steps.iter().map(|step| Ok(registry.locate(step.key())?)).collect::<Result<Vec<_>>>()?;
    registry.verify()?;
    for (step, (number, at)) in steps.iter().zip(places) {
        let failed = |source| Error::Step { key: step.key().to_owned(), source };
        changed += usize::from(step.apply(registry.hive_mut(number), &at, opening.now).map_err(failed)?);
    }
    let order = order(registry.commit()?.iter().flat_map(|change| &change.order));
    let edited = Edited { partition: registry.partition(), volume: registry.volume_extent() };
    let warnings = registry.warnings().to_vec();
    let files = output.emit(&registry.into_device(), path, (edited, &order), progress)?;
    Ok(EditResult { changed, files, warnings })
}

fn edit_hive(
    path: &Path,
    steps: &[RegistryEdit],
    output: &Output,
    opening: OpenOptions,
    progress: &dyn Progress,
) -> Result<EditResult> {
    let mut file = HiveFile::load(path, opening.accept)?;
    check(path, &file.hive)?;
    let mut changed = 0;
    for step in steps {
        let failed = |source| Error::Step { key: step.key().to_owned(), source };
        let at = resolve(&file.hive, step.key())?;
        changed += usize::from(step.apply(&mut file.hive, &at, opening.now).map_err(failed)?);
    }
    let warnings = file.warning().into_iter().collect();
    let files = write(file, output, progress)?;
    Ok(EditResult { changed, files, warnings })
}

/// Recovers a dirty hive file from its logs (those next to it, if none are given), and writes the clean hive.
///
/// # Errors
/// As [`HiveFile::load`]; [`Error::HiveDamaged`] if what the logs make of it breaks the format's rules;
/// [`Error::OtherLog`] if an edit in place would leave a log next to the hive that is not among those named.
pub fn replay(
    path: &Path,
    logs: &[PathBuf],
    output: &Output,
    progress: &dyn Progress,
) -> Result<(Option<Replay>, Vec<LogReport>, EditResult)> {
    output.check()?;
    if !logs.is_empty() && *output == Output::InPlace {
        let named: Vec<PathBuf> = logs.iter().filter_map(|log| log.canonicalize().ok()).collect();
        for (log, bytes) in logs_beside(path)? {
            if !named.contains(&log) && bytes.iter().any(|byte| *byte != 0) {
                return Err(Error::OtherLog { path: log });
            }
        }
    }
    let file = match logs.is_empty() {
        true => HiveFile::load(path, Accept::default())?,
        false => {
            let read = |log: &PathBuf| Ok((log.clone(), fs::read(log, 1 << 31)?));
            HiveFile::load_with(path, logs.iter().map(read).collect::<Result<_>>()?, Accept::default())?
        }
    };
    check(path, &file.hive)?;
    let (replay, reports) = (file.replay.clone(), file.reports.clone());
    let files = write(file, output, progress)?;
    Ok((replay, reports, EditResult { changed: 0, files, warnings: Vec::new() }))
}

/// Seals, verifies and writes a hive file; in place, its logs are then zeroed.
fn write(mut file: HiveFile, output: &Output, progress: &dyn Progress) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::HiveFile { path: file.path.clone(), source };
    file.hive.seal().map_err(failed)?;
    check(&file.path, &file.hive)?;
    let touched = file.hive.touched();
    match output {
        Output::File(out) => {
            let permissions = std::fs::metadata(&file.path).map_err(fs::failed("examine", &file.path))?.permissions();
            let mut fresh = fs::Fresh::create(out)?;
            fresh.write(file.hive.bytes())?;
            fresh.finish()?;
            std::fs::set_permissions(out, permissions).map_err(fs::failed("change the permissions of", out))?;
            Ok(vec![out.clone()])
        }
        Output::InPlace if touched.is_empty() => Ok(Vec::new()),
        Output::InPlace => {
            let logs: Vec<_> = file.logs.iter().filter(|(_, log)| log.iter().any(|byte| *byte != 0)).collect();
            for path in logs.iter().map(|(path, _)| path) {
                std::fs::OpenOptions::new().write(true).open(path).map_err(fs::failed("write", path))?;
            }
            write_file(&file.path, file.before, file.hive.bytes(), &touched, progress)?;
            let mut files = vec![file.path.clone()];
            // Behind the hive: a clean hive makes Windows ignore its logs, should this end here.
            for (path, bytes) in logs {
                let zeros = vec![0; bytes.len()];
                write_file(path, Digest::of(bytes), &zeros, &[Extent::new(0, zeros.len() as u64)], progress)?;
                files.push(path.clone());
            }
            Ok(files)
        }
    }
}

/// Writes the ranges of a file that changed since it was read, and the zeros past its old end, under the protection
/// of an undo journal. The file stays the same one: owner, descriptors and other names are not touched.
fn write_file(path: &Path, before: Digest, content: &[u8], touched: &[Extent], progress: &dyn Progress) -> Result<()> {
    let changed = || disk::Error::SourceChanged { path: path.to_owned() };
    let mut old = fs::read(path, content.len() as u64)?;
    if Digest::of(&old) != before {
        return Err(changed().into());
    }
    if old.len() < content.len() {
        // Bytes past the last bin are ignored, so they may remain.
        let longer = std::fs::OpenOptions::new().write(true).open(path).map_err(fs::failed("write", path))?;
        let made = longer.set_len(content.len() as u64).and_then(|()| longer.sync_all());
        made.map_err(fs::failed("make longer", path))?;
        old.resize(content.len(), 0);
    }
    let image = Image::open(path, Some(Format::Raw))?;
    let mut now = vec![0; old.len()];
    if image.len() != old.len() as u64 {
        return Err(changed().into());
    }
    image.read_at(0, &mut now)?;
    if now != old {
        return Err(changed().into());
    }
    let mut overlay = Overlay::new(&image);
    for range in touched {
        let place = usize::try_from(range.offset).ok().zip(usize::try_from(range.length).ok());
        let bytes = place.and_then(|(at, length)| read::slice(content, at, length).ok());
        overlay.write_at(range.offset, bytes.expect("the ranges of a content lie inside it"))?;
    }
    disk::write_in_place(&overlay, &[], &[], UndoJournal::Remove, progress)?;
    Ok(())
}

/// Runs the strict verifier.
fn check(path: &Path, hive: &Hive) -> Result<()> {
    let findings: Vec<_> = hive.verify().into_iter().filter(|finding| finding.severity == Severity::Error).collect();
    match findings.first() {
        None => Ok(()),
        Some(first) => {
            Err(Error::HiveDamaged { path: path.to_owned(), findings: findings.len(), first: first.to_string() })
        }
    }
}
