//! Downloads without a network: the files that a document downloads are read from a local mirror folder.
//!
//! `s3://BUCKET/KEY` stands for `FOLDER/BUCKET/KEY`, `https://HOST/PATH` for `FOLDER/HOST/PATH`. The files are read with the
//! document and kept with its attachments, under their addresses.

use std::collections::BTreeMap;
use std::path::Path;

use super::attachments::{self, Attachments};
use super::condition::Hash;
use super::destination::{destination_path, ends_open, write_file};
use super::document::Document;
use super::expression::{self, Scope};
use super::fault::{Fault, Flaw};
use super::pending_changes::PendingChanges;
use super::yaml::Node;
use crate::windows::setting::Content;

/// The actions that download.
const ACTIONS: [&str; 2] = ["S3Download", "WebDownload"];

/// An address as the place of a file in a mirror.
struct Address {
    /// `s3`, `https` or `http`.
    scheme: String,
    /// Where it is, from the folder of the mirror.
    path: String,
    /// Whether it refers to everything below.
    is_prefix: bool,
}

impl Address {
    fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("is no address")?;
        let is_bucket = scheme == "s3";
        if !is_bucket && !matches!(scheme, "https" | "http") {
            return Err("is neither of S3 nor of the web");
        }
        let (rest, is_prefix) = match rest.strip_suffix("/*") {
            Some(rest) if is_bucket => (rest, true),
            _ => (rest, false),
        };
        if rest.contains(['?', '#', '%', '*']) {
            return Err("is more than a path, for which a mirror has no place");
        }
        let path = attachments::relative(rest)?;
        match path.contains('/') || is_prefix {
            true => Ok(Self { scheme: scheme.to_owned(), path, is_prefix }),
            false => Err("names no file"),
        }
    }

    /// Returns the files that are kept for it, each with the path below it; one file has none below itself.
    fn files<'b>(&self, attachments: &'b Attachments) -> Vec<(String, &'b Content)> {
        let key = self.key();
        let below = |name: &str| -> Option<String> {
            match name.strip_prefix(&key)? {
                "" => Some(String::new()),
                rest => rest.strip_prefix('/').map(str::to_owned),
            }
        };
        attachments.iter().filter_map(|(name, content)| Some((below(name)?, content))).collect()
    }

    /// Returns the name under which the file, or each file below, is kept.
    fn key(&self) -> String {
        format!("{}://{}", self.scheme, self.path)
    }
}

/// Reads the files that a document downloads. `names` are its parameters and constants.
///
/// # Errors
/// An address that depends on what other steps find, or that the mirror does not hold.
pub(super) fn read(
    document: &Document,
    names: &BTreeMap<String, String>,
    mirror: &Path,
    attachments: &mut Attachments,
) -> Result<(), Fault> {
    let steps = document.phases.iter().flat_map(|phase| &phase.steps);
    for step in steps.filter(|step| ACTIONS.contains(&step.action.as_str())) {
        for source in step.inputs.iter().filter_map(|input| input.get("source")) {
            let wrong = |what: String| Fault::new(source.at, Flaw::Path, what);
            let nothing = BTreeMap::new();
            let scope = Scope { names, results: &nothing, iteration: None, environment_value: &|_| None };
            let url = expression::resolve(source.text().unwrap_or_default(), source.at, &scope)?;
            let address = Address::parse(&url).map_err(|why| wrong(format!("{url:?} {why}")))?;
            let is_folder = mirror.join(&address.path).is_dir();
            if is_folder != address.is_prefix {
                let place = mirror.join(&address.path).display().to_string();
                return Err(wrong(format!("{url:?} is downloaded from `{place}`, and there is no such thing")));
            }
            attachments::gather(mirror, &address.path, &format!("{}://", address.scheme), source.at, attachments)?;
        }
    }
    Ok(())
}

