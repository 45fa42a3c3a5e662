//! The upper case of names, which decides the order of keys, their hashes, and whether two names are the same.
//!
//! Windows compares names by its own table of 16-bit code units (the one it also stores in the NTFS file `$UpCase`),
//! not by Unicode: U+00B5, U+0131, U+017F and U+03C2 stay as they are, U+1F80 becomes U+1F88, Cherokee and Georgian
//! have no case, and a character above U+FFFF is two caseless units. The table is fixed here, not derived from
//! [`char::to_uppercase`]: a newer Unicode version in the compiler must never change a hash.

use std::cmp::Ordering;

/// Returns the upper case of one UTF-16 code unit.
#[inline]
pub(super) fn unit(unit: u16) -> u16 {
    match unit {
        0x61..=0x7a => unit & !0x20,
        ..0x80 => unit,
        _ => beyond_ascii(unit),
    }
}

fn beyond_ascii(unit: u16) -> u16 {
    let after = RUNS.partition_point(|run| run.0 <= unit);
    match after.checked_sub(1).and_then(|index| RUNS.get(index)) {
        Some((first, last, step, delta)) if unit <= *last && unit.wrapping_sub(*first) & (step >> 1) == 0 => {
            unit.wrapping_add_signed(*delta)
        }
        _ => unit,
    }
}

/// Compares two names as the registry orders keys: unit by unit in upper case, a prefix first.
pub(super) fn compare(a: impl Iterator<Item = u16>, b: impl Iterator<Item = u16>) -> Ordering {
    a.map(unit).cmp(b.map(unit))
}

/// Returns the hash of a name that `lh` lists carry: over the upper-cased units, h = 37 h + unit, modulo 2^32.
pub(super) fn hash(units: impl Iterator<Item = u16>) -> u32 {
    units.fold(0, |hash: u32, next| hash.wrapping_mul(37).wrapping_add(u32::from(unit(next))))
}

/// Returns the hash of a name of Latin-1 characters: the same as [`hash`], with less waiting for each product.
pub(super) fn hash_latin1(raw: &[u8]) -> u32 {
    let upper = |byte: u8| u32::from(unit(u16::from(byte)));
    let (fours, rest) = raw.as_chunks::<4>();
    let hash = fours.iter().fold(0u32, |hash, four| {
        let [a, b, c, d] = four.map(upper);
        let sum = a.wrapping_mul(37 * 37 * 37).wrapping_add(b.wrapping_mul(37 * 37));
        let sum = sum.wrapping_add(c.wrapping_mul(37)).wrapping_add(d);
        hash.wrapping_mul(37 * 37 * 37 * 37).wrapping_add(sum)
    });
    rest.iter().fold(hash, |hash, byte| hash.wrapping_mul(37).wrapping_add(upper(*byte)))
}

