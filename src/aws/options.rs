//! The user's options for the import into AWS: bucket, region, role, key, tags, licence, further regions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::preflight::Route;
use coldforge_base::Failure;

/// The placeholder for the bucket in the files.
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
    /// The KMS key that encrypts the new snapshot and its copies: its id, alias or ARN; `None` for none. With further
    /// regions it is one that each of them can have: an alias, or a multi-Region key.
    pub kms_key: Option<String>,
    /// Tags of the new image, in addition to coldforge's own.
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
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error, Failure)]
#[error("`{value}` is not a valid {what}")]
#[failure(usage, hint = hint.unwrap_or("run `coldforge help harden` for what each option takes"))]
pub struct BadOption {
    /// What it should be.
    pub what: &'static str,
    /// What it is.
    pub value: String,
    /// What to do, where that is more than to look at the help.
    hint: Option<&'static str>,
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
        let bad = |what, value: &str| Err(BadOption { what, value: value.to_owned(), hint: None });
        if let Some(hint) = bucket_fault(&self.bucket).filter(|_| self.bucket != NO_BUCKET) {
            return Err(BadOption { what: "name of an S3 bucket", value: self.bucket.clone(), hint: Some(hint) });
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
        self.check_key()?;
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
        self.check_tags()?;
        Ok(())
    }

    /// Checks the form of the key, and that each region can have it.
    fn check_key(&self) -> Result<(), BadOption> {
        let Some(text) = &self.kms_key else { return Ok(()) };
        let bad = |what, hint| Err(BadOption { what, value: text.clone(), hint: Some(hint) });
        const FORMS: &str = "give the id of the key, `alias/NAME`, or the ARN of the key or of an alias";
        let Some(key) = Key::parse(text) else { return bad("KMS key", FORMS) };
        if key.is_default() && !self.account_ids.is_empty() {
            return bad(
                "KMS key that other accounts can use: an image that it encrypts cannot be shared",
                "encrypt with a customer managed key whose policy lets the accounts use it",
            );
        }
        if self.region.as_deref().is_some_and(|region| key.in_region(region).is_none()) {
            return bad("KMS key of the region of --region", "give a key of that region, or a multi-Region key");
        }
        if self.further_regions().any(|region| key.in_region(region).is_none()) {
            return bad(
                "KMS key that each of the regions has, and a key of one region encrypts no copy in another",
                "give a multi-Region key (mrk-) with a replica in each region, or `alias/NAME` with an alias of that name in each",
            );
        }
        Ok(())
    }

    /// Checks the tags by the narrowest of the models that they are sent to: EBS direct takes 127 characters and 255, EC2
    /// one more in values; a resource has fifty, of which two are this program's.
    fn check_tags(&self) -> Result<(), BadOption> {
        const MAX_OWN_TAGS: usize = 48;
        let bad = |what, value, hint| Err(BadOption { what, value, hint: Some(hint) });
        // Services count characters or the units of UTF-16, of which there are never fewer.
        let fits = |text: &str, most: usize| text.encode_utf16().count() <= most && !text.chars().any(char::is_control);
        for (key, value) in &self.tags {
            let lower = key.to_ascii_lowercase();
            if key.is_empty() || !fits(key, 127) || !fits(value, 255) {
                return bad(
                    "tag",
                    format!("{key}={value}"),
                    "a key has 1 to 127 characters, a value at most 255, and neither has control characters",
                );
            }
            if lower.starts_with("aws:") || lower.starts_with("coldforge:") {
                return bad(
                    "tag of yours",
                    format!("{key}={value}"),
                    "`aws:` is AWS's, and `coldforge:` this program's",
                );
            }
        }
        match self.tags.len() {
            0..=MAX_OWN_TAGS => Ok(()),
            count => bad("number of tags that AWS takes", count.to_string(), "give at most 48: two of fifty are taken"),
        }
    }

    /// Returns the KMS key.
    pub(super) fn key_of_snapshot(&self) -> Option<Key<'_>> {
        self.kms_key.as_deref().and_then(Key::parse)
    }

    /// Returns the name of the KMS key in the region where the image is made.
    pub(super) fn home_key(&self) -> Option<String> {
        let there = self.region.as_deref().and_then(|region| self.key_of_snapshot()?.in_region(region));
        there.or_else(|| self.kms_key.clone())
    }

    /// Returns the regions that the new image is copied to: each once, without the one that it is made in.
    pub(super) fn further_regions(&self) -> impl Iterator<Item = &String> {
        let is_new = |at: usize, region: &String| !self.regions.iter().take(at).any(|earlier| earlier == region);
        let further = self.regions.iter().enumerate().filter(move |(at, region)| is_new(*at, region));
        further.map(|(_, region)| region).filter(|region| self.region.as_ref() != Some(region))
    }

    /// Returns the name of a file in the bucket, which S3 calls its key.
    pub(super) fn object(&self, image: &str) -> String {
        format!("{}{image}", self.prefix)
    }

    /// Returns the partition of AWS that the region is in, as ARNs name it.
    pub(super) fn partition(&self) -> &'static str {
        match self.region.as_deref() {
            Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
            Some(region) if region.starts_with("cn-") => "aws-cn",
            _ => "aws",
        }
    }
}

