//! A disk image file of any supported format: where opening one begins.
//!
//! The format is found by signatures, or named by the caller; then all of the format's own checks must pass. A name's
//! ending decides nothing. A raw disk has no signature of a container: one whose name is another container's is taken
//! for raw only if its partition table or boot sector shows that it is whole, because a VHD that lost its footer with a
//! part of its disk begins like a raw disk too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::file_name::{Named, named};
use super::in_place::{Pending, pending, refuse_finished};
use super::parent::{Identity, Lineage, Link, OpenParent, Parent};
use super::plan::Plan;
use super::signature::Handled;
use super::vhd::{Footer, Vhd};
use super::vhdx::Vhdx;
use super::vmdk::Vmdk;
use super::{Error, Format, Raw, Result, ovf, signature};
use coldforge_base::{Extent, ReadAt, device};

/// A disk image file, opened for reading under a shared lock; several threads may read it at once.
#[derive(Debug)]
pub struct Image {
    container: Container,
    /// The parent of a differencing disk, which the container reads too.
    parent: Option<Arc<Self>>,
}

#[derive(Debug)]
enum Container {
    Raw(Raw),
    Vhd(Vhd),
    Vhdx(Box<Vhdx>),
    Vmdk(Vmdk),
}

impl Container {
    /// Opens a file as a container of the kind that a format names.
    fn open(raw: Raw, format: Format, open_parent: &mut OpenParent<'_>) -> Result<Self> {
        match format {
            Format::Raw => Ok(Self::Raw(raw)),
            Format::VhdFixed | Format::VhdDynamic | Format::VhdDelta => Vhd::open(raw, open_parent).map(Self::Vhd),
            Format::VhdxFixed | Format::VhdxDynamic | Format::VhdxDelta => {
                Ok(Self::Vhdx(Box::new(Vhdx::open(raw, open_parent)?)))
            }
            Format::Vmdk => Vmdk::open(raw).map(Self::Vmdk),
        }
    }
}

impl Image {
    /// What is said of an image whose run in place was broken off before its evidence was whole.
    pub const UNSETTLED: &'static str = "a run in place wrote all of this image and was broken off before its evidence was \
        whole: `coldforge undo` takes it back, and `coldforge undo --forget` keeps it without evidence";

    /// Opens an image of the named format, or of the format that its signatures tell. The parents of a differencing
    /// disk are looked for in its own folder.
    ///
    /// # Errors
    /// Refusals by name ([`Error::NotAFile`], [`Error::Empty`], [`Error::Busy`], [`Error::NotAnImage`],
    /// [`Error::ContainerUnsupported`], [`Error::Ambiguous`], [`Error::FormatMismatch`], [`Error::SavedState`],
    /// [`Error::UnfinishedRun`], those of parents), what contradicts the format, otherwise the operating system's.
    pub fn open(path: &Path, format: Option<Format>) -> Result<Self> {
        Self::open_in(path, format, &mut Lineage::default())
    }

