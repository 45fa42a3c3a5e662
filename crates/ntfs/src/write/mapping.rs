//! Mapping pairs, encoded: the runs of an extent as few bytes as they need.
//!
//! The reverse of `runs`: lengths and distances are signed, so 128 takes two bytes; distances count from the last real
//! run and begin at zero in each extent; a hole has no distance.

use crate::runs::Run;

/// Returns the mapping pairs of some runs, with the zero byte that ends them.
pub(super) fn encode(runs: &[Run]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0i128;
    for run in runs {
        let length = signed(run.clusters.into());
        let distance = match run.lcn {
            None => Vec::new(),
            Some(lcn) => {
                let lcn = i128::from(lcn.0);
                let distance = signed(lcn.saturating_sub(last));
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
fn signed(number: i128) -> Vec<u8> {
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
    use crate::runs::Pairs;
    use coldforge_base::{Lcn, Vcn};

    fn run(vcn: u64, lcn: Option<u64>, clusters: u64) -> Run {
        Run { vcn: Vcn(vcn), lcn: lcn.map(Lcn), clusters }
    }

    #[test]
    fn numbers_take_the_fewest_bytes_that_keep_their_sign() {
        assert_eq!(signed(0), [0]);
        assert_eq!(signed(127), [127]);
        assert_eq!(signed(128), [128, 0]);
        assert_eq!(signed(-128), [128]);
        assert_eq!(signed(-129), [0x7f, 0xff]);
        assert_eq!(signed(i64::MIN.into()).len(), 8);
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
