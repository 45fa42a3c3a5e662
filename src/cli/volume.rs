//! Which volume and which file of an image a verb is about.

use clap::Args;
use thiserror::Error;

use super::options::Source;
use super::{Result, boxed};
use coldforge_base::{Failure, ReadAt, Refusal};
use coldforge_disk::partition::{self, Partition, Signature};
use coldforge_disk::{Image, Window};
use coldforge_ntfs::{self as ntfs, File, Volume};

/// The image, and a partition of it.
#[derive(Args, Debug)]
pub(super) struct Place {
    #[command(flatten)]
    pub(super) source: Source,

    /// The volume of this partition, by the number that `coldforge inspect` shows (0: the image is a volume)
    ///
    /// Otherwise it is the volume with a Windows on it, or else the only NTFS volume.
    #[arg(long, value_name = "N")]
    pub(super) partition: Option<u32>,
}

/// A volume of an image.
pub(super) type Opened<'a> = Volume<Window<&'a Image>>;

/// A hint that several of these errors share.
const SEE_PARTITIONS: &str = "run `coldforge inspect` to see the partitions";

/// Why no volume or file can be chosen.
#[derive(Debug, Error, Failure)]
pub(super) enum Error {
    #[error("`{path}` is a directory")]
    #[failure(usage, hint = "name a file in it: `coldforge ls` shows them")]
    Directory { path: String },
    #[error("the volume has no `{path}`")]
    #[failure(not_found, hint = "run `coldforge ls` on the folder to see what it holds")]
    NoFile { path: String },
    #[error("the image has no partition {number}")]
    #[failure(not_found, hint = SEE_PARTITIONS)]
    NoPartition { number: u32 },
    #[error("none of {partitions} partitions holds an NTFS volume")]
    #[failure(not_found, hint = SEE_PARTITIONS)]
    NoVolume { partitions: usize },
    #[error("{}", .0.reason)]
    #[failure(refused, code = _0.code, hint = _0.hint)]
    Refused(Refusal),
    #[error("partitions {partitions:?} hold NTFS volumes, and it is not clear which one is meant")]
    #[failure(usage, hint = "name one of them with --partition")]
    SeveralVolumes { partitions: Vec<u32> },
    #[error("the volume in partition {partition} cannot be used")]
    #[failure(transparent)]
    Volume { partition: u32, source: ntfs::Error },
}

/// Returns the partitions of an image that hold an NTFS volume, or one that hides it; only `wanted` if it is given.
pub(super) fn candidates(image: &Image, wanted: Option<u32>) -> Result<Vec<Partition>> {
    let table = partition::scan(image as &dyn ReadAt).map_err(boxed)?;
    let count = table.partitions.len();
    if let Some(number) = wanted {
        let found = table.partitions.into_iter().find(|partition| partition.number == number);
        return Ok(vec![found.ok_or_else(|| boxed(Error::NoPartition { number }))?]);
    }
    let may_hold = |partition: &Partition| partition.signature == Signature::Ntfs || partition.refusal.is_some();
    let found: Vec<_> = table.partitions.into_iter().filter(may_hold).collect();
    match (found.is_empty(), table.refusals.into_iter().next()) {
        (false, _) => Ok(found),
        (true, Some(refusal)) => Err(boxed(Error::Refused(refusal))),
        (true, None) => Err(boxed(Error::NoVolume { partitions: count })),
    }
}

/// Opens the volume of a partition.
pub(super) fn open<'a>(image: &'a Image, partition: &Partition) -> std::result::Result<Opened<'a>, Error> {
    if let Some(refusal) = partition.refusal.as_ref().filter(|_| partition.signature != Signature::Ntfs) {
        return Err(Error::Refused(refusal.clone()));
    }
    let failed = |source| Error::Volume { partition: partition.number, source };
    let window = Window::open(image, partition.start, partition.length_bytes).map_err(|error| failed(error.into()))?;
    Volume::open(window).map_err(failed)
}

/// Opens the volume that is meant, and returns it with the number of its partition.
pub(super) fn choose(image: &Image, wanted: Option<u32>) -> Result<(u32, Opened<'_>)> {
    let mut opened = Vec::new();
    let mut failure = None;
    for partition in candidates(image, wanted)? {
        match open(image, &partition) {
            Ok(volume) => opened.push((partition.number, volume)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let has_windows = |volume: &Opened<'_>| {
        let hive = |name| matches!(volume.find(&format!(r"\Windows\System32\config\{name}")), Ok(Some(_)));
        hive("SYSTEM") || hive("SOFTWARE")
    };
    if opened.len() > 1 {
        let windows: Vec<usize> = (0..opened.len()).filter(|at| has_windows(&opened[*at].1)).collect();
        if let [only] = windows[..] {
            return Ok(opened.swap_remove(only));
        }
        let partitions = opened.iter().map(|(number, _)| *number).collect();
        return Err(boxed(Error::SeveralVolumes { partitions }));
    }
    match (opened.pop(), failure) {
        (Some(opened), _) => Ok(opened),
        (None, Some(failure)) => Err(boxed(failure)),
        (None, None) => Err(boxed(Error::NoVolume { partitions: 0 })),
    }
}

/// Returns a path as the volume knows it: `C:\Windows` and `/Windows` are `\Windows`.
pub(super) fn path(text: &str) -> String {
    let text = text.replace('/', "\\");
    let bytes = text.as_bytes();
    let has_drive = bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    let names = if has_drive { &text[2..] } else { &text };
    let names: Vec<&str> = names.split('\\').filter(|name| !name.is_empty() && *name != ".").collect();
    format!(r"\{}", names.join(r"\"))
}

/// Finds a file that must be there.
pub(super) fn find(volume: &Opened<'_>, path: &str) -> Result<File> {
    volume.find(path).map_err(boxed)?.ok_or_else(|| boxed(Error::NoFile { path: path.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_as_people_write_them() {
        for text in [r"\Windows\System32", "/Windows/System32/", r"C:\Windows\System32", r"Windows\.\System32"] {
            assert_eq!(path(text), r"\Windows\System32", "{text}");
        }
        for text in ["", r"\", "/", "C:", r"d:\"] {
            assert_eq!(path(text), r"\", "{text}");
        }
    }
}
