//! The EFI system partition: the boot files that firmware starts, and the boot configuration store.

use std::fmt;

use super::boot::BootStore;
use super::{Error, Result};
use crate::windows::fat::{self, Volume};
use coldforge_base::{ReadAt, read};
use coldforge_disk::Window;
use coldforge_disk::partition::Partition;
use coldforge_regf as regf;

/// Windows's boot manager, which an entry in the firmware's memory names.
pub const BOOT_MANAGER: &str = r"\EFI\Microsoft\Boot\bootmgfw.efi";
/// The boot configuration store.
pub const STORE: &str = r"\EFI\Microsoft\Boot\BCD";
/// What firmware starts whose memory has no entry, as that of a new instance: firmware of each machine looks for a file of
/// its own (UEFI 3.5.1.1).
const FALLBACKS: [(&str, Processor); 3] = [
    (r"\EFI\Boot\bootx64.efi", Processor::AMD64),
    (r"\EFI\Boot\bootaa64.efi", Processor::ARM64),
    (r"\EFI\Boot\bootia32.efi", Processor::I386),
];

/// No boot manager is larger: those of Windows have 1 to 3 MiB.
const PROGRAM_LIMIT_BYTES: u64 = 64 << 20;
/// No store is larger: those of Windows have some tens of KiB, or a megabyte with its room to grow.
const STORE_LIMIT_BYTES: u64 = 64 << 20;
/// The subsystem of an EFI application.
const EFI_APPLICATION: u16 = 10;

/// What an EFI system partition holds, as far as the start of Windows needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SystemPartition {
    /// The number of the partition.
    pub partition: u32,
    /// The format of its file system.
    pub width: fat::Width,
    /// What the programs on it must be made for: the processor of Windows, or where nothing names that, of its boot manager.
    pub processor: Option<Processor>,
    /// Windows's boot manager, if it is there.
    pub boot_manager: Option<BootFile>,
    /// The program that firmware of this processor without entries starts, if it is there.
    pub fallback: Option<BootFile>,
    /// The boot configuration store, if it is there.
    pub store: Option<BootFile>,
}

/// A file that the start of Windows needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BootFile {
    /// Its path on the partition.
    pub path: &'static str,
    /// Why it would not start or cannot be read; `None` if nothing prevents it.
    pub fault: Option<String>,
}

/// What a program is made for, as its header numbers it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Processor(pub u16);

impl Processor {
    /// 64-bit processors of Intel and AMD.
    pub const AMD64: Self = Self(0x8664);
    /// 64-bit processors of Arm.
    pub const ARM64: Self = Self(0xaa64);
    /// 32-bit processors of Intel and AMD.
    pub const I386: Self = Self(0x014c);

    /// Returns the processor that a value of `PROCESSOR_ARCHITECTURE` names.
    pub(super) fn named(word: &str) -> Option<Self> {
        match word.to_ascii_uppercase().as_str() {
            "AMD64" => Some(Self::AMD64),
            "ARM64" => Some(Self::ARM64),
            "X86" => Some(Self::I386),
            _ => None,
        }
    }

    /// Returns the processor that the headers of a program name; `None` if it has no such headers.
    pub fn of_program(bytes: &[u8]) -> Option<Self> {
        let header = second_header(bytes)?;
        read::u16_le(bytes, header.checked_add(4)?).ok().map(Self)
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AMD64 => f.write_str("x64"),
            Self::ARM64 => f.write_str("ARM64"),
            Self::I386 => f.write_str("x86"),
            Self(other) => write!(f, "processor {other:#06x}"),
        }
    }
}

/// Looks at an EFI system partition of a Windows for `processor`; `None` if nothing names that.
///
/// # Errors
/// What is wrong with its file system.
pub(super) fn look(
    device: &dyn ReadAt,
    partition: &Partition,
    processor: Option<Processor>,
) -> Result<SystemPartition> {
    let number = partition.number;
    let failed = |source| Error::SystemPartition { partition: number, source };
    let volume = open(device, partition)?;
    let bytes = |path, limit| -> Result<Option<Vec<u8>>> {
        let found = volume.find(path).map_err(failed)?.filter(|entry| !entry.is_directory);
        found.map(|entry| volume.read(&entry, limit)).transpose().map_err(failed)
    };
    let program = |path, wanted| -> Result<Option<BootFile>> {
        let found = bytes(path, PROGRAM_LIMIT_BYTES)?;
        Ok(found.map(|bytes| BootFile { path, fault: fault(&bytes, wanted) }))
    };
    let manager = bytes(BOOT_MANAGER, PROGRAM_LIMIT_BYTES)?;
    let processor = processor.or_else(|| Processor::of_program(manager.as_deref()?));
    // Firmware of another processor would look for another file: one of these says nothing of this Windows.
    let mut fallback = None;
    for (path, made_for) in FALLBACKS.into_iter().filter(|(_, made_for)| processor.is_none_or(|of| of == *made_for)) {
        if fallback.is_none() {
            fallback = program(path, Some(made_for))?;
        }
    }
    let store = bytes(STORE, STORE_LIMIT_BYTES)?;
    Ok(SystemPartition {
        partition: number,
        width: volume.width(),
        processor,
        boot_manager: manager.map(|bytes| BootFile { path: BOOT_MANAGER, fault: fault(&bytes, processor) }),
        fallback,
        store: store.map(|bytes| BootFile { path: STORE, fault: BootStore::fault(&bytes).map(str::to_owned) }),
    })
}

