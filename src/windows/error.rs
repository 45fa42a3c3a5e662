//! Why a Windows cannot be found, read or changed.

use thiserror::Error;

use super::Unusable;
use super::setting::{Form, Setting};
use super::{certificates, local_policy};
use crate::windows::fat;
use coldforge_base::descriptor::Malformed;
use coldforge_base::{CellOffset, Failure, Kind, Refusal, device, sddl};
use coldforge_disk as disk;
use coldforge_disk::partition;
use coldforge_ntfs as ntfs;
use coldforge_regf as regf;

/// A failure of this floor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk failed.
    #[error("the disk cannot be read")]
    Disk(#[from] disk::Error),

    /// The partition table is unusable.
    #[error("the partition table cannot be used")]
    Partition(#[from] partition::Error),

    /// A volume failed.
    #[error("the volume in partition {partition} cannot be used")]
    Volume {
        /// The partition's number.
        partition: u32,
        /// What is wrong.
        source: ntfs::Error,
    },

    /// The boot configuration store holds nothing that the boot manager could read.
    #[error("the boot configuration store `{path}` {fault}")]
    BootStore {
        /// Its path.
        path: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },

    /// An EFI system partition failed.
    #[error("the EFI system partition (partition {partition}) cannot be used")]
    SystemPartition {
        /// The partition's number.
        partition: u32,
        /// What is wrong.
        source: fat::Error,
    },

    /// A file of the Windows volume failed.
    #[error("`{path}` cannot be used")]
    File {
        /// The path on the volume.
        path: String,
        /// What is wrong.
        source: ntfs::Error,
    },

    /// A hive failed.
    #[error("the hive `{path}` cannot be used")]
    Hive {
        /// The path on the volume.
        path: String,
        /// What is wrong.
        source: regf::Error,
    },

    /// A hive breaks rules that every hive of Windows keeps.
    #[error("the hive `{path}` is damaged: {findings} findings, the first at cell {at}: {first}")]
    HiveCorrupt {
        /// The path on the volume.
        path: String,
        /// How many errors the verifier found.
        findings: usize,
        /// Where the first one is.
        at: CellOffset,
        /// What it is.
        first: String,
    },

    /// A volume breaks rules that tie its structures together.
    #[error("the volume in partition {partition} is damaged: {findings} findings, the first: {first}")]
    VolumeCorrupt {
        /// The partition's number.
        partition: u32,
        /// How many errors the verifier found.
        findings: usize,
        /// The first one.
        first: String,
    },

    /// A volume breaks a rule that it kept before the edit.
    #[error("the edit would damage the volume in partition {partition}: {first}: nothing was emitted")]
    VolumeWorse {
        /// The partition's number.
        partition: u32,
        /// The first new finding.
        first: String,
    },

    /// A hive that must be there is not.
    #[error("the Windows in partition {partition} has no `{path}`")]
    NoHive {
        /// The partition's number.
        partition: u32,
        /// The path on the volume.
        path: String,
    },

    /// A value that every Windows has is missing or of another type.
    #[error("`{key}` has no usable value `{name}`")]
    NoIdentity {
        /// The key.
        key: String,
        /// The value's name.
        name: &'static str,
    },

    /// No partition holds a Windows.
    #[error("no Windows was found in {partitions} partitions")]
    NoWindows {
        /// How many partitions were looked at.
        partitions: usize,
    },

    /// Several partitions hold a Windows.
    #[error("more than one Windows was found, in partitions {partitions:?}")]
    SeveralWindows {
        /// The partitions' numbers.
        partitions: Vec<u32>,
    },

    /// A setting's key lies in no hive that this version opens.
    #[error("no hive that is handled holds `{key}`")]
    UnknownHive {
        /// The key.
        key: String,
    },

    /// A setting has no one place on this machine, or none that this version reaches.
    #[error("this machine has no place for the {setting}")]
    NoPlace {
        /// The setting.
        setting: Setting,
    },

    /// A file that a script is to be part of is not one.
    #[error("{path} is no text in UTF-8 of at most 1 MiB")]
    NoText {
        /// The path on the Windows volume.
        path: String,
    },

    /// A setting was to be given a value of another form than its own.
    #[error("a {form} cannot stand there")]
    Misfit {
        /// The form of the value.
        form: Form,
    },

    /// A key begins with none of the roots that lie in files of an image.
    #[error("`{key}` begins with no root that an image has")]
    UnknownRoot {
        /// The key.
        key: String,
    },

    /// Local group policy is damaged, or has an order that is not understood.
    #[error(transparent)]
    LocalPolicy(#[from] local_policy::Error),

    /// A certificate is damaged, or cannot be stored.
    #[error(transparent)]
    Certificate(#[from] certificates::Error),

    /// A text is no security descriptor.
    #[error(transparent)]
    Sddl(#[from] sddl::Error),

    /// A security descriptor is damaged.
    #[error("the permissions of `{path}` cannot be read")]
    Descriptor {
        /// The key or file.
        path: String,
        /// What is wrong.
        source: Malformed,
    },

    /// A folder passes on permissions of a kind that is not handled to what is new in it.
    #[error("what permissions `{path}` would inherit is not known")]
    Inheritance {
        /// The path of the new file or folder.
        path: String,
    },

    /// A key is not there.
    #[error("there is no key `{key}`")]
    NoKey {
        /// The key.
        key: String,
    },

    /// What tells whether a feature is installed is missing, or contradicts itself.
    #[error("whether the feature `{name}` is installed cannot be told")]
    FeatureUnclear {
        /// The feature.
        name: String,
    },

    /// Something in SAM or SECURITY cannot be used, or cannot be made what is asked for.
    #[error("`{key}` of the hive `{path}` cannot be used")]
    Unusable {
        /// The path on the volume.
        path: String,
        /// The key inside the hive.
        key: String,
        /// What is wrong.
        source: Unusable,
    },

    /// A read-only check found a reason not to write.
    #[error("{}", .0.reason)]
    Refused(Refusal),
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
            Self::Partition(error) => error.kind(),
            Self::Volume { source, .. } | Self::File { source, .. } => source.kind(),
            Self::SystemPartition { source, .. } => source.kind(),
            Self::BootStore { .. } => Kind::Corrupt,
            Self::Hive { source, .. } => source.kind(),
            Self::VolumeCorrupt { .. } => Kind::Refused,
            Self::VolumeWorse { .. } => Kind::Corrupt,
            Self::HiveCorrupt { .. } | Self::NoHive { .. } | Self::NoIdentity { .. } => Kind::Refused,
            Self::NoWindows { .. } | Self::SeveralWindows { .. } | Self::Refused(_) => Kind::Refused,
            Self::UnknownHive { .. } | Self::NoPlace { .. } | Self::Misfit { .. } => Kind::Unsupported,
            Self::Unusable { source, .. } => source.kind(),
            Self::UnknownRoot { .. } => Kind::Usage,
            Self::LocalPolicy(source) => source.kind(),
            Self::Certificate(source) => source.kind(),
            Self::Sddl(source) => source.kind(),
            Self::Descriptor { .. } | Self::NoKey { .. } | Self::NoText { .. } => Kind::Refused,
            Self::Inheritance { .. } | Self::FeatureUnclear { .. } => Kind::Unsupported,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.code(),
            Self::Partition(error) => error.code(),
            Self::Volume { source, .. } | Self::File { source, .. } => source.code(),
            Self::SystemPartition { source, .. } => source.code(),
            Self::BootStore { .. } => Some("E-BOOT-STORE"),
            Self::Hive { source, .. } => source.code(),
            Self::HiveCorrupt { .. } => Some("E-HIVE-CORRUPT"),
            Self::VolumeCorrupt { .. } => Some("E-VOLUME-CORRUPT"),
            Self::VolumeWorse { .. } => None,
            Self::NoHive { .. } => Some("E-NO-HIVE"),
            Self::NoIdentity { .. } => Some("E-NO-IDENTITY"),
            Self::NoWindows { .. } => Some("E-NO-WINDOWS"),
            Self::SeveralWindows { .. } => Some("E-SEVERAL-WINDOWS"),
            Self::UnknownHive { .. } | Self::NoPlace { .. } | Self::Misfit { .. } => Some("E-SETTING-UNSUPPORTED"),
            Self::UnknownRoot { .. } => None,
            Self::LocalPolicy(source) => source.code(),
            Self::Certificate(source) => source.code(),
            Self::Sddl(source) => source.code(),
            Self::Descriptor { .. } => Some("E-DESCRIPTOR"),
            Self::NoKey { .. } => Some("E-NO-KEY"),
            Self::NoText { .. } => Some("E-NO-TEXT"),
            Self::Inheritance { .. } => Some("E-INHERITANCE"),
            Self::FeatureUnclear { .. } => Some("E-FEATURE-UNCLEAR"),
            Self::Unusable { source, .. } => Some(source.code()),
            Self::Refused(refusal) => Some(refusal.code),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Partition(error) => error.hint(),
            Self::Volume { source, .. } | Self::File { source, .. } => source.hint(),
            Self::SystemPartition { source, .. } => source.hint(),
            Self::BootStore { .. } => {
                Some("write it anew with `bcdboot C:\\Windows` in Windows or in its recovery environment")
            }
            Self::Hive { source, .. } => source.hint(),
            Self::HiveCorrupt { first, .. } if first.contains("sk-refs") => Some(
                "run `coldforge reg check`: where reference counts (sk-refs) are all that is wrong, --accept-refcounts takes the hive \
                 and sets them right",
            ),
            Self::HiveCorrupt { .. } => {
                Some("run `coldforge reg check` to see why; boot the machine once to let Windows repair its registry")
            }
            Self::VolumeCorrupt { .. } => {
                Some("run `coldforge check` to see why, and `chkdsk /f` in a Windows that mounts it to repair it")
            }
            Self::VolumeWorse { .. } => {
                Some("the source is untouched; report this with the output of `coldforge check --json`")
            }
            Self::NoHive { .. } | Self::NoIdentity { .. } => {
                Some("check that the image holds a whole installation, then run `coldforge inspect` on it")
            }
            Self::NoWindows { .. } => Some("run `coldforge inspect` to see what the image holds"),
            Self::SeveralWindows { .. } => {
                Some("remove all but one installation: AWS imports no dual-boot image either")
            }
            Self::UnknownHive { .. } | Self::NoPlace { .. } | Self::Misfit { .. } => {
                Some("leave the rule out with --skip")
            }
            Self::UnknownRoot { .. } => Some(
                r"begin the key with HKLM\SOFTWARE, HKLM\SYSTEM, HKLM\SAM, HKLM\SECURITY or HKU\.DEFAULT, or name a hive file",
            ),
            Self::LocalPolicy(source) => source.hint(),
            Self::Certificate(source) => source.hint(),
            Self::Sddl(source) => source.hint(),
            Self::Descriptor { .. } => Some("set the permissions anew on a booted Windows"),
            Self::NoText { .. } => Some("save the file as plain text, or remove it from the image"),
            Self::NoKey { .. } => Some("check the key's spelling, or leave the rule out with --skip"),
            Self::Inheritance { .. } => Some("let a booted Windows make the folder, or leave the rule out with --skip"),
            Self::FeatureUnclear { .. } => Some("check the feature on a booted Windows"),
            Self::Unusable { source, .. } => Some(source.hint()),
            Self::Refused(refusal) => Some(refusal.hint),
        }
    }
}
