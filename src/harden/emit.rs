//! Emits the changed disk: as a new image, or into the source itself.

use std::path::Path;
use std::time::Duration;

use super::checks::look_again;
use super::digests::{Sums, record, sums, unsent};
use super::edit::Edit;
use super::job::Harden;
use super::request::Resolved;
use super::{Emission, Result};
use crate::audit::{ImageRecord, SecondOpinion};
use crate::edit::{self, Rollback};
use crate::policy::Assessment;
use coldforge_base::Extent;
use coldforge_base::digest::Digest;
use coldforge_base::interrupt::CriticalSection;
use coldforge_base::progress::{Progress, Silent};
use coldforge_disk::{self as disk, Blocks, Format, Image, Overlay, Target, UndoJournal};

/// A changed disk with everything that its image must hold.
pub(super) struct Changed<'a, 'i> {
    /// The disk.
    pub overlay: &'a Overlay<&'i Image>,
    /// What was changed.
    pub edit: &'a Edit,
    /// The request, by which the image is assessed anew.
    pub request: &'a Resolved,
    /// What that assessment must be.
    pub after: &'a Assessment,
}

/// An image that was emitted.
pub(super) struct Emitted {
    /// The source as it was.
    pub source: ImageRecord,
    /// The image as it is.
    pub output: ImageRecord,
    /// The digests of the image's EBS blocks that hold data.
    pub blocks: Vec<(u64, Digest)>,
    /// The ranges that EBS need not be sent where they are zero.
    pub unsent: Vec<Extent>,
    /// What readers that this project did not write found in the image.
    pub second_opinion: SecondOpinion,
    /// The undo journal beside an image that was written in place.
    pub journal: Option<std::path::PathBuf>,
    /// Takes a run in place back, unless it is settled.
    pub take_back: Option<Rollback>,
    /// How long the writing took.
    pub writing: Duration,
}

impl Changed<'_, '_> {
    /// Looks at the image as it was written; `same` tells whether its disk is the changed one.
    fn look_again(&self, job: &Harden, image: &Image, same: impl FnOnce() -> Result<bool>) -> Result<SecondOpinion> {
        let assess = |machine: &dyn crate::windows::setting::Readings| self.request.assess(machine);
        look_again(image, job.request.opening(job.now), same, self.edit, self.after, &assess)
    }

    /// Writes a new image to `place`.
    ///
    /// Source and image are digested from end to end, which a core each can do at once; the source's digest tells how
    /// far.
    ///
    /// # Errors
    /// Those of the export; [`super::Error::WrittenOtherwise`] or [`super::Error::SecondOpinion`] if the image is not what
    /// it should be.
    pub(super) fn write_new(
        &self,
        job: &Harden,
        (place, target): (&Path, Target),
        (source_name, name): (&str, &str),
        progress: &dyn Progress,
    ) -> Result<Emitted> {
        let image = self.overlay.base();
        let (source, written) = rayon::join(
            || sums(image, progress).map(|sums| record(image, source_name, &sums)),
            || -> Result<_> {
                let begun = (job.elapsed)();
                let format = disk::export_as(self.overlay, place, target, &Silent)?.format;
                let writing = (job.elapsed)().saturating_sub(begun);
                let parent = (target == Target::Delta).then_some(&*job.source);
                let output = Image::open_as(place, Some(format), parent)?;
                // The copy is the file system's work, and nobody else's: it is not taken on trust.
                let same = || Ok(disk::differences(self.overlay, &output, &Silent)?.is_empty());
                let (digests, (second_opinion, unsent)) = rayon::join(
                    || sums(&output, &Silent),
                    || rayon::join(|| self.look_again(job, &output, same), || unsent(&output)),
                );
                Ok((digests?, second_opinion?, unsent, writing, output))
            },
        );
        let (digests, second_opinion, unsent, writing, output) = written?;
        Ok(Emitted {
            source: source?,
            output: record(&output, name, &digests),
            blocks: digests.blocks,
            unsent,
            second_opinion,
            journal: None,
            take_back: None,
            writing,
        })
    }

    /// Writes into the source itself, beside an undo journal. The image stays locked until the evidence about it is whole.
    ///
    /// # Errors
    /// Those of writing in place; [`super::Error::WrittenOtherwise`] or [`super::Error::SecondOpinion`] if the image is not
    /// what it should be. What was written is taken back then.
    pub(super) fn write_in_place(
        &self,
        job: &Harden,
        (source_name, name): (&str, &str),
        format: Format,
        progress: &dyn Progress,
    ) -> Result<Emitted> {
        progress.start("digesting", 0);
        let image = self.overlay.base();
        let mut blocks = Blocks::of(image)?;
        let source = record(image, source_name, &(&blocks).into());
        let marks = self.edit.place.marks(image)?;
        let order = edit::order(self.edit.files.iter().flat_map(|file| &file.order));
        let begun = (job.elapsed)();
        let critical = CriticalSection::begin();
        let done = disk::write_in_place(self.overlay, &order, &marks, UndoJournal::KeepUnsettled, progress)?;
        let writing = (job.elapsed)().saturating_sub(begun);
        let mut take_back = None;
        let output = match done.held {
            Some(held) => {
                let output = held.image(format);
                take_back = Some(Rollback::new(held, critical));
                output?
            }
            None => Image::open_as(&job.source, Some(format), None)?,
        };
        blocks.refresh(&output, &done.changed)?;
        // What was written was read back and compared while it was written.
        let second_opinion = self.look_again(job, &output, || Ok(true))?;
        let digests = Sums::from(&blocks);
        Ok(Emitted {
            source,
            output: record(&output, name, &digests),
            blocks: digests.blocks,
            unsent: unsent(&output),
            second_opinion,
            journal: done.journal,
            take_back,
            writing,
        })
    }

    /// Emits the disk as the job asks: a new image lies at `place`.
    ///
    /// # Errors
    /// Those of [`Self::write_new`] and [`Self::write_in_place`].
    pub(super) fn emit(
        &self,
        job: &Harden,
        place: &Path,
        names: (&str, &str),
        format: Format,
        progress: &dyn Progress,
    ) -> Result<Emitted> {
        match job.emission {
            Emission::New(target) => self.write_new(job, (place, target), names, progress),
            Emission::InPlace => self.write_in_place(job, names, format, progress),
        }
    }
}
