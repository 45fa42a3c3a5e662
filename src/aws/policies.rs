//! The two policies of the role for VM Import/Export: its trust policy and its permissions.

use serde_json::{Value, json};

use super::options::Key;
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

/// Returns what the role may do: read what is below the prefix in the bucket, and make a snapshot and an image; use the
/// key and the licence configuration only where they were named.
pub fn role_policy(import: &Import<'_>) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements(import.options)})
}

/// Returns the statements of the policy of the role.
pub(super) fn statements(options: &Options) -> Vec<Value> {
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
            "Resource": format!("{bucket}/{}*", literal(&options.prefix)),
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
    statements
}

/// Returns a text that IAM takes literally in a resource: `*` and `?` are wildcards there, and `${` begins a variable.
fn literal(text: &str) -> String {
    let mut literal = String::new();
    for c in text.chars() {
        match c {
            '*' | '?' | '$' => literal.extend(['$', '{', c, '}']),
            c => literal.push(c),
        }
    }
    literal
}

/// Returns the statement about the KMS key.
fn key(options: &Options) -> Option<Value> {
    let partition = options.partition();
    let (resource, alias) = match options.key_of_snapshot()? {
        Key::Id(id) => (format!("arn:{partition}:kms:*:*:key/{id}"), None),
        Key::Alias(alias) => (format!("arn:{partition}:kms:*:*:key/*"), Some(alias)),
        Key::Arn { partition, region, account, resource } => match resource.starts_with("alias/") {
            true => (format!("arn:{partition}:kms:{region}:{account}:key/*"), Some(resource)),
            false => (format!("arn:{partition}:kms:{region}:{account}:{resource}"), None),
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_may_read_what_lies_below_the_prefix_and_the_prefix_is_taken_literally() {
        let options = Options {
            bucket: "images".into(),
            prefix: "w*n/$x/".into(),
            region: Some("cn-north-1".into()),
            ..Options::default()
        };
        let statements = statements(&options);
        assert_eq!(statements[0]["Resource"], "arn:aws-cn:s3:::images");
        assert_eq!(statements[1]["Resource"], "arn:aws-cn:s3:::images/w${*}n/${$}x/*");
    }
}
