//! What has to be written where in a copy of a container file, so that the copy holds a changed disk.

use coldforge_base::Extent;

/// The writes that turn a byte-for-byte copy of a container into one that holds the changed disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Plan {
    /// Length of the new file in bytes, never less than the copy's.
    pub file_bytes: u64,
    /// The writes; no two share a byte of the file.
    pub writes: Vec<PlannedWrite>,
    /// How many blocks were added.
    pub added_blocks: u64,
}

/// One write into the copy of the container file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum PlannedWrite {
    /// Bytes of the container's own structures.
    Structure {
        /// First byte of the file.
        at: u64,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// Bytes of the disk.
    Data {
        /// First byte of the file.
        at: u64,
        /// The range of the disk.
        extent: Extent,
    },
}

impl Plan {
    /// Returns the plan of a container whose disk's bytes lie at the same offsets in the file.
    pub fn in_order(file_bytes: u64, changed: &[Extent]) -> Self {
        let writes = changed.iter().map(|extent| PlannedWrite::Data { at: extent.offset, extent: *extent }).collect();
        Self { file_bytes, writes, added_blocks: 0 }
    }
}