    /// Opens an image as [`Image::open`] does; if it is a differencing disk, `parent` is the file that it stands on,
    /// wherever that lies.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub fn open_over(path: &Path, format: Option<Format>, parent: &Path) -> Result<Self> {
        Self::open_in(path, format, &mut Lineage::new(Some(parent)))
    }

    /// Opens an image as [`Image::open`] or, where a parent is named, as [`Image::open_over`] does.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub fn open_as(path: &Path, format: Option<Format>, parent: Option<&Path>) -> Result<Self> {
        Self::open_in(path, format, &mut Lineage::new(parent))
    }

    fn open_in(path: &Path, format: Option<Format>, lineage: &mut Lineage<'_>) -> Result<Self> {
        Self::of_raw(Raw::open(path)?, format, lineage)
    }

    /// Opens a file that is locked already as an image of one format that needs no parent, or finds the parents beside it.
    pub(super) fn of(raw: Raw, format: Format) -> Result<Self> {
        Self::of_raw(raw, Some(format), &mut Lineage::default())
    }

    fn of_raw(raw: Raw, format: Option<Format>, lineage: &mut Lineage<'_>) -> Result<Self> {
        let path = raw.path().to_owned();
        let mut parent = None;
        let mut open_parent = |child: &Raw, link: Link| {
            let image = Arc::new(Self::open_in(&lineage.find(child, &link.paths)?, None, lineage)?);
            if !image.has_identity(&link.identity)? {
                return Err(Error::ParentChanged { path: image.path().to_owned() });
            }
            let device = Parent::of(Arc::<Self>::clone(&image));
            parent = Some(image);
            Ok(device)
        };
        let container = match format {
            None => detect(raw, &mut open_parent)?,
            Some(format) => Container::open(raw, format, &mut open_parent)?,
        };
        let image = Self { container, parent };
        match format {
            Some(expected) if expected != image.format() => {
                Err(Error::FormatMismatch { path, expected, actual: image.format() })
            }
            _ => Ok(image),
        }
    }

    /// Tells whether the image is the one that a differencing disk names as its parent.
    fn has_identity(&self, identity: &Identity) -> Result<bool> {
        match (identity, &self.container) {
            (Identity::Vhd(id), Container::Vhd(vhd)) => Ok(vhd.unique_id()? == *id),
            (Identity::Vhdx { linkages, logical_sector }, Container::Vhdx(vhdx)) => {
                let id = format!("{{{}}}", vhdx.data_write());
                let is_linked = linkages.iter().any(|linkage| linkage.eq_ignore_ascii_case(&id));
                Ok(is_linked && vhdx.sectors().0 == *logical_sector)
            }
            _ => Ok(false),
        }
    }

    /// Returns the path that was opened.
    pub fn path(&self) -> &Path {
        self.raw().path()
    }

    /// Returns the format.
    pub fn format(&self) -> Format {
        match &self.container {
            Container::Raw(_) => Format::Raw,
            Container::Vhd(Vhd::Fixed(_)) => Format::VhdFixed,
            Container::Vhd(Vhd::Dynamic(_)) => Format::VhdDynamic,
            Container::Vhd(Vhd::Differencing(_)) => Format::VhdDelta,
            Container::Vhdx(_) if self.parent.is_some() => Format::VhdxDelta,
            Container::Vhdx(vhdx) if vhdx.is_fixed() => Format::VhdxFixed,
            Container::Vhdx(_) => Format::VhdxDynamic,
            Container::Vmdk(_) => Format::Vmdk,
        }
    }

    /// Returns the length of the file in bytes, which is not the size of the disk.
    pub fn file_len(&self) -> u64 {
        self.raw().len()
    }

    /// Returns the parent of a differencing disk.
    pub fn parent(&self) -> Option<&Self> {
        self.parent.as_deref()
    }

    /// Returns what is known of the container, beyond its format and sizes.
    pub fn health(&self) -> Health {
        let (block_bytes, stored_blocks) = match &self.container {
            Container::Raw(_) | Container::Vhd(Vhd::Fixed(_)) => (None, None),
            Container::Vhd(Vhd::Dynamic(dynamic)) => (Some(dynamic.block_bytes()), Some(dynamic.stored())),
            Container::Vhd(Vhd::Differencing(differencing)) => {
                (Some(differencing.child().block_bytes()), Some(differencing.child().stored()))
            }
            Container::Vhdx(vhdx) => {
                let (block_bytes, stored) = vhdx.blocks();
                (Some(block_bytes), Some(stored))
            }
            Container::Vmdk(vmdk) => (vmdk.grain_bytes(), None),
        };
        let mut notes = match &self.container {
            Container::Vhdx(vhdx) => vhdx.notes(),
            Container::Vmdk(vmdk) => vmdk.notes(),
            Container::Raw(_) | Container::Vhd(_) => Vec::new(),
        };
        let format = self.format();
        if let Some(called) = named(self.path()).filter(|called| !called.fits(format)) {
            notes.push(format!("{}, and it is {format}: the content decides, and copies are named so", called.claim()));
        }
        match pending(self.path()) {
            Ok(Some(Pending::Finished)) => {
                notes.push("a run in place can be taken back: its undo journal is there".to_owned());
            }
            Ok(Some(Pending::Unsettled)) => notes.push(Self::UNSETTLED.to_owned()),
            _ => {}
        }
        let parents = std::iter::successors(self.parent(), |image| image.parent());
        let parents = parents.map(|parent| parent.path().to_owned()).collect();
        Health { sector_bytes: self.sector_bytes(), block_bytes, stored_blocks, parents, notes }
    }

    /// Tells whether the image is a VHDX whose log must be replayed into it first: what is read here is replayed in memory.
    pub fn has_log(&self) -> bool {
        self.vhdx().is_some_and(Vhdx::has_log)
    }

    /// Returns the kind of a VMDK, as its descriptor has it, such as `streamOptimized`.
    pub fn vmdk_kind(&self) -> Option<&str> {
        if let Container::Vmdk(vmdk) = &self.container { Some(vmdk.kind()) } else { None }
    }

    /// Checks that no other program has changed the file, or a parent's, since it was opened.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] if one has, otherwise the operating system's.
    pub fn unchanged(&self) -> Result<()> {
        let mut images = std::iter::successors(Some(self), |image| image.parent());
        images.try_for_each(|image| match &image.container {
            Container::Vmdk(vmdk) => vmdk.files().try_for_each(Raw::unchanged),
            _ => image.raw().unchanged(),
        })
    }

    /// Returns the container file.
    pub(super) fn raw(&self) -> &Raw {
        match &self.container {
            Container::Raw(raw) => raw,
            Container::Vhd(vhd) => vhd.raw(),
            Container::Vhdx(vhdx) => vhdx.raw(),
            Container::Vmdk(vmdk) => vmdk.raw(),
        }
    }

    /// Returns the VHD, if the image is one.
    pub(super) fn vhd(&self) -> Option<&Vhd> {
        if let Container::Vhd(vhd) = &self.container { Some(vhd) } else { None }
    }

    /// Returns the VHDX, if the image is one.
    pub(super) fn vhdx(&self) -> Option<&Vhdx> {
        if let Container::Vhdx(vhdx) = &self.container { Some(vhdx) } else { None }
    }

    /// Returns the format of a differencing disk that has this image as its parent; `None` if there can be none.
    pub fn delta_format(&self) -> Option<Format> {
        match &self.container {
            Container::Raw(_) | Container::Vmdk(_) => None,
            Container::Vhd(_) => Some(Format::VhdDelta),
            Container::Vhdx(_) => Some(Format::VhdxDelta),
        }
    }

    /// Tells whether a copy of the file is brought to a changed disk by few writes.
    pub(super) fn can_be_patched(&self) -> bool {
        matches!(self.format(), Format::Raw | Format::VhdFixed | Format::VhdDynamic)
    }

    /// Returns the writes that bring `changed` extents of the disk, which are normalized, into a copy of the file.
    ///
    /// # Errors
    /// [`Error::InPlace`] for a container of which that is not known, otherwise what the container answers.
    pub(super) fn plan(&self, changed: &[Extent]) -> Result<Plan> {
        match &self.container {
            Container::Vhd(Vhd::Dynamic(dynamic)) => dynamic.plan(changed),
            Container::Raw(_) | Container::Vhd(Vhd::Fixed(_)) => Ok(Plan::in_order(self.file_len(), changed)),
            Container::Vhd(Vhd::Differencing(_)) => Err(Error::InPlace { container: "a differencing VHD" }),
            Container::Vhdx(_) => Err(Error::InPlace { container: "a VHDX" }),
            Container::Vmdk(_) => Err(Error::InPlace { container: "a VMDK" }),
        }
    }

    /// Checks that the image can be written in place, as far as that is known before anything is to be written.
    ///
    /// # Errors
    /// [`Error::InPlace`] for a container that is not, [`Error::UndoExists`] if the journal of an earlier run is there.
    pub fn check_in_place(&self) -> Result<()> {
        self.plan(&[])?;
        refuse_finished(self.path())
    }

    fn device(&self) -> &dyn ReadAt {
        match &self.container {
            Container::Raw(raw) => raw,
            Container::Vhd(vhd) => vhd.device(),
            Container::Vhdx(vhdx) => &**vhdx,
            Container::Vmdk(vmdk) => vmdk,
        }
    }
}

