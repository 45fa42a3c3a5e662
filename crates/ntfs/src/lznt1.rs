//! Decompression of LZNT1, the compression of NTFS, for units of 16 clusters (MS-XCA 2.5).
//!
//! A unit is a sequence of chunks. The 16-bit header of a chunk holds the size of header and data less 3 (12 bits), the
//! value 3 (3 bits) and a flag for compressed data (1 bit); a chunk expands to at most 4096 bytes. In a compressed
//! chunk, each bit of a tag byte says whether a literal byte or a 16-bit pair of distance and length follows. The
//! further the chunk is expanded, the more bits of a pair hold the distance. A header of zero ends the unit; the rest
//! of it is zeros.

use coldforge_base::read;

/// What a chunk gives at most.
const CHUNK_BYTES: usize = 4096;

/// Decompresses a unit into `out`, and fills the rest with zeros; `None` if it is damaged.
pub(super) fn decompress(unit: &[u8], out: &mut [u8]) -> Option<()> {
    let (mut at, mut rest) = (0usize, out);
    // Each turn moves on by at least three bytes of the unit, or ends.
    while !rest.is_empty() {
        let header = read::u16_le(unit, at).unwrap_or(0);
        if header == 0 {
            break;
        }
        let length = usize::from(header & 0xfff).checked_add(1)?;
        let data = read::slice(unit, at.checked_add(2)?, length).ok()?;
        at = at.checked_add(length)?.checked_add(2)?;
        let (chunk, tail) = rest.split_at_mut(rest.len().min(CHUNK_BYTES));
        if header & 0x8000 != 0 {
            decompress_chunk(data, chunk)?;
        } else {
            let (stored, missing) = chunk.split_at_mut_checked(data.len())?;
            stored.copy_from_slice(data);
            missing.fill(0);
        }
        rest = tail;
    }
    rest.fill(0);
    Some(())
}

fn decompress_chunk(data: &[u8], out: &mut [u8]) -> Option<()> {
    let (mut data, mut done) = (data, 0usize);
    // Each turn takes a tag byte and the items that it describes.
    while let Some((tags, rest)) = data.split_first() {
        data = rest;
        for bit in 0..8 {
            if data.is_empty() {
                break;
            }
            if tags & 1u8.wrapping_shl(bit) == 0 {
                let (byte, rest) = data.split_first()?;
                *out.get_mut(done)? = *byte;
                (data, done) = (rest, done.checked_add(1)?);
                continue;
            }
            let pair = u32::from(read::u16_le(data, 0).ok()?);
            data = data.get(2..)?;
            let length_bits = length_bits(done)?;
            let distance = (pair.wrapping_shr(length_bits) as usize).checked_add(1)?;
            let length = (pair & 1u32.wrapping_shl(length_bits).wrapping_sub(1)) as usize;
            let length = length.checked_add(3)?;
            let from = done.checked_sub(distance)?;
            // Source and target may overlap, which repeats what was just written: byte by byte.
            for source in (from..).take(length) {
                let byte = *out.get(source)?;
                *out.get_mut(done)? = byte;
                done = done.checked_add(1)?;
            }
        }
    }
    out.get_mut(done..)?.fill(0);
    Some(())
}

/// Returns how many bits of a pair are the length, when `done` bytes of the chunk are out.
fn length_bits(done: usize) -> Option<u32> {
    let last = u32::try_from(done.checked_sub(1)?).ok()?;
    // 12 for up to 16 bytes, one less each time that they double, 4 from 2049 on.
    Some(12u32.saturating_sub(u32::BITS.saturating_sub((last >> 4).leading_zeros())))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn plain(unit: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut out = vec![0xee; length];
        decompress(unit, &mut out).map(|()| out)
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        // MS-XCA 3.2: 142 bytes of F#, C# and so on, in one chunk of 59 bytes.
        let unit = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47, 0x01, 0xa0, 0x45,
            0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xb4,
            0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00,
            0x04, 0x01, 0x18, 0x90, 0x00,
        ];
        let text = "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# \
                    E D E A F# F# G A A G F# E D D E F# E D D\0";
        assert_eq!(plain(&unit, text.len()).map(|out| String::from_utf8(out).unwrap()).as_deref(), Some(text));
    }

    #[test]
    fn plain_chunks_and_a_short_end_are_read() {
        assert_eq!(plain(&[0x02, 0x30, 1, 2, 3, 0, 0], 5), Some(vec![1, 2, 3, 0, 0]));
        // A byte, then one pair: distance 1, length 7.
        assert_eq!(plain(&[0x03, 0xb0, 0b10, 9, 4, 0], 9), Some(vec![9, 9, 9, 9, 9, 9, 9, 9, 0]));
    }

    #[test]
    fn damaged_units_are_told() {
        // A chunk that leaves the unit, a pair before any byte, a distance in front of the chunk, too many bytes.
        assert_eq!(plain(&[0x0f, 0xb0, 0, 1], 64), None);
        assert_eq!(plain(&[0x02, 0xb0, 0b1, 4, 0], 64), None);
        assert_eq!(plain(&[0x03, 0xb0, 0b10, 9, 4, 0x10], 64), None);
        assert_eq!(plain(&[0x03, 0xb0, 0b10, 9, 4, 0], 4), None);
        for length in 0..2048usize {
            let unit: Vec<u8> = (0..length).map(|i| (i * i + length) as u8).collect();
            let _ = plain(&unit, 0x1_0000);
        }
    }
}
