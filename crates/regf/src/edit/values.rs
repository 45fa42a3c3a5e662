//! Writing values: their cells, their data in the three forms, and the lists that name them.

use std::mem::offset_of;

use super::Transaction;
use crate::layout::{INLINE, KeyNode, KeyValue, NIL, SEGMENT_LEN, VALUE_COMPRESSED};
use crate::name::NewName;
use crate::value::Storage;
use crate::{Error, Key, Result, Value};
use coldforge_base::{CellOffset, read};

impl Transaction<'_> {
    /// Gives the value of `key` named `text` this type and data, and makes it if it is not there.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Full`], [`Error::ValueFlags`], and what contradicts the format in the key's values.
    pub(super) fn write_value(&mut self, key: CellOffset, text: &str, kind: u32, data: &[u8]) -> Result<CellOffset> {
        let name = NewName::of_value(text)?;
        let node = Key::at(self.hive(), key)?;
        let (largest_name, largest_data) = (node.node().largest_value_name.get(), node.node().largest_value_data.get());
        let at = match node.value(text)? {
            Some(value) => {
                check_editable(&value)?;
                let (at, storage) = (value.cell(), value.storage()?);
                let (size, field) = self.replace_data(storage, data)?;
                self.put_u32(at, offset_of!(KeyValue, data_len), size)?;
                self.put_u32(at, offset_of!(KeyValue, data), field)?;
                self.put_u32(at, offset_of!(KeyValue, kind), kind)?;
                at
            }
            None => {
                let (size, field) = self.store_data(data)?;
                let at = self.store(&key_value(&name, size, field, kind, 0))?;
                self.link_value(key, at)?;
                at
            }
        };
        let length = u32::try_from(data.len()).map_err(|_| Error::DataTooLong { actual: data.len() })?;
        self.put_u32(key, offset_of!(KeyNode, largest_value_name), largest_name.max(u32::from(name.utf16_len())))?;
        self.put_u32(key, offset_of!(KeyNode, largest_value_data), largest_data.max(length))?;
        Ok(at)
    }

    /// Takes the value of `key` that lies at `at` out of the list, and frees it and its data.
    ///
    /// # Errors
    /// [`Error::ValueFlags`], and what contradicts the format in the list or in the data.
    pub(super) fn remove_value(&mut self, key: CellOffset, at: CellOffset) -> Result<()> {
        let node = Key::at(self.hive(), key)?;
        let list = CellOffset(node.node().value_list.get());
        let entries = node.value_list()?;
        let place = entries.chunks_exact(4).position(|entry| read::u32_le(entry, 0) == Ok(at.0));
        let value = Value::at(self.hive(), at)?;
        check_editable(&value)?;
        let storage = value.storage()?;
        let place = place.ok_or(Error::NoCell { at })?.saturating_mul(4);
        let count = u32::try_from(entries.len() / 4).map_err(|_| Error::NoCell { at: list })?.saturating_sub(1);
        let mut moved = entries.get(place.saturating_add(4)..).unwrap_or_default().to_vec();
        moved.extend_from_slice(&[0; 4]);
        self.free_data(storage)?;
        self.free(at)?;
        if count == 0 {
            self.free(list)?;
            self.put_u32(key, offset_of!(KeyNode, value_list), NIL)?;
        } else {
            self.put(list, place, &moved)?;
        }
        self.put_u32(key, offset_of!(KeyNode, value_count), count)
    }

    /// Gives the value of `key` that lies at `at` another name; returns where it lies then.
    ///
    /// No other value may have that name.
    ///
    /// # Errors
    /// [`Error::ValueFlags`], and what contradicts the format in the list.
    pub(super) fn rename(&mut self, key: CellOffset, at: CellOffset, name: &NewName) -> Result<CellOffset> {
        let value = Value::at(self.hive(), at)?;
        check_editable(&value)?;
        let head = value.head();
        let (size, field, kind, spare) = (head.data_len.get(), head.data.get(), head.kind.get(), head.spare.get());
        let node = Key::at(self.hive(), key)?;
        let (list, largest) = (CellOffset(node.node().value_list.get()), node.node().largest_value_name.get());
        let place = node.value_list()?.chunks_exact(4).position(|entry| read::u32_le(entry, 0) == Ok(at.0));
        let place = place.ok_or(Error::NoCell { at })?.saturating_mul(4);
        let payload = key_value(name, size, field, kind, spare);
        let room = self.hive().cell(at)?.len();
        let renamed = if payload.len() <= room {
            self.fill(at, &payload, room)?;
            at
        } else {
            self.free(at)?;
            let moved = self.store(&payload)?;
            self.put_u32(list, place, moved.0)?;
            moved
        };
        self.put_u32(key, offset_of!(KeyNode, largest_value_name), largest.max(u32::from(name.utf16_len())))?;
        Ok(renamed)
    }

    /// Adds a value to the end of a key's list.
    fn link_value(&mut self, key: CellOffset, at: CellOffset) -> Result<()> {
        let node = Key::at(self.hive(), key)?;
        let list = CellOffset(node.node().value_list.get());
        let mut entries = node.value_list()?.to_vec();
        let (used, entry) = (entries.len(), at.0.to_le_bytes());
        let count = u32::try_from(used / 4).ok().and_then(|count| count.checked_add(1));
        let count = count.ok_or(Error::DataTooLong { actual: used })?;
        if used > 0 && used.saturating_add(4) <= self.hive().cell(list)?.len() {
            self.put(list, used, &entry)?;
        } else {
            entries.extend_from_slice(&entry);
            if used > 0 {
                self.free(list)?;
            }
            let list = self.store(&entries)?;
            self.put_u32(key, offset_of!(KeyNode, value_list), list.0)?;
        }
        self.put_u32(key, offset_of!(KeyNode, value_count), count)
    }

    /// Stores `data` where `old` was if it fits, and elsewhere if not; returns the value's size and data fields.
    fn replace_data(&mut self, old: Storage, data: &[u8]) -> Result<(u32, u32)> {
        let inline = data.len() <= 4;
        match old {
            Storage::Cell(at, _) if !inline && !self.hive().cuts(data.len()) => {
                let room = self.hive().cell(at)?.len();
                if data.len() <= room {
                    self.fill(at, data, room)?;
                    return Ok((size_field(data)?, at.0));
                }
            }
            Storage::Segments(at, length)
                if self.hive().cuts(data.len()) && length.div_ceil(SEGMENT_LEN) == data.len().div_ceil(SEGMENT_LEN) =>
            {
                for (segment, part) in self.hive().segments(at, length)?.1.into_iter().zip(data.chunks(SEGMENT_LEN)) {
                    self.fill(segment, part, SEGMENT_LEN)?;
                }
                return Ok((size_field(data)?, at.0));
            }
            _ => {}
        }
        self.free_data(old)?;
        self.store_data(data)
    }

    /// Writes `data` and then zeros, `room` bytes in all, so that nothing of an older value stays behind it.
    fn fill(&mut self, at: CellOffset, data: &[u8], room: usize) -> Result<()> {
        let mut whole = data.to_vec();
        whole.resize(room.max(data.len()), 0);
        self.put(at, 0, &whole)
    }

    /// Stores data in the form that its length and the hive's version want; returns the value's size and data fields.
    fn store_data(&mut self, data: &[u8]) -> Result<(u32, u32)> {
        let size = size_field(data)?;
        if data.len() <= 4 {
            let mut field = [0; 4];
            read::put(&mut field, 0, data).expect("at most four bytes");
            return Ok((size, u32::from_le_bytes(field)));
        }
        if !self.hive().cuts(data.len()) {
            return Ok((size, self.store(data)?.0));
        }
        let count = u16::try_from(data.len().div_ceil(SEGMENT_LEN));
        let count = count.map_err(|_| Error::DataTooLong { actual: data.len() })?;
        let mut list = Vec::new();
        for part in data.chunks(SEGMENT_LEN) {
            // The last segment's cell is as large as the others.
            let mut segment = part.to_vec();
            segment.resize(SEGMENT_LEN, 0);
            list.extend_from_slice(&self.store(&segment)?.0.to_le_bytes());
        }
        let list = self.store(&list)?;
        let record = [&b"db"[..], &count.to_le_bytes(), &list.0.to_le_bytes()].concat();
        Ok((size, self.store(&record)?.0))
    }

    /// Frees the cells in which data lies.
    pub(super) fn free_data(&mut self, storage: Storage) -> Result<()> {
        match storage {
            Storage::Inline(..) => Ok(()),
            Storage::Cell(at, _) => self.free(at),
            Storage::Segments(at, length) => {
                let (list, segments) = self.hive().segments(at, length)?;
                segments.into_iter().chain([list, at]).try_for_each(|cell| self.free(cell))
            }
        }
    }
}

/// Checks that this version knows all the value's flags.
pub(super) fn check_editable(value: &Value<'_>) -> Result<()> {
    let flags = value.head().flags.get();
    if flags & !VALUE_COMPRESSED != 0 {
        return Err(Error::ValueFlags { at: value.cell(), flags });
    }
    Ok(())
}

/// Returns the size field for data: up to four bytes are inline.
fn size_field(data: &[u8]) -> Result<u32> {
    let size = u32::try_from(data.len()).ok().filter(|size| size & INLINE == 0);
    let size = size.ok_or(Error::DataTooLong { actual: data.len() })?;
    Ok(if size <= 4 { size | INLINE } else { size })
}

/// Returns the payload of a value's cell.
fn key_value(name: &NewName, size: u32, field: u32, kind: u32, spare: u16) -> Vec<u8> {
    let compressed = name.stored().is_compressed() && !name.raw().is_empty();
    let flags = if compressed { VALUE_COMPRESSED } else { 0 };
    let words = [size, field, kind].map(u32::to_le_bytes).concat();
    [&b"vk"[..], &name.raw_len().to_le_bytes(), &words, &flags.to_le_bytes(), &spare.to_le_bytes(), name.raw()].concat()
}