/// Returns which of S3's rules for the names of general purpose buckets a name breaks, as what to do about it.
fn bucket_fault(name: &str) -> Option<&'static str> {
    const PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
    const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if !(3..=63).contains(&name.len()) || !name.chars().all(|c| is_plain(c) || ".-".contains(c)) {
        return Some("S3 takes 3 to 63 lower-case letters, digits, dots and hyphens");
    }
    if !(name.starts_with(is_plain) && name.ends_with(is_plain)) {
        return Some("let the name begin and end with a lower-case letter or a digit, as S3 demands");
    }
    if name.contains("..") {
        return Some("S3 takes no two dots in a row");
    }
    if name.split('.').count() == 4 && name.split('.').all(is_number) {
        return Some("S3 takes no name that reads as an IP address");
    }
    if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Some("S3 keeps names that begin with xn--, sthree- or amzn-s3-demo- for itself");
    }
    if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        return Some(
            "S3 keeps names that end with -s3alias, --ol-s3, .mrap, --x-s3 or --table-s3 for access points and for buckets \
             of other kinds, which no import reads",
        );
    }
    None
}

/// How a KMS key is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Key<'a> {
    /// By its id in the region where it is used: `1234abcd-..` or `mrk-..`.
    Id(&'a str),
    /// By an alias in the region where it is used: `alias/NAME`.
    Alias(&'a str),
    /// By its ARN.
    Arn {
        /// The partition of AWS.
        partition: &'a str,
        /// The region.
        region: &'a str,
        /// The account.
        account: &'a str,
        /// `key/ID` or `alias/NAME`.
        resource: &'a str,
    },
}

/// The alias of the key that EBS has in each account and region until another is chosen, which nobody else can use.
const DEFAULT_ALIAS: &str = "alias/aws/ebs";
/// What the id of a multi-Region key begins with.
const MULTI_REGION: &str = "mrk-";

impl<'a> Key<'a> {
    /// Reads a key in one of the four forms that AWS takes.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let all = |text: &str, also: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
        let is_id = |id: &str| (1..=128).contains(&id.len()) && all(id, "-");
        let is_alias = |resource: &str| {
            let name = resource.strip_prefix("alias/");
            name.is_some_and(|name| (1..=250).contains(&name.len()) && all(name, "/_-"))
        };
        if let ["arn", partition, "kms", region, account, resource] = text.split(':').collect::<Vec<_>>().as_slice() {
            let is_partition = partition.starts_with("aws") && all(partition, "-");
            let is_region = !region.is_empty() && all(region, "-");
            let is_account = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
            let is_resource = resource.strip_prefix("key/").is_some_and(is_id) || is_alias(resource);
            let is_arn = is_partition && is_region && is_account && is_resource;
            return is_arn.then_some(Self::Arn { partition, region, account, resource });
        }
        match text {
            text if is_alias(text) => Some(Self::Alias(text)),
            text if is_id(text) => Some(Self::Id(text)),
            _ => None,
        }
    }

    /// Returns how the key is named in a region: that of a multi-Region key has the same id in each, an alias the same
    /// name; any other key lives in one region, which its id does not tell.
    pub(super) fn in_region(self, there: &str) -> Option<String> {
        match self {
            Self::Alias(alias) => Some(alias.to_owned()),
            Self::Id(id) => id.starts_with(MULTI_REGION).then(|| id.to_owned()),
            Self::Arn { partition, region, account, resource } => {
                let is_everywhere = resource.strip_prefix("key/").is_none_or(|id| id.starts_with(MULTI_REGION));
                (is_everywhere || region == there).then(|| format!("arn:{partition}:kms:{there}:{account}:{resource}"))
            }
        }
    }

    /// Returns whether it is the key that EBS has by itself.
    fn is_default(self) -> bool {
        match self {
            Self::Alias(alias) => alias == DEFAULT_ALIAS,
            Self::Arn { resource, .. } => resource == DEFAULT_ALIAS,
            Self::Id(_) => false,
        }
    }

    /// Returns the ARN of the key where its name says it.
    pub(super) fn arn(self) -> Option<String> {
        match self {
            Self::Arn { partition, region, account, resource } if resource.starts_with("key/") => {
                Some(format!("arn:{partition}:kms:{region}:{account}:{resource}"))
            }
            _ => None,
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
            Options { kms_key: Some("arn:aws:kms:eu-central-1:1:key/mrk-1234".into()), ..good.clone() },
            Options { kms_key: Some("arn:aws:s3:::images".into()), ..good.clone() },
            Options { kms_key: Some("alias/".into()), ..good.clone() },
            // A key of one region, in another one or for a copy.
            Options { kms_key: Some("arn:aws:kms:eu-west-1:111122223333:key/1234".into()), ..good.clone() },
            Options { kms_key: Some("arn:aws:kms:eu-central-1:111122223333:key/1234".into()), ..good.clone() },
            Options { kms_key: Some("1234abcd-12ab-34cd-56ef-1234567890ab".into()), ..good.clone() },
            // The default key, and other accounts.
            Options { kms_key: Some("alias/aws/ebs".into()), ..good.clone() },
            Options { kms_key: Some("arn:aws:kms:eu-central-1:111122223333:alias/aws/ebs".into()), ..good.clone() },
            Options { license: Some("MIT".into()), ..good.clone() },
            Options { regions: vec!["eu--1".into()], ..good.clone() },
            Options { account_ids: vec!["12345".into()], ..good.clone() },
            Options { tags: [("aws:x".to_owned(), String::new())].into(), ..good.clone() },
            Options { tags: [("x".to_owned(), "a\nb".to_owned())].into(), ..good.clone() },
            Options { tags: [("x".repeat(128), String::new())].into(), ..good.clone() },
            Options { tags: [("x".to_owned(), "y".repeat(256))].into(), ..good.clone() },
            Options { tags: [("\u{1f600}".repeat(64), String::new())].into(), ..good.clone() },
            Options { tags: [("Coldforge:benchmark".to_owned(), String::new())].into(), ..good.clone() },
            Options { tags: (0..49).map(|tag| (tag.to_string(), String::new())).collect(), ..good.clone() },
        ];
        for options in bad {
            let error = options.check().expect_err(&format!("{options:?}"));
            assert!(error.hint().is_some());
        }
        let tags = (0..48).map(|tag| (format!("{tag:0>127}"), "y".repeat(255))).collect();
        let alone = |key: &str| Options { kms_key: Some(key.into()), regions: Vec::new(), ..good.clone() };
        for fine in [
            Options { tags, ..good.clone() },
            Options { kms_key: Some("alias/images".into()), ..good.clone() },
            Options { kms_key: Some("mrk-1234".into()), ..good.clone() },
            alone("arn:aws:kms:eu-central-1:111122223333:key/1234"),
            Options { account_ids: Vec::new(), ..alone("alias/aws/ebs") },
        ] {
            assert_eq!(fine.check(), Ok(()));
        }
    }

    #[test]
    fn a_bucket_has_a_name_that_s3_takes() {
        let checked = |bucket: &str| Options { bucket: bucket.into(), ..Options::default() }.check();
        for good in [
            "abc",
            "a.b",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.x",
            "a-b--c",
            "images.example.com",
            &"a".repeat(63),
            "xn-a",
            "mrap",
        ] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        let long = "a".repeat(64);
        let bad = [
            "",
            "ab",
            &long,
            "Images",
            "im_ages",
            "im ages",
            "images/win",
            ".images",
            "images.",
            "-images",
            "images-",
            "my..bucket",
            "192.168.1.1",
            "999.0.0.1",
            "xn--abc",
            "sthree-abc",
            "sthree-configurator",
            "amzn-s3-demo-bucket",
            "images-s3alias",
            "images--ol-s3",
            "images.mrap",
            "images--use1-az4--x-s3",
            "images--table-s3",
            "b\u{fc}cher",
        ];
        for bad in bad {
            let error = checked(bad).expect_err(bad);
            assert!(error.hint().is_some_and(|hint| hint.contains("S3")), "{bad}: {error}");
        }
    }

    #[test]
    fn a_key_has_a_name_in_each_region_that_can_have_it() {
        fn named(key: &str, region: &str) -> Option<String> {
            Key::parse(key)?.in_region(region)
        }
        let arn = |region: &str, resource: &str| format!("arn:aws:kms:{region}:111122223333:{resource}");
        assert_eq!(named(&arn("eu-central-1", "key/mrk-1"), "us-east-1"), Some(arn("us-east-1", "key/mrk-1")));
        assert_eq!(named(&arn("eu-central-1", "alias/a/b"), "us-east-1"), Some(arn("us-east-1", "alias/a/b")));
        assert_eq!(named(&arn("eu-central-1", "key/1"), "us-east-1"), None);
        assert_eq!(named(&arn("eu-central-1", "key/1"), "eu-central-1"), Some(arn("eu-central-1", "key/1")));
        assert_eq!(named("alias/images", "us-east-1").as_deref(), Some("alias/images"));
        assert_eq!((named("mrk-1", "us-east-1").as_deref(), named("1-2", "us-east-1")), (Some("mrk-1"), None));
    }
}
