//! The history of pipelines: an SQLite file next to the recipes, with a row for each run and for each bundle.
//!
//! Each row of a run names its recipe by an absolute path, so that a history knows the folder that it belongs to. Rows of a
//! copied history that refer to the original folder are shown but never acted on.
//!
//! A run is recorded before it begins. A run without an end was interrupted, unless a process still holds its folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use serde::Serialize;
use thiserror::Error;

use super::recipe::{Recipe, Summary};
use coldforge_base::time::Moment;
use coldforge_base::{Failure, fs};

/// The version of the tables.
const VERSION: i64 = 1;
/// How long another run may hold the file: entering a row takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE run (
        id INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, version TEXT NOT NULL, recipe TEXT NOT NULL,
        folder TEXT NOT NULL, started INTEGER NOT NULL, duration_ms INTEGER, status TEXT NOT NULL
    ) STRICT;
    CREATE INDEX run_of_pipeline ON run (pipeline, id);
    CREATE TABLE bundle (
        run INTEGER NOT NULL REFERENCES run (id), source TEXT NOT NULL, status TEXT NOT NULL, path TEXT,
        image_sha256 TEXT, sha256sums TEXT, pass INTEGER, open INTEGER, not_applicable INTEGER, not_reviewed INTEGER,
        changes INTEGER NOT NULL, error TEXT
    ) STRICT;
    CREATE INDEX bundle_of_run ON bundle (run);
    PRAGMA user_version = 1;";

/// What is wrong with a history.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum HistoryError {
    /// Another program holds it.
    #[error("the history `{}` is held by another program", path.display())]
    #[failure(
        refused,
        "E-HISTORY-BUSY",
        hint = "wait until that run has entered its result, or name another file with --history"
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// It is not a history, is damaged, or cannot be read or written.
    #[error("the history `{}` cannot be used", path.display())]
    #[failure(
        refused,
        "E-HISTORY",
        hint = "move the file away and a new history begins, or name another one with --history"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },

    /// The file is a link.
    #[error("the history `{}` is a link, and links are not followed", path.display())]
    #[failure(refused, "E-HISTORY", hint = "name the target of the link with --history")]
    Link {
        /// The link.
        path: PathBuf,
    },

    /// It is of another version.
    #[error("the history `{}` is of version {found}; this program knows {VERSION}", path.display())]
    #[failure(
        refused,
        "E-HISTORY-VERSION",
        hint = "use the version of coldforge that wrote it, or name another file with --history"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

/// A history that is open.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    path: PathBuf,
}

/// A run as the history tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Its number.
    pub id: i64,
    /// The pipeline.
    pub pipeline: String,
    /// The recipe's version.
    pub version: String,
    /// The recipe.
    pub recipe: String,
    /// When it began, in RFC 3339.
    pub started: String,
    /// How long it took; none for one that did not end.
    pub duration_ms: Option<i64>,
    /// `succeeded`, `findings`, `failed`, `refused`, `running` or `interrupted`.
    pub status: String,
    /// Its bundles.
    pub bundles: Vec<BundleRow>,
}

/// A bundle as the history tells it.
#[derive(Clone, Debug, Serialize)]
pub struct BundleRow {
    /// The image that it was made of.
    pub source: String,
    /// `built`, `unchanged`, `failed` or `error`.
    pub status: String,
    /// Where it was put.
    pub path: Option<String>,
    /// The digest of the new image.
    pub image_sha256: Option<String>,
    /// The digest of its `SHA256SUMS`.
    pub sha256sums: Option<String>,
    /// The rules that are met, open, not applicable and not reviewed.
    pub totals: Option<[i64; 4]>,
    /// How many settings were changed.
    pub changes: i64,
    /// Why there is none.
    pub error: Option<String>,
}

