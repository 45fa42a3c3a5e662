//! Real hives with seeded damage: every function answers, and none panics or runs without an end.

use coldforge::base::time::FileTime;
use coldforge::regf::Hive;

use super::real;
use crate::support::Seeded;

#[test]
fn damaged_real_hives_are_survived_by_every_function() {
    let mut seeded = Seeded(7);
    let mut accepted = 0;
    for name in ["velociraptor__SAM", "yarp__BigDataHive", "python-registry__UNICODE_TESTS", "regipy__BCD"] {
        let Some(good) = real(name) else { return };
        for _ in 0..150 {
            let mut bytes = good.clone();
            for _ in 0..1 + seeded.below(30) {
                let at = 0x1000 + seeded.below(bytes.len() as u64 - 0x1000) as usize;
                bytes[at] = if seeded.below(2) == 0 { 0xff } else { seeded.next() as u8 };
            }
            let Ok(mut hive) = Hive::parse(bytes) else { continue };
            accepted += 1;
            for (_, key) in hive.walk().flatten() {
                let _ = (key.class(), key.security().map(<[u8]>::len));
                for value in key.values().into_iter().flatten().flatten() {
                    let _ = value.data().map(|data| data.len());
                }
            }
            let _ = hive.verify();
            for path in [r"SAM\Domains\Account", "key_with_bigdata", "Objects"] {
                let before = hive.bytes().to_vec();
                if hive.set_value(path, "new", 3, &[1; 17_000], FileTime(1)).is_err() {
                    assert!(hive.bytes() == before, "a failed edit changes nothing");
                }
            }
            let _ = hive.delete_value("", "new", FileTime(1)).is_ok();
            let _ = hive.verify();
        }
    }
    assert!(accepted > 50, "{accepted}");
}
