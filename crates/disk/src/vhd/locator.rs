//! How a differencing VHD names its parent: id, time, name, and paths in "parent locator entries".

use super::super::{Raw, Result};
use super::layout::DynamicHeader;
use coldforge_base::{ReadAt as _, read, utf16};

/// Longer paths are nobody's.
const PATH_BYTES_MAX: u32 = 64 << 10;

/// The parent of a differencing VHD, as its header names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Locators {
    pub id: [u8; 16],
    pub time_stamp: u32,
    /// The parent's paths, the best first.
    pub paths: Vec<String>,
    /// Where the first path lies in the file, once it is known.
    pub path_at: u64,
}

impl Locators {
    /// Reads what a header says of the parent; paths that leave the file are left out.
    pub fn open(raw: &Raw, header: &DynamicHeader) -> Result<Self> {
        let (mut relative, mut absolute) = (Vec::new(), Vec::new());
        for entry in header.parent_locators.chunks_exact(24) {
            let length = read::u32_be(entry, 8).unwrap_or(0);
            let at = read::array(entry, 16).map_or(0, u64::from_be_bytes);
            let paths = match read::array(entry, 0) {
                Ok(code) if code == *b"W2ru" => &mut relative,
                Ok(code) if code == *b"W2ku" => &mut absolute,
                _ => continue,
            };
            let inside = at.checked_add(length.into()).is_some_and(|end| end <= raw.len());
            if length > 0 && length <= PATH_BYTES_MAX && inside {
                let mut bytes = vec![0; read::size(length)];
                raw.read_at(at, &mut bytes)?;
                paths.push(utf16::decode_to_nul(&bytes));
            }
        }
        let name = header.parent_unicode_name.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
        let name: Vec<u16> = name.take_while(|unit| *unit != 0).collect();
        relative.append(&mut absolute);
        relative.push(String::from_utf16_lossy(&name));
        let (id, time_stamp) = (header.parent_unique_id, header.parent_time_stamp);
        Ok(Self { id, time_stamp, paths: relative, path_at: 0 })
    }

    /// Returns the bytes of the first path.
    pub fn path_bytes(&self) -> Vec<u8> {
        self.paths.first().map_or_else(Vec::new, |path| utf16::encode(path))
    }

    /// Returns the name field: the last part of the path, big-endian, cut to its room.
    pub fn name_field(&self) -> [u8; 512] {
        let path = self.paths.first().map_or("", String::as_str);
        let name = path.rsplit('\\').next().unwrap_or(path);
        let mut field = [0; 512];
        // The last unit stays zero.
        for (place, unit) in field.as_chunks_mut::<2>().0.iter_mut().zip(name.encode_utf16().take(255)) {
            *place = unit.to_be_bytes();
        }
        field
    }

    /// Returns the eight entries, of which the first names the relative path.
    pub fn entries_field(&self) -> [u8; 192] {
        let length = u32::try_from(self.path_bytes().len()).unwrap_or(u32::MAX);
        let entry = [
            &b"W2ru"[..],
            &length.checked_next_multiple_of(512).unwrap_or(length).to_be_bytes(),
            &length.to_be_bytes(),
            &[0; 4],
            &self.path_at.to_be_bytes(),
        ]
        .concat();
        let mut field = [0; 192];
        read::put(&mut field, 0, &entry).expect("one of eight entries");
        field
    }
}
