//! What a user says about the place that an image goes to: bucket, region, role, key, tags, licence, further regions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::preflight::Route;
use crate::base::{Failure, Kind};

/// The bucket that stands in the files until somebody names one.
pub const NO_BUCKET: &str = "YOUR-BUCKET";

/// What a user says about the place that an image goes to. The bundle keeps it as `aws/options.json`, so that everything
/// else in that folder can be made again from the image.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The way that the preflight is about.
    pub route: Route,
    /// The S3 bucket that the image is uploaded to.
    pub bucket: String,
    /// What the image's key in the bucket begins with: empty, or ending with a slash.
    pub prefix: String,
    /// The region of the bucket and of the new image; `None` leaves it to the environment of the commands.
    pub region: Option<String>,
    /// The role that VM Import/Export takes on.
    pub role_name: String,
    /// The KMS key that encrypts the new snapshot: its id, alias or ARN; `None` for none.
    pub kms_key: Option<String>,
    /// Tags of the new image, beside those of this program.
    pub tags: BTreeMap<String, String>,
    /// `AWS`, `BYOL`, or the ARN of a licence configuration; `None` leaves it to AWS.
    pub license: Option<String>,
    /// Regions that the new image is copied to.
    pub regions: Vec<String>,
    /// Accounts that may start the new image.
    pub account_ids: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            route: Route::ImportImage,
            bucket: NO_BUCKET.to_owned(),
            prefix: String::new(),
            region: None,
            role_name: "vmimport".to_owned(),
            kms_key: None,
            tags: BTreeMap::new(),
            license: None,
            regions: Vec::new(),
            account_ids: Vec::new(),
        }
    }
}

/// An option that AWS would not take.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{value}` is no {what}")]
pub struct BadOption {
    /// What it should be.
    pub what: &'static str,
    /// What it is.
    pub value: String,
}

impl Failure for BadOption {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<&'static str> {
        Some("run `coldforge help harden` for what each option takes")
    }
}

impl Options {
    /// Checks that everything has a form that AWS takes; nothing of it can then leave the place in a command or a
    /// document where it is put.
    ///
    /// # Errors
    /// [`BadOption`] for the first that has none.
    pub fn check(&self) -> Result<(), BadOption> {
        let all = |text: &str, also: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
        let within = |text: &str, most: usize| (1..=most).contains(&text.len());
        let bad = |what, value: &str| Err(BadOption { what, value: value.to_owned() });
        let is_bucket = (3..=63).contains(&self.bucket.len())
            && self.bucket.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c))
            && !self.bucket.starts_with(['.', '-'])
            && !self.bucket.ends_with(['.', '-']);
        if !(is_bucket || self.bucket == NO_BUCKET) {
            return bad("name of an S3 bucket", &self.bucket);
        }
        let is_prefix = self.prefix.is_empty() || self.prefix.ends_with('/');
        if !(is_prefix && self.prefix.len() <= 512 && all(&self.prefix, "!-_.*'()/") && !self.prefix.starts_with('/')) {
            return bad("prefix of a key in S3, which ends with a slash", &self.prefix);
        }
        let is_region = |text: &str| {
            let parts: Vec<&str> = text.split('-').collect();
            let ends = parts.last().is_some_and(|last| !last.is_empty() && last.chars().all(|c| c.is_ascii_digit()));
            let is_lower = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            parts.len() >= 3 && ends && is_lower && parts.iter().all(|part| !part.is_empty())
        };
        if let Some(region) = self.region.iter().chain(&self.regions).find(|region| !is_region(region)) {
            return bad("region of AWS", region);
        }
        if !(within(&self.role_name, 64) && all(&self.role_name, "_+=,.@-")) {
            return bad("name of a role", &self.role_name);
        }
        if let Some(key) = self.kms_key.as_ref().filter(|key| !(within(key, 2048) && all(key, ":/_-"))) {
            return bad("KMS key", key);
        }
        let is_license = |text: &str| {
            matches!(text, "AWS" | "BYOL")
                || (text.starts_with("arn:") && text.contains(":license-manager:") && all(text, ":/_-"))
        };
        if let Some(license) = self.license.as_ref().filter(|license| !is_license(license)) {
            return bad("licence (AWS, BYOL, or the ARN of a licence configuration)", license);
        }
        let is_account = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
        if let Some(account) = self.account_ids.iter().find(|account| !is_account(account)) {
            return bad("account id of twelve digits", account);
        }
        let fits = |text: &str, most: usize| text.chars().count() <= most && !text.chars().any(char::is_control);
        let is_tag = |(key, value): &(&String, &String)| {
            !key.is_empty() && fits(key, 128) && fits(value, 256) && !key.to_ascii_lowercase().starts_with("aws:")
        };
        if let Some((key, value)) = self.tags.iter().find(|tag| !is_tag(tag)) {
            return bad("tag", &format!("{key}={value}"));
        }
        // AWS takes fifty tags, and two are this program's.
        if self.tags.len() > 48 {
            return bad("number of tags that AWS takes", &self.tags.len().to_string());
        }
        Ok(())
    }

    /// Returns the regions that the new image is copied to: each once, without the one that it is made in.
    pub(super) fn further_regions(&self) -> impl Iterator<Item = &String> {
        let is_new = |at: usize, region: &String| !self.regions.iter().take(at).any(|earlier| earlier == region);
        let further = self.regions.iter().enumerate().filter(move |(at, region)| is_new(*at, region));
        further.map(|(_, region)| region).filter(|region| self.region.as_ref() != Some(region))
    }

    /// Returns the key of a file in the bucket.
    pub(super) fn key(&self, image: &str) -> String {
        format!("{}{image}", self.prefix)
    }

    /// Returns the partition of AWS that the region lies in, as ARNs name it.
    pub(super) fn partition(&self) -> &'static str {
        match self.region.as_deref() {
            Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
            Some(region) if region.starts_with("cn-") => "aws-cn",
            _ => "aws",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_would_not_take_is_named_and_what_it_takes_passes() {
        let good = Options {
            bucket: "images.example".into(),
            prefix: "windows/2022/".into(),
            region: Some("eu-central-1".into()),
            kms_key: Some("arn:aws:kms:eu-central-1:111122223333:key/mrk-1234".into()),
            tags: [("Owner".to_owned(), "it's $(us) & \"them\"".to_owned())].into(),
            license: Some("BYOL".into()),
            regions: vec!["us-gov-west-1".into()],
            account_ids: vec!["111122223333".into()],
            ..Options::default()
        };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Options::default().check(), Ok(()));
        let bad = [
            Options { bucket: "Bucket".into(), ..good.clone() },
            Options { bucket: "a'; rm -rf /".into(), ..good.clone() },
            Options { prefix: "no-slash".into(), ..good.clone() },
            Options { prefix: "$(x)/".into(), ..good.clone() },
            Options { region: Some("Frankfurt".into()), ..good.clone() },
            Options { role_name: "a role".into(), ..good.clone() },
            Options { kms_key: Some("key with spaces".into()), ..good.clone() },
            Options { license: Some("MIT".into()), ..good.clone() },
            Options { regions: vec!["eu--1".into()], ..good.clone() },
            Options { account_ids: vec!["12345".into()], ..good.clone() },
            Options { tags: [("aws:x".to_owned(), String::new())].into(), ..good.clone() },
            Options { tags: [("x".to_owned(), "a\nb".to_owned())].into(), ..good.clone() },
        ];
        for options in bad {
            assert!(options.check().is_err(), "{options:?}");
        }
    }
}
