//! Looking into a hive without loading it finds what the loaded hive has, and fetches little.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coldforge_base::{Failure as _, FileOffset, Kind};
use coldforge_regf::{Error, Hive, Key, Reader, Source};

use crate::support::{Seeded, fixture};

/// The bytes of a hive file, which counts what is read of them.
struct Counted {
    bytes: Vec<u8>,
    read: Arc<AtomicU64>,
}

impl Source for Counted {
    fn read_at(&self, at: FileOffset, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(at.0).unwrap();
        let bytes = self.bytes.get(start..start + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn reader(bytes: &[u8]) -> (Result<Reader, Error>, Arc<AtomicU64>) {
    let read = Arc::default();
    let source = Counted { bytes: bytes.to_vec(), read: Arc::clone(&read) };
    (Reader::open(Box::new(source), bytes.len() as u64), read)
}

/// Returns each key's path below `key`, in order, with the names, types and data of its values.
type Told = Vec<(String, Vec<(String, u32, Vec<u8>)>)>;

fn tell(key: &Key<'_>, path: &str, told: &mut Told) -> Result<(), Error> {
    let values: Result<Vec<_>, Error> = key
        .values()?
        .map(|value| value.and_then(|v| Ok((v.name().to_string(), v.kind(), v.data()?.into_owned()))))
        .collect();
    told.push((path.to_owned(), values?));
    for child in key.subkeys()? {
        let child = child?;
        tell(&child, &format!(r"{path}\{}", child.name()), told)?;
    }
    Ok(())
}

#[test]
fn every_hive_reads_the_same_page_by_page() {
    let mut hives = vec![("bigdata-1.5".to_owned(), std::fs::read(fixture("hives/bigdata-1.5")).unwrap())];
    let Some(folder) = super::hives() else { return };
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // The largest would take long, and has nothing that the others lack.
        if bytes.len() < 40 << 20 {
            hives.push((path.file_name().unwrap().to_string_lossy().into_owned(), bytes));
        }
    }
    let mut equal = 0;
    for (name, bytes) in hives {
        let Ok(hive) = Hive::parse(bytes.clone()) else { continue };
        let (mut whole, mut paged) = (Told::new(), Told::new());
        let outcome = tell(&hive.root().unwrap(), "", &mut whole);
        let reader = reader(&bytes).0.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(outcome, tell(&reader.root().unwrap(), "", &mut paged), "{name}");
        assert!(whole == paged, "{name}");
        equal += 1;
    }
    assert!(equal > 20, "{equal} hives were read");
}

#[test]
fn a_lookup_fetches_only_the_bins_on_its_way() {
    let Some(bytes) = super::real("dfwinreg__SOFTWARE") else { return };
    let (reader, read) = reader(&bytes);
    let reader = reader.unwrap();
    let name = |key: Key<'_>| key.value("ProductName").unwrap().unwrap().data().unwrap().into_owned();
    let found = name(reader.key(r"microsoft\windows nt\CURRENTVERSION").unwrap().unwrap());
    let hive = Hive::parse(bytes.clone()).unwrap();
    assert_eq!(found, name(hive.key(r"Microsoft\Windows NT\CurrentVersion").unwrap().unwrap()));
    assert!(reader.key(r"Microsoft\Windows NT\NoSuchKey").unwrap().is_none());
    let read = read.load(Ordering::Relaxed);
    assert!(read < bytes.len() as u64 / 200, "{read} of {} bytes were read", bytes.len());
}

#[test]
fn a_dirty_hive_is_not_looked_into() {
    let bytes = std::fs::read(fixture("hives/dirty-1.5")).unwrap();
    assert!(matches!(reader(&bytes).0, Err(Error::Dirty { .. })));
}

#[test]
fn a_source_that_fails_is_told_with_its_place() {
    let mut bytes = std::fs::read(fixture("hives/bigdata-1.5")).unwrap();
    let len = bytes.len() as u64;
    bytes.truncate(0x1800);
    let error = Reader::open(Box::new(Counted { bytes, read: Arc::default() }), len).expect_err("cut off");
    assert!(matches!(&error, Error::Source { .. }) && error.kind() == Kind::Io, "{error}");
}

#[test]
fn damaged_hives_never_read_more_than_they_have() {
    let good = std::fs::read(fixture("hives/bigdata-1.5")).unwrap();
    let mut seeded = Seeded(0x5eed_0001);
    let mut survived = 0;
    for _ in 0..4000 {
        let mut bytes = good.clone();
        for _ in 0..=seeded.below(4) {
            let at = 0x1000 + seeded.below(good.len() as u64 - 0x1000) as usize;
            bytes[at] ^= 1 << seeded.below(8);
        }
        let (reader, read) = reader(&bytes);
        let Ok(reader) = reader else { continue };
        let mut pending = vec![(0, reader.root().unwrap())];
        let mut steps = 0;
        while let Some((depth, key)) = pending.pop() {
            steps += 1;
            let _ = key.values().map(|values| values.flatten().for_each(|value| drop(value.data())));
            if depth < 20 && steps < 2000 {
                pending.extend(key.subkeys().into_iter().flatten().flatten().map(|key| (depth + 1, key)));
            }
        }
        // Each bin once, and its header again for each page that it is found from.
        assert!(read.load(Ordering::Relaxed) <= 2 * bytes.len() as u64);
        survived += 1;
    }
    assert!(survived > 100, "{survived} were read");
}
