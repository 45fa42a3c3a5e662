//! Which bundles of a pipeline are kept.
//!
//! A bundle is removed only if a run of a recipe of this folder made it, if it is in that recipe's output folder, and if
//! `verify` finds it unchanged. Everything else is kept, with the reason, and so is the newest good one of each pipeline.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::history::{History, HistoryError, StoredBundle, absolute, is_below};
use super::pipelines::Pipelines;
use super::recipe::{Heading, added_to, sums_of};
use super::sentence::sentence;
use crate::audit::{Bundle, Holds, digest_file};
use crate::harden::{Given, verify};
use coldforge_base::digest::Digest;
use coldforge_base::fs;
use coldforge_base::progress::Silent;
use coldforge_base::time::Moment;

/// A list of sums is small.
const LIST_LIMIT_BYTES: u64 = 16 << 20;
/// The list that names every other file of a bundle; it goes last, so that what is left of a removal is recognised.
const SUMS: &str = "SHA256SUMS";

/// What stays.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// How many of the newest bundles of each pipeline stay.
    pub keep: usize,
    /// Those that are younger stay as well, in seconds.
    pub younger_than: Option<u64>,
    /// Whether to report only, and remove nothing.
    pub is_dry: bool,
}

/// A bundle that goes, or does not.
#[derive(Clone, Debug, Serialize)]
pub struct Pruned {
    /// The pipeline.
    pub pipeline: String,
    /// The bundle.
    pub path: PathBuf,
    /// Whether it went, or would go.
    pub goes: bool,
    /// Why.
    pub why: String,
}

/// Removes the bundles of a folder's pipelines that need not stay.
///
/// # Errors
/// [`HistoryError`]; an error of the operating system is reported with the bundle.
pub fn prune(
    history: &History,
    pipelines: &Pipelines,
    retention: Retention,
    now: Moment,
) -> Result<Vec<Pruned>, HistoryError> {
    let mut told = Vec::new();
    let folder = absolute(&pipelines.folder);
    for pipeline in history.pipelines()? {
        let heading = pipelines.headings.iter().find(|heading| heading.name == pipeline);
        let mut good = 0_usize;
        // The places come newest first.
        for bundle in history.stored_bundles(&pipeline)? {
            let mut say = |goes: bool, why: String| {
                told.push(Pruned { pipeline: pipeline.clone(), path: bundle.path.clone(), goes, why });
            };
            if bundle.path.symlink_metadata().is_err() {
                // One that is gone counts for nothing. What a removal that was broken off left of it goes as well.
                let rest = aside(&bundle.path);
                if rest.symlink_metadata().is_ok() && whose(&bundle, heading, &folder).is_ok() {
                    let told = match untouched(&rest, &bundle) {
                        Ok(()) if retention.is_dry => Ok("would be removed"),
                        Ok(()) => take(&rest).map(|()| "was removed"),
                        Err(why) => Err(why),
                    };
                    match told {
                        Ok(done) => say(true, format!("`{}`, the rest of it, {done}", rest.display())),
                        Err(why) => say(false, format!("`{}` stays: {why}", rest.display())),
                    }
                }
                continue;
            }
            if let Err(why) = whose(&bundle, heading, &folder).and_then(|()| unchanged(&bundle, heading)) {
                say(false, why);
                continue;
            }
            good = good.saturating_add(1);
            let age = now.0.saturating_sub(bundle.started.0);
            if good <= retention.keep.max(1) {
                say(false, format!("it is one of the {} newest", retention.keep.max(1)));
            } else if retention.younger_than.is_some_and(|limit| age < limit) {
                say(false, "it is young".to_owned());
            } else {
                match remove(&bundle, retention.is_dry) {
                    Ok(()) if retention.is_dry => say(true, "it would be removed".to_owned()),
                    Ok(()) => say(true, "removed".to_owned()),
                    Err(why) => say(false, why),
                }
            }
        }
    }
    Ok(told)
}

/// Checks that a run of a recipe of this folder made a bundle, and that it is in that recipe's output folder.
fn whose(bundle: &StoredBundle, heading: Option<&Heading>, folder: &Path) -> Result<(), String> {
    if !is_below(folder, &bundle.recipe) {
        let recipe = bundle.recipe.display();
        return Err(format!(
            "a run of `{recipe}` made it, which is not in this folder: the history was copied, or its folder was moved"
        ));
    }
    let heading = heading.ok_or("this folder has no usable recipe of that name")?;
    let output = heading.output.canonicalize().map_err(|_| "the recipe's output folder is not there".to_owned())?;
    let above = bundle.path.parent().and_then(|above| above.canonicalize().ok());
    if above.as_ref() != Some(&output) || bundle.path.file_name().is_none() {
        return Err(format!("it is not in `{}`, the recipe's output folder", output.display()));
    }
    Ok(())
}

