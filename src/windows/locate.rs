//! Finds the partition that holds the Windows, and what forbids editing it.
//!
//! Every partition is read, because the type byte is ambiguous: 0x07 is NTFS, exFAT and others. Exactly one installation
//! is required; with none, a volume that could not be read (BitLocker, a damaged one) is the likelier cause and is
//! reported first.

use std::fmt;

use serde::Serialize;

use super::hives::{self, CONFIG, HiveState};
use super::{Error, Result};
use coldforge_base::guid::Guid;
use coldforge_base::{Failure as _, ReadAt, Refusal};
use coldforge_disk::Window;
use coldforge_disk::partition::{self, Kind, Partition, Scheme, Table};
use coldforge_ntfs::Volume;

/// The type of an EFI system partition in a GUID partition table.
const ESP: Guid = Guid::new(0xc12a_7328, 0xf81f, 0x11d2, [0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]);
/// The type of an EFI system partition in a master boot record.
const MBR_ESP: u8 = 0xef;

/// Returns whether a partition is an EFI system partition by its type.
pub(super) fn is_esp(partition: &Partition) -> bool {
    matches!(partition.kind, Kind::Gpt(ESP) | Kind::Mbr(MBR_ESP))
}

/// What the partitions of a disk hold.
#[derive(Debug)]
pub struct Survey {
    /// The partition table.
    pub table: Table,
    /// One entry a partition, in the table's order.
    pub partitions: Vec<SurveyedPartition>,
}

/// A partition, and what was found in it.
#[derive(Debug)]
pub struct SurveyedPartition {
    /// The partition.
    pub partition: Partition,
    /// What was found: a volume, something that is no NTFS volume at all (`None`), or why one cannot be read.
    pub volume: Result<Option<VolumeReport>>,
}

/// An NTFS volume.
#[derive(Clone, Debug, Serialize)]
pub struct VolumeReport {
    /// The cluster size.
    pub cluster_bytes: u64,
    /// Whether a Windows is installed on it.
    pub windows: bool,
    /// Whether the boot manager of BIOS machines (`\bootmgr`) is in its root.
    pub bootmgr: bool,
    /// What forbids writing to it.
    pub refusals: Vec<Refusal>,
    /// What should be known before writing to it.
    pub warnings: Vec<Refusal>,
    /// The hives of its configuration folder, if a Windows is installed.
    pub hives: Vec<HiveState>,
}

/// How firmware starts the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum BootMode {
    /// From an active MBR partition.
    #[serde(rename = "legacy-bios")]
    LegacyBios,
    /// From an EFI system partition.
    #[serde(rename = "uefi")]
    Uefi,
}

impl fmt::Display for BootMode {
    /// Writes the term that AWS uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Whether the hives of a Windows are read as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// Only volumes: enough to find the Windows.
    Volumes,
    /// Volumes and hives, as a report wants it.
    Hives,
}

impl Survey {
    /// Reads every partition of a disk.
    ///
    /// # Errors
    /// [`Error::Partition`] or [`Error::Disk`] if the table itself cannot be read; what is wrong with one partition
    /// is reported in its [`SurveyedPartition`].
    pub fn of(device: &dyn ReadAt, depth: Depth) -> Result<Self> {
        let table = partition::scan(device)?;
        let partitions = table
            .partitions
            .iter()
            .map(|partition| SurveyedPartition { partition: partition.clone(), volume: look(device, partition, depth) })
            .collect();
        Ok(Self { table, partitions })
    }

    /// Returns the one partition that holds a Windows.
    ///
    /// # Errors
    /// [`Error::SeveralWindows`], [`Error::NoWindows`], or why the likeliest partition cannot be read.
    pub fn windows(&self) -> Result<&SurveyedPartition> {
        let found: Vec<&SurveyedPartition> = self
            .partitions
            .iter()
            .filter(|surveyed| matches!(&surveyed.volume, Ok(Some(volume)) if volume.windows))
            .collect();
        match found.as_slice() {
            [surveyed] => Ok(surveyed),
            [] => Err(Error::NoWindows { partitions: self.partitions.len() }),
            _ => Err(Error::SeveralWindows {
                partitions: found.iter().map(|surveyed| surveyed.partition.number).collect(),
            }),
        }
    }

