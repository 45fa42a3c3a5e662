//! A new image file that holds the disk as an overlay shows it, in the container of the source or in another one.
//!
//! In the same container the source's file is cloned where the file system can, otherwise copied without its holes; then
//! the changed extents are written into the copy. Other containers are made anew from the disk's contents. What was
//! written is flushed, opened again and compared, and only then gets its name. Until that moment the output has a
//! temporary name in the same folder; after a failure neither name exists. An existing file is never replaced.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::compare::{check_written, differences};
use super::emit::{self, DiskProperties, Sink};
use super::pieces::{for_each_piece, is_zero};
use super::plan::PlannedWrite;
use super::{Error, Format, Image, Overlay, Raw, Result, linear};
use coldforge_base::interrupt::TemporaryGuard;
use coldforge_base::progress::Progress;
use coldforge_base::{Extent, ReadAt, fs, temporary};

/// How much is copied between two signs of progress.
const COPIED_AT_ONCE: u64 = 16 << 20;
/// Memory for what passes through this process.
const BUFFER_BYTES: usize = 1 << 20;

/// The container that an export writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// The source's; that of a differencing disk, which needs its parents, becomes a dynamic one.
    Same,
    /// A named one. A differencing format is written as [`Format::alone`] of it: what needs a parent is asked for by
    /// [`Target::Delta`].
    Format(Format),
    /// A differencing disk with the source as its parent: only what changed.
    Delta,
}

/// What an export wrote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exported {
    /// The ranges of the disk that differ from the source, in bytes of the disk.
    pub changed: Vec<Extent>,
    /// The format of the new file.
    pub format: Format,
    /// Length of the new file in bytes.
    pub file_bytes: u64,
    /// How many blocks a dynamic VHD gained.
    pub added_blocks: u64,
    /// Whether the file system shares the unchanged bytes with the source.
    pub cloned: bool,
    /// The EBS LINEAR checksum of the disk in base64 and the number of its blocks, where it fell out on the way.
    pub ebs: Option<(String, u64)>,
}

/// Writes the disk that `overlay` shows to the new file `out`, in the container format of the image below it.
///
/// # Errors
/// [`Error::OutputExists`], [`Error::SourceChanged`] if another program changed the source since it was opened,
/// [`Error::VhdFull`], [`Error::ReadBack`] if the written file does not hold what it should, otherwise the operating
/// system's. After an error there is no file at `out` that was not there before, and no temporary file.
pub fn export(overlay: &Overlay<&Image>, out: &Path, progress: &dyn Progress) -> Result<Exported> {
    write(overlay, out, Target::Same, Sums::Made, progress, &Allowed)
}

/// Writes the disk that `overlay` shows to the new file `out`, in a container of choice.
///
/// # Errors
/// Those of [`export`], and for what the container cannot hold [`Error::TooLarge`], [`Error::OddSize`],
/// [`Error::SectorSize`], [`Error::Delta`].
pub fn export_as(overlay: &Overlay<&Image>, out: &Path, target: Target, progress: &dyn Progress) -> Result<Exported> {
    write(overlay, out, target, Sums::Made, progress, &Allowed)
}

/// Writes the disk of an image to the new file `out`, in another container or anew in the same; [`Exported::ebs`] is
/// there always.
///
/// # Errors
/// Those of [`export_as`].
pub fn convert(image: &Image, out: &Path, format: Format, progress: &dyn Progress) -> Result<Exported> {
    write(&Overlay::new(image), out, Target::Format(format), Sums::Wanted, progress, &Allowed)
}

/// Whether the EBS LINEAR checksum is wanted where it does not fall out on the way.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Sums {
    Wanted,
    Made,
}

