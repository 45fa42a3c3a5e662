//! `distribution.json`: to which regions the new image is copied, under which name, for whom, with which key, tags and
//! licence: what Image Builder's distribution configuration holds.

use serde_json::{Value, json};

use super::Import;

/// The placeholder for the image's id.
pub(super) const NO_IMAGE: &str = "ami-00000000000000000";
/// The placeholder for the region of the first image.
const NO_REGION: &str = "YOUR-REGION";

/// Returns the request that copies the image to a region; the image in it is none yet.
pub(super) fn copy_image(import: &Import<'_>, region: &str) -> Value {
    let options = import.options;
    let mut request = json!({
        "Name": import.name(),
        "Description": import.description(),
        "SourceImageId": NO_IMAGE,
        "SourceRegion": options.region.as_deref().unwrap_or(NO_REGION),
        "TagSpecifications": [{"ResourceType": "image", "Tags": import.tags()}],
    });
    let key = options.key_of_snapshot().and_then(|key| key.in_region(region));
    if let (Some(key), Some(members)) = (key, request.as_object_mut()) {
        members.insert("Encrypted".into(), true.into());
        members.insert("KmsKeyId".into(), key.into());
    }
    request
}

/// Returns the request that lets accounts start the image, if there are any; the image in it is none yet.
pub(super) fn launch_permission(import: &Import<'_>) -> Option<Value> {
    let accounts = &import.options.account_ids;
    let added: Vec<Value> = accounts.iter().map(|account| json!({"UserId": account})).collect();
    (!added.is_empty()).then(|| json!({"ImageId": NO_IMAGE, "LaunchPermission": {"Add": added}}))
}

/// Returns the document (`coldforge/distribution/1`).
pub fn distribution(import: &Import<'_>) -> Value {
    let options = import.options;
    let licenses: Vec<&String> = options.license.iter().filter(|license| license.starts_with("arn:")).collect();
    let region = |region: &String| {
        json!({
            "region": region,
            "name": import.name(),
            "copy_image": copy_image(import, region),
            "launch_permission": launch_permission(import),
            "license_configurations": licenses,
        })
    };
    json!({
        "schema": "coldforge/distribution/1",
        "home": {
            "region": options.region,
            "launch_permission": launch_permission(import),
            "license_configurations": licenses,
            "tags": import.tags(),
        },
        "regions": options.further_regions().map(region).collect::<Vec<_>>(),
    })
}
