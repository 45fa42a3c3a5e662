//! Marvin32, the hash with which Windows 8.1 and later guard the entries of a log.
//!
//! Only whole words are hashed here: an entry's parts always have such lengths.

use coldforge_base::read;

/// The seed of registry logs, low half first.
const SEED: (u32, u32) = (0x7a4e_55c5, 0x82ef_4d88);

/// The padding of a message whose length is a multiple of four.
const PADDING: [u32; 2] = [0x80, 0];

/// Returns the hash of `bytes`, of which those behind the last whole word do not count: the high half is the second
/// word of the state.
pub(super) fn marvin32(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4).map(|word| read::u32_le(word, 0).unwrap_or(0));
    let (low, high) = words.chain(PADDING).fold(SEED, mix);
    u64::from(high) << 32 | u64::from(low)
}

/// Takes one word into the state.
fn mix((low, high): (u32, u32), word: u32) -> (u32, u32) {
    let low = low.wrapping_add(word);
    let high = high ^ low;
    let low = low.rotate_left(20).wrapping_add(high);
    let high = high.rotate_left(9) ^ low;
    let low = low.rotate_left(27).wrapping_add(high);
    (low, high.rotate_left(19))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_every_word_counts() {
        let mut seen = std::collections::HashSet::from([marvin32(&[])]);
        for bit in 0..96 {
            let mut bytes = [0u8; 12];
            bytes[bit / 8] = 1 << (bit % 8);
            assert!(seen.insert(marvin32(&bytes)), "{bit}");
        }
        assert!(seen.insert(marvin32(&[0; 4])) && seen.insert(marvin32(&[0; 8])));
    }
}
