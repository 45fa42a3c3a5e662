//! The registry in an image for manual edits: each hive is opened when one of its keys is first named.

use super::commit::{self, FileChange};
use super::hives::{self, HiveFile};
use super::identity::{CURRENT, ControlSets};
use super::locate::{self, WindowsVolume};
use super::{Error, OpenOptions, Result};
use coldforge_base::{Extent, ReadAt, WriteAt};
use coldforge_disk::Window;
use coldforge_ntfs::Volume;
use coldforge_ntfs::verify::Report;
use coldforge_regf::Hive;

/// The parts of the registry that are in files of the configuration folder.
const ROOTS: [(&str, &str); 5] = [
    (r"HKLM\SOFTWARE", "SOFTWARE"),
    (r"HKLM\SYSTEM", "SYSTEM"),
    (r"HKLM\SAM", "SAM"),
    (r"HKLM\SECURITY", "SECURITY"),
    (r"HKU\.DEFAULT", "DEFAULT"),
];

/// The long names of the roots, as `.reg` files have them.
const LONG: [(&str, &str); 2] = [("HKEY_LOCAL_MACHINE", "HKLM"), ("HKEY_USERS", "HKU")];

/// The registry of the one Windows in an image.
#[derive(Debug)]
pub struct Registry<D> {
    volume: Volume<Window<D>>,
    partition: u32,
    opening: OpenOptions,
    warnings: Vec<String>,
    /// What the verifier found on the volume before any edit.
    report: Option<Report>,
    /// The hives that were asked for, each with its place in [`ROOTS`].
    roots: Vec<usize>,
    hives: Vec<HiveFile>,
}

impl<D: ReadAt> Registry<D> {
    /// Finds the one Windows on a disk.
    ///
    /// # Errors
    /// Every refusal that applies to the disk or the volume.
    pub fn open(device: D, opening: OpenOptions) -> Result<Self> {
        let WindowsVolume { volume, partition, warnings, .. } = locate::open_windows_volume(device)?;
        Ok(Self { volume, partition, opening, warnings, report: None, roots: Vec::new(), hives: Vec::new() })
    }

    /// Returns the roots that keys can begin with, such as `HKLM\SAM`.
    pub fn roots(&self) -> impl Iterator<Item = &'static str> + use<D> {
        ROOTS.iter().map(|(root, _)| *root)
    }

    /// Returns the root of a key with its long name, as `.reg` files have it: `HKEY_LOCAL_MACHINE\SOFTWARE`.
    pub fn long_root(&self, key: &str) -> Option<String> {
        let key = shortened(key);
        let (root, _) = ROOTS.iter().find(|(root, _)| hives::below(&key, root).is_some())?;
        let (long, short) = LONG.iter().find(|(_, short)| root.starts_with(short))?;
        Some(format!("{long}{}", root.strip_prefix(short)?))
    }

    /// Opens the hive that a key is in, recovered from its logs if it is dirty; returns the hive's number and the
    /// key's path inside it. `CurrentControlSet` is the set that the next boot loads.
    ///
    /// The hive is not verified: [`Hive::verify`] is the caller's to ask before an edit.
    ///
    /// # Errors
    /// [`Error::UnknownRoot`] if no root fits; [`Error::NoHive`]; errors of the volume and the hive.
    pub fn locate(&mut self, key: &str) -> Result<(usize, String)> {
        let key = shortened(key);
        let root = ROOTS.iter().position(|(root, _)| hives::below(&key, root).is_some());
        let root = root.ok_or_else(|| Error::UnknownRoot { key: key.clone() })?;
        let (prefix, name) = ROOTS[root];
        let number = match self.roots.iter().position(|known| *known == root) {
            Some(number) => number,
            None => {
                let path = hives::in_config(name);
                let opened = hives::open(&self.volume, &path, self.opening.accept)?;
                let missing = || Error::NoHive { partition: self.partition, path };
                let file = opened.ok_or_else(missing)?;
                self.warnings.extend(file.recovery.clone());
                self.roots.push(root);
                self.hives.push(file);
                self.hives.len() - 1
            }
        };
        let below = match hives::below(&key, CURRENT) {
            Some(rest) => {
                let sets = ControlSets::read(&self.hives[number].hive)?;
                format!(r"{}\{rest}", sets.key(sets.default))
            }
            None => hives::below(&key, prefix).unwrap_or_default().to_owned(),
        };
        Ok((number, below))
    }

    /// Returns a hive that [`Registry::locate`] opened.
    pub fn hive(&self, number: usize) -> &Hive {
        &self.hives[number].hive
    }

    /// Returns a hive that [`Registry::locate`] opened, to edit it.
    pub fn hive_mut(&mut self, number: usize) -> &mut Hive {
        &mut self.hives[number].hive
    }

    /// Returns the path of a hive's file on the volume.
    pub fn path(&self, number: usize) -> &str {
        &self.hives[number].path
    }

    /// Runs the strict verifiers over every hive that was opened, and over the volume: to be asked before an edit.
    ///
    /// # Errors
    /// [`Error::HiveCorrupt`], [`Error::VolumeCorrupt`].
    pub fn verify(&mut self) -> Result<()> {
        self.report = commit::check(&self.volume, self.partition, &self.hives, self.opening.check)?;
        self.hives.iter().try_for_each(hives::verify)
    }

    /// Returns what was noticed, each with its code.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Seals and verifies the hives that were edited or recovered, writes them to the device, and zeroes their logs.
    ///
    /// # Errors
    /// As [`super::Machine::commit`].
    pub fn commit(&mut self) -> Result<Vec<FileChange>>
    where
        D: WriteAt,
    {
        let before = (self.report.as_ref(), self.opening.check);
        commit::commit(&mut self.volume, self.partition, &mut self.hives, None, self.opening.now, before)
    }

    /// Returns the number of the partition that holds the Windows.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Returns where the Windows volume is on the disk, and its length.
    pub fn volume_extent(&self) -> Extent {
        let window = self.volume.device();
        Extent::new(window.start().0, window.len())
    }

    /// Returns the device, with everything that was committed.
    pub fn into_device(self) -> D {
        self.volume.into_device().into_inner()
    }
}

/// Returns a key with the short name of its root, and without a backslash at its end.
fn shortened(key: &str) -> String {
    // No backslash too many may lead past the names that are looked for here.
    let names: Vec<&str> = key.split('\\').filter(|name| !name.is_empty()).collect();
    let key = names.join("\\");
    let short = LONG.iter().find_map(|(long, short)| {
        let head = key.get(..long.len()).filter(|head| head.eq_ignore_ascii_case(long))?;
        Some(format!("{short}{}", key.get(head.len()..)?))
    });
    short.unwrap_or(key)
}
