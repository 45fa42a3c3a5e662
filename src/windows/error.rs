//! Errors of reading and changing a Windows installation.

use thiserror::Error;

use super::UnusableValue;
use super::setting::{Form, Setting};
use super::{certificates, local_policy};
use crate::windows::fat;
use coldforge_base::descriptor::Malformed;
use coldforge_base::{CellOffset, Failure, Refusal, device, sddl};
use coldforge_disk as disk;
use coldforge_disk::partition;
use coldforge_ntfs as ntfs;
use coldforge_regf as regf;

/// A hint that several of these errors share.
const INSPECT: &str = "check that the image holds a whole installation, then run `coldforge inspect` on it";
/// A hint that several of these errors share.
const SKIP_RULE: &str = "leave the rule out with --skip";

/// The result of reading or changing a Windows installation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a Windows installation cannot be found, read or changed.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The disk failed.
    #[error("the disk cannot be read")]
    #[failure(transparent)]
    Disk(#[from] disk::Error),

    /// The partition table is unusable.
    #[error("the partition table cannot be used")]
    #[failure(transparent)]
    Partition(#[from] partition::Error),

    /// A volume failed.
    #[error("the volume in partition {partition} cannot be used")]
    #[failure(transparent)]
    Volume {
        /// The partition's number.
        partition: u32,
        /// What is wrong.
        source: ntfs::Error,
    },

    /// The boot configuration store holds nothing that the boot manager could read.
    #[error("the boot configuration store `{path}` {fault}")]
    #[failure(
        corrupt,
        "E-BOOT-STORE",
        hint = "write it anew with `bcdboot C:\\Windows` in Windows or in its recovery environment"
    )]
    BootStore {
        /// Its path.
        path: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },

    /// An EFI system partition failed.
    #[error("the EFI system partition (partition {partition}) cannot be used")]
    #[failure(transparent)]
    SystemPartition {
        /// The partition's number.
        partition: u32,
        /// What is wrong.
        source: fat::Error,
    },

    /// A file of the Windows volume failed.
    #[error("`{path}` cannot be used")]
    #[failure(transparent)]
    File {
        /// The path on the volume.
        path: String,
        /// What is wrong.
        source: ntfs::Error,
    },

    /// A hive failed.
    #[error("the hive `{path}` cannot be used")]
    #[failure(transparent)]
    Hive {
        /// The path on the volume.
        path: String,
        /// What is wrong.
        source: regf::Error,
    },

    /// A hive breaks rules that every hive of Windows keeps.
    #[error("the hive `{path}` is damaged: {}, the first at cell {at}: {first}", plural(*findings))]
    #[failure(refused, "E-HIVE-CORRUPT", hint = corrupt_hive(first))]
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
    #[error("the volume in partition {partition} is damaged: {}, the first: {first}", plural(*findings))]
    #[failure(
        refused,
        "E-VOLUME-CORRUPT",
        hint = "run `coldforge check` to see why, and `chkdsk /f` in a Windows that mounts it to repair it"
    )]
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
    #[failure(corrupt, hint = "the source is untouched; report this with the output of `coldforge check --json`")]
    VolumeWorse {
        /// The partition's number.
        partition: u32,
        /// The first new finding.
        first: String,
    },

    /// A hive that must be there is not.
    #[error("the Windows in partition {partition} has no `{path}`")]
    #[failure(refused, "E-NO-HIVE", hint = INSPECT)]
    NoHive {
        /// The partition's number.
        partition: u32,
        /// The path on the volume.
        path: String,
    },

    /// A value that every Windows has is missing or of another type.
    #[error("`{key}` has no usable value `{name}`")]
    #[failure(refused, "E-NO-IDENTITY", hint = INSPECT)]
    NoIdentity {
        /// The key.
        key: String,
        /// The value's name.
        name: &'static str,
    },

    /// No partition holds a Windows.
    #[error("no Windows was found in {partitions} partitions")]
    #[failure(refused, "E-NO-WINDOWS", hint = "run `coldforge inspect` to see what the image holds")]
    NoWindows {
        /// How many partitions were read.
        partitions: usize,
    },

    /// Several partitions hold a Windows.
    #[error("more than one Windows was found, in partitions {partitions:?}")]
    #[failure(
        refused,
        "E-SEVERAL-WINDOWS",
        hint = "remove all but one installation: AWS imports no dual-boot image either"
    )]
    SeveralWindows {
        /// The partitions' numbers.
        partitions: Vec<u32>,
    },

    /// A setting's key is in no hive that this version opens.
    #[error("no hive that is handled holds `{key}`")]
    #[failure(unsupported, "E-SETTING-UNSUPPORTED", hint = SKIP_RULE)]
    UnknownHive {
        /// The key.
        key: String,
    },

    /// A setting has no one place on this machine, or none that this version reaches.
    #[error("this machine has no place for the {setting}")]
    #[failure(unsupported, "E-SETTING-UNSUPPORTED", hint = SKIP_RULE)]
    UnsupportedSetting {
        /// The setting.
        setting: Setting,
    },

    /// A file that a script is to be part of is not one.
    #[error("{path} is not UTF-8 text of at most 1 MiB")]
    #[failure(refused, "E-NO-TEXT", hint = "save the file as plain text, or remove it from the image")]
    NoText {
        /// The path on the Windows volume.
        path: String,
    },

    /// A setting was to be given a value of another form than its own.
    #[error("a {form} cannot stand there")]
    #[failure(unsupported, "E-SETTING-UNSUPPORTED", hint = SKIP_RULE)]
    TypeMismatch {
        /// The form of the value.
        form: Form,
    },

    /// A key begins with a root that no hive file of an image holds.
    #[error("`{key}` begins with no root that an image has")]
    #[failure(
        usage,
        hint = r"begin the key with HKLM\SOFTWARE, HKLM\SYSTEM, HKLM\SAM, HKLM\SECURITY or HKU\.DEFAULT, or name a hive file"
    )]
    UnknownRoot {
        /// The key.
        key: String,
    },

    /// Local group policy is damaged, or has an order that is not understood.
    #[error(transparent)]
    #[failure(transparent)]
    LocalPolicy(#[from] local_policy::Error),

    /// A certificate is damaged, or cannot be stored.
    #[error(transparent)]
    #[failure(transparent)]
    Certificate(#[from] certificates::Error),

    /// A text is no security descriptor.
    #[error(transparent)]
    #[failure(transparent)]
    Sddl(#[from] sddl::Error),

    /// A security descriptor is damaged.
    #[error("the permissions of `{path}` cannot be read")]
    #[failure(refused, "E-DESCRIPTOR", hint = "set the permissions anew on a booted Windows")]
    Descriptor {
        /// The key or file.
        path: String,
        /// What is wrong.
        source: Malformed,
    },

    /// A folder passes on permissions of a kind that is not handled to what is new in it.
    #[error("what permissions `{path}` would inherit is not known")]
    #[failure(
        unsupported,
        "E-INHERITANCE",
        hint = "let a booted Windows make the folder, or leave the rule out with --skip"
    )]
    Inheritance {
        /// The path of the new file or folder.
        path: String,
    },

    /// A key is not there.
    #[error("there is no key `{key}`")]
    #[failure(refused, "E-NO-KEY", hint = "check the key's spelling, or leave the rule out with --skip")]
    NoKey {
        /// The key.
        key: String,
    },

    /// What tells whether a feature is installed is missing, or contradicts itself.
    #[error("cannot determine whether the feature `{name}` is installed")]
    #[failure(unsupported, "E-FEATURE-UNCLEAR", hint = "check the feature on a booted Windows")]
    FeatureUnclear {
        /// The feature.
        name: String,
    },

    /// Something in SAM or SECURITY cannot be used, or cannot be made what is asked for.
    #[error("`{key}` of the hive `{path}` cannot be used")]
    #[failure(transparent)]
    UnusableValue {
        /// The path on the volume.
        path: String,
        /// The key inside the hive.
        key: String,
        /// What is wrong.
        source: UnusableValue,
    },

    /// A read-only check found a reason not to write.
    #[error("{}", .0.reason)]
    #[failure(refused, code = _0.code, hint = _0.hint)]
    Refused(Refusal),
}

impl From<device::Error> for Error {
    fn from(error: device::Error) -> Self {
        Self::Disk(error.into())
    }
}

/// Returns what to do about a damaged hive whose first error is `first`.
fn corrupt_hive(first: &str) -> &'static str {
    if first.contains("sk-refs") {
        "run `coldforge reg check`: where reference counts (sk-refs) are all that is wrong, --accept-refcounts takes the hive \
         and sets them right"
    } else {
        "run `coldforge reg check` to see why; boot the machine once to let Windows repair its registry"
    }
}

/// Writes a number of findings with the right plural.
pub(crate) fn plural(findings: usize) -> String {
    match findings {
        1 => "1 finding".to_owned(),
        findings => format!("{findings} findings"),
    }
}
