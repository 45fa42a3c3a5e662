//! Where a step writes a file, and in which encoding.

use super::fault::{Fault, Flaw};
use super::pending_changes::PendingChanges;
use super::yaml::Node;
use crate::windows::setting::Content;

type Result<T> = std::result::Result<T, Fault>;

/// Returns whether a destination is a folder that what comes keeps its name in.
pub(super) fn ends_open(destination: &str) -> bool {
    destination.ends_with(['\\', '/'])
}

/// Returns where something lands.
pub(super) fn destination_path(destination: &str, source: &str, pending: &PendingChanges<'_>) -> Result<String> {
    let path = pending.path(destination)?;
    let name = source.rsplit('\\').next().unwrap_or(source);
    Ok(if ends_open(destination) { pending.path(&format!(r"{path}\{name}"))? } else { path })
}

pub(super) fn same_path(one: &str, other: &str) -> bool {
    one.to_uppercase() == other.to_uppercase()
}

/// Puts content where nothing is, or may be overwritten.
pub(super) fn write_file(
    path: String,
    content: Content,
    may_overwrite: bool,
    pending: &mut PendingChanges<'_>,
) -> Result<()> {
    match !may_overwrite && pending.is_file(&path)? {
        true => Err(pending.fault(Flaw::Failed, format!("`{path}` exists"))),
        false => pending.put_content(path, content),
    }
}

/// Returns what is wrong with an encoding: files are written in UTF-8.
pub(super) fn encoding_fault(encoding: &Node) -> Option<Fault> {
    let word = encoding.text().unwrap_or_default().to_ascii_lowercase();
    let what = || format!("the encoding `{word}`: files are written in utf-8");
    (!matches!(word.as_str(), "utf8" | "utf-8")).then(|| Fault::new(encoding.at, Flaw::Word, what()))
}
