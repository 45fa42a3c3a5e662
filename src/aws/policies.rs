//! The two policies of the role that VM Import/Export takes on: who may take it, and what it may do then.

use serde_json::{Value, json};

use super::{Import, Options};

/// Returns who may take the role: VM Import/Export, under the name that it comes with.
pub fn trust_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "vmie.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:Externalid": "vmimport"}},
        }],
    })
}

/// Returns what the role may do: read this image from its bucket, and make a snapshot and an image; use the key and the
/// licence configuration only where they were named.
pub fn role_policy(import: &Import<'_>) -> Value {
    let options = import.options;
    let bucket = format!("arn:{}:s3:::{}", options.partition(), options.bucket);
    let mut statements = vec![
        json!({
            "Sid": "Bucket",
            "Effect": "Allow",
            "Action": ["s3:GetBucketLocation", "s3:ListBucket"],
            "Resource": bucket,
        }),
        json!({
            "Sid": "Image",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": format!("{bucket}/{}", options.key(import.image)),
        }),
        json!({
            "Sid": "Register",
            "Effect": "Allow",
            "Action": ["ec2:ModifySnapshotAttribute", "ec2:CopySnapshot", "ec2:RegisterImage", "ec2:Describe*"],
            "Resource": "*",
        }),
    ];
    statements.extend(key(options));
    if options.license.as_deref().is_some_and(|license| license.starts_with("arn:")) {
        statements.push(json!({
            "Sid": "License",
            "Effect": "Allow",
            "Action": [
                "license-manager:GetLicenseConfiguration",
                "license-manager:UpdateLicenseSpecificationsForResource",
                "license-manager:ListLicenseSpecificationsForResource",
            ],
            "Resource": "*",
        }));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// Returns the statement about the KMS key.
fn key(options: &Options) -> Option<Value> {
    let key = options.kms_key.as_deref()?;
    let partition = options.partition();
    let alias = key.rsplit_once("alias/").map(|(_, name)| format!("alias/{name}"));
    let resource = match (&alias, key.starts_with("arn:")) {
        (None, true) => key.to_owned(),
        (None, false) => format!("arn:{partition}:kms:*:*:key/{key}"),
        (Some(_), _) => format!("arn:{partition}:kms:*:*:key/*"),
    };
    let mut statement = json!({
        "Sid": "Key",
        "Effect": "Allow",
        "Action": [
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey*",
            "kms:ReEncrypt*",
        ],
        "Resource": resource,
    });
    if let (Some(alias), Some(members)) = (alias, statement.as_object_mut()) {
        members.insert("Condition".into(), json!({"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}));
    }
    Some(statement)
}
