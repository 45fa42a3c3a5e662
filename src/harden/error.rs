//! What can end a job.

use std::path::PathBuf;

use thiserror::Error;

use super::component::{Fault, Flaw};
use super::folder::PipelineFault;
use super::recipe;
use crate::aws::preflight::{Route, UnknownFix};
use crate::formats::reg_file;
use crate::report::{Format, Unreadable};
use crate::{audit, policy, windows};
use coldforge_base::{Failure, Kind, confined, device, fs};
use coldforge_disk as disk;
use coldforge_ntfs as ntfs;
use coldforge_regf as regf;

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

    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),

    /// A file may not be written where it would be.
    #[error(transparent)]
    Output(#[from] confined::Error),

    /// A hive that is read contradicts its format.
    #[error("the registry cannot be read")]
    Hive(#[from] regf::Error),

    /// A hive file cannot be used.
    #[error("the hive `{}` cannot be used", path.display())]
    HiveFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: regf::Error,
    },

    /// A hive file breaks rules that every hive of Windows keeps.
    #[error("the hive `{}` is damaged: {findings} findings, the first: {first}", path.display())]
    HiveDamaged {
        /// The file.
        path: PathBuf,
        /// How many errors the verifier found.
        findings: usize,
        /// The first one.
        first: String,
    },

    /// A log beside a hive file would stay, and could be replayed over what is written.
    #[error("the log `{}` lies beside the hive and is not among those named", path.display())]
    OtherLog {
        /// The log.
        path: PathBuf,
    },

    /// A path on a volume cannot be worked on.
    #[error("`{path}` cannot be changed")]
    Path {
        /// The path.
        path: String,
        /// Why.
        source: ntfs::Error,
    },

    /// What a directory passes on to new files is not known, or of a kind that is not handled.
    #[error("`{path}` cannot be made: what its folder passes on to new files is not understood")]
    Inheritance {
        /// The path.
        path: String,
    },

    /// A volume has no such path.
    #[error("the volume has no `{path}`")]
    NoPath {
        /// The path.
        path: String,
    },

    /// A key that begins with a root was looked for in a hive file.
    #[error("`{key}` begins with a root, and a hive file has only keys below its own")]
    NotRelative {
        /// The key.
        key: String,
    },

    /// The output exists.
    #[error("`{}` exists", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },

    /// A key of a `.reg` file does not begin with the prefix.
    #[error("line {line}: `{key}` does not begin with the prefix")]
    Prefix {
        /// The key.
        key: String,
        /// Its line, from 1.
        line: usize,
    },

    /// A change of the registry was refused.
    #[error("`{key}` cannot be changed")]
    Step {
        /// The key.
        key: String,
        /// Why.
        source: regf::Error,
    },

    /// Text is no `.reg` file, or a registry cannot be written as one.
    #[error(transparent)]
    RegText(#[from] reg_file::Error),

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

    /// A bundle is about an image that lies elsewhere.
    #[error("the run wrote into the image `{name}` itself, which is not in the bundle")]
    ImageElsewhere {
        /// The image's file name.
        name: String,
    },

    /// Nothing was found to be wrong with a bundle, and not everything could be looked at.
    #[error("the bundle `{}` was not judged", folder.display())]
    NotJudged {
        /// The bundle.
        folder: PathBuf,
        /// What stood in the way.
        source: Box<Error>,
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

    /// The fixes that were asked for are not known.
    #[error(transparent)]
    Fix(#[from] UnknownFix),

    /// Amazon would not take the image, and the route was named.
    #[error("the preflight for {route} fails {count} checks, the first is {check}, {title}: nothing was emitted")]
    Preflight {
        /// The route.
        route: Route,
        /// How many checks fail.
        count: usize,
        /// The first one's id.
        check: &'static str,
        /// What it is about.
        title: &'static str,
    },

    /// A component cannot be used, or one of its steps fails.
    #[error("{name} cannot be carried out ({count} faults): {first}")]
    Component {
        /// The component, or its step.
        name: String,
        /// How many faults it has.
        count: usize,
        /// The first one.
        first: Fault,
    },

    /// A recipe cannot be carried out.
    #[error(transparent)]
    Recipe(#[from] recipe::Fault),

    /// A folder of pipelines cannot be worked on.
    #[error(transparent)]
    Pipeline(#[from] PipelineFault),

    /// No report can be made of a bundle's documents.
    #[error("no report can be made")]
    Report(#[from] Unreadable),

    /// A report tells of a run, and there was none.
    #[error("there is nothing that a report of format {format} could tell")]
    NoReport {
        /// The format.
        format: Format,
    },

    /// The header of a bundle's log does not say what was demanded, or when.
    #[error("the header of the bundle's audit.jsonl has no usable member `{member}`")]
    Evidence {
        /// The member.
        member: &'static str,
    },
}

impl From<device::Error> for Error {
    fn from(error: device::Error) -> Self {
        Self::Disk(error.into())
    }
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Disk(error) => error.kind(),
            Self::NotJudged { source, .. } => source.kind(),
            Self::Windows(error) => error.kind(),
            Self::Policy(error) => error.kind(),
            Self::Audit(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Output(error) => error.kind(),
            Self::Hive(error) => error.kind(),
            Self::RegText(error) => error.kind(),
            Self::HiveFile { source, .. } if source.kind() == Kind::Corrupt => Kind::Refused,
            Self::HiveFile { source, .. } | Self::Step { source, .. } => source.kind(),
            Self::OtherLog { .. } => Kind::Usage,
            Self::HiveDamaged { .. } => Kind::Refused,
            Self::Path { source, .. } => source.kind(),
            Self::NoPath { .. } => Kind::NotFound,
            Self::Inheritance { .. } => Kind::Unsupported,
            Self::NotRelative { .. } | Self::Exists { .. } | Self::Prefix { .. } => Kind::Usage,
            Self::NoReport { .. } => Kind::Usage,
            Self::NotClosed { .. }
            | Self::WrittenOtherwise
            | Self::SecondOpinion { .. }
            | Self::Report(_)
            | Self::Evidence { .. } => Kind::Corrupt,
            Self::Fix(error) => error.kind(),
            Self::Recipe(fault) => fault.kind(),
            Self::Pipeline(fault) => fault.kind(),
            Self::Component { first, .. } if first.flaw.is_offline() => Kind::Unsupported,
            Self::BootModeUnknown | Self::Preflight { .. } | Self::Component { .. } => Kind::Refused,
            Self::ImageElsewhere { .. } | Self::ImageName { .. } => Kind::Usage,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.code(),
            Self::NotJudged { source, .. } => source.code(),
            Self::Windows(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Output(error) => error.code(),
            Self::Hive(error) => error.code(),
            Self::RegText(error) => error.code(),
            Self::HiveFile { source, .. } if source.kind() == Kind::Corrupt => Some("E-HIVE-CORRUPT"),
            Self::HiveFile { source, .. } | Self::Step { source, .. } => source.code(),
            Self::HiveDamaged { .. } => Some("E-HIVE-CORRUPT"),
            Self::Path { source, .. } => source.code(),
            Self::Inheritance { .. } => Some("E-INHERITANCE"),
            Self::Recipe(fault) => fault.code(),
            Self::Pipeline(fault) => fault.code(),
            Self::BootModeUnknown => Some("E-BOOT-MODE"),
            Self::Preflight { .. } => Some("E-PREFLIGHT"),
            Self::Component { first, .. } if first.flaw.is_offline() => Some("E-COMPONENT-OFFLINE"),
            Self::Component { first, .. } if first.flaw == Flaw::Autostart => Some("E-COMPONENT-AUTOSTART"),
            Self::Component { .. } => Some("E-COMPONENT"),
            _ => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::NotJudged { source, .. } => source.hint(),
            Self::Windows(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::Audit(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Output(error) => error.hint(),
            Self::Hive(error) => error.hint().or(Some("run `coldforge reg check` to see what is wrong")),
            Self::RegText(error) => error.hint(),
            Self::HiveFile { source, .. } | Self::Step { source, .. } => {
                source.hint().or(Some("run `coldforge reg check` to see what is wrong"))
            }
            Self::OtherLog { .. } => Some("name all logs of the hive, or none to take those beside it"),
            Self::HiveDamaged { .. } => Some(
                "run `coldforge reg check` to see everything that is wrong; where that is reference counts (sk-refs) alone, \
                 --accept-refcounts takes the hive and sets them right",
            ),
            Self::Path { source, .. } => source.hint(),
            Self::Inheritance { .. } => Some("choose another folder: `coldforge ls --acl` shows what each has"),
            Self::NoPath { .. } => Some("run `coldforge ls` on the folder to see what it holds"),
            Self::NotRelative { .. } => Some("leave the root out: name the key as it stands below the hive's root"),
            Self::Exists { .. } => Some("choose another output, or remove it first"),
            Self::Prefix { .. } => Some("give the part of the keys that the hive stands for with --prefix"),
            Self::NotClosed { .. } | Self::WrittenOtherwise | Self::SecondOpinion { .. } => {
                Some("the source is untouched; report this with the output of `coldforge inspect --json`")
            }
            Self::ImageElsewhere { .. } => Some("name that image with --image"),
            Self::ImageName { .. } => Some("rename the image, or name it through a link with a plain name"),
            Self::Fix(error) => error.hint(),
            Self::Recipe(fault) => fault.hint(),
            Self::Pipeline(fault) => fault.hint(),
            Self::Preflight { .. } => Some(
                "run `coldforge preflight` for what to do about each, set right with --fix what can be, or go on with --skip-preflight",
            ),
            Self::Component { first, .. } if first.flaw.is_of_reading() => {
                Some("mend the document: `coldforge component lint` lists everything that is wrong with it")
            }
            Self::Component { first, .. } => Some(first.flaw.hint()),
            Self::BootModeUnknown => Some("say it with --boot-mode legacy-bios or --boot-mode uefi"),
            Self::NoReport { .. } => Some("leave the format out"),
            Self::Report(_) | Self::Evidence { .. } => Some("make the bundle again with `coldforge harden`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::HistoryError;
    use super::super::component::Position;
    use super::*;

    /// Returns an error of each kind that components, recipes and pipelines end with.
    fn all() -> Vec<Box<dyn Failure>> {
        let path = || PathBuf::from("a");
        let text = || "a".to_owned();
        let mut all: Vec<Box<dyn Failure>> = Vec::new();
        for flaw in Flaw::ALL {
            let first = Fault { at: Position::default(), flaw: *flaw, what: text() };
            all.push(Box::new(Error::Component { name: text(), count: 1, first }));
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
                PipelineFault::Unfit { what: text(), hint: "a" },
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
