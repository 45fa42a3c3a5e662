//! Mapping pairs: which clusters hold a stream.
//!
//! Each pair is a byte of two sizes, then a signed number of clusters, then a signed distance from the run before;
//! without a distance the run is a hole. Pairs end with a zero byte. Decoding only: nothing here makes new runs.

use crate::error::{Error, MappingFault, Result};
use coldforge_base::{Lcn, Vcn};

/// Clusters of a stream that lie side by side.
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
    /// Returns the first VCN behind the run.
    pub fn end(&self) -> Vcn {
        Vcn(self.vcn.0.saturating_add(self.clusters))
    }
}

/// The most runs that are held of one stream: 24 MiB of memory, and far more than an attribute list can describe.
pub(super) const MOST_RUNS: usize = 1 << 20;

/// Where mapping pairs lie, for errors.
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
        // Each turn takes at least one byte of the attribute, which lies in a record of at most 4096 bytes.
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
}