/// Reads the boot configuration store of an EFI system partition, recovered from its logs if it is dirty; `None` if it is
/// not there.
///
/// # Errors
/// What is wrong with the file system or the store.
pub(super) fn store(device: &dyn ReadAt, partition: &Partition) -> Result<Option<BootStore>> {
    let failed = |source| Error::SystemPartition { partition: partition.number, source };
    let volume = open(device, partition)?;
    let file = |path: &str| -> Result<Option<Vec<u8>>> {
        let found = volume.find(path).map_err(failed)?.filter(|entry| !entry.is_directory);
        found.map(|entry| volume.read(&entry, STORE_LIMIT_BYTES)).transpose().map_err(failed)
    };
    let Some(bytes) = file(STORE)? else { return Ok(None) };
    if let Some(fault) = BootStore::fault(&bytes) {
        return Err(Error::BootStore { path: STORE, fault });
    }
    let mut logs = Vec::new();
    for name in ["BCD.LOG", "BCD.LOG1", "BCD.LOG2"] {
        let path = format!(r"\EFI\Microsoft\Boot\{name}");
        logs.extend(file(&path)?.map(|bytes| (name, bytes)));
    }
    let logs: Vec<regf::Log<'_>> = logs.iter().map(|(name, bytes)| regf::Log { name, bytes }).collect();
    let failed = |source| Error::Hive { path: STORE.to_owned(), source };
    let recovered = regf::Hive::recover(bytes, &logs).map_err(failed)?;
    Ok(Some(BootStore::read(&recovered.hive).map_err(failed)?))
}

fn open<'d>(device: &'d dyn ReadAt, partition: &Partition) -> Result<Volume<Window<&'d dyn ReadAt>>> {
    let window = Window::open(device, partition.start, partition.length_bytes)?;
    Volume::open(window).map_err(|source| Error::SystemPartition { partition: partition.number, source })
}

/// Returns why firmware would not start a program: it wants a PE file for EFI and for its processor.
fn fault(bytes: &[u8], wanted: Option<Processor>) -> Option<String> {
    if bytes.is_empty() {
        return Some("is empty".to_owned());
    }
    let Some((header, found)) = second_header(bytes).zip(Processor::of_program(bytes)) else {
        return Some("is not a program".to_owned());
    };
    if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
        return Some(format!("is a program for {found}, and {wanted} is needed"));
    }
    let subsystem = header.checked_add(24 + 68).and_then(|at| read::u16_le(bytes, at).ok());
    (subsystem != Some(EFI_APPLICATION)).then(|| "is not an EFI application".to_owned())
}

/// Returns where the second header of a program is; firmware loads nothing without it (UEFI 2.1.1).
fn second_header(bytes: &[u8]) -> Option<usize> {
    let header = usize::try_from(read::u32_le(bytes, 0x3c).ok()?).ok()?;
    let is_there = read::slice(bytes, header, 4).is_ok_and(|mark| mark == b"PE\0\0");
    (bytes.starts_with(b"MZ") && is_there).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pe(machine: Processor, subsystem: u16) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.0.to_le_bytes());
        bytes[0x80 + 92..0x80 + 94].copy_from_slice(&subsystem.to_le_bytes());
        bytes
    }

    #[test]
    fn firmware_starts_efi_applications_of_its_machine() {
        let said = |bytes: &[u8], wanted| fault(bytes, wanted).unwrap_or_default();
        assert_eq!(said(&pe(Processor::AMD64, 10), Some(Processor::AMD64)), "");
        assert_eq!(said(&pe(Processor::ARM64, 10), None), "");
        for (found, wanted) in [(Processor::ARM64, Processor::AMD64), (Processor::I386, Processor::AMD64)] {
            let said = said(&pe(found, 10), Some(wanted));
            assert_eq!(said, format!("is a program for {found}, and {wanted} is needed"));
        }
        assert_eq!(said(&pe(Processor::AMD64, 3), Some(Processor::AMD64)), "is not an EFI application");
        assert_eq!(said(&[], None), "is empty");
        assert_eq!(said(&[0; 4096], None), "is not a program");
        let mut far = pe(Processor::AMD64, 10);
        far[0x3c..0x40].fill(0xff);
        assert_eq!(said(&far, None), "is not a program");
        assert_eq!(said(b"MZ", None), "is not a program");
    }

    #[test]
    fn the_registry_names_the_processor_in_any_case() {
        assert_eq!(Processor::named("amd64"), Some(Processor::AMD64));
        assert_eq!(Processor::named("x86"), Some(Processor::I386));
        assert_eq!(Processor::named("MIPS"), None);
    }
}