/// What is known of a container beyond its format and sizes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Health {
    /// Bytes of the disk's logical sectors, if the container says so.
    pub sector_bytes: Option<u32>,
    /// Bytes of a block, if the disk is stored in blocks.
    pub block_bytes: Option<u64>,
    /// How many blocks the file holds.
    pub stored_blocks: Option<u64>,
    /// The files that a differencing disk stands on, the nearest first.
    pub parents: Vec<PathBuf>,
    /// What is noteworthy, one sentence each.
    pub notes: Vec<String>,
}

impl ReadAt for Image {
    fn len(&self) -> u64 {
        self.device().len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        self.device().read_at(at, buf)
    }

    fn sector_bytes(&self) -> Option<u32> {
        self.vhdx().map(|vhdx| vhdx.sectors().0)
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        self.device().next_data(from)
    }
}

/// Virtual PC before 2004 wrote footers without their last byte.
const OLD_FOOTER_BYTES: u64 = 511;

/// Opens the container that a file's signatures tell.
fn detect(raw: Raw, open_parent: &mut OpenParent<'_>) -> Result<Container> {
    let path = raw.path().to_owned();
    let head = head(&raw)?;
    let foreign = signature::container(&head);
    let begins = has_cookie_at(&raw, Some(0))?;
    let ends = has_cookie_at(&raw, raw.len().checked_sub(Footer::BYTES as u64))?;
    if let (true, Some(foreign)) = (ends, foreign) {
        return Err(Error::Ambiguous { path, first: "its end calls it a VHD", second: foreign.name });
    }
    if let Some(foreign) = foreign {
        match foreign.handled {
            Handled::No => {}
            Handled::Vhdx => return Ok(Container::Vhdx(Box::new(Vhdx::open(raw, open_parent)?))),
            Handled::Vmdk => return Vmdk::open(raw).map(Container::Vmdk),
        }
        return Err(Error::ContainerUnsupported { path, container: foreign.name, hint: foreign.hint });
    }
    if !ends && has_cookie_at(&raw, raw.len().checked_sub(OLD_FOOTER_BYTES))? {
        let container = "a VHD of the kind that Virtual PC made before 2004";
        let hint = "convert it to a new VHD, for example with `qemu-img convert -O vpc`";
        return Err(Error::ContainerUnsupported { path, container, hint });
    }
    if begins || ends {
        return Vhd::open(raw, open_parent).map(Container::Vhd);
    }
    if let Some(disks) = ovf::disks(&raw)? {
        return Err(Error::Ovf { path, disks });
    }
    let name = named(&path).filter(|name| *name != Named::Raw);
    if name.is_some() && signature::is_whole_disk(&raw)? && !ends_like_a_footer(&raw)? {
        return Ok(Container::Raw(raw));
    }
    match name {
        Some(Named::Vhd) => Vhd::open(raw, open_parent).map(Container::Vhd),
        _ if !signature::is_disk(&raw)? => Err(Error::NotAnImage { path }),
        Some(name) => {
            let second = "its content begins like a raw disk that is not whole";
            Err(Error::Ambiguous { path, first: name.claim(), second })
        }
        None => Ok(Container::Raw(raw)),
    }
}

