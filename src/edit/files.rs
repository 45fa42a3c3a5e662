//! Edits the files of a volume: in memory, verified, and only then written.

use std::path::{Path, PathBuf};

use super::output::{Edited, Output};
use super::{Error, Result};
use crate::windows;
use coldforge_base::progress::Progress;
use coldforge_base::time::FileTime;
use coldforge_base::{Extent, Failure as _, Kind, ReadAt, WriteAt, inherit};
use coldforge_disk::partition::Partition;
use coldforge_disk::{Format, Image, Overlay, Window};
use coldforge_ntfs::verify::Check;
use coldforge_ntfs::{self as ntfs, Changes, File, Security, Volume, is_shadow_store};

/// One change of a volume; paths have backslashes and begin with one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileEdit {
    /// Gives a file this content; makes it if it is missing.
    Put {
        /// The file.
        path: String,
        /// The content.
        content: Vec<u8>,
    },
    /// Makes a directory; one that exists is left as it is.
    MakeDirectory {
        /// The directory.
        path: String,
        /// Whether those above it are made too.
        parents: bool,
    },
    /// Deletes a file or an empty directory.
    Remove {
        /// The file or directory.
        path: String,
        /// Whether a directory goes with everything in it.
        recursive: bool,
    },
}

/// What an edit of a volume did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FileEditResult {
    /// The files that were written; none if nothing changed.
    pub files: Vec<PathBuf>,
    /// Warnings, each with its code.
    pub warnings: Vec<String>,
}

/// Makes all changes on a volume of an image, or none.
///
/// New files and directories get the security descriptor that their directory passes on.
///
/// # Errors
/// Every refusal that applies to the volume, and [`windows::Error::VolumeCorrupt`] if it contradicts itself; the reason why a step is refused; [`Error::Exists`] if the output does. Nothing is written then.
pub fn edit_files(
    path: &Path,
    format: Option<Format>,
    partition: &Partition,
    steps: &[FileEdit],
    (output, now): (&Output, FileTime),
    progress: &dyn Progress,
) -> Result<FileEditResult> {
    output.check()?;
    let image = Image::open(path, format)?;
    let failed = |source| windows::Error::Volume { partition: partition.number, source };
    let window = Window::open(Overlay::new(&image), partition.start, partition.length_bytes)?;
    let mut volume = match Volume::open(window) {
        Err(error) if error.kind() == Kind::Corrupt => {
            let (partition, first) = (partition.number, error.to_string());
            return Err(windows::Error::VolumeCorrupt { partition, findings: 1, first }.into());
        }
        opened => opened.map_err(failed)?,
    };
    if let Some(refusal) = volume.refusals().map_err(failed)?.into_iter().next() {
        return Err(windows::Error::Refused(refusal).into());
    }
    let before = volume.verify(Check::Full, progress).map_err(failed)?;
    if let Some(first) = before.errors().next() {
        let (findings, first) = (before.errors().count(), first.to_string());
        return Err(windows::Error::VolumeCorrupt { partition: partition.number, findings, first }.into());
    }
    let mut changes = Changes::default();
    for step in steps {
        step.apply(&mut volume, now, &mut changes)?;
    }
    let after = volume.verify(Check::Full, progress).map_err(failed)?;
    if let Some(first) = after.grown_from(&before).first() {
        return Err(windows::Error::VolumeWorse { partition: partition.number, first: first.to_string() }.into());
    }
    let shift = |extent: &Extent| Extent::new(partition.start.0.saturating_add(extent.offset), extent.length);
    let order: Vec<Vec<Extent>> =
        changes.steps().iter().map(|(_, extents)| extents.iter().map(shift).collect()).collect();
    let edited = Edited { partition: partition.number, volume: Extent::new(partition.start.0, partition.length_bytes) };
    let warnings = volume.warnings().map_err(failed)?.iter().map(ToString::to_string).collect();
    let files = output.emit(&volume.into_device().into_inner(), path, (edited, &order), progress)?;
    Ok(FileEditResult { files, warnings })
}

