//! The images of a recipe: expands paths and patterns to files.

use std::path::{Path, PathBuf};

use super::super::Result;
use super::super::error::unknown;
use super::document;
use super::error::Fault;
use crate::formats::pattern;
use coldforge_base::digest::Digest;
use coldforge_base::fs;
use coldforge_disk::Format;

/// An image that a recipe names.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) path: PathBuf,
    /// As the recipe's folder shows it.
    pub(super) shown: String,
    pub(super) format: Option<Format>,
    pub(super) parent: Option<PathBuf>,
    /// What the recipe expects, in lower-case hex digits.
    pub(super) sha256: Option<String>,
}

/// Checks what can be checked without an image.
pub(super) fn check(sources: &[document::Source]) -> Result<()> {
    for source in sources {
        format(source)?;
        sha256(source)?;
    }
    match sources.is_empty() {
        true => Err(unknown("source", "[]", "at least one image")),
        false => Ok(()),
    }
}

fn format(source: &document::Source) -> Result<Option<Format>> {
    let wrong = |text| unknown("source.format", text, "a container, such as raw, vhd or vhdx");
    source.format.as_ref().map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}

/// Returns the digest that is expected, in lower-case hex digits.
fn sha256(source: &document::Source) -> Result<Option<String>> {
    let sha256 = source.sha256.as_ref().map(|text| text.to_ascii_lowercase());
    match sha256.as_ref().filter(|text| Digest::from_hex(text).is_none()) {
        Some(text) => Err(unknown("source.sha256", text, "64 hex digits")),
        None => Ok(sha256),
    }
}

/// Finds the images in the order of the recipe; those of one pattern by name.
pub(super) fn find(home: &Path, sources: &[document::Source]) -> Result<Vec<Image>> {
    let mut images: Vec<Image> = Vec::new();
    for source in sources {
        let (format, sha256) = (format(source)?, sha256(source)?);
        for path in matching(home, &source.image)? {
            let shown = path.strip_prefix(home).unwrap_or(&path).display().to_string();
            if images.iter().any(|image| image.path == path) {
                return Err(unknown("source.image", &shown, "each image once"));
            }
            let parent = source.parent.as_ref().map(|parent| home.join(parent));
            images.push(Image { path, shown, format, parent, sha256: sha256.clone() });
        }
    }
    Ok(images)
}

/// Returns the files that match a path or pattern; only the last part may contain `*` and `?`.
fn matching(home: &Path, text: &str) -> Result<Vec<PathBuf>> {
    let path = home.join(text);
    let missing = || Fault::Missing { path: path.clone() };
    if !text.contains(['*', '?']) {
        return if path.is_file() { Ok(vec![path]) } else { Err(missing().into()) };
    }
    let folder = path.parent().unwrap_or(home);
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|_| missing())? {
        let entry = entry.map_err(fs::failed("list", folder))?;
        if pattern::fits(&entry.file_name().to_string_lossy(), &wanted) && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(missing().into()),
        false => Ok(found),
    }
}
