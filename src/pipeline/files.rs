//! Hands-on work on the files of a volume: everything in memory, verified, and only then written.

use std::path::{Path, PathBuf};

use super::output::Output;
use super::{Error, Result};
use crate::base::progress::Progress;
use crate::base::time::FileTime;
use crate::disk::{BlockDevice, Format, Image, Overlay, Window};
use crate::ntfs::verify::Check;
use crate::ntfs::{self, File, Security, Volume};
use crate::partition::Partition;
use crate::windows;

/// One change of a volume; paths have backslashes and begin with one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileStep {
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

/// Makes all changes on a volume of an image, or none; returns the files that were written.
///
/// New files get the security descriptor of a neighbour of their kind, else that of their directory.
///
/// # Errors
/// Every refusal that applies to the volume, and [`windows::Error::VolumeCorrupt`] if it contradicts itself; what a step
/// is refused for; [`Error::Exists`] if the output does. Nothing is written then.
pub fn edit_files(
    path: &Path,
    format: Option<Format>,
    partition: &Partition,
    steps: &[FileStep],
    (output, now): (&Output, FileTime),
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    output.check()?;
    let image = Image::open(path, format)?;
    let failed = |source| windows::Error::Volume { partition: partition.number, source };
    let window = Window::open(Overlay::new(&image), partition.start, partition.length_bytes)?;
    let mut volume = Volume::open(window).map_err(failed)?;
    if let Some(refusal) = volume.refusals().map_err(failed)?.into_iter().next() {
        return Err(windows::Error::Refused(refusal).into());
    }
    let before = volume.verify(Check::Full, progress).map_err(failed)?;
    if let Some(first) = before.errors().next() {
        let (findings, first) = (before.errors().count(), first.to_string());
        return Err(windows::Error::VolumeCorrupt { partition: partition.number, findings, first }.into());
    }
    for step in steps {
        step.apply(&mut volume, now)?;
    }
    let after = volume.verify(Check::Full, progress).map_err(failed)?;
    if let Some(first) = after.grown_from(&before).first() {
        return Err(windows::Error::VolumeWorse { partition: partition.number, first: first.to_string() }.into());
    }
    output.emit(&volume.into_device().into_inner(), path, progress)
}

impl FileStep {
    fn apply<D: BlockDevice>(&self, volume: &mut Volume<D>, now: FileTime) -> Result<()> {
        match self {
            Self::Put { path, content } => {
                let failed = |source| Error::Path { path: path.clone(), source };
                match volume.find(path).map_err(failed)? {
                    Some(file) => volume.replace_stream(&file, content, now).map(drop).map_err(failed),
                    None => {
                        let (parent, name) = parent_of(volume, path)?;
                        let like = neighbour(volume, &parent, false).map_err(failed)?;
                        let made = volume.create_file(&parent, name, content, Security::SameAs(&like), now);
                        made.map(drop).map_err(failed)
                    }
                }
            }
            Self::MakeDirectory { path, parents } => make_directory(volume, path, *parents, now),
            Self::Remove { path, recursive } => remove(volume, path, *recursive, now),
        }
    }
}

fn make_directory<D: BlockDevice>(volume: &mut Volume<D>, path: &str, parents: bool, now: FileTime) -> Result<()> {
    let failed = |source| Error::Path { path: path.to_owned(), source };
    if let Some(found) = volume.find(path).map_err(failed)? {
        let record = found.reference().record();
        return if found.is_directory() { Ok(()) } else { Err(failed(ntfs::Error::NotADirectory { record })) };
    }
    if parents && let Some((above, _)) = path.rsplit_once('\\').filter(|(above, _)| !above.is_empty()) {
        make_directory(volume, above, parents, now)?;
    }
    let (parent, name) = parent_of(volume, path)?;
    let like = neighbour(volume, &parent, true).map_err(failed)?;
    volume.create_dir(&parent, name, Security::SameAs(&like), now).map(drop).map_err(failed)
}

fn remove<D: BlockDevice>(volume: &mut Volume<D>, path: &str, recursive: bool, now: FileTime) -> Result<()> {
    let failed = |source| Error::Path { path: path.to_owned(), source };
    let file = volume.find(path).map_err(failed)?.ok_or_else(|| Error::NoPath { path: path.to_owned() })?;
    // A link into another tree is refused below, before anything in it is looked at.
    if recursive && file.is_directory() && file.reparse_tag().is_none() {
        for entry in volume.list(&file).map_err(failed)? {
            remove(volume, &format!(r"{path}\{}", entry.name), recursive, now)?;
        }
    }
    let (parent, name) = parent_of(volume, path)?;
    volume.delete(&parent, name, now).map(drop).map_err(failed)
}

/// Returns the directory that a path lies in, and its last name.
fn parent_of<'p, D: BlockDevice>(volume: &Volume<D>, path: &'p str) -> Result<(File, &'p str)> {
    let (above, name) = path.rsplit_once('\\').unwrap_or(("", path));
    let above = if above.is_empty() { r"\" } else { above };
    let failed = |source| Error::Path { path: above.to_owned(), source };
    let parent = volume.find(above).map_err(failed)?.ok_or_else(|| Error::NoPath { path: above.to_owned() })?;
    Ok((parent, name))
}

/// Returns a file, or a directory, in `parent` that a new one is to be like, or else `parent`.
fn neighbour<D: BlockDevice>(volume: &Volume<D>, parent: &File, directory: bool) -> ntfs::Result<File> {
    for entry in volume.list(parent)? {
        let file = volume.file(entry.reference)?;
        let ordinary = file.reparse_tag().is_none() && !file.is_system();
        if ordinary && file.is_directory() == directory {
            return Ok(file);
        }
    }
    volume.file(parent.reference())
}
