//! Every reason not to write a volume. Reads only.
//!
//! Callers ask before they write, and write only if there is no refusal. All checks run, so that the user sees every
//! reason at once. Comparing `$Bitmap` with the runs of all files is left to the verifier.

use super::fixup;
use super::layout::{FileRecordHeader, system, view, volume_flag};
use crate::boot::BOOT_SECTOR_BYTES;
use crate::error::{CORRUPT, Place, REPAIR, Result};
use crate::record::Record;
use crate::volume::Volume;
use coldforge_base::failure::Code;
use coldforge_base::{Failure, FileOffset, Kind, ReadAt, Refusal, read};

const VOLUME_SIZE: Code = Code::refusal(
    "E-VOLUME-SIZE",
    "The volume is larger than its partition or its image.",
    "check that the image is complete and that the partition was not made smaller than its volume",
);
const BACKUP_BOOT: Code = Code::refusal(
    "E-BACKUP-BOOT",
    "The copy of the boot sector behind the volume differs from the boot sector.",
    REPAIR,
);
const VOLUME_VERSION: Code =
    Code::refusal("E-VOLUME-VERSION", "The volume's NTFS version is not 3.1.", "use an image of Windows XP or later");
const VOLUME_DIRTY: Code =
    Code::refusal("E-VOLUME-DIRTY", "The dirty flag of the volume is set: Windows did not shut it down.", REPAIR);
const VOLUME_CHKDSK: Code =
    Code::refusal("E-VOLUME-CHKDSK", "chkdsk began to check the volume and did not finish.", REPAIR);
const VOLUME_FLAGS: Code = Code::refusal(
    "E-VOLUME-FLAGS",
    "Windows has an operation on the volume under way, or the volume has a flag that is not known.",
    REPAIR,
);
const MFT_MIRROR: Code = Code::refusal("E-MFTMIRR", "$MFTMirr does not repeat the first records of $MFT.", REPAIR);
const HIBERNATED: Code = Code::refusal(
    "E-HIBERNATED",
    "Windows hibernates: \\hiberfil.sys holds a part of the volume's state.",
    "start Windows, turn hibernation off with `powercfg /h off`, shut it down, and make a new image",
);
pub(super) const FAST_STARTUP: Code = Code::refusal(
    "E-FAST-STARTUP",
    "$LogFile has version 2.0: Windows was shut down by fast startup and may keep metadata in memory.",
    "shut Windows down with `shutdown /s /t 0` with fast startup off, and make a new image",
);
pub(super) const LOGFILE_VERSION: Code = Code::refusal(
    "E-LOGFILE-VERSION",
    "$LogFile has a version that is not known.",
    "mount the volume in Windows 10 or later, shut it down, and make a new image",
);
pub(super) const LOGFILE_UNCLEAN: Code = Code::refusal(
    "E-LOGFILE-UNCLEAN",
    "$LogFile is damaged, or has transactions that were not finished.",
    "mount the volume in Windows, so that it replays its log, shut Windows down, and make a new image",
);
const SHADOW_COPIES: Code = Code::warning(
    "W-SHADOW-COPIES",
    "The volume has shadow copies, which do not include what is written now and no longer show the old volume.",
    "delete the shadow copies in Windows with `vssadmin delete shadows /all` before making the image",
);

/// Every reason not to write a volume, and every warning about writing it.
pub const CODES: &[Code] = &[
    VOLUME_SIZE,
    BACKUP_BOOT,
    VOLUME_VERSION,
    VOLUME_DIRTY,
    VOLUME_CHKDSK,
    VOLUME_FLAGS,
    MFT_MIRROR,
    HIBERNATED,
    FAST_STARTUP,
    LOGFILE_VERSION,
    LOGFILE_UNCLEAN,
    SHADOW_COPIES,
];

/// What ends the names of a shadow copy's files in `\System Volume Information`.
const SHADOW_COPY: &str = "{3808876b-c176-4e48-b7ae-04046e6cc752}";

/// Returns whether a name in `\System Volume Information` is that of shadow copies: their catalog, or the store of one.
/// The boot area points at their clusters, whatever becomes of the files.
pub fn is_shadow_store(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(SHADOW_COPY)
}

