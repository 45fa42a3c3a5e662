//! VMDK: disks of VMware, read as one sparse file (`monolithicSparse`, `streamOptimized`) or as a descriptor with flat
//! and sparse extents beside it.
//!
//! Extents are looked for in the descriptor's folder by plain file names only. Disks with a parent, those on VMFS, and
//! the old COWD and the SEsparse kinds are refused by name. New files are made by `emit` as
//! `streamOptimized`.

mod descriptor;
pub(super) mod layout;
mod sparse;

use std::path::Path;

use super::pieces::{self, before, on_disk};
use super::{Error, Raw, Result};
use coldforge_base::device::check_range;
use coldforge_base::{Extent, ReadAt, device, fs, read};
use descriptor::{BYTES_MAX, Descriptor, Listed};
use layout::{DESCRIPTOR_MAGIC, LARGEST_DISK_BYTES, MAGIC, NAME, SECTOR, field};
use sparse::Sparse;

const CONVERT: &str = "export the machine as an OVF or convert the disk, for example with `qemu-img convert -O vmdk -o \
                       subformat=streamOptimized`";

/// A VMDK, opened for reading.
#[derive(Debug)]
pub struct Vmdk {
    /// The descriptor, if it is a file of its own.
    text: Option<Raw>,
    parts: Vec<Part>,
    size: u64,
    kind: String,
}

/// An extent of the disk.
#[derive(Debug)]
struct Part {
    extent: Extent,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Zero,
    /// A file, and where in it the extent begins.
    Flat(Raw, u64),
    Sparse(Box<Sparse>),
}

impl Vmdk {
    /// Opens a sparse file, or a descriptor and its extents.
    ///
    /// # Errors
    /// [`Error::ContainerUnsupported`] for the kinds that are not read, [`Error::Field`], [`Error::Signature`],
    /// [`Error::Truncated`] for what contradicts the format, otherwise the operating system's.
    pub(super) fn open(raw: Raw) -> Result<Self> {
        let mut magic = vec![0; DESCRIPTOR_MAGIC.len()];
        if raw.len() < magic.len() as u64 {
            return Err(Error::Signature { container: NAME, structure: "header", at: 0 });
        }
        raw.read_at(0, &mut magic)?;
        if magic.starts_with(&MAGIC) {
            Self::open_sparse(raw)
        } else if magic == DESCRIPTOR_MAGIC {
            Self::open_descriptor(raw)
        } else {
            Err(Error::Signature { container: NAME, structure: "header", at: 0 })
        }
    }

    fn open_sparse(raw: Raw) -> Result<Self> {
        let sparse = Sparse::open(raw)?;
        let mut kind = String::new();
        if let Some(extent) = sparse.descriptor() {
            let descriptor = read_descriptor(sparse.raw(), extent)?;
            check_kind(sparse.raw().path(), &descriptor)?;
            kind = descriptor.kind;
        }
        let size = sparse.len();
        let parts = vec![Part { extent: Extent::new(0, size), source: Source::Sparse(Box::new(sparse)) }];
        Ok(Self { text: None, parts, size, kind })
    }

    fn open_descriptor(raw: Raw) -> Result<Self> {
        let descriptor = read_descriptor(&raw, Extent::new(0, raw.len()))?;
        check_kind(raw.path(), &descriptor)?;
        let mut size = 0u64;
        let mut parts = Vec::new();
        for listed in &descriptor.extents {
            let length = listed.sectors.checked_mul(SECTOR).filter(|length| *length > 0);
            let end = length.and_then(|length| size.checked_add(length)).filter(|end| *end <= LARGEST_DISK_BYTES);
            let (Some(length), Some(end)) = (length, end) else {
                return Err(field("descriptor", 0, "extent length", listed.sectors));
            };
            let source = Source::open(&raw, listed, length)?;
            parts.push(Part { extent: Extent::new(size, length), source });
            size = end;
        }
        if parts.is_empty() {
            return Err(field("descriptor", 0, "number of extents", 0));
        }
        Ok(Self { text: Some(raw), parts, size, kind: descriptor.kind })
    }

    /// Returns the file that was opened.
    pub(super) fn raw(&self) -> &Raw {
        let first = self.parts.first().and_then(|part| part.source.raw());
        self.text.as_ref().or(first).expect("a disk has a descriptor of its own or is a sparse file")
    }

    /// Returns every file of the disk.
    pub(super) fn files(&self) -> impl Iterator<Item = &Raw> {
        self.text.iter().chain(self.parts.iter().filter_map(|part| part.source.raw()))
    }

    /// Returns the bytes of a grain, if the disk is stored in grains.
    pub(super) fn grain_bytes(&self) -> Option<u64> {
        self.parts.iter().find_map(|part| match &part.source {
            Source::Sparse(sparse) => Some(sparse.grain_bytes()),
            Source::Zero | Source::Flat(..) => None,
        })
    }

    /// Returns `createType`.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns what is noteworthy about the container.
    pub(super) fn notes(&self) -> Vec<String> {
        let files = self.files().count();
        vec![format!("a VMDK of the kind {:?} in {files} file{}", self.kind, if files == 1 { "" } else { "s" })]
    }
}

