//! The security descriptor of a file, wherever it lies: in `$Secure` by its id, or in an attribute of the file.
//!
//! Facts: `$STANDARD_INFORMATION` of version 3 has a security id; `$SII` of `$Secure` leads from the id to an entry of
//! `$SDS`. The shorter form has none, and the descriptor is the file's own $SECURITY_DESCRIPTOR. Reading only.

use super::error::Place;
use super::file::File;
use super::layout::{
    INDEX_BLOCK_HEADER, INDEX_ROOT_HEADER, IndexEntry, IndexHeader, STRIDE_BYTES, entry_flag, kind, system, view,
};
use super::segments::Segments;
use super::{Error, Result, Volume, fixup};
use coldforge_base::{ReadAt, Vcn, read};

/// The name of the stream of descriptors, in UTF-16LE.
pub(super) const SDS: &[u8] = b"$\0S\0D\0S\0";
/// The size of a block of `$SDS`; its copy follows it.
pub(super) const SDS_BLOCK_BYTES: u64 = 0x4_0000;
/// The bytes of an entry of `$SDS` before its descriptor (SECURITY_DESCRIPTOR_HEADER).
pub(super) const ENTRY_HEADER_BYTES: usize = 20;

/// The largest descriptor that is read: its two lists have at most 65,535 bytes each.
const MOST_DESCRIPTOR_BYTES: u64 = 0x2_0400;
/// The largest index root that is read: it lies in a record of at most 4096 bytes.
const MOST_ROOT_BYTES: u64 = 4096;
/// The deepest index: blocks of at least 512 bytes with two entries each would fill 2^30 of them.
const MOST_DEPTH: usize = 30;
/// Where STANDARD_INFORMATION of version 3 has the security id.
pub(super) const SECURITY_ID_OFFSET: usize = 0x34;

