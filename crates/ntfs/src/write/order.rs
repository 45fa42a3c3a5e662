//! The order in which the parts of a change are written, and the extents that each step touched.
//!
//! After an interruption, some clusters or records may be marked as used although they are not; none are used without
//! being marked. Old content stays until the new content can be found.

use std::collections::BTreeMap;

use coldforge_base::{Extent, offset};

/// A step of a change; steps reach the disk in this order, each flushed before the next begins.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum WriteStep {
    /// New content, in clusters and index blocks that nothing leads to yet.
    Data,
    /// Bits of `$Bitmap` that become set.
    Bitmap,
    /// Bits of `$MFT:$BITMAP` that become set.
    MftBitmap,
    /// `$Secure`: the record and the blocks of its indexes.
    Security,
    /// File records that become used, and the free ones of a grown `$MFT`.
    NewRecords,
    /// The record of `$MFT`, and its copy.
    MftHead,
    /// Records of files whose content or descriptor changes: the commit point of a stream.
    BaseRecords,
    /// The records of directories and index blocks: the commit point of a name.
    Index,
    /// Records that become free, then the bits of what became free.
    Freed,
}

/// The finer order inside [`WriteStep`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Rank {
    Data,
    Bitmap,
    MftBitmap,
    Security,
    SecurityBlocks,
    NewRecords,
    MftHead,
    BaseRecords,
    /// What loses nothing, but perhaps doubles a name: the upper nodes of an index that gets one, leaves of one that
    /// loses one.
    IndexFirst,
    IndexThen,
    FreedRecords,
    FreedBits,
}

impl Rank {
    pub fn step(self) -> WriteStep {
        match self {
            Self::Data => WriteStep::Data,
            Self::Bitmap => WriteStep::Bitmap,
            Self::MftBitmap => WriteStep::MftBitmap,
            Self::Security | Self::SecurityBlocks => WriteStep::Security,
            Self::NewRecords => WriteStep::NewRecords,
            Self::MftHead => WriteStep::MftHead,
            Self::BaseRecords => WriteStep::BaseRecords,
            Self::IndexFirst | Self::IndexThen => WriteStep::Index,
            Self::FreedRecords | Self::FreedBits => WriteStep::Freed,
        }
    }
}

/// What a change wrote: the extents of the volume, step by step.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    steps: Vec<(WriteStep, Vec<Extent>)>,
}

impl Changes {
    /// Returns the steps that wrote something, in their order, each with its extents in ascending order.
    pub fn steps(&self) -> &[(WriteStep, Vec<Extent>)] {
        &self.steps
    }

    /// Returns all extents of all steps, in ascending order and apart.
    pub fn extents(&self) -> Vec<Extent> {
        offset::normalize(self.steps.iter().flat_map(|(_, extents)| extents.iter().copied()).collect())
    }

    /// Adds what another change wrote, step by step, so that both can reach a disk together in this order.
    pub fn join(&mut self, other: Self) {
        let mut steps: BTreeMap<WriteStep, Vec<Extent>> = BTreeMap::new();
        for (step, extents) in std::mem::take(&mut self.steps).into_iter().chain(other.steps) {
            steps.entry(step).or_default().extend(extents);
        }
        self.steps = steps.into_iter().collect();
        self.normalize();
    }

    /// Returns a change that wrote content where a file had its clusters already.
    pub fn of_content(extents: Vec<Extent>) -> Self {
        Self { steps: vec![(WriteStep::Data, extents)] }
    }

    /// Adds an extent to a step, which is the last one or a later one.
    pub(super) fn push(&mut self, step: WriteStep, extent: Extent) {
        match self.steps.last_mut() {
            Some((last, extents)) if *last == step => extents.push(extent),
            _ => self.steps.push((step, vec![extent])),
        }
    }

    /// Sorts the extents of each step and joins those that touch.
    pub(super) fn normalize(&mut self) {
        for (_, extents) in &mut self.steps {
            *extents = offset::normalize(std::mem::take(extents));
        }
    }
}
