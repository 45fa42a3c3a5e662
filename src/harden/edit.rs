//! What an edit left in the overlay: the changed settings and files, for the log and for readers that this project did
//! not write.

#[cfg(feature = "second-opinion")]
use super::Error;
use super::Result;
use crate::audit::{ChangeRecord, FileRecord, SecondOpinion};
use crate::edit::Edited;
use crate::policy::{self, Applied, Plan};
#[cfg(feature = "second-opinion")]
use crate::windows;
use crate::windows::{FileChange, Machine};
use coldforge_base::Extent;
use coldforge_disk::{Image, Overlay};

/// What the edit left in the overlay.
pub(super) struct Edit {
    pub(super) applied: Vec<Applied>,
    extents: Vec<Vec<Extent>>,
    pub(super) files: Vec<FileChange>,
    pub(super) place: Edited,
}

impl Edit {
    /// Makes a machine meet what was found open, and writes it to the machine's device.
    pub(super) fn apply(plan: &Plan, machine: &mut Machine<Overlay<&Image>>) -> Result<Self> {
        let applied = policy::apply(plan, machine)?;
        let files = machine.commit()?;
        let extents = applied.iter().map(|Applied { change, .. }| match change.touched.is_empty() {
            false => machine.extents(change),
            // What is written as a whole is told by its file.
            true => {
                let written = files.iter().filter(|file| file.file == change.file);
                Ok(written.flat_map(|file| file.extents.clone()).collect())
            }
        });
        let extents = extents.collect::<std::result::Result<_, _>>()?;
        let place = Edited { partition: machine.partition(), volume: machine.volume_extent() };
        Ok(Self { applied, extents, files, place })
    }

    /// Asks readers that this project did not write for every changed value.
    ///
    /// # Errors
    /// [`Error::SecondOpinion`] if one reads another value than was written.
    #[cfg(feature = "second-opinion")]
    pub(super) fn second_opinion(&self, image: &Image) -> Result<SecondOpinion> {
        use windows::second_opinion;
        let changes = self.applied.iter().map(|Applied { change, .. }| change);
        let wanted: Vec<_> =
            changes.map(|change| (change.file.as_str(), &change.setting, change.after.as_ref())).collect();
        let opinion = second_opinion::ask(image, self.place.volume, &wanted);
        match opinion.disagreed.first() {
            Some(first) => Err(Error::SecondOpinion { count: opinion.disagreed.len(), first: first.clone() }),
            None => Ok(SecondOpinion {
                readers: second_opinion::READERS.map(str::to_owned).to_vec(),
                agreed: opinion.agreed,
                cannot_read: opinion.cannot_read,
            }),
        }
    }

    /// Answers that nobody was asked: this build has no second readers.
    ///
    /// # Errors
    /// None.
    #[cfg(not(feature = "second-opinion"))]
    pub(super) fn second_opinion(&self, _: &Image) -> Result<SecondOpinion> {
        Ok(SecondOpinion::default())
    }

    /// Returns the `change` lines of the log.
    pub(super) fn change_records(&self) -> impl Iterator<Item = ChangeRecord> {
        self.applied.iter().zip(&self.extents).map(|(Applied { rules, change }, extents)| ChangeRecord {
            rules: rules.clone(),
            setting: change.setting.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
            file: change.file.clone(),
            cell: change.cell,
            extents: extents.clone(),
        })
    }

    /// Returns the `file` lines of the log.
    pub(super) fn file_records(&self) -> impl Iterator<Item = FileRecord> {
        self.files.iter().map(|file| FileRecord {
            file: file.file.clone(),
            bytes_before: file.bytes_before,
            bytes: file.bytes,
            sha256_before: file.before,
            sha256_after: file.after,
            extents: file.extents.clone(),
        })
    }
}