impl<D: ReadAt> Volume<D> {
    /// Returns every reason not to write the volume; none means that it may be written.
    ///
    /// | code | reason |
    /// |---|---|
    /// | `E-VOLUME-SIZE` | the volume is larger than its device |
    /// | `E-BACKUP-BOOT` | the copy of the boot sector after the volume differs |
    /// | `E-VOLUME-VERSION` | NTFS is not version 3.1 |
    /// | `E-VOLUME-DIRTY` | the dirty flag is set |
    /// | `E-VOLUME-CHKDSK` | `chkdsk` left its marks |
    /// | `E-VOLUME-FLAGS` | Windows has an operation under way, or a flag is unknown |
    /// | `E-MFTMIRR` | `$MFTMirr` does not repeat the first four records of `$MFT` |
    /// | `E-LOGFILE-UNCLEAN` | `$LogFile` is damaged or has open transactions |
    /// | `E-LOGFILE-VERSION` | `$LogFile` has an unknown version |
    /// | `E-FAST-STARTUP` | `$LogFile` has version 2.0 |
    /// | `E-HIBERNATED` | `\hiberfil.sys` holds a sleeping Windows |
    /// | `E-VOLUME-CORRUPT` | something that a check needs cannot be read |
    ///
    /// # Errors
    /// Only errors of the operating system; faults of the volume are refusals.
    pub fn refusals(&self) -> Result<Vec<Refusal>> {
        let checks = [
            self.size_refusals(),
            self.backup_boot_refusals(),
            self.version_refusals(),
            self.flag_refusals(),
            self.mirror_refusals(),
            self.log_refusals(),
            self.hibernation_refusals(),
        ];
        let mut refusals = Vec::new();
        for check in checks {
            match check {
                Ok(found) => refusals.extend(found),
                Err(error) if error.kind() == Kind::Io => return Err(error),
                Err(error) => refusals.push(Refusal {
                    code: error.code().unwrap_or(CORRUPT),
                    reason: error.to_string(),
                    hint: error.hint().unwrap_or(REPAIR),
                }),
            }
        }
        Ok(refusals)
    }

