//! What the first bytes of a file, a disk or a volume say that it is.
//!
//! A signature is a reason to look closer and never a proof: the floor that reads the format checks everything else.
//! Sources: the formats' own documents; boot sectors of the volumes that Windows, mkntfs and mkfs.fat make.

use super::Result;
use coldforge_base::{ReadAt, read};

/// A container format that is recognised by its first bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container {
    /// Who reads it, if anybody here does.
    pub handled: Handled,
    /// Its name with an article.
    pub name: &'static str,
    /// What to do about it.
    pub hint: &'static str,
    at: usize,
    magic: &'static [u8],
}

/// Which reader a container has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handled {
    No,
    Vhdx,
    Vmdk,
}

const CONVERT: &str = "convert it to a raw disk or a VHD, for example with `qemu-img convert -O raw`";
const UNPACK: &str = "unpack it, and name the disk image inside";

/// How many bytes of a file's beginning [`container`] looks at.
pub(super) const CONTAINER_HEAD_BYTES: usize = 512;

const CONTAINERS: &[Container] = &[
    Container { handled: Handled::Vhdx, name: "a VHDX", hint: CONVERT, at: 0, magic: b"vhdxfile" },
    Container { handled: Handled::Vmdk, name: "a VMDK", hint: CONVERT, at: 0, magic: b"KDMV" },
    Container { handled: Handled::No, name: "a VMDK of the old COWD kind", hint: CONVERT, at: 0, magic: b"COWD" },
    Container {
        handled: Handled::Vmdk,
        name: "a VMDK descriptor",
        hint: "convert the VMDK and its extents to a raw disk or a VHD, for example with `qemu-img convert -O raw`",
        at: 0,
        magic: b"# Disk DescriptorFile",
    },
    Container { handled: Handled::No, name: "a QCOW image", hint: CONVERT, at: 0, magic: b"QFI\xfb" },
    Container { handled: Handled::No, name: "a QED image", hint: CONVERT, at: 0, magic: b"QED\0" },
    Container { handled: Handled::No, name: "a VDI", hint: CONVERT, at: 64, magic: b"\x7f\x10\xda\xbe" },
    Container {
        handled: Handled::No,
        name: "an Expert Witness (E01) image",
        hint: CONVERT,
        at: 0,
        magic: b"EVF\x09\x0d\x0a\xff\x00",
    },
    Container {
        handled: Handled::No,
        name: "a WIM archive",
        hint: "apply the WIM to a disk, and name that disk's image",
        at: 0,
        magic: b"MSWIM\0\0\0",
    },
    Container { handled: Handled::No, name: "an OVA or another tar archive", hint: UNPACK, at: 257, magic: b"ustar" },
    Container { handled: Handled::No, name: "a ZIP archive", hint: UNPACK, at: 0, magic: b"PK\x03\x04" },
    Container { handled: Handled::No, name: "a gzip file", hint: UNPACK, at: 0, magic: b"\x1f\x8b\x08" },
    Container { handled: Handled::No, name: "an xz file", hint: UNPACK, at: 0, magic: b"\xfd7zXZ\0" },
    Container { handled: Handled::No, name: "a zstd file", hint: UNPACK, at: 0, magic: b"\x28\xb5\x2f\xfd" },
    Container { handled: Handled::No, name: "a bzip2 file", hint: UNPACK, at: 0, magic: b"BZh" },
    Container { handled: Handled::No, name: "a 7z archive", hint: UNPACK, at: 0, magic: b"7z\xbc\xaf\x27\x1c" },
];

/// Returns the container whose signature stands in a file's first bytes.
pub(super) fn container(head: &[u8]) -> Option<&'static Container> {
    CONTAINERS.iter().find(|container| has(head, container.at, container.magic))
}

