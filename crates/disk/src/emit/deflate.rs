//! Zlib streams (RFC 1950, RFC 1951) that every inflater takes.
//!
//! A block of a deflate stream may describe its codes by trees that are not complete: RFC 1951 allows it where a block
//! uses a single distance, and zlib reads it, but some inflaters (libvmdk's among them) refuse each incomplete tree.
//! What is made here has complete trees only: two distance codes at least, or the codes that the format fixes, or
//! stored bytes.

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};

use coldforge_base::read;

/// Fast, and most of what there is to win.
const LEVEL: u8 = 1;
/// The strategies of zlib's `deflateInit2`: by the contents, and the format's fixed codes only.
const DEFAULT: i32 = 0;
const FIXED: i32 = 4;
/// Bytes of a zlib stream before its first block.
const ZLIB_HEAD_BYTES: usize = 2;

/// Deflates a grain, which has at most 64 KiB, into a zlib stream whose trees are all complete.
pub(super) fn deflate(grain: &[u8]) -> Vec<u8> {
    let packed = compress_to_vec_zlib(grain, LEVEL);
    if Block::at(&packed, ZLIB_HEAD_BYTES) == (Block { is_last: true, is_complete: true }) {
        return packed;
    }
    // Either a tree is not complete, or there is a second block, which begins at a bit that only an inflater knows.
    in_halves(grain).unwrap_or_else(|| {
        let (fixed, stored) = (with_fixed_codes(grain), stored(grain, &packed));
        if fixed.len() < stored.len() { fixed } else { stored }
    })
}

/// Deflates a grain by the codes that the format fixes.
fn with_fixed_codes(grain: &[u8]) -> Vec<u8> {
    let flags = create_comp_flags_from_zip_params(LEVEL.into(), 1, FIXED);
    let mut packed = Vec::new();
    let whole = append(&mut CompressorOxide::new(flags), grain, TDEFLFlush::Finish, &mut packed);
    debug_assert!(whole, "a vector takes every byte");
    packed
}

/// Returns a stream that holds a grain as it is; `packed` is another stream of it, whose checksum is the same.
fn stored(grain: &[u8], packed: &[u8]) -> Vec<u8> {
    // A window of 32 KiB, the fastest algorithm.
    let mut stream = vec![0x78, 0x01];
    let mut rest = grain;
    loop {
        let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
        let (bytes, behind) = rest.split_at(length.into());
        stream.push(u8::from(behind.is_empty()));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(bytes);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    stream.extend_from_slice(packed.last_chunk::<4>().unwrap_or(&[0; 4]));
    stream
}

/// Deflates the halves of a grain into a block each, of which the second begins at a whole byte; `None` if a tree of
/// theirs is not complete.
///
/// The compressor closes a block when its buffer of 64 KiB is full, and a byte takes at most 9/8 of one there: half a
/// grain always makes a single block.
fn in_halves(grain: &[u8]) -> Option<Vec<u8>> {
    let flags = create_comp_flags_from_zip_params(LEVEL.into(), 1, DEFAULT);
    let mut compressor = CompressorOxide::new(flags);
    let (first, second) = grain.split_at_checked(grain.len() / 2)?;
    let mut packed = Vec::new();
    let whole = append(&mut compressor, first, TDEFLFlush::Sync, &mut packed);
    let second_at = packed.len();
    let whole = whole && append(&mut compressor, second, TDEFLFlush::Finish, &mut packed);
    let first_is_good = Block::at(&packed, ZLIB_HEAD_BYTES).is_complete;
    let last = Block::at(&packed, second_at);
    (whole && first_is_good && last.is_last && last.is_complete).then_some(packed)
}

/// Deflates some bytes behind what a compressor has made before; tells whether it took all of them.
fn append(compressor: &mut CompressorOxide, mut bytes: &[u8], flush: TDEFLFlush, packed: &mut Vec<u8>) -> bool {
    let mut room = vec![0; bytes.len().saturating_add(1 << 10)];
    // Ends when the compressor has nothing more to give: each other round takes or gives a byte.
    loop {
        let (status, taken, given) = compress(compressor, bytes, &mut room, flush);
        packed.extend_from_slice(room.get(..given).unwrap_or_default());
        bytes = bytes.get(taken..).unwrap_or_default();
        match status {
            TDEFLStatus::Done => return bytes.is_empty(),
            TDEFLStatus::Okay if flush != TDEFLFlush::Finish && bytes.is_empty() && given < room.len() => return true,
            TDEFLStatus::Okay if taken > 0 || given > 0 => {}
            _ => return false,
        }
    }
}

/// What the head of a deflate block says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Block {
    /// No other block follows.
    is_last: bool,
    /// Each tree is complete, or there is none.
    is_complete: bool,
}