/// Reads the first bytes of a file, as many as container signatures need.
fn head(raw: &Raw) -> Result<Vec<u8>> {
    let length = usize::try_from(raw.len()).unwrap_or(usize::MAX).min(signature::CONTAINER_HEAD_BYTES);
    let mut head = vec![0; length];
    raw.read_at(0, &mut head)?;
    Ok(head)
}

/// How many bytes of a damaged footer's cookie may be other ones.
const COOKIE_BYTES_DAMAGED: usize = 3;

/// Tells whether the last sector of a file begins nearly like a VHD's footer: what is named like one is a damaged VHD then.
fn ends_like_a_footer(raw: &Raw) -> Result<bool> {
    let mut found = [0; Footer::COOKIE.len()];
    let Some(at) = raw.len().checked_sub(Footer::BYTES as u64) else { return Ok(false) };
    raw.read_at(at, &mut found)?;
    let damaged = found.iter().zip(Footer::COOKIE).filter(|(found, right)| **found != *right).count();
    Ok(damaged <= COOKIE_BYTES_DAMAGED)
}

fn has_cookie_at(raw: &Raw, at: Option<u64>) -> Result<bool> {
    let mut cookie = [0; Footer::COOKIE.len()];
    match at {
        Some(at) if raw.len().saturating_sub(at) >= cookie.len() as u64 => {
            raw.read_at(at, &mut cookie)?;
            Ok(cookie == Footer::COOKIE)
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::super::UnknownFormat;
    use super::super::file_name::file_name;
    use super::super::vhd::sample::{self, BLOCK};
    use super::*;
    use coldforge_base::Failure as _;

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; BLOCK as usize];
        disk[3..11].copy_from_slice(b"NTFS    ");
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        disk
    }

    fn open_as(name: &str, bytes: &[u8], format: Option<Format>) -> Result<Image> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Image::open(&path, format)
    }

    fn code(name: &str, bytes: &[u8], format: Option<Format>) -> &'static str {
        open_as(name, bytes, format).unwrap_err().code().expect("a refusal has a code")
    }

    #[test]
    fn formats_are_found_by_content_whatever_the_name() {
        for (bytes, format) in [
            (disk(), Format::Raw),
            (sample::fixed(&disk()), Format::VhdFixed),
            (sample::dynamic(BLOCK, &[(0, disk())]), Format::VhdDynamic),
        ] {
            for name in ["disk", "disk.img", "disk.raw"] {
                for asked in [None, Some(format)] {
                    let image = open_as(name, &bytes, asked).unwrap();
                    assert_eq!((image.format(), image.len(), image.file_len()), (format, BLOCK, bytes.len() as u64));
                    let mut read = vec![0; BLOCK as usize];
                    image.read_at(0, &mut read).unwrap();
                    assert!(read == disk());
                }
            }
            for asked in Format::ALL.into_iter().filter(|asked| *asked != format && *asked != Format::Raw) {
                let expected = match (format, asked.ending()) {
                    (_, "vhdx") => "E-VHDX-CORRUPT",
                    (_, "vmdk") => "E-VMDK-CORRUPT",
                    (Format::Raw, _) => "E-VHD-CORRUPT",
                    _ => "E-FORMAT-MISMATCH",
                };
                assert_eq!(code("disk", &bytes, Some(asked)), expected, "{format} as {asked}");
            }
        }
    }

    /// A disk with a master boot record whose one partition takes all of it.
    fn with_table(partition_sectors: u32) -> Vec<u8> {
        let mut disk = vec![0; BLOCK as usize];
        disk[446..458].copy_from_slice(b"\x80\0\0\0\x07\0\0\0\x08\0\0\0");
        disk[458..462].copy_from_slice(&partition_sectors.to_le_bytes());
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        disk
    }

    #[test]
    fn a_raw_disk_of_any_name_is_raw_if_it_is_whole() {
        let sectors = (BLOCK / 512) as u32 - 8;
        let mut volume = disk();
        volume[11..13].copy_from_slice(&512u16.to_le_bytes());
        volume[0x28..0x30].copy_from_slice(&(BLOCK / 512 - 1).to_le_bytes());
        for name in ["a.vhd", "a.avhd", "a.VHDX", "a.vmdk", "a.qcow2", "a.vdi"] {
            for whole in [with_table(sectors), volume.clone()] {
                let image = open_as(name, &whole, None).unwrap();
                assert_eq!(image.format(), Format::Raw, "{name}");
                assert!(image.health().notes[0].contains("the content decides"), "{name}");
            }
            let cut = if name.ends_with("vhd") { "E-VHD-CORRUPT" } else { "E-IMAGE-AMBIGUOUS" };
            let mut cut_volume = volume.clone();
            cut_volume[0x28..0x30].copy_from_slice(&(BLOCK / 512).to_le_bytes());
            for bytes in [with_table(sectors + 1), cut_volume] {
                let error = open_as(name, &bytes, None).unwrap_err();
                assert_eq!(error.code(), Some(cut), "{name}");
                assert!(error.hint().unwrap().contains("--input-format raw"), "{name}: {error}");
            }
        }
    }

    #[test]
    fn a_container_of_any_name_is_what_its_signature_says_and_gives_its_copies_their_names() {
        for (bytes, format) in
            [(sample::fixed(&disk()), Format::VhdFixed), (sample::dynamic(BLOCK, &[(0, disk())]), Format::VhdDynamic)]
        {
            for name in ["a.vhdx", "a.raw", "a.vmdk", "a.qcow2"] {
                let image = open_as(name, &bytes, None).unwrap();
                assert_eq!(image.format(), format);
                assert!(image.health().notes[0].contains("the content decides"), "{name}");
                assert_eq!(file_name(name, format), "a.vhd");
            }
        }
        for (name, format, expected) in [
            ("x.vhd", Format::VhdxDynamic, "x.vhdx"),
            ("x.VHD", Format::VhdFixed, "x.VHD"),
            ("x.vhd", Format::Raw, "x.raw"),
            ("x.vmdk", Format::Raw, "x.raw"),
            ("x-flat.vmdk", Format::Raw, "x-flat.raw"),
            ("X-FLAT.VMDK", Format::Raw, "X-FLAT.raw"),
            ("x-flat.vmdk", Format::Vmdk, "x-flat.vmdk"),
            ("x-flat.vmdk", Format::VhdDynamic, "x-flat.vhd"),
            ("x.img", Format::Raw, "x.img"),
            ("x.img", Format::VhdDynamic, "x.vhd"),
            ("x.qcow2", Format::Raw, "x.raw"),
            ("x.avhdx", Format::VhdxDynamic, "x.vhdx"),
            ("disk", Format::Raw, "disk"),
            ("disk", Format::VhdFixed, "disk.vhd"),
            ("base.v1", Format::Vmdk, "base.v1.vmdk"),
            (".vhd", Format::Raw, ".vhd.raw"),
            ("vhd", Format::Raw, "vhd"),
        ] {
            assert_eq!(file_name(name, format), expected, "{name} as {format}");
        }
    }

    #[test]
    fn an_ovf_says_that_it_names_a_disk_and_which() {
        let ovf = "<?xml version='1.0'?><Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/2'><References>\
                   <File href='disk \u{202e}1.vmdk'/></References></Envelope>";
        for name in ["a.ovf", "a.vhd", "a"] {
            let error = open_as(name, ovf.as_bytes(), None).unwrap_err();
            assert_eq!(error.code(), Some("E-CONTAINER-UNSUPPORTED"));
            let said = error.to_string();
            assert!(said.contains("OVF") && said.contains("disk \\u{202e}1.vmdk"), "{said}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_name_or_a_second_signature_that_contradicts_is_asked_about() {
        for name in ["a.vhdx", "a.VMDK", "a.qcow2", "a.vdi"] {
            assert_eq!(code(name, &disk(), None), "E-IMAGE-AMBIGUOUS");
            assert_eq!(open_as(name, &disk(), Some(Format::Raw)).unwrap().format(), Format::Raw);
        }
        open_as("a-flat.vmdk", &disk(), None).unwrap();
        let mut both = sample::fixed(&disk());
        both[..8].copy_from_slice(b"vhdxfile");
        assert_eq!(code("both", &both, None), "E-IMAGE-AMBIGUOUS");
        both[..8].copy_from_slice(b"conectix");
        assert_eq!(code("both", &both, None), "E-IMAGE-AMBIGUOUS");
    }

    #[test]
    fn a_vhd_without_its_footer_is_never_taken_for_a_raw_disk() {
        assert_eq!(code("a.vhd", &disk(), None), "E-VHD-CORRUPT");
        assert_eq!(code("a.VHD", &sample::fixed(&disk())[..BLOCK as usize + 100], None), "E-VHD-CORRUPT");
        let dynamic = sample::dynamic(BLOCK, &[(0, disk())]);
        assert_eq!(code("a", &dynamic[..dynamic.len() - 512], None), "E-VHD-CORRUPT", "its beginning tells");
        let mut old = sample::fixed(&disk());
        old.pop();
        assert_eq!(code("a", &old, None), "E-CONTAINER-UNSUPPORTED", "a footer of 511 bytes");
    }

    #[test]
    fn what_is_no_disk_and_what_is_foreign_is_refused_by_name() {
        assert_eq!(code("a", &[0; 4096], None), "E-NOT-AN-IMAGE");
        assert_eq!(code("a", b"x", None), "E-NOT-AN-IMAGE");
        assert_eq!(code("a", b"", None), "E-IMAGE-EMPTY");
        assert_eq!(code("a", &[&b"vhdxfile"[..], &[0; 4096]].concat(), None), "E-VHDX-CORRUPT");
        assert_eq!(code("a", &[&b"KDMV"[..], &[0; 4096]].concat(), None), "E-VMDK-CORRUPT");
        for magic in ["COWD", "QFI\u{fb}"] {
            let mut bytes: Vec<u8> = magic.chars().map(|c| c as u8).collect();
            bytes.resize(4096, 0);
            let error = open_as("a", &bytes, None).unwrap_err();
            assert_eq!(error.code(), Some("E-CONTAINER-UNSUPPORTED"));
            assert!(error.hint().unwrap().contains("qemu-img"));
        }
    }

    #[test]
    fn encrypted_and_refs_volumes_pass_as_raw_for_the_floor_that_names_them() {
        for (at, name) in [(3, b"-FVE-FS-"), (3, b"ReFS\0\0\0\0")] {
            let mut disk = vec![0; 4096];
            disk[at..at + 8].copy_from_slice(name);
            assert_eq!(open_as("a", &disk, None).unwrap().format(), Format::Raw);
        }
    }

    #[test]
    fn format_words_read_back_and_images_cross_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Image>();
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
            assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
        }
        assert_eq!("qcow2".parse::<Format>(), Err(UnknownFormat));
    }
}