/// Writes the file at an address to the machine; returns the destinations, one a line.
pub(super) fn fetch(
    action: &str,
    input: &Node,
    attachments: &Attachments,
    pending: &mut PendingChanges<'_>,
) -> Result<String, Fault> {
    let text = |name: &str| input.get(name).and_then(Node::text).unwrap_or_default();
    let may_overwrite = input.get("overwrite").and_then(Node::flag).unwrap_or(true);
    let (url, destination) = (text("source"), text("destination"));
    let address = Address::parse(url).map_err(|why| pending.fault(Flaw::Path, format!("{url:?} {why}")))?;
    let files = address.files(attachments);
    if files.is_empty() {
        return Err(pending.fault(Flaw::Failed, format!("{url:?} is not among the downloads")));
    }
    if action == "S3Download" {
        // The action makes no folders, and a single object needs a name of its own.
        let place = pending.path(destination)?;
        let folder = match (address.is_prefix, place.rsplit_once('\\')) {
            (true, _) => place.as_str(),
            (false, Some((above, _))) => above,
            (false, None) => "",
        };
        if !folder.is_empty() && !pending.is_folder(folder)? {
            return Err(pending.fault(Flaw::Failed, format!("there is no folder `{folder}`")));
        }
        if !address.is_prefix && (ends_open(destination) || pending.is_folder(&place)?) {
            return Err(pending.fault(Flaw::Failed, format!("{destination:?} is a folder: name the file")));
        }
    }
    verify(input, &files.iter().filter_map(|(_, content)| content.data.as_deref()).collect::<Vec<_>>())?;
    let mut placed = Vec::new();
    for (below, content) in files {
        let name = address.path.replace('/', r"\");
        let place = match below.as_str() {
            "" => destination_path(destination, &name, pending)?,
            below => pending.path(&format!(r"{}\{below}", destination.trim_end_matches(['\\', '/'])))?,
        };
        write_file(place.clone(), content.clone(), may_overwrite, pending)?;
        placed.push(format!(r"{}:\{place}", pending.drive()));
    }
    Ok(placed.join("\n"))
}

/// Checks a download before any image is read: its address and its checksum.
///
/// # Errors
/// What is wrong with either.
pub(super) fn check(input: &Node, attachments: &Attachments, has_downloads: bool) -> Result<(), Fault> {
    if !has_downloads {
        return verify(input, &[]);
    }
    let url = input.get("source").and_then(Node::text).unwrap_or_default();
    let address = Address::parse(url).map_err(|why| Fault::new(input.at, Flaw::Path, format!("{url:?} {why}")))?;
    let files = address.files(attachments);
    // Where a bundle is proven again, the bytes may come later.
    let data: Vec<&[u8]> = files.iter().filter_map(|(_, content)| content.data.as_deref()).collect();
    verify(input, if data.len() == files.len() { &data } else { &[] })
}

/// Holds what was downloaded against the checksum, where there is one.
fn verify(input: &Node, files: &[&[u8]]) -> Result<(), Fault> {
    let text = |name: &str| input.get(name).and_then(Node::text);
    let (algorithm, wanted) = match (text("algorithm"), text("checksum")) {
        (None, None) => return Ok(()),
        (Some(algorithm), Some(wanted)) => (algorithm, wanted),
        _ => return Err(Fault::new(input.at, Flaw::Missing, "`checksum` and `algorithm` stand together")),
    };
    let hash = match algorithm {
        "MD5" => Hash::Md5,
        "SHA1" => Hash::Sha1,
        "SHA256" => Hash::Sha256,
        "SHA512" => Hash::Sha512,
        _ => {
            let what = format!("`{algorithm}` instead of MD5, SHA1, SHA256 or SHA512");
            return Err(Fault::new(input.at, Flaw::Word, what));
        }
    };
    match files.iter().map(|data| hash.of(data)).find(|found| !found.eq_ignore_ascii_case(wanted)) {
        Some(found) => Err(Fault::new(input.at, Flaw::Failed, format!("its {algorithm} is {found}, not {wanted}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_place_in_the_mirror_or_none() {
        let of = |url: &str| Address::parse(url).map(|address| (address.key(), address.is_prefix));
        assert_eq!(of("s3://bucket/a/b.zip"), Ok(("s3://bucket/a/b.zip".to_owned(), false)));
        assert_eq!(of("s3://bucket/a/*"), Ok(("s3://bucket/a".to_owned(), true)));
        assert_eq!(of("s3://bucket/*"), Ok(("s3://bucket".to_owned(), true)));
        assert_eq!(of("https://example.com/a.zip"), Ok(("https://example.com/a.zip".to_owned(), false)));
        for odd in [
            "a.zip",
            "ftp://a/b",
            "s3://bucket",
            "s3://../a",
            "s3://bucket/../../etc/passwd",
            "https://a/b?c=d",
            "https://a/%2e%2e/b",
            "https://a/*",
            "s3://bucket/a*",
            "https:///etc/passwd",
        ] {
            assert!(of(odd).is_err(), "{odd}");
        }
    }
}
