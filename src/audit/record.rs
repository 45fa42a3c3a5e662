//! The typed lines of the audit log. Field order is the order in the file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{Benchmark, Held, Summary};
use crate::windows::setting::{Content, Identity, Setting, Value};
use coldforge_base::digest::Digest;
use coldforge_base::time::Moment;
use coldforge_base::{CellOffset, Extent};

/// One line's content; `seq`, `prev` and `hash` are the chain's.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// Who changed what by which policy; the first line.
    Header(Box<Header>),
    /// One setting that was changed.
    Change(ChangeRecord),
    /// One file of the volume that was changed, with all the bytes of the image that differ because of it.
    File(FileRecord),
    /// The result; the last line.
    Trailer(Box<Trailer>),
}

/// The schema of the log.
pub const SCHEMA: &str = "coldforge/audit/1";

/// The first line.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: Cow<'static, str>,
    /// The program that wrote the log.
    pub tool: Tool,
    /// The moment of the run (`SOURCE_DATE_EPOCH`, where that is set).
    pub started: Moment,
    /// The image as it was.
    pub source: ImageRecord,
    /// The machine inside it.
    pub windows: Identity,
    /// The policy that was applied.
    pub policy: Policy,
    /// The options for AWS; left out for a differencing disk, which AWS does not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsRecord>,
    /// Warnings: findings that did not stop the run.
    pub warnings: Vec<String>,
}

/// The options for AWS. This record binds the files for AWS to the log, and so to its signature.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct AwsRecord {
    /// SHA-256 of the bundle's `aws/options.json`: bucket, accounts, keys, regions, tags.
    pub options_sha256: Digest,
    /// The boot mode that was named: `legacy-bios` or `uefi`; left out where the partition table told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<String>,
}

/// A program and its version.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Tool {
    /// The name.
    pub name: Cow<'static, str>,
    /// The version.
    pub version: Cow<'static, str>,
}

impl Tool {
    /// Returns this program.
    pub const THIS: Self =
        Self { name: Cow::Borrowed(env!("CARGO_PKG_NAME")), version: Cow::Borrowed(env!("CARGO_PKG_VERSION")) };
}

/// An image file.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ImageRecord {
    /// The file's name without folders.
    pub name: String,
    /// The container: a word of `--format`, or `vhd-delta` or `vhdx-delta`.
    pub format: String,
    /// The length of the file.
    pub file_bytes: u64,
    /// The size of the disk that a guest sees.
    pub disk_bytes: u64,
    /// SHA-256 of the file; `None` of an image that was written in place, which is not read as a whole.
    pub sha256: Option<Digest>,
    /// The checksum of the disk's contents that EBS computes.
    pub ebs_linear: LinearChecksum,
}

impl ImageRecord {
    /// Returns the strongest digest that is known, with the name of its kind.
    pub fn digest(&self) -> (&'static str, String) {
        match &self.sha256 {
            Some(sha256) => ("sha256", sha256.to_string()),
            None => ("ebsLinearSha256Base64", self.ebs_linear.sha256_base64.clone()),
        }
    }
}

/// The checksum that EBS keeps of a snapshot: SHA-256 over the raw SHA-256 digests of the 512 KiB blocks that are not
/// all zero, in ascending order.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LinearChecksum {
    /// The digest in base64.
    pub sha256_base64: String,
    /// The number of blocks that are not all zero.
    pub blocks: u64,
}

/// The policy that was applied.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Policy {
    /// The benchmark: id, title, version, release, date.
    pub benchmark: Benchmark,
    /// SHA-256 of the catalog's text.
    pub catalog_sha256: Digest,
    /// The ids of the components whose rules were joined to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// `none` where policies alone were assessed; left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stig: Option<String>,
    /// Whether a STIG or benchmark of another Windows was to be assessed all the same; left out otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_stig: bool,
    /// The policies that were assessed beside it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRecord>,
    /// `low`, `medium` or `high`.
    pub level: String,
    /// `auto`, `ms` or `dc`.
    pub role: String,
    /// Rules to which the run was limited, as they were named.
    pub only: Vec<String>,
    /// Rules that were left out, as they were named.
    pub skip: Vec<String>,
    /// The text of the organization values file, or null if there was none.
    pub values: Option<String>,
    /// The text of the waivers file, or null if there was none.
    pub waivers: Option<String>,
    /// What was to be left open on purpose: `import-risk` or `none`.
    pub hold_back: String,
    /// The certificates that could be installed: DER in lower-case hex digits, by SHA-1 in upper-case ones.
    pub certificates: BTreeMap<String, String>,
    /// What was to become of local group policy: `write`, `update` or `leave`.
    pub local_gpo: String,
    /// What was to be done about settings that setup may set anew: `report` or `stage`.
    pub first_boot: String,
    /// The checks of the preflight that were to be fixed, as they were named.
    pub fixes: Vec<String>,
    /// The components that were to be carried out, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentRecord>,
    /// What was to become of their scripts: `fail`, `skip` or `translate`; left out where there are no components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts: Option<String>,
    /// Whether a dirty hive without a usable log was accepted as it is.
    pub accept_dirty_hive: bool,
    /// Whether a hive with wrong reference counts of security descriptors was to be taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_refcounts: bool,
    /// How much of the volume was verified before and after the edit: `full` or `touched`.
    pub volume_check: String,
}