    /// Returns what a write damages although the volume may be written.
    ///
    /// | code | reason |
    /// |---|---|
    /// | `W-SHADOW-COPIES` | shadow copies do not include the write, so they no longer show the old volume |
    ///
    /// # Errors
    /// Errors in `\System Volume Information`.
    pub fn warnings(&self) -> Result<Vec<Refusal>> {
        let Some(folder) = self.find(r"\System Volume Information")?.filter(|file| file.is_directory()) else {
            return Ok(Vec::new());
        };
        let is_copy = |name: &str| name.len() > SHADOW_COPY.len() && is_shadow_store(name);
        let copies = self.list(&folder)?.iter().filter(|entry| is_copy(&entry.name)).count();
        if copies == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![Refusal::new(
            &SHADOW_COPIES,
            format!(r"\System Volume Information holds {copies} shadow copies, which do not include later writes"),
        )])
    }

    fn size_refusals(&self) -> Result<Vec<Refusal>> {
        let (end, device) = (self.geometry.backup_boot_sector().0, self.device.len());
        if end <= device {
            return Ok(Vec::new());
        }
        Ok(vec![Refusal::new(
            &VOLUME_SIZE,
            format!("the boot sector at 0x0 claims {end:#x} bytes, but the device has {device:#x}"),
        )])
    }

    fn backup_boot_refusals(&self) -> Result<Vec<Refusal>> {
        let (mut boot, mut copy) = ([0; BOOT_SECTOR_BYTES], [0; BOOT_SECTOR_BYTES]);
        self.device.read_at(0, &mut boot)?;
        let place = self.geometry.backup_boot_sector();
        let end = place.0.saturating_add(copy.len() as u64);
        let reason = if end > self.device.len() {
            format!("the copy of the boot sector at {place} lies past the end of the device")
        } else {
            self.device.read_at(place.0, &mut copy)?;
            // Tools that renew the boot code leave the copy alone; what a volume is mounted by must be the same.
            if boot_parameters(&copy) == boot_parameters(&boot) {
                return Ok(Vec::new());
            }
            format!("the copy of the boot sector at {place} differs from the boot sector at 0x0")
        };
        Ok(vec![Refusal::new(&BACKUP_BOOT, reason)])
    }

    fn version_refusals(&self) -> Result<Vec<Refusal>> {
        let (major, minor) = self.information().version;
        if (major, minor) == (3, 1) {
            return Ok(Vec::new());
        }
        Ok(vec![Refusal::new(&VOLUME_VERSION, format!("$Volume (file 0x3) has NTFS version {major}.{minor}, not 3.1"))])
    }

    fn flag_refusals(&self) -> Result<Vec<Refusal>> {
        use volume_flag::{CHKDSK, DIRTY, USUAL};
        let flags = self.information().flags;
        let refusal = |code: &Code, what: &str| {
            Refusal::new(code, format!("the flags {flags:#06x} of $Volume (file 0x3) say that {what}"))
        };
        let mut refusals = Vec::new();
        if flags & DIRTY != 0 {
            refusals.push(refusal(&VOLUME_DIRTY, "the volume is dirty"));
        }
        if flags & CHKDSK != 0 {
            refusals.push(refusal(&VOLUME_CHKDSK, "chkdsk has not finished with the volume"));
        }
        if flags & !(DIRTY | CHKDSK | USUAL) != 0 {
            refusals.push(refusal(&VOLUME_FLAGS, "an operation is under way"));
        }
        Ok(refusals)
    }

    fn mirror_refusals(&self) -> Result<Vec<Refusal>> {
        let refusal = |reason: String| Refusal::new(&MFT_MIRROR, reason);
        let mirror = self.system_data(system::MFT_MIRROR)?;
        let record_bytes = self.geometry.record_bytes as u64;
        let place = self.geometry.mft_mirror;
        let start = mirror.runs().first().and_then(|run| run.lcn);
        if start != Some(place) || mirror.size < record_bytes.saturating_mul(system::MIRRORED) {
            return Ok(vec![refusal(format!("$MFTMirr (file 0x1) does not start at cluster {place} or is too short"))]);
        }
        let mut refusals = Vec::new();
        for number in 0..system::MIRRORED {
            let mut copy = vec![0; self.geometry.record_bytes];
            mirror.read(&self.device, &self.geometry, number.saturating_mul(record_bytes), &mut copy)?;
            let copy_place = Place::Mirror { record: number, byte: 0 };
            if let Err(error) = fixup::undo(&mut copy, Record::SIGNATURE, copy_place) {
                refusals.push(refusal(error.to_string()));
            } else if let Some(byte) = first_difference(self.record(number)?.bytes(), &copy, number)? {
                let place = Place::Mirror { record: number, byte };
                refusals.push(refusal(format!("the {place} differs from the record in $MFT")));
            }
        }
        Ok(refusals)
    }

    fn hibernation_refusals(&self) -> Result<Vec<Refusal>> {
        const HEADER_BYTES: u64 = 4096;
        let Some(file) = self.find(r"\hiberfil.sys")?.filter(|file| !file.is_directory()) else {
            return Ok(Vec::new());
        };
        let number = file.reference().record();
        let reason = if file.size() < HEADER_BYTES {
            // What Windows leaves on a data volume when it hibernates.
            format!(r"\hiberfil.sys (file {number:#x}) has only {:#x} bytes", file.size())
        } else {
            let mut signature = [0; 4];
            self.read_at(&file, FileOffset(0), &mut signature)?;
            match &signature.map(|byte| byte.to_ascii_lowercase()) {
                b"hibr" => format!(r"\hiberfil.sys (file {number:#x}) begins with `hibr`: Windows hibernates"),
                b"rstr" => format!(r"\hiberfil.sys (file {number:#x}) begins with `rstr`: Windows was resuming"),
                _ => return Ok(Vec::new()),
            }
        };
        Ok(vec![Refusal::new(&HIBERNATED, reason)])
    }
}

/// Returns the first used byte in which two records differ, their update sequence arrays apart.
fn first_difference(record: &[u8], copy: &[u8], number: u64) -> Result<Option<usize>> {
    let place = Place::Record { record: number, byte: 0 };
    let header: &FileRecordHeader = view(record, 0).map_err(place.cut())?;
    let used = (header.bytes_used.get() as usize).min(record.len());
    let array = fixup::array_offset(record, place)?;
    let count = usize::from(header.multi_sector.usa_count.get());
    let skipped = array..array.saturating_add(count.saturating_mul(2));
    let record = read::slice(record, 0, used).map_err(place.cut())?;
    let differs = |(at, (a, b)): (usize, (&u8, &u8))| (a != b && !skipped.contains(&at)).then_some(at);
    Ok(record.iter().zip(copy).enumerate().find_map(differs))
}

/// Returns what a boot sector says of the volume: from the OEM id to the serial number.
fn boot_parameters(sector: &[u8; BOOT_SECTOR_BYTES]) -> Option<&[u8]> {
    sector.get(3..0x50)
}
