//! The setup state of a Windows: installed, generalized (sysprep), or in between.
//!
//! `Setup\State!ImageState` of SOFTWARE is the state that Windows records; `Setup` of SYSTEM says what the next start does. If they
//! disagree, the state is unknown. An image that is generalized, or was never started, may lose settings: the first start
//! makes a new machine SID and applies Windows's own templates.

use super::setting::SetupState;
use coldforge_base::{read, utf16};
use coldforge_regf::{self as regf, Lookup};

/// Reads it from SOFTWARE and SYSTEM.
///
/// # Errors
/// What contradicts the format on the way.
pub fn read(software: &dyn Lookup, system: &dyn Lookup) -> regf::Result<SetupState> {
    let key = r"Microsoft\Windows\CurrentVersion\Setup\State";
    let image = value(software, key, "ImageState")?.map(|data| utf16::decode_to_nul(&data));
    let number = |name: &str| -> regf::Result<u32> {
        Ok(value(system, "Setup", name)?.and_then(|data| read::u32_le(&data, 0).ok()).unwrap_or(0))
    };
    let waits = [number("SetupType")?, number("SystemSetupInProgress")?, number("OOBEInProgress")?];
    Ok(judge(image.as_deref(), waits))
}

/// Judges what Windows says of the image, and the numbers by which the next start goes on with setup.
fn judge(image: Option<&str>, waits: [u32; 3]) -> SetupState {
    let (is_still, is_waiting) = (waits.iter().all(|wait| *wait == 0), waits.first().is_some_and(|kind| *kind != 0));
    match image {
        Some("IMAGE_STATE_COMPLETE") if is_still => SetupState::Installed,
        Some("IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE" | "IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE") if is_waiting => {
            SetupState::Prepared
        }
        Some("IMAGE_STATE_GENERALIZE_RESEAL_TO_AUDIT" | "IMAGE_STATE_SPECIALIZE_RESEAL_TO_AUDIT") => SetupState::Audit,
        Some("IMAGE_STATE_UNDEPLOYABLE") => SetupState::Unfinished,
        _ => SetupState::Unknown,
    }
}

fn value(hive: &dyn Lookup, key: &str, name: &str) -> regf::Result<Option<Vec<u8>>> {
    let Some(key) = hive.key(key)? else { return Ok(None) };
    key.value(name)?.map(|value| value.data().map(std::borrow::Cow::into_owned)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_own_word_counts_only_if_the_next_start_agrees() {
        for (image, waits, state) in [
            (Some("IMAGE_STATE_COMPLETE"), [0, 0, 0], SetupState::Installed),
            (Some("IMAGE_STATE_COMPLETE"), [2, 1, 1], SetupState::Unknown),
            (Some("IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"), [2, 1, 1], SetupState::Prepared),
            (Some("IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE"), [0, 0, 0], SetupState::Unknown),
            (Some("IMAGE_STATE_GENERALIZE_RESEAL_TO_AUDIT"), [1, 1, 0], SetupState::Audit),
            (Some("IMAGE_STATE_UNDEPLOYABLE"), [0, 0, 0], SetupState::Unfinished),
            (None, [0, 0, 0], SetupState::Unknown),
        ] {
            assert_eq!(judge(image, waits), state, "{image:?} {waits:?}");
        }
    }
}
