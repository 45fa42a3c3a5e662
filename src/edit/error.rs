//! Why an edit of a registry or of files is refused or fails.

use std::path::PathBuf;

use thiserror::Error;

use crate::formats::reg_file;
use crate::windows;
use coldforge_base::{Failure, Kind, device, fs};
use coldforge_disk as disk;
use coldforge_ntfs as ntfs;
use coldforge_regf as regf;

/// A hint that several of these errors share.
const CHECK_HIVE: &str = "run `coldforge reg check` to see what is wrong";

/// The result of an edit.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of an edit.
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

    /// A file could not be read or written.
    #[error(transparent)]
    #[failure(transparent)]
    File(#[from] fs::Error),

    /// A hive that is read contradicts its format.
    #[error("the registry cannot be read")]
    #[failure(transparent, otherwise = CHECK_HIVE)]
    Hive(#[from] regf::Error),

    /// A hive file cannot be used.
    #[error("the hive `{}` cannot be used", path.display())]
    #[failure(transparent, kind = hive_kind(source), code = hive_code(source), otherwise = CHECK_HIVE)]
    HiveFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: regf::Error,
    },

    /// A hive file breaks rules that every hive of Windows keeps.
    #[error("the hive `{}` is damaged: {}, the first: {first}", path.display(), windows::plural(*findings))]
    #[failure(
        refused,
        "E-HIVE-CORRUPT",
        hint = "run `coldforge reg check` to see everything that is wrong; where that is reference counts (sk-refs) alone, \
                 --accept-refcounts takes the hive and sets them right"
    )]
    HiveDamaged {
        /// The file.
        path: PathBuf,
        /// How many errors the verifier found.
        findings: usize,
        /// The first one.
        first: String,
    },

    /// A log next to a hive file would remain, and could be replayed over the edit.
    #[error("the log `{}` is next to the hive but not among those named", path.display())]
    #[failure(usage, hint = "name all logs of the hive, or none to use those next to it")]
    OtherLog {
        /// The log.
        path: PathBuf,
    },

    /// A path on a volume cannot be worked on.
    #[error("`{path}` cannot be changed")]
    #[failure(transparent)]
    Path {
        /// The path.
        path: String,
        /// Why.
        source: ntfs::Error,
    },

    /// What a directory passes on to new files is not known, or of a kind that is not handled.
    #[error("`{path}` cannot be made: what its folder passes on to new files is not understood")]
    #[failure(unsupported, "E-INHERITANCE", hint = "choose another folder: `coldforge ls --acl` shows what each has")]
    Inheritance {
        /// The path.
        path: String,
    },

    /// A volume has no such path.
    #[error("the volume has no `{path}`")]
    #[failure(not_found, hint = "run `coldforge ls` on the folder to see what it holds")]
    NoPath {
        /// The path.
        path: String,
    },

    /// A key that begins with a root was looked for in a hive file.
    #[error("`{key}` begins with a root, and a hive file has only keys below its own")]
    #[failure(usage, hint = "leave the root out: name the key relative to the hive's root")]
    NotRelative {
        /// The key.
        key: String,
    },

    /// The output exists.
    #[error("`{}` exists", path.display())]
    #[failure(usage, hint = "choose another output, or remove it first")]
    Exists {
        /// The output.
        path: PathBuf,
    },

    /// A key of a `.reg` file does not begin with the prefix.
    #[error("line {line}: `{key}` does not begin with the prefix")]
    #[failure(usage, hint = "give the registry path of the hive's root with --prefix")]
    Prefix {
        /// The key.
        key: String,
        /// Its line, from 1.
        line: usize,
    },

    /// A change of the registry was refused.
    #[error("`{key}` cannot be changed")]
    #[failure(transparent, otherwise = CHECK_HIVE)]
    Step {
        /// The key.
        key: String,
        /// Why.
        source: regf::Error,
    },

    /// Text is no `.reg` file, or a registry cannot be written as one.
    #[error(transparent)]
    #[failure(transparent)]
    RegText(#[from] reg_file::Error),
}

impl From<device::Error> for Error {
    fn from(error: device::Error) -> Self {
        Self::Disk(error.into())
    }
}

/// Returns the kind of what is wrong with a hive file: a damaged one is refused.
fn hive_kind(source: &regf::Error) -> Kind {
    match source.kind() {
        Kind::Corrupt => Kind::Refused,
        kind => kind,
    }
}

/// Returns the code of what is wrong with a hive file.
fn hive_code(source: &regf::Error) -> Option<&'static str> {
    match source.kind() {
        Kind::Corrupt => Some("E-HIVE-CORRUPT"),
        _ => source.code(),
    }
}
