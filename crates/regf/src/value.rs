//! A value: the `vk` cell, and its data inline, in a cell, or in segments.

use std::borrow::Cow;

use super::layout::{INLINE, KeyValue, SEGMENT_LEN, VALUE_COMPRESSED};
use super::name::Name;
use super::{Error, Hive, Result, prefix, tail};
use coldforge_base::CellOffset;

/// A value of a key.
#[derive(Clone, Copy)]
pub struct Value<'h> {
    hive: &'h Hive,
    at: CellOffset,
    head: &'h KeyValue,
    name: Name<'h>,
}

/// Where a value's data lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Storage {
    /// Up to four bytes, in the value itself.
    Inline([u8; 4], usize),
    /// In one cell.
    Cell(CellOffset, usize),
    /// In segments, named by the big-data record in this cell.
    Segments(CellOffset, usize),
}

impl<'h> Value<'h> {
    /// Reads the value at `at`.
    pub(super) fn at(hive: &'h Hive, at: CellOffset) -> Result<Self> {
        Self::read(hive, at, hive.cell(at)?)
    }

    /// Reads the value in the payload of the cell at `at`.
    pub(super) fn read(hive: &'h Hive, at: CellOffset, payload: &'h [u8]) -> Result<Self> {
        let (head, rest) = prefix::<KeyValue>(at, payload)?;
        if head.signature != *b"vk" {
            return Err(Error::Signature { at, expected: "a value", actual: head.signature });
        }
        let compressed = head.flags.get() & VALUE_COMPRESSED != 0;
        let length = head.name_len.get();
        if !compressed && !length.is_multiple_of(2) {
            return Err(Error::NameLength { at, actual: length });
        }
        let raw = tail(at, rest, size_of::<KeyValue>(), usize::from(length))?;
        Ok(Self { hive, at, head, name: Name::new(raw, compressed) })
    }

    /// Returns the value's cell.
    pub fn cell(&self) -> CellOffset {
        self.at
    }

    /// Returns the name, empty for the key's unnamed value.
    pub fn name(&self) -> Name<'h> {
        self.name
    }

    /// Returns the type's number; any number is legal.
    pub fn kind(&self) -> u32 {
        self.head.kind.get()
    }

    /// Returns the data, borrowed from the hive unless it lies in segments.
    ///
    /// # Errors
    /// What contradicts the format where the data lies.
    pub fn data(&self) -> Result<Cow<'h, [u8]>> {
        match self.storage()? {
            Storage::Inline(field, length) => Ok(Cow::Owned(field.into_iter().take(length).collect())),
            Storage::Cell(at, length) => Ok(Cow::Borrowed(tail(at, self.hive.cell(at)?, 0, length)?)),
            Storage::Segments(at, length) => self.hive.big_data(at, length).map(Cow::Owned),
        }
    }

    /// Returns where the data lies.
    ///
    /// # Errors
    /// [`Error::ValueSize`] if more than four bytes are said to be inline.
    pub(super) fn storage(&self) -> Result<Storage> {
        let size = self.head.data_len.get();
        let (field, length) = (self.head.data.get(), size & !INLINE);
        match size & INLINE != 0 {
            true if length > 4 => Err(Error::ValueSize { at: self.at, actual: length }),
            true => Ok(Storage::Inline(field.to_le_bytes(), length as usize)),
            // Windows never writes it, but reads it as empty.
            false if length == 0 => Ok(Storage::Inline([0; 4], 0)),
            false => Ok(self.hive.storage_at(CellOffset(field), length as usize)),
        }
    }

    /// Returns the head, for the writer and the verifier.
    pub(super) fn head(&self) -> &'h KeyValue {
        self.head
    }
}

impl Hive {
    /// Returns the storage of `length` bytes that do not lie inline, as the minor version wants it.
    pub(super) fn storage_at(&self, at: CellOffset, length: usize) -> Storage {
        if self.cuts(length) { Storage::Segments(at, length) } else { Storage::Cell(at, length) }
    }

    /// Tells whether data of this length lies in segments: above 16,344 bytes where the minor version is above 3.
    pub(super) fn cuts(&self, length: usize) -> bool {
        length > SEGMENT_LEN && self.header.minor > 3
    }
}