impl Source {
    fn open(descriptor: &Raw, listed: &Listed, length: u64) -> Result<Self> {
        if listed.kind == "ZERO" {
            return Ok(Self::Zero);
        }
        if !matches!(listed.kind.as_str(), "FLAT" | "SPARSE") {
            return Err(unsupported(descriptor.path(), "a VMDK with extents that are neither flat nor sparse"));
        }
        let name = Path::new(&listed.file);
        let is_plain = name.file_name() == Some(name.as_os_str()) && !listed.file.contains(['\\', ':', '\0']);
        let folder = descriptor.path().canonicalize().map_err(fs::failed("open", descriptor.path()))?;
        let path = folder.with_file_name(name);
        let outside = || Error::ParentOutside { path: path.clone() };
        if !is_plain {
            return Err(outside());
        }
        let real = path.canonicalize().map_err(fs::failed("open", &path))?;
        if real.parent() != folder.parent() {
            return Err(outside());
        }
        if real == folder {
            return Err(Error::ParentLoop { path });
        }
        let raw = Raw::open(&real)?;
        if listed.kind == "SPARSE" {
            let sparse = Sparse::open(raw)?;
            if sparse.len() < length {
                return Err(field("extent, which is shorter than its line says,", 0, "length", sparse.len()));
            }
            return Ok(Self::Sparse(Box::new(sparse)));
        }
        let at = listed.at.checked_mul(SECTOR);
        match at.and_then(|at| at.checked_add(length)) {
            Some(end) if end <= raw.len() => Ok(Self::Flat(raw, at.unwrap_or(0))),
            _ => {
                let (structure, at, size) = ("flat extent", at.unwrap_or(u64::MAX), raw.len());
                Err(Error::Truncated { container: NAME, structure, at, length, size })
            }
        }
    }

    fn raw(&self) -> Option<&Raw> {
        match self {
            Self::Zero => None,
            Self::Flat(raw, _) => Some(raw),
            Self::Sparse(sparse) => Some(sparse.raw()),
        }
    }

    /// Fills `buf` with bytes of the extent.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        match self {
            Self::Zero => {
                buf.fill(0);
                Ok(())
            }
            Self::Flat(raw, from) => Ok(raw.read_at(from.saturating_add(at), buf)?),
            Self::Sparse(sparse) => sparse.read_at(at, buf),
        }
    }

    fn next_data(&self, from: u64) -> Result<Option<Extent>> {
        match self {
            Self::Zero => Ok(None),
            Self::Flat(raw, start) => {
                let data = raw.next_data(start.saturating_add(from))?;
                Ok(data.map(|data| Extent::new(data.offset.saturating_sub(*start), data.length)))
            }
            Self::Sparse(sparse) => sparse.next_data(from),
        }
    }
}

impl ReadAt for Vmdk {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        check_range(at, buf.len(), self.size)?;
        let find = |at| {
            let part = self.parts.get(self.parts.partition_point(|part| part.extent.end() <= at));
            // The extents lie one behind the other and reach to the end of the disk.
            let part = part.ok_or_else(|| field("descriptor", 0, "extents, too few for the disk,", at))?;
            Ok((part, part.extent.end().saturating_sub(at)))
        };
        Ok(pieces::fill(at, buf, find, |part, at, piece| {
            part.source.read_at(at.saturating_sub(part.extent.offset), piece)
        })?)
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        let first = self.parts.partition_point(|part| part.extent.end() <= from);
        for part in self.parts.iter().skip(first) {
            let within = from.saturating_sub(part.extent.offset);
            let data = part.source.next_data(within)?.and_then(|data| before(data, part.extent.length));
            if let Some(data) = data {
                return Ok(Some(on_disk(part.extent.offset, 0, data)));
            }
        }
        Ok(None)
    }
}

fn read_descriptor(raw: &Raw, extent: Extent) -> Result<Descriptor> {
    let Extent { offset: at, length } = extent;
    if length > BYTES_MAX || at.checked_add(length).is_none_or(|end| end > raw.len()) {
        let (structure, size) = ("descriptor", raw.len());
        return Err(Error::Truncated { container: NAME, structure, at, length, size });
    }
    let mut bytes = vec![0; read::size(length)];
    raw.read_at(at, &mut bytes)?;
    Descriptor::parse(&bytes, at)
}

fn check_kind(path: &Path, descriptor: &Descriptor) -> Result<()> {
    if descriptor.parent.is_some() {
        return Err(unsupported(path, "a VMDK that holds only the changes against a parent"));
    }
    match descriptor.kind.as_str() {
        "monolithicSparse"
        | "monolithicFlat"
        | "streamOptimized"
        | "twoGbMaxExtentSparse"
        | "twoGbMaxExtentFlat"
        | "vmfs" => Ok(()),
        _ => Err(unsupported(path, "a VMDK of a kind that is not read")),
    }
}

fn unsupported(path: &Path, container: &'static str) -> Error {
    Error::ContainerUnsupported { path: path.to_owned(), container, hint: CONVERT }
}
