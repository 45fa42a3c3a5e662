//! Which bundles of a pipeline stay. Only what the history knows goes, only as it was made, and never the newest good one.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::history::{History, HistoryError};
use super::recipe::{is_whole, sums_of};
use crate::base::fs;
use crate::base::time::Moment;

/// What stays.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// How many of the newest bundles of each pipeline stay.
    pub keep: usize,
    /// Those that are younger stay as well, in seconds.
    pub younger_than: Option<u64>,
    /// Whether it is only told what would go.
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

/// Removes the bundles that need not stay.
///
/// # Errors
/// [`HistoryError`]; what the operating system answers is told with the bundle.
pub fn prune(history: &History, retention: Retention, now: Moment) -> Result<Vec<Pruned>, HistoryError> {
    let mut told = Vec::new();
    for pipeline in history.pipelines()? {
        // The places come newest first, and those that are gone count for nothing.
        let places = history.places(&pipeline)?;
        let there = places.into_iter().filter(|(path, ..)| path.symlink_metadata().is_ok());
        let mut good = 0_usize;
        for (path, sums, started) in there {
            let mut say = |goes: bool, why: String| {
                told.push(Pruned { pipeline: pipeline.clone(), path: path.clone(), goes, why })
            };
            if !path.symlink_metadata().is_ok_and(|data| data.is_dir()) {
                say(false, "it is no folder".to_owned());
                continue;
            }
            if sums_of(&path).as_ref() != Some(&sums) {
                say(false, "it is not as the history knows it".to_owned());
                continue;
            }
            // Those that count as good are read; behind them it does not matter any more.
            if good < retention.keep.max(1) && !is_whole(&path) {
                say(false, "a file of it is damaged".to_owned());
                continue;
            }
            good = good.saturating_add(1);
            let age = now.0.saturating_sub(started.0);
            if good <= retention.keep.max(1) {
                say(false, format!("it is one of the {} newest", retention.keep.max(1)));
            } else if retention.younger_than.is_some_and(|limit| age < limit) {
                say(false, "it is young".to_owned());
            } else if !is_free(&path) {
                say(false, "a run writes to its folder".to_owned());
            } else if retention.is_dry {
                say(true, "it would be removed".to_owned());
            } else {
                match remove(&path) {
                    Ok(()) => say(true, "removed".to_owned()),
                    Err(error) => say(false, error.to_string()),
                }
            }
        }
    }
    Ok(told)
}

/// Tells whether no run holds the folder that a bundle lies in.
fn is_free(bundle: &Path) -> bool {
    bundle.parent().is_some_and(|folder| fs::open(folder).is_ok_and(|folder| folder.try_lock().is_ok()))
}

/// Removes a folder: first its name, so that half a bundle never stands under it.
fn remove(path: &Path) -> Result<(), fs::Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.pruned"));
    // What a removal that was broken off left behind.
    let _ = std::fs::remove_dir_all(&aside);
    std::fs::rename(path, &aside).map_err(fs::failed("rename", path))?;
    std::fs::remove_dir_all(&aside).map_err(fs::failed("remove", &aside))
}
