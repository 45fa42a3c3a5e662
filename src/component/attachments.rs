//! Attachments: files next to a component document that its steps copy into an image.
//!
//! They are read with the document, so that the evidence describes what was used even if the files change later.

use std::collections::BTreeMap;
use std::path::{Component as Part, Path};

use super::document::Document;
use super::fault::{Fault, Flaw, Position};
use crate::windows::setting::Content;
use coldforge_base::fs;

/// The most files of one document.
const MAX_FILES: usize = 4096;
/// The largest file: a file that is written to a volume is held in memory.
pub(crate) const FILE_LIMIT_BYTES: u64 = 64 << 20;
/// The most bytes of all files together.
const MAX_BYTES: u64 = 512 << 20;

/// The attachments by their path relative to the document's folder, with slashes.
pub(super) type Attachments = BTreeMap<String, Content>;

/// Reads the files that a document's steps name, and those in folders that they name.
///
/// # Errors
/// A source that is not there, leads out of the folder of the document, or is too large.
pub(super) fn read(document: &Document, home: &Path) -> Result<Attachments, Fault> {
    let mut attachments = Attachments::new();
    for (at, source) in sources(document) {
        let path = relative(source).map_err(|why| Fault::new(at, Flaw::Path, format!("{source:?} {why}")))?;
        gather(home, &path, "", at, &mut attachments)?;
    }
    Ok(attachments)
}

/// Reads a file, or all files of a folder, and keeps each under its path with the prefix `head`.
///
/// # Errors
/// What is not there, leads out of the folder, or is too large.
pub(super) fn gather(
    home: &Path,
    source: &str,
    head: &str,
    at: Position,
    attachments: &mut Attachments,
) -> Result<(), Fault> {
    let wrong = |what: String| Fault::new(at, Flaw::Path, what);
    let shown = home.display();
    let inside = |file: &Path| -> Result<(), Fault> {
        let [home, file] = [home, file].map(|path| path.canonicalize());
        let is_inside = matches!((&home, &file), (Ok(home), Ok(file)) if file.starts_with(home));
        match (file, is_inside) {
            (Ok(_), true) => Ok(()),
            (Ok(_), false) => Err(wrong(format!("{source:?} leads out of `{shown}`"))),
            (Err(_), _) => Err(wrong(format!("{source:?} does not exist in `{shown}`"))),
        }
    };
    // Paths still to be read.
    let mut open = vec![source.to_owned()];
    while let Some(path) = open.pop() {
        let file = home.join(&path);
        inside(&file)?;
        if file.is_dir() {
            let entries = std::fs::read_dir(&file).map_err(|error| wrong(format!("{source:?}: {error}")))?;
            for entry in entries {
                let entry = entry.map_err(|error| wrong(format!("{source:?}: {error}")))?;
                let name = entry.file_name().into_string();
                let name = name.map_err(|name| wrong(format!("the name {} is not UTF-8", name.display())))?;
                if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                    return Err(wrong(format!("{source:?} holds the symbolic link {name:?}")));
                }
                open.push(format!("{path}/{name}"));
            }
        } else {
            let content = fs::read(&file, FILE_LIMIT_BYTES).map_err(|error| wrong(error.to_string()))?;
            attachments.insert(format!("{head}{path}"), Content::of(content));
        }
        let bytes = attachments.values().fold(0_u64, |sum, one| sum.saturating_add(one.bytes));
        if attachments.len().saturating_add(open.len()) > MAX_FILES || bytes > MAX_BYTES {
            return Err(wrong(format!("{source:?} is more than {MAX_FILES} files or {} MiB", MAX_BYTES >> 20)));
        }
    }
    Ok(())
}

/// Returns the files of a source, each with its path below the source; empty for a source that is one file.
pub(super) fn below<'b>(attachments: &'b Attachments, source: &str) -> Vec<(&'b str, &'b Content)> {
    let Ok(path) = relative(source) else { return Vec::new() };
    let rest = |name: &'b str| match name.strip_prefix(&path)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    };
    attachments.iter().filter_map(|(name, content)| Some((rest(name)?, content))).collect()
}

/// Returns the path of a source relative to the document's folder.
///
/// # Errors
/// What is wrong with it.
pub(super) fn relative(source: &str) -> Result<String, &'static str> {
    if source.contains("{{") {
        return Err("must not contain an expression: the file is read with the document");
    }
    if source.contains('\\') {
        return Err("must be separated by slashes, not backslashes");
    }
    let mut names = Vec::new();
    for part in Path::new(source).components() {
        match part {
            Part::Normal(name) => names.push(name.to_str().unwrap_or_default()),
            Part::CurDir => {}
            _ => return Err("leads out of the folder of the document"),
        }
    }
    match names.is_empty() {
        true => Err("names no file"),
        false => Ok(names.join("/")),
    }
}

/// Returns the sources in a document's steps that name files.
fn sources(document: &Document) -> impl Iterator<Item = (Position, &str)> {
    let steps = document.phases.iter().flat_map(|phase| &phase.steps);
    let steps = steps.filter(|step| matches!(step.action.as_str(), "InstallFiles" | "InstallCertificate"));
    let inputs = steps.flat_map(|step| &step.inputs);
    inputs.filter_map(|input| input.get("source")).filter_map(|node| Some((node.at, node.text()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_stays_in_the_folder_of_its_document() {
        assert_eq!(relative("./files/a.txt").as_deref(), Ok("files/a.txt"));
        for (source, why) in [
            ("../a", "out"),
            ("/etc/passwd", "out"),
            ("a/../../b", "out"),
            (".", "no file"),
            (r"a\b", "slashes"),
            ("{{ a }}", "an expression"),
        ] {
            assert!(relative(source).unwrap_err().contains(why), "{source}");
        }
    }

    #[test]
    fn a_folder_means_everything_below_it_and_a_file_itself() {
        let all = ["files/a", "files/b/c", "files2/d"];
        let attachments: Attachments =
            all.iter().map(|name| ((*name).to_owned(), Content::of(name.as_bytes()))).collect();
        let names = |source: &str| below(&attachments, source).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("files"), ["a", "b/c"]);
        assert_eq!(names("./files/a"), [""]);
        assert!(names("file").is_empty());
    }
}
