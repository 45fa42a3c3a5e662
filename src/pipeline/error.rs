//! What can end a job.

use thiserror::Error;

use crate::base::{Failure, Kind};
use crate::{audit, disk, policy, windows};

/// A failure of a job.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The image or the output failed.
    #[error(transparent)]
    Disk(#[from] disk::Error),

    /// The Windows in the image failed.
    #[error(transparent)]
    Windows(#[from] windows::Error),

    /// The policy failed.
    #[error(transparent)]
    Policy(#[from] policy::Error),

    /// The evidence failed.
    #[error(transparent)]
    Audit(#[from] audit::Error),

    /// A rule that was applied is still open when the machine is assessed anew through what was written.
    #[error("{count} rules are not as planned after the edit, the first is {rule}: nothing was emitted")]
    NotClosed {
        /// How many.
        count: usize,
        /// The first one's STIG id.
        rule: String,
    },

    /// The written image does not hold what the overlay held.
    #[error("the written image is assessed otherwise than the edit was: nothing was emitted")]
    WrittenOtherwise,

    /// Readers that this project did not write see another value than was written.
    #[error("a second reader disagrees: {first} ({count} values): nothing was emitted")]
    SecondOpinion {
        /// How many values.
        count: usize,
        /// The first one.
        first: String,
    },

    /// The image's name cannot stand in a list of files.
    #[error("the image's name `{name}` is not UTF-8")]
    ImageName {
        /// The name, as far as it can be shown.
        name: String,
    },

    /// The image's boot mode cannot be told from its partition table.
    #[error("the partition table does not tell how the machine boots")]
    BootModeUnknown,

    /// The header of a bundle's log does not say what was demanded, or when.
    #[error("the header of the bundle's audit.jsonl has no usable member `{member}`")]
    Evidence {
        /// The member.
        member: &'static str,
    },
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Disk(error) => error.kind(),
            Self::Windows(error) => error.kind(),
            Self::Policy(error) => error.kind(),
            Self::Audit(error) => error.kind(),
            Self::NotClosed { .. } | Self::WrittenOtherwise | Self::SecondOpinion { .. } | Self::Evidence { .. } => {
                Kind::Corrupt
            }
            Self::BootModeUnknown => Kind::Refused,
            Self::ImageName { .. } => Kind::Usage,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.code(),
            Self::Windows(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::BootModeUnknown => Some("E-BOOT-MODE"),
            _ => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Windows(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::Audit(error) => error.hint(),
            Self::NotClosed { .. } | Self::WrittenOtherwise | Self::SecondOpinion { .. } => {
                Some("the source is untouched; report this with the output of `coldforge inspect --json`")
            }
            Self::ImageName { .. } => Some("rename the image, or name it through a link with a plain name"),
            Self::BootModeUnknown => Some("say it with --boot-mode legacy-bios or --boot-mode uefi"),
            Self::Evidence { .. } => Some("make the bundle again with `coldforge harden`"),
        }
    }
}