/// First unit, last unit, step (1 or 2), and what is added modulo 2^16; ascending, without overlap.
#[rustfmt::skip]
const RUNS: &[(u16, u16, u16, i16)] = &[
    (0x61, 0x7a, 1, -32), (0xe0, 0xf6, 1, -32), (0xf8, 0xfe, 1, -32), (0xff, 0xff, 1, 121), (0x101, 0x12f, 2, -1),
    (0x133, 0x137, 2, -1), (0x13a, 0x148, 2, -1), (0x14b, 0x177, 2, -1), (0x17a, 0x17e, 2, -1),
    (0x180, 0x180, 1, 195), (0x183, 0x185, 2, -1), (0x188, 0x188, 1, -1), (0x18c, 0x18c, 1, -1),
    (0x192, 0x192, 1, -1), (0x195, 0x195, 1, 97), (0x199, 0x199, 1, -1), (0x19a, 0x19a, 1, 163),
    (0x19e, 0x19e, 1, 130), (0x1a1, 0x1a5, 2, -1), (0x1a8, 0x1a8, 1, -1), (0x1ad, 0x1ad, 1, -1),
    (0x1b0, 0x1b0, 1, -1), (0x1b4, 0x1b6, 2, -1), (0x1b9, 0x1b9, 1, -1), (0x1bd, 0x1bd, 1, -1), (0x1bf, 0x1bf, 1, 56),
    (0x1c6, 0x1c6, 1, -2), (0x1c9, 0x1c9, 1, -2), (0x1cc, 0x1cc, 1, -2), (0x1ce, 0x1dc, 2, -1),
    (0x1dd, 0x1dd, 1, -79), (0x1df, 0x1ef, 2, -1), (0x1f3, 0x1f3, 1, -2), (0x1f5, 0x1f5, 1, -1),
    (0x1f9, 0x21f, 2, -1), (0x223, 0x233, 2, -1), (0x23c, 0x23c, 1, -1), (0x242, 0x242, 1, -1), (0x247, 0x24f, 2, -1),
    (0x250, 0x250, 1, 10783), (0x251, 0x251, 1, 10780), (0x253, 0x253, 1, -210), (0x254, 0x254, 1, -206),
    (0x256, 0x257, 1, -205), (0x259, 0x259, 1, -202), (0x25b, 0x25b, 1, -203), (0x260, 0x260, 1, -205),
    (0x263, 0x263, 1, -207), (0x268, 0x268, 1, -209), (0x269, 0x269, 1, -211), (0x26b, 0x26b, 1, 10743),
    (0x26f, 0x26f, 1, -211), (0x271, 0x271, 1, 10749), (0x272, 0x272, 1, -213), (0x275, 0x275, 1, -214),
    (0x27d, 0x27d, 1, 10727), (0x280, 0x280, 1, -218), (0x283, 0x283, 1, -218), (0x288, 0x288, 1, -218),
    (0x289, 0x289, 1, -69), (0x28a, 0x28b, 1, -217), (0x28c, 0x28c, 1, -71), (0x292, 0x292, 1, -219),
    (0x371, 0x373, 2, -1), (0x377, 0x377, 1, -1), (0x37b, 0x37d, 1, 130), (0x3ac, 0x3ac, 1, -38),
    (0x3ad, 0x3af, 1, -37), (0x3b1, 0x3c1, 1, -32), (0x3c3, 0x3cb, 1, -32), (0x3cc, 0x3cc, 1, -64),
    (0x3cd, 0x3ce, 1, -63), (0x3d7, 0x3d7, 1, -8), (0x3d9, 0x3ef, 2, -1), (0x3f2, 0x3f2, 1, 7), (0x3f8, 0x3f8, 1, -1),
    (0x3fb, 0x3fb, 1, -1), (0x430, 0x44f, 1, -32), (0x450, 0x45f, 1, -80), (0x461, 0x481, 2, -1),
    (0x48b, 0x4bf, 2, -1), (0x4c2, 0x4ce, 2, -1), (0x4cf, 0x4cf, 1, -15), (0x4d1, 0x523, 2, -1),
    (0x561, 0x586, 1, -48), (0x1d79, 0x1d79, 1, -30204), (0x1d7d, 0x1d7d, 1, 3814), (0x1e01, 0x1e95, 2, -1),
    (0x1ea1, 0x1eff, 2, -1), (0x1f00, 0x1f07, 1, 8), (0x1f10, 0x1f15, 1, 8), (0x1f20, 0x1f27, 1, 8),
    (0x1f30, 0x1f37, 1, 8), (0x1f40, 0x1f45, 1, 8), (0x1f51, 0x1f57, 2, 8), (0x1f60, 0x1f67, 1, 8),
    (0x1f70, 0x1f71, 1, 74), (0x1f72, 0x1f75, 1, 86), (0x1f76, 0x1f77, 1, 100), (0x1f78, 0x1f79, 1, 128),
    (0x1f7a, 0x1f7b, 1, 112), (0x1f7c, 0x1f7d, 1, 126), (0x1f80, 0x1f87, 1, 8), (0x1f90, 0x1f97, 1, 8),
    (0x1fa0, 0x1fa7, 1, 8), (0x1fb0, 0x1fb1, 1, 8), (0x1fb3, 0x1fb3, 1, 9), (0x1fc3, 0x1fc3, 1, 9),
    (0x1fd0, 0x1fd1, 1, 8), (0x1fe0, 0x1fe1, 1, 8), (0x1fe5, 0x1fe5, 1, 7), (0x1ff3, 0x1ff3, 1, 9),
    (0x214e, 0x214e, 1, -28), (0x2170, 0x217f, 1, -16), (0x2184, 0x2184, 1, -1), (0x24d0, 0x24e9, 1, -26),
    (0x2c30, 0x2c5e, 1, -48), (0x2c61, 0x2c61, 1, -1), (0x2c65, 0x2c65, 1, -10795), (0x2c66, 0x2c66, 1, -10792),
    (0x2c68, 0x2c6c, 2, -1), (0x2c73, 0x2c73, 1, -1), (0x2c76, 0x2c76, 1, -1), (0x2c81, 0x2ce3, 2, -1),
    (0x2d00, 0x2d25, 1, -7264), (0xa641, 0xa65f, 2, -1), (0xa663, 0xa66d, 2, -1), (0xa681, 0xa697, 2, -1),
    (0xa723, 0xa72f, 2, -1), (0xa733, 0xa76f, 2, -1), (0xa77a, 0xa77c, 2, -1), (0xa77f, 0xa787, 2, -1),
    (0xa78c, 0xa78c, 1, -1), (0xff41, 0xff5a, 1, -32),
];

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use coldforge_base::digest::Digest;

    /// Returns the one-to-one upper case of Unicode, which is right for every character not named in the test below.
    fn unicode(unit: u16) -> u16 {
        let mut upper = char::from_u32(u32::from(unit)).into_iter().flat_map(char::to_uppercase);
        match (upper.next(), upper.next()) {
            (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
            _ => unit,
        }
    }

    #[test]
    fn the_table_is_unicode_up_to_the_known_exceptions() {
        for same in [0xb5, 0x131, 0x17f, 0x345, 0x3c2, 0x3d0, 0x10d0, 0x13f8, 0x1c80, 0x1e9b, 0x1fbe, 0xab70, 0xd83d] {
            assert_eq!(unit(same), same, "{same:#x}");
        }
        for title in [0x1c5, 0x1c8, 0x1cb, 0x1f2] {
            assert_eq!(unit(title), title, "{title:#x}");
        }
        assert_eq!((unit(0x1f80), unit(0x1fb3), unit(0xff), unit(0x1d79)), (0x1f88, 0x1fbc, 0x178, 0xa77d));
        let differing = (0..=u16::MAX).filter(|code| unit(*code) != *code && unit(*code) != unicode(*code));
        assert!(
            differing.eq((0x1f80..0x1f88).chain(0x1f90..0x1f98).chain(0x1fa0..0x1fa8).chain([0x1fb3, 0x1fc3, 0x1ff3]))
        );
    }

    #[test]
    fn the_whole_table_has_its_recorded_digest() {
        let table: Vec<u8> = (0..=u16::MAX).flat_map(|code| unit(code).to_le_bytes()).collect();
        assert_eq!(Digest::of(&table).to_string(), "41c26bc7a12bdaeb26025c93118697c7e3ef81ee048b00fe5cce2a472e0e0742");
    }

    #[test]
    fn names_that_differ_only_in_case_are_equal_and_hash_alike() {
        let units = |text: &'static str| text.encode_utf16();
        assert_eq!(compare(units("Straße\u{e4}"), units("STRAßE\u{c4}")), Ordering::Equal);
        assert_eq!(compare(units("b_c"), units("bZ")), Ordering::Greater);
        assert_eq!(compare(units("Run"), units("RunOnce")), Ordering::Less);
        assert_eq!(hash(units("Lsa")), hash(units("LSA")));
        assert_eq!(hash(units("AB")), 65 * 37 + 66);
        let latin1: Vec<u8> = (1..=255).collect();
        for length in 0..latin1.len() {
            let (name, units) = (&latin1[length..], latin1[length..].iter().map(|byte| u16::from(*byte)));
            assert_eq!(hash_latin1(name), hash(units), "{length}");
        }
    }
}
