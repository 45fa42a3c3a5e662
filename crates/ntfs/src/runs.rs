//! Mapping pairs: which clusters hold a stream. Decoded to runs and encoded again.
//!
//! Each pair is a byte of two sizes, then a signed number of clusters, then a signed distance from the start of the
//! last run that is not a hole, counted from zero in each extent. A run without a distance is a hole. Numbers are
//! signed, so a length of 128 takes two bytes. Pairs end with a zero byte. Nothing here decides which clusters a stream
//! gets.

use crate::error::{Error, MappingFault, Result};
use coldforge_base::{Lcn, Vcn};

/// Contiguous clusters of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Run {
    /// First cluster of the run in the stream.
    pub vcn: Vcn,
    /// First cluster of the run in the volume; `None` for a hole.
    pub lcn: Option<Lcn>,
    /// Number of clusters, at least 1.
    pub clusters: u64,
}

impl Run {
    /// Returns the first VCN after the run.
    pub fn end(&self) -> Vcn {
        Vcn(self.vcn.0.saturating_add(self.clusters))
    }
}

/// The most runs that are held of one stream: 24 MiB of memory, and far more than an attribute list can describe.
pub(super) const MOST_RUNS: usize = 1 << 20;

/// Where mapping pairs are, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs<'a> {
    /// Number of the record that holds them.
    pub record: u64,
    /// First byte in the record.
    pub offset: usize,
    /// The pairs and whatever fills their attribute.
    pub bytes: &'a [u8],
}

impl Pairs<'_> {
    /// Appends the runs of the extent `lowest..end` to `runs`.
    ///
    /// Runs that touch are joined. A run outside the `clusters` of the volume is an error.
    ///
    /// # Errors
    /// [`Error::MappingPairs`]; [`Error::TooFragmented`] if there are more than [`MOST_RUNS`].
    pub fn decode_into(self, runs: &mut Vec<Run>, lowest: Vcn, end: Vcn, clusters: u64) -> Result<()> {
        let fault = |fault| Error::MappingPairs { record: self.record, byte: self.offset, fault };
        let (mut vcn, mut lcn) = (lowest.0, 0i64);
        let mut rest = self.bytes;
        // Each turn takes at least one byte of the attribute, which is in a record of at most 4096 bytes.
        loop {
            let (sizes, tail) = rest.split_first().ok_or_else(|| fault(MappingFault::Unterminated))?;
            if *sizes == 0 {
                break;
            }
            let (length, tail) = signed(tail, sizes & 15).map_err(fault)?;
            let (distance, tail) = signed(tail, sizes >> 4).map_err(fault)?;
            rest = tail;

            let length = u64::try_from(length).ok().filter(|l| *l > 0).ok_or_else(|| fault(MappingFault::Empty))?;
            let next = vcn.checked_add(length).filter(|next| *next <= end.0);
            let next = next.ok_or_else(|| fault(MappingFault::WrongCount))?;
            let start = if sizes >> 4 == 0 {
                None
            } else {
                lcn = lcn.checked_add(distance).ok_or_else(|| fault(MappingFault::Overflow))?;
                let start = u64::try_from(lcn).map_err(|_| fault(MappingFault::OutsideVolume))?;
                let inside = start.checked_add(length).is_some_and(|end| end <= clusters);
                Some(inside.then_some(Lcn(start)).ok_or_else(|| fault(MappingFault::OutsideVolume))?)
            };
            push(runs, Run { vcn: Vcn(vcn), lcn: start, clusters: length });
            if runs.len() > MOST_RUNS {
                return Err(Error::TooFragmented { record: self.record, limit: MOST_RUNS });
            }
            vcn = next;
        }
        if vcn == end.0 { Ok(()) } else { Err(fault(MappingFault::WrongCount)) }
    }
}

/// Appends a run, or lengthens the last one if the new one continues it.
pub(super) fn push(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) = runs.last_mut() {
        let continues = match (last.lcn, run.lcn) {
            (None, None) => true,
            (Some(last_lcn), Some(lcn)) => last_lcn.checked_add(last.clusters) == Some(lcn),
            _ => false,
        };
        if continues && last.end() == run.vcn {
            last.clusters = last.clusters.saturating_add(run.clusters);
            return;
        }
    }
    runs.push(run);
}