/// What a volume's first sector says that the volume is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    /// A volume that BitLocker encrypts.
    BitLocker,
    /// An exFAT volume.
    ExFat,
    /// A FAT12, FAT16 or FAT32 volume.
    Fat,
    /// An NTFS volume.
    Ntfs,
    /// A ReFS volume.
    ReFs,
    /// None of the others.
    Unknown,
}

/// The end of a boot sector.
pub const BOOT_MARK: [u8; 2] = [0x55, 0xaa];
/// Where [`BOOT_MARK`] lies.
pub const BOOT_MARK_AT: usize = 510;
/// BitLocker To Go volumes look like FAT and carry this GUID (4967d63b-2e29-4ad8-8399-f6a339e3d001).
const BITLOCKER_TO_GO: [u8; 16] = *b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01";

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BitLocker => "BitLocker",
            Self::ExFat => "exFAT",
            Self::Fat => "FAT",
            Self::Ntfs => "NTFS",
            Self::ReFs => "ReFS",
            Self::Unknown => "unknown",
        })
    }
}

impl Signature {
    /// Returns what a volume's first sector, at least 512 bytes, says.
    ///
    /// What must be refused (BitLocker, ReFS) is recognised by its name alone, what may be read only by a whole boot
    /// sector.
    pub fn of(sector: &[u8]) -> Self {
        if has(sector, 3, b"-FVE-FS-") || has(sector, 424, &BITLOCKER_TO_GO) {
            Self::BitLocker
        } else if has(sector, 3, b"ReFS\0\0\0\0") {
            Self::ReFs
        } else if !has(sector, BOOT_MARK_AT, &BOOT_MARK) {
            Self::Unknown
        } else if has(sector, 3, b"NTFS    ") {
            Self::Ntfs
        } else if has(sector, 3, b"EXFAT   ") {
            Self::ExFat
        } else if is_fat(sector).unwrap_or(false) {
            Self::Fat
        } else {
            Self::Unknown
        }
    }
}

/// Tells whether the BIOS parameter block could be a FAT volume's.
fn is_fat(sector: &[u8]) -> std::result::Result<bool, read::OutOfBounds> {
    let jump = matches!(read::array(sector, 0)?, [0xeb, _, 0x90] | [0xe9, _, _]);
    let bytes_per_sector = read::u16_le(sector, 11)?;
    let sectors_per_cluster = read::u8(sector, 13)?;
    let reserved_sectors = read::u16_le(sector, 14)?;
    let tables = read::u8(sector, 16)?;
    let media = read::u8(sector, 21)?;
    Ok(jump
        && matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096)
        && sectors_per_cluster.is_power_of_two()
        && reserved_sectors > 0
        && matches!(tables, 1 | 2)
        && matches!(media, 0xf0 | 0xf8..))
}

