//! Why a recipe or a pipeline is refused or fails.

use std::path::PathBuf;

use thiserror::Error;

use super::recipe::Fault as RecipeFault;
use crate::aws::preflight::UnknownFix;
use crate::{audit, component, harden, policy, windows};
use coldforge_base::{Failure, confined, fs};

/// The result of working with a recipe or a pipeline.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of a recipe or a pipeline.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// A job of the recipe failed.
    #[error(transparent)]
    #[failure(transparent)]
    Job(#[from] harden::Error),

    /// A recipe cannot be carried out.
    #[error(transparent)]
    #[failure(transparent)]
    Recipe(#[from] RecipeFault),

    /// A folder of pipelines cannot be worked on.
    #[error(transparent)]
    #[failure(transparent)]
    Pipeline(#[from] PipelineFault),
}

/// What is wrong with a recipe as part of a folder.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum PipelineFault {
    /// It is a link, or is reached through one.
    #[error("it is a link, and links are not followed")]
    #[failure(refused, "E-PIPELINE", hint = "put the recipe itself into the folder, or name the folder that holds it")]
    Link,

    /// Another recipe has the same name, or one that differs in case only.
    #[error("`{}` is also called `{name}`", other.display())]
    #[failure(refused, "E-PIPELINE", hint = "give one of the recipes another name")]
    Twice {
        /// The name.
        name: String,
        /// The other recipe.
        other: PathBuf,
    },

    /// There are too many.
    #[error("`{}` holds more than {most} {what}", folder.display())]
    #[failure(refused, "E-PIPELINE", hint = "spread the recipes over several folders")]
    TooMany {
        /// The folder.
        folder: PathBuf,
        /// How many are read.
        most: usize,
        /// Of what.
        what: &'static str,
    },

    /// A schedule, path or name cannot be expressed in the generated file.
    #[error("{what}")]
    #[failure(refused, "E-PIPELINE", hint = *hint)]
    NotExpressible {
        /// Why, as a sentence.
        what: String,
        /// What to do.
        hint: &'static str,
    },

    /// There is no pipeline of this name.
    #[error("there is no pipeline `{name}` in `{}`", folder.display())]
    #[failure(usage, hint = "run `coldforge pipeline list` to see the pipelines of the folder")]
    Unknown {
        /// The name.
        name: String,
        /// The folder.
        folder: PathBuf,
    },
}

/// Errors of the parts of a job become errors of the job.
macro_rules! through_the_job {
    ($($error:ty)+) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::Job(error.into())
            }
        })+
    };
}

through_the_job!(audit::Error component::Error UnknownFix confined::Error fs::Error policy::Error windows::Error coldforge_disk::Error);

/// Returns the error for a field whose word is not one of those expected.
pub(super) fn unknown(field: &'static str, found: &str, expected: &'static str) -> Error {
    RecipeFault::Word { field, found: found.to_owned(), expected }.into()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::{HistoryError, recipe};
    use super::*;
    use crate::component::{self, Fault, Flaw, Position};
    use coldforge_base::{Kind, confined, fs};

    /// Returns an error of each kind that components, recipes and pipelines end with.
    fn all() -> Vec<Box<dyn Failure>> {
        let path = || PathBuf::from("a");
        let text = || "a".to_owned();
        let mut all: Vec<Box<dyn Failure>> = Vec::new();
        for flaw in Flaw::ALL {
            let first = Fault { at: Position::default(), flaw: *flaw, what: text() };
            all.push(Box::new(component::Error::Faults { name: text(), count: 1, first }));
        }
        let document = toml::from_str::<toml::Table>("[[[").map(drop).unwrap_err();
        let recipes = [
            recipe::Fault::Document { source: Box::new(document) },
            recipe::Fault::Schema { found: text(), expected: "a" },
            recipe::Fault::Field { line: 1, name: text(), nearest: None },
            recipe::Fault::Word { field: "a", found: text(), expected: "a" },
            recipe::Fault::Key { key: text() },
            recipe::Fault::Missing { path: path() },
            recipe::Fault::Digest { path: path(), found: text(), expected: text() },
            recipe::Fault::SameName { name: text() },
            recipe::Fault::Taken { path: path() },
            recipe::Fault::Added { path: path(), file: text() },
            recipe::Fault::Schedule { text: text(), why: text() },
            recipe::Fault::Busy { path: path() },
        ];
        all.extend(recipes.into_iter().map(|fault| Box::new(Error::from(fault)) as Box<dyn Failure>));
        let pipelines = || {
            [
                PipelineFault::Link,
                PipelineFault::Twice { name: text(), other: path() },
                PipelineFault::TooMany { folder: path(), most: 1, what: "a" },
                PipelineFault::NotExpressible { what: text(), hint: "a" },
                PipelineFault::Unknown { name: text(), folder: path() },
            ]
        };
        all.extend(pipelines().into_iter().map(|fault| Box::new(Error::from(fault)) as Box<dyn Failure>));
        all.extend(pipelines().into_iter().map(|fault| Box::new(fault) as Box<dyn Failure>));
        let histories = [
            HistoryError::Busy { path: path() },
            HistoryError::File { path: path(), source: rusqlite::Error::InvalidQuery },
            HistoryError::Link { path: path() },
            HistoryError::Version { path: path(), found: 9 },
        ];
        all.extend(histories.into_iter().map(|error| Box::new(error) as Box<dyn Failure>));
        let outputs = [
            confined::Error::Outside { path: path() },
            confined::Error::Link { path: path() },
            confined::Error::NotAFile { path: path() },
            confined::Error::Foreign { path: path() },
        ];
        all.extend(outputs.into_iter().map(|error| Box::new(error) as Box<dyn Failure>));
        for kind in
            [io::ErrorKind::NotFound, io::ErrorKind::Other, io::ErrorKind::Interrupted, io::ErrorKind::IsADirectory]
        {
            let error = || fs::failed("open", &path())(io::Error::from(kind));
            all.push(Box::new(Error::from(error())));
            all.push(Box::new(confined::Error::from(error())));
        }
        all
    }

    #[test]
    fn every_error_says_what_to_do_and_every_refusal_has_a_code() {
        for error in all() {
            assert!(error.hint().is_some_and(|hint| !hint.is_empty() && !hint.ends_with('.')), "{error}");
            let is_refusal = matches!(error.kind(), Kind::Refused | Kind::Unsupported);
            assert_eq!(error.code().is_some(), is_refusal, "{error}");
        }
    }
}
