//! Volumes made for a test, a device on a file, and the changes that a test plants.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use coldforge_base::{FileOffset, ReadAt, WriteAt, device};
use coldforge_ntfs::{Reference, Volume};

use crate::support::{Seeded, ask, oracle};

/// A device on a file.
#[derive(Debug)]
pub struct OnFile {
    file: File,
    length: u64,
}

impl OnFile {
    /// Opens a file for reading and writing.
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        Self { file, length }
    }
}

impl ReadAt for OnFile {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        device::check_range(at, buf.len(), self.length)?;
        self.file.read_exact_at(buf, at).unwrap();
        Ok(())
    }
}

impl WriteAt for OnFile {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> device::Result<()> {
        device::check_range(at, buf.len(), self.length)?;
        self.file.write_all_at(buf, at).unwrap();
        Ok(())
    }

    fn flush(&mut self) -> device::Result<()> {
        Ok(())
    }
}

/// The shape of a volume.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub sector: u64,
    pub cluster: u64,
    pub mebibytes: u64,
}

/// Every cluster and sector size that differs in how something is read.
pub const SHAPES: [Shape; 5] = [
    Shape { sector: 512, cluster: 512, mebibytes: 16 },
    Shape { sector: 512, cluster: 4096, mebibytes: 24 },
    Shape { sector: 512, cluster: 0x1_0000, mebibytes: 64 },
    Shape { sector: 512, cluster: 0x20_0000, mebibytes: 512 },
    Shape { sector: 4096, cluster: 4096, mebibytes: 24 },
];

/// A volume in a file, and what its files hold.
pub struct Made {
    folder: tempfile::TempDir,
    pub path: PathBuf,
    /// Path with `\` and content of each file.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A mounted volume that is being filled.
pub struct Tree {
    root: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    pub fn folder(&mut self, path: &str) {
        fs::create_dir_all(self.place(path)).unwrap();
    }

    /// Writes a file and remembers it.
    pub fn put(&mut self, path: &str, content: &[u8]) {
        fs::write(self.place(path), content).unwrap();
        self.files.insert(path.into(), content.into());
    }

    /// Writes a file; `false` if the volume is full.
    pub fn try_put(&mut self, path: &str, content: &[u8]) -> bool {
        let fits = fs::write(self.place(path), content).is_ok();
        if fits {
            self.files.insert(path.into(), content.into());
        } else {
            fs::remove_file(self.place(path)).ok();
        }
        fits
    }

    pub fn remove(&mut self, path: &str) {
        fs::remove_file(self.place(path)).unwrap();
        self.files.remove(path);
    }

    pub fn link(&mut self, old: &str, new: &str) {
        fs::hard_link(self.place(old), self.place(new)).unwrap();
        self.files.insert(new.into(), self.files[old].clone());
    }

    /// Writes parts of a file with holes between them.
    pub fn sparse(&mut self, path: &str, parts: &[(u64, &[u8])]) {
        let file = File::create(self.place(path)).unwrap();
        let mut content = Vec::new();
        for (at, part) in parts {
            file.write_all_at(part, *at).unwrap();
            content.resize(*at as usize, 0);
            content.extend_from_slice(part);
        }
        self.files.insert(path.into(), content);
    }

    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('\\').replace('\\', "/"))
    }
}

/// Makes a volume and fills it; `None`, said aloud, where the tools are missing.
pub fn make(shape: Shape, fill: impl FnOnce(&mut Tree)) -> Option<Made> {
    if !oracle("mkntfs") || !oracle("ntfs-3g") {
        return None;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("volume");
    File::create(&path).unwrap().set_len(shape.mebibytes << 20).unwrap();
    let (sector, cluster) = (shape.sector.to_string(), shape.cluster.to_string());
    let options = ["-q", "-F", "-Q", "-T", "-s", &sector, "-c", &cluster, "-p", "2048", "-H", "255", "-S", "63"];
    let answer = ask("mkntfs", &[&options[..], &["-L", "COLD", path.to_str().unwrap()]].concat());
    assert!(answer.status.success(), "{answer:?}");
    let mut made = Made { folder, path, files: BTreeMap::new() };
    let mount = made.mount("rw");
    let mut tree = Tree { root: mount.folder.clone(), files: BTreeMap::new() };
    fill(&mut tree);
    made.files = tree.files;
    drop(mount);
    Some(made)
}

/// Returns repeatable bytes.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut seeded = Seeded(seed);
    (0..length.div_ceil(8)).flat_map(|_| seeded.next().to_le_bytes()).take(length).collect()
}

