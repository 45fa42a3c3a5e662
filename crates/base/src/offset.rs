//! The address spaces, each with a type of its own, so that an offset of one can never be used in another.
//!
//! A cell lies in a hive, the hive is a file, the file lies in runs of clusters, the volume in a partition of the
//! image: cell -> file -> cluster -> volume -> image. Errors and audit records speak in these types.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// Returns the address `by` units further on, or `None` if it cannot be expressed.
            pub fn checked_add(self, by: $inner) -> Option<Self> {
                self.0.checked_add(by).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )*};
}

offsets! {
    /// A byte of the virtual disk: what the guest sees, not the container file.
    ImageOffset(u64);
    /// A byte of a volume, counted from its boot sector.
    VolumeOffset(u64);
    /// A byte of a file's unnamed data stream.
    FileOffset(u64);
    /// A cell of a hive, in bytes from the first bin (file offset 0x1000).
    CellOffset(u32);
    /// A logical cluster number: a cluster of the volume.
    Lcn(u64);
    /// A virtual cluster number: a cluster of a stream.
    Vcn(u64);
}

/// A range of bytes, in the address space that its holder names.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes, at least 1.
    pub length: u64,
}

impl Extent {
    /// Returns the extent of `length` bytes at `offset`.
    pub fn new(offset: u64, length: u64) -> Self {
        Self { offset, length }
    }

    /// Returns the first byte behind the extent, saturating at the largest offset.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Sorts extents and joins those that touch or overlap; drops empty ones.
pub fn normalize(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.retain(|e| e.length > 0);
    extents.sort_unstable();
    let mut joined: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match joined.last_mut() {
            Some(last) if extent.offset <= last.end() => {
                last.length = last.end().max(extent.end()) - last.offset;
            }
            _ => joined.push(extent),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_and_nested_extents_are_joined() {
        let joined = normalize(vec![
            Extent::new(8, 4),
            Extent::new(0, 4),
            Extent::new(4, 2),
            Extent::new(9, 1),
            Extent::new(20, 0),
        ]);
        assert_eq!(joined, [Extent::new(0, 6), Extent::new(8, 4)]);
    }
}