/// Is asked before each deed on the output, so that tests can let any of them fail.
trait Permit {
    fn ask(&self, deed: &'static str) -> io::Result<()>;
}

/// Every deed may be tried.
struct Allowed;

impl Permit for Allowed {
    fn ask(&self, _: &'static str) -> io::Result<()> {
        Ok(())
    }
}

fn write(
    overlay: &Overlay<&Image>,
    out: &Path,
    target: Target,
    sums: Sums,
    progress: &dyn Progress,
    permit: &dyn Permit,
) -> Result<Exported> {
    let image = *overlay.base();
    if out.symlink_metadata().is_ok() {
        return Err(Error::OutputExists { path: out.to_owned() });
    }
    image.unchanged()?;
    let changed = overlay.changed()?;
    let folder = fs::folder_of(out);
    let format = match target {
        Target::Same => image.format().alone(),
        Target::Format(format) => format.alone(),
        Target::Delta => image.delta_format().ok_or(Error::Delta { format: image.format() })?,
    };
    let output = Output::create(out, image.raw(), permit)?;
    let exported = if target != Target::Delta && format == image.format() && image.can_be_patched() {
        // The file is copied by the kernel, so that the disk is hashed beside it, from the same pages in memory.
        let sum = move || (sums == Sums::Wanted).then(|| linear(overlay)).transpose();
        std::thread::scope(|threads| -> Result<Exported> {
            let sum = threads.spawn(sum);
            let exported = patch(overlay, changed, &output, progress)?;
            Ok(Exported { ebs: sum.join().expect("hashing does not panic")?, ..exported })
        })?
    } else {
        remake(overlay, changed, &output, format, folder, progress)?
    };
    image.unchanged()?;
    output.publish(folder, out)?;
    Ok(exported)
}

/// Copies the source's file, and writes what changed into the copy.
fn patch(
    overlay: &Overlay<&Image>,
    changed: Vec<Extent>,
    output: &Output<'_>,
    progress: &dyn Progress,
) -> Result<Exported> {
    let image = *overlay.base();
    let source = image.raw();
    let plan = image.plan(&changed)?;
    progress.start("copy", source.len());
    let cloned = output.copy(source, progress)?;
    source.unchanged()?;

    progress.start("write changes", changed.iter().fold(0, |sum, extent| sum.saturating_add(extent.length)));
    output.resize(plan.file_bytes)?;
    let mut buf = vec![0; BUFFER_BYTES];
    for write in &plan.writes {
        match write {
            PlannedWrite::Structure { at, bytes } => output.put(*at, bytes)?,
            PlannedWrite::Data { at, extent } => {
                for_each_piece(*extent, &mut buf, |piece, buf| {
                    overlay.read_at(piece.offset, buf)?;
                    output.put(at.saturating_add(piece.offset.saturating_sub(extent.offset)), buf)?;
                    progress.advance(piece.length);
                    Ok(())
                })?;
            }
        }
    }
    output.flush_and(|| {
        let written = Image::open(output.path(), Some(image.format()))?;
        check_written(overlay, &written, &changed, &mut buf)
    })?;
    let (format, file_bytes, added_blocks) = (image.format(), plan.file_bytes, plan.added_blocks);
    Ok(Exported { changed, format, file_bytes, added_blocks, cloned, ebs: None })
}

/// Makes a new container.
fn remake(
    overlay: &Overlay<&Image>,
    changed: Vec<Extent>,
    output: &Output<'_>,
    format: Format,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Exported> {
    let image = *overlay.base();
    let is_delta = format != format.alone();
    let emitted = if is_delta {
        let path = windows_path(folder, image.path())?;
        emit::emit_delta(overlay, &changed, path, output, progress)?
    } else {
        emit::emit(overlay, format, DiskProperties::of(image)?, output, progress)?
    };
    output.flush_and(|| {
        let written = Image::open_as(output.path(), Some(format), is_delta.then_some(image.path()))?;
        if written.len() != overlay.len() {
            return Err(Error::ReadBack { at: written.len() });
        }
        if is_delta {
            // What is not in the child is read from the source itself.
            check_written(overlay, &written, &changed, &mut vec![0; BUFFER_BYTES])
        } else {
            let differing = differences(overlay, &written, progress)?;
            differing.first().map_or(Ok(()), |differs| Err(Error::ReadBack { at: differs.offset }))
        }
    })?;
    let ebs = (!is_delta).then_some((emitted.ebs_linear, emitted.ebs_blocks));
    let file_bytes = emitted.file_bytes;
    Ok(Exported { changed, format, file_bytes, added_blocks: 0, cloned: false, ebs })
}

/// Returns the relative path from a folder to a file, as Windows writes it.
fn windows_path(folder: &Path, file: &Path) -> Result<String> {
    let absolute = |path: &Path| path.canonicalize().map_err(fs::failed("open", path));
    let (folder, file) = (absolute(folder)?, absolute(file)?);
    let shared = folder.components().zip(file.components()).take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(shared).map(|_| "..".to_owned());
    let down = file.components().skip(shared).map(|part| part.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<String> = up.chain(down).collect();
    Ok(if folder.components().count() == shared { format!(".\\{}", parts.join("\\")) } else { parts.join("\\") })
}

impl Sink for Output<'_> {
    fn put(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.deed("write", |file| file.write_all_at(bytes, at))
    }

    fn resize(&self, length: u64) -> Result<()> {
        self.deed("resize", |file| file.set_len(length))
    }
}

/// The new file under its temporary name, which dies with this value.
struct Output<'a> {
    temporary: NamedTempFile,
    permit: &'a dyn Permit,
    _guard: TemporaryGuard,
}

impl<'a> Output<'a> {
    /// Creates the file beside its target, with the permissions of the source: it holds the same secrets.
    fn create(target: &Path, source: &Raw, permit: &'a dyn Permit) -> Result<Self> {
        let mode = source.metadata()?.permissions().mode() & 0o666 | 0o600;
        let folder = fs::folder_of(target);
        permit.ask("create").map_err(fs::failed("create a file in", folder))?;
        let made = temporary::file(target, mode);
        let (temporary, guard) = made.map_err(fs::failed("create a file in", folder))?;
        Ok(Self { temporary, permit, _guard: guard })
    }

