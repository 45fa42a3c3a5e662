//! The descriptor of a VMDK: text that says what kind of disk it is and where its extents lie.

use super::super::{Error, Result};
use super::layout::NAME;

/// A descriptor is some lines; what is longer is none.
pub const BYTES_MAX: u64 = 1 << 20;
/// A disk of 2-GB extents has some thousands at most.
const EXTENTS_MAX: usize = 65_536;

/// What a descriptor says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Descriptor {
    /// `createType`.
    pub kind: String,
    /// `parentCID`, if it names a parent.
    pub parent: Option<String>,
    /// The extents in their order.
    pub extents: Vec<Listed>,
}

/// An extent of the disk, as its line says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    pub sectors: u64,
    /// `FLAT`, `SPARSE`, `ZERO` or another word.
    pub kind: String,
    pub file: String,
    /// Sector of the file at which a flat extent begins.
    pub at: u64,
}

impl Descriptor {
    /// Reads a descriptor; it ends at its first NUL.
    pub fn parse(bytes: &[u8], at: u64) -> Result<Self> {
        let bad = |field, actual| Error::Field { container: NAME, structure: "descriptor", at, field, actual };
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        let mut descriptor = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(listed) = Listed::parse(line) {
                if descriptor.extents.len() >= EXTENTS_MAX {
                    return Err(bad("number of extents", EXTENTS_MAX as u64));
                }
                descriptor.extents.push(listed.ok_or_else(|| {
                    bad("extent line, of which this many came before,", descriptor.extents.len() as u64)
                })?);
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches('"').trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "createtype" => descriptor.kind = value.to_owned(),
                "parentcid" if !value.eq_ignore_ascii_case("ffffffff") => descriptor.parent = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(descriptor)
    }
}

impl Listed {
    /// Reads a line such as `RW 8192 FLAT "disk-flat.vmdk" 0`; `None` if it is about no extent, `Some(None)` if it is
    /// about one and cannot be understood.
    fn parse(line: &str) -> Option<Option<Self>> {
        let mut words = line.split_ascii_whitespace();
        if !matches!(words.next()?, "RW" | "RDONLY" | "NOACCESS") {
            return None;
        }
        let parse = || {
            let sectors = words.next()?.parse().ok()?;
            let kind = words.next()?.to_owned();
            let (file, rest) = match line.split_once('"') {
                Some((_, rest)) => rest.split_once('"')?,
                None => ("", ""),
            };
            let at = rest.split_ascii_whitespace().next().map_or(Some(0), |word| word.parse().ok())?;
            Some(Self { sectors, kind, file: file.to_owned(), at })
        };
        let mut parse = parse;
        Some(parse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_their_blanks_and_unknown_ones_are_left_out() {
        let text =
            b"# Disk DescriptorFile\r\nversion=1\r\nCID=1\r\nparentCID=ffffffff \r\ncreateType=\"monolithicFlat\" \r\n\
            RW 8192 FLAT \"a b-flat.vmdk\" 128 \r\nRDONLY 4 ZERO\nddb.adapterType = \"ide\"\n\0RW junk";
        let found = Descriptor::parse(text, 0).unwrap();
        assert_eq!((found.kind.as_str(), found.parent), ("monolithicFlat", None));
        let extent = |sectors, kind: &str, file: &str, at| Listed { sectors, kind: kind.into(), file: file.into(), at };
        assert_eq!(found.extents, [extent(8192, "FLAT", "a b-flat.vmdk", 128), extent(4, "ZERO", "", 0)]);
        assert!(Descriptor::parse(b"RW many FLAT \"a\"", 0).is_err());
        assert_eq!(Descriptor::parse(b"parentCID=12345678", 0).unwrap().parent.as_deref(), Some("12345678"));
    }
}
