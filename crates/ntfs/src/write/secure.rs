//! Setting security descriptors: adding a descriptor to `$Secure` and giving its id to a file.
//!
//! `$SDS` holds each descriptor after a header of 20 bytes, aligned to 16, in blocks of 256 KiB; a copy follows each
//! block. `$SII` finds an entry by id, `$SDH` by hash and id. Ids begin at 0x100 and only go up. A file whose
//! $STANDARD_INFORMATION has 48 bytes has its descriptor in its own record.

use zerocopy::IntoBytes;

use super::attribute::resident;
use super::edit::Edit;
use super::index::Index;
use super::node::Item;
use super::order::{Changes, Rank};
use crate::error::{Error, Place, Result};
use crate::file::File;
use crate::layout::{
    DESCRIPTOR_HEADER_BYTES, DescriptorHeader, INFORMATION_BYTES, SDS_BLOCK_BYTES, entry_at, information_at, kind,
    name, system,
};
use crate::record::Reference;
use crate::security::hash_of;
use crate::volume::Volume;
use coldforge_base::time::FileTime;
use coldforge_base::{ReadAt, WriteAt, read};

/// Which security descriptor a new file gets.
#[derive(Clone, Copy, Debug)]
pub enum Security<'a> {
    /// That of another file or directory.
    SameAs(&'a File),
    /// A self-relative descriptor (SECURITY_DESCRIPTOR_RELATIVE).
    Descriptor(&'a [u8]),
}

/// The largest descriptor: its access control lists have lengths of 16 bits.
const MOST_DESCRIPTOR_BYTES: u64 = 0x2_0000;

/// The first id of a descriptor.
const FIRST_ID: u32 = 0x100;

impl<D: WriteAt> Volume<D> {
    /// Gives a file or directory a security descriptor, and returns what was written: nothing if it has it already.
    ///
    /// `descriptor` is self-relative. If `$Secure` holds the same bytes, their id is used, else a new one
    /// is made. The time of change becomes `now`.
    ///
    /// # Errors
    /// [`Error::Descriptor`]; [`Error::SystemFile`]; [`Error::VolumeFull`], [`Error::RecordFull`],
    /// [`Error::IndexFull`]; others if the volume is damaged: in all these cases nothing was written. An error of the
    /// device can leave a part written.
    pub fn set_security(&mut self, file: &File, descriptor: &[u8], now: FileTime) -> Result<Changes> {
        check(descriptor)?;
        let file = self.file(file.reference())?;
        let reference = file.reference();
        let record = reference.record();
        if file.is_internal || record < system::FIRST_USER && record != system::ROOT {
            return Err(Error::SystemFile { record });
        }
        let ((), changes) = self.edit(now, |edit| edit.set_security(reference, descriptor))?;
        Ok(changes)
    }
}

impl<D: ReadAt> Edit<'_, '_, D> {
    /// Returns the id of a descriptor, a new one if need be.
    ///
    /// # Errors
    /// [`Error::Descriptor`]; [`Error::MissingAttribute`] if the file whose descriptor is to be used has none; errors
    /// in `$Secure`.
    pub fn security_id(&mut self, security: Security<'_>) -> Result<u32> {
        let file = match security {
            Security::Descriptor(descriptor) => return self.id_of(descriptor),
            Security::SameAs(file) => file.reference(),
        };
        if let Some(id) = self.own_id(file)? {
            return Ok(id);
        }
        let segments = self.view.referenced(file)?;
        let stream = self.view.required_stream(&segments, kind::SECURITY_DESCRIPTOR, &[])?;
        let descriptor = stream.read_all(&self.view.device, &self.view.geometry, MOST_DESCRIPTOR_BYTES)?;
        self.id_of(&descriptor)
    }

    fn set_security(&mut self, file: Reference, descriptor: &[u8]) -> Result<()> {
        let id = self.id_of(descriptor)?;
        let segments = self.view.referenced(file)?;
        let own = self.view.stream(&segments, kind::SECURITY_DESCRIPTOR, &[])?;
        if own.is_none() && self.own_id(file)? == Some(id) {
            return Ok(());
        }
        let rank = Rank::BaseRecords;
        self.delete_attribute(file, rank, kind::SECURITY_DESCRIPTOR, &[])?;
        let mut editor = self.editor(file.record())?;
        let base = editor.view()?;
        let attribute = base.required(kind::STANDARD_INFORMATION)?;
        let mut value = attribute.value()?.to_vec();
        if value.len() < INFORMATION_BYTES {
            value.resize(INFORMATION_BYTES, 0);
        }
        let place = Place::Record { record: file.record(), byte: attribute.offset };
        read::put_u32_le(&mut value, information_at::SECURITY_ID, id).map_err(place.cut())?;
        read::put_u64_le(&mut value, information_at::CHANGED, self.now.0).map_err(place.cut())?;
        editor.exchange(attribute.offset, resident(kind::STANDARD_INFORMATION, &[], &value, false))?;
        self.put_record(rank, editor)?;
        self.renew_names(file, false)
    }

    /// Returns the id in a file's $STANDARD_INFORMATION.
    fn own_id(&self, file: Reference) -> Result<Option<u32>> {
        let base = self.view.record(file.record())?;
        let attribute = base.required(kind::STANDARD_INFORMATION)?;
        let value = attribute.value()?;
        if value.len() < INFORMATION_BYTES {
            return Ok(None);
        }
        Ok(read::u32_le(value, information_at::SECURITY_ID).ok().filter(|id| *id != 0))
    }

    fn id_of(&mut self, descriptor: &[u8]) -> Result<u32> {
        check(descriptor)?;
        let secure = self.view.record(system::SECURE)?.reference();
        let hash = hash_of(descriptor);
        for row in self.rows(secure, name::SDH)?.iter().filter(|row| row.hash.get() == hash) {
            if self.holds(secure, row, descriptor)? {
                return Ok(row.id.get());
            }
        }
        self.add(secure, hash, descriptor)
    }

    /// Returns whether `$SDS` has these bytes where an index says.
    fn holds(&self, secure: Reference, row: &DescriptorHeader, descriptor: &[u8]) -> Result<bool> {
        let length = DESCRIPTOR_HEADER_BYTES.saturating_add(descriptor.len());
        if row.length.get() as usize != length {
            return Ok(false);
        }
        let segments = self.view.referenced(secure)?;
        let stream = self.view.required_stream(&segments, kind::DATA, name::SDS)?;
        let mut bytes = vec![0; length];
        stream.read(&self.view.device, &self.view.geometry, row.offset.get(), &mut bytes)?;
        Ok(bytes.get(..DESCRIPTOR_HEADER_BYTES) == Some(row.as_bytes())
            && bytes.get(DESCRIPTOR_HEADER_BYTES..) == Some(descriptor))
    }

    /// Adds a descriptor to `$Secure`.
    fn add(&mut self, secure: Reference, hash: u32, descriptor: &[u8]) -> Result<u32> {
        let rows = self.rows(secure, name::SII)?;
        let highest = rows.iter().map(|row| row.id.get()).max().unwrap_or_default();
        let place = Place::Record { record: system::SECURE, byte: 0 };
        let id = highest.max(FIRST_ID.saturating_sub(1)).checked_add(1);
        let id = id.ok_or(Error::Field { place, field: "the highest security id", actual: highest.into() })?;
        let length = DESCRIPTOR_HEADER_BYTES.saturating_add(descriptor.len());
        let end =
            rows.iter().map(|row| row.offset.get().saturating_add(row.length.get().into())).max().unwrap_or_default();
        let offset = next_place(end, length as u64);
        let stored_length = u32::try_from(length).unwrap_or(u32::MAX);
        let row =
            DescriptorHeader { hash: hash.into(), id: id.into(), offset: offset.into(), length: stored_length.into() };

        let segments = self.view.referenced(secure)?;
        let stream = self.view.required_stream(&segments, kind::DATA, name::SDS)?;
        // An entry that the indexes do not name cannot be distinguished from free space.
        let copy = offset.saturating_add(SDS_BLOCK_BYTES);
        let size = copy.saturating_add(length as u64);
        if end > stream.size || size > stream.size.saturating_add(SDS_BLOCK_BYTES.saturating_mul(2)) {
            return Err(Error::Field { place, field: "the end of the last descriptor", actual: end });
        }
        if size > stream.size {
            self.grow(secure, Rank::Security, (kind::DATA, name::SDS), size)?;
        }
        let segments = self.view.referenced(secure)?;
        let stream = self.view.required_stream(&segments, kind::DATA, name::SDS)?;
        let bytes = [row.as_bytes(), descriptor].concat();
        for at in [offset, copy] {
            self.put_stream(Rank::Data, &stream, at, &bytes)?;
        }
        for (name, item) in [(name::SII, row.sii_entry()), (name::SDH, row.sdh_entry())] {
            let mut index = Index::open(self, secure, name)?;
            index.insert(self, item)?;
            index.put(self)?;
        }
        Ok(id)
    }

    /// Returns what an index of `$Secure` says of each descriptor.
    fn rows(&self, secure: Reference, name: &'static [u8]) -> Result<Vec<DescriptorHeader>> {
        let mut index = Index::open(self, secure, name)?;
        let place = Place::Record { record: system::SECURE, byte: 0 };
        let field = Error::Field { place, field: "an entry of an index of $Secure", actual: 0 };
        let rows: Option<Vec<DescriptorHeader>> =
            index.items(self)?.iter().map(|item| DescriptorHeader::of_entry(&item.bytes)).collect();
        rows.ok_or(field)
    }
}

impl DescriptorHeader {
    /// Returns the entry of `$SII`.
    fn sii_entry(&self) -> Item {
        self.entry(&self.sii_key(), &[])
    }

    /// Returns the entry of `$SDH`, which ends in two letters that Windows puts there.
    fn sdh_entry(&self) -> Item {
        self.entry(&self.sdh_key(), b"I\0I\0")
    }

    fn entry(&self, key: &[u8], padding: &[u8]) -> Item {
        let data = entry_at::KEY.saturating_add(key.len());
        let length = data.saturating_add(DESCRIPTOR_HEADER_BYTES).saturating_add(padding.len());
        let small = |number: usize| u16::try_from(number).expect("an entry has at most 48 bytes").to_le_bytes();
        let (data, size) = (small(data), small(DESCRIPTOR_HEADER_BYTES));
        let (length, key_length) = (small(length), small(key.len()));
        let parts: [&[u8]; 9] = [&data, &size, &[0; 4], &length, &key_length, &[0; 4], key, self.as_bytes(), padding];
        Item { bytes: parts.concat(), child: None }
    }
}

/// Returns where a descriptor goes that follows `end`: aligned, and not into a block of copies.
fn next_place(end: u64, length: u64) -> u64 {
    let next = end.next_multiple_of(16);
    let pair = SDS_BLOCK_BYTES.saturating_mul(2);
    let into = next.checked_rem(pair).unwrap_or(0);
    if into.saturating_add(length) <= SDS_BLOCK_BYTES {
        return next;
    }
    next.saturating_sub(into).saturating_add(pair)
}

/// Checks that a descriptor is self-relative, and that its parts are in it.
fn check(descriptor: &[u8]) -> Result<()> {
    const SELF_RELATIVE: u16 = 0x8000;
    const HEADER: usize = 20;
    let fault = |field| Err(Error::Descriptor { length: descriptor.len(), field });
    let word = |at: usize| read::u32_le(descriptor, at).ok().and_then(|word| usize::try_from(word).ok());
    if descriptor.len() < HEADER || !descriptor.len().is_multiple_of(4) || descriptor.len() as u64 > SDS_BLOCK_BYTES / 4
    {
        return fault("length");
    }
    if descriptor.first() != Some(&1) {
        return fault("revision");
    }
    if read::u16_le(descriptor, 2).is_ok_and(|control| control & SELF_RELATIVE == 0) {
        return fault("control word");
    }
    for (at, name) in [(4, "owner"), (8, "group")] {
        let offset = word(at).unwrap_or(0);
        if offset == 0 {
            continue;
        }
        let count = read::u8(descriptor, offset.saturating_add(1)).map_or(usize::MAX, usize::from);
        let length = count.saturating_mul(4).saturating_add(8);
        if offset < HEADER || count > 15 || read::slice(descriptor, offset, length).is_err() {
            return fault(name);
        }
    }
    for (at, name) in [(12, "system access control list"), (16, "access control list")] {
        let offset = word(at).unwrap_or(0);
        if offset == 0 {
            continue;
        }
        let length = read::u16_le(descriptor, offset.saturating_add(2)).map_or(usize::MAX, usize::from);
        if offset < HEADER || length < 8 || read::slice(descriptor, offset, length).is_err() {
            return fault(name);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_do_not_reach_into_blocks_of_copies() {
        assert_eq!(next_place(0, 100), 0);
        assert_eq!(next_place(121, 100), 128);
        assert_eq!(next_place(0x4_0000 - 100, 100), 0x8_0000);
        assert_eq!(next_place(0x4_0000 - 112, 112), 0x4_0000 - 112);
        assert_eq!(next_place(0x4_0000, 112), 0x8_0000);
        assert_eq!(next_place(0x8_0000 + 0x3_fff1, 16), 0x10_0000);
    }

    #[test]
    fn rows_are_read_back_from_both_indexes() {
        let (hash, id, offset, length) = (0x1234_5678.into(), 0x101.into(), 0x8_0040.into(), 120.into());
        let row = DescriptorHeader { hash, id, offset, length };
        let (by_id, by_hash) = (row.sii_entry(), row.sdh_entry());
        assert_eq!((by_id.bytes.len(), by_hash.bytes.len()), (0x28, 0x30));
        assert_eq!(
            (DescriptorHeader::of_entry(&by_id.bytes), DescriptorHeader::of_entry(&by_hash.bytes)),
            (Some(row), Some(row))
        );
        assert_eq!((by_id.key(), by_hash.key()[4..].to_vec()), (&[1, 1, 0, 0][..], vec![1, 1, 0, 0]));
    }

    #[test]
    fn a_descriptor_whose_parts_leave_it_is_refused() {
        // Owner and group S-1-5-18, no list.
        let mut good = vec![1, 0, 0, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        good.extend([1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0].repeat(2));
        check(&good).unwrap();
        for (at, value) in [(0, 2), (3, 0), (4, 40), (8, 3), (12, 43), (16, 30), (21, 9)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(check(&bad).is_err(), "{at}");
        }
        assert!(check(&good[..16]).is_err() && check(&good[..43]).is_err());
    }
}
