//! Images that are written here, read by libvhdi, libvmdk, libfsntfs and dissect.target.

use coldforge_disk::{Target, convert, export_as};

use super::*;
use crate::support::{coldforge, copy_of, python_with};

/// Prints the SHA-256 of a disk as libvhdi reads it, with its parent if there is one.
const VHD: &str = "
import sys, hashlib, pyvhdi
def opened(path):
    file = pyvhdi.file(); file.open(path); return file
disk = opened(sys.argv[1])
if len(sys.argv) > 2: disk.set_parent(opened(sys.argv[2]))
size, at, sum = disk.get_media_size(), 0, hashlib.sha256()
while at < size:
    piece = disk.read_buffer_at_offset(min(1 << 20, size - at), at); sum.update(piece); at += len(piece)
print(sum.hexdigest())";

/// The same of a VMDK as libvmdk reads it.
const VMDK: &str = "
import sys, hashlib, pyvmdk
disk = pyvmdk.handle(); disk.open(sys.argv[1]); disk.open_extent_data_files()
size, at, sum = disk.get_media_size(), 0, hashlib.sha256()
while at < size:
    piece = disk.read_buffer_at_offset(min(1 << 20, size - at), at); sum.update(piece); at += len(piece)
print(sum.hexdigest())";

/// Prints the SHA-256 of a file on a volume inside a raw disk, as libfsntfs reads it.
const NTFS: &str = "
import sys, hashlib, pyfsntfs
class Part:
    def __init__(self, file, start, size): self.file, self.start, self.size, self.at = file, start, size, 0
    def read(self, size=-1):
        size = min(self.size if size < 0 else size, self.size - self.at)
        self.file.seek(self.start + self.at); piece = self.file.read(size); self.at += len(piece); return piece
    def seek(self, to, whence=0): self.at = to + (0, self.at, self.size)[whence]
    def tell(self): return self.at
    def get_size(self): return self.size
volume = pyfsntfs.volume()
volume.open_file_object(Part(open(sys.argv[1], 'rb'), int(sys.argv[2]), int(sys.argv[3])))
entry = volume.get_file_entry_by_path(sys.argv[4])
print(hashlib.sha256(entry.read_buffer(entry.size)).hexdigest())";

/// Prints what dissect.target reads of a whole image: a value of its registry.
const TARGET: &str = "
import sys
from dissect.target import Target
target = Target.open(sys.argv[1])
print(target.registry.key(sys.argv[2]).value(sys.argv[3]).value)";

fn say(python: &Path, script: &str, arguments: &[&str]) -> String {
    let said = run(text(python), &[&["-c", script][..], arguments].concat());
    said.trim().to_owned()
}

#[test]
fn a_delta_vhd_is_the_same_disk_to_libvhdi_whose_bitmaps_count_from_the_other_end() {
    let (Some(python), Some(made)) = (python_with("pyvhdi"), Made::new()) else { return };
    for format in [Format::VhdFixed, Format::VhdDynamic] {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (base, child) = (place.path().join("base.vhd"), place.path().join("child.vhd"));
        convert(&Image::open(&made.raw, None).unwrap(), &base, format, &Silent).unwrap();
        let image = Image::open(&base, None).unwrap();
        let mut overlay = Overlay::new(&image);
        let mut random = Seeded(77);
        // Single bytes: each sets one bit of a bitmap byte, if bits are set sector by sector; and the disk's last ones.
        for _ in 0..60 {
            let at = random.below(image.len());
            overlay.write_at(at, &[random.next() as u8]).unwrap();
        }
        overlay.write_at(image.len() - 3, b"end").unwrap();
        let expected = Digest::of(&contents(&overlay)).to_string();
        export_as(&overlay, &child, Target::Delta, &Silent).unwrap();
        assert_eq!(say(&python, VHD, &[text(&child), text(&base)]), expected, "{format}");
        run("qemu-img", &["compare", "-f", "vpc", "-F", "vpc", text(&base), text(&base)]);
    }
}

#[test]
fn a_streamed_vmdk_is_inflated_by_libvmdk_whatever_its_grains_hold() {
    let Some(python) = python_with("pyvmdk") else { return };
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (raw, vmdk) = (place.path().join("disk.raw"), place.path().join("disk.vmdk"));
    let mut random = Seeded(78);
    let mut disk = Vec::new();
    for grain in 0..24u64 {
        let letters = [256, 240, 100, 16, 2, 1][(grain % 6) as usize];
        let mut bytes: Vec<u8> = (0..64 << 10).map(|_| random.below(letters) as u8 ^ 0x55).collect();
        if grain % 2 == 0 {
            // Bytes that do not repeat, with a single match: one distance code.
            bytes = (0..64u32 << 10)
                .flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 3).to_le_bytes())
                .take(64 << 10)
                .collect();
            let at = 1_000 + grain as usize;
            bytes.copy_within(at..at + 8, at + 2);
        }
        disk.extend_from_slice(&bytes);
    }
    disk.resize(disk.len() + 512, 7);
    std::fs::write(&raw, &disk).unwrap();
    convert(&Image::open(&raw, Some(Format::Raw)).unwrap(), &vmdk, Format::Vmdk, &Silent).unwrap();
    assert_eq!(say(&python, VMDK, &[text(&vmdk)]), Digest::of(&disk).to_string());
}

#[test]
fn a_hardened_image_is_read_by_libfsntfs_and_dissect() {
    const HIVE: &str = "Windows/System32/config/SOFTWARE";
    let Some(python) = python_with("pyfsntfs, dissect.target") else { return };
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = copy_of("ws2022.vhd", place.path());
    let out = place.path().join("out");
    coldforge(["harden", text(&image), "--fail-on", "none", "--format", "raw", "-o", text(&out)]).expect(0);
    let hardened = out.join("ws2022.raw");
    let inspected = coldforge(["inspect", text(&hardened), "--json"]).expect(0).json();
    let partition = &inspected["partitions"][0];
    let (start, length) = (partition["start"].to_string(), partition["length"].to_string());
    let hive = place.path().join("SOFTWARE");
    coldforge(["cat", text(&hardened), &format!("/{HIVE}"), "-o", text(&hive)]).expect(0);
    let path = format!("\\{}", HIVE.replace('/', "\\"));
    let said = say(&python, NTFS, &[text(&hardened), &start, &length, &path]);
    assert_eq!(said, Digest::of(&std::fs::read(&hive).unwrap()).to_string());

    let key = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa";
    let own = coldforge([
        "reg",
        "get",
        text(&hardened),
        "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa",
        "LmCompatibilityLevel",
    ]);
    let own = own.expect(0).out;
    let said = say(&python, TARGET, &[text(&hardened), key, "LmCompatibilityLevel"]);
    assert!(said == "5" && own.contains('5'), "{said:?} and {own:?}");
}
