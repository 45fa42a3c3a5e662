//! Why a job is refused or fails.

use std::path::PathBuf;

use thiserror::Error;

use crate::aws::preflight::{Route, UnknownFix};
use crate::report::{Format, Unreadable};
use crate::{audit, component, edit, policy, windows};
use coldforge_base::{Failure, confined, device, fs};
use coldforge_disk as disk;

/// A hint that several of these errors share.
const REPORT_IT: &str = "the source is untouched; report this with the output of `coldforge inspect --json`";
/// A hint that several of these errors share.
const HARDEN_AGAIN: &str = "make the bundle again with `coldforge harden`";

/// A failure of a job.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The image or the output failed.
    #[error(transparent)]
    #[failure(transparent)]
    Disk(#[from] disk::Error),

    /// The Windows in the image failed.
    #[error(transparent)]
    #[failure(transparent)]
    Windows(#[from] windows::Error),

    /// The policy failed.
    #[error(transparent)]
    #[failure(transparent)]
    Policy(#[from] policy::Error),

    /// The evidence failed.
    #[error(transparent)]
    #[failure(transparent)]
    Audit(#[from] audit::Error),

    /// A file could not be read or written.
    #[error(transparent)]
    #[failure(transparent)]
    File(#[from] fs::Error),

    /// A file may not be written where it would be.
    #[error(transparent)]
    #[failure(transparent)]
    Output(#[from] confined::Error),

    /// A rule that was applied is still open when the machine is assessed anew through what was written.
    #[error("{count} rules are not as planned after the edit, the first is {rule}: nothing was emitted")]
    #[failure(corrupt, hint = REPORT_IT)]
    NotClosed {
        /// How many.
        count: usize,
        /// The first one's STIG id.
        rule: String,
    },

    /// The written image does not hold what the overlay held.
    #[error("the written image is assessed otherwise than the edit was: nothing was emitted")]
    #[failure(corrupt, hint = REPORT_IT)]
    WrittenOtherwise,

    /// Readers that this project did not write see another value than was written.
    #[error("a second reader disagrees: {first} ({count} values): nothing was emitted")]
    #[failure(corrupt, hint = REPORT_IT)]
    SecondOpinion {
        /// How many values.
        count: usize,
        /// The first one.
        first: String,
    },

    /// A bundle is about an image that lies elsewhere.
    #[error("the run wrote into the image `{name}` itself, which is not in the bundle")]
    #[failure(usage, hint = "name that image with --image")]
    ImageElsewhere {
        /// The image's file name.
        name: String,
    },

    /// Nothing was found to be wrong with a bundle, and not everything could be looked at.
    #[error("the bundle `{}` was not judged", folder.display())]
    #[failure(transparent)]
    NotJudged {
        /// The bundle.
        folder: PathBuf,
        /// What stood in the way.
        source: Box<Error>,
    },

    /// The image's name cannot stand in a list of files.
    #[error("the image's name `{name}` is not UTF-8")]
    #[failure(usage, hint = "rename the image, or name it through a link with a plain name")]
    ImageName {
        /// The name, as far as it can be shown.
        name: String,
    },

    /// The image's boot mode cannot be told from its partition table.
    #[error("the partition table does not tell how the machine boots")]
    #[failure(refused, "E-BOOT-MODE", hint = "say it with --boot-mode legacy-bios or --boot-mode uefi")]
    BootModeUnknown,

    /// The fixes that were asked for are not known.
    #[error(transparent)]
    #[failure(transparent)]
    Fix(#[from] UnknownFix),

    /// Amazon would not take the image, and the route was named.
    #[error("the preflight for {route} fails {count} checks, the first is {check}, {title}: nothing was emitted")]
    #[failure(
        refused,
        "E-PREFLIGHT",
        hint = "run `coldforge preflight` for what to do about each, set right with --fix what can be, or go on with --skip-preflight"
    )]
    Preflight {
        /// The route.
        route: Route,
        /// How many checks fail.
        count: usize,
        /// The first one's id.
        check: String,
        /// What it is about.
        title: String,
    },

    /// No report can be made of a bundle's documents.
    #[error("no report can be made")]
    #[failure(corrupt, hint = HARDEN_AGAIN)]
    Report(#[from] Unreadable),

    /// A report tells of a run, and there was none.
    #[error("there is nothing that a report of format {format} could tell")]
    #[failure(usage, hint = "leave the format out")]
    NoReport {
        /// The format.
        format: Format,
    },

    /// The header of a bundle's log does not say what was demanded, or when.
    #[error("the header of the bundle's audit.jsonl has no usable member `{member}`")]
    #[failure(corrupt, hint = HARDEN_AGAIN)]
    Evidence {
        /// The member.
        member: &'static str,
    },

    /// A component cannot be used, or one of its steps fails.
    #[error(transparent)]
    #[failure(transparent)]
    Component(#[from] component::Error),

    /// The output cannot be written.
    #[error(transparent)]
    #[failure(transparent)]
    Edit(#[from] edit::Error),
}

impl From<device::Error> for Error {
    fn from(error: device::Error) -> Self {
        Self::Disk(error.into())
    }
}
