//! The images of a recipe: paths and patterns become files.

use std::path::{Path, PathBuf};

use super::super::Result;
use super::{Fault, document, unknown};
use crate::base::digest::Digest;
use crate::base::fs;
use crate::disk::Format;

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

/// Finds the images in the order of the recipe; those of one pattern by name.
pub(super) fn find(home: &Path, sources: &[document::Source]) -> Result<Vec<Image>> {
    let mut images: Vec<Image> = Vec::new();
    for source in sources {
        let format = match &source.format {
            Some(text) => Some(
                text.parse().map_err(|_| unknown("source.format", text, "a container, such as raw, vhd or vhdx"))?,
            ),
            None => None,
        };
        let sha256 = source.sha256.as_ref().map(|text| text.to_ascii_lowercase());
        if let Some(text) = sha256.as_ref().filter(|text| Digest::from_hex(text).is_none()) {
            return Err(unknown("source.sha256", text, "64 hex digits"));
        }
        for path in matching(home, &source.image)? {
            let shown = path.strip_prefix(home).unwrap_or(&path).display().to_string();
            if images.iter().any(|image| image.path == path) {
                return Err(unknown("source.image", &shown, "each image once"));
            }
            let parent = source.parent.as_ref().map(|parent| home.join(parent));
            images.push(Image { path, shown, format, parent, sha256: sha256.clone() });
        }
    }
    match images.is_empty() {
        true => Err(unknown("source", "[]", "at least one image")),
        false => Ok(images),
    }
}

/// Returns the files that a path or pattern means; `*` and `?` stand in its last part only.
fn matching(home: &Path, text: &str) -> Result<Vec<PathBuf>> {
    let path = home.join(text);
    let missing = || Fault::Missing { path: path.clone() };
    if !text.contains(['*', '?']) {
        return if path.is_file() { Ok(vec![path]) } else { Err(missing().into()) };
    }
    let folder = path.parent().unwrap_or(home);
    let pattern: Vec<char> = path.file_name().unwrap_or_default().to_string_lossy().chars().collect();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|_| missing())? {
        let entry = entry.map_err(fs::failed("list", folder))?;
        let name: Vec<char> = entry.file_name().to_string_lossy().chars().collect();
        if fits(&name, &pattern) && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(missing().into()),
        false => Ok(found),
    }
}

/// Tells whether a name fits a pattern. The work is the product of both lengths at most.
fn fits(name: &[char], pattern: &[char]) -> bool {
    // Which prefixes of the pattern fit what was read of the name.
    let mut row = vec![true];
    row.extend(pattern.iter().scan(true, |open, one| {
        *open &= *one == '*';
        Some(*open)
    }));
    for c in name {
        let mut next = vec![false];
        for (i, one) in pattern.iter().enumerate() {
            let was = |at: usize, row: &[bool]| row.get(at).copied().unwrap_or(false);
            next.push(match one {
                '*' => was(i, &next) || was(i + 1, &row),
                one => was(i, &row) && (*one == '?' || one == c),
            });
        }
        row = next;
    }
    row.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_star_stands_for_any_text_and_a_question_mark_for_one_character() {
        let fits = |name: &str, pattern: &str| {
            super::fits(&name.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())
        };
        for (name, pattern) in [("a.vhd", "*.vhd"), ("a.vhd", "?.vhd"), ("", "*"), ("abcbc", "a*bc"), ("a", "a**")] {
            assert!(fits(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("a.vhdx", "*.vhd"), ("ab.vhd", "?.vhd"), ("", "?"), ("abcb", "a*bc")] {
            assert!(!fits(name, pattern), "{name} {pattern}");
        }
    }
}