/// A policy that was assessed.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PolicyRecord {
    /// What it is called.
    pub name: String,
    /// SHA-256 of its file; of several files, that of the list of their digests as `sha256sum` writes it.
    pub sha256: Digest,
    /// Its files.
    pub files: Vec<PolicyFileRecord>,
}

/// A file of a policy: its text where it is UTF-8, its bytes otherwise, neither where its content is not read.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PolicyFileRecord {
    /// Its path inside the policy.
    pub path: String,
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// A component that was to be carried out.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ComponentRecord {
    /// What it was called.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: Digest,
    /// Its text.
    pub text: String,
    /// The values that its parameters were given.
    pub parameters: BTreeMap<String, String>,
    /// The files beside it that it brought, by their path from its folder; the bundle holds them below `components/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Content>,
}

/// One changed setting.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ChangeRecord {
    /// The rules that demanded it.
    pub rules: Vec<String>,
    /// The setting, concrete.
    pub setting: Setting,
    /// The value before, or null if it was not there.
    pub before: Option<Value>,
    /// The value after, or null if it was removed.
    pub after: Option<Value>,
    /// The file that holds it, as a path on the Windows volume.
    pub file: String,
    /// The value's cell in that file, in bytes from the first bin.
    pub cell: Option<CellOffset>,
    /// The bytes of the disk that this change touched.
    pub extents: Vec<Extent>,
}

/// One changed file.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct FileRecord {
    /// The path on the Windows volume.
    pub file: String,
    /// The length before, in bytes.
    pub bytes_before: u64,
    /// The length after, in bytes.
    pub bytes: u64,
    /// SHA-256 of the content before.
    pub sha256_before: Digest,
    /// SHA-256 of the content after.
    pub sha256_after: Digest,
    /// All bytes of the disk that differ because of this file: those of its changes, its sealed base block, and the file
    /// system's own where the file became longer.
    pub extents: Vec<Extent>,
}

/// The last line.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Trailer {
    /// The image as it is now.
    pub output: ImageRecord,
    /// The number of `change` lines.
    pub changes: usize,
    /// The number of `file` lines.
    pub files: usize,
    /// The assessment before.
    pub before: Summary,
    /// The assessment after, made anew through the written image.
    pub after: Summary,
    /// What the result covers, one sentence each: benchmarks, policies and components with digests and counts, what was
    /// left out, and what a benchmark file lacks.
    pub scope: Vec<String>,
    /// Rules that are held back: open on purpose, with the reason.
    pub held_back: Vec<Held>,
    /// Rules that are open and that the organization waived.
    pub waived: Vec<Held>,
    /// Rules that are open and cannot be met offline, with the reason.
    pub left_open: Vec<Held>,
    /// What setup may set anew when the image starts for the first time, with what is done about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_risk: Vec<Held>,
    /// SHA-256 of the bundle's `reports/assessment.json`.
    pub assessment_sha256: Digest,
    /// The benchmark's title with version and release, as the import files name it.
    pub benchmark: String,
    /// What readers that this project did not write found in the written image.
    pub second_opinion: SecondOpinion,
}

/// What readers that this project did not write found in the written image.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SecondOpinion {
    /// The readers, with versions; empty where the build has none.
    pub readers: Vec<String>,
    /// The number of changed values that they read and found as written.
    pub agreed: usize,
    /// What they could not read, each with the reason.
    pub cannot_read: Vec<String>,
}
