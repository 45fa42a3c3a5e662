//! Volumes for tests: made in memory, byte by byte.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]

use super::boot::Width;
use super::directory::checksum;

/// How a volume is made.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub width: Width,
    pub sector_bytes: usize,
    pub cluster_sectors: usize,
    pub clusters: usize,
}

pub(super) const FAT12: Shape = Shape { width: Width::Fat12, sector_bytes: 512, cluster_sectors: 1, clusters: 2000 };
pub(super) const FAT16: Shape = Shape { width: Width::Fat16, sector_bytes: 512, cluster_sectors: 2, clusters: 5000 };
pub(super) const FAT32: Shape = Shape { width: Width::Fat32, sector_bytes: 512, cluster_sectors: 1, clusters: 66_000 };
pub(super) const LARGE: Shape = Shape { width: Width::Fat32, sector_bytes: 4096, cluster_sectors: 1, clusters: 70_000 };

const RESERVED: usize = 4;
const ROOT_ENTRIES: usize = 512;

/// A volume in the making.
pub(super) struct Maker {
    shape: Shape,
    pub bytes: Vec<u8>,
    next: u32,
    root: u32,
}

impl Shape {
    fn table_sectors(&self) -> usize {
        ((self.clusters + 2) * usize::try_from(self.width.bits()).unwrap()).div_ceil(8).div_ceil(self.sector_bytes)
    }

    /// First byte of a copy of the table.
    pub fn table(&self, copy: usize) -> usize {
        (RESERVED + copy * self.table_sectors()) * self.sector_bytes
    }

    pub fn root(&self) -> usize {
        self.table(2)
    }

    fn data(&self) -> usize {
        self.root() + if self.width == Width::Fat32 { 0 } else { ROOT_ENTRIES * 32 }
    }

    pub fn cluster_bytes(&self) -> usize {
        self.sector_bytes * self.cluster_sectors
    }

    pub fn place(&self, cluster: u32) -> usize {
        self.data() + (cluster as usize - 2) * self.cluster_bytes()
    }
}

impl Maker {
    pub fn new(shape: Shape) -> Self {
        let size = shape.data() + shape.clusters * shape.cluster_bytes();
        let mut bytes = vec![0; size];
        let is_fat32 = shape.width == Width::Fat32;
        let mut put = |at: usize, value: usize, length: usize| {
            bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
        };
        put(0, 0x90_58eb, 3);
        put(11, shape.sector_bytes, 2);
        put(13, shape.cluster_sectors, 1);
        put(14, RESERVED, 2);
        put(16, 2, 1);
        put(17, if is_fat32 { 0 } else { ROOT_ENTRIES }, 2);
        put(21, 0xf8, 1);
        put(22, if is_fat32 { 0 } else { shape.table_sectors() }, 2);
        put(32, size / shape.sector_bytes, 4);
        if is_fat32 {
            put(36, shape.table_sectors(), 4);
            put(44, 2, 4);
        }
        put(510, 0xaa55, 2);
        let mut made = Self { shape, bytes, next: 2, root: 0 };
        if is_fat32 {
            made.root = made.store(&[]);
        }
        made
    }

    /// Sets what both copies of the table say of a cluster.
    pub fn link(&mut self, cluster: u32, value: u32) {
        for copy in 0..2 {
            self.link_in(copy, cluster, value);
        }
    }

    pub fn link_in(&mut self, copy: usize, cluster: u32, value: u32) {
        let table = self.shape.table(copy);
        let number = cluster as usize;
        match self.shape.width {
            Width::Fat12 => {
                let at = table + number * 3 / 2;
                let old = u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]);
                let new = match number % 2 {
                    0 => old & 0xf000 | value as u16 & 0xfff,
                    _ => old & 0x000f | (value as u16) << 4,
                };
                self.bytes[at..at + 2].copy_from_slice(&new.to_le_bytes());
            }
            Width::Fat16 => {
                self.bytes[table + number * 2..][..2].copy_from_slice(&(value as u16).to_le_bytes());
            }
            Width::Fat32 => self.bytes[table + number * 4..][..4].copy_from_slice(&value.to_le_bytes()),
        }
    }

    /// Stores content in clusters of its own, every other one, and returns the first.
    pub fn store(&mut self, content: &[u8]) -> u32 {
        let first = self.next;
        let each = self.shape.cluster_bytes();
        let parts: Vec<&[u8]> = if content.is_empty() { vec![&[]] } else { content.chunks(each).collect() };
        for (number, part) in parts.iter().enumerate() {
            let cluster = self.next;
            self.next += 2;
            let at = self.shape.place(cluster);
            self.bytes[at..at + part.len()].copy_from_slice(part);
            let last = number + 1 == parts.len();
            self.link(cluster, if last { 0x0fff_ffff } else { self.next });
        }
        first
    }

    /// Puts a directory's entries where the root is.
    pub fn set_root(&mut self, entries: &[u8]) {
        let at = if self.root == 0 { self.shape.root() } else { self.shape.place(self.root) };
        self.bytes[at..at + entries.len()].copy_from_slice(entries);
    }
}

/// Returns an entry with a long name before it, if there is one.
pub(super) fn entry(short: &[u8; 11], long: &str, attributes: u8, cluster: u32, size: usize) -> Vec<u8> {
    let mut raw = [0u8; 32];
    raw[..11].copy_from_slice(short);
    raw[11] = attributes;
    raw[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    raw[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    raw[28..32].copy_from_slice(&(size as u32).to_le_bytes());
    let sum = checksum(&raw);
    let mut units: Vec<u16> = long.encode_utf16().collect();
    if !units.is_empty() && !units.len().is_multiple_of(13) {
        units.push(0);
    }
    let parts = units.chunks(13).enumerate().map(|(number, part)| {
        let mut raw = [0u8; 32];
        let mut padded = [0xffffu16; 13];
        padded[..part.len()].copy_from_slice(part);
        let bytes: Vec<u8> = padded.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let is_last = (number + 1) * 13 >= units.len();
        raw[0] = (number as u8 + 1) | if is_last { 0x40 } else { 0 };
        raw[11] = 0x0f;
        raw[13] = sum;
        raw[1..11].copy_from_slice(&bytes[..10]);
        raw[14..26].copy_from_slice(&bytes[10..22]);
        raw[28..32].copy_from_slice(&bytes[22..]);
        raw
    });
    let mut parts: Vec<[u8; 32]> = parts.collect();
    parts.reverse();
    parts.push(raw);
    parts.concat()
}

/// Returns a volume with `\EFI\Microsoft\Boot\bootmgfw.efi` of these bytes, and what the path's last parts are in.
pub(super) fn esp(shape: Shape, content: &[u8]) -> (Maker, u32) {
    let mut made = Maker::new(shape);
    let file = made.store(content);
    let boot = made.store(&entry(b"BOOTMGFWEFI", "bootmgfw.efi", 0x20, file, content.len()));
    let microsoft = made.store(&entry(b"BOOT       ", "", 0x10, boot, 0));
    let efi = made.store(&entry(b"MICROS~1   ", "Microsoft", 0x10, microsoft, 0));
    let label = entry(b"ESP        ", "", 0x08, 0, 0);
    let gone = entry(b"\xe5LD        ", "", 0x20, 9, 9);
    made.set_root(&[label, gone, entry(b"EFI        ", "", 0x10, efi, 0)].concat());
    (made, file)
}