/// Checks that a bundle is as its run left it.
fn unchanged(bundle: &StoredBundle, heading: Option<&Heading>) -> Result<(), String> {
    let path = &bundle.path;
    if !path.symlink_metadata().is_ok_and(|data| data.is_dir()) {
        return Err("it is not a folder".to_owned());
    }
    if sums_of(path).as_ref() != Some(&bundle.sums) {
        return Err("it differs from what the history recorded".to_owned());
    }
    if let Some(added) = added_to(path) {
        return Err(format!("it was changed: it holds `{added}`, which is not part of it"));
    }
    let said = |error: &dyn std::error::Error| format!("it cannot be verified: {}", sentence(error));
    let opened = Bundle::open(path).map_err(|error| said(&error))?;
    // A differencing disk is verified together with its parent.
    let source = heading.and_then(|heading| heading.path.parent()).map(|home| home.join(&bundle.source));
    let source = source.filter(|source| opened.holds == Holds::Delta && source.is_file());
    let given = Given { source: source.as_deref(), ..Given::default() };
    let proof = verify(path, given, &Silent).map_err(|error| said(&error))?;
    match proof.problems.first() {
        Some(first) => Err(format!("it was changed: {} {}", first.place, first.what)),
        None => Ok(()),
    }
}

/// Checks that the rest of an interrupted removal is part of what its run made: files may be missing, but none may be
/// changed or added.
fn untouched(rest: &Path, bundle: &StoredBundle) -> Result<(), String> {
    if !rest.symlink_metadata().is_ok_and(|data| data.is_dir()) {
        return Err("it is not a folder".to_owned());
    }
    if sums_of(rest).as_ref() != Some(&bundle.sums) {
        return Err(format!("its {SUMS} is not the one that the history knows"));
    }
    if let Some(added) = added_to(rest) {
        return Err(format!("it holds `{added}`, which is not part of the bundle"));
    }
    let sums = fs::read(&rest.join(SUMS), LIST_LIMIT_BYTES).map_err(|error| sentence(&error))?;
    for (sum, name) in String::from_utf8_lossy(&sums).lines().filter_map(|line| line.split_once("  ")) {
        // A link was found above: it is not one of the bundle's files.
        let file = rest.join(name);
        match file.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Ok(data) if data.is_file() => {}
            _ => return Err(format!("`{name}` is not a regular file")),
        }
        let found = digest_file(&file, &|_| ()).map_err(|error| sentence(&error))?;
        if Digest::from_hex(sum) != Some(found) {
            return Err(format!("`{name}` was changed since the bundle was made"));
        }
    }
    Ok(())
}

/// Returns the temporary name of a bundle during its removal.
fn aside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.pruned", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Removes a bundle: first its name, so that a partial bundle never has it.
fn remove(bundle: &StoredBundle, is_dry: bool) -> Result<(), String> {
    let path = &bundle.path;
    let folder = path.parent().unwrap_or(Path::new(""));
    let lock = fs::open(folder).map_err(|error| error.to_string())?;
    if lock.try_lock().is_err() {
        return Err("a run writes to its folder".to_owned());
    }
    let aside = aside(path);
    if aside.symlink_metadata().is_ok() {
        return Err(format!("`{}` is in the way of the removal", aside.display()));
    }
    if is_dry {
        return Ok(());
    }
    let cwd = rustix::fs::CWD;
    let renamed = rustix::fs::renameat_with(cwd, path, cwd, &aside, rustix::fs::RenameFlags::NOREPLACE);
    renamed.map_err(|error| sentence(&fs::failed("rename", path)(error.into())))?;
    take(&aside)
}

/// Removes the files that a bundle's own list names, and the folders that are empty then: what came in between stays.
fn take(aside: &Path) -> Result<(), String> {
    let said = |error: fs::Error| sentence(&error);
    let sums = fs::read(&aside.join(SUMS), LIST_LIMIT_BYTES).map_err(said)?;
    let sums = String::from_utf8_lossy(&sums);
    let mut folders = vec![aside.to_owned()];
    let names = sums.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name);
    for name in names.chain(["SHA256SUMS.minisig", SUMS]) {
        // The list was verified; all the same nothing outside is touched.
        if coldforge_base::confined::parts(Path::new(name)).is_none() {
            continue;
        }
        let file = aside.join(name);
        for above in file.ancestors().skip(1).take_while(|above| *above != aside) {
            if above.is_symlink() {
                return Err(format!("`{}` became a link while it was removed", above.display()));
            }
            if !folders.iter().any(|known| known == above) {
                folders.push(above.to_owned());
            }
        }
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(said(fs::failed("remove", &file)(error)));
            }
            _ => {}
        }
    }
    // The deepest first.
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    for folder in folders {
        match std::fs::remove_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!(
                    "its files are gone; what is left: {}",
                    said(fs::failed("remove", &folder)(error))
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
