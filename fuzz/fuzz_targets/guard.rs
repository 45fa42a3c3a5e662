//! The checksums and hashes of hives and logs, written anew here so that a fuzzer's input gets past them.

/// Returns the little-endian word at `at`; 0 where there is none.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |word| u32::from_le_bytes(word.try_into().expect("four bytes")))
}

/// Overwrites the word at `at`, where there is one.
pub fn put(bytes: &mut [u8], at: usize, word: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// Gives a base block the checksum of its bytes.
pub fn seal(bytes: &mut [u8]) {
    let sum = match (0..508).step_by(4).fold(0, |sum, at| sum ^ word(bytes, at)) {
        0 => 1,
        u32::MAX => 0xffff_fffe,
        sum => sum,
    };
    put(bytes, 508, sum);
}

/// Gives a base block equal sequence numbers and the right checksum.
#[allow(dead_code, reason = "each target uses a part")]
pub fn clean(bytes: &mut [u8]) {
    let sequence = word(bytes, 4);
    put(bytes, 8, sequence);
    seal(bytes);
}

/// Gives the entries of a log the hashes of their bytes, as far as they follow one another.
#[allow(dead_code, reason = "each target uses a part")]
pub fn rehash(log: &mut [u8]) {
    let mut at = 512;
    while log.get(at..at + 4) == Some(b"HvLE") {
        let length = word(log, at + 4) as usize;
        let Some(entry) = log.get_mut(at..at + length).filter(|entry| entry.len() >= 40) else { return };
        for (field, from, to) in [(24, 40, length), (32, 0, 32)] {
            let (low, high) = marvin32(&entry[from..to]);
            put(entry, field, low);
            put(entry, field + 4, high);
        }
        at += length;
    }
}

fn marvin32(bytes: &[u8]) -> (u32, u32) {
    let (mut low, mut high) = (0x7a4e_55c5u32, 0x82ef_4d88u32);
    let words = bytes.chunks_exact(4).map(|chunk| word(chunk, 0));
    for word in words.chain([0x80, 0]) {
        low = low.wrapping_add(word);
        high ^= low;
        low = low.rotate_left(20).wrapping_add(high);
        high = high.rotate_left(9) ^ low;
        low = low.rotate_left(27).wrapping_add(high);
        high = high.rotate_left(19);
    }
    (low, high)
}