impl FileEdit {
    fn apply<D: WriteAt>(&self, volume: &mut Volume<D>, now: FileTime, changes: &mut Changes) -> Result<()> {
        match self {
            Self::Put { path, content } => {
                let failed = |source| Error::Path { path: path.clone(), source };
                match volume.find(path).map_err(failed)? {
                    Some(file) if is_shadow_store(path) => {
                        return Err(failed(ntfs::Error::SystemFile { record: file.reference().record() }));
                    }
                    Some(file) => changes.join(volume.replace_stream(&file, content, now).map_err(failed)?),
                    None => {
                        let (parent, name) = parent_of(volume, path)?;
                        let descriptor = passed_on(volume, &parent, path, false)?;
                        let security = Security::Descriptor(&descriptor);
                        let (_, made) = volume.create_file(&parent, name, content, security, now).map_err(failed)?;
                        changes.join(made);
                    }
                }
                Ok(())
            }
            Self::MakeDirectory { path, parents } => make_directory(volume, path, *parents, now, changes),
            Self::Remove { path, recursive } => remove(volume, path, *recursive, now, changes),
        }
    }
}

fn make_directory<D: WriteAt>(
    volume: &mut Volume<D>,
    path: &str,
    parents: bool,
    now: FileTime,
    changes: &mut Changes,
) -> Result<()> {
    let failed = |source| Error::Path { path: path.to_owned(), source };
    if let Some(found) = volume.find(path).map_err(failed)? {
        let record = found.reference().record();
        return match (found.is_directory(), parents) {
            (true, true) => Ok(()),
            (true, false) => Err(failed(ntfs::Error::NameTaken { directory: record })),
            (false, _) => Err(failed(ntfs::Error::NotADirectory { record })),
        };
    }
    if parents && let Some((above, _)) = path.rsplit_once('\\').filter(|(above, _)| !above.is_empty()) {
        make_directory(volume, above, parents, now, changes)?;
    }
    let (parent, name) = parent_of(volume, path)?;
    let descriptor = passed_on(volume, &parent, path, true)?;
    let (_, made) = volume.create_dir(&parent, name, Security::Descriptor(&descriptor), now).map_err(failed)?;
    changes.join(made);
    Ok(())
}

fn remove<D: WriteAt>(
    volume: &mut Volume<D>,
    path: &str,
    recursive: bool,
    now: FileTime,
    changes: &mut Changes,
) -> Result<()> {
    let failed = |source| Error::Path { path: path.to_owned(), source };
    let file = volume.find(path).map_err(failed)?.ok_or_else(|| Error::NoPath { path: path.to_owned() })?;
    if file.is_system() || is_shadow_store(path) {
        return Err(failed(ntfs::Error::SystemFile { record: file.reference().record() }));
    }
    // A link into another tree is refused below, before anything in it is read.
    if recursive && file.is_directory() && file.reparse_tag().is_none() {
        for entry in volume.list(&file).map_err(failed)? {
            remove(volume, &format!(r"{path}\{}", entry.name), recursive, now, changes)?;
        }
    }
    let (parent, name) = parent_of(volume, path)?;
    changes.join(volume.delete(&parent, name, now).map_err(failed)?);
    Ok(())
}

/// Returns the directory that a path is in, and its last name.
fn parent_of<'p, D: ReadAt>(volume: &Volume<D>, path: &'p str) -> Result<(File, &'p str)> {
    let (above, name) = path.rsplit_once('\\').unwrap_or(("", path));
    let above = if above.is_empty() { r"\" } else { above };
    let failed = |source| Error::Path { path: above.to_owned(), source };
    let parent = volume.find(above).map_err(failed)?.ok_or_else(|| Error::NoPath { path: above.to_owned() })?;
    Ok((parent, name))
}

/// Returns the descriptor that a directory passes on to a new file or directory in it.
fn passed_on<D: ReadAt>(volume: &Volume<D>, parent: &File, path: &str, is_folder: bool) -> Result<Vec<u8>> {
    let failed = |source| Error::Path { path: path.to_owned(), source };
    let unknown = || Error::Inheritance { path: path.to_owned() };
    let above = volume.security(parent).map_err(failed)?.ok_or_else(unknown)?;
    inherit::inherited(&above, is_folder).ok().flatten().ok_or_else(unknown)
}