impl History {
    /// Opens a history, and begins one where there is none and `may_begin`.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn open(path: &Path, may_begin: bool) -> Result<Option<Self>, HistoryError> {
        if !may_begin && !path.exists() {
            return Ok(None);
        }
        if path.is_symlink() {
            return Err(HistoryError::Link { path: path.to_owned() });
        }
        let failed = |source| faulty(path, source);
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, may_begin);
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        let version = || connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).map_err(failed);
        let count = "SELECT count(*) FROM sqlite_schema";
        if may_begin
            && version()? == 0
            && connection.query_row(count, [], |row| row.get::<_, i64>(0)).map_err(failed)? == 0
        {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} COMMIT;")).map_err(failed)?;
        }
        match version()? {
            VERSION => Ok(Some(Self { connection, path: path.to_owned() })),
            found => Err(HistoryError::Version { path: path.to_owned(), found }),
        }
    }

    /// Enters a run that begins, and returns its number. Those of the pipeline that never ended were interrupted.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn begin(&self, recipe: &Recipe, now: Moment) -> Result<i64, HistoryError> {
        self.settle()?;
        let text = |path: &Path| absolute(path).display().to_string();
        self.connection
            .execute(
                "INSERT INTO run (pipeline, version, recipe, folder, started, status) VALUES (?, ?, ?, ?, ?, 'running')",
                params![recipe.name(), recipe.version(), text(recipe.path()), text(recipe.folder()), now.0.cast_signed()],
            )
            .map_err(|source| faulty(&self.path, source))?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Enters how a run ended.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn end(&self, run: i64, took: Duration, summary: Option<&Summary>) -> Result<(), HistoryError> {
        let failed = |source| faulty(&self.path, source);
        let transaction = self.connection.unchecked_transaction().map_err(failed)?;
        let status = summary.map_or("refused", Summary::status);
        let milliseconds = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let ended = "UPDATE run SET status = ?, duration_ms = ? WHERE id = ?";
        transaction.execute(ended, params![status, milliseconds, run]).map_err(failed)?;
        for image in summary.iter().flat_map(|summary| &summary.images) {
            let totals = image.totals.map(|totals| {
                let all = totals.all;
                [all.pass, all.open, all.not_applicable, all.not_reviewed]
                    .map(|count| i64::try_from(count).unwrap_or(i64::MAX))
            });
            let [pass, open, not_applicable, not_reviewed] =
                [0, 1, 2, 3].map(|at| totals.map(|totals: [i64; 4]| totals[at]));
            let path = image.bundle.as_deref().map(absolute);
            let sums = path.as_deref().and_then(super::recipe::sums_of);
            transaction
                .execute(
                    "INSERT INTO bundle VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    params![
                        run,
                        image.source,
                        image.status(),
                        path.map(|path| path.display().to_string()),
                        image.sha256.map(|sha256| sha256.to_string()),
                        sums,
                        pass,
                        open,
                        not_applicable,
                        not_reviewed,
                        i64::try_from(image.changes).unwrap_or(i64::MAX),
                        image.error.as_ref().map(ToString::to_string),
                    ],
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// Returns the latest runs, the newest first; of one pipeline, or of all.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn runs(&self, pipeline: Option<&str>, most: u32) -> Result<Vec<Run>, HistoryError> {
        self.settle()?;
        let read = || -> rusqlite::Result<Vec<Run>> {
            let mut statement = self.connection.prepare(
                "SELECT id, pipeline, version, recipe, started, duration_ms, status FROM run
                 WHERE ?1 IS NULL OR pipeline = ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let runs = statement.query_map(params![pipeline, most], |row| {
                Ok(Run {
                    id: row.get(0)?,
                    pipeline: row.get(1)?,
                    version: row.get(2)?,
                    recipe: row.get(3)?,
                    started: Moment(row.get::<_, i64>(4)?.cast_unsigned()).to_string(),
                    duration_ms: row.get(5)?,
                    status: row.get(6)?,
                    bundles: Vec::new(),
                })
            })?;
            runs.map(|run| run.and_then(|run| Ok(Run { bundles: self.bundles(run.id)?, ..run }))).collect()
        };
        read().map_err(|source| faulty(&self.path, source))
    }

    fn bundles(&self, run: i64) -> rusqlite::Result<Vec<BundleRow>> {
        let mut statement = self.connection.prepare(
            "SELECT source, status, path, image_sha256, sha256sums, pass, open, not_applicable, not_reviewed, changes, error
             FROM bundle WHERE run = ? ORDER BY rowid",
        )?;
        let rows = statement.query_map([run], |row| {
            let counts: [Option<i64>; 4] = [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?];
            Ok(BundleRow {
                source: row.get(0)?,
                status: row.get(1)?,
                path: row.get(2)?,
                image_sha256: row.get(3)?,
                sha256sums: row.get(4)?,
                totals: counts.iter().all(Option::is_some).then(|| counts.map(Option::unwrap_or_default)),
                changes: row.get(9)?,
                error: row.get(10)?,
            })
        })?;
        rows.collect()
    }

    /// Finds runs without an end that no process works on any more.
    fn settle(&self) -> Result<(), HistoryError> {
        let settle = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare("SELECT id, folder FROM run WHERE status = 'running'")?;
            let open: Vec<(i64, String)> =
                statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
            for (id, folder) in open {
                // Whatever has that name now, only a folder is opened.
                let folder = Path::new(&folder);
                let is_held = folder.is_dir() && fs::open(folder).is_ok_and(|folder| folder.try_lock().is_err());
                if !is_held {
                    self.connection
                        .execute("UPDATE run SET status = 'interrupted' WHERE id = ? AND status = 'running'", [id])?;
                }
            }
            Ok(())
        };
        settle().map_err(|source| faulty(&self.path, source))
    }

    /// Returns every bundle that the runs of a pipeline made and tested, the newest first: each place once for each recipe.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub(super) fn stored_bundles(&self, pipeline: &str) -> Result<Vec<StoredBundle>, HistoryError> {
        let read = || -> rusqlite::Result<Vec<StoredBundle>> {
            let mut statement = self.connection.prepare(
                "SELECT path, sha256sums, started, recipe, source FROM bundle JOIN run ON run.id = bundle.run
                 WHERE pipeline = ? AND bundle.status IN ('built', 'unchanged') AND path IS NOT NULL
                   AND sha256sums IS NOT NULL ORDER BY run.id DESC, bundle.rowid DESC",
            )?;
            let rows = statement.query_map([pipeline], |row| {
                let [path, recipe]: [String; 2] = [row.get(0)?, row.get(3)?];
                Ok(StoredBundle {
                    path: path.into(),
                    sums: row.get(1)?,
                    started: Moment(row.get::<_, i64>(2)?.cast_unsigned()),
                    recipe: recipe.into(),
                    source: row.get(4)?,
                })
            })?;
            let mut stored_bundles: Vec<StoredBundle> = Vec::new();
            for row in rows {
                let row = row?;
                if !stored_bundles.iter().any(|known| known.path == row.path && known.recipe == row.recipe) {
                    stored_bundles.push(row);
                }
            }
            Ok(stored_bundles)
        };
        read().map_err(|source| faulty(&self.path, source))
    }

    /// Returns how many runs it holds that recipes of other folders made: it was copied, or its folder was moved.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn runs_elsewhere(&self, folder: &Path) -> Result<Vec<(PathBuf, usize)>, HistoryError> {
        let read = || -> rusqlite::Result<Vec<(PathBuf, usize)>> {
            let mut statement = self.connection.prepare("SELECT recipe FROM run ORDER BY id")?;
            let mut found: Vec<(PathBuf, usize)> = Vec::new();
            for recipe in statement.query_map([], |row| row.get::<_, String>(0))? {
                let recipe = PathBuf::from(recipe?);
                if is_below(folder, &recipe) {
                    continue;
                }
                let home = recipe.parent().unwrap_or(Path::new("")).to_owned();
                match found.iter_mut().find(|(known, _)| *known == home) {
                    Some((_, count)) => *count = count.saturating_add(1),
                    None => found.push((home, 1)),
                }
            }
            Ok(found)
        };
        read().map_err(|source| faulty(&self.path, source))
    }

    /// Returns the names of the pipelines that it knows.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub(super) fn pipelines(&self) -> Result<Vec<String>, HistoryError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.connection.prepare("SELECT DISTINCT pipeline FROM run ORDER BY pipeline")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        read().map_err(|source| faulty(&self.path, source))
    }

    /// Returns the number of the last run of a pipeline.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn last(&self, pipeline: &str) -> Result<Option<Run>, HistoryError> {
        let id = self
            .connection
            .query_row("SELECT max(id) FROM run WHERE pipeline = ?", [pipeline], |row| row.get::<_, Option<i64>>(0))
            .optional()
            .map_err(|source| faulty(&self.path, source))?;
        match id.flatten() {
            None => Ok(None),
            Some(_) => Ok(self.runs(Some(pipeline), 1)?.into_iter().next()),
        }
    }
}

/// A bundle, as a row of the history tells it.
#[derive(Clone, Debug)]
pub(super) struct StoredBundle {
    /// Where it was put.
    pub(super) path: PathBuf,
    /// The digest of its `SHA256SUMS`.
    pub(super) sums: String,
    /// When its run began.
    pub(super) started: Moment,
    /// The recipe that made it.
    pub(super) recipe: PathBuf,
    /// The image that it was made of, as the recipe's folder shows it.
    pub(super) source: String,
}

/// Returns whether a recipe is in a folder of pipelines: in it, or as `NAME/recipe.toml`. Both are absolute.
pub(super) fn is_below(folder: &Path, recipe: &Path) -> bool {
    let home = recipe.parent();
    let is_named = recipe.file_name().is_some_and(|name| name == "recipe.toml");
    home == Some(folder) || (is_named && home.and_then(Path::parent) == Some(folder))
}

/// Returns a path that means the same wherever it is read.
pub(super) fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

fn faulty(path: &Path, source: rusqlite::Error) -> HistoryError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => HistoryError::Busy { path: path.to_owned() },
        _ => HistoryError::File { path: path.to_owned(), source },
    }
}
