//! The version that an executable file says of itself: the fixed part of the version resource (`VS_FIXEDFILEINFO`) of a
//! PE file.
//!
//! The texts beside it (`StringFileInfo`) can say anything; installers and Windows compare these numbers.

use std::fmt;
use std::str::FromStr;

use object::LittleEndian as LE;
use object::pe::{ImageNtHeaders32, ImageNtHeaders64, RT_VERSION};
use object::read::pe::{ImageNtHeaders, PeFile, ResourceDirectory, ResourceDirectoryEntryData, ResourceDirectoryTable};

/// Where the fixed part lies in the resource: behind its lengths and its name.
const FIXED_AT: usize = 40;
const SIGNATURE: u32 = 0xFEEF_04BD;
/// `VS_VERSION_INFO` in UTF-16, behind three lengths.
const NAME_AT: usize = 6;
const NAME: &str = "VS_VERSION_INFO";

/// Four numbers, the most significant first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FileVersion([u16; 4]);

impl fmt::Display for FileVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, build, revision] = self.0;
        write!(f, "{major}.{minor}.{build}.{revision}")
    }
}

/// The text is no version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoVersion;

impl FromStr for FileVersion {
    type Err = NoVersion;

    /// Reads one to four numbers; those that are not there are 0.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let mut numbers = [0; 4];
        let mut places = numbers.iter_mut();
        for part in text.split('.') {
            let is_number = !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
            *places.next().ok_or(NoVersion)? = part.parse().ok().filter(|_| is_number).ok_or(NoVersion)?;
        }
        Ok(Self(numbers))
    }
}

/// Returns the version of a PE file.
///
/// # Errors
/// Why there is none: the bytes are no PE file, it has no version resource, or one that is damaged or ambiguous.
pub fn of(file: &[u8]) -> Result<FileVersion, &'static str> {
    match object::FileKind::parse(file) {
        Ok(object::FileKind::Pe32) => found_in::<ImageNtHeaders32>(file),
        Ok(object::FileKind::Pe64) => found_in::<ImageNtHeaders64>(file),
        _ => Err("it is no executable file (PE)"),
    }
}

fn found_in<Headers: ImageNtHeaders>(file: &[u8]) -> Result<FileVersion, &'static str> {
    const DAMAGED: &str = "its resources are damaged";
    const NONE: &str = "it has no version resource";
    let pe = PeFile::<Headers>::parse(file).map_err(|_| "it is a damaged executable file (PE)")?;
    let sections = pe.section_table();
    let all = pe.data_directories().resource_directory(file, &sections).map_err(|_| DAMAGED)?.ok_or(NONE)?;
    let kinds = all.root().map_err(|_| DAMAGED)?;
    let version = kinds.entries.iter().find(|entry| entry.name_or_id().id() == Some(RT_VERSION));
    let Some(ResourceDirectoryEntryData::Table(names)) =
        version.map(|entry| entry.data(all)).transpose().map_err(|_| DAMAGED)?
    else {
        return Err(NONE);
    };
    let mut versions = Vec::new();
    for place in leaves(all, &names).ok_or(DAMAGED)? {
        let (at, size) = place;
        let data = sections.pe_data_at(file, at).and_then(|data| data.get(..size)).ok_or(DAMAGED)?;
        versions.push(fixed(data).ok_or("its version resource is damaged")?);
    }
    match versions.split_first() {
        None => Err(NONE),
        Some((first, rest)) if rest.iter().all(|version| version == first) => Ok(*first),
        Some(_) => Err("its version resources tell different versions"),
    }
}

/// Returns where the data of each name in each language lies, and how long it is. The tree has three levels: the levels
/// are walked, and not what a table says of its depth.
fn leaves(all: ResourceDirectory<'_>, names: &ResourceDirectoryTable<'_>) -> Option<Vec<(u32, usize)>> {
    /// A file has one version in one language, and seldom in a few.
    const MOST: usize = 64;
    let mut found = Vec::new();
    for name in names.entries.iter().take(MOST) {
        let ResourceDirectoryEntryData::Table(languages) = name.data(all).ok()? else { return None };
        for language in languages.entries.iter().take(MOST) {
            let ResourceDirectoryEntryData::Data(data) = language.data(all).ok()? else { return None };
            found.push((data.offset_to_data.get(LE), usize::try_from(data.size.get(LE)).ok()?));
        }
    }
    Some(found)
}

/// Reads the file version of a version resource; `None` if it is none.
fn fixed(data: &[u8]) -> Option<FileVersion> {
    let name: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
    if !data.get(NAME_AT..)?.starts_with(&name) {
        return None;
    }
    let fixed = data.get(FIXED_AT..)?.strip_prefix(&SIGNATURE.to_le_bytes())?;
    let half = |at: usize| Some(u16::from_le_bytes(fixed.get(at..)?.first_chunk().copied()?));
    // Two numbers of 32 bits, whose upper halves come first.
    Some(FileVersion([half(6)?, half(4)?, half(10)?, half(8)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: &[u8] = include_bytes!("../../fixtures/components/tool.dll");

    #[test]
    fn the_version_of_a_library_is_read() {
        assert_eq!(of(TOOL).unwrap().to_string(), "10.2.300.4");
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text: &str| text.parse::<FileVersion>();
        assert_eq!(version("10.2"), version("10.2.0.0"));
        assert!(version("10.10").unwrap() > version("10.9.9.9").unwrap());
        for odd in ["", "1.", "1.2.3.4.5", "+1", "1.70000", "1.x", "1,2"] {
            assert_eq!(version(odd), Err(NoVersion), "{odd}");
        }
    }

    #[test]
    fn what_is_cut_or_bent_is_an_answer_and_never_a_panic() {
        assert!(of(b"").is_err() && of(b"MZ").is_err());
        for length in 0..TOOL.len() {
            let _ = of(TOOL.get(..length).unwrap());
        }
        let mut bent = TOOL.to_vec();
        for at in 0..bent.len() {
            for mask in [0x01, 0x80, 0xff] {
                bent[at] ^= mask;
                let _ = of(&bent);
                bent[at] ^= mask;
            }
        }
    }
}
