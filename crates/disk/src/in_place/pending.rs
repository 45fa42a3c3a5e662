//! What an undo journal beside an image says of it, for whoever opens the image.

use std::path::Path;

use super::super::{Error, Result};
use super::journal::{self, State};

/// What stands beside an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pending {
    /// The journal of a run that did not end: the image may be half written.
    Unfinished,
    /// The journal of a run that wrote all of the image, and was broken off before its evidence was whole.
    Unsettled,
    /// The journal of a run that ended well and may be rolled back.
    Finished,
}

impl From<State> for Pending {
    fn from(state: State) -> Self {
        match state {
            State::Running => Self::Unfinished,
            State::Written(_) => Self::Unsettled,
            State::Finished(_) | State::Timed(..) => Self::Finished,
        }
    }
}

/// Tells what stands beside an image.
///
/// # Errors
/// [`Error::UndoOwner`] for a journal that somebody else could have made, otherwise the operating system's.
pub fn pending(image: &Path) -> Result<Option<Pending>> {
    Ok(journal::state_of(&journal::path_of(image)?, image)?.map(Pending::from))
}

/// Refuses an image beside which an unfinished run's journal stands.
pub(crate) fn refuse_unfinished(image: &Path) -> Result<()> {
    match pending(image)? {
        Some(Pending::Unfinished) => Err(Error::UnfinishedRun { path: image.to_owned() }),
        _ => Ok(()),
    }
}

/// Refuses an image beside which any run's journal stands.
pub(crate) fn refuse_finished(image: &Path) -> Result<()> {
    let path = journal::path_of(image)?;
    match journal::state_of(&path, image)? {
        None => Ok(()),
        Some(State::Written(_)) => Err(Error::Unsettled { path: image.to_owned() }),
        Some(_) => Err(Error::UndoExists { path }),
    }
}