/// Fills a volume with one of each kind of file.
pub fn one_of_each(tree: &mut Tree, many: usize) {
    for folder in [r"\Windows\System32\config", r"\Windows\System32\drivers\etc", r"\empty", r"\many"] {
        tree.folder(folder);
    }
    tree.put(r"\Windows\System32\config\SYSTEM", &noise(1, 300_000));
    tree.put(r"\Windows\System32\config\SAM", &noise(2, 65_536));
    tree.put(r"\Windows\System32\drivers\etc\hosts", b"127.0.0.1 localhost\r\n");
    tree.put(r"\resident", &noise(3, 600));
    tree.put(r"\nothing", b"");
    tree.put("\\Gr\u{f6}\u{df}e \u{e9}\u{431} \u{1f600}.txt", b"letters");
    tree.put(r"\linked", &noise(4, 5000));
    for i in 0..30 {
        tree.link(r"\linked", &format!(r"\another name of the linked file {i:03}"));
    }
    tree.sparse(r"\sparse", &[(10 * 65_536, b"end"), (100 * 65_536, b"end2")]);
    for i in 0..many {
        tree.put(&format!(r"\many\file_{i:05}_with_some_long_name.dll"), &vec![b'x'; i % 700]);
    }
}

/// Fills a volume so that one large file lies in hundreds of runs, and `$MFT` in many.
pub fn in_pieces(tree: &mut Tree, cluster: usize) {
    tree.folder(r"\fill");
    let content = noise(5, cluster.max(2048));
    let mut count = 0;
    while tree.try_put(&format!(r"\fill\{count:06}"), &content) {
        count += 1;
    }
    for i in (0..count).step_by(2) {
        tree.remove(&format!(r"\fill\{i:06}"));
    }
    tree.put(r"\SOFTWARE", &noise(6, count * 2 / 5 * content.len()));
    tree.folder(r"\small");
    tree.put(r"\resident", &noise(3, 600));
    for i in 0..count {
        if !tree.try_put(&format!(r"\small\{i:06}"), b"small") {
            break;
        }
    }
    // ntfsresize does not check a full volume.
    for i in (1..count / 10).step_by(2) {
        tree.remove(&format!(r"\fill\{i:06}"));
    }
}

/// A mount that ends with this value.
pub struct Mount {
    pub folder: PathBuf,
}

impl Drop for Mount {
    fn drop(&mut self) {
        for _ in 0..100 {
            if ask("umount", &[self.folder.to_str().unwrap()]).status.success() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // The daemon writes its last blocks after the mount is gone.
        for _ in 0..100 {
            let path = self.folder.with_file_name("volume");
            if !is_held(&path) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Tells whether an ntfs-3g process still has a file open.
fn is_held(path: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let is_driver = fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name.starts_with("ntfs-3g"));
        is_driver
            && fs::read_dir(process.path().join("fd"))
                .is_ok_and(|open| open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|held| held == path)))
    })
}

impl Made {
    pub fn volume(&self) -> Volume<OnFile> {
        Volume::open(OnFile::open(&self.path)).unwrap()
    }

    /// Mounts the volume with ntfs-3g; `how` is `rw` or `ro`.
    pub fn mount(&self, how: &str) -> Mount {
        let folder = self.folder.path().join("mount");
        fs::create_dir_all(&folder).unwrap();
        let options = format!("{how},streams_interface=windows,compression");
        let answer = ask("ntfs-3g", &["-o", &options, self.path.to_str().unwrap(), folder.to_str().unwrap()]);
        assert!(answer.status.success(), "{answer:?}");
        Mount { folder }
    }

    /// Copies the volume into another file of the same folder, holes kept, which the result owns no longer than this.
    pub fn copy(&self, name: &str) -> PathBuf {
        let copy = self.folder.path().join(name);
        let status = Command::new("cp").arg("--sparse=always").arg(&self.path).arg(&copy).status().unwrap();
        assert!(status.success());
        copy
    }

    /// Checks through an ntfs-3g mount that every file holds what is remembered.
    pub fn assert_mount_agrees(&self) {
        let mount = self.mount("ro");
        for (path, content) in &self.files {
            let place = mount.folder.join(path.trim_start_matches('\\').replace('\\', "/"));
            assert!(fs::read(&place).unwrap() == *content, "{path} through the mount");
        }
    }

    /// Checks that ntfsresize, which compares all runs with `$Bitmap`, finds no fault.
    pub fn assert_ntfsresize_agrees(&self) {
        if oracle("ntfsresize") {
            let answer = ask("ntfsresize", &["-i", "-f", self.path.to_str().unwrap()]);
            assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stdout));
        }
    }
}

/// Reads every file below the root, NTFS's own apart, as path -> content or the code of its refusal.
pub fn walk<D: ReadAt>(volume: &Volume<D>) -> BTreeMap<String, Result<Vec<u8>, &'static str>> {
    use coldforge_base::Failure as _;
    let mut found = BTreeMap::new();
    let mut todo = vec![(String::new(), Reference::new(5, 5))];
    while let Some((path, reference)) = todo.pop() {
        let folder = volume.file(reference).unwrap();
        for entry in volume.list(&folder).unwrap() {
            if entry.reference.record() < 24 {
                continue;
            }
            let path = format!(r"{path}\{}", entry.name);
            let file = volume.file(entry.reference).unwrap();
            assert_eq!(file.is_directory(), entry.is_directory, "{path}");
            if entry.is_directory {
                todo.push((path, entry.reference));
                continue;
            }
            let content = volume.read(&file, 1 << 30).map_err(|error| error.code().unwrap());
            if let Ok(content) = &content {
                assert_extents_hold(volume, &file, content, &path);
            }
            found.insert(path, content);
        }
    }
    found
}

