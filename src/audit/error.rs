//! What can go wrong when evidence is written or read.

use std::path::PathBuf;

use thiserror::Error;

use super::signature::KeyFault;
use coldforge_base::{Failure, fs};

/// A failure of this floor.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The operating system failed.
    #[error(transparent)]
    #[failure(transparent)]
    File(#[from] fs::Error),

    /// A bundle is to be written where something stands already.
    #[error("the output `{}` exists and is not an empty folder", path.display())]
    #[failure(usage, hint = "name a folder that does not exist yet, or remove the old one")]
    OutputExists {
        /// The output folder that was asked for.
        path: PathBuf,
    },

    /// A file is to be written into a bundle, which would not verify then.
    #[error("`{}` lies in the bundle `{}`, which would not verify with another file in it", path.display(), bundle.display())]
    #[failure(usage, hint = "name a folder outside the bundle")]
    InBundle {
        /// Where the file was to be written.
        path: PathBuf,
        /// The bundle.
        bundle: PathBuf,
    },

    /// The image has the name of another file of a bundle, or one that a list of files cannot hold.
    #[error("an image called `{name}` cannot lie in a bundle")]
    #[failure(usage, hint = "rename the image, or name it through a link with another name")]
    Name {
        /// The name, control characters spelled out.
        name: String,
    },

    /// A file that every bundle has is not there, or cannot be understood.
    #[error("`{}` is not a bundle: {what} in `{file}`", path.display())]
    #[failure(corrupt, hint = "name the folder that `coldforge harden -o` wrote")]
    NotABundle {
        /// The folder.
        path: PathBuf,
        /// The file that is wrong.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },

    /// A key cannot be used.
    #[error("the {which} key cannot be used")]
    #[failure(usage, hint = "put the password into COLDFORGE_SIGN_PASSWORD, or into the file of --sign-password-file")]
    Key {
        /// `secret` or `public`.
        which: &'static str,
        /// What is wrong with it.
        #[source]
        fault: KeyFault,
    },
}
