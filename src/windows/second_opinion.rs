//! Reads changed values again with the crates `ntfs` and `nt-hive`, which this project did not write.
//!
//! Known limits: `ntfs` 0.4 reads a stream whose extents are spread over several records as empty and
//! ignores the initialized size; `nt-hive` 0.3 refuses dirty hives, cannot read values over 16,344 bytes of format
//! version 1.3, and panics on some damaged hives. So "cannot read" is an answer of its own, with its reason; only a
//! value that was read and differs is a disagreement.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::hives;
use super::setting::{Setting, Value, ValueType};
use coldforge_base::{Extent, ReadAt};

/// The readers, as the audit log names them.
pub const READERS: [&str; 2] = ["ntfs 0.4", "nt-hive 0.3"];

/// What the second readers found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SecondOpinion {
    /// The number of values that are as expected.
    pub agreed: usize,
    /// Values that were read and are not as expected.
    pub disagreed: Vec<String>,
    /// What could not be read, with the reason.
    pub cannot_read: Vec<String>,
}

/// Reads each concrete registry setting, of which its file is named, from the volume at `volume` and compares it with
/// what it should be.
pub fn ask(device: &dyn ReadAt, volume: Extent, expected: &[(&str, &Setting, Option<&Value>)]) -> SecondOpinion {
    let mut opinion = SecondOpinion::default();
    let mut files: BTreeMap<&str, Result<Vec<u8>, String>> = BTreeMap::new();
    for (path, setting, value) in expected {
        let Setting::Registry { key, name } = setting else {
            opinion.cannot_read.push(format!("{setting}: is not a registry value"));
            continue;
        };
        let Ok((_, below)) = hives::locate(key) else {
            opinion.cannot_read.push(format!("{setting}: is in no hive that is handled"));
            continue;
        };
        // These crates are known to panic on damage; a panic counts as "cannot read".
        let bytes = files.entry(path).or_insert_with(|| {
            catch_unwind(AssertUnwindSafe(|| read_file(device, volume, path))).unwrap_or(Err("it panicked".into()))
        });
        let found = bytes.as_ref().map_err(|reason| format!("ntfs: {reason}")).and_then(|bytes| {
            catch_unwind(AssertUnwindSafe(|| read_value(bytes, below, name)))
                .map_err(|_| "nt-hive panicked".to_owned())?
                .map_err(|reason| format!("nt-hive: {reason}"))
        });
        match found {
            Err(reason) => opinion.cannot_read.push(format!("{setting}: {reason}")),
            Ok(found) if found.as_ref() == *value => opinion.agreed += 1,
            Ok(found) => opinion.disagreed.push(format!(
                "{setting} reads as {} and was written as {}",
                show(found.as_ref()),
                show(*value)
            )),
        }
    }
    opinion
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), |value| format!("{} {value}", value.form()))
}

fn read_value(hive: &[u8], key: &str, name: &str) -> Result<Option<Value>, nt_hive::NtHiveError> {
    let hive = nt_hive::Hive::new(hive)?;
    let root = hive.root_key_node()?;
    let node = match if key.is_empty() { Some(Ok(root)) } else { root.subpath(key) } {
        Some(node) => node?,
        None => return Ok(None),
    };
    let value = match node.value(name) {
        Some(value) => value?,
        None => return Ok(None),
    };
    let kind = ValueType(value.data_type()? as u32);
    let data = match value.data()? {
        nt_hive::KeyValueData::Small(data) => data.to_vec(),
        nt_hive::KeyValueData::Big(slices) => {
            let mut data = Vec::new();
            for slice in slices {
                data.extend_from_slice(slice?);
            }
            data
        }
    };
    Ok(Some(Value::data(kind, data)))
}

fn read_file(device: &dyn ReadAt, volume: Extent, path: &str) -> Result<Vec<u8>, String> {
    let mut reader = BufReader::new(Cursor { device, volume, at: 0 });
    let said = |error: ::ntfs::NtfsError| error.to_string();
    let mut ntfs = ::ntfs::Ntfs::new(&mut reader).map_err(said)?;
    ntfs.read_upcase_table(&mut reader).map_err(said)?;
    let mut file = ntfs.root_directory(&mut reader).map_err(said)?;
    for part in path.split('\\').filter(|part| !part.is_empty()) {
        let index = file.directory_index(&mut reader).map_err(said)?;
        let mut finder = index.finder();
        let entry = ::ntfs::indexes::NtfsFileNameIndex::find(&mut finder, &ntfs, &mut reader, part);
        let entry = entry.ok_or_else(|| format!("`{part}` is not in its folder"))?.map_err(said)?;
        file = entry.to_file(&ntfs, &mut reader).map_err(said)?;
    }
    let item = file.data(&mut reader, "").ok_or("the file has no data")?.map_err(said)?;
    let attribute = item.to_attribute().map_err(said)?;
    let value = attribute.value(&mut reader).map_err(said)?;
    if value.is_empty() {
        return Err("the stream reads as empty: its extents are spread over several records".to_owned());
    }
    let mut bytes = Vec::new();
    let mut attached = value.attach(&mut reader);
    let mut attached = (&mut attached).take(hives::HIVE_LIMIT_BYTES);
    attached.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A volume as `Read + Seek`.
struct Cursor<'a> {
    device: &'a dyn ReadAt,
    volume: Extent,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.volume.length.saturating_sub(self.at);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        self.device.read_at(self.volume.offset + self.at, &mut buf[..length]).map_err(io::Error::other)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.volume.length.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