    fn path(&self) -> &Path {
        self.temporary.path()
    }

    fn deed<T>(&self, deed: &'static str, act: impl FnOnce(&File) -> io::Result<T>) -> Result<T> {
        let outcome = self.permit.ask(deed).and_then(|()| act(self.temporary.as_file()));
        Ok(outcome.map_err(fs::failed(deed, self.path()))?)
    }

    /// Flushes the file while something else only reads it.
    fn flush_and(&self, read: impl FnOnce() -> Result<()>) -> Result<()> {
        let failed = |error| Error::from(fs::failed("flush", self.path())(error));
        self.permit.ask("flush").map_err(failed)?;
        let file = self.temporary.as_file();
        std::thread::scope(|threads| {
            let flushed = threads.spawn(|| file.sync_all());
            let read = read();
            flushed.join().expect("flushing does not panic").map_err(failed)?;
            read
        })
    }

    /// Fills the file with the source's bytes; tells whether the two share them.
    fn copy(&self, source: &Raw, progress: &dyn Progress) -> Result<bool> {
        if self.deed("clone", |file| Ok(rustix::fs::ioctl_ficlone(file, source.file())?)).is_ok() {
            progress.advance(source.len());
            return Ok(true);
        }
        self.resize(source.len())?;
        let mut by_kernel = true;
        let mut at = 0;
        // Each round passes an extent of the file system or ends.
        while let Some(data) = source.next_data(at)? {
            progress.advance(data.offset.saturating_sub(at));
            self.copy_extent(source, data, &mut by_kernel, progress)?;
            at = data.end();
        }
        progress.advance(source.len().saturating_sub(at));
        Ok(false)
    }

    fn copy_extent(&self, source: &Raw, data: Extent, by_kernel: &mut bool, progress: &dyn Progress) -> Result<()> {
        let mut buf = Vec::new();
        let mut at = data.offset;
        // Ends with the extent: each round copies at least one byte or fails.
        while at < data.end() {
            let length = data.end().saturating_sub(at);
            let copied = if *by_kernel {
                match self.copy_by_kernel(source, at, length.min(COPIED_AT_ONCE))? {
                    Some(copied) => copied,
                    None => {
                        *by_kernel = false;
                        continue;
                    }
                }
            } else {
                let length = length.min(BUFFER_BYTES as u64);
                buf.resize(usize::try_from(length).unwrap_or(BUFFER_BYTES), 0);
                source.read_at(at, &mut buf)?;
                // A block device knows no holes; the new file has them where nothing is written.
                if !is_zero(&buf) {
                    self.put(at, &buf)?;
                }
                length
            };
            progress.advance(copied);
            at = at.saturating_add(copied);
        }
        Ok(())
    }

