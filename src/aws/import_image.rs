//! `containers.json` (for `--disk-containers`) and `import-image.json` (for `--cli-input-json`).
//!
//! The boot mode is always explicit: without one, AWS turns some GPT disks into MBR ones without a word.

use serde_json::{Value, json};

use crate::base::digest::Digest;
use crate::disk::Format;
use crate::windows::BootMode;
use crate::windows::setting::Identity;

/// What the files say about one image.
#[derive(Clone, Debug)]
pub struct Import<'a> {
    /// The image's file name.
    pub image: &'a str,
    /// Its container.
    pub format: Format,
    /// Its SHA-256, which becomes a tag, if it is known.
    pub sha256: Option<Digest>,
    /// The machine in it.
    pub identity: &'a Identity,
    /// How firmware starts it.
    pub boot_mode: BootMode,
    /// What it was hardened by, such as `Windows Server 2022 STIG V2R8`.
    pub benchmark: &'a str,
    /// The S3 bucket that the image will be uploaded to.
    pub bucket: &'a str,
}

/// Returns the list for `aws ec2 import-image --disk-containers file://containers.json`.
pub fn containers(import: &Import<'_>) -> Value {
    json!([container(import)])
}

/// Returns the request for `aws ec2 import-image --cli-input-json file://import-image.json`.
pub fn import_image(import: &Import<'_>) -> Value {
    let digest = import.sha256.map(|digest| json!({"Key": "coldforge:image-sha256", "Value": digest}));
    let benchmark = json!({"Key": "coldforge:benchmark", "Value": import.benchmark});
    let tags: Vec<Value> = digest.into_iter().chain([benchmark]).collect();
    let mut request = json!({
        "Description": description(import),
        "Platform": "Windows",
        "BootMode": import.boot_mode,
        "DiskContainers": [container(import)],
        "TagSpecifications": [{"ResourceType": "import-image-task", "Tags": tags}],
    });
    // An architecture that the hives do not name is left for AWS to find: a wrong one would fail the import.
    let architecture = match import.identity.architecture.as_deref() {
        Some("AMD64") => Some("x86_64"),
        Some("x86") => Some("i386"),
        Some("ARM64") => Some("arm64"),
        _ => None,
    };
    if let (Some(architecture), Some(members)) = (architecture, request.as_object_mut()) {
        members.insert("Architecture".into(), architecture.into());
    }
    request
}

fn container(import: &Import<'_>) -> Value {
    let format = match import.format {
        Format::Raw => "raw",
        Format::VhdFixed | Format::VhdDynamic | Format::VhdDelta => "vhd",
        Format::VhdxFixed | Format::VhdxDynamic | Format::VhdxDelta => "vhdx",
        Format::Vmdk => "vmdk",
    };
    json!({
        "Description": description(import),
        "Format": format,
        "UserBucket": {"S3Bucket": import.bucket, "S3Key": import.image},
    })
}

fn description(import: &Import<'_>) -> String {
    format!("{} hardened by {}", import.identity.product, import.benchmark)
}