impl<D: ReadAt> Volume<D> {
    /// Returns the self-relative security descriptor of a file or directory; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::NoDescriptor`] if the file's security id leads to no descriptor, or to one with another hash;
    /// [`Error::TooLarge`]; otherwise what is wrong with the file's records or with `$Secure`.
    pub fn security(&self, file: &File) -> Result<Option<Vec<u8>>> {
        let segments = self.referenced(file.reference())?;
        let information = segments.base.find(|attribute| attribute.is(kind::STANDARD_INFORMATION, &[]))?;
        let id = match &information {
            // The short form ends before the id.
            Some(attribute) => read::u32_le(attribute.value()?, SECURITY_ID_OFFSET).unwrap_or(0),
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
        let header = self.indexed(&secure, id)?.filter(|header| header.id == id).ok_or_else(missing)?;
        let lost = Error::MissingAttribute { record: system::SECURE, kind: kind::DATA };
        let stream = self.stream(&secure, kind::DATA, SDS)?.ok_or(lost)?;
        let length = u64::from(header.length);
        if length < ENTRY_HEADER_BYTES as u64 || length > MOST_DESCRIPTOR_BYTES {
            return Err(missing());
        }
        let mut entry = vec![0; usize::try_from(length).map_err(|_| missing())?];
        stream.read(&self.device, &self.geometry, header.offset, &mut entry)?;
        let descriptor = entry.split_off(ENTRY_HEADER_BYTES);
        if EntryHeader::parse(&entry) != Some(header) || hash_of(&descriptor) != header.hash {
            return Err(missing());
        }
        Ok(descriptor)
    }

    /// Finds the entry of a security id in `$SII`.
    fn indexed(&self, secure: &Segments, id: u32) -> Result<Option<EntryHeader>> {
        let name = name_of_index(b'I');
        let lost = |kind| Error::MissingAttribute { record: system::SECURE, kind };
        let root = self.stream(secure, kind::INDEX_ROOT, &name)?.ok_or_else(|| lost(kind::INDEX_ROOT))?;
        let mut node = root.read_all(&self.device, &self.geometry, MOST_ROOT_BYTES)?;
        let mut place = Place::IndexRoot { directory: system::SECURE, byte: 0 };
        let block_bytes = read::u32_le(&node, 8).map_err(place.cut())? as usize;
        if !block_bytes.is_power_of_two() || !(STRIDE_BYTES..=0x1_0000).contains(&block_bytes) {
            let field = "the size of an index block";
            return Err(Error::Field { place: place.plus(8), field, actual: block_bytes as u64 });
        }
        let cluster_bytes = self.geometry.cluster_bytes;
        let unit = if cluster_bytes <= block_bytes as u64 { cluster_bytes } else { STRIDE_BYTES as u64 };
        let mut header = INDEX_ROOT_HEADER;
        let allocation = self.stream(secure, kind::INDEX_ALLOCATION, &name)?;
        for _ in 0..MOST_DEPTH {
            let vcn = match look_up(&node, header, id, place)? {
                Found::Entry(entry) => return Ok(Some(entry)),
                Found::Nothing => return Ok(None),
                Found::Below(vcn) => vcn,
            };
            let allocation = allocation.as_ref().ok_or_else(|| lost(kind::INDEX_ALLOCATION))?;
            place = Place::IndexBlock { directory: system::SECURE, vcn, byte: 0 };
            node = vec![0; block_bytes];
            allocation.read(&self.device, &self.geometry, vcn.0.saturating_mul(unit), &mut node)?;
            fixup::undo(&mut node, *b"INDX", place)?;
            header = INDEX_BLOCK_HEADER;
        }
        Err(Error::IndexLoop { directory: system::SECURE, vcn: Vcn(0) })
    }
}

/// What a node of `$SII` tells of an id.
enum Found {
    Entry(EntryHeader),
    Below(Vcn),
    Nothing,
}

/// Looks an id up in a node of `$SII`, whose INDEX_HEADER begins at `header`.
fn look_up(node: &[u8], header: usize, id: u32, place: Place) -> Result<Found> {
    let fields: &IndexHeader = view(node, header).map_err(place.cut())?;
    let mut at = header.saturating_add(fields.first_entry.get() as usize);
    // Each turn moves on by at least the 16 bytes of an entry, inside a block of at most 64 KiB.
    loop {
        let entry: &IndexEntry = view(node, at).map_err(place.cut())?;
        let (length, flags) = (usize::from(entry.length.get()), entry.flags.get());
        if length < size_of::<IndexEntry>() {
            let field = "the length of an index entry";
            return Err(Error::Field { place: place.plus(at), field, actual: length as u64 });
        }
        let whole = read::slice(node, at, length).map_err(place.cut())?;
        let is_last = flags & entry_flag::LAST != 0;
        let key = if is_last { u32::MAX } else { read::u32_le(whole, size_of::<IndexEntry>()).map_err(place.cut())? };
        if !is_last && key == id {
            let data = read::u16_le(whole, 0).map_err(place.cut())?;
            let parsed = whole.get(usize::from(data)..).and_then(EntryHeader::parse);
            return Ok(parsed.map_or(Found::Nothing, Found::Entry));
        }
        if is_last || key > id {
            if flags & entry_flag::NODE == 0 {
                return Ok(Found::Nothing);
            }
            let child = read::u64_le(whole, length.saturating_sub(8)).map_err(place.cut())?;
            return Ok(Found::Below(Vcn(child)));
        }
        at = at.saturating_add(length);
    }
}

/// SECURITY_DESCRIPTOR_HEADER: what `$SDS` has before each descriptor, and `$SII` and `$SDH` repeat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EntryHeader {
    pub hash: u32,
    pub id: u32,
    /// Where the entry begins in `$SDS`.
    pub offset: u64,
    /// Bytes of the header and the descriptor.
    pub length: u32,
}

impl EntryHeader {
    /// Reads the header that `bytes` begins with.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            hash: read::u32_le(bytes, 0).ok()?,
            id: read::u32_le(bytes, 4).ok()?,
            offset: read::u64_le(bytes, 8).ok()?,
            length: read::u32_le(bytes, 16).ok()?,
        })
    }
}

/// Returns the hash by which `$SDH` finds a descriptor.
pub(super) fn hash_of(descriptor: &[u8]) -> u32 {
    let words = descriptor.chunks_exact(4).filter_map(|word| read::u32_le(word, 0).ok());
    words.fold(0u32, |hash, word| hash.rotate_left(3).wrapping_add(word))
}

/// Returns the name of `$SII` or `$SDH` by its last letter, in UTF-16LE.
pub(super) fn name_of_index(letter: u8) -> [u8; 8] {
    let middle = if letter == b'H' { b'D' } else { b'I' };
    [b'$', 0, b'S', 0, middle, 0, letter, 0]
}

/// Returns the key of an entry of `$SII`.
pub(super) fn sii_key(header: &EntryHeader) -> Vec<u8> {
    header.id.to_le_bytes().to_vec()
}

/// Returns the key of an entry of `$SDH`.
pub(super) fn sdh_key(header: &EntryHeader) -> Vec<u8> {
    [header.hash.to_le_bytes(), header.id.to_le_bytes()].concat()
}