    /// Lets the kernel copy at most `length` bytes; `None` if it cannot do so between these two files.
    fn copy_by_kernel(&self, source: &Raw, at: u64, length: u64) -> Result<Option<u64>> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.permit.ask("write").map_err(fs::failed("write", self.path()))?;
        let (mut from, mut to) = (at, at);
        let file = self.temporary.as_file();
        match rustix::fs::copy_file_range(source.file(), Some(&mut from), file, Some(&mut to), length) {
            Ok(0) => Err(source.changed()),
            Ok(copied) => Ok(Some(copied as u64)),
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => Ok(None),
            Err(errno) => Err(fs::failed("write", self.path())(errno.into()).into()),
        }
    }

    /// Gives the file its name, which must be free, and makes the name durable.
    fn publish(self, folder: &Path, out: &Path) -> Result<()> {
        self.permit.ask("rename").map_err(fs::failed("name the output", out))?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::OutputExists { path: out.to_owned() },
            _ => fs::failed("name the output", out)(error).into(),
        };
        self.temporary.persist_noclobber(out).map_err(|refused| failed(refused.error))?;
        let durable = self.permit.ask("flush the folder").map_err(fs::failed("flush", folder));
        if let Err(error) = durable.and_then(|()| fs::sync_folder(folder)) {
            // The name was free a moment ago, so the file is ours; without a durable name it must not stay.
            let _ = std::fs::remove_file(out);
            return Err(error.into());
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;

    use super::super::vhd::Footer;
    use super::super::vhd::sample::{self, BLOCK};
    use super::*;
    use coldforge_base::progress::Silent;
    use coldforge_base::{Failure as _, WriteAt as _};

    struct Place {
        folder: tempfile::TempDir,
        source: PathBuf,
        out: PathBuf,
    }

    impl Place {
        fn new(bytes: &[u8]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (source, out) = (folder.path().join("source"), folder.path().join("out"));
            std::fs::write(&source, bytes).unwrap();
            Self { folder, source, out }
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.folder.path()).unwrap();
            let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn contents(image: &dyn ReadAt) -> Vec<u8> {
        let mut bytes = vec![0; image.len() as usize];
        image.read_at(0, &mut bytes).unwrap();
        bytes
    }

    /// A file of each format with the same disk: four blocks, the second and the fourth all zero.
    fn samples() -> [(Vec<u8>, Format); 3] {
        let mut disk = vec![0; 4 * BLOCK as usize];
        disk[..BLOCK as usize].fill(1);
        disk[2 * BLOCK as usize + 70_000..][..9_000].fill(2);
        let blocks = [(2, disk[2 * BLOCK as usize..][..BLOCK as usize].to_vec()), (0, vec![1; BLOCK as usize])];
        [
            (disk.clone(), Format::Raw),
            (sample::fixed(&disk), Format::VhdFixed),
            (sample::dynamic(4 * BLOCK, &blocks), Format::VhdDynamic),
        ]
    }

    /// Writes into placed and new blocks, across the boundary of two, and the last byte.
    fn edit(overlay: &mut Overlay<&Image>) {
        overlay.write_at(4_000, &[7; 200]).unwrap();
        overlay.write_at(BLOCK - 3, &[8; 6]).unwrap();
        overlay.write_at(4 * BLOCK - 1, &[9]).unwrap();
    }

    #[test]
    fn the_output_is_the_overlay_and_the_source_is_untouched() {
        for (bytes, format) in samples() {
            let place = Place::new(&bytes);
            let image = Image::open(&place.source, Some(format)).unwrap();
            let mut overlay = Overlay::new(&image);
            edit(&mut overlay);
            let exported = export(&overlay, &place.out, &Silent).unwrap();
            let written = Image::open(&place.out, Some(format)).unwrap();
            assert!(contents(&written) == contents(&overlay), "{format}");
            assert_eq!(exported.changed, overlay.changed().unwrap());
            assert_eq!(exported.file_bytes, written.file_len());
            assert_eq!(exported.added_blocks, if format == Format::VhdDynamic { 2 } else { 0 });
            assert!(std::fs::read(&place.source).unwrap() == bytes);
            assert_eq!(place.names(), ["out", "source"]);
            let out = std::fs::read(&place.out).unwrap();
            match format {
                Format::Raw => assert_eq!(out.len(), bytes.len()),
                _ => assert_eq!(out[out.len() - Footer::BYTES..], bytes[bytes.len() - Footer::BYTES..]),
            }
            if format == Format::VhdDynamic {
                assert_eq!(out[..Footer::BYTES], bytes[..Footer::BYTES]);
            }
            assert_eq!(export(&overlay, &place.out, &Silent).unwrap_err().code(), Some("E-OUTPUT-EXISTS"));
            assert!(std::fs::read(&place.out).unwrap() == out, "an existing file stays as it is");
        }
    }

    #[test]
    fn the_same_changes_give_the_same_bytes_and_none_give_the_source() {
        for (bytes, format) in samples() {
            let place = Place::new(&bytes);
            let image = Image::open(&place.source, Some(format)).unwrap();
            let mut overlay = Overlay::new(&image);
            let exported = export(&overlay, &place.out, &Silent).unwrap();
            assert!(std::fs::read(&place.out).unwrap() == bytes && exported.changed.is_empty());
            overlay.write_at(0, &[1; 512]).unwrap();
            export(&overlay, &place.folder.path().join("same"), &Silent).unwrap();
            assert!(std::fs::read(place.folder.path().join("same")).unwrap() == bytes, "equal bytes are no change");
            edit(&mut overlay);
            let outs = ["one", "two"].map(|name| place.folder.path().join(name));
            for out in &outs {
                export(&overlay, out, &Silent).unwrap();
            }
            assert!(std::fs::read(&outs[0]).unwrap() == std::fs::read(&outs[1]).unwrap());
        }
    }

    /// Lets one deed fail, and remembers all that were asked for.
    struct Failing {
        deed: usize,
        deeds: RefCell<Vec<&'static str>>,
    }

    impl Permit for Failing {
        fn ask(&self, deed: &'static str) -> io::Result<()> {
            self.deeds.borrow_mut().push(deed);
            if self.deeds.borrow().len() == self.deed + 1 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn after_a_failure_of_any_deed_nothing_is_left_behind() {
        for (bytes, format) in samples() {
            let place = Place::new(&bytes);
            let image = Image::open(&place.source, Some(format)).unwrap();
            let mut overlay = Overlay::new(&image);
            edit(&mut overlay);
            let mut failed = Vec::new();
            for deed in 0.. {
                let permit = Failing { deed, deeds: RefCell::default() };
                let outcome = write(&overlay, &place.out, Target::Same, Sums::Made, &Silent, &permit);
                let Some(name) = permit.deeds.borrow().get(deed).copied() else {
                    outcome.unwrap();
                    break;
                };
                failed.push(name);
                // A clone that fails is no failure: the file is copied instead.
                if name == "clone" {
                    outcome.unwrap();
                    std::fs::remove_file(&place.out).unwrap();
                } else {
                    outcome.expect_err(name);
                }
                assert_eq!(place.names(), ["source"], "{format}: {name}, deed {deed}");
            }
            for deed in ["create", "clone", "resize", "write", "flush", "rename", "flush the folder"] {
                assert!(failed.contains(&deed), "{deed} was let fail for {format}: {failed:?}");
            }
            assert_eq!(place.names(), ["out", "source"]);
            assert!(contents(&Image::open(&place.out, Some(format)).unwrap()) == contents(&overlay));
            assert!(std::fs::read(&place.source).unwrap() == bytes);
        }
    }

    #[test]
    fn a_source_that_changed_since_it_was_opened_is_not_copied() {
        let place = Place::new(&samples()[0].0);
        let image = Image::open(&place.source, Some(Format::Raw)).unwrap();
        let overlay = Overlay::new(&image);
        File::options().write(true).open(&place.source).unwrap().set_len(BLOCK).unwrap();
        assert_eq!(export(&overlay, &place.out, &Silent).unwrap_err().code(), Some("E-SOURCE-CHANGED"));
        assert_eq!(place.names(), ["source"]);
    }

    #[test]
    fn a_name_that_is_taken_meanwhile_is_not_replaced() {
        struct Thief(PathBuf);
        impl Permit for Thief {
            fn ask(&self, deed: &'static str) -> io::Result<()> {
                if deed == "rename" { std::fs::write(&self.0, b"first") } else { Ok(()) }
            }
        }
        let place = Place::new(&samples()[0].0);
        let image = Image::open(&place.source, Some(Format::Raw)).unwrap();
        let thief = Thief(place.out.clone());
        let error = write(&Overlay::new(&image), &place.out, Target::Same, Sums::Made, &Silent, &thief).unwrap_err();
        assert_eq!(error.code(), Some("E-OUTPUT-EXISTS"));
        assert_eq!(std::fs::read(&place.out).unwrap(), b"first");
        assert_eq!(place.names(), ["out", "source"]);
    }

    #[test]
    fn a_byte_that_is_not_what_was_written_is_found_before_the_output_has_its_name() {
        /// Spoils a byte of the temporary file when it is flushed.
        struct BadDisk(PathBuf, u64);
        impl Permit for BadDisk {
            fn ask(&self, deed: &'static str) -> io::Result<()> {
                if deed == "flush" {
                    let mut entries = std::fs::read_dir(&self.0)?.map(|entry| entry.unwrap().path());
                    let part = entries.find(|path| path.extension().is_some_and(|ending| ending == "part"));
                    File::options().write(true).open(part.unwrap())?.write_all_at(&[0xbd], self.1)?;
                }
                Ok(())
            }
        }
        for (bytes, format) in samples() {
            let place = Place::new(&bytes);
            let image = Image::open(&place.source, Some(format)).unwrap();
            let mut overlay = Overlay::new(&image);
            edit(&mut overlay);
            // In the dynamic disk the same byte lies behind footer, header, table, block 2 and two bitmaps.
            let at = if format == Format::VhdDynamic { 4_100 + 2048 + BLOCK + 1024 } else { 4_100 };
            let permit = BadDisk(place.folder.path().to_owned(), at);
            let error = write(&overlay, &place.out, Target::Same, Sums::Made, &Silent, &permit).unwrap_err();
            assert!(matches!(error, Error::ReadBack { at: 4_100 }), "{format}: {error}");
            assert_eq!(place.names(), ["source"]);
        }
    }

    #[test]
    fn holes_stay_holes() {
        use std::os::unix::fs::MetadataExt as _;
        let place = Place::new(&[]);
        let source = File::create(&place.source).unwrap();
        source.set_len(64 << 20).unwrap();
        source.write_all_at(&[3; 8192], 20 << 20).unwrap();
        source.sync_all().unwrap();
        let image = Image::open(&place.source, Some(Format::Raw)).unwrap();
        let mut overlay = Overlay::new(&image);
        overlay.write_at(40 << 20, &[4; 100]).unwrap();
        export(&overlay, &place.out, &Silent).unwrap();
        let stored = |path: &Path| path.metadata().unwrap().blocks() * 512;
        assert!(stored(&place.out) <= stored(&place.source) + 16_384, "{} bytes", stored(&place.out));
        assert!(contents(&Image::open(&place.out, Some(Format::Raw)).unwrap()) == contents(&overlay));
    }

    #[test]
    fn a_raw_disk_laid_out_in_large_sectors_keeps_them_or_is_refused() {
        let mut bytes = vec![0; 4 << 20];
        bytes[4096..4104].copy_from_slice(b"EFI PART");
        let place = Place::new(&bytes);
        let image = Image::open(&place.source, Some(Format::Raw)).unwrap();
        convert(&image, &place.out, Format::VhdxDynamic, &Silent).unwrap();
        assert_eq!(Image::open(&place.out, None).unwrap().sector_bytes(), Some(4096));
        std::fs::remove_file(&place.out).unwrap();
        for format in [Format::VhdFixed, Format::VhdDynamic, Format::Vmdk] {
            let refused = convert(&image, &place.out, format, &Silent).unwrap_err();
            assert_eq!(refused.code(), Some("E-SECTOR-SIZE"), "{format:?}");
        }

        bytes[512..520].copy_from_slice(b"EFI PART");
        let place = Place::new(&bytes);
        let image = Image::open(&place.source, Some(Format::Raw)).unwrap();
        convert(&image, &place.out, Format::VhdxDynamic, &Silent).unwrap();
        assert_eq!(Image::open(&place.out, None).unwrap().sector_bytes(), Some(512));
    }
}
