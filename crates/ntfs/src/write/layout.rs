//! Attribute types, flags and places that only a writer needs; the structures themselves are the reader's.

/// Type codes of attributes.
pub(super) mod kind {
    pub(crate) const SECURITY_DESCRIPTOR: u32 = 0x50;
    pub(crate) const EA_INFORMATION: u32 = 0xd0;
    pub(crate) const EA: u32 = 0xe0;
}

/// The number of the record of `$Secure`.
pub(super) const SECURE: u64 = 9;

/// The number of the record of `$BadClus`.
pub(super) const BAD_CLUSTERS: u64 = 8;

/// Places in a file record (FILE_RECORD_SEGMENT_HEADER).
pub(super) mod record_at {
    pub(crate) const USA_OFFSET: usize = 0x04;
    pub(crate) const USA_COUNT: usize = 0x06;
    pub(crate) const SEQUENCE: usize = 0x10;
    pub(crate) const LINK_COUNT: usize = 0x12;
    pub(crate) const ATTRIBUTES: usize = 0x14;
    pub(crate) const FLAGS: usize = 0x16;
    pub(crate) const USED: usize = 0x18;
    pub(crate) const ALLOCATED: usize = 0x1c;
    pub(crate) const NEXT_ID: usize = 0x28;
    pub(crate) const NUMBER: usize = 0x2c;
}

/// Places in an attribute (ATTRIBUTE_RECORD_HEADER).
pub(super) mod attribute_at {
    pub(crate) const LENGTH: usize = 0x04;
    pub(crate) const FLAGS: usize = 0x0c;
    pub(crate) const ID: usize = 0x0e;
    pub(crate) const VALUE_LENGTH: usize = 0x10;
    pub(crate) const VALUE_OFFSET: usize = 0x14;
    pub(crate) const RESIDENT_FLAGS: usize = 0x16;
    pub(crate) const LOWEST_VCN: usize = 0x10;
    pub(crate) const HIGHEST_VCN: usize = 0x18;
    pub(crate) const MAPPING_OFFSET: usize = 0x20;
    pub(crate) const ALLOCATED: usize = 0x28;
    pub(crate) const SIZE: usize = 0x30;
    pub(crate) const INITIALIZED: usize = 0x38;
}

/// Places in STANDARD_INFORMATION.
pub(super) mod information_at {
    pub(crate) const CREATED: usize = 0x00;
    pub(crate) const MODIFIED: usize = 0x08;
    pub(crate) const CHANGED: usize = 0x10;
    pub(crate) const ACCESSED: usize = 0x18;
    pub(crate) const FILE_ATTRIBUTES: usize = 0x20;
    /// Maximum number of versions and version number: a directory that tells names apart by case has them set.
    pub(crate) const VERSIONS: usize = 0x24;
    pub(crate) const SECURITY_ID: usize = 0x34;
}

/// The size of STANDARD_INFORMATION of version 3: the older form of 48 bytes has no security id.
pub(super) const INFORMATION_BYTES: usize = 72;

/// Places in FILE_NAME.
pub(super) mod name_at {
    pub(crate) const PARENT: usize = 0x00;
    pub(crate) const TIMES: usize = 0x08;
    pub(crate) const ALLOCATED: usize = 0x28;
    pub(crate) const SIZE: usize = 0x30;
    pub(crate) const FILE_ATTRIBUTES: usize = 0x38;
    pub(crate) const UNITS: usize = 0x40;
    pub(crate) const NAMESPACE: usize = 0x41;
    pub(crate) const NAME: usize = 0x42;
}

/// Places in an index entry.
pub(super) mod entry_at {
    pub(crate) const LENGTH: usize = 0x08;
    pub(crate) const KEY_LENGTH: usize = 0x0a;
    pub(crate) const FLAGS: usize = 0x0c;
    pub(crate) const KEY: usize = 0x10;
}
