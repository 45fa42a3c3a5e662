//! Stopping a run on a signal: temporary files are removed, and critical sections end first.
//!
//! Code that makes a file or folder under a temporary name holds a [`TemporaryGuard`] for it; code that must not stop half
//! way through a write holds a [`CriticalSection`]. The signal handler's thread calls [`break_off`], which waits until no
//! critical section is left, removes every temporary file, and blocks new ones of either kind until the process exits.
//!
//! This is the only module with state of the whole process, because a signal is sent to the whole process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A thread that does not know yet may go on making files in a folder that is removed; it cannot go on for long.
const ATTEMPTS: usize = 1_000;

static STATE: Mutex<State> = Mutex::new(State { temporary: BTreeSet::new(), critical: 0, done: BTreeMap::new() });
static ENDED: Condvar = Condvar::new();
static BROKEN_OFF: AtomicBool = AtomicBool::new(false);

struct State {
    temporary: BTreeSet<PathBuf>,
    /// How many critical sections are open.
    critical: usize,
    /// What stands for good, by its path, and what to say of it.
    done: BTreeMap<PathBuf, String>,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers a file or folder under a temporary name, which [`break_off`] removes while this value lives.
#[derive(Debug)]
pub struct TemporaryGuard(PathBuf);

impl TemporaryGuard {
    /// Makes a file or folder and registers its path; [`break_off`] cannot come between the two.
    ///
    /// # Errors
    /// What making it answers.
    pub fn make<T, E>(make: impl FnOnce() -> Result<T, E>, path: impl FnOnce(&T) -> PathBuf) -> Result<(T, Self), E> {
        let mut state = state();
        let made = make()?;
        let path = path(&made);
        state.temporary.insert(path.clone());
        Ok((made, Self(path)))
    }
}

impl Drop for TemporaryGuard {
    fn drop(&mut self) {
        state().temporary.remove(&self.0);
    }
}

/// A critical section: the process does not stop on a signal while this value lives.
#[derive(Debug)]
pub struct CriticalSection(());

impl CriticalSection {
    /// Enters the section, which ends when the value is dropped.
    pub fn begin() -> Self {
        let mut state = state();
        state.critical = state.critical.saturating_add(1);
        Self(())
    }
}

impl Drop for CriticalSection {
    fn drop(&mut self) {
        let mut state = state();
        state.critical = state.critical.saturating_sub(1);
        ENDED.notify_all();
    }
}

/// Notes that something stands for good, and what to say of it if the process is told to stop before it could say so
/// itself. To be called while a [`CriticalSection`] is held, so that a signal does not come between.
pub fn stands(path: &Path, said: String) {
    state().done.insert(path.to_owned(), said);
}

/// Notes that something does not stand any more: it was taken back.
pub fn is_gone(path: &Path) {
    state().done.remove(path);
}

/// Nothing that is temporary is there any more, and nothing begins as long as this value lives.
#[must_use = "what it holds back goes on when it is dropped"]
pub struct BrokenOff(MutexGuard<'static, State>);

impl BrokenOff {
    /// Returns what is to be said of what stands for good.
    pub fn done(&self) -> impl Iterator<Item = &str> {
        self.0.done.values().map(String::as_str)
    }
}

/// Waits for the work that has to end, and removes everything that is temporary.
pub fn break_off() -> BrokenOff {
    BROKEN_OFF.store(true, Ordering::SeqCst);
    let state = ENDED.wait_while(state(), |state| state.critical > 0).unwrap_or_else(PoisonError::into_inner);
    for path in &state.temporary {
        for _ in 0..ATTEMPTS {
            let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            // What cannot be removed at all is left: there is nobody to tell who could do better.
            if removed.is_ok() || path.symlink_metadata().is_err() {
                break;
            }
        }
    }
    BrokenOff(state)
}

/// Tells whether the process was told to stop.
pub fn is_broken_off() -> bool {
    BROKEN_OFF.load(Ordering::SeqCst)
}
