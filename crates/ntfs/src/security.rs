//! Reading the security descriptor of a file.
//!
//! $STANDARD_INFORMATION of version 3 holds a security id. The index `$SII` of `$Secure` leads from the id to an entry
//! of the stream `$SDS`, which holds the descriptor. The older, shorter form has no id; such a file has its descriptor
//! in its own $SECURITY_DESCRIPTOR attribute. Nothing here writes, and nothing here parses the descriptor.

use zerocopy::IntoBytes;

use super::index::Index;
use super::layout::{DESCRIPTOR_HEADER_BYTES, DescriptorHeader, collation, information_at, kind, name, system, view};
use crate::error::{Error, Result};
use crate::file::File;
use crate::volume::Volume;
use coldforge_base::{ReadAt, read};

/// The largest descriptor that is read: its two lists have at most 65,535 bytes each.
const MOST_DESCRIPTOR_BYTES: u64 = 0x2_0400;

impl<D: ReadAt> Volume<D> {
    /// Returns the self-relative security descriptor of a file or directory; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::NoDescriptor`] if the file's security id leads to no descriptor, or to one with another hash;
    /// [`Error::TooLarge`]; otherwise errors in the file's records or in `$Secure`.
    pub fn security(&self, file: &File) -> Result<Option<Vec<u8>>> {
        let segments = self.referenced(file.reference())?;
        let information = segments.base.find(|attribute| attribute.is(kind::STANDARD_INFORMATION, &[]))?;
        let id = match &information {
            // The short form ends before the id.
            Some(attribute) => read::u32_le(attribute.value()?, information_at::SECURITY_ID).unwrap_or(0),
            None => 0,
        };
        if id != 0 {
            return self.descriptor_of(id, file.reference().record()).map(Some);
        }
        let own = self.stream(&segments, kind::SECURITY_DESCRIPTOR, &[])?;
        own.map(|own| own.read_all(&self.device, &self.geometry, MOST_DESCRIPTOR_BYTES)).transpose()
    }

    /// Returns the descriptor with a security id, which file `record` has.
    fn descriptor_of(&self, id: u32, record: u64) -> Result<Vec<u8>> {
        let missing = || Error::NoDescriptor { record, id };
        let secure = self.segments(self.record(system::SECURE)?)?;
        let index = Index::open_named(self, &secure, name::SII, 0, collation::ULONG)?;
        let found = index.find_entry(self, |key| id.cmp(&read::u32_le(key, 0).unwrap_or(u32::MAX)))?;
        let header = found.and_then(|entry| DescriptorHeader::of_entry(&entry)).ok_or_else(missing)?;
        let stream = self.required_stream(&secure, kind::DATA, name::SDS)?;
        let length = u64::from(header.length.get());
        if header.id.get() != id || length < DESCRIPTOR_HEADER_BYTES as u64 || length > MOST_DESCRIPTOR_BYTES {
            return Err(missing());
        }
        let mut entry = vec![0; read::size(length)];
        stream.read(&self.device, &self.geometry, header.offset.get(), &mut entry)?;
        let descriptor = entry.split_off(DESCRIPTOR_HEADER_BYTES);
        if entry != header.as_bytes() || hash_of(&descriptor) != header.hash.get() {
            return Err(missing());
        }
        Ok(descriptor)
    }
}

impl DescriptorHeader {
    /// Reads the header that `bytes` begins with.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        view(bytes, 0).ok().copied()
    }

    /// Reads the data of an entry of `$SII` or `$SDH`.
    pub fn of_entry(entry: &[u8]) -> Option<Self> {
        let (offset, length) = (read::u16_le(entry, 0).ok()?, read::u16_le(entry, 2).ok()?);
        let data = read::slice(entry, offset.into(), length.into()).ok()?;
        if data.len() == DESCRIPTOR_HEADER_BYTES { Self::parse(data) } else { None }
    }

    /// Returns the key of the entry of `$SII`.
    pub fn sii_key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    /// Returns the key of the entry of `$SDH`.
    pub fn sdh_key(&self) -> Vec<u8> {
        [self.hash.as_bytes(), self.id.as_bytes()].concat()
    }
}

/// Returns the hash by which `$SDH` finds a descriptor.
pub(super) fn hash_of(descriptor: &[u8]) -> u32 {
    let words = descriptor.chunks_exact(4).filter_map(|word| read::u32_le(word, 0).ok());
    words.fold(0u32, |hash, word| hash.rotate_left(3).wrapping_add(word))
}