/// Checks that the bytes at a file's extents are its content, where it is plain, without holes, and initialized.
fn assert_extents_hold<D: ReadAt>(volume: &Volume<D>, file: &coldforge_ntfs::File, content: &[u8], path: &str) {
    if file.is_sparse() || file.is_compressed() || file.initialized() < file.size() {
        return;
    }
    let mut bytes = Vec::new();
    for extent in volume.extents(file, FileOffset(0), file.size()).unwrap() {
        let mut part = vec![0; extent.length as usize];
        volume.device().read_at(extent.offset, &mut part).unwrap();
        bytes.extend(part);
    }
    assert!(bytes == content, "the extents of {path}");
}

/// A file that a test changes by hand, by code of its own.
pub struct Planter<'a> {
    path: &'a Path,
    record_bytes: usize,
    mft: u64,
    mirror: u64,
}

impl<'a> Planter<'a> {
    pub fn new(path: &'a Path) -> Self {
        let boot = read_at(path, 0, 512);
        let number = |at: usize| u64::from_le_bytes(boot[at..at + 8].try_into().unwrap());
        let sector = u64::from(u16::from_le_bytes([boot[11], boot[12]]));
        let cluster = sector * if boot[13] <= 0x80 { u64::from(boot[13]) } else { 1 << (256 - u64::from(boot[13])) };
        let code = boot[0x40].cast_signed();
        let record_bytes = if code > 0 { code as usize * cluster as usize } else { 1 << -code };
        Self { path, record_bytes, mft: number(0x30) * cluster, mirror: number(0x38) * cluster }
    }

    /// Changes a record near the start of `$MFT`, and its mirrored copy if `mirrored`, with right fixups.
    pub fn record(&self, number: u64, mirrored: bool, change: impl Fn(&mut [u8])) {
        let at = number * self.record_bytes as u64;
        self.protected(self.mft + at, self.record_bytes, &change);
        if mirrored {
            self.protected(self.mirror + at, self.record_bytes, &change);
        }
    }

    /// Changes a protected structure anywhere.
    pub fn protected(&self, at: u64, length: usize, change: impl Fn(&mut [u8])) {
        let mut bytes = read_at(self.path, at, length);
        let array = usize::from(bytes[4]);
        let usn = [bytes[array], bytes[array + 1]];
        for block in 0..length / 512 {
            let (slot, end) = (array + 2 + 2 * block, block * 512 + 510);
            assert_eq!(bytes[end..end + 2], usn, "the structure at {at:#x} is whole");
            bytes.copy_within(slot..slot + 2, end);
        }
        change(&mut bytes);
        for block in 0..length / 512 {
            let (slot, end) = (array + 2 + 2 * block, block * 512 + 510);
            bytes.copy_within(end..end + 2, slot);
            bytes[end..end + 2].copy_from_slice(&usn);
        }
        self.bytes(at, &bytes);
    }

    /// Writes bytes anywhere.
    pub fn bytes(&self, at: u64, bytes: &[u8]) {
        OpenOptions::new().write(true).open(self.path).unwrap().write_all_at(bytes, at).unwrap();
    }

    /// Returns the places of all records that are the file with this base record or continue it.
    pub fn records_of(&self, number: u32) -> Vec<u64> {
        let image = fs::read(self.path).unwrap();
        let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        let belongs = |at: &usize| {
            image[*at..].starts_with(b"FILE\x30\0")
                && image[at + 0x16] & 1 == 1
                && (word(at + 0x2c) == number && word(at + 0x20) == 0 || word(at + 0x20) == number)
        };
        let places = (0..image.len() - self.record_bytes).step_by(512).filter(belongs).map(|at| at as u64);
        places.filter(|at| !(self.mirror..self.mirror + 4 * self.record_bytes as u64).contains(at)).collect()
    }
}

/// Returns where an attribute begins in a record whose fixups are undone.
pub fn attribute(record: &[u8], kind: u32) -> Option<usize> {
    let mut at = usize::from(record[0x14]);
    loop {
        let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        match word(at) {
            0xffff_ffff => return None,
            found if found == kind => return Some(at),
            _ => at += word(at + 4) as usize,
        }
    }
}

/// Reads a part of a file of the host.
pub fn read_at(path: &Path, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    File::open(path).unwrap().read_exact_at(&mut bytes, at).unwrap();
    bytes
}