/// Takes a signed little-endian number of `size` bytes.
fn signed(bytes: &[u8], size: u8) -> std::result::Result<(i64, &[u8]), MappingFault> {
    let (number, rest) = bytes.split_at_checked(usize::from(size)).ok_or(MappingFault::Unterminated)?;
    let negative = number.last().is_some_and(|last| last & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide.get_mut(..number.len()).ok_or(MappingFault::Overflow)?.copy_from_slice(number);
    Ok((i64::from_le_bytes(wide), rest))
}

/// Returns the mapping pairs of some runs, with the zero byte that ends them.
pub(super) fn encode(runs: &[Run]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0i128;
    for run in runs {
        let length = signed_bytes(run.clusters.into());
        let distance = match run.lcn {
            None => Vec::new(),
            Some(lcn) => {
                let lcn = i128::from(lcn.0);
                let distance = signed_bytes(lcn.saturating_sub(last));
                last = lcn;
                distance
            }
        };
        // Neither number has more than nine bytes.
        let [sizes, ..] = (distance.len() << 4 | length.len()).to_le_bytes();
        bytes.push(sizes);
        bytes.extend(length);
        bytes.extend(distance);
    }
    bytes.push(0);
    bytes
}

/// Returns the fewest little-endian bytes that hold a number with its sign: at least one.
fn signed_bytes(number: i128) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    while let [.., before, last] = bytes.as_slice() {
        let is_negative = before & 0x80 != 0;
        if *last != if is_negative { 0xff } else { 0 } {
            break;
        }
        bytes.pop();
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], lowest: u64, end: u64, clusters: u64) -> std::result::Result<Vec<Run>, MappingFault> {
        let mut runs = Vec::new();
        match (Pairs { record: 0, offset: 0, bytes }).decode_into(&mut runs, Vcn(lowest), Vcn(end), clusters) {
            Ok(()) => Ok(runs),
            Err(Error::MappingPairs { fault, .. }) => Err(fault),
            Err(other) => panic!("{other}"),
        }
    }

    fn run(vcn: u64, lcn: Option<u64>, clusters: u64) -> Run {
        Run { vcn: Vcn(vcn), lcn: lcn.map(Lcn), clusters }
    }

    #[test]
    fn distances_count_from_the_last_real_run_over_holes() {
        let pairs = [0x21, 0x10, 0x00, 0x01, 0x01, 0x05, 0x11, 0x04, 0xf0, 0x00];
        let runs = decode(&pairs, 0, 0x19, 0x1000).unwrap();
        assert_eq!(runs, [run(0, Some(0x100), 0x10), run(0x10, None, 5), run(0x15, Some(0xf0), 4)]);
    }

    #[test]
    fn a_run_at_cluster_zero_is_not_a_hole() {
        assert_eq!(decode(&[0x11, 0x02, 0x00, 0x00], 0, 2, 16).unwrap(), [run(0, Some(0), 2)]);
    }

    #[test]
    fn runs_that_touch_are_joined() {
        let pairs = [0x11, 0x02, 0x04, 0x11, 0x03, 0x02, 0x11, 0x01, 0x04, 0x00];
        assert_eq!(decode(&pairs, 7, 13, 16).unwrap(), [run(7, Some(4), 5), run(12, Some(10), 1)]);
    }

    #[test]
    fn lengths_are_signed_so_128_needs_two_bytes() {
        assert_eq!(decode(&[0x12, 0x80, 0x00, 0x01, 0x00], 0, 128, 256).unwrap(), [run(0, Some(1), 128)]);
        assert_eq!(decode(&[0x11, 0x80, 0x01, 0x00], 0, 128, 256), Err(MappingFault::Empty));
    }

    #[test]
    fn an_empty_stream_has_only_the_end_mark() {
        assert_eq!(decode(&[0], 0, 0, 16).unwrap(), []);
    }

    #[test]
    fn damaged_pairs_are_told_apart() {
        assert_eq!(decode(&[0x11, 0x02], 0, 2, 16), Err(MappingFault::Unterminated));
        assert_eq!(decode(&[0x11, 0x02, 0x04], 0, 2, 16), Err(MappingFault::Unterminated));
        assert_eq!(decode(&[0x11, 0x00, 0x04, 0x00], 0, 2, 16), Err(MappingFault::Empty));
        assert_eq!(decode(&[0x11, 0x02, 0x0f, 0x00], 0, 2, 16), Err(MappingFault::OutsideVolume));
        assert_eq!(decode(&[0x11, 0x02, 0xff, 0x00], 0, 2, 16), Err(MappingFault::OutsideVolume));
        assert_eq!(decode(&[0x11, 0x03, 0x01, 0x00], 0, 2, 16), Err(MappingFault::WrongCount));
        assert_eq!(decode(&[0x11, 0x01, 0x01, 0x00], 0, 2, 16), Err(MappingFault::WrongCount));
        assert_eq!(decode(&[0x1f; 32], 0, 2, 16), Err(MappingFault::Overflow));
        let far = [0x88, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 0x7f];
        assert_eq!(decode(&[&far[..], &far, &[0]].concat(), 0, 2, u64::MAX), Err(MappingFault::Overflow));
    }

    #[test]
    fn numbers_take_the_fewest_bytes_that_keep_their_sign() {
        assert_eq!(signed_bytes(0), [0]);
        assert_eq!(signed_bytes(127), [127]);
        assert_eq!(signed_bytes(128), [128, 0]);
        assert_eq!(signed_bytes(-128), [128]);
        assert_eq!(signed_bytes(-129), [0x7f, 0xff]);
        assert_eq!(signed_bytes(i64::MIN.into()).len(), 8);
    }

    #[test]
    fn known_pairs_are_made() {
        let runs = [run(0, Some(0x100), 0x10), run(0x10, None, 5), run(0x15, Some(0xf0), 4)];
        assert_eq!(encode(&runs), [0x21, 0x10, 0x00, 0x01, 0x01, 0x05, 0x11, 0x04, 0xf0, 0x00]);
        assert_eq!(encode(&[]), [0]);
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let mut seed = 5u64;
        let mut next = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 20) % bound
        };
        for _ in 0..500 {
            let (mut runs, mut vcn, mut was_hole) = (Vec::new(), 7u64, true);
            for i in 0..next(20) {
                let bits = next(36);
                let clusters = 1 + next(1 << bits);
                let hole = !was_hole && next(4) == 0;
                // Apart, so that no two are joined.
                let lcn = (i + 1) << 40 | next(1 << 39) << 1;
                let lcn = if next(2) == 0 { lcn } else { (1 << 50) - lcn };
                runs.push(run(vcn, (!hole).then_some(lcn), clusters));
                was_hole = hole;
                vcn += clusters;
            }
            let bytes = encode(&runs);
            let mut decoded = Vec::new();
            let pairs = Pairs { record: 0, offset: 0, bytes: &bytes };
            pairs.decode_into(&mut decoded, Vcn(7), Vcn(vcn), 1 << 60).unwrap();
            assert_eq!(decoded, runs);
        }
    }
}
