//! The requests: `containers.json` (for `--disk-containers`), `import-image.json`, `import-snapshot.json` and
//! `register-image.json` (for `--cli-input-json`).
//!
//! The boot mode is always explicit: without one, AWS turns some GPT disks into MBR ones without a word.

use serde_json::{Value, json};

use super::Options;
use crate::windows::BootMode;
use crate::windows::setting::Identity;
use coldforge_base::Extent;
use coldforge_base::digest::Digest;
use coldforge_disk::{self as disk, Format};

/// The placeholder for the snapshot's id.
pub(super) const NO_SNAPSHOT: &str = "snap-00000000000000000";
/// The device of the root volume.
pub(super) const ROOT_DEVICE: &str = "/dev/sda1";
/// The first build whose drivers know a TPM of version 2.0 on an instance: Server 2016.
const FIRST_TPM_BUILD: u32 = 14393;

/// What the files say about one image.
#[derive(Clone, Debug)]
pub struct Import<'a> {
    /// The image's file name.
    pub image: &'a str,
    /// Its container.
    pub format: Format,
    /// Its SHA-256, which becomes a tag, if it is known.
    pub sha256: Option<Digest>,
    /// The size of its disk in bytes.
    pub disk_bytes: u64,
    /// The blocks of 512 KiB that are not all zero, by ascending index, with their digests.
    pub blocks: &'a [(u64, Digest)],
    /// The LINEAR digest over them, in base64: it tells this disk from others.
    pub linear: &'a str,
    /// The ranges of the disk that are in free clusters, sorted and apart: zeros elsewhere mean something.
    pub free: &'a [Extent],
    /// The machine in it.
    pub identity: &'a Identity,
    /// How firmware starts it.
    pub boot_mode: BootMode,
    /// Whether it brings the driver of the network adapter.
    pub has_ena: bool,
    /// What it was hardened by, such as `Windows Server 2022 STIG V2R8`.
    pub benchmark: &'a str,
    /// Where it goes.
    pub options: &'a Options,
}

/// A description, and the value of a tag, have 255 characters at most.
const MAX_CHARS: usize = 255;
/// So many of them are the name of the Windows.
const MAX_PRODUCT_CHARS: usize = 120;

/// The image says what it is called, a benchmark file what it is, and a shell and a console show both.
fn shown(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
}

impl Import<'_> {
    /// Returns the tags of whatever becomes of the image.
    pub(super) fn tags(&self) -> Vec<Value> {
        let digest = self.sha256.map(|digest| json!({"Key": "coldforge:image-sha256", "Value": digest}));
        let benchmark: String = shown(self.benchmark).take(MAX_CHARS).collect();
        let benchmark = json!({"Key": "coldforge:benchmark", "Value": benchmark});
        let own = self.options.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value}));
        digest.into_iter().chain([benchmark]).chain(own).collect()
    }

    pub(super) fn description(&self) -> String {
        let product: String = shown(&self.identity.product).take(MAX_PRODUCT_CHARS).collect();
        shown(&format!("{product} hardened by {}", self.benchmark)).take(MAX_CHARS).collect()
    }

    /// Returns the name of the new machine image: of the characters that AWS takes, and unique for the image.
    pub(super) fn name(&self) -> String {
        let stem = self.image.rsplit_once('.').map_or(self.image, |(stem, _)| stem);
        let plain: String = stem
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "()[]./-'@_".contains(c) { c } else { '-' })
            .take(100)
            .collect();
        let digest = Digest::of(self.linear.as_bytes()).to_string();
        format!("{plain}-{}", digest.get(..12).unwrap_or_default())
    }

    /// Returns AWS's word for the architecture; `None` where the hives do not name one: a wrong one would fail the import.
    fn architecture(&self) -> Option<&'static str> {
        match self.identity.architecture.as_deref() {
            Some("AMD64") => Some("x86_64"),
            Some("x86") => Some("i386"),
            Some("ARM64") => Some("arm64"),
            _ => None,
        }
    }

    /// Returns the image's key in the bucket. It ends as the container's files do, whatever the file here is called: one that
    /// was changed in place keeps its name.
    pub(super) fn object(&self) -> String {
        self.options.object(&disk::file_name(self.image, self.format))
    }

    fn tag_specification(&self, kind: &str) -> Value {
        json!([{"ResourceType": kind, "Tags": self.tags()}])
    }

    fn container(&self) -> Value {
        let format = match self.format {
            Format::Raw => "raw",
            Format::VhdFixed | Format::VhdDynamic | Format::VhdDelta => "vhd",
            Format::VhdxFixed | Format::VhdxDynamic | Format::VhdxDelta => "vhdx",
            Format::Vmdk => "vmdk",
        };
        json!({
            "Description": self.description(),
            "Format": format,
            "UserBucket": {"S3Bucket": self.options.bucket, "S3Key": self.object()},
        })
    }

    /// Adds what encrypts the new snapshot.
    fn encrypt(&self, request: &mut Value) {
        if let (Some(key), Some(members)) = (self.options.home_key(), request.as_object_mut()) {
            members.insert("Encrypted".into(), true.into());
            members.insert("KmsKeyId".into(), key.into());
        }
    }
}