/// The order in which the lengths of the codes for lengths stand (RFC 1951, 3.2.7).
const LENGTHS_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

impl Block {
    /// Reads the head of the block that begins at a whole byte of a stream; one that cannot be read is not complete.
    fn at(stream: &[u8], at: usize) -> Self {
        let mut bits = Bits { bytes: stream.get(at..).unwrap_or_default(), at: 0 };
        let head = bits.take(1).zip(bits.take(2));
        let (is_last, kind) = head.unwrap_or_default();
        let is_complete = match kind {
            0 | 1 => head.is_some(),
            2 => has_complete_trees(&mut bits).unwrap_or(false),
            _ => false,
        };
        Self { is_last: is_last == 1, is_complete }
    }
}

/// Reads the three trees of a block with dynamic codes.
fn has_complete_trees(bits: &mut Bits<'_>) -> Option<bool> {
    let literals = bits.take(5)?.checked_add(257)?;
    let distances = bits.take(5)?.checked_add(1)?;
    let count = usize::try_from(bits.take(4)?.checked_add(4)?).ok()?;
    let mut of_lengths = [0u8; 19];
    for place in LENGTHS_ORDER.iter().take(count) {
        *of_lengths.get_mut(*place)? = u8::try_from(bits.take(3)?).ok()?;
    }
    if !is_complete(&of_lengths) {
        return Some(false);
    }
    let literals = usize::try_from(literals).ok()?;
    let all = usize::try_from(distances).ok()?.checked_add(literals)?;
    let mut lengths: Vec<u8> = Vec::with_capacity(all);
    // Each round adds a length at least.
    while lengths.len() < all {
        let (length, times) = match bits.symbol(&of_lengths)? {
            16 => (*lengths.last()?, bits.take(2)?.checked_add(3)?),
            17 => (0, bits.take(3)?.checked_add(3)?),
            18 => (0, bits.take(7)?.checked_add(11)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, usize::try_from(times).ok()?));
    }
    let (literals, distances) = lengths.split_at_checked(literals)?;
    Some(lengths.len() == all && is_complete(literals) && is_complete(distances))
}

/// Tells whether codes of these lengths use every sequence of bits, which takes two codes at least.
fn is_complete(lengths: &[u8]) -> bool {
    let shares = lengths.iter().filter(|length| **length > 0);
    shares.fold(0u32, |sum, length| sum.saturating_add(0x8000u32.checked_shr((*length).into()).unwrap_or(0))) == 0x8000
}