/// Tells whether a disk begins with something that only a disk begins with: a volume, a partition table with at least
/// one possible entry, or a GPT header whose checksum is right.
///
/// Whether the tables are sound is not asked here.
///
/// # Errors
/// What reading the disk answers.
pub(super) fn is_disk(device: &dyn ReadAt) -> Result<bool> {
    let size = device.len();
    let mut sector = [0; 512];
    if size < sector.len() as u64 {
        return Ok(false);
    }
    device.read_at(0, &mut sector)?;
    if Signature::of(&sector) != Signature::Unknown || has_mbr_entry(&sector, size) {
        return Ok(true);
    }
    for header_at in [512u64, 4096] {
        if header_at.checked_add(512).is_some_and(|end| end <= size) {
            device.read_at(header_at, &mut sector)?;
            if has_gpt_header(&sector) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Tells whether everything that a raw disk's table, or its only volume, speaks of lies on the disk: one that was cut
/// lacks its end.
///
/// # Errors
/// What reading the disk answers.
pub(super) fn is_whole_disk(device: &dyn ReadAt) -> Result<bool> {
    let size = device.len();
    let mut sector = [0; 512];
    if size < sector.len() as u64 || !size.is_multiple_of(512) || !is_disk(device)? {
        return Ok(false);
    }
    for header_at in [512u64, 4096] {
        if header_at.checked_add(512).is_some_and(|end| end <= size) {
            device.read_at(header_at, &mut sector)?;
            if has_gpt_header(&sector) {
                // The backup of the header lies in the disk's last sector.
                let last = read::u64_le(&sector, 32).ok().and_then(|lba| lba.checked_add(1)?.checked_mul(header_at));
                return Ok(last.is_some_and(|end| end <= size));
            }
        }
    }
    device.read_at(0, &mut sector)?;
    let end = match Signature::of(&sector) {
        Signature::Unknown => end_of_partitions(&sector),
        _ => end_of_volume(&sector),
    };
    Ok(end.is_ok_and(|end| end.is_some_and(|end| end <= size)))
}

/// Returns where the last primary partition of a master boot record ends, in bytes.
fn end_of_partitions(sector: &[u8]) -> std::result::Result<Option<u64>, read::OutOfBounds> {
    let mut end = 0u64;
    for at in [446, 462, 478, 494] {
        let entry = read::slice(sector, at, 16)?;
        let sectors = u64::from(read::u32_le(entry, 8)?).saturating_add(read::u32_le(entry, 12)?.into());
        if read::u8(entry, 4)? != 0 {
            end = end.max(sectors.saturating_mul(512));
        }
    }
    Ok(Some(end))
}

/// Returns where a volume ends, in bytes, as its boot sector has it; `None` for kinds that say it elsewhere.
fn end_of_volume(sector: &[u8]) -> std::result::Result<Option<u64>, read::OutOfBounds> {
    let sector_bytes = u64::from(read::u16_le(sector, 11)?);
    Ok(match Signature::of(sector) {
        // The copy of the boot sector lies behind the sectors that are counted.
        Signature::Ntfs => read::u64_le(sector, 0x28)?.checked_add(1).and_then(|count| count.checked_mul(sector_bytes)),
        Signature::Fat => {
            let few = u64::from(read::u16_le(sector, 19)?);
            let count = if few == 0 { u64::from(read::u32_le(sector, 32)?) } else { few };
            count.checked_mul(sector_bytes)
        }
        Signature::ExFat => read::u64_le(sector, 72)?.checked_shl(read::u8(sector, 108)?.into()),
        Signature::BitLocker | Signature::ReFs | Signature::Unknown => None,
    }
    .filter(|end| *end > 0))
}

/// Tells whether a sector is a master boot record with an entry that could be one.
///
/// Boot code of a volume ends in the same two bytes, so that its text is read as entries: their status bytes are then
/// neither 00 nor 80.
fn has_mbr_entry(sector: &[u8], size: u64) -> bool {
    let entries: Vec<&[u8]> = [446, 462, 478, 494].iter().filter_map(|at| read::slice(sector, *at, 16).ok()).collect();
    let possible = |entry: &&&[u8]| {
        let first_sector = read::u32_le(entry, 8).unwrap_or(0);
        let count = read::u32_le(entry, 12).unwrap_or(0);
        let at = u64::from(first_sector).saturating_mul(512);
        read::u8(entry, 4) != Ok(0) && first_sector > 0 && count > 0 && at < size
    };
    has(sector, BOOT_MARK_AT, &BOOT_MARK)
        && entries.iter().all(|entry| matches!(read::u8(entry, 0), Ok(0x00 | 0x80)))
        && entries.iter().any(|entry| possible(&entry))
}

/// Tells whether a sector begins with a GPT header whose checksum is right.
fn has_gpt_header(sector: &[u8]) -> bool {
    let checked = || -> std::result::Result<bool, read::OutOfBounds> {
        let length = usize::try_from(read::u32_le(sector, 12)?).unwrap_or(usize::MAX);
        let mut header = read::slice(sector, 0, length)?.to_vec();
        let stored = read::u32_le(&header, 16)?;
        read::put_u32_le(&mut header, 16, 0)?;
        Ok(length >= 92 && crc32fast::hash(&header) == stored)
    };
    has(sector, 0, b"EFI PART") && checked().unwrap_or(false)
}

fn has(bytes: &[u8], at: usize, magic: &[u8]) -> bool {
    read::slice(bytes, at, magic.len()) == Ok(magic)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use coldforge_base::device::Memory;

    fn sector(pieces: &[(usize, &[u8])]) -> Vec<u8> {
        let mut sector = vec![0; 4096];
        for (at, bytes) in pieces {
            sector[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        sector
    }

    #[test]
    fn volumes_are_known_by_their_first_sector() {
        let mark: (usize, &[u8]) = (510, &BOOT_MARK);
        let fat: &[u8] = b"\xeb\x3c\x90MSDOS5.0\0\x02\x04\x01\0\x02\0\x02\0\0\xf8";
        for (pieces, signature) in [
            (vec![(3, &b"NTFS    "[..]), mark], Signature::Ntfs),
            (vec![(3, b"NTFS    ")], Signature::Unknown),
            (vec![(3, b"EXFAT   "), mark], Signature::ExFat),
            (vec![(3, b"-FVE-FS-"), mark], Signature::BitLocker),
            (vec![(3, b"-FVE-FS-")], Signature::BitLocker),
            (vec![(0, fat), (424, &BITLOCKER_TO_GO), mark], Signature::BitLocker),
            (vec![(3, b"ReFS\0\0\0\0"), (16, b"FSRS")], Signature::ReFs),
            (vec![(0, fat), mark], Signature::Fat),
            (vec![(0, fat)], Signature::Unknown),
            (vec![mark], Signature::Unknown),
        ] {
            assert_eq!(Signature::of(&sector(&pieces)), signature, "{pieces:?}");
        }
    }

    #[test]
    fn a_boot_mark_alone_or_over_text_makes_no_disk() {
        let mark: (usize, &[u8]) = (510, &BOOT_MARK);
        let entry: &[u8] = b"\0\0\0\0\x07\0\0\0\x02\0\0\0\x01\0\0\0";
        let is_disk = |pieces: &[(usize, &[u8])]| is_disk(&Memory(sector(pieces))).unwrap();
        assert!(is_disk(&[mark, (446, entry)]));
        assert!(is_disk(&[mark, (494, entry)]));
        assert!(!is_disk(&[(446, entry)]), "no mark");
        assert!(!is_disk(&[mark]), "no entry");
        assert!(!is_disk(&[mark, (446, b"ressed\r\nPress Ct")]), "text");
        assert!(!is_disk(&[mark, (446, entry), (462, b"t")]), "a status that is none");
        assert!(!is_disk(&[mark, (446, b"\0\0\0\0\x07\0\0\0\x08\0\0\0\x01\0\0\0")]), "behind the disk");
        assert!(!super::is_disk(&Memory(vec![0x55; 511])).unwrap());
    }

    #[test]
    fn a_gpt_header_counts_if_its_checksum_is_right() {
        let mut header = sector(&[(512, b"EFI PART"), (524, &[92])]);
        assert!(!is_disk(&Memory(header.clone())).unwrap());
        let sum = crc32fast::hash(&header[512..604]).to_le_bytes();
        header[528..532].copy_from_slice(&sum);
        assert!(is_disk(&Memory(header)).unwrap());
    }

    #[test]
    fn foreign_containers_are_known_by_name() {
        assert_eq!(container(b"vhdxfile....").map(|c| c.name), Some("a VHDX"));
        assert_eq!(container(&sector(&[(64, b"\x7f\x10\xda\xbe")])).map(|c| c.name), Some("a VDI"));
        assert!(container(&sector(&[])).is_none());
        for one in CONTAINERS {
            assert!(one.at + one.magic.len() <= CONTAINER_HEAD_BYTES);
        }
    }
}
