//! Update sequence marks, made right so that a fuzzer's input gets past them.

/// Gives every FILE and INDX structure at a multiple of 512 bytes the marks of its update sequence array.
pub fn mend(bytes: &mut [u8]) {
    for at in (0..bytes.len()).step_by(512) {
        let Some(head) = bytes.get(at..at + 8) else { return };
        if !head.starts_with(b"FILE") && !head.starts_with(b"INDX") {
            continue;
        }
        let array = at + usize::from(u16::from_le_bytes([head[4], head[5]]));
        let blocks = usize::from(u16::from_le_bytes([head[6], head[7]])).saturating_sub(1).min(128);
        let Some(mark) = bytes.get(array..array + 2).map(<[u8]>::to_vec) else { continue };
        for block in 0..blocks {
            let end = at + block * 512 + 510;
            if let Some(place) = bytes.get_mut(end..end + 2) {
                place.copy_from_slice(&mark);
            }
        }
    }
}
