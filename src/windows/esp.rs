//! The EFI system partition: what firmware starts, and the boot configuration store that Windows's boot manager reads.

use super::boot::BootStore;
use super::{Error, Result};
use crate::base::read;
use crate::disk::{BlockDevice, Window};
use crate::fat::{self, Volume};
use crate::partition::Partition;
use crate::regf;

/// Windows's boot manager, which an entry in the firmware's memory names.
pub const BOOT_MANAGER: &str = r"\EFI\Microsoft\Boot\bootmgfw.efi";
/// The boot configuration store.
pub const STORE: &str = r"\EFI\Microsoft\Boot\BCD";
/// What firmware starts whose memory has no entry, as that of a new instance, by the machine that it is for.
const FALLBACKS: [(&str, u16); 3] =
    [(r"\EFI\Boot\bootx64.efi", 0x8664), (r"\EFI\Boot\bootaa64.efi", 0xaa64), (r"\EFI\Boot\bootia32.efi", 0x014c)];

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
    /// Windows's boot manager, if it is there.
    pub boot_manager: Option<Program>,
    /// The program that firmware without entries starts, if it is there.
    pub fallback: Option<Program>,
    /// Whether the boot configuration store is there.
    pub has_store: bool,
}

/// A program for firmware.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// Its path on the partition.
    pub path: &'static str,
    /// Why firmware would not start it; `None` if nothing stands against it.
    pub fault: Option<&'static str>,
}

/// Looks at an EFI system partition.
///
/// # Errors
/// What is wrong with its file system.
pub(super) fn look(device: &dyn BlockDevice, partition: &Partition) -> Result<SystemPartition> {
    let number = partition.number;
    let failed = |source| Error::SystemPartition { partition: number, source };
    let volume = open(device, partition)?;
    let program = |path, machine| -> Result<Option<Program>> {
        let Some(entry) = volume.find(path).map_err(failed)?.filter(|entry| !entry.is_directory) else {
            return Ok(None);
        };
        let bytes = volume.read(&entry, PROGRAM_LIMIT_BYTES).map_err(failed)?;
        Ok(Some(Program { path, fault: fault(&bytes, machine) }))
    };
    let mut fallback = None;
    for (path, machine) in FALLBACKS {
        fallback = match fallback {
            None => program(path, Some(machine))?,
            found => found,
        };
    }
    let store = volume.find(STORE).map_err(failed)?;
    Ok(SystemPartition {
        partition: number,
        width: volume.width(),
        boot_manager: program(BOOT_MANAGER, None)?,
        fallback,
        has_store: store.is_some_and(|entry| !entry.is_directory && entry.size > 0),
    })
}

/// Reads the boot configuration store of an EFI system partition, recovered from its logs if it is dirty; `None` if it is
/// not there.
///
/// # Errors
/// What is wrong with the file system or the store.
pub(super) fn store(device: &dyn BlockDevice, partition: &Partition) -> Result<Option<BootStore>> {
    let failed = |source| Error::SystemPartition { partition: partition.number, source };
    let volume = open(device, partition)?;
    let file = |path: &str| -> Result<Option<Vec<u8>>> {
        let found = volume.find(path).map_err(failed)?.filter(|entry| !entry.is_directory);
        found.map(|entry| volume.read(&entry, STORE_LIMIT_BYTES)).transpose().map_err(failed)
    };
    let Some(bytes) = file(STORE)? else { return Ok(None) };
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

fn open<'d>(device: &'d dyn BlockDevice, partition: &Partition) -> Result<Volume<Window<&'d dyn BlockDevice>>> {
    let window = Window::open(device, partition.start, partition.length_bytes)?;
    Volume::open(window).map_err(|source| Error::SystemPartition { partition: partition.number, source })
}

/// Returns why firmware would not start a program: it wants a PE file, and where the headers tell, one for EFI and for its
/// machine.
fn fault(bytes: &[u8], machine: Option<u16>) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("is empty");
    }
    if !bytes.starts_with(b"MZ") {
        return Some("is no program");
    }
    // Firmware loads nothing without the second header (UEFI 2.1.1).
    let header = read::u32_le(bytes, 0x3c).ok().and_then(|at| usize::try_from(at).ok());
    let Some(header) = header.filter(|at| read::slice(bytes, *at, 4).is_ok_and(|mark| mark == b"PE\0\0")) else {
        return Some("is no program");
    };
    let word = |by: usize| header.checked_add(by).and_then(|at| read::u16_le(bytes, at).ok());
    match (word(4), machine) {
        (Some(found), Some(wanted)) if found != wanted => return Some("is a program for another machine"),
        _ => {}
    }
    match word(24 + 68) {
        Some(EFI_APPLICATION) => None,
        _ => Some("is no EFI application"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pe(machine: u16, subsystem: u16) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        bytes[0x80 + 92..0x80 + 94].copy_from_slice(&subsystem.to_le_bytes());
        bytes
    }

    #[test]
    fn firmware_starts_efi_applications_of_its_machine() {
        assert_eq!(fault(&pe(0x8664, 10), Some(0x8664)), None);
        assert_eq!(fault(&pe(0xaa64, 10), None), None);
        assert_eq!(fault(&pe(0xaa64, 10), Some(0x8664)), Some("is a program for another machine"));
        assert_eq!(fault(&pe(0x8664, 3), Some(0x8664)), Some("is no EFI application"));
        assert_eq!(fault(&[], None), Some("is empty"));
        assert_eq!(fault(&[0; 4096], None), Some("is no program"));
        let mut far = pe(0x8664, 10);
        far[0x3c..0x40].fill(0xff);
        assert_eq!(fault(&far, None), Some("is no program"));
        assert_eq!(fault(b"MZ", None), Some("is no program"));
    }
}