/// Bits of a stream, the lowest of a byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for i in 0..count {
            let byte = read::u8(self.bytes, self.at / 8).ok()?;
            value |= u32::from(byte >> (self.at % 8) & 1).checked_shl(i)?;
            self.at = self.at.checked_add(1)?;
        }
        Some(value)
    }

    /// Reads a symbol of the canonical code with these lengths.
    fn symbol(&mut self, lengths: &[u8; 19]) -> Option<u8> {
        let (mut code, mut first) = (0u32, 0u32);
        for length in 1u8..=7 {
            code |= self.take(1)?;
            let here = || (0u8..).zip(lengths).filter(|(_, found)| **found == length);
            let count = u32::try_from(here().count()).ok()?;
            let index = code.checked_sub(first)?;
            if index < count {
                return here().nth(usize::try_from(index).ok()?).map(|(symbol, _)| symbol);
            }
            first = first.checked_add(count)?.checked_shl(1)?;
            code = code.checked_shl(1)?;
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use miniz_oxide::inflate::decompress_to_vec_zlib;

    use super::*;

    const GRAIN: usize = 64 << 10;

    /// Walks a whole stream by an inflater of its own that refuses each incomplete tree; returns the number of blocks.
    fn inflate_strictly(stream: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut bits = Bits { bytes: stream, at: 16 };
        let (mut out, mut blocks) = (Vec::new(), 0);
        loop {
            blocks += 1;
            let last = bits.take(1)?;
            let (literals, distances) = match bits.take(2)? {
                0 => {
                    bits.at = bits.at.next_multiple_of(8);
                    let length = bits.take(16)? as usize;
                    bits.take(16)?;
                    out.extend_from_slice(&stream[bits.at / 8..][..length]);
                    bits.at += length * 8;
                    if last == 1 {
                        return Some((out, blocks));
                    }
                    continue;
                }
                1 => {
                    let literals = (0..288)
                        .map(|i| [8, 9, 7, 8][usize::from(i > 143) + usize::from(i > 255) + usize::from(i > 279)]);
                    (literals.collect::<Vec<u8>>(), vec![5; 32])
                }
                2 => dynamic(&mut bits)?,
                _ => return None,
            };
            let (literals, distances) = (tree(&literals)?, tree(&distances)?);
            loop {
                let symbol = decode(&mut bits, &literals)?;
                match symbol {
                    0..=255 => out.push(symbol as u8),
                    256 => break,
                    _ => {
                        let length = LENGTHS[symbol - 257].0 + bits.take(LENGTHS[symbol - 257].1)? as usize;
                        let distance = decode(&mut bits, &distances)?;
                        let extra = (distance as u32 / 2).saturating_sub(1);
                        let base = if distance < 4 { distance + 1 } else { ((2 + distance % 2) << extra) + 1 };
                        let from = out.len().checked_sub(base + bits.take(extra)? as usize)?;
                        for i in from..from + length {
                            out.push(out[i]);
                        }
                    }
                }
            }
            if last == 1 {
                return Some((out, blocks));
            }
        }
    }

    const LENGTHS: [(usize, u32); 29] = [
        (3, 0),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
        (8, 0),
        (9, 0),
        (10, 0),
        (11, 1),
        (13, 1),
        (15, 1),
        (17, 1),
        (19, 2),
        (23, 2),
        (27, 2),
        (31, 2),
        (35, 3),
        (43, 3),
        (51, 3),
        (59, 3),
        (67, 4),
        (83, 4),
        (99, 4),
        (115, 4),
        (131, 5),
        (163, 5),
        (195, 5),
        (227, 5),
        (258, 0),
    ];

    fn dynamic(bits: &mut Bits<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
        let (literals, distances) = (bits.take(5)? as usize + 257, bits.take(5)? as usize + 1);
        let mut of_lengths = vec![0u8; 19];
        for place in LENGTHS_ORDER.iter().take(bits.take(4)? as usize + 4) {
            of_lengths[*place] = bits.take(3)? as u8;
        }
        let of_lengths = tree(&of_lengths)?;
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (length, times) = match decode(bits, &of_lengths)? {
                16 => (*lengths.last()?, bits.take(2)? + 3),
                17 => (0, bits.take(3)? + 3),
                18 => (0, bits.take(7)? + 11),
                length => (length as u8, 1),
            };
            lengths.extend(vec![length; times as usize]);
        }
        let distances = lengths.split_off(literals);
        Some((lengths, distances))
    }

    /// The symbols of a tree by the length and the bits of their codes.
    type Tree = std::collections::HashMap<(u32, usize), usize>;

    /// Builds a tree; `None` for one that is not complete.
    fn tree(lengths: &[u8]) -> Option<Tree> {
        let sum: u32 = lengths.iter().filter(|length| **length > 0).map(|length| 1 << (16 - length)).sum();
        let (mut tree, mut code) = (Tree::new(), 0);
        for length in 1..=15 {
            for symbol in (0..lengths.len()).filter(|symbol| lengths[*symbol] == length) {
                tree.insert((length.into(), code), symbol);
                code += 1;
            }
            code <<= 1;
        }
        (sum == 1 << 16).then_some(tree)
    }

    fn decode(bits: &mut Bits<'_>, tree: &Tree) -> Option<usize> {
        let mut code = 0;
        for length in 1..=15 {
            code = code << 1 | bits.take(1)? as usize;
            if let Some(symbol) = tree.get(&(length, code)) {
                return Some(*symbol);
            }
        }
        None
    }

    #[track_caller]
    fn assert_taken(grain: &[u8], what: &str) -> Vec<u8> {
        let packed = deflate(grain);
        assert!(decompress_to_vec_zlib(&packed).unwrap() == grain, "{what}");
        let strictly = inflate_strictly(&packed).map(|(bytes, _)| bytes);
        assert!(strictly.as_deref() == Some(grain), "{what}: a strict inflater refuses it");
        packed
    }

    /// Returns bytes of a few letters in which no three follow one another twice, so that nothing in them matches.
    fn unlike(letters: u64, length: usize, random: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
        let (mut seen, mut bytes) = (std::collections::HashSet::new(), vec![0u8, 1]);
        while bytes.len() < length {
            let next = random(letters) as u8;
            if seen.insert([bytes[bytes.len() - 2], bytes[bytes.len() - 1], next]) {
                bytes.push(next);
            }
        }
        bytes
    }

    fn generator(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |bound| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        }
    }

    #[test]
    fn a_grain_with_one_distance_is_packed_so_that_a_strict_inflater_takes_it() {
        let mut random = generator(7);
        let mut refused = 0;
        for (letters, distance) in [(240, 1), (240, 2), (200, 2), (120, 2), (100, 3), (64, 1), (64, 4)] {
            for place in [100, 40_000, GRAIN - 20] {
                let mut grain = unlike(letters, GRAIN, &mut random);
                for i in place..place + 10 {
                    grain[i] = grain[i - distance];
                }
                refused += usize::from(inflate_strictly(&compress_to_vec_zlib(&grain, LEVEL)).is_none());
                let packed = assert_taken(&grain, &format!("{letters} letters, distance {distance} at {place}"));
                assert!(packed.len() <= GRAIN + 32, "{letters} letters take {} bytes", packed.len());
            }
        }
        assert!(refused > 5, "the plain streams of some of these are refused: {refused}");
        // No distance at all, and many.
        assert_taken(&unlike(64, GRAIN, &mut random), "no match");
        for period in [1usize, 2, 3, 7, 512, 4096] {
            let grain: Vec<u8> = (0..GRAIN).map(|i| (i % period) as u8 ^ 77).collect();
            let packed = assert_taken(&grain, &format!("a period of {period}"));
            assert!(packed.len() < 10_000, "a period of {period} takes {} bytes", packed.len());
        }
    }

    #[test]
    fn grains_of_every_kind_are_taken_and_stay_small() {
        let mut random = generator(1);
        for round in 0..24 {
            // From bytes that nothing packs to text of a few letters, with a match here and there.
            let letters = [256, 200, 64, 16, 3, 2][round % 6];
            let mut grain: Vec<u8> = (0..GRAIN).map(|_| random(letters) as u8).collect();
            for _ in 0..round / 6 {
                let (from, to) = (random(30_000) as usize, 32_000 + random(30_000) as usize);
                grain.copy_within(from..from + 40, to);
            }
            let packed = assert_taken(&grain, &format!("{letters} letters"));
            let plain = compress_to_vec_zlib(&grain, LEVEL).len();
            assert!(packed.len() < plain + plain / 50 + 200, "{letters} letters: {} for {plain}", packed.len());
        }
        for length in [0, 1, 31, 47, 48, 512, 40_000] {
            assert_taken(&vec![9; length], "a short one");
        }
    }
}
