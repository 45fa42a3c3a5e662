//! Where two disks differ, byte for byte; what is a hole in both is not read.

use rayon::prelude::*;

use super::pieces::for_each_piece;
use super::{Error, Result};
use coldforge_base::offset::normalize;
use coldforge_base::progress::Progress;
use coldforge_base::{Extent, ReadAt, read};

const CHUNK_BYTES: u64 = 1 << 20;

/// Returns every range of bytes in which two disks differ, joined and in order; where one disk is longer, its tail
/// differs.
///
/// # Errors
/// What the devices answer.
pub fn differences(a: &dyn ReadAt, b: &dyn ReadAt, progress: &dyn Progress) -> Result<Vec<Extent>> {
    let shared = a.len().min(b.len());
    let mut data = data_extents(a, shared)?;
    data.extend(data_extents(b, shared)?);
    let data = normalize(data);
    progress.start("comparing", data.iter().map(|extent| extent.length).sum());
    let chunks: Vec<Extent> = data.into_iter().flat_map(chunks).collect();
    let found: Vec<Vec<Extent>> = chunks
        .par_iter()
        .map_init(Default::default, |(left, right): &mut (Vec<u8>, Vec<u8>), chunk| {
            let length = read::size(chunk.length);
            left.resize(length, 0);
            right.resize(length, 0);
            a.read_at(chunk.offset, left)?;
            b.read_at(chunk.offset, right)?;
            progress.advance(chunk.length);
            Ok(unequal(left, right, chunk.offset))
        })
        .collect::<Result<_>>()?;
    let mut differing: Vec<Extent> = found.into_iter().flatten().collect();
    differing.push(Extent::new(shared, a.len().max(b.len()).saturating_sub(shared)));
    Ok(normalize(differing))
}

/// Compares the changed ranges of what was written with what they should hold.
pub(super) fn check_written(disk: &dyn ReadAt, written: &dyn ReadAt, changed: &[Extent], buf: &mut [u8]) -> Result<()> {
    if written.len() != disk.len() {
        return Err(Error::ReadBack { at: written.len() });
    }
    let mut expected = vec![0; buf.len()];
    for extent in changed {
        for_each_piece(*extent, buf, |piece, buf| {
            let expected = read::slice_mut(&mut expected, 0, buf.len())?;
            disk.read_at(piece.offset, expected)?;
            written.read_at(piece.offset, buf)?;
            match expected.iter().zip(buf.iter()).position(|(expected, found)| expected != found) {
                None => Ok(()),
                Some(within) => Err(Error::ReadBack { at: piece.offset.saturating_add(within as u64) }),
            }
        })?;
    }
    Ok(())
}

/// Returns the extents below `end` that may hold data.
fn data_extents(device: &dyn ReadAt, end: u64) -> Result<Vec<Extent>> {
    let mut found = Vec::new();
    let mut from = 0;
    // Each step passes at least one byte, and a container's map holds at most one extent a block.
    while let Some(extent) = device.next_data(from)? {
        if extent.offset >= end || extent.length == 0 {
            break;
        }
        let length = extent.end().min(end).saturating_sub(extent.offset);
        found.push(Extent::new(extent.offset, length));
        from = extent.end();
    }
    Ok(found)
}

fn chunks(extent: Extent) -> impl Iterator<Item = Extent> {
    let rest = move |from: u64| Some(extent.end().saturating_sub(from)).filter(|rest| *rest > 0);
    let next = move |chunk: &Extent| rest(chunk.end()).map(|rest| Extent::new(chunk.end(), rest.min(CHUNK_BYTES)));
    std::iter::successors(rest(extent.offset).map(|rest| Extent::new(extent.offset, rest.min(CHUNK_BYTES))), next)
}

/// Returns the ranges in which two equally long buffers differ; `at` is where they begin.
fn unequal(left: &[u8], right: &[u8], at: u64) -> Vec<Extent> {
    if left == right {
        return Vec::new();
    }
    let differing = left.iter().zip(right).enumerate().filter(|(_, (a, b))| a != b);
    normalize(differing.map(|(i, _)| Extent::new(at.saturating_add(i as u64), 1)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::WriteAt as _;
    use coldforge_base::device::Memory;
    use coldforge_base::progress::Silent;

    #[test]
    fn differing_bytes_and_a_longer_tail_are_found() {
        let a = Memory(vec![0; (2 << 20) + 10]);
        let mut b = Memory(vec![0; (2 << 20) + 12]);
        b.write_at((1 << 20) - 1, &[1, 2, 3]).unwrap();
        b.write_at(5, &[9]).unwrap();
        assert_eq!(
            differences(&a, &b, &Silent).unwrap(),
            [Extent::new(5, 1), Extent::new((1 << 20) - 1, 3), Extent::new((2 << 20) + 10, 2)]
        );
        assert_eq!(differences(&a, &a, &Silent).unwrap(), []);
    }
}