/// Returns the list for `aws ec2 import-image --disk-containers file://containers.json`.
pub fn containers(import: &Import<'_>) -> Value {
    json!([import.container()])
}

/// Returns the request for `aws ec2 import-image --cli-input-json file://import-image.json`.
pub fn import_image(import: &Import<'_>) -> Value {
    let mut request = json!({
        "Description": import.description(),
        "Platform": "Windows",
        "BootMode": import.boot_mode,
        "DiskContainers": [import.container()],
        "RoleName": import.options.role_name,
        "TagSpecifications": import.tag_specification("import-image-task"),
    });
    import.encrypt(&mut request);
    if let Some(members) = request.as_object_mut() {
        members.extend(import.architecture().map(|word| ("Architecture".to_owned(), word.into())));
        match import.options.license.as_deref() {
            Some(word @ ("AWS" | "BYOL")) => members.extend([("LicenseType".to_owned(), word.into())]),
            Some(arn) => {
                let licenses = json!([{"LicenseConfigurationArn": arn}]);
                members.extend([("LicenseSpecifications".to_owned(), licenses)]);
            }
            None => {}
        }
    }
    request
}

/// Returns the request for `aws ec2 import-snapshot --cli-input-json file://import-snapshot.json`.
pub fn import_snapshot(import: &Import<'_>) -> Value {
    let mut request = json!({
        "Description": import.description(),
        "DiskContainer": import.container(),
        "RoleName": import.options.role_name,
        "TagSpecifications": import.tag_specification("import-snapshot-task"),
    });
    import.encrypt(&mut request);
    request
}

/// Returns the request for `aws ec2 register-image --cli-input-json file://register-image.json`; the snapshot in it is
/// none yet.
pub fn register_image(import: &Import<'_>) -> Value {
    let mut request = json!({
        "Name": import.name(),
        "Description": import.description(),
        "Architecture": import.architecture().unwrap_or("x86_64"),
        "BootMode": import.boot_mode,
        "EnaSupport": import.has_ena,
        "VirtualizationType": "hvm",
        "RootDeviceName": ROOT_DEVICE,
        "BlockDeviceMappings": [{
            "DeviceName": ROOT_DEVICE,
            "Ebs": {"SnapshotId": NO_SNAPSHOT, "VolumeType": "gp3", "DeleteOnTermination": true},
        }],
        "TagSpecifications": import.tag_specification("image"),
    });
    let has_tpm = import.boot_mode == BootMode::Uefi && import.identity.build >= FIRST_TPM_BUILD;
    if let (true, Some(members)) = (has_tpm, request.as_object_mut()) {
        members.insert("TpmSupport".into(), "v2.0".into());
    }
    request
}