    /// Returns how firmware starts this disk, or `None` if the table does not show it, or shows both.
    ///
    /// UEFI: a GPT with an EFI system partition. BIOS: an MBR with an active partition whose root holds `\bootmgr`.
    pub fn boot_mode(&self) -> Option<BootMode> {
        let partitions = &self.table.partitions;
        match self.table.scheme {
            Scheme::Gpt => partitions.iter().any(|p| p.kind == Kind::Gpt(ESP)).then_some(BootMode::Uefi),
            Scheme::Mbr => {
                let active = |surveyed: &&SurveyedPartition| {
                    surveyed.partition.active && matches!(&surveyed.volume, Ok(Some(volume)) if volume.bootmgr)
                };
                let also_uefi = partitions.iter().any(|p| p.kind == Kind::Mbr(MBR_ESP));
                (self.partitions.iter().filter(active).count() == 1 && !also_uefi).then_some(BootMode::LegacyBios)
            }
            Scheme::Bare => None,
        }
    }

    /// Returns everything that forbids editing this disk's Windows, in the order of finding.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut refusals = self.table.refusals.clone();
        match self.windows() {
            Ok(surveyed) => {
                if let Ok(Some(volume)) = &surveyed.volume {
                    refusals.extend(volume.refusals.iter().cloned());
                }
            }
            Err(missing) => {
                let hidden = self.partitions.iter().filter_map(|surveyed| {
                    match (&surveyed.partition.refusal, &surveyed.volume) {
                        (Some(refusal), _) => Some(refusal.clone()),
                        (None, Err(error)) => Some(as_refusal(error)),
                        _ => None,
                    }
                });
                let before = refusals.len();
                refusals.extend(hidden);
                // A table that is refused as a whole, or a volume that hides its contents, explains the absence.
                if refusals.len() == before && (before == 0 || matches!(missing, Error::SeveralWindows { .. })) {
                    refusals.push(as_refusal(&missing));
                }
            }
        }
        refusals
    }
}

/// The volume of the one Windows of a disk, which may be edited.
#[derive(Debug)]
pub(super) struct WindowsVolume<D> {
    /// The volume of the Windows.
    pub(super) volume: Volume<Window<D>>,
    /// The number of its partition.
    pub(super) partition: u32,
    /// How firmware starts the machine, if the disk shows it.
    pub(super) boot_mode: Option<BootMode>,
    /// Warnings, each with its code.
    pub(super) warnings: Vec<String>,
}

/// Finds the one Windows of a disk and opens its volume.
///
/// # Errors
/// Every refusal that applies to the disk or the volume.
pub(super) fn open_windows_volume<D: ReadAt>(device: D) -> Result<WindowsVolume<D>> {
    let survey = Survey::of(&device, Depth::Volumes)?;
    if let Some(refusal) = survey.refusals().into_iter().next() {
        return Err(Error::Refused(refusal));
    }
    let boot_mode = survey.boot_mode();
    let surveyed = survey.windows()?;
    let partition = surveyed.partition.number;
    let warnings = match &surveyed.volume {
        Ok(Some(volume)) => volume.warnings.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let window = Window::open(device, surveyed.partition.start, surveyed.partition.length_bytes)?;
    let volume = Volume::open(window).map_err(|source| Error::Volume { partition, source })?;
    Ok(WindowsVolume { volume, partition, boot_mode, warnings })
}

/// Returns an error as a line of a report: the whole chain of causes, with code and hint; what is
/// merely damaged has the code `E-UNREADABLE`.
pub fn as_refusal(error: &Error) -> Refusal {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        reason = format!("{reason}: {source}");
        cause = source.source();
    }
    let hint = error.hint().unwrap_or("check the image with `chkdsk` on a machine that mounts it");
    Refusal { code: error.code().unwrap_or("E-UNREADABLE"), reason, hint }
}

fn look(device: &dyn ReadAt, partition: &Partition, depth: Depth) -> Result<Option<VolumeReport>> {
    if partition.signature != partition::Signature::Ntfs {
        return Ok(None);
    }
    let failed = |source| Error::Volume { partition: partition.number, source };
    let window = Window::open(device, partition.start, partition.length_bytes)?;
    let volume = Volume::open(window).map_err(failed)?;
    let found = |path: &str| volume.find(path).map(|file| file.is_some()).map_err(failed);
    let windows = found(&format!(r"{CONFIG}\SYSTEM"))? || found(&format!(r"{CONFIG}\SOFTWARE"))?;
    Ok(Some(VolumeReport {
        cluster_bytes: volume.geometry().cluster_bytes,
        windows,
        bootmgr: found(r"\bootmgr")?,
        refusals: volume.refusals().map_err(failed)?,
        warnings: volume.warnings().map_err(failed)?,
        hives: if windows && depth == Depth::Hives { hives::look(&volume) } else { Vec::new() },
    }))
}
